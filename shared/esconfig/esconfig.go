// Package esconfig patches a cluster's esConfig: the map from setting to value
// that the cloud replaces as a whole. It says what a spec needs of it (Needs),
// merges that in, takes out what a run has put there and needs no more (Merge),
// and leaves every other key, and every other entry of a list, byte for byte as
// it is.
//
// Elasticsearch takes the whitelist of _reindex as a comma list and as a YAML
// list, and both are found in esConfig: a value keeps its form. A value that is
// neither is refused, since a wrong one keeps the cluster from starting.
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
	// Certificate checks the chain of a certificate and not its name: no
	// certificate names an endpoint's domain.
	Certificate = "certificate"
	// Placeholder stands for the domain of a run's endpoint before there is one.
	Placeholder = "{endpoint}"
)

// entryForm is a host name, or Placeholder, and a port: no pattern that could
// admit more, and nothing that could end the value or begin another.
var entryForm = regexp.MustCompile(`^(\{endpoint\}|[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?):[0-9]{1,5}$`)

// Want is what esConfig is to hold for a run's sake.
type Want struct {
	Entry    string            // host:port in Whitelist, or ""
	Settings map[string]string // other keys and their values
}

// Ours is what a run has put into esConfig, and will take out again.
type Ours struct {
	Entries  []string           `json:"entries,omitempty"` // of Whitelist
	Settings map[string]Setting `json:"settings,omitempty"`
}

// Setting is a value that a run gave a key: Before is what it had, nil if it had
// none.
type Setting struct {
	Before *string `json:"before"`
	After  string  `json:"after"`
}

// Merge returns config with what is wanted, and without what is ours and wanted
// no more: then a key gets back the value that it had, unless somebody has
// changed it since. It also returns what is ours in that configuration, which is
// never what was there already.
func Merge(config map[string]string, ours Ours, want Want) (map[string]string, Ours, error) {
	next, then := clone(config), Ours{Settings: map[string]Setting{}}
	for _, entry := range ours.Entries {
		if entry == want.Entry {
			continue
		}
		if err := removeEntry(next, entry); err != nil {
			return nil, Ours{}, err
		}
	}
	if want.Entry != "" {
		added, err := addEntry(next, want.Entry)
		if err != nil {
			return nil, Ours{}, err
		}
		if added || slices.Contains(ours.Entries, want.Entry) {
			then.Entries = []string{want.Entry}
		}
	}
	for key, set := range ours.Settings {
		if _, wanted := want.Settings[key]; !wanted {
			revert(next, key, set)
		}
	}
	for key, value := range want.Settings {
		if set, mine := claim(config, ours, key, value); mine {
			then.Settings[key] = set
		}
		next[key] = value
	}
	return next, then, nil
}

// removeEntry takes an entry out of the whitelist, and the whitelist out if
// nothing is left of it.
func removeEntry(config map[string]string, entry string) error {
	l, err := parse(config[Whitelist], entry)
	if err != nil {
		return err
	}
	if !slices.Contains(l.names(), entry) {
		return nil
	}
	if rest := l.without(entry); len(rest.items) == 0 && !rest.yaml {
		delete(config, Whitelist)
	} else {
		config[Whitelist] = rest.String()
	}
	return nil
}

// addEntry puts an entry into the whitelist and reports whether it was missing.
func addEntry(config map[string]string, entry string) (added bool, err error) {
	l, err := parse(config[Whitelist], entry)
	if err != nil {
		return false, err
	}
	if slices.Contains(l.names(), entry) {
		return false, nil
	}
	config[Whitelist] = l.with(entry).String()
	return true, nil
}

// revert gives a key of ours the value that it had, unless somebody has changed
// it since. Of a realm all keys go, also what somebody has changed or added in
// it: the rest of a realm keeps the nodes from starting.
func revert(config map[string]string, key string, set Setting) {
	if prefix, ok := directoryOf(key); ok {
		maps.DeleteFunc(config, func(k, _ string) bool { return strings.HasPrefix(k, prefix) })
		return
	}
	switch {
	case config[key] != set.After:
	case set.Before == nil:
		delete(config, key)
	default:
		config[key] = *set.Before
	}
}

// claim is what a run owns of a key that is to have a value: nothing if it has
// that value already and the run did not give it.
func claim(config map[string]string, ours Ours, key, value string) (set Setting, mine bool) {
	set, mine = ours.Settings[key]
	now, has := config[key]
	if !mine || !has || now != set.After { // else it is as we left it
		set = Setting{}
		if has {
			set.Before = &now
		}
		mine = now != value || !has
	}
	set.After = value
	return set, mine
}

// With returns what is in either, as other has it: what a run may own while it
// is unknown whether a write took effect.
func (o Ours) With(other Ours) Ours {
	all := Ours{Entries: slices.Concat(o.Entries, other.Entries), Settings: map[string]Setting{}}
	slices.Sort(all.Entries)
	all.Entries = slices.Compact(all.Entries)
	maps.Copy(all.Settings, o.Settings)
	maps.Copy(all.Settings, other.Settings)
	return all
}

// Hide writes a domain as Placeholder in what changes become, so that the plan
// of a standing link reads as it did before there was one.
func Hide(changes []run.Change, domain string) []run.Change {
	for i := range changes {
		changes[i].After = strings.ReplaceAll(changes[i].After, domain, Placeholder)
	}
	return changes
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
