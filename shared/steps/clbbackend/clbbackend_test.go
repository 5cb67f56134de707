package clbbackend_test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/slb"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/ecs"
	"eslink/localtest/fakes/faketest"
	"eslink/localtest/fakes/network"
	fake "eslink/localtest/fakes/slb"
	"eslink/shared/engine"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/clb"
	"eslink/shared/steps/clbbackend"
	"eslink/shared/steps/firewall"
	"eslink/shared/steps/stepstest"
)

type world struct {
	*stepstest.World
	clb, firewall, step engine.Step
	run                 *run.Run
}

var (
	webhook   = events.UseCase{Kind: events.Watcher, Port: 8080}
	directory = events.UseCase{Kind: events.LDAP, Port: 389}
)

// newWorld has a balancer, a host that admits it, and services on its ports.
func newWorld(t *testing.T, seed uint64, useCases ...events.UseCase) *world {
	if useCases == nil {
		useCases = []events.UseCase{webhook}
	}
	w := &world{World: stepstest.New(t, seed)}
	w.clb, w.firewall, w.step, w.run = clb.New(w.Deps), firewall.New(w.Deps), clbbackend.New(w.Deps), w.HostRun("clb", useCases...)
	for _, port := range []int{8080, 389} {
		w.Network.SetService(faketest.Host, port, network.Service{Serve: func(c net.Conn) { io.WriteString(c, "hello"); c.Close() }})
	}
	w.before()
	return w
}

// before runs the steps that come before.
func (w *world) before() {
	w.At(w.run, "clb")
	w.Up(w.clb, w.run)
	w.At(w.run, "firewall")
	w.Up(w.firewall, w.run)
	w.At(w.run, "clb-backend")
}

// serves demands one running listener for each port, each with a group whose
// only, healthy backend is the host's port.
func (w *world) serves(ports ...int) {
	w.Helper()
	w.Advance(10 * time.Second)
	listeners, groups := w.CLB.Listeners(), w.CLB.Groups()
	require.Len(w, listeners, len(ports))
	require.Len(w, groups, len(ports))
	require.Len(w, w.run.Facts.CLBBackend.Ports, len(ports))
	for _, l := range listeners {
		require.Contains(w, ports, l.Port)
		require.Equal(w, w.run.Facts.CLB.ID+" running true false", fmt.Sprint(l.LoadBalancerID, " ", l.Status, " ", l.HealthCheck, " ", l.ProxyProtocol))
		g := groups[slices.IndexFunc(groups, func(g fake.Group) bool { return g.ID == l.GroupID })]
		require.Equal(w, []fake.Server{{ID: faketest.Host, Port: l.Port, Weight: 100}}, g.Servers)
		require.Equal(w, map[string]string{run.TagKey: w.run.ID}, g.Tags)
		require.Contains(w, w.run.Facts.CLBBackend.Ports, facts.CLBPort{Port: l.Port, GroupID: g.ID})
		req, resp := sdk.CreateDescribeHealthStatusRequest(), sdk.CreateDescribeHealthStatusResponse()
		req.LoadBalancerId, req.ListenerPort = l.LoadBalancerID, requests.NewInteger(l.Port)
		require.NoError(w, w.Call("slb", req, resp))
		require.Equal(w, "normal", resp.BackendServers.BackendServer[0].ServerHealthStatus)
	}
}

func (w *world) none() {
	w.Helper()
	require.Empty(w, w.CLB.Listeners())
	require.Empty(w, w.CLB.Groups())
	require.Nil(w, w.run.Facts.CLBBackend)
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "clb-backend", Seeds: 2, Most: 15,
		Not: map[stepstest.Day]string{stepstest.Namesake: "its groups stand in the run's own balancer"},
		Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
			w := newWorld(t, seed)
			return stepstest.Scene{Driver: w.Driver, Step: w.step, Run: w.run, Stands: func() { w.serves(8080) }, Nothing: w.none,
				ByHand: map[string]func(){
					"listener stopped": func() { w.CLB.SetListener(w.run.Facts.CLB.ID, 8080, "stopped") },
					"listener":         func() { w.CLB.RemoveListener(w.run.Facts.CLB.ID, 8080) },
					"group":            w.removeGroups,
					"all": func() {
						w.CLB.RemoveListener(w.run.Facts.CLB.ID, 8080)
						w.removeGroups()
					},
					"balancer": func() {
						w.CLB.Remove(w.run.Facts.CLB.ID)
						w.before()
					},
					"backend": func() {
						for _, g := range w.CLB.Groups() {
							req := sdk.CreateRemoveVServerGroupBackendServersRequest()
							req.VServerGroupId, req.BackendServers = g.ID, `[{"ServerId":"`+faketest.Host+`","Port":"8080"}]`
							require.NoError(t, w.Call("slb", req, sdk.CreateRemoveVServerGroupBackendServersResponse()))
						}
					},
				},
				Twice: func() []string { return []string{w.group(), w.group()} },
				// A group that was requested and is not listed yet goes with the balancer.
				Undone: func() {
					if len(w.CLB.Groups()) > 0 {
						w.At(w.run, "clb")
						w.Down(w.clb, w.run)
						w.At(w.run, "clb-backend")
						w.Down(w.step, w.run)
						w.before()
					}
				},
			}
		}})
}

// TestTwoPorts has a listener and a group for each.
func TestTwoPorts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, webhook, directory)
	began := w.Now()
	require.LessOrEqual(t, w.Up(w.step, w.run), 30)
	require.Less(t, w.Now().Sub(began), 3*time.Minute, "no wait for a list when nothing went wrong")
	w.serves(8080, 389)
	w.Down(w.step, w.run)
	w.none()
}

func (w *world) removeGroups() {
	for _, g := range w.CLB.Groups() {
		w.CLB.Remove(g.ID)
	}
}

// group creates a group of the run's name behind its back.
func (w *world) group() string {
	w.Helper()
	req, resp := sdk.CreateCreateVServerGroupRequest(), sdk.CreateCreateVServerGroupResponse()
	req.LoadBalancerId, req.VServerGroupName = w.run.Facts.CLB.ID, w.run.Name("servers-8080")
	require.NoError(w, w.Call("slb", req, resp))
	w.Advance(10 * time.Minute)
	return resp.VServerGroupId
}

// A group that was requested, and whose reply did not come, is waited for as
// long as the list may lag before another is requested.
func TestNoSecondGroupWhileTheListMayLag(t *testing.T) {
	t.Parallel()
	for _, m := range []stepstest.Mishap{stepstest.LoseReply, stepstest.CrashAfter} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprintf("%s/%d", m, seed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, seed)
				w.Break(1, m)
				w.Once(w.step, w.run)
				w.Account.SetFault(nil)
				asked := w.Now()
				for range 300 { // every second, whatever it asks for
					out, err := w.Once(w.step, w.run)
					require.True(t, err == nil || strings.Contains(err.Error(), "Processing") || strings.Contains(err.Error(), "onfiguring") || strings.Contains(err.Error(), "Busy"), err)
					if w.Now().Sub(asked) < 2*time.Minute && len(w.run.Facts.CLBBackend.Ports) == 0 {
						require.Contains(t, out.Reason(), "the list may not show it yet")
					}
					require.LessOrEqual(t, len(w.CLB.Groups()), 1)
					w.Advance(time.Second)
				}
				w.Up(w.step, w.run)
				w.serves(8080)
			})
		}
	}
}

// The codes by which a balancer says that it is busy, once for each write.
func TestABusyBalancer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	began := w.Now()
	seen := map[string]bool{}
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		for _, code := range []string{"SystemBusy", "OperationBusy", "ServiceIsStopping", "BackendServer.configuring", "ServiceIsConfiguring", "VServerGroupProcessing"} {
			if key := c.Action + code; !strings.HasPrefix(c.Action, "Describe") && !seen[key] {
				seen[key] = true
				return cloud.Fault{Before: cloud.Errorf(400, code, "Later.")}
			}
		}
		return cloud.Fault{}
	})
	w.Up(w.step, w.run)
	require.Less(t, w.Now().Sub(began), 4*time.Minute, "a refusal is not waited out like a lost reply")
	w.serves(8080)
	w.Down(w.step, w.run)
	w.none()
	require.Len(t, seen, 5*6)
}

// An address that moves to another host takes the backend along, without a gap.
func TestAnotherHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 7)
	w.Up(w.step, w.run)
	require.NoError(t, w.ECS.AddInstance(ecs.Instance{ID: "i-two", VPCID: "vpc-src", VSwitchID: "vsw-src-i", SecurityGroups: []string{faketest.SecurityGroup}}))
	w.Network.SetService("i-two", 8080, network.Service{Serve: func(net.Conn) {}})
	w.run.Facts.Preflight.ECS.InstanceID = "i-two"
	for {
		out, err := w.Once(w.step, w.run)
		if err == nil && out.IsDone() {
			break
		}
		require.NotEmpty(t, w.CLB.Groups()[0].Servers)
		w.Advance(max(out.Delay(), 5*time.Second))
	}
	require.Equal(t, []fake.Server{{ID: "i-two", Port: 8080, Weight: 100}}, w.CLB.Groups()[0].Servers)
}

func TestPortsThatTheSpecDropsAreRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8, webhook, directory)
	w.Up(w.step, w.run)
	w.run.Spec.UseCases = []events.UseCase{directory}
	w.before()
	w.Up(w.step, w.run)
	w.serves(389)
	w.run.Spec.UseCases = []events.UseCase{webhook, directory}
	w.before()
	w.Up(w.step, w.run)
	w.serves(8080, 389)
}

func TestUnhealthyNamesTheBackendAndWhatToLookAt(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(*world){
		"bound to 127.0.0.1": func(w *world) {
			w.Network.SetService(faketest.Host, 8080, network.Service{Serve: func(net.Conn) {}, Loopback: true})
		},
		"nothing listens": func(w *world) { w.Network.SetService(faketest.Host, 8080, network.Service{}) },
		"rules removed": func(w *world) {
			w.ECS.RemoveRules(faketest.SecurityGroup, func(ecs.Rule) bool { return true })
		},
		"host stopped": func(w *world) { w.ECS.SetStatus(faketest.Host, "Stopped") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 9)
			w.Up(w.step, w.run)
			harm(w)
			out, err := w.Once(w.step, w.run)
			require.NoError(t, err)
			require.False(t, out.IsDone())
			for _, part := range []string{"backend " + faketest.Host, w.run.Facts.Preflight.ECS.PrivateIP + ":8080", "abnormal", "0.0.0.0", "127.0.0.1", "iptables", faketest.SecurityGroup} {
				require.Contains(t, out.Reason(), part)
			}
		})
	}
}

// A listener that leads elsewhere is recreated; one that does not check health is
// for a person.
func TestForeignListeners(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	group, resp := sdk.CreateCreateVServerGroupRequest(), sdk.CreateCreateVServerGroupResponse()
	group.LoadBalancerId = w.run.Facts.CLB.ID
	require.NoError(t, w.Call("slb", group, resp))
	req := sdk.CreateCreateLoadBalancerTCPListenerRequest()
	req.LoadBalancerId, req.VServerGroupId, req.ListenerPort, req.Bandwidth, req.HealthCheckSwitch = w.run.Facts.CLB.ID, resp.VServerGroupId, "8080", "-1", "off"
	w.Advance(time.Minute)
	require.NoError(t, w.Call("slb", req, sdk.CreateCreateLoadBalancerTCPListenerResponse()))
	w.Advance(time.Minute)
	w.Up(w.step, w.run)
	w.CLB.Remove(resp.VServerGroupId)
	w.serves(8080)

	w.CLB.RemoveListener(w.run.Facts.CLB.ID, 8080)
	req.VServerGroupId = w.run.Facts.CLBBackend.Ports[0].GroupID
	w.Advance(time.Minute)
	require.NoError(t, w.Call("slb", req, sdk.CreateCreateLoadBalancerTCPListenerResponse()))
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "health check off")
}
