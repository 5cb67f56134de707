package copyjob_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/copyjob"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/progress"
	"eslink/shared/steps/reindex"
)

// world is two embedded clusters, of which one reads from the other, and a run
// that copies an index between them.
type world struct {
	t            *testing.T
	source, dest *elastic.Server
	store        *run.Store
	run          *run.Run
	split        copyjob.Split
	login        kms.Login // at the destination

	mu     sync.Mutex
	kicked []string // X-Opaque-Ids of all _reindex that reached the destination
	lose   func(opaqueID string) bool
	late   []func() // kick-offs that are still on their way
	delay  func(opaqueID string) bool
	// remote answers the destination in place of the source, unless it returns
	// nil.
	remote func(body string) *http.Response
	// answer answers a function in place of the destination, unless it returns nil.
	answer func(*http.Request) *http.Response
	// huge are documents that make a page longer than the destination reads, by a word
	// of theirs.
	huge string
	// read is told how many documents each page has that the destination reads.
	read func(hits int)
	// refuses has the source answer 503, or nothing at all.
	refuses func(path string) (refused, cut bool)
	// pause is how long the source takes to answer, shards how many it has, 0 for
	// three.
	pause  time.Duration
	shards int
}

// inWorld runs do in a bubble.
func inWorld(t *testing.T, c elastic.Config, do func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: &run.Store{Driver: &run.Mem{}, Now: time.Now}, split: copyjob.Split{From: 100, Each: 100, Most: 32}}
		w.source = elastic.New(elastic.Config{Name: "source", Version: "7.17.29"})
		c.Name, c.Version, c.Remote = "dest", "7.17.29", reply{w}
		c.Settings = map[string]string{"reindex.remote.whitelist": "ep.example:9200"}
		w.dest = elastic.New(c)
		defer w.dest.Stop()
		do(t, w)
	})
}

// reply lets a test change what the source answers the destination.
type reply struct{ w *world }

func (r reply) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(r.w.pause)
	if r.w.refuses != nil {
		switch refused, cut := r.w.refuses(req.URL.Path); {
		case refused:
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
		case cut:
			return nil, errors.New("connection reset by peer")
		}
	}
	if r.w.remote != nil && strings.HasSuffix(req.URL.Path, "/_search") {
		body, _ := io.ReadAll(req.Body) // from memory
		req.Body = io.NopCloser(strings.NewReader(string(body)))
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		if resp := r.w.remote(string(body)); resp != nil {
			return resp, nil
		}
	}
	resp, err := r.w.source.RoundTrip(req)
	if err != nil || r.w.huge == "" && r.w.read == nil {
		return resp, err
	}
	defer resp.Body.Close()
	page, _ := io.ReadAll(resp.Body) // from memory
	resp.Body = io.NopCloser(bytes.NewReader(page))
	if r.w.read != nil {
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		r.w.read(bytes.Count(page, []byte(`"_id":`)))
		return resp, nil
	}
	if bytes.Contains(page, []byte(r.w.huge)) {
		resp.ContentLength, resp.Body = 110<<20, http.NoBody
	}
	return resp, nil
}

// RoundTrip is how the functions reach the destination.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	if w.answer != nil {
		if resp := w.answer(req); resp != nil {
			return resp, nil
		}
	}
	if req.URL.Path != "/_reindex" {
		return w.dest.RoundTrip(req)
	}
	id := req.Header.Get("X-Opaque-Id")
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.delay != nil && w.delay(id) {
		body, _ := io.ReadAll(req.Body) // from memory
		again := req.Clone(context.Background())
		again.Body = io.NopCloser(strings.NewReader(string(body)))
		w.late = append(w.late, func() { _, _ = w.dest.RoundTrip(again) })
		return nil, errors.New("connection reset by peer")
	}
	w.kicked = append(w.kicked, id)
	resp, err := w.dest.RoundTrip(req)
	if w.lose != nil && w.lose(id) {
		return nil, errors.New("connection reset by peer")
	}
	return resp, err
}

// Open and Login are a step's way to the clusters.
func (w *world) Open(context.Context, clusters.Side) (*es.Client, error) {
	return es.New(w, "http://dest:9200", w.login.Username, w.login.Password)
}
func (w *world) Login(context.Context, clusters.Side) (kms.Login, error) {
	return kms.Login{Username: "reader", Password: "secret"}, nil
}

func (w *world) ask(s *elastic.Server, method, path, body string) []byte {
	w.t.Helper()
	req, err := http.NewRequest(method, "http://es:9200"+path, strings.NewReader(body))
	require.NoError(w.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth("elastic", "secret")
	resp, err := s.RoundTrip(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	require.Less(w.t, resp.StatusCode, 300, "%s %s", path, raw)
	return raw
}

// fill makes the source's index and a run that is to copy it.
func (w *world) fill(n, bytes int, refresh string) {
	w.t.Helper()
	w.ask(w.source, "PUT", "/orders", fmt.Sprintf(`{"settings":{"number_of_shards":%d,"refresh_interval":%q}}`, cmp.Or(w.shards, 3), refresh))
	w.ask(w.dest, "PUT", "/orders", `{"settings":{"number_of_shards":2}}`)
	var docs strings.Builder
	text := strings.Repeat("x", bytes)
	for i := range n {
		fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%d\"}}\n{\"version\":0,\"text\":%q}\n", i, text)
	}
	if n > 0 {
		w.ask(w.source, "POST", "/orders/_bulk?refresh=true", docs.String())
	}
	w.run = &run.Run{ID: "0123456789abcdef", Generation: 1, Spec: events.Spec{InstanceID: "es-cn-dst000000001",
		Target: events.Target{Protocol: "http", Port: 9200}, Indices: []events.Index{{Source: "orders", Dest: "orders"}}}}
	w.run.Facts.Preflight = &facts.Preflight{}
	w.run.Facts.Accept = &facts.Accept{Domain: "ep.example"}
	w.survey(refresh)
}

func (w *world) survey(refresh string) {
	client, err := es.New(w.source, "http://source:9200", "", "")
	require.NoError(w.t, err)
	stats, err := client.Stats(w.t.Context(), "orders")
	require.NoError(w.t, err)
	n, err := client.Count(w.t.Context(), "orders", nil)
	require.NoError(w.t, err)
	w.run.Facts.Survey = &facts.Survey{Indices: []facts.SurveyedIndex{{Source: "orders", Dest: "orders", Documents: n, Total: n, Bytes: stats.Bytes,
		MaxSeqNo: stats.MaxSeqNo, ShardSeqNos: stats.ShardSeqNos, State: fmt.Sprintf("uuid/%d", stats.Operations), Refresh: refresh}}}
}

func (w *world) open() *copyjob.Job {
	c, err := w.opener().Open(w.t.Context(), w.run)
	require.NoError(w.t, err)
	return c
}

// opener divides indices as the test says, usual as everywhere.
func (w *world) opener() copyjob.Opener {
	o := w.usual()
	o.Split = w.split
	return o
}
func (w *world) usual() copyjob.Opener {
	return copyjob.Opener{Clusters: w, Rows: w.store, Now: time.Now}
}

// copy drives the copy as the steps do, and calls between before each kick-off
// and after it. The record is saved between invocations.
func (w *world) copy(between func()) error {
	w.t.Helper()
	if err := w.open().PlanWindows(w.t.Context()); err != nil {
		return err
	}
	return w.goOn(between)
}

// goOn drives a copy that is planned.
func (w *world) goOn(between func()) error {
	w.t.Helper()
	for range 2000 {
		between()
		raw, err := json.Marshal(w.run.Facts)
		require.NoError(w.t, err)
		w.run.Facts = facts.Facts{}
		require.NoError(w.t, json.Unmarshal(raw, &w.run.Facts))
		c := w.open()
		if err := c.Start(w.t.Context()); err != nil {
			time.Sleep(3 * time.Second) // the engine tries again
			continue
		}
		between()
		left, _, err := c.Observe(w.t.Context())
		if err != nil {
			return err
		}
		if left == 0 {
			return nil
		}
		if c.Intend() {
			continue
		}
		pause, _ := c.Pause()
		time.Sleep(max(pause, time.Second))
	}
	w.t.Fatal("no end")
	return nil
}

// documents are an index's, by ID.
func (w *world) documents(s *elastic.Server) map[string]string {
	w.ask(s, "POST", "/orders/_refresh", "")
	var reply struct {
		Hits struct {
			Hits []struct {
				ID     string                `json:"_id"`
				Source struct{ Version int } `json:"_source"`
			}
		}
	}
	require.NoError(w.t, json.Unmarshal(w.ask(s, "POST", "/orders/_search", `{"size":10000}`), &reply))
	out := map[string]string{}
	for _, h := range reply.Hits.Hits {
		out[h.ID] = fmt.Sprint(h.Source.Version)
	}
	return out
}

func (w *world) tasks() []facts.Task { return w.run.Facts.Reindex.Tasks }

// What is written before the last window starts is copied, in its newest
// version, wherever it lay and whatever window had already been read; only what
// is deleted stays.
func TestWindowsMissNothingThatIsWritten(t *testing.T) {
	t.Parallel()
	for _, refresh := range []string{"1s", "30s"} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(refresh, seed), func(t *testing.T) {
				t.Parallel()
				inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
					w.fill(1200, 10, refresh)
					random := rand.New(rand.NewPCG(seed, 1))
					deleted := map[string]bool{}
					version, written := 0, 0
					require.NoError(t, w.copy(func() {
						tasks := w.tasks()
						last := tasks[len(tasks)-1]
						for _, other := range tasks[:len(tasks)-1] {
							if other.Result == nil {
								require.True(t, last.Intent.IsZero(), "the last window waits for window %d", other.Window)
							}
						}
						if !last.Intent.IsZero() || !last.NotBefore.IsZero() {
							return // from here on the source is left alone
						}
						version++
						var docs strings.Builder
						for range 60 {
							id := fmt.Sprint(random.IntN(1300)) // some are new
							written++
							if random.IntN(8) == 0 {
								deleted[id] = true
								fmt.Fprintf(&docs, "{\"delete\":{\"_id\":%q}}\n", id)
								continue
							}
							delete(deleted, id)
							fmt.Fprintf(&docs, "{\"index\":{\"_id\":%q}}\n{\"version\":%d}\n", id, version)
						}
						w.ask(w.source, "POST", "/orders/_bulk", docs.String())
					}))
					require.Greater(t, written, 500)
					require.Greater(t, len(w.tasks()), 5)
					source, dest := w.documents(w.source), w.documents(w.dest)
					for id, version := range source {
						require.Equal(t, version, dest[id], id)
					}
					for id := range dest {
						_, ok := source[id]
						require.True(t, ok || deleted[id], id)
					}
				})
			})
		}
	}
}

// A window that is copied long after the others, because it broke off, finds
// that a document has left it: written again, in a shard that was behind the
// others, or before the survey and not visible then. The last window has it.
func TestDocumentsThatLeaveAWindow(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before", "during"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				w.fill(1200, 10, "30s")
				for range 60 { // one shard gets ahead
					w.ask(w.source, "PUT", "/orders/_doc/1199", `{"version":0}`)
				}
				w.ask(w.source, "POST", "/orders/_refresh", "")
				var docs strings.Builder
				for i := range 30 {
					fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%d\"}}\n{\"version\":1}\n", i)
				}
				if when == "before" {
					w.ask(w.source, "POST", "/orders/_bulk", docs.String())
				}
				w.survey("30s")
				failed := 0
				w.remote = func(body string) *http.Response {
					if !strings.Contains(body, `"gte":0`) || failed == 2 {
						return nil
					}
					failed++
					return &http.Response{StatusCode: 503, Body: http.NoBody}
				}
				written := false
				require.NoError(t, w.copy(func() {
					left := 0
					for _, task := range w.tasks() {
						if task.Result == nil {
							left++
						}
					}
					if when == "during" && left == 2 && !written {
						written = true
						w.ask(w.source, "POST", "/orders/_bulk?refresh=true", docs.String())
					}
				}))
				require.Equal(t, when == "during", written)
				require.Equal(t, 2, failed)
				require.Equal(t, w.documents(w.source), w.documents(w.dest))
			})
		})
	}
}

// What was written just before the survey is copied, though nobody could see it then,
// whether it lies in windows or not.
func TestDocumentsThatWereNotVisible(t *testing.T) {
	t.Parallel()
	for _, from := range []int64{100, 10_000} {
		t.Run(fmt.Sprint(from), func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				w.fill(1200, 10, "30s")
				w.split.From = from
				var docs strings.Builder
				for i := range 30 {
					fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"new-%d\"}}\n{\"version\":1}\n", i)
				}
				w.ask(w.source, "POST", "/orders/_bulk", docs.String())
				w.survey("30s")
				w.run.Facts.Survey.At = time.Now()
				require.NoError(t, w.copy(func() {}))
				require.Equal(t, from == 10_000, len(w.tasks()) == 1)
				require.Len(t, w.documents(w.dest), 1230)
			})
		})
	}
}

// Windows of a quiet index are disjoint and sum up to it, and each has its row.
func TestWindowsAreAPartition(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		require.NoError(t, w.copy(func() {}))
		var total, created int64
		for _, res := range copyjob.Results(w.run, 0) {
			total, created = total+res.Total, created+res.Created
		}
		require.EqualValues(t, 1200, total)
		require.EqualValues(t, 1200, created)
		for n := range w.tasks() {
			var row facts.Task
			require.NoError(t, w.store.GetPart(t.Context(), w.run.ID, fmt.Sprintf("window/00000/%05d", n), &row))
			require.Equal(t, w.tasks()[n], row)
		}
		seen := map[string]bool{}
		for _, id := range w.kicked {
			require.False(t, seen[id])
			seen[id] = true
		}
		require.Len(t, seen, len(w.tasks()))
		require.Contains(t, seen, "eslink/0123456789abcdef/1/0/0/1")
		require.True(t, copyjob.Copied(w.run, 0))

		// Nothing has changed, so there is nothing to do; then something has.
		require.NoError(t, w.open().PlanWindows(t.Context()))
		require.False(t, w.open().Intend())
		w.ask(w.source, "PUT", "/orders/_doc/7?refresh=true", `{"version":1}`)
		w.survey("1s")
		require.False(t, copyjob.Copied(w.run, 0))
		require.NoError(t, w.copy(func() {}))
		require.Equal(t, w.documents(w.source), w.documents(w.dest))
	})
}

// A node restarts in the middle: only the windows that ran are copied again.
func TestNodeRestartsInTheMiddle(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		rate := 40.0
		w.run.Spec.Reindex.RequestsPerSecond, w.run.Spec.Reindex.Size = &rate, 20
		done := map[int]int{}
		require.NoError(t, w.copy(func() {
			finished, running := 0, 0
			for _, task := range w.tasks() {
				switch {
				case task.Result != nil:
					finished++
				case task.ID != "":
					running++
				}
			}
			if finished >= 4 && running > 0 && len(done) == 0 {
				for _, task := range w.tasks() {
					if task.Result != nil {
						done[task.Window] = task.Attempt
					}
				}
				require.NoError(t, w.dest.Restart(map[string]string{"reindex.remote.whitelist": "ep.example:9200"}))
			}
		}))
		again := 0
		for _, task := range w.tasks() {
			if attempt, ok := done[task.Window]; ok {
				require.Equal(t, attempt, task.Attempt)
			} else if task.Attempt > 1 {
				again++
			}
		}
		require.Positive(t, again)
		require.LessOrEqual(t, again, copyjob.Parallel)
		require.Contains(t, fmt.Sprint(w.run.Timeline), "copying again")
		require.Equal(t, w.documents(w.source), w.documents(w.dest))
	})
}

// A kick-off whose reply is lost is found by its name, and not sent again.
func TestLostRepliesAreAdopted(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		rate := 20.0
		w.run.Spec.Reindex.RequestsPerSecond, w.run.Spec.Reindex.Size = &rate, 5
		w.lose = func(string) bool { return true }
		require.NoError(t, w.copy(func() {}))
		seen := map[string]bool{}
		for _, id := range w.kicked {
			require.False(t, seen[id], id)
			seen[id] = true
		}
		require.Equal(t, w.documents(w.source), w.documents(w.dest))
	})
}

// A kick-off that arrives late, after it was sent again, does not write older
// documents over those of the last window.
func TestLateKickOffIsStoppedBeforeTheLastWindow(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		rate := 40.0
		w.run.Spec.Reindex.RequestsPerSecond, w.run.Spec.Reindex.Size = &rate, 5
		delayed := false
		w.delay = func(id string) bool {
			if strings.HasSuffix(id, "/0/1") && !delayed {
				delayed = true
				return true
			}
			return false
		}
		released := false
		require.NoError(t, w.copy(func() {
			left := 0
			for _, task := range w.tasks() {
				if task.Result == nil {
					left++
				}
			}
			if left == 1 && !released && len(w.late) > 0 {
				released = true
				w.late[0]() // it has read its window, and writes for minutes
				synctest.Wait()
				var docs strings.Builder
				for i := range 1200 {
					fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%d\"}}\n{\"version\":1}\n", i)
				}
				w.ask(w.source, "POST", "/orders/_bulk?refresh=true", docs.String())
			}
		}))
		require.True(t, released)
		time.Sleep(time.Hour)
		require.Equal(t, w.documents(w.source), w.documents(w.dest))
	})
}

// A link that refuses one request in five, and breaks off one in twenty, does not
// stop a copy: windows become as small as what comes through, and are copied again.
func TestABadLinkIsCrossedInSmallWindows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				w.fill(4000, 10, "1s")
				w.split = copyjob.Split{From: 100, Each: 1000, Most: 32}
				w.run.Spec.Reindex.Size = 50
				var mu sync.Mutex
				random := rand.New(rand.NewPCG(seed, 503))
				w.refuses = func(string) (bool, bool) {
					mu.Lock()
					defer mu.Unlock()
					p := random.Float64()
					return p < .2, p > .95
				}
				began := time.Now()
				require.NoError(t, w.copy(func() {}))
				require.Less(t, time.Since(began), 10*time.Minute)
				tasks := w.tasks()
				require.Greater(t, len(tasks), 20)
				names, next := map[int]bool{}, int64(0)
				for i, task := range tasks {
					require.Equal(t, next, task.From, "each begins where the one before ends")
					require.NotNil(t, task.Result)
					require.False(t, names[task.Window])
					names[task.Window], next = true, task.Below
					require.Equal(t, i == len(tasks)-1, next == 0)
				}
				seen := map[string]bool{}
				for _, id := range w.kicked {
					require.False(t, seen[id], id)
					seen[id] = true
				}
				require.Equal(t, w.documents(w.source), w.documents(w.dest))
			})
		})
	}
}

// The source keeps half of the scrolls that it allows for others, however often
// tasks break off and leave theirs behind.
func TestScrollsThatAreLeftAtTheSource(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]float64{"often": 0.3, "now and then": 0.05} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				w.shards = 20
				w.fill(6000, 10, "1s")
				w.split = copyjob.Split{From: 100, Each: 1000, Most: 32}
				w.run.Spec.Reindex.Size = 100
				var mu sync.Mutex
				random := rand.New(rand.NewPCG(1, 500))
				w.refuses = func(path string) (bool, bool) { // what ends a scroll, too
					mu.Lock()
					defer mu.Unlock()
					return false, strings.HasSuffix(path, "/scroll") && random.Float64() < broken
				}
				kept := map[string]string{}
				w.answer = func(q *http.Request) *http.Response {
					if q.URL.Path == "/_reindex" {
						kept[q.Header.Get("X-Opaque-Id")] = q.URL.Query().Get("scroll")
					}
					return nil
				}
				left, lost := 0, 0
				require.NoError(t, w.copy(func() {
					running := strings.Count(string(w.ask(w.dest, "GET", "/_tasks?actions=*reindex", "")), "indices:data/write/reindex")
					left = max(left, w.contexts()-running*w.shards)
					lost = len(w.run.Facts.Reindex.LeakedScrolls)
				}))
				t.Logf("%d left, %d kept in mind, %d kick-offs", left, lost, len(w.kicked))
				running := copyjob.Parallel * w.shards // of which each may break off
				require.LessOrEqual(t, left, 250+running)
				require.Equal(t, broken > 0.1, left > 100, "left %d: enough to meet the bound, or not", left)
				require.LessOrEqual(t, lost, 250/w.shards+copyjob.Parallel+1)
				short := 0
				for id, scroll := range kept {
					parts := strings.Split(id, "/")
					window, attempt := parts[len(parts)-2], parts[len(parts)-1]
					if len(window) == 1 && window < "7" && attempt == "1" { // of six and the last one
						require.Empty(t, scroll, id)
						continue
					}
					require.Equal(t, "60s", scroll, id)
					short++
				}
				require.Positive(t, short)
				require.Equal(t, w.documents(w.source), w.documents(w.dest))
				time.Sleep(6 * time.Minute)
				require.Zero(t, w.contexts())
			})
		})
	}
}

// contexts is how many scrolls are open at the source, one a shard.
func (w *world) contexts() (n int) {
	var reply struct {
		Nodes map[string]struct {
			Indices struct {
				Search struct {
					Open int `json:"open_contexts"`
				}
			}
		}
	}
	require.NoError(w.t, json.Unmarshal(w.ask(w.source, "GET", "/_nodes/stats/indices", ""), &reply))
	for _, node := range reply.Nodes {
		n += node.Indices.Search.Open
	}
	return n
}

// What breaks off behind the last document is over; a page before it is not.
func TestBrokenOffBehindTheLastDocument(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		w.run.Spec.Reindex.Size = 200
		w.refuses = func(path string) (bool, bool) { return strings.HasSuffix(path, "/scroll"), false }
		require.NoError(t, w.copy(func() {}))
		for _, task := range w.tasks()[:len(w.tasks())-1] {
			require.Equal(t, 1, task.Attempt)
			require.EqualValues(t, task.Result.Total, task.Result.Created)
			require.Positive(t, task.Result.Total)
		}
		require.Equal(t, w.documents(w.source), w.documents(w.dest))
	})
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		w.split.From = 5000
		w.run.Spec.Reindex.Size = 200
		w.refuses = func(path string) (bool, bool) { return strings.HasSuffix(path, "/scroll"), false }
		require.ErrorContains(t, w.copy(func() {}), "was lost")
		require.Nil(t, w.tasks()[0].Result)
	})
}

// A window that never comes through is a person's to look at, whatever becomes of
// the others.
func TestAWindowThatNeverComesThrough(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		rate := 30.0
		w.run.Spec.Reindex.RequestsPerSecond, w.run.Spec.Reindex.Size = &rate, 10
		broken := true
		w.remote = func(body string) *http.Response {
			if !broken || !strings.Contains(body, `"gte":0`) {
				return nil
			}
			return &http.Response{StatusCode: 503, Body: http.NoBody}
		}
		err := w.copy(func() {})
		var p *events.Problem
		require.ErrorAs(t, err, &p)
		require.Contains(t, p.Error(), "was lost")
		require.LessOrEqual(t, w.tasks()[0].Attempt, 100)
		require.Greater(t, w.tasks()[0].Attempt, 20)
		for _, other := range w.tasks()[1 : len(w.tasks())-1] {
			require.NotNil(t, other.Result)
		}
		broken = false // and action retry
		require.NoError(t, w.copy(func() {}))
		require.Equal(t, w.documents(w.source), w.documents(w.dest))
	})
}

// Nor does one that breaks off whenever others come through go on for ever.
func TestAWindowThatBreaksOffWhileOthersFinish(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		w.remote = func(body string) *http.Response {
			if !strings.Contains(body, `"gte":0`) {
				return nil
			}
			return &http.Response{StatusCode: 503, Body: http.NoBody}
		}
		// As if another one had finished just before each look.
		require.ErrorContains(t, w.copy(func() { w.tasks()[0].Retries = 0 }), "was lost 100 times")
	})
}

// Pages that the destination refuses become smaller and rarer.
func TestRefusedPagesShrink(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{Heap: 4 << 20}, func(t *testing.T, w *world) {
		w.fill(300, 4000, "1s")
		w.split.From = 1000
		w.run.Spec.Reindex.Size = 300
		require.NoError(t, w.copy(func() {}))
		task := w.tasks()[0]
		require.Equal(t, 75, task.Size)
		require.Zero(t, task.Retries)
		require.Contains(t, fmt.Sprint(w.run.Timeline), "smaller pages")
		require.Equal(t, w.documents(w.source), w.documents(w.dest))
	})
}

// A copy that the destination refuses after a while goes on at half its rate.
func TestRefusalsLowerTheRate(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{Heap: 4 << 20}, func(t *testing.T, w *world) {
		w.fill(300, 10, "1s")
		var docs strings.Builder
		for i := range 100 {
			fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"large-%d\"}}\n{\"text\":%q}\n", i, strings.Repeat("x", 9000))
		}
		w.ask(w.source, "POST", "/orders/_bulk?refresh=true", docs.String())
		rate := 100.0
		w.run.Spec.Reindex.RequestsPerSecond, w.run.Spec.Reindex.Size, w.split.From = &rate, 60, 1000
		require.NoError(t, w.copy(func() {}))
		task := w.tasks()[0]
		require.Equal(t, 30, task.Size)
		require.Positive(t, task.PerSecond)
		require.Less(t, task.PerSecond, 80.0)
		require.Equal(t, w.documents(w.source), w.documents(w.dest))
	})
}

// Documents that no page is small enough for are told by their IDs, and all others
// are copied: from an index in one piece, which becomes windows if it is large, and
// from one in windows.
func TestDocumentsThatAreTooLarge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		documents, size, kickOffs int
		from                      int64
		huge                      []string
		tasks                     bool // more than one in the end
	}{
		"one of few":              {300, 100, 12, 1 << 40, []string{"150"}, false},
		"the first and the last":  {300, 100, 16, 1 << 40, []string{"0", "299"}, false},
		"three in a row":          {300, 100, 16, 1 << 40, []string{"10", "11", "12"}, false},
		"of many, in one piece":   {5000, 200, 24, 1 << 40, []string{"2500"}, true},
		"of many, in windows":     {5000, 200, 26, 100, []string{"7", "4321"}, true},
		"pages as the server has": {1500, 0, 24, 1 << 40, []string{"700"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				w.fill(c.documents, 10, "1s")
				w.huge = "longer than 100 MB"
				for _, id := range c.huge {
					w.ask(w.source, "POST", "/orders/_doc/"+id+"?refresh=true", `{"version":0,"text":"`+w.huge+`"}`)
				}
				var docs strings.Builder
				for i := range c.documents { // their numbers are not the last ones
					fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"late-%d\"}}\n{\"version\":0}\n", i)
				}
				w.ask(w.source, "POST", "/orders/_bulk?refresh=true", docs.String())
				w.survey("1s")
				w.split = copyjob.Split{From: c.from, Each: 2000, Most: 32}
				w.run.Spec.Reindex.Size = c.size
				began := time.Now()
				require.NoError(t, w.copy(func() {}))
				require.Less(t, time.Since(began), 5*time.Minute)
				require.Equal(t, c.tasks, len(w.tasks()) > 1)
				t.Logf("%d windows, %d kick-offs, %s", len(w.tasks()), len(w.kicked), time.Since(began))
				require.LessOrEqual(t, len(w.kicked), c.kickOffs)
				told := slices.Collect(maps.Values(w.rejections()))
				slices.Sort(told)
				slices.Sort(c.huge)
				want := w.documents(w.source)
				require.Len(t, told, len(c.huge))
				for i, id := range c.huge {
					require.Contains(t, told[i], "document "+id+" in orders is larger than the 100 MB that _reindex takes from another cluster")
					delete(want, id)
				}
				require.Equal(t, want, w.documents(w.dest))
				require.False(t, copyjob.Copied(w.run, 0))
				// Nothing is left behind by asking for their names.
				require.JSONEq(t, `{"indices":[{"name":"orders","attributes":["open"]}],"aliases":[],"data_streams":[]}`, string(w.ask(w.dest, "GET", "/_resolve/index/*", "")))
			})
		})
	}
}

// A document whose name is not told stops the run with its place; so do more than
// are left out. What may pass is asked for again.
func TestDocumentsWithoutAName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		huge   int
		answer func(n int) *http.Response
		err    string
	}{
		"not to be sorted": {1, func(int) *http.Response {
			return answer(400, `{"error":{"type":"status_exception","reason":"body={}","caused_by":{"type":"response_exception","reason":"x"}},"status":400}`)
		}, "a document of orders, the one after 20 others, is larger than the 100 MB"},
		"fewer than there were": {1, func(int) *http.Response {
			return answer(400, `{"total":1,"created":0,"failures":[{"index":"x","id":"1","cause":{"type":"illegal_argument_exception","reason":"pipeline with id [x] does not exist"},"status":400}]}`)
		}, "the one after 20 others"},
		"no document's failure": {1, func(int) *http.Response {
			return answer(500, `{"total":30,"created":0,"failures":[`+strings.Repeat(`{"index":"orders","shard":0,"status":500,"reason":{"type":"runtime_exception","reason":"z"}},`, 30)+`{}]}`)
		}, "the one after 20 others"},
		"away for a moment": {1, func(n int) *http.Response {
			if n == 1 {
				return answer(503, `{}`)
			}
			return nil
		}, ""},
		"too many": {51, func(int) *http.Response { return nil }, "document 70 in orders is larger than the 100 MB that _reindex takes from another cluster (entity content is too long [115343360] for the configured buffer limit [104857600]): move it by itself; 50 others that do not fit are left out already"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				w.shards, w.split.From, w.huge = 1, 1<<40, "longer than 100 MB"
				w.fill(20, 10, "1s")
				var docs strings.Builder
				for i := range c.huge {
					fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%d\"}}\n{\"version\":0,\"text\":%q}\n", 20+i, w.huge)
				}
				w.ask(w.source, "POST", "/orders/_bulk?refresh=true", docs.String())
				w.survey("1s")
				asked, ordered := 0, false
				w.answer = func(q *http.Request) *http.Response {
					if q.URL.Path != "/_reindex" {
						return nil
					}
					body, _ := io.ReadAll(q.Body) // from memory
					q.Body = io.NopCloser(bytes.NewReader(body))
					sorted := strings.Contains(string(body), `"sort":"_seq_no"`)
					if q.URL.Query().Has("wait_for_completion") {
						ordered = sorted
						return nil
					}
					// A scroll's own order may be another one each time.
					require.True(t, ordered && sorted)
					asked++
					return c.answer(asked)
				}
				err := w.copy(func() {})
				if name == "away for a moment" {
					require.Equal(t, apierr.Retry, apierr.ClassOf(err))
					err = w.goOn(func() {})
				}
				if c.err == "" {
					require.NoError(t, err)
					require.Equal(t, 2, asked)
					require.Contains(t, w.rejections()["20"], "document 20 in orders")
					return
				}
				var p *events.Problem
				require.ErrorAs(t, err, &p)
				require.Contains(t, p.Errors[0].Message, c.err)
				require.Equal(t, "indices[0]", p.Errors[0].Field)
				require.Len(t, w.documents(w.dest), 20)
				// A person's retry starts it again.
				w.run.Cursor.Since = time.Now().Add(time.Second)
				time.Sleep(2 * time.Second)
				require.True(t, w.open().Intend())
			})
		})
	}
}

// rejections are what the destination rejected, by ID, and why.
func (w *world) rejections() map[string]string {
	out, n := map[string]string{}, copyjob.Rejected(w.run, 0)
	for row := range n.Rows {
		list, err := copyjob.Rejections(w.t.Context(), w.store, w.run, 0, row)
		require.NoError(w.t, err)
		for _, f := range list {
			require.NotContains(w.t, out, f.ID, "named twice")
			out[f.ID] = f.Reason
		}
	}
	require.Len(w.t, out, n.Count)
	return out
}

// Documents that the destination rejects take no others along, wherever they are and
// in how many windows they are copied; each is named once, the totals are true, and
// nothing is read more than ten times.
func TestDocumentsThatDoNotFit(t *testing.T) {
	t.Parallel()
	const n = 3000
	for name, odd := range map[string]func(i int) bool{
		"the first":     func(i int) bool { return i < 60 },
		"the last":      func(i int) bool { return i >= n-60 },
		"one":           func(i int) bool { return i == n/2 },
		"in every page": func(i int) bool { return i%50 == 7 },
		"every third":   func(i int) bool { return i%3 == 0 },
		"all":           func(int) bool { return true },
	} {
		for _, shards := range []int{1, 3} {
			for shape, split := range map[string]copyjob.Split{"one task": {From: 1 << 40, Each: 1, Most: 1}, "windows": {From: 1, Each: 700, Most: 32}} {
				t.Run(fmt.Sprintf("%s, %d shards, %s", name, shards, shape), func(t *testing.T) {
					t.Parallel()
					inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
						w.shards = shards
						w.fill(0, 10, "1s")
						w.ask(w.dest, "PUT", "/orders/_mapping", `{"properties":{"when":{"type":"date"}}}`)
						w.ask(w.source, "PUT", "/orders/_mapping", `{"dynamic":false}`)
						var docs strings.Builder
						var want []string
						for i := range n {
							when := "2026-01-01"
							if odd(i) {
								when = "no date"
								want = append(want, fmt.Sprint(i))
							}
							fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%d\"}}\n{\"version\":0,\"when\":%q}\n", i, when)
						}
						w.ask(w.source, "POST", "/orders/_bulk?refresh=true", docs.String())
						w.survey("1s")
						w.split, w.run.Spec.Reindex.Size = split, 50
						read := 0
						w.remote = nil
						w.read = func(hits int) { read += hits }
						require.NoError(t, w.copy(func() {}))
						told := slices.Collect(maps.Keys(w.rejections()))
						require.ElementsMatch(t, want, told)
						source := w.documents(w.source)
						for _, id := range want {
							delete(source, id)
						}
						require.Equal(t, source, w.documents(w.dest))
						total := int64(0)
						for _, res := range copyjob.Results(w.run, 0) {
							total += res.Total
						}
						require.EqualValues(t, n, total)
						t.Logf("%d kick-offs, %d read, %d tasks", len(w.kicked), read, len(w.tasks()))
						require.LessOrEqual(t, read, 10*n)
						require.LessOrEqual(t, len(w.tasks()), 500)
						require.False(t, copyjob.Copied(w.run, 0))
					})
				})
			}
		}
	}
}

// A tail that is met by them is copied in pieces, one after the other from below: what
// is written again meanwhile lies in one that is still to come.
func TestTailWithDocumentsThatDoNotFit(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.shards = 1
		w.fill(1000, 10, "1s")
		w.ask(w.dest, "PUT", "/orders/_mapping", `{"properties":{"when":{"type":"date"}}}`)
		w.ask(w.source, "PUT", "/orders/_mapping", `{"dynamic":false}`)
		w.run.Spec.Reindex.Size = 20
		var docs strings.Builder
		for i := range 600 { // all lie in the tail
			fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%d\"}}\n{\"version\":1,\"when\":%q}\n", i, map[bool]string{true: "no date", false: "2026-01-01"}[i%40 == 3])
		}
		w.ask(w.source, "POST", "/orders/_bulk?refresh=true", docs.String())
		version := 1
		require.NoError(t, w.copy(func() {
			if len(w.kicked) < 8 || version > 20 {
				return
			}
			version++
			w.ask(w.source, "PUT", fmt.Sprintf("/orders/_doc/%d?refresh=true", 10*version), fmt.Sprintf(`{"version":%d}`, version))
		}))
		require.Greater(t, version, 5)
		require.Len(t, w.rejections(), 15)
		source, dest := w.documents(w.source), w.documents(w.dest)
		for id := range w.rejections() {
			delete(source, id)
			delete(dest, id) // an older version was copied before
		}
		require.Equal(t, source, dest)
	})
}

// Beyond what the spec allows the copy stops: it is the mapping that does not fit.
func TestMoreDoNotFitThanAllowed(t *testing.T) {
	t.Parallel()
	for _, most := range []int{0, 19, 20} {
		inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
			w.fill(300, 10, "1s")
			w.ask(w.dest, "PUT", "/orders/_mapping", `{"properties":{"when":{"type":"date"}}}`)
			var docs strings.Builder
			for i := range 20 {
				fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"odd-%d\"}}\n{\"version\":0,\"when\":\"no date\"}\n", i)
			}
			w.ask(w.source, "POST", "/orders/_bulk?refresh=true", docs.String())
			w.survey("1s")
			w.run.Spec.Reindex.MaxRejected, w.run.Spec.Reindex.Size = &most, 10
			err := w.copy(func() {})
			if most == 20 {
				require.NoError(t, err)
				require.Len(t, w.rejections(), 20)
				return
			}
			var p *events.Problem
			require.ErrorAs(t, err, &p)
			require.Equal(t, "indices[0].destination.mappings", p.Errors[0].Field)
			require.Contains(t, p.Errors[0].Message, "failed to parse field [when]")
		})
	}
}

// The rate is an index's, whatever its windows.
func TestWindowsShareTheRate(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		rate := 100.0
		w.run.Spec.Reindex.RequestsPerSecond, w.run.Spec.Reindex.Size = &rate, 10
		began := time.Now()
		throttled := false
		require.NoError(t, w.copy(func() {
			if !throttled && time.Since(began) > 4*time.Second {
				throttled = true
				faster := 300.0
				w.run.RequestsPerSecond = &faster
			}
		}))
		took := time.Since(began)
		require.Greater(t, took, 4*time.Second)
		require.Less(t, took, 12*time.Second+30*time.Second)
		require.Equal(t, w.documents(w.source), w.documents(w.dest))
	})
}

// A throttled task begins with a page and then rests, so that what it has done
// over how long it has run is too much at first. At every look the end is foreseen
// to within a page.
func TestTheSpeedOfAThrottledCopy(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		rate := 10.0
		w.split.From, w.run.Spec.Reindex.RequestsPerSecond, w.run.Spec.Reindex.Size = 2000, &rate, 100
		require.NoError(t, w.open().PlanWindows(t.Context()))
		time.Sleep(time.Minute)
		require.True(t, w.open().Intend())
		require.NoError(t, w.open().Start(t.Context()))
		var foreseen []time.Time
		for {
			time.Sleep(3 * time.Second)
			left, counts, err := w.open().Observe(t.Context())
			require.NoError(t, err)
			if left == 0 {
				break
			}
			require.Positive(t, counts[0].PerSecond)
			foreseen = append(foreseen, time.Now().Add(time.Duration(float64(counts[0].Total-counts[0].Done)/counts[0].PerSecond*float64(time.Second))))
		}
		require.Greater(t, len(foreseen), 30)
		for _, end := range foreseen {
			require.WithinDuration(t, time.Now(), end, 14*time.Second) // a page takes ten
		}
	})
}

// Never do more tasks run than the spec says, and without a word four.
func TestAsManyTasksAsTheSpecSays(t *testing.T) {
	t.Parallel()
	for asked, want := range []int{copyjob.Parallel, 1, 2} {
		t.Run(fmt.Sprint(asked), func(t *testing.T) {
			inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
				w.fill(1200, 10, "1s")
				w.pause = 500 * time.Millisecond
				w.run.Spec.Reindex.Tasks, w.run.Spec.Reindex.Size = asked, 20
				most := 0
				require.NoError(t, w.copy(func() {
					most = max(most, strings.Count(string(w.ask(w.dest, "GET", "/_tasks?actions=*reindex", "")), "indices:data/write/reindex"))
				}))
				require.Equal(t, want, most)
				require.Greater(t, len(w.tasks()), copyjob.Parallel)
				require.Equal(t, w.documents(w.source), w.documents(w.dest))
			})
		})
	}
}

// A copy that is continued has pages for as many tasks as it was planned for.
func TestPagesOfACopyThatGoesOn(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{Heap: 512 << 20}, func(t *testing.T, w *world) {
		w.fill(1200, 10, "1s")
		w.run.Facts.Survey.Indices[0].Bytes = 1200 * 50_000
		w.run.Spec.Reindex.Size = 100
		require.NoError(t, w.open().PlanWindows(t.Context()))
		require.Equal(t, 2, w.run.Facts.Reindex.Parallel)
		time.Sleep(10 * time.Second) // until what the survey counted is visible
		require.True(t, w.open().Intend())
		require.NoError(t, w.open().PlanWindows(t.Context()))
		require.Equal(t, 2, w.run.Facts.Reindex.Parallel)
	})
}

// walk drives a step until it is done or stops the run.
func (w *world) walk(step func(context.Context, *run.Run) (engine.Outcome, error)) error {
	w.t.Helper()
	for range 1000 {
		out, err := step(w.t.Context(), w.run)
		if err != nil || out.IsDone() {
			return err
		}
		time.Sleep(max(out.Delay(), time.Second))
	}
	w.t.Fatal("no end")
	return nil
}

// large makes the run's survey tell of so many documents that the destination,
// which the run made, gets settings for the load. It returns what it has.
func (w *world) large(settings string) (before string) {
	w.fill(1200, 10, "1s")
	w.run.Facts.Survey.Indices[0].Documents = 600_000
	w.ask(w.dest, "PUT", "/orders/_settings", settings)
	w.run.Facts.Destination = &facts.DestinationFacts{Indices: []facts.DestinationIndex{{Name: "orders", Created: true}}}
	return w.settings()
}

func (w *world) settings() string {
	return string(w.ask(w.dest, "GET", "/orders/_settings?flat_settings=true", ""))
}

// A large copy into an index of our own has settings for the load, which are put
// back when it is over, when it fails, and on teardown.
func TestSettingsForTheLoad(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{`{"number_of_replicas":2}`, `{"number_of_replicas":1,"refresh_interval":"5s","translog.durability":"request"}`} {
		for _, end := range []string{"done", "done while a replica has no place", "failed", "teardown"} {
			t.Run(end, func(t *testing.T) {
				t.Parallel()
				inWorld(t, elastic.Config{Nodes: 3}, func(t *testing.T, w *world) {
					before := w.large(settings)
					up := reindex.By(w.usual())
					wait := progress.By(w.usual())
					require.NoError(t, w.walk(up.Up))
					during := w.settings()
					for _, want := range []string{`"index.refresh_interval":"-1"`, `"index.number_of_replicas":"0"`, `"index.translog.durability":"async"`} {
						require.Contains(t, during, want)
					}
					switch end {
					case "failed":
						w.ask(w.dest, "PUT", "/orders/_settings", `{"index.blocks.write":true}`)
						require.ErrorContains(t, w.walk(wait.Up), "was refused")
						w.ask(w.dest, "PUT", "/orders/_settings", `{"index.blocks.write":null}`)
						require.Equal(t, before, w.settings())
						time.Sleep(time.Second)
						w.run.Cursor.Since = time.Now() // action retry: what broke off meanwhile is no news
						require.NoError(t, w.walk(wait.Up))
					case "teardown":
						require.NoError(t, w.walk(up.Down))
					case "done":
						require.NoError(t, w.walk(wait.Up))
					default: // with its replica back, a shard is flushed on the primary alone
						flushed := 0
						w.answer = func(q *http.Request) *http.Response {
							if q.URL.Path != "/orders/_flush" || strings.Contains(w.settings(), `"index.number_of_replicas":"0"`) {
								return nil
							}
							flushed++
							return answer(200, `{"_shards":{"total":4,"successful":2,"failed":0}}`)
						}
						require.NoError(t, w.walk(wait.Up))
						require.Equal(t, 1, flushed)
					}
					require.Equal(t, before, w.settings())
					if end != "teardown" {
						require.Equal(t, w.documents(w.source), w.documents(w.dest))
					}
				})
			})
		}
	}
}

// With settings for the load a node that dies takes with it what finished tasks
// wrote: their windows are copied again, unless it was on disk.
func TestNodeDiesUnderTheLoad(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{}, func(t *testing.T, w *world) {
		w.large(`{"number_of_replicas":0}`)
		w.pause = 100 * time.Millisecond // a task is not finished by the look that starts it
		require.NoError(t, w.walk((reindex.By(w.usual())).Up))
		wait := progress.By(w.usual())
		step := func() {
			_, err := wait.Up(t.Context(), w.run)
			require.NoError(t, err)
			time.Sleep(5 * time.Second)
		}
		attempts := func() (out []int) {
			for _, task := range w.tasks() {
				out = append(out, task.Attempt)
			}
			return out
		}
		for len(w.kicked) == 0 {
			step()
		}
		// All are finished and stored, but not looked at.
		require.NoError(t, w.dest.Restart(map[string]string{"reindex.remote.whitelist": "ep.example:9200"}))
		for w.tasks()[0].Result == nil {
			step()
		}
		require.Equal(t, []int{2, 2, 2, 2, 0}, attempts())
		require.Contains(t, fmt.Sprint(w.run.Timeline), "not on its disk yet")
		// These are on disk.
		require.NoError(t, w.dest.Restart(map[string]string{"reindex.remote.whitelist": "ep.example:9200"}))
		require.NoError(t, w.walk(wait.Up))
		require.Equal(t, []int{2, 2, 2, 2, 1}, attempts())
		require.Equal(t, w.documents(w.source), w.documents(w.dest))
	})
}

// Nothing is changed of an index that was there before, nor for a small copy,
// nor by a user who may not.
func TestSettingsThatStay(t *testing.T) {
	t.Parallel()
	elasticUser := elastic.Superuser("secret")
	for name, alter := range map[string]func(w *world){
		"theirs": func(w *world) { w.run.Facts.Destination.Indices[0].Created = false },
		"small":  func(w *world) { w.run.Facts.Survey.Indices[0].Documents = 1200 },
		"weak":   func(w *world) { w.login = kms.Login{Username: "weak", Password: "secret"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, elastic.Config{Users: map[string]elastic.User{"elastic": elasticUser, "weak": {Password: "secret", Cluster: []string{"monitor", "manage"},
				Indices: []elastic.IndexPrivileges{{Names: []string{"*"}, Privileges: []string{"create_index", "write", "read", "maintenance", "monitor", "view_index_metadata"}}}}}},
				func(t *testing.T, w *world) {
					w.login = kms.Login{Username: "elastic", Password: "secret"}
					before := w.large(`{"number_of_replicas":1}`)
					alter(w)
					require.NoError(t, w.walk((reindex.By(w.usual())).Up))
					require.Equal(t, before, w.settings())
					require.NoError(t, w.walk((progress.By(w.usual())).Up))
					require.Equal(t, before, w.settings())
					require.Equal(t, name == "weak", strings.Contains(fmt.Sprint(w.run.Timeline), "privilege manage"))
				})
		})
	}
}

func TestPlans(t *testing.T) {
	t.Parallel()
	inWorld(t, elastic.Config{Heap: 512 << 20}, func(t *testing.T, w *world) {
		w.fill(10, 10, "1s")
		w.split = copyjob.Split{From: 1000, Each: 1000, Most: 8}
		plan := func(ix facts.SurveyedIndex, size int) facts.Reindex {
			w.run.Facts.Reindex = nil
			ix.Source, ix.Dest = "orders", "orders"
			w.run.Facts.Survey.Indices[0] = ix
			w.run.Spec.Reindex.Size = size
			require.NoError(t, w.open().PlanWindows(t.Context()))
			return *w.run.Facts.Reindex
		}
		seqs := func(n ...int64) []int64 { return n }
		small := plan(facts.SurveyedIndex{Documents: 6, Total: 6, Bytes: 1000, MaxSeqNo: 2, ShardSeqNos: seqs(2, 1, 0)}, 0)
		assert.Len(t, small.Tasks, 1)
		assert.Zero(t, small.Tasks[0].Size, "the server's own default")
		assert.Equal(t, copyjob.Parallel, small.Parallel)

		many := plan(facts.SurveyedIndex{Documents: 3_000_000, Total: 3_000_000, Bytes: 3_000_000 * 300, MaxSeqNo: 999_999, ShardSeqNos: seqs(999_999, 999_000, 998_000)}, 0)
		assert.Len(t, many.Tasks, 9)
		assert.Equal(t, 8000, many.Tasks[0].Size)
		assert.Zero(t, many.Tasks[0].From)
		assert.EqualValues(t, 998_001, many.Tasks[7].Below)
		assert.EqualValues(t, 998_001, many.Tasks[8].From)
		for i := range 7 {
			assert.Equal(t, many.Tasks[i].Below, many.Tasks[i+1].From)
		}

		// Four pages of 100 KB documents are within half of what a heap of 512 MB
		// allows at once.
		large := plan(facts.SurveyedIndex{Documents: 900, Total: 900, Bytes: 900 * 50_000, MaxSeqNo: 899, ShardSeqNos: seqs(899)}, 0)
		assert.Len(t, large.Tasks, 1)
		assert.Zero(t, large.Tasks[0].Size, "the destination was not asked for so few")
		large = plan(facts.SurveyedIndex{Documents: 5000, Total: 5000, Bytes: 5000 * 50_000, MaxSeqNo: 4999, ShardSeqNos: seqs(4999)}, 0)
		assert.LessOrEqual(t, large.Tasks[0].Size*100_000*copyjob.Parallel, 512<<20/20)
		assert.Greater(t, large.Tasks[0].Size, 50)
		asked := plan(facts.SurveyedIndex{Documents: 5000, Total: 5000, Bytes: 5000 * 50_000, MaxSeqNo: 4999, ShardSeqNos: seqs(4999)}, 100)
		assert.Zero(t, asked.Tasks[0].Size, "as the spec says")
		assert.Equal(t, 2, asked.Parallel)
		// A quarter of the scrolls that a node of the source has for all.
		for shards, tasks := range map[int]int{31: 4, 40: 3, 63: 1, 300: 1} {
			assert.Equal(t, tasks, plan(facts.SurveyedIndex{Documents: 5000, Total: 5000, Bytes: 5000 * 300, MaxSeqNo: 100, ShardSeqNos: slices.Repeat(seqs(100), shards)}, 0).Parallel, shards)
		}
		w.run.Spec.Reindex.Tasks = 1
		alone := plan(facts.SurveyedIndex{Documents: 5000, Total: 5000, Bytes: 5000 * 50_000, MaxSeqNo: 4999, ShardSeqNos: seqs(4999)}, 0)
		assert.Equal(t, 1, alone.Parallel)
		assert.Greater(t, alone.Tasks[0].Size, large.Tasks[0].Size, "the one has the room of the four")
		assert.LessOrEqual(t, alone.Tasks[0].Size*100_000, 512<<20/20)
		assert.Equal(t, 1, plan(facts.SurveyedIndex{Documents: 5000, Total: 5000, Bytes: 5000 * 50_000, MaxSeqNo: 4999, ShardSeqNos: seqs(4999)}, 100).Parallel)
		assert.Equal(t, 1, plan(facts.SurveyedIndex{Documents: 6, Total: 6, Bytes: 1000, MaxSeqNo: 2, ShardSeqNos: seqs(2, 1, 0)}, 0).Parallel)
		w.run.Spec.Reindex.Tasks = 0

		// A shard that has hardly any documents leaves nothing to divide.
		skewed := plan(facts.SurveyedIndex{Documents: 5000, Total: 5000, Bytes: 5000 * 300, MaxSeqNo: 4000, ShardSeqNos: seqs(4000, 3)}, 0)
		assert.Len(t, skewed.Tasks, 1)
	})
}
