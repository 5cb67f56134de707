package ecs_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	fake "eslink/localtest/fakes/ecs"
	"eslink/localtest/fakes/faketest"
	"eslink/shared/aliyun/ecs"
	"eslink/shared/apierr"
	"eslink/shared/steps/stepstest"
)

func TestInstances(t *testing.T) {
	t.Parallel()
	w := stepstest.New(t, 1)
	c, ctx := ecs.New(w.Deps.Aliyun), w.Context()
	got, err := c.Instances(ctx, faketest.Host, "i-none")
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "vpc-src", got[0].VPC.ID)
	require.Equal(t, []string{faketest.SecurityGroup}, got[0].SecurityGroups.All)
	at, err := c.InstancesAt(ctx, got[0].VPC.Addresses.All[0])
	require.NoError(t, err)
	require.Equal(t, got, at)
	at, err = c.InstancesAt(ctx, "10.2.1.250")
	require.NoError(t, err)
	require.Empty(t, at)
}

func TestRules(t *testing.T) {
	t.Parallel()
	w := stepstest.New(t, 1)
	c, ctx := ecs.New(w.Deps.Aliyun), w.Context()
	for i := range 150 {
		w.ECS.AddRule(faketest.SecurityGroup, fake.Rule{From: i + 1, To: i + 1, Source: netip.MustParsePrefix("10.9.0.0/16"), Priority: 7, Drop: true})
	}
	require.NoError(t, c.Admit(ctx, faketest.SecurityGroup, []ecs.Admission{{Port: 389, CIDR: netip.MustParsePrefix("100.64.0.0/10"), Priority: 1}}, "mine"))
	rules, err := c.Rules(ctx, faketest.SecurityGroup)
	require.NoError(t, err)
	require.Len(t, rules, 151)
	require.Equal(t, ecs.Rule{ID: rules[0].ID, Policy: "Drop", Priority: 7, Protocol: "TCP", Ports: "1/1", CIDR: "10.9.0.0/16"}, rules[0])
	require.Equal(t, ecs.Rule{ID: rules[150].ID, Policy: "Accept", Priority: 1, Protocol: "TCP", Ports: "389/389", CIDR: "100.64.0.0/10", Description: "mine"}, rules[150])
	require.NoError(t, c.Revoke(ctx, faketest.SecurityGroup, []string{rules[150].ID}))
	require.True(t, apierr.IsNotFound(c.Revoke(ctx, faketest.SecurityGroup, []string{rules[150].ID})))
	_, err = c.Rules(ctx, "sg-none")
	require.True(t, apierr.IsNotFound(err), err)
}

func TestErrorCodesByClass(t *testing.T) {
	t.Parallel()
	w := stepstest.New(t, 1)
	c := ecs.New(w.Deps.Aliyun)
	for code, class := range map[string]apierr.Class{"InvalidSecurityGroupId.NotFound": apierr.NotFound, "InvalidOperation.ResourceConflict": apierr.Conflict,
		"Throttling": apierr.Retry, "AuthorizationLimitExceed": apierr.Fatal, "Forbidden.RAM": apierr.Fatal} {
		w.Account.SetFault(func(cloud.Call) cloud.Fault { return cloud.Fault{Before: cloud.Errorf(400, code, "No.")} })
		require.Equal(t, class, apierr.ClassOf(c.Revoke(w.Context(), "sg-1", []string{"sgr-1"})), code)
	}
}

// What Decides reckons is what the fake of the cloud does, address by address.
func TestAdmitsAsTheCloudDoes(t *testing.T) {
	t.Parallel()
	accept := func(cidr string, priority int) fake.Rule {
		return fake.Rule{From: 8000, To: 9000, Source: netip.MustParsePrefix(cidr), Priority: priority}
	}
	drop := func(cidr string, priority int) fake.Rule {
		r := accept(cidr, priority)
		r.Drop = true
		return r
	}
	all := fake.Rule{Protocol: "ALL", From: -1, To: -1, Source: netip.MustParsePrefix("0.0.0.0/0"), Priority: 100}
	for name, c := range map[string]struct {
		rules []fake.Rule
		admit bool
	}{
		"none":                         {nil, false},
		"the very network":             {[]fake.Rule{accept("100.64.0.0/10", 1)}, true},
		"a wider one":                  {[]fake.Rule{accept("100.0.0.0/8", 50)}, true},
		"a part":                       {[]fake.Rule{accept("100.64.0.0/11", 1)}, false},
		"another":                      {[]fake.Rule{accept("10.0.0.0/8", 1)}, false},
		"everything":                   {[]fake.Rule{all}, true},
		"another protocol":             {[]fake.Rule{{Protocol: "UDP", From: 8000, To: 9000, Source: netip.MustParsePrefix("0.0.0.0/0")}}, false},
		"other ports":                  {[]fake.Rule{{From: 1, To: 8079, Source: netip.MustParsePrefix("0.0.0.0/0")}}, false},
		"dropped first":                {[]fake.Rule{accept("100.64.0.0/10", 2), drop("100.64.0.0/10", 1)}, false},
		"dropped later":                {[]fake.Rule{drop("100.64.0.0/10", 2), accept("100.64.0.0/10", 1)}, true},
		"dropped at the same priority": {[]fake.Rule{accept("100.64.0.0/10", 1), drop("0.0.0.0/0", 1)}, false},
		"a part is dropped":            {[]fake.Rule{accept("100.64.0.0/10", 2), drop("100.127.255.255/32", 1)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := stepstest.New(t, 1)
			for _, r := range c.rules {
				w.ECS.AddRule(faketest.SecurityGroup, r)
			}
			w.Advance(time.Minute)
			rules, err := ecs.New(w.Deps.Aliyun).Rules(w.Context(), faketest.SecurityGroup)
			require.NoError(t, err)
			require.Equal(t, c.admit, ecs.Admits(rules, ecs.Admission{Port: 8080, CIDR: netip.MustParsePrefix("100.64.0.0/10")}))
			both := true
			for _, from := range []string{"100.64.0.0", "100.90.1.2", "100.127.255.255"} {
				both = both && w.ECS.Admits(faketest.Host, netip.MustParseAddr(from), 8080)
			}
			require.Equal(t, c.admit, both)
		})
	}
}
