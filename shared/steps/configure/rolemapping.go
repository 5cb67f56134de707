package configure

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"eslink/events"
	"eslink/shared/es"
	"eslink/shared/esconfig"
)

// mapRoles brings the run's own role mappings to what the spec says. They are
// identified by their names, which are stored before they are created.
func (s *Step) mapRoles(ctx context.Context, runID string, spec events.Spec, journal *esconfig.Journal, nodes Nodes) error {
	want := map[string]es.RoleMapping{}
	for _, u := range spec.UseCases {
		if d := u.Directory(); d != nil {
			for i, m := range d.RoleMappings {
				want[esconfig.MappingName(runID, u, i)] = roleMapping(runID, d.Realm, m)
			}
		}
	}
	if len(want)+len(journal.Mappings) == 0 {
		return nil
	}
	there, err := nodes.RoleMappings(ctx)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(want))
	all := slices.Concat(journal.Mappings, names)
	slices.Sort(all)
	journal.Mappings = slices.Compact(all)
	if err := journal.Save(ctx, nil); err != nil {
		return err
	}
	for _, name := range journal.Mappings {
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
	journal.Mappings = names
	return journal.Save(ctx, nil)
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
