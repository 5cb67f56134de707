package run_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/run"
)

// A record is saved up to its bound and not above; one that stops because of that
// has room to say so.
func TestARecordIsBounded(t *testing.T) {
	t.Parallel()
	w := open()
	w.create(t)
	r, err := w.Acquire(t.Context(), id)
	require.NoError(t, err)
	row, err := w.driver.Get(t.Context(), record)
	require.NoError(t, err)
	room := run.MaxRecord - len(row.Doc) - len(`"reason":"",`)
	r.Cursor.Reason = strings.Repeat("x", room)
	require.NoError(t, w.Save(t.Context(), r), "at the bound")
	r.Cursor.Reason += "x"
	var large *run.TooLargeError
	require.ErrorAs(t, w.Save(t.Context(), r), &large)
	assert.Equal(t, run.MaxRecord+1, large.Bytes)
	last, err := w.Reread(t.Context(), r)
	require.NoError(t, err)
	assert.Len(t, last.Cursor.Reason, room, "as it was saved last")
	last.Status = run.Failed
	last.Note(w.clock, "reindex", run.Stopped, strings.Repeat("y", 50_000))
	require.NoError(t, w.SaveAndRelease(t.Context(), last))
}

func TestReadingAgainNeedsTheLease(t *testing.T) {
	t.Parallel()
	w := open()
	w.create(t)
	r, err := w.Acquire(t.Context(), id)
	require.NoError(t, err)
	w.clock = w.clock.Add(time.Hour)
	_, err = w.Acquire(t.Context(), id)
	require.NoError(t, err)
	_, err = w.Reread(t.Context(), r)
	assert.ErrorIs(t, err, run.ErrConflict)
}

// A part may be larger than a row.
func TestAPartInPieces(t *testing.T) {
	t.Parallel()
	w := open()
	ctx := t.Context()
	for _, n := range []int{10, 1 << 20, 5 << 20, 20} {
		want := strings.Repeat("é", n/2)
		require.NoError(t, w.PutPart(ctx, id, "definition/0", want))
		var got string
		require.NoError(t, w.GetPart(ctx, id, "definition/0", &got))
		assert.True(t, want == got, n)
	}
	require.NoError(t, w.PutPart(ctx, id, "definition/00", 1))
	require.NoError(t, w.DeleteParts(ctx, id))
	rows, err := w.driver.List(ctx, record.Kind, "", 100)
	require.NoError(t, err)
	assert.Empty(t, rows, "no piece is left")
}

// A process that was stopped and wakes after its lease overwrites nothing that a
// later invocation wrote.
func TestALateWriterIsFenced(t *testing.T) {
	t.Parallel()
	w := open()
	w.create(t)
	stopped, err := w.Acquire(t.Context(), id)
	require.NoError(t, err)
	late := run.Fenced(t.Context(), stopped)
	require.NoError(t, w.PutPart(late, id, "ids/0/0", 1))
	w.clock = w.clock.Add(run.DefaultLease + time.Second)
	next, err := w.Acquire(t.Context(), id)
	require.NoError(t, err)
	now := run.Fenced(t.Context(), next)
	require.NoError(t, w.PutPart(now, id, "ids/0/0", 2))
	require.ErrorIs(t, w.PutPart(late, id, "ids/0/0", 3), run.ErrConflict)
	require.NoError(t, w.PutPart(now, id, "ids/0/0", 4), "its own later write")
	var n int
	require.NoError(t, w.GetPart(t.Context(), id, "ids/0/0", &n))
	assert.Equal(t, 4, n)
	require.NoError(t, w.PutPart(late, "0123456789abcdef", "ids/0/0", 1), "another run's is no matter of this fence")
}

// Runs have partitions of their own, and lists find them all, in order, from
// where the last page ended.
func TestRunsSpread(t *testing.T) {
	t.Parallel()
	w := open()
	ctx := t.Context()
	var want []string
	for i := range 250 {
		want = append(want, fmt.Sprintf("%04x000000000000", i*261))
	}
	for i, id := range want {
		r := &run.Run{ID: id, Status: run.Running}
		r.Spec.InstanceID = fmt.Sprint("es-", i%2)
		require.NoError(t, w.Create(ctx, r))
		if i%10 == 0 {
			r.Status = run.Removed
			require.NoError(t, w.Save(ctx, r))
		}
	}
	all, err := w.List(ctx)
	require.NoError(t, err)
	var got []string
	for _, r := range all {
		got = append(got, r.ID)
	}
	assert.Equal(t, want, got)
	got = nil
	for r, err := range w.All(ctx, want[99]) {
		require.NoError(t, err)
		if got = append(got, r.ID); len(got) == 120 {
			break
		}
	}
	assert.Equal(t, want[100:220], got)
	count := func(seq func(func(*run.Run, error) bool)) (n int) {
		for r, err := range seq {
			require.NoError(t, err)
			assert.NotEqual(t, run.Removed, r.Status)
			n++
		}
		return n
	}
	assert.Equal(t, 225, count(w.Alive(ctx)), "removed runs are not gone through")
	assert.Equal(t, 125, count(w.AliveOn(ctx, "es-1")))
	again := all[0]
	again.Status = run.Running
	require.NoError(t, w.Save(ctx, again))
	assert.Equal(t, 226, count(w.Alive(ctx)), "the next generation is alive")
}

// First come, first served, and the next is woken.
func TestALockIsTakenInTurn(t *testing.T) {
	t.Parallel()
	w := open()
	ctx := t.Context()
	var woken []string
	w.Wake = func(_ context.Context, id string) { woken = append(woken, id) }
	place := func(holder string) int {
		err := w.Lock(ctx, "accept", holder, time.Minute)
		if err == nil {
			return 0
		}
		var held *run.HeldError
		require.ErrorAs(t, err, &held)
		return held.Place
	}
	assert.Zero(t, place("a"))
	assert.Equal(t, 1, place("b"))
	assert.Equal(t, 2, place("c"))
	assert.Equal(t, 3, place("d"))
	assert.Equal(t, 2, place("c"), "asking again changes nothing")
	assert.Zero(t, place("a"), "its holder renews it")
	require.NoError(t, w.Unlock(ctx, "accept", "a"))
	assert.Equal(t, []string{"b"}, woken)
	assert.Equal(t, 2, place("c"), "it is the turn of b")
	assert.Equal(t, 4, place("a"), "who comes again comes last")
	assert.Zero(t, place("b"))

	require.NoError(t, w.Unlock(ctx, "accept", "d"), "who no longer wants it leaves the queue")
	assert.Equal(t, 2, place("a"))
	assert.Len(t, woken, 1, "nobody's turn has come by that")

	w.clock = w.clock.Add(2 * time.Minute) // the holder has died
	assert.Equal(t, 2, place("a"))
	assert.Zero(t, place("c"))
	require.NoError(t, w.Unlock(ctx, "accept", "c"))
	assert.Equal(t, 2, place("e"))
	w.clock = w.clock.Add(run.TurnFor) // and so has the next
	assert.Zero(t, place("e"))
}

// Of many that race each has the lock once, in the order in which they queued.
func TestAQueueServesAll(t *testing.T) {
	t.Parallel()
	w := open()
	ctx := t.Context()
	var order, served []string
	for i := range 60 {
		id := fmt.Sprint("run", i)
		order = append(order, id)
		if err := w.Lock(ctx, "accept", id, time.Minute); err == nil {
			served = append(served, id)
		}
	}
	w.Wake = func(_ context.Context, id string) {
		require.NoError(t, w.Lock(ctx, "accept", id, time.Minute))
		served = append(served, id)
	}
	for i := 0; i < len(served); i++ {
		require.NoError(t, w.Unlock(ctx, "accept", served[i]))
	}
	assert.Equal(t, order, served)
}
