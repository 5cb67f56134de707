package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
)

// checkAliases refuses names that an index has.
func (s *Cluster) checkAliases(all map[string]index.Alias) *esjson.Error {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		ix, isIndex := s.Indices[name]
		switch {
		case isIndex && s.Version.AtLeast(7, 11):
			return esjson.Fail(400, "invalid_alias_name_exception", "Invalid alias name [%s]: an index or data stream exists with the same name as the alias", name)
		case isIndex:
			return esjson.Fail(400, "invalid_alias_name_exception", "Invalid alias name [%s], an index exists with the same name as the alias", name).With("index_uuid", ix.UUID, "index", name)
		}
	}
	return nil
}

// addAliases gives an index all these aliases, or none: an alias has one write index.
func (s *Cluster) addAliases(ix *index.Index, all map[string]index.Alias) *esjson.Error {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !all[name].Writes() {
			continue
		}
		writers := []string{ix.Name}
		for other, o := range s.Indices {
			if other != ix.Name && o.Aliases[name].Writes() {
				writers = append(writers, other)
			}
		}
		if len(writers) > 1 {
			slices.Sort(writers)
			return esjson.Fail(500, "illegal_state_exception", "alias [%s] has more than one write index [%s]", name, strings.Join(writers, ","))
		}
	}
	maps.Copy(ix.Aliases, all)
	return nil
}

// behind are the indices that have an alias, by name.
func (s *Cluster) behind(name string) (out []*index.Index) {
	for _, n := range slices.Sorted(maps.Keys(s.Indices)) {
		if s.Indices[n].HasAlias(name) {
			out = append(out, s.Indices[n])
		}
	}
	return out
}

func (c *Call) GetAlias() (int, any, error) {
	name, found := c.Vars["name"], false
	list, err := c.Named("indices:admin/aliases/get")
	if err != nil {
		return 0, nil, err
	}
	reply := esjson.Obj()
	for _, ix := range list {
		pattern := name
		if pattern == "" {
			pattern = "*"
		}
		if aliases := index.AliasesReply(ix.Aliases, pattern); len(aliases) > 0 || name == "" {
			reply, found = reply.With(ix.Name, esjson.Obj("aliases", aliases)), true
		}
	}
	if !found && name != "" && !strings.Contains(name, "*") {
		return 404, esjson.Obj("error", fmt.Sprintf("alias [%s] missing", name), "status", 404), nil
	}
	return 200, reply, nil
}

func (c *Call) PutAlias() (int, any, error) {
	var body map[string]json.RawMessage
	if err := c.Json(&body); err != nil {
		return 0, nil, err
	}
	a, e := index.ParseAlias(c.Vars["name"], body)
	if e != nil {
		return 0, nil, e
	}
	return c.alias("add", c.Vars["index"], c.Vars["name"], a)
}

func (c *Call) DeleteAlias() (int, any, error) {
	return c.alias("remove", c.Vars["index"], c.Vars["name"], index.Alias{})
}

func (c *Call) alias(action, names, name string, a index.Alias) (int, any, error) {
	list, _, err := c.Resolve(names, "indices:admin/aliases")
	if err != nil {
		return 0, nil, err
	}
	if e := c.S.checkAliases(map[string]index.Alias{name: a}); e != nil && action == "add" {
		return 0, nil, e
	}
	for _, ix := range list {
		switch action {
		case "add":
			if e := c.S.addAliases(ix, map[string]index.Alias{name: a}); e != nil {
				return 0, nil, e
			}
		case "remove":
			if !ix.HasAlias(name) {
				return 0, nil, esjson.Fail(404, "aliases_not_found_exception", "aliases [%s] missing", name).With("resource.type", "aliases", "resource.id", name)
			}
			delete(ix.Aliases, name)
		default:
			return 0, nil, esjson.Unsupported("alias action [%s]", action)
		}
	}
	return 200, esjson.Obj("acknowledged", true), nil
}

// UpdateAliases applies its actions in order; unlike a real cluster it keeps the
// first ones when a later one is refused.
func (c *Call) UpdateAliases() (int, any, error) {
	var body struct {
		Actions []map[string]map[string]json.RawMessage
	}
	if err := c.Json(&body); err != nil {
		return 0, nil, err
	}
	for _, one := range body.Actions {
		for action, spec := range one {
			var indices, names []string
			for k, into := range map[string]*[]string{"index": &indices, "indices": &indices, "alias": &names, "aliases": &names} {
				var v any
				if err := esjson.DecodeMember(spec[k], &v); err != nil {
					return 0, nil, err
				}
				*into = append(*into, esjson.StringList(v)...)
				delete(spec, k)
			}
			if err := c.changeAliases(action, strings.Join(indices, ","), names, spec); err != nil {
				return 0, nil, err
			}
		}
	}
	return 200, esjson.Obj("acknowledged", true), nil
}

func (c *Call) changeAliases(action, indices string, names []string, spec map[string]json.RawMessage) error {
	for _, name := range names {
		a, e := index.ParseAlias(name, spec)
		if e != nil {
			return e
		}
		if e := c.Permit("indices:admin/aliases", esjson.SplitNames(indices)...); e != nil {
			return e
		}
		if _, _, err := c.alias(action, indices, name, a); err != nil {
			return err
		}
	}
	return nil
}
