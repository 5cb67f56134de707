package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"eslink/localtest/fakes/elastic/analysis"
	"eslink/localtest/fakes/elastic/esjson"
)

// Matcher says whether a document matches, and its score: 1 for each matching
// scoring clause, which orders documents, but is not BM25.
type Matcher func(*Doc) (float64, bool)

func all(*Doc) (float64, bool) { return 1, true }

func none(*Doc) (float64, bool) { return 0, false }

// Query is a query and where it stood in its request, for the columns in errors.
type Query struct {
	Raw json.RawMessage
	at  int
}

func QueryIn(body []byte, raw json.RawMessage) Query {
	return Query{raw, max(bytes.Index(body, raw), 0)}
}

// Compile makes a matcher of a query, for the fields of one index.
func Compile(q Query, ix *Index) (Matcher, error) {
	if len(q.Raw) == 0 || string(q.Raw) == "null" {
		return all, nil
	}
	c := Compiler{Ix: ix, Query: q}
	var v any
	if err := esjson.Decode(q.Raw, &v); err != nil {
		return nil, esjson.Fail(400, "parsing_exception", "%s", err)
	}
	return c.clause(v)
}

type Compiler struct {
	Ix *Index
	Query
}

func (c Compiler) clause(v any) (Matcher, error) {
	q, ok := v.(map[string]any)
	if !ok || len(q) == 0 {
		return nil, esjson.Illegal("query malformed, empty clause found")
	}
	if len(q) > 1 {
		return nil, esjson.Fail(400, "parsing_exception", "[bool] malformed query, expected [END_OBJECT] but found [FIELD_NAME]")
	}
	for name, body := range q {
		b, isObject := body.(map[string]any)
		if !isObject {
			return nil, esjson.Fail(400, "parsing_exception", "[%s] query malformed, no start_object after query name", name)
		}
		switch name {
		case "match_all":
			return all, nil
		case "match_none":
			return none, nil
		case "bool":
			return c.boolean(b)
		case "constant_score":
			inner, err := c.clause(b["filter"])
			return func(d *Doc) (float64, bool) { _, ok := inner(d); return 1, ok }, err
		case "ids":
			values := esjson.StringList(b["values"])
			return func(d *Doc) (float64, bool) { return 1, slices.Contains(values, d.ID) }, nil
		case "exists":
			return c.exists(b)
		case "match", "term", "prefix", "range", "terms":
			return c.leaf(name, b)
		}
		if slices.Contains(otherQueries, name) {
			return nil, esjson.Unsupported("query [%s]", name)
		}
		return nil, c.unknown(name)
	}
	panic("unreachable: the map has one key")
}

var otherQueries = []string{
	"boosting", "dis_max", "function_score", "intervals", "match_bool_prefix", "match_phrase", "match_phrase_prefix", "combined_fields",
	"multi_match", "common", "query_string", "simple_query_string", "geo_bounding_box", "geo_distance", "geo_polygon", "geo_shape", "shape",
	"nested", "has_child", "has_parent", "parent_id", "span_term", "distance_feature", "more_like_this", "percolate", "rank_feature",
	"script", "script_score", "wrapper", "pinned", "fuzzy", "regexp", "terms_set", "wildcard", "type", "knn", "semantic", "text_expansion",
}

func (c Compiler) unknown(name string) *esjson.Error {
	col := 1
	if at := bytes.Index(c.Raw, esjson.AppendString(nil, name)); at >= 0 {
		if brace := bytes.IndexByte(c.Raw[at:], '{'); brace >= 0 {
			col = c.at + at + brace + 1
		}
	}
	return esjson.Fail(400, "parsing_exception", "unknown query [%s]", name).With("line", 1, "col", col).
		Because(esjson.Fail(400, "named_object_not_found_exception", "[1:%d] unknown field [%s]", col, name))
}

func (c Compiler) clauses(v any) ([]Matcher, error) {
	list, isList := v.([]any)
	if !isList && v != nil {
		list = []any{v}
	}
	var out []Matcher
	for _, item := range list {
		m, err := c.clause(item)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func (c Compiler) boolean(b map[string]any) (Matcher, error) {
	groups := map[string][]Matcher{}
	for k, v := range b {
		switch k {
		case "must", "filter", "should", "must_not":
			list, err := c.clauses(v)
			if err != nil {
				return nil, err
			}
			groups[k] = list
		case "minimum_should_match", "boost", "adjust_pure_negative":
		default:
			return nil, esjson.Fail(400, "parsing_exception", "[bool] query does not support [%s]", k)
		}
	}
	least := 0
	if len(groups["should"]) > 0 && len(groups["must"]) == 0 && len(groups["filter"]) == 0 {
		least = 1
	}
	if v, ok := b["minimum_should_match"]; ok {
		n, err := strconv.Atoi(fmt.Sprint(v))
		if err != nil || n < 0 {
			return nil, esjson.Unsupported("minimum_should_match [%v]", v)
		}
		least = n
	}
	return func(d *Doc) (float64, bool) {
		score, matched := 0.0, 0
		for _, m := range groups["must"] {
			s, ok := m(d)
			if !ok {
				return 0, false
			}
			score += s
		}
		for _, m := range groups["filter"] {
			if _, ok := m(d); !ok {
				return 0, false
			}
		}
		for _, m := range groups["must_not"] {
			if _, ok := m(d); ok {
				return 0, false
			}
		}
		for _, m := range groups["should"] {
			if s, ok := m(d); ok {
				score += s
				matched++
			}
		}
		return score, matched >= least
	}, nil
}

func (c Compiler) exists(b map[string]any) (Matcher, error) {
	path, _ := b["field"].(string)
	if path == "" {
		return nil, esjson.Illegal("[exists] must be provided with a [field]")
	}
	return func(d *Doc) (float64, bool) {
		return 1, len(d.leaves(path)) > 0 && !d.Ix.Mapping.nested(path)
	}, nil
}

// leaf compiles a query of one field: {"field": value or options}.
func (c Compiler) leaf(kind string, b map[string]any) (Matcher, error) {
	var path string
	var value any
	for k, v := range b {
		if k == "boost" || k == "_name" {
			continue
		}
		if path != "" {
			return nil, esjson.Fail(400, "parsing_exception", "[%s] query doesn't support multiple fields, found [%s] and [%s]", kind, min(path, k), max(path, k))
		}
		path, value = k, v
	}
	if path == "" {
		return nil, esjson.Illegal("field name is null or empty")
	}
	f := c.Ix.Mapping.Lookup(path)
	if c.Ix.Mapping.nested(path) {
		return none, nil // nested objects are documents of their own
	}
	switch kind {
	case "match":
		return c.match(path, f, value)
	case "terms":
		list, ok := value.([]any)
		if !ok {
			return nil, esjson.Unsupported("terms lookup")
		}
		var any []Matcher
		for _, v := range list {
			m, err := c.term(path, f, v)
			if err != nil {
				return nil, err
			}
			any = append(any, m)
		}
		return oneOf(any), nil
	case "range":
		return c.rangeOf(path, f, value)
	}
	options, isObject := value.(map[string]any)
	if isObject {
		value = options["value"]
		for k := range options {
			if k != "value" && k != "boost" {
				return nil, esjson.Unsupported("%s query with [%s]", kind, k)
			}
		}
	}
	if kind == "prefix" {
		return c.prefix(path, f, value)
	}
	return c.term(path, f, value)
}

func oneOf(list []Matcher) Matcher {
	return func(d *Doc) (float64, bool) {
		for _, m := range list {
			if s, ok := m(d); ok {
				return s, true
			}
		}
		return 0, false
	}
}

func (c Compiler) prefix(path string, f *Field, value any) (Matcher, error) {
	if path == "_id" || f != nil && f.Typ != "text" && f.Typ != "keyword" {
		typ := "_id"
		if f != nil {
			typ = f.Typ
		}
		return nil, c.ShardFault("Can only use prefix queries on keyword, text and wildcard fields - not on [%s] which is of type [%s]", path, typ)
	}
	want := fmt.Sprint(value)
	return func(d *Doc) (float64, bool) {
		return 1, slices.ContainsFunc(c.terms(d, path, f), func(t string) bool { return strings.HasPrefix(t, want) })
	}, nil
}

// ShardFault is an error that a shard finds, not the parser.
func (c Compiler) ShardFault(format string, args ...any) *esjson.Error {
	cause := esjson.Fail(400, "query_shard_exception", format, args...).With("index_uuid", c.Ix.UUID, "index", c.Ix.Name)
	if inner, wraps := strings.CutPrefix(cause.Reason, "failed to create query: "); wraps {
		cause.Cause = esjson.Illegal("%s", inner)
	}
	e := esjson.Fail(400, "search_phase_execution_exception", "all shards failed").With("phase", "query", "grouped", true,
		"failed_shards", []esjson.Object{esjson.Obj("shard", 0, "index", c.Ix.Name, "node", c.Ix.S.NodeID(0), "reason", cause.Object())})
	e.Roots = []*esjson.Error{cause}
	return e
}

// leaves are the values at a path, arrays and dotted names flattened; a
// multi-field has the values of its parent.
func (d *Doc) leaves(path string) []any {
	if f := d.Ix.Mapping.Lookup(path); f != nil && d.Ix.Mapping.Root.at(path) == nil {
		path = path[:strings.LastIndex(path, ".")]
	}
	return leaves(nil, d.values, path)
}

// at is lookup without multi-fields.
func (f *Field) at(path string) *Field {
	for p := range strings.SplitSeq(path, ".") {
		if f = f.Props[p]; f == nil {
			return nil
		}
	}
	return f
}

func leaves(out []any, v any, path string) []any {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			out = leaves(out, item, path)
		}
	case map[string]any:
		for k, child := range v {
			if rest, ok := strings.CutPrefix(path, k+"."); ok {
				out = leaves(out, child, rest)
			} else if k == path {
				out = leaves(out, child, "")
			} else if path == "" {
				out = leaves(out, child, "")
			}
		}
	case nil:
	default:
		if path == "" {
			out = append(out, v)
		}
	}
	return out
}

// terms are what the index holds of a text or keyword field of a document.
func (c Compiler) terms(d *Doc, path string, f *Field) []string {
	var out []string
	if f == nil || f.params["index"] == false {
		return nil
	}
	limit := 0
	if v, ok := f.params["ignore_above"]; ok {
		limit = esjson.Atoi(fmt.Sprint(v), 0)
	}
	for _, v := range d.leaves(path) {
		text := fmt.Sprint(v)
		if f.Typ != "text" {
			if limit == 0 || len([]rune(text)) <= limit {
				out = append(out, text)
			}
			continue
		}
		for _, t := range c.analyzer(f, "analyzer")(text) {
			out = append(out, t.Text)
		}
	}
	return out
}

func (c Compiler) analyzer(f *Field, which string) analysis.Analyzer {
	for _, name := range []string{f.Param(which), f.Param("analyzer"), "default"} {
		if a, ok := c.Ix.Analyzer(name); ok && name != "" {
			return a
		}
	}
	return analysis.Standard
}

func (c Compiler) match(path string, f *Field, value any) (Matcher, error) {
	every := false
	if options, ok := value.(map[string]any); ok {
		for k, v := range options {
			switch k {
			case "query", "boost", "lenient":
			case "operator":
				every = strings.EqualFold(fmt.Sprint(v), "and")
			default:
				return nil, esjson.Unsupported("match query with [%s]", k)
			}
		}
		value = options["query"]
	}
	if f == nil || f.Typ != "text" {
		return c.term(path, f, value)
	}
	want := c.analyzer(f, "search_analyzer")(fmt.Sprint(value))
	return func(d *Doc) (float64, bool) {
		have, score := c.terms(d, path, f), 0.0
		for _, t := range want {
			if slices.Contains(have, t.Text) {
				score++
			}
		}
		return score, score > 0 && (!every || int(score) == len(want))
	}, nil
}

func (c Compiler) term(path string, f *Field, value any) (Matcher, error) {
	switch path {
	case "_id":
		return func(d *Doc) (float64, bool) { return 1, d.ID == fmt.Sprint(value) }, nil
	case "_index":
		return func(d *Doc) (float64, bool) { return 1, d.Ix.Name == fmt.Sprint(value) }, nil
	case "_routing":
		return func(d *Doc) (float64, bool) { return 1, d.Routing == fmt.Sprint(value) }, nil
	case "_seq_no":
		return c.rangeOf(path, f, map[string]any{"gte": value, "lte": value})
	}
	switch {
	case f == nil:
		return none, nil
	case f.Props != nil || f.Typ == "binary" || f.Typ == "dense_vector" || f.Typ == "geo_point":
		return nil, esjson.Unsupported("term query on field [%s] of type [%s]", path, f.kind())
	case f.Typ == "text" || f.Typ == "keyword":
		want := esjson.JavaString(value)
		return func(d *Doc) (float64, bool) { return 1, slices.Contains(c.terms(d, path, f), want) }, nil
	case f.Typ == "boolean" || f.Typ == "ip":
		want := fmt.Sprint(value)
		return func(d *Doc) (float64, bool) {
			return 1, slices.ContainsFunc(d.leaves(path), func(v any) bool { return fmt.Sprint(v) == want })
		}, nil
	}
	return c.rangeOf(path, f, map[string]any{"gte": value, "lte": value})
}

func (c Compiler) rangeOf(path string, f *Field, value any) (Matcher, error) {
	bounds, ok := value.(map[string]any)
	if !ok {
		return nil, esjson.Fail(400, "parsing_exception", "[range] query malformed, no start_object after query name")
	}
	if path == "_id" {
		return nil, c.ShardFault("failed to create query: Field [_id] of type [_id] does not support range queries")
	}
	var tests []func(Key) bool
	for op, bound := range bounds {
		if op == "boost" || bound == nil {
			continue
		}
		if !slices.Contains([]string{"gt", "gte", "lt", "lte"}, op) {
			return nil, esjson.Unsupported("range query with [%s]", op)
		}
		k, e := c.bound(path, f, bound)
		if e != nil {
			return nil, e
		}
		tests = append(tests, func(have Key) bool {
			n := have.Compare(k)
			return op[0] == 'g' && n > 0 || op[0] == 'l' && n < 0 || len(op) == 3 && n == 0
		})
	}
	if path != "_seq_no" && f == nil {
		return none, nil
	}
	return func(d *Doc) (float64, bool) {
		return 1, slices.ContainsFunc(d.Keys(path, f), func(k Key) bool {
			return !slices.ContainsFunc(tests, func(t func(Key) bool) bool { return !t(k) })
		})
	}, nil
}

func (c Compiler) bound(path string, f *Field, v any) (Key, *esjson.Error) {
	if path == "_seq_no" {
		f = &Field{Typ: "long"}
	}
	if f == nil {
		return Key{}, nil
	}
	if strings.Contains(fmt.Sprint(v), "now") && f.Typ == "date" {
		return Key{}, esjson.Unsupported("date math [%v]", v)
	}
	k, ok := f.Key(v)
	if !ok {
		return Key{}, c.ShardFault("failed to create query: For input string: \"%v\"", v)
	}
	return k, nil
}

// Key is a value that orders: a number or a text.
type Key struct {
	Text    string
	Integer int64
	Float   float64
	Kind    byte // 't', 'i', 'f'
}

func (k Key) Compare(o Key) int {
	if k.Kind == 't' || o.Kind == 't' {
		return strings.Compare(k.Text, o.Text)
	}
	if k.Kind == 'i' && o.Kind == 'i' {
		return CompareOrdered(k.Integer, o.Integer)
	}
	return CompareOrdered(k.Number(), o.Number())
}

func (k Key) Number() float64 {
	if k.Kind == 'i' {
		return float64(k.Integer)
	}
	return k.Float
}

func CompareOrdered[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (k Key) Json() any {
	switch k.Kind {
	case 'i':
		return k.Integer
	case 'f':
		return json.RawMessage(esjson.JavaNumber(k.Float, 64))
	}
	return k.Text
}

// Key turns a value into what the field's type orders by.
func (f *Field) Key(v any) (Key, bool) {
	text := fmt.Sprint(v)
	switch f.Typ {
	case "date":
		ms, ok := f.date(text)
		return Key{Kind: 'i', Integer: ms}, ok
	case "keyword", "text", "ip":
		return Key{Kind: 't', Text: text}, true
	case "boolean":
		return Key{Kind: 'i', Integer: map[string]int64{"true": 1}[text]}, true
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return Key{Kind: 'i', Integer: n}, true
	}
	x, err := strconv.ParseFloat(text, 64)
	return Key{Kind: 'f', Float: x}, err == nil
}

func (d *Doc) Keys(path string, f *Field) []Key {
	if path == "_seq_no" {
		return []Key{{Kind: 'i', Integer: d.Seq}}
	}
	var out []Key
	for _, v := range d.leaves(path) {
		if k, ok := f.Key(v); ok {
			out = append(out, k)
		}
	}
	return out
}
