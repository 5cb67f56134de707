package run_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/run"
)

// raced is a driver under which somebody else writes first, once.
type raced struct {
	run.Driver
	first func()
}

func (r *raced) Put(ctx context.Context, key run.Key, row run.Row, expect int64) error {
	if first := r.first; first != nil {
		r.first = nil
		first()
	}
	return r.Driver.Put(ctx, key, row, expect)
}

// Who loses a race looks again, and goes by what it finds.
func TestWhoLosesARaceLooksAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	race := func(first func(w *world) error) *world {
		w := open()
		w.create(t)
		rival := run.Store{Driver: w.driver, Now: w.Now}
		w.Driver = &raced{w.driver, func() { require.NoError(t, first(&world{Store: rival})) }}
		return w
	}
	touch := func(w *world) error {
		r, err := w.Acquire(ctx, id)
		require.NoError(t, err)
		return w.SaveAndRelease(ctx, r)
	}
	_, err := race(touch).Acquire(ctx, id)
	assert.NoError(t, err, "the lease is free again")

	var held *run.HeldError
	w := race(func(w *world) error { return w.Lock(ctx, "accept", "b", time.Minute) })
	assert.ErrorAs(t, w.Lock(ctx, "accept", "a", time.Minute), &held)

	w = race(func(w *world) error { return w.PutPart(ctx, id, "ids/0/0", 1) })
	require.NoError(t, w.PutPart(ctx, id, "ids/0/0", 2))
	var n int
	require.NoError(t, w.GetPart(ctx, id, "ids/0/0", &n))
	assert.Equal(t, 2, n)

	w = open()
	require.NoError(t, w.Lock(ctx, "accept", "a", time.Minute))
	w.Driver = &raced{w.driver, func() {
		require.NoError(t, (&run.Store{Driver: w.driver, Now: w.Now}).Lock(ctx, "accept", "a", time.Hour))
	}}
	assert.NoError(t, w.Unlock(ctx, "accept", "a"), "whoever changed it did so knowingly")
}

// Each invocation writes under a name of its own.
func TestEachInvocationIsAWriter(t *testing.T) {
	t.Parallel()
	w := open()
	w.create(t)
	seen := map[string]bool{}
	for range 3 {
		r, err := w.Acquire(t.Context(), id)
		require.NoError(t, err)
		row, err := w.driver.Get(t.Context(), run.Key{Kind: "run/" + id, ID: "record"})
		require.NoError(t, err)
		assert.False(t, seen[row.Writer], row.Writer)
		seen[row.Writer] = true
		require.NoError(t, w.SaveAndRelease(t.Context(), r))
	}
}

// A record that nobody can read does not hide the others.
func TestAListPassesOverWhatIsBroken(t *testing.T) {
	t.Parallel()
	w := open()
	w.create(t)
	require.NoError(t, w.Create(t.Context(), &run.Run{ID: "0000000000000000", Status: run.Running}))
	require.NoError(t, w.driver.Put(t.Context(), run.Key{Kind: "run/0000000000000000", ID: "record"}, run.Row{Rev: 2, Doc: []byte("{")}, 1))
	all, err := w.List(t.Context())
	assert.ErrorContains(t, err, "0000000000000000")
	assert.Len(t, all, 1)
	var broken *run.BrokenError
	alive := 0
	for r, err := range w.Alive(t.Context()) {
		if alive++; err != nil {
			require.ErrorAs(t, err, &broken)
			assert.Nil(t, r)
		}
	}
	assert.Equal(t, "0000000000000000", broken.ID)
	assert.Equal(t, 2, alive, "the other one follows")
}

// What is held for good is not held shorter by asking for a time.
func TestALockForGoodStays(t *testing.T) {
	t.Parallel()
	w := open()
	require.NoError(t, w.Lock(t.Context(), "target/1", "a", 0))
	require.NoError(t, w.Lock(t.Context(), "target/1", "a", time.Minute))
	w.clock = w.clock.Add(time.Hour)
	var held *run.HeldError
	assert.ErrorAs(t, w.Lock(t.Context(), "target/1", "b", time.Minute), &held)
}
