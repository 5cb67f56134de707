// Package awsreach says why a packet from an instance does not come to an
// interface endpoint and back: which security group or network ACL lacks which
// rule. It evaluates what EC2 says of them, and sends nothing.
package awsreach

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"eslink/shared/aws/ec2"
)

// Path is what lies between an instance and one interface of an endpoint.
type Path struct {
	Region         string
	Instance       ec2.Instance
	InstanceGroups []ec2.Group
	Interface      ec2.Interface
	EndpointGroups []ec2.Group
	ACLs           []ec2.ACL // of both subnets
	Port           int
}

// Block is a resource that does not let the packet through.
type Block struct {
	Resource string // sg-… or acl-…
	Lacks    string // the rule that it lacks, or the one that denies
	Remedy   string
	// Certain is false if it has rules that cannot be evaluated here.
	Certain bool
}

func (b Block) String() string { return b.Resource + " " + b.Lacks }

const (
	// ephemeralFrom and ephemeralTo are the ports that replies go to: Linux's
	// net.ipv4.ip_local_port_range.
	ephemeralFrom, ephemeralTo = 32768, 60999
)

// Blocks returns what stands in the way, in the order that a packet meets it;
// nothing if the rules let it through and back. Security groups keep state, so
// that they need no rule for the way back; ACLs stand between subnets only.
func Blocks(p Path) []Block {
	var out []Block
	from, err1 := netip.ParseAddr(p.Instance.Address)
	to, err2 := netip.ParseAddr(p.Interface.Address)
	if err1 != nil || err2 != nil {
		return nil
	}
	if !anyAdmits(p.InstanceGroups, func(g ec2.Group) []ec2.Rule { return g.Egress }, p.Port, to, ids(p.EndpointGroups)) {
		out = append(out, Block{Resource: strings.Join(ids(p.InstanceGroups), ", "), Certain: !more(p.InstanceGroups),
			Lacks: fmt.Sprintf("(the instance's) has no egress rule for TCP %d to %s", p.Port, cmp.Or(strings.Join(ids(p.EndpointGroups), ", "), to.String())),
			Remedy: fmt.Sprintf("aws ec2 authorize-security-group-egress --region %s --group-id %s --ip-permissions IpProtocol=tcp,FromPort=%d,ToPort=%d,UserIdGroupPairs=[{GroupId=%s}]",
				p.Region, firstID(p.InstanceGroups), p.Port, p.Port, firstID(p.EndpointGroups))})
	}
	if p.Instance.SubnetID != p.Interface.SubnetID {
		out = append(out, p.acl(p.Instance.SubnetID, true, to, p.Port, p.Port, "egress", "from the instance")...)
		out = append(out, p.acl(p.Interface.SubnetID, false, from, p.Port, p.Port, "ingress", "to the endpoint")...)
	}
	if !anyAdmits(p.EndpointGroups, func(g ec2.Group) []ec2.Rule { return g.Ingress }, p.Port, from, ids(p.InstanceGroups)) {
		out = append(out, Block{Resource: strings.Join(ids(p.EndpointGroups), ", "), Certain: !more(p.EndpointGroups),
			Lacks: fmt.Sprintf("(the endpoint's) has no ingress rule for TCP %d from %s", p.Port, cmp.Or(strings.Join(ids(p.InstanceGroups), ", "), from.String())),
			Remedy: fmt.Sprintf("aws ec2 authorize-security-group-ingress --region %s --group-id %s --ip-permissions IpProtocol=tcp,FromPort=%d,ToPort=%d,UserIdGroupPairs=[{GroupId=%s}]",
				p.Region, firstID(p.EndpointGroups), p.Port, p.Port, firstID(p.InstanceGroups))})
	}
	if p.Instance.SubnetID != p.Interface.SubnetID {
		out = append(out, p.acl(p.Interface.SubnetID, true, from, ephemeralFrom, ephemeralTo, "egress", "for replies of the endpoint")...)
		out = append(out, p.acl(p.Instance.SubnetID, false, to, ephemeralFrom, ephemeralTo, "ingress", "for replies to the instance")...)
	}
	return out
}

// Analyzer is the command for AWS's own analyzer, which also knows routes. It is
// charged by the analysis.
func Analyzer(region, instanceID, endpointID string, port int) string {
	return fmt.Sprintf("aws ec2 create-network-insights-path --region %s --source %s --destination %s --protocol tcp --destination-port %d", region, instanceID, endpointID, port)
}

func ids(groups []ec2.Group) []string {
	var out []string
	for _, g := range groups {
		out = append(out, g.ID)
	}
	return out
}

func firstID(groups []ec2.Group) string {
	if len(groups) == 0 {
		return "<group>"
	}
	return groups[0].ID
}

func more(groups []ec2.Group) bool {
	return slices.ContainsFunc(groups, func(g ec2.Group) bool { return g.More })
}

func anyAdmits(groups []ec2.Group, side func(ec2.Group) []ec2.Rule, port int, other netip.Addr, otherGroups []string) bool {
	return slices.ContainsFunc(groups, func(g ec2.Group) bool {
		return slices.ContainsFunc(side(g), func(r ec2.Rule) bool { return Admits(r, port, other, otherGroups) })
	})
}

// Admits reports whether a security group's rule lets TCP to a port through for
// the other side: an address and the groups that it has.
func Admits(r ec2.Rule, port int, other netip.Addr, otherGroups []string) bool {
	if r.Protocol != "-1" && (r.Protocol != "tcp" && r.Protocol != "6" || port < r.From || port > r.To) {
		return false
	}
	if r.GroupID != "" {
		return slices.Contains(otherGroups, r.GroupID)
	}
	n, err := netip.ParsePrefix(r.CIDR)
	return err == nil && n.Contains(other)
}

// acl is the block of a subnet's network ACL for a range of ports, if it has one.
func (p Path) acl(subnetID string, egress bool, other netip.Addr, from, to int, direction, what string) []Block {
	i := slices.IndexFunc(p.ACLs, func(a ec2.ACL) bool { return slices.Contains(a.SubnetIDs, subnetID) })
	if i < 0 {
		return nil // nothing is known, so nothing is accused
	}
	acl := p.ACLs[i]
	ports := fmt.Sprintf("TCP %d-%d", from, to)
	if from == to {
		ports = fmt.Sprintf("TCP %d", from)
	}
	deny := denies(acl, egress, other, from, to)
	if deny == 0 {
		return nil
	}
	lacks := fmt.Sprintf("(of %s) has no %s rule that allows %s %s", subnetID, direction, ports, what)
	if deny != lastEntry {
		lacks = fmt.Sprintf("(of %s) denies %s %s by %s rule %d", subnetID, ports, what, direction, deny)
	}
	flag := map[bool]string{true: "--egress", false: "--ingress"}[egress]
	return []Block{{Resource: acl.ID, Certain: true, Lacks: lacks,
		Remedy: fmt.Sprintf("aws ec2 create-network-acl-entry --region %s --network-acl-id %s %s --rule-number <free, lower> --protocol 6 --port-range From=%d,To=%d --cidr-block %s/32 --rule-action allow",
			p.Region, acl.ID, flag, from, to, other)}}
}

// lastEntry is the number that stands for the entry which every ACL ends with.
const lastEntry = 32767

// denies is the number of the entry that keeps a range of ports, or a part of
// it, out; 0 if none does.
func denies(a ec2.ACL, egress bool, other netip.Addr, from, to int) int {
	entries := slices.SortedFunc(slices.Values(a.Entries), func(x, y ec2.ACLEntry) int { return cmp.Compare(x.Number, y.Number) })
	for _, e := range entries {
		n, err := netip.ParsePrefix(e.CIDR)
		if e.Egress != egress || err != nil || !n.Contains(other) || e.Protocol != "-1" && e.Protocol != "6" {
			continue
		}
		whole := e.Protocol == "-1" || e.From <= from && to <= e.To
		if whole && e.Allow {
			return 0
		}
		if !e.Allow && (whole || e.From <= to && from <= e.To) {
			return e.Number
		}
	}
	return lastEntry
}
