// Package ipwhitelist is the step by which the source cluster admits the load
// balancer: its packets, health checks among them, come from the balancer's
// local addresses. They go into a whitelist group of the run's own; it touches no
// other group.
package ipwhitelist

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Cluster is the source's control plane.
type Cluster interface {
	Describe(ctx context.Context, id string) (escluster.Instance, error)
	SetWhitelistGroup(ctx context.Context, id, group string, ips []string, token string) error
}

// Step keeps the run's group.
type Step struct{ Cluster Cluster }

// New returns the step for a function.
func New(d deps.Deps) engine.Step { return &Step{Cluster: escluster.New(d.Aliyun)} }

// settles is how long the cloud usually takes to put a whitelist into force.
const settles = 45 * time.Second

// Up makes the group hold exactly the balancer's local addresses, unless other
// groups admit them all and there is none of ours.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.NLB == nil || len(r.Facts.NLB.LocalAddresses) == 0 {
		return engine.Outcome{}, fmt.Errorf("the load balancer of run %s has no local addresses on record: step nlb writes them", r.ID)
	}
	want := slices.Sorted(slices.Values(r.Facts.NLB.LocalAddresses))
	in, err := s.Cluster.Describe(ctx, r.Spec.Target.InstanceID)
	if err != nil {
		return engine.Outcome{}, err
	}
	switch in.Status {
	case escluster.Active:
	case escluster.Activating: // a whitelist, ours included, is in force only afterwards
		return engine.Waitf(settles*2/3, "cluster %s is carrying out a change; its whitelist can be changed, and takes effect, when that is done", in.ID), nil
	default:
		return engine.Outcome{}, fmt.Errorf("cluster %s is %s, and its whitelist cannot be changed: see its console for the cause, make it active, then retry", in.ID, in.Status)
	}
	have, ours := group(in, groupOf(r))
	switch {
	case ours && slices.Equal(have, want):
		r.Facts.IPWhitelist = &facts.IPWhitelist{Group: groupOf(r), Addresses: want}
		return engine.Done(), nil
	case !ours && admitsAll(in.Private(), want):
		r.Facts.IPWhitelist = &facts.IPWhitelist{Addresses: want}
		return engine.Done(), nil
	}
	// Possible prior states: no group; a group with addresses of an earlier
	// balancer; one that somebody edited. Mode Cover replaces its content whatever
	// happened to an earlier request.
	if err := s.Cluster.SetWhitelistGroup(ctx, in.ID, groupOf(r), want, token(r, in, want)); err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.IPWhitelist = &facts.IPWhitelist{Group: groupOf(r), Addresses: want}
	return engine.Waitf(settles, "cluster %s is adding the whitelist group %s with %d addresses of the load balancer", in.ID, groupOf(r), len(want)), nil
}

// Down removes the run's group.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	in, err := s.Cluster.Describe(ctx, r.Spec.Target.InstanceID)
	if apierr.IgnoreNotFound(err) != nil {
		return engine.Outcome{}, err
	}
	if _, ours := group(in, groupOf(r)); err != nil || !ours || in.Status == escluster.Invalid { // an invalid cluster is gone
		r.Facts.IPWhitelist = nil
		return engine.Done(), nil
	}
	switch in.Status {
	case escluster.Active:
	case escluster.Activating:
		return engine.Waitf(settles*2/3, "cluster %s is carrying out a change; the whitelist group %s can be removed when that is done", in.ID, groupOf(r)), nil
	default:
		return engine.Outcome{}, fmt.Errorf("cluster %s is %s, and its whitelist group %s cannot be removed: make the cluster active, then retry", in.ID, in.Status, groupOf(r))
	}
	if err := s.Cluster.SetWhitelistGroup(ctx, in.ID, groupOf(r), nil, token(r, in, nil)); apierr.IgnoreNotFound(err) != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(settles, "cluster %s is removing the whitelist group %s", in.ID, groupOf(r)), nil
}

// groupOf names the run's group. The console takes lower-case letters, digits
// and underscores.
func groupOf(r *run.Run) string { return "eslink_" + strings.ReplaceAll(r.ID, "-", "_") }

// token repeats a request while nothing has changed at the instance, and is
// another one as soon as something has: a replayed one would have no effect.
func token(r *run.Run, in escluster.Instance, ips []string) string {
	return r.Token(fmt.Sprintf("ip-whitelist/%d/%s", in.UpdatedAt.UnixMilli(), strings.Join(ips, ",")))
}

func group(in escluster.Instance, name string) (ips []string, ok bool) {
	for _, g := range in.Private() {
		if g.Name == name {
			return slices.Sorted(slices.Values(g.IPs)), true
		}
	}
	return nil, false
}

// admitsAll reports whether some group admits each address.
func admitsAll(groups []escluster.WhiteGroup, addresses []string) bool {
	for _, a := range addresses {
		addr, err := netip.ParseAddr(a)
		if err != nil || !slices.ContainsFunc(groups, func(g escluster.WhiteGroup) bool {
			return slices.ContainsFunc(g.IPs, func(entry string) bool { return covers(entry, addr) })
		}) {
			return false
		}
	}
	return true
}

func covers(entry string, addr netip.Addr) bool {
	if p, err := netip.ParsePrefix(entry); err == nil {
		return p.Contains(addr)
	}
	a, err := netip.ParseAddr(entry)
	return err == nil && a == addr
}
