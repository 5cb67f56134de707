package configure_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/cloud"
	fake "eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/faketest"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/es"
	"eslink/shared/esconfig"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/configure"
	"eslink/shared/steps/stepstest"
)

const (
	ldap1  = "xpack.security.authc.realms.ldap.ldap1."
	native = "xpack.security.authc.realms.native.native1.order"
	file   = "xpack.security.authc.realms.file.file1.order"
	secure = ldap1 + "secure_bind_password"
)

// directory is a world whose nodes have role mappings, and whose run is of a
// sample request.
type directory struct {
	*world
	mappings map[string]es.RoleMapping
	logins   map[string]kms.Login
	down     error // of the nodes
	lost     error // the reply to a role mapping's PUT
}

func newDirectory(t *testing.T, seed uint64, sample string) *directory {
	return newDirectoryIn(t, seed, sample)
}

func newDirectoryIn(t *testing.T, seed uint64, sample string) *directory {
	w := &directory{world: newWorldIn(t, seed), mappings: map[string]es.RoleMapping{"office": {Roles: []string{"superuser"}}},
		logins: map[string]kms.Login{"eslink/bind": {Username: "reader", Password: "canary-bind", Version: "v1"}}}
	delete(w.before, "") // what a realm's key is not
	w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
	require.NoError(t, w.apply(w.before))
	w.step.Nodes = func(context.Context, *run.Run) (configure.Nodes, error) {
		return people{w, view{nil, w.nodes, faketest.Dst}}, nil
	}
	w.step.Login = func(_ context.Context, s clusters.Side) (kms.Login, error) {
		l, ok := w.logins[s.Secret]
		if !ok {
			return l, errors.New("no such secret")
		}
		return l, nil
	}
	raw, err := os.ReadFile("../../../events/samples/requests/start-" + sample + ".json")
	require.NoError(t, err)
	r, err := events.ParseRequest(raw)
	require.NoError(t, err)
	w.run.Spec = *r.Spec
	w.run.Spec.InstanceID, w.run.Spec.Approve = faketest.Dst, "auto"
	w.run.Facts.Preflight = &facts.Preflight{ECS: &facts.ECSHost{PrivateIP: "10.1.2.3"}}
	return w
}

func (w *directory) apply(config map[string]string) error {
	w.nodes[faketest.Dst] = map[string]es.Settings{"n1": settings(config), "n2": settings(config)}
	return nil
}

// binds makes the directory of the sample search as somebody.
func (w *directory) binds() {
	d := w.run.Spec.UseCases[0].LDAP
	d.UserDNTemplates, d.BindDN, d.BindSecret, d.UserSearch = nil, "cn=reader,dc=example,dc=org", "eslink/bind", &events.Search{BaseDN: "dc=example,dc=org"}
}

// people are nodes with role mappings.
type people struct {
	w *directory
	view
}

func (p people) NodeSettings(ctx context.Context) (map[string]es.Settings, error) {
	if p.w.down != nil {
		return nil, p.w.down
	}
	return p.view.NodeSettings(ctx)
}

func (p people) RoleMappings(context.Context) (map[string]es.RoleMapping, error) {
	return maps.Clone(p.w.mappings), p.w.down
}

func (p people) PutRoleMapping(_ context.Context, name string, m es.RoleMapping) error {
	p.w.mappings[name] = m
	return p.w.lost
}

func (p people) DeleteRoleMapping(_ context.Context, name string) error {
	delete(p.w.mappings, name)
	return nil
}

// added are the keys of esConfig that the world's own do not have.
func (w *directory) added() map[string]string {
	w.Helper()
	config := w.config()
	for k, v := range w.before {
		require.Equal(w, v, config[k], "as it was: %s", k)
		delete(config, k)
	}
	return config
}

func (w *directory) writes() int { return len(w.changes()) }

const endpoint = domain

func TestEachUseCaseIsOneWriteAndBackAgain(t *testing.T) {
	t.Parallel()
	realm := map[string]string{native: "0", file: "1", ldap1 + "order": "2", ldap1 + "url": "ldap://" + endpoint + ":389",
		ldap1 + "user_dn_templates": `["cn={0},ou=people,dc=example,dc=org"]`, ldap1 + "group_search.base_dn": "ou=groups,dc=example,dc=org"}
	both := map[string]string{esconfig.WatcherEnabled: "true"}
	maps.Copy(both, realm)
	delete(both, ldap1+"group_search.base_dn")
	for name, want := range map[string]map[string]string{
		"watcher": {esconfig.WatcherEnabled: "true"}, "ldap": realm, "two-use-cases": both,
		"dictionary": {"ik.remote_ext_dict": "http://" + endpoint + ":8080/words.dic"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDirectory(t, 30, name)
			w.Up(w.step, w.run)
			require.Equal(t, want, w.added())
			require.Equal(t, 1, w.writes(), "one write for all use cases")
			require.Equal(t, 1, w.Up(w.step, w.run))
			require.Equal(t, 1, w.writes())
			w.unlocked()
			if name == "ldap" {
				require.Len(t, w.mappings, 2)
				require.Equal(t, []string{"kibana_admin"}, w.mappings["eslink-orders-ldap-0"].Roles)
				require.Equal(t, "map[all:[map[field:map[realm.name:ldap1]] map[field:map[groups:[cn=analysts,ou=groups,dc=example,dc=org]]]]]",
					fmt.Sprint(w.mappings["eslink-orders-ldap-0"].Rules))
			}
			w.Down(w.step, w.run)
			require.Empty(t, w.added())
			require.Equal(t, 2, w.writes())
			require.Len(t, w.mappings, 1, "somebody else's stays")
			require.Nil(t, w.run.Facts.Configure)
			w.unlocked()
		})
	}
}

func TestNothingToWrite(t *testing.T) {
	t.Parallel()
	w := newDirectoryIn(t, 31, "dictionary")
	w.run.Spec.UseCases[0].Plugin.Setting = ""
	require.Equal(t, 1, w.Up(w.step, w.run))
	require.Zero(t, w.writes())
	require.Equal(t, 1, w.Down(w.step, w.run))

	w = newSame(t)
	require.Equal(t, 1, w.Up(w.step, w.run))
	w.Down(w.step, w.run)
	require.Zero(t, w.writes())
	require.Equal(t, "true", w.config()[esconfig.WatcherEnabled], "it was on before us")
}

// newSame is a world in which Watcher is on already.
func newSame(t *testing.T) *directory {
	w := newDirectoryIn(t, 32, "watcher")
	w.before[esconfig.WatcherEnabled] = "true"
	w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
	require.NoError(t, w.apply(w.before))
	return w
}

func TestEveryWriteOfAUseCaseMeetsEveryMishap(t *testing.T) {
	t.Parallel()
	for _, m := range stepstest.Mishaps() {
		for n := 1; n <= 2; n++ {
			for _, restarts := range []bool{false, true} {
				t.Run(fmt.Sprint(m, " ", n, " ", restarts), func(t *testing.T) {
					t.Parallel()
					w := newDirectory(t, 33, "ldap")
					w.binds()
					w.ES.AllowKeystore(faketest.Dst, restarts)
					happened := w.Break(n, m)
					w.Up(w.step, w.run)
					require.True(t, happened())
					require.Equal(t, "cn=reader,dc=example,dc=org", w.added()[ldap1+"bind_dn"])
					require.Equal(t, map[string]string{secure: "canary-bind"}, w.ES.Secure(faketest.Dst))
					require.Len(t, w.mappings, 2)
					w.unlocked()
					happened = w.Break(n, m)
					w.Down(w.step, w.run)
					require.True(t, happened())
					require.Empty(t, w.added())
					require.Empty(t, w.ES.Secure(faketest.Dst))
					require.Len(t, w.mappings, 1)
					w.unlocked()
					count := 0
					for _, c := range w.changes() {
						if c.Name == "UpdateInstanceSettings" {
							count++
						}
					}
					require.Equal(t, 2, count, "esConfig is written once each way")
				})
			}
		}
	}
}

func TestAUseCaseNoLongerNamedIsTakenBack(t *testing.T) {
	t.Parallel()
	w := newDirectory(t, 34, "two-use-cases")
	w.run.Spec.UseCases[1].LDAP.RoleMappings = []events.RoleMapping{{Roles: []string{"a"}}, {Roles: []string{"b"}}}
	w.Up(w.step, w.run)
	require.Len(t, w.mappings, 3)
	w.run.Spec.UseCases[1].LDAP.RoleMappings = w.run.Spec.UseCases[1].LDAP.RoleMappings[:1]
	w.run.Spec.UseCases = w.run.Spec.UseCases[1:]
	w.run.Generation++
	w.Up(w.step, w.run)
	require.NotContains(t, w.added(), esconfig.WatcherEnabled)
	require.Contains(t, w.added(), ldap1+"url")
	require.Len(t, w.mappings, 2)
	require.Equal(t, 2, w.writes())
	w.run.Spec.UseCases = nil
	w.run.Spec.UseCases = []events.UseCase{{Kind: events.Watcher, Port: 8080, Protocol: "http", Watcher: &events.Webhook{}}}
	w.run.Generation++
	w.Up(w.step, w.run)
	require.Equal(t, map[string]string{esconfig.WatcherEnabled: "true"}, w.added())
	require.Len(t, w.mappings, 1)
	w.Down(w.step, w.run)
	require.Empty(t, w.added())
}

func TestTheKeystoreComesFirstBothWays(t *testing.T) {
	t.Parallel()
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprint(restarts), func(t *testing.T) {
			t.Parallel()
			w := newDirectory(t, 35, "ldap")
			w.binds()
			w.ES.AllowKeystore(faketest.Dst, restarts)
			w.Up(w.step, w.run)
			w.Down(w.step, w.run)
			var order []string
			for _, e := range w.Account.Exchanges() {
				if e.Write {
					order = append(order, e.Action)
				}
				require.NotContains(t, e.ReqBody+e.RespBody+e.URL, "canary")
			}
			require.Equal(t, []string{"UpdateKeystores", "UpdateInstanceSettings", "UpdateKeystores", "UpdateInstanceSettings"}, order)
		})
	}
}

func TestTearDownAfterAPasswordThatNobodyRecorded(t *testing.T) {
	t.Parallel()
	for _, m := range []stepstest.Mishap{stepstest.CrashAfter, stepstest.LoseReply} {
		w := newDirectoryIn(t, 50, "ldap")
		w.binds()
		w.ES.AllowKeystore(faketest.Dst, false)
		w.Break(1, m)
		w.Once(w.step, w.run)
		require.Len(t, w.ES.Secure(faketest.Dst), 1)
		w.Down(w.step, w.run)
		require.Empty(t, w.ES.Secure(faketest.Dst), m)
	}
}

func TestTearDownAfterARoleMappingThatNobodyRecorded(t *testing.T) {
	t.Parallel()
	w := newDirectory(t, 51, "ldap")
	w.lost = errors.New("the reply is lost")
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "lost")
	require.Len(t, w.mappings, 2)
	w.Down(w.step, w.run)
	require.Len(t, w.mappings, 1)
}

func TestANewPasswordReachesTheNodes(t *testing.T) {
	t.Parallel()
	for _, restarts := range []bool{false, true} {
		for _, m := range append(stepstest.Mishaps(), "") {
			t.Run(fmt.Sprint(restarts, m), func(t *testing.T) {
				t.Parallel()
				w := newDirectoryIn(t, 36, "ldap")
				w.binds()
				read := "" // by the nodes, when they last restarted
				w.ES.OnConfig(func(_ string, config map[string]string) error {
					read = w.ES.Secure(faketest.Dst)[secure]
					return w.apply(config)
				})
				w.ES.AllowKeystore(faketest.Dst, restarts)
				w.Up(w.step, w.run)
				require.Equal(t, "canary-bind", read)
				w.Advance(time.Hour)
				w.logins["eslink/bind"] = kms.Login{Username: "reader", Password: "canary-2", Version: "v2"}
				if m != "" {
					w.Break(1, m)
				}
				before := w.writes()
				if !restarts {
					_, err := w.Walk(w.step, w.run, run.Up)
					require.ErrorContains(t, err, "restart the cluster in its console")
					_, err = w.Walk(w.step, w.run, run.Up)
					require.ErrorContains(t, err, "restart the cluster in its console", "nobody has")
					w.ES.Restart(faketest.Dst)
				}
				w.Up(w.step, w.run)
				require.Equal(t, "canary-2", read)
				if m == "" {
					require.Equal(t, before+1, w.writes(), "one restart")
				}
				require.Equal(t, 1, w.Up(w.step, w.run))
				w.Down(w.step, w.run)
				require.Empty(t, w.added())
			})
		}
	}
}

func TestWithoutAKeystoreNothingIsWritten(t *testing.T) {
	t.Parallel()
	w := newDirectory(t, 37, "ldap")
	w.binds()
	_, err := w.Walk(w.step, w.run, run.Up)
	var p *events.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, "useCases[0].ldap.bindSecret", p.Errors[0].Field)
	require.Contains(t, p.Errors[0].Remedy, "userDnTemplates")
	require.Empty(t, w.added())
	require.Zero(t, w.writes())
	require.NotContains(t, err.Error(), "canary")
}

func TestARealmThatWouldLockElasticOutIsRefused(t *testing.T) {
	t.Parallel()
	w := newDirectory(t, 38, "ldap")
	w.before["xpack.security.authc.realms.native.n.order"] = "5"
	w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
	w.run.Spec.UseCases[0].LDAP.Order = 3
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "so that elastic can log in")
	require.Zero(t, w.writes())
}

func TestSomebodyEditsARealmBetweenLookAndWrite(t *testing.T) {
	t.Parallel()
	w := newDirectory(t, 39, "ldap")
	w.step.Cluster = &edit{Client: escluster.New(w.Deps.Aliyun), n: 1, edit: func() {
		w.before["xpack.security.authc.realms.saml.s.order"] = "2" // the place that ours would have had
		w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
	}}
	w.Up(w.step, w.run)
	require.Equal(t, "3", w.added()[ldap1+"order"])
	require.Equal(t, 1, w.writes())
}

func TestSettingsThatTheNodesRefuse(t *testing.T) {
	t.Parallel()
	newBroken := func(t *testing.T, seed uint64) *directory {
		w := newDirectoryIn(t, seed, "ldap")
		w.ES.OnConfig(func(_ string, config map[string]string) error {
			if config[ldap1+"url"] != "" {
				w.down = errors.New("connection refused")
				return errors.New("unknown setting [" + ldap1 + "url]")
			}
			w.down = nil
			return w.apply(config)
		})
		return w
	}
	stops := func(t *testing.T, w *directory) {
		_, err := w.Walk(w.step, w.run, run.Up)
		var p *events.Problem
		require.ErrorAs(t, err, &p)
		require.Contains(t, p.Error(), "unknown setting ["+ldap1+"url]")
		require.Contains(t, p.Error(), `{"action":"restore","runId":"orders"}`)
		require.Less(t, w.Now().Sub(w.run.Facts.Configure.WroteAt), 2*time.Hour, "said long before the step's deadline")
		require.Equal(t, 1, w.writes(), "nothing is tried again by itself")
	}
	t.Run("restored when asked", func(t *testing.T) {
		t.Parallel()
		w := newBroken(t, 40)
		stops(t, w)
		w.before["late"] = "edit" // made by somebody else: it stays
		c := w.ES.Instances()
		for _, i := range c {
			if i.ID == faketest.Dst {
				config := i.Config
				config["late"] = "edit"
				w.ES.SetConfig(faketest.Dst, config)
			}
		}
		w.run.Restore, w.run.Facts.Configure.Writes = true, 0 // as action restore does
		_, err := w.Walk(w.step, w.run, run.Up)
		require.ErrorContains(t, err, "esConfig is as it was before the run wrote it")
		require.False(t, w.run.Restore)
		require.Empty(t, w.added())
		require.NoError(t, w.down)
		require.Equal(t, 2, w.writes())
		w.unlocked()
		require.Equal(t, 1, w.Down(w.step, w.run), "nothing is left to take back")
	})
	t.Run("fixed in the console", func(t *testing.T) {
		t.Parallel()
		w := newBroken(t, 41)
		stops(t, w)
		w.ES.OnConfig(func(_ string, config map[string]string) error { w.down = nil; return w.apply(config) })
		w.ES.StopRestart(faketest.Dst)
		w.Up(w.step, w.run)
		require.Equal(t, 1, w.writes())
		w.unlocked()
	})
	t.Run("every mishap of restoring", func(t *testing.T) {
		t.Parallel()
		for _, m := range stepstest.Mishaps() {
			for n := 1; n <= 2; n++ {
				w := newBroken(t, 42)
				stops(t, w)
				w.run.Restore, w.run.Facts.Configure.Writes = true, 0
				happened := w.Break(n, m)
				_, err := w.Walk(w.step, w.run, run.Up)
				require.ErrorContains(t, err, "esConfig is as it was", "%s %d", m, n)
				require.True(t, happened())
				require.Empty(t, w.added())
			}
		}
	})
}

// Nodes of 7.17 do not start with the password of a realm that they have not. If
// the cloud restarts them for it, that change is interrupted for the next.
func TestAKeystoreWhoseRestartFails(t *testing.T) {
	t.Parallel()
	for _, m := range append(stepstest.Mishaps(), "") {
		w := newDirectoryIn(t, 49, "ldap")
		w.binds()
		w.ES.AllowKeystore(faketest.Dst, true)
		w.ES.OnConfig(func(_ string, config map[string]string) error {
			if (len(w.ES.Secure(faketest.Dst)) > 0) != (config[ldap1+"url"] != "") {
				return errors.New("found settings for the realm [ldap1] in the secure settings")
			}
			return w.apply(config)
		})
		if m != "" {
			w.Break(2, m) // the interruption
		}
		w.Up(w.step, w.run)
		require.NotEmpty(t, w.added())
		if m != "" {
			w.Break(2, m)
		}
		w.Down(w.step, w.run)
		require.Empty(t, w.ES.Secure(faketest.Dst))
		require.Empty(t, w.added())
		w.unlocked()
	}
}

func TestNodesOfARestartThatFailsForAMoment(t *testing.T) {
	t.Parallel()
	w := newDirectory(t, 43, "watcher")
	tries := 0
	w.ES.OnConfig(func(_ string, config map[string]string) error {
		if tries++; tries < 3 {
			return fake.ErrRestarting
		}
		return w.apply(config)
	})
	w.Up(w.step, w.run)
	require.Equal(t, 1, w.writes())
}

func TestTheDifferenceOfUseCasesThatWasApprovedIsWritten(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"watcher", "ldap", "two-use-cases", "dictionary"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDirectory(t, 44, name)
			p := w.approved()
			require.NotContains(t, fmt.Sprint(p.Difference), endpoint)
			w.Up(w.step, w.run)
			require.NotEmpty(t, w.added())
			require.Equal(t, 1, w.writes())
		})
	}
}

// listed is a store that knows of two runs.
type listed struct {
	*run.Store
	runs []*run.Run
}

func (l listed) AliveOn(_ context.Context, instanceID string) iter.Seq2[*run.Run, error] {
	return func(yield func(*run.Run, error) bool) {
		for _, r := range l.runs {
			if r.Spec.InstanceID == instanceID && !yield(r, nil) {
				return
			}
		}
	}
}

// What two runs need is taken back by the last of them, whichever that is, to
// what it was before the first.
func TestTwoRunsThatNeedTheSameSetting(t *testing.T) {
	t.Parallel()
	for _, was := range []string{"", "false", "true"} {
		for _, first := range []int{0, 1} {
			t.Run(fmt.Sprint(was, first), func(t *testing.T) {
				t.Parallel()
				w := newDirectoryIn(t, 45, "watcher")
				if was != "" {
					w.before[esconfig.WatcherEnabled] = was
					w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
					require.NoError(t, w.apply(w.before))
				}
				other := w.newRun("second", "ep-bp1ccc.epsrv-bp1ddd.cn-hangzhou.privatelink.aliyuncs.com")
				other.Spec = w.run.Spec
				elsewhere := w.newRun("third", "ep-bp1eee.epsrv-bp1fff.cn-hangzhou.privatelink.aliyuncs.com")
				elsewhere.Spec, elsewhere.Facts.Configure = w.run.Spec, &facts.Configure{}
				elsewhere.Spec.InstanceID = faketest.Src
				runs := []*run.Run{w.run, other}
				w.step.Records = listed{w.Deps.Runs, append(runs, elsewhere)}
				w.Up(w.step, w.run)
				w.Up(w.step, other)
				w.Down(w.step, runs[first])
				require.Equal(t, "true", w.config()[esconfig.WatcherEnabled], "the other needs it still")
				w.Up(w.step, runs[1-first])
				w.Down(w.step, runs[1-first])
				require.Equal(t, w.before, w.config())
				require.Equal(t, map[string]int{"": 2, "false": 2, "true": 0}[was], w.writes())
			})
		}
	}
}

func TestLoginOfTheKeystoreThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newDirectory(t, 46, "ldap")
	w.binds()
	delete(w.logins, "eslink/bind")
	_, err := w.Walk(w.step, w.run, run.Up)
	require.Error(t, err)
	require.Zero(t, w.writes())
}

// A cluster that lost its data plane while it was to be read back.
func TestNodesThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	w := newDirectory(t, 47, "watcher")
	w.down = &apierr.Error{Class: apierr.Retry, Code: es.Unreachable, Message: "connection refused"}
	for range 5 {
		out, _ := w.Once(w.step, w.run)
		w.Advance(max(out.Delay(), 10*time.Minute))
	}
	_, err := w.Once(w.step, w.run)
	require.ErrorContains(t, err, "does not answer")
	w.down = nil
	w.Up(w.step, w.run)
	require.Equal(t, 1, w.writes())
}

func TestThrottledUseCases(t *testing.T) {
	t.Parallel()
	w := newDirectory(t, 48, "ldap")
	w.binds()
	w.ES.AllowKeystore(faketest.Dst, false)
	w.Throttle()
	w.Up(w.step, w.run)
	w.Account.SetFault(func(cloud.Call) cloud.Fault { return cloud.Fault{} })
	require.True(t, strings.HasPrefix(w.added()[ldap1+"url"], "ldap://"))
}
