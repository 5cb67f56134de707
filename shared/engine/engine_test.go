package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/bus"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/flow"
	"eslink/shared/run"
)

const id = "fd5dc36da1e3cf09"

var errCrash = errors.New("the invocation died")

// world is an engine over a store and a bus in memory, in a bubble of virtual
// time.
type world struct {
	t      *testing.T
	engine *engine.Engine
	script map[string]func(*run.Run) (engine.Outcome, error) // by step; Done if absent

	mu        sync.Mutex
	driver    run.Mem
	puts      int
	putFault  func(put int) (before, after error)
	queue     []message
	published []message
	sendFault func(n int) (before, after error)
	calls     []string // "up nlb"
	dead      int
}

type message struct {
	step  string
	body  []byte
	delay time.Duration
	due   time.Time
	tries int
}

func bubble(t *testing.T, test func(*testing.T, *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, script: map[string]func(*run.Run) (engine.Outcome, error){}}
		w.engine = &engine.Engine{Runs: &run.Store{Driver: w, Now: time.Now}, Bus: w, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
		test(t, w)
	})
}

// Get, Put, List and Delete are a run.Driver that may die around a write.
func (w *world) Get(ctx context.Context, key run.Key) (run.Row, error) { return w.driver.Get(ctx, key) }
func (w *world) Put(ctx context.Context, key run.Key, row run.Row, expect int64) error {
	w.mu.Lock()
	w.puts++
	n, fault := w.puts, w.putFault
	w.mu.Unlock()
	var before, after error
	if fault != nil {
		before, after = fault(n)
	}
	if before != nil {
		return before
	}
	return errors.Join(w.driver.Put(ctx, key, row, expect), after)
}
func (w *world) List(ctx context.Context, kind, after string, limit int) ([]run.KeyedRow, error) {
	return w.driver.List(ctx, kind, after, limit)
}
func (w *world) Delete(ctx context.Context, key run.Key, expect int64) error {
	return w.driver.Delete(ctx, key, expect)
}

// Publish is a bus.Bus that may die around a message.
func (w *world) Publish(_ context.Context, queue string, body []byte, delay time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, err := events.Decode(body)
	require.NoError(w.t, err)
	require.Equal(w.t, bus.Queue(d[0].Step), queue)
	var before, after error
	if w.sendFault != nil {
		before, after = w.sendFault(len(w.published) + 1)
	}
	if before != nil {
		return before
	}
	m := message{step: d[0].Step, body: body, delay: delay, due: time.Now().Add(delay)}
	w.queue, w.published = append(w.queue, m), append(w.published, m)
	return after
}

type step struct {
	w    *world
	name string
}

func (s step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) { return s.call(ctx, r) }
func (s step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	return s.call(ctx, r)
}

func (s step) call(_ context.Context, r *run.Run) (engine.Outcome, error) {
	s.w.mu.Lock()
	s.w.calls = append(s.w.calls, string(r.Direction)+" "+s.name)
	s.w.mu.Unlock()
	if act := s.w.script[s.name]; act != nil {
		return act(r)
	}
	return engine.Done(), nil
}

func (w *world) deliver(m message) error {
	return w.engine.Handle(w.t.Context(), m.step, step{w, m.step}, m.body)
}

// pump delivers what is due, copies times each, until nothing is left: what
// fails is delivered again, four times in all, then it is dead.
func (w *world) pump(copies int, concurrently bool) {
	for n := 0; len(w.queue) > 0; n++ {
		require.Less(w.t, n, 5000, "the queue does not run dry")
		slices.SortStableFunc(w.queue, func(a, b message) int { return a.due.Compare(b.due) })
		m := w.queue[0]
		w.queue = w.queue[1:]
		time.Sleep(time.Until(m.due))
		var wg sync.WaitGroup
		for range copies {
			one := func() {
				if err := w.deliver(m); err == nil {
					return
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				if m.tries++; m.tries >= 4 {
					w.dead++
					return
				}
				again := m
				again.due = time.Now().Add(10 * time.Second)
				w.queue = append(w.queue, again)
			}
			if concurrently {
				wg.Go(one)
			} else {
				one()
			}
		}
		wg.Wait()
	}
}

// begin stores a run that stands on a step, and publishes its event.
func (w *world) begin(at string, change ...func(*run.Run)) *run.Run {
	r := &run.Run{ID: id, Generation: 1, Direction: run.Up, Spec: events.Spec{Scenario: flow.ESToES, Approve: "auto"}}
	for _, c := range change {
		c(r)
	}
	engine.Goto(r, at, run.Running, time.Now())
	require.NoError(w.t, w.engine.Runs.Create(w.t.Context(), r))
	require.NoError(w.t, w.engine.Send(w.t.Context(), r))
	return r
}

func (w *world) run() *run.Run {
	r, err := w.engine.Runs.Get(w.t.Context(), id)
	require.NoError(w.t, err)
	return r
}

func (w *world) take() message {
	require.NotEmpty(w.t, w.queue)
	m := w.queue[0]
	w.queue = w.queue[1:]
	return m
}

// walk is what a walk calls, each step once.
func walk(direction run.Direction) (out []string) {
	f, _ := flow.Of(flow.ESToES)
	if direction == run.Up {
		for _, s := range f.Steps {
			out = append(out, "up "+s.Name)
		}
		return out
	}
	for at := f.Last(); at != ""; at = f.Before(at) {
		out = append(out, "down "+at)
	}
	return out
}

func TestAWalkDownAndUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin("preflight")
		w.pump(1, false)
		assert.Equal(t, walk(run.Up), w.calls)
		assert.Equal(t, run.Done, w.run().Status)
		assert.Equal(t, "verify", w.run().Cursor.Step)
		assert.Len(t, w.published, len(w.calls), "one event a step")

		ctx := t.Context()
		require.NoError(t, w.engine.Runs.Lock(ctx, engine.TargetLock(w.run()), id, 0))
		require.NoError(t, w.engine.Runs.PutPart(ctx, id, "definition/0", 1))
		r, err := w.engine.Runs.Acquire(ctx, id)
		require.NoError(t, err)
		w.calls, r.Direction = nil, run.Down
		engine.Goto(r, "verify", run.Running, time.Now())
		require.NoError(t, w.engine.Runs.SaveAndRelease(ctx, r))
		require.NoError(t, w.engine.Send(ctx, r))
		w.pump(1, false)
		assert.Equal(t, walk(run.Down), w.calls)
		assert.NotContains(t, w.calls, "down survey", "it has nothing to undo")
		assert.Equal(t, run.Removed, w.run().Status)
		assert.ErrorIs(t, w.engine.Runs.GetPart(ctx, id, "definition/0", new(int)), run.ErrNotFound)
		assert.NoError(t, w.engine.Runs.Lock(ctx, engine.TargetLock(r), "another", 0), "the target is free")
	})
}

// However often an event comes, each step runs once, and the number of events
// does not grow from step to step.
func TestDuplicatesDoNotBreed(t *testing.T) {
	for _, copies := range []int{2, 3} {
		t.Run(fmt.Sprintf("%d in a row", copies), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.begin("preflight")
				w.pump(copies, false)
				assert.Equal(t, walk(run.Up), w.calls)
				assert.Len(t, w.published, len(w.calls), "a duplicate publishes nothing")
				assert.Equal(t, run.Done, w.run().Status)
			})
		})
		for _, direction := range []run.Direction{run.Up, run.Down} {
			t.Run(fmt.Sprintf("%d at once, %s", copies, direction), func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					for _, s := range walk(direction) {
						w.script[s[len(direction)+1:]] = func(*run.Run) (engine.Outcome, error) {
							time.Sleep(10 * time.Second) // work that the others run into
							return engine.Done(), nil
						}
					}
					first := "preflight"
					if direction == run.Down {
						first = "verify"
					}
					w.begin(first, func(r *run.Run) { r.Direction = direction })
					w.burst(copies)
					assert.Equal(t, walk(direction), w.calls)
					assert.Contains(t, []run.Status{run.Done, run.Removed}, w.run().Status)
					// Every copy but one meets a held lease and is put off, at most
					// once for each step that is at work when it comes back.
					assert.LessOrEqual(t, len(w.published), 3*copies*len(w.calls))
					assert.Zero(t, w.dead)
				})
			})
		}
	}
}

// A duplicate of an event that made its step wait is for a moment that has
// passed: it neither runs the step nor waits with it.
func TestDuplicatesOfAWaitingStep(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		waits := 0
		w.script["verify"] = func(*run.Run) (engine.Outcome, error) {
			if waits++; waits <= 3 {
				return engine.Wait(time.Minute, "the probe runs"), nil
			}
			return engine.Done(), nil
		}
		w.begin("verify")
		w.pump(3, false)
		assert.Len(t, w.calls, 4)
		assert.Len(t, w.published, 4)
		assert.Equal(t, run.Done, w.run().Status)
	})
}

// A step may send the walk back to an earlier one, which has more to do.
func TestBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		looked := 0
		w.script["verify"] = func(*run.Run) (engine.Outcome, error) {
			if looked++; looked == 1 {
				return engine.Back("digest", "the copy differs"), nil
			}
			return engine.DoneWithDifferences(), nil
		}
		w.begin("digest")
		w.pump(2, false)
		assert.Equal(t, run.DoneDifferences, w.run().Status)
		assert.Equal(t, []string{"up digest", "up verify", "up digest", "up verify"}, w.calls)
		var back []run.Entry
		for _, e := range w.run().Timeline {
			if e.Reason == "the copy differs" {
				back = append(back, e)
			}
		}
		require.Len(t, back, 1)
		assert.Equal(t, "back to digest", back[0].What)
	})
}

// burst delivers every event of the walk in several copies at
// once, and every event that was put off once.
func (w *world) burst(copies int) {
	seen := map[string]bool{}
	for n := 0; len(w.queue) > 0; n++ {
		require.Less(w.t, n, 1000, "the queue does not run dry")
		slices.SortStableFunc(w.queue, func(a, b message) int { return a.due.Compare(b.due) })
		m := w.take()
		time.Sleep(time.Until(m.due))
		d, err := events.Decode(m.body)
		require.NoError(w.t, err)
		key, times := fmt.Sprint(d[0].Event), 1
		if !seen[key] {
			times, seen[key] = copies, true
		}
		var wg sync.WaitGroup
		for range times {
			wg.Go(func() { assert.NoError(w.t, w.deliver(m)) })
		}
		wg.Wait()
	}
}

func TestALateEventIsSkipped(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin("preflight")
		old := w.queue[0]
		require.NoError(t, w.deliver(w.take()))
		require.NoError(t, w.deliver(w.take()))
		assert.Equal(t, "plan", w.run().Cursor.Step)
		calls, published := len(w.calls), len(w.published)
		require.NoError(t, w.deliver(old))
		assert.Len(t, w.calls, calls)
		assert.Len(t, w.published, published)
		w.pump(1, false)
		assert.Equal(t, walk(run.Up), w.calls)
		seq := w.run().Cursor.Seq
		for _, m := range w.published { // all of them, in any order, after the run is over
			require.NoError(t, w.deliver(m))
		}
		assert.Equal(t, walk(run.Up), w.calls)
		assert.Equal(t, seq, w.run().Cursor.Seq)
		assert.Empty(t, w.queue)
	})
}

// An event whose time has not come: the cap of an hour makes long waits of
// several messages, and none of them runs the step.
func TestAnEarlyEventWaitsOn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		begun, woken := time.Now(), time.Time{}
		w.script["progress"] = func(*run.Run) (engine.Outcome, error) {
			if time.Since(begun) < 210*time.Minute {
				return engine.Wait(210*time.Minute, "the copy takes its time"), nil
			}
			woken = time.Now()
			return engine.Done(), nil
		}
		w.begin("progress")
		require.NoError(t, w.deliver(w.take()))
		r := w.run()
		assert.Equal(t, "the copy takes its time", r.Cursor.Reason)
		assert.Equal(t, begun.Add(210*time.Minute), r.Cursor.WakeAt.Local())
		require.NoError(t, w.deliver(w.queue[0])) // long before its time, and once more
		assert.Equal(t, []string{"up progress"}, w.calls)
		w.pump(1, false)
		assert.Equal(t, []string{"up progress", "up progress", "up digest", "up verify"}, w.calls)
		assert.Equal(t, 210*time.Minute, woken.Sub(begun))
		for _, m := range w.published {
			assert.LessOrEqual(t, m.delay, bus.MaxDelay)
		}
		assert.LessOrEqual(t, len(w.published), 1+4+4+2)
	})
}

func TestAHeldRunPutsTheEventOff(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin("nlb")
		_, err := w.engine.Runs.Acquire(t.Context(), id) // by an invocation that then dies
		require.NoError(t, err)
		begun := time.Now()
		require.NoError(t, w.deliver(w.take()), "it is no error")
		assert.Empty(t, w.calls)
		require.Len(t, w.queue, 1)
		assert.Equal(t, run.DefaultLease+time.Second, w.queue[0].delay)
		w.script["nlb"] = func(*run.Run) (engine.Outcome, error) {
			assert.GreaterOrEqual(t, time.Since(begun), run.DefaultLease)
			return engine.Done(), nil
		}
		w.pump(1, false)
		assert.Equal(t, walk(run.Up)[3:], w.calls)
	})
}

// An invocation may die at any write of ours, and at any message.
func TestACrashAtAnyMoment(t *testing.T) {
	t.Parallel()
	measure := func(t *testing.T) (puts, sends int) {
		synctest.Test(t, func(t *testing.T) {
			w := &world{t: t, script: map[string]func(*run.Run) (engine.Outcome, error){}}
			w.engine = &engine.Engine{Runs: &run.Store{Driver: w, Now: time.Now}, Bus: w, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
			w.begin("accept")
			w.pump(1, false)
			puts, sends = w.puts, len(w.published)
		})
		return puts, sends
	}
	puts, sends := measure(t)
	require.Greater(t, puts, 15)
	for _, kind := range []string{"before the save", "after the save", "before the publish", "after the publish"} {
		last := puts
		if kind[len(kind)-1] == 'h' {
			last = sends
		}
		for n := 1; n <= last; n++ {
			t.Run(fmt.Sprintf("%s %d", kind, n), func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					w.begin("accept")
					w.puts -= 2 // begin itself is not meant
					sent := 0
					w.putFault = func(put int) (before, after error) {
						if put != n || kind != "before the save" && kind != "after the save" {
							return nil, nil
						}
						if kind == "before the save" {
							return errCrash, nil
						}
						return nil, errCrash
					}
					w.sendFault = func(int) (before, after error) {
						if sent++; sent != n || kind != "before the publish" && kind != "after the publish" {
							return nil, nil
						}
						if kind == "before the publish" {
							return errCrash, nil
						}
						return nil, errCrash
					}
					w.pump(1, false)
					assert.Equal(t, run.Done, w.run().Status)
					assert.Zero(t, w.dead)
					calls := slices.Compact(slices.Clone(w.calls))
					assert.Equal(t, walk(run.Up)[8:], calls, "in order, none left out")
					assert.LessOrEqual(t, len(w.calls)-len(calls), 1, "only what was not saved runs again")
				})
			})
		}
	}
}

func TestALostEventIsSweptUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		f, _ := flow.Of(flow.ESToES)
		w.begin("preflight")
		for range f.Steps { // each event once
			w.take()
			time.Sleep(time.Minute)
			require.NoError(t, w.engine.Sweep(t.Context()))
			require.Empty(t, w.queue, "not overdue yet")
			_, err := w.engine.Runs.Acquire(t.Context(), id)
			require.NoError(t, err)
			time.Sleep(4 * time.Minute)
			require.NoError(t, w.engine.Sweep(t.Context()))
			require.Empty(t, w.queue, "somebody is at work on it")
			time.Sleep(time.Minute)
			require.NoError(t, w.engine.Sweep(t.Context()))
			require.Len(t, w.queue, 1)
			require.NoError(t, w.deliver(w.take()))
		}
		assert.Equal(t, walk(run.Up), w.calls)
		assert.Equal(t, run.Done, w.run().Status)
		time.Sleep(time.Hour)
		require.NoError(t, w.engine.Sweep(t.Context()))
		assert.Empty(t, w.queue, "the run is over")
	})
}

func TestAPanicStopsTheRunAndRetryResumesIt(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.script["nlb"] = func(*run.Run) (engine.Outcome, error) { panic("index out of range") }
		w.begin("plan")
		w.pump(1, false)
		r := w.run()
		assert.Equal(t, run.Failed, r.Status)
		assert.Equal(t, "step nlb cannot go on; step nlb panicked: index out of range", r.Cursor.Reason)
		assert.Equal(t, 500, r.Problem.Status)
		assert.NotContains(t, r.Problem.Detail, "goroutine", "the stack is in the log")
		time.Sleep(24 * time.Hour)
		require.NoError(t, w.engine.Sweep(t.Context()))
		assert.Empty(t, w.queue, "it waits for a person")

		delete(w.script, "nlb")
		r, err := w.engine.Runs.Acquire(t.Context(), id)
		require.NoError(t, err)
		engine.Goto(r, "", run.Running, time.Now())
		require.NoError(t, w.engine.Runs.SaveAndRelease(t.Context(), r))
		require.NoError(t, w.engine.Send(t.Context(), r))
		w.pump(1, false)
		assert.Equal(t, append([]string{"up plan", "up nlb"}, walk(run.Up)[3:]...), w.calls)
		assert.Nil(t, w.run().Problem)
	})
}

func TestWhatStopsARun(t *testing.T) {
	problem := events.NewProblem(409, "findings", "survey found what must be fixed first", events.Finding{Field: "indices[0].source", Message: "missing", Remedy: "fix it"})
	for name, c := range map[string]struct {
		outcome engine.Outcome
		err     error
		reason  string
		tries   int // at least
	}{
		"an error nobody classified": {err: errors.New("what?"), reason: "step nlb cannot go on; what?", tries: 1},
		"a fatal reply":              {err: fmt.Errorf("create nlb: %w", &apierr.Error{Code: "InvalidParameter", Status: 400}), reason: "step nlb cannot go on; create nlb: InvalidParameter (HTTP 400)", tries: 1},
		"what a person can end":      {err: fmt.Errorf("create nlb: %w", &apierr.Error{Code: "QuotaExceeded.LoadBalancersNum", Status: 400}), reason: "a quota of the account is used up; create nlb: QuotaExceeded.LoadBalancersNum (HTTP 400) (raise the quota that the message names in the account's Quota Center, or delete what is not needed, then send retry)", tries: 1},
		"gone, unexpectedly":         {err: &apierr.Error{Class: apierr.NotFound, Code: "ResourceNotFound"}, reason: "step nlb cannot go on; ResourceNotFound", tries: 1},
		"a problem":                  {err: fmt.Errorf("survey: %w", problem), reason: problem.Error(), tries: 1},
		"throttled for ever":         {err: &apierr.Error{Class: apierr.Retry, Code: "Throttling", Status: 429}, reason: "step nlb cannot go on; not done within 20m0s: Throttling (HTTP 429)", tries: 10},
		"busy for ever":              {err: &apierr.Error{Class: apierr.Conflict, Code: "Conflict.Lock"}, reason: "step nlb cannot go on; not done within 20m0s: Conflict.Lock", tries: 10},
		"locked for ever":            {err: &run.HeldError{What: "accept", Holder: "a", Until: time.Unix(0, 0)}, reason: "step nlb cannot go on; not done within 20m0s: accept is held by a until 1970-01-01T00:00:00Z", tries: 10},
		"out of time, for ever":      {err: fmt.Errorf("describe: %w", context.DeadlineExceeded), reason: "step nlb cannot go on; not done within 20m0s: describe: context deadline exceeded", tries: 10},
		"pending for ever":           {outcome: engine.Wait(time.Minute, "the NLB is Provisioning"), reason: "step nlb cannot go on; not done within 20m0s: the NLB is Provisioning", tries: 20},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				begun := time.Now()
				w.script["nlb"] = func(*run.Run) (engine.Outcome, error) { return c.outcome, c.err }
				w.begin("nlb")
				w.pump(1, false)
				r := w.run()
				assert.Equal(t, run.Failed, r.Status)
				assert.Equal(t, c.reason, r.Cursor.Reason)
				assert.Equal(t, c.reason, r.Problem.Error())
				assert.GreaterOrEqual(t, len(w.calls), c.tries)
				assert.LessOrEqual(t, len(w.calls), 60, "the pauses grow")
				assert.Less(t, time.Since(begun), 25*time.Minute)
				assert.Equal(t, "stopped", r.Timeline[len(r.Timeline)-1].What)
			})
		})
	}
}

func TestTroubleThatPasses(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := 0
		w.script["nlb"] = func(r *run.Run) (engine.Outcome, error) {
			switch n++; {
			case n <= 3:
				assert.Equal(t, n-1, r.Cursor.Attempt)
				r.Facts.NLB = &facts.NLB{ID: fmt.Sprint("nlb-", n)}
				return engine.Outcome{}, &apierr.Error{Class: apierr.Retry, Message: "reset"}
			case n == 4:
				assert.Equal(t, "nlb-3", r.Facts.NLB.ID, "facts are saved whatever the step returns")
				return engine.Waitf(time.Minute, "the NLB is %s", "Provisioning"), nil
			}
			assert.Zero(t, r.Cursor.Attempt, "not yet is no attempt")
			return engine.Done(), nil
		}
		w.begin("nlb")
		w.pump(1, false)
		assert.Equal(t, run.Done, w.run().Status)
		assert.Equal(t, 5, n)
		what := []string{}
		for _, e := range w.run().Timeline[:3] {
			what = append(what, e.What+" "+e.Reason)
		}
		assert.Equal(t, []string{"retrying no reply: reset", "waiting the NLB is Provisioning", "done "}, what)
	})
}

func TestApproval(t *testing.T) {
	plan := &run.Plan{ID: "0c5f1d7a9b3e2846"}
	ask := func(w *world) {
		w.script["plan"] = func(r *run.Run) (engine.Outcome, error) {
			if r.Granted(plan) {
				return engine.Done(), nil
			}
			return engine.Ask(plan), nil
		}
		w.begin("plan", func(r *run.Run) { r.Spec.Approve = "manual" })
		w.pump(1, false)
		r := w.run()
		require.Equal(w.t, run.WaitingApproval, r.Status)
		assert.Equal(w.t, plan, r.Plan)
		assert.Equal(w.t, "waits for approval of plan "+plan.ID, r.Cursor.Reason)
		assert.Equal(w.t, []string{"up plan"}, w.calls)
	}
	t.Run("comes after six days", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			ask(w)
			for range 6 * 24 {
				time.Sleep(time.Hour)
				require.NoError(t, w.engine.Sweep(t.Context()))
			}
			require.Empty(t, w.queue, "no message is kept")
			r, err := w.engine.Runs.Acquire(t.Context(), id)
			require.NoError(t, err)
			r.Approved = plan.ID
			engine.Goto(r, "", run.Running, time.Now())
			require.NoError(t, w.engine.Runs.SaveAndRelease(t.Context(), r))
			require.NoError(t, w.engine.Send(t.Context(), r))
			w.pump(1, false)
			assert.Equal(t, run.Done, w.run().Status, "the days of waiting are not the step's")
		})
	})
	t.Run("never comes", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			ask(w)
			time.Sleep(engine.ApprovalWithin)
			require.NoError(t, w.engine.Sweep(t.Context()))
			assert.Equal(t, run.WaitingApproval, w.run().Status)
			time.Sleep(time.Second)
			require.NoError(t, w.engine.Sweep(t.Context()))
			assert.Equal(t, run.Expired, w.run().Status)
			assert.Equal(t, "nobody approved the plan within 168h0m0s", w.run().Cursor.Reason)
			require.NoError(t, w.deliver(w.published[0]))
			assert.Equal(t, []string{"up plan"}, w.calls)
		})
	})
}

func TestAPlanEndsAfterPlan(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin("preflight", func(r *run.Run) { r.PlanOnly = true })
		w.pump(1, false)
		assert.Equal(t, walk(run.Up)[:3], w.calls)
		assert.Equal(t, run.Planned, w.run().Status)
		assert.Equal(t, "plan", w.run().Cursor.Step, "whatever wakes it goes through plan again")
	})
}

func TestDifferencesEndARunAsSuch(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.script["verify"] = func(*run.Run) (engine.Outcome, error) { return engine.DoneWithDifferences(), nil }
		w.begin("digest")
		w.pump(1, false)
		assert.Equal(t, run.DoneDifferences, w.run().Status)
	})
}

func TestWhatIsNotForThisFunctionIsParked(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		body := func(id, step string) []byte {
			raw, err := events.Encode(events.Event{RunID: id, Step: step, Seq: 1}, "eslink/x", "", time.Now())
			require.NoError(t, err)
			return raw
		}
		for name, payload := range map[string][]byte{
			"malformed": []byte(`{"a":1}`), "unknown run": body("0123456789abcdef", "nlb"), "another step": body(id, "accept"),
		} {
			assert.Error(t, w.engine.Handle(t.Context(), "nlb", step{w, "nlb"}, payload), name)
		}
		assert.Empty(t, w.calls)
		assert.Zero(t, w.puts)
		assert.Empty(t, w.published)
		w.begin("nlb")
		assert.ErrorContains(t, w.engine.Handle(t.Context(), "accept", step{w, "accept"}, w.take().body), "is for step nlb, this is accept")
		assert.Empty(t, w.calls)
		require.NoError(t, w.engine.Handle(t.Context(), "accept", step{w, "accept"}, body(id, "accept")))
		assert.Empty(t, w.calls, "the right number, but another step's turn")
	})
}

// A step is cut off in time to save what it has learned.
func TestAStepLeavesTimeToSave(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin("nlb")
		m := w.take()
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		var left time.Duration
		slow := stepFunc(func(ctx context.Context, r *run.Run) (engine.Outcome, error) {
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
			r.Facts.NLB = &facts.NLB{ID: "nlb-1"}
			<-ctx.Done()
			return engine.Outcome{}, ctx.Err()
		})
		require.NoError(t, w.engine.Handle(ctx, "nlb", slow, m.body))
		assert.Equal(t, 40*time.Second, left)
		assert.Equal(t, "nlb-1", w.run().Facts.NLB.ID)
		assert.Equal(t, run.Running, w.run().Status)
		m = w.take()
		time.Sleep(m.delay)
		require.NoError(t, w.engine.Handle(t.Context(), "nlb", slow, m.body))
		assert.Equal(t, 200*time.Second, left, "however long the function may run")
	})
}

type stepFunc func(context.Context, *run.Run) (engine.Outcome, error)

func (f stepFunc) Up(ctx context.Context, r *run.Run) (engine.Outcome, error)   { return f(ctx, r) }
func (f stepFunc) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) { return f(ctx, r) }
