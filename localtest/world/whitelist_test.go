package world

import (
	"eslink/shared/flow"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/escluster"
	"eslink/shared/run"
)

// office is the spec of a run that makes the group office at the target hold ips.
func office(mode string, ips ...string) *events.Spec {
	return &events.Spec{Name: "office", Scenario: flow.PrivateWhitelist, Region: Region, InstanceID: Target, Whitelist: &events.Whitelist{Mode: mode, Group: "office", IPs: ips}}
}

// groupOf is the target's group of a name, nil if there is none.
func (s *sim) groupOf(name string) []string {
	for _, g := range s.Clusters.Groups(Target) {
		if g.Name == name && g.Type == "PRIVATE_ES" {
			return g.IPs
		}
	}
	return nil
}

// whitelists changes a group and puts it back.
func (s *sim) whitelists(t *testing.T) {
	t.Helper()
	s.start(t, events.Request{Spec: office(events.Cover, "10.9.0.0/16")})
	v := s.ends(t, run.Done)
	require.Equal(t, []string{"10.9.0.0/16"}, v.Facts.PrivateWhitelist.Added)
	require.Contains(t, s.Clusters.Groups(Target), escluster.Group{Name: "office", IPs: []string{"10.9.0.0/16"}, Type: "PRIVATE_ES"})
	s.do(t, events.Request{Action: "teardown"})
	s.ends(t, run.Removed)
	require.Len(t, s.Clusters.Groups(Target), 2, "default and the public one")
}

// Scenario private-whitelist has one step, and neither plan nor preflight.
func TestAWhitelistAsARunOfItsOwn(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.whitelists(t)
		first := s.id
		_, err := s.Do(events.Request{Action: "start", Spec: office(events.Append, "10.9.0.1"), Plan: true})
		require.ErrorContains(t, err, "has no plan")
		s.start(t, events.Request{Spec: office(events.Append, "10.9.0.1")})
		require.Equal(t, first, s.id)
		v := s.ends(t, run.Failed)
		require.Contains(t, v.Reason, "use mode Cover, which creates it")
		s.start(t, events.Request{Spec: office(events.Cover, "10.9.0.1")})
		s.ends(t, run.Done)
		s.start(t, events.Request{Spec: office(events.Append, "10.9.0.2")})
		v = s.ends(t, run.Done)
		require.Equal(t, []string{"10.9.0.1", "10.9.0.2"}, v.Facts.PrivateWhitelist.IPs, "the next generation adds to it")
		require.Equal(t, 4, v.Generation)
		said := false
		for _, e := range v.Timeline {
			said = said || e.Reason == "cluster "+Target+" is about to change its whitelist group office: adds 10.9.0.2"
		}
		require.True(t, said, "the difference is in the timeline")

		other := office(events.Append, "10.9.0.3")
		other.Name = "other"
		_, err = s.Do(events.Request{Action: "start", Spec: other})
		require.ErrorContains(t, err, "owns this target")
		other.Whitelist.Group, other.Whitelist.Mode = "vpn", events.Cover
		_, err = s.Do(events.Request{Action: "start", Spec: other})
		require.NoError(t, err, "another group is another run's")
		time.Sleep(time.Hour)
		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.Removed)
		require.Nil(t, s.groupOf("office"))
		require.Equal(t, []string{"10.9.0.3"}, s.groupOf("vpn"))
	})
}

// TestACrashAtAnyCallOfAWhitelist ends the step's invocation before every one of
// its calls, and of those that write after it, too, or loses the reply: the group
// ends as it was.
func TestACrashAtAnyCallOfAWhitelist(t *testing.T) {
	t.Parallel()
	var cloud []bool // of each call of the first walk: it goes to the cluster's control plane
	first := true
	walk := func(t *testing.T, at int, fate Crash) (writes []bool) {
		inWorld(t, Config{}, func(t *testing.T, s *sim) {
			s.Clusters.SetGroup(Target, "office", "10.9.0.0/16", "10.9.1.1")
			var mu sync.Mutex
			s.IO = func(c Call) Crash {
				if c.Function != "private-whitelist" {
					return Lives
				}
				mu.Lock()
				defer mu.Unlock()
				if first {
					cloud = append(cloud, strings.HasPrefix(c.Request.URL.Host, "elasticsearch."))
				}
				_, write := operation(c.Request)
				if writes = append(writes, write); len(writes) == at {
					return fate
				}
				return Lives
			}
			s.start(t, events.Request{Spec: office(events.Cover, "10.3.0.1", "10.9.1.1")})
			s.ends(t, run.Done)
			require.Equal(t, []string{"10.3.0.1", "10.9.1.1"}, s.groupOf("office"))
			s.do(t, events.Request{Action: "teardown"})
			s.ends(t, run.Removed)
			require.ElementsMatch(t, []string{"10.9.0.0/16", "10.9.1.1"}, s.groupOf("office"))
			s.others(t)
			require.GreaterOrEqual(t, len(writes), at)
		})
		return writes
	}
	writes := walk(t, 0, Lives)
	first = false
	require.Greater(t, len(writes), 20)
	for i, write := range writes {
		if i%3 > 0 && !cloud[i] {
			continue // table and queues are the engine's, and alike: a third of them will do
		}
		for _, fate := range map[bool][]Crash{false: {DiesBefore}, true: {DiesBefore, DiesAfter, LosesReply}}[write] {
			t.Run(fmt.Sprint(i+1, " ", fate), func(t *testing.T) {
				t.Parallel()
				walk(t, i+1, fate)
			})
		}
	}
}
