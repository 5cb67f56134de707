package aws

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"eslink/localtest/fakes/cloud"
)

// Service is an endpoint service that somebody else offers.
type Service struct {
	Name, Region string
	Zones        []string // of its own region
	Port         func(endpointID, host string, port int) Answer
	// Accounts may see the service; nil means everybody.
	Accounts map[string]bool
	// Regions are those whose VPCs may have endpoints to it besides its own.
	Regions []string
}

// endpoint is an interface endpoint.
type endpoint struct {
	id, vpc, service, serviceRegion, region, account string
	subnets, groups                                  []string
	interfaces                                       []networkInterface
	tags                                             map[string]string
	names                                            []dnsName
	history                                          []change
	shown, listed                                    time.Time
	lag                                              time.Duration // until its interfaces are gone after it
	failure                                          string
}

type networkInterface struct {
	id, subnet string
	address    netip.Addr
}

type dnsName struct{ name, zone string }

// change is a state and from when it holds.
type change struct {
	at    time.Time
	state string
}

// token is what a client token was used for.
type token struct{ fingerprint, endpoint string }

// Endpoint is what a test sees of an endpoint.
type Endpoint struct {
	ID, VPC, Service, State string
	Subnets, Groups         []string
	Tags                    map[string]string
	Names                   []string
	Addresses               []netip.Addr
}

// AddService offers an endpoint service.
func (f *Fake) AddService(s Service) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.services[s.Name] = &s
}

// AdmitAccount lets an account see a service.
func (f *Fake) AdmitAccount(service, account string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.services[service].Accounts[account] = true
}

// Endpoints are those that are not deleted, by their IDs.
func (f *Fake) Endpoints() []Endpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Endpoint
	for _, id := range slices.Sorted(maps.Keys(f.endpoints)) {
		e := f.endpoints[id]
		state := e.state(f.world.Now())
		if state == "deleted" {
			continue
		}
		x := Endpoint{ID: e.id, VPC: e.vpc, Service: e.service, State: state, Subnets: e.subnets, Groups: e.groups, Tags: maps.Clone(e.tags)}
		for _, n := range e.names {
			x.Names = append(x.Names, n.name)
		}
		for _, n := range e.interfaces {
			x.Addresses = append(x.Addresses, n.address)
		}
		out = append(out, x)
	}
	return out
}

// EndpointService is the service that an endpoint is for, "" if there is no such
// endpoint.
func (f *Fake) EndpointService(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.endpoints[id]; e != nil && e.state(f.world.Now()) != "deleted" {
		return e.service
	}
	return ""
}

// EndpointState is an endpoint's state now.
func (f *Fake) EndpointState(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.endpoints[id]; e != nil {
		return e.state(f.world.Now())
	}
	return "deleted"
}

// SettledAt is when an endpoint's last change that is under way ends.
func (f *Fake) SettledAt(id string) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.endpoints[id]; e != nil {
		return e.history[len(e.history)-1].at
	}
	return time.Time{}
}

// Accept is what the service's owner does; it takes effect at a time and shows
// as pending, then available. An endpoint that does not wait for it is left.
func (f *Fake) Accept(id string, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.endpoints[id]
	if e == nil || e.state(at) != "pendingAcceptance" {
		return
	}
	e.history = append(e.history, change{at, "pending"}, change{at.Add(f.between(20*time.Second, 3*time.Minute)), "available"})
}

// SetEndpointState makes an endpoint rejected, failed, expired or whatever else
// from now on.
func (f *Fake) SetEndpointState(id, state, failure string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, now := f.endpoints[id], f.world.Now()
	e.history = slices.DeleteFunc(e.history, func(c change) bool { return c.at.After(now) })
	e.history, e.failure = append(e.history, change{now, state}), failure
}

// RemoveEndpoint deletes one at once, with its interfaces.
func (f *Fake) RemoveEndpoint(id string) {
	f.SetEndpointState(id, "deleted", "")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endpoints[id].lag = 0
}

func (e *endpoint) state(now time.Time) string {
	state := ""
	for _, c := range e.history {
		if !now.Before(c.at) {
			state = c.state
		}
	}
	return state
}

// interfacesGone is when the interfaces are gone: some time after the endpoint.
func (e *endpoint) interfacesGone(now time.Time) time.Time {
	for _, c := range e.history {
		if c.state == "deleted" {
			return c.at.Add(e.lag)
		}
	}
	return now.Add(time.Hour)
}

func (f *Fake) networkInterface(id string) (*endpoint, networkInterface) {
	for _, e := range f.endpoints {
		for _, n := range e.interfaces {
			if n.id == id {
				return e, n
			}
		}
	}
	return nil, networkInterface{}
}

// service finds one that the caller may see from the region of the request.
func (f *Fake) service(r *request, name, region string) (*Service, error) {
	s := f.services[name]
	missing := cloud.Errorf(400, "InvalidServiceName", "The Vpc Endpoint Service '%s' does not exist", name)
	switch {
	case s == nil || s.Accounts != nil && !s.Accounts[r.account]:
		return nil, missing
	case first(region, r.region) != s.Region:
		return nil, missing
	case s.Region != r.region && !slices.Contains(s.Regions, r.region):
		return nil, missing
	case s.Region != r.region && f.denyMultiRegion:
		return nil, cloud.Errorf(403, "UnauthorizedOperation", "You are not authorized to perform this operation. User: arn:aws:sts::%s:assumed-role/eslink/eslink is not authorized to perform: vpce:AllowMultiRegion with an explicit deny. Encoded authorization failure message: %s", r.account, strings.Repeat("QUJD", 200))
	}
	return s, nil
}

func describeServices(f *Fake, r *request) (any, error) {
	type item struct {
		Name       string   `xml:"serviceName"`
		ID         string   `xml:"serviceId"`
		Region     string   `xml:"serviceRegion"`
		Zones      []string `xml:"availabilityZoneSet>item"`
		Acceptance bool     `xml:"acceptanceRequired"`
		Types      []string `xml:"serviceType>item>serviceType"`
	}
	var out struct {
		Items []item   `xml:"serviceDetailSet>item"`
		Names []string `xml:"serviceNameSet>item"`
	}
	region := ""
	if regions := r.params.values("ServiceRegion"); len(regions) > 0 {
		region = regions[0]
	}
	for _, name := range r.params.values("ServiceName") {
		s, err := f.service(r, name, region)
		if err != nil {
			return nil, err
		}
		out.Names = append(out.Names, name)
		out.Items = append(out.Items, item{name, name[strings.LastIndex(name, ".")+1:], s.Region, s.Zones, true, []string{"Interface"}})
	}
	return out, nil
}

// placement holds the request's subnets and groups against VPC and service.
func (f *Fake) placement(r *request, v *VPC, s *Service, subnets, groups []string, zones map[string]bool) error {
	for _, id := range subnets {
		n, err := f.subnet(r, id)
		if err != nil {
			return err
		}
		switch {
		case n.VPC != v.ID:
			return cloud.Errorf(400, "InvalidParameter", "The subnet %s is not in VPC %s.", id, v.ID)
		case zones[n.Zone]:
			return cloud.Errorf(400, "DuplicateSubnetsInSameZone", "Found another VPC endpoint subnet in the availability zone of %s.", id)
		case s.Region == r.region && !slices.Contains(s.Zones, n.Zone):
			return cloud.Errorf(400, "InvalidParameter", "The VPC endpoint service %s does not support the availability zone of the subnet: %s.", s.Name, id)
		case n.Free < 1:
			return cloud.Errorf(400, "InsufficientFreeAddressesInSubnet", "The subnet %s does not have enough free addresses.", id)
		}
		zones[n.Zone] = true
	}
	for _, id := range groups {
		g, err := f.group(r, id)
		if err != nil {
			return err
		}
		if g.vpc != v.ID {
			return cloud.Errorf(400, "InvalidParameter", "Security group %s and VPC %s belong to different networks.", id, v.ID)
		}
	}
	return nil
}

func createEndpoint(f *Fake, r *request) (any, error) {
	p := r.params
	fingerprint := fmt.Sprint(map[string]string(p))
	if t := p["ClientToken"]; t != "" {
		if len(t) > 64 {
			return nil, cloud.Errorf(400, "InvalidParameterValue", "The client token is longer than 64 characters.")
		}
		if used, ok := f.tokens[r.account+r.region+t]; ok {
			if used.fingerprint != fingerprint {
				return nil, cloud.Errorf(400, "IdempotentParameterMismatch", "The client token was used with other parameters.")
			}
			return f.endpointReply(r, f.endpoints[used.endpoint]), nil
		}
	}
	if p["VpcEndpointType"] != "Interface" {
		return nil, cloud.Errorf(400, "InvalidParameter", "This service takes interface endpoints only.")
	}
	v, err := f.vpc(r, p["VpcId"])
	if err != nil {
		return nil, err
	}
	s, err := f.service(r, p["ServiceName"], p["ServiceRegion"])
	if err != nil {
		return nil, err
	}
	if p["PrivateDnsEnabled"] != "false" {
		return nil, cloud.Errorf(400, "InvalidParameter", "Private DNS can't be enabled because the service %s does not provide a private DNS name.", s.Name)
	}
	subnets, groups := p.values("SubnetId"), p.values("SecurityGroupId")
	if err := f.placement(r, v, s, subnets, groups, map[string]bool{}); err != nil {
		return nil, err
	}
	n := 0
	for _, e := range f.endpoints {
		if e.vpc == v.ID && e.state(r.now) != "deleted" {
			n++
		}
	}
	if n >= f.limit {
		return nil, cloud.Errorf(400, "VpcEndpointLimitExceeded", "You have reached the limit of interface endpoints for VPC %s.", v.ID)
	}
	e := &endpoint{id: f.hex("vpce-"), vpc: v.ID, service: s.Name, serviceRegion: s.Region, region: r.region, account: r.account, groups: groups, tags: p.tags(),
		shown: r.now.Add(f.world.Lag(10 * time.Second)), listed: r.now.Add(f.world.Lag(time.Minute)), lag: f.between(10*time.Second, 2*time.Minute),
		history: []change{{r.now, "pendingAcceptance"}}}
	f.name(e, s)
	f.place(e, subnets)
	f.endpoints[e.id] = e
	if t := p["ClientToken"]; t != "" {
		f.tokens[r.account+r.region+t] = token{fingerprint, e.id}
	}
	return f.endpointReply(r, e), nil
}

// name gives an endpoint its regional name and, in the service's own region, one
// of each zone.
func (f *Fake) name(e *endpoint, s *Service) {
	rest := "." + s.Name[strings.LastIndex(s.Name, ".")+1:] + "." + s.Region + ".vpce.amazonaws.com"
	stem, zone := e.id+"-"+f.world.NewID("", 8), strings.ToUpper(f.world.NewID("Z", 13))
	e.names = []dnsName{{stem + rest, zone}}
	if s.Region == e.region {
		for _, z := range s.Zones {
			e.names = append(e.names, dnsName{stem + "-" + z + rest, zone})
		}
	}
}

// place gives an endpoint an interface in each subnet.
func (f *Fake) place(e *endpoint, subnets []string) {
	for _, id := range subnets {
		e.subnets = append(e.subnets, id)
		e.interfaces = append(e.interfaces, networkInterface{f.hex("eni-"), id, f.takeAddress(f.subnets[id])})
	}
}

// endpoint finds one of the caller's that reads by ID know.
func (f *Fake) endpoint(r *request, id string) (*endpoint, error) {
	e := f.endpoints[id]
	// For an hour a deleted one is shown as such.
	if e == nil || e.account != r.account || e.region != r.region || r.now.Before(e.shown) || e.state(r.now.Add(-time.Hour)) == "deleted" {
		return nil, cloud.Errorf(400, "InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '%s' does not exist", id)
	}
	return e, nil
}

type endpointItem struct {
	ID            string      `xml:"vpcEndpointId"`
	Type          string      `xml:"vpcEndpointType"`
	VPC           string      `xml:"vpcId"`
	Service       string      `xml:"serviceName"`
	ServiceRegion string      `xml:"serviceRegion"`
	State         string      `xml:"state"`
	Failure       string      `xml:"failureReason,omitempty"`
	Owner         string      `xml:"ownerId"`
	Subnets       []string    `xml:"subnetIdSet>item"`
	Groups        []groupPair `xml:"groupSet>item"`
	Interfaces    []string    `xml:"networkInterfaceIdSet>item"`
	Names         []nameItem  `xml:"dnsEntrySet>item"`
	Tags          []tag       `xml:"tagSet>item"`
	PrivateDNS    bool        `xml:"privateDnsEnabled"`
}

type nameItem struct {
	Name string `xml:"dnsName"`
	Zone string `xml:"hostedZoneId"`
}

func (f *Fake) item(r *request, e *endpoint) endpointItem {
	i := endpointItem{ID: e.id, Type: "Interface", VPC: e.vpc, Service: e.service, ServiceRegion: e.serviceRegion, State: e.state(r.now), Failure: e.failure, Owner: e.account, Subnets: e.subnets, Tags: tagItems(e.tags)}
	for _, g := range e.groups {
		i.Groups = append(i.Groups, groupPair{ID: g})
	}
	for _, n := range e.interfaces {
		i.Interfaces = append(i.Interfaces, n.id)
	}
	for _, n := range e.names {
		i.Names = append(i.Names, nameItem{n.name, n.zone})
	}
	return i
}

func (f *Fake) endpointReply(r *request, e *endpoint) any {
	return struct {
		Endpoint endpointItem `xml:"vpcEndpoint"`
		Token    string       `xml:"clientToken,omitempty"`
	}{f.item(r, e), r.params["ClientToken"]}
}

func describeEndpoints(f *Fake, r *request) (any, error) {
	var all []endpointItem
	if ids := r.params.values("VpcEndpointId"); len(ids) > 0 {
		for _, id := range ids {
			e, err := f.endpoint(r, id)
			if err != nil {
				return nil, err
			}
			all = append(all, f.item(r, e))
		}
	} else {
		filters := r.params.filters()
		for _, id := range slices.Sorted(maps.Keys(f.endpoints)) {
			e := f.endpoints[id]
			if e.account != r.account || e.region != r.region || r.now.Before(e.listed) || e.state(r.now.Add(-time.Hour)) == "deleted" || !e.matches(filters) {
				continue
			}
			all = append(all, f.item(r, e))
		}
	}
	var out struct {
		Items []endpointItem `xml:"vpcEndpointSet>item"`
		Next  string         `xml:"nextToken,omitempty"`
	}
	var err error
	out.Items, out.Next, err = page(r, "NextToken", all)
	return out, err
}

func (e *endpoint) matches(filters map[string][]string) bool {
	for name, values := range filters {
		have := e.tags[tagOf(name)]
		if name == "vpc-id" {
			have = e.vpc
		}
		if !slices.Contains(values, have) {
			return false
		}
	}
	return true
}

func modifyEndpoint(f *Fake, r *request) (any, error) {
	e, err := f.endpoint(r, r.params["VpcEndpointId"])
	if err != nil {
		return nil, err
	}
	if state := e.state(r.now); state != "available" {
		return nil, cloud.Errorf(400, "IncorrectState", "The endpoint %s is %s.", e.id, state)
	}
	remove, add := r.params.values("RemoveSubnetId"), r.params.values("AddSubnetId")
	zones := map[string]bool{}
	for _, id := range e.subnets {
		if !slices.Contains(remove, id) {
			zones[f.subnets[id].Zone] = true
		}
	}
	if err := f.placement(r, f.vpcs[e.vpc], f.services[e.service], add, nil, zones); err != nil {
		return nil, err
	}
	e.subnets = slices.DeleteFunc(e.subnets, func(id string) bool { return slices.Contains(remove, id) })
	e.interfaces = slices.DeleteFunc(e.interfaces, func(n networkInterface) bool { return slices.Contains(remove, n.subnet) })
	f.place(e, add)
	e.history = append(e.history, change{r.now, "pending"}, change{r.now.Add(f.between(10*time.Second, time.Minute)), "available"})
	return success, nil
}

func deleteEndpoints(f *Fake, r *request) (any, error) {
	type failed struct {
		ID      string `xml:"resourceId"`
		Code    string `xml:"error>code"`
		Message string `xml:"error>message"`
	}
	var out struct {
		Unsuccessful []failed `xml:"unsuccessful>item"`
	}
	for _, id := range r.params.values("VpcEndpointId") {
		e, err := f.endpoint(r, id)
		if err != nil {
			out.Unsuccessful = append(out.Unsuccessful, failed{id, "InvalidVpcEndpoint.NotFound", "The Vpc Endpoint Id '" + id + "' does not exist"})
			continue
		}
		switch e.state(r.now) {
		case "deleting", "deleted":
			continue
		case "pending":
			out.Unsuccessful = append(out.Unsuccessful, failed{id, "IncorrectState", "The endpoint is pending."})
			continue
		}
		e.history = slices.DeleteFunc(e.history, func(c change) bool { return c.at.After(r.now) })
		e.history = append(e.history, change{r.now, "deleting"}, change{r.now.Add(f.between(20*time.Second, 4*time.Minute)), "deleted"})
	}
	return out, nil
}
