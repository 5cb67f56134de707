// Package runtest is what every run.Driver has to pass: the bad days of a
// record that many invocations want to write.
package runtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/run"
)

// Open returns an empty driver, and the context of one more invocation. Writers
// that race are different invocations: fccontext allows no concurrent use.
type Open func(t *testing.T) (invoke func() context.Context, d run.Driver)

// alone makes a test of one that needs a single invocation.
func alone(f func(*testing.T, context.Context, run.Driver)) func(*testing.T, func() context.Context, run.Driver) {
	return func(t *testing.T, invoke func() context.Context, d run.Driver) { f(t, invoke(), d) }
}

// Driver runs the suite.
func Driver(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, func() context.Context, run.Driver){
		"what is not there is not found":                alone(testMissing),
		"what was written is read, by whomever":         alone(testRoundTrip),
		"a create happens once":                         alone(testCreateOnce),
		"a stale revision changes nothing":              alone(testStale),
		"the same write again is the same success":      alone(testRepeated),
		"another document under our name is a conflict": alone(testSameWriterOtherDocument),
		"a delete needs the revision":                   alone(testDelete),
		"of all who race one wins":                      testRace,
		"wins are increments":                           testCounter,
		"a listing has pages, an order and one kind":    alone(testList),
		"a listing of large documents is whole":         alone(testLargeList),
		"ids may hold odd characters":                   alone(testOddIDs),
		"a document may be 1.9 MB":                      alone(testLargeDocument),
		"nobody shares memory with the store":           alone(testNoAliasing),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			invoke, d := open(t)
			test(t, invoke, d)
		})
	}
}

func key(id string) run.Key { return run.Key{Kind: "run", ID: id} }

func row(rev int64, writer, doc string) run.Row {
	return run.Row{Rev: rev, Writer: writer, Doc: []byte(doc)}
}

func testMissing(t *testing.T, ctx context.Context, d run.Driver) {
	_, err := d.Get(ctx, key("a"))
	require.ErrorIs(t, err, run.ErrNotFound)
	require.NoError(t, d.Delete(ctx, key("a"), 1), "a delete of what is gone")
	require.ErrorIs(t, d.Put(ctx, key("a"), row(8, "w", "{}"), 7), run.ErrConflict, "an update of what is not there")
	rows, err := d.List(ctx, "run", "", 10)
	require.NoError(t, err)
	assert.Empty(t, rows)
}

func testRoundTrip(t *testing.T, ctx context.Context, d run.Driver) {
	want := row(1, "writer-1", `{"name":"理财产品","n":1.10}`)
	require.NoError(t, d.Put(ctx, key("a"), want, 0))
	got, err := d.Get(ctx, key("a"))
	require.NoError(t, err)
	assert.Equal(t, want, got)
	_, err = d.Get(ctx, run.Key{Kind: "lock", ID: "a"})
	assert.ErrorIs(t, err, run.ErrNotFound, "kinds are apart")

	want = row(2, "writer-2", "{}")
	require.NoError(t, d.Put(ctx, key("a"), want, 1))
	got, err = d.Get(ctx, key("a"))
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func testCreateOnce(t *testing.T, ctx context.Context, d run.Driver) {
	require.NoError(t, d.Put(ctx, key("a"), row(1, "first", "1"), 0))
	require.ErrorIs(t, d.Put(ctx, key("a"), row(1, "second", "2"), 0), run.ErrConflict)
	got, err := d.Get(ctx, key("a"))
	require.NoError(t, err)
	assert.Equal(t, row(1, "first", "1"), got)
}

func testStale(t *testing.T, ctx context.Context, d run.Driver) {
	for rev := range int64(3) {
		require.NoError(t, d.Put(ctx, key("a"), row(rev+1, "w", "{}"), rev))
	}
	for _, expect := range []int64{0, 1, 2, 4} {
		require.ErrorIs(t, d.Put(ctx, key("a"), row(expect+1, "late", "late"), expect), run.ErrConflict, "expecting %d", expect)
	}
	got, err := d.Get(ctx, key("a"))
	require.NoError(t, err)
	assert.Equal(t, row(3, "w", "{}"), got)
}

func testRepeated(t *testing.T, ctx context.Context, d run.Driver) {
	for range 2 {
		require.NoError(t, d.Put(ctx, key("a"), row(1, "w", "1"), 0))
	}
	for range 2 {
		require.NoError(t, d.Put(ctx, key("a"), row(2, "w", "2"), 1))
	}
	require.NoError(t, d.Delete(ctx, key("a"), 2))
	require.NoError(t, d.Delete(ctx, key("a"), 2))
}

// A save whose reply was lost, and then a save of something else that still
// expects the old revision: only a reread may decide.
func testSameWriterOtherDocument(t *testing.T, ctx context.Context, d run.Driver) {
	require.NoError(t, d.Put(ctx, key("a"), row(1, "w", "first"), 0))
	require.ErrorIs(t, d.Put(ctx, key("a"), row(1, "w", "second"), 0), run.ErrConflict)
	got, err := d.Get(ctx, key("a"))
	require.NoError(t, err)
	assert.Equal(t, "first", string(got.Doc))
}

func testDelete(t *testing.T, ctx context.Context, d run.Driver) {
	require.NoError(t, d.Put(ctx, key("a"), row(1, "w", "1"), 0))
	require.NoError(t, d.Put(ctx, key("a"), row(2, "w", "2"), 1))
	require.ErrorIs(t, d.Delete(ctx, key("a"), 1), run.ErrConflict)
	require.NoError(t, d.Delete(ctx, key("a"), 2))
	_, err := d.Get(ctx, key("a"))
	require.ErrorIs(t, err, run.ErrNotFound)
	require.NoError(t, d.Put(ctx, key("a"), row(1, "w", "again"), 0))
}

func testRace(t *testing.T, invoke func() context.Context, d run.Driver) {
	const racers = 8
	wins := make([]error, racers)
	var wg sync.WaitGroup
	for i := range racers {
		ctx := invoke()
		wg.Go(func() { wins[i] = d.Put(ctx, key("a"), row(1, fmt.Sprint("racer-", i), "{}"), 0) })
	}
	wg.Wait()
	winner := slices.Index(wins, nil)
	require.GreaterOrEqual(t, winner, 0)
	for i, err := range wins {
		if i != winner {
			require.ErrorIs(t, err, run.ErrConflict)
		}
	}
	got, err := d.Get(invoke(), key("a"))
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprint("racer-", winner), got.Writer)
}

func testCounter(t *testing.T, invoke func() context.Context, d run.Driver) {
	require.NoError(t, d.Put(invoke(), key("a"), row(1, "first", "{}"), 0))
	const workers, tries = 6, 20
	wins := make([]int64, workers)
	var wg sync.WaitGroup
	for i := range workers {
		ctx := invoke()
		wg.Go(func() {
			for try := range tries {
				old, err := d.Get(ctx, key("a"))
				if !assert.NoError(t, err) {
					return
				}
				err = d.Put(ctx, key("a"), row(old.Rev+1, fmt.Sprint(i, "/", try), "{}"), old.Rev)
				if err == nil {
					wins[i]++
				} else if !errors.Is(err, run.ErrConflict) {
					assert.NoError(t, err)
				}
			}
		})
	}
	wg.Wait()
	var sum int64
	for _, n := range wins {
		sum += n
	}
	got, err := d.Get(invoke(), key("a"))
	require.NoError(t, err)
	assert.Equal(t, 1+sum, got.Rev)
	assert.GreaterOrEqual(t, sum, int64(tries), "somebody always wins")
}

func ids(rows []run.KeyedRow) []string {
	out := []string{}
	for _, r := range rows {
		out = append(out, r.ID)
	}
	return out
}

func testList(t *testing.T, ctx context.Context, d run.Driver) {
	var want []string
	for i := range 25 {
		id := fmt.Sprintf("%02d", (i*7)%25)
		require.NoError(t, d.Put(ctx, key(id), row(1, "w", "doc "+id), 0))
		want = append(want, id)
	}
	slices.Sort(want)
	for _, other := range []string{"ru", "run0", "run/", "runs", "Run"} {
		require.NoError(t, d.Put(ctx, run.Key{Kind: other, ID: "00"}, row(1, "w", "{}"), 0))
	}
	for _, limit := range []int{1, 10, 24, 25, 26, 6000} {
		var got []string
		for after := ""; ; {
			page, err := d.List(ctx, "run", after, limit)
			require.NoError(t, err)
			require.LessOrEqual(t, len(page), limit)
			for _, r := range page {
				assert.Equal(t, run.KeyedRow{Key: key(r.ID), Row: row(1, "w", "doc "+r.ID)}, r)
			}
			got = append(got, ids(page)...)
			if len(page) < limit {
				break
			}
			after = page[len(page)-1].ID
		}
		assert.Equal(t, want, got, "limit %d", limit)
	}
	page, err := d.List(ctx, "run", "12x", 2)
	require.NoError(t, err)
	assert.Equal(t, []string{"13", "14"}, ids(page), "after may be an id that is gone")
	none, err := d.List(ctx, "run", "99", 2)
	require.NoError(t, err)
	assert.Empty(t, none)
}

func testLargeList(t *testing.T, ctx context.Context, d run.Driver) {
	doc := bytes.Repeat([]byte("x"), 1_500_000)
	want := []string{"a", "b", "c", "d", "e"}
	for _, id := range want {
		require.NoError(t, d.Put(ctx, key(id), run.Row{Rev: 1, Writer: "w", Doc: doc}, 0))
	}
	rows, err := d.List(ctx, "run", "", 5)
	require.NoError(t, err)
	assert.Equal(t, want, ids(rows))
	rows, err = d.List(ctx, "run", "a", 3)
	require.NoError(t, err)
	assert.Equal(t, []string{"b", "c", "d"}, ids(rows))
}

func testOddIDs(t *testing.T, ctx context.Context, d run.Driver) {
	odd := []string{"a/b", "a b", `"quoted"`, "%2F", "a\x00b", "logs-2024.01.01", "<x>&", "数据", "~", strings.Repeat("k", 1000)}
	for _, id := range odd {
		require.NoError(t, d.Put(ctx, key(id), row(1, "w", id), 0), "%q", id)
	}
	for _, id := range odd {
		got, err := d.Get(ctx, key(id))
		require.NoError(t, err, "%q", id)
		assert.Equal(t, id, string(got.Doc))
	}
	rows, err := d.List(ctx, "run", "", 100)
	require.NoError(t, err)
	slices.Sort(odd) // by bytes
	assert.Equal(t, odd, ids(rows))
}

func testLargeDocument(t *testing.T, ctx context.Context, d run.Driver) {
	want := run.Row{Rev: 1, Writer: "w", Doc: bytes.Repeat([]byte("0123456789"), 190_000)}
	require.NoError(t, d.Put(ctx, key("a"), want, 0))
	got, err := d.Get(ctx, key("a"))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(want.Doc, got.Doc))
}

func testNoAliasing(t *testing.T, ctx context.Context, d run.Driver) {
	doc := []byte("before")
	require.NoError(t, d.Put(ctx, key("a"), run.Row{Rev: 1, Writer: "w", Doc: doc}, 0))
	copy(doc, "XXXXXX")
	got, err := d.Get(ctx, key("a"))
	require.NoError(t, err)
	require.Equal(t, "before", string(got.Doc))
	copy(got.Doc, "YYYYYY")
	got, err = d.Get(ctx, key("a"))
	require.NoError(t, err)
	assert.Equal(t, "before", string(got.Doc))
}
