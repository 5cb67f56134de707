package page

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
)

// calls notes what was sent, and answers all with an object.
type calls struct{ sent []string }

func (c *calls) Invoke(_ context.Context, function string, payload, into any) error {
	raw, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	c.sent = append(c.sent, function+" "+string(raw))
	return json.Unmarshal([]byte(`{"runs": []}`), into)
}

const host = "127.0.0.1:4711"

// do sends a request as the page does; alter makes it another one.
func do(t *testing.T, p *Page, method, path, body string, alter func(*http.Request)) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://"+host+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+p.Token)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", "http://"+host)
	}
	if alter != nil {
		alter(r)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result()
}

func world() (*Page, *calls) {
	c := &calls{}
	return &Page{Functions: c, Host: host, Token: NewToken(), Where: "local cloud"}, c
}

func TestOnlyThePageItselfMayAsk(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method string
		status int
		alter  func(*http.Request)
	}{
		"as it should be":         {"GET", 200, nil},
		"a name that leads here":  {"GET", 421, func(r *http.Request) { r.Host = "rebound.example.org:4711" }},
		"localhost by name":       {"GET", 421, func(r *http.Request) { r.Host = "localhost:4711" }},
		"another port":            {"GET", 421, func(r *http.Request) { r.Host = "127.0.0.1:4712" }},
		"no token":                {"GET", 401, func(r *http.Request) { r.Header.Del("Authorization") }},
		"a wrong token":           {"GET", 401, func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }},
		"an empty token":          {"GET", 401, func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }},
		"a token in the address":  {"GET", 401, func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery = "token=x" }},
		"change":                  {"POST", 200, nil},
		"change without a token":  {"POST", 401, func(r *http.Request) { r.Header.Del("Authorization") }},
		"change from elsewhere":   {"POST", 403, func(r *http.Request) { r.Header.Set("Origin", "http://evil.example.org") }},
		"change from a null page": {"POST", 403, func(r *http.Request) { r.Header.Set("Origin", "null") }},
		"change without origin":   {"POST", 403, func(r *http.Request) { r.Header.Del("Origin") }},
		"change as a form":        {"POST", 415, func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }},
		"change as text":          {"POST", 415, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, sent := world()
			path := "/api/runs"
			if c.method == "POST" {
				path = "/api/runs/0b/cancel"
			}
			resp := do(t, p, c.method, path, "{}", c.alter)
			require.Equal(t, c.status, resp.StatusCode)
			if c.status != 200 {
				require.Empty(t, sent.sent, "nothing was called")
				var problem events.Problem
				require.NoError(t, json.NewDecoder(resp.Body).Decode(&problem))
				require.NotEmpty(t, problem.Errors[0].Remedy)
			}
			for header, value := range map[string]string{"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
				require.Equal(t, value, resp.Header.Get(header))
			}
			policy := resp.Header.Get("Content-Security-Policy")
			for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
				require.Contains(t, policy, part)
			}
			require.NotContains(t, policy, "unsafe")
			require.Empty(t, resp.Cookies())
			for name := range resp.Header {
				require.False(t, strings.HasPrefix(name, "Access-Control-"), name)
			}
		})
	}
}

func TestApproveSendsThePlanThatWasShown(t *testing.T) {
	t.Parallel()
	p, c := world()
	resp := do(t, p, "POST", "/api/runs/0b/approve", `{"planId": "p1"}`, nil)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, []string{`approve {"planId":"p1","runId":"0b"}`}, c.sent)
}

func TestABodyCannotNameAnotherRunOrAction(t *testing.T) {
	t.Parallel()
	p, c := world()
	require.Equal(t, 200, do(t, p, "POST", "/api/runs/0b/cancel", `{"runId": "ff", "action": "teardown"}`, nil).StatusCode)
	require.Equal(t, []string{`runs {"action":"cancel","runId":"0b"}`}, c.sent)
	require.Equal(t, 404, do(t, p, "POST", "/api/runs/0b/put-profile", `{}`, nil).StatusCode)
	require.Equal(t, 400, do(t, p, "POST", "/api/runs/0b/cancel", `[]`, nil).StatusCode)
	require.Equal(t, 413, do(t, p, "POST", "/api/runs/0b/cancel", `{"x": "`+strings.Repeat("x", maxBody)+`"}`, nil).StatusCode)
	require.Len(t, c.sent, 1)
}

func TestReadOnlyChangesNothing(t *testing.T) {
	t.Parallel()
	p, c := world()
	p.ReadOnly = true
	for _, action := range append([]string{"check"}, actions...) {
		require.Equal(t, 403, do(t, p, "POST", "/api/runs/0b/"+action, `{}`, nil).StatusCode, action)
	}
	require.Empty(t, c.sent)
	require.Equal(t, 200, do(t, p, "GET", "/api/runs/0b", "", nil).StatusCode)
}

func TestThePageIsOneWithoutInlineScriptOrForeignSource(t *testing.T) {
	t.Parallel()
	p, _ := world()
	for _, path := range []string{"/", "/page.js", "/page.css"} {
		resp := do(t, p, "GET", path, "", func(r *http.Request) { r.Header.Del("Authorization") })
		require.Equal(t, 200, resp.StatusCode, path)
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		text := string(raw)
		require.NotContains(t, text, p.Token)
		for _, banned := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " onclick=", "<style", "https://"} {
			require.NotContains(t, text, banned, path)
		}
	}
}
