// Package clbbackend is the step that puts the ECS host behind the run's load
// balancer, with a server group and a listener for each port, and removes them.
// It has a file for each of the two resources.
package clbbackend

import (
	"context"
	"fmt"
	"slices"
	"time"

	"eslink/shared/aliyun/slb"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Cloud is what the step needs of CLB.
type Cloud interface {
	LoadBalancer(ctx context.Context, id string) (slb.LoadBalancer, error)
	Groups
	Servers
	Listeners
}

// Step creates and deletes server groups and listeners.
type Step struct {
	Cloud Cloud
	Rows  ensure.Rows
	Now   func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	return &Step{Cloud: slb.New(d.Aliyun), Rows: d.Runs, Now: d.Now}
}

// soon is when to look again after a change, which keeps the balancer busy for
// some seconds.
const soon = 5 * time.Second

// Up brings one port after the other to a running listener and a healthy
// backend. What the run had on ports that its spec no longer names is removed
// first.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.CLB == nil || r.Facts.CLB.ID == "" {
		return engine.Outcome{}, fmt.Errorf("run %s has no load balancer on record: step clb writes it", r.ID)
	}
	if r.Facts.CLBBackend == nil {
		r.Facts.CLBBackend = &facts.CLBBackend{}
	}
	f := r.Facts.CLBBackend
	lb, err := s.Cloud.LoadBalancer(ctx, r.Facts.CLB.ID)
	if err != nil {
		return engine.Outcome{}, err
	}
	for i, p := range f.Ports {
		if slices.Contains(r.Spec.Ports(), p.Port) {
			continue
		}
		if out, err := s.portDown(ctx, r, lb, p.Port); err != nil || !out.IsDone() {
			return out, err
		}
		f.Ports = slices.Delete(f.Ports, i, i+1)
		return engine.Waitf(time.Second, "port %d of load balancer %s is removed", p.Port, lb.ID), nil
	}
	for _, port := range r.Spec.Ports() {
		if out, err := s.portUp(ctx, r, lb, port); err != nil || !out.IsDone() {
			return out, err
		}
	}
	return engine.Done(), nil
}

// portUp is Up of one port. A host that is no backend any more is removed last,
// so that a move interrupts nothing.
func (s *Step) portUp(ctx context.Context, r *run.Run, lb slb.LoadBalancer, port int) (engine.Outcome, error) {
	host := slb.Server{ID: r.Facts.Preflight.ECS.InstanceID, Port: port}
	g, out, err := s.groupUp(ctx, r, lb.ID, host)
	if err != nil || !out.IsDone() {
		return out, err
	}
	if out, err := s.listenerUp(ctx, lb, g.ID, port); err != nil || !out.IsDone() {
		return out, err
	}
	if out, err := s.healthy(ctx, r, lb.ID, host); err != nil || !out.IsDone() {
		return out, err
	}
	return s.removeOthers(ctx, *g, host)
}

// Down deletes listeners and groups and waits until they are gone.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.CLB == nil || r.Facts.CLB.ID == "" {
		r.Facts.CLBBackend = nil
		return engine.Done(), nil // no balancer, no listener
	}
	lb, err := s.Cloud.LoadBalancer(ctx, r.Facts.CLB.ID)
	if apierr.IsNotFound(err) {
		r.Facts.CLBBackend = nil
		return engine.Done(), nil // its groups and listeners are gone with it
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
		if out, err := s.portDown(ctx, r, lb, port); err != nil || !out.IsDone() {
			return out, err
		}
	}
	r.Facts.CLBBackend = nil
	return engine.Done(), nil
}

// portDown is Down of one port. A group that was requested, and is not listed
// yet, is deleted with the balancer.
func (s *Step) portDown(ctx context.Context, r *run.Run, lb slb.LoadBalancer, port int) (engine.Outcome, error) {
	if lb.Listens(port) == "tcp" {
		if err := s.Cloud.DeleteListener(ctx, lb.ID, port); apierr.IgnoreNotFound(err) != nil {
			return engine.Outcome{}, err
		}
		return engine.Waitf(soon, "listener %d of load balancer %s is being deleted", port, lb.ID), nil
	}
	g, err := s.findGroup(ctx, r, lb.ID, port)
	if err != nil {
		return engine.Outcome{}, err
	}
	if g == nil {
		return engine.Done(), nil
	}
	if err := s.Cloud.DeleteGroup(ctx, g.ID); apierr.IgnoreNotFound(err) != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(soon, "server group %s of port %d is being deleted", g.ID, port), nil
}
