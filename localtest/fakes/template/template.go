// Package template compares JSON replies with templates, for suites that show the
// same to a fake and to the real thing.
//
// In a template "<any>" fits every value, "<name>" every value and keeps it for
// later as {name}, "<~regexp>" a string or number, the member "…": true further
// members. A key may end in a condition, "cancelled@>=7.17", and an object of
// conditions only, {"@<8": …, "@": …}, stands for the first that holds. Numbers
// compare as text.
package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Vars are the values that {name} stands for, and the version that conditions ask.
type Vars struct {
	Version string
	Values  map[string]string
}

var variable = regexp.MustCompile(`\{[a-z0-9]+\}`)

// Fill replaces {name}; what is not known stays.
func (v *Vars) Fill(s string) string {
	return variable.ReplaceAllStringFunc(s, func(name string) string {
		if value, ok := v.Values[name[1:len(name)-1]]; ok {
			return value
		}
		return name
	})
}

// Fit says where a reply leaves its template, and keeps what the template names.
func (v *Vars) Fit(want, have any) error { return v.fit("", want, have) }

// Holds compares versions: ">=7.17", "<8".
func Holds(condition, version string) bool {
	op := strings.TrimRight(condition, "0123456789.")
	var want, have [3]int
	for v, into := range map[string]*[3]int{strings.TrimPrefix(condition, op): &want, version: &have} {
		for i, part := range strings.Split(v, ".") {
			_, _ = fmt.Sscan(part, &into[i]) // a part that is no number counts as 0
		}
	}
	switch n := slices.Compare(have[:], want[:]); op {
	case ">=":
		return n >= 0
	case "<":
		return n < 0
	}
	return false
}

// Read decodes JSON; numbers stay text.
func Read(raw []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

func (v *Vars) fit(at string, want, have any) error {
	switch w := want.(type) {
	case string:
		inner, opens := strings.CutPrefix(w, "<")
		inner, closes := strings.CutSuffix(inner, ">")
		if !opens || !closes || w == "<<>>" {
			break
		}
		text := fmt.Sprint(have)
		switch expr, isExpr := strings.CutPrefix(inner, "~"); {
		case inner == "any":
			return nil
		case isExpr:
			if !regexp.MustCompile("(?s)^(?:" + expr + ")$").MatchString(text) {
				return fmt.Errorf("%s: %q does not match %s", at, text, expr)
			}
			return nil
		}
		v.Values[inner] = text
		return nil
	case []any:
		list, ok := have.([]any)
		if !ok || len(list) != len(w) {
			return fmt.Errorf("%s: want %d items, have %v", at, len(w), have)
		}
		for i := range w {
			if err := v.fit(fmt.Sprintf("%s[%d]", at, i), w[i], list[i]); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		return v.fitObject(at, w, have)
	}
	if want != have {
		return fmt.Errorf("%s: want %v, have %v", at, want, have)
	}
	return nil
}

func (v *Vars) fitObject(at string, want map[string]any, have any) error {
	choice, chosen := want["@"], len(want) > 0
	for k, then := range want {
		condition, isChoice := strings.CutPrefix(k, "@")
		if chosen = chosen && isChoice; isChoice && condition != "" && Holds(condition, v.Version) {
			choice = then
		}
	}
	if chosen {
		return v.fit(at, choice, have)
	}
	o, ok := have.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: want an object, have %v", at, have)
	}
	seen := map[string]bool{}
	for k, wanted := range want {
		key, condition, conditional := strings.Cut(k, "@")
		if key == "…" || conditional && !Holds(condition, v.Version) {
			continue
		}
		seen[key] = true
		value, ok := o[key]
		if !ok {
			return fmt.Errorf("%s: no member %s", at, key)
		}
		if err := v.fit(at+"."+key, wanted, value); err != nil {
			return err
		}
	}
	for k := range o {
		if _, open := want["…"]; !open && !seen[k] {
			return fmt.Errorf("%s: unexpected member %s", at, k)
		}
	}
	return nil
}
