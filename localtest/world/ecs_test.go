package world

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/ecs"
	"eslink/localtest/fakes/network"
	"eslink/localtest/runtime"
	"eslink/shared/api"
	"eslink/shared/engine"
	"eslink/shared/flow"
	"eslink/shared/run"
	"eslink/shared/wire"
)

// hostSpec connects the instance to services on the host.
func hostSpec(useCases ...events.UseCase) events.Spec {
	return events.Spec{Name: "services", Scenario: flow.ESToECS, Region: Region, InstanceID: Instance, Target: events.Target{ECSInstanceID: Host},
		Secrets: events.Secrets{Instance: SecretInstance}, UseCases: useCases, Approve: "auto", Proof: "counts"}
}

var (
	webhook   = events.UseCase{Kind: events.Watcher, Port: 8080, Protocol: "http"}
	directory = events.UseCase{Kind: events.LDAP, Port: 389, Protocol: "ldap"}
)

// hosted is a sim whose runs stop before a step.
type hosted struct {
	*sim
	stopAt atomic.Pointer[string]
}

// drops reports whether a delivery is to the step that does not run.
func (s *hosted) drops(d runtime.Delivery) bool {
	stop := s.stopAt.Load()
	return stop != nil && d.Queue == "eslink-"+*stop
}

func inHosted(t *testing.T, do func(t *testing.T, s *hosted)) {
	t.Helper()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		h := &hosted{sim: s}
		h.services()
		do(t, h)
	})
}

// services puts a webhook and something that is no HTTP on the host.
func (s *hosted) services() {
	s.Network.SetService(Host, 8080, network.Service{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "got "+r.URL.Path)
	})})
	s.Network.SetService(Host, 389, network.Service{Serve: func(conn net.Conn) {
		defer conn.Close()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		io.WriteString(conn, "bound "+line)
	}})
}

// begin writes the record of a run at its first step, or lets a run that stands
// walk again, and delivers until step stop, which never runs.
func (s *hosted) begin(t *testing.T, spec events.Spec, stop string) {
	t.Helper()
	s.stopAt.Store(&stop)
	if s.stop == nil {
		s.Events.Fault = func(d runtime.Delivery) runtime.Fault {
			return runtime.Fault{Drop: s.drops(d)}
		}
		require.NoError(t, s.Start())
	}
	f, _ := s.Project.Function("eslink-runs")
	fn, err := wire.New(func(key string) string {
		if key == "FC_REGION" {
			return Region
		}
		return f.Environment[key]
	}, wire.Seams{Cloud: s.Transport(), DataPlane: nowhere{}, Resolver: nowhere{}, Now: s.Clock.Now}, io.Discard)
	require.NoError(t, err)
	key := s.Account.AssumeRole(f.RoleName(), time.Now())
	ctx := fccontext.NewContext(context.Background(), &fccontext.FcContext{Region: Region, AccountId: AccountID,
		Credentials: fccontext.Credentials{AccessKeyId: key.AccessKeyID, AccessKeySecret: key.AccessKeySecret, SecurityToken: key.SecurityToken}})
	s.id = flow.RunID(AccountID, spec)
	r, err := fn.Deps.Runs.Acquire(ctx, s.id)
	if err != nil {
		r = &run.Run{ID: s.id, AccountID: AccountID}
		require.NoError(t, fn.Deps.Runs.Create(ctx, r))
	}
	r.Spec, r.Direction = spec, run.Up
	r.Generation++
	engine.Goto(r, "preflight", run.Running, s.Clock.Now())
	require.NoError(t, fn.Deps.Runs.SaveAndRelease(ctx, r))
	require.NoError(t, fn.Engine.Send(ctx, r))
	v := s.until(t, func(v api.View) bool { return v.Step == stop || ended(v) })
	require.Equal(t, stop, v.Step, "%s %v", v.Reason, v.Problem)
	require.Equal(t, run.Running, v.Status, "%s %v", v.Reason, v.Problem)
}

// reaches proves that the instance's nodes talk to each port of the run, and
// that there is one of each resource.
func (s *hosted) reaches(t *testing.T, ports ...int) {
	t.Helper()
	require.Len(t, s.CLB.LoadBalancers(), 1)
	require.Len(t, s.CLB.Listeners(), len(ports))
	require.Len(t, s.CLB.Groups(), len(ports))
	require.Len(t, s.Links.Services(), 1)
	require.Equal(t, "slb", s.Links.Services()[0].ResourceType)
	require.Len(t, s.Links.Endpoints(), 1)
	require.Equal(t, "Connected", s.Links.Endpoints()[0].Connection)
	ours := 0
	for _, r := range s.Hosts.Rules(SecurityGroup) {
		if strings.Contains(r.Description, s.id) {
			ours++
		}
	}
	require.Equal(t, 2*len(ports), ours, "rules")
	domain := s.Links.Endpoints()[0].Domain
	for _, port := range ports {
		require.Contains(t, s.talk(t, domain, port), map[int]string{8080: "got /hook", 389: "bound dn", 9200: "elastic"}[port])
	}
	require.Empty(t, s.NLB.LoadBalancers())
	require.Empty(t, s.Account.Refusals())
}

// talk is what a port of the endpoint answers to the instance.
func (s *hosted) talk(t *testing.T, domain string, port int) string {
	t.Helper()
	place := s.nodes[Instance]
	conn, err := place.DialContext(t.Context(), "tcp", fmt.Sprintf("%s:%d", domain, port))
	require.NoError(t, err)
	defer conn.Close()
	if port == 389 {
		_, err = io.WriteString(conn, "dn\n")
		require.NoError(t, err)
		got, err := io.ReadAll(conn)
		require.NoError(t, err)
		return string(got)
	}
	resp, err := (&http.Client{Transport: place}).Get(fmt.Sprintf("http://%s:%d/hook", domain, port))
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(got)
}

func (s *hosted) takenDown(t *testing.T) {
	t.Helper()
	s.stopAt.Store(nil)
	s.do(t, events.Request{Action: "teardown"})
	s.ends(t, run.Removed)
	require.Empty(t, s.Left())
	require.Len(t, s.Hosts.Rules(SecurityGroup), 1, "what was there before")
	require.Empty(t, s.Account.Refusals())
}

func TestHostUpAndDown(t *testing.T) {
	t.Parallel()
	for name, useCases := range map[string][]events.UseCase{"one port": {webhook}, "two ports": {webhook, directory}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inHosted(t, func(t *testing.T, s *hosted) {
				spec := hostSpec(useCases...)
				s.begin(t, spec, "configure")
				s.reaches(t, spec.Ports()...)
				require.NotEmpty(t, s.Left(), "what Left would find after teardown")
				before := len(s.Writes())
				s.begin(t, spec, "configure")
				require.Empty(t, s.Writes()[before:], "a second walk changes nothing")
				s.takenDown(t)
			})
		})
	}
}

func TestAPortThatTheRunLeavesIsTakenBack(t *testing.T) {
	t.Parallel()
	inHosted(t, func(t *testing.T, s *hosted) {
		s.begin(t, hostSpec(webhook, directory), "configure")
		s.begin(t, hostSpec(directory), "configure")
		s.reaches(t, 389)
		s.begin(t, hostSpec(directory, webhook), "configure")
		s.reaches(t, 389, 8080)
		s.takenDown(t)
	})
}

// What somebody does to the link behind the run's back is repaired by walking
// again; so is a service that comes late.
func TestHostLinkIsMended(t *testing.T) {
	t.Parallel()
	inHosted(t, func(t *testing.T, s *hosted) {
		s.Network.SetService(Host, 8080, network.Service{Handler: http.NotFoundHandler(), Loopback: true})
		go func() {
			time.Sleep(15 * time.Minute)
			s.services()
		}()
		s.begin(t, hostSpec(webhook), "configure")
		v := s.view(t)
		var why string
		for _, e := range v.Timeline {
			if e.Step == "clb-backend" && strings.Contains(e.Reason, "abnormal") {
				why = e.Reason
			}
		}
		require.Contains(t, why, "127.0.0.1")
		require.Contains(t, why, Host)
		s.reaches(t, 8080)
		id := s.CLB.LoadBalancers()[0].ID
		for name, harm := range map[string]func(){
			"listener stopped": func() { s.CLB.SetListener(id, 8080, "stopped") },
			"listener deleted": func() { s.CLB.RemoveListener(id, 8080) },
			"group deleted":    func() { s.CLB.Remove(s.CLB.Groups()[0].ID) },
			"rules removed": func() {
				s.Hosts.RemoveRules(SecurityGroup, func(r ecs.Rule) bool { return strings.Contains(r.Description, s.id) })
			},
		} {
			harm()
			s.begin(t, hostSpec(webhook), "configure")
			require.NotPanics(t, func() { s.reaches(t, 8080) }, name)
		}
		s.takenDown(t)
	})
}

// usesItsRights walks what the functions of this scenario alone are for.
func (s *hosted) usesItsRights(t *testing.T) {
	t.Helper()
	s.services()
	spec := hostSpec(webhook)
	s.begin(t, spec, "configure")
	id, group := s.CLB.LoadBalancers()[0].ID, s.CLB.Groups()[0].ID
	require.NoError(t, s.Hosts.AddInstance(ecs.Instance{ID: "i-bp1another00000001", VPCID: SourceVPC, VSwitchID: "vsw-src-i000000000001", SecurityGroups: []string{SecurityGroup}}))
	s.CLB.SetServers(group, "i-bp1another00000001", 8080)
	s.begin(t, spec, "configure")
	s.reaches(t, 8080)
	require.Equal(t, id, s.CLB.LoadBalancers()[0].ID)
	s.takenDown(t)

	spec.Name, spec.UseCases = "copies", []events.UseCase{{Kind: events.ReindexUseCase, Port: 9200, Protocol: "http"}}
	spec.Indices = []events.Index{{Source: "product_info", Dest: "dest"}}
	s.begin(t, spec, "survey") // preflight looks at the security group
	s.takenDown(t)
}

// TestHostCrashMatrix is TestCrashMatrix for what the functions that this scenario
// alone has write to the cloud, with two ports.
func TestHostCrashMatrix(t *testing.T) {
	t.Parallel()
	of := func(calls []point) (all []strike) {
		for _, p := range calls {
			if p.Write && p.Op != "PutRow" && p.Op != "publish" && slices.Contains([]string{"clb", "firewall", "clb-backend"}, p.Function) {
				all = append(all, strike{p, DiesBefore}, strike{p, DiesAfter}, strike{p, LosesReply})
			}
		}
		return all
	}
	spec := hostSpec(webhook, directory)
	var up, down []strike
	inHosted(t, func(t *testing.T, s *hosted) {
		var p pointer
		s.IO = func(c Call) Crash { p.point(c); return Lives }
		s.begin(t, spec, "configure")
		up = of(p.turn())
		s.takenDown(t)
		down = of(p.turn())
	})
	for i := range max(len(up), len(down)) {
		up, down := up[i%len(up)], down[i%len(down)]
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			inHosted(t, func(t *testing.T, s *hosted) {
				var p pointer
				plan, struck := up, false
				s.IO = func(c Call) Crash {
					at := p.point(c)
					p.mu.Lock()
					defer p.mu.Unlock()
					if at != plan.point || struck {
						return Lives
					}
					struck = true
					return plan.fate
				}
				s.begin(t, spec, "configure")
				s.reaches(t, spec.Ports()...)
				require.True(t, struck, "%v", plan)
				p.turn()
				p.mu.Lock()
				plan, struck = down, false
				p.mu.Unlock()
				s.takenDown(t)
				require.True(t, struck, "%v", plan)
			})
		})
	}
	require.GreaterOrEqual(t, len(up), 3*8, "balancer, rules, and of each port group, listener and its start")
	require.GreaterOrEqual(t, len(down), 3*6, "of each port listener and group, rules, balancer")
}

// TestHostOnABadDay meets every event twice and out of order, and a cloud that
// throttles and loses replies.
func TestHostOnABadDay(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			inHosted(t, func(t *testing.T, s *hosted) {
				r := rand.New(rand.NewPCG(seed, 11))
				var mu sync.Mutex
				chance := func(n int) bool { mu.Lock(); defer mu.Unlock(); return r.IntN(n) == 0 }
				s.Events.Fault = func(d runtime.Delivery) runtime.Fault {
					f := runtime.Fault{Drop: s.drops(d) || d.Queue != "" && chance(20)}
					if !f.Drop && chance(3) {
						f.Copies = 1
					}
					if !f.Drop && chance(5) {
						f.Delay = time.Minute
					}
					return f
				}
				s.Account.SetFault(func(c cloud.Call) cloud.Fault {
					switch {
					case !byStep(c):
						return cloud.Fault{}
					case chance(30):
						return cloud.Fault{Before: throttled(c)}
					case chance(30):
						return cloud.Fault{LoseReply: true}
					}
					return cloud.Fault{}
				})
				require.NoError(t, s.Start())
				spec := hostSpec(directory, webhook)
				s.begin(t, spec, "configure")
				s.reaches(t, spec.Ports()...)
				s.takenDown(t)
			})
		})
	}
}
