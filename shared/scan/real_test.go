//go:build real && unix

package scan_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/realserver"
	"eslink/shared/checksum"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/scan"
)

// TestReal has a real server copy to itself through its own remote _reindex, and
// proves the copy: whole, then with one document edited.
func TestReal(t *testing.T) {
	require.NoError(t, realserver.Check())
	for _, version := range realserver.Versions {
		t.Run(version, func(t *testing.T) {
			d, err := realserver.Prepare(t.Context(), version, "")
			require.NoError(t, err)
			s, err := realserver.Start(t.Context(), realserver.Options{Distribution: d, Name: "both", Settings: map[string]string{"reindex.remote.whitelist": "127.0.0.1:*"}})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, s.Stop()) })
			w := &world{t: t, now: time.Now()}
			w.Client, err = es.New(http.DefaultTransport, s.URL(), "", "")
			require.NoError(t, err)
			w.store = &run.Store{Driver: &run.Mem{}, Now: time.Now}
			w.run = &run.Run{ID: "0123456789abcdef"}
			w.run.Facts.Digest = &facts.Digest{Walk: "1"}

			const n = 20_000
			ask := func(method, path, body string) []byte {
				req, err := http.NewRequest(method, s.URL()+path, strings.NewReader(body))
				require.NoError(t, err)
				req.Header.Set("Content-Type", "application/json")
				resp, err := http.DefaultClient.Do(req)
				require.NoError(t, err)
				defer resp.Body.Close()
				raw, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Less(t, resp.StatusCode, 300, "%s %s", path, raw)
				return raw
			}
			mappings := `"mappings":{"properties":{"n":{"type":"long"},"nested":{"type":"nested"}}}`
			ask("PUT", "/a", `{"settings":{"number_of_shards":3,"number_of_replicas":0},`+mappings+`}`)
			ask("PUT", "/b", `{"settings":{"number_of_shards":2,"number_of_replicas":0},`+mappings+`}`)
			var docs strings.Builder
			random := rand.New(rand.NewPCG(1, 2))
			for round := range 2 {
				for i := range n {
					if round == 1 && i%3 > 0 {
						continue
					}
					routing := ""
					if i%7 == 0 {
						routing = `,"routing":"r"`
					}
					price := fmt.Sprint(random.Float64() * 1e-9)
					if i == 5 {
						price = "0.1234567890123456789"
					}
					fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%d\"%s}}\n{\"n\":%d,\"big\":9007199254740993,\"price\":%s,\"a\":1.10,\"e\":1e3,\"round\":%d,\"text\":\"\\u00e9\\ud83d\\ude00/\\n\",\"nested\":[{\"b\":1},{\"b\":2}]}\n",
						i, routing, i, price, round)
				}
			}
			for i := 0; i < n; i += 10 {
				routing := ""
				if i%7 == 0 {
					routing = `,"routing":"r"`
				}
				fmt.Fprintf(&docs, "{\"delete\":{\"_id\":\"%d\"%s}}\n", i, routing)
			}
			var bulk struct{ Errors bool }
			require.NoError(t, json.Unmarshal(ask("POST", "/a/_bulk?refresh=true", docs.String()), &bulk))
			require.False(t, bulk.Errors)
			ask("POST", "/_reindex?refresh=true", `{"source":{"remote":{"host":"`+s.URL()+`"},"index":"a"},"dest":{"index":"b"}}`)

			compare := func() (unequal []int, found []checksum.Difference) {
				w.run.Facts.Digest.Walk += "'"
				source, dest := w.scan(scan.Source, "a"), w.scan(scan.Dest, "b")
				began := time.Now()
				w.sum(source, 256, 1000)
				took := time.Since(began)
				w.sum(dest, 256, 1000)
				unequal, a, b, err := scan.Compare(t.Context(), w, w.run, 0)
				require.NoError(t, err)
				require.EqualValues(t, n*9/10, a.Documents())
				require.Equal(t, a.Documents(), b.Documents())
				t.Logf("%.0f documents a second in %d pages", float64(a.Documents())/took.Seconds(), w.pages)
				listed := map[*scan.Scan][]checksum.Document{}
				for _, side := range []*scan.Scan{source, dest} {
					at, err := side.List(t.Context(), scan.Want{Partitions: unequal, Of: 256, Detailed: 256}, w.Now().Add(time.Hour))
					require.NoError(t, err)
					require.True(t, at.Done)
					for part := range at.Parts {
						docs, err := scan.Listed(t.Context(), w, w.run, side.Side, 0, part)
						require.NoError(t, err)
						listed[side] = append(listed[side], docs...)
					}
				}
				return unequal, checksum.Diff(listed[source], listed[dest])
			}
			_, found := compare()
			five := false
			for _, d := range found {
				require.Equal(t, checksum.Precision, d.Class)
				require.Equal(t, []string{"price"}, d.Fields)
				five = five || d.ID == "5"
			}
			require.True(t, five)
			t.Logf("%d of %d documents have decimals that are printed otherwise", len(found), n)

			ask("PUT", "/b/_doc/17?refresh=true", `{"n":17}`)
			unequal, found := compare()
			require.Equal(t, checksum.Partition("17", 256), unequal[0])
			named := false
			for _, d := range found {
				if d.Class != checksum.Precision {
					require.Equal(t, checksum.Difference{ID: "17", Class: checksum.Differs, Fields: []string{"a", "big", "e", "nested[0].b", "nested[1].b", "price", "round", "text"}}, d)
					named = true
				}
			}
			require.True(t, named)
		})
	}
}
