package copyjob_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/shared/clusters"
	"eslink/shared/copyjob"
	"eslink/shared/steps/progress"
	"eslink/shared/steps/reindex"
)

// running are the X-Opaque-Ids of the tasks that run.
func (w *world) running() string {
	return string(w.ask(w.dest, "GET", "/_tasks?actions=*reindex&detailed&group_by=none", ""))
}

// later has the run come to its next generation while the first one's copy runs, as a
// start with another query does after a cancel, and the source changes.
func (w *world) later() {
	w.begun()
	w.run.Generation, w.run.Facts.Reindex = 2, nil
	w.run.Spec.Reindex.RequestsPerSecond, w.run.Spec.Reindex.Size = nil, 0
	var docs strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%d\"}}\n{\"version\":1}\n", i)
	}
	w.ask(w.source, "POST", "/orders/_bulk?refresh=true", docs.String())
	w.survey("1s")
}

// No task of an earlier generation writes once a later one plans, or is left once the
// run is removed.
func TestEarlierGenerationsStop(t *testing.T) {
	t.Parallel()
	t.Run("a later copy", func(t *testing.T) {
		t.Parallel()
		inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
			w.later()
			require.Contains(t, w.running(), "eslink/"+w.run.ID+"/1/")
			require.NoError(t, w.walk(reindex.By(w.opener()).Up))
			require.NotContains(t, w.running(), "eslink/"+w.run.ID+"/1/")
			require.NoError(t, w.walk(progress.By(w.opener()).Up))
			time.Sleep(time.Hour) // the first would have ended by then
			require.Equal(t, w.documents(w.source), w.documents(w.dest))
		})
	})
	t.Run("no copy any more", func(t *testing.T) {
		t.Parallel()
		inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
			w.later()
			w.run.Spec.Indices = nil
			w.run.Spec.Scenario, w.run.Spec.UseCases = "es-to-ecs", []events.UseCase{{Kind: events.Watcher}}
			require.False(t, w.run.Spec.Copies())
			require.NoError(t, w.walk(reindex.By(w.opener()).Up))
			require.NotContains(t, w.running(), "eslink/"+w.run.ID)
		})
	})
	for name, planned := range map[string]bool{"teardown": false, "teardown of a later copy": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				w.later()
				if planned { // it was about to look for others
					w.run.Facts.Reindex = nil
				}
				require.NoError(t, w.walk(reindex.By(w.opener()).Down))
				require.NotContains(t, w.running(), "eslink/"+w.run.ID)
				require.Nil(t, w.run.Facts.Reindex)
			})
		})
	}
}

// A cancelled copy is stopped, what it changed is put back, and it goes on as if
// nobody else had done that.
func TestOurOwnCancel(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{Nodes: 3}, func(t *testing.T, w *world) {
		before := w.large(`{"number_of_replicas":1}`)
		rate := 20.0
		w.run.Spec.Reindex.RequestsPerSecond, w.run.Spec.Reindex.Size = &rate, 10
		step := reindex.By(w.usual())
		require.NoError(t, w.walk(step.Up))
		wait := progress.By(w.usual())
		for !strings.Contains(w.running(), w.run.ID) {
			_, err := wait.Up(t.Context(), w.run)
			require.NoError(t, err)
			time.Sleep(5 * time.Second)
		}
		require.NotEqual(t, before, w.settings())
		require.NoError(t, w.walk(step.Stop))
		require.NotContains(t, w.running(), w.run.ID)
		require.Equal(t, before, w.settings())
		w.run.Spec.Reindex.RequestsPerSecond = nil
		w.run.Cursor.Since = time.Now()
		require.NoError(t, w.walk(step.Up))
		require.NoError(t, w.walk(wait.Up))
		require.NotContains(t, fmt.Sprint(w.run.Timeline), "cancelled")
		require.Equal(t, w.documents(w.source), w.documents(w.dest))
		require.Equal(t, before, w.settings())
	})
}

// What somebody else copies into the same index is said before the copy begins.
func TestOtherWritersAreAFinding(t *testing.T) {
	t.Parallel()
	for opaque, who := range map[string]string{"eslink/fedcba9876543210/1/0/0/1": "of run fedcba9876543210", "": "copies into index orders"} {
		inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
			w.fill(1200, 10, "1s")
			req, err := http.NewRequest(http.MethodPost, "http://es:9200/_reindex?wait_for_completion=false&requests_per_second=1", strings.NewReader(`{"source":{"index":"orders","size":1,
				"remote":{"host":"http://ep.example:9200","username":"reader","password":"secret"}},"dest":{"index":"orders"}}`))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("X-Opaque-Id", opaque)
			resp, err := w.dest.RoundTrip(req)
			require.NoError(t, err)
			resp.Body.Close()
			time.Sleep(5 * time.Second)
			err = w.walk(reindex.By(w.opener()).Up)
			var p *events.Problem
			require.ErrorAs(t, err, &p)
			require.Contains(t, p.Errors[0].Message, who)
			require.Equal(t, "indices[0].dest", p.Errors[0].Field)
			client, err := w.Open(t.Context(), clusters.Side{})
			require.NoError(t, err)
			tasks, err := client.Tasks(t.Context())
			require.NoError(t, err)
			var fs events.Findings
			copyjob.OtherWriters(w.run, tasks, &fs)
			require.Len(t, fs, 1)
		})
	}
}

// The last window of an index that shows its writes late waits until step digest has
// refreshed it: what was written since, and never showed, is copied by it.
func TestTailAwaitsARefresh(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "-1")
		w.run.Facts.Survey.Indices[0].Refreshable = true
		require.NoError(t, w.walk(reindex.By(w.opener()).Up))
		var docs strings.Builder
		for i := range 100 {
			fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%d\"}}\n{\"version\":1}\n", 12*i)
		}
		w.ask(w.source, "POST", "/orders/_bulk", docs.String())
		require.NoError(t, w.walk(progress.By(w.opener()).Up))
		require.Greater(t, len(w.tasks()), 2)
		require.True(t, copyjob.AwaitsRefresh(w.run, 0))
		for _, task := range w.tasks() {
			require.Equal(t, task.AwaitsRefresh, task.Result == nil)
		}
		w.ask(w.source, "POST", "/orders/_refresh", "")
		copyjob.Refreshed(w.run, 0)
		require.NoError(t, w.walk(progress.By(w.opener()).Up))
		require.Equal(t, w.documents(w.source), w.documents(w.dest))
	})
}
