package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/localtest/fakes/elastic/esjson"
)

// fit checks a document against the mapping and adds what is new in it. A
// document that does not fit leaves the mapping as it was.
func (ix *Index) fit(id string, source []byte, values map[string]any) *esjson.Error {
	f := &fitting{ix: ix, id: id, source: source}
	e := f.object(ix.Mapping.Root, "", values, ix.Mapping.Root.dynamic)
	if e == nil && len(f.undo) > 0 {
		limit := esjson.Atoi(ix.Settings["index.mapping.total_fields.limit"], 1000)
		if ix.Mapping.size() > limit {
			e = esjson.Illegal("Limit of total fields [%d] has been exceeded", limit)
			if ix.S.Version.AtLeast(7, 11) {
				cause := esjson.Illegal("Limit of total fields [%d] has been exceeded while adding new fields [%d]", limit, f.added)
				e = esjson.Fail(400, "mapper_parsing_exception", "failed to parse").Because(cause)
			}
		}
	}
	if e != nil {
		for _, undo := range slices.Backward(f.undo) {
			undo()
		}
	}
	return e
}

type fitting struct {
	ix     *Index
	id     string
	source []byte
	undo   []func()
	added  int
}

func (ft *fitting) add(parent *Field, name string, f *Field) {
	parent.Props[name] = f
	ft.added += f.size()
	ft.undo = append(ft.undo, func() { delete(parent.Props, name) })
}

func (ft *fitting) object(parent *Field, path string, values map[string]any, dynamic string) *esjson.Error {
	if dynamic == "disabled" {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		at, p, d := parent, path, dynamic
		parts := strings.Split(key, ".")
		for _, dir := range parts[:len(parts)-1] { // dots are objects too
			p = esjson.Join(p, dir)
			if at.Props[dir] == nil {
				if e := ft.unknown(d, dir, path); e != nil || d == "false" {
					return e
				}
				ft.add(at, dir, &Field{Props: map[string]*Field{}})
			}
			if at = at.Props[dir]; at.Props == nil {
				return ft.fault("mapper_parsing_exception", p, "Could not dynamically add mapping for field [%s]. Existing mapping for [%s] must be of type object but found [%s].", key, p, at.Typ)
			}
			if at.dynamic != "" {
				d = at.dynamic
			}
		}
		if e := ft.value(at, parts[len(parts)-1], p, values[key], d); e != nil {
			return e
		}
	}
	return nil
}

func (ft *fitting) unknown(dynamic, name, path string) *esjson.Error {
	if dynamic != "strict" {
		return nil
	}
	in := path
	if in == "" {
		in = "_doc"
	}
	return ft.fault("strict_dynamic_mapping_exception", esjson.Join(path, name), "mapping set to strict, dynamic introduction of [%s] within [%s] is not allowed", name, in)
}

func (ft *fitting) value(parent *Field, name, path string, v any, dynamic string) *esjson.Error {
	full, f := esjson.Join(path, name), parent.Props[name]
	if list, ok := v.([]any); ok && !(f != nil && (f.Typ == "dense_vector" || f.Typ == "geo_point")) {
		for _, item := range list {
			if e := ft.value(parent, name, path, item, dynamic); e != nil {
				return e
			}
		}
		return nil
	}
	if v == nil {
		return nil
	}
	if f == nil {
		if e := ft.unknown(dynamic, name, path); e != nil || dynamic == "false" {
			return e
		}
		made, e := ft.guess(v, full)
		if e != nil {
			return e
		}
		ft.add(parent, name, made)
		f = made
	}
	if f.dynamic != "" {
		dynamic = f.dynamic
	}
	inner, isObject := v.(map[string]any)
	switch {
	case f.Props != nil && isObject:
		return ft.object(f, full, inner, dynamic)
	case f.Props != nil && f.dynamic != "disabled":
		return ft.fault("mapper_parsing_exception", full, "object mapping for [%s] tried to parse field [%s] as object, but found a concrete value", full, name)
	case f.Props != nil || f.Param("ignore_malformed") == "true" || f.params["ignore_malformed"] == true:
		return nil
	}
	if cause := f.check(full, v); cause != nil {
		return ft.fault("mapper_parsing_exception", full, "failed to parse field [%s] of type [%s] in document with id '%s'. Preview of field's value: '%s'", full, f.Typ, ft.id, esjson.JavaString(v)).Because(cause)
	}
	return nil
}

// fault is an error of this document's content, in the words of the version:
// from 8.9 on with the position and another type.
func (ft *fitting) fault(typ, path, format string, args ...any) *esjson.Error {
	e := esjson.Fail(400, typ, format, args...)
	if ft.ix.S.Version.AtLeast(8, 9) {
		e.Reason = fmt.Sprintf("[1:%d] ", Position(ft.source, path)) + e.Reason
		if typ == "mapper_parsing_exception" {
			e.Type = "document_parsing_exception"
		}
	}
	return e
}

// Position is the column of the value at a dotted path, counted from 1.
func Position(source []byte, path string) int {
	dec := json.NewDecoder(bytes.NewReader(esjson.Uncomment(source)))
	head, rest, deeper := strings.Cut(path, ".")
	if _, err := dec.Token(); err != nil {
		return 1
	}
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return 1
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return 1
		}
		start := int(dec.InputOffset()) - len(v)
		if k == path || k == head && !deeper {
			return start + 1
		}
		if k == head && len(v) > 0 && v[0] == '{' {
			return start + Position(v, rest)
		}
	}
	return 1
}

// guess is dynamic mapping: the type of a value seen for the first time.
func (ft *fitting) guess(v any, path string) (*Field, *esjson.Error) {
	switch v := v.(type) {
	case map[string]any:
		return &Field{Props: map[string]*Field{}}, nil
	case bool:
		return &Field{Typ: "boolean"}, nil
	case json.Number:
		if strings.ContainsAny(string(v), ".eE") {
			return &Field{Typ: "float"}, nil
		}
		if _, err := strconv.ParseInt(string(v), 10, 64); err != nil {
			cause := esjson.Fail(400, "illegal_state_exception", "No matching token for number_type [BIG_INTEGER]")
			return nil, ft.fault("mapper_parsing_exception", path, "failed to parse").Because(cause)
		}
		return &Field{Typ: "long"}, nil
	case string:
		if looksLikeDate(v) {
			return &Field{Typ: "date"}, nil
		}
	}
	return &Field{Typ: "text", multi: map[string]*Field{"keyword": {Typ: "keyword", params: map[string]any{"ignore_above": 256}}}}, nil
}

func looksLikeDate(s string) bool {
	_, iso := parseISO(s)
	_, slashes := dateFormats["yyyy/MM/dd HH:mm:ss||yyyy/MM/dd"](s)
	return iso && len(s) >= 10 || slashes
}

var integerRanges = map[string][2]float64{
	"long": {math.MinInt64, math.MaxInt64}, "integer": {math.MinInt32, math.MaxInt32}, "short": {math.MinInt16, math.MaxInt16}, "byte": {math.MinInt8, math.MaxInt8},
}

// check tells why a value does not fit a leaf, or nil.
func (f *Field) check(path string, v any) *esjson.Error {
	_, isObject := v.(map[string]any)
	switch f.Typ {
	case "text", "keyword":
		if isObject {
			return esjson.Fail(400, "illegal_state_exception", "Can't get text on a START_OBJECT at 1:1")
		}
	case "boolean":
		if s, ok := v.(string); ok && s != "true" && s != "false" && s != "" || !ok && v != true && v != false {
			return esjson.Illegal("Failed to parse value [%s] as only [true] or [false] are allowed.", esjson.JavaString(v))
		}
	case "date":
		if _, ok := f.date(fmt.Sprint(v)); !ok || isObject {
			format := f.Param("format")
			if format == "" {
				format = "strict_date_optional_time||epoch_millis"
			}
			return esjson.Illegal("failed to parse date field [%s] with format [%s]", esjson.JavaString(v), format).Because(esjson.Fail(400, "date_time_parse_exception", "Failed to parse with all enclosed parsers"))
		}
	case "ip":
		if _, err := netip.ParseAddr(fmt.Sprint(v)); err != nil {
			return esjson.Illegal("'%s' is not an IP string literal.", esjson.JavaString(v))
		}
	case "long", "integer", "short", "byte", "double", "float", "half_float", "scaled_float":
		return f.checkNumber(v)
	}
	return nil
}

func (f *Field) checkNumber(v any) *esjson.Error {
	switch v.(type) {
	case map[string]any:
		return esjson.Illegal("Cannot parse object as number")
	case bool:
		return esjson.Fail(400, "json_parse_exception", "Current token (VALUE_%s) not numeric, can not use numeric value accessors", strings.ToUpper(fmt.Sprint(v)))
	}
	text := fmt.Sprint(v)
	n, err := strconv.ParseFloat(text, 64)
	if err != nil && math.IsInf(n, 0) || math.IsInf(n, 0) {
		return esjson.Illegal("[%s] supports only finite values, but got [%s]", f.Typ, esjson.JavaNumber(n, 64))
	}
	if err != nil {
		return esjson.Illegal("For input string: \"%s\"", text)
	}
	if r, integer := integerRanges[f.Typ]; integer {
		_, err := strconv.ParseInt(text, 10, 64)
		if n < r[0] || n > r[1] || f.Typ == "long" && err != nil && !strings.ContainsAny(text, ".eE") {
			article := map[bool]string{true: "an ", false: "a "}[f.Typ == "integer"]
			return esjson.Illegal("Value [%s] is out of range for %s", text, article+f.Typ)
		}
	}
	return nil
}

// date reads a value as the field's format does: milliseconds since 1970.
func (f *Field) date(s string) (int64, bool) {
	format := f.Param("format")
	if format == "" {
		format = "strict_date_optional_time||epoch_millis"
	}
	for part := range strings.SplitSeq(format, "||") {
		if ms, ok := dateFormats[part](s); ok {
			return ms, true
		}
	}
	return 0, false
}

var dateFormats = map[string]func(string) (int64, bool){
	"strict_date_optional_time": parseISO, "date_optional_time": parseISO, "strict_date_time": parseISO, "date_time": parseISO,
	"epoch_millis":                    func(s string) (int64, bool) { n, err := strconv.ParseInt(s, 10, 64); return n, err == nil },
	"epoch_second":                    func(s string) (int64, bool) { n, err := strconv.ParseInt(s, 10, 64); return n * 1000, err == nil },
	"yyyy-MM-dd HH:mm:ss":             layouts("2006-01-02 15:04:05"),
	"yyyy-MM-dd":                      layouts("2006-01-02"),
	"strict_date":                     layouts("2006-01-02"),
	"date":                            layouts("2006-01-02"),
	"yyyy/MM/dd HH:mm:ss||yyyy/MM/dd": layouts("2006/01/02 15:04:05", "2006/01/02"),
	"yyyy/MM/dd HH:mm:ss":             layouts("2006/01/02 15:04:05"),
	"yyyy/MM/dd":                      layouts("2006/01/02"),
	"strict_date_hour_minute_second":  layouts("2006-01-02T15:04:05"),
}

var parseISO = layouts("2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02", "2006-01", "2006")

func layouts(list ...string) func(string) (int64, bool) {
	return func(s string) (int64, bool) {
		for _, l := range list {
			if t, err := time.Parse(l, s); err == nil {
				return t.UnixMilli(), true
			}
		}
		return 0, false
	}
}
