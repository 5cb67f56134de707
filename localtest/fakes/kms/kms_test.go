package kms_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	sdkkms "github.com/aliyun/alibaba-cloud-sdk-go/services/kms"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/kms"
)

func TestGetSecretValue(t *testing.T) {
	t.Parallel()
	a := cloud.New(cloud.Config{Region: "cn-hangzhou", AccountID: "1"})
	require.NoError(t, a.AddRole("survey", cloud.Policy{Version: "1", Statement: []cloud.Statement{
		{Effect: "Allow", Action: cloud.Strings{"kms:GetSecretValue"}, Resource: cloud.Strings{"acs:kms:*:*:secret/eslink/*"}}}}))
	s := kms.New(a)
	s.Put("eslink/es2", `{"username":"reader","password":"old"}`)
	s.Put("eslink/es2", `{"username":"reader","password":"canary<&>"}`)
	s.Put("other/db", "not ours")
	c := a.AssumeRole("survey", time.Now())
	client := &sdkkms.Client{}
	require.NoError(t, client.InitWithOptions("cn-hangzhou", sdk.NewConfig().WithScheme("HTTPS"), credentials.NewStsTokenCredential(c.AccessKeyID, c.AccessKeySecret, c.SecurityToken)))
	client.Domain = "kms.test"
	client.SetTransport(cloud.Transport(func(string) http.Handler { return s }))
	get := func(name, stage, version string) (*sdkkms.GetSecretValueResponse, string) {
		r := sdkkms.CreateGetSecretValueRequest()
		r.SecretName, r.VersionStage, r.VersionId = name, stage, version
		resp, err := client.GetSecretValue(r)
		if e, ok := err.(sdkerrors.Error); ok {
			return nil, e.ErrorCode()
		}
		require.NoError(t, err)
		return resp, ""
	}
	now, code := get("eslink/es2", "", "")
	require.Empty(t, code)
	require.Equal(t, `{"username":"reader","password":"canary<&>"}`, now.SecretData)
	require.Equal(t, []string{"ACSCurrent"}, now.VersionStages.VersionStage)
	before, code := get("eslink/es2", "ACSPrevious", "")
	require.Empty(t, code)
	require.Contains(t, before.SecretData, "old")
	same, code := get("eslink/es2", "", before.VersionId)
	require.Empty(t, code)
	require.Equal(t, before.SecretData, same.SecretData)

	for _, c := range []struct{ name, stage, version, want string }{
		{"eslink/none", "", "", "Forbidden.ResourceNotFound"},
		{"eslink/es2", "", "v3", "Forbidden.ResourceNotFound"},
		{"eslink/es2", "mine", "", "Forbidden.ResourceNotFound"},
		{"other/db", "", "", "Forbidden.RAM"},
		{"", "", "", "MissingParameter"},
	} {
		_, code = get(c.name, c.stage, c.version)
		require.Equal(t, c.want, code, c)
	}
	a.Record(cloud.Exchange{Product: "elasticsearch", ReqBody: `{"value":"canary<&>"}`, RespBody: "for canary<&>"}) // used elsewhere
	var har bytes.Buffer
	require.NoError(t, cloud.WriteHAR(&har, a.Exchanges()))
	require.Contains(t, har.String(), "eslink/es2")
	require.NotContains(t, har.String(), "canary")
	require.NotContains(t, har.String(), "old")
}
