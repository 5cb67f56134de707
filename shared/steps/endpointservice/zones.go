package endpointservice

import (
	"context"
	"fmt"
	"slices"

	"eslink/shared/aliyun/privatelink"
	"eslink/shared/engine"
	"eslink/shared/run"
)

// Resources are what services stand on.
type Resources interface {
	Resources(ctx context.Context, serviceID string) ([]privatelink.Resource, error)
	Detach(ctx context.Context, serviceID string, r privatelink.Resource, token string) error
}

// verify is Done if the service forwards to the balancer in each of its zones,
// and to nothing else. Changing that while an endpoint may be connected is for a
// person, and so is the permission to.
func (s *Step) verify(ctx context.Context, r *run.Run, id string) (engine.Outcome, error) {
	have, err := s.Resources.Resources(ctx, id)
	if err != nil {
		return engine.Outcome{}, err
	}
	missing := wanted(r)
	for _, h := range have {
		if own, _ := balancer(r); h.ID != own {
			return engine.Outcome{}, fmt.Errorf("endpoint service %s forwards to %s, which is not this run's balancer %s: detach it in the PrivateLink console, or tear the run down, then retry", id, h.ID, own)
		}
		missing = slices.DeleteFunc(missing, func(m privatelink.Resource) bool { return m.Zone == h.Zone })
	}
	if len(missing) > 0 {
		return engine.Outcome{}, fmt.Errorf("endpoint service %s has lost zone %s of balancer %s: attach it in the PrivateLink console, or tear the run down, then retry", id, missing[0].Zone, missing[0].ID)
	}
	return engine.Done(), nil
}

// balancer is what the service stands on, and PrivateLink's name for its type: a
// run has one, of the type of its scenario.
func balancer(r *run.Run) (id, kind string) {
	b := r.Facts.Link().Balancer
	return b.ID, b.Kind
}

// wanted is the balancer in each of its zones.
func wanted(r *run.Run) []privatelink.Resource {
	var out []privatelink.Resource
	id, kind := balancer(r)
	for _, v := range r.Facts.Preflight.VSwitches {
		out = append(out, privatelink.Resource{ID: id, Type: kind, Zone: v.ZoneID})
	}
	return out
}
