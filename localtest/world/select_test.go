package world

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/run"
)

// A spec that refuses an index that exists refuses one that somebody makes after
// the plan, too, and writes nothing into it; the run's own is no such index.
func TestAnExistingDestinationIsRefused(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		spec := Spec()
		spec.Indices[0].Existing = events.Refuse
		s.before("destination", func() { s.Ask(Instance, http.MethodPut, "/dest", `{"settings":{"number_of_replicas":1}}`) })
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.Failed)
		require.Equal(t, "destination", v.Step)
		require.ErrorContains(t, v.Problem, "indices[0].existing")
		_, body := s.Ask(Instance, http.MethodGet, "/dest/_count", "")
		require.Contains(t, string(body), `"count":0`)

		s.Ask(Instance, http.MethodDelete, "/dest", "")
		s.do(t, events.Request{Action: "retry"})
		s.ends(t, run.Done)
		s.start(t, events.Request{Spec: &spec, Again: true})
		s.ends(t, run.Done)
	})
}

// A source's aliases lead to its copy, too, with their filters, in a cluster where
// nobody used them.
func TestAliasesMoveWithTheirIndex(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.Ask(Target, http.MethodPut, "/product_info/_alias/products", "")
		s.Ask(Target, http.MethodPut, "/product_info/_alias/wealth", `{"filter":{"match":{"productName":"wealth"}}}`)
		s.Ask(Target, http.MethodPut, "/product_info/_alias/dest", "")
		spec := Spec()
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		_, body := s.Ask(Instance, http.MethodGet, "/dest/_alias", "")
		require.JSONEq(t, `{"dest":{"aliases":{"products":{},"wealth":{"filter":{"match":{"productName":"wealth"}}}}}}`, string(body))
	})
}

// Patterns are found at the source once; what they mean is copied and proved
// index by index, and what they match besides is told.
func TestPatternsAreCopied(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		for i, index := range []string{"logs-a", "logs-b", "logs-debug", "logs-hidden"} {
			s.numbered(t, index, 10+i)
		}
		s.Ask(Target, http.MethodPut, "/logs-hidden/_settings", `{"index.hidden":true}`)
		spec := Spec()
		spec.Indices = append(spec.Indices, events.Index{Include: events.Patterns{"logs-*"}, Exclude: events.Patterns{"*-debug"},
			Rename: &events.Rename{From: "^logs-(.*)$", To: "old-$1"}, Query: []byte(`{"range":{"n":{"gte":1}}}`), Existing: events.Refuse})
		spec.Proof = "content"
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.Done)
		require.Equal(t, []string{"hidden index logs-hidden"}, v.Facts.Survey.Passed)
		require.Len(t, v.Facts.Verify.Indices, 3)
		for index, n := range map[string]string{"dest": `"count":6`, "old-a": `"count":9`, "old-b": `"count":10`} {
			_, body := s.Ask(Instance, http.MethodGet, "/"+index+"/_count", "")
			require.Contains(t, string(body), n, index)
		}
		_, body := s.Ask(Instance, http.MethodGet, "/_resolve/index/*", "")
		require.NotRegexp(t, "logs|debug|hidden", string(body))

		// One that came later is not copied by later walks, one that grew is.
		s.numbered(t, "logs-c", 5)
		s.write(t, Target, "logs-a", map[string]string{"late": `{"n":77}`})
		s.start(t, events.Request{Spec: &spec, Again: true})
		s.ends(t, run.Done)
		_, body = s.Ask(Instance, http.MethodGet, "/old-a/_count", "")
		require.Contains(t, string(body), `"count":10`)
		status, _ := s.Ask(Instance, http.MethodGet, "/old-c", "")
		require.Equal(t, http.StatusNotFound, status)

		s.do(t, events.Request{Action: "teardown", DeleteDestination: true})
		s.ends(t, run.Removed)
		_, body = s.Ask(Instance, http.MethodGet, "/_resolve/index/old*,dest*", "")
		require.Contains(t, string(body), `"indices":[]`)
	})
}
