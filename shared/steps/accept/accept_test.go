package accept_test

import (
	"context"
	"testing"
	"time"

	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/privatelink"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/faketest"
	fake "eslink/localtest/fakes/privatelink"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/privatelink"
	"eslink/shared/engine"
	"eslink/shared/run"
	"eslink/shared/steps/accept"
	"eslink/shared/steps/endpointservice"
	"eslink/shared/steps/nlb"
	"eslink/shared/steps/privateconnection"
	"eslink/shared/steps/stepstest"
)

type world struct {
	*stepstest.World
	step engine.Step
	run  *run.Run
	// foreign asked for a connection before our own endpoint did.
	foreign fake.Endpoint
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{World: stepstest.New(t, seed)}
	w.step, w.run = accept.New(w.Deps), w.Run("nlb")
	w.prepare(w.run)
	return w
}

// prepare walks a run to this step.
func (w *world) prepare(r *run.Run) {
	w.Helper()
	w.At(r, "nlb")
	w.Up(nlb.New(w.Deps), r)
	w.At(r, "endpoint-service")
	w.Up(endpointservice.New(w.Deps), r)
	var err error
	w.foreign, err = w.Link.AddForeignEndpoint(r.Facts.EndpointService.ID, faketest.ZoneI, "1000000000000009")
	require.NoError(w, err)
	w.At(r, "private-connection")
	w.Up(privateconnection.New(w.Deps), r)
	w.At(r, "accept")
}

func (w *world) endpoint(id string) fake.Endpoint {
	w.Helper()
	for _, e := range w.Link.Endpoints() {
		if e.ID == id {
			return e
		}
	}
	require.Fail(w, "no endpoint "+id)
	return fake.Endpoint{}
}

func (w *world) ours() fake.Endpoint {
	w.Helper()
	return w.endpoint(w.run.Facts.PrivateConnection.EndpointID)
}

func (w *world) connected() {
	w.Helper()
	e := w.ours()
	require.Equal(w, "Connected", e.Connection)
	require.Equal(w, e.Domain, w.run.Facts.Accept.Domain)
	require.Equal(w, e.OwnerID, w.run.Facts.Accept.OwnerID)
	w.unlocked()
}

func (w *world) disconnected() {
	w.Helper()
	require.Equal(w, "Disconnected", w.ours().Connection)
	require.Nil(w, w.run.Facts.Accept)
	w.unlocked()
}

func (w *world) unlocked() {
	w.Helper()
	holder, err := w.Deps.Runs.Holder(context.Background(), "accept/"+w.Account.AccountID)
	require.NoError(w, err)
	require.Empty(w, holder)
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "accept", Most: 6,
		Not: map[stepstest.Day]string{stepstest.TwoHits: "it creates nothing", stepstest.Namesake: "it creates nothing"},
		Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
			w := newWorld(t, seed)
			return stepstest.Scene{Driver: w.Driver, Step: w.step, Run: w.run, Stands: w.connected, Nothing: w.disconnected,
				ByHand: map[string]func(){"connection": w.closeIt}}
		}})
}

func TestAForeignEndpointStaysPending(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	pending := func() {
		w.Helper()
		w.Advance(5 * time.Minute)
		require.Equal(t, "Disconnected", w.endpoint(w.foreign.ID).Connection)
		require.Equal(t, "Wait", w.endpoint(w.foreign.ID).ZoneStatus, "nobody has accepted it")
	}
	w.Up(w.step, w.run)
	w.connected()
	pending()
	w.Up(w.step, w.run)
	pending()
	w.Down(w.step, w.run)
	w.disconnected()
	pending()
}

// PrivateLink takes one change of a connection at a time, in all of an account.
func TestTwoAcceptsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	other := w.Run("nlb")
	other.Spec.Name, other.ID = "second", "feedfacefeedface"
	w.prepare(other)
	w.Advance(3 * time.Minute)
	_, err := w.Once(w.step, w.run)
	require.NoError(t, err)
	_, err = w.Once(w.step, other)
	require.ErrorContains(t, err, "is held by "+w.run.ID)
	require.ErrorContains(t, err, "place 1 in the queue")
	for _, e := range w.Account.Exchanges() {
		require.NotContains(t, e.RespBody, "ConcurrentCallNotSupported", "the lock spares the refusal")
	}
	w.Up(w.step, w.run)
	w.connected()
	w.Up(w.step, other)
	w.connected()
	require.Equal(t, "Connected", w.endpoint(other.Facts.PrivateConnection.EndpointID).Connection)
}

func TestConcurrentCallNotSupported(t *testing.T) { // by somebody without our lock
	t.Parallel()
	w := newWorld(t, 6)
	n := 0
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		if c.Action == "EnableVpcEndpointConnection" || c.Action == "DisableVpcEndpointConnection" {
			if n++; n%4 != 0 {
				return cloud.Fault{Before: cloud.Errorf(400, "ConcurrentCallNotSupported", "The concurrent call is not supported.")}
			}
		}
		return cloud.Fault{}
	})
	w.Up(w.step, w.run)
	w.connected()
	require.Equal(t, 4, n)
	w.Down(w.step, w.run)
	w.disconnected()
}

// closeIt disconnects the endpoint by hand.
func (w *world) closeIt() {
	w.Advance(10 * time.Minute)
	req := sdk.CreateDisableVpcEndpointConnectionRequest()
	req.ServiceId, req.EndpointId = w.run.Facts.EndpointService.ID, w.ours().ID
	require.NoError(w, w.Call("privatelink", req, sdk.CreateDisableVpcEndpointConnectionResponse()))
	w.Advance(10 * time.Minute)
}

// TestClosedByHand is the other meaning of Disconnected.
func TestClosedByHand(t *testing.T) {
	t.Parallel()
	t.Run("after a walk", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 7)
		w.Up(w.step, w.run)
		w.closeIt()
		since := w.Now()
		w.Up(w.step, w.run)
		w.connected()
		require.Less(t, w.Now().Sub(since), 2*time.Minute, "the token is another one from the start")
	})
	t.Run("before we saw it connected", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 8)
		w.Advance(3 * time.Minute)
		_, err := w.Once(w.step, w.run)
		require.NoError(t, err)
		w.Advance(3 * time.Minute)
		w.closeIt()
		w.Up(w.step, w.run)
		w.connected()
	})
	t.Run("before teardown", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 9)
		w.Up(w.step, w.run)
		w.closeIt()
		before := w.Writes()
		w.Down(w.step, w.run)
		require.Equal(t, before, w.Writes())
		w.disconnected()
	})
}

// stale lists connections as they were before the last acceptance, for as long
// as a list may trail a write.
type stale struct {
	*privatelink.Client
	now      func() time.Time
	accepted time.Time
	calls    int
}

func (s *stale) Accept(ctx context.Context, service, endpoint, token string) error {
	s.calls, s.accepted = s.calls+1, s.now()
	return s.Client.Accept(ctx, service, endpoint, token)
}

func (s *stale) Connections(ctx context.Context, service string) ([]privatelink.Connection, error) {
	all, err := s.Client.Connections(ctx, service)
	for i := range all {
		if s.now().Before(s.accepted.Add(119 * time.Second)) {
			all[i].Status = privatelink.ConnectionDisconnected
		}
	}
	return all, err
}

func TestLaggingLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	s := &stale{Client: privatelink.New(w.Deps.Aliyun), now: w.Now}
	w.step = &accept.Step{Connections: s, Endpoints: escluster.New(w.Deps.Aliyun), Locks: w.Deps.Runs, Now: w.Now}
	w.Up(w.step, w.run)
	w.connected()
	require.Equal(t, 1, s.calls, "what was accepted just now is not accepted again")
	w.Down(w.step, w.run)
	w.disconnected()

	w.Advance(time.Hour)
	w.run.Direction = run.Up
	_, err := w.Once(w.step, w.run)
	require.NoError(t, err)
	w.Advance(time.Minute) // connected, and listed as not
	w.Down(w.step, w.run)
	w.disconnected()
}

// behind is an instance that learns of its connection later than the service.
type behind struct {
	*escluster.Client
	now   func() time.Time
	until time.Time
}

func (b *behind) ListEndpoints(ctx context.Context, id string) ([]escluster.Endpoint, error) {
	all, err := b.Client.ListEndpoints(ctx, id)
	for i := range all {
		if b.now().Before(b.until) {
			all[i].Connection = "Connecting"
		}
	}
	return all, err
}

func TestConnectedOnBothSides(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 12)
	until := w.Now().Add(8 * time.Minute)
	w.step = &accept.Step{Connections: privatelink.New(w.Deps.Aliyun), Locks: w.Deps.Runs, Now: w.Now,
		Endpoints: &behind{escluster.New(w.Deps.Aliyun), w.Now, until}}
	w.Up(w.step, w.run)
	w.connected()
	require.False(t, w.Now().Before(until))
}

func TestDownWithoutAnEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 11)
	w.Up(w.step, w.run)
	w.Link.Remove(w.ours().ID)
	w.Down(w.step, w.run)
	require.Nil(t, w.run.Facts.Accept)
	w.Link.Remove(w.run.Facts.EndpointService.ID)
	w.Down(w.step, w.run)
	w.run.Facts.PrivateConnection, w.run.Facts.EndpointService = nil, nil
	w.Down(w.step, w.run)
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "endpoint-service")
}
