package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"eslink/localtest/fakes/cloud"
)

// Config is what the platform is made of. Binaries maps function names to executables, as Build returns them.
type Config struct {
	Functions []Function
	Binaries  map[string]string
	Account   *cloud.Account // issues each function the credentials of its role
	Clock     Clock
	Seam      func(Function) map[string]string // ESLINK_ENDPOINT_<PRODUCT>, ESLINK_DNS, ESLINK_ROUTER, ESLINK_CLOCK, SSL_CERT_FILE
	Output    io.Writer                        // what functions print, each line after "[name] "
	Log       *slog.Logger
	Instances int           // most instances of one function at a time; 0: 100, FC's default for a region
	Idle      time.Duration // of the clock, after which an idle instance is destroyed; 0: 5 minutes, as FC about does
}

// Platform runs functions as processes, one invocation at a time per instance.
type Platform struct {
	Config
	mu    sync.Mutex
	pools map[string]*pool
	old   []*pool // of functions that were updated; what runs there ends
	out   *lines
	ended bool
	wg    sync.WaitGroup
}

// pool is the instances of one function, all of the same code and configuration.
type pool struct {
	Function
	binary string
	room   chan struct{} // one token per instance that may run an invocation
	idle   []*instance   // last used last
	all    map[*instance]bool
	creds  cloud.Credentials
	until  time.Time // when creds are renewed
	stats  *Stats
}

// Stats is what one function has cost so far.
type Stats struct {
	Invocations, Failures int
	Cold                  []time.Duration // exec to first next, one per instance
	Busy                  time.Duration   // real time spent in invocations
	MaxRSS                int64           // bytes, of instances that ended
}

// New prepares the functions; no process starts before the first Invoke. It panics on a role that the account has not.
func New(c Config) (*Platform, error) {
	if c.Instances == 0 {
		c.Instances = 100
	}
	if c.Idle == 0 {
		c.Idle = 5 * time.Minute
	}
	p := &Platform{Config: c, pools: map[string]*pool{}, out: &lines{w: c.Output}}
	for _, f := range c.Functions {
		if c.Binaries[f.Name] == "" {
			return nil, fmt.Errorf("function %s: no binary", f.Name)
		}
		q := p.pool(f, c.Binaries[f.Name])
		p.pools[f.Name] = q
		p.credentials(q)
	}
	return p, nil
}

func (p *Platform) pool(f Function, binary string) *pool {
	return &pool{Function: f, binary: binary, room: make(chan struct{}, p.Instances), all: map[*instance]bool{}, stats: &Stats{}}
}

// Update gives a function other code and configuration, as UpdateFunction does: the next invocations start instances of
// it, idle ones of before go, and an invocation under way ends where it began.
func (p *Platform) Update(f Function, binary string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.pools[f.Name]
	if before == nil {
		return fmt.Errorf("function %s: not in s.yaml", f.Name)
	}
	q := p.pool(f, binary)
	q.stats = before.stats
	p.pools[f.Name], p.old = q, append(p.old, before)
	for _, inst := range before.idle {
		p.retire(before, inst)
	}
	before.idle = nil
	return nil
}

// Result is an invocation's outcome. ErrorType is empty on success, else what X-Fc-Error-Type says: HandledInvocationError
// for an error that the handler returned, UnhandledInvocationError for a panic, a crash or a timeout; Body is then FC's
// JSON with errorMessage.
type Result struct {
	RequestID string
	Body      []byte
	ErrorType string
	Duration  time.Duration // real
	Cold      time.Duration // start-up before it, zero on a warm instance
}

// Err is nil on success, else an error with FC's error type and message.
func (r Result) Err() error {
	if r.ErrorType == "" {
		return nil
	}
	var doc struct {
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal(r.Body, &doc) != nil || doc.Message == "" {
		doc.Message = string(r.Body)
	}
	return fmt.Errorf("%s: %s", r.ErrorType, doc.Message)
}

const (
	handled   = "HandledInvocationError"
	unhandled = "UnhandledInvocationError"
)

// errorDocument is the form of FC's own error bodies, such as for a crash or a timeout.
func errorDocument(format string, args ...any) []byte {
	body, _ := json.Marshal(map[string]string{"errorMessage": fmt.Sprintf(format, args...)})
	return body
}

// Invoke runs one synchronous invocation on an idle instance, or on a new one while there is room. Its error is about
// the platform (unknown function, closed, ctx ended); what the function does wrong is in the Result. A caller that
// leaves does not stop the function, as in the cloud.
func (p *Platform) Invoke(ctx context.Context, function string, payload []byte) (Result, error) {
	p.mu.Lock()
	q := p.pools[function]
	p.mu.Unlock()
	if q == nil {
		return Result{}, fmt.Errorf("function %s: not in s.yaml", function)
	}
	if len(payload) > 32<<20 {
		return Result{}, fmt.Errorf("function %s: payload of %d bytes: at most 32 MB", function, len(payload))
	}
	select {
	case q.room <- struct{}{}:
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	type outcome struct {
		Result
		error
	}
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		<-q.room
		return Result{}, errClosed
	}
	p.wg.Add(1)
	p.mu.Unlock()
	done := make(chan outcome, 1)
	go func() {
		defer p.wg.Done()
		defer func() { <-q.room }()
		r, err := p.run(q, payload)
		done <- outcome{r, err}
	}()
	select {
	case o := <-done:
		return o.Result, o.error
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

var errClosed = errors.New("platform is closed")

func (p *Platform) run(q *pool, payload []byte) (Result, error) {
	if err := Permit(p.Account, q.Function); err != nil {
		return Result{}, err
	}
	inst, err := p.take(q)
	if err != nil {
		return Result{}, err
	}
	creds := p.credentials(q)
	r := inst.invoke(payload, creds)
	p.mu.Lock()
	defer p.mu.Unlock()
	q.stats.Invocations++
	q.stats.Busy += r.Duration
	if r.ErrorType != "" {
		q.stats.Failures++
	}
	if inst.dead() || p.ended || p.pools[q.Name] != q {
		p.retire(q, inst)
	} else {
		inst.used = p.Clock.Now()
		q.idle = append(q.idle, inst)
	}
	return r, nil
}

// take returns a warm instance that has not been idle for too long, or starts one.
func (p *Platform) take(q *pool) (*instance, error) {
	p.mu.Lock()
	for len(q.idle) > 0 {
		inst := q.idle[len(q.idle)-1]
		q.idle = q.idle[:len(q.idle)-1]
		if !inst.dead() && p.Clock.Now().Sub(inst.used) < p.Idle {
			p.mu.Unlock()
			return inst, nil
		}
		p.retire(q, inst)
	}
	if p.ended {
		p.mu.Unlock()
		return nil, errClosed
	}
	p.mu.Unlock()
	creds := p.credentials(q)
	inst, err := p.start(q, creds)
	if err != nil {
		return nil, fmt.Errorf("start function %s: %w", q.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	q.all[inst] = true
	if p.ended {
		p.retire(q, inst)
		return nil, errClosed
	}
	return inst, nil
}

// retire ends an instance for good; p.mu is held.
func (p *Platform) retire(q *pool, inst *instance) {
	if !q.all[inst] {
		return
	}
	delete(q.all, inst)
	q.stats.MaxRSS = max(q.stats.MaxRSS, inst.stop())
	if inst.cold > 0 {
		q.stats.Cold = append(q.stats.Cold, inst.cold)
	}
}

// credentials are those of the function's role, renewed long before their 36 hours end.
func (p *Platform) credentials(q *pool) cloud.Credentials {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.Clock.Now(); !now.Before(q.until) {
		q.creds, q.until = p.Account.AssumeRole(q.RoleName(), now), now.Add(12*time.Hour)
	}
	return q.creds
}

// Kill ends every process of a function, as a lost machine would: what runs there fails. It returns how many died.
func (p *Platform) Kill(function string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, q := range slices.Concat(p.old, []*pool{p.pools[function]}) {
		if q == nil || q.Name != function {
			continue
		}
		for inst := range q.all {
			if inst.kill() {
				n++
			}
		}
	}
	return n
}

// Stats returns the costs so far by function name; memory and cold starts of running instances are included after Close.
func (p *Platform) Stats() map[string]Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]Stats{}
	for name, q := range p.pools {
		s := *q.stats
		s.Cold = append([]time.Duration(nil), s.Cold...)
		out[name] = s
	}
	return out
}

// Close kills all processes, then closes what they talk to, and waits for invocations to end.
func (p *Platform) Close() {
	p.mu.Lock()
	p.ended = true
	for _, q := range slices.Concat(slices.Collect(maps.Values(p.pools)), p.old) {
		for inst := range maps.Clone(q.all) {
			p.retire(q, inst)
		}
		q.idle = nil
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// environment is what a function of FC sees, and the seam; nothing of the host's.
func (p *Platform) environment(f Function, c cloud.Credentials, id, api string) []string {
	env := map[string]string{
		"ALIBABA_CLOUD_ACCESS_KEY_ID": c.AccessKeyID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": c.AccessKeySecret,
		"ALIBABA_CLOUD_SECURITY_TOKEN": c.SecurityToken,
		"FC_ACCOUNT_ID":                p.Account.AccountID, "FC_REGION": f.Region,
		"FC_FUNCTION_NAME": f.Name, "FC_FUNCTION_HANDLER": f.Handler, "FC_FUNCTION_MEMORY_SIZE": fmt.Sprint(f.MemorySize),
		"FC_FUNCTION_VERSION": "LATEST", "FC_INSTANCE_ID": id, "FC_RUNTIME_API": api,
	}
	maps.Copy(env, f.Environment)
	if p.Seam != nil {
		maps.Copy(env, p.Seam(f))
	}
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	return out
}

// lines writes whole lines of several processes, each after its name.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) of(name string) io.Writer { return &prefixed{lines: l, name: name} }

type prefixed struct {
	*lines
	name string
	rest []byte
}

func (w *prefixed) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.w == nil {
		return len(b), nil
	}
	w.rest = append(w.rest, b...)
	for {
		line, rest, ok := strings.Cut(string(w.rest), "\n")
		if !ok {
			return len(b), nil
		}
		w.rest = []byte(rest)
		if _, err := fmt.Fprintf(w.w, "[%s] %s\n", w.name, line); err != nil {
			return 0, err
		}
	}
}
