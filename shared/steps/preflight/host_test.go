package preflight

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/ecs"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/faketest"
	"eslink/localtest/fakes/vpc"
	"eslink/shared/aliyun/slb"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/stepstest"
)

var (
	webhook   = events.UseCase{Kind: events.Watcher, Port: 8080, Protocol: "http"}
	migration = events.UseCase{Kind: events.ReindexUseCase, Port: 9201, Protocol: "http"}
)

func newHostWorld(t *testing.T, useCases ...events.UseCase) *world {
	w := stepstest.New(t, 1)
	if useCases == nil {
		useCases = []events.UseCase{webhook}
	}
	r := w.HostRun("preflight", useCases...)
	r.Facts = facts.Facts{}
	return &world{w, New(w.Deps).(*Step), r}
}

// copies makes the run one that reads a cluster on the host.
func (w *world) copies() {
	w.run.Spec.UseCases = []events.UseCase{webhook, migration}
	w.run.Spec.Indices = []events.Index{{Source: "a", Dest: "a"}}
}

// lets makes the host admit the functions to the port of the cluster on it.
func (w *world) lets(cidr string) {
	w.ECS.AddRule(faketest.SecurityGroup, ecs.Rule{From: 9201, To: 9201, Source: netip.MustParsePrefix(cidr)})
}

// host adds one and puts it in the spec.
func (w *world) host(change func(*ecs.Instance)) {
	w.Helper()
	i := ecs.Instance{ID: "i-bp1other", VPCID: "vpc-src", VSwitchID: "vsw-src-i", SecurityGroups: []string{faketest.SecurityGroup}}
	change(&i)
	require.NoError(w, w.ECS.AddInstance(i))
	w.run.Spec.Target.ECSInstanceID = i.ID
}

func TestAFitHost(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]func(ip string) events.Target{
		"by ID":      func(string) events.Target { return events.Target{ECSInstanceID: faketest.Host} },
		"by address": func(ip string) events.Target { return events.Target{PrivateIP: ip} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newHostWorld(t)
			ip := w.ECS.Instances()[0].IP.String()
			w.run.Spec.Target = target(ip)
			require.Equal(t, 1, w.Up(w.step, w.run))
			p := w.run.Facts.Preflight
			require.Equal(t, &facts.ECSHost{InstanceID: faketest.Host, PrivateIP: ip, VpcID: "vpc-src", VSwitchID: "vsw-src-i", ZoneID: faketest.ZoneI,
				SecurityGroups: []string{faketest.SecurityGroup}}, p.ECS)
			require.Equal(t, faketest.ZoneI, p.Zone)
			require.Len(t, p.VSwitches, 1)
			require.Equal(t, faketest.ZoneI, p.VSwitches[0].ZoneID)
			require.Equal(t, "http://"+ip+":8080", p.Target.URL())
			require.Equal(t, faketest.Dst, p.Instance.InstanceID)
			require.Zero(t, w.Writes())
		})
	}
}

func TestAClusterOnAHost(t *testing.T) {
	t.Parallel()
	w := newHostWorld(t)
	w.copies()
	w.lets("10.2.0.0/24")
	w.Up(w.step, w.run)
	target := w.run.Facts.Preflight.Target
	require.Equal(t, facts.Cluster{InstanceID: faketest.Host, Domain: w.ECS.Instances()[0].IP.String(), Port: 9201, Protocol: "http",
		VpcID: "vpc-src", VSwitchID: "vsw-src-i", ZoneIDs: []string{faketest.ZoneI}}, target, "the one that is copied from, whatever comes first")
}

func TestAHostsFindings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil          func(*world)
		field, message string
	}{
		"no such host":    {func(w *world) { w.run.Spec.Target.ECSInstanceID = "i-none" }, "target.ecsInstanceId", "there is no ECS instance i-none in cn-hangzhou"},
		"no such address": {func(w *world) { w.run.Spec.Target = events.Target{PrivateIP: "10.2.1.250"} }, "target.privateIp", "there is no ECS instance 10.2.1.250"},
		"one address twice": {func(w *world) {
			require.NoError(w, w.VPC.AddVPC(vpc.VPC{ID: "vpc-twin", CIDR: "10.2.0.0/16"}))
			require.NoError(w, w.VPC.AddVSwitch(vpc.VSwitch{ID: "vsw-twin", VpcID: "vpc-twin", ZoneID: faketest.ZoneI, CIDR: "10.2.1.0/24"}))
			ip := w.ECS.Instances()[0].IP
			require.NoError(w, w.ECS.AddInstance(ecs.Instance{ID: "i-twin", VPCID: "vpc-twin", VSwitchID: "vsw-twin", IP: ip}))
			w.run.Spec.Target = events.Target{PrivateIP: ip.String()}
		}, "target.privateIp", "name one as target.ecsInstanceId: " + faketest.Host + ", i-twin"},
		"classic": {func(w *world) {
			require.NoError(w, w.ECS.AddInstance(ecs.Instance{ID: "i-old", Classic: true}))
			w.run.Spec.Target.ECSInstanceID = "i-old"
		}, "target.ecsInstanceId", "classic network"},
		"stopped":        {func(w *world) { w.ECS.SetStatus(faketest.Host, "Stopped") }, "target.ecsInstanceId", "is Stopped"},
		"another zone":   {func(w *world) { w.host(func(i *ecs.Instance) { i.VSwitchID = "vsw-src-j" }) }, "target.ecsInstanceId", "not a normal zone of " + faketest.Dst},
		"the spec's":     {func(w *world) { w.run.Spec.Zone = faketest.ZoneJ }, "zone", "say " + faketest.ZoneI},
		"no CLB there":   {func(w *world) { w.step.Classic = zones{faketest.ZoneJ} }, "target.ecsInstanceId", "CLB and PrivateLink are not both offered there"},
		"no PrivateLink": {func(w *world) { w.step.Links = links{zones{faketest.ZoneJ}} }, "target.ecsInstanceId", "CLB and PrivateLink are not both offered there"},
		"no room": {func(w *world) {
			for _, v := range []string{"vsw-src", "vsw-src-i"} {
				for w.VPC.TakeIP(v).IsValid() {
				}
			}
		}, "target.ecsInstanceId", "no vSwitch with a free address in " + faketest.ZoneI},
		"PrivateLink not activated": {func(w *world) { w.Link.SetOpen(false) }, "region", "activate PrivateLink"},
		"cluster admits nobody":     {func(w *world) { w.ES.SetGroup(faketest.Dst, "default", "127.0.0.1") }, "instanceId", "add 10.1.0.0/24"},
		"no such cluster":           {func(w *world) { w.run.Spec.InstanceID = "es-cn-nowhere" }, "instanceId", "there is no cluster"},
		"source outside the deployment": {func(w *world) {
			w.copies()
			w.lets("10.2.0.0/24")
			w.step.Network.SourceVPC = "vpc-other"
		}, "target.ecsInstanceId", "deploy eslink with vpc-src on this side"},
		"source admits nobody": {func(w *world) { w.copies() }, "target.ecsInstanceId", "add an ingress rule for TCP 9201 from 10.2.0.0/24 to " + faketest.SecurityGroup},
		"source admits half":   {func(w *world) { w.copies(); w.lets("10.2.0.0/25") }, "target.ecsInstanceId", "add an ingress rule"},
		"https without tls": {func(w *world) {
			w.copies()
			w.lets("10.2.0.0/24")
			w.run.Spec.UseCases[1].Protocol = "https"
		}, "target.tls", "say certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newHostWorld(t)
			c.spoil(w)
			found := w.findings()
			require.Len(t, found, 1, found)
			require.Contains(t, found[c.field], c.message)
			require.Equal(t, 1, strings.Count(found[c.field], "\n"), found)
		})
	}
}

// Without documents to copy, no function needs to reach the host, wherever it is.
func TestAHostOutsideTheDeployment(t *testing.T) {
	t.Parallel()
	w := newHostWorld(t)
	w.step.Network.SourceVPC = "vpc-other"
	w.Up(w.step, w.run)
	require.Equal(t, "vpc-src", w.run.Facts.Preflight.ECS.VpcID)
}

func TestFindingsOfBothEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := newHostWorld(t)
	w.ECS.SetStatus(faketest.Host, "Stopped")
	w.cluster("old", false, func(i *escluster.Instance) { i.OldNetwork, i.Zones = true, []string{faketest.ZoneJ} })
	found := w.findings()
	require.Contains(t, found["instanceId"], "old network architecture")
	require.Contains(t, found["target.ecsInstanceId"], "is Stopped")
	require.Contains(t, found["target.ecsInstanceId"], "not a normal zone")
}

func TestALaterWalkKeepsTheHostsVSwitch(t *testing.T) {
	t.Parallel()
	w := newHostWorld(t)
	w.Up(w.step, w.run)
	before := *w.run.Facts.Preflight
	w.run.Facts.CLB = &facts.CLB{ID: "lb-1"}
	for w.VPC.TakeIP(before.VSwitches[0].VSwitchID).IsValid() {
	}
	w.Up(w.step, w.run)
	require.Equal(t, before.VSwitches, w.run.Facts.Preflight.VSwitches)
}

func TestThrottledCallsToTheHostAreRepeated(t *testing.T) {
	t.Parallel()
	w := newHostWorld(t)
	w.copies()
	w.lets("10.2.0.0/24")
	w.Throttle()
	w.Up(w.step, w.run)
}

// What preflight chooses is what the balancer can be made of.
func TestTheChoiceMakesAClassicBalancer(t *testing.T) {
	t.Parallel()
	w := newHostWorld(t)
	w.Up(w.step, w.run)
	p := w.run.Facts.Preflight
	_, err := slb.New(w.Deps.Aliyun).CreateLoadBalancer(w.Context(), slb.NewLoadBalancer{Name: "eslink-test", VpcID: p.ECS.VpcID,
		VSwitchID: p.VSwitches[0].VSwitchID, ZoneID: p.Zone, TagKey: run.TagKey, TagValue: "x"}, "token")
	require.NoError(t, err)
}
