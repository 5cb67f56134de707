// Package clb is the step that makes the run's private Classic Load Balancer, in
// the ECS host's VPC, and takes it away.
package clb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"eslink/shared/aliyun/slb"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Balancers are the load balancers of the account.
type Balancers interface {
	CreateLoadBalancer(ctx context.Context, n slb.NewLoadBalancer, token string) (id string, err error)
	LoadBalancer(ctx context.Context, id string) (slb.LoadBalancer, error)
	DeleteLoadBalancer(ctx context.Context, id string) error
}

// Lists find balancers whose ID is not known. They may trail a write.
type Lists interface {
	LoadBalancersTagged(ctx context.Context, key, value string) ([]slb.LoadBalancer, error)
	LoadBalancersNamed(ctx context.Context, name string) ([]slb.LoadBalancer, error)
}

// Step makes and deletes the balancer.
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
	// what names the balancer and its token.
	what = "clb"
	// lag is how long a list may trail a write.
	lag = 2 * time.Minute
	// pause is when to look again: balancers are ready in a minute at most.
	pause = 10 * time.Second
	// bySpec is the smallest balancer that is paid for by specification.
	bySpec = "slb.s1.small"
)

// Up makes the balancer and waits until it is active.
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
		return engine.Done(), fits(lb, r.Facts.Preflight)
	case slb.Inactive:
		return engine.Waitf(pause, "clb %s is %s: it is being made, which takes up to a minute, or somebody stopped it in the CLB console", lb.ID, lb.Status), nil
	}
	return engine.Outcome{}, fmt.Errorf("clb %s is %s, which eslink cannot mend: see in the CLB console why (an unpaid bill locks it), then retry", lb.ID, lb.Status)
}

// create asks for a balancer when none was found. The pasts it can meet: it was
// never asked for; the reply to an earlier request was lost, or its ID with a
// crash, while lists do not show it yet (the token brings the same balancer
// again); an earlier one is gone (then find has raised the token, or it will
// when it reads the ID that the replay names); the way of paying was refused,
// before or just now (another way is another request, with a token of its own).
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
		return engine.Waitf(time.Second, "the account may not be offered pay-by-LCU (%v): asks for a balancer of specification %s", err, bySpec), nil
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.CLB = &facts.CLB{ID: id, Spec: spec}
	return engine.Waitf(pause, "clb %s is being made, which takes up to a minute", id), nil
}

func token(spec string) string { return what + "/" + spec }

// Down deletes the balancer and sees it gone.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	lb, err := s.find(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if lb == nil {
		if f := r.Facts.CLB; f != nil && s.Now().Before(f.Asked.Add(lag)) {
			return engine.Wait(f.Asked.Add(lag).Sub(s.Now()), "a balancer was asked for and no reply came: waits until lists would show it"), nil
		}
		r.Facts.CLB = nil
		return engine.Done(), nil
	}
	s.record(r, lb)
	if err := s.Balancers.DeleteLoadBalancer(ctx, lb.ID); err != nil && !apierr.IsNotFound(err) {
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

// find returns the run's balancer, or nil: the recorded one, else the one that
// bears the run's tag, else (on the way up: only what record or tag own may be
// deleted) the one of the run's name.
func (s *Step) find(ctx context.Context, r *run.Run) (*slb.LoadBalancer, error) {
	if f := r.Facts.CLB; f != nil && f.ID != "" {
		lb, err := s.Balancers.LoadBalancer(ctx, f.ID)
		if !apierr.IsNotFound(err) {
			return &lb, err
		}
		r.NextToken(token(f.Spec)) // it is gone, by our hand or another's
		r.Facts.CLB = &facts.CLB{Spec: f.Spec}
	}
	listed, err := s.Lists.LoadBalancersTagged(ctx, run.TagKey, r.Tag())
	if err == nil && len(listed) == 0 && r.Direction != run.Down {
		listed, err = s.Lists.LoadBalancersNamed(ctx, r.Name(what))
	}
	if err != nil {
		return nil, err
	}
	var found *slb.LoadBalancer
	var ids []string
	for _, l := range listed {
		lb, err := s.Balancers.LoadBalancer(ctx, l.ID) // lists show for a while what is gone
		if apierr.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found, ids = &lb, append(ids, lb.ID)
	}
	if len(ids) > 1 {
		return nil, fmt.Errorf("clbs %s all belong to run %s: delete those that serve no endpoint service, then retry", strings.Join(ids, ", "), r.ID)
	}
	return found, nil
}

// fits holds a found balancer to what preflight chose.
func fits(lb *slb.LoadBalancer, p *facts.Preflight) error {
	if lb.AddressType != "intranet" || lb.VpcID != p.ECS.VpcID || lb.ZoneID != p.Zone {
		return fmt.Errorf("clb %s is %s in %s, zone %s, instead of intranet in %s, zone %s: tear down, or delete it by hand, then start again",
			lb.ID, lb.AddressType, lb.VpcID, lb.ZoneID, p.ECS.VpcID, p.Zone)
	}
	return nil
}
