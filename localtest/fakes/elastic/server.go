package elastic

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config describes one cluster.
type Config struct {
	Name     string            // cluster name; also the seed of node ids and uuids
	Version  string            // "7.10.2", "7.17.29", "8.15.1"
	Users    map[string]User   // nil: security is off, as on an OSS distribution
	Nodes    int               // data nodes, at least 1; replicas beyond Nodes-1 leave the cluster yellow
	Now      func() time.Time  // nil: time.Now
	Remote   http.RoundTripper // how the nodes reach the network, for remote _reindex; nil: every connection is refused
	Settings map[string]string // elasticsearch.yml, flat: "reindex.remote.whitelist": "a:9200, b:9200"
	Keystore map[string]string // secure settings
	Roles    map[string]Role   // beside superuser, monitoring_user and viewer: what users of a directory may do

	// Dial is how the nodes reach directories. nil: Remote's own DialContext, if it
	// has one, as a network.Place has; else every connection is refused.
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	Roots *x509.CertPool // whom the JVM trusts, for ldaps; nil: the machine's
	Log   *slog.Logger   // why a login failed, which no caller is told; nil: none

	Analyzers []string // of plugins, for example ik_smart and ik_max_word, which Aliyun installs
	Plugins   []Plugin // further ones, with a remote dictionary
	Heap      int64    // bytes per node; indexing pressure refuses a bulk over a tenth. 0: 1 GiB
	DiskTotal int64    // bytes per node. 0: 20 GiB
	DiskFree  int64    // bytes per node. 0: 15 GiB
}

// Server is a cluster: an http.Handler for listeners, and an http.RoundTripper
// for callers in the same process, whose host names it ignores. Data and node ids
// survive Stop and Start, tasks and open searches do not.
type Server struct {
	*cluster
	contexts     *contexts
	tasks        *tasks
	logins       *logins
	api          []route
	loaded       *sync.WaitGroup // plugins that still read their dictionaries after the boot
	dictionaries []*dictionary   // of config.Plugins
}

// cluster is the state that all APIs share.
type cluster struct {
	*env
	config Config

	mu           sync.Mutex
	up           bool
	started      time.Time
	settings     map[string]string // static, as started
	persistent   map[string]string // _cluster/settings
	transient    map[string]string
	indices      map[string]*index
	templates    templates
	openContexts func() int // of searches
	requests     int64      // how many there were; tasks count on from it
	nextID       int64
	running      sync.WaitGroup
	inflight     context.Context
	kill         context.CancelFunc
}

func newCluster(c Config) *cluster {
	s := &cluster{
		env:    &env{name: c.Name, version: parseVersion(c.Version), nodes: c.Nodes, now: c.Now, analyzers: builtinAnalyzers(c.Analyzers), added: map[string]bool{}},
		config: c, indices: map[string]*index{}, templates: newTemplates(), persistent: map[string]string{}, transient: map[string]string{},
	}
	for _, name := range c.Analyzers {
		s.added[name] = true
	}
	s.setting = s.clusterSetting
	return s
}

// isUp tells whether the nodes listen.
func (s *cluster) isUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up
}

// New makes a started cluster. Settings a real one would not boot with make a
// cluster that is down, and Restart with them tells why.
func New(c Config) *Server {
	c.Nodes = max(c.Nodes, 1)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Remote == nil {
		c.Remote = refusing{}
	}
	if d, ok := c.Remote.(dialer); ok && c.Dial == nil {
		c.Dial = d.DialContext
	}
	if c.Dial == nil {
		c.Dial = refusing{}.DialContext
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Name == "" {
		c.Name = "elasticsearch"
	}
	for p, v := range map[*int64]int64{&c.Heap: 1 << 30, &c.DiskTotal: 20 << 30, &c.DiskFree: 15 << 30} {
		if *p == 0 {
			*p = v
		}
	}
	s := &Server{cluster: newCluster(c)}
	s.contexts, s.tasks = newContexts(s.cluster), newTasks(s.cluster)
	s.logins = &logins{s: s.cluster, keystore: maps.Clone(c.Keystore)}
	s.openContexts = s.contexts.count
	s.api = s.routes()
	for i := range c.Plugins {
		s.install(&c.Plugins[i])
	}
	_ = s.Start(c.Settings) // a cluster that refuses its settings is down: every request says so
	return s
}

// Stop kills the nodes: running tasks vanish without a result and open scrolls
// are lost. It returns when the last task has ended.
func (s *Server) Stop() {
	s.mu.Lock()
	if s.up {
		s.up = false
		s.kill()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// Start boots with these settings, or returns the error that a node would log
// and stays down.
func (s *Server) Start(settings map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up {
		return fmt.Errorf("start cluster %s: it is running", s.config.Name)
	}
	if err := s.checkStatic(settings); err != nil {
		return fmt.Errorf("start cluster %s: %w", s.config.Name, err)
	}
	realms, err := chain(s.version, settings, s.logins.keystore)
	if err != nil {
		return fmt.Errorf("start cluster %s: %w", s.config.Name, err)
	}
	s.logins.realms = realms
	s.settings = maps.Clone(settings)
	s.transient = map[string]string{}
	clear(s.contexts.open)
	clear(s.tasks.running)
	s.generation++
	s.requests = int64(100 + 7*s.generation) // ids restart low, so one can be given out twice
	s.started = s.config.Now()
	s.inflight, s.kill = context.WithCancel(context.Background())
	s.up = true
	s.loadDictionaries()
	return nil
}

// SetKeystore replaces the secure settings. The nodes read them when they boot.
func (s *Server) SetKeystore(secrets map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins.keystore = maps.Clone(secrets)
}

// Restart is Stop, then Start.
func (s *Server) Restart(settings map[string]string) error {
	s.Stop()
	return s.Start(settings)
}

// Up tells whether the nodes listen.
func (s *Server) Up() bool {
	return s.isUp()
}

// Setting is a static setting of the running nodes: the network of a cluster
// whose reindex.ssl.verification_mode is certificate has to know.
func (s *Server) Setting(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings[key]
}

// OpenScrolls counts search contexts held open, one per shard of each search.
func (s *Server) OpenScrolls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.contexts.count()
}

// RoundTrip serves r in process. A cluster that is down refuses the connection.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if !s.Up() {
		return refusing{}.RoundTrip(r)
	}
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	out := &reply{header: http.Header{}}
	cut := serveUncut(s, out, in)
	if r.Context().Err() != nil {
		return nil, context.Cause(r.Context())
	}
	if cut {
		return nil, io.ErrUnexpectedEOF
	}
	out.header.Set("Content-Length", strconv.Itoa(out.body.Len()))
	return &http.Response{
		Status: fmt.Sprintf("%d %s", out.status, http.StatusText(out.status)), StatusCode: out.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: out.header, Request: r,
		Body: io.NopCloser(&out.body), ContentLength: int64(out.body.Len()),
	}, nil
}

// refusing is a network without listeners.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func (refusing) DialContext(_ context.Context, network, _ string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

type dialer interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// serveUncut reports whether the handler cut the connection instead of replying.
func serveUncut(h http.Handler, w http.ResponseWriter, r *http.Request) (cut bool) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			cut = true
		} else if p != nil {
			panic(p)
		}
	}()
	h.ServeHTTP(w, r)
	return false
}

type reply struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *reply) Header() http.Header { return r.header }
func (r *reply) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}
func (r *reply) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// version compares numerically.
type version struct{ major, minor, patch int }

func parseVersion(s string) version {
	var v version
	if _, err := fmt.Sscanf(s, "%d.%d.%d", &v.major, &v.minor, &v.patch); err != nil {
		panic(fmt.Sprintf("elastic: version %q: %v", s, err)) // a mistake in the test, not a state of the world
	}
	return v
}

func (v version) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

func (s *cluster) newID(kind string) string {
	s.nextID++
	return s.id(kind, s.nextID)
}

// clusterSetting reads transient, persistent, then static settings.
func (s *cluster) clusterSetting(key, otherwise string) string {
	for _, m := range []map[string]string{s.transient, s.persistent, s.settings} {
		if v, ok := m[key]; ok {
			return v
		}
	}
	return otherwise
}

func splitList(s string) []string {
	var out []string
	for item := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune(",[]\"", r) }) {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// wild matches Elasticsearch's simple patterns, in which * is any text.
func wild(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for i := 0; i <= len(s); i++ {
		if wild(rest, s[i:]) || rest == "" {
			return true
		}
	}
	return false
}
