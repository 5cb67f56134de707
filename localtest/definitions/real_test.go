//go:build real && unix

package definitions

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/realserver"
	"eslink/shared/facts"
)

// TestRealDefinitions runs all cases on real servers, and those that the embedded
// one does not know.
func TestRealDefinitions(t *testing.T) {
	require.NoError(t, realserver.Check())
	for _, version := range []string{"7.17.29", "7.10.2"} {
		t.Run(version, func(t *testing.T) {
			d, err := realserver.Prepare(t.Context(), version, "")
			require.NoError(t, err)
			s, err := realserver.Start(t.Context(), realserver.Options{Distribution: d, Name: "definitions", Password: map[string]string{"7.17.29": password}[version], Heap: "512m"})
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Stop()) }()
			open := func(t *testing.T) *world {
				return &world{T: t, url: s.URL(), transport: unsecured{version == "7.10.2"}, version: version}
			}
			for name, test := range definitions {
				t.Run(name, func(t *testing.T) { test(open(t)) })
			}
			t.Run("every setting goes along", func(t *testing.T) { everySetting(open(t)) })
			t.Run("more queries", func(t *testing.T) {
				w := open(t)
				w.ask(`PUT /qq {"mappings":{"properties":{"n":{"type":"long"}}}}`)
				w.ask(`PUT /qq/_doc/1?refresh=true {"n":1}`)
				for name, query := range map[string]string{
					"script that throws":     `{"script":{"script":"throw new Exception('x')"}}`,
					"script that is no code": `{"script":{"script":"not code ("}}`,
					"too many clauses":       `{"bool":{"should":[` + strings.Repeat(`{"term":{"n":1}},`, 5000) + `{"term":{"n":1}}]}}`,
				} {
					w.begin(events.Index{Source: "qq", Dest: "qq-copy", Query: json.RawMessage(query)})
					err := w.until("survey")
					var p *events.Problem
					require.ErrorAs(t, err, &p, name)
					require.Equal(t, "indices[0].query", p.Errors[0].Field, name)
					t.Log(name, p.Errors[0].Message)
				}
			})
			t.Run("a pipeline that is not there", func(t *testing.T) {
				w := open(t)
				w.ask(`PUT /pp`)
				w.begin(events.Index{Source: "pp", Dest: "pp-copy", Destination: events.Destination{Settings: json.RawMessage(`{"default_pipeline":"nope"}`)}})
				w.finds("which es-cn-1 does not have")
				w.ask(`PUT /_ingest/pipeline/there {"processors":[]}`)
				w.begin(events.Index{Source: "pp", Dest: "pp-copy", Destination: events.Destination{Settings: json.RawMessage(`{"default_pipeline":"there"}`)}})
				require.NoError(t, w.until("destination"))
			})
		})
	}
}

// unsecured answers in the place of a server without X-Pack that nothing is
// lacking, if it is one.
type unsecured struct{ is bool }

func (u unsecured) RoundTrip(q *http.Request) (*http.Response, error) {
	if u.is && strings.HasSuffix(q.URL.Path, "/_has_privileges") {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(`{"cluster":{},"index":{}}`)), Request: q}, nil
	}
	return http.DefaultTransport.RoundTrip(q)
}

func everySetting(w *world) {
	w.ask(`PUT /aer {"settings":{"auto_expand_replicas":"0-1","refresh_interval":"7s","search":{"slowlog":{"threshold":{"query":{"warn":"1s"}}},"idle":{"after":"40s"}},"merge.scheduler.max_thread_count":1,
			"max_result_window":200,"sort":{"field":["n","k"],"order":["desc","asc"]},"number_of_routing_shards":4,"number_of_shards":2,"codec":"best_compression","allocation.max_retries":7,"gc_deletes":"2m",
			"analysis":{"analyzer":{"a":{"type":"custom","tokenizer":"standard","filter":["s"]}},"filter":{"s":{"type":"stop","stopwords":["x","y"]}}},"blocks.write":true,"priority":5},
			"mappings":{"dynamic":false,"_routing":{"required":true},"dynamic_templates":[{"t":{"match":"*_t","mapping":{"type":"text"}}}],"properties":{"n":{"type":"long","coerce":false},"k":{"type":"keyword"},"o":{"type":"object","enabled":false},"t":{"type":"text","analyzer":"a","fields":{"raw":{"type":"keyword","ignore_above":10}}}}},
			"aliases":{"nick":{"filter":{"term":{"n":1}}}}}`)
	w.begin(events.Index{Source: "aer", Dest: "aer-copy"})
	require.ErrorContains(w, w.until("destination"), "alias nick leads to index aer", "source and destination are one here")
	w.begin(events.Index{Source: "aer", Dest: "aer-copy", Destination: events.Destination{Aliases: "none"}})
	require.NoError(w, w.until("destination"))
	require.Equal(w, []facts.DroppedSetting{{Setting: "blocks.write", Because: "it would keep the copy from being written or read: set it after the run", Indices: []string{"aer-copy"}}}, w.run.Plan.NotCarriedOver)
	require.Equal(w, w.run.Plan.NotCarriedOver, w.run.Facts.Destination.NotCarriedOver)
	require.True(w, w.run.Facts.Destination.Indices[0].AsWanted)
	require.Contains(w, w.ask(`GET /aer-copy/_settings?flat_settings=true`), `"index.auto_expand_replicas":"0-1"`)
}
