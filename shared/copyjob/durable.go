package copyjob

import (
	"context"
	"slices"
	"time"

	"eslink/shared/facts"
)

// A task that writes to an index with settings for the load is done only once what
// it wrote is on disk: until then a node that dies takes it along.

// durable reports whether t is finished, and what it wrote on disk.
func durable(t *facts.Task) bool { return t.Result != nil && t.NodesAtStart == "" }

// atRisk is how long what a task wrote may be lost with a node, and so have to be
// copied again. A flush for each of many short tasks would make as many segments.
const atRisk = time.Minute

// loaded reports whether t writes to an index with settings for the load.
func (j *Job) loaded(t *facts.Task) bool {
	return slices.ContainsFunc(destinations(j.run), func(d *facts.DestinationIndex) bool { return d.Name == t.Dest && d.Load != "" })
}

// noteNodes notes when the destination's nodes started, before a task writes what
// may be lost with one.
func (j *Job) noteNodes(ctx context.Context, t *facts.Task) (err error) {
	if j.loaded(t) {
		t.NodesAtStart, err = j.client.Lives(ctx)
	}
	return err
}

// secure has what finished tasks wrote on disk: when the last bounded window of an
// index is finished, and before if that takes long. What is finished when a node
// has restarted since it was started is copied again: a task's result may outlive
// its documents.
func (j *Job) secure(ctx context.Context) error {
	for _, ix := range j.run.Indices() {
		var finished []*facts.Task
		left, oldest := false, j.observed
		for n := range j.tasks() {
			t := &j.tasks()[n]
			switch {
			case t.Source != ix.Source || t.Dest != ix.Dest || durable(t):
			case t.Result == nil:
				left = left || !lasts(t)
			default:
				finished = append(finished, t)
				if t.Intent.Before(oldest) {
					oldest = t.Intent
				}
			}
		}
		if len(finished) == 0 || left && j.observed.Sub(oldest) < atRisk {
			continue
		}
		if err := j.client.Flush(ctx, ix.Dest); err != nil {
			return err
		}
		nodes, err := j.client.Lives(ctx)
		if err != nil {
			return err
		}
		for _, t := range finished {
			if nodes == t.NodesAtStart {
				err = j.done(ctx, t, t.Result)
			} else {
				t.Result = nil
				err = j.retry(t, "a node of the destination restarted, with documents that were not on its disk yet")
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// done notes that t is finished and what it wrote on disk.
func (j *Job) done(ctx context.Context, t *facts.Task, out *facts.TaskResult) error {
	i, done := position(j.run, t), *t
	done.Result, done.NodesAtStart = out, ""
	if err := j.addRejections(ctx, t, out); err != nil {
		return err
	}
	if windowed(t) {
		if err := j.rows.PutPart(ctx, j.run.ID, windowRow(i, t), done); err != nil {
			return err
		}
	}
	*t = done
	for n := range j.tasks() {
		// The last window starts when the source shows all that the others may have
		// missed.
		other := &j.tasks()[n]
		if lasts(other) && sameIndex(other, t) && other.Result == nil && other.Intent.IsZero() && !j.waitsForOthers(other) {
			other.NotBefore = j.observed.Add(settle(j.run.Facts.Survey.Indices[i].Refresh))
		}
	}
	return nil
}
