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
	"eslink/shared/steps/stepstest"
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

// Wrote implements stepstest.Stub.
func (c *stub) Wrote() []string { return c.writes }

const group = "eslink_fd5dc36da1e3cf09"

func standing() (*run.Run, *stub, *ipwhitelist.Step) {
	r := &run.Run{ID: "fd5dc36da1e3cf09", Spec: events.Spec{Target: events.Target{InstanceID: "es-cn-src"}},
		Facts: facts.Facts{NLB: &facts.NLB{ID: "nlb-1", LocalAddresses: []string{"10.0.0.1", "10.0.0.2"}}}}
	cloud := &stub{in: product.Instance{ID: "es-cn-src", Status: product.Active, UpdatedAt: time.UnixMilli(1),
		Whitelist: []product.WhiteGroup{{Name: group, Type: product.PrivateES, IPs: []string{"10.0.0.1", "10.0.0.2"}}}}}
	return r, cloud, &ipwhitelist.Step{Cluster: cloud}
}

// TestGuards sees what one oddity at a time makes of a group that stands.
func TestGuards(t *testing.T) {
	t.Parallel()
	stepstest.Guards(t, standing, map[string]stepstest.Guard[*stub]{
		"nothing":           {Done: true},
		"in another order":  {Odd: func(_ *run.Run, c *stub) { c.in.Whitelist[0].IPs = []string{"10.0.0.2", "10.0.0.1"} }, Done: true},
		"no addresses":      {Odd: func(r *run.Run, _ *stub) { r.Facts.NLB.LocalAddresses = nil }, Err: "no local addresses"},
		"a public namesake": {Odd: func(_ *run.Run, c *stub) { c.in.Whitelist[0].Type = "PUBLIC_ES" }, Reason: "is adding", Writes: []string{group + "[10.0.0.1 10.0.0.2]"}},
		"being changed":     {Odd: func(_ *run.Run, c *stub) { c.in.Status = product.Activating }, Reason: "carrying out a change"},
		"frozen":            {Odd: func(_ *run.Run, c *stub) { c.in.Status = product.Inactive }, Err: "cannot be changed"},
		"down":              {Down: true, Reason: "is removing", Writes: []string{group + "[]"}},
		"down: not there":   {Down: true, Odd: func(_ *run.Run, c *stub) { c.in.Whitelist[0].Name = "office" }, Done: true},
		"down: being changed": {Down: true, Odd: func(_ *run.Run, c *stub) { c.in.Status = product.Activating },
			Reason: "carrying out a change"},
		"down: frozen": {Down: true, Odd: func(_ *run.Run, c *stub) { c.in.Status = product.Inactive }, Err: "cannot be removed"},
		"down: removed already": {Down: true, Odd: func(_ *run.Run, c *stub) { c.refuse = &apierr.Error{Class: apierr.NotFound} },
			Reason: "is removing", Writes: []string{group + "[]"}},
	})
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
