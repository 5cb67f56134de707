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
	t.Parallel()
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

func TestUpServesAndDownLeavesNone(t *testing.T) {
	w := newWorld(t, 1, webhook, directory)
	began := w.Now()
	require.LessOrEqual(t, w.Up(w.step, w.run), 30)
	require.Less(t, w.Now().Sub(began), 3*time.Minute, "no wait for a list when nothing went wrong")
	w.serves(8080, 389)

	before := w.Writes()
	require.Equal(t, 1, w.Up(w.step, w.run), "a second walk looks once")
	require.Equal(t, before, w.Writes())

	w.Down(w.step, w.run)
	w.none()
	w.At(w.run, "clb")
	w.Down(w.clb, w.run)
	require.Empty(t, w.CLB.LoadBalancers())

	w.before() // after teardown comes start
	w.Up(w.step, w.run)
	w.serves(8080, 389)
}

func TestEveryWriteMeetsEveryMishap(t *testing.T) {
	t.Parallel()
	for _, m := range stepstest.Mishaps() {
		for n := 1; n <= 3; n++ { // up: group, listener, its start; down: listener, group
			for seed := range uint64(3) {
				t.Run(fmt.Sprintf("%s/%d/%d", m, n, seed), func(t *testing.T) {
					w := newWorld(t, seed)
					happened := w.Break(n, m)
					w.Up(w.step, w.run)
					require.True(t, happened())
					w.serves(8080)
					happened = w.Break(min(n, 2), m)
					w.Down(w.step, w.run)
					require.True(t, happened())
					w.none()
				})
			}
		}
	}
}

func TestDownFromTheMiddle(t *testing.T) {
	t.Parallel()
	for _, m := range stepstest.Mishaps() {
		for n := 1; n <= 3; n++ {
			for seed := range uint64(3) {
				t.Run(fmt.Sprintf("%s/%d/%d", m, n, seed), func(t *testing.T) {
					w := newWorld(t, seed)
					happened := w.Break(n, m)
					for !happened() {
						out, _ := w.Once(w.step, w.run)
						w.Advance(max(out.Delay(), time.Second))
					}
					w.Account.SetFault(nil)
					w.Down(w.step, w.run)
					w.At(w.run, "clb")
					w.Down(w.clb, w.run)
					w.none()
				})
			}
		}
	}
}

// A group that was requested, and whose reply did not come, is waited for as
// long as the list may lag before another is requested.
func TestNoSecondGroupWhileTheListMayLag(t *testing.T) {
	t.Parallel()
	for _, m := range []stepstest.Mishap{stepstest.LoseReply, stepstest.CrashAfter} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprintf("%s/%d", m, seed), func(t *testing.T) {
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

func TestThrottledCallsAreRepeated(t *testing.T) {
	w := newWorld(t, 3, webhook, directory)
	w.Throttle()
	w.Up(w.step, w.run)
	w.Account.SetFault(nil)
	w.serves(8080, 389)
	w.Throttle()
	w.Down(w.step, w.run)
	w.none()
}

// The codes by which a balancer says that it is busy, once for each write.
func TestABusyBalancer(t *testing.T) {
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

func TestDuplicateCallsCreateOnce(t *testing.T) {
	w := newWorld(t, 5)
	for range 40 { // without the waits that it asks for
		w.Once(w.step, w.run) // it may be busy
		w.Advance(2 * time.Second)
	}
	w.Up(w.step, w.run)
	w.serves(8080)
}

func TestChangesFromOutsideAreReverted(t *testing.T) {
	for name, harm := range map[string]func(*world){
		"listener stopped": func(w *world) { w.CLB.SetListener(w.run.Facts.CLB.ID, 8080, "stopped") },
		"listener deleted": func(w *world) { w.CLB.RemoveListener(w.run.Facts.CLB.ID, 8080) },
		"group deleted":    func(w *world) { w.CLB.Remove(w.run.Facts.CLBBackend.Ports[0].GroupID) },
		"both deleted": func(w *world) {
			w.CLB.RemoveListener(w.run.Facts.CLB.ID, 8080)
			w.CLB.Remove(w.run.Facts.CLBBackend.Ports[0].GroupID)
		},
		"balancer deleted": func(w *world) {
			w.CLB.Remove(w.run.Facts.CLB.ID)
			w.before()
		},
		"backend removed": func(w *world) {
			req := sdk.CreateRemoveVServerGroupBackendServersRequest()
			req.VServerGroupId, req.BackendServers = w.run.Facts.CLBBackend.Ports[0].GroupID, `[{"ServerId":"`+faketest.Host+`","Port":"8080"}]`
			require.NoError(w, w.Call("slb", req, sdk.CreateRemoveVServerGroupBackendServersResponse()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 6)
			w.Up(w.step, w.run)
			w.Advance(time.Minute)
			harm(w)
			w.Up(w.step, w.run)
			w.serves(8080)
			harm(w)
			w.Down(w.step, w.run)
			w.none()
		})
	}
}

// An address that moves to another host takes the backend along, without a gap.
func TestAnotherHost(t *testing.T) {
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

func TestTwoGroupsOfOneNameAreForAPerson(t *testing.T) {
	w := newWorld(t, 11)
	for range 2 {
		req := sdk.CreateCreateVServerGroupRequest()
		req.LoadBalancerId, req.VServerGroupName = w.run.Facts.CLB.ID, w.run.Name("servers-8080")
		require.NoError(t, w.Call("slb", req, sdk.CreateCreateVServerGroupResponse()))
		w.Advance(10 * time.Minute)
	}
	for _, d := range []run.Direction{run.Up, run.Down} {
		_, err := w.Walk(w.step, w.run, d)
		require.ErrorContains(t, err, "delete those")
	}
}
