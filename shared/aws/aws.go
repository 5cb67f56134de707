// Package aws is what the narrow product clients below it have in common: the
// credentials of an account, how a call reaches AWS, and what its errors look
// like.
//
// Calls go through aws-sdk-go-v2, which signs and encodes. Its own retries are
// off: the engine alone retries. The package config of that SDK, which reads
// the environment and files, is not used: credentials come from a secret.
package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"eslink/shared/apierr"
)

// Config is what a client may know of its surroundings.
type Config struct {
	// Transport carries calls; nil means http.DefaultTransport.
	Transport http.RoundTripper
	Now       func() time.Time
}

// A Key is what a secret holds: the key of a user, and the role to assume with
// it, if any. It does not print itself.
type Key struct {
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	RoleARN         string `json:"roleArn,omitempty"`
	ExternalID      string `json:"externalId,omitempty"`
	// For names the accounts and the machines that the key may be used on.
	For []string `json:"for,omitempty"`
}

// String hides the key from logs.
func (k Key) String() string { return k.AccessKeyID + ":***" }

// GoString does the same for %#v.
func (k Key) GoString() string { return k.String() }

// Fingerprint tells keys apart without showing them.
func (k Key) Fingerprint() string {
	sum := sha256.Sum256([]byte(k.AccessKeyID + "\x00" + k.SecretAccessKey + "\x00" + k.RoleARN + "\x00" + k.ExternalID))
	return hex.EncodeToString(sum[:])
}

var (
	accessKeyPattern = regexp.MustCompile(`^[A-Z0-9]{16,128}$`)
	rolePattern      = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}$`)
)

// ParseKey reads a secret's value. Its errors never show it.
func ParseKey(value string) (Key, error) {
	var k Key
	if json.Unmarshal([]byte(value), &k) != nil || !accessKeyPattern.MatchString(k.AccessKeyID) || k.SecretAccessKey == "" {
		return Key{}, errors.New(`it does not hold {"accessKeyId", "secretAccessKey"}`)
	}
	if k.RoleARN != "" && !rolePattern.MatchString(k.RoleARN) {
		return Key{}, errors.New("its roleArn is not the ARN of an IAM role")
	}
	return k, nil
}

// An Account is what the clients call: a Config and the credentials to sign
// with.
type Account struct {
	Config
	Credentials sdk.Credentials
}

// KeyAccount is the account that a key opens by itself.
func KeyAccount(c Config, k Key) Account {
	return Account{c, sdk.Credentials{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, Source: "eslink"}}
}

// callTimeout bounds one call; a step makes only a few of them.
const callTimeout = 20 * time.Second

// SDK is the configuration of an SDK client in a region.
func (a Account) SDK(region string) sdk.Config {
	return sdk.Config{
		Region:      region,
		Credentials: sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) { return a.Credentials, nil }),
		HTTPClient: &http.Client{Transport: a.Transport, Timeout: callTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Retryer: func() sdk.Retryer { return sdk.NopRetryer{} },
	}
}

// Codes tells what a product's error codes mean; one table per product. A code
// that the table lacks goes by the HTTP status.
type Codes map[string]apierr.Class

// common holds the codes that any product may answer with, by the SDK's list of
// what is throttling and what may pass (aws/retry, DefaultRetryableErrorCodes
// and DefaultThrottleErrorCodes).
var common = Codes{
	"Throttling":                             apierr.Retry,
	"ThrottlingException":                    apierr.Retry,
	"ThrottledException":                     apierr.Retry,
	"RequestThrottled":                       apierr.Retry,
	"RequestThrottledException":              apierr.Retry,
	"RequestLimitExceeded":                   apierr.Retry,
	"BandwidthLimitExceeded":                 apierr.Retry,
	"LimitExceededException":                 apierr.Retry,
	"SlowDown":                               apierr.Retry,
	"PriorRequestNotComplete":                apierr.Retry,
	"EC2ThrottledException":                  apierr.Retry,
	"TooManyRequestsException":               apierr.Retry,
	"TransactionInProgressException":         apierr.Retry,
	"ProvisionedThroughputExceededException": apierr.Retry,
	"RequestTimeout":                         apierr.Retry,
	"RequestTimeoutException":                apierr.Retry,
	"InternalError":                          apierr.Retry,
	"InternalFailure":                        apierr.Retry,
	"InternalServerError":                    apierr.Retry,
	"ServiceUnavailable":                     apierr.Retry,
	"Unavailable":                            apierr.Retry,
}

// maxMessage bounds what is kept of a service's message, in bytes: the encoded
// part of an authorization failure is of no use to a reader and long.
const maxMessage = 400

// Call makes one call of an SDK client's operation: f is a method such as
// client.DescribeVpcs. Errors are *smithy.OperationError around an
// *apierr.Error; a call without a reply is classified as Retry, since its
// effect is unknown and a repetition safe.
func Call[I, O, Option any](ctx context.Context, codes Codes, f func(context.Context, *I, ...func(*Option)) (*O, error), in *I) (*O, error) {
	out, err := f(ctx, in)
	if err == nil {
		return out, nil
	}
	var op *smithy.OperationError
	if !errors.As(err, &op) {
		op = &smithy.OperationError{ServiceID: "AWS", OperationName: fmt.Sprintf("%T", in)}
	}
	if ctx.Err() != nil {
		return nil, &smithy.OperationError{ServiceID: op.ServiceID, OperationName: op.OperationName, Err: ctx.Err()}
	}
	return nil, &smithy.OperationError{ServiceID: op.ServiceID, OperationName: op.OperationName, Err: Reply(err, codes)}
}

// Reply is what an SDK's error says, classified.
func Reply(err error, codes Codes) *apierr.Error {
	e := &apierr.Error{Class: apierr.Retry}
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		e.Status, e.RequestID = resp.HTTPStatusCode(), resp.ServiceRequestID()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		e.Code, e.Message = api.ErrorCode(), cut(api.ErrorMessage())
		e.Class = classOf(e.Code, e.Status, codes)
		return e
	}
	if e.Status != 0 { // a proxy's page, or a reply that does not decode
		e.Code, e.Message, e.Class = "UnknownReply", "the reply is not one of the service's own", apierr.ByStatus(e.Status)
		return e
	}
	var invalid *smithy.InvalidParamsError
	if errors.As(err, &invalid) {
		e.Class, e.Code = apierr.Fatal, "InvalidParams"
	}
	e.Message = cut(innermost(err).Error())
	return e
}

func classOf(code string, status int, codes Codes) apierr.Class {
	for _, table := range []Codes{codes, common} {
		if class, ok := table[code]; ok {
			return class
		}
	}
	return apierr.ByStatus(status)
}

// innermost passes by what wraps a failed exchange: its text holds the URL.
func innermost(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}

func cut(s string) string {
	if len(s) > maxMessage {
		return s[:maxMessage] + "…"
	}
	return s
}

// String is the value behind p, "" for nil.
func String(p *string) string { return sdk.ToString(p) }
