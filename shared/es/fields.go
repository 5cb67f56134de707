package es

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// wider ranks the types of a kind: what one takes, every later one takes too.
// Text is refused by none of its kind.
var wider = [][]string{
	{"byte", "short", "integer", "long"},
	{"half_float", "float", "double"},
	{"date", "date_nanos"},
}

var textual = []string{"text", "keyword", "constant_keyword", "wildcard", "match_only_text"}

// takes reports whether a field of type dest takes what one of type source held,
// and keeps its meaning.
func takes(dest, source string) bool {
	if dest == source || slices.Contains(textual, dest) && dest != "constant_keyword" && slices.Contains(textual, source) {
		return true
	}
	for _, kind := range wider {
		if from := slices.Index(kind, source); from >= 0 && slices.Index(kind, dest) > from {
			return true
		}
	}
	return false
}

// A Conflict is a field that two indices give types that do not go together.
type Conflict struct {
	Field, Source, Dest string
}

// Conflicts lists the fields, by name, that dest would not take as source has
// them. A field that only one of them has is none.
func Conflicts(source, dest json.RawMessage) ([]Conflict, error) {
	from, err := fieldTypes(source)
	if err != nil {
		return nil, err
	}
	to, err := fieldTypes(dest)
	if err != nil {
		return nil, err
	}
	var out []Conflict
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if t, ok := to[name]; ok && !takes(t, from[name]) {
			out = append(out, Conflict{name, from[name], t})
		}
	}
	return out, nil
}

type fields struct {
	Type       string
	Properties map[string]fields
}

// fieldTypes returns the type of each field that documents can have.
func fieldTypes(mappings json.RawMessage) (map[string]string, error) {
	out := map[string]string{}
	if len(mappings) == 0 {
		return out, nil
	}
	var root fields
	if err := json.Unmarshal(mappings, &root); err != nil {
		return nil, fmt.Errorf("mappings: %w", err)
	}
	var walk func(prefix string, f fields)
	walk = func(prefix string, f fields) {
		for name, inner := range f.Properties {
			switch {
			case inner.Type == "alias": // another name, which no document has
				continue
			case inner.Type == "":
				inner.Type = "object"
			}
			out[prefix+name] = inner.Type
			walk(prefix+name+".", inner)
		}
	}
	walk("", root)
	return out, nil
}
