// Package faketest is a small world for tests: two clusters in two VPCs of one account, the products that can link
// them, and a clock that only the test moves.
package faketest

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/responses"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/ecs"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/network"
	"eslink/localtest/fakes/nlb"
	"eslink/localtest/fakes/privatelink"
	"eslink/localtest/fakes/slb"
	"eslink/localtest/fakes/vpc"
)

// The two clusters, both in zone i of cn-hangzhou, whose VPCs have vSwitches in zones i and j, and with one address each:
// Dst in VPC vpc-dst (10.1.0.0/16), Src in vpc-src (10.2.0.0/16). Src's private whitelist admits 10.2.0.0/24 alone, a
// network without balancers: the vSwitches of zones i and j are vsw-src-i (10.2.1.0/24) and vsw-src-j (10.2.2.0/24).
// Host is an ECS instance in vsw-src-i whose security group SecurityGroup admits nobody, and on which nothing listens.
const (
	Region = "cn-hangzhou"
	ZoneI  = "cn-hangzhou-i"
	ZoneJ  = "cn-hangzhou-j"
	Dst    = "es-cn-dst000000001"
	Src    = "es-cn-src000000002"

	Host          = "i-bp1src0000000000001"
	SecurityGroup = "sg-bp1src000000000001"
)

// World is the account and its products.
type World struct {
	testing.TB
	Account   *cloud.Account
	VPC       *vpc.Networks
	NLB       *nlb.Fake
	CLB       *slb.Fake
	ECS       *ecs.Fake
	Link      *privatelink.Fake
	ES        *escluster.Fake
	Network   *network.Network
	Transport http.RoundTripper // to the products, by host name

	mu  sync.Mutex
	now time.Time
}

// New makes the world; all durations are drawn from seed.
func New(t testing.TB, seed uint64) *World {
	w := &World{TB: t, now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	w.Account = cloud.New(cloud.Config{Region: Region, AccountID: "1234567890123456", Now: w.Now, Seed: seed})
	w.VPC = vpc.New(w.Account)
	for _, v := range []struct{ name, net string }{{"dst", "10.1."}, {"src", "10.2."}} {
		name, net := v.name, v.net
		require.NoError(t, w.VPC.AddVPC(vpc.VPC{ID: "vpc-" + name, CIDR: net + "0.0/16"}))
		require.NoError(t, w.VPC.AddVSwitch(vpc.VSwitch{ID: "vsw-" + name, VpcID: "vpc-" + name, ZoneID: ZoneI, CIDR: net + "0.0/24"}))
		require.NoError(t, w.VPC.AddVSwitch(vpc.VSwitch{ID: "vsw-" + name + "-i", VpcID: "vpc-" + name, ZoneID: ZoneI, CIDR: net + "1.0/24"}))
		require.NoError(t, w.VPC.AddVSwitch(vpc.VSwitch{ID: "vsw-" + name + "-j", VpcID: "vpc-" + name, ZoneID: ZoneJ, CIDR: net + "2.0/24"}))
	}
	w.NLB = nlb.New(w.Account, w.VPC, ZoneI, ZoneJ)
	w.ECS = ecs.New(w.Account, w.VPC)
	w.CLB = slb.New(w.Account, w.VPC, w.ECS, ZoneI, ZoneJ)
	w.Link = privatelink.New(w.Account, map[string]privatelink.Balancers{"nlb": w.NLB, "slb": w.CLB})
	w.ES = escluster.New(w.Account, w.VPC, w.Link)
	require.NoError(t, w.ES.AddInstance(escluster.Instance{ID: Dst, VPCID: "vpc-dst", VSwitchID: "vsw-dst", Config: map[string]string{
		"action.auto_create_index": "+.*,-*", "action.destructive_requires_name": "true",
	}}))
	require.NoError(t, w.ES.AddInstance(escluster.Instance{ID: Src, VPCID: "vpc-src", VSwitchID: "vsw-src", Whitelist: []string{"10.2.0.0/24"}}))
	require.NoError(t, w.ECS.AddSecurityGroup(SecurityGroup, "vpc-src"))
	require.NoError(t, w.ECS.AddInstance(ecs.Instance{ID: Host, VPCID: "vpc-src", VSwitchID: "vsw-src-i", IP: netip.MustParseAddr("10.2.1.200"), SecurityGroups: []string{SecurityGroup}}))
	w.Network = network.New(network.Products{Clusters: w.ES, Hosts: w.ECS, NLB: w.NLB, CLB: w.CLB, Links: w.Link})
	for _, id := range []string{Dst, Src} {
		w.Network.SetServer(id, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			io.WriteString(rw, id+" "+r.Method+" "+r.URL.Path+" "+string(body))
		}))
	}
	w.Transport = cloud.Transport(func(host string) http.Handler {
		product, _, _ := strings.Cut(host, ".")
		return map[string]http.Handler{"nlb": w.NLB, "privatelink": w.Link, "elasticsearch": w.ES, "vpc": w.VPC, "slb": w.CLB, "ecs": w.ECS}[product]
	})
	return w
}

// Now is the world's clock.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Advance moves the clock.
func (w *World) Advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// Call sends a request of the V1 SDK with the account's key, signed and decoded as shipped.
func (w *World) Call(product string, req requests.AcsRequest, resp responses.AcsResponse) error {
	key := w.Account.RootKey()
	var client sdk.Client
	config := sdk.NewConfig().WithScheme("HTTPS").WithAutoRetry(false)
	require.NoError(w, client.InitWithOptions(Region, config, credentials.NewAccessKeyCredential(key.AccessKeyID, key.AccessKeySecret)))
	client.SetTransport(w.Transport)
	req.SetDomain(product + "." + Region + ".aliyuncs.com")
	return client.DoAction(req, resp)
}

// Body gives a request of a RESTful product its JSON body. The V1 SDK would send its own Body fields as a form.
func Body(req interface {
	SetContent([]byte)
	SetContentType(string)
}, body string) {
	req.SetContent([]byte(body))
	req.SetContentType("application/json")
}

// Refused demands that err is the cloud's refusal with this code.
func (w *World) Refused(code string, err error) {
	w.Helper()
	var refusal *sdkerrors.ServerError
	require.ErrorAs(w, err, &refusal)
	require.Equal(w, code, refusal.ErrorCode(), refusal.Message())
}

// Until moves the clock in steps of a second until done, and returns how long that took. It fails after an hour.
func (w *World) Until(done func() bool) time.Duration {
	w.Helper()
	for d := time.Duration(0); d <= time.Hour; d += time.Second {
		if done() {
			return d
		}
		w.Advance(time.Second)
	}
	require.FailNow(w, "still not so after an hour")
	return 0
}

// Source is where a function of a VPC ("src", "dst") connects from.
func Source(vpc string) netip.Addr {
	return netip.MustParseAddr(map[string]string{"src": "10.2.0.200", "dst": "10.1.0.200"}[vpc])
}
