package endpointservice_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	product "eslink/shared/aliyun/privatelink"
	"eslink/shared/apierr"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/endpointservice"
)

var errGone = &apierr.Error{Class: apierr.NotFound, Code: "EndpointServiceNotFound"}

// stub answers with what it holds and notes what it is asked to change.
type stub struct {
	service      product.Service
	resources    []product.Resource
	resourcesErr error
	refuse       error
	writes       []string
}

func (c *stub) CreateService(context.Context, product.NewService, string) (product.Service, error) {
	c.writes = append(c.writes, "create")
	return product.Service{ID: "epsrv-new"}, c.refuse
}
func (c *stub) Service(context.Context, string) (product.Service, error) { return c.service, nil }
func (c *stub) ServicesTagged(context.Context, string, string) ([]product.Service, error) {
	return nil, nil
}
func (c *stub) DeleteService(context.Context, string, string) error {
	c.writes = append(c.writes, "delete")
	return c.refuse
}
func (c *stub) Resources(context.Context, string) ([]product.Resource, error) {
	return c.resources, c.resourcesErr
}
func (c *stub) Detach(_ context.Context, _ string, r product.Resource, _ string) error {
	c.writes = append(c.writes, "detach "+r.Zone)
	return c.refuse
}

// TestOneGuardEach sees what one oddity at a time makes of a service that
// stands: nothing but what is named is written.
func TestOneGuardEach(t *testing.T) {
	t.Parallel()
	state := func(s string) func(*stub) { return func(c *stub) { c.service.Status = s } }
	for name, c := range map[string]struct {
		odd    func(*stub)
		down   bool
		reason string
		err    string
		writes []string
		done   bool
	}{
		"nothing":                {odd: func(*stub) {}, done: true},
		"in arrears":             {odd: func(c *stub) { c.service.Business = product.FinancialLocked }, err: "arrears"},
		"being made":             {odd: state(product.Creating), reason: "Creating"},
		"being changed":          {odd: state(product.Pending), reason: "Pending"},
		"being deleted":          {odd: state(product.Deleting), reason: "being deleted"},
		"in an unknown state":    {odd: state("Odd"), err: "cannot recover"},
		"a zone lost":            {odd: func(c *stub) { c.resources = c.resources[:1] }, err: "lost zone z2"},
		"another balancer":       {odd: func(c *stub) { c.resources[0].ID = "nlb-2" }, err: "not this run's balancer"},
		"down":                   {down: true, odd: func(*stub) {}, reason: "being detached", writes: []string{"detach z1"}},
		"down: being changed":    {down: true, odd: state(product.Pending), reason: "Pending"},
		"down: carries others":   {down: true, odd: func(c *stub) { c.resources[1].Endpoints = 1 }, reason: "1 connections in zone z2"},
		"down: detached already": {down: true, odd: func(c *stub) { c.refuse = errGone }, reason: "being detached", writes: []string{"detach z1"}},
		"down: then the service": {down: true, odd: func(c *stub) { c.resources = nil }, reason: "being deleted", writes: []string{"delete"}},
		"down: deleted already":  {down: true, odd: func(c *stub) { c.resources, c.refuse = nil, errGone }, reason: "being deleted", writes: []string{"delete"}},
		"down: gone when asked":  {down: true, odd: func(c *stub) { c.resources, c.resourcesErr = nil, errGone }, reason: "being deleted", writes: []string{"delete"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &run.Run{ID: "fd5dc36da1e3cf09", Facts: facts.Facts{NLB: &facts.NLB{ID: "nlb-1"}, EndpointService: &facts.EndpointService{ID: "epsrv-1"},
				Preflight: &facts.Preflight{VSwitches: []facts.VSwitch{{ZoneID: "z1"}, {ZoneID: "z2"}}}}}
			cloud := &stub{service: product.Service{ID: "epsrv-1", Status: product.Active, Business: "Normal"},
				resources: []product.Resource{{ID: "nlb-1", Zone: "z1"}, {ID: "nlb-1", Zone: "z2"}}}
			c.odd(cloud)
			s := &endpointservice.Step{Services: cloud, Resources: cloud, Now: time.Now}
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
