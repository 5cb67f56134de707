package elastic

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// mapping is what an index knows of its fields.
type mapping struct {
	root               *field
	source             bool     // _source.enabled
	includes, excludes []string // of _source
	routing            bool     // _routing.required
	meta               map[string]any
}

// field is an object (typ "" or "nested", with props) or a leaf.
type field struct {
	typ     string
	dynamic string
	params  map[string]any // of a leaf, without type and fields
	props   map[string]*field
	multi   map[string]*field
}

// leafTypes are the field types this server stores; those with true it also checks.
var leafTypes = map[string]bool{
	"text": true, "keyword": true, "long": true, "integer": true, "short": true, "byte": true, "double": true, "float": true,
	"half_float": true, "scaled_float": true, "boolean": true, "date": true, "ip": true,
	"binary": false, "dense_vector": false, "geo_point": false,
}

var otherTypes = []string{
	"alias", "join", "nested", "range", "completion", "search_as_you_type", "token_count", "percolator", "rank_feature", "rank_features",
	"sparse_vector", "wildcard", "constant_keyword", "unsigned_long", "date_nanos", "flattened", "geo_shape", "shape", "point", "histogram",
	"integer_range", "long_range", "float_range", "double_range", "date_range", "ip_range", "version", "aggregate_metric_double", "match_only_text",
}

var leafParams = []string{
	"analyzer", "search_analyzer", "search_quote_analyzer", "index", "store", "doc_values", "ignore_above", "format", "coerce",
	"norms", "index_options", "dims", "similarity", "scaling_factor", "meta", "eager_global_ordinals", "fielddata", "term_vector",
	"position_increment_gap", "index_options", "boost", "element_type", "ignore_malformed",
}

// typeParams are those of leafParams that one type alone has.
var typeParams = map[string]string{
	"ignore_above": "keyword", "analyzer": "text", "search_analyzer": "text", "search_quote_analyzer": "text", "fielddata": "text",
	"position_increment_gap": "text", "scaling_factor": "scaled_float", "dims": "dense_vector",
}

// takes tells whether a field type has a parameter.
func takes(typ, param string) bool {
	only, oneType := typeParams[param]
	return slices.Contains(leafParams, param) && (!oneType || only == typ)
}

func (f *field) param(name string) string {
	s, _ := f.params[name].(string)
	return s
}

func (m *mapping) lookup(path string) *field {
	f := m.root
	parts := strings.Split(path, ".")
	for i, p := range parts {
		next := f.props[p]
		if next == nil {
			if sub := f.multi[strings.Join(parts[i:], ".")]; sub != nil {
				return sub
			}
			return nil
		}
		f = next
	}
	return f
}

// nested tells whether a path lies inside an object that is its own document.
func (m *mapping) nested(path string) bool {
	f := m.root
	for p := range strings.SplitSeq(path, ".") {
		if f = f.props[p]; f == nil {
			return false
		}
		if f.typ == "nested" {
			return true
		}
	}
	return false
}

func (ix *index) badMapping(cause *Error) *Error {
	where := " [_doc]"
	if ix.s.version.atLeast(8, 0) {
		where = ""
	}
	return fail(400, "mapper_parsing_exception", "Failed to parse mapping%s: %s", where, cause.Reason).because(cause)
}

// mergeMapping adds the fields of a mapping body, or changes nothing.
func (ix *index) mergeMapping(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	var body map[string]any
	if err := decode(raw, &body); err != nil {
		return fail(400, "parse_exception", "Failed to parse content: %s", err)
	}
	if e := ix.mergeMappingBody(body); e != nil {
		return e
	}
	return nil
}

func (ix *index) mergeMappingBody(body map[string]any) *Error {
	next := *ix.mapping
	next.root = ix.mapping.root.clone()
	for _, k := range slices.Sorted(maps.Keys(body)) {
		v, _ := body[k].(map[string]any)
		switch k {
		case "properties":
			if e := ix.mergeFields(next.root, v, ""); e != nil {
				return e
			}
		case "dynamic":
			next.root.dynamic = fmt.Sprint(body[k])
		case "_source":
			next.source = v["enabled"] != false && v["enabled"] != "false"
			next.includes, next.excludes = stringList(v["includes"]), stringList(v["excludes"])
		case "_routing":
			next.routing = v["required"] == true || v["required"] == "true"
		case "_meta":
			next.meta = v
		case "date_detection", "numeric_detection", "dynamic_templates", "dynamic_date_formats", "runtime", "_doc":
			return unsupported("mapping parameter [%s]", k)
		default:
			cause := fail(400, "mapper_parsing_exception", "Root mapping definition has unsupported parameters:  [%s : %s]", k, javaString(body[k]))
			return ix.badMapping(cause)
		}
	}
	if limit := atoi(ix.settings["index.mapping.total_fields.limit"], 1000); next.size() > limit {
		return illegal("Limit of total fields [%d] has been exceeded", limit)
	}
	ix.mapping = &next
	return nil
}

func (f *field) clone() *field {
	c := *f
	if f.props == nil {
		return &c
	}
	c.props = map[string]*field{}
	for k, p := range f.props {
		c.props[k] = p.clone()
	}
	return &c
}

func (ix *index) mergeFields(parent *field, props map[string]any, path string) *Error {
	for _, name := range slices.Sorted(maps.Keys(props)) {
		def, ok := props[name].(map[string]any)
		if !ok {
			return ix.badMapping(fail(400, "mapper_parsing_exception", "Expected map for property [fields] on field [%s] but got a class %s", name, javaString(props[name])))
		}
		f, e := ix.parseField(name, def, join(path, name))
		if e != nil {
			return e
		}
		old := parent.props[name]
		switch {
		case old == nil:
			parent.props[name] = f
		case old.kind() != f.kind():
			return illegal("mapper [%s] cannot be changed from type [%s] to [%s]", join(path, name), old.kind(), f.kind())
		case old.props != nil:
			sub, _ := def["properties"].(map[string]any)
			if e := ix.mergeFields(old, sub, join(path, name)); e != nil {
				return e
			}
		default:
			for k, v := range f.params {
				if fmt.Sprint(old.params[k]) != fmt.Sprint(v) && k != "ignore_above" && k != "meta" {
					was := old.params[k]
					if was == nil {
						was = "default"
					}
					return illegal("Mapper for [%s] conflicts with existing mapper:\n\tCannot update parameter [%s] from [%v] to [%v]", join(path, name), k, was, v)
				}
			}
			parent.props[name] = f
		}
	}
	return nil
}

func (f *field) kind() string {
	if f.typ == "" {
		return "object"
	}
	return f.typ
}

func (ix *index) parseField(name string, def map[string]any, path string) (*field, *Error) {
	typ, _ := def["type"].(string)
	if typ == "object" || typ == "nested" || typ == "" && (def["properties"] != nil || def["dynamic"] != nil || len(def) == 0) {
		f := &field{props: map[string]*field{}}
		if typ == "nested" {
			f.typ = typ
		}
		if d, ok := def["dynamic"]; ok {
			f.dynamic = fmt.Sprint(d)
		}
		if def["enabled"] == false || def["enabled"] == "false" {
			f.dynamic = "disabled"
		}
		props, _ := def["properties"].(map[string]any)
		return f, ix.mergeFields(f, props, path)
	}
	checked, stored := leafTypes[typ]
	switch {
	case typ == "":
		return nil, ix.badMapping(fail(400, "mapper_parsing_exception", "No type specified for field [%s]", name))
	case !stored && slices.Contains(otherTypes, typ):
		return nil, unsupported("field type [%s]", typ)
	case !stored:
		return nil, ix.badMapping(fail(400, "mapper_parsing_exception", "No handler for type [%s] declared on field [%s]", typ, name))
	}
	f := &field{typ: typ, params: map[string]any{}}
	for _, k := range slices.Sorted(maps.Keys(def)) {
		switch {
		case k == "type":
		case k == "fields":
			subs, _ := def[k].(map[string]any)
			f.multi = map[string]*field{}
			for sub, d := range subs {
				m, _ := d.(map[string]any)
				child, e := ix.parseField(sub, m, path)
				if e != nil {
					return nil, e
				}
				f.multi[sub] = child
			}
		case slices.Contains([]string{"null_value", "copy_to", "normalizer", "script"}, k) && checked:
			return nil, unsupported("parameter [%s] of field [%s]", k, path)
		case !takes(typ, k) && checked && ix.s.version.atLeast(7, 11):
			return nil, ix.badMapping(fail(400, "mapper_parsing_exception", "unknown parameter [%s] on mapper [%s] of type [%s]", k, name, typ))
		case !takes(typ, k) && checked:
			return nil, ix.badMapping(fail(400, "mapper_parsing_exception", "Mapping definition for [%s] has unsupported parameters:  [%s : %s]", name, k, javaString(def[k])))
		case strings.HasSuffix(k, "analyzer"):
			if _, ok := ix.analyzer(fmt.Sprint(def[k])); !ok {
				return nil, ix.badMapping(fail(400, "mapper_parsing_exception", "analyzer [%v] has not been configured in mappings", def[k]))
			}
			f.params[k] = def[k]
		case k == "format" && typ == "date":
			for format := range strings.SplitSeq(fmt.Sprint(def[k]), "||") {
				if dateFormats[format] == nil {
					return nil, unsupported("date format [%s]", format)
				}
			}
			f.params[k] = def[k]
		default:
			f.params[k] = def[k]
		}
	}
	return f, nil
}

func (m *mapping) reply() object {
	out := m.root.propsReply()
	if m.root.dynamic != "" {
		out = append(obj("dynamic", m.root.dynamic), out...)
	}
	if m.meta != nil {
		out = append(obj("_meta", m.meta), out...)
	}
	source := obj()
	if !m.source {
		source = obj("enabled", false)
	}
	if m.includes != nil {
		source = source.with("includes", m.includes)
	}
	if m.excludes != nil {
		source = source.with("excludes", m.excludes)
	}
	if len(source) > 0 {
		out = append(obj("_source", source), out...)
	}
	if m.routing {
		out = append(obj("_routing", obj("required", true)), out...)
	}
	return out
}

func (f *field) propsReply() object {
	if len(f.props) == 0 {
		return obj()
	}
	props := obj()
	for _, name := range slices.Sorted(maps.Keys(f.props)) {
		props = props.with(name, f.props[name].reply())
	}
	return obj("properties", props)
}

func (f *field) reply() object {
	if f.props != nil {
		out := f.propsReply()
		switch {
		case f.dynamic == "disabled":
			out = append(obj("enabled", false), out...)
		case f.dynamic != "":
			out = append(obj("dynamic", f.dynamic), out...)
		}
		if f.typ != "" || len(out) == 0 || f.dynamic == "disabled" {
			out = append(obj("type", f.kind()), out...)
		}
		return out
	}
	out := obj("type", f.typ)
	if len(f.multi) > 0 {
		subs := obj()
		for _, name := range slices.Sorted(maps.Keys(f.multi)) {
			subs = subs.with(name, f.multi[name].reply())
		}
		out = out.with("fields", subs)
	}
	for _, k := range slices.Sorted(maps.Keys(f.params)) {
		out = out.with(k, f.params[k])
	}
	return out
}

func (m *mapping) size() int { return m.root.size() - 1 }

func (f *field) size() int {
	n := 1 + len(f.multi)
	for _, p := range f.props {
		n += p.size()
	}
	return n
}
