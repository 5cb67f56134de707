package plan_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/localtest/fakes/faketest"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/clusters"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/steps/plan"
	"eslink/shared/steps/stepstest"
	"eslink/shared/steps/survey"
)

// world is an instance with embedded nodes, and a run of a sample request that
// has come to step plan.
type world struct {
	*stepstest.World
	nodes *elastic.Server
	user  string
	// refused are secrets that cannot be used.
	refused map[string]bool
	// answers are given in the nodes' place, by path.
	answers map[string]answer
	step    *plan.Step
	run     *run.Run
}

func newWorld(t *testing.T, sample string) *world {
	w := &world{World: stepstest.New(t, 1), user: "elastic"}
	w.nodes = elastic.New(elastic.Config{Version: "7.17.29", Nodes: 3, Now: w.Now, Analyzers: []string{"ik_smart"},
		Users: map[string]elastic.User{"elastic": elastic.Superuser("secret-1"), "poor": {Password: "secret-1", Cluster: []string{"monitor"}},
			"writer": {Password: "secret-1", Cluster: []string{"monitor", "manage"}, Indices: []elastic.IndexPrivileges{{Names: []string{"*"},
				Privileges: []string{"create_index", "write", "read", "delete_index", "maintenance", "monitor", "view_index_metadata"}}}}}})
	t.Cleanup(w.nodes.Stop)
	w.step = &plan.Step{Clusters: w, Control: escluster.New(w.Deps.Aliyun), Rows: w.Deps.Runs}
	w.run = w.Run("plan")
	raw, err := os.ReadFile("../../../events/samples/requests/start-" + sample + ".json")
	require.NoError(t, err)
	r, err := events.ParseRequest(raw)
	require.NoError(t, err)
	w.run.Spec = *r.Spec
	w.run.Spec.InstanceID = faketest.Dst
	f := &w.run.Facts
	f.Preflight.ECS = &facts.ECSHost{InstanceID: "i-1", PrivateIP: "10.2.1.9", VpcID: "vpc-src"}
	f.Survey = &facts.Survey{}
	return w
}

// define is what survey has found the i-th source to be.
func (w *world) define(i int, settings, mappings string) {
	w.Helper()
	require.NoError(w, w.Deps.Runs.PutPart(w.Context(), w.run.ID, survey.Part(i), es.Definition{Settings: []byte(settings), Mappings: []byte(mappings)}))
}

// Open opens the embedded nodes.
func (w *world) Open(context.Context, clusters.Side) (*es.Client, error) {
	return es.New(w, "http://dst:9200", w.user, "secret-1")
}

type answer struct {
	status int
	body   string
}

// RoundTrip implements http.RoundTripper.
func (w *world) RoundTrip(q *http.Request) (*http.Response, error) {
	if a, ok := w.answers[q.URL.Path]; ok {
		return &http.Response{StatusCode: a.status, Body: io.NopCloser(strings.NewReader(a.body)), Request: q}, nil
	}
	return w.nodes.RoundTrip(q)
}

// Login finds every secret but those that are refused.
func (w *world) Login(_ context.Context, s clusters.Side) (kms.Login, error) {
	if w.refused[s.Secret] {
		return kms.Login{}, events.NewProblem(409, "secret", "a secret cannot be used", events.Finding{Field: s.Field, Message: s.Secret + " is not there", Remedy: "create it"})
	}
	return kms.Login{Username: "u", Password: "p"}, nil
}

func (w *world) up() (engine.Outcome, error) { return w.step.Up(w.Context(), w.run) }

// finds expects one finding.
func (w *world) finds(field, message, remedy string) {
	w.Helper()
	_, err := w.up()
	var p *events.Problem
	require.ErrorAs(w, err, &p)
	require.Len(w, p.Errors, 1, p.Error())
	require.Equal(w, field, p.Errors[0].Field)
	require.Contains(w, p.Errors[0].Message, message)
	require.Contains(w, p.Errors[0].Remedy, remedy)
}

func (w *world) binds() {
	d := w.run.Spec.UseCases[0].LDAP
	d.UserDNTemplates, d.BindDN, d.BindSecret, d.UserSearch = nil, "cn=reader,dc=x", "eslink/bind", &events.Search{BaseDN: "dc=x"}
}

// A secret that a step far down needs is asked for before the first write, with
// everything else that is wrong.
func TestSecretsAreReadBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ldap")
	w.binds()
	w.refused = map[string]bool{"eslink/bind": true, "eslink/zhang": true}
	_, err := w.up()
	var p *events.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, []string{"useCases[0].ldap.userSecret", "useCases[0].ldap.bindSecret"}, []string{p.Errors[0].Field, p.Errors[1].Field})

	w = newWorld(t, "reindex")
	w.run.Facts.Survey.Indices = make([]facts.SurveyedIndex, len(w.run.Spec.Indices))
	for i := range w.run.Spec.Indices {
		w.define(i, `{}`, `{}`)
	}
	w.refused = map[string]bool{w.run.Spec.Secrets.Target: true}
	_, err = w.up()
	require.ErrorAs(t, err, &p)
	require.Equal(t, "secrets.target", p.Errors[0].Field)
}

func TestWhatIsPlannedForEachUseCase(t *testing.T) {
	t.Parallel()
	for sample, want := range map[string][]string{
		"watcher":       {"xpack.watcher.enabled"},
		"two-use-cases": {"xpack.security.authc.realms.file.file1.order", "xpack.security.authc.realms.ldap.ldap1.order", "xpack.security.authc.realms.ldap.ldap1.url", "xpack.security.authc.realms.ldap.ldap1.user_dn_templates", "xpack.security.authc.realms.native.native1.order", "xpack.watcher.enabled"},
		"dictionary":    {"ik.remote_ext_dict"},
	} {
		t.Run(sample, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sample)
			w.run.Spec.Approve = "manual"
			out, err := w.up()
			require.NoError(t, err)
			p := out.Asked()
			require.NotNil(t, p)
			var keys []string
			for _, c := range p.Difference {
				keys = append(keys, c.Key)
			}
			require.Equal(t, want, keys)
			require.True(t, p.Restart.Needed)
			made := strings.Join(p.Creates, "\n")
			require.Contains(t, made, "a private CLB in vpc-src")
			for _, port := range w.run.Spec.Ports() {
				require.Contains(t, made, fmt.Sprintf("a listener on port %d with 10.2.1.9:%[1]d behind it", port))
			}
			require.NotContains(t, made, "NLB")
			require.Contains(t, p.Cost.Note, "CLB")
			if sample == "dictionary" {
				require.NotEmpty(t, w.run.Facts.Dictionary.Before)
			}
			// Over the standing link, with what was approved written already.
			w.run.Facts.Accept = &facts.Accept{Domain: "ep-a.epsrv-b.cn-hangzhou.privatelink.aliyuncs.com"}
			again, err := w.up()
			require.NoError(t, err)
			require.Equal(t, p.ID, again.Asked().ID, "the plan does not depend on the endpoint")
		})
	}
}

func TestWhatAUserMustBeGranted(t *testing.T) {
	t.Parallel()
	for sample, want := range map[string]string{"watcher": "manage_watcher", "ldap": "manage_security"} {
		w := newWorld(t, sample)
		w.user = "poor"
		w.finds("secrets.instance", want, "grant it")
	}
}

func TestARealmThatBindsNeedsAKeystore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ldap")
	w.binds()
	w.finds("useCases[0].ldap.bindDn", "not on the keystore's allowlist", "userDnTemplates")
	w.ES.AllowKeystore(faketest.Dst, false)
	out, err := w.up()
	require.NoError(t, err)
	require.Nil(t, out.Asked(), "approved in advance")
	require.Contains(t, strings.Join(w.run.Plan.Creates, "\n"), "with the password of secret eslink/bind")
	require.Contains(t, strings.Join(w.run.Plan.Creates, "\n"), "1 role mappings for realm ldap1")
}

func TestWordsAndAnalyzers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "dictionary")
	w.run.Spec.UseCases[0].Plugin.Word = "elasticsearch"
	w.finds("useCases[0].plugin.word", "prove nothing", "does not know of itself")
	w.run.Spec.UseCases[0].Plugin.Analyzer = "nowhere"
	w.finds("useCases[0].plugin.analyzer", "no analyzer nowhere", "install the plugin")
}

func TestOldRealms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ldap")
	w.run.Facts.Preflight.Instance.Version = "6.8.5_with_X-Pack"
	w.finds("useCases[0].ldap", "6.8.5", "upgrade")
	w.run.Facts.Preflight.Instance.Version = "7.10.0_with_X-Pack"
	config := map[string]string{"xpack.security.authc.reserved_realm.enabled": "false"}
	w.ES.SetConfig(faketest.Dst, config)
	w.finds("instanceId", "elastic could not log in", "console")
}
