// Package copying starts _reindex tasks, each once, and reads what becomes of
// them. The steps reindex and progress share it: the first starts the copy, the
// second starts again what was lost on the way.
package copying

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"eslink/events"
	"eslink/shared/access"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/run"
)

// Parallel is how many tasks run at once: each holds a scroll on every shard of
// its source, and pages in the destination's memory.
const Parallel = 4

// What breaks off and may pass is started again after a pause, longer each time
// (15 s to 10 min, 45 minutes in all), before a person looks.
const (
	maxLost   = 8
	minPause  = 15 * time.Second
	maxPause  = 10 * time.Minute
	pageSize  = 1000 // Elasticsearch's own, if the spec names none
	shrinking = 4    // a page that was too large becomes this much smaller
)

// Clusters gives access to the instance, and the target's login.
type Clusters interface {
	Open(ctx context.Context, s access.Side) (*es.Client, error)
	Login(ctx context.Context, s access.Side) (kms.Login, error)
}

// Copy is one run's copying, within one invocation.
type Copy struct {
	Clusters Clusters
	Now      func() time.Time
	run      *run.Run
	client   *es.Client
}

// Open opens the instance for r.
func Open(ctx context.Context, c Clusters, now func() time.Time, r *run.Run) (*Copy, error) {
	client, err := c.Open(ctx, access.Instance(r))
	if err != nil {
		return nil, err
	}
	return &Copy{c, now, r, client}, nil
}

// Plan makes the list of tasks, one per index, in the spec's order. A copy that
// runs is kept, and one that was finished too if nothing has changed at its
// source since.
func Plan(r *run.Run) {
	old := tasks(r)
	plan := make([]run.Task, len(r.Spec.Indices))
	for i, ix := range r.Spec.Indices {
		t := old[key(ix.Source, ix.Dest)]
		if running := !t.Intent.IsZero() && t.Result == nil; !running && !Copied(r, i) {
			t = run.Task{Source: ix.Source, Dest: ix.Dest, Attempt: t.Attempt, SourceState: r.Facts.Survey.Indices[i].State}
		}
		plan[i] = t
	}
	r.Facts.Reindex = &run.Reindex{Tasks: plan}
}

// Copied reports whether the spec's i-th index was copied whole, and its source
// has not changed since.
func Copied(r *run.Run, i int) bool {
	ix := r.Spec.Indices[i]
	t := tasks(r)[key(ix.Source, ix.Dest)]
	return t.Result != nil && clean(t.Result) && t.SourceState == r.Facts.Survey.Indices[i].State
}

// Drop forgets what was copied into an index that is not there any more.
func Drop(r *run.Run, dest string) {
	if r.Facts.Reindex == nil {
		return
	}
	for i, t := range r.Facts.Reindex.Tasks {
		if t.Dest == dest { // the attempt stays: it names the next task
			r.Facts.Reindex.Tasks[i] = run.Task{Source: t.Source, Dest: t.Dest, Attempt: t.Attempt}
		}
	}
}

// Distrust has the spec's i-th index copied again by the next walk, whatever its
// source says: the proof found documents missing or other.
func Distrust(r *run.Run, i int) { r.Facts.Reindex.Tasks[i].SourceState = "" }

func key(source, dest string) string { return source + "\x00" + dest }

func tasks(r *run.Run) map[string]run.Task {
	known := map[string]run.Task{}
	if r.Facts.Reindex != nil {
		for _, t := range r.Facts.Reindex.Tasks {
			known[key(t.Source, t.Dest)] = t
		}
	}
	return known
}

func clean(res *run.TaskResult) bool {
	return res.FailureCount == 0 && res.VersionConflicts == 0 && !res.Cancelled
}

// Intend notes that the tasks that are due now are about to be started, and
// reports whether there are any. The note must be saved before Start.
func (c *Copy) Intend() bool {
	busy, now := 0, c.Now()
	tasks := c.run.Facts.Reindex.Tasks
	for i := range tasks {
		if t := &tasks[i]; !t.Intent.IsZero() && t.Result == nil {
			busy++
		}
	}
	intended := false
	for i := range tasks {
		t := &tasks[i]
		if busy >= Parallel || !t.Intent.IsZero() || t.Result != nil || now.Before(t.NotBefore) {
			continue
		}
		t.Attempt++
		t.OpaqueID = fmt.Sprintf("eslink/%s/%d/%d/%d", c.run.ID, c.run.Generation, i, t.Attempt)
		t.Intent = now
		busy++
		intended = true
	}
	return intended
}

// Pause is how long every copy that is left waits before it is started again,
// or 0 if one is under way or due.
func (c *Copy) Pause() time.Duration {
	var pause time.Duration
	for _, t := range c.run.Facts.Reindex.Tasks {
		if t.Result != nil {
			continue
		}
		left := t.NotBefore.Sub(c.Now())
		if !t.Intent.IsZero() || left <= 0 {
			return 0
		}
		if pause == 0 || left < pause {
			pause = left
		}
	}
	return pause
}

// Start starts the intended tasks.
//
// Pasts of a kick-off: never sent; sent and its reply lost, or the record not
// saved. Then the task runs under our X-Opaque-Id and is adopted, or it has
// ended: its stored result could be found by an ID alone, which nobody has. If
// no task runs it is sent (again): documents are written under their own IDs, so
// a second copy of the same ones does no harm.
func (c *Copy) Start(ctx context.Context) error {
	for i := range c.run.Facts.Reindex.Tasks {
		t := &c.run.Facts.Reindex.Tasks[i]
		if t.Intent.IsZero() || t.ID != "" || t.Result != nil {
			continue
		}
		found, ok, err := c.client.FindTask(ctx, t.OpaqueID)
		if err != nil {
			return err
		}
		if !ok {
			if found.ID, err = c.kickOff(ctx, i, t); err != nil {
				return err
			}
		}
		t.ID, t.StartedMS = found.ID, found.StartedMS
	}
	return nil
}

func (c *Copy) kickOff(ctx context.Context, i int, t *run.Task) (string, error) {
	spec := c.run.Spec
	source := access.Target(c.run)
	login, err := c.Clusters.Login(ctx, source)
	if err != nil {
		return "", err
	}
	b := es.ReindexBody{Conflicts: spec.Reindex.Conflicts, Dest: es.ReindexDest{Index: t.Dest},
		Source: es.ReindexSource{Index: t.Source, Query: spec.Indices[i].Query, Size: cmp.Or(t.Size, spec.Reindex.Size), Remote: Remote(c.run, login)}}
	rate := spec.Reindex.RequestsPerSecond
	if c.run.RequestsPerSecond != nil {
		rate = c.run.RequestsPerSecond
	}
	return c.client.Reindex(ctx, b, t.OpaqueID, rate)
}

// Remote is the target as the instance sees it, through the link.
func Remote(r *run.Run, login kms.Login) es.Remote {
	protocol, port := r.Spec.Source()
	return es.Remote{
		Host:     fmt.Sprintf("%s://%s:%d", protocol, r.Facts.Accept.Domain, port),
		Username: login.Username, Password: login.Password,
		SocketTimeout: r.Spec.Reindex.SocketTimeout, ConnectTimeout: r.Spec.Reindex.ConnectTimeout,
	}
}

// Observe reads every started task once and notes what it says. It returns how
// many are unfinished, started or not.
func (c *Copy) Observe(ctx context.Context) (unfinished int, status es.TaskStatus, err error) {
	for i := range c.run.Facts.Reindex.Tasks {
		t := &c.run.Facts.Reindex.Tasks[i]
		if t.Result == nil && t.ID != "" {
			got, err := c.observe(ctx, i, t)
			if err != nil {
				return 0, status, err
			}
			status.Total += got.Total
			status.Created += got.Processed()
		}
		if t.Result == nil {
			unfinished++
			continue
		}
		status.Total += t.Result.Total
		status.Created += t.Result.Created + t.Result.Updated + t.Result.Deleted + t.Result.Noops + t.Result.VersionConflicts
	}
	return unfinished, status, nil
}

func (c *Copy) observe(ctx context.Context, i int, t *run.Task) (es.TaskStatus, error) {
	got, err := c.client.Task(ctx, t.ID)
	switch {
	case apierr.IsNotFound(err):
		return es.TaskStatus{}, c.again(t, "the cluster knows nothing of task "+t.ID+" any more (a node restarted?)")
	case err != nil:
		return es.TaskStatus{}, err
	case got.OpaqueID != t.OpaqueID || t.StartedMS != 0 && got.StartedMS != t.StartedMS:
		// Task numbers start again with a node, so an ID can be given out twice.
		return es.TaskStatus{}, c.again(t, "task "+t.ID+" is somebody else's now (a node restarted)")
	case got.Error != nil:
		return es.TaskStatus{}, c.failed(i, t, got.Error)
	case !got.Completed:
		t.StartedMS = got.StartedMS
		if want := c.run.RequestsPerSecond; want != nil && got.Status.RequestsPerSecond != *want {
			return got.Status, c.client.Rethrottle(ctx, t.ID, *want)
		}
		return got.Status, nil
	case got.Response == nil:
		return es.TaskStatus{}, c.again(t, "task "+t.ID+" ended without a result")
	}
	return es.TaskStatus{}, c.finished(i, t, got.Response)
}

// reset forgets a task that is over, so that the copy can be started again.
func reset(t *run.Task) {
	t.ID, t.Intent, t.StartedMS, t.OpaqueID = "", time.Time{}, 0, ""
}

// again has a copy started once more, after a pause, with a note of why.
func (c *Copy) again(t *run.Task, why string) error {
	reset(t)
	t.NotBefore = c.Now().Add(min(minPause<<t.Lost, maxPause))
	t.Lost++
	c.run.Note(c.Now(), c.run.Cursor.Step, "copying again", why)
	if lost := t.Lost; lost > maxLost {
		t.Lost, t.NotBefore = 0, time.Time{} // a person looks, and retry means to go on
		return events.NewProblem(409, "copy", fmt.Sprintf("the copy of %s into %s was lost %d times", t.Source, t.Dest, lost),
			events.Finding{Message: why, Remedy: "look at both clusters' health and load and at function check, then send action retry"})
	}
	return nil
}

// passing are errors that end a task and may be gone next time: the link or the
// source was away, or the destination had too much to do.
func passing(kind string) bool {
	switch kind {
	case "connect_exception", "connection_closed_exception", "socket_timeout_exception", "unknown_host_exception",
		"no_route_to_host_exception", "i_o_exception", "node_closed_exception", "search_context_missing_exception", rejected:
		return true
	}
	return false
}

// rejected is a page that is too much for the destination as it is, by its size
// or by what else goes on; tooLong one that is over Elasticsearch's own limit.
const (
	rejected = "es_rejected_execution_exception"
	tooLong  = "content_too_long_exception"
)

func tooLarge(kind string) bool { return kind == rejected || kind == tooLong }

func (c *Copy) failed(i int, t *run.Task, cause *es.Cause) error {
	status := cause.RemoteStatus()
	size := cmp.Or(t.Size, c.run.Spec.Reindex.Size, pageSize)
	shrinks := status == 0 && cause.Is(tooLarge) && size > 1
	if shrinks {
		t.Size = max(1, size/shrinking)
	}
	if shrinks || cause.Is(passing) || status == http.StatusTooManyRequests || status >= 500 {
		return c.again(t, cause.String())
	}
	reset(t) // retry starts a new one
	finding := events.Finding{Field: fmt.Sprintf("indices[%d]", i), Message: cause.String(), Remedy: "mend that, then send action retry"}
	if status == http.StatusUnauthorized {
		finding.Field = "secrets.target"
		finding.Message = "the source refuses the login of secret " + c.run.Spec.Secrets.Target + ", seen from " + c.run.Spec.InstanceID
		finding.Remedy = "put the right password into that secret, then send action retry"
	}
	return events.NewProblem(409, "copy", "the copy of "+t.Source+" into "+t.Dest+" broke off", finding)
}

// refused reports whether the index refuses all writes: what says nothing of a
// document, and does not pass by itself. A full disk is a block, too.
func refused(f es.Failure) bool {
	return f.Cause != nil && (f.Status == http.StatusForbidden || f.Status == http.StatusNotFound || f.Cause.Type == "cluster_block_exception")
}

// passes reports whether a failure says nothing of a document and may pass: a
// shard of the source could not be read, or one of the destination not written.
func passes(f es.Failure) bool {
	return f.Cause == nil || f.Status == http.StatusTooManyRequests || f.Status >= 500
}

// kept bounds the failures that the record keeps word for word.
const kept = 20

func (c *Copy) finished(i int, t *run.Task, res *es.TaskResponse) error {
	out := &run.TaskResult{Total: res.Total, Created: res.Created, Updated: res.Updated, Deleted: res.Deleted, Noops: res.Noops,
		VersionConflicts: res.VersionConflicts, FailureCount: len(res.Failures), Cancelled: res.Canceled != ""}
	for _, f := range res.Failures[:min(kept, len(res.Failures))] {
		out.Failures = append(out.Failures, f.String())
	}
	what := "the copy of " + t.Source + " into " + t.Dest
	switch {
	case slices.ContainsFunc(res.Failures, refused):
		reset(t)
		return events.NewProblem(409, "copy", what+" was refused",
			events.Finding{Field: fmt.Sprintf("indices[%d].dest", i), Message: res.Failures[slices.IndexFunc(res.Failures, refused)].String(),
				Remedy: "lift what refuses the write, then send action retry"})
	case slices.ContainsFunc(res.Failures, passes):
		return c.again(t, res.Failures[slices.IndexFunc(res.Failures, passes)].String())
	case res.TimedOut:
		return c.again(t, "the source did not answer a page in time")
	case out.Cancelled:
		// Somebody wanted that; to start again at once would be to quarrel.
		id := t.ID
		reset(t)
		return events.NewProblem(409, "copy", what+" was cancelled by somebody",
			events.Finding{Field: fmt.Sprintf("indices[%d]", i), Message: fmt.Sprintf("task %s was cancelled on %s after %d of %d documents", id, c.run.Spec.InstanceID, res.Processed(), res.Total),
				Remedy: "ask who did and why, then send action retry, with action throttle if it was too much"})
	}
	t.Result = out
	return nil
}

// Cancel stops what runs and reports whether anything still does.
func (c *Copy) Cancel(ctx context.Context) (running bool, err error) {
	for i := range c.run.Facts.Reindex.Tasks {
		t := &c.run.Facts.Reindex.Tasks[i]
		if t.Result != nil || t.Intent.IsZero() {
			continue
		}
		id := t.ID
		if id == "" { // its reply may be lost
			found, ok, err := c.client.FindTask(ctx, t.OpaqueID)
			if err != nil {
				return false, err
			}
			if !ok {
				continue
			}
			id = found.ID
		}
		got, err := c.client.Task(ctx, id)
		if apierr.IsNotFound(err) || err == nil && (got.Completed || got.OpaqueID != t.OpaqueID) {
			continue
		}
		if err != nil {
			return false, err
		}
		if err := c.client.CancelTask(ctx, id, false); err != nil {
			return false, err
		}
		running = true
	}
	return running, nil
}
