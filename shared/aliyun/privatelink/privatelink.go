// Package privatelink is the provider's side of Alibaba Cloud PrivateLink, API
// version 2020-04-15: endpoint services over load balancers, and who may
// connect to them. Replies are decoded into types of its own. Errors are those
// of aliyun.Call.
package privatelink

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/privatelink"

	"eslink/shared/aliyun"
)

const product = "privatelink"

// Client calls the API. It holds no state.
type Client struct{ c aliyun.Config }

// New returns a client.
func New(c aliyun.Config) *Client { return &Client{c} }

// NewService is what a service is created from.
type NewService struct {
	// Description has 2 to 256 characters and begins with a letter.
	Description string
	// ResourceType is nlb or slb, of all resources.
	ResourceType string
	// Resources are a load balancer in each of its zones, at most 10.
	Resources []Resource
	TagKey    string
	TagValue  string
}

// Resource is a load balancer's share in one zone.
type Resource struct {
	ID   string `json:"ResourceId"`
	Type string `json:"ResourceType"`
	Zone string `json:"ZoneId"`
	// Endpoints counts those that use it.
	Endpoints int `json:"RelatedEndpointCount"`
}

// States of a service.
const (
	Creating = "Creating"
	Active   = "Active"
	Pending  = "Pending" // being modified
	Deleting = "Deleting"

	// FinancialLocked is the business status of an account in arrears.
	FinancialLocked = "FinancialLocked"
)

// Service is an endpoint service.
type Service struct {
	ID       string `json:"ServiceId"`
	Name     string `json:"ServiceName"` // com.aliyuncs.privatelink.<region>.epsrv-…
	Status   string `json:"ServiceStatus"`
	Business string `json:"ServiceBusinessStatus"` // Normal or FinancialLocked
}

// States of a connection. A fresh endpoint that nobody has accepted reads
// Disconnected too.
const (
	ConnectionPending       = "Pending" // being modified
	ConnectionConnecting    = "Connecting"
	ConnectionConnected     = "Connected"
	ConnectionDisconnecting = "Disconnecting"
	ConnectionDisconnected  = "Disconnected"
	ConnectionDeleting      = "Deleting"
	ConnectionOrphaned      = "ServiceDeleted"
)

// Connection is an endpoint that asks for, or has, a connection to a service.
type Connection struct {
	EndpointID string      `json:"EndpointId"`
	OwnerID    json.Number `json:"EndpointOwnerId"` // an account
	Status     string      `json:"ConnectionStatus"`
}

// CreateService creates a service that accepts nobody by itself and returns its
// ID. CreateVpcEndpointService.
func (c *Client) CreateService(ctx context.Context, n NewService, token string) (Service, error) {
	req := sdk.CreateCreateVpcEndpointServiceRequest()
	req.ServiceDescription, req.ServiceResourceType, req.ClientToken = n.Description, n.ResourceType, token
	req.AutoAcceptEnabled, req.ZoneAffinityEnabled = requests.NewBoolean(false), requests.NewBoolean(false)
	req.Tag = &[]sdk.CreateVpcEndpointServiceTag{{Key: n.TagKey, Value: n.TagValue}}
	var rs []sdk.CreateVpcEndpointServiceResource
	for _, r := range n.Resources {
		rs = append(rs, sdk.CreateVpcEndpointServiceResource{ResourceType: n.ResourceType, ResourceId: r.ID, ZoneId: r.Zone})
	}
	req.Resource = &rs
	out, err := aliyun.Call[Service](ctx, c.c, product, req, codes)
	if err != nil {
		return Service{}, fmt.Errorf("create endpoint service: %w", err)
	}
	if out.ID == "" {
		return Service{}, fmt.Errorf("create endpoint service: the reply names no service")
	}
	return out, nil
}

// Service returns a service; GetVpcEndpointServiceAttribute.
func (c *Client) Service(ctx context.Context, id string) (Service, error) {
	req := sdk.CreateGetVpcEndpointServiceAttributeRequest()
	req.ServiceId = id
	out, err := aliyun.Call[Service](ctx, c.c, product, req, codes)
	if err != nil {
		return Service{}, fmt.Errorf("get endpoint service %s: %w", id, err)
	}
	return out, nil
}

// ServicesTagged lists the services that bear a tag. The list may lag behind.
// ListVpcEndpointServices.
func (c *Client) ServicesTagged(ctx context.Context, key, value string) ([]Service, error) {
	var out []Service
	for next := ""; ; {
		req := sdk.CreateListVpcEndpointServicesRequest()
		req.Tag = &[]sdk.ListVpcEndpointServicesTag{{Key: key, Value: value}}
		req.NextToken, req.MaxResults = next, requests.NewInteger(50)
		got, err := aliyun.Call[struct {
			Services  []Service
			NextToken string
		}](ctx, c.c, product, req, codes)
		if err != nil {
			return nil, fmt.Errorf("list endpoint services tagged %s=%s: %w", key, value, err)
		}
		out = append(out, got.Services...)
		if next = got.NextToken; next == "" {
			return out, nil
		}
	}
}

// Resources lists what a service stands on; ListVpcEndpointServiceResources.
func (c *Client) Resources(ctx context.Context, serviceID string) ([]Resource, error) {
	var out []Resource
	for next := ""; ; {
		req := sdk.CreateListVpcEndpointServiceResourcesRequest()
		req.ServiceId, req.NextToken, req.MaxResults = serviceID, next, requests.NewInteger(50)
		got, err := aliyun.Call[struct {
			Resources []Resource
			NextToken string
		}](ctx, c.c, product, req, codes)
		if err != nil {
			return nil, fmt.Errorf("list resources of endpoint service %s: %w", serviceID, err)
		}
		out = append(out, got.Resources...)
		if next = got.NextToken; next == "" {
			return out, nil
		}
	}
}

// Detach takes a resource away from a service that has no endpoints;
// DetachResourceFromVpcEndpointService.
func (c *Client) Detach(ctx context.Context, serviceID string, r Resource, token string) error {
	req := sdk.CreateDetachResourceFromVpcEndpointServiceRequest()
	req.ServiceId, req.ResourceId, req.ResourceType, req.ZoneId, req.ClientToken = serviceID, r.ID, r.Type, r.Zone, token
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("detach %s in %s from endpoint service %s: %w", r.ID, r.Zone, serviceID, err)
	}
	return nil
}

// DeleteService deletes a service that has neither endpoints nor resources;
// DeleteVpcEndpointService.
func (c *Client) DeleteService(ctx context.Context, id, token string) error {
	req := sdk.CreateDeleteVpcEndpointServiceRequest()
	req.ServiceId, req.ClientToken = id, token
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("delete endpoint service %s: %w", id, err)
	}
	return nil
}

// Connections lists who asks for, or has, a connection to a service;
// ListVpcEndpointConnections.
func (c *Client) Connections(ctx context.Context, serviceID string) ([]Connection, error) {
	var out []Connection
	for next := ""; ; {
		req := sdk.CreateListVpcEndpointConnectionsRequest()
		req.ServiceId, req.NextToken, req.MaxResults = serviceID, next, requests.NewInteger(50)
		got, err := aliyun.Call[struct {
			Connections []Connection
			NextToken   string
		}](ctx, c.c, product, req, codes)
		if err != nil {
			return nil, fmt.Errorf("list connections of endpoint service %s: %w", serviceID, err)
		}
		out = append(out, got.Connections...)
		if next = got.NextToken; next == "" {
			return out, nil
		}
	}
}

// Accept admits an endpoint. PrivateLink takes one such call at a time per
// account. EnableVpcEndpointConnection.
func (c *Client) Accept(ctx context.Context, serviceID, endpointID, token string) error {
	req := sdk.CreateEnableVpcEndpointConnectionRequest()
	req.ServiceId, req.EndpointId, req.ClientToken = serviceID, endpointID, token
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("accept endpoint %s at %s: %w", endpointID, serviceID, err)
	}
	return nil
}

// Disconnect ends an endpoint's connection; DisableVpcEndpointConnection.
func (c *Client) Disconnect(ctx context.Context, serviceID, endpointID, token string) error {
	req := sdk.CreateDisableVpcEndpointConnectionRequest()
	req.ServiceId, req.EndpointId, req.ClientToken = serviceID, endpointID, token
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("disconnect endpoint %s from %s: %w", endpointID, serviceID, err)
	}
	return nil
}
