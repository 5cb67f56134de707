//go:build real && unix

package copyjob_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/realserver"
	"eslink/shared/aliyun/kms"
	"eslink/shared/clusters"
	"eslink/shared/copyjob"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/scan"
)

// pair is two real servers, of which the first reads from the second.
type pair struct {
	t            *testing.T
	source, dest *realserver.Server
}

func (p pair) Open(context.Context, clusters.Side) (*es.Client, error) {
	return es.New(http.DefaultTransport, p.dest.URL(), "elastic", "secret-1")
}

func (p pair) Login(context.Context, clusters.Side) (kms.Login, error) {
	return kms.Login{Username: "elastic", Password: "secret-1"}, nil
}

func (p pair) ask(s *realserver.Server, method, path, body string) []byte {
	p.t.Helper()
	req, err := http.NewRequest(method, s.URL()+path, strings.NewReader(body))
	require.NoError(p.t, err)
	req.SetBasicAuth("elastic", "secret-1")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	require.Less(p.t, resp.StatusCode, 300, "%s %s", path, raw)
	return raw
}

// TestReal copies 100,000 documents in windows between two real servers, while
// they are written to and the destination's process is killed twice, and proves
// them.
func TestReal(t *testing.T) {
	const n = 100_000
	require.NoError(t, realserver.Check())
	d, err := realserver.Prepare(t.Context(), "7.17.29", "")
	require.NoError(t, err)
	start := func(name string, settings map[string]string) *realserver.Server {
		s, err := realserver.Start(t.Context(), realserver.Options{Distribution: d, Name: name, Password: "secret-1", Settings: settings, Heap: "1g"})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Stop()) })
		return s
	}
	config := map[string]string{"reindex.remote.whitelist": "127.0.0.1:*"}
	p := pair{t: t, source: start("source", nil), dest: start("dest", config)}
	document := func(i, version int) string {
		return fmt.Sprintf("{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d,\"version\":%d,\"price\":%d.50,\"text\":%q}\n", i, i, version, i, strings.Repeat("wealth management product ", 20))
	}
	const definition = `{"settings":{"number_of_shards":5,"number_of_replicas":0},"mappings":{"properties":{"text":{"type":"text"},"n":{"type":"long"},"price":{"type":"double"}}}}`
	p.ask(p.source, "PUT", "/orders", definition)
	for from := 0; from < n; from += 5000 {
		var docs strings.Builder
		for i := from; i < from+5000; i++ {
			docs.WriteString(document(i, 0))
		}
		p.ask(p.source, "POST", "/orders/_bulk", docs.String())
	}
	p.ask(p.source, "POST", "/orders/_refresh", "")
	source, err := url.Parse(p.source.URL())
	require.NoError(t, err)
	port, err := strconv.Atoi(source.Port())
	require.NoError(t, err)
	client, err := es.New(http.DefaultTransport, p.source.URL(), "elastic", "secret-1")
	require.NoError(t, err)
	store := &run.Store{Driver: &run.Mem{}, Now: time.Now}

	begin := func(dest string) *run.Run {
		p.ask(p.dest, "PUT", "/"+dest, definition)
		r := &run.Run{ID: dest + "-6789abcdef"[:8], Generation: 1, Spec: events.Spec{Target: events.Target{Protocol: "http", Port: port}, Indices: []events.Index{{Source: "orders", Dest: dest}}}}
		r.Facts.Preflight, r.Facts.Accept = &facts.Preflight{}, &facts.Accept{Domain: "127.0.0.1"}
		r.Facts.Destination = &facts.DestinationFacts{Indices: []facts.DestinationIndex{{Name: dest, Created: true}}}
		stats, err := client.Stats(t.Context(), "orders")
		require.NoError(t, err)
		r.Facts.Survey = &facts.Survey{Indices: []facts.SurveyedIndex{{Source: "orders", Dest: dest, Documents: n, Total: n, Bytes: stats.Bytes, MaxSeqNo: stats.MaxSeqNo,
			ShardSeqNos: stats.ShardSeqNos, State: fmt.Sprint("uuid/", stats.Operations)}}}
		return r
	}
	copyAll := func(r *run.Run, split copyjob.Split, between func()) time.Duration {
		began := time.Now()
		open := func() *copyjob.Job {
			c, err := copyjob.Opener{Clusters: p, Rows: store, Now: time.Now, Split: split}.Open(t.Context(), r)
			require.NoError(t, err)
			return c
		}
		c := open()
		_, err := c.Plan(t.Context())
		require.NoError(t, err)
		for {
			c := open()
			c.Intend()
			if err := c.Start(t.Context()); err != nil {
				t.Log(err)
				time.Sleep(time.Second)
				continue
			}
			between()
			left, _, err := c.Observe(t.Context())
			if err != nil {
				t.Log(err)
			} else if left == 0 {
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
		took := time.Since(began)
		require.NoError(t, open().Restore(t.Context()))
		return took
	}
	windows := copyjob.Split{From: n, Each: n / 8, Most: 32}
	prove := func(r *run.Run, dest string) (unequal int, took time.Duration) {
		p.ask(p.dest, "POST", "/"+dest+"/_refresh", "")
		r.Facts.Digest = &facts.Digest{Walk: dest}
		other, err := p.Open(t.Context(), clusters.Side{})
		require.NoError(t, err)
		for side, c := range map[string]*es.Client{scan.Source: client, scan.Dest: other} {
			began := time.Now()
			index := map[string]string{scan.Source: "orders", scan.Dest: dest}[side]
			s := scan.Scan{Reader: c, Rows: store, Now: time.Now, Run: r, Side: side, Index: index, Content: true}
			at, err := s.Sum(t.Context(), 4096, time.Now().Add(time.Hour))
			require.NoError(t, err)
			require.True(t, at.Done)
			require.EqualValues(t, n, at.Read)
			took = max(took, time.Since(began))
		}
		parts, _, _, err := scan.Compare(t.Context(), store, r, 0)
		require.NoError(t, err)
		return len(parts), took
	}
	speed := func(took time.Duration) float64 { return n / took.Seconds() }

	r := begin("quiet")
	took := copyAll(r, windows, func() {})
	unequal, proved := prove(r, "quiet")
	t.Logf("windows: %.0f docs/s in %d tasks of pages of %d; proof: %.0f docs/s a side", speed(took), len(r.Facts.Reindex.Tasks), r.Facts.Reindex.Tasks[0].Size, speed(proved))
	require.Zero(t, unequal)
	require.NotContains(t, string(p.ask(p.dest, "GET", "/quiet/_settings", "")), "async")

	// The same while documents are written, and with a process that is killed.
	r = begin("wild")
	random := rand.New(rand.NewPCG(1, 2))
	version := 0
	killed := 0
	copyAll(r, windows, func() {
		tasks := r.Facts.Reindex.Tasks
		if last := tasks[len(tasks)-1]; !last.Intent.IsZero() || !last.NotBefore.IsZero() {
			return
		}
		version++
		var docs strings.Builder
		for range 300 {
			docs.WriteString(document(random.IntN(n), version))
		}
		p.ask(p.source, "POST", "/orders/_bulk", docs.String())
		if killed == 0 && tasks[0].ID != "" || killed == 1 && slices.ContainsFunc(tasks, func(t facts.Task) bool { return t.Result != nil }) {
			killed++
			p.dest.Kill()
			require.NoError(t, p.dest.Restart(t.Context(), config))
		}
	})
	require.Equal(t, 2, killed)
	again := 0
	for _, task := range r.Facts.Reindex.Tasks {
		again += task.Retries
	}
	p.ask(p.source, "POST", "/orders/_refresh", "")
	unequal, _ = prove(r, "wild")
	t.Logf("%d rounds of updates, %d windows copied again", version, again)
	require.Zero(t, unequal)
	require.Positive(t, again)
}
