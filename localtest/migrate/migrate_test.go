//go:build bench && unix

package migrate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"eslink/events"
	"eslink/localtest/realserver"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/checksum"
	"eslink/shared/clusters"
	"eslink/shared/copyjob"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/scan"
	"eslink/shared/steps/progress"
	"eslink/shared/steps/reindex"
)

var (
	documents   = flag.Int("documents", 300_000, "how many documents are copied")
	rounds      = flag.Int("rounds", 3, "how often each copy is measured, after one round that warms up")
	seed        = flag.Uint64("seed", 1, "of the documents and the bad days")
	elasticdump = flag.String("elasticdump", "../../.build/elasticdump/node_modules/.bin/elasticdump", "where elasticdump is")
	nodes       = flag.Int("nodes", 2, "of the destination; on one, replicas have no place")
	flat        = flag.Bool("flat", false, "smaller documents, none with nested ones")
	without     = flag.Bool("without-elasticdump", false, "leave elasticdump out")
)

const (
	heap      = "2g"
	index     = "orders"
	roundTrip = 20 * time.Millisecond
)

// mappings are what every index of the benchmark has.
const mappings = `{"properties":{"text":{"type":"text"},"name":{"type":"keyword"},"n":{"type":"long"},"big":{"type":"long"},"price":{"type":"double"},` +
	`"share":{"type":"double"},"at":{"type":"date"},"items":{"type":"nested","properties":{"sku":{"type":"keyword"},"count":{"type":"integer"}}}}}`

// guessed leaves the mappings to Elasticsearch, as seed 001 does.
const guessed = `{}`

// shards is seed 001's number_of_shards.
const shards = 5

// bench is a pair with what is copied between them.
type bench struct {
	pair
	store  *run.Store
	bodies [][]byte
	runs   int
}

// Open implements copyjob.Clusters.
func (p *bench) Open(context.Context, clusters.Side) (*es.Client, error) {
	return es.New(http.DefaultTransport, p.dest.URL(), "elastic", password)
}

// Login implements copyjob.Clusters.
func (p *bench) Login(context.Context, clusters.Side) (kms.Login, error) {
	return kms.Login{Username: "elastic", Password: password}, nil
}

func (p *bench) client(s *realserver.Server) *es.Client {
	c, err := es.New(http.DefaultTransport, s.URL(), "elastic", password)
	require.NoError(p.t, err)
	return c
}

// fill writes all documents, so many bodies at once.
func (p *bench) fill(s *realserver.Server, index string, writers int) {
	p.bulk(s, index, writers, p.bodies)
}

// of is the documents' shape.
func of() shape {
	if *flat {
		return plain
	}
	return usual
}

// start boots both servers, with what a production JVM compiles with, and fills
// the source.
func start(t *testing.T) *bench {
	const fast = "-XX:TieredStopAtLevel=4\n"
	options := func(name string, settings map[string]string) realserver.Options {
		return realserver.Options{Name: name, Settings: settings, Heap: heap, Files: map[string]string{"jvm.options.d/compiler.options": fast}}
	}
	whitelist := map[string]string{"reindex.remote.whitelist": "127.*:*"}
	dest := options("dest", whitelist)
	dest.Joined = *nodes > 1
	p := &bench{pair: boot(t, options("source", nil), dest),
		store: &run.Store{Driver: &run.Mem{}, Now: time.Now}, bodies: bodies(*seed, *documents, of())}
	for n := 2; n <= *nodes; n++ {
		p.join(dest, p.dest, n)
	}
	require.Contains(t, string(p.ask(p.source, "GET", "/_nodes/jvm?filter_path=**.input_arguments", "")), "TieredStopAtLevel=4")
	p.ask(p.source, "PUT", "/"+index, fmt.Sprintf(`{"settings":{"number_of_shards":%d,"number_of_replicas":0,"refresh_interval":"-1"},"mappings":%s}`, shards, mappings))
	p.fill(p.source, index, 2)
	p.ask(p.source, "POST", "/"+index+"/_flush", "")
	p.ask(p.source, "POST", "/"+index+"/_refresh", "")
	return p
}

// create makes a destination with seed 001's settings; it gives none mappings, so
// that Elasticsearch guesses them from the documents.
func (p *bench) create(dest, mappings string) {
	p.ask(p.dest, "PUT", "/"+dest, fmt.Sprintf(`{"settings":{"number_of_shards":%d,"number_of_replicas":1},"mappings":%s}`, shards, mappings))
}

// A measure is what one copy took.
type measure struct {
	took time.Duration
	note string
}

// plain is seed 001's _reindex, waited for.
func (p *bench) plain(dest, host string, port int) (m measure) {
	body, err := json.Marshal(es.ReindexBody{Source: es.ReindexSource{Index: index, Remote: es.Remote{Host: fmt.Sprintf("http://%s:%d", host, port), Username: "elastic", Password: password}},
		Dest: es.ReindexDest{Index: dest}})
	require.NoError(p.t, err)
	began := time.Now()
	status, raw, err := p.tell(p.dest, "POST", "/_reindex", body)
	m.took = time.Since(began)
	require.NoError(p.t, err)
	if m.note = fmt.Sprint("reply ", status); status != http.StatusOK {
		var e struct{ Error *es.Cause }
		require.NoError(p.t, json.Unmarshal(raw, &e))
		m.note += ", " + e.Error.Type
	}
	return m
}

// replicas waits until they are as they should be, and says how long that took, if
// they have a place at all.
func (p *bench) replicas(dest string) string {
	if *nodes == 1 {
		return ""
	}
	began := time.Now()
	p.ask(p.dest, "GET", "/_cluster/health/"+dest+"?wait_for_status=green&timeout=20m", "")
	return fmt.Sprintf("; replicas %.1f s later", time.Since(began).Seconds())
}

// limit is the destination's own: the same documents, bodies prepared before, with
// the settings that a copy has.
func (p *bench) limit(dest string, writers int) (m measure) {
	began := time.Now()
	p.ask(p.dest, "PUT", "/"+dest+"/_settings", `{"index":{"refresh_interval":"-1","number_of_replicas":0,"translog.durability":"async","translog.flush_threshold_size":"32mb"}}`)
	p.fill(p.dest, dest, writers)
	p.ask(p.dest, "POST", "/"+dest+"/_flush", "")
	p.ask(p.dest, "PUT", "/"+dest+"/_settings", `{"index":{"refresh_interval":null,"number_of_replicas":1,"translog.durability":null,"translog.flush_threshold_size":null}}`)
	m.took = time.Since(began)
	return m
}

// limitRead is limit while the source is read, as a copy has to: what the machine
// allows when both are on it.
func (p *bench) limitRead(dest string) (m measure) {
	var group errgroup.Group
	for slice := range copyjob.Parallel {
		group.Go(func() error { return p.read(slice, copyjob.Parallel) })
	}
	began := time.Now()
	p.limit(dest, 2)
	require.NoError(p.t, group.Wait())
	m.took = time.Since(began)
	return m
}

// read reads one of several slices of the source, in pages as large as a copy's.
func (p *bench) read(slice, of int) error {
	path, body := "/"+index+"/_search?scroll=5m&sort=_doc&size=8000", fmt.Sprintf(`{"slice":{"id":%d,"max":%d}}`, slice, of)
	for {
		status, raw, err := p.tell(p.source, "POST", path, []byte(body))
		if err != nil {
			return err
		}
		id := scrollID.FindSubmatch(raw[:min(len(raw), 4096)])
		if status != http.StatusOK || id == nil {
			return fmt.Errorf("scroll: %d %.200s", status, raw)
		}
		path, body = "/_search/scroll", fmt.Sprintf(`{"scroll":"5m","scroll_id":%q}`, id[1])
		if bytes.Contains(raw, []byte(`"hits":[]`)) {
			status, raw, err = p.tell(p.source, "DELETE", path, fmt.Appendf(nil, `{"scroll_id":%q}`, id[1]))
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("end a scroll: %d %s", status, raw)
			}
			return err
		}
	}
}

var scrollID = regexp.MustCompile(`"_scroll_id":"([^"]+)"`)

// dump is elasticdump, from a base URL.
func (p *bench) dump(dest, from string) (m measure) {
	tool, err := filepath.Abs(*elasticdump)
	require.NoError(p.t, err)
	at := func(base, index string) string {
		u, err := url.Parse(base)
		require.NoError(p.t, err)
		u.User = url.UserPassword("elastic", password)
		return u.JoinPath(index).String()
	}
	cmd := exec.CommandContext(p.t.Context(), tool, "--input="+at(from, index), "--output="+at(p.dest.URL(), dest), "--type=data", "--limit=1000")
	began := time.Now()
	out, err := cmd.CombinedOutput()
	m.took = time.Since(began)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(p.t, err)
	}
	m.note = fmt.Sprintf("exit code %d", cmd.ProcessState.ExitCode())
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		p.t.Logf("elasticdump: %s", strings.Join(lines[max(0, len(lines)-5):], "\n"))
	}
	return m
}

// begin is a run whose walk has come to step reindex.
func (p *bench) begin(dest, host string, port int) *run.Run {
	p.runs++
	r := &run.Run{ID: fmt.Sprintf("bench%08d", p.runs), Generation: 1, Spec: events.Spec{Target: events.Target{Protocol: "http", Port: port}, Indices: []events.Index{{Source: index, Dest: dest}}}}
	r.Cursor.Step, r.Cursor.Since = "reindex", time.Now()
	r.Facts.Preflight, r.Facts.Accept = &facts.Preflight{}, &facts.Accept{Domain: host}
	r.Facts.Destination = &facts.DestinationFacts{Indices: []facts.DestinationIndex{{Name: dest, Created: true}}}
	stats, err := p.client(p.source).Stats(p.t.Context(), index)
	require.NoError(p.t, err)
	// The source was filled long before.
	r.Facts.Survey = &facts.Survey{At: time.Now().Add(-time.Minute), Indices: []facts.SurveyedIndex{{Source: index, Dest: dest, Documents: int64(*documents), Total: int64(*documents), Bytes: stats.Bytes, MaxSeqNo: stats.MaxSeqNo,
		ShardSeqNos: stats.ShardSeqNos, Refresh: "-1", State: fmt.Sprint("uuid/", stats.Operations)}}}
	return r
}

// ours is our copy by the steps reindex and progress, with their own pauses.
func (p *bench) ours(dest, host string, port int) (m measure) {
	r := p.begin(dest, host, port)
	looks, people := 0, 0
	began := time.Now()
	copies := copyjob.Opener{Clusters: p, Rows: p.store, Now: time.Now}
	for _, step := range []engine.Step{reindex.By(copies), progress.By(copies)} {
		for {
			looks++
			out, err := step.Up(p.t.Context(), r)
			if err != nil {
				// A person looks and sends retry, which the steps meet in the same state.
				require.Equal(p.t, apierr.Fatal, apierr.ClassOf(err), err)
				people++
				require.Less(p.t, people, 100, err)
				r.Cursor.Since = time.Now()
				continue
			}
			if out.IsDone() {
				break
			}
			time.Sleep(out.Delay())
		}
	}
	m.took = time.Since(began)
	again := 0
	for _, t := range r.Facts.Reindex.Tasks {
		again += t.Attempt - 1
		require.Zero(p.t, t.Result.FailureCount+int(t.Result.VersionConflicts))
	}
	m.note = fmt.Sprintf("%d windows, pages of %d; %d looks", len(r.Facts.Reindex.Tasks), r.Facts.Reindex.Tasks[0].Size, looks)
	if again > 0 {
		m.note += fmt.Sprintf("; %d times a window again, %d times asked for by a person", again, people)
	}
	return m
}

// proved reads both sides as the steps digest and verify do, one after the other,
// and returns how many documents a second were hashed, by a process with all
// processors.
func (p *bench) proved(dest string) float64 {
	r := p.begin(dest, "", 0)
	r.Facts.Digest = &facts.Digest{Walk: r.ID}
	p.ask(p.dest, "POST", "/"+dest+"/_refresh", "")
	began := time.Now()
	for side, s := range map[string]*realserver.Server{scan.Source: p.source, scan.Dest: p.dest} {
		scan := scan.Scan{Reader: p.client(s), Rows: p.store, Now: time.Now, Run: r, Side: side, Index: map[string]string{scan.Source: index, scan.Dest: dest}[side], Content: true,
			Bytes: r.Facts.Survey.Indices[0].Bytes / int64(*documents)}
		at, err := scan.Sum(p.t.Context(), checksum.Partitions(int64(*documents)), time.Now().Add(time.Hour))
		require.NoError(p.t, err)
		require.True(p.t, at.Done)
	}
	took := time.Since(began)
	unequal, a, b, err := scan.Compare(p.t.Context(), p.store, r, 0)
	require.NoError(p.t, err)
	require.Empty(p.t, unequal)
	require.EqualValues(p.t, *documents, a.Documents())
	require.EqualValues(p.t, *documents, b.Documents())
	return 2 * float64(*documents) / took.Seconds()
}

// list is every document of an index, with its digest.
func (p *bench) list(s *realserver.Server, index string) (out []checksum.Document) {
	p.ask(s, "POST", "/"+index+"/_refresh", "")
	c := p.client(s)
	stats, err := c.Stats(p.t.Context(), index)
	require.NoError(p.t, err)
	var h checksum.Hasher
	for shard := range stats.Shards {
		for w := (es.Window{Shard: shard}); ; {
			page, err := c.Page(p.t.Context(), index, nil, w, 1000, true)
			require.NoError(p.t, err)
			if len(page) == 0 {
				break
			}
			for _, d := range page {
				listed, err := h.List(d.ID, d.Routing, d.Source, false)
				require.NoError(p.t, err)
				out = append(out, listed)
			}
			w.From = page[len(page)-1].SeqNo + 1
		}
	}
	return out
}

// found is what two sides differ in, by class of package proof; doubled are those
// that the destination has under one ID in two shards.
type found struct {
	missing, extra, content, precision, doubled int
}

func (p *bench) compare(source []checksum.Document, dest string) (f found) {
	list := p.list(p.dest, dest)
	ids := map[string]bool{}
	for _, d := range list {
		ids[d.ID] = true
	}
	f.doubled = len(list) - len(ids)
	for _, d := range checksum.Diff(source, list) {
		switch d.Class {
		case checksum.Missing:
			f.missing++
		case checksum.Extra:
			f.extra++
		case checksum.Differs:
			f.content++
		case checksum.Precision:
			f.precision++
		}
	}
	return f
}

// A mover is one way to copy into an index that create has made with the mappings.
type mover struct {
	name, mappings string
	copy           func(dest string) measure
}

// speeds are documents a second, by mover and round.
type speeds map[string][]float64

// middle is the median.
func middle(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// over are the ratios of two, by round.
func over(a, b []float64) (out []float64) {
	for i := range a {
		out = append(out, a[i]/b[i])
	}
	return out
}

// best is the better of two, by round.
func best(a, b []float64) (out []float64) {
	for i := range a {
		out = append(out, max(a[i], b[i]))
	}
	return out
}

// machine is how large this one is and what else it does.
func machine() string {
	field := func(file, name string, n int) string {
		raw, err := os.ReadFile(file)
		if err != nil {
			return "?"
		}
		for line := range strings.Lines(string(raw)) {
			if f := strings.Fields(line); strings.HasPrefix(line, name) && len(f) > n {
				return f[n]
			}
		}
		return "?"
	}
	return fmt.Sprintf("%d processors (%s/%s), %s kB of memory, load average %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, field("/proc/meminfo", "MemTotal", 1), field("/proc/loadavg", "", 0))
}

const (
	seedDirect = "seed 001 as written: settings and mappings by default, plain `_reindex`"
	seedMapped = "the same into the source's mappings"
	seedFar    = "seed 001 as written, 20 ms round trip"
	farMapped  = "the same into the source's mappings, 20 ms round trip"
	oursDirect = "ours: windows, settings for the load"
	oursFar    = "ours, 20 ms round trip"
	limitTwo   = "limit: `_bulk` of prepared bodies, settings for the load, 2 writers"
	limitFour  = "limit, 4 writers"
	limitBoth  = "limit, 2 writers, while the source is read"
	dumpDirect = "elasticdump, `--limit=1000`"
	hashed     = "proof: documents hashed, one side after the other"
)

func TestMigration(t *testing.T) {
	require.GreaterOrEqual(t, *documents, 100)
	require.GreaterOrEqual(t, *rounds, 0)
	require.GreaterOrEqual(t, *nodes, 1)
	if !*without {
		_, err := os.Stat(*elasticdump)
		require.NoError(t, err, "no elasticdump: `make bench-migrate` installs it, and -without-elasticdump leaves it out")
	}
	loaded := machine()
	p := start(t)
	host, port := place(t, p.source.URL())
	farHost, farPort := far(t, fmt.Sprintf("%s:%d", host, port), roundTrip)
	movers := []mover{
		{seedDirect, guessed, func(d string) measure { return p.plain(d, host, port) }},
		{seedMapped, mappings, func(d string) measure { return p.plain(d, host, port) }},
		{oursDirect, mappings, func(d string) measure { return p.ours(d, host, port) }},
		{limitTwo, mappings, func(d string) measure { return p.limit(d, 2) }},
		{limitFour, mappings, func(d string) measure { return p.limit(d, 4) }},
		{limitBoth, mappings, p.limitRead},
		{seedFar, guessed, func(d string) measure { return p.plain(d, farHost, farPort) }},
		{farMapped, mappings, func(d string) measure { return p.plain(d, farHost, farPort) }},
		{oursFar, mappings, func(d string) measure { return p.ours(d, farHost, farPort) }},
	}
	if !*without {
		movers = append(movers, mover{dumpDirect, mappings, func(d string) measure { return p.dump(d, p.source.URL()) }})
	}
	source := p.list(p.source, index)
	require.Len(t, source, *documents)
	p.spoil(source)

	whole, notes, differ := speeds{}, map[string]string{}, map[string]found{}
	for round := range *rounds + 1 {
		for i, m := range movers {
			dest := fmt.Sprintf("dest-%d-%d", round, i)
			p.create(dest, m.mappings)
			took := m.copy(dest)
			took.note += p.replicas(dest)
			if round == *rounds {
				differ[m.name] = p.compare(source, dest)
			}
			if round > 0 { // the first one warms up
				whole[m.name] = append(whole[m.name], float64(*documents)/took.took.Seconds())
				notes[m.name] = took.note
				if m.name == oursDirect {
					whole[hashed] = append(whole[hashed], p.proved(dest))
				}
			}
			t.Logf("round %d: %s: %.0f docs/s %s", round, m.name, float64(*documents)/took.took.Seconds(), took.note)
			p.ask(p.dest, "DELETE", "/"+dest, "")
		}
	}

	bytes := 0
	for _, b := range p.bodies {
		bytes += len(b)
	}
	fmt.Printf("\nElasticsearch %s twice, the destination of %d nodes, heaps of %s, %d documents of %d bytes on average, nested ones in them: %v, %d shards, %d rounds after one to warm up, all on one machine:\n%s at the beginning\n%s at the end\n",
		version, *nodes, heap, *documents, bytes / *documents, !*flat, shards, *rounds, loaded, machine())
	fmt.Println("\n| copy | docs/s, median | least | most | |\n|---|---|---|---|---|")
	for _, name := range slices.Concat(names(movers), []string{hashed}) {
		s := whole[name]
		fmt.Printf("| %s | %.0f | %.0f | %.0f | %s |\n", name, middle(s), slices.Min(s), slices.Max(s), notes[name])
	}
	fmt.Println("\n| ratio within a round | median | least | most | aim |\n|---|---|---|---|---|")
	row := func(name string, list []float64, aim string) {
		fmt.Printf("| %s | %.2f | %.2f | %.2f | %s |\n", name, middle(list), slices.Min(list), slices.Max(list), aim)
	}
	row("ours over seed 001's", over(whole[oursDirect], whole[seedDirect]), "2.5")
	row("the same into the source's mappings", over(whole[oursDirect], whole[seedMapped]), "")
	row("ours over seed 001's, 20 ms round trip", over(whole[oursFar], whole[seedFar]), "3")
	row("the same into the source's mappings, 20 ms round trip", over(whole[oursFar], whole[farMapped]), "")
	row("ours over the destination's own limit", over(whole[oursDirect], best(whole[limitTwo], whole[limitFour])), "0.95")
	row("the same while the source is read", over(whole[oursDirect], whole[limitBoth]), "")
	if !*without {
		row("ours over elasticdump", over(whole[oursDirect], whole[dumpDirect]), "3")
	}
	row("documents hashed over copied", over(whole[hashed], whole[oursDirect]), "1")
	fmt.Println("\n| last round's copy | lost | other content | digits cut | extra | doubled |\n|---|---|---|---|---|---|")
	for _, name := range names(movers) {
		differ[name].print(name, "")
	}

	p.badDay(source, middle(whole[oursDirect]))
	for _, name := range []string{oursDirect, oursFar} {
		require.Zero(t, differ[name], name)
	}
}

// badDay copies through a link that refuses and breaks off. On a good day so many
// documents a second are copied.
func (p *bench) badDay(source []checksum.Document, good float64) {
	b := newBad(p.t, p.source.URL(), *seed)
	host, port := place(p.t, b.URL)
	movers := []mover{
		{oursDirect, mappings, func(d string) measure { return p.ours(d, host, port) }},
		{seedDirect, guessed, func(d string) measure { return p.plain(d, host, port) }},
	}
	if !*without {
		movers = append(movers, mover{dumpDirect, mappings, func(d string) measure { return p.dump(d, b.URL) }})
	}
	fmt.Printf("\nOf the requests between the clusters %.0f %% are answered 429, %.0f %% 503, and %.0f %% are dropped, half of them within the answer:\n", 100*tooMany, 100*unavailable, 100*dropped)
	fmt.Println("\n| copy on a bad day | lost | other content | digits cut | extra | doubled | |\n|---|---|---|---|---|---|---|")
	var ours found
	for i, m := range movers {
		dest := fmt.Sprintf("bad-%d", i)
		p.create(dest, m.mappings)
		took := m.copy(dest)
		requests := b.told()
		f := p.compare(source, dest)
		note := took.note + "; " + requests
		if i == 0 {
			ours = f
			speed := float64(*documents) / took.took.Seconds()
			note = fmt.Sprintf("%.0f docs/s, %.2f of a good day's; %s", speed, speed/good, note)
		}
		f.print(m.name, " "+note+" |")
		p.ask(p.dest, "DELETE", "/"+dest, "")
	}
	require.Zero(p.t, ours)
}

// spoil compares with a destination in which documents are lost, changed, invented
// and doubled: all of it must be found.
func (p *bench) spoil(source []checksum.Document) {
	p.create("spoilt", mappings)
	p.fill(p.dest, "spoilt", 2)
	p.ask(p.dest, "DELETE", "/spoilt/_doc/1", "")
	p.ask(p.dest, "PUT", "/spoilt/_doc/2", `{"n":2}`)
	p.ask(p.dest, "PUT", "/spoilt/_doc/more", `{"n":2}`)
	for i := range 20 { // in every shard, so once in its own
		p.ask(p.dest, "PUT", fmt.Sprintf("/spoilt/_doc/4?routing=%d", i), `{"n":4}`)
	}
	require.Equal(p.t, found{missing: 1, extra: 1 + (shards - 1), content: 2, doubled: shards - 1}, p.compare(source, "spoilt"))
	p.ask(p.dest, "DELETE", "/spoilt", "")
}

func (f found) print(name, rest string) {
	fmt.Printf("| %s | %d | %d | %d | %d | %d |%s\n", name, f.missing, f.content, f.precision, f.extra, f.doubled, rest)
}

func names(movers []mover) (out []string) {
	for _, m := range movers {
		out = append(out, m.name)
	}
	return out
}
