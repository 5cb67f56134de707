package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"slices"
	"strings"
)

// Pattern is an EventBridge filter pattern (document "Event patterns"): keys are ANDed, the values of an array ORed, a
// nested object descends, all is case-sensitive, and a key that the event lacks does not match, but for
// {"exists": false}. Operators: a literal, prefix, suffix, contains, anything-but, numeric, cidr, exists.
type Pattern struct{ fields map[string]any } // a []matcher or a Pattern

type matcher func(v any, exists bool) bool

// ParsePattern reads a pattern and refuses what is not in the document. {} matches every event.
func ParsePattern(text []byte) (Pattern, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var doc map[string]any
	if err := d.Decode(&doc); err != nil {
		return Pattern{}, fmt.Errorf("not a JSON object: %w", err)
	}
	return parsePattern(doc)
}

func parsePattern(doc map[string]any) (Pattern, error) {
	p := Pattern{map[string]any{}}
	for key, v := range doc {
		switch v := v.(type) {
		case map[string]any:
			inner, err := parsePattern(v)
			if err != nil {
				return p, fmt.Errorf("%s.%w", key, err)
			}
			p.fields[key] = inner
		case []any:
			var ms []matcher
			for _, x := range v {
				m, err := parseMatcher(x)
				if err != nil {
					return p, fmt.Errorf("%s: %w", key, err)
				}
				ms = append(ms, m)
			}
			p.fields[key] = ms
		default:
			return p, fmt.Errorf("%s: want an array or an object", key)
		}
	}
	return p, nil
}

func equal(a any) matcher {
	// Numbers are compared as they are written: 300 is not 300.0 (document "Event patterns").
	return func(v any, exists bool) bool { return exists && v == a }
}

func text(ok func(s string) bool) matcher {
	return func(v any, exists bool) bool {
		s, is := v.(string)
		return exists && is && ok(s)
	}
}

func parseMatcher(x any) (matcher, error) {
	op, ok := x.(map[string]any)
	if !ok {
		if _, list := x.([]any); list {
			return nil, errors.New("a list within a list")
		}
		return equal(x), nil
	}
	if len(op) != 1 {
		return nil, fmt.Errorf("%v: want one operator", op)
	}
	name := slices.Collect(maps.Keys(op))[0]
	arg := op[name]
	s, isText := arg.(string)
	switch {
	case name == "prefix" && isText:
		return text(func(v string) bool { return strings.HasPrefix(v, s) }), nil
	case name == "suffix" && isText:
		return text(func(v string) bool { return strings.HasSuffix(v, s) }), nil
	case name == "contains" && isText:
		return text(func(v string) bool { return strings.Contains(v, s) }), nil
	case name == "cidr" && isText:
		block, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, err
		}
		return text(func(v string) bool {
			a, err := netip.ParseAddr(v)
			return err == nil && block.Contains(a)
		}), nil
	case name == "exists":
		want, ok := arg.(bool)
		if !ok {
			return nil, errors.New("exists: want true or false")
		}
		return func(_ any, exists bool) bool { return exists == want }, nil
	case name == "anything-but":
		list, ok := arg.([]any)
		if !ok {
			list = []any{arg}
		}
		var not []matcher
		for _, x := range list {
			m, err := parseMatcher(x)
			if err != nil {
				return nil, fmt.Errorf("anything-but: %w", err)
			}
			not = append(not, m)
		}
		return func(v any, exists bool) bool {
			return exists && !slices.ContainsFunc(not, func(m matcher) bool { return m(v, true) })
		}, nil
	case name == "numeric":
		return numeric(arg)
	}
	return nil, fmt.Errorf("operator %s with %v: not in the document", name, arg)
}

func numeric(arg any) (matcher, error) {
	list, ok := arg.([]any)
	if !ok || len(list) == 0 || len(list)%2 != 0 {
		return nil, errors.New("numeric: want [operator, number, …]")
	}
	var tests []func(*big.Rat) bool
	for i := 0; i < len(list); i += 2 {
		n, isNumber := list[i+1].(json.Number)
		if !isNumber {
			return nil, fmt.Errorf("numeric: %v is not a number", list[i+1])
		}
		bound, _ := new(big.Rat).SetString(n.String())
		var ok func(cmp int) bool
		switch list[i] {
		case "=":
			ok = func(c int) bool { return c == 0 }
		case "<":
			ok = func(c int) bool { return c < 0 }
		case "<=":
			ok = func(c int) bool { return c <= 0 }
		case ">":
			ok = func(c int) bool { return c > 0 }
		case ">=":
			ok = func(c int) bool { return c >= 0 }
		default:
			return nil, fmt.Errorf("numeric: operator %v", list[i])
		}
		tests = append(tests, func(v *big.Rat) bool { return ok(v.Cmp(bound)) })
	}
	return func(v any, exists bool) bool {
		n, is := v.(json.Number)
		if !exists || !is {
			return false
		}
		x, ok := new(big.Rat).SetString(n.String())
		return ok && !slices.ContainsFunc(tests, func(t func(*big.Rat) bool) bool { return !t(x) })
	}, nil
}

// Match says whether a JSON event matches. Of an array in the event one element is enough.
func (p Pattern) Match(event []byte) (bool, error) {
	d := json.NewDecoder(bytes.NewReader(event))
	d.UseNumber()
	var doc map[string]any
	if err := d.Decode(&doc); err != nil {
		return false, fmt.Errorf("event is not a JSON object: %w", err)
	}
	return p.match(doc), nil
}

func (p Pattern) match(doc map[string]any) bool {
	for key, want := range p.fields {
		v, exists := doc[key]
		switch want := want.(type) {
		case Pattern:
			inner, _ := v.(map[string]any)
			if !want.match(inner) {
				return false
			}
		case []matcher:
			values, isList := v.([]any)
			if !isList {
				values = []any{v}
			}
			if !slices.ContainsFunc(want, func(m matcher) bool {
				return slices.ContainsFunc(values, func(v any) bool { return m(plain(v), exists) })
			}) {
				return false
			}
		}
	}
	return true
}

// plain keeps == from panicking on what no literal can equal.
func plain(v any) any {
	if _, ok := v.(map[string]any); ok {
		return struct{}{}
	}
	if _, ok := v.([]any); ok {
		return struct{}{}
	}
	return v
}
