// Package stepstest drives single steps against the fakes, through the real
// SDK, the way the engine would: call, wait as long as the step asks, call
// again. It can kill an invocation at any of its writes.
package stepstest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/faketest"
	"eslink/shared/aliyun"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/flow"
	"eslink/shared/run"
)

// World is the account of package faketest with a function's view of it.
type World struct {
	*faketest.World
	// Deps are those of a function in the VPC of the cluster Src.
	Deps deps.Deps

	crash bool // this invocation dies before it can save
}

// New makes a world; all durations are drawn from seed.
func New(t testing.TB, seed uint64) *World {
	w := &World{World: faketest.New(t, seed)}
	require.NoError(t, w.Account.AddRole("step", cloud.Policy{Version: "1", Statement: []cloud.Statement{{Effect: "Allow", Action: []string{"*"}, Resource: []string{"*"}}}}))
	w.Deps = deps.Deps{
		Aliyun: aliyun.Config{
			Region: faketest.Region,
			Endpoint: func(product string) (string, string) {
				return "https", product + "." + faketest.Region + ".aliyuncs.com"
			},
			Transport: w.Transport,
			Resolver:  w.Network.FromVPC("vpc-src", faketest.Source("src")),
			Now:       w.Now,
			Rand:      bytes.NewReader(bytes.Repeat([]byte{7}, 1<<12)),
			Log:       slog.New(slog.DiscardHandler),
		},
		Now: w.Now, Log: slog.New(slog.DiscardHandler), Transport: func(string) http.RoundTripper { return w.Transport },
		Runs: &run.Store{Driver: &run.Mem{}, Now: w.Now},
		Network: func() deps.Network {
			return deps.Network{SourceVPC: "vpc-src", SourceVSwitch: "vsw-src", DestinationVPC: "vpc-dst", DestinationVSwitch: "vsw-dst"}
		},
	}
	return w
}

// Context is that of an invocation: fresh credentials of a role.
func (w *World) Context() context.Context {
	c := w.Account.AssumeRole("step", w.Now())
	return fccontext.NewContext(context.Background(), &fccontext.FcContext{AccountId: w.Account.AccountID, Region: faketest.Region,
		Credentials: fccontext.Credentials{AccessKeyId: c.AccessKeyID, AccessKeySecret: c.AccessKeySecret, SecurityToken: c.SecurityToken}})
}

// Run is a run from Src to Dst, at a step, with what preflight finds.
func (w *World) Run(step string) *run.Run {
	spec := events.Spec{Name: "orders", Scenario: flow.ESToES, Region: faketest.Region, InstanceID: faketest.Dst,
		Target: events.Target{InstanceID: faketest.Src, Port: 9200, Protocol: "http"}}
	r := &run.Run{ID: flow.RunID(w.Account.AccountID, spec), Generation: 1, AccountID: w.Account.AccountID, Spec: spec, Direction: run.Up, Status: run.Running}
	r.Facts.Preflight = &facts.Preflight{
		Zone: faketest.ZoneI,
		VSwitches: []facts.VSwitch{{VSwitchID: "vsw-src-i", ZoneID: faketest.ZoneI, CIDR: "10.2.1.0/24"},
			{VSwitchID: "vsw-src-j", ZoneID: faketest.ZoneJ, CIDR: "10.2.2.0/24"}},
	}
	for id, c := range map[string]*facts.Cluster{faketest.Dst: &r.Facts.Preflight.Instance, faketest.Src: &r.Facts.Preflight.Target} {
		for _, i := range w.ES.Instances() {
			if i.ID == id {
				*c = facts.Cluster{InstanceID: id, Domain: i.Domain(), Port: 9200, Protocol: "http", Version: i.Version, VpcID: i.VPCID, VSwitchID: i.VSwitchID, ZoneIDs: i.Zones}
			}
		}
	}
	w.At(r, step)
	return r
}

// HostRun is a run from Dst to services on Host, at a step, with what preflight
// finds.
func (w *World) HostRun(step string, useCases ...events.UseCase) *run.Run {
	r := w.Run(step)
	r.Spec.Name, r.Spec.Scenario, r.Spec.Target, r.Spec.UseCases = "services", flow.ESToECS, events.Target{ECSInstanceID: faketest.Host}, useCases
	r.ID = flow.RunID(w.Account.AccountID, r.Spec)
	h := w.ECS.Instances()[0]
	r.Facts.Preflight.VSwitches = r.Facts.Preflight.VSwitches[:1]
	r.Facts.Preflight.ECS = &facts.ECSHost{InstanceID: h.ID, PrivateIP: h.IP.String(), VpcID: h.VPCID, VSwitchID: h.VSwitchID, ZoneID: h.ZoneID, SecurityGroups: h.SecurityGroups}
	r.Facts.Preflight.Target = facts.Cluster{InstanceID: h.ID, Domain: h.IP.String(), Port: useCases[0].Port, Protocol: "http", VpcID: h.VPCID, VSwitchID: h.VSwitchID, ZoneIDs: []string{h.ZoneID}}
	return r
}

// At puts the run's cursor on a step, as of now.
func (w *World) At(r *run.Run, step string) {
	r.Cursor = run.Cursor{Step: step, Since: w.Now(), WakeAt: w.Now()}
}

// Up drives a step down the flow until it is done, and returns how many
// invocations that took. Errors that may pass are retried, the engine's way.
func (w *World) Up(s engine.Step, r *run.Run) int {
	w.Helper()
	n, err := w.Walk(s, r, run.Up)
	require.NoError(w, err)
	return n
}

// Down is Up in the other direction.
func (w *World) Down(s engine.Step, r *run.Run) int {
	w.Helper()
	n, err := w.Walk(s, r, run.Down)
	require.NoError(w, err)
	return n
}

// Walk is Up or Down that returns the error that stops the run. It fails the
// test when the step is not done within its time in the flow.
func (w *World) Walk(s engine.Step, r *run.Run, d run.Direction) (int, error) {
	w.Helper()
	r.Direction, r.Cursor.Since = d, w.Now()
	def, ok := mustFlow(r.Spec.Scenario).Step(r.Cursor.Step)
	require.True(w, ok, r.Cursor.Step)
	for n := 1; ; n++ {
		out, err := w.Once(s, r)
		if err == nil && out.IsDone() {
			return n, nil
		}
		wait := out.Delay()
		if err != nil {
			if c := apierr.ClassOf(err); c != apierr.Retry && c != apierr.Conflict {
				return n, err
			}
			wait = 5 * time.Second
		} else {
			require.NotEmpty(w, out.Reason())
			require.Positive(w, wait)
		}
		w.Advance(wait)
		require.Less(w, w.Now().Sub(r.Cursor.Since), def.Within, "step %s is not done in time: %s %v", r.Cursor.Step, out.Reason(), err)
	}
}

func mustFlow(scenario string) flow.Flow {
	f, _ := flow.Of(scenario)
	return f
}

// Once is one invocation. If it crashes, the record is as it was before, and
// the lease has run out.
func (w *World) Once(s engine.Step, r *run.Run) (out engine.Outcome, err error) {
	w.Helper()
	w.crash = false
	before := clone(w, r)
	if r.Direction == run.Down {
		out, err = s.Down(w.Context(), r)
	} else {
		out, err = s.Up(w.Context(), r)
	}
	if w.crash {
		r.Facts, r.Tokens = before.Facts, before.Tokens
		return engine.Wait(run.DefaultLease, "the invocation crashed"), nil
	}
	return out, err
}

// clone copies what a step may change.
func clone(t testing.TB, r *run.Run) *run.Run {
	raw, err := json.Marshal(r.Facts)
	require.NoError(t, err)
	c := &run.Run{Tokens: maps.Clone(r.Tokens)}
	require.NoError(t, json.Unmarshal(raw, &c.Facts))
	return c
}

// A Mishap is how a write goes wrong, once.
type Mishap string

// The mishaps: the call fails before it has an effect; it has its effect, and
// the reply is lost; the function dies after the reply, before it saves.
const (
	CrashBefore Mishap = "fails before"
	LoseReply   Mishap = "reply lost"
	CrashAfter  Mishap = "crash before save"
)

// Mishaps lists them all.
func Mishaps() []Mishap { return []Mishap{CrashBefore, LoseReply, CrashAfter} }

// Break makes the n-th write from now on, counted from 1, meet a mishap. It
// returns what tells whether that has happened.
func (w *World) Break(n int, m Mishap) (happened func() bool) {
	seen := 0
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		if !isWrite(c.Action) {
			return cloud.Fault{}
		}
		if seen++; seen != n {
			return cloud.Fault{}
		}
		switch m {
		case CrashBefore:
			return cloud.Fault{Before: cloud.Errorf(503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server.")}
		case CrashAfter:
			w.crash = true
		}
		return cloud.Fault{LoseReply: true}
	})
	return func() bool { return seen >= n }
}

// Throttle refuses every request once.
func (w *World) Throttle() {
	refused := map[string]bool{}
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		if key := fmt.Sprint(c.Action, c.Params); !refused[key] {
			refused[key] = true
			return cloud.Fault{Before: cloud.Errorf(400, "Throttling.User", "Request was denied due to user flow control.")}
		}
		return cloud.Fault{}
	})
}

// Writes counts the writes of the account that were not refused, so far.
func (w *World) Writes() (n int) {
	for _, e := range w.Account.Exchanges() {
		if e.Write && e.Status < 300 {
			n++
		}
	}
	return n
}

func isWrite(action string) bool {
	for _, read := range []string{"Get", "List", "Describe", "Check", "Estimated"} {
		if strings.HasPrefix(action, read) {
			return false
		}
	}
	return true
}
