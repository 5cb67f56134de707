package slb

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/slb"

	"eslink/shared/aliyun"
)

// Group is a balancer's group of servers (a VServer group).
type Group struct {
	ID             string `json:"VServerGroupId"`
	Name           string `json:"VServerGroupName"`
	LoadBalancerID string `json:"LoadBalancerId"`
	Servers        struct {
		All []Server `json:"BackendServer"`
	} `json:"BackendServers"`
}

// Server is an ECS instance behind a balancer, by one of its ports.
type Server struct {
	ID   string `json:"ServerId"`
	Port int    `json:"Port"`
}

// member is a server as the requests carry it, in a string of JSON.
type member struct {
	ID     string `json:"ServerId"`
	Port   string
	Weight string `json:",omitempty"`
	Type   string
}

func members(servers []Server, weight string) string {
	var list []member
	for _, s := range servers {
		list = append(list, member{s.ID, strconv.Itoa(s.Port), weight, "ecs"})
	}
	raw, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings encode
	}
	return string(raw)
}

const weight = "100"

// NewGroup is what a group is created from. Its servers, at most 20, must be
// running.
type NewGroup struct {
	LoadBalancerID, Name, TagKey, TagValue string
	Servers                                []Server
}

// CreateGroup creates a group and returns its ID; CreateVServerGroup. There is
// no token: sent again, it creates another group of that name.
func (c *Client) CreateGroup(ctx context.Context, n NewGroup) (string, error) {
	req := sdk.CreateCreateVServerGroupRequest()
	req.LoadBalancerId, req.VServerGroupName, req.BackendServers = n.LoadBalancerID, n.Name, members(n.Servers, weight)
	req.Tag = &[]sdk.CreateVServerGroupTag{{Key: n.TagKey, Value: n.TagValue}}
	out, err := aliyun.Call[struct{ VServerGroupID string }](ctx, c.c, product, req, codes)
	if err == nil && out.VServerGroupID == "" {
		err = errNoID
	}
	if err != nil {
		return "", fmt.Errorf("create server group %s: %w", n.Name, err)
	}
	return out.VServerGroupID, nil
}

// Group returns a group with its servers; DescribeVServerGroupAttribute.
func (c *Client) Group(ctx context.Context, id string) (Group, error) {
	req := sdk.CreateDescribeVServerGroupAttributeRequest()
	req.VServerGroupId = id
	out, err := aliyun.Call[Group](ctx, c.c, product, req, named)
	if err != nil {
		return Group{}, fmt.Errorf("get server group %s: %w", id, err)
	}
	return out, nil
}

// Groups lists a balancer's groups, without their servers;
// DescribeVServerGroups.
func (c *Client) Groups(ctx context.Context, loadBalancerID string) ([]Group, error) {
	req := sdk.CreateDescribeVServerGroupsRequest()
	req.LoadBalancerId = loadBalancerID
	out, err := aliyun.Call[struct {
		VServerGroups struct{ VServerGroup []Group }
	}](ctx, c.c, product, req, codes)
	if err != nil {
		return nil, fmt.Errorf("list server groups of clb %s: %w", loadBalancerID, err)
	}
	return out.VServerGroups.VServerGroup, nil
}

// AddServers adds servers to a group, those that it has already none the worse;
// AddVServerGroupBackendServers.
func (c *Client) AddServers(ctx context.Context, groupID string, servers []Server) error {
	req := sdk.CreateAddVServerGroupBackendServersRequest()
	req.VServerGroupId, req.BackendServers = groupID, members(servers, weight)
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("add servers to group %s: %w", groupID, err)
	}
	return nil
}

// RemoveServers takes servers out of a group;
// RemoveVServerGroupBackendServers.
func (c *Client) RemoveServers(ctx context.Context, groupID string, servers []Server) error {
	req := sdk.CreateRemoveVServerGroupBackendServersRequest()
	req.VServerGroupId, req.BackendServers = groupID, members(servers, "")
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("remove servers from group %s: %w", groupID, err)
	}
	return nil
}

// DeleteGroup deletes a group that no listener uses; DeleteVServerGroup.
func (c *Client) DeleteGroup(ctx context.Context, id string) error {
	req := sdk.CreateDeleteVServerGroupRequest()
	req.VServerGroupId = id
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, named); err != nil {
		return fmt.Errorf("delete server group %s: %w", id, err)
	}
	return nil
}
