package nlb

import (
	"context"
	"fmt"
	"strconv"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/nlb"

	"eslink/shared/aliyun"
	"eslink/shared/apierr"
)

// States of a server group and of its servers; a group can be Configuring and
// Deleting too.
const (
	Creating  = "Creating"
	Available = "Available"
	Adding    = "Adding"
	Removing  = "Removing"
)

// ServerGroup is a group of backends.
type ServerGroup struct {
	ID               string `json:"ServerGroupId"`
	Name             string `json:"ServerGroupName"`
	Type             string `json:"ServerGroupType"` // Ip or Instance
	Status           string `json:"ServerGroupStatus"`
	VpcID            string `json:"VpcId"`
	PreserveClientIP bool   `json:"PreserveClientIpEnabled"`
}

// Server is a backend of a group.
type Server struct {
	IP     string `json:"ServerIp"`
	Port   int    `json:"Port"`
	Status string `json:"Status"`
}

// NewServerGroup is what a group is created from.
type NewServerGroup struct{ Name, VpcID, TagKey, TagValue string }

// CreateServerGroup creates an empty group for private addresses and returns
// its ID and the job's. Servers see the balancer's own addresses, not their
// clients' (which a group of type Ip cannot pass on; the default would be to
// try), and are checked by connecting to their port: 5 s apart, two of a kind
// decide.
func (c *Client) CreateServerGroup(ctx context.Context, n NewServerGroup, token string) (id, job string, err error) {
	req := sdk.CreateCreateServerGroupRequest()
	req.ServerGroupName, req.VpcId, req.ClientToken = n.Name, n.VpcID, token
	req.ServerGroupType, req.Protocol, req.Scheduler, req.AddressIPVersion = "Ip", "TCP", "Wrr", "ipv4"
	req.PreserveClientIpEnabled = requests.NewBoolean(false)
	req.HealthCheckConfig = sdk.CreateServerGroupHealthCheckConfig{HealthCheckEnabled: "true", HealthCheckType: "TCP", HealthCheckConnectPort: "0",
		HealthCheckConnectTimeout: "5", HealthCheckInterval: "5", HealthyThreshold: "2", UnhealthyThreshold: "2"}
	req.Tag = &[]sdk.CreateServerGroupTag{{Key: n.TagKey, Value: n.TagValue}}
	out, err := aliyun.Call[struct{ ServerGroupID, JobID string }](ctx, c.c, product, req, codes)
	if err == nil && out.ServerGroupID == "" {
		err = errNoID
	}
	if err != nil {
		return "", "", fmt.Errorf("create server group %s: %w", n.Name, err)
	}
	return out.ServerGroupID, out.JobID, nil
}

// ServerGroup returns a group. The API has no other way to read one than
// ListServerGroups with its ID; none found is an error of class NotFound.
func (c *Client) ServerGroup(ctx context.Context, id string) (ServerGroup, error) {
	out, err := c.serverGroups(ctx, func(r *sdk.ListServerGroupsRequest) { r.ServerGroupIds = &[]string{id} })
	if err == nil && len(out) == 0 {
		err = aliyun.Wrap(product, "ListServerGroups", &apierr.Error{Class: apierr.NotFound, Message: "the list has no such group"})
	}
	if err != nil {
		return ServerGroup{}, fmt.Errorf("get server group %s: %w", id, err)
	}
	return out[0], nil
}

// ServerGroupsTagged lists the groups that bear a tag; ListServerGroups.
func (c *Client) ServerGroupsTagged(ctx context.Context, key, value string) ([]ServerGroup, error) {
	out, err := c.serverGroups(ctx, func(r *sdk.ListServerGroupsRequest) {
		r.Tag = &[]sdk.ListServerGroupsTag{{Key: key, Value: value}}
	})
	if err != nil {
		return nil, fmt.Errorf("list server groups tagged %s=%s: %w", key, value, err)
	}
	return out, nil
}

// ServerGroupsNamed lists the groups of a name; ListServerGroups.
func (c *Client) ServerGroupsNamed(ctx context.Context, name string) ([]ServerGroup, error) {
	out, err := c.serverGroups(ctx, func(r *sdk.ListServerGroupsRequest) { r.ServerGroupNames = &[]string{name} })
	if err != nil {
		return nil, fmt.Errorf("list server groups named %s: %w", name, err)
	}
	return out, nil
}

func (c *Client) serverGroups(ctx context.Context, filter func(*sdk.ListServerGroupsRequest)) ([]ServerGroup, error) {
	return pages(func(next string) ([]ServerGroup, string, error) {
		req := sdk.CreateListServerGroupsRequest()
		req.NextToken, req.MaxResults = next, pageSize
		filter(req)
		out, err := aliyun.Call[struct {
			ServerGroups []ServerGroup
			NextToken    string
		}](ctx, c.c, product, req, codes)
		return out.ServerGroups, out.NextToken, err
	})
}

// DeleteServerGroup deletes a group that no listener uses, with its servers.
// It returns the job's ID.
func (c *Client) DeleteServerGroup(ctx context.Context, id string) (string, error) {
	req := sdk.CreateDeleteServerGroupRequest()
	req.ServerGroupId = id
	return c.job(ctx, req, "delete server group "+id)
}

// Servers lists a group's servers; ListServerGroupServers.
func (c *Client) Servers(ctx context.Context, groupID string) ([]Server, error) {
	out, err := pages(func(next string) ([]Server, string, error) {
		req := sdk.CreateListServerGroupServersRequest()
		req.ServerGroupId, req.NextToken, req.MaxResults = groupID, next, pageSize
		out, err := aliyun.Call[struct {
			Servers   []Server
			NextToken string
		}](ctx, c.c, product, req, codes)
		return out.Servers, out.NextToken, err
	})
	if err != nil {
		return nil, fmt.Errorf("list servers of group %s: %w", groupID, err)
	}
	return out, nil
}

// AddServers adds private addresses, at most 200, to a group and returns the
// job's ID; AddServersToServerGroup.
func (c *Client) AddServers(ctx context.Context, groupID string, servers []Server, token string) (string, error) {
	var list []sdk.AddServersToServerGroupServers
	for _, s := range servers {
		list = append(list, sdk.AddServersToServerGroupServers{ServerType: "Ip", ServerId: s.IP, ServerIp: s.IP, Port: strconv.Itoa(s.Port), Weight: "100"})
	}
	req := sdk.CreateAddServersToServerGroupRequest()
	req.ServerGroupId, req.Servers, req.ClientToken = groupID, &list, token
	return c.job(ctx, req, "add servers to group "+groupID)
}

// RemoveServers takes servers out of a group and returns the job's ID;
// RemoveServersFromServerGroup.
func (c *Client) RemoveServers(ctx context.Context, groupID string, servers []Server) (string, error) {
	var list []sdk.RemoveServersFromServerGroupServers
	for _, s := range servers {
		list = append(list, sdk.RemoveServersFromServerGroupServers{ServerType: "Ip", ServerId: s.IP, ServerIp: s.IP, Port: strconv.Itoa(s.Port)})
	}
	req := sdk.CreateRemoveServersFromServerGroupRequest()
	req.ServerGroupId, req.Servers = groupID, &list
	return c.job(ctx, req, "remove servers from group "+groupID)
}
