package scan_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/scan"
)

var text = strings.Repeat("wealth ", 100)

// endless is an index of one shard whose documents are made as they are read,
// and a table that forgets. It looks at the live heap when the first pages have
// been read, and again at the end.
type endless struct {
	documents    int64
	pages        int
	bytes        int64
	early, after int64
}

func (e *endless) Stats(context.Context, string) (es.Stats, error) {
	return es.Stats{Operations: e.documents, MaxSeqNo: e.documents - 1, ShardSeqNos: []int64{e.documents - 1}}, nil
}

func (e *endless) Page(_ context.Context, _ string, _ json.RawMessage, w es.Window, size int, source bool) ([]es.Document, error) {
	e.pages++
	switch {
	case e.pages == 10:
		e.early = live()
	case w.Below == 0:
		e.after = live()
	}
	var out []es.Document
	for n := w.From; n < e.documents && len(out) < size && (w.Below == 0 || n < w.Below); n++ {
		d := es.Document{ID: fmt.Sprintf("document-%020d", n), SeqNo: n}
		if source {
			d.Source = fmt.Appendf(nil, `{"n":%d,"text":"%s","price":%d.50}`, n, text, n)
		}
		e.bytes += int64(len(d.ID) + len(d.Source))
		out = append(out, d)
	}
	return out, nil
}

func (e *endless) Documents(ctx context.Context, index string, _ int, ids []string, source bool) ([]es.Document, error) {
	panic("nobody asked for documents by ID")
}

func (*endless) PutPart(context.Context, string, string, any) error { return nil }
func (*endless) GetPart(context.Context, string, string, any) error { return run.ErrNotFound }

// live is how much of the heap is in use.
func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Whatever is read and listed, memory holds a few pages. Not parallel: the whole
// heap is counted.
func TestMemoryIsFlat(t *testing.T) {
	const documents = 100_000
	for name, read := range map[string]struct {
		content bool
		do      func(context.Context, *scan.Scan) (scan.Progress, error)
	}{
		"sums of content": {true, func(ctx context.Context, s *scan.Scan) (scan.Progress, error) {
			return s.Sum(ctx, 1<<12, time.Now().Add(time.Hour))
		}},
		"sums of IDs": {false, func(ctx context.Context, s *scan.Scan) (scan.Progress, error) {
			return s.Sum(ctx, 1<<12, time.Now().Add(time.Hour))
		}},
		"listed IDs": {false, func(ctx context.Context, s *scan.Scan) (scan.Progress, error) {
			return s.List(ctx, scan.Want{}, time.Now().Add(time.Hour))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := &endless{documents: documents}
			r := &run.Run{ID: "0123456789abcdef"}
			r.Facts.Digest = &facts.Digest{Walk: "1"}
			at, err := read.do(t.Context(), &scan.Scan{Reader: e, Rows: e, Now: time.Now, Run: r, Side: scan.Source, Index: "orders", Content: read.content})
			require.NoError(t, err)
			require.True(t, at.Done)
			require.EqualValues(t, documents, at.Read)
			require.Positive(t, e.early)
			require.Positive(t, e.after)
			require.Greater(t, e.bytes, int64(2<<20))
			require.Less(t, e.after-e.early, e.bytes/20, "of %d bytes read", e.bytes)
			t.Logf("%d pages, %d bytes, grew by %d", e.pages, e.bytes, e.after-e.early)
		})
	}
}
