package copyjob

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/facts"
)

// What breaks off and may pass is started again after a pause, longer each time
// (250 ms to 512 s, half an hour in all), before a person looks. While anything comes
// through, the pause stays short; but not for ever.
const (
	maxRetries  = 24
	minPause    = 250 * time.Millisecond
	fewRetries  = 1 // counted at most, when something comes through
	maxAttempts = 100
	// restPause is that of an overloaded destination.
	restPause = 15 * time.Second
)

// ended does about t what the table says of its end.
func (j *Job) ended(ctx context.Context, t *facts.Task, e ending) error {
	o, why := e.outcome()
	if e.leaksScrolls() {
		j.recordLeakedScrolls(t)
	}
	switch o.do {
	case complete:
		if e.got.Response == nil {
			e.got.Response = &es.TaskResponse{TaskStatus: e.got.Status}
			j.run.Note(j.now(), j.run.Cursor.Step, "copied to the last document", why)
		}
		return j.complete(ctx, t, e.got.Response)
	case lookAndRun:
		if err := j.diskFull(ctx, t); err != nil {
			return err
		}
		return j.retry(t, why)
	case retry:
		return j.retryInPieces(t, e, why)
	case smaller:
		j.halveRate(t, e.got.Status, e.got.Running)
		if j.smaller(t, why) {
			j.rest(t)
			return nil
		}
		err := j.retryWhole(t, e, why)
		j.rest(t)
		return err
	case slower:
		err := j.retry(t, why)
		j.halveRate(t, e.got.Response.TaskStatus, e.got.Running)
		j.rest(t)
		return err
	case isolate:
		return j.isolate(ctx, t, e.got.Status, e.got.Error)
	case exclude:
		return j.exclude(ctx, t, e.got.Response, why)
	case stopOrRerun:
		if j.startedBefore(t) {
			j.restart(t, why)
			return nil
		}
	}
	reset(t) // retry starts a new one
	return j.stopped(t, e, why)
}

// stopped says what a person has to do.
func (j *Job) stopped(t *facts.Task, e ending, why string) error {
	i := position(j.run, t)
	what := "the copy of " + t.Source + " into " + t.Dest
	f := events.Finding{Field: j.run.Entry(i), Message: why, Remedy: "fix the cause, then send action retry"}
	switch {
	case e.got.Error != nil:
		what += " broke off"
		if e.got.Error.RemoteStatus() == http.StatusUnauthorized {
			f.Field = "secrets.target"
			f.Message = "the source refuses the login of secret " + j.run.Spec.Secrets.Target + ", seen from " + j.run.Spec.InstanceID
			f.Remedy = "put the right password into that secret, then send action retry"
		}
	case e.got.Response.Canceled != "":
		// Cancelled by an operator: to restart it automatically would undo that.
		what += " was cancelled by somebody"
		f.Message += " on " + j.run.Spec.InstanceID
		f.Remedy = "ask who did and why, then send action retry, with action throttle if it was too much"
	default:
		what += " was refused"
		f.Field += ".dest"
		f.Remedy = "lift what refuses the write, then send action retry"
	}
	return events.NewProblem(409, "copy", what, f)
}

// retryInPieces is retryWhole; what came through before a window broke off says in
// how many pieces it is tried again.
func (j *Job) retryInPieces(t *facts.Task, e ending, why string) error {
	err := j.retryWhole(t, e, why)
	if e.got.Error != nil {
		j.divideBroken(t, e.got.Status)
	}
	return err
}

// retryWhole has a copy started again; if some came through, the pause stays short.
func (j *Job) retryWhole(t *facts.Task, e ending, why string) error {
	if e.got.Error != nil && e.got.Status.Processed() > 0 {
		t.Retries = min(t.Retries, fewRetries)
	}
	return j.retry(t, why)
}

// retry has a copy started again, after a pause, with a note of why.
func (j *Job) retry(t *facts.Task, why string) error {
	reset(t)
	t.NotBefore = j.now().Add(minPause << (t.Retries / 2))
	t.Retries++
	j.run.Note(j.now(), j.run.Cursor.Step, "copying again", why)
	if n := t.Retries; n > maxRetries || t.Attempt%maxAttempts == 0 {
		j.resetRetries() // a person looks, and retry means to go on
		return events.NewProblem(409, "copy", fmt.Sprintf("the copy of %s into %s was lost %d times", t.Source, t.Dest, max(n, t.Attempt)),
			events.Finding{Message: why, Remedy: "look at both clusters' health and load and at function check, then send action retry"})
	}
	return nil
}

// resetRetries forgets how often copies were started again: those that still run
// will break off for the same reason, and a person's retry is for all of them.
func (j *Job) resetRetries() {
	for i := range j.tasks() {
		if t := &j.tasks()[i]; t.Retries > 0 {
			t.Retries, t.NotBefore = 0, time.Time{}
		}
	}
}

// rest leaves an overloaded destination alone for a while.
func (j *Job) rest(t *facts.Task) {
	if rested := j.now().Add(restPause); t.NotBefore.Before(rested) {
		t.NotBefore = rested
	}
}

// halveRate halves the rate of a copy that overloads the destination.
func (j *Job) halveRate(t *facts.Task, s es.TaskStatus, running time.Duration) {
	if s.Processed() > 0 && running > 0 {
		t.PerSecond = max(1, float64(s.Processed())/running.Seconds()/2)
	}
}

// size is how many documents a page of t has.
func (j *Job) size(t *facts.Task) int { return cmp.Or(t.Size, j.run.Spec.Reindex.Size, pageSize) }

// smaller has a copy started again with pages of half the size, unless they are of
// one document.
func (j *Job) smaller(t *facts.Task, why string) bool {
	size := j.size(t) / 2
	if size == 0 {
		return false
	}
	t.Size = size
	j.run.Note(j.now(), j.run.Cursor.Step, "smaller pages", fmt.Sprintf("%d documents of %s%s: %s", size, t.Source, within(t), why))
	reset(t)
	return true
}

// diskFull stops the run if a disk of the destination is full: its nodes block all
// indices then, and with them the one that keeps what tasks report.
func (j *Job) diskFull(ctx context.Context, t *facts.Task) error {
	def, err := j.client.Definition(ctx, t.Dest)
	if apierr.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if block, err := es.Setting(def.Settings, "blocks.read_only_allow_delete"); err != nil || block != "true" {
		return err
	}
	reset(t)
	return events.NewProblem(409, "copy", "the copy of "+t.Source+" into "+t.Dest+" was refused",
		events.Finding{Field: j.run.Entry(position(j.run, t)) + ".dest", Message: "disk usage exceeded flood-stage watermark, index has read-only-allow-delete block",
			Remedy: "make room on the disks of " + j.run.Spec.InstanceID + ", which lifts the block, then send action retry"})
}

// windowRow has what a window reported.
func windowRow(i int, t *facts.Task) string { return fmt.Sprintf("window/%05d/%05d", i, t.Window) }

// complete notes what a task reported that has copied all it could.
func (j *Job) complete(ctx context.Context, t *facts.Task, res *es.TaskResponse) error {
	rows, err := j.keepRejections(ctx, t, res)
	if err != nil {
		return err
	}
	out := &facts.TaskResult{Total: res.Total + int64(len(t.LeftOut)), Created: res.Created, Updated: res.Updated, Deleted: res.Deleted, Noops: res.Noops,
		VersionConflicts: res.VersionConflicts, FailureCount: len(res.Failures) + len(t.LeftOut), FailureRows: rows}
	for i := range j.tasks() { // something comes through
		other := &j.tasks()[i]
		other.Retries = min(other.Retries, fewRetries)
	}
	if t.NodesAtStart != "" { // secure sees to the rest
		t.Result = out
		return nil
	}
	return j.done(ctx, t, out)
}
