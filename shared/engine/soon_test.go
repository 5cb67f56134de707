package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/engine"
	"eslink/shared/flow"
	"eslink/shared/run"
)

// asksSoon has the step verify ask so many times to be called soon.
func (w *world) asksSoon(times int, d time.Duration) {
	w.script["verify"] = func(*run.Run) (engine.Outcome, error) {
		if times--; times >= 0 {
			return engine.Soon(d, "a page is under way"), nil
		}
		return engine.Done(), nil
	}
}

// Short pauses take one event, whatever their number; the record says how it
// stands in between, and nobody holds it.
func TestSoon(t *testing.T) {
	for _, copies := range []int{1, 3} {
		t.Run(fmt.Sprint(copies), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.asksSoon(5, 300*time.Millisecond)
				began := time.Now()
				w.begin("verify")
				var between run.Run
				go func() {
					time.Sleep(700 * time.Millisecond)
					r, err := w.engine.Runs.Acquire(t.Context(), id)
					require.NoError(t, err)
					between = *r
					require.NoError(t, w.engine.Runs.SaveAndRelease(t.Context(), r))
				}()
				w.pump(copies, false)
				assert.Equal(t, run.Done, w.run().Status)
				assert.Len(t, w.calls, 6)
				assert.Len(t, w.published, 1)
				assert.Equal(t, 1500*time.Millisecond, time.Since(began))
				assert.Equal(t, "a page is under way", between.Cursor.Reason)
				assert.Equal(t, began.Add(900*time.Millisecond).UTC(), between.Cursor.WakeAt.UTC())
				assert.EqualValues(t, 1, between.Cursor.Seq)
				assert.Len(t, w.run().Timeline, 1, "no line for each look")
			})
		})
	}
}

// An invocation has its end: what is asked for then comes with an event.
func TestSoonEndsWithTheInvocation(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.asksSoon(100, 2*time.Second)
		w.begin("verify")
		longest := time.Duration(0)
		for len(w.queue) > 0 {
			m := w.take()
			time.Sleep(time.Until(m.due))
			began := time.Now()
			require.NoError(t, w.deliver(m))
			longest = max(longest, time.Since(began))
		}
		assert.Equal(t, run.Done, w.run().Status)
		assert.Len(t, w.calls, 101)
		assert.Len(t, w.published, 3)
		assert.Less(t, longest, 100*time.Second)
	})
}

// An invocation that is killed in a pause leaves the event that began it due.
func TestKilledInAPause(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.asksSoon(5, time.Second)
		w.begin("verify")
		m := w.take()
		ctx, kill := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer kill()
		require.ErrorIs(t, w.engine.Handle(ctx, m.step, step{w, m.step}, m.body), context.DeadlineExceeded)
		assert.Len(t, w.calls, 3)
		assert.Empty(t, w.queue)
		time.Sleep(10 * time.Second)
		require.NoError(t, w.deliver(m))
		assert.Equal(t, run.Done, w.run().Status)

		// The platform forgot it: Sweep does not.
		w.asksSoon(5, time.Second)
		r, err := w.engine.Runs.Acquire(t.Context(), id)
		require.NoError(t, err)
		engine.Goto(r, "verify", run.Running, time.Now())
		require.NoError(t, w.engine.Runs.SaveAndRelease(t.Context(), r))
		require.NoError(t, w.engine.Send(t.Context(), r))
		m = w.take()
		ctx, kill = context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer kill()
		require.Error(t, w.engine.Handle(ctx, m.step, step{w, m.step}, m.body))
		time.Sleep(10 * time.Minute)
		require.NoError(t, w.engine.Sweep(t.Context()))
		w.pump(1, false)
		assert.Equal(t, run.Done, w.run().Status)
	})
}

// An invocation may die at any write of a step that asks to be called soon.
func TestACrashAroundAPause(t *testing.T) {
	for n := 1; n <= 10; n++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprint(n, after), func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					w.asksSoon(3, time.Second)
					w.begin("verify")
					w.puts = 0
					w.putFault = func(put int) (error, error) {
						switch {
						case put != n:
							return nil, nil
						case after:
							return nil, errCrash
						}
						return errCrash, nil
					}
					w.pump(1, false)
					assert.Equal(t, run.Done, w.run().Status)
					assert.Zero(t, w.dead)
					assert.LessOrEqual(t, len(w.calls), 5)
				})
			})
		}
	}
}

// A person who acts in a pause is obeyed; somebody who holds the run then is
// waited for.
func TestTheRunMovesInAPause(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.asksSoon(1000, time.Second)
		w.begin("verify")
		go func() {
			time.Sleep(2500 * time.Millisecond)
			r, err := w.engine.Runs.Acquire(t.Context(), id)
			require.NoError(t, err)
			time.Sleep(5 * time.Second)
			r.Direction = run.Down
			engine.Goto(r, "nlb", run.Running, time.Now())
			require.NoError(t, w.engine.Runs.SaveAndRelease(t.Context(), r))
		}()
		w.pump(1, false) // until the run that is held has sent the event back
		require.NoError(t, w.engine.Send(t.Context(), w.run()))
		w.pump(1, false)
		assert.Equal(t, run.Removed, w.run().Status)
		assert.Equal(t, []string{"up verify", "up verify", "up verify"}, w.calls[:3])
		assert.Equal(t, "down nlb", w.calls[3])
	})
}

// A step has as long as it has, however it asks to be called again.
func TestSoonForTooLong(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.asksSoon(1_000_000, time.Hour)
		w.begin("verify")
		w.pump(1, false)
		assert.Equal(t, run.Failed, w.run().Status)
		assert.Contains(t, w.run().Cursor.Reason, "not done within")
	})
}

// What came through meanwhile resets the count of failed tries.
func TestSoonAfterFailedTries(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		calls := 0
		attempts := []int{}
		w.script["verify"] = func(r *run.Run) (engine.Outcome, error) {
			attempts = append(attempts, r.Cursor.Attempt)
			switch calls++; calls {
			case 3:
				return engine.Soon(time.Second, "on the way"), nil
			case 6:
				return engine.Done(), nil
			}
			return engine.Outcome{}, context.DeadlineExceeded
		}
		w.begin("verify")
		w.pump(1, false)
		assert.Equal(t, run.Done, w.run().Status)
		assert.Equal(t, []int{0, 1, 2, 0, 1, 2}, attempts)
	})
}

// An event whose sending was never noted is not sent once more by a pause.
func TestSoonOwesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.asksSoon(2, time.Second)
		r := &run.Run{ID: id, Generation: 1, Direction: run.Up, Spec: events.Spec{Scenario: flow.ESToES, Approve: "auto"}}
		engine.Goto(r, "verify", run.Running, time.Now())
		require.NoError(t, w.engine.Runs.Create(t.Context(), r))
		w.putFault = func(int) (error, error) { return errCrash, nil }
		require.ErrorIs(t, w.engine.Send(t.Context(), r), errCrash)
		w.putFault = nil
		require.Len(t, w.published, 1)
		require.Less(t, w.run().Cursor.Sent, r.Cursor.Seq)
		w.pump(1, false)
		assert.Len(t, w.published, 1)
		assert.Equal(t, run.Done, w.run().Status)
	})
}
