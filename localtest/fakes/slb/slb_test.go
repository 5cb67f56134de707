package slb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/slb"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/faketest"
	"eslink/localtest/fakes/privatelink"
	fake "eslink/localtest/fakes/slb"
)

// world adds CLB's calls, one per operation, as the V1 SDK sends them.
type world struct{ *faketest.World }

func newWorld(t *testing.T) *world {
	t.Parallel()
	return &world{faketest.New(t, 7)}
}

func (w *world) balancer(change func(*slb.CreateLoadBalancerRequest)) (string, error) {
	req, resp := slb.CreateCreateLoadBalancerRequest(), slb.CreateCreateLoadBalancerResponse()
	req.LoadBalancerName, req.AddressType, req.VpcId, req.VSwitchId, req.MasterZoneId = "eslink-test", "intranet", "vpc-src", "vsw-src-i", faketest.ZoneI
	req.PayType, req.InstanceChargeType, req.ClientToken = "PayOnDemand", "PayByCLCU", "token-1"
	req.Tag = &[]slb.CreateLoadBalancerTag{{Key: "eslink", Value: "run1"}}
	if change != nil {
		change(req)
	}
	err := w.Call("slb", req, resp)
	return resp.LoadBalancerId, err
}

func (w *world) describe(id string) (*slb.DescribeLoadBalancerAttributeResponse, error) {
	req, resp := slb.CreateDescribeLoadBalancerAttributeRequest(), slb.CreateDescribeLoadBalancerAttributeResponse()
	req.LoadBalancerId = id
	return resp, w.Call("slb", req, resp)
}

func (w *world) list(change func(*slb.DescribeLoadBalancersRequest)) []slb.LoadBalancer {
	req, resp := slb.CreateDescribeLoadBalancersRequest(), slb.CreateDescribeLoadBalancersResponse()
	change(req)
	require.NoError(w, w.Call("slb", req, resp))
	return resp.LoadBalancers.LoadBalancer
}

func (w *world) group(balancer, servers string) (string, error) {
	req, resp := slb.CreateCreateVServerGroupRequest(), slb.CreateCreateVServerGroupResponse()
	req.LoadBalancerId, req.VServerGroupName, req.BackendServers = balancer, "eslink-test", servers
	err := w.Call("slb", req, resp)
	return resp.VServerGroupId, err
}

func (w *world) groups(balancer string) []slb.VServerGroup {
	req, resp := slb.CreateDescribeVServerGroupsRequest(), slb.CreateDescribeVServerGroupsResponse()
	req.LoadBalancerId = balancer
	require.NoError(w, w.Call("slb", req, resp))
	return resp.VServerGroups.VServerGroup
}

func (w *world) describeGroup(id string) (*slb.DescribeVServerGroupAttributeResponse, error) {
	req, resp := slb.CreateDescribeVServerGroupAttributeRequest(), slb.CreateDescribeVServerGroupAttributeResponse()
	req.VServerGroupId = id
	return resp, w.Call("slb", req, resp)
}

func (w *world) deleteGroup(id string) error {
	req := slb.CreateDeleteVServerGroupRequest()
	req.VServerGroupId = id
	return w.Call("slb", req, slb.CreateDeleteVServerGroupResponse())
}

func (w *world) add(group, servers string) error {
	req := slb.CreateAddVServerGroupBackendServersRequest()
	req.VServerGroupId, req.BackendServers = group, servers
	return w.Call("slb", req, slb.CreateAddVServerGroupBackendServersResponse())
}

func (w *world) listen(balancer, group string, change func(*slb.CreateLoadBalancerTCPListenerRequest)) error {
	req := slb.CreateCreateLoadBalancerTCPListenerRequest()
	req.LoadBalancerId, req.VServerGroupId, req.ListenerPort, req.Bandwidth, req.HealthCheckInterval = balancer, group, "8080", "-1", "2"
	if change != nil {
		change(req)
	}
	return w.Call("slb", req, slb.CreateCreateLoadBalancerTCPListenerResponse())
}

func (w *world) start(balancer string) error {
	req := slb.CreateStartLoadBalancerListenerRequest()
	req.LoadBalancerId, req.ListenerPort, req.ListenerProtocol = balancer, "8080", "tcp"
	return w.Call("slb", req, slb.CreateStartLoadBalancerListenerResponse())
}

func (w *world) stop(balancer string) error {
	req := slb.CreateStopLoadBalancerListenerRequest()
	req.LoadBalancerId, req.ListenerPort = balancer, "8080"
	return w.Call("slb", req, slb.CreateStopLoadBalancerListenerResponse())
}

func (w *world) deleteListener(balancer string) error {
	req := slb.CreateDeleteLoadBalancerListenerRequest()
	req.LoadBalancerId, req.ListenerPort, req.ListenerProtocol = balancer, "8080", "tcp"
	return w.Call("slb", req, slb.CreateDeleteLoadBalancerListenerResponse())
}

func (w *world) status(balancer string) (string, error) {
	req, resp := slb.CreateDescribeLoadBalancerTCPListenerAttributeRequest(), slb.CreateDescribeLoadBalancerTCPListenerAttributeResponse()
	req.LoadBalancerId, req.ListenerPort = balancer, "8080"
	err := w.Call("slb", req, resp)
	return resp.Status, err
}

func (w *world) health(balancer string) string {
	req, resp := slb.CreateDescribeHealthStatusRequest(), slb.CreateDescribeHealthStatusResponse()
	req.LoadBalancerId, req.ListenerPort = balancer, "8080"
	require.NoError(w, w.Call("slb", req, resp))
	require.Len(w, resp.BackendServers.BackendServer, 1)
	require.Equal(w, faketest.Host, resp.BackendServers.BackendServer[0].ServerId)
	return resp.BackendServers.BackendServer[0].ServerHealthStatus
}

func (w *world) deleteBalancer(id string) error {
	req := slb.CreateDeleteLoadBalancerRequest()
	req.LoadBalancerId = id
	return w.Call("slb", req, slb.CreateDeleteLoadBalancerResponse())
}

func server(port int) string {
	return fmt.Sprintf(`[{"ServerId":%q,"Port":"%d","Weight":"100","Type":"ecs"}]`, faketest.Host, port)
}

// chain is a balancer, a group with Host, and a listener, all ready; it runs.
func (w *world) chain() (balancer, group string) {
	balancer, err := w.balancer(nil)
	require.NoError(w, err)
	w.Advance(time.Minute)
	group, err = w.group(balancer, server(8080))
	require.NoError(w, err)
	w.Advance(time.Minute)
	require.NoError(w, w.listen(balancer, group, nil))
	w.Advance(time.Minute)
	require.NoError(w, w.start(balancer))
	w.Advance(time.Minute)
	return balancer, group
}

func TestBalancerBecomesActive(t *testing.T) {
	w := newWorld(t)
	id, err := w.balancer(nil)
	require.NoError(t, err)
	got, err := w.describe(id)
	require.NoError(t, err)
	require.Equal(t, "inactive", got.LoadBalancerStatus)
	took := w.Until(func() bool { got, err = w.describe(id); return got.LoadBalancerStatus == "active" })
	require.GreaterOrEqual(t, took, 3*time.Second)
	require.Equal(t, "slb.lcu.elastic", got.LoadBalancerSpec)
	require.Equal(t, "intranet", got.AddressType)
	require.Equal(t, faketest.ZoneI, got.MasterZoneId)
	require.Regexp(t, `^10\.2\.1\.`, got.Address)
	require.Equal(t, "run1", got.Tags.Tag[0].TagValue)
}

func TestOnlyCreationTakesAToken(t *testing.T) {
	w := newWorld(t)
	a, err := w.balancer(nil)
	require.NoError(t, err)
	b, err := w.balancer(nil)
	require.NoError(t, err)
	require.Equal(t, a, b)
	_, err = w.balancer(func(r *slb.CreateLoadBalancerRequest) { r.VSwitchId = "vsw-src" })
	w.Refused("IdempotentParameterMismatch", err)
	w.Advance(time.Minute)
	_, err = w.group(a, server(8080))
	require.NoError(t, err)
	w.Advance(time.Minute)
	_, err = w.group(a, server(8080))
	require.NoError(t, err)
	require.Len(t, w.CLB.Groups(), 2, "names are not unique")
}

func TestListsLagWritesAndReadsDoNot(t *testing.T) {
	w := newWorld(t)
	id, err := w.balancer(nil)
	require.NoError(t, err)
	_, err = w.describe(id)
	require.NoError(t, err)
	byTag := func(r *slb.DescribeLoadBalancersRequest) {
		r.Tag = &[]slb.DescribeLoadBalancersTag{{Key: "eslink", Value: "run1"}}
	}
	took := w.Until(func() bool { return len(w.list(byTag)) == 1 })
	require.NotZero(t, took)
	require.LessOrEqual(t, took, 2*time.Minute)
	require.Empty(t, w.list(func(r *slb.DescribeLoadBalancersRequest) { r.LoadBalancerName = "another" }))
	require.Empty(t, w.list(func(r *slb.DescribeLoadBalancersRequest) {
		r.Tag = &[]slb.DescribeLoadBalancersTag{{Key: "eslink", Value: "run2"}}
	}))
	w.Advance(time.Minute)
	group, err := w.group(id, server(8080))
	require.NoError(t, err)
	_, err = w.describeGroup(group)
	require.NoError(t, err)
	require.NotZero(t, w.Until(func() bool { return len(w.groups(id)) == 1 }))

	require.NoError(t, w.deleteBalancer(id))
	_, err = w.describe(id)
	w.Refused("InvalidLoadBalancerId.NotFound", err)
	require.Len(t, w.list(byTag), 1, "a list shows for a while what is gone")
	w.Until(func() bool { return len(w.list(byTag)) == 0 })
}

func TestListsHavePages(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		_, err := w.balancer(func(r *slb.CreateLoadBalancerRequest) { r.ClientToken = fmt.Sprint(i) })
		require.NoError(t, err)
	}
	w.Advance(time.Hour)
	seen := map[string]bool{}
	for page := 1; page <= 3; page++ {
		for _, lb := range w.list(func(r *slb.DescribeLoadBalancersRequest) { r.PageNumber, r.PageSize = requests.NewInteger(page), "2" }) {
			seen[lb.LoadBalancerId] = true
		}
	}
	require.Len(t, seen, 5)
}

func TestWaysOfPaying(t *testing.T) {
	w := newWorld(t)
	bySpec := func(spec string) func(*slb.CreateLoadBalancerRequest) {
		return func(r *slb.CreateLoadBalancerRequest) {
			r.InstanceChargeType, r.LoadBalancerSpec, r.ClientToken = "", spec, "spec"+spec
		}
	}
	_, err := w.balancer(bySpec("slb.s1.small"))
	w.Refused("InvalidParameter", err)
	w.CLB.SellBySpec()
	_, err = w.balancer(nil)
	w.Refused("InvalidParameter", err)
	_, err = w.balancer(bySpec(""))
	w.Refused("InvalidParameter", err) // a shared one is not sold
	_, err = w.balancer(bySpec("slb.s1.small"))
	require.NoError(t, err)
	require.Equal(t, "slb.s1.small", w.CLB.LoadBalancers()[0].Spec)
}

func TestBalancerRefusals(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		code   string
		change func(*slb.CreateLoadBalancerRequest)
	}{
		{"NotImplemented", func(r *slb.CreateLoadBalancerRequest) { r.AddressType = "" }}, // a public one
		{"InvalidVSwitchId.NotFound", func(r *slb.CreateLoadBalancerRequest) { r.VSwitchId = "vsw-dst" }},
		{"ResourceNotAvailable", func(r *slb.CreateLoadBalancerRequest) { r.MasterZoneId = "cn-hangzhou-x" }},
		{"InvalidParameter", func(r *slb.CreateLoadBalancerRequest) { r.VSwitchId = "vsw-src-j" }},
		{"InvalidParameter", func(r *slb.CreateLoadBalancerRequest) { r.PayType = "PrePay" }},
		{"InvalidParameter", func(r *slb.CreateLoadBalancerRequest) { r.LoadBalancerName = "ä b" }},
		{"InvalidParameter", func(r *slb.CreateLoadBalancerRequest) { r.LoadBalancerSpec = "slb.s1.small" }},
	} {
		_, err := w.balancer(c.change)
		w.Refused(c.code, err)
	}
	require.Empty(t, w.CLB.LoadBalancers())
}

func TestABusyBalancerRefusesWrites(t *testing.T) {
	w := newWorld(t)
	id, err := w.balancer(nil)
	require.NoError(t, err)
	_, err = w.group(id, server(8080))
	w.Refused("OperationBusy", err) // inactive
	w.Advance(time.Minute)
	codes := map[string]bool{}
	for i := range 20 { // for how long it is busy is drawn
		if _, err := w.group(id, server(8080)); err != nil {
			w.Refused("VServerGroupProcessing", err)
			codes["VServerGroupProcessing"] = true
		}
		if i%2 == 1 {
			w.Advance(6 * time.Second)
		}
	}
	require.NotEmpty(t, codes)
}

func TestServersHaveToBeThere(t *testing.T) {
	w := newWorld(t)
	id, err := w.balancer(nil)
	require.NoError(t, err)
	w.Advance(time.Minute)
	for servers, code := range map[string]string{
		`[{"ServerId":"i-none","Port":"8080"}]`:                               "InvalidBackendServers",
		`[{"ServerId":"` + faketest.Host + `","Port":8080}]`:                  "InvalidParameter", // values are strings
		`[{"ServerId":"` + faketest.Host + `","Port":"0"}]`:                   "InvalidParameter",
		`[{"ServerId":"` + faketest.Host + `","Port":"8080","Weight":"101"}]`: "InvalidParameter",
		`[{"serverId":"` + faketest.Host + `","Port":"8080"}]`:                "InvalidParameter",
		`nonsense`: "InvalidParameter",
	} {
		_, err := w.group(id, servers)
		w.Refused(code, err)
	}
	w.ECS.SetStatus(faketest.Host, "Stopped")
	_, err = w.group(id, server(8080))
	w.Refused("BackendServer.NotRunning", err)
	w.ECS.SetStatus(faketest.Host, "Running")
	group, err := w.group(id, "")
	require.NoError(t, err)
	w.Advance(time.Minute)
	for range 2 { // added already is no error
		require.NoError(t, w.add(group, server(8080)))
		w.Advance(time.Minute)
	}
	got, err := w.describeGroup(group)
	require.NoError(t, err)
	require.Len(t, got.BackendServers.BackendServer, 1)
	require.Equal(t, id, got.LoadBalancerId)
}

func TestAListenerIsBornStopped(t *testing.T) {
	w := newWorld(t)
	id, err := w.balancer(nil)
	require.NoError(t, err)
	w.Advance(time.Minute)
	group, err := w.group(id, server(8080))
	require.NoError(t, err)
	w.Advance(time.Minute)
	w.Refused("InvalidParameter", w.listen(id, "rsp-none", nil))
	w.Refused("InvalidParameter", w.listen(id, group, func(r *slb.CreateLoadBalancerTCPListenerRequest) { r.HealthyThreshold = "1" }))
	w.Refused("MissingParameter", w.listen(id, group, func(r *slb.CreateLoadBalancerTCPListenerRequest) { r.Bandwidth = "" }))
	require.NoError(t, w.listen(id, group, nil))
	w.Advance(time.Minute)
	w.Refused("ListenerAlreadyExists", w.listen(id, group, nil))
	status, err := w.status(id)
	require.NoError(t, err)
	require.Equal(t, "stopped", status)
	require.Equal(t, "unavailable", w.health(id))
	w.Refused("ServiceIsConfiguring", w.stop(id))
	require.NoError(t, w.start(id))
	status, _ = w.status(id)
	require.Equal(t, "starting", status)
	w.Until(func() bool { status, _ = w.status(id); return status == "running" })
	got, err := w.describe(id)
	require.NoError(t, err)
	require.Equal(t, []slb.ListenerPortAndProtocol{{ListenerPort: 8080, ListenerProtocol: "tcp"}}, got.ListenerPortsAndProtocol.ListenerPortAndProtocol)
	w.Advance(time.Minute)
	w.Refused("ServiceIsConfiguring", w.start(id))
	require.NoError(t, w.stop(id))
	require.Error(t, w.deleteListener(id), "stopping")
	w.Advance(time.Minute)
	require.NoError(t, w.deleteListener(id), "stopped or running, both can be deleted")
	_, err = w.status(id)
	w.Refused("InvalidParameter", err)
}

func TestHealthTakesTimeAndAsksTheDataPlane(t *testing.T) {
	w := newWorld(t)
	id, _ := w.chain()
	require.Equal(t, "abnormal", w.health(id), "nobody listens, nothing is admitted")
	w.CLB.SetProbe(func(lb fake.LoadBalancer, l fake.Listener, s fake.Server) bool {
		return lb.ID == id && l.Port == 8080 && s.ID == faketest.Host && s.Port == 8080
	})
	require.Equal(t, "normal", w.health(id))
	require.NoError(t, w.stop(id))
	w.Advance(time.Minute)
	require.Equal(t, "unavailable", w.health(id))
	require.NoError(t, w.start(id))
	var status string
	w.Until(func() bool { status, _ = w.status(id); return status == "running" })
	require.Equal(t, "unavailable", w.health(id), "no check yet")
	w.Advance(10 * time.Second)
	require.Equal(t, "normal", w.health(id))
}

func TestTheOrderOfDeletion(t *testing.T) {
	w := newWorld(t)
	id, group := w.chain()
	w.Refused("RspoolVipExist", w.deleteGroup(group))
	require.NoError(t, w.deleteListener(id))
	w.Advance(time.Minute)
	require.NoError(t, w.deleteGroup(group))
	_, err := w.describeGroup(group)
	w.Refused("InvalidParameter", err)
	w.Advance(time.Minute)
	w.CLB.SetAttached(func(string) bool { return true })
	w.Refused("OperationFailed.InUseByPrivateLink", w.deleteBalancer(id))
	w.CLB.SetAttached(func(string) bool { return false })
	req := slb.CreateSetLoadBalancerDeleteProtectionRequest()
	req.LoadBalancerId, req.DeleteProtection = id, "on"
	require.NoError(t, w.Call("slb", req, slb.CreateSetLoadBalancerDeleteProtectionResponse()))
	w.Refused("OperationDenied.DeleteProtection", w.deleteBalancer(id))
	req.DeleteProtection = "off"
	require.NoError(t, w.Call("slb", req, slb.CreateSetLoadBalancerDeleteProtectionResponse()))
	require.NoError(t, w.deleteBalancer(id))
	w.Refused("InvalidLoadBalancerId.NotFound", w.deleteBalancer(id))
}

func TestABalancerTakesAllAlong(t *testing.T) {
	w := newWorld(t)
	id, _ := w.chain()
	require.NoError(t, w.deleteBalancer(id))
	require.Empty(t, w.CLB.LoadBalancers())
	require.Empty(t, w.CLB.Listeners())
	require.Empty(t, w.CLB.Groups())
}

func TestOneZoneServesPrivateLink(t *testing.T) {
	w := newWorld(t)
	id, err := w.balancer(nil)
	require.NoError(t, err)
	_, _, _, ok := w.CLB.Locate(id, faketest.ZoneI)
	require.False(t, ok, "not active yet")
	w.Advance(time.Minute)
	vpc, vswitch, _, ok := w.CLB.Locate(id, faketest.ZoneI)
	require.True(t, ok)
	require.Equal(t, "vpc-src vsw-src-i", vpc+" "+vswitch)
	_, _, _, ok = w.CLB.Locate(id, faketest.ZoneJ)
	require.False(t, ok)
	var _ privatelink.Balancers = w.CLB
}

func TestZonesAreSoldInPairs(t *testing.T) {
	w := newWorld(t)
	req, resp := slb.CreateDescribeAvailableResourceRequest(), slb.CreateDescribeAvailableResourceResponse()
	req.AddressType = "vpc"
	require.NoError(t, w.Call("slb", req, resp))
	found := resp.AvailableResources.AvailableResource
	require.Len(t, found, 2)
	require.Equal(t, faketest.ZoneI+" "+faketest.ZoneJ, found[0].MasterZoneId+" "+found[0].SlaveZoneId)
}

func TestTags(t *testing.T) {
	w := newWorld(t)
	id, err := w.balancer(nil)
	require.NoError(t, err)
	req := slb.CreateTagResourcesRequest()
	req.ResourceType, req.ResourceId, req.Tag = "instance", &[]string{id}, &[]slb.TagResourcesTag{{Key: "more", Value: "x"}}
	require.NoError(t, w.Call("slb", req, slb.CreateTagResourcesResponse()))
	w.Advance(2 * time.Minute)
	list, resp := slb.CreateListTagResourcesRequest(), slb.CreateListTagResourcesResponse()
	list.ResourceType, list.ResourceId = "instance", &[]string{id}
	require.NoError(t, w.Call("slb", list, resp))
	require.Len(t, resp.TagResources.TagResource, 2)
}
