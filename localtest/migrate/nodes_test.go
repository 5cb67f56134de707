//go:build real && unix

package migrate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/realserver"
	"eslink/shared/run"
)

// TestRealSeveralNodes has a migration between clusters of two nodes each, where an
// index has shards on both, and replicas but for the time of the load. The nodes
// that nobody talks to are killed in the middle, and come back.
func TestRealSeveralNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, "", nil, nil)
	w.t = t
	w.ask(w.source, "PUT", "/"+orders, definition)
	w.bulk(w.source, orders, 2, bodies(7, many, tiny))
	w.ask(w.source, "POST", "/"+orders+"/_flush", "")
	w.green(w.source, orders)
	source := w.list(w.source, orders, 5000)
	require.Equal(t, many, len(source))

	for _, c := range []struct {
		name     string
		server   *realserver.Server
		settings map[string]string
	}{{"dest", w.others.dest[0], w.settings}, {"source", w.others.source[0], nil}} {
		t.Run("a node of the "+c.name+" is killed", func(t *testing.T) {
			d := w.day(t, c.name, orders, windows)
			perSecond := 25_000.
			d.spec.Reindex = events.Reindex{Size: 500, RequestsPerSecond: &perSecond, SocketTimeout: "3s", ConnectTimeout: "3s"}
			d.amid(1, func() error {
				if n := d.nodes(c.name); n != 2 {
					return fmt.Errorf("the shards of %s are on %d nodes", c.name, n)
				}
				return d.killed(c.server, c.settings)
			})
			d.do(events.Request{Action: "start"})
			d.rests(run.Done)
			require.True(t, d.met && d.loaded)
			d.equals(source)
			d.leaves(true)
			w.green(w.source, orders) // for the next day
			w.green(w.dest, c.name)
		})
	}
}

// green waits until every shard of an index is on both nodes.
func (p *pair) green(s *realserver.Server, index string) {
	p.t.Helper()
	began := time.Now()
	p.ask(s, "GET", "/_cluster/health/"+index+"?wait_for_status=green&wait_for_nodes=2&timeout=1m", "")
	p.t.Logf("%s is green after %s", index, time.Since(began).Round(100*time.Millisecond))
}

// nodes is on how many nodes of the destination an index has shards.
func (d *day) nodes(index string) int {
	_, raw, err := d.tell(d.dest, "GET", "/_cat/shards/"+index+"?h=node", nil)
	if err != nil {
		return 0
	}
	on := map[string]bool{}
	for _, node := range strings.Fields(string(raw)) {
		on[node] = true
	}
	return len(on)
}
