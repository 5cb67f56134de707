package zilliz_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/apierr"
	"eslink/shared/zilliz"
)

type answer func(*http.Request) (*http.Response, error)

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func says(status int, body string) answer {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Requestid": {"r-1"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

func client(t *testing.T, a answer) *zilliz.Client {
	key, err := zilliz.ParseKey(`{"apiKey":"canary"}`)
	require.NoError(t, err)
	host, ok := zilliz.Host("global")
	require.True(t, ok)
	return zilliz.New(zilliz.Config{Transport: a}, host, key)
}

// A failure comes with HTTP 200, and the reference's own codes decide.
func TestTheCodeDecides(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		class  apierr.Class
		code   string
	}{
		"unauthenticated":   {200, `{"code":1800,"message":"User hasn't authenticated"}`, apierr.Fatal, zilliz.Unauthenticated},
		"illegal key":       {200, `{"code":21119,"message":"The apikey is illegal."}`, apierr.Fatal, zilliz.IllegalKey},
		"unknown code":      {200, `{"code":77777,"message":"?"}`, apierr.Fatal, "77777"},
		"throttled":         {429, `{"code":429,"message":"slow"}`, apierr.Retry, "429"},
		"server":            {502, `<html>`, apierr.Retry, "UnknownReply"},
		"a page with 200":   {200, `<html>`, apierr.Retry, "UnknownReply"},
		"forbidden":         {403, `{"message":"no"}`, apierr.Fatal, "UnknownReply"},
		"not found by HTTP": {404, `{"code":80001,"message":"no"}`, apierr.NotFound, "80001"},
		"error with code 0": {500, `{"code":0}`, apierr.Retry, "500"},
		"code 200 is good":  {200, `{"code":200,"data":{"clusterId":"c"}}`, 0, ""},
	} {
		_, err := client(t, says(c.status, c.body)).Cluster(t.Context(), "c")
		if c.code == "" {
			require.NoError(t, err, name)
			continue
		}
		require.Equal(t, c.class, apierr.ClassOf(err), name)
		require.Equal(t, c.code, apierr.CodeOf(err), name)
		require.NotContains(t, err.Error(), "canary", name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := client(t, func(r *http.Request) (*http.Response, error) { return nil, r.Context().Err() }).Cluster(ctx, "c")
	require.ErrorIs(t, err, context.Canceled)
}

func TestListsAreReadToTheirEnd(t *testing.T) {
	t.Parallel()
	const total = 230
	asked := 0
	all, err := client(t, func(r *http.Request) (*http.Response, error) {
		asked++
		require.Equal(t, "Bearer canary", r.Header.Get("Authorization"))
		require.Equal(t, "/v2/projects/proj-1/privateEndpoints", r.URL.Path)
		var page int
		fmt.Sscan(r.URL.Query().Get("currentPage"), &page)
		var items []string
		for i := (page - 1) * 100; i < min(page*100, total); i++ {
			items = append(items, fmt.Sprintf(`{"endpointId":"vpce-%d","endpointStatus":"Available"}`, i))
		}
		return says(200, fmt.Sprintf(`{"code":0,"data":{"endpoints":[%s],"count":%d}}`, strings.Join(items, ","), total))(r)
	}).Endpoints(t.Context(), "proj-1")
	require.NoError(t, err)
	require.Len(t, all, total)
	require.Equal(t, 3, asked)
	require.True(t, all[229].Accepted())
	_, err = client(t, says(200, `{"code":0,"data":{"endpoints":[{"endpointId":"x"}],"count":100000}}`)).Endpoints(t.Context(), "p")
	require.ErrorContains(t, err, "50 pages")
}

func TestStatusesAreWordsWithoutAList(t *testing.T) {
	t.Parallel()
	for word, want := range map[string][2]bool{"AVAILABLE": {true, false}, "Available": {true, false}, "accepted": {true, false}, "REJECTED": {false, true},
		"Pending": {false, false}, "": {false, false}, "something new": {false, false}} {
		e := zilliz.Endpoint{Status: word}
		require.Equal(t, want, [2]bool{e.Accepted(), e.Refused()}, word)
	}
}

func TestTheAddressHasThePort(t *testing.T) {
	t.Parallel()
	host, port, ok, err := zilliz.Cluster{Private: "https://In01-1.aws-us-west-2.vectordb-private.zillizcloud.com:19530"}.Address()
	require.NoError(t, err)
	require.Equal(t, []any{"in01-1.aws-us-west-2.vectordb-private.zillizcloud.com", 19530, true}, []any{host, port, ok})
	_, _, ok, err = zilliz.Cluster{}.Address()
	require.NoError(t, err)
	require.False(t, ok)
	for _, bad := range []string{"http://a.b:1", "https://a.b", "https://a.b:0", "https://a.b:70000", "::"} {
		_, _, _, err := zilliz.Cluster{Private: bad}.Address()
		require.Error(t, err, bad)
	}
}

func TestKeysDoNotShow(t *testing.T) {
	t.Parallel()
	k, err := zilliz.ParseKey(`{"apiKey":"canary"}`)
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", k, k, k, k), "canary")
	for _, bad := range []string{"canary", `{"apiKey":""}`, `{"apiKey":"can ary"}`, `["canary"]`} {
		_, err := zilliz.ParseKey(bad)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "canary")
	}
}
