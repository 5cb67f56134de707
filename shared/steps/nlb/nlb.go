// Package nlb is the step that makes the run's private load balancer, in the
// target's VPC, and takes it away.
package nlb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"eslink/shared/aliyun/nlb"
	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps"
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

// Step makes and deletes the balancer.
type Step struct {
	Balancers Balancers
	Lists     Lists
	Now       func() time.Time
}

// New returns the step for a function.
func New(d steps.Deps) engine.Step {
	c := nlb.New(d.Cloud)
	return &Step{Balancers: c, Lists: c, Now: d.Cloud.Now}
}

const (
	// what names the balancer's token and its name.
	what = "nlb"
	// lag is how long a list may trail a write.
	lag = 2 * time.Minute
)

// Up makes the balancer and waits until it is Active.
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
	case nlb.CreateFailed: // not billed, and good for nothing but deletion
		if _, err := s.Balancers.DeleteLoadBalancer(ctx, lb.ID); err != nil {
			return engine.Outcome{}, err
		}
		return engine.Waitf(20*time.Second, "the cloud could not create load balancer %s; it is being deleted, and a new one follows", lb.ID), nil
	}
	return engine.Outcome{}, fmt.Errorf("nlb %s is %s, which eslink cannot mend: see in the NLB console why, then retry", lb.ID, lb.Status)
}

// create asks for a balancer when none was found. The pasts it can meet: it was
// never asked for; the reply to an earlier request was lost, or its ID with a
// crash, while lists do not show it yet (the token brings the same balancer
// again); an earlier one is gone (then find has raised the token, or it will
// when it reads the ID that the replay names).
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
		if f := r.Facts.NLB; f != nil && s.Now().Before(f.Asked.Add(lag)) {
			return engine.Wait(f.Asked.Add(lag).Sub(s.Now()), "a load balancer was asked for and no reply came: waits until lists would show it"), nil
		}
		r.Facts.NLB = nil
		return engine.Done(), nil
	}
	r.Facts.NLB = &facts.NLB{ID: lb.ID}
	switch lb.Status {
	case nlb.Deleting, nlb.Provisioning, nlb.Configuring: // the latter two refuse deletion
		return engine.Waitf(s.pause(r), "load balancer %s is %s", lb.ID, lb.Status), nil
	}
	if _, err := s.Balancers.DeleteLoadBalancer(ctx, lb.ID); err != nil && !apierr.IsNotFound(err) {
		return engine.Outcome{}, err
	}
	return engine.Waitf(20*time.Second, "load balancer %s is being deleted", lb.ID), nil
}

// find returns the run's balancer, or nil: the recorded one, else the one that
// bears the run's tag, else (on the way up: only what record or tag own may be
// deleted) the one of the run's name.
func (s *Step) find(ctx context.Context, r *run.Run) (*nlb.LoadBalancer, error) {
	if f := r.Facts.NLB; f != nil && f.ID != "" {
		lb, err := s.Balancers.LoadBalancer(ctx, f.ID)
		if !apierr.IsNotFound(err) {
			return &lb, err
		}
		r.NextToken(what) // it is gone, by our hand or another's
		r.Facts.NLB = nil
	}
	listed, err := s.Lists.LoadBalancersTagged(ctx, run.TagKey, r.Tag())
	if err == nil && len(listed) == 0 && r.Direction != run.Down {
		listed, err = s.Lists.LoadBalancersNamed(ctx, r.Name(what))
	}
	if err != nil {
		return nil, err
	}
	var found *nlb.LoadBalancer
	var ids []string
	for _, l := range listed {
		lb, err := s.Balancers.LoadBalancer(ctx, l.ID) // lists show for a while what is gone
		if apierr.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if found == nil || found.Status == nlb.Deleting {
			found = &lb
		}
		if lb.Status != nlb.Deleting {
			ids = append(ids, lb.ID)
		}
	}
	if len(ids) < 2 {
		return found, nil
	}
	return nil, fmt.Errorf("nlbs %s all belong to run %s: delete those that serve no endpoint service, then retry", strings.Join(ids, ", "), r.ID)
}

// fits holds a found balancer to what preflight chose.
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

// pause grows with the time that the step has taken, so that polling adds a
// little to whatever the cloud needs, and few invocations.
func (s *Step) pause(r *run.Run) time.Duration {
	return min(max(s.Now().Sub(r.Cursor.Since)/3, 10*time.Second), 45*time.Second)
}
