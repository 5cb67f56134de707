package awsreach_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/aws/ec2"
	"eslink/shared/awsreach"
)

// path is one that everything is right on.
func path() awsreach.Path {
	all := func(egress bool) ec2.ACLEntry {
		return ec2.ACLEntry{Number: 100, Egress: egress, Allow: true, Protocol: "-1", To: 65535, CIDR: "0.0.0.0/0"}
	}
	last := func(egress bool) ec2.ACLEntry {
		return ec2.ACLEntry{Number: 32767, Egress: egress, Protocol: "-1", To: 65535, CIDR: "0.0.0.0/0"}
	}
	acl := func(id, subnet string) ec2.ACL {
		return ec2.ACL{ID: id, SubnetIDs: []string{subnet}, Entries: []ec2.ACLEntry{last(true), last(false), all(true), all(false)}}
	}
	return awsreach.Path{
		Region:         "us-west-2",
		Instance:       ec2.Instance{ID: "i-1", SubnetID: "subnet-vm", Address: "10.0.9.4"},
		InstanceGroups: []ec2.Group{{ID: "sg-other"}, {ID: "sg-client", Egress: []ec2.Rule{{Protocol: "tcp", From: 19530, To: 19530, GroupID: "sg-endpoint"}}}},
		Interface:      ec2.Interface{ID: "eni-1", SubnetID: "subnet-a", Address: "10.0.1.4"},
		EndpointGroups: []ec2.Group{{ID: "sg-endpoint", Ingress: []ec2.Rule{{Protocol: "tcp", From: 19530, To: 19530, GroupID: "sg-client"}}}},
		ACLs:           []ec2.ACL{acl("acl-vm", "subnet-vm"), acl("acl-a", "subnet-a")},
		Port:           19530,
	}
}

func deny(number int, egress bool, from, to int, cidr string) ec2.ACLEntry {
	return ec2.ACLEntry{Number: number, Egress: egress, Protocol: "6", From: from, To: to, CIDR: cidr}
}

func TestWhichGroupOrACLLacksWhichRule(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*awsreach.Path)
		want   []string // resources, in order
		lacks  string   // of the first
	}{
		"all is right": {change: func(*awsreach.Path) {}},
		"by networks": {change: func(p *awsreach.Path) {
			p.InstanceGroups[1].Egress = []ec2.Rule{{Protocol: "-1", CIDR: "0.0.0.0/0"}}
			p.EndpointGroups[0].Ingress = []ec2.Rule{{Protocol: "tcp", From: 1, To: 65535, CIDR: "10.0.9.0/24"}}
		}},
		"no egress":  {func(p *awsreach.Path) { p.InstanceGroups[1].Egress = nil }, []string{"sg-other, sg-client"}, "(the instance's) has no egress rule for TCP 19530 to sg-endpoint"},
		"no ingress": {func(p *awsreach.Path) { p.EndpointGroups[0].Ingress = nil }, []string{"sg-endpoint"}, "(the endpoint's) has no ingress rule for TCP 19530 from sg-other, sg-client"},
		"another port": {func(p *awsreach.Path) {
			p.EndpointGroups[0].Ingress[0].To = 443
			p.EndpointGroups[0].Ingress[0].From = 443
		}, []string{"sg-endpoint"}, ""},
		"another protocol": {func(p *awsreach.Path) { p.EndpointGroups[0].Ingress[0].Protocol = "udp" }, []string{"sg-endpoint"}, ""},
		"another network": {func(p *awsreach.Path) {
			p.EndpointGroups[0].Ingress = []ec2.Rule{{Protocol: "-1", CIDR: "10.1.0.0/16"}}
		}, []string{"sg-endpoint"}, ""},
		"both groups": {func(p *awsreach.Path) { p.EndpointGroups[0].Ingress, p.InstanceGroups[1].Egress = nil, nil }, []string{"sg-other, sg-client", "sg-endpoint"}, ""},
		"ACL, out":    {func(p *awsreach.Path) { p.ACLs[0].Entries[2].Allow = false }, []string{"acl-vm"}, "(of subnet-vm) denies TCP 19530 from the instance by egress rule 100"},
		"ACL, in": {func(p *awsreach.Path) {
			p.ACLs[1].Entries = append(p.ACLs[1].Entries, deny(50, false, 19530, 19530, "10.0.9.4/32"))
		}, []string{"acl-a"}, "by ingress rule 50"},
		"ACL, no rule": {func(p *awsreach.Path) { p.ACLs[1].Entries[3].CIDR = "192.168.0.0/16" }, []string{"acl-a"}, "(of subnet-a) has no ingress rule that allows TCP 19530 to the endpoint"},
		"ACL, replies out": {func(p *awsreach.Path) {
			p.ACLs[1].Entries = append(p.ACLs[1].Entries, deny(50, true, 1024, 65535, "0.0.0.0/0"))
		}, []string{"acl-a"}, "denies TCP 32768-60999 for replies of the endpoint by egress rule 50"},
		"ACL, some replies": {func(p *awsreach.Path) {
			p.ACLs[0].Entries = append(p.ACLs[0].Entries, deny(50, false, 40000, 40010, "10.0.1.0/24"))
		}, []string{"acl-vm"}, "for replies to the instance"},
		"ACL, elsewhere": {change: func(p *awsreach.Path) {
			p.ACLs[0].Entries = append(p.ACLs[0].Entries, deny(50, false, 1, 65535, "10.7.0.0/16"))
		}},
		"ACL, lower allows": {change: func(p *awsreach.Path) {
			p.ACLs[0].Entries = append(p.ACLs[0].Entries, deny(200, true, 1, 65535, "0.0.0.0/0"))
		}},
		"one subnet: no ACL": {change: func(p *awsreach.Path) { p.Interface.SubnetID = "subnet-vm"; p.ACLs[0].Entries = nil }},
		"ACL not read":       {change: func(p *awsreach.Path) { p.ACLs = nil }},
	} {
		p := path()
		c.change(&p)
		var got []string
		blocks := awsreach.Blocks(p)
		for _, b := range blocks {
			got = append(got, b.Resource)
			require.True(t, b.Certain, name)
			require.Contains(t, b.Remedy, "us-west-2", name)
		}
		require.Equal(t, c.want, got, name)
		if c.lacks != "" {
			require.Contains(t, blocks[0].Lacks, c.lacks, name)
		}
	}
}

// A group with rules that are not read is not accused for certain.
func TestPrefixLists(t *testing.T) {
	t.Parallel()
	p := path()
	p.InstanceGroups[1].Egress, p.InstanceGroups[1].More = nil, true
	blocks := awsreach.Blocks(p)
	require.Len(t, blocks, 1)
	require.False(t, blocks[0].Certain)
}
