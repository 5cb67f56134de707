// Package bustest is what every bus.Bus has to pass. It asks for what the
// program relies on and no more: messages come at least once, not before their
// time, in any order.
package bustest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/bus"
)

// A World is a bus with empty queues "eslink-a" and "eslink-b", and a consumer
// behind it.
type World struct {
	Bus bus.Bus
	// Invoke returns the context of one more invocation. Those who publish at
	// once are different invocations: fccontext allows no concurrent use.
	Invoke func() context.Context
	// Drain consumes all that a queue shows now.
	Drain func(queue string) []string
	// Advance lets time pass.
	Advance func(time.Duration)
}

// Bus runs the suite.
func Bus(t *testing.T, open func(t *testing.T) World) {
	for name, test := range map[string]func(*testing.T, World){
		"a message comes as it was sent, in its queue": testBody,
		"a delayed message waits":                      testDelay,
		"Capped waits an hour at most":                 testCap,
		"a part of a second is not lost":               testRounding,
		"many publish at once":                         testConcurrent,
		"a missing queue is an error":                  testNoQueue,
		"a dead invocation publishes nothing":          testCancelled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

const a, b = "eslink-a", "eslink-b"

func testBody(t *testing.T, w World) {
	bodies := []string{
		`{"specversion":"1.0","data":{"runId":"r","step":"a","seq":1}}`, `<x>&amp;"quoted"</x>`, "中文 ✓", "line\nline\ttab",
		"[" + strings.Repeat("x", 60_000) + "]",
	}
	for _, body := range bodies {
		require.NoError(t, w.Bus.Publish(w.Invoke(), a, []byte(body), 0))
	}
	got := w.Drain(a)
	slices.Sort(got)
	slices.Sort(bodies)
	assert.Equal(t, bodies, got)
	assert.Empty(t, w.Drain(a))
	assert.Empty(t, w.Drain(b))
}

func testDelay(t *testing.T, w World) {
	require.NoError(t, w.Bus.Publish(w.Invoke(), a, []byte("later"), 90*time.Second))
	require.NoError(t, w.Bus.Publish(w.Invoke(), a, []byte("now"), 0))
	assert.Equal(t, []string{"now"}, w.Drain(a))
	w.Advance(89 * time.Second)
	assert.Empty(t, w.Drain(a))
	w.Advance(time.Second)
	assert.Equal(t, []string{"later"}, w.Drain(a))
}

func testCap(t *testing.T, w World) {
	require.NoError(t, bus.Capped(w.Invoke(), w.Bus, a, []byte("days"), 72*time.Hour))
	require.NoError(t, bus.Capped(w.Invoke(), w.Bus, b, []byte("past"), -time.Hour))
	assert.Equal(t, []string{"past"}, w.Drain(b))
	w.Advance(bus.MaxDelay - time.Second)
	assert.Empty(t, w.Drain(a))
	w.Advance(time.Second)
	assert.Equal(t, []string{"days"}, w.Drain(a))
}

func testRounding(t *testing.T, w World) {
	require.NoError(t, bus.Capped(w.Invoke(), w.Bus, a, []byte("x"), 1500*time.Millisecond))
	w.Advance(1900 * time.Millisecond)
	assert.Empty(t, w.Drain(a), "too early an event costs an invocation")
	w.Advance(100 * time.Millisecond)
	assert.Equal(t, []string{"x"}, w.Drain(a))
}

func testConcurrent(t *testing.T, w World) {
	var wg sync.WaitGroup
	for i := range 20 {
		ctx := w.Invoke()
		wg.Go(func() { assert.NoError(t, w.Bus.Publish(ctx, a, fmt.Append(nil, i), 0)) })
	}
	wg.Wait()
	assert.Len(t, w.Drain(a), 20)
}

func testNoQueue(t *testing.T, w World) {
	require.Error(t, w.Bus.Publish(w.Invoke(), "eslink-missing", []byte("x"), 0))
}

func testCancelled(t *testing.T, w World) {
	ctx, cancel := context.WithCancel(w.Invoke())
	cancel()
	require.ErrorIs(t, w.Bus.Publish(ctx, a, []byte("x"), 0), context.Canceled)
	assert.Empty(t, w.Drain(a))
}
