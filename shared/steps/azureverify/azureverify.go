// Package azureverify is the step that ends a run with the four checks of each
// deployment: link, by what both control planes say, and network, login and
// operation, by a probe with the login from a machine inside the network.
package azureverify

import (
	"context"
	"fmt"
	"net/netip"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/azure"
	"eslink/shared/azure/compute"
	"eslink/shared/azure/network"
	"eslink/shared/azure/privatedns"
	"eslink/shared/azurelink"
	"eslink/shared/azurelink/standing"
	"eslink/shared/deps"
	"eslink/shared/elasticcloud"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/secrets"
)

// Cloud is all that the step calls.
type Cloud struct {
	Standing standing.Cloud
	Commands azurelink.Commands
}

// Step verifies.
type Step struct {
	Open func(ctx context.Context, s events.Spec) (Cloud, error)
	// Login makes the probe's login for a deployment.
	Login func(ctx context.Context, s events.Spec, deploymentID string) (string, error)
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := azurelink.Opener{Secrets: kms.New(d.Aliyun), Cloud: azure.Config{Transport: d.Transport("azure")}}
	return &Step{Login: o.Auth, Open: func(ctx context.Context, s events.Spec) (Cloud, error) {
		var machines []string
		if s.Vantage != nil {
			machines = []string{s.VMName()}
		}
		a, err := o.Open(ctx, s, machines...)
		if err != nil {
			return Cloud{}, err
		}
		key, err := secrets.Read(ctx, o.Secrets, secrets.Name{Name: s.Secrets.Elastic, Field: "secrets.elastic"}, elasticcloud.ParseKey)
		if err != nil {
			return Cloud{}, err
		}
		n, err := network.New(a)
		if err != nil {
			return Cloud{}, err
		}
		z, err := privatedns.New(a)
		if err != nil {
			return Cloud{}, err
		}
		c, err := compute.New(a)
		policies := elasticcloud.New(elasticcloud.Config{Transport: d.Transport("elasticcloud")}, key)
		return Cloud{standing.Cloud{Endpoints: n, Names: z, Policies: policies}, c}, err
	}}
}

// Up makes the checks.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f := r.Facts.AzureVerify
	if f == nil {
		f = &facts.InsideProof{}
		r.Facts.AzureVerify = f
	}
	if azurelink.Bad(f.Results) { // a retry
		f.Results = nil
	}
	c, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	link, err := c.Standing.Check(ctx, standing.Link{Endpoint: azure.ID(r.Facts.AzureEndpoint.ID), Zone: r.Facts.AzureDNS.Zone, Region: r.Spec.Elastic.Region})
	if err != nil {
		return engine.Outcome{}, azurelink.Explain(err)
	}
	if !link.Check.OK {
		return engine.Outcome{}, events.NewProblem(409, "not-proven", "azure-verify found that the link does not stand", events.Finding{Field: "azure", Message: link.Check.Detail, Remedy: link.Check.Remedy})
	}
	r.Facts.ElasticPolicy.Deployments, r.Facts.ElasticPolicy.Total = link.Policy.Deployments, link.Policy.Total
	if out, err := s.prove(ctx, c, r, f, link.Check); out != nil || err != nil {
		if out == nil {
			out = &engine.Outcome{}
		}
		return *out, err
	}
	f.Access = access(r)
	return engine.Done(), nil
}

// prove proves the deployments in turn.
func (s *Step) prove(ctx context.Context, c Cloud, r *run.Run, f *facts.InsideProof, link facts.Check) (*engine.Outcome, error) {
	deployments := r.Facts.ElasticSurvey.Deployments
	if r.Spec.Vantage == nil {
		f.Level, f.Results = "control plane", nil
		for _, d := range deployments {
			f.Results = append(f.Results, facts.DeploymentChecks{DeploymentID: d.ID, Host: d.Host, Checks: []facts.Check{link}})
		}
		return nil, nil
	}
	address, err := netip.ParseAddr(r.Facts.AzureEndpoint.Address)
	if err != nil {
		return nil, err
	}
	p := azurelink.Prober{Commands: c.Commands, Machine: azurelink.MachineOf(r.Facts.AzurePreflight), Prefix: r.Name("azure-verify"), Facts: f}
	for i, d := range deployments {
		if i < len(f.Results) {
			continue
		}
		pause, err := p.Prove(ctx, d, azurelink.Expect{Address: address, Approved: true, Login: true}, func() (string, error) { return s.Login(ctx, r.Spec, d.ID) })
		if err != nil {
			return nil, azurelink.Explain(err)
		}
		if pause != nil {
			out := engine.Wait(pause.For, pause.Reason)
			return &out, nil
		}
		f.Results[i].Checks = append([]facts.Check{link}, f.Results[i].Checks...)
	}
	if err := azurelink.Failed("azure-verify", f.Results); err != nil {
		return nil, err
	}
	f.Level = "inside"
	return nil, nil
}

// access is what a person needs to use the link.
func access(r *run.Run) []string {
	dns := r.Facts.AzureDNS
	var out []string
	fleet := false
	for _, d := range r.Facts.ElasticSurvey.Deployments {
		for _, u := range d.URLs {
			out = append(out, d.Name+" "+u.Product+": "+u.URL)
			fleet = fleet || u.Product == "fleet"
		}
	}
	out = append(out,
		fmt.Sprintf("from another virtual network: peer it with %s and link zone %s (resource group %s) to it (azure.moreVirtualNetworkIds does the latter)", r.Spec.Azure.VirtualNetwork, dns.Zone, dns.Group),
		fmt.Sprintf("over a VPN or ExpressRoute: route %s through it, and forward %s to 168.63.129.16 by a DNS resolver inside %s", r.Facts.AzureEndpoint.Address, dns.Zone, r.Spec.Azure.VirtualNetwork))
	if fleet {
		out = append(out, "agents: set the private URLs of fleet as Fleet Server host and of elasticsearch as the output's host, in Fleet's settings")
	}
	if r.Spec.Vantage == nil {
		d := r.Facts.ElasticSurvey.Deployments[0]
		out = append(out, fmt.Sprintf("not proven from inside: run curl -v https://%s:%d/ on a machine of the network; it has to connect to %s, with a valid certificate", d.Host, d.Ports[0], r.Facts.AzureEndpoint.Address))
	}
	return out
}

// Down deletes a probe that a stopped run has left behind.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f := r.Facts.AzureVerify
	if f == nil || r.Spec.Vantage == nil || r.Facts.AzurePreflight == nil {
		return engine.Done(), nil
	}
	c, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	p := azurelink.Prober{Commands: c.Commands, Machine: azurelink.MachineOf(r.Facts.AzurePreflight), Prefix: r.Name("azure-verify"), Facts: f}
	if err := p.Clean(ctx); err != nil {
		return engine.Outcome{}, azurelink.Explain(err)
	}
	r.Facts.AzureVerify = nil
	return engine.Done(), nil
}
