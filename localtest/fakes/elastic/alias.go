package elastic

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// alias is one index behind a second name.
type alias struct {
	filter                      json.RawMessage // nil: every document
	indexRouting, searchRouting string
	writeIndex, hidden          *bool // nil: not given
}

func parseAlias(name string, body map[string]json.RawMessage) (a alias, err *Error) {
	for _, k := range slices.Sorted(maps.Keys(body)) {
		var into any
		switch k {
		case "filter":
			if raw := body[k]; string(raw) != "null" {
				a.filter = raw
			}
			continue
		case "routing":
			var both string
			if err := decodeMember(body[k], &both); err != nil {
				return a, err.(*Error)
			}
			a.indexRouting, a.searchRouting = both, both
			continue
		case "index_routing":
			into = &a.indexRouting
		case "search_routing":
			into = &a.searchRouting
		case "is_write_index":
			into = &a.writeIndex
		case "is_hidden":
			into = &a.hidden
		default:
			return a, illegal("Unknown field [%s] in alias [%s]", k, name)
		}
		if err := decodeMember(body[k], into); err != nil {
			return a, err.(*Error)
		}
	}
	return a, nil
}

func parseAliases(raw json.RawMessage) (map[string]alias, error) {
	var bodies map[string]map[string]json.RawMessage
	if err := decodeMember(raw, &bodies); err != nil {
		return nil, err
	}
	if bodies == nil {
		return nil, nil
	}
	out := map[string]alias{}
	for name, body := range bodies {
		a, e := parseAlias(name, body)
		if e != nil {
			return nil, e
		}
		out[name] = a
	}
	return out, nil
}

func (a alias) reply() object {
	out := obj()
	if len(a.filter) > 0 {
		out = out.with("filter", a.filter)
	}
	if a.indexRouting != "" {
		out = out.with("index_routing", a.indexRouting)
	}
	if a.searchRouting != "" {
		out = out.with("search_routing", a.searchRouting)
	}
	if a.writeIndex != nil {
		out = out.with("is_write_index", *a.writeIndex)
	}
	if a.hidden != nil {
		out = out.with("is_hidden", *a.hidden)
	}
	return out
}

func aliasesReply(all map[string]alias, pattern string) object {
	out := obj()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if wild(pattern, name) {
			out = out.with(name, all[name].reply())
		}
	}
	return out
}

func (a alias) writes() bool { return a.writeIndex != nil && *a.writeIndex }

// checkAliases refuses names that an index has.
func (s *cluster) checkAliases(all map[string]alias) *Error {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		ix, isIndex := s.indices[name]
		switch {
		case isIndex && s.version.atLeast(7, 11):
			return fail(400, "invalid_alias_name_exception", "Invalid alias name [%s]: an index or data stream exists with the same name as the alias", name)
		case isIndex:
			return fail(400, "invalid_alias_name_exception", "Invalid alias name [%s], an index exists with the same name as the alias", name).with("index_uuid", ix.uuid, "index", name)
		}
	}
	return nil
}

// addAliases gives an index all these aliases, or none: an alias has one write index.
func (s *cluster) addAliases(ix *index, all map[string]alias) *Error {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !all[name].writes() {
			continue
		}
		writers := []string{ix.name}
		for other, o := range s.indices {
			if other != ix.name && o.aliases[name].writes() {
				writers = append(writers, other)
			}
		}
		if len(writers) > 1 {
			slices.Sort(writers)
			return fail(500, "illegal_state_exception", "alias [%s] has more than one write index [%s]", name, strings.Join(writers, ","))
		}
	}
	maps.Copy(ix.aliases, all)
	return nil
}

// behind are the indices that have an alias, by name.
func (s *cluster) behind(name string) (out []*index) {
	for _, n := range slices.Sorted(maps.Keys(s.indices)) {
		if s.indices[n].hasAlias(name) {
			out = append(out, s.indices[n])
		}
	}
	return out
}

// writeIndex is where a write to an alias goes; nil: nowhere that is said.
func writeIndex(behind []*index, name string) *index {
	for _, ix := range behind {
		if ix.aliases[name].writes() {
			return ix
		}
	}
	if len(behind) == 1 && behind[0].aliases[name].writeIndex == nil {
		return behind[0]
	}
	return nil
}

// routed is the routing of a document that is named by way of an alias.
func (ix *index) routed(name, id, routing string) (string, *Error) {
	own := ix.aliases[name].indexRouting
	switch {
	case own == "" || own == routing:
		return routing, nil
	case routing == "":
		return own, nil
	}
	return "", illegal("Alias [%s] has index routing associated with it [%s], and was provided with routing value [%s], rejecting operation", name, own, routing)
}

func (c *call) getAlias() (int, any, error) {
	name, found := c.vars["name"], false
	list, err := c.named("indices:admin/aliases/get")
	if err != nil {
		return 0, nil, err
	}
	reply := obj()
	for _, ix := range list {
		pattern := name
		if pattern == "" {
			pattern = "*"
		}
		if aliases := aliasesReply(ix.aliases, pattern); len(aliases) > 0 || name == "" {
			reply, found = reply.with(ix.name, obj("aliases", aliases)), true
		}
	}
	if !found && name != "" && !strings.Contains(name, "*") {
		return 404, obj("error", fmt.Sprintf("alias [%s] missing", name), "status", 404), nil
	}
	return 200, reply, nil
}

func (c *call) putAlias() (int, any, error) {
	var body map[string]json.RawMessage
	if err := c.json(&body); err != nil {
		return 0, nil, err
	}
	a, e := parseAlias(c.vars["name"], body)
	if e != nil {
		return 0, nil, e
	}
	return c.alias("add", c.vars["index"], c.vars["name"], a)
}

func (c *call) deleteAlias() (int, any, error) {
	return c.alias("remove", c.vars["index"], c.vars["name"], alias{})
}

func (c *call) alias(action, names, name string, a alias) (int, any, error) {
	list, _, err := c.resolve(names, "indices:admin/aliases")
	if err != nil {
		return 0, nil, err
	}
	if e := c.s.checkAliases(map[string]alias{name: a}); e != nil && action == "add" {
		return 0, nil, e
	}
	for _, ix := range list {
		switch action {
		case "add":
			if e := c.s.addAliases(ix, map[string]alias{name: a}); e != nil {
				return 0, nil, e
			}
		case "remove":
			if !ix.hasAlias(name) {
				return 0, nil, fail(404, "aliases_not_found_exception", "aliases [%s] missing", name).with("resource.type", "aliases", "resource.id", name)
			}
			delete(ix.aliases, name)
		default:
			return 0, nil, unsupported("alias action [%s]", action)
		}
	}
	return 200, obj("acknowledged", true), nil
}

// updateAliases applies its actions in order; unlike a real cluster it keeps the
// first ones when a later one is refused.
func (c *call) updateAliases() (int, any, error) {
	var body struct {
		Actions []map[string]map[string]json.RawMessage
	}
	if err := c.json(&body); err != nil {
		return 0, nil, err
	}
	for _, one := range body.Actions {
		for action, spec := range one {
			var indices, names []string
			for k, into := range map[string]*[]string{"index": &indices, "indices": &indices, "alias": &names, "aliases": &names} {
				var v any
				if err := decodeMember(spec[k], &v); err != nil {
					return 0, nil, err
				}
				*into = append(*into, stringList(v)...)
				delete(spec, k)
			}
			if err := c.changeAliases(action, strings.Join(indices, ","), names, spec); err != nil {
				return 0, nil, err
			}
		}
	}
	return 200, obj("acknowledged", true), nil
}

func (c *call) changeAliases(action, indices string, names []string, spec map[string]json.RawMessage) error {
	for _, name := range names {
		a, e := parseAlias(name, spec)
		if e != nil {
			return e
		}
		if e := c.permit("indices:admin/aliases", splitList(indices)...); e != nil {
			return e
		}
		if _, _, err := c.alias(action, indices, name, a); err != nil {
			return err
		}
	}
	return nil
}
