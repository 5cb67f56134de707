package azure

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/aws/smithy-go"

	"eslink/shared/apierr"
)

// Codes that steps act on.
const (
	// NotResolvedYet is how Resource Manager says that it does not know the alias of
	// a private link service, for a while also of one that exists.
	NotResolvedYet = "InvalidPrivateLinkServiceId"
	// NameBlocked is a private endpoint's name that a deleted one still occupies, for
	// up to 20 minutes.
	NameBlocked = "PrivateEndpointAlreadyExists"
	// AuthorizationFailed names the right that the principal lacks.
	AuthorizationFailed = "AuthorizationFailed"
)

// classes tells what Resource Manager's error codes mean. Source: "Common Azure
// deployment errors" and "Troubleshoot Azure Private Endpoint" of Microsoft Learn;
// the SDK's models name none. A code that is not here goes by the HTTP status.
var classes = map[string]apierr.Class{
	"AnotherOperationInProgress":                    apierr.Conflict, // one write a virtual network
	"CannotDeleteResource":                          apierr.Conflict, // a zone that has links still
	"Conflict":                                      apierr.Conflict,
	"ExpiredAuthenticationToken":                    apierr.Retry,
	"GatewayTimeout":                                apierr.Retry,
	"InternalServerError":                           apierr.Retry,
	NotResolvedYet:                                  apierr.Retry,
	NameBlocked:                                     apierr.Conflict,
	"NotFound":                                      apierr.NotFound,
	"OperationNotAllowed":                           apierr.Fatal, // a machine that is stopped
	"ParentResourceNotFound":                        apierr.NotFound,
	"PreconditionFailed":                            apierr.Conflict,
	"ReferencedResourceNotProvisioned":              apierr.Retry,
	"ResourceGroupNotFound":                         apierr.NotFound,
	"ResourceNotFound":                              apierr.NotFound,
	"RetryableError":                                apierr.Retry,
	"RetryableErrorDueToAnotherOperation":           apierr.Retry,
	"ServerTimeout":                                 apierr.Retry,
	"SubscriptionRequestsThrottled":                 apierr.Retry,
	"TooManyRequests":                               apierr.Retry,
	"OperationNotAllowedOnVirtualNetworkLinkUpdate": apierr.Conflict,
}

func class(code string, status int) apierr.Class {
	if c, ok := classes[code]; ok {
		return c
	}
	if status == http.StatusNotFound {
		return apierr.NotFound
	}
	return apierr.ByStatus(status)
}

// Wrap classifies an error of the SDK and names the operation that it stopped; nil
// stays nil. A call without a reply is classified as Retry: its effect is unknown,
// and every write here is a PUT or DELETE by name.
func Wrap(product, operation string, err error) error {
	if err == nil {
		return nil
	}
	return &smithy.OperationError{ServiceID: product, OperationName: operation, Err: classify(err)}
}

func classify(err error) error {
	var reply *azcore.ResponseError
	if errors.As(err, &reply) {
		e := &apierr.Error{Class: class(reply.ErrorCode, reply.StatusCode), Code: reply.ErrorCode, Status: reply.StatusCode}
		if reply.RawResponse != nil {
			e.Message = message(reply.RawResponse)
			e.RequestID = reply.RawResponse.Header.Get("x-ms-correlation-request-id")
			e.RetryAfter = RetryAfter(reply.RawResponse)
		}
		return e
	}
	var login *azidentity.AuthenticationFailedError
	if errors.As(err, &login) {
		return refusedLogin(login)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner // the outer ones have the URL, which may be signed
	}
	return &apierr.Error{Class: apierr.Retry, Message: err.Error()}
}

// message is the sentence of a reply in Resource Manager's form, cut: it is the
// service's, and may be long.
func message(resp *http.Response) string {
	body, err := runtime.Payload(resp)
	if err != nil {
		return ""
	}
	var reply struct {
		Error struct {
			Message string
			Details []struct{ Code, Message string }
		}
	}
	if json.Unmarshal(body, &reply) != nil {
		return ""
	}
	m := reply.Error.Message
	if len(reply.Error.Details) > 0 {
		m += " (" + reply.Error.Details[0].Code + ")"
	}
	if len(m) > 500 {
		m = m[:500] + "…"
	}
	return m
}

// logins tells what Entra's error numbers mean to a person. Source: Microsoft
// Learn, "Microsoft Entra authentication and authorization error codes".
var logins = map[int]string{
	7000215: "the client secret is wrong: put the secret's value, not its ID, into clientSecret",
	7000222: "the client secret has expired: make a new one in the app registration",
	700016:  "the tenant has no application of this clientId",
	90002:   "there is no such tenant: check tenantId",
}

// refusedLogin keeps of Entra's reply its number alone: the text may repeat what was
// sent.
func refusedLogin(err *azidentity.AuthenticationFailedError) error {
	if err.RawResponse == nil {
		return &apierr.Error{Class: apierr.Retry, Message: "Microsoft Entra does not answer"}
	}
	status := err.RawResponse.StatusCode
	e := &apierr.Error{Class: apierr.ByStatus(status), Code: "LoginRefused", Status: status, Message: "Microsoft Entra refuses the login", RetryAfter: RetryAfter(err.RawResponse)}
	body, readErr := runtime.Payload(err.RawResponse)
	var reply struct {
		Numbers []int `json:"error_codes"`
	}
	if readErr == nil && json.Unmarshal(body, &reply) == nil && len(reply.Numbers) > 0 {
		e.Code = "AADSTS" + strconv.Itoa(reply.Numbers[0])
		if m, ok := logins[reply.Numbers[0]]; ok {
			e.Message = m
		}
	}
	return e
}

// IsLogin reports whether err is a refused login, and what to do about it.
func IsLogin(err error) (remedy string, refused bool) {
	var e *apierr.Error
	if !errors.As(err, &e) || len(e.Code) < 6 || e.Code[:6] != "AADSTS" && e.Code != "LoginRefused" {
		return "", false
	}
	return e.Message, true
}

// RetryAfter is the pause that a reply asks for, 0 if none: seconds, or
// milliseconds in Azure's own headers.
func RetryAfter(resp *http.Response) time.Duration {
	for header, unit := range map[string]time.Duration{"retry-after-ms": time.Millisecond, "x-ms-retry-after-ms": time.Millisecond, "Retry-After": time.Second} {
		if n, err := strconv.Atoi(resp.Header.Get(header)); err == nil && n > 0 {
			return time.Duration(n) * unit
		}
	}
	return 0
}
