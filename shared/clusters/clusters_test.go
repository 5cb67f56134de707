package clusters_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/shared/aliyun"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
)

type answer func(*http.Request) (*http.Response, error)

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func reply(status int, body string) answer {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}, "X-Elastic-Product": {"Elasticsearch"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

func secret(value string) answer {
	raw, _ := json.Marshal(map[string]string{"SecretData": value, "RequestId": "r"})
	return reply(200, string(raw))
}

func opener(kms, data answer) clusters.Opener {
	return clusters.Opener{Cloud: aliyun.Config{Region: "cn-hangzhou", Transport: kms, DataPlane: data, Now: time.Now, Endpoint: func(p string) (string, string) { return "https", p + ".test" }}}
}

func invocation(t *testing.T) context.Context {
	return fccontext.NewContext(t.Context(), &fccontext.FcContext{Credentials: fccontext.Credentials{AccessKeyId: "k", AccessKeySecret: "s", SecurityToken: "t"}})
}

func record() *run.Run {
	return &run.Run{Spec: events.Spec{Target: events.Target{InstanceID: "es-cn-2"}, Secrets: events.Secrets{Instance: "eslink/es1", Target: "eslink/es2"}},
		Facts: facts.Facts{Preflight: &facts.Preflight{
			Instance: facts.Cluster{InstanceID: "es-cn-1", Domain: "one.test", Port: 9200, Protocol: "http"},
			Target:   facts.Cluster{InstanceID: "es-cn-2", Domain: "two.test", Port: 9200, Protocol: "https"}}}}
}

func TestASideIsOpenedWithItsOwnLogin(t *testing.T) {
	t.Parallel()
	for _, side := range []clusters.Side{clusters.Destination(record()), clusters.Source(record())} {
		var asked, url, user, password string
		c, err := opener(func(r *http.Request) (*http.Response, error) {
			require.NoError(t, r.ParseForm())
			asked = r.Form.Get("SecretName")
			return secret(`{"username":"u","password":"p","for":["es-cn-1","es-cn-2"]}`)(r)
		}, func(r *http.Request) (*http.Response, error) {
			url = r.URL.Scheme + "://" + r.URL.Host
			user, password, _ = r.BasicAuth()
			return reply(401, `{"error":{"type":"security_exception","reason":"no"},"status":401}`)(r)
		}).Open(invocation(t), side)
		require.NoError(t, err)
		assert.Equal(t, side.Secret, asked)
		_, err = c.Version(invocation(t))
		assert.Equal(t, []string{side.Cluster.URL(), "u", "p"}, []string{url, user, password})
		require.True(t, es.IsUnauthorized(err), err)
		var p *events.Problem
		require.ErrorAs(t, clusters.Explain(err, side), &p)
		assert.Equal(t, side.Field, p.Errors[0].Field)
		assert.Equal(t, side.Cluster.InstanceID+" refuses the user and password of secret "+side.Secret, p.Errors[0].Message)
	}
}

// The owner of a secret says where its login may be sent; who calls a function
// cannot add to that.
func TestASecretIsSentToItsRecipientsOnly(t *testing.T) {
	t.Parallel()
	r := record()
	host := record()
	host.Spec.Target = events.Target{ECSInstanceID: "i-1"}
	host.Facts.Preflight.Target = facts.Cluster{InstanceID: "i-1", Domain: "10.1.2.3", Port: 9200, Protocol: "http"}
	host.Facts.Preflight.ECS = &facts.ECSHost{PrivateIP: "10.1.2.3"}
	host.Spec.UseCases = []events.UseCase{{Kind: events.LDAP, Protocol: "ldap", Port: 389, LDAP: &events.Directory{BindDN: "cn=x", BindSecret: "eslink/es2"}}}
	source, onHost, bind := clusters.Source(r), clusters.Source(host), clusters.Binds(host.Spec, host.Facts.Preflight)[0]
	for name, c := range map[string]struct {
		side  clusters.Side
		lists string // the secret's
		want  string // to put there; "" is admitted
	}{
		"itself":            {source, `["es-cn-1","es-cn-2"]`, ""},
		"any instance":      {source, `["es-*"]`, ""},
		"host, any":         {onHost, `["es-*"]`, `["es-*","http://10.1.2.3:9200"]`},
		"none":              {source, `[]`, `["es-cn-2"]`},
		"no list":           {source, `null`, `["es-cn-2"]`},
		"another":           {source, `["es-cn-1"]`, `["es-cn-1","es-cn-2"]`},
		"a part of its ID":  {source, `["es-cn-22","es-cn"]`, `["es-cn-22","es-cn","es-cn-2"]`},
		"its address":       {source, `["https://two.test:9200"]`, `["https://two.test:9200","es-cn-2"]`},
		"host":              {onHost, `["http://10.1.2.3:9200"]`, ""},
		"host by its ID":    {onHost, `["i-1"]`, `["i-1","http://10.1.2.3:9200"]`},
		"host, other port":  {onHost, `["http://10.1.2.3:92"]`, `["http://10.1.2.3:92","http://10.1.2.3:9200"]`},
		"host, no scheme":   {onHost, `["10.1.2.3:9200"]`, `["10.1.2.3:9200","http://10.1.2.3:9200"]`},
		"directory":         {bind, `["ldap://10.1.2.3:389"]`, ""},
		"directory, by TLS": {bind, `["ldaps://10.1.2.3:389"]`, `["ldaps://10.1.2.3:389","ldap://10.1.2.3:389"]`},
	} {
		login, err := opener(secret(`{"username":"u","password":"canary-for","for":`+c.lists+`}`), nil).Login(invocation(t), c.side)
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		var p *events.Problem
		require.ErrorAs(t, err, &p, name)
		assert.Empty(t, login.Password, name)
		assert.Equal(t, 409, p.Status, name)
		assert.Equal(t, c.side.Field, p.Errors[0].Field, name)
		assert.Contains(t, p.Errors[0].Remedy, `put "for": `+c.want+` into secret eslink/es2`, name)
		assert.NotContains(t, p.Error(), "canary-for", name)
	}
	_, err := opener(secret(`{"username":"u","password":"canary-for","for":"es-cn-2"}`), nil).Login(invocation(t), source)
	require.ErrorContains(t, err, `"for": ["es-cn-2"]`)
	require.NotContains(t, err.Error(), "canary-for")
}

func TestASecretThatCannotBeUsedStopsTheRun(t *testing.T) {
	t.Parallel()
	for name, kms := range map[string]answer{
		"missing":   reply(404, `{"Code":"Forbidden.ResourceNotFound","Message":"no","RequestId":"r"}`),
		"forbidden": reply(403, `{"Code":"Forbidden.NoPermission","Message":"no","RequestId":"r"}`),
		"no login":  secret("hunter2"), "half of one": secret(`{"username":"u"}`),
	} {
		_, err := opener(kms, nil).Login(invocation(t), clusters.Source(record()))
		var p *events.Problem
		require.ErrorAs(t, err, &p, name)
		assert.Equal(t, "secrets.target", p.Errors[0].Field, name)
		assert.NotContains(t, err.Error(), "hunter2", name)
	}
}

func TestTroubleThatPassesIsNoProblemOfTheSecret(t *testing.T) {
	t.Parallel()
	var p *events.Problem
	_, err := opener(reply(503, `{"Code":"ServiceUnavailable","Message":"later","RequestId":"r"}`), nil).Login(invocation(t), clusters.Source(record()))
	assert.Equal(t, apierr.Retry, apierr.ClassOf(err))
	assert.False(t, errors.As(err, &p))
	ctx, cancel := context.WithCancel(invocation(t))
	cancel()
	_, err = opener(secret("{}"), nil).Login(ctx, clusters.Source(record()))
	assert.ErrorIs(t, err, context.Canceled)
	assert.False(t, errors.As(err, &p), "an invocation whose time is up must not stop the run")
}

func TestExplainPointsAtTheWhitelist(t *testing.T) {
	t.Parallel()
	side := clusters.Destination(record())
	lost := &apierr.Error{Class: apierr.Retry, Code: es.Unreachable, Message: "timeout"}
	err := clusters.Explain(lost, side)
	assert.ErrorContains(t, err, "es-cn-1 does not answer (does its private whitelist admit this function's vSwitch?)")
	assert.Equal(t, apierr.Retry, apierr.ClassOf(err))
	other := errors.New("other")
	assert.Equal(t, other, clusters.Explain(other, side))
	assert.NoError(t, clusters.Explain(nil, side))
}
