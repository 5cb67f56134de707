package azuredns

import (
	"context"
	"fmt"
	"strings"
	"time"

	"eslink/shared/apierr"
	"eslink/shared/azure"
	"eslink/shared/azure/privatedns"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// find finds the zone that counts: the one of its name that is linked to the network,
// since a network takes one; else the one in the spec's resource group.
func (s *state) find(ctx context.Context) (bool, error) {
	name, network := s.r.Facts.ElasticSurvey.Zone, azure.ID(s.r.Spec.Azure.NetworkID())
	zones, err := s.ZonesNamed(ctx, name)
	if err != nil {
		return false, err
	}
	found := false
	for _, z := range zones {
		group := z.ID.Part("resourceGroups")
		links, err := s.Links.Links(ctx, group, name)
		if apierr.IsNotFound(err) {
			continue // the list still shows it
		}
		if err != nil {
			return false, err
		}
		linked := false
		for _, l := range links {
			linked = linked || l.Network.Is(network)
		}
		if linked || !found && strings.EqualFold(group, s.r.Spec.Azure.DNSResourceGroup) {
			found, s.zone, s.links = true, z, links
		}
		if linked {
			break
		}
	}
	if !found {
		return false, nil
	}
	s.f = s.r.Facts.AzureDNS
	if s.f == nil {
		s.f = &facts.AzureDNS{}
		s.r.Facts.AzureDNS = s.f
	}
	s.f.Group, s.f.Zone, s.f.Created = s.zone.ID.Part("resourceGroups"), name, s.zone.Tags[run.TagKey] == s.r.Tag()
	s.f.Links = nil
	for _, l := range s.links {
		if l.Network.Is(network) || s.wanted(l.Network) {
			s.f.Links = append(s.f.Links, facts.ZoneLink{Network: string(l.Network), Name: l.Name, Created: l.Tags[run.TagKey] == s.r.Tag()})
		}
	}
	return true, nil
}

// wanted reports whether a network is one that the spec names.
func (s *state) wanted(id azure.ID) bool {
	for _, n := range s.networks() {
		if n.Is(id) {
			return true
		}
	}
	return false
}

func (s *state) networks() []azure.ID {
	out := []azure.ID{azure.ID(s.r.Spec.Azure.NetworkID())}
	for _, id := range s.r.Spec.Azure.MoreVirtualNetworkIDs {
		out = append(out, azure.ID(id))
	}
	return out
}

// ensureZone creates the zone if there is none. Possible prior states: there is none;
// somebody has made it (adopted); the run has, and the reply or the save was lost: the
// list finds it, and until it does If-None-Match refuses a second one.
func (s *state) ensureZone(ctx context.Context) (*more, error) {
	found, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	group, name := s.r.Spec.Azure.DNSResourceGroup, s.r.Facts.ElasticSurvey.Zone
	if !found {
		if _, err := s.CreateZone(ctx, group, name, s.tags()); err != nil {
			return nil, err
		}
		return wait(15*time.Second, "zone %s is being created in %s", name, group), nil
	}
	switch s.zone.State {
	case "Succeeded":
		return nil, nil
	case "Failed", "Canceled":
		return nil, fmt.Errorf("zone %s is %s: delete it in the Azure portal, then retry", name, s.zone.State)
	}
	return wait(10*time.Second, "zone %s is %s", name, s.zone.State), nil
}

// ensureLinks links the zone to each network, one a call. Possible prior states: there
// is no link; somebody has made it (adopted, whatever its name); the run has, and the
// reply was lost (the list shows it).
func (s *state) ensureLinks(ctx context.Context) (*more, error) {
	for i, n := range s.networks() {
		var link *privatedns.Link
		for k := range s.links {
			if s.links[k].Network.Is(n) {
				link = &s.links[k]
			}
		}
		if link == nil {
			_, err := s.CreateLink(ctx, s.f.Group, s.f.Zone, fmt.Sprintf("eslink-%s-%d", s.r.ID, i), n, s.tags())
			if apierr.CodeOf(err) == "BadRequest" {
				return nil, fmt.Errorf("network %s takes no link to zone %s: another zone of that name, perhaps of another subscription, is linked to it; remove that link, or set azure.dnsResourceGroup to its zone's: %w", n.Part("virtualNetworks"), s.f.Zone, err)
			}
			if err != nil {
				return nil, err
			}
			return wait(20*time.Second, "zone %s is being linked to network %s", s.f.Zone, n.Part("virtualNetworks")), nil
		}
		if link.Leaving || link.State != privatedns.Completed {
			return wait(10*time.Second, "the link of zone %s to network %s is %s", s.f.Zone, n.Part("virtualNetworks"), link.State), nil
		}
	}
	return nil, nil
}

// removeLinks deletes the run's links, and waits until they are gone.
func (s *state) removeLinks(ctx context.Context) (*more, error) {
	var names []string
	for _, l := range s.links {
		if l.Tags[run.TagKey] != s.r.Tag() {
			continue
		}
		names = append(names, l.Name)
		if l.Leaving {
			continue
		}
		if _, err := s.DeleteLink(ctx, s.f.Group, s.f.Zone, l.Name); err != nil && !apierr.IsNotFound(err) {
			return nil, err
		}
	}
	if len(names) > 0 {
		return wait(15*time.Second, "links %s of zone %s are being deleted", strings.Join(names, ", "), s.f.Zone), nil
	}
	return nil, nil
}

// removeZone deletes the zone if the run has made it and it is empty.
func (s *state) removeZone(ctx context.Context) (*more, error) {
	if !s.f.Created {
		return nil, nil
	}
	records, err := s.Records.Records(ctx, s.f.Group, s.f.Zone)
	if apierr.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(records) > 0 || len(s.links) > 0 {
		s.r.Note(s.now(), s.r.Cursor.Step, "kept", fmt.Sprintf("zone %s holds what others have made: %d records, %d links", s.f.Zone, len(records), len(s.links)))
		return nil, nil
	}
	if s.zone.State == "Deleting" {
		return wait(10*time.Second, "zone %s is being deleted", s.f.Zone), nil
	}
	if _, err := s.DeleteZone(ctx, s.f.Group, s.f.Zone); err != nil && !apierr.IsNotFound(err) {
		return nil, err
	}
	return wait(15*time.Second, "zone %s is being deleted", s.f.Zone), nil
}
