// Package endpointservice is the step that offers the balancer as a PrivateLink
// service, in each of its zones, and accepts nobody by itself.
package endpointservice

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"eslink/shared/aliyun/privatelink"
	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps"
)

// Services are the endpoint services of the account.
type Services interface {
	CreateService(ctx context.Context, n privatelink.NewService, token string) (privatelink.Service, error)
	Service(ctx context.Context, id string) (privatelink.Service, error)
	ServicesTagged(ctx context.Context, key, value string) ([]privatelink.Service, error)
	DeleteService(ctx context.Context, id, token string) error
}

// Resources are what services stand on.
type Resources interface {
	Resources(ctx context.Context, serviceID string) ([]privatelink.Resource, error)
	Detach(ctx context.Context, serviceID string, r privatelink.Resource, token string) error
}

// Step makes and deletes the service.
type Step struct {
	Services  Services
	Resources Resources
	Now       func() time.Time
}

// New returns the step for a function.
func New(d steps.Deps) engine.Step {
	c := privatelink.New(d.Cloud)
	return &Step{Services: c, Resources: c, Now: d.Cloud.Now}
}

const (
	what = "endpoint-service" // names the service's token
	// lag is how long a list may trail a write.
	lag = 2 * time.Minute
	// Services are ready, changed and gone within a minute at most.
	first, pause = 30 * time.Second, 10 * time.Second
)

// Up makes the service and waits until it is Active on all of the balancer's
// zones.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	sv, err := s.find(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if sv == nil {
		return s.create(ctx, r)
	}
	r.Facts.EndpointService = &facts.EndpointService{ID: sv.ID, Name: sv.Name}
	switch {
	case sv.Business == privatelink.FinancialLocked:
		return engine.Outcome{}, fmt.Errorf("endpoint service %s is locked because the account is in arrears: settle the bill, then retry", sv.ID)
	case sv.Status == privatelink.Creating, sv.Status == privatelink.Pending:
		return engine.Waitf(pause, "endpoint service %s is %s", sv.ID, sv.Status), nil
	case sv.Status == privatelink.Deleting:
		return engine.Waitf(pause, "endpoint service %s is being deleted; a new one follows when it is gone", sv.ID), nil
	case sv.Status != privatelink.Active:
		return engine.Outcome{}, fmt.Errorf("endpoint service %s is %s, which eslink cannot mend: see in the PrivateLink console why, then retry", sv.ID, sv.Status)
	}
	return s.stands(ctx, r, sv.ID)
}

// stands ends the step if the service forwards to the balancer in each of its
// zones, and to nothing else. Changing that while somebody may be connected is
// for a person, and so is the right to.
func (s *Step) stands(ctx context.Context, r *run.Run, id string) (engine.Outcome, error) {
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

// create asks for a service when none was found. The pasts it can meet: it was
// never asked for; the reply to an earlier request was lost, or its ID with a
// crash, while lists do not show it yet (the token brings the same service
// again); an earlier one is gone (then find has raised the token).
func (s *Step) create(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	_, kind := balancer(r)
	n := privatelink.NewService{
		Description: r.Name(what), ResourceType: kind, Resources: wanted(r), TagKey: run.TagKey, TagValue: r.Tag(),
	}
	r.Facts.EndpointService = &facts.EndpointService{Asked: s.Now()}
	sv, err := s.Services.CreateService(ctx, n, r.Token(what))
	if err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.EndpointService = &facts.EndpointService{ID: sv.ID, Name: sv.Name}
	return engine.Waitf(first, "endpoint service %s is being created", sv.ID), nil
}

// Down takes the balancer's zones away from the service, then deletes it and
// waits until it is gone.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	sv, err := s.find(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if sv == nil {
		if f := r.Facts.EndpointService; f != nil && s.Now().Before(f.Asked.Add(lag)) {
			return engine.Wait(f.Asked.Add(lag).Sub(s.Now()), "an endpoint service was asked for and no reply came: waits until lists would show it"), nil
		}
		r.Facts.EndpointService = nil
		return engine.Done(), nil
	}
	r.Facts.EndpointService = &facts.EndpointService{ID: sv.ID, Name: sv.Name}
	if sv.Status != privatelink.Active { // every other state passes, and refuses changes meanwhile
		return engine.Waitf(pause, "endpoint service %s is %s", sv.ID, sv.Status), nil
	}
	have, err := s.Resources.Resources(ctx, sv.ID)
	if err != nil && !apierr.IsNotFound(err) {
		return engine.Outcome{}, err
	}
	for _, h := range have {
		if h.Endpoints > 0 {
			return engine.Waitf(pause, "endpoint service %s still carries %d connections in zone %s: one that is not this run's has to be disconnected in the PrivateLink console", sv.ID, h.Endpoints, h.Zone), nil
		}
	}
	if len(have) > 0 {
		err := s.Resources.Detach(ctx, sv.ID, have[0], r.Token(fmt.Sprintf("detach/%s/%s/%d", sv.ID, have[0].Zone, len(have))))
		if err != nil && !apierr.IsNotFound(err) {
			return engine.Outcome{}, err
		}
		return engine.Waitf(pause, "zone %s of endpoint service %s is being taken away, %d left", have[0].Zone, sv.ID, len(have)-1), nil
	}
	if err := s.Services.DeleteService(ctx, sv.ID, r.Token("delete/"+sv.ID)); err != nil && !apierr.IsNotFound(err) {
		return engine.Outcome{}, err
	}
	return engine.Waitf(first, "endpoint service %s is being deleted", sv.ID), nil
}

// find returns the run's service, or nil: the recorded one, else the one that
// bears the run's tag. Services have no names of ours.
func (s *Step) find(ctx context.Context, r *run.Run) (*privatelink.Service, error) {
	if f := r.Facts.EndpointService; f != nil && f.ID != "" {
		sv, err := s.Services.Service(ctx, f.ID)
		if !apierr.IsNotFound(err) {
			return &sv, err
		}
		r.NextToken(what) // it is gone, by our hand or another's
		r.Facts.EndpointService = nil
	}
	listed, err := s.Services.ServicesTagged(ctx, run.TagKey, r.Tag())
	if err != nil {
		return nil, err
	}
	var found *privatelink.Service
	var ids []string
	for _, l := range listed {
		sv, err := s.Services.Service(ctx, l.ID) // lists show for a while what is gone
		if apierr.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found, ids = &sv, append(ids, sv.ID)
	}
	if len(ids) > 1 {
		return nil, fmt.Errorf("endpoint services %s all bear the tag %s=%s: delete all but one, then retry", strings.Join(ids, ", "), run.TagKey, r.Tag())
	}
	return found, nil
}

// balancer is what the service stands on, and PrivateLink's name for its type: a
// run has one, of the type of its scenario.
func balancer(r *run.Run) (id, kind string) {
	if r.Facts.CLB != nil {
		return r.Facts.CLB.ID, "slb"
	}
	return r.Facts.NLB.ID, "nlb"
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
