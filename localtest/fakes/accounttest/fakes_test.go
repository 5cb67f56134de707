package accounttest_test

import (
	"context"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"

	"eslink/localtest/fakes/accounttest"
	"eslink/localtest/fakes/faketest"
)

func TestFakes(t *testing.T) {
	t.Parallel()
	accounttest.Run(t, func(t *testing.T) accounttest.Account {
		w := faketest.New(t, 5)
		key := w.Account.RootKey()
		return accounttest.Account{
			Region: faketest.Region, Credentials: credentials.NewAccessKeyCredential(key.AccessKeyID, key.AccessKeySecret),
			Endpoint: func(product string) string { return product + "." + faketest.Region + ".aliyuncs.com" }, Transport: w.Transport,
			Sleep: func(ctx context.Context, d time.Duration) error { w.Advance(d); return ctx.Err() },
			Network: map[string]string{"vpc": "vpc-src", "vswitch1": "vsw-src-i", "zone1": faketest.ZoneI, "vswitch2": "vsw-src-j", "zone2": faketest.ZoneJ,
				"othervswitch": "vsw-dst-j", "host": faketest.Host, "foreign": "1000000000000009"},
		}
	}, "nlb", "slb", "privatelink")
}
