package security

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/privilege"
	"eslink/localtest/fakes/elastic/store"
)

// builtinRoles are those of Elasticsearch's own that this server knows.
var builtinRoles = map[string]privilege.Role{
	"superuser":       {Cluster: []string{"all"}, Indices: []privilege.IndexPrivileges{{Names: []string{"*"}, Privileges: []string{"all"}}}},
	"monitoring_user": {Cluster: []string{"cluster:monitor/main"}, Indices: []privilege.IndexPrivileges{{Names: []string{".monitoring-*"}, Privileges: []string{"read"}}}},
	"viewer":          {Indices: []privilege.IndexPrivileges{{Names: []string{"*"}, Privileges: []string{"read", "view_index_metadata"}}}},
}

// withRoles is a user who may do what these roles allow. A role that nobody
// defined allows nothing.
func (l *Logins) withRoles(names []string) privilege.User {
	u := privilege.User{Roles: append([]string{}, names...)}
	for _, n := range names {
		role, ok := l.S.Config.Roles[n]
		if !ok {
			role = builtinRoles[n]
		}
		u.Cluster, u.Indices = append(u.Cluster, role.Cluster...), append(u.Indices, role.Indices...)
	}
	return u
}

// roleMapping is one of _security/role_mapping.
type roleMapping struct {
	enabled  bool
	roles    []string
	rules    rule
	rulesRaw json.RawMessage
	metadata json.RawMessage
}

func (m roleMapping) object() esjson.Object {
	return esjson.Obj("enabled", m.enabled, "roles", append([]string{}, m.roles...), "rules", m.rulesRaw, "metadata", m.metadata)
}

// rule says whether it holds for an identity.
type rule func(identity) bool

// rolesOf are the roles of a directory's user: its groups' own names, if the
// realm takes unmapped groups for roles, and those of the mappings that hold.
// Real servers list them in the order of a hash.
func rolesOf(r *realm, id identity, mappings map[string]roleMapping) ([]string, *esjson.Error) {
	roles := map[string]bool{}
	for _, g := range id.groups {
		dn, err := ldap.ParseDN(g)
		if err != nil || len(dn.RDNs) == 0 {
			return nil, notAuthenticated(esjson.Illegal("invalid DN [%s]", g).Because(esjson.Fail(401, "l_d_a_p_exception",
				"Unable to parse string '%s' as a DN because it does not have an equal sign after RDN attribute '%s'.", g, g)))
		}
		if r.flag("unmapped_groups_as_roles", false) {
			roles[dn.RDNs[0].Attributes[0].Value] = true
		}
	}
	for _, m := range mappings {
		if m.enabled && m.rules(id) {
			for _, name := range m.roles {
				roles[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(roles)), nil
}

func (l *Logins) GetRoleMapping(c *store.Call) (int, any, error) {
	names := esjson.SplitList(c.Vars["name"])
	out := esjson.Obj()
	for _, n := range slices.Sorted(maps.Keys(l.mappings)) {
		if len(names) == 0 || slices.Contains(names, n) {
			out = out.With(n, l.mappings[n].object())
		}
	}
	if len(names) > 0 && len(out) == 0 {
		return 404, out, nil
	}
	return 200, out, nil
}

func (l *Logins) DeleteRoleMapping(c *store.Call) (int, any, error) {
	if _, ok := l.mappings[c.Vars["name"]]; !ok {
		return 404, esjson.Obj("found", false), nil
	}
	l.mappings = maps.Clone(l.mappings) // a login may be reading it
	delete(l.mappings, c.Vars["name"])
	l.clearCaches("*", nil)
	return 200, esjson.Obj("found", true), nil
}

func (l *Logins) PutRoleMapping(c *store.Call) (int, any, error) {
	name := c.Vars["name"]
	if len(c.Body) == 0 {
		return 0, nil, esjson.Fail(400, "parse_exception", "request body is required")
	}
	keys, values, err := esjson.Members(c.Body)
	if err != nil {
		return 0, nil, esjson.Fail(400, "parsing_exception", "Failed to parse content: %s", err)
	}
	m := roleMapping{enabled: true, metadata: json.RawMessage("{}")}
	for _, k := range keys {
		raw := values[k]
		var err error
		switch k {
		case "enabled":
			err = json.Unmarshal(raw, &m.enabled)
		case "roles":
			err = json.Unmarshal(raw, &m.roles)
		case "rules":
			var e *esjson.Error
			if m.rules, e = parseRule(name, "", raw, false); e != nil {
				inner := esjson.Fail(400, "x_content_parse_exception", "[1:1] [role-mapping] failed to parse field [rules]").Because(e)
				return 0, nil, parsing("%s", inner.Reason).Because(inner)
			}
			m.rulesRaw = raw
		case "metadata":
			m.metadata = raw
		case "role_templates":
			return 0, nil, esjson.Unsupported("role_templates in role mapping [%s]", name)
		default:
			e := esjson.Fail(400, "x_content_parse_exception", "[1:1] [role-mapping] unknown field [%s]", k)
			return 0, nil, parsing("%s", e.Reason).Because(e)
		}
		if err != nil {
			e := esjson.Fail(400, "x_content_parse_exception", "[1:1] [role-mapping] failed to parse field [%s]", k)
			return 0, nil, parsing("%s", e.Reason).Because(e)
		}
	}
	for _, missing := range []struct {
		name string
		is   bool
	}{{"roles", len(m.roles) == 0}, {"rules", m.rules == nil}} {
		if missing.is {
			e := esjson.Fail(400, "illegal_state_exception", "failed to parse role-mapping [%s]. missing field [%s]", name, missing.name)
			return 0, nil, parsing("%s", e.Reason).Because(e)
		}
	}
	_, updated := l.mappings[name]
	l.mappings = maps.Clone(l.mappings)
	if l.mappings == nil {
		l.mappings = map[string]roleMapping{}
	}
	l.mappings[name] = m
	l.clearCaches("*", nil)
	return 200, esjson.Obj("role_mapping", esjson.Obj("created", !updated)), nil
}

func parsing(format string, args ...any) *esjson.Error {
	return esjson.Fail(400, "parsing_exception", format, args...).With("line", 1, "col", 1)
}

func badRule(format string, args ...any) *esjson.Error {
	return esjson.Fail(400, "parse_exception", "failed to parse rules expression. "+format, args...)
}

// parseRule reads {"field":…}, {"all":[…]}, {"any":[…]} and, within all and any
// alone, {"except":{…}}.
func parseRule(mapping, within string, raw json.RawMessage, mayExcept bool) (rule, *esjson.Error) {
	keys, values, err := esjson.Members(raw)
	if err != nil {
		return nil, badRule("expected [object] to be an object but found %s instead", raw)
	}
	at := cmp.Or(within, mapping)
	if len(keys) != 1 {
		return nil, badRule("object [%s] contains multiple fields", at)
	}
	kind := keys[0]
	switch kind {
	case "field":
		return parseField(values[kind])
	case "all", "any":
		var list []json.RawMessage
		if json.Unmarshal(values[kind], &list) != nil {
			return nil, badRule("field [%s] requires an array", kind)
		}
		var rules []rule
		for _, item := range list {
			r, e := parseRule(mapping, kind, item, true)
			if e != nil {
				return nil, e
			}
			rules = append(rules, r)
		}
		all := kind == "all"
		return func(id identity) bool {
			return slices.ContainsFunc(rules, func(r rule) bool { return r(id) != all }) != all
		}, nil
	case "except":
		if !mayExcept {
			return nil, badRule("field [except] is not allowed within [%s]", at)
		}
		inner, e := parseRule(mapping, kind, values[kind], false)
		return func(id identity) bool { return !inner(id) }, e
	}
	return nil, badRule("field [%s] is not recognised in object [%s]", kind, at)
}

func parseField(raw json.RawMessage) (rule, *esjson.Error) {
	keys, values, err := esjson.Members(raw)
	if err != nil {
		return nil, badRule("expected [field] to be an object but found %s instead", raw)
	}
	if len(keys) != 1 {
		return nil, badRule("object [field] contains multiple fields")
	}
	name := keys[0]
	var value any
	_ = json.Unmarshal(values[name], &value) // members has read it
	wanted, isList := value.([]any)
	if !isList {
		wanted = []any{value}
	}
	for _, w := range wanted {
		if s, ok := w.(string); ok && strings.HasPrefix(s, "/") {
			return nil, esjson.Unsupported("a pattern [%s] in a role mapping", s)
		}
	}
	has := func(id identity) []string {
		switch name {
		case "username":
			return []string{id.name}
		case "dn":
			return []string{id.dn}
		case "groups":
			return id.groups
		case "realm.name":
			return []string{id.realm}
		case "metadata.ldap_dn":
			return []string{id.dn}
		case "metadata.ldap_groups":
			return id.groups
		}
		return nil
	}
	isDN := name == "dn" || name == "groups"
	return func(id identity) bool {
		have := has(id)
		return slices.ContainsFunc(wanted, func(w any) bool {
			s, ok := w.(string)
			if !ok {
				return w == nil && len(have) == 0 && !isDN
			}
			return slices.ContainsFunc(have, func(h string) bool {
				return isDN && fitsDN(s, h) || !isDN && esjson.Wild(s, h)
			})
		})
	}, nil
}

// fitsDN compares as DNs are compared; "*,dc=x" is everything below dc=x.
func fitsDN(pattern, have string) bool {
	if strings.EqualFold(pattern, have) {
		return true
	}
	dn, err := ldap.ParseDN(have)
	if err != nil {
		return false
	}
	if !strings.Contains(pattern, "*") {
		wanted, err := ldap.ParseDN(pattern)
		return err == nil && dn.EqualFold(wanted)
	}
	if suffix, below := strings.CutPrefix(pattern, "*,"); below && !strings.Contains(suffix, "*") {
		if above, err := ldap.ParseDN(suffix); err == nil && above.AncestorOfFold(dn) {
			return true
		}
	}
	return esjson.Wild(pattern, have) || esjson.Wild(pattern, strings.ToLower(have)) || esjson.Wild(pattern, strings.ToUpper(have))
}
