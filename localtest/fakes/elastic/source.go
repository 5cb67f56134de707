package elastic

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// filterSource keeps what includes name, or all, without what excludes name; it
// re-prints what it keeps.
func filterSource(raw []byte, includes, excludes []string) []byte {
	kept, ok := filterObject(raw, "", includes, excludes)
	if !ok {
		return []byte("{}")
	}
	out, err := copyStructure(kept)
	if err != nil {
		return kept // it was parsed when it was written
	}
	return out
}

func covers(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return wild(p, path) || wild(p+".*", path) })
}

func filterObject(raw []byte, path string, includes, excludes []string) (json.RawMessage, bool) {
	raw = bytes.TrimSpace(raw)
	included := len(includes) == 0 || path != "" && covers(includes, path)
	if path != "" && covers(excludes, path) {
		return nil, false
	}
	switch raw[0] {
	case '{':
		keys, values, err := members(raw)
		if err != nil {
			return raw, true
		}
		out := obj()
		for _, k := range keys {
			if v, ok := filterObject(values[k], join(path, k), includes, excludes); ok {
				out = out.with(k, v)
			}
		}
		return encodeJSON(out), included || len(out) > 0
	case '[':
		var items []json.RawMessage
		if err := decode(raw, &items); err != nil {
			return raw, true
		}
		var out []any
		for _, item := range items {
			if v, ok := filterObject(item, path, includes, excludes); ok {
				out = append(out, v)
			}
		}
		return encodeJSON(append([]any{}, out...)), included || len(out) > 0
	}
	return raw, included
}

// sourceFilter is a _source option: what of a document a reply shows.
type sourceFilter struct {
	none               bool
	includes, excludes []string
}

func (f sourceFilter) of(d *doc) any {
	switch {
	case f.none || d.source == nil:
		return nil
	case f.includes == nil && f.excludes == nil:
		return json.RawMessage(d.source)
	}
	return json.RawMessage(filterSource(d.source, f.includes, f.excludes))
}

func parseSource(v any) (sourceFilter, error) {
	switch v := v.(type) {
	case nil:
		return sourceFilter{}, nil
	case bool:
		return sourceFilter{none: !v}, nil
	case map[string]any:
		var f sourceFilter
		for k, list := range v {
			switch k {
			case "includes", "include":
				f.includes = stringList(list)
			case "excludes", "exclude":
				f.excludes = stringList(list)
			default:
				return f, fail(400, "parsing_exception", "Unknown key for a START_ARRAY in [%s].", k)
			}
		}
		return f, nil
	}
	return sourceFilter{includes: stringList(v)}, nil
}

func (c *call) sourceParams(f sourceFilter) (sourceFilter, error) {
	if v := c.q.Get("_source"); v != "" {
		switch v {
		case "true":
		case "false":
			f.none = true
		default:
			f.includes = strings.Split(v, ",")
		}
	}
	if v := c.q.Get("_source_includes"); v != "" {
		f.includes = strings.Split(v, ",")
	}
	if v := c.q.Get("_source_excludes"); v != "" {
		f.excludes = strings.Split(v, ",")
	}
	if c.q.Get("stored_fields") != "" {
		return f, unsupported("query parameter [stored_fields]")
	}
	return f, nil
}
