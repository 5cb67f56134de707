// Package accept is the step that admits the run's endpoint, and no other, to
// its service, and records the domain by which the destination reaches it.
package accept

import (
	"context"
	"fmt"
	"time"

	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/privatelink"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Endpoints are a cluster's, as it sees them.
type Endpoints interface {
	ListEndpoints(ctx context.Context, instanceID string) ([]escluster.Endpoint, error)
}

// Step connects and disconnects the endpoint.
type Step struct {
	Connections Connections
	Endpoints   Endpoints
	Locks       Locks
	Now         func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	return &Step{Connections: privatelink.New(d.Aliyun), Endpoints: escluster.New(d.Aliyun), Locks: d.Runs, Now: d.Now}
}

// first is when to look at a change that was just requested, pause when again.
const first, pause = 30 * time.Second, 10 * time.Second

// Up accepts the endpoint and waits until both sides see it Connected.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	service, endpoint := ids(r)
	if service == "" || endpoint == "" {
		return engine.Outcome{}, fmt.Errorf("run %s has no service and endpoint on record: steps endpoint-service and private-connection write them", r.ID)
	}
	c, err := s.find(ctx, service, endpoint)
	switch {
	case err != nil:
		return engine.Outcome{}, err
	case c == nil:
		return engine.Waitf(ensure.Pause(r.Cursor.Since, s.Now(), pause, 5*time.Minute), "service %s does not list a connection request of endpoint %s yet", service, endpoint), nil
	}
	switch c.Status {
	case privatelink.ConnectionConnected:
		return s.connected(ctx, r, *c)
	case privatelink.ConnectionDisconnected:
		// Never accepted and closed by somebody look the same. The record tells:
		// what was accepted just now is not accepted again before lists have
		// caught up. A connection that somebody closed is opened again.
		if s.unlisted(r) {
			return engine.Waitf(pause, "endpoint %s has been accepted; its service still lists it as %s", endpoint, c.Status), nil
		}
		return s.accept(ctx, r)
	case privatelink.ConnectionConnecting, privatelink.ConnectionPending, privatelink.ConnectionDisconnecting:
		return engine.Waitf(pause, "the connection of endpoint %s is %s", endpoint, c.Status), nil
	}
	return engine.Outcome{}, fmt.Errorf("the connection of endpoint %s to service %s is %s, which eslink cannot recover from: see the PrivateLink console for the cause, fix it, then retry", endpoint, service, c.Status)
}

func (s *Step) connected(ctx context.Context, r *run.Run, c privatelink.Connection) (engine.Outcome, error) {
	service, endpoint := ids(r)
	if err := s.Locks.Unlock(ctx, lockOf(r), r.ID); err != nil {
		return engine.Outcome{}, err
	}
	listed, err := s.Endpoints.ListEndpoints(ctx, r.Spec.InstanceID)
	if err != nil {
		return engine.Outcome{}, err
	}
	for _, e := range listed {
		if e.ID != endpoint || e.Connection != escluster.Connected {
			continue
		}
		domain, err := domainOf(endpoint, service, r.Spec.Region, e.Domain)
		if err != nil {
			return engine.Outcome{}, err
		}
		if a := r.Facts.Accept; a == nil || a.Domain == "" || !a.Asked.IsZero() {
			r.NextToken(tokenOf("accept", r)) // seen done
		}
		r.Facts.Accept = &facts.Accept{Domain: domain, OwnerID: c.OwnerID.String()}
		return engine.Done(), nil
	}
	return engine.Waitf(pause, "endpoint %s is connected; cluster %s does not see it yet", endpoint, r.Spec.InstanceID), nil
}

// Down ends the connection and waits until it is Disconnected.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	service, endpoint := ids(r)
	if service == "" || endpoint == "" {
		return s.disconnected(ctx, r) // nothing can have been accepted
	}
	c, err := s.find(ctx, service, endpoint)
	if apierr.IsNotFound(err) || err == nil && c == nil {
		return s.disconnected(ctx, r)
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	switch c.Status {
	case privatelink.ConnectionDisconnected:
		if s.unlisted(r) { // as in Up
			return engine.Waitf(pause, "endpoint %s has been accepted; its service still lists it as %s", endpoint, c.Status), nil
		}
		return s.disconnected(ctx, r)
	case privatelink.ConnectionDeleting, privatelink.ConnectionOrphaned:
		return s.disconnected(ctx, r)
	case privatelink.ConnectionConnecting, privatelink.ConnectionPending, privatelink.ConnectionDisconnecting:
		return engine.Waitf(pause, "the connection of endpoint %s is %s", endpoint, c.Status), nil
	case privatelink.ConnectionConnected:
	default:
		return engine.Outcome{}, fmt.Errorf("the connection of endpoint %s to service %s is %s, which eslink cannot undo: see the PrivateLink console for the cause, fix it, then retry", endpoint, service, c.Status)
	}
	if out, err := s.lock(ctx, r); err != nil || !out.IsDone() {
		return out, err
	}
	if err := s.Connections.Disconnect(ctx, service, endpoint, r.Token(tokenOf("disconnect", r))); apierr.IgnoreNotFound(err) != nil {
		return engine.Outcome{}, err
	}
	if r.Facts.Accept != nil {
		r.Facts.Accept.Asked = time.Time{}
	}
	return engine.Waitf(first, "endpoint %s is being disconnected", endpoint), nil
}

func (s *Step) disconnected(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if err := s.Locks.Unlock(ctx, lockOf(r), r.ID); err != nil {
		return engine.Outcome{}, err
	}
	if r.Facts.Accept != nil {
		r.NextToken(tokenOf("accept", r))
		r.NextToken(tokenOf("disconnect", r))
	}
	r.Facts.Accept = nil
	return engine.Done(), nil
}

// unlisted reports whether lists may still miss that the endpoint was accepted.
func (s *Step) unlisted(r *run.Run) bool {
	return r.Facts.Accept != nil && ensure.Unlisted(r.Facts.Accept.Asked, s.Now()) > 0
}
