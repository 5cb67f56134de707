package ec2

import (
	"context"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"eslink/shared/apierr"
	"eslink/shared/aws"
)

// VPC is a virtual network. A private hosted zone needs both DNS attributes.
type VPC struct {
	ID, OwnerID              string
	CIDRs                    []string
	DNSSupport, DNSHostnames bool
}

// VPC returns one VPC with its DNS attributes, which takes three calls.
func (c *Client) VPC(ctx context.Context, id string) (VPC, error) {
	out, err := aws.Call(ctx, codes, c.api.DescribeVpcs, &ec2.DescribeVpcsInput{VpcIds: []string{id}})
	if err != nil {
		return VPC{}, fmt.Errorf("vpc %s: %w", id, err)
	}
	if len(out.Vpcs) != 1 {
		return VPC{}, fmt.Errorf("vpc %s: %w", id, errEmpty)
	}
	v := VPC{ID: id, OwnerID: aws.String(out.Vpcs[0].OwnerId), CIDRs: []string{aws.String(out.Vpcs[0].CidrBlock)}}
	for _, a := range out.Vpcs[0].CidrBlockAssociationSet {
		if n := aws.String(a.CidrBlock); n != v.CIDRs[0] {
			v.CIDRs = append(v.CIDRs, n)
		}
	}
	for attribute, value := range map[types.VpcAttributeName]*bool{types.VpcAttributeNameEnableDnsSupport: &v.DNSSupport, types.VpcAttributeNameEnableDnsHostnames: &v.DNSHostnames} {
		out, err := aws.Call(ctx, codes, c.api.DescribeVpcAttribute, &ec2.DescribeVpcAttributeInput{VpcId: &id, Attribute: attribute})
		if err != nil {
			return VPC{}, fmt.Errorf("vpc %s: %w", id, err)
		}
		for _, a := range []*types.AttributeBooleanValue{out.EnableDnsSupport, out.EnableDnsHostnames} {
			if a != nil {
				*value = sdk.ToBool(a.Value)
			}
		}
	}
	return v, nil
}

// Subnet is a subnet of a VPC.
type Subnet struct {
	ID, VpcID, Zone, CIDR string
	Free                  int // addresses
}

// Subnets returns the subnets with these IDs, in their order. One that does not
// exist is an error.
func (c *Client) Subnets(ctx context.Context, ids []string) ([]Subnet, error) {
	out, err := aws.Call(ctx, codes, c.api.DescribeSubnets, &ec2.DescribeSubnetsInput{SubnetIds: ids})
	if err != nil {
		return nil, fmt.Errorf("subnets %v: %w", ids, err)
	}
	byID := map[string]Subnet{}
	for _, s := range out.Subnets {
		byID[aws.String(s.SubnetId)] = Subnet{aws.String(s.SubnetId), aws.String(s.VpcId), aws.String(s.AvailabilityZone), aws.String(s.CidrBlock), int(sdk.ToInt32(s.AvailableIpAddressCount))}
	}
	var all []Subnet
	for _, id := range ids {
		s, ok := byID[id]
		if !ok {
			return nil, fmt.Errorf("subnet %s: %w", id, &apierr.Error{Class: apierr.NotFound, Code: "InvalidSubnetID.NotFound", Message: "it is not in the reply"})
		}
		all = append(all, s)
	}
	return all, nil
}

// ACL is the network ACL of subnets. Unlike a security group it keeps no state:
// the way back needs a rule of its own.
type ACL struct {
	ID        string
	SubnetIDs []string
	Entries   []ACLEntry
}

// ACLEntry is one rule of an ACL; the lowest number that matches decides.
type ACLEntry struct {
	Number   int
	Egress   bool
	Allow    bool
	Protocol string // "6" for TCP, "-1" for all
	From, To int    // 0 to 65535
	CIDR     string // "" for an IPv6 entry
}

// ACLs returns the network ACLs of subnets.
func (c *Client) ACLs(ctx context.Context, subnetIDs []string) ([]ACL, error) {
	out, err := aws.Call(ctx, codes, c.api.DescribeNetworkAcls, &ec2.DescribeNetworkAclsInput{Filters: filters("association.subnet-id", subnetIDs...)})
	if err != nil {
		return nil, fmt.Errorf("network ACLs of %v: %w", subnetIDs, err)
	}
	var all []ACL
	for _, a := range out.NetworkAcls {
		acl := ACL{ID: aws.String(a.NetworkAclId)}
		for _, s := range a.Associations {
			acl.SubnetIDs = append(acl.SubnetIDs, aws.String(s.SubnetId))
		}
		for _, e := range a.Entries {
			entry := ACLEntry{Number: int(sdk.ToInt32(e.RuleNumber)), Egress: sdk.ToBool(e.Egress), Allow: e.RuleAction == types.RuleActionAllow,
				Protocol: aws.String(e.Protocol), To: 65535, CIDR: aws.String(e.CidrBlock)}
			if e.PortRange != nil {
				entry.From, entry.To = int(sdk.ToInt32(e.PortRange.From)), int(sdk.ToInt32(e.PortRange.To))
			}
			acl.Entries = append(acl.Entries, entry)
		}
		all = append(all, acl)
	}
	return all, nil
}

// Interface is a network interface.
type Interface struct{ ID, SubnetID, Address string }

// Interfaces returns the network interfaces with these IDs.
func (c *Client) Interfaces(ctx context.Context, ids []string) ([]Interface, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	out, err := aws.Call(ctx, codes, c.api.DescribeNetworkInterfaces, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: ids})
	if err != nil {
		return nil, fmt.Errorf("network interfaces %v: %w", ids, err)
	}
	var all []Interface
	for _, n := range out.NetworkInterfaces {
		all = append(all, Interface{aws.String(n.NetworkInterfaceId), aws.String(n.SubnetId), aws.String(n.PrivateIpAddress)})
	}
	return all, nil
}

// Instance is a virtual machine.
type Instance struct {
	ID, VpcID, SubnetID, Address string
	State                        string // running, stopped, …
	GroupIDs                     []string
	Profile                      string // ARN of its instance profile, "" for none
}

// Instance returns one instance.
func (c *Client) Instance(ctx context.Context, id string) (Instance, error) {
	out, err := aws.Call(ctx, codes, c.api.DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		return Instance{}, fmt.Errorf("instance %s: %w", id, err)
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			if aws.String(i.InstanceId) != id {
				continue
			}
			found := Instance{ID: id, VpcID: aws.String(i.VpcId), SubnetID: aws.String(i.SubnetId), Address: aws.String(i.PrivateIpAddress)}
			if i.State != nil {
				found.State = string(i.State.Name)
			}
			for _, g := range i.SecurityGroups {
				found.GroupIDs = append(found.GroupIDs, aws.String(g.GroupId))
			}
			if i.IamInstanceProfile != nil {
				found.Profile = aws.String(i.IamInstanceProfile.Arn)
			}
			return found, nil
		}
	}
	return Instance{}, fmt.Errorf("instance %s: %w", id, &apierr.Error{Class: apierr.NotFound, Code: "InvalidInstanceID.NotFound", Message: "it is not in the reply"})
}
