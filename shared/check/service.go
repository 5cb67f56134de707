package check

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	smithytime "github.com/aws/smithy-go/time"

	"eslink/events"
	"eslink/shared/access"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/aliyun/nlb"
	"eslink/shared/aliyun/privatelink"
	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/run"
	"eslink/shared/steps"
)

// Service answers the function check.
type Service struct {
	Runs interface {
		Get(ctx context.Context, id string) (*run.Run, error)
	}
	Clusters interface {
		Open(ctx context.Context, s access.Side) (*es.Client, error)
		Login(ctx context.Context, s access.Side) (kms.Login, error)
	}
	Cloud    Cloud
	Describe func(ctx context.Context, id string) (escluster.Instance, error)
	// Resources and ListLB lead from a service to its listeners.
	Resources func(ctx context.Context, serviceID string) ([]privatelink.Resource, error)
	ListLB    func(ctx context.Context, loadBalancerID string) ([]nlb.Listener, error)
	Now       func() time.Time
}

// NewService returns the service.
func NewService(d steps.Deps) *Service {
	clusters, links, balancers := escluster.New(d.Cloud), privatelink.New(d.Cloud), nlb.New(d.Cloud)
	return &Service{Runs: d.Runs, Clusters: access.Opener{Cloud: d.Cloud}, Now: d.Cloud.Now, Describe: clusters.Describe,
		Resources: links.Resources, ListLB: balancers.Listeners,
		Cloud: Cloud{Endpoints: clusters, Connections: links, Listeners: balancers}}
}

// Reply is what check answers; with status 200 if OK, else 409.
type Reply struct {
	OK     bool        `json:"ok"`
	Checks []run.Check `json:"checks"`
}

// subject is a link with access to both of its ends.
type subject struct {
	link             Link
	instance, target access.Side
	local            string // an index to compare the count with, or ""
	cleanup          bool
}

// patience is how long the operation may take in one request.
const (
	patience = 60 * time.Second
	glance   = time.Second
)

// Do checks the link that raw (check.schema.json) names.
func (s *Service) Do(ctx context.Context, raw []byte) (Reply, error) {
	req, err := events.ParseCheck(raw)
	if err != nil {
		return Reply{}, err
	}
	var sub subject
	if req.RunID != "" {
		sub, err = s.ofRun(ctx, req.RunID)
	} else {
		sub, err = s.foreign(ctx, req)
	}
	if err != nil {
		return Reply{}, err
	}
	began := s.Now()
	first, err := s.Cloud.Link(ctx, sub.link)
	if err != nil {
		return Reply{}, err
	}
	first.Seconds = s.Now().Sub(began).Seconds()
	rest, err := s.operate(ctx, sub)
	if err != nil {
		return Reply{}, access.Explain(err, sub.instance)
	}
	checks := append([]run.Check{first}, rest...)
	return Reply{OK: OK(checks), Checks: checks}, nil
}

func (s *Service) ofRun(ctx context.Context, id string) (subject, error) {
	r, err := s.Runs.Get(ctx, id)
	if errors.Is(err, run.ErrNotFound) {
		return subject{}, events.NewProblem(404, "no-such-run", "there is no such run",
			events.Finding{Field: "runId", Message: id + " is unknown", Remedy: "ask status without runId for all runs"})
	}
	if err != nil {
		return subject{}, err
	}
	f := r.Facts
	if f.Preflight == nil || f.NLBBackend == nil || f.EndpointService == nil || f.PrivateConnection == nil || f.Accept == nil {
		return subject{}, events.NewProblem(409, "no-link", "the run has no link yet",
			events.Finding{Field: "runId", Message: fmt.Sprintf("it is %s at step %s", r.Status, r.Cursor.Step), Remedy: "wait until it is past step accept"})
	}
	sub := subject{link: OfRun(r), instance: access.Instance(r), target: access.Target(r), cleanup: true}
	if d := f.Destination; d != nil && len(d.Indices) > 0 && d.Indices[0].Before == 0 && r.Status == run.Done {
		sub.local = r.Spec.Indices[0].Dest
	}
	return sub, nil
}

// foreign is a link that eslink did not make. Its domain comes from the
// instance's own endpoints, never from the caller, so nobody can have the
// instance call a place of their choice.
func (s *Service) foreign(ctx context.Context, req events.CheckRequest) (subject, error) {
	instance, err := s.Describe(ctx, req.InstanceID)
	if err != nil {
		return subject{}, notFound(err, "instanceId", req.InstanceID)
	}
	endpoints, err := s.Cloud.Endpoints.ListEndpoints(ctx, req.InstanceID)
	if err != nil {
		return subject{}, err
	}
	l := Link{InstanceID: req.InstanceID, EndpointID: req.EndpointID, Port: req.Port, Protocol: req.Protocol, RemoteIndex: req.RemoteIndex}
	for _, e := range endpoints {
		if e.ID == req.EndpointID {
			l.ServiceID, l.Domain = e.ServiceID, e.Domain
		}
	}
	if l.Domain == "" {
		return subject{}, events.NewProblem(404, "no-endpoint", "there is no such endpoint",
			events.Finding{Field: "endpointId", Message: req.InstanceID + " has no endpoint " + req.EndpointID, Remedy: "look at the instance's private connections"})
	}
	if l.Port == 0 {
		l.Port = 9200
	}
	if l.Protocol == "" {
		l.Protocol = "http"
	}
	if l.ListenerIDs, err = s.listeners(ctx, l.ServiceID, l.Port); err != nil {
		return subject{}, err
	}
	sum := sha256.Sum256([]byte(l.InstanceID + "\x00" + l.EndpointID))
	l.ID = hex.EncodeToString(sum[:8])
	cluster := run.Cluster{InstanceID: instance.ID, Domain: instance.Domain, Port: instance.Port, Protocol: lower(instance.Protocol)}
	return subject{link: l, local: req.LocalIndex, cleanup: req.Cleanup,
		instance: access.Side{Cluster: cluster, Secret: req.Secrets.Instance, Field: "secrets.instance"},
		target:   access.Side{Secret: req.Secrets.Target, Field: "secrets.target"}}, nil
}

func lower(protocol string) string {
	if protocol == "HTTPS" || protocol == "https" {
		return "https"
	}
	return "http"
}

func notFound(err error, field, id string) error {
	if !apierr.IsNotFound(err) {
		return err
	}
	return events.NewProblem(404, "no-such-instance", "there is no such instance",
		events.Finding{Field: field, Message: id + " is not in this region and account", Remedy: "mind its spelling"})
}

// listeners are those that a service's packets may arrive at. A service of
// another account shows none; then the operation alone must tell.
func (s *Service) listeners(ctx context.Context, serviceID string, port int) ([]string, error) {
	resources, err := s.Resources(ctx, serviceID)
	if apierr.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	seen := map[string]bool{}
	for _, res := range resources {
		if seen[res.ID] {
			continue
		}
		seen[res.ID] = true
		ls, err := s.ListLB(ctx, res.ID)
		if err != nil {
			return nil, err
		}
		for _, l := range ls {
			if l.Port == port {
				ids = append(ids, l.ID)
			}
		}
	}
	return ids, nil
}

// operate runs the operation and reads it, within one request.
func (s *Service) operate(ctx context.Context, sub subject) ([]run.Check, error) {
	client, err := s.Clusters.Open(ctx, sub.instance)
	if err != nil {
		return nil, err
	}
	login, err := s.Clusters.Login(ctx, sub.target)
	if err != nil {
		return nil, err
	}
	p := Prober{Client: client, Remote: login, Now: s.Now}
	probe, err := p.Start(ctx, sub.link)
	if err != nil {
		return nil, err
	}
	var checks []run.Check
	remote, ready := int64(-1), false
	for waited := time.Duration(0); !ready; waited += glance {
		if waited > patience {
			checks = failed(&es.Cause{Type: "socket_timeout_exception", Reason: "no answer within " + patience.String()}, sub.link)
			break
		}
		if err := smithytime.SleepWithContext(ctx, glance); err != nil {
			return nil, err
		}
		if checks, remote, ready, err = p.Read(ctx, sub.link, probe); err != nil {
			return nil, err
		}
	}
	if sub.local != "" && remote >= 0 {
		if err := compare(ctx, client, sub.local, remote, &checks[2]); err != nil {
			return nil, err
		}
	}
	if !sub.cleanup {
		checks[2].Detail += "; index " + sub.link.Index() + " is kept, as asked"
		return checks, nil
	}
	return checks, p.Finish(ctx, sub.link)
}

// compare adds the count of a local index to the check operation.
func compare(ctx context.Context, c *es.Client, index string, remote int64, k *run.Check) error {
	n, err := c.Count(ctx, index, nil)
	switch {
	case apierr.IsNotFound(err):
		k.OK, k.Remedy = false, "copy it, or leave localIndex out"
		k.Detail += "; there is no local index " + index
		return nil
	case err != nil:
		return err
	}
	k.Detail += fmt.Sprintf("; %s holds %d", index, n)
	if n != remote {
		k.OK, k.Remedy = false, "the source may have changed since the copy: start the run again to see what differs"
	}
	return nil
}
