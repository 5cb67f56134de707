package scan_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/elastic"
	"eslink/shared/apierr"
	"eslink/shared/checksum"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/scan"
)

// world is an index of an embedded cluster, and a clock that goes on by a second
// with every page.
type world struct {
	*es.Client
	t      *testing.T
	server *elastic.Server
	store  *run.Store
	run    *run.Run

	mu     sync.Mutex
	now    time.Time
	pages  int
	sizes  []int
	whole  int                   // pages with what documents say
	fail   func(row string) bool // of a row that is not written
	refuse func(size int) error  // of a page
	unread error                 // instead of a row
	asked  []int                 // how many IDs at once
	most   int                   // that are not too many, if it is not 0
	large  map[string]bool       // documents that are not read, by ID
	odd    map[string]string     // what documents say that is no JSON, by ID; "" breaks the reply
	broken int                   // the reply by IDs, counted from 1, that does not come
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	w.server = elastic.New(elastic.Config{Version: "7.10.2", Now: w.Now})
	t.Cleanup(w.server.Stop)
	var err error
	w.Client, err = es.New(w.server, "http://es:9200", "", "")
	require.NoError(t, err)
	w.store = &run.Store{Driver: &run.Mem{}, Now: w.Now}
	w.run = &run.Run{ID: "0123456789abcdef"}
	w.run.Facts.Digest = &facts.Digest{Walk: "1"}
	return w
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) Page(ctx context.Context, index string, query json.RawMessage, win es.Window, size int, source bool) ([]es.Document, error) {
	w.mu.Lock()
	w.now = w.now.Add(time.Second)
	w.pages++
	w.sizes = append(w.sizes, size)
	if source {
		w.whole++
	}
	w.mu.Unlock()
	if w.refuse != nil {
		if err := w.refuse(size); err != nil {
			return nil, err
		}
	}
	docs, err := w.Client.Page(ctx, index, query, win, size, source)
	return w.short(docs, source, err)
}

// short refuses documents that are too large to be read.
func (w *world) short(docs []es.Document, source bool, err error) ([]es.Document, error) {
	if source && slices.ContainsFunc(docs, func(d es.Document) bool { return w.large[d.ID] }) {
		return nil, es.ErrTooLarge
	}
	for i, d := range docs {
		switch text, odd := w.odd[d.ID]; {
		case !odd || !source:
		case text == "":
			return nil, es.ErrUnreadable
		default:
			docs[i].Source = []byte(text)
		}
	}
	return docs, err
}

var errStored = &apierr.Error{Class: apierr.Retry, Code: "OTSServerBusy", Message: "the table is away"}

func (w *world) PutPart(ctx context.Context, runID, name string, v any) error {
	if w.fail != nil && w.fail(name) {
		return errStored
	}
	return w.store.PutPart(ctx, runID, name, v)
}

func (w *world) GetPart(ctx context.Context, runID, name string, v any) error {
	if w.unread != nil {
		return w.unread
	}
	return w.store.GetPart(ctx, runID, name, v)
}

func (w *world) Documents(ctx context.Context, index string, shard int, ids []string, source bool) ([]es.Document, error) {
	w.mu.Lock()
	w.asked = append(w.asked, len(ids))
	broken := len(w.asked) == w.broken
	w.mu.Unlock()
	if broken {
		return nil, &apierr.Error{Class: apierr.Retry, Code: es.Unreachable}
	}
	if w.most > 0 && len(ids) > w.most {
		return nil, &apierr.Error{Class: apierr.Retry, Code: "circuit_breaking_exception", Status: 429}
	}
	docs, err := w.Client.Documents(ctx, index, shard, ids, source)
	return w.short(docs, source, err)
}

func (w *world) ask(method, path, body string) {
	w.t.Helper()
	req, err := http.NewRequest(method, "http://es:9200"+path, strings.NewReader(body))
	require.NoError(w.t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.server.RoundTrip(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	require.Less(w.t, resp.StatusCode, 300, path)
}

// fill writes documents of about so many bytes, some of them again and again, and
// deletes some, so that sequence numbers have gaps.
func (w *world) fill(index string, shards, n, bytes int) {
	w.ask("PUT", "/"+index, fmt.Sprintf(`{"settings":{"number_of_shards":%d}}`, shards))
	var docs strings.Builder
	text := strings.Repeat("x", bytes)
	for round := range 3 {
		for i := range n {
			if round == 0 || i%3 == 0 {
				fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d,\"round\":%d,\"text\":%q}\n", i, i, round, text)
			}
		}
	}
	for i := 0; i < n; i += 10 {
		fmt.Fprintf(&docs, "{\"delete\":{\"_id\":\"%d\"}}\n", i)
	}
	w.ask("POST", "/"+index+"/_bulk?refresh=true", docs.String())
}

func (w *world) scan(side, index string) *scan.Scan {
	return &scan.Scan{Reader: w, Rows: w, Now: w.Now, Run: w.run, Side: side, Index: index, Content: true}
}

// sum adds an index up, in as many invocations of so many pages as it takes.
func (w *world) sum(s *scan.Scan, partitions, pages int) (invocations int) {
	w.t.Helper()
	for invocations = 1; ; invocations++ {
		require.Less(w.t, invocations, 1000)
		at, err := s.Sum(w.t.Context(), partitions, w.Now().Add(time.Duration(pages)*time.Second))
		if err != nil {
			require.ErrorIs(w.t, err, errStored)
			continue
		}
		if at.Done {
			return invocations
		}
	}
}

// The same documents have the same sums, however many shards they are in,
// whatever sequence numbers they have, and wherever an invocation ends or fails.
func TestSumsDoNotDependOnHowTheyAreRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill("a", 5, 3000, 30)
	w.fill("b", 1, 3000, 30)
	failed := 0
	w.fail = func(row string) bool {
		failed++
		return strings.HasPrefix(row, "sums/") && failed%2 == 1
	}
	require.Greater(t, w.sum(w.scan(scan.Source, "a"), 64, 4), 3)
	w.fail = nil
	require.Equal(t, 1, w.sum(w.scan(scan.Dest, "b"), 64, 1000))
	unequal, a, b, err := scan.Compare(t.Context(), w, w.run, 0)
	require.NoError(t, err)
	require.Empty(t, unequal)
	require.EqualValues(t, 2700, a.Documents())
	require.Equal(t, a, b)

	// Another walk starts over.
	w.ask("PUT", "/b/_doc/1?refresh=true", `{"n":1}`)
	w.run.Facts.Digest.Walk = "2"
	w.sum(w.scan(scan.Source, "a"), 64, 1000)
	w.sum(w.scan(scan.Dest, "b"), 64, 1000)
	unequal, _, _, err = scan.Compare(t.Context(), w, w.run, 0)
	require.NoError(t, err)
	require.Equal(t, []int{checksum.Partition("1", 64)}, unequal)
}

// A source that refuses every other page is read all the same.
func TestPagesThatFail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill("a", 5, 3000, 30)
	n := 0
	w.refuse = func(int) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if n++; n%4 == 0 {
			return &apierr.Error{Class: apierr.Retry, Code: "http_503", Status: 503}
		}
		return nil
	}
	s := w.scan(scan.Source, "a")
	failed := 0
	for done := false; !done; {
		at, err := s.Sum(t.Context(), 64, w.Now().Add(time.Hour))
		if err != nil {
			failed++
		}
		require.Less(t, failed, 30)
		done = err == nil && at.Done
	}
	for done := false; !done; {
		at, err := s.List(t.Context(), scan.Want{}, w.Now().Add(time.Hour))
		if err != nil {
			failed++
		}
		require.Less(t, failed, 60)
		done = err == nil && at.Done
		if done {
			require.EqualValues(t, 2700, at.Read)
		}
	}
	w.refuse = nil
	w.sum(w.scan(scan.Dest, "a"), 64, 1000)
	unequal, _, _, err := scan.Compare(t.Context(), w, w.run, 0)
	require.NoError(t, err)
	require.Empty(t, unequal)
	listed := map[string]bool{}
	for part := 0; ; part++ {
		docs, err := scan.Listed(t.Context(), w, w.run, scan.Source, 0, part)
		if err != nil {
			break
		}
		for _, d := range docs {
			require.NotContains(t, listed, d.ID)
			listed[d.ID] = true
		}
	}
	require.Len(t, listed, 2700)
}

// What goes wrong is told: at once if repeating cannot help, and by
// an error, which the engine counts and pauses after, if nothing was read before.
func TestReadingThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill("a", 1, 1500, 10)
	s := w.scan(scan.Source, "a")
	read := map[string]func() (scan.Progress, error){
		"sum":  func() (scan.Progress, error) { return s.Sum(t.Context(), 4, w.Now().Add(time.Hour)) },
		"list": func() (scan.Progress, error) { return s.List(t.Context(), scan.Want{}, w.Now().Add(time.Hour)) },
	}
	for name, do := range read {
		for _, class := range []apierr.Class{apierr.Retry, apierr.Fatal} {
			for _, after := range []int{0, 2} {
				w.run.Facts.Digest.Walk += "'"
				n := 0
				w.refuse = func(int) error {
					w.mu.Lock()
					defer w.mu.Unlock()
					if n++; n > after {
						return &apierr.Error{Class: class, Code: "http_503", Status: 503}
					}
					return nil
				}
				at, err := do()
				if class == apierr.Retry && after > 0 {
					require.NoError(t, err, name)
					require.False(t, at.Done)
					require.Positive(t, at.Read, "what was read before is kept")
				} else {
					require.Equal(t, class, apierr.ClassOf(err), name)
				}
			}
		}
		// A row that cannot be read is not one that is not there.
		w.refuse, w.unread = nil, errStored
		_, err := do()
		require.ErrorIs(t, err, errStored, name)
		w.unread = nil
		at, err := do()
		require.NoError(t, err, name)
		require.True(t, at.Done)
		require.EqualValues(t, 1350, at.Read)
		again, err := do()
		require.NoError(t, err)
		require.Equal(t, at, again, "once more makes no difference")
		w.ask("DELETE", "/a", "")
		_, err = do()
		require.True(t, apierr.IsNotFound(err), name)
		w.fill("a", 1, 1500, 10)
	}
	w.ask("DELETE", "/a", "")
	_, err := s.Sample(t.Context())
	require.True(t, apierr.IsNotFound(err))
}

// Documents that are asked for by ID come in replies that can be read.
func TestReadingByID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill("a", 1, 300, 10)
	s := w.scan(scan.Source, "a")
	s.Planned = []int64{299} // its highest of the first round
	want := scan.Want{Partitions: []int{0, 1}, Of: 2}
	w.most = 50
	at, err := s.List(t.Context(), want, w.Now().Add(time.Hour))
	require.NoError(t, err)
	require.True(t, at.Done)
	require.Zero(t, w.whole, "pages need not say what is asked for by ID")
	require.Greater(t, len(w.asked), 7)
	for reply := range len(w.asked) { // of each part
		w.run.Facts.Digest.Walk += "'"
		w.asked, w.broken = nil, reply+1
		at, err := s.List(t.Context(), want, w.Now().Add(time.Hour))
		require.True(t, err != nil || !at.Done, reply)
	}
	w.run.Facts.Digest.Walk += "'"
	w.broken = 0
	_, err = s.List(t.Context(), want, w.Now().Add(time.Hour))
	require.NoError(t, err)
	docs, err := scan.Listed(t.Context(), w, w.run, scan.Source, 0, 0)
	require.NoError(t, err)
	require.Len(t, docs, 270)
	for _, d := range docs {
		var n int
		_, err := fmt.Sscan(d.ID, &n)
		require.NoError(t, err)
		require.Equal(t, n%3 == 0, d.Late, d.ID)
		require.Equal(t, 1, d.Shard)
		require.NotEmpty(t, d.Exact)
		require.Nil(t, d.Fields)
	}
	found, err := s.Lookup(t.Context(), docs)
	require.NoError(t, err)
	require.Len(t, found, 270)
	require.Empty(t, checksum.Diff(docs, found))
	require.Nil(t, found[0].Fields)
	for i := range docs {
		docs[i].Fields = map[string]checksum.Field{}
	}
	found, err = s.Lookup(t.Context(), docs)
	require.NoError(t, err)
	require.NotNil(t, found[0].Fields, "if those that are looked for have them")

	// At level ids nothing is read of documents.
	w = newWorld(t)
	w.fill("a", 1, 300, 10)
	s = w.scan(scan.Source, "a")
	s.Content = false
	_, err = s.List(t.Context(), scan.Want{}, w.Now().Add(time.Hour))
	require.NoError(t, err)
	_, err = s.Sum(t.Context(), 4, w.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Zero(t, w.whole)
	require.Len(t, w.sizes, 2, "and so pages are large")
}

// Rows are no larger than the table takes, and no smaller than they need be.
func TestListingRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ask("PUT", "/a", `{"settings":{"number_of_shards":1}}`)
	for prefix, want := range map[string][]int{"": {1000, 1000, 500}, strings.Repeat("x", 400): {1000, 1000, 500}, strings.Repeat("x", 500): {868, 868, 764}} {
		w.ask("DELETE", "/a", "")
		w.ask("PUT", "/a", `{"settings":{"number_of_shards":1}}`)
		var docs strings.Builder
		for i := range 2500 {
			fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%s%04d\"}}\n{}\n", prefix, i)
		}
		w.ask("POST", "/a/_bulk?refresh=true", docs.String())
		w.run.Facts.Digest.Walk += "'"
		at, err := w.scan(scan.Source, "a").List(t.Context(), scan.Want{}, w.Now().Add(time.Hour))
		require.NoError(t, err)
		var rows []int
		for n := range at.Parts {
			docs, err := scan.Listed(t.Context(), w, w.run, scan.Source, 0, n)
			require.NoError(t, err)
			rows = append(rows, len(docs))
		}
		require.Equal(t, want, rows)
	}
}

// A million empty numbers are passed over in a few pages.
func TestGapsAreCheap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ask("PUT", "/a", `{"settings":{"number_of_shards":1}}`)
	var docs strings.Builder
	for range 40_000 {
		docs.WriteString("{\"index\":{\"_id\":\"1\"}}\n{}\n")
	}
	w.ask("POST", "/a/_bulk?refresh=true", docs.String())
	w.sum(w.scan(scan.Source, "a"), 1, 1000)
	require.Less(t, w.pages, 10)
}

// Large documents come in small pages, and a page that is too large is asked for
// in halves.
func TestPagesFitTheirDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill("a", 1, 60, 200_000)
	w.refuse = func(size int) error {
		if size > 40 {
			return es.ErrTooLarge
		}
		return nil
	}
	at, err := w.scan(scan.Source, "a").Sum(t.Context(), 1, w.Now().Add(time.Hour))
	require.NoError(t, err)
	require.EqualValues(t, 54, at.Read)
	require.Equal(t, []int{500, 250, 125, 62, 31}, w.sizes[:5])
	require.LessOrEqual(t, w.sizes[len(w.sizes)-1], 20)

	// Documents that come one by one are read with the other reader at rest.
	w.fill("b", 2, 40, 1000)
	busy, most := 0, 0
	w.refuse = func(size int) error {
		if size > 1 {
			return es.ErrTooLarge
		}
		w.mu.Lock()
		busy++
		most = max(most, busy)
		w.mu.Unlock()
		time.Sleep(time.Millisecond)
		w.mu.Lock()
		busy--
		w.mu.Unlock()
		return nil
	}
	w.run.Facts.Digest.Walk = "1b"
	at, err = w.scan(scan.Source, "b").Sum(t.Context(), 1, w.Now().Add(time.Hour))
	require.NoError(t, err)
	require.EqualValues(t, 36, at.Read)
	require.Equal(t, 1, most)
}

// A document that is larger than is read differs, whatever the other side has, and
// what differs says why; the others are compared.
func TestDocumentsThatAreTooLargeToRead(t *testing.T) {
	t.Parallel()
	const partitions = 16
	w := newWorld(t)
	w.large = map[string]bool{"7": true, "31": true}
	var scans []*scan.Scan
	for side, index := range map[string]string{scan.Source: "a", scan.Dest: "b"} {
		w.fill(index, 2, 60, 1000)
		s := w.scan(side, index)
		w.sum(s, partitions, 100)
		scans = append(scans, s)
	}
	unequal, _, _, err := scan.Compare(t.Context(), w, w.run, 0)
	require.NoError(t, err)
	require.ElementsMatch(t, []int{checksum.Partition("7", partitions), checksum.Partition("31", partitions)}, unequal)
	listed := map[string][]checksum.Document{}
	for _, s := range scans {
		at, err := s.List(t.Context(), scan.Want{Partitions: unequal, Of: partitions, Detailed: 2}, w.Now().Add(time.Hour))
		require.NoError(t, err)
		require.EqualValues(t, 54, at.Read)
		for n := range at.Parts {
			docs, err := scan.Listed(t.Context(), w, w.run, s.Side, 0, n)
			require.NoError(t, err)
			listed[s.Side] = append(listed[s.Side], docs...)
		}
	}
	require.Greater(t, len(listed[scan.Source]), 2)
	found := checksum.Diff(listed[scan.Source], listed[scan.Dest])
	require.Len(t, found, 2)
	for i, id := range []string{"31", "7"} {
		require.Equal(t, id, found[i].ID)
		require.Equal(t, checksum.Differs, found[i].Class)
		require.Equal(t, []string{"(more than the 112 MB that are read, dest)", "(more than the 112 MB that are read, source)"}, found[i].Fields)
	}
	// What is listed without fields has them for such a document.
	for _, s := range scans {
		s.Run.Facts.Digest.Walk += "'"
		at, err := s.List(t.Context(), scan.Want{}, w.Now().Add(time.Hour))
		require.NoError(t, err)
		require.Equal(t, 1, at.Parts)
		docs, err := scan.Listed(t.Context(), w, w.run, s.Side, 0, 0)
		require.NoError(t, err)
		for _, other := range scans {
			looked, err := other.Lookup(t.Context(), docs)
			require.NoError(t, err)
			found := checksum.Diff(docs, looked)
			if other == s {
				require.Empty(t, found)
				continue
			}
			require.Len(t, found, 2)
			require.Len(t, found[0].Fields, 2)
		}
	}

	// Which documents there are can be compared.
	w.run.Facts.Digest.Walk += "'"
	for _, s := range scans {
		s.Content = false
		w.sum(s, partitions, 100)
	}
	unequal, _, _, err = scan.Compare(t.Context(), w, w.run, 0)
	require.NoError(t, err)
	require.Empty(t, unequal)
}

// A document that is no JSON is a difference of its own class, by its ID; the others
// are compared.
func TestDocumentsThatAreUnreadable(t *testing.T) {
	t.Parallel()
	const partitions = 16
	w := newWorld(t)
	listed := map[string][]checksum.Document{}
	for side, index := range map[string]string{scan.Source: "a", scan.Dest: "b"} {
		w.fill(index, 2, 60, 1000)
		w.odd = map[string]string{}
		if side == scan.Source {
			w.odd = map[string]string{"7": "", "31": `{"n": ~}`}
		}
		s := w.scan(side, index)
		w.sum(s, partitions, 100)
		w.run.Facts.Digest.Walk += "'"
		at, err := s.List(t.Context(), scan.Want{}, w.Now().Add(time.Hour))
		require.NoError(t, err)
		require.True(t, at.Done)
		for n := range at.Parts {
			docs, err := scan.Listed(t.Context(), w, w.run, side, 0, n)
			require.NoError(t, err)
			listed[side] = append(listed[side], docs...)
		}
	}
	require.Greater(t, len(listed[scan.Source]), 50)
	require.Len(t, listed[scan.Dest], len(listed[scan.Source]))
	found := checksum.Diff(listed[scan.Source], listed[scan.Dest])
	require.Equal(t, []checksum.Difference{{ID: "31", Class: checksum.Unreadable}, {ID: "7", Class: checksum.Unreadable}}, found)
}

// A listing has what was asked for, once, wherever an invocation ends or fails.
func TestListings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill("a", 3, 3000, 10)
	failed := 0
	w.fail = func(row string) bool {
		failed++
		return failed%3 == 0
	}
	all := func(want scan.Want) map[string]bool {
		w.run.Facts.Digest.Walk += "'"
		s := w.scan(scan.Source, "a")
		s.Planned = []int64{1500, 1500, 1500}
		for range 1000 {
			at, err := s.List(t.Context(), want, w.Now().Add(2*time.Second))
			if err != nil {
				require.ErrorIs(t, err, errStored)
				continue
			}
			if !at.Done {
				continue
			}
			late := map[string]bool{}
			for n := range at.Parts {
				docs, err := scan.Listed(t.Context(), w, w.run, scan.Source, 0, n)
				require.NoError(t, err)
				for _, d := range docs {
					require.NotContains(t, late, d.ID)
					require.Equal(t, want.Detailed > 0 && checksum.Partition(d.ID, want.Of) == want.Partitions[0], d.Fields != nil)
					late[d.ID] = d.Late
				}
			}
			return late
		}
		t.Fatal("no end")
		return nil
	}
	late := all(scan.Want{})
	require.Len(t, late, 2700)
	written := 0
	for _, l := range late {
		if l {
			written++
		}
	}
	require.Greater(t, written, 50)
	require.Less(t, written, 1000)
	some := all(scan.Want{Partitions: []int{3, 60}, Of: 64, Detailed: 1})
	n := 0
	for id := range late {
		if p := checksum.Partition(id, 64); p == 3 || p == 60 {
			require.Contains(t, some, id)
			n++
		}
	}
	require.Len(t, some, n)
}

// A sample is drawn from all of an index, and by the walk's name: the same again for
// the same, with no document twice and each with what it says.
func TestSamples(t *testing.T) {
	t.Parallel()
	type seen struct {
		shard int
		id    string
	}
	draw := func(t *testing.T, w *world, walk string, s *scan.Scan) map[seen]checksum.Document {
		w.run.Facts.Digest.Walk = walk
		at, err := s.Sample(t.Context())
		require.NoError(t, err)
		require.True(t, at.Done)
		out := map[seen]checksum.Document{}
		for n := range at.Parts {
			docs, err := scan.Listed(t.Context(), w, w.run, s.Side, 0, n)
			require.NoError(t, err)
			for _, d := range docs {
				require.NotNil(t, d.Fields)
				require.NotContains(t, out, seen{d.Shard, d.ID})
				out[seen{d.Shard, d.ID}] = d
			}
		}
		require.EqualValues(t, at.Read, len(out))
		require.LessOrEqual(t, len(out), scan.Sampled)
		return out
	}
	t.Run("of many", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.fill("a", 3, 20_000, 10)
		s := w.scan(scan.Source, "a")
		s.Planned = []int64{2_000, 1 << 40} // none is known of the third
		one := draw(t, w, "1", s)
		require.Greater(t, len(one), scan.Sampled/2, "neighbours of some places are deleted, or written again")
		require.Equal(t, one, draw(t, w, "1", s))
		other := draw(t, w, "2", s)
		common, shards, late := 0, map[int]int{}, map[int]int{}
		for k, d := range one {
			if _, ok := other[k]; ok {
				common++
			}
			shards[d.Shard]++
			if d.Late {
				late[d.Shard]++
			}
		}
		require.Less(t, common, len(one)/2)
		require.Len(t, shards, 3)
		for shard := 1; shard <= 3; shard++ {
			require.Greater(t, shards[shard], 100)
		}
		require.Positive(t, late[1])
		require.Less(t, late[1], shards[1])
		require.Zero(t, late[2]+late[3])
		for _, size := range w.sizes {
			require.LessOrEqual(t, size, 40)
		}
	})
	t.Run("of few", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.ask("PUT", "/a", `{"settings":{"number_of_shards":1}}`)
		require.Empty(t, draw(t, w, "1", w.scan(scan.Source, "a")))
		// All lie before what was written again and again.
		var docs strings.Builder
		for i := range 30 {
			fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":1}\n", i)
		}
		for range 5000 {
			docs.WriteString("{\"index\":{\"_id\":\"x\"}}\n{}\n{\"delete\":{\"_id\":\"x\"}}\n")
		}
		w.ask("POST", "/a/_bulk?refresh=true", docs.String())
		require.Len(t, draw(t, w, "2", w.scan(scan.Source, "a")), 30)
		require.Less(t, w.pages, 25*8, "empty numbers are passed over")
	})
	t.Run("of shards that are not alike", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.ask("PUT", "/a", `{"settings":{"number_of_shards":5}}`)
		w.ask("PUT", "/a/_doc/1?refresh=true", `{"n":1}`)
		got := draw(t, w, "1", w.scan(scan.Source, "a"))
		require.Len(t, got, 1, "four of five shards have no number")
	})
	t.Run("of large ones", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.fill("a", 1, 20, 50_000)
		s := w.scan(scan.Source, "a")
		s.Bytes = 50_000
		require.Greater(t, len(draw(t, w, "1", s)), 9)
		require.Equal(t, 2, w.sizes[0])
	})
}
