package events

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
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

// Bounds of an index's name: Elasticsearch counts bytes, and names that begin with
// CheckPrefix are those of eslink's own checks, which delete them.
const (
	maxNameBytes = 255
	CheckPrefix  = "eslink-check-"
)

// IsIndexName reports whether an index may be written by that name.
func IsIndexName(name string) bool {
	return schemas()[indexName].Validate(name) == nil && len(name) <= maxNameBytes && !strings.HasPrefix(name, CheckPrefix)
}

// checkNames holds what a schema cannot say of an index's names.
func (ix Index) checkNames(at string, fs *Findings) {
	for _, n := range []struct{ field, name string }{{"source", ix.Source}, {"dest", ix.Dest}} {
		if len(n.name) > maxNameBytes && (n.field == "source" || n.name != ix.Source) {
			fs.Add(at+"."+n.field, fmt.Sprintf("it has %d bytes, and a name of an index at most %d", len(n.name), maxNameBytes), "give a shorter name: a character outside ASCII takes two bytes or more")
		}
	}
	if strings.HasPrefix(ix.Dest, CheckPrefix) {
		fs.Add(at+".dest", "names that begin with "+CheckPrefix+" are those of eslink's own checks, which delete such indices", "name another dest")
	}
}

// maxTimeout is the longest time that a connection of _reindex may be given: a
// function looks at the copy far more often.
const maxTimeout = time.Hour

func (r Reindex) check(fs *Findings) {
	for _, t := range []struct{ field, text string }{{"socketTimeout", r.SocketTimeout}, {"connectTimeout", r.ConnectTimeout}} {
		if d, err := time.ParseDuration(t.text); err == nil && d > maxTimeout {
			fs.Add("spec.reindex."+t.field, t.text+" is more than an hour", "give at most 60m: a connection that is silent for so long is lost")
		}
	}
}
