package nlbbackend

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"eslink/shared/aliyun/nlb"
	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Servers are the backends of a group.
type Servers interface {
	Servers(ctx context.Context, groupID string) ([]nlb.Server, error)
	AddServers(ctx context.Context, groupID string, servers []nlb.Server, token string) (job string, err error)
	RemoveServers(ctx context.Context, groupID string, servers []nlb.Server) (job string, err error)
}

// addresses are where the source is now: the private IPv4 addresses of its
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
				return nil, fmt.Errorf("%s of %s resolves to %s, which is not private: correct the DNS of the VPC, then retry", host, c.InstanceID, a)
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

// add requests the servers that the group lacks, and is Done if it lacks none.
// Possible prior states: never requested; the reply to the same request was lost
// (the token, which names these very servers, returns the same job); added and
// removed before (awaitJob has raised the token, or will once the replayed job
// is done and they are still missing).
func (s *Step) add(ctx context.Context, r *run.Run, have, want []nlb.Server) (engine.Outcome, error) {
	if i := slices.IndexFunc(have, func(x nlb.Server) bool { return x.Status != nlb.Available }); i >= 0 {
		return engine.Waitf(soon, "backend %s is %s", address(have[i]), have[i].Status), nil
	}
	missing := without(want, have)
	if len(missing) == 0 {
		return engine.Done(), nil
	}
	f := r.Facts.NLBBackend
	token := "add/" + f.ServerGroupID + "/" + list(missing)
	job, err := s.Cloud.AddServers(ctx, f.ServerGroupID, missing, r.Token(token))
	if err != nil {
		return engine.Outcome{}, err
	}
	f.Job = &facts.Job{ID: job, Token: token}
	return engine.Waitf(soon, "%s of %s is being added as a backend", list(missing), r.Facts.Preflight.Target.InstanceID), nil
}

// remove requests the removal of servers that are not wanted, and is Done if
// there are none.
func (s *Step) remove(ctx context.Context, r *run.Run, have, want []nlb.Server) (engine.Outcome, error) {
	surplus := without(have, want)
	if len(surplus) == 0 {
		return engine.Done(), nil
	}
	f := r.Facts.NLBBackend
	job, err := s.Cloud.RemoveServers(ctx, f.ServerGroupID, surplus)
	if apierr.IgnoreNotFound(err) != nil {
		return engine.Outcome{}, err
	}
	f.Job = pending(job)
	return engine.Waitf(soon, "%s no longer belongs to %s and is being removed", list(surplus), r.Facts.Preflight.Target.InstanceID), nil
}

// without are the servers of a that b lacks.
func without(a, b []nlb.Server) []nlb.Server {
	return slices.DeleteFunc(slices.Clone(a), func(x nlb.Server) bool { return slices.ContainsFunc(b, same(x)) })
}

// same matches servers of an address, whatever their status.
func same(x nlb.Server) func(nlb.Server) bool {
	return func(y nlb.Server) bool { return x.IP == y.IP && x.Port == y.Port }
}

func address(s nlb.Server) string { return net.JoinHostPort(s.IP, strconv.Itoa(s.Port)) }

func list(servers []nlb.Server) string {
	var out []string
	for _, s := range servers {
		out = append(out, address(s))
	}
	return strings.Join(out, ",")
}
