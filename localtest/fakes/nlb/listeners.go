package nlb

import (
	"fmt"
	"slices"
	"time"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/resource"
)

func (f *Fake) createListener(r *cloud.Request) (any, error) {
	if err := r.Only("LoadBalancerId", "ServerGroupId", "ListenerProtocol", "ListenerPort", "ListenerDescription", "IdleTimeout", "ProxyProtocolEnabled", "CertificateIds", "SecurityPolicyId", "DryRun"); err != nil {
		return nil, err
	}
	b, state, err := f.balancer(r.Get("LoadBalancerId"))
	if err != nil {
		return nil, err
	}
	l := &listener{
		description: r.Get("ListenerDescription"),
		Listener:    Listener{LoadBalancerID: b.ID, ServerGroupID: r.Get("ServerGroupId"), Protocol: r.Get("ListenerProtocol")},
	}
	g, groupState, err := f.group(l.ServerGroupID)
	if err != nil {
		return nil, err
	}
	if l.Port, err = number(r, "ListenerPort", 0, 1, 65535); err != nil {
		return nil, err
	}
	if l.idle, err = number(r, "IdleTimeout", 900, 10, 900); err != nil {
		return nil, err
	}
	if l.ProxyProtocol, err = resource.Bool(r, "ProxyProtocolEnabled", false); err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains([]string{"TCP", "UDP", "TCPSSL"}, l.Protocol):
		return nil, illegal("ListenerProtocol")
	case l.Protocol == "TCPSSL" && resource.Values(r, "CertificateIds") == nil:
		return nil, cloud.Errorf(400, "MissingParam.CertificateIds", "The parameter of CertificateIds is missing.")
	case g.VPCID != b.VPCID:
		return nil, cloud.Errorf(400, "Mismatch.VpcId", "The VpcId is mismatched for %s and %s.", b.ID, g.ID)
	case f.listeners.Has(f.account.Now(), func(x *listener) bool { return x.LoadBalancerID == b.ID && x.Port == l.Port }):
		return nil, cloud.Errorf(400, "ResourceAlreadyExist.Listener", "The specified resource of listener %d already exists.", l.Port)
	case state == "Configuring":
		return nil, configuring()
	case state != "Active":
		return nil, busy("loadbalancer", b.ID)
	case groupState != "Available":
		return nil, busy("serverGroup", g.ID)
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	d := f.account.Between(2*time.Second, 20*time.Second)
	l.ID, l.Lag = fmt.Sprintf("%s@%d", f.account.NewID("lsn-", 18), l.Port), resource.Born(f.account)
	l.Machine = listenerStates.Start(f.account.Now(), "Provisioning", d, "Running")
	b.Change(f.account.Now(), "Configuring", d, "Active")
	f.account.Await(time.Duration(g.check.healthy*g.check.interval) * time.Second) // until its backends are healthy
	f.listeners = append(f.listeners, l)
	return map[string]any{"ListenerId": l.ID, "JobId": f.job(d)}, nil
}

func (f *Fake) describeListener(l *listener) map[string]any {
	s := l.now(f)
	return map[string]any{
		"RegionId": f.account.Region, "ListenerId": s.ID, "LoadBalancerId": s.LoadBalancerID, "ServerGroupId": s.ServerGroupID,
		"ListenerProtocol": s.Protocol, "ListenerPort": s.Port, "ListenerStatus": s.Status, "ListenerDescription": l.description,
		"ProxyProtocolEnabled": s.ProxyProtocol, "IdleTimeout": l.idle, "SecSensorEnabled": false,
	}
}

func (f *Fake) getListenerAttribute(r *cloud.Request) (any, error) {
	l, _, err := f.listener(r.Get("ListenerId"))
	if err != nil {
		return nil, err
	}
	return f.describeListener(l), nil
}

func (f *Fake) listListeners(r *cloud.Request) (any, error) {
	if err := r.Only("ListenerIds", "LoadBalancerIds", "ListenerProtocol", "MaxResults", "NextToken"); err != nil {
		return nil, err
	}
	found := []any{}
	for _, l := range f.listeners {
		if l.Listed(f.account.Now()) && resource.Among(r, "ListenerIds", l.ID) && resource.Among(r, "LoadBalancerIds", l.LoadBalancerID) && resource.Is(r, "ListenerProtocol", l.Protocol) {
			d := f.describeListener(l)
			if d["ListenerStatus"] == resource.Gone {
				d["ListenerStatus"] = "Deleted"
			}
			found = append(found, d)
		}
	}
	return listing(r, "Listeners", found)
}

func (f *Fake) startListener(r *cloud.Request) (any, error) {
	return f.changeListener(r, "Starting", "Running", "Stopped")
}

func (f *Fake) stopListener(r *cloud.Request) (any, error) {
	return f.changeListener(r, "Stopping", "Stopped", "Running")
}

func (f *Fake) deleteListener(r *cloud.Request) (any, error) {
	return f.changeListener(r, "Deleting", resource.Gone, "Running", "Stopped")
}

// changeListener is every write on an existing listener: allowed in some of its states, and never while its balancer
// is Configuring.
func (f *Fake) changeListener(r *cloud.Request, via, then string, from ...string) (any, error) {
	l, state, err := f.listener(r.Get("ListenerId"))
	if err != nil {
		return nil, err
	}
	b, balancerState, err := f.balancer(l.LoadBalancerID)
	if err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains(from, state):
		return nil, busy("listener", l.ID)
	case balancerState != "Active":
		return nil, configuring()
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	d := f.account.Between(2*time.Second, 20*time.Second)
	l.Change(f.account.Now(), via, d, then)
	b.Change(f.account.Now(), "Configuring", d, "Active")
	if then == resource.Gone {
		l.Dies(f.account, f.account.Now().Add(d))
	}
	return map[string]any{"JobId": f.job(d)}, nil
}

// getListenerHealthStatus asks the probe, that is the data plane, at the moment of the call. A backend is Initial until
// the first checks had time to succeed.
func (f *Fake) getListenerHealthStatus(r *cloud.Request) (any, error) {
	f.mu.Lock()
	l, _, err := f.listener(r.Get("ListenerId"))
	if err != nil {
		f.mu.Unlock()
		return nil, err
	}
	b, _, err := f.balancer(l.LoadBalancerID)
	if err != nil {
		f.mu.Unlock()
		return nil, err
	}
	g, _, err := f.group(l.ServerGroupID)
	if err != nil {
		f.mu.Unlock()
		return nil, err
	}
	now, lb, ln, sg, settled := f.account.Now(), b.now(f), l.now(f), g.now(f), map[string]bool{}
	checks := time.Duration(g.check.healthy*g.check.interval) * time.Second
	for _, s := range g.servers {
		settled[fmt.Sprint(s.ID, s.Port)] = !now.Before(s.Since(now).Add(checks)) && !now.Before(l.Since(now).Add(checks))
	}
	f.mu.Unlock()

	abnormal := []any{}
	for _, s := range sg.Servers {
		if !sg.HealthCheck {
			break
		}
		status, reason := "Unhealthy", f.probe(lb, ln, sg, s)
		switch {
		case ln.Status != "Running" || s.Status != "Available":
			status, reason = "Unavailable", ""
		case !settled[fmt.Sprint(s.ID, s.Port)]:
			status, reason = "Initial", ""
		case reason == "":
			continue
		}
		abnormal = append(abnormal, map[string]any{
			"ServerId": s.ID, "ServerIp": s.IP, "Port": s.Port, "Status": status, "Reason": map[string]any{"ReasonCode": reason},
		})
	}
	return map[string]any{"ListenerHealthStatus": []any{map[string]any{
		"ListenerId": ln.ID, "ListenerPort": ln.Port, "ListenerProtocol": ln.Protocol,
		"ServerGroupInfos": []any{map[string]any{"ServerGroupId": sg.ID, "HeathCheckEnabled": sg.HealthCheck, "NonNormalServers": abnormal}},
	}}}, nil
}
