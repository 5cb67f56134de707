// Package azure is what the narrow product clients below it have in common: how a
// call reaches Azure Resource Manager as a service principal, what its errors
// mean, and how a long-running operation is taken up by another invocation.
//
// Calls go through azure-sdk-for-go with its own retries off: the engine alone
// retries. Each call is one request; an operation is polled once a call.
package azure

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// Config is what a client may know of its surroundings.
type Config struct {
	// Transport carries every request, to Microsoft Entra and to Resource Manager;
	// nil means the SDK's own. It is the seam for fakes, since azidentity takes no
	// authority without TLS.
	Transport http.RoundTripper
}

// Credentials are a service principal's, as a secret holds them. They do not print
// themselves.
type Credentials struct {
	TenantID     string `json:"tenantId"`
	ClientID     string `json:"clientId"`
	ClientSecret string `json:"clientSecret"`
	// For names the subscriptions and machines that they may be used on.
	For []string `json:"for"`
}

// String hides the secret from logs.
func (c Credentials) String() string { return c.ClientID + ":***" }

// GoString does the same for %#v.
func (c Credentials) GoString() string { return c.String() }

// guid is a tenant's, an application's or a subscription's ID (RFC 9562).
var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// ParseCredentials reads a secret's value. Its errors never show the value.
func ParseCredentials(value string) (Credentials, error) {
	var c Credentials
	if json.Unmarshal([]byte(value), &c) != nil || !guid.MatchString(c.TenantID) || !guid.MatchString(c.ClientID) || c.ClientSecret == "" {
		return Credentials{}, errors.New(`it does not hold {"tenantId", "clientId", "clientSecret", "for"} with the IDs of a tenant and an application`)
	}
	return c, nil
}

// Account is a subscription that a service principal works in.
type Account struct {
	SubscriptionID string

	credential azcore.TokenCredential
	options    *arm.ClientOptions
}

// Open returns the account. It makes no request.
func Open(c Config, cred Credentials, subscriptionID string) (*Account, error) {
	options := policy.ClientOptions{
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Telemetry: policy.TelemetryOptions{ApplicationID: "eslink"},
	}
	if c.Transport != nil {
		options.Transport = transporter{c.Transport}
	}
	credential, err := azidentity.NewClientSecretCredential(cred.TenantID, cred.ClientID, cred.ClientSecret, &azidentity.ClientSecretCredentialOptions{
		ClientOptions: options,
		// The public cloud's authority needs no discovery: one request less.
		DisableInstanceDiscovery: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open subscription %s: %w", subscriptionID, err)
	}
	return &Account{subscriptionID, credential, &arm.ClientOptions{ClientOptions: options, DisableRPRegistration: true}}, nil
}

// Credential and Options are what the SDK's clients are made with.
func (a *Account) Credential() azcore.TokenCredential { return a.credential }
func (a *Account) Options() *arm.ClientOptions        { return a.options }

// transporter makes a policy.Transporter of a RoundTripper.
type transporter struct{ rt http.RoundTripper }

// Do implements policy.Transporter.
func (t transporter) Do(req *http.Request) (*http.Response, error) { return t.rt.RoundTrip(req) }

// An ID is a resource's, in Resource Manager's form, whose case counts for nothing.
type ID string

// Is reports whether both name the same resource.
func (id ID) Is(other ID) bool { return strings.EqualFold(string(id), string(other)) }

// Part returns what follows a segment, such as the name after privateEndpoints.
func (id ID) Part(segment string) string {
	parts := strings.Split(string(id), "/")
	for i := 0; i+1 < len(parts); i++ {
		if strings.EqualFold(parts[i], segment) {
			return parts[i+1]
		}
	}
	return ""
}

// Parent returns what stands before a segment, such as a subnet's network; "" if there
// is no such segment.
func (id ID) Parent(segment string) ID {
	i := strings.Index(strings.ToLower(string(id)), "/"+strings.ToLower(segment)+"/")
	return id[:max(i, 0)]
}

// Under reports whether id names something inside parent: a subnet in a network.
func (id ID) Under(parent ID) bool {
	return len(id) > len(parent) && strings.EqualFold(string(id[:len(parent)]), string(parent)) && id[len(parent)] == '/'
}

// Value is *p, or the zero value when the reply lacks it.
func Value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
