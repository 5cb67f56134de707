package aliyun_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/elasticsearch"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/vpc"
	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/shared/aliyun"
	"eslink/shared/apierr"
)

type answer func(*http.Request) (*http.Response, error)

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func reply(status int, body string) answer {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

func config(a answer) aliyun.Config {
	return aliyun.Config{Region: "cn-hangzhou", Transport: a, Now: time.Now, Endpoint: func(product string) (string, string) {
		return "https", product + ".test:4443"
	}}
}

func invocation(t *testing.T) context.Context {
	return fccontext.NewContext(t.Context(), &fccontext.FcContext{AccountId: "1234567890123456",
		Credentials: fccontext.Credentials{AccessKeyId: "STS.key", AccessKeySecret: "hunter2", SecurityToken: "token-of-hunter2"}})
}

type zones struct{ Total int }

var codes = aliyun.Codes{"Gone": apierr.NotFound, "Busy.*": apierr.Conflict, "Throttling": apierr.Fatal}

func call(ctx context.Context, c aliyun.Config) (zones, error) {
	req := vpc.CreateDescribeVSwitchesRequest()
	req.VpcId = "vpc-1"
	return aliyun.Call[zones](ctx, c, "vpc", req, codes)
}

func TestACallIsSignedAndGoesWhereItIsSent(t *testing.T) {
	t.Parallel()
	var seen *http.Request
	c := config(func(r *http.Request) (*http.Response, error) {
		seen = r
		return reply(200, `{"RequestId":"r","Total":3}`)(r)
	})
	got, err := call(invocation(t), c)
	require.NoError(t, err)
	assert.Equal(t, zones{3}, got)
	assert.Equal(t, "https://vpc.test:4443", seen.URL.Scheme+"://"+seen.URL.Host)
	assert.Equal(t, "vpc.test:4443", seen.Host)
	require.NoError(t, seen.ParseForm())
	assert.Equal(t, []string{"DescribeVSwitches", "vpc-1", "STS.key", "token-of-hunter2"},
		[]string{seen.Form.Get("Action"), seen.Form.Get("VpcId"), seen.Form.Get("AccessKeyId"), seen.Form.Get("SecurityToken")})
	assert.NotEmpty(t, seen.Form.Get("Signature"))

	roa := elasticsearch.CreateDescribeInstanceRequest()
	roa.InstanceId = "es-cn-1"
	_, err = aliyun.Call[zones](invocation(t), c, "elasticsearch", roa, nil)
	require.NoError(t, err)
	assert.Equal(t, "https://elasticsearch.test:4443/openapi/instances/es-cn-1", seen.URL.Scheme+"://"+seen.URL.Host+seen.URL.Path)
	assert.True(t, strings.HasPrefix(seen.Header.Get("Authorization"), "acs STS.key:"))
}

func TestErrorsAreClassifiedByCode(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]struct {
		status int
		class  apierr.Class
	}{
		"Gone": {404, apierr.NotFound}, "Gone.Elsewhere": {404, apierr.Fatal}, "Busy": {409, apierr.Conflict}, "Busy.Lock": {409, apierr.Conflict},
		"Throttling.User": {400, apierr.Retry}, "Throttling": {400, apierr.Fatal}, "SystemBusy": {400, apierr.Retry},
		"Unknown": {400, apierr.Fatal}, "Unknown.Too": {403, apierr.Fatal}, "Unknown.Busy": {429, apierr.Retry}, "Unknown.Down": {500, apierr.Retry}, "Unknown.Gateway": {503, apierr.Retry},
	} {
		calls := 0
		_, err := call(invocation(t), config(func(r *http.Request) (*http.Response, error) {
			calls++
			return reply(want.status, `{"RequestId":"req-1","Code":"`+body+`","Message":"no"}`)(r)
		}))
		assert.Equal(t, want.class, apierr.ClassOf(err), body)
		assert.Equal(t, body, apierr.CodeOf(err))
		assert.Equal(t, 1, calls, "%s: the engine alone retries", body)
		var operation *smithy.OperationError
		require.ErrorAs(t, err, &operation)
		assert.Equal(t, "vpc DescribeVSwitches", operation.ServiceID+" "+operation.OperationName)
		var api smithy.APIError
		require.ErrorAs(t, err, &api)
		assert.Equal(t, body, api.ErrorCode())
		assert.Equal(t, want.status >= 500, api.ErrorFault() == smithy.FaultServer)
		assert.ErrorContains(t, err, "req-1", "support asks for it")
	}
}

// A call without a reply may have had its effect.
func TestNoReplyIsARetry(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]answer{
		"reset": func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
		},
		"cut":          func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
		"a page, 502":  reply(502, "<html>Bad Gateway</html>"),
		"nothing, 503": reply(503, ""),
	} {
		_, err := call(invocation(t), config(a))
		require.Error(t, err, name)
		assert.Equal(t, apierr.Retry, apierr.ClassOf(err), "%s: %v", name, err)
		assert.NotContains(t, err.Error(), "hunter2", name)
		assert.NotContains(t, err.Error(), "Signature", name)
	}
	_, err := call(invocation(t), config(reply(403, "<html>go away</html>")))
	assert.Equal(t, apierr.Fatal, apierr.ClassOf(err))
}

func TestWithoutAnInvocationThereIsNoCall(t *testing.T) {
	t.Parallel()
	c := config(func(*http.Request) (*http.Response, error) {
		t.Error("a call without credentials")
		return nil, io.EOF
	})
	_, err := call(t.Context(), c)
	assert.ErrorContains(t, err, "give the function a role in s.yaml")
	_, err = aliyun.AccountFrom(t.Context())
	assert.Error(t, err)
	account, err := aliyun.AccountFrom(invocation(t))
	require.NoError(t, err)
	assert.Equal(t, "1234567890123456", account)
	ctx, cancel := context.WithCancel(invocation(t))
	cancel()
	_, err = call(ctx, c)
	assert.ErrorIs(t, err, context.Canceled)
}
