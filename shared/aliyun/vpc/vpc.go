// Package vpc reads the networks that clusters, load balancers and functions
// stand in: Alibaba Cloud VPC, API version 2016-04-28, operations
// DescribeVSwitches and DescribeVSwitchAttributes. It writes nothing. The V1
// SDK models all the fields used here. Errors are those of aliyun.Call.
package vpc

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/vpc"

	"eslink/shared/aliyun"
)

const product = "vpc"

// Client calls the API. It holds no state.
type Client struct{ c aliyun.Config }

// New returns a client.
func New(c aliyun.Config) *Client { return &Client{c} }

// VSwitch is a part of a network, in one zone.
type VSwitch struct {
	ID     string       `json:"VSwitchId"`
	VpcID  string       `json:"VpcId"`
	ZoneID string       `json:"ZoneId"`
	CIDR   netip.Prefix `json:"CidrBlock"`
	Free   int          `json:"AvailableIpAddressCount"`
	Status string       `json:"Status"` // Available, or Pending while it is being made
}

// VSwitch returns a vSwitch; DescribeVSwitchAttributes.
func (c *Client) VSwitch(ctx context.Context, id string) (VSwitch, error) {
	req := sdk.CreateDescribeVSwitchAttributesRequest()
	req.VSwitchId = id
	out, err := aliyun.Call[VSwitch](ctx, c.c, product, req, codes)
	if err != nil {
		return VSwitch{}, fmt.Errorf("get vSwitch %s: %w", id, err)
	}
	return out, nil
}

// VSwitches lists a network's vSwitches; DescribeVSwitches.
func (c *Client) VSwitches(ctx context.Context, vpcID string) ([]VSwitch, error) {
	const size = 50 // the most that the API allows
	var out []VSwitch
	for page := 1; ; page++ {
		req := sdk.CreateDescribeVSwitchesRequest()
		req.VpcId, req.PageNumber, req.PageSize = vpcID, requests.NewInteger(page), requests.NewInteger(size)
		got, err := aliyun.Call[struct{ VSwitches struct{ VSwitch []VSwitch } }](ctx, c.c, product, req, codes)
		if err != nil {
			return nil, fmt.Errorf("list vSwitches of %s: %w", vpcID, err)
		}
		out = append(out, got.VSwitches.VSwitch...)
		if len(got.VSwitches.VSwitch) < size {
			return out, nil
		}
	}
}
