package privateconnection_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	product "eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/privateconnection"
	"eslink/shared/steps/stepstest"
)

var errGone = &apierr.Error{Class: apierr.NotFound, Code: "EndpointNotFound"}

// stub answers with what it holds and notes what it is asked to change.
type stub struct {
	listed []product.Endpoint
	lists  int
	refuse error
	writes []string
	token  string
}

func (c *stub) ListEndpoints(context.Context, string) ([]product.Endpoint, error) {
	c.lists++
	return c.listed, nil
}
func (c *stub) CreateEndpoint(_ context.Context, _, service, _, token string) (product.Endpoint, error) {
	c.writes, c.token = append(c.writes, "create to "+service), token
	return product.Endpoint{ID: "ep-new", ServiceID: service}, c.refuse
}
func (c *stub) DeleteEndpoint(_ context.Context, _, id, _ string) error {
	c.writes = append(c.writes, "delete "+id)
	return c.refuse
}

func standing() (*run.Run, *stub, *privateconnection.Step) {
	r := &run.Run{ID: "fd5dc36da1e3cf09", Facts: facts.Facts{EndpointService: &facts.EndpointService{ID: "epsrv-1"}, Preflight: &facts.Preflight{Zone: "z"},
		PrivateConnection: &facts.PrivateConnection{EndpointID: "ep-1"}}}
	cloud := &stub{listed: []product.Endpoint{
		{ID: "ep-0", ServiceID: "epsrv-0", Status: product.EndpointActive}, // somebody else's
		{ID: "ep-1", ServiceID: "epsrv-1", Status: product.EndpointActive, Business: "Normal"}}}
	return r, cloud, &privateconnection.Step{Endpoints: cloud, Now: time.Now}
}

// Wrote implements stepstest.Stub.
func (c *stub) Wrote() []string { return c.writes }

// TestGuards sees what one oddity at a time makes of an endpoint that
// stands: nothing but what is named is written.
func TestGuards(t *testing.T) {
	t.Parallel()
	state := func(s string) func(*run.Run, *stub) {
		return func(_ *run.Run, c *stub) { c.listed[1].Status = s }
	}
	unknown := func(r *run.Run, _ *stub) { r.Facts.PrivateConnection = nil }
	stepstest.Guards(t, standing, map[string]stepstest.Guard[*stub]{
		"nothing":             {Done: true},
		"no service":          {Odd: func(r *run.Run, _ *stub) { r.Facts.EndpointService.ID = "" }, Err: "no endpoint service"},
		"in arrears":          {Odd: func(_ *run.Run, c *stub) { c.listed[1].Business = product.FinancialLocked }, Err: "arrears"},
		"its service deleted": {Odd: func(_ *run.Run, c *stub) { c.listed[1].Connection = product.ServiceDeleted }, Err: "cannot recover"},
		"being made":          {Odd: state(product.EndpointCreating), Reason: "Creating"},
		"being changed":       {Odd: state(product.EndpointPending), Reason: "Pending"},
		"being deleted":       {Odd: state(product.EndpointDeleting), Reason: "being deleted"},
		"to another service":  {Odd: func(_ *run.Run, c *stub) { c.listed[1].ServiceID = "epsrv-9" }, Reason: "no longer the run's", Writes: []string{"delete ep-1"}},
		"to another service, being made": {Odd: func(_ *run.Run, c *stub) {
			c.listed[1].ServiceID, c.listed[1].Status = "epsrv-9", product.EndpointCreating
		}, Reason: "Creating"},
		"found by its service": {Odd: unknown, Done: true},
		"two to the service": {Odd: func(r *run.Run, c *stub) {
			unknown(r, c)
			c.listed[0].ServiceID = "epsrv-1"
		}, Err: "delete all but one"},
		"only somebody else's": {Odd: func(r *run.Run, c *stub) {
			unknown(r, c)
			c.listed = c.listed[:1]
		}, Reason: "being created", Writes: []string{"create to epsrv-1"}},
		"refused for good": {Odd: func(r *run.Run, c *stub) {
			unknown(r, c)
			c.listed, c.refuse = nil, &apierr.Error{Code: "InvalidInstanceType"}
		}, Err: "InvalidInstanceType", Writes: []string{"create to epsrv-1"}},
		"down":                  {Down: true, Reason: "being deleted", Writes: []string{"delete ep-1"}},
		"down: being made":      {Down: true, Odd: state(product.EndpointCreating), Reason: "Creating"},
		"down: deleted since":   {Down: true, Odd: func(_ *run.Run, c *stub) { c.refuse = errGone }, Reason: "being deleted", Writes: []string{"delete ep-1"}},
		"down: somebody else's": {Down: true, Odd: func(_ *run.Run, c *stub) { c.listed = c.listed[:1] }, Done: true},
	})
}

// A run that never had a service asks nothing of a cluster that may be gone.
func TestDownOfNothingAsksNothing(t *testing.T) {
	t.Parallel()
	r, cloud, s := standing()
	r.Facts.EndpointService, r.Facts.PrivateConnection = nil, nil
	out, err := s.Down(t.Context(), r)
	require.NoError(t, err)
	require.True(t, out.IsDone())
	require.Zero(t, cloud.lists)
}

// Another service's endpoint is another request.
func TestATokenStandsForOneService(t *testing.T) {
	t.Parallel()
	var tokens []string
	for _, service := range []string{"epsrv-1", "epsrv-1", "epsrv-2"} {
		r, cloud, s := standing()
		r.Facts.EndpointService.ID, r.Facts.PrivateConnection, cloud.listed = service, nil, nil
		_, err := s.Up(t.Context(), r)
		require.NoError(t, err)
		tokens = append(tokens, cloud.token)
	}
	require.Equal(t, tokens[0], tokens[1])
	require.NotEqual(t, tokens[1], tokens[2])
}

// An endpoint that is seen gone is recreated with another token.
func TestAnEndpointMadeAgain(t *testing.T) {
	t.Parallel()
	r, cloud, s := standing()
	r.Facts.PrivateConnection, cloud.listed = nil, nil
	_, err := s.Up(t.Context(), r)
	require.NoError(t, err)
	first := cloud.token
	s.Now = func() time.Time { return time.Now().Add(time.Hour) } // lists have caught up
	out, err := s.Down(t.Context(), r)
	require.NoError(t, err)
	require.True(t, out.IsDone(), out.Reason())
	_, err = s.Up(t.Context(), r)
	require.NoError(t, err)
	require.NotEqual(t, first, cloud.token)
}
