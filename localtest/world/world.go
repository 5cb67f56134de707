// Package world is a local Alibaba Cloud with two Elasticsearch clusters that
// cannot see each other, an ECS host that neither sees, and eslink deployed into it: queues, table and roles
// from package shared/deploy, functions, environment and triggers from the
// deployment files, and nothing from anywhere else. It has two speeds. A Simulation runs the
// functions' handlers in the process of a test, without sockets, so that in a
// synctest bubble a day passes in milliseconds. A Deployment runs the compiled
// functions as processes, over real sockets.
package world

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	ots "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"eslink/localtest/fakes/aws"
	"eslink/localtest/fakes/azure"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/ecs"
	"eslink/localtest/fakes/elastic"
	"eslink/localtest/fakes/elasticcloud"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/eventbridge"
	"eslink/localtest/fakes/inside"
	"eslink/localtest/fakes/kms"
	"eslink/localtest/fakes/mns"
	"eslink/localtest/fakes/network"
	"eslink/localtest/fakes/nlb"
	fakeots "eslink/localtest/fakes/ots"
	"eslink/localtest/fakes/privatelink"
	"eslink/localtest/fakes/ram"
	"eslink/localtest/fakes/receivers"
	"eslink/localtest/fakes/slb"
	"eslink/localtest/fakes/sls"
	"eslink/localtest/fakes/tablestore"
	"eslink/localtest/fakes/vpc"
	"eslink/localtest/fakes/zilliz"
	"eslink/localtest/runtime"
	"eslink/shared/deploy"
)

// What the world is made with. The clusters' IDs and secrets are those of the
// README's spec.
const (
	Region    = "cn-hangzhou"
	AccountID = "1234567890123456"
	Instance  = "es-cn-dst000000001" // ES_1: copies to itself
	Target    = "es-cn-src000000002" // ES_2: is copied from
	// Host is an ECS instance in the source's VPC. Its security group admits the
	// functions there and nobody else; what listens on it is for SetService.
	Host          = "i-bp1src0000000000001"
	HostIP        = "10.2.1.200"
	SecurityGroup = "sg-bp1src000000000001"

	SourceVPC      = "vpc-src0000000000000001"
	DestinationVPC = "vpc-dst0000000000000001"
	// The functions have vSwitches of their own, which alone the clusters'
	// whitelists admit at first.
	SourceVSwitch      = "vsw-src-functions001"
	DestinationVSwitch = "vsw-dst-functions001"
	SourceCIDR         = "10.2.9.0/24"
	DestinationCIDR    = "10.1.9.0/24"

	Zone = Region + "-i"

	SecretInstance = "eslink/es1"
	SecretTarget   = "eslink/es2-reader"
)

// Passwords of the fixed logins. Nothing that eslink writes may contain them.
const (
	InstancePassword = "canary-Es1-9f3b7c"
	TargetPassword   = "canary-Es2-4d8e1a"
)

// Config says how a world differs from the usual one.
type Config struct {
	// Context ends the waits of a world that is being made; nil: nothing does.
	Context context.Context
	Clock   runtime.Clock
	Seed    uint64
	Log     *slog.Logger
	// Root is the directory of s.yaml and go.mod.
	Root string
	// AutoApprove is whether specs may approve their own plans: allow (default) or
	// refuse.
	AutoApprove string
	// Version is Elasticsearch's: 8.15.1 (default), 7.17.29 or 7.10.2.
	Version string
	// Zones is in how many zones each cluster answers: 1 (default) to 3.
	Zones int
	// Alter changes the clusters before they are added, by instance ID.
	Alter func(*escluster.Instance)
	// Runner runs scripts on machines of other clouds; nil: the twin in Go.
	Runner inside.Runner
	// Script has instances on AWS run the shipped script with this host's sh and
	// curl, too.
	Script bool
	// AlterServer changes the embedded Elasticsearch likewise; real ones it cannot.
	AlterServer func(instanceID string, c *elastic.Config)
}

// World is the account and everything in it.
type World struct {
	Config
	Account  *cloud.Account
	Networks *vpc.Networks
	NLB      *nlb.Fake
	CLB      *slb.Fake
	Hosts    *ecs.Fake
	Links    *privatelink.Fake
	Clusters *escluster.Fake
	Secrets  *kms.Secrets
	Queues   *mns.MNS
	Tables   *tablestore.Store
	// What a deployment is prepared with.
	RAM       *ram.Fake
	Logs      *sls.Fake
	Instances *fakeots.Fake
	Streams   *eventbridge.Fake
	Network   *network.Network
	Project   *runtime.Project
	// Receivers take what the function notify sends; nobody is told before the secret
	// eslink/notify is there.
	Receivers *receivers.Receivers
	// Azure and Elastic are other clouds, which elastic-azure connects.
	Azure *azure.Cloud
	// AWS and Zilliz are those of zilliz-aws.
	AWS     *aws.Fake
	Zilliz  *zilliz.Fake
	Elastic *elasticcloud.Cloud
	// Servers are the Elasticsearch clusters by instance ID.
	Servers map[string]Server
	// Serves are the kinds of use cases whose services can run here.
	Serves []string

	hosts    map[string]http.Handler
	places   map[string]*network.Place // by VPC
	nodes    map[string]*network.Place // by instance ID
	start    func(escluster.Instance) (Server, error)
	offer    func(ctx context.Context, kind string) (network.Service, error) // on the host
	offered  offered
	greet    func(in escluster.Instance, event []byte) // a new instance, whose server is there; may be nil
	analyzer string                                    // of the products' texts
	// mapsRoles says that servers keep role mappings by API. Real ones from Maven
	// lack a module that the index of these takes.
	mapsRoles bool
	docs      string   // in place of the products, if any
	risks     []string // that the demo's spec has to accept here

	mu     sync.Mutex
	writes []string
}

// Server is the Elasticsearch of an instance: an *elastic.Server in this
// process, or a process of its own. It serves what comes over the network, and
// as a RoundTripper, whatever the URL's host, who asks past it.
type Server interface {
	http.Handler
	http.RoundTripper
	// SetKeystore gives it secure settings, from the next Restart on.
	SetKeystore(secrets map[string]string)
	// Restart takes up an esConfig: an error is that of escluster's OnConfig,
	// ErrRestarting among them.
	Restart(settings map[string]string) error
}

// New makes a world of embedded Elasticsearch and deploys eslink's own resources
// into it.
func New(c Config) (*World, error) {
	if c.Version == "" {
		c.Version = "8.15.1"
	}
	w := &World{Config: c, analyzer: "ik_smart", Serves: Kinds, mapsRoles: true, offered: newOffered()}
	w.start, w.offer = w.embed, w.fakeService
	return w, w.build()
}

func (w *World) build() error {
	c := &w.Config
	if c.Clock.Rate == 0 {
		c.Clock = runtime.Clock{Epoch: time.Now(), Rate: 1}
	}
	if c.Context == nil {
		c.Context = context.Background()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	w.Servers, w.nodes = map[string]Server{}, map[string]*network.Place{}
	w.Account = cloud.New(cloud.Config{Region: Region, AccountID: AccountID, Now: c.Clock.Now, Seed: c.Seed, Log: c.Log})
	w.Networks = vpc.New(w.Account)
	w.NLB = nlb.New(w.Account, w.Networks, Region+"-h", Region+"-i", Region+"-j", Region+"-k")
	w.Hosts = ecs.New(w.Account, w.Networks)
	w.CLB = slb.New(w.Account, w.Networks, w.Hosts, Region+"-h", Region+"-i", Region+"-j", Region+"-k")
	w.Links = privatelink.New(w.Account, map[string]privatelink.Balancers{"nlb": w.NLB, "slb": w.CLB})
	w.Clusters = escluster.New(w.Account, w.Networks, w.Links)
	w.Secrets = kms.New(w.Account)
	w.Queues = mns.New(w.Account)
	w.Tables = tablestore.New(w.Account, "eslink")
	w.Network = network.New(network.Products{Clusters: w.Clusters, Hosts: w.Hosts, NLB: w.NLB, CLB: w.CLB, Links: w.Links})
	w.RAM, w.Logs, w.Instances, w.Streams = ram.New(w.Account), sls.New(w.Account), fakeots.New(w.Account), eventbridge.New(w.Account)
	w.hosts = map[string]http.Handler{
		"ram.aliyuncs.com":                                w.RAM,
		"resourcemanager.aliyuncs.com":                    w.RAM.ResourceManager(),
		"sts.aliyuncs.com":                                w.RAM.STS(),
		"eslink." + Region + ".log.aliyuncs.com":          w.Logs,
		"ots." + Region + ".aliyuncs.com":                 w.Instances,
		"eventbridge-console." + Region + ".aliyuncs.com": w.Streams,
		"elasticsearch." + Region + ".aliyuncs.com":       w.Clusters,
		"nlb." + Region + ".aliyuncs.com":                 w.NLB,
		"slb.aliyuncs.com":                                w.CLB,
		"ecs." + Region + ".aliyuncs.com":                 w.Hosts,
		"privatelink." + Region + ".aliyuncs.com":         w.Links,
		"vpc." + Region + ".aliyuncs.com":                 w.Networks,
		"kms." + Region + ".aliyuncs.com":                 w.Secrets,
		AccountID + ".mns." + Region + ".aliyuncs.com":    w.Queues,
		"eslink." + Region + ".ots.aliyuncs.com":          w.Tables,
	}
	w.Receivers = &receivers.Receivers{Now: w.Clock.Now, Secret: ReceiverSecret}
	for _, host := range receivers.Hosts {
		w.hosts[host] = w.Receivers
	}
	for _, build := range []func() error{w.addNetworks, w.addHost, w.addClusters, w.addAzure, w.addZilliz, w.deploy} {
		if err := build(); err != nil {
			return fmt.Errorf("world: %w", err)
		}
	}
	return nil
}

func (w *World) addNetworks() error {
	for _, v := range []vpc.VPC{{ID: SourceVPC, Name: "source", CIDR: "10.2.0.0/16"}, {ID: DestinationVPC, Name: "destination", CIDR: "10.1.0.0/16"}} {
		if err := w.Networks.AddVPC(v); err != nil {
			return err
		}
	}
	for _, v := range []vpc.VSwitch{
		{ID: SourceVSwitch, VpcID: SourceVPC, ZoneID: Region + "-i", CIDR: SourceCIDR},
		{ID: DestinationVSwitch, VpcID: DestinationVPC, ZoneID: Region + "-i", CIDR: DestinationCIDR},
		{ID: "vsw-src-i000000000001", VpcID: SourceVPC, ZoneID: Region + "-i", CIDR: "10.2.1.0/24"},
		{ID: "vsw-src-j000000000001", VpcID: SourceVPC, ZoneID: Region + "-j", CIDR: "10.2.2.0/24"},
		{ID: "vsw-src-k000000000001", VpcID: SourceVPC, ZoneID: Region + "-k", CIDR: "10.2.3.0/24"},
		{ID: "vsw-dst-i000000000001", VpcID: DestinationVPC, ZoneID: Region + "-i", CIDR: "10.1.1.0/24"},
		{ID: "vsw-dst-j000000000001", VpcID: DestinationVPC, ZoneID: Region + "-j", CIDR: "10.1.2.0/24"},
		{ID: "vsw-dst-k000000000001", VpcID: DestinationVPC, ZoneID: Region + "-k", CIDR: "10.1.3.0/24"},
	} {
		if err := w.Networks.AddVSwitch(v); err != nil {
			return err
		}
	}
	w.places = map[string]*network.Place{
		SourceVPC:      w.Network.FromVPC(SourceVPC, w.Networks.TakeIP(SourceVSwitch)),
		DestinationVPC: w.Network.FromVPC(DestinationVPC, w.Networks.TakeIP(DestinationVSwitch)),
	}
	return nil
}

func (w *World) addHost() error {
	if err := w.Hosts.AddSecurityGroup(SecurityGroup, SourceVPC, ecs.Rule{From: 1, To: 65535, Source: netip.MustParsePrefix(SourceCIDR), Description: "functions"}); err != nil {
		return err
	}
	return w.Hosts.AddInstance(ecs.Instance{ID: Host, Name: "services", VPCID: SourceVPC, VSwitchID: "vsw-src-i000000000001", IP: netip.MustParseAddr(HostIP), SecurityGroups: []string{SecurityGroup}})
}

// Users of both clusters: the superuser, and at the target one who reads as
// little as eslink needs.
var (
	superuser = elastic.User{Password: InstancePassword, Cluster: []string{"all"}, Indices: []elastic.IndexPrivileges{{Names: []string{"*"}, Privileges: []string{"all"}}}}
	reader    = elastic.User{Password: TargetPassword, Cluster: []string{"monitor"}, Indices: []elastic.IndexPrivileges{{Names: []string{"*"}, Privileges: []string{"read", "monitor", "view_index_metadata"}}}}
)

func (w *World) addClusters() error {
	for _, in := range []escluster.Instance{
		{ID: Instance, Description: "ES_1", VPCID: DestinationVPC, VSwitchID: "vsw-dst-i000000000001", Whitelist: []string{DestinationCIDR}},
		{ID: Target, Description: "ES_2", VPCID: SourceVPC, VSwitchID: "vsw-src-i000000000001", Whitelist: []string{SourceCIDR}},
	} {
		for _, z := range []string{"i", "j", "k"}[:max(w.Zones, 1)] {
			vSwitch := strings.Replace(in.VSwitchID, "-i0", "-"+z+"0", 1)
			in.Zones = append(in.Zones, Region+"-"+z)
			in.Addresses = append(in.Addresses, escluster.Address{ZoneID: Region + "-" + z, VSwitchID: vSwitch, IP: w.Networks.TakeIP(vSwitch)})
		}
		in.Version, in.ArchType = w.Version+"_with_X-Pack", "public"
		in.Config = map[string]string{"action.auto_create_index": "+.*,-*", "action.destructive_requires_name": "true", "xpack.watcher.enabled": "false"}
		if w.Alter != nil {
			w.Alter(&in)
		}
		if err := w.Clusters.AddInstance(in); err != nil {
			return err
		}
		if err := w.join(in); err != nil {
			return err
		}
	}
	w.Clusters.OnCreate(w.born)
	w.Clusters.OnConfig(w.takeUp)
	w.Secrets.Put(SecretInstance, Login("elastic", InstancePassword, Instance))
	w.Secrets.Put(SecretTarget, Login("eslink_reader", TargetPassword, Target, "http://"+HostIP+":9200"))
	return nil
}

// takeUp hands a configuration, and the secure settings, to an instance's nodes.
func (w *World) takeUp(id string, config map[string]string) error {
	w.node(id).AnyName = config["reindex.ssl.verification_mode"] == "certificate"
	server := w.server(id)
	server.SetKeystore(w.Clusters.Secure(id))
	return server.Restart(config)
}

// embed starts a cluster of three nodes in this process.
func (w *World) embed(in escluster.Instance) (Server, error) {
	c := elastic.Config{Name: in.ID, Version: w.Version, Nodes: 3, Now: w.Clock.Now, Remote: w.node(in.ID), Settings: in.Config,
		Analyzers: []string{"ik_smart", "ik_max_word"}, Users: map[string]elastic.User{"elastic": superuser}}
	if in.Password != "" {
		c.Users["elastic"] = elastic.User{Password: in.Password, Cluster: superuser.Cluster, Indices: superuser.Indices}
	}
	switch in.ID {
	case Target:
		c.Users["eslink_reader"] = reader
	case Instance:
		c.Plugins = []elastic.Plugin{plugin}
		c.Roles = map[string]elastic.Role{"analyst": {Cluster: []string{"monitor"}}}
	}
	if w.AlterServer != nil {
		w.AlterServer(in.ID, &c)
	}
	return elastic.New(c), nil
}

// Login is the value of a secret whose login may be sent to the recipients.
func Login(user, password string, recipients ...string) string {
	raw, _ := json.Marshal(map[string]any{"username": user, "password": password, "for": recipients}) // strings encode
	return string(raw)
}

// login is one that may be sent to whatever this world has.
func login(user, password string) string {
	return Login(user, password, Instance, Target, "http://"+HostIP+":9200", "ldap://"+HostIP+":389", "ldap://"+HostIP+":3268")
}

// ReceiverSecret signs notifications.
const ReceiverSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// tableTime is how long a new table refuses its first requests at most.
const tableTime = time.Minute

// deploy reads the deployment files and makes what package deploy says.
func (w *World) deploy() error {
	env := map[string]string{
		"ESLINK_ACCOUNT_ID": AccountID, "ESLINK_REGION": Region, "ESLINK_TABLE_INSTANCE": "eslink", "ESLINK_LOG_PROJECT": "eslink", "ESLINK_AUTO_APPROVE": cmp.Or(w.AutoApprove, "allow"),
		"ESLINK_SOURCE_VPC": SourceVPC, "ESLINK_SOURCE_VSWITCH": SourceVSwitch, "ESLINK_SOURCE_SECURITY_GROUP": "sg-src000000000000001",
		"ESLINK_DESTINATION_VPC": DestinationVPC, "ESLINK_DESTINATION_VSWITCH": DestinationVSwitch, "ESLINK_DESTINATION_SECURITY_GROUP": "sg-dst000000000000001",
	}
	var err error
	files := deploy.Files()
	for i := range files {
		files[i] = filepath.Join(w.Root, files[i])
	}
	w.Project, err = runtime.Load(func(name string) (string, bool) { v, ok := env[name]; return v, ok }, files...)
	if err != nil {
		return err
	}
	set, err := deploy.Read(deploy.Target{Region: Region, AccountID: AccountID, TableInstance: "eslink", Table: "eslink", LogProject: "eslink"})
	if err != nil {
		return err
	}
	for name, q := range set.Queues {
		if err := w.Queues.Create(name, mns.Attributes{DelaySeconds: int(q.DelaySeconds), MaximumMessageSize: int(q.MaximumMessageSize),
			MessageRetentionPeriod: int(q.MessageRetentionPeriod), VisibilityTimeout: int(q.VisibilityTimeout), PollingWaitSeconds: int(q.PollingWaitSeconds)}); err != nil {
			return err
		}
	}
	for name, document := range set.Roles {
		if err := w.RAM.Add(name, set.Trust, deploy.Mark, document); err != nil {
			return fmt.Errorf("role %s: %w", name, err)
		}
	}
	w.RAM.Link(deploy.LinkedRoles()...)
	w.Logs.Add("eslink", "functions")
	w.Instances.Add("eslink")
	for _, f := range w.Project.Functions {
		for _, t := range f.Triggers {
			if t.EventBridge != nil && t.EventBridge.Queue() != "" {
				w.Streams.Add("MNS-" + f.Name + "-" + t.Name)
			}
		}
	}
	meta := &ots.TableMeta{TableName: "eslink"}
	for _, column := range set.Table.PrimaryKey {
		meta.AddPrimaryKeyColumn(column.Name, ots.PrimaryKeyType_STRING)
	}
	key := w.Account.RootKey()
	_, err = ots.NewClientWithConfig("https://eslink."+Region+".ots.aliyuncs.com", "eslink", key.AccessKeyID, key.AccessKeySecret, key.SecurityToken,
		&ots.TableStoreConfig{Transport: w.Transport()}).CreateTable(&ots.CreateTableRequest{
		TableMeta: meta, TableOption: &ots.TableOption{TimeToAlive: set.Table.TimeToLive, MaxVersion: set.Table.MaxVersions},
		ReservedThroughput: &ots.ReservedThroughput{}})
	if err != nil {
		return err
	}
	return w.Clock.Sleep(w.Context, tableTime)
}

// Transport reaches every product's fake under its public host, without sockets.
func (w *World) Transport() http.RoundTripper {
	return cloud.Transport(func(host string) http.Handler { return w.hosts[host] })
}

// Place is where functions of a VPC are, nil for those of none.
func (w *World) Place(f runtime.Function) *network.Place {
	if f.VPCConfig == nil {
		return nil
	}
	return w.places[f.VPCConfig.VPCID]
}

// record notes every request that changes a cluster's data, as "instance METHOD
// path".
func (w *World) record(id string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if changes(r) {
			w.mu.Lock()
			w.writes = append(w.writes, id+" "+r.Method+" "+r.URL.Path)
			w.mu.Unlock()
		}
		next.ServeHTTP(rw, r)
	})
}

// changes tells a write from the reads that Elasticsearch spells POST or
// DELETE, and from the check's own operation.
func changes(r *http.Request) bool {
	path := r.URL.Path
	if r.Method == http.MethodGet || r.Method == http.MethodHead || strings.Contains(path, "eslink-check-") || strings.HasSuffix(path, "/_cancel") ||
		strings.HasPrefix(path, "/_index_template/_simulate_index/") { // it judges, and makes nothing
		return false
	}
	if path == "/_reindex" {
		body, err := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		return err != nil || !strings.Contains(string(body), `"index":"eslink-check-`)
	}
	// An inline watch is not stored, and a realm's cache is nobody's data.
	for _, read := range []string{"/_watcher/watch/_execute", "/_clear_cache", "/_search", "/_count", "/_refresh", "/_analyze", "/_has_privileges", "/_search/scroll", "/_pit", "/_mget"} {
		if strings.HasSuffix(path, read) {
			return false
		}
	}
	return true
}

// Writes lists what was written since the world began: to the cloud, and to the
// clusters' data. eslink's own table and queues do not count, nor do the probes on
// machines, which every walk repeats.
func (w *World) Writes() []string {
	var out []string
	for _, e := range w.Account.Exchanges() {
		if e.Write && e.Product != "mns" && e.Product != "tablestore" && e.Product != "ots" && e.Status < 300 && !probes(e.Action) {
			out = append(out, e.Product+" "+e.Action)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(out, w.writes...)
}

// Left lists what is there that a run made or may have made: resources of the
// cloud, whitelist groups and entries, the check's indices. The world begins
// without any.
func (w *World) Left() []string {
	out := append(w.leftInAzure(), w.leftAtZilliz()...)
	for _, lb := range w.NLB.LoadBalancers() {
		out = append(out, "load balancer "+lb.ID)
	}
	for _, l := range w.NLB.Listeners() {
		out = append(out, "listener "+l.ID)
	}
	for _, g := range w.NLB.ServerGroups() {
		out = append(out, "server group "+g.ID)
	}
	for _, lb := range w.CLB.LoadBalancers() {
		out = append(out, "clb "+lb.ID)
	}
	for _, l := range w.CLB.Listeners() {
		out = append(out, fmt.Sprintf("listener %d of clb %s", l.Port, l.LoadBalancerID))
	}
	for _, g := range w.CLB.Groups() {
		out = append(out, "server group "+g.ID)
	}
	for _, id := range w.Hosts.SecurityGroups() {
		for _, r := range w.Hosts.Rules(id) {
			if strings.HasPrefix(r.Description, "eslink") {
				out = append(out, "rule "+r.ID+" of security group "+id)
			}
		}
	}
	for _, s := range w.Links.Services() {
		out = append(out, "endpoint service "+s.ID)
	}
	for _, e := range w.Links.Endpoints() {
		out = append(out, "endpoint "+e.ID)
	}
	for _, in := range w.Clusters.Instances() {
		for _, g := range w.Clusters.Groups(in.ID) {
			if strings.HasPrefix(g.Name, "eslink") {
				out = append(out, "whitelist group "+g.Name+" of "+in.ID)
			}
		}
		if v := in.Config["reindex.remote.whitelist"]; strings.Contains(v, "privatelink") {
			out = append(out, "reindex.remote.whitelist of "+in.ID+": "+v)
		}
		var names map[string]json.RawMessage
		if status, body := w.Ask(in.ID, http.MethodGet, "/_all", ""); status == 200 && json.Unmarshal(body, &names) == nil {
			for name := range names {
				if strings.HasPrefix(name, "eslink-check-") {
					out = append(out, "index "+name+" of "+in.ID)
				}
			}
		}
	}
	return out
}

// Ask sends a request to a cluster as its superuser, past the network.
func (w *World) Ask(instanceID, method, path, body string) (int, []byte) {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+instanceID+path, strings.NewReader(body))
	if err != nil {
		return 0, []byte(err.Error())
	}
	req.SetBasicAuth("elastic", InstancePassword)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := w.server(instanceID).RoundTrip(req)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return resp.StatusCode, raw
}
