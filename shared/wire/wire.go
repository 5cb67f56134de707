// Package wire turns a function's environment into what its step is made of.
// It is the only package that reads the environment or builds SDK
// configuration, and it knows no step and no product.
//
// On Function Compute the environment is what s.yaml says. On a laptop
// localtest adds the seam: ESLINK_ENDPOINT_<PRODUCT>, ESLINK_DNS,
// ESLINK_ROUTER and ESLINK_CLOCK point the same binaries at fakes. None of them
// is in s.yaml, and a function that finds one says so in its log.
package wire

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fc"
	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	smithytime "github.com/aws/smithy-go/time"
	"golang.org/x/net/proxy"

	"eslink/shared/aliyun"
	"eslink/shared/bus/mns"
	"eslink/shared/engine"
	"eslink/shared/run"
	"eslink/shared/run/tablestore"
	"eslink/shared/steps"
)

// A Handler is a function's work on one payload.
type Handler func(ctx context.Context, payload []byte) (json.RawMessage, error)

// Seams are what a simulation puts in place of the network and the clock; all
// nil in a process.
type Seams struct {
	Cloud     http.RoundTripper // control plane, queues and tables
	DataPlane http.RoundTripper // the clusters
	Resolver  aliyun.Resolver
	Now       func() time.Time
	Rand      io.Reader
}

// Function is what a function's handlers are built from.
type Function struct {
	Deps   steps.Deps
	Engine *engine.Engine
	Log    *slog.Logger
}

// New reads the environment through getenv. Every variable that is missing is
// named in one error.
func New(getenv func(string) string, seams Seams, logs io.Writer) (*Function, error) {
	env := reader{getenv: getenv}
	region := env.need("FC_REGION")
	now, rate := seams.Now, 1.0
	if now == nil {
		now, rate = env.clock("ESLINK_CLOCK")
	}
	random := seams.Rand
	if random == nil {
		random = rand.Reader
	}
	log := slog.New(invocation{slog.NewJSONHandler(logs, nil)})
	cloud := aliyun.Config{
		Region: region, Transport: seams.Cloud, DataPlane: seams.DataPlane, Resolver: seams.Resolver,
		Now: now, Rand: random, Log: log, Endpoint: env.endpoints(region),
	}
	if cloud.Resolver == nil {
		cloud.Resolver = env.resolver("ESLINK_DNS")
	}
	if cloud.DataPlane == nil {
		cloud.DataPlane = env.dataPlane("ESLINK_ROUTER", cloud.Resolver)
	}
	store := &run.Store{Now: now, Rand: random,
		Driver: tablestore.New(cloud, env.need("ESLINK_TABLE_INSTANCE"), env.need("ESLINK_TABLE"))}
	messages := mns.New(cloud)
	network := steps.Network{
		SourceVPC: env.need("ESLINK_SOURCE_VPC"), SourceVSwitch: env.need("ESLINK_SOURCE_VSWITCH"),
		DestinationVPC: env.need("ESLINK_DESTINATION_VPC"), DestinationVSwitch: env.need("ESLINK_DESTINATION_VSWITCH"),
	}
	if err := env.err(); err != nil {
		return nil, err
	}
	if len(env.seams) > 0 {
		sort.Strings(env.seams)
		log.Warn("this function does not talk to the cloud", "seam", env.seams)
	}
	return &Function{
		Deps: steps.Deps{Cloud: cloud, Runs: store, Network: network},
		Engine: &engine.Engine{Runs: store, Bus: messages, Now: now, Log: log, Pause: func(ctx context.Context, d time.Duration) error {
			return smithytime.SleepWithContext(ctx, time.Duration(float64(d)/rate))
		}},
		Log: log,
	}, nil
}

// Step is the handler of a step function: it takes deliveries of that step's
// events.
func (f *Function) Step(name string, build func(steps.Deps) engine.Step) Handler {
	step := build(f.Deps)
	return func(ctx context.Context, payload []byte) (json.RawMessage, error) {
		return nil, f.Engine.Handle(ctx, name, step, payload)
	}
}

// Start runs a function on Function Compute. It returns only if the environment
// is not right.
func Start(build func(*Function) Handler) error {
	f, err := New(os.Getenv, Seams{}, os.Stdout)
	if err != nil {
		return fmt.Errorf("start function: %w", err)
	}
	if limit, ok := memoryLimit(os.Getenv); ok {
		debug.SetMemoryLimit(limit)
	}
	fc.Start((func(context.Context, []byte) (json.RawMessage, error))(build(f)))
	return nil
}

// memoryLimit is what Go may take of the memory that the platform gives the
// function, in bytes: beyond that garbage is collected more often, where else the
// process would be killed. The rest is for the program's own text and the kernel.
// Where GOMEMLIMIT is set, that holds.
func memoryLimit(getenv func(string) string) (limit int64, ok bool) {
	mb, err := strconv.ParseInt(getenv("FC_FUNCTION_MEMORY_SIZE"), 10, 64)
	if err != nil || mb <= 0 || getenv("GOMEMLIMIT") != "" {
		return 0, false
	}
	return mb << 20 / 10 * 9, true
}

// Step starts the function of a step.
func Step(name string, build func(steps.Deps) engine.Step) error {
	return Start(func(f *Function) Handler { return f.Step(name, build) })
}

// invocation adds the platform's request ID to every line, by which its log
// finds them.
type invocation struct{ slog.Handler }

func (h invocation) Handle(ctx context.Context, rec slog.Record) error {
	if fctx, ok := fccontext.FromContext(ctx); ok {
		rec.AddAttrs(slog.String("request_id", fctx.RequestID))
	}
	return h.Handler.Handle(ctx, rec)
}

func (h invocation) WithAttrs(attrs []slog.Attr) slog.Handler {
	return invocation{h.Handler.WithAttrs(attrs)}
}
func (h invocation) WithGroup(name string) slog.Handler { return invocation{h.Handler.WithGroup(name)} }

// reader reads variables and remembers what was wrong.
type reader struct {
	getenv  func(string) string
	missing []string
	wrong   []string
	seams   []string
}

func (e *reader) need(name string) string {
	v := e.getenv(name)
	if v == "" {
		e.missing = append(e.missing, name)
	}
	return v
}

// seam reads a variable that only localtest sets.
func (e *reader) seam(name string) string {
	v := e.getenv(name)
	if v != "" {
		e.seams = append(e.seams, name)
	}
	return v
}

func (e *reader) err() error {
	var parts []string
	if len(e.missing) > 0 {
		parts = append(parts, "these variables are missing: "+strings.Join(e.missing, ", ")+" (s.yaml sets them)")
	}
	parts = append(parts, e.wrong...)
	if len(parts) == 0 {
		return nil
	}
	return fmt.Errorf("environment: %s", strings.Join(parts, "; "))
}

// products are what eslink calls in all; each has a public endpoint of the same
// form, but for queues and tables, which s.yaml names: their hosts contain the
// account and the instance.
var products = []string{"elasticsearch", "nlb", "privatelink", "slb", "ecs", "vpc", "kms"}

// central are the regions whose load balancers (slb) are called at one address,
// by the endpoint map of Alibaba Cloud's SDK; the others have their own.
var central = []string{"cn-hangzhou", "cn-shanghai", "cn-beijing", "cn-shenzhen", "cn-qingdao", "cn-hongkong",
	"cn-shanghai-finance-1", "cn-shenzhen-finance-1", "cn-north-2-gov-1", "ap-southeast-1", "us-west-1", "us-east-1"}

func (e *reader) endpoints(region string) func(product string) (scheme, host string) {
	known := map[string]*url.URL{}
	for _, p := range products {
		host := p + "." + region
		if p == "slb" && slices.Contains(central, region) {
			host = p
		}
		known[p] = e.url(p, "https://"+host+".aliyuncs.com")
	}
	for _, p := range []string{"mns", "tablestore"} {
		known[p] = e.url(p, e.need("ESLINK_"+strings.ToUpper(p)))
	}
	return func(product string) (string, string) {
		u := known[product]
		return u.Scheme, u.Host + strings.TrimSuffix(u.Path, "/")
	}
}

// url returns a product's address, which a seam may replace.
func (e *reader) url(product, address string) *url.URL {
	if v := e.seam("ESLINK_ENDPOINT_" + strings.ToUpper(product)); v != "" {
		address = v
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" && address != "" {
		e.wrong = append(e.wrong, "the address of "+product+" is not a URL: "+address)
		return &url.URL{}
	}
	return u
}

// clock reads "<epoch in unix milliseconds>@<rate>": a clock that began at that
// moment as fast as the world's, times rate. Everybody in a local world
// computes the same time from it.
func (e *reader) clock(name string) (now func() time.Time, rate float64) {
	v := e.seam(name)
	if v == "" {
		return time.Now, 1
	}
	ms, factor, _ := strings.Cut(v, "@")
	epoch, err1 := strconv.ParseInt(ms, 10, 64)
	rate, err2 := strconv.ParseFloat(factor, 64)
	if err1 != nil || err2 != nil || !(rate > 0) {
		e.wrong = append(e.wrong, name+" is not <unix milliseconds>@<rate>")
		return time.Now, 1
	}
	origin := time.UnixMilli(epoch)
	return func() time.Time {
		return origin.Add(time.Duration(float64(time.Since(origin)) * rate))
	}, rate
}

func (e *reader) resolver(name string) aliyun.Resolver {
	server := e.seam(name)
	if server == "" {
		return net.DefaultResolver
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
}

const (
	dialTimeout  = 5 * time.Second
	replyTimeout = 60 * time.Second
)

// dataPlane connects to clusters: directly, or through a router that stands for
// the function's VPC.
func (e *reader) dataPlane(name string, resolver aliyun.Resolver) http.RoundTripper {
	dialer := &net.Dialer{Timeout: dialTimeout}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil // nothing dials a place that the environment made up
	t.DialContext, t.ResponseHeaderTimeout = dialer.DialContext, replyTimeout
	router := e.seam(name)
	if router == "" {
		return t
	}
	socks, err := proxy.SOCKS5("tcp", router, nil, dialer)
	if err != nil {
		e.wrong = append(e.wrong, name+": "+err.Error())
		return t
	}
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		addrs, err := resolver.LookupHost(ctx, host)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return socks.(proxy.ContextDialer).DialContext(ctx, network, net.JoinHostPort(addrs[0], port))
	}
	return t
}
