// Package awsrules is the step that admits the clients, and nobody else, into the
// endpoint's security group on the clusters' ports, and lets them out of their own
// groups where no rule does.
package awsrules

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/aws"
	"eslink/shared/aws/ec2"
	"eslink/shared/awsaccount"
	"eslink/shared/awsreach"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Groups are the security groups of a region.
type Groups interface {
	Group(ctx context.Context, id string) (ec2.Group, error)
	Admit(ctx context.Context, groupID string, r ec2.Rule) error
	AdmitEgress(ctx context.Context, groupID string, r ec2.Rule) error
	Revoke(ctx context.Context, groupID string, r ec2.Rule) error
	RevokeEgress(ctx context.Context, groupID string, r ec2.Rule) error
}

// Step adds and removes rules.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Groups, error)
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := awsaccount.New(kms.New(d.Aliyun), aws.Config{Transport: d.Transport("aws"), Now: d.Now})
	return &Step{Open: func(ctx context.Context, r *run.Run) (Groups, error) {
		a, err := o.Open(ctx, r)
		return ec2.New(a, r.Spec.AWS.Region), err
	}}
}

// next is the pause between two rules.
const next = time.Second

// Up brings the rules to what the spec says, one a call. Possible prior states of
// each: not there; there already (which AWS says, and which is success); there
// for clients that a later spec no longer names.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	own, err := c.Group(ctx, r.Facts.AWSGroup.ID)
	if err != nil {
		return engine.Outcome{}, err
	}
	want := wanted(r)
	if i := slices.IndexFunc(want, func(w ec2.Rule) bool { return !slices.ContainsFunc(own.Ingress, same(w)) }); i >= 0 {
		if err := c.Admit(ctx, own.ID, want[i]); err != nil {
			return engine.Outcome{}, err
		}
		return engine.Soon(next, fmt.Sprintf("security group %s admits %s on port %d", own.ID, other(want[i]), want[i].From)), nil
	}
	if i := slices.IndexFunc(own.Ingress, func(h ec2.Rule) bool { return !slices.ContainsFunc(want, same(h)) }); i >= 0 {
		if err := c.Revoke(ctx, own.ID, own.Ingress[i]); err != nil {
			return engine.Outcome{}, err
		}
		return engine.Soon(next, fmt.Sprintf("security group %s no longer admits %s", own.ID, other(own.Ingress[i]))), nil
	}
	f := &facts.AWSRules{Ingress: len(want)}
	if r.Facts.AWSRules != nil {
		f.Egress = r.Facts.AWSRules.Egress
	}
	r.Facts.AWSRules = f
	out, changed, err := s.egress(ctx, c, r)
	if err != nil || changed {
		return out, err
	}
	return engine.Done(), nil
}

// wanted are the rules of the endpoint's group.
func wanted(r *run.Run) []ec2.Rule {
	var all []ec2.Rule
	for _, port := range ports(r) {
		for _, id := range r.Spec.AWS.ClientSecurityGroupIDs {
			all = append(all, ec2.Rule{Protocol: "tcp", From: port, To: port, GroupID: id, Description: awsaccount.Mark(r)})
		}
		for _, n := range r.Spec.AWS.ClientCIDRs {
			all = append(all, ec2.Rule{Protocol: "tcp", From: port, To: port, CIDR: n, Description: awsaccount.Mark(r)})
		}
	}
	return all
}

func ports(r *run.Run) []int {
	var all []int
	for _, k := range r.Facts.ZillizAddress.Clusters {
		all = append(all, k.Port)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// same compares rules without their descriptions.
func same(a ec2.Rule) func(ec2.Rule) bool {
	a.Description = ""
	return func(b ec2.Rule) bool {
		b.Description = ""
		return a == b
	}
}

func other(r ec2.Rule) string { return r.GroupID + r.CIDR }

// egress lets the clients out, where the spec asks for that and none of a group's
// rules does, and removes what an earlier spec had.
func (s *Step) egress(ctx context.Context, c Groups, r *run.Run) (out engine.Outcome, changed bool, err error) {
	own := r.Facts.AWSGroup.ID
	var clients []string
	if r.Spec.AWS.ManageClientEgress {
		clients = r.Spec.AWS.ClientSecurityGroupIDs
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(clients, r.Facts.AWSRules.Egress)))) {
		g, err := c.Group(ctx, id)
		if apierr.IsNotFound(err) && !slices.Contains(clients, id) {
			r.Facts.AWSRules.Egress = without(r.Facts.AWSRules.Egress, id)
			continue
		}
		if err != nil {
			return out, false, err
		}
		mine := slices.IndexFunc(g.Egress, func(e ec2.Rule) bool {
			return e.Description == awsaccount.Mark(r) && !(slices.Contains(clients, id) && e.GroupID == own && slices.Contains(ports(r), e.From))
		})
		if mine >= 0 {
			if err := c.RevokeEgress(ctx, id, g.Egress[mine]); err != nil {
				return out, false, err
			}
			return engine.Soon(next, fmt.Sprintf("security group %s loses the egress rule that it no longer needs", id)), true, nil
		}
		if !slices.Contains(clients, id) {
			r.Facts.AWSRules.Egress = without(r.Facts.AWSRules.Egress, id)
			continue
		}
		for _, port := range ports(r) {
			if slices.ContainsFunc(g.Egress, func(e ec2.Rule) bool { return admits(e, port, r) }) {
				continue
			}
			if !slices.Contains(r.Facts.AWSRules.Egress, id) {
				r.Facts.AWSRules.Egress = append(r.Facts.AWSRules.Egress, id)
			}
			if err := c.AdmitEgress(ctx, id, ec2.Rule{Protocol: "tcp", From: port, To: port, GroupID: own, Description: awsaccount.Mark(r)}); err != nil {
				return out, false, err
			}
			return engine.Soon(next, fmt.Sprintf("security group %s lets its members out to %s on port %d", id, own, port)), true, nil
		}
	}
	return out, false, nil
}

// admits reports whether an egress rule lets a client out to all addresses of
// the endpoint.
func admits(e ec2.Rule, port int, r *run.Run) bool {
	for _, a := range r.Facts.AWSAcceptance.Addresses {
		ip, err := netip.ParseAddr(a)
		if err != nil || !awsreach.Admits(e, port, ip, []string{r.Facts.AWSGroup.ID}) {
			return false
		}
	}
	return true
}

func without(all []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(x string) bool { return x == id })
}

// Down removes the run's rules: from the clients' groups those with its
// description, and all of the endpoint's group, which is the run's own.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.AWSGroup == nil {
		r.Facts.AWSRules = nil
		return engine.Done(), nil
	}
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	clients := r.Spec.AWS.ClientSecurityGroupIDs
	if r.Facts.AWSRules != nil {
		clients = slices.Concat(clients, r.Facts.AWSRules.Egress)
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(clients))) {
		g, err := c.Group(ctx, id)
		if apierr.IsNotFound(err) {
			continue
		}
		if err != nil {
			return engine.Outcome{}, err
		}
		if i := slices.IndexFunc(g.Egress, func(e ec2.Rule) bool { return e.Description == awsaccount.Mark(r) }); i >= 0 {
			if err := c.RevokeEgress(ctx, id, g.Egress[i]); err != nil {
				return engine.Outcome{}, err
			}
			return engine.Soon(next, fmt.Sprintf("security group %s loses the run's egress rule", id)), nil
		}
	}
	own, err := c.Group(ctx, r.Facts.AWSGroup.ID)
	if err != nil && !apierr.IsNotFound(err) {
		return engine.Outcome{}, err
	}
	if err == nil && len(own.Ingress) > 0 {
		if err := c.Revoke(ctx, own.ID, own.Ingress[0]); err != nil {
			return engine.Outcome{}, err
		}
		return engine.Soon(next, fmt.Sprintf("security group %s no longer admits %s", own.ID, other(own.Ingress[0]))), nil
	}
	r.Facts.AWSRules = nil
	return engine.Done(), nil
}
