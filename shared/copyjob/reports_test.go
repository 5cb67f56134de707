package copyjob_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/shared/copyjob"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/steps/progress"
)

// over is a task's reply with its result: 40 of 100 documents, in a second.
func over(t facts.Task, rest string) string {
	return reply40(t.OpaqueID, t.StartedMS, fmt.Sprintf(`"completed":true,"response":{"total":100,"created":40,%s}`, rest))
}

func broke(t facts.Task, kind string) string {
	return reply40(t.OpaqueID, t.StartedMS, fmt.Sprintf(`"completed":true,"error":{"type":%q,"reason":"x"}`, kind))
}

func failures(list ...string) string { return `"failures":[` + strings.Join(list, ",") + `]` }

func failure(id string, status int, kind string) string {
	return fmt.Sprintf(`{"index":"orders","id":%q,"status":%d,"cause":{"type":%q,"reason":"y"}}`, id, status, kind)
}

const unread = `{"index":"orders","shard":0,"node":"n","status":500,"reason":{"type":"runtime_exception","reason":"z"}}`

// What a task says at its end decides whether its window is copied, is copied
// again, or waits for a person.
func TestWhatATaskReports(t *testing.T) {
	t.Parallel()
	many := func(n int) (out []string) {
		for i := range n {
			out = append(out, failure(fmt.Sprint("odd-", i), 400, "mapper_parsing_exception"))
		}
		return out
	}
	type outcome struct {
		stale  bool // it was started before a person sent retry
		size   int  // pages before
		err    string
		again  bool // it is started again, after the pause
		pause  time.Duration
		slower bool
		pages  int // after
		pieces int // windows that it becomes
		failed int // as its result says
	}
	for name, c := range map[string]struct {
		outcome
		say func(facts.Task) string
	}{
		"a block":         {outcome{err: "was refused"}, func(t facts.Task) string { return over(t, failures(failure("1", 403, "cluster_block_exception"))) }},
		"a full disk":     {outcome{err: "was refused"}, func(t facts.Task) string { return over(t, failures(failure("1", 429, "cluster_block_exception"))) }},
		"no right":        {outcome{err: "was refused"}, func(t facts.Task) string { return over(t, failures(failure("1", 403, "security_exception"))) }},
		"no index":        {outcome{err: "was refused"}, func(t facts.Task) string { return over(t, failures(failure("1", 404, "index_not_found_exception"))) }},
		"a block, before": {outcome{again: true, stale: true}, func(t facts.Task) string { return over(t, failures(failure("1", 403, "cluster_block_exception"))) }},
		"too much to do": {outcome{again: true, pause: 15 * time.Second, slower: true}, func(t facts.Task) string {
			return over(t, failures(failure("1", 429, "es_rejected_execution_exception")))
		}},
		"a shard is away":   {outcome{again: true, pause: time.Second}, func(t facts.Task) string { return over(t, failures(failure("1", 503, "unavailable_shards_exception"))) }},
		"a shard is unread": {outcome{again: true, pause: time.Second}, func(t facts.Task) string { return over(t, failures(unread)) }},
		"a shard is no more": {outcome{again: true, pause: time.Second}, func(t facts.Task) string {
			return over(t, failures(strings.Replace(unread, "500", "404", 1)))
		}},
		"refused at once": {outcome{again: true, size: 10, pages: 5, pause: 15 * time.Second}, func(t facts.Task) string {
			return strings.Replace(broke(t, "es_rejected_execution_exception"), `"created":40`, `"created":0`, 1)
		}},
		"a page came too late": {outcome{again: true, pause: time.Second}, func(t facts.Task) string { return over(t, `"timed_out":true,"failures":[]`) }},
		"somebody's cancel":    {outcome{err: "was cancelled by somebody"}, func(t facts.Task) string { return over(t, `"canceled":"by user request","failures":[]`) }},
		"some do not fit":      {outcome{again: true, size: 50, pages: 50, pieces: 3}, func(t facts.Task) string { return over(t, failures(many(3)...)) }},
		"some of a page":       {outcome{size: 100, failed: 51}, func(t facts.Task) string { return over(t, failures(many(51)...)) }},
		"too many do not fit":  {outcome{size: 10, err: "the mapping of orders does not fit"}, func(t facts.Task) string { return over(t, failures(many(10001)...)) }},
		"all is well":          {outcome{}, func(t facts.Task) string { return over(t, failures()) }},
		"a page is refused":    {outcome{again: true, size: 10, pages: 5, pause: 15 * time.Second, slower: true}, func(t facts.Task) string { return broke(t, "es_rejected_execution_exception") }},
		"two are too much":     {outcome{again: true, size: 2, pages: 1, pause: 15 * time.Second, slower: true}, func(t facts.Task) string { return broke(t, "es_rejected_execution_exception") }},
		"one is too much":      {outcome{again: true, size: 1, pages: 1, pause: 15 * time.Second, slower: true}, func(t facts.Task) string { return broke(t, "es_rejected_execution_exception") }},
		"a page is too long":   {outcome{again: true, size: 10, pages: 5}, func(t facts.Task) string { return broke(t, "content_too_long_exception") }},
		"one is too long":      {outcome{again: true, size: 1, pages: 1}, func(t facts.Task) string { return broke(t, "content_too_long_exception") }},
		"a wrong password":     {outcome{err: "the source refuses the login of secret eslink/es2"}, func(t facts.Task) string { return reply40(t.OpaqueID, t.StartedMS, remote(401)) }},
		"and one before":       {outcome{again: true, stale: true}, func(t facts.Task) string { return reply40(t.OpaqueID, t.StartedMS, remote(401)) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				look := w.begun()
				w.run.Spec.Secrets.Target = "eslink/es2"
				task := &w.tasks()[0]
				task.Size, task.Retries = c.size, 5
				w.tasks()[1].Retries = 5
				if c.stale {
					w.run.Cursor.Since = time.Now()
				}
				was, windows := *task, len(w.tasks())
				w.answer = func(q *http.Request) *http.Response {
					if q.URL.Path != "/_tasks/"+was.ID {
						return nil
					}
					return answer(200, c.say(was))
				}
				_, _, err := look.Observe(t.Context())
				now := w.tasks()[0]
				if c.err != "" {
					require.ErrorContains(t, err, c.err)
				} else {
					require.NoError(t, err)
				}
				if now.Result != nil {
					require.Empty(t, c.err)
					require.False(t, c.again)
					require.EqualValues(t, 100, now.Result.Total)
					require.EqualValues(t, 40, now.Result.Created)
					require.Equal(t, c.failed, now.Result.FailureCount)
					require.Equal(t, 1, w.tasks()[1].Retries, "something came through")
					var list []facts.Rejection
					if c.failed > 0 {
						require.Equal(t, facts.RejectedDocuments{Source: "orders", Dest: "orders", Count: c.failed, Rows: 1}, copyjob.Rejected(w.run, 0))
						var err error
						list, err = copyjob.Rejections(t.Context(), w.store, w.run, 0, 0)
						require.NoError(t, err)
					}
					require.Len(t, list, c.failed)
					return
				}
				require.True(t, c.again || c.err != "")
				require.Empty(t, now.ID+now.OpaqueID)
				require.True(t, now.Intent.IsZero(), "it may be started again")
				require.Empty(t, now.LeftOut)
				require.Equal(t, max(c.pieces-1, 0), len(w.tasks())-windows)
				if c.pages > 0 {
					require.Equal(t, c.pages, now.Size)
				}
				require.Equal(t, map[bool]float64{true: 20}[c.slower], now.PerSecond)
				if c.again {
					// A pause of its own: the task was lost five times before.
					if c.pause == 0 {
						require.False(t, time.Now().Before(now.NotBefore))
					} else {
						require.Equal(t, c.pause, time.Until(now.NotBefore))
					}
				}
			})
		})
	}
}

// A copy that something came through of is not a link that is gone.
func TestProgressShortensThePause(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		look := w.begun()
		w.tasks()[0].Retries, w.tasks()[1].Retries = 10, 10
		was := [2]facts.Task(w.tasks()[:2])
		w.answer = func(q *http.Request) *http.Response {
			switch q.URL.Path {
			case "/_tasks/" + was[0].ID:
				return answer(200, broke(was[0], "connect_exception"))
			case "/_tasks/" + was[1].ID:
				return answer(200, strings.Replace(broke(was[1], "connect_exception"), `"created":40`, `"created":0`, 1))
			}
			return nil
		}
		_, _, err := look.Observe(t.Context())
		require.NoError(t, err)
		require.Equal(t, 250*time.Millisecond, time.Until(w.tasks()[0].NotBefore))
		second := w.tasks()[11] // behind the pieces that the first one left
		require.Equal(t, was[1].Window, second.Window)
		require.Equal(t, 8*time.Second, time.Until(second.NotBefore))
	})
}

// Teardown stops what is the run's, and nobody else's.
func TestCancelIsOfThisRun(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		c := w.begun()
		req, err := http.NewRequest(http.MethodPost, "http://es:9200/_reindex?wait_for_completion=false&requests_per_second=1", strings.NewReader(`{"source":{"index":"orders","size":1,
			"remote":{"host":"http://ep.example:9200","username":"reader","password":"secret"}},"dest":{"index":"theirs"}}`))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Opaque-Id", "eslink/fedcba9876543210/1/0/0/1")
		resp, err := w.dest.RoundTrip(req)
		require.NoError(t, err)
		resp.Body.Close()
		running, err := c.Stop(t.Context())
		require.NoError(t, err)
		require.True(t, running)
		time.Sleep(time.Minute)
		running, err = w.open().Stop(t.Context())
		require.NoError(t, err)
		require.False(t, running)
		left := string(w.ask(w.dest, "GET", "/_tasks?actions=*reindex&detailed", ""))
		require.Contains(t, left, "eslink/fedcba9876543210")
		require.NotContains(t, left, w.run.ID)
	})
}

// When a window begins, and of what a later walk goes on.
func TestPlansGoOn(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		at := time.Now()
		ix := &w.run.Facts.Survey.Indices[0]
		for refresh, want := range map[string]time.Duration{"1s": 3 * time.Second, "": 3 * time.Second, "30s": 32 * time.Second, "-1": time.Second, "1d": 62 * time.Second} {
			w.run.Facts.Reindex, w.run.Facts.Survey.At, ix.Refresh = nil, at, refresh
			time.Sleep(time.Minute)
			require.NoError(t, w.open().PlanWindows(t.Context()))
			require.Equal(t, at.Add(want), w.tasks()[0].NotBefore, refresh)
			w.run.Facts.Reindex, w.run.Facts.Survey.At = nil, time.Time{} // an earlier release's
			require.NoError(t, w.open().PlanWindows(t.Context()))
			require.Equal(t, time.Now().Add(want), w.tasks()[0].NotBefore, refresh)
		}
		kept := func(change func(list []facts.Task)) bool {
			w.run.Facts.Reindex = nil
			require.NoError(t, w.open().PlanWindows(t.Context()))
			for i := range w.tasks() {
				w.tasks()[i].Attempt = 3 - i%2
			}
			w.tasks()[0].OpaqueID = "mark"
			change(w.tasks())
			require.NoError(t, w.open().PlanWindows(t.Context()))
			now := w.tasks()[0]
			if now.OpaqueID != "mark" {
				require.Equal(t, 3, now.Attempt, "names go on")
			}
			return now.OpaqueID == "mark"
		}
		all := func(list []facts.Task) {
			for i := range list {
				list[i].Result = &facts.TaskResult{}
			}
		}
		assert.False(t, kept(func([]facts.Task) {}), "nothing was begun")
		assert.True(t, kept(func(list []facts.Task) { list[0].Intent = time.Now() }), "one runs")
		assert.True(t, kept(func(list []facts.Task) { list[0].Result = &facts.TaskResult{} }), "one is done")
		assert.False(t, kept(func(list []facts.Task) { list[0].Result, list[0].SourceState = &facts.TaskResult{}, "other/1" }), "of another index by the name")
		assert.True(t, kept(all), "all is copied")
		assert.False(t, kept(func(list []facts.Task) { all(list); list[1].Result.FailureCount = 1 }))
		assert.False(t, kept(func(list []facts.Task) { all(list); list[1].Result.VersionConflicts = 1 }))
		assert.False(t, kept(func(list []facts.Task) { all(list); list[1].SourceState = "uuid/0" }), "it was written to since")

		// A server that does not tell its shards is not divided.
		w.run.Facts.Reindex, ix.ShardSeqNos = nil, nil
		require.NoError(t, w.open().PlanWindows(t.Context()))
		assert.Len(t, w.tasks(), 1)
	})
}

// Windows of two indices have the same numbers, and break off by themselves; the
// record does not grow for ever.
func TestWindowsOfTwoIndices(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		w.ask(w.dest, "PUT", "/second", `{}`)
		w.run.Spec.Indices = append(w.run.Spec.Indices, events.Index{Source: "orders", Dest: "second"})
		again := w.run.Facts.Survey.Indices[0]
		again.Dest = "second"
		w.run.Facts.Survey.Indices = append(w.run.Facts.Survey.Indices, again)
		w.run.Spec.Reindex.Size = 10
		require.NoError(t, w.open().PlanWindows(t.Context()))
		n := len(w.tasks()) / 2
		for i := range n - 1 {
			w.tasks()[i].Result = &facts.TaskResult{}
		}
		last := &w.tasks()[n-1]
		time.Sleep(time.Minute)
		c := w.open()
		require.True(t, c.Intend())
		require.False(t, last.Intent.IsZero(), "the other index keeps it from nothing")
		require.NoError(t, c.Start(t.Context()))
		w.tasks()[n].LeftOut = map[string]string{"17": "does not fit"}
		was := []facts.Task{w.tasks()[n], w.tasks()[n+1]}
		w.answer = func(q *http.Request) *http.Response {
			for _, task := range was {
				if q.URL.Path == "/_tasks/"+task.ID {
					return answer(200, broke(task, "connect_exception"))
				}
			}
			return nil
		}
		_, _, err := c.Observe(t.Context())
		require.NoError(t, err)
		next := int64(0)
		for _, task := range w.tasks()[n:] {
			require.Equal(t, "second", task.Dest)
			require.Equal(t, next, task.From)
			next = task.Below
		}
		require.Equal(t, 2*n+2*10, len(w.tasks()), "eleven pieces of each, three numbers of three shards")
		require.Empty(t, w.tasks()[n].LeftOut, "told of once, by the piece that meets it again")
		require.Empty(t, w.tasks()[n+1].LeftOut)
		require.Equal(t, "orders", w.tasks()[n-1].Dest)

		// A record that is full takes no more of them.
		full := w.tasks()
		for len(full) < 500 {
			full = append(full, facts.Task{Source: "orders", Dest: "second", Window: 1000 + len(full), From: 1, Below: 2, Result: &facts.TaskResult{}})
		}
		w.run.Facts.Reindex.Tasks = full
		second := func() (n int) {
			for _, task := range w.tasks() {
				if task.Dest == "second" {
					n++
				}
			}
			return n
		}
		before := second()
		w.answer = nil
		time.Sleep(time.Minute)
		c = w.open()
		c.Intend()
		require.NoError(t, c.Start(t.Context()))
		var task facts.Task
		for _, other := range w.tasks() {
			if other.ID != "" && other.Below > 0 && other.Result == nil {
				task = other
			}
		}
		require.NotEmpty(t, task.ID)
		w.answer = func(q *http.Request) *http.Response {
			if q.URL.Path == "/_tasks/"+task.ID {
				return answer(200, broke(task, "connect_exception"))
			}
			return nil
		}
		_, _, err = c.Observe(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, second(), before, "none is divided")
		require.Less(t, len(w.tasks()), 500, "neighbours that are done become one")
	})
}

// A look comes when something is to be done: a pause as short as a delivery takes is
// taken up by the invocation, and no other.
func TestWhenTheNextLookComes(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.begun()
		step := progress.By(w.opener())
		look := func() engine.Outcome {
			out, err := step.Up(t.Context(), w.run)
			require.NoError(t, err)
			require.False(t, out.IsDone())
			return out
		}
		// Four windows of 100 documents at one a second each.
		time.Sleep(50 * time.Second)
		out := look()
		require.False(t, out.IsSoon())
		require.InDelta(t, 45, out.Delay().Seconds(), 15)
		require.Contains(t, out.Reason(), "a second")
		for !out.IsSoon() {
			time.Sleep(out.Delay())
			out = look()
		}
		require.LessOrEqual(t, out.Delay(), 2*time.Second)
		for _, task := range w.tasks() {
			require.Nil(t, task.Result, "the next windows wait for these, so the look comes before their end")
		}

		// One is left, in a pause.
		for i := range w.tasks() {
			task := &w.tasks()[i]
			task.ID, task.Intent, task.Result = "", time.Time{}, &facts.TaskResult{}
		}
		last := &w.tasks()[len(w.tasks())-1]
		last.Result, last.NotBefore = nil, time.Now().Add(time.Minute)
		out = look()
		require.Equal(t, time.Minute, out.Delay())
		require.Contains(t, out.Reason(), "what is left starts then")
		time.Sleep(out.Delay())
		out = look()
		require.True(t, out.IsSoon())
		require.Zero(t, out.Delay(), "its intent is saved, and then it starts")
	})
}
