package escluster_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/responses"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/elasticsearch"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/nlb"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/privatelink"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/faketest"
)

const dst, src = faketest.Dst, faketest.Src

type world struct{ *faketest.World }

func newWorld(t *testing.T) *world {
	t.Parallel()
	return &world{faketest.New(t, 3)}
}

// described are the fields of DescribeInstance that the V1 SDK has no room for.
type described struct {
	Status, Domain, Protocol, ArchType, EsVersion, UpdatedAt string
	ServiceVpc, Inited                                       bool
	Endpoints                                                []struct{ Endpoint, VswitchID, ZoneID string }
	EsConfig                                                 map[string]string
	PrivateNetworkIPWhiteList                                []string
	NetworkConfig                                            struct{ WhiteIPGroupList []escluster.Group }
	ZoneInfos                                                []struct{ ZoneID, Status string }
}

func (w *world) describe(id string) (d described) {
	req, resp := elasticsearch.CreateDescribeInstanceRequest(), elasticsearch.CreateDescribeInstanceResponse()
	req.InstanceId = id
	require.NoError(w, w.Call("elasticsearch", req, resp))
	require.NoError(w, json.Unmarshal(resp.GetHttpContentBytes(), &struct{ Result *described }{&d}))
	return d
}

func (w *world) private(id string) (groups []string) {
	for _, g := range w.describe(id).NetworkConfig.WhiteIPGroupList {
		if g.Type == "PRIVATE_ES" {
			groups = append(groups, fmt.Sprint(g.Name, g.IPs))
		}
	}
	return groups
}

func (w *world) configure(id string, config map[string]string) error {
	req := elasticsearch.CreateUpdateInstanceSettingsRequest()
	req.InstanceId = id
	body, err := json.Marshal(map[string]any{"esConfig": config})
	require.NoError(w, err)
	faketest.Body(req, string(body))
	return w.Call("elasticsearch", req, elasticsearch.CreateUpdateInstanceSettingsResponse())
}

func (w *world) whitelist(id, mode, body string) error {
	req := elasticsearch.CreateUpdatePrivateNetworkWhiteIpsRequest()
	req.InstanceId, req.ModifyMode = id, mode
	faketest.Body(req, body)
	return w.Call("elasticsearch", req, responses.NewCommonResponse()) // the V1 SDK's own type cannot read the document's sample
}

func (w *world) modify(id, body string) error {
	req := elasticsearch.CreateModifyWhiteIpsRequest()
	req.InstanceId = id
	faketest.Body(req, body)
	return w.Call("elasticsearch", req, elasticsearch.CreateModifyWhiteIpsResponse())
}

func (w *world) records(id string) (records []struct {
	ActionName, StateType, Process string
	StatusInfo                     []struct {
		NodeCount, CompleteNodeCount int
		Exception                    string
	}
}) {
	req, resp := elasticsearch.CreateListActionRecordsRequest(), elasticsearch.CreateListActionRecordsResponse()
	req.InstanceId = id
	require.NoError(w, w.Call("elasticsearch", req, resp))
	require.NoError(w, json.Unmarshal(resp.GetHttpContentBytes(), &struct{ Result any }{&records}))
	return records
}

func (w *world) active(id string) func() bool {
	return func() bool {
		return slices.ContainsFunc(w.ES.Instances(), func(i escluster.Instance) bool { return i.ID == id && i.Status == "active" })
	}
}

func TestDescribeInstance(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.ES.AddInstance(escluster.Instance{
		ID: "es-cn-two", VPCID: "vpc-dst", VSwitchID: "vsw-dst", ArchType: "exclusive", OldNetwork: true, Zones: []string{faketest.ZoneI, faketest.ZoneJ},
		Addresses: []escluster.Address{
			{ZoneID: faketest.ZoneI, VSwitchID: "vsw-dst-i", IP: faketest.Source("dst")}, {ZoneID: faketest.ZoneJ, VSwitchID: "vsw-dst-j", IP: faketest.Source("src")},
		},
	}))
	d := w.describe(dst)
	require.Equal(t, "active", d.Status)
	require.True(t, d.ServiceVpc)
	require.True(t, d.Inited)
	require.Equal(t, "es-cn-dst000000001.elasticsearch.aliyuncs.com", d.Domain)
	require.Equal(t, []string{"0.0.0.0/0"}, d.PrivateNetworkIPWhiteList)
	require.Empty(t, d.Endpoints)
	two := w.describe("es-cn-two")
	require.False(t, two.ServiceVpc)
	require.Equal(t, "exclusive", two.ArchType)
	require.Len(t, two.ZoneInfos, 2)
	require.Equal(t, "vsw-dst-j", two.Endpoints[1].VswitchID)

	list, resp := elasticsearch.CreateListInstanceRequest(), elasticsearch.CreateListInstanceResponse()
	list.VpcId = "vpc-dst"
	require.NoError(t, w.Call("elasticsearch", list, resp))
	require.Len(t, resp.Result, 2)

	none := elasticsearch.CreateDescribeInstanceRequest()
	none.InstanceId = "es-cn-none"
	w.Refused("InstanceNotFound", w.Call("elasticsearch", none, elasticsearch.CreateDescribeInstanceResponse()))
	w.ES.SetStatus(dst, "invalid")
	require.Empty(t, w.describe(dst).Domain)
}

func TestInstanceIsCreated(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.ES.AddInstance(escluster.Instance{ID: "es-cn-new", VPCID: "vpc-dst", VSwitchID: "vsw-dst", Creating: time.Hour}))
	d := w.describe("es-cn-new")
	require.Equal(t, "activating", d.Status)
	require.False(t, d.Inited)
	require.False(t, w.ES.Serving("es-cn-new"))
	w.Advance(time.Hour)
	d = w.describe("es-cn-new")
	require.Equal(t, "active", d.Status)
	require.True(t, d.Inited)
	require.True(t, w.ES.Serving("es-cn-new"))
}

func (w *world) create(body string) (string, error) {
	req, resp := elasticsearch.CreateCreateInstanceRequest(), responses.NewCommonResponse()
	faketest.Body(req, body)
	if err := w.Call("elasticsearch", req, resp); err != nil {
		return "", err
	}
	var reply struct{ Result struct{ InstanceID string } }
	require.NoError(w, json.Unmarshal(resp.GetHttpContentBytes(), &reply))
	return reply.Result.InstanceID, nil
}

func TestCreateInstance(t *testing.T) {
	w := newWorld(t)
	const good = `{"nodeAmount":3,"esVersion":"7.10_with_X-Pack","esAdminPassword":"Es_password1","nodeSpec":{"spec":"elasticsearch.sn2ne.large","disk":20,"diskType":"cloud_ssd"},` +
		`"networkConfig":{"type":"vpc","vpcId":"vpc-dst","vswitchId":"vsw-dst"},"tags":[{"tagKey":"eslink:profile","tagValue":"orders"}]}`
	var told []escluster.Instance
	var event []byte
	w.ES.OnCreate(func(in escluster.Instance, e []byte) {
		require.Len(t, w.ES.Instances(), 3, "a hook may look at the fake")
		told, event = append(told, in), e
	})
	for _, wrong := range [][2]string{{"7.10_with_X-Pack", ""}, {`"nodeAmount":3`, `"nodeAmount":1`}, {"Es_password1", "password1"}, {"Es_password1", "Es1"}, {"vpc-dst", "vpc-src"},
		{"vsw-dst", "vsw-none"}, {`"vpc",`, `"classic",`}, {`"tags"`, `"Tags"`}} {
		_, err := w.create(strings.Replace(good, wrong[0], wrong[1], 1))
		require.Error(t, err, wrong)
	}
	require.Empty(t, told, "nothing is made of what is refused")
	id, err := w.create(good)
	require.NoError(t, err)
	require.Regexp(t, "^es-cn-[0-9a-z]{15}$", id)
	require.Equal(t, id, told[0].ID)
	require.Equal(t, "Es_password1", told[0].Password)
	c, err := events.DecodeCreation(event)
	require.NoError(t, err)
	require.Equal(t, events.Creation{ID: c.ID, Name: "createInstance", AccountID: w.Account.AccountID, Region: faketest.Region, InstanceID: id, Time: w.Now()}, c)
	require.NotContains(t, string(event), "password")

	describe := func() error {
		req := elasticsearch.CreateDescribeInstanceRequest()
		req.InstanceId = id
		return w.Call("elasticsearch", req, elasticsearch.CreateDescribeInstanceResponse())
	}
	w.Refused("InstanceNotFound", describe())
	require.Positive(t, w.Until(func() bool { return describe() == nil }))
	listed := func() int {
		list, resp := elasticsearch.CreateListInstanceRequest(), elasticsearch.CreateListInstanceResponse()
		require.NoError(t, w.Call("elasticsearch", list, resp))
		return len(resp.Result)
	}
	require.Equal(t, 2, listed(), "lists lag")
	w.Until(func() bool { return listed() == 3 })
	d := w.describe(id)
	require.Equal(t, "activating", d.Status)
	require.False(t, d.Inited)
	require.GreaterOrEqual(t, 2*w.Until(w.active(id)), 10*time.Minute)
	require.True(t, w.describe(id).Inited)
	require.True(t, w.ES.Serving(id))
	require.Len(t, told, 1)
}

func TestConfigIsReplacedWholeAndRestarts(t *testing.T) {
	w := newWorld(t)
	var applied []map[string]string
	w.ES.OnConfig(func(id string, config map[string]string) error {
		require.Equal(t, dst, id)
		require.Equal(t, "activating", w.ES.Instances()[0].Status, "a hook may look at the fake")
		applied = append(applied, config)
		return nil
	})
	before := w.describe(dst)
	w.Refused("MustChangeOneResource", w.configure(dst, before.EsConfig))
	one := map[string]string{"reindex.remote.whitelist": "a:9200"}
	require.NoError(t, w.configure(dst, one))
	d := w.describe(dst)
	require.Equal(t, "activating", d.Status)
	require.Equal(t, one, d.EsConfig, "the other keys are gone")
	require.NotEqual(t, before.UpdatedAt, d.UpdatedAt)
	w.Refused("InstanceActivating", w.configure(dst, before.EsConfig))
	w.Refused("InstanceActivating", w.whitelist(dst, "", `{"privateNetworkIpWhiteList":["10.0.0.0/8"]}`))

	health := elasticsearch.CreateDescribeElasticsearchHealthResponse()
	req := elasticsearch.CreateDescribeElasticsearchHealthRequest()
	req.InstanceId = dst
	require.NoError(t, w.Call("elasticsearch", req, health))
	require.Equal(t, "YELLOW", health.Result)
	seen := map[int]bool{}
	took := w.Until(func() bool {
		w.Advance(19 * time.Second)
		if r := w.records(dst)[0]; r.StateType == "ACTIVATING" {
			seen[r.StatusInfo[0].CompleteNodeCount] = true
			require.Empty(t, applied)
		}
		return w.active(dst)()
	})
	require.GreaterOrEqual(t, 20*took, 5*time.Minute)
	require.Equal(t, map[int]bool{0: true, 1: true, 2: true}, seen, "node by node")
	require.Equal(t, []map[string]string{one}, applied)
	last := w.records(dst)[0]
	require.Equal(t, "UpdateInstanceSettings FINISHED 100%", last.ActionName+" "+last.StateType+" "+last.Process)
}

func TestRestartsThatDoNotEnd(t *testing.T) {
	w := newWorld(t)
	restarting, refused := true, errors.New("unknown setting [no.such.setting]")
	w.ES.OnConfig(func(_ string, config map[string]string) error {
		switch {
		case config["no.such.setting"] != "":
			return refused
		case restarting:
			return escluster.ErrRestarting
		}
		return nil
	})
	w.ES.SetRestart(dst, 2*time.Hour)
	require.NoError(t, w.configure(dst, map[string]string{"a": "1"}))
	w.Advance(3 * time.Hour)
	require.Equal(t, "activating", w.describe(dst).Status, "the nodes are not up yet")
	restarting = false
	require.Equal(t, "active", w.describe(dst).Status)

	w.ES.SetRestart(dst, escluster.Never)
	require.NoError(t, w.configure(dst, map[string]string{"a": "2"}))
	w.Advance(1000 * time.Hour)
	require.Equal(t, "activating", w.describe(dst).Status)
	require.Zero(t, w.records(dst)[0].StatusInfo[0].CompleteNodeCount)
	w.ES.StopRestart(dst)
	require.Equal(t, "active", w.describe(dst).Status)

	w.ES.SetRestart(dst, time.Minute)
	require.NoError(t, w.configure(dst, map[string]string{"no.such.setting": "1"}))
	w.Advance(time.Hour)
	require.Equal(t, "activating", w.describe(dst).Status)
	require.False(t, w.ES.Serving(dst))
	require.Equal(t, refused.Error(), w.records(dst)[0].StatusInfo[0].Exception)
	w.ES.RefuseSetting(func(_, key, _ string) error {
		if key == "reindex.ssl.verification_mode" {
			return cloud.Errorf(400, "InvalidParameter", "%s is not supported.", key)
		}
		return nil
	})
	require.NoError(t, w.configure(src, map[string]string{"fine": "1"}))
	w.Until(w.active(src))
	w.Refused("InvalidParameter", w.configure(src, map[string]string{"fine": "1", "reindex.ssl.verification_mode": "certificate"}))
	require.Equal(t, map[string]string{"fine": "1"}, w.describe(src).EsConfig)
}

func TestStatesThatRefuseWrites(t *testing.T) {
	w := newWorld(t)
	for status, code := range map[string]string{
		"activating": "InstanceActivating", "inactive": "InstanceStatusNotSupportCurrentAction", "invalid": "InstanceStatusNotSupportCurrentAction",
	} {
		w.ES.SetStatus(dst, status)
		w.Refused(code, w.configure(dst, map[string]string{"a": "1"}))
		w.Refused(code, w.whitelist(dst, "", `{"privateNetworkIpWhiteList":["10.0.0.0/8"]}`))
		w.Refused(code, w.modify(dst, `{"whiteIpGroup":{"groupName":"g","ips":["10.0.0.1"]}}`))
	}
}

func TestPrivateWhitelist(t *testing.T) {
	w := newWorld(t)
	do := func(mode, ips string) error {
		err := w.whitelist(src, mode, `{"whiteIpGroup":{"groupName":"eslink","ips":`+ips+`}}`)
		w.Until(w.active(src))
		return err
	}
	const other = "default[10.2.0.0/24]"
	w.Refused("NotFound", do("Append", `["10.2.1.1"]`))
	w.Refused("NotFound", do("Delete", `["10.2.1.1"]`))
	w.Refused("NotFound", do("Cover", `[]`))
	require.Equal(t, []string{other}, w.private(src))
	require.NoError(t, do("", `["10.2.1.1","10.2.1.2"]`))
	require.Equal(t, []string{other, "eslink[10.2.1.1 10.2.1.2]"}, w.private(src))
	require.NoError(t, do("Append", `["10.2.1.2","10.2.1.3"]`))
	require.NoError(t, do("Delete", `["10.2.1.1","10.9.9.9"]`))
	require.Equal(t, []string{other, "eslink[10.2.1.2 10.2.1.3]"}, w.private(src))
	w.Refused("InvalidParameter", do("Delete", `["10.2.1.2","10.2.1.3"]`)) // one has to stay
	require.NoError(t, do("Cover", `["10.2.1.9"]`))
	require.Equal(t, []string{other, "eslink[10.2.1.9]"}, w.private(src))
	require.NoError(t, do("Cover", `[]`))
	require.Equal(t, []string{other}, w.private(src))

	for _, body := range []string{
		`{"whiteIpGroup":{"groupName":"g","ips":["8.8.8.8"]}}`, `{"whiteIpGroup":{"groupName":"g","ips":[""]}}`,
		`{"whiteIpGroup":{"groupName":"g","ips":["10.0.0.1","10.0.0.1"]}}`, `{"whiteIpGroup":{"groupName":"default","ips":[]}}`,
		`{"whiteIpGroup":{"groupName":"g","ips":["10.0.0.1"]},"privateNetworkIpWhiteList":["10.0.0.1"]}`, `{}`,
		`{"WhiteIpGroup":{"groupName":"g","ips":["10.0.0.1"]}}`, `{"whiteIpGroup":{"groupName":"g","ips":["10.0.0.1"],"mode":"Cover"}}`,
	} {
		w.Refused("InvalidParameter", w.whitelist(src, "Cover", body))
	}
	w.Refused("InvalidParameter", do("cover", `["10.0.0.1"]`))
	require.NoError(t, w.whitelist(src, "", `{"privateNetworkIpWhiteList":["192.168.0.0/25"]}`))
	require.Equal(t, []string{"192.168.0.0/25"}, w.describe(src).PrivateNetworkIPWhiteList)
	require.Equal(t, "activating", w.describe(src).Status)
}

func TestModifyWhiteIpsIsShownBeforeItIsEnforced(t *testing.T) {
	w := newWorld(t)
	outside := faketest.Source("dst")
	require.NoError(t, w.modify(src, `{"modifyMode":"Cover","whiteIpGroup":{"groupName":"eslink","ips":["10.1.0.200"],"whiteIpType":"PRIVATE_ES"}}`))
	require.Len(t, w.private(src), 2)
	require.False(t, w.ES.Admits(src, outside))
	require.True(t, w.ES.Serving(src))
	w.Until(w.active(src))
	require.True(t, w.ES.Admits(src, outside))
	w.ES.SetGroup(src, "eslink")
	require.False(t, w.ES.Admits(src, outside))
	require.Len(t, w.ES.Groups(src), 2)
}

// service is an endpoint service in zone i of VPC vpc-src, over a balancer of zones i and j.
func (w *world) service() string {
	lb, lbResp := nlb.CreateCreateLoadBalancerRequest(), nlb.CreateCreateLoadBalancerResponse()
	lb.VpcId, lb.AddressType = "vpc-src", "Intranet"
	lb.ZoneMappings = &[]nlb.CreateLoadBalancerZoneMappings{
		{ZoneId: faketest.ZoneI, VSwitchId: "vsw-src-i"}, {ZoneId: faketest.ZoneJ, VSwitchId: "vsw-src-j"},
	}
	require.NoError(w, w.Call("nlb", lb, lbResp))
	w.Advance(10 * time.Minute)
	s, sResp := privatelink.CreateCreateVpcEndpointServiceRequest(), privatelink.CreateCreateVpcEndpointServiceResponse()
	s.RegionId, s.ServiceResourceType = faketest.Region, "nlb"
	s.Resource = &[]privatelink.CreateVpcEndpointServiceResource{{ResourceType: "nlb", ResourceId: lbResp.LoadbalancerId, ZoneId: faketest.ZoneI}}
	require.NoError(w, w.Call("privatelink", s, sResp))
	w.Advance(10 * time.Minute)
	return sResp.ServiceId
}

func (w *world) connect(id, service, zone string) (elasticsearch.Result, error) {
	req, resp := elasticsearch.CreateCreateVpcEndpointRequest(), elasticsearch.CreateCreateVpcEndpointResponse()
	req.InstanceId, req.ClientToken = id, "token-"+id+zone
	faketest.Body(req, `{"serviceId":"`+service+`","zoneId":"`+zone+`"}`)
	err := w.Call("elasticsearch", req, resp)
	return resp.Result, err
}

func (w *world) endpoints(id string) []elasticsearch.ResultItem {
	req, resp := elasticsearch.CreateListVpcEndpointsRequest(), elasticsearch.CreateListVpcEndpointsResponse()
	req.InstanceId = id
	require.NoError(w, w.Call("elasticsearch", req, resp))
	return resp.Result
}

func TestEndpointLife(t *testing.T) {
	w := newWorld(t)
	service := w.service()
	e, err := w.connect(dst, service, faketest.ZoneI)
	require.NoError(t, err)
	require.Equal(t, e.EndpointId+"."+service+".cn-hangzhou.privatelink.aliyuncs.com", e.EndpointDomain)
	again, err := w.connect(dst, service, faketest.ZoneI)
	require.NoError(t, err)
	require.Equal(t, e.EndpointId, again.EndpointId, "the token replays")
	require.Empty(t, w.endpoints(dst), "the list lags")
	w.Until(func() bool { return len(w.endpoints(dst)) == 1 })
	require.Empty(t, w.endpoints(src))
	w.Until(func() bool { return w.endpoints(dst)[0].EndpointStatus == "Active" })
	require.Equal(t, "Disconnected", w.endpoints(dst)[0].ConnectionStatus, "nobody has accepted it")

	accept := privatelink.CreateEnableVpcEndpointConnectionRequest()
	accept.RegionId, accept.ServiceId, accept.EndpointId = faketest.Region, service, e.EndpointId
	require.NoError(t, w.Call("privatelink", accept, privatelink.CreateEnableVpcEndpointConnectionResponse()))
	w.Until(func() bool { return w.endpoints(dst)[0].ConnectionStatus == "Connected" })
	remove := elasticsearch.CreateDeleteVpcEndpointRequest()
	remove.InstanceId, remove.EndpointId = dst, e.EndpointId
	w.Refused("EndpointOperationDenied", w.Call("elasticsearch", remove, elasticsearch.CreateDeleteVpcEndpointResponse()))
	close := privatelink.CreateDisableVpcEndpointConnectionRequest()
	close.RegionId, close.ServiceId, close.EndpointId = faketest.Region, service, e.EndpointId
	require.NoError(t, w.Call("privatelink", close, privatelink.CreateDisableVpcEndpointConnectionResponse()))
	w.Until(func() bool { return w.endpoints(dst)[0].ConnectionStatus == "Disconnected" })
	require.NoError(t, w.Call("elasticsearch", remove, elasticsearch.CreateDeleteVpcEndpointResponse()))
	require.Equal(t, "Deleting", w.endpoints(dst)[0].EndpointStatus)
	w.Until(func() bool { return len(w.endpoints(dst)) == 0 })
	w.Refused("EndpointNotFound", w.Call("elasticsearch", remove, elasticsearch.CreateDeleteVpcEndpointResponse()))
}

func TestEndpointRefusals(t *testing.T) {
	w := newWorld(t)
	service := w.service()
	for id, in := range map[string]escluster.Instance{
		"es-cn-two": {Zones: []string{faketest.ZoneI, faketest.ZoneJ}}, "es-cn-old": {OldNetwork: true},
	} {
		in.ID, in.VPCID, in.VSwitchID = id, "vpc-dst", "vsw-dst"
		require.NoError(t, w.ES.AddInstance(in))
	}
	for _, c := range []struct{ code, instance, service, zone string }{
		{"InvalidParameter", dst, service, faketest.ZoneJ},                        // not the cluster's zone
		{"EndpointServiceNotSupportedZone", "es-cn-two", service, faketest.ZoneJ}, // not the service's
		{"InvalidInstanceType", "es-cn-old", service, faketest.ZoneI},             // not the service VPC
		{"EndpointServiceNotFound", dst, "epsrv-none", faketest.ZoneI},
		{"MissingParameter", dst, service, ""},
		{"InstanceNotFound", "es-cn-none", "", ""},
	} {
		_, err := w.connect(c.instance, c.service, c.zone)
		w.Refused(c.code, err)
	}
	require.NoError(t, w.configure(dst, map[string]string{"a": "1"}))
	_, err := w.connect(dst, service, faketest.ZoneI)
	w.Refused("InstanceActivating", err)
	require.Empty(t, w.Link.Endpoints())
}

func TestBodiesAreStrict(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{`{"esConfig":{"a":true}}`, `{"ESConfig":{"a":"1"}}`, `{"esConfig":{"a":"1"},"force":true}`} {
		req := elasticsearch.CreateUpdateInstanceSettingsRequest()
		req.InstanceId = dst
		faketest.Body(req, body)
		w.Refused("InvalidParameter", w.Call("elasticsearch", req, elasticsearch.CreateUpdateInstanceSettingsResponse()))
	}
	require.Equal(t, "active", w.describe(dst).Status)
}

func TestTokenDoesNotRestartTwice(t *testing.T) {
	w := newWorld(t)
	config := maps.Clone(w.describe(dst).EsConfig)
	config["a"] = "1"
	body, err := json.Marshal(map[string]any{"esConfig": config})
	require.NoError(t, err)
	for range 2 {
		req := elasticsearch.CreateUpdateInstanceSettingsRequest()
		req.InstanceId, req.ClientToken = dst, "token"
		faketest.Body(req, string(body))
		require.NoError(t, w.Call("elasticsearch", req, elasticsearch.CreateUpdateInstanceSettingsResponse()))
	}
	require.Len(t, w.records(dst), 1)
}

func TestEstimatedRestartTime(t *testing.T) {
	w := newWorld(t)
	req, resp := elasticsearch.CreateEstimatedRestartTimeRequest(), elasticsearch.CreateEstimatedRestartTimeResponse()
	req.InstanceId = dst
	faketest.Body(req, `{"restartType":"instance"}`)
	require.NoError(t, w.Call("elasticsearch", req, resp))
	require.Equal(t, "second", resp.Result.Unit)
	require.EqualValues(t, 360, resp.Result.Value)
}
