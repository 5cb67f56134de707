package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/engine"
	"eslink/shared/run"
)

// A forged event with the right number finds nothing to do on a run at rest,
// and whoever saves such a run sends nothing.
func TestARunAtRestIsLeftAlone(t *testing.T) {
	for _, status := range []run.Status{run.Planned, run.WaitingApproval, run.Done, run.Failed, run.Cancelled, run.Expired, run.Removed} {
		t.Run(string(status), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.begin("plan")
				w.take()
				r, err := w.engine.Runs.Acquire(t.Context(), id)
				require.NoError(t, err)
				engine.Goto(r, "", status, time.Now())
				require.NoError(t, w.engine.Runs.SaveAndRelease(t.Context(), r))
				require.NoError(t, w.engine.Send(t.Context(), r))
				body, err := events.Encode(r.Event(), "eslink/forged", "", time.Now())
				require.NoError(t, err)
				require.NoError(t, w.deliver(message{step: "plan", body: body}))
				assert.Empty(t, w.calls)
				assert.Empty(t, w.queue)
				assert.Equal(t, status, w.run().Status)
			})
		})
	}
}

// Clocks differ a little: an event half a second early counts.
func TestAnEventALittleEarlyCounts(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.script["nlb"] = func(*run.Run) (engine.Outcome, error) { return engine.Wait(10*time.Second, "soon"), nil }
		w.begin("nlb")
		require.NoError(t, w.deliver(w.take()))
		m := w.take()
		time.Sleep(m.delay - 500*time.Millisecond)
		require.NoError(t, w.deliver(m))
		assert.Len(t, w.calls, 2)
	})
}

// The receiver of an event may take the run before its sender has noted that it
// was sent.
func TestAQuickReceiver(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin("survey")
		w.engine.Bus = quick{w}
		require.NoError(t, w.deliver(w.take()))
		assert.Len(t, w.queue, 1)
	})
}

// quick is a bus whose receiver is there before the sender has its reply.
type quick struct{ *world }

func (q quick) Publish(ctx context.Context, queue string, body []byte, delay time.Duration) error {
	_, err := q.engine.Runs.Acquire(ctx, id)
	return errors.Join(err, q.world.Publish(ctx, queue, body, delay))
}

// What only the engine can meet passes by itself.
func TestWhatComesOfRacesIsTriedAgain(t *testing.T) {
	for _, trouble := range []error{
		context.Canceled, fmt.Errorf("put part: %w", run.ErrConflict),
		&run.HeldError{What: "accept", Holder: "a", Until: time.Unix(0, 0)},
	} {
		bubbleOf := func(t *testing.T, w *world) {
			n := 0
			w.script["nlb"] = func(*run.Run) (engine.Outcome, error) {
				if n++; n == 1 {
					return engine.Outcome{}, fmt.Errorf("nlb: %w", trouble)
				}
				return engine.Done(), nil
			}
			w.begin("nlb")
			w.pump(1, false)
			assert.Equal(t, run.Done, w.run().Status)
		}
		t.Run(trouble.Error(), func(t *testing.T) { bubble(t, bubbleOf) })
	}
}

// The store sees no context that the step has used up.
func TestSavingHasTimeOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.engine.Runs.Driver = strict{w}
		w.begin("nlb")
		slow := stepFunc(func(ctx context.Context, _ *run.Run) (engine.Outcome, error) {
			<-ctx.Done()
			return engine.Wait(time.Minute, "slow"), nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, w.engine.Handle(ctx, "nlb", slow, w.take().body))
		assert.Equal(t, "slow", w.run().Cursor.Reason)
	})
}

// strict is a driver that minds its context, as one over a network does.
type strict struct{ *world }

func (s strict) Put(ctx context.Context, key run.Key, row run.Row, expect int64) error {
	return errors.Join(ctx.Err(), s.world.Put(ctx, key, row, expect))
}

// The first step that writes takes the target for good, and has that saved before
// it writes; what only reads takes nothing.
func TestTheFirstStepThatWritesTakesTheTarget(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		r := w.begin("plan")
		holder := func() string {
			h, err := w.engine.Runs.Holder(t.Context(), engine.TargetLock(r))
			require.NoError(t, err)
			return h
		}
		w.script["nlb"] = func(*run.Run) (engine.Outcome, error) {
			assert.Equal(t, id, holder())
			assert.True(t, w.run().Owns, "saved before the step writes")
			return engine.Done(), nil
		}
		require.NoError(t, w.deliver(w.take()))
		assert.Empty(t, holder())
		assert.False(t, w.run().Owns)
		require.NoError(t, w.deliver(w.take()))
		require.Contains(t, w.calls, "up nlb")
		time.Sleep(24 * time.Hour)
		assert.Equal(t, id, holder())
	})
}

// A rival that comes later stops before it writes anything, and is told who owns
// the target.
func TestARivalStopsBeforeItWrites(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		r := w.begin("nlb")
		require.NoError(t, w.engine.Runs.Lock(t.Context(), engine.TargetLock(r), "0123456789abcdef", 0))
		require.NoError(t, w.deliver(w.take()))
		assert.Empty(t, w.calls)
		stopped := w.run()
		assert.Equal(t, run.Failed, stopped.Status)
		assert.False(t, stopped.Owns)
		assert.Equal(t, 409, stopped.Problem.Status)
		assert.Contains(t, stopped.Problem.Errors[0].Message, "run 0123456789abcdef owns this target")
	})
}

// A run is not Removed before its rows and locks are.
func TestRemovedMeansForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		r := w.begin("nlb", func(r *run.Run) { r.Direction = run.Down })
		require.NoError(t, w.engine.Runs.Lock(t.Context(), engine.TargetLock(r), id, 0))
		w.putFault = func(put int) (before, after error) {
			if put == 4 { // begun, locked and acquired: this gives the lock up
				return errors.New("no reply"), nil
			}
			return nil, nil
		}
		w.puts = 2
		require.NoError(t, w.deliver(w.take()))
		assert.Equal(t, run.Running, w.run().Status)
		assert.Contains(t, w.run().Cursor.Reason, "no reply")
		w.pump(1, false)
		assert.Equal(t, run.Removed, w.run().Status)
		assert.NoError(t, w.engine.Runs.Lock(t.Context(), engine.TargetLock(r), "another", time.Minute))
	})
}

// A delivery may hold several events; each is handled.
func TestEachEventOfADeliveryIsHandled(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin("nlb")
		first := w.take()
		other := &run.Run{ID: "0123456789abcdef", Generation: 1, Direction: run.Up, Spec: w.run().Spec, Owns: true}
		engine.Goto(other, "nlb", run.Running, time.Now())
		require.NoError(t, w.engine.Runs.Create(t.Context(), other))
		require.NoError(t, w.engine.Send(t.Context(), other))
		body := "[" + string(first.body) + "," + string(w.take().body) + "]"
		require.NoError(t, w.engine.Handle(t.Context(), "nlb", step{w, "nlb"}, []byte(body)))
		assert.Len(t, w.queue, 2, "each goes on")
		assert.NotEqual(t, "nlb", w.run().Cursor.Step)
	})
}

// An approval that comes while sweep is at it counts.
func TestAnApprovalAtTheLastMoment(t *testing.T) {
	for name, late := range map[string]func(*run.Run){
		"approved": func(r *run.Run) { engine.Goto(r, "", run.Running, time.Now().Add(-time.Second)) },
		"asked again": func(r *run.Run) {
			r.Cursor.Seq++
			r.Cursor.WakeAt = time.Now().Add(engine.ApprovalWithin)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.script["plan"] = func(*run.Run) (engine.Outcome, error) { return engine.Ask(&run.Plan{ID: "p"}), nil }
				w.begin("plan")
				w.pump(1, false)
				time.Sleep(engine.ApprovalWithin + time.Minute)
				w.engine.Runs.Driver = &afterList{w, func() {
					r, err := w.engine.Runs.Acquire(t.Context(), id)
					require.NoError(t, err)
					late(r)
					require.NoError(t, w.engine.Runs.SaveAndRelease(t.Context(), r))
				}}
				require.NoError(t, w.engine.Sweep(t.Context()))
				assert.NotEqual(t, run.Expired, w.run().Status)
			})
		})
	}
}

// afterList is a driver under which something happens right after a listing.
type afterList struct {
	*world
	do func()
}

func (a *afterList) List(ctx context.Context, kind, after string, limit int) ([]run.KeyedRow, error) {
	rows, err := a.world.List(ctx, kind, after, limit)
	if do := a.do; do != nil {
		a.do = nil
		do()
	}
	return rows, err
}

// One run's trouble does not keep sweep from the next.
func TestSweepGoesOnAfterAnError(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin("nlb")
		other := &run.Run{ID: "ffffffffffffffff", Generation: 1, Direction: run.Up, Spec: w.run().Spec}
		engine.Goto(other, "nlb", run.Running, time.Now())
		require.NoError(t, w.engine.Runs.Create(t.Context(), other))
		w.queue = nil
		time.Sleep(time.Hour)
		sends := 0
		w.sendFault = func(int) (before, after error) {
			if sends++; sends == 1 {
				return errors.New("no such queue"), nil
			}
			return nil, nil
		}
		assert.ErrorContains(t, w.engine.Sweep(t.Context()), id)
		assert.Len(t, w.queue, 1)
	})
}

// What stops a run, or asks, owes no event: nothing may come of one.
func TestWhatStopsOrAsksSendsNothing(t *testing.T) {
	for want, act := range map[run.Status]func(*run.Run) (engine.Outcome, error){
		run.Failed:          func(*run.Run) (engine.Outcome, error) { return engine.Outcome{}, errors.New("what?") },
		run.WaitingApproval: func(*run.Run) (engine.Outcome, error) { return engine.Ask(&run.Plan{ID: "p"}), nil },
	} {
		t.Run(string(want), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.script["plan"] = act
				w.begin("plan")
				w.pump(1, false)
				assert.Equal(t, want, w.run().Status)
				assert.Len(t, w.published, 1, "the one that began it")
			})
		})
	}
}
