package azure

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"eslink/localtest/fakes/cloud"
)

// Network is a virtual network.
type Network struct {
	ID, Location string
	DNSServers   []string
	Subnets      []*Subnet
}

// Subnet is a part of one. The first four addresses are Azure's own.
type Subnet struct {
	Name       string
	Prefix     netip.Prefix
	Delegation string
	Policies   string // privateEndpointNetworkPolicies; "" is Disabled
	Full       bool
	// Blocked is what a network security group or a route does to connections to
	// private endpoints: "", refused or hang.
	Blocked string

	used int
}

// nic is a network interface.
type nic struct {
	id, subnet string
	address    netip.Addr
	endpoint   string
	machine    string
}

// Endpoint is a private endpoint.
type Endpoint struct {
	ID, Name, Location, Subnet string
	Service, GUID              string
	Tags                       map[string]string
	Address                    netip.Addr

	born, ready, gone time.Time // zero: not
	connection        string
	description       string
	approved          time.Time // when a decision takes effect
	decision          string
}

// state is the provisioning state; "" when it is gone.
func (e *Endpoint) state(now time.Time) string {
	switch {
	case !e.gone.IsZero() && !now.Before(e.gone):
		return ""
	case !e.gone.IsZero():
		return "Deleting"
	case now.Before(e.ready):
		return "Updating"
	}
	return "Succeeded"
}

// Connection is the connection's state as of now.
func (e *Endpoint) connected(now time.Time) string {
	if e.decision != "" && !now.Before(e.approved) {
		e.connection, e.decision = e.decision, ""
	}
	return e.connection
}

// AddNetwork adds a virtual network of a subscription and resource group.
func (c *Cloud) AddNetwork(sub, group, name, location string, subnets ...*Subnet) *Network {
	n := &Network{ID: "/subscriptions/" + sub + "/resourceGroups/" + group + "/providers/Microsoft.Network/virtualNetworks/" + name, Location: location, Subnets: subnets}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.networks[strings.ToLower(n.ID)] = n
	return n
}

// Endpoints lists the private endpoints that exist.
func (c *Cloud) Endpoints() []Endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Endpoint
	for _, k := range slices.Sorted(maps.Keys(c.endpoints)) {
		if e := c.endpoints[k]; e.state(c.account.Now()) != "" {
			e.connected(c.account.Now())
			out = append(out, *e)
		}
	}
	return out
}

// State is the connection's state when the endpoint was listed.
func (e Endpoint) State() string { return e.connection }

// Visible reports whether a partner sees a private endpoint of a name on one of its
// services, and which GUIDs those have.
func (c *Cloud) Visible(alias, name string, after time.Duration) (guids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.account.Now()
	for _, e := range c.endpoints {
		if e.Service == alias && e.Name == name && e.state(now) == "Succeeded" && !now.Before(e.ready.Add(after)) {
			guids = append(guids, e.GUID)
		}
	}
	return guids
}

// Decide is a partner's decision on a connection, by name and GUID: it takes effect
// after a while. It reports whether there is such a connection.
func (c *Cloud) Decide(alias, name, guid, state, description string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.account.Now()
	for _, e := range c.endpoints {
		if e.Service != alias || e.Name != name || e.GUID != guid || e.state(now) == "" {
			continue
		}
		switch {
		case c.trouble.NeverApproved && state == "Approved":
			return true
		case c.trouble.Rejected && state == "Approved":
			state, description = "Rejected", "refused by the service's owner"
		}
		if e.connected(now) != state {
			e.decision, e.description, e.approved = state, description, now.Add(c.account.Between(20*time.Second, 2*time.Minute))
		}
		return true
	}
	return false
}

func endpointOps(c *Cloud) map[string]handler {
	return map[string]handler{"GET": c.getEndpoint, "PUT": c.putEndpoint, "DELETE": c.deleteEndpoint}
}

func (c *Cloud) endpoint(r *request) (*Endpoint, *cloud.Error) {
	id := r.id("Microsoft.Network", "privateEndpoints", r.PathValue("name"))
	e, ok := c.endpoints[strings.ToLower(id)]
	if !ok || e.state(c.account.Now()) == "" {
		return nil, notFound(id)
	}
	return e, nil
}

func (c *Cloud) getEndpoint(r *request) (reply, *cloud.Error) {
	e, refusal := c.endpoint(r)
	if refusal != nil {
		return reply{}, refusal
	}
	return reply{status: 200, body: c.show(e)}, nil
}

// show is the resource in its JSON form: of properties.resourceGuid the SDKs know
// nothing.
func (c *Cloud) show(e *Endpoint) map[string]any {
	now := c.account.Now()
	status := e.connected(now)
	description := e.description
	if status == "Pending" {
		description = "Awaiting Approval"
	}
	interfaces := []any{}
	if e.state(now) != "Updating" {
		interfaces = append(interfaces, map[string]any{"id": nicOf(e.ID)})
	}
	return map[string]any{"id": e.ID, "name": e.Name, "location": e.Location, "type": "Microsoft.Network/privateEndpoints", "tags": e.Tags,
		"properties": map[string]any{
			"provisioningState": e.state(now), "resourceGuid": e.GUID, "subnet": map[string]any{"id": e.Subnet}, "networkInterfaces": interfaces,
			"privateLinkServiceConnections": []any{},
			"manualPrivateLinkServiceConnections": []any{map[string]any{"name": e.Name, "properties": map[string]any{
				"privateLinkServiceId":              e.Service,
				"privateLinkServiceConnectionState": map[string]any{"status": status, "description": description, "actionsRequired": "None"}}}},
		}}
}

func nicOf(endpointID string) string {
	group, name := endpointID[:strings.LastIndex(endpointID, "/providers/")], endpointID[strings.LastIndex(endpointID, "/")+1:]
	return group + "/providers/Microsoft.Network/networkInterfaces/" + name + ".nic"
}

func (c *Cloud) putEndpoint(r *request) (reply, *cloud.Error) {
	now := c.account.Now()
	id := r.id("Microsoft.Network", "privateEndpoints", r.PathValue("name"))
	var in struct {
		Location   string
		Tags       map[string]string
		Properties struct {
			Subnet                              struct{ ID string }
			PrivateLinkServiceConnections       []any
			ManualPrivateLinkServiceConnections []struct {
				Name       string
				Properties struct {
					PrivateLinkServiceID, RequestMessage string
					GroupIDs                             []string
				}
			}
		}
	}
	if refusal := r.decode(&in); refusal != nil {
		return reply{}, refusal
	}
	manual := in.Properties.ManualPrivateLinkServiceConnections
	if len(manual) != 1 || len(in.Properties.PrivateLinkServiceConnections) > 0 {
		return reply{}, cloud.Errorf(400, "PrivateLinkServiceIdNotValid", "An alias needs exactly one manual connection.")
	}
	if len(manual[0].Properties.RequestMessage) > 140 {
		return reply{}, cloud.Errorf(400, "InvalidRequestFormat", "The request message is longer than 140 characters.")
	}
	network, subnet := c.subnet(in.Properties.Subnet.ID)
	if refusal := c.fits(network, subnet, in.Location, in.Properties.Subnet.ID); refusal != nil {
		return reply{}, refusal
	}
	if e, ok := c.endpoints[strings.ToLower(id)]; ok && e.state(now) != "" {
		if e.state(now) == "Deleting" {
			return reply{}, cloud.Errorf(409, "AnotherOperationInProgress", "Another operation on this or dependent resource is in progress.")
		}
		if e.Service != manual[0].Properties.PrivateLinkServiceID {
			return reply{}, cloud.Errorf(400, "CannotChangePrivateLinkConnectionOnPrivateEndpoint", "The connection of an existing private endpoint cannot be changed.")
		}
		return reply{status: 200, body: c.show(e)}, nil
	}
	if now.Before(c.blocked[strings.ToLower(id)]) {
		return reply{}, cloud.Errorf(409, "PrivateEndpointAlreadyExists", "A private endpoint of this name already exists or was deleted a short time ago.")
	}
	if c.busy(network, now) {
		return reply{}, cloud.Errorf(429, "RetryableError", "A retryable error occurred: ReferencedResourceNotProvisioned, the subnet is being updated.")
	}
	if c.partner == nil || !c.partner.Serves(manual[0].Properties.PrivateLinkServiceID) {
		return reply{}, cloud.Errorf(400, "InvalidPrivateLinkServiceId", "Private link service %s could not be resolved.", manual[0].Properties.PrivateLinkServiceID)
	}
	ready := c.account.Between(20*time.Second, 90*time.Second)
	subnet.used++
	e := &Endpoint{ID: id, Name: r.PathValue("name"), Location: in.Location, Subnet: in.Properties.Subnet.ID, Service: manual[0].Properties.PrivateLinkServiceID,
		Tags: in.Tags, GUID: guid(c.account), Address: address(subnet.Prefix, 3+subnet.used), born: now, ready: now.Add(ready), connection: "Pending"}
	c.endpoints[strings.ToLower(id)] = e
	c.interfaces[strings.ToLower(nicOf(id))] = &nic{id: nicOf(id), subnet: e.Subnet, address: e.Address, endpoint: id}
	return reply{status: 201, body: c.show(e), header: c.begin(r, "Microsoft.Network", ready, nil)}, nil
}

func guid(a *cloud.Account) string {
	const hex = "0123456789abcdef"
	raw := a.NewID("", 32)
	out := make([]byte, 0, 36)
	for i, ch := range []byte(raw) {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			out = append(out, '-')
		}
		out = append(out, hex[ch%16])
	}
	return string(out)
}

// busy reports whether a write is under way in a network: there is one at a time.
func (c *Cloud) busy(n *Network, now time.Time) bool {
	if now.Before(c.trouble.Busy) {
		return true
	}
	for _, e := range c.endpoints {
		if s := e.state(now); (s == "Updating" || s == "Deleting") && strings.HasPrefix(strings.ToLower(e.Subnet), strings.ToLower(n.ID)+"/") {
			return true
		}
	}
	return false
}

func (c *Cloud) subnet(id string) (*Network, *Subnet) {
	for key, n := range c.networks {
		for _, s := range n.Subnets {
			if strings.ToLower(id) == key+"/subnets/"+strings.ToLower(s.Name) {
				return n, s
			}
		}
	}
	return nil, nil
}

func (c *Cloud) fits(n *Network, s *Subnet, location, id string) *cloud.Error {
	switch {
	case n == nil:
		return notFound(id)
	case n.Location != location:
		return cloud.Errorf(400, "InvalidResourceReference", "The private endpoint must be in the same region as its virtual network, %s.", n.Location)
	case s.Delegation != "":
		return cloud.Errorf(400, "PrivateEndpointCreationNotAllowedAsSubnetIsDelegated", "Private endpoint cannot be created as subnet %s is delegated.", s.Name)
	case s.Policies == "Enabled":
		return cloud.Errorf(400, "PrivateEndpointCannotBeCreatedInSubnetThatHasNetworkPoliciesEnabled", "Private endpoint cannot be created as subnet %s has network policies enabled.", s.Name)
	case s.Full:
		return cloud.Errorf(400, "SubnetIsFull", "Subnet %s does not have enough capacity for 1 IP address.", s.Name)
	}
	return nil
}

func (c *Cloud) deleteEndpoint(r *request) (reply, *cloud.Error) {
	e, refusal := c.endpoint(r)
	if refusal != nil {
		return reply{status: 204}, nil
	}
	now := c.account.Now()
	if e.state(now) == "Updating" {
		return reply{}, cloud.Errorf(409, "AnotherOperationInProgress", "Another operation on this or dependent resource is in progress.")
	}
	if e.gone.IsZero() {
		d := c.account.Between(15*time.Second, time.Minute)
		e.gone = now.Add(d)
		c.blocked[strings.ToLower(e.ID)] = e.gone.Add(20 * time.Minute)
		return reply{status: 202, header: c.begin(r, "Microsoft.Network", d, nil)}, nil
	}
	return reply{status: 202, header: c.begin(r, "Microsoft.Network", e.gone.Sub(now), nil)}, nil
}

// Disconnect has a private endpoint's partner end the connection.
func (c *Cloud) Disconnect(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.endpoints {
		if e.Name == name {
			e.connection, e.decision, e.description = "Disconnected", "", "the service's owner has removed the connection"
		}
	}
}

func (c *Cloud) networkRoutes() {
	c.handle("Microsoft.Network", "GET", "/subscriptions/{sub}/providers/Microsoft.Network/locations/{location}/operations/{operation}", c.operationStatus)
	c.handle("Microsoft.Compute", "GET", "/subscriptions/{sub}/providers/Microsoft.Compute/locations/{location}/operations/{operation}", c.operationStatus)
	c.route("Microsoft.Network", "networkInterfaces", map[string]handler{"GET": func(r *request) (reply, *cloud.Error) {
		id := r.id("Microsoft.Network", "networkInterfaces", r.PathValue("name"))
		i, ok := c.interfaces[strings.ToLower(id)]
		if e := c.endpoints[strings.ToLower(i.owner())]; !ok || e != nil && e.state(c.account.Now()) == "" {
			return reply{}, notFound(id)
		}
		return reply{status: 200, body: map[string]any{"id": i.id, "properties": map[string]any{"provisioningState": "Succeeded",
			"ipConfigurations": []any{map[string]any{"name": "ipconfig", "properties": map[string]any{"primary": true,
				"privateIPAddress": i.address.String(), "subnet": map[string]any{"id": i.subnet}}}}}}}, nil
	}})
	network := func(r *request) (*Network, *cloud.Error) {
		id := r.id("Microsoft.Network", "virtualNetworks", r.PathValue("name"))
		if n, ok := c.networks[strings.ToLower(id)]; ok {
			return n, nil
		}
		return nil, notFound(id)
	}
	c.route("Microsoft.Network", "virtualNetworks", map[string]handler{"GET": func(r *request) (reply, *cloud.Error) {
		n, refusal := network(r)
		if refusal != nil {
			return reply{}, refusal
		}
		subnets := []any{}
		for _, s := range n.Subnets {
			delegations := []any{}
			if s.Delegation != "" {
				delegations = append(delegations, map[string]any{"name": "d", "properties": map[string]any{"serviceName": s.Delegation}})
			}
			policies := s.Policies
			if policies == "" {
				policies = "Disabled"
			}
			subnets = append(subnets, map[string]any{"id": n.ID + "/subnets/" + s.Name, "name": s.Name, "properties": map[string]any{
				"addressPrefix": s.Prefix.String(), "delegations": delegations, "privateEndpointNetworkPolicies": policies}})
		}
		return reply{status: 200, body: map[string]any{"id": n.ID, "location": n.Location, "properties": map[string]any{
			"dhcpOptions": map[string]any{"dnsServers": n.DNSServers}, "subnets": subnets}}}, nil
	}})
	c.handle("Microsoft.Network", "GET", "/subscriptions/{sub}/resourceGroups/{group}/providers/Microsoft.Network/virtualNetworks/{name}/usages", func(r *request) (reply, *cloud.Error) {
		n, refusal := network(r)
		if refusal != nil {
			return reply{}, refusal
		}
		list := []any{}
		for _, s := range n.Subnets {
			limit, used := 1<<(32-s.Prefix.Bits())-5, s.used
			if s.Full {
				used = limit
			}
			list = append(list, map[string]any{"id": n.ID + "/subnets/" + s.Name, "currentValue": float64(used), "limit": float64(limit), "unit": "Count",
				"name": map[string]any{"value": "SubnetSpace", "localizedValue": "Subnet size and usage"}})
		}
		return reply{status: 200, body: map[string]any{"value": list}}, nil
	})
}

func (i *nic) owner() string {
	if i == nil {
		return ""
	}
	return i.endpoint
}

// String names an endpoint for tests.
func (e Endpoint) String() string {
	return fmt.Sprintf("%s %s %s %s", e.Name, e.Address, e.GUID, e.connection)
}

// Subnet is the subnet of a name, to be changed by tests.
func (c *Cloud) Subnet(name string) *Subnet {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.networks {
		for _, s := range n.Subnets {
			if s.Name == name {
				return s
			}
		}
	}
	return nil
}

// Remove is a private endpoint's deletion by hand.
func (c *Cloud) Remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, e := range c.endpoints {
		if e.Name == name {
			e.gone = c.account.Now()
			c.blocked[id] = e.gone.Add(20 * time.Minute)
		}
	}
}
