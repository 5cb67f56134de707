package copyjob

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Parallel is how many tasks run at once at most: each holds a scroll on every
// shard of its source, and pages in the destination's memory.
const Parallel = 4

// parallel is that, or less if the spec says so.
func parallel(r events.Reindex) int { return cmp.Or(r.Tasks, Parallel) }

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

// Plan makes the list of tasks, in the spec's order. A copy that runs, or is
// half done, goes on, and one that was finished is kept if nothing has changed at
// its source since.
func (c *Copy) Plan(ctx context.Context) error {
	r := c.run
	var limit int64
	plan := &facts.Reindex{Parallel: parallel(r.Spec.Reindex)}
	if r.Facts.Reindex != nil {
		plan.Left = r.Facts.Reindex.Left
	}
	for i, ix := range r.Indices() {
		was, surveyed := tasks(r, ix), r.Facts.Survey.Indices[i]
		begun := goesOn(was, surveyed)
		if begun { // the pages of what is left were chosen for as many tasks as ran
			plan.Parallel = min(plan.Parallel, cmp.Or(r.Facts.Reindex.Parallel, Parallel))
		}
		if begun || Copied(r, i) {
			plan.Tasks = append(plan.Tasks, was...)
			continue
		}
		if limit == 0 && surveyed.Documents > pageSize {
			var err error
			if limit, err = c.client.IndexingPressure(ctx); err != nil {
				return err
			}
			limit = cmp.Or(limit, writable) / 2
		}
		size, parallel := pages(surveyed, r.Spec.Reindex, limit)
		plan.Parallel = min(plan.Parallel, parallel, max(1, mostOpen/max(1, len(surveyed.ShardSeqNos))))
		attempt := 0
		for _, t := range was {
			attempt = max(attempt, t.Attempt)
		}
		for _, t := range c.split(surveyed) {
			t.Source, t.Dest, t.Attempt, t.SourceState, t.Size = ix.Source, ix.Dest, attempt, surveyed.State, size
			if !open(&t) { // what the survey's numbers count was not visible yet, perhaps
				t.NotBefore = cmp.Or(r.Facts.Survey.At, c.Now()).Add(settle(surveyed.Refresh))
			}
			plan.Tasks = append(plan.Tasks, t)
		}
	}
	r.Facts.Reindex = plan
	return nil
}

// goesOn reports whether a copy is under way: a task runs, or some of its
// windows are done and their sequence numbers still mean the same.
func goesOn(was []facts.Task, surveyed facts.SurveyedIndex) bool {
	begun, left := false, false
	for _, t := range was {
		if t.Result == nil && !t.Intent.IsZero() {
			return true
		}
		begun = begun || t.Result != nil && uuid(t.SourceState) == uuid(surveyed.State)
		left = left || !over(&t)
	}
	return begun && left
}

// uuid is the index's own in its state.
func uuid(state string) string {
	id, _, _ := strings.Cut(state, "/")
	return id
}

// pages chooses a page's size, 0 for Elasticsearch's own, and how many tasks may
// run at once, so that all their pages are within what the destination allows.
func pages(ix facts.SurveyedIndex, asked events.Reindex, limit int64) (size, tasks int) {
	tasks = parallel(asked)
	if ix.Documents <= pageSize && ix.Bytes <= pageBytes || ix.Total == 0 || limit == 0 {
		return 0, tasks
	}
	document := max(1, textShare*ix.Bytes/ix.Total)
	if asked.Size > 0 {
		return 0, int(min(max(limit/(int64(asked.Size)*document), 1), int64(tasks)))
	}
	return int(min(max(min(pageBytes, limit/int64(tasks))/document, 1), maxSize)), tasks
}

// split divides an index into windows of its sequence numbers. Each shard has
// its own, so the bounded windows end where the first shard did at the survey:
// what is written later gets a higher number in any shard, and lies in the last,
// open-ended window, which starts when the others are done. So a document that is
// written while they run is copied by the last in any case, and after its older
// version. Shards of very different length would leave most to the last window.
func (c *Copy) split(ix facts.SurveyedIndex) []facts.Task {
	if ix.Documents < c.Split.From || len(ix.ShardSeqNos) == 0 {
		return []facts.Task{{}}
	}
	end := bound(ix)
	if 4*end < 3*(ix.MaxSeqNo+1) {
		return []facts.Task{{}}
	}
	n := min(max(int64(Parallel), ix.Documents/c.Split.Each), int64(c.Split.Most), end)
	width := (end + n - 1) / n
	var out []facts.Task
	for from := int64(0); from < end; from += width {
		out = append(out, facts.Task{Window: len(out), From: from, Below: min(from+width, end)})
	}
	return append(out, facts.Task{Window: len(out), From: end})
}

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

// A brokenWindow is one that is to become several.
type brokenWindow struct {
	task   int   // its place in the list
	pieces int64 // at most
}

// mostTasks bounds the record, mostPieces what one broken window becomes.
const (
	mostTasks  = 500
	mostPieces = 16
)

// breaks notes that a bounded window was broken off on its way.
func (c *Copy) breaks(t *facts.Task, s es.TaskStatus) {
	if done := s.Processed(); windowed(t) && !open(t) && done > 0 {
		// As much as was copied would come through as often as not, and be copied in
		// vain if not; a quarter of it more often than not. A page by itself is never
		// copied in vain, since what breaks off behind it does not matter: rather that
		// than two, or one and a few documents.
		single := s.Total/int64(c.size(t)) + s.Total/int64(10*c.size(t)) + 1 // pieces are not quite alike
		pieces := 4 * s.Total / done
		if 2*pieces > single {
			pieces = single
		}
		c.dividing(t, min(pieces, mostPieces))
	}
}

// dividing notes that t is to become so many windows.
func (c *Copy) dividing(t *facts.Task, pieces int64) {
	i := slices.IndexFunc(c.run.Facts.Reindex.Tasks, func(other facts.Task) bool {
		return other.Source == t.Source && other.Dest == t.Dest && other.Window == t.Window
	})
	c.broken = append(c.broken, brokenWindow{i, pieces})
}

// divide makes several of each window that is to become so, but of an open one, whose
// end nobody knows. A copy in one piece becomes bounded windows and the open one after
// them.
func (c *Copy) divide() {
	list := &c.run.Facts.Reindex.Tasks
	for _, b := range slices.Backward(c.broken) { // places before stay
		t := (*list)[b.task]
		whole := !windowed(&t)
		if whole {
			t.Below = bound(c.run.Facts.Survey.Indices[c.position(&t)])
		}
		pieces := min(b.pieces, t.Below-t.From, int64(mostTasks-len(*list)))
		if pieces < 2 {
			continue
		}
		next := 0
		for _, other := range tasks(c.run, events.Index{Source: t.Source, Dest: t.Dest}) {
			next = max(next, other.Window+1)
		}
		var rest []facts.Task
		piece := func(from, below int64) {
			p := t
			p.Window, p.From, p.Below = next+len(rest), from, below
			p.Attempt, p.Lost, p.NotBefore = 0, lostNext, time.Time{} // there was a link for a while
			p.Unfit = nil
			rest = append(rest, p)
		}
		width := (t.Below - t.From + pieces - 1) / pieces
		for from := t.From + width; from < t.Below; from += width {
			piece(from, min(from+width, t.Below))
		}
		if whole {
			piece(t.Below, 0)
		}
		(*list)[b.task].Below = t.From + width
		// Which piece has them is seen again; to be told of by each would be too much.
		(*list)[b.task].Unfit = nil
		*list = slices.Insert(*list, b.task+1, rest...)
	}
	c.broken = nil
}

// open reports whether t is the last window of several.
func open(t *facts.Task) bool { return t.From > 0 && t.Below == 0 }

// windowed reports whether t is one of several windows.
func windowed(t *facts.Task) bool { return t.From > 0 || t.Below > 0 }

// waitsFor reports whether t has to wait for other windows of its index.
func (c *Copy) waitsFor(t *facts.Task) bool {
	if !open(t) {
		return false
	}
	for _, other := range tasks(c.run, events.Index{Source: t.Source, Dest: t.Dest}) {
		if other.Window != t.Window && !over(&other) {
			return true
		}
	}
	return false
}

// position is t's index in the spec.
func (c *Copy) position(t *facts.Task) int {
	for i, ix := range c.run.Indices() {
		if ix.Source == t.Source && ix.Dest == t.Dest {
			return i
		}
	}
	return 0 // the record has no tasks of other indices
}

// tasks are those of one index.
func tasks(r *run.Run, ix events.Index) (out []facts.Task) {
	if r.Facts.Reindex == nil {
		return nil
	}
	for _, t := range r.Facts.Reindex.Tasks {
		if t.Source == ix.Source && t.Dest == ix.Dest {
			out = append(out, t)
		}
	}
	return out
}

// Copied reports whether the spec's i-th index was copied whole, and its source
// has not changed since.
func Copied(r *run.Run, i int) bool {
	list := tasks(r, r.Indices()[i])
	for _, t := range list {
		if !over(&t) || !clean(t.Result) || t.SourceState != r.Facts.Survey.Indices[i].State {
			return false
		}
	}
	return len(list) > 0
}

func clean(res *facts.TaskResult) bool {
	return res.FailureCount == 0 && res.VersionConflicts == 0 && !res.Cancelled
}

// Drop forgets what was copied into an index that is not there any more.
func Drop(r *run.Run, dest string) {
	if r.Facts.Reindex == nil {
		return
	}
	for i, t := range r.Facts.Reindex.Tasks {
		if t.Dest == dest { // the attempt stays: it names the next task
			r.Facts.Reindex.Tasks[i] = facts.Task{Source: t.Source, Dest: t.Dest, Attempt: t.Attempt}
		}
	}
}

// Distrust has the spec's i-th index copied again by the next walk, whatever its
// source says: the proof found documents missing or other.
func Distrust(r *run.Run, i int) {
	for n := range r.Facts.Reindex.Tasks {
		if t := &r.Facts.Reindex.Tasks[n]; t.Source == r.Indices()[i].Source && t.Dest == r.Indices()[i].Dest {
			t.SourceState = ""
		}
	}
}

// Results are what the tasks of the spec's i-th index reported, by window; nil
// for one that is not over.
func Results(r *run.Run, i int) (out []*facts.TaskResult) {
	for _, t := range tasks(r, r.Indices()[i]) {
		out = append(out, t.Result)
	}
	return out
}

// Queries are what each task of the spec's i-th index selects at the source.
func Queries(r *run.Run, i int) (out [][]byte, err error) {
	for _, t := range tasks(r, r.Indices()[i]) {
		q, err := query(r.Indices()[i], &t)
		if err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	return out, nil
}

func query(ix events.Index, t *facts.Task) ([]byte, error) {
	q := []byte(ix.Query)
	if windowed(t) {
		var err error
		if q, err = es.InWindow(q, t.From, t.Below); err != nil {
			return nil, fmt.Errorf("window %d of index %s: %w", t.Window, ix.Source, err)
		}
	}
	if len(t.Unfit) > 0 {
		var err error
		if q, err = es.Without(q, slices.Sorted(maps.Keys(t.Unfit))); err != nil {
			return nil, fmt.Errorf("index %s: %w", ix.Source, err)
		}
	}
	return q, nil
}
