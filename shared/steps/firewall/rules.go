package firewall

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"eslink/shared/aliyun/ecs"
	"eslink/shared/run"
)

// what ends the description of a run's rules.
const what = "firewall"

// ofRuns are the descriptions of any run's rules.
var ofRuns = regexp.MustCompile(`^eslink-[0-9a-f]{16}-` + what + `$`)

// balancers is the block that a CLB's own packets come from.
var balancers = netip.MustParsePrefix("100.64.0.0/10")

// wanted is what the host has to admit.
func wanted(r *run.Run) ([]ecs.Admission, error) {
	vswitch, err := netip.ParsePrefix(r.Facts.Preflight.VSwitches[0].CIDR)
	if err != nil {
		return nil, fmt.Errorf("the vSwitch of the load balancer of run %s has no network on record: %w", r.ID, err)
	}
	var want []ecs.Admission
	for _, port := range r.Spec.Ports() {
		want = append(want, ecs.Admission{Port: port, CIDR: balancers}, ecs.Admission{Port: port, CIDR: vswitch})
	}
	return want, nil
}

// lacking are the wanted admissions that no rule of the host's groups grants.
// all are the rules of these groups, there those of the run's group.
func lacking(r *run.Run, want []ecs.Admission, all, there []ecs.Rule) ([]ecs.Admission, error) {
	var missing []ecs.Admission
	for _, a := range want {
		decides, ok := ecs.Decides(all, a)
		switch {
		case ok && decides.Accepts():
		case slices.ContainsFunc(there, func(x ecs.Rule) bool { return own(r, x) && is(x, a) }):
			return nil, fmt.Errorf("rule %s (%s) of ECS instance %s drops packets from %s to port %d before the run's rule admits the load balancer: remove it or give it a later priority, then retry",
				decides.ID, decides.Description, r.Facts.Preflight.ECS.InstanceID, a.CIDR, a.Port)
		default:
			a.Priority = free(there, a)
			missing = append(missing, a)
		}
	}
	return missing, nil
}

// free is the first priority at which a group has no such rule yet: one that is
// the same but for its description would not be added.
func free(rules []ecs.Rule, a ecs.Admission) int {
	for n := 1; n < 100; n++ {
		if !slices.ContainsFunc(rules, func(x ecs.Rule) bool { return x.Priority == n && x.Accepts() && is(x, a) }) {
			return n
		}
	}
	return 100
}

// own reports whether the run added a rule.
func own(r *run.Run, rule ecs.Rule) bool { return rule.Description == r.Name(what) }

// foreign reports whether another run added a rule.
func foreign(r *run.Run, rule ecs.Rule) bool {
	return !own(r, rule) && ofRuns.MatchString(rule.Description)
}

// is reports whether a rule is one that Admit makes of an admission.
func is(rule ecs.Rule, a ecs.Admission) bool {
	return strings.EqualFold(rule.Protocol, "tcp") && rule.CIDR == a.CIDR.String() && rule.Ports == fmt.Sprintf("%d/%d", a.Port, a.Port)
}

// each lists what admissions have in common, each once.
func each(admissions []ecs.Admission, of func(ecs.Admission) string) string {
	var out []string
	for _, a := range admissions {
		out = append(out, of(a))
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

func source(a ecs.Admission) string { return a.CIDR.String() }

func port(a ecs.Admission) string { return fmt.Sprint("port ", a.Port) }
