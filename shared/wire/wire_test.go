package wire_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/run"
	"eslink/shared/wire"
)

// deployed is the environment that s.yaml and the platform give.
func deployed() map[string]string {
	return map[string]string{
		"FC_REGION": "cn-hangzhou", "ESLINK_TABLESTORE": "https://eslink.cn-hangzhou.ots.aliyuncs.com", "ESLINK_TABLE_INSTANCE": "eslink", "ESLINK_TABLE": "eslink",
		"ESLINK_MNS":        "https://1234567890123456.mns.cn-hangzhou.aliyuncs.com",
		"ESLINK_SOURCE_VPC": "vpc-src", "ESLINK_SOURCE_VSWITCH": "vsw-src", "ESLINK_DESTINATION_VPC": "vpc-dst", "ESLINK_DESTINATION_VSWITCH": "vsw-dst",
	}
}

func build(env map[string]string, seams wire.Seams) (*wire.Function, *bytes.Buffer, error) {
	var logs bytes.Buffer
	f, err := wire.New(func(name string) string { return env[name] }, seams, &logs)
	return f, &logs, err
}

func TestTheEnvironmentAsDeployed(t *testing.T) {
	t.Parallel()
	f, logs, err := build(deployed(), wire.Seams{})
	require.NoError(t, err)
	require.NoError(t, f.Ready())
	assert.Empty(t, logs.String(), "no seam, no warning")
	for product, want := range map[string]string{
		"nlb": "https://nlb.cn-hangzhou.aliyuncs.com", "elasticsearch": "https://elasticsearch.cn-hangzhou.aliyuncs.com",
		"privatelink": "https://privatelink.cn-hangzhou.aliyuncs.com", "vpc": "https://vpc.cn-hangzhou.aliyuncs.com", "kms": "https://kms.cn-hangzhou.aliyuncs.com",
		"slb": "https://slb.aliyuncs.com", "ecs": "https://ecs.cn-hangzhou.aliyuncs.com",
		"mns": "https://1234567890123456.mns.cn-hangzhou.aliyuncs.com", "tablestore": "https://eslink.cn-hangzhou.ots.aliyuncs.com",
	} {
		scheme, host := f.Deps.Aliyun.Endpoint(product)
		assert.Equal(t, want, scheme+"://"+host)
	}
	elsewhere := deployed()
	elsewhere["FC_REGION"] = "cn-zhangjiakou"
	g, _, err := build(elsewhere, wire.Seams{})
	require.NoError(t, err)
	_, host := g.Deps.Aliyun.Endpoint("slb")
	assert.Equal(t, "slb.cn-zhangjiakou.aliyuncs.com", host, "not every region's is called in one place")
	assert.Equal(t, deps.Network{SourceVPC: "vpc-src", SourceVSwitch: "vsw-src", DestinationVPC: "vpc-dst", DestinationVSwitch: "vsw-dst"}, f.Deps.Network())
	assert.Equal(t, "cn-hangzhou", f.Deps.Aliyun.Region)
	assert.Equal(t, net.DefaultResolver, f.Deps.Aliyun.Resolver)
	assert.WithinDuration(t, time.Now(), f.Deps.Aliyun.Now(), time.Minute)
	assert.Same(t, f.Deps.Runs, f.Engine.Runs)
	assert.Nil(t, f.Deps.Aliyun.DataPlane.(*http.Transport).Proxy, "nothing dials a place that the environment made up")
}

// Go has most of the memory that the platform gives a function, unless
// GOMEMLIMIT says otherwise.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	// The limit is the process's, so it takes one of its own to see.
	if os.Getenv("ESLINK_TEST_START") != "" {
		t.Fatal(wire.Start(func(*wire.Function) wire.Handler {
			fmt.Println("limit", debug.SetMemoryLimit(-1))
			os.Exit(0)
			return nil
		}))
	}
	for env, want := range map[string]string{
		"FC_FUNCTION_MEMORY_SIZE=1024":                    fmt.Sprint(1024 << 20 / 10 * 9),
		"FC_FUNCTION_MEMORY_SIZE=1024 GOMEMLIMIT=100000B": "100000",
		"FC_FUNCTION_MEMORY_SIZE=":                        fmt.Sprint(math.MaxInt64),
		"FC_FUNCTION_MEMORY_SIZE=0":                       fmt.Sprint(math.MaxInt64),
	} {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMemoryLimit$")
		child.Env = append(strings.Fields(env), "ESLINK_TEST_START=1")
		for name, value := range deployed() {
			child.Env = append(child.Env, name+"="+value)
		}
		out, err := child.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Contains(t, string(out), "limit "+want+"\n", env)
	}
}

func TestEveryMissingVariableIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	// ready builds a function whose step asks for the networks, or does not.
	ready := func(env map[string]string, networks bool) error {
		f, _, err := build(env, wire.Seams{})
		if err != nil {
			return err
		}
		if networks {
			f.Deps.Network()
		}
		return f.Ready()
	}
	err := ready(nil, false)
	require.Error(t, err)
	for name := range deployed() {
		network := strings.Contains(name, "VPC") || strings.Contains(name, "VSWITCH")
		named := strings.Count(err.Error()+",", name+",") + strings.Count(err.Error(), name+" ")
		assert.Equal(t, map[bool]int{false: 1}[network], named, "%s in %s", name, err)
		env := deployed()
		delete(env, name)
		assert.EqualError(t, ready(env, true), "environment: these variables are missing: "+name+" (s.yaml sets them)")
		if network {
			assert.NoError(t, ready(env, false), "a step that does not ask for the networks needs none")
		}
	}
	// What s.yaml sets is what is needed, and no seam is in it.
	yaml, err := os.ReadFile("../../s.yaml")
	require.NoError(t, err)
	for name := range deployed() {
		if name != "FC_REGION" {
			assert.Regexp(t, `(?m)^ +`+name+`: `, string(yaml))
		}
	}
	for _, seam := range []string{"ESLINK_ENDPOINT", "ESLINK_DNS", "ESLINK_ROUTER", "ESLINK_CLOCK"} {
		assert.NotContains(t, string(yaml), seam)
	}
}

func TestTheSeam(t *testing.T) {
	t.Parallel()
	env := deployed()
	env["ESLINK_ENDPOINT_NLB"] = "http://127.0.0.1:4001"
	env["ESLINK_ENDPOINT_MNS"] = "http://127.0.0.1:4002/mns.local"
	env["ESLINK_ENDPOINT_TABLESTORE"] = "http://127.0.0.1:4003/"
	env["ESLINK_DNS"] = "127.0.0.1:53"
	env["ESLINK_ROUTER"] = "127.0.0.1:1080"
	env["ESLINK_CLOCK"] = "1772442000000@1"
	f, logs, err := build(env, wire.Seams{})
	require.NoError(t, err)
	for product, want := range map[string]string{"nlb": "http://127.0.0.1:4001", "mns": "http://127.0.0.1:4002/mns.local", "tablestore": "http://127.0.0.1:4003",
		"kms": "https://kms.cn-hangzhou.aliyuncs.com"} {
		scheme, host := f.Deps.Aliyun.Endpoint(product)
		assert.Equal(t, want, scheme+"://"+host)
	}
	assert.NotEqual(t, net.DefaultResolver, f.Deps.Aliyun.Resolver)
	require.NoError(t, f.Ready())
	var line struct {
		Level string
		Seam  []string
	}
	require.NoError(t, json.Unmarshal(logs.Bytes(), &line))
	assert.Equal(t, "WARN", line.Level)
	assert.Equal(t, []string{"ESLINK_CLOCK", "ESLINK_DNS", "ESLINK_ENDPOINT_MNS", "ESLINK_ENDPOINT_NLB", "ESLINK_ENDPOINT_TABLESTORE", "ESLINK_ROUTER"}, line.Seam)
}

func TestTheClockOfALocalWorld(t *testing.T) {
	t.Parallel()
	origin := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	env := deployed()
	at := func(rate string) time.Time {
		env["ESLINK_CLOCK"] = fmt.Sprintf("%d@%s", origin.UnixMilli(), rate)
		f, _, err := build(env, wire.Seams{})
		require.NoError(t, err)
		return f.Deps.Aliyun.Now()
	}
	assert.WithinDuration(t, time.Now(), at("1"), time.Second)
	assert.WithinDuration(t, origin.Add(time.Hour), at("60"), time.Minute)
	for _, bad := range []string{"now", "1772442000000", "1772442000000@", "@60", "1772442000000@fast", "1772442000000@0", "1772442000000@-1", "1772442000000@NaN"} {
		env["ESLINK_CLOCK"] = bad
		_, _, err := build(env, wire.Seams{})
		assert.ErrorContains(t, err, "ESLINK_CLOCK is not <unix milliseconds>@<rate>", bad)
	}
}

func TestAnAddressThatIsNoURL(t *testing.T) {
	t.Parallel()
	env := deployed()
	env["ESLINK_MNS"], env["ESLINK_ENDPOINT_NLB"] = "queues", "://"
	_, _, err := build(env, wire.Seams{})
	assert.ErrorContains(t, err, "the address of mns is not a URL: queues")
	assert.ErrorContains(t, err, "the address of nlb is not a URL")
}

type answers func(*http.Request) (*http.Response, error)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func TestASimulationTakesThePlaceOfEverything(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	refuse := answers(func(*http.Request) (*http.Response, error) { return nil, errors.New("no network") })
	f, logs, err := build(deployed(), wire.Seams{Cloud: refuse, DataPlane: refuse, Resolver: &net.Resolver{}, Now: func() time.Time { return now }, Rand: bytes.NewReader(nil)})
	require.NoError(t, err)
	require.NoError(t, f.Ready())
	assert.Empty(t, logs.String())
	assert.Equal(t, now, f.Engine.Now())
	assert.Equal(t, now, f.Deps.Runs.Now())
	ctx := fccontext.NewContext(t.Context(), &fccontext.FcContext{AccountId: "1", Credentials: fccontext.Credentials{AccessKeyId: "a", AccessKeySecret: "b", SecurityToken: "c"}})
	_, err = f.Deps.Runs.Get(ctx, "fd5dc36da1e3cf09")
	assert.ErrorContains(t, err, "no network", "tables go the same way")
}

func TestTheDataPlaneGoesThroughTheRouter(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "direct") }))
	t.Cleanup(server.Close)
	env := deployed()
	f, _, err := build(env, wire.Seams{})
	require.NoError(t, err)
	get := func(f *wire.Function) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		require.NoError(t, err)
		resp, err := f.Deps.Aliyun.DataPlane.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	require.NoError(t, get(f))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	env["ESLINK_ROUTER"] = closed.Addr().String()
	require.NoError(t, closed.Close())
	f, _, err = build(env, wire.Seams{})
	require.NoError(t, err)
	assert.ErrorContains(t, get(f), "socks connect", "no way around a router that is down")
}

func TestLogLinesCarryTheRequestID(t *testing.T) {
	t.Parallel()
	var logs bytes.Buffer
	env := deployed()
	f, err := wire.New(func(name string) string { return env[name] }, wire.Seams{}, &logs)
	require.NoError(t, err)
	f.Log.With("run_id", "r").InfoContext(fccontext.NewContext(t.Context(), &fccontext.FcContext{RequestID: "1-abc"}), "hello")
	assert.Contains(t, logs.String(), `"run_id":"r"`)
	assert.Contains(t, logs.String(), `"request_id":"1-abc"`)
}

// Calls to another cloud keep the host that they are for; who has no fake in the
// way connects to it directly.
func TestTransportsOfOtherClouds(t *testing.T) {
	t.Parallel()
	var host, path string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { host, path = r.Host, r.URL.Path }))
	t.Cleanup(server.Close)
	env := deployed()
	env["ESLINK_ENDPOINT_ELASTIC_CLOUD"] = server.URL
	env["ESLINK_ENDPOINT_ZILLIZ"] = "://"
	f, logs, err := build(env, wire.Seams{})
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.elastic-cloud.com/api/v1/deployments", nil)
	require.NoError(t, err)
	resp, err := f.Deps.Transport("elastic-cloud").RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, "api.elastic-cloud.com", host)
	assert.Equal(t, "/api/v1/deployments", path)
	assert.Equal(t, "https://api.elastic-cloud.com/api/v1/deployments", req.URL.String(), "the request is as it was")
	assert.Nil(t, f.Deps.Transport("aws").(*http.Transport).Proxy, "nothing dials a place that the environment made up")
	require.NoError(t, f.Ready())
	assert.Contains(t, logs.String(), "ESLINK_ENDPOINT_ELASTIC_CLOUD")

	f.Deps.Transport("zilliz")
	assert.ErrorContains(t, f.Ready(), "the address of zilliz is not a URL")
}

type never struct{}

func (never) Up(context.Context, *run.Run) (engine.Outcome, error)   { return engine.Done(), nil }
func (never) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }

func TestAStepFunctionRefusesWhatIsMalformed(t *testing.T) {
	t.Parallel()
	f, _, err := build(deployed(), wire.Seams{Cloud: answers(func(*http.Request) (*http.Response, error) {
		t.Error("a malformed event makes no call")
		return nil, errors.New("no network")
	})})
	require.NoError(t, err)
	handle := f.Step("nlb", func(deps.Deps) engine.Step { return never{} })
	for _, payload := range []string{"", "{}", `[{"messageBody":"TEST"}]`} {
		_, err := handle(t.Context(), []byte(payload))
		assert.Error(t, err, payload)
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	f, _, err := build(deployed(), wire.Seams{})
	require.NoError(t, err)
	echo := f.HTTP("POST", func(_ context.Context, r wire.Request) (int, any, error) {
		switch string(r.Body) {
		case "problem":
			return 0, nil, errors.Join(errors.New("x"), events.NewProblem(418, "teapot", "no"))
		case "error":
			return 0, nil, errors.New("dial 10.0.0.9: refused")
		}
		return 201, map[string]any{"method": r.Method, "query": r.Query, "body": string(r.Body)}, nil
	})
	for name, c := range map[string]struct{ payload, reply string }{
		"plain":           {`{"version":"v1","body":"hi","queryParameters":{"a":"b"},"requestContext":{"http":{"method":"POST"}}}`, `{"statusCode":201,"headers":{"Content-Type":"application/json"},"isBase64Encoded":false,"body":"{\"body\":\"hi\",\"method\":\"POST\",\"query\":{\"a\":\"b\"}}"}`},
		"base64":          {`{"version":"v1","body":"aGk=","isBase64Encoded":true,"requestContext":{"http":{"method":"POST"}}}`, `{"statusCode":201,"headers":{"Content-Type":"application/json"},"isBase64Encoded":false,"body":"{\"body\":\"hi\",\"method\":\"POST\",\"query\":null}"}`},
		"base64, no body": {`{"version":"v1","isBase64Encoded":true,"requestContext":{"http":{"method":"POST"}}}`, `{"statusCode":201,"headers":{"Content-Type":"application/json"},"isBase64Encoded":false,"body":"{\"body\":\"\",\"method\":\"POST\",\"query\":null}"}`},
		"another method":  {`{"version":"v1","requestContext":{"http":{"method":"DELETE"}}}`, `{"statusCode":405,"headers":{"Content-Type":"application/problem+json","Allow":"POST"},"isBase64Encoded":false,"body":"{\"type\":\"urn:eslink:problem:method\",\"title\":\"use POST\",\"status\":405}"}`},
		"a problem":       {`{"version":"v1","body":"problem","requestContext":{"http":{"method":"POST"}}}`, `{"statusCode":418,"headers":{"Content-Type":"application/problem+json"},"isBase64Encoded":false,"body":"{\"type\":\"urn:eslink:problem:teapot\",\"title\":\"no\",\"status\":418}"}`},
		"an error":        {`{"version":"v1","body":"error","requestContext":{"http":{"method":"POST"}}}`, `{"statusCode":500,"headers":{"Content-Type":"application/problem+json"},"isBase64Encoded":false,"body":"{\"type\":\"urn:eslink:problem:internal\",\"title\":\"the request failed; the function's log says why\",\"status\":500}"}`},
		"bare":            {`{"version":"v1","x":1}`, `{"method":"","query":null,"body":"{\"version\":\"v1\",\"x\":1}"}`},
		"bare, a problem": {`problem`, `{"type":"urn:eslink:problem:teapot","title":"no","status":418}`},
	} {
		got, err := echo(t.Context(), []byte(c.payload))
		require.NoError(t, err, name)
		assert.JSONEq(t, c.reply, string(got), name)
	}
	_, err = echo(t.Context(), []byte(`{"version":"v1","body":"%","isBase64Encoded":true,"requestContext":{"http":{"method":"POST"}}}`))
	assert.Error(t, err)
}

// Only wire reads the environment; tools that are not deployed may, too:
// shared/eslink and shared/deploy/cmd.
func TestNobodyElseReadsTheEnvironment(t *testing.T) {
	t.Parallel()
	files := 0
	for _, root := range []string{"../../events", "../../functions", "../../shared"} {
		require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "../../shared/wire/") || strings.HasPrefix(path, "../../shared/eslink/") || strings.HasPrefix(path, "../../shared/deploy/cmd/") {
				return err
			}
			files++
			parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			require.NoError(t, err)
			ast.Inspect(parsed, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if pkg, ok := sel.X.(*ast.Ident); ok && (pkg.Name == "os" || pkg.Name == "syscall") {
						assert.NotContains(t, []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, sel.Sel.Name, path)
					}
				}
				return true
			})
			return nil
		}))
	}
	assert.Greater(t, files, 50)
}
