// Package resource is how a cloud resource lives in a fake: states that change by the clock and by no timer, lists
// that lag behind writes, and pages.
package resource

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/localtest/fakes/cloud"
)

// Gone is the state of a resource that no longer exists.
const Gone = "Gone"

// Table names, for every state, the states that may follow.
type Table map[string][]string

// Machine is a resource's state. What it will be next, and when, is decided at each change; reading it at a later time
// finds the change done.
type Machine struct {
	table       Table
	state, next string
	due, since  time.Time
}

// Start is a machine in state first that becomes next after d, or stays there if next is "".
func (t Table) Start(now time.Time, first string, d time.Duration, next string) Machine {
	m := Machine{table: t, state: first, since: now}
	m.plan(now, d, next)
	return m
}

// State is the state at now.
func (m *Machine) State(now time.Time) string {
	if m.next != "" && !now.Before(m.due) {
		m.state, m.next, m.since = m.next, "", m.due
	}
	return m.state
}

// Due is when the change that is under way ends, or when the last one did.
func (m *Machine) Due() time.Time { return m.due }

// Since is when the state at now began.
func (m *Machine) Since(now time.Time) time.Time {
	m.State(now)
	return m.since
}

// Change goes to state via at once and, unless then is "", on to that after d. It panics if the table does not know
// such a transition: then the fake is wrong, not its caller.
func (m *Machine) Change(now time.Time, via string, d time.Duration, then string) {
	if from := m.State(now); !slices.Contains(m.table[from], via) {
		panic(fmt.Sprintf("fake: no transition from %s to %s", from, via))
	}
	m.state, m.since = via, now
	m.plan(now, d, then)
}

func (m *Machine) plan(now time.Time, d time.Duration, next string) {
	if next != "" && !slices.Contains(m.table[m.state], next) {
		panic(fmt.Sprintf("fake: no transition from %s to %s", m.state, next))
	}
	m.next, m.due = next, now.Add(d)
}

// Lag is how lists see a resource: later than it exists, and still for a while when it is gone.
type Lag struct{ shown, hidden time.Time }

// maxLag is the longest that a list trails a write (an assumption: no source gives a figure).
const maxLag = 2 * time.Minute

// Born is the lag of a resource made now.
func Born(a *cloud.Account) Lag { return Lag{shown: a.Now().Add(a.Lag(maxLag))} }

// Shown is when lists begin to show the resource.
func (l Lag) Shown() time.Time { return l.shown }

// Dies notes that the resource will be gone at t.
func (l *Lag) Dies(a *cloud.Account, t time.Time) { l.hidden = t.Add(a.Lag(maxLag)) }

// Listed reports whether lists show the resource at now.
func (l Lag) Listed(now time.Time) bool {
	return !now.Before(l.shown) && (l.hidden.IsZero() || now.Before(l.hidden))
}

// Page cuts the page that MaxResults (default and maximum as given) and NextToken ask for out of all, and returns the
// token of the next page, "" on the last.
func Page[T any](r *cloud.Request, all []T, standard, most int) (page []T, next string, size int, err error) {
	size, from := standard, 0
	if s := r.Get("MaxResults"); s != "" {
		if size, err = strconv.Atoi(s); err != nil || size < 1 || size > most {
			return nil, "", 0, cloud.Errorf(400, "IllegalParam.MaxResults", "The param of MaxResults is illegal.")
		}
	}
	if s := r.Get("NextToken"); s != "" {
		if from, err = strconv.Atoi(s); err != nil || from < 0 || from > len(all) {
			return nil, "", 0, cloud.Errorf(400, "IllegalParam.NextToken", "The param of NextToken is illegal.")
		}
	}
	to := min(from+size, len(all))
	if to < len(all) {
		next = strconv.Itoa(to)
	}
	return all[from:to], next, size, nil
}

// Tags gathers Tag.N.Key and Tag.N.Value.
func Tags(r *cloud.Request) map[string]string {
	tags := map[string]string{}
	for _, t := range r.List("Tag") {
		tags[t["Key"]] = t["Value"]
	}
	return tags
}

// TagList is tags as replies list them, in order, with the names that the product gives to key and value.
func TagList(tags map[string]string, key, value string) []any {
	list := []any{}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, map[string]any{key: k, value: tags[k]})
	}
	return list
}

// HasTags reports whether have holds every tag of want; an empty value in want stands for any.
func HasTags(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || v != "" && got != v {
			return false
		}
	}
	return true
}

// Values is a list parameter of scalars.
func Values(r *cloud.Request, name string) []string {
	var list []string
	for _, item := range r.List(name) {
		list = append(list, item[""])
	}
	return list
}

// Bool reads a boolean parameter. Case does not matter: the Python SDK writes True and
// False.
func Bool(r *cloud.Request, name string, standard bool) (bool, error) {
	switch strings.ToLower(r.Get(name)) {
	case "":
		return standard, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, cloud.Errorf(400, "IllegalParam", "The param of %s is illegal.", name)
}

// DryRun answers a request that was only to be checked: its success is the error DryRunOperation.
func DryRun(r *cloud.Request) error {
	dry, err := Bool(r, "DryRun", false)
	if err == nil && dry {
		err = cloud.Errorf(400, "DryRunOperation", "Request validation has been passed with DryRun flag set.")
	}
	return err
}
