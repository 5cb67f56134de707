package privateconnection_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/faketest"
	fake "eslink/localtest/fakes/privatelink"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/engine"
	"eslink/shared/run"
	"eslink/shared/steps/endpointservice"
	"eslink/shared/steps/nlb"
	"eslink/shared/steps/privateconnection"
	"eslink/shared/steps/stepstest"
)

type world struct {
	*stepstest.World
	service, step engine.Step
	run           *run.Run
}

func newWorld(t *testing.T, seed uint64) *world {
	w := stepstest.New(t, seed)
	r := w.Run("nlb")
	w.Up(nlb.New(w.Deps), r)
	all := &world{w, endpointservice.New(w.Deps), privateconnection.New(w.Deps), r}
	all.upService()
	return all
}

func (w *world) upService() {
	w.Helper()
	w.At(w.run, "endpoint-service")
	w.Up(w.service, w.run)
	w.At(w.run, "private-connection")
}

func (w *world) one() fake.Endpoint {
	w.Helper()
	all := w.ES.Endpoints(faketest.Dst)
	require.Len(w, all, 1)
	e := all[0]
	require.Equal(w, "Active", e.Status)
	require.Equal(w, faketest.ZoneI, e.ZoneID)
	require.Equal(w, w.run.Facts.EndpointService.ID, e.ServiceID)
	require.Equal(w, e.ID, w.run.Facts.PrivateConnection.EndpointID)
	require.Equal(w, e.Domain, w.run.Facts.PrivateConnection.Domain)
	return e
}

func (w *world) none() {
	w.Helper()
	require.Empty(w, w.ES.Endpoints(faketest.Dst))
	require.Nil(w, w.run.Facts.PrivateConnection)
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "private-connection", Most: 7,
		Not: map[stepstest.Day]string{stepstest.TwoHits: "one endpoint per cluster and service; the guard table has a list of two", stepstest.Namesake: "endpoints have no names"},
		Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
			w := newWorld(t, seed)
			return stepstest.Scene{Driver: w.Driver, Step: w.step, Run: w.run, Stands: func() { w.one() }, Nothing: w.none,
				ByHand: map[string]func(){"endpoint": func() { w.Link.Remove(w.ES.Endpoints(faketest.Dst)[0].ID) }}}
		}})
}

func TestAServiceMadeAnewGetsAnEndpointOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8)
	w.Up(w.step, w.run)
	first := w.one()
	w.Link.Remove(first.ServiceID)
	w.upService()
	w.Up(w.step, w.run)
	require.NotEqual(t, first.ID, w.one().ID)
}

func TestARestartingClusterIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 9)
	w.ES.SetStatus(faketest.Dst, "activating")
	out, err := w.Once(w.step, w.run)
	require.NoError(t, err)
	require.Contains(t, out.Reason(), "InstanceActivating")
	w.ES.SetStatus(faketest.Dst, "active")
	w.Up(w.step, w.run)
	w.one()
}

func TestDownOfAClusterThatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.run.Spec.InstanceID = "es-cn-nobody00001"
	w.Down(w.step, w.run)
	require.Nil(t, w.run.Facts.PrivateConnection)
}

// lagging is an instance whose list trails each creation.
type ctx = context.Context

type lagging struct {
	privateconnection.Endpoints
	now   func() time.Time
	shown map[string]time.Time
	d     time.Duration
}

func (l *lagging) CreateEndpoint(ctx ctx, id, service, zone, token string) (escluster.Endpoint, error) {
	e, err := l.Endpoints.CreateEndpoint(ctx, id, service, zone, token)
	if _, known := l.shown[e.ID]; err == nil && !known {
		l.shown[e.ID] = l.now().Add(l.d)
	}
	return e, err
}

func (l *lagging) ListEndpoints(ctx ctx, id string) ([]escluster.Endpoint, error) {
	all, err := l.Endpoints.ListEndpoints(ctx, id)
	var seen []escluster.Endpoint
	for _, e := range all {
		if !l.now().Before(l.shown[e.ID]) {
			seen = append(seen, e)
		}
	}
	return seen, err
}

func TestLaggingLists(t *testing.T) {
	t.Parallel()
	for _, m := range append(stepstest.Mishaps(), "") {
		t.Run(fmt.Sprintf("%q", m), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 11)
			c := escluster.New(w.Deps.Aliyun)
			l := &lagging{Endpoints: c, now: w.Now, shown: map[string]time.Time{}, d: 119 * time.Second}
			w.step = &privateconnection.Step{Endpoints: l, Now: w.Now}
			if m != "" {
				w.Break(1, m)
			}
			w.Up(w.step, w.run)
			w.one()
			w.Down(w.step, w.run)
			w.none()
		})
	}
}
