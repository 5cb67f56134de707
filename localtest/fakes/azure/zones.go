package azure

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/localtest/fakes/cloud"
)

// Zone is a private DNS zone.
type Zone struct {
	ID, Name string
	Tags     map[string]string
	Links    map[string]*ZoneLink // by lower-case name
	Records  map[string]*Record   // A records, by name

	ready, gone time.Time
}

// ZoneLink is a zone's link to a virtual network.
type ZoneLink struct {
	ID, Name, Network string
	Tags              map[string]string

	ready, gone time.Time
}

// Record is an A record.
type Record struct {
	Addresses []string
	Metadata  map[string]string
	etag      int
}

// AddZone adds a zone that somebody else has made, linked to networks.
func (c *Cloud) AddZone(sub, group, name string, networks ...string) *Zone {
	z := &Zone{ID: "/subscriptions/" + sub + "/resourceGroups/" + group + "/providers/Microsoft.Network/privateDnsZones/" + name, Name: name, Links: map[string]*ZoneLink{}, Records: map[string]*Record{}}
	for i, n := range networks {
		l := &ZoneLink{Name: "link" + strconv.Itoa(i), Network: n}
		l.ID = z.ID + "/virtualNetworkLinks/" + l.Name
		z.Links[l.Name] = l
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.zones[strings.ToLower(z.ID)] = z
	return z
}

// SetRecord writes an A record by hand; no addresses remove it.
func (c *Cloud) SetRecord(zoneName, name string, addresses ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, z := range c.zones {
		if z.Name != zoneName {
			continue
		}
		if len(addresses) == 0 {
			delete(z.Records, name)
		} else if r := z.Records[name]; r != nil {
			r.Addresses, r.etag = addresses, r.etag+1
		} else {
			z.Records[name] = &Record{Addresses: addresses, etag: 1}
		}
	}
}

// Zones lists the zones that exist.
func (c *Cloud) Zones() []*Zone {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*Zone
	for _, k := range slices.Sorted(maps.Keys(c.zones)) {
		z := c.zones[k]
		for name, l := range z.Links {
			if c.past(l.gone) {
				delete(z.Links, name)
			}
		}
		if !c.past(z.gone) {
			out = append(out, z)
		}
	}
	return out
}

// past reports whether a time is set and over.
func (c *Cloud) past(t time.Time) bool { return !t.IsZero() && !c.account.Now().Before(t) }

func (c *Cloud) zoneRoutes() {
	const provider = "Microsoft.Network"
	const zones = "/subscriptions/{sub}/resourceGroups/{group}/providers/Microsoft.Network/privateDnsZones/{zone}"
	c.handle(provider, "GET", "/subscriptions/{sub}/providers/Microsoft.Network/privateDnsZones", func(r *request) (reply, *cloud.Error) {
		list := []any{}
		for _, k := range slices.Sorted(maps.Keys(c.zones)) {
			if z := c.zones[k]; !c.past(z.gone) && strings.HasPrefix(k, "/subscriptions/"+strings.ToLower(r.sub)+"/") {
				list = append(list, c.showZone(z))
			}
		}
		return reply{status: 200, body: map[string]any{"value": list}}, nil
	})
	c.handle(provider, "GET", zones, c.withZone(func(_ *request, z *Zone) (reply, *cloud.Error) {
		return reply{status: 200, body: c.showZone(z)}, nil
	}))
	c.handle(provider, "PUT", zones, c.putZone)
	c.handle(provider, "DELETE", zones, func(r *request) (reply, *cloud.Error) {
		z, refusal := c.zone(r)
		if refusal != nil {
			return reply{status: 204}, nil
		}
		for _, l := range z.Links {
			if !c.past(l.gone) {
				return reply{}, cloud.Errorf(409, "CannotDeleteResource", "Cannot delete resource while nested resources exist. Some existing nested resource IDs include: '%s'.", l.ID)
			}
		}
		d := c.account.Between(5*time.Second, 30*time.Second)
		z.gone = c.account.Now().Add(d)
		return reply{status: 202, header: c.begin(r, provider, d, nil)}, nil
	})
	c.handle(provider, "GET", zones+"/virtualNetworkLinks", c.withZone(func(_ *request, z *Zone) (reply, *cloud.Error) {
		list := []any{}
		for _, k := range slices.Sorted(maps.Keys(z.Links)) {
			if l := z.Links[k]; !c.past(l.gone) {
				list = append(list, c.showLink(l))
			}
		}
		return reply{status: 200, body: map[string]any{"value": list}}, nil
	}))
	c.handle(provider, "PUT", zones+"/virtualNetworkLinks/{name}", c.withZone(c.putLink))
	c.handle(provider, "DELETE", zones+"/virtualNetworkLinks/{name}", c.withZone(func(r *request, z *Zone) (reply, *cloud.Error) {
		l := z.Links[strings.ToLower(r.PathValue("name"))]
		if l == nil || c.past(l.gone) {
			return reply{status: 204}, nil
		}
		d := c.account.Between(5*time.Second, 40*time.Second)
		l.gone = c.account.Now().Add(d)
		return reply{status: 202, header: c.begin(r, provider, d, nil)}, nil
	}))
	c.handle(provider, "GET", zones+"/ALL", c.withZone(func(_ *request, z *Zone) (reply, *cloud.Error) {
		list := []any{map[string]any{"id": z.ID + "/SOA/@", "name": "@", "type": "Microsoft.Network/privateDnsZones/SOA"}}
		for _, k := range slices.Sorted(maps.Keys(z.Records)) {
			list = append(list, z.Records[k].show(z, k))
		}
		return reply{status: 200, body: map[string]any{"value": list}}, nil
	}))
	c.handle(provider, "GET", zones+"/A/{name}", c.withZone(func(r *request, z *Zone) (reply, *cloud.Error) {
		if k := z.Records[r.PathValue("name")]; k != nil {
			return reply{status: 200, body: k.show(z, r.PathValue("name"))}, nil
		}
		return reply{}, cloud.Errorf(404, "NotFound", "The resource record '%s' does not exist in resource group of zone '%s'.", r.PathValue("name"), z.Name)
	}))
	c.handle(provider, "PUT", zones+"/A/{name}", c.withZone(putRecord))
	c.handle(provider, "DELETE", zones+"/A/{name}", c.withZone(func(r *request, z *Zone) (reply, *cloud.Error) {
		k := z.Records[r.PathValue("name")]
		if k == nil {
			return reply{status: 204}, nil
		}
		if m := r.Header.Get("If-Match"); m != "" && m != k.tag() {
			return reply{}, cloud.Errorf(412, "PreconditionFailed", "The condition '%s' in the If-Match header was not satisfied.", m)
		}
		delete(z.Records, r.PathValue("name"))
		return reply{status: 200}, nil
	}))
}

func (c *Cloud) zone(r *request) (*Zone, *cloud.Error) {
	id := r.id("Microsoft.Network", "privateDnsZones", r.PathValue("zone"))
	z, ok := c.zones[strings.ToLower(id)]
	if !ok || c.past(z.gone) {
		return nil, notFound(id)
	}
	return z, nil
}

func (c *Cloud) withZone(h func(*request, *Zone) (reply, *cloud.Error)) handler {
	return func(r *request) (reply, *cloud.Error) {
		z, refusal := c.zone(r)
		if refusal != nil {
			return reply{}, cloud.Errorf(404, "ParentResourceNotFound", "%s", refusal.Message)
		}
		return h(r, z)
	}
}

func (c *Cloud) showZone(z *Zone) map[string]any {
	state := "Succeeded"
	switch now := c.account.Now(); {
	case now.Before(z.ready):
		state = "Creating"
	case !z.gone.IsZero():
		state = "Deleting"
	}
	return map[string]any{"id": z.ID, "name": z.Name, "location": "global", "tags": z.Tags, "properties": map[string]any{"provisioningState": state}}
}

func (c *Cloud) showLink(l *ZoneLink) map[string]any {
	state, link := "Succeeded", "Completed"
	switch now := c.account.Now(); {
	case now.Before(l.ready):
		state, link = "Creating", "InProgress"
	case !l.gone.IsZero():
		state = "Deleting"
	}
	return map[string]any{"id": l.ID, "name": l.Name, "location": "global", "tags": l.Tags, "properties": map[string]any{
		"provisioningState": state, "virtualNetworkLinkState": link, "registrationEnabled": false, "virtualNetwork": map[string]any{"id": l.Network}}}
}

func (c *Cloud) putZone(r *request) (reply, *cloud.Error) {
	var in struct {
		Location string
		Tags     map[string]string
	}
	if refusal := r.decode(&in); refusal != nil {
		return reply{}, refusal
	}
	if in.Location != "global" {
		return reply{}, cloud.Errorf(400, "LocationNotAvailableForResourceType", "The provided location '%s' is not available for resource type.", in.Location)
	}
	if z, refusal := c.zone(r); refusal == nil {
		if r.Header.Get("If-None-Match") == "*" {
			return reply{}, cloud.Errorf(412, "PreconditionFailed", "The Zone %s exists already and hence cannot be created again.", z.Name)
		}
		z.Tags = in.Tags
		return reply{status: 200, body: c.showZone(z)}, nil
	}
	d := c.account.Between(5*time.Second, 40*time.Second)
	z := &Zone{ID: r.id("Microsoft.Network", "privateDnsZones", r.PathValue("zone")), Name: r.PathValue("zone"), Tags: in.Tags,
		Links: map[string]*ZoneLink{}, Records: map[string]*Record{}, ready: c.account.Now().Add(d)}
	c.zones[strings.ToLower(z.ID)] = z
	return reply{status: 202, body: c.showZone(z), header: c.begin(r, "Microsoft.Network", d, nil)}, nil
}

func (c *Cloud) putLink(r *request, z *Zone) (reply, *cloud.Error) {
	var in struct {
		Location   string
		Tags       map[string]string
		Properties struct {
			RegistrationEnabled bool
			VirtualNetwork      struct{ ID string }
		}
	}
	if refusal := r.decode(&in); refusal != nil {
		return reply{}, refusal
	}
	if _, ok := c.networks[strings.ToLower(in.Properties.VirtualNetwork.ID)]; !ok {
		return reply{}, cloud.Errorf(400, "BadRequest", "The virtual network %s does not exist.", in.Properties.VirtualNetwork.ID)
	}
	if c.account.Now().Before(z.ready) {
		return reply{}, cloud.Errorf(409, "Conflict", "The zone is being created.")
	}
	for _, other := range c.zones {
		for _, l := range other.Links {
			if !strings.EqualFold(l.Network, in.Properties.VirtualNetwork.ID) || c.past(l.gone) || c.past(other.gone) {
				continue
			}
			if other != z && strings.EqualFold(other.Name, z.Name) || other == z && !strings.EqualFold(l.Name, r.PathValue("name")) {
				return reply{}, cloud.Errorf(400, "BadRequest", "A virtual network cannot be linked to multiple zones with overlapping namespaces. You tried to link virtual network with '%s' and '%s' zones.", z.Name, other.Name)
			}
		}
	}
	if l := z.Links[strings.ToLower(r.PathValue("name"))]; l != nil && !c.past(l.gone) {
		if !strings.EqualFold(l.Network, in.Properties.VirtualNetwork.ID) {
			return reply{}, cloud.Errorf(409, "Conflict", "The link %s is to another virtual network.", l.Name)
		}
		return reply{status: 200, body: c.showLink(l)}, nil
	}
	d := c.account.Between(10*time.Second, 60*time.Second)
	l := &ZoneLink{ID: z.ID + "/virtualNetworkLinks/" + r.PathValue("name"), Name: r.PathValue("name"), Network: in.Properties.VirtualNetwork.ID, Tags: in.Tags, ready: c.account.Now().Add(d)}
	z.Links[strings.ToLower(l.Name)] = l
	return reply{status: 202, body: c.showLink(l), header: c.begin(r, "Microsoft.Network", d, nil)}, nil
}

func (k *Record) tag() string { return "etag-" + strconv.Itoa(k.etag) }

func (k *Record) show(z *Zone, name string) map[string]any {
	list := []any{}
	for _, a := range k.Addresses {
		list = append(list, map[string]any{"ipv4Address": a})
	}
	return map[string]any{"id": z.ID + "/A/" + name, "name": name, "type": "Microsoft.Network/privateDnsZones/A", "etag": k.tag(),
		"properties": map[string]any{"ttl": 300, "aRecords": list, "metadata": k.Metadata}}
}

func putRecord(r *request, z *Zone) (reply, *cloud.Error) {
	var in struct {
		Properties struct {
			TTL      int
			ARecords []struct{ IPv4Address string }
			Metadata map[string]string
		}
	}
	if refusal := r.decode(&in); refusal != nil {
		return reply{}, refusal
	}
	k, exists := z.Records[r.PathValue("name")]
	if none, match := r.Header.Get("If-None-Match"), r.Header.Get("If-Match"); exists && none == "*" || match != "" && (!exists || match != k.tag()) {
		return reply{}, cloud.Errorf(412, "PreconditionFailed", "The condition in the If-Match or If-None-Match header was not satisfied.")
	}
	if !exists {
		k = &Record{}
		z.Records[r.PathValue("name")] = k
	}
	k.Addresses = nil
	for _, a := range in.Properties.ARecords {
		if _, err := netip.ParseAddr(a.IPv4Address); err != nil {
			return reply{}, cloud.Errorf(400, "BadRequest", "The address '%s' is not valid.", a.IPv4Address)
		}
		k.Addresses = append(k.Addresses, a.IPv4Address)
	}
	k.Metadata, k.etag = in.Properties.Metadata, k.etag+1
	return reply{status: 201, body: k.show(z, r.PathValue("name"))}, nil
}
