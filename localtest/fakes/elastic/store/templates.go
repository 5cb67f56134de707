package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
)

// definition is what a template says of an index. A nil map was not given.
type definition struct {
	settings map[string]*string // flat; nil: null in the body
	mappings map[string]any
	aliases  map[string]index.Alias
}

// indexTemplate is composable: of those that match a name the one with the
// highest priority holds, over the component templates that it names.
type indexTemplate struct {
	patterns  []string
	template  *definition
	composed  []string // nil: not given
	priority  *int64
	version   *int64
	meta      map[string]any
	autoBuild *bool // allow_auto_create
}

type componentTemplate struct {
	template definition
	version  *int64
	meta     map[string]any
}

// legacyTemplate holds where no composable template matches; several join, the
// highest order first.
type legacyTemplate struct {
	patterns []string
	order    int64
	version  *int64
	template definition
}

// templates are the cluster's.
type templates struct {
	index     map[string]*indexTemplate
	component map[string]*componentTemplate
	legacy    map[string]*legacyTemplate
}

func newTemplates() templates {
	return templates{map[string]*indexTemplate{}, map[string]*componentTemplate{}, map[string]*legacyTemplate{}}
}

func (t *indexTemplate) rank() int64 {
	if t.priority == nil {
		return 0
	}
	return *t.priority
}

func matchesAny(patterns []string, name string, hidden bool) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return esjson.Wild(p, name) && (p != "*" || !hidden) })
}

// overlap tells whether some name matches both patterns.
func overlap(a, b string) bool {
	switch {
	case a == "" && b == "":
		return true
	case strings.HasPrefix(a, "*"):
		return overlap(a[1:], b) || b != "" && overlap(a, b[1:])
	case strings.HasPrefix(b, "*"):
		return overlap(b, a)
	case a == "" || b == "" || a[0] != b[0]:
		return false
	}
	return overlap(a[1:], b[1:])
}

func overlapAny(a, b []string) bool {
	return slices.ContainsFunc(a, func(p string) bool {
		return slices.ContainsFunc(b, func(q string) bool { return overlap(p, q) })
	})
}

// find is the composable template that holds for a new index, or "".
func (t templates) find(name string, hidden bool) string {
	best := ""
	for _, n := range slices.Sorted(maps.Keys(t.index)) {
		if one := t.index[n]; matchesAny(one.patterns, name, hidden) && (best == "" || one.rank() > t.index[best].rank()) {
			best = n
		}
	}
	return best
}

// compose is what a new index of that name has of templates, before its own
// definition, and which of the two kinds it is of.
func (t templates) compose(name string, hidden bool) (d definition, legacy bool, err *esjson.Error) {
	if best := t.find(name, hidden); best != "" {
		d, err := t.composition(t.index[best], name)
		return d, false, err
	}
	var matching []*legacyTemplate
	for _, n := range slices.Sorted(maps.Keys(t.legacy)) {
		if matchesAny(t.legacy[n].patterns, name, hidden) {
			matching = append(matching, t.legacy[n])
		}
	}
	slices.SortStableFunc(matching, func(a, b *legacyTemplate) int { return int(a.order - b.order) })
	for _, one := range matching {
		d.add(one.template, name)
		d.mappings = deepMerge(d.mappings, one.template.mappings)
	}
	return d, true, nil
}

// composition joins a composable template's components and itself.
func (t templates) composition(one *indexTemplate, name string) (d definition, err *esjson.Error) {
	parts := []definition{}
	for _, c := range one.composed {
		parts = append(parts, t.component[c].template)
	}
	if one.template != nil {
		parts = append(parts, *one.template)
	}
	for _, p := range parts {
		d.add(p, name)
		if d.mappings, err = mergeFieldsOf(d.mappings, p.mappings); err != nil {
			return d, err
		}
	}
	return d, nil
}

// add lays settings and aliases over those of d.
func (d *definition) add(over definition, name string) {
	if over.settings != nil {
		d.settings = maps.Clone(d.settings)
		if d.settings == nil {
			d.settings = map[string]*string{}
		}
		maps.Copy(d.settings, over.settings)
	}
	for n, a := range over.aliases {
		if d.aliases == nil {
			d.aliases = map[string]index.Alias{}
		}
		d.aliases[strings.ReplaceAll(n, "{index}", name)] = a
	}
}

// deepMerge lays one JSON object over another, as legacy templates do: also the
// parameters of a field join.
func deepMerge(under, over map[string]any) map[string]any {
	if under == nil {
		return over
	}
	out := maps.Clone(under)
	for k, v := range over {
		a, aIs := out[k].(map[string]any)
		b, bIs := v.(map[string]any)
		if aIs && bIs {
			v = deepMerge(a, b)
		}
		out[k] = v
	}
	return out
}

// mergeFieldsOf lays one mapping over another, as composable templates do:
// objects join, a field takes the place of one of the same name.
func mergeFieldsOf(under, over map[string]any) (map[string]any, *esjson.Error) {
	if under == nil || over == nil {
		if over == nil {
			return under, nil
		}
		return over, nil
	}
	out := maps.Clone(under)
	for k, v := range over {
		old, _ := under[k].(map[string]any)
		next, ok := v.(map[string]any)
		if k != "properties" || old == nil || !ok {
			if k == "_meta" {
				v = deepMerge(old, next)
			}
			out[k] = v
			continue
		}
		props := maps.Clone(old)
		for field, def := range next {
			a, had := props[field].(map[string]any)
			b, _ := def.(map[string]any)
			if !had {
				props[field] = def
				continue
			}
			switch {
			case isObject(a) && isObject(b):
				merged, e := mergeFieldsOf(a, b)
				if e != nil {
					return nil, e
				}
				props[field] = merged
			case isObject(a) || isObject(b):
				return nil, esjson.Illegal("can't merge a non object mapping [%s] with an object mapping", field)
			default:
				props[field] = b
			}
		}
		out[k] = props
	}
	return out, nil
}

func isObject(def map[string]any) bool {
	typ, typed := def["type"].(string)
	return !typed || typ == "object" || typ == "nested"
}

// parseDefinition reads settings, mappings and aliases; kind is what its parser
// calls itself.
func parseDefinition(raw json.RawMessage, kind string) (*definition, *esjson.Error) {
	keys, values, err := esjson.Members(raw)
	if err != nil {
		return nil, esjson.Fail(400, "parse_exception", "Failed to parse content: %s", err)
	}
	d := &definition{}
	for _, k := range keys {
		switch k {
		case "settings":
			d.settings, err = parseSettings(values[k])
		case "mappings":
			d.mappings = map[string]any{}
			err = esjson.DecodeMember(values[k], &d.mappings)
		case "aliases":
			d.aliases, err = index.ParseAliases(values[k])
		default:
			return nil, esjson.Fail(400, "x_content_parse_exception", "[1:1] [%s] unknown field [%s]", kind, k)
		}
		if err != nil {
			return nil, err.(*esjson.Error)
		}
	}
	return d, nil
}

func parseSettings(raw json.RawMessage) (map[string]*string, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var v any
	if err := esjson.DecodeMember(raw, &v); err != nil {
		return nil, err
	}
	return index.IndexKeys(v), nil
}

func (d definition) reply(flat bool) esjson.Object {
	out := esjson.Obj()
	if d.settings != nil {
		out = out.With("settings", esjson.SettingsReply(d.values(), flat))
	}
	if len(d.mappings) > 0 {
		out = out.With("mappings", d.mappings)
	}
	if d.aliases != nil {
		out = out.With("aliases", index.AliasesReply(d.aliases, "*"))
	}
	return out
}

// values are the settings without those that are null.
func (d definition) values() map[string]string {
	out := map[string]string{}
	for k, v := range d.settings {
		if v != nil {
			out[k] = *v
		}
	}
	return out
}

func (t *indexTemplate) reply() esjson.Object {
	out := esjson.Obj("index_patterns", t.patterns)
	if t.template != nil {
		out = out.With("template", t.template.reply(false))
	}
	if t.composed != nil || t.template != nil {
		out = out.With("composed_of", append([]string{}, t.composed...))
	}
	if t.priority != nil {
		out = out.With("priority", *t.priority)
	}
	out = withVersion(out, t.version, t.meta)
	if t.autoBuild != nil {
		out = out.With("allow_auto_create", *t.autoBuild)
	}
	return out
}

func withVersion(o esjson.Object, version *int64, meta map[string]any) esjson.Object {
	if version != nil {
		o = o.With("version", *version)
	}
	if meta != nil {
		o = o.With("_meta", meta)
	}
	return o
}

func invalidTemplate(name, format string, args ...any) *esjson.Error {
	return esjson.Fail(400, "invalid_index_template_exception", "index_template [%s] invalid, cause [%s]", name, fmt.Sprintf(format, args...))
}

// checkTemplateName numbers what is wrong with a template's name and patterns.
func checkTemplateName(name string, patterns []string) (faults []string) {
	for c, why := range map[string]string{" ": "name must not contain a space", ",": "name must not contain a ','", "#": "name must not contain a '#'", "*": "name must not contain a '*'"} {
		if strings.Contains(name, c) {
			faults = append(faults, why)
		}
	}
	slices.Sort(faults)
	if strings.HasPrefix(name, "_") {
		faults = append(faults, "name must not start with '_'")
	}
	if name != strings.ToLower(name) {
		faults = append(faults, "name must be lower cased")
	}
	for _, p := range patterns {
		for c, why := range map[string]string{" ": "a space", ",": "a ','", "#": "a '#'"} {
			if strings.Contains(p, c) {
				faults = append(faults, fmt.Sprintf("index_patterns [%s] must not contain %s", p, why))
			}
		}
		if strings.HasPrefix(p, "_") {
			faults = append(faults, fmt.Sprintf("index_patterns [%s] must not start with '_'", p))
		}
		if strings.ContainsAny(p, " \"\\<|,>/?") {
			faults = append(faults, fmt.Sprintf(`index_pattern [%s] must not contain the following characters [ , ", *, \, <, |, ,, >, /, ?]`, p))
		}
	}
	return faults
}

func numbered(faults []string) string {
	out := "Validation Failed: "
	for i, f := range faults {
		out += strconv.Itoa(i+1) + ": " + f + ";"
	}
	return out
}

func (c *Call) parseIndexTemplate() (*indexTemplate, *esjson.Error) {
	keys, values, err := esjson.Members(c.Body)
	if err != nil {
		return nil, esjson.Fail(400, "parse_exception", "Failed to parse content: %s", err)
	}
	t := &indexTemplate{}
	for _, k := range keys {
		switch k {
		case "index_patterns":
			var v any
			err = esjson.DecodeMember(values[k], &v)
			if t.patterns = esjson.StringList(v); err == nil && len(t.patterns) == 0 {
				return nil, esjson.Illegal("There must be at least one pattern, zero given")
			}
		case "template":
			d, e := parseDefinition(values[k], "template")
			if e != nil {
				return nil, esjson.Fail(400, "x_content_parse_exception", "[1:1] [index_template] failed to parse field [template]").Because(e).Rooted(e)
			}
			t.template = d
		case "composed_of":
			t.composed = []string{}
			err = esjson.DecodeMember(values[k], &t.composed)
		case "priority":
			err = esjson.DecodeMember(values[k], &t.priority)
		case "version":
			err = esjson.DecodeMember(values[k], &t.version)
		case "_meta":
			err = esjson.DecodeMember(values[k], &t.meta)
		case "allow_auto_create":
			if !c.S.Version.AtLeast(7, 11) {
				return nil, esjson.Fail(400, "x_content_parse_exception", "[1:1] [index_template] unknown field [%s]", k)
			}
			err = esjson.DecodeMember(values[k], &t.autoBuild)
		case "data_stream", "ignore_missing_component_templates", "deprecated":
			return nil, esjson.Unsupported("[%s] of an index template", k)
		default:
			return nil, esjson.Fail(400, "x_content_parse_exception", "[1:1] [index_template] unknown field [%s]", k)
		}
		if err != nil {
			return nil, err.(*esjson.Error)
		}
	}
	switch {
	case t.patterns == nil:
		return nil, esjson.Illegal("Required [index_patterns]")
	case t.rank() < 0:
		return nil, esjson.Fail(400, "action_request_validation_exception", "Validation Failed: 1: index template priority must be >= 0;")
	}
	return t, nil
}

// checkIndexTemplate refuses what the cluster refuses of a new composable template.
func (s *Cluster) checkIndexTemplate(name string, t *indexTemplate) *esjson.Error {
	var missing []string
	for _, one := range t.composed {
		if s.templates.component[one] == nil {
			missing = append(missing, one)
		}
	}
	if len(missing) > 0 {
		return invalidTemplate(name, "index template [%s] specifies component templates [%s] that do not exist", name, strings.Join(missing, ", "))
	}
	faults := checkTemplateName(name, t.patterns)
	if t.template != nil {
		if e := index.CheckIndexSettings(t.template.settings); e != nil {
			faults = append(faults, strings.TrimSuffix(strings.TrimPrefix(e.Reason, "Validation Failed: 1: "), ";"))
		}
	}
	if len(faults) > 0 {
		return invalidTemplate(name, "%s", numbered(faults))
	}
	var rivals []string
	for _, n := range slices.Sorted(maps.Keys(s.templates.index)) {
		if one := s.templates.index[n]; n != name && one.rank() == t.rank() && overlapAny(one.patterns, t.patterns) {
			rivals = append(rivals, n)
		}
	}
	if len(rivals) > 0 {
		var told []string
		for _, n := range rivals {
			told = append(told, fmt.Sprintf("%s => [%s]", n, strings.Join(s.templates.index[n].patterns, ", ")))
		}
		return esjson.Illegal("index template [%s] has index patterns [%s] matching patterns from existing templates [%s] with patterns (%s) that have the same priority [%d], multiple index templates may not match during index creation, please use a different priority",
			name, strings.Join(t.patterns, ", "), strings.Join(rivals, ","), strings.Join(told, ","), t.rank())
	}
	if t.template != nil {
		for _, a := range slices.Sorted(maps.Keys(t.template.aliases)) {
			if slices.Contains(t.patterns, a) {
				return esjson.Illegal("alias [%s] cannot be the same as any pattern in [%s]", a, strings.Join(t.patterns, ", "))
			}
		}
	}
	if e := s.tryComposition(name, t); e != nil {
		return esjson.Illegal("composable template [%s] template after composition is invalid", name).Because(e)
	}
	return nil
}

// tryComposition builds the index that a template makes, and forgets it.
func (s *Cluster) tryComposition(name string, t *indexTemplate) *esjson.Error {
	d, e := s.templates.composition(t, "validate-template")
	if e != nil {
		return esjson.Illegal("invalid composite mappings for [%s]", name).Because(e)
	}
	if e := s.checkAliases(d.aliases); e != nil {
		return e
	}
	ix, e := s.build("validate-template", d)
	if e != nil {
		return e
	}
	if e := ix.MergeMappingBody(d.mappings); e != nil {
		return esjson.Illegal("invalid composite mappings for [%s]", name).Because(e)
	}
	for a, one := range d.aliases {
		if len(one.Filter) == 0 {
			continue
		}
		if _, err := index.Compile(index.Query{Raw: one.Filter}, ix); err != nil {
			return esjson.Illegal("failed to parse filter for alias [%s]", a).Because(err.(*esjson.Error))
		}
	}
	return nil
}

func (c *Call) PutIndexTemplate() (int, any, error) {
	name := c.Vars["name"]
	t, e := c.parseIndexTemplate()
	if e != nil {
		return 0, nil, e
	}
	if c.S.templates.index[name] != nil && c.Flag("create", false) {
		return 0, nil, esjson.Illegal("index template [%s] already exists", name)
	}
	if e := c.S.checkIndexTemplate(name, t); e != nil {
		return 0, nil, e
	}
	c.S.templates.index[name] = t
	return 200, esjson.Obj("acknowledged", true), nil
}

func (c *Call) GetIndexTemplate() (int, any, error) {
	return listTemplates(c, c.S.templates.index, "index_template", "index template", func(t *indexTemplate) esjson.Object { return t.reply() })
}

func (c *Call) GetComponentTemplate() (int, any, error) {
	return listTemplates(c, c.S.templates.component, "component_template", "component template", func(t *componentTemplate) esjson.Object {
		return withVersion(esjson.Obj("template", t.template.reply(c.Flag("flat_settings", false))), t.version, t.meta)
	})
}

// listTemplates answers for one name, or a pattern.
func listTemplates[T any](c *Call, all map[string]T, key, kind string, show func(T) esjson.Object) (int, any, error) {
	name, named := c.Vars["name"]
	found := []esjson.Object{}
	for _, n := range slices.Sorted(maps.Keys(all)) {
		if !named || esjson.Wild(name, n) {
			found = append(found, esjson.Obj("name", n, key, show(all[n])))
		}
	}
	status := 200
	if named && len(found) == 0 {
		if !strings.Contains(name, "*") {
			return 0, nil, esjson.Fail(404, "resource_not_found_exception", "%s matching [%s] not found", kind, name)
		}
		status = 404
	}
	return status, esjson.Obj(key+"s", found), nil
}

// namedTemplates are those that a deletion means: one name or pattern, and from
// 7.17 on a list of them.
func namedTemplates[T any](c *Call, all map[string]T, missing func(name string) *esjson.Error) ([]string, *esjson.Error) {
	asked := []string{c.Vars["name"]}
	if c.S.Version.AtLeast(7, 13) {
		asked = esjson.SplitList(c.Vars["name"])
	}
	var out []string
	for _, a := range asked {
		before := len(out)
		for _, n := range slices.Sorted(maps.Keys(all)) {
			if esjson.Wild(a, n) {
				out = append(out, n)
			}
		}
		if len(out) == before && a != "*" {
			return nil, missing(a)
		}
	}
	return out, nil
}

func missingTemplate(name string) *esjson.Error {
	return esjson.Fail(404, "index_template_missing_exception", "index_template [%s] missing", name)
}

func (c *Call) DeleteIndexTemplate() (int, any, error) {
	names, e := namedTemplates(c, c.S.templates.index, missingTemplate)
	if e != nil {
		return 0, nil, e
	}
	for _, n := range names {
		delete(c.S.templates.index, n)
	}
	return 200, esjson.Obj("acknowledged", true), nil
}

func (c *Call) PutComponentTemplate() (int, any, error) {
	name := c.Vars["name"]
	keys, values, err := esjson.Members(c.Body)
	if err != nil {
		return 0, nil, esjson.Fail(400, "parse_exception", "Failed to parse content: %s", err)
	}
	t := &componentTemplate{}
	for _, k := range keys {
		switch k {
		case "template":
			d, e := parseDefinition(values[k], "template")
			if e != nil {
				return 0, nil, esjson.Fail(400, "x_content_parse_exception", "[1:1] [component_template] failed to parse field [template]").Because(e).Rooted(e)
			}
			t.template = *d
		case "version":
			err = esjson.DecodeMember(values[k], &t.version)
		case "_meta":
			err = esjson.DecodeMember(values[k], &t.meta)
		default:
			return 0, nil, esjson.Fail(400, "x_content_parse_exception", "[1:1] [component_template] unknown field [%s]", k)
		}
		if err != nil {
			return 0, nil, err
		}
	}
	if values["template"] == nil {
		return 0, nil, esjson.Illegal("Required [template]")
	}
	old := c.S.templates.component[name]
	if old != nil && c.Flag("create", false) {
		return 0, nil, esjson.Illegal("component template [%s] already exists", name)
	}
	if e := index.CheckIndexSettings(t.template.settings); e != nil {
		return 0, nil, e
	}
	ix, e := c.S.build("validate-template", definition{settings: t.template.settings})
	if e != nil {
		return 0, nil, e
	}
	if e := ix.MergeMappingBody(t.template.mappings); e != nil {
		return 0, nil, e
	}
	c.S.templates.component[name] = t
	for _, n := range c.S.templates.usersOf(name) {
		if e := c.S.tryComposition(n, c.S.templates.index[n]); e != nil {
			c.S.templates.component[name] = old
			return 0, nil, esjson.Illegal("updating component template [%s] results in invalid composable template [%s] after templates are merged", name, n).Because(e)
		}
	}
	return 200, esjson.Obj("acknowledged", true), nil
}

// usersOf are the index templates that name a component.
func (t templates) usersOf(component string) (names []string) {
	for _, n := range slices.Sorted(maps.Keys(t.index)) {
		if slices.Contains(t.index[n].composed, component) {
			names = append(names, n)
		}
	}
	return names
}

func (c *Call) DeleteComponentTemplate() (int, any, error) {
	missing := missingTemplate
	if c.S.Version.AtLeast(7, 13) {
		missing = func(name string) *esjson.Error { return esjson.Fail(404, "resource_not_found_exception", "%s", name) }
	}
	names, e := namedTemplates(c, c.S.templates.component, missing)
	if e != nil {
		return 0, nil, e
	}
	for _, n := range names {
		if users := c.S.templates.usersOf(n); len(users) > 0 {
			return 0, nil, esjson.Illegal("component templates [%s] cannot be removed as they are still in use by index templates [%s]", n, strings.Join(users, ", "))
		}
	}
	for _, n := range names {
		delete(c.S.templates.component, n)
	}
	return 200, esjson.Obj("acknowledged", true), nil
}

func (c *Call) PutLegacyTemplate() (int, any, error) {
	name := c.Vars["name"]
	keys, values, err := esjson.Members(c.Body)
	if err != nil {
		return 0, nil, esjson.Fail(400, "parse_exception", "Failed to parse content: %s", err)
	}
	t := &legacyTemplate{}
	for _, k := range keys {
		switch k {
		case "index_patterns":
			var v any
			err = esjson.DecodeMember(values[k], &v)
			t.patterns = esjson.StringList(v)
		case "order":
			err = esjson.DecodeMember(values[k], &t.order)
		case "version":
			err = esjson.DecodeMember(values[k], &t.version)
		case "settings":
			t.template.settings, err = parseSettings(values[k])
		case "mappings":
			err = esjson.DecodeMember(values[k], &t.template.mappings)
		case "aliases":
			t.template.aliases, err = index.ParseAliases(values[k])
		default:
			return 0, nil, esjson.Fail(400, "parse_exception", "unknown key [%s] in the template ", k)
		}
		if err != nil {
			return 0, nil, err
		}
	}
	if len(t.patterns) == 0 {
		return 0, nil, esjson.Fail(400, "action_request_validation_exception", "Validation Failed: 1: index patterns are missing;")
	}
	if c.S.templates.legacy[name] != nil && c.Flag("create", false) {
		return 0, nil, esjson.Illegal("index_template [%s] already exists", name)
	}
	if e := index.CheckIndexSettings(t.template.settings); e != nil {
		return 0, nil, e
	}
	if faults := checkTemplateName(name, t.patterns); len(faults) > 0 {
		return 0, nil, invalidTemplate(name, "%s", numbered(faults))
	}
	if e := c.S.checkAliases(t.template.aliases); e != nil {
		return 0, nil, e
	}
	ix, e := c.S.build("validate-template", definition{settings: t.template.settings})
	if e != nil {
		return 0, nil, e
	}
	if e := ix.MergeMappingBody(t.template.mappings); e != nil {
		return 0, nil, e
	}
	c.S.templates.legacy[name] = t
	return 200, esjson.Obj("acknowledged", true), nil
}

func (c *Call) GetLegacyTemplate() (int, any, error) {
	asked, named := esjson.SplitList(c.Vars["name"]), c.Vars["name"] != ""
	out := esjson.Obj()
	for _, n := range slices.Sorted(maps.Keys(c.S.templates.legacy)) {
		if named && !slices.ContainsFunc(asked, func(a string) bool { return esjson.Wild(a, n) }) {
			continue
		}
		t := c.S.templates.legacy[n]
		one := withVersion(esjson.Obj("order", t.order), t.version, nil).With("index_patterns", t.patterns,
			"settings", esjson.SettingsReply(t.template.values(), c.Flag("flat_settings", false)))
		mappings := t.template.mappings
		if mappings == nil {
			mappings = map[string]any{}
		}
		out = out.With(n, one.With("mappings", mappings, "aliases", index.AliasesReply(t.template.aliases, "*")))
	}
	status := 200
	if named && len(out) == 0 {
		status = 404
	}
	return status, out, nil
}

func (c *Call) DeleteLegacyTemplate() (int, any, error) {
	found := false
	for n := range c.S.templates.legacy {
		if esjson.Wild(c.Vars["name"], n) {
			delete(c.S.templates.legacy, n)
			found = true
		}
	}
	if !found && c.Vars["name"] != "*" {
		return 0, nil, missingTemplate(c.Vars["name"])
	}
	return 200, esjson.Obj("acknowledged", true), nil
}

// SimulateIndex composes what a new index of that name would have, with a body
// as if that template were there. Legacy templates only count as overlapping.
func (c *Call) SimulateIndex() (int, any, error) {
	s, all := c.S, c.S.templates
	if len(c.Body) > 0 {
		t, e := c.parseIndexTemplate()
		if e != nil {
			return 0, nil, e
		}
		name := "simulate_index_template_" + strings.ToLower(s.NewID("simulate"))
		if e := s.checkIndexTemplate(name, t); e != nil {
			return 0, nil, e
		}
		all.index = maps.Clone(all.index)
		all.index[name] = t
	}
	best := all.find(c.Vars["index"], false)
	if best == "" {
		return 200, esjson.Obj(), nil
	}
	return s.simulated(all, best, c.Vars["index"])
}

// SimulateTemplate composes a template that is there, or the body's.
func (c *Call) SimulateTemplate() (int, any, error) {
	s, all, name := c.S, c.S.templates, c.Vars["name"]
	if len(c.Body) > 0 {
		t, e := c.parseIndexTemplate()
		if e != nil {
			return 0, nil, e
		}
		if name == "" {
			name = "simulate_template_" + strings.ToLower(s.NewID("simulate"))
		}
		if e := s.checkIndexTemplate(name, t); e != nil {
			return 0, nil, e
		}
		all.index = maps.Clone(all.index)
		all.index[name] = t
	}
	if all.index[name] == nil {
		return 0, nil, esjson.Illegal("unable to simulate template [%s] that does not exist", name)
	}
	return s.simulated(all, name, "simulate_template_index_"+name)
}

func (s *Cluster) simulated(all templates, best, name string) (int, any, error) {
	d, e := all.composition(all.index[best], name)
	if e != nil {
		return 0, nil, e
	}
	ix, e := s.build(name, d)
	if e != nil {
		return 0, nil, e
	}
	if e := ix.MergeMappingBody(d.mappings); e != nil {
		return 0, nil, e
	}
	reply := esjson.Obj("settings", esjson.SettingsReply(d.values(), false))
	if d.mappings != nil {
		reply = reply.With("mappings", ix.Mapping.Reply())
	}
	overlapping := []esjson.Object{}
	for _, n := range slices.Sorted(maps.Keys(all.legacy)) {
		if overlapAny(all.legacy[n].patterns, all.index[best].patterns) {
			overlapping = append(overlapping, esjson.Obj("name", n, "index_patterns", all.legacy[n].patterns))
		}
	}
	for _, n := range slices.Sorted(maps.Keys(all.index)) {
		if n != best && overlapAny(all.index[n].patterns, all.index[best].patterns) {
			overlapping = append(overlapping, esjson.Obj("name", n, "index_patterns", all.index[n].patterns))
		}
	}
	return 200, esjson.Obj("template", reply.With("aliases", index.AliasesReply(d.aliases, "*")), "overlapping", overlapping), nil
}
