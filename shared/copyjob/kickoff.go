package copyjob

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"eslink/shared/aliyun/kms"
	"eslink/shared/clusters"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Intend notes that the tasks that are due now are about to be started, and
// reports whether there are any. The note must be saved before Start.
func (j *Job) Intend() bool {
	now := j.now()
	if now.Before(j.scrollsFreeAt()) {
		return false
	}
	tasks, running := j.tasks(), 0
	for i := range tasks {
		if started(&tasks[i]) {
			running++
		}
	}
	intended := false
	for i := range tasks {
		t := &tasks[i]
		if running >= cmp.Or(j.run.Facts.Reindex.Parallel, Parallel) {
			break
		}
		if t.Result != nil || started(t) || now.Before(t.NotBefore) || j.waitsForOthers(t) {
			continue
		}
		t.Attempt++
		t.OpaqueID = fmt.Sprintf("%s%d/%d", indexPrefix(j.run, t), t.Window, t.Attempt)
		t.Intent = now
		running++
		intended = true
	}
	return intended
}

// started reports whether t runs, or is about to.
func started(t *facts.Task) bool { return t.Result == nil && !t.Intent.IsZero() }

// runPrefix begins the X-Opaque-Id of every task of a run, of any generation;
// indexPrefix that of every task of t's index in this generation.
func runPrefix(r *run.Run) string { return "eslink/" + r.ID + "/" }
func indexPrefix(r *run.Run, t *facts.Task) string {
	return fmt.Sprintf("%s%d/%d/", runPrefix(r), r.Generation, position(r, t))
}

// Start changes the settings and starts the tasks that were noted.
//
// Possible prior states of a kick-off: never sent; sent and its reply lost, or the
// record not saved. Then the task runs under our X-Opaque-Id and is adopted, or it
// has ended: its stored result could be found by an ID alone, which nobody has. If
// no task runs it is sent (again): documents are written under their own IDs, so a
// second copy of the same ones does no harm.
func (j *Job) Start(ctx context.Context) error {
	if err := j.bulk.Apply(ctx); err != nil {
		return err
	}
	var running []es.Task
	for i := range j.tasks() {
		t := &j.tasks()[i]
		if t.Intent.IsZero() || t.ID != "" {
			continue
		}
		if running == nil {
			var err error
			if running, err = j.client.Tasks(ctx); err != nil {
				return err
			}
		}
		if err := j.start(ctx, t, running); err != nil {
			return err
		}
	}
	return nil
}

func (j *Job) start(ctx context.Context, t *facts.Task, running []es.Task) error {
	for _, found := range running {
		if found.OpaqueID == t.OpaqueID {
			t.ID, t.StartedMS = found.ID, found.StartedMS
			if t.NodesAtStart == "" { // it has been on its own node since that started, at least
				return j.noteNodes(ctx, t)
			}
			return nil
		}
	}
	for _, found := range running {
		if lasts(t) && strings.HasPrefix(found.OpaqueID, indexPrefix(j.run, t)) {
			// A kick-off that came late copies a window a second time. It must not
			// write older versions after the last window's.
			return j.client.CancelTask(ctx, found.ID, false)
		}
	}
	if err := j.noteNodes(ctx, t); err != nil {
		return err
	}
	b, err := j.body(ctx, t)
	if err != nil {
		return err
	}
	t.ID, err = j.client.Reindex(ctx, b, t.OpaqueID, j.rate(t))
	return err
}

// body says what t copies.
func (j *Job) body(ctx context.Context, t *facts.Task) (es.ReindexBody, error) {
	login, err := j.clusters.Login(ctx, clusters.Source(j.run))
	if err != nil {
		return es.ReindexBody{}, err
	}
	q, err := query(j.run.Indices()[position(j.run, t)], t, t.LeftOut)
	if err != nil {
		return es.ReindexBody{}, err
	}
	spec := j.run.Spec.Reindex
	b := es.ReindexBody{Conflicts: spec.Conflicts, Dest: es.ReindexDest{Index: t.Dest},
		Source: es.ReindexSource{Index: t.Source, Query: q, Size: cmp.Or(t.Size, spec.Size), Remote: Remote(j.run, login)}}
	if KeepsVersions(j.run, position(j.run, t)) {
		b.Dest.VersionType = "external_gte" // a repeat conflicts with nothing
	}
	if t.Ordered {
		b.Source.Sort = "_seq_no"
	}
	if keep := j.keepAliveOf(t); keep != keepAlive {
		b.Scroll = keep
	}
	return b, nil
}

// rate is what a task may write, in documents a second, nil if nothing is said of
// it. What is asked for is an index's: its windows share it.
func (j *Job) rate(t *facts.Task) *float64 {
	rate := j.run.Spec.Reindex.RequestsPerSecond
	if j.run.RequestsPerSecond != nil {
		rate = j.run.RequestsPerSecond
	}
	if rate != nil && *rate > 0 && windowed(t) && !lasts(t) {
		share := *rate / float64(cmp.Or(j.run.Facts.Reindex.Parallel, Parallel))
		rate = &share
	}
	if t.PerSecond > 0 && (rate == nil || *rate < 0 || *rate > t.PerSecond) {
		rate = &t.PerSecond
	}
	return rate
}

// Remote is the source as the destination sees it, through the link.
func Remote(r *run.Run, login kms.Login) es.Remote {
	protocol, port := r.Spec.Source()
	return es.Remote{
		Host:     fmt.Sprintf("%s://%s:%d", protocol, r.Facts.Link().Host, port),
		Username: login.Username, Password: login.Password,
		SocketTimeout: r.Spec.Reindex.SocketTimeout, ConnectTimeout: r.Spec.Reindex.ConnectTimeout,
	}
}

// Pause is how long every copy that is left waits before it is started again, and
// what for, or 0 if one is under way or due.
func (j *Job) Pause() (pause time.Duration, why string) {
	free := j.scrollsFreeAt()
	why = "what is left starts then"
	if free.After(j.now()) {
		why = "what is left starts when the source has closed scrolls that copies left open as they broke off"
	}
	for i := range j.tasks() {
		t := &j.tasks()[i]
		if t.Result != nil || j.waitsForOthers(t) {
			continue
		}
		left := max(t.NotBefore.Sub(j.now()), free.Sub(j.now()))
		if !t.Intent.IsZero() || left <= 0 {
			return 0, ""
		}
		if pause == 0 || left < pause {
			pause = left
		}
	}
	return pause, why
}

// crowded reports whether a task waits for the place of one that runs.
func (j *Job) crowded() bool {
	return slices.ContainsFunc(j.tasks(), func(t facts.Task) bool { return t.Result == nil && t.Intent.IsZero() })
}
