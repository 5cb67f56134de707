package linkcheck_test

import (
	"context"
	"eslink/shared/flow"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/fakes/elastic"
	"eslink/shared/aliyun/kms"
	"eslink/shared/aliyun/nlb"
	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/linkcheck"
	"eslink/shared/run"
)

// balancer is what an NLB says of its listener.
type balancer struct {
	cloudView
	listener     nlb.Listener
	abnormal     []nlb.Abnormal
	err, backend error
}

func (b *balancer) Listener(context.Context, string) (nlb.Listener, error) { return b.listener, b.err }
func (b *balancer) Abnormal(context.Context, string) ([]nlb.Abnormal, error) {
	return b.abnormal, b.backend
}

// What the balancer of another cluster says is told, with a remedy each; what could
// not be asked is an error, and no verdict.
func TestLinkOfAnNLB(t *testing.T) {
	t.Parallel()
	gone, away := &apierr.Error{Class: apierr.NotFound, Code: "ResourceNotFound"}, &apierr.Error{Class: apierr.Retry, Code: "Throttling"}
	for name, c := range map[string]struct {
		spoil  func(b *balancer)
		detail string
		err    error
	}{
		"it stands":       {func(*balancer) {}, "", nil},
		"no listener":     {func(b *balancer) { b.err = gone }, "listener lsn-1 does not exist", nil},
		"no answer":       {func(b *balancer) { b.err = away }, "", away},
		"it is stopped":   {func(b *balancer) { b.listener.Status = "Stopped" }, "listener lsn-1 is Stopped", nil},
		"no group":        {func(b *balancer) { b.backend = gone }, "the server group of listener lsn-1 does not exist", nil},
		"no answer of it": {func(b *balancer) { b.backend = away }, "", away},
		"a sick backend":  {func(b *balancer) { b.abnormal = []nlb.Abnormal{{IP: "10.0.0.7", Port: 9200, Status: "Unhealthy"}} }, "1 backends of listener lsn-1 are not healthy; 10.0.0.7:9200 is Unhealthy", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &balancer{cloudView: good(), listener: nlb.Listener{ID: "lsn-1", Status: "Running"}}
			c.spoil(b)
			l := watcher
			l.CLB, l.ListenerIDs = "", []string{"lsn-1"}
			l.EndpointID, l.ServiceID = b.connection.EndpointID, "epsrv-b2"
			k, err := linkcheck.Cloud{Endpoints: b.cloudView, Connections: b.cloudView, Listeners: b}.Link(t.Context(), l)
			if c.err != nil {
				require.Equal(t, c.err, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.detail == "", k.OK)
			if !k.OK {
				require.Contains(t, k.Detail, c.detail)
				require.NotEmpty(t, k.Remedy)
			}
		})
	}
}

// What _reindex says of the target decides which check failed, and what to do.
func TestWhatTheTargetAnswers(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]struct{ check, remedy string }{
		401: {"login", "right password"}, 403: {"operation", "privilege monitor"}, 404: {"operation", "spelling"}, 502: {"operation", "target's health"},
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				target := remote(func(*http.Request) int { return status })
				server := elastic.New(elastic.Config{Version: "7.17.29", Name: "dst", Remote: target, Settings: map[string]string{"reindex.remote.whitelist": domain + ":9200"}})
				defer server.Stop()
				require.True(t, server.Up())
				client, err := es.New(server, "http://dst:9200", "", "")
				require.NoError(t, err)
				p := linkcheck.Prober{Client: client, Remote: kms.Login{Username: "u", Password: "p"}, Now: time.Now}
				l := link(events.UseCase{Kind: events.ReindexUseCase, Port: 9200, Protocol: "http"})
				l.RemoteIndex = "orders"
				require.NoError(t, p.Finish(t.Context(), l), "there is nothing yet")
				probe, err := p.Start(t.Context(), l)
				require.NoError(t, err)
				for ready := false; !ready; time.Sleep(time.Second) {
					var checks []facts.Check
					checks, _, ready, err = p.Read(t.Context(), l, probe)
					require.NoError(t, err)
					if !ready {
						continue
					}
					at := slices.IndexFunc(checks, func(k facts.Check) bool { return !k.OK })
					require.Equal(t, want.check, checks[at].Name, "the first that failed")
					require.Contains(t, checks[at].Remedy, want.remedy)
				}
				require.NoError(t, p.Cancel(t.Context(), l, probe), "it is over")
				require.NoError(t, p.Finish(t.Context(), l))
			})
		})
	}
}

// remote is a target that answers so.
type remote func(*http.Request) int

func (r remote) RoundTrip(q *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: r(q), Status: http.StatusText(r(q)), Header: http.Header{"Content-Type": {"application/json"}}, Body: http.NoBody, Request: q}, nil
}

// The links of a run are those of its use cases; one without any has the link of
// its copy.
func TestLinksOfARun(t *testing.T) {
	t.Parallel()
	r := &run.Run{ID: "0123456789abcdef", Spec: events.Spec{Scenario: flow.ESToES, InstanceID: "es-cn-dst", Target: events.Target{Protocol: "https", Port: 9243},
		Indices: []events.Index{{Source: "orders", Dest: "copy"}, {Source: "more", Dest: "more"}}}}
	r.Facts = facts.Facts{PrivateConnection: &facts.PrivateConnection{EndpointID: "ep-1"}, EndpointService: &facts.EndpointService{ID: "epsrv-1"}, Accept: &facts.Accept{Domain: domain}, NLBBackend: &facts.NLBBackend{ListenerID: "lsn-1"}}
	links := linkcheck.OfRun(r)
	require.Len(t, links, 1)
	require.Equal(t, []string{"lsn-1"}, links[0].ListenerIDs)
	require.Equal(t, "orders", links[0].RemoteIndex)
	require.Equal(t, "https", links[0].Protocol)
	require.Equal(t, 9243, links[0].Port)

	word := func(w string) events.UseCase {
		return events.UseCase{Kind: events.Dictionary, Port: 8080, Plugin: &events.Plugin{Analyzer: "smart", Word: w}}
	}
	r.Facts.NLBBackend, r.Facts.CLB = nil, &facts.CLB{ID: "lb-1"}
	r.Facts.Dictionary = &facts.Dictionary{Analyzer: "smart", Word: "cloud-native", Before: []string{"cloud", "native"}}
	other := word("cloud-native")
	other.Plugin.Analyzer = "other"
	r.Spec.UseCases = []events.UseCase{word("cloud-native"), word("another"), other}
	links = linkcheck.OfRun(r)
	require.Len(t, links, 3)
	require.Equal(t, "lb-1", links[0].CLB)
	require.Empty(t, links[0].ListenerIDs)
	require.Equal(t, []string{"cloud", "native"}, links[0].Before)
	require.Nil(t, links[1].Before, "of another word")
	require.Nil(t, links[2].Before, "by another analyzer")
}
