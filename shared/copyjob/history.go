package copyjob

import (
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

// What the record says of copies, for those who plan the next one or prove the last.

// tasksOf are those of one index.
func tasksOf(r *run.Run, ix events.Index) (out []facts.Task) {
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

func sameIndex(a, b *facts.Task) bool { return a.Source == b.Source && a.Dest == b.Dest }

// position is t's index in the spec.
func position(r *run.Run, t *facts.Task) int {
	for i, ix := range r.Indices() {
		if ix.Source == t.Source && ix.Dest == t.Dest {
			return i
		}
	}
	return 0 // the record has no tasks of other indices
}

// goesOn reports whether a copy is under way: a task runs, or some of its
// windows are done and their sequence numbers still mean the same.
func goesOn(was []facts.Task, surveyed facts.SurveyedIndex) bool {
	begun, left := false, false
	for _, t := range was {
		if started(&t) {
			return true
		}
		begun = begun || t.Result != nil && uuid(t.SourceState) == uuid(surveyed.State)
		left = left || !durable(&t)
	}
	return begun && left
}

// uuid is the index's own in its state.
func uuid(state string) string {
	id, _, _ := strings.Cut(state, "/")
	return id
}

// AwaitsRefresh reports whether a copy of the spec's i-th index waits until its
// source has been refreshed, Refreshed notes that it has.
func AwaitsRefresh(r *run.Run, i int) bool {
	return slices.ContainsFunc(tasksOf(r, r.Indices()[i]), func(t facts.Task) bool { return t.AwaitsRefresh })
}

// Refreshed is described at AwaitsRefresh.
func Refreshed(r *run.Run, i int) {
	for n := range r.Facts.Reindex.Tasks {
		if t := &r.Facts.Reindex.Tasks[n]; position(r, t) == i && t.AwaitsRefresh {
			t.AwaitsRefresh, t.NotBefore = false, time.Time{}
		}
	}
}

// KeepsVersions reports whether documents of the spec's i-th index keep the source's
// versions.
func KeepsVersions(r *run.Run, i int) bool {
	switch r.Indices()[i].Versions {
	case "keep":
		return true
	case "new":
		return false
	}
	d := r.Facts.Destination
	return d != nil && i < len(d.Indices) && d.Made(d.Indices[i].Name, d.Indices[i].UUID)
}

// Copied reports whether the spec's i-th index was copied whole, and its source
// has not changed since.
func Copied(r *run.Run, i int) bool {
	list := tasksOf(r, r.Indices()[i])
	for _, t := range list {
		if !durable(&t) || !clean(t.Result) || t.SourceState != r.Facts.Survey.Indices[i].State {
			return false
		}
	}
	return len(list) > 0
}

func clean(res *facts.TaskResult) bool { return res.FailureCount == 0 && res.VersionConflicts == 0 }

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

// ForceRecopy has the spec's i-th index copied again by the next walk, whatever its
// source says: the proof found documents missing or other.
func ForceRecopy(r *run.Run, i int) {
	for n := range r.Facts.Reindex.Tasks {
		if t := &r.Facts.Reindex.Tasks[n]; t.Source == r.Indices()[i].Source && t.Dest == r.Indices()[i].Dest {
			t.SourceState = ""
		}
	}
}

// Results are what the tasks of the spec's i-th index reported, by window; nil
// for one that is not over.
func Results(r *run.Run, i int) (out []*facts.TaskResult) {
	for _, t := range tasksOf(r, r.Indices()[i]) {
		out = append(out, t.Result)
	}
	return out
}

// Queries are what each task of the spec's i-th index selects at the source.
func Queries(r *run.Run, i int) (out [][]byte, err error) {
	for _, t := range tasksOf(r, r.Indices()[i]) {
		q, err := query(r.Indices()[i], &t, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	return out, nil
}

// query selects t's documents but for some.
func query(ix events.Index, t *facts.Task, without map[string]string) ([]byte, error) {
	q := []byte(ix.Query)
	if windowed(t) {
		var err error
		if q, err = es.InWindow(q, t.From, t.Below); err != nil {
			return nil, fmt.Errorf("window %d of index %s: %w", t.Window, ix.Source, err)
		}
	}
	if len(without) > 0 {
		var err error
		if q, err = es.Without(q, slices.Sorted(maps.Keys(without))); err != nil {
			return nil, fmt.Errorf("index %s: %w", ix.Source, err)
		}
	}
	return q, nil
}
