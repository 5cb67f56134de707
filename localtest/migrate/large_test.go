//go:build real && unix

package migrate

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/copyjob"
	"eslink/shared/run"
)

// TestRealLargeDocuments moves documents as large as Elasticsearch takes, and
// meets one that is larger than _reindex takes; and a disk that is full, which
// takes Elasticsearch a minute to say.
func TestRealLargeDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, "2g", map[string]string{"http.max_content_length": "200mb"},
		map[string]string{"http.max_content_length": "200mb", "cluster.routing.allocation.disk.threshold_enabled": "true", "cluster.info.update.interval": "10s"})
	w.t = t
	start := events.Request{Action: "start"}
	retry := events.Request{Action: "retry"}
	one := copyjob.Split{From: 1 << 40, Each: 1 << 40, Most: 1}

	// Documents of so many megabytes between small ones, of text that compresses
	// as text does.
	large := func(index string, megabytes ...int) listing {
		w.ask(w.source, "PUT", "/"+index, strings.Replace(definition, `"number_of_shards":3`, `"number_of_shards":1`, 1))
		var small strings.Builder
		for i := range 200 {
			fmt.Fprintf(&small, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d}\n", i, i)
		}
		w.bulk(w.source, index, 1, [][]byte{[]byte(small.String())})
		for i, mb := range megabytes {
			w.ask(w.source, "PUT", fmt.Sprintf("/%s/_doc/large-%d", index, i), string(document(uint64(i), mb<<20)))
			w.ask(w.source, "PUT", fmt.Sprintf("/%s/_doc/small-%d", index, i), `{"n":1}`)
		}
		w.ask(w.source, "POST", "/"+index+"/_flush", "")
		return w.list(w.source, index, 1)
	}

	t.Run("a document has 90 MB", func(t *testing.T) {
		source := large("large", 90, 60)
		d := w.day(t, "large-copy", "large", one)
		d.do(start)
		r := d.rests(run.Done)
		require.Equal(t, "content", r.Facts.Verify.Level)
		require.EqualValues(t, len(source), r.Facts.Verify.Indices[0].Documents)
		require.Zero(t, source.differs(d.list(d.dest, "large-copy", 1)))
		d.leaves(true)
	})

	t.Run("a document has more than 100 MB", func(t *testing.T) {
		source := large("too-large", 20, 120, 10)
		d := w.day(t, "too-large-copy", "too-large", one)
		d.do(start)
		r := d.rests(run.DoneDifferences)
		told := strings.Join(r.Facts.Verify.Differences, "\n")
		require.Contains(t, told, "document large-1 in too-large is larger than the 100 MB that _reindex takes from another cluster")
		want := difference{missing: []string{"large-1"}}
		require.Equal(t, want, source.differs(d.list(d.dest, "too-large-copy", 1)))
		require.Equal(t, want, d.found())
		require.Equal(t, "content", r.Facts.Verify.Level)
		d.leaves(true)
		require.Equal(t, "{}", string(d.ask(d.dest, "GET", "/eslink-*", "")), "to ask for its name leaves nothing behind")

		// The person moves it by itself. It is more than is read for the proof, too, and
		// so not taken for equal.
		w.ask(w.dest, "PUT", "/too-large-copy/_doc/large-1", string(document(1, 120<<20)))
		d = w.day(t, "too-large-copy", "too-large", one)
		d.do(start)
		r = d.rests(run.DoneDifferences)
		require.Contains(t, strings.Join(r.Facts.Verify.Differences, "\n"), "document large-1 differs in (more than the 112 MB that are read, dest), (more than the 112 MB that are read, source)")
		require.Zero(t, source.differs(d.list(d.dest, "too-large-copy", 1)))
		require.Equal(t, difference{other: []string{"large-1"}}, d.found())

		// Left out by the spec, as the remedy says, it is no difference.
		d = w.day(t, "too-large-copy", "too-large", one)
		d.spec.Indices[0].Query = json.RawMessage(`{"bool":{"must_not":{"ids":{"values":["large-1"]}}}}`)
		d.do(start)
		d.rests(run.Done)
	})

	t.Run("the disk is full", func(t *testing.T) {
		w.ask(w.source, "PUT", "/"+orders, definition)
		w.bulk(w.source, orders, 2, bodies(9, 30_000, tiny))
		source := w.list(w.source, orders, 5000)
		d := w.day(t, "full", orders, copyjob.Split{From: 1, Each: 5_000, Most: 32})
		rate := 3_000.
		d.spec.Reindex = events.Reindex{Size: 500, RequestsPerSecond: &rate}
		const mark = "cluster.routing.allocation.disk.watermark."
		d.amid(0, func() error {
			// More than any disk has must be free.
			status, raw, err := d.tell(d.dest, "PUT", "/_cluster/settings", []byte(`{"transient":{"`+mark+`low":"1000tb","`+mark+`high":"1000tb","`+mark+`flood_stage":"1000tb"}}`))
			if err == nil && status != 200 {
				err = fmt.Errorf("watermarks: %d %s", status, raw)
			}
			return err
		})
		d.do(start)
		d.stops("indices[0].dest", "disk usage exceeded flood-stage watermark, index has read-only-allow-delete block")
		require.True(t, d.met && d.loaded)
		// The person makes room. The node lifts the block itself when it looks.
		w.ask(w.dest, "PUT", "/_cluster/settings", `{"transient":{"`+mark+`*":null}}`)
		require.Eventually(t, func() bool { return d.setting("full", "blocks.read_only_allow_delete") == "" }, time.Minute, 100*time.Millisecond)
		d.do(retry)
		d.do(events.Request{Action: "throttle", RequestsPerSecond: 1e6})
		d.rests(run.Done)
		d.equals(source)
		d.leaves(false)
	})
}

// document is one of so many bytes.
func document(seed uint64, size int) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	out := make([]byte, 0, size+100)
	out = append(out, `{"n":1,"text":"`...)
	for len(out) < size {
		out = append(append(out, words[r.IntN(len(words))]...), ' ')
	}
	return append(out, `"}`...)
}
