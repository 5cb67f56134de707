// Package firewall is the step by which the ECS host's security group admits the
// load balancer: its health checks come from 100.64.0.0/10, and what comes
// through the endpoint from there or from its vSwitch. Both go into rules of the
// run's own, identified by their description; it touches no other rule.
package firewall

import (
	"context"
	"slices"
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

// unseen is what no API of the cloud tells of a host, and so of a backend that
// fails its health check.
const unseen = "eslink cannot see the host's own firewall (iptables has to admit 100.64.0.0/10), nor whether the service listens on 0.0.0.0 rather than 127.0.0.1"

// Up makes the host's security groups admit the load balancer to the run's
// ports, by rules in the first of them unless other rules admit all of it
// already. Rules of other runs do not count, since they are removed with those
// runs. Rules for ports and groups that the run no longer uses are removed.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	want, err := wanted(r)
	if err != nil {
		return engine.Outcome{}, err
	}
	host := r.Facts.Preflight.ECS
	group := host.SecurityGroups[0]
	if f := r.Facts.Firewall; f != nil && slices.Contains(host.SecurityGroups, f.SecurityGroupID) {
		group = f.SecurityGroupID
	} else if f != nil { // the host has left it
		if out, err := s.revokeAll(ctx, r, f.SecurityGroupID); err != nil || !out.IsDone() {
			return out, err
		}
	}
	all, there, err := s.read(ctx, r, group)
	if err != nil {
		return engine.Outcome{}, err
	}
	f := &facts.Firewall{SecurityGroupID: group}
	r.Facts.Firewall = f
	var surplus []string
	for _, x := range there {
		i := slices.IndexFunc(want, func(a ecs.Admission) bool { return is(x, a) })
		switch {
		case !own(r, x):
		case i < 0:
			surplus = append(surplus, x.ID)
		default:
			f.Rules = append(f.Rules, facts.FirewallRule{ID: x.ID, Port: want[i].Port, CIDR: x.CIDR})
		}
	}
	if len(surplus) > 0 {
		return s.revoke(ctx, group, surplus)
	}
	missing, err := lacking(r, want, all, there)
	if err != nil {
		return engine.Outcome{}, err
	}
	if len(missing) == 0 {
		return engine.Done(), nil
	}
	// Possible prior states: no rules; somebody removed some of them; the reply to
	// the same request was lost. A rule that exists is not added again.
	if err := s.Rules.Admit(ctx, group, missing, r.Name(what)); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(settles, "security group %s is adding %d rules that admit the load balancer (%s) to %s of ECS instance %s; %s: if either keeps the load balancer out, step clb-backend waits for backend %s, which it finds abnormal",
		group, len(missing), each(missing, source), each(missing, port), host.InstanceID, unseen, host.InstanceID), nil
}

// read returns the rules of all the host's groups, without those of other runs,
// and all rules of one group.
func (s *Step) read(ctx context.Context, r *run.Run, group string) (all, there []ecs.Rule, err error) {
	for _, id := range r.Facts.Preflight.ECS.SecurityGroups {
		rules, err := s.Rules.Rules(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		if id == group {
			there = rules
		}
		all = append(all, slices.DeleteFunc(slices.Clone(rules), func(x ecs.Rule) bool { return foreign(r, x) })...)
	}
	return all, there, nil
}

// Down removes the run's rules.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	var groups []string
	if p := r.Facts.Preflight; p != nil && p.ECS != nil {
		groups = append(groups, p.ECS.SecurityGroups...)
	}
	if f := r.Facts.Firewall; f != nil && !slices.Contains(groups, f.SecurityGroupID) {
		groups = append(groups, f.SecurityGroupID)
	}
	for _, group := range groups {
		if out, err := s.revokeAll(ctx, r, group); err != nil || !out.IsDone() {
			return out, err
		}
	}
	r.Facts.Firewall = nil
	return engine.Done(), nil
}

// revokeAll is Done when a group has no rules of the run.
func (s *Step) revokeAll(ctx context.Context, r *run.Run, group string) (engine.Outcome, error) {
	rules, err := s.Rules.Rules(ctx, group)
	if apierr.IgnoreNotFound(err) != nil {
		return engine.Outcome{}, err
	}
	var ids []string
	for _, x := range rules {
		if own(r, x) {
			ids = append(ids, x.ID)
		}
	}
	if err != nil || len(ids) == 0 { // a group that is gone has no rules
		return engine.Done(), nil
	}
	return s.revoke(ctx, group, ids)
}

// revoke removes rules. If one of them is gone, all are looked at again.
func (s *Step) revoke(ctx context.Context, group string, ids []string) (engine.Outcome, error) {
	if err := s.Rules.Revoke(ctx, group, ids); apierr.IgnoreNotFound(err) != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(settles, "security group %s is removing %d rules of the run that are no longer needed", group, len(ids)), nil
}
