package ipwhitelist_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	product "eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/ipwhitelist"
)

// stub answers with what it holds and notes what it is asked to change.
type stub struct {
	in     product.Instance
	refuse error
	writes []string
	tokens []string
}

func (c *stub) Describe(context.Context, string) (product.Instance, error) { return c.in, nil }
func (c *stub) SetWhitelistGroup(_ context.Context, _, group string, ips []string, token string) error {
	c.writes, c.tokens = append(c.writes, fmt.Sprint(group, ips)), append(c.tokens, token)
	return c.refuse
}

// TestOneGuardEach sees what one oddity at a time makes of a group that stands.
func TestOneGuardEach(t *testing.T) {
	t.Parallel()
	const group = "eslink_fd5dc36da1e3cf09"
	for name, c := range map[string]struct {
		odd    func(*run.Run, *stub)
		down   bool
		reason string
		err    string
		writes []string
		done   bool
	}{
		"nothing":           {odd: func(*run.Run, *stub) {}, done: true},
		"in another order":  {odd: func(_ *run.Run, c *stub) { c.in.Whitelist[0].IPs = []string{"10.0.0.2", "10.0.0.1"} }, done: true},
		"no addresses":      {odd: func(r *run.Run, _ *stub) { r.Facts.NLB.LocalAddresses = nil }, err: "no local addresses"},
		"a public namesake": {odd: func(_ *run.Run, c *stub) { c.in.Whitelist[0].Type = "PUBLIC_ES" }, reason: "is adding", writes: []string{group + "[10.0.0.1 10.0.0.2]"}},
		"being changed":     {odd: func(_ *run.Run, c *stub) { c.in.Status = product.Activating }, reason: "carrying out a change"},
		"frozen":            {odd: func(_ *run.Run, c *stub) { c.in.Status = product.Inactive }, err: "cannot be changed"},
		"down":              {down: true, odd: func(*run.Run, *stub) {}, reason: "is removing", writes: []string{group + "[]"}},
		"down: not there":   {down: true, odd: func(_ *run.Run, c *stub) { c.in.Whitelist[0].Name = "office" }, done: true},
		"down: being changed": {down: true, odd: func(_ *run.Run, c *stub) { c.in.Status = product.Activating },
			reason: "carrying out a change"},
		"down: frozen": {down: true, odd: func(_ *run.Run, c *stub) { c.in.Status = product.Inactive }, err: "cannot be removed"},
		"down: removed by somebody faster": {down: true, odd: func(_ *run.Run, c *stub) { c.refuse = &apierr.Error{Class: apierr.NotFound} },
			reason: "is removing", writes: []string{group + "[]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &run.Run{ID: "fd5dc36da1e3cf09", Spec: events.Spec{Target: events.Target{InstanceID: "es-cn-src"}},
				Facts: facts.Facts{NLB: &facts.NLB{ID: "nlb-1", LocalAddresses: []string{"10.0.0.1", "10.0.0.2"}}}}
			cloud := &stub{in: product.Instance{ID: "es-cn-src", Status: product.Active, UpdatedAt: time.UnixMilli(1),
				Whitelist: []product.WhiteGroup{{Name: group, Type: product.PrivateES, IPs: []string{"10.0.0.1", "10.0.0.2"}}}}}
			c.odd(r, cloud)
			s := &ipwhitelist.Step{Cluster: cloud}
			walk := s.Up
			if c.down {
				walk = s.Down
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

// A token stands for one list at one state of the cluster.
func TestATokenStandsForOneRequest(t *testing.T) {
	t.Parallel()
	r := &run.Run{ID: "fd5dc36da1e3cf09", Facts: facts.Facts{NLB: &facts.NLB{LocalAddresses: []string{"10.0.0.1"}}}}
	cloud := &stub{in: product.Instance{Status: product.Active, UpdatedAt: time.UnixMilli(1)}}
	ask := func() {
		_, err := (&ipwhitelist.Step{Cluster: cloud}).Up(t.Context(), r)
		require.NoError(t, err)
	}
	ask()
	ask() // the same
	r.Facts.NLB.LocalAddresses = []string{"10.0.0.2"}
	ask()
	cloud.in.UpdatedAt = time.UnixMilli(2)
	ask()
	require.Equal(t, cloud.tokens[0], cloud.tokens[1])
	require.NotEqual(t, cloud.tokens[1], cloud.tokens[2])
	require.NotEqual(t, cloud.tokens[2], cloud.tokens[3])
}
