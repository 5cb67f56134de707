package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/bus"
)

type asked func(queue string, delay time.Duration) error

func (a asked) Publish(_ context.Context, queue string, _ []byte, delay time.Duration) error {
	return a(queue, delay)
}

func TestCapped(t *testing.T) {
	t.Parallel()
	for in, want := range map[time.Duration]time.Duration{
		-time.Hour: 0, 0: 0, time.Nanosecond: time.Second, time.Second: time.Second, 1500 * time.Millisecond: 2 * time.Second,
		bus.MaxDelay - 1: bus.MaxDelay, bus.MaxDelay: bus.MaxDelay, 7 * 24 * time.Hour: bus.MaxDelay,
	} {
		require.NoError(t, bus.Capped(t.Context(), asked(func(queue string, delay time.Duration) error {
			assert.Equal(t, "eslink-nlb", queue)
			assert.Equal(t, want, delay, in)
			return nil
		}), bus.Queue("nlb"), nil, in))
	}
	down := errors.New("down")
	err := bus.Capped(t.Context(), asked(func(string, time.Duration) error { return down }), "eslink-nlb", nil, 0)
	assert.ErrorIs(t, err, down)
	assert.ErrorContains(t, err, "publish to eslink-nlb")
}
