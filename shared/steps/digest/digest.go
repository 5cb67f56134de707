// Package digest takes the source's side of the proof: how many documents each
// index holds under its query and, where counts alone would prove nothing,
// which.
package digest

import (
	"context"
	"fmt"
	"time"

	"eslink/shared/access"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/run"
	"eslink/shared/steps"
)

type opener interface {
	Open(ctx context.Context, s access.Side) (*es.Client, error)
}

type parts interface {
	PutPart(ctx context.Context, runID, name string, v any) error
}

// Step is the step digest. It runs in the target's VPC and reads only.
type Step struct {
	Clusters opener
	Parts    parts
	Now      func() time.Time
}

// New returns the step.
func New(d steps.Deps) engine.Step {
	return &Step{Clusters: access.Opener{Cloud: d.Cloud}, Parts: d.Runs, Now: d.Cloud.Now}
}

// Part names the row with the n-th page of IDs of the spec's i-th index.
func Part(i, n int) string { return fmt.Sprintf("ids/%05d/%08d", i, n) }

// Levels of proof.
const (
	Counts = "counts"
	IDs    = "ids"
)

// pagesAtOnce bounds an invocation: a page has at most 10,000 IDs.
const pagesAtOnce = 50

// Up counts, then lists IDs page by page; the record remembers where it is.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if !r.Spec.Copies() {
		return engine.Done(), nil
	}
	side := access.Target(r)
	c, err := s.Clusters.Open(ctx, side)
	if err != nil {
		return engine.Outcome{}, err
	}
	if r.Facts.Digest == nil {
		if r.Facts.Digest, err = s.counts(ctx, c, r); err != nil {
			r.Facts.Digest = nil
			return engine.Outcome{}, access.Explain(err, side)
		}
	}
	pages := 0
	for i := range r.Facts.Digest.Indices {
		for d := &r.Facts.Digest.Indices[i]; d.Level == IDs && !d.IDsDone; pages++ {
			if pages == pagesAtOnce {
				return engine.Waitf(0, "listing the source's document IDs: %s, page %d", r.Spec.Indices[i].Source, d.IDParts), nil
			}
			if err := s.page(ctx, c, r, i, d); err != nil {
				return engine.Outcome{}, access.Explain(err, side)
			}
		}
	}
	return engine.Done(), nil
}

func (s *Step) counts(ctx context.Context, c *es.Client, r *run.Run) (*run.Digest, error) {
	out := &run.Digest{Level: r.Spec.Proof}
	for i, ix := range r.Spec.Indices {
		n, err := c.Count(ctx, ix.Source, ix.Query)
		if err != nil {
			return nil, err
		}
		d := run.IndexDigest{Documents: n, Level: r.Spec.Proof}
		if r.Facts.Destination.Indices[i].Before > 0 {
			d.Level = IDs // a count cannot tell what was there from what was copied
		}
		out.Indices = append(out.Indices, d)
	}
	return out, nil
}

func (s *Step) page(ctx context.Context, c *es.Client, r *run.Run, i int, d *run.IndexDigest) error {
	ix := r.Spec.Indices[i]
	stats, err := c.Stats(ctx, ix.Source)
	if err != nil {
		return err
	}
	ids, next, err := c.IDs(ctx, ix.Source, ix.Query, stats, d.After)
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		if err := s.Parts.PutPart(ctx, r.ID, Part(i, d.IDParts), ids); err != nil {
			return err
		}
		d.IDParts++
	}
	d.After, d.IDsDone = next, next < 0
	return nil
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
