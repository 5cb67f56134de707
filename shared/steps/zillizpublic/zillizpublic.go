// Package zillizpublic is the step that closes the clusters' public addresses, if
// the spec asks for that, once the private link is proved.
package zillizpublic

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/zilliz"
	"eslink/shared/zillizproject"
)

// Clusters are the clusters of a project.
type Clusters interface {
	Cluster(ctx context.Context, id string) (zilliz.Cluster, error)
	SetPublic(ctx context.Context, id string, enabled bool) error
}

// Step closes and opens.
type Step struct {
	Open func(ctx context.Context, r *run.Run) (Clusters, error)
	Now  func() time.Time
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := zillizproject.Opener{Secrets: kms.New(d.Aliyun), Config: zilliz.Config{Transport: d.Transport("zilliz")}}
	return &Step{Now: d.Now, Open: func(ctx context.Context, r *run.Run) (Clusters, error) { return o.Open(ctx, r) }}
}

// settling is the interval at which a cluster is read while it changes.
const settling = 20 * time.Second

// Up closes one address after the other, by the API where the cluster shows the
// field. Else it leaves a to-do for a person: what the API does not document is
// not guessed.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f := &facts.ZillizPublic{}
	if r.Facts.ZillizPublic != nil {
		f.Closed = r.Facts.ZillizPublic.Closed
	}
	if r.Spec.Zilliz.PublicAccess != events.Disable {
		if len(f.Closed) > 0 {
			r.Facts.ZillizPublic = f
		}
		return engine.Done(), nil
	}
	r.Facts.ZillizPublic = f
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	for _, id := range r.Spec.Zilliz.ClusterIDs {
		k, err := c.Cluster(ctx, id)
		if err != nil {
			return engine.Outcome{}, zillizproject.Explain(err, r)
		}
		switch {
		case k.PublicEnabled == nil:
			f.ToDo = append(f.ToDo, id)
		case !*k.PublicEnabled && !k.Running():
			return engine.Waitf(settling, "cluster %s is %s while it closes its public address", id, k.Status), nil
		case !*k.PublicEnabled:
		case !k.Running():
			return engine.Waitf(settling, "cluster %s is %s; its public address is closed when it is RUNNING", id, k.Status), nil
		case !slices.Contains(f.Closed, id): // on record before it is done, so that a crash cannot lose whose deed it was
			f.Closed = append(slices.Clone(f.Closed), id)
			return engine.Soon(time.Second, fmt.Sprintf("the public address of cluster %s is about to be closed", id)), nil
		default:
			if err := c.SetPublic(ctx, id, false); err != nil {
				return engine.Outcome{}, zillizproject.Explain(fmt.Errorf("close the public address of cluster %s: %w", id, err), r)
			}
			return engine.Waitf(settling, "cluster %s closes its public address", id), nil
		}
	}
	if len(f.ToDo) > 0 {
		r.Note(s.Now(), "zilliz-public", "to do", ToDo(f.ToDo))
		return engine.DoneWithDifferences(), nil
	}
	return engine.Done(), nil
}

// ToDo is what a person has to do about clusters whose address the API cannot
// close.
func ToDo(ids []string) string {
	return fmt.Sprintf("the API cannot close the public address of %s: in Zilliz Cloud's console open Cluster Details, section Connect, the icon beside the public endpoint, and choose Disable", strings.Join(ids, ", "))
}

// Down opens again what this run has closed, if the spec says so. Where no public
// address is left, or it cannot be read, a person has to agree that teardown cuts
// the last path to the cluster; approve: auto does not answer that.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	c, err := s.Open(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	closed := []string{}
	if r.Facts.ZillizPublic != nil {
		closed = r.Facts.ZillizPublic.Closed
	}
	var cut []string
	for _, id := range r.Spec.Zilliz.ClusterIDs {
		k, err := c.Cluster(ctx, id)
		switch {
		case err != nil && apierr.ClassOf(err) == apierr.Retry:
			return engine.Outcome{}, err
		case err != nil:
			cut = append(cut, fmt.Sprintf("cluster %s: whether its public address is open cannot be read", id))
		case k.PublicEnabled == nil && r.Spec.Zilliz.PublicAccess == events.Disable:
			cut = append(cut, fmt.Sprintf("cluster %s: whether a person has closed its public address cannot be read", id))
		case k.PublicEnabled == nil || *k.PublicEnabled:
		case slices.Contains(closed, id) && r.Spec.Zilliz.ReopenPublic:
			if err := c.SetPublic(ctx, id, true); err != nil {
				return engine.Outcome{}, zillizproject.Explain(fmt.Errorf("open the public address of cluster %s: %w", id, err), r)
			}
			r.Note(s.Now(), "zilliz-public", "opened", fmt.Sprintf("the public address of cluster %s is opened again; clients may have to wait until their DNS cache forgets that there was none", id))
			return engine.Waitf(settling, "cluster %s opens its public address", id), nil
		default:
			cut = append(cut, fmt.Sprintf("cluster %s: its public address is closed", id))
		}
	}
	if len(cut) > 0 {
		p := &run.Plan{Difference: []run.Change{}}
		for _, line := range cut {
			p.Difference = append(p.Difference, run.Change{Key: "access", Before: "through the private link", After: "none through this link (" + line + "); opening the public address again takes effect when clients' DNS caches have run out"})
		}
		p.Seal()
		if r.Approved != p.ID {
			return engine.Ask(p), nil
		}
	}
	r.Facts.ZillizPublic = nil
	return engine.Done(), nil
}
