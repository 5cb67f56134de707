// Package clb is the step that creates the run's private Classic Load Balancer, in
// the ECS host's VPC, and deletes it.
package clb

import (
	"context"
	"fmt"
	"time"

	"eslink/shared/aliyun/slb"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Balancers are the load balancers of the account.
type Balancers interface {
	CreateLoadBalancer(ctx context.Context, n slb.NewLoadBalancer, token string) (id string, err error)
	LoadBalancer(ctx context.Context, id string) (slb.LoadBalancer, error)
	DeleteLoadBalancer(ctx context.Context, id string) error
}

// Step creates and deletes the balancer.
type Step struct {
	Balancers Balancers
	Lists     Lists
	Now       func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	c := slb.New(d.Aliyun)
	return &Step{Balancers: c, Lists: c, Now: d.Now}
}

const (
	// what is the resource in tokens and names.
	what = "clb"
	// pause is when to look again: balancers are ready in a minute at most.
	pause = 10 * time.Second
	// bySpec is the smallest balancer that is paid for by specification.
	bySpec = "slb.s1.small"
)

// Up creates the balancer and waits until it is active.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	lb, err := s.find(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if lb == nil {
		return s.create(ctx, r)
	}
	s.record(r, lb)
	switch lb.Status {
	case slb.Active:
		if err := fits(lb, r.Facts.Preflight); err != nil {
			return engine.Outcome{}, err
		}
		return engine.Done(), nil
	case slb.Inactive:
		return engine.Waitf(pause, "clb %s is %s: it is being created, which takes up to a minute, or somebody stopped it in the CLB console", lb.ID, lb.Status), nil
	}
	return engine.Outcome{}, fmt.Errorf("clb %s is %s, which eslink cannot recover from: see the CLB console for the cause (an unpaid bill locks it), fix it, then retry", lb.ID, lb.Status)
}

// create requests a balancer. Possible prior states: never requested; requested,
// and the reply or its ID was lost, while lists do not show it yet (the token
// returns the same balancer); an earlier one is gone (find has raised the token,
// or will when it reads the ID that the replay returned); the way of paying was
// refused (the other way is another request, with a token of its own).
func (s *Step) create(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	p, spec := r.Facts.Preflight, ""
	if r.Facts.CLB != nil {
		spec = r.Facts.CLB.Spec
	}
	n := slb.NewLoadBalancer{Name: r.Name(what), VpcID: p.ECS.VpcID, VSwitchID: p.VSwitches[0].VSwitchID, ZoneID: p.Zone,
		Spec: spec, TagKey: run.TagKey, TagValue: r.Tag()}
	r.Facts.CLB = &facts.CLB{Spec: spec, Asked: s.Now()}
	id, err := s.Balancers.CreateLoadBalancer(ctx, n, r.Token(token(spec)))
	if spec == "" && slb.NotOffered(err) {
		r.Facts.CLB = &facts.CLB{Spec: bySpec}
		return engine.Waitf(time.Second, "this account cannot buy pay-by-LCU (%v): requests a load balancer of specification %s instead", err, bySpec), nil
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.CLB = &facts.CLB{ID: id, Spec: spec}
	return engine.Waitf(pause, "clb %s is being created, which takes up to a minute", id), nil
}

func token(spec string) string { return what + "/" + spec }

// Down deletes the balancer and waits until it is gone.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	lb, err := s.find(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if lb == nil {
		if f := r.Facts.CLB; f != nil {
			if out, wait := ensure.AwaitList("load balancer", f.Asked, s.Now()); wait {
				return out, nil
			}
		}
		r.Facts.CLB = nil
		return engine.Done(), nil
	}
	s.record(r, lb)
	if err := s.Balancers.DeleteLoadBalancer(ctx, lb.ID); apierr.IgnoreNotFound(err) != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(pause, "clb %s is being deleted", lb.ID), nil
}

func (s *Step) record(r *run.Run, lb *slb.LoadBalancer) {
	spec := ""
	if r.Facts.CLB != nil {
		spec = r.Facts.CLB.Spec
	}
	r.Facts.CLB = &facts.CLB{ID: lb.ID, Address: lb.Address, Spec: spec}
}
