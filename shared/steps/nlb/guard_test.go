package nlb_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	product "eslink/shared/aliyun/nlb"
	"eslink/shared/apierr"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/nlb"
	"eslink/shared/steps/stepstest"
)

var errGone = &apierr.Error{Class: apierr.NotFound, Code: "ResourceNotFound"}

// stub answers with what it holds and notes what it is asked to change.
type stub struct {
	balancers     map[string]product.LoadBalancer
	tagged, named []product.LoadBalancer
	listErr       error
	refuse        error // every write
	writes        []string
}

func (c *stub) CreateLoadBalancer(context.Context, product.NewLoadBalancer, string) (string, error) {
	c.writes = append(c.writes, "create")
	return "nlb-new", c.refuse
}
func (c *stub) LoadBalancer(_ context.Context, id string) (product.LoadBalancer, error) {
	if lb, ok := c.balancers[id]; ok {
		return lb, nil
	}
	return product.LoadBalancer{}, errGone
}
func (c *stub) DeleteLoadBalancer(_ context.Context, id string) (string, error) {
	c.writes = append(c.writes, "delete "+id)
	return "job", c.refuse
}
func (c *stub) LoadBalancersTagged(context.Context, string, string) ([]product.LoadBalancer, error) {
	return c.tagged, c.listErr
}
func (c *stub) LoadBalancersNamed(context.Context, string) ([]product.LoadBalancer, error) {
	return c.named, c.listErr
}

// Wrote implements stepstest.Stub.
func (c *stub) Wrote() []string { return c.writes }

// good is a balancer that stands.
func good() product.LoadBalancer {
	return product.LoadBalancer{ID: "nlb-1", Status: product.Active, AddressType: "Intranet", VpcID: "vpc", Zones: []product.Zone{{ID: "z"}}}
}

func standing() (*run.Run, *stub, *nlb.Step) {
	r := &run.Run{ID: "fd5dc36da1e3cf09", Generation: 1, Facts: facts.Facts{NLB: &facts.NLB{ID: "nlb-1"},
		Preflight: &facts.Preflight{Target: facts.Cluster{VpcID: "vpc"}, VSwitches: []facts.VSwitch{{VSwitchID: "v", ZoneID: "z"}}}}}
	cloud := &stub{balancers: map[string]product.LoadBalancer{"nlb-1": good()}}
	return r, cloud, &nlb.Step{Balancers: cloud, Lists: cloud, Now: time.Now}
}

// TestGuards sees what one oddity at a time makes of a balancer that
// stands: nothing but what is named is written.
func TestGuards(t *testing.T) {
	t.Parallel()
	with := func(change func(*product.LoadBalancer)) func(*run.Run, *stub) {
		return func(_ *run.Run, c *stub) {
			lb := good()
			change(&lb)
			c.balancers[lb.ID] = lb
		}
	}
	state := func(s string) func(*run.Run, *stub) {
		return with(func(lb *product.LoadBalancer) { lb.Status = s })
	}
	dying := good()
	dying.ID, dying.Status = "nlb-0", product.Deleting
	both := func(listed ...product.LoadBalancer) func(*run.Run, *stub) {
		return func(r *run.Run, c *stub) {
			r.Facts.NLB, c.balancers[dying.ID], c.tagged = nil, dying, listed
		}
	}
	stepstest.Guards(t, standing, map[string]stepstest.Guard[*stub]{
		"nothing":             {Done: true},
		"in another VPC":      {Odd: with(func(lb *product.LoadBalancer) { lb.VpcID = "other" }), Err: "instead of Intranet in vpc"},
		"public":              {Odd: with(func(lb *product.LoadBalancer) { lb.AddressType = "Internet" }), Err: "instead of Intranet in vpc"},
		"in another zone":     {Odd: with(func(lb *product.LoadBalancer) { lb.Zones = nil }), Err: "not in zone z"},
		"being made":          {Odd: state(product.Provisioning), Reason: "Provisioning"},
		"being changed":       {Odd: state(product.Configuring), Reason: "Configuring"},
		"being deleted":       {Odd: state(product.Deleting), Reason: "being deleted"},
		"in an unknown state": {Odd: state("Odd"), Err: "cannot recover"},
		"named, not tagged": {Odd: func(r *run.Run, c *stub) { r.Facts.NLB, c.named = nil, []product.LoadBalancer{good()} },
			Done: true},
		"an earlier one on its way out":   {Odd: both(good(), dying), Done: true},
		"an earlier one listed first":     {Odd: both(dying, good()), Done: true},
		"down: an earlier one on its way": {Down: true, Odd: both(dying, good()), Reason: "nlb-1", Writes: []string{"delete nlb-1"}},
		"down":                            {Down: true, Reason: "being deleted", Writes: []string{"delete nlb-1"}},
		"down: being made":                {Down: true, Odd: state(product.Provisioning), Reason: "Provisioning"},
		"down: being changed":             {Down: true, Odd: state(product.Configuring), Reason: "Configuring"},
		"down: being deleted":             {Down: true, Odd: state(product.Deleting), Reason: "Deleting"},
		"down: deleted already":           {Down: true, Odd: func(_ *run.Run, c *stub) { c.refuse = errGone }, Reason: "being deleted", Writes: []string{"delete nlb-1"}},
	})
}

// One that is gone raises the token once, however often the list then fails.
func TestGoneRaisesTheTokenOnce(t *testing.T) {
	t.Parallel()
	r := &run.Run{ID: "fd5dc36da1e3cf09", Direction: run.Up, Facts: facts.Facts{NLB: &facts.NLB{ID: "nlb-1"}}}
	cloud := &stub{listErr: &apierr.Error{Class: apierr.Retry}}
	for range 2 {
		_, err := (&nlb.Step{Balancers: cloud, Lists: cloud, Now: time.Now}).Up(t.Context(), r)
		require.Error(t, err)
	}
	require.Equal(t, map[string]int{"nlb": 1}, r.Tokens)
}
