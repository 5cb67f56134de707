package clbbackend

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"eslink/shared/aliyun/slb"
	"eslink/shared/apierr"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// name is that of a port's group.
func name(r *run.Run, port int) string { return r.Name(fmt.Sprintf("servers-%d", port)) }

// find returns a port's group, or nil: the recorded one, else the one of its
// name at the run's balancer, which is the run's own.
func (s *Step) find(ctx context.Context, r *run.Run, balancer string, port int) (*slb.Group, error) {
	if id := recorded(r, port); id != "" {
		g, err := s.Groups.Group(ctx, id)
		if !apierr.IsNotFound(err) {
			return &g, err
		}
		record(r, port, "")
	}
	listed, err := s.Groups.Groups(ctx, balancer)
	if err != nil {
		return nil, err
	}
	var found *slb.Group
	var ids []string
	for _, x := range listed {
		if x.Name != name(r, port) {
			continue
		}
		g, err := s.Groups.Group(ctx, x.ID) // the list shows for a while what is gone
		if apierr.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found, ids = &g, append(ids, g.ID)
	}
	if len(ids) > 1 {
		return nil, fmt.Errorf("server groups %s of clb %s are both called %s: delete those that no listener uses, then retry", strings.Join(ids, ", "), balancer, name(r, port))
	}
	if found != nil {
		record(r, port, found.ID)
	}
	return found, nil
}

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
