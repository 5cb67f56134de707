// Package network calls Azure Virtual Network for private endpoints and for what a
// run asks of the network around them, API version 2025-05-01. It is used through
// armnetwork, whose models lack properties.resourceGuid of a private endpoint: that
// is read from the reply's bytes.
package network

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	sdk "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"eslink/shared/azure"
)

const product = "Microsoft.Network"

// States of a private endpoint's provisioning, which says nothing of its connection.
const (
	Succeeded = "Succeeded"
	Failed    = "Failed"
	Creating  = "Creating"
	Updating  = "Updating"
	Deleting  = "Deleting"
)

// States of a private endpoint's connection: armnetwork has plain strings, Microsoft
// Learn's "What is a private endpoint?" lists them.
const (
	Pending      = "Pending"
	Approved     = "Approved"
	Rejected     = "Rejected"
	Disconnected = "Disconnected"
)

// Client reads and writes private endpoints.
type Client struct {
	endpoints  *sdk.PrivateEndpointsClient
	interfaces *sdk.InterfacesClient
	networks   *sdk.VirtualNetworksClient
}

// New returns a client of an account.
func New(a *azure.Account) (*Client, error) {
	endpoints, err := sdk.NewPrivateEndpointsClient(a.SubscriptionID, a.Credential(), a.Options())
	if err != nil {
		return nil, err
	}
	interfaces, err := sdk.NewInterfacesClient(a.SubscriptionID, a.Credential(), a.Options())
	if err != nil {
		return nil, err
	}
	networks, err := sdk.NewVirtualNetworksClient(a.SubscriptionID, a.Credential(), a.Options())
	if err != nil {
		return nil, err
	}
	return &Client{endpoints, interfaces, networks}, nil
}

// Endpoint is a private endpoint.
type Endpoint struct {
	ID       azure.ID
	Name     string
	Location string
	Subnet   azure.ID
	State    string // provisioning: Succeeded, Creating, …
	GUID     string // properties.resourceGuid, which the other side asks for
	Service  string // the alias that it connects to
	// Connection is Pending, Approved, Rejected or Disconnected; Description is the
	// other side's.
	Connection  string
	Description string
	Interfaces  []azure.ID
	Tags        map[string]string
}

// Endpoint reads a private endpoint of a resource group; PrivateEndpoints_Get.
func (c *Client) Endpoint(ctx context.Context, group, name string) (Endpoint, error) {
	var raw *http.Response
	out, err := c.endpoints.Get(policy.WithCaptureResponse(ctx, &raw), group, name, nil)
	if err != nil {
		return Endpoint{}, fmt.Errorf("get private endpoint %s: %w", name, azure.Wrap(product, "PrivateEndpoints_Get", err))
	}
	e := Endpoint{ID: azure.ID(azure.Value(out.ID)), Name: azure.Value(out.Name), Location: azure.Value(out.Location), Tags: map[string]string{}}
	for k, v := range out.Tags {
		e.Tags[k] = azure.Value(v)
	}
	if p := out.Properties; p != nil {
		e.State = string(azure.Value(p.ProvisioningState))
		if p.Subnet != nil {
			e.Subnet = azure.ID(azure.Value(p.Subnet.ID))
		}
		for _, i := range p.NetworkInterfaces {
			e.Interfaces = append(e.Interfaces, azure.ID(azure.Value(i.ID)))
		}
		for _, k := range append(p.ManualPrivateLinkServiceConnections, p.PrivateLinkServiceConnections...) {
			if k.Properties == nil {
				continue
			}
			e.Service = azure.Value(k.Properties.PrivateLinkServiceID)
			if s := k.Properties.PrivateLinkServiceConnectionState; s != nil {
				e.Connection, e.Description = azure.Value(s.Status), azure.Value(s.Description)
			}
		}
	}
	e.GUID, err = guid(raw)
	if err != nil {
		return Endpoint{}, fmt.Errorf("get private endpoint %s: %w", name, err)
	}
	return e, nil
}

// guid reads what armnetwork leaves out.
func guid(raw *http.Response) (string, error) {
	body, err := runtime.Payload(raw)
	if err != nil {
		return "", err
	}
	var reply struct {
		Properties struct{ ResourceGUID string }
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return "", err
	}
	return reply.Properties.ResourceGUID, nil
}

// NewEndpoint is what a private endpoint is created from.
type NewEndpoint struct {
	Group, Name, Location string
	Subnet                azure.ID
	Service               string // an alias, which needs the manual method
	Message               string // for the other side, at most 140 characters
	Tags                  map[string]string
}

// CreateEndpoint asks for a private endpoint; PrivateEndpoints_CreateOrUpdate.
// Repeating it for the same name is the same endpoint.
func (c *Client) CreateEndpoint(ctx context.Context, n NewEndpoint) (azure.Operation, error) {
	tags := map[string]*string{}
	for k, v := range n.Tags {
		tags[k] = to.Ptr(v)
	}
	p, err := c.endpoints.BeginCreateOrUpdate(ctx, n.Group, n.Name, sdk.PrivateEndpoint{
		Location: to.Ptr(n.Location), Tags: tags,
		Properties: &sdk.PrivateEndpointProperties{
			Subnet: &sdk.Subnet{ID: to.Ptr(string(n.Subnet))},
			ManualPrivateLinkServiceConnections: []*sdk.PrivateLinkServiceConnection{{Name: to.Ptr(n.Name),
				Properties: &sdk.PrivateLinkServiceConnectionProperties{PrivateLinkServiceID: to.Ptr(n.Service), RequestMessage: to.Ptr(n.Message)}}},
		},
	}, nil)
	op, err := azure.Begin(product, "PrivateEndpoints_CreateOrUpdate", p, err)
	if err != nil {
		return "", fmt.Errorf("create private endpoint %s: %w", n.Name, err)
	}
	return op, nil
}

// PollCreate asks once how a creation is.
func (c *Client) PollCreate(ctx context.Context, op azure.Operation) (ended bool, err error) {
	p, err := c.endpoints.BeginCreateOrUpdate(ctx, "-", "-", sdk.PrivateEndpoint{}, &sdk.PrivateEndpointsClientBeginCreateOrUpdateOptions{ResumeToken: string(op)})
	return azure.Poll(ctx, product, "PrivateEndpoints_CreateOrUpdate", p, err)
}

// DeleteEndpoint asks for a private endpoint's deletion; PrivateEndpoints_Delete.
func (c *Client) DeleteEndpoint(ctx context.Context, group, name string) (azure.Operation, error) {
	p, err := c.endpoints.BeginDelete(ctx, group, name, nil)
	op, err := azure.Begin(product, "PrivateEndpoints_Delete", p, err)
	if err != nil {
		return "", fmt.Errorf("delete private endpoint %s: %w", name, err)
	}
	return op, nil
}

// PollDelete asks once how a deletion is.
func (c *Client) PollDelete(ctx context.Context, op azure.Operation) (ended bool, err error) {
	p, err := c.endpoints.BeginDelete(ctx, "-", "-", &sdk.PrivateEndpointsClientBeginDeleteOptions{ResumeToken: string(op)})
	return azure.Poll(ctx, product, "PrivateEndpoints_Delete", p, err)
}

// Interface is a network interface.
type Interface struct {
	ID        azure.ID
	PrivateIP string // of the primary configuration, else of the first
	Subnet    azure.ID
}

// Interface reads a network interface; NetworkInterfaces_Get.
func (c *Client) Interface(ctx context.Context, id azure.ID) (Interface, error) {
	out, err := c.interfaces.Get(ctx, id.Part("resourceGroups"), id.Part("networkInterfaces"), nil)
	if err != nil {
		return Interface{}, fmt.Errorf("get network interface %s: %w", id.Part("networkInterfaces"), azure.Wrap(product, "NetworkInterfaces_Get", err))
	}
	i := Interface{ID: azure.ID(azure.Value(out.ID))}
	if out.Properties == nil {
		return i, nil
	}
	for _, k := range out.Properties.IPConfigurations {
		if p := k.Properties; p != nil && (i.PrivateIP == "" || azure.Value(p.Primary)) {
			i.PrivateIP = azure.Value(p.PrivateIPAddress)
			if p.Subnet != nil {
				i.Subnet = azure.ID(azure.Value(p.Subnet.ID))
			}
		}
	}
	return i, nil
}

// VirtualNetwork is a virtual network with its subnets.
type VirtualNetwork struct {
	ID       azure.ID
	Location string
	// DNSServers are the network's own; none means Azure's.
	DNSServers []string
	Subnets    []Subnet
}

// Subnet is a part of a virtual network.
type Subnet struct {
	ID     azure.ID
	Name   string
	Prefix string
	// Delegations are the services that the subnet belongs to; none may be for a
	// private endpoint.
	Delegations []string
	// EndpointPolicies is privateEndpointNetworkPolicies: Disabled, Enabled, …
	EndpointPolicies string
}

// VirtualNetwork reads a virtual network; VirtualNetworks_Get.
func (c *Client) VirtualNetwork(ctx context.Context, group, name string) (VirtualNetwork, error) {
	out, err := c.networks.Get(ctx, group, name, nil)
	if err != nil {
		return VirtualNetwork{}, fmt.Errorf("get virtual network %s: %w", name, azure.Wrap(product, "VirtualNetworks_Get", err))
	}
	v := VirtualNetwork{ID: azure.ID(azure.Value(out.ID)), Location: azure.Value(out.Location)}
	if out.Properties == nil {
		return v, nil
	}
	if d := out.Properties.DhcpOptions; d != nil {
		for _, s := range d.DNSServers {
			v.DNSServers = append(v.DNSServers, azure.Value(s))
		}
	}
	for _, s := range out.Properties.Subnets {
		n := Subnet{ID: azure.ID(azure.Value(s.ID)), Name: azure.Value(s.Name)}
		if p := s.Properties; p != nil {
			n.Prefix, n.EndpointPolicies = azure.Value(p.AddressPrefix), string(azure.Value(p.PrivateEndpointNetworkPolicies))
			for _, d := range p.Delegations {
				if d.Properties != nil {
					n.Delegations = append(n.Delegations, azure.Value(d.Properties.ServiceName))
				}
			}
		}
		v.Subnets = append(v.Subnets, n)
	}
	return v, nil
}

// FreeAddresses says how many addresses a subnet has left; VirtualNetworks_ListUsage.
func (c *Client) FreeAddresses(ctx context.Context, subnet azure.ID) (int, error) {
	pager := c.networks.NewListUsagePager(subnet.Part("resourceGroups"), subnet.Part("virtualNetworks"), nil)
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("read the usage of subnet %s: %w", subnet.Part("subnets"), azure.Wrap(product, "VirtualNetworks_ListUsage", err))
		}
		for _, u := range page.Value {
			if azure.ID(azure.Value(u.ID)).Is(subnet) {
				return int(azure.Value(u.Limit) - azure.Value(u.CurrentValue)), nil
			}
		}
	}
	return 0, fmt.Errorf("read the usage of subnet %s: the list lacks it", subnet.Part("subnets"))
}
