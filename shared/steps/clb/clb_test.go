package clb_test

import (
	"fmt"
	"testing"
	"time"

	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/slb"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/faketest"
	fake "eslink/localtest/fakes/slb"
	"eslink/shared/engine"
	"eslink/shared/run"
	"eslink/shared/steps/clb"
	"eslink/shared/steps/stepstest"
)

type world struct {
	*stepstest.World
	step engine.Step
	run  *run.Run
}

func newWorld(t *testing.T, seed uint64) *world {
	w := stepstest.New(t, seed)
	return &world{w, clb.New(w.Deps), w.HostRun("clb", events.UseCase{Kind: events.Watcher, Port: 8080})}
}

// one demands that there is one balancer, made as the scenario asks, and that
// the record knows it.
func (w *world) one() fake.LoadBalancer {
	w.Helper()
	all := w.CLB.LoadBalancers()
	require.Len(w, all, 1)
	lb := all[0]
	require.Equal(w, "active intranet vpc-src vsw-src-i "+faketest.ZoneI, fmt.Sprint(lb.Status, " ", lb.AddressType, " ", lb.VPCID, " ", lb.VSwitchID, " ", lb.MasterZone))
	require.Equal(w, map[string]string{run.TagKey: w.run.ID}, lb.Tags)
	require.Equal(w, lb.ID, w.run.Facts.CLB.ID)
	require.Equal(w, lb.Address.String(), w.run.Facts.CLB.Address)
	return lb
}

func (w *world) none() {
	w.Helper()
	require.Empty(w, w.CLB.LoadBalancers())
	require.Nil(w, w.run.Facts.CLB)
}

// Where pay-by-LCU is not sold, a balancer by specification is asked for, with
// every mishap that either request may meet.
func TestAnotherWayOfPaying(t *testing.T) {
	t.Parallel()
	for _, m := range stepstest.Mishaps() {
		for n := 1; n <= 2; n++ {
			t.Run(fmt.Sprintf("%s/%d", m, n), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, uint64(n))
				w.CLB.SellBySpec()
				happened := w.Break(n, m)
				w.Up(w.step, w.run)
				require.True(t, happened())
				require.Equal(t, "PayBySpec slb.s1.small", w.one().ChargeType+" "+w.one().Spec)
				w.Account.SetFault(nil)
				w.CLB.Remove(w.one().ID)
				w.Up(w.step, w.run)
				w.one()
				w.Down(w.step, w.run)
				w.none()
			})
		}
	}
}

func TestARefusalThatIsNotForTheWayOfPayingStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	w.run.Facts.Preflight.VSwitches[0].VSwitchID = "vsw-src-j" // not in the zone
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "InvalidParameter")
	require.Empty(t, w.CLB.LoadBalancers())
	w.Down(w.step, w.run)
	w.none()
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "clb", Seeds: 5, Most: 8, Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
		w := newWorld(t, seed)
		return stepstest.Scene{Driver: w.Driver, Step: w.step, Run: w.run, Stands: func() { require.Equal(t, "PayByCLCU", w.one().ChargeType) }, Nothing: w.none,
			ByHand: map[string]func(){"balancer": func() { w.CLB.Remove(w.CLB.LoadBalancers()[0].ID) }},
			Twice: func() []string {
				ids := []string{w.create("a1", w.run.ID, "a"), w.create("b1", w.run.ID, "b")}
				w.Advance(10 * time.Minute)
				return ids
			},
			Namesake: func() func() {
				id := w.create(w.run.Name("clb"), "another run", "x")
				w.Advance(10 * time.Minute)
				return func() { require.Equal(t, id, w.CLB.LoadBalancers()[0].ID) }
			}}
	}})
}

// On the way up the name is enough.
func TestUpTakesANamesake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 9)
	id := w.create(w.run.Name("clb"), "another run", "x")
	w.Advance(10 * time.Minute)
	w.Up(w.step, w.run)
	require.Equal(t, id, w.run.Facts.CLB.ID)
}

// create makes a balancer of the run's name or tag behind its back.
func (w *world) create(name, tag, token string) string {
	w.Helper()
	req, resp := sdk.CreateCreateLoadBalancerRequest(), sdk.CreateCreateLoadBalancerResponse()
	req.LoadBalancerName, req.AddressType, req.VpcId, req.VSwitchId, req.InstanceChargeType, req.ClientToken = name, "intranet", "vpc-src", "vsw-src-i", "PayByCLCU", token
	req.Tag = &[]sdk.CreateLoadBalancerTag{{Key: run.TagKey, Value: tag}}
	require.NoError(w, w.Call("slb", req, resp))
	return resp.LoadBalancerId
}

func TestABalancerElsewhereIsForAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.Up(w.step, w.run)
	w.run.Facts.Preflight.Zone = faketest.ZoneJ
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "instead of intranet in vpc-src, zone "+faketest.ZoneJ)
}

func TestALockedBalancerStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 11)
	w.Up(w.step, w.run)
	w.CLB.SetStatus(w.one().ID, "locked")
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "is locked")
	w.Down(w.step, w.run)
	w.none()
}

func TestABusyBalancerIsDeletedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 12)
	w.Up(w.step, w.run)
	busy := map[string]bool{}
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		for _, code := range []string{"OperationBusy", "ServiceIsStopping", "ServiceIsConfiguring", "SystemBusy", "BackendServer.configuring", "OperationFailed.TokenIsProcessing"} {
			if c.Action == "DeleteLoadBalancer" && !busy[code] {
				busy[code] = true
				return cloud.Fault{Before: cloud.Errorf(400, code, "Later.")}
			}
		}
		return cloud.Fault{}
	})
	w.Down(w.step, w.run)
	require.Len(t, busy, 6)
	w.none()
}
