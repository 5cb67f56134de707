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
	"eslink/localtest/fakes/eventbridge"
	"eslink/localtest/fakes/mns"
	fakeots "eslink/localtest/fakes/ots"
	fakeram "eslink/localtest/fakes/ram"
	"eslink/localtest/fakes/sls"
	"eslink/localtest/fakes/tablestore"
	"eslink/localtest/runtime"
	"eslink/shared/deploy"
)

var target = deploy.Target{Region: "cn-hangzhou", AccountID: "1234567890123456", TableInstance: "eslink", Table: "eslink", LogProject: "eslink"}

type world struct {
	t         *testing.T
	account   *cloud.Account
	queues    *mns.MNS
	ram       *fakeram.Fake
	logs      *sls.Fake
	instances *fakeots.Fake
	streams   *eventbridge.Fake
	hosts     map[string]http.Handler
	clients   deploy.Clients
	set       *deploy.Resources
	changes   []string
	seen      int // exchanges that writes no longer counts
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
	w := &world{t: t, account: a, queues: mns.New(a), ram: fakeram.New(a), logs: sls.New(a, "taken"), instances: fakeots.New(a, "taken"), streams: eventbridge.New(a)}
	w.logs.Add("eslink", "functions")
	w.instances.Add("eslink")
	w.hosts = map[string]http.Handler{"ram.aliyuncs.com": w.ram, "resourcemanager.aliyuncs.com": w.ram.ResourceManager(), "sts.aliyuncs.com": w.ram.STS(),
		"eslink.cn-hangzhou.ots.aliyuncs.com": tablestore.New(a, "eslink"), "ots.cn-hangzhou.aliyuncs.com": w.instances,
		"eventbridge-console.cn-hangzhou.aliyuncs.com": w.streams}
	w.use(target, a.RootKey())
	var err error
	w.set, err = deploy.Read(target)
	require.NoError(t, err)
	return w
}

// use connects with another key or to another target.
func (w *world) use(target deploy.Target, key cloud.Credentials) {
	var err error
	w.clients, err = deploy.Connect(target, deploy.Key{ID: key.AccessKeyID, Secret: key.AccessKeySecret, Token: key.SecurityToken}, deploy.Seam{Queues: direct{w.queues},
		Transport: cloud.Transport(func(host string) http.Handler {
			if strings.Contains(host, ".log.") {
				return w.logs
			}
			return w.hosts[host]
		})})
	require.NoError(w.t, err)
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
	assert.Len(t, planned, len(w.set.Queues)+1+len(deploy.LinkedRoles())+3*len(w.set.Roles), "queues, a table, service-linked roles; a role, its policy and their attachment each")

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
	assert.Empty(t, w.changes, "nothing is made while something is wrong")
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
				if r == "*" && strings.Contains(s.Action[0], ":DescribeV") && len(s.Action) == 8 {
					continue // the platform's work with network interfaces
				}
				assert.True(t, strings.HasPrefix(r, "acs:") && strings.Contains(r, ":1234567890123456:"), "%s: %s", name, r)
				assert.NotContains(t, r, "$", name)
			}
		}
		assert.Less(t, len(text), 6144, name)
	}
}
