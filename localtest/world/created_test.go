package world

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"eslink/shared/flow"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/runtime"
	"eslink/shared/api"
	"eslink/shared/run"
)

// profile is the demo's spec without its instance.
func profile(approve string) *events.Spec {
	spec := Spec()
	spec.InstanceID, spec.Approve = "", approve
	return &spec
}

// putProfile stores a profile and begins to deliver.
func (s *sim) putProfile(t *testing.T, name string, spec *events.Spec) {
	t.Helper()
	if s.stop == nil {
		require.NoError(t, s.Start())
	}
	reply, err := s.Do(events.Request{Action: "put-profile", Profile: name, Spec: spec})
	require.NoError(t, err)
	require.NotEmpty(t, reply.Profiles)
}

// create makes an instance by the API; the run that it ought to get is s.id.
func (s *sim) create(t *testing.T, tags map[string]string, spec *events.Spec) (instance string) {
	t.Helper()
	instance, err := s.CreateInstance(tags)
	require.NoError(t, err)
	if spec != nil {
		full, err := spec.For(instance)
		require.NoError(t, err)
		s.id = flow.RunID(AccountID, full)
	}
	return instance
}

// begun waits until there is a run, not longer than the bus and its first tries
// take.
func (s *sim) begun(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Minute); ; time.Sleep(time.Second) {
		if _, err := s.Status(s.id); err == nil {
			return
		}
		require.True(t, time.Now().Before(end), "no run")
	}
}

func (s *sim) runs(t *testing.T) int {
	t.Helper()
	list, err := s.Invoke(context.Background(), "status", []byte(`{}`))
	require.NoError(t, err)
	return strings.Count(string(list.Body), `"runId"`)
}

// TestAClusterConnectsItself is all that a user does: an instance is created.
func TestAClusterConnectsItself(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		spec := profile("auto")
		s.putProfile(t, "orders", spec)
		instance := s.create(t, map[string]string{"eslink:profile": "orders"}, spec)
		s.begun(t)
		v := s.until(t, func(v api.View) bool { return strings.Contains(v.Reason, "being created") })
		require.Equal(t, "preflight", v.Step)
		require.NotEqual(t, "active", s.instance(instance).Status)
		v = s.ends(t, run.Done)
		require.Equal(t, 4, len(v.Facts.Verify.Checks))
		for _, c := range v.Facts.Verify.Checks {
			require.True(t, c.OK, c)
		}
		require.Equal(t, 6, count(t, s.World, instance, "dest"))
		require.True(t, s.check(t, events.CheckRequest{RunID: s.id}).OK)
		s.tearDown(t)
		s.quiet(t, instance, 1)
	})
}

// A profile is of either scenario.
func TestAClusterConnectsItselfToAHost(t *testing.T) {
	inServing(t, Config{}, func(t *testing.T, s *serving) {
		spec := needing(events.Watcher)
		spec.InstanceID = ""
		s.putProfile(t, "alerts", &spec)
		instance := s.create(t, map[string]string{"eslink:profile": "alerts"}, &spec)
		s.begun(t)
		v := s.ends(t, run.Done)
		for _, c := range v.Facts.Verify.Checks {
			require.True(t, c.OK, c)
		}
		require.NotEmpty(t, s.hook.Received())
		require.Equal(t, "true", s.instance(instance).Config["xpack.watcher.enabled"])
		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.Removed)
		require.Empty(t, s.Left())
	})
}

// quiet proves that nothing of what may still come starts a run.
func (s *sim) quiet(t *testing.T, instance string, runs int) {
	t.Helper()
	before, writes := s.Invocations()["created"], len(s.Writes())
	var heard int
	for _, name := range []string{"api", "api-bare", "console", "order", "config", "config-tags"} {
		n, err := s.Events.Publish(context.Background(), s.sample(t, name, instance))
		require.NoError(t, err)
		heard += n
	}
	require.Equal(t, 6, heard)
	require.Equal(t, runs, s.runs(t))
	require.GreaterOrEqual(t, s.Invocations()["created"]-before, 6)
	time.Sleep(time.Hour)
	require.Len(t, s.Writes(), writes)
}

// sample is a sample event of an instance, as of now.
func (s *sim) sample(t *testing.T, name, instance string) []byte {
	t.Helper()
	raw, err := os.ReadFile("../../events/samples/created/" + name + ".json")
	require.NoError(t, err)
	now := time.Now().UTC().Add(-time.Hour).Format(time.RFC3339)
	return []byte(strings.NewReplacer("es-cn-new000000003", instance, "2026-03-02T09:00:00Z", now, "2026-03-02T09:09:00Z", now, "2026-03-02T10:30:00Z", now).Replace(string(raw)))
}

func TestAManualProfileWaitsForApproval(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		spec := profile("manual")
		s.putProfile(t, "orders", spec)
		before := len(s.Writes())
		s.create(t, map[string]string{"eslink:profile": "orders"}, spec)
		s.begun(t)
		v := s.ends(t, run.WaitingApproval)
		require.Equal(t, []string{"elasticsearch createInstance"}, s.Writes()[before:], "ours is none")
		s.approve(t, v.Plan.ID)
		s.ends(t, run.Done)
	})
}

// On bad days a new instance gets its run once all the same.
func TestBadDaysOfACreation(t *testing.T) {
	t.Parallel()
	refuse := func(code string) func(*sim) {
		return func(s *sim) {
			n := 0
			s.Account.SetFault(func(c cloud.Call) cloud.Fault {
				if c.Action == "DescribeInstance" && c.Caller.Role == "eslink-created" {
					if n++; n < 9 { // four minutes of them
						return cloud.Fault{Before: cloud.Errorf(400, code, "Not now.")}
					}
				}
				return cloud.Fault{}
			})
		}
	}
	fault := func(f runtime.Fault) func(*sim) {
		return func(s *sim) {
			s.Events.Fault = func(d runtime.Delivery) runtime.Fault {
				if strings.HasSuffix(d.Function, "created") {
					return f
				}
				return runtime.Fault{}
			}
		}
	}
	dies := func(at int, fate Crash) func(*sim) {
		return func(s *sim) {
			n := 0
			s.IO = func(c Call) Crash {
				if c.Function == "created" {
					if n++; n == at {
						return fate
					}
				}
				return Lives
			}
		}
	}
	days := map[string]func(*sim){"describe is throttled": refuse("Throttling.User"), "before it can be described": refuse("InstanceNotFound"), "doubled": fault(runtime.Fault{Copies: 3}), "late": fault(runtime.Fault{Delay: 22 * time.Hour})}
	for at := 1; at <= 10; at++ { // as many calls as it makes
		days[fmt.Sprint("dies before call ", at)] = dies(at, DiesBefore)
		days[fmt.Sprint("dies after call ", at)] = dies(at, DiesAfter)
	}
	for name, day := range days {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				day(s)
				spec := profile("auto")
				s.putProfile(t, "orders", spec)
				s.create(t, map[string]string{"eslink:profile": "orders"}, spec)
				time.Sleep(time.Hour)
				if name == "late" {
					require.Zero(t, s.runs(t))
					time.Sleep(23 * time.Hour)
				}
				require.True(t, name == "late" || s.Invocations()["created"] > 1, "the day was bad")
				require.Equal(t, 1, s.runs(t))
				require.Equal(t, 1, s.view(t).Generation)
				require.Greater(t, s.Invocations()["preflight"], 0)
				require.Equal(t, 1, strings.Count(timelineOf(s.view(t)), "start "))
				require.Empty(t, s.Account.Refusals())
			})
		})
	}
}

// What starts no run leaves one line that says why.
func TestNoRunForANewInstance(t *testing.T) {
	t.Parallel()
	orders := map[string]string{"eslink:profile": "orders"}
	for name, c := range map[string]struct {
		tags map[string]string
		do   func(t *testing.T, s *sim, instance string)
		line string
	}{
		"no tag":          {tags: map[string]string{"team": "search"}, line: "has no tag eslink:profile"},
		"unknown profile": {tags: map[string]string{"eslink:profile": "other"}, line: "names a profile that does not exist"},
		"profile removed between": {orders, func(t *testing.T, s *sim, _ string) {
			reply, err := s.Do(events.Request{Action: "delete-profile", Profile: "orders"})
			require.NoError(t, err)
			require.Empty(t, reply.Profiles)
		}, "names a profile that does not exist"},
		"the profile's own target": {orders, func(t *testing.T, s *sim, instance string) {
			spec := profile("auto")
			spec.Target.InstanceID = instance
			s.putProfile(t, "orders", spec)
		}, "does not fit the instance"},
		"deleted at once": {orders, func(t *testing.T, s *sim, instance string) { s.Clusters.RemoveInstance(instance) }, "no such instance any more"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, Config{}, func(t *testing.T, s *sim) {
				var log lines
				s.Logs = &log
				s.putProfile(t, "orders", profile("auto"))
				instance := s.create(t, c.tags, nil)
				before := 0
				if c.do != nil {
					c.do(t, s, instance)
					before = s.runs(t)
				}
				time.Sleep(2 * time.Hour)
				require.Equal(t, before, s.runs(t))
				require.Equal(t, 1, strings.Count(log.String(), `"no run: `), log.String())
				require.Contains(t, log.String(), c.line)
			})
		})
	}
}

// A person who connects the new instance to the same target is told whose it is.
func TestANewInstanceThatAPersonConnectsToo(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		own := profile("auto")
		s.putProfile(t, "orders", own)
		instance := s.create(t, map[string]string{"eslink:profile": "orders"}, own)
		s.begun(t)
		s.until(t, at("nlb-backend")) // it has written, and so owns the target
		owner := s.id
		spec := Spec()
		spec.InstanceID, spec.Name = instance, "by-hand"
		_, err := s.Do(events.Request{Action: "start", Spec: &spec})
		require.ErrorContains(t, err, owner, "whose it is")
		s.ends(t, run.Done)
	})
}

// Events of what is not a new instance of ours, and what is no event.
func TestEventsThatStartNothing(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		var log lines
		s.Logs = &log
		s.putProfile(t, "orders", profile("auto"))
		s.Clusters.SetTags(Instance, map[string]string{"eslink:profile": "orders"}) // 90 days old
		publish := func(payload string, want int, line string) {
			t.Helper()
			seen := len(log.String())
			n, err := s.Events.Publish(context.Background(), []byte(payload))
			require.NoError(t, err)
			require.Equal(t, want, n)
			require.Contains(t, log.String()[seen:], line)
		}
		api, config := string(s.sample(t, "api", Instance)), string(s.sample(t, "config-tags", Instance))
		publish(api, 1, "the instance is not new")
		publish(config, 1, "the instance is not new")
		publish(string(s.sample(t, "failed", Instance)), 1, "the creation failed")
		publish(string(s.sample(t, "other-account", Instance)), 1, "another account's")
		publish(strings.ReplaceAll(api, "cn-hangzhou", "cn-beijing"), 1, "another region's")
		publish(strings.ReplaceAll(api, Instance, "es-cn-nobody000001"), 1, "no such instance any more")
		publish(strings.Replace(api, `"data": {`, `"data": {"errorCode": 7, `, 1), 1, "not one of a new instance")
		time.Sleep(24 * time.Hour)
		publish(api, 1, "the event is too old")
		publish(strings.Replace(api, "createInstance", "UpdateInstanceSettings", 1), 0, "")
		publish(strings.Replace(api, "acs.elasticsearch", "acs.ecs", 1), 0, "")
		publish(strings.Replace(config, "ConfigurationItemChangeNotification", "NonCompliantNotification", 1), 0, "")
		for _, payload := range []string{"", "null", "[]", `{"source":"acs.elasticsearch"}`, "\x00"} {
			result, err := s.Invoke(context.Background(), "created", []byte(payload))
			require.NoError(t, err)
			require.NoError(t, result.Err(), "a repetition would not help")
		}
		require.Zero(t, s.runs(t))
		require.Empty(t, s.Writes())
	})
}

// A late duplicate, a change of tags or a notification of Cloud Config finds the
// record, or an instance that is no longer new.
func TestAfterTeardownNothingStarts(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		spec := profile("auto")
		s.putProfile(t, "orders", spec)
		instance := s.create(t, map[string]string{"eslink:profile": "orders"}, spec)
		s.begun(t)
		s.until(t, at("nlb"))
		s.tearDown(t)
		s.quiet(t, instance, 1)
		// Nor does a profile that has been changed meanwhile.
		spec.Name = "renamed"
		s.putProfile(t, "orders", spec)
		s.quiet(t, instance, 1)
		spec.Target.InstanceID = Instance
		s.putProfile(t, "orders", spec)
		s.quiet(t, instance, 1)
		require.Less(t, time.Since(s.created(instance)), 24*time.Hour, "it is new all the while")
	})
}

// A profile that is changed later changes no run that has begun.
func TestARunKeepsTheSpecThatItBeganWith(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		spec := profile("auto")
		s.putProfile(t, "orders", spec)
		instance := s.create(t, map[string]string{"eslink:profile": "orders"}, spec)
		s.begun(t)
		changed := *spec
		changed.Indices = []events.Index{{Source: "nothing"}}
		s.putProfile(t, "orders", &changed)
		s.ends(t, run.Done)
		require.Equal(t, 6, count(t, s.World, instance, "dest"))
	})
}

// An order names no instance, and comes before lists know it; a tag that is set
// later is told by Cloud Config.
func TestOrdersAndLateTags(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		s.Events.Fault = func(d runtime.Delivery) runtime.Fault {
			return runtime.Fault{Drop: strings.Contains(string(d.Event), `"eventName":"createInstance"`)}
		}
		spec := profile("manual")
		s.putProfile(t, "orders", spec)
		instance := s.create(t, map[string]string{"eslink:profile": "orders"}, spec)
		order := strings.ReplaceAll(string(s.sample(t, "order", "none")), time.Now().UTC().Add(-time.Hour).Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339))
		_, err := s.Events.Publish(context.Background(), []byte(order))
		require.NoError(t, err)
		require.Equal(t, 1, s.runs(t))
		require.Equal(t, "running", string(s.view(t).Status))

		untagged := s.create(t, nil, spec)
		time.Sleep(time.Hour)
		_, err = s.Events.Publish(context.Background(), s.sample(t, "config", untagged))
		require.NoError(t, err)
		require.Equal(t, 1, s.runs(t))
		s.Clusters.SetTags(untagged, map[string]string{"eslink:profile": "orders"})
		_, err = s.Events.Publish(context.Background(), s.sample(t, "config-tags", untagged))
		require.NoError(t, err)
		require.Equal(t, 2, s.runs(t))
		require.NotEqual(t, instance, untagged)
	})
}

// created is when an instance was.
func (s *sim) created(id string) time.Time { return s.Clusters.CreatedAt(id) }

// newcomer has a new instance connected, and everything taken away again.
func (s *sim) newcomer(t *testing.T) {
	t.Helper()
	spec := profile("manual")
	s.putProfile(t, "orders", spec)
	instance := s.create(t, map[string]string{"eslink:profile": "orders"}, spec)
	s.begun(t)
	s.ends(t, run.WaitingApproval)
	_, err := s.Events.Publish(context.Background(), s.sample(t, "order", instance))
	require.NoError(t, err)
	_, err = s.Do(events.Request{Action: "delete-profile", Profile: "orders"})
	require.NoError(t, err)
	s.do(t, events.Request{Action: "teardown"})
	s.ends(t, run.Removed)
}

// timelineOf is what happened and why.
func timelineOf(v api.View) string {
	var b strings.Builder
	for _, e := range v.Timeline {
		b.WriteString(e.What + " " + e.Reason + "\n")
	}
	return b.String()
}

// With the compiled functions: an instance is created, and nothing else done.
func TestDeploymentConnectsANewCluster(t *testing.T) {
	t.Parallel()
	deployed(t, Config{}, func(t *testing.T, d *Deployment) {
		spec := profile("auto")
		var reply api.Reply
		ask(t, d, "eslink-runs", events.Request{Action: "put-profile", Profile: "orders", Spec: spec}, &reply)
		d.Run()
		instance, err := d.CreateInstance(map[string]string{"eslink:profile": "orders"})
		require.NoError(t, err)
		full, err := spec.For(instance)
		require.NoError(t, err)
		id := flow.RunID(AccountID, full)
		var v api.View
		ask(t, d, "eslink-status", map[string]string{"runId": id}, &v) // within a minute
		require.Equal(t, "preflight", v.Step)
		d.Clusters.SetRestart(instance, 2*time.Minute)
		d.Clusters.StopRestart(instance) // what is left of its creation
		comes(t, d, id, run.Done)
		require.Equal(t, 6, count(t, d.World, instance, "dest"))
		require.NotEmpty(t, d.ClusterURLs[instance])
	})
}
