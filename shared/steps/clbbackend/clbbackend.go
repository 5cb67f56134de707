// Package clbbackend is the step that puts the ECS host behind the run's
// balancer, with a listener and a server group for each port, and takes them
// away.
package clbbackend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"eslink/shared/aliyun/slb"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Groups are server groups. The list of them may trail a write.
type Groups interface {
	CreateGroup(ctx context.Context, n slb.NewGroup) (id string, err error)
	Group(ctx context.Context, id string) (slb.Group, error)
	Groups(ctx context.Context, loadBalancerID string) ([]slb.Group, error)
	DeleteGroup(ctx context.Context, id string) error
}

// Servers change what stands in a group.
type Servers interface {
	AddServers(ctx context.Context, groupID string, servers []slb.Server) error
	RemoveServers(ctx context.Context, groupID string, servers []slb.Server) error
}

// Listeners are the ports of a balancer.
type Listeners interface {
	CreateListener(ctx context.Context, loadBalancerID, groupID string, port int) error
	Listener(ctx context.Context, loadBalancerID string, port int) (slb.Listener, error)
	StartListener(ctx context.Context, loadBalancerID string, port int) error
	DeleteListener(ctx context.Context, loadBalancerID string, port int) error
}

// State tells how the balancer and its backends fare.
type State interface {
	LoadBalancer(ctx context.Context, id string) (slb.LoadBalancer, error)
	Health(ctx context.Context, loadBalancerID string, port int) ([]slb.Health, error)
}

// Parts keep what must be known before the record is saved.
type Parts interface {
	PutPart(ctx context.Context, runID, name string, v any) error
	GetPart(ctx context.Context, runID, name string, v any) error
}

// Step makes and deletes groups and listeners.
type Step struct {
	Groups    Groups
	Servers   Servers
	Listeners Listeners
	State     State
	Parts     Parts
	Now       func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	c := slb.New(d.Aliyun)
	return &Step{Groups: c, Servers: c, Listeners: c, State: c, Parts: d.Runs, Now: d.Now}
}

const (
	// lag is how long a list may trail a write.
	lag = 2 * time.Minute
	// soon is when to look again after a change, which keeps the balancer busy
	// for some seconds.
	soon = 5 * time.Second
)

// Up brings one port after the other to a listener that runs and a backend that
// is healthy. Ports that the run has left are taken back first.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.CLB == nil || r.Facts.CLB.ID == "" {
		return engine.Outcome{}, fmt.Errorf("run %s has no balancer on record: step clb writes it", r.ID)
	}
	if r.Facts.CLBBackend == nil {
		r.Facts.CLBBackend = &facts.CLBBackend{}
	}
	f := r.Facts.CLBBackend
	lb, err := s.State.LoadBalancer(ctx, r.Facts.CLB.ID)
	if err != nil {
		return engine.Outcome{}, err
	}
	for i, p := range f.Ports {
		if slices.Contains(r.Spec.Ports(), p.Port) {
			continue
		}
		if out, err := s.take(ctx, r, lb, p.Port); err != nil || !out.IsDone() {
			return out, err
		}
		f.Ports = slices.Delete(f.Ports, i, i+1)
		return engine.Waitf(time.Second, "port %d of clb %s is taken back", p.Port, lb.ID), nil
	}
	for _, port := range r.Spec.Ports() {
		if out, err := s.serve(ctx, r, lb, port); err != nil || !out.IsDone() {
			return out, err
		}
	}
	return engine.Done(), nil
}

// serve is Up of one port.
func (s *Step) serve(ctx context.Context, r *run.Run, lb slb.LoadBalancer, port int) (engine.Outcome, error) {
	host := slb.Server{ID: r.Facts.Preflight.ECS.InstanceID, Port: port}
	g, err := s.find(ctx, r, lb.ID, port)
	switch {
	case err != nil:
		return engine.Outcome{}, err
	case g == nil:
		return s.create(ctx, r, lb.ID, host)
	case !slices.Contains(g.Servers.All, host):
		err := s.Servers.AddServers(ctx, g.ID, []slb.Server{host})
		return engine.Waitf(soon, "ECS instance %s is being added as a backend for port %d", host.ID, port), err
	}
	switch protocol := lb.Listens(port); protocol {
	case "tcp":
	case "": // There is one listener a port, and no read of the balancer lags: no past can make two.
		err := s.Listeners.CreateListener(ctx, lb.ID, g.ID, port)
		return engine.Waitf(soon, "listener %d of clb %s is being made", port, lb.ID), err
	default:
		return engine.Outcome{}, fmt.Errorf("listener %d of clb %s speaks %s, not plain TCP: delete it, then retry", port, lb.ID, protocol)
	}
	l, err := s.Listeners.Listener(ctx, lb.ID, port)
	switch {
	case apierr.IsNotFound(err): // this very moment
		return engine.Waitf(soon, "listener %d of clb %s was deleted, and is made anew", port, lb.ID), nil
	case err != nil:
		return engine.Outcome{}, err
	case l.GroupID != g.ID && (l.Status == slb.Running || l.Status == slb.Stopped): // its group was deleted, and made anew
		err := s.Listeners.DeleteListener(ctx, lb.ID, port)
		return engine.Waitf(soon, "listener %d of clb %s leads to another server group; it is being deleted and made anew", port, lb.ID), err
	case l.ProxyProtocol || l.HealthCheck != "on":
		return engine.Outcome{}, fmt.Errorf("listener %d of clb %s (proxy protocol: %t, health check %s) is not as eslink makes it: delete it, then retry", port, lb.ID, l.ProxyProtocol, l.HealthCheck)
	case l.Status == slb.Stopped: // as it is born
		err := s.Listeners.StartListener(ctx, lb.ID, port)
		return engine.Waitf(2*soon, "listener %d of clb %s is being started", port, lb.ID), err
	case l.Status != slb.Running:
		return engine.Waitf(soon, "listener %d of clb %s is %s", port, lb.ID, l.Status), nil
	}
	health, err := s.State.Health(ctx, lb.ID, port)
	if err != nil {
		return engine.Outcome{}, err
	}
	if out, ok := unhealthy(r, health, host); ok {
		return out, nil
	}
	if left := slices.DeleteFunc(slices.Clone(g.Servers.All), func(x slb.Server) bool { return x == host }); len(left) > 0 {
		err := s.Servers.RemoveServers(ctx, g.ID, left)
		return engine.Waitf(soon, "%s is no backend of port %d any more and is being removed", left[0].ID, port), err
	}
	return engine.Done(), nil
}

// unhealthy waits while the host does not pass the health check.
func unhealthy(r *run.Run, health []slb.Health, host slb.Server) (engine.Outcome, bool) {
	i := slices.IndexFunc(health, func(h slb.Health) bool { return h.Server == host })
	switch {
	case i < 0 || health[i].Status == slb.Unavailable:
		return engine.Waitf(soon, "the health of port %d of ECS instance %s is being checked for the first time", host.Port, host.ID), true
	case health[i].Status == slb.Normal:
		return engine.Outcome{}, false
	}
	e := r.Facts.Preflight.ECS
	return engine.Waitf(20*time.Second, "backend %s (%s:%d) is %s: the balancer's connections to it fail. Is a service listening there on 0.0.0.0 (on 127.0.0.1 nobody else reaches it)? Does the host's own firewall (iptables) admit 100.64.0.0/10? Neither can be seen from here; does security group %s still have the run's rules (start again puts them back)?",
		host.ID, e.PrivateIP, host.Port, health[i].Status, r.Facts.Firewall.SecurityGroupID), true
}

// asked is the row "asked/<port>": when a group was asked for last.
type asked struct {
	At time.Time `json:"at,omitzero"`
}

func part(port int) string { return fmt.Sprintf("asked/%d", port) }

// create asks for a group, the host in it, when none was found. There is no
// token, so that it is about to ask is written first. The pasts it can meet: it
// was never asked for; it was asked for, and the reply was lost, or its ID with a
// crash: then it waits until the list would show it; it was refused; an earlier
// one is gone.
func (s *Step) create(ctx context.Context, r *run.Run, balancer string, host slb.Server) (engine.Outcome, error) {
	var before asked
	if err := s.Parts.GetPart(ctx, r.ID, part(host.Port), &before); err != nil && !errors.Is(err, run.ErrNotFound) {
		return engine.Outcome{}, err
	}
	if until := before.At.Add(lag); s.Now().Before(until) {
		return engine.Waitf(until.Sub(s.Now()), "a server group for port %d was asked for a short while ago: waits until the list would show it", host.Port), nil
	}
	if err := s.Parts.PutPart(ctx, r.ID, part(host.Port), asked{s.Now()}); err != nil {
		return engine.Outcome{}, err
	}
	id, err := s.Groups.CreateGroup(ctx, slb.NewGroup{LoadBalancerID: balancer, Name: name(r, host.Port), TagKey: run.TagKey, TagValue: r.Tag(), Servers: []slb.Server{host}})
	if refused(err) {
		if err := s.Parts.PutPart(ctx, r.ID, part(host.Port), asked{}); err != nil {
			return engine.Outcome{}, err
		}
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	record(r, host.Port, id)
	return engine.Waitf(soon, "server group %s is being made for port %d", id, host.Port), nil
}

// refused reports whether a request certainly had no effect.
func refused(err error) bool {
	var e *apierr.Error
	return errors.As(err, &e) && e.Status >= 400 && e.Status < 500
}

// Down deletes listeners and groups and sees them gone.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.CLB == nil || r.Facts.CLB.ID == "" {
		r.Facts.CLBBackend = nil
		return engine.Done(), nil // no balancer, no listener
	}
	lb, err := s.State.LoadBalancer(ctx, r.Facts.CLB.ID)
	if apierr.IsNotFound(err) {
		r.Facts.CLBBackend = nil
		return engine.Done(), nil // it took all of them along
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	ports := r.Spec.Ports()
	if f := r.Facts.CLBBackend; f != nil {
		for _, p := range f.Ports {
			ports = append(ports, p.Port)
		}
	}
	for _, port := range ports {
		if out, err := s.take(ctx, r, lb, port); err != nil || !out.IsDone() {
			return out, err
		}
	}
	r.Facts.CLBBackend = nil
	return engine.Done(), nil
}

// take is Down of one port. A group that was asked for and is not known goes
// with the balancer.
func (s *Step) take(ctx context.Context, r *run.Run, lb slb.LoadBalancer, port int) (engine.Outcome, error) {
	if lb.Listens(port) == "tcp" {
		err := s.Listeners.DeleteListener(ctx, lb.ID, port)
		if apierr.IsNotFound(err) {
			err = nil
		}
		return engine.Waitf(soon, "listener %d of clb %s is being deleted", port, lb.ID), err
	}
	g, err := s.find(ctx, r, lb.ID, port)
	if err != nil || g == nil {
		return engine.Done(), err
	}
	if err = s.Groups.DeleteGroup(ctx, g.ID); apierr.IsNotFound(err) {
		err = nil
	}
	return engine.Waitf(soon, "server group %s of port %d is being deleted", g.ID, port), err
}
