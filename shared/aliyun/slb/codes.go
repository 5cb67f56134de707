package slb

import (
	"errors"
	"maps"
	"strings"

	"eslink/shared/aliyun"
	"eslink/shared/apierr"
)

// codes are what Terraform's provider treats as "busy", "in use" and "gone":
// the API's own tables name few.
var codes = aliyun.Codes{
	"OperationBusy":             apierr.Conflict,
	"ServiceIsConfiguring":      apierr.Conflict,
	"ServiceIsStopping":         apierr.Conflict,
	"BackendServer.configuring": apierr.Conflict,
	"VServerGroupProcessing":    apierr.Conflict,
	"ObtainIpFail":              apierr.Conflict,
	// An earlier request with the same token is still being carried out.
	"OperationFailed.TokenIsProcessing": apierr.Conflict,
	// What uses it may be on its way out.
	"RspoolVipExist": apierr.Conflict,
	// Somebody was faster: it is looked at again.
	"ListenerAlreadyExists":          apierr.Conflict,
	"InvalidLoadBalancerId.NotFound": apierr.NotFound,
}

// named are the codes of a call that names a listener or server group and says
// nothing else: there, an invalid parameter is one that does not exist.
var named = with(aliyun.Codes{"InvalidParameter": apierr.NotFound})

func with(more aliyun.Codes) aliyun.Codes {
	all := maps.Clone(codes)
	maps.Copy(all, more)
	return all
}

// NotOffered reports whether a creation may have been refused for the way in
// which it is to be paid. No document names that code, so these are the families
// of a parameter that is not accepted: if it was for another one, the same
// request with another way of paying is refused as well.
func NotOffered(err error) bool {
	var e *apierr.Error
	if !errors.As(err, &e) {
		return false
	}
	family, _, _ := strings.Cut(e.Code, ".")
	switch family {
	case "InvalidParameter", "UnsupportedOperation", "OperationUnsupported":
		return true
	}
	return false
}
