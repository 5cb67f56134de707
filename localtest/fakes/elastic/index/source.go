package index

import (
	"bytes"
	"encoding/json"
	"slices"

	"eslink/localtest/fakes/elastic/esjson"
)

// filterSource keeps what includes name, or all, without what excludes name; it
// re-prints what it keeps.
func filterSource(raw []byte, includes, excludes []string) []byte {
	kept, ok := filterObject(raw, "", includes, excludes)
	if !ok {
		return []byte("{}")
	}
	out, err := esjson.CopyStructure(kept)
	if err != nil {
		return kept // it was parsed when it was written
	}
	return out
}

func covers(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return esjson.Wild(p, path) || esjson.Wild(p+".*", path) })
}

func filterObject(raw []byte, path string, includes, excludes []string) (json.RawMessage, bool) {
	raw = bytes.TrimSpace(raw)
	included := len(includes) == 0 || path != "" && covers(includes, path)
	if path != "" && covers(excludes, path) {
		return nil, false
	}
	switch raw[0] {
	case '{':
		keys, values, err := esjson.Members(raw)
		if err != nil {
			return raw, true
		}
		out := esjson.Obj()
		for _, k := range keys {
			if v, ok := filterObject(values[k], esjson.Join(path, k), includes, excludes); ok {
				out = out.With(k, v)
			}
		}
		return esjson.EncodeJSON(out), included || len(out) > 0
	case '[':
		var items []json.RawMessage
		if err := esjson.Decode(raw, &items); err != nil {
			return raw, true
		}
		var out []any
		for _, item := range items {
			if v, ok := filterObject(item, path, includes, excludes); ok {
				out = append(out, v)
			}
		}
		return esjson.EncodeJSON(append([]any{}, out...)), included || len(out) > 0
	}
	return raw, included
}

// SourceFilter is a _source option: what of a document a reply shows.
type SourceFilter struct {
	None               bool
	Includes, Excludes []string
}

func (f SourceFilter) Of(d *Doc) any {
	switch {
	case f.None || d.Source == nil:
		return nil
	case f.Includes == nil && f.Excludes == nil:
		return json.RawMessage(d.Source)
	}
	return json.RawMessage(filterSource(d.Source, f.Includes, f.Excludes))
}

func ParseSource(v any) (SourceFilter, error) {
	switch v := v.(type) {
	case nil:
		return SourceFilter{}, nil
	case bool:
		return SourceFilter{None: !v}, nil
	case map[string]any:
		var f SourceFilter
		for k, list := range v {
			switch k {
			case "includes", "include":
				f.Includes = esjson.StringList(list)
			case "excludes", "exclude":
				f.Excludes = esjson.StringList(list)
			default:
				return f, esjson.Fail(400, "parsing_exception", "Unknown key for a START_ARRAY in [%s].", k)
			}
		}
		return f, nil
	}
	return SourceFilter{Includes: esjson.StringList(v)}, nil
}
