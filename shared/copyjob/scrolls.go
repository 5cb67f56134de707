package copyjob

import (
	"cmp"
	"slices"
	"time"

	"eslink/shared/facts"
	"eslink/shared/run"
)

// A task has a scroll open at the source on each shard. One that breaks off may leave
// them open until they have not been asked for longer than they are kept. A node has
// 500 (search.max_open_scroll_context) for all who read it: tasks that run have a
// quarter of them, those that broke off half of them at most, and the scrolls of a
// copy that broke off before are kept shorter.
const (
	usualScrolls     = 500
	maxOpenScrolls   = usualScrolls / 4
	maxLeakedScrolls = usualScrolls / 2
	keepAlive        = 5 * time.Minute // Elasticsearch's own
	keepAliveAgain   = time.Minute
)

// scrolls are those that tasks may have left open as they broke off, the first to
// end first.
type scrolls []facts.LeakedScrolls

// leak adds those of a task that read so many shards and broke off now. What has
// ended since is forgotten.
func (s scrolls) leak(now time.Time, shards int, keep time.Duration) scrolls {
	s = slices.DeleteFunc(s, func(l facts.LeakedScrolls) bool { return !l.Until.After(now) })
	s = append(s, facts.LeakedScrolls{Until: now.Add(keep), Count: max(1, shards)})
	slices.SortFunc(s, func(a, b facts.LeakedScrolls) int { return a.Until.Compare(b.Until) })
	return s
}

// maxScrolls is how many a node of the source has.
func maxScrolls(r *run.Run) int {
	if r.Facts.Survey == nil {
		return usualScrolls
	}
	return cmp.Or(r.Facts.Survey.MaxScrolls, usualScrolls)
}

// freeAt is from when on no more than so many are open, so that a task may be started;
// the zero time if that is so already.
func (s scrolls) freeAt(most int) (from time.Time) {
	open := 0
	for _, l := range slices.Backward(s) { // those that stay longest
		if open += l.Count; open > most {
			return l.Until
		}
	}
	return from
}

// keepAliveOf is how long t's scrolls are kept between two pages.
func (j *Job) keepAliveOf(t *facts.Task) time.Duration {
	keep := keepAlive
	if t.Retries > 0 {
		keep = keepAliveAgain
	}
	if most := j.run.Facts.Survey.MaxKeepAlive; most > 0 {
		keep = min(keep, most)
	}
	return keep
}

// recordLeakedScrolls notes that t may have left scrolls open.
func (j *Job) recordLeakedScrolls(t *facts.Task) {
	plan := j.run.Facts.Reindex
	plan.LeakedScrolls = scrolls(plan.LeakedScrolls).leak(j.now(), len(j.surveyed(t).ShardSeqNos), j.keepAliveOf(t))
}

// scrollsFreeAt is described at freeAt.
func (j *Job) scrollsFreeAt() time.Time {
	return scrolls(j.run.Facts.Reindex.LeakedScrolls).freeAt(maxLeakedScrolls * maxScrolls(j.run) / usualScrolls)
}
