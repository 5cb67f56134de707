// Package reindex starts the copy: _reindex tasks on the instance, one of an
// index or of each of its windows, that read from the target through the link.
package reindex

import (
	"cmp"
	"context"
	"time"

	"eslink/shared/clusters"
	"eslink/shared/copyjob"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/run"
)

// Step is the step reindex. It runs in the instance's VPC.
type Step struct {
	Clusters copyjob.Clusters
	Rows     copyjob.Rows
	Now      func() time.Time
	// Split, if set, divides indices otherwise than usual.
	Split copyjob.Split
}

// New returns the step.
func New(d deps.Deps) engine.Step {
	return &Step{Clusters: clusters.Opener{Cloud: d.Aliyun}, Rows: d.Runs, Now: d.Now}
}

// Up plans the tasks, notes which are about to start and what is changed for
// them, and starts them. What must wait for others to finish is started by step
// progress.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if !r.Spec.Copies() {
		return engine.Done(), nil
	}
	c, err := copyjob.Open(ctx, s.Clusters, s.Rows, s.Now, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	c.Split = cmp.Or(s.Split, c.Split)
	out, err := up(ctx, c, r)
	return out, clusters.Explain(err, clusters.Destination(r))
}

func up(ctx context.Context, c *copyjob.Copy, r *run.Run) (engine.Outcome, error) {
	if !intended(r) {
		if err := c.Plan(ctx); err != nil {
			return engine.Outcome{}, err
		}
		changes, err := c.Prepare(ctx)
		if err != nil {
			return engine.Outcome{}, err
		}
		if !c.Intend() && !changes {
			return engine.Done(), nil // everything is copied already, or step progress starts it in a moment
		}
		return engine.Soon(0, "starting the copy"), nil
	}
	if err := c.Load(ctx); err != nil {
		return engine.Outcome{}, err
	}
	if err := c.Start(ctx); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Done(), nil
}

// intended reports whether anything is noted that was not seen done.
func intended(r *run.Run) bool {
	if r.Facts.Reindex == nil {
		return false
	}
	for _, t := range r.Facts.Reindex.Tasks {
		if !t.Intent.IsZero() && t.ID == "" && t.Result == nil {
			return true
		}
	}
	return copyjob.Preparing(r)
}

// Down stops what runs, and puts back what was changed for it.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.Reindex == nil || r.Facts.Preflight == nil || !unfinished(r) && !copyjob.Loading(r) {
		r.Facts.Reindex = nil
		return engine.Done(), nil
	}
	c, err := copyjob.Open(ctx, s.Clusters, s.Rows, s.Now, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	running, err := c.Cancel(ctx)
	if err == nil && !running {
		err = c.Restore(ctx)
	}
	switch {
	case err != nil:
		return engine.Outcome{}, clusters.Explain(err, clusters.Destination(r))
	case running:
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
