// Package escluster is the control plane of Alibaba Cloud Elasticsearch, API
// version 2017-06-13, as far as a private connection needs it: an instance's
// description, its configuration and restarts, its private whitelist and its
// PrivateLink endpoints.
//
// The V1 SDK merges the replies of all operations into one struct that lacks
// DescribeInstance's endpoints[], and would send a JSON body as a form, so
// replies and bodies are this package's own. Errors are those of aliyun.Call.
package escluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/elasticsearch"

	"eslink/shared/aliyun"
	"eslink/shared/apierr"
)

const product = "elasticsearch"

// Client calls the API. It holds no state.
type Client struct{ c aliyun.Config }

// New returns a client.
func New(c aliyun.Config) *Client { return &Client{c} }

// States of an instance. Settings and whitelists can be changed while it is
// Active only.
const (
	Active     = "active"
	Activating = "activating" // a change is being carried out
	Inactive   = "inactive"   // frozen
	Invalid    = "invalid"    // gone, or out of reach
)

// CloudNative is the ArchType of cloud-native control (v3).
const CloudNative = "public"

// PrivateES is the type of the whitelist groups that guard the cluster's own
// port inside its user's VPC.
const PrivateES = "PRIVATE_ES"

// Instance is what DescribeInstance says of a cluster.
type Instance struct {
	ID         string
	Status     string // Active, Activating, Inactive or Invalid
	Inited     bool   // false until its creation is finished
	Version    string // such as 7.10.0_with_X-Pack
	ArchType   string // exclusive: basic control (v2); public: cloud-native control (v3)
	ServiceVPC bool   // it lives in the service's VPC: the new network architecture
	Protocol   string // HTTP or HTTPS
	Domain     string // private, resolved in its user's VPC
	Port       int
	Endpoints  []ZoneEndpoint // one per zone, of some multi-zone instances
	Zones      []Zone
	VpcID      string // the user's VPC
	VSwitchID  string
	Whitelist  []WhiteGroup
	Config     map[string]string // esConfig
	CreatedAt  time.Time
	UpdatedAt  time.Time
	Tags       map[string]string
}

// ZoneEndpoint is a cluster's private address in one zone.
type ZoneEndpoint struct{ Domain, VSwitchID, ZoneID string }

// Zone is a zone that has nodes; its status is NORMAL or ISOLATION.
type Zone struct{ ID, Status string }

// WhiteGroup is a named part of a whitelist. IPs are addresses and CIDR blocks;
// 127.0.0.1 alone admits nobody.
type WhiteGroup struct {
	Name string
	Type string // PrivateES and others
	IPs  []string
}

// Major is the version's first number, such as "7".
func (i Instance) Major() string {
	major, _, _ := strings.Cut(i.Version, ".")
	return major
}

// Private returns the whitelist groups that guard the cluster inside its VPC.
func (i Instance) Private() []WhiteGroup {
	var out []WhiteGroup
	for _, g := range i.Whitelist {
		if g.Type == PrivateES {
			out = append(out, g)
		}
	}
	return out
}

// Describe returns an instance; DescribeInstance.
func (c *Client) Describe(ctx context.Context, id string) (Instance, error) {
	req := sdk.CreateDescribeInstanceRequest()
	req.InstanceId = id
	type reply struct {
		Result struct {
			InstanceID string            `json:"instanceId"`
			Status     string            `json:"status"`
			Inited     bool              `json:"inited"`
			Version    string            `json:"esVersion"`
			ArchType   string            `json:"archType"`
			ServiceVPC bool              `json:"serviceVpc"`
			Protocol   string            `json:"protocol"`
			Domain     string            `json:"domain"`
			Port       int               `json:"port"`
			CreatedAt  string            `json:"createdAt"`
			UpdatedAt  string            `json:"updatedAt"`
			Config     map[string]string `json:"esConfig"`
			Endpoints  []struct {
				Endpoint  string `json:"endpoint"`
				VSwitchID string `json:"vswitchId"`
				ZoneID    string `json:"zoneId"`
			} `json:"endpoints"`
			Zones []struct {
				ZoneID string `json:"zoneId"`
				Status string `json:"status"`
			} `json:"zoneInfos"`
			Network struct {
				VpcID     string `json:"vpcId"`
				VSwitchID string `json:"vswitchId"`
				Groups    []struct {
					Name string   `json:"groupName"`
					Type string   `json:"whiteIpType"`
					IPs  []string `json:"ips"`
				} `json:"whiteIpGroupList"`
			} `json:"networkConfig"`
			PrivateWhitelist []string `json:"privateNetworkIpWhiteList"`
			Tags             tags     `json:"tags"`
		}
	}
	out, err := aliyun.Call[reply](ctx, c.c, product, req, codes)
	if err != nil {
		return Instance{}, fmt.Errorf("describe instance %s: %w", id, err)
	}
	r := out.Result
	i := Instance{ID: cmp.Or(r.InstanceID, id), Status: r.Status, Inited: r.Inited, Version: r.Version, ArchType: r.ArchType, ServiceVPC: r.ServiceVPC,
		Protocol: r.Protocol, Domain: r.Domain, Port: r.Port, VpcID: r.Network.VpcID, VSwitchID: r.Network.VSwitchID, Config: r.Config, Tags: r.Tags.byKey()}
	for into, text := range map[*time.Time]string{&i.CreatedAt: r.CreatedAt, &i.UpdatedAt: r.UpdatedAt} {
		if text == "" {
			continue
		}
		if *into, err = time.Parse(time.RFC3339, text); err != nil {
			return Instance{}, fmt.Errorf("describe instance %s: %w", id, err)
		}
	}
	for _, e := range r.Endpoints {
		i.Endpoints = append(i.Endpoints, ZoneEndpoint{e.Endpoint, e.VSwitchID, e.ZoneID})
	}
	for _, z := range r.Zones {
		i.Zones = append(i.Zones, Zone{z.ZoneID, z.Status})
	}
	for _, g := range r.Network.Groups {
		i.Whitelist = append(i.Whitelist, WhiteGroup{g.Name, g.Type, g.IPs})
	}
	// Only this list is documented; without groups it is the default group.
	if len(i.Private()) == 0 && len(r.PrivateWhitelist) > 0 {
		i.Whitelist = append(i.Whitelist, WhiteGroup{DefaultGroup, PrivateES, r.PrivateWhitelist})
	}
	return i, nil
}

// tags are as replies list them.
type tags []struct {
	Key   string `json:"tagKey"`
	Value string `json:"tagValue"`
}

func (list tags) byKey() map[string]string {
	out := map[string]string{}
	for _, t := range list {
		out[t.Key] = t.Value
	}
	return out
}

// Summary is what ListInstance says of an instance, as far as that finds a new
// one.
type Summary struct {
	ID        string
	CreatedAt time.Time
	Tags      map[string]string
}

// List returns the region's instances; ListInstance, which may lag.
func (c *Client) List(ctx context.Context) ([]Summary, error) {
	const size = 100
	type reply struct {
		Result []struct {
			ID        string    `json:"instanceId"`
			CreatedAt time.Time `json:"createdAt"`
			Tags      tags      `json:"tags"`
		}
	}
	var out []Summary
	for page := 1; ; page++ {
		req := sdk.CreateListInstanceRequest()
		req.Page, req.Size = requests.NewInteger(page), requests.NewInteger(size)
		got, err := aliyun.Call[reply](ctx, c.c, product, req, codes)
		if err != nil {
			return nil, fmt.Errorf("list instances: %w", err)
		}
		for _, i := range got.Result {
			out = append(out, Summary{i.ID, i.CreatedAt, i.Tags.byKey()})
		}
		if len(got.Result) < size {
			return out, nil
		}
	}
}

// Node is one node of a cluster.
type Node struct {
	Host   string `json:"host"` // its address
	Port   int    `json:"port"`
	Type   string `json:"nodeType"` // MASTER, WORKER, WORKER_WARM, COORDINATING or KIBANA
	ZoneID string `json:"zoneId"`
	Health string `json:"health"` // GREEN, YELLOW, RED or GRAY
}

// Nodes lists a cluster's nodes; ListAllNode without metrics, which may lag.
func (c *Client) Nodes(ctx context.Context, id string) ([]Node, error) {
	req := sdk.CreateListAllNodeRequest()
	req.InstanceId, req.Extended = id, requests.NewBoolean(false)
	out, err := aliyun.Call[struct{ Result []Node }](ctx, c.c, product, req, codes)
	if err != nil {
		return nil, fmt.Errorf("list nodes of %s: %w", id, err)
	}
	return out.Result, nil
}

// EstimateRestart says how long a restart of all nodes will take;
// EstimatedRestartTime.
func (c *Client) EstimateRestart(ctx context.Context, id string) (time.Duration, error) {
	req := sdk.CreateEstimatedRestartTimeRequest()
	req.InstanceId = id
	body(req.RoaRequest, map[string]any{"restartType": "instance"})
	type reply struct {
		Result struct {
			Unit  string `json:"unit"`
			Value int64  `json:"value"`
		}
	}
	out, err := aliyun.Call[reply](ctx, c.c, product, req, codes)
	if err != nil {
		return 0, fmt.Errorf("estimate restart of %s: %w", id, err)
	}
	if out.Result.Unit != "second" {
		return 0, fmt.Errorf("estimate restart of %s: unit %q is not known, only second", id, out.Result.Unit)
	}
	return time.Duration(out.Result.Value) * time.Second, nil
}

// UpdateConfig replaces the whole esConfig: a key that config lacks is reset.
// The cluster restarts node by node. It returns the ID by which ActionRecords
// names the change, or "" if there was nothing to change. UpdateInstanceSettings
// with its default strategy, a restart in place.
func (c *Client) UpdateConfig(ctx context.Context, id string, config map[string]string, token string) (string, error) {
	req := sdk.CreateUpdateInstanceSettingsRequest()
	req.InstanceId, req.ClientToken = id, token
	body(req.RoaRequest, map[string]any{"esConfig": config})
	out, err := aliyun.Call[struct{ RequestID string }](ctx, c.c, product, req, codes)
	if unchanged[apierr.CodeOf(err)] {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("update configuration of %s: %w", id, err)
	}
	return out.RequestID, nil
}

// Ways to change a whitelist group. Cover makes it hold exactly what is given:
// it creates a new group, and deletes one for which nothing is given. Append and
// Delete want a group that exists; Delete leaves at least one IP in it.
const (
	Cover  = "Cover"
	Append = "Append"
	Delete = "Delete"
)

// DefaultGroup is the group that a whitelist without groups is: the plain list.
const DefaultGroup = "default"

// WhitelistChange changes one group of a private whitelist, or without a group
// its plain list, which knows no mode but Cover. IPs are IPv4 addresses and
// networks.
type WhitelistChange struct {
	Mode, Group string
	IPs         []string
}

// ChangeWhitelist changes a group of the private whitelist, and no other;
// UpdatePrivateNetworkWhiteIps.
func (c *Client) ChangeWhitelist(ctx context.Context, id string, change WhitelistChange, token string) error {
	req := sdk.CreateUpdatePrivateNetworkWhiteIpsRequest()
	req.InstanceId, req.ClientToken = id, token
	if change.Group != "" || change.Mode != Cover {
		req.ModifyMode = change.Mode
	}
	ips := change.IPs
	if ips == nil {
		ips = []string{} // null would be no list
	}
	if change.Group == "" {
		body(req.RoaRequest, map[string]any{"privateNetworkIpWhiteList": ips})
	} else {
		body(req.RoaRequest, map[string]any{"whiteIpGroup": map[string]any{"groupName": change.Group, "ips": ips}})
	}
	if _, err := aliyun.Call[struct{}](ctx, c.c, product, req, codes); err != nil {
		return fmt.Errorf("change whitelist group %s of %s (%s): %w", cmp.Or(change.Group, DefaultGroup), id, change.Mode, err)
	}
	return nil
}

// SetWhitelistGroup makes a group of the private whitelist hold exactly ips.
// A new group is created, and no ips delete it; other groups stay as they are.
func (c *Client) SetWhitelistGroup(ctx context.Context, id, group string, ips []string, token string) error {
	return c.ChangeWhitelist(ctx, id, WhitelistChange{Cover, group, ips}, token)
}

// ChangeUnderWay is the state of an Action that has not finished.
const ChangeUnderWay = "ACTIVATING"

// Action is a change that an instance goes or went through.
type Action struct {
	ChangeID string
	Name     string
	State    string // ChangeUnderWay or FINISHED
	Start    time.Time
	// Nodes and Completed count the nodes that it restarts, zero if unknown.
	Nodes, Completed int
	Exception        string // what keeps it from getting on
	Percent          string // such as 40%, as the cloud puts it; "" if unknown
}

// ActionRecords lists an instance's latest changes, newest first;
// ListActionRecords.
func (c *Client) ActionRecords(ctx context.Context, id string) ([]Action, error) {
	req := sdk.CreateListActionRecordsRequest()
	req.InstanceId, req.Page, req.Size = id, requests.NewInteger(1), requests.NewInteger(20)
	type reply struct {
		Result []struct {
			Name      string          `json:"actionName"`
			State     string          `json:"stateType"`
			RequestID string          `json:"requestId"`
			Process   json.RawMessage `json:"process"` // a string or a number
			Start     int64           `json:"startTime"`
			Status    []struct {
				State     string `json:"stateType"`
				Nodes     int    `json:"nodeCount"`
				Completed int    `json:"completeNodeCount"`
				Exception string `json:"exception"`
			} `json:"statusInfo"`
		}
	}
	out, err := aliyun.Call[reply](ctx, c.c, product, req, codes)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", id, err)
	}
	var actions []Action
	for _, r := range out.Result {
		a := Action{ChangeID: r.RequestID, Name: r.Name, State: r.State, Start: time.UnixMilli(r.Start), Percent: percent(r.Process)}
		for _, s := range r.Status {
			a.Nodes, a.Completed = max(a.Nodes, s.Nodes), max(a.Completed, s.Completed)
			a.Exception = cmp.Or(s.Exception, a.Exception)
		}
		actions = append(actions, a)
	}
	return actions, nil
}

func percent(raw json.RawMessage) string {
	s := strings.Trim(string(raw), `"`)
	if s == "" || s == "null" {
		return ""
	}
	return strings.TrimSuffix(s, "%") + "%"
}

// body makes v the request's JSON body.
func body(req *requests.RoaRequest, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and maps of them always encode
	}
	req.SetContentType("application/json")
	req.SetContent(raw)
}
