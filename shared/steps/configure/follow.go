package configure

import (
	"context"
	"fmt"
	"slices"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/engine"
	"eslink/shared/esconfig"
	"eslink/shared/run"
)

// follow waits for the change that the cluster is carrying out, the run's or
// another, and says how far it has come.
func (s *Step) follow(ctx context.Context, r *run.Run, id string, journal *esconfig.Journal) (engine.Outcome, error) {
	what := "is carrying out a change"
	ours := wrote(r)
	if ours {
		what = "is applying its new configuration"
		if err := s.Records.Lock(ctx, lockOf(r), r.ID, lockFor); err != nil {
			return engine.Outcome{}, err
		}
	}
	actions, err := s.Cluster.ActionRecords(ctx, id)
	if err != nil {
		return engine.Outcome{}, err
	}
	if ours && journal.Unread { // the nodes restart, whatever for
		journal.Unread = false
		if err := journal.Save(ctx, nil); err != nil {
			return engine.Outcome{}, err
		}
	}
	i := slices.IndexFunc(actions, func(a escluster.Action) bool { return a.State == escluster.ChangeUnderWay })
	if i < 0 {
		return engine.Waitf(minWait, "cluster %s %s", id, what), nil
	}
	a := actions[i]
	elapsed := s.Now().Sub(a.Start)
	wait := between(elapsed / 16) // adds a sixteenth to the restart at most
	reason := fmt.Sprintf("cluster %s %s (%s)", id, what, a.Name)
	if a.Nodes > 0 {
		reason += fmt.Sprintf(": %d of %d nodes done", a.Completed, a.Nodes)
		// The next node is not done yet, so the rest takes at least so long.
		wait = between(max(elapsed*time.Duration(a.Nodes)/time.Duration(a.Completed+1)-elapsed, elapsed/16))
	}
	if a.Percent != "" {
		reason += ", " + a.Percent
	}
	if a.Exception != "" {
		return s.failing(ctx, r, a, wait, reason+"; the cloud reports "+a.Exception)
	}
	if f := r.Facts.Configure; f != nil {
		f.Failing = time.Time{}
	}
	return engine.Wait(wait, reason), nil
}

// failing handles a change during which nodes do not start: it interrupts one
// that cannot succeed, and leaves one of the run's own to a person in the end.
func (s *Step) failing(ctx context.Context, r *run.Run, a escluster.Action, wait time.Duration, reason string) (engine.Outcome, error) {
	f, ours := r.Facts.Configure, wrote(r)
	switch {
	case r.Restore && f != nil && f.Writes == 0: // it would go on for ever
		return s.interrupt(ctx, r, a, reason)
	case ours && f.Writes == 0 && slices.ContainsFunc(f.Keys, esconfig.IsPassword):
		// Nodes do not start with the password of a realm that they do not have, nor
		// some with a realm without its password. esConfig comes next and completes
		// the pair.
		return s.interrupt(ctx, r, a, reason)
	case !ours:
		return engine.Wait(wait, reason), nil
	case f.Failing.IsZero():
		f.Failing = s.Now()
	case s.Now().Sub(f.Failing) > failingFor:
		f.Failing = time.Time{} // so that retry waits again
		return engine.Outcome{}, events.NewProblem(409, "configuration", "the cluster's nodes do not start with the new configuration",
			events.Finding{Field: "instanceId", Message: fmt.Sprintf("%s was given %s, and the cloud reports %s", r.Spec.InstanceID, list(f.Keys), a.Exception),
				Remedy: fmt.Sprintf(`send {"action":"restore","runId":%q} to set esConfig back to what it was before; or correct it in the console, then send retry`, r.ID)})
	}
	return engine.Wait(min(wait, failingFor/3), reason), nil
}

// interrupt ends a change that cannot succeed, so that the next can be requested.
func (s *Step) interrupt(ctx context.Context, r *run.Run, a escluster.Action, reason string) (engine.Outcome, error) {
	if err := s.Cluster.Interrupt(ctx, r.Spec.InstanceID, r.Token("configure/interrupt/"+a.ChangeID)); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Wait(minWait, reason+"; that change is being interrupted, and another one is next"), nil
}
