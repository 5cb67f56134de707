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

// TestOneGuardEach sees what one oddity at a time makes of an endpoint that
// stands: nothing but what is named is written.
func TestOneGuardEach(t *testing.T) {
	t.Parallel()
	state := func(s string) func(*run.Run, *stub) {
		return func(_ *run.Run, c *stub) { c.listed[1].Status = s }
	}
	unknown := func(r *run.Run, _ *stub) { r.Facts.PrivateConnection = nil }
	for name, c := range map[string]struct {
		odd    func(*run.Run, *stub)
		down   bool
		reason string
		err    string
		writes []string
		done   bool
	}{
		"nothing":             {odd: func(*run.Run, *stub) {}, done: true},
		"no service":          {odd: func(r *run.Run, _ *stub) { r.Facts.EndpointService.ID = "" }, err: "no endpoint service"},
		"in arrears":          {odd: func(_ *run.Run, c *stub) { c.listed[1].Business = product.FinancialLocked }, err: "arrears"},
		"its service deleted": {odd: func(_ *run.Run, c *stub) { c.listed[1].Connection = product.ServiceDeleted }, err: "cannot recover"},
		"being made":          {odd: state(product.EndpointCreating), reason: "Creating"},
		"being changed":       {odd: state(product.EndpointPending), reason: "Pending"},
		"being deleted":       {odd: state(product.EndpointDeleting), reason: "being deleted"},
		"to another service":  {odd: func(_ *run.Run, c *stub) { c.listed[1].ServiceID = "epsrv-9" }, reason: "no longer the run's", writes: []string{"delete ep-1"}},
		"to another service, being made": {odd: func(_ *run.Run, c *stub) {
			c.listed[1].ServiceID, c.listed[1].Status = "epsrv-9", product.EndpointCreating
		}, reason: "Creating"},
		"found by its service": {odd: unknown, done: true},
		"two to the service": {odd: func(r *run.Run, c *stub) {
			unknown(r, c)
			c.listed[0].ServiceID = "epsrv-1"
		}, err: "delete all but one"},
		"only somebody else's": {odd: func(r *run.Run, c *stub) {
			unknown(r, c)
			c.listed = c.listed[:1]
		}, reason: "being created", writes: []string{"create to epsrv-1"}},
		"refused for good": {odd: func(r *run.Run, c *stub) {
			unknown(r, c)
			c.listed, c.refuse = nil, &apierr.Error{Code: "InvalidInstanceType"}
		}, err: "InvalidInstanceType", writes: []string{"create to epsrv-1"}},
		"down":                  {down: true, odd: func(*run.Run, *stub) {}, reason: "being deleted", writes: []string{"delete ep-1"}},
		"down: being made":      {down: true, odd: state(product.EndpointCreating), reason: "Creating"},
		"down: deleted since":   {down: true, odd: func(_ *run.Run, c *stub) { c.refuse = errGone }, reason: "being deleted", writes: []string{"delete ep-1"}},
		"down: somebody else's": {down: true, odd: func(_ *run.Run, c *stub) { c.listed = c.listed[:1] }, done: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, cloud, s := standing()
			c.odd(r, cloud)
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

// An endpoint that is seen gone is made anew by another token.
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
