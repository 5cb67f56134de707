// Package progress waits for the copy. A task that is finished is evidence, not
// proof: its failures are kept, and one that vanished is started again.
package progress

import (
	"context"
	"time"

	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/copyjob"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Copier follows the copies of a run.
type Copier interface {
	// Start starts what Intend noted before.
	Start(ctx context.Context) error
	// Observe says how many tasks are unfinished, and how far each index is.
	Observe(ctx context.Context) (unfinished int, counts []copyjob.Count, err error)
	// Next notes what is due, and says when it is worth coming back.
	Next() copyjob.Next
	// Restore puts back what was changed for the copy.
	Restore(ctx context.Context) error
}

// Step is the step progress. It runs in the destination's VPC.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Copier, error)
	Now  func() time.Time
}

// New returns the step.
func New(d deps.Deps) engine.Step {
	return By(copyjob.Opener{Clusters: clusters.Opener{Cloud: d.Aliyun}, Rows: d.Runs, Now: d.Now})
}

// By returns the step that follows copies by _reindex.
func By(o copyjob.Opener) *Step {
	return &Step{Open: func(ctx context.Context, r *run.Run) (Copier, error) { return o.Open(ctx, r) }, Now: o.Now}
}

const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Minute
	// inProcess is the longest pause that is cheaper than another invocation.
	inProcess = 2 * time.Second
)

func wait(d time.Duration, reason string) engine.Outcome {
	if d <= inProcess {
		return engine.Soon(d, reason)
	}
	return engine.Wait(d, reason)
}

// Up reads the tasks, starts those whose turn it is, and waits for about as
// long as the rest will take. What was changed for the copy is put back when it
// is over, or has failed.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if !r.Spec.Copies() {
		return engine.Done(), nil
	}
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	out, err := s.up(ctx, c, r)
	if err != nil && ctx.Err() == nil && apierr.ClassOf(err) == apierr.Fatal {
		if put := c.Restore(ctx); put != nil {
			r.Note(s.Now(), r.Cursor.Step, "settings for the load stay", put.Error())
		}
	}
	return out, clusters.Explain(err, clusters.Destination(r))
}

func (s *Step) up(ctx context.Context, c Copier, r *run.Run) (engine.Outcome, error) {
	if err := c.Start(ctx); err != nil { // intended the last time round
		return engine.Outcome{}, err
	}
	left, counts, err := c.Observe(ctx)
	if err != nil {
		return engine.Outcome{}, err
	}
	s.record(r, counts)
	if left == 0 {
		if err := c.Restore(ctx); err != nil {
			return engine.Outcome{}, err
		}
		return engine.Done(), nil
	}
	p := r.Facts.Progress
	reason := p.String()
	switch next := c.Next(); {
	case next.Due:
		return wait(0, reason), nil
	case next.AwaitsRefresh: // step digest refreshes the source, and comes back
		return engine.Done(), nil
	case next.Pause > 0:
		return wait(next.Pause, reason+"; "+next.Why), nil
	default:
		return wait(pause(p, next.PollBy), reason), nil
	}
}

// record notes how far the copy is, and how fast: all in all, and each index.
func (s *Step) record(r *run.Run, counts []copyjob.Count) {
	next := &facts.Progress{At: s.Now()}
	var longest time.Duration
	for i, n := range counts {
		// Tasks that have not begun tell no total; the survey did.
		n.Total = max(n.Total, r.Facts.Survey.Indices[i].Documents)
		ix := facts.IndexProgress{Dest: r.Indices()[i].Dest, Documents: n.Done, Total: n.Total, DocsPerSecond: n.PerSecond}
		if left, ok := eta(n.Total-n.Done, n.PerSecond); ok {
			ix.ETA, longest = left.String(), max(longest, left)
		}
		next.Documents += n.Done
		next.Total += n.Total
		next.DocsPerSecond += n.PerSecond
		next.Indices = append(next.Indices, ix)
	}
	if left, ok := eta(next.Total-next.Documents, next.DocsPerSecond); ok {
		next.ETA = max(left, longest).String()
	}
	r.Facts.Progress = next
}

// eta is how long so many documents take, if any are being copied.
func eta(documents int64, perSecond float64) (time.Duration, bool) {
	return time.Duration(float64(max(documents, 0))/perSecond) * time.Second, perSecond > 0
}

// pause is a quarter of what is left, within bounds: four looks or so for a copy
// of any size. It is shorter if there is something to do sooner.
func pause(p *facts.Progress, soonest time.Duration) time.Duration {
	next := soonest
	if left, err := time.ParseDuration(p.ETA); err == nil && (soonest == 0 || left/4 < soonest) {
		next = left / 4
	}
	return min(max(next, minPause), maxPause)
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
