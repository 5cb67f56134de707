// Package wire turns a function's environment into what its step is made of.
// It is the only package that reads the environment or builds SDK
// configuration, and it knows no step and no product.
//
// On Function Compute the environment is what s.yaml says. On a laptop
// localtest adds the seam: ESLINK_ENDPOINT_<PRODUCT>, ESLINK_DNS,
// ESLINK_ROUTER and ESLINK_CLOCK point the same binaries at fakes. None of them
// is in s.yaml, and a function that finds one says so in its log. What only some
// steps need (the networks, another cloud's APIs) is read when such a step is
// built.
package wire

import (
	"cmp"
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
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/run"
	"eslink/shared/run/tablestore"
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
	Deps   deps.Deps
	Engine *engine.Engine
	Log    *slog.Logger
	// AutoApprove tells whether this deployment lets specs approve their own plans.
	AutoApprove func() bool

	env *reader
}

// New reads what every function needs of the environment through getenv. Every
// variable that is missing is named in one error. What only some steps need is
// read when they ask Deps for it: see Ready.
func New(getenv func(string) string, seams Seams, logs io.Writer) (*Function, error) {
	env := &reader{getenv: getenv}
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
	if err := env.err(); err != nil {
		return nil, err
	}
	drive := &engine.Engine{Notifies: true, Runs: store, Bus: messages, Now: now, Log: log, Pause: func(ctx context.Context, d time.Duration) error {
		return smithytime.SleepWithContext(ctx, time.Duration(float64(d)/rate))
	}}
	store.Wake = drive.Wake
	return &Function{
		env:         env,
		AutoApprove: func() bool { return env.choice("ESLINK_AUTO_APPROVE", "refuse", "allow") == "allow" },
		Deps: deps.Deps{Runs: store, Now: now, Rand: random, Log: log, Aliyun: cloud, Network: env.network,
			Transport: func(product string) http.RoundTripper { return env.transport(product, seams.Cloud) }},
		Engine: drive,
		Log:    log,
	}, nil
}

// Ready tells whether the environment had all that the function's step asked
// for while it was built, and logs which variables point it at fakes.
func (f *Function) Ready() error {
	if err := f.env.err(); err != nil {
		return err
	}
	if len(f.env.seams) > 0 {
		sort.Strings(f.env.seams)
		f.Log.Warn("this function does not talk to the cloud", "seam", slices.Compact(f.env.seams))
	}
	return nil
}

// Step is the handler of a step function: it takes deliveries of that step's
// events.
func (f *Function) Step(name string, build func(deps.Deps) engine.Step) Handler {
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
	handler := build(f)
	if err := f.Ready(); err != nil {
		return fmt.Errorf("start function: %w", err)
	}
	fc.Start((func(context.Context, []byte) (json.RawMessage, error))(handler))
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
func Step(name string, build func(deps.Deps) engine.Step) error {
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

// choice reads a variable that has one of several values.
func (e *reader) choice(name string, values ...string) string {
	v := e.need(name)
	if v != "" && !slices.Contains(values, v) {
		e.wrong = append(e.wrong, name+" is none of "+strings.Join(values, ", "))
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

// network reads where the deployment's functions live.
func (e *reader) network() deps.Network {
	return deps.Network{
		SourceVPC: e.need("ESLINK_SOURCE_VPC"), SourceVSwitch: e.need("ESLINK_SOURCE_VSWITCH"),
		DestinationVPC: e.need("ESLINK_DESTINATION_VPC"), DestinationVSwitch: e.need("ESLINK_DESTINATION_VSWITCH"),
	}
}

// transport carries the calls to an API of another cloud: as they are, or, if
// there is a seam, to one address.
func (e *reader) transport(product string, simulated http.RoundTripper) http.RoundTripper {
	if simulated != nil {
		return simulated
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.ResponseHeaderTimeout = nil, replyTimeout // nothing dials a place that the environment made up
	if u := e.url(strings.ReplaceAll(product, "-", "_"), ""); u.Host != "" {
		return redirected{u, t}
	}
	return t
}

// redirected sends every request to one address, with the host that it is for
// in the Host header.
type redirected struct {
	to   *url.URL
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t redirected) RoundTrip(req *http.Request) (*http.Response, error) {
	host := cmp.Or(req.Host, req.URL.Host)
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host, req.Host = t.to.Scheme, t.to.Host, host
	return t.next.RoundTrip(req)
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
