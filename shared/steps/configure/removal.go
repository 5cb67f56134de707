package configure

import (
	"context"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/esconfig"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// removal takes out what the run added.
type removal struct{ domain string }

func (w removal) goal() (events.Spec, string)                           { return events.Spec{}, w.domain }
func (removal) refused(string, *facts.Configure, esconfig.Change) error { return nil }
func (removal) token() string                                           { return "remove" }

// plan is the removal's own difference: it creates nothing and costs nothing.
func (removal) plan(r *run.Run, c esconfig.Change) *run.Plan {
	p := planOf(r)
	p.Difference, p.Creates, p.Cost = c.Difference, nil, run.Cost{Currency: p.Cost.Currency}
	return &p
}

// restoration is a removal that a person asked for because the nodes do not come
// up: it needs no approval.
type restoration struct{ removal }

func (restoration) plan(*run.Run, esconfig.Change) *run.Plan { return nil }

// restore removes what the run added and stops the run: what happens next is for
// a person to decide.
func (s *Step) restore(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	out, err := s.remove(ctx, r, restoration{removal{esconfig.Domain(r)}})
	if err != nil || !out.IsDone() {
		return out, err
	}
	r.Restore = false
	return engine.Outcome{}, events.NewProblem(409, "restored", "esConfig is as it was before the run wrote it",
		events.Finding{Field: "instanceId", Message: r.Spec.InstanceID + " runs without what this run had added", Remedy: "start with a corrected spec, or tear the run down"})
}

// remove brings esConfig to what it is without the run.
func (s *Step) remove(ctx context.Context, r *run.Run, w walk) (engine.Outcome, error) {
	journal, err := esconfig.Read(ctx, s.Records, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if journal.Empty() && !wrote(r) {
		return s.removed(ctx, r)
	}
	in, err := s.Cluster.Describe(ctx, r.Spec.InstanceID)
	if apierr.IsNotFound(err) || err == nil && in.Status == escluster.Invalid { // and its configuration with it
		return s.removed(ctx, r)
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	if in.Status == escluster.Activating {
		return s.follow(ctx, r, in.ID, journal)
	}
	v, err := s.look(ctx, r, w, journal, in)
	if err != nil {
		return engine.Outcome{}, err
	}
	if !v.complete() {
		return s.write(ctx, r, w, v)
	}
	// Without a write of this walk, somebody else has removed it already.
	if out, err := s.finish(ctx, r, w, v, r.Facts.Configure != nil && r.Facts.Configure.Writes > 0); err != nil || !out.IsDone() {
		return out, err
	}
	return s.removed(ctx, r)
}

// removed ends a walk after which nothing of the run is left.
func (s *Step) removed(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	r.Facts.Configure = nil
	return s.unlocked(ctx, r)
}
