package privatelink

import (
	"eslink/shared/aliyun"
	"eslink/shared/apierr"
)

// codes are those that Terraform's provider retries or takes for "gone"
// (resource_alicloud_privatelink_*.go).
var codes = aliyun.Codes{
	"ConcurrentCallNotSupported":        apierr.Conflict,
	"EndpointServiceOperationDenied":    apierr.Conflict,
	"EndpointServiceLocked":             apierr.Conflict,
	"EndpointConnectionOperationDenied": apierr.Conflict,
	"EndpointLocked":                    apierr.Conflict,
	"EndpointOperationDenied":           apierr.Conflict,
	// An endpoint is still there: its deletion may be under way.
	"EndpointServiceConnectionDependence": apierr.Conflict,
	"EndpointServiceDependenceViolation":  apierr.Conflict, // so may a resource's
	"EndpointServiceNotFound":             apierr.NotFound,
	"EndpointServiceResourceNotFound":     apierr.NotFound,
	"EndpointNotFound":                    apierr.NotFound,
	"EndpointZoneNotFound":                apierr.NotFound,
	"EndpointConnectionNotFound":          apierr.NotFound,
}
