package index

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"eslink/localtest/fakes/elastic/esjson"
)

// Mapping is what an index knows of its fields.
type Mapping struct {
	Root               *Field
	Source             bool     // _source.enabled
	includes, excludes []string // of _source
	Routing            bool     // _routing.required
	meta               map[string]any
}

// Field is an object (typ "" or "nested", with props) or a leaf.
type Field struct {
	Typ     string
	dynamic string
	params  map[string]any // of a leaf, without type and fields
	Props   map[string]*Field
	multi   map[string]*Field
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

func (f *Field) Param(name string) string {
	s, _ := f.params[name].(string)
	return s
}

func (m *Mapping) Lookup(path string) *Field {
	f := m.Root
	parts := strings.Split(path, ".")
	for i, p := range parts {
		next := f.Props[p]
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
func (m *Mapping) nested(path string) bool {
	f := m.Root
	for p := range strings.SplitSeq(path, ".") {
		if f = f.Props[p]; f == nil {
			return false
		}
		if f.Typ == "nested" {
			return true
		}
	}
	return false
}

func (ix *Index) badMapping(cause *esjson.Error) *esjson.Error {
	where := " [_doc]"
	if ix.S.Version.AtLeast(8, 0) {
		where = ""
	}
	return esjson.Fail(400, "mapper_parsing_exception", "Failed to parse mapping%s: %s", where, cause.Reason).Because(cause)
}

// MergeMapping adds the fields of a mapping body, or changes nothing.
func (ix *Index) MergeMapping(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	var body map[string]any
	if err := esjson.Decode(raw, &body); err != nil {
		return esjson.Fail(400, "parse_exception", "Failed to parse content: %s", err)
	}
	if e := ix.MergeMappingBody(body); e != nil {
		return e
	}
	return nil
}

func (ix *Index) MergeMappingBody(body map[string]any) *esjson.Error {
	next := *ix.Mapping
	next.Root = ix.Mapping.Root.clone()
	for _, k := range slices.Sorted(maps.Keys(body)) {
		v, _ := body[k].(map[string]any)
		switch k {
		case "properties":
			if e := ix.mergeFields(next.Root, v, ""); e != nil {
				return e
			}
		case "dynamic":
			next.Root.dynamic = fmt.Sprint(body[k])
		case "_source":
			next.Source = v["enabled"] != false && v["enabled"] != "false"
			next.includes, next.excludes = esjson.StringList(v["includes"]), esjson.StringList(v["excludes"])
		case "_routing":
			next.Routing = v["required"] == true || v["required"] == "true"
		case "_meta":
			next.meta = v
		case "date_detection", "numeric_detection", "dynamic_templates", "dynamic_date_formats", "runtime", "_doc":
			return esjson.Unsupported("mapping parameter [%s]", k)
		default:
			cause := esjson.Fail(400, "mapper_parsing_exception", "Root mapping definition has unsupported parameters:  [%s : %s]", k, esjson.JavaString(body[k]))
			return ix.badMapping(cause)
		}
	}
	if limit := esjson.Atoi(ix.Settings["index.mapping.total_fields.limit"], 1000); next.size() > limit {
		return esjson.Illegal("Limit of total fields [%d] has been exceeded", limit)
	}
	ix.Mapping = &next
	return nil
}

func (f *Field) clone() *Field {
	c := *f
	if f.Props == nil {
		return &c
	}
	c.Props = map[string]*Field{}
	for k, p := range f.Props {
		c.Props[k] = p.clone()
	}
	return &c
}

func (ix *Index) mergeFields(parent *Field, props map[string]any, path string) *esjson.Error {
	for _, name := range slices.Sorted(maps.Keys(props)) {
		def, ok := props[name].(map[string]any)
		if !ok {
			return ix.badMapping(esjson.Fail(400, "mapper_parsing_exception", "Expected map for property [fields] on field [%s] but got a class %s", name, esjson.JavaString(props[name])))
		}
		f, e := ix.parseField(name, def, esjson.Join(path, name))
		if e != nil {
			return e
		}
		old := parent.Props[name]
		switch {
		case old == nil:
			parent.Props[name] = f
		case old.kind() != f.kind():
			return esjson.Illegal("mapper [%s] cannot be changed from type [%s] to [%s]", esjson.Join(path, name), old.kind(), f.kind())
		case old.Props != nil:
			sub, _ := def["properties"].(map[string]any)
			if e := ix.mergeFields(old, sub, esjson.Join(path, name)); e != nil {
				return e
			}
		default:
			for k, v := range f.params {
				if fmt.Sprint(old.params[k]) != fmt.Sprint(v) && k != "ignore_above" && k != "meta" {
					was := old.params[k]
					if was == nil {
						was = "default"
					}
					return esjson.Illegal("Mapper for [%s] conflicts with existing mapper:\n\tCannot update parameter [%s] from [%v] to [%v]", esjson.Join(path, name), k, was, v)
				}
			}
			parent.Props[name] = f
		}
	}
	return nil
}

func (f *Field) kind() string {
	if f.Typ == "" {
		return "object"
	}
	return f.Typ
}

func (ix *Index) parseField(name string, def map[string]any, path string) (*Field, *esjson.Error) {
	typ, _ := def["type"].(string)
	if typ == "object" || typ == "nested" || typ == "" && (def["properties"] != nil || def["dynamic"] != nil || len(def) == 0) {
		return ix.parseObject(typ, def, path)
	}
	_, stored := leafTypes[typ]
	switch {
	case typ == "":
		return nil, ix.badMapping(esjson.Fail(400, "mapper_parsing_exception", "No type specified for field [%s]", name))
	case !stored && slices.Contains(otherTypes, typ):
		return nil, esjson.Unsupported("field type [%s]", typ)
	case !stored:
		return nil, ix.badMapping(esjson.Fail(400, "mapper_parsing_exception", "No handler for type [%s] declared on field [%s]", typ, name))
	}
	f := &Field{Typ: typ, params: map[string]any{}}
	for _, k := range slices.Sorted(maps.Keys(def)) {
		switch k {
		case "type":
		case "fields":
			subs, _ := def[k].(map[string]any)
			f.multi = map[string]*Field{}
			for sub, d := range subs {
				m, _ := d.(map[string]any)
				child, e := ix.parseField(sub, m, path)
				if e != nil {
					return nil, e
				}
				f.multi[sub] = child
			}
		default:
			if e := ix.checkParam(f, name, k, def[k], path); e != nil {
				return nil, e
			}
			f.params[k] = def[k]
		}
	}
	return f, nil
}

func (ix *Index) parseObject(typ string, def map[string]any, path string) (*Field, *esjson.Error) {
	f := &Field{Props: map[string]*Field{}}
	if typ == "nested" {
		f.Typ = typ
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

// checkParam refuses a parameter that a leaf does not take.
func (ix *Index) checkParam(f *Field, name, k string, value any, path string) *esjson.Error {
	checked := leafTypes[f.Typ]
	switch {
	case checked && slices.Contains([]string{"null_value", "copy_to", "normalizer", "script"}, k):
		return esjson.Unsupported("parameter [%s] of field [%s]", k, path)
	case checked && !takes(f.Typ, k) && ix.S.Version.AtLeast(7, 11):
		return ix.badMapping(esjson.Fail(400, "mapper_parsing_exception", "unknown parameter [%s] on mapper [%s] of type [%s]", k, name, f.Typ))
	case checked && !takes(f.Typ, k):
		return ix.badMapping(esjson.Fail(400, "mapper_parsing_exception", "Mapping definition for [%s] has unsupported parameters:  [%s : %s]", name, k, esjson.JavaString(value)))
	case strings.HasSuffix(k, "analyzer"):
		if _, ok := ix.Analyzer(fmt.Sprint(value)); !ok {
			return ix.badMapping(esjson.Fail(400, "mapper_parsing_exception", "analyzer [%v] has not been configured in mappings", value))
		}
	case k == "format" && f.Typ == "date":
		for format := range strings.SplitSeq(fmt.Sprint(value), "||") {
			if dateFormats[format] == nil {
				return esjson.Unsupported("date format [%s]", format)
			}
		}
	}
	return nil
}

func (m *Mapping) Reply() esjson.Object {
	out := m.Root.propsReply()
	if m.Root.dynamic != "" {
		out = append(esjson.Obj("dynamic", m.Root.dynamic), out...)
	}
	if m.meta != nil {
		out = append(esjson.Obj("_meta", m.meta), out...)
	}
	source := esjson.Obj()
	if !m.Source {
		source = esjson.Obj("enabled", false)
	}
	if m.includes != nil {
		source = source.With("includes", m.includes)
	}
	if m.excludes != nil {
		source = source.With("excludes", m.excludes)
	}
	if len(source) > 0 {
		out = append(esjson.Obj("_source", source), out...)
	}
	if m.Routing {
		out = append(esjson.Obj("_routing", esjson.Obj("required", true)), out...)
	}
	return out
}

func (f *Field) propsReply() esjson.Object {
	if len(f.Props) == 0 {
		return esjson.Obj()
	}
	props := esjson.Obj()
	for _, name := range slices.Sorted(maps.Keys(f.Props)) {
		props = props.With(name, f.Props[name].reply())
	}
	return esjson.Obj("properties", props)
}

func (f *Field) reply() esjson.Object {
	if f.Props != nil {
		out := f.propsReply()
		switch {
		case f.dynamic == "disabled":
			out = append(esjson.Obj("enabled", false), out...)
		case f.dynamic != "":
			out = append(esjson.Obj("dynamic", f.dynamic), out...)
		}
		if f.Typ != "" || len(out) == 0 || f.dynamic == "disabled" {
			out = append(esjson.Obj("type", f.kind()), out...)
		}
		return out
	}
	out := esjson.Obj("type", f.Typ)
	if len(f.multi) > 0 {
		subs := esjson.Obj()
		for _, name := range slices.Sorted(maps.Keys(f.multi)) {
			subs = subs.With(name, f.multi[name].reply())
		}
		out = out.With("fields", subs)
	}
	for _, k := range slices.Sorted(maps.Keys(f.params)) {
		out = out.With(k, f.params[k])
	}
	return out
}

func (m *Mapping) size() int { return m.Root.size() - 1 }

func (f *Field) size() int {
	n := 1 + len(f.multi)
	for _, p := range f.Props {
		n += p.size()
	}
	return n
}
