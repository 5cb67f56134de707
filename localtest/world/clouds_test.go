package world

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/escluster"
	"eslink/shared/run"
)

// byStep says whether a step function makes the call: what status, runs and
// sweep ask is asked by a person, or by the next timer.
func byStep(c cloud.Call) bool {
	_, ok := stepFunctions[strings.TrimPrefix(c.Caller.Role, "eslink-")]
	return ok
}

// throttled is what products answer whose limit is reached.
func throttled(c cloud.Call) *cloud.Error {
	switch c.Product {
	case "ots", "tablestore":
		return cloud.Errorf(403, "OTSQuotaExhausted", "Too frequent table operations.")
	case "mns":
		return cloud.Errorf(429, "QpsLimitExceeded", "The queue has received too many requests.")
	}
	return cloud.Errorf(400, "Throttling.User", "Request was denied due to user flow control.")
}

func TestEachOperationIsThrottledOnce(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		var mu sync.Mutex
		seen := map[string]bool{}
		s.Account.SetFault(func(c cloud.Call) cloud.Fault {
			mu.Lock()
			defer mu.Unlock()
			if key := c.Caller.Role + " " + c.Product + " " + c.Action; byStep(c) && !seen[key] {
				seen[key] = true
				return cloud.Fault{Before: throttled(c)}
			}
			return cloud.Fault{}
		})
		s.provision(t)
		require.Equal(t, 1, s.restarted(Instance))
		s.tearDown(t)
		t.Logf("%d operations of functions", len(seen))
		require.Greater(t, len(seen), 60)
	})
}

func TestThrottlingForTenMinutes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{Seed: seed}, func(t *testing.T, s *sim) {
				began := time.Now()
				s.Account.SetFault(func(c cloud.Call) cloud.Fault {
					if time.Since(began) < 10*time.Minute && byStep(c) && rand.New(rand.NewPCG(seed, uint64(c.N))).IntN(10) < 3 {
						return cloud.Fault{Before: throttled(c)}
					}
					return cloud.Fault{}
				})
				s.provision(t)
				began = time.Now()
				s.tearDown(t)
			})
		})
	}
}

// An error code that nobody knows goes by its status: 5xx passes, 4xx stops the
// run, which says so and goes on when asked to.
func TestUnknownErrorCodes(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"DescribeInstance", "CreateLoadBalancer", "CreateServerGroup", "AddServersToServerGroup", "CreateListener",
		"CreateVpcEndpointService", "CreateVpcEndpoint", "EnableVpcEndpointConnection", "UpdateInstanceSettings", "UpdatePrivateNetworkWhiteIps", "GetSecretValue",
		"DisableVpcEndpointConnection", "DeleteVpcEndpoint", "DeleteVpcEndpointService", "DetachResourceFromVpcEndpointService", "DeleteListener", "DeleteLoadBalancer"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				var mu sync.Mutex
				var refused, failed int
				s.Account.SetFault(func(c cloud.Call) cloud.Fault {
					mu.Lock()
					defer mu.Unlock()
					switch {
					case c.Action != op || !byStep(c):
						return cloud.Fault{}
					case failed < 2:
						failed++
						return cloud.Fault{Before: cloud.Errorf(503, "MarsIsDown", "nobody has documented this")}
					case refused == 0:
						refused++
						return cloud.Fault{Before: cloud.Errorf(400, "MoonIsFull", "nor this")}
					}
					return cloud.Fault{}
				})
				stopped := 0
				for _, walk := range []struct {
					req  events.Request
					ends run.Status
				}{{events.Request{Action: "start"}, run.Done}, {events.Request{Action: "teardown"}, run.Removed}} {
					s.patiently(t, walk.req)
					v := s.until(t, ended)
					if v.Status == run.Failed {
						stopped++
						require.Contains(t, v.Reason, "MoonIsFull")
						require.NotContains(t, v.Reason, "MarsIsDown")
						require.NotEmpty(t, v.Next)
						s.do(t, events.Request{Action: "retry"})
					}
					s.ends(t, walk.ends)
					if walk.ends == run.Done {
						s.stands(t)
					}
				}
				s.removed(t)
				require.Equal(t, 1, stopped)
				require.Equal(t, 2, failed)
			})
		})
	}
}

func TestRestartOfTwoHours(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.Clusters.SetRestart(Instance, 2*time.Hour)
		began := time.Now()
		s.provision(t)
		require.Greater(t, time.Since(began), 2*time.Hour)
		require.Equal(t, 1, s.restarted(Instance))
		require.Less(t, s.Invocations()["configure"], 25, "waiting is not polling")
	})
}

func TestRestartThatNeverEnds(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.Clusters.SetRestart(Instance, escluster.Never)
		s.start(t, events.Request{})
		v := s.ends(t, run.Failed)
		require.Equal(t, "configure", v.Step)
		require.Contains(t, v.Reason, "not done within 6h")
		require.Contains(t, v.Reason, Instance)
		s.do(t, events.Request{Action: "retry"})
		time.Sleep(time.Hour)
		s.Clusters.StopRestart(Instance)
		s.Clusters.SetRestart(Instance, 0)
		s.ends(t, run.Done)
		s.stands(t)
		require.Equal(t, 1, s.restarted(Instance))
		s.tearDown(t)
	})
}

// A blue-green change gives ES_2 other addresses; the next walk finds them.
func TestTargetMoves(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.provision(t)
		s.Clusters.SetAddresses(Target,
			escluster.Address{ZoneID: Zone, VSwitchID: "vsw-src-i000000000001", IP: netip.MustParseAddr("10.2.1.77")},
			escluster.Address{ZoneID: Region + "-j", VSwitchID: "vsw-src-j000000000001", IP: netip.MustParseAddr("10.2.2.78")})
		s.start(t, events.Request{Again: true})
		s.ends(t, run.Done)
		s.stands(t)
		var ips []string
		for _, b := range s.NLB.ServerGroups()[0].Servers {
			ips = append(ips, b.IP)
		}
		require.ElementsMatch(t, []string{"10.2.1.77", "10.2.2.78"}, ips)
		require.Equal(t, 1, s.restarted(Instance))
		s.tearDown(t)
	})
}

func TestLoadBalancerEndsInCreateFailed(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		var failed once
		s.NLB.FailCreate(func(string) bool { return failed.first() })
		s.start(t, events.Request{})
		if v := s.until(t, ended); v.Status == run.Failed {
			require.Contains(t, v.Reason, "CreateFailed")
			s.do(t, events.Request{Action: "retry"})
			s.ends(t, run.Done)
		}
		s.stands(t)
		s.tearDown(t)
	})
}

// What somebody deletes by hand is recreated by another walk, and teardown
// passes over it.
func TestDeletedByHand(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(s *sim){
		"server group": func(s *sim) { s.NLB.Remove(s.NLB.ServerGroups()[0].ID) },
		"listener":     func(s *sim) { s.NLB.Remove(s.NLB.Listeners()[0].ID) },
		"service":      func(s *sim) { s.Links.Remove(s.Links.Services()[0].ID) },
		"load balancer": func(s *sim) { // which the cloud allows only after its service
			s.Links.Remove(s.Links.Services()[0].ID)
			s.NLB.Remove(s.NLB.LoadBalancers()[0].ID)
		},
		"endpoint": func(s *sim) { s.Links.Remove(s.Links.Endpoints()[0].ID) },
		"group":    func(s *sim) { s.Clusters.SetGroup(Target, s.group()) },
		"entry": func(s *sim) {
			config := s.instance(Instance).Config
			delete(config, "reindex.remote.whitelist")
			s.Clusters.SetConfig(Instance, config)
		},
		"index": func(s *sim) { s.Ask(Instance, "DELETE", "/dest", "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				s.provision(t)
				remove(s)
				time.Sleep(time.Minute)
				s.start(t, events.Request{Again: true})
				s.ends(t, run.Done)
				s.stands(t)
				remove(s)
				s.tearDown(t)
			})
		})
	}
}

// Somebody else's changes between our steps and our walks are theirs to keep.
func TestOtherHands(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.start(t, events.Request{})
		s.until(t, at("accept"))
		theirs := s.instance(Instance).Config
		theirs["reindex.remote.whitelist"] = "elsewhere:9200"
		theirs["http.max_content_length"] = "50mb"
		s.Clusters.SetConfig(Instance, theirs)
		s.ends(t, run.Done)
		entry := s.Links.Endpoints()[0].Domain + ":9200"
		require.Equal(t, "elsewhere:9200,"+entry, strings.ReplaceAll(s.instance(Instance).Config["reindex.remote.whitelist"], " ", ""))
		require.Equal(t, "50mb", s.instance(Instance).Config["http.max_content_length"])
		require.Equal(t, 1, s.restarted(Instance))

		// They add to our group, and make one of their own.
		s.Clusters.SetGroup(Target, s.group(), "10.9.9.9")
		s.Clusters.SetGroup(Target, "theirs", "10.8.8.8")
		s.start(t, events.Request{Again: true})
		s.ends(t, run.Done)
		require.NotContains(t, fmt.Sprint(s.Clusters.Groups(Target)), "10.9.9.9", "our group holds what we need")
		require.Contains(t, fmt.Sprint(s.Clusters.Groups(Target)), "10.8.8.8")

		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.Removed)
		require.Empty(t, s.Left())
		require.Equal(t, "elsewhere:9200", s.instance(Instance).Config["reindex.remote.whitelist"])
		require.Equal(t, "50mb", s.instance(Instance).Config["http.max_content_length"])
		require.Contains(t, fmt.Sprint(s.Clusters.Groups(Target)), "10.8.8.8")
		s.others(t)
	})
}

func TestForeignEndpointStaysPending(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.start(t, events.Request{})
		s.until(t, at("private-connection"))
		foreign, err := s.Links.AddForeignEndpoint(s.Links.Services()[0].ID, Zone, "1999999999999999")
		require.NoError(t, err)
		s.ends(t, run.Done)
		for _, e := range s.Links.Endpoints() {
			require.Equal(t, e.ID != foreign.ID, e.Connection == "Connected", e.ID)
		}
		require.Equal(t, 6, count(t, s.World, Instance, "dest"))
		// Its owner takes it back, or the service could not be deleted.
		require.NoError(t, s.Links.DeleteEndpoint(foreign.ID))
		s.tearDown(t)
	})
}
