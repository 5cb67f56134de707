package escluster

import (
	"eslink/shared/aliyun"
	"eslink/shared/apierr"
)

// codes are those of the API's error tables and of Terraform's provider, which
// retries the busy ones (resource_alicloud_elasticsearch_instance.go). What
// CreateVpcEndpoint and DeleteVpcEndpoint answer is documented nowhere, so their
// unknown codes go by the HTTP status.
var codes = aliyun.Codes{
	"InstanceActivating":                    apierr.Conflict,
	"InstanceStatusNotSupportCurrentAction": apierr.Conflict,
	"ConcurrencyUpdateInstanceConflict":     apierr.Conflict,
	"InstanceDuplicateScheduledTask":        apierr.Conflict,
	"TokenPreviousRequestProcessError":      apierr.Retry,
	"QPS Limit Exceeded":                    apierr.Retry,
	// An endpoint's calls end in PrivateLink, whose codes shine through.
	"EndpointOperationDenied":        apierr.Conflict,
	"EndpointLocked":                 apierr.Conflict,
	"EndpointServiceOperationDenied": apierr.Conflict,
	"EndpointServiceLocked":          apierr.Conflict,
	"InstanceNotFound":               apierr.NotFound,
	"EndpointNotFound":               apierr.NotFound,
	"NotFound":                       apierr.NotFound, // a whitelist group
}

// unchanged are the answers to a change of settings that changes nothing.
var unchanged = map[string]bool{"MustChangeOneResource": true, "CssCheckUpdowngradeError": true}
