package runtime

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
)

func request(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

func call(h http.Handler, r *http.Request) (int, string, http.Header) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header()
}

func TestHTTPTriggerIsTheFunction(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, nil)
	h := p.HTTP(p.Functions[0], nil)
	r := request("POST", "/a%20b?x=1&x=2&y=%2F", `{"do":"http"}`)
	r.Header.Add("X-Two", "1")
	r.Header.Add("X-Two", "2")
	Sign(r, p.Account.RootKey(), time.Now())
	status, body, header := call(h, r)
	assert.Equal(t, 201, status)
	assert.Equal(t, "yes", header.Get("X-Echo"))
	assert.NotEmpty(t, header.Get("X-Fc-Request-Id"))
	var event struct {
		Version, RawPath, Body   string
		IsBase64Encoded          bool
		Headers, QueryParameters map[string]string
		RequestContext           struct {
			AccountID, DomainName, TimeEpoch string
			HTTP                             struct{ Method, Path string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &event))
	assert.Equal(t, "v1", event.Version)
	assert.Equal(t, "/a%20b", event.RawPath)
	assert.Equal(t, "/a b", event.RequestContext.HTTP.Path)
	assert.Equal(t, map[string]string{"x": "1,2", "y": "/"}, event.QueryParameters)
	assert.Equal(t, "1,2", event.Headers["X-Two"])
	assert.Equal(t, `{"do":"http"}`, event.Body)
	assert.Equal(t, "echo.cn-hangzhou.fcapp.run", event.RequestContext.DomainName)
	assert.Len(t, event.RequestContext.TimeEpoch, 13)

	for do, want := range map[string]struct {
		status int
		text   string
	}{"fail": {502, "no luck"}, "": {502, "the function's reply is not"}} {
		r := request("POST", "/", `{"do":"`+do+`"}`)
		Sign(r, p.Account.RootKey(), time.Now())
		status, body, header := call(h, r)
		assert.Equal(t, want.status, status)
		assert.Contains(t, body, want.text)
		assert.Equal(t, do == "fail", header.Get("X-Fc-Error-Type") != "")
	}
}

// gateway is a platform whose function is never reached.
func gateway(t *testing.T, trigger string) (*Platform, http.Handler, *[]string) {
	project, err := parse([]byte(strings.Replace(small, "{authType: function, methods: [POST]}", trigger, 1)), getenv(nil))
	require.NoError(t, err)
	p, err := New(Config{Functions: project.Functions, Binaries: map[string]string{"echo": "-"}, Account: account(t, time.Now), Clock: Clock{time.Now(), 1}})
	require.NoError(t, err)
	var events []string
	invoke := func(_ context.Context, _ string, payload []byte) (Result, error) {
		events = append(events, string(payload))
		return Result{Body: []byte(`{"statusCode":200}`)}, nil
	}
	return p, p.HTTP(p.Functions[0], invoke), &events
}

func TestUnsignedAndWronglySignedCallsAreRefused(t *testing.T) {
	t.Parallel()
	p, h, events := gateway(t, "{authType: function, methods: [POST]}")
	key := p.Account.RootKey()
	for name, c := range map[string]struct {
		edit func(*http.Request)
		want string
	}{
		"unsigned":         {func(*http.Request) {}, "required HTTP header Date was not specified"},
		"only a date":      {func(r *http.Request) { r.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat)) }, "invalid authorization ''"},
		"an old signature": {func(r *http.Request) { Sign(r, key, time.Now().Add(-16*time.Minute)) }, "is too large"},
		"another secret": {func(r *http.Request) {
			Sign(r, cloud.Credentials{AccessKeyID: key.AccessKeyID, AccessKeySecret: "guess"}, time.Now())
		}, "SignatureNotMatch"},
		"an unknown key": {func(r *http.Request) {
			Sign(r, cloud.Credentials{AccessKeyID: "LTAI", AccessKeySecret: "x"}, time.Now())
		}, "NotFound"},
		"another path":  {func(r *http.Request) { Sign(r, key, time.Now()); r.URL.Path = "/other" }, "SignatureNotMatch"},
		"another query": {func(r *http.Request) { Sign(r, key, time.Now()); r.URL.RawQuery = "x=2" }, "SignatureNotMatch"},
		"a token that was not signed": {func(r *http.Request) {
			c := p.Account.AssumeRole("echo", time.Now())
			Sign(r, cloud.Credentials{AccessKeyID: c.AccessKeyID, AccessKeySecret: c.AccessKeySecret}, time.Now())
			r.Header.Set("x-acs-security-token", c.SecurityToken)
		}, "is not signed"},
		"a body other than the one signed": {func(r *http.Request) {
			r.Header.Set("x-acs-content-sha256", strings.Repeat("0", 64))
			r.Header.Set("x-acs-date", time.Now().UTC().Format(time.RFC3339))
			signed := []string{"x-acs-content-sha256", "x-acs-date"}
			r.Header.Set("Authorization", scheme+" Credential="+key.AccessKeyID+",SignedHeaders="+strings.Join(signed, ";")+",Signature="+
				signature(r, signed, strings.Repeat("0", 64), key.AccessKeySecret))
		}, "SignatureNotMatch"},
	} {
		r := request("POST", "/?x=1", "{}")
		c.edit(r)
		status, body, _ := call(h, r)
		assert.Equal(t, 403, status, name)
		assert.Contains(t, body, c.want, name)
		assert.Contains(t, body, "RequestId", name)
		assert.NotContains(t, body, key.AccessKeySecret)
	}
	assert.Empty(t, *events, "nothing reached the function")

	r := request("GET", "/", "")
	Sign(r, key, time.Now())
	status, _, _ := call(h, r)
	assert.Equal(t, 405, status)
	for _, c := range []cloud.Credentials{key, p.Account.AssumeRole("echo", time.Now())} {
		r := request("POST", "/?b=2&a=1%2B1&a=0", "{}")
		Sign(r, c, time.Now())
		status, body, _ := call(h, r)
		assert.Equal(t, 200, status, body)
	}
}

func TestJWTIsVerified(t *testing.T) {
	t.Parallel()
	ours, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	theirs, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: ours.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}}})
	require.NoError(t, err)
	_, h, events := gateway(t, `{authType: jwt, methods: [POST], authConfig: {jwks: `+string(jwks)+`,
          tokenLookup: 'header:Authorization:Bearer,query:token,cookie:session,form:jwt', claimPassBy: 'header:sub:X-User,query:team:team'}}`)

	token := func(key any, alg jose.SignatureAlgorithm, kid string, claims map[string]any) string {
		options := (&jose.SignerOptions{}).WithType("JWT")
		if kid != "" {
			options = options.WithHeader("kid", kid)
		}
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
		require.NoError(t, err)
		text, err := jwt.Signed(s).Claims(claims).Serialize()
		require.NoError(t, err)
		return text
	}
	now := time.Now()
	good := map[string]any{"sub": "anna", "team": "search", "exp": now.Add(time.Hour).Unix(), "nbf": now.Add(-time.Minute).Unix()}
	with := func(k string, v any) map[string]any {
		out := map[string]any{}
		for a, b := range good {
			out[a] = b
		}
		out[k] = v
		return out
	}
	valid := token(ours, jose.RS256, "k1", good)
	secret := []byte("the public modulus, used as a shared secret....")
	for name, c := range map[string]struct{ token, want string }{
		"none":              {"", "no token"},
		"not a token":       {"a.b.c", "malformed"},
		"expired":           {token(ours, jose.RS256, "k1", with("exp", now.Add(-time.Second).Unix())), "expired"},
		"not yet valid":     {token(ours, jose.RS256, "k1", with("nbf", now.Add(time.Hour).Unix())), "not valid yet"},
		"another key":       {token(theirs, jose.RS256, "k1", good), "no key of the set"},
		"another key id":    {token(ours, jose.RS256, "k2", good), "no key of the set"},
		"another algorithm": {token(secret, jose.HS256, "k1", good), "malformed"},
		"no algorithm":      {"eyJhbGciOiJub25lIn0." + strings.Split(valid, ".")[1] + ".", "malformed"},
		"changed claims":    {strings.Join([]string{strings.Split(valid, ".")[0], strings.Split(token(theirs, jose.RS256, "k1", with("sub", "root")), ".")[1], strings.Split(valid, ".")[2]}, "."), "no key of the set"},
	} {
		r := request("POST", "/", "{}")
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		status, body, _ := call(h, r)
		assert.Equal(t, 401, status, name)
		assert.Contains(t, body, c.want, name)
	}
	assert.Empty(t, *events)

	form := httptest.NewRequest("POST", "/", bytes.NewReader([]byte("jwt="+valid)))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	header := request("POST", "/?team=forged", "{}")
	header.Header.Set("Authorization", "Bearer "+valid)
	header.Header.Set("X-User", "forged")
	cookie := request("POST", "/", "{}")
	cookie.AddCookie(&http.Cookie{Name: "session", Value: valid})
	for name, r := range map[string]*http.Request{
		"header": header, "form": form, "cookie": cookie, "query": request("POST", "/?token="+valid, "{}"),
		"no key id": request("POST", "/?token="+token(ours, jose.RS256, "", good), "{}"),
	} {
		*events = nil
		status, body, _ := call(h, r)
		require.Equal(t, 200, status, "%s: %s", name, body)
		assert.Contains(t, (*events)[0], `"X-User":"anna"`, name)
		assert.Contains(t, (*events)[0], `"team":"search"`, name)
		assert.NotContains(t, (*events)[0], "forged", name)
	}
}

func TestAClaimThatIsMissingCannotBeForged(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), Algorithm: "ES256"}}})
	require.NoError(t, err)
	_, h, events := gateway(t, `{authType: jwt, methods: [POST], authConfig: {jwks: `+string(jwks)+`,
          tokenLookup: 'header:Authorization:Bearer', claimPassBy: 'header:sub:X-User,query:team:team,cookie:tenant:tenant'}}`)
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	require.NoError(t, err)
	token, err := jwt.Signed(s).Claims(map[string]any{}).Serialize()
	require.NoError(t, err)
	r := request("POST", "/?team=forged", "{}")
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("X-User", "forged")
	r.Header.Set("Cookie", "tenant=forged; kept=yes")
	status, body, _ := call(h, r)
	require.Equal(t, 200, status, body)
	assert.NotContains(t, (*events)[0], "forged")
	assert.Contains(t, (*events)[0], "kept=yes")
}

func TestInvokeFunctionAPI(t *testing.T) {
	t.Parallel()
	p, _, _ := gateway(t, "{authType: function, methods: [POST]}")
	api := p.API(func(_ context.Context, name string, payload []byte) (Result, error) {
		return Result{Body: append([]byte(name+" "), payload...)}, nil
	})
	const path = "/2023-03-30/functions/echo/invocations"
	status, _, _ := call(api, request("POST", path, "{}"))
	assert.Equal(t, 403, status)
	r := request("POST", path, "{}")
	Sign(r, p.Account.AssumeRole("echo", time.Now()), time.Now())
	status, body, _ := call(api, r)
	assert.Equal(t, 403, status, "the role may not invoke: %s", body)
	r = request("POST", path, "{}")
	Sign(r, p.Account.RootKey(), time.Now())
	status, body, _ = call(api, r)
	assert.Equal(t, 200, status)
	assert.Equal(t, "echo {}", body)
	r = request("POST", strings.Replace(path, "echo", "none", 1), "{}")
	Sign(r, p.Account.RootKey(), time.Now())
	status, body, _ = call(api, r)
	assert.Equal(t, 404, status)
	assert.Contains(t, body, "FunctionNotFound")
}
