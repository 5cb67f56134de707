// Package nlb is the step that creates the run's private load balancer, in the
// target's VPC, and deletes it.
package nlb

import (
	"context"
	"fmt"
	"slices"
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

// Lists find balancers whose ID is not known. They may trail a write.
type Lists interface {
	LoadBalancersTagged(ctx context.Context, key, value string) ([]nlb.LoadBalancer, error)
	LoadBalancersNamed(ctx context.Context, name string) ([]nlb.LoadBalancer, error)
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

// find returns the run's balancer, or nil.
func (s *Step) find(ctx context.Context, r *run.Run) (*nlb.LoadBalancer, error) {
	l := ensure.Lookup[nlb.LoadBalancer]{
		Kind: "load balancer",
		ID:   func(lb nlb.LoadBalancer) string { return lb.ID },
		Get:  s.Balancers.LoadBalancer,
		Gone: func() {
			r.NextToken(what)
			r.Facts.NLB = nil
		},
		Owned:     ensure.ByTag(r, s.Lists.LoadBalancersTagged),
		Named:     ensure.ByName(r, what, s.Lists.LoadBalancersNamed),
		Direction: r.Direction,
		Leaving:   func(lb nlb.LoadBalancer) bool { return lb.Status == nlb.Deleting },
		Remedy:    "delete those that serve no endpoint service",
	}
	if r.Facts.NLB != nil {
		l.Recorded = r.Facts.NLB.ID
	}
	return l.Find(ctx)
}

// fits checks a balancer against what preflight chose.
func fits(lb *nlb.LoadBalancer, p *facts.Preflight) error {
	if lb.AddressType != "Intranet" || lb.VpcID != p.Target.VpcID {
		return fmt.Errorf("nlb %s is %s in %s instead of Intranet in %s: tear down, or delete it by hand, then start again", lb.ID, lb.AddressType, lb.VpcID, p.Target.VpcID)
	}
	for _, v := range p.VSwitches {
		if !slices.ContainsFunc(lb.Zones, func(z nlb.Zone) bool { return z.ID == v.ZoneID }) {
			return fmt.Errorf("nlb %s is not in zone %s, which preflight chose: add that zone to it in the NLB console, then retry", lb.ID, v.ZoneID)
		}
	}
	return nil
}

// local lists the addresses that the balancer talks to its backends from.
func local(lb *nlb.LoadBalancer) []string {
	var ips []string
	for _, z := range lb.Zones {
		for _, a := range z.Addresses {
			ips = append(ips, a.Local...)
		}
	}
	slices.Sort(ips)
	return slices.Compact(ips)
}

// pause is until the next look at a balancer that is changing.
func (s *Step) pause(r *run.Run) time.Duration {
	return ensure.Pause(r.Cursor.Since, s.Now(), 10*time.Second, 45*time.Second)
}
