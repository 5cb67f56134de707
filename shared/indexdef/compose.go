package indexdef

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"eslink/events"
	"eslink/shared/es"
)

// Template is what a cluster's templates give a new index of one name.
type Template struct {
	Names      []string // of the templates that match
	DataStream bool     // it makes data streams only
	settings   map[string]json.RawMessage
	mappings   map[string]any
	aliases    map[string]json.RawMessage
	legacy     bool
}

// Matching composes what the templates give an index called name, as the server
// does when it creates one: the composable template with the highest priority
// over its components, or else the legacy ones by their order. One for * does not
// hold for a hidden index.
func Matching(all es.Templates, name string, hidden bool) (Template, error) {
	holds := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return (p != "*" || !hidden) && (events.Patterns{p}).Match(name) })
	}
	best := ""
	for _, n := range slices.Sorted(maps.Keys(all.Index)) {
		if t := all.Index[n]; holds(t.Patterns) && (best == "" || t.Priority > all.Index[best].Priority) {
			best = n
		}
	}
	if best != "" {
		t := all.Index[best]
		out := Template{Names: []string{best}, DataStream: len(t.DataStream) > 0}
		for _, c := range t.ComposedOf {
			if err := out.add(all.Component[c], name); err != nil {
				return out, fmt.Errorf("component template %s: %w", c, err)
			}
		}
		if err := out.add(t.Template, name); err != nil {
			return out, fmt.Errorf("index template %s: %w", best, err)
		}
		return out, nil
	}
	out := Template{legacy: true}
	names := slices.Sorted(maps.Keys(all.Legacy))
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(all.Legacy[a].Order, all.Legacy[b].Order) })
	for _, n := range names {
		t := all.Legacy[n]
		if !holds(t.Patterns) {
			continue
		}
		out.Names = append(out.Names, n)
		if err := out.add(t.TemplateBody, name); err != nil {
			return out, fmt.Errorf("legacy template %s: %w", n, err)
		}
	}
	return out, nil
}

// Priority is one above all priorities, with which a body wins over every
// template.
func Priority(all es.Templates) int64 {
	highest := int64(0)
	for _, t := range all.Index {
		highest = max(highest, t.Priority)
	}
	return highest + 1
}

func (t *Template) add(b es.TemplateBody, index string) error {
	settings, err := es.Flatten(b.Settings)
	if err != nil {
		return err
	}
	if t.settings == nil {
		t.settings, t.aliases = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	}
	maps.Copy(t.settings, settings)
	mappings, err := tree(b.Mappings)
	if err != nil {
		return err
	}
	t.mappings = merge(t.mappings, mappings, t.legacy)
	for name, a := range b.Aliases {
		t.aliases[strings.ReplaceAll(name, "{index}", index)] = a
	}
	return nil
}

// tree decodes mappings; numbers keep their text.
func tree(raw json.RawMessage) (map[string]any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var out map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("mappings: %w", err)
	}
	if inner, ok := out["_doc"].(map[string]any); ok && len(out) == 1 { // of 6.x, or a typed template
		return inner, nil
	}
	return out, nil
}

// merge lays mappings over others. Of a field that both have, legacy templates
// keep what only the lower one says; composable ones do so of objects alone.
func merge(under, over map[string]any, legacy bool) map[string]any {
	out := maps.Clone(under)
	if out == nil {
		out = map[string]any{}
	}
	for key, v := range over {
		a, both := out[key].(map[string]any)
		b, object := v.(map[string]any)
		switch {
		case !both || !object:
			if key == "dynamic_templates" {
				v = append(without(out[key], v), list(v)...)
			}
			out[key] = v
		case key == "properties":
			out[key] = mergeFields(a, b, legacy)
		default:
			out[key] = merge(a, b, legacy)
		}
	}
	return out
}

func mergeFields(under, over map[string]any, legacy bool) map[string]any {
	out := maps.Clone(under)
	for name, v := range over {
		a, _ := out[name].(map[string]any)
		b, _ := v.(map[string]any)
		_, objectA := a["properties"]
		_, objectB := b["properties"]
		if a != nil && b != nil && (legacy || objectA && objectB) {
			v = merge(a, b, legacy)
		}
		out[name] = v
	}
	return out
}

// list is v as a list of dynamic templates.
func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// without are the dynamic templates of a whose names b does not have.
func without(a, b any) []any {
	named := byName(b)
	return slices.DeleteFunc(slices.Clone(list(a)), func(one any) bool {
		for name := range byName([]any{one}) {
			if _, ok := named[name]; ok {
				return true
			}
		}
		return false
	})
}

// byName are dynamic templates by their names.
func byName(v any) map[string]any {
	out := map[string]any{}
	for _, one := range list(v) {
		if m, ok := one.(map[string]any); ok {
			maps.Copy(out, m)
		}
	}
	return out
}
