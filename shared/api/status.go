package api

import (
	"context"
	"errors"
	"slices"
	"time"

	"eslink/events"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Status reads runs.
type Status struct{ Store *run.Store }

// View is a run as status shows it.
type View struct {
	RunID      string          `json:"runId"`
	Name       string          `json:"name"`
	Generation int             `json:"generation"`
	Scenario   string          `json:"scenario"`
	Direction  run.Direction   `json:"direction"`
	Status     run.Status      `json:"status"`
	Step       string          `json:"step"`
	Seq        int64           `json:"seq"`
	Reason     string          `json:"reason,omitempty"`
	WakeAt     *time.Time      `json:"wakeAt,omitempty"`
	Progress   *Progress       `json:"progress,omitempty"`
	Plan       *run.Plan       `json:"plan,omitempty"`
	Facts      *facts.Facts    `json:"facts,omitempty"`
	Timeline   []run.Entry     `json:"timeline,omitempty"`
	Problem    *events.Problem `json:"problem,omitempty"`
	Next       string          `json:"next,omitempty"`
}

// Progress is how far a copy has come.
type Progress struct {
	Documents     int64   `json:"documents"`
	Total         int64   `json:"total"`
	Percent       float64 `json:"percent"`
	DocsPerSecond float64 `json:"docsPerSecond"`
	ETA           string  `json:"eta,omitempty"`
	// Indices are how far each index is, of one run in full.
	Indices []facts.IndexProgress `json:"indices,omitempty"`
}

// Get returns one run in full, or a *events.Problem with status 404.
func (s *Status) Get(ctx context.Context, id string) (View, error) {
	r, err := s.Store.Get(ctx, id)
	if errors.Is(err, run.ErrNotFound) {
		return View{}, events.NewProblem(404, "no-such-run", "there is no such run",
			events.Finding{Field: "runId", Message: id + " is unknown", Remedy: "ask without runId for all runs"})
	}
	var b *run.BrokenError
	if errors.As(err, &b) {
		return broken(b), nil
	}
	if err != nil {
		return View{}, err
	}
	v := view(r)
	if r.Status == run.WaitingApproval || r.Status == run.Planned {
		owner, err := s.Store.Holder(ctx, engine.TargetLock(r))
		if err != nil {
			return View{}, err
		}
		if owner != "" && owner != id {
			rival := engine.Owned(ctx, s.Store, owner).Errors[0]
			v.Next = rival.Message + ": " + rival.Remedy
		}
	}
	timeline, err := s.timeline(ctx, r)
	if err != nil {
		return View{}, err
	}
	v.Plan, v.Facts, v.Timeline, v.Problem = r.Plan, &r.Facts, timeline, r.Problem
	if p := r.Facts.Progress; p != nil {
		v.Progress.Indices = p.Indices
	}
	return v, nil
}

// timeline is a run's own, with those lines that stay when it is cut.
func (s *Status) timeline(ctx context.Context, r *run.Run) ([]run.Entry, error) {
	lines, err := s.Store.Audit(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(r.Timeline)
	for _, line := range lines {
		if !slices.ContainsFunc(out, func(e run.Entry) bool { return e.At.Equal(line.At) && e.Step == line.Step && e.What == line.What }) {
			out = append(out, line)
		}
	}
	slices.SortStableFunc(out, func(a, b run.Entry) int { return a.At.Compare(b.At) })
	return out, nil
}

// PageSize is how many runs a list has at most.
const PageSize = 200

// List returns up to PageSize runs after one in the order of their IDs, each in
// brief, and the last one's ID if there are more. A record that cannot be decoded
// is shown as broken.
func (s *Status) List(ctx context.Context, after string) (out []View, next string, err error) {
	out = []View{}
	for r, err := range s.Store.All(ctx, after) {
		var b *run.BrokenError
		switch {
		case len(out) == PageSize:
			return out, out[PageSize-1].RunID, nil
		case errors.As(err, &b):
			out = append(out, broken(b))
		case err != nil:
			return nil, "", err
		default:
			out = append(out, view(r))
		}
	}
	return out, "", nil
}

// Broken is the status of a run whose record cannot be decoded.
const Broken run.Status = "broken"

func broken(e *run.BrokenError) View {
	return View{RunID: e.ID, Status: Broken, Reason: e.Error(), Next: "restore the row run/" + e.ID + " of the table, or report this: eslink does not touch what it cannot read"}
}

func view(r *run.Run) View {
	v := View{RunID: r.ID, Name: r.Spec.Name, Generation: r.Generation, Scenario: r.Spec.Scenario, Direction: r.Direction,
		Status: r.Status, Step: r.Cursor.Step, Seq: r.Cursor.Seq, Reason: r.Cursor.Reason, Next: Next(r)}
	if !r.Cursor.WakeAt.IsZero() {
		v.WakeAt = &r.Cursor.WakeAt
	}
	if p := r.Facts.Progress; p != nil {
		v.Progress = &Progress{Documents: p.Documents, Total: p.Total, DocsPerSecond: p.DocsPerSecond, ETA: p.ETA, Percent: 100}
		if p.Total > 0 {
			v.Progress.Percent = 100 * float64(p.Documents) / float64(p.Total)
		}
	}
	return v
}
