// Package nlb is the step that creates the run's private load balancer, in the
// target's VPC, and deletes it.
package nlb

import (
	"context"
	"fmt"
	"time"

	"eslink/shared/aliyun/nlb"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Balancers are the load balancers of the account.
type Balancers interface {
	CreateLoadBalancer(ctx context.Context, n nlb.NewLoadBalancer, token string) (id string, err error)
	LoadBalancer(ctx context.Context, id string) (nlb.LoadBalancer, error)
	DeleteLoadBalancer(ctx context.Context, id string) (job string, err error)
}

// Step creates and deletes the balancer.
type Step struct {
	Balancers Balancers
	Lists     Lists
	Now       func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	c := nlb.New(d.Aliyun)
	return &Step{Balancers: c, Lists: c, Now: d.Now}
}

// what is the resource in tokens and names.
const what = "nlb"

// Up creates the balancer and waits until it is Active.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	lb, err := s.find(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if lb == nil {
		return s.create(ctx, r)
	}
	r.Facts.NLB = &facts.NLB{ID: lb.ID}
	switch lb.Status {
	case nlb.Active:
		if err := fits(lb, r.Facts.Preflight); err != nil {
			return engine.Outcome{}, err
		}
		r.Facts.NLB.LocalAddresses = local(lb)
		return engine.Done(), nil
	case nlb.Provisioning, nlb.Configuring:
		return engine.Waitf(s.pause(r), "load balancer %s is %s, which takes up to some minutes", lb.ID, lb.Status), nil
	case nlb.Deleting:
		return engine.Waitf(s.pause(r), "load balancer %s is being deleted; a new one follows when it is gone", lb.ID), nil
	case nlb.CreateFailed: // not billed; it can only be deleted
		if _, err := s.Balancers.DeleteLoadBalancer(ctx, lb.ID); err != nil {
			return engine.Outcome{}, err
		}
		return engine.Waitf(20*time.Second, "the cloud could not create load balancer %s; it is being deleted, and a new one follows", lb.ID), nil
	}
	return engine.Outcome{}, fmt.Errorf("load balancer %s is %s, which eslink cannot recover from: see the NLB console for the cause, fix it, then retry", lb.ID, lb.Status)
}

// create requests a balancer. Possible prior states: never requested; requested,
// and the reply or its ID was lost, while lists do not show it yet (the token
// returns the same balancer); an earlier one is gone (find has raised the token,
// or will when it reads the ID that the replay returned).
func (s *Step) create(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	p := r.Facts.Preflight
	n := nlb.NewLoadBalancer{Name: r.Name(what), VpcID: p.Target.VpcID, TagKey: run.TagKey, TagValue: r.Tag()}
	for _, v := range p.VSwitches {
		n.Zones = append(n.Zones, nlb.Zone{ID: v.ZoneID, VSwitchID: v.VSwitchID})
	}
	r.Facts.NLB = &facts.NLB{Asked: s.Now()}
	id, err := s.Balancers.CreateLoadBalancer(ctx, n, r.Token(what))
	if err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.NLB = &facts.NLB{ID: id}
	return engine.Waitf(30*time.Second, "load balancer %s is being created, which takes up to some minutes", id), nil
}

// Down deletes the balancer and waits until it is gone.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	lb, err := s.find(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if lb == nil {
		if f := r.Facts.NLB; f != nil {
			if out, wait := ensure.AwaitList("load balancer", f.Asked, s.Now()); wait {
				return out, nil
			}
		}
		r.Facts.NLB = nil
		return engine.Done(), nil
	}
	r.Facts.NLB = &facts.NLB{ID: lb.ID}
	switch lb.Status {
	case nlb.Deleting, nlb.Provisioning, nlb.Configuring: // the latter two refuse deletion
		return engine.Waitf(s.pause(r), "load balancer %s is %s", lb.ID, lb.Status), nil
	}
	if _, err := s.Balancers.DeleteLoadBalancer(ctx, lb.ID); apierr.IgnoreNotFound(err) != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(20*time.Second, "load balancer %s is being deleted", lb.ID), nil
}

// pause is until the next look at a balancer that is changing.
func (s *Step) pause(r *run.Run) time.Duration {
	return ensure.Pause(r.Cursor.Since, s.Now(), 10*time.Second, 45*time.Second)
}
