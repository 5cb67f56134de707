package copyjob

import (
	"context"
	"slices"
	"time"

	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/facts"
)

// Count is how far the copy of an index is, in documents, and how many a second
// its tasks that run now have copied since each began.
type Count struct {
	Done, Total int64
	PerSecond   float64
}

// Observe reads every started task once and notes what it says. It returns how
// many are unfinished, started or not, and how far each index of the spec is.
// What stops the run is often the same for all tasks, so all are read before the
// first such error is returned.
func (j *Job) Observe(ctx context.Context) (unfinished int, counts []Count, err error) {
	counts = make([]Count, len(j.run.Indices()))
	list := j.tasks()
	replies, errs := make([]es.Task, len(list)), make([]error, len(list))
	for i, t := range list {
		if t.Result == nil && t.ID != "" {
			replies[i], errs[i] = j.client.Task(ctx, t.ID)
		}
	}
	j.observed = j.now()
	for i := range list {
		t := &list[i]
		n := &counts[position(j.run, t)]
		if t.Result == nil && t.ID != "" {
			got, e := j.observe(ctx, t, n, replies[i], errs[i])
			if e != nil && (ctx.Err() != nil || apierr.ClassOf(e) != apierr.Fatal) {
				j.divide()
				return 0, nil, e
			}
			if err == nil {
				err = e
			}
			n.Total += got.Total
			n.Done += got.Processed()
		}
		if res := t.Result; res != nil {
			n.Total += res.Total
			n.Done += res.Created + res.Updated + res.Deleted + res.Noops + res.VersionConflicts
		}
	}
	if e := j.secure(ctx); err == nil {
		err = e
	}
	j.divide()
	for i := range j.tasks() {
		if !durable(&j.tasks()[i]) {
			unfinished++
		}
	}
	return unfinished, counts, err
}

// observe notes what is said of t: how far it is while it runs, and what its end
// asks for.
func (j *Job) observe(ctx context.Context, t *facts.Task, n *Count, got es.Task, err error) (es.TaskStatus, error) {
	if err != nil && !apierr.IsNotFound(err) {
		return es.TaskStatus{}, err
	}
	e := ending{task: *t, got: got, unknown: err != nil}
	if !e.unknown && !e.foreign() && !got.Completed && got.Error == nil {
		return got.Status, j.runs(ctx, t, n, got)
	}
	return es.TaskStatus{}, j.ended(ctx, t, e)
}

// runs notes how fast a task is, and changes its rate if that was asked for.
func (j *Job) runs(ctx context.Context, t *facts.Task, n *Count, got es.Task) error {
	t.StartedMS = got.StartedMS
	speed := perSecond(got)
	n.PerSecond += speed
	if speed > 0 && j.crowded() {
		j.poll(time.Duration(float64(got.Status.Total-got.Status.Processed()) / speed * float64(time.Second)))
	}
	if speed == 0 || t.Retries > 0 { // the younger it is, the sooner something may become of it
		j.poll(got.Running / 4)
	}
	// The server keeps a float.
	if want := j.rate(t); j.run.RequestsPerSecond != nil && float32(got.Status.RequestsPerSecond) != float32(*want) {
		return j.client.Rethrottle(ctx, t.ID, *want)
	}
	return nil
}

// perSecond is what a running task copies. A throttled one begins with a page, and
// then rests until its rate is kept.
func perSecond(t es.Task) float64 {
	if t.Running <= 0 {
		return 0
	}
	speed := float64(t.Status.Processed()) / t.Running.Seconds()
	if limit := t.Status.RequestsPerSecond; limit > 0 {
		speed = min(speed, limit)
	}
	return speed
}

// Next is what follows once all tasks have been read.
type Next struct {
	// Due says that tasks are about to start: save the record, then Start.
	Due bool
	// Pause is how long every copy that is left waits before it is started again,
	// and Why what for; 0 if one is under way.
	Pause time.Duration
	Why   string
	// AwaitsRefresh says that all that is left waits until step digest has refreshed
	// the source.
	AwaitsRefresh bool
	// PollBy is how long it may take until there is something to do, as far as the
	// tasks that run can tell: one will be done whose place another waits for, or may
	// have broken off. It is 0 if none can.
	PollBy time.Duration
}

// Next notes which tasks are about to start, and says when to look again.
func (j *Job) Next() Next {
	if j.Intend() {
		return Next{Due: true}
	}
	if !slices.ContainsFunc(j.tasks(), func(t facts.Task) bool { return !durable(&t) && !t.AwaitsRefresh }) {
		return Next{AwaitsRefresh: true}
	}
	pause, why := j.Pause()
	return Next{Pause: pause, Why: why, PollBy: j.pollBy}
}

// poll lowers Next.PollBy.
func (j *Job) poll(d time.Duration) {
	if d = max(d, 1); j.pollBy == 0 || d < j.pollBy {
		j.pollBy = d
	}
}
