// Package configure is the step that gives the destination cluster what a run's
// use cases need: entries and settings of esConfig, secure settings, role
// mappings. The cloud replaces esConfig as a whole and restarts the nodes, one by
// one; so it is read, merged and written back once, under a lock, only as far as
// a person approved it, and what the nodes run with is read from the nodes.
//
// A walk is a provisioning (up), a removal (down) or a restoration (up, when a
// person asked for it because the nodes do not come up). All three meet the same
// states: they look, follow a change that the cluster is carrying out, write, or
// finish.
package configure

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/clusters"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/esconfig"
	"eslink/shared/run"
)

// Cluster is the destination's control plane.
type Cluster interface {
	Describe(ctx context.Context, id string) (escluster.Instance, error)
	UpdateConfig(ctx context.Context, id string, config map[string]string, token string) (changeID string, err error)
	EstimateRestart(ctx context.Context, id string) (time.Duration, error)
	ActionRecords(ctx context.Context, id string) ([]escluster.Action, error)
	Interrupt(ctx context.Context, id, token string) error
	Keystore(ctx context.Context, id string) ([]string, error)
	SetKeystore(ctx context.Context, id string, update map[string]string, remove []string) error
}

// Nodes are the cluster's nodes themselves.
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
	AliveOn(ctx context.Context, instanceID string) iter.Seq2[*run.Run, error]
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
	// maxWrites bounds the restarts of one walk: when somebody keeps overwriting
	// esConfig, a person has to decide.
	maxWrites = 3
	// unlikeFor is how long nodes may differ from what the cloud says, failingFor
	// how long they may fail to start.
	unlikeFor, failingFor = 10 * time.Minute, 15 * time.Minute
)

// view is what the cluster has, and what a walk changes of it.
type view struct {
	in       escluster.Instance
	journal  *esconfig.Journal
	change   esconfig.Change
	keystore keystore
}

// complete reports whether esConfig and keystore are as the walk wants them.
func (v view) complete() bool { return len(v.change.Difference) == 0 && v.keystore.empty() }

// Up adds what the run needs and waits until all nodes have it.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.Restore {
		return s.restore(ctx, r)
	}
	domain := esconfig.Domain(r)
	if domain == esconfig.Placeholder {
		return engine.Outcome{}, fmt.Errorf("run %s has no endpoint domain on record: step accept writes it", r.ID)
	}
	return s.provision(ctx, r, provisioning{r.Spec, domain})
}

// Down removes what the run added, unless that is to be kept.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if r.KeepConfig {
		return s.unlocked(ctx, r)
	}
	return s.remove(ctx, r, removal{esconfig.Domain(r)})
}

// unlocked is Done once the run has given up the configuration's lock.
func (s *Step) unlocked(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if err := s.Records.Unlock(ctx, lockOf(r), r.ID); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Done(), nil
}

// look compares an active cluster with what a walk wants.
func (s *Step) look(ctx context.Context, r *run.Run, w walk, journal *esconfig.Journal, in escluster.Instance) (view, error) {
	v := view{in: in, journal: journal}
	if in.Status != escluster.Active {
		return v, fmt.Errorf("cluster %s is %s, and its configuration cannot be changed: see its console for the cause, make it active, then retry", in.ID, in.Status)
	}
	spec, domain := w.goal()
	if journal.SharedWithOthers(in.Config, spec) {
		var all []*run.Run
		for other, err := range s.Records.AliveOn(ctx, in.ID) {
			if err != nil {
				return v, err
			}
			all = append(all, other)
		}
		if err := journal.LoadOtherRuns(ctx, r, all); err != nil {
			return v, err
		}
	}
	var err error
	if v.change, err = journal.Of(in.Config, spec, domain); err != nil {
		return v, fmt.Errorf("cluster %s: %w", in.ID, err)
	}
	v.keystore, err = s.keystore(ctx, journal, spec, r.Facts.Preflight)
	return v, err
}

// wrote reports whether this walk has written something.
func wrote(r *run.Run) bool {
	f := r.Facts.Configure
	return f != nil && (f.Writes > 0 || !f.WroteAt.Before(r.Cursor.Since))
}

func list(items []string) string { return strings.Join(items, ", ") }

func lockOf(r *run.Run) string { return "config/" + r.Spec.InstanceID }

func between(d time.Duration) time.Duration { return min(max(d, minWait), maxWait) }
