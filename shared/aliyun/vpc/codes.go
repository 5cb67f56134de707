package vpc

import (
	"eslink/shared/aliyun"
	"eslink/shared/apierr"
)

// codes are those of the operations' error tables.
var codes = aliyun.Codes{
	"InvalidVSwitchId.NotFound": apierr.NotFound,
	"InvalidVpcId.NotFound":     apierr.NotFound,
}
