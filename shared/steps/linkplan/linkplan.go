// Package linkplan is the step that says what a run is about to make on other
// clouds, what it costs, and who will be locked out, and that waits for approval. It
// judges by the facts of the steps before it alone, and writes nothing.
package linkplan

import (
	"context"

	"eslink/events"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/run"
)

// Step plans.
type Step struct{}

// New returns the step for a function.
func New(deps.Deps) engine.Step { return &Step{} }

// draft is what a scenario says of a run.
type draft struct {
	creates []string
	access  []string
	cost    run.Cost
	// consent is needed of a person, whatever approve says.
	consent  bool
	findings events.Findings
}

// Up plans. A run that has nothing to make, and nobody to lock out, goes on.
func (s *Step) Up(_ context.Context, r *run.Run) (engine.Outcome, error) {
	d := plan(r)
	if err := d.findings.Problem("link-plan", r.Spec.AcceptRisks); err != nil {
		return engine.Outcome{}, err
	}
	p := &run.Plan{Creates: d.creates, Access: d.access, Cost: d.cost, Difference: []run.Change{}}
	p.Seal()
	r.Plan = p
	if len(d.creates) == 0 && len(d.access) == 0 || r.PlanOnly {
		return engine.Done(), nil
	}
	if r.Approved == p.ID || r.Granted(p) && !d.consent {
		return engine.Done(), nil
	}
	return engine.Ask(p), nil
}

// plan is what is to be made between the two clouds that the spec names.
func plan(r *run.Run) draft {
	if r.Spec.Zilliz != nil {
		return zillizAWS(r)
	}
	return elasticAzure(r)
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
