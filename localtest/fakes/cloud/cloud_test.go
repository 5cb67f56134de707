package cloud_test

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/utils"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/elasticsearch"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/nlb"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
)

// world is an account with an NLB and an Elasticsearch product whose operations echo what they were asked.
type world struct {
	*cloud.Account
	transport http.RoundTripper
	clock     time.Time // the world's; the callers' is real
	effects   atomic.Int32
	last      *cloud.Request
	fail      error
	during    func()
}

func newWorld(t *testing.T, signNow ...func() time.Time) *world {
	w := &world{clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	c := cloud.Config{Region: "cn-hangzhou", AccountID: "1000000000000001", Seed: 1, Now: func() time.Time { return w.clock }}
	if len(signNow) > 0 {
		c.SignNow = signNow[0]
	}
	w.Account = cloud.New(c)
	echo := func(r *cloud.Request) (any, error) {
		if w.during != nil {
			w.during()
		}
		n := w.effects.Add(1)
		w.last = r
		return map[string]any{"LoadBalancerId": fmt.Sprint("nlb-", n)}, w.fail
	}
	hosts := map[string]http.Handler{
		"nlb.test": w.RPC("nlb", "2022-04-30", map[string]cloud.Op{"CreateLoadBalancer": echo, "ListLoadBalancers": echo,
			"AddServersToServerGroup": echo, "RemoveServersFromServerGroup": echo, "GetLoadBalancerAttribute": echo}),
		"es.test": w.ROA("elasticsearch", "2017-06-13", map[string]cloud.Op{"CreateVpcEndpoint": echo, "DescribeInstance": echo, "UpdateInstanceSettings": echo}),
	}
	w.transport = cloud.Transport(func(host string) http.Handler { return hosts[host] })
	return w
}

func (w *world) v1(t *testing.T, c cloud.Credentials) *nlb.Client {
	client := &nlb.Client{} // the SDK's own constructors race on a global
	require.NoError(t, client.InitWithOptions("cn-hangzhou", clientConfig(), credentials.NewStsTokenCredential(c.AccessKeyID, c.AccessKeySecret, c.SecurityToken)))
	client.SetTransport(w.transport)
	client.Domain = "nlb.test"
	return client
}

func (w *world) es(t *testing.T, c cloud.Credentials) *elasticsearch.Client {
	client := &elasticsearch.Client{} // the SDK's own constructors race on a global
	require.NoError(t, client.InitWithOptions("cn-hangzhou", clientConfig(), credentials.NewStsTokenCredential(c.AccessKeyID, c.AccessKeySecret, c.SecurityToken)))
	client.SetTransport(w.transport)
	client.Domain = "es.test"
	return client
}

func describeInstance() *elasticsearch.DescribeInstanceRequest {
	r := elasticsearch.CreateDescribeInstanceRequest()
	r.InstanceId = "es-cn-1"
	return r
}

func createLoadBalancer(token string) *nlb.CreateLoadBalancerRequest {
	r := nlb.CreateCreateLoadBalancerRequest()
	r.AddressType, r.VpcId, r.ClientToken, r.LoadBalancerName = "Intranet", "vpc-1", token, "täst *~+ name"
	r.ZoneMappings = &[]nlb.CreateLoadBalancerZoneMappings{{ZoneId: "cn-hangzhou-i", VSwitchId: "vsw-1"}, {ZoneId: "cn-hangzhou-j", VSwitchId: "vsw-2"}}
	return r
}

func code(err error) string {
	if e, ok := err.(sdkerrors.Error); ok {
		return e.ErrorCode()
	} else if err != nil {
		return err.Error()
	}
	return ""
}

// acs3 signs as the V2 SDKs do and sends; it returns status, code and reply.
func (w *world) acs3(t *testing.T, c cloud.Credentials, method, rawURL, action string, form url.Values, tweaks ...func(*http.Request)) (int, string, map[string]any) {
	body := form.Encode()
	if j := form.Get("{}"); j != "" {
		body = j
	}
	r, err := http.NewRequest(method, rawURL, strings.NewReader(body))
	require.NoError(t, err)
	sum := sha256.Sum256([]byte(body))
	version := map[string]string{"nlb.test": "2022-04-30", "es.test": "2017-06-13"}[r.URL.Host]
	headers := map[string]string{"host": r.URL.Host, "x-acs-action": action, "x-acs-version": version, "x-acs-date": time.Now().UTC().Format(time.RFC3339),
		"x-acs-signature-nonce": utils.GetNonce(), "x-acs-content-sha256": hex.EncodeToString(sum[:])}
	if c.SecurityToken != "" {
		headers["x-acs-security-token"] = c.SecurityToken
	}
	names := slices.Sorted(maps.Keys(headers))
	lines := ""
	for _, name := range names {
		lines += name + ":" + headers[name] + "\n"
		r.Header.Set(name, headers[name])
	}
	query := strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20")
	canonical := strings.Join([]string{method, cmp.Or(r.URL.EscapedPath(), "/"), query, lines, strings.Join(names, ";"), headers["x-acs-content-sha256"]}, "\n")
	hashed := sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(c.AccessKeySecret))
	mac.Write([]byte("ACS3-HMAC-SHA256\n" + hex.EncodeToString(hashed[:])))
	r.Header.Set("Authorization", "ACS3-HMAC-SHA256 Credential="+c.AccessKeyID+",SignedHeaders="+strings.Join(names, ";")+",Signature="+hex.EncodeToString(mac.Sum(nil)))
	for _, tweak := range tweaks {
		tweak(r)
	}
	return w.send(t, r)
}

func (w *world) send(t *testing.T, r *http.Request) (int, string, map[string]any) {
	resp, err := w.transport.RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	reply := map[string]any{}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&reply))
	require.NotEmpty(t, reply["RequestId"])
	code, _ := reply["Code"].(string)
	return resp.StatusCode, code, reply
}

// rpc signs as V1 SDKs do, with params in the query or, as pop-core does, all in the form.
func (w *world) rpc(t *testing.T, method string, asForm bool, c cloud.Credentials, params map[string]string, tweak func(url.Values)) (int, string, map[string]any) {
	values := url.Values{}
	for k, v := range map[string]string{"Action": "ListLoadBalancers", "Version": "2022-04-30", "Format": "JSON", "SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0",
		"Timestamp": time.Now().UTC().Format(time.RFC3339), "SignatureNonce": utils.GetNonce(), "AccessKeyId": c.AccessKeyID, "SecurityToken": c.SecurityToken} {
		if v != "" {
			values.Set(k, v)
		}
	}
	for k, v := range params {
		values.Set(k, v)
	}
	toSign := strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~").Replace(values.Encode())
	values.Set("Signature", utils.ShaHmac1(method+"&%2F&"+url.QueryEscape(toSign), c.AccessKeySecret+"&"))
	if tweak != nil {
		tweak(values)
	}
	target, body := "http://nlb.test/?"+values.Encode(), ""
	if asForm {
		target, body = "http://nlb.test/", values.Encode()
	}
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	require.NoError(t, err)
	return w.send(t, r)
}

func TestV1SDK(t *testing.T) {
	t.Parallel()
	t.Run("RPC, form and query, STS", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		require.NoError(t, w.AddRole("provider", allow("nlb:*")))
		resp, err := w.v1(t, w.AssumeRole("provider", w.Now())).CreateLoadBalancer(createLoadBalancer("t1"))
		require.NoError(t, err)
		require.Equal(t, "nlb-1", resp.LoadbalancerId+gjson(resp.GetHttpContentBytes(), "LoadBalancerId"))
		require.Equal(t, "provider", w.last.Caller.Role)
		require.Equal(t, "täst *~+ name", w.last.Get("LoadBalancerName"))
		require.Equal(t, []map[string]string{{"ZoneId": "cn-hangzhou-i", "VSwitchId": "vsw-1"}, {"ZoneId": "cn-hangzhou-j", "VSwitchId": "vsw-2"}}, w.last.List("ZoneMappings"))
		list := nlb.CreateListLoadBalancersRequest()
		list.LoadBalancerIds = &[]string{"nlb-1", "nlb-2"}
		_, err = w.v1(t, w.RootKey()).ListLoadBalancers(list)
		require.NoError(t, err)
		require.Equal(t, []map[string]string{{"": "nlb-1"}, {"": "nlb-2"}}, w.last.List("LoadBalancerIds"))
	})
	t.Run("ROA", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		require.NoError(t, w.AddRole("consumer", allow("elasticsearch:CreateVpcEndpoint")))
		c := w.AssumeRole("consumer", w.Now())
		client := w.es(t, c)
		r := elasticsearch.CreateCreateVpcEndpointRequest()
		r.InstanceId, r.ClientToken = "es-cn-1", "t 1+*"
		r.SetContent([]byte(`{"serviceId":"epsrv-1","zoneId":"cn-hangzhou-i"}`))
		r.SetContentType("application/json")
		_, err := client.CreateVpcEndpoint(r)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"InstanceId": "es-cn-1", "ClientToken": "t 1+*"}, w.last.Params)
		require.JSONEq(t, `{"serviceId":"epsrv-1","zoneId":"cn-hangzhou-i"}`, string(w.last.Body))
		_, err = client.DescribeInstance(describeInstance())
		require.Equal(t, "Forbidden.RAM", code(err))
	})
}

func TestSignaturesAreVerified(t *testing.T) {
	t.Parallel()
	set := func(name, value string) func(url.Values) { return func(v url.Values) { v.Set(name, value) } }
	root := func(w *world) cloud.Credentials { return w.RootKey() }
	sts := func(w *world) cloud.Credentials {
		_ = w.AddRole("r", allow("*"))
		return w.AssumeRole("r", w.Now())
	}
	for name, c := range map[string]struct {
		who    func(*world) cloud.Credentials
		params map[string]string
		tweak  func(url.Values)
		want   string
	}{
		"accepted":             {who: root},
		"STS":                  {who: sts},
		"unsigned":             {who: root, tweak: func(v url.Values) { clear(v) }, want: "MissingAccessKeyId"},
		"no signature":         {who: root, tweak: func(v url.Values) { v.Del("Signature") }, want: "MissingSignature"},
		"no nonce":             {who: root, tweak: func(v url.Values) { v.Del("SignatureNonce") }, want: "MissingSignatureNonce"},
		"changed":              {who: root, params: map[string]string{"MaxResults": "1"}, tweak: set("MaxResults", "2"), want: "SignatureDoesNotMatch"},
		"added":                {who: root, tweak: set("MaxResults", "2"), want: "SignatureDoesNotMatch"},
		"unknown key":          {who: func(*world) cloud.Credentials { return cloud.Credentials{AccessKeyID: "x", AccessKeySecret: "y"} }, want: "InvalidAccessKeyId.NotFound"},
		"wrong secret":         {who: func(w *world) cloud.Credentials { c := w.RootKey(); c.AccessKeySecret += "x"; return c }, want: "SignatureDoesNotMatch"},
		"STS without token":    {who: func(w *world) cloud.Credentials { c := sts(w); c.SecurityToken = ""; return c }, want: "MissingSecurityToken"},
		"another's token":      {who: func(w *world) cloud.Credentials { c := sts(w); c.SecurityToken = sts(w).SecurityToken; return c }, want: "InvalidSecurityToken.MismatchWithAccessKey"},
		"token for a root key": {who: func(w *world) cloud.Credentials { c := w.RootKey(); c.SecurityToken = "x"; return c }, want: "InvalidSecurityToken.MismatchWithAccessKey"},
		"expired STS":          {who: func(w *world) cloud.Credentials { c := sts(w); w.clock = w.clock.Add(36 * time.Hour); return c }, want: "InvalidSecurityToken.Expired"},
		"STS to the last":      {who: func(w *world) cloud.Credentials { c := sts(w); w.clock = w.clock.Add(36*time.Hour - 1); return c }},
		"old":                  {who: root, params: map[string]string{"Timestamp": time.Now().UTC().Add(-16 * time.Minute).Format(time.RFC3339)}, want: "InvalidTimeStamp.Expired"},
		"from the future":      {who: root, params: map[string]string{"Timestamp": time.Now().UTC().Add(16 * time.Minute).Format(time.RFC3339)}, want: "InvalidTimeStamp.Expired"},
		"no time":              {who: root, params: map[string]string{"Timestamp": "yesterday"}, want: "InvalidTimeStamp.Format"},
		"other method":         {who: root, params: map[string]string{"SignatureMethod": "HMAC-MD5"}, want: "UnsupportedSignatureMethod"},
	} {
		for _, asForm := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", asForm), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				status, code, _ := w.rpc(t, "POST", asForm, c.who(w), c.params, c.tweak)
				require.Equal(t, c.want, code)
				require.Equal(t, c.want == "", status == 200)
				require.Equal(t, c.want == "", w.effects.Load() == 1)
			})
		}
	}
	t.Run("a nonce used twice", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		nonce := map[string]string{"SignatureNonce": "n"}
		_, code, _ := w.rpc(t, "GET", false, w.RootKey(), nonce, set("Signature", "forged"))
		require.Equal(t, "SignatureDoesNotMatch", code)
		_, code, _ = w.rpc(t, "GET", false, w.RootKey(), nonce, nil)
		require.Empty(t, code, "a forger does not burn the nonce")
		_, code, _ = w.rpc(t, "GET", false, w.RootKey(), nonce, nil)
		require.Equal(t, "SignatureNonceUsed", code)
	})
	t.Run("ROA", func(t *testing.T) {
		t.Parallel()
		for name, c := range map[string]struct {
			tweak func(*http.Request)
			want  string
		}{
			"accepted":       {func(*http.Request) {}, ""},
			"unsigned":       {func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthorization"},
			"other scheme":   {func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, "IncompleteSignature"},
			"header changed": {func(r *http.Request) { r.Header["x-acs-version"] = []string{"2017-06-14"} }, "SignatureDoesNotMatch"},
			"header added":   {func(r *http.Request) { r.Header.Set("x-acs-region-id", "cn-beijing") }, "SignatureDoesNotMatch"},
			"path changed":   {func(r *http.Request) { r.URL.Path = strings.Replace(r.URL.Path, "es-cn-1", "es-cn-2", 1) }, "SignatureDoesNotMatch"},
			"query changed":  {func(r *http.Request) { r.URL.RawQuery = "dryRun=true" }, "SignatureDoesNotMatch"},
			"body changed":   {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"serviceId":"mine"}`)) }, "ContentMD5NotMatched"},
			"date changed":   {func(r *http.Request) { r.Header["Date"] = []string{"Thu, 01 Jan 2015 00:00:00 GMT"} }, "SignatureDoesNotMatch"},
		} {
			w := newWorld(t)
			inner := w.transport
			w.transport = roundTrip(func(r *http.Request) (*http.Response, error) { c.tweak(r); return inner.RoundTrip(r) })
			r := elasticsearch.CreateCreateVpcEndpointRequest()
			r.InstanceId = "es-cn-1"
			r.SetContent([]byte(`{"serviceId":"epsrv-1"}`))
			_, err := w.es(t, w.RootKey()).CreateVpcEndpoint(r)
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.Equal(t, c.want, code(err), name)
				require.Zero(t, w.effects.Load(), name)
			}
		}
	})
	t.Run("ACS3", func(t *testing.T) {
		t.Parallel()
		header := func(name, value string) func(*http.Request) {
			return func(r *http.Request) { r.Header.Set(name, value) }
		}
		form := url.Values{"AddressType": {"Intranet"}, "VpcId": {"vpc-1"}, "ZoneMappings.1.ZoneId": {"z"}, "ZoneMappings.1.VSwitchId": {"v * ~"}}
		for name, c := range map[string]struct {
			tweak func(*http.Request)
			want  string
		}{
			"accepted":         {func(*http.Request) {}, ""},
			"unsigned":         {func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAccessKeyId"},
			"body changed":     {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("VpcId=vpc-2")) }, "SignatureDoesNotMatch"},
			"query changed":    {func(r *http.Request) { r.URL.RawQuery = "RegionId=cn-beijing" }, "SignatureDoesNotMatch"},
			"action changed":   {header("x-acs-action", "DeleteLoadBalancer"), "SignatureDoesNotMatch"},
			"host changed":     {func(r *http.Request) { r.Host = "slb.test" }, "SignatureDoesNotMatch"},
			"date changed":     {header("x-acs-date", "2015-01-01T00:00:00Z"), "SignatureDoesNotMatch"},
			"no nonce":         {func(r *http.Request) { r.Header.Del("x-acs-signature-nonce") }, "Missingx-acs-signature-nonce"},
			"token not signed": {header("x-acs-security-token", "x"), "InvalidSecurityToken.MismatchWithAccessKey"},
			"action not signed": {func(r *http.Request) {
				r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "x-acs-action;", "", 1))
			}, "IncompleteSignature"},
		} {
			w := newWorld(t)
			_, code, _ := w.acs3(t, w.RootKey(), "POST", "http://nlb.test/", "CreateLoadBalancer", form, c.tweak)
			require.Equal(t, c.want, code, name)
			require.Equal(t, c.want == "", w.effects.Load() == 1, name)
		}
		w := newWorld(t)
		require.NoError(t, w.AddRole("r", allow("*")))
		_, code, _ := w.acs3(t, w.AssumeRole("r", w.Now()), "POST", "http://es.test/openapi/instances/es-cn-1/vpc-endpoints?ClientToken=a%20b", "CreateVpcEndpoint", url.Values{"{}": {`{"zoneId":"z"}`}})
		require.Empty(t, code)
		require.Equal(t, "a b", w.last.Get("ClientToken"))
		var sent *http.Request
		_, code, _ = w.acs3(t, w.RootKey(), "GET", "http://es.test/openapi/instances/es-cn-1", "DescribeInstance", nil, func(r *http.Request) { sent = r.Clone(t.Context()) })
		require.Empty(t, code)
		_, code, _ = w.send(t, sent)
		require.Equal(t, "SignatureNonceUsed", code)
	})
}

func TestTimestampsAreJudgedByTheSigningClock(t *testing.T) {
	t.Parallel()
	for shift, want := range map[time.Duration]string{-16 * time.Minute: "InvalidTimeStamp.Expired", -14 * time.Minute: "", 14 * time.Minute: "", 16 * time.Minute: "InvalidTimeStamp.Expired"} {
		w := newWorld(t, func() time.Time { return time.Now().Add(shift) })
		_, got, _ := w.rpc(t, "GET", false, w.RootKey(), nil, nil)
		require.Equal(t, want, got)
		_, got, _ = w.acs3(t, w.RootKey(), "POST", "http://nlb.test/", "ListLoadBalancers", nil)
		require.Equal(t, want, got)
		_, err := w.es(t, w.RootKey()).DescribeInstance(describeInstance())
		require.Equal(t, want, code(err))
	}
}

func TestParametersAreChecked(t *testing.T) {
	t.Parallel()
	good := "AddressType=Intranet&VpcId=vpc-1&ZoneMappings.1.ZoneId=z&ZoneMappings.1.VSwitchId=v"
	for name, c := range map[string]struct{ method, query, action, form, want string }{
		"accepted":                 {"POST", "", "CreateLoadBalancer", good, ""},
		"region in the query":      {"POST", "RegionId=cn-hangzhou", "CreateLoadBalancer", good, ""},
		"another region":           {"POST", "RegionId=cn-beijing", "CreateLoadBalancer", good, "InvalidRegionId.NotFound"},
		"write in the query":       {"POST", good, "CreateLoadBalancer", "", "InvalidParameter.Position"},
		"read in the form":         {"POST", "", "ListLoadBalancers", "MaxResults=1", "InvalidParameter.Position"},
		"case":                     {"POST", "", "CreateLoadBalancer", strings.Replace(good, "VpcId", "VpcID", 1), "InvalidParameter.Unknown"},
		"case inside":              {"POST", "", "CreateLoadBalancer", strings.Replace(good, "VSwitchId", "VswitchId", 1), "InvalidParameter.Unknown"},
		"unknown":                  {"POST", "", "CreateLoadBalancer", good + "&Colour=red", "InvalidParameter.Unknown"},
		"list not numbered":        {"POST", "", "CreateLoadBalancer", good + "&ZoneMappings.ZoneId=z", "InvalidParameter.Unknown"},
		"list as a scalar":         {"POST", "", "CreateLoadBalancer", good + "&ZoneMappings=z", "InvalidParameter.Unknown"},
		"missing":                  {"POST", "", "CreateLoadBalancer", strings.Replace(good, "VpcId=vpc-1", "", 1), "MissingParameter"},
		"empty":                    {"POST", "", "CreateLoadBalancer", strings.Replace(good, "VpcId=vpc-1", "VpcId=", 1), "MissingParameter"},
		"missing list":             {"POST", "", "CreateLoadBalancer", "AddressType=Intranet&VpcId=vpc-1", "MissingParameter"},
		"missing in item 2":        {"POST", "", "CreateLoadBalancer", good + "&ZoneMappings.2.ZoneId=z", "MissingParameter"},
		"gap":                      {"POST", "", "CreateLoadBalancer", good + "&ZoneMappings.3.ZoneId=z&ZoneMappings.3.VSwitchId=v", "InvalidParameter"},
		"from zero":                {"POST", "", "CreateLoadBalancer", good + "&ZoneMappings.0.ZoneId=z&ZoneMappings.0.VSwitchId=v", "InvalidParameter"},
		"twice":                    {"POST", "", "CreateLoadBalancer", good + "&VpcId=vpc-2", "InvalidParameter"},
		"no number":                {"POST", "MaxResults=many", "ListLoadBalancers", "", "InvalidParameter"},
		"no boolean":               {"POST", "", "CreateLoadBalancer", good + "&DryRun=maybe", "InvalidParameter"},
		"ServerId demanded":        {"POST", "", "AddServersToServerGroup", "ServerGroupId=s&Servers.1.ServerType=Ip&Servers.1.Port=1", "MissingParameter"},
		"method":                   {"GET", "", "CreateLoadBalancer", "", "UnsupportedHTTPMethod"},
		"unknown action":           {"POST", "", "CreateLoadbalancer", good, "InvalidAction.NotFound"},
		"what this fake leaves":    {"POST", "LoadBalancerId=nlb-1", "DeleteLoadBalancer", "", "NotImplemented"},
		"token of 65":              {"POST", "", "CreateLoadBalancer", good + "&ClientToken=" + strings.Repeat("x", 65), "InvalidParameter.ClientToken"},
		"token of 64":              {"POST", "", "CreateLoadBalancer", good + "&ClientToken=" + strings.Repeat("x", 64), ""},
		"token beyond ASCII":       {"POST", "", "CreateLoadBalancer", good + "&ClientToken=%C3%A4", "InvalidParameter.ClientToken"},
		"list of scalars accepted": {"POST", "LoadBalancerIds.1=a&LoadBalancerIds.2=b", "ListLoadBalancers", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			form, err := url.ParseQuery(c.form)
			require.NoError(t, err)
			status, code, reply := w.acs3(t, w.RootKey(), c.method, "http://nlb.test/?"+c.query, c.action, form)
			require.Equal(t, c.want, code, reply["Message"])
			require.Equal(t, c.want == "", status == 200)
			require.Equal(t, c.want == "", w.effects.Load() == 1)
		})
	}
	t.Run("ROA", func(t *testing.T) {
		t.Parallel()
		endpoints := "http://es.test/openapi/instances/es-cn-1/vpc-endpoints"
		for _, c := range []struct{ method, url, action, body, want string }{
			{"POST", endpoints + "?ClientToken=t", "CreateVpcEndpoint", `{}`, ""},
			{"POST", endpoints + "?clientToken=t", "CreateVpcEndpoint", `{}`, "InvalidParameter.Unknown"},
			{"POST", endpoints, "CreateVpcEndpoint", `{`, "InvalidParameter"},
			{"PUT", endpoints, "CreateVpcEndpoint", `{}`, "InvalidAction.NotFound"},
			{"POST", endpoints, "DeleteVpcEndpoint", `{}`, "InvalidAction.NotFound"},
			{"POST", endpoints + "/", "CreateVpcEndpoint", `{}`, "InvalidAction.NotFound"},
			{"GET", "http://es.test/openapi/instances/es-cn-1", "DescribeInstance", `{}`, "InvalidParameter"},
			{"GET", endpoints, "ListVpcEndpoints", "", "NotImplemented"},
			{"PATCH", "http://es.test/openapi/instances/es-cn-1/instance-settings?clientToken=t", "UpdateInstanceSettings", `{"esConfig":{}}`, ""},
			{"POST", "http://es.test/openapi/instances/es-cn-1/instance-settings?clientToken=t&updateStrategy=normal", "UpdateInstanceSettings", `{"esConfig":{}}`, ""},
		} {
			w := newWorld(t)
			_, code, reply := w.acs3(t, w.RootKey(), c.method, c.url, c.action, url.Values{"{}": {c.body}})
			require.Equal(t, c.want, code, "%v: %v", c, reply["Message"])
		}
	})
	t.Run("V1", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		_, code, _ := w.rpc(t, "POST", true, w.RootKey(), map[string]string{"MaxResults": "1"}, nil)
		require.Empty(t, code, "an SDK that sends everything as a form may send reads so")
		_, code, _ = w.rpc(t, "GET", false, w.RootKey(), map[string]string{"Version": "2022-04-29"}, nil)
		require.Equal(t, "InvalidVersion", code)
		_, code, _ = w.rpc(t, "GET", false, w.RootKey(), map[string]string{"Format": "XML"}, nil)
		require.Equal(t, "NotImplemented", code)
	})
}

func TestClientToken(t *testing.T) {
	t.Parallel()
	create := func(t *testing.T, w *world, r *nlb.CreateLoadBalancerRequest) (string, error) {
		resp, err := w.v1(t, w.RootKey()).CreateLoadBalancer(r)
		return gjson(resp.GetHttpContentBytes(), "LoadBalancerId"), err
	}
	t.Run("replayed for 24 hours", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		for range 3 {
			id, err := create(t, w, createLoadBalancer("t"))
			require.NoError(t, err)
			require.Equal(t, "nlb-1", id)
			w.clock = w.clock.Add(8*time.Hour - time.Second)
		}
		w.clock = w.clock.Add(time.Hour)
		id, err := create(t, w, createLoadBalancer("t"))
		require.NoError(t, err)
		require.Equal(t, "nlb-2", id)
	})
	t.Run("other parameters", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		_, err := create(t, w, createLoadBalancer("t"))
		require.NoError(t, err)
		other := createLoadBalancer("t")
		other.LoadBalancerName = "other"
		_, err = create(t, w, other)
		require.Equal(t, "IdempotentParameterMismatch", code(err))
		require.EqualValues(t, 1, w.effects.Load())
	})
	t.Run("a refusal is not replayed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.fail = cloud.Errorf(400, "IncorrectStatus.Vpc", "not now")
		_, err := create(t, w, createLoadBalancer("t"))
		require.Equal(t, "IncorrectStatus.Vpc", code(err))
		w.fail = nil
		id, err := create(t, w, createLoadBalancer("t"))
		require.NoError(t, err)
		require.Equal(t, "nlb-2", id)
	})
	t.Run("no token, no replay; reads neither", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		for range 2 {
			_, err := create(t, w, createLoadBalancer(""))
			require.NoError(t, err)
			get := nlb.CreateGetLoadBalancerAttributeRequest()
			get.LoadBalancerId, get.ClientToken = "nlb-1", "t"
			_, err = w.v1(t, w.RootKey()).GetLoadBalancerAttribute(get)
			require.NoError(t, err)
		}
		require.EqualValues(t, 4, w.effects.Load())
	})
	t.Run("ten at once", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		all := make(chan struct{})
		w.SetFault(func(c cloud.Call) cloud.Fault {
			if c.N == 10 {
				close(all)
			}
			return cloud.Fault{}
		})
		w.during = func() { <-all } // the first takes effect when the others have arrived
		var wg sync.WaitGroup
		ids := make([]string, 10)
		for i := range ids {
			client, r := w.v1(t, w.RootKey()), createLoadBalancer("t")
			wg.Go(func() {
				if resp, err := client.CreateLoadBalancer(r); err == nil {
					ids[i] = gjson(resp.GetHttpContentBytes(), "LoadBalancerId")
				}
			})
		}
		wg.Wait()
		require.Equal(t, slices.Repeat([]string{"nlb-1"}, 10), ids)
		require.EqualValues(t, 1, w.effects.Load())
	})
}

func TestRAM(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var policy cloud.Policy
	require.NoError(t, json.Unmarshal([]byte(`{"Version":"1","Statement":[
		{"Effect":"Allow","Action":["nlb:Create*","nlb:Delete*"],"Resource":"*"},
		{"Effect":"Allow","Action":"kms:GetSecretValue","Resource":["acs:kms:*:*:secret/eslink/a*"]},
		{"Effect":"Deny","Action":"kms:*","Resource":"acs:kms:*:*:secret/eslink/ab"},
		{"Effect":"Allow","Action":"ram:CreateServiceLinkedRole","Resource":"*","Condition":{"StringEquals":{"ram:ServiceName":["nlb.aliyuncs.com","privatelink.aliyuncs.com"]}}}
	]}`), &policy))
	require.NoError(t, w.AddRole("r", policy))
	p := cloud.Principal{AccountID: w.AccountID, Role: "r"}
	secret := func(name string) string { return "acs:kms:cn-hangzhou:1000000000000001:secret/" + name }
	require.Nil(t, w.Authorize(p, "kms:GetSecretValue", secret("eslink/aa")))
	require.NotNil(t, w.Authorize(p, "kms:GetSecretValue", secret("eslink/b")), "not granted")
	require.NotNil(t, w.Authorize(p, "kms:GetSecretValue", secret("eslink/ab")), "denied")
	require.NotNil(t, w.Authorize(cloud.Principal{AccountID: "2"}, "nlb:CreateX", "*"), "another account's key")
	require.NotNil(t, w.Authorize(cloud.Principal{AccountID: w.AccountID, Role: "s"}, "nlb:CreateX", "*"), "no such role")
	require.NotNil(t, w.Authorize(p, "ram:CreateServiceLinkedRole", "*"), "condition without its attribute")
	require.NotNil(t, w.Authorize(p, "ram:CreateServiceLinkedRole", "*", cloud.Attribute{Key: "ram:ServiceName", Value: "ecs.aliyuncs.com"}))
	require.Nil(t, w.Authorize(p, "ram:CreateServiceLinkedRole", "*", cloud.Attribute{Key: "ram:ServiceName", Value: "nlb.aliyuncs.com"}))
	refused := w.Authorize(p, "nlb:ListLoadBalancers", "*")
	require.Equal(t, 403, refused.Status)
	require.Equal(t, "Forbidden.RAM", refused.Code)
	client := w.v1(t, w.AssumeRole("r", w.Now()))
	_, err := client.CreateLoadBalancer(createLoadBalancer(""))
	require.NoError(t, err)
	_, err = client.ListLoadBalancers(nlb.CreateListLoadBalancersRequest())
	require.Equal(t, "Forbidden.RAM", code(err))

	require.Contains(t, w.Refusals(), cloud.Refusal{Role: "r", Action: "nlb:ListLoadBalancers", Resource: "acs:nlb:cn-hangzhou:1000000000000001:*"})
	used := map[string]int{}
	for _, g := range w.Grants() {
		used[g.Action] = g.Used
	}
	require.Equal(t, map[string]int{"nlb:Create*": 1, "nlb:Delete*": 0, "kms:GetSecretValue": 1, "ram:CreateServiceLinkedRole": 1}, used, "granted in vain: nlb:Delete*")

	for _, bad := range []string{
		`{"Version":"1","Statement":[{"Effect":"allow","Action":"*","Resource":"*"}]}`,
		`{"Version":"1","Statement":[{"Effect":"Allow","Action":"*"}]}`,
		`{"Version":"2","Statement":[]}`,
		`{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"acs:SourceIp":"10.0.0.0/8"}}}]}`,
	} {
		var p cloud.Policy
		require.NoError(t, json.Unmarshal([]byte(bad), &p))
		require.Error(t, w.AddRole("bad", p), bad)
	}
	require.Panics(t, func() { w.AssumeRole("nobody", w.Now()) })
}

func TestFaults(t *testing.T) {
	t.Parallel()
	t.Run("throttled before, reply lost after", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		var seen []cloud.Call
		w.SetFault(func(c cloud.Call) cloud.Fault {
			seen = append(seen, c)
			switch c.N {
			case 1:
				return cloud.Fault{Before: cloud.Errorf(503, "Throttling.User", "slow down"), LoseReply: true}
			case 2:
				return cloud.Fault{LoseReply: true}
			}
			return cloud.Fault{}
		})
		client := w.v1(t, w.RootKey())
		_, err := client.CreateLoadBalancer(createLoadBalancer("t"))
		require.Equal(t, "Throttling.User", code(err))
		require.Zero(t, w.effects.Load())
		_, err = client.CreateLoadBalancer(createLoadBalancer("t"))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.EqualValues(t, 1, w.effects.Load())
		_, err = client.CreateLoadBalancer(createLoadBalancer("t"))
		require.NoError(t, err)
		require.EqualValues(t, 1, w.effects.Load())
		require.Equal(t, "CreateLoadBalancer", seen[2].Action)
		require.Equal(t, "vpc-1", seen[2].Params["VpcId"])
		log := w.Exchanges()
		require.Equal(t, []int{503, 0, 200}, []int{log[0].Status, log[1].Status, log[2].Status})
	})
	t.Run("delayed, in a bubble", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.SetFault(func(cloud.Call) cloud.Fault { return cloud.Fault{Delay: time.Minute} })
			start := time.Now()
			_, err := w.v1(t, w.RootKey()).CreateLoadBalancer(createLoadBalancer("t"))
			require.Error(t, err, "the SDK's own timeout is shorter")
			require.Zero(t, w.effects.Load(), "a caller that hung up has changed nothing")
			require.Less(t, time.Since(start), time.Minute)
		})
	})
}

func TestLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.AddRole("r", allow("*")))
	c := w.AssumeRole("r", w.Now())
	w.Hide(`canary "quoted" & more`)
	r := createLoadBalancer("token-that-stays")
	r.LoadBalancerName = `a canary "quoted" & more b`
	_, err := w.v1(t, c).CreateLoadBalancer(r)
	require.NoError(t, err)
	_, code, _ := w.acs3(t, c, "POST", "http://es.test/openapi/instances/es-cn-1/instance-settings", "UpdateInstanceSettings",
		url.Values{"{}": {`{"esConfig":{"a.bind_password":"canary1","b":1.10},"x":["canary \"quoted\" & more"]}`}})
	require.Empty(t, code)
	_, code, _ = w.acs3(t, w.RootKey(), "POST", "http://nlb.test/", "ListLoadBalancers", nil, func(r *http.Request) { r.Header.Del("Authorization") })
	require.Equal(t, "MissingAccessKeyId", code)
	log := w.Exchanges()
	require.Len(t, log, 3)
	require.Equal(t, "nlb CreateLoadBalancer true", fmt.Sprint(log[0].Product, " ", log[0].Action, " ", log[0].Write))
	require.Equal(t, "r", log[0].Caller.Role)
	require.Contains(t, log[1].ReqBody, `"b":1.10`)
	require.Equal(t, 400, log[2].Status)

	var har bytes.Buffer
	require.NoError(t, cloud.WriteHAR(&har, log))
	for _, s := range []string{c.AccessKeySecret, c.SecurityToken, c.AccessKeyID, "canary", url.QueryEscape(`canary "quoted"`)} {
		require.NotContains(t, har.String(), s)
	}
	require.Contains(t, har.String(), "token-that-stays")
	var archive struct {
		Log struct {
			Version string
			Entries []struct {
				StartedDateTime time.Time
				Request         struct {
					Method, URL string
					QueryString []struct{ Name, Value string }
					PostData    struct{ MimeType, Text string }
				}
				Response struct {
					Status  int
					Content struct{ MimeType, Text string }
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal(har.Bytes(), &archive))
	require.Equal(t, "1.2", archive.Log.Version)
	first := archive.Log.Entries[0]
	require.Equal(t, w.clock, first.StartedDateTime)
	require.Contains(t, first.Request.PostData.Text, "ZoneMappings.1.ZoneId=cn-hangzhou-i")
	require.JSONEq(t, string(mustJSON(map[string]any{"LoadBalancerId": "nlb-1", "RequestId": gjson([]byte(first.Response.Content.Text), "RequestId")})), first.Response.Content.Text)
}

func TestSeed(t *testing.T) {
	t.Parallel()
	draw := func(seed uint64) string {
		a := cloud.New(cloud.Config{Seed: seed})
		d := a.Between(time.Second, time.Minute)
		require.GreaterOrEqual(t, d, time.Second)
		require.LessOrEqual(t, d, time.Minute)
		return fmt.Sprint(d, a.NewID("nlb-", 10), a.Between(5, 5))
	}
	require.Equal(t, draw(1), draw(1))
	require.NotEqual(t, draw(1), draw(2))
	require.Regexp(t, `nlb-[0-9a-z]{10}`, draw(1))
}

func TestUnknownOperationPanics(t *testing.T) {
	t.Parallel()
	a := cloud.New(cloud.Config{})
	for _, f := range []func(){
		func() { a.RPC("nlb", "2022-04-30", map[string]cloud.Op{"CreateLoadbalancer": nil}) },
		func() { a.RPC("nlb", "2020-01-01", nil) },
		func() { a.RPC("oss", "2022-04-30", nil) },
		func() { a.RPC("elasticsearch", "2017-06-13", map[string]cloud.Op{"DescribeInstance": nil}) },
	} {
		require.Panics(t, f)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func allow(action string) cloud.Policy {
	return cloud.Policy{Version: "1", Statement: []cloud.Statement{{Effect: "Allow", Action: cloud.Strings{action}, Resource: cloud.Strings{"*"}}}}
}

func gjson(body []byte, name string) string {
	var m map[string]any
	if json.Unmarshal(body, &m) != nil {
		return ""
	}
	s, _ := m[name].(string)
	return s
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func clientConfig() *sdk.Config { return sdk.NewConfig().WithScheme("HTTP").WithAutoRetry(false) }
