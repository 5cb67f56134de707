package survey_test

import (
	"context"
	"eslink/shared/flow"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/shared/clusters"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/stepstest"
	"eslink/shared/steps/survey"
)

// world is a source with embedded nodes, and a run that surveys it.
type world struct {
	*stepstest.World
	nodes *elastic.Server
	user  string
	step  *survey.Step
	run   *run.Run
	// resolve, if set, is what the nodes answer to _resolve.
	resolve string
	closed  bool // what _stats says
	// answer, if set, is asked for an answer in the nodes' place; "" is none.
	answer func(path string) string
}

func newWorld(t *testing.T, indices ...events.Index) *world {
	w := &world{World: stepstest.New(t, 1), user: "elastic"}
	w.nodes = elastic.New(elastic.Config{Version: "7.10.2", Now: w.Now, Users: map[string]elastic.User{"elastic": elastic.Superuser("secret-1"),
		"some":  {Password: "secret-1", Cluster: []string{"monitor"}, Indices: []elastic.IndexPrivileges{{Names: []string{"logs-a*"}, Privileges: []string{"all"}}}},
		"blind": {Password: "secret-1", Indices: []elastic.IndexPrivileges{{Names: []string{"*"}, Privileges: []string{"all"}}}}}})
	t.Cleanup(w.nodes.Stop)
	w.step = &survey.Step{Clusters: w, Parts: w.Deps.Runs, Now: w.Now}
	w.run = w.Run("survey")
	w.run.Spec.Indices = indices
	return w
}

// Open opens the embedded nodes.
func (w *world) Open(context.Context, clusters.Side) (*es.Client, error) {
	return es.New(w, "http://src:9200", w.user, "secret-1")
}

// RoundTrip implements http.RoundTripper.
func (w *world) RoundTrip(q *http.Request) (*http.Response, error) {
	if w.closed && strings.HasSuffix(q.URL.Path, "/_stats") {
		return &http.Response{StatusCode: 400, Body: io.NopCloser(strings.NewReader(`{"error":{"type":"index_closed_exception","reason":"closed"}}`)), Request: q}, nil
	}
	if w.answer != nil {
		if a := w.answer(q.URL.Path); a != "" {
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(a)), Request: q}, nil
		}
	}
	if w.resolve == "" || !strings.HasPrefix(q.URL.Path, "/_resolve/") {
		return w.nodes.RoundTrip(q)
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(w.resolve)), Request: q}, nil
}

func (w *world) put(index, body string) {
	w.Helper()
	q := httptest.NewRequest(http.MethodPut, "/"+index, strings.NewReader(body))
	q.SetBasicAuth("elastic", "secret-1")
	q.Header.Set("Content-Type", "application/json")
	reply := httptest.NewRecorder()
	w.nodes.ServeHTTP(reply, q)
	require.Equal(w, http.StatusOK, reply.Code, reply.Body.String())
}

func (w *world) up() error {
	out, err := w.step.Up(w.Context(), w.run)
	if err == nil {
		require.True(w, out.IsDone())
	}
	return err
}

// finds expects these findings, each a field and part of its message.
func (w *world) finds(want ...string) {
	w.Helper()
	err := w.up()
	var p *events.Problem
	require.ErrorAs(w, err, &p)
	require.Len(w, p.Errors, len(want)/2, p.Error())
	for i, e := range p.Errors {
		require.Equal(w, want[2*i], e.Field)
		require.Contains(w, e.Message, want[2*i+1])
		require.NotEmpty(w, e.Remedy)
	}
	require.Nil(w, w.run.Facts.Survey, "the next walk looks again")
}

func TestWhatPatternsMean(t *testing.T) {
	t.Parallel()
	w := newWorld(t, events.Index{Source: "orders", Dest: "orders"},
		events.Index{Include: events.Patterns{"logs-*", "logs-a1"}, Exclude: events.Patterns{"logs-b*"}, Rename: &events.Rename{From: "logs-(.*)", To: "old-$1"}})
	w.put("orders", `{"aliases":{"logs-of-orders":{}}}`)
	w.put("logs-a1", `{}`)
	w.put("logs-a2", `{}`)
	w.put("logs-b1", `{}`)
	w.put("logs-h", `{"settings":{"index.hidden":true}}`)
	w.put(".logs-x", `{}`)
	require.NoError(t, w.up())
	s := w.run.Facts.Survey
	require.Equal(t, w.Now(), s.At, "what is written later is told by that")
	want := []facts.Chosen{{Entry: 0, Source: "orders", Dest: "orders"}, {Entry: 1, Source: "logs-a1", Dest: "old-a1"}, {Entry: 1, Source: "logs-a2", Dest: "old-a2"}}
	require.Equal(t, want, s.Chosen)
	require.Equal(t, []string{"hidden index logs-h"}, s.Passed)
	require.Len(t, s.Indices, 3)
	require.Equal(t, "old-a2", s.Indices[2].Dest)
	for i, ix := range s.Indices {
		var def es.Definition
		require.NoError(t, w.Deps.Runs.GetPart(t.Context(), w.run.ID, survey.Part(i), &def))
		require.Contains(t, string(def.Settings), ix.Source)
	}
	last := w.run.Timeline[len(w.run.Timeline)-1]
	require.Equal(t, "passed over: hidden index logs-h", last.What+": "+last.Reason)

	// Later walks go on with the same, and say if one is gone.
	w.put("logs-a3", `{}`)
	require.NoError(t, w.up())
	require.Equal(t, want, w.run.Facts.Survey.Chosen)
	require.Equal(t, s.Passed, w.run.Facts.Survey.Passed)
	w.run.Facts.Survey.Chosen[2].Source = "logs-gone"
	require.ErrorContains(t, w.up(), "there is no index logs-gone")
}

// What cannot be copied is passed over by a line, and what is left must be
// something.
func TestWhatPatternsPassOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, events.Index{Include: events.Patterns{"*"}, Exclude: events.Patterns{"no*"}})
	w.put("a", `{}`)
	w.resolve = `{"indices":[
		{"name":".kibana_1","attributes":["open"]},{"name":"sys","attributes":["open","system"]},{"name":"c","attributes":["closed"]},
		{"name":"f","attributes":["frozen","open"]},{"name":"h","attributes":["hidden","open"]},{"name":"no","attributes":["closed"]},
		{"name":".ds-s-1","attributes":["hidden","open"],"data_stream":"s"}%s],"aliases":[],"data_streams":[{"name":"s"},{"name":"nos"}]}`
	all := w.resolve
	w.resolve = fmt.Sprintf(all, `,{"name":"a","attributes":["open"]}`)
	require.NoError(t, w.up())
	require.Equal(t, []facts.Chosen{{Entry: 0, Source: "a", Dest: "a"}}, w.run.Facts.Survey.Chosen)
	require.Equal(t, []string{"closed index c", "data stream s", "frozen index f", "hidden index h", "system index .kibana_1", "system index sys"}, w.run.Facts.Survey.Passed)

	w.run.Facts.Survey = nil
	w.resolve = fmt.Sprintf(all, "")
	w.finds("indices[0].include", "* matches no index that can be copied, only data stream s, system index .kibana_1")

	// What two patterns pass over is told once, and only some of it as a reason.
	w.run.Spec.Indices[0].Include = events.Patterns{"*", "a*"}
	w.resolve = fmt.Sprintf(all, `,{"name":"a","attributes":["open"]}`)
	require.NoError(t, w.up())
	require.Len(t, w.run.Facts.Survey.Passed, 6)
	w.run.Facts.Survey = nil
	w.run.Spec.Indices[0].Include = events.Patterns{"*"}
	w.resolve = fmt.Sprintf(all, strings.Repeat(`,{"name":"d","attributes":["closed"]}`, 20))
	var p *events.Problem
	require.ErrorAs(t, w.up(), &p)
	require.Equal(t, 10, strings.Count(p.Errors[0].Message, ","), p.Errors[0].Message)

	var many []string
	for i := range events.MaxIndices + 1 {
		many = append(many, fmt.Sprintf(`{"name":"i%d","attributes":["open"]}`, i), fmt.Sprintf(`{"name":"c%d","attributes":["closed"]}`, i))
	}
	w.resolve = `{"indices":[` + strings.Join(many, ",") + `]}`
	w.finds("indices", "201 indices")
	for i := range many {
		w.put(fmt.Sprintf("i%d", i), `{}`)
	}
	w.resolve = `{"indices":[` + strings.Join(many[2:], ",") + `]}`
	require.NoError(t, w.up())
	require.Len(t, w.run.Facts.Survey.Indices, events.MaxIndices)
	require.Len(t, w.run.Facts.Survey.Passed, 50)
	require.Equal(t, "and 151 more", w.run.Facts.Survey.Passed[49])
}

func TestPatternsThatCannotBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, events.Index{Include: events.Patterns{"logs-*", "nosuch-*", "none"}})
	w.put("logs-a", `{}`)
	w.put("logs-b", `{}`)
	w.finds("indices[0].include", "nosuch-* matches no index", "indices[0].include", "none matches no index")

	ix := &w.run.Spec.Indices[0]
	ix.Include = events.Patterns{"logs-*"}
	ix.Rename = &events.Rename{From: "logs-(a)", To: "old-$1"}
	w.finds("indices[0].rename.from", "it does not match logs-b")
	ix.Rename = &events.Rename{From: "logs-(.)", To: "old"}
	w.finds("indices[0]", "old is the dest of logs-a and of logs-b")
	ix.Rename = &events.Rename{From: "(logs)(-.)", To: "$2"}
	w.finds("indices[0].rename.to", "\"-a\"", "indices[0].rename.to", "\"-b\"")
	ix.Rename = nil
	w.run.Spec.Indices = append(w.run.Spec.Indices, events.Index{Source: "orders", Dest: "logs-a"})
	w.finds("indices[1]", "logs-a is the dest of logs-a and of orders")

	// A user who sees some of what a pattern means would not see that it is some.
	w.run.Spec.Indices = w.run.Spec.Indices[:1]
	w.user = "some"
	err := w.up()
	require.ErrorContains(t, err, "lacks the privilege read on logs-*")
	w.run.Spec.Indices[0].Include = events.Patterns{"logs-a*"}
	w.user = "blind"
	require.ErrorContains(t, w.up(), "lacks the privilege monitor on ")
	w.user = "some"
	require.NoError(t, w.up())

	// What is wrong with one that was found is said of the entry.
	w.run.Facts.Survey, w.user = nil, "elastic"
	w.put("bare", `{"mappings":{"_source":{"enabled":false}}}`)
	w.run.Spec.Indices = append(w.run.Spec.Indices, events.Index{Include: events.Patterns{"bare*"}})
	w.finds("indices[1].include", "bare has _source disabled")
}

// Of a red source nobody knows what is in it: that is a risk, and who takes it
// still has to wait until what is copied can be read.
func TestASourceThatIsRed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, events.Index{Source: "a", Dest: "a"}, events.Index{Source: "b", Dest: "b"})
	w.put("a", `{}`)
	w.put("b", `{}`)
	w.answer = func(path string) string {
		switch path {
		case "/_cluster/health":
			return `{"status":"red"}`
		case "/a/_count":
			return `{"count":0,"_shards":{"total":1,"successful":0}}`
		}
		return ""
	}
	w.finds("target.instanceId", "red")
	w.run.Spec.AcceptRisks = []string{"not-green"}
	require.ErrorContains(t, w.up(), "only 0 of 1 shards answer")
	require.Nil(t, w.run.Facts.Survey)
	w.answer = func(path string) string {
		if path == "/_cluster/health" {
			return `{"status":"red"}`
		}
		return ""
	}
	require.NoError(t, w.up())
	require.Len(t, w.run.Facts.Survey.Indices, 2)
}

// What is wrong with each index is told, of all of them at once; what they hold
// is counted under the query and without.
func TestWhatIndicesHold(t *testing.T) {
	t.Parallel()
	few := events.Index{Source: "a", Dest: "x", Query: []byte(`{"term":{"n":1}}`)}
	w := newWorld(t, few)
	w.put("a", `{"settings":{"number_of_shards":2,"refresh_interval":"7s"},"aliases":{"nick":{}},"mappings":{"properties":{"n":{"type":"long"}}}}`)
	for i := range 3 {
		q := httptest.NewRequest(http.MethodPut, fmt.Sprintf("/a/_doc/%d?refresh=true", i), strings.NewReader(fmt.Sprintf(`{"n":%d}`, i)))
		q.SetBasicAuth("elastic", "secret-1")
		q.Header.Set("Content-Type", "application/json")
		w.nodes.ServeHTTP(httptest.NewRecorder(), q)
	}
	require.NoError(t, w.up())
	ix := w.run.Facts.Survey.Indices[0]
	require.EqualValues(t, []int64{1, 3}, []int64{ix.Documents, ix.Total})
	require.Equal(t, "7s", ix.Refresh)
	require.Equal(t, []string{"nick"}, ix.Aliases)
	require.Len(t, ix.ShardSeqNos, 2)
	require.Regexp(t, "^.+/3$", ix.State)
	require.Empty(t, w.run.Facts.Survey.Chosen, "without a pattern nothing is chosen")
	for _, e := range w.run.Timeline {
		require.NotEqual(t, "passed over", e.What)
	}

	w.run.Facts.Survey = nil
	few.Query = []byte(`{"nonsense":{}}`)
	w.run.Spec.Indices = []events.Index{{Source: "nick", Dest: "n"}, {Source: "absent", Dest: "b"}, few}
	w.finds("indices[0].source", "nick is an alias", "indices[1].source", "there is no index absent", "indices[2].query", "nonsense")

	// A plain name beside a pattern is called by its own field.
	w.run.Spec.Indices = []events.Index{{Source: "bare", Dest: "bare"}, {Include: events.Patterns{"a"}}}
	w.put("bare", `{"mappings":{"_source":{"enabled":false}}}`)
	w.finds("indices[0].source", "bare has _source disabled")

	// What the user may not do is all that is told.
	w.user = "some"
	w.run.Spec.Indices = []events.Index{{Source: "absent", Dest: "b"}}
	w.finds("secrets.target", "monitor on absent", "secrets.target", "read on absent", "secrets.target", "view_index_metadata on absent")

	// Nothing is copied, and so nobody is asked.
	w.nodes.Stop()
	w.run.Spec = events.Spec{Scenario: flow.ESToECS, UseCases: []events.UseCase{{Kind: events.Watcher}}}
	require.NoError(t, w.up())
	require.Empty(t, w.run.Facts.Survey.Indices)
}

// An index that is closed while it is looked at is told so.
func TestAnIndexThatIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, events.Index{Source: "a", Dest: "a"})
	w.put("a", `{}`)
	w.closed = true
	w.finds("indices[0].source", "a is closed")
}

// A definition is kept whole, whatever its size; one that is too large to be read
// is a finding.
func TestLargeDefinitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, events.Index{Source: "wide", Dest: "wide"})
	var fields []string
	for i := range 4_000 {
		fields = append(fields, fmt.Sprintf(`"field_%0250d":{"type":"text","fields":{"keyword":{"type":"keyword","ignore_above":256}}}`, i))
	}
	mappings := `{"properties":{` + strings.Join(fields, ",") + `}}`
	require.Greater(t, len(mappings), 1_300_000)
	w.put("wide", `{"settings":{"index.mapping.total_fields.limit":100000},"mappings":`+mappings+`}`)
	require.NoError(t, w.up())
	var def es.Definition
	require.NoError(t, w.Deps.Runs.GetPart(t.Context(), w.run.ID, survey.Part(0), &def))
	require.JSONEq(t, mappings, string(def.Mappings))

	w.run.Facts.Survey = nil
	w.answer = func(path string) string {
		if path == "/wide" {
			return `{"wide":"` + strings.Repeat("x", 25<<20) + `"}`
		}
		return ""
	}
	w.finds("indices[0].source", "more than the 24 MB")
}
