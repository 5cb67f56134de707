// Package escluster is a stateful fake of the Elasticsearch control plane, RESTful version 2017-06-13.
//
// An instance is active, activating (a change is under way), inactive or invalid; all writes want active. The esConfig of
// UpdateInstanceSettings replaces the old one whole and restarts the nodes; what was accepted shows at once in
// DescribeInstance, but reaches the nodes only when the restart ends, and a setting that the nodes refuse keeps the
// instance activating. The rules of the private whitelist are those of the document of UpdatePrivateNetworkWhiteIps;
// its changes too are shown at once and enforced a little later. Endpoints live in package privatelink.
//
// Assumed, as no source says it: an instance whose nodes restart keeps serving if it has more than one; emptying a
// whitelist group that does not exist is NotFound; the plain list is the group default, which can be changed as a group
// too, and cannot be deleted; an instance can be described some seconds after createInstance's reply, and is listed later; an endpoint is created only on an active instance and is deleted only
// when it is not connected.
package escluster

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/privatelink"
	"eslink/localtest/fakes/resource"
	"eslink/localtest/fakes/vpc"
)

// Never is the duration of a restart that does not end.
const Never = time.Duration(1<<63 - 1)

// ErrRestarting is what a config hook returns while the nodes are not yet up with the new configuration: the instance
// stays activating and the hook is asked again.
var ErrRestarting = errors.New("the nodes are restarting")

// Instance is a cluster as it is given to AddInstance, and as it is now.
type Instance struct {
	ID          string
	Description string
	Version     string // "7.10.0_with_X-Pack"
	ArchType    string // exclusive: basic control, v2; public: cloud-native control, v3
	OldNetwork  bool   // not in the service VPC: made before October 2020
	Protocol    string // HTTP (default) or HTTPS
	VPCID       string // the user's network in which the private domain answers
	VSwitchID   string
	Zones       []string  // default: the vSwitch's zone
	Addresses   []Address // of the private domain; default: one taken from the vSwitch
	Nodes       int       // default 3
	Config      map[string]string
	Whitelist   []string // private, group default; nil: 0.0.0.0/0
	Tags        map[string]string
	Status      string        // active (default), activating, inactive, invalid
	Health      string        // GREEN (default), YELLOW, RED
	Creating    time.Duration // how long it will not be inited yet, but activating
	Password    string        // of elastic, as createInstance gave it
}

// Address is where the private domain answers in one zone.
type Address struct {
	ZoneID, VSwitchID string
	IP                netip.Addr
}

// Domain is the instance's private domain; [Address.Domain] that of one zone, if it has several.
func (i Instance) Domain() string { return i.ID + ".elasticsearch.aliyuncs.com" }

// Domain is the private domain of one zone of a multi-zone instance.
func (a Address) Domain(instanceID string) string {
	return instanceID + "-" + a.ZoneID + ".elasticsearch.aliyuncs.com"
}

// Port is where Elasticsearch listens.
const Port = 9200

// A Group is a named part of a whitelist.
type Group struct {
	Name string   `json:"groupName"`
	IPs  []string `json:"ips"`
	Type string   `json:"whiteIpType"` // PRIVATE_ES, PUBLIC_ES, PRIVATE_KIBANA, PUBLIC_KIBANA
}

type instance struct {
	Instance
	created, updated time.Time
	known            time.Time    // from when reads by ID find it
	lag              resource.Lag // of lists
	serviceVPC       string       // where its endpoints are
	groups, enforced []Group      // as shown, as obeyed
	restart          time.Duration
	keystore         keystore
	down             bool      // the nodes did not come up, and the change was interrupted
	changes          []*change // the last one may be under way
}

// change is one entry of the action records.
type change struct {
	action, id, user string
	from, until      time.Time
	config           map[string]string // to hand to the nodes when a restart ends; nil for other changes
	done, applying   bool
	exception        string
}

// endpoint is whose an endpoint is, and how its list lags.
type endpoint struct {
	instanceID string
	resource.Lag
}

// Fake is the product in one account. It is an http.Handler of its API.
type Fake struct {
	http.Handler
	account *cloud.Account
	network *vpc.Networks
	links   *privatelink.Fake
	owner   string // the account of the Elasticsearch service, which owns the endpoints

	mu        sync.Mutex
	instances []*instance
	endpoints map[string]endpoint // by id
	onConfig  func(string, map[string]string) error
	refuse    func(instanceID, key, value string) error
	onCreate  func(Instance, []byte)
	born      []born
}

// New makes the product without instances.
func New(a *cloud.Account, network *vpc.Networks, links *privatelink.Fake) *Fake {
	f := &Fake{
		account: a, network: network, links: links, owner: "1" + fmt.Sprintf("%015d", a.Between(0, 1<<49)), endpoints: map[string]endpoint{},
		onConfig: func(string, map[string]string) error { return nil },
		refuse:   func(string, string, string) error { return nil },
		onCreate: func(Instance, []byte) {},
	}
	ops := map[string]cloud.Op{
		"createInstance":               f.createInstance,
		"DescribeInstance":             f.describeInstance,
		"ListInstance":                 f.listInstance,
		"ListAllNode":                  f.listAllNode,
		"DescribeElasticsearchHealth":  f.describeHealth,
		"UpdateInstanceSettings":       f.updateInstanceSettings,
		"GetKeystores":                 f.getKeystores,
		"UpdateKeystores":              f.updateKeystores,
		"InterruptElasticsearchTask":   f.interrupt,
		"EstimatedRestartTime":         f.estimatedRestartTime,
		"ListActionRecords":            f.listActionRecords,
		"ModifyWhiteIps":               f.modifyWhiteIps,
		"UpdatePrivateNetworkWhiteIps": f.updatePrivateNetworkWhiteIps,
		"CreateVpcEndpoint":            f.createVpcEndpoint,
		"ListVpcEndpoints":             f.listVpcEndpoints,
		"DeleteVpcEndpoint":            f.deleteVpcEndpoint,
	}
	for name, op := range ops {
		ops[name] = func(r *cloud.Request) (any, error) {
			f.settle()
			defer f.announce()
			f.mu.Lock()
			defer f.mu.Unlock()
			return op(r)
		}
	}
	f.Handler = a.ROA("elasticsearch", "2017-06-13", ops)
	return f
}

// AddInstance adds a cluster, one that has existed for long unless Creating says otherwise.
func (f *Fake) AddInstance(in Instance) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.add(in, &cloud.Request{Action: createInstance})
	return err
}

// add makes an instance as a request asks.
func (f *Fake) add(in Instance, r *cloud.Request) (*instance, error) {
	v, ok := f.network.VSwitch(in.VSwitchID)
	if !ok || v.VpcID != in.VPCID {
		return nil, fmt.Errorf("add instance %s: no vSwitch %s in vpc %s", in.ID, in.VSwitchID, in.VPCID)
	}
	if f.find(in.ID) != nil {
		return nil, fmt.Errorf("add instance %s: exists", in.ID)
	}
	if in.Zones == nil {
		in.Zones = []string{v.ZoneID}
	}
	if in.Addresses == nil {
		in.Addresses = []Address{{ZoneID: v.ZoneID, VSwitchID: v.ID, IP: f.network.TakeIP(v.ID)}}
	}
	if in.Whitelist == nil {
		in.Whitelist = []string{"0.0.0.0/0"}
	}
	for field, standard := range map[*string]string{
		&in.Version: "7.10.0_with_X-Pack", &in.ArchType: "public", &in.Protocol: "HTTP", &in.Status: "active", &in.Health: "GREEN",
	} {
		if *field == "" {
			*field = standard
		}
	}
	if in.Nodes == 0 {
		in.Nodes = 3
	}
	long := f.account.Now().Add(-90 * 24 * time.Hour)
	groups := []Group{{"default", in.Whitelist, "PRIVATE_ES"}, {"default", []string{"127.0.0.1"}, "PUBLIC_ES"}}
	i := &instance{Instance: in, created: long, updated: long, serviceVPC: f.account.NewID("vpc-bp1", 18), groups: groups, enforced: groups}
	if in.Creating > 0 {
		i.created = f.account.Now()
		f.begin(i, r, in.Creating, nil)
	}
	f.instances = append(f.instances, i)
	return i, nil
}

func (i *instance) creating() bool { return i.change() != nil && i.change().action == createInstance }

// OnConfig sets what hands a new esConfig to the nodes when their restart ends. An error other than ErrRestarting is
// nodes that do not come up: the instance stays activating with this exception in its action record.
func (f *Fake) OnConfig(apply func(instanceID string, esConfig map[string]string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onConfig = apply
}

// RefuseSetting sets what makes UpdateInstanceSettings refuse a setting, by a *cloud.Error.
func (f *Fake) RefuseSetting(refuse func(instanceID, key, value string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = refuse
}

// SetRestart makes the instance's further restarts take d, possibly Never; 0 draws the duration again.
func (f *Fake) SetRestart(id string, d time.Duration) {
	f.set(id, func(i *instance) { i.restart = d })
}

// StopRestart ends a restart that is under way, as operators of the cloud would.
func (f *Fake) StopRestart(id string) {
	f.set(id, func(i *instance) {
		if c := i.change(); c != nil {
			c.until, c.exception = f.account.Now(), ""
		}
	})
}

// SetStatus changes an instance's status at rest: active, activating, inactive, invalid.
func (f *Fake) SetStatus(id, status string) { f.set(id, func(i *instance) { i.Status = status }) }

// SetHealth changes an instance's health at rest: GREEN, YELLOW, RED.
func (f *Fake) SetHealth(id, health string) { f.set(id, func(i *instance) { i.Health = health }) }

// SetAddresses moves the private domain, as a blue-green change does.
func (f *Fake) SetAddresses(id string, addresses ...Address) {
	f.set(id, func(i *instance) { i.Addresses = addresses })
}

// SetGroup changes a private whitelist group at once, as somebody else did a while ago; without IPs it removes it.
func (f *Fake) SetGroup(id, name string, ips ...string) {
	f.set(id, func(i *instance) {
		i.groups = withGroup(i.groups, Group{name, ips, "PRIVATE_ES"})
		i.enforced = i.groups
	})
}

// SetConfig changes the esConfig that DescribeInstance shows, as somebody else did a while ago.
func (f *Fake) SetConfig(id string, config map[string]string) {
	f.set(id, func(i *instance) { i.Config = config })
}

func (f *Fake) set(id string, change func(*instance)) {
	f.with(id, func(i *instance) {
		change(i)
		i.updated = f.account.Now()
	})
}

func (f *Fake) with(id string, do func(*instance)) {
	f.settle()
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.find(id)
	if i == nil {
		panic("fake: no instance " + id)
	}
	do(i)
}

// Instances are the clusters as they are now, with the esConfig and whitelist that DescribeInstance shows.
func (f *Fake) Instances() []Instance {
	f.settle()
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []Instance
	for _, i := range f.instances {
		now := i.Instance
		now.Status, now.Config = i.status(), maps.Clone(i.Config)
		all = append(all, now)
	}
	return all
}

// Groups are the whitelist groups of an instance that DescribeInstance shows.
func (f *Fake) Groups(id string) (groups []Group) {
	f.with(id, func(i *instance) { groups = slices.Clone(i.groups) })
	return groups
}

// Serving reports whether an instance's nodes take connections now.
func (f *Fake) Serving(id string) bool {
	f.settle()
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.find(id)
	if i == nil || i.Status == "inactive" || i.Status == "invalid" || i.creating() || i.down {
		return false
	}
	c := i.change()
	return c == nil || c.config == nil || i.Nodes > 1 && c.exception == ""
}

// Admits reports whether the private whitelist that is enforced now admits an address.
func (f *Fake) Admits(id string, from netip.Addr) bool {
	f.settle()
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.find(id)
	if i == nil {
		return false
	}
	for _, g := range i.enforced {
		for _, ip := range g.IPs {
			if p, err := prefix(ip); err == nil && g.Type == "PRIVATE_ES" && p.Contains(from) {
				return true
			}
		}
	}
	return false
}

// Endpoints are an instance's endpoints that exist now.
func (f *Fake) Endpoints(instanceID string) []privatelink.Endpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(f.links.Endpoints(), func(e privatelink.Endpoint) bool { return f.endpoints[e.ID].instanceID != instanceID })
}

// settle ends the changes whose time has come. The hook runs without the lock, since it may look at the fake.
func (f *Fake) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.instances {
		c := i.change()
		if c == nil || c.applying || c.exception != "" || f.account.Now().Before(c.until) {
			continue
		}
		if c.config != nil {
			c.applying = true
			config, apply := maps.Clone(c.config), f.onConfig
			f.mu.Unlock()
			err := apply(i.ID, config)
			f.mu.Lock()
			c.applying = false
			if errors.Is(err, ErrRestarting) {
				continue
			}
			if err != nil {
				c.exception = err.Error()
				continue
			}
		}
		c.done, i.enforced = true, i.groups
		i.down = i.down && c.config == nil
		i.updated = f.account.Now()
	}
}

// change is the one under way, or nil.
func (i *instance) change() *change {
	if n := len(i.changes); n > 0 && !i.changes[n-1].done {
		return i.changes[n-1]
	}
	return nil
}

func (i *instance) status() string {
	if i.Status == "active" && i.change() != nil {
		return "activating"
	}
	return i.Status
}

// begin notes a change that takes d.
func (f *Fake) begin(i *instance, r *cloud.Request, d time.Duration, config map[string]string) {
	now := f.account.Now()
	until := now.Add(d)
	if d == Never {
		until = now.AddDate(100, 0, 0)
	}
	i.changes = append(i.changes, &change{action: r.Action, id: r.ID, user: r.Caller.AccountID, from: now, until: until, config: config})
	i.updated = now
}

func (f *Fake) find(id string) *instance {
	for _, i := range f.instances {
		if i.ID == id {
			return i
		}
	}
	return nil
}

func (f *Fake) instance(r *cloud.Request) (*instance, error) {
	if i := f.find(r.Get("InstanceId")); i != nil && !f.account.Now().Before(i.known) {
		return i, nil
	}
	return nil, cloud.Errorf(400, "InstanceNotFound", "The instanceId provided does not exist.")
}

// writable is the instance of a request that changes it.
func (f *Fake) writable(r *cloud.Request) (*instance, error) {
	i, err := f.instance(r)
	if err != nil {
		return nil, err
	}
	switch i.status() {
	case "active":
		return i, nil
	case "activating":
		return nil, cloud.Errorf(400, "InstanceActivating", "Instance is activating.")
	}
	return nil, cloud.Errorf(400, "InstanceStatusNotSupportCurrentAction", "The instance status does not support the current action.")
}
