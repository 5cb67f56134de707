package world

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/localtest/fakes/escluster"
	"eslink/shared/api"
	"eslink/shared/run"
)

// weak lets a cluster's login do these things only.
func weak(c *elastic.Config, cluster []string, privileges ...string) {
	c.Users["weak"] = elastic.User{Password: "weak-password", Cluster: cluster, Indices: []elastic.IndexPrivileges{{Names: []string{"*"}, Privileges: privileges}}}
}

// finding is something that only the cloud knows and that stops a run before it
// writes.
type finding struct {
	alter  func(*escluster.Instance)
	server func(id string, c *elastic.Config)
	before func(s *sim)
	spec   func(*events.Spec)
	step   string
	want   []string // in the problem
	risk   string   // by which it can be accepted
}

var findings = map[string]finding{
	"other major version": {
		alter: func(in *escluster.Instance) {
			if in.ID == Target {
				in.Version = "7.17.29_with_X-Pack"
			}
		},
		server: func(id string, c *elastic.Config) {
			if id == Target {
				c.Version = "7.17.29"
			}
		},
		step: "preflight", want: []string{"7.17.29", "8.15.1", "target.instanceId"},
	},
	"v3 to v2": {
		alter: func(in *escluster.Instance) {
			if in.ID == Instance {
				in.ArchType = "exclusive"
			}
		},
		step: "preflight", want: []string{"v3", "v2"},
	},
	"old network": {
		alter: func(in *escluster.Instance) { in.OldNetwork = in.ID == Target },
		step:  "preflight", want: []string{"old network architecture", Target},
	},
	"other protocol": {
		alter: func(in *escluster.Instance) {
			if in.ID == Target {
				in.Protocol = "HTTPS"
			}
		},
		step: "preflight", want: []string{"target.protocol", "https"},
	},
	"no common zone": {
		alter: func(in *escluster.Instance) {
			if in.ID == Target {
				in.VSwitchID, in.Zones, in.Addresses = "vsw-src-j000000000001", nil, nil
			}
		},
		step: "preflight", want: []string{"no normal zone in common"},
	},
	"a cluster outside": {
		alter: func(in *escluster.Instance) {
			if in.ID == Target {
				in.VPCID, in.VSwitchID, in.Addresses = DestinationVPC, "vsw-dst-i000000000001", nil
			}
		},
		step: "preflight", want: []string{"target.instanceId", DestinationVPC, SourceVPC},
	},
	"no such cluster": {
		spec: func(s *events.Spec) { s.Target.InstanceID = "es-cn-nobody000001" },
		step: "preflight", want: []string{"es-cn-nobody000001", "target.instanceId"},
	},
	"source's whitelist": {
		alter: func(in *escluster.Instance) {
			if in.ID == Target {
				in.Whitelist = []string{"127.0.0.1"}
			}
		},
		step: "preflight", want: []string{SourceCIDR, Target},
	},
	"destination's whitelist": {
		alter: func(in *escluster.Instance) {
			if in.ID == Instance {
				in.Whitelist = []string{"127.0.0.1"}
			}
		},
		step: "preflight", want: []string{DestinationCIDR, Instance},
	},
	"all at once": {
		alter: func(in *escluster.Instance) {
			in.Whitelist = []string{"127.0.0.1"}
			if in.ID == Target {
				in.Protocol, in.OldNetwork = "HTTPS", true
			} else {
				in.ArchType, in.Version = "exclusive", "7.10.0_with_X-Pack"
			}
		},
		step: "preflight", want: []string{SourceCIDR, DestinationCIDR, "old network", "v3", "7.10.0", "target.protocol"},
	},
	"missing indices": {
		spec: func(s *events.Spec) {
			s.Indices = append(s.Indices, events.Index{Source: "absent-1"}, events.Index{Source: "absent-2"})
		},
		step: "survey", want: []string{"absent-1", "indices[1].source", "absent-2", "indices[2].source"},
	},
	"source's privileges": {
		server: func(id string, c *elastic.Config) {
			if id == Target {
				weak(c, nil, "read")
			}
		},
		before: func(s *sim) { s.Secrets.Put(SecretTarget, login("weak", "weak-password")) },
		step:   "survey", want: []string{"secrets.target", "monitor", "view_index_metadata"},
	},
	"destination's privileges": {
		server: func(id string, c *elastic.Config) {
			if id == Instance {
				weak(c, []string{"monitor"}, "read", "monitor", "view_index_metadata")
			}
		},
		before: func(s *sim) { s.Secrets.Put(SecretInstance, login("weak", "weak-password")) },
		step:   "plan", want: []string{"secrets.instance", "manage", "create_index", "write"},
	},
	"missing analyzer": {
		server: func(id string, c *elastic.Config) {
			if id == Instance {
				c.Analyzers = nil
			}
		},
		step: "plan", want: []string{"ik_smart", "product_info"},
	},
	"not green": {
		before: func(s *sim) { s.Ask(Instance, http.MethodPut, "/lone", `{"settings":{"number_of_replicas":3}}`) },
		step:   "plan", want: []string{"yellow"}, risk: "not-green",
	},
	"no replicas": {
		before: func(s *sim) { s.Ask(Instance, http.MethodPut, "/lone", `{"settings":{"number_of_replicas":0}}`) },
		step:   "plan", want: []string{"lone", "replica"}, risk: "no-replicas",
	},
	"single node": {
		alter: func(in *escluster.Instance) { in.Nodes = 1 },
		server: func(id string, c *elastic.Config) {
			if id == Instance {
				c.Nodes = 1
			}
		},
		spec: func(s *events.Spec) {
			s.Indices[0].Destination.Settings = json.RawMessage(`{"number_of_replicas":0}`)
		},
		step: "plan", want: []string{"one data node"}, risk: "single-node",
	},
	"more copies than nodes": {
		spec: func(s *events.Spec) {
			s.Indices[0].Destination.Settings = json.RawMessage(`{"number_of_replicas":3}`)
		},
		step: "plan", want: []string{"3 data nodes cannot hold"}, risk: "unassigned-replicas",
	},
	"template's alias": {
		before: func(s *sim) {
			s.Ask(Instance, http.MethodPut, "/in-use", `{"aliases":{"live":{}}}`)
			s.Ask(Instance, http.MethodPut, "/_index_template/tp", `{"index_patterns":["des*"],"priority":10,"template":{"aliases":{"live":{}}}}`)
		},
		step: "plan", want: []string{"template tp", "alias live, which leads to in-use"}, risk: "templates",
	},
	"little disk": {
		server: func(id string, c *elastic.Config) {
			if id == Instance {
				c.DiskTotal, c.DiskFree = 1024, 256
			}
		},
		step: "plan", want: []string{"free"}, risk: "little-disk",
	},
}

// TestFindings sees each of them stop a run before it writes anything, with a
// remedy; and a risk pass if the spec accepts it.
func TestFindings(t *testing.T) {
	t.Parallel()
	for name, f := range findings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{Alter: f.alter, AlterServer: f.server}, func(t *testing.T, s *sim) {
				if f.before != nil {
					f.before(s)
				}
				spec := Spec()
				if f.spec != nil {
					f.spec(&spec)
				}
				s.start(t, events.Request{Spec: &spec})
				v := s.ends(t, run.Failed)
				require.Equal(t, f.step, v.Step, v.Reason)
				for _, want := range f.want {
					require.ErrorContains(t, v.Problem, want)
				}
				for _, e := range v.Problem.Errors {
					require.NotEmpty(t, e.Remedy, e.Message)
					require.Equal(t, f.risk, e.Risk, e.Message)
				}
				require.Empty(t, s.Writes())
				require.Empty(t, s.Left())
				if f.risk != "" {
					spec.AcceptRisks = []string{f.risk}
					s.start(t, events.Request{Spec: &spec})
					v := s.until(t, func(v api.View) bool { return v.Status != run.Running || v.Step == "nlb" })
					require.Equal(t, "nlb", v.Step, v.Reason)
				}
				s.do(t, events.Request{Action: "teardown"})
				s.ends(t, run.Removed)
				require.Empty(t, s.Left())
			})
		})
	}
}

// A spec that is wrong in itself is refused before the cloud is asked.
func TestWrongRequests(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		calls := len(s.Account.Exchanges())
		for want, edit := range map[string]func(*events.Spec){
			"spec.region":             func(s *events.Spec) { s.Region, s.Zone = "cn-shanghai", "" },
			"spec.scenario":           func(s *events.Spec) { s.Scenario = "es-to-mars" },
			"spec.instanceId":         func(s *events.Spec) { s.InstanceID = "10.0.0.1" },
			"spec.target.port":        func(s *events.Spec) { s.Target.Port = 9300 },
			"spec.indices[0].dest":    func(s *events.Spec) { s.Indices[0].Dest = ".security" },
			"spec.secrets.target":     func(s *events.Spec) { s.Secrets.Target = "other/secret" },
			"spec.indices[0].query":   func(s *events.Spec) { s.Indices[0].Query = []byte(`"all"`) },
			"spec.reindex.size":       func(s *events.Spec) { s.Reindex.Size = 20_000 },
			"spec.target.instanceId":  func(s *events.Spec) { s.Target.InstanceID = "" },
			"spec.indices[0].source":  func(s *events.Spec) { s.Indices[0].Source = "UPPER*" },
			"spec.reindex.conflicts":  func(s *events.Spec) { s.Reindex.Conflicts = "ignore" },
			"spec.reindex.socketTime": func(s *events.Spec) { s.Reindex.SocketTimeout = "soon" },
		} {
			spec := Spec()
			edit(&spec)
			_, err := s.Do(events.Request{Action: "start", Spec: &spec})
			require.ErrorContains(t, err, want)
		}
		require.Len(t, s.Account.Exchanges(), calls)
	})
}
