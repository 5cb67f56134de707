package vpc_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdkvpc "github.com/aliyun/alibaba-cloud-sdk-go/services/vpc"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/vpc"
)

func world(t *testing.T) (*vpc.Networks, *sdkvpc.Client) {
	a := cloud.New(cloud.Config{Region: "cn-hangzhou", AccountID: "1"})
	n := vpc.New(a)
	require.NoError(t, n.AddVPC(vpc.VPC{ID: "vpc-1", CIDR: "10.0.0.0/8"}))
	require.NoError(t, n.AddVPC(vpc.VPC{ID: "vpc-2", CIDR: "10.0.0.0/8"}))
	for i := range 12 {
		require.NoError(t, n.AddVSwitch(vpc.VSwitch{ID: fmt.Sprint("vsw-", i), VpcID: "vpc-1", ZoneID: "cn-hangzhou-" + string("ij"[i%2]), CIDR: fmt.Sprintf("10.0.%d.0/29", i)}))
	}
	require.NoError(t, n.AddVSwitch(vpc.VSwitch{ID: "vsw-x", VpcID: "vpc-2", ZoneID: "cn-hangzhou-i", CIDR: "10.0.0.0/24"}))
	client := &sdkvpc.Client{} // the SDK's own constructors race on a global
	require.NoError(t, client.InitWithAccessKey("cn-hangzhou", a.RootKey().AccessKeyID, a.RootKey().AccessKeySecret))
	client.Domain = "vpc.test"
	client.SetTransport(cloud.Transport(func(string) http.Handler { return n }))
	return n, client
}

func TestReads(t *testing.T) {
	t.Parallel()
	_, client := world(t)
	vpcs := sdkvpc.CreateDescribeVpcsRequest()
	vpcs.VpcId = "vpc-1,vpc-2"
	found, err := client.DescribeVpcs(vpcs)
	require.NoError(t, err)
	require.Equal(t, 2, found.TotalCount)
	require.Equal(t, []string{"vsw-x"}, found.Vpcs.Vpc[1].VSwitchIds.VSwitchId)

	var ids []string
	for page := 1; page <= 3; page++ {
		r := sdkvpc.CreateDescribeVSwitchesRequest()
		r.VpcId, r.PageNumber, r.PageSize = "vpc-1", requests.NewInteger(page), requests.NewInteger(5)
		got, err := client.DescribeVSwitches(r)
		require.NoError(t, err)
		require.Equal(t, 12, got.TotalCount)
		for _, v := range got.VSwitches.VSwitch {
			ids = append(ids, v.VSwitchId)
		}
	}
	require.Len(t, ids, 12)
	require.Equal(t, "vsw-11", ids[11])
	zone := sdkvpc.CreateDescribeVSwitchesRequest()
	zone.VpcId, zone.ZoneId = "vpc-1", "cn-hangzhou-j"
	got, err := client.DescribeVSwitches(zone)
	require.NoError(t, err)
	require.Equal(t, 6, got.TotalCount)

	for _, bad := range []struct{ page, size, want string }{{"0", "", "InvalidParameter"}, {"", "51", "InvalidParameter"}, {"x", "", "InvalidParameter"}} {
		r := sdkvpc.CreateDescribeVSwitchesRequest()
		r.PageNumber, r.PageSize = requests.Integer(bad.page), requests.Integer(bad.size)
		_, err := client.DescribeVSwitches(r)
		require.ErrorContains(t, err, bad.want)
	}
	unheard := sdkvpc.CreateDescribeVSwitchesRequest()
	unheard.IsDefault = "true"
	_, err = client.DescribeVSwitches(unheard)
	require.ErrorContains(t, err, "NotImplemented", "a filter that is not honoured is refused")
	gone := sdkvpc.CreateDescribeVSwitchAttributesRequest()
	gone.VSwitchId = "vsw-none"
	_, err = client.DescribeVSwitchAttributes(gone)
	require.ErrorContains(t, err, "InvalidVSwitchId.NotFound")
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	n, client := world(t)
	available := func() int64 {
		r := sdkvpc.CreateDescribeVSwitchAttributesRequest()
		r.VSwitchId = "vsw-3"
		got, err := client.DescribeVSwitchAttributes(r)
		require.NoError(t, err)
		return got.AvailableIpAddressCount
	}
	require.EqualValues(t, 4, available())
	for i := range 4 {
		require.Equal(t, fmt.Sprint("10.0.3.", i+1), n.TakeIP("vsw-3").String())
	}
	require.Zero(t, available())
	require.False(t, n.TakeIP("vsw-3").IsValid(), "full")
	require.False(t, n.TakeIP("vsw-none").IsValid())
	n.FreeIP("vsw-3", netip.MustParseAddr("10.0.3.2"))
	require.EqualValues(t, 1, available())
	require.Equal(t, "10.0.3.2", n.TakeIP("vsw-3").String())
}

func TestRefusedNetworks(t *testing.T) {
	t.Parallel()
	n, _ := world(t)
	for _, v := range []vpc.VPC{{ID: "vpc-1", CIDR: "192.168.0.0/16"}, {ID: "vpc-3", CIDR: "192.168.0.1/16"}, {ID: "vpc-3", CIDR: "fd00::/64"}, {ID: "vpc-3"}} {
		require.Error(t, n.AddVPC(v), v)
	}
	for _, v := range []vpc.VSwitch{
		{ID: "vsw-1", VpcID: "vpc-2", CIDR: "10.9.0.0/24"}, {ID: "vsw-n", VpcID: "vpc-9", CIDR: "10.9.0.0/24"}, {ID: "vsw-n", VpcID: "vpc-1", CIDR: "192.168.0.0/24"},
		{ID: "vsw-n", VpcID: "vpc-1", CIDR: "10.0.0.0/24"}, {ID: "vsw-n", VpcID: "vpc-1", CIDR: "10.9.0.0/30"}, {ID: "vsw-n", VpcID: "vpc-1", CIDR: "10.0.0.0/8"},
	} {
		require.Error(t, n.AddVSwitch(v), v)
	}
	got, ok := n.VSwitch("vsw-x")
	require.True(t, ok)
	require.Equal(t, []vpc.VSwitch{got}, n.VSwitches("vpc-2"))
	_, ok = n.VSwitch("vsw-n")
	require.False(t, ok)
	_, ok = n.VPC("vpc-2")
	require.True(t, ok)
}
