// Package reindex starts the copy: _reindex tasks on the destination, one of
// an index or of each of its windows, that read from the source through the link.
package reindex

import (
	"context"
	"time"

	"eslink/shared/clusters"
	"eslink/shared/copyjob"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/run"
)

// Copier starts the copies of a run, and stops them.
type Copier interface {
	// Plan decides what is copied in which tasks, and which are about to start. If the
	// next is due, the record must be saved before Start.
	Plan(ctx context.Context) (copyjob.Next, error)
	Start(ctx context.Context) error
	// Stop reports whether any still runs; once none does, what was changed for the
	// copy is put back.
	Stop(ctx context.Context) (running bool, err error)
}

// Step is the step reindex. It runs in the destination's VPC.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Copier, error)
}

// New returns the step.
func New(d deps.Deps) engine.Step {
	return By(copyjob.Opener{Clusters: clusters.Opener{Cloud: d.Aliyun}, Rows: d.Runs, Now: d.Now})
}

// By returns the step that copies with _reindex.
func By(o copyjob.Opener) *Step {
	return &Step{Open: func(ctx context.Context, r *run.Run) (Copier, error) { return o.Open(ctx, r) }}
}

// Up plans the tasks, notes which are about to start and what is changed for
// them, and starts them. What must wait for others to finish is started by step
// progress.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if !r.Spec.Copies() {
		return s.Stop(ctx, r) // what an earlier generation copies
	}
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	out, err := up(ctx, c, r)
	return out, clusters.Explain(err, clusters.Destination(r))
}

func up(ctx context.Context, c Copier, r *run.Run) (engine.Outcome, error) {
	if intended(r) {
		if err := c.Start(ctx); err != nil {
			return engine.Outcome{}, err
		}
		return engine.Done(), nil
	}
	next, err := c.Plan(ctx)
	switch {
	case err != nil:
		return engine.Outcome{}, err
	case next.Pause > 0:
		return engine.Wait(next.Pause, next.Why), nil
	case next.Due:
		return engine.Soon(0, "starting the copy"), nil
	}
	return engine.Done(), nil // everything is copied already, or step progress starts it in a moment
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
	out, err := s.Stop(ctx, r)
	if err == nil && out.IsDone() {
		r.Facts.Reindex = nil
	}
	return out, err
}

// Stop stops what runs, of any generation, and puts back what was changed for it. What
// was copied stays, and what was not is copied when the run goes on.
func (s *Step) Stop(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.Preflight == nil || !mayRun(r) {
		return engine.Done(), nil
	}
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	running, err := c.Stop(ctx)
	switch {
	case err != nil:
		return engine.Outcome{}, clusters.Explain(err, clusters.Destination(r))
	case running:
		return engine.Wait(5*time.Second, "the copy stops after its current page"), nil
	}
	return engine.Done(), nil
}

// mayRun reports whether a task of the run may run, or settings are changed for one.
// What earlier generations started is not in the record.
func mayRun(r *run.Run) bool {
	return r.Generation > 1 || r.Facts.Reindex != nil && unfinished(r) || copyjob.Loading(r)
}

func unfinished(r *run.Run) bool {
	for _, t := range r.Facts.Reindex.Tasks {
		if t.Result == nil && !t.Intent.IsZero() {
			return true
		}
	}
	return false
}
