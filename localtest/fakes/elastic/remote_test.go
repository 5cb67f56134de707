package elastic_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/elastic"
)

// pair is a destination that may pull from src.example:9200, over wire.
type pair struct {
	t         *testing.T
	src, dest *elastic.Server
	wire      func(*http.Request, http.RoundTripper) (*http.Response, error) // nil: untouched
	log       []string
}

func newPair(t *testing.T, version string) *pair {
	p := &pair{t: t, src: elastic.New(elastic.Config{Name: "src", Version: version})}
	p.dest = elastic.New(elastic.Config{Name: "dest", Version: version, Remote: p, Heap: 1 << 20,
		Settings: map[string]string{"reindex.remote.whitelist": "src.example:9200"}})
	t.Cleanup(p.src.Stop)
	t.Cleanup(p.dest.Stop)
	return p
}

func (p *pair) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	p.log = append(p.log, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	if p.wire != nil {
		return p.wire(r, p.src)
	}
	return p.src.RoundTrip(r)
}

func (p *pair) do(s *elastic.Server, method, path, body string) (int, map[string]any) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, "http://any"+path, strings.NewReader(body))
	require.NoError(p.t, err)
	r.Header.Set("Content-Type", "application/json")
	resp, err := s.RoundTrip(r)
	require.NoError(p.t, err)
	var out map[string]any
	raw, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	if len(raw) > 0 {
		require.NoError(p.t, json.Unmarshal(raw, &out), string(raw))
	}
	return resp.StatusCode, out
}

func (p *pair) fill(n int) {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"index\":{\"_id\":\"d%d\"}}\n{\"n\":%d}\n", i, i)
	}
	status, reply := p.do(p.src, "POST", "/src/_bulk?refresh=true", b.String())
	require.Equal(p.t, 200, status)
	require.Equal(p.t, false, reply["errors"])
}

// start kicks an asynchronous run off and returns its task.
func (p *pair) start(params, source string) string {
	status, reply := p.do(p.dest, "POST", "/_reindex?wait_for_completion=false"+params,
		`{"source":{"remote":{"host":"http://src.example:9200","socket_timeout":"2s"},"index":"src"`+source+`},"dest":{"index":"dst"}}`)
	require.Equal(p.t, 200, status, "%v", reply)
	return reply["task"].(string)
}

func (p *pair) task(id string) map[string]any {
	status, reply := p.do(p.dest, "GET", "/_tasks/"+id, "")
	require.Equal(p.t, 200, status, "%v", reply)
	return reply
}

// errorOf waits for a run and returns its error as "type: reason".
func (p *pair) errorOf(id string) string {
	synctest.Wait()
	e, ok := p.task(id)["error"].(map[string]any)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s: %s", e["type"], e["reason"])
}

func inBubble(t *testing.T, version string, f func(*pair)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { f(newPair(t, version)) })
}

func TestWireContract(t *testing.T) {
	inBubble(t, "7.17.29", func(p *pair) {
		p.fill(5)
		id := p.start("&requests_per_second=1", `,"size":2,"query":{"match_all":{}},"_source":["n"]`)
		time.Sleep(time.Minute)
		response := p.task(id)["response"].(map[string]any)
		assert.EqualValues(t, 5, response["created"])
		assert.EqualValues(t, 5000, response["throttled_millis"], "a sleep after each page, the last one included")
		require.Len(t, p.log, 6)
		assert.Equal(t, "GET /", p.log[0])
		assert.Equal(t, `POST /src/_search?scroll=5m&sort=_doc%3Aasc&size=2&allow_partial_search_results=false&version=false {"query":{"match_all":{}},"_source":["n"]}`, p.log[1])
		for _, i := range []int{2, 3} {
			assert.Regexp(t, `^POST /_search/scroll\?scroll=302000000000nanos \{"scroll_id":"[^"]+"\}$`, p.log[i])
		}
		assert.Regexp(t, `^POST /_search/scroll\?scroll=301000000000nanos `, p.log[4])
		assert.Regexp(t, `^DELETE /_search/scroll \{"scroll_id":\["[^"]+"\]\}$`, p.log[5])
		assert.Zero(t, p.src.OpenScrolls())
	})
}

// answer replaces the source's reply to calls whose path holds part.
func answer(part string, status int, contentType, body string) func(*http.Request, http.RoundTripper) (*http.Response, error) {
	return func(r *http.Request, src http.RoundTripper) (*http.Response, error) {
		if !strings.Contains(r.URL.Path, part) || r.Method == "DELETE" {
			return src.RoundTrip(r)
		}
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, ContentLength: int64(len(body)),
			Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func TestSourceMisbehaves(t *testing.T) {
	silent := func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	huge := func(r *http.Request, src http.RoundTripper) (*http.Response, error) {
		resp, err := src.RoundTrip(r)
		if err == nil && strings.HasSuffix(r.URL.Path, "_search") {
			resp.ContentLength = 110009979
		}
		return resp, err
	}
	for name, c := range map[string]struct {
		wire func(*http.Request, http.RoundTripper) (*http.Response, error)
		want string
	}{
		"silent":          {silent, `^socket_timeout_exception: 2,000 milliseconds timeout on connection http-outgoing-\d+ \[ACTIVE\]$`},
		"cut":             {func(*http.Request, http.RoundTripper) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, `^connection_closed_exception: Connection is closed$`},
		"proxy's page":    {answer("/", 200, "text/html", "<html>hi</html>"), `^exception: Response didn't include Content-Type: body=<html>hi</html>$`},
		"proxy's 502":     {answer("_search", 502, "text/html", "<html>bad gw</html>"), `^status_exception: body=<html>bad gw</html>$`},
		"no version":      {answer("/", 200, "application/json", `{}`), `^illegal_argument_exception: Required \[version\]$`},
		"types are gone":  {answer("/src/_search", 200, "application/json", `{"hits":{"total":1,"hits":[{"_index":"src","_id":"1","_source":{}}]}}`), `^exception: Error parsing the response, remote is likely not an Elasticsearch instance$`},
		"over 100 MB":     {huge, `^illegal_argument_exception: Remote responded with a chunk that was too large. Use a smaller batch size.$`},
		"shard of a page": {answer("/src/_search", 200, "application/json", `{"_shards":{"failures":[{"index":"src","shard":0,"node":"x","reason":{"type":"illegal_state_exception","reason":"boom"}}]},"hits":{"total":1,"hits":[]}}`), `^$`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, "7.17.29", func(p *pair) {
				p.fill(1)
				p.wire = c.wire
				id := p.start("", "")
				time.Sleep(3 * time.Second)
				assert.Regexp(t, c.want, p.errorOf(id))
				status, _ := p.do(p.dest, "HEAD", "/dst", "")
				assert.Equal(t, 404, status, "nothing may be written")
				if name == "shard of a page" {
					failures := p.task(id)["response"].(map[string]any)["failures"].([]any)
					assert.Equal(t, map[string]any{"type": "runtime_exception", "reason": "illegal_state_exception: boom"}, failures[0].(map[string]any)["reason"])
				}
			})
		})
	}
}

func TestOnlyTooManyRequestsIsRetried(t *testing.T) {
	inBubble(t, "7.17.29", func(p *pair) {
		p.fill(1)
		p.wire = answer("_search", 429, "application/json", `{"busy":true}`)
		began := time.Now()
		id := p.start("", "")
		time.Sleep(30 * time.Second)
		status := p.task(id)["task"].(map[string]any)["status"].(map[string]any)
		assert.EqualValues(t, map[string]any{"bulk": 0.0, "search": 11.0}, status["retries"])
		time.Sleep(30 * time.Second)
		assert.Equal(t, `status_exception: body={"busy":true}`, p.errorOf(id))
		assert.InDelta(t, 60, time.Since(began).Seconds(), 1)
		assert.Len(t, p.log, 13, "GET /, the search and its 11 repetitions")
	})
}

func TestFloodStageIsRetriedByItem(t *testing.T) {
	inBubble(t, "7.17.29", func(p *pair) {
		p.fill(2)
		_, _ = p.do(p.dest, "PUT", "/dst", `{"settings":{"index.blocks.read_only_allow_delete":true}}`)
		id := p.start("", "")
		time.Sleep(5 * time.Second)
		assert.Equal(t, false, p.task(id)["completed"])
		_, _ = p.do(p.dest, "PUT", "/dst/_settings", `{"index.blocks.read_only_allow_delete":null}`)
		time.Sleep(10 * time.Second)
		response := p.task(id)["response"].(map[string]any)
		assert.EqualValues(t, 2, response["created"])
		assert.NotZero(t, response["retries"].(map[string]any)["bulk"])
	})
}

func TestIndexingPressureEndsTheRun(t *testing.T) {
	inBubble(t, "7.17.29", func(p *pair) {
		status, _ := p.do(p.src, "PUT", "/src/_doc/1?refresh=true", `{"t":"`+strings.Repeat("x", 200000)+`"}`)
		require.Equal(t, 201, status)
		id := p.start("", "")
		assert.Regexp(t, `^es_rejected_execution_exception: rejected execution of coordinating operation .*coordinating_operation_bytes=\d+, max_coordinating_and_primary_bytes=104857\]$`, p.errorOf(id))
		assert.EqualValues(t, 0, p.task(id)["task"].(map[string]any)["status"].(map[string]any)["retries"].(map[string]any)["bulk"])
	})
}

func TestRestartLosesTasksAndKeepsData(t *testing.T) {
	inBubble(t, "7.17.29", func(p *pair) {
		p.fill(3)
		done := p.start("", "")
		synctest.Wait()
		running := p.start("&requests_per_second=0.001", `,"size":1`)
		synctest.Wait()
		assert.Equal(t, false, p.task(running)["completed"])
		assert.NotZero(t, p.src.OpenScrolls())
		require.NoError(t, p.dest.Restart(map[string]string{"reindex.remote.whitelist": "other.example:9200"}))
		status, reply := p.do(p.dest, "GET", "/_tasks/"+running, "")
		assert.Equal(t, 404, status)
		assert.Equal(t, "task ["+running+"] isn't running and hasn't stored its results", reply["error"].(map[string]any)["reason"])
		assert.Equal(t, true, p.task(done)["completed"], "a stored result survives")
		time.Sleep(time.Second)
		_, count := p.do(p.dest, "GET", "/dst/_count", "")
		assert.EqualValues(t, 3, count["count"])
		assert.Equal(t, "illegal_argument_exception: [src.example:9200] not whitelisted in reindex.remote.whitelist", p.errorOf(p.start("", "")))
	})
}

func TestBadSettingsKeepTheClusterDown(t *testing.T) {
	inBubble(t, "7.17.29", func(p *pair) {
		for setting, want := range map[string]string{
			"reindex.remote.whitelst": "unknown setting [reindex.remote.whitelst]",
			"xpack.watcher.enabled":   "Failed to parse value [maybe]",
		} {
			assert.ErrorContains(t, p.dest.Restart(map[string]string{setting: "maybe"}), want)
			assert.False(t, p.dest.Up())
			r, err := http.NewRequestWithContext(t.Context(), "GET", "http://any/", nil)
			require.NoError(t, err)
			_, err = p.dest.RoundTrip(r)
			assert.ErrorContains(t, err, "connection refused")
		}
		assert.ErrorContains(t, p.dest.Restart(map[string]string{"reindex.remote.whitelist": "*"}), "Refusing to start because whitelist [*] accepts all addresses")
		require.NoError(t, p.dest.Restart(nil))
	})
}

func TestCancelEndsASleepAtOnce(t *testing.T) {
	inBubble(t, "7.10.2", func(p *pair) {
		p.fill(3)
		id := p.start("&requests_per_second=0.01", `,"size":1`)
		synctest.Wait()
		began := time.Now()
		status, reply := p.do(p.dest, "POST", "/_tasks/"+id+"/_cancel?wait_for_completion=true", "")
		require.Equal(t, 200, status, "%v", reply)
		assert.Zero(t, time.Since(began))
		assert.Equal(t, "by user request", p.task(id)["response"].(map[string]any)["canceled"])
		assert.Zero(t, p.src.OpenScrolls())
	})
}

func TestFasterRethrottleShortensTheSleep(t *testing.T) {
	inBubble(t, "7.17.29", func(p *pair) {
		p.fill(2)
		id := p.start("&requests_per_second=0.01", `,"size":1`)
		time.Sleep(50 * time.Second)
		status, _ := p.do(p.dest, "POST", "/_reindex/"+id+"/_rethrottle?requests_per_second=0.1", "")
		require.Equal(t, 200, status)
		time.Sleep(16 * time.Second) // 5 of the 50 s left, then 10 for the last page
		response := p.task(id)["response"].(map[string]any)
		assert.EqualValues(t, 2, response["created"])
		assert.EqualValues(t, 65000, response["throttled_millis"])
	})
}

func TestNumbersChangeAsElasticsearchChangesThem(t *testing.T) {
	inBubble(t, "7.17.29", func(p *pair) {
		_, _ = p.do(p.src, "PUT", "/src", `{"mappings":{"enabled_not":{}}}`)
		_, _ = p.do(p.src, "PUT", "/src", `{"mappings":{"properties":{"o":{"type":"object","enabled":false}}}}`)
		status, reply := p.do(p.src, "PUT", "/src/_doc/1?refresh=true",
			`{"o": [1.10, 1e3, 5e-324, 0.1234567890123456789, 1E400, 9007199254740993, 18446744073709551615, 12345678901234567890123, "\u00e9\ud83d\ude00\/", 1e7, 0.0001, -0.0]}`)
		require.Equal(t, 201, status, "%v", reply)
		_, _ = p.do(p.dest, "PUT", "/dst", `{"mappings":{"properties":{"o":{"type":"object","enabled":false}}}}`)
		require.Empty(t, p.errorOf(p.start("", "")))
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://any/dst/_doc/1", nil)
		require.NoError(t, err)
		resp, err := p.dest.RoundTrip(r)
		require.NoError(t, err)
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Contains(t, string(raw), `{"o":[1.1,1000.0,4.9E-324,0.12345678901234568,"Infinity",9007199254740993,18446744073709551615,12345678901234567890123,"é\uD83D\uDE00/",1.0E7,1.0E-4,-0.0]}`)
	})
}

func TestOpenScrollsAreFewAndExpire(t *testing.T) {
	inBubble(t, "7.17.29", func(p *pair) {
		p.fill(2)
		_, _ = p.do(p.src, "PUT", "/_cluster/settings", `{"transient":{"search.max_open_scroll_context":1}}`)
		status, page := p.do(p.src, "POST", "/src/_search?scroll=1m&size=1", `{}`)
		require.Equal(t, 200, status)
		status, reply := p.do(p.src, "POST", "/src/_search?scroll=1m&size=1", `{}`)
		assert.Equal(t, 500, status)
		cause := reply["error"].(map[string]any)["root_cause"].([]any)[0].(map[string]any)
		assert.Equal(t, "Trying to create too many scroll contexts. Must be less than or equal to: [1]. This limit can be set by changing the [search.max_open_scroll_context] setting.", cause["reason"])
		time.Sleep(61 * time.Second)
		status, _ = p.do(p.src, "POST", "/_search/scroll", `{"scroll_id":"`+page["_scroll_id"].(string)+`"}`)
		assert.Equal(t, 404, status)
		assert.Zero(t, p.src.OpenScrolls())
	})
}

func TestDocumentLevelSecurityHides(t *testing.T) {
	t.Parallel()
	s := elastic.New(elastic.Config{Version: "7.17.29", Users: map[string]elastic.User{
		"elastic": elastic.Superuser("p"),
		"half":    {Password: "p", Indices: []elastic.IndexPrivileges{{Names: []string{"a"}, Privileges: []string{"read"}, Query: `{"term":{"n":1}}`}}},
	}})
	t.Cleanup(s.Stop)
	call := func(user, method, path, body string) string {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://any"+path, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		r.SetBasicAuth(user, "p")
		resp, err := s.RoundTrip(r)
		require.NoError(t, err)
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(raw)
	}
	call("elastic", "POST", "/a/_bulk?refresh=true", "{\"index\":{\"_id\":\"1\"}}\n{\"n\":1}\n{\"index\":{\"_id\":\"2\"}}\n{\"n\":2}\n")
	assert.Contains(t, call("elastic", "GET", "/a/_count", ""), `"count":2`)
	assert.Contains(t, call("half", "GET", "/a/_count", ""), `"count":1`)
	assert.Contains(t, call("half", "GET", "/a/_doc/2", ""), `"found":false`)
}

func TestProductHeaderAndMediaTypes(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]struct {
		product string
		vendor  int
	}{"7.10.2": {"", 406}, "7.17.29": {"Elasticsearch", 200}, "8.15.1": {"Elasticsearch", 200}} {
		s := elastic.New(elastic.Config{Version: version})
		t.Cleanup(s.Stop)
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://any/_count", strings.NewReader(`{}`))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/vnd.elasticsearch+json;compatible-with=8")
		resp, err := s.RoundTrip(r)
		require.NoError(t, err)
		assert.Equal(t, want.vendor, resp.StatusCode, version)
		assert.Equal(t, want.product, resp.Header.Get("X-Elastic-Product"), version)
	}
}

func TestWhatIsNotDoneIsSaid(t *testing.T) {
	t.Parallel()
	p := newPair(t, "8.15.1")
	for _, ask := range [][3]string{
		{"GET", "/_cat/segments", ""},
		{"PUT", "/_watcher/watch/w", "{}"},
		{"POST", "/_count", `{"query":{"wildcard":{"a":"b*"}}}`},
		{"POST", "/_search", `{"aggs":{"a":{"terms":{"field":"x"}}}}`},
		{"POST", "/_reindex", `{"source":{"index":"a"},"dest":{"index":"b"},"script":{}}`},
		{"PUT", "/x", `{"mappings":{"properties":{"j":{"type":"join"}}}}`},
		{"GET", "/?filter_path=name", ""},
	} {
		if strings.HasPrefix(ask[1], "/_count") || strings.HasPrefix(ask[1], "/_search") {
			_, _ = p.do(p.dest, "PUT", "/some/_doc/1", `{}`)
		}
		status, reply := p.do(p.dest, ask[0], ask[1], ask[2])
		assert.Equal(t, 501, status, "%v: %v", ask, reply)
		assert.Equal(t, "unsupported_by_embedded_elasticsearch", reply["error"].(map[string]any)["type"])
	}
}
