package nlb

import (
	"context"
	"fmt"
	"slices"

	"eslink/shared/aliyun/nlb"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Lists find balancers whose ID is not known. They may trail a write.
type Lists interface {
	LoadBalancersTagged(ctx context.Context, key, value string) ([]nlb.LoadBalancer, error)
	LoadBalancersNamed(ctx context.Context, name string) ([]nlb.LoadBalancer, error)
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
