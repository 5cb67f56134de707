package functions

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
)

// platform answers every invocation with a body and headers.
func platform(t *testing.T, status int, body string, header ...string) (*Client, *[]*http.Request) {
	t.Helper()
	var seen []*http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		r.Header.Set("Sent", string(sent))
		seen = append(seen, r)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	c, err := Local(Address{Endpoint: srv.URL, Region: "cn-hangzhou", AccessKeyID: "id", AccessKeySecret: "secret", SecurityToken: "token"})
	require.NoError(t, err)
	return c, &seen
}

func TestInvokeSendsTheBodyAsItIsAndSigned(t *testing.T) {
	t.Parallel()
	c, seen := platform(t, 200, `{"runId": "0b"}`)
	var reply struct{ RunID string }
	require.NoError(t, c.Invoke(t.Context(), "status", map[string]string{"runId": "0b"}, &reply))
	require.Equal(t, "0b", reply.RunID)
	r := (*seen)[0]
	require.Equal(t, "/2023-03-30/functions/eslink-status/invocations", r.URL.Path)
	require.JSONEq(t, `{"runId": "0b"}`, r.Header.Get("Sent"))
	require.Contains(t, r.Header.Get("Authorization"), "Credential=id")
	require.NotContains(t, r.Header.Get("Authorization"), "secret")
}

func TestWhatComesBackIsToldApart(t *testing.T) {
	t.Parallel()
	var into map[string]any

	c, _ := platform(t, 200, `{"type": "urn:eslink:problem:no-such-run", "title": "there is no such run", "status": 404}`)
	var p *events.Problem
	require.ErrorAs(t, c.Invoke(t.Context(), "status", nil, &into), &p)
	require.Equal(t, 404, p.Status)

	c, _ = platform(t, 200, `{"errorMessage": "boom"}`, "X-Fc-Error-Type", "UnhandledInvocationError")
	require.ErrorContains(t, c.Invoke(t.Context(), "status", nil, &into), "UnhandledInvocationError")

	c, seen := platform(t, 403, `{"RequestId": "1", "Code": "AccessDenied", "Message": "no right"}`)
	err := c.Invoke(t.Context(), "runs", nil, &into)
	require.ErrorContains(t, err, "AccessDenied")
	require.NotErrorIs(t, err, ErrNotReached)
	require.Len(t, *seen, 1, "an action is never sent twice")

	c, _ = platform(t, 200, `no JSON`)
	require.ErrorContains(t, c.Invoke(t.Context(), "runs", nil, &into), "decode reply of runs")

	c, err = Local(Address{Endpoint: "http://127.0.0.1:1", Region: "cn-hangzhou", AccessKeyID: "id", AccessKeySecret: "secret"})
	require.NoError(t, err)
	require.ErrorIs(t, c.Invoke(t.Context(), "runs", nil, &into), ErrNotReached)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.Invoke(ctx, "runs", nil, &into), context.Canceled)
}

func TestTheAddressIsItsUsersAlone(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	_, err := ReadAddress(cache)
	require.ErrorIs(t, err, ErrNoLocal)
	first, second := Address{Endpoint: "http://127.0.0.1:1"}, Address{Endpoint: "http://127.0.0.1:2"}
	forgetFirst, err := WriteAddress(cache, first)
	require.NoError(t, err)
	info, err := os.Stat(AddressFile(cache))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	forgetSecond, err := WriteAddress(cache, second)
	require.NoError(t, err)
	forgetFirst()
	got, err := ReadAddress(cache)
	require.NoError(t, err)
	require.Equal(t, second, got, "the later one's stays")
	forgetSecond()
	_, err = ReadAddress(cache)
	require.True(t, errors.Is(err, ErrNoLocal))
}
