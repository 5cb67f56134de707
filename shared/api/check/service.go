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
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/aliyun/nlb"
	"eslink/shared/aliyun/privatelink"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/deps"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/linkcheck"
	"eslink/shared/run"
)

// Service answers the function check.
type Service struct {
	Runs interface {
		Get(ctx context.Context, id string) (*run.Run, error)
	}
	Clusters interface {
		Open(ctx context.Context, s clusters.Side) (*es.Client, error)
		Login(ctx context.Context, s clusters.Side) (kms.Login, error)
	}
	Cloud    linkcheck.Cloud
	Describe func(ctx context.Context, id string) (escluster.Instance, error)
	// Resources and ListLB lead from a service to its listeners.
	Resources func(ctx context.Context, serviceID string) ([]privatelink.Resource, error)
	ListLB    func(ctx context.Context, loadBalancerID string) ([]nlb.Listener, error)
	Now       func() time.Time
	// Azure checks links between Azure and Elastic Cloud.
	Azure *Azure
	// Zilliz checks links between AWS and Zilliz Cloud.
	Zilliz *Zilliz
}

// NewService returns the service.
func NewService(d deps.Deps) *Service {
	instances, links, balancers := escluster.New(d.Aliyun), privatelink.New(d.Aliyun), nlb.New(d.Aliyun)
	return &Service{Runs: d.Runs, Clusters: clusters.Opener{Cloud: d.Aliyun}, Now: d.Now, Describe: instances.Describe,
		Azure: newAzure(d, kms.New(d.Aliyun)), Zilliz: newZilliz(d, kms.New(d.Aliyun)), Resources: links.Resources, ListLB: balancers.Listeners, Cloud: linkcheck.NewCloud(d.Aliyun)}
}

// Reply is what check answers; with status 200 if OK, 202 if it has not ended, else
// 409.
type Reply struct {
	OK     bool          `json:"ok"`
	Checks []facts.Check `json:"checks"`
	// CheckID, if set, says that the check has not ended: the same request with it
	// goes on.
	CheckID string `json:"checkId,omitempty"`
}

// subject are links of one instance, with access to both of their ends.
type subject struct {
	links            []linkcheck.Link
	instance, target clusters.Side
	users            map[string]clusters.Side // of directories, by use case
	local            string                   // an index to compare the count with, or ""
	cleanup          bool
}

// patience is how long the operation may take in one request.
const (
	patience = 60 * time.Second
	glance   = time.Second
	pause    = 10 * time.Second
)

// Do checks the link that raw (check.schema.json) names.
func (s *Service) Do(ctx context.Context, raw []byte) (Reply, error) {
	req, err := events.ParseCheck(raw)
	if err != nil {
		return Reply{}, err
	}
	if req.Elastic != nil {
		return s.Azure.Do(ctx, ofAzureRequest(req))
	}
	if req.Zilliz != nil {
		return s.Zilliz.Do(ctx, ofZillizRequest(req), req.AWS.EndpointID, req.CheckID)
	}
	var sub subject
	if req.RunID != "" {
		var r *run.Run
		if r, err = s.record(ctx, req.RunID); err != nil {
			return Reply{}, err
		}
		if r.Spec.Elastic != nil {
			l, err := ofAzureRun(r, req.CheckID)
			if err != nil {
				return Reply{}, err
			}
			return s.Azure.Do(ctx, l)
		}
		if r.Spec.Zilliz != nil {
			return s.Zilliz.Do(ctx, r, "", req.CheckID)
		}
		sub, err = s.ofRun(r)
	} else {
		sub, err = s.foreign(ctx, req)
	}
	if err != nil {
		return Reply{}, err
	}
	var checks []facts.Check
	for _, l := range sub.links {
		began := s.Now()
		first, err := s.Cloud.Link(ctx, l)
		if err != nil {
			return Reply{}, err
		}
		first.Seconds = s.Now().Sub(began).Seconds()
		rest, err := s.operate(ctx, sub, l, first)
		if err != nil {
			return Reply{}, clusters.Explain(err, sub.instance)
		}
		checks = append(checks, linkcheck.Named(append([]facts.Check{first}, rest...), l, len(sub.links))...)
	}
	return Reply{OK: linkcheck.OK(checks), Checks: checks}, nil
}

// record reads a run.
func (s *Service) record(ctx context.Context, id string) (*run.Run, error) {
	r, err := s.Runs.Get(ctx, id)
	if errors.Is(err, run.ErrNotFound) {
		return nil, events.NewProblem(404, "no-such-run", "there is no such run",
			events.Finding{Field: "runId", Message: id + " is unknown", Remedy: "ask status without runId for all runs"})
	}
	return r, err
}

func (s *Service) ofRun(r *run.Run) (subject, error) {
	if r.Status == run.Removed {
		return subject{}, events.NewProblem(409, "removed", "the run's link is removed",
			events.Finding{Field: "runId", Message: r.ID + " was torn down, and has no link", Remedy: "send action start with its spec to connect again"})
	}
	if r.Direction == run.Down {
		return subject{}, events.NewProblem(409, "removed", "the run's link is being removed",
			events.Finding{Field: "runId", Message: fmt.Sprintf("%s is torn down: it is %s at step %s", r.ID, r.Status, r.Cursor.Step), Remedy: "wait until it is removed, then send action start with its spec to connect again"})
	}
	f := r.Facts
	if r.Status == run.Removed {
		return subject{}, events.NewProblem(409, "no-link", "the run is removed",
			events.Finding{Field: "runId", Message: "its link was taken down", Remedy: "start the run again with its spec"})
	}
	if f.Preflight == nil || !f.Link().Stands() {
		return subject{}, events.NewProblem(409, "no-link", "the run has no link yet",
			events.Finding{Field: "runId", Message: fmt.Sprintf("it is %s at step %s", r.Status, r.Cursor.Step), Remedy: "wait until it is past step accept"})
	}
	sub := subject{links: linkcheck.OfRun(r), instance: clusters.Destination(r), target: clusters.Source(r), users: clusters.Users(r), cleanup: true}
	if d := f.Destination; d != nil && len(d.Indices) > 0 && d.Indices[0].Before == 0 && r.Status == run.Done {
		sub.local = r.Indices()[0].Dest
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
	l := linkcheck.Link{InstanceID: req.InstanceID, EndpointID: req.EndpointID, RemoteIndex: req.RemoteIndex,
		UseCase: events.UseCase{Kind: req.UseCase, Port: req.Port, Protocol: req.Protocol, Watcher: req.Watcher, Plugin: req.Plugin}}
	for _, e := range endpoints {
		if e.ID == req.EndpointID {
			l.ServiceID, l.Domain = e.ServiceID, e.Domain
		}
	}
	if l.Domain == "" {
		return subject{}, events.NewProblem(404, "no-endpoint", "there is no such endpoint",
			events.Finding{Field: "endpointId", Message: req.InstanceID + " has no endpoint " + req.EndpointID, Remedy: "look at the instance's private connections"})
	}
	if err = s.balancer(ctx, &l); err != nil {
		return subject{}, err
	}
	sum := sha256.Sum256([]byte(l.InstanceID + "\x00" + l.EndpointID))
	l.ID = hex.EncodeToString(sum[:8])
	cluster := facts.Cluster{InstanceID: instance.ID, Domain: instance.Domain, Port: instance.Port, Protocol: lower(instance.Protocol)}
	// A directory's user logs in to the instance. A cluster's login goes to whatever
	// is behind the endpoint, which the secret must name by its address.
	target := clusters.Side{Cluster: cluster, Secret: req.Secrets.Target, Field: "secrets.target"}
	if req.UseCase == events.ReindexUseCase {
		target.Address = fmt.Sprintf("%s://%s:%d", req.Protocol, l.Domain, req.Port)
	}
	return subject{links: []linkcheck.Link{l}, local: req.LocalIndex, cleanup: req.Cleanup == nil || *req.Cleanup, target: target, users: map[string]clusters.Side{l.Kind: target},
		instance: clusters.Side{Cluster: cluster, Secret: req.Secrets.Instance, Field: "secrets.instance"}}, nil
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
		events.Finding{Field: field, Message: id + " is not in this region and account", Remedy: "check its spelling"})
}

// balancer finds what a service's packets arrive at. A service of another
// account shows nothing; then the operation alone must tell.
func (s *Service) balancer(ctx context.Context, l *linkcheck.Link) error {
	resources, err := s.Resources(ctx, l.ServiceID)
	if apierr.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, res := range resources {
		if seen[res.ID] {
			continue
		}
		seen[res.ID] = true
		if res.Type == "slb" {
			l.CLB = res.ID
			continue
		}
		ls, err := s.ListLB(ctx, res.ID)
		if err != nil {
			return err
		}
		for _, x := range ls {
			if x.Port == l.Port {
				l.ListenerIDs = append(l.ListenerIDs, x.ID)
			}
		}
	}
	return nil
}

// operate runs a link's operation and reads it, within one request.
func (s *Service) operate(ctx context.Context, sub subject, l linkcheck.Link, linked facts.Check) ([]facts.Check, error) {
	client, err := s.Clusters.Open(ctx, sub.instance)
	if err != nil {
		return nil, err
	}
	if l.Kind == events.ReindexUseCase {
		return s.read(ctx, sub, l, client)
	}
	login := func(ctx context.Context, l linkcheck.Link) (kms.Login, error) {
		return s.Clusters.Login(ctx, sub.users[l.Kind])
	}
	o := linkcheck.Operator{Client: client, Login: login, Now: s.Now}
	for waited := time.Duration(0); ; waited += pause {
		checks, later, err := o.Operate(ctx, l, linked)
		if err != nil || !later || waited >= patience {
			return checks, err
		}
		if err := smithytime.SleepWithContext(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// read runs the operation of a copy, which is a task.
func (s *Service) read(ctx context.Context, sub subject, l linkcheck.Link, client *es.Client) ([]facts.Check, error) {
	login, err := s.Clusters.Login(ctx, sub.target)
	if err != nil {
		return nil, err
	}
	p := linkcheck.Prober{Client: client, Remote: login, Now: s.Now}
	probe, err := p.Start(ctx, l)
	if err != nil {
		return nil, err
	}
	var checks []facts.Check
	remote, ready := int64(-1), false
	for waited := time.Duration(0); !ready; waited += glance {
		if waited > patience {
			checks = linkcheck.Failed(&es.Cause{Type: "socket_timeout_exception", Reason: "no answer within " + patience.String()}, l)
			break
		}
		if err := smithytime.SleepWithContext(ctx, glance); err != nil {
			return nil, err
		}
		if checks, remote, ready, err = p.Read(ctx, l, probe); err != nil {
			return nil, err
		}
	}
	if sub.local != "" && remote >= 0 {
		if err := compare(ctx, client, sub.local, remote, &checks[2]); err != nil {
			return nil, err
		}
	}
	if !sub.cleanup {
		checks[2].Detail += "; index " + l.Index() + " is kept, as asked"
		return checks, nil
	}
	return checks, p.Finish(ctx, l)
}

// compare adds the count of a local index to the check operation.
func compare(ctx context.Context, c *es.Client, index string, remote int64, k *facts.Check) error {
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
