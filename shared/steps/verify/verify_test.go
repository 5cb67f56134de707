package verify_test

import (
	"context"
	"eslink/shared/flow"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/localtest/services"
	"eslink/shared/aliyun/escluster"
	"eslink/shared/aliyun/kms"
	"eslink/shared/aliyun/privatelink"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/linkcheck"
	"eslink/shared/run"
	"eslink/shared/steps/verify"
)

const (
	domain     = "ep-a1.epsrv-b2.cn-hangzhou.privatelink.aliyuncs.com"
	checkIndex = "/eslink-check-0123456789abcdef"
)

// linked is an instance that reads a source through a link, and a run that has
// copied its three documents.
type linked struct {
	t          *testing.T
	instance   *elastic.Server
	source     *elastic.Server
	step       *verify.Step
	run        *run.Run
	connection string        // the endpoint's state
	slow       time.Duration // the link
	words      *services.Dictionary
	asked      int // requests to the instance
	away       int // of these to come, how many kick-offs of a task are not answered
}

// RoundTrip is the link, or the way to the instance.
func (l *linked) RoundTrip(q *http.Request) (*http.Response, error) {
	switch {
	case q.URL.Host == domain+":8080":
		reply := httptest.NewRecorder()
		l.words.ServeHTTP(reply, q)
		return reply.Result(), nil
	case q.URL.Hostname() == domain:
		time.Sleep(l.slow)
		return l.source.RoundTrip(q)
	}
	l.asked++
	if q.URL.Path == "/_reindex" && l.away > 0 {
		l.away--
		return nil, io.ErrUnexpectedEOF
	}
	return l.instance.RoundTrip(q)
}

func (l *linked) Open(context.Context, clusters.Side) (*es.Client, error) {
	return es.New(l, "http://dst:9200", "", "")
}

func (l *linked) Login(context.Context, clusters.Side) (kms.Login, error) { return kms.Login{}, nil }

func (l *linked) ListEndpoints(context.Context, string) ([]escluster.Endpoint, error) {
	time.Sleep(2 * time.Second)
	return []escluster.Endpoint{{ID: "ep-1", Domain: domain, Status: "Active", Connection: l.connection}}, nil
}

func (l *linked) Connections(context.Context, string) ([]privatelink.Connection, error) {
	return []privatelink.Connection{{EndpointID: "ep-1", Status: privatelink.ConnectionConnected}}, nil
}

func (l *linked) ask(s *elastic.Server, method, path, body string) (int, string) {
	q := httptest.NewRequest(method, path, strings.NewReader(body))
	q.Header.Set("Content-Type", "application/json")
	reply := httptest.NewRecorder()
	s.ServeHTTP(reply, q)
	return reply.Code, reply.Body.String()
}

func inLinked(t *testing.T, do func(t *testing.T, l *linked)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &linked{t: t, connection: "Connected", words: services.NewDictionary("/words.dic", "other")}
		l.source = elastic.New(elastic.Config{Version: "7.10.2", Name: "src"})
		l.instance = elastic.New(elastic.Config{Version: "7.10.2", Name: "dst", Remote: l, Plugins: []elastic.Plugin{{Name: "remote", Setting: "remote.dictionary", Analyzers: []string{"remote_smart"}}},
			Settings: map[string]string{"reindex.remote.whitelist": domain + ":9200", "remote.dictionary": "http://" + domain + ":8080/words.dic"}})
		for _, s := range []*elastic.Server{l.source, l.instance} {
			t.Cleanup(s.Stop)
			require.True(t, s.Up())
			code, _ := l.ask(s, "POST", "/orders/_bulk?refresh=true", numbered(3))
			require.Equal(t, 200, code)
		}
		c, err := l.Open(t.Context(), clusters.Side{})
		require.NoError(t, err)
		def, err := c.Definition(t.Context(), "orders")
		require.NoError(t, err)
		store := &run.Store{Driver: &run.Mem{}, Now: time.Now}
		l.step = &verify.Step{Clusters: l, Cloud: linkcheck.Cloud{Endpoints: l, Connections: l}, Rows: store, Now: time.Now}
		l.run = &run.Run{ID: "0123456789abcdef", Generation: 1, Spec: events.Spec{Scenario: flow.ESToES, InstanceID: "es-cn-dst", Target: events.Target{Protocol: "http", Port: 9200}, Indices: []events.Index{{Source: "orders", Dest: "orders"}}}}
		l.run.Facts = facts.Facts{Preflight: &facts.Preflight{}, PrivateConnection: &facts.PrivateConnection{EndpointID: "ep-1"}, EndpointService: &facts.EndpointService{ID: "epsrv-1"}, Accept: &facts.Accept{Domain: domain},
			Survey:      &facts.Survey{Indices: []facts.SurveyedIndex{{Source: "orders", Dest: "orders", Documents: 3, Total: 3}}},
			Destination: &facts.DestinationFacts{Indices: []facts.DestinationIndex{{Name: "orders", Created: true, UUID: def.UUID}}},
			Reindex:     &facts.Reindex{Tasks: []facts.Task{{Source: "orders", Dest: "orders", Result: &facts.TaskResult{Total: 3, Created: 3}}}},
			Digest:      &facts.Digest{Level: "counts", Walk: "1", Indices: []facts.IndexDigest{{Documents: 3, Level: "counts", IDsDone: true}}}}
		do(t, l)
	})
}

// up walks until the step is done, or stops.
func (l *linked) up() (out engine.Outcome, looks int, err error) {
	for looks = 1; ; looks++ {
		require.Less(l.t, looks, 100)
		if out, err = l.step.Up(l.t.Context(), l.run); err != nil || out.IsDone() {
			return out, looks, err
		}
		require.Positive(l.t, out.Delay())
		time.Sleep(out.Delay())
	}
}

// leavesNothing says that neither the check's index nor its task is there.
func (l *linked) leavesNothing() {
	l.t.Helper()
	code, _ := l.ask(l.instance, "GET", checkIndex, "")
	require.Equal(l.t, 404, code)
	synctest.Wait()
	_, tasks := l.ask(l.instance, "GET", "/_tasks?actions=*reindex&detailed&group_by=none", "")
	require.JSONEq(l.t, `{"tasks":[]}`, tasks)
}

func TestChecksThatPass(t *testing.T) {
	inLinked(t, func(t *testing.T, l *linked) {
		l.slow = 3 * time.Second // so that the operation has nothing to say at first
		_, looks, err := l.up()
		require.NoError(t, err)
		require.Greater(t, looks, 2)
		v := l.run.Facts.Verify
		var names []string
		for _, k := range v.Checks {
			require.True(t, k.OK, k)
			names = append(names, k.Name)
		}
		require.Equal(t, []string{"link", "network", "login", "operation"}, names)
		require.Contains(t, v.Checks[3].Detail, "3 documents")
		require.InDelta(t, 2, v.Checks[0].Seconds, 0.1)
		require.Nil(t, v.Probe)
		require.Empty(t, v.Operated)
		require.Equal(t, "counts", v.Level)
		require.Empty(t, v.Differences)
		l.leavesNothing()

		// Once the checks are judged there is nothing to take back.
		asked := l.asked
		out, err := l.step.Down(t.Context(), l.run)
		require.NoError(t, err)
		require.True(t, out.IsDone())
		require.Nil(t, l.run.Facts.Verify)
		require.Equal(t, asked, l.asked)
	})
}

// A check that fails stops the run and is told, it alone; once it is fixed, retry
// does all of them again.
func TestChecksThatFail(t *testing.T) {
	inLinked(t, func(t *testing.T, l *linked) {
		l.connection = "Disconnected"
		_, _, err := l.up()
		var p *events.Problem
		require.ErrorAs(t, err, &p)
		require.Len(t, p.Errors, 1)
		require.Equal(t, "link", p.Errors[0].Field)
		require.NotEmpty(t, p.Errors[0].Remedy)
		require.Equal(t, apierr.Fatal, apierr.ClassOf(err))
		require.Empty(t, l.run.Facts.Verify.Checks)
		require.Nil(t, l.run.Facts.Verify.Probe)
		l.leavesNothing()
		l.connection = "Connected"
		_, _, err = l.up()
		require.NoError(t, err)
		require.Len(t, l.run.Facts.Verify.Checks, 4)
	})
}

// Teardown stops a check that is under way, and takes its index with it.
func TestTeardownDuringAChecks(t *testing.T) {
	down := func(t *testing.T, l *linked) {
		out, err := l.step.Down(t.Context(), l.run)
		require.NoError(t, err)
		require.True(t, out.IsDone())
		require.Nil(t, l.run.Facts.Verify)
		time.Sleep(time.Minute)
		l.leavesNothing()
	}
	t.Run("under way", func(t *testing.T) {
		inLinked(t, func(t *testing.T, l *linked) {
			_, err := l.step.Up(t.Context(), l.run)
			require.NoError(t, err)
			require.NotNil(t, l.run.Facts.Verify.Probe)
			time.Sleep(time.Second)
			_, tasks := l.ask(l.instance, "GET", "/_tasks?actions=*reindex&detailed&group_by=none", "")
			require.Contains(t, tasks, "eslink/check/0123456789abcdef")
			l.run.Facts.Preflight = nil // nobody knows where
			_, err = l.step.Down(t.Context(), l.run)
			require.NoError(t, err)
			require.NotNil(t, l.run.Facts.Verify)
			l.run.Facts.Preflight = &facts.Preflight{}
			down(t, l)
		})
	})
	t.Run("its kick-off was not saved", func(t *testing.T) {
		inLinked(t, func(t *testing.T, l *linked) {
			code, _ := l.ask(l.instance, "PUT", checkIndex, `{"mappings":{"_meta":{"eslink_check":"0123456789abcdef"}}}`)
			require.Equal(t, 200, code)
			l.run.Facts.Verify = &facts.Verify{}
			down(t, l)
		})
	})
}

// A plugin looks for new words now and then: a check that may yet pass is waited
// for, but not for ever. What is repeated is told once.
func TestChecksThatMayYetPass(t *testing.T) {
	begin := func(l *linked) {
		l.run.Spec.Scenario, l.run.Cursor.Since = flow.ESToECS, time.Now()
		l.run.Spec.UseCases = []events.UseCase{{Kind: events.Dictionary, Port: 8080, Protocol: "http", Plugin: &events.Plugin{Path: "/words.dic", Analyzer: "remote_smart", Word: "cloud-native"}},
			{Kind: events.ReindexUseCase, Port: 9200, Protocol: "http"}}
	}
	t.Run("it does", func(t *testing.T) {
		inLinked(t, func(t *testing.T, l *linked) {
			begin(l)
			out, err := l.step.Up(t.Context(), l.run)
			require.NoError(t, err)
			require.Equal(t, 20*time.Second, out.Delay())
			require.Contains(t, out.Reason(), "the check is repeated")
			l.words.Set("cloud-native")
			l.away = 1
			_, _, err = l.up()
			require.ErrorContains(t, err, "EOF")
			_, _, err = l.up()
			require.NoError(t, err)
			v := l.run.Facts.Verify
			require.Len(t, v.Checks, 8)
			seen := map[string]bool{}
			for _, k := range v.Checks {
				require.True(t, k.OK, k)
				require.False(t, seen[k.Name], k.Name)
				seen[k.Name] = true
			}
			require.True(t, seen["operation (dictionary)"] && seen["operation (reindex)"], seen)
			require.Empty(t, v.Operated)
			l.leavesNothing()
		})
	})
	t.Run("it does not", func(t *testing.T) {
		inLinked(t, func(t *testing.T, l *linked) {
			begin(l)
			began := time.Now()
			_, _, err := l.up()
			var p *events.Problem
			require.ErrorAs(t, err, &p)
			require.Equal(t, "operation (dictionary)", p.Errors[0].Field)
			require.InDelta(t, 5, time.Since(began).Minutes(), 1)
			l.leavesNothing()
		})
	})
}
