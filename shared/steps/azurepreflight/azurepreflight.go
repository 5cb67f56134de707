// Package azurepreflight is the step that reads what Azure says of the network, the
// subnet for the private endpoint and the machine that is to prove the link. It
// writes nothing.
package azurepreflight

import (
	"context"
	"fmt"
	"strings"

	"eslink/events"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/azure"
	"eslink/shared/azure/compute"
	"eslink/shared/azure/network"
	"eslink/shared/azurelink"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Networks read networks and interfaces.
type Networks interface {
	VirtualNetwork(ctx context.Context, group, name string) (network.VirtualNetwork, error)
	FreeAddresses(ctx context.Context, subnet azure.ID) (int, error)
	Interface(ctx context.Context, id azure.ID) (network.Interface, error)
}

// Machines read machines.
type Machines interface {
	Machine(ctx context.Context, group, name string) (compute.Machine, error)
}

// Step judges the network and the machine.
type Step struct {
	Open func(ctx context.Context, s events.Spec) (Networks, Machines, error)
}

// New returns the step for a function.
func New(d deps.Deps) engine.Step {
	o := azurelink.Opener{Secrets: kms.New(d.Aliyun), Cloud: azure.Config{Transport: d.Transport("azure")}}
	return &Step{Open: func(ctx context.Context, s events.Spec) (Networks, Machines, error) {
		var machines []string
		if s.Vantage != nil {
			machines = []string{s.VMName()}
		}
		a, err := o.Open(ctx, s, machines...)
		if err != nil {
			return nil, nil, err
		}
		n, err := network.New(a)
		if err != nil {
			return nil, nil, err
		}
		c, err := compute.New(a)
		return n, c, err
	}}
}

// Up reads and judges.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	n, m, err := s.Open(ctx, r.Spec)
	if err != nil {
		return engine.Outcome{}, err
	}
	var fs events.Findings
	f := &facts.AzurePreflight{}
	v, err := s.network(ctx, n, r, f, &fs)
	if err == nil && r.Spec.Vantage != nil {
		err = s.machine(ctx, n, m, r.Spec, v, f, &fs)
	}
	if err != nil {
		return engine.Outcome{}, azurelink.Explain(err)
	}
	if err := fs.Problem("azure-preflight", r.Spec.AcceptRisks); err != nil {
		return engine.Outcome{}, err
	}
	r.Facts.AzurePreflight = f
	return engine.Done(), nil
}

func (s *Step) network(ctx context.Context, n Networks, r *run.Run, f *facts.AzurePreflight, fs *events.Findings) (network.VirtualNetwork, error) {
	a := r.Spec.Azure
	v, err := n.VirtualNetwork(ctx, a.ResourceGroup, a.VirtualNetwork)
	if apierr.IsNotFound(err) {
		fs.Add("azure.virtualNetwork", fmt.Sprintf("there is no network %s in resource group %s", a.VirtualNetwork, a.ResourceGroup), "correct the name, the resource group or the subscription")
		return v, nil
	}
	if err != nil {
		return v, err
	}
	if !strings.EqualFold(v.Location, a.Location) {
		fs.Add("azure.location", fmt.Sprintf("network %s is in %s", a.VirtualNetwork, v.Location), "say location "+v.Location+": a private endpoint is in its network's region, whatever the deployment's")
	}
	if f.DNSServers = v.DNSServers; len(f.DNSServers) > 0 {
		fs.AddRisk(events.RiskCustomDNS, "azure.virtualNetwork", "the network asks DNS servers of its own ("+strings.Join(v.DNSServers, ", ")+"), which do not know the private zone by themselves",
			"have them forward the zone to 168.63.129.16")
	}
	i := -1
	for k, sub := range v.Subnets {
		if strings.EqualFold(sub.Name, a.Subnet) {
			i = k
		}
	}
	if i < 0 {
		fs.Add("azure.subnet", fmt.Sprintf("network %s has no subnet %s", a.VirtualNetwork, a.Subnet), "name one of its subnets")
		return v, nil
	}
	sub := v.Subnets[i]
	f.SubnetID = string(sub.ID)
	if len(sub.Delegations) > 0 {
		fs.Add("azure.subnet", "subnet "+sub.Name+" is delegated to "+strings.Join(sub.Delegations, ", ")+", and takes no private endpoint", "name a subnet that is not delegated")
	}
	if sub.EndpointPolicies == "Enabled" {
		fs.Add("azure.subnet", "subnet "+sub.Name+" applies network policies to private endpoints, which some clouds refuse", "set privateEndpointNetworkPolicies of the subnet to Disabled or NetworkSecurityGroupEnabled, or name another one")
	}
	f.FreeAddresses, err = n.FreeAddresses(ctx, sub.ID)
	if err == nil && f.FreeAddresses < 1 && r.Facts.AzureEndpoint == nil {
		fs.Add("azure.subnet", "subnet "+sub.Name+" has no free address", "name another subnet")
	}
	return v, err
}

// machine judges the machine that is to prove the link: on another network it would
// prove nothing.
func (s *Step) machine(ctx context.Context, n Networks, c Machines, spec events.Spec, v network.VirtualNetwork, f *facts.AzurePreflight, fs *events.Findings) error {
	const field = "vantage.vm"
	group, name := spec.Vantage.Machine()
	m, err := c.Machine(ctx, group, name)
	if apierr.IsNotFound(err) {
		fs.Add(field, fmt.Sprintf("there is no machine %s in resource group %s", name, group), "name a machine of this subscription")
		return nil
	}
	if err != nil {
		return err
	}
	if m.OS != "Linux" {
		fs.Add(field, "machine "+name+" runs "+m.OS, "name a Linux machine: the probe is a POSIX shell script")
	}
	if m.Power != "PowerState/running" {
		fs.Add(field, "machine "+name+" is not running ("+m.Power+")", "start it, or name another one")
	} else if m.Agent != "Ready" {
		fs.Add(field, "the guest agent of machine "+name+" is not ready, so that no script would run", "repair the Azure Linux agent (at least 2.4.0.2), or name another machine")
	}
	inside := false
	for _, id := range m.Interfaces {
		i, err := n.Interface(ctx, id)
		if err != nil && !apierr.IsNotFound(err) {
			return err
		}
		inside = inside || err == nil && i.Subnet.Under(azure.ID(spec.Azure.NetworkID()))
	}
	if !inside && v.ID != "" {
		fs.Add(field, "machine "+name+" is not on network "+spec.Azure.VirtualNetwork+", so that it would prove nothing", "name a machine on that network")
	}
	f.MachineID, f.MachineLocation = string(m.ID), m.Location
	return nil
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
