// Package route53 is a narrow client of Amazon Route 53, API version
// 2013-04-01: private hosted zones with one alias record each. All types are
// its own; names have no final dot.
package route53

import (
	"context"
	"fmt"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"eslink/shared/apierr"
	"eslink/shared/aws"
)

// region is the one that calls to this global service are signed for.
const region = "us-east-1"

// codes are those of the API reference.
var codes = aws.Codes{
	"NoSuchHostedZone":                    apierr.NotFound,
	"NoSuchChange":                        apierr.NotFound,
	"VPCAssociationNotFound":              apierr.NotFound,
	"HostedZoneNotEmpty":                  apierr.Conflict,
	"ConcurrentModification":              apierr.Conflict,
	"HostedZoneAlreadyExists":             apierr.Fatal,
	"ConflictingDomainExists":             apierr.Fatal,
	"InvalidVPCId":                        apierr.Fatal,
	"InvalidChangeBatch":                  apierr.Fatal,
	"LastVPCAssociation":                  apierr.Fatal,
	"PublicZoneVPCAssociation":            apierr.Fatal,
	"LimitsExceeded":                      apierr.Fatal,
	"TooManyHostedZones":                  apierr.Fatal,
	"NotAuthorizedException":              apierr.Fatal,
	"VPCAssociationAuthorizationNotFound": apierr.Fatal,
}

// Codes that steps act on.
const (
	ReferenceUsed = "HostedZoneAlreadyExists"
	Conflicting   = "ConflictingDomainExists"
	WrongBatch    = "InvalidChangeBatch"
)

// Client calls Route 53.
type Client struct{ api *route53.Client }

// New returns a client.
func New(a aws.Account) *Client { return &Client{route53.NewFromConfig(a.SDK(region))} }

// VPC names a VPC and its region.
type VPC struct{ ID, Region string }

// Zone is a hosted zone.
type Zone struct {
	ID, Name  string
	Reference string // the CallerReference that it was created with
	Comment   string
	Private   bool
	Records   int   // with NS and SOA, which each zone has
	VPCs      []VPC // of a private zone
}

// CreateZone creates a private zone on a VPC. A reference that was used, by
// whatever request, is refused with ReferenceUsed.
func (c *Client) CreateZone(ctx context.Context, name, comment, reference string, vpc VPC) (zoneID, changeID string, err error) {
	out, err := aws.Call(ctx, codes, c.api.CreateHostedZone, &route53.CreateHostedZoneInput{
		Name: &name, CallerReference: &reference, VPC: vpcOf(vpc), HostedZoneConfig: &types.HostedZoneConfig{Comment: &comment, PrivateZone: true}})
	if err != nil {
		return "", "", fmt.Errorf("create hosted zone %s: %w", name, err)
	}
	return bare(out.HostedZone.Id), bare(out.ChangeInfo.Id), nil
}

// Zone returns one zone.
func (c *Client) Zone(ctx context.Context, id string) (Zone, error) {
	out, err := aws.Call(ctx, codes, c.api.GetHostedZone, &route53.GetHostedZoneInput{Id: &id})
	if err != nil {
		return Zone{}, fmt.Errorf("hosted zone %s: %w", id, err)
	}
	h := out.HostedZone
	z := Zone{ID: bare(h.Id), Name: undotted(h.Name), Reference: aws.String(h.CallerReference), Records: int(sdk.ToInt64(h.ResourceRecordSetCount))}
	if h.Config != nil {
		z.Comment, z.Private = aws.String(h.Config.Comment), h.Config.PrivateZone
	}
	for _, v := range out.VPCs {
		z.VPCs = append(z.VPCs, VPC{aws.String(v.VPCId), string(v.VPCRegion)})
	}
	return z, nil
}

// ZonesOf returns the IDs of the private zones that a VPC has, by their names.
// A zone of another account has an ID, too, but cannot be read.
func (c *Client) ZonesOf(ctx context.Context, vpc VPC) (map[string]string, error) {
	all := map[string]string{}
	in := &route53.ListHostedZonesByVPCInput{VPCId: &vpc.ID, VPCRegion: types.VPCRegion(vpc.Region)}
	for {
		out, err := aws.Call(ctx, codes, c.api.ListHostedZonesByVPC, in)
		if err != nil {
			return nil, fmt.Errorf("hosted zones of %s: %w", vpc.ID, err)
		}
		for _, z := range out.HostedZoneSummaries {
			all[undotted(z.Name)] = bare(z.HostedZoneId)
		}
		if in.NextToken = out.NextToken; aws.String(in.NextToken) == "" {
			return all, nil
		}
	}
}

// ZonesNamed returns the account's zones of a name, public and private ones.
func (c *Client) ZonesNamed(ctx context.Context, name string) ([]Zone, error) {
	// The list begins at the name, in DNS order, and goes on with others.
	var all []Zone
	in := &route53.ListHostedZonesByNameInput{DNSName: &name}
	for {
		out, err := aws.Call(ctx, codes, c.api.ListHostedZonesByName, in)
		if err != nil {
			return nil, fmt.Errorf("hosted zones named %s: %w", name, err)
		}
		for _, h := range out.HostedZones {
			if undotted(h.Name) != name {
				return all, nil
			}
			z := Zone{ID: bare(h.Id), Name: name, Reference: aws.String(h.CallerReference), Records: int(sdk.ToInt64(h.ResourceRecordSetCount))}
			if h.Config != nil {
				z.Comment, z.Private = aws.String(h.Config.Comment), h.Config.PrivateZone
			}
			all = append(all, z)
		}
		if !out.IsTruncated {
			return all, nil
		}
		in.DNSName, in.HostedZoneId = out.NextDNSName, out.NextHostedZoneId
	}
}

// Alias is an A record that stands for a name in another zone, or what stands
// in its place: a plain record has Target "".
type Alias struct {
	Name           string
	Target, ZoneID string
}

// Alias returns the A record at a zone's apex, or an error that is not found.
func (c *Client) Alias(ctx context.Context, zoneID, name string) (Alias, error) {
	out, err := aws.Call(ctx, codes, c.api.ListResourceRecordSets, &route53.ListResourceRecordSetsInput{HostedZoneId: &zoneID,
		StartRecordName: &name, StartRecordType: types.RRTypeA, MaxItems: sdk.Int32(1)})
	if err != nil {
		return Alias{}, fmt.Errorf("records of hosted zone %s: %w", zoneID, err)
	}
	// The list begins at that name and type, or behind it.
	if sets := out.ResourceRecordSets; len(sets) > 0 && undotted(sets[0].Name) == name && sets[0].Type == types.RRTypeA {
		a := Alias{Name: name}
		if to := sets[0].AliasTarget; to != nil {
			a.Target, a.ZoneID = undotted(to.DNSName), aws.String(to.HostedZoneId)
		}
		return a, nil
	}
	return Alias{}, fmt.Errorf("record %s of hosted zone %s: %w", name, zoneID, &apierr.Error{Class: apierr.NotFound, Code: "NoSuchRecord", Message: "there is none of type A"})
}

// PutAlias creates or replaces an alias record of type A.
func (c *Client) PutAlias(ctx context.Context, zoneID string, a Alias) (changeID string, err error) {
	return c.change(ctx, zoneID, types.ChangeActionUpsert, a)
}

// DeleteAlias deletes an alias record, which has to be as it stands.
func (c *Client) DeleteAlias(ctx context.Context, zoneID string, a Alias) (changeID string, err error) {
	return c.change(ctx, zoneID, types.ChangeActionDelete, a)
}

func (c *Client) change(ctx context.Context, zoneID string, action types.ChangeAction, a Alias) (string, error) {
	out, err := aws.Call(ctx, codes, c.api.ChangeResourceRecordSets, &route53.ChangeResourceRecordSetsInput{HostedZoneId: &zoneID, ChangeBatch: &types.ChangeBatch{
		Changes: []types.Change{{Action: action, ResourceRecordSet: &types.ResourceRecordSet{Name: &a.Name, Type: types.RRTypeA,
			AliasTarget: &types.AliasTarget{DNSName: &a.Target, HostedZoneId: &a.ZoneID}}}}}})
	if err != nil {
		return "", fmt.Errorf("%s record %s: %w", strings.ToLower(string(action)), a.Name, err)
	}
	return bare(out.ChangeInfo.Id), nil
}

// InSync reports whether all of Route 53's servers know a change.
func (c *Client) InSync(ctx context.Context, changeID string) (bool, error) {
	out, err := aws.Call(ctx, codes, c.api.GetChange, &route53.GetChangeInput{Id: &changeID})
	if err != nil {
		return false, fmt.Errorf("change %s: %w", changeID, err)
	}
	return out.ChangeInfo.Status == types.ChangeStatusInsync, nil
}

// Associate makes a zone answer in one more VPC of the same account.
func (c *Client) Associate(ctx context.Context, zoneID string, vpc VPC) (changeID string, err error) {
	out, err := aws.Call(ctx, codes, c.api.AssociateVPCWithHostedZone, &route53.AssociateVPCWithHostedZoneInput{HostedZoneId: &zoneID, VPC: vpcOf(vpc)})
	if err != nil {
		return "", fmt.Errorf("associate hosted zone %s with %s: %w", zoneID, vpc.ID, err)
	}
	return bare(out.ChangeInfo.Id), nil
}

// Disassociate takes a zone away from a VPC that is not its last.
func (c *Client) Disassociate(ctx context.Context, zoneID string, vpc VPC) (changeID string, err error) {
	out, err := aws.Call(ctx, codes, c.api.DisassociateVPCFromHostedZone, &route53.DisassociateVPCFromHostedZoneInput{HostedZoneId: &zoneID, VPC: vpcOf(vpc)})
	if err != nil {
		return "", fmt.Errorf("disassociate hosted zone %s from %s: %w", zoneID, vpc.ID, err)
	}
	return bare(out.ChangeInfo.Id), nil
}

// DeleteZone deletes a zone that has no records but its own.
func (c *Client) DeleteZone(ctx context.Context, id string) (changeID string, err error) {
	out, err := aws.Call(ctx, codes, c.api.DeleteHostedZone, &route53.DeleteHostedZoneInput{Id: &id})
	if err != nil {
		return "", fmt.Errorf("delete hosted zone %s: %w", id, err)
	}
	return bare(out.ChangeInfo.Id), nil
}

func vpcOf(v VPC) *types.VPC {
	return &types.VPC{VPCId: &v.ID, VPCRegion: types.VPCRegion(v.Region)}
}

// bare is an ID without the path that some replies put before it.
func bare(id *string) string {
	s := aws.String(id)
	return s[strings.LastIndexByte(s, '/')+1:]
}

func undotted(name *string) string { return strings.TrimSuffix(aws.String(name), ".") }
