//go:build real && unix

package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"eslink/shared/flow"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/realserver"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/aliyun/privatelink"
	"eslink/shared/api"
	"eslink/shared/bus"
	"eslink/shared/clusters"
	"eslink/shared/copyjob"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/linkcheck"
	"eslink/shared/run"
	"eslink/shared/steps/destination"
	"eslink/shared/steps/digest"
	"eslink/shared/steps/plan"
	"eslink/shared/steps/progress"
	"eslink/shared/steps/reindex"
	"eslink/shared/steps/survey"
	"eslink/shared/steps/verify"
)

const (
	account  = "1234567890123456"
	domain   = "ep-1.epsrv-1.cn-hangzhou.privatelink.aliyuncs.com"
	instance = "es-cn-dst000000001"
	target   = "es-cn-src000000002"
)

// world is two clusters and the link between them, for one bad day after another.
type world struct {
	pair
	link     *link
	settings map[string]string // of the destination's nodes

	// others are the nodes that joined source and dest.
	others struct{ source, dest []*realserver.Server }
}

// users of the source.
const (
	reader = "eslink_reader" // may do what README asks for
	blind  = "blind_reader"  // lacks view_index_metadata
)

func users(password string) []realserver.FileUser {
	return []realserver.FileUser{{Name: reader, Password: password, Roles: []string{"reads"}}, {Name: blind, Password: password, Roles: []string{"blind"}}}
}

const roles = `reads: {"cluster": ["monitor"], "indices": [{"names": ["*"], "privileges": ["read", "monitor", "view_index_metadata"]}]}
blind: {"cluster": ["monitor"], "indices": [{"names": ["*"], "privileges": ["read", "monitor"]}]}
`

// newWorld boots both clusters, of so many nodes each, with further settings.
func newWorld(t *testing.T, nodes int, heap string, source, dest map[string]string) *world {
	w := &world{link: &link{}, settings: map[string]string{"reindex.remote.whitelist": domain + ":9200"}}
	maps.Copy(w.settings, dest)
	addr, stop, err := realserver.Forward(t.Context(), w.link.dial)
	require.NoError(t, err)
	t.Cleanup(stop)
	name := strings.ToLower(strings.TrimPrefix(t.Name(), "TestReal"))
	from := realserver.Options{Name: name + "-source", Joined: nodes > 1, Heap: heap, Settings: source, FileUsers: users(password), Files: map[string]string{"roles.yml": roles}}
	to := realserver.Options{Name: name + "-dest", Joined: nodes > 1, Heap: heap, Settings: w.settings, Hosts: map[string]string{domain: addr.String()}}
	w.pair = boot(t, from, to)
	for n := 2; n <= nodes; n++ {
		w.others.source = append(w.others.source, w.join(from, w.source, n))
		w.others.dest = append(w.others.dest, w.join(to, w.dest, n))
	}
	w.link.to = strings.TrimPrefix(w.source.URL(), "http://")
	return w
}

// link joins the clusters, unless it is cut or dark.
type link struct {
	to string

	mu    sync.Mutex
	state string // "", cut: connections are reset; dark: nothing comes through
	lit   chan struct{}
	open  map[net.Conn]bool
	tried int // connections while it was not up
}

const (
	up   = ""
	cut  = "cut"
	dark = "dark"
)

func (l *link) set(state string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lit != nil {
		close(l.lit)
	}
	l.state, l.lit = state, make(chan struct{})
	if state == cut {
		for c := range l.open {
			c.Close()
		}
	}
}

func (l *link) now() (state string, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lit == nil {
		l.lit = make(chan struct{})
	}
	return l.state, l.lit
}

func (l *link) dial(ctx context.Context) (net.Conn, error) {
	for {
		state, changed := l.now()
		if state == up {
			break
		}
		l.mu.Lock()
		l.tried++
		l.mu.Unlock()
		if state == cut {
			return nil, errors.New("the link is cut")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp4", l.to)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[net.Conn]bool{}
	}
	l.open[c] = true
	return &joined{c, l}, nil
}

// joined is a connection over the link.
type joined struct {
	net.Conn
	link *link
}

func (j *joined) Read(p []byte) (int, error) {
	n, err := j.Conn.Read(p)
	for state, changed := j.link.now(); state == dark; state, changed = j.link.now() {
		<-changed
	}
	return n, err
}

func (j *joined) Close() error {
	j.link.mu.Lock()
	delete(j.link.open, j.Conn)
	j.link.mu.Unlock()
	return j.Conn.Close()
}

// clock goes as the world's does, and faster in the pauses between events.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
	rate  time.Duration
}

// In a pause a minute passes in a second. While a fault lasts, so much less that
// it is not longer than in the world by far.
const (
	usually = 60
	slowly  = 5
)

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) hurry(rate time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rate = rate
}

// jump is a pause that takes no time.
func (c *clock) jump(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += by
}

func (c *clock) pass(until time.Time) {
	const tick = 10 * time.Millisecond
	for left := until.Sub(c.now()); left > 0; left = until.Sub(c.now()) {
		time.Sleep(min(tick, left))
		c.mu.Lock()
		c.ahead += min(tick*(c.rate-1), max(0, until.Sub(time.Now().Add(c.ahead))))
		c.mu.Unlock()
	}
}

// queues are a bus.
type queues struct {
	now  func() time.Time
	mu   sync.Mutex
	list []message
}

type message struct {
	step string
	body []byte
	due  time.Time
}

// Publish implements bus.Bus.
func (q *queues) Publish(_ context.Context, queue string, body []byte, delay time.Duration) error {
	q.put(message{strings.TrimPrefix(queue, bus.Queue("")), body, q.now().Add(delay)})
	return nil
}

func (q *queues) put(m message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, m)
}

func (q *queues) next() (message, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		return message{}, false
	}
	slices.SortStableFunc(q.list, func(a, b message) int { return a.due.Compare(b.due) })
	m := q.list[0]
	q.list = q.list[1:]
	return m, true
}

// table keeps rows, until the function dies that writes them.
type table struct {
	run.Mem
	dies func() bool // asked before a record is saved
	dead atomic.Bool
}

var errDead = errors.New("the function was killed")

// Get implements run.Driver.
func (d *table) Get(ctx context.Context, key run.Key) (run.Row, error) {
	if d.dead.Load() {
		return run.Row{}, errDead
	}
	return d.Mem.Get(ctx, key)
}

// Put implements run.Driver.
func (d *table) Put(ctx context.Context, key run.Key, row run.Row, expect int64) error {
	if key.ID == "record" && d.dies != nil && d.dies() {
		d.dead.Store(true)
	}
	if d.dead.Load() {
		return errDead
	}
	return d.Mem.Put(ctx, key, row, expect)
}

// plane carries what functions say to clusters.
type plane struct {
	http.RoundTripper
	kicked atomic.Int64             // kick-offs that were answered
	lose   func(*http.Request) bool // whether a request's reply is lost
}

// RoundTrip implements http.RoundTripper.
func (p *plane) RoundTrip(q *http.Request) (*http.Response, error) {
	res, err := p.RoundTripper.RoundTrip(q)
	if err == nil && q.Method == http.MethodPost && q.URL.Path == "/_reindex" && !strings.HasPrefix(q.Header.Get("X-Opaque-Id"), "eslink/check/") {
		p.kicked.Add(1)
	}
	if err == nil && p.lose != nil && p.lose(q) {
		res.Body.Close()
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
	}
	return res, err
}

// given is a step that provisions, and has done so.
type given func(r *run.Run)

func (g given) Up(_ context.Context, r *run.Run) (engine.Outcome, error) {
	g(r)
	return engine.Done(), nil
}

func (g given) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }

// first is a step before which something happens, once.
type first struct {
	engine.Step
	do func()
}

func (f *first) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if f.do != nil {
		f.do()
		f.do = nil
	}
	return f.Step.Up(ctx, r)
}

// standing is a cloud in which everything stands.
type standing struct{}

func (standing) Describe(_ context.Context, id string) (escluster.Instance, error) {
	return escluster.Instance{ID: id}, nil
}
func (standing) EstimateRestart(context.Context, string) (time.Duration, error) { return 0, nil }
func (standing) Keystore(context.Context, string) ([]string, error)             { return nil, nil }
func (standing) ListEndpoints(context.Context, string) ([]escluster.Endpoint, error) {
	return []escluster.Endpoint{{ID: "ep-1", Domain: domain, Status: "Active", Connection: "Connected"}}, nil
}
func (standing) Connections(context.Context, string) ([]privatelink.Connection, error) {
	return []privatelink.Connection{{EndpointID: "ep-1", Status: privatelink.ConnectionConnected}}, nil
}

// day is one run between the clusters: the engine and the steps from survey on as
// they are, over tables and queues in memory.
type day struct {
	pair
	world  *world
	spec   events.Spec
	clock  *clock
	queues *queues
	table  *table
	plane  *plane
	runs   *api.Runs
	engine *engine.Engine
	steps  map[string]engine.Step
	id     string
	amiss  sync.WaitGroup // the fault

	mu     sync.Mutex
	logins map[string]kms.Login
	double []string // windows that were seen copied by two tasks at once
	errs   []error  // of the fault
	met    bool     // the fault was, in the middle
	loaded bool     // and the destination had its settings for the load then
}

// Open implements copyjob.Clusters.
func (d *day) Open(ctx context.Context, s clusters.Side) (*es.Client, error) {
	l, err := d.Login(ctx, s)
	if err != nil {
		return nil, err
	}
	return es.New(d.plane, s.Cluster.URL(), l.Username, l.Password)
}

// Login implements copyjob.Clusters.
func (d *day) Login(_ context.Context, s clusters.Side) (kms.Login, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, ok := d.logins[s.Secret]
	if !ok {
		return l, fmt.Errorf("no secret %s", s.Secret)
	}
	return l, nil
}

func (d *day) secret(name string, l kms.Login) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.logins[name] = l
}

// day begins no run yet. It copies an index to one that is called as the day.
func (w *world) day(t *testing.T, name, source string, split copyjob.Split) *day {
	t.Cleanup(func() { // whatever failed, the next day begins well
		w.link.set(up)
		_, _, _ = w.tell(w.source, "DELETE", "/_search/scroll/_all", nil)
	})
	d := &day{pair: pair{t, w.source, w.dest}, world: w, clock: &clock{rate: usually}, table: &table{}, logins: map[string]kms.Login{}}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = time.Minute // as functions have
	t.Cleanup(transport.CloseIdleConnections)
	d.plane = &plane{RoundTripper: transport}
	d.queues = &queues{now: d.clock.now}
	log := slog.New(slog.DiscardHandler)
	store := &run.Store{Driver: d.table, Now: d.clock.now}
	d.engine = &engine.Engine{Runs: store, Bus: d.queues, Now: d.clock.now, Log: log}
	d.runs = &api.Runs{Store: store, Engine: d.engine, Region: "cn-hangzhou", Now: d.clock.now, AutoApprove: true}
	d.secret("eslink/es1", kms.Login{Username: "elastic", Password: password})
	d.secret("eslink/es2-reader", kms.Login{Username: reader, Password: password})
	d.spec = events.Spec{Name: name, Scenario: flow.ESToES, Region: "cn-hangzhou", InstanceID: instance, Target: events.Target{InstanceID: target},
		Secrets: events.Secrets{Instance: "eslink/es1", Target: "eslink/es2-reader"}, Indices: []events.Index{{Source: source, Dest: name}},
		Approve: "auto", Proof: "content", AcceptRisks: []string{"not-green", "single-node", "no-replicas", "little-disk", "unassigned-replicas"}}
	cluster := func(id string, s *realserver.Server) facts.Cluster {
		host, port := place(t, s.URL())
		return facts.Cluster{InstanceID: id, Domain: host, Port: port, Protocol: "http", Version: version, VpcID: "vpc-" + id}
	}
	nothing := given(func(*run.Run) {})
	copies := copyjob.Opener{Clusters: d, Rows: store, Now: d.clock.now, Split: split}
	d.steps = map[string]engine.Step{
		"preflight": given(func(r *run.Run) {
			r.Facts.Preflight = &facts.Preflight{Instance: cluster(instance, w.dest), Target: cluster(target, w.source)}
		}),
		"nlb": nothing, "ip-whitelist": nothing, "nlb-backend": nothing, "configure": nothing,
		"endpoint-service":   given(func(r *run.Run) { r.Facts.EndpointService = &facts.EndpointService{ID: "epsrv-1"} }),
		"private-connection": given(func(r *run.Run) { r.Facts.PrivateConnection = &facts.PrivateConnection{EndpointID: "ep-1"} }),
		"accept":             given(func(r *run.Run) { r.Facts.Accept = &facts.Accept{Domain: domain} }),
		"survey":             &survey.Step{Clusters: d, Parts: store, Now: d.clock.now},
		"plan":               &plan.Step{Clusters: d, Control: standing{}, Rows: store},
		"destination":        &destination.Step{Clusters: d, Parts: store},
		"reindex":            reindex.By(copies),
		"progress":           progress.By(copies),
		"digest":             &digest.Step{Clusters: d, Rows: store, Now: d.clock.now},
		"verify":             &verify.Step{Clusters: d, Rows: store, Now: d.clock.now, Cloud: linkcheck.Cloud{Endpoints: standing{}, Connections: standing{}}},
	}
	return d
}

// before has something happen before a step's first call.
func (d *day) before(step string, do func()) { d.steps[step] = &first{d.steps[step], do} }

// do sends a request of a person.
func (d *day) do(req events.Request) {
	d.t.Helper()
	if req.Action == "start" {
		req.Spec = &d.spec
	} else {
		req.RunID = d.id
	}
	raw, err := json.Marshal(req)
	require.NoError(d.t, err)
	got, err := d.runs.Do(d.t.Context(), account, raw)
	require.NoError(d.t, err)
	d.id = got.RunID
}

func (d *day) run() *run.Run {
	r, err := d.engine.Runs.Get(d.t.Context(), d.id)
	require.NoError(d.t, err)
	return r
}

// timeout is a function's, visible how long the queue keeps a message from others.
const (
	timeout = 240 * time.Second
	visible = 4*timeout + time.Minute
)

// rests delivers events until the run has come to rest, as want.
func (d *day) rests(want run.Status) *run.Run {
	d.t.Helper()
	watching, stop := context.WithCancel(d.t.Context())
	var watch sync.WaitGroup
	watch.Go(func() { d.watch(watching) })
	began := time.Now()
	for d.run().Status.Moving() {
		m, ok := d.queues.next()
		require.True(d.t, ok, "nobody wakes the run: %s", d.told())
		require.Less(d.t, time.Since(began), 15*time.Minute, "it does not come to rest: %s", d.told())
		if m.due.Sub(d.clock.now()) > time.Second {
			// In the pause that is shortened the source would have been refreshed.
			_, _, _ = d.tell(d.source, "POST", "/"+d.spec.Indices[0].Source+"/_refresh", nil)
		}
		d.clock.pass(m.due)
		ctx, cancel := context.WithTimeout(d.t.Context(), timeout)
		err := d.engine.Handle(ctx, m.step, d.steps[m.step], m.body)
		cancel()
		if d.table.dead.Swap(false) {
			require.ErrorIs(d.t, err, errDead)
			d.clock.jump(visible) // what it had begun goes on
			d.queues.put(m)
			continue
		}
		require.NoError(d.t, err)
	}
	stop()
	watch.Wait()
	d.amiss.Wait()
	require.NoError(d.t, errors.Join(d.errs...))
	r := d.run()
	d.t.Logf("%s at %s after %s", r.Status, r.Cursor.Step, time.Since(began).Round(100*time.Millisecond))
	require.Equal(d.t, want, r.Status, "%s", d.told())
	return r
}

// told is what a person would see of the run.
func (d *day) told() string {
	r := d.run()
	var out strings.Builder
	fmt.Fprintf(&out, "%s at %s: %s\n", r.Status, r.Cursor.Step, r.Cursor.Reason)
	for _, e := range r.Timeline[max(0, len(r.Timeline)-40):] {
		fmt.Fprintf(&out, "%s %s %s: %s\n", e.At.Format(time.TimeOnly), e.Step, e.What, e.Reason)
	}
	if r.Facts.Verify != nil {
		fmt.Fprintln(&out, strings.Join(r.Facts.Verify.Differences, "\n"))
	}
	return out.String()
}

// A task is a _reindex that runs on the destination, as it says itself.
type task struct {
	Node    string
	ID      int
	Status  struct{ Total, Created, Updated int }
	Headers map[string]string
}

func (t task) opaqueID() string { return t.Headers["X-Opaque-Id"] }

// tasks are all that run.
func (d *day) tasks() (out []task, err error) {
	status, raw, err := d.tell(d.dest, "GET", "/_tasks?actions=*reindex&detailed&group_by=none", nil)
	if err != nil || status != http.StatusOK {
		return nil, errors.Join(err, fmt.Errorf("tasks: %d", status))
	}
	var reply struct{ Tasks []task }
	err = json.Unmarshal(raw, &reply)
	return reply.Tasks, err
}

// watch looks whether two tasks ever copy the same window.
func (d *day) watch(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(100 * time.Millisecond)
		tasks, _ := d.tasks() // none while it is down
		seen := map[string]bool{}
		for _, t := range tasks {
			window := t.opaqueID()[:strings.LastIndexByte(t.opaqueID(), '/')+1]
			if seen[window] {
				d.mu.Lock()
				d.double = append(d.double, window)
				d.mu.Unlock()
			}
			seen[window] = true
		}
	}
}

// finished reports whether so many windows are copied, as far as the record says.
func (d *day) finished(windows int) bool {
	r, err := d.engine.Runs.Get(d.t.Context(), d.id)
	if err != nil || r.Facts.Reindex == nil {
		return false
	}
	for _, t := range r.Facts.Reindex.Tasks {
		if t.Result != nil {
			windows--
		}
	}
	return windows <= 0
}

// amid has a fault happen while a task of the run is in the middle of its
// documents, and so many windows are finished.
func (d *day) amid(windows int, fault func() error) {
	d.met = false
	d.amiss.Go(func() {
		for d.t.Context().Err() == nil {
			time.Sleep(20 * time.Millisecond)
			tasks, _ := d.tasks()
			i := slices.IndexFunc(tasks, func(t task) bool {
				n := t.Status.Created + t.Status.Updated
				return strings.HasPrefix(t.opaqueID(), "eslink/"+d.id) && n > 0 && n < t.Status.Total
			})
			if i < 0 || !d.finished(windows) {
				continue
			}
			// For the end, which puts the settings back, to mean anything.
			_, raw, err := d.tell(d.dest, "GET", "/"+d.spec.Indices[0].Dest+"/_settings?flat_settings", nil)
			d.loaded = d.loaded || strings.Contains(string(raw), `"index.refresh_interval":"-1"`)
			if err == nil {
				err = fault()
			}
			d.mu.Lock()
			d.met = err == nil
			d.errs = append(d.errs, err)
			d.mu.Unlock()
			return
		}
	})
}

// stops expects a run that waits for a person, and says so in these words.
func (d *day) stops(field, message string) {
	d.t.Helper()
	r := d.rests(run.Failed)
	require.NotNil(d.t, r.Problem)
	for _, e := range r.Problem.Errors {
		if e.Field == field && strings.Contains(e.Message, message) {
			require.NotEmpty(d.t, e.Remedy)
			return
		}
	}
	require.Fail(d.t, "it says otherwise", "%+v\n%s", r.Problem, d.told())
}

// setting reads one of an index of the destination, "" if it has none.
func (d *day) setting(index, name string) string {
	var reply map[string]struct{ Settings map[string]string }
	require.NoError(d.t, json.Unmarshal(d.ask(d.dest, "GET", "/"+index+"/_settings?flat_settings", ""), &reply))
	return reply[index].Settings["index."+name]
}

// contexts is how many scrolls are open at the source, one a shard.
func (d *day) contexts() int {
	var reply struct {
		Nodes map[string]struct {
			Indices struct {
				Search struct {
					Open int `json:"open_contexts"`
				}
			}
		}
	}
	require.NoError(d.t, json.Unmarshal(d.ask(d.source, "GET", "/_nodes/stats/indices/search", ""), &reply))
	n := 0
	for _, node := range reply.Nodes {
		n += node.Indices.Search.Open
	}
	return n
}

// leaves proves what a run leaves behind that is over: no task, the settings that
// the source's index has, no index of the check, and of scrolls only those that
// were broken off, which end by themselves.
func (d *day) leaves(broken bool) {
	d.t.Helper()
	d.mu.Lock()
	require.Empty(d.t, d.double, "copied twice at once")
	d.mu.Unlock()
	tasks, err := d.tasks()
	require.NoError(d.t, err)
	require.Empty(d.t, tasks)
	dest := d.spec.Indices[0].Dest
	require.Equal(d.t, "1s", d.setting(dest, "refresh_interval"))
	require.Equal(d.t, "1", d.setting(dest, "number_of_replicas"))
	require.Empty(d.t, d.setting(dest, "translog.durability"))
	require.Equal(d.t, "{}", string(d.ask(d.dest, "GET", "/eslink-check-*", "")))
	if broken {
		require.LessOrEqual(d.t, d.contexts(), shardsOfDay*int(d.plane.kicked.Load()))
		d.ask(d.source, "DELETE", "/_search/scroll/_all", "")
	}
	for range 100 { // a task that is over says so a little before it clears its scroll
		if d.contexts() == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	require.Zero(d.t, d.contexts(), "scrolls stay open")
}

// equals proves that the destination is the source, document by document.
func (d *day) equals(source listing) {
	d.t.Helper()
	require.Zero(d.t, source.differs(d.list(d.dest, d.spec.Indices[0].Dest, 5000)))
}

// found are the documents that the run says differ, by class.
func (d *day) found() difference {
	r := d.run()
	out := map[string][]string{}
	for part := range r.Facts.Verify.Indices[0].Parts {
		var rows []struct{ ID, Class string }
		require.NoError(d.t, d.engine.Runs.GetPart(d.t.Context(), d.id, fmt.Sprintf("differences/%05d/%06d", 0, part), &rows))
		for _, row := range rows {
			out[row.Class] = append(out[row.Class], row.ID)
		}
	}
	for _, ids := range out {
		slices.Sort(ids)
	}
	d.t.Log("differences:", r.Facts.Verify.Indices[0].Differences, len(r.Facts.Verify.Differences), "lines")
	return difference{missing: out["missing"], extra: out["extra"], other: out["content"]}
}
