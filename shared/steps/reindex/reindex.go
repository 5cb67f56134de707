// Package reindex starts the copy: one _reindex task per index, on the instance,
// reading from the target through the link.
package reindex

import (
	"context"
	"time"

	"eslink/shared/access"
	"eslink/shared/copying"
	"eslink/shared/engine"
	"eslink/shared/run"
	"eslink/shared/steps"
)

// Step is the step reindex. It runs in the instance's VPC.
type Step struct {
	Clusters copying.Clusters
	Now      func() time.Time
}

// New returns the step.
func New(d steps.Deps) engine.Step {
	return &Step{Clusters: access.Opener{Cloud: d.Cloud}, Now: d.Cloud.Now}
}

// Up plans the tasks, notes which are about to start, and starts them. What
// must wait for others to finish is started by step progress.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if !r.Spec.Copies() {
		return engine.Done(), nil
	}
	c, err := copying.Open(ctx, s.Clusters, s.Now, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if !intended(r) {
		copying.Plan(r)
		if !c.Intend() {
			return engine.Done(), nil // everything is copied already
		}
		return engine.Wait(0, "starting the copy"), nil
	}
	if err := c.Start(ctx); err != nil {
		return engine.Outcome{}, access.Explain(err, access.Instance(r))
	}
	return engine.Done(), nil
}

// intended reports whether tasks are noted that were not seen started.
func intended(r *run.Run) bool {
	if r.Facts.Reindex == nil {
		return false
	}
	for _, t := range r.Facts.Reindex.Tasks {
		if !t.Intent.IsZero() && t.ID == "" && t.Result == nil {
			return true
		}
	}
	return false
}

// Down stops what runs.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.Reindex == nil || r.Facts.Preflight == nil || !unfinished(r) {
		r.Facts.Reindex = nil
		return engine.Done(), nil
	}
	c, err := copying.Open(ctx, s.Clusters, s.Now, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	running, err := c.Cancel(ctx)
	if err != nil {
		return engine.Outcome{}, access.Explain(err, access.Instance(r))
	}
	if running {
		return engine.Wait(5*time.Second, "the copy stops after its current page"), nil
	}
	r.Facts.Reindex = nil
	return engine.Done(), nil
}

func unfinished(r *run.Run) bool {
	for _, t := range r.Facts.Reindex.Tasks {
		if t.Result == nil && !t.Intent.IsZero() {
			return true
		}
	}
	return false
}
