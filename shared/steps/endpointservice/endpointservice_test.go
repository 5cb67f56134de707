package endpointservice_test

import (
	"testing"
	"time"

	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/privatelink"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/faketest"
	fake "eslink/localtest/fakes/privatelink"
	"eslink/shared/engine"
	"eslink/shared/run"
	"eslink/shared/steps/clb"
	"eslink/shared/steps/endpointservice"
	"eslink/shared/steps/nlb"
	"eslink/shared/steps/stepstest"
)

type world struct {
	*stepstest.World
	step engine.Step
	run  *run.Run
}

func newWorld(t *testing.T, seed uint64) *world {
	w := stepstest.New(t, seed)
	r := w.Run("nlb")
	w.Up(nlb.New(w.Deps), r)
	w.At(r, "endpoint-service")
	return &world{w, endpointservice.New(w.Deps), r}
}

// one demands that there is one service, as the scenario asks, and that the
// record knows it.
func (w *world) one() fake.Service {
	w.Helper()
	all := w.Link.Services()
	require.Len(w, all, 1)
	s := all[0]
	require.Equal(w, "Active", s.Status)
	require.Equal(w, "nlb", s.ResourceType)
	require.Equal(w, map[string]string{run.TagKey: w.run.ID}, s.Tags)
	require.NotEmpty(w, s.Description)
	var zones []string
	for _, r := range s.Resources {
		require.Equal(w, w.run.Facts.NLB.ID, r.ID)
		zones = append(zones, r.ZoneID)
	}
	require.ElementsMatch(w, []string{faketest.ZoneI, faketest.ZoneJ}, zones)
	require.Equal(w, s.ID, w.run.Facts.EndpointService.ID)
	require.Equal(w, s.Name, w.run.Facts.EndpointService.Name)
	return s
}

func (w *world) none() {
	w.Helper()
	require.Empty(w, w.Link.Services())
	require.Nil(w, w.run.Facts.EndpointService)
}

func (w *world) detach(s fake.Service, zone string) {
	w.Helper()
	req := sdk.CreateDetachResourceFromVpcEndpointServiceRequest()
	req.ServiceId, req.ResourceId, req.ResourceType, req.ZoneId = s.ID, s.Resources[0].ID, "nlb", zone
	require.NoError(w, w.Call("privatelink", req, sdk.CreateDetachResourceFromVpcEndpointServiceResponse()))
	w.Advance(time.Minute)
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "endpoint-service", Most: 6,
		Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
			w := newWorld(t, seed)
			return stepstest.Scene{Driver: w.Driver, Step: w.step, Run: w.run, Stands: func() { w.one() }, Nothing: w.none,
				ByHand: map[string]func(){"service": func() { w.Link.Remove(w.Link.Services()[0].ID) }},
				Twice: func() []string {
					ids := []string{w.create(w.run.ID), w.create(w.run.ID)}
					w.Advance(10 * time.Minute)
					return ids
				},
				Namesake: func() func() { // the nearest: a service with another run's tag
					w.create("another")
					w.Advance(10 * time.Minute)
					return func() { require.Len(t, w.Link.Services(), 1) }
				},
			}
		}})
}

// create makes a service with a run's tag behind its back.
func (w *world) create(tag string) string {
	w.Helper()
	req, resp := sdk.CreateCreateVpcEndpointServiceRequest(), sdk.CreateCreateVpcEndpointServiceResponse()
	req.ServiceResourceType, req.Tag = "nlb", &[]sdk.CreateVpcEndpointServiceTag{{Key: run.TagKey, Value: tag}}
	require.NoError(w, w.Call("privatelink", req, resp))
	return resp.ServiceId
}

func TestAZoneTakenAwayByHandIsForAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	w.Up(w.step, w.run)
	w.detach(w.one(), faketest.ZoneJ)
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "has lost zone "+faketest.ZoneJ)
	w.Down(w.step, w.run)
	w.none()
}

func TestAnotherBalancerBehindTheServiceIsForAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 7)
	w.Up(w.step, w.run)
	was := w.run.Facts.NLB.ID
	w.run.Facts.NLB.ID = "nlb-new"
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, was)
}

func TestAForeignConnectionKeepsTheServiceAndIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.Up(w.step, w.run)
	e, err := w.Link.AddForeignEndpoint(w.one().ID, faketest.ZoneI, "1000000000000009")
	require.NoError(t, err)
	w.Advance(5 * time.Minute)
	change := func(enable bool) {
		req := sdk.CreateEnableVpcEndpointConnectionRequest()
		req.ServiceId, req.EndpointId = w.one().ID, e.ID
		if enable {
			require.NoError(t, w.Call("privatelink", req, sdk.CreateEnableVpcEndpointConnectionResponse()))
			w.Advance(5 * time.Minute)
			return
		}
		off := sdk.CreateDisableVpcEndpointConnectionRequest()
		off.ServiceId, off.EndpointId = req.ServiceId, req.EndpointId
		require.NoError(t, w.Call("privatelink", off, sdk.CreateDisableVpcEndpointConnectionResponse()))
		w.Advance(5 * time.Minute)
	}
	change(true) // a person let it in
	w.run.Direction = run.Down
	out, err := w.Once(w.step, w.run)
	require.NoError(t, err)
	require.Contains(t, out.Reason(), "still carries 1 connections in zone "+faketest.ZoneI)
	w.one()
	change(false)
	w.Down(w.step, w.run)
	w.none()
}

// A CLB serves PrivateLink in its first zone.
func TestAServiceOnACLB(t *testing.T) {
	t.Parallel()
	for _, m := range stepstest.Mishaps() {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			w := stepstest.New(t, 1)
			r := w.HostRun("clb", events.UseCase{Kind: events.Watcher, Port: 8080})
			w.Up(clb.New(w.Deps), r)
			w.At(r, "endpoint-service")
			step := endpointservice.New(w.Deps)
			w.Break(1, m)
			w.Up(step, r)
			all := w.Link.Services()
			require.Len(t, all, 1)
			require.Equal(t, "slb", all[0].ResourceType)
			require.Len(t, all[0].Resources, 1)
			require.Equal(t, r.Facts.CLB.ID+" "+faketest.ZoneI, all[0].Resources[0].ID+" "+all[0].Resources[0].ZoneID)
			before := w.Writes()
			require.Equal(t, 1, w.Up(step, r))
			require.Equal(t, before, w.Writes())
			w.Down(step, r)
			require.Empty(t, w.Link.Services())
		})
	}
}
