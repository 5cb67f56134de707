// Package firewall is the step by which the ECS host's security group admits the
// balancer: its health checks come from 100.64.0.0/10, and what comes through
// the endpoint from there or from its vSwitch. Both go into rules of the run's
// own, known by their description; rules of others are never touched.
package firewall

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"eslink/shared/aliyun/ecs"
	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/run"
	"eslink/shared/steps"
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
func New(d steps.Deps) engine.Step { return &Step{Rules: ecs.New(d.Cloud)} }

// settles is how long a rule takes at most to come into force.
const settles = 5 * time.Second

// balancers is the block that a CLB's own packets come from.
var balancers = netip.MustParsePrefix("100.64.0.0/10")

// Unseen is what no API of the cloud tells of a host, and so of a backend that
// fails its health check.
const Unseen = "eslink cannot see the host's own firewall (iptables has to admit 100.64.0.0/10), nor whether the service listens on 0.0.0.0 rather than 127.0.0.1"

// Up makes the host's security groups admit the balancer to the run's ports, by
// rules in the first of them unless others admit all of it already, and takes
// back rules of ours for ports that the run has left.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	p := r.Facts.Preflight
	vswitch, err := netip.ParsePrefix(p.VSwitches[0].CIDR)
	if err != nil {
		return engine.Outcome{}, fmt.Errorf("the vSwitch of the balancer of run %s has no network on record: %w", r.ID, err)
	}
	var want []ecs.Admission
	for _, port := range r.Spec.Ports() {
		want = append(want, ecs.Admission{Port: port, CIDR: balancers}, ecs.Admission{Port: port, CIDR: vswitch})
	}
	group := p.ECS.SecurityGroups[0]
	if f := r.Facts.Firewall; f != nil && slices.Contains(p.ECS.SecurityGroups, f.SecurityGroupID) {
		group = f.SecurityGroupID
	}
	var all, ours []ecs.Rule
	for _, id := range p.ECS.SecurityGroups {
		rules, err := s.Rules.Rules(ctx, id)
		if err != nil {
			return engine.Outcome{}, err
		}
		all = append(all, rules...)
		if id == group {
			ours = own(r, rules)
		}
	}
	f := &run.Firewall{SecurityGroupID: group}
	r.Facts.Firewall = f
	var left []string
	for _, rule := range ours {
		i := slices.IndexFunc(want, func(a ecs.Admission) bool { return is(rule, a) })
		if i < 0 {
			left = append(left, rule.ID)
			continue
		}
		f.Rules = append(f.Rules, run.FirewallRule{ID: rule.ID, Port: want[i].Port, CIDR: rule.CIDR})
	}
	if len(left) > 0 {
		if err := s.revoke(ctx, group, left); err != nil {
			return engine.Outcome{}, err
		}
		return engine.Waitf(settles, "security group %s: %d rules for what the run has left are being removed", group, len(left)), nil
	}
	var missing []ecs.Admission
	for _, a := range want {
		decides, ok := ecs.Decides(all, a)
		switch {
		case ok && decides.Accepts():
		case ok && decides.Priority == 1: // no rule of ours comes before it
			return engine.Outcome{}, fmt.Errorf("rule %s (%s) of ECS instance %s drops what comes from %s to port %d before any rule could admit the balancer: remove it or give it a later priority, then retry",
				decides.ID, decides.Description, p.ECS.InstanceID, a.CIDR, a.Port)
		default:
			missing = append(missing, a)
		}
	}
	if len(missing) == 0 {
		return engine.Done(), nil
	}
	// The pasts that this can meet: there are no rules; some of them were removed
	// by somebody; the reply to the same request was lost. A rule that is there is
	// not added again.
	if err := s.Rules.Admit(ctx, group, missing, r.Name("firewall")); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(settles, "security group %s takes up %d rules that admit the balancer (%s) to %s of ECS instance %s; %s: if either keeps the balancer out, step clb-backend will wait for backend %s, which it finds abnormal",
		group, len(missing), sources(missing), ports(missing), p.ECS.InstanceID, Unseen, p.ECS.InstanceID), nil
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
		rules, err := s.Rules.Rules(ctx, group)
		if apierr.IsNotFound(err) {
			continue // the group is gone, and its rules with it
		}
		if err != nil {
			return engine.Outcome{}, err
		}
		var ids []string
		for _, rule := range own(r, rules) {
			ids = append(ids, rule.ID)
		}
		if len(ids) > 0 {
			if err := s.revoke(ctx, group, ids); err != nil {
				return engine.Outcome{}, err
			}
			return engine.Waitf(settles, "security group %s: the run's %d rules are being removed", group, len(ids)), nil
		}
	}
	r.Facts.Firewall = nil
	return engine.Done(), nil
}

// revoke removes rules. If one of them is gone, all are looked at again.
func (s *Step) revoke(ctx context.Context, group string, ids []string) error {
	if err := s.Rules.Revoke(ctx, group, ids); err != nil && !apierr.IsNotFound(err) {
		return err
	}
	return nil
}

// own are those of the rules that the run added.
func own(r *run.Run, rules []ecs.Rule) []ecs.Rule {
	return slices.DeleteFunc(slices.Clone(rules), func(x ecs.Rule) bool { return x.Description != r.Name("firewall") })
}

// is reports whether a rule of ours is the one for an admission.
func is(rule ecs.Rule, a ecs.Admission) bool {
	return rule.CIDR == a.CIDR.String() && rule.Ports == fmt.Sprintf("%d/%d", a.Port, a.Port)
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
