// Package accept is the step that admits the run's endpoint, and no other, to
// its service, and learns the domain by which the instance reaches it.
package accept

import (
	"context"
	"errors"
	"fmt"
	"time"

	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/privatelink"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Connections are those of an endpoint service, as its owner sees them.
type Connections interface {
	Connections(ctx context.Context, serviceID string) ([]privatelink.Connection, error)
	Accept(ctx context.Context, serviceID, endpointID, token string) error
	Disconnect(ctx context.Context, serviceID, endpointID, token string) error
}

// Endpoints are an instance's, as it sees them.
type Endpoints interface {
	ListEndpoints(ctx context.Context, instanceID string) ([]escluster.Endpoint, error)
}

// Locks are wider than a run.
type Locks interface {
	Lock(ctx context.Context, name, holder string, d time.Duration) error
	Unlock(ctx context.Context, name, holder string) error
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

const (
	// lag is how long a list may trail a write.
	lag = 2 * time.Minute
	// lockFor outlives a change of a connection, which takes a minute at most.
	lockFor      = 5 * time.Minute
	first, pause = 30 * time.Second, 10 * time.Second
)

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
		return engine.Waitf(max(pause, s.Now().Sub(r.Cursor.Since)/3), "endpoint %s has not yet asked service %s for a connection", endpoint, service), nil
	}
	switch c.Status {
	case privatelink.ConnectionConnected:
		return s.connected(ctx, r, *c)
	case privatelink.ConnectionDisconnected:
		// Never accepted and closed by somebody look the same. Our record tells:
		// what was accepted just now is not accepted again before lists have
		// caught up. A walk is asked to make the link stand, so a connection
		// that somebody closed is opened again.
		if a := r.Facts.Accept; a != nil && s.Now().Before(a.Asked.Add(lag)) {
			return engine.Waitf(pause, "endpoint %s has been accepted; its service still lists it as %s", endpoint, c.Status), nil
		}
		return s.accept(ctx, r)
	case privatelink.ConnectionConnecting, privatelink.ConnectionPending, privatelink.ConnectionDisconnecting:
		return engine.Waitf(pause, "the connection of endpoint %s is %s", endpoint, c.Status), nil
	}
	return engine.Outcome{}, fmt.Errorf("the connection of endpoint %s to service %s is %s, which eslink cannot mend: see in the PrivateLink console why, then retry", endpoint, service, c.Status)
}

// accept admits the endpoint. The pasts it can meet: it was never accepted; the
// reply to an earlier request was lost before it took effect (the token's
// repetition is as good as the first time); it was connected and then closed
// (connected has raised the token).
func (s *Step) accept(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if other, err := s.lock(ctx, r); other != "" || err != nil {
		return engine.Waitf(2*pause, "run %s is changing a connection, and PrivateLink takes one change at a time per account; this one is next", other), err
	}
	service, endpoint := ids(r)
	if a := r.Facts.Accept; a != nil && !a.Asked.IsZero() {
		r.NextToken(tokenOf("accept", r)) // it has come to nothing, or was undone
	}
	r.Facts.Accept = &facts.Accept{}
	if err := s.Connections.Accept(ctx, service, endpoint, r.Token(tokenOf("accept", r))); err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.Accept.Asked = s.Now()
	return engine.Waitf(first, "endpoint %s is accepted and being connected", endpoint), nil
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
		if a := r.Facts.Accept; a != nil && s.Now().Before(a.Asked.Add(lag)) { // as on the way up
			return engine.Waitf(pause, "endpoint %s has been accepted; its service still lists it as %s", endpoint, c.Status), nil
		}
		return s.disconnected(ctx, r)
	case privatelink.ConnectionDeleting, privatelink.ConnectionOrphaned:
		return s.disconnected(ctx, r)
	case privatelink.ConnectionConnecting, privatelink.ConnectionPending, privatelink.ConnectionDisconnecting:
		return engine.Waitf(pause, "the connection of endpoint %s is %s", endpoint, c.Status), nil
	case privatelink.ConnectionConnected:
	default:
		return engine.Outcome{}, fmt.Errorf("the connection of endpoint %s to service %s is %s, which eslink cannot undo: see in the PrivateLink console why, then retry", endpoint, service, c.Status)
	}
	if other, err := s.lock(ctx, r); other != "" || err != nil {
		return engine.Waitf(2*pause, "run %s is changing a connection, and PrivateLink takes one change at a time per account; this one is next", other), err
	}
	if err := s.Connections.Disconnect(ctx, service, endpoint, r.Token(tokenOf("disconnect", r))); err != nil && !apierr.IsNotFound(err) {
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

// lock makes changes of connections serial in the account, since PrivateLink
// refuses concurrent ones. It returns the run whose turn it is, if not ours.
func (s *Step) lock(ctx context.Context, r *run.Run) (other string, err error) {
	err = s.Locks.Lock(ctx, lockOf(r), r.ID, lockFor)
	var held *run.HeldError
	if errors.As(err, &held) {
		return held.Holder, nil
	}
	return "", err
}

// find returns the run's endpoint among those that ask for a connection, or nil.
func (s *Step) find(ctx context.Context, service, endpoint string) (*privatelink.Connection, error) {
	all, err := s.Connections.Connections(ctx, service)
	if err != nil {
		return nil, err
	}
	for i, c := range all {
		if c.EndpointID == endpoint {
			return &all[i], nil
		}
	}
	return nil, nil
}

func ids(r *run.Run) (service, endpoint string) {
	if f := r.Facts.EndpointService; f != nil {
		service = f.ID
	}
	if f := r.Facts.PrivateConnection; f != nil {
		endpoint = f.EndpointID
	}
	return service, endpoint
}

func lockOf(r *run.Run) string { return "accept/" + r.AccountID }

func tokenOf(what string, r *run.Run) string {
	_, endpoint := ids(r)
	return what + "/" + endpoint
}
