package configure

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"eslink/events"
	"eslink/shared/access"
	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/esconfig"
	"eslink/shared/run"
)

// password is a secure setting that has to be given its value.
type password struct {
	setting, value, version string
	field                   string // of the spec
}

// passwords are those that realms bind with and that the nodes do not have yet,
// or have an older one of.
func (s *Step) passwords(ctx context.Context, book *esconfig.Book, spec events.Spec) ([]password, error) {
	var out []password
	for i, u := range spec.UseCases {
		d := u.Directory()
		if d == nil || d.BindDN == "" {
			continue
		}
		field := fmt.Sprintf("useCases[%d].%s.bindSecret", i, u.Part())
		login, err := s.Login(ctx, access.Side{Secret: d.BindSecret, Field: field})
		if err != nil {
			return nil, err
		}
		p := password{esconfig.SecurePassword(u), login.Password, d.BindSecret + " " + login.Version, field}
		if book.Keystore[p.setting] != p.version {
			out = append(out, p)
		}
	}
	return out, nil
}

// setPasswords writes the keystore. Pasts: never written; written and the reply
// lost, or the record not saved: the book says that the version is unknown, and
// the same values are written again.
func (s *Step) setPasswords(ctx context.Context, r *run.Run, book *esconfig.Book, passwords []password) (engine.Outcome, error) {
	update, unknown, known := map[string]string{}, map[string]string{}, map[string]string{}
	for _, p := range passwords {
		update[p.setting], unknown[p.setting], known[p.setting] = p.value, "", p.version
	}
	if err := s.keep(ctx, book, unknown); err != nil {
		return engine.Outcome{}, err
	}
	f := r.Facts.Configure
	f.WroteAt, f.Keys = s.Now(), slices.Sorted(maps.Keys(update))
	f.Writes++
	err := s.Cluster.SetKeystore(ctx, r.Spec.InstanceID, update, nil)
	if apierr.CodeOf(err) != "" {
		f.Writes--
	}
	if apierr.CodeOf(err) != "" && apierr.ClassOf(err) == apierr.Fatal {
		return engine.Outcome{}, noKeystore(passwords[0].field, r.Spec.InstanceID, err)
	}
	if err == nil {
		err = s.keep(ctx, book, known)
	}
	return engine.Waitf(minWait, "the keystore of cluster %s has the password that a realm binds with; the configuration is next", r.Spec.InstanceID), err
}

func (s *Step) keep(ctx context.Context, book *esconfig.Book, versions map[string]string) error {
	all := maps.Clone(book.Keystore)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, versions)
	book.Keystore = all
	return book.Save(ctx, nil)
}

// noKeystore says that a realm cannot bind with a password.
func noKeystore(field, id string, err error) error {
	return events.NewProblem(409, "keystore", "a realm cannot be given a password to bind with",
		events.Finding{Field: field, Message: fmt.Sprintf("%s takes no secure setting: %v", id, err), Remedy: esconfig.KeystoreRemedy})
}

// dropPasswords takes secure settings out that are ours and needed no more; no
// realm names them any longer.
func (s *Step) dropPasswords(ctx context.Context, r *run.Run, spec events.Spec, book *esconfig.Book) (engine.Outcome, error) {
	left := maps.Clone(book.Keystore)
	for _, u := range spec.UseCases {
		if d := u.Directory(); d != nil && d.BindDN != "" {
			delete(left, esconfig.SecurePassword(u))
		}
	}
	if len(left) == 0 {
		return engine.Done(), nil
	}
	if err := s.Records.Lock(ctx, lockOf(r), r.ID, lockFor); err != nil {
		return engine.Outcome{}, err
	}
	there, err := s.Cluster.Keystore(ctx, r.Spec.InstanceID)
	if err != nil {
		return engine.Outcome{}, err
	}
	drop := slices.DeleteFunc(slices.Sorted(maps.Keys(left)), func(name string) bool { return !slices.Contains(there, name) })
	if len(drop) > 0 {
		err := s.Cluster.SetKeystore(ctx, r.Spec.InstanceID, nil, drop)
		return engine.Waitf(minWait, "the password that a realm was bound with is taken out of the keystore of cluster %s", r.Spec.InstanceID), err
	}
	rest := maps.Clone(book.Keystore)
	maps.DeleteFunc(rest, func(name, _ string) bool { _, gone := left[name]; return gone })
	book.Keystore = rest
	return engine.Done(), book.Save(ctx, nil)
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
