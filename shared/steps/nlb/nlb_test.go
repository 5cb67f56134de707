package nlb_test

import (
	"fmt"
	"testing"
	"time"

	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/nlb"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/faketest"
	fake "eslink/localtest/fakes/nlb"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/nlb"
	"eslink/shared/steps/stepstest"
)

type world struct {
	*stepstest.World
	step engine.Step
	run  *run.Run
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Parallel()
	w := stepstest.New(t, seed)
	return &world{w, nlb.New(w.Deps), w.Run("nlb")}
}

// one demands that there is one balancer, made as the scenario asks, and that
// the record knows it.
func (w *world) one() fake.LoadBalancer {
	w.Helper()
	all := w.NLB.LoadBalancers()
	require.Len(w, all, 1)
	lb := all[0]
	require.Equal(w, "Active", lb.Status)
	require.Equal(w, "Intranet", lb.AddressType)
	require.Equal(w, "vpc-src", lb.VPCID)
	require.Equal(w, map[string]string{run.TagKey: w.run.ID}, lb.Tags)
	require.Len(w, lb.Zones, 2)
	require.Equal(w, lb.ID, w.run.Facts.NLB.ID)
	var local []string
	for _, z := range lb.Zones {
		for _, a := range z.Local {
			local = append(local, a.String())
		}
	}
	require.ElementsMatch(w, local, w.run.Facts.NLB.LocalAddresses)
	return lb
}

func (w *world) none() {
	w.Helper()
	require.Empty(w, w.NLB.LoadBalancers())
	require.Nil(w, w.run.Facts.NLB)
}

func TestUpMakesOneBalancerAndDownLeavesNone(t *testing.T) {
	w := newWorld(t, 1)
	require.LessOrEqual(t, w.Up(w.step, w.run), 10)
	w.one()

	before := w.Writes()
	require.Equal(t, 1, w.Up(w.step, w.run), "a second walk looks once")
	require.Equal(t, before, w.Writes())

	w.Down(w.step, w.run)
	w.none()
	before = w.Writes()
	require.Equal(t, 1, w.Down(w.step, w.run))
	require.Equal(t, before, w.Writes())

	w.Up(w.step, w.run) // after teardown comes start
	w.one()
}

func TestDuplicateCallCreatesOnce(t *testing.T) {
	w := newWorld(t, 2)
	for range 3 {
		_, err := w.Once(w.step, w.run)
		require.NoError(t, err)
	}
	require.Len(t, w.NLB.LoadBalancers(), 1)
}

func TestEveryWriteMeetsEveryMishap(t *testing.T) {
	t.Parallel()
	for _, m := range stepstest.Mishaps() {
		for seed := range uint64(5) { // lists lag by chance
			t.Run(fmt.Sprintf("%s/%d", m, seed), func(t *testing.T) {
				w := newWorld(t, seed)
				happened := w.Break(1, m)
				w.Up(w.step, w.run)
				require.True(t, happened())
				w.one()
				happened = w.Break(1, m)
				w.Down(w.step, w.run)
				require.True(t, happened())
				w.none()
			})
		}
	}
}

func TestDownAfterACreationWhoseReplyWasLost(t *testing.T) {
	t.Parallel()
	for _, m := range []stepstest.Mishap{stepstest.LoseReply, stepstest.CrashAfter} {
		for seed := range uint64(8) {
			t.Run(fmt.Sprintf("%s/%d", m, seed), func(t *testing.T) {
				w := newWorld(t, seed)
				w.Break(1, m)
				out, _ := w.Once(w.step, w.run)
				w.Advance(out.Delay())
				w.Down(w.step, w.run)
				w.none()
			})
		}
	}
}

func TestThrottledCallsAreRepeated(t *testing.T) {
	w := newWorld(t, 3)
	w.Throttle()
	w.Up(w.step, w.run)
	w.one()
	w.Down(w.step, w.run)
	w.none()
}

func TestCreateFailedIsDeletedAndMadeAnew(t *testing.T) {
	w := newWorld(t, 4)
	fail := true
	w.NLB.FailCreate(func(string) bool { f := fail; fail = false; return f })
	w.Up(w.step, w.run)
	w.one()
}

func TestCreateFailedAndTheCrashAfterItsDeletion(t *testing.T) {
	w := newWorld(t, 5)
	fail := true
	w.NLB.FailCreate(func(string) bool { f := fail; fail = false; return f })
	w.Break(2, stepstest.CrashAfter) // the first write creates, the second deletes
	w.Up(w.step, w.run)
	w.one()
}

func TestDeletedByHandIsMadeAnew(t *testing.T) {
	w := newWorld(t, 6)
	w.Up(w.step, w.run)
	first := w.one()
	w.NLB.Remove(first.ID)
	w.Up(w.step, w.run)
	require.NotEqual(t, first.ID, w.one().ID)

	w.NLB.Remove(w.one().ID)
	w.Down(w.step, w.run)
	w.none()
}

func TestDeletedByHandAfterACrashThatLostItsID(t *testing.T) {
	w := newWorld(t, 7)
	w.Break(1, stepstest.CrashAfter)
	_, err := w.Once(w.step, w.run)
	require.NoError(t, err)
	w.NLB.Remove(w.NLB.LoadBalancers()[0].ID)
	w.Up(w.step, w.run) // the token replays the dead one first
	w.one()
}

// create makes a balancer of the run's name or tag behind its back.
func (w *world) create(name, tag, token string) string {
	w.Helper()
	req, resp := sdk.CreateCreateLoadBalancerRequest(), sdk.CreateCreateLoadBalancerResponse()
	req.VpcId, req.LoadBalancerName, req.AddressType, req.ClientToken = "vpc-src", name, "Intranet", token
	req.Tag = &[]sdk.CreateLoadBalancerTag{{Key: run.TagKey, Value: tag}}
	req.ZoneMappings = &[]sdk.CreateLoadBalancerZoneMappings{{ZoneId: faketest.ZoneI, VSwitchId: "vsw-src-i"}, {ZoneId: faketest.ZoneJ, VSwitchId: "vsw-src-j"}}
	require.NoError(w, w.Call("nlb", req, resp))
	return resp.LoadbalancerId
}

func TestTwoHitsAreForAPerson(t *testing.T) {
	w := newWorld(t, 8)
	a, b := w.create("a1", w.run.ID, "a"), w.create("b1", w.run.ID, "b")
	w.Advance(10 * time.Minute)
	for _, d := range []run.Direction{run.Up, run.Down} {
		_, err := w.Walk(w.step, w.run, d)
		require.ErrorContains(t, err, "delete")
		require.ErrorContains(t, err, a)
		require.ErrorContains(t, err, b)
	}
	require.Len(t, w.NLB.LoadBalancers(), 2)
}

func TestDownTouchesNoForeignNamesake(t *testing.T) {
	w := newWorld(t, 9)
	id := w.create(w.run.Name("nlb"), "another run", "x")
	w.Advance(10 * time.Minute)
	w.Down(w.step, w.run)
	require.Equal(t, id, w.NLB.LoadBalancers()[0].ID)
	require.Equal(t, "Active", w.NLB.LoadBalancers()[0].Status)
}

func TestABalancerThatLacksTheZoneIsForAPerson(t *testing.T) {
	w := newWorld(t, 10)
	w.Up(w.step, w.run)
	w.run.Facts.Preflight.VSwitches = append(w.run.Facts.Preflight.VSwitches, facts.VSwitch{VSwitchID: "vsw-src-k", ZoneID: "cn-hangzhou-k"})
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "cn-hangzhou-k")
}

func TestUnknownErrorsGoByTheirStatus(t *testing.T) {
	w := newWorld(t, 11)
	refuse := cloud.Errorf(403, "SomethingNew", "No.")
	w.Account.SetFault(func(c cloud.Call) cloud.Fault { return cloud.Fault{Before: refuse} })
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "SomethingNew")

	n := 0
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		if n++; n < 4 {
			return cloud.Fault{Before: cloud.Errorf(502, "SomethingElse", "Later.")}
		}
		return cloud.Fault{}
	})
	w.Up(w.step, w.run)
	w.one()
}
