package plan_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/clusters"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/steps/survey"
)

// copying is a run that copies one index, surveyed as mappings.
func copying(t *testing.T, mappings string) *world {
	w := newWorld(t, "reindex")
	w.run.Spec.Indices = []events.Index{{Source: "orders", Dest: "orders", Destination: events.Destination{Mappings: []byte(`"source"`)}}}
	w.run.Facts.Survey.Indices = []facts.SurveyedIndex{{Source: "orders", Dest: "orders"}}
	require.NoError(t, w.Deps.Runs.PutPart(t.Context(), w.run.ID, survey.Part(0), es.Definition{Mappings: []byte(mappings), Settings: []byte(`{}`)}))
	return w
}

func (w *world) put(path, body string) {
	w.Helper()
	q := httptest.NewRequest(http.MethodPut, path, strings.NewReader(body))
	q.SetBasicAuth("elastic", "secret-1")
	q.Header.Set("Content-Type", "application/json")
	reply := httptest.NewRecorder()
	w.nodes.ServeHTTP(reply, q)
	require.Equal(w, http.StatusOK, reply.Code, reply.Body.String())
}

func TestADestinationThatExists(t *testing.T) {
	t.Parallel()
	w := copying(t, `{"properties":{"n":{"type":"long"},"name":{"type":"keyword"}}}`)
	_, err := w.up()
	require.NoError(t, err)
	w.put("/orders", `{"mappings":{"properties":{"n":{"type":"long"},"name":{"type":"text"}}}}`)
	_, err = w.up()
	require.NoError(t, err, "its fields take the source's")

	ix := &w.run.Spec.Indices[0]
	ix.Existing = "refuse"
	w.finds("indices[0].existing", "orders exists", "reuse")
	c, err := w.Open(t.Context(), clusters.Side{})
	require.NoError(t, err)
	def, err := c.Definition(t.Context(), "orders")
	require.NoError(t, err)
	for _, f := range []facts.DestinationFacts{
		{Indices: []facts.DestinationIndex{{Name: "orders", Created: true, UUID: def.UUID}}},
		{Earlier: []facts.DestinationIndex{{Name: "orders", Created: true, UUID: def.UUID}}},
		{Indices: []facts.DestinationIndex{{Name: "orders", Creating: true}}},
	} {
		w.run.Facts.Destination = &f
		_, err = w.up()
		require.NoError(t, err, "this run's own")
	}
	for _, f := range []facts.DestinationFacts{
		{Indices: []facts.DestinationIndex{{Name: "orders", UUID: def.UUID}}},
		{Indices: []facts.DestinationIndex{{Name: "orders", Created: true, UUID: "another"}}},
		{Indices: []facts.DestinationIndex{{Name: "other", Creating: true}}},
	} {
		w.run.Facts.Destination = &f
		w.finds("indices[0].existing", "orders exists", "reuse")
	}
	w.run.Facts.Destination = nil

	ix.Existing = ""
	ix.Destination.Mappings = []byte(`{"properties":{"n":{"type":"date"}}}`)
	w.finds("indices[0].dest", "field n of index orders is of type long, and of type date", "name another dest")
	ix.Destination.Mappings = []byte(`"none"`)
	_, err = w.up()
	require.NoError(t, err, "as the spec has it, its fields are nobody's business")
}

func TestFieldsThatDoNotTakeTheSources(t *testing.T) {
	t.Parallel()
	var source, dest []string
	for _, name := range strings.Split("abcdefghijkl", "") {
		source = append(source, `"`+name+`":{"type":"keyword"}`)
		dest = append(dest, `"`+name+`":{"type":"long"}`)
	}
	w := copying(t, `{"properties":{`+strings.Join(source, ",")+`}}`)
	w.put("/orders", `{"mappings":{"properties":{`+strings.Join(dest, ",")+`}}}`)
	_, err := w.up()
	var p *events.Problem
	require.ErrorAs(t, err, &p)
	require.Len(t, p.Errors, 11)
	require.Contains(t, p.Errors[10].Message, "2 more fields")
}

func TestAliasesOfTheSource(t *testing.T) {
	t.Parallel()
	w := copying(t, `{}`)
	w.run.Facts.Survey.Indices[0].Aliases = []string{"current", "orders"}
	w.run.Spec.Approve = "manual"
	out, err := w.up()
	require.NoError(t, err)
	require.Contains(t, out.Asked().Creates, "index orders on es-cn-dst000000001 with its aliases current, if it does not exist")

	const field = "indices[0].destination.aliases"
	w.put("/current", `{}`)
	w.finds(field, "current leads to index current", "none")
	w.put("/other", `{"aliases":{"all":{}}}`)
	w.run.Facts.Survey.Indices[0].Aliases = []string{"all"}
	w.finds(field, "all leads to index other", "none")
	w.run.Facts.Destination = &facts.DestinationFacts{Indices: []facts.DestinationIndex{{Name: "other", Creating: true}}}
	_, err = w.up()
	require.NoError(t, err, "it leads to what this run made")
	w.run.Facts.Destination = nil

	w.run.Spec.Indices = append(w.run.Spec.Indices, events.Index{Source: "a", Dest: "all", Destination: events.Destination{Mappings: []byte(`"none"`)}})
	w.run.Facts.Survey.Indices = append(w.run.Facts.Survey.Indices, facts.SurveyedIndex{Source: "a", Dest: "all"})
	w.define(1, `{}`, `{}`)
	_, err = w.up()
	require.ErrorContains(t, err, "all is an alias of the source and a dest of the spec")
	w.run.Spec.Indices = w.run.Spec.Indices[:1]

	w.user = "writer"
	_, err = w.up()
	require.ErrorContains(t, err, "lacks the privilege manage on all, which making aliases takes")
	w.run.Spec.Indices[0].Destination.Aliases = "none"
	out, err = w.up()
	require.NoError(t, err)
	require.NotContains(t, strings.Join(out.Asked().Creates, ""), "aliases")
}
