// Package privatewhitelist is the one step of scenario private-whitelist: it
// changes one group of an instance's private IP whitelist as the spec says, and
// reverts what it changed, entry by entry, so that what others add or remove
// meanwhile stays as they left it.
//
// The plain list is the group default: it can be changed, but not be deleted.
package privatewhitelist

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Cluster is the instance's control plane.
type Cluster interface {
	Describe(ctx context.Context, id string) (escluster.Instance, error)
	ChangeWhitelist(ctx context.Context, id string, change escluster.WhitelistChange, token string) error
}

// Step changes the group.
type Step struct {
	Cluster Cluster
	Now     func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step { return &Step{Cluster: escluster.New(d.Aliyun), Now: d.Now} }

const (
	// settles is how long the cloud usually takes to put a whitelist into force.
	settles = 45 * time.Second
	// most is how many entries a group holds.
	most = 300
)

// Up makes the group what the spec asks for, and reads it back when that is in
// force.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	in, have, exists, err := s.look(ctx, r)
	if apierr.IsNotFound(err) {
		return engine.Outcome{}, found("instanceId", "there is no cluster "+r.Spec.InstanceID+" in this region and account", "check the ID")
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	switch in.Status {
	case escluster.Active:
	case escluster.Activating: // a change, ours included, counts only when it is done
		return engine.Waitf(settles/2, "cluster %s is carrying out a change; its whitelist can be changed, and takes effect, when that is done", in.ID), nil
	default:
		return engine.Outcome{}, found("instanceId", fmt.Sprintf("%s is %s, and its whitelist cannot be changed", in.ID, in.Status), "see its console for the cause, make it active, then retry")
	}
	f := r.Facts.PrivateWhitelist
	if f == nil {
		f = &facts.PrivateWhitelist{Group: groupOf(r)}
		r.Facts.PrivateWhitelist = f
	}
	settle(f, have, exists)
	want, problem := wanted(r.Spec.Whitelist, in.ID, have, exists)
	if problem != nil {
		return engine.Outcome{}, problem
	}
	next := &facts.PendingWhitelist{Add: minus(want, have), Remove: minus(have, want), Create: !exists && len(want) > 0, Delete: exists && len(want) == 0}
	if len(next.Add)+len(next.Remove) == 0 {
		f.IPs, f.Pending = have, nil
		return engine.Done(), nil
	}
	// What is about to change is saved first: after a lost reply, or a crash,
	// nothing else would tell our entries from those of others.
	if f.Pending == nil || !same(*f.Pending, *next) {
		f.Pending = next
		reason := fmt.Sprintf("cluster %s is about to change its whitelist group %s: %s", in.ID, f.Group, difference(next.Add, next.Remove))
		r.Audit(s.Now(), r.Cursor.Step, "changes", reason, "")
		return engine.Wait(time.Second, reason), nil
	}
	// Possible prior states: the change was never sent; it was sent and refused;
	// somebody has reverted it. Had it taken effect, settle would have seen it. The
	// request is idempotent.
	c := change(r.Spec.Whitelist, have, next)
	if err := s.Cluster.ChangeWhitelist(ctx, in.ID, c, token(r, in, c)); err != nil {
		return engine.Outcome{}, err
	}
	fold(f)
	return engine.Waitf(settles, "cluster %s is changing its whitelist group %s: %s", in.ID, f.Group, difference(next.Add, next.Remove)), nil
}

// Down reverts what the run changed: first it adds what the run removed, then it
// removes what the run added, and with it the group if the run created it.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f := r.Facts.PrivateWhitelist
	if f == nil {
		return engine.Done(), nil
	}
	in, have, exists, err := s.look(ctx, r)
	if apierr.IsNotFound(err) || err == nil && in.Status == escluster.Invalid { // gone, and its whitelist with it
		r.Facts.PrivateWhitelist = nil
		return engine.Done(), nil
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	switch in.Status {
	case escluster.Active:
	case escluster.Activating:
		return engine.Waitf(settles/2, "cluster %s is carrying out a change; its whitelist group %s can be reverted when that is done", in.ID, f.Group), nil
	default:
		return engine.Outcome{}, found("instanceId", fmt.Sprintf("%s is %s, and its whitelist group %s cannot be reverted", in.ID, in.Status, f.Group), "make the cluster active, then retry")
	}
	settle(f, have, exists)
	f.Pending = nil
	back, ours := minus(f.Removed, have), common(have, f.Added)
	c := escluster.WhitelistChange{Group: groupOf(r)}
	switch {
	case !exists && !f.Deleted, len(back)+len(ours) == 0: // or somebody else deleted the group
		r.Facts.PrivateWhitelist = nil
		return engine.Done(), nil
	case !exists:
		c.Mode, c.IPs = escluster.Cover, back
	case len(back) > 0:
		c.Mode, c.IPs, ours = escluster.Append, back, nil
	case len(ours) < len(have):
		c.Mode, c.IPs = escluster.Delete, ours
	case f.Created:
		c.Mode = escluster.Cover
	default:
		return engine.Outcome{}, found("whitelist.group", fmt.Sprintf("the whitelist group %s of %s holds only what this run added, and a group keeps at least one IP", f.Group, in.ID),
			"add what is to stay, or delete the group, then retry")
	}
	if err := s.Cluster.ChangeWhitelist(ctx, in.ID, c, token(r, in, c)); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Waitf(settles, "cluster %s is reverting its whitelist group %s: %s", in.ID, f.Group, difference(back, ours)), nil
}

// look reads the group as it is.
func (s *Step) look(ctx context.Context, r *run.Run) (in escluster.Instance, have []string, exists bool, err error) {
	in, err = s.Cluster.Describe(ctx, r.Spec.InstanceID)
	for _, g := range in.Private() {
		if g.Name == groupOf(r) {
			return in, g.IPs, true, err
		}
	}
	return in, nil, false, err
}

func groupOf(r *run.Run) string { return cmp.Or(r.Spec.Whitelist.Group, escluster.DefaultGroup) }

// token repeats a request while nothing has changed at the instance, and is
// another one as soon as something has: a replayed one would have no effect.
func token(r *run.Run, in escluster.Instance, c escluster.WhitelistChange) string {
	return r.Token(fmt.Sprintf("private-whitelist/%d/%s/%s", in.UpdatedAt.UnixMilli(), c.Mode, strings.Join(c.IPs, ",")))
}

func found(field, message, remedy string) error {
	return events.NewProblem(409, "findings", "private-whitelist found what must be fixed first", events.Finding{Field: field, Message: message, Remedy: remedy})
}
