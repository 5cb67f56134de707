package runtime

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"eslink/localtest/fakes/cloud"
)

// instance is one process and the runtime API it talks to (fc-runtime-go-sdk v0.3.1, fc/runtime_api_client.go):
// GET next blocks until there is work, POST {id}/response or {id}/error ends it, each answered 200.
type instance struct {
	pool   *pool
	p      *Platform
	id     string
	cmd    *exec.Cmd
	server *http.Server
	began  time.Time
	cold   time.Duration
	used   time.Time // by the clock, when the last invocation ended

	ready  sync.Once
	up     chan struct{} // closed by the first next
	exited chan struct{} // closed when the process is gone
	work   chan *invocation

	mu  sync.Mutex
	now *invocation // the one that runs
}

type invocation struct {
	id      string
	payload []byte
	creds   cloud.Credentials
	began   time.Time
	done    chan Result // one slot
}

// startUp is how long a process may take to ask for work.
const startUp = 30 * time.Second

func (p *Platform) start(q *pool, creds cloud.Credentials) (*instance, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &instance{pool: q, p: p, id: p.Account.NewID("c-", 20), up: make(chan struct{}), exited: make(chan struct{}),
		work: make(chan *invocation)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2020-11-11/runtime/invocation/next", i.next)
	mux.HandleFunc("POST /2020-11-11/runtime/invocation/{id}/response", i.finish)
	mux.HandleFunc("POST /2020-11-11/runtime/invocation/{id}/error", i.finish)
	i.server = &http.Server{Handler: mux}

	code := filepath.Dir(q.binary)
	i.cmd = exec.Command(q.binary)
	i.cmd.Dir = code
	i.cmd.Env = append(p.environment(q.Function, creds, i.id, listener.Addr().String()), "FC_FUNC_CODE_PATH="+code)
	i.cmd.Stdout, i.cmd.Stderr = p.out.of(q.Name), p.out.of(q.Name)
	i.cmd.SysProcAttr = processGroup()
	i.cmd.WaitDelay = time.Second // for output pipes that a grandchild holds open
	i.began = time.Now()
	if err := i.cmd.Start(); err != nil {
		listener.Close()
		return nil, err
	}
	go i.server.Serve(listener) // what the process sent meanwhile waits in the listener
	go func() {
		i.cmd.Wait()
		close(i.exited)
	}()
	timer := time.NewTimer(startUp)
	defer timer.Stop()
	select {
	case <-i.up:
		return i, nil
	case <-i.exited:
		i.stop()
		return nil, fmt.Errorf("process exited before it asked for work (%s)", i.cmd.ProcessState)
	case <-timer.C:
		i.stop()
		return nil, fmt.Errorf("process did not ask for work within %s", startUp)
	}
}

// invoke runs one invocation to its end, its deadline or the process's death. The deadline is real time, because the
// SDK compares it with the machine's clock.
func (i *instance) invoke(payload []byte, creds cloud.Credentials) Result {
	in := &invocation{id: "1-" + i.p.Account.NewID("", 8) + "-" + i.p.Account.NewID("", 20), payload: payload, creds: creds,
		began: time.Now(), done: make(chan Result, 1)}
	limit := time.Duration(i.pool.Timeout) * time.Second
	timer := time.NewTimer(limit)
	defer timer.Stop()
	failed := func(format string, args ...any) Result {
		peak := i.rss()
		i.kill()
		<-i.exited
		i.mu.Lock()
		i.now = nil
		i.mu.Unlock()
		select {
		case r := <-in.done: // the answer came first after all
			return r
		default:
		}
		args = append(args, peak>>20)
		return Result{ErrorType: unhandled, Body: errorDocument(format, args...)}
	}
	var r Result
	select {
	case i.work <- in:
		select {
		case r = <-in.done:
		case <-i.exited:
			r = failed("Process exited unexpectedly before completing request (duration: %dms, maxMemoryUsage: %dMB)", time.Since(in.began).Milliseconds())
		case <-timer.C:
			r = failed("Function timed out after %d seconds (maxMemoryUsage: %dMB)", i.pool.Timeout)
		}
	case <-i.exited:
		r = failed("Process exited unexpectedly before completing request (duration: %dms, maxMemoryUsage: %dMB)", time.Since(in.began).Milliseconds())
	case <-timer.C:
		r = failed("Function timed out after %d seconds (maxMemoryUsage: %dMB)", i.pool.Timeout)
	}
	r.RequestID, r.Duration = in.id, time.Since(in.began)
	if i.used.IsZero() {
		r.Cold = i.cold
	}
	return r
}

// next hands out the next invocation. The SDK asks again while one is still running; it waits here, which is what makes
// an instance serial.
func (i *instance) next(w http.ResponseWriter, r *http.Request) {
	i.ready.Do(func() {
		i.cold = time.Since(i.began)
		close(i.up)
	})
	var in *invocation
	select {
	case in = <-i.work:
	case <-r.Context().Done():
		return
	}
	i.mu.Lock()
	i.now = in
	i.mu.Unlock()
	f, h := i.pool.Function, w.Header()
	for k, v := range map[string]string{
		"request-id": in.id, "function-type": "0",
		"function-deadline": strconv.FormatInt(in.began.Add(time.Duration(f.Timeout)*time.Second).UnixMilli(), 10),
		"function-timeout":  strconv.Itoa(f.Timeout), "function-name": f.Name, "function-handler": f.Handler,
		"function-memory": strconv.Itoa(f.MemorySize),
		"access-key-id":   in.creds.AccessKeyID, "access-key-secret": in.creds.AccessKeySecret, "security-token": in.creds.SecurityToken,
		"service-logproject": f.LogConfig.Project, "service-logstore": f.LogConfig.Logstore,
		"region": f.Region, "account-id": i.p.Account.AccountID, "qualifier": "LATEST", "version-id": "LATEST", "retry-count": "0",
	} {
		h.Set("x-fc-"+k, v)
	}
	w.Write(in.payload)
}

func (i *instance) finish(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	i.mu.Lock()
	in := i.now
	if in == nil || in.id != r.PathValue("id") {
		i.mu.Unlock()
		http.Error(w, "no such invocation", http.StatusNotFound)
		return
	}
	i.now = nil
	i.mu.Unlock()
	result := Result{Body: body}
	if filepath.Base(r.URL.Path) == "error" {
		result.ErrorType = handled
		if hasStack(body) { // only a panic has one (facts: fc-runtime-go-sdk errors.go, panic.go)
			result.ErrorType = unhandled
		}
	}
	w.WriteHeader(http.StatusOK)
	in.done <- result
}

func hasStack(body []byte) bool {
	var doc struct {
		StackTrace []json.RawMessage `json:"stackTrace"`
	}
	return json.Unmarshal(body, &doc) == nil && len(doc.StackTrace) > 0
}

func (i *instance) dead() bool {
	select {
	case <-i.exited:
		return true
	default:
		return false
	}
}

// kill ends the process and what it started.
func (i *instance) kill() bool {
	if i.dead() {
		return false
	}
	return syscall.Kill(-i.cmd.Process.Pid, syscall.SIGKILL) == nil
}

// stop kills the process before its API goes away, because the SDK would ask an absent API again without pause. It
// returns the process's peak memory in bytes.
func (i *instance) stop() int64 {
	peak := i.rss()
	i.kill()
	<-i.exited
	i.server.Close()
	return peak
}

// rss is the peak memory in bytes of a process that lives, else 0: what the kernel counts for one that ended includes
// the pages of its parent, from the moment of the fork.
func (i *instance) rss() int64 {
	if i.dead() {
		return 0
	}
	return peakRSS(i.cmd.Process.Pid)
}
