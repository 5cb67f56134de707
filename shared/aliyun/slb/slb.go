// Package slb is Alibaba Cloud Classic Load Balancer (CLB), API version
// 2014-05-15, as far as a private balancer in front of one ECS instance needs
// it.
//
// Operations: DescribeAvailableResource; CreateLoadBalancer,
// DescribeLoadBalancerAttribute, DescribeLoadBalancers, DeleteLoadBalancer;
// CreateVServerGroup, DescribeVServerGroups, DescribeVServerGroupAttribute,
// AddVServerGroupBackendServers, RemoveVServerGroupBackendServers,
// DeleteVServerGroup; CreateLoadBalancerTCPListener,
// DescribeLoadBalancerTCPListenerAttribute, StartLoadBalancerListener,
// DeleteLoadBalancerListener, DescribeHealthStatus.
//
// Only CreateLoadBalancer takes a token. Reads by ID see a write at once, lists
// may trail it. The V1 SDK models all fields used here; replies are decoded into
// types of the package's own all the same. Errors are those of aliyun.Call.
package slb

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/slb"

	"eslink/shared/aliyun"
)

const product = "slb"

// Client calls the API. It holds no state.
type Client struct{ c aliyun.Config }

// New returns a client.
func New(c aliyun.Config) *Client { return &Client{c} }

// States of a balancer. An inactive one is being made, or was stopped by hand;
// a locked one is in arrears.
const (
	Active   = "active"
	Inactive = "inactive"
	Locked   = "locked"
)

// LoadBalancer is a balancer.
type LoadBalancer struct {
	ID          string `json:"LoadBalancerId"`
	Name        string `json:"LoadBalancerName"`
	Status      string `json:"LoadBalancerStatus"`
	AddressType string `json:"AddressType"` // intranet or internet
	Address     string `json:"Address"`
	VpcID       string `json:"VpcId"`
	VSwitchID   string `json:"VSwitchId"`
	ZoneID      string `json:"MasterZoneId"` // the one that endpoint services use
	Listeners   struct {
		All []struct {
			Port     int    `json:"ListenerPort"`
			Protocol string `json:"ListenerProtocol"` // tcp, udp, http or https
		} `json:"ListenerPortAndProtocol"`
	} `json:"ListenerPortsAndProtocol"`
}

// Listens returns the protocol of the balancer's listener on a port, or "".
// Lists of balancers do not say.
func (b LoadBalancer) Listens(port int) string {
	for _, l := range b.Listeners.All {
		if l.Port == port {
			return l.Protocol
		}
	}
	return ""
}

// NewLoadBalancer is what a balancer is created from.
type NewLoadBalancer struct {
	Name, VpcID, VSwitchID, ZoneID, TagKey, TagValue string
	// Spec is a specification such as slb.s1.small that is paid for by itself;
	// "" means pay-by-LCU, which China's accounts are sold alone.
	Spec string
}

// CreateLoadBalancer creates a private, pay-as-you-go balancer without deletion
// protection and returns its ID. See NotOffered.
func (c *Client) CreateLoadBalancer(ctx context.Context, n NewLoadBalancer, token string) (string, error) {
	req := sdk.CreateCreateLoadBalancerRequest()
	req.LoadBalancerName, req.VpcId, req.VSwitchId, req.MasterZoneId, req.ClientToken = n.Name, n.VpcID, n.VSwitchID, n.ZoneID, token
	req.AddressType, req.PayType, req.DeleteProtection = "intranet", "PayOnDemand", "off"
	if n.Spec == "" {
		req.InstanceChargeType = "PayByCLCU"
	} else {
		req.LoadBalancerSpec = n.Spec
	}
	req.Tag = &[]sdk.CreateLoadBalancerTag{{Key: n.TagKey, Value: n.TagValue}}
	out, err := aliyun.Call[struct{ LoadBalancerID string }](ctx, c.c, product, req, codes)
	if err == nil && out.LoadBalancerID == "" {
		err = errNoID
	}
	if err != nil {
		return "", fmt.Errorf("create clb %s: %w", n.Name, err)
	}
	return out.LoadBalancerID, nil
}

var errNoID = errors.New("the reply names nothing")

// LoadBalancer returns a balancer; DescribeLoadBalancerAttribute.
func (c *Client) LoadBalancer(ctx context.Context, id string) (LoadBalancer, error) {
	req := sdk.CreateDescribeLoadBalancerAttributeRequest()
	req.LoadBalancerId = id
	out, err := aliyun.Call[LoadBalancer](ctx, c.c, product, req, codes)
	if err != nil {
		return LoadBalancer{}, fmt.Errorf("get clb %s: %w", id, err)
	}
	return out, nil
}

// LoadBalancersTagged lists the balancers that bear a tag;
// DescribeLoadBalancers.
func (c *Client) LoadBalancersTagged(ctx context.Context, key, value string) ([]LoadBalancer, error) {
	out, err := c.loadBalancers(ctx, func(r *sdk.DescribeLoadBalancersRequest) {
		r.Tag = &[]sdk.DescribeLoadBalancersTag{{Key: key, Value: value}}
	})
	if err != nil {
		return nil, fmt.Errorf("list clbs tagged %s=%s: %w", key, value, err)
	}
	return out, nil
}

// LoadBalancersNamed lists the balancers of a name, which need not be unique;
// DescribeLoadBalancers.
func (c *Client) LoadBalancersNamed(ctx context.Context, name string) ([]LoadBalancer, error) {
	out, err := c.loadBalancers(ctx, func(r *sdk.DescribeLoadBalancersRequest) { r.LoadBalancerName = name })
	if err != nil {
		return nil, fmt.Errorf("list clbs named %s: %w", name, err)
	}
	return out, nil
}

func (c *Client) loadBalancers(ctx context.Context, filter func(*sdk.DescribeLoadBalancersRequest)) ([]LoadBalancer, error) {
	const size = 100 // the most that the API allows
	var out []LoadBalancer
	for page := 1; ; page++ {
		req := sdk.CreateDescribeLoadBalancersRequest()
		req.PageNumber, req.PageSize = requests.NewInteger(page), requests.NewInteger(size)
		filter(req)
		got, err := aliyun.Call[struct {
			LoadBalancers struct{ LoadBalancer []LoadBalancer }
		}](ctx, c.c, product, req, codes)
		if err != nil {
			return nil, err
		}
		out = append(out, got.LoadBalancers.LoadBalancer...)
		if len(got.LoadBalancers.LoadBalancer) < size {
			return out, nil
		}
	}
}

// DeleteLoadBalancer deletes a balancer, its listeners and server groups with
// it. It must serve no endpoint service.
func (c *Client) DeleteLoadBalancer(ctx context.Context, id string) error {
	req := sdk.CreateDeleteLoadBalancerRequest()
	req.LoadBalancerId = id
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("delete clb %s: %w", id, err)
	}
	return nil
}

// Zones lists the zones in which private balancers are sold, as the first of
// their two zones; DescribeAvailableResource.
func (c *Client) Zones(ctx context.Context) ([]string, error) {
	req := sdk.CreateDescribeAvailableResourceRequest()
	req.AddressType, req.AddressIPVersion = "vpc", "ipv4"
	out, err := aliyun.Call[struct {
		AvailableResources struct {
			AvailableResource []struct {
				Master string `json:"MasterZoneId"`
			}
		}
	}](ctx, c.c, product, req, codes)
	if err != nil {
		return nil, fmt.Errorf("list the zones that have clbs: %w", err)
	}
	var ids []string
	for _, r := range out.AvailableResources.AvailableResource {
		if !slices.Contains(ids, r.Master) {
			ids = append(ids, r.Master)
		}
	}
	return ids, nil
}
