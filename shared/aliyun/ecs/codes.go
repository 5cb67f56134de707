package ecs

import (
	"eslink/shared/aliyun"
	"eslink/shared/apierr"
)

// codes are those of the API's error tables for the operations used here.
var codes = aliyun.Codes{
	"InvalidSecurityGroupId.NotFound":       apierr.NotFound,
	"InvalidSecurityGroupRule.RuleNotExist": apierr.NotFound,
	"InvalidSecurityGroupRuleId.NotFound":   apierr.NotFound,
	// The group is being changed by somebody else.
	"InvalidOperation.ResourceConflict": apierr.Conflict,
	"Conflict.*":                        apierr.Conflict,
}
