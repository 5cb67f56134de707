package copyjob

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/es"
	"eslink/shared/facts"
)

// Parallel is how many tasks run at once at most: each holds a scroll on every
// shard of its source, and pages in the destination's memory.
const Parallel = 4

// inParallel is how many the spec asks for, Parallel if it says nothing.
func inParallel(r events.Reindex) int { return cmp.Or(r.Tasks, Parallel) }

// Split says which indices are copied in windows, and in how many. Remote
// _reindex reads one page after the other, so several tasks are several times as
// fast; but each window costs a look or two, and the last one a pause.
type Split struct {
	From int64 // documents: smaller indices are one task, and several of them run at once
	Each int64 // documents of a window, about
	Most int   // windows
}

// usual keeps a copy of a few seconds in one task.
var usual = Split{From: 100_000, Each: 500_000, Most: 32}

// What a page takes is reckoned from what the index takes on disk, which is
// about half of its documents' text.
const (
	pageSize  = 1000 // Elasticsearch's own, if it is told none
	maxSize   = 8000
	textShare = 2
	pageBytes = 8 << 20
	// writable is what a destination that does not tell is taken to allow: a tenth
	// of a heap of 512 MB. Half of what it allows is used.
	writable = 50 << 20
)

// planWindows makes the list of tasks, in the spec's order. A copy that runs, or is
// half done, goes on, and one that was finished is kept if nothing has changed at
// its source since.
func (j *Job) planWindows(ctx context.Context) error {
	r := j.run
	var limit int64
	plan := &facts.Reindex{Parallel: inParallel(r.Spec.Reindex)}
	if r.Facts.Reindex != nil {
		plan.LeakedScrolls = r.Facts.Reindex.LeakedScrolls
	}
	for i, ix := range r.Indices() {
		was, surveyed := tasksOf(r, ix), r.Facts.Survey.Indices[i]
		begun := goesOn(was, surveyed)
		if begun { // the pages of what is left were chosen for as many tasks as ran
			plan.Parallel = min(plan.Parallel, cmp.Or(r.Facts.Reindex.Parallel, Parallel))
		}
		if begun || Copied(r, i) {
			plan.Tasks = append(plan.Tasks, was...)
			if n := Rejected(r, i); n.Count > 0 {
				plan.Rejected = append(plan.Rejected, n)
			}
			continue
		}
		if limit == 0 && surveyed.Documents > pageSize {
			var err error
			if limit, err = j.client.IndexingPressure(ctx); err != nil {
				return err
			}
			limit = cmp.Or(limit, writable) / 2
		}
		size, parallel := pages(surveyed, r.Spec.Reindex, limit)
		if most := surveyed.MaxPage; most > 0 && cmp.Or(size, r.Spec.Reindex.Size, pageSize) > most {
			size = most
		}
		open := maxOpenScrolls * maxScrolls(r) / usualScrolls
		plan.Parallel = min(plan.Parallel, parallel, max(1, open/max(1, len(surveyed.ShardSeqNos))))
		attempt := 0
		for _, t := range was {
			attempt = max(attempt, t.Attempt)
		}
		for _, t := range j.split.windows(surveyed) {
			t.Source, t.Dest, t.Attempt, t.SourceState, t.Size = ix.Source, ix.Dest, attempt, surveyed.State, size
			// The last to read an index that shows its writes late starts when step digest,
			// which has the source's login, has refreshed it once more.
			t.AwaitsRefresh = surveyed.Lags() && surveyed.Refreshable && (isTail(&t) || !windowed(&t))
			if surveyed.Unseen { // once they show, they are to be copied
				t.SourceState += unseen
			}
			if !isTail(&t) { // what the survey's numbers count was not visible yet, perhaps
				t.NotBefore = cmp.Or(r.Facts.Survey.At, j.now()).Add(settle(surveyed.Refresh))
			}
			plan.Tasks = append(plan.Tasks, t)
		}
	}
	r.Facts.Reindex = plan
	return nil
}

// unseen ends the state of a source whose searches may have lacked writes.
const unseen = "/unseen"

// pages chooses a page's size, 0 for Elasticsearch's own, and how many tasks may
// run at once, so that all their pages are within what the destination allows.
func pages(ix facts.SurveyedIndex, asked events.Reindex, limit int64) (size, tasks int) {
	tasks = inParallel(asked)
	if ix.Documents <= pageSize && ix.Bytes <= pageBytes || ix.Total == 0 || limit == 0 {
		return 0, tasks
	}
	document := max(1, textShare*ix.Bytes/ix.Total)
	if asked.Size > 0 {
		return 0, int(min(max(limit/(int64(asked.Size)*document), 1), int64(tasks)))
	}
	return int(min(max(min(pageBytes, limit/int64(tasks))/document, 1), maxSize)), tasks
}

// windows divides an index into windows of its sequence numbers. Each shard has
// its own, so the bounded windows end where the first shard did at the survey:
// what is written later gets a higher number in any shard, and lies in the last,
// open-ended window, which starts when the others are done. So a document that is
// written while they run is copied by the last in any case, and after its older
// version. Shards of very different length would leave most to the last window.
func (s Split) windows(ix facts.SurveyedIndex) []facts.Task {
	if ix.Documents < s.From || len(ix.ShardSeqNos) == 0 {
		return []facts.Task{{}}
	}
	end := bound(ix)
	if !alike(ix) {
		return []facts.Task{{}}
	}
	n := min(max(int64(Parallel), ix.Documents/s.Each), int64(s.Most), end)
	width := (end + n - 1) / n
	var out []facts.Task
	for from := int64(0); from < end; from += width {
		out = append(out, facts.Task{Window: len(out), From: from, Below: min(from+width, end)})
	}
	return append(out, facts.Task{Window: len(out), From: end})
}

// alike reports whether an index's shards are about as long as each other.
func alike(ix facts.SurveyedIndex) bool { return 4*bound(ix) >= 3*(ix.MaxSeqNo+1) }

// bound is where the bounded windows of an index end, 0 if its shards' sequence
// numbers are not known.
func bound(ix facts.SurveyedIndex) int64 {
	if len(ix.ShardSeqNos) == 0 {
		return 0
	}
	return slices.Min(ix.ShardSeqNos) + 1
}

// settle is how long it takes until all copies of the source's shards show what
// was written before. The reader may not have the right to refresh the source,
// and the instance has no way to: so it is waited for. A shard is refreshed once
// an interval has passed since it was last, which itself takes a moment. An
// index that is not refreshed by itself shows the same all the time, but for the
// moment in which somebody refreshes it.
func settle(refresh string) time.Duration {
	if strings.HasPrefix(refresh, "-") {
		return time.Second
	}
	interval, err := time.ParseDuration(cmp.Or(refresh, "1s"))
	if err != nil { // in days, or micros
		interval = time.Minute
	}
	return interval + 2*time.Second
}

// A division has one window become several.
type division struct {
	task    int   // its place in the list
	pieces  int64 // at most
	inOrder bool  // one after the other, as a tail's are
}

// maxTasks bounds the record, maxPieces what one window becomes.
const (
	maxTasks  = 500
	maxPieces = 16
)

// divideBroken has a bounded window that broke off on its way become several.
func (j *Job) divideBroken(t *facts.Task, s es.TaskStatus) {
	if done := s.Processed(); windowed(t) && !isTail(t) && done > 0 {
		j.divideLater(t, min(piecesOf(s.Total, done, int64(j.size(t))), maxPieces))
	}
}

// piecesOf is in how many pieces a window of so many documents is tried again that
// broke off after some were done. As much as was copied would come through as often
// as not, and be copied in vain if not; a quarter of it more often than not. A page
// by itself is never copied in vain, since what breaks off behind it does not matter:
// rather that than two, or one and a few documents.
func piecesOf(total, done, page int64) int64 {
	single := total/page + total/(10*page) + 1 // pieces are not quite alike
	pieces := 4 * total / done
	if 2*pieces > single {
		return single
	}
	return pieces
}

// divideLater notes that t is to become so many windows, once all tasks are read.
func (j *Job) divideLater(t *facts.Task, pieces int64) {
	i := slices.IndexFunc(j.tasks(), func(other facts.Task) bool { return sameIndex(&other, t) && other.Window == t.Window })
	j.divisions = append(j.divisions, division{task: i, pieces: pieces})
}

// divide makes the divisions that were noted. What lies side by side and is done
// becomes one, if the list is long.
func (j *Job) divide() {
	for _, d := range slices.Backward(j.divisions) { // places before stay
		list := j.run.Facts.Reindex.Tasks
		t := list[d.task]
		d.pieces, d.inOrder = min(d.pieces, int64(maxTasks-len(list))), isTail(&t) || !windowed(&t) && !alike(j.surveyed(&t))
		j.run.Facts.Reindex.Tasks = d.in(list, endOf(t, j.surveyed(&t), int64(j.size(&t))))
	}
	j.divisions = nil
	if len(j.tasks()) > maxTasks/2 {
		j.run.Facts.Reindex.Tasks = merged(j.tasks())
	}
}

// divisible reports whether t can become several.
func (j *Job) divisible(t *facts.Task) bool {
	return endOf(*t, j.surveyed(t), int64(j.size(t)))-t.From > 1 && len(j.tasks()) < maxTasks-1
}

// endOf is where the pieces of a window end that has an end of its own, and else the
// last one begins: where the survey saw the index end, or a page further on. It is 0
// if nothing is known of sequence numbers.
func endOf(t facts.Task, ix facts.SurveyedIndex, page int64) int64 {
	switch {
	case t.Below > 0:
		return t.Below
	case len(ix.ShardSeqNos) == 0:
		return 0
	case !windowed(&t) && alike(ix):
		return bound(ix)
	case t.From > ix.MaxSeqNo:
		return t.From + page
	}
	return ix.MaxSeqNo + 1
}

// in returns the list with the division made, whose pieces end at end. Of a window
// without an end the last piece has none. Pieces of a tail are copied one after the
// other, from below: what is written again while they are gets a higher number, and so
// lies in one that is still to come.
func (d division) in(list []facts.Task, end int64) []facts.Task {
	t := list[d.task]
	pieces := min(d.pieces, end-t.From)
	if pieces < 2 && !(t.Below == 0 && pieces == 1) {
		return list
	}
	next := 0
	for _, other := range list {
		if sameIndex(&other, &t) {
			next = max(next, other.Window+1)
		}
	}
	var rest []facts.Task
	piece := func(from, below int64) {
		p := t
		p.Window, p.From, p.Below = next+len(rest), from, below
		p.Attempt, p.Retries, p.NotBefore = 0, fewRetries, time.Time{} // there was a link for a while
		p.LeftOut = nil
		rest = append(rest, p)
	}
	width := (end - t.From + pieces - 1) / pieces
	for from := t.From + width; from < end; from += width {
		piece(from, min(from+width, end))
	}
	if t.Below == 0 {
		piece(end, 0)
	}
	head := &list[d.task]
	head.Below = min(t.From+width, end)
	// Which piece has them is seen again.
	head.LeftOut = nil
	if t.Below == 0 && d.inOrder {
		head.InOrder = true
		for i := range rest {
			rest[i].InOrder = rest[i].Below > 0
		}
	}
	return slices.Insert(list, d.task+1, rest...)
}

// merged returns the list with neighbours as one that are done. Together they say the
// same.
func merged(list []facts.Task) []facts.Task {
	out := list[:1]
	for _, t := range list[1:] {
		last := &out[len(out)-1]
		if !sameIndex(last, &t) || !durable(last) || !durable(&t) || !windowed(last) || last.Below != t.From || isTail(&t) {
			out = append(out, t)
			continue
		}
		a, b := *last.Result, t.Result
		a.Total, a.Created, a.Updated, a.Deleted, a.Noops = a.Total+b.Total, a.Created+b.Created, a.Updated+b.Updated, a.Deleted+b.Deleted, a.Noops+b.Noops
		a.VersionConflicts, a.FailureCount, a.FailureRows = a.VersionConflicts+b.VersionConflicts, a.FailureCount+b.FailureCount, a.FailureRows+b.FailureRows
		last.Result, last.Below, last.Window = &a, t.Below, max(last.Window, t.Window) // names are not given again
	}
	return out
}

// isTail reports whether t is the last window of several, which has no end.
func isTail(t *facts.Task) bool { return t.From > 0 && t.Below == 0 }

// lasts reports whether t reads what is written while others are copied, and so comes
// after those below it.
func lasts(t *facts.Task) bool { return isTail(t) || t.InOrder }

// windowed reports whether t is one of several windows.
func windowed(t *facts.Task) bool { return t.From > 0 || t.Below > 0 }

// waitsForOthers reports whether t has to wait for other windows of its index, or for
// the source.
func (j *Job) waitsForOthers(t *facts.Task) bool {
	return t.AwaitsRefresh || lasts(t) && slices.ContainsFunc(j.tasks(), func(other facts.Task) bool {
		return sameIndex(&other, t) && other.From < t.From && !durable(&other)
	})
}

// within says which sequence numbers a window has.
func within(t *facts.Task) string {
	switch {
	case !windowed(t):
		return ""
	case isTail(t):
		return fmt.Sprintf(" with _seq_no from %d on", t.From)
	}
	return fmt.Sprintf(" with _seq_no %d to %d", t.From, t.Below-1)
}
