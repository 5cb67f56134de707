package escluster

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/privatelink"
	"eslink/localtest/fakes/resource"
)

// decode reads a body that holds nothing else than what into has, in exactly these keys: encoding/json would take
// others that differ in case.
func decode(r *cloud.Request, into any, keys ...string) error {
	if r.Body == nil {
		return cloud.Errorf(400, "MissingParameter", "%s needs a body.", r.Action)
	}
	var have map[string]json.RawMessage
	if err := json.Unmarshal(r.Body, &have); err != nil {
		return invalid("body: %v", err)
	}
	for key := range have {
		if !slices.Contains(keys, key) {
			return invalid("body: unknown field %s", key)
		}
	}
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return invalid("body: %v", err)
	}
	return nil
}

func (f *Fake) updateInstanceSettings(r *cloud.Request) (any, error) {
	if err := r.Only("InstanceId", "force", "updateStrategy"); err != nil {
		return nil, err
	}
	i, err := f.writable(r)
	if err != nil {
		return nil, err
	}
	var body struct{ EsConfig map[string]string }
	if err := decode(r, &body, "esConfig"); err != nil {
		return nil, err
	}
	switch {
	case body.EsConfig == nil:
		return nil, cloud.Errorf(400, "MissingParameter", "esConfig is missing.")
	case !slices.Contains([]string{"", "normal"}, r.Get("updateStrategy")):
		return nil, cloud.Errorf(501, "NotImplemented", "The fake restarts nodes in place only, not %s.", r.Get("updateStrategy"))
	case maps.Equal(body.EsConfig, i.Config):
		return nil, cloud.Errorf(400, "MustChangeOneResource", "At least one resource must be changed.")
	}
	for _, k := range slices.Sorted(maps.Keys(body.EsConfig)) {
		if err := f.refuse(i.ID, k, body.EsConfig[k]); err != nil {
			return nil, err
		}
	}
	i.Config = body.EsConfig
	f.begin(i, r, f.restartTime(i), body.EsConfig)
	return map[string]any{"Result": i.describe()}, nil
}

func (f *Fake) restartTime(i *instance) time.Duration {
	if i.restart != 0 {
		return i.restart
	}
	return f.account.Between(5*time.Minute, 40*time.Minute)
}

// estimatedRestartTime is a guess, as the cloud's: two minutes per node.
func (f *Fake) estimatedRestartTime(r *cloud.Request) (any, error) {
	i, err := f.instance(r)
	if err != nil {
		return nil, err
	}
	if r.Body != nil {
		var body struct {
			RestartType  string
			Nodes        []string
			BlueGreenDep bool
		}
		if err := decode(r, &body, "restartType", "nodes", "blueGreenDep"); err != nil {
			return nil, err
		}
		if body.RestartType != "instance" || body.Nodes != nil || body.BlueGreenDep {
			return nil, cloud.Errorf(501, "NotImplemented", "The fake estimates in-place restarts of whole instances only.")
		}
	}
	return map[string]any{"Result": map[string]any{"unit": "second", "value": 120 * i.Nodes}}, nil
}

func group(groups []Group, name, kind string) Group {
	for _, g := range groups {
		if g.Name == name && g.Type == kind {
			return g
		}
	}
	return Group{IPs: []string{}}
}

// withGroup is groups with one of them replaced, added, or removed if it has no IPs.
func withGroup(groups []Group, g Group) []Group {
	groups = slices.Clone(groups)
	i := slices.IndexFunc(groups, func(x Group) bool { return x.Name == g.Name && x.Type == g.Type })
	switch {
	case i < 0:
		return append(groups, g)
	case len(g.IPs) == 0:
		return slices.Delete(groups, i, i+1)
	}
	groups[i] = g
	return groups
}

// prefix reads a whitelist entry: an IPv4 address or network.
func prefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		s += "/32"
	}
	return netip.ParsePrefix(s)
}

// within reports whether a network that begins with a private address ends with one: 192.168.0.0/15 does not.
func within(p netip.Prefix) bool {
	a := p.Masked().Addr()
	return p.Bits() == 0 || !a.IsPrivate() || p.Bits() >= map[byte]int{10: 8, 172: 12, 192: 16}[a.As4()[0]]
}

func checkIPs(ips []string) error {
	if len(ips) > 300 {
		return invalid("more than 300 entries")
	}
	for n, ip := range ips {
		p, err := prefix(ip)
		if err != nil || !p.Addr().Is4() || slices.Contains(ips[:n], ip) {
			return invalid("whitelist entry %q", ip)
		}
		if a := p.Masked().Addr(); !a.IsPrivate() && !a.IsLoopback() && ip != "0.0.0.0/0" || !within(p) {
			return invalid("whitelist entry %q is public", ip)
		}
	}
	return nil
}

// modify changes the private whitelist as both operations do: exactly one of a group and the default group's plain list.
func (f *Fake) modify(r *cloud.Request, mode string, g *Group, list []string) (*instance, error) {
	i, err := f.writable(r)
	switch {
	case err != nil:
		return nil, err
	case (g == nil) == (list == nil):
		return nil, invalid("give either a group or a list")
	case mode != "" && g == nil:
		return nil, invalid("modifyMode is for groups; a list replaces the group default")
	case !slices.Contains([]string{"", "Cover", "Append", "Delete"}, mode):
		return nil, invalid("modifyMode %s", mode)
	}
	if g == nil {
		g = &Group{Name: "default", IPs: list}
	}
	if g.Type == "" {
		g.Type = "PRIVATE_ES"
	}
	switch {
	case g.Name == "" || g.IPs == nil:
		return nil, cloud.Errorf(400, "MissingParameter", "whiteIpGroup needs groupName and ips.")
	case g.Type != "PRIVATE_ES":
		return nil, cloud.Errorf(501, "NotImplemented", "The fake changes PRIVATE_ES only, not %s.", g.Type)
	}
	if err := checkIPs(g.IPs); err != nil {
		return nil, err
	}
	ips, err := changed(group(i.groups, g.Name, g.Type), g, mode)
	if err != nil {
		return nil, err
	}
	if err := checkIPs(ips); err != nil {
		return nil, err
	}
	i.groups = withGroup(i.groups, Group{g.Name, ips, g.Type})
	f.begin(i, r, f.account.Between(5*time.Second, 2*time.Minute), nil)
	return i, nil
}

// changed are the addresses of a group after a change; old is empty if there is none.
func changed(old Group, g *Group, mode string) ([]string, error) {
	exists, cover := old.Name != "", mode == "" || mode == "Cover"
	switch {
	case !exists && (!cover || len(g.IPs) == 0):
		return nil, cloud.Errorf(404, "NotFound", "The whitelist group %s does not exist.", g.Name)
	case cover && g.Name == "default" && len(g.IPs) == 0:
		return nil, invalid("the group default cannot be deleted")
	case cover:
		return g.IPs, nil
	case mode == "Append":
		ips := slices.Clone(old.IPs)
		for _, ip := range g.IPs {
			if !slices.Contains(ips, ip) {
				ips = append(ips, ip)
			}
		}
		return ips, nil
	}
	ips := slices.DeleteFunc(slices.Clone(old.IPs), func(ip string) bool { return slices.Contains(g.IPs, ip) })
	if len(ips) == 0 {
		return nil, invalid("at least one IP address of group %s has to stay", g.Name)
	}
	return ips, nil
}

func (f *Fake) modifyWhiteIps(r *cloud.Request) (any, error) {
	var body struct {
		ModifyMode, NodeType, NetworkType string
		WhiteIpGroup                      *Group
		WhiteIpList                       []string
	}
	if err := decode(r, &body, "modifyMode", "nodeType", "networkType", "whiteIpGroup", "whiteIpList"); err != nil {
		return nil, err
	}
	if body.WhiteIpList != nil && (body.NodeType != "WORKER" || body.NetworkType != "PRIVATE") {
		return nil, cloud.Errorf(501, "NotImplemented", "The fake changes the private whitelist of Elasticsearch only.")
	}
	_, err := f.modify(r, body.ModifyMode, body.WhiteIpGroup, body.WhiteIpList)
	return map[string]any{"Result": true}, err
}

func (f *Fake) updatePrivateNetworkWhiteIps(r *cloud.Request) (any, error) {
	var body struct {
		PrivateNetworkIpWhiteList []string
		WhiteIpGroup              *Group
	}
	if err := decode(r, &body, "privateNetworkIpWhiteList", "whiteIpGroup"); err != nil {
		return nil, err
	}
	i, err := f.modify(r, r.Get("modifyMode"), body.WhiteIpGroup, body.PrivateNetworkIpWhiteList)
	if err != nil {
		return nil, err
	}
	return map[string]any{"Result": i.describe()}, nil
}

func (f *Fake) createVpcEndpoint(r *cloud.Request) (any, error) {
	if err := r.Only("InstanceId"); err != nil {
		return nil, err
	}
	i, err := f.writable(r)
	if err != nil {
		return nil, err
	}
	var body struct{ ServiceID, ZoneID string }
	if err := decode(r, &body, "serviceId", "zoneId"); err != nil {
		return nil, err
	}
	switch {
	case body.ServiceID == "" || body.ZoneID == "":
		return nil, cloud.Errorf(400, "MissingParameter", "serviceId and zoneId are needed.")
	case i.OldNetwork:
		return nil, cloud.Errorf(400, "InvalidInstanceType", "The network architecture of the instance does not support endpoints.")
	case !slices.Contains(i.Zones, body.ZoneID):
		return nil, invalid("instance %s has no zone %s", i.ID, body.ZoneID)
	}
	e, err := f.links.CreateEndpoint(body.ServiceID, body.ZoneID, f.owner, i.serviceVPC)
	if err != nil {
		return nil, err
	}
	own := endpoint{i.ID, resource.Born(f.account)}
	f.endpoints[e.ID] = own
	f.account.Await(max(0, own.Shown().Sub(e.Ready))) // lists alone tell of it
	return map[string]any{"Result": map[string]any{
		"endpointId": e.ID, "endpointDomain": e.Domain, "endpointName": e.ID, "serviceId": e.ServiceID,
	}}, nil
}

func (f *Fake) listVpcEndpoints(r *cloud.Request) (any, error) {
	i, err := f.instance(r)
	if err != nil {
		return nil, err
	}
	services, found := f.links.Services(), []any{}
	for _, e := range f.links.Endpoints() {
		if own := f.endpoints[e.ID]; own.instanceID != i.ID || !own.Listed(f.account.Now()) {
			continue
		}
		name := "com.aliyuncs.privatelink." + f.account.Region + "." + e.ServiceID
		if !slices.ContainsFunc(services, func(s privatelink.Service) bool { return s.ID == e.ServiceID }) {
			e.Connection = "ServiceDeleted"
		}
		found = append(found, map[string]any{
			"endpointId": e.ID, "endpointName": e.ID, "endpointDomain": e.Domain, "endpointStatus": e.Status, "endpointBusinessStatus": "Normal",
			"connectionStatus": e.Connection, "serviceId": e.ServiceID, "serviceName": name, "createTime": e.Created.UTC().Format(time.RFC3339),
			"zoneId": e.ZoneID,
		})
	}
	items, err := page(r, found, 20)
	return map[string]any{"Result": items}, err
}

func (f *Fake) deleteVpcEndpoint(r *cloud.Request) (any, error) {
	i, err := f.writable(r)
	if err != nil {
		return nil, err
	}
	if f.endpoints[r.Get("EndpointId")].instanceID != i.ID {
		return nil, cloud.Errorf(400, "EndpointNotFound", "The specified Endpoint does not exist.")
	}
	return map[string]any{"Result": true}, f.links.DeleteEndpoint(r.Get("EndpointId"))
}
