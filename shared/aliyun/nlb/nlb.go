// Package nlb is Alibaba Cloud Network Load Balancer, API version 2022-04-30,
// as far as a private balancer in front of fixed addresses needs it.
//
// Operations: DescribeZones, GetJobStatus; CreateLoadBalancer,
// GetLoadBalancerAttribute, ListLoadBalancers, DeleteLoadBalancer;
// CreateServerGroup, ListServerGroups, DeleteServerGroup,
// AddServersToServerGroup, RemoveServersFromServerGroup,
// ListServerGroupServers; CreateListener, GetListenerAttribute, ListListeners,
// GetListenerHealthStatus, DeleteListener.
//
// Replies are decoded into types of the package's own: the V1 SDK lacks
// ZoneMappings[].LoadBalancerAddresses[].Ipv4LocalAddresses, and it wraps
// lists, ZoneMappings among them, in objects that the API does not send.
// Errors are those of aliyun.Call.
//
// Every write but CreateLoadBalancer returns the ID of a job. Reads by ID see a
// write at once, lists may trail it. Deletions and removals carry no token: they
// name what they take away, so repeating one does no harm, while a replayed
// reply could hide that the first had no effect.
package nlb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/nlb"

	"eslink/shared/aliyun"
)

const product = "nlb"

// Client calls the API. It holds no state.
type Client struct{ c aliyun.Config }

// New returns a client.
func New(c aliyun.Config) *Client { return &Client{c} }

// States of a balancer. One that ends in CreateFailed is not billed and can
// only be deleted; an Inactive one was stopped by the cloud.
const (
	Provisioning = "Provisioning"
	Active       = "Active"
	Configuring  = "Configuring"
	CreateFailed = "CreateFailed"
	Inactive     = "Inactive"
	Deleting     = "Deleting"
)

// LoadBalancer is a balancer.
type LoadBalancer struct {
	ID          string `json:"LoadBalancerId"`
	Name        string `json:"LoadBalancerName"`
	Status      string `json:"LoadBalancerStatus"`
	AddressType string `json:"AddressType"` // Intranet or Internet
	VpcID       string `json:"VpcId"`
	Zones       []Zone `json:"ZoneMappings"`
}

// Zone is a balancer's foot in one zone.
type Zone struct {
	ID        string    `json:"ZoneId"`
	VSwitchID string    `json:"VSwitchId"`
	Addresses []Address `json:"LoadBalancerAddresses,omitempty"`
}

// Address is where a balancer listens in a zone, and what it talks to its
// backends from.
type Address struct {
	IP    string   `json:"PrivateIPv4Address"`
	Local []string `json:"Ipv4LocalAddresses"`
}

// NewLoadBalancer is what a balancer is created from. Where the region has two
// zones or more, it needs two or more, each with one vSwitch of the VPC.
type NewLoadBalancer struct {
	Name, VpcID, TagKey, TagValue string
	Zones                         []Zone
}

// CreateLoadBalancer creates a private, pay-as-you-go balancer without
// deletion protection and returns its ID.
func (c *Client) CreateLoadBalancer(ctx context.Context, n NewLoadBalancer, token string) (string, error) {
	req := sdk.CreateCreateLoadBalancerRequest()
	req.LoadBalancerName, req.VpcId, req.ClientToken = n.Name, n.VpcID, token
	req.LoadBalancerType, req.AddressType, req.AddressIpVersion = "network", "Intranet", "ipv4"
	req.LoadBalancerBillingConfig.PayType, req.DeletionProtectionConfig.Enabled = "PostPay", "false"
	req.Tag = &[]sdk.CreateLoadBalancerTag{{Key: n.TagKey, Value: n.TagValue}}
	var zones []sdk.CreateLoadBalancerZoneMappings
	for _, z := range n.Zones {
		zones = append(zones, sdk.CreateLoadBalancerZoneMappings{ZoneId: z.ID, VSwitchId: z.VSwitchID})
	}
	req.ZoneMappings = &zones
	out, err := aliyun.Call[struct{ LoadbalancerID string }](ctx, c.c, product, req, codes)
	if err == nil && out.LoadbalancerID == "" {
		err = errNoID
	}
	if err != nil {
		return "", fmt.Errorf("create nlb %s: %w", n.Name, err)
	}
	return out.LoadbalancerID, nil
}

var errNoID = errors.New("the reply names nothing")

// LoadBalancer returns a balancer; GetLoadBalancerAttribute.
func (c *Client) LoadBalancer(ctx context.Context, id string) (LoadBalancer, error) {
	req := sdk.CreateGetLoadBalancerAttributeRequest()
	req.LoadBalancerId = id
	out, err := aliyun.Call[LoadBalancer](ctx, c.c, product, req, codes)
	if err != nil {
		return LoadBalancer{}, fmt.Errorf("get nlb %s: %w", id, err)
	}
	return out, nil
}

// LoadBalancersTagged lists the balancers that bear a tag; ListLoadBalancers.
func (c *Client) LoadBalancersTagged(ctx context.Context, key, value string) ([]LoadBalancer, error) {
	out, err := c.loadBalancers(ctx, func(r *sdk.ListLoadBalancersRequest) {
		r.Tag = &[]sdk.ListLoadBalancersTag{{Key: key, Value: value}}
	})
	if err != nil {
		return nil, fmt.Errorf("list nlbs tagged %s=%s: %w", key, value, err)
	}
	return out, nil
}

// LoadBalancersNamed lists the balancers of a name, which need not be unique;
// ListLoadBalancers.
func (c *Client) LoadBalancersNamed(ctx context.Context, name string) ([]LoadBalancer, error) {
	out, err := c.loadBalancers(ctx, func(r *sdk.ListLoadBalancersRequest) { r.LoadBalancerNames = &[]string{name} })
	if err != nil {
		return nil, fmt.Errorf("list nlbs named %s: %w", name, err)
	}
	return out, nil
}

func (c *Client) loadBalancers(ctx context.Context, filter func(*sdk.ListLoadBalancersRequest)) ([]LoadBalancer, error) {
	return pages(func(next string) ([]LoadBalancer, string, error) {
		req := sdk.CreateListLoadBalancersRequest()
		req.NextToken, req.MaxResults = next, pageSize
		filter(req)
		out, err := aliyun.Call[struct {
			LoadBalancers []LoadBalancer
			NextToken     string
		}](ctx, c.c, product, req, codes)
		return out.LoadBalancers, out.NextToken, err
	})
}

// DeleteLoadBalancer deletes a balancer that has no listeners and serves no
// endpoint service. It returns the job's ID.
func (c *Client) DeleteLoadBalancer(ctx context.Context, id string) (string, error) {
	req := sdk.CreateDeleteLoadBalancerRequest()
	req.LoadBalancerId = id
	return c.job(ctx, req, "delete nlb "+id)
}

// Zones lists the zones that have the product; DescribeZones.
func (c *Client) Zones(ctx context.Context) ([]string, error) {
	out, err := aliyun.Call[struct {
		Zones []struct {
			ID string `json:"ZoneId"`
		}
	}](ctx, c.c, product, sdk.CreateDescribeZonesRequest(), codes)
	if err != nil {
		return nil, fmt.Errorf("list the zones that have nlbs: %w", err)
	}
	var ids []string
	for _, z := range out.Zones {
		ids = append(ids, z.ID)
	}
	return ids, nil
}

// JobDone reports whether a job has succeeded; GetJobStatus. The API documents
// no failure: a job that fails stays in Processing, or the resource says so.
func (c *Client) JobDone(ctx context.Context, id string) (bool, error) {
	req := sdk.CreateGetJobStatusRequest()
	req.JobId = id
	out, err := aliyun.Call[struct{ Status string }](ctx, c.c, product, req, codes)
	switch {
	case err != nil:
		return false, fmt.Errorf("get nlb job %s: %w", id, err)
	case strings.EqualFold(out.Status, "Succeeded"):
		return true, nil
	case strings.EqualFold(out.Status, "Processing"):
		return false, nil
	}
	return false, fmt.Errorf("nlb job %s: its status %q is not known, only Processing and Succeeded", id, out.Status)
}

// job makes a call whose reply is a job.
func (c *Client) job(ctx context.Context, req requests.AcsRequest, what string) (string, error) {
	out, err := aliyun.Call[struct{ JobID string }](ctx, c.c, product, req, codes)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return out.JobID, nil
}

const pageSize = requests.Integer("100") // the most that the API allows

// pages gathers all pages of a list.
func pages[T any](get func(next string) ([]T, string, error)) ([]T, error) {
	var all []T
	for next := ""; ; {
		page, more, err := get(next)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if next = more; next == "" {
			return all, nil
		}
	}
}
