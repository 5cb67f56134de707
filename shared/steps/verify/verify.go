// Package verify proves what a run did: the four checks of the link, what the
// tasks reported, and the destination's counts and IDs against the source's,
// which step digest took on the source's side.
package verify

import (
	"context"
	"fmt"
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
	"eslink/shared/run"
	"eslink/shared/steps"
	"eslink/shared/steps/digest"
)

type clusters interface {
	Open(ctx context.Context, s access.Side) (*es.Client, error)
	Login(ctx context.Context, s access.Side) (kms.Login, error)
}

type parts interface {
	GetPart(ctx context.Context, runID, name string, v any) error
}

// Step is the step verify. It runs in the instance's VPC and writes nothing but
// the check's own index.
type Step struct {
	Clusters clusters
	Cloud    check.Cloud
	Parts    parts
	Now      func() time.Time
}

// New returns the step.
func New(d steps.Deps) engine.Step {
	return &Step{Clusters: access.Opener{Cloud: d.Cloud}, Parts: d.Runs, Now: d.Cloud.Now,
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

const (
	maxLines    = 50
	pagesAtOnce = 50
)

// compare lists what differs. Counts take one call an index; IDs are compared
// page by page, and the record remembers where it is.
func (s *Step) compare(ctx context.Context, r *run.Run, c *es.Client) (engine.Outcome, error) {
	v := r.Facts.Verify
	for pages := 0; v.Next < len(r.Spec.Indices); {
		i, d := v.Next, r.Facts.Digest.Indices[v.Next]
		if v.NextPart == 0 {
			if err := s.counts(ctx, r, c, i, d); err != nil {
				return engine.Outcome{}, err
			}
			v.Level = d.Level
		}
		for ; v.NextPart < d.IDParts; v.NextPart++ {
			if pages++; pages > pagesAtOnce {
				return engine.Waitf(0, "comparing document IDs of %s", r.Spec.Indices[i].Dest), nil
			}
			if err := s.page(ctx, r, c, i); err != nil {
				return engine.Outcome{}, err
			}
		}
		v.Next, v.NextPart = i+1, 0
	}
	if len(v.Differences) > 0 {
		return engine.DoneWithDifferences(), nil
	}
	return engine.Done(), nil
}

func (s *Step) differs(v *run.Verify, format string, args ...any) {
	if len(v.Differences) < maxLines {
		v.Differences = append(v.Differences, fmt.Sprintf(format, args...))
	}
}

// counts compares what the task reported, and the count of an index that held
// nothing before.
func (s *Step) counts(ctx context.Context, r *run.Run, c *es.Client, i int, d run.IndexDigest) error {
	v, ix, task := r.Facts.Verify, r.Spec.Indices[i], r.Facts.Reindex.Tasks[i]
	if res := task.Result; res != nil {
		if res.FailureCount > 0 {
			s.differs(v, "%s: %d documents could not be written", ix.Dest, res.FailureCount)
			for _, f := range res.Failures {
				s.differs(v, "%s", f)
			}
		}
		if res.VersionConflicts > 0 {
			s.differs(v, "%s: %d documents were passed over for a version conflict", ix.Dest, res.VersionConflicts)
		}
		if done := res.Created + res.Updated + res.Noops + res.Deleted + res.VersionConflicts; res.FailureCount == 0 && done != res.Total {
			s.differs(v, "%s: the task read %d documents and wrote %d", ix.Dest, res.Total, done)
		}
	}
	if err := c.Refresh(ctx, ix.Dest); err != nil {
		return err
	}
	if r.Facts.Destination.Indices[i].Before > 0 {
		return nil
	}
	n, err := c.Count(ctx, ix.Dest, nil)
	if err != nil {
		return err
	}
	if n != d.Documents {
		s.differs(v, "%s holds %d documents, the source's %s %d under the query", ix.Dest, n, ix.Source, d.Documents)
	}
	return nil
}

func (s *Step) page(ctx context.Context, r *run.Run, c *es.Client, i int) error {
	v, ix := r.Facts.Verify, r.Spec.Indices[i]
	var ids []string
	if err := s.Parts.GetPart(ctx, r.ID, digest.Part(i, v.NextPart), &ids); err != nil {
		return err
	}
	absent, err := c.Absent(ctx, ix.Dest, ids)
	for _, id := range absent {
		s.differs(v, "%s lacks document %s", ix.Dest, id)
	}
	return err
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
