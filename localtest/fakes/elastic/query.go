package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// matcher says whether a document matches, and its score: 1 for each matching
// scoring clause, which orders documents, but is not BM25.
type matcher func(*doc) (float64, bool)

func all(*doc) (float64, bool)  { return 1, true }
func none(*doc) (float64, bool) { return 0, false }

// query is a query and where it stood in its request, for the columns in errors.
type query struct {
	raw json.RawMessage
	at  int
}

func queryIn(body []byte, raw json.RawMessage) query {
	return query{raw, max(bytes.Index(body, raw), 0)}
}

// compile makes a matcher of a query, for the fields of one index.
func compile(q query, ix *index) (matcher, error) {
	if len(q.raw) == 0 || string(q.raw) == "null" {
		return all, nil
	}
	c := compiler{ix: ix, query: q}
	var v any
	if err := decode(q.raw, &v); err != nil {
		return nil, fail(400, "parsing_exception", "%s", err)
	}
	return c.clause(v)
}

type compiler struct {
	ix *index
	query
}

func (c compiler) clause(v any) (matcher, error) {
	q, ok := v.(map[string]any)
	if !ok || len(q) == 0 {
		return nil, illegal("query malformed, empty clause found")
	}
	if len(q) > 1 {
		return nil, fail(400, "parsing_exception", "[bool] malformed query, expected [END_OBJECT] but found [FIELD_NAME]")
	}
	for name, body := range q {
		b, isObject := body.(map[string]any)
		if !isObject {
			return nil, fail(400, "parsing_exception", "[%s] query malformed, no start_object after query name", name)
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
			return func(d *doc) (float64, bool) { _, ok := inner(d); return 1, ok }, err
		case "ids":
			values := stringList(b["values"])
			return func(d *doc) (float64, bool) { return 1, slices.Contains(values, d.id) }, nil
		case "exists":
			return c.exists(b)
		case "match", "term", "prefix", "range", "terms":
			return c.leaf(name, b)
		}
		if slices.Contains(otherQueries, name) {
			return nil, unsupported("query [%s]", name)
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

func (c compiler) unknown(name string) *Error {
	col := 1
	if at := bytes.Index(c.raw, appendString(nil, name)); at >= 0 {
		if brace := bytes.IndexByte(c.raw[at:], '{'); brace >= 0 {
			col = c.at + at + brace + 1
		}
	}
	return fail(400, "parsing_exception", "unknown query [%s]", name).with("line", 1, "col", col).
		because(fail(400, "named_object_not_found_exception", "[1:%d] unknown field [%s]", col, name))
}

func (c compiler) clauses(v any) ([]matcher, error) {
	list, isList := v.([]any)
	if !isList && v != nil {
		list = []any{v}
	}
	var out []matcher
	for _, item := range list {
		m, err := c.clause(item)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func (c compiler) boolean(b map[string]any) (matcher, error) {
	groups := map[string][]matcher{}
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
			return nil, fail(400, "parsing_exception", "[bool] query does not support [%s]", k)
		}
	}
	least := 0
	if len(groups["should"]) > 0 && len(groups["must"]) == 0 && len(groups["filter"]) == 0 {
		least = 1
	}
	if v, ok := b["minimum_should_match"]; ok {
		n, err := strconv.Atoi(fmt.Sprint(v))
		if err != nil || n < 0 {
			return nil, unsupported("minimum_should_match [%v]", v)
		}
		least = n
	}
	return func(d *doc) (float64, bool) {
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

func (c compiler) exists(b map[string]any) (matcher, error) {
	path, _ := b["field"].(string)
	if path == "" {
		return nil, illegal("[exists] must be provided with a [field]")
	}
	return func(d *doc) (float64, bool) {
		return 1, len(d.leaves(path)) > 0 && !d.ix.mapping.nested(path)
	}, nil
}

// leaf compiles a query of one field: {"field": value or options}.
func (c compiler) leaf(kind string, b map[string]any) (matcher, error) {
	var path string
	var value any
	for k, v := range b {
		if k == "boost" || k == "_name" {
			continue
		}
		if path != "" {
			return nil, fail(400, "parsing_exception", "[%s] query doesn't support multiple fields, found [%s] and [%s]", kind, min(path, k), max(path, k))
		}
		path, value = k, v
	}
	if path == "" {
		return nil, illegal("field name is null or empty")
	}
	f := c.ix.mapping.lookup(path)
	if c.ix.mapping.nested(path) {
		return none, nil // nested objects are documents of their own
	}
	switch kind {
	case "match":
		return c.match(path, f, value)
	case "terms":
		list, ok := value.([]any)
		if !ok {
			return nil, unsupported("terms lookup")
		}
		var any []matcher
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
				return nil, unsupported("%s query with [%s]", kind, k)
			}
		}
	}
	if kind == "prefix" {
		return c.prefix(path, f, value)
	}
	return c.term(path, f, value)
}

func oneOf(list []matcher) matcher {
	return func(d *doc) (float64, bool) {
		for _, m := range list {
			if s, ok := m(d); ok {
				return s, true
			}
		}
		return 0, false
	}
}

func (c compiler) prefix(path string, f *field, value any) (matcher, error) {
	if path == "_id" || f != nil && f.typ != "text" && f.typ != "keyword" {
		typ := "_id"
		if f != nil {
			typ = f.typ
		}
		return nil, c.shardFault("Can only use prefix queries on keyword, text and wildcard fields - not on [%s] which is of type [%s]", path, typ)
	}
	want := fmt.Sprint(value)
	return func(d *doc) (float64, bool) {
		return 1, slices.ContainsFunc(c.terms(d, path, f), func(t string) bool { return strings.HasPrefix(t, want) })
	}, nil
}

// shardFault is an error that a shard finds, not the parser.
func (c compiler) shardFault(format string, args ...any) *Error {
	cause := fail(400, "query_shard_exception", format, args...).with("index_uuid", c.ix.uuid, "index", c.ix.name)
	if inner, wraps := strings.CutPrefix(cause.Reason, "failed to create query: "); wraps {
		cause.cause = illegal("%s", inner)
	}
	e := fail(400, "search_phase_execution_exception", "all shards failed").with("phase", "query", "grouped", true,
		"failed_shards", []object{obj("shard", 0, "index", c.ix.name, "node", c.ix.s.nodeID(0), "reason", cause.object())})
	e.roots = []*Error{cause}
	return e
}

// leaves are the values at a path, arrays and dotted names flattened; a
// multi-field has the values of its parent.
func (d *doc) leaves(path string) []any {
	if f := d.ix.mapping.lookup(path); f != nil && d.ix.mapping.root.at(path) == nil {
		path = path[:strings.LastIndex(path, ".")]
	}
	return leaves(nil, d.values, path)
}

// at is lookup without multi-fields.
func (f *field) at(path string) *field {
	for p := range strings.SplitSeq(path, ".") {
		if f = f.props[p]; f == nil {
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
func (c compiler) terms(d *doc, path string, f *field) []string {
	var out []string
	if f == nil || f.params["index"] == false {
		return nil
	}
	limit := 0
	if v, ok := f.params["ignore_above"]; ok {
		limit = atoi(fmt.Sprint(v), 0)
	}
	for _, v := range d.leaves(path) {
		text := fmt.Sprint(v)
		if f.typ != "text" {
			if limit == 0 || len([]rune(text)) <= limit {
				out = append(out, text)
			}
			continue
		}
		for _, t := range c.analyzer(f, "analyzer")(text) {
			out = append(out, t.text)
		}
	}
	return out
}

func (c compiler) analyzer(f *field, which string) analyzer {
	for _, name := range []string{f.param(which), f.param("analyzer"), "default"} {
		if a, ok := c.ix.analyzer(name); ok && name != "" {
			return a
		}
	}
	return standard
}

func (c compiler) match(path string, f *field, value any) (matcher, error) {
	every := false
	if options, ok := value.(map[string]any); ok {
		for k, v := range options {
			switch k {
			case "query", "boost", "lenient":
			case "operator":
				every = strings.EqualFold(fmt.Sprint(v), "and")
			default:
				return nil, unsupported("match query with [%s]", k)
			}
		}
		value = options["query"]
	}
	if f == nil || f.typ != "text" {
		return c.term(path, f, value)
	}
	want := c.analyzer(f, "search_analyzer")(fmt.Sprint(value))
	return func(d *doc) (float64, bool) {
		have, score := c.terms(d, path, f), 0.0
		for _, t := range want {
			if slices.Contains(have, t.text) {
				score++
			}
		}
		return score, score > 0 && (!every || int(score) == len(want))
	}, nil
}

func (c compiler) term(path string, f *field, value any) (matcher, error) {
	switch path {
	case "_id":
		return func(d *doc) (float64, bool) { return 1, d.id == fmt.Sprint(value) }, nil
	case "_index":
		return func(d *doc) (float64, bool) { return 1, d.ix.name == fmt.Sprint(value) }, nil
	case "_routing":
		return func(d *doc) (float64, bool) { return 1, d.routing == fmt.Sprint(value) }, nil
	case "_seq_no":
		return c.rangeOf(path, f, map[string]any{"gte": value, "lte": value})
	}
	switch {
	case f == nil:
		return none, nil
	case f.props != nil || f.typ == "binary" || f.typ == "dense_vector" || f.typ == "geo_point":
		return nil, unsupported("term query on field [%s] of type [%s]", path, f.kind())
	case f.typ == "text" || f.typ == "keyword":
		want := javaString(value)
		return func(d *doc) (float64, bool) { return 1, slices.Contains(c.terms(d, path, f), want) }, nil
	case f.typ == "boolean" || f.typ == "ip":
		want := fmt.Sprint(value)
		return func(d *doc) (float64, bool) {
			return 1, slices.ContainsFunc(d.leaves(path), func(v any) bool { return fmt.Sprint(v) == want })
		}, nil
	}
	return c.rangeOf(path, f, map[string]any{"gte": value, "lte": value})
}

func (c compiler) rangeOf(path string, f *field, value any) (matcher, error) {
	bounds, ok := value.(map[string]any)
	if !ok {
		return nil, fail(400, "parsing_exception", "[range] query malformed, no start_object after query name")
	}
	if path == "_id" {
		return nil, c.shardFault("failed to create query: Field [_id] of type [_id] does not support range queries")
	}
	var tests []func(key) bool
	for op, bound := range bounds {
		if op == "boost" || bound == nil {
			continue
		}
		if !slices.Contains([]string{"gt", "gte", "lt", "lte"}, op) {
			return nil, unsupported("range query with [%s]", op)
		}
		k, e := c.bound(path, f, bound)
		if e != nil {
			return nil, e
		}
		tests = append(tests, func(have key) bool {
			n := have.compare(k)
			return op[0] == 'g' && n > 0 || op[0] == 'l' && n < 0 || len(op) == 3 && n == 0
		})
	}
	if path != "_seq_no" && f == nil {
		return none, nil
	}
	return func(d *doc) (float64, bool) {
		return 1, slices.ContainsFunc(d.keys(path, f), func(k key) bool {
			return !slices.ContainsFunc(tests, func(t func(key) bool) bool { return !t(k) })
		})
	}, nil
}

func (c compiler) bound(path string, f *field, v any) (key, *Error) {
	if path == "_seq_no" {
		f = &field{typ: "long"}
	}
	if f == nil {
		return key{}, nil
	}
	if strings.Contains(fmt.Sprint(v), "now") && f.typ == "date" {
		return key{}, unsupported("date math [%v]", v)
	}
	k, ok := f.key(v)
	if !ok {
		return key{}, c.shardFault("failed to create query: For input string: \"%v\"", v)
	}
	return k, nil
}

// key is a value that orders: a number or a text.
type key struct {
	text    string
	integer int64
	float   float64
	kind    byte // 't', 'i', 'f'
}

func (k key) compare(o key) int {
	if k.kind == 't' || o.kind == 't' {
		return strings.Compare(k.text, o.text)
	}
	if k.kind == 'i' && o.kind == 'i' {
		return compareOrdered(k.integer, o.integer)
	}
	return compareOrdered(k.number(), o.number())
}

func (k key) number() float64 {
	if k.kind == 'i' {
		return float64(k.integer)
	}
	return k.float
}

func compareOrdered[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (k key) json() any {
	switch k.kind {
	case 'i':
		return k.integer
	case 'f':
		return json.RawMessage(javaNumber(k.float, 64))
	}
	return k.text
}

// key turns a value into what the field's type orders by.
func (f *field) key(v any) (key, bool) {
	text := fmt.Sprint(v)
	switch f.typ {
	case "date":
		ms, ok := f.date(text)
		return key{kind: 'i', integer: ms}, ok
	case "keyword", "text", "ip":
		return key{kind: 't', text: text}, true
	case "boolean":
		return key{kind: 'i', integer: map[string]int64{"true": 1}[text]}, true
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return key{kind: 'i', integer: n}, true
	}
	x, err := strconv.ParseFloat(text, 64)
	return key{kind: 'f', float: x}, err == nil
}

func (d *doc) keys(path string, f *field) []key {
	if path == "_seq_no" {
		return []key{{kind: 'i', integer: d.seq}}
	}
	var out []key
	for _, v := range d.leaves(path) {
		if k, ok := f.key(v); ok {
			out = append(out, k)
		}
	}
	return out
}
