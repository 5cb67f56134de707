package copyjob

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"eslink/events"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Documents that the destination rejects must not take others along. _reindex ends
// with the page that one is rejected in: that page's other documents are written, and
// the rejected ones are named, but later pages are not read. So a window of several
// pages that meets one is divided until each piece is a page: a piece that is copied in
// one page is complete, whatever is rejected in it. A document is read once a level, of
// which there are as many as the logarithm of the pages to the base 16, about four.

// MaxRejected is how many documents of an index may be rejected if the spec does not
// say. Where more are, it is the mappings that do not fit.
const MaxRejected = 10_000

// maxRejected is what the spec allows.
func maxRejected(r events.Reindex) int {
	if r.MaxRejected != nil {
		return *r.MaxRejected
	}
	return MaxRejected
}

// exclude has what a window of several pages did not come to copied in smaller
// windows. A window that was read in one page is complete, but for what it names.
func (j *Job) exclude(ctx context.Context, t *facts.Task, res *es.TaskResponse, why string) error {
	named := 0
	for _, f := range res.Failures {
		if rejectsDocument(f) {
			named++
		}
	}
	if n := rejectedOf(j.run, t).Count + named; n > maxRejected(j.run.Spec.Reindex) {
		return j.misfit(ctx, t, res, n, why)
	}
	page := int64(j.size(t))
	if res.Total <= page {
		return j.complete(ctx, t, res)
	}
	pieces := min(res.Total/page+res.Total/(10*page)+1, maxPieces)
	if j.divisible(t) {
		j.restart(t, fmt.Sprintf("%d documents of %s%s do not fit %s, such as %s: what is left is copied in smaller windows", named, t.Source, within(t), t.Dest, why))
		j.divideLater(t, max(pieces, 2))
		return nil
	}
	// Nothing tells where it could be divided: what is named is left out instead.
	if len(t.LeftOut)+named > maxLeftOut {
		return j.complete(ctx, t, res)
	}
	for _, f := range res.Failures {
		if rejectsDocument(f) {
			leaveOut(t, f.ID, f.String())
		}
	}
	j.restart(t, fmt.Sprintf("the copy of %s into %s without %d documents that do not fit, such as %s", t.Source, t.Dest, len(t.LeftOut), why))
	return nil
}

// misfit stops a copy of which too much is rejected.
func (j *Job) misfit(ctx context.Context, t *facts.Task, res *es.TaskResponse, n int, why string) error {
	if _, err := j.keepRejections(ctx, t, res); err != nil {
		return err
	}
	reset(t)
	return events.NewProblem(409, "copy", "the mapping of "+t.Dest+" does not fit what is copied",
		events.Finding{Field: j.run.Entry(position(j.run, t)) + ".destination.mappings",
			Message: fmt.Sprintf("%s rejects at least %d documents of %s, more than the %d that reindex.maxRejected allows, such as %s", t.Dest, n, t.Source, maxRejected(j.run.Spec.Reindex), why),
			Remedy:  "give mappings that fit, into another dest; or leave such documents out with indices[].query, or allow more with reindex.maxRejected; then start again"})
}

// maxLeftOut is how many documents a task leaves out by their IDs.
const maxLeftOut = 50

// leaveOut has t copied without a document, and says why.
func leaveOut(t *facts.Task, id, why string) {
	if t.LeftOut == nil {
		t.LeftOut = map[string]string{}
	}
	t.LeftOut[id] = why
}

// rejectedOf counts what was rejected of t's index.
func rejectedOf(r *run.Run, t *facts.Task) facts.RejectedDocuments {
	for _, f := range r.Facts.Reindex.Rejected {
		if f.Source == t.Source && f.Dest == t.Dest {
			return f
		}
	}
	return facts.RejectedDocuments{Source: t.Source, Dest: t.Dest}
}

// Rows of a run: those of a task that ended, and those of an index, which only has
// what tasks that are done were told.
func taskRejections(i int, t *facts.Task, n int) string {
	return fmt.Sprintf("failures/%05d/%05d/%d/%03d", i, t.Window, t.Attempt, n)
}
func indexRejections(i, n int) string { return fmt.Sprintf("rejected/%05d/%06d", i, n) }

// perRejections bounds a row of them: an ID has 512 bytes at most, a reason is cut.
const (
	perRejections = 500
	maxReason     = 400
)

// keepRejections keeps what a task was told in rows of its own, and returns how many.
func (j *Job) keepRejections(ctx context.Context, t *facts.Task, res *es.TaskResponse) (rows int, err error) {
	var list []facts.Rejection
	for _, id := range slices.Sorted(maps.Keys(t.LeftOut)) {
		list = append(list, facts.Rejection{ID: id, Reason: t.LeftOut[id]})
	}
	for _, f := range res.Failures {
		reason := f.String()
		list = append(list, facts.Rejection{ID: f.ID, Reason: reason[:min(len(reason), maxReason)]})
	}
	for part := range slices.Chunk(list, perRejections) {
		if err := j.rows.PutPart(ctx, j.run.ID, taskRejections(position(j.run, t), t, rows), part); err != nil {
			return rows, err
		}
		rows++
	}
	return rows, nil
}

// addRejections adds a task's to those of its index, once what it wrote is on disk.
func (j *Job) addRejections(ctx context.Context, t *facts.Task, out *facts.TaskResult) error {
	if out.FailureCount == 0 {
		return nil
	}
	i, sum := position(j.run, t), rejectedOf(j.run, t)
	for n := range out.FailureRows {
		var list []facts.Rejection
		if err := j.rows.GetPart(ctx, j.run.ID, taskRejections(i, t, n), &list); err != nil {
			return err
		}
		if err := j.rows.PutPart(ctx, j.run.ID, indexRejections(i, sum.Rows), list); err != nil {
			return err
		}
		sum.Rows++
	}
	sum.Count += out.FailureCount
	list := &j.run.Facts.Reindex.Rejected
	*list = append(slices.DeleteFunc(*list, func(f facts.RejectedDocuments) bool { return f.Source == t.Source && f.Dest == t.Dest }), sum)
	return nil
}

// Rejected is what the destination rejected of the spec's i-th index, and how many
// rows name it.
func Rejected(r *run.Run, i int) facts.RejectedDocuments {
	ix := r.Indices()[i]
	if r.Facts.Reindex == nil {
		return facts.RejectedDocuments{Source: ix.Source, Dest: ix.Dest}
	}
	return rejectedOf(r, &facts.Task{Source: ix.Source, Dest: ix.Dest})
}

// Rejections reads the n-th of those rows.
func Rejections(ctx context.Context, rows Rows, r *run.Run, i, n int) (list []facts.Rejection, err error) {
	err = rows.GetPart(ctx, r.ID, indexRejections(i, n), &list)
	return list, err
}
