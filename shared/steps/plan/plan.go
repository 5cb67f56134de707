// Package plan looks at the destination and says what a run is about to do:
// what it will make, what it changes in the configuration, what restarts and
// for how long, and what it costs. Then it waits for approval.
package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/access"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/apierr"
	"eslink/shared/copying"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/esconfig"
	"eslink/shared/run"
	"eslink/shared/steps"
)

type opener interface {
	Open(ctx context.Context, s access.Side) (*es.Client, error)
}

type control interface {
	Describe(ctx context.Context, id string) (escluster.Instance, error)
	EstimateRestart(ctx context.Context, id string) (time.Duration, error)
}

// Step is the step plan. It runs in the instance's VPC and writes nothing.
type Step struct {
	Clusters opener
	Control  control
	Rows     esconfig.Rows
}

// New returns the step.
func New(d steps.Deps) engine.Step {
	return &Step{Clusters: access.Opener{Cloud: d.Cloud}, Control: escluster.New(d.Cloud), Rows: d.Runs}
}

// Up judges the destination, then plans.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	p, err := s.plan(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	var fs events.Findings
	if err := s.judge(ctx, r, p.Restart.Needed, &fs); err != nil {
		return engine.Outcome{}, access.Explain(err, access.Instance(r))
	}
	if err := fs.Problem("plan", r.Spec.AcceptRisks); err != nil {
		return engine.Outcome{}, err
	}
	r.Plan = p
	nothing := len(p.Creates) == 0 && len(p.Difference) == 0
	if nothing || r.PlanOnly || r.Granted(p) {
		return engine.Done(), nil
	}
	return engine.Ask(p), nil
}

// needs are what a copy takes at the destination: manage to follow, throttle
// and cancel tasks; and per index what creating, writing, refreshing and
// counting take. The check's own index is among them.
func needs(r *run.Run) es.Needs {
	n := es.Needs{Cluster: []string{"monitor", "manage"}, Index: map[string][]string{
		"eslink-check-" + r.ID: {"create_index", "write", "delete_index", "view_index_metadata"},
	}}
	for _, ix := range r.Spec.Indices {
		n.Index[ix.Dest] = []string{"create_index", "write", "read", "maintenance", "monitor", "view_index_metadata"}
	}
	return n
}

func (s *Step) judge(ctx context.Context, r *run.Run, restarts bool, fs *events.Findings) error {
	side := access.Instance(r)
	c, err := s.Clusters.Open(ctx, side)
	if err != nil {
		return err
	}
	missing, err := c.Missing(ctx, needs(r))
	if err != nil {
		return err
	}
	for _, m := range missing {
		fs.Add(side.Field, "the user of secret "+side.Secret+" lacks the privilege "+m+" on "+side.Cluster.InstanceID, "grant it to one of the user's roles")
	}
	if len(missing) > 0 {
		return nil // what follows would only fail for want of them
	}
	if err := judgeHealth(ctx, c, restarts, fs); err != nil {
		return err
	}
	if err := judgeDisk(ctx, c, r, fs); err != nil {
		return err
	}
	return judgeIndices(ctx, c, r, fs)
}

func judgeHealth(ctx context.Context, c *es.Client, restarts bool, fs *events.Findings) error {
	h, err := c.Health(ctx)
	if err != nil {
		return err
	}
	if h.Status != "green" {
		fs.AddRisk("not-green", "instanceId", "the instance's health is "+h.Status, "make it green first")
	}
	if !restarts {
		return nil
	}
	if h.DataNodes < 2 {
		fs.AddRisk("single-node", "instanceId", "the instance has one data node, and it is away while it restarts", "add nodes first")
	}
	bare, err := c.WithoutReplica(ctx)
	if err != nil {
		return err
	}
	if len(bare) > 0 {
		fs.AddRisk("no-replicas", "instanceId",
			fmt.Sprintf("%d indices without a replica are gone while their node restarts: %s", len(bare), strings.Join(bare[:min(10, len(bare))], ", ")),
			"give each at least one replica first")
	}
	return nil
}

// judgeDisk wants room for what is still to be copied, with a replica, and a
// fifth more. What a query selects is reckoned by its share of the documents.
func judgeDisk(ctx context.Context, c *es.Client, r *run.Run, fs *events.Findings) error {
	free, err := c.FreeBytes(ctx)
	if err != nil {
		return err
	}
	var need int64
	for i, ix := range r.Facts.Survey.Indices {
		if ix.Total > 0 && !copying.Copied(r, i) {
			need += int64(float64(ix.Bytes) * float64(ix.Documents) / float64(ix.Total) * 2 * 1.2)
		}
	}
	if free < need {
		fs.AddRisk("little-disk", "instanceId", fmt.Sprintf("the copy may take %d MB with replicas, %d MB are free", need>>20, free>>20), "add disk first")
	}
	return nil
}

// judgeIndices looks at each destination and at the analyzers that it needs: a
// missing one must not be replaced, since searches would change silently.
func judgeIndices(ctx context.Context, c *es.Client, r *run.Run, fs *events.Findings) error {
	known := map[string]bool{}
	for i, ix := range r.Spec.Indices {
		_, err := c.Definition(ctx, ix.Dest)
		switch {
		case es.IsAlias(err):
			fs.Add(fmt.Sprintf("indices[%d].dest", i), ix.Dest+" is an alias at the destination", "name an index")
			continue
		case err != nil && !apierr.IsNotFound(err):
			return err
		case err == nil:
			continue // it has its mappings already
		}
		names, err := analyzers(r, i)
		if err != nil {
			return err
		}
		for _, name := range names {
			ok, tried := known[name]
			if !tried {
				if ok, err = c.HasAnalyzer(ctx, name); err != nil {
					return err
				}
				known[name] = ok
			}
			if !ok {
				fs.Add(fmt.Sprintf("indices[%d]", i), fmt.Sprintf("index %s needs the analyzer %s, which the instance lacks", ix.Source, name),
					"install its plugin on the instance, or give mappings without it in indices[].destination.mappings")
			}
		}
	}
	return nil
}

func analyzers(r *run.Run, i int) ([]string, error) {
	d := r.Spec.Indices[i].Destination
	var mappings json.RawMessage
	var inherited []string
	switch d.MappingsFrom() {
	case "source":
		inherited = r.Facts.Survey.Indices[i].Analyzers
	case "none":
	default:
		mappings = d.Mappings
	}
	given, err := es.ForeignAnalyzers(mappings, d.Settings)
	if err != nil {
		return nil, fmt.Errorf("indices[%d].destination: %w", i, err)
	}
	return append(given, inherited...), nil
}

// plan says what is still to be made and changed.
func (s *Step) plan(ctx context.Context, r *run.Run) (*run.Plan, error) {
	id := r.Spec.InstanceID
	instance, err := s.Control.Describe(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	book, err := esconfig.Read(ctx, s.Rows, r)
	if err != nil {
		return nil, err
	}
	domain := esconfig.Domain(r)
	c, err := book.Of(instance.Config, r.Spec, domain)
	if err != nil {
		return nil, err
	}
	p := &run.Plan{Difference: esconfig.Hide(c.Difference, domain), Cost: costOf(r.Spec.Region), Creates: append(missing(r), book.Beside(r.Spec)...)}
	if len(c.Difference) > 0 {
		d, err := s.Control.EstimateRestart(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("plan: %w", err)
		}
		p.Restart = run.Restart{Needed: true, Seconds: int(d.Seconds())}
	}
	p.Seal()
	return p, nil
}

// missing lists what the run has not made yet.
func missing(r *run.Run) []string {
	var out []string
	if r.Facts.NLB == nil {
		out = append(out, "a private NLB in "+r.Facts.Preflight.Target.VpcID)
	}
	if r.Facts.IPWhitelist == nil {
		out = append(out, "a group in the private whitelist of "+r.Spec.Target.InstanceID)
	}
	if r.Facts.EndpointService == nil {
		out = append(out, "a PrivateLink endpoint service")
	}
	if r.Facts.PrivateConnection == nil {
		out = append(out, "an endpoint of "+r.Spec.InstanceID)
	}
	if r.Facts.Destination == nil {
		for _, ix := range r.Spec.Indices {
			out = append(out, "index "+ix.Dest+" on "+r.Spec.InstanceID+", if it does not exist")
		}
	}
	return out
}

// hoursPerMonth is how Alibaba Cloud reckons a month.
const hoursPerMonth = 720

// costOf is the standing cost: one private NLB and one endpoint in one zone, by
// the price pages of NLB and PrivateLink (read 2026; prices change).
func costOf(region string) run.Cost {
	c := run.Cost{Currency: "CNY", PerHour: 0.147 + 0.07, Note: "traffic and load-balancer capacity units come on top; list prices of 2026"}
	if !strings.HasPrefix(region, "cn-") {
		c.Currency, c.PerHour = "USD", 0.02+0.01
	}
	c.PerMonth = c.PerHour * hoursPerMonth
	return c
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
