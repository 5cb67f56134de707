package ecs_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"
	"github.com/stretchr/testify/require"

	fake "eslink/localtest/fakes/ecs"
	"eslink/localtest/fakes/faketest"
)

// world adds ECS's calls, one per operation, as the V1 SDK sends them.
type world struct{ *faketest.World }

func newWorld(t *testing.T) *world {
	t.Parallel()
	return &world{faketest.New(t, 7)}
}

func (w *world) instances(change func(*ecs.DescribeInstancesRequest)) ([]ecs.Instance, error) {
	req, resp := ecs.CreateDescribeInstancesRequest(), ecs.CreateDescribeInstancesResponse()
	change(req)
	err := w.Call("ecs", req, resp)
	return resp.Instances.Instance, err
}

func (w *world) rules() []ecs.Permission {
	req, resp := ecs.CreateDescribeSecurityGroupAttributeRequest(), ecs.CreateDescribeSecurityGroupAttributeResponse()
	req.SecurityGroupId, req.Direction, req.NicType = faketest.SecurityGroup, "ingress", "intranet"
	require.NoError(w, w.Call("ecs", req, resp))
	require.Equal(w, "vpc-src", resp.VpcId)
	return resp.Permissions.Permission
}

func (w *world) authorize(change ...func(*ecs.AuthorizeSecurityGroupPermissions)) error {
	req := ecs.CreateAuthorizeSecurityGroupRequest()
	p := ecs.AuthorizeSecurityGroupPermissions{IpProtocol: "TCP", PortRange: "8080/8080", SourceCidrIp: "100.64.0.0/10", Policy: "accept", Priority: "1", NicType: "intranet", Description: "mine"}
	for _, c := range change {
		c(&p)
	}
	req.SecurityGroupId, req.Permissions = faketest.SecurityGroup, &[]ecs.AuthorizeSecurityGroupPermissions{p}
	return w.Call("ecs", req, ecs.CreateAuthorizeSecurityGroupResponse())
}

func (w *world) revoke(ids ...string) error {
	req := ecs.CreateRevokeSecurityGroupRequest()
	req.SecurityGroupId, req.SecurityGroupRuleId = faketest.SecurityGroup, &ids
	return w.Call("ecs", req, ecs.CreateRevokeSecurityGroupResponse())
}

func (w *world) admits(from string, port int) bool {
	return w.ECS.Admits(faketest.Host, netip.MustParseAddr(from), port)
}

func TestInstancesAreFoundByIDAndByAddress(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.ECS.AddInstance(fake.Instance{ID: "i-classic", Classic: true}))
	require.NoError(t, w.ECS.AddInstance(fake.Instance{ID: "i-dst", VPCID: "vpc-dst", VSwitchID: "vsw-dst"}))
	ip := w.ECS.Instances()[0].IP.String()
	for name, change := range map[string]func(*ecs.DescribeInstancesRequest){
		"id": func(r *ecs.DescribeInstancesRequest) { r.InstanceIds = `["` + faketest.Host + `","i-none"]` },
		"address": func(r *ecs.DescribeInstancesRequest) {
			r.InstanceNetworkType, r.PrivateIpAddresses = "vpc", `["`+ip+`"]`
		},
		"vpc": func(r *ecs.DescribeInstancesRequest) { r.VpcId = "vpc-src" },
	} {
		got, err := w.instances(change)
		require.NoError(t, err, name)
		require.Len(t, got, 1, name)
		i := got[0]
		require.Equal(t, faketest.Host+" Running vpc "+faketest.ZoneI, i.InstanceId+" "+i.Status+" "+i.InstanceNetworkType+" "+i.ZoneId)
		require.Equal(t, "vpc-src vsw-src-i", i.VpcAttributes.VpcId+" "+i.VpcAttributes.VSwitchId)
		require.Equal(t, []string{ip}, i.VpcAttributes.PrivateIpAddress.IpAddress)
		require.Equal(t, []string{faketest.SecurityGroup}, i.SecurityGroupIds.SecurityGroupId)
	}
	_, err := w.instances(func(r *ecs.DescribeInstancesRequest) { r.PrivateIpAddresses = `["` + ip + `"]` })
	w.Refused("InvalidParameter", err)
	_, err = w.instances(func(r *ecs.DescribeInstancesRequest) { r.InstanceIds = faketest.Host })
	w.Refused("InvalidParameter", err)
	got, err := w.instances(func(r *ecs.DescribeInstancesRequest) { r.PageSize, r.PageNumber = "2", "2" })
	require.NoError(t, err)
	require.Len(t, got, 1)
}

func TestARuleComesIntoForceAndGoes(t *testing.T) {
	w := newWorld(t)
	require.False(t, w.admits("100.64.0.1", 8080), "without rules nobody is admitted")
	require.NoError(t, w.authorize())
	require.Len(t, w.rules(), 1, "shown at once")
	w.Advance(5 * time.Second)
	require.True(t, w.admits("100.64.0.1", 8080))
	require.True(t, w.admits("100.127.255.255", 8080))
	require.False(t, w.admits("100.128.0.0", 8080))
	require.False(t, w.admits("100.64.0.1", 8081))
	rule := w.rules()[0]
	require.Equal(t, "Accept 1 TCP 8080/8080 100.64.0.0/10 mine", fmt.Sprint(rule.Policy, " ", rule.Priority, " ", rule.IpProtocol, " ", rule.PortRange, " ", rule.SourceCidrIp, " ", rule.Description))
	require.NoError(t, w.authorize(func(p *ecs.AuthorizeSecurityGroupPermissions) { p.Description = "another's" }))
	require.Len(t, w.rules(), 1, "the same rule is not added again")
	require.NoError(t, w.revoke(rule.SecurityGroupRuleId))
	require.False(t, w.admits("100.64.0.1", 8080))
	w.Refused("InvalidSecurityGroupRule.RuleNotExist", w.revoke(rule.SecurityGroupRuleId))
}

func TestRulesGoByPriorityAndDropComesFirst(t *testing.T) {
	w := newWorld(t)
	drop := func(p *ecs.AuthorizeSecurityGroupPermissions) { p.Policy = "drop" }
	at := func(n string) func(*ecs.AuthorizeSecurityGroupPermissions) {
		return func(p *ecs.AuthorizeSecurityGroupPermissions) { p.Priority = n }
	}
	all := func(p *ecs.AuthorizeSecurityGroupPermissions) { p.IpProtocol, p.PortRange = "all", "-1/-1" }
	require.NoError(t, w.authorize(drop, all, at("2")))
	require.NoError(t, w.authorize(at("3")))
	w.Advance(time.Minute)
	require.False(t, w.admits("100.64.0.1", 8080), "the drop comes earlier")
	require.NoError(t, w.authorize(at("1")))
	w.Advance(time.Minute)
	require.True(t, w.admits("100.64.0.1", 8080))
	require.NoError(t, w.authorize(drop, at("1")))
	w.Advance(time.Minute)
	require.False(t, w.admits("100.64.0.1", 8080), "at one priority the drop comes first")
	require.NoError(t, w.ECS.AddSecurityGroup("sg-more", "vpc-src", fake.Rule{From: 1, To: 65535, Source: netip.MustParsePrefix("0.0.0.0/0")}))
	require.NoError(t, w.ECS.AddInstance(fake.Instance{ID: "i-two", VPCID: "vpc-src", VSwitchID: "vsw-src", SecurityGroups: []string{faketest.SecurityGroup, "sg-more"}}))
	require.True(t, w.ECS.Admits("i-two", netip.MustParseAddr("8.8.8.8"), 22), "groups add up")
	require.False(t, w.ECS.Admits("i-two", netip.MustParseAddr("100.64.0.1"), 8080))
}

func TestRuleRefusals(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		code   string
		change func(*ecs.AuthorizeSecurityGroupPermissions)
	}{
		{"InvalidParam.PortRange", func(p *ecs.AuthorizeSecurityGroupPermissions) { p.PortRange = "8080" }},
		{"InvalidParam.PortRange", func(p *ecs.AuthorizeSecurityGroupPermissions) { p.PortRange = "-1/-1" }},
		{"InvalidParam.PortRange", func(p *ecs.AuthorizeSecurityGroupPermissions) { p.IpProtocol = "all" }},
		{"InvalidParam.SourceIp", func(p *ecs.AuthorizeSecurityGroupPermissions) { p.SourceCidrIp = "100.64.0.0" }},
		{"InvalidPriority.ValueNotSupported", func(p *ecs.AuthorizeSecurityGroupPermissions) { p.Priority = "101" }},
		{"InvalidPolicy.Malformed", func(p *ecs.AuthorizeSecurityGroupPermissions) { p.Policy = "allow" }},
		{"InvalidNicType.ValueNotSupported", func(p *ecs.AuthorizeSecurityGroupPermissions) { p.NicType = "" }},
		{"InvalidIpProtocol.ValueNotSupported", func(p *ecs.AuthorizeSecurityGroupPermissions) { p.IpProtocol = "http" }},
		{"NotImplemented", func(p *ecs.AuthorizeSecurityGroupPermissions) { p.SourceGroupId = "sg-1" }},
	} {
		w.Refused(c.code, w.authorize(c.change))
	}
	req := ecs.CreateAuthorizeSecurityGroupRequest()
	req.SecurityGroupId = "sg-none"
	w.Refused("InvalidSecurityGroupId.NotFound", w.Call("ecs", req, ecs.CreateAuthorizeSecurityGroupResponse()))
	req.SecurityGroupId = faketest.SecurityGroup
	w.Refused("MissingParameter", w.Call("ecs", req, ecs.CreateAuthorizeSecurityGroupResponse()))
	for i := range 200 {
		w.ECS.AddRule(faketest.SecurityGroup, fake.Rule{From: i + 1, To: i + 1, Source: netip.MustParsePrefix("10.0.0.0/8")})
	}
	w.Refused("AuthorizationLimitExceed", w.authorize())
}
