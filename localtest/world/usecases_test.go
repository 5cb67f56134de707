package world

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/network"
	"eslink/localtest/runtime"
	"eslink/localtest/services"
	"eslink/shared/run"
)

// serving is a sim with a service for each use case on the host.
type serving struct {
	*sim
	offered
}

func inServing(t *testing.T, c Config, do func(t *testing.T, s *serving)) {
	t.Helper()
	t.Parallel()
	serve(t, c, do)
}

func serve(t *testing.T, c Config, do func(t *testing.T, s *serving)) {
	t.Helper()
	inWorld(t, c, func(t *testing.T, sim *sim) {
		require.NoError(t, sim.Serve(t.Context(), Kinds...))
		for _, id := range []string{"1", "2", "3"} {
			status, _ := sim.Ask(Host, http.MethodPut, "/orders/_doc/"+id+"?refresh=true", `{"n":`+id+`}`)
			require.Equal(t, 201, status)
		}
		do(t, &serving{sim, sim.offered})
	})
}

// refuses has the nodes not come up with a setting.
func (s *serving) refuses(key string) {
	s.Clusters.OnConfig(func(id string, config map[string]string) error {
		if config[key] != "" {
			config[key+".typo"] = "x"
		}
		return s.takeUp(id, config)
	})
}

// needing is the spec of use cases.
func needing(kinds ...string) events.Spec {
	s := (&World{mapsRoles: true}).HostSpec(kinds...)
	if s.Indices != nil {
		s.Indices = []events.Index{{Source: "orders"}}
	}
	return s
}

// config is the instance's esConfig.
func (s *serving) config() map[string]string { return s.instance(Instance).Config }

func (s *serving) takenDown(t *testing.T, before map[string]string) {
	t.Helper()
	s.do(t, events.Request{Action: "teardown"})
	s.ends(t, run.Removed)
	require.Empty(t, s.Left())
	require.Equal(t, before, s.config())
	require.Empty(t, s.Clusters.Secure(Instance))
	status, body := s.Ask(Instance, "GET", "/_security/role_mapping", "")
	require.Equal(t, 200, status)
	require.JSONEq(t, "{}", string(body))
	require.Len(t, s.Hosts.Rules(SecurityGroup), 1, "what was there before")
	require.Empty(t, s.Account.Refusals())
}

func TestEachUseCaseFromEndToEnd(t *testing.T) {
	for _, version := range []string{"7.17.29", "8.15.1"} {
		for _, kind := range Kinds {
			t.Run(kind+" "+version, func(t *testing.T) {
				inServing(t, Config{Version: version}, func(t *testing.T, s *serving) {
					before := maps.Clone(s.config())
					spec := needing(kind)
					s.start(t, events.Request{Spec: &spec})
					v := s.ends(t, run.Done)
					require.Len(t, v.Facts.Verify.Checks, 4)
					require.Equal(t, 1, s.restarted(Instance), "one restart")
					reply := s.check(t, events.CheckRequest{RunID: s.id})
					require.True(t, reply.OK, "%v", reply.Checks)
					if kind == events.ReindexUseCase {
						require.Equal(t, 3, count(t, s.World, Instance, "orders"))
					}
					s.start(t, events.Request{Spec: &spec, Again: true})
					s.ends(t, run.Done)
					require.Equal(t, 1, s.restarted(Instance), "a second walk restarts nothing")
					s.takenDown(t, before)
				})
			})
		}
	}
}

func TestAllUseCasesAtOnce(t *testing.T) {
	inServing(t, Config{}, func(t *testing.T, s *serving) {
		before := maps.Clone(s.config())
		spec := needing(Kinds...)
		spec.UseCases[1] = binding().UseCases[1]
		spec.Approve = ""
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.Failed)
		require.Contains(t, v.Problem.Error(), "not on the keystore's allowlist")
		require.Contains(t, v.Problem.Error(), "userDnTemplates")
		require.Empty(t, s.Writes())

		s.Clusters.AllowKeystore(Instance, false)
		s.do(t, events.Request{Action: "retry"})
		v = s.ends(t, run.WaitingApproval)
		require.NotContains(t, strings.Join(v.Plan.Creates, "\n"), "canary")
		require.Contains(t, strings.Join(v.Plan.Creates, "\n"), "secure setting xpack.security.authc.realms.ldap.ldap1.secure_bind_password with the password of secret eslink/reader")
		s.approve(t, v.Plan.ID)
		v = s.ends(t, run.Done)
		require.Len(t, v.Facts.Verify.Checks, 20)
		require.Equal(t, "operation (watcher)", v.Facts.Verify.Checks[3].Name)
		require.Equal(t, 1, s.restarted(Instance), "one restart for all of them")
		require.True(t, s.check(t, events.CheckRequest{RunID: s.id}).OK)

		spec.UseCases = spec.UseCases[:1]
		spec.Indices, spec.Secrets.Target = nil, ""
		s.start(t, events.Request{Spec: &spec})
		v = s.ends(t, run.WaitingApproval)
		s.approve(t, v.Plan.ID)
		s.ends(t, run.Done)
		require.Len(t, s.CLB.Listeners(), 1, "what is no longer named is taken back")
		require.Empty(t, s.Clusters.Secure(Instance))
		after := maps.Clone(s.config())
		require.Equal(t, "true", after["xpack.watcher.enabled"])
		after["xpack.watcher.enabled"] = before["xpack.watcher.enabled"]
		require.Equal(t, before, after)
		s.do(t, events.Request{Action: "teardown"})
		v = s.ends(t, run.WaitingApproval)
		s.approve(t, v.Plan.ID)
		s.ends(t, run.Removed)
		require.Equal(t, before, s.config())
		require.Empty(t, s.Left())
	})
}

// binding is a spec of two use cases, one of which keeps a password among the
// secure settings.
func binding() events.Spec {
	spec := needing(events.Watcher, events.LDAP)
	d := spec.UseCases[1].LDAP
	d.UserDNTemplates, d.UserSearch = nil, &events.Search{BaseDN: people.Suffix, Filter: "(cn={0})"}
	d.BindDN, d.BindSecret = people.UserDN(services.OpenLDAP, "reader"), "eslink/reader"
	return spec
}

// TestCrashMatrixOfUseCases is TestCrashMatrix over two use cases at once.
func TestCrashMatrixOfUseCases(t *testing.T) {
	t.Parallel()
	in := func(t *testing.T, do func(*testing.T, *sim)) {
		serve(t, Config{}, func(t *testing.T, s *serving) {
			s.Clusters.AllowKeystore(Instance, false)
			do(t, s.sim)
		})
	}
	stands := func(s *sim, t *testing.T) {
		require.Len(t, s.CLB.LoadBalancers(), 1)
		require.Len(t, s.CLB.Listeners(), 2)
		require.Len(t, s.CLB.Groups(), 2)
		require.Len(t, s.Links.Services(), 1)
		require.Len(t, s.Links.Endpoints(), 1)
		require.Len(t, s.Hosts.Rules(SecurityGroup), 5)
		require.Len(t, s.Clusters.Secure(Instance), 1)
		require.Equal(t, "true", s.instance(Instance).Config["xpack.watcher.enabled"])
		_, mappings := s.Ask(Instance, "GET", "/_security/role_mapping", "")
		require.Equal(t, 1, strings.Count(string(mappings), `"enabled"`))
		require.Empty(t, s.Account.Refusals())
	}
	removed := func(s *sim, t *testing.T) {
		require.Empty(t, s.Left())
		require.Len(t, s.Hosts.Rules(SecurityGroup), 1)
		require.Empty(t, s.Clusters.Secure(Instance))
		_, mappings := s.Ask(Instance, "GET", "/_security/role_mapping", "")
		require.JSONEq(t, "{}", string(mappings))
		s.others(t)
	}
	crashMatrix(t, binding(), in, 1, stands, removed)
}

// A realm that binds with a wrong password lets nobody in; the right one reaches
// the nodes.
func TestAWrongBindPassword(t *testing.T) {
	inServing(t, Config{}, func(t *testing.T, s *serving) {
		before := maps.Clone(s.config())
		s.Clusters.AllowKeystore(Instance, false)
		s.Secrets.Put("eslink/reader", login("reader", "canary-wrong"))
		spec := binding()
		spec.UseCases = spec.UseCases[1:]
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.Failed)
		require.Contains(t, v.Reason, "login: ")
		require.Contains(t, v.Reason, "bindSecret")
		s.Secrets.Put("eslink/reader", login("reader", "canary-reader"))
		s.start(t, events.Request{Spec: &spec, Again: true})
		v = s.ends(t, run.Failed)
		require.Contains(t, v.Reason, "restart the cluster in its console, then send retry")
		s.Clusters.Restart(Instance)
		s.do(t, events.Request{Action: "retry"})
		s.ends(t, run.Done)
		s.takenDown(t, before)
	})
}

func TestBadDaysOfUseCases(t *testing.T) {
	for name, c := range map[string]struct {
		kind   string
		harm   func(s *serving)
		reason []string
		mend   func(s *serving)
	}{
		"wrong password of the user": {events.LDAP, func(s *serving) { s.Secrets.Put("eslink/zhang", login("zhang", "canary-wrong")) },
			[]string{"login: ", "refuses zhang", "put the right password into the user's secret"}, func(s *serving) { s.Secrets.Put("eslink/zhang", login("zhang", "canary-zhang")) }},
		"directory that is down at the proof": {events.LDAP, func(s *serving) {
			s.Events.Before = func(d runtime.Delivery) {
				if d.Function == "eslink-verify" {
					s.Network.SetService(Host, 389, network.Service{})
				}
			}
		}, []string{"network: ", "389"}, func(s *serving) {
			s.Events.Before = nil
			s.Network.SetService(Host, 389, network.Service{Serve: s.ldap.ServeConn})
			time.Sleep(time.Minute)
		}},
		"service that is bound to 127.0.0.1": {events.Watcher, func(s *serving) { s.Network.SetService(Host, 8080, network.Service{Handler: s.hook, Loopback: true}) },
			[]string{"not done within", "0.0.0.0", "127.0.0.1", "iptables"}, func(s *serving) { s.Network.SetService(Host, 8080, network.Service{Handler: s.hook}) }},
		"service that answers nobody": {events.Watcher, func(s *serving) { s.hook.Answer(503) }, []string{"operation: ", "is answered 503"}, func(s *serving) { s.hook.Answer(200) }},
		"word that is not there":      {events.Dictionary, func(s *serving) { s.dictionary.Set("other") }, []string{"operation: ", "of cloud-native", "words.dic"}, func(s *serving) { s.dictionary.Set("cloud-native"); time.Sleep(2 * time.Minute) }},
		"setting that nodes refuse": {events.Dictionary, func(s *serving) { s.refuses("remote.dictionary") },
			[]string{"do not start with the new configuration", "unknown setting [remote.dictionary.typo]", `{"action":"restore"`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inServing(t, Config{}, func(t *testing.T, s *serving) {
				before := maps.Clone(s.config())
				c.harm(s)
				spec := needing(c.kind)
				s.start(t, events.Request{Spec: &spec})
				v := s.ends(t, run.Failed)
				for _, part := range c.reason {
					require.Contains(t, v.Reason, part)
				}
				require.NotContains(t, v.Reason, "canary")
				if c.mend != nil {
					c.mend(s)
					s.do(t, events.Request{Action: "retry"})
					s.ends(t, run.Done)
				} else {
					s.do(t, events.Request{Action: "restore"})
					v = s.ends(t, run.Failed)
					require.Contains(t, v.Reason, "esConfig is as it was before")
					require.Equal(t, before, s.config())
					status, _ := s.Ask(Instance, "GET", "/", "")
					require.Equal(t, 200, status, "the nodes are up again")
				}
				s.takenDown(t, before)
			})
		})
	}
}

// Whatever becomes of events, and whatever is throttled: one of each resource,
// one restart, and nothing left.
func TestUseCasesWhateverBecomesOfEvents(t *testing.T) {
	for name, upset := range map[string]func(s *serving){
		"twice": func(s *serving) {
			s.Events.Fault = func(runtime.Delivery) runtime.Fault { return runtime.Fault{Copies: 1} }
		},
		"thrice": func(s *serving) {
			s.Events.Fault = func(runtime.Delivery) runtime.Fault { return runtime.Fault{Copies: 2} }
		},
		"out of order": func(s *serving) {
			var n atomic.Uint64
			s.Events.Fault = func(runtime.Delivery) runtime.Fault {
				r := rand.New(rand.NewPCG(3, n.Add(1)))
				return runtime.Fault{Delay: time.Duration(r.IntN(200)) * time.Second, Copies: r.IntN(2)}
			}
		},
		"lost": func(s *serving) {
			var n atomic.Int64
			s.Events.Fault = func(d runtime.Delivery) runtime.Fault { return runtime.Fault{Drop: d.Queue != "" && n.Add(1)%3 == 0} }
		},
		"throttled": func(s *serving) {
			var mu sync.Mutex
			seen := map[string]bool{}
			s.Account.SetFault(func(c cloud.Call) cloud.Fault {
				mu.Lock()
				defer mu.Unlock()
				key := c.Caller.Role + " " + c.Product + " " + c.Action
				if !byStep(c) || seen[key] {
					return cloud.Fault{}
				}
				seen[key] = true
				return cloud.Fault{Before: throttled(c)}
			})
		},
	} {
		for _, kinds := range [][]string{{events.Watcher}, {events.LDAP, events.Dictionary}, {events.ActiveDirectory, events.ReindexUseCase}} {
			t.Run(name+" "+strings.Join(kinds, " "), func(t *testing.T) {
				inServing(t, Config{}, func(t *testing.T, s *serving) {
					before := maps.Clone(s.config())
					upset(s)
					spec := needing(kinds...)
					s.start(t, events.Request{Spec: &spec})
					s.ends(t, run.Done)
					require.Len(t, s.CLB.LoadBalancers(), 1)
					require.Len(t, s.CLB.Listeners(), len(kinds))
					require.Len(t, s.Links.Services(), 1)
					require.Len(t, s.Links.Endpoints(), 1)
					require.Len(t, s.Hosts.Rules(SecurityGroup), 1+2*len(kinds), "what was there, and for each port 100.64.0.0/10 and the balancer's vSwitch")
					require.Equal(t, 1, s.restarted(Instance))
					require.True(t, s.check(t, events.CheckRequest{RunID: s.id}).OK)
					s.takenDown(t, before)
					require.Equal(t, 2, s.restarted(Instance))
				})
			})
		}
	}
}

// At any time: does it still work?
func TestCheckTellsWhatHasBroken(t *testing.T) {
	inServing(t, Config{Alter: func(in *escluster.Instance) {}}, func(t *testing.T, s *serving) {
		spec := needing(events.Watcher, events.LDAP)
		s.start(t, events.Request{Spec: &spec})
		s.ends(t, run.Done)
		id := s.CLB.LoadBalancers()[0].ID
		failing := func(names ...string) {
			t.Helper()
			var got []string
			for _, k := range s.check(t, events.CheckRequest{RunID: s.id}).Checks {
				if !k.OK && k.Detail != "not reached" {
					got = append(got, k.Name)
				}
			}
			require.Equal(t, names, got)
		}
		failing()
		s.CLB.SetListener(id, 8080, "stopped")
		failing("link (watcher)", "network (watcher)")
		s.CLB.SetListener(id, 8080, "running")
		s.Network.SetService(Host, 389, network.Service{})
		time.Sleep(5 * time.Minute)
		failing("link (ldap)", "network (ldap)", "login (ldap)")
		s.Network.SetService(Host, 389, network.Service{Serve: s.ldap.ServeConn})
		time.Sleep(5 * time.Minute)
		failing()
		require.Empty(t, s.Account.Refusals())
	})
}

// Whether the cloud restarts nodes for a secure setting is documented nowhere.
func TestAKeystoreThatRestarts(t *testing.T) {
	for _, version := range []string{"7.10.2", "7.17.29", "8.15.1"} {
		t.Run(version, func(t *testing.T) {
			inServing(t, Config{Version: version}, func(t *testing.T, s *serving) {
				before := maps.Clone(s.config())
				s.Clusters.AllowKeystore(Instance, true)
				spec := binding()
				s.start(t, events.Request{Spec: &spec})
				s.ends(t, run.Done)
				require.True(t, s.check(t, events.CheckRequest{RunID: s.id}).OK)
				s.takenDown(t, before)
			})
		})
	}
}

// Two runs, of both scenarios, change one instance at the same time: each waits
// for the other, and each takes back its own.
func TestTwoScenariosOnOneInstance(t *testing.T) {
	inServing(t, Config{}, func(t *testing.T, s *serving) {
		before := maps.Clone(s.config())
		spec := binding()
		s.Clusters.AllowKeystore(Instance, false)
		s.start(t, events.Request{Spec: &spec})
		first := s.id
		s.until(t, at("configure"))
		s.start(t, events.Request{})
		second := s.id
		for _, id := range []string{first, second} {
			s.id = id
			s.ends(t, run.Done)
		}
		require.Equal(t, 2, s.restarted(Instance))
		for _, id := range []string{second, first} {
			s.id = id
			s.do(t, events.Request{Action: "teardown"})
		}
		for _, id := range []string{second, first} {
			s.id = id
			s.ends(t, run.Removed)
		}
		require.Equal(t, before, s.config())
		require.Empty(t, s.Left())
		require.Empty(t, s.Account.Refusals())
	})
}
