// Package esconfig patches a cluster's esConfig: the map from setting to value
// that the cloud replaces as a whole. It adds and removes one entry of
// reindex.remote.whitelist and leaves every other key, and every other entry,
// byte for byte as it is.
//
// Elasticsearch takes the whitelist as a comma list and as a YAML list, and
// both are found in esConfig: a value keeps its form. A value that is neither
// is refused, since a wrong one keeps the cluster from starting.
package esconfig

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"eslink/shared/run"
)

const (
	// Whitelist is the setting that admits hosts to _reindex from remote.
	Whitelist = "reindex.remote.whitelist"
	// Verification is the setting that says how their certificates are checked.
	Verification = "reindex.ssl.verification_mode"
	// Certificate checks the chain of a certificate and not its name: no
	// certificate names an endpoint's domain.
	Certificate = "certificate"
	// Placeholder stands for the domain of a run's endpoint before there is one.
	Placeholder = "{endpoint}"
)

// entryForm is a host name, or Placeholder, and a port: no pattern that could
// admit more, and nothing that could end the value or begin another.
var entryForm = regexp.MustCompile(`^(\{endpoint\}|[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?):[0-9]{1,5}$`)

// WithEntry returns config with entry (host:port) in the whitelist and, if tls
// is Certificate, with that way of checking certificates; and what that changes,
// which is nothing if it is so already. It is an error if entry or the present
// whitelist has a form that it does not know.
func WithEntry(config map[string]string, entry, tls string) (map[string]string, []run.Change, error) {
	l, err := parse(config[Whitelist], entry)
	if err != nil {
		return nil, nil, err
	}
	next := clone(config)
	if !slices.Contains(l.names(), entry) {
		next[Whitelist] = l.with(entry).String()
	}
	if tls == Certificate {
		next[Verification] = Certificate
	}
	return next, Difference(config, next), nil
}

// WithoutEntry returns config without entry in the whitelist and, if tls is
// Certificate, with the way of checking certificates that before has; and what
// that changes. Where before is nil, that setting stays.
func WithoutEntry(config map[string]string, entry, tls string, before map[string]string) (map[string]string, []run.Change, error) {
	l, err := parse(config[Whitelist], entry)
	if err != nil {
		return nil, nil, err
	}
	next := clone(config)
	if slices.Contains(l.names(), entry) {
		if left := l.without(entry); len(left.items) == 0 && !left.yaml {
			delete(next, Whitelist)
		} else {
			next[Whitelist] = left.String()
		}
	}
	if tls == Certificate && before != nil && next[Verification] == Certificate {
		if was, ok := before[Verification]; ok {
			next[Verification] = was
		} else {
			delete(next, Verification)
		}
	}
	return next, Difference(config, next), nil
}

// Difference lists the keys in which two configurations differ, in order. A key
// that is missing has the value "".
func Difference(before, after map[string]string) []run.Change {
	keys := clone(before)
	maps.Copy(keys, after)
	out := []run.Change{}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		b, hadIt := before[k]
		a, hasIt := after[k]
		if a != b || hadIt != hasIt {
			out = append(out, run.Change{Key: k, Before: b, After: a})
		}
	}
	return out
}

// Has reports whether config's whitelist has entry.
func Has(config map[string]string, entry string) bool {
	l, err := parse(config[Whitelist], entry)
	return err == nil && slices.Contains(l.names(), entry)
}

func clone(m map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, m)
	return out
}

// list is a whitelist's value in its parts: items as written, with their
// quotation marks and the blanks around them.
type list struct {
	yaml        bool   // [a, b]
	open, close string // the brackets, and what is around them
	items       []string
}

// itemForm is an entry as somebody else may have written it: patterns and IPv6
// addresses included.
var itemForm = regexp.MustCompile(`^[A-Za-z0-9._*:\[\]{}-]+$`)

func parse(value, entry string) (list, error) {
	if !entryForm.MatchString(entry) {
		return list{}, fmt.Errorf("%q cannot go into %s: it is not a host name and a port", entry, Whitelist)
	}
	bad := func(why string) (list, error) {
		return list{}, fmt.Errorf("%s is %q, %s; write it as host:port,host:port first", Whitelist, value, why)
	}
	if strings.ContainsFunc(value, unicode.IsControl) {
		return bad("which has control characters")
	}
	var l list
	inner, trimmed := value, strings.Trim(value, " ")
	if strings.HasPrefix(trimmed, "[") && strings.HasSuffix(trimmed, "]") {
		from, to := strings.Index(value, "[")+1, strings.LastIndex(value, "]")
		l = list{yaml: true, open: value[:from], close: value[to:]}
		inner = value[from:to]
	}
	if strings.Trim(inner, " ") == "" {
		l.open += inner
		return l, nil
	}
	l.items = strings.Split(inner, ",")
	for _, item := range l.items {
		name, quote := unquote(item)
		switch {
		case !itemForm.MatchString(name):
			return bad("which has an entry that is no host and port")
		case l.yaml && quote == "" && strings.ContainsAny(name, "[]{}*"):
			return bad("which is no YAML list")
		case !l.yaml && quote != "":
			return bad("which has quotation marks outside a list")
		}
	}
	return l, nil
}

// unquote returns an item's name and its quotation mark.
func unquote(item string) (name, quote string) {
	s := strings.Trim(item, " ")
	if n := len(s); n > 2 && (s[0] == '"' || s[0] == '\'') && s[0] == s[n-1] {
		return s[1 : n-1], s[:1]
	}
	return s, ""
}

func (l list) names() []string {
	var out []string
	for _, item := range l.items {
		name, _ := unquote(item)
		out = append(out, name)
	}
	return out
}

// with appends entry in the style of the last item.
func (l list) with(entry string) list {
	if len(l.items) == 0 {
		if l.yaml {
			entry = `"` + entry + `"`
		}
		l.items = []string{entry}
		return l
	}
	items := slices.Clone(l.items)
	last := items[len(items)-1]
	_, quote := unquote(last)
	if l.yaml && quote == "" {
		quote = `"` // always right, whatever the entry holds
	}
	blank := ""
	if len(items) > 1 {
		blank = leading(last)
	}
	items[len(items)-1] = strings.TrimRight(last, " ")
	l.items = append(items, blank+quote+entry+quote+trailing(last))
	return l
}

// without removes entry; the blanks at the list's ends stay.
func (l list) without(entry string) list {
	var items []string
	for i, item := range l.items {
		if name, _ := unquote(item); name != entry {
			items = append(items, item)
		} else if n := len(items); i == len(l.items)-1 && n > 0 {
			items[n-1] = strings.TrimRight(items[n-1], " ") + trailing(item)
		}
	}
	if len(items) > 0 && len(l.items) > 0 {
		items[0] = leading(l.items[0]) + strings.TrimLeft(items[0], " ")
	}
	l.items = items
	return l
}

func (l list) String() string { return l.open + strings.Join(l.items, ",") + l.close }

func leading(s string) string  { return s[:len(s)-len(strings.TrimLeft(s, " "))] }
func trailing(s string) string { return s[len(strings.TrimRight(s, " ")):] }
