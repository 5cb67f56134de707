package configure

import (
	"context"
	"fmt"
	"slices"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/engine"
	"eslink/shared/esconfig"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// A walk is a provisioning, a removal or a restoration: what they differ in when
// esConfig is written.
type walk interface {
	// goal is what the cluster is to be configured for, and the domain of the
	// run's endpoint.
	goal() (events.Spec, string)
	// refused returns an error if the cluster did not keep part of what this walk
	// wrote before, so that writing it again would not help.
	refused(id string, f *facts.Configure, c esconfig.Change) error
	// plan is what has to be approved before a change is written, or nil.
	plan(r *run.Run, c esconfig.Change) *run.Plan
	// token names the walk in tokens.
	token() string
}

// provisioning adds what a spec needs.
type provisioning struct {
	spec   events.Spec
	domain string
}

func (p provisioning) goal() (events.Spec, string) { return p.spec, p.domain }
func (p provisioning) token() string               { return "add" }

func (p provisioning) refused(id string, f *facts.Configure, c esconfig.Change) error {
	var lost []string
	for _, k := range keys(c.Difference) {
		if slices.Contains(f.Keys, k) {
			lost = append(lost, k)
		}
	}
	if len(lost) == 0 || len(lost) == len(f.Keys) {
		return nil
	}
	return fmt.Errorf("cluster %s did not keep %s, but the rest of what was written: have Alibaba Cloud allow that setting, or do without it (of certificates: with a protocol without TLS); teardown removes the rest", id, list(lost))
}

// plan shows the run's own endpoint as a placeholder, as step plan did before
// the endpoint existed, so that what was approved then stays approved.
func (p provisioning) plan(r *run.Run, c esconfig.Change) *run.Plan {
	plan := planOf(r)
	plan.Difference = esconfig.Hide(slices.Clone(c.Difference), p.domain)
	return &plan
}

// provision brings esConfig to what the spec needs.
func (s *Step) provision(ctx context.Context, r *run.Run, p provisioning) (engine.Outcome, error) {
	journal, err := esconfig.Read(ctx, s.Records, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	in, err := s.Cluster.Describe(ctx, r.Spec.InstanceID)
	if err != nil {
		return engine.Outcome{}, err
	}
	if in.Status == escluster.Activating {
		return s.follow(ctx, r, in.ID, journal)
	}
	v, err := s.look(ctx, r, p, journal, in)
	if err != nil {
		return engine.Outcome{}, err
	}
	if !v.complete() {
		return s.write(ctx, r, p, v)
	}
	if journal.Unread {
		return s.restarted(ctx, r, journal)
	}
	if out, err := s.finish(ctx, r, p, v, true); err != nil || !out.IsDone() {
		return out, err
	}
	f := r.Facts.Configure
	f.Entry, f.Added, f.Writes = v.change.Want.Entry, slices.Contains(v.change.Then.Entries, v.change.Want.Entry), 0
	return s.unlocked(ctx, r)
}

// planOf is the plan on record, for another difference.
func planOf(r *run.Run) run.Plan {
	if r.Plan == nil {
		return run.Plan{}
	}
	return *r.Plan
}
