// Package aliyun is what the narrow product clients below it have in common:
// how a call reaches Alibaba Cloud with the credentials of the invocation that
// makes it, and what its errors look like.
//
// Calls go through alibaba-cloud-sdk-go (V1), which signs and encodes. Its own
// retries are off: the engine alone retries. Its typed responses lack fields we
// need (NLB Ipv4LocalAddresses, DescribeInstance endpoints[]), so every client
// decodes the reply's bytes into types of its own.
package aliyun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/responses"
	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/aws/smithy-go"

	"eslink/shared/apierr"
)

// A Resolver finds the addresses of a host. *net.Resolver is one.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// Config is everything a client may know of its surroundings. Package wire
// builds it from the environment, tests build it from fakes. What belongs to
// one invocation (credentials, account) comes from its context instead.
type Config struct {
	Region string
	// Endpoint returns where a product is called, such as
	// ("https", "nlb.cn-hangzhou.aliyuncs.com").
	Endpoint func(product string) (scheme, host string)
	// Transport carries control-plane calls; nil means the SDK's own.
	Transport http.RoundTripper
	// DataPlane carries requests to the clusters themselves.
	DataPlane http.RoundTripper
	// Resolver answers for the network that the function runs in.
	Resolver Resolver
	Now      func() time.Time
	// Rand is the source of whatever must not repeat: writer IDs, jitter.
	Rand io.Reader
	Log  *slog.Logger
}

// Credentials are an STS key. Function Compute hands a fresh one to every
// invocation, because it ends after 36 hours.
type Credentials struct{ AccessKeyID, AccessKeySecret, SecurityToken string }

// CredentialsFrom returns the credentials of the invocation behind ctx.
func CredentialsFrom(ctx context.Context) (Credentials, error) {
	fc, ok := fccontext.FromContext(ctx)
	if !ok || fc.Credentials.AccessKeyId == "" {
		return Credentials{}, errors.New("this invocation has no credentials: give the function a role in s.yaml")
	}
	c := fc.Credentials
	return Credentials{c.AccessKeyId, c.AccessKeySecret, c.SecurityToken}, nil
}

// AccountFrom returns the account that the invocation behind ctx runs in.
func AccountFrom(ctx context.Context) (string, error) {
	fc, ok := fccontext.FromContext(ctx)
	if !ok || fc.AccountId == "" {
		return "", errors.New("this invocation does not say which account it runs in")
	}
	return fc.AccountId, nil
}

// Codes tells what a product's error codes mean; one table per product. A key
// that ends in ".*" stands for a family: Conflict.* for Conflict and for
// Conflict.Lock. A code that the table lacks goes by the HTTP status.
type Codes map[string]apierr.Class

// common holds the codes that any product may answer with.
var common = Codes{
	"Throttling":          apierr.Retry,
	"Throttling.*":        apierr.Retry,
	"Rejected.Throttling": apierr.Retry,
	"ServiceUnavailable":  apierr.Retry,
	"InternalError":       apierr.Retry,
	"InternalServerError": apierr.Retry,
	"SystemBusy":          apierr.Retry,
	"SignatureNonceUsed":  apierr.Retry,
}

func (c Codes) class(code string, status int) apierr.Class {
	family, _, _ := strings.Cut(code, ".")
	for _, table := range []Codes{c, common} {
		for _, key := range []string{code, family + ".*"} {
			if class, ok := table[key]; ok {
				return class
			}
		}
	}
	return apierr.ByStatus(status)
}

// APIError is an error reply as smithy knows them, which is how the rest of the
// program sees every failed call. errors.As finds the *apierr.Error in it.
type APIError struct{ reply *apierr.Error }

func (e *APIError) Error() string { return e.reply.Error() }
func (e *APIError) Unwrap() error { return e.reply }

// ErrorCode implements smithy.APIError.
func (e *APIError) ErrorCode() string { return e.reply.Code }

// ErrorMessage implements smithy.APIError.
func (e *APIError) ErrorMessage() string { return e.reply.Message }

// ErrorFault implements smithy.APIError.
func (e *APIError) ErrorFault() smithy.ErrorFault {
	if e.reply.Status >= 500 {
		return smithy.FaultServer
	}
	return smithy.FaultClient
}

// Wrap names the operation that failed with e.
func Wrap(product, operation string, e *apierr.Error) error {
	return &smithy.OperationError{ServiceID: product, OperationName: operation, Err: &APIError{e}}
}

// callTimeout bounds one call; a step makes only a few of them.
const callTimeout = 20 * time.Second

// Call sends req to product and decodes the reply's JSON body into T. Errors
// are *smithy.OperationError around an *APIError; a call without a reply is
// classified as Retry, since its effect is unknown and its token repeats it
// safely.
func Call[T any](ctx context.Context, c Config, product string, req requests.AcsRequest, codes Codes) (T, error) {
	var out T
	operation := req.GetActionName()
	if err := ctx.Err(); err != nil {
		return out, fmt.Errorf("%s %s: %w", product, operation, err)
	}
	cred, err := CredentialsFrom(ctx)
	if err != nil {
		return out, fmt.Errorf("%s %s: %w", product, operation, err)
	}
	scheme, host := c.Endpoint(product)
	// A client costs microseconds, so each call gets one with the credentials
	// of its own invocation.
	client, err := sdk.NewClientWithOptions(c.Region,
		sdk.NewConfig().WithAutoRetry(false).WithMaxRetryTime(0).WithScheme(scheme).WithTimeout(timeout(ctx)),
		credentials.NewStsTokenCredential(cred.AccessKeyID, cred.AccessKeySecret, cred.SecurityToken))
	if err != nil {
		return out, fmt.Errorf("%s %s: %w", product, operation, err)
	}
	// The SDK cannot put a port into the URL of a ROA call, so the request is
	// built for the product's public name and sent to where it is called. The
	// signature covers neither.
	client.SetTransport(sendTo{scheme, host, c.Transport})
	req.SetDomain(product + "." + c.Region + ".aliyuncs.com")
	req.SetScheme(scheme)
	resp := responses.NewCommonResponse()
	if err := client.DoAction(req, resp); err != nil {
		return out, Wrap(product, operation, classify(err, codes))
	}
	if err := json.Unmarshal(resp.GetHttpContentBytes(), &out); err != nil {
		return out, fmt.Errorf("%s %s: decode reply: %w", product, operation, err)
	}
	return out, nil
}

// sendTo is a transport that sends requests to one host.
type sendTo struct {
	scheme, host string
	next         http.RoundTripper // nil: http.DefaultTransport
}

// RoundTrip implements http.RoundTripper.
func (t sendTo) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host, req.Host = t.scheme, t.host, t.host
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	return next.RoundTrip(req)
}

// timeout is what is left of the invocation, at most callTimeout: the SDK knows
// no contexts.
func timeout(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(min(time.Until(deadline), callTimeout), time.Second)
	}
	return callTimeout
}

func classify(err error, codes Codes) *apierr.Error {
	var reply *sdkerrors.ServerError
	if errors.As(err, &reply) && reply.ErrorCode() != "" {
		return &apierr.Error{
			Class: codes.class(reply.ErrorCode(), reply.HttpStatus()), Code: reply.ErrorCode(),
			Message: reply.Message(), Status: reply.HttpStatus(), RequestID: reply.RequestId(),
		}
	}
	if reply != nil { // a proxy's page, say
		return &apierr.Error{Class: apierr.ByStatus(reply.HttpStatus()), Code: "UnknownReply", Message: "the reply is not one of the service's own", Status: reply.HttpStatus()}
	}
	return &apierr.Error{Class: apierr.Retry, Message: noReply(err)}
}

// noReply describes a failed exchange without the URL, which carries the
// signature.
func noReply(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Error()
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}
