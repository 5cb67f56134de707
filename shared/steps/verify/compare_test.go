package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/checksum"
	"eslink/shared/clusters"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/scan"
	"eslink/shared/steps/digest"
	"eslink/shared/steps/verify"
)

// world is a source and a destination, a run that has copied, and a clock that
// goes on with every search.
type world struct {
	t       *testing.T
	servers map[string]*elastic.Server // src, dst
	store   *run.Store
	run     *run.Run

	mu       sync.Mutex
	now      time.Time
	pace     time.Duration                            // of a search
	searches int                                      // so far
	sent     func(host, path string)                  // before a request
	answer   func(host, path string, b []byte) []byte // instead of a reply
	fail     func(row string) bool                    // of a row that is not written
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), servers: map[string]*elastic.Server{}}
	for _, host := range []string{"src", "dst"} {
		w.servers[host] = elastic.New(elastic.Config{Name: host, Version: "7.10.2", Now: w.Now})
		t.Cleanup(w.servers[host].Stop)
	}
	w.store = &run.Store{Driver: &run.Mem{}, Now: w.Now}
	w.run = &run.Run{ID: "0123456789abcdef", Generation: 1}
	w.run.Facts = facts.Facts{Preflight: &facts.Preflight{Instance: facts.Cluster{InstanceID: "dst"}, Target: facts.Cluster{InstanceID: "src"}},
		PrivateConnection: &facts.PrivateConnection{}, EndpointService: &facts.EndpointService{}, Accept: &facts.Accept{},
		Survey: &facts.Survey{}, Destination: &facts.DestinationFacts{}, Reindex: &facts.Reindex{}, Verify: &facts.Verify{Checks: []facts.Check{{Name: "link", OK: true}}}}
	return w
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Open opens a side's cluster.
func (w *world) Open(_ context.Context, s clusters.Side) (*es.Client, error) {
	return es.New(w, "http://"+s.Cluster.InstanceID+":9200", "", "")
}

// Login is asked by nobody here.
func (w *world) Login(context.Context, clusters.Side) (kms.Login, error) {
	return kms.Login{}, io.ErrUnexpectedEOF
}

// RoundTrip implements http.RoundTripper.
func (w *world) RoundTrip(q *http.Request) (*http.Response, error) {
	host := q.URL.Hostname()
	if strings.HasSuffix(q.URL.Path, "/_search") {
		w.mu.Lock()
		w.now = w.now.Add(w.pace)
		w.searches++
		w.mu.Unlock()
	}
	if w.sent != nil {
		w.sent(host, q.URL.Path)
	}
	resp, err := w.servers[host].RoundTrip(q)
	if err != nil || w.answer == nil {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	body = w.answer(host, q.URL.Path, body)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	return resp, nil
}

var errAway = errors.New("the table is away")

func (w *world) PutPart(ctx context.Context, runID, name string, v any) error {
	if w.fail != nil && w.fail(name) {
		return errAway
	}
	return w.store.PutPart(ctx, runID, name, v)
}

func (w *world) GetPart(ctx context.Context, runID, name string, v any) error {
	return w.store.GetPart(ctx, runID, name, v)
}

func (w *world) ask(host, method, path, body string) {
	w.t.Helper()
	q := httptest.NewRequest(method, path, strings.NewReader(body))
	q.Header.Set("Content-Type", "application/json")
	reply := httptest.NewRecorder()
	w.servers[host].ServeHTTP(reply, q)
	require.Less(w.t, reply.Code, 300, "%s %s: %s", method, path, reply.Body)
}

// index makes an index on both sides, with so many shards on each.
func (w *world) index(name string, shards, dest int) {
	w.ask("src", "PUT", "/"+name, fmt.Sprintf(`{"settings":{"number_of_shards":%d}}`, shards))
	w.ask("dst", "PUT", "/"+name, fmt.Sprintf(`{"settings":{"number_of_shards":%d}}`, dest))
}

// numbered is n documents as _bulk takes them.
func numbered(n int) string {
	var docs strings.Builder
	for i := range n {
		fmt.Fprintf(&docs, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d,\"name\":\"first\"}\n", i, i)
	}
	return docs.String()
}

func (w *world) bulk(host, name, docs string) {
	w.ask(host, "POST", "/"+name+"/_bulk?refresh=true", docs)
}

// both writes the same documents to both sides.
func (w *world) both(name, docs string) {
	w.bulk("src", name, docs)
	w.bulk("dst", name, docs)
}

// copied has the run know an index, copied by one task, into one that held so
// many documents before.
func (w *world) copied(ix events.Index, before int64) {
	w.t.Helper()
	ix.Dest = ix.Source
	if ix.Versions == "" {
		ix.Versions = "new" // both sides are written by hand here, and so differ in version
	}
	c, err := w.Open(w.t.Context(), clusters.Source(w.run))
	require.NoError(w.t, err)
	stats, err := c.Stats(w.t.Context(), ix.Source)
	require.NoError(w.t, err)
	d, err := w.Open(w.t.Context(), clusters.Destination(w.run))
	require.NoError(w.t, err)
	def, err := d.Definition(w.t.Context(), ix.Dest)
	require.NoError(w.t, err)
	n, err := c.Count(w.t.Context(), ix.Source, ix.Query)
	require.NoError(w.t, err)
	all, err := c.Count(w.t.Context(), ix.Source, nil)
	require.NoError(w.t, err)
	w.run.Spec.Indices = append(w.run.Spec.Indices, ix)
	f := &w.run.Facts
	f.Survey.Indices = append(f.Survey.Indices, facts.SurveyedIndex{Source: ix.Source, Dest: ix.Dest, Documents: n, Total: all, Bytes: stats.Bytes, ShardSeqNos: stats.ShardSeqNos, State: stats.State()})
	f.Destination.Indices = append(f.Destination.Indices, facts.DestinationIndex{Name: ix.Dest, UUID: def.UUID, Created: before == 0, Before: before})
	f.Reindex.Tasks = append(f.Reindex.Tasks, facts.Task{Source: ix.Source, Dest: ix.Dest, SourceState: stats.State(), Result: &facts.TaskResult{Total: n, Created: n}})
}

// prove walks digest and verify to their end and returns the lines. Every other
// invocation dies before its record is saved, if dying.
func (w *world) prove(dying bool) []string {
	w.t.Helper()
	steps := map[string]engine.Step{"digest": &digest.Step{Clusters: w, Rows: w, Now: w.Now}, "verify": &verify.Step{Clusters: w, Rows: w, Now: w.Now}}
	at := "digest"
	for n := range 300 {
		raw, err := json.Marshal(w.run.Facts)
		require.NoError(w.t, err)
		r := *w.run
		r.Facts = facts.Facts{}
		require.NoError(w.t, json.Unmarshal(raw, &r.Facts))
		began := w.Now()
		out, err := steps[at].Up(w.t.Context(), &r)
		require.LessOrEqual(w.t, w.Now().Sub(began), scan.WorkFor+2*w.pace, "within an invocation")
		if errors.Is(err, errAway) || apierr.ClassOf(err) == apierr.Retry {
			w.run.Facts = r.Facts // saved, as after every error
			continue
		}
		require.NoError(w.t, err)
		if dying && n%2 == 0 && r.Facts.Digest != nil && w.run.Facts.Digest != nil {
			continue
		}
		w.run.Facts = r.Facts
		switch {
		case out.BackTo() != "":
			at = out.BackTo()
		case out.IsDone() && at == "digest":
			at = "verify"
		case out.IsDone():
			require.Equal(w.t, len(r.Facts.Verify.Differences) > 0, out.Differs())
			return r.Facts.Verify.Differences
		}
	}
	w.t.Fatal("no end")
	return nil
}

// again begins another proof.
func (w *world) again() {
	w.now = w.now.Add(time.Second) // names the proof
	w.run.Facts.Digest, w.run.Facts.Verify = nil, &facts.Verify{Checks: []facts.Check{{Name: "link", OK: true}}}
}

func (w *world) proof(i int) facts.IndexProof { return w.run.Facts.Verify.Indices[i] }

// routed writes a document under a routing.
func (w *world) routed(host, id, routing, body string) {
	w.ask(host, "PUT", "/orders/_doc/"+id+"?refresh=true&routing="+routing, body)
}

// apart are two routings that five shards put into different ones.
const here, there = "a", "b"

// Each shard may have a document of one ID, under another routing: none of them
// stands for another.
func TestOneIDInSeveralShards(t *testing.T) {
	t.Parallel()
	for _, level := range []string{scan.Content, scan.IDs, scan.Sample} {
		for _, before := range []int64{0, 1} {
			t.Run(fmt.Sprint(level, before), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.run.Spec.Proof = level
				w.index("orders", 5, 5)
				documents := 2
				if level != scan.Sample { // which has all of two
					w.both("orders", numbered(20))
					documents = 22
				}
				for _, host := range []string{"src", "dst"} {
					w.routed(host, "twice", here, `{"n":1}`)
					w.routed(host, "twice", there, `{"n":2}`)
				}
				w.copied(events.Index{Source: "orders"}, before)
				require.Empty(t, w.prove(false))
				for _, other := range []string{here, there} {
					w.routed("dst", "twice", other, `{"n":3}`)
					w.again()
					if level != scan.IDs {
						require.Len(t, w.prove(false), 1)
						require.Contains(t, w.run.Facts.Verify.Differences[0], "orders: document twice differs")
					} else {
						require.Empty(t, w.prove(false))
					}
					w.ask("dst", "DELETE", "/orders/_doc/twice?refresh=true&routing="+other, "")
					w.routed("dst", "x"+other, here, `{}`) // so that the count is as it was
					w.again()
					require.Contains(t, w.prove(false), "orders lacks document twice")
					w.routed("dst", "twice", other, map[string]string{here: `{"n":1}`, there: `{"n":2}`}[other])
					w.ask("dst", "DELETE", "/orders/_doc/x"+other+"?refresh=true&routing="+here, "")
				}

				// Under another routing it is another document, which gets find nowhere.
				w.ask("dst", "DELETE", "/orders/_doc/twice?refresh=true&routing="+here, "")
				w.routed("dst", "twice", "c", `{"n":1}`)
				w.again()
				require.Len(t, w.prove(false), 1)
				require.Contains(t, w.run.Facts.Verify.Differences[0], "orders: document twice differs")
				w.routed("dst", "twice", here, `{"n":1}`)
				w.again()
				if before > 0 {
					require.Empty(t, w.prove(false), "the third one was there before")
					require.EqualValues(t, documents, w.proof(0).Documents)
					return
				}
				if level == scan.Sample {
					require.Contains(t, w.prove(false), "orders holds 3 documents, the source's orders 2 under the query")
					return
				}
				require.Contains(t, w.prove(false), "orders holds document twice, which orders does not")
			})
		}
	}
}

// Numbers, texts and shapes that are the same however they are written, and IDs
// of any letters.
func TestDocumentsOfAllKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run.Spec.Proof = scan.Content
	w.index("orders", 2, 7)
	w.index("none", 1, 3)
	for host, docs := range map[string][]string{
		"src": {`{}`, `{"a":1.10,"b":{"c":[]},"d":null}`, `{"big":9007199254740993}`, `{"t":"é/\n"}`},
		"dst": {`{ }`, `{"d":null,"b":{"c":[]},"a":1.1}`, `{"big":9007199254740993}`, `{"t":"\u00e9\/\u000a"}`},
	} {
		var lines strings.Builder
		for i, id := range []string{"a b/c", "产品é🙂", `"quoted"\`, strings.Repeat("x", 512)} {
			raw, err := json.Marshal(id)
			require.NoError(t, err)
			fmt.Fprintf(&lines, "{\"index\":{\"_id\":%s}}\n%s\n", raw, docs[i])
		}
		w.bulk(host, "orders", lines.String())
	}
	w.copied(events.Index{Source: "orders"}, 0)
	w.copied(events.Index{Source: "none"}, 0)
	require.Empty(t, w.prove(false))
	require.EqualValues(t, 4, w.proof(0).Documents)
	require.Zero(t, w.proof(1).Documents)
	require.Equal(t, scan.Content, w.run.Facts.Verify.Level)

	w.bulk("dst", "orders", "{\"index\":{\"_id\":\"产品é🙂\"}}\n{\"a\":1.1,\"b\":{\"c\":{}},\"d\":null}\n")
	w.again()
	require.Equal(t, []string{"orders: document 产品é🙂 differs in b.c"}, w.prove(false))
}

// An index that is recreated while it is read is read from its beginning: of
// another one, what was read says nothing.
func TestIndexMadeAnewWhileItIsRead(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"src", "dst"} {
		for _, before := range []int64{0, 1} {
			t.Run(fmt.Sprint(host, before), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.run.Spec.Proof = scan.Content
				w.pace = scan.WorkFor / 2
				w.index("orders", 1, 1)
				w.both("orders", numbered(4000))
				w.copied(events.Index{Source: "orders"}, before)
				n := 0
				w.sent = func(at, path string) {
					if at != host || !strings.HasSuffix(path, "/_search") {
						return
					}
					if n++; n == 4 {
						w.ask(host, "DELETE", "/orders", "")
						w.ask(host, "PUT", "/orders", `{"settings":{"number_of_shards":1}}`)
						// The first one is new.
						w.bulk(host, "orders", strings.Replace(numbered(4000), `"_id":"0"`, `"_id":"new"`, 1))
					}
				}
				lines := strings.Join(w.prove(false), "\n")
				switch {
				case host == "src":
					require.Contains(t, lines, "orders lacks document new")
				case before > 0:
					require.Contains(t, lines, "orders was recreated since the copy began")
				default:
					require.Contains(t, lines, "orders lacks document 0")
				}
				require.NotContains(t, lines, "document 1", "all others were read")
				require.NotContains(t, lines, "added up", "and nothing of the first index is among them")
			})
		}
	}
}

// A shard that does not answer is no empty one: _stats leaves it out.
func TestShardThatIsAway(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"src", "dst"} {
		for _, shard := range []string{"0", "2"} {
			t.Run(host+shard, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.run.Spec.Proof = scan.IDs
				w.index("orders", 3, 3)
				w.both("orders", numbered(300))
				w.copied(events.Index{Source: "orders"}, 0)
				w.answer = func(at, path string, b []byte) []byte {
					if at != host || !strings.HasSuffix(path, "/_stats") {
						return b
					}
					var reply map[string]any
					require.NoError(t, json.Unmarshal(b, &reply))
					delete(reply["indices"].(map[string]any)["orders"].(map[string]any)["shards"].(map[string]any), shard)
					out, err := json.Marshal(reply)
					require.NoError(t, err)
					return out
				}
				for _, step := range []engine.Step{&digest.Step{Clusters: w, Rows: w, Now: w.Now}, &verify.Step{Clusters: w, Rows: w, Now: w.Now}} {
					_, err := step.Up(t.Context(), w.run)
					if err != nil {
						require.ErrorContains(t, err, "only 2 of 3 shards answer")
						w.answer = nil
						require.Empty(t, w.prove(false))
						return
					}
				}
				t.Fatal("nobody missed it")
			})
		}
	}
}

// An index that gave way to an alias of its name is another one.
func TestAliasInPlaceOfTheIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run.Spec.Proof = scan.Content
	w.index("orders", 3, 3)
	w.both("orders", numbered(30))
	w.copied(events.Index{Source: "orders"}, 1)
	w.ask("src", "DELETE", "/orders", "")
	w.ask("src", "PUT", "/newer", `{"aliases":{"orders":{}}}`)
	w.bulk("src", "newer", numbered(30))
	_, err := (&digest.Step{Clusters: w, Rows: w, Now: w.Now}).Up(t.Context(), w.run)
	require.ErrorContains(t, err, "alias")
	require.Nil(t, w.run.Facts.Digest)
}

// Wherever an invocation ends or dies, each document is compared, and told once.
func TestProofInManyInvocations(t *testing.T) {
	t.Parallel()
	for _, dying := range []bool{false, true} {
		for _, before := range []int64{0, 1} {
			t.Run(fmt.Sprint(dying, before), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.run.Spec.Proof = scan.Content
				w.pace = scan.WorkFor / 2
				for _, name := range []string{"orders", "more"} {
					w.index(name, 3, 2)
					w.both(name, numbered(2500))
					w.bulk("dst", name, "{\"delete\":{\"_id\":\"2400\"}}\n{\"index\":{\"_id\":\"7\"}}\n{\"n\":7,\"name\":\"second\"}\n{\"index\":{\"_id\":\"x\"}}\n{}\n")
					w.copied(events.Index{Source: name}, before)
				}
				var want []string
				for _, name := range []string{"orders", "more"} {
					if before == 0 {
						want = append(want, name+" holds document x, which "+name+" does not")
						want = append(want, name+": document 7 differs in name")
					} else {
						want = append(want, name+": document 7 differs")
					}
					want = append(want, name+" lacks document 2400")
				}
				require.ElementsMatch(t, want, w.prove(dying))
				for i := range 2 {
					require.EqualValues(t, 2500, w.proof(i).Documents)
					found := map[string]int{checksum.Missing: 1, checksum.Differs: 1}
					if before == 0 {
						found[checksum.Extra] = 1
					}
					require.Equal(t, found, w.proof(i).Differences)
					rows := 0
					for n := range w.proof(i).Parts {
						var row []checksum.Difference
						require.NoError(t, w.store.GetPart(t.Context(), w.run.ID, fmt.Sprintf("differences/%05d/%06d", i, n), &row))
						rows += len(row)
					}
					require.Equal(t, len(found), rows)
				}
				require.Empty(t, w.run.Facts.Reindex.Tasks[0].SourceState, "it is copied again")
			})
		}
	}
}

// What the tasks report is part of every level.
func TestWhatTheTasksReport(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		result *facts.TaskResult
		want   []string
	}{
		"good":      {&facts.TaskResult{Total: 10, Created: 4, Updated: 3, Noops: 2, Deleted: 1}, nil},
		"short":     {&facts.TaskResult{Total: 10, Created: 9}, []string{"orders: the task read 10 documents and wrote 9"}},
		"conflicts": {&facts.TaskResult{Total: 10, Created: 9, VersionConflicts: 1}, []string{"orders: 1 documents were passed over for a version conflict"}},
		"failures":  {&facts.TaskResult{Total: 10, Created: 8, FailureCount: 2}, []string{"orders rejected 2 documents, which are named in 1 rows", "a: b"}},
		"not over":  {nil, []string{"orders: window 0 of the copy is not over"}},
	} {
		w := newWorld(t)
		w.run.Spec.Proof = scan.Results
		w.index("orders", 1, 1)
		w.bulk("src", "orders", numbered(10))
		w.copied(events.Index{Source: "orders"}, 0)
		w.run.Facts.Reindex.Tasks[0].Result = c.result
		if name == "failures" {
			w.run.Facts.Reindex.Rejected = []facts.RejectedDocuments{{Source: "orders", Dest: w.run.Indices()[0].Dest, Count: 2, Rows: 1}}
			require.NoError(t, w.store.PutPart(t.Context(), w.run.ID, "rejected/00000/000000", []facts.Rejection{{ID: "1", Reason: "a: b"}}))
		}
		w.ask("dst", "DELETE", "/orders", "") // which nobody looks at
		require.Equal(t, c.want, w.prove(false), name)
		require.Zero(t, w.proof(0).Documents, "nobody has read one")
	}
}

// Windows are counted at the source, each for itself.
func TestWindowsThatAreShort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run.Spec.Proof = scan.Windows
	w.index("orders", 1, 1)
	w.both("orders", numbered(10))
	w.copied(events.Index{Source: "orders"}, 0)
	task := w.run.Facts.Reindex.Tasks[0]
	task.Below, task.Result = 4, &facts.TaskResult{Total: 4, Created: 4}
	last := task
	last.Window, last.From, last.Below, last.Result = 1, 4, 0, &facts.TaskResult{Total: 6, Created: 6}
	w.run.Facts.Reindex.Tasks = []facts.Task{task, last}
	require.Empty(t, w.prove(false))
	w.run.Facts.Reindex.Tasks[1].Result.Total, w.run.Facts.Reindex.Tasks[1].Result.Created = 5, 5
	w.again()
	counts := 0
	w.answer = func(host, path string, b []byte) []byte {
		if strings.HasSuffix(path, "/_count") {
			if counts++; counts == 3 { // all of it, the first window, the second one
				return []byte(`{"count":0,"_shards":{"total":1,"successful":0}}`)
			}
		}
		return b
	}
	require.Equal(t, []string{"orders: window 1 was copied with 5 documents, orders has 6 in it"}, w.prove(false))
	w.bulk("src", "orders", numbered(11))
	w.again()
	require.Contains(t, w.prove(false), "orders holds 10 documents, the source's orders 11 under the query; orders was written to after the copy was planned")
}

// A count is of what the query selects at the source, and of all that the
// destination has.
func TestCountsUnderTheQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run.Spec.Proof = scan.Counts
	w.index("orders", 2, 2)
	w.bulk("src", "orders", numbered(10))
	w.bulk("dst", "orders", numbered(4))
	w.copied(events.Index{Source: "orders", Query: []byte(`{"range":{"n":{"lt":4}}}`)}, 0)
	require.Empty(t, w.prove(false))
	require.EqualValues(t, 4, w.proof(0).Documents)
	w.bulk("dst", "orders", numbered(5))
	w.again()
	require.Equal(t, []string{"orders holds 5 documents, the source's orders 4 under the query"}, w.prove(false))
	// Not visible by itself.
	w.ask("dst", "PUT", "/orders/_settings", `{"index":{"refresh_interval":"-1"}}`)
	w.ask("dst", "DELETE", "/orders/_doc/4", "")
	w.again()
	require.Empty(t, w.prove(false))
}

// The weakest level of an index is that of the run, and says how many documents
// were looked at.
func TestWeakestLevel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		w.index(name, 2, 2)
		w.both(name, numbered(100))
	}
	few := events.Index{Source: "b", Query: []byte(`{"range":{"n":{"lt":3}}}`)}
	w.copied(events.Index{Source: "a"}, 0)
	w.copied(few, 1)
	w.copied(events.Index{Source: "c"}, 1)
	w.run.Facts.Survey.Indices[0].Bytes = 1 << 50 // far beyond an hour
	require.Empty(t, w.prove(false))
	require.Equal(t, []string{scan.Sample, scan.IDs, scan.IDs}, []string{w.proof(0).Level, w.proof(1).Level, w.proof(2).Level})
	require.Equal(t, scan.Sample, w.run.Facts.Verify.Level)
	require.Positive(t, w.proof(0).Documents)
	require.EqualValues(t, 3, w.proof(1).Documents)

	// The budget is for all of them, and what fits it is read whole.
	w.run.Facts.Destination.Indices[1].Before, w.run.Facts.Destination.Indices[2].Before = 0, 0
	w.run.Facts.Survey.Indices[0].Bytes = 100
	w.run.Facts.Survey.Indices[1].Bytes = 30 * 20 << 30 // 3 % of it fit
	w.run.Facts.Survey.Indices[2].Bytes = 20 << 30
	w.run.Spec.Proof = scan.Auto
	w.again()
	w.ask("dst", "DELETE", "/b", "")
	w.ask("dst", "PUT", "/b", "")
	w.bulk("dst", "b", numbered(3))
	require.Empty(t, w.prove(false))
	require.Equal(t, []string{scan.Content, scan.Content, scan.Sample}, []string{w.proof(0).Level, w.proof(1).Level, w.proof(2).Level})
}

// An index that is done is not gone through again when another one's documents
// have to be listed.
func TestEachIndexIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run.Spec.Proof = scan.Content
	for i, name := range []string{"held", "fresh", "last"} {
		w.index(name, 1, 1)
		w.both(name, numbered(1500))
		w.bulk("dst", name, "{\"delete\":{\"_id\":\"7\"}}\n")
		w.copied(events.Index{Source: name}, int64(1-i%2)) // counts say nothing of the first and last
	}
	require.ElementsMatch(t, []string{"held lacks document 7", "fresh holds 1499 documents, the source's fresh 1500 under the query", "fresh lacks document 7", "last lacks document 7"}, w.prove(false))
	for i := range 3 {
		require.EqualValues(t, 1500, w.proof(i).Documents)
		require.Equal(t, map[string]int{checksum.Missing: 1}, w.proof(i).Differences)
		require.Empty(t, w.run.Facts.Reindex.Tasks[i].SourceState, "it is copied again")
	}

	// What is only there, or only lacks digits, is not repaired by copying again.
	w = newWorld(t)
	w.run.Spec.Proof = scan.Content
	w.index("orders", 1, 1)
	w.both("orders", numbered(10))
	w.bulk("src", "orders", "{\"index\":{\"_id\":\"cut\"}}\n{\"a\":0.1234567890123456789}\n")
	w.bulk("dst", "orders", "{\"index\":{\"_id\":\"cut\"}}\n{\"a\":0.12345678901234568}\n{\"index\":{\"_id\":\"x\"}}\n{}\n{\"delete\":{\"_id\":\"x\"}}\n")
	w.copied(events.Index{Source: "orders"}, 0)
	require.Equal(t, []string{"orders: document cut has lost digits of decimals that Elasticsearch cuts (precision) in a"}, w.prove(false))
	require.NotEmpty(t, w.run.Facts.Reindex.Tasks[0].SourceState)
	w.bulk("dst", "orders", "{\"index\":{\"_id\":\"7\"}}\n{\"n\":7,\"name\":\"second\"}\n")
	w.again()
	require.Contains(t, w.prove(false), "orders: document 7 differs in name")
	require.Empty(t, w.run.Facts.Reindex.Tasks[0].SourceState)
}

// What is proved of an index, by what is asked, what was there before, and how
// long it takes to read.
func TestLevels(t *testing.T) {
	t.Parallel()
	type asked struct {
		proof  string
		before int64
		large  bool
	}
	for a, want := range map[asked]string{
		{"", 0, false}: scan.Content, {scan.Auto, 0, false}: scan.Content, {"", 0, true}: scan.Sample, {scan.Auto, 0, true}: scan.Sample,
		{"", 1, true}: scan.IDs, {scan.Auto, 1, false}: scan.IDs, {scan.Counts, 1, false}: scan.IDs, {scan.Counts, 0, true}: scan.Counts,
		{scan.Results, 1, false}: scan.Results, {scan.Windows, 1, false}: scan.Windows, {scan.Content, 1, true}: scan.Content, {scan.IDs, 0, true}: scan.IDs,
	} {
		w := newWorld(t)
		w.run.Spec.Proof = a.proof
		w.index("orders", 1, 1)
		w.both("orders", numbered(10))
		w.copied(events.Index{Source: "orders"}, a.before)
		if a.large {
			w.run.Facts.Survey.Indices[0].Bytes = 1 << 50
		}
		require.Empty(t, w.prove(false))
		require.Equal(t, want, w.proof(0).Level, a)
	}
	// What is not known to be large is reckoned by its documents.
	require.Equal(t, time.Hour, scan.Estimate(36_000_000, facts.SurveyedIndex{}))
	require.Equal(t, time.Hour, scan.Estimate(36_000_000, facts.SurveyedIndex{Total: 36_000_000, Bytes: 1}))
	require.Equal(t, 2*time.Hour, scan.Estimate(10, facts.SurveyedIndex{Total: 20, Bytes: 4 * 3600 * 10 << 20}))
}

// A sample finds documents wherever the query has them.
func TestSampleOfFewAmongMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run.Spec.Proof = scan.Sample
	w.index("orders", 1, 1)
	w.bulk("src", "orders", numbered(3000))
	w.bulk("dst", "orders", numbered(30))
	w.copied(events.Index{Source: "orders", Query: []byte(`{"range":{"n":{"lt":30}}}`)}, 0)
	require.Empty(t, w.prove(false))
	require.EqualValues(t, 30, w.proof(0).Documents)
	w.bulk("dst", "orders", "{\"index\":{\"_id\":\"3\"}}\n{\"n\":4,\"name\":\"first\"}\n")
	w.again()
	require.Equal(t, []string{"orders: document 3 differs in n"}, w.prove(false))
	w.run.Spec.Indices[0].Query = []byte(`{"range":{"n":{"lt":0}}}`)
	w.again()
	require.Equal(t, []string{"orders holds 30 documents, the source's orders 0 under the query"}, w.prove(false))
	require.Zero(t, w.proof(0).Documents)

	w.run.Facts.Survey.Indices, w.run.Facts.Destination.Indices, w.run.Spec.Indices, w.run.Facts.Reindex.Tasks = nil, nil, nil, nil
	w.index("none", 2, 2)
	w.copied(events.Index{Source: "none"}, 0)
	w.again()
	require.Empty(t, w.prove(false))
	require.Zero(t, w.proof(0).Documents)
}

// Where the copy keeps versions, one that differs is told as any other field.
func TestVersionsCountWhereTheyAreKept(t *testing.T) {
	t.Parallel()
	for versions, want := range map[string][]string{"keep": {"orders: document 3 differs in _version"}, "new": nil} {
		t.Run(versions, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.run.Spec.Proof = scan.Content
			w.index("orders", 2, 2)
			w.both("orders", numbered(100))
			w.copied(events.Index{Source: "orders", Versions: versions}, 0)
			require.Empty(t, w.prove(false))
			w.bulk("dst", "orders", "{\"index\":{\"_id\":\"3\"}}\n{\"n\":3,\"name\":\"first\"}\n") // as it was
			w.again()
			require.ElementsMatch(t, want, w.prove(false))
		})
	}
}

// Parts that differed when they were added up, and whose documents do not when
// they are listed, are told: nobody has seen them the same at one time.
func TestDifferencesThatVanish(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run.Spec.Proof = scan.Content
	w.index("orders", 2, 2)
	w.both("orders", numbered(1000))
	w.copied(events.Index{Source: "orders"}, 0)
	edited := "{\"index\":{\"_id\":\"3\"}}\n{\"n\":3,\"name\":\"second\"}\n"
	w.bulk("dst", "orders", edited)
	w.sent = func(host, path string) {
		if host == "src" && w.run.Facts.Digest != nil && w.run.Facts.Digest.Indices[0].Wanted > 0 {
			w.bulk("src", "orders", edited)
		}
	}
	require.Equal(t, []string{"orders: 1 of 16 parts differed when they were added up, and not when their documents were listed: somebody writes"}, w.prove(false))
}

// Very many differences are bounded: in the record, in rows, and in what is gone
// through one by one.
func TestVeryManyDifferences(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run.Spec.Proof = scan.Content
	w.index("orders", 3, 3)
	w.both("orders", numbered(12_000))
	w.copied(events.Index{Source: "orders"}, 0)
	w.bulk("dst", "orders", strings.ReplaceAll(numbered(12_000), "first", "second"))
	failed := false // once, with some of the rows written
	w.fail = func(row string) bool {
		fails := !failed && row == "differences/00000/000003"
		failed = failed || fails
		return fails
	}
	lines := w.prove(false)
	require.True(t, failed)
	require.Len(t, lines, 50)
	p := w.proof(0)
	require.Equal(t, 256, p.Unequal)
	require.Equal(t, fmt.Sprintf("orders: 256 of 256 parts differ, %d of them were not gone through", p.Unlisted), lines[0])
	listed := p.Differences[checksum.Differs]
	require.InDelta(t, 10_000, listed, 100)
	require.InDelta(t, 256/6, p.Unlisted, 10)
	detailed, rows := 0, 0
	for n := range p.Parts {
		var row []checksum.Difference
		require.NoError(t, w.store.GetPart(t.Context(), w.run.ID, fmt.Sprintf("differences/%05d/%06d", 0, n), &row))
		require.LessOrEqual(t, len(row), 500)
		rows += len(row)
		for _, d := range row {
			if d.Fields != nil {
				require.Equal(t, []string{"name"}, d.Fields)
				detailed++
			}
		}
	}
	require.Equal(t, listed, rows)
	require.InDelta(t, 1000, detailed, 70)

	// One part is gone through however large it is, and its fields are bounded.
	w.run.Facts.Survey.Indices, w.run.Facts.Destination.Indices, w.run.Spec.Indices, w.run.Facts.Reindex.Tasks = nil, nil, nil, nil
	w.index("wide", 1, 1)
	wide := map[string]int{}
	for i := range 30 {
		wide[fmt.Sprintf("f%02d", i)] = i
	}
	raw, err := json.Marshal(wide)
	require.NoError(t, err)
	w.ask("src", "PUT", "/wide/_doc/1?refresh=true", string(raw))
	w.ask("dst", "PUT", "/wide/_doc/1?refresh=true", `{}`)
	w.copied(events.Index{Source: "wide"}, 0)
	w.again()
	require.Equal(t, []string{"wide: document 1 differs in f00, f01, f02, f03, f04 and 25 more"}, w.prove(false))
	var row []checksum.Difference
	require.NoError(t, w.store.GetPart(t.Context(), w.run.ID, "differences/00000/000000", &row))
	require.Len(t, row[0].Fields, 20)
}
