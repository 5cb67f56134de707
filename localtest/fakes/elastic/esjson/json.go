package esjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Object is a JSON object that keeps the order of its members, since readers of
// golden replies (and of this package's tests) compare text.
type Object []Member

type Member struct {
	Key   string
	Value any
}

// Obj builds an object from key, value, key, value...
func Obj(kv ...any) Object {
	o := make(Object, 0, len(kv)/2)
	for i := 0; i < len(kv); i += 2 {
		o = append(o, Member{kv[i].(string), kv[i+1]})
	}
	return o
}

func (o Object) With(kv ...any) Object { return append(slices.Clone(o), Obj(kv...)...) }

// JavaFloat prints as Java prints a float: -1.0, 50.0, 1.0E-8.
type JavaFloat float64

func EncodeJSON(v any) []byte { return appendJSON(nil, v) }

func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case Object:
		b = append(b, '{')
		for i, m := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(AppendString(b, m.Key), ':')
			b = appendJSON(b, m.Value)
		}
		return append(b, '}')
	case map[string]any:
		b = append(b, '{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(AppendString(b, k), ':')
			b = appendJSON(b, v[k])
		}
		return append(b, '}')
	case []Object:
		return appendList(b, v)
	case []any:
		return appendList(b, v)
	case []string:
		return appendList(b, v)
	case string:
		return AppendString(b, v)
	case json.RawMessage:
		return append(b, v...)
	case json.Number:
		return append(b, v...)
	case JavaFloat:
		return append(b, JavaNumber(float64(v), 32)...)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case *Error:
		return appendJSON(b, v.Object())
	}
	panic(fmt.Sprintf("elastic: no JSON form for %T", v))
}

func appendList[T any](b []byte, list []T) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, v)
	}
	return append(b, ']')
}

// AppendString escapes as Jackson does: short escapes, other control characters
// and characters beyond the BMP as \uXXXX, everything else as it is.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20:
			if short := strings.IndexRune("\b\t\n\f\r", r); short >= 0 {
				b = append(b, '\\', "btnfr"[short])
			} else {
				b = fmt.Appendf(b, "\\u%04X", r)
			}
		case r > 0xFFFF:
			r -= 0x10000
			b = fmt.Appendf(b, "\\u%04X\\u%04X", 0xD800+(r>>10), 0xDC00+(r&0x3FF))
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

// JavaNumber prints a double (bits 64) or float (bits 32) as Java's toString
// does. Java 17 prints some doubles with more digits than needed; this does not.
func JavaNumber(f float64, bits int) string {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return map[bool]string{true: `"Infinity"`, false: `"-Infinity"`}[f > 0]
	}
	if a := math.Abs(f); a == 0 || a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, bits)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	s := strconv.FormatFloat(f, 'e', -1, bits)
	if !strings.Contains(s, ".") {
		s = strconv.FormatFloat(f, 'e', 1, bits)
	}
	mantissa, exponent, _ := strings.Cut(s, "e")
	n, _ := strconv.Atoi(exponent) // FormatFloat wrote it
	return mantissa + "E" + strconv.Itoa(n)
}

// CopyStructure re-prints JSON as Elasticsearch's copyCurrentStructure does on
// the way through a remote _reindex or a _source filter: whitespace goes,
// integers stay exact, every other number becomes a double printed by Java.
func CopyStructure(raw []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(Uncomment(raw)))
	dec.UseNumber()
	var out []byte
	type level struct {
		object bool
		n      int
	}
	var stack []level
	for {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		delim, isDelim := tok.(json.Delim)
		closing := isDelim && (delim == '}' || delim == ']')
		if top := len(stack) - 1; top >= 0 && !closing {
			switch l := &stack[top]; {
			case l.object && l.n%2 == 1:
				out = append(out, ':')
				l.n++
			case l.n > 0:
				out = append(out, ',')
				l.n++
			default:
				l.n++
			}
		}
		switch v := tok.(type) {
		case json.Delim:
			out = append(out, byte(v))
			if closing {
				stack = stack[:len(stack)-1]
			} else {
				stack = append(stack, level{object: v == '{'})
			}
		case json.Number:
			out = append(out, copyNumber(string(v))...)
		default:
			out = appendJSON(out, v)
		}
		if len(stack) == 0 {
			return out, nil
		}
	}
}

func copyNumber(s string) string {
	if !strings.ContainsAny(s, ".eE") {
		return s
	}
	f, _ := strconv.ParseFloat(s, 64) // out of range gives ±Inf, which is what Java does
	return JavaNumber(f, 64)
}

// Uncomment blanks out the comments that Elasticsearch's JSON reader takes for white
// space. Columns stay; JSON without comments is returned as it is.
func Uncomment(raw []byte) []byte {
	if bytes.IndexByte(raw, '/') < 0 {
		return raw
	}
	out, quoted := bytes.Clone(raw), false
	for i := 0; i < len(out); i++ {
		switch rest := raw[i:]; {
		case quoted && raw[i] == '\\':
			i++
		case raw[i] == '"':
			quoted = !quoted
		case quoted:
		case bytes.HasPrefix(rest, []byte("//")):
			for i < len(out) && raw[i] != '\n' {
				out[i], i = ' ', i+1
			}
		case bytes.HasPrefix(rest, []byte("/*")):
			end := bytes.Index(rest[2:], []byte("*/"))
			if end < 0 {
				return raw // an open comment is a fault
			}
			for n := range end + 4 {
				out[i+n] = ' '
			}
			i += end + 3
		}
	}
	return out
}

// Duplicate is a name that an object of a JSON text has twice, which
// Elasticsearch refuses.
func Duplicate(raw []byte) (name string, is bool) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	type level struct {
		names map[string]bool // nil: a list
		value bool            // a value is next
	}
	var stack []level
	for {
		tok, err := dec.Token()
		if err != nil {
			return "", false
		}
		top := len(stack) - 1
		if key, ok := tok.(string); ok && top >= 0 && stack[top].names != nil && !stack[top].value {
			if stack[top].names[key] {
				return key, true
			}
			stack[top].names[key], stack[top].value = true, true
			continue
		}
		if top >= 0 {
			stack[top].value = false
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, level{names: map[string]bool{}})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:top]
		}
	}
}

// MembersOf counts the members of all objects in a value.
func MembersOf(v any) (n int) {
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			n += 1 + MembersOf(inner)
		}
	case []any:
		for _, inner := range v {
			n += MembersOf(inner)
		}
	}
	return n
}

// Colons counts those outside strings: the members of all objects of a text.
func Colons(raw []byte) (n int) {
	for i, quoted := 0, false; i < len(raw); i++ {
		switch {
		case quoted && raw[i] == '\\':
			i++
		case raw[i] == '"':
			quoted = !quoted
		case raw[i] == ':' && !quoted:
			n++
		}
	}
	return n
}

// Decode reads one JSON value and nothing after it; numbers stay text.
func Decode(raw []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(Uncomment(raw)))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if dec.More() {
		return fmt.Errorf("unexpected data after the value")
	}
	return nil
}

// Members decodes an object and keeps the order of its keys.
func Members(raw []byte) (keys []string, values map[string]json.RawMessage, err error) {
	raw = Uncomment(raw)
	if err := Decode(raw, &values); err != nil {
		return nil, nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return nil, nil, err
	}
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return nil, nil, err
		}
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			return nil, nil, err
		}
		keys = append(keys, k.(string))
	}
	return keys, values, nil
}
