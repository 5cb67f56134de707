package nlbbackend_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/nlb"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/faketest"
	fake "eslink/localtest/fakes/nlb"
	"eslink/shared/engine"
	"eslink/shared/run"
	"eslink/shared/steps/nlb"
	"eslink/shared/steps/nlbbackend"
	"eslink/shared/steps/stepstest"
)

type world struct {
	*stepstest.World
	nlb, step engine.Step
	run       *run.Run
}

// newWorld has a balancer that the source's whitelist admits.
func newWorld(t *testing.T, seed uint64) *world {
	w := &world{World: stepstest.New(t, seed)}
	w.nlb, w.step, w.run = nlb.New(w.Deps), nlbbackend.New(w.Deps), w.Run("nlb")
	w.balancer()
	return w
}

func (w *world) balancer() {
	w.At(w.run, "nlb")
	w.Up(w.nlb, w.run)
	w.ES.SetGroup(faketest.Src, "eslink", w.run.Facts.NLB.LocalAddresses...)
	w.At(w.run, "nlb-backend")
}

// serves demands a running TCP listener whose only, healthy backends are where
// the source is now.
func (w *world) serves() {
	w.Helper()
	listeners, groups := w.NLB.Listeners(), w.NLB.ServerGroups()
	require.Len(w, listeners, 1)
	require.Len(w, groups, 1)
	l, g := listeners[0], groups[0]
	require.Equal(w, w.run.Facts.NLB.ID, l.LoadBalancerID)
	require.Equal(w, g.ID, l.ServerGroupID)
	require.Equal(w, "Running TCP 9200 false", fmt.Sprint(l.Status, " ", l.Protocol, " ", l.Port, " ", l.ProxyProtocol))
	require.Equal(w, "Ip", g.Type)
	require.False(w, g.PreserveClientIP)
	require.True(w, g.HealthCheck)
	var want, got []string
	for _, i := range w.ES.Instances() {
		if i.ID == faketest.Src {
			for _, a := range i.Addresses {
				want = append(want, a.IP.String()+":9200")
			}
		}
	}
	for _, s := range g.Servers {
		require.Equal(w, "Available", s.Status)
		got = append(got, fmt.Sprintf("%s:%d", s.IP, s.Port))
	}
	require.ElementsMatch(w, want, got)
	require.Len(w, w.run.Facts.NLBBackend.Servers, len(want))
	require.Equal(w, l.ID, w.run.Facts.NLBBackend.ListenerID)
	require.Equal(w, g.ID, w.run.Facts.NLBBackend.ServerGroupID)
	req, resp := sdk.CreateGetListenerHealthStatusRequest(), sdk.CreateGetListenerHealthStatusResponse()
	req.ListenerId = l.ID
	require.NoError(w, w.Call("nlb", req, resp))
	require.NotContains(w, string(resp.GetHttpContentBytes()), "ReasonCode")
}

func (w *world) none() {
	w.Helper()
	require.Empty(w, w.NLB.Listeners())
	require.Empty(w, w.NLB.ServerGroups())
	require.Nil(w, w.run.Facts.NLBBackend)
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "nlb-backend", Most: 14,
		Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
			w := newWorld(t, seed)
			return stepstest.Scene{Driver: w.Driver, Step: w.step, Run: w.run, Stands: w.serves, Nothing: w.none,
				ByHand: map[string]func(){
					"listener": func() { w.remove(w.NLB.Listeners()...) },
					"group": func() {
						for _, g := range w.NLB.ServerGroups() {
							w.NLB.Remove(g.ID)
						}
					},
					"all": func() {
						w.remove(w.NLB.Listeners()...)
						for _, g := range w.NLB.ServerGroups() {
							w.NLB.Remove(g.ID)
						}
					},
					"balancer": func() {
						w.NLB.Remove(w.run.Facts.NLB.ID)
						w.balancer()
					},
					"servers": w.removeServers,
				},
				Twice: func() []string { return []string{w.group("a1", w.run.ID), w.group("b1", w.run.ID)} },
				Namesake: func() func() {
					id := w.group(w.run.Name("servers"), "another run")
					return func() { require.Equal(t, id, w.NLB.ServerGroups()[0].ID) }
				},
			}
		}})
}

func (w *world) remove(listeners ...fake.Listener) {
	for _, l := range listeners {
		w.NLB.Remove(l.ID)
	}
}

// removeServers empties the groups by hand.
func (w *world) removeServers() {
	for _, g := range w.NLB.ServerGroups() {
		for _, s := range g.Servers {
			req := sdk.CreateRemoveServersFromServerGroupRequest()
			req.ServerGroupId = g.ID
			req.Servers = &[]sdk.RemoveServersFromServerGroupServers{{ServerType: "Ip", ServerId: s.IP, Port: "9200"}}
			require.NoError(w, w.Call("nlb", req, sdk.CreateRemoveServersFromServerGroupResponse()))
		}
	}
}

func TestAddressesChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.Up(w.step, w.run)
	old := w.run.Facts.NLBBackend.Servers
	at := func(ip string) escluster.Address {
		return escluster.Address{ZoneID: faketest.ZoneI, VSwitchID: "vsw-src", IP: netip.MustParseAddr(ip)}
	}
	w.ES.SetAddresses(faketest.Src, at("10.2.0.77"), at("10.2.0.78"))

	var least int
	var oldThere bool
	for least = 1 << 8; ; {
		out, err := w.Once(w.step, w.run)
		require.NoError(t, err)
		servers, found := 0, false
		for _, s := range w.NLB.ServerGroups()[0].Servers {
			if s.Status == "Available" {
				servers++
			}
			found = found || s.IP == old[0]
		}
		least, oldThere = min(least, servers), found
		if out.IsDone() {
			break
		}
		w.Advance(out.Delay())
	}
	require.Positive(t, least, "new ones come before old ones go")
	require.False(t, oldThere)
	w.serves()

	// Back again within a day: the tokens of then must not answer for now.
	for _, set := range [][]escluster.Address{{at(old[0])}, {at("10.2.0.77"), at("10.2.0.78")}, {at(old[0])}} {
		w.ES.SetAddresses(faketest.Src, set...)
		w.Up(w.step, w.run)
		w.serves()
	}
}

func TestOneAddressPerZone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	i, j := w.VPC.TakeIP("vsw-src-i"), w.VPC.TakeIP("vsw-src-j")
	w.ES.SetAddresses(faketest.Src, escluster.Address{ZoneID: faketest.ZoneI, VSwitchID: "vsw-src-i", IP: i}, escluster.Address{ZoneID: faketest.ZoneJ, VSwitchID: "vsw-src-j", IP: j})
	w.run.Facts.Preflight.Target.Endpoints = []string{
		escluster.Address{ZoneID: faketest.ZoneI}.Domain(faketest.Src), escluster.Address{ZoneID: faketest.ZoneJ}.Domain(faketest.Src)}
	w.Up(w.step, w.run)
	w.serves()
	require.ElementsMatch(t, []string{i.String(), j.String()}, w.run.Facts.NLBBackend.Servers)
}

// resolver answers for one host with err, or with addresses.
type resolver struct {
	host  string
	addrs []string
	err   error
	inner interface {
		LookupHost(context.Context, string) ([]string, error)
	}
}

func (r resolver) LookupHost(ctx context.Context, host string) ([]string, error) {
	if host == r.host {
		return r.addrs, r.err
	}
	return r.inner.LookupHost(ctx, host)
}

func TestAnUnresolvedDomainRemovesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 7)
	w.Up(w.step, w.run)
	before := w.Writes()
	w.Deps.Aliyun.Resolver = resolver{host: "zone.elasticsearch.aliyuncs.com", err: errors.New("i/o timeout"), inner: w.Deps.Aliyun.Resolver}
	w.run.Facts.Preflight.Target.Endpoints = []string{"zone.elasticsearch.aliyuncs.com"}
	w.step = nlbbackend.New(w.Deps)
	_, err := w.Once(w.step, w.run)
	require.ErrorContains(t, err, "resolve zone.elasticsearch.aliyuncs.com")
	require.Equal(t, before, w.Writes())
}

func TestAPublicAddressIsForAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8)
	before := w.Writes()
	w.Deps.Aliyun.Resolver = resolver{host: w.run.Facts.Preflight.Target.Domain, addrs: []string{"8.8.8.8"}}
	_, err := w.Walk(nlbbackend.New(w.Deps), w.run, run.Up)
	require.ErrorContains(t, err, "not private")
	require.Equal(t, before, w.Writes())
}

func TestUnhealthyNamesBackendsAndTheWhitelist(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 9)
	w.ES.SetGroup(faketest.Src, "eslink") // admits the functions' vSwitch, but not the balancer
	var reason string
	for range 30 {
		out, err := w.Once(w.step, w.run)
		require.NoError(t, err)
		require.False(t, out.IsDone())
		reason = out.Reason()
		w.Advance(out.Delay())
	}
	require.Contains(t, reason, "CONNECT_TIMEOUT")
	require.Contains(t, reason, faketest.Src)
	for _, ip := range w.run.Facts.NLB.LocalAddresses {
		require.Contains(t, reason, ip)
	}
	w.ES.SetGroup(faketest.Src, "eslink", w.run.Facts.NLB.LocalAddresses...)
	w.Up(w.step, w.run)
	w.serves()
}

func TestForeignServersAreRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 11)
	w.Up(w.step, w.run)
	req := sdk.CreateAddServersToServerGroupRequest()
	req.ServerGroupId = w.run.Facts.NLBBackend.ServerGroupID
	req.Servers = &[]sdk.AddServersToServerGroupServers{{ServerType: "Ip", ServerId: "10.2.0.99", Port: "9200"}}
	require.NoError(t, w.Call("nlb", req, sdk.CreateAddServersToServerGroupResponse()))
	w.Up(w.step, w.run)
	w.serves()
}

// group creates a server group with a run's tag behind its back. One called
// "preserve" preserves client addresses.
func (w *world) group(name, tag string) string {
	w.Helper()
	req, resp := sdk.CreateCreateServerGroupRequest(), sdk.CreateCreateServerGroupResponse()
	req.VpcId, req.ServerGroupName, req.ServerGroupType, req.Protocol = "vpc-src", name, "Ip", "TCP"
	req.PreserveClientIpEnabled = requests.NewBoolean(name == "preserve")
	req.Tag = &[]sdk.CreateServerGroupTag{{Key: run.TagKey, Value: tag}}
	require.NoError(w, w.Call("nlb", req, resp))
	w.Advance(10 * time.Minute)
	return resp.ServerGroupId
}

func TestAGroupThatPreservesAddressesIsForAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 13)
	w.group("preserve", w.run.ID)
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "client addresses preserved: true")
}

func TestAStoppedListenerIsForAPersonAndCanBeTornDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 14)
	w.Up(w.step, w.run)
	req := sdk.CreateStopListenerRequest()
	req.ListenerId = w.run.Facts.NLBBackend.ListenerID
	require.NoError(t, w.Call("nlb", req, sdk.CreateStopListenerResponse()))
	w.Advance(time.Minute)
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "is Stopped: start or delete it")
	w.Down(w.step, w.run)
	w.none()
}
