// Package indexdef says with which definition a destination index is created:
// what of the source's goes with it, what the cluster's templates add, and
// whether an index that exists is what was meant.
package indexdef

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"eslink/events"
	"eslink/shared/es"
	"eslink/shared/facts"
)

// Wanted is a destination index before it is created.
type Wanted struct {
	// Body is what the create says.
	Body es.Definition
	// Whole is what the index is to have in the end: Body, and what templates add
	// that Body cannot keep out.
	Whole es.Definition
	// Joins lists what templates add or change, a line each. Settings are listed
	// only where the spec leaves them to the templates: for a copy of the source's
	// definition Body sets them back to their defaults.
	Joins []string
	// Aliases are those of templates alone.
	Aliases []string
	// Dropped are the source's settings that the index does not get.
	Dropped []facts.DroppedSetting
	// Template is what matched.
	Template Template

	copied bool // the mappings and settings are the source's
}

// Of returns what the spec's index is created with, from its source's definition
// and the templates of the destination.
func Of(ix events.Index, source es.Definition, all es.Templates) (Wanted, error) {
	var w Wanted
	w.Body = es.Definition{Mappings: ix.Destination.Mappings}
	switch ix.Destination.MappingsFrom() {
	case "source":
		w.Body.Mappings, w.copied = source.Mappings, true
	case "none":
		w.Body.Mappings = nil
	}
	settings, dropped, err := carry(source.Settings, ix.Destination.Settings, w.copied)
	if err != nil {
		return w, fmt.Errorf("settings of index %s: %w", ix.Dest, err)
	}
	w.Dropped = dropped
	if w.Template, err = Matching(all, ix.Dest, Text(settings["hidden"]) == "true"); err != nil {
		return w, err
	}
	whole := maps.Clone(w.Template.settings)
	if whole == nil {
		whole = map[string]json.RawMessage{}
	}
	for key := range w.Template.settings {
		if _, ok := settings[key]; ok || es.Exempt(key) {
			continue
		}
		if w.copied {
			settings[key] = json.RawMessage("null") // the default, as at the source
			continue
		}
		w.Joins = append(w.Joins, fmt.Sprintf("setting %s: %s", key, Text(w.Template.settings[key])))
	}
	maps.Copy(whole, settings)
	maps.DeleteFunc(whole, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	if len(whole) == 0 {
		whole["number_of_shards"] = json.RawMessage(`"1"`)
	}
	if w.Body.Settings, err = json.Marshal(settings); err != nil {
		return w, err
	}
	if w.Whole.Settings, err = json.Marshal(whole); err != nil {
		return w, err
	}
	if err := w.composeMappings(); err != nil {
		return w, fmt.Errorf("index %s: %w", ix.Dest, err)
	}
	if ix.Destination.TakesAliases() {
		// With the index, so that at no time it lacks them. Nobody searches through
		// them yet: plan refuses one that leads elsewhere.
		w.Body.Aliases = maps.Clone(source.Aliases)
		delete(w.Body.Aliases, ix.Dest)
	}
	w.Whole.Aliases = maps.Clone(w.Template.aliases)
	for name := range w.Template.aliases {
		if _, ok := w.Body.Aliases[name]; !ok {
			w.Aliases = append(w.Aliases, name)
		}
	}
	if w.Whole.Aliases == nil {
		w.Whole.Aliases = map[string]json.RawMessage{}
	}
	maps.Copy(w.Whole.Aliases, w.Body.Aliases)
	slices.Sort(w.Joins)
	slices.Sort(w.Aliases)
	return w, nil
}

// composeMappings lays the body's mappings over those of the templates.
func (w *Wanted) composeMappings() error {
	own, err := tree(w.Body.Mappings)
	if err != nil {
		return err
	}
	whole := merge(w.Template.mappings, own, w.Template.legacy)
	if len(whole) == 0 {
		return nil
	}
	for _, d := range differences(whole, own) {
		w.Joins = append(w.Joins, "mapping "+d.path+": "+d.is)
	}
	w.Whole.Mappings, err = json.Marshal(whole)
	return err
}

// A difference is a place where one tree is not as another.
type difference struct {
	path, is, other string
	field           bool // of mappings: the path ends at a field
}

// differences lists where a is not as b, the shortest paths only.
func differences(a, b map[string]any) []difference {
	var out []difference
	var walk func(path string, a, b any)
	walk = func(path string, a, b any) {
		if strings.HasSuffix(path, "dynamic_templates") {
			a, b = byName(a), byName(b)
		}
		m, okA := a.(map[string]any)
		n, okB := b.(map[string]any)
		if a == nil && okB && strings.HasSuffix(path, "properties") {
			okA = true // no fields
		}
		if b == nil && okA && strings.HasSuffix(path, "properties") {
			okB = true
		}
		if !okA || !okB {
			if brief(a) != brief(b) {
				out = append(out, difference{path: path, is: brief(a), other: brief(b), field: isField(path)})
			}
			return
		}
		keys := slices.Collect(maps.Keys(m))
		for key := range n {
			if _, ok := m[key]; !ok {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		for _, key := range keys {
			inner := key
			if path != "" {
				inner = path + "." + key
			}
			walk(inner, m[key], n[key])
		}
	}
	walk("", any(a), any(b))
	for i := range out {
		out[i].path = strings.TrimPrefix(strings.ReplaceAll("."+out[i].path, ".properties.", "."), ".")
	}
	return out
}

// isField reports whether a path of mappings ends at a field.
func isField(path string) bool {
	parts := strings.Split(path, ".")
	return len(parts) > 1 && parts[len(parts)-2] == "properties"
}

// brief is a value as text: scalars alike whether they are quoted or not.
func brief(v any) string {
	switch v := v.(type) {
	case nil:
		return "absent"
	case string:
		return v
	case map[string]any:
		if t, ok := v["type"].(string); ok && len(v) == 1 {
			return "type " + t
		}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if m, ok := v.(map[string]any); ok && len(raw) > 60 {
		return fmt.Sprintf("type %v, with %d parameters", cmp.Or(m["type"], any("object")), len(m))
	}
	return string(raw)
}

// Text is a setting's value as text.
func Text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// Unlike lists where an index is not what was wanted, a line each. What
// Elasticsearch writes by itself, and defaults that it writes out, are not
// compared. Of mappings that the spec gives, parameters that a server leaves out are
// none: they are its defaults.
func (w Wanted) Unlike(actual es.Definition) ([]string, error) {
	settings, err := w.unlikeSettings(actual)
	if err != nil {
		return nil, err
	}
	mappings, err := w.unlikeMappings(actual)
	if err != nil {
		return nil, err
	}
	return slices.Concat(settings, mappings, w.unlikeAliases(actual)), nil
}

func (w Wanted) unlikeSettings(actual es.Definition) (out []string, err error) {
	is, err := es.Flatten(actual.Settings)
	if err != nil {
		return nil, err
	}
	wanted, err := es.Flatten(w.Whole.Settings)
	if err != nil {
		return nil, err
	}
	keys := maps.Clone(is)
	maps.Copy(keys, wanted)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		_, said := wanted[key]
		if es.Exempt(key) || !said && (key == "number_of_shards" || key == "number_of_replicas") {
			continue
		}
		if a, b := plain(is[key]), plain(wanted[key]); a != b {
			out = append(out, fmt.Sprintf("setting %s is %s, not %s", key, a, b))
		}
	}
	return out, nil
}

func (w Wanted) unlikeMappings(actual es.Definition) (out []string, err error) {
	own, err := tree(w.Whole.Mappings)
	if err != nil {
		return nil, err
	}
	has, err := tree(actual.Mappings)
	if err != nil {
		return nil, err
	}
	for _, d := range differences(has, own) {
		// A server leaves out what is its default, and writes such out.
		if !d.field && (d.is == "absent" && (d.other == "true" || !w.copied) || d.other == "absent" && (d.is == "true" || d.is == "false")) {
			continue
		}
		out = append(out, fmt.Sprintf("mapping %s is %s, not %s", d.path, d.is, d.other))
	}
	return out, nil
}

func (w Wanted) unlikeAliases(actual es.Definition) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(actual.Aliases)) {
		if _, ok := w.Whole.Aliases[name]; !ok {
			out = append(out, "alias "+name+" is there")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.Whole.Aliases)) {
		if _, ok := actual.Aliases[name]; !ok {
			out = append(out, "alias "+name+" is absent")
		}
	}
	return out
}

// Unasked lists what templates add to an index although the spec does not leave
// that to them, a line each.
func (w Wanted) Unasked() []string {
	var out []string
	for _, name := range w.Aliases {
		out = append(out, "template "+strings.Join(w.Template.Names, " and ")+" adds alias "+name)
	}
	if w.copied {
		for _, line := range w.Joins {
			out = append(out, "template "+strings.Join(w.Template.Names, " and ")+" adds "+line)
		}
	}
	return out
}

// plain is a setting as text, in the form in which a server writes it back:
// scalars are text, a list stays one.
func plain(raw json.RawMessage) string {
	if len(raw) == 0 || string(raw) == "null" { // a template's setting that the create has set back
		return "absent"
	}
	var list []any
	if json.Unmarshal(raw, &list) == nil && list != nil {
		parts := make([]string, len(list))
		for i, v := range list {
			parts[i] = fmt.Sprint(v)
		}
		return strings.Join(parts, ",")
	}
	return Text(raw)
}
