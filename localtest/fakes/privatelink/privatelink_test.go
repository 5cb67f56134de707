package privatelink_test

import (
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/nlb"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/privatelink"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/faketest"
	fake "eslink/localtest/fakes/privatelink"
)

type world struct {
	*faketest.World
	balancer string // Active, in zones i and j
}

func newWorld(t *testing.T) *world {
	t.Parallel()
	w := &world{World: faketest.New(t, 11)}
	req, resp := nlb.CreateCreateLoadBalancerRequest(), nlb.CreateCreateLoadBalancerResponse()
	req.VpcId, req.AddressType = "vpc-src", "Intranet"
	req.ZoneMappings = &[]nlb.CreateLoadBalancerZoneMappings{
		{ZoneId: faketest.ZoneI, VSwitchId: "vsw-src-i"}, {ZoneId: faketest.ZoneJ, VSwitchId: "vsw-src-j"},
	}
	require.NoError(t, w.Call("nlb", req, resp))
	w.balancer = resp.LoadbalancerId
	w.Until(func() bool { return w.NLB.LoadBalancers()[0].Status == "Active" })
	return w
}

func (w *world) create(change func(*privatelink.CreateVpcEndpointServiceRequest)) (string, error) {
	req, resp := privatelink.CreateCreateVpcEndpointServiceRequest(), privatelink.CreateCreateVpcEndpointServiceResponse()
	req.RegionId, req.ServiceResourceType, req.ClientToken = faketest.Region, "nlb", "token-1"
	req.Resource = &[]privatelink.CreateVpcEndpointServiceResource{{ResourceType: "nlb", ResourceId: w.balancer, ZoneId: faketest.ZoneI}}
	req.Tag = &[]privatelink.CreateVpcEndpointServiceTag{{Key: "eslink", Value: "run1"}}
	if change != nil {
		change(req)
	}
	err := w.Call("privatelink", req, resp)
	return resp.ServiceId, err
}

func (w *world) service() string {
	w.Helper()
	id, err := w.create(nil)
	require.NoError(w, err)
	w.Until(func() bool { return w.Link.Services()[0].Status == "Active" })
	return id
}

func (w *world) endpoint(serviceID, owner string) string {
	w.Helper()
	e, err := w.Link.AddForeignEndpoint(serviceID, faketest.ZoneI, owner)
	require.NoError(w, err)
	w.Until(func() bool { return w.find(e.ID).Status == "Active" })
	return e.ID
}

func (w *world) find(endpointID string) fake.Endpoint {
	for _, e := range w.Link.Endpoints() {
		if e.ID == endpointID {
			return e
		}
	}
	return fake.Endpoint{}
}

func (w *world) enable(serviceID, endpointID string) error {
	req := privatelink.CreateEnableVpcEndpointConnectionRequest()
	req.RegionId, req.ServiceId, req.EndpointId = faketest.Region, serviceID, endpointID
	return w.Call("privatelink", req, privatelink.CreateEnableVpcEndpointConnectionResponse())
}

func (w *world) disable(serviceID, endpointID string) error {
	req := privatelink.CreateDisableVpcEndpointConnectionRequest()
	req.RegionId, req.ServiceId, req.EndpointId = faketest.Region, serviceID, endpointID
	return w.Call("privatelink", req, privatelink.CreateDisableVpcEndpointConnectionResponse())
}

func (w *world) attach(serviceID, zone string) error {
	req := privatelink.CreateAttachResourceToVpcEndpointServiceRequest()
	req.RegionId, req.ServiceId, req.ResourceType, req.ResourceId, req.ZoneId = faketest.Region, serviceID, "nlb", w.balancer, zone
	return w.Call("privatelink", req, privatelink.CreateAttachResourceToVpcEndpointServiceResponse())
}

func (w *world) detach(serviceID, zone string) error {
	req := privatelink.CreateDetachResourceFromVpcEndpointServiceRequest()
	req.RegionId, req.ServiceId, req.ResourceType, req.ResourceId, req.ZoneId = faketest.Region, serviceID, "nlb", w.balancer, zone
	return w.Call("privatelink", req, privatelink.CreateDetachResourceFromVpcEndpointServiceResponse())
}

func (w *world) delete(serviceID string) error {
	req := privatelink.CreateDeleteVpcEndpointServiceRequest()
	req.RegionId, req.ServiceId = faketest.Region, serviceID
	return w.Call("privatelink", req, privatelink.CreateDeleteVpcEndpointServiceResponse())
}

func (w *world) connections(serviceID string) []privatelink.Connection {
	req, resp := privatelink.CreateListVpcEndpointConnectionsRequest(), privatelink.CreateListVpcEndpointConnectionsResponse()
	req.RegionId, req.ServiceId = faketest.Region, serviceID
	require.NoError(w, w.Call("privatelink", req, resp))
	return resp.Connections
}

func TestServiceIsCreatedAndFound(t *testing.T) {
	w := newWorld(t)
	id, err := w.create(nil)
	require.NoError(t, err)
	again, err := w.create(nil)
	require.NoError(t, err)
	require.Equal(t, id, again, "the token replays")

	get, got := privatelink.CreateGetVpcEndpointServiceAttributeRequest(), privatelink.CreateGetVpcEndpointServiceAttributeResponse()
	get.RegionId, get.ServiceId = faketest.Region, id
	require.NoError(t, w.Call("privatelink", get, got))
	require.Equal(t, "Creating", got.ServiceStatus)
	require.Equal(t, []string{faketest.ZoneI}, got.Zones)
	require.Equal(t, "com.aliyuncs.privatelink.cn-hangzhou."+id, got.ServiceName)
	_, err = w.Link.AddForeignEndpoint(id, faketest.ZoneI, "1")
	require.ErrorContains(t, err, "EndpointServiceOperationDenied")

	list := privatelink.CreateListVpcEndpointServicesRequest()
	list.RegionId = faketest.Region
	list.Tag = &[]privatelink.ListVpcEndpointServicesTag{{Key: "eslink", Value: "run1"}}
	count := func() int {
		resp := privatelink.CreateListVpcEndpointServicesResponse()
		require.NoError(t, w.Call("privatelink", list, resp))
		return len(resp.Services)
	}
	require.Zero(t, count())
	w.Until(func() bool { return count() == 1 })
	list.ResourceId = "nlb-other"
	require.Zero(t, count())
}

func TestServiceRefusals(t *testing.T) {
	w := newWorld(t)
	resource := func(id, zone string) func(*privatelink.CreateVpcEndpointServiceRequest) {
		return func(r *privatelink.CreateVpcEndpointServiceRequest) {
			r.Resource = &[]privatelink.CreateVpcEndpointServiceResource{{ResourceType: "nlb", ResourceId: id, ZoneId: zone}}
		}
	}
	for _, c := range []struct {
		code   string
		change func(*privatelink.CreateVpcEndpointServiceRequest)
	}{
		{"LoadBalancerNotFound", resource("nlb-none", faketest.ZoneI)},
		{"EndpointServiceNotSupportedZone", resource(w.balancer, "cn-hangzhou-k")},
		{"EndpointServiceResourceTypeNotSupport", func(r *privatelink.CreateVpcEndpointServiceRequest) { r.ServiceResourceType = "gwlb" }},
		{"EndpointServiceResourceTypeNotEqual", func(r *privatelink.CreateVpcEndpointServiceRequest) { r.ServiceResourceType = "slb" }},
		{"IllegalParam.Payer", func(r *privatelink.CreateVpcEndpointServiceRequest) { r.Payer = "me" }},
		{"DryRunOperation", func(r *privatelink.CreateVpcEndpointServiceRequest) { r.DryRun = "true" }},
	} {
		_, err := w.create(c.change)
		w.Refused(c.code, err)
	}
	w.Link.SetOpen(false)
	_, err := w.create(nil)
	w.Refused("ProductNotOpen", err)
	open := privatelink.CreateCheckProductOpenResponse()
	require.NoError(t, w.Call("privatelink", privatelink.CreateCheckProductOpenRequest(), open))
	require.False(t, open.Success)
	require.Empty(t, w.Link.Services())
}

func TestAcceptIsSerialPerAccount(t *testing.T) {
	w := newWorld(t)
	id := w.service()
	mine, foreign := w.endpoint(id, "1111111111111111"), w.endpoint(id, "2222222222222222")
	w.Until(func() bool { return len(w.connections(id)) == 2 })
	require.Equal(t, "Disconnected", w.connections(id)[0].ConnectionStatus)
	require.Equal(t, "Wait", w.connections(id)[0].Zones[0].ZoneStatus)
	require.NoError(t, w.enable(id, mine))
	require.Equal(t, "Connecting", w.find(mine).Connection)
	w.Refused("ConcurrentCallNotSupported", w.enable(id, foreign))
	w.Refused("ConcurrentCallNotSupported", w.enable(id, mine))
	w.Until(func() bool { return w.find(mine).Connection == "Connected" })
	w.Refused("EndpointConnectionOperationDenied", w.enable(id, mine))
	require.Equal(t, "Disconnected", w.find(foreign).Connection, "nobody accepted it")
	w.Refused("EndpointNotFound", w.enable(id, "ep-none"))
	w.Refused("EndpointServiceNotFound", w.enable("epsrv-none", mine))
}

func TestNewEndpointsAppearLate(t *testing.T) {
	w := newWorld(t)
	id := w.service()
	e, err := w.Link.AddForeignEndpoint(id, faketest.ZoneI, "1")
	require.NoError(t, err)
	require.Empty(t, w.connections(id))
	w.Refused("EndpointConnectionOperationDenied", w.enable(id, e.ID)) // still Creating
	took := w.Until(func() bool { return len(w.connections(id)) == 1 })
	require.LessOrEqual(t, took, 2*time.Minute)
	require.EqualValues(t, 1, w.connections(id)[0].EndpointOwnerId)
	_, err = w.Link.AddForeignEndpoint(id, faketest.ZoneJ, "1")
	require.ErrorContains(t, err, "EndpointServiceNotSupportedZone")
}

func TestDeletionInTheWrongOrder(t *testing.T) {
	w := newWorld(t)
	id := w.service()
	e := w.endpoint(id, "1")
	require.NoError(t, w.enable(id, e))
	w.Until(func() bool { return w.find(e).Connection == "Connected" })

	balancer := nlb.CreateDeleteLoadBalancerRequest()
	balancer.LoadBalancerId = w.balancer
	w.Refused("ResourceInUse.loadBalancer", w.Call("nlb", balancer, nlb.CreateDeleteLoadBalancerResponse()))
	w.Refused("EndpointServiceConnectionDependence", w.delete(id))
	w.Refused("EndpointServiceConnectionDependence", w.detach(id, faketest.ZoneI))
	require.ErrorContains(t, w.Link.DeleteEndpoint(e), "EndpointOperationDenied")

	require.NoError(t, w.disable(id, e))
	require.Equal(t, "Disconnecting", w.find(e).ZoneStatus)
	w.Refused("EndpointServiceConnectionDependence", w.detach(id, faketest.ZoneI))
	w.Until(func() bool { return w.find(e).Connection == "Disconnected" })
	w.Refused("EndpointServiceDependenceViolation", w.delete(id))
	w.Refused("EndpointServiceResourceNotFound", w.detach(id, faketest.ZoneJ))
	require.NoError(t, w.detach(id, faketest.ZoneI))
	w.Refused("EndpointServiceOperationDenied", w.delete(id)) // Pending
	w.Until(func() bool { return w.Link.Services()[0].Status == "Active" })
	require.NoError(t, w.delete(id))
	require.Equal(t, "ServiceDeleted", w.find(e).Connection)
	w.Until(func() bool { return len(w.Link.Services()) == 0 })
	w.Refused("EndpointServiceNotFound", w.delete(id))
	require.NoError(t, w.Link.DeleteEndpoint(e))
	w.Until(func() bool { return len(w.Link.Endpoints()) == 0 })
	require.NoError(t, w.Call("nlb", balancer, nlb.CreateDeleteLoadBalancerResponse()))
}

func TestResourcesAreAttachedOneByOne(t *testing.T) {
	w := newWorld(t)
	id := w.service()
	w.Refused("EndpointServiceResourceExist", w.attach(id, faketest.ZoneI))
	require.NoError(t, w.attach(id, faketest.ZoneJ))
	w.Refused("EndpointServiceLocked", w.detach(id, faketest.ZoneJ))
	w.Until(func() bool { return w.Link.Services()[0].Status == "Active" })
	list, resp := privatelink.CreateListVpcEndpointServiceResourcesRequest(), privatelink.CreateListVpcEndpointServiceResourcesResponse()
	list.RegionId, list.ServiceId = faketest.Region, id
	require.NoError(t, w.Call("privatelink", list, resp))
	require.Len(t, resp.Resources, 2)
	require.Equal(t, "vsw-src-j", resp.Resources[1].VSwitchId)
}
