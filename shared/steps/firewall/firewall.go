// Package firewall is the step by which the ECS host's security group admits the
// balancer: its health checks come from 100.64.0.0/10, and what comes through
// the endpoint from there or from its vSwitch. Both go into rules of the run's
// own, known by their description; rules of others are never touched.
package firewall

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"eslink/shared/aliyun/ecs"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Rules are the ingress rules of security groups.
type Rules interface {
	Rules(ctx context.Context, groupID string) ([]ecs.Rule, error)
	Admit(ctx context.Context, groupID string, admissions []ecs.Admission, description string) error
	Revoke(ctx context.Context, groupID string, ruleIDs []string) error
}

// Step keeps the run's rules.
type Step struct{ Rules Rules }

// New returns the step for a function.
func New(d deps.Deps) engine.Step { return &Step{Rules: ecs.New(d.Aliyun)} }

// settles is how long a rule takes at most to come into force.
const settles = 5 * time.Second

// balancers is the block that a CLB's own packets come from.
var balancers = netip.MustParsePrefix("100.64.0.0/10")

// unseen is what no API of the cloud tells of a host, and so of a backend that
// fails its health check.
const unseen = "eslink cannot see the host's own firewall (iptables has to admit 100.64.0.0/10), nor whether the service listens on 0.0.0.0 rather than 127.0.0.1"

// Up makes the host's security groups admit the balancer to the run's ports, by
// rules in the first of them unless other rules admit all of it already. Rules
// of other runs do not count, since they go with those runs. What the run has
// left, ports and security groups, is taken back.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	host := r.Facts.Preflight.ECS
	want, err := wanted(r)
	if err != nil {
		return engine.Outcome{}, err
	}
	group := host.SecurityGroups[0]
	if f := r.Facts.Firewall; f != nil {
		if !slices.Contains(host.SecurityGroups, f.SecurityGroupID) { // the host has left it
			if n, err := s.takeBack(ctx, r, f.SecurityGroupID); n > 0 || err != nil {
				return engine.Waitf(settles, "ECS instance %s is not in security group %s any more: the run's %d rules there are being removed", host.InstanceID, f.SecurityGroupID, n), err
			}
		} else {
			group = f.SecurityGroupID
		}
	}
	var all, there []ecs.Rule // of all groups, but for other runs'; of the one
	for _, id := range host.SecurityGroups {
		rules, err := s.Rules.Rules(ctx, id)
		if err != nil {
			return engine.Outcome{}, err
		}
		if id == group {
			there = rules
		}
		all = append(all, slices.DeleteFunc(slices.Clone(rules), func(x ecs.Rule) bool { return !own(r, x) && ofRuns.MatchString(x.Description) })...)
	}
	f := &facts.Firewall{SecurityGroupID: group}
	r.Facts.Firewall = f
	var left []string
	for _, x := range there {
		i := slices.IndexFunc(want, func(a ecs.Admission) bool { return is(x, a) })
		switch {
		case !own(r, x):
		case i < 0:
			left = append(left, x.ID)
		default:
			f.Rules = append(f.Rules, facts.FirewallRule{ID: x.ID, Port: want[i].Port, CIDR: x.CIDR})
		}
	}
	if len(left) > 0 {
		return engine.Waitf(settles, "security group %s: %d rules for what the run has left are being removed", group, len(left)), s.revoke(ctx, group, left)
	}
	var missing []ecs.Admission
	for _, a := range want {
		decides, ok := ecs.Decides(all, a)
		switch {
		case ok && decides.Accepts():
		case slices.ContainsFunc(there, func(x ecs.Rule) bool { return own(r, x) && is(x, a) }):
			return engine.Outcome{}, fmt.Errorf("rule %s (%s) of ECS instance %s drops what comes from %s to port %d before the rule of the run admits the balancer: remove it or give it a later priority, then retry",
				decides.ID, decides.Description, host.InstanceID, a.CIDR, a.Port)
		default:
			a.Priority = free(there, a)
			missing = append(missing, a)
		}
	}
	if len(missing) == 0 {
		return engine.Done(), nil
	}
	// The pasts that this can meet: there are no rules; some of them were removed
	// by somebody; the reply to the same request was lost. A rule that is there is
	// not added again.
	if err := s.Rules.Admit(ctx, group, missing, r.Name(what)); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(settles, "security group %s takes up %d rules that admit the balancer (%s) to %s of ECS instance %s; %s: if either keeps the balancer out, step clb-backend will wait for backend %s, which it finds abnormal",
		group, len(missing), sources(missing), ports(missing), host.InstanceID, unseen, host.InstanceID), nil
}

// wanted is what the host has to admit.
func wanted(r *run.Run) ([]ecs.Admission, error) {
	vswitch, err := netip.ParsePrefix(r.Facts.Preflight.VSwitches[0].CIDR)
	if err != nil {
		return nil, fmt.Errorf("the vSwitch of the balancer of run %s has no network on record: %w", r.ID, err)
	}
	var want []ecs.Admission
	for _, port := range r.Spec.Ports() {
		want = append(want, ecs.Admission{Port: port, CIDR: balancers}, ecs.Admission{Port: port, CIDR: vswitch})
	}
	return want, nil
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

// Down takes the run's rules back.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	var groups []string
	if p := r.Facts.Preflight; p != nil && p.ECS != nil {
		groups = append(groups, p.ECS.SecurityGroups...)
	}
	if f := r.Facts.Firewall; f != nil && !slices.Contains(groups, f.SecurityGroupID) {
		groups = append(groups, f.SecurityGroupID)
	}
	for _, group := range groups {
		if n, err := s.takeBack(ctx, r, group); n > 0 || err != nil {
			return engine.Waitf(settles, "security group %s: the run's %d rules are being removed", group, n), err
		}
	}
	r.Facts.Firewall = nil
	return engine.Done(), nil
}

// takeBack removes the run's rules from a group and returns how many there were.
func (s *Step) takeBack(ctx context.Context, r *run.Run, group string) (int, error) {
	rules, err := s.Rules.Rules(ctx, group)
	if apierr.IsNotFound(err) {
		return 0, nil // the group is gone, and its rules with it
	}
	if err != nil {
		return 0, err
	}
	var ids []string
	for _, x := range rules {
		if own(r, x) {
			ids = append(ids, x.ID)
		}
	}
	if len(ids) == 0 {
		return 0, nil
	}
	return len(ids), s.revoke(ctx, group, ids)
}

// revoke removes rules. If one of them is gone, all are looked at again.
func (s *Step) revoke(ctx context.Context, group string, ids []string) error {
	if err := s.Rules.Revoke(ctx, group, ids); err != nil && !apierr.IsNotFound(err) {
		return err
	}
	return nil
}

// what ends the description of a run's rules.
const what = "firewall"

// ofRuns are the descriptions of any run's rules.
var ofRuns = regexp.MustCompile(`^eslink-[0-9a-f]{16}-` + what + `$`)

// own reports whether the run added a rule.
func own(r *run.Run, rule ecs.Rule) bool { return rule.Description == r.Name(what) }

// is reports whether a rule is one that Admit makes of an admission.
func is(rule ecs.Rule, a ecs.Admission) bool {
	return strings.EqualFold(rule.Protocol, "tcp") && rule.CIDR == a.CIDR.String() && rule.Ports == fmt.Sprintf("%d/%d", a.Port, a.Port)
}

func sources(admissions []ecs.Admission) string {
	var out []string
	for _, a := range admissions {
		out = append(out, a.CIDR.String())
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

func ports(admissions []ecs.Admission) string {
	var out []string
	for _, a := range admissions {
		out = append(out, fmt.Sprint("port ", a.Port))
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}
