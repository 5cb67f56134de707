// Package standing says whether a private connection stands, by what the control
// planes of Azure and of Elastic Cloud say of it: the check called link. It proves
// configuration, not packets. Step azure-verify and function check share it.
package standing

import (
	"context"
	"fmt"

	"eslink/shared/apierr"
	"eslink/shared/azure"
	"eslink/shared/azure/network"
	"eslink/shared/azure/privatedns"
	"eslink/shared/elasticcloud"
	"eslink/shared/facts"
)

// Endpoints read private endpoints and their interfaces.
type Endpoints interface {
	Endpoint(ctx context.Context, group, name string) (network.Endpoint, error)
	Interface(ctx context.Context, id azure.ID) (network.Interface, error)
}

// Names read private zones.
type Names interface {
	ZonesNamed(ctx context.Context, name string) ([]privatedns.Zone, error)
	Links(ctx context.Context, group, zone string) ([]privatedns.Link, error)
	Record(ctx context.Context, group, zone, name string) (privatedns.Record, error)
}

// Policies read policies.
type Policies interface {
	Rulesets(ctx context.Context, region string) ([]elasticcloud.Ruleset, error)
}

// Cloud is what is read.
type Cloud struct {
	Endpoints Endpoints
	Names     Names
	Policies  Policies
}

// Link is a private connection.
type Link struct {
	Endpoint azure.ID // of the private endpoint
	Zone     string
	Region   string // of the deployments, as the API names it
}

// State is what was seen.
type State struct {
	Check    facts.Check
	Address  string // of the private endpoint
	Approved bool
	Network  azure.ID // that the endpoint is in
	Policy   elasticcloud.Ruleset
}

// Check looks at all parts of a link: the connection is approved, the zone is linked
// to the endpoint's network, its record holds the endpoint's address, and a policy
// names the endpoint.
func (c Cloud) Check(ctx context.Context, l Link) (State, error) {
	var s State
	bad := func(remedy, format string, args ...any) (State, error) {
		s.Check = facts.Check{Name: "link", Detail: fmt.Sprintf(format, args...), Remedy: remedy}
		return s, nil
	}
	e, err := c.Endpoints.Endpoint(ctx, l.Endpoint.Part("resourceGroups"), l.Endpoint.Part("privateEndpoints"))
	if apierr.IsNotFound(err) {
		return bad("make it: start the run with again", "there is no private endpoint %s", l.Endpoint.Part("privateEndpoints"))
	}
	if err != nil {
		return s, err
	}
	s.Network = e.Subnet.Parent("subnets")
	if len(e.Interfaces) > 0 {
		i, err := c.Endpoints.Interface(ctx, e.Interfaces[0])
		if err != nil {
			return s, err
		}
		s.Address = i.PrivateIP
	}
	s.Approved = e.Connection == network.Approved
	if !s.Approved {
		return bad("see that a policy names its resource name and ID; a connection that is Rejected or Disconnected needs another private endpoint: start the run with again",
			"the connection of private endpoint %s (%s) is %s", e.Name, e.GUID, e.Connection)
	}
	group, err := c.linked(ctx, l.Zone, s.Network)
	if err != nil {
		return s, err
	}
	if group == "" {
		return bad("link the zone to the network: start the run with again", "no zone %s is linked to network %s", l.Zone, s.Network.Part("virtualNetworks"))
	}
	record, err := c.Names.Record(ctx, group, l.Zone, "*")
	if err != nil && !apierr.IsNotFound(err) {
		return s, err
	}
	if len(record.Addresses) != 1 || record.Addresses[0] != s.Address {
		return bad("have the record hold that address: start the run with again", "record * of zone %s in %s holds %v, and private endpoint %s has %s", l.Zone, group, record.Addresses, e.Name, s.Address)
	}
	policies, err := c.Policies.Rulesets(ctx, l.Region)
	if err != nil {
		return s, err
	}
	for _, p := range policies {
		if p.Holds(e.Name, e.GUID) {
			s.Policy = p
			s.Check = facts.Check{Name: "link", OK: true, Detail: fmt.Sprintf("private endpoint %s is approved, record * of zone %s holds its address %s, the zone is linked, and policy %s names the endpoint", e.Name, l.Zone, s.Address, p.ID)}
			return s, nil
		}
	}
	return bad("name it in a policy: start the run with again", "no policy of %s names private endpoint %s (%s)", l.Region, e.Name, e.GUID)
}

// linked returns the resource group of the zone that is linked to a network, or "".
func (c Cloud) linked(ctx context.Context, zone string, id azure.ID) (string, error) {
	zones, err := c.Names.ZonesNamed(ctx, zone)
	if err != nil {
		return "", err
	}
	for _, z := range zones {
		group := z.ID.Part("resourceGroups")
		links, err := c.Names.Links(ctx, group, zone)
		if err != nil && !apierr.IsNotFound(err) {
			return "", err
		}
		for _, k := range links {
			if k.Network.Is(id) && k.State == privatedns.Completed {
				return group, nil
			}
		}
	}
	return "", nil
}
