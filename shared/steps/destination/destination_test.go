package destination_test

import (
	"context"
	"encoding/json"
	"errors"
	"eslink/shared/flow"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/shared/clusters"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/destination"
	"eslink/shared/steps/survey"
)

// world is a destination, and a run that makes its indices.
type world struct {
	*testing.T
	nodes *elastic.Server
	store *run.Store
	step  *destination.Step
	run   *run.Run
	// meet, if set, is called before a request; an error it returns is the reply's.
	meet func(method, path string) error
	// lose, if set, is called after one.
	lose func(method, path string) error
}

func newWorld(t *testing.T, indices ...events.Index) *world {
	w := &world{T: t, store: &run.Store{Driver: &run.Mem{}, Now: time.Now}}
	w.nodes = elastic.New(elastic.Config{Version: "7.10.2", Nodes: 2})
	t.Cleanup(w.nodes.Stop)
	w.step = &destination.Step{Clusters: w, Parts: w.store}
	w.run = &run.Run{ID: "0123456789abcdef", Generation: 1, Direction: run.Up}
	w.run.Spec.Indices = indices
	w.run.Facts = facts.Facts{Preflight: &facts.Preflight{}, Survey: &facts.Survey{}}
	for i, ix := range indices {
		w.run.Facts.Survey.Indices = append(w.run.Facts.Survey.Indices, facts.SurveyedIndex{Source: ix.Source, Dest: ix.Dest})
		require.NoError(t, w.store.PutPart(t.Context(), w.run.ID, survey.Part(i), es.Definition{
			Settings: []byte(`{"number_of_shards":"3","number_of_replicas":"1","uuid":"theirs","refresh_interval":"5s"}`), Mappings: []byte(`{"properties":{"n":{"type":"long"}}}`),
			Aliases: map[string]json.RawMessage{"all": []byte(`{}`), ix.Dest: []byte(`{}`)}}))
	}
	return w
}

// created is what the run's create says of its first index.
const created = `{"settings":{"number_of_shards":"3","number_of_replicas":"1","refresh_interval":"5s"},"mappings":{"properties":{"n":{"type":"long"}}},"aliases":{"all":{}}}`

// Open opens the nodes.
func (w *world) Open(context.Context, clusters.Side) (*es.Client, error) {
	return es.New(w, "http://dst:9200", "", "")
}

// RoundTrip implements http.RoundTripper.
func (w *world) RoundTrip(q *http.Request) (*http.Response, error) {
	if w.meet != nil {
		if err := w.meet(q.Method, q.URL.Path); err != nil {
			return nil, err
		}
	}
	resp, err := w.nodes.RoundTrip(q)
	if w.lose != nil && err == nil {
		if err := w.lose(q.Method, q.URL.Path); err != nil {
			return nil, err
		}
	}
	return resp, err
}

func (w *world) ask(method, path, body string) string {
	w.Helper()
	q := httptest.NewRequest(method, path, strings.NewReader(body))
	q.Header.Set("Content-Type", "application/json")
	reply := httptest.NewRecorder()
	w.nodes.ServeHTTP(reply, q)
	require.Less(w, reply.Code, 300, "%s %s: %s", method, path, reply.Body)
	return reply.Body.String()
}

func (w *world) there(index string) bool {
	q := httptest.NewRequest(http.MethodHead, "/"+index, nil)
	reply := httptest.NewRecorder()
	w.nodes.ServeHTTP(reply, q)
	return reply.Code == http.StatusOK
}

func (w *world) once() (engine.Outcome, error) { return w.step.Up(w.Context(), w.run) }

func (w *world) up() {
	w.Helper()
	for range 3 {
		out, err := w.once()
		require.NoError(w, err)
		if out.IsDone() {
			return
		}
	}
	w.Fatal("no end")
}

func (w *world) down() {
	w.Helper()
	w.run.DeleteDestination = true
	out, err := w.step.Down(w.Context(), w.run)
	require.NoError(w, err)
	require.True(w, out.IsDone())
}

func (w *world) index(i int) facts.DestinationIndex { return w.run.Facts.Destination.Indices[i] }

func orders() events.Index {
	return events.Index{Source: "orders", Dest: "orders", Destination: events.Destination{Mappings: []byte(`"source"`)}}
}

// Nothing is created before the record says that it will be.
func TestTheIntentIsSavedFirst(t *testing.T) {
	t.Parallel()
	more := orders()
	more.Source, more.Dest = "more", "more"
	w := newWorld(t, orders(), more)
	w.ask(http.MethodPut, "/more", "")
	out, err := w.once()
	require.NoError(t, err)
	require.False(t, out.IsDone(), "one of them is to be made")
	require.False(t, w.there("orders"))
	require.True(t, w.index(0).Creating)
	w.up()
	require.True(t, w.index(0).Created)
	require.False(t, w.index(0).Creating)
	require.False(t, w.index(1).Created)
	require.Len(t, w.run.Facts.Destination.Indices, 2)
	require.Contains(t, w.ask(http.MethodGet, "/orders/_settings", ""), `"number_of_shards":"3"`)
	require.Contains(t, w.ask(http.MethodGet, "/orders/_mapping", ""), `"long"`)
	require.JSONEq(t, `{"orders":{"aliases":{"all":{}}}}`, w.ask(http.MethodGet, "/orders/_alias", ""))
	w.down()
	require.False(t, w.there("orders"))
	require.True(t, w.there("more"))
	require.Nil(t, w.run.Facts.Destination)
}

// As the spec says: settings of its own on top, mappings of its own or none,
// and no aliases if they are left out.
func TestAsTheSpecSays(t *testing.T) {
	t.Parallel()
	own, bare := orders(), orders()
	own.Destination = events.Destination{Mappings: []byte(`{"properties":{"n":{"type":"integer"}}}`), Settings: []byte(`{"number_of_shards":2}`), Aliases: "none"}
	bare.Source, bare.Dest, bare.Destination = "bare", "bare", events.Destination{Mappings: []byte(`"none"`), Settings: []byte(`{"number_of_shards":4}`)}
	w := newWorld(t, own, bare)
	w.up()
	require.Contains(t, w.ask(http.MethodGet, "/orders/_mapping", ""), `"integer"`)
	settings := w.ask(http.MethodGet, "/orders/_settings", "")
	require.Contains(t, settings, `"number_of_shards":"2"`)
	require.NotContains(t, settings, "refresh_interval")
	require.JSONEq(t, `{"orders":{"aliases":{}}}`, w.ask(http.MethodGet, "/orders/_alias", ""))
	require.JSONEq(t, `{"bare":{"mappings":{}}}`, w.ask(http.MethodGet, "/bare/_mapping", ""))
	require.Contains(t, w.ask(http.MethodGet, "/bare/_settings", ""), `"number_of_shards":"4"`)
}

// A creation that may have happened is believed to be ours, wherever it broke
// off, and is deleted with the rest when that is asked.
func TestCreationsThatBreakOff(t *testing.T) {
	t.Parallel()
	away := errors.New("connection reset")
	for name, c := range map[string]struct {
		spoil func(w *world)
		err   string
	}{
		"before it is sent": {func(w *world) {
			w.meet = func(method, _ string) error {
				if method == http.MethodPut {
					w.meet = nil
					return away
				}
				return nil
			}
		}, "connection reset"},
		"its reply is lost": {func(w *world) {
			w.lose = func(method, _ string) error {
				if method == http.MethodPut {
					w.lose = nil
					return away
				}
				return nil
			}
		}, "connection reset"},
		"its look is lost": {func(w *world) {
			made := false
			w.lose = func(method, _ string) error {
				if made {
					w.lose = nil
					return away
				}
				made = method == http.MethodPut
				return nil
			}
		}, "connection reset"},
		"it comes while another one is on its way": {func(w *world) {
			w.meet = func(method, _ string) error {
				if method == http.MethodPut {
					w.meet = nil
					w.ask(http.MethodPut, "/orders", created)
				}
				return nil
			}
		}, ""},
	} {
		for _, torn := range []bool{false, true} {
			w := newWorld(t, orders())
			_, err := w.once()
			require.NoError(t, err)
			c.spoil(w)
			if _, err = w.once(); c.err != "" {
				require.ErrorContains(t, err, c.err, name)
				require.True(t, w.index(0).Creating, name)
			}
			if !torn {
				w.up()
				require.True(t, w.index(0).Created, name)
				require.False(t, w.index(0).Creating, name)
				require.NotEmpty(t, w.index(0).UUID)
				require.True(t, w.there("orders"))
			}
			w.down()
			require.False(t, w.there("orders"), name)
		}
	}
}

// Somebody who makes the index between our look and our request, and writes to it,
// keeps it.
func TestSomebodyIsFaster(t *testing.T) {
	t.Parallel()
	for _, refused := range []bool{false, true} {
		for _, torn := range []bool{false, true} {
			ix := orders()
			if refused {
				ix.Existing = events.Refuse
			}
			w := newWorld(t, ix)
			_, err := w.once()
			require.NoError(t, err)
			w.meet = func(method, _ string) error {
				if method == http.MethodPut {
					w.meet = nil
					w.ask(http.MethodPut, "/orders", `{"settings":{"refresh_interval":"-1"}}`)
					w.ask(http.MethodPut, "/orders/_doc/1", `{}`)
				}
				return nil
			}
			_, err = w.once()
			require.NoError(t, err)
			require.True(t, w.index(0).Creating, "it may be ours")
			switch {
			case torn:
			case refused:
				_, err = w.once()
				require.ErrorContains(t, err, "indices[0].existing")
			default:
				w.up()
				require.Equal(t, int64(1), w.index(0).Before)
				require.NotEmpty(t, w.index(0).UUID)
			}
			require.False(t, w.index(0).Created)
			w.down()
			require.True(t, w.there("orders"))
		}
	}
}

// The time of an invocation that runs out while it creates says nothing of
// whether it has.
func TestCreationThatRunsOutOfTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, orders())
	_, err := w.once()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	w.lose = func(method, _ string) error {
		if method == http.MethodPut {
			w.lose = nil
			cancel()
			return context.Canceled
		}
		return nil
	}
	_, err = w.step.Up(ctx, w.run)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, w.index(0).Creating)
	w.down()
	require.False(t, w.there("orders"))
}

// A refusal leaves nothing behind, and what is made by hand then is somebody's.
func TestCreationThatIsRefused(t *testing.T) {
	t.Parallel()
	ix := orders()
	ix.Destination.Settings = []byte(`{"number_of_shards":0}`)
	w := newWorld(t, ix)
	_, err := w.once()
	require.NoError(t, err)
	_, err = w.once()
	var p *events.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, "indices[0].destination", p.Errors[0].Field)
	require.Contains(t, p.Errors[0].Message, "number_of_shards")
	require.False(t, w.index(0).Creating)
	w.ask(http.MethodPut, "/orders", "")
	w.up()
	require.False(t, w.index(0).Created)
	w.down()
	require.True(t, w.there("orders"))
}

// What was there before us is counted, refreshed or not, and what was copied
// into one that is gone is forgotten.
func TestIndicesThatComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, orders())
	w.ask(http.MethodPut, "/orders", `{"settings":{"refresh_interval":"-1"}}`)
	w.ask(http.MethodPut, "/orders/_doc/1", `{}`)
	state := func(s string) {
		w.run.Facts.Reindex = &facts.Reindex{Tasks: []facts.Task{{Source: "orders", Dest: "orders", SourceState: s}}}
	}
	state("first")
	w.up()
	require.EqualValues(t, 1, w.index(0).Before)
	require.False(t, w.index(0).Created)
	require.Equal(t, "first", w.run.Facts.Reindex.Tasks[0].SourceState, "nothing was there to be copied into before")
	w.ask(http.MethodPut, "/orders/_doc/2?refresh=true", `{}`)
	w.up()
	require.EqualValues(t, 1, w.index(0).Before, "this is what was copied")

	// Recreated by somebody else.
	w.ask(http.MethodDelete, "/orders", "")
	w.ask(http.MethodPut, "/orders", "")
	w.up()
	require.Zero(t, w.index(0).Before)
	require.Empty(t, w.run.Facts.Reindex.Tasks[0].SourceState)

	// Deleted, and so made by us; then recreated by somebody else.
	state("second")
	w.ask(http.MethodDelete, "/orders", "")
	w.up()
	require.True(t, w.index(0).Created)
	require.Empty(t, w.run.Facts.Reindex.Tasks[0].SourceState)
	w.up()
	require.True(t, w.index(0).Created)
	w.ask(http.MethodDelete, "/orders", "")
	w.ask(http.MethodPut, "/orders", "")
	w.up()
	require.False(t, w.index(0).Created)
	w.down()
	require.True(t, w.there("orders"))

	// Deleted once more before there is a time to make it.
	w.run.Facts.Destination = &facts.DestinationFacts{Indices: []facts.DestinationIndex{{Name: "orders", Created: true, UUID: "gone", Before: 7, Load: "set"}}}
	w.ask(http.MethodDelete, "/orders", "")
	_, err := w.once()
	require.NoError(t, err)
	require.Equal(t, facts.DestinationIndex{Name: "orders", Creating: true}, w.index(0))
}

// An index that cannot be looked at is not taken for absent.
func TestNodesThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, orders())
	w.up()
	was := w.index(0)
	w.meet = func(string, string) error { return io.ErrUnexpectedEOF }
	_, err := w.once()
	require.ErrorContains(t, err, "EOF")
	require.Equal(t, was, w.index(0))
	w.meet = nil
	w.ask(http.MethodDelete, "/orders", "")
	w.ask(http.MethodPut, "/other", `{"aliases":{"orders":{}}}`)
	_, err = w.once()
	require.ErrorContains(t, err, "orders is an alias since the plan")
	require.Equal(t, was, w.index(0))
}

// An index that must not be there is refused, unless this run made it.
func TestExistingIndexIsRefused(t *testing.T) {
	t.Parallel()
	ix := orders()
	ix.Existing = events.Refuse
	w := newWorld(t, ix)
	w.ask(http.MethodPut, "/orders", "")
	_, err := w.once()
	require.ErrorContains(t, err, "indices[0].existing")
	c, err := w.Open(t.Context(), clusters.Side{})
	require.NoError(t, err)
	def, err := c.Definition(t.Context(), "orders")
	require.NoError(t, err)
	w.run.Facts.Destination = &facts.DestinationFacts{Earlier: []facts.DestinationIndex{{Name: "orders", Created: true, UUID: def.UUID}}}
	w.up()
	w.run.Facts.Destination = nil
	ix.Existing = ""
	w.run.Spec.Indices[0] = ix
	w.up()
}

// Down deletes what is this run's, of every generation, and only if asked.
func TestDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, orders())
	w.up()
	for _, index := range []string{"theirs", "again", "earlier", "intended"} {
		w.ask(http.MethodPut, "/"+index, "")
	}
	w.ask(http.MethodPut, "/theirs/_alias/alias", "")
	c, err := w.Open(t.Context(), clusters.Side{})
	require.NoError(t, err)
	def, err := c.Definition(t.Context(), "earlier")
	require.NoError(t, err)
	f := w.run.Facts.Destination
	f.Indices = append(f.Indices, facts.DestinationIndex{Name: "again", Created: true, UUID: "older"}, facts.DestinationIndex{Name: "theirs"},
		facts.DestinationIndex{Name: "gone", Created: true, UUID: "gone"}, facts.DestinationIndex{Name: "alias", Created: true, UUID: "gone"}, facts.DestinationIndex{Name: "intended", Creating: true})
	f.Earlier = []facts.DestinationIndex{{Name: "earlier", Created: true, UUID: def.UUID}}
	out, err := w.step.Down(t.Context(), w.run)
	require.NoError(t, err)
	require.True(t, out.IsDone())
	require.True(t, w.there("orders"), "nobody asked")
	w.run.DeleteDestination, w.run.Facts.Preflight = true, nil
	_, err = w.step.Down(t.Context(), w.run)
	require.NoError(t, err)
	require.True(t, w.there("orders"), "nobody knows where")

	w.run.Facts.Preflight = &facts.Preflight{}
	w.meet = func(method, _ string) error {
		if method == http.MethodDelete {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	_, err = w.step.Down(t.Context(), w.run)
	require.Error(t, err)
	require.NotNil(t, w.run.Facts.Destination)
	w.meet = nil
	w.down()
	for index, stays := range map[string]bool{"orders": false, "earlier": false, "intended": false, "again": true, "theirs": true} {
		require.Equal(t, stays, w.there(index), index)
	}
	w.down()

	w.run.Spec.Scenario, w.run.Spec.Indices, w.run.Spec.UseCases = flow.ESToECS, nil, []events.UseCase{{Kind: events.Watcher}}
	out, err = w.once()
	require.NoError(t, err)
	require.True(t, out.IsDone())
	require.Nil(t, w.run.Facts.Destination)
}
