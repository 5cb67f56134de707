package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/flow"
	"eslink/shared/run"
)

// Sixty runs come to a lock at once. Each has it once, in the order in which they
// came; none fails, though the last waits longer than its step may take; and none
// polls.
func TestSixtyRunsAtOneLock(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.engine.Runs.Wake = w.engine.Wake
		const holds = time.Minute
		tries, order := map[string]int{}, []string{}
		w.script["accept"] = func(r *run.Run) (engine.Outcome, error) {
			tries[r.ID]++
			if err := w.engine.Runs.Lock(t.Context(), "accept", r.ID, 5*time.Minute); err != nil {
				return engine.Outcome{}, err
			}
			if r.Facts.Accept == nil {
				order = append(order, r.ID)
				r.Facts.Accept = &facts.Accept{}
				return engine.Wait(holds, "connecting"), nil
			}
			if err := w.engine.Runs.Unlock(t.Context(), "accept", r.ID); err != nil {
				return engine.Outcome{}, err
			}
			return engine.Done(), nil
		}
		var ids []string
		for i := range 60 {
			r := &run.Run{ID: fmt.Sprintf("%016x", i), Generation: 1, Direction: run.Up, Owns: true}
			r.Spec.Scenario = flow.ESToES
			engine.Goto(r, "accept", run.Running, time.Now())
			require.NoError(t, w.engine.Runs.Create(t.Context(), r))
			require.NoError(t, w.engine.Send(t.Context(), r))
			ids = append(ids, r.ID)
		}
		w.pump(1, false)
		assert.Equal(t, ids, order)
		for _, id := range ids {
			r, err := w.engine.Runs.Get(t.Context(), id)
			require.NoError(t, err)
			assert.Equal(t, run.Done, r.Status, r.Cursor.Reason)
			assert.LessOrEqual(t, tries[id], 4, "who waits is woken and does not poll")
			assert.Zero(t, r.Cursor.Attempt)
		}
	})
}

// The holder died: who is next looks by itself when the holder's time is up, and
// what it waited for does not count.
func TestWaitingForADeadHolderEatsNoDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		require.NoError(t, w.engine.Runs.Lock(t.Context(), "accept", "dead", 3*time.Hour))
		w.script["accept"] = func(r *run.Run) (engine.Outcome, error) {
			if err := w.engine.Runs.Lock(t.Context(), "accept", r.ID, 5*time.Minute); err != nil {
				return engine.Outcome{}, err
			}
			if r.Facts.Accept == nil {
				r.Facts.Accept = &facts.Accept{}
				return engine.Wait(20*time.Minute, "connecting"), nil
			}
			return engine.Done(), nil
		}
		w.begin("accept", func(r *run.Run) { r.Owns = true })
		require.NoError(t, w.deliver(w.take()))
		assert.Contains(t, w.run().Cursor.Reason, "waits for its turn: accept is held by dead until")
		assert.Contains(t, w.run().Cursor.Reason, "place 1 in the queue")
		w.pump(1, false)
		assert.Equal(t, run.Done, w.run().Status, "three hours of waiting in a step of thirty minutes")
	})
}

// A step that hangs after its turn has come is late as ever.
func TestTheDeadlineHoldsOnceItIsItsTurn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		require.NoError(t, w.engine.Runs.Lock(t.Context(), "accept", "other", time.Hour))
		w.script["accept"] = func(r *run.Run) (engine.Outcome, error) {
			if err := w.engine.Runs.Lock(t.Context(), "accept", r.ID, time.Hour); err != nil {
				return engine.Outcome{}, err
			}
			return engine.Wait(10*time.Minute, "hangs"), nil
		}
		w.begin("accept", func(r *run.Run) { r.Owns = true })
		begun := time.Now()
		w.pump(1, false)
		assert.Equal(t, run.Failed, w.run().Status)
		assert.InDelta(t, 100*time.Minute, time.Since(begun), float64(15*time.Minute))
	})
}

// A record that has grown too large to be saved stops its run with a reason, where
// it would neither move nor stop.
func TestARecordThatIsTooLargeStopsItsRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.script["reindex"] = func(r *run.Run) (engine.Outcome, error) {
			r.Facts.Verify = &facts.Verify{Differences: []string{strings.Repeat("x", run.MaxRecord)}}
			return engine.Done(), nil
		}
		w.begin("reindex", func(r *run.Run) { r.Owns = true })
		w.pump(1, false)
		r := w.run()
		assert.Equal(t, run.Failed, r.Status)
		assert.Equal(t, "reindex", r.Cursor.Step)
		assert.Equal(t, 409, r.Problem.Status)
		assert.Contains(t, r.Problem.Errors[0].Message, "after step reindex the record has")
		assert.NotEmpty(t, r.Problem.Errors[0].Remedy)
		assert.Nil(t, r.Facts.Verify)
		assert.True(t, r.HeldUntil().IsZero())
		assert.Zero(t, w.dead)
	})
}

// One broken record does not keep the others from being swept.
func TestABrokenRecordDoesNotStopTheSweep(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		require.NoError(t, w.engine.Runs.Create(t.Context(), &run.Run{ID: "0000000000000000", Status: run.Running}))
		require.NoError(t, w.driver.Put(t.Context(), run.Key{Kind: "run/0000000000000000", ID: "record"}, run.Row{Rev: 2, Doc: []byte("{")}, 1))
		w.begin("nlb")
		w.take()
		time.Sleep(time.Hour)
		err := w.engine.Sweep(context.WithoutCancel(t.Context()))
		assert.ErrorContains(t, err, "the record of run 0000000000000000 is broken")
		assert.Len(t, w.queue, 1)
	})
}
