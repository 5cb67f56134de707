package world

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/aws/awstest"
	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/zilliz"
	"eslink/localtest/runtime"
	"eslink/shared/api"
	"eslink/shared/api/check"
	"eslink/shared/run"
)

// check asks the function check.
func (s *sim) check(t *testing.T, req events.CheckRequest) check.Reply {
	t.Helper()
	raw, err := json.Marshal(req)
	require.NoError(t, err)
	result, err := s.Invoke(context.Background(), "check", raw)
	require.NoError(t, err)
	require.NoError(t, result.Err())
	var reply check.Reply
	require.NoError(t, json.Unmarshal(result.Body, &reply))
	require.NotEmpty(t, reply.Checks, string(result.Body))
	return reply
}

// TestLeastPrivilege runs through what the functions are for: nothing they do is
// refused, and nothing is granted in vain.
func TestLeastPrivilege(t *testing.T) {
	inServing(t, Config{}, func(t *testing.T, s *serving) {
		var lost once
		s.tellsPeople()
		h := &hosted{sim: s.sim}
		s.Events.Fault = func(d runtime.Delivery) runtime.Fault {
			return runtime.Fault{Drop: d.Queue != "" && lost.first() || h.drops(d)} // sweep sends it again
		}
		s.start(t, events.Request{Spec: manual()})
		s.ends(t, run.WaitingApproval)
		time.Sleep(8 * 24 * time.Hour)
		require.Equal(t, run.Expired, s.view(t).Status)
		s.start(t, events.Request{Spec: manual()})
		v := s.ends(t, run.WaitingApproval)
		s.approve(t, v.Plan.ID)
		s.until(t, at("nlb-backend"))
		s.do(t, events.Request{Action: "cancel"})
		s.do(t, events.Request{Action: "retry"})
		s.ends(t, run.Done)
		s.stands(t)
		require.True(t, s.check(t, events.CheckRequest{RunID: s.id}).OK)
		foreign := events.CheckRequest{InstanceID: Instance, EndpointID: s.Links.Endpoints()[0].ID, Secrets: Spec().Secrets,
			RemoteIndex: "product_info", LocalIndex: "dest"}
		s.consents()
		require.True(t, s.check(t, foreign).OK)
		s.start(t, events.Request{Spec: manual(), Again: true})
		s.ends(t, run.Done)
		list, err := s.Invoke(context.Background(), "status", []byte(`{}`))
		require.NoError(t, err)
		require.Contains(t, string(list.Body), s.id)
		s.do(t, events.Request{Action: "teardown"})
		v = s.ends(t, run.WaitingApproval)
		s.approve(t, v.Plan.ID)
		s.ends(t, run.Removed)
		s.removed(t)
		s.newcomer(t)
		s.whitelists(t)

		s.Clusters.AllowKeystore(Instance, false)
		hosted := needing(events.Watcher, events.LDAP, events.ReindexUseCase)
		hosted.UseCases[1] = binding().UseCases[1]
		s.start(t, events.Request{Spec: &hosted})
		s.ends(t, run.Done)
		require.True(t, s.check(t, events.CheckRequest{RunID: s.id}).OK)
		require.True(t, s.check(t, events.CheckRequest{InstanceID: Instance, EndpointID: s.Links.Endpoints()[0].ID, UseCase: events.Watcher, Port: 8080,
			Secrets: events.Secrets{Instance: SecretInstance}}).OK)
		s.CLB.SetServers(s.CLB.Groups()[0].ID, Host, 81) // somebody's
		hosted.UseCases = append(hosted.UseCases, useCase(events.Dictionary))
		s.refuses("remote.dictionary")
		s.start(t, events.Request{Spec: &hosted})
		s.ends(t, run.Failed)
		s.do(t, events.Request{Action: "restore"})
		s.ends(t, run.Failed)
		s.do(t, events.Request{Action: "teardown"})
		s.ends(t, run.Removed)
		h.usesItsRights(t)
		s.connect(t, nil)
		s.ends(t, run.Done)
		require.True(t, s.check(t, events.CheckRequest{RunID: s.id}).OK)
		s.dissolve(t)
		s.azureGone(t)
		s.Zilliz.AddService(zilliz.Service{Region: awstest.ZillizRegion, Name: awstest.Service, Whitelist: true}, awstest.Region, []string{awstest.Region + "a", awstest.Region + "b"}, nil)
		vectors := ZillizSpec()
		vectors.Zilliz.PublicAccess, vectors.AcceptRisks = events.Disable, []string{events.RiskPublicBlocked}
		s.start(t, events.Request{Spec: &vectors})
		s.ends(t, run.Done)
		require.True(t, s.check(t, events.CheckRequest{RunID: s.id}).OK)
		s.do(t, events.Request{Action: "teardown"})
		s.approve(t, s.ends(t, run.WaitingApproval).Plan.ID) // no path to the cluster is left
		s.ends(t, run.Removed)

		require.Empty(t, s.Account.Refusals())
		for _, g := range s.Account.Grants() {
			require.NotZero(t, g.Used, "granted in vain: %s %s", g.Role, g.Action)
		}
	})
}

// ears hear whatever leaves a function.
type ears struct {
	mu     sync.Mutex
	said   strings.Builder
	log    lines
	bodies int // requests that may hold a secret, and did
}

func (e *ears) say(parts ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range parts {
		e.said.WriteString(p + "\n")
	}
}

// overhear listens to all but the bodies of some operations, which may hold
// that secret.
func (s *sim) overhear(secret string, holders ...string) *ears {
	e := &ears{}
	s.Logs = &e.log
	s.IO = func(c Call) Crash {
		op, _ := operation(c.Request)
		if !slices.Contains(holders, op) {
			e.say(c.Request.URL.String(), body(c.Request))
		} else if strings.Contains(body(c.Request), secret) {
			e.bodies++
		}
		return Lives
	}
	s.Events.Before = func(d runtime.Delivery) { e.say(string(d.Payload)) }
	s.Events.After = func(_ runtime.Delivery, r runtime.Result, err error) {
		e.say(string(r.Body))
		if err != nil {
			e.say(err.Error())
		}
	}
	return e
}

// shows says how the run stands, as its user sees it.
func (e *ears) shows(t *testing.T, v api.View) {
	shown, err := json.Marshal(v)
	require.NoError(t, err)
	e.say(string(shown))
}

// heardNone looks for secrets in what was heard, and in the HAR.
func (e *ears) heardNone(t *testing.T, s *sim, secrets ...string) {
	var har strings.Builder
	require.NoError(t, cloud.WriteHAR(&har, s.Account.Exchanges()))
	for place, text := range map[string]string{"requests, events, replies": e.said.String(), "log": e.log.String(), "HAR": har.String()} {
		require.NotEmpty(t, text, place)
		for _, secret := range secrets {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s: …%s…", place, text[max(0, i-200):min(len(text), i+100)])
			}
		}
	}
	require.Positive(t, e.bodies, "the canary would be seen")
}

// TestSecretsStayWhereTheyAre looks for both passwords in whatever leaves a
// function, on good days and bad ones. Only a login itself, and the _reindex
// that needs the source's, hold them.
func TestSecretsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	inWorld(t, Config{}, func(t *testing.T, s *sim) {
		ears := s.overhear(TargetPassword, "POST /_reindex")
		s.Secrets.Put(SecretInstance, login("elastic", InstancePassword+"-old"))
		s.start(t, events.Request{})
		s.ends(t, run.Failed)
		s.Secrets.Put(SecretInstance, login("elastic", InstancePassword))
		s.do(t, events.Request{Action: "retry"})
		s.until(t, at("configure"))
		s.Secrets.Put(SecretTarget, login("eslink_reader", TargetPassword+"-old"))
		ears.shows(t, s.ends(t, run.Failed))
		s.Secrets.Put(SecretTarget, `{"username":"eslink_reader","password":"`+TargetPassword) // not JSON
		s.do(t, events.Request{Action: "retry"})
		ears.shows(t, s.ends(t, run.Failed))
		s.Secrets.Put(SecretTarget, login("eslink_reader", TargetPassword))
		s.Account.SetFault(func(c cloud.Call) cloud.Fault {
			return cloud.Fault{LoseReply: byStep(c) && rand.New(rand.NewPCG(7, uint64(c.N))).IntN(7) == 0}
		})
		s.do(t, events.Request{Action: "retry"})
		s.ends(t, run.Done)
		result, err := s.Invoke(context.Background(), "check", []byte(`{"runId":"`+s.id+`"}`))
		require.NoError(t, err)
		ears.say(string(result.Body))
		s.tearDown(t)
		ears.heardNone(t, s, InstancePassword, TargetPassword)
	})
}

// Of a directory, only the keystore is given the password that a realm binds
// with; its user's is of the login alone.
func TestSecretsOfDirectoriesStayWhereTheyAre(t *testing.T) {
	inServing(t, Config{}, func(t *testing.T, s *serving) {
		ears := s.overhear("canary-reader", "POST /openapi/instances/"+Instance+"/keystores")
		spec := binding()
		s.start(t, events.Request{Spec: &spec})
		ears.shows(t, s.ends(t, run.Failed)) // no keystore
		s.Clusters.AllowKeystore(Instance, false)
		s.Secrets.Put("eslink/zhang", login("zhang", "canary-zhang-old"))
		s.Account.SetFault(func(c cloud.Call) cloud.Fault {
			return cloud.Fault{LoseReply: byStep(c) && rand.New(rand.NewPCG(8, uint64(c.N))).IntN(7) == 0}
		})
		s.do(t, events.Request{Action: "retry"})
		ears.shows(t, s.ends(t, run.Failed)) // the user's login
		s.Secrets.Put("eslink/zhang", login("zhang", "canary-zhang"))
		s.do(t, events.Request{Action: "retry"})
		ears.shows(t, s.ends(t, run.Done))
		result, err := s.Invoke(context.Background(), "check", []byte(`{"runId":"`+s.id+`"}`))
		require.NoError(t, err)
		ears.say(string(result.Body))
		s.do(t, events.Request{Action: "teardown"})
		ears.shows(t, s.ends(t, run.Removed))
		ears.heardNone(t, s.sim, InstancePassword, "canary-")
	})
}

// consents lets the source's login be sent over the standing endpoint, too, whoever
// made that.
func (s *sim) consents() {
	s.Secrets.Put(SecretTarget, Login("eslink_reader", TargetPassword, Target, "http://"+HostIP+":9200", "http://"+s.Links.Endpoints()[0].Domain+":9200"))
}
