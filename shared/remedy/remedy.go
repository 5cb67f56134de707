// Package remedy turns a cloud's refusals that a person can do something about
// into problems that say what: quotas, stock, debts, products that are not
// activated, protections, rights. It acts on error codes alone.
//
// Alibaba Cloud's products spell the same reason in many ways, and document few:
// the patterns are those of their error centres (api.alibabacloud.com/error) and
// of what Terraform's provider tells apart.
package remedy

import (
	"errors"
	"fmt"
	"strings"

	"eslink/events"
	"eslink/shared/apierr"
)

// A Kind is a reason for a refusal.
type Kind struct {
	Name   string // of the problem
	Title  string
	Field  string // of the spec, if one bears on it
	Remedy string
	// parts are what codes of this kind contain, in lower case.
	parts []string
}

// Kinds are all that are told apart, the more particular first.
var kinds = []Kind{
	{"arrears", "the account owes money or its balance is too low", "", "pay what the account owes, or charge its balance, then send retry",
		[]string{"arrear", "notenoughbalance", "overdue", "indebt", "insufficientbalance", "financial"}},
	{"not-activated", "a product is not activated in this account", "", "activate the product that the message names in its console, as the account's owner, then send retry",
		[]string{"notactivated", "notopen", "notenabled.service", "servicenotenabled", "notsubscribed", "notpurchased"}},
	{"linked-role", "a product's service-linked role is missing", "", "have somebody with ram:CreateServiceLinkedRole create the first such resource in the console, then send retry",
		[]string{"servicelinkedrole", "slrnopermission"}},
	{"real-name", "the account is not verified", "", "complete the account's real-name verification in the console, then send retry",
		[]string{"realname"}},
	{"sold-out", "the zone has none left of what is needed", "zone", "name another zone in zone, or send retry later",
		[]string{"nostock", "soldout", "resourcenotenough", "insufficientresource", "insufficientcapacity", "outofstock", "resourceinsufficient"}},
	{"quota", "a quota of the account is used up", "", "raise the quota that the message names in the account's Quota Center, or delete what is not needed, then send retry",
		[]string{"quota", "exceedlimit", "limitexceed", "exceededlimit", "toomany", "amountreached"}},
	{"protected", "a resource is protected from deletion or change", "", "switch off that protection in the resource's console, then send retry; eslink sets none",
		[]string{"deletionprotection", "deleteprotection", "modificationprotection", "deletionprotected"}},
	{"risk-control", "the account is restricted by risk control", "", "ask Alibaba Cloud's support to lift the restriction, then send retry",
		[]string{"riskcontrol"}},
	{"no-permission", "the function's role lacks a right", "", "deploy again, so that the role has the rights of this version, then send retry; a policy of the account may deny it, too",
		[]string{"forbidden.ram", "nopermission", "unauthorized", "accessdenied", "forbidden.notauthorized"}},
}

// Kinds lists all kinds.
func Kinds() []Kind { return append([]Kind(nil), kinds...) }

// Of returns the problem that a refusal is, or nil if it is of no kind. The error's
// own words, with the request's ID, are the finding's message.
func Of(err error) *events.Problem {
	var e *apierr.Error
	if !errors.As(err, &e) || e.Class == apierr.Retry || e.Class == apierr.NotFound {
		return nil
	}
	code := strings.ToLower(e.Code)
	for _, k := range kinds {
		for _, part := range k.parts {
			if strings.Contains(code, part) {
				return events.NewProblem(409, k.Name, k.Title, events.Finding{Field: k.Field, Message: fmt.Sprint(err), Remedy: k.Remedy})
			}
		}
	}
	return nil
}
