package configure

import (
	"context"
	"fmt"
	"slices"

	"eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// write replaces esConfig once the difference is approved. Possible prior
// states: nothing was written yet; the reply to an earlier write was lost before
// it took effect (nothing at the cluster has changed since, so the token is the
// same); it took effect and somebody has overwritten it since (then the token is
// another one, and the write is counted).
func (s *Step) write(ctx context.Context, r *run.Run, w walk, v view) (engine.Outcome, error) {
	// One run at a time changes a cluster's configuration: the others queue.
	if err := s.Records.Lock(ctx, lockOf(r), r.ID, lockFor); err != nil {
		return engine.Outcome{}, err
	}
	// Read again under the lock, right before writing.
	in, err := s.Cluster.Describe(ctx, r.Spec.InstanceID)
	if err != nil {
		return engine.Outcome{}, err
	}
	spec, domain := w.goal()
	v.in = in
	if v.change, err = v.journal.Of(in.Config, spec, domain); err != nil {
		return engine.Outcome{}, fmt.Errorf("cluster %s: %w", in.ID, err)
	}
	if v.complete() || in.Status != escluster.Active {
		return engine.Waitf(minWait, "cluster %s has just been changed outside this run", in.ID), nil
	}
	if err := again(r, w, v); err != nil {
		return engine.Outcome{}, err
	}
	if out, err := s.approved(ctx, r, w, v); err != nil || !out.IsDone() {
		return out, err
	}
	if r.Facts.Configure == nil {
		r.Facts.Configure = &facts.Configure{}
	}
	// The keystore comes first, in both directions: a realm without its password
	// may be, and a password without its realm keeps nodes from starting.
	switch k := v.keystore; {
	case len(k.drop) > 0:
		return s.dropPasswords(ctx, r, v.journal, k.drop)
	case len(k.set) > 0:
		return s.setPasswords(ctx, r, v.journal, k.set)
	}
	return s.replace(ctx, r, w, v)
}

// replace writes esConfig, after what the run is about to own.
func (s *Step) replace(ctx context.Context, r *run.Run, w walk, v view) (engine.Outcome, error) {
	c, f := v.change, r.Facts.Configure
	v.journal.Unread = false
	v.journal.Ours = v.journal.Ours.With(c.Then)
	if err := v.journal.Save(ctx, v.in.Config); err != nil {
		return engine.Outcome{}, err
	}
	f.Entry, f.Added = c.Want.Entry, slices.Contains(c.Then.Entries, c.Want.Entry)
	f.Keys = keys(c.Difference)
	f.WroteAt = s.Now()
	f.Writes++
	changeID, err := s.Cluster.UpdateConfig(ctx, v.in.ID, c.Next, r.Token(fmt.Sprintf("configure/%d/%s", v.in.UpdatedAt.UnixMilli(), w.token())))
	f.ChangeID = changeID
	if err != nil {
		return engine.Outcome{}, refused(f, err)
	}
	estimate, err := s.Cluster.EstimateRestart(ctx, v.in.ID)
	if err != nil {
		estimate = 2 * minWait // only the first wait depends on it
	}
	return engine.Waitf(between(estimate/2), "cluster %s is applying its new configuration and restarts its nodes one by one, in about %s by the cloud's estimate", v.in.ID, estimate), nil
}

// again judges a write after an earlier one of the same walk. Action retry
// resets the count.
func again(r *run.Run, w walk, v view) error {
	f := r.Facts.Configure
	if f == nil || f.Writes == 0 {
		return nil
	}
	if err := w.refused(v.in.ID, f, v.change); err != nil {
		f.Writes = 0
		return err
	}
	if f.Writes >= maxWrites {
		f.Writes = 0
		return fmt.Errorf("esConfig of cluster %s was written %d times and is different each time: somebody else is writing it too; stop that, then retry", v.in.ID, maxWrites)
	}
	return nil
}

// approved is Done when the change may be written; else it asks, without the
// lock, since an answer may take days.
func (s *Step) approved(ctx context.Context, r *run.Run, w walk, v view) (engine.Outcome, error) {
	p := w.plan(r, v.change)
	if p == nil {
		return engine.Done(), nil
	}
	p.Seal()
	if r.Granted(p) {
		return engine.Done(), nil
	}
	estimate, err := s.Cluster.EstimateRestart(ctx, v.in.ID)
	if err != nil {
		return engine.Outcome{}, err
	}
	p.Restart = run.Restart{Needed: true, Seconds: int(estimate.Seconds())}
	if err := s.Records.Unlock(ctx, lockOf(r), r.ID); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Ask(p), nil
}

// refused explains a write that the cloud refused.
func refused(f *facts.Configure, err error) error {
	if apierr.CodeOf(err) == "" {
		return err // its effect is unknown
	}
	f.Writes--
	if apierr.ClassOf(err) != apierr.Fatal {
		return err
	}
	return fmt.Errorf("nothing was changed; if the cloud does not allow one of %s, do without it (of certificates: with a protocol without TLS): %w", list(f.Keys), err)
}

func keys(diff []run.Change) []string {
	var out []string
	for _, d := range diff {
		out = append(out, d.Key)
	}
	return out
}
