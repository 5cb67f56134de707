// Package configure is the step that gives the instance what a run's use cases
// need: entries and settings of esConfig, secure settings, role mappings. The
// cloud replaces esConfig as a whole and restarts the nodes, one by one; so it
// is read, merged and written back once, under a lock, only as far as a person
// approved it, and what the nodes really took up is read from the nodes.
package configure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/esconfig"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Cluster is the instance's control plane.
type Cluster interface {
	Describe(ctx context.Context, id string) (escluster.Instance, error)
	UpdateConfig(ctx context.Context, id string, config map[string]string, token string) (changeID string, err error)
	EstimateRestart(ctx context.Context, id string) (time.Duration, error)
	ActionRecords(ctx context.Context, id string) ([]escluster.Action, error)
	Interrupt(ctx context.Context, id, token string) error
	Keystore(ctx context.Context, id string) ([]string, error)
	SetKeystore(ctx context.Context, id string, update map[string]string, remove []string) error
}

// Nodes are the instance's nodes themselves.
type Nodes interface {
	// NodeSettings are those that each node runs with, by its name.
	NodeSettings(ctx context.Context) (map[string]es.Settings, error)
	RoleMappings(ctx context.Context) (map[string]es.RoleMapping, error)
	PutRoleMapping(ctx context.Context, name string, m es.RoleMapping) error
	DeleteRoleMapping(ctx context.Context, name string) error
}

// Records are locks wider than a run, and rows of a run's own.
type Records interface {
	esconfig.Rows
	Lock(ctx context.Context, name, holder string, d time.Duration) error
	Unlock(ctx context.Context, name, holder string) error
	List(ctx context.Context) ([]*run.Run, error)
}

// Step adds what a run needs, and removes it.
type Step struct {
	Cluster Cluster
	// Nodes connects to the nodes of a run's instance, Login reads a secret.
	Nodes   func(ctx context.Context, r *run.Run) (Nodes, error)
	Login   func(ctx context.Context, s clusters.Side) (kms.Login, error)
	Records Records
	Now     func() time.Time
}

// New returns the step for a function, which runs in the instance's VPC.
func New(d deps.Deps) engine.Step {
	opener := clusters.Opener{Cloud: d.Aliyun}
	nodes := func(ctx context.Context, r *run.Run) (Nodes, error) { return opener.Open(ctx, clusters.Destination(r)) }
	return &Step{Cluster: escluster.New(d.Aliyun), Nodes: nodes, Login: opener.Login, Records: d.Runs, Now: d.Now}
}

const (
	// lockFor outlives every wait of this step, which renews it each time.
	lockFor = 30 * time.Minute
	// minWait and maxWait bound the pause between two looks at a restart.
	minWait, maxWait = 20 * time.Second, 15 * time.Minute
	// maxWrites bounds the restarts of one walk: somebody who keeps overwriting
	// esConfig has to be asked, not fought.
	maxWrites = 3
	// unlikeFor is how long nodes may differ from what the cloud says, failingFor
	// how long they may not come up.
	unlikeFor, failingFor = 10 * time.Minute, 15 * time.Minute
)

// goal is what a walk brings the instance to: what a spec needs, or nothing.
type goal struct {
	spec   events.Spec
	domain string
	// up is the way down the flow. On the way up it, and in a restoration, the
	// run's own is taken out; only a restoration has been asked for already.
	up, restore bool
}

// Up merges what the run needs and waits until all nodes have it.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Restore {
		return s.restore(ctx, r)
	}
	domain := esconfig.Domain(r)
	if domain == esconfig.Placeholder {
		return engine.Outcome{}, fmt.Errorf("run %s has no endpoint domain on record: step accept writes it", r.ID)
	}
	return s.walk(ctx, r, goal{spec: r.Spec, domain: domain, up: true})
}

// Down takes the run's own out again, unless it is to be kept.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.KeepConfig {
		return engine.Done(), s.Records.Unlock(ctx, lockOf(r), r.ID)
	}
	return s.walk(ctx, r, goal{domain: esconfig.Domain(r)})
}

// restore takes the run's own out of a configuration with which the nodes may
// not come up, and stops the run: what is to happen next is for a person.
func (s *Step) restore(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	out, err := s.walk(ctx, r, goal{domain: esconfig.Domain(r), restore: true})
	if err != nil || !out.IsDone() {
		return out, err
	}
	r.Restore = false
	return engine.Outcome{}, events.NewProblem(409, "restored", "esConfig is as it was before the run wrote it",
		events.Finding{Field: "instanceId", Message: r.Spec.InstanceID + " runs without what this run had added", Remedy: "start with a mended spec, or tear the run down"})
}

// walk brings esConfig from where it is to where the goal wants it. All
// directions meet the same states.
func (s *Step) walk(ctx context.Context, r *run.Run, g goal) (engine.Outcome, error) {
	book, err := esconfig.Read(ctx, s.Records, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	if !g.up && book.Empty() && !wrote(r) {
		return s.gone(ctx, r)
	}
	in, err := s.Cluster.Describe(ctx, r.Spec.InstanceID)
	switch {
	case isGone(in, err) && !g.up: // and its configuration with it
		return s.gone(ctx, r)
	case err != nil:
		return engine.Outcome{}, err
	case in.Status == escluster.Activating:
		return s.follow(ctx, r, in.ID, book)
	case in.Status != escluster.Active:
		return engine.Outcome{}, fmt.Errorf("cluster %s is %s, and its configuration cannot be changed: see in its console why, make it active, then retry", in.ID, in.Status)
	}
	if book.Shares(in.Config, g.spec) {
		all, err := s.Records.List(ctx)
		if err == nil {
			err = book.Beside(ctx, r, all)
		}
		if err != nil {
			return engine.Outcome{}, err
		}
	}
	c, err := book.Of(in.Config, g.spec, g.domain)
	if err != nil {
		return engine.Outcome{}, fmt.Errorf("cluster %s: %w", in.ID, err)
	}
	keystore, err := s.keystore(ctx, book, g.spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	if len(c.Difference) > 0 || !keystore.empty() {
		return s.write(ctx, r, g, book, keystore)
	}
	if book.Unread && g.up {
		return s.restarted(ctx, r, book)
	}
	return s.finish(ctx, r, g, book, c)
}

func isGone(in escluster.Instance, err error) bool {
	return apierr.IsNotFound(err) || err == nil && in.Status == escluster.Invalid
}

// gone ends a walk after which nothing of the run is left.
func (s *Step) gone(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	r.Facts.Configure = nil
	return engine.Done(), s.Records.Unlock(ctx, lockOf(r), r.ID)
}

// write replaces esConfig once the difference is approved. The pasts it can
// meet: nothing was written yet; the reply to an earlier write was lost before
// it took effect (nothing at the instance has changed since, so the token is the
// same); it took effect and somebody has overwritten it since (then the token is
// another one, and the write is counted).
func (s *Step) write(ctx context.Context, r *run.Run, g goal, book *esconfig.Book, k keystore) (engine.Outcome, error) {
	err := s.Records.Lock(ctx, lockOf(r), r.ID, lockFor)
	var held *run.HeldError
	if errors.As(err, &held) {
		return engine.Waitf(2*time.Minute, "run %s is changing the configuration of %s, which one run at a time may do; this one is next", held.Holder, r.Spec.InstanceID), nil
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	// Read again under the lock, right before writing.
	in, err := s.Cluster.Describe(ctx, r.Spec.InstanceID)
	if err != nil {
		return engine.Outcome{}, err
	}
	c, err := book.Of(in.Config, g.spec, g.domain)
	if err != nil {
		return engine.Outcome{}, fmt.Errorf("cluster %s: %w", in.ID, err)
	}
	if len(c.Difference) == 0 && k.empty() || in.Status != escluster.Active {
		return engine.Waitf(minWait, "cluster %s has just been changed by another hand", in.ID), nil
	}
	if err := s.again(r, g, c, in.ID); err != nil {
		return engine.Outcome{}, err
	}
	if ask, err := s.plan(ctx, r, g, c, in.ID); err != nil {
		return engine.Outcome{}, err
	} else if ask != nil { // which may take days
		return engine.Ask(ask), s.Records.Unlock(ctx, lockOf(r), r.ID)
	}
	if r.Facts.Configure == nil {
		r.Facts.Configure = &facts.Configure{}
	}
	f := r.Facts.Configure
	// The keystore comes first, in both directions: a realm without its password
	// may be, and a password without its realm keeps nodes from starting.
	switch {
	case len(k.drop) > 0:
		return s.dropPasswords(ctx, r, book, k.drop)
	case len(k.set) > 0:
		return s.setPasswords(ctx, r, book, k.set)
	}
	book.Unread = false
	book.Ours = book.Ours.With(c.Then)
	if err := book.Save(ctx, in.Config); err != nil {
		return engine.Outcome{}, err
	}
	f.Entry, f.Added = c.Want.Entry, slices.Contains(c.Then.Entries, c.Want.Entry)
	f.Keys = keys(c.Difference)
	f.WroteAt = s.Now()
	f.Writes++
	f.ChangeID, err = s.Cluster.UpdateConfig(ctx, in.ID, c.Next, r.Token(fmt.Sprintf("configure/%d/%t", in.UpdatedAt.UnixMilli(), g.up)))
	if err != nil {
		return engine.Outcome{}, refused(f, err)
	}
	estimate, err := s.Cluster.EstimateRestart(ctx, in.ID)
	if err != nil {
		estimate = 2 * minWait // only the first wait depends on it
	}
	return engine.Waitf(between(estimate/2), "cluster %s takes up its new configuration and restarts its nodes one by one, in about %s by the cloud's estimate", in.ID, estimate), nil
}

// again judges a write after an earlier one of the same walk. retry begins to
// count anew.
func (s *Step) again(r *run.Run, g goal, c esconfig.Change, id string) error {
	f := r.Facts.Configure
	if f == nil || f.Writes == 0 {
		return nil
	}
	var lost []string
	for _, k := range keys(c.Difference) {
		if slices.Contains(f.Keys, k) {
			lost = append(lost, k)
		}
	}
	switch {
	case g.up && len(lost) > 0 && len(lost) < len(f.Keys):
		f.Writes = 0
		return fmt.Errorf("cluster %s did not keep %s, but the rest: have Alibaba Cloud allow that setting, or do without it (of certificates: with a protocol without TLS); teardown takes the rest back", id, list(lost))
	case f.Writes >= maxWrites:
		f.Writes = 0
		return fmt.Errorf("esConfig of cluster %s was written %d times and is different each time: somebody else is writing it too; stop that, then retry", id, maxWrites)
	}
	return nil
}

// plan returns what has to be approved before the change may be written, or nil
// if it has been.
func (s *Step) plan(ctx context.Context, r *run.Run, g goal, c esconfig.Change, id string) (*run.Plan, error) {
	if g.restore {
		return nil, nil
	}
	var p run.Plan
	if r.Plan != nil {
		p = *r.Plan
	}
	p.Difference = c.Difference
	if g.up {
		p.Difference = esconfig.Hide(slices.Clone(c.Difference), g.domain)
	} else {
		p.Creates, p.Cost = nil, run.Cost{Currency: p.Cost.Currency}
	}
	p.Seal()
	if r.Granted(&p) {
		return nil, nil
	}
	estimate, err := s.Cluster.EstimateRestart(ctx, id)
	if err != nil {
		return nil, err
	}
	p.Restart = run.Restart{Needed: true, Seconds: int(estimate.Seconds())}
	return &p, nil
}
