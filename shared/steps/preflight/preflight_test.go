package preflight

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/faketest"
	"eslink/localtest/fakes/vpc"
	client "eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/nlb"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/stepstest"
)

type world struct {
	*stepstest.World
	step *Step
	run  *run.Run
}

func newWorld(t *testing.T) *world {
	w := stepstest.New(t, 1)
	r := w.Run("preflight")
	r.Facts = facts.Facts{}
	return &world{w, New(w.Deps).(*Step), r}
}

// cluster adds one and puts it in the spec, as the instance or as the target.
func (w *world) cluster(name string, target bool, change func(*escluster.Instance)) {
	w.Helper()
	i := escluster.Instance{ID: "es-cn-" + name, VPCID: "vpc-dst", VSwitchID: "vsw-dst"}
	into := &w.run.Spec.InstanceID
	if target {
		i.VPCID, i.VSwitchID, into = "vpc-src", "vsw-src", &w.run.Spec.Target.InstanceID
	}
	change(&i)
	require.NoError(w, w.ES.AddInstance(i))
	*into = i.ID
}

// findings runs the step, demands that it stops with findings, and that nothing
// was written.
func (w *world) findings() map[string]string {
	w.Helper()
	_, err := w.Walk(w.step, w.run, run.Up)
	var p *events.Problem
	require.ErrorAs(w, err, &p)
	require.Zero(w, w.Writes())
	require.Nil(w, w.run.Facts.Preflight)
	found := map[string]string{}
	for _, f := range p.Errors {
		require.NotEmpty(w, f.Remedy)
		found[f.Field] += f.Message + " " + f.Remedy + "\n"
	}
	return found
}

func TestTwoFitClusters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.Equal(t, 1, w.Up(w.step, w.run))
	p := w.run.Facts.Preflight
	require.Equal(t, facts.Cluster{InstanceID: faketest.Src, Domain: faketest.Src + ".elasticsearch.aliyuncs.com", Port: 9200, Protocol: "http",
		Version: "7.10.0_with_X-Pack", VpcID: "vpc-src", VSwitchID: "vsw-src", ZoneIDs: []string{faketest.ZoneI}}, p.Target)
	require.Equal(t, faketest.Dst, p.Instance.InstanceID)
	require.Equal(t, "vpc-dst", p.Instance.VpcID)
	require.Equal(t, faketest.ZoneI, p.Zone)
	require.Len(t, p.VSwitches, 2, "two zones where the VPC has them")
	require.Equal(t, facts.VSwitch{VSwitchID: "vsw-src-i", ZoneID: faketest.ZoneI, CIDR: "10.2.1.0/24"}, p.VSwitches[0], "the endpoint's zone first, and the roomiest vSwitch")
	require.Equal(t, faketest.ZoneJ, p.VSwitches[1].ZoneID)
	require.Zero(t, w.Writes())
}

func TestAllFindingsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Link.SetOpen(false)
	w.cluster("old", false, func(i *escluster.Instance) {
		i.Version, i.ArchType, i.OldNetwork, i.Whitelist = "8.15.1_with_X-Pack", "exclusive", true, []string{"127.0.0.1"}
	})
	w.cluster("new", true, func(i *escluster.Instance) {
		i.Version, i.ArchType, i.Protocol, i.Whitelist, i.Zones = "7.17.0_with_X-Pack", "public", "HTTPS", []string{"127.0.0.1"}, []string{faketest.ZoneJ}
	})
	found := w.findings()
	require.Contains(t, found["region"], "PrivateLink is not activated")
	require.Contains(t, found["instanceId"], "old network architecture")
	require.Contains(t, found["instanceId"], "add 10.1.0.0/24")
	require.Contains(t, found["target.instanceId"], "add 10.2.0.0/24")
	require.Contains(t, found["target.instanceId"], "7.17.0")
	require.Contains(t, found["target.instanceId"], "8.15.1")
	require.Contains(t, found["target.instanceId"], "v3")
	require.Contains(t, found["target.instanceId"], "no normal zone in common")
	require.Contains(t, found["target.protocol"], "speaks https, the spec says http")
}

func TestOneFinding(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil          func(*world)
		field, message string
	}{
		"no such instance": {func(w *world) { w.run.Spec.InstanceID = "es-cn-nowhere" }, "instanceId", "there is no cluster es-cn-nowhere in cn-hangzhou"},
		"no such target":   {func(w *world) { w.run.Spec.Target.InstanceID = "es-cn-nowhere" }, "target.instanceId", "there is no cluster"},
		"another region":   {func(w *world) { w.run.Spec.Region = "cn-beijing" }, "region", "deployed in cn-hangzhou"},
		"inactive":         {func(w *world) { w.ES.SetStatus(faketest.Src, "inactive") }, "target.instanceId", "frozen"},
		"invalid":          {func(w *world) { w.ES.SetStatus(faketest.Dst, "invalid") }, "instanceId", "is invalid"},
		"major version": {func(w *world) {
			w.cluster("seven", true, func(i *escluster.Instance) { i.Version = "8.15.1_with_X-Pack" })
		}, "target.instanceId", "one major version"},
		"v3 to v2": {func(w *world) {
			w.cluster("vtwo", false, func(i *escluster.Instance) { i.ArchType = "exclusive" })
		}, "target.instanceId", "v3 to v3 only"},
		"old network": {func(w *world) {
			w.cluster("old", true, func(i *escluster.Instance) { i.OldNetwork = true })
		}, "target.instanceId", "old network architecture"},
		"http for https": {func(w *world) {
			w.cluster("tls", true, func(i *escluster.Instance) { i.Protocol = "HTTPS" })
		}, "target.protocol", "say https"},
		"https without tls": {func(w *world) {
			w.cluster("tls", true, func(i *escluster.Instance) { i.Protocol = "HTTPS" })
			w.run.Spec.Target.Protocol = "https"
		}, "target.tls", "say certificate"},
		"https for http": {func(w *world) { w.run.Spec.Target.Protocol, w.run.Spec.Target.TLS = "https", "certificate" }, "target.protocol", "say http"},
		"port":           {func(w *world) { w.run.Spec.Target.Port = 9300 }, "target.port", "say 9200"},
		"no common zone": {func(w *world) {
			w.cluster("far", true, func(i *escluster.Instance) { i.Zones = []string{faketest.ZoneJ} })
		}, "target.instanceId", "no normal zone in common"},
		"isolated zone": {func(w *world) {
			w.step.Clusters = clusters{w.step.Clusters, func(i *client.Instance) { i.Zones[0].Status = "ISOLATION" }}
		}, "target.instanceId", "cn-hangzhou-i isolation"},
		"spec's zone": {func(w *world) { w.run.Spec.Zone = faketest.ZoneJ }, "zone", "cn-hangzhou-j is not a normal zone of both clusters"},
		"no balancers in the zone": {func(w *world) {
			w.step.Balancers = zones{faketest.ZoneJ}
		}, "target.instanceId", "only in cn-hangzhou-j"},
		"no PrivateLink in the spec's zone": {func(w *world) {
			w.run.Spec.Zone, w.step.Links = faketest.ZoneI, links{zones{faketest.ZoneJ}}
		}, "zone", "only in cn-hangzhou-j"},
		"no room in the zone": {func(w *world) {
			for w.VPC.TakeIP("vsw-src").IsValid() {
			}
			for range 252 - addresses + 1 { // of a /24
				w.VPC.TakeIP("vsw-src-i")
			}
		}, "target.instanceId", "9 free addresses in cn-hangzhou-i"},
		"no room in the second zone": {func(w *world) {
			for w.VPC.TakeIP("vsw-src-j").IsValid() {
			}
		}, "target.instanceId", "9 free addresses in cn-hangzhou-j"},
		"instance outside the deployment": {func(w *world) { w.step.Network.DestinationVPC = "vpc-other" }, "instanceId", "is in vpc-dst, and the functions that would call it are in vpc-other"},
		"target outside the deployment":   {func(w *world) { w.step.Network.SourceVPC = "vpc-other" }, "target.instanceId", "deploy eslink with vpc-src"},
		"instance admits nobody":          {func(w *world) { w.ES.SetGroup(faketest.Dst, "default", "127.0.0.1") }, "instanceId", "add 10.1.0.0/24"},
		"target admits nobody":            {func(w *world) { w.ES.SetGroup(faketest.Src, "default", "127.0.0.1") }, "target.instanceId", "add 10.2.0.0/24"},
		"target admits half": {func(w *world) {
			w.ES.SetGroup(faketest.Src, "default", "10.2.0.0/25", "10.2.0.128/26")
		}, "target.instanceId", "add 10.2.0.0/24"},
		"PrivateLink not activated": {func(w *world) { w.Link.SetOpen(false) }, "region", "activate PrivateLink"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.spoil(w)
			found := w.findings()
			require.Len(t, found, 1, found)
			require.Contains(t, found[c.field], c.message)
			require.Equal(t, 1, strings.Count(found[c.field], "\n"), found)
		})
	}
}

// clusters changes what the cloud says of each.
type clusters struct {
	Clusters
	change func(*client.Instance)
}

func (c clusters) Describe(ctx context.Context, id string) (client.Instance, error) {
	i, err := c.Clusters.Describe(ctx, id)
	if err == nil {
		c.change(&i)
	}
	return i, err
}

type zones []string

func (z zones) Zones(context.Context) ([]string, error) { return z, nil }

type links struct{ zones }

func (links) Activated(context.Context) (bool, error) { return true, nil }

func (l links) Zones(context.Context, string) ([]string, error) { return l.zones, nil }

func TestArchitecturesThatGoTogether(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, instance string }{{"exclusive", "public"}, {"exclusive", "exclusive"}, {"public", "public"}} {
		t.Run(c.target+" to "+c.instance, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cluster("a", true, func(i *escluster.Instance) { i.ArchType = c.target })
			w.cluster("b", false, func(i *escluster.Instance) { i.ArchType = c.instance })
			w.Up(w.step, w.run)
		})
	}
}

func TestHTTPSWithCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster("tls", true, func(i *escluster.Instance) { i.Protocol = "HTTPS" })
	w.run.Spec.Target.Protocol, w.run.Spec.Target.TLS = "https", "certificate"
	w.Up(w.step, w.run)
	require.Equal(t, "https", w.run.Facts.Preflight.Target.Protocol)
}

func TestActivatingIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ES.SetStatus(faketest.Src, "activating")
	out, err := w.Once(w.step, w.run)
	require.NoError(t, err)
	require.False(t, out.IsDone())
	require.Contains(t, out.Reason(), faketest.Src+" is activating")
	require.Nil(t, w.run.Facts.Preflight)
	w.Advance(out.Delay())
	w.ES.SetStatus(faketest.Src, "active")
	require.Equal(t, 1, w.Up(w.step, w.run))
}

func TestBeingCreatedIsWaitedForWithoutJudgingIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inited := false
	w.step.Clusters = clusters{w.step.Clusters, func(i *client.Instance) {
		if i.ID == faketest.Src && !inited {
			i.Inited, i.Status, i.Domain, i.Zones, i.VpcID = false, client.Activating, "", nil, ""
		}
	}}
	out, err := w.Once(w.step, w.run)
	require.NoError(t, err)
	require.Contains(t, out.Reason(), "being created")
	require.Equal(t, 3*time.Minute, out.Delay())
	inited = true
	w.Up(w.step, w.run)
}

func TestActivatingHidesNoFinding(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ES.SetStatus(faketest.Src, "activating")
	w.ES.SetGroup(faketest.Dst, "default", "127.0.0.1")
	require.Contains(t, w.findings()["instanceId"], "10.1.0.0/24")
}

func TestWhitelistsInParts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		open  []string
		admit bool
	}{
		{[]string{"0.0.0.0/0"}, true},
		{[]string{"10.2.0.0/16"}, true},
		{[]string{"10.2.0.0/24"}, true},
		{[]string{"10.2.0.7/24"}, true}, // as people write them
		{[]string{"10.2.0.0/25", "10.2.0.128/25"}, true},
		{[]string{"10.2.0.0/25", "10.2.0.128/26", "10.2.0.192/26"}, true},
		{[]string{"10.2.0.0/25", "10.2.0.128/26", "10.2.0.192/27"}, false},
		{[]string{"10.2.1.0/24"}, false},
		{[]string{"127.0.0.1"}, false},
		{[]string{"10.2.0.4"}, false},
		{[]string{"::/0"}, false},
		{[]string{"nonsense"}, false},
		{nil, false},
	} {
		groups := []client.WhiteGroup{{Name: "default", Type: client.PrivateES, IPs: c.open}}
		require.Equal(t, c.admit, admits(groups, netip.MustParsePrefix("10.2.0.0/24")), c.open)
	}
	var each []string
	for i := range 256 {
		each = append(each, fmt.Sprintf("10.2.0.%d", i))
	}
	groups := []client.WhiteGroup{{IPs: each[:100]}, {IPs: each[100:]}}
	require.True(t, admits(groups, netip.MustParsePrefix("10.2.0.0/24")))
	groups[1].IPs = groups[1].IPs[1:]
	require.False(t, admits(groups, netip.MustParsePrefix("10.2.0.0/24")))
}

func TestAPublicWhitelistAdmitsNobodyHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.step.Clusters = clusters{w.step.Clusters, func(i *client.Instance) {
		i.Whitelist = []client.WhiteGroup{{Name: "default", Type: client.PrivateES, IPs: []string{"127.0.0.1"}}, {Name: "default", Type: "PUBLIC_ES", IPs: []string{"0.0.0.0/0"}}}
	}}
	require.Len(t, w.findings(), 2)
}

func TestTheSpecsZoneIsHonoured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	both := []string{faketest.ZoneI, faketest.ZoneJ}
	w.cluster("a", true, func(i *escluster.Instance) { i.Zones = both })
	w.cluster("b", false, func(i *escluster.Instance) { i.Zones = both })
	w.run.Spec.Zone = faketest.ZoneJ
	w.Up(w.step, w.run)
	require.Equal(t, faketest.ZoneJ, w.run.Facts.Preflight.Zone)
	require.Equal(t, faketest.ZoneJ, w.run.Facts.Preflight.VSwitches[0].ZoneID)
	require.Equal(t, faketest.ZoneI, w.run.Facts.Preflight.VSwitches[1].ZoneID)
}

func TestAVPCInOneZoneGetsOneVSwitch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.VPC.AddVPC(vpc.VPC{ID: "vpc-one", CIDR: "10.3.0.0/16"}))
	require.NoError(t, w.VPC.AddVSwitch(vpc.VSwitch{ID: "vsw-one", VpcID: "vpc-one", ZoneID: faketest.ZoneI, CIDR: "10.3.0.0/24"}))
	require.NoError(t, w.VPC.AddVSwitch(vpc.VSwitch{ID: "vsw-k", VpcID: "vpc-one", ZoneID: "cn-hangzhou-k", CIDR: "10.3.1.0/24"})) // without NLB
	w.cluster("one", true, func(i *escluster.Instance) { i.VPCID, i.VSwitchID = "vpc-one", "vsw-one" })
	w.step.Network.SourceVPC, w.step.Network.SourceVSwitch = "vpc-one", "vsw-one"
	w.Up(w.step, w.run)
	require.Len(t, w.run.Facts.Preflight.VSwitches, 1)
}

func TestManyVSwitches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n := range 120 { // more than a page; the roomiest is the last
		require.NoError(t, w.VPC.AddVSwitch(vpc.VSwitch{ID: fmt.Sprintf("vsw-%d", n), VpcID: "vpc-src", ZoneID: faketest.ZoneJ, CIDR: fmt.Sprintf("10.2.%d.0/29", n+10)}))
	}
	require.NoError(t, w.VPC.AddVSwitch(vpc.VSwitch{ID: "vsw-large", VpcID: "vpc-src", ZoneID: faketest.ZoneJ, CIDR: "10.2.192.0/18"}))
	w.Up(w.step, w.run)
	require.Equal(t, "vsw-large", w.run.Facts.Preflight.VSwitches[1].VSwitchID)
}

func TestALaterWalkKeepsItsChoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Up(w.step, w.run)
	before := *w.run.Facts.Preflight
	w.run.Facts.NLB = &facts.NLB{ID: "nlb-1"}
	for w.VPC.TakeIP("vsw-src-i").IsValid() {
	}
	for w.VPC.TakeIP("vsw-src-j").IsValid() {
	}
	w.Up(w.step, w.run)
	require.Equal(t, before.VSwitches, w.run.Facts.Preflight.VSwitches)
	require.Equal(t, before.Zone, w.run.Facts.Preflight.Zone)
}

func TestThrottledCallsAreRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Throttle()
	w.Up(w.step, w.run)
	require.NotNil(t, w.run.Facts.Preflight)
}

func TestARefusedCallStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		if c.Product == "vpc" {
			return cloud.Fault{Before: cloud.Errorf(403, "Forbidden.RAM", "User not authorized to operate on the specified resource.")}
		}
		return cloud.Fault{}
	})
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "Forbidden.RAM")
	var p *events.Problem
	require.False(t, errors.As(err, &p))
}

// What preflight chooses is what the balancer can be made of.
func TestTheChoiceMakesABalancer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Up(w.step, w.run)
	p, c := w.run.Facts.Preflight, nlb.New(w.Deps.Aliyun)
	n := nlb.NewLoadBalancer{Name: "eslink-test", VpcID: p.Target.VpcID, TagKey: run.TagKey, TagValue: "x"}
	for _, v := range p.VSwitches {
		n.Zones = append(n.Zones, nlb.Zone{ID: v.ZoneID, VSwitchID: v.VSwitchID})
	}
	_, err := c.CreateLoadBalancer(w.Context(), n, "token")
	require.NoError(t, err)
	w.Advance(5 * time.Minute)
	require.Equal(t, "Active", w.NLB.LoadBalancers()[0].Status)
}
