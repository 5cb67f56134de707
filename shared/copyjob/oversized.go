package copyjob

import (
	"context"
	"fmt"
	"strings"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/facts"
)

// What a window becomes when a page of it is too long: its neighbours should not be
// read one by one for the sake of one document.
const quarters = 4

// isolate looks for the document that makes a page longer than the 100 MB that
// _reindex takes from another cluster. Pages become smaller, and windows of more
// than a thousand documents narrower, until a page of one document is too long. The
// order in which a scroll reads is another with each copy of a shard; so that the
// document has a place, it is read once more in the order of sequence numbers. By
// that its ID is told, and the others are copied without it.
func (j *Job) isolate(ctx context.Context, t *facts.Task, s es.TaskStatus, cause *es.Cause) error {
	if j.smaller(t, cause.String()) {
		if j.documents(t, s) > pageSize {
			j.divideLater(t, quarters)
		}
		return nil
	}
	if !t.Ordered {
		t.Ordered = true
		j.restart(t, "a page of one document: "+cause.String())
		return nil
	}
	before := s.Processed()
	what := fmt.Sprintf("a document of %s%s, the one after %d others,", t.Source, within(t), before)
	id, err := j.name(ctx, t, before)
	switch {
	case err == nil:
		what = fmt.Sprintf("document %s in %s", id, t.Source)
	case ctx.Err() != nil || apierr.ClassOf(err) != apierr.Fatal:
		return err
	default:
		j.run.Note(j.now(), j.run.Cursor.Step, "no name", err.Error())
	}
	for cause.Type != tooLong && cause.CausedBy != nil { // what is around it says to use smaller pages
		cause = cause.CausedBy
	}
	told := fmt.Sprintf("%s is larger than the 100 MB that _reindex takes from another cluster (%s): move it by itself", what, cause.Reason)
	if cause.Type != tooLong {
		reason, _, _ := strings.Cut(cause.Reason, "\n") // what follows may be the document's own words
		told = fmt.Sprintf("%s is not JSON that _reindex can read (%s: %s): write it again at the source, or move it by itself", what, cause.Type, reason)
	}
	if err == nil && len(t.LeftOut) < maxLeftOut {
		leaveOut(t, id, told)
		j.restart(t, "without what cannot be read: "+told)
		return nil
	}
	if n := len(t.LeftOut); n > 0 {
		told += fmt.Sprintf("; %d others that do not fit are left out already", n)
	}
	reset(t) // retry starts a new one
	return events.NewProblem(409, "copy", "the copy of "+t.Source+" into "+t.Dest+" broke off",
		events.Finding{Field: j.run.Entry(position(j.run, t)), Message: told,
			Remedy: "leave it out with indices[].query, or write it again at the source, smaller or as plain JSON; then start again"})
}

// documents are how many t has at most, as far as it can be told: the first reply
// does, if it came, and of an open window nothing else.
func (j *Job) documents(t *facts.Task, s es.TaskStatus) int64 {
	ix := j.surveyed(t)
	switch {
	case s.Total > 0:
		return s.Total
	case isTail(t):
		return 0
	case windowed(t):
		return min(ix.Documents, (t.Below-t.From)*int64(max(1, len(ix.ShardSeqNos))))
	}
	return ix.Documents
}

// name tells the ID of t's document after so many others.
func (j *Job) name(ctx context.Context, t *facts.Task, before int64) (string, error) {
	b, err := j.body(ctx, t)
	if err != nil {
		return "", err
	}
	b.Source.Size = int(before) + 1
	ids, err := j.client.ReindexIDs(ctx, b, indexPrefix(j.run, t)+"names")
	if err != nil {
		return "", err
	}
	if len(ids) <= int(before) {
		return "", fmt.Errorf("name a document of %s: there are %d%s, of %d that were copied before it", t.Source, len(ids), within(t), before)
	}
	return ids[before], nil
}
