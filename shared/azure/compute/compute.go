// Package compute calls Azure Compute, API version 2026-04-01: a virtual machine and
// its managed run commands. It is used through armcompute.
package compute

import (
	"context"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	sdk "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"eslink/shared/azure"
)

const product = "Microsoft.Compute"

// States of a run command's execution; provisioning only says that the platform has
// started it.
const (
	Pending   = "Pending"
	Running   = "Running"
	Succeeded = "Succeeded"
	Failed    = "Failed"
	TimedOut  = "TimedOut"
	Canceled  = "Canceled"
	Unknown   = "Unknown"
)

// Client reads a machine and runs scripts on it.
type Client struct {
	machines *sdk.VirtualMachinesClient
	commands *sdk.VirtualMachineRunCommandsClient
}

// New returns a client of an account.
func New(a *azure.Account) (*Client, error) {
	machines, err := sdk.NewVirtualMachinesClient(a.SubscriptionID, a.Credential(), a.Options())
	if err != nil {
		return nil, err
	}
	commands, err := sdk.NewVirtualMachineRunCommandsClient(a.SubscriptionID, a.Credential(), a.Options())
	if err != nil {
		return nil, err
	}
	return &Client{machines, commands}, nil
}

// Machine is a virtual machine.
type Machine struct {
	ID         azure.ID
	Location   string
	OS         string // Linux or Windows
	Interfaces []azure.ID
	Power      string // such as PowerState/running
	// Agent is the guest agent's state: "Ready", or what it says instead; "" when it
	// says nothing.
	Agent string
}

// Machine reads a machine with its instance view; VirtualMachines_Get.
func (c *Client) Machine(ctx context.Context, group, name string) (Machine, error) {
	out, err := c.machines.Get(ctx, group, name, &sdk.VirtualMachinesClientGetOptions{Expand: to.Ptr(sdk.InstanceViewTypesInstanceView)})
	if err != nil {
		return Machine{}, fmt.Errorf("get machine %s: %w", name, azure.Wrap(product, "VirtualMachines_Get", err))
	}
	m := Machine{ID: azure.ID(azure.Value(out.ID)), Location: azure.Value(out.Location)}
	p := out.Properties
	if p == nil {
		return m, nil
	}
	if p.StorageProfile != nil && p.StorageProfile.OSDisk != nil {
		m.OS = string(azure.Value(p.StorageProfile.OSDisk.OSType))
	}
	if p.NetworkProfile != nil {
		for _, i := range p.NetworkProfile.NetworkInterfaces {
			m.Interfaces = append(m.Interfaces, azure.ID(azure.Value(i.ID)))
		}
	}
	if v := p.InstanceView; v != nil {
		for _, s := range v.Statuses {
			if code := azure.Value(s.Code); len(code) > 11 && code[:11] == "PowerState/" {
				m.Power = code
			}
		}
		if v.VMAgent != nil {
			for _, s := range v.VMAgent.Statuses {
				m.Agent = azure.Value(s.DisplayStatus)
			}
		}
	}
	return m, nil
}

// Script is what a managed run command executes.
type Script struct {
	Text string
	// Protected becomes environment variables of the script; no reply shows it.
	Protected map[string]string
	Seconds   int // after which the platform ends it
}

// Start asks for a run command of a name; VirtualMachineRunCommands_CreateOrUpdate.
// Repeating it runs the script again.
func (c *Client) Start(ctx context.Context, m Machine, name string, s Script) error {
	var protected []*sdk.RunCommandInputParameter
	for k, v := range s.Protected {
		protected = append(protected, &sdk.RunCommandInputParameter{Name: to.Ptr(k), Value: to.Ptr(v)})
	}
	_, err := c.commands.BeginCreateOrUpdate(ctx, m.ID.Part("resourceGroups"), m.ID.Part("virtualMachines"), name, sdk.VirtualMachineRunCommand{
		Location: to.Ptr(m.Location),
		Properties: &sdk.VirtualMachineRunCommandProperties{
			AsyncExecution: to.Ptr(true), TimeoutInSeconds: to.Ptr(int32(s.Seconds)), ProtectedParameters: protected,
			Source: &sdk.VirtualMachineRunCommandScriptSource{Script: to.Ptr(s.Text)},
		}}, nil)
	if err != nil {
		return fmt.Errorf("start run command %s: %w", name, azure.Wrap(product, "VirtualMachineRunCommands_CreateOrUpdate", err))
	}
	return nil
}

// Command is a run command as its instance view has it.
type Command struct {
	Name   string
	State  string // Pending, Running, Succeeded, …
	Exit   int
	Output string // the last 4 KiB
}

// Command reads a run command; VirtualMachineRunCommands_GetByVirtualMachine.
func (c *Client) Command(ctx context.Context, machine azure.ID, name string) (Command, error) {
	out, err := c.commands.GetByVirtualMachine(ctx, machine.Part("resourceGroups"), machine.Part("virtualMachines"), name,
		&sdk.VirtualMachineRunCommandsClientGetByVirtualMachineOptions{Expand: to.Ptr("instanceView")})
	if err != nil {
		return Command{}, fmt.Errorf("get run command %s: %w", name, azure.Wrap(product, "VirtualMachineRunCommands_Get", err))
	}
	k := Command{Name: azure.Value(out.Name), State: Unknown}
	if out.Properties != nil && out.Properties.InstanceView != nil {
		v := out.Properties.InstanceView
		k.State, k.Exit, k.Output = string(azure.Value(v.ExecutionState)), int(azure.Value(v.ExitCode)), azure.Value(v.Output)
	}
	return k, nil
}

// DeleteCommand deletes a run command, and ends its script;
// VirtualMachineRunCommands_Delete.
func (c *Client) DeleteCommand(ctx context.Context, machine azure.ID, name string) error {
	_, err := c.commands.BeginDelete(ctx, machine.Part("resourceGroups"), machine.Part("virtualMachines"), name, nil)
	if err != nil {
		return fmt.Errorf("delete run command %s: %w", name, azure.Wrap(product, "VirtualMachineRunCommands_Delete", err))
	}
	return nil
}
