// Package nlbbackend is the step that puts the target's private addresses
// behind the run's load balancer, and takes them away. It runs in the target's
// VPC, where the target's domains resolve.
package nlbbackend

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/shared/aliyun"
	"eslink/shared/aliyun/nlb"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Groups are server groups.
type Groups interface {
	CreateServerGroup(ctx context.Context, n nlb.NewServerGroup, token string) (id, job string, err error)
	ServerGroup(ctx context.Context, id string) (nlb.ServerGroup, error)
	DeleteServerGroup(ctx context.Context, id string) (job string, err error)
}

// Lists find groups whose ID is not known. They may trail a write.
type Lists interface {
	ServerGroupsTagged(ctx context.Context, key, value string) ([]nlb.ServerGroup, error)
	ServerGroupsNamed(ctx context.Context, name string) ([]nlb.ServerGroup, error)
}

// Servers are the backends of a group.
type Servers interface {
	Servers(ctx context.Context, groupID string) ([]nlb.Server, error)
	AddServers(ctx context.Context, groupID string, servers []nlb.Server, token string) (job string, err error)
	RemoveServers(ctx context.Context, groupID string, servers []nlb.Server) (job string, err error)
}

// Listeners are the ports of a balancer.
type Listeners interface {
	CreateListener(ctx context.Context, loadBalancerID, groupID string, port int, token string) (id, job string, err error)
	Listener(ctx context.Context, id string) (nlb.Listener, error)
	Listeners(ctx context.Context, loadBalancerID string) ([]nlb.Listener, error)
	DeleteListener(ctx context.Context, id string) (job string, err error)
}

// Health tells how a change and the backends fare.
type Health interface {
	JobDone(ctx context.Context, id string) (bool, error)
	Abnormal(ctx context.Context, listenerID string) ([]nlb.Abnormal, error)
}

// Step makes and deletes the server group and the listener.
type Step struct {
	Groups    Groups
	Lists     Lists
	Servers   Servers
	Listeners Listeners
	Health    Health
	Resolver  aliyun.Resolver
	Now       func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	c := nlb.New(d.Aliyun)
	return &Step{Groups: c, Lists: c, Servers: c, Listeners: c, Health: c, Resolver: d.Aliyun.Resolver, Now: d.Now}
}

const (
	// group names the server group and its token.
	group = "servers"
	// lag is how long a list may trail a write.
	lag = 2 * time.Minute
	// soon is when to look again after a change: its job takes 1 to 20 s.
	soon = 8 * time.Second
)

// Up makes the group, the listener, and the group's servers the target's
// addresses of now; it is done when those are healthy. Servers that the target
// has left are removed last, so that a move interrupts nothing.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.NLBBackend == nil {
		r.Facts.NLBBackend = &facts.NLBBackend{}
	}
	f, target, balancer := r.Facts.NLBBackend, r.Facts.Preflight.Target, r.Facts.NLB
	if busy, err := s.busy(ctx, r); busy || err != nil {
		return engine.Wait(soon, "the balancer's last change is being carried out"), err
	}
	want, err := s.addresses(ctx, target)
	if err != nil {
		return engine.Outcome{}, err
	}
	g, err := s.findGroup(ctx, r)
	switch {
	case err != nil:
		return engine.Outcome{}, err
	case g == nil:
		return s.createGroup(ctx, r)
	case g.Status == nlb.Creating || g.Status == nlb.Configuring || g.Status == nlb.Deleting:
		return engine.Waitf(soon, "server group %s is %s", g.ID, g.Status), nil
	case g.Status != nlb.Available:
		return engine.Outcome{}, fmt.Errorf("server group %s is %s, which eslink does not know: see in the NLB console, then retry", g.ID, g.Status)
	case g.Type != "Ip" || g.PreserveClientIP || g.VpcID != target.VpcID:
		return engine.Outcome{}, fmt.Errorf("server group %s (type %s in %s, client addresses preserved: %t) is not as eslink makes it: delete it with its listener, then retry",
			g.ID, g.Type, g.VpcID, g.PreserveClientIP)
	}
	have, err := s.Servers.Servers(ctx, g.ID)
	if err != nil {
		return engine.Outcome{}, err
	}
	if i := slices.IndexFunc(have, func(x nlb.Server) bool { return x.Status != nlb.Available }); i >= 0 {
		return engine.Waitf(soon, "backend %s is %s", address(have[i]), have[i].Status), nil
	}
	if missing := without(want, have); len(missing) > 0 {
		return s.add(ctx, r, g.ID, missing)
	}
	l, err := s.findListener(ctx, r)
	switch {
	case err != nil:
		return engine.Outcome{}, err
	case l == nil:
		return s.createListener(ctx, r, g.ID)
	case l.Status == nlb.Provisioning || l.Status == nlb.Configuring || l.Status == nlb.Starting || l.Status == nlb.Deleting:
		return engine.Waitf(soon, "listener %s is %s", l.ID, l.Status), nil
	case l.ServerGroupID != g.ID && l.Status == nlb.Running: // its group was deleted, and made anew
		f.Job, err = job(s.Listeners.DeleteListener(ctx, l.ID))
		return engine.Waitf(soon, "listener %s leads to another server group; it is being deleted and made anew", l.ID), err
	case l.Protocol != "TCP" || l.ProxyProtocol:
		return engine.Outcome{}, fmt.Errorf("listener %s of nlb %s speaks %s (proxy protocol: %t), not plain TCP: delete it, then retry", l.ID, balancer.ID, l.Protocol, l.ProxyProtocol)
	case l.Status != nlb.Running:
		return engine.Outcome{}, fmt.Errorf("listener %s of nlb %s is %s: start or delete it, then retry", l.ID, balancer.ID, l.Status)
	}
	sick, err := s.Health.Abnormal(ctx, l.ID)
	if err != nil {
		return engine.Outcome{}, err
	}
	if out, ok := unhealthy(sick, want, target, balancer); ok {
		return out, nil
	}
	if left := without(have, want); len(left) > 0 {
		f.Job, err = job(s.Servers.RemoveServers(ctx, g.ID, left))
		return engine.Waitf(soon, "%s has left %s and is being removed", list(left), target.InstanceID), err
	}
	*f = facts.NLBBackend{ServerGroupID: g.ID, ListenerID: l.ID}
	for _, x := range want {
		f.Servers = append(f.Servers, x.IP)
	}
	return engine.Done(), nil
}

// createGroup asks for a group when none was found. The pasts it can meet: it
// was never asked for; the reply to an earlier request was lost, or its ID with
// a crash, while lists do not show it yet (the token brings the same group
// again); an earlier one is gone (the token has been raised, or will be when
// the ID that the replay names is read).
func (s *Step) createGroup(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f := r.Facts.NLBBackend
	f.Asked = s.Now()
	n := nlb.NewServerGroup{Name: r.Name(group), VpcID: r.Facts.Preflight.Target.VpcID, TagKey: run.TagKey, TagValue: r.Tag()}
	id, j, err := s.Groups.CreateServerGroup(ctx, n, r.Token(group))
	if err != nil {
		return engine.Outcome{}, err
	}
	f.ServerGroupID, f.Asked, f.Job = id, time.Time{}, &facts.Job{ID: j}
	return engine.Waitf(soon, "server group %s is being created", id), nil
}

// add asks for servers that the group lacks. The pasts it can meet: they were
// never asked for; the reply to the same request was lost (the token, which
// stands for these very servers, brings the same job again); they were added
// and removed before (busy has raised the token, or will once it has seen that
// the replayed job is done and they are still missing).
func (s *Step) add(ctx context.Context, r *run.Run, groupID string, missing []nlb.Server) (engine.Outcome, error) {
	token := "add/" + groupID + "/" + list(missing)
	j, err := s.Servers.AddServers(ctx, groupID, missing, r.Token(token))
	if err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.NLBBackend.Job = &facts.Job{ID: j, Token: token}
	return engine.Waitf(soon, "%s of %s is being added as a backend", list(missing), r.Facts.Preflight.Target.InstanceID), nil
}

// createListener asks for the listener when none was found. Its pasts are those
// of createGroup; the token stands for this very balancer and group.
func (s *Step) createListener(ctx context.Context, r *run.Run, groupID string) (engine.Outcome, error) {
	f, balancer, port := r.Facts.NLBBackend, r.Facts.NLB.ID, r.Facts.Preflight.Target.Port
	f.Asked = s.Now()
	id, j, err := s.Listeners.CreateListener(ctx, balancer, groupID, port, r.Token(listenerToken(balancer, groupID)))
	if err != nil {
		return engine.Outcome{}, err
	}
	f.ListenerID, f.Asked, f.Job = id, time.Time{}, &facts.Job{ID: j, Token: listenerToken(balancer, groupID)}
	return engine.Waitf(soon, "listener %s is being created", id), nil
}

func listenerToken(balancer, groupID string) string { return "listener/" + balancer + "/" + groupID }

// unhealthy waits for those of the wanted servers that fail the health check.
func unhealthy(sick []nlb.Abnormal, want []nlb.Server, target facts.Cluster, balancer *facts.NLB) (engine.Outcome, bool) {
	var fresh, failing []string
	for _, a := range sick {
		if !slices.ContainsFunc(want, func(w nlb.Server) bool { return w.IP == a.IP && w.Port == a.Port }) {
			continue
		}
		at := net.JoinHostPort(a.IP, strconv.Itoa(a.Port))
		if a.Status == "Initial" {
			fresh = append(fresh, at)
			continue
		}
		failing = append(failing, strings.TrimSpace(at+" is "+a.Status+" "+a.Reason.Code))
	}
	switch {
	case len(failing) > 0:
		return engine.Waitf(20*time.Second, "backends of %s do not answer the balancer's health check: %s; does its private whitelist admit the balancer's local addresses %s?",
			target.InstanceID, strings.Join(failing, ", "), strings.Join(balancer.LocalAddresses, ", ")), true
	case len(fresh) > 0:
		return engine.Waitf(soon*3/2, "the health of %s is being checked for the first time", strings.Join(fresh, ", ")), true
	}
	return engine.Outcome{}, false
}

// Down deletes the listener, the servers and the group, in this order, and
// waits until all are gone.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.NLBBackend == nil {
		r.Facts.NLBBackend = &facts.NLBBackend{}
	}
	f := r.Facts.NLBBackend
	if busy, err := s.busy(ctx, r); busy || err != nil {
		return engine.Wait(soon, "the balancer's last change is being carried out"), err
	}
	l, err := s.findListener(ctx, r)
	switch {
	case err != nil:
		return engine.Outcome{}, err
	case l != nil && (l.Status == nlb.Running || l.Status == nlb.Stopped):
		f.Job, err = gone(s.Listeners.DeleteListener(ctx, l.ID))
		return engine.Waitf(soon, "listener %s is being deleted", l.ID), err
	case l != nil:
		return engine.Waitf(soon, "listener %s is %s", l.ID, l.Status), nil
	}
	g, err := s.findGroup(ctx, r)
	switch {
	case err != nil:
		return engine.Outcome{}, err
	case g == nil && s.Now().Before(f.Asked.Add(lag)):
		return engine.Wait(f.Asked.Add(lag).Sub(s.Now()), "a server group or listener was asked for and no reply came: waits until lists would show it"), nil
	case g == nil:
		r.Facts.NLBBackend = nil
		return engine.Done(), nil
	case g.Status != nlb.Available:
		return engine.Waitf(soon, "server group %s is %s", g.ID, g.Status), nil
	}
	have, err := s.Servers.Servers(ctx, g.ID)
	if err != nil {
		return engine.Outcome{}, err
	}
	if len(have) > 0 {
		f.Job, err = gone(s.Servers.RemoveServers(ctx, g.ID, have))
		return engine.Waitf(soon, "the servers of group %s are being removed", g.ID), err
	}
	f.Job, err = gone(s.Groups.DeleteServerGroup(ctx, g.ID))
	return engine.Waitf(soon, "server group %s is being deleted", g.ID), err
}

// busy reports whether the last change is still being carried out. Once it is
// done, its token may not stand for another.
func (s *Step) busy(ctx context.Context, r *run.Run) (bool, error) {
	j := r.Facts.NLBBackend.Job
	if j == nil {
		return false, nil
	}
	done, err := s.Health.JobDone(ctx, j.ID)
	if apierr.IsNotFound(err) {
		done, err = true, nil // forgotten: what it changed is looked at anyway
	}
	if err != nil || !done {
		return true, err
	}
	if j.Token != "" {
		r.NextToken(j.Token)
	}
	r.Facts.NLBBackend.Job = nil
	return false, nil
}

// job is what a write leaves to be awaited.
func job(id string, err error) (*facts.Job, error) {
	if err != nil {
		return nil, err
	}
	return &facts.Job{ID: id}, nil
}

// gone is job of a deletion, for which it is no error that somebody was faster.
func gone(id string, err error) (*facts.Job, error) {
	if apierr.IsNotFound(err) {
		return nil, nil
	}
	return job(id, err)
}
