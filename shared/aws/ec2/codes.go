package ec2

import (
	"eslink/shared/apierr"
	"eslink/shared/aws"
)

// codes are those of the EC2 API's error list, and of what Terraform's provider
// waits for or takes for "gone".
var codes = aws.Codes{
	"InvalidVpcEndpointId.NotFound":      apierr.NotFound,
	"InvalidVpcEndpoint.NotFound":        apierr.NotFound,
	"InvalidGroup.NotFound":              apierr.NotFound,
	"InvalidGroupId.Malformed":           apierr.Fatal,
	"InvalidVpcID.NotFound":              apierr.NotFound,
	"InvalidSubnetID.NotFound":           apierr.NotFound,
	"InvalidInstanceID.NotFound":         apierr.NotFound,
	"InvalidNetworkInterfaceID.NotFound": apierr.NotFound,
	"InvalidPermission.NotFound":         apierr.NotFound,
	"InvalidServiceName":                 apierr.NotFound,
	// Something uses it still, or is on its way out.
	"DependencyViolation":         apierr.Conflict,
	"IncorrectState":              apierr.Conflict,
	"IncorrectStateException":     apierr.Conflict,
	"OperationInProgress":         apierr.Conflict,
	"ConcurrentAccess":            apierr.Conflict,
	"RequestLimitExceeded":        apierr.Retry,
	"Client.RequestLimitExceeded": apierr.Retry,
}

// Codes that steps act on.
const (
	Duplicate       = "InvalidPermission.Duplicate"
	GroupDuplicate  = "InvalidGroup.Duplicate"
	InvalidService  = "InvalidServiceName"
	Unauthorized    = "UnauthorizedOperation"
	TokenMismatch   = "IdempotentParameterMismatch"
	InvalidArgument = "InvalidParameter"
)
