package accept_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	product "eslink/shared/aliyun/privatelink"
	"eslink/shared/apierr"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/accept"
)

var errGone = &apierr.Error{Class: apierr.NotFound, Code: "EndpointServiceNotFound"}

// stub answers with what it holds and notes what it is asked to change.
type stub struct {
	listed  []product.Connection
	listErr error
	refuse  error
	other   string // has the lock
	writes  []string
	tokens  []string
	locked  int
}

func (c *stub) Connections(context.Context, string) ([]product.Connection, error) {
	return c.listed, c.listErr
}
func (c *stub) Accept(_ context.Context, _, endpoint, token string) error {
	c.writes, c.tokens = append(c.writes, "accept "+endpoint), append(c.tokens, token)
	return c.refuse
}
func (c *stub) Disconnect(_ context.Context, _, endpoint, token string) error {
	c.writes, c.tokens = append(c.writes, "disconnect "+endpoint), append(c.tokens, token)
	return c.refuse
}
func (c *stub) ListEndpoints(context.Context, string) ([]escluster.Endpoint, error) {
	return []escluster.Endpoint{{ID: "ep-0", Connection: escluster.Connected}, {ID: "ep-1", Connection: escluster.Connected}}, nil
}
func (c *stub) Lock(_ context.Context, name, holder string, _ time.Duration) error {
	c.locked++
	if c.other != "" {
		return &run.HeldError{What: name, Holder: c.other}
	}
	return nil
}
func (c *stub) Unlock(context.Context, string, string) error { return nil }

// standing is a run whose endpoint ep-1 asks for a connection, after another's.
func standing(status string) (*run.Run, *stub, *accept.Step) {
	r := &run.Run{ID: "fd5dc36da1e3cf09", AccountID: "1", Spec: events.Spec{Region: "cn-hangzhou"}, Facts: facts.Facts{
		EndpointService: &facts.EndpointService{ID: "epsrv-1"}, PrivateConnection: &facts.PrivateConnection{EndpointID: "ep-1"}}}
	cloud := &stub{listed: []product.Connection{{EndpointID: "ep-0", Status: product.ConnectionDisconnected}, {EndpointID: "ep-1", Status: status}}}
	return r, cloud, &accept.Step{Connections: cloud, Endpoints: cloud, Locks: cloud, Now: time.Now}
}

// TestOneGuardEach sees what one oddity at a time makes of a connection:
// nothing but what is named is written.
func TestOneGuardEach(t *testing.T) {
	t.Parallel()
	none := func(*run.Run, *stub) {}
	for name, c := range map[string]struct {
		status string
		odd    func(*run.Run, *stub)
		down   bool
		reason string
		err    string
		writes []string
		done   bool
	}{
		"asks":                       {product.ConnectionDisconnected, none, false, "being connected", "", []string{"accept ep-1"}, false},
		"only another asks":          {"", func(_ *run.Run, c *stub) { c.listed = c.listed[:1] }, false, "does not list a connection", "", nil, false},
		"asks, not its turn":         {product.ConnectionDisconnected, func(_ *run.Run, c *stub) { c.other = "b" }, false, "run b is changing", "", nil, false},
		"no endpoint on record":      {product.ConnectionDisconnected, func(r *run.Run, _ *stub) { r.Facts.PrivateConnection.EndpointID = "" }, false, "", "no service and endpoint", nil, false},
		"no service on record":       {product.ConnectionDisconnected, func(r *run.Run, _ *stub) { r.Facts.EndpointService = nil }, false, "", "no service and endpoint", nil, false},
		"is connecting":              {product.ConnectionConnecting, none, false, "Connecting", "", nil, false},
		"is pending":                 {product.ConnectionPending, none, false, "Pending", "", nil, false},
		"is connected":               {product.ConnectionConnected, none, false, "", "", nil, true},
		"is in an odd state":         {"Odd", none, false, "", "cannot recover", nil, false},
		"down":                       {product.ConnectionConnected, none, true, "being disconnected", "", []string{"disconnect ep-1"}, false},
		"down, not its turn":         {product.ConnectionConnected, func(_ *run.Run, c *stub) { c.other = "b" }, true, "run b is changing", "", nil, false},
		"down, disconnected already": {product.ConnectionConnected, func(_ *run.Run, c *stub) { c.refuse = errGone }, true, "being disconnected", "", []string{"disconnect ep-1"}, false},
		"down of no endpoint":        {"", func(r *run.Run, c *stub) { r.Facts.PrivateConnection, c.listErr = nil, &apierr.Error{Code: "asked"} }, true, "", "", nil, true},
		"down, the service gone":     {"", func(_ *run.Run, c *stub) { c.listed, c.listErr = nil, errGone }, true, "", "", nil, true},
		"down, only another's":       {"", func(_ *run.Run, c *stub) { c.listed = c.listed[:1] }, true, "", "", nil, true},
		"down, orphaned":             {product.ConnectionOrphaned, none, true, "", "", nil, true},
		"down, being deleted":        {product.ConnectionDeleting, none, true, "", "", nil, true},
		"down, connecting":           {product.ConnectionConnecting, none, true, "Connecting", "", nil, false},
		"down, in an odd state":      {"Odd", none, true, "", "cannot undo", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, cloud, s := standing(c.status)
			c.odd(r, cloud)
			walk := s.Up
			if c.down {
				walk = s.Down
			}
			out, err := walk(t.Context(), r)
			require.Equal(t, c.writes, cloud.writes)
			require.Equal(t, len(c.writes) > 0 || cloud.other != "", cloud.locked > 0, "changes are serial")
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

// What was accepted, and undone before it was seen done, is accepted by another
// token the next time; and a disconnection is not taken for a list that trails.
func TestAcceptedUndoneAcceptedAgain(t *testing.T) {
	t.Parallel()
	r, cloud, s := standing(product.ConnectionDisconnected)
	_, err := s.Up(t.Context(), r)
	require.NoError(t, err)
	cloud.listed[1].Status = product.ConnectionConnected
	_, err = s.Down(t.Context(), r)
	require.NoError(t, err)
	cloud.listed[1].Status = product.ConnectionDisconnected
	out, err := s.Down(t.Context(), r)
	require.NoError(t, err)
	require.True(t, out.IsDone(), out.Reason())
	_, err = s.Up(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, []string{"accept ep-1", "disconnect ep-1", "accept ep-1"}, cloud.writes)
	require.NotEqual(t, cloud.tokens[0], cloud.tokens[2])
}
