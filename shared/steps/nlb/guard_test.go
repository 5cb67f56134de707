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

// TestOneGuardEach sees what one oddity at a time makes of a balancer that
// stands: nothing but what is named is written.
func TestOneGuardEach(t *testing.T) {
	t.Parallel()
	good := product.LoadBalancer{ID: "nlb-1", Status: product.Active, AddressType: "Intranet", VpcID: "vpc", Zones: []product.Zone{{ID: "z"}}}
	with := func(change func(*product.LoadBalancer)) func(*run.Run, *stub) {
		return func(_ *run.Run, c *stub) {
			lb := good
			change(&lb)
			c.balancers[lb.ID] = lb
		}
	}
	state := func(s string) func(*run.Run, *stub) {
		return with(func(lb *product.LoadBalancer) { lb.Status = s })
	}
	dying := good
	dying.ID, dying.Status = "nlb-0", product.Deleting
	both := func(listed ...product.LoadBalancer) func(*run.Run, *stub) {
		return func(r *run.Run, c *stub) {
			r.Facts.NLB, c.balancers[dying.ID], c.tagged = nil, dying, listed
		}
	}
	for name, c := range map[string]struct {
		odd    func(*run.Run, *stub)
		down   bool
		reason string // of a wait
		err    string
		writes []string
		done   bool
	}{
		"nothing":             {odd: func(*run.Run, *stub) {}, done: true},
		"in another VPC":      {odd: with(func(lb *product.LoadBalancer) { lb.VpcID = "other" }), err: "instead of Intranet in vpc"},
		"public":              {odd: with(func(lb *product.LoadBalancer) { lb.AddressType = "Internet" }), err: "instead of Intranet in vpc"},
		"in another zone":     {odd: with(func(lb *product.LoadBalancer) { lb.Zones = nil }), err: "not in zone z"},
		"being made":          {odd: state(product.Provisioning), reason: "Provisioning"},
		"being changed":       {odd: state(product.Configuring), reason: "Configuring"},
		"being deleted":       {odd: state(product.Deleting), reason: "being deleted"},
		"in an unknown state": {odd: state("Odd"), err: "cannot recover"},
		"named, not tagged": {odd: func(r *run.Run, c *stub) { r.Facts.NLB, c.named = nil, []product.LoadBalancer{good} },
			done: true},
		"an earlier one on its way out":    {odd: both(good, dying), done: true},
		"an earlier one listed first":      {odd: both(dying, good), done: true},
		"down: an earlier one on its way":  {down: true, odd: both(dying, good), reason: "nlb-1", writes: []string{"delete nlb-1"}},
		"down":                             {down: true, odd: func(*run.Run, *stub) {}, reason: "being deleted", writes: []string{"delete nlb-1"}},
		"down: being made":                 {down: true, odd: state(product.Provisioning), reason: "Provisioning"},
		"down: being changed":              {down: true, odd: state(product.Configuring), reason: "Configuring"},
		"down: being deleted":              {down: true, odd: state(product.Deleting), reason: "Deleting"},
		"down: deleted by somebody faster": {down: true, odd: func(_ *run.Run, c *stub) { c.refuse = errGone }, reason: "being deleted", writes: []string{"delete nlb-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &run.Run{ID: "fd5dc36da1e3cf09", Generation: 1, Direction: run.Up, Facts: facts.Facts{NLB: &facts.NLB{ID: "nlb-1"},
				Preflight: &facts.Preflight{Target: facts.Cluster{VpcID: "vpc"}, VSwitches: []facts.VSwitch{{VSwitchID: "v", ZoneID: "z"}}}}}
			cloud := &stub{balancers: map[string]product.LoadBalancer{good.ID: good}}
			c.odd(r, cloud)
			s := &nlb.Step{Balancers: cloud, Lists: cloud, Now: time.Now}
			walk := s.Up
			if c.down {
				walk, r.Direction = s.Down, run.Down
			}
			out, err := walk(t.Context(), r)
			require.Equal(t, c.writes, cloud.writes)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.done, out.IsDone(), out.Reason())
			require.Contains(t, out.Reason(), c.reason)
		})
	}
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
