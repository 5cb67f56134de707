package nlb_test

import (
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/nlb"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/faketest"
	fake "eslink/localtest/fakes/nlb"
	"eslink/localtest/fakes/vpc"
)

// world adds NLB's calls, one per operation, as the V1 SDK sends them.
type world struct{ *faketest.World }

func newWorld(t *testing.T) *world {
	t.Parallel()
	return &world{faketest.New(t, 7)}
}

func (w *world) balancer(change func(*nlb.CreateLoadBalancerRequest)) (string, error) {
	req, resp := nlb.CreateCreateLoadBalancerRequest(), nlb.CreateCreateLoadBalancerResponse()
	req.VpcId, req.LoadBalancerName, req.AddressType, req.ClientToken = "vpc-src", "eslink-test", "Intranet", "token-1"
	req.Tag = &[]nlb.CreateLoadBalancerTag{{Key: "eslink", Value: "run1"}}
	req.ZoneMappings = &[]nlb.CreateLoadBalancerZoneMappings{
		{ZoneId: faketest.ZoneI, VSwitchId: "vsw-src-i"}, {ZoneId: faketest.ZoneJ, VSwitchId: "vsw-src-j"},
	}
	if change != nil {
		change(req)
	}
	err := w.Call("nlb", req, resp)
	require.Empty(w, resp.JobId)
	return resp.LoadbalancerId, err
}

func (w *world) describe(id string) (*nlb.GetLoadBalancerAttributeResponse, error) {
	req, resp := nlb.CreateGetLoadBalancerAttributeRequest(), nlb.CreateGetLoadBalancerAttributeResponse()
	req.LoadBalancerId = id
	return resp, w.Call("nlb", req, resp)
}

func (w *world) list(change func(*nlb.ListLoadBalancersRequest)) []nlb.LoadbalancerInfo {
	req, resp := nlb.CreateListLoadBalancersRequest(), nlb.CreateListLoadBalancersResponse()
	change(req)
	require.NoError(w, w.Call("nlb", req, resp))
	return resp.LoadBalancers
}

func (w *world) await(jobID string) time.Duration {
	w.Helper()
	require.NotEmpty(w, jobID)
	return w.Until(func() bool {
		req, resp := nlb.CreateGetJobStatusRequest(), nlb.CreateGetJobStatusResponse()
		req.JobId = jobID
		require.NoError(w, w.Call("nlb", req, resp))
		require.Contains(w, []string{"Processing", "Succeeded"}, resp.Status)
		return resp.Status == "Succeeded"
	})
}

func (w *world) group(change func(*nlb.CreateServerGroupRequest)) (string, string, error) {
	req, resp := nlb.CreateCreateServerGroupRequest(), nlb.CreateCreateServerGroupResponse()
	req.VpcId, req.ServerGroupName, req.ServerGroupType, req.Protocol, req.PreserveClientIpEnabled = "vpc-src", "eslink-test", "Ip", "TCP", "false"
	if change != nil {
		change(req)
	}
	err := w.Call("nlb", req, resp)
	return resp.ServerGroupId, resp.JobId, err
}

func (w *world) add(groupID, ip, port string) (string, error) {
	req, resp := nlb.CreateAddServersToServerGroupRequest(), nlb.CreateAddServersToServerGroupResponse()
	req.ServerGroupId = groupID
	req.Servers = &[]nlb.AddServersToServerGroupServers{{ServerType: "Ip", ServerId: ip, ServerIp: ip, Port: port, Weight: "100"}}
	err := w.Call("nlb", req, resp)
	return resp.JobId, err
}

func (w *world) listen(balancerID, groupID, protocol string) (string, string, error) {
	req, resp := nlb.CreateCreateListenerRequest(), nlb.CreateCreateListenerResponse()
	req.LoadBalancerId, req.ServerGroupId, req.ListenerProtocol, req.ListenerPort = balancerID, groupID, protocol, "9200"
	err := w.Call("nlb", req, resp)
	return resp.ListenerId, resp.JobId, err
}

func (w *world) deleteListener(id string) (string, error) {
	req, resp := nlb.CreateDeleteListenerRequest(), nlb.CreateDeleteListenerResponse()
	req.ListenerId = id
	err := w.Call("nlb", req, resp)
	return resp.JobId, err
}

func (w *world) deleteGroup(id string) (string, error) {
	req, resp := nlb.CreateDeleteServerGroupRequest(), nlb.CreateDeleteServerGroupResponse()
	req.ServerGroupId = id
	err := w.Call("nlb", req, resp)
	return resp.JobId, err
}

func (w *world) deleteBalancer(id string) (string, error) {
	req, resp := nlb.CreateDeleteLoadBalancerRequest(), nlb.CreateDeleteLoadBalancerResponse()
	req.LoadBalancerId = id
	err := w.Call("nlb", req, resp)
	return resp.JobId, err
}

func (w *world) health(listenerID string) []nlb.AbnormalServer {
	req, resp := nlb.CreateGetListenerHealthStatusRequest(), nlb.CreateGetListenerHealthStatusResponse()
	req.ListenerId = listenerID
	require.NoError(w, w.Call("nlb", req, resp))
	return resp.ListenerHealthStatus[0].ServerGroupInfos[0].NonNormalServers
}

// chain is a balancer, a group with Src's address, and a listener, all ready.
func (w *world) chain() (balancerID, groupID, listenerID string) {
	balancerID, err := w.balancer(nil)
	require.NoError(w, err)
	w.Until(func() bool { return w.NLB.LoadBalancers()[0].Status == "Active" })
	groupID, job, err := w.group(nil)
	require.NoError(w, err)
	w.await(job)
	job, err = w.add(groupID, w.ES.Instances()[1].Addresses[0].IP.String(), "9200")
	require.NoError(w, err)
	w.await(job)
	listenerID, job, err = w.listen(balancerID, groupID, "TCP")
	require.NoError(w, err)
	w.await(job)
	return balancerID, groupID, listenerID
}

func TestBalancerBecomesActiveAndShowsItsLocalAddresses(t *testing.T) {
	w := newWorld(t)
	id, err := w.balancer(nil)
	require.NoError(t, err)
	got, err := w.describe(id)
	require.NoError(t, err)
	require.Equal(t, "Provisioning", got.LoadBalancerStatus)
	require.Empty(t, got.ZoneMappings[0].LoadBalancerAddresses)
	took := w.Until(func() bool { got, err = w.describe(id); return got.LoadBalancerStatus == "Active" })
	require.GreaterOrEqual(t, took, 30*time.Second)
	require.Contains(t, got.GetHttpContentString(), `"Ipv4LocalAddresses":["10.2.`)
	require.Equal(t, "run1", got.Tags[0].TagValue)
	local := w.NLB.LoadBalancers()[0].Zones[1].Local
	require.Len(t, local, 2)
	require.NotEqual(t, local[0], local[1])
}

func TestListsLagWritesAndReadsDoNot(t *testing.T) {
	w := newWorld(t)
	id, err := w.balancer(nil)
	require.NoError(t, err)
	byTag := func(r *nlb.ListLoadBalancersRequest) {
		r.Tag = &[]nlb.ListLoadBalancersTag{{Key: "eslink", Value: "run1"}}
	}
	byName := func(r *nlb.ListLoadBalancersRequest) { r.LoadBalancerNames = &[]string{"eslink-test"} }
	require.Empty(t, w.list(byTag))
	require.Empty(t, w.list(byName))
	took := w.Until(func() bool { return len(w.list(byTag)) == 1 })
	require.LessOrEqual(t, took, 2*time.Minute)
	require.Equal(t, id, w.list(byName)[0].LoadBalancerId)
	require.Empty(t, w.list(func(r *nlb.ListLoadBalancersRequest) {
		r.Tag = &[]nlb.ListLoadBalancersTag{{Key: "eslink", Value: "run2"}}
	}))
	w.Until(func() bool { return w.NLB.LoadBalancers()[0].Status == "Active" })
	job, err := w.deleteBalancer(id)
	require.NoError(t, err)
	w.await(job)
	_, err = w.describe(id)
	w.Refused("ResourceNotFound.loadBalancer", err)
	require.Equal(t, "Deleting", w.list(byTag)[0].LoadBalancerStatus)
	w.Until(func() bool { return len(w.list(byTag)) == 0 })
}

func TestTokenReplays(t *testing.T) {
	w := newWorld(t)
	first, err := w.balancer(nil)
	require.NoError(t, err)
	again, err := w.balancer(nil)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Len(t, w.NLB.LoadBalancers(), 1)
	_, err = w.balancer(func(r *nlb.CreateLoadBalancerRequest) { r.LoadBalancerName = "other" })
	require.Error(t, err)
	other, err := w.balancer(func(r *nlb.CreateLoadBalancerRequest) { r.ClientToken = "token-2" })
	require.NoError(t, err)
	require.NotEqual(t, first, other, "names are not unique")
}

func TestBalancerRefusals(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		code   string
		change func(*nlb.CreateLoadBalancerRequest)
	}{
		{"InvalidZones", func(r *nlb.CreateLoadBalancerRequest) {
			r.ZoneMappings = &[]nlb.CreateLoadBalancerZoneMappings{{ZoneId: faketest.ZoneI, VSwitchId: "vsw-src-i"}}
		}},
		{"OperationFailed.DuplicateZones.", func(r *nlb.CreateLoadBalancerRequest) {
			r.ZoneMappings = &[]nlb.CreateLoadBalancerZoneMappings{{ZoneId: faketest.ZoneI, VSwitchId: "vsw-src-i"}, {ZoneId: faketest.ZoneI, VSwitchId: "vsw-src"}}
		}},
		{"Mismatch.ZoneIdAndVswitchId", func(r *nlb.CreateLoadBalancerRequest) { (*r.ZoneMappings)[1].VSwitchId = "vsw-src" }},
		{"Mismatch.VpcIdAndVswitchId", func(r *nlb.CreateLoadBalancerRequest) { (*r.ZoneMappings)[1].VSwitchId = "vsw-dst-j" }},
		{"ResourceNotFound.VSwitch", func(r *nlb.CreateLoadBalancerRequest) { (*r.ZoneMappings)[1].VSwitchId = "vsw-none" }},
		{"ResourceNotFound.Vpc", func(r *nlb.CreateLoadBalancerRequest) { r.VpcId = "vpc-none" }},
		{"IllegalParam.loadBalancerName", func(r *nlb.CreateLoadBalancerRequest) { r.LoadBalancerName = "1name" }},
		{"IllegalParam.AddressType", func(r *nlb.CreateLoadBalancerRequest) { r.AddressType = "intranet" }},
		{"DryRunOperation", func(r *nlb.CreateLoadBalancerRequest) { r.DryRun = "true" }},
	} {
		_, err := w.balancer(c.change)
		w.Refused(c.code, err)
	}
	require.Empty(t, w.NLB.LoadBalancers())
}

func TestOneZoneIsEnoughWhereThereIsOnlyOne(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.VPC.AddVPC(vpc.VPC{ID: "vpc-small", CIDR: "10.3.0.0/16"}))
	require.NoError(t, w.VPC.AddVSwitch(vpc.VSwitch{ID: "vsw-small", VpcID: "vpc-small", ZoneID: faketest.ZoneI, CIDR: "10.3.0.0/29"}))
	create := func(token string) error {
		_, err := w.balancer(func(r *nlb.CreateLoadBalancerRequest) {
			r.VpcId, r.ClientToken = "vpc-small", token
			r.ZoneMappings = &[]nlb.CreateLoadBalancerZoneMappings{{ZoneId: faketest.ZoneI, VSwitchId: "vsw-small"}}
		})
		return err
	}
	require.NoError(t, create("1"))
	w.Refused("ResourceNotEnough.VSwitchIp", create("2"))
	require.Len(t, w.NLB.LoadBalancers(), 1)
}

func TestCreateFailed(t *testing.T) {
	w := newWorld(t)
	w.NLB.FailCreate(func(name string) bool { return name == "eslink-test" })
	id, err := w.balancer(nil)
	require.NoError(t, err)
	w.Until(func() bool { return w.NLB.LoadBalancers()[0].Status == "CreateFailed" })
	groupID, job, err := w.group(nil)
	require.NoError(t, err)
	w.await(job)
	_, _, err = w.listen(id, groupID, "TCP")
	w.Refused("IncorrectStatus.loadbalancer", err)
	job, err = w.deleteBalancer(id) // all that it is good for
	require.NoError(t, err)
	w.await(job)
	require.Empty(t, w.NLB.LoadBalancers())
}

func TestWritesWaitForEachOther(t *testing.T) {
	w := newWorld(t)
	id, err := w.balancer(nil)
	require.NoError(t, err)
	_, err = w.deleteBalancer(id)
	w.Refused("ResourceInCreating.loadbalancer", err)
	groupID, job, err := w.group(nil)
	require.NoError(t, err)
	_, err = w.add(groupID, "10.2.0.9", "9200")
	w.Refused("IncorrectStatus.serverGroup", err)
	w.await(job)
	_, _, err = w.listen(id, groupID, "TCP")
	w.Refused("IncorrectStatus.loadbalancer", err)
	w.Until(func() bool { return w.NLB.LoadBalancers()[0].Status == "Active" })

	job, err = w.add(groupID, "10.2.0.9", "9200")
	require.NoError(t, err)
	require.Equal(t, "Adding", w.NLB.ServerGroups()[0].Servers[0].Status)
	_, _, err = w.listen(id, groupID, "TCP")
	w.Refused("IncorrectStatus.serverGroup", err)
	w.await(job)
	_, err = w.add(groupID, "10.2.0.9", "9200")
	w.Refused("ResourceAlreadyAssociated.BackendServer", err)
	_, err = w.add(groupID, "8.8.8.8", "9200")
	w.Refused("IllegalParam.Servers", err)

	listenerID, job, err := w.listen(id, groupID, "TCP")
	require.NoError(t, err)
	require.Regexp(t, `^lsn-[0-9a-z]+@9200$`, listenerID)
	_, err = w.deleteListener(listenerID)
	w.Refused("IncorrectStatus.listener", err)
	_, err = w.deleteBalancer(id)
	w.Refused("ResourceInConfiguring.loadbalancer", err)
	w.await(job)
	_, _, err = w.listen(id, groupID, "TCP")
	w.Refused("ResourceAlreadyExist.Listener", err)
}

func TestDeletionInTheWrongOrder(t *testing.T) {
	w := newWorld(t)
	balancerID, groupID, listenerID := w.chain()
	_, err := w.deleteBalancer(balancerID)
	w.Refused("ResourceInUse.loadBalancer", err)
	_, err = w.deleteGroup(groupID)
	w.Refused("ResourceInUse.ServerGroup", err)
	job, err := w.deleteListener(listenerID)
	require.NoError(t, err)
	_, err = w.deleteGroup(groupID)
	w.Refused("ResourceInUse.ServerGroup", err)
	w.await(job)
	job, err = w.deleteGroup(groupID)
	require.NoError(t, err)
	w.await(job)

	protect := nlb.CreateUpdateLoadBalancerProtectionRequest()
	protect.LoadBalancerId, protect.DeletionProtectionEnabled = balancerID, "true"
	require.NoError(t, w.Call("nlb", protect, nlb.CreateUpdateLoadBalancerProtectionResponse()))
	_, err = w.deleteBalancer(balancerID)
	w.Refused("OperationDenied.DeletionProtectionEnabled", err)
	protect.DeletionProtectionEnabled = "false"
	require.NoError(t, w.Call("nlb", protect, nlb.CreateUpdateLoadBalancerProtectionResponse()))
	job, err = w.deleteBalancer(balancerID)
	require.NoError(t, err)
	_, err = w.deleteBalancer(balancerID)
	w.Refused("IncorrectStatus.loadbalancer", err)
	w.await(job)
	require.Empty(t, w.NLB.LoadBalancers())
	require.Empty(t, w.NLB.Listeners())
	require.Empty(t, w.NLB.ServerGroups())
}

func TestHealthComesFromTheDataPlane(t *testing.T) {
	w := newWorld(t)
	_, _, listenerID := w.chain()
	require.Equal(t, "Initial", w.health(listenerID)[0].Status)
	w.Advance(time.Minute)
	bad := w.health(listenerID)
	require.Equal(t, "Unhealthy", bad[0].Status)
	require.Equal(t, "CONNECT_TIMEOUT", bad[0].Reason.ReasonCode, "the whitelist drops the balancer")
	w.ES.SetGroup(faketest.Src, "eslink", "10.2.1.0/24")
	require.NotEmpty(t, w.health(listenerID), "zone j is still dropped")
	w.ES.SetGroup(faketest.Src, "eslink", "10.2.1.0/24", "10.2.2.0/24")
	require.Empty(t, w.health(listenerID))
	w.ES.SetStatus(faketest.Src, "inactive")
	require.Equal(t, "CONNECT_FAILED", w.health(listenerID)[0].Reason.ReasonCode)
}

func TestServerGroupReadsByIDDoNotLag(t *testing.T) {
	w := newWorld(t)
	id, _, err := w.group(func(r *nlb.CreateServerGroupRequest) { r.PreserveClientIpEnabled = "" })
	require.NoError(t, err)
	list := func(change func(*nlb.ListServerGroupsRequest)) []nlb.ServerGroup {
		req, resp := nlb.CreateListServerGroupsRequest(), nlb.CreateListServerGroupsResponse()
		change(req)
		require.NoError(t, w.Call("nlb", req, resp))
		return resp.ServerGroups
	}
	byID := list(func(r *nlb.ListServerGroupsRequest) { r.ServerGroupIds = &[]string{id} })
	require.Equal(t, "Creating", byID[0].ServerGroupStatus)
	require.True(t, byID[0].PreserveClientIpEnabled, "the default that must be switched off")
	byName := func(r *nlb.ListServerGroupsRequest) { r.ServerGroupNames = &[]string{"eslink-test"} }
	require.Empty(t, list(byName))
	w.Until(func() bool { return len(list(byName)) == 1 })
}

func TestRemovedByHand(t *testing.T) {
	w := newWorld(t)
	balancerID, _, listenerID := w.chain()
	w.NLB.Remove(listenerID)
	require.Empty(t, w.NLB.Listeners())
	w.NLB.Remove(balancerID)
	_, err := w.describe(balancerID)
	w.Refused("ResourceNotFound.loadBalancer", err)
	require.Equal(t, []fake.LoadBalancer(nil), w.NLB.LoadBalancers())
}
