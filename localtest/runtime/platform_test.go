package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
)

// temp holds what tests share; TestMain removes it.
var temp string

func TestMain(m *testing.M) {
	var err error
	if temp, err = os.MkdirTemp("", "eslink-runtime"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(temp)
	os.Exit(code)
}

// echo builds the test function once for all tests.
var echo = sync.OnceValues(func() (map[string]string, error) {
	p, err := parse([]byte(small), getenv(nil))
	if err != nil {
		return nil, err
	}
	return p.Build(context.Background(), "../..", temp)
})

type output struct {
	sync.Mutex
	bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.Lock()
	defer o.Unlock()
	return o.Buffer.Write(b)
}

func account(t *testing.T, now func() time.Time) *cloud.Account {
	a := cloud.New(cloud.Config{Region: "cn-hangzhou", AccountID: "1234567890123456", Now: now, Seed: 1, Log: slog.New(slog.DiscardHandler)})
	var policy cloud.Policy
	require.NoError(t, json.Unmarshal([]byte(`{"Version":"1","Statement":[{"Effect":"Allow","Action":"mns:SendMessage","Resource":"*"}]}`), &policy))
	require.NoError(t, a.AddRole("echo", policy))
	return a
}

// platform runs the function echo of the project small, changed by edit.
func platform(t *testing.T, edit func(*Config, *Function)) (*Platform, *output) {
	p, err := parse([]byte(small), getenv(nil))
	require.NoError(t, err)
	binaries, err := echo()
	require.NoError(t, err)
	out := &output{}
	c := Config{Binaries: binaries, Account: account(t, time.Now), Clock: Clock{time.Now(), 1}, Output: out, Log: slog.New(slog.DiscardHandler),
		Seam: func(Function) map[string]string { return map[string]string{"ESLINK_DNS": "127.0.0.1:53"} }}
	if edit != nil {
		edit(&c, &p.Functions[0])
	}
	c.Functions = p.Functions
	pl, err := New(c)
	require.NoError(t, err)
	t.Cleanup(pl.Close)
	return pl, out
}

type echoed struct {
	PID, Calls, Timeout                             int
	Environment                                     []string
	Greeting, Region, Account, Key, Token, Function string
	Payload                                         string
}

func ask(t *testing.T, p *Platform, do string) (Result, echoed) {
	r, err := p.Invoke(t.Context(), "echo", fmt.Appendf(nil, `{"do":%q}`, do))
	require.NoError(t, err)
	var e echoed
	if r.ErrorType == "" {
		require.NoError(t, json.Unmarshal(r.Body, &e))
	}
	return r, e
}

func TestInvocationAsFCDoesIt(t *testing.T) {
	t.Parallel()
	p, out := platform(t, nil)
	r, e := ask(t, p, "print")
	assert.Regexp(t, `^1-\w{8}-\w{20}$`, r.RequestID)
	assert.Positive(t, r.Cold)
	assert.Equal(t, "hello world", e.Greeting)
	assert.Equal(t, "cn-hangzhou 1234567890123456 echo 3", fmt.Sprintf("%s %s %s %d", e.Region, e.Account, e.Function, e.Timeout))
	slices.Sort(e.Environment)
	assert.Equal(t, strings.Fields(`ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET ALIBABA_CLOUD_SECURITY_TOKEN ESLINK_DNS
		FC_ACCOUNT_ID FC_FUNCTION_HANDLER FC_FUNCTION_MEMORY_SIZE FC_FUNCTION_NAME FC_FUNCTION_VERSION FC_FUNC_CODE_PATH FC_INSTANCE_ID
		FC_REGION FC_RUNTIME_API GREETING MORE STAGE`), e.Environment, "s.yaml, FC and the seam, nothing of the host")
	_, who, refused := p.Account.Secret(e.Key, e.Token)
	require.Nil(t, refused)
	assert.Equal(t, "echo", who.Role, "credentials are those of the function's role")

	warm, e2 := ask(t, p, "")
	assert.Zero(t, warm.Cold)
	assert.Equal(t, e.PID, e2.PID, "a warm instance is used again")
	assert.Equal(t, 2, e2.Calls)
	p.Close()
	assert.Contains(t, out.String(), "[echo] to stdout\n")
	assert.Contains(t, out.String(), "[echo] to stderr\n")
	s := p.Stats()["echo"]
	assert.Equal(t, 2, s.Invocations)
	assert.Len(t, s.Cold, 1)
	assert.Greater(t, s.MaxRSS, int64(1<<20))
}

func TestWhatFunctionsDoWrong(t *testing.T) {
	t.Parallel()
	for do, want := range map[string]struct {
		kind, message string
		survives      bool
	}{
		"fail":  {handled, "no luck", true},
		"panic": {unhandled, "lost my head", true}, // the SDK recovers and goes on
		"exit":  {unhandled, `Process exited unexpectedly before completing request \(duration: \d+ms, maxMemoryUsage: \d+MB\)`, false},
		"sleep": {unhandled, `Function timed out after 1 seconds`, false},
	} {
		t.Run(do, func(t *testing.T) {
			t.Parallel()
			p, _ := platform(t, func(_ *Config, f *Function) {
				if do == "sleep" {
					f.Timeout = 1
				}
			})
			_, before := ask(t, p, "")
			r, _ := ask(t, p, do)
			assert.Equal(t, want.kind, r.ErrorType)
			assert.Regexp(t, want.message, string(r.Body))
			assert.ErrorContains(t, r.Err(), want.kind)
			_, after := ask(t, p, "")
			assert.Equal(t, want.survives, before.PID == after.PID)
		})
	}
}

func TestOneInvocationAtATimePerInstance(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, func(c *Config, _ *Function) { c.Instances = 2 })
	began := time.Now()
	pids := map[int]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			_, e := ask(t, p, "pause")
			mu.Lock()
			defer mu.Unlock()
			pids[e.PID] = true
		})
	}
	all.Wait()
	assert.Len(t, pids, 2, "four calls share the two instances that are allowed")
	assert.GreaterOrEqual(t, time.Since(began), 400*time.Millisecond, "an instance does one call after the other")
}

func TestIdleInstancesAreDestroyed(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, func(c *Config, _ *Function) { c.Idle = time.Millisecond })
	_, a := ask(t, p, "")
	time.Sleep(2 * time.Millisecond)
	_, b := ask(t, p, "")
	assert.NotEqual(t, a.PID, b.PID)
}

func TestKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, func(_ *Config, f *Function) { f.Timeout = 60 })
	_, before := ask(t, p, "")
	done := make(chan Result)
	go func() {
		r, _ := p.Invoke(t.Context(), "echo", []byte(`{"do":"sleep"}`))
		done <- r
	}()
	require.Eventually(t, func() bool { return p.running("echo") }, 10*time.Second, time.Millisecond)
	assert.Equal(t, 1, p.Kill("echo"))
	assert.Equal(t, unhandled, (<-done).ErrorType)
	_, after := ask(t, p, "")
	assert.NotEqual(t, before.PID, after.PID)
}

func (p *Platform) running(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.pools[name]
	return len(q.all) > len(q.idle)
}

func TestTheCallerLeaves(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		assert.Eventually(t, func() bool { return p.running("echo") }, 10*time.Second, time.Millisecond)
		cancel()
	}()
	_, err := p.Invoke(ctx, "echo", []byte(`{"do":"sleep"}`))
	assert.ErrorIs(t, err, context.Canceled)
	p.Close()
	assert.Equal(t, 1, p.Stats()["echo"].Invocations, "the function ran to the platform's end")
	_, err = p.Invoke(t.Context(), "echo", nil)
	assert.ErrorIs(t, err, errClosed)
	_, err = p.Invoke(t.Context(), "other", nil)
	assert.ErrorContains(t, err, "not in s.yaml")
}

func TestClockText(t *testing.T) {
	t.Parallel()
	c := Clock{time.UnixMilli(1_700_000_000_000), 120.5}
	back, err := ParseClock(c.String())
	require.NoError(t, err)
	assert.Equal(t, "1700000000000@120.5", back.String())
	for _, bad := range []string{"", "1@", "1@0", "1", "x@1"} {
		_, err := ParseClock(bad)
		assert.Error(t, err, bad)
	}
}
