package elastic

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"eslink/localtest/fakes/elastic/privilege"
	"eslink/localtest/fakes/elastic/reindex"
	"eslink/localtest/fakes/elastic/search"
	"eslink/localtest/fakes/elastic/security"
	"eslink/localtest/fakes/elastic/store"
)

// Server is a cluster: an http.Handler for listeners, and an http.RoundTripper
// for callers in the same process, whose host names it ignores. Data and node ids
// survive Stop and Start, tasks and open searches do not.
type Server struct {
	state        *store.Cluster
	contexts     *search.Contexts
	tasks        *reindex.Tasks
	logins       *security.Logins
	api          []route
	loaded       *sync.WaitGroup // plugins that still read their dictionaries after the boot
	dictionaries []*dictionary   // of config.Plugins
}

// New makes a started cluster. Settings a real one would not boot with make a
// cluster that is down, and Restart with them tells why.
func New(c store.Config) *Server {
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
	s := &Server{state: store.NewCluster(c)}
	s.contexts, s.tasks = search.NewContexts(s.state), reindex.NewTasks(s.state)
	s.logins = &security.Logins{S: s.state, Keystore: maps.Clone(c.Keystore)}
	s.state.OpenContexts = s.contexts.Count
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
	s.state.Mu.Lock()
	if s.state.Up {
		s.state.Up = false
		s.state.Kill()
	}
	s.state.Mu.Unlock()
	s.state.Running.Wait()
}

// Start boots with these settings, or returns the error that a node would log
// and stays down.
func (s *Server) Start(settings map[string]string) error {
	s.state.Mu.Lock()
	defer s.state.Mu.Unlock()
	if s.state.Up {
		return fmt.Errorf("start cluster %s: it is running", s.state.Config.Name)
	}
	if err := s.checkStatic(settings); err != nil {
		return fmt.Errorf("start cluster %s: %w", s.state.Config.Name, err)
	}
	realms, err := security.Chain(s.state.Version, settings, s.logins.Keystore)
	if err != nil {
		return fmt.Errorf("start cluster %s: %w", s.state.Config.Name, err)
	}
	s.logins.Realms = realms
	s.state.Settings = maps.Clone(settings)
	s.state.Transient = map[string]string{}
	clear(s.contexts.Open)
	clear(s.tasks.Running)
	s.state.Generation++
	s.state.Requests = int64(100 + 7*s.state.Generation) // ids restart low, so one can be given out twice
	s.state.Started = s.state.Config.Now()
	s.state.Inflight, s.state.Kill = context.WithCancel(context.Background())
	s.state.Up = true
	s.loadDictionaries()
	return nil
}

// SetKeystore replaces the secure settings. The nodes read them when they boot.
func (s *Server) SetKeystore(secrets map[string]string) {
	s.state.Mu.Lock()
	defer s.state.Mu.Unlock()
	s.logins.Keystore = maps.Clone(secrets)
}

// Restart is Stop, then Start.
func (s *Server) Restart(settings map[string]string) error {
	s.Stop()
	return s.Start(settings)
}

// Up tells whether the nodes listen.
func (s *Server) Up() bool {
	return s.state.IsUp()
}

// Setting is a static setting of the running nodes: the network of a cluster
// whose reindex.ssl.verification_mode is certificate has to know.
func (s *Server) Setting(key string) string {
	s.state.Mu.Lock()
	defer s.state.Mu.Unlock()
	return s.state.Settings[key]
}

// OpenScrolls counts search contexts held open, one per shard of each search.
func (s *Server) OpenScrolls() int {
	s.state.Mu.Lock()
	defer s.state.Mu.Unlock()
	return s.contexts.Count()
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

// What a cluster is made of, which callers need not look for in its packages.
type (
	Config          = store.Config
	Plugin          = store.Plugin
	User            = privilege.User
	Role            = privilege.Role
	IndexPrivileges = privilege.IndexPrivileges
)

// Superuser is the elastic user with its password.
func Superuser(password string) User { return privilege.Superuser(password) }
