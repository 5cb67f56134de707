// Package privateconnection is the step that creates the destination cluster's
// endpoint to the run's service. The Elasticsearch service creates it in its own
// account; it has no tags, and is identified by the service that it leads to.
package privateconnection

import (
	"context"
	"fmt"
	"time"

	"eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Endpoints are those of a cluster. They cannot be read by ID, and their list
// may trail a write.
type Endpoints interface {
	ListEndpoints(ctx context.Context, instanceID string) ([]escluster.Endpoint, error)
	CreateEndpoint(ctx context.Context, instanceID, serviceID, zoneID, token string) (escluster.Endpoint, error)
	DeleteEndpoint(ctx context.Context, instanceID, endpointID, token string) error
}

// Step creates and deletes the endpoint.
type Step struct {
	Endpoints Endpoints
	Now       func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	return &Step{Endpoints: escluster.New(d.Aliyun), Now: d.Now}
}

// first is when to look at a change that was just requested, pause when again.
const first, pause = 30 * time.Second, 15 * time.Second

// Up creates the endpoint and waits until it is Active. The next step connects
// it.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f := r.Facts.EndpointService
	if f == nil || f.ID == "" {
		return engine.Outcome{}, fmt.Errorf("run %s has no endpoint service on record: step endpoint-service writes it", r.ID)
	}
	ep, err := s.find(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	c := r.Facts.PrivateConnection
	switch {
	case ep == nil && c != nil && c.EndpointID != "" && ensure.Unlisted(c.Asked, s.Now()) > 0:
		return engine.Waitf(ensure.Pause(c.Asked, s.Now(), pause, ensure.ListLag), "endpoint %s is not listed yet", c.EndpointID), nil
	case ep == nil:
		return s.create(ctx, r)
	case ep.ServiceID != f.ID && ep.Status == escluster.EndpointActive: // somebody deleted that service
		if err := s.Endpoints.DeleteEndpoint(ctx, r.Spec.InstanceID, ep.ID, r.Token("delete/"+ep.ID)); apierr.IgnoreNotFound(err) != nil {
			return engine.Outcome{}, err
		}
		return engine.Waitf(first, "endpoint %s leads to service %s, which is no longer the run's; it is being deleted, and a new one follows", ep.ID, ep.ServiceID), nil
	}
	s.record(r, ep)
	switch {
	case ep.Business == escluster.FinancialLocked:
		return engine.Outcome{}, fmt.Errorf("endpoint %s is locked because the account is in arrears: settle the bill, then retry", ep.ID)
	case ep.Status == escluster.EndpointActive && ep.Connection != escluster.ServiceDeleted:
		return engine.Done(), nil
	case ep.Status == escluster.EndpointCreating, ep.Status == escluster.EndpointPending:
		return engine.Waitf(pause, "endpoint %s is %s", ep.ID, ep.Status), nil
	case ep.Status == escluster.EndpointDeleting:
		return engine.Waitf(pause, "endpoint %s is being deleted; a new one follows when it is gone", ep.ID), nil
	}
	return engine.Outcome{}, fmt.Errorf("endpoint %s is %s and its connection %s, which eslink cannot recover from: see the cluster's console for the cause, fix it, then retry", ep.ID, ep.Status, ep.Connection)
}

// create requests an endpoint. Possible prior states: never requested;
// requested, and the reply or its ID was lost, while the list does not show it
// yet (the token returns the same endpoint); an earlier one is gone from the
// list.
func (s *Step) create(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	what := "endpoint/" + r.Facts.EndpointService.ID
	if c := r.Facts.PrivateConnection; c != nil && c.EndpointID != "" {
		r.NextToken(what) // it was there, and its lag is over
	}
	r.Facts.PrivateConnection = &facts.PrivateConnection{Asked: s.Now()}
	ep, err := s.Endpoints.CreateEndpoint(ctx, r.Spec.InstanceID, r.Facts.EndpointService.ID, r.Facts.Preflight.Zone, r.Token(what))
	if err != nil {
		return busy(r, err)
	}
	s.record(r, &ep)
	return engine.Waitf(first, "endpoint %s of cluster %s is being created in %s", ep.ID, r.Spec.InstanceID, r.Facts.Preflight.Zone), nil
}

// Down deletes the endpoint and waits until it is gone.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.EndpointService == nil && r.Facts.PrivateConnection == nil {
		return engine.Done(), nil // without a service there never was an endpoint
	}
	ep, err := s.find(ctx, r)
	if apierr.IsNotFound(err) { // the cluster is gone, and its endpoints with it
		ep, err = nil, nil
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	if ep == nil {
		if c := r.Facts.PrivateConnection; c != nil {
			if d := ensure.Unlisted(c.Asked, s.Now()); d > 0 {
				return engine.Wait(d, "an endpoint was requested a short while ago: the list may not show it yet"), nil
			}
		}
		if f := r.Facts.EndpointService; f != nil {
			r.NextToken("endpoint/" + f.ID)
		}
		r.Facts.PrivateConnection = nil
		return engine.Done(), nil
	}
	s.record(r, ep)
	if ep.Status != escluster.EndpointActive { // every other state passes, and refuses changes meanwhile
		return engine.Waitf(pause, "endpoint %s is %s", ep.ID, ep.Status), nil
	}
	if err := s.Endpoints.DeleteEndpoint(ctx, r.Spec.InstanceID, ep.ID, r.Token("delete/"+ep.ID)); apierr.IgnoreNotFound(err) != nil {
		return busy(r, err)
	}
	return engine.Waitf(first, "endpoint %s is being deleted", ep.ID), nil
}

// busy turns a refusal for now into a wait: a cluster that restarts takes long
// and changes no endpoints meanwhile.
func busy(r *run.Run, err error) (engine.Outcome, error) {
	if apierr.ClassOf(err) != apierr.Conflict {
		return engine.Outcome{}, err
	}
	return engine.Waitf(2*first, "cluster %s cannot change its endpoints now (%s); the request is repeated soon", r.Spec.InstanceID, apierr.CodeOf(err)), nil
}

// find returns the run's endpoint, or nil: the recorded one, else the one that
// leads to the run's service.
func (s *Step) find(ctx context.Context, r *run.Run) (*escluster.Endpoint, error) {
	listed, err := s.Endpoints.ListEndpoints(ctx, r.Spec.InstanceID)
	if err != nil {
		return nil, err
	}
	var hits []escluster.Endpoint
	for i, ep := range listed {
		if c := r.Facts.PrivateConnection; c != nil && c.EndpointID == ep.ID {
			return &listed[i], nil
		}
		if f := r.Facts.EndpointService; f != nil && f.ID != "" && ep.ServiceID == f.ID {
			hits = append(hits, ep)
		}
	}
	return ensure.One("endpoint", hits, func(ep escluster.Endpoint) string { return ep.ID }, "delete all but one in the console of cluster "+r.Spec.InstanceID)
}

func (s *Step) record(r *run.Run, ep *escluster.Endpoint) {
	asked := time.Time{}
	if c := r.Facts.PrivateConnection; c != nil {
		asked = c.Asked
	}
	r.Facts.PrivateConnection = &facts.PrivateConnection{EndpointID: ep.ID, Domain: ep.Domain, Asked: asked}
}
