package accept

import (
	"context"

	"eslink/shared/aliyun/privatelink"
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

// find returns the connection of the run's endpoint, or nil.
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

// accept admits the endpoint. Possible prior states: never accepted; the reply to
// an earlier request was lost before it took effect (repeating the token is as
// good as the first time); connected and then closed (connected has raised the
// token).
func (s *Step) accept(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if out, err := s.lock(ctx, r); err != nil || !out.IsDone() {
		return out, err
	}
	service, endpoint := ids(r)
	if a := r.Facts.Accept; a != nil && !a.Asked.IsZero() {
		r.NextToken(tokenOf("accept", r)) // the request failed or was reverted
	}
	r.Facts.Accept = &facts.Accept{}
	if err := s.Connections.Accept(ctx, service, endpoint, r.Token(tokenOf("accept", r))); err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.Accept.Asked = s.Now()
	return engine.Waitf(first, "endpoint %s is accepted and being connected", endpoint), nil
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

func tokenOf(what string, r *run.Run) string {
	_, endpoint := ids(r)
	return what + "/" + endpoint
}
