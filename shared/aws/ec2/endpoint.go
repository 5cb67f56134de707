// Package ec2 is a narrow client of Amazon EC2, API version 2016-11-15:
// interface endpoints of PrivateLink, security groups, and what a VPC has. All
// types are its own.
//
// An endpoint's State is lower-case on the wire ("available"), unlike the
// SDK's constants ("Available"): compare with this package's.
package ec2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"eslink/shared/apierr"
	"eslink/shared/aws"
)

// Client calls EC2 in one region.
type Client struct{ api *ec2.Client }

// New returns a client.
func New(a aws.Account, region string) *Client { return &Client{ec2.NewFromConfig(a.SDK(region))} }

// States of an endpoint, in the order that they come in.
const (
	PendingAcceptance = "pendingacceptance"
	Pending           = "pending"
	Available         = "available"
	Deleting          = "deleting"
	Deleted           = "deleted"
	Rejected          = "rejected"
	Failed            = "failed"
	Expired           = "expired"
)

// Endpoint is an interface endpoint.
type Endpoint struct {
	ID, VpcID, ServiceName string
	ServiceRegion          string // "" if the reply does not tell
	State                  string // in lower case
	Names                  []Name // the regional one first
	SubnetIDs, GroupIDs    []string
	InterfaceIDs           []string
	Tags                   map[string]string
	// Failure is what the cloud says of an endpoint that failed.
	Failure string
}

// Name is a DNS name of an endpoint and the hosted zone that it is in, which an
// alias record needs.
type Name struct{ Name, ZoneID string }

// NewEndpoint is an endpoint to be created.
type NewEndpoint struct {
	VpcID, ServiceName string
	ServiceRegion      string // "" for the VPC's own
	SubnetIDs          []string
	GroupIDs           []string
	Tags               map[string]string
}

// CreateEndpoint creates an interface endpoint without private DNS and returns
// it. The token makes a repetition return the same endpoint; it is at most 64
// characters long.
func (c *Client) CreateEndpoint(ctx context.Context, n NewEndpoint, token string) (Endpoint, error) {
	in := &ec2.CreateVpcEndpointInput{
		VpcEndpointType: types.VpcEndpointTypeInterface, VpcId: &n.VpcID, ServiceName: &n.ServiceName,
		SubnetIds: n.SubnetIDs, SecurityGroupIds: n.GroupIDs, PrivateDnsEnabled: sdk.Bool(false), ClientToken: &token,
		TagSpecifications: tagged(types.ResourceTypeVpcEndpoint, n.Tags),
	}
	if n.ServiceRegion != "" {
		in.ServiceRegion = &n.ServiceRegion
	}
	out, err := aws.Call(ctx, codes, c.api.CreateVpcEndpoint, in)
	if err != nil {
		return Endpoint{}, fmt.Errorf("create endpoint in %s: %w", n.VpcID, err)
	}
	if out.VpcEndpoint == nil {
		return Endpoint{}, fmt.Errorf("create endpoint in %s: the reply has none", n.VpcID)
	}
	return endpointOf(*out.VpcEndpoint), nil
}

// Endpoint returns one endpoint. One that is deleted is not found, though the
// cloud shows it for a while; one that was just created may be not found, too.
func (c *Client) Endpoint(ctx context.Context, id string) (Endpoint, error) {
	out, err := aws.Call(ctx, codes, c.api.DescribeVpcEndpoints, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{id}})
	if err != nil {
		return Endpoint{}, fmt.Errorf("endpoint %s: %w", id, err)
	}
	for _, e := range out.VpcEndpoints {
		if found := endpointOf(e); found.ID == id && found.State != Deleted {
			return found, nil
		}
	}
	return Endpoint{}, fmt.Errorf("endpoint %s: %w", id, &apierr.Error{Class: apierr.NotFound, Code: "InvalidVpcEndpointId.NotFound", Message: "it is deleted", Status: 400})
}

// EndpointsTagged returns the endpoints that bear a tag and are not deleted.
func (c *Client) EndpointsTagged(ctx context.Context, key, value string) ([]Endpoint, error) {
	return c.endpoints(ctx, "tag:"+key, value)
}

// EndpointsOf returns the endpoints of a VPC that are not deleted.
func (c *Client) EndpointsOf(ctx context.Context, vpcID string) ([]Endpoint, error) {
	return c.endpoints(ctx, "vpc-id", vpcID)
}

func (c *Client) endpoints(ctx context.Context, filter, value string) ([]Endpoint, error) {
	var all []Endpoint
	in := &ec2.DescribeVpcEndpointsInput{Filters: filters(filter, value)}
	for {
		out, err := aws.Call(ctx, codes, c.api.DescribeVpcEndpoints, in)
		if err != nil {
			return nil, fmt.Errorf("endpoints with %s %s: %w", filter, value, err)
		}
		for _, e := range out.VpcEndpoints {
			if found := endpointOf(e); found.State != Deleted {
				all = append(all, found)
			}
		}
		if in.NextToken = out.NextToken; aws.String(in.NextToken) == "" {
			return all, nil
		}
	}
}

// ChangeSubnets adds subnets to an endpoint and takes others away.
func (c *Client) ChangeSubnets(ctx context.Context, id string, add, remove []string) error {
	if _, err := aws.Call(ctx, codes, c.api.ModifyVpcEndpoint, &ec2.ModifyVpcEndpointInput{VpcEndpointId: &id, AddSubnetIds: add, RemoveSubnetIds: remove}); err != nil {
		return fmt.Errorf("change subnets of endpoint %s: %w", id, err)
	}
	return nil
}

// DeleteEndpoint asks for an endpoint's deletion. The operation takes several
// endpoints and tells in its reply, not by its status, which of them it left.
func (c *Client) DeleteEndpoint(ctx context.Context, id string) error {
	out, err := aws.Call(ctx, codes, c.api.DeleteVpcEndpoints, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{id}})
	if err != nil {
		return fmt.Errorf("delete endpoint %s: %w", id, err)
	}
	if len(out.Unsuccessful) == 0 {
		return nil
	}
	why := out.Unsuccessful[0].Error
	if why == nil {
		return fmt.Errorf("delete endpoint %s: the cloud left it and does not say why", id)
	}
	e := &apierr.Error{Code: aws.String(why.Code), Message: aws.String(why.Message), Status: 200, Class: apierr.Fatal}
	if class, ok := codes[e.Code]; ok {
		e.Class = class
	}
	return fmt.Errorf("delete endpoint %s: %w", id, e)
}

// Service is an endpoint service as its consumer sees it.
type Service struct {
	Name               string
	Zones              []string // names such as us-west-2a, of the consumer's account
	AcceptanceRequired bool
}

// Service returns the endpoint service of a name; region is the one that it is
// hosted in, if that is not the client's. A service that this account may not
// see is not found.
func (c *Client) Service(ctx context.Context, name, region string) (Service, error) {
	in := &ec2.DescribeVpcEndpointServicesInput{ServiceNames: []string{name}}
	if region != "" {
		in.ServiceRegions = []string{region}
	}
	out, err := aws.Call(ctx, codes, c.api.DescribeVpcEndpointServices, in)
	if err != nil {
		return Service{}, fmt.Errorf("endpoint service %s: %w", name, err)
	}
	for _, d := range out.ServiceDetails {
		if aws.String(d.ServiceName) == name {
			return Service{Name: name, Zones: d.AvailabilityZones, AcceptanceRequired: sdk.ToBool(d.AcceptanceRequired)}, nil
		}
	}
	return Service{}, fmt.Errorf("endpoint service %s: %w", name, &apierr.Error{Class: apierr.NotFound, Code: InvalidService, Message: "the list is empty"})
}

func endpointOf(e types.VpcEndpoint) Endpoint {
	out := Endpoint{
		ID: aws.String(e.VpcEndpointId), VpcID: aws.String(e.VpcId), ServiceName: aws.String(e.ServiceName), ServiceRegion: aws.String(e.ServiceRegion),
		State: strings.ToLower(string(e.State)), SubnetIDs: e.SubnetIds, InterfaceIDs: e.NetworkInterfaceIds, Tags: tagsOf(e.Tags),
		Failure: aws.String(e.FailureReason),
	}
	if e.LastError != nil {
		out.Failure = strings.TrimSpace(out.Failure + " " + aws.String(e.LastError.Message))
	}
	for _, d := range e.DnsEntries {
		out.Names = append(out.Names, Name{aws.String(d.DnsName), aws.String(d.HostedZoneId)})
	}
	for _, g := range e.Groups {
		out.GroupIDs = append(out.GroupIDs, aws.String(g.GroupId))
	}
	return out
}

// errEmpty says that a reply lacks what was asked for.
var errEmpty = errors.New("the reply lacks it")

func filters(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: &name, Values: values}}
}

// tagged lists tags in one order: a token stands for one request, to the letter.
func tagged(kind types.ResourceType, tags map[string]string) []types.TagSpecification {
	spec := types.TagSpecification{ResourceType: kind}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		spec.Tags = append(spec.Tags, types.Tag{Key: sdk.String(k), Value: sdk.String(tags[k])})
	}
	return []types.TagSpecification{spec}
}

func tagsOf(tags []types.Tag) map[string]string {
	out := map[string]string{}
	for _, t := range tags {
		out[aws.String(t.Key)] = aws.String(t.Value)
	}
	return out
}
