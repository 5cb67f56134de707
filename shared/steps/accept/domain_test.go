package accept

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestDomainHasNoZone(t *testing.T) {
	t.Parallel()
	const want = "ep-bp1abc.epsrv-bp1xyz.cn-hangzhou.privatelink.aliyuncs.com"
	for _, reported := range []string{
		"", // not told yet
		want,
		"ep-bp1abc-cn-hangzhou-i.epsrv-bp1xyz.cn-hangzhou.privatelink.aliyuncs.com",
		"ep-bp1abc-cn-hangzhou-j.epsrv-bp1xyz.cn-hangzhou.privatelink.aliyuncs.com",
	} {
		got, err := domainOf("ep-bp1abc", "epsrv-bp1xyz", "cn-hangzhou", reported)
		require.NoError(t, err, reported)
		require.Equal(t, want, got)
	}
}

func TestDomainOfAnotherFormIsRefused(t *testing.T) {
	t.Parallel()
	for _, reported := range []string{
		"ep-other.epsrv-bp1xyz.cn-hangzhou.privatelink.aliyuncs.com",
		"ep-bp1abcd.epsrv-bp1xyz.cn-hangzhou.privatelink.aliyuncs.com",
		"ep-bp1abc-x.epsrv-bp1xyz.cn-hangzhou.privatelink.aliyuncs.com",
		"ep-bp1abc.epsrv-other.cn-hangzhou.privatelink.aliyuncs.com",
		"ep-bp1abc.epsrv-bp1xyz.cn-beijing.privatelink.aliyuncs.com",
		"ep-bp1abc.epsrv-bp1xyz.cn-hangzhou.privatelink.example.com",
		"ep-bp1abc.epsrv-bp1xyz.cn-hangzhou.privatelink.aliyuncs.com:9200,*:9200",
		"*",
	} {
		_, err := domainOf("ep-bp1abc", "epsrv-bp1xyz", "cn-hangzhou", reported)
		require.Error(t, err, reported)
	}
	for _, id := range []string{"", "ep-*", "ep-a.b", "ep-a\n", "EP-A"} {
		_, err := domainOf(id, "epsrv-bp1xyz", "cn-hangzhou", "")
		require.Error(t, err, id)
	}
}

func TestWhateverIsReportedTheDomainIsBuiltFromTheIDs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ep, srv := rapid.StringMatching(`ep-[0-9a-z]{1,20}`).Draw(t, "ep"), rapid.StringMatching(`epsrv-[0-9a-z]{1,20}`).Draw(t, "srv")
		region := rapid.SampledFrom([]string{"cn-hangzhou", "cn-shanghai", "ap-southeast-1"}).Draw(t, "region")
		want := ep + "." + srv + "." + region + ".privatelink.aliyuncs.com"
		got, err := domainOf(ep, srv, region, rapid.OneOf(rapid.String(), rapid.Just(want)).Draw(t, "reported"))
		if err == nil && got != want {
			t.Fatalf("%s is not %s", got, want)
		}
	})
}
