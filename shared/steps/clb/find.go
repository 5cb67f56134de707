package clb

import (
	"context"
	"fmt"

	"eslink/shared/aliyun/slb"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Lists find balancers whose ID is not known. They may trail a write.
type Lists interface {
	LoadBalancersTagged(ctx context.Context, key, value string) ([]slb.LoadBalancer, error)
	LoadBalancersNamed(ctx context.Context, name string) ([]slb.LoadBalancer, error)
}

// find returns the run's balancer, or nil.
func (s *Step) find(ctx context.Context, r *run.Run) (*slb.LoadBalancer, error) {
	l := ensure.Lookup[slb.LoadBalancer]{
		Kind:      "load balancer",
		ID:        func(lb slb.LoadBalancer) string { return lb.ID },
		Get:       s.Balancers.LoadBalancer,
		Owned:     ensure.ByTag(r, s.Lists.LoadBalancersTagged),
		Named:     ensure.ByName(r, what, s.Lists.LoadBalancersNamed),
		Direction: r.Direction,
		Remedy:    "delete those that serve no endpoint service",
	}
	if f := r.Facts.CLB; f != nil {
		l.Recorded = f.ID
		l.Gone = func() {
			r.NextToken(token(f.Spec))
			r.Facts.CLB = &facts.CLB{Spec: f.Spec}
		}
	}
	return l.Find(ctx)
}

// fits checks a balancer against what preflight chose.
func fits(lb *slb.LoadBalancer, p *facts.Preflight) error {
	if lb.AddressType != "intranet" || lb.VpcID != p.ECS.VpcID || lb.ZoneID != p.Zone {
		return fmt.Errorf("clb %s is %s in %s, zone %s, instead of intranet in %s, zone %s: tear down, or delete it by hand, then start again",
			lb.ID, lb.AddressType, lb.VpcID, lb.ZoneID, p.ECS.VpcID, p.Zone)
	}
	return nil
}
