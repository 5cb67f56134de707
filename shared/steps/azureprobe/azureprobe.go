// Package azureprobe is the step that asks, from a machine inside the network and
// without a login, whether each deployment is reached through the private endpoint:
// before any policy filters traffic, so that a link that does not work locks nobody
// out.
package azureprobe

import (
	"context"
	"net/netip"
	"slices"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/azure"
	"eslink/shared/azure/compute"
	"eslink/shared/azurelink"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Step probes.
type Step struct {
	Open func(ctx context.Context, s events.Spec) (azurelink.Commands, error)
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := azurelink.Opener{Secrets: kms.New(d.Aliyun), Cloud: azure.Config{Transport: d.Transport("azure")}}
	return &Step{Open: func(ctx context.Context, s events.Spec) (azurelink.Commands, error) {
		a, err := o.Open(ctx, s, s.VMName())
		if err != nil {
			return nil, err
		}
		return compute.New(a)
	}}
}

// Up probes the deployments in turn.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f := r.Facts.AzureProbe
	if f == nil {
		f = &facts.InsideProof{}
		r.Facts.AzureProbe = f
	}
	if r.Spec.Vantage == nil {
		f.Level = "control plane"
		return engine.Done(), nil
	}
	if azurelink.Bad(f.Results) { // a retry
		f.Results = nil
	}
	c, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	address, err := netip.ParseAddr(r.Facts.AzureEndpoint.Address)
	if err != nil {
		return engine.Outcome{}, err
	}
	p := azurelink.Prober{Commands: c, Machine: azurelink.MachineOf(r.Facts.AzurePreflight), Prefix: r.Name("azure-probe"), Facts: f}
	for i, d := range r.Facts.ElasticSurvey.Deployments {
		if i < len(f.Results) {
			continue
		}
		e := azurelink.Expect{Address: address, Approved: true, Filtered: len(d.Policies) > 0 && r.Spec.Elastic.Associate && !associated(r, d.ID)}
		pause, err := p.Prove(ctx, d, e, nil)
		if err != nil {
			return engine.Outcome{}, azurelink.Explain(err)
		}
		if pause != nil {
			return engine.Wait(pause.For, pause.Reason), nil
		}
	}
	if err := azurelink.Failed("azure-probe", f.Results); err != nil {
		return engine.Outcome{}, err
	}
	f.Level = "inside"
	return engine.Done(), nil
}

// associated reports whether the run's policy filters the deployment already.
func associated(r *run.Run, id string) bool {
	return r.Facts.ElasticAccess != nil && slices.Contains(r.Facts.ElasticAccess.Associated, id)
}

// Down deletes a probe that a stopped run has left behind.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f := r.Facts.AzureProbe
	if f == nil || r.Spec.Vantage == nil || r.Facts.AzurePreflight == nil {
		return engine.Done(), nil
	}
	c, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	p := azurelink.Prober{Commands: c, Machine: azurelink.MachineOf(r.Facts.AzurePreflight), Prefix: r.Name("azure-probe"), Facts: f}
	if err := p.Clean(ctx); err != nil {
		return engine.Outcome{}, azurelink.Explain(err)
	}
	r.Facts.AzureProbe = nil
	return engine.Done(), nil
}
