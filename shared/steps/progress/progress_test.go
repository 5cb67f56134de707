package progress

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/copyjob"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// copies is a run that copies indices of so many documents.
func copies(documents ...int64) *run.Run {
	r := &run.Run{}
	r.Facts.Survey = &facts.Survey{}
	for i, n := range documents {
		name := fmt.Sprint("orders-", i)
		r.Spec.Indices = append(r.Spec.Indices, events.Index{Source: name, Dest: name})
		r.Facts.Survey.Indices = append(r.Facts.Survey.Indices, facts.SurveyedIndex{Source: name, Dest: name, Documents: n})
	}
	return r
}

func TestProgressOfEachIndexAndOfAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := copies(1000, 500, 2000, 100)
		(&Step{Now: time.Now}).record(r, []copyjob.Count{{Done: 400, Total: 1000, PerSecond: 100}, {Done: 500, Total: 500}, {Done: 100, PerSecond: 10}, {}})
		p := r.Facts.Progress
		require.Equal(t, &facts.Progress{Documents: 1000, Total: 3600, DocsPerSecond: 110, ETA: "3m10s", At: time.Now(), Indices: []facts.IndexProgress{
			{Dest: "orders-0", Documents: 400, Total: 1000, DocsPerSecond: 100, ETA: "6s"},
			{Dest: "orders-1", Documents: 500, Total: 500},
			{Dest: "orders-2", Documents: 100, Total: 2000, DocsPerSecond: 10, ETA: "3m10s"},
			{Dest: "orders-3", Total: 100},
		}}, p, "it is not over before its slowest index is")
		require.Equal(t, "1000 of 3600 documents copied (27%), 110 a second, 3m10s left; 1 of 4 indices done, orders-2 takes longest: 100 of 2000, 3m10s left", p.String())
		require.Equal(t, 47500*time.Millisecond, pause(p, 0))

		// Between two tasks nobody knows.
		(&Step{Now: time.Now}).record(r, []copyjob.Count{{Done: 1000}, {Done: 500}, {Done: 1999}, {}})
		require.Equal(t, "3499 of 3600 documents copied (97%); 2 of 4 indices done", r.Facts.Progress.String())

		one := copies(1000)
		(&Step{Now: time.Now}).record(one, []copyjob.Count{{Done: 999, Total: 1000, PerSecond: 0.5}})
		require.Equal(t, "999 of 1000 documents copied (99%), 0.5 a second, 2s left", one.Facts.Progress.String())
	})
}
