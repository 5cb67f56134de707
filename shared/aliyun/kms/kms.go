// Package kms reads secrets from Alibaba Cloud Key Management Service, API
// version 2016-01-20. It needs the V1 SDK's GetSecretValue only.
package kms

import (
	"context"
	"encoding/json"
	"fmt"

	sdk "github.com/aliyun/alibaba-cloud-sdk-go/services/kms"

	"eslink/shared/aliyun"
	"eslink/shared/apierr"
)

var codes = aliyun.Codes{
	"Forbidden.ResourceNotFound": apierr.NotFound,
}

// Client reads secrets. It holds no state and caches nothing: a changed password
// counts from the next invocation on.
type Client struct{ c aliyun.Config }

// New returns a client.
func New(c aliyun.Config) *Client { return &Client{c} }

// A Login is what a secret holds. It does not print itself.
type Login struct {
	Username string `json:"username"`
	Password string `json:"password"`
	// For lists where the login may be sent: instance IDs, and addresses with
	// their scheme, such as http://10.1.2.3:9200.
	For []string `json:"for"`
	// Version changes whenever the secret's value does.
	Version string `json:"-"`
}

// String hides the password from logs.
func (l Login) String() string { return l.Username + ":***" }

// GoString does the same for %#v.
func (l Login) GoString() string { return l.String() }

// Value returns what the secret called name holds, and the version of that. Its
// errors never show the value.
func (c *Client) Value(ctx context.Context, name string) (value, version string, err error) {
	req := sdk.CreateGetSecretValueRequest()
	req.SecretName = name
	out, err := aliyun.Call[struct{ SecretData, VersionID string }](ctx, c.c, "kms", req, codes)
	if err != nil {
		return "", "", fmt.Errorf("read secret %s: %w", name, err)
	}
	return out.SecretData, out.VersionID, nil
}

// Login returns the login that the secret called name holds, as
// {"username": …, "password": …, "for": […]}. Its errors never show the value.
func (c *Client) Login(ctx context.Context, name string) (Login, error) {
	value, version, err := c.Value(ctx, name)
	if err != nil {
		return Login{}, err
	}
	var l Login
	if json.Unmarshal([]byte(value), &l) != nil || l.Username == "" || l.Password == "" {
		return Login{}, fmt.Errorf(`secret %s does not hold {"username", "password", "for"}`, name)
	}
	l.Version = version
	return l, nil
}
