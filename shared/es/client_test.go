package es_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/apierr"
	"eslink/shared/es"
)

// replies answers each request by its path.
type replies func(q *http.Request) (status int, body string, err error)

func (r replies) RoundTrip(q *http.Request) (*http.Response, error) {
	status, body, err := r(q)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{"Content-Type": {"application/json"}}}, nil
}

func client(t *testing.T, r replies) *es.Client {
	c, err := es.New(r, "http://es:9200", "user", "canary-1")
	require.NoError(t, err)
	return c
}

func always(status int, body string) replies {
	return func(*http.Request) (int, string, error) { return status, body, nil }
}

// What an error of the server is, by its type and status; of a reply that is not
// its own, by the status alone: a proxy's 404 says of no index that it is gone.
func TestErrorReplies(t *testing.T) {
	t.Parallel()
	const failed = `{"error":{"type":"search_phase_execution_exception","reason":"all shards failed","caused_by":{"type":"circuit_breaking_exception","reason":"[parent] Data too large"}},"status":429}`
	for name, c := range map[string]struct {
		status int
		body   string
		class  apierr.Class
		code   string
		is     func(error) bool
	}{
		"no index":          {404, `{"error":{"type":"index_not_found_exception","reason":"no such index [a]"}}`, apierr.NotFound, "index_not_found_exception", apierr.IsNotFound},
		"a proxy's":         {404, `<html>`, apierr.Fatal, "http_404", nil},
		"no type":           {404, `{"error":{}}`, apierr.Fatal, "http_404", nil},
		"a text":            {404, `{"error":"alias [a] missing"}`, apierr.Fatal, "http_404", nil},
		"a proxy is away":   {502, ``, apierr.Retry, "http_502", nil},
		"refused":           {400, `{"error":{"type":"parsing_exception","reason":"x"}}`, apierr.Fatal, "parsing_exception", es.IsBadRequest},
		"exists":            {400, `{"error":{"type":"resource_already_exists_exception","reason":"x"}}`, apierr.Fatal, "resource_already_exists_exception", es.Exists},
		"closed":            {400, `{"error":{"type":"index_closed_exception","reason":"x"}}`, apierr.Fatal, "index_closed_exception", es.IsClosed},
		"login":             {401, `{"error":{"type":"security_exception","reason":"x"}}`, apierr.Fatal, "security_exception", es.IsUnauthorized},
		"right":             {403, `{"error":{"type":"security_exception","reason":"x"}}`, apierr.Fatal, "security_exception", es.IsForbidden},
		"pushed back":       {429, `{"error":{"type":"es_rejected_execution_exception","reason":"x"}}`, apierr.Retry, "es_rejected_execution_exception", nil},
		"why shards failed": {429, failed, apierr.Retry, "circuit_breaking_exception", nil},
		"shards are away":   {503, `{"error":{"type":"search_phase_execution_exception","reason":"all shards failed"}}`, apierr.Retry, "search_phase_execution_exception", nil},
	} {
		err := client(t, always(c.status, c.body)).Refresh(t.Context(), "a")
		require.Equal(t, c.class, apierr.ClassOf(err), name)
		require.Equal(t, c.code, apierr.CodeOf(err), name)
		require.ErrorContains(t, err, "refresh index a on es:9200", name)
		kinds := map[string]func(error) bool{"no index": apierr.IsNotFound, "exists": es.Exists, "closed": es.IsClosed, "login": es.IsUnauthorized, "right": es.IsForbidden}
		for kind, is := range kinds {
			require.Equal(t, kind == name, is(err), "%s is %s", name, kind)
		}
		require.Equal(t, c.status == 400, es.IsBadRequest(err), name)
		require.NotContains(t, err.Error(), "canary")
	}
	err := client(t, always(429, failed)).Refresh(t.Context(), "a")
	require.Equal(t, "all shards failed; caused by circuit_breaking_exception: [parent] Data too large", es.Reason(err))
	require.Equal(t, "other", es.Reason(errors.New("other")))
	require.NoError(t, client(t, always(200, `{}`)).Refresh(t.Context(), "a"))
	for _, is := range []func(error) bool{es.IsBadRequest, es.Exists, es.IsClosed, es.IsAlias, es.IsUnauthorized, es.IsForbidden} {
		require.False(t, is(errors.New("other")))
		require.False(t, is(nil))
	}
	_, err = client(t, always(200, `{`)).Version(t.Context())
	require.ErrorContains(t, err, "decode reply")
}

// An exchange without a reply may be repeated, unless it is the invocation whose
// time is up.
func TestNoReply(t *testing.T) {
	t.Parallel()
	refused := &url.Error{Op: "Get", URL: "http://secret", Err: &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}}
	c := client(t, func(*http.Request) (int, string, error) { return 0, "", refused })
	_, err := c.Version(t.Context())
	require.Equal(t, apierr.Retry, apierr.ClassOf(err))
	require.Equal(t, es.Unreachable, apierr.CodeOf(err))
	require.ErrorContains(t, err, "dial tcp: connection refused")
	require.NotContains(t, err.Error(), "secret")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Version(ctx)
	require.Empty(t, apierr.CodeOf(err))
}

// A reply is read up to a bound, whether it says how long it is or not; that of
// one document may be longer.
func TestRepliesThatAreTooLarge(t *testing.T) {
	t.Parallel()
	const bound, document = 24 << 20, 112 << 20
	for _, c := range []struct {
		length int64 // told
		sent   int64
		one    bool
		large  bool
	}{
		{-1, bound, false, false}, {-1, bound + 1, false, true}, {bound, bound, false, false}, {bound + 1, 0, false, true},
		{bound + 1, bound + 1, true, false}, {document, 0, true, false}, {document + 1, 0, true, true},
	} {
		transport := roundTrip(func(*http.Request) (*http.Response, error) {
			const head = `{"_shards":{"total":1,"successful":1}`
			body := io.Reader(strings.NewReader(head + "}"))
			if c.sent > 0 {
				body = io.MultiReader(strings.NewReader(head), io.LimitReader(spaces{}, c.sent-int64(len(head))-1), strings.NewReader("}"))
			}
			h := http.Header{}
			if c.length >= 0 {
				h.Set("Content-Length", fmt.Sprint(c.length))
			}
			return &http.Response{StatusCode: 200, Body: io.NopCloser(body), Header: h}, nil
		})
		k, err := es.New(transport, "http://es:9200", "", "")
		require.NoError(t, err)
		ids := []string{"1"}
		if !c.one {
			ids = append(ids, "2")
		}
		_, err = k.Documents(t.Context(), "a", es.AllShards, ids, true)
		require.Equal(t, c.large, errors.Is(err, es.ErrTooLarge), "%+v: %v", c, err)
		if !c.large {
			require.NoError(t, err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(q *http.Request) (*http.Response, error) { return r(q) }

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// A reply that does not cover every shard, or that was cut off by time, is none.
func TestRepliesThatAreIncomplete(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body string
		ok   bool
	}{
		"all":              {`{"count":5,"_shards":{"total":3,"successful":3,"skipped":1,"failed":0},"hits":{"hits":[]}}`, true},
		"one is away":      {`{"count":5,"_shards":{"total":3,"successful":2,"failed":0},"hits":{"hits":[]}}`, false},
		"there is no such": {`{"count":5,"_shards":{"total":0,"successful":0,"failed":0},"hits":{"hits":[]}}`, false},
		"no time":          {`{"count":5,"timed_out":true,"_shards":{"total":3,"successful":3},"hits":{"hits":[]}}`, false},
	} {
		k := client(t, always(200, c.body))
		_, err := k.Page(t.Context(), "a", nil, es.Window{}, 10, true)
		_, err2 := k.Documents(t.Context(), "a", 0, []string{"1"}, true)
		n, err3 := k.Count(t.Context(), "a", nil)
		err4 := k.Flush(t.Context(), "a")
		if c.ok {
			require.NoError(t, errors.Join(err, err2, err3, err4), name)
			require.EqualValues(t, 5, n)
			continue
		}
		require.Equal(t, es.Incomplete, apierr.CodeOf(err), name)
		require.Equal(t, es.Incomplete, apierr.CodeOf(err2), name)
		require.Equal(t, apierr.Retry, apierr.ClassOf(err), name)
		if name != "no time" { // _count and _flush know none
			require.Equal(t, es.Incomplete, apierr.CodeOf(err3), name)
			require.Equal(t, es.Incomplete, apierr.CodeOf(err4), name)
		}
	}
}

// More documents of these IDs than one reply takes are asked for in parts.
func TestMoreDocumentsThanIDs(t *testing.T) {
	t.Parallel()
	hits := func(n int) replies {
		return func(q *http.Request) (int, string, error) {
			require.Equal(t, "false", q.URL.Query().Get("allow_partial_search_results"))
			require.Equal(t, "5001", q.URL.Query().Get("size"))
			require.Empty(t, q.URL.Query().Get("preference"))
			return 200, `{"_shards":{"total":9,"successful":9},"hits":{"hits":[` + strings.TrimSuffix(strings.Repeat(`{"_id":"1","_routing":"r","_source":{}},`, n), ",") + `]}}`, nil
		}
	}
	docs, err := client(t, hits(es.MaxPage)).Documents(t.Context(), "a", es.AllShards, []string{"1", "2"}, true)
	require.NoError(t, err)
	require.Len(t, docs, es.MaxPage)
	require.Equal(t, "r", docs[0].Routing)
	_, err = client(t, hits(es.MaxPage+1)).Documents(t.Context(), "a", es.AllShards, []string{"1", "2"}, true)
	require.ErrorIs(t, err, es.ErrTooLarge)
}

// Pages and documents are those of their shard alone, with what they say if that
// is asked for.
func TestSearchesOfAShard(t *testing.T) {
	t.Parallel()
	for _, source := range []bool{false, true} {
		var asked []url.Values
		k := client(t, func(q *http.Request) (int, string, error) {
			asked = append(asked, q.URL.Query())
			return 200, `{"_shards":{"total":1,"successful":1},"hits":{"hits":[{"_id":"1","sort":[7]},{"_id":"2","sort":[9]}]}}`, nil
		})
		docs, err := k.Page(t.Context(), "a", nil, es.Window{Shard: 3}, 10, source)
		require.NoError(t, err)
		require.Equal(t, []int64{7, 9}, []int64{docs[0].SeqNo, docs[1].SeqNo})
		_, err = k.Documents(t.Context(), "a", 3, []string{"1"}, source)
		require.NoError(t, err)
		for _, q := range asked {
			require.Equal(t, "_shards:3", q.Get("preference"))
			require.Equal(t, !source, q.Get("_source") == "false")
		}
	}
}

// Of each shard the primary counts; none may be left out, and none be hidden
// behind an alias.
func TestStatisticsOfEveryShard(t *testing.T) {
	t.Parallel()
	const shard = `[{"routing":{"primary":false},"seq_no":{"max_seq_no":90}},{"routing":{"primary":true},"seq_no":{"max_seq_no":%d}}]`
	with := func(settings string, shards ...string) replies {
		return func(q *http.Request) (int, string, error) {
			if strings.Contains(q.URL.Path, "_settings") {
				return 200, settings, nil
			}
			return 200, `{"indices":{"a":{"uuid":"u","primaries":{"store":{"size_in_bytes":77}},"shards":{` + strings.Join(shards, ",") + `}}}}`, nil
		}
	}
	const two = `{"a":{"settings":{"index":{"number_of_shards":"2"}}}}`
	first, second := `"0":`+fmt.Sprintf(shard, 4), `"1":`+fmt.Sprintf(shard, -1)
	s, err := client(t, with(two, first, second)).Stats(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, es.Stats{UUID: "u", Bytes: 77, Shards: 2, MaxSeqNo: 4, Operations: 5, ShardSeqNos: []int64{4, -1}}, s)
	require.Equal(t, "u/5", s.State())
	for _, left := range [][]string{{first}, {second}, {}, {first, `"1":[{"routing":{"primary":false},"seq_no":{"max_seq_no":9}}]`}} {
		_, err = client(t, with(two, left...)).Stats(t.Context(), "a")
		require.Equal(t, es.Incomplete, apierr.CodeOf(err))
	}
	_, err = client(t, with(`{"b":{"settings":{"index":{"number_of_shards":"2"}}}}`, first, second)).Stats(t.Context(), "a")
	require.True(t, es.IsAlias(err))
	_, err = client(t, func(q *http.Request) (int, string, error) {
		if strings.Contains(q.URL.Path, "_settings") {
			return 403, `{"error":{"type":"security_exception","reason":"x"}}`, nil
		}
		return 200, `{}`, nil
	}).Stats(t.Context(), "a")
	require.True(t, es.IsForbidden(err))
}

// What is missing is named, of the cluster and of each index.
func TestMissingPrivileges(t *testing.T) {
	t.Parallel()
	k := client(t, always(200, `{"has_all_requested":false,"cluster":{"monitor":false,"manage":true},"index":{"a":{"read":false,"write":true},"b":{"read":false}}}`))
	missing, err := k.Missing(t.Context(), es.Needs{Cluster: []string{"monitor", "manage"}, Index: map[string][]string{"a": {"read", "write"}, "b": {"read"}}})
	require.NoError(t, err)
	require.Equal(t, []string{"monitor", "read on a", "read on b"}, missing)
	_, err = client(t, always(401, `{"error":{"type":"security_exception","reason":"x"}}`)).Missing(t.Context(), es.Needs{})
	require.True(t, es.IsUnauthorized(err))
}

// A definition is that of an index by the very name.
func TestDefinitions(t *testing.T) {
	t.Parallel()
	const reply = `{"%s":{"aliases":{"x":{}},"mappings":{"properties":{}},"settings":{"index":{"uuid":"u","number_of_shards":"1"}}}}`
	def, err := client(t, always(200, fmt.Sprintf(reply, "a"))).Definition(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "u", def.UUID)
	require.Contains(t, def.Aliases, "x")
	_, err = client(t, always(200, fmt.Sprintf(reply, "b"))).Definition(t.Context(), "a")
	require.True(t, es.IsAlias(err))
	_, err = client(t, always(200, `{"a":{"settings":{}}}`)).Definition(t.Context(), "a")
	require.ErrorContains(t, err, "decode settings of index a")

	uuids, err := client(t, always(200, fmt.Sprintf(reply, "b"))).Behind(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"b": "u"}, uuids)
	const gone = `{"error":{"type":"index_not_found_exception","reason":"x"}}`
	uuids, err = client(t, always(404, gone)).Behind(t.Context(), "a")
	require.NoError(t, err)
	require.Empty(t, uuids)
	_, err = client(t, always(500, gone)).Behind(t.Context(), "a")
	require.Error(t, err)
	require.NoError(t, client(t, always(404, gone)).Delete(t.Context(), "a"))
	require.Error(t, client(t, always(500, gone)).Delete(t.Context(), "a"))
}
