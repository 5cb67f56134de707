package slb

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/resource"
)

func (f *Fake) group(id string) (*group, error) {
	if one, _, ok := f.groups.Find(f.account.Now(), func(g *group) bool { return g.ID == id }); ok {
		return one, nil
	}
	return nil, gone("VServerGroupId")
}

// members reads BackendServers, a string of JSON whose values are strings, and holds each against its host.
func (f *Fake) members(r *cloud.Request, vpcID string) ([]Server, error) {
	if r.Get("BackendServers") == "" {
		return nil, nil
	}
	var list []map[string]string
	if err := json.Unmarshal([]byte(r.Get("BackendServers")), &list); err != nil || len(list) > 20 {
		return nil, invalid("BackendServers")
	}
	var servers []Server
	for _, m := range list {
		for key := range m {
			if !slices.Contains([]string{"ServerId", "Port", "Weight", "Type", "Description"}, key) {
				return nil, invalid("BackendServers")
			}
		}
		s := Server{ID: m["ServerId"], Weight: 100}
		var err error
		if s.Port, err = strconv.Atoi(m["Port"]); err != nil || s.Port < 1 || s.Port > 65535 {
			return nil, invalid("BackendServers")
		}
		if w := m["Weight"]; w != "" {
			if s.Weight, err = strconv.Atoi(w); err != nil || s.Weight < 0 || s.Weight > 100 {
				return nil, invalid("BackendServers")
			}
		}
		if m["Type"] != "" && m["Type"] != "ecs" {
			return nil, cloud.Errorf(501, "NotImplemented", "The fake puts servers of type ecs behind balancers only.")
		}
		switch at, _, running, ok := f.hosts.Server(s.ID); {
		case !ok || at != vpcID:
			return nil, cloud.Errorf(400, "InvalidBackendServers", "The backend server %s does not exist in the VPC of the load balancer.", s.ID)
		case !running && r.Action != "RemoveVServerGroupBackendServers":
			return nil, cloud.Errorf(400, "BackendServer.NotRunning", "The backend server %s is not running.", s.ID)
		}
		servers = append(servers, s)
	}
	return servers, nil
}

func (f *Fake) createGroup(r *cloud.Request) (any, error) {
	if err := r.Only("LoadBalancerId", "VServerGroupName", "BackendServers", "Tag"); err != nil {
		return nil, err
	}
	b, err := f.changing(r.Get("LoadBalancerId"))
	if err != nil {
		return nil, err
	}
	servers, err := f.members(r, b.VPCID)
	if err != nil {
		return nil, err
	}
	if n := r.Get("VServerGroupName"); n != "" && !validName.MatchString(n) {
		return nil, invalid("VServerGroupName")
	}
	g := &group{Lag: resource.Born(f.account), since: map[Server]time.Time{}, Group: Group{
		ID: f.account.NewID("rsp-bp1", 17), Name: r.Get("VServerGroupName"), LoadBalancerID: b.ID, Tags: resource.Tags(r)}}
	f.put(g, servers)
	f.groups = append(f.groups, g)
	f.busy(b, "VServerGroupProcessing", f.account.Between(0, 5*time.Second))
	return map[string]any{"VServerGroupId": g.ID, "BackendServers": describeServers(g)}, nil
}

// put adds servers, those that the group has already with their new weight.
func (f *Fake) put(g *group, servers []Server) {
	for _, s := range servers {
		i := slices.IndexFunc(g.Servers, func(x Server) bool { return x.ID == s.ID && x.Port == s.Port })
		if i >= 0 {
			g.Servers[i].Weight = s.Weight
			continue
		}
		g.Servers = append(g.Servers, s)
		g.since[Server{ID: s.ID, Port: s.Port}] = f.account.Now()
	}
}

func describeServers(g *group) any {
	list := []any{}
	for _, s := range g.Servers {
		list = append(list, map[string]any{"ServerId": s.ID, "Port": s.Port, "Weight": s.Weight, "Type": "ecs"})
	}
	return map[string]any{"BackendServer": list}
}

func (f *Fake) describeGroup(r *cloud.Request) (any, error) {
	g, err := f.group(r.Get("VServerGroupId"))
	if err != nil {
		return nil, err
	}
	return map[string]any{"VServerGroupId": g.ID, "VServerGroupName": g.Name, "LoadBalancerId": g.LoadBalancerID, "BackendServers": describeServers(g),
		"Tags": map[string]any{"Tag": resource.TagList(g.Tags, "TagKey", "TagValue")}}, nil
}

func (f *Fake) describeGroups(r *cloud.Request) (any, error) {
	if err := r.Only("LoadBalancerId", "Tag"); err != nil {
		return nil, err
	}
	if _, err := f.balancer(r.Get("LoadBalancerId")); err != nil {
		return nil, err
	}
	found := []any{}
	for _, g := range f.groups {
		if g.LoadBalancerID == r.Get("LoadBalancerId") && g.Listed(f.account.Now()) && resource.HasTags(g.Tags, resource.Tags(r)) {
			found = append(found, map[string]any{"VServerGroupId": g.ID, "VServerGroupName": g.Name, "ServerCount": len(g.Servers),
				"Tags": map[string]any{"Tag": resource.TagList(g.Tags, "TagKey", "TagValue")}})
		}
	}
	return map[string]any{"VServerGroups": map[string]any{"VServerGroup": found}}, nil
}

// changes finds the group of a request that changes its servers, and the servers.
func (f *Fake) changes(r *cloud.Request) (*balancer, *group, []Server, error) {
	g, err := f.group(r.Get("VServerGroupId"))
	if err != nil {
		return nil, nil, nil, err
	}
	b, err := f.changing(g.LoadBalancerID)
	if err != nil {
		return nil, nil, nil, err
	}
	servers, err := f.members(r, b.VPCID)
	return b, g, servers, err
}

func (f *Fake) addServers(r *cloud.Request) (any, error) {
	b, g, servers, err := f.changes(r)
	if err != nil {
		return nil, err
	}
	f.put(g, servers)
	f.busy(b, "BackendServer.configuring", f.account.Between(0, 5*time.Second))
	return map[string]any{"VServerGroupId": g.ID, "BackendServers": describeServers(g)}, nil
}

func (f *Fake) removeServers(r *cloud.Request) (any, error) {
	b, g, servers, err := f.changes(r)
	if err != nil {
		return nil, err
	}
	g.Servers = slices.DeleteFunc(g.Servers, func(x Server) bool {
		return slices.ContainsFunc(servers, func(s Server) bool { return s.ID == x.ID && s.Port == x.Port })
	})
	f.busy(b, "BackendServer.configuring", f.account.Between(0, 5*time.Second))
	return map[string]any{"VServerGroupId": g.ID, "BackendServers": describeServers(g)}, nil
}

func (f *Fake) deleteGroup(r *cloud.Request) (any, error) {
	g, err := f.group(r.Get("VServerGroupId"))
	if err != nil {
		return nil, err
	}
	b, err := f.changing(g.LoadBalancerID)
	if err != nil {
		return nil, err
	}
	if f.listeners.Has(f.account.Now(), func(l *listener) bool { return l.GroupID == g.ID }) {
		return nil, cloud.Errorf(400, "RspoolVipExist", "There are vips associating with this vServer group.")
	}
	g.gone = true
	g.Dies(f.account, f.account.Now())
	f.busy(b, "VServerGroupProcessing", f.account.Between(0, 5*time.Second))
	return map[string]any{}, nil
}

func (f *Fake) find(loadBalancerID string, port int) *listener {
	l, _, _ := f.listeners.Find(f.account.Now(), func(l *listener) bool { return l.LoadBalancerID == loadBalancerID && l.Port == port })
	return l
}

// listener finds the listener that a request names by balancer and port.
func (f *Fake) listener(r *cloud.Request) (*listener, error) {
	if _, err := f.balancer(r.Get("LoadBalancerId")); err != nil {
		return nil, err
	}
	port, err := number(r, "ListenerPort", 0, 1, 65535)
	if err != nil {
		return nil, err
	}
	if l := f.find(r.Get("LoadBalancerId"), port); l != nil && resource.Is(r, "ListenerProtocol", "tcp") {
		return l, nil
	}
	return nil, gone("resource")
}

func (f *Fake) createListener(r *cloud.Request) (any, error) {
	if err := r.Only("LoadBalancerId", "ListenerPort", "Bandwidth", "VServerGroupId", "Scheduler", "HealthCheckSwitch", "HealthCheckType", "HealthCheckConnectPort",
		"HealthCheckConnectTimeout", "HealthyThreshold", "UnhealthyThreshold", "healthCheckInterval", "EstablishedTimeout", "ProxyProtocolV2Enabled", "Description"); err != nil {
		return nil, err
	}
	b, err := f.changing(r.Get("LoadBalancerId"))
	if err != nil {
		return nil, err
	}
	l := &listener{Listener: Listener{LoadBalancerID: b.ID, GroupID: r.Get("VServerGroupId"), HealthCheck: r.Get("HealthCheckSwitch") != "off"}}
	for _, n := range []struct {
		name             string
		into             *int
		standard, lo, hi int
	}{
		{"ListenerPort", &l.Port, 0, 1, 65535}, {"HealthCheckConnectPort", &l.check.port, 0, 1, 65535}, {"HealthCheckConnectTimeout", &l.check.timeout, 5, 1, 300},
		{"healthCheckInterval", &l.check.interval, 2, 1, 50}, {"HealthyThreshold", &l.check.healthy, 3, 2, 10}, {"UnhealthyThreshold", &l.check.unhealthy, 3, 2, 10},
		{"EstablishedTimeout", new(int), 900, 10, 900}, {"Bandwidth", new(int), 0, -1, 5120},
	} {
		if *n.into, err = number(r, n.name, n.standard, n.lo, n.hi); err != nil {
			return nil, err
		}
	}
	if l.ProxyProtocol, err = resource.Bool(r, "ProxyProtocolV2Enabled", false); err != nil {
		return nil, err
	}
	g, err := f.group(l.GroupID)
	switch {
	case err != nil:
		return nil, err
	case g.LoadBalancerID != b.ID:
		return nil, gone("VServerGroupId")
	case r.Get("Bandwidth") == "0":
		return nil, invalid("Bandwidth")
	case !slices.Contains([]string{"", "on", "off"}, r.Get("HealthCheckSwitch")):
		return nil, invalid("HealthCheckSwitch")
	case !resource.Is(r, "HealthCheckType", "tcp"):
		return nil, invalid("HealthCheckType")
	case !slices.Contains([]string{"", "wrr", "wlc", "rr"}, r.Get("Scheduler")):
		return nil, invalid("Scheduler")
	case f.find(b.ID, l.Port) != nil:
		return nil, cloud.Errorf(400, "ListenerAlreadyExists", "There is already a listener bound to the port on the specified load balancer.")
	}
	l.Machine = listenerStates.Start(f.account.Now(), "stopped", 0, "")
	f.listeners = append(f.listeners, l)
	f.busy(b, "ServiceIsConfiguring", f.account.Between(0, 5*time.Second))
	return map[string]any{}, nil
}

func (f *Fake) describeListener(r *cloud.Request) (any, error) {
	l, err := f.listener(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"LoadBalancerId": l.LoadBalancerID, "ListenerPort": l.Port, "VServerGroupId": l.GroupID, "Status": l.State(f.account.Now()), "Bandwidth": -1, "Scheduler": "wrr",
		"HealthCheck": map[bool]string{true: "on", false: "off"}[l.HealthCheck], "HealthCheckType": "tcp", "HealthCheckConnectPort": l.check.port,
		"HealthCheckConnectTimeout": l.check.timeout, "HealthCheckInterval": l.check.interval, "HealthyThreshold": l.check.healthy, "UnhealthyThreshold": l.check.unhealthy,
		"ProxyProtocolV2Enabled": l.ProxyProtocol,
	}, nil
}

func (f *Fake) startListener(r *cloud.Request) (any, error) {
	return f.changeListener(r, "starting", "running", 15*time.Second, "stopped")
}

func (f *Fake) stopListener(r *cloud.Request) (any, error) {
	return f.changeListener(r, "stopping", "stopped", 5*time.Second, "running")
}

func (f *Fake) deleteListener(r *cloud.Request) (any, error) {
	return f.changeListener(r, resource.Gone, "", 5*time.Second, "stopped", "running")
}

// changeListener is every write on an existing listener: allowed in some of its states, and it takes most at the longest.
func (f *Fake) changeListener(r *cloud.Request, via, then string, most time.Duration, from ...string) (any, error) {
	l, err := f.listener(r)
	if err != nil {
		return nil, err
	}
	b, err := f.changing(l.LoadBalancerID)
	if err != nil {
		return nil, err
	}
	if state := l.State(f.account.Now()); !slices.Contains(from, state) {
		code := "ServiceIsConfiguring"
		if state == "stopping" {
			code = "ServiceIsStopping"
		}
		return nil, cloud.Errorf(400, code, "The listener is %s.", state)
	}
	d := f.account.Between(time.Second, most)
	l.Change(f.account.Now(), via, d, then)
	if then == "running" {
		f.account.Await(l.check.first()) // until its backends are healthy
	}
	f.busy(b, "OperationBusy", d)
	return map[string]any{}, nil
}

// describeHealth asks the probe, that is the data plane, at the moment of the call. A server is unavailable while its
// listener does not run, and until the first checks had time to decide.
func (f *Fake) describeHealth(r *cloud.Request) (any, error) {
	type backend struct {
		l       Listener
		s       Server
		settled bool
	}
	f.mu.Lock()
	b, err := f.balancer(r.Get("LoadBalancerId"))
	if err == nil && r.Get("ListenerPort") != "" {
		_, err = f.listener(r)
	}
	if err != nil {
		f.mu.Unlock()
		return nil, err
	}
	now, lb := f.account.Now(), b.now(f)
	var all []backend
	for _, l := range f.listeners {
		s := l.Listener
		if s.Status = l.State(now); l.LoadBalancerID != b.ID || s.Status == resource.Gone || !resource.Is(r, "ListenerPort", strconv.Itoa(l.Port)) {
			continue
		}
		g, err := f.group(l.GroupID)
		if err != nil {
			continue
		}
		first := l.check.first()
		for _, x := range g.Servers {
			settled := s.Status == "running" && l.HealthCheck && !now.Before(l.Since(now).Add(first)) && !now.Before(g.since[Server{ID: x.ID, Port: x.Port}].Add(first))
			all = append(all, backend{s, x, settled})
		}
	}
	f.mu.Unlock()

	list := []any{}
	for _, x := range all {
		status := "unavailable"
		if x.settled {
			status = map[bool]string{true: "normal", false: "abnormal"}[f.probe(lb, x.l, x.s)]
		}
		_, ip, _, _ := f.hosts.Server(x.s.ID)
		list = append(list, map[string]any{"ServerId": x.s.ID, "ServerIp": ip, "Port": x.s.Port, "ListenerPort": x.l.Port, "Protocol": "tcp", "Type": "ecs",
			"ServerHealthStatus": status})
	}
	return map[string]any{"BackendServers": map[string]any{"BackendServer": list}}, nil
}
