package ipwhitelist_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/faketest"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/ipwhitelist"
	"eslink/shared/steps/stepstest"
)

var local = []string{"10.2.2.9", "10.2.1.7", "10.2.1.8", "10.2.2.10"}

type world struct {
	*stepstest.World
	step  engine.Step
	run   *run.Run
	group string
}

func newWorld(t *testing.T, seed uint64) *world {
	w := stepstest.New(t, seed)
	r := w.Run("ip-whitelist")
	r.Facts.NLB = &facts.NLB{ID: "nlb-1", LocalAddresses: local}
	w.ES.SetGroup(faketest.Src, "office", "10.9.0.0/16")
	return &world{w, ipwhitelist.New(w.Deps), r, "eslink_" + r.ID}
}

// groups demands that nobody else's group has changed and returns ours.
func (w *world) groups() (ours []string) {
	w.Helper()
	left := map[string][]string{}
	for _, g := range w.ES.Groups(faketest.Src) {
		if g.Type == "PRIVATE_ES" {
			left[g.Name] = g.IPs
		}
	}
	ours = left[w.group]
	delete(left, w.group)
	require.Equal(w, map[string][]string{"default": {"10.2.0.0/24"}, "office": {"10.9.0.0/16"}}, left)
	return ours
}

func (w *world) admitted() {
	w.Helper()
	require.ElementsMatch(w, local, w.groups())
	require.ElementsMatch(w, local, w.run.Facts.IPWhitelist.Addresses)
	require.Equal(w, w.group, w.run.Facts.IPWhitelist.Group)
	for _, i := range w.ES.Instances() {
		require.Equal(w, "active", i.Status, "the list is in force")
	}
}

func (w *world) removed() {
	w.Helper()
	require.Empty(w, w.groups())
	require.Nil(w, w.run.Facts.IPWhitelist)
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "ip-whitelist", Most: 6,
		Not: map[stepstest.Day]string{stepstest.TwoHits: "a group's name is unique", stepstest.Namesake: "nobody else knows the run's ID; newWorld has groups of others"},
		Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
			w := newWorld(t, seed)
			return stepstest.Scene{Driver: w.Driver, Step: w.step, Run: w.run, Stands: w.admitted, Nothing: w.removed,
				ByHand: map[string]func(){"group": func() { w.ES.SetGroup(faketest.Src, w.group) }}}
		}})
}

func TestSomebodyEditsOurGroup(t *testing.T) {
	t.Parallel()
	for name, ips := range map[string][]string{"adds": append([]string{"10.9.9.9"}, local...), "takes": {"10.2.1.7"}, "deletes": nil} {
		t.Run(name+" after a walk", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 4)
			w.Up(w.step, w.run)
			w.ES.SetGroup(faketest.Src, w.group, ips...)
			w.Up(w.step, w.run)
			w.admitted()
		})
		t.Run(name+" between our write and our next look", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 5)
			out, err := w.Once(w.step, w.run)
			require.NoError(t, err)
			w.Advance(out.Delay())
			w.ES.SetGroup(faketest.Src, w.group, ips...)
			w.Up(w.step, w.run)
			w.admitted()
		})
	}
}

func TestABalancerWithOtherAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	w.run.Facts.NLB.LocalAddresses = []string{"10.2.1.99", "10.2.2.99"}
	w.Up(w.step, w.run)
	w.run.Facts.NLB.LocalAddresses = local
	w.Up(w.step, w.run)
	w.admitted()
}

func TestAdmittedAlreadyIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 7)
	w.ES.SetGroup(faketest.Src, "all", "10.2.0.0/16")
	before := w.Writes()
	require.Equal(t, 1, w.Up(w.step, w.run))
	require.Empty(t, w.run.Facts.IPWhitelist.Group)
	require.ElementsMatch(t, local, w.run.Facts.IPWhitelist.Addresses)
	w.Down(w.step, w.run)
	require.Equal(t, before, w.Writes())
	require.Nil(t, w.run.Facts.IPWhitelist)

	w.ES.SetGroup(faketest.Src, "all") // now nobody else admits them
	w.Up(w.step, w.run)
	w.admitted()
}

func TestOneAddressThatNobodyAdmits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8)
	w.ES.SetGroup(faketest.Src, "most", "10.2.1.0/24", "10.2.2.9")
	w.Up(w.step, w.run)
	w.ES.SetGroup(faketest.Src, "most")
	w.admitted()
}

func TestStatesOfTheCluster(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"inactive", "invalid"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 9)
			w.ES.SetStatus(faketest.Src, state)
			_, err := w.Walk(w.step, w.run, run.Up)
			require.ErrorContains(t, err, faketest.Src+" is "+state)
			require.Zero(t, w.Writes())
			w.ES.SetStatus(faketest.Src, "active")
			w.Up(w.step, w.run)
			w.ES.SetStatus(faketest.Src, state)
			_, err = w.Walk(w.step, w.run, run.Down)
			if state == "invalid" { // gone
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "make the cluster active")
			}
		})
	}
	t.Run("activating", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 10)
		w.ES.SetStatus(faketest.Src, "activating")
		out, err := w.Once(w.step, w.run)
		require.NoError(t, err)
		require.Contains(t, out.Reason(), "carrying out a change")
		require.Zero(t, w.Writes())
		w.ES.SetStatus(faketest.Src, "active")
		w.Up(w.step, w.run)
		w.admitted()
		w.ES.SetStatus(faketest.Src, "activating")
		out, err = w.Once(w.step, w.run)
		require.NoError(t, err)
		require.False(t, out.IsDone(), "it counts only when it is in force")
	})
}

func TestBusyAtTheLastMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 11)
	n := 0
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		if c.Action == "UpdatePrivateNetworkWhiteIps" {
			if n++; n <= 2 {
				return cloud.Fault{Before: cloud.Errorf(400, "ConcurrencyUpdateInstanceConflict", "busy")}
			}
		}
		return cloud.Fault{}
	})
	w.Up(w.step, w.run)
	w.admitted()
	require.Equal(t, 3, n)
}

func TestTheClusterIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 12)
	w.run.Spec.Target.InstanceID = "es-cn-nobody00001"
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "InstanceNotFound")
	w.Down(w.step, w.run)
}

func TestManyGroupsOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 13)
	var all []escluster.Group
	for i := range 5 {
		w.ES.SetGroup(faketest.Src, fmt.Sprintf("g%d", i), fmt.Sprintf("10.8.%d.0/24", i))
	}
	all = w.ES.Groups(faketest.Src)
	w.Up(w.step, w.run)
	require.Len(t, w.ES.Groups(faketest.Src), len(all)+1)
	w.Advance(time.Hour)
	w.Down(w.step, w.run)
	require.Equal(t, all, w.ES.Groups(faketest.Src))
}
