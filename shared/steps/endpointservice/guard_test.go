package endpointservice_test

import (
	"context"
	"testing"
	"time"

	product "eslink/shared/aliyun/privatelink"
	"eslink/shared/apierr"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/endpointservice"
	"eslink/shared/steps/stepstest"
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

// Wrote implements stepstest.Stub.
func (c *stub) Wrote() []string { return c.writes }

func standing() (*run.Run, *stub, *endpointservice.Step) {
	r := &run.Run{ID: "fd5dc36da1e3cf09", Facts: facts.Facts{NLB: &facts.NLB{ID: "nlb-1"}, EndpointService: &facts.EndpointService{ID: "epsrv-1"},
		Preflight: &facts.Preflight{VSwitches: []facts.VSwitch{{ZoneID: "z1"}, {ZoneID: "z2"}}}}}
	cloud := &stub{service: product.Service{ID: "epsrv-1", Status: product.Active, Business: "Normal"},
		resources: []product.Resource{{ID: "nlb-1", Zone: "z1"}, {ID: "nlb-1", Zone: "z2"}}}
	return r, cloud, &endpointservice.Step{Services: cloud, Resources: cloud, Now: time.Now}
}

// TestGuards sees what one oddity at a time makes of a service that
// stands: nothing but what is named is written.
func TestGuards(t *testing.T) {
	t.Parallel()
	state := func(s string) func(*run.Run, *stub) { return func(_ *run.Run, c *stub) { c.service.Status = s } }
	stepstest.Guards(t, standing, map[string]stepstest.Guard[*stub]{
		"nothing":                {Done: true},
		"in arrears":             {Odd: func(_ *run.Run, c *stub) { c.service.Business = product.FinancialLocked }, Err: "arrears"},
		"being made":             {Odd: state(product.Creating), Reason: "Creating"},
		"being changed":          {Odd: state(product.Pending), Reason: "Pending"},
		"being deleted":          {Odd: state(product.Deleting), Reason: "being deleted"},
		"in an unknown state":    {Odd: state("Odd"), Err: "cannot recover"},
		"a zone lost":            {Odd: func(_ *run.Run, c *stub) { c.resources = c.resources[:1] }, Err: "lost zone z2"},
		"another balancer":       {Odd: func(_ *run.Run, c *stub) { c.resources[0].ID = "nlb-2" }, Err: "not this run's balancer"},
		"down":                   {Down: true, Reason: "being detached", Writes: []string{"detach z1"}},
		"down: being changed":    {Down: true, Odd: state(product.Pending), Reason: "Pending"},
		"down: carries others":   {Down: true, Odd: func(_ *run.Run, c *stub) { c.resources[1].Endpoints = 1 }, Reason: "1 connections in zone z2"},
		"down: detached already": {Down: true, Odd: func(_ *run.Run, c *stub) { c.refuse = errGone }, Reason: "being detached", Writes: []string{"detach z1"}},
		"down: then the service": {Down: true, Odd: func(_ *run.Run, c *stub) { c.resources = nil }, Reason: "being deleted", Writes: []string{"delete"}},
		"down: deleted already":  {Down: true, Odd: func(_ *run.Run, c *stub) { c.resources, c.refuse = nil, errGone }, Reason: "being deleted", Writes: []string{"delete"}},
		"down: gone when asked":  {Down: true, Odd: func(_ *run.Run, c *stub) { c.resources, c.resourcesErr = nil, errGone }, Reason: "being deleted", Writes: []string{"delete"}},
	})
}
