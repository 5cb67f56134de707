package world

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/escluster"
	"eslink/shared/facts"
)

// reindex has ES_1 copy a document from ES_2 through the link, as the seed does.
func (s *sim) reindex(t *testing.T, domain, password string) (status int, body string) {
	t.Helper()
	raw, err := json.Marshal(map[string]any{
		"source": map[string]any{"index": "product_info", "size": 1, "remote": map[string]any{"host": "http://" + domain + ":9200",
			"username": "eslink_reader", "password": password, "socket_timeout": "20s", "connect_timeout": "10s"}},
		"dest": map[string]any{"index": "dest"},
	})
	require.NoError(t, err)
	status, reply := s.Ask(Instance, http.MethodPost, "/_reindex", string(raw))
	return status, string(reply)
}

// TestEachLinkIsNeeded takes away one link of a standing connection after the
// other, and sees ES_1's own _reindex fail as it would in the cloud, and the
// function check say which of its four checks fails, with a remedy.
func TestEachLinkIsNeeded(t *testing.T) {
	t.Parallel()
	none := escluster.Address{ZoneID: Zone, VSwitchID: "vsw-src-i000000000001"}
	for name, link := range map[string]struct {
		remove func(t *testing.T, s *sim)
		cause  string // in the reply to _reindex
		check  string // the first that fails
	}{
		"load balancer": {func(_ *testing.T, s *sim) { s.NLB.Remove(s.NLB.LoadBalancers()[0].ID) }, "timeout", "link"},
		"listener":      {func(_ *testing.T, s *sim) { s.NLB.Remove(s.NLB.Listeners()[0].ID) }, "connect", "link"},
		"server group":  {func(_ *testing.T, s *sim) { s.NLB.Remove(s.NLB.ServerGroups()[0].ID) }, "connect", "link"},
		"service":       {func(_ *testing.T, s *sim) { s.Links.Remove(s.Links.Services()[0].ID) }, "timeout", "link"},
		"endpoint":      {func(_ *testing.T, s *sim) { s.Links.Remove(s.Links.Endpoints()[0].ID) }, "unknown_host_exception", "link"},
		"backend's address": {func(_ *testing.T, s *sim) {
			none.IP = s.instance(Target).Addresses[0].IP.Next().Next().Next()
			s.Clusters.SetAddresses(Target, none)
		}, "timeout", "link"},
		"whitelist group": {func(_ *testing.T, s *sim) { s.Clusters.SetGroup(Target, s.group()) }, "timeout", "link"},
		"reindex whitelist": {func(t *testing.T, s *sim) {
			config := s.instance(Instance).Config
			delete(config, "reindex.remote.whitelist")
			s.Clusters.SetConfig(Instance, config)
			require.NoError(t, s.Servers[Instance].Restart(config))
		}, "not whitelisted", "operation"},
		"password": {func(_ *testing.T, s *sim) { s.Secrets.Put(SecretTarget, login("eslink_reader", "mistyped")) }, "", "login"},
		"index":    {func(_ *testing.T, s *sim) { s.Ask(Target, http.MethodDelete, "/product_info", "") }, "index_not_found", "operation"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				s.provision(t)
				domain := s.Links.Endpoints()[0].Domain
				status, reply := s.reindex(t, domain, TargetPassword)
				require.Equal(t, 200, status, reply)
				require.True(t, s.check(t, events.CheckRequest{RunID: s.id}).OK)
				link.remove(t, s)
				time.Sleep(5 * time.Minute) // health checks and whitelists take effect
				if link.cause != "" {
					status, reply = s.reindex(t, domain, TargetPassword)
					require.NotEqual(t, 200, status, reply)
					require.Contains(t, strings.ToLower(reply), link.cause)
				}
				checked := s.check(t, events.CheckRequest{RunID: s.id})
				require.False(t, checked.OK)
				i := slices.IndexFunc(checked.Checks, func(c facts.Check) bool { return !c.OK && c.Detail != "not reached" })
				require.Equal(t, link.check, checked.Checks[i].Name, fmt.Sprint(checked.Checks))
				for _, c := range checked.Checks {
					require.Equal(t, c.OK, c.Remedy == "", "%+v", c)
				}
				for _, in := range []string{Instance, Target} {
					_, indices := s.Ask(in, http.MethodGet, "/_all", "")
					require.NotContains(t, string(indices), "eslink-check-")
				}
			})
		})
	}
}
