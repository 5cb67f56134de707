package nlb

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/resource"
)

type healthCheck struct {
	kind                                        string
	port, timeout, interval, healthy, unhealthy int
}

func (f *Fake) createServerGroup(r *cloud.Request) (any, error) {
	if err := r.Only("ServerGroupName", "VpcId", "ServerGroupType", "Protocol", "AddressIPVersion", "Scheduler", "PreserveClientIpEnabled", "HealthCheckConfig", "Tag", "DryRun"); err != nil {
		return nil, err
	}
	for name := range r.Params {
		if key, ok := strings.CutPrefix(name, "HealthCheckConfig."); ok && !slices.Contains([]string{"HealthCheckEnabled", "HealthCheckType",
			"HealthCheckConnectPort", "HealthCheckConnectTimeout", "HealthCheckInterval", "HealthyThreshold", "UnhealthyThreshold"}, key) {
			return nil, illegal(name)
		}
	}
	g := &group{ServerGroup: ServerGroup{Name: r.Get("ServerGroupName"), VPCID: r.Get("VpcId"), Type: r.Get("ServerGroupType"), Tags: resource.Tags(r)}}
	if g.Type == "" {
		g.Type = "Instance"
	}
	g.check.kind = r.Get("HealthCheckConfig.HealthCheckType")
	if g.check.kind == "" {
		g.check.kind = "TCP"
	}
	switch {
	case !validName.MatchString(g.Name):
		return nil, illegal("serverGroupName")
	case g.Type != "Ip" && g.Type != "Instance":
		return nil, illegal("ServerGroupType")
	case !resource.Is(r, "Protocol", "TCP"):
		return nil, illegal("Protocol")
	case r.Get("AddressIPVersion") != "" && !strings.EqualFold(r.Get("AddressIPVersion"), "ipv4"):
		return nil, illegal("AddressIPVersion")
	case r.Get("Scheduler") != "" && !slices.Contains([]string{"Wrr", "Wlc", "Rr", "Sch", "Tch"}, r.Get("Scheduler")):
		return nil, illegal("Scheduler")
	case g.check.kind != "TCP":
		return nil, illegal("HealthCheckConfig.HealthCheckType")
	}
	if err := f.checkVPC(g.VPCID); err != nil {
		return nil, err
	}
	var err error
	if g.PreserveClientIP, err = resource.Bool(r, "PreserveClientIpEnabled", true); err != nil {
		return nil, err
	}
	if g.HealthCheck, err = resource.Bool(r, "HealthCheckConfig.HealthCheckEnabled", true); err != nil {
		return nil, err
	}
	for _, n := range []struct {
		name             string
		into             *int
		standard, lo, hi int
	}{
		{"HealthCheckConnectPort", &g.check.port, 0, 0, 65535}, {"HealthCheckConnectTimeout", &g.check.timeout, 5, 1, 300},
		{"HealthCheckInterval", &g.check.interval, 10, 5, 5000}, {"HealthyThreshold", &g.check.healthy, 2, 2, 10},
		{"UnhealthyThreshold", &g.check.unhealthy, 2, 2, 10},
	} {
		if *n.into, err = number(r, "HealthCheckConfig."+n.name, n.standard, n.lo, n.hi); err != nil {
			return nil, err
		}
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	d := f.account.Between(time.Second, 10*time.Second)
	g.ID, g.Lag = f.account.NewID("sgp-", 18), resource.Born(f.account)
	g.Machine = groupStates.Start(f.account.Now(), "Creating", d, "Available")
	f.groups = append(f.groups, g)
	return map[string]any{"ServerGroupId": g.ID, "JobId": f.job(d)}, nil
}

func (f *Fake) listServerGroups(r *cloud.Request) (any, error) {
	if err := r.Only("ServerGroupIds", "ServerGroupNames", "VpcId", "ServerGroupType", "Tag", "MaxResults", "NextToken"); err != nil {
		return nil, err
	}
	now, found := f.account.Now(), []any{}
	// There is no other way to read a group by its ID, so a list by ID does not lag.
	byID := len(resource.Values(r, "ServerGroupIds")) > 0
	for _, g := range f.groups {
		s := g.now(f)
		if s.Status == resource.Gone && byID || !byID && !g.Listed(now) || !resource.Among(r, "ServerGroupIds", s.ID) || !resource.Among(r, "ServerGroupNames", s.Name) ||
			!resource.Is(r, "VpcId", s.VPCID) || !resource.Is(r, "ServerGroupType", s.Type) || !resource.HasTags(s.Tags, resource.Tags(r)) {
			continue
		}
		if s.Status == resource.Gone {
			s.Status = "Deleting"
		}
		related := []string{}
		for _, l := range f.listeners {
			if l.ServerGroupID == s.ID && l.State(now) != resource.Gone && !slices.Contains(related, l.LoadBalancerID) {
				related = append(related, l.LoadBalancerID)
			}
		}
		found = append(found, map[string]any{
			"RegionId": f.account.Region, "ServerGroupId": s.ID, "ServerGroupName": s.Name, "ServerGroupType": s.Type,
			"ServerGroupStatus": s.Status, "VpcId": s.VPCID, "Protocol": "TCP", "Scheduler": "Wrr", "AddressIPVersion": "ipv4",
			"PreserveClientIpEnabled": s.PreserveClientIP, "ServerCount": len(s.Servers), "RelatedLoadBalancerIds": related, "Tags": resource.TagList(s.Tags, "Key", "Value"),
			"HealthCheck": map[string]any{
				"HealthCheckEnabled": s.HealthCheck, "HealthCheckType": g.check.kind, "HealthCheckConnectPort": g.check.port,
				"HealthCheckConnectTimeout": g.check.timeout, "HealthCheckInterval": g.check.interval,
				"HealthyThreshold": g.check.healthy, "UnhealthyThreshold": g.check.unhealthy,
			},
		})
	}
	return listing(r, "ServerGroups", found)
}

func (f *Fake) deleteServerGroup(r *cloud.Request) (any, error) {
	g, state, err := f.group(r.Get("ServerGroupId"))
	if err != nil {
		return nil, err
	}
	for _, l := range f.listeners {
		if l.ServerGroupID == g.ID && l.State(f.account.Now()) != resource.Gone {
			return nil, cloud.Errorf(400, "ResourceInUse.ServerGroup", "The specified resource of ServerGroup is in use.")
		}
	}
	if state != "Available" {
		return nil, busy("serverGroup", g.ID)
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	d := f.account.Between(time.Second, 15*time.Second)
	g.Change(f.account.Now(), "Deleting", d, resource.Gone)
	g.Dies(f.account, f.account.Now().Add(d))
	return map[string]any{"JobId": f.job(d)}, nil
}

// named finds the group of a request that changes its servers, and the servers as the request names them.
func (f *Fake) named(r *cloud.Request, keys ...string) (*group, []Server, error) {
	g, state, err := f.group(r.Get("ServerGroupId"))
	if err != nil {
		return nil, nil, err
	}
	var servers []Server
	for _, item := range r.List("Servers") {
		for key := range item {
			if !slices.Contains(keys, key) {
				return nil, nil, illegal("Servers." + key)
			}
		}
		s := Server{ID: item["ServerId"], IP: item["ServerIp"], Weight: 100}
		if g.Type != "Ip" {
			return nil, nil, cloud.Errorf(400, "IllegalParam", "%s: the fake has no ECS instances to put into a group of type %s.", r.Action, g.Type)
		}
		a, err := netip.ParseAddr(s.ID)
		if item["ServerType"] != "Ip" || err != nil || !a.Is4() || !a.IsPrivate() || s.IP != "" && s.IP != s.ID {
			return nil, nil, illegal("Servers")
		}
		s.IP = s.ID
		for name, into := range map[string]*int{"Port": &s.Port, "Weight": &s.Weight} {
			if v := item[name]; v != "" {
				if *into, err = strconv.Atoi(v); err != nil || *into < 0 || *into > 65535 {
					return nil, nil, illegal("Servers." + name)
				}
			}
		}
		if s.Port == 0 || s.Weight > 100 {
			return nil, nil, illegal("Servers")
		}
		servers = append(servers, s)
	}
	switch {
	case len(servers) == 0 || len(servers) > 200:
		return nil, nil, illegal("Servers")
	case state != "Available":
		return nil, nil, busy("serverGroup", g.ID)
	}
	return g, servers, nil
}

func (g *group) find(s Server) *server {
	for _, x := range g.servers {
		if x.ID == s.ID && x.Port == s.Port {
			return x
		}
	}
	return nil
}

func (f *Fake) addServers(r *cloud.Request) (any, error) {
	g, servers, err := f.named(r, "ServerType", "ServerId", "ServerIp", "Port", "Weight", "Description")
	if err != nil {
		return nil, err
	}
	g.now(f) // forgets removed servers
	for i, s := range servers {
		if g.find(s) != nil || slices.Contains(servers[:i], s) {
			return nil, cloud.Errorf(400, "ResourceAlreadyAssociated.BackendServer", "The specified resource of %s:%d is already associated.", s.IP, s.Port)
		}
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	d := f.account.Between(2*time.Second, 15*time.Second)
	for i, s := range servers {
		g.servers = append(g.servers, &server{
			Server: s, description: r.List("Servers")[i]["Description"], Machine: serverStates.Start(f.account.Now(), "Adding", d, "Available"),
		})
	}
	return f.configure(g, d), nil
}

func (f *Fake) removeServers(r *cloud.Request) (any, error) {
	g, servers, err := f.named(r, "ServerType", "ServerId", "ServerIp", "Port")
	if err != nil {
		return nil, err
	}
	g.now(f)
	for _, s := range servers {
		if g.find(s) == nil {
			return nil, cloud.Errorf(404, "ResourceNotFound.BackendServer", "The specified resource of BackendServer is not found.")
		}
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	d := f.account.Between(2*time.Second, 15*time.Second)
	for _, s := range servers {
		g.find(s).Change(f.account.Now(), "Removing", d, resource.Gone)
	}
	return f.configure(g, d), nil
}

func (f *Fake) configure(g *group, d time.Duration) any {
	g.Change(f.account.Now(), "Configuring", d, "Available")
	return map[string]any{"ServerGroupId": g.ID, "JobId": f.job(d)}
}

func (f *Fake) listServers(r *cloud.Request) (any, error) {
	found := []any{}
	for _, g := range f.groups {
		if !resource.Is(r, "ServerGroupId", g.ID) || g.now(f).Status == resource.Gone {
			continue
		}
		for _, s := range g.servers {
			if resource.Among(r, "ServerIds", s.ID) && resource.Among(r, "ServerIps", s.IP) {
				found = append(found, map[string]any{
					"ServerGroupId": g.ID, "ServerId": s.ID, "ServerIp": s.IP, "ServerType": g.Type, "Port": s.Port, "Weight": s.Weight,
					"Description": s.description, "Status": s.State(f.account.Now()),
				})
			}
		}
	}
	return listing(r, "Servers", found)
}
