package configure

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
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

// keystore is what has to be done to an instance's secure settings.
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
// have yet, or have an older one of, and those of ours that no realm needs.
func (s *Step) keystore(ctx context.Context, book *esconfig.Book, spec events.Spec) (keystore, error) {
	var out keystore
	left := maps.Clone(book.Keystore)
	for i, u := range spec.UseCases {
		d := u.Directory()
		if d == nil || d.BindDN == "" {
			continue
		}
		field := fmt.Sprintf("useCases[%d].%s.bindSecret", i, u.Part())
		login, err := s.Login(ctx, clusters.Side{Secret: d.BindSecret, Field: field})
		if err != nil {
			return keystore{}, err
		}
		p := password{esconfig.SecurePassword(u), login.Password, d.BindSecret + " " + login.Version, field}
		if book.Keystore[p.setting] != p.version {
			out.set = append(out.set, p)
		}
		delete(left, p.setting)
	}
	out.drop = slices.Sorted(maps.Keys(left))
	return out, nil
}

// setPasswords writes the keystore. Pasts: never written; written and the reply
// lost, or the record not saved: the book says that the version is unknown, and
// the same values are written again.
func (s *Step) setPasswords(ctx context.Context, r *run.Run, book *esconfig.Book, passwords []password) (engine.Outcome, error) {
	update, known := map[string]string{}, maps.Clone(book.Keystore)
	if known == nil {
		known = map[string]string{}
	}
	book.Keystore = maps.Clone(known)
	for _, p := range passwords {
		update[p.setting], book.Keystore[p.setting], known[p.setting] = p.value, "", p.version
	}
	if err := book.Save(ctx, nil); err != nil {
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
	book.Keystore, book.Unread = known, true
	return engine.Waitf(minWait, "the keystore of cluster %s has the password that a realm binds with; the configuration is next", id), book.Save(ctx, nil)
}

// restarted waits until nodes have read a password that came without a change of
// esConfig. Unless the cloud restarts them for it by itself, within ownRestart,
// a person has to: eslink has no right to restart a cluster for anything else
// than its configuration.
func (s *Step) restarted(ctx context.Context, r *run.Run, book *esconfig.Book) (engine.Outcome, error) {
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
		book.Unread = false
		return engine.Waitf(minWait, "the nodes of cluster %s have restarted, with the password that a realm binds with", id), book.Save(ctx, nil)
	case s.Now().Sub(f.WroteAt) < ownRestart:
		return engine.Waitf(minWait, "cluster %s has a new password that a realm binds with, which its nodes read when they restart", id), nil
	}
	return engine.Outcome{}, events.NewProblem(409, "restart", "the instance's nodes have to restart",
		events.Finding{Field: "instanceId", Message: "the keystore of " + id + " has a new password that a realm binds with, and its nodes read it when they restart", Remedy: "restart the cluster in its console, then send retry"})
}

// ownRestart is how long the cloud may take to restart nodes by itself.
const ownRestart = time.Minute

// dropPasswords takes secure settings of ours out. Pasts: still there; gone
// already, or never come to be.
func (s *Step) dropPasswords(ctx context.Context, r *run.Run, book *esconfig.Book, names []string) (engine.Outcome, error) {
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
	rest := maps.Clone(book.Keystore)
	maps.DeleteFunc(rest, func(name, _ string) bool { return slices.Contains(names, name) })
	book.Keystore = rest
	return engine.Waitf(minWait, "the password that a realm was bound with is out of the keystore of cluster %s", id), book.Save(ctx, nil)
}

// mapRoles brings the run's own role mappings to what the spec says. They are
// known by their names, which are noted before they are made.
func (s *Step) mapRoles(ctx context.Context, runID string, spec events.Spec, book *esconfig.Book, nodes Nodes) error {
	want := map[string]es.RoleMapping{}
	for _, u := range spec.UseCases {
		if d := u.Directory(); d != nil {
			for i, m := range d.RoleMappings {
				want[esconfig.MappingName(runID, u, i)] = roleMapping(runID, d.Realm, m)
			}
		}
	}
	if len(want)+len(book.Mappings) == 0 {
		return nil
	}
	there, err := nodes.RoleMappings(ctx)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(want))
	all := slices.Concat(book.Mappings, names)
	slices.Sort(all)
	book.Mappings = slices.Compact(all)
	if err := book.Save(ctx, nil); err != nil {
		return err
	}
	for _, name := range book.Mappings {
		m, wanted := want[name]
		has, ok := there[name]
		switch {
		case wanted && (!ok || !same(has, m)):
			err = nodes.PutRoleMapping(ctx, name, m)
		case !wanted && ok:
			err = nodes.DeleteRoleMapping(ctx, name)
		}
		if err != nil {
			return err
		}
	}
	book.Mappings = names
	return book.Save(ctx, nil)
}

func roleMapping(runID, realm string, m events.RoleMapping) es.RoleMapping {
	field := func(name string, value any) map[string]any {
		return map[string]any{"field": map[string]any{name: value}}
	}
	rules := field("realm.name", realm)
	if len(m.Groups) > 0 {
		rules = map[string]any{"all": []any{rules, field("groups", m.Groups)}}
	}
	return es.RoleMapping{Enabled: true, Roles: m.Roles, Rules: rules, Metadata: map[string]any{"eslink": runID}}
}

func same(a, b es.RoleMapping) bool {
	rawA, errA := json.Marshal(a)
	rawB, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(rawA, rawB) // maps are encoded in order
}
