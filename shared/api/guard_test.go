package api_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/facts"
	"eslink/shared/run"
)

// driver is a run.Driver with a hook before its writes.
type driver struct {
	run.Driver
	put func(ctx context.Context, key run.Key) error
}

func (d *driver) Put(ctx context.Context, key run.Key, row run.Row, expect int64) error {
	if d.put != nil {
		if err := d.put(ctx, key); err != nil {
			return err
		}
	}
	return d.Driver.Put(ctx, key, row, expect)
}

// A request that dies before there is a run owns nothing.
func TestAStartThatDiedOwnsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		died := errors.New("the invocation died")
		w.store.Driver = &driver{w.store.Driver, func(_ context.Context, key run.Key) error {
			if strings.HasPrefix(key.Kind, "run/") {
				return died
			}
			return nil
		}}
		_, err := w.do(start(t))
		require.ErrorIs(t, err, died)
		w.store.Driver = w.store.Driver.(*driver).Driver
		w.ok(start(t, set("name", "other")))
	})
}

// Two plans for one target may stand side by side; the one that waits is shown who
// was faster.
func TestAWaitingRunShowsItsRival(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.ok(start(t)).RunID
		b := w.ok(start(t, set("name", "other"))).RunID
		w.put(b, func(r *run.Run) { at("plan", run.WaitingApproval)(r); r.Plan = &run.Plan{ID: "0c5f1d7a9b3e2846"} })
		v, err := w.status.Get(t.Context(), b)
		require.NoError(t, err)
		assert.NotContains(t, v.Next, a)
		w.put(a, w.owning)
		v, err = w.status.Get(t.Context(), b)
		require.NoError(t, err)
		assert.Contains(t, v.Next, "run "+a+` ("orders", running) owns this target`)
	})
}

// The same start while a step is at work answers at once.
func TestTheSameStartDoesNotWaitForAStep(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		_, err := w.store.Acquire(t.Context(), id)
		require.NoError(t, err)
		begun := time.Now()
		assert.Equal(t, id, w.ok(start(t)).RunID)
		assert.Zero(t, time.Since(begun))
	})
}

// Of two starts at once the later finds the run that the other has made.
func TestAStartMeetsItsTwin(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		d := &driver{Driver: w.store.Driver}
		d.put = func(ctx context.Context, key run.Key) error {
			if strings.HasPrefix(key.Kind, "run/") {
				d.put = nil
				w.ok(start(t))
			}
			return nil
		}
		w.store.Driver = d
		reply := w.ok(start(t))
		assert.Equal(t, 1, reply.Generation)
		assert.Equal(t, run.Running, reply.Status)
	})
}

// What has been changed is saved though its caller has left.
func TestACallerWhoLeavesLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		ctx, leave := context.WithCancel(t.Context())
		d := &driver{Driver: w.store.Driver}
		puts := 0
		d.put = func(ctx context.Context, _ run.Key) error {
			if puts++; puts == 1 { // it takes the run
				defer leave()
			}
			return ctx.Err()
		}
		w.store.Driver = d
		_, err := w.runs.Do(ctx, account, action("cancel", id))
		require.NoError(t, err)
		assert.Equal(t, run.Cancelled, w.run(id).Status)
	})
}

// A throttle is for the copy that it was asked for.
func TestTheNextGenerationIsNotThrottled(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		w.put(id, standing)
		rate := 5.0
		w.put(id, func(r *run.Run) { r.RequestsPerSecond, r.KeepConfig, r.DeleteDestination = &rate, true, true })
		w.ok(start(t, set("indices", []any{map[string]any{"source": "news"}})))
		r := w.run(id)
		require.Equal(t, 2, r.Generation)
		assert.Nil(t, r.RequestsPerSecond)
		assert.False(t, r.KeepConfig || r.DeleteDestination)
	})
}

// A run that may have made something is not started again under another spec.
func TestWhatMayHaveBeenMadeIsNotForgotten(t *testing.T) {
	for name, change := range map[string]func(*run.Run){
		"at nlb, nothing on record yet": at("nlb", run.Failed),
		"walked again, stopped at preflight": func(r *run.Run) {
			standing(r)
			at("preflight", run.Failed)(r)
		},
		"walked again, only a group": func(r *run.Run) {
			r.Facts.IPWhitelist = &facts.IPWhitelist{Group: "g"}
			at("survey", run.Failed)(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				id := w.ok(start(t)).RunID
				w.put(id, w.owning)
				w.put(id, change)
				facts := w.run(id).Facts
				w.refused(start(t, set("zone", "cn-hangzhou-j")), 409, "other-spec")
				assert.Equal(t, facts, w.run(id).Facts)
			})
		})
	}
}

// Order, blanks and how a number is written mean nothing: it is the same spec.
func TestTheSameSpecInOtherWords(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		spec := func(query string) []byte {
			return []byte(`{"action":"start","spec":{"name":"a","scenario":"es-to-es","region":"cn-hangzhou","instanceId":"es-cn-dst000000001",
				"target":{"instanceId":"es-cn-src000000002"},"secrets":{"instance":"eslink/a","target":"eslink/b"},
				"indices":[{"source":"s","query":` + query + `}]}}`)
		}
		first := w.ok(spec(`{"term":{"n":{"value":1,"boost":1.0}}}`))
		assert.Equal(t, first, w.ok(spec(`{ "term": {"n": {"boost": 1, "value": 1}} }`)))
	})
}
