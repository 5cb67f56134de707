package nlbbackend

import (
	"context"
	"fmt"
	"time"

	"eslink/shared/aliyun/nlb"
	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/ensure"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Groups are server groups.
type Groups interface {
	CreateServerGroup(ctx context.Context, n nlb.NewServerGroup, token string) (id, job string, err error)
	ServerGroup(ctx context.Context, id string) (nlb.ServerGroup, error)
	DeleteServerGroup(ctx context.Context, id string) (job string, err error)
	GroupLists
}

// GroupLists find groups whose ID is not known. They may trail a write.
type GroupLists interface {
	ServerGroupsTagged(ctx context.Context, key, value string) ([]nlb.ServerGroup, error)
	ServerGroupsNamed(ctx context.Context, name string) ([]nlb.ServerGroup, error)
}

// group is the server group in tokens and names.
const group = "servers"

// groupUp is Done when the run's group is available, and records its ID.
func (s *Step) groupUp(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	g, err := s.findGroup(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if g == nil {
		return s.createGroup(ctx, r)
	}
	switch vpc := r.Facts.Preflight.Target.VpcID; {
	case g.Status == nlb.Creating || g.Status == nlb.Configuring || g.Status == nlb.Deleting:
		return engine.Waitf(soon, "server group %s is %s", g.ID, g.Status), nil
	case g.Status != nlb.Available:
		return engine.Outcome{}, fmt.Errorf("server group %s is %s, a status that eslink does not know: see the NLB console, then retry", g.ID, g.Status)
	case g.Type != "Ip" || g.PreserveClientIP || g.VpcID != vpc:
		return engine.Outcome{}, fmt.Errorf("server group %s has unexpected settings (type %s in %s, client addresses preserved: %t): delete it with its listener, then retry",
			g.ID, g.Type, g.VpcID, g.PreserveClientIP)
	}
	return engine.Done(), nil
}

// createGroup requests a group. Possible prior states: never requested;
// requested, and the reply or its ID was lost, while lists do not show it yet
// (the token returns the same group); an earlier one is gone (findGroup has
// raised the token, or will when it reads the ID that the replay returned).
func (s *Step) createGroup(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f := r.Facts.NLBBackend
	f.Asked = s.Now()
	n := nlb.NewServerGroup{Name: r.Name(group), VpcID: r.Facts.Preflight.Target.VpcID, TagKey: run.TagKey, TagValue: r.Tag()}
	id, job, err := s.Cloud.CreateServerGroup(ctx, n, r.Token(group))
	if err != nil {
		return engine.Outcome{}, err
	}
	f.ServerGroupID, f.Asked, f.Job = id, time.Time{}, &facts.Job{ID: job}
	return engine.Waitf(soon, "server group %s is being created", id), nil
}

// groupDown is Done when the run has no group.
func (s *Step) groupDown(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f := r.Facts.NLBBackend
	g, err := s.findGroup(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if g == nil {
		if out, wait := ensure.AwaitList("server group or listener", f.Asked, s.Now()); wait {
			return out, nil
		}
		return engine.Done(), nil
	}
	if g.Status != nlb.Available {
		return engine.Waitf(soon, "server group %s is %s", g.ID, g.Status), nil
	}
	have, err := s.Cloud.Servers(ctx, g.ID)
	if err != nil {
		return engine.Outcome{}, err
	}
	if len(have) > 0 {
		job, err := s.Cloud.RemoveServers(ctx, g.ID, have)
		if apierr.IgnoreNotFound(err) != nil {
			return engine.Outcome{}, err
		}
		f.Job = pending(job)
		return engine.Waitf(soon, "the servers of group %s are being removed", g.ID), nil
	}
	job, err := s.Cloud.DeleteServerGroup(ctx, g.ID)
	if apierr.IgnoreNotFound(err) != nil {
		return engine.Outcome{}, err
	}
	f.Job = pending(job)
	return engine.Waitf(soon, "server group %s is being deleted", g.ID), nil
}

// findGroup returns the run's server group, or nil, and records its ID.
func (s *Step) findGroup(ctx context.Context, r *run.Run) (*nlb.ServerGroup, error) {
	f := r.Facts.NLBBackend
	found, err := ensure.Lookup[nlb.ServerGroup]{
		Kind:     "server group",
		ID:       func(g nlb.ServerGroup) string { return g.ID },
		Get:      s.Cloud.ServerGroup,
		Recorded: f.ServerGroupID,
		Gone: func() {
			r.NextToken(group)
			f.ServerGroupID = ""
		},
		Owned:     ensure.ByTag(r, s.Cloud.ServerGroupsTagged),
		Named:     ensure.ByName(r, group, s.Cloud.ServerGroupsNamed),
		Direction: r.Direction,
		Remedy:    "delete those that no listener uses",
	}.Find(ctx)
	if found != nil && found.ID != f.ServerGroupID {
		f.ServerGroupID, f.Asked = found.ID, time.Time{}
	}
	return found, err
}

// pending is a job to await; the empty ID is none.
func pending(job string) *facts.Job {
	if job == "" {
		return nil
	}
	return &facts.Job{ID: job}
}
