package index

import (
	"encoding/json"
	"maps"
	"slices"

	"eslink/localtest/fakes/elastic/esjson"
)

// Alias is one index behind a second name.
type Alias struct {
	Filter                      json.RawMessage // nil: every document
	IndexRouting, SearchRouting string
	WriteIndex, hidden          *bool // nil: not given
}

func ParseAlias(name string, body map[string]json.RawMessage) (a Alias, err *esjson.Error) {
	for _, k := range slices.Sorted(maps.Keys(body)) {
		var into any
		switch k {
		case "filter":
			if raw := body[k]; string(raw) != "null" {
				a.Filter = raw
			}
			continue
		case "routing":
			var both string
			if err := esjson.DecodeMember(body[k], &both); err != nil {
				return a, err.(*esjson.Error)
			}
			a.IndexRouting, a.SearchRouting = both, both
			continue
		case "index_routing":
			into = &a.IndexRouting
		case "search_routing":
			into = &a.SearchRouting
		case "is_write_index":
			into = &a.WriteIndex
		case "is_hidden":
			into = &a.hidden
		default:
			return a, esjson.Illegal("Unknown field [%s] in alias [%s]", k, name)
		}
		if err := esjson.DecodeMember(body[k], into); err != nil {
			return a, err.(*esjson.Error)
		}
	}
	return a, nil
}

func ParseAliases(raw json.RawMessage) (map[string]Alias, error) {
	var bodies map[string]map[string]json.RawMessage
	if err := esjson.DecodeMember(raw, &bodies); err != nil {
		return nil, err
	}
	if bodies == nil {
		return nil, nil
	}
	out := map[string]Alias{}
	for name, body := range bodies {
		a, e := ParseAlias(name, body)
		if e != nil {
			return nil, e
		}
		out[name] = a
	}
	return out, nil
}

func (a Alias) reply() esjson.Object {
	out := esjson.Obj()
	if len(a.Filter) > 0 {
		out = out.With("filter", a.Filter)
	}
	if a.IndexRouting != "" {
		out = out.With("index_routing", a.IndexRouting)
	}
	if a.SearchRouting != "" {
		out = out.With("search_routing", a.SearchRouting)
	}
	if a.WriteIndex != nil {
		out = out.With("is_write_index", *a.WriteIndex)
	}
	if a.hidden != nil {
		out = out.With("is_hidden", *a.hidden)
	}
	return out
}

func AliasesReply(all map[string]Alias, pattern string) esjson.Object {
	out := esjson.Obj()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if esjson.Wild(pattern, name) {
			out = out.With(name, all[name].reply())
		}
	}
	return out
}

func (a Alias) Writes() bool { return a.WriteIndex != nil && *a.WriteIndex }

// WriteIndex is where a write to an alias goes; nil: nowhere that is said.
func WriteIndex(behind []*Index, name string) *Index {
	for _, ix := range behind {
		if ix.Aliases[name].Writes() {
			return ix
		}
	}
	if len(behind) == 1 && behind[0].Aliases[name].WriteIndex == nil {
		return behind[0]
	}
	return nil
}

// Routed is the routing of a document that is named by way of an alias.
func (ix *Index) Routed(name, id, routing string) (string, *esjson.Error) {
	own := ix.Aliases[name].IndexRouting
	switch {
	case own == "" || own == routing:
		return routing, nil
	case routing == "":
		return own, nil
	}
	return "", esjson.Illegal("Alias [%s] has index routing associated with it [%s], and was provided with routing value [%s], rejecting operation", name, own, routing)
}
