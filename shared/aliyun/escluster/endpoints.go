package escluster

import (
	"context"
	"fmt"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/elasticsearch"

	"eslink/shared/aliyun"
)

// Endpoint is a PrivateLink endpoint that the Elasticsearch service keeps for an
// instance, in its own account. It has no tags; its service tells whose it is.
type Endpoint struct {
	ID     string `json:"endpointId"`
	Name   string `json:"endpointName"`
	Domain string `json:"endpointDomain"`
	// Status is Creating, Active, Pending (being modified) or Deleting.
	Status string `json:"endpointStatus"`
	// Connection is Pending, Connecting, Connected, Disconnecting, Disconnected,
	// Deleting or ServiceDeleted. Disconnected may mean "not yet accepted".
	Connection string `json:"connectionStatus"`
	// Business is Normal or FinancialLocked.
	Business  string `json:"endpointBusinessStatus"`
	ServiceID string `json:"serviceId"`
}

// States of an endpoint, of its connection, and of its account's means.
const (
	EndpointCreating = "Creating"
	EndpointActive   = "Active"
	EndpointPending  = "Pending" // being modified
	EndpointDeleting = "Deleting"

	Connected      = "Connected"
	ServiceDeleted = "ServiceDeleted"

	FinancialLocked = "FinancialLocked"
)

// CreateEndpoint makes an endpoint to a service, in one zone. token has at most
// 64 ASCII characters. CreateVpcEndpoint.
func (c *Client) CreateEndpoint(ctx context.Context, id, serviceID, zoneID, token string) (Endpoint, error) {
	req := sdk.CreateCreateVpcEndpointRequest()
	req.InstanceId, req.ClientToken = id, token
	body(req.RoaRequest, map[string]any{"serviceId": serviceID, "zoneId": zoneID})
	out, err := aliyun.Call[struct{ Result Endpoint }](ctx, c.c, product, req, codes)
	if err != nil {
		return Endpoint{}, fmt.Errorf("create endpoint of %s to %s: %w", id, serviceID, err)
	}
	if out.Result.ID == "" {
		return Endpoint{}, fmt.Errorf("create endpoint of %s to %s: the reply names no endpoint", id, serviceID)
	}
	return out.Result, nil
}

// endpointsPerPage is what ListVpcEndpoints gives at once. It tells no total, so
// a short page is the last.
const endpointsPerPage = 50

// ListEndpoints lists an instance's endpoints; ListVpcEndpoints.
func (c *Client) ListEndpoints(ctx context.Context, id string) ([]Endpoint, error) {
	var out []Endpoint
	for page := 1; ; page++ {
		req := sdk.CreateListVpcEndpointsRequest()
		req.InstanceId, req.Page, req.Size = id, requests.NewInteger(page), requests.NewInteger(endpointsPerPage)
		got, err := aliyun.Call[struct{ Result []Endpoint }](ctx, c.c, product, req, codes)
		if err != nil {
			return nil, fmt.Errorf("list endpoints of %s: %w", id, err)
		}
		out = append(out, got.Result...)
		if len(got.Result) < endpointsPerPage {
			return out, nil
		}
	}
}

// DeleteEndpoint deletes an endpoint; DeleteVpcEndpoint.
func (c *Client) DeleteEndpoint(ctx context.Context, id, endpointID, token string) error {
	req := sdk.CreateDeleteVpcEndpointRequest()
	req.InstanceId, req.EndpointId, req.ClientToken = id, endpointID, token
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("delete endpoint %s of %s: %w", endpointID, id, err)
	}
	return nil
}
