package nlbbackend

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"eslink/shared/aliyun/nlb"
	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Listeners are the ports of a balancer.
type Listeners interface {
	CreateListener(ctx context.Context, loadBalancerID, groupID string, port int, token string) (id, job string, err error)
	Listener(ctx context.Context, id string) (nlb.Listener, error)
	Listeners(ctx context.Context, loadBalancerID string) ([]nlb.Listener, error)
	DeleteListener(ctx context.Context, id string) (job string, err error)
}

// Health lists the backends of a listener that are not healthy.
type Health interface {
	Abnormal(ctx context.Context, listenerID string) ([]nlb.Abnormal, error)
}

// listenerUp is Done when the run's listener runs on the run's group, and
// records its ID.
func (s *Step) listenerUp(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	l, err := s.findListener(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if l == nil {
		return s.createListener(ctx, r)
	}
	switch f, balancer := r.Facts.NLBBackend, r.Facts.NLB.ID; {
	case l.Status == nlb.Provisioning || l.Status == nlb.Configuring || l.Status == nlb.Starting || l.Status == nlb.Deleting:
		return engine.Waitf(soon, "listener %s is %s", l.ID, l.Status), nil
	case l.ServerGroupID != f.ServerGroupID && l.Status == nlb.Running: // somebody deleted its group, which was recreated
		job, err := s.Cloud.DeleteListener(ctx, l.ID)
		if apierr.IgnoreNotFound(err) != nil {
			return engine.Outcome{}, err
		}
		f.Job = pending(job)
		return engine.Waitf(soon, "listener %s leads to another server group; it is being deleted and recreated", l.ID), nil
	case l.Protocol != "TCP" || l.ProxyProtocol:
		return engine.Outcome{}, fmt.Errorf("listener %s of load balancer %s speaks %s (proxy protocol: %t), not plain TCP: delete it, then retry", l.ID, balancer, l.Protocol, l.ProxyProtocol)
	case l.Status != nlb.Running:
		return engine.Outcome{}, fmt.Errorf("listener %s of load balancer %s is %s: start or delete it, then retry", l.ID, balancer, l.Status)
	}
	return engine.Done(), nil
}

// createListener requests the listener. Possible prior states: those of
// createGroup; the token is that of this very balancer and group.
func (s *Step) createListener(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f, balancer := r.Facts.NLBBackend, r.Facts.NLB.ID
	token := "listener/" + balancer + "/" + f.ServerGroupID
	f.Asked = s.Now()
	id, job, err := s.Cloud.CreateListener(ctx, balancer, f.ServerGroupID, r.Facts.Preflight.Target.Port, r.Token(token))
	if err != nil {
		return engine.Outcome{}, err
	}
	f.ListenerID, f.Asked, f.Job = id, time.Time{}, &facts.Job{ID: job, Token: token}
	return engine.Waitf(soon, "listener %s is being created", id), nil
}

// healthy is Done when no wanted server fails the health check.
func (s *Step) healthy(ctx context.Context, r *run.Run, want []nlb.Server) (engine.Outcome, error) {
	abnormal, err := s.Cloud.Abnormal(ctx, r.Facts.NLBBackend.ListenerID)
	if err != nil {
		return engine.Outcome{}, err
	}
	var unchecked, failing []string
	for _, a := range abnormal {
		x := nlb.Server{IP: a.IP, Port: a.Port}
		switch {
		case !slices.ContainsFunc(want, same(x)):
		case a.Status == "Initial":
			unchecked = append(unchecked, address(x))
		default:
			failing = append(failing, strings.TrimSpace(address(x)+" is "+a.Status+" "+a.Reason.Code))
		}
	}
	switch {
	case len(failing) > 0:
		return engine.Waitf(20*time.Second, "backends of %s do not answer the load balancer's health check: %s; does the cluster's private whitelist admit the load balancer's local addresses %s?",
			r.Facts.Preflight.Target.InstanceID, strings.Join(failing, ", "), strings.Join(r.Facts.NLB.LocalAddresses, ", ")), nil
	case len(unchecked) > 0:
		return engine.Waitf(soon*3/2, "the first health check of %s is in progress", strings.Join(unchecked, ", ")), nil
	}
	return engine.Done(), nil
}

// listenerDown is Done when the run has no listener.
func (s *Step) listenerDown(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	l, err := s.findListener(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if l == nil {
		return engine.Done(), nil
	}
	if l.Status != nlb.Running && l.Status != nlb.Stopped {
		return engine.Waitf(soon, "listener %s is %s", l.ID, l.Status), nil
	}
	job, err := s.Cloud.DeleteListener(ctx, l.ID)
	if apierr.IgnoreNotFound(err) != nil {
		return engine.Outcome{}, err
	}
	r.Facts.NLBBackend.Job = pending(job)
	return engine.Waitf(soon, "listener %s is being deleted", l.ID), nil
}

// findListener returns the listener on the source's port of the run's balancer,
// or nil, and records its ID.
func (s *Step) findListener(ctx context.Context, r *run.Run) (*nlb.Listener, error) {
	f := r.Facts.NLBBackend
	found, err := ensure.Lookup[nlb.Listener]{
		Kind:     "listener",
		ID:       func(l nlb.Listener) string { return l.ID },
		Get:      s.Cloud.Listener,
		Recorded: f.ListenerID,
		Gone:     func() { f.ListenerID = "" },
		Owned: func(ctx context.Context) ([]nlb.Listener, error) {
			if r.Facts.NLB == nil || r.Facts.NLB.ID == "" {
				return nil, nil // no balancer, no listener
			}
			all, err := s.Cloud.Listeners(ctx, r.Facts.NLB.ID)
			return slices.DeleteFunc(all, func(l nlb.Listener) bool { return l.Port != r.Facts.Preflight.Target.Port }), err
		},
		Remedy: "delete all but one",
	}.Find(ctx)
	if found != nil && found.ID != f.ListenerID {
		f.ListenerID, f.Asked = found.ID, time.Time{}
	}
	return found, err
}
