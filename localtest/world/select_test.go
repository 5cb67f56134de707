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
