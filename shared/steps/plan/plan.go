// Package plan looks at the instance and says what a run is about to do:
// what it will make, what it changes in the configuration, what restarts and
// for how long, and what it costs. Then it waits for approval.
package plan

import (
	"context"
	"fmt"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/clusters"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/esconfig"
	"eslink/shared/run"
)

type opener interface {
	Open(ctx context.Context, s clusters.Side) (*es.Client, error)
	Login(ctx context.Context, s clusters.Side) (kms.Login, error)
}

type control interface {
	Describe(ctx context.Context, id string) (escluster.Instance, error)
	EstimateRestart(ctx context.Context, id string) (time.Duration, error)
	Keystore(ctx context.Context, id string) ([]string, error)
}

// Step is the step plan. It runs in the instance's VPC and writes nothing.
type Step struct {
	Clusters opener
	Control  control
	Rows     esconfig.Rows
}

// New returns the step.
func New(d deps.Deps) engine.Step {
	return &Step{Clusters: clusters.Opener{Cloud: d.Aliyun}, Control: escluster.New(d.Aliyun), Rows: d.Runs}
}

// Up plans, and judges the instance by what is planned.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	p, err := s.plan(ctx, r)
	if err != nil {
		return engine.Outcome{}, err
	}
	var fs events.Findings
	if err := s.judgeSecrets(ctx, r, &fs); err != nil {
		return engine.Outcome{}, err
	}
	if err := s.judge(ctx, r, p, &fs); err != nil {
		return engine.Outcome{}, clusters.Explain(err, clusters.Destination(r))
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
	p := &run.Plan{Difference: esconfig.Hide(c.Difference, domain), Cost: costOf(r.Spec), Creates: append(missing(r), book.Extras(r.Spec)...), Notes: refreshes(r)}
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
	f, link := r.Facts, r.Facts.Link()
	if host := f.Preflight.ECS; host != nil {
		if link.Balancer.Kind == "" {
			out = append(out, "a private CLB in "+host.VpcID)
		}
		if !link.Balancer.Admitted {
			out = append(out, "rules in a security group of "+host.InstanceID+", unless others admit the balancer already")
		}
		for _, port := range r.Spec.Ports() {
			if !link.Balancer.Listens(port) {
				out = append(out, fmt.Sprintf("a listener on port %d with %s:%d behind it", port, host.PrivateIP, port))
			}
		}
	} else {
		if link.Balancer.Kind == "" {
			out = append(out, "a private NLB in "+f.Preflight.Target.VpcID)
		}
		if !link.Balancer.Admitted {
			out = append(out, "a group in the private whitelist of "+r.Spec.Target.InstanceID)
		}
	}
	if !link.ServiceAsked {
		out = append(out, "a PrivateLink endpoint service")
	}
	if !link.EndpointAsked {
		out = append(out, "an endpoint of "+r.Spec.InstanceID)
	}
	if f.Destination == nil || len(f.Destination.Indices) == 0 { // this generation has copied nothing yet
		for i, ix := range r.Indices() {
			made := "index " + ix.Dest + " on " + r.Spec.InstanceID
			if names := aliases(r, i); len(names) > 0 {
				made += " with its aliases " + strings.Join(names, " and ")
			}
			out = append(out, made+", if it does not exist")
		}
	}
	return out
}

// hoursPerMonth is how Alibaba Cloud reckons a month.
const hoursPerMonth = 720

// costOf is the standing cost: one private balancer and one endpoint in one
// zone, by the price pages of NLB and PrivateLink (read 2026; prices change). What
// a CLB costs by itself is on no page that could be read.
func costOf(s events.Spec) run.Cost {
	c := run.Cost{Currency: "CNY", PerHour: 0.07, Note: "traffic and load-balancer capacity units come on top; list prices of 2026"}
	balancer := 0.147
	if !strings.HasPrefix(s.Region, "cn-") {
		c.Currency, c.PerHour, balancer = "USD", 0.01, 0.02
	}
	if s.Target.InstanceID == "" {
		c.Note = "the CLB's own hourly price (pay-by-LCU), traffic and capacity units come on top; list prices of 2026"
	} else {
		c.PerHour += balancer
	}
	c.PerMonth = c.PerHour * hoursPerMonth
	return c
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
