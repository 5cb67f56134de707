package ec2

import (
	"context"
	"fmt"
	"slices"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"eslink/shared/apierr"
	"eslink/shared/aws"
)

// Group is a security group.
type Group struct {
	ID, Name, VpcID string
	OwnerID         string
	Tags            map[string]string
	Ingress, Egress []Rule
	// More says that it has rules which are not among these: of prefix lists.
	More bool
}

// Rule is what a security group admits: a protocol ("tcp", "-1" for all), a
// range of ports, and one other side, a group or a network.
type Rule struct {
	Protocol    string
	From, To    int // -1 or 0 to 65535; both are 0 with protocol "-1"
	GroupID     string
	CIDR        string
	Description string
}

// CreateGroup creates a security group, which has no ingress rule and one
// egress rule that admits everything.
func (c *Client) CreateGroup(ctx context.Context, vpcID, name, description string, tags map[string]string) (string, error) {
	out, err := aws.Call(ctx, codes, c.api.CreateSecurityGroup, &ec2.CreateSecurityGroupInput{GroupName: &name, Description: &description, VpcId: &vpcID,
		TagSpecifications: tagged(types.ResourceTypeSecurityGroup, tags)})
	if err != nil {
		return "", fmt.Errorf("create security group %s: %w", name, err)
	}
	return aws.String(out.GroupId), nil
}

// Group returns one security group.
func (c *Client) Group(ctx context.Context, id string) (Group, error) {
	all, err := c.Groups(ctx, []string{id})
	if err != nil {
		return Group{}, err
	}
	return all[0], nil
}

// Groups returns the security groups with these IDs, in their order. One that
// does not exist is an error.
func (c *Client) Groups(ctx context.Context, ids []string) ([]Group, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	out, err := aws.Call(ctx, codes, c.api.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{GroupIds: ids})
	if err != nil {
		return nil, fmt.Errorf("security groups %v: %w", ids, err)
	}
	byID := map[string]Group{}
	for _, g := range out.SecurityGroups {
		byID[aws.String(g.GroupId)] = groupOf(g)
	}
	var all []Group
	for _, id := range ids {
		g, ok := byID[id]
		if !ok {
			return nil, fmt.Errorf("security group %s: %w", id, &apierr.Error{Class: apierr.NotFound, Code: "InvalidGroup.NotFound", Message: "it is not in the reply"})
		}
		all = append(all, g)
	}
	return all, nil
}

// GroupsTagged returns the security groups that bear a tag.
func (c *Client) GroupsTagged(ctx context.Context, key, value string) ([]Group, error) {
	return c.groupsBy(ctx, filters("tag:"+key, value))
}

// GroupsNamed returns the security groups of a VPC with a name: at most one.
func (c *Client) GroupsNamed(ctx context.Context, vpcID, name string) ([]Group, error) {
	return c.groupsBy(ctx, append(filters("vpc-id", vpcID), filters("group-name", name)...))
}

func (c *Client) groupsBy(ctx context.Context, f []types.Filter) ([]Group, error) {
	var all []Group
	in := &ec2.DescribeSecurityGroupsInput{Filters: f}
	for {
		out, err := aws.Call(ctx, codes, c.api.DescribeSecurityGroups, in)
		if err != nil {
			return nil, fmt.Errorf("security groups by %s: %w", aws.String(f[0].Name), err)
		}
		for _, g := range out.SecurityGroups {
			all = append(all, groupOf(g))
		}
		if in.NextToken = out.NextToken; aws.String(in.NextToken) == "" {
			return all, nil
		}
	}
}

// DeleteGroup deletes a security group that no interface uses.
func (c *Client) DeleteGroup(ctx context.Context, id string) error {
	if _, err := aws.Call(ctx, codes, c.api.DeleteSecurityGroup, &ec2.DeleteSecurityGroupInput{GroupId: &id}); err != nil {
		return fmt.Errorf("delete security group %s: %w", id, err)
	}
	return nil
}

// Admit adds an ingress rule to a group. One that stands already is a success.
func (c *Client) Admit(ctx context.Context, groupID string, r Rule) error {
	_, err := aws.Call(ctx, codes, c.api.AuthorizeSecurityGroupIngress, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &groupID, IpPermissions: []types.IpPermission{permission(r)}})
	return ruleError(err, Duplicate, "admit into", groupID)
}

// AdmitEgress adds an egress rule likewise.
func (c *Client) AdmitEgress(ctx context.Context, groupID string, r Rule) error {
	_, err := aws.Call(ctx, codes, c.api.AuthorizeSecurityGroupEgress, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: &groupID, IpPermissions: []types.IpPermission{permission(r)}})
	return ruleError(err, Duplicate, "admit out of", groupID)
}

// Revoke removes an ingress rule. One that is gone already is a success.
func (c *Client) Revoke(ctx context.Context, groupID string, r Rule) error {
	_, err := aws.Call(ctx, codes, c.api.RevokeSecurityGroupIngress, &ec2.RevokeSecurityGroupIngressInput{GroupId: &groupID, IpPermissions: []types.IpPermission{permission(r)}})
	return ruleError(err, "InvalidPermission.NotFound", "revoke of", groupID)
}

// RevokeEgress removes an egress rule likewise.
func (c *Client) RevokeEgress(ctx context.Context, groupID string, r Rule) error {
	_, err := aws.Call(ctx, codes, c.api.RevokeSecurityGroupEgress, &ec2.RevokeSecurityGroupEgressInput{GroupId: &groupID, IpPermissions: []types.IpPermission{permission(r)}})
	return ruleError(err, "InvalidPermission.NotFound", "revoke of", groupID)
}

func ruleError(err error, harmless, what, groupID string) error {
	if err == nil || apierr.CodeOf(err) == harmless {
		return nil
	}
	return fmt.Errorf("%s security group %s: %w", what, groupID, err)
}

func permission(r Rule) types.IpPermission {
	p := types.IpPermission{IpProtocol: &r.Protocol, FromPort: sdk.Int32(int32(r.From)), ToPort: sdk.Int32(int32(r.To))}
	var description *string
	if r.Description != "" {
		description = &r.Description
	}
	if r.GroupID != "" {
		p.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: &r.GroupID, Description: description}}
	} else {
		p.IpRanges = []types.IpRange{{CidrIp: &r.CIDR, Description: description}}
	}
	return p
}

func groupOf(g types.SecurityGroup) Group {
	return Group{ID: aws.String(g.GroupId), Name: aws.String(g.GroupName), VpcID: aws.String(g.VpcId), OwnerID: aws.String(g.OwnerId), Tags: tagsOf(g.Tags),
		Ingress: rulesOf(g.IpPermissions), Egress: rulesOf(g.IpPermissionsEgress),
		More: slices.ContainsFunc(slices.Concat(g.IpPermissions, g.IpPermissionsEgress), func(p types.IpPermission) bool { return len(p.PrefixListIds) > 0 })}
}

// rulesOf makes one rule of each pair of ports and other side. Prefix lists and
// IPv6 are left out: endpoints are reached by IPv4.
func rulesOf(ps []types.IpPermission) []Rule {
	var all []Rule
	for _, p := range ps {
		r := Rule{Protocol: aws.String(p.IpProtocol), From: int(sdk.ToInt32(p.FromPort)), To: int(sdk.ToInt32(p.ToPort))}
		for _, g := range p.UserIdGroupPairs {
			r.GroupID, r.CIDR, r.Description = aws.String(g.GroupId), "", aws.String(g.Description)
			all = append(all, r)
		}
		for _, n := range p.IpRanges {
			r.GroupID, r.CIDR, r.Description = "", aws.String(n.CidrIp), aws.String(n.Description)
			all = append(all, r)
		}
	}
	return all
}
