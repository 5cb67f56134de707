// The race detector copies by itself.

//go:build !race

package es_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/es"
)

// A document that has a page to itself is held twice while it is decoded, as it
// came and by itself, and no more. The server packs its replies as
// Elasticsearch does, if it may. Not parallel: all that the process allocates is
// counted.
func TestLargeDocumentsAreHeldTwice(t *testing.T) {
	const size = 32 << 20
	reply := []byte(`{"timed_out":false,"_shards":{"total":1,"successful":1},"hits":{"hits":[{"_id":"1","_source":{"text":"` + strings.Repeat("x", size) + `"},"sort":[7]}]}}`)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer z.Close()
			_, _ = z.Write(reply)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(reply)))
		_, _ = w.Write(reply)
	}))
	defer s.Close()
	c, err := es.New(http.DefaultTransport, s.URL, "", "")
	require.NoError(t, err)

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	docs, err := c.Page(t.Context(), "orders", nil, es.Window{}, 1, true)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.Len(t, docs, 1)
	require.Greater(t, len(docs[0].Source), size)
	require.Less(t, float64(after.TotalAlloc-before.TotalAlloc), 2.2*size)
}
