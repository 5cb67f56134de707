package api_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/run"
)

// A run that may have tasks running is cancelled once they are stopped: it is sent
// to the step that started them, and stands then where what was not copied is
// prepared again.
func TestCancelStopsTheCopy(t *testing.T) {
	for step, want := range map[string]struct{ goes, back string }{
		"nlb": {"", ""}, "destination": {"", ""}, "reindex": {"reindex", "reindex"}, "progress": {"reindex", "reindex"}, "digest": {"reindex", "digest"}, "verify": {"reindex", "verify"},
	} {
		t.Run(step, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				id := w.ok(start(t)).RunID
				w.put(id, at(step, run.Running))
				reply := w.ok(action("cancel", id))
				r := w.run(id)
				assert.Equal(t, want.back, r.Cancelling)
				if want.goes == "" {
					assert.Equal(t, run.Cancelled, reply.Status)
					assert.Empty(t, w.sent)
					return
				}
				assert.Equal(t, run.Running, reply.Status)
				assert.Contains(t, r.Cursor.Reason, "being cancelled")
				require.Equal(t, []events.Event{{RunID: id, Step: want.goes, Seq: r.Cursor.Seq}}, w.sent)
				assert.Equal(t, r.Cursor.Seq, w.run(id).Cursor.Seq)
				w.ok(action("cancel", id))
				assert.Equal(t, r.Cursor.Seq, w.run(id).Cursor.Seq, "twice is once")
				w.ok(action("teardown", id))
				assert.Empty(t, w.run(id).Cancelling)
			})
		})
	}
}

func TestCancelMayKeepTheCopy(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		w.put(id, at("progress", run.Running))
		assert.Equal(t, run.Cancelled, w.ok(action("cancel", id, `,"keepCopying":true`)).Status)
		v, err := w.status.Get(t.Context(), id)
		require.NoError(t, err)
		assert.Contains(t, v.Reason, "the tasks that copy go on")
		assert.Contains(t, v.Next, "the tasks that copy run on")
		w.ok(action("retry", id))
		assert.False(t, w.run(id).KeepCopying)
		w.refused(action("retry", id, `,"keepCopying":true`), 400, "invalid-request")
	})
}
