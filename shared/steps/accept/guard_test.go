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
	"eslink/shared/steps/stepstest"
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

// Wrote implements stepstest.Stub. A change without the lock is told apart.
func (c *stub) Wrote() []string {
	if c.locked == 0 && len(c.writes) > 0 {
		return append(c.writes, "without the lock")
	}
	return c.writes
}

// TestGuards sees what one oddity at a time makes of a connection:
// nothing but what is named is written.
func TestGuards(t *testing.T) {
	t.Parallel()
	// is gives the run's connection a status, and changes more.
	is := func(status string, more ...func(*run.Run, *stub)) func(*run.Run, *stub) {
		return func(r *run.Run, c *stub) {
			c.listed[1].Status = status
			for _, change := range more {
				change(r, c)
			}
		}
	}
	stepstest.Guards(t, func() (*run.Run, *stub, *accept.Step) { return standing("") }, map[string]stepstest.Guard[*stub]{
		"asks":                       {Odd: is(product.ConnectionDisconnected), Reason: "being connected", Writes: []string{"accept ep-1"}},
		"only another asks":          {Odd: func(_ *run.Run, c *stub) { c.listed = c.listed[:1] }, Reason: "does not list a connection"},
		"asks, not its turn":         {Odd: is(product.ConnectionDisconnected, func(_ *run.Run, c *stub) { c.other = "b" }), Err: "is held by b"},
		"no endpoint on record":      {Odd: is(product.ConnectionDisconnected, func(r *run.Run, _ *stub) { r.Facts.PrivateConnection.EndpointID = "" }), Err: "no service and endpoint"},
		"no service on record":       {Odd: is(product.ConnectionDisconnected, func(r *run.Run, _ *stub) { r.Facts.EndpointService = nil }), Err: "no service and endpoint"},
		"is connecting":              {Odd: is(product.ConnectionConnecting), Reason: "Connecting"},
		"is pending":                 {Odd: is(product.ConnectionPending), Reason: "Pending"},
		"is connected":               {Odd: is(product.ConnectionConnected), Done: true},
		"is in an odd state":         {Odd: is("Odd"), Err: "cannot recover"},
		"down":                       {Odd: is(product.ConnectionConnected), Down: true, Reason: "being disconnected", Writes: []string{"disconnect ep-1"}},
		"down, not its turn":         {Odd: is(product.ConnectionConnected, func(_ *run.Run, c *stub) { c.other = "b" }), Down: true, Err: "is held by b"},
		"down, disconnected already": {Odd: is(product.ConnectionConnected, func(_ *run.Run, c *stub) { c.refuse = errGone }), Down: true, Reason: "being disconnected", Writes: []string{"disconnect ep-1"}},
		"down of no endpoint":        {Odd: func(r *run.Run, c *stub) { r.Facts.PrivateConnection, c.listErr = nil, &apierr.Error{Code: "asked"} }, Down: true, Done: true},
		"down, the service gone":     {Odd: func(_ *run.Run, c *stub) { c.listed, c.listErr = nil, errGone }, Down: true, Done: true},
		"down, only another's":       {Odd: func(_ *run.Run, c *stub) { c.listed = c.listed[:1] }, Down: true, Done: true},
		"down, orphaned":             {Odd: is(product.ConnectionOrphaned), Down: true, Done: true},
		"down, being deleted":        {Odd: is(product.ConnectionDeleting), Down: true, Done: true},
		"down, connecting":           {Odd: is(product.ConnectionConnecting), Down: true, Reason: "Connecting"},
		"down, in an odd state":      {Odd: is("Odd"), Down: true, Err: "cannot undo"},
	})
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
