// Package ecs is Alibaba Cloud Elastic Compute Service, API version 2014-05-26,
// as far as finding a host and admitting a balancer to it needs it: operations
// DescribeInstances, DescribeSecurityGroupAttribute, AuthorizeSecurityGroup and
// RevokeSecurityGroup. The V1 SDK models all the fields used here. Errors are
// those of aliyun.Call.
package ecs

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"

	"eslink/shared/aliyun"
)

const product = "ecs"

// Client calls the API. It holds no state.
type Client struct{ c aliyun.Config }

// New returns a client.
func New(c aliyun.Config) *Client { return &Client{c} }

// Running is the status of an instance that works; it can be Pending, Starting,
// Stopping and Stopped.
const Running = "Running"

// Instance is a host.
type Instance struct {
	ID          string `json:"InstanceId"`
	Status      string `json:"Status"`
	NetworkType string `json:"InstanceNetworkType"` // vpc or classic
	ZoneID      string `json:"ZoneId"`
	VPC         struct {
		ID        string `json:"VpcId"`
		VSwitchID string `json:"VSwitchId"`
		Addresses struct {
			All []string `json:"IpAddress"`
		} `json:"PrivateIpAddress"`
	} `json:"VpcAttributes"`
	SecurityGroups struct {
		All []string `json:"SecurityGroupId"`
	} `json:"SecurityGroupIds"`
}

// Instances returns the instances of these IDs, those that exist;
// DescribeInstances.
func (c *Client) Instances(ctx context.Context, ids ...string) ([]Instance, error) {
	out, err := c.instances(ctx, func(r *sdk.DescribeInstancesRequest) { r.InstanceIds = list(ids) })
	if err != nil {
		return nil, fmt.Errorf("get ecs instances %s: %w", strings.Join(ids, ", "), err)
	}
	return out, nil
}

// InstancesAt returns the instances that have a private address, one a VPC at
// most; DescribeInstances.
func (c *Client) InstancesAt(ctx context.Context, address string) ([]Instance, error) {
	out, err := c.instances(ctx, func(r *sdk.DescribeInstancesRequest) {
		r.InstanceNetworkType, r.PrivateIpAddresses = "vpc", list([]string{address})
	})
	if err != nil {
		return nil, fmt.Errorf("find the ecs instances at %s: %w", address, err)
	}
	return out, nil
}

func (c *Client) instances(ctx context.Context, filter func(*sdk.DescribeInstancesRequest)) ([]Instance, error) {
	// One page: a filter leaves a handful.
	req := sdk.CreateDescribeInstancesRequest()
	req.PageSize = requests.NewInteger(100)
	filter(req)
	out, err := aliyun.Call[struct{ Instances struct{ Instance []Instance } }](ctx, c.c, product, req, codes)
	return out.Instances.Instance, err
}

// list is a list parameter, which the API takes as a string of JSON.
func list(values []string) string {
	raw, err := json.Marshal(values)
	if err != nil {
		panic(err) // strings encode
	}
	return string(raw)
}

// Rule is an ingress rule of a security group.
type Rule struct {
	ID          string `json:"SecurityGroupRuleId"`
	Policy      string `json:"Policy"`          // Accept or Drop
	Priority    int    `json:"Priority,string"` // 1 to 100, 1 first
	Protocol    string `json:"IpProtocol"`      // TCP, UDP, ICMP, GRE, ALL
	Ports       string `json:"PortRange"`       // 8080/8090, or -1/-1 for all
	CIDR        string `json:"SourceCidrIp"`
	Description string `json:"Description"`
}

// Rules lists a security group's ingress rules; DescribeSecurityGroupAttribute.
func (c *Client) Rules(ctx context.Context, groupID string) ([]Rule, error) {
	var all []Rule
	for next := ""; ; {
		req := sdk.CreateDescribeSecurityGroupAttributeRequest()
		req.SecurityGroupId, req.NicType, req.Direction, req.NextToken, req.MaxResults = groupID, "intranet", "ingress", next, "500"
		out, err := aliyun.Call[struct {
			Permissions struct{ Permission []Rule }
			NextToken   string
		}](ctx, c.c, product, req, codes)
		if err != nil {
			return nil, fmt.Errorf("list rules of security group %s: %w", groupID, err)
		}
		all = append(all, out.Permissions.Permission...)
		if next = out.NextToken; next == "" {
			return all, nil
		}
	}
}

// Admission is a network that is to be admitted to a TCP port.
type Admission struct {
	Port     int
	CIDR     netip.Prefix
	Priority int // of the rule, 1 to 100
}

// Admit adds a rule for each admission, at most 100; AuthorizeSecurityGroup. One
// that the group has already, whatever its description, is not added again, so
// that no token is needed.
func (c *Client) Admit(ctx context.Context, groupID string, admissions []Admission, description string) error {
	var rules []sdk.AuthorizeSecurityGroupPermissions
	for _, a := range admissions {
		port := strconv.Itoa(a.Port)
		rules = append(rules, sdk.AuthorizeSecurityGroupPermissions{IpProtocol: "TCP", PortRange: port + "/" + port, SourceCidrIp: a.CIDR.String(),
			Policy: "accept", Priority: strconv.Itoa(a.Priority), NicType: "intranet", Description: description})
	}
	req := sdk.CreateAuthorizeSecurityGroupRequest()
	req.SecurityGroupId, req.Permissions = groupID, &rules
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("add rules to security group %s: %w", groupID, err)
	}
	return nil
}

// Revoke removes rules by their IDs, all or, if one of them is gone, none;
// RevokeSecurityGroup.
func (c *Client) Revoke(ctx context.Context, groupID string, ruleIDs []string) error {
	req := sdk.CreateRevokeSecurityGroupRequest()
	req.SecurityGroupId, req.SecurityGroupRuleId = groupID, &ruleIDs
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("remove rules from security group %s: %w", groupID, err)
	}
	return nil
}
