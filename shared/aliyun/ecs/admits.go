package ecs

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Decides returns the rule that decides whether a network may connect to a TCP
// port, of the rules of all of a host's security groups: the first by priority
// that applies, a Drop before an Accept. A rule that drops a part of the network
// counts, one that accepts a part does not. Without any, nobody is admitted.
func Decides(rules []Rule, a Admission) (Rule, bool) {
	rules = slices.Clone(rules)
	slices.SortStableFunc(rules, func(x, y Rule) int {
		if x.Priority != y.Priority {
			return x.Priority - y.Priority
		}
		return strings.Compare(strings.ToLower(y.Policy), strings.ToLower(x.Policy)) // drop first
	})
	for _, r := range rules {
		from, err := netip.ParsePrefix(r.CIDR)
		if err != nil || !r.covers(a.Port) {
			continue
		}
		if !r.Accepts() && from.Overlaps(a.CIDR) || from.Bits() <= a.CIDR.Bits() && from.Contains(a.CIDR.Addr()) {
			return r, true
		}
	}
	return Rule{}, false
}

// Admits reports whether the rules admit a network as a whole.
func Admits(rules []Rule, a Admission) bool {
	r, ok := Decides(rules, a)
	return ok && r.Accepts()
}

// Accepts reports whether the rule accepts what it applies to.
func (r Rule) Accepts() bool { return strings.EqualFold(r.Policy, "accept") }

func (r Rule) covers(port int) bool {
	if !strings.EqualFold(r.Protocol, "tcp") && !strings.EqualFold(r.Protocol, "all") {
		return false
	}
	first, last, _ := strings.Cut(r.Ports, "/")
	lo, err1 := strconv.Atoi(first)
	hi, err2 := strconv.Atoi(last)
	return err1 == nil && err2 == nil && (lo == -1 || lo <= port && port <= hi)
}
