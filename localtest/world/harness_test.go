package world

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/azure"
	"eslink/localtest/fakes/elastic"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/runtime"
	"eslink/shared/api"
	"eslink/shared/elasticcloud"
	"eslink/shared/run"
	"eslink/shared/wordstest"
)

// inWorld runs do in a bubble, with a world of its own that holds the six
// documents and delivers nothing yet. It is over at the end of its test.
func inWorld(t *testing.T, c Config, do func(t *testing.T, s *sim)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c.Root = "../.."
		w, err := New(c)
		require.NoError(t, err)
		require.NoError(t, w.SeedProducts(""))
		for range 16 { // or the load balancer is put into the functions' vSwitch, which ES_2 admits
			w.Networks.TakeIP(SourceVSwitch)
		}
		s := &sim{Simulation: Simulate(w), restarts: map[string]int{}}
		w.Clusters.OnConfig(func(id string, config map[string]string) error {
			s.mu.Lock()
			s.restarts[id]++
			s.mu.Unlock()
			return w.takeUp(id, config)
		})
		defer func() { // a test that fails leaves copies running, which no bubble may
			for _, server := range w.Servers {
				server.(*elastic.Server).Stop()
			}
		}()
		defer s.Close()
		do(t, s)
	})
}

// sim is a Simulation with what the tests ask of it.
type sim struct {
	*Simulation
	mu       sync.Mutex
	restarts map[string]int // by instance
	id       string         // of the run that start began last
}

// start begins the run of a spec, and delivery.
func (s *sim) start(t *testing.T, req events.Request) {
	t.Helper()
	if s.stop == nil {
		require.NoError(t, s.Start())
	}
	if req.Action == "" {
		req.Action = "start"
	}
	if req.Spec == nil {
		spec := Spec()
		req.Spec = &spec
	}
	reply, err := s.Do(req)
	require.NoError(t, err)
	s.id = reply.RunID
}

// do sends a request about the run, and once more if it is told to: an invocation
// that died has the run for as long as its lease lasts.
func (s *sim) do(t *testing.T, req events.Request) api.Reply {
	t.Helper()
	req.RunID = s.id
	return insist(t, func() (api.Reply, error) { return s.Do(req) })
}

// approve consents to a plan of the run.
func (s *sim) approve(t *testing.T, planID string) api.Reply {
	t.Helper()
	return insist(t, func() (api.Reply, error) { return s.Approve(events.Approval{RunID: s.id, PlanID: planID}) })
}

// insist asks once more if a step is at work.
func insist(t *testing.T, ask func() (api.Reply, error)) api.Reply {
	t.Helper()
	reply, err := ask()
	if p := new(events.Problem); errors.As(err, &p) && p.Status == 409 && strings.HasSuffix(p.Type, "busy") {
		time.Sleep(run.DefaultLease)
		reply, err = ask()
	}
	require.NoError(t, err)
	return reply
}

// ends waits until the run has come to rest, as want.
func (s *sim) ends(t *testing.T, want run.Status) api.View {
	t.Helper()
	for end := time.Now().Add(3 * 24 * time.Hour); ; time.Sleep(time.Minute) {
		v, err := s.Status(s.id)
		require.NoError(t, err)
		if v.Status != run.Running {
			require.Equal(t, want, v.Status, "%s: %s\n%v", v.Step, v.Reason, v.Problem)
			plain(t, v)
			return v
		}
		require.True(t, time.Now().Before(end), "still at %s: %s", v.Step, v.Reason)
	}
}

// plain demands that all that the run has told people is in plain words.
func plain(t *testing.T, v api.View) {
	t.Helper()
	told := []string{v.Reason, v.Next}
	for _, e := range v.Timeline {
		told = append(told, e.Reason)
	}
	if p := v.Problem; p != nil {
		told = append(told, p.Title, p.Detail)
		for _, f := range p.Errors {
			told = append(told, f.Message, f.Remedy)
		}
	}
	for _, sentence := range told {
		require.Empty(t, wordstest.Refuse(sentence), sentence)
		require.Empty(t, wordstest.RefusePattern(sentence), sentence)
	}
}

// view is the run as it is now.
func (s *sim) view(t *testing.T) api.View {
	t.Helper()
	v, err := s.Status(s.id)
	require.NoError(t, err)
	return v
}

// until looks every second whether the run is where is says.
func (s *sim) until(t *testing.T, is func(api.View) bool) api.View {
	t.Helper()
	for end := time.Now().Add(8 * time.Hour); ; time.Sleep(time.Second) {
		v, err := s.Status(s.id)
		require.NoError(t, err)
		if is(v) {
			return v
		}
		require.True(t, time.Now().Before(end), "%s at %s: %s", v.Status, v.Step, v.Reason)
	}
}

// ended is where nothing moves.
func ended(v api.View) bool { return v.Status != run.Running }

func at(step string) func(api.View) bool { return func(v api.View) bool { return v.Step == step } }

// provision starts the usual run and sees it done.
func (s *sim) provision(t *testing.T) {
	t.Helper()
	s.start(t, events.Request{})
	s.ends(t, run.Done)
	s.stands(t)
}

// tearDown takes the run down and sees nothing left.
func (s *sim) tearDown(t *testing.T) {
	t.Helper()
	s.do(t, events.Request{Action: "teardown"})
	s.ends(t, run.Removed)
	s.removed(t)
}

// stands proves the end of a walk: one of each resource, the documents, and
// nothing of anybody else's changed.
func (s *sim) stands(t *testing.T) {
	t.Helper()
	require.Len(t, s.NLB.LoadBalancers(), 1)
	require.Len(t, s.NLB.ServerGroups(), 1)
	require.Len(t, s.NLB.ServerGroups()[0].Servers, len(s.instance(Target).Addresses))
	require.Len(t, s.NLB.Listeners(), 1)
	require.Len(t, s.Links.Services(), 1)
	require.Len(t, s.Links.Endpoints(), 1)
	require.Equal(t, "Connected", s.Links.Endpoints()[0].Connection)
	require.Equal(t, s.Links.Endpoints()[0].Domain+":9200", s.instance(Instance).Config["reindex.remote.whitelist"])
	groups := s.Clusters.Groups(Target)
	require.Len(t, groups, 3, "default, the public one and ours: %v", groups)
	require.Equal(t, 6, count(t, s.World, Instance, "dest"))
	s.others(t)
}

// removed proves that nothing of the run is left but the copy.
func (s *sim) removed(t *testing.T) {
	t.Helper()
	require.Empty(t, s.Left())
	for _, id := range []string{Instance, Target} {
		require.Len(t, s.Clusters.Groups(id), 2, "default and the public one")
		require.NotContains(t, s.instance(id).Config, "reindex.remote.whitelist")
	}
	s.others(t)
}

// others proves that what was there before is as it was.
func (s *sim) others(t *testing.T) {
	t.Helper()
	for id, cidr := range map[string]string{Instance: DestinationCIDR, Target: SourceCIDR} {
		config := s.instance(id).Config
		require.Equal(t, "+.*,-*", config["action.auto_create_index"])
		require.Equal(t, "true", config["action.destructive_requires_name"])
		require.Equal(t, "false", config["xpack.watcher.enabled"])
		require.Equal(t, []string{cidr}, s.Clusters.Groups(id)[0].IPs)
	}
	require.Equal(t, 6, count(t, s.World, Target, "product_info"))
	require.Empty(t, s.Account.Refusals())
}

// group is the run's own at the target.
func (s *sim) group() string { return "eslink_" + s.id }

// restarted is how often a cluster took up a configuration.
func (s *sim) restarted(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restarts[id]
}

func (s *sim) instance(id string) (found escluster.Instance) {
	for _, in := range s.Clusters.Instances() {
		if in.ID == id {
			return in
		}
	}
	panic("no instance " + id)
}

// point names a call, the same in each world: function, operation and the
// how-many-th of these.
type point struct {
	Function, Op string
	N            int
	Write        bool
}

// pointer counts calls by function and operation. Status only looks on.
type pointer struct {
	mu    sync.Mutex
	seen  map[[2]string]int
	calls []point
}

func (p *pointer) point(c Call) point {
	op, write := operation(c.Request)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[[2]string]int{}
	}
	key := [2]string{c.Function, op}
	p.seen[key]++
	at := point{c.Function, op, p.seen[key], write}
	p.calls = append(p.calls, at)
	return at
}

// turn returns the calls so far and counts from the start again.
func (p *pointer) turn() []point {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := p.calls
	p.seen, p.calls = nil, nil
	return calls
}

// operation is what a request asks for, and whether that writes.
func operation(r *http.Request) (op string, write bool) {
	host, path := r.URL.Hostname(), r.URL.Path
	switch {
	case strings.Contains(host, ".ots."):
		op = strings.TrimPrefix(path, "/")
		return op, !strings.HasPrefix(op, "Get")
	case strings.Contains(host, ".mns."):
		return "publish", true
	case host == elasticcloud.Host: // policies' IDs differ between worlds
		parts := strings.Split(path, "/")
		for i, p := range parts {
			if i > 0 && parts[i-1] == "rulesets" && p != "" {
				parts[i] = "{id}"
			}
		}
		return r.Method + " " + strings.Join(parts, "/"), r.Method != http.MethodGet
	case host == azure.LoginHost:
		return "login", false
	case strings.HasPrefix(host, "es-cn-"):
		if strings.HasSuffix(path, "/_cancel") { // the ID differs between worlds
			path = "/_tasks/{taskId}/_cancel"
		}
		return r.Method + " " + path, changes(r) || strings.Contains(path, "eslink-check-") && r.Method != http.MethodGet && r.Method != http.MethodHead || path == "/_reindex" || strings.HasSuffix(path, "/_cancel")
	}
	if action := r.URL.Query().Get("Action"); action != "" {
		for _, read := range []string{"Describe", "Get", "List", "Check"} {
			if strings.HasPrefix(action, read) {
				return action, false
			}
		}
		return action, true
	}
	if i := strings.Index(path, "/vpc-endpoints/"); i > 0 {
		path = path[:i] + "/vpc-endpoints/{endpointId}"
	}
	return r.Method + " " + path, r.Method != http.MethodGet
}

// recorder keeps what passes by, for tests that look at it later.
type recorder struct {
	mu         sync.Mutex
	deliveries []runtime.Delivery
}

func (r *recorder) keep(d runtime.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deliveries = append(r.deliveries, d)
}

func (r *recorder) all() []runtime.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]runtime.Delivery(nil), r.deliveries...)
}

// lines is a log that many may write to.
type lines struct {
	mu  sync.Mutex
	out strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

// body reads a request's body and puts it back.
func body(r *http.Request) string {
	if r.Body == nil {
		return ""
	}
	raw, _ := io.ReadAll(r.Body) // from memory
	r.Body = io.NopCloser(strings.NewReader(string(raw)))
	return string(raw)
}

func count(t *testing.T, w *World, id, index string) int {
	t.Helper()
	var out struct{ Count int }
	status, body := w.Ask(id, "GET", "/"+index+"/_count", "")
	require.Equal(t, 200, status, string(body))
	require.NoError(t, json.Unmarshal(body, &out))
	return out.Count
}

// once is true the first time.
type once struct{ atomic.Bool }

func (o *once) first() bool { return o.CompareAndSwap(false, true) }

func decode(t *testing.T, text string, into any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), into))
}
