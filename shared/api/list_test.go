package api_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/api"
	"eslink/shared/run"
)

// All runs come by page; a record that cannot be decoded is shown as broken among
// them.
func TestRunsComeByPage(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for i := range api.PageSize + 50 {
			require.NoError(t, w.store.Create(t.Context(), &run.Run{ID: fmt.Sprintf("%016x", i<<50), Status: run.Running}))
		}
		const bad = "0004000000000000"
		require.NoError(t, w.store.Driver.Put(t.Context(), run.Key{Kind: "run/" + bad, ID: "record"}, run.Row{Rev: 2, Doc: []byte("{")}, 1))
		first, next, err := w.status.List(t.Context(), "")
		require.NoError(t, err)
		require.Len(t, first, api.PageSize)
		assert.Equal(t, first[api.PageSize-1].RunID, next)
		rest, next, err := w.status.List(t.Context(), next)
		require.NoError(t, err)
		assert.Len(t, rest, 50)
		assert.Empty(t, next)
		assert.Equal(t, bad, first[1].RunID)
		assert.Equal(t, api.Broken, first[1].Status)
		assert.Contains(t, first[1].Reason, "is broken")
		assert.NotEmpty(t, first[1].Next)
		v, err := w.status.Get(t.Context(), bad)
		require.NoError(t, err)
		assert.Equal(t, first[1], v)
	})
}

func TestStatusRefusesParametersThatItDoesNotKnow(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.ok(start(t)).RunID
		status := api.StatusFunction(w.function())
		for payload, says := range map[string]string{
			string(trigger("GET", "", map[string]string{"runid": id})):                   "status has no parameter runid",
			string(trigger("GET", "", map[string]string{"run": id, "X-Trace": "1"})):     "use runId or after",
			string(trigger("GET", "", map[string]string{"runId": id, "x-fc-trace": ""})): id,
			`{"RunId":"` + id + `"}`: "status has no parameter RunId",
			`{"runId":7}`:            "not a JSON object of strings",
			`{"runId":"` + id + `"}`: `"preflight"`,
			`{}`:                     id,
		} {
			raw, err := status(t.Context(), []byte(payload))
			require.NoError(t, err)
			assert.Contains(t, string(raw), says, payload)
		}
	})
}
