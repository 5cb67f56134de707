// Package nlb is a stateful fake of Network Load Balancer, RPC version 2022-04-30.
//
// Shapes, states and codes follow the published API document and its SDKs: a created balancer is Provisioning and
// comes without a JobId; other writes return a job and leave what they touch Configuring, Adding or Deleting for a
// while, during which further writes are refused; a type Ip server group takes private addresses; nothing in use can be
// deleted. Where the document names no code (two listeners on one port, a server twice, a balancer that still has
// listeners or serves an endpoint service) the fake uses the family's nearest one.
package nlb

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
	ID, Name, VPCID, AddressType string
	Status                       string // Provisioning, Active, Configuring, CreateFailed, Deleting
	Zones                        []Zone
	Tags                         map[string]string
}

// Zone is a balancer's foot in one zone.
type Zone struct {
	ZoneID, VSwitchID string
	Address           netip.Addr   // takes connections
	Local             []netip.Addr // talk to the backends, for traffic and health checks
}

// Listener is a port of a balancer.
type Listener struct {
	ID, LoadBalancerID, ServerGroupID string
	Protocol                          string // TCP, UDP, TCPSSL
	Port                              int
	ProxyProtocol                     bool
	Status                            string // Provisioning, Running, Stopping, Stopped, Starting, Deleting
}

// ServerGroup is a group of backends.
type ServerGroup struct {
	ID, Name, VPCID, Type string // type Ip or Instance
	Status                string // Creating, Available, Configuring, Deleting
	PreserveClientIP      bool
	HealthCheck           bool
	Servers               []Server
	Tags                  map[string]string
}

// Server is a backend of a group.
type Server struct {
	ID, IP string
	Port   int
	Weight int
	Status string // Adding, Available, Removing
}

var (
	balancerStates = resource.Table{
		"Provisioning": {"Active", "CreateFailed"}, "Active": {"Configuring", "Deleting"}, "Configuring": {"Active"},
		"CreateFailed": {"Deleting"}, "Deleting": {resource.Gone},
	}
	groupStates = resource.Table{
		"Creating": {"Available"}, "Available": {"Configuring", "Deleting"}, "Configuring": {"Available"}, "Deleting": {resource.Gone},
	}
	serverStates   = resource.Table{"Adding": {"Available"}, "Available": {"Removing"}, "Removing": {resource.Gone}}
	listenerStates = resource.Table{
		"Provisioning": {"Running"}, "Running": {"Stopping", "Deleting"}, "Stopping": {"Stopped"},
		"Stopped": {"Starting", "Deleting"}, "Starting": {"Running"}, "Deleting": {resource.Gone},
	}
)

type balancer struct {
	LoadBalancer
	resource.Machine
	resource.Lag
	created   time.Time
	protected bool
}

type group struct {
	ServerGroup
	resource.Machine
	resource.Lag
	servers []*server
	check   healthCheck
}

type server struct {
	Server
	description string
	resource.Machine
}

type listener struct {
	Listener
	resource.Machine
	resource.Lag
	description string
	idle        int
}

// Fake is the product in one account. It is an http.Handler of its API.
type Fake struct {
	http.Handler
	account *cloud.Account
	network *vpc.Networks
	zones   []string

	mu         sync.Mutex
	balancers  resource.Set[*balancer]
	groups     resource.Set[*group]
	listeners  resource.Set[*listener]
	jobs       map[string]time.Time // by id: when it succeeds
	probe      func(LoadBalancer, Listener, ServerGroup, Server) string
	attached   func(string) bool
	failCreate func(string) bool
}

// New makes the product, offered in zones.
func New(a *cloud.Account, network *vpc.Networks, zones ...string) *Fake {
	f := &Fake{
		account: a, network: network, zones: zones, jobs: map[string]time.Time{},
		probe:      func(LoadBalancer, Listener, ServerGroup, Server) string { return "CONNECT_TIMEOUT" },
		attached:   func(string) bool { return false },
		failCreate: func(string) bool { return false },
	}
	ops := map[string]cloud.Op{
		"DescribeZones":                f.describeZones,
		"CreateLoadBalancer":           f.createLoadBalancer,
		"GetLoadBalancerAttribute":     f.getLoadBalancerAttribute,
		"ListLoadBalancers":            f.listLoadBalancers,
		"UpdateLoadBalancerProtection": f.updateLoadBalancerProtection,
		"DeleteLoadBalancer":           f.deleteLoadBalancer,
		"CreateServerGroup":            f.createServerGroup,
		"ListServerGroups":             f.listServerGroups,
		"DeleteServerGroup":            f.deleteServerGroup,
		"AddServersToServerGroup":      f.addServers,
		"RemoveServersFromServerGroup": f.removeServers,
		"ListServerGroupServers":       f.listServers,
		"CreateListener":               f.createListener,
		"GetListenerAttribute":         f.getListenerAttribute,
		"ListListeners":                f.listListeners,
		"StartListener":                f.startListener,
		"StopListener":                 f.stopListener,
		"DeleteListener":               f.deleteListener,
		"GetJobStatus":                 f.getJobStatus,
	}
	ops = resource.Locked(&f.mu, ops)
	// These two look at other fakes, which look at this one: they lock for themselves.
	ops["GetListenerHealthStatus"] = f.getListenerHealthStatus
	ops["DeleteLoadBalancer"] = f.unlessAttached(ops["DeleteLoadBalancer"])
	f.Handler = a.RPC("nlb", "2022-04-30", ops)
	return f
}

// SetProbe tells what a health check of a backend meets: "" or a ReasonCode such as CONNECT_TIMEOUT.
func (f *Fake) SetProbe(probe func(LoadBalancer, Listener, ServerGroup, Server) string) {
	f.probe = probe
}

// SetAttached tells whether a balancer serves an endpoint service.
func (f *Fake) SetAttached(attached func(loadBalancerID string) bool) { f.attached = attached }

// FailCreate makes the creation of balancers end in CreateFailed when fail says so of their name.
func (f *Fake) FailCreate(fail func(name string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failCreate = fail
}

// LoadBalancers are those that exist now, whatever lists show.
func (f *Fake) LoadBalancers() []LoadBalancer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return resource.Views(f.balancers, f.account.Now(), func(x *balancer) LoadBalancer { return x.now(f) })
}

// ServerGroups are those that exist now.
func (f *Fake) ServerGroups() []ServerGroup {
	f.mu.Lock()
	defer f.mu.Unlock()
	return resource.Views(f.groups, f.account.Now(), func(x *group) ServerGroup { return x.now(f) })
}

// Listeners are those that exist now.
func (f *Fake) Listeners() []Listener {
	f.mu.Lock()
	defer f.mu.Unlock()
	return resource.Views(f.listeners, f.account.Now(), func(x *listener) Listener { return x.now(f) })
}

// Locate says where a balancer stands in a zone; ok is false if it is not there, or not Active.
func (f *Fake) Locate(loadBalancerID, zoneID string) (vpcID, vSwitchID string, address netip.Addr, ok bool) {
	for _, b := range f.LoadBalancers() {
		i := slices.IndexFunc(b.Zones, func(z Zone) bool { return z.ZoneID == zoneID })
		if b.ID == loadBalancerID && i >= 0 && (b.Status == "Active" || b.Status == "Configuring") {
			return b.VPCID, b.Zones[i].VSwitchID, b.Zones[i].Address, true
		}
	}
	return "", "", netip.Addr{}, false
}

// Offered are the zones that have the product.
func (f *Fake) Offered() []string { return f.zones }

// Remove makes a balancer, server group or listener vanish, as if by hand and long ago: no rule is asked.
func (f *Fake) Remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.balancers.Remove(func(b *balancer) bool { return b.ID == id })
	f.groups.Remove(func(g *group) bool { return g.ID == id })
	f.listeners.Remove(func(l *listener) bool { return l.ID == id || l.LoadBalancerID == id })
}

func (b *balancer) now(f *Fake) LoadBalancer {
	s := b.LoadBalancer
	s.Status = b.State(f.account.Now())
	return s
}

func (l *listener) now(f *Fake) Listener {
	s := l.Listener
	s.Status = l.State(f.account.Now())
	return s
}

func (g *group) now(f *Fake) ServerGroup {
	now, s := f.account.Now(), g.ServerGroup
	s.Status = g.State(now)
	g.servers = slices.DeleteFunc(g.servers, func(x *server) bool { return x.State(now) == resource.Gone })
	for _, x := range g.servers {
		x.Server.Status = x.State(now)
		s.Servers = append(s.Servers, x.Server)
	}
	return s
}

func (f *Fake) balancer(id string) (*balancer, string, error) {
	if one, state, ok := f.balancers.Find(f.account.Now(), func(x *balancer) bool { return x.ID == id }); ok {
		return one, state, nil
	}
	return nil, "", cloud.Errorf(404, "ResourceNotFound.loadBalancer", "The specified resource of loadbalancer is not found.")
}

func (f *Fake) group(id string) (*group, string, error) {
	if one, state, ok := f.groups.Find(f.account.Now(), func(x *group) bool { return x.ID == id }); ok {
		return one, state, nil
	}
	return nil, "", cloud.Errorf(404, "ResourceNotFound.serverGroup", "The specified resource of serverGroup is not found.")
}

func (f *Fake) listener(id string) (*listener, string, error) {
	if one, state, ok := f.listeners.Find(f.account.Now(), func(x *listener) bool { return x.ID == id }); ok {
		return one, state, nil
	}
	return nil, "", cloud.Errorf(404, "ResourceNotFound.listener", "The specified resource listener is not found.")
}

func illegal(name string) error {
	return cloud.Errorf(400, "IllegalParam."+name, "Param %s is illegal.", name)
}

func busy(kind, state string) error {
	return cloud.Errorf(400, "IncorrectStatus."+kind, "The status of %s [%s] is incorrect.", kind, state)
}

// job notes an asynchronous task that takes d.
func (f *Fake) job(d time.Duration) string {
	id := f.account.NewID("", 8) + "-" + f.account.NewID("", 16)
	f.jobs[id] = f.account.Now().Add(d)
	return id
}

func (f *Fake) getJobStatus(r *cloud.Request) (any, error) {
	due, ok := f.jobs[r.Get("JobId")]
	switch {
	case !ok:
		return nil, cloud.Errorf(404, "ResourceNotFound.Job", "The specified resource of Job is not found.")
	case f.account.Now().Before(due):
		return map[string]any{"Status": "Processing"}, nil
	}
	return map[string]any{"Status": "Succeeded"}, nil
}

func (f *Fake) describeZones(*cloud.Request) (any, error) {
	zones := []any{}
	for _, z := range f.zones {
		zones = append(zones, map[string]any{"ZoneId": z, "LocalName": z})
	}
	return map[string]any{"Zones": zones}, nil
}

// names are 2 to 128 characters, the first a letter.
var validName = regexp.MustCompile(`^\p{L}[\p{L}\p{N}._-]{1,127}$`)

func (f *Fake) createLoadBalancer(r *cloud.Request) (any, error) {
	if err := r.Only("LoadBalancerName", "VpcId", "AddressType", "AddressIpVersion", "LoadBalancerType", "LoadBalancerBillingConfig.PayType", "DeletionProtectionConfig.Enabled", "ZoneMappings", "Tag", "DryRun"); err != nil {
		return nil, err
	}
	now := f.account.Now()
	b := &balancer{created: now, LoadBalancer: LoadBalancer{
		Name: r.Get("LoadBalancerName"), VPCID: r.Get("VpcId"), AddressType: r.Get("AddressType"), Tags: resource.Tags(r),
	}}
	if err := checkNew(r, b); err != nil {
		return nil, err
	}
	if err := f.checkVPC(b.VPCID); err != nil {
		return nil, err
	}
	open := f.openZones(b.VPCID)
	var err error
	if b.protected, err = resource.Bool(r, "DeletionProtectionConfig.Enabled", false); err != nil {
		return nil, err
	}
	if err := f.mapZones(r, b, open); err != nil {
		return nil, err
	}
	if len(b.Zones) == 0 || len(b.Zones) < 2 && len(open) >= 2 {
		return nil, cloud.Errorf(400, "InvalidZones", "The current zone list is illegal.")
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	for i := range b.Zones {
		z := &b.Zones[i]
		z.Address, z.Local = f.network.TakeIP(z.VSwitchID), []netip.Addr{f.network.TakeIP(z.VSwitchID), f.network.TakeIP(z.VSwitchID)}
		if !z.Local[1].IsValid() {
			f.free(b.Zones[:i+1])
			return nil, cloud.Errorf(400, "ResourceNotEnough.VSwitchIp", "The specified resource of VSwitchIp is not enough.")
		}
	}
	b.ID, b.Lag = f.account.NewID("nlb-", 18), resource.Born(f.account)
	end := "Active"
	if f.failCreate(b.Name) {
		end = "CreateFailed"
	}
	b.Machine = balancerStates.Start(now, "Provisioning", f.account.Between(30*time.Second, 3*time.Minute), end)
	f.balancers = append(f.balancers, b)
	return map[string]any{"LoadbalancerId": b.ID}, nil
}

// checkNew refuses parameters of a new balancer that need no look at the network.
func checkNew(r *cloud.Request, b *balancer) error {
	switch {
	case b.Name != "" && !validName.MatchString(b.Name):
		return illegal("loadBalancerName")
	case b.AddressType != "Intranet" && b.AddressType != "Internet":
		return illegal("AddressType")
	case r.Get("AddressIpVersion") != "" && !strings.EqualFold(r.Get("AddressIpVersion"), "ipv4"):
		return illegal("AddressIpVersion")
	case r.Get("LoadBalancerType") != "" && !strings.EqualFold(r.Get("LoadBalancerType"), "network"):
		return illegal("LoadBalancerType")
	case r.Get("LoadBalancerBillingConfig.PayType") != "" && r.Get("LoadBalancerBillingConfig.PayType") != "PostPay":
		return cloud.Errorf(400, "OperationDenied.OnlyPostPaidSupported", "The operation is not allowed because of OnlyPostPaidSupported.")
	}
	return nil
}

// openZones are those in which a balancer of the VPC can stand.
func (f *Fake) openZones(vpcID string) (open []string) {
	for _, v := range f.network.VSwitches(vpcID) {
		if slices.Contains(f.zones, v.ZoneID) && !slices.Contains(open, v.ZoneID) {
			open = append(open, v.ZoneID)
		}
	}
	return open
}

// mapZones reads ZoneMappings.
func (f *Fake) mapZones(r *cloud.Request, b *balancer, open []string) error {
	for _, m := range r.List("ZoneMappings") {
		for key := range m {
			if key != "ZoneId" && key != "VSwitchId" {
				return illegal("ZoneMappings." + key)
			}
		}
		v, ok := f.network.VSwitch(m["VSwitchId"])
		switch {
		case !ok:
			return cloud.Errorf(404, "ResourceNotFound.VSwitch", "The specified resource of vSwitch is not found.")
		case v.VpcID != b.VPCID:
			return cloud.Errorf(400, "Mismatch.VpcIdAndVswitchId", "The VpcIdAndVswitchId is mismatched for %s and %s.", b.VPCID, m["VSwitchId"])
		case v.ZoneID != m["ZoneId"]:
			return cloud.Errorf(400, "Mismatch.ZoneIdAndVswitchId", "The ZoneIdAndVswitchId is mismatched for %s and %s.", m["ZoneId"], m["VSwitchId"])
		case !slices.Contains(open, v.ZoneID):
			return cloud.Errorf(403, "UnauthorizedZone", "The specified zone of %s is not authorized.", v.ZoneID)
		case slices.ContainsFunc(b.Zones, func(z Zone) bool { return z.ZoneID == v.ZoneID }):
			return cloud.Errorf(400, "OperationFailed.DuplicateZones.", "The operation failed because of Can not Specify duplicate zones.")
		}
		b.Zones = append(b.Zones, Zone{ZoneID: v.ZoneID, VSwitchID: v.ID})
	}
	return nil
}

func (f *Fake) free(zones []Zone) {
	for _, z := range zones {
		for _, a := range append(z.Local, z.Address) {
			f.network.FreeIP(z.VSwitchID, a)
		}
	}
}

func (f *Fake) checkVPC(id string) error {
	if _, ok := f.network.VPC(id); !ok {
		return cloud.Errorf(404, "ResourceNotFound.Vpc", "The specified resource of Vpc is not found.")
	}
	return nil
}

func (f *Fake) describe(b *balancer) map[string]any {
	s, zones := b.now(f), []any{}
	for _, z := range s.Zones {
		addresses := []any{}
		if s.Status == "Active" || s.Status == "Configuring" {
			addresses = append(addresses, map[string]any{
				"PrivateIPv4Address": z.Address, "PrivateIPv4HcStatus": "Healthy", "EniId": "eni-" + s.ID[4:] + z.ZoneID, "Ipv4LocalAddresses": z.Local,
			})
		}
		zones = append(zones, map[string]any{"ZoneId": z.ZoneID, "VSwitchId": z.VSwitchID, "Status": "Active", "LoadBalancerAddresses": addresses})
	}
	return map[string]any{
		"RegionId": f.account.Region, "LoadBalancerId": s.ID, "LoadBalancerName": s.Name, "LoadBalancerType": "Network",
		"AddressType": s.AddressType, "AddressIpVersion": "Ipv4", "LoadBalancerStatus": s.Status, "LoadBalancerBusinessStatus": "Normal",
		"VpcId": s.VPCID, "CreateTime": b.created.UTC().Format("2006-01-02T15:04Z"), "DNSName": s.ID + "." + f.account.Region + ".nlb.aliyuncs.com",
		"CrossZoneEnabled": true, "ZoneMappings": zones, "Tags": resource.TagList(s.Tags, "TagKey", "TagValue"),
		"DeletionProtectionConfig":  map[string]any{"Enabled": b.protected},
		"LoadBalancerBillingConfig": map[string]any{"PayType": "PostPay"},
	}
}

func (f *Fake) getLoadBalancerAttribute(r *cloud.Request) (any, error) {
	if err := r.Only("LoadBalancerId"); err != nil {
		return nil, err
	}
	b, _, err := f.balancer(r.Get("LoadBalancerId"))
	if err != nil {
		return nil, err
	}
	return f.describe(b), nil
}

func (f *Fake) listLoadBalancers(r *cloud.Request) (any, error) {
	if err := r.Only("LoadBalancerIds", "LoadBalancerNames", "VpcIds", "LoadBalancerStatus", "AddressType", "Tag", "MaxResults", "NextToken"); err != nil {
		return nil, err
	}
	found := []any{}
	for _, b := range f.balancers {
		s := b.now(f)
		if b.Listed(f.account.Now()) && resource.Among(r, "LoadBalancerIds", s.ID) && resource.Among(r, "LoadBalancerNames", s.Name) &&
			resource.Among(r, "VpcIds", s.VPCID) && resource.Is(r, "LoadBalancerStatus", s.Status) && resource.Is(r, "AddressType", s.AddressType) &&
			resource.HasTags(s.Tags, resource.Tags(r)) {
			d := f.describe(b)
			if s.Status == resource.Gone {
				d["LoadBalancerStatus"] = "Deleting"
			}
			found = append(found, d)
		}
	}
	return listing(r, "LoadBalancers", found)
}

func listing(r *cloud.Request, key string, found []any) (any, error) {
	page, next, size, err := resource.Page(r, found, 20, 100)
	if err != nil {
		return nil, err
	}
	return map[string]any{key: page, "TotalCount": len(found), "MaxResults": size, "NextToken": next}, nil
}

func (f *Fake) updateLoadBalancerProtection(r *cloud.Request) (any, error) {
	if err := r.Only("LoadBalancerId", "DeletionProtectionEnabled", "DeletionProtectionReason", "DryRun"); err != nil {
		return nil, err
	}
	b, _, err := f.balancer(r.Get("LoadBalancerId"))
	if err != nil {
		return nil, err
	}
	on, err := resource.Bool(r, "DeletionProtectionEnabled", b.protected)
	if err != nil {
		return nil, err
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	b.protected = on
	return map[string]any{}, nil
}

func (f *Fake) unlessAttached(op cloud.Op) cloud.Op {
	return func(r *cloud.Request) (any, error) {
		if f.attached(r.Get("LoadBalancerId")) {
			return nil, cloud.Errorf(400, "ResourceInUse.loadBalancer", "The specified resource of loadbalancer is in use by an endpoint service.")
		}
		return op(r)
	}
}

func (f *Fake) deleteLoadBalancer(r *cloud.Request) (any, error) {
	b, state, err := f.balancer(r.Get("LoadBalancerId"))
	if err != nil {
		return nil, err
	}
	switch {
	case state == "Provisioning":
		return nil, cloud.Errorf(400, "ResourceInCreating.loadbalancer", "The specified resource of loadbalancer is creating, please try again later.")
	case state == "Configuring":
		return nil, configuring()
	case state != "Active" && state != "CreateFailed":
		return nil, busy("loadbalancer", b.ID)
	case b.protected:
		return nil, cloud.Errorf(400, "OperationDenied.DeletionProtectionEnabled", "The operation is not allowed because of DeletionProtectionEnabled.")
	case f.listeners.Has(f.account.Now(), func(l *listener) bool { return l.LoadBalancerID == b.ID }):
		return nil, cloud.Errorf(400, "ResourceInUse.loadBalancer", "The specified resource of loadbalancer has listeners.")
	}
	if err := resource.DryRun(r); err != nil {
		return nil, err
	}
	d := f.account.Between(20*time.Second, 2*time.Minute)
	b.Change(f.account.Now(), "Deleting", d, resource.Gone)
	f.free(b.Zones)
	b.Dies(f.account, f.account.Now().Add(d))
	return map[string]any{"JobId": f.job(d)}, nil
}

func configuring() error {
	return cloud.Errorf(400, "ResourceInConfiguring.loadbalancer", "The specified resource of loadbalancer is being configured, please try again later.")
}

func number(r *cloud.Request, name string, standard, lo, hi int) (int, error) {
	s := r.Get(name)
	if s == "" {
		return standard, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < lo || n > hi {
		return 0, illegal(name)
	}
	return n, nil
}
