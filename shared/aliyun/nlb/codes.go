package nlb

import (
	"eslink/shared/aliyun"
	"eslink/shared/apierr"
)

// codes are those of the API's error tables and of what Terraform's provider
// and the cloud controller manager retry or take for "gone". The documents
// spell the kinds after the dot in several ways, hence whole families.
var codes = aliyun.Codes{
	"IncorrectStatus.*":                       apierr.Conflict,
	"Conflict.*":                              apierr.Conflict,
	"Conflict":                                apierr.Conflict,
	"ResourceInConfiguring.*":                 apierr.Conflict,
	"ResourceInCreating.*":                    apierr.Conflict,
	"OperationFailed.ResourceIsConfiguring":   apierr.Conflict,
	"OperationDenied.LastOperationInProgress": apierr.Conflict,
	// What uses it may be on its way out.
	"ResourceInUse.*":    apierr.Conflict,
	"ResourceNotFound.*": apierr.NotFound,
}
