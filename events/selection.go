package events

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MaxIndices bounds what one run copies, listed or found by patterns.
const MaxIndices = 200

// Patterns are names of indices with * for anything; in JSON one, or a list.
type Patterns []string

// UnmarshalJSON reads either form.
func (p *Patterns) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*p = Patterns{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(p))
}

// Match reports whether any of them matches a whole name.
func (p Patterns) Match(name string) bool {
	return slices.ContainsFunc(p, func(pattern string) bool {
		parts := strings.Split(pattern, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		return regexp.MustCompile("^(?s:" + strings.Join(parts, ".*") + ")$").MatchString(name)
	})
}

// Rename makes a destination's name of a source's.
type Rename struct {
	From string `json:"from"` // a regular expression (RE2) for the whole name
	To   string `json:"to"`   // with $1 to $9 for its groups
}

// groups are the references in To.
var groups = regexp.MustCompile(`\$([1-9])`)

// whole makes From match a whole name.
func (r Rename) whole() (*regexp.Regexp, error) {
	if _, err := regexp.Compile(r.From); err != nil { // which brackets may not escape
		return nil, err
	}
	return regexp.Compile("^(?:" + r.From + ")$")
}

// Of is the new name, or false if the rule does not match.
func (r Rename) Of(name string) (string, bool) {
	re, err := r.whole()
	if err != nil {
		return "", false
	}
	found := re.FindStringSubmatch(name)
	if found == nil {
		return "", false
	}
	return groups.ReplaceAllStringFunc(r.To, func(ref string) string {
		n, _ := strconv.Atoi(ref[1:]) // one digit
		if n >= len(found) {
			return ""
		}
		return found[n]
	}), true
}

func (r Rename) check(at string, fs *Findings) {
	re, err := r.whole()
	if err != nil {
		fs.Add(at+".from", err.Error(), "give a regular expression (RE2), such as ^logs-(.*)$")
		return
	}
	for _, ref := range groups.FindAllStringSubmatch(r.To, -1) {
		if n, _ := strconv.Atoi(ref[1]); n > re.NumSubexp() {
			fs.Add(at+".to", fmt.Sprintf("$%d is no group of from, which has %d", n, re.NumSubexp()), "refer to groups that from has, such as $1 of ^logs-(.*)$")
		}
	}
}

// Patterned tells whether what is copied is found by patterns.
func (s Spec) Patterned() bool {
	return slices.ContainsFunc(s.Indices, func(ix Index) bool { return len(ix.Include) > 0 })
}

// IsIndexName reports whether an index may be written by that name.
func IsIndexName(name string) bool { return schemas()[indexName].Validate(name) == nil }
