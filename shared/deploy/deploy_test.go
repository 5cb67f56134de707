package deploy_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/ram"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/mns"
	fakeram "eslink/localtest/fakes/ram"
	"eslink/localtest/fakes/tablestore"
	"eslink/localtest/runtime"
	"eslink/shared/deploy"
)

var target = deploy.Target{Region: "cn-hangzhou", AccountID: "1234567890123456", TableInstance: "eslink", Table: "eslink"}

type world struct {
	t       *testing.T
	account *cloud.Account
	queues  *mns.MNS
	clients deploy.Clients
	set     *deploy.Resources
	changes []string
	seen    int // exchanges that writes no longer counts
}

// direct carries the MNS SDK's requests to the fake.
type direct struct{ http.Handler }

func (d direct) RoundTrip(_ *fasthttp.HostClient, in *fasthttp.Request, out *fasthttp.Response) (bool, error) {
	r := httptest.NewRequest(string(in.Header.Method()), in.URI().String(), bytes.NewReader(in.Body()))
	in.Header.VisitAll(func(k, v []byte) {
		r.Header.Set(string(k), string(v))
	})
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	out.SetStatusCode(w.Code)
	out.SetBody(w.Body.Bytes())
	return false, nil
}

func open(t *testing.T) *world {
	a := cloud.New(cloud.Config{Region: target.Region, AccountID: target.AccountID, Now: time.Now, Seed: 1, Log: slog.New(slog.DiscardHandler)})
	w := &world{t: t, account: a, queues: mns.New(a)}
	hosts := map[string]http.Handler{"ram.aliyuncs.com": fakeram.New(a), "eslink.cn-hangzhou.ots.aliyuncs.com": tablestore.New(a, "eslink")}
	root := a.RootKey()
	var err error
	w.clients, err = deploy.Connect(target, deploy.Key{ID: root.AccessKeyID, Secret: root.AccessKeySecret},
		cloud.Transport(func(host string) http.Handler { return hosts[host] }), direct{w.queues})
	require.NoError(t, err)
	w.set, err = deploy.Read(target)
	require.NoError(t, err)
	return w
}

func (w *world) log(change string) { w.changes = append(w.changes, change) }

// writes counts the calls that changed something.
func (w *world) writes() (n int) {
	for _, e := range w.account.Exchanges()[w.seen:] {
		if e.Write {
			n++
		}
	}
	return n
}

func (w *world) up() error { return w.set.Apply(w.t.Context(), w.clients, target, false, w.log) }

func TestUpTwiceAndDown(t *testing.T) {
	t.Parallel()
	w := open(t)
	require.NoError(t, w.set.Apply(t.Context(), w.clients, target, true, w.log))
	planned := w.changes
	assert.Zero(t, w.writes(), "a plan writes nothing")
	assert.Len(t, planned, len(w.set.Queues)+1+3*len(w.set.Roles))

	w.changes = nil
	require.NoError(t, w.up())
	assert.Equal(t, planned, w.changes)
	assert.Equal(t, len(planned), w.writes())
	assert.ElementsMatch(t, slices.Collect(maps.Keys(w.set.Queues)), w.queues.Queues())
	q, ok := w.queues.Attributes("eslink-survey")
	require.True(t, ok)
	assert.Equal(t, 1100, q.VisibilityTimeout)
	assert.Equal(t, 604800, q.MessageRetentionPeriod)
	who := w.account.AssumeRole("eslink-survey", time.Now())
	_, principal, refused := w.account.Secret(who.AccessKeyID, who.SecurityToken)
	require.Nil(t, refused)
	assert.Nil(t, w.account.Authorize(principal, "kms:GetSecretValue", "acs:kms:cn-hangzhou:1234567890123456:secret/eslink/es2"))
	assert.NotNil(t, w.account.Authorize(principal, "kms:GetSecretValue", "acs:kms:cn-hangzhou:1234567890123456:secret/other"))
	assert.NotNil(t, w.account.Authorize(principal, "nlb:DeleteLoadBalancer", "acs:nlb:cn-hangzhou:1234567890123456:*"))

	w.seen = len(w.account.Exchanges())
	w.changes = nil
	require.NoError(t, w.up())
	assert.Empty(t, w.changes)
	assert.Zero(t, w.writes(), "up again changes nothing")

	require.NoError(t, w.set.Remove(t.Context(), w.clients, target, false, false, w.log))
	assert.Empty(t, w.queues.Queues())
	assert.NotNil(t, w.account.Authorize(principal, "kms:GetSecretValue", "acs:kms:cn-hangzhou:1234567890123456:secret/eslink/es2"), "a key of a role that is gone")
	assert.NotContains(t, w.changes, "delete table eslink", "run records stay unless asked for")
	w.changes = nil
	require.NoError(t, w.set.Remove(t.Context(), w.clients, target, true, false, w.log))
	assert.Equal(t, []string{"delete table eslink"}, w.changes)
	w.changes = nil
	require.NoError(t, w.set.Remove(t.Context(), w.clients, target, true, false, w.log))
	assert.Empty(t, w.changes, "down again finds nothing")
}

func TestWhatDiffersIsCorrected(t *testing.T) {
	t.Parallel()
	w := open(t)
	require.NoError(t, w.up())
	wanted := w.set.Queues["eslink-nlb"]
	require.NoError(t, w.clients.Queues.SetQueueAttributes("eslink-nlb", 0, 65536, 3600, 30, 0, 0))
	for range 7 { // more often than a policy has versions
		other := *w.set
		other.Roles = maps.Clone(w.set.Roles)
		other.Roles["eslink-nlb"] = `{"Version":"1","Statement":[]}`
		require.NoError(t, other.Apply(t.Context(), w.clients, target, false, func(string) {}))
		w.changes = nil
		require.NoError(t, w.up())
		assert.Equal(t, []string{"change policy eslink-nlb"}, w.changes)
	}
	q, _ := w.queues.Attributes("eslink-nlb")
	assert.EqualValues(t, wanted.VisibilityTimeout, q.VisibilityTimeout)
	require.NoError(t, w.set.Remove(t.Context(), w.clients, target, true, false, w.log), "further versions are deleted first")
}

func TestWhatIsNotOursStays(t *testing.T) {
	t.Parallel()
	w := open(t)
	req := ram.CreateCreateRoleRequest()
	req.SetScheme("HTTPS")
	req.RoleName, req.AssumeRolePolicyDocument = "eslink-nlb", w.set.Trust
	_, err := w.clients.RAM.CreateRole(req)
	require.NoError(t, err)
	assert.ErrorContains(t, w.up(), "role eslink-nlb exists and is not ours")
	assert.Contains(t, w.changes, "create role eslink-verify", "the others are made all the same")
	assert.ErrorContains(t, w.set.Remove(t.Context(), w.clients, target, true, false, w.log), "role eslink-nlb is not ours and stays")
	assert.NotContains(t, w.changes, "delete role eslink-nlb")
}

// variables are those of a deployment, without defaults.
func variables(name string) (string, bool) {
	switch {
	case name == "ESLINK_TABLE_INSTANCE", name == "ESLINK_LOG_PROJECT":
		return "eslink", true
	case name == "ESLINK_ACCOUNT_ID", strings.HasPrefix(name, "ESLINK_SOURCE_"), strings.HasPrefix(name, "ESLINK_DESTINATION_"):
		return target.AccountID, true
	}
	return "", false
}

// TestResourcesAgreeWithTheProject holds what up makes against the deployment files: every function has its role and
// every role a function, every stream its queue and every queue a stream, with a visibility timeout that outlasts the
// platform's attempts.
func TestResourcesAgreeWithTheProject(t *testing.T) {
	t.Parallel()
	w := open(t)
	var files []string
	for _, f := range deploy.Files() {
		files = append(files, "../../"+f)
	}
	p, err := runtime.Load(variables, files...)
	require.NoError(t, err)
	queues, roles := []string{"eslink-dead"}, []string{}
	for _, f := range p.Functions {
		roles = append(roles, f.RoleName())
		for _, tr := range f.Triggers {
			if tr.EventBridge != nil && tr.EventBridge.Queue() != "" {
				queues = append(queues, tr.EventBridge.Queue())
			}
		}
		assert.Equal(t, target.Table, f.Environment["ESLINK_TABLE"])
		assert.Equal(t, target.TableInstance, f.Environment["ESLINK_TABLE_INSTANCE"])
	}
	assert.ElementsMatch(t, queues, slices.Collect(maps.Keys(w.set.Queues)))
	assert.ElementsMatch(t, roles, slices.Collect(maps.Keys(w.set.Roles)))
	require.NoError(t, w.up())
	events := runtime.Events{Functions: p.Functions, Account: w.account, Queues: w.queues}
	assert.NoError(t, events.Check())
}

func TestPoliciesGrantNoWildcardAction(t *testing.T) {
	t.Parallel()
	w := open(t)
	for name, text := range w.set.Roles {
		var p cloud.Policy
		require.NoError(t, json.Unmarshal([]byte(text), &p), name)
		for _, s := range p.Statement {
			for _, a := range s.Action {
				assert.NotContains(t, a, "*", name)
				assert.NotContains(t, []string{"elasticsearch:DeleteInstance", "elasticsearch:RestartInstance"}, a, name)
			}
			for _, r := range s.Resource {
				assert.True(t, strings.HasPrefix(r, "acs:") && strings.Contains(r, ":1234567890123456:"), "%s: %s", name, r)
				assert.NotContains(t, r, "$", name)
			}
		}
		assert.Less(t, len(text), 6144, name)
	}
}
