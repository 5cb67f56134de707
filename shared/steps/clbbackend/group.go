package clbbackend

import (
	"context"
	"fmt"
	"slices"

	"eslink/shared/aliyun/slb"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Groups are server groups. The list of them may trail a write.
type Groups interface {
	CreateGroup(ctx context.Context, n slb.NewGroup) (id string, err error)
	Group(ctx context.Context, id string) (slb.Group, error)
	Groups(ctx context.Context, loadBalancerID string) ([]slb.Group, error)
	DeleteGroup(ctx context.Context, id string) error
}

// Servers change what stands in a group.
type Servers interface {
	AddServers(ctx context.Context, groupID string, servers []slb.Server) error
	RemoveServers(ctx context.Context, groupID string, servers []slb.Server) error
}

// groupUp is Done when the group of the host's port exists and holds the host.
func (s *Step) groupUp(ctx context.Context, r *run.Run, balancer string, host slb.Server) (*slb.Group, engine.Outcome, error) {
	g, err := s.findGroup(ctx, r, balancer, host.Port)
	if err != nil {
		return nil, engine.Outcome{}, err
	}
	if g == nil {
		out, err := s.createGroup(ctx, r, balancer, host)
		return nil, out, err
	}
	if slices.Contains(g.Servers.All, host) {
		return g, engine.Done(), nil
	}
	if err := s.Cloud.AddServers(ctx, g.ID, []slb.Server{host}); err != nil {
		return nil, engine.Outcome{}, err
	}
	return g, engine.Waitf(soon, "ECS instance %s is being added as a backend for port %d", host.ID, host.Port), nil
}

// createGroup requests a group that holds the host. There is no token, so an
// intent is stored first. Possible prior states: never requested; requested, and
// the reply or its ID was lost (waits until the list would show it); refused (the
// intent is withdrawn); an earlier one is gone.
func (s *Step) createGroup(ctx context.Context, r *run.Run, balancer string, host slb.Server) (engine.Outcome, error) {
	intent := ensure.Intent{Rows: s.Rows, RunID: r.ID, Name: fmt.Sprintf("asked/%d", host.Port), Now: s.Now}
	wait, err := intent.Declare(ctx)
	if err != nil {
		return engine.Outcome{}, err
	}
	if wait > 0 {
		return engine.Waitf(wait, "no reply came to the request for a new server group for port %d: the list may not show it yet", host.Port), nil
	}
	id, err := s.Cloud.CreateGroup(ctx, slb.NewGroup{LoadBalancerID: balancer, Name: name(r, host.Port), TagKey: run.TagKey, TagValue: r.Tag(), Servers: []slb.Server{host}})
	if err != nil {
		return engine.Outcome{}, intent.Refused(ctx, err)
	}
	record(r, host.Port, id)
	return engine.Waitf(soon, "server group %s is being created for port %d", id, host.Port), nil
}

// removeOthers is Done when the host is the group's only server.
func (s *Step) removeOthers(ctx context.Context, g slb.Group, host slb.Server) (engine.Outcome, error) {
	others := slices.DeleteFunc(slices.Clone(g.Servers.All), func(x slb.Server) bool { return x == host })
	if len(others) == 0 {
		return engine.Done(), nil
	}
	if err := s.Cloud.RemoveServers(ctx, g.ID, others); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(soon, "ECS instance %s is no longer a backend of port %d and is being removed", others[0].ID, host.Port), nil
}

// findGroup returns a port's group, or nil, and records its ID. A group of that
// name at the run's balancer is the run's own.
func (s *Step) findGroup(ctx context.Context, r *run.Run, balancer string, port int) (*slb.Group, error) {
	found, err := ensure.Lookup[slb.Group]{
		Kind:     "server group",
		ID:       func(g slb.Group) string { return g.ID },
		Get:      s.Cloud.Group,
		Recorded: recorded(r, port),
		Gone:     func() { record(r, port, "") },
		Owned: func(ctx context.Context) ([]slb.Group, error) {
			all, err := s.Cloud.Groups(ctx, balancer)
			return slices.DeleteFunc(all, func(g slb.Group) bool { return g.Name != name(r, port) }), err
		},
		Remedy: "delete those that no listener uses",
	}.Find(ctx)
	if found != nil {
		record(r, port, found.ID)
	}
	return found, err
}

// name is that of a port's group.
func name(r *run.Run, port int) string { return r.Name(fmt.Sprintf("servers-%d", port)) }

// recorded is the ID of a port's group on record, or empty.
func recorded(r *run.Run, port int) string {
	if f := r.Facts.CLBBackend; f != nil {
		if i := slices.IndexFunc(f.Ports, func(p facts.CLBPort) bool { return p.Port == port }); i >= 0 {
			return f.Ports[i].GroupID
		}
	}
	return ""
}

// record keeps the ID of a port's group.
func record(r *run.Run, port int, groupID string) {
	if r.Facts.CLBBackend == nil {
		r.Facts.CLBBackend = &facts.CLBBackend{}
	}
	f := r.Facts.CLBBackend
	if i := slices.IndexFunc(f.Ports, func(p facts.CLBPort) bool { return p.Port == port }); i >= 0 {
		f.Ports[i].GroupID = groupID
		return
	}
	f.Ports = append(f.Ports, facts.CLBPort{Port: port, GroupID: groupID})
}
