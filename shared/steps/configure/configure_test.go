package configure_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	fake "eslink/localtest/fakes/escluster"
	"eslink/localtest/fakes/faketest"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/es"
	"eslink/shared/esconfig"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/configure"
	"eslink/shared/steps/stepstest"
)

const (
	domain = "ep-bp1aaa.epsrv-bp1bbb.cn-hangzhou.privatelink.aliyuncs.com"
	entry  = domain + ":9200"
	others = "10.7.0.1:9200, old-*.example.com:*"
)

// nodes run with what the cloud last handed to them: settings by instance and
// node.
type nodes map[string]map[string]es.Settings

func (n nodes) of(id string) func(context.Context, *run.Run) (configure.Nodes, error) {
	return func(context.Context, *run.Run) (configure.Nodes, error) { return view{nodes: n, id: id}, nil }
}

type view struct {
	configure.Nodes
	nodes nodes
	id    string
}

func (v view) NodeSettings(context.Context) (map[string]es.Settings, error) {
	return v.nodes[v.id], nil
}

// settings are a configuration as nodes show it.
func settings(config map[string]string) es.Settings {
	all := es.Settings{}
	for k, v := range config {
		all[k], _ = json.Marshal(v)
	}
	return all
}

func (w *world) hasEntry(node string) bool {
	return slices.Contains(w.nodes[faketest.Dst][node].List(esconfig.Whitelist), entry)
}

type world struct {
	*stepstest.World
	step   *configure.Step
	run    *run.Run
	nodes  nodes
	before map[string]string
}

func newWorld(t *testing.T, seed uint64) *world {
	return newWorldIn(t, seed)
}

func newWorldIn(t *testing.T, seed uint64) *world {
	w := &world{World: stepstest.New(t, seed), nodes: nodes{}}
	w.before = map[string]string{
		"action.auto_create_index": "+.*,-*", "http.cors.allow-headers": "\"X\"\t, Y\n", "": " ", esconfig.Whitelist: others,
	}
	w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
	apply := func(id string, config map[string]string) error {
		w.nodes[id] = map[string]es.Settings{"n1": settings(config), "n2": settings(config), "n3": settings(config)}
		return nil
	}
	require.NoError(t, apply(faketest.Dst, w.before))
	w.ES.OnConfig(apply)
	w.step = &configure.Step{Cluster: escluster.New(w.Deps.Aliyun), Nodes: w.nodes.of(faketest.Dst), Records: w.Deps.Runs, Now: w.Now}
	w.run = w.newRun("orders", domain)
	return w
}

func (w *world) newRun(id, domain string) *run.Run {
	r := w.Run("configure")
	r.ID, r.Spec.Approve = id, "auto"
	r.Facts.Accept = &facts.Accept{Domain: domain}
	return r
}

func (w *world) config() map[string]string {
	w.Helper()
	for _, i := range w.ES.Instances() {
		if i.ID == faketest.Dst {
			require.Equal(w, "active", i.Status)
			return i.Config
		}
	}
	return nil
}

// restarts counts the writes of esConfig that were carried out.
func (w *world) restarts() (n int) {
	for _, e := range w.Account.Exchanges() {
		if e.Action == "UpdateInstanceSettings" && e.Status < 300 {
			n++
		}
	}
	return n
}

func (w *world) configured() {
	w.Helper()
	want := maps.Clone(w.before)
	want[esconfig.Whitelist] = others + ", " + entry
	require.Equal(w, want, w.config(), "every other key is as it was")
	require.True(w, w.hasEntry("n2"))
	require.Equal(w, entry, w.run.Facts.Configure.Entry)
	require.True(w, w.run.Facts.Configure.Added)
	w.unlocked()
}

func (w *world) restored() {
	w.Helper()
	require.Equal(w, w.before, w.config())
	require.False(w, w.hasEntry("n2"))
	require.Nil(w, w.run.Facts.Configure)
	w.unlocked()
}

func (w *world) unlocked() {
	w.Helper()
	holder, err := w.Deps.Runs.Holder(context.Background(), "config/"+faketest.Dst)
	require.NoError(w, err)
	require.Empty(w, holder)
}

func TestUpAddsTheEntryAndDownTakesItOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	require.LessOrEqual(t, w.Up(w.step, w.run), 20)
	w.configured()
	require.Equal(t, 1, w.restarts())
	var kept map[string]string
	require.NoError(t, w.Deps.Runs.GetPart(context.Background(), w.run.ID, esconfig.BeforeRow, &kept))
	require.Equal(t, w.before, kept)

	require.Equal(t, 1, w.Up(w.step, w.run))
	require.Equal(t, 1, w.restarts(), "a second walk restarts nothing")
	w.Down(w.step, w.run)
	w.restored()
	require.Equal(t, 2, w.restarts())
	require.Equal(t, 1, w.Down(w.step, w.run))
	w.Up(w.step, w.run)
	w.configured()
}

// changes are the restarts that the cloud has on record.
func (w *world) changes() []escluster.Action {
	w.Helper()
	all, err := escluster.New(w.Deps.Aliyun).ActionRecords(w.Context(), faketest.Dst)
	require.NoError(w, err)
	return all
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	stepstest.BadDays(t, stepstest.Case{Step: "configure", Most: 20,
		Not: map[stepstest.Day]string{stepstest.TwoHits: "esConfig has one entry of a name", stepstest.Namesake: "the entry names the run's own endpoint"},
		Fresh: func(t *testing.T, seed uint64) stepstest.Scene {
			w := newWorld(t, seed)
			return stepstest.Scene{Driver: w.Driver, Step: w.step, Run: w.run, Stands: w.configured, Nothing: w.restored,
				ByHand: map[string]func(){"entry": func() {
					w.ES.SetConfig(faketest.Dst, w.before)
					w.nodes[faketest.Dst] = map[string]es.Settings{"n1": settings(w.before), "n2": settings(w.before), "n3": settings(w.before)}
				}}}
		}})
}

func TestRefusedWritesAreNoRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 26)
	n := 0
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		if c.Action == "UpdateInstanceSettings" {
			if n++; n <= 5 {
				return cloud.Fault{Before: cloud.Errorf(400, "InstanceDuplicateScheduledTask", "busy")}
			}
		}
		return cloud.Fault{}
	})
	w.Up(w.step, w.run)
	w.configured()
}

func TestTheRestartIsFollowedWithItsProgress(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		for _, d := range []time.Duration{0, 2 * time.Hour} {
			t.Run(fmt.Sprintf("%d/%s", seed, d), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, seed)
				w.ES.SetRestart(faketest.Dst, d)
				var reasons []string
				n := 0
				for ; ; n++ {
					out, err := w.Once(w.step, w.run)
					require.NoError(t, err)
					if out.IsDone() {
						break
					}
					require.ErrorContains(t, w.Deps.Runs.Lock(context.Background(), "config/"+faketest.Dst, "another", time.Second), "held", "locked until it ends")
					reasons = append(reasons, out.Reason())
					w.Advance(out.Delay())
				}
				w.configured()
				require.Contains(t, strings.Join(reasons, "\n"), "of 3 nodes done, ")
				took := w.Now().Sub(w.run.Facts.Configure.WroteAt)
				w.Down(w.step, w.run)
				var real time.Duration
				w.ES.SetRestart(faketest.Dst, 0)
				for _, e := range w.changes()[1:] {
					real = w.ended(e.ChangeID).Sub(e.Start)
				}
				require.LessOrEqual(t, n, 22)
				require.Less(t, took, real+real/10+30*time.Second, "polling adds little")
			})
		}
	}
}

// ended is when a change ended.
func (w *world) ended(id string) time.Time {
	w.Helper()
	var end time.Time
	for _, e := range w.Account.Exchanges() {
		if _, rest, ok := strings.Cut(e.RespBody, `"endTime":`); ok && e.Action == "ListActionRecords" && strings.Contains(e.RespBody, id) {
			for part := range strings.SplitSeq(e.RespBody, `{"actionName"`) {
				if strings.Contains(part, id) {
					_, rest, _ = strings.Cut(part, `"endTime":`)
					var ms int64
					fmt.Sscan(strings.SplitN(rest, ",", 2)[0], &ms)
					if ms > 0 {
						end = time.UnixMilli(ms)
					}
				}
			}
		}
	}
	return end
}

func TestARestartThatNeverEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.ES.SetRestart(faketest.Dst, fake.Never)
	for n := 0; w.Now().Sub(w.run.Cursor.Since) < 6*time.Hour; n++ { // then the engine stops it
		require.Less(t, n, 60)
		out, err := w.Once(w.step, w.run)
		require.NoError(t, err)
		require.Positive(t, out.Delay())
		w.Advance(out.Delay())
	}
	require.Equal(t, 1, w.restarts())
	w.ES.StopRestart(faketest.Dst)
	w.Up(w.step, w.run)
	w.configured()
}

func TestTheEntryIsThereAlready(t *testing.T) {
	t.Parallel()
	for _, value := range []string{entry, "a:9200," + entry, `["` + entry + `"]`} {
		t.Run(value[:2], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 6)
			w.before[esconfig.Whitelist] = value
			w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
			w.nodes[faketest.Dst] = map[string]es.Settings{"n1": {esconfig.Whitelist: []byte(`["` + entry + `"]`)}}
			require.Equal(t, 1, w.Up(w.step, w.run))
			require.False(t, w.run.Facts.Configure.Added)
			w.Down(w.step, w.run)
			require.Zero(t, w.restarts())
			require.Equal(t, w.before, w.config(), "what we did not add stays")
			require.Nil(t, w.run.Facts.Configure)
		})
	}
}

func TestKeepConfigLeavesTheEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 7)
	w.Up(w.step, w.run)
	w.run.KeepConfig = true
	w.Down(w.step, w.run)
	w.configured()
	require.Equal(t, 1, w.restarts())
}

// edit is a cluster that somebody changes right after our n-th look.
type edit struct {
	*escluster.Client
	n    int
	edit func()
}

func (e *edit) Describe(ctx context.Context, id string) (escluster.Instance, error) {
	in, err := e.Client.Describe(ctx, id)
	if e.n--; e.n == 0 {
		e.edit()
	}
	return in, err
}

func TestSomebodyEditsTheConfigurationBetweenLookAndWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8)
	w.step.Cluster = &edit{Client: escluster.New(w.Deps.Aliyun), n: 1, edit: func() {
		w.before["xpack.watcher.enabled"] = "true"
		w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
	}}
	w.Up(w.step, w.run)
	w.configured()
}

func TestSomebodyOverwritesOurEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 9)
	out, err := w.Once(w.step, w.run)
	require.NoError(t, err)
	w.Advance(out.Delay())
	w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
	w.Up(w.step, w.run)
	w.configured()

	w.ES.SetConfig(faketest.Dst, maps.Clone(w.before)) // and after a walk
	w.Up(w.step, w.run)
	w.configured()
}

func TestSomebodyKeepsOverwriting(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	for range 3 {
		for {
			out, err := w.Once(w.step, w.run)
			require.NoError(t, err)
			w.Advance(out.Delay())
			if strings.Contains(out.Reason(), "estimate") {
				break
			}
		}
		w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
	}
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "somebody else is writing it too")
	require.Equal(t, 3, w.restarts())
}

func TestSomebodyRemovesOurEntryBeforeTeardown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 11)
	w.Up(w.step, w.run)
	w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
	require.Equal(t, 1, w.Down(w.step, w.run))
	require.Equal(t, 1, w.restarts())
	require.Nil(t, w.run.Facts.Configure)
}

func TestOthersEntriesSurviveTeardown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 12)
	w.Up(w.step, w.run)
	c := w.config()
	c[esconfig.Whitelist] += ", late.example.com:9200"
	w.ES.SetConfig(faketest.Dst, c)
	w.Down(w.step, w.run)
	w.before[esconfig.Whitelist] = others + ", late.example.com:9200"
	w.restored()
}

// approved is the run's plan as step plan makes it and a person approves it.
func (w *world) approved() *run.Plan {
	w.Helper()
	c, err := new(esconfig.Journal).Of(w.config(), w.run.Spec, esconfig.Placeholder)
	require.NoError(w, err)
	p := &run.Plan{Creates: []string{"a load balancer"}, Difference: c.Difference, Cost: run.Cost{Currency: "CNY", PerHour: 1}}
	p.Seal()
	w.run.Spec.Approve, w.run.Plan, w.run.Approved = "manual", p, p.ID
	return p
}

func TestWhatWasApprovedIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 13)
	w.approved()
	w.before["xpack.watcher.enabled"] = "true" // a change that is none of ours
	w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
	w.Up(w.step, w.run)
	w.configured()

	for range 2 { // teardown shows its own difference, and waits
		w.run.Direction = run.Down
		out, err := w.Once(w.step, w.run)
		require.NoError(t, err)
		require.Equal(t, []run.Change{{Key: esconfig.Whitelist, Before: others + ", " + entry, After: others}}, out.Asked().Difference)
		require.True(t, out.Asked().Restart.Needed)
		require.Zero(t, out.Asked().Cost.PerHour)
		w.run.Plan = out.Asked()
		w.unlocked()
	}
	w.run.Approved = w.run.Plan.ID
	w.Down(w.step, w.run)
	w.restored()
}

func TestAnotherDifferenceThanApprovedAsksAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 14)
	was := w.approved()
	w.before[esconfig.Whitelist] = others + ",new:9200"
	w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
	out, err := w.Once(w.step, w.run)
	require.NoError(t, err)
	p := out.Asked()
	require.NotNil(t, p)
	require.NotEqual(t, was.ID, p.ID)
	require.Equal(t, was.Cost, p.Cost)
	require.Equal(t, []run.Change{{Key: esconfig.Whitelist, Before: others + ",new:9200", After: others + ",new:9200,{endpoint}:9200"}}, p.Difference)
	require.Zero(t, w.restarts())
	w.unlocked()

	w.run.Plan, w.run.Approved = p, p.ID
	w.Up(w.step, w.run)
	require.Equal(t, others+",new:9200,"+entry, w.config()[esconfig.Whitelist])
}

func TestTwoRunsOnOneInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 15)
	const second = "ep-bp1ccc.epsrv-bp1ddd.cn-hangzhou.privatelink.aliyuncs.com"
	other := w.newRun("second", second)
	// The lock is taken before the cluster is seen changing.
	require.NoError(t, w.Deps.Runs.Lock(context.Background(), "config/"+faketest.Dst, w.run.ID, time.Minute))
	_, err := w.Once(w.step, other)
	require.ErrorContains(t, err, "is held by orders")
	require.Zero(t, w.restarts())
	w.Up(w.step, w.run)
	w.configured()
	w.Up(w.step, other)
	require.Equal(t, others+", "+entry+", "+second+":9200", w.config()[esconfig.Whitelist])
	w.Down(w.step, w.run)
	require.Equal(t, others+", "+second+":9200", w.config()[esconfig.Whitelist])
	w.Down(w.step, other)
	w.restored()
}

func TestAnEndpointMadeAnewReplacesItsEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 16)
	w.run.Facts.Accept.Domain = "ep-bp1old.epsrv-bp1bbb.cn-hangzhou.privatelink.aliyuncs.com"
	w.Up(w.step, w.run)
	w.run.Facts.Accept.Domain = domain
	w.Up(w.step, w.run)
	w.configured()
	require.Equal(t, 2, w.restarts(), "one write for both")
	w.Down(w.step, w.run)
	w.restored()
}

func TestCertificateVerificationIsPartOfTheSameWrite(t *testing.T) {
	t.Parallel()
	refuse := func(_, key, _ string) error {
		if key == esconfig.Verification {
			return cloud.Errorf(400, "InvalidParameter", "reindex.ssl.verification_mode is not supported")
		}
		return nil
	}
	t.Run("taken", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 17)
		w.run.Spec.Target.Protocol, w.run.Spec.Target.TLS = "https", esconfig.Certificate
		w.Up(w.step, w.run)
		require.Equal(t, esconfig.Certificate, w.config()[esconfig.Verification])
		require.Equal(t, 1, w.restarts())
		w.Down(w.step, w.run)
		w.restored()
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 18)
		w.run.Spec.Target.Protocol, w.run.Spec.Target.TLS = "https", esconfig.Certificate
		w.ES.RefuseSetting(refuse)
		_, err := w.Walk(w.step, w.run, run.Up)
		require.ErrorContains(t, err, "nothing was changed")
		require.ErrorContains(t, err, esconfig.Verification+" is not supported")
		require.Equal(t, w.before, w.config())
		w.Down(w.step, w.run)
		w.restored()
	})
	t.Run("not kept", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 19)
		w.run.Spec.Target.Protocol, w.run.Spec.Target.TLS = "https", esconfig.Certificate
		out, err := w.Once(w.step, w.run)
		require.NoError(t, err)
		w.Advance(out.Delay())
		want := maps.Clone(w.before)
		want[esconfig.Whitelist] = others + ", " + entry
		w.ES.SetConfig(faketest.Dst, want)
		_, err = w.Walk(w.step, w.run, run.Up)
		require.ErrorContains(t, err, "did not keep "+esconfig.Verification)
		require.Equal(t, 1, w.restarts())
		w.Down(w.step, w.run)
		w.restored()
	})
}

func TestStatesOfTheCluster(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"inactive", "invalid"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 20)
			w.ES.SetStatus(faketest.Dst, state)
			_, err := w.Walk(w.step, w.run, run.Up)
			require.ErrorContains(t, err, faketest.Dst+" is "+state)
			w.ES.SetStatus(faketest.Dst, "active")
			w.Up(w.step, w.run)
			w.ES.SetStatus(faketest.Dst, state)
			_, err = w.Walk(w.step, w.run, run.Down)
			if state == "invalid" { // gone, and its configuration with it
				require.NoError(t, err)
				require.Nil(t, w.run.Facts.Configure)
				return
			}
			require.ErrorContains(t, err, "inactive")
		})
	}
	t.Run("activating", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 21)
		w.ES.SetStatus(faketest.Dst, "activating")
		out, err := w.Once(w.step, w.run)
		require.NoError(t, err)
		require.Contains(t, out.Reason(), "is carrying out a change")
		w.ES.SetStatus(faketest.Dst, "active")
		w.Up(w.step, w.run)
		w.configured()
	})
}

func TestNodesThatDidNotTakeItUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 22)
	only := es.Settings{esconfig.Whitelist: []byte(`["` + entry + `"]`)}
	w.ES.OnConfig(func(id string, _ map[string]string) error {
		w.nodes[id]["n1"] = only
		return nil
	})
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "n2 ("+esconfig.Whitelist+"), n3 ("+esconfig.Whitelist+"): restart the cluster")
	w.nodes[faketest.Dst]["n2"], w.nodes[faketest.Dst]["n3"] = only, es.Settings{esconfig.Whitelist: []byte(`"x:9200, ` + entry + `"`)}
	w.Up(w.step, w.run)
	require.Equal(t, 1, w.restarts())
}

func TestAWhitelistThatNobodyUnderstandsIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 24)
	w.before[esconfig.Whitelist] = "- a:9200\n- b:9200"
	w.ES.SetConfig(faketest.Dst, maps.Clone(w.before))
	_, err := w.Walk(w.step, w.run, run.Up)
	require.ErrorContains(t, err, "write it as host:port,host:port first")
	require.Zero(t, w.restarts())
}

func TestNothingToChangeIsSuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 25)
	refused := false
	w.Account.SetFault(func(c cloud.Call) cloud.Fault {
		if c.Action == "UpdateInstanceSettings" && !refused {
			refused = true
			return cloud.Fault{Before: cloud.Errorf(400, "MustChangeOneResource", "At least one resource must be changed.")}
		}
		return cloud.Fault{}
	})
	w.Up(w.step, w.run)
	w.configured()
}
