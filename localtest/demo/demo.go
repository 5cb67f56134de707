// Package demo is what the command localtest does: demo, serve and replay.
package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/runtime"
	"eslink/localtest/world"
	"eslink/shared/api"
	"eslink/shared/eslink/display"
	"eslink/shared/facts"
	"eslink/shared/flow"
	"eslink/shared/run"
)

// options are the demo's flags.
type options struct {
	scenario, elasticsearch     string
	useCases                    []string
	created                     bool
	docs, har, json, events, at string
	bulk                        string // what the file docs holds
	protocol                    string
	zones                       int
	rate                        float64
	seed                        uint64
	verbose                     bool
	script                      bool // the host runs the probe itself
}

// restart is how long the demo's clusters take to restart, in cloud time: short
// for a cluster, so that the demo is.
const restart = 6 * time.Minute

func (o *options) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet("localtest "+name, flag.ContinueOnError)
	f.SetOutput(io.Discard) // what is wrong is said once, by main
	f.StringVar(&o.at, "root", ".", "directory of s.yaml and go.mod")
	f.Float64Var(&o.rate, "rate", 0, "how many times faster than real the cloud's clock runs; 0: 60, or 20 over real Elasticsearch")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the cloud's durations and IDs")
	f.StringVar(&o.protocol, "protocol", "http", "http or https: what the clusters speak")
	f.IntVar(&o.zones, "zones", 1, "in how many zones each cluster is, 1 to 3")
	f.BoolVar(&o.verbose, "v", false, "print the functions' logs")
	return f
}

// parse reads the flags and holds them against what there is. Arguments are
// left to those who take some.
func (o *options) parse(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		f.SetOutput(os.Stdout)
		f.Usage()
		return err
	} else if err != nil {
		return fmt.Errorf("%w; %s -h lists the flags", err, f.Name())
	}
	for _, c := range []struct {
		bad        bool
		flag, good string
	}{
		{o.scenario != "" && !slices.Contains(flow.Scenarios(), o.scenario), "scenario " + o.scenario, strings.Join(flow.Scenarios(), " or ")},
		{len(o.useCases) > 0 && o.scenario != flow.ESToECS, "use-case", "-scenario " + flow.ESToECS + " with it"},
		{o.created && o.scenario != flow.ESToES, "created", "-scenario " + flow.ESToES + " with it"},
		{o.elasticsearch != "fake" && o.elasticsearch != "real", "elasticsearch " + o.elasticsearch, "fake or real"},
		{o.protocol != "http" && o.protocol != "https", "protocol " + o.protocol, "http or https"},
		{o.zones < 1 || o.zones > 3, fmt.Sprint("zones ", o.zones), "1, 2 or 3"},
		{!(o.rate == 0 || o.rate >= slowest && o.rate <= fastest), fmt.Sprintf("rate %g", o.rate), fmt.Sprintf("a number from %d to %d", slowest, fastest)},
	} {
		if c.bad {
			return fmt.Errorf("-%s: use %s", c.flag, c.good)
		}
	}
	return nil
}

// files holds the files that flags name against what there is.
func (o *options) files() error {
	for _, f := range []struct{ flag, name string }{{"har", o.har}, {"json", o.json}} {
		if f.name == "" {
			continue
		}
		if _, err := os.Stat(filepath.Dir(f.name)); err != nil {
			return fmt.Errorf("-%s: %w", f.flag, err)
		}
	}
	if o.docs == "" {
		return nil
	}
	raw, err := os.ReadFile(o.docs)
	if err != nil {
		return fmt.Errorf("-docs: %w", err)
	}
	if o.bulk = string(raw); strings.TrimSpace(o.bulk) == "" {
		return fmt.Errorf("-docs %s: it is empty", o.docs)
	}
	n := 0
	for line := range strings.Lines(o.bulk) {
		if n++; strings.TrimSpace(line) != "" && !json.Valid([]byte(line)) {
			return fmt.Errorf("-docs %s: line %d is not JSON; use a body of _bulk", o.docs, n)
		}
	}
	return nil
}

// slowest is the lowest rate: the cloud's clock is no slower than a real one.
const slowest = 1

// fastest is the highest rate at which the functions' own time, which runs no
// faster, is still little of the cloud's.
const fastest = 600

// Demo provisions, proves, walks again and tears down.
func Demo(ctx context.Context, args []string) error {
	var o options
	f := o.flags("demo")
	f.StringVar(&o.scenario, "scenario", flow.ESToES, "scenario to run")
	f.StringVar(&o.elasticsearch, "elasticsearch", "fake", "fake (embedded, Go alone) or real (processes of 7.17.29; needs Java 17 and Maven)")
	f.Func("use-case", "for es-to-ecs, one or more of "+strings.Join(world.Kinds, ",")+" (default: all that there are here)", o.useCase)
	f.BoolVar(&o.created, "created", false, "only create an instance, with a profile for it, and see it connect itself")
	f.StringVar(&o.docs, "docs", "", "bulk file (NDJSON) in place of the six documents")
	f.StringVar(&o.har, "har", "", "write every cloud call to this file (HAR 1.2, secrets blanked)")
	f.StringVar(&o.json, "json", "", "write a report to this file")
	f.StringVar(&o.events, "events", "", "write the events that flowed into this directory")
	if err := o.parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("demo takes no argument %q", f.Arg(0))
	}
	if err := o.files(); err != nil {
		return err
	}
	s, err := open(ctx, &o)
	if ctx.Err() != nil && err != nil {
		return errors.New("interrupted before anything was made")
	}
	if err != nil {
		return err
	}
	defer s.close()
	report, err := s.play(ctx)
	if ctx.Err() != nil {
		err = s.interrupted(report.RunID)
	}
	return errors.Join(err, s.write(report))
}

// useCase reads -use-case.
func (o *options) useCase(list string) error {
	for kind := range strings.SplitSeq(list, ",") {
		if !slices.Contains(world.Kinds, kind) || slices.Contains(o.useCases, kind) {
			return fmt.Errorf("use each of %s once at most", strings.Join(world.Kinds, ", "))
		}
		o.useCases = append(o.useCases, kind)
	}
	return nil
}

// session is one demo.
type session struct {
	*options
	d       *world.Deployment
	client  client
	out     *display.Display
	release func() // real servers, if any

	mu          sync.Mutex
	invocations map[string]int
	recorded    int
}

func (o *options) open(ctx context.Context) (*world.World, func(), error) {
	real := o.elasticsearch == "real"
	if o.rate == 0 {
		o.rate = 60
		if real {
			o.rate = 20 // its restarts are real: ten seconds are minutes of the cloud's
		}
	}
	log := slog.New(slog.DiscardHandler)
	if o.verbose {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	c := world.Config{Context: ctx, Clock: runtime.Clock{Epoch: time.Now(), Rate: o.rate}, Seed: o.seed, Log: log, Root: o.at, Zones: o.zones}
	if o.protocol == "https" {
		c.Alter = func(in *escluster.Instance) { in.Protocol = "HTTPS" }
	}
	if real {
		return world.NewReal(ctx, c, os.Stderr)
	}
	release := func() {}
	if o.scenario == flow.ElasticAzure {
		release = o.runner(&c)
	}
	if o.scenario == flow.ZillizAWS {
		o.instance(&c)
	}
	w, err := world.New(c)
	return w, release, err
}

func open(ctx context.Context, o *options) (*session, error) {
	out := display.New(os.Stdout)
	w, release, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{options: o, out: out, release: release, invocations: map[string]int{}}
	if err := s.deploy(ctx, w); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) deploy(ctx context.Context, w *world.World) error {
	if s.elasticsearch == "real" {
		s.out.Say("real servers have no plugin ik: analyzer standard stands in for ik_smart")
		s.out.Say("each cluster is a single node here: the spec accepts the risks %s", strings.Join(w.Spec().AcceptRisks, ", "))
	}
	s.out.Say("building the functions and a cloud around them (its clock runs %g times faster) …", s.rate)
	for _, in := range w.Clusters.Instances() {
		w.Clusters.SetRestart(in.ID, restart)
	}
	if err := w.SeedProducts(s.bulk); err != nil {
		return fmt.Errorf("%s: %w", cmp.Or(s.docs, "seed"), err)
	}
	if s.scenario == flow.ESToECS {
		if len(s.useCases) == 0 {
			s.useCases = w.Serves
		}
		if s.elasticsearch == "real" {
			s.out.Say("real servers from Maven keep no role mappings by API: a directory's groups are roles here")
		}
		s.out.Say("on ECS host %s: %s", world.Host, strings.Join(s.useCases, ", "))
		if err := w.Serve(ctx, s.useCases...); err != nil {
			return err
		}
	}
	output := io.Discard
	if s.verbose {
		output = os.Stderr
	}
	d, err := world.Deploy(ctx, w, output)
	if err != nil {
		return err
	}
	s.d, s.client, s.out.Now = d, client{d}, d.Clock.Now
	d.Events.Before = s.delivered
	if s.events != "" {
		if err := clear(s.events); err != nil {
			return err
		}
	}
	d.Run()
	return nil
}

// clear makes the directory of events, without those of an earlier demo.
func clear(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "[0-9][0-9][0-9][0-9]-*.json"))
	for _, name := range old {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

func (s *session) close() {
	if s.d != nil {
		s.d.Close()
	}
	s.release()
}

// interrupted says what stands at this moment.
func (s *session) interrupted(runID string) error {
	s.out.Say("\ninterrupted. In the local cloud, which ends with this, there stand:")
	left := s.d.Left()
	for _, what := range left {
		s.out.Say("  %s", what)
	}
	if len(left) == 0 {
		s.out.Say("  nothing of ours")
	}
	return fmt.Errorf("interrupted; in an account, send teardown for run %s", runID)
}

// delivered counts an event and, if asked, writes it down.
func (s *session) delivered(d runtime.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	step := strings.TrimPrefix(d.Function, "eslink-")
	if d.Queue == "" {
		return // a timer's
	}
	s.invocations[step]++
	s.recorded++
	if s.events != "" {
		name := filepath.Join(s.events, fmt.Sprintf("%04d-%s.json", s.recorded, step))
		if err := os.WriteFile(name, d.Payload, 0o644); err != nil {
			s.out.Say("event not written: %v", err)
		}
	}
}

// counted returns the invocations since the last call.
func (s *session) counted() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.invocations
	s.invocations = map[string]int{}
	return out
}

// Report is what -json writes.
type Report struct {
	Status      run.Status    `json:"status"`
	RunID       string        `json:"runId"`
	Rate        float64       `json:"rate"` // of the cloud's clock, in which all seconds are
	Steps       []StepReport  `json:"steps"`
	Checks      []facts.Check `json:"checks"`
	Scripts     int           `json:"scripts,omitempty"` // that a machine inside a network ran
	Invocations int           `json:"invocations"`       // of the provisioning walk
	CloudCalls  int           `json:"cloudCalls"`        // of the whole demo
	SecondRun   struct {
		Steps       int `json:"steps"`
		Invocations int `json:"invocations"`
		Writes      int `json:"writes"`
	} `json:"secondRun"`
	Teardown struct {
		Status run.Status `json:"status"`
		Left   int        `json:"left"`
	} `json:"teardown"`
}

// StepReport is one step of the provisioning walk.
type StepReport struct {
	Step        string  `json:"step"`
	Seconds     float64 `json:"seconds"`
	Invocations int     `json:"invocations"`
}

// play goes through the demo's acts. An error names the act.
func (s *session) play(ctx context.Context) (*Report, error) {
	r := &Report{Rate: s.rate}
	spec := s.spec(s.d)
	s.counted()
	if err := s.provision(ctx, r, &spec); err != nil {
		return r, err
	}
	if err := s.again(ctx, r, spec); err != nil {
		return r, err
	}
	return r, s.tearDown(ctx, r)
}

// provision starts the run, or lets a creation start it, and sees it done and
// proven.
func (s *session) provision(ctx context.Context, r *Report, spec *events.Spec) error {
	var err error
	if s.created {
		r.RunID, err = s.create(ctx, spec)
	} else {
		s.out.Title("1. " + acts[s.scenario])
		var reply api.Reply
		reply, err = s.client.runs(ctx, events.Request{Action: "start", Spec: spec})
		r.RunID = reply.RunID
	}
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	v, err := s.follow(ctx, r.RunID)
	if err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	r.Status = v.Status
	if v.Status != run.Done {
		return fmt.Errorf("provision: %w", stopped(v))
	}
	counts := s.counted()
	for _, p := range display.Walk(v) {
		r.Steps = append(r.Steps, StepReport{p.Step, p.Took.Seconds(), counts[p.Step]})
		r.Invocations += counts[p.Step]
	}
	f := v.Facts
	if w := f.PrivateWhitelist; w != nil {
		s.out.Say("group %s: %d addresses added, %d removed", w.Group, len(w.Added), len(w.Removed))
	}
	if f.AzureVerify != nil {
		return s.proven(ctx, r, v)
	}
	if f.AWSVerify != nil {
		return s.reached(r, v)
	}
	if f.Verify == nil {
		return nil
	}
	r.Checks = f.Verify.Checks
	s.out.Checks(r.Checks)
	for _, p := range f.Verify.Indices {
		s.out.Say("%s: %d documents in %s, compared by %s", v.RunID, p.Documents, p.Dest, p.Level)
	}
	asked, err := s.client.check(ctx, r.RunID)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	s.out.Say("function check, asked at any time: ok=%v", asked.OK)
	if !asked.OK {
		s.out.Checks(asked.Checks)
		return errors.New("check: the link does not pass")
	}
	return nil
}

var acts = map[string]string{flow.ElasticAzure: "connect, approve, prove from inside", flow.ZillizAWS: "connect, register, prove from inside", flow.ESToES: "connect, copy, prove", flow.ESToECS: "connect, configure, prove", flow.PrivateWhitelist: "change the whitelist"}

// profile is the name of the profile that a new instance is tagged with.
const profile = "orders"

// create puts a profile down and creates an instance; nothing else is done. It
// returns the run that begins by itself.
func (s *session) create(ctx context.Context, spec *events.Spec) (string, error) {
	s.out.Title("1. create an instance, and nothing else")
	spec.InstanceID = ""
	if _, err := s.client.runs(ctx, events.Request{Action: "put-profile", Profile: profile, Spec: spec}); err != nil {
		return "", err
	}
	instance, err := s.d.CreateInstance(map[string]string{"eslink:profile": profile})
	if err != nil {
		return "", err
	}
	s.out.Say("instance %s is being created, with tag eslink:profile=%s", instance, profile)
	s.d.Clusters.SetRestart(instance, restart)
	if *spec, err = spec.For(instance); err != nil {
		return "", err
	}
	id := flow.RunID(world.AccountID, *spec)
	for {
		_, err := s.client.status(ctx, id)
		var p *events.Problem
		if !errors.As(err, &p) || p.Status != 404 { // the event takes its time
			return id, err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(glance):
		}
	}
}

// again walks every step once more, which may write nothing.
func (s *session) again(ctx context.Context, r *Report, spec events.Spec) error {
	s.out.Title("2. the same again: nothing may change")
	before := len(s.d.Writes())
	s.counted()
	if _, err := s.client.runs(ctx, events.Request{Action: "start", Spec: &spec, Again: true}); err != nil {
		return fmt.Errorf("again: %w", err)
	}
	v, err := s.follow(ctx, r.RunID)
	if err != nil {
		return fmt.Errorf("again: %w", err)
	}
	if v.Status != run.Done {
		return fmt.Errorf("again: %w", stopped(v))
	}
	for _, p := range display.Walk(v) {
		if p.State == "done" {
			r.SecondRun.Steps++
		}
	}
	for _, n := range s.counted() {
		r.SecondRun.Invocations += n
	}
	wrote := s.d.Writes()[before:]
	r.SecondRun.Writes = len(wrote)
	s.out.Say("%d steps, %d writes", r.SecondRun.Steps, r.SecondRun.Writes)
	if len(wrote) > 0 {
		return fmt.Errorf("the second walk wrote: %s", strings.Join(wrote, ", "))
	}
	return nil
}

// tearDown takes the run down, which may leave nothing.
func (s *session) tearDown(ctx context.Context, r *Report) error {
	s.out.Title("3. tear down")
	if _, err := s.client.runs(ctx, events.Request{Action: "teardown", RunID: r.RunID}); err != nil {
		return fmt.Errorf("teardown: %w", err)
	}
	v, err := s.follow(ctx, r.RunID)
	if err == nil && v.Status == run.WaitingApproval {
		v, err = s.consent(ctx, v)
	}
	if err != nil {
		return fmt.Errorf("teardown: %w", err)
	}
	left := s.d.Left()
	r.Teardown.Status, r.Teardown.Left, r.CloudCalls = v.Status, len(left), len(s.d.Account.Exchanges())
	s.out.Say("%d of our resources, entries and indices are left", len(left))
	switch {
	case v.Status != run.Removed:
		return fmt.Errorf("teardown: %w", stopped(v))
	case len(left) > 0:
		return fmt.Errorf("teardown left %s", strings.Join(left, ", "))
	}
	s.out.Say("done")
	return nil
}

// spec is that of the run, for the world as the flags want it.
func (o *options) spec(d *world.Deployment) events.Spec {
	spec := o.scenarioSpec(d)
	if o.docs != "" { // whose documents need not match the demo's own query
		spec.Indices = slices.Clone(spec.Indices)
		for i := range spec.Indices {
			spec.Indices[i].Query = nil
		}
	}
	return spec
}

func (o *options) scenarioSpec(d *world.Deployment) events.Spec {
	switch o.scenario {
	case flow.ESToECS:
		return d.HostSpec(o.useCases...)
	case flow.ElasticAzure:
		return world.AzureSpec()
	case flow.ZillizAWS:
		return world.ZillizSpec()
	case flow.PrivateWhitelist:
		return events.Spec{Name: "office", Scenario: flow.PrivateWhitelist, Region: world.Region, InstanceID: world.Instance,
			Whitelist: &events.Whitelist{Mode: events.Cover, IPs: []string{"192.168.0.0/25", "192.168.1.9"}, Group: "office"}}
	}
	spec := d.Spec()
	if o.protocol == "https" {
		spec.Target.Protocol, spec.Target.TLS = "https", "certificate"
	}
	return spec
}

// stopped is a run that ended as it should not have.
func stopped(v api.View) error {
	text := fmt.Sprintf("the run is %s at step %s: %s", v.Status, v.Step, v.Reason)
	if v.Problem != nil {
		for _, e := range v.Problem.Errors {
			text += fmt.Sprintf("\n  %s: %s (%s)", e.Field, e.Message, e.Remedy)
		}
	}
	return errors.New(text)
}

// glance is how often the demo looks at a run.
const glance = 150 * time.Millisecond

// follow shows a run until it stops moving.
func (s *session) follow(ctx context.Context, id string) (api.View, error) {
	for {
		v, err := s.client.status(ctx, id)
		if err != nil {
			return v, err
		}
		s.out.Show(v)
		if v.Status != run.Running {
			s.out.End(v)
			return v, nil
		}
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-time.After(glance):
		}
	}
}

// write writes what the flags ask for, also after a failure.
func (s *session) write(r *Report) error {
	var errs []error
	if s.json != "" {
		raw, err := json.MarshalIndent(r, "", "  ")
		errs = append(errs, err, os.WriteFile(s.json, append(raw, '\n'), 0o644))
	}
	if s.har != "" {
		f, err := os.Create(s.har)
		if err == nil {
			err = errors.Join(cloud.WriteHAR(f, s.d.Account.Exchanges()), f.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
