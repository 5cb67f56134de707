// Package privatelink is a stateful fake of PrivateLink, RPC version 2020-04-15, seen by the owner of endpoint
// services. The endpoints that connect to them belong to others: to the Elasticsearch service account, which makes them
// through package escluster, or to foreigners, which tests add.
//
// States, codes and the order of deletion follow the published API document. A connection that was never accepted reads
// Disconnected, as in the document's samples. Of the rules "not concurrent within one main account" (accepting,
// disconnecting, deleting services) and "not concurrent per service" (attaching, detaching) the fake makes refusals with
// ConcurrentCallNotSupported and EndpointServiceLocked while the earlier change lasts.
package privatelink

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"sync"
	"time"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/resource"
)

// Balancers are the load balancers of one type that can stand behind an endpoint service.
type Balancers interface {
	// Locate says where a balancer stands in a zone; ok is false if it is not ready there.
	Locate(id, zoneID string) (vpcID, vSwitchID string, address netip.Addr, ok bool)
	// Offered are the zones in which the type may serve PrivateLink.
	Offered() []string
}

// Service is an endpoint service as it is now.
type Service struct {
	ID, Name, Domain, ResourceType, Description string
	Status                                      string // Creating, Active, Pending, Deleting
	Resources                                   []Resource
	Tags                                        map[string]string
}

// Resource is a balancer's foot in one zone, behind a service.
type Resource struct {
	ID, Type, ZoneID, VPCID, VSwitchID string
	Address                            netip.Addr
}

// Endpoint is what connects to a service, from one zone of another network.
type Endpoint struct {
	ID, ServiceID, ZoneID, OwnerID, VPCID string
	Domain, ZoneDomain                    string     // <id>.<service>.<region>.privatelink.aliyuncs.com; with -<zone> after the id
	Address                               netip.Addr // of its network interface
	Status                                string     // Creating, Active, Deleting
	Connection                            string     // Disconnected, Connecting, Connected, Disconnecting, Deleting, ServiceDeleted
	ZoneStatus                            string     // Wait, Connecting, Connected, Disconnecting, Disconnected
	Created                               time.Time
	Ready                                 time.Time // of one just made: when it is Active, and lists show it
}

var (
	serviceStates = resource.Table{
		"Creating": {"Active"}, "Active": {"Pending", "Deleting"}, "Pending": {"Active"}, "Deleting": {resource.Gone},
	}
	endpointStates   = resource.Table{"Creating": {"Active"}, "Active": {"Deleting"}, "Deleting": {resource.Gone}}
	connectionStates = resource.Table{
		"Disconnected": {"Connecting", "Deleting", "ServiceDeleted"}, "Connecting": {"Connected"},
		"Connected": {"Disconnecting"}, "Disconnecting": {"Disconnected"}, "ServiceDeleted": {"Deleting"},
	}
)

type service struct {
	Service
	resource.Machine
	resource.Lag
	created time.Time
	payer   string
	users   []string
}

type endpoint struct {
	Endpoint
	resource.Machine
	resource.Lag
	connection resource.Machine
	accepted   bool // once: before that, its zone waits
}

// Fake is the product in one account. It is an http.Handler of its API.
type Fake struct {
	http.Handler
	account   *cloud.Account
	balancers map[string]Balancers

	mu        sync.Mutex
	open      bool
	services  resource.Set[*service]
	endpoints resource.Set[*endpoint]
}

// New makes the product, open for use, with the balancers of each ServiceResourceType ("nlb", "slb").
func New(a *cloud.Account, balancers map[string]Balancers) *Fake {
	f := &Fake{account: a, balancers: balancers, open: true}
	ops := map[string]cloud.Op{
		"CheckProductOpen":                     f.checkProductOpen,
		"OpenPrivateLinkService":               f.openPrivateLinkService,
		"DescribeZones":                        f.describeZones,
		"CreateVpcEndpointService":             f.createService,
		"GetVpcEndpointServiceAttribute":       f.getService,
		"ListVpcEndpointServices":              f.listServices,
		"DeleteVpcEndpointService":             f.deleteService,
		"AttachResourceToVpcEndpointService":   f.attachResource,
		"DetachResourceFromVpcEndpointService": f.detachResource,
		"ListVpcEndpointServiceResources":      f.listResources,
		"AddUserToVpcEndpointService":          f.addUser,
		"RemoveUserFromVpcEndpointService":     f.removeUser,
		"ListVpcEndpointServiceUsers":          f.listUsers,
		"ListVpcEndpointConnections":           f.listConnections,
		"EnableVpcEndpointConnection":          f.enableConnection,
		"DisableVpcEndpointConnection":         f.disableConnection,
	}
	ops = resource.Locked(&f.mu, ops)
	f.Handler = a.RPC("privatelink", "2020-04-15", ops)
	return f
}

// SetOpen says whether the account has activated PrivateLink.
func (f *Fake) SetOpen(open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = open
}

// Services are those that exist now, whatever lists show.
func (f *Fake) Services() []Service {
	f.mu.Lock()
	defer f.mu.Unlock()
	return resource.Views(f.services, f.account.Now(), func(s *service) Service { return s.now(f) })
}

// Endpoints are those that exist now.
func (f *Fake) Endpoints() []Endpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	return resource.Views(f.endpoints, f.account.Now(), func(e *endpoint) Endpoint { return e.now(f) })
}

// Attached reports whether a balancer is a resource of a service.
func (f *Fake) Attached(resourceID string) bool {
	return slices.ContainsFunc(f.Services(), func(s Service) bool {
		return slices.ContainsFunc(s.Resources, func(r Resource) bool { return r.ID == resourceID })
	})
}

// CreateEndpoint makes an endpoint in a zone of network vpcID of account ownerID. It appears in the service's list of
// connections only after a while and waits there for acceptance. Errors are those of the API's CreateVpcEndpoint.
func (f *Fake) CreateEndpoint(serviceID, zoneID, ownerID, vpcID string) (Endpoint, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, state, err := f.service(serviceID)
	if err != nil {
		return Endpoint{}, err
	}
	if state != "Active" {
		return Endpoint{}, denied()
	}
	if !slices.ContainsFunc(s.Resources, func(r Resource) bool { return r.ZoneID == zoneID }) {
		return Endpoint{}, cloud.Errorf(400, "EndpointServiceNotSupportedZone", "The specified endpoint service does not support the zone.")
	}
	id, now, n := f.account.NewID("ep-bp1", 17), f.account.Now(), len(f.endpoints)
	tail := "." + s.ID + "." + f.account.Region + ".privatelink.aliyuncs.com"
	e := &endpoint{Lag: resource.Born(f.account), Endpoint: Endpoint{
		ID: id, ServiceID: s.ID, ZoneID: zoneID, OwnerID: ownerID, VPCID: vpcID, Created: now,
		Domain: id + tail, ZoneDomain: id + "-" + zoneID + tail, Address: netip.AddrFrom4([4]byte{10, 240, byte(n >> 8), byte(n + 1)}),
	}}
	e.Machine = endpointStates.Start(now, "Creating", f.account.Between(5*time.Second, time.Minute), "Active")
	e.connection = connectionStates.Start(now, "Disconnected", 0, "")
	f.endpoints = append(f.endpoints, e)
	made := e.now(f)
	made.Ready = e.Due()
	if e.Shown().After(made.Ready) {
		f.account.Await(e.Shown().Sub(made.Ready))
		made.Ready = e.Shown()
	}
	return made, nil
}

// AddForeignEndpoint is CreateEndpoint by somebody else, who now asks for acceptance.
func (f *Fake) AddForeignEndpoint(serviceID, zoneID, ownerID string) (Endpoint, error) {
	return f.CreateEndpoint(serviceID, zoneID, ownerID, f.account.NewID("vpc-", 21))
}

// DeleteEndpoint begins the deletion of an endpoint by its owner. It is refused while the endpoint is connected.
func (f *Fake) DeleteEndpoint(id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, state, err := f.endpoint(id)
	if err != nil {
		return err
	}
	c, now := e.connection.State(f.account.Now()), f.account.Now()
	if state != "Active" || c != "Disconnected" && c != "ServiceDeleted" {
		return cloud.Errorf(400, "EndpointOperationDenied", "The specified operation of endpoint is not allowed.")
	}
	d := f.account.Between(5*time.Second, time.Minute)
	e.connection.Change(now, "Deleting", 0, "")
	e.Change(now, "Deleting", d, resource.Gone)
	e.Dies(f.account, now.Add(d))
	return nil
}

// Remove makes a service or an endpoint vanish, as if by hand and long ago: no rule is asked.
func (f *Fake) Remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.services.Remove(func(s *service) bool { return s.ID == id })
	for _, e := range f.endpoints {
		if e.ServiceID == id {
			e.connection = connectionStates.Start(f.account.Now(), "ServiceDeleted", 0, "")
		}
	}
	for _, e := range f.endpoints {
		if e.ID == id {
			e.Machine, e.Lag = resource.Table{}.Start(f.account.Now(), resource.Gone, 0, ""), resource.Lag{}
			e.Dies(f.account, f.account.Now().Add(-time.Hour))
		}
	}
}

func (s *service) now(f *Fake) Service {
	now := s.Service
	now.Status = s.State(f.account.Now())
	now.Resources = slices.Clone(s.Resources)
	return now
}

func (e *endpoint) now(f *Fake) Endpoint {
	now := e.Endpoint
	now.Status, now.Connection = e.State(f.account.Now()), e.connection.State(f.account.Now())
	switch {
	case now.Connection == "Disconnected" && !e.accepted:
		now.ZoneStatus = "Wait"
	case now.Connection == "ServiceDeleted":
		now.ZoneStatus = "Disconnected"
	default:
		now.ZoneStatus = now.Connection
	}
	return now
}

func (f *Fake) service(id string) (*service, string, error) {
	if one, state, ok := f.services.Find(f.account.Now(), func(x *service) bool { return x.ID == id }); ok {
		return one, state, nil
	}
	return nil, "", cloud.Errorf(400, "EndpointServiceNotFound", "The specified Service does not exist.")
}

func (f *Fake) endpoint(id string) (*endpoint, string, error) {
	if one, state, ok := f.endpoints.Find(f.account.Now(), func(x *endpoint) bool { return x.ID == id }); ok {
		return one, state, nil
	}
	return nil, "", cloud.Errorf(400, "EndpointNotFound", "The specified Endpoint does not exist.")
}

func denied() error {
	return cloud.Errorf(400, "EndpointServiceOperationDenied", "The specified operation of endpoint service is not allowed.")
}

func concurrent() error {
	return cloud.Errorf(400, "ConcurrentCallNotSupported", "The concurrent call is not supported.")
}

func illegal(name string) error {
	return cloud.Errorf(400, "IllegalParam."+name, "The param of %s is illegal.", name)
}

func (f *Fake) checkProductOpen(*cloud.Request) (any, error) {
	return map[string]any{"Success": f.open}, nil
}

func (f *Fake) openPrivateLinkService(*cloud.Request) (any, error) {
	f.open = true
	return map[string]any{"OrderId": f.account.NewID("2", 14)}, nil
}

func (f *Fake) describeZones(r *cloud.Request) (any, error) {
	kind := r.Get("ServiceResourceType")
	if kind == "" {
		kind = "slb"
	}
	zones := []any{}
	if b := f.balancers[kind]; b != nil {
		for _, z := range b.Offered() {
			zones = append(zones, map[string]any{"ZoneId": z, "LocalName": z})
		}
	}
	return map[string]any{"Zones": map[string]any{"Zone": zones}}, nil
}

// locate finds a balancer that a service shall forward to.
func (f *Fake) locate(kind, id, zoneID string) (Resource, error) {
	balancers := f.balancers[kind]
	if balancers == nil {
		return Resource{}, cloud.Errorf(400, "EndpointServiceResourceTypeNotSupport", "The specified resource type is not supported.")
	}
	if vpcID, vSwitchID, address, ok := balancers.Locate(id, zoneID); ok && slices.Contains(balancers.Offered(), zoneID) {
		return Resource{ID: id, Type: kind, ZoneID: zoneID, VPCID: vpcID, VSwitchID: vSwitchID, Address: address}, nil
	}
	for _, other := range balancers.Offered() {
		if _, _, _, ok := balancers.Locate(id, other); ok {
			return Resource{}, cloud.Errorf(400, "EndpointServiceNotSupportedZone", "The specified endpoint service does not support the zone.")
		}
	}
	return Resource{}, cloud.Errorf(400, "LoadBalancerNotFound", "The specified load balancer does not exist.")
}

var validDescription = regexp.MustCompile(`^\p{L}.{1,255}$`)

func (f *Fake) createService(r *cloud.Request) (any, error) {
	if err := r.Only("ServiceResourceType", "ServiceDescription", "AutoAcceptEnabled", "ZoneAffinityEnabled", "ServiceSupportIPv6", "Payer", "Resource", "Tag", "DryRun"); err != nil {
		return nil, err
	}
	for _, name := range []string{"AutoAcceptEnabled", "ZoneAffinityEnabled", "ServiceSupportIPv6"} {
		if on, err := resource.Bool(r, name, false); err != nil {
			return nil, err
		} else if on {
			return nil, cloud.Errorf(400, "IllegalParam", "CreateVpcEndpointService: the fake does not do %s.", name)
		}
	}
	s := &service{payer: r.Get("Payer"), users: []string{f.account.AccountID}, created: f.account.Now(), Service: Service{
		ResourceType: r.Get("ServiceResourceType"), Description: r.Get("ServiceDescription"), Tags: resource.Tags(r),
	}}
	if s.ResourceType == "" {
		s.ResourceType = "slb"
	}
	if s.payer == "" {
		s.payer = "Endpoint"
	}
	switch {
	case !f.open:
		return nil, cloud.Errorf(400, "ProductNotOpen", "The product is not activated.")
	case s.payer != "Endpoint" && s.payer != "EndpointService":
		return nil, illegal("Payer")
	case s.Description != "" && !validDescription.MatchString(s.Description):
		return nil, illegal("ServiceDescription")
	case f.balancers[s.ResourceType] == nil:
		return nil, cloud.Errorf(400, "EndpointServiceResourceTypeNotSupport", "The specified resource type is not supported.")
	}
	for _, item := range r.List("Resource") {
		if item["ResourceType"] != s.ResourceType {
			return nil, cloud.Errorf(400, "EndpointServiceResourceTypeNotEqual", "the service resource type not equal request type.")
		}
		res, err := f.locate(item["ResourceType"], item["ResourceId"], item["ZoneId"])
		if err != nil {
			return nil, err
		}
		if slices.Contains(s.Resources, res) {
			return nil, cloud.Errorf(400, "EndpointServiceResourceExist", "The specified resource already exists.")
		}
		s.Resources = append(s.Resources, res)
	}
	if len(s.Resources) > 10 {
		return nil, cloud.Errorf(400, "QuotaMisMatched", "The resource you applied for has exceeded the quota.")
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	s.ID, s.Lag = f.account.NewID("epsrv-bp1", 17), resource.Born(f.account)
	s.Name = "com.aliyuncs.privatelink." + f.account.Region + "." + s.ID
	s.Domain = s.ID + "." + f.account.Region + ".privatelink.aliyuncs.com"
	s.Machine = serviceStates.Start(s.created, "Creating", f.account.Between(5*time.Second, time.Minute), "Active")
	f.services = append(f.services, s)
	return f.describe(s), nil
}

func (f *Fake) describe(s *service) map[string]any {
	now, zones := s.now(f), []string{}
	for _, r := range now.Resources {
		if !slices.Contains(zones, r.ZoneID) {
			zones = append(zones, r.ZoneID)
		}
	}
	return map[string]any{
		"ServiceId": now.ID, "ServiceName": now.Name, "ServiceDomain": now.Domain, "ServiceStatus": now.Status,
		"ServiceBusinessStatus": "Normal", "ServiceDescription": now.Description, "ServiceResourceType": now.ResourceType,
		"ServiceType": "Interface", "AutoAcceptEnabled": false, "ZoneAffinityEnabled": false, "ServiceSupportIPv6": false,
		"Payer": s.payer, "RegionId": f.account.Region, "CreateTime": s.created.UTC().Format(time.RFC3339),
		"MinBandwidth": 100, "MaxBandwidth": 10240, "ConnectBandwidth": 3072, "Zones": zones, "Tags": resource.TagList(now.Tags, "Key", "Value"),
	}
}

func (f *Fake) getService(r *cloud.Request) (any, error) {
	s, _, err := f.service(r.Get("ServiceId"))
	if err != nil {
		return nil, err
	}
	d := f.describe(s)
	delete(d, "Tags") // the operation does not return them
	return d, nil
}

func (f *Fake) listServices(r *cloud.Request) (any, error) {
	if err := r.Only("ServiceId", "ServiceName", "ServiceStatus", "ServiceResourceType", "ResourceId", "Tag", "MaxResults", "NextToken"); err != nil {
		return nil, err
	}
	found := []any{}
	for _, s := range f.services {
		now := s.now(f)
		if s.Listed(f.account.Now()) && resource.Is(r, "ServiceId", s.ID) && resource.Is(r, "ServiceName", s.Name) && resource.Is(r, "ServiceStatus", now.Status) &&
			resource.Is(r, "ServiceResourceType", s.ResourceType) && resource.HasTags(s.Tags, resource.Tags(r)) &&
			(r.Get("ResourceId") == "" || slices.ContainsFunc(s.Resources, func(x Resource) bool { return x.ID == r.Get("ResourceId") })) {
			d := f.describe(s)
			if now.Status == resource.Gone {
				d["ServiceStatus"] = "Deleting"
			}
			found = append(found, d)
		}
	}
	return listing(r, "Services", found)
}

func listing(r *cloud.Request, key string, found []any) (any, error) {
	page, next, size, err := resource.Page(r, found, 50, 1000)
	if err != nil {
		return nil, err
	}
	return map[string]any{key: page, "TotalCount": len(found), "MaxResults": size, "NextToken": next}, nil
}

func (f *Fake) deleteService(r *cloud.Request) (any, error) {
	s, state, err := f.service(r.Get("ServiceId"))
	if err != nil {
		return nil, err
	}
	now := f.account.Now()
	switch {
	case f.related(s.ID, "") > 0:
		return nil, cloud.Errorf(400, "EndpointServiceConnectionDependence", "You cannot delete EndpointService with Endpoint connected.")
	case len(s.Resources) > 0:
		return nil, cloud.Errorf(400, "EndpointServiceDependenceViolation", "The specified EndpointService already contains a resource.")
	case state != "Active":
		return nil, denied()
	case slices.ContainsFunc(f.services, func(x *service) bool { return x.State(now) == "Deleting" }):
		return nil, concurrent()
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	d := f.account.Between(5*time.Second, time.Minute)
	s.Change(now, "Deleting", d, resource.Gone)
	s.Dies(f.account, now.Add(d))
	for _, e := range f.endpoints {
		if e.ServiceID == s.ID && e.connection.State(now) == "Disconnected" {
			e.connection.Change(now, "ServiceDeleted", 0, "")
		}
	}
	return map[string]any{}, nil
}

// changing finds the service of a request that changes its resources.
func (f *Fake) changing(r *cloud.Request) (*service, error) {
	s, state, err := f.service(r.Get("ServiceId"))
	switch {
	case err != nil:
		return nil, err
	case state == "Pending":
		return nil, cloud.Errorf(400, "EndpointServiceLocked", "The specified Service is locked.")
	case state != "Active":
		return nil, denied()
	}
	return s, nil
}

func (f *Fake) attachResource(r *cloud.Request) (any, error) {
	s, err := f.changing(r)
	if err != nil {
		return nil, err
	}
	if r.Get("ResourceType") != s.ResourceType {
		return nil, cloud.Errorf(400, "EndpointServiceResourceTypeNotEqual", "the service resource type not equal request type.")
	}
	res, err := f.locate(r.Get("ResourceType"), r.Get("ResourceId"), r.Get("ZoneId"))
	if err != nil {
		return nil, err
	}
	if slices.Contains(s.Resources, res) {
		return nil, cloud.Errorf(400, "EndpointServiceResourceExist", "The specified resource already exists.")
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	s.Resources = append(s.Resources, res)
	s.Change(f.account.Now(), "Pending", f.account.Between(time.Second, 15*time.Second), "Active")
	return map[string]any{}, nil
}

func (f *Fake) detachResource(r *cloud.Request) (any, error) {
	s, err := f.changing(r)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(s.Resources, func(x Resource) bool {
		return x.ID == r.Get("ResourceId") && x.ZoneID == r.Get("ZoneId") && resource.Is(r, "ResourceType", x.Type)
	})
	if i < 0 {
		return nil, cloud.Errorf(400, "EndpointServiceResourceNotFound", "The specified service resource is not found.")
	}
	if f.related(s.ID, s.Resources[i].ZoneID) > 0 {
		return nil, cloud.Errorf(400, "EndpointServiceConnectionDependence", "You cannot delete EndpointService with Endpoint connected.")
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	s.Resources = slices.Delete(s.Resources, i, i+1)
	s.Change(f.account.Now(), "Pending", f.account.Between(time.Second, 15*time.Second), "Active")
	return map[string]any{}, nil
}

// related counts the connections that a service's resources carry in a zone, or in all if zoneID is "".
func (f *Fake) related(serviceID, zoneID string) (n int) {
	for _, e := range f.endpoints {
		now := e.now(f)
		if e.ServiceID == serviceID && (zoneID == "" || e.ZoneID == zoneID) && now.Status != resource.Gone && slices.Contains([]string{"Connecting", "Connected", "Disconnecting"}, now.Connection) {
			n++
		}
	}
	return n
}

func (f *Fake) listResources(r *cloud.Request) (any, error) {
	s, _, err := f.service(r.Get("ServiceId"))
	if err != nil {
		return nil, err
	}
	found := []any{}
	for _, x := range s.Resources {
		found = append(found, map[string]any{
			"ResourceId": x.ID, "ResourceType": x.Type, "ZoneId": x.ZoneID, "VpcId": x.VPCID, "VSwitchId": x.VSwitchID, "Ip": x.Address,
			"RegionId": f.account.Region, "RelatedEndpointCount": f.related(s.ID, x.ZoneID), "AutoAllocatedEnabled": true,
		})
	}
	return listing(r, "Resources", found)
}

var userARN = regexp.MustCompile(`^acs:ram:\*:(\d+):\*$`)

// user is the account that a request on the service's whitelist names.
func (f *Fake) user(r *cloud.Request) (*service, string, error) {
	s, state, err := f.service(r.Get("ServiceId"))
	if err != nil {
		return nil, "", err
	}
	id := r.Get("UserId")
	if m := userARN.FindStringSubmatch(r.Get("UserARN")); m != nil && (id == "" || id == m[1]) {
		id = m[1]
	} else if r.Get("UserARN") != "" {
		return nil, "", cloud.Errorf(400, "Mismatch.UserIdAndUserArn", "The UserId and UserArn are mismatched.")
	}
	switch {
	case id == "":
		return nil, "", cloud.Errorf(400, "MissingParam.UserArn", "The param of UserArn is missing.")
	case state != "Active":
		return nil, "", denied()
	}
	return s, id, resource.DryRun(r)
}

func (f *Fake) addUser(r *cloud.Request) (any, error) {
	s, id, err := f.user(r)
	if err == nil && !slices.Contains(s.users, id) {
		s.users = append(s.users, id)
	}
	return map[string]any{}, err
}

func (f *Fake) removeUser(r *cloud.Request) (any, error) {
	s, id, err := f.user(r)
	if err == nil {
		s.users = slices.DeleteFunc(s.users, func(u string) bool { return u == id })
	}
	return map[string]any{}, err
}

func (f *Fake) listUsers(r *cloud.Request) (any, error) {
	if err := r.Only("ServiceId", "UserId", "MaxResults", "NextToken"); err != nil {
		return nil, err
	}
	s, _, err := f.service(r.Get("ServiceId"))
	if err != nil {
		return nil, err
	}
	users, arns := []any{}, []any{}
	for _, u := range s.users {
		if resource.Is(r, "UserId", u) {
			users = append(users, map[string]any{"UserId": json.Number(u)})
			arns = append(arns, map[string]any{"UserARN": fmt.Sprintf("acs:ram:*:%s:*", u)})
		}
	}
	return map[string]any{"Users": users, "UserARNs": arns, "TotalCount": len(users), "MaxResults": 50}, nil
}

func (f *Fake) listConnections(r *cloud.Request) (any, error) {
	if err := r.Only("ServiceId", "EndpointId", "EndpointOwnerId", "ConnectionStatus", "ResourceId", "MaxResults", "NextToken"); err != nil {
		return nil, err
	}
	found := []any{}
	for _, e := range f.endpoints {
		now := e.now(f)
		i := slices.IndexFunc(f.services, func(s *service) bool { return s.ID == e.ServiceID && s.State(f.account.Now()) != resource.Gone })
		if i < 0 || !e.Listed(f.account.Now()) || !resource.Is(r, "ServiceId", e.ServiceID) || !resource.Is(r, "EndpointId", e.ID) ||
			!resource.Is(r, "EndpointOwnerId", e.OwnerID) || !resource.Is(r, "ConnectionStatus", now.Connection) {
			continue
		}
		zone := map[string]any{
			"ZoneId": e.ZoneID, "ZoneStatus": now.ZoneStatus, "ZoneDomain": e.ZoneDomain, "EniId": "eni-" + e.ID[3:], "EniIp": e.Address, "RegionId": f.account.Region,
		}
		for _, x := range f.services[i].Resources {
			if x.ZoneID == e.ZoneID {
				zone["ResourceId"], zone["VSwitchId"] = x.ID, x.VSwitchID
			}
		}
		if r.Get("ResourceId") != "" && zone["ResourceId"] != r.Get("ResourceId") {
			continue
		}
		found = append(found, map[string]any{
			"EndpointId": e.ID, "EndpointOwnerId": json.Number(e.OwnerID), "EndpointVpcId": e.VPCID, "ServiceId": e.ServiceID, "ConnectionStatus": now.Connection,
			"ResourceOwner": e.OwnerID == f.account.AccountID, "Bandwidth": 3072, "ModifiedTime": f.account.Now().UTC().Format(time.RFC3339), "Zones": []any{zone},
		})
	}
	return listing(r, "Connections", found)
}

func (f *Fake) enableConnection(r *cloud.Request) (any, error) {
	return f.changeConnection(r, "Disconnected", "Connecting", "Connected")
}

func (f *Fake) disableConnection(r *cloud.Request) (any, error) {
	return f.changeConnection(r, "Connected", "Disconnecting", "Disconnected")
}

func (f *Fake) changeConnection(r *cloud.Request, from, via, then string) (any, error) {
	if err := r.Only("ServiceId", "EndpointId", "Bandwidth", "DryRun"); err != nil {
		return nil, err
	}
	now := f.account.Now()
	if _, state, err := f.service(r.Get("ServiceId")); err != nil {
		return nil, err
	} else if state != "Active" {
		return nil, denied()
	}
	e, state, err := f.endpoint(r.Get("EndpointId"))
	if err != nil {
		return nil, err
	}
	switch {
	case e.ServiceID != r.Get("ServiceId"):
		return nil, cloud.Errorf(400, "EndpointConnectionNotFound", "The specified endpoint connection does not exist.")
	case slices.ContainsFunc(f.endpoints, func(x *endpoint) bool {
		c := x.connection.State(now)
		return c == "Connecting" || c == "Disconnecting"
	}):
		return nil, concurrent()
	case state != "Active" || e.connection.State(now) != from:
		return nil, cloud.Errorf(400, "EndpointConnectionOperationDenied", "The specified operation of endpoint connection is not allowed.")
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	e.accepted = true
	e.connection.Change(now, via, f.account.Between(5*time.Second, time.Minute), then)
	return map[string]any{}, nil
}
