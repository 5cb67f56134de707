// Package verify proves what a run did: the four checks of the link, what the
// tasks reported, and the destination's documents against the source's, as step
// digest found them on the source's side.
package verify

import (
	"context"
	"time"

	"eslink/events"
	"eslink/shared/access"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/aliyun/nlb"
	"eslink/shared/aliyun/privatelink"
	"eslink/shared/check"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/proving"
	"eslink/shared/run"
	"eslink/shared/steps"
)

type clusters interface {
	Open(ctx context.Context, s access.Side) (*es.Client, error)
	Login(ctx context.Context, s access.Side) (kms.Login, error)
}

// Step is the step verify. It runs in the instance's VPC and writes nothing but
// the check's own index.
type Step struct {
	Clusters clusters
	Cloud    check.Cloud
	Rows     proving.Rows
	Now      func() time.Time
}

// New returns the step.
func New(d steps.Deps) engine.Step {
	return &Step{Clusters: access.Opener{Cloud: d.Cloud}, Rows: d.Runs, Now: d.Cloud.Now,
		Cloud: check.Cloud{Endpoints: escluster.New(d.Cloud), Connections: privatelink.New(d.Cloud), Listeners: nlb.New(d.Cloud)}}
}

// Up goes through three phases, an invocation or more each: the operation is
// started; it is read and the checks are judged; the copies are compared.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	side := access.Instance(r)
	c, err := s.Clusters.Open(ctx, side)
	if err != nil {
		return engine.Outcome{}, err
	}
	if r.Facts.Verify == nil {
		r.Facts.Verify = &run.Verify{}
	}
	v := r.Facts.Verify
	var out engine.Outcome
	switch {
	case len(v.Checks) == 0 && v.Probe == nil:
		out, err = s.begin(ctx, r, c)
	case len(v.Checks) == 0:
		out, err = s.judge(ctx, r, c)
	default:
		out, err = s.compare(ctx, r, c)
	}
	return out, access.Explain(err, side)
}

// probeTime is how long the operation usually needs; it is looked at that often.
const probeTime = 2 * time.Second

func (s *Step) prober(ctx context.Context, r *run.Run, c *es.Client) (check.Prober, error) {
	login, err := s.Clusters.Login(ctx, access.Target(r))
	return check.Prober{Client: c, Remote: login, Now: s.Now}, err
}

func (s *Step) begin(ctx context.Context, r *run.Run, c *es.Client) (engine.Outcome, error) {
	p, err := s.prober(ctx, r, c)
	if err != nil {
		return engine.Outcome{}, err
	}
	probe, err := p.Start(ctx, check.OfRun(r))
	if err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.Verify.Probe = &probe
	return engine.Wait(probeTime, "the instance reads one document through the link"), nil
}

func (s *Step) judge(ctx context.Context, r *run.Run, c *es.Client) (engine.Outcome, error) {
	v, link := r.Facts.Verify, check.OfRun(r)
	p, err := s.prober(ctx, r, c)
	if err != nil {
		return engine.Outcome{}, err
	}
	began := s.Now()
	first, err := s.Cloud.Link(ctx, link)
	if err != nil {
		return engine.Outcome{}, err
	}
	first.Seconds = s.Now().Sub(began).Seconds()
	rest, _, ready, err := p.Read(ctx, link, *v.Probe)
	if err != nil {
		return engine.Outcome{}, err
	}
	if !ready {
		return engine.Wait(probeTime, "the instance reads one document through the link"), nil
	}
	if err := p.Finish(ctx, link); err != nil {
		return engine.Outcome{}, err
	}
	v.Probe = nil
	checks := append([]run.Check{first}, rest...)
	if !check.OK(checks) {
		var fs []events.Finding
		for _, k := range checks {
			if !k.OK {
				fs = append(fs, events.Finding{Field: k.Name, Message: k.Detail, Remedy: k.Remedy})
			}
		}
		return engine.Outcome{}, events.NewProblem(409, "checks", "the link does not pass its checks", fs...)
	}
	v.Checks = checks
	return s.compare(ctx, r, c)
}

// Down removes what a check left behind.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.Verify == nil || r.Facts.Preflight == nil {
		return engine.Done(), nil
	}
	if probe := r.Facts.Verify.Probe; probe != nil || len(r.Facts.Verify.Checks) == 0 {
		side := access.Instance(r)
		c, err := s.Clusters.Open(ctx, side)
		if err != nil {
			return engine.Outcome{}, err
		}
		if probe != nil {
			if err := (check.Prober{Client: c}).Cancel(ctx, check.Link{ID: r.ID}, *probe); err != nil {
				return engine.Outcome{}, access.Explain(err, side)
			}
		}
		if err := (check.Prober{Client: c}).Finish(ctx, check.Link{ID: r.ID, InstanceID: r.Spec.InstanceID}); err != nil {
			return engine.Outcome{}, access.Explain(err, side)
		}
	}
	r.Facts.Verify = nil
	return engine.Done(), nil
}
