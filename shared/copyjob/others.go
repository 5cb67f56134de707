package copyjob

import (
	"context"
	"slices"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// StopStrays cancels the run's tasks that its record does not have: those of earlier
// generations, or of an index that is gone. What they read is older than what is
// copied next. It reports whether any still runs: then nothing may be planned yet.
func StopStrays(ctx context.Context, c *es.Client, r *run.Run) (running bool, err error) {
	tasks, err := c.Tasks(ctx)
	if err != nil {
		return false, err
	}
	return cancelAll(ctx, c, slices.DeleteFunc(tasks, func(t es.Task) bool { return !ours(r, t) || recorded(r, t) }))
}

// cancelAll cancels tasks, and reports whether there were any. Each ends with its page.
func cancelAll(ctx context.Context, c *es.Client, tasks []es.Task) (running bool, err error) {
	for _, t := range tasks {
		if err := c.CancelTask(ctx, t.ID, false); err != nil {
			return false, err
		}
	}
	return len(tasks) > 0, nil
}

// ours reports whether a task is the run's, of any generation.
func ours(r *run.Run, t es.Task) bool { return strings.HasPrefix(t.OpaqueID, runPrefix(r)) }

// recorded reports whether the record has a task, as one that was to start.
func recorded(r *run.Run, t es.Task) bool {
	return r.Facts.Reindex != nil && slices.ContainsFunc(r.Facts.Reindex.Tasks, func(mine facts.Task) bool {
		return mine.OpaqueID == t.OpaqueID && started(&mine)
	})
}

// OtherWriters finds what somebody else copies into the run's destinations at the
// moment: it would change them behind the proof.
func OtherWriters(r *run.Run, tasks []es.Task, fs *events.Findings) {
	for i, ix := range r.Indices() {
		for _, t := range tasks {
			if ours(r, t) || t.Into != ix.Dest {
				continue
			}
			who := "task " + t.ID
			if other, ok := strings.CutPrefix(t.OpaqueID, "eslink/"); ok {
				other, _, _ = strings.Cut(other, "/")
				who += " of run " + other
			}
			fs.Add(r.Entry(i)+".dest", who+" copies into index "+ix.Dest+" on "+r.Spec.InstanceID+" at the moment",
				"wait until it has ended, or cancel it; then send action retry, or name another dest")
		}
	}
}

// stopTime is how long a task may take to end that was cancelled: its page, about.
const stopTime = 5 * time.Second
