package nlb_test

import (
	"testing"
	"time"

	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/nlb"
	"github.com/stretchr/testify/require"

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

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "nlb", Seeds: 5, Most: 10, Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
		w := newWorld(t, seed)
		return stepstest.Scene{Driver: w.Driver, Step: w.step, Run: w.run, Stands: func() { w.one() }, Nothing: w.none,
			ByHand: map[string]func(){"balancer": func() { w.NLB.Remove(w.NLB.LoadBalancers()[0].ID) }},
			Twice: func() []string {
				ids := []string{w.create("a1", w.run.ID, "a"), w.create("b1", w.run.ID, "b")}
				w.Advance(10 * time.Minute)
				return ids
			},
			Namesake: func() func() {
				id := w.create(w.run.Name("nlb"), "another run", "x")
				w.Advance(10 * time.Minute)
				return func() {
					require.Equal(t, id, w.NLB.LoadBalancers()[0].ID)
					require.Equal(t, "Active", w.NLB.LoadBalancers()[0].Status)
				}
			}}
	}})
}

func TestCreateFailedIsDeletedAndRecreated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	fail := true
	w.NLB.FailCreate(func(string) bool { f := fail; fail = false; return f })
	w.Up(w.step, w.run)
	w.one()
}

func TestCreateFailedAndTheCrashAfterItsDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	fail := true
	w.NLB.FailCreate(func(string) bool { f := fail; fail = false; return f })
	w.Break(2, stepstest.CrashAfter) // the first write creates, the second deletes
	w.Up(w.step, w.run)
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

func TestABalancerThatLacksTheZoneIsForAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.Up(w.step, w.run)
	w.run.Facts.Preflight.VSwitches = append(w.run.Facts.Preflight.VSwitches, facts.VSwitch{VSwitchID: "vsw-src-k", ZoneID: "cn-hangzhou-k"})
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "cn-hangzhou-k")
}
