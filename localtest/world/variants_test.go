package world

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/run"
)

// Each version of Elasticsearch that Alibaba Cloud offers.
func TestVersions(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.10.2", "7.17.29", "8.15.1"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{Version: version}, func(t *testing.T, s *sim) {
				s.provision(t)
				require.True(t, s.check(t, events.CheckRequest{RunID: s.id}).OK)
				s.tearDown(t)
			})
		})
	}
}

// Clusters in several zones have several addresses, and the balancer stands in
// two zones.
func TestSeveralZones(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{Zones: 2}, func(t *testing.T, s *sim) {
		s.provision(t)
		require.Len(t, s.NLB.ServerGroups()[0].Servers, 2)
		require.Len(t, s.NLB.LoadBalancers()[0].Zones, 2)
		s.tearDown(t)
	})
}

// The whitelist of ES_2 admits the functions' vSwitch at first, and none of the
// balancer's addresses: the run admits exactly those, and health comes.
func TestTargetAdmitsOnlyTheFunctions(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.provision(t)
		functions := netip.MustParsePrefix(SourceCIDR)
		var local []string
		for _, zone := range s.NLB.LoadBalancers()[0].Zones {
			for _, ip := range zone.Local {
				require.False(t, functions.Contains(ip), ip)
				local = append(local, ip.String())
			}
		}
		for _, g := range s.Clusters.Groups(Target) {
			if g.Name == s.group() {
				require.ElementsMatch(t, local, g.IPs)
			}
		}
		s.tearDown(t)
	})
}

// How the destination comes to be: as the source, bare, or as the spec says.
func TestDestinations(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ destination, mapping string }{
		"source": {`{"mappings":"source"}`, `"analyzer":"ik_smart"`},
		"none":   {`{"settings":{"number_of_shards":5,"number_of_replicas":1},"mappings":"none"}`, `"fields":{"keyword"`},
		"object": {`{"mappings":{"properties":{"productName":{"type":"keyword"}}}}`, `"productName":{"type":"keyword"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				spec := Spec()
				spec.Indices[0].Destination = events.Destination{}
				decode(t, want.destination, &spec.Indices[0].Destination)
				s.start(t, events.Request{Spec: &spec})
				s.ends(t, run.Done)
				s.stands(t)
				_, mapping := s.Ask(Instance, http.MethodGet, "/dest/_mapping", "")
				require.Contains(t, string(mapping), want.mapping)
				s.do(t, events.Request{Action: "teardown", DeleteDestination: true})
				s.ends(t, run.Removed)
				s.removed(t)
				status, _ := s.Ask(Instance, http.MethodHead, "/dest", "")
				require.Equal(t, 404, status, "it was ours, and its deletion asked for")
			})
		})
	}
}

// A destination that held documents before keeps them, and is never deleted.
func TestDestinationThatHoldsDocuments(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.Ask(Instance, http.MethodPut, "/dest", `{"settings":{"number_of_replicas":1}}`)
		s.Ask(Instance, http.MethodPut, "/dest/_doc/before?refresh=true", `{"productName":"older"}`)
		s.start(t, events.Request{})
		v := s.ends(t, run.Done)
		require.Equal(t, "ids", v.Facts.Verify.Level)
		require.Equal(t, 7, count(t, s.World, Instance, "dest"))
		s.do(t, events.Request{Action: "teardown", DeleteDestination: true})
		s.ends(t, run.Removed)
		require.Empty(t, s.Left())
		require.Equal(t, 7, count(t, s.World, Instance, "dest"))
	})
}

// keepConfig leaves the entry, which does no harm, and spares the restart.
func TestTearDownKeepsTheConfiguration(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.provision(t)
		s.do(t, events.Request{Action: "teardown", KeepConfig: true})
		s.ends(t, run.Removed)
		require.Len(t, s.Left(), 1)
		require.Contains(t, s.Left()[0], "reindex.remote.whitelist")
		require.Equal(t, 1, s.restarted(Instance))
		s.others(t)
	})
}

// A balancer that vanishes under its service, which the cloud does not allow by
// hand: the walk says what to do, and teardown still leaves nothing.
func TestBalancerVanishesUnderItsService(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.provision(t)
		s.NLB.Remove(s.NLB.LoadBalancers()[0].ID)
		s.start(t, events.Request{Again: true})
		v := s.ends(t, run.Failed)
		require.Equal(t, "endpoint-service", v.Step)
		require.Contains(t, v.Reason, "tear the run down")
		s.tearDown(t)
		s.provision(t)
	})
}

// A cluster that is being changed by others is waited for.
func TestClusterIsBusy(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.Clusters.SetStatus(Instance, "activating")
		s.start(t, events.Request{})
		time.Sleep(10 * time.Minute)
		v := s.view(t)
		require.Equal(t, "preflight", v.Step)
		require.Contains(t, v.Reason, Instance)
		require.Empty(t, s.Writes())
		s.Clusters.SetStatus(Instance, "active")
		s.ends(t, run.Done)
		s.stands(t)
	})
}
