// Package copyjob copies indices with _reindex tasks: it starts each once, and
// decides what is done about each that ends. The steps reindex and progress share
// it: the first starts the copy, the second starts again what broke off.
//
// Read windows.go for what one task copies, kickoff.go for how a task is started
// once, outcome.go for the table of what is done when one ends, scrolls.go for what
// the source has to keep open, bulksettings.go for how the destination is set up
// meanwhile, and durable.go for when a task counts as done. README.md has a task's
// states as a diagram.
package copyjob

import (
	"context"
	"slices"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/clusters"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Clusters gives access to the destination, and the source's login.
type Clusters interface {
	Open(ctx context.Context, s clusters.Side) (*es.Client, error)
	Login(ctx context.Context, s clusters.Side) (kms.Login, error)
}

// Rows keeps rows of a run.
type Rows interface {
	PutPart(ctx context.Context, runID, name string, v any) error
	GetPart(ctx context.Context, runID, name string, v any) error
}

// Opener opens the copying of runs.
type Opener struct {
	Clusters Clusters
	Rows     Rows
	Now      func() time.Time
	// Split, if set, divides indices otherwise than usual.
	Split Split
}

// Open opens the copying of r.
func (o Opener) Open(ctx context.Context, r *run.Run) (*Job, error) {
	client, err := o.Clusters.Open(ctx, clusters.Destination(r))
	if err != nil {
		return nil, err
	}
	if o.Split == (Split{}) {
		o.Split = usual
	}
	return &Job{
		bulk:     BulkSettings{Client: client, Rows: o.Rows, Now: o.Now, Run: r, From: o.Split.From},
		clusters: o.Clusters, rows: o.Rows, now: o.Now, split: o.Split, run: r, client: client,
	}, nil
}

// Job is one run's copying, within one invocation.
type Job struct {
	clusters Clusters
	rows     Rows
	now      func() time.Time
	split    Split
	run      *run.Run
	client   *es.Client
	bulk     BulkSettings

	observed  time.Time     // when the tasks were read
	pollBy    time.Duration // see Next.PollBy
	divisions []division    // to be made once all tasks have been read
}

// Plan makes the list of tasks and notes what is about to be done: settings that
// are changed for the load, tasks that start. If the next is due, the record must be
// saved before Start. A copy of an earlier generation stops first.
func (j *Job) Plan(ctx context.Context) (Next, error) {
	tasks, err := j.client.Tasks(ctx)
	if err != nil {
		return Next{}, err
	}
	strays := slices.DeleteFunc(slices.Clone(tasks), func(t es.Task) bool { return !ours(j.run, t) || recorded(j.run, t) })
	if running, err := cancelAll(ctx, j.client, strays); running || err != nil {
		return Next{Pause: stopTime, Why: "an earlier copy of this run stops after its current page"}, err
	}
	var fs events.Findings
	OtherWriters(j.run, tasks, &fs)
	if err := fs.Problem("copy", nil); err != nil {
		return Next{}, err
	}
	if err := j.planWindows(ctx); err != nil {
		return Next{}, err
	}
	changes, err := j.bulk.Prepare(ctx)
	if err != nil {
		return Next{}, err
	}
	return Next{Due: j.Intend() || changes}, nil
}

// Stop cancels the run's tasks of every generation, and reports whether any still
// runs. Once none does, settings that were changed for the load are put back, and
// what was stopped is as if it had never been started: it was our own doing.
func (j *Job) Stop(ctx context.Context) (running bool, err error) {
	tasks, err := j.client.Tasks(ctx)
	if err != nil {
		return false, err
	}
	running, err = cancelAll(ctx, j.client, slices.DeleteFunc(tasks, func(t es.Task) bool { return !ours(j.run, t) }))
	if running || err != nil {
		return running, err
	}
	if j.run.Facts.Reindex != nil {
		for i := range j.tasks() {
			if t := &j.tasks()[i]; started(t) {
				reset(t)
			}
		}
	}
	return false, j.Restore(ctx)
}

// Restore puts settings back that were changed for the load.
func (j *Job) Restore(ctx context.Context) error { return j.bulk.Restore(ctx) }

// tasks are the run's.
func (j *Job) tasks() []facts.Task { return j.run.Facts.Reindex.Tasks }

// surveyed is what t's source held when the copy was planned.
func (j *Job) surveyed(t *facts.Task) facts.SurveyedIndex {
	return j.run.Facts.Survey.Indices[position(j.run, t)]
}

// restart has t started once more, at once, with a note of why.
func (j *Job) restart(t *facts.Task, why string) {
	reset(t)
	j.run.Note(j.now(), j.run.Cursor.Step, "copying again", why)
}

// reset forgets a task that has ended, so that its copy can be started again.
func reset(t *facts.Task) {
	t.ID, t.Intent, t.StartedMS, t.OpaqueID, t.NodesAtStart = "", time.Time{}, 0, "", ""
}

// startedBefore reports whether t was started before the run came to this step, or
// was resumed: a person may have fixed since what stopped it.
func (j *Job) startedBefore(t *facts.Task) bool { return t.Intent.Before(j.run.Cursor.Since) }
