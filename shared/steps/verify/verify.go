// Package verify proves what a run did: the four checks of the link, for each use
// case; of a copy what the tasks reported, and the destination's documents
// against the source's, as step digest found them on the source's side.
package verify

import (
	"context"
	"slices"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/clusters"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/linkcheck"
	"eslink/shared/run"
	"eslink/shared/scan"
)

type logins interface {
	Open(ctx context.Context, s clusters.Side) (*es.Client, error)
	Login(ctx context.Context, s clusters.Side) (kms.Login, error)
}

// Step is the step verify. It runs in the instance's VPC and writes nothing but
// the check's own index.
type Step struct {
	Clusters logins
	Cloud    linkcheck.Cloud
	Rows     scan.Rows
	Now      func() time.Time
}

// New returns the step.
func New(d deps.Deps) engine.Step {
	return &Step{Clusters: clusters.Opener{Cloud: d.Aliyun}, Rows: d.Runs, Now: d.Now, Cloud: linkcheck.NewCloud(d.Aliyun)}
}

// Up goes through phases, an invocation or more each: the operations of use
// cases that are no copy; that of a copy is started, and read; the checks are
// judged; the copies are compared.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	side := clusters.Destination(r)
	c, err := s.Clusters.Open(ctx, side)
	if err != nil {
		return engine.Outcome{}, err
	}
	if r.Facts.Verify == nil {
		r.Facts.Verify = &facts.Verify{}
	}
	v := r.Facts.Verify
	var out engine.Outcome
	switch links := linkcheck.OfRun(r); {
	case len(v.Checks) > 0:
		out, err = s.compare(ctx, r, c)
	case v.Probe == nil:
		out, err = s.operate(ctx, r, c, links)
	default:
		out, err = s.read(ctx, r, c, links)
	}
	return out, clusters.Explain(err, side)
}

const (
	// probeTime is how long the operation of a copy usually needs; it is looked
	// at that often.
	probeTime = 2 * time.Second
	// laterTime is how often a check that may yet pass is repeated, and laterFor
	// for how long: plugins look for a new dictionary each minute or so.
	laterTime, laterFor = 20 * time.Second, 5 * time.Minute
)

func (s *Step) prober(ctx context.Context, r *run.Run, c *es.Client) (linkcheck.Prober, error) {
	login, err := s.Clusters.Login(ctx, clusters.Source(r))
	return linkcheck.Prober{Client: c, Remote: login, Now: s.Now}, err
}

// operate does the operations that need no task, and starts the one that does.
// What it repeats has no effect but a webhook more.
func (s *Step) operate(ctx context.Context, r *run.Run, c *es.Client, links []linkcheck.Link) (engine.Outcome, error) {
	users := clusters.Users(r)
	login := func(ctx context.Context, l linkcheck.Link) (kms.Login, error) {
		return s.Clusters.Login(ctx, users[l.Kind])
	}
	o := linkcheck.Operator{Client: c, Login: login, Now: s.Now}
	v := r.Facts.Verify
	v.Operated = nil
	var copies *linkcheck.Link
	for _, l := range links {
		if l.Kind == events.ReindexUseCase {
			copies = &l
			continue
		}
		first, err := s.linked(ctx, l)
		if err != nil {
			return engine.Outcome{}, err
		}
		checks, later, err := o.Operate(ctx, l, first)
		if err != nil {
			return engine.Outcome{}, err
		}
		if later && s.Now().Sub(r.Cursor.Since) < laterFor {
			last := checks[len(checks)-1]
			return engine.Wait(laterTime, last.Detail+", and may still change: the check is repeated"), nil
		}
		v.Operated = append(v.Operated, linkcheck.Named(append([]facts.Check{first}, checks...), l, len(links))...)
	}
	if copies == nil {
		return s.judge(ctx, r, c, v.Operated)
	}
	p, err := s.prober(ctx, r, c)
	if err != nil {
		return engine.Outcome{}, err
	}
	probe, err := p.Start(ctx, *copies)
	if err != nil {
		return engine.Outcome{}, err
	}
	v.Probe = &probe
	return engine.Wait(probeTime, reading), nil
}

const reading = "the instance reads one document through the link"

// linked is the check named link.
func (s *Step) linked(ctx context.Context, l linkcheck.Link) (facts.Check, error) {
	began := s.Now()
	k, err := s.Cloud.Link(ctx, l)
	k.Seconds = s.Now().Sub(began).Seconds()
	return k, err
}

// read reads the operation of a copy.
func (s *Step) read(ctx context.Context, r *run.Run, c *es.Client, links []linkcheck.Link) (engine.Outcome, error) {
	v := r.Facts.Verify
	i := slices.IndexFunc(links, func(l linkcheck.Link) bool { return l.Kind == events.ReindexUseCase })
	link := links[i]
	p, err := s.prober(ctx, r, c)
	if err != nil {
		return engine.Outcome{}, err
	}
	first, err := s.linked(ctx, link)
	if err != nil {
		return engine.Outcome{}, err
	}
	rest, _, ready, err := p.Read(ctx, link, *v.Probe)
	if err != nil {
		return engine.Outcome{}, err
	}
	if !ready {
		return engine.Wait(probeTime, reading), nil
	}
	if err := p.Finish(ctx, link); err != nil {
		return engine.Outcome{}, err
	}
	v.Probe = nil
	return s.judge(ctx, r, c, append(slices.Clone(v.Operated), linkcheck.Named(append([]facts.Check{first}, rest...), link, len(links))...))
}

// judge stops the run at a check that fails.
func (s *Step) judge(ctx context.Context, r *run.Run, c *es.Client, checks []facts.Check) (engine.Outcome, error) {
	r.Facts.Verify.Operated = nil
	if !linkcheck.OK(checks) {
		var fs []events.Finding
		for _, k := range checks {
			if !k.OK {
				fs = append(fs, events.Finding{Field: k.Name, Message: k.Detail, Remedy: k.Remedy})
			}
		}
		return engine.Outcome{}, events.NewProblem(409, "checks", "the link does not pass its checks", fs...)
	}
	r.Facts.Verify.Checks = checks
	return s.compare(ctx, r, c)
}

// Down removes what a check left behind.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.Verify == nil || r.Facts.Preflight == nil {
		return engine.Done(), nil
	}
	if probe := r.Facts.Verify.Probe; r.Spec.Copies() && (probe != nil || len(r.Facts.Verify.Checks) == 0) {
		side := clusters.Destination(r)
		c, err := s.Clusters.Open(ctx, side)
		if err != nil {
			return engine.Outcome{}, err
		}
		if probe != nil {
			if err := (linkcheck.Prober{Client: c}).Cancel(ctx, linkcheck.Link{ID: r.ID}, *probe); err != nil {
				return engine.Outcome{}, clusters.Explain(err, side)
			}
		}
		if err := (linkcheck.Prober{Client: c}).Finish(ctx, linkcheck.Link{ID: r.ID, InstanceID: r.Spec.InstanceID}); err != nil {
			return engine.Outcome{}, clusters.Explain(err, side)
		}
	}
	r.Facts.Verify = nil
	return engine.Done(), nil
}
