// Package elasticcloud calls the Elastic Cloud API (https://api.elastic-cloud.com,
// version v1) for deployments and for private connection policies, which the API
// calls traffic filter rulesets. Requests and replies are cloud-sdk-go's models;
// its client is not used, since that has one timeout a process and no contexts.
package elasticcloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/aws/smithy-go"
	"github.com/elastic/cloud-sdk-go/pkg/models"

	"eslink/shared/apierr"
)

// Host is where the API is.
const Host = "api.elastic-cloud.com"

const (
	base        = "https://" + Host + "/api/v1"
	callTimeout = 20 * time.Second
	maxReply    = 8 << 20
)

// Config is what a client may know of its surroundings.
type Config struct {
	// Transport carries every request; nil means http.DefaultTransport.
	Transport http.RoundTripper
}

// Key is an API key, as a secret holds it. It does not print itself.
type Key struct {
	APIKey string `json:"apiKey"`
}

// String hides the key from logs.
func (Key) String() string { return "***" }

// GoString does the same for %#v.
func (k Key) GoString() string { return k.String() }

// ParseKey reads a secret's value. Its errors never show the value.
func ParseKey(value string) (Key, error) {
	var k Key
	if json.Unmarshal([]byte(value), &k) != nil || k.APIKey == "" {
		return Key{}, errors.New(`it does not hold {"apiKey"}`)
	}
	for _, c := range k.APIKey {
		if c <= ' ' || c > '~' {
			return Key{}, errors.New("apiKey holds a character that no key has")
		}
	}
	return k, nil
}

// Client calls the API with one key.
type Client struct {
	transport http.RoundTripper
	key       Key
}

// New returns a client.
func New(c Config, key Key) *Client {
	t := c.Transport
	if t == nil {
		t = http.DefaultTransport
	}
	return &Client{t, key}
}

// Codes that steps act on.
const (
	// Hidden is how the API refuses a key, and what it answers for a ruleset that
	// does not exist (terraform-provider-ec, issue 526).
	Hidden = "root.permission_denied"
	// NotSeen says that the private endpoint is not visible to Elastic yet.
	NotSeen = "traffic_filter.azure_private_link_connection_not_found"
)

// classes tells what the API's error codes mean. Source: the API's own description
// (apidocs-user.json of cloud-sdk-go) and, for NotSeen, the acceptance test of
// terraform-provider-ec. A code that is not here goes by the HTTP status.
var classes = map[string]apierr.Class{
	"traffic_filter.not_found": apierr.NotFound,
	NotSeen:                    apierr.Conflict,
	"traffic_filter.request_execution_failed":                 apierr.Retry,
	"traffic_filter_claimed_link_id.request_execution_failed": apierr.Retry,
	"deployments.deployment_not_found":                        apierr.NotFound,
}

// call makes one request. in and out may be nil.
func (c *Client) call(ctx context.Context, operation, method, path string, in, out any) error {
	fail := func(err error) error {
		return &smithy.OperationError{ServiceID: "ElasticCloud", OperationName: operation, Err: err}
	}
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fail(err)
		}
		body = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return fail(err)
	}
	req.Header.Set("Authorization", "ApiKey "+c.key.APIKey)
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return fail(&apierr.Error{Class: apierr.Retry, Message: err.Error()})
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return fail(&apierr.Error{Class: apierr.Retry, Message: err.Error()})
	}
	if resp.StatusCode/100 != 2 {
		return fail(refusal(resp, raw))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fail(fmt.Errorf("decode reply: %w", err))
	}
	return nil
}

func refusal(resp *http.Response, raw []byte) error {
	e := &apierr.Error{Status: resp.StatusCode, Class: apierr.ByStatus(resp.StatusCode), RequestID: resp.Header.Get("x-request-id")}
	var reply models.BasicFailedReply
	if json.Unmarshal(raw, &reply) == nil && len(reply.Errors) > 0 && reply.Errors[0] != nil {
		e.Code, e.Message = value(reply.Errors[0].Code), cut(value(reply.Errors[0].Message))
	}
	if e.Code == "" {
		e.Code = "http." + strconv.Itoa(resp.StatusCode)
	}
	if class, ok := classes[e.Code]; ok {
		e.Class = class
	} else if resp.StatusCode == http.StatusNotFound {
		e.Class = apierr.NotFound
	}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		e.RetryAfter = time.Duration(n) * time.Second
	}
	return e
}

// IsHidden reports whether the API says that something does not exist, or that the
// key may not see it, which it does not tell apart.
func IsHidden(err error) bool { return apierr.CodeOf(err) == Hidden || apierr.IsNotFound(err) }

// IsUnauthorized reports whether the API does not know the key.
func IsUnauthorized(err error) bool {
	var e *apierr.Error
	return errors.As(err, &e) && e.Status == http.StatusUnauthorized
}

func cut(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func query(kv ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(kv); i += 2 {
		q.Set(kv[i], kv[i+1])
	}
	return "?" + q.Encode()
}
