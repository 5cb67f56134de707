package ram_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/ram"
)

// caller calls the fake with the V1 SDK and returns the error code, or "".
func caller(t *testing.T) (*cloud.Account, func(action string, params ...string) string) {
	a := cloud.New(cloud.Config{Region: "cn-hangzhou", AccountID: "1234567890123456", Now: time.Now, Seed: 1, Log: slog.New(slog.DiscardHandler)})
	fake := ram.New(a)
	key := a.RootKey()
	client, err := sdk.NewClientWithOptions("cn-hangzhou", sdk.NewConfig().WithScheme("HTTPS").WithAutoRetry(false), credentials.NewAccessKeyCredential(key.AccessKeyID, key.AccessKeySecret))
	require.NoError(t, err)
	client.SetTransport(cloud.Transport(func(string) http.Handler { return fake }))
	return a, func(action string, params ...string) string {
		req := requests.NewCommonRequest()
		req.Domain, req.Version, req.ApiName, req.Scheme, req.Method = "ram.aliyuncs.com", "2015-05-01", action, "HTTPS", "POST"
		for i := 0; i < len(params); i += 2 {
			req.QueryParams[params[i]] = params[i+1]
		}
		if _, err := client.ProcessCommonRequest(req); err != nil {
			server, ok := err.(*errors.ServerError)
			require.True(t, ok, "%v", err)
			return server.ErrorCode()
		}
		return ""
	}
}

const (
	trust    = `{"Version":"1","Statement":[{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":["fc.aliyuncs.com"]}}]}`
	document = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"mns:SendMessage","Resource":"*"}]}`
	nothing  = `{"Version":"1","Statement":[]}`
)

func TestWhatIsAttachedIsAllowed(t *testing.T) {
	t.Parallel()
	a, call := caller(t)
	allowed := func() bool {
		return a.Authorize(cloud.Principal{AccountID: a.AccountID, Role: "r"}, "mns:SendMessage", "acs:mns:x") == nil
	}
	require.Empty(t, call("CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trust))
	require.Empty(t, call("CreatePolicy", "PolicyName", "p", "PolicyDocument", document))
	assert.False(t, allowed())
	assert.NotPanics(t, func() { a.AssumeRole("r", time.Now()) }, "a role without rights is a role")
	require.Empty(t, call("AttachPolicyToRole", "PolicyName", "p", "PolicyType", "Custom", "RoleName", "r"))
	assert.True(t, allowed())
	require.Empty(t, call("CreatePolicyVersion", "PolicyName", "p", "PolicyDocument", nothing))
	assert.True(t, allowed(), "a version that is not the default changes nothing")
	require.Empty(t, call("CreatePolicyVersion", "PolicyName", "p", "PolicyDocument", nothing, "SetAsDefault", "true"))
	assert.False(t, allowed())
	require.Empty(t, call("CreatePolicyVersion", "PolicyName", "p", "PolicyDocument", document, "SetAsDefault", "true"))
	assert.True(t, allowed())
	require.Empty(t, call("DetachPolicyFromRole", "PolicyName", "p", "PolicyType", "Custom", "RoleName", "r"))
	assert.False(t, allowed())
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	_, call := caller(t)
	attach := []string{"PolicyName", "p", "PolicyType", "Custom", "RoleName", "r"}
	assert.Equal(t, "EntityNotExist.Role", call("GetRole", "RoleName", "r"))
	assert.Equal(t, "EntityNotExist.Policy", call("GetPolicy", "PolicyName", "p", "PolicyType", "Custom"))
	assert.Equal(t, "MalformedPolicyDocument", call("CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", "{}"))
	require.Empty(t, call("CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trust))
	assert.Equal(t, "EntityAlreadyExists.Role", call("CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trust))
	assert.Equal(t, "EntityNotExist.Policy", call("AttachPolicyToRole", attach...))
	assert.Equal(t, "MalformedPolicyDocument", call("CreatePolicy", "PolicyName", "p", "PolicyDocument", "{}"))
	assert.Equal(t, "InvalidParameter.PolicyDocument.Length", call("CreatePolicy", "PolicyName", "p", "PolicyDocument", nothing+strings.Repeat(" ", 6200)))
	require.Empty(t, call("CreatePolicy", "PolicyName", "p", "PolicyDocument", document))
	assert.Equal(t, "EntityAlreadyExists.Policy", call("CreatePolicy", "PolicyName", "p", "PolicyDocument", document))
	assert.Equal(t, "EntityNotExist.Role.Policy", call("DetachPolicyFromRole", attach...))
	require.Empty(t, call("AttachPolicyToRole", attach...))
	assert.Equal(t, "EntityAlreadyExists.Role.Policy", call("AttachPolicyToRole", attach...))
	assert.Equal(t, "DeleteConflict.Role.Policy", call("DeleteRole", "RoleName", "r"))
	assert.Equal(t, "DeleteConflict.Policy.Role", call("DeletePolicy", "PolicyName", "p"))
	for range 4 {
		require.Empty(t, call("CreatePolicyVersion", "PolicyName", "p", "PolicyDocument", nothing))
	}
	assert.Equal(t, "LimitExceeded.Policy.Version", call("CreatePolicyVersion", "PolicyName", "p", "PolicyDocument", nothing))
	require.Empty(t, call("CreatePolicyVersion", "PolicyName", "p", "PolicyDocument", nothing, "RotateStrategy", "DeleteOldestNonDefaultVersionWhenLimitExceeded"))
	assert.Equal(t, "EntityNotExist.Policy.Version", call("DeletePolicyVersion", "PolicyName", "p", "VersionId", "v2"), "the oldest is gone")
	assert.Equal(t, "DeleteConflict.PolicyVersion.Default", call("DeletePolicyVersion", "PolicyName", "p", "VersionId", "v1"))
	require.Empty(t, call("DetachPolicyFromRole", attach...))
	assert.Equal(t, "DeleteConflict.Policy.Version", call("DeletePolicy", "PolicyName", "p"))
	assert.Equal(t, "NotImplemented", call("GetPolicy", "PolicyName", "p", "PolicyType", "System"))
	require.Empty(t, call("DeleteRole", "RoleName", "r"))
}

func TestUnsignedCallIsRefused(t *testing.T) {
	t.Parallel()
	a := cloud.New(cloud.Config{Region: "cn-hangzhou", AccountID: "1234567890123456", Now: time.Now, Seed: 1, Log: slog.New(slog.DiscardHandler)})
	w := httptest.NewRecorder()
	query := url.Values{"Action": {"GetRole"}, "Version": {"2015-05-01"}, "Format": {"JSON"}, "RoleName": {"r"}}
	ram.New(a).ServeHTTP(w, httptest.NewRequest("GET", "/?"+query.Encode(), nil))
	var reply struct{ Code string }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &reply))
	assert.GreaterOrEqual(t, w.Code, 400)
	assert.NotEqual(t, "EntityNotExist.Role", reply.Code)
}
