package copyjob

import (
	"cmp"
	"context"
	"fmt"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/facts"
)

// size is how many documents a page of t has.
func (c *Copy) size(t *facts.Task) int { return cmp.Or(t.Size, c.run.Spec.Reindex.Size, pageSize) }

// smaller has a copy started again with pages of half the size, unless they are of
// one document.
func (c *Copy) smaller(t *facts.Task, cause *es.Cause) bool {
	size := c.size(t) / 2
	if size == 0 {
		return false
	}
	t.Size = size
	c.run.Note(c.Now(), c.run.Cursor.Step, "smaller pages", fmt.Sprintf("%d documents of %s%s: %s", size, t.Source, within(t), cause))
	reset(t)
	return true
}

// What a window becomes when a page of it is too long: its neighbours should not be
// read one by one for the sake of one document.
const quarters = 4

// tooLong looks for the document that makes a page longer than the 100 MB that
// _reindex takes from another cluster. Pages become smaller, and windows of more
// than a thousand documents narrower, until a page of one document is too long. The
// order in which a scroll reads is another with each copy of a shard; so that the
// document has a place, it is read once more in the order of sequence numbers. By
// that its ID is told, and the others are copied without it.
func (c *Copy) tooLong(ctx context.Context, t *facts.Task, s es.TaskStatus, cause *es.Cause) error {
	if s.Total == 0 {
		c.leaves(t) // the first page names the scroll
	}
	if c.smaller(t, cause) {
		if c.documents(t, s) > pageSize {
			c.dividing(t, quarters)
		}
		return nil
	}
	if !t.Ordered {
		t.Ordered = true
		c.restart(t, "a page of one document: "+cause.String())
		return nil
	}
	before := s.Processed()
	what := fmt.Sprintf("a document of %s%s, the one after %d others,", t.Source, within(t), before)
	id, err := c.name(ctx, t, before)
	switch {
	case err == nil:
		what = fmt.Sprintf("document %s in %s", id, t.Source)
	case ctx.Err() != nil || apierr.ClassOf(err) != apierr.Fatal:
		return err
	default:
		c.run.Note(c.Now(), c.run.Cursor.Step, "no name", err.Error())
	}
	for cause.Type != tooLong && cause.CausedBy != nil { // what is around it says to use smaller pages
		cause = cause.CausedBy
	}
	told := fmt.Sprintf("%s is larger than the 100 MB that _reindex takes from another cluster (%s): move it by itself", what, cause.Reason)
	if err == nil && len(t.Unfit) < maxUnfit {
		if t.Unfit == nil {
			t.Unfit = map[string]string{}
		}
		t.Unfit[id] = told
		c.restart(t, "without what is too large: "+told)
		return nil
	}
	if n := len(t.Unfit); n > 0 {
		told += fmt.Sprintf("; %d others that do not fit are left out already", n)
	}
	reset(t) // retry starts a new one
	return events.NewProblem(409, "copy", "the copy of "+t.Source+" into "+t.Dest+" broke off",
		events.Finding{Field: c.run.Entry(c.position(t)), Message: told,
			Remedy: "leave what is so large out with indices[].query, or make it smaller, then start again"})
}

// documents are how many t has at most, as far as it can be told: the first reply
// does, if it came, and of an open window nothing else.
func (c *Copy) documents(t *facts.Task, s es.TaskStatus) int64 {
	ix := c.run.Facts.Survey.Indices[c.position(t)]
	switch {
	case s.Total > 0:
		return s.Total
	case open(t):
		return 0
	case windowed(t):
		return min(ix.Documents, (t.Below-t.From)*int64(max(1, len(ix.ShardSeqNos))))
	}
	return ix.Documents
}

// name tells the ID of t's document after so many others.
func (c *Copy) name(ctx context.Context, t *facts.Task, before int64) (string, error) {
	b, err := c.body(ctx, t)
	if err != nil {
		return "", err
	}
	b.Source.Size = int(before) + 1
	ids, err := c.client.ReindexIDs(ctx, b, c.ours(t)+"names")
	if err != nil {
		return "", err
	}
	if len(ids) <= int(before) {
		return "", fmt.Errorf("name a document of %s: there are %d%s, of %d that were copied before it", t.Source, len(ids), within(t), before)
	}
	return ids[before], nil
}

// within says which sequence numbers a window has.
func within(t *facts.Task) string {
	switch {
	case !windowed(t):
		return ""
	case open(t):
		return fmt.Sprintf(" with _seq_no from %d on", t.From)
	}
	return fmt.Sprintf(" with _seq_no %d to %d", t.From, t.Below-1)
}
