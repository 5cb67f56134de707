package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/engine"
	"eslink/shared/run"
)

// stopper is a step that takes two looks to stop what it started.
type stopper struct {
	step
	left int
}

func (s *stopper) Stop(context.Context, *run.Run) (engine.Outcome, error) {
	if s.left--; s.left > 0 {
		return engine.Wait(5*time.Second, "stops after its page"), nil
	}
	return engine.Done(), nil
}

// A run that is being cancelled is cancelled once what it started has stopped, and
// goes on from where it then stands.
func TestCancelledOnceItHasStopped(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin("reindex", func(r *run.Run) { r.Owns, r.Cancelling = true, "digest" })
		s := &stopper{step{w, "reindex"}, 2}
		for range 2 {
			m := w.take()
			time.Sleep(m.delay)
			require.NoError(t, w.engine.Handle(t.Context(), "reindex", s, m.body))
		}
		r := w.run()
		assert.Equal(t, run.Cancelled, r.Status)
		assert.Equal(t, "digest", r.Cursor.Step)
		assert.Empty(t, r.Cancelling)
		assert.Empty(t, w.calls, "neither Up nor Down")
		assert.Empty(t, w.queue)
	})
}
