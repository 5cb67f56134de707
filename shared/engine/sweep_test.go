package engine_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// While a queue is stuck, sweep sends the event again ever more rarely: a day of
// sweeps every five minutes leaves some thirty messages, where it left 288.
func TestSweepDoesNotPileUpMessages(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin("nlb")
		w.take()
		for range 24 * 12 {
			time.Sleep(5 * time.Minute)
			require.NoError(t, w.engine.Sweep(t.Context()))
		}
		assert.InDelta(t, 28, len(w.queue), 4)
		require.NoError(t, w.deliver(w.take()))
		assert.True(t, w.run().Cursor.Swept.IsZero(), "the run moves again")
	})
}
