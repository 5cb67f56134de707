package copyjob_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/shared/copyjob"
	"eslink/shared/facts"
)

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}, "X-Elastic-Product": {"Elasticsearch"}},
		Body: io.NopCloser(strings.NewReader(body))}
}

// begun plans a copy in windows and starts as many as may run at once, which take
// minutes, and has looked at them.
func (w *world) begun() *copyjob.Job {
	w.t.Helper()
	w.fill(1200, 10, "1s")
	rate := 4.0
	w.run.Spec.Reindex.RequestsPerSecond, w.run.Spec.Reindex.Size = &rate, 10
	require.NoError(w.t, w.open().PlanWindows(w.t.Context()))
	time.Sleep(time.Minute)
	c := w.open()
	require.True(w.t, c.Intend())
	require.NoError(w.t, c.Start(w.t.Context()))
	time.Sleep(time.Second)
	_, _, err := c.Observe(w.t.Context())
	require.NoError(w.t, err)
	for _, t := range w.tasks()[:copyjob.Parallel] {
		require.NotEmpty(w.t, t.ID)
		require.NotZero(w.t, t.StartedMS)
	}
	return w.open()
}

// reply40 is what a destination says of a task that has copied 40 of 100 documents.
func reply40(opaque string, ms int64, rest string) string {
	return fmt.Sprintf(`{"task":{"node":"N","id":7,"start_time_in_millis":%d,"running_time_in_nanos":1000000000,
		"status":{"total":100,"created":40,"requests_per_second":-1},"headers":{"X-Opaque-Id":%q}},%s}`, ms, opaque, rest)
}

func remote(status int) string {
	return fmt.Sprintf(`"completed":true,"error":{"type":"status_exception","reason":"x","caused_by":{"type":"response_exception","reason":"status line [HTTP/1.1 %d x]"}}`, status)
}

// What a look meets decides what becomes of a task.
func TestWhatALookMeets(t *testing.T) {
	t.Parallel()
	for name, met := range map[string]struct {
		status int
		reply  func(t facts.Task) string
		again  string // what is noted of it when it is started again
		err    string
	}{
		"it runs":            {200, func(t facts.Task) string { return reply40(t.OpaqueID, t.StartedMS, `"completed":false`) }, "", ""},
		"somebody's":         {200, func(t facts.Task) string { return reply40("kibana", t.StartedMS, `"completed":false`) }, "another task's", ""},
		"another life's":     {200, func(t facts.Task) string { return reply40(t.OpaqueID, t.StartedMS+1, `"completed":false`) }, "another task's", ""},
		"ended with nothing": {200, func(t facts.Task) string { return reply40(t.OpaqueID, t.StartedMS, `"completed":true`) }, "ended without a result", ""},
		"unknown":            {404, func(facts.Task) string { return `{"error":{"type":"resource_not_found_exception","reason":"gone"}}` }, "does not know task", ""},
		"no answer":          {503, func(facts.Task) string { return `{}` }, "", "503"},
		"the source is away": {200, func(t facts.Task) string {
			return reply40(t.OpaqueID, t.StartedMS, `"completed":true,"error":{"type":"connect_exception","reason":"refused"}`)
		}, "refused", ""},
		"503 of the source": {200, func(t facts.Task) string { return reply40(t.OpaqueID, t.StartedMS, remote(503)) }, "status_exception", ""},
		"429 of the source": {200, func(t facts.Task) string { return reply40(t.OpaqueID, t.StartedMS, remote(429)) }, "status_exception", ""},
		"404 of the source": {200, func(t facts.Task) string { return reply40(t.OpaqueID, t.StartedMS, remote(404)) }, "", "status_exception"},
		"its own error": {200, func(t facts.Task) string {
			return reply40(t.OpaqueID, t.StartedMS, `"completed":true,"error":{"type":"null_pointer_exception","reason":"x"}`)
		}, "", "null_pointer_exception"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				c := w.begun()
				i := 1
				w.tasks()[i].NodesAtStart = "node@1"
				was := w.tasks()[i]
				w.answer = func(q *http.Request) *http.Response {
					if q.URL.Path != "/_tasks/"+was.ID {
						return nil
					}
					return answer(met.status, met.reply(was))
				}
				_, _, err := c.Observe(t.Context())
				now := w.tasks()[i]
				require.Nil(t, now.Result)
				if met.err != "" {
					require.ErrorContains(t, err, met.err)
				} else {
					require.NoError(t, err)
				}
				if met.again == "" {
					require.Zero(t, now.Retries)
					require.Equal(t, name == "it runs" || name == "no answer", now.ID == was.ID)
					return
				}
				require.Contains(t, w.run.Timeline[len(w.run.Timeline)-1].Reason, met.again)
				require.Equal(t, 1, now.Retries)
				require.Equal(t, time.Now().Add(250*time.Millisecond), now.NotBefore)
				require.Empty(t, now.ID+now.OpaqueID+now.NodesAtStart)
				require.Zero(t, now.StartedMS)
				require.True(t, now.Intent.IsZero())
			})
		})
	}
}

// What may have left scrolls at the source is kept in mind, as long as the source
// keeps them, and by the next walk as well.
func TestWhatLeavesScrolls(t *testing.T) {
	t.Parallel()
	none := strings.NewReplacer(`"total":100`, `"total":0`, `"created":40`, `"created":0`)
	broken := func(kind string) string {
		return fmt.Sprintf(`"completed":true,"error":{"type":%q,"reason":"x"}`, kind)
	}
	for name, met := range map[string]struct {
		status int
		reply  func(t facts.Task) string
		leaves bool
	}{
		"it runs":         {200, func(t facts.Task) string { return reply40(t.OpaqueID, t.StartedMS, `"completed":false`) }, false},
		"unknown":         {404, func(facts.Task) string { return `{"error":{"type":"resource_not_found_exception","reason":"gone"}}` }, true},
		"somebody's":      {200, func(t facts.Task) string { return reply40("kibana", t.StartedMS, `"completed":false`) }, true},
		"refused":         {200, func(t facts.Task) string { return reply40(t.OpaqueID, t.StartedMS, remote(503)) }, true},
		"refused at once": {200, func(t facts.Task) string { return none.Replace(reply40(t.OpaqueID, t.StartedMS, remote(503))) }, false},
		"not reached":     {200, func(t facts.Task) string { return reply40(t.OpaqueID, t.StartedMS, broken("connect_exception")) }, true},
		"not reached at all": {200, func(t facts.Task) string {
			return none.Replace(reply40(t.OpaqueID, t.StartedMS, broken("connect_exception")))
		}, false},
		"no name for it": {200, func(t facts.Task) string {
			return none.Replace(reply40(t.OpaqueID, t.StartedMS, broken("unknown_host_exception")))
		}, false},
		"no route to it": {200, func(t facts.Task) string {
			return none.Replace(reply40(t.OpaqueID, t.StartedMS, broken("no_route_to_host_exception")))
		}, false},
		"cut off": {200, func(t facts.Task) string {
			return none.Replace(reply40(t.OpaqueID, t.StartedMS, broken("connection_closed_exception")))
		}, true},
		"too long at once": {200, func(t facts.Task) string {
			return none.Replace(reply40(t.OpaqueID, t.StartedMS, broken("content_too_long_exception")))
		}, true},
		"too long": {200, func(t facts.Task) string {
			return reply40(t.OpaqueID, t.StartedMS, broken("content_too_long_exception"))
		}, false},
		"behind the last document": {200, func(t facts.Task) string {
			return strings.Replace(reply40(t.OpaqueID, t.StartedMS, remote(503)), `"created":40`, `"created":100`, 1)
		}, true},
		"ended without any failure": {200, func(t facts.Task) string { return over(t, failures()) }, false},
	} {
		for lost, kept := range []time.Duration{5 * time.Minute, time.Minute} {
			t.Run(fmt.Sprint(name, " ", lost), func(t *testing.T) {
				t.Parallel()
				inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
					c := w.begun()
					w.tasks()[1].Retries = lost
					was := w.tasks()[1]
					w.answer = func(q *http.Request) *http.Response {
						if q.URL.Path != "/_tasks/"+was.ID {
							return nil
						}
						return answer(met.status, met.reply(was))
					}
					_, _, err := c.Observe(t.Context())
					require.NoError(t, err)
					var want []facts.LeakedScrolls
					if met.leaves {
						want = []facts.LeakedScrolls{{Until: time.Now().Add(kept), Count: 3}}
					}
					require.Equal(t, want, w.run.Facts.Reindex.LeakedScrolls)
					require.NoError(t, w.open().PlanWindows(t.Context()))
					require.Equal(t, want, w.run.Facts.Reindex.LeakedScrolls)
				})
			})
		}
	}
}

// A full disk blocks what keeps the tasks' results, too: the run stops as if they
// had told.
func TestVanishedOnAFullDisk(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		c := w.begun()
		was := w.tasks()[0]
		w.answer = func(q *http.Request) *http.Response {
			if q.URL.Path != "/_tasks/"+was.ID {
				return nil
			}
			return answer(404, `{"error":{"type":"resource_not_found_exception","reason":"gone"}}`)
		}
		w.ask(w.dest, "PUT", "/orders/_settings", `{"index.blocks.read_only_allow_delete":true}`)
		_, _, err := c.Observe(t.Context())
		require.ErrorContains(t, err, "flood-stage watermark")
		require.Empty(t, w.tasks()[0].ID)
		require.Zero(t, w.tasks()[0].Retries)
		w.ask(w.dest, "PUT", "/orders/_settings", `{"index.blocks.read_only_allow_delete":null}`)
		require.True(t, w.open().Intend(), "retry goes on")
		w.answer = nil
		w.run.Spec.Reindex.RequestsPerSecond = nil
		require.NoError(t, w.copy(func() {}))
		require.Equal(t, w.documents(w.source), w.documents(w.dest))
	})
}

// All tasks are read before the first word that stops a run, and what broke off is
// divided whatever else a look meets.
func TestALookReadsAll(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]func(facts.Task) (int, string){
		"stops":     func(t facts.Task) (int, string) { return 200, reply40(t.OpaqueID, t.StartedMS, remote(404)) },
		"no answer": func(facts.Task) (int, string) { return 503, `{}` },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				c := w.begun()
				was := w.tasks()[:copyjob.Parallel:copyjob.Parallel]
				w.answer = func(q *http.Request) *http.Response {
					switch q.URL.Path {
					case "/_tasks/" + was[0].ID:
						return answer(200, reply40(was[0].OpaqueID, was[0].StartedMS, remote(503)))
					case "/_tasks/" + was[1].ID, "/_tasks/" + was[2].ID:
						i := 1
						if strings.HasSuffix(q.URL.Path, was[2].ID) {
							i = 2
						}
						status, body := last(was[i])
						if i == 2 {
							status, body = 200, reply40(was[i].OpaqueID, was[i].StartedMS, remote(404))
						}
						return answer(status, body)
					}
					return nil
				}
				before := len(w.tasks())
				_, _, err := c.Observe(t.Context())
				require.Error(t, err)
				require.Equal(t, before+10, len(w.tasks()), "100 documents, of which 40 came through in pages of 10")
				require.Equal(t, w.tasks()[0].Below, w.tasks()[1].From)
				second, third := w.tasks()[11], w.tasks()[12]
				require.Equal(t, was[1].Window, second.Window)
				require.Equal(t, was[2].Window, third.Window)
				if name == "stops" {
					require.ErrorContains(t, err, "into orders broke off")
					require.Empty(t, second.ID)
					require.Empty(t, third.ID, "it was read, too")
					return
				}
				require.ErrorContains(t, err, "503")
				require.NotEmpty(t, third.ID, "what stops the run is left for the next look")
			})
		})
	}
}

// A window that broke off becomes pieces of a quarter of what came through, or of one
// page if these would have hardly more: of two, the first would be copied in vain
// whenever the second breaks off.
func TestPiecesOfABrokenWindow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ total, done, size, pieces int }{
		{100, 90, 10, 4},  // of two and a half pages
		{100, 60, 10, 6},  // of one and two thirds
		{100, 50, 10, 12}, // of one, and some room
		{100, 10, 10, 12},
		{1000, 10, 10, 15}, // 16 at most: these have eight numbers each
		{105, 100, 100, 2},
		{100, 60, 40, 3},
		{90, 45, 100, 1},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				w.shards = 1 // a hundred numbers and more in a window
				look := w.begun()
				was, before := w.tasks()[0], len(w.tasks())
				w.tasks()[0].Size = c.size
				counts := strings.NewReplacer(`"total":100`, fmt.Sprintf(`"total":%d`, c.total), `"created":40`, fmt.Sprintf(`"created":%d`, c.done))
				w.answer = func(q *http.Request) *http.Response {
					if q.URL.Path != "/_tasks/"+was.ID {
						return nil
					}
					return answer(200, counts.Replace(reply40(was.OpaqueID, was.StartedMS, remote(503))))
				}
				_, _, err := look.Observe(t.Context())
				require.NoError(t, err)
				require.Equal(t, c.pieces, 1+len(w.tasks())-before)
			})
		})
	}
}

// Pauses grow while nothing comes through, and after half an hour a person looks.
func TestPausesGrow(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		w.split.From = 10_000
		w.refuses = func(string) (bool, bool) { return true, false }
		require.NoError(t, w.open().PlanWindows(t.Context()))
		time.Sleep(time.Minute)
		var pauses []time.Duration
		began := time.Now()
		for {
			c := w.open()
			require.True(t, c.Intend())
			require.NoError(t, c.Start(t.Context()))
			time.Sleep(time.Second / 2)
			if _, _, err := c.Observe(t.Context()); err != nil {
				require.ErrorContains(t, err, "was lost 25 times")
				break
			}
			require.False(t, c.Intend(), "not before its time")
			pause, why := c.Pause()
			require.Equal(t, "what is left starts then", why)
			pauses = append(pauses, pause)
			time.Sleep(pause)
		}
		s := time.Second
		require.Equal(t, []time.Duration{s / 4, s / 4, s / 2, s / 2, s, s, 2 * s, 2 * s}, pauses[:8])
		require.Len(t, pauses, 24)
		require.Equal(t, 512*s, pauses[23])
		require.InDelta(t, 34*60, time.Since(began).Seconds(), 60)
		require.Zero(t, w.tasks()[0].Retries, "retry starts over")
		require.True(t, w.open().Intend(), "at once")
	})
}

// A person's retry is one for all copies: those that still run, and break off for
// the same reason, do not stop the run again at once.
func TestRetryIsForAll(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		c := w.begun()
		was := slices.Clone(w.tasks()[:copyjob.Parallel])
		for i := range w.tasks() {
			w.tasks()[i].Retries = 24
			w.tasks()[i].NotBefore = time.Now().Add(512 * time.Second)
		}
		ended := 1
		w.answer = func(q *http.Request) *http.Response {
			for i, task := range was {
				if q.URL.Path == "/_tasks/"+task.ID && i < ended {
					none := strings.Replace(reply40(task.OpaqueID, task.StartedMS, remote(503)), `"created":40`, `"created":0`, 1)
					return answer(200, none)
				}
			}
			return nil
		}
		_, _, err := c.Observe(t.Context())
		require.ErrorContains(t, err, "was lost 25 times")
		// Retry. The link is still cut for the others that ran.
		ended = len(was)
		c = w.open()
		_, _, err = c.Observe(t.Context())
		require.NoError(t, err)
		require.True(t, c.Intend(), "what had a pause is due")
	})
}

// What is left waits for the soonest, and for nothing while a task runs.
func TestPauseIsTheSoonest(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		require.NoError(t, w.open().PlanWindows(t.Context()))
		list := w.tasks()
		for i := range list {
			list[i].NotBefore = time.Now().Add(time.Duration(10+(i+3)%5) * time.Minute)
		}
		waits := func(want time.Duration, why, msg string) {
			pause, said := w.open().Pause()
			require.Equal(t, want, pause, msg)
			require.Equal(t, why, said, msg)
		}
		const then = "what is left starts then"
		waits(10*time.Minute, then, "")
		list[1].Intent = time.Now()
		waits(0, "", "one runs")
		list[1].Intent, list[1].NotBefore = time.Time{}, time.Now().Add(-time.Hour)
		waits(0, "", "one is due")
		left := &w.run.Facts.Reindex.LeakedScrolls
		*left = []facts.LeakedScrolls{{Until: time.Now().Add(3 * time.Minute), Count: 100}, {Until: time.Now().Add(4 * time.Minute), Count: 151}}
		waits(3*time.Minute, "what is left starts when the source has closed scrolls that copies left open as they broke off", "one is due, and there is no room for it")
		(*left)[0].Count = 99
		waits(0, "", "there is room")
		*left = nil
		for i := range list[:len(list)-1] {
			list[i].Result = &facts.TaskResult{}
		}
		waits(time.Until(list[len(list)-1].NotBefore), then, "the last waits for none")
	})
}

// The rate that is asked for at each kick-off, and of a task that runs.
func TestRates(t *testing.T) {
	t.Parallel()
	rate := func(r float64) *float64 { return &r }
	for name, c := range map[string]struct {
		spec, run *float64
		down      float64 // what the copy came down to
		bounded   string  // of a window, one of four
		open      string
	}{
		"nothing is said":   {nil, nil, 0, "", ""},
		"the spec's":        {rate(100), nil, 0, "25", "100"},
		"the person's":      {rate(100), rate(40), 0, "10", "40"},
		"none any more":     {rate(100), rate(-1), 0, "-1", "-1"},
		"came down":         {nil, nil, 7, "7", "7"},
		"came down further": {rate(100), nil, 7, "7", "7"},
		"came down, but":    {rate(20), nil, 7, "5", "7"},
		"came down from -1": {nil, rate(-1), 7, "7", "7"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				w.fill(1200, 10, "1s")
				w.run.Spec.Reindex.RequestsPerSecond, w.run.RequestsPerSecond = c.spec, c.run
				require.NoError(t, w.open().PlanWindows(t.Context()))
				list := w.tasks()
				for i := range list {
					list[i].NotBefore, list[i].PerSecond = time.Time{}, c.down
					if i > 0 && i < len(list)-1 {
						list[i].Result = &facts.TaskResult{}
					}
				}
				var asked []string
				w.answer = func(q *http.Request) *http.Response {
					if q.URL.Path == "/_reindex" {
						asked = append(asked, q.URL.Query().Get("requests_per_second"))
					}
					return nil
				}
				require.True(t, w.open().Intend())
				require.NoError(t, w.open().Start(t.Context()))
				time.Sleep(time.Hour) // it is over
				list[0].Result = &facts.TaskResult{}
				require.True(t, w.open().Intend())
				require.NoError(t, w.open().Start(t.Context()))
				require.Equal(t, []string{c.bounded, c.open}, asked)
			})
		})
	}
}

// A task is throttled once, by whom it concerns.
func TestRethrottledOnce(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		c := w.begun()
		told := 0
		w.answer = func(q *http.Request) *http.Response {
			if strings.HasSuffix(q.URL.Path, "/_rethrottle") {
				told++
			}
			return nil
		}
		_, _, err := c.Observe(t.Context())
		require.NoError(t, err)
		require.Zero(t, told, "nobody asked")
		other := 0.7 // no float
		w.run.RequestsPerSecond = &other
		for range 3 {
			_, _, err = w.open().Observe(t.Context())
			require.NoError(t, err)
		}
		require.Equal(t, copyjob.Parallel, told)
	})
}

// A task that was sought and found has seen no more than its own node's life; one
// that was started with a note keeps it.
func TestAdoptedUnderTheLoad(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.large(`{"number_of_replicas":0}`)
		rate := 4.0
		w.run.Spec.Reindex.RequestsPerSecond, w.run.Spec.Reindex.Size = &rate, 10
		w.lose = func(id string) bool { return true }
		require.NoError(t, w.open().PlanWindows(t.Context()))
		require.NoError(t, w.open().PrepareSettings(t.Context()))
		time.Sleep(time.Minute)
		require.True(t, w.open().Intend())
		require.Error(t, w.open().Start(t.Context()))
		noted := w.tasks()[0].NodesAtStart
		require.NotEmpty(t, noted)
		w.lose = nil
		w.tasks()[0].NodesAtStart = "earlier"
		w.tasks()[1].NodesAtStart = ""
		for range 5 {
			_ = w.open().Start(t.Context())
		}
		require.Equal(t, "earlier", w.tasks()[0].NodesAtStart, "of when it was started")
		require.Equal(t, noted, w.tasks()[1].NodesAtStart)
		require.NotEmpty(t, w.tasks()[0].ID)
	})
}

// What windows wrote is flushed once, when the last bounded one is finished, or when
// the first of them is a minute old. Until then they are not over: a node that
// restarts takes them with it, and the last window does not start.
func TestFlushedTogether(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T, w *world) (finish func(...int), look func() (unfinished, flushed int)) {
		w.large(`{"number_of_replicas":0}`)
		w.split.Most = copyjob.Parallel
		rate := 4.0
		w.run.Spec.Reindex.RequestsPerSecond, w.run.Spec.Reindex.Size = &rate, 10
		require.NoError(t, w.open().PlanWindows(t.Context()))
		require.NoError(t, w.open().PrepareSettings(t.Context()))
		time.Sleep(time.Minute)
		c := w.open()
		require.True(t, c.Intend())
		require.NoError(t, c.Start(t.Context()))
		flushes, finished := 0, map[string]facts.Task{}
		w.answer = func(q *http.Request) *http.Response {
			if q.URL.Path == "/orders/_flush" {
				flushes++
			}
			if task, ok := finished[q.URL.Path]; ok {
				return answer(200, strings.Replace(over(task, failures()), `"created":40`, `"created":100`, 2))
			}
			return nil
		}
		finish = func(list ...int) {
			for _, i := range list {
				finished["/_tasks/"+w.tasks()[i].ID] = w.tasks()[i]
			}
		}
		look = func() (int, int) {
			before := flushes
			left, counts, err := w.open().Observe(t.Context())
			require.NoError(t, err)
			require.GreaterOrEqual(t, counts[0].Done, int64(100*len(finished)), "what is not on disk is copied all the same")
			return left, flushes - before
		}
		return finish, look
	}
	row := func(w *world, window int) error {
		return w.store.GetPart(context.Background(), w.run.ID, fmt.Sprintf("window/00000/%05d", window), &facts.Task{})
	}
	last := copyjob.Parallel
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
			finish, look := begin(t, w)
			require.Len(t, w.tasks(), last+1)
			finish(0, 1)
			left, flushed := look()
			require.Equal(t, [2]int{last + 1, 0}, [2]int{left, flushed})
			require.NotNil(t, w.tasks()[0].Result)
			require.Error(t, row(w, 0), "no evidence yet")
			require.False(t, w.open().Intend())
			finish(2, 3)
			left, flushed = look()
			require.Equal(t, [2]int{1, 1}, [2]int{left, flushed}, "all are on disk, and the last one is left")
			require.NoError(t, row(w, 0))
			require.False(t, w.open().Intend(), "the source's refresh is waited for")
			time.Sleep(time.Minute)
			require.True(t, w.open().Intend())
			require.NotEmpty(t, w.tasks()[last].OpaqueID)
		})
	})
	t.Run("a minute", func(t *testing.T) {
		t.Parallel()
		inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
			finish, look := begin(t, w)
			finish(0)
			time.Sleep(50 * time.Second)
			_, flushed := look()
			require.Zero(t, flushed)
			finish(1)
			w.tasks()[1].Intent = time.Now() // its place was free later
			time.Sleep(10 * time.Second)
			left, flushed := look()
			require.Equal(t, [2]int{last - 1, 1}, [2]int{left, flushed}, "both")
		})
	})
	t.Run("a node restarts", func(t *testing.T) {
		t.Parallel()
		inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
			finish, look := begin(t, w)
			finish(0, 1, 2)
			_, flushed := look()
			require.Zero(t, flushed)
			require.NoError(t, w.dest.Restart(map[string]string{"reindex.remote.whitelist": "ep.example:9200"}))
			look() // the fourth is unknown
			require.Equal(t, 1, w.tasks()[3].Retries)
			time.Sleep(time.Minute)
			c := w.open()
			require.True(t, c.Intend())
			require.NoError(t, c.Start(t.Context()))
			finish(3) // in this life
			left, _ := look()
			require.Equal(t, last, left, "all but the fourth")
			for i := range last {
				require.Equal(t, i == 3, w.tasks()[i].Result != nil)
			}
			require.Contains(t, fmt.Sprint(w.run.Timeline), "not on its disk yet")
		})
	})
	for why, reply := range map[string]func() *http.Response{
		"it cannot be":    func() *http.Response { return answer(503, `{}`) },
		"a shard is away": func() *http.Response { return answer(200, `{"_shards":{"total":3,"successful":2,"failed":0}}`) },
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				finish, _ := begin(t, w)
				finish(0, 1, 2, 3)
				told := w.answer
				w.answer = func(q *http.Request) *http.Response {
					if q.URL.Path == "/orders/_flush" {
						return reply()
					}
					return told(q)
				}
				_, _, err := w.open().Observe(t.Context())
				require.ErrorContains(t, err, "flush index orders")
				time.Sleep(time.Minute)
				require.False(t, w.open().Intend(), "the last one waits")
				w.tasks()[last].Result = &facts.TaskResult{}
				require.False(t, copyjob.Copied(w.run, 0))
				was := slices.Clone(w.tasks())
				require.NoError(t, w.open().PlanWindows(t.Context()))
				require.Equal(t, was, w.tasks(), "a start with again goes on with it")
			})
		})
	}
	t.Run("one index of two", func(t *testing.T) {
		t.Parallel()
		inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
			finish, look := begin(t, w)
			w.run.Spec.Indices = append(w.run.Spec.Indices, events.Index{Source: "orders", Dest: "second"})
			w.run.Facts.Survey.Indices = append(w.run.Facts.Survey.Indices, w.run.Facts.Survey.Indices[0])
			w.run.Facts.Reindex.Tasks = append(w.run.Facts.Reindex.Tasks, facts.Task{Source: "orders", Dest: "second", Below: 10, NodesAtStart: "n@1", Intent: time.Now(), Result: &facts.TaskResult{}},
				facts.Task{Source: "orders", Dest: "second", Window: 1, From: 10, Below: 20})
			finish(0, 1, 2, 3)
			left, flushed := look()
			require.Equal(t, [2]int{3, 1}, [2]int{left, flushed}, "what belongs to the other is left alone")
			require.Equal(t, "n@1", w.tasks()[last+1].NodesAtStart)
		})
	})
	t.Run("while another stops the run", func(t *testing.T) {
		t.Parallel()
		inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
			finish, _ := begin(t, w)
			finish(0, 1, 2)
			stopped, told := w.tasks()[3], w.answer
			time.Sleep(time.Minute)
			w.answer = func(q *http.Request) *http.Response {
				switch q.URL.Path {
				case "/orders/_flush":
					return answer(503, `{}`)
				case "/_tasks/" + stopped.ID:
					return answer(200, reply40(stopped.OpaqueID, stopped.StartedMS, remote(404)))
				}
				return told(q)
			}
			_, _, err := w.open().Observe(t.Context())
			require.ErrorContains(t, err, "broke off", "the flush can wait")
		})
	})
}

// When there is something to do is reckoned from the tasks that run: a place will
// be free that another waits for, or a young one may have broken off.
func TestSoonest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		created int
		lost    int
		crowded bool
		want    time.Duration
	}{
		"nobody waits":           {created: 40},
		"another waits":          {created: 40, crowded: true, want: 12 * time.Second}, // 60 more at 5 a second
		"it has told nothing":    {want: 2 * time.Second},
		"it broke off before":    {created: 40, lost: 1, want: 2 * time.Second},
		"both":                   {created: 40, lost: 1, crowded: true, want: 2 * time.Second},
		"it is done in a moment": {created: 99, lost: 1, crowded: true, want: 80 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				w.begun()
				w.run.Facts.Reindex.Tasks = w.tasks()[:1]
				if c.crowded {
					w.run.Facts.Reindex.Tasks = append(w.run.Facts.Reindex.Tasks, facts.Task{Source: "orders", Dest: "orders", Window: 1, From: 100, Below: 200})
				}
				task := &w.tasks()[0]
				task.Retries = c.lost
				w.answer = func(q *http.Request) *http.Response {
					if q.URL.Path != "/_tasks/"+task.ID {
						return nil
					}
					told := reply40(task.OpaqueID, task.StartedMS, `"completed":false`)
					told = strings.Replace(told, `"created":40`, fmt.Sprintf(`"created":%d`, c.created), 1)
					return answer(200, strings.Replace(told, `"running_time_in_nanos":1000000000`, `"running_time_in_nanos":8000000000`, 1))
				}
				look := w.open()
				_, _, err := look.Observe(t.Context())
				require.NoError(t, err)
				require.InDelta(t, c.want, look.PollBy(), float64(time.Millisecond))
			})
		})
	}
}

// A shard is flushed by the way, the rarer the larger it is.
func TestFlushedByTheWay(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int64]string{1 << 20: "33554432b", 1 << 30: "107374182b", 1 << 40: "536870912b"} {
		inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
			w.large(`{"translog.flush_threshold_size":"1gb"}`)
			w.run.Facts.Survey.Indices = append([]facts.SurveyedIndex{{Dest: "other", Bytes: 7 << 30}}, w.run.Facts.Survey.Indices...)
			w.run.Facts.Survey.Indices[1].Bytes = bytes
			w.run.Facts.Survey.Indices[1].ShardSeqNos = make([]int64, 5)
			w.run.Facts.Destination.Indices[0].Load = "intended"
			require.NoError(t, w.store.PutPart(t.Context(), w.run.ID, "settings-before/orders", map[string]string{"translog.flush_threshold_size": "1gb"}))
			require.NoError(t, w.open().PrepareSettings(t.Context()))
			require.Contains(t, w.settings(), `"index.translog.flush_threshold_size":"`+want+`"`)
		})
	}
}
