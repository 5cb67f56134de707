package configure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/esconfig"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// follow waits for the change that the instance is carrying out, ours or
// another's, and says how far it has come.
func (s *Step) follow(ctx context.Context, r *run.Run, id string, book *esconfig.Book) (engine.Outcome, error) {
	what, f := "is carrying out a change", r.Facts.Configure
	ours := wrote(r)
	if ours {
		what = "takes up its new configuration"
		if err := s.Records.Lock(ctx, lockOf(r), r.ID, lockFor); err != nil {
			return engine.Outcome{}, err
		}
	}
	actions, err := s.Cluster.ActionRecords(ctx, id)
	if err != nil {
		return engine.Outcome{}, err
	}
	if ours && book.Unread { // whatever restarts them
		book.Unread = false
		if err := book.Save(ctx, nil); err != nil {
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
	if a.Exception == "" {
		if f != nil {
			f.Failing = time.Time{}
		}
		return engine.Wait(wait, reason), nil
	}
	reason += "; the cloud reports " + a.Exception
	switch {
	case r.Restore && f != nil && f.Writes == 0: // it would go on for ever
		return s.interrupt(ctx, r, a, reason)
	case ours && f.Writes == 0 && slices.ContainsFunc(f.Keys, esconfig.IsPassword):
		// Nodes do not start with the password of a realm that they have not, nor
		// some with a realm without its password: esConfig, which is next, makes
		// them whole.
		return s.interrupt(ctx, r, a, reason)
	case !ours:
		return engine.Wait(wait, reason), nil
	case f.Failing.IsZero():
		f.Failing = s.Now()
	case s.Now().Sub(f.Failing) > failingFor:
		f.Failing = time.Time{} // retry waits anew
		return engine.Outcome{}, events.NewProblem(409, "configuration", "the instance's nodes do not come up with the new configuration",
			events.Finding{Field: "instanceId", Message: fmt.Sprintf("%s was given %s, and the cloud reports %s", id, list(f.Keys), a.Exception),
				Remedy: fmt.Sprintf(`send {"action":"restore","runId":%q} to put esConfig back as it was before; or mend it in the console, then send retry`, r.ID)})
	}
	return engine.Wait(min(wait, failingFor/3), reason), nil
}

// interrupt ends a change that cannot succeed, so that the next can be asked for.
func (s *Step) interrupt(ctx context.Context, r *run.Run, a escluster.Action, reason string) (engine.Outcome, error) {
	err := s.Cluster.Interrupt(ctx, r.Spec.InstanceID, r.Token("configure/interrupt/"+a.ChangeID))
	return engine.Wait(minWait, reason+"; that change is being interrupted, and another one is next"), err
}

// wrote reports whether this walk has written something.
func wrote(r *run.Run) bool {
	f := r.Facts.Configure
	return f != nil && (f.Writes > 0 || !f.WroteAt.Before(r.Cursor.Since))
}

// finish ends the step when the nodes run with what the API says, and what is
// beside esConfig is as it should be too.
func (s *Step) finish(ctx context.Context, r *run.Run, g goal, book *esconfig.Book, c esconfig.Change) (engine.Outcome, error) {
	if r.Facts.Configure == nil {
		r.Facts.Configure = &facts.Configure{}
	}
	f := r.Facts.Configure
	if written := g.up || f.Writes > 0; written || len(book.Mappings) > 0 {
		nodes, err := s.Nodes(ctx, r)
		if err != nil {
			return engine.Outcome{}, err
		}
		if written { // else another hand has taken it out
			if out, err := s.readBack(ctx, r, nodes, book, c); err != nil || !out.IsDone() {
				return out, clusters.Explain(err, clusters.Destination(r))
			}
		}
		if err := s.mapRoles(ctx, r.ID, g.spec, book, nodes); err != nil {
			return engine.Outcome{}, clusters.Explain(err, clusters.Destination(r))
		}
	}
	book.Ours = c.Then
	if err := book.Save(ctx, nil); err != nil {
		return engine.Outcome{}, err
	}
	if !g.up {
		return s.gone(ctx, r)
	}
	f.Entry, f.Added, f.Writes = c.Want.Entry, slices.Contains(c.Then.Entries, c.Want.Entry), 0
	return engine.Done(), s.Records.Unlock(ctx, lockOf(r), r.ID)
}

// readBack is done when the nodes run with what the API says.
func (s *Step) readBack(ctx context.Context, r *run.Run, nodes Nodes, book *esconfig.Book, c esconfig.Change) (engine.Outcome, error) {
	f := r.Facts.Configure
	settings, err := nodes.NodeSettings(ctx)
	if err != nil {
		return engine.Outcome{}, err
	}
	differ := unlike(settings, c, book.Ours)
	if len(differ) == 0 && len(settings) > 0 {
		f.Unlike = time.Time{}
		return engine.Done(), nil
	}
	if f.Unlike.IsZero() {
		f.Unlike = s.Now()
	}
	text := fmt.Sprintf("cluster %s is active, but nodes do not run with the configuration that it was given: %s", r.Spec.InstanceID, list(differ))
	if s.Now().Sub(f.Unlike) > unlikeFor {
		f.Unlike = time.Time{}
		return engine.Outcome{}, errors.New(text + ": restart the cluster in its console, then retry")
	}
	return engine.Wait(minWait, text), nil
}

// unlike lists, by node, what a node does not run with. Of the settings, those
// that nodes show tell that they have restarted: an entry, Watcher, and a realm
// by its place.
func unlike(nodes map[string]es.Settings, c esconfig.Change, ours esconfig.Ours) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		has := nodes[name]
		var keys []string
		entries := slices.DeleteFunc(append(slices.Clone(ours.Entries), c.Want.Entry), func(e string) bool { return e == "" })
		whitelist := has.List(esconfig.Whitelist)
		if slices.ContainsFunc(entries, func(e string) bool { return slices.Contains(whitelist, e) != (e == c.Want.Entry) }) {
			keys = append(keys, esconfig.Whitelist)
		}
		for key, set := range ours.Settings {
			if _, wanted := c.Want.Settings[key]; !wanted && shown(key) && has.Text(key) == set.After && c.Next[key] != set.After {
				keys = append(keys, key)
			}
		}
		for key, value := range c.Want.Settings {
			if shown(key) && has.Text(key) != value {
				keys = append(keys, key)
			}
		}
		if len(keys) > 0 {
			slices.Sort(keys)
			out = append(out, name+" ("+list(keys)+")")
		}
	}
	return out
}

func shown(key string) bool {
	return key == esconfig.WatcherEnabled || strings.HasPrefix(key, esconfig.Realms) && strings.HasSuffix(key, ".order")
}

// refused explains a write that the cloud turned down.
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

func list(items []string) string { return strings.Join(items, ", ") }

func lockOf(r *run.Run) string { return "config/" + r.Spec.InstanceID }

func between(d time.Duration) time.Duration { return min(max(d, minWait), maxWait) }
