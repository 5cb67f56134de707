package esjson

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// JavaString prints a value as Java's toString does, for previews.
func JavaString(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, k+"="+JavaString(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		var parts []string
		for _, item := range v {
			parts = append(parts, JavaString(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case nil:
		return "null"
	case json.Number:
		return copyNumber(string(v))
	}
	return fmt.Sprint(v)
}

// ParseTime reads Elasticsearch's time values: 30s, 100ms, -1.
func ParseTime(s, key string) (time.Duration, *Error) {
	if s == "-1" {
		return -1, nil
	}
	if s == "0" {
		return 0, nil
	}
	for _, u := range []struct {
		suffix string
		unit   time.Duration
	}{{"nanos", 1}, {"micros", time.Microsecond}, {"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}} {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			f, err := strconv.ParseInt(n, 10, 64)
			if err != nil {
				break
			}
			return time.Duration(f) * u.unit, nil
		}
	}
	return 0, Illegal("failed to parse setting [%s] with value [%s] as a time value: unit is missing or unrecognized", key, s)
}

func DecodeMember(raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		return nil
	}
	if err := Decode(raw, into); err != nil {
		return Fail(400, "parse_exception", "Failed to parse content: %s", err)
	}
	return nil
}

// TimeValue reads Elasticsearch's time values: 30s, 500ms, 20m, 1h, 0.
func TimeValue(s string) (time.Duration, bool) {
	if s == "0" {
		return 0, true
	}
	unit := strings.TrimLeft(s, "0123456789")
	per, ok := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[unit]
	n, err := strconv.Atoi(strings.TrimSuffix(s, unit))
	return time.Duration(n) * per, ok && err == nil
}

func (o Object) Get(key string) any {
	for _, m := range o {
		if m.Key == key {
			return m.Value
		}
	}
	return nil
}

func Validation(faults []string) *Error {
	text := "Validation Failed: "
	for i, f := range faults {
		text += fmt.Sprintf("%d: %s;", i+1, f)
	}
	return Fail(400, "action_request_validation_exception", "%s", text)
}

const Challenge = `Basic realm="security" charset="UTF-8"`

// StringList reads a JSON value that may be one string or a list of them.
func StringList(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// Version compares numerically.
type Version struct{ Major, Minor, Patch int }

func ParseVersion(s string) Version {
	var v Version
	if _, err := fmt.Sscanf(s, "%d.%d.%d", &v.Major, &v.Minor, &v.Patch); err != nil {
		panic(fmt.Sprintf("elastic: version %q: %v", s, err)) // a mistake in the test, not a state of the world
	}
	return v
}

func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

func SplitList(s string) []string {
	var out []string
	for item := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune(",[]\"", r) }) {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// SplitNames splits names in a path; brackets belong to them.
func SplitNames(s string) []string {
	var out []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// Wild matches Elasticsearch's simple patterns, in which * is any text.
func Wild(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for i := 0; i <= len(s); i++ {
		if Wild(rest, s[i:]) || rest == "" {
			return true
		}
	}
	return false
}

func Known(prefixes []string, key string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool {
		return key == p || strings.HasSuffix(p, ".") && strings.HasPrefix(key, p)
	})
}

func UnknownSetting(key string) *Error {
	return Illegal("unknown setting [%s] please check that any required plugins are installed, or check the breaking changes documentation for removed settings", key)
}

// Flatten turns nested JSON settings into flat ones: {"index":{"a":1}} is
// index.a = "1"; lists become comma lists, null stays nil.
func Flatten(prefix string, v any, into map[string]*string) {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			Flatten(Join(prefix, k), child, into)
		}
	case []any:
		var items []string
		for _, item := range v {
			items = append(items, fmt.Sprint(item))
		}
		text := strings.Join(items, ",")
		into[prefix] = &text
	case nil:
		into[prefix] = nil
	default:
		text := fmt.Sprint(v)
		into[prefix] = &text
	}
}

func Join(prefix, k string) string {
	if prefix == "" {
		return k
	}
	return prefix + "." + k
}

// nest is the inverse of flatten for a reply. A key that is also a prefix of
// another stays flat, as Elasticsearch prints it.
func nest(flat map[string]string) map[string]any {
	out := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(flat)) {
		m, parts := out, strings.Split(k, ".")
		for i, p := range parts[:len(parts)-1] {
			child, ok := m[p].(map[string]any)
			if !ok && m[p] != nil {
				parts = []string{strings.Join(parts[i:], ".")}
				break
			}
			if !ok {
				child = map[string]any{}
				m[p] = child
			}
			m = child
		}
		m[parts[len(parts)-1]] = shown(flat[k])
	}
	return out
}

// shown is a setting's value as replies have it: a list that elasticsearch.yml
// writes as one is one.
func shown(value string) any {
	var list []string
	if strings.HasPrefix(value, "[") && Decode([]byte(value), &list) == nil {
		return list
	}
	return value
}

func SettingsReply(flat map[string]string, asFlat bool) map[string]any {
	if !asFlat {
		return nest(flat)
	}
	out := map[string]any{}
	for k, v := range flat {
		out[k] = shown(v)
	}
	return out
}

// Atoi reads an integer setting that was checked when it was set.
func Atoi(s string, otherwise int) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return otherwise
}

// TimeText prints as Elasticsearch's TimeValue: 0s, 419.7ms, 1.5s.
func TimeText(d time.Duration) string {
	ms := float64(d.Milliseconds())
	for _, u := range []struct {
		name string
		size float64
	}{{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}} {
		if ms >= u.size {
			return strings.TrimSuffix(strconv.FormatFloat(math.Floor(ms/u.size*10)/10, 'f', 1, 64), ".0") + u.name
		}
	}
	if ms == 0 {
		return "0s"
	}
	return strconv.FormatFloat(ms, 'f', -1, 64) + "ms"
}
