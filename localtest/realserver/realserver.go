//go:build unix

// Package realserver runs real Elasticsearch, 7.17.29 with security and 7.10.2 without, as processes on loopback: no Docker, no account.
//
// Maven Central has what it takes: Elastic's integ-test-zip is the server with few modules, and the class of a missing module becomes that module once a descriptor and
// a policy lie beside its jar. Prepare does that once per machine. 7.11 and later are under the Elastic licence and the SSPL: fetched for a test, never redistributed.
//
// Not in these servers, so not to be tested on them: Watcher, ILM, ik, and on 7.17.29 Painless, ingest processors and every analysis component that is not in Lucene's core
// (which also keeps the .security index from being made: users come from files, not from the API). 7.10.2 has no security, and knows no xpack setting.
package realserver

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"eslink/localtest/realserver/process"
)

const (
	bootLimit = 3 * time.Minute // seconds on an idle machine; a crowded one gets more than that, not for ever
	stopGrace = 20 * time.Second
	nobody    = 65534 // Elasticsearch refuses to run as root

	anyTransport = "32000-32767" // the first free one: nobody needs to know it
)

// Options describe one server: a cluster of one node, or with Join one more node of another's.
type Options struct {
	Distribution Distribution
	Name         string            // of the node, and of its cluster
	Joined       bool              // other nodes may join: the only one that can be master, then
	Join         *Server           // whose cluster this node is of
	Settings     map[string]string // flat elasticsearch.yml keys, values as in Alibaba Cloud's esConfig: strings, or a JSON array of strings
	Password     string            // of user elastic; "" leaves security off
	FileUsers    []FileUser        // need a Password too
	Keystore     map[string]string // secrets, by the names of their settings
	Files        map[string]string // further files of the config directory: roles.yml, role_mapping.yml, a certificate
	Heap         string            // as -Xmx takes it; "" is 512m
	Hosts        map[string]string // name to address: all that the server can resolve
	Log          *slog.Logger      // nil: none
}

// Server is a running server, or one that is down and can be restarted. Its methods may be called concurrently.
type Server struct {
	options   Options
	home      string // config, data, logs, tmp: removed by Stop
	java      string
	url       string
	httpPort  int
	transport string // port
	owner     *syscall.Credential
	client    *http.Client
	log       *slog.Logger

	mu      sync.Mutex // held while the process changes
	process *process.Process
	stopped bool
}

// BootError says that a server did not come up, and why in its own words.
type BootError struct {
	Name, Version string
	Message       string // the server's, e.g. "java.lang.IllegalArgumentException: unknown setting [x] …"
}

func (e *BootError) Error() string {
	return fmt.Sprintf("elasticsearch %s (%s) did not start: %s", e.Name, e.Version, e.Message)
}

var nodeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Start boots a server on a free port of 127.0.0.1 and returns when it serves its indices. ctx bounds the boot alone: the server runs until Stop,
// or on Linux until this process dies. A server that gives up returns a *BootError. Nothing is left of one that did not start.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := install(ctx, o)
	if err == nil {
		if err = s.Restart(ctx, o.Settings); err == nil {
			return s, nil
		}
	}
	if s != nil {
		err = errors.Join(err, s.Stop())
	}
	return nil, err
}

// URL is the server's base URL. It stays the same over restarts.
func (s *Server) URL() string { return s.url }

// install makes the server's directories and all files but elasticsearch.yml.
func install(ctx context.Context, o Options) (*Server, error) {
	if !nodeName.MatchString(o.Name) {
		return nil, fmt.Errorf("elasticsearch name %q: want letters, digits, dots, dashes", o.Name)
	}
	if o.Password == "" && len(o.FileUsers) > 0 {
		return nil, fmt.Errorf("elasticsearch %s: file users without a password for elastic", o.Name)
	}
	if o.Password != "" && !o.Distribution.Security {
		return nil, fmt.Errorf("elasticsearch %s: %s has no security, so no password", o.Name, o.Distribution.Version)
	}
	java, err := javaHome(ctx)
	if err != nil {
		return nil, err
	}
	if o.Join != nil && !o.Join.options.Joined {
		return nil, fmt.Errorf("elasticsearch %s: %s takes no other nodes, it needs Options.Joined", o.Name, o.Join.options.Name)
	}
	port, err := freePort()
	if err != nil {
		return nil, fmt.Errorf("elasticsearch %s: %w", o.Name, err)
	}
	transport := anyTransport
	if o.Joined {
		free, err := freePort()
		if err != nil {
			return nil, fmt.Errorf("elasticsearch %s: %w", o.Name, err)
		}
		transport = strconv.Itoa(free)
	}
	home, err := os.MkdirTemp("", "eslink-"+o.Name+"-")
	if err != nil {
		return nil, fmt.Errorf("elasticsearch %s: %w", o.Name, err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	scheme := "http"
	if o.Settings["xpack.security.http.ssl.enabled"] == "true" {
		scheme = "https"
	}
	s := &Server{options: o, home: home, java: java, httpPort: port, transport: transport, url: fmt.Sprintf("%s://127.0.0.1:%d", scheme, port),
		log: o.Log.With("server", o.Name, "version", o.Distribution.Version),
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true,                                  // or a restart meets a dead connection
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // loopback, and the certificate names another
		}}}
	if os.Geteuid() == 0 {
		s.owner = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if err := s.writeHome(ctx); err != nil {
		return s, fmt.Errorf("elasticsearch %s: %w", o.Name, err)
	}
	return s, nil
}

func (s *Server) dir(name string) string { return filepath.Join(s.home, name) }

func (s *Server) writeHome(ctx context.Context) error {
	for _, dir := range []string{s.home, s.options.Distribution.Dir, s.java} {
		if err := s.reachable(dir); err != nil {
			return err
		}
	}
	if err := os.CopyFS(s.dir("config"), os.DirFS(filepath.Join(s.options.Distribution.Dir, "config"))); err != nil {
		return err
	}
	for _, dir := range []string{"data", "logs", "tmp"} {
		if err := os.Mkdir(s.dir(dir), 0o700); err != nil {
			return err
		}
	}
	heap := cmp.Or(s.options.Heap, "512m")
	files := map[string]string{"jvm.options": jvmOptions(heap, s.dir("config"), s.dir("logs"))}
	var err error
	if files["hosts"], err = hostsFile(s.options.Hosts); err != nil {
		return err
	}
	if len(s.options.FileUsers) > 0 {
		if files["users"], files["users_roles"], err = fileRealm(s.options.FileUsers); err != nil {
			return err
		}
	}
	maps.Copy(files, s.options.Files)
	for name, content := range files {
		if err := s.writeConfig(name, content); err != nil {
			return err
		}
	}
	err = filepath.WalkDir(s.home, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || s.owner == nil {
			return err
		}
		return os.Chown(path, int(s.owner.Uid), int(s.owner.Gid))
	})
	if err != nil {
		return err
	}
	return s.writeKeystore(ctx, s.options.Keystore)
}

// writeKeystore recreates the keystore. What it holds beside these secrets is the password of elastic.
func (s *Server) writeKeystore(ctx context.Context, secrets map[string]string) error {
	all := maps.Clone(secrets)
	if s.options.Password != "" {
		all = map[string]string{"bootstrap.password": s.options.Password}
		maps.Copy(all, secrets)
	}
	if err := os.Remove(filepath.Join(s.dir("config"), "elasticsearch.keystore")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(all) == 0 {
		return nil
	}
	var names, values []string
	for _, name := range sortedKeys(all) {
		names, values = append(names, name), append(values, all[name]+"\n")
	}
	// On stdin, never in argv, where everyone on the machine could read it. -f makes the keystore too.
	add := s.command(ctx, "elasticsearch-keystore", append([]string{"add", "-x", "-f"}, names...)...)
	add.Stdin = strings.NewReader(strings.Join(values, ""))
	if out, err := add.CombinedOutput(); err != nil {
		return fmt.Errorf("write the keystore (%s): %w: %s", strings.Join(names, ", "), err, tail(string(out), 5))
	}
	return nil
}

// SetKeystore replaces the secrets, by the names of their settings. The server reads them when it boots: Restart.
func (s *Server) SetKeystore(ctx context.Context, secrets map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeKeystore(ctx, secrets); err != nil {
		return fmt.Errorf("keystore of elasticsearch %s: %w", s.options.Name, err)
	}
	return nil
}

// reachable refuses a directory that the server's user cannot enter: what the JVM says of that is no help.
func (s *Server) reachable(dir string) error {
	if s.owner == nil {
		return nil
	}
	for at := filepath.Dir(dir); at != "/"; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err != nil {
			return err
		} else if info.Mode()&0o001 == 0 {
			return fmt.Errorf("%s cannot be entered by uid %d, which runs the server when we are root: another place for %s is needed", at, s.owner.Uid, dir)
		}
	}
	return nil
}

// writeConfig replaces a file of the config directory at once: the server reads hosts and users while it runs.
func (s *Server) writeConfig(name, content string) error {
	path := filepath.Join(s.dir("config"), name)
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	err = errors.Join(err, f.Close())
	if s.owner != nil {
		err = errors.Join(err, os.Chown(f.Name(), int(s.owner.Uid), int(s.owner.Gid)))
	}
	return errors.Join(err, os.Rename(f.Name(), path))
}

// command runs one of the distribution's tools as the server's user, without what this process has in its environment.
func (s *Server) command(ctx context.Context, tool string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.options.Distribution.Dir, "bin", tool), args...)
	cmd.Dir = s.home
	cmd.SysProcAttr = process.Attributes(s.owner)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.home, "LANG=C.UTF-8",
		"ES_PATH_CONF=" + s.dir("config"), "ES_JAVA_HOME=" + s.java, "JAVA_HOME=" + s.java /* 7.10 */, "ES_TMPDIR=" + s.dir("tmp")}
	return cmd
}

// SetHosts replaces all names that the server can resolve. It holds from the next lookup on, without a restart.
func (s *Server) SetHosts(hosts map[string]string) error {
	content, err := hostsFile(hosts)
	if err == nil {
		err = s.writeConfig("hosts", content)
	}
	if err != nil {
		return fmt.Errorf("hosts of elasticsearch %s: %w", s.options.Name, err)
	}
	return nil
}

// SetFileUsers replaces all users of the file realm, of whom there must be some from the start. The server reads them while it runs, within seconds (resource.reload.interval.high).
func (s *Server) SetFileUsers(users []FileUser) error {
	passwords, roles, err := fileRealm(users)
	if err == nil {
		err = s.writeConfig("users_roles", roles)
	}
	if err == nil {
		err = s.writeConfig("users", passwords)
	}
	if err != nil {
		return fmt.Errorf("users of elasticsearch %s: %w", s.options.Name, err)
	}
	return nil
}

// Restart stops the server, if it runs, and boots it with these settings instead of the former: what is not named is gone, as with Alibaba Cloud's esConfig.
// Data, users and hosts are kept. A server that refuses its settings stays down, the *BootError holds its reason, and a later Restart may succeed.
func (s *Server) Restart(ctx context.Context, settings map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return fmt.Errorf("restart elasticsearch %s: it was stopped and its data removed", s.options.Name)
	}
	s.end(stopGrace)
	began := time.Now()
	if err := s.boot(ctx, settings); err != nil {
		s.end(0)
		return err
	}
	s.log.Info("elasticsearch is up", "url", s.URL(), "seconds", time.Since(began).Seconds())
	return nil
}

// Kill ends the server as a crash would, with SIGKILL. Its data stays and Restart brings it back.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(0)
}

// Stop ends the server and removes all that it had. A second Stop does nothing.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	s.end(stopGrace)
	s.stopped = true
	if err := os.RemoveAll(s.home); err != nil {
		return fmt.Errorf("stop elasticsearch %s: %w", s.options.Name, err)
	}
	return nil
}

// end needs s.mu.
func (s *Server) end(grace time.Duration) {
	if s.process != nil {
		s.process.Stop(grace)
		s.process = nil
	}
}

// boot needs s.mu. When it fails the process may still be there.
func (s *Server) boot(ctx context.Context, settings map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	defaults := map[string]string{"cluster.routing.allocation.disk.threshold_enabled": "false"}
	if s.options.Password != "" {
		defaults["xpack.license.self_generated.type"] = "trial" // directory realms are not in the basic one
	}
	yml, err := elasticsearchYML(s.ownSettings(), defaults, settings)
	if err == nil {
		err = s.writeConfig("elasticsearch.yml", yml)
	}
	if err != nil {
		return fmt.Errorf("elasticsearch %s: %w", s.options.Name, err)
	}
	console, err := os.Create(s.dir("console.log"))
	if err != nil {
		return fmt.Errorf("elasticsearch %s: %w", s.options.Name, err)
	}
	defer console.Close()
	cmd := s.command(context.WithoutCancel(ctx), "elasticsearch")
	cmd.Stdout, cmd.Stderr = console, console
	p, err := process.Start(cmd)
	if err != nil {
		return fmt.Errorf("elasticsearch %s: %w", s.options.Name, err)
	}
	s.process = p
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for !s.serves(ctx) {
		select {
		case <-p.Done:
			return s.bootError(p.Err.Error())
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", s.bootError("still booting"), ctx.Err())
		case <-poll.C:
		}
	}
	return nil
}

func (s *Server) ownSettings() map[string]string {
	own := map[string]string{
		"cluster.name": s.options.Name, "node.name": s.options.Name,
		"path.data": s.dir("data"), "path.logs": s.dir("logs"),
		"network.host": "127.0.0.1", "http.port": strconv.Itoa(s.httpPort), "transport.port": s.transport,
	}
	switch {
	case s.options.Join != nil:
		own["cluster.name"] = s.options.Join.options.Name
		own["node.roles"] = `["data","ingest"]`
		own["discovery.seed_hosts"] = fmt.Sprintf(`["127.0.0.1:%s"]`, s.options.Join.transport)
	case s.options.Joined:
		own["cluster.initial_master_nodes"] = s.options.Name
		own["discovery.seed_hosts"] = "[]"
	default:
		own["discovery.type"] = "single-node"
	}
	if s.options.Password != "" {
		own["xpack.security.enabled"] = "true"
	}
	return own
}

// serves says whether the server answers and has recovered its indices as far as it will. Where we know no password, 401 is an answer.
func (s *Server) serves(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/_cluster/health?wait_for_status=yellow&timeout=20s", nil)
	if err != nil {
		return false
	}
	if s.options.Password != "" {
		req.SetBasicAuth("elastic", s.options.Password)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var health struct {
		TimedOut bool `json:"timed_out"`
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout: // red, and staying so: up all the same, as far as a restart is concerned
		return json.NewDecoder(resp.Body).Decode(&health) == nil && health.TimedOut
	case http.StatusUnauthorized:
		return s.options.Password == "" // else the node has not read its keystore's password yet
	}
	return resp.StatusCode == http.StatusOK
}

func (s *Server) bootError(otherwise string) *BootError {
	console, err := os.ReadFile(s.dir("console.log"))
	if err != nil {
		otherwise += "; " + err.Error()
	}
	return &BootError{Name: s.options.Name, Version: s.options.Distribution.Version, Message: cmp.Or(complaint(string(console)), otherwise)}
}

// complaint finds in what the server printed why it gave up: its uncaught exception, what that came from, and those of the same kind, of which it names only the first
// (each unknown setting is one); or, when it did not come that far, the last lines that are not stack frames.
func complaint(console string) string {
	var message, rest []string
	uncaught := false
	for line := range strings.Lines(console) {
		line = strings.TrimSpace(line)
		suppressed, more := strings.CutPrefix(line, "Suppressed: ")
		cause, deeper := strings.CutPrefix(line, "Likely root cause: ")
		switch {
		case deeper:
			message = append(message, cause)
		case more:
			message = append(message, suppressed)
		case uncaught:
			message = slices.Insert(message, 0, line)
		case line != "" && !strings.HasPrefix(line, "at "):
			rest = append(rest, line)
		}
		uncaught = strings.HasPrefix(line, "uncaught exception in thread")
	}
	if len(message) == 0 {
		message = rest[max(0, len(rest)-10):]
	}
	return strings.Join(message, "\n")
}

// tail gives the last n lines.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// freePort finds a port below the range from which the kernel takes ports for outgoing connections, so that none of those sits on it while the server restarts.
func freePort() (int, error) {
	var last error
	for range 50 {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("no free port: %w", last)
}
