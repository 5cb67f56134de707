package privatelink

import (
	"context"
	"fmt"

	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/privatelink"

	"eslink/shared/aliyun"
)

// Activated reports whether the account has activated PrivateLink;
// CheckProductOpen.
func (c *Client) Activated(ctx context.Context) (bool, error) {
	out, err := aliyun.Call[struct{ Success bool }](ctx, c.c, product, sdk.CreateCheckProductOpenRequest(), codes)
	if err != nil {
		return false, fmt.Errorf("ask whether PrivateLink is activated: %w", err)
	}
	return out.Success, nil
}

// Zones lists the zones where a service can stand on resources of a type (nlb
// or slb); DescribeZones.
func (c *Client) Zones(ctx context.Context, resourceType string) ([]string, error) {
	req := sdk.CreateDescribeZonesRequest()
	req.ServiceResourceType = resourceType
	out, err := aliyun.Call[struct {
		Zones struct{ Zone []Resource }
	}](ctx, c.c, product, req, codes)
	if err != nil {
		return nil, fmt.Errorf("list the zones that have PrivateLink for %s: %w", resourceType, err)
	}
	var ids []string
	for _, z := range out.Zones.Zone {
		ids = append(ids, z.Zone)
	}
	return ids, nil
}
