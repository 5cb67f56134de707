package remedy_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/shared/apierr"
	"eslink/shared/remedy"
)

// Codes of the clouds' products that a person can do something about, by kind.
var codes = map[string][]string{
	"arrears":       {"InvalidAccountStatus.NotEnoughBalance", "Account.Arrearage", "OperationDenied.AccountOverdue", "InstanceInDebt", "NotEnoughBalance"},
	"not-activated": {"OperationDenied.ServiceNotOpened", "ServiceNotActivated", "UserNotOpen", "ProductNotOpened", "NotActivated.Service"},
	"linked-role":   {"OperationDenied.ServiceLinkedRoleNotExist", "SLRNoPermission"},
	"real-name":     {"RealNameAuthenticationError"},
	"sold-out":      {"OperationDenied.NoStock", "Zone.SoldOut", "ResourceNotEnough.Zone", "ResourceNotEnoughError", "InsufficientCapacity"},
	"quota":         {"QuotaExceeded", "QuotaExceeded.LoadBalancersNum", "EndpointServiceQuotaExceeded", "QuotaExceed.Endpoint", "LimitExceeded.Listener", "TooManyRules", "AclEntryExceedLimit"},
	"protected":     {"OperationDenied.DeletionProtection", "DeletionProtectionEnabled", "OperationDenied.DeleteProtectionIsOn", "OperationFailed.ModificationProtection"},
	"risk-control":  {"RiskControl", "Forbidden.RiskControl"},
	"no-permission": {"Forbidden.RAM", "NoPermission", "Forbidden.NoPermission", "UnauthorizedOperation", "AccessDenied"},
}

func TestEveryRefusalThatAPersonCanEndHasARemedy(t *testing.T) {
	t.Parallel()
	for kind, list := range codes {
		for _, code := range list {
			p := remedy.Of(fmt.Errorf("create nlb x: %w", &apierr.Error{Class: apierr.Fatal, Code: code, Message: "no", Status: 400, RequestID: "r-1"}))
			require.NotNil(t, p, code)
			require.Equal(t, "urn:eslink:problem:"+kind, p.Type, code)
			require.Equal(t, 409, p.Status)
			require.Len(t, p.Errors, 1)
			require.Contains(t, p.Errors[0].Message, "create nlb x: "+code)
			require.Contains(t, p.Errors[0].Message, "r-1")
			require.NotEmpty(t, p.Errors[0].Remedy)
		}
	}
	for _, k := range remedy.Kinds() {
		require.NotEmpty(t, codes[k.Name], "kind %s is tried with no code", k.Name)
		require.NotEmpty(t, k.Title)
	}
	require.Len(t, codes, len(remedy.Kinds()))
}

func TestWhatIsOfNoKind(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("quota"), &apierr.Error{Class: apierr.Fatal, Code: "InvalidParameter"}, &apierr.Error{Class: apierr.Fatal, Message: "quota"},
		&apierr.Error{Class: apierr.Retry, Code: "QuotaExceeded"}, &apierr.Error{Class: apierr.NotFound, Code: "Forbidden.RAM"}, nil} {
		require.Nil(t, remedy.Of(err))
	}
}
