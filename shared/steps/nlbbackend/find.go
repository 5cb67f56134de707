package nlbbackend

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/shared/aliyun/nlb"
	"eslink/shared/apierr"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// addresses are where the target is now: the private IPv4 addresses of its
// domain and, where it has one per zone, of those. All must resolve, since what
// is not named here is removed.
func (s *Step) addresses(ctx context.Context, c facts.Cluster) ([]nlb.Server, error) {
	var out []nlb.Server
	for _, host := range append([]string{c.Domain}, c.Endpoints...) {
		found, err := s.Resolver.LookupHost(ctx, host)
		if err != nil {
			return nil, fmt.Errorf("resolve %s of %s: %w", host, c.InstanceID, &apierr.Error{Class: apierr.Retry, Message: err.Error()})
		}
		n := len(out)
		for _, a := range found {
			ip := net.ParseIP(a).To4()
			if ip == nil {
				continue // IPv6
			}
			if !ip.IsPrivate() {
				return nil, fmt.Errorf("%s of %s resolves to %s, which is not private: look at the DNS of the VPC, then retry", host, c.InstanceID, a)
			}
			out = append(out, nlb.Server{IP: ip.String(), Port: c.Port})
		}
		if len(out) == n {
			return nil, fmt.Errorf("resolve %s of %s: %w", host, c.InstanceID, &apierr.Error{Class: apierr.Retry, Message: "it has no IPv4 address"})
		}
	}
	slices.SortFunc(out, func(a, b nlb.Server) int { return strings.Compare(a.IP, b.IP) })
	return slices.Compact(out), nil
}

// findGroup returns the run's server group, or nil: the recorded one, else the
// one that bears the run's tag, else (on the way up) the one of the run's name.
func (s *Step) findGroup(ctx context.Context, r *run.Run) (*nlb.ServerGroup, error) {
	f := r.Facts.NLBBackend
	if f.ServerGroupID != "" {
		g, err := s.Groups.ServerGroup(ctx, f.ServerGroupID)
		if !apierr.IsNotFound(err) {
			return &g, err
		}
		r.NextToken(group)
		f.ServerGroupID = ""
	}
	listed, err := s.Lists.ServerGroupsTagged(ctx, run.TagKey, r.Tag())
	if err == nil && len(listed) == 0 && r.Direction != run.Down {
		listed, err = s.Lists.ServerGroupsNamed(ctx, r.Name(group))
	}
	if err != nil {
		return nil, err
	}
	var found *nlb.ServerGroup
	var ids []string
	for _, x := range listed {
		g, err := s.Groups.ServerGroup(ctx, x.ID) // lists show for a while what is gone
		if apierr.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found, ids = &g, append(ids, g.ID)
	}
	if len(ids) > 1 {
		return nil, fmt.Errorf("server groups %s all belong to run %s: delete those that no listener uses, then retry", strings.Join(ids, ", "), r.ID)
	}
	if found != nil {
		f.ServerGroupID, f.Asked = found.ID, time.Time{}
	}
	return found, nil
}

// findListener returns the run's listener, or nil: the recorded one, else the
// one on the target's port of the run's balancer, which is the run's own.
func (s *Step) findListener(ctx context.Context, r *run.Run) (*nlb.Listener, error) {
	f := r.Facts.NLBBackend
	if f.ListenerID != "" {
		l, err := s.Listeners.Listener(ctx, f.ListenerID)
		if !apierr.IsNotFound(err) {
			return &l, err
		}
		f.ListenerID = ""
	}
	if r.Facts.NLB == nil || r.Facts.NLB.ID == "" {
		return nil, nil // no balancer, no listener
	}
	listed, err := s.Listeners.Listeners(ctx, r.Facts.NLB.ID)
	if err != nil {
		return nil, err
	}
	for _, x := range listed {
		if x.Port != r.Facts.Preflight.Target.Port {
			continue
		}
		l, err := s.Listeners.Listener(ctx, x.ID)
		if apierr.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.ListenerID, f.Asked = l.ID, time.Time{}
		return &l, nil
	}
	return nil, nil
}

// without are the servers of a that b lacks.
func without(a, b []nlb.Server) []nlb.Server {
	var out []nlb.Server
	for _, x := range a {
		if !slices.ContainsFunc(b, func(y nlb.Server) bool { return x.IP == y.IP && x.Port == y.Port }) {
			out = append(out, x)
		}
	}
	return out
}

func address(s nlb.Server) string { return net.JoinHostPort(s.IP, strconv.Itoa(s.Port)) }

func list(servers []nlb.Server) string {
	var out []string
	for _, s := range servers {
		out = append(out, address(s))
	}
	return strings.Join(out, ",")
}
