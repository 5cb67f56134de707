// Package privateconnection is the step by which the instance gets its endpoint
// to the run's service. The Elasticsearch service makes it in its own account;
// it has no tags, and is known by the service that it leads to.
package privateconnection

import (
	"context"
	"fmt"
	"strings"
	"time"

	"eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Endpoints are an instance's endpoints.
type Endpoints interface {
	ListEndpoints(ctx context.Context, instanceID string) ([]escluster.Endpoint, error)
	CreateEndpoint(ctx context.Context, instanceID, serviceID, zoneID, token string) (escluster.Endpoint, error)
	DeleteEndpoint(ctx context.Context, instanceID, endpointID, token string) error
}

// Step makes and deletes the endpoint.
type Step struct {
	Endpoints Endpoints
	Now       func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	return &Step{Endpoints: escluster.New(d.Aliyun), Now: d.Now}
}

const (
	// lag is how long a list may trail a write. There is no reading by ID.
	lag          = 2 * time.Minute
	first, pause = 30 * time.Second, 15 * time.Second
)

// Up makes the endpoint and waits until it is Active. Whether it is connected
// is the next step's concern.
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
	case ep == nil && c != nil && c.EndpointID != "" && s.Now().Before(c.Asked.Add(lag)):
		return engine.Waitf(max(pause, s.Now().Sub(c.Asked)/3), "endpoint %s is not listed yet", c.EndpointID), nil
	case ep == nil:
		return s.create(ctx, r)
	case ep.ServiceID != f.ID && ep.Status == escluster.EndpointActive: // that service was deleted by another hand
		if err := s.Endpoints.DeleteEndpoint(ctx, r.Spec.InstanceID, ep.ID, r.Token("delete/"+ep.ID)); err != nil && !apierr.IsNotFound(err) {
			return engine.Outcome{}, err
		}
		return engine.Waitf(first, "endpoint %s leads to the service %s, which is not the run's any more; it is being deleted, and a new one follows", ep.ID, ep.ServiceID), nil
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
	return engine.Outcome{}, fmt.Errorf("endpoint %s is %s and its connection %s, which eslink cannot mend: see in the cluster's console why, then retry", ep.ID, ep.Status, ep.Connection)
}

// create asks for an endpoint when none was found. The pasts it can meet: it
// was never asked for; the reply to an earlier request was lost, or its ID with
// a crash, while the list does not show it yet (the token brings the same
// endpoint again); an earlier one is gone from the list.
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
		if c := r.Facts.PrivateConnection; c != nil && s.Now().Before(c.Asked.Add(lag)) {
			return engine.Wait(c.Asked.Add(lag).Sub(s.Now()), "an endpoint was asked for a short while ago: waits until the list would show it"), nil
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
	if err := s.Endpoints.DeleteEndpoint(ctx, r.Spec.InstanceID, ep.ID, r.Token("delete/"+ep.ID)); err != nil && !apierr.IsNotFound(err) {
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
	return engine.Waitf(2*first, "cluster %s cannot change its endpoints now (%s); asked again soon", r.Spec.InstanceID, apierr.CodeOf(err)), nil
}

// find returns the run's endpoint, or nil: the recorded one, else the one that
// leads to the run's service, which nobody else knows of.
func (s *Step) find(ctx context.Context, r *run.Run) (*escluster.Endpoint, error) {
	listed, err := s.Endpoints.ListEndpoints(ctx, r.Spec.InstanceID)
	if err != nil {
		return nil, err
	}
	var found *escluster.Endpoint
	var ids []string
	for i, ep := range listed {
		if c := r.Facts.PrivateConnection; c != nil && c.EndpointID == ep.ID {
			return &listed[i], nil
		}
		if f := r.Facts.EndpointService; f != nil && f.ID != "" && ep.ServiceID == f.ID {
			found, ids = &listed[i], append(ids, ep.ID)
		}
	}
	if len(ids) > 1 {
		return nil, fmt.Errorf("endpoints %s of cluster %s all lead to the run's service: delete all but one, then retry", strings.Join(ids, ", "), r.Spec.InstanceID)
	}
	return found, nil
}

func (s *Step) record(r *run.Run, ep *escluster.Endpoint) {
	asked := time.Time{}
	if c := r.Facts.PrivateConnection; c != nil {
		asked = c.Asked
	}
	r.Facts.PrivateConnection = &facts.PrivateConnection{EndpointID: ep.ID, Domain: ep.Domain, Asked: asked}
}
