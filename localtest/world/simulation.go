package world

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fccontext"

	"eslink/events"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/runtime"
	"eslink/shared/api"
	"eslink/shared/engine"
	"eslink/shared/run"
	"eslink/shared/wire"
)

// Simulation runs the functions of a world in this process: the engine, the
// steps and the SDKs as shipped, on transports without sockets. Make and end it
// inside one synctest bubble.
type Simulation struct {
	*World
	Events *runtime.Events
	// IO is asked before every call that a function makes, may be nil.
	IO func(Call) Crash
	// Logs gets what the functions log; nil discards it.
	Logs io.Writer
	// Around wraps every step, may be nil.
	Around func(engine.Step) engine.Step

	calls       atomic.Int64
	mu          sync.Mutex
	invocations map[string]int
	stop        context.CancelFunc
	stopped     chan struct{}
}

// Call is one exchange of a function with anything: the cloud, its queues and
// table, a cluster.
type Call struct {
	N        int64 // the how-many-th of the simulation, from 1
	Function string
	Request  *http.Request
}

// Crash is what befalls an invocation at a call.
type Crash int

const (
	// Lives lets the call through.
	Lives Crash = iota
	// DiesBefore ends the invocation before the call has an effect.
	DiesBefore
	// DiesAfter ends it after the effect; the reply is lost with it.
	DiesAfter
	// LosesReply lets the invocation live on without the reply of a call that
	// had its effect.
	LosesReply
)

// Simulate starts delivering events in w.
func Simulate(w *World) *Simulation {
	s := &Simulation{World: w, invocations: map[string]int{}, stopped: make(chan struct{})}
	s.Events = &runtime.Events{Functions: w.Project.Functions, Account: w.Account, Queues: w.Queues, Clock: w.Clock, Invoke: s.Invoke, Log: w.Log}
	w.greet = func(_ escluster.Instance, event []byte) { s.Events.Emit(event) }
	return s
}

// Start begins to deliver. Set Events' hooks and IO before.
func (s *Simulation) Start() error {
	if err := s.Events.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() {
		defer close(s.stopped)
		s.Events.Run(ctx)
	}()
	return nil
}

// Close stops delivering, and lets what the SDKs left behind end.
func (s *Simulation) Close() {
	if s.stop != nil {
		s.stop()
		<-s.stopped
	}
	time.Sleep(time.Minute)
}

// Invocations returns how often each function ran, by its step's name.
func (s *Simulation) Invocations() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]int{}
	for k, v := range s.invocations {
		out[k] = v
	}
	return out
}

// Invoke runs one invocation of a function, deployed name or short.
func (s *Simulation) Invoke(ctx context.Context, name string, payload []byte) (runtime.Result, error) {
	short := strings.TrimPrefix(name, "eslink-")
	f, ok := s.Project.Function("eslink-" + short)
	if !ok {
		return runtime.Result{}, fmt.Errorf("no function %s", name)
	}
	if err := runtime.Permit(s.Account, f); err != nil {
		return runtime.Result{}, err
	}
	s.mu.Lock()
	s.invocations[short]++
	n := s.invocations[short]
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(f.Timeout)*time.Second)
	defer cancel()
	key := s.Account.AssumeRole(f.RoleName(), time.Now())
	ctx = fccontext.NewContext(ctx, &fccontext.FcContext{
		RequestID: fmt.Sprintf("%s-%d", short, n), Region: Region, AccountId: AccountID,
		Credentials: fccontext.Credentials{AccessKeyId: key.AccessKeyID, AccessKeySecret: key.AccessKeySecret, SecurityToken: key.SecurityToken},
	})
	inv := &invocation{sim: s, function: short}
	fn, err := wire.New(func(key string) string {
		if key == "FC_REGION" {
			return Region
		}
		return f.Environment[key]
	}, s.seams(f, inv), s.logs())
	if err != nil {
		return runtime.Result{}, err
	}
	body, err := build(short, fn, s.Around)(ctx, payload)
	switch {
	case inv.dead.Load():
		return runtime.Result{ErrorType: "UnhandledInvocationError", Body: []byte(`{"errorMessage":"Process exited unexpectedly before completing request"}`)}, nil
	case err != nil:
		raw, _ := json.Marshal(map[string]string{"errorMessage": err.Error()}) // a string encodes
		return runtime.Result{ErrorType: "HandledInvocationError", Body: raw}, nil
	}
	return runtime.Result{Body: body}, nil
}

func (s *Simulation) logs() io.Writer {
	if s.Logs != nil {
		return s.Logs
	}
	return io.Discard
}

func (s *Simulation) seams(f runtime.Function, inv *invocation) wire.Seams {
	seams := wire.Seams{Cloud: inv.through(s.Transport()), DataPlane: inv.through(nowhere{}), Resolver: nowhere{}, Now: s.Clock.Now}
	if place := s.Place(f); place != nil {
		seams.DataPlane, seams.Resolver = inv.through(place), place
	}
	return seams
}

// nowhere is the network of a function without a VPC: it reaches no cluster.
type nowhere struct{}

func (nowhere) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("dial tcp: lookup %s: no such host", r.URL.Hostname())
}

func (nowhere) LookupHost(_ context.Context, host string) ([]string, error) {
	return nil, fmt.Errorf("lookup %s: no such host", host)
}

// invocation carries one invocation's calls. Once dead, nothing it does has an
// effect any more: what is left of it runs on, but in vain, as far as the world
// can tell.
type invocation struct {
	sim      *Simulation
	function string
	dead     atomic.Bool
}

func (i *invocation) through(next http.RoundTripper) http.RoundTripper { return call{i, next} }

type call struct {
	inv  *invocation
	next http.RoundTripper
}

var errDead = fmt.Errorf("connection reset by peer: %w", io.ErrUnexpectedEOF)

// RoundTrip implements http.RoundTripper.
func (c call) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.inv.dead.Load() {
		return nil, errDead
	}
	fate := Lives
	if n := c.inv.sim.calls.Add(1); c.inv.sim.IO != nil {
		fate = c.inv.sim.IO(Call{N: n, Function: c.inv.function, Request: r})
	}
	if fate == DiesBefore {
		c.inv.dead.Store(true)
		return nil, errDead
	}
	resp, err := c.next.RoundTrip(r)
	if fate == Lives || err != nil {
		return resp, err
	}
	resp.Body.Close()
	if fate == DiesAfter {
		c.inv.dead.Store(true)
	}
	return nil, errDead
}

// Calls is how many calls were made so far.
func (s *Simulation) Calls() int64 { return s.calls.Load() }

// Do sends a request to the function runs, bare, as `s invoke` does.
func (s *Simulation) Do(req events.Request) (api.Reply, error) {
	var reply api.Reply
	raw, err := json.Marshal(req)
	if err != nil {
		return reply, err
	}
	err = s.ask("runs", raw, &reply)
	return reply, err
}

// Approve consents to a plan, at the function approve.
func (s *Simulation) Approve(a events.Approval) (api.Reply, error) {
	var reply api.Reply
	raw, err := json.Marshal(a)
	if err != nil {
		return reply, err
	}
	err = s.ask("approve", raw, &reply)
	return reply, err
}

// Status asks the function status.
func (s *Simulation) Status(runID string) (api.View, error) {
	var view api.View
	err := s.ask("status", []byte(fmt.Sprintf(`{"runId":%q}`, runID)), &view)
	return view, err
}

func (s *Simulation) ask(function string, payload []byte, into any) error {
	result, err := s.Invoke(context.Background(), function, payload)
	if err != nil {
		return err
	}
	if err := result.Err(); err != nil {
		return err
	}
	var p events.Problem
	if err := json.Unmarshal(result.Body, &p); err == nil && p.Type != "" {
		return &p
	}
	return json.Unmarshal(result.Body, into)
}

// Await looks at a run every few seconds until it neither moves nor is about
// to, or until limit has passed.
func (s *Simulation) Await(runID string, limit time.Duration) (api.View, error) {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Second) {
		v, err := s.Status(runID)
		if err != nil || v.Status != run.Running {
			return v, err
		}
		if time.Now().After(end) {
			return v, fmt.Errorf("run %s is still at step %s after %s: %s", runID, v.Step, limit, v.Reason)
		}
	}
}
