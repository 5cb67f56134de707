// Package configure is the step that lets the instance's _reindex reach the
// endpoint: one entry in reindex.remote.whitelist of esConfig. The cloud
// replaces esConfig as a whole and restarts the nodes, one by one; so it is
// read, merged and written back once, under a lock, only as far as a person
// approved it, and what the nodes really took up is read from the nodes.
package configure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/shared/access"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/engine"
	"eslink/shared/esconfig"
	"eslink/shared/run"
	"eslink/shared/steps"
)

// Cluster is the instance's control plane.
type Cluster interface {
	Describe(ctx context.Context, id string) (escluster.Instance, error)
	UpdateConfig(ctx context.Context, id string, config map[string]string, token string) (changeID string, err error)
	EstimateRestart(ctx context.Context, id string) (time.Duration, error)
	ActionRecords(ctx context.Context, id string) ([]escluster.Action, error)
}

// Nodes are the instance's nodes themselves.
type Nodes interface {
	// RemoteWhitelist is the whitelist that each node runs with, by its name.
	RemoteWhitelist(ctx context.Context) (map[string][]string, error)
}

// Records are locks wider than a run, and rows of a run's own.
type Records interface {
	Lock(ctx context.Context, name, holder string, d time.Duration) error
	Unlock(ctx context.Context, name, holder string) error
	PutPart(ctx context.Context, runID, name string, v any) error
	GetPart(ctx context.Context, runID, name string, v any) error
}

// Step adds and removes the entry.
type Step struct {
	Cluster Cluster
	// Nodes connects to the nodes of a run's instance.
	Nodes   func(ctx context.Context, r *run.Run) (Nodes, error)
	Records Records
	Now     func() time.Time
}

// New returns the step for a function, which runs in the instance's VPC.
func New(d steps.Deps) engine.Step {
	clusters := access.Opener{Cloud: d.Cloud}
	nodes := func(ctx context.Context, r *run.Run) (Nodes, error) { return clusters.Open(ctx, access.Instance(r)) }
	return &Step{Cluster: escluster.New(d.Cloud), Nodes: nodes, Records: d.Runs, Now: d.Cloud.Now}
}

const (
	// Before is the row that keeps esConfig as it was before the first write.
	Before = "esconfig-before"
	// lockFor outlives every wait of this step, which renews it each time.
	lockFor = 30 * time.Minute
	// minWait and maxWait bound the pause between two looks at a restart.
	minWait, maxWait = 20 * time.Second, 10 * time.Minute
	// maxWrites bounds the restarts of one walk: somebody who keeps overwriting
	// esConfig has to be asked, not fought.
	maxWrites = 3
	// unlikeFor is how long nodes may differ from what the cloud says.
	unlikeFor = 10 * time.Minute
)

// Up merges the entry into the whitelist and waits until all nodes have it.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Facts.Accept == nil || r.Facts.Accept.Domain == "" {
		return engine.Outcome{}, fmt.Errorf("run %s has no endpoint domain on record: step accept writes it", r.ID)
	}
	entry := r.Facts.Accept.Domain + ":" + strconv.Itoa(r.Spec.Target.Port)
	return s.walk(ctx, r, change{entry: entry, want: true, merge: func(config map[string]string, name string) (map[string]string, []run.Change, error) {
		next := config
		if f := r.Facts.Configure; f != nil && f.Added && f.Entry != "" && f.Entry != entry { // of an endpoint that is no more
			var err error
			if next, _, err = esconfig.WithoutEntry(config, f.Entry, "", nil); err != nil {
				return nil, nil, err
			}
		}
		next, _, err := esconfig.WithEntry(next, name, r.Spec.Target.TLS)
		return next, esconfig.Difference(config, next), err
	}})
}

// Down takes the run's own entry out again, unless it is to be kept.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	before, err := s.before(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	entry, ours := "", before != nil // a write was about to be sent
	if f := r.Facts.Accept; f != nil && f.Domain != "" {
		entry = f.Domain + ":" + strconv.Itoa(r.Spec.Target.Port)
	}
	if f := r.Facts.Configure; f != nil && f.Entry != "" {
		entry, ours = f.Entry, f.Added
	}
	if r.KeepConfig || entry == "" || !ours {
		if !r.KeepConfig {
			r.Facts.Configure = nil
		}
		return engine.Done(), s.Records.Unlock(ctx, lockOf(r), r.ID)
	}
	return s.walk(ctx, r, change{entry: entry, merge: func(config map[string]string, _ string) (map[string]string, []run.Change, error) {
		return esconfig.WithoutEntry(config, entry, r.Spec.Target.TLS, before)
	}})
}

// change is what a direction makes of esConfig.
type change struct {
	entry string // host:port
	want  bool   // to have it, or to have it no more
	// merge applies the change to a configuration, with an entry of that name.
	merge func(config map[string]string, name string) (map[string]string, []run.Change, error)
}

// walk brings esConfig from where it is to where the change wants it. Both
// directions meet the same states.
func (s *Step) walk(ctx context.Context, r *run.Run, c change) (engine.Outcome, error) {
	in, err := s.Cluster.Describe(ctx, r.Spec.InstanceID)
	gone := apierr.IsNotFound(err) || err == nil && in.Status == escluster.Invalid
	switch {
	case gone && !c.want: // and its configuration with it
		r.Facts.Configure = nil
		return engine.Done(), s.Records.Unlock(ctx, lockOf(r), r.ID)
	case err != nil:
		return engine.Outcome{}, err
	case in.Status == escluster.Activating:
		return s.follow(ctx, r, in.ID)
	case in.Status != escluster.Active:
		return engine.Outcome{}, fmt.Errorf("cluster %s is %s, and its configuration cannot be changed: see in its console why, make it active, then retry", in.ID, in.Status)
	}
	_, diff, err := c.merge(in.Config, c.entry)
	switch {
	case err != nil:
		return engine.Outcome{}, fmt.Errorf("cluster %s: %w", in.ID, err)
	case len(diff) == 0:
		return s.readBack(ctx, r, c)
	}
	return s.write(ctx, r, c)
}

// write replaces esConfig once the difference is approved. The pasts it can
// meet: nothing was written yet; the reply to an earlier write was lost before
// it took effect (nothing at the instance has changed since, so the token is the
// same); it took effect and somebody has overwritten it since (then the token is
// another one, and the write is counted).
func (s *Step) write(ctx context.Context, r *run.Run, c change) (engine.Outcome, error) {
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
	next, diff, err := c.merge(in.Config, c.entry)
	if err != nil {
		return engine.Outcome{}, fmt.Errorf("cluster %s: %w", in.ID, err)
	}
	if len(diff) == 0 || in.Status != escluster.Active {
		return engine.Waitf(minWait, "cluster %s has just been changed by another hand", in.ID), nil
	}
	if f := r.Facts.Configure; f != nil && f.Writes > 0 {
		if c.want && esconfig.Has(in.Config, c.entry) {
			return engine.Outcome{}, fmt.Errorf("cluster %s did not keep %s: set target.protocol to http, or have Alibaba Cloud allow that setting; teardown takes the rest back", in.ID, diff[0].Key)
		}
		if f.Writes >= maxWrites {
			return engine.Outcome{}, fmt.Errorf("esConfig of cluster %s was written %d times and is different each time: somebody else is writing it too; stop that, then retry", in.ID, f.Writes)
		}
	}
	ask, err := s.plan(ctx, r, c, in, diff)
	if err != nil {
		return engine.Outcome{}, err
	}
	if ask != nil { // which may take days
		return engine.Ask(ask), s.Records.Unlock(ctx, lockOf(r), r.ID)
	}
	if before, err := s.before(ctx, r); err != nil {
		return engine.Outcome{}, err
	} else if before == nil {
		if err := s.Records.PutPart(ctx, r.ID, Before, in.Config); err != nil {
			return engine.Outcome{}, err
		}
	}
	f := &run.Configure{Entry: c.entry, Added: true, WroteAt: s.Now(), Writes: 1}
	if old := r.Facts.Configure; old != nil {
		f.Writes += old.Writes
	}
	r.Facts.Configure = f
	f.ChangeID, err = s.Cluster.UpdateConfig(ctx, in.ID, next, r.Token(fmt.Sprintf("configure/%d/%t", in.UpdatedAt.UnixMilli(), c.want)))
	if apierr.CodeOf(err) != "" { // refused, without effect
		f.Writes--
	}
	if err != nil && apierr.ClassOf(err) == apierr.Fatal && c.want && slices.ContainsFunc(diff, func(d run.Change) bool { return d.Key == esconfig.Verification }) {
		err = fmt.Errorf("nothing was changed; if the cloud does not allow %s, set target.protocol to http: %w", esconfig.Verification, err)
	}
	if err != nil {
		return engine.Outcome{}, err
	}
	estimate, err := s.Cluster.EstimateRestart(ctx, in.ID)
	if err != nil {
		estimate = 2 * minWait // only the first wait depends on it
	}
	return engine.Waitf(between(estimate/2), "cluster %s takes up its new configuration and restarts its nodes one by one, in about %s by the cloud's estimate", in.ID, estimate), nil
}

// plan returns what has to be approved before diff may be written, or nil if it
// has been.
func (s *Step) plan(ctx context.Context, r *run.Run, c change, in escluster.Instance, diff []run.Change) (*run.Plan, error) {
	var p run.Plan
	if r.Plan != nil {
		p = *r.Plan
	}
	p.Difference = diff
	if c.want {
		var err error
		if _, p.Difference, err = c.merge(in.Config, esconfig.Placeholder+":"+strconv.Itoa(r.Spec.Target.Port)); err != nil {
			return nil, err
		}
	} else {
		p.Creates, p.Cost = nil, run.Cost{Currency: p.Cost.Currency}
	}
	p.Seal()
	if r.Granted(&p) {
		return nil, nil
	}
	estimate, err := s.Cluster.EstimateRestart(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	p.Restart = run.Restart{Needed: true, Seconds: int(estimate.Seconds())}
	return &p, nil
}

// follow waits for the change that the instance is carrying out, ours or
// another's, and says how far it has come.
func (s *Step) follow(ctx context.Context, r *run.Run, id string) (engine.Outcome, error) {
	what := "is carrying out a change"
	if f := r.Facts.Configure; f != nil && f.Writes > 0 {
		what = "takes up its new configuration"
		if err := s.Records.Lock(ctx, lockOf(r), r.ID, lockFor); err != nil {
			return engine.Outcome{}, err
		}
	}
	actions, err := s.Cluster.ActionRecords(ctx, id)
	if err != nil {
		return engine.Outcome{}, err
	}
	i := slices.IndexFunc(actions, func(a escluster.Action) bool { return a.State == escluster.ChangeUnderWay })
	if i < 0 {
		return engine.Waitf(minWait, "cluster %s %s", id, what), nil
	}
	a := actions[i]
	elapsed := s.Now().Sub(a.Start)
	wait := between(elapsed / 20) // adds a twentieth to the restart at most
	reason := fmt.Sprintf("cluster %s %s (%s)", id, what, a.Name)
	if a.Nodes > 0 {
		reason += fmt.Sprintf(": %d of %d nodes done", a.Completed, a.Nodes)
		// The next node is not done yet, so the rest takes at least so long.
		wait = between(max(elapsed*time.Duration(a.Nodes)/time.Duration(a.Completed+1)-elapsed, elapsed/20))
	}
	if a.Percent != "" {
		reason += ", " + a.Percent
	}
	if a.Exception != "" {
		reason += "; the cloud reports " + a.Exception
	}
	return engine.Wait(wait, reason), nil
}

// readBack ends the step when the nodes run with what the API says.
func (s *Step) readBack(ctx context.Context, r *run.Run, c change) (engine.Outcome, error) {
	f := r.Facts.Configure
	if !c.want && (f == nil || f.Writes == 0) { // another hand has removed it
		r.Facts.Configure = nil
		return engine.Done(), s.Records.Unlock(ctx, lockOf(r), r.ID)
	}
	if f == nil || f.Entry != c.entry {
		// There already; ours only if a write of ours was about to be sent.
		before, err := s.before(ctx, r)
		if err != nil {
			return engine.Outcome{}, err
		}
		f = &run.Configure{Entry: c.entry, Added: before != nil && !esconfig.Has(before, c.entry)}
		r.Facts.Configure = f
	}
	nodes, err := s.Nodes(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	lists, err := nodes.RemoteWhitelist(ctx)
	if err != nil {
		return engine.Outcome{}, access.Explain(err, access.Instance(r))
	}
	var unlike []string
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		if slices.Contains(lists[name], c.entry) != c.want {
			unlike = append(unlike, name)
		}
	}
	if len(unlike) > 0 || len(lists) == 0 {
		if f.Unlike.IsZero() {
			f.Unlike = s.Now()
		}
		text := fmt.Sprintf("cluster %s is active, but nodes %s do not run with the %s that it was given", r.Spec.InstanceID, strings.Join(unlike, ", "), esconfig.Whitelist)
		if s.Now().Sub(f.Unlike) > unlikeFor {
			return engine.Outcome{}, errors.New(text + ": restart the cluster in its console, then retry")
		}
		return engine.Wait(minWait, text+" yet"), nil
	}
	if err := s.Records.Unlock(ctx, lockOf(r), r.ID); err != nil {
		return engine.Outcome{}, err
	}
	if !c.want {
		r.Facts.Configure = nil
		return engine.Done(), nil
	}
	f.Writes, f.Unlike = 0, time.Time{}
	return engine.Done(), nil
}

// before returns esConfig as it was before the first write, or nil.
func (s *Step) before(ctx context.Context, r *run.Run) (map[string]string, error) {
	var config map[string]string
	err := s.Records.GetPart(ctx, r.ID, Before, &config)
	if errors.Is(err, run.ErrNotFound) {
		return nil, nil
	}
	if config == nil {
		config = map[string]string{}
	}
	return config, err
}

func lockOf(r *run.Run) string { return "config/" + r.Spec.InstanceID }

func between(d time.Duration) time.Duration { return min(max(d, minWait), maxWait) }
