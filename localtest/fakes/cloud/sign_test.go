package cloud

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The examples that Alibaba Cloud publishes with its descriptions of the two signatures.
func TestPublishedSignatures(t *testing.T) {
	t.Parallel()
	account := func(c Credentials, at time.Time) *Account {
		a := New(Config{Region: "cn-hangzhou", AccountID: "1", SignNow: func() time.Time { return at }})
		a.keys[c.AccessKeyID] = key{Credentials: c, principal: Principal{AccountID: "1"}}
		return a
	}
	t.Run("V1 RPC", func(t *testing.T) {
		t.Parallel()
		a := account(Credentials{AccessKeyID: "testid", AccessKeySecret: "testsecret"}, time.Date(2016, 2, 23, 12, 46, 24, 0, time.UTC))
		query := "Format=XML&AccessKeyId=testid&Action=DescribeRegions&SignatureMethod=HMAC-SHA1&SignatureNonce=3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf" +
			"&Version=2014-05-26&SignatureVersion=1.0&Timestamp=2016-02-23T12%3A46%3A24Z&Signature=OLeaidS1JvxuMvnyHOwuJ%2BuX5qY%3D"
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		_, refusal := a.authenticate(&message{Request: httptest.NewRequest("GET", "/?"+query, nil), query: values}, false)
		require.Nil(t, refusal)
	})
	t.Run("ACS3", func(t *testing.T) {
		t.Parallel()
		a := account(Credentials{AccessKeyID: "YourAccessKeyId", AccessKeySecret: "YourAccessKeySecret"}, time.Date(2023, 10, 26, 10, 22, 32, 0, time.UTC))
		r := httptest.NewRequest("POST", "http://ecs.cn-shanghai.aliyuncs.com/?ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai", nil)
		r.Header = http.Header{
			"X-Acs-Action": {"RunInstances"}, "X-Acs-Version": {"2014-05-26"}, "X-Acs-Date": {"2023-10-26T10:22:32Z"},
			"X-Acs-Signature-Nonce": {"3156853299f313e23d1673dc12e1703d"},
			"X-Acs-Content-Sha256":  {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
			"Authorization": {"ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version," +
				"Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"},
		}
		_, refusal := a.authenticate(&message{Request: r, query: r.URL.Query()}, false)
		require.Nil(t, refusal)
	})
}

func TestRAMWildcards(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"*", "nlb:X", true}, {"nlb:*", "nlb:X", true}, {"nlb:*", "slb:X", false}, {"nlb:List*s", "nlb:ListLoadBalancers", true},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"abc", "ab", false}, {"ab", "abc", false}, {"*a*b", "xaxb", true}, {"*a*b", "xaxbx", false}, {"a**", "a", true},
	} {
		require.Equal(t, c.want, matches(c.pattern, c.s), "%s on %s", c.pattern, c.s)
	}
}
