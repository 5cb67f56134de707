// Package slb is a stateful fake of Classic Load Balancer (CLB), RPC version 2014-05-15.
//
// Shapes, states and codes follow the published API document and its SDKs: only CreateLoadBalancer takes a token; a
// balancer is inactive at first; a TCP listener is stopped at first, and can be deleted stopped or running; a VServer
// group belongs to one balancer, and nothing that a listener uses can be deleted; every write leaves the balancer busy
// for some seconds, during which others are refused with the codes that Terraform's provider retries. Deleting a balancer
// takes its listeners and groups along. Where the document names no code (a balancer that serves an endpoint service, a
// group or listener that does not exist, a way of paying that is not offered) the fake uses the nearest one: of a call
// that names something that is gone, InvalidParameter.
package slb

import (
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/resource"
	"eslink/localtest/fakes/vpc"
)

// LoadBalancer is a balancer as it is now.
type LoadBalancer struct {
	ID, Name, VPCID, VSwitchID, AddressType string
	MasterZone, SlaveZone                   string
	Address                                 netip.Addr
	ChargeType, Spec                        string // PayByCLCU and slb.lcu.elastic, or PayBySpec and its name
	Status                                  string // inactive, active, locked
	Tags                                    map[string]string
}

// Listener is a TCP port of a balancer.
type Listener struct {
	LoadBalancerID, GroupID string
	Port                    int
	ProxyProtocol           bool
	HealthCheck             bool
	Status                  string // stopped, starting, running, stopping
}

// Group is a VServer group.
type Group struct {
	ID, Name, LoadBalancerID string
	Servers                  []Server
	Tags                     map[string]string
}

// Server is an ECS instance behind a balancer.
type Server struct {
	ID     string
	Port   int
	Weight int
}

var (
	balancerStates = resource.Table{
		"inactive": {"active", resource.Gone}, "active": {"inactive", "locked", resource.Gone}, "locked": {"active", resource.Gone},
	}
	listenerStates = resource.Table{
		"stopped": {"starting", resource.Gone}, "starting": {"running"}, "running": {"stopping", resource.Gone}, "stopping": {"stopped"},
	}
)

type balancer struct {
	LoadBalancer
	resource.Machine
	resource.Lag
	created   time.Time
	protected bool
	busyUntil time.Time
	busyWith  string // the code of refusals until then
}

type listener struct {
	Listener
	resource.Machine
	check healthCheck
}

type healthCheck struct{ port, timeout, interval, healthy, unhealthy int }

// first is how long the first checks take to decide that a server is healthy.
func (c healthCheck) first() time.Duration { return time.Duration(c.healthy*c.interval) * time.Second }

type group struct {
	Group
	resource.Lag
	gone  bool
	since map[Server]time.Time // when each was added
}

// State is for resource.Set: a group is there at once, and gone at once.
func (g *group) State(time.Time) string {
	if g.gone {
		return resource.Gone
	}
	return "available"
}

// Servers are the hosts that can stand behind balancers.
type Servers interface {
	// Server says where a host is and whether it runs.
	Server(id string) (vpcID string, ip netip.Addr, running, ok bool)
}

// Fake is the product in one account. It is an http.Handler of its API.
type Fake struct {
	http.Handler
	account *cloud.Account
	network *vpc.Networks
	hosts   Servers
	zones   []string

	mu        sync.Mutex
	bySpec    bool // the account is sold balancers by specification, and not by LCU
	balancers resource.Set[*balancer]
	listeners resource.Set[*listener]
	groups    resource.Set[*group]
	probe     func(LoadBalancer, Listener, Server) bool
	attached  func(string) bool
}

// New makes the product, offered in zones to an account of the China site.
func New(a *cloud.Account, network *vpc.Networks, hosts Servers, zones ...string) *Fake {
	f := &Fake{account: a, network: network, hosts: hosts, zones: zones,
		probe:    func(LoadBalancer, Listener, Server) bool { return false },
		attached: func(string) bool { return false },
	}
	ops := map[string]cloud.Op{
		"DescribeAvailableResource":                f.describeAvailableResource,
		"CreateLoadBalancer":                       f.createLoadBalancer,
		"DescribeLoadBalancerAttribute":            f.describeLoadBalancer,
		"DescribeLoadBalancers":                    f.describeLoadBalancers,
		"SetLoadBalancerDeleteProtection":          f.setDeleteProtection,
		"DeleteLoadBalancer":                       f.deleteLoadBalancer,
		"CreateVServerGroup":                       f.createGroup,
		"DescribeVServerGroups":                    f.describeGroups,
		"DescribeVServerGroupAttribute":            f.describeGroup,
		"AddVServerGroupBackendServers":            f.addServers,
		"RemoveVServerGroupBackendServers":         f.removeServers,
		"DeleteVServerGroup":                       f.deleteGroup,
		"CreateLoadBalancerTCPListener":            f.createListener,
		"DescribeLoadBalancerTCPListenerAttribute": f.describeListener,
		"StartLoadBalancerListener":                f.startListener,
		"StopLoadBalancerListener":                 f.stopListener,
		"DeleteLoadBalancerListener":               f.deleteListener,
		"TagResources":                             f.tagResources,
		"ListTagResources":                         f.listTagResources,
	}
	ops = resource.Locked(&f.mu, ops)
	// These two look at other fakes, which look at this one: they lock for themselves.
	ops["DescribeHealthStatus"] = f.describeHealth
	ops["DeleteLoadBalancer"] = f.unlessAttached(ops["DeleteLoadBalancer"])
	f.Handler = a.RPC("slb", "2014-05-15", ops)
	return f
}

// SetProbe tells whether a health check reaches a server.
func (f *Fake) SetProbe(probe func(LoadBalancer, Listener, Server) bool) { f.probe = probe }

// SetAttached tells whether a balancer serves an endpoint service.
func (f *Fake) SetAttached(attached func(loadBalancerID string) bool) { f.attached = attached }

// SellBySpec makes the account one of the international site, as far as it is known: it is sold balancers by
// specification alone.
func (f *Fake) SellBySpec() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bySpec = true
}

// SetStatus puts a balancer into a state, as if by hand: active, inactive, locked.
func (f *Fake) SetStatus(id, status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b, err := f.balancer(id); err == nil {
		b.Change(f.account.Now(), status, 0, "")
	}
}

// SetListener puts a listener into a state, as if by hand and long ago: running or stopped.
func (f *Fake) SetListener(loadBalancerID string, port int, status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.find(loadBalancerID, port); l != nil {
		l.Machine = listenerStates.Start(f.account.Now(), status, 0, "")
	}
}

// SetServers puts one server into a group in place of all others, as if by hand.
func (f *Fake) SetServers(groupID, serverID string, port int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g, err := f.group(groupID); err == nil {
		g.Servers = nil
		f.put(g, []Server{{ID: serverID, Port: port, Weight: 100}})
	}
}

// LoadBalancers are those that exist now, whatever lists show.
func (f *Fake) LoadBalancers() []LoadBalancer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return resource.Views(f.balancers, f.account.Now(), func(b *balancer) LoadBalancer { return b.now(f) })
}

// Listeners are those that exist now.
func (f *Fake) Listeners() []Listener {
	f.mu.Lock()
	defer f.mu.Unlock()
	return resource.Views(f.listeners, f.account.Now(), func(l *listener) Listener {
		s := l.Listener
		s.Status = l.State(f.account.Now())
		return s
	})
}

// Groups are those that exist now.
func (f *Fake) Groups() []Group {
	f.mu.Lock()
	defer f.mu.Unlock()
	return resource.Views(f.groups, f.account.Now(), func(g *group) Group {
		s := g.Group
		s.Servers = slices.Clone(g.Servers)
		return s
	})
}

// Locate says where a balancer stands in a zone; ok is false if it is not there, or not active.
func (f *Fake) Locate(loadBalancerID, zoneID string) (vpcID, vSwitchID string, address netip.Addr, ok bool) {
	for _, b := range f.LoadBalancers() {
		if b.ID == loadBalancerID && b.Status == "active" && (zoneID == b.MasterZone || zoneID == b.SlaveZone) {
			return b.VPCID, b.VSwitchID, b.Address, true
		}
	}
	return "", "", netip.Addr{}, false
}

// Offered are the zones that have the product.
func (f *Fake) Offered() []string { return f.zones }

// Remove makes a balancer, with all that it has, or a group vanish, as if by hand and long ago: no rule is asked.
func (f *Fake) Remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.balancers.Remove(func(b *balancer) bool { return b.ID == id })
	f.listeners.Remove(func(l *listener) bool { return l.LoadBalancerID == id })
	f.groups.Remove(func(g *group) bool { return g.ID == id || g.LoadBalancerID == id })
}

// RemoveListener makes a listener vanish likewise.
func (f *Fake) RemoveListener(loadBalancerID string, port int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listeners.Remove(func(l *listener) bool { return l.LoadBalancerID == loadBalancerID && l.Port == port })
}

func (b *balancer) now(f *Fake) LoadBalancer {
	s := b.LoadBalancer
	s.Status = b.State(f.account.Now())
	return s
}

func (f *Fake) balancer(id string) (*balancer, error) {
	if one, _, ok := f.balancers.Find(f.account.Now(), func(x *balancer) bool { return x.ID == id }); ok {
		return one, nil
	}
	return nil, cloud.Errorf(404, "InvalidLoadBalancerId.NotFound", "The specified LoadBalancerId does not exist.")
}

// changing finds the balancer of a write: active, and not busy with another.
func (f *Fake) changing(id string) (*balancer, error) {
	b, err := f.balancer(id)
	switch {
	case err != nil:
		return nil, err
	case f.account.Now().Before(b.busyUntil):
		return nil, cloud.Errorf(400, b.busyWith, "The load balancer %s is being configured, please try again later.", id)
	case b.State(f.account.Now()) != "active":
		return nil, cloud.Errorf(400, "OperationBusy", "The load balancer %s is %s.", id, b.State(f.account.Now()))
	}
	return b, nil
}

// busy makes a balancer refuse writes with a code until it is done.
func (f *Fake) busy(b *balancer, code string, d time.Duration) {
	b.busyUntil, b.busyWith = f.account.Now().Add(d), code
}

func invalid(name string) error {
	return cloud.Errorf(400, "InvalidParameter", "The specified parameter %s is not valid.", name)
}

func gone(what string) error {
	return cloud.Errorf(400, "InvalidParameter", "The specified %s does not exist", what)
}

func number(r *cloud.Request, name string, standard, lo, hi int) (int, error) {
	s := r.Get(name)
	if s == "" {
		return standard, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < lo || n > hi {
		return 0, invalid(name)
	}
	return n, nil
}

func (f *Fake) describeAvailableResource(r *cloud.Request) (any, error) {
	if err := r.Only("AddressType", "AddressIPVersion"); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", "vpc", "classic_internet", "classic_intranet"}, r.Get("AddressType")) {
		return nil, invalid("AddressType")
	}
	found := []any{}
	for _, z := range f.zones {
		for _, slave := range f.zones {
			if slave != z || len(f.zones) == 1 {
				found = append(found, map[string]any{"MasterZoneId": z, "SlaveZoneId": slave,
					"SupportResources": map[string]any{"SupportResource": []any{map[string]any{"AddressType": "vpc", "AddressIPVersion": "ipv4"}}}})
			}
		}
	}
	return map[string]any{"AvailableResources": map[string]any{"AvailableResource": found}}, nil
}

var (
	validName = regexp.MustCompile(`^[\p{L}\p{N}./_-]{1,80}$`)
	validSpec = regexp.MustCompile(`^slb\.s[1-5]\.(small|medium|large)$`)
)

const elastic = "slb.lcu.elastic"

func (f *Fake) createLoadBalancer(r *cloud.Request) (any, error) {
	if err := r.Only("LoadBalancerName", "AddressType", "VpcId", "VSwitchId", "MasterZoneId", "SlaveZoneId", "PayType", "InstanceChargeType",
		"LoadBalancerSpec", "DeleteProtection", "AddressIPVersion", "Tag"); err != nil {
		return nil, err
	}
	b := &balancer{created: f.account.Now(), LoadBalancer: LoadBalancer{
		Name: r.Get("LoadBalancerName"), AddressType: r.Get("AddressType"), VPCID: r.Get("VpcId"), VSwitchID: r.Get("VSwitchId"),
		MasterZone: r.Get("MasterZoneId"), SlaveZone: r.Get("SlaveZoneId"), ChargeType: r.Get("InstanceChargeType"), Spec: r.Get("LoadBalancerSpec"), Tags: resource.Tags(r),
	}}
	if b.ChargeType == "" {
		b.ChargeType = "PayBySpec"
	}
	v, ok := f.network.VSwitch(b.VSwitchID)
	if b.MasterZone == "" {
		b.MasterZone = v.ZoneID
	}
	if err := f.checkNew(r, b, v, ok); err != nil {
		return nil, err
	}
	if b.ChargeType == "PayByCLCU" {
		b.Spec = elastic
	}
	if b.Address = f.network.TakeIP(b.VSwitchID); !b.Address.IsValid() {
		return nil, cloud.Errorf(400, "ObtainIpFail", "No address of the vSwitch is left.")
	}
	b.protected = r.Get("DeleteProtection") == "on"
	b.ID, b.Lag = f.account.NewID("lb-bp1", 17), resource.Born(f.account)
	b.Machine = balancerStates.Start(b.created, "inactive", f.account.Between(3*time.Second, time.Minute), "active")
	f.balancers = append(f.balancers, b)
	return map[string]any{"LoadBalancerId": b.ID, "LoadBalancerName": b.Name, "Address": b.Address, "VpcId": b.VPCID, "VSwitchId": b.VSwitchID,
		"NetworkType": "vpc", "AddressIPVersion": "ipv4", "OrderId": 0}, nil
}

// checkNew refuses a new balancer: v is the vSwitch that it names, if there is one.
func (f *Fake) checkNew(r *cloud.Request, b *balancer, v vpc.VSwitch, ok bool) error {
	switch {
	case b.Name != "" && !validName.MatchString(b.Name):
		return invalid("LoadBalancerName")
	case b.AddressType != "intranet": // the default is a public balancer, which PrivateLink cannot use
		return cloud.Errorf(501, "NotImplemented", "The fake makes balancers of AddressType intranet only.")
	case !ok || v.VpcID != b.VPCID:
		return cloud.Errorf(400, "InvalidVSwitchId.NotFound", "The specified VSwitchId does not exist in the VPC.")
	case !slices.Contains(f.zones, b.MasterZone) || b.SlaveZone != "" && (!slices.Contains(f.zones, b.SlaveZone) || b.SlaveZone == b.MasterZone):
		return cloud.Errorf(400, "ResourceNotAvailable", "The specified zone is not available.")
	case v.ZoneID != b.MasterZone && v.ZoneID != b.SlaveZone:
		return invalid("VSwitchId")
	case !resource.Is(r, "PayType", "PayOnDemand"):
		return invalid("PayType")
	case !resource.Is(r, "DeleteProtection", "off") && r.Get("DeleteProtection") != "on":
		return invalid("DeleteProtection")
	case b.ChargeType != "PayByCLCU" && b.ChargeType != "PayBySpec" || (b.ChargeType == "PayBySpec") != f.bySpec:
		return invalid("InstanceChargeType")
	case b.ChargeType == "PayByCLCU" && b.Spec != "" || b.ChargeType == "PayBySpec" && !validSpec.MatchString(b.Spec): // without one it would be shared, which is not sold
		return invalid("LoadBalancerSpec")
	}
	return nil
}

func (f *Fake) describe(b *balancer) map[string]any {
	s := b.now(f)
	return map[string]any{
		"LoadBalancerId": s.ID, "LoadBalancerName": s.Name, "LoadBalancerStatus": s.Status, "AddressType": s.AddressType, "Address": s.Address,
		"NetworkType": "vpc", "AddressIPVersion": "ipv4", "VpcId": s.VPCID, "VSwitchId": s.VSwitchID, "MasterZoneId": s.MasterZone, "SlaveZoneId": s.SlaveZone,
		"RegionId": f.account.Region, "RegionIdAlias": f.account.Region, "PayType": "PayOnDemand", "InstanceChargeType": s.ChargeType, "LoadBalancerSpec": s.Spec,
		"DeleteProtection": map[bool]string{true: "on", false: "off"}[b.protected], "BusinessStatus": "Normal",
		"CreateTime": b.created.UTC().Format("2006-01-02T15:04Z"), "Tags": map[string]any{"Tag": resource.TagList(s.Tags, "TagKey", "TagValue")},
	}
}

func (f *Fake) describeLoadBalancer(r *cloud.Request) (any, error) {
	b, err := f.balancer(r.Get("LoadBalancerId"))
	if err != nil {
		return nil, err
	}
	d, ports, listeners := f.describe(b), []int{}, []any{}
	for _, l := range f.listeners {
		if l.LoadBalancerID == b.ID && l.State(f.account.Now()) != resource.Gone {
			ports = append(ports, l.Port)
			listeners = append(listeners, map[string]any{"ListenerPort": l.Port, "ListenerProtocol": "tcp"})
		}
	}
	d["ListenerPorts"] = map[string]any{"ListenerPort": ports}
	d["ListenerPortsAndProtocol"] = map[string]any{"ListenerPortAndProtocol": listeners}
	d["BackendServers"] = map[string]any{"BackendServer": []any{}}
	return d, nil
}

func (f *Fake) describeLoadBalancers(r *cloud.Request) (any, error) {
	if err := r.Only("LoadBalancerId", "LoadBalancerName", "LoadBalancerStatus", "AddressType", "NetworkType", "VpcId", "VSwitchId", "MasterZoneId", "Tag", "PageNumber", "PageSize"); err != nil {
		return nil, err
	}
	found := []any{}
	for _, b := range f.balancers {
		s := b.now(f)
		if !b.Listed(f.account.Now()) || r.Get("LoadBalancerId") != "" && !slices.Contains(strings.Split(r.Get("LoadBalancerId"), ","), s.ID) ||
			r.Get("LoadBalancerName") != "" && !slices.Contains(strings.Split(r.Get("LoadBalancerName"), ","), s.Name) || !resource.Is(r, "LoadBalancerStatus", s.Status) ||
			!resource.Is(r, "AddressType", s.AddressType) || !resource.Is(r, "NetworkType", "vpc") || !resource.Is(r, "VpcId", s.VPCID) || !resource.Is(r, "VSwitchId", s.VSwitchID) ||
			!resource.Is(r, "MasterZoneId", s.MasterZone) || !resource.HasTags(s.Tags, resource.Tags(r)) {
			continue
		}
		d := f.describe(b)
		if s.Status == resource.Gone {
			d["LoadBalancerStatus"] = "active" // as it was
		}
		found = append(found, d)
	}
	page, err := number(r, "PageNumber", 1, 1, 1<<20)
	if err != nil {
		return nil, err
	}
	size, err := number(r, "PageSize", 50, 1, 100)
	if err != nil {
		return nil, err
	}
	from, to := min((page-1)*size, len(found)), min(page*size, len(found))
	return map[string]any{"LoadBalancers": map[string]any{"LoadBalancer": found[from:to]}, "TotalCount": len(found), "PageNumber": page, "PageSize": size}, nil
}

func (f *Fake) setDeleteProtection(r *cloud.Request) (any, error) {
	b, err := f.balancer(r.Get("LoadBalancerId"))
	if err != nil {
		return nil, err
	}
	if v := r.Get("DeleteProtection"); v != "on" && v != "off" {
		return nil, invalid("DeleteProtection")
	}
	b.protected = r.Get("DeleteProtection") == "on"
	return map[string]any{}, nil
}

func (f *Fake) unlessAttached(op cloud.Op) cloud.Op {
	return func(r *cloud.Request) (any, error) {
		if f.attached(r.Get("LoadBalancerId")) {
			return nil, cloud.Errorf(400, "OperationFailed.InUseByPrivateLink", "The load balancer is in use by an endpoint service.")
		}
		return op(r)
	}
}

func (f *Fake) deleteLoadBalancer(r *cloud.Request) (any, error) {
	b, err := f.balancer(r.Get("LoadBalancerId"))
	if err != nil {
		return nil, err
	}
	now := f.account.Now()
	switch {
	case now.Before(b.busyUntil):
		return nil, cloud.Errorf(400, b.busyWith, "The load balancer %s is being configured, please try again later.", b.ID)
	case b.protected:
		return nil, cloud.Errorf(400, "OperationDenied.DeleteProtection", "The load balancer is protected from deletion.")
	}
	for _, l := range f.listeners {
		if state := l.State(now); l.LoadBalancerID == b.ID && state != resource.Gone {
			if state == "starting" || state == "stopping" {
				return nil, cloud.Errorf(400, "ServiceIsConfiguring", "A listener of the load balancer is %s.", state)
			}
			l.Change(now, resource.Gone, 0, "")
		}
	}
	for _, g := range f.groups {
		if g.LoadBalancerID == b.ID && !g.gone {
			g.gone = true
			g.Dies(f.account, now)
		}
	}
	f.network.FreeIP(b.VSwitchID, b.Address)
	b.Change(now, resource.Gone, 0, "")
	b.Dies(f.account, now)
	return map[string]any{}, nil
}

func (f *Fake) tagResources(r *cloud.Request) (any, error) {
	if r.Get("ResourceType") != "instance" {
		return nil, cloud.Errorf(501, "NotImplemented", "The fake tags balancers (instance) only.")
	}
	for _, id := range resource.Values(r, "ResourceId") {
		b, err := f.balancer(id)
		if err != nil {
			return nil, err
		}
		for k, v := range resource.Tags(r) {
			b.Tags[k] = v
		}
	}
	return map[string]any{}, nil
}

func (f *Fake) listTagResources(r *cloud.Request) (any, error) {
	if r.Get("ResourceType") != "instance" {
		return nil, cloud.Errorf(501, "NotImplemented", "The fake knows the tags of balancers (instance) only.")
	}
	found, ids := []any{}, resource.Values(r, "ResourceId")
	for _, b := range f.balancers {
		if !b.Listed(f.account.Now()) || ids != nil && !slices.Contains(ids, b.ID) || !resource.HasTags(b.Tags, resource.Tags(r)) {
			continue
		}
		for _, tag := range resource.TagList(b.Tags, "TagKey", "TagValue") {
			t := tag.(map[string]any)
			t["ResourceId"], t["ResourceType"] = b.ID, "instance"
			found = append(found, t)
		}
	}
	return map[string]any{"TagResources": map[string]any{"TagResource": found}, "NextToken": ""}, nil
}
