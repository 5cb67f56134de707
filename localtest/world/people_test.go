package world

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/localtest/fakes/escluster"
	"eslink/localtest/runtime"
	"eslink/shared/flow"
	"eslink/shared/run"
)

// manual is the demo's spec, which waits for approval.
func manual() *events.Spec {
	spec := Spec()
	spec.Approve = ""
	return &spec
}

func TestApproval(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.start(t, events.Request{Spec: manual()})
		v := s.ends(t, run.WaitingApproval)
		require.Equal(t, "plan", v.Step)
		require.Contains(t, fmt.Sprint(v.Plan.Difference), "{endpoint}:9200")
		require.Empty(t, s.Writes())
		old := v.Plan.ID

		// Somebody changes what was planned for; the old plan cannot be approved
		// once a new one waits.
		time.Sleep(6 * 24 * time.Hour)
		_, err := s.Approve(events.Approval{RunID: s.id, PlanID: "0123456789abcdef"})
		require.ErrorContains(t, err, "not the plan")
		require.Equal(t, "running", string(s.approve(t, old).Status))
		s.approve(t, old)
		s.until(t, at("accept"))
		theirs := s.instance(Instance).Config
		theirs["reindex.remote.whitelist"] = "elsewhere:9200"
		s.Clusters.SetConfig(Instance, theirs)
		v = s.ends(t, run.WaitingApproval)
		require.Equal(t, "configure", v.Step)
		require.NotEqual(t, old, v.Plan.ID)
		require.Zero(t, s.restarted(Instance))
		_, err = s.Approve(events.Approval{RunID: s.id, PlanID: old})
		require.Error(t, err)
		s.approve(t, v.Plan.ID)
		s.ends(t, run.Done)
		require.Equal(t, 1, s.restarted(Instance))

		// Teardown restarts too, and asks for it.
		s.do(t, events.Request{Action: "teardown"})
		v = s.ends(t, run.WaitingApproval)
		require.Equal(t, "configure", v.Step)
		require.Equal(t, 1, s.restarted(Instance))
		s.approve(t, v.Plan.ID)
		s.ends(t, run.Removed)
		require.Empty(t, s.Left())
		require.Equal(t, "elsewhere:9200", s.instance(Instance).Config["reindex.remote.whitelist"])
		s.others(t)
	})
}

func TestApprovalNeverComes(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.start(t, events.Request{Spec: manual()})
		v := s.ends(t, run.WaitingApproval)
		time.Sleep(8 * 24 * time.Hour)
		require.Equal(t, run.Expired, s.view(t).Status)
		_, err := s.Approve(events.Approval{RunID: s.id, PlanID: v.Plan.ID})
		require.Error(t, err)
		require.Empty(t, s.Writes())
		s.start(t, events.Request{Spec: manual()})
		v = s.ends(t, run.WaitingApproval)
		s.approve(t, v.Plan.ID)
		s.ends(t, run.Done)
		s.stands(t)
	})
}

func TestPlanOnlyThenStart(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.start(t, events.Request{Plan: true})
		v := s.ends(t, run.Planned)
		require.NotEmpty(t, v.Plan.Creates)
		require.Empty(t, s.Writes())
		surveyed := s.Invocations()["survey"]
		s.provision(t)
		require.Equal(t, surveyed, s.Invocations()["survey"], "it goes on from the plan")
		s.tearDown(t)
	})
}

// Another index over the standing link, a week later: nothing of the link is
// touched, nothing restarts.
func TestNewIndexAWeekLater(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.provision(t)
		time.Sleep(7 * 24 * time.Hour)
		s.Ask(Target, http.MethodPut, "/news", "")
		s.Ask(Target, http.MethodPut, "/news/_doc/1?refresh=true", `{"title":"a week later"}`)
		spec := Spec()
		spec.Indices = []events.Index{{Source: "news", Dest: "news"}}
		before := len(s.Writes())
		s.start(t, events.Request{Spec: &spec})
		v := s.ends(t, run.Done)
		require.Equal(t, 2, v.Generation)
		require.Equal(t, 1, count(t, s.World, Instance, "news"))
		require.Equal(t, 1, s.restarted(Instance))
		for _, w := range s.Writes()[before:] {
			require.True(t, strings.HasPrefix(w, Instance+" "), w)
		}
		s.stands(t)
		s.tearDown(t)
	})
}

// With approve: manual, each generation is asked for once, before its first
// write, whatever of it stands already.
func TestEachGenerationIsApprovedByItself(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		spec := manual()
		for generation := range 3 {
			spec.Indices = []events.Index{{Source: "product_info", Dest: fmt.Sprint("copy", generation)}}
			if generation == 2 { // into an index that exists
				spec.Indices[0].Dest, spec.Indices[0].Query = "copy1", json.RawMessage(`{"match_all":{}}`)
			}
			before := len(s.Writes())
			s.start(t, events.Request{Spec: spec})
			v := s.ends(t, run.WaitingApproval)
			require.Equal(t, "plan", v.Step)
			require.Equal(t, generation+1, v.Generation)
			require.Empty(t, s.Writes()[before:])
			s.approve(t, v.Plan.ID)
			s.ends(t, run.Done)
		}
	})
}

// Where the deployment does not allow it, no spec approves itself, and no profile.
func TestADeploymentWithoutAutoApproval(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{AutoApprove: "refuse"}, func(t *testing.T, s *sim) {
		spec := Spec()
		_, err := s.Do(events.Request{Action: "start", Spec: &spec})
		require.ErrorContains(t, err, "does not let a spec approve its own plans")
		profile := Spec()
		profile.InstanceID = ""
		_, err = s.Do(events.Request{Action: "put-profile", Profile: "orders", Spec: &profile})
		require.ErrorContains(t, err, "does not let a spec approve its own plans")
		s.start(t, events.Request{Spec: manual()})
		v := s.ends(t, run.WaitingApproval)
		_, err = s.Do(events.Request{Action: "approve", RunID: s.id, PlanID: v.Plan.ID})
		require.ErrorContains(t, err, "to the function approve")
	})
}

// Two plans for one target: who writes first owns it, the other one stops before
// it writes anything.
func TestWhoWritesFirstOwnsTheTarget(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		rival := manual()
		rival.Name = "rival"
		s.start(t, events.Request{Spec: rival})
		theirs := s.ends(t, run.WaitingApproval)
		other := s.id
		s.provision(t)
		owner := s.id
		s.id = other
		require.Contains(t, s.view(t).Next, "run "+owner)
		before := len(s.Writes())
		s.approve(t, theirs.Plan.ID)
		// What the owner wrote has changed the difference, which is shown again.
		s.approve(t, s.ends(t, run.WaitingApproval).Plan.ID)
		v := s.ends(t, run.Failed)
		require.Contains(t, v.Reason, "run "+owner)
		require.Empty(t, s.Writes()[before:])
		s.id = owner
		s.stands(t)
		s.tearDown(t)
	})
}

func TestTearDownThenStartAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		for range 3 {
			s.provision(t)
			s.tearDown(t)
		}
		require.Equal(t, 6, s.restarted(Instance))
	})
}

// Teardown comes, with and without cancel before, just as each step is about to
// run for the first or second time.
func TestTearDownFromEachStep(t *testing.T) {
	t.Parallel()
	steps, _ := flow.Of(flow.ESToES)
	for _, step := range steps.Steps {
		for turn := 1; turn <= 2; turn++ {
			t.Run(fmt.Sprintf("%s %d", step.Name, turn), func(t *testing.T) {
				t.Parallel()
				inWorld(t, Config{}, func(t *testing.T, s *sim) {
					var struck once
					turns := 0
					s.Events.Before = func(d runtime.Delivery) {
						if d.Function != "eslink-"+step.Name || struck.Load() {
							return
						}
						if turns++; turns < turn || !struck.first() {
							return
						}
						id := flow.RunID(AccountID, Spec())
						if turn == 2 {
							_, err := s.Do(events.Request{Action: "cancel", RunID: id})
							require.NoError(t, err)
						}
						_, err := s.Do(events.Request{Action: "teardown", RunID: id})
						require.NoError(t, err)
					}
					s.start(t, events.Request{})
					v := s.until(t, ended)
					if !struck.Load() { // a step that one invocation does
						require.Equal(t, run.Done, v.Status, v.Reason)
						s.do(t, events.Request{Action: "teardown"})
						v = s.until(t, ended)
					}
					require.Equal(t, run.Removed, v.Status, v.Reason)
					s.removed(t)
				})
			})
		}
	}
}

// third adds another cluster to copy from.
func (s *sim) third(t *testing.T) *events.Spec {
	t.Helper()
	const id = "es-cn-src000000003"
	in := escluster.Instance{ID: id, Description: "ES_3", VPCID: SourceVPC, VSwitchID: "vsw-src-i000000000001", Version: s.Version + "_with_X-Pack",
		ArchType: "public", Whitelist: []string{SourceCIDR}}
	require.NoError(t, s.Clusters.AddInstance(in))
	server := elastic.New(elastic.Config{Name: id, Version: s.Version, Nodes: 3, Now: s.Clock.Now, Remote: s.Network.FromCluster(id),
		Users: map[string]elastic.User{"elastic": superuser, "eslink_reader": reader}})
	s.Servers[id] = server
	s.Network.SetServer(id, server)
	s.Ask(id, http.MethodPut, "/orders/_doc/1?refresh=true", `{"n":1}`)
	spec := Spec()
	spec.Name, spec.Target.InstanceID = "third", id
	s.Secrets.Put(SecretTarget, Login("eslink_reader", TargetPassword, Target, id))
	spec.Indices = []events.Index{{Source: "orders", Dest: "orders"}}
	return &spec
}

// Two runs on one instance, from the same moment on: they take turns at
// accepting and at the configuration, and both entries end up in it.
func TestTwoRunsOnOneInstance(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{Seed: seed}, func(t *testing.T, s *sim) {
				other := s.third(t)
				s.start(t, events.Request{})
				first := s.id
				s.start(t, events.Request{Spec: other})
				second := s.id
				for _, s.id = range []string{first, second} {
					s.ends(t, run.Done)
				}
				require.Len(t, s.Links.Endpoints(), 2)
				for _, e := range s.Links.Endpoints() {
					require.Contains(t, s.instance(Instance).Config["reindex.remote.whitelist"], e.Domain+":9200")
				}
				require.Equal(t, 2, s.restarted(Instance))
				require.Equal(t, 6, count(t, s.World, Instance, "dest"))
				require.Equal(t, 1, count(t, s.World, Instance, "orders"))

				// A third name for the same two clusters is told whose they are.
				spec := Spec()
				spec.Name = "rival"
				_, err := s.Do(events.Request{Action: "start", Spec: &spec})
				require.ErrorContains(t, err, first)

				for _, s.id = range []string{first, second} {
					s.do(t, events.Request{Action: "teardown"})
				}
				for _, s.id = range []string{first, second} {
					s.ends(t, run.Removed)
				}
				s.removed(t)
			})
		})
	}
}

// Whose password is wrong is said, and retry goes on once the secret is right.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	for secret, want := range map[string]struct{ user, password, field, step string }{
		SecretInstance: {"elastic", InstancePassword, "secrets.instance", "plan"},
		SecretTarget:   {"eslink_reader", TargetPassword, "secrets.target", "survey"},
	} {
		t.Run(want.field, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				s.Secrets.Put(secret, login(want.user, "mistyped-password"))
				s.start(t, events.Request{})
				v := s.ends(t, run.Failed)
				require.Equal(t, want.step, v.Step)
				require.Equal(t, want.field, v.Problem.Errors[0].Field)
				require.Contains(t, v.Reason, secret)
				require.Empty(t, s.Writes())
				s.Secrets.Put(secret, login(want.user, want.password))
				s.do(t, events.Request{Action: "retry"})
				s.until(t, at("configure"))
				// It is changed while the link is being made.
				s.Secrets.Put(secret, login(want.user, "mistyped-again"))
				v = s.ends(t, run.Failed)
				require.Equal(t, want.field, v.Problem.Errors[0].Field, v.Reason)
				s.Secrets.Put(secret, login(want.user, want.password))
				s.do(t, events.Request{Action: "retry"})
				s.ends(t, run.Done)
				s.stands(t)
				s.tearDown(t)
			})
		})
	}
}

// slowly copies a document every hundred seconds.
func slowly() *events.Spec {
	spec := Spec()
	rate := 0.01
	spec.Reindex.Size, spec.Reindex.RequestsPerSecond = 1, &rate
	return &spec
}

func TestTaskVanishesWithItsNode(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.start(t, events.Request{Spec: slowly()})
		s.until(t, at("progress"))
		time.Sleep(4 * time.Minute)
		require.NoError(t, s.Servers[Instance].Restart(s.instance(Instance).Config))
		v := s.ends(t, run.Done)
		require.Contains(t, fmt.Sprint(v.Timeline), "copying again")
		s.stands(t)
		s.tearDown(t)
	})
}

// Cancel stops a copy that runs, unless it is to be kept; retry goes on, and
// teardown ends it.
func TestTearDownDuringTheCopy(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.start(t, events.Request{Spec: slowly()})
		s.until(t, at("progress"))
		time.Sleep(2 * time.Minute)
		s.do(t, events.Request{Action: "cancel"})
		s.ends(t, run.Cancelled)
		copied := count(t, s.World, Instance, "dest")
		require.Positive(t, copied)
		time.Sleep(time.Hour)
		require.Equal(t, copied, count(t, s.World, Instance, "dest"), "nothing writes any more")
		s.do(t, events.Request{Action: "retry"})
		s.until(t, at("progress"))
		time.Sleep(time.Minute)
		s.do(t, events.Request{Action: "cancel", KeepCopying: true})
		require.Equal(t, run.Cancelled, s.view(t).Status)
		require.Contains(t, s.view(t).Next, "run on")
		time.Sleep(3 * time.Minute)
		s.Ask(Instance, http.MethodPost, "/dest/_refresh", "") // its settings are those for a load
		require.Greater(t, count(t, s.World, Instance, "dest"), copied, "the copy was kept")
		s.tearDown(t)
		require.Less(t, count(t, s.World, Instance, "dest"), 6)
	})
}

func TestReadOnlyDestination(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.Ask(Instance, http.MethodPut, "/dest", `{"settings":{"number_of_replicas":1,"index.blocks.write":true}}`)
		s.start(t, events.Request{})
		v := s.ends(t, run.Failed)
		require.Equal(t, "indices[0].dest", v.Problem.Errors[0].Field, v.Reason)
		require.NotEmpty(t, v.Problem.Errors[0].Remedy)
		s.Ask(Instance, http.MethodPut, "/dest/_settings", `{"index.blocks.write":false}`)
		s.do(t, events.Request{Action: "retry"})
		s.ends(t, run.Done)
		s.stands(t)
		s.tearDown(t)
	})
}
