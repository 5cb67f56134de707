package stepstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/flow"
	"eslink/shared/run"
	"eslink/shared/wordstest"
)

// Driver calls a step the way the engine would: call, wait as long as the step
// asks, call again. It can break any request to a fake cloud.
type Driver struct {
	T     testing.TB
	Cloud Faults
	Clock Clock
	// Invocation returns the context of one invocation of the function.
	Invocation func() context.Context

	crash bool // this invocation dies before it can save
}

// Faults decide what goes wrong with requests, and remember them: a fake's
// *cloud.Account, or a Wire.
type Faults interface {
	SetFault(hook func(cloud.Call) cloud.Fault)
	Exchanges() []cloud.Exchange
}

// Clock is the time of a fake cloud, which only the test moves.
type Clock interface {
	Now() time.Time
	Advance(time.Duration)
}

// Up drives a step until it is done, and returns how many invocations that took.
// Errors that may pass are retried, as the engine does.
func (d *Driver) Up(s engine.Step, r *run.Run) int {
	d.T.Helper()
	n, err := d.Walk(s, r, run.Up)
	require.NoError(d.T, err)
	return n
}

// Down is Up in the other direction.
func (d *Driver) Down(s engine.Step, r *run.Run) int {
	d.T.Helper()
	n, err := d.Walk(s, r, run.Down)
	require.NoError(d.T, err)
	return n
}

// Walk is Up or Down that returns the error that stops the run. It fails the
// test when the step is not done within its time in the flow.
func (d *Driver) Walk(s engine.Step, r *run.Run, direction run.Direction) (int, error) {
	d.T.Helper()
	r.Direction, r.Cursor.Since = direction, d.Clock.Now()
	f, _ := flow.Of(r.Spec.Scenario)
	def, ok := f.Step(r.Cursor.Step)
	require.True(d.T, ok, r.Cursor.Step)
	for n := 1; ; n++ {
		out, err := d.Once(s, r)
		if err == nil && out.IsDone() {
			return n, nil
		}
		wait := out.Delay()
		if err != nil {
			if !passes(err) {
				return n, err
			}
			wait = 5 * time.Second
		} else {
			require.NotEmpty(d.T, out.Reason())
			require.True(d.T, wait > 0 || out.IsSoon(), "a wait takes time")
		}
		d.Clock.Advance(wait)
		require.Less(d.T, d.Clock.Now().Sub(r.Cursor.Since), def.Within, "step %s is not done in time: %s %v", r.Cursor.Step, out.Reason(), err)
	}
}

// passes reports whether the engine would try again after an error.
func passes(err error) bool {
	c := apierr.ClassOf(err)
	var held *run.HeldError
	return c == apierr.Retry || c == apierr.Conflict || errors.As(err, &held)
}

// Once is one invocation. If it crashes, the record is as it was before, and
// the lease has run out.
func (d *Driver) Once(s engine.Step, r *run.Run) (out engine.Outcome, err error) {
	d.T.Helper()
	d.crash = false
	before := clone(d.T, r)
	if r.Direction == run.Down {
		out, err = s.Down(d.Invocation(), r)
	} else {
		out, err = s.Up(d.Invocation(), r)
	}
	d.plain(out, err)
	if d.crash {
		r.Facts, r.Tokens = before.Facts, before.Tokens
		return engine.Wait(run.DefaultLease, "the invocation crashed"), nil
	}
	if err != nil {
		require.Equal(d.T, engine.Outcome{}, out, "an outcome comes without an error")
	}
	return out, err
}

// plain demands that what a person will read is in plain words.
func (d *Driver) plain(out engine.Outcome, err error) {
	d.T.Helper()
	sentences := []string{out.Reason()}
	if err != nil {
		sentences = append(sentences, err.Error())
	}
	for _, s := range sentences {
		require.Empty(d.T, wordstest.Refuse(s), s)
		require.Empty(d.T, wordstest.RefusePattern(s), s)
	}
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
func (d *Driver) Break(n int, m Mishap) (happened func() bool) {
	seen := 0
	d.Cloud.SetFault(func(c cloud.Call) cloud.Fault {
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
			d.crash = true
		}
		return cloud.Fault{LoseReply: true}
	})
	return func() bool { return seen >= n }
}

// Throttle refuses every request once.
func (d *Driver) Throttle() {
	refused := map[string]bool{}
	d.Cloud.SetFault(func(c cloud.Call) cloud.Fault {
		if key := fmt.Sprint(c.Action, c.Params); !refused[key] {
			refused[key] = true
			return cloud.Fault{Before: cloud.Errorf(400, "Throttling.User", "Request was denied due to user flow control.")}
		}
		return cloud.Fault{}
	})
}

// Refuse refuses every request with a code that no table knows.
func (d *Driver) Refuse(code string) {
	d.Cloud.SetFault(func(cloud.Call) cloud.Fault { return cloud.Fault{Before: cloud.Errorf(403, code, "No.")} })
}

// Writes counts the writes that were not refused, so far.
func (d *Driver) Writes() (n int) {
	for _, e := range d.Cloud.Exchanges() {
		if e.Write && e.Status < 300 {
			n++
		}
	}
	return n
}

// isWrite reports whether an operation changes something: by the verb of its
// name, or by the method of its request.
func isWrite(action string) bool {
	for _, read := range []string{"Get", "List", "Describe", "Check", "Estimated", "GET ", "HEAD "} {
		if strings.HasPrefix(action, read) {
			return false
		}
	}
	for _, read := range []string{"/_search", "/_search/scroll", "/_count", "/_mget", "/_has_privileges", "/_simulate", "/_refresh"} {
		if strings.HasSuffix(action, read) {
			return false
		}
	}
	return true
}
