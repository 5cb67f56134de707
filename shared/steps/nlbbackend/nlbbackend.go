// Package nlbbackend is the step that puts the source cluster's private
// addresses behind the run's load balancer, and removes them. It runs in the
// source's VPC, where the source's domains resolve. It has a file for each
// resource: the server group, its servers, the listener.
package nlbbackend

import (
	"context"
	"time"

	"eslink/shared/aliyun"
	"eslink/shared/aliyun/nlb"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Cloud is what the step needs of NLB.
type Cloud interface {
	Groups
	Servers
	Listeners
	Health
	ensure.Jobs
}

// Step creates and deletes the server group and the listener.
type Step struct {
	Cloud    Cloud
	Resolver aliyun.Resolver
	Now      func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	return &Step{Cloud: nlb.New(d.Aliyun), Resolver: d.Aliyun.Resolver, Now: d.Now}
}

// soon is when to look again after a change: its job takes 1 to 20 s.
const soon = 8 * time.Second

// Up creates the group and the listener, and makes the servers those addresses
// that the source has now; it is done when they are healthy. Addresses that the
// source no longer has are removed last, so that a move interrupts nothing.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if out, err := s.awaitJob(ctx, r); err != nil || !out.IsDone() {
		return out, err
	}
	want, err := s.addresses(ctx, r.Facts.Preflight.Target)
	if err != nil {
		return engine.Outcome{}, err
	}
	if out, err := s.groupUp(ctx, r); err != nil || !out.IsDone() {
		return out, err
	}
	f := r.Facts.NLBBackend
	have, err := s.Cloud.Servers(ctx, f.ServerGroupID)
	if err != nil {
		return engine.Outcome{}, err
	}
	if out, err := s.add(ctx, r, have, want); err != nil || !out.IsDone() {
		return out, err
	}
	if out, err := s.listenerUp(ctx, r); err != nil || !out.IsDone() {
		return out, err
	}
	if out, err := s.healthy(ctx, r, want); err != nil || !out.IsDone() {
		return out, err
	}
	if out, err := s.remove(ctx, r, have, want); err != nil || !out.IsDone() {
		return out, err
	}
	*f = facts.NLBBackend{ServerGroupID: f.ServerGroupID, ListenerID: f.ListenerID}
	for _, x := range want {
		f.Servers = append(f.Servers, x.IP)
	}
	return engine.Done(), nil
}

// Down deletes the listener, the servers and the group, in this order, and
// waits until all are gone.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if out, err := s.awaitJob(ctx, r); err != nil || !out.IsDone() {
		return out, err
	}
	if out, err := s.listenerDown(ctx, r); err != nil || !out.IsDone() {
		return out, err
	}
	if out, err := s.groupDown(ctx, r); err != nil || !out.IsDone() {
		return out, err
	}
	r.Facts.NLBBackend = nil
	return engine.Done(), nil
}

// awaitJob is Done when no change of the balancer is being carried out.
func (s *Step) awaitJob(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.NLBBackend == nil {
		r.Facts.NLBBackend = &facts.NLBBackend{}
	}
	running, err := ensure.Await(ctx, s.Cloud, r, &r.Facts.NLBBackend.Job)
	if err != nil {
		return engine.Outcome{}, err
	}
	if running {
		return engine.Wait(soon, "the load balancer's last change is being carried out"), nil
	}
	return engine.Done(), nil
}
