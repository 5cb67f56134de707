package runtime

import (
	"fmt"

	"eslink/localtest/fakes/cloud"
)

// interfaces are what the platform does in the role's name for a function in a VPC (FC's page "Grant permissions").
var interfaces = []string{"vpc:DescribeVSwitchAttributes", "vpc:DescribeVpcAttribute", "ecs:CreateNetworkInterface", "ecs:DeleteNetworkInterface", "ecs:DescribeNetworkInterfaces",
	"ecs:CreateNetworkInterfacePermission", "ecs:DeleteNetworkInterfacePermission", "ecs:DescribeNetworkInterfacePermissions"}

// Permit holds a function's role against what the platform does in its name: write its output to the logstore, and
// manage the network interfaces of its VPC. In the cloud, a function without these runs without a log or not at all.
func Permit(a *cloud.Account, f Function) error {
	who := cloud.Principal{AccountID: a.AccountID, Role: f.RoleName()}
	if l := f.LogConfig; l.Project != "" {
		if refusal := a.Authorize(who, "log:PostLogStoreLogs", fmt.Sprintf("acs:log:%s:%s:project/%s/logstore/%s", a.Region, a.AccountID, l.Project, l.Logstore)); refusal != nil {
			return fmt.Errorf("function %s: its output cannot be written: %w", f.Name, refusal)
		}
	}
	if f.VPCConfig == nil {
		return nil
	}
	for _, action := range interfaces {
		if refusal := a.Authorize(who, action, "*"); refusal != nil {
			return fmt.Errorf("function %s: it cannot reach its VPC: %w", f.Name, refusal)
		}
	}
	return nil
}
