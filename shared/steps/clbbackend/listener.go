package clbbackend

import (
	"context"
	"fmt"
	"slices"
	"time"

	"eslink/shared/aliyun/slb"
	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/run"
)

// Listeners are the ports of a balancer.
type Listeners interface {
	CreateListener(ctx context.Context, loadBalancerID, groupID string, port int) error
	Listener(ctx context.Context, loadBalancerID string, port int) (slb.Listener, error)
	StartListener(ctx context.Context, loadBalancerID string, port int) error
	DeleteListener(ctx context.Context, loadBalancerID string, port int) error
	// Health is that of a listener's backends.
	Health(ctx context.Context, loadBalancerID string, port int) ([]slb.Health, error)
}

// listenerUp is Done when the port's listener runs on the port's group.
func (s *Step) listenerUp(ctx context.Context, lb slb.LoadBalancer, groupID string, port int) (engine.Outcome, error) {
	switch protocol := lb.Listens(port); protocol {
	case "tcp":
	case "": // A port has one listener and reads of the balancer do not lag: no prior state can lead to two.
		if err := s.Cloud.CreateListener(ctx, lb.ID, groupID, port); err != nil {
			return engine.Outcome{}, err
		}
		return engine.Waitf(soon, "listener %d of load balancer %s is being created", port, lb.ID), nil
	default:
		return engine.Outcome{}, fmt.Errorf("listener %d of load balancer %s speaks %s, not plain TCP: delete it, then retry", port, lb.ID, protocol)
	}
	l, err := s.Cloud.Listener(ctx, lb.ID, port)
	if apierr.IsNotFound(err) { // this very moment
		return engine.Waitf(soon, "listener %d of load balancer %s was deleted and is being recreated", port, lb.ID), nil
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	switch {
	case l.GroupID != groupID && (l.Status == slb.Running || l.Status == slb.Stopped): // somebody deleted its group, which was recreated
		if err := s.Cloud.DeleteListener(ctx, lb.ID, port); apierr.IgnoreNotFound(err) != nil {
			return engine.Outcome{}, err
		}
		return engine.Waitf(soon, "listener %d of load balancer %s leads to another server group; it is being deleted and recreated", port, lb.ID), nil
	case l.ProxyProtocol || l.HealthCheck != "on":
		return engine.Outcome{}, fmt.Errorf("listener %d of load balancer %s has unexpected settings (proxy protocol: %t, health check %s): delete it, then retry", port, lb.ID, l.ProxyProtocol, l.HealthCheck)
	case l.Status == slb.Stopped: // as listeners are created
		if err := s.Cloud.StartListener(ctx, lb.ID, port); err != nil {
			return engine.Outcome{}, err
		}
		return engine.Waitf(2*soon, "listener %d of load balancer %s is being started", port, lb.ID), nil
	case l.Status != slb.Running:
		return engine.Waitf(soon, "listener %d of load balancer %s is %s", port, lb.ID, l.Status), nil
	}
	return engine.Done(), nil
}

// healthy is Done when the host passes the health check.
func (s *Step) healthy(ctx context.Context, r *run.Run, balancer string, host slb.Server) (engine.Outcome, error) {
	health, err := s.Cloud.Health(ctx, balancer, host.Port)
	if err != nil {
		return engine.Outcome{}, err
	}
	i := slices.IndexFunc(health, func(h slb.Health) bool { return h.Server == host })
	switch {
	case i < 0 || health[i].Status == slb.Unavailable:
		return engine.Waitf(soon, "the first health check of port %d of ECS instance %s is in progress", host.Port, host.ID), nil
	case health[i].Status == slb.Normal:
		return engine.Done(), nil
	}
	e := r.Facts.Preflight.ECS
	return engine.Waitf(20*time.Second, "backend %s (%s:%d) is %s: the load balancer's connections to it fail. Does a service listen there on 0.0.0.0 (127.0.0.1 is reachable from the host alone)? Does the host's own firewall (iptables) admit 100.64.0.0/10? eslink cannot see either. Does security group %s still have the run's rules (start again restores them)?",
		host.ID, e.PrivateIP, host.Port, health[i].Status, r.Facts.Firewall.SecurityGroupID), nil
}
