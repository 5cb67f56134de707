// Package endpointservice is the step that offers the balancer as a PrivateLink
// service, in each of its zones, and accepts nobody by itself.
package endpointservice

import (
	"context"
	"fmt"
	"time"

	"eslink/shared/aliyun/privatelink"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Services are the endpoint services of the account.
type Services interface {
	CreateService(ctx context.Context, n privatelink.NewService, token string) (privatelink.Service, error)
	Service(ctx context.Context, id string) (privatelink.Service, error)
	ServicesTagged(ctx context.Context, key, value string) ([]privatelink.Service, error)
	DeleteService(ctx context.Context, id, token string) error
}

// Step creates and deletes the service.
type Step struct {
	Services  Services
	Resources Resources
	Now       func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	c := privatelink.New(d.Aliyun)
	return &Step{Services: c, Resources: c, Now: d.Now}
}

const (
	what = "endpoint-service" // the resource in tokens
	// Services are ready, changed and gone within a minute at most.
	first, pause = 30 * time.Second, 10 * time.Second
)

// Up creates the service and waits until it is Active on all of the balancer's
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
		return engine.Outcome{}, fmt.Errorf("endpoint service %s is %s, which eslink cannot recover from: see the PrivateLink console for the cause, fix it, then retry", sv.ID, sv.Status)
	}
	return s.verify(ctx, r, sv.ID)
}

// create requests a service. Possible prior states: never requested; requested,
// and the reply or its ID was lost, while lists do not show it yet (the token
// returns the same service); an earlier one is gone (find has raised the token).
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

// Down detaches the balancer's zones from the service, then deletes it and waits
// until it is gone.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	sv, err := s.find(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if sv == nil {
		if f := r.Facts.EndpointService; f != nil {
			if out, wait := ensure.AwaitList("endpoint service", f.Asked, s.Now()); wait {
				return out, nil
			}
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
		if apierr.IgnoreNotFound(err) != nil {
			return engine.Outcome{}, err
		}
		return engine.Waitf(pause, "zone %s of endpoint service %s is being detached, %d left", have[0].Zone, sv.ID, len(have)-1), nil
	}
	if err := s.Services.DeleteService(ctx, sv.ID, r.Token("delete/"+sv.ID)); apierr.IgnoreNotFound(err) != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(first, "endpoint service %s is being deleted", sv.ID), nil
}

// find returns the run's service, or nil. Services have no names.
func (s *Step) find(ctx context.Context, r *run.Run) (*privatelink.Service, error) {
	l := ensure.Lookup[privatelink.Service]{
		Kind: "endpoint service",
		ID:   func(sv privatelink.Service) string { return sv.ID },
		Get:  s.Services.Service,
		Gone: func() {
			r.NextToken(what)
			r.Facts.EndpointService = nil
		},
		Owned:     ensure.ByTag(r, s.Services.ServicesTagged),
		Direction: r.Direction,
		Remedy:    "delete all but one",
	}
	if r.Facts.EndpointService != nil {
		l.Recorded = r.Facts.EndpointService.ID
	}
	return l.Find(ctx)
}
