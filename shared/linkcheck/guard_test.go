package linkcheck_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/localtest/services"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/api/check"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/linkcheck"
	"eslink/shared/run"
)

// endpoints are those of an instance.
type endpoints []escluster.Endpoint

func (e endpoints) ListEndpoints(_ context.Context, _ string) ([]escluster.Endpoint, error) {
	return e, nil
}

// The domain that the instance is to call is that of the endpoint named, among the
// instance's own.
func TestTheDomainIsThatOfTheEndpointNamed(t *testing.T) {
	inWorld(t, elastic.Config{Settings: on}, func(t *testing.T, w *world) {
		v := good()
		v.connection.EndpointID = "ep-a1aaaaaa"
		s := w.service(v)
		mine := v.endpoint
		mine.ID = "ep-a1aaaaaa"
		s.Cloud.Endpoints = endpoints{mine, {ID: "ep-b2bbbbbb", Domain: "ep-b2.example.com", ServiceID: "epsrv-b2", Connection: "Connected"}}
		hook := &services.Webhook{}
		w.http("8080", hook)
		const ask = `"useCase":"watcher","secrets":{"instance":"eslink/a"},"watcher":{"path":"/x"}`
		reply := w.ask(s, ask)
		require.True(t, reply.OK, "%v", reply.Checks)
		s.Cloud.Endpoints = endpoints{{ID: "ep-b2bbbbbb", Domain: domain}}
		_, err := s.Do(t.Context(), []byte(`{"instanceId":"es-cn-dst000000001","endpointId":"ep-a1aaaaaa",`+ask+`}`))
		require.ErrorContains(t, err, "there is no such endpoint")
		require.Len(t, hook.Received(), 1)
	})
}

// Another endpoint's connection to the service says nothing of this one.
func TestAnotherEndpointsConnectionDoesNotCount(t *testing.T) {
	t.Parallel()
	l := watcher
	l.EndpointID, l.ServiceID = "ep-a1", "epsrv-b2"
	v := good()
	v.connection.EndpointID = "ep-other"
	k, err := v.cloud().Link(t.Context(), l)
	require.NoError(t, err)
	require.Contains(t, k.Detail, "does not have endpoint ep-a1 connected")
}

func TestARunWithoutALink(t *testing.T) {
	t.Parallel()
	for name, lack := range map[string]func(*facts.Facts){
		"preflight": func(f *facts.Facts) { f.Preflight = nil }, "backends": func(f *facts.Facts) { f.CLBBackend = nil }, "service": func(f *facts.Facts) { f.EndpointService = nil },
		"connection": func(f *facts.Facts) { f.PrivateConnection = nil }, "domain": func(f *facts.Facts) { f.Accept = nil },
	} {
		f := facts.Facts{Preflight: &facts.Preflight{}, CLBBackend: &facts.CLBBackend{}, EndpointService: &facts.EndpointService{}, PrivateConnection: &facts.PrivateConnection{}, Accept: &facts.Accept{}}
		lack(&f)
		s := &check.Service{Runs: runs{&run.Run{ID: "0123456789abcdef", Facts: f}}}
		_, err := s.Do(t.Context(), []byte(`{"runId":"0123456789abcdef"}`))
		require.ErrorContains(t, err, "the run has no link yet", name)
	}
}

// A login by another realm of the same kind proves nothing of the run's own.
func TestALoginByAnotherRealm(t *testing.T) {
	settings, l := realm(services.OpenLDAP)
	inWorld(t, elastic.Config{Settings: settings}, func(t *testing.T, w *world) {
		w.serve("389", services.NewDirectory(services.OpenLDAP, people).Serve)
		w.users[l.Kind] = zhang
		l.LDAP.Realm = "*" // whose cache is cleared like that of all
		w.sees(l, "operation", "zhang is a user of realm ldap1", "")
	})
}

// A dictionary's plugin is given time, and not for ever.
func TestAWordThatNeverComes(t *testing.T) {
	plugin := elastic.Plugin{Name: "remote", URL: "http://" + domain + ":80/words.dic", Analyzers: []string{"remote_smart"}}
	inWorld(t, elastic.Config{Plugins: []elastic.Plugin{plugin}}, func(t *testing.T, w *world) {
		v := good()
		v.endpoint.ID, v.connection.EndpointID = "ep-a1aaaaaa", "ep-a1aaaaaa"
		began := time.Now()
		reply := w.ask(w.service(v), `"useCase":"dictionary","port":80,"secrets":{"instance":"eslink/a"},"plugin":{"path":"/words.dic","analyzer":"remote_smart","word":"cloud-native"}`)
		require.False(t, reply.OK)
		require.InDelta(t, 60, time.Since(began).Seconds(), 30)
	})
}

// transport answers everything alike.
type transport string

func (a transport) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(a))),
		Header: http.Header{"X-Elastic-Product": {"Elasticsearch"}, "Content-Type": {"application/json"}}}, nil
}

// A shard of the source that could not be read is a failure without a document.
func TestAShardThatIsNotRead(t *testing.T) {
	t.Parallel()
	client, err := es.New(transport(`{"completed":true,"task":{"node":"n","id":1,"headers":{"X-Opaque-Id":"eslink/check/`+reindex.ID+`"}},
		"response":{"total":0,"failures":[{"index":"orders","shard":0,"status":500,"reason":{"type":"runtime_exception","reason":"a shard is away"}}]}}`), "http://dst:9200", "elastic", "secret-1")
	require.NoError(t, err)
	checks, count, ready, err := linkcheck.Prober{Client: client, Now: time.Now}.Read(t.Context(), reindex, facts.Probe{TaskID: "n:1"})
	require.NoError(t, err)
	require.True(t, ready)
	require.EqualValues(t, -1, count)
	require.False(t, checks[2].OK)
	require.Contains(t, checks[2].Detail, "a shard is away")
}

// A watch that did not come to its webhook proves nothing.
func TestAWatchThatSentNothing(t *testing.T) {
	t.Parallel()
	client, err := es.New(transport(`{"watch_record":{"state":"failed","messages":["out of threads"],"result":{"actions":[]}}}`), "http://dst:9200", "elastic", "secret-1")
	require.NoError(t, err)
	w := &world{t: t, op: linkcheck.Operator{Client: client, Now: time.Now}}
	w.sees(watcher, "operation", "out of threads", "")
}

// copies puts an instance that has an index of two documents at port 9200 of the
// endpoint.
func (w *world) copies() {
	source := elastic.New(elastic.Config{Version: "7.17.29", Name: "src", Users: map[string]elastic.User{"zhang": elastic.Superuser("canary-1")}})
	w.t.Cleanup(source.Stop)
	for _, id := range []string{"1", "2"} {
		r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPut, "http://src:9200/orders/_doc/"+id+"?refresh=true", strings.NewReader(`{"a":1}`))
		require.NoError(w.t, err)
		r.SetBasicAuth("zhang", "canary-1")
		r.Header.Set("Content-Type", "application/json")
		reply, err := source.RoundTrip(r)
		require.NoError(w.t, err)
		require.Equal(w.t, http.StatusCreated, reply.StatusCode)
		require.NoError(w.t, reply.Body.Close())
	}
	w.serve("9200", func(l net.Listener) error { return services.ServeHTTP(l, source) })
}

var zhang = kms.Login{Username: "zhang", Password: "canary-1"}

var whitelist = map[string]string{"reindex.remote.whitelist": domain + ":9200"}

var reindex = link(events.UseCase{Kind: events.ReindexUseCase, Port: 9200, Protocol: "http"})

// The check's index goes or is kept as asked, and counts that differ are told.
func TestACopysCheckIsReadAndCleanedUp(t *testing.T) {
	inWorld(t, elastic.Config{Settings: whitelist}, func(t *testing.T, w *world) {
		w.copies()
		v := good()
		v.endpoint.ID, v.connection.EndpointID, v.listener.Port = "ep-a1aaaaaa", "ep-a1aaaaaa", 9200
		require.NoError(t, w.client.Create(t.Context(), "local", es.Definition{Settings: json.RawMessage(`{"number_of_shards":1}`)}))
		const ask = `"secrets":{"instance":"eslink/a","target":"eslink/b"},"remoteIndex":"orders"`
		reply := w.ask(w.service(v), ask+`,"localIndex":"local","cleanup":true`)
		require.False(t, reply.OK)
		require.Contains(t, reply.Checks[3].Detail, "2 documents; local holds 0")
		bare, err := w.client.WithoutReplica(t.Context())
		require.NoError(t, err)
		require.Empty(t, bare)
		reply = w.ask(w.service(v), ask+`,"cleanup":false`)
		require.True(t, reply.OK, "%v", reply.Checks)
		bare, err = w.client.WithoutReplica(t.Context())
		require.NoError(t, err)
		require.Len(t, bare, 1)
		require.Contains(t, reply.Checks[3].Detail, bare[0]+" is kept")
		reply = w.ask(w.service(v), ask+`,"cleanup":true`) // again, into the index that was kept
		require.True(t, reply.OK, "%v", reply.Checks)
	})
}

// A task that has our number and not our name is another's; ours is stopped before
// its index is deleted.
func TestTasksOfOthersAreLeftAlone(t *testing.T) {
	inWorld(t, elastic.Config{Settings: whitelist}, func(t *testing.T, w *world) {
		w.copies()
		ctx, l := t.Context(), reindex
		l.RemoteIndex = "orders"
		p := linkcheck.Prober{Client: w.client, Remote: zhang, Now: time.Now}
		probe, err := p.Start(ctx, l)
		require.NoError(t, err)
		time.Sleep(time.Second)
		again, err := p.Start(ctx, l) // its record was not saved
		require.NoError(t, err)
		require.Equal(t, probe.TaskID, again.TaskID, "it is found and not started a second time")
		other := l
		other.ID = "another"
		require.NoError(t, p.Cancel(ctx, other, probe))
		checks, count, ready, err := p.Read(ctx, other, probe)
		require.NoError(t, err)
		require.True(t, ready)
		require.EqualValues(t, -1, count)
		require.False(t, linkcheck.OK(checks))
		task, err := w.client.Task(ctx, probe.TaskID)
		require.NoError(t, err)
		require.False(t, task.Completed, "it is not the other's to stop")
		_, count, ready, err = p.Read(ctx, l, probe)
		require.NoError(t, err)
		require.True(t, ready)
		require.EqualValues(t, 2, count)
		task, err = w.client.Task(ctx, probe.TaskID)
		require.True(t, err != nil || task.Completed, "ours is stopped")
	})
}
