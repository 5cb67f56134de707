package configure

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/engine"
	"eslink/shared/esconfig"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// keystore is what has to be done to a cluster's secure settings.
type keystore struct {
	set  []password
	drop []string // names
}

func (k keystore) empty() bool { return len(k.set)+len(k.drop) == 0 }

// password is a secure setting that has to be given its value.
type password struct {
	setting, value, version string
	field                   string // of the spec
}

// keystore finds the passwords that realms bind with and that the nodes do not
// have yet, or have in an older version, and those of the run that no realm needs.
func (s *Step) keystore(ctx context.Context, journal *esconfig.Journal, spec events.Spec, p *facts.Preflight) (keystore, error) {
	var out keystore
	unused := maps.Clone(journal.Keystore)
	binds := clusters.Binds(spec, p)
	for _, i := range slices.Sorted(maps.Keys(binds)) {
		side := binds[i]
		login, err := s.Login(ctx, side)
		if err != nil {
			return keystore{}, err
		}
		p := password{esconfig.SecurePassword(spec.UseCases[i]), login.Password, side.Secret + " " + login.Version, side.Field}
		if journal.Keystore[p.setting] != p.version {
			out.set = append(out.set, p)
		}
		delete(unused, p.setting)
	}
	out.drop = slices.Sorted(maps.Keys(unused))
	return out, nil
}

// setPasswords writes the keystore. Possible prior states: never written;
// written, and the reply lost or the record not saved (the journal says that the
// version is unknown, and the same values are written again).
func (s *Step) setPasswords(ctx context.Context, r *run.Run, journal *esconfig.Journal, passwords []password) (engine.Outcome, error) {
	update, known := map[string]string{}, maps.Clone(journal.Keystore)
	if known == nil {
		known = map[string]string{}
	}
	journal.Keystore = maps.Clone(known)
	for _, p := range passwords {
		update[p.setting], journal.Keystore[p.setting], known[p.setting] = p.value, "", p.version
	}
	if err := journal.Save(ctx, nil); err != nil {
		return engine.Outcome{}, err
	}
	id, f := r.Spec.InstanceID, r.Facts.Configure
	f.WroteAt, f.Keys = s.Now(), slices.Sorted(maps.Keys(update))
	err := s.Cluster.SetKeystore(ctx, id, update, nil)
	if apierr.CodeOf(err) != "" && apierr.ClassOf(err) == apierr.Fatal {
		return engine.Outcome{}, events.NewProblem(409, "keystore", "a realm cannot be given a password to bind with",
			events.Finding{Field: passwords[0].field, Message: fmt.Sprintf("%s takes no secure setting: %v", id, err), Remedy: esconfig.KeystoreRemedy})
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	journal.Keystore, journal.Unread = known, true
	if err := journal.Save(ctx, nil); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(minWait, "the keystore of cluster %s has the password that a realm binds with; the configuration is next", id), nil
}

// restarted waits until nodes have read a password that came without a change of
// esConfig. Unless the cloud restarts them for it by itself, within ownRestart,
// a person has to: eslink has no right to restart a cluster for anything else
// than its configuration.
func (s *Step) restarted(ctx context.Context, r *run.Run, journal *esconfig.Journal) (engine.Outcome, error) {
	id, f := r.Spec.InstanceID, r.Facts.Configure
	if f == nil { // the record of the write is lost
		f = &facts.Configure{WroteAt: s.Now()}
		r.Facts.Configure = f
	}
	actions, err := s.Cluster.ActionRecords(ctx, id)
	switch {
	case err != nil:
		return engine.Outcome{}, err
	case slices.ContainsFunc(actions, func(a escluster.Action) bool { return a.Start.After(f.WroteAt) }):
		journal.Unread = false
		if err := journal.Save(ctx, nil); err != nil {
			return engine.Outcome{}, err
		}
		return engine.Waitf(minWait, "the nodes of cluster %s have restarted with the password that a realm binds with", id), nil
	case s.Now().Sub(f.WroteAt) < ownRestart:
		return engine.Waitf(minWait, "cluster %s has a new password that a realm binds with, which its nodes read when they restart", id), nil
	}
	return engine.Outcome{}, events.NewProblem(409, "restart", "the cluster's nodes have to restart",
		events.Finding{Field: "instanceId", Message: "the keystore of " + id + " has a new password that a realm binds with, and its nodes read it when they restart", Remedy: "restart the cluster in its console, then send retry"})
}

// ownRestart is how long the cloud may take to restart nodes by itself.
const ownRestart = time.Minute

// dropPasswords removes secure settings of the run. Possible prior states: still
// there; gone already, or never written.
func (s *Step) dropPasswords(ctx context.Context, r *run.Run, journal *esconfig.Journal, names []string) (engine.Outcome, error) {
	id, f := r.Spec.InstanceID, r.Facts.Configure
	there, err := s.Cluster.Keystore(ctx, id)
	if err != nil {
		return engine.Outcome{}, err
	}
	drop := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(there, name) })
	if len(drop) > 0 {
		f.WroteAt, f.Keys = s.Now(), drop
		if err := s.Cluster.SetKeystore(ctx, id, nil, drop); err != nil {
			return engine.Outcome{}, err
		}
	}
	rest := maps.Clone(journal.Keystore)
	maps.DeleteFunc(rest, func(name, _ string) bool { return slices.Contains(names, name) })
	journal.Keystore = rest
	if err := journal.Save(ctx, nil); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(minWait, "the password that a realm was bound with is removed from the keystore of cluster %s", id), nil
}
