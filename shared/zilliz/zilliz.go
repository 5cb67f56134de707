// Package zilliz is a client of Zilliz Cloud's control plane, REST API v2
// (docs.zilliz.com/reference/restful): private endpoints of a project and what
// a cluster says of itself. It makes seven calls; the path and shapes of the
// last, which switches a cluster's public address, are those of the vendor's
// Terraform provider (terraform-provider-zillizcloud, commit 3564b054), since
// the reference lacks it.
//
// A failure comes with HTTP 200: the code in the envelope decides.
package zilliz

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	"eslink/shared/apierr"
)

// Hosts are where the API is called, by the names that specs use.
var hosts = map[string]string{
	"global": "api.cloud.zilliz.com",
	"cn":     "api.cloud.zilliz.com.cn",
}

// Host is the address of an API: "global" or "cn".
func Host(api string) (string, bool) {
	h, ok := hosts[api]
	return h, ok
}

// Config is what a client may know of its surroundings.
type Config struct {
	// Transport carries calls; nil means http.DefaultTransport.
	Transport http.RoundTripper
}

// A Key is what a secret holds: {"apiKey"}. It does not print itself.
type Key struct {
	APIKey string `json:"apiKey"`
}

// String hides the key from logs.
func (Key) String() string { return "***" }

// GoString does the same for %#v.
func (Key) GoString() string { return "***" }

// ParseKey reads a secret's value. Its errors never show it.
func ParseKey(value string) (Key, error) {
	var k Key
	if json.Unmarshal([]byte(value), &k) != nil || k.APIKey == "" || strings.ContainsFunc(k.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Key{}, errors.New(`it does not hold {"apiKey"}`)
	}
	return k, nil
}

// Client calls the API with one key.
type Client struct {
	http *http.Client
	host string
	key  string
}

// callTimeout bounds one call; the service itself gives up after a minute.
const callTimeout = 30 * time.Second

// New returns a client of the API at host.
func New(c Config, host string, k Key) *Client {
	return &Client{host: host, key: k.APIKey, http: &http.Client{Transport: c.Transport, Timeout: callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}} // the key goes to one host
}

// Service is the endpoint service of a region.
type Service struct {
	Region    string `json:"regionId"`
	Cloud     string `json:"cloudId"`
	Name      string `json:"endpointService"`
	Whitelist bool   `json:"whitelistRequired"` // the account has to be admitted first
}

// Service returns the endpoint service of a region, or an error that is not
// found.
func (c *Client) Service(ctx context.Context, projectID, region string) (Service, error) {
	query := url.Values{"projectId": {projectID}, "regionId": {region}}
	all, err := pages(ctx, c, "ListPrivateEndpointServices", "/v2/privateEndpointServices", query, func(p servicePage) ([]Service, int) { return p.Services, p.Count })
	if err != nil {
		return Service{}, err
	}
	for _, s := range all {
		if s.Region == region && s.Name != "" {
			return s, nil
		}
	}
	return Service{}, c.failed("ListPrivateEndpointServices", &apierr.Error{Class: apierr.NotFound, Code: "NoSuchService", Message: "region " + region + " has no endpoint service"})
}

type servicePage struct {
	Services []Service `json:"endpointServices"`
	Count    int       `json:"count"`
}

// Endpoint is a registered private endpoint. Statuses are words without a
// documented list: compare with Accepted.
type Endpoint struct {
	Region        string `json:"regionId"`
	Cloud         string `json:"cloudId"`
	Service       string `json:"endpointService"`
	ServiceStatus string `json:"endpointServiceStatus"`
	ID            string `json:"endpointId"`
	Status        string `json:"endpointStatus"`
}

// Accepted reports whether a status is one of the words that are known to mean
// that the service takes the endpoint: the reference shows AVAILABLE, the
// provider's tests Available and accepted.
func (e Endpoint) Accepted() bool {
	switch strings.ToLower(e.Status) {
	case "available", "accepted":
		return true
	}
	return false
}

// Refused reports whether a status is a word that means the opposite.
func (e Endpoint) Refused() bool {
	switch strings.ToLower(e.Status) {
	case "rejected", "failed", "expired", "deleted":
		return true
	}
	return false
}

type endpointPage struct {
	Endpoints []Endpoint `json:"endpoints"`
	Count     int        `json:"count"`
}

// Endpoints returns all private endpoints of a project. The list trails writes.
func (c *Client) Endpoints(ctx context.Context, projectID string) ([]Endpoint, error) {
	return pages(ctx, c, "ListPrivateEndpoints", "/v2/projects/"+url.PathEscape(projectID)+"/privateEndpoints", url.Values{},
		func(p endpointPage) ([]Endpoint, int) { return p.Endpoints, p.Count })
}

// Register makes a region's service accept an endpoint. There is no token:
// look at Endpoints first.
func (c *Client) Register(ctx context.Context, projectID, region, endpointID string) error {
	_, err := call[json.RawMessage](ctx, c, "CreatePrivateEndpoint", http.MethodPost, "/v2/projects/"+url.PathEscape(projectID)+"/privateEndpoints", nil,
		map[string]string{"regionId": region, "endpointId": endpointID})
	return err
}

// Deregister takes that back.
func (c *Client) Deregister(ctx context.Context, projectID, region, endpointID string) error {
	_, err := call[json.RawMessage](ctx, c, "DeletePrivateEndpoint", http.MethodDelete, "/v2/projects/"+url.PathEscape(projectID)+"/privateEndpoints/"+url.PathEscape(endpointID),
		url.Values{"regionId": {region}}, nil)
	return err
}

// Admit puts an account of the region's cloud on the whitelist of the service.
// There is no list of it, and no way back.
func (c *Client) Admit(ctx context.Context, projectID, region, account string) error {
	_, err := call[json.RawMessage](ctx, c, "AddPrivateEndpointWhitelist", http.MethodPost, "/v2/projects/"+url.PathEscape(projectID)+"/privateEndpointWhitelist", nil,
		map[string]string{"regionId": region, "outerUserId": account})
	return err
}

// Cluster is what a cluster says of itself.
type Cluster struct {
	ID      string `json:"clusterId"`
	Name    string `json:"clusterName"`
	Project string `json:"projectId"`
	Region  string `json:"regionId"`
	Plan    string `json:"plan"`   // Free, Serverless, Standard, Enterprise, …
	Status  string `json:"status"` // RUNNING, SUSPENDED, SET_PRIVATE_LINK, …
	// CUs is what only a Dedicated cluster has.
	CUs int `json:"cuSize"`
	// Public and Private are URLs, Private "" until an address is allocated.
	Public  string `json:"connectAddress"`
	Private string `json:"privateLinkAddress"`
	// PublicEnabled is nil where the API cannot switch the public address.
	PublicEnabled *bool `json:"publicAddressEnabled"`
}

// Running reports whether the cluster serves requests.
func (c Cluster) Running() bool { return strings.EqualFold(c.Status, "RUNNING") }

// Dedicated reports whether the cluster is of a kind that private endpoints are
// for.
func (c Cluster) Dedicated() bool {
	switch strings.ToLower(c.Plan) {
	case "free", "serverless":
		return false
	}
	return c.CUs > 0
}

// Address is the host and port of the private address. ok is false as long as
// there is none.
func (c Cluster) Address() (host string, port int, ok bool, err error) {
	if c.Private == "" {
		return "", 0, false, nil
	}
	u, err := url.Parse(c.Private)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" {
		return "", 0, false, fmt.Errorf("cluster %s: its private address is not https://host:port: %.100q", c.ID, c.Private)
	}
	port, err = strconv.Atoi(u.Port())
	if err != nil || port < 1 || port > 65535 {
		return "", 0, false, fmt.Errorf("cluster %s: its private address has no valid port: %.100q", c.ID, c.Private)
	}
	return strings.ToLower(u.Hostname()), port, true, nil
}

// Cluster returns one cluster.
func (c *Client) Cluster(ctx context.Context, id string) (Cluster, error) {
	return call[Cluster](ctx, c, "DescribeCluster", http.MethodGet, "/v2/clusters/"+url.PathEscape(id), nil, nil)
}

// SetPublic opens or closes a cluster's public address, where Cluster shows
// PublicEnabled.
func (c *Client) SetPublic(ctx context.Context, id string, enabled bool) error {
	_, err := call[json.RawMessage](ctx, c, "UpdateCluster", http.MethodPatch, "/v2/clusters/"+url.PathEscape(id), nil, map[string]bool{"publicAddressEnabled": enabled})
	return err
}

const (
	// pageSize is the largest that the API takes: with another it falls back to 10.
	pageSize = 100
	// maxPages bounds a list: no project has so many endpoints.
	maxPages = 50
	// maxReply bounds a reply, in bytes.
	maxReply = 4 << 20
)

// pages reads a list to its end. The items of a page, and how many there are in
// all, are what part returns.
func pages[P, T any](ctx context.Context, c *Client, operation, path string, query url.Values, part func(P) ([]T, int)) ([]T, error) {
	var all []T
	for page := 1; page <= maxPages; page++ {
		query.Set("currentPage", strconv.Itoa(page))
		query.Set("pageSize", strconv.Itoa(pageSize))
		out, err := call[P](ctx, c, operation, http.MethodGet, path, query, nil)
		if err != nil {
			return nil, err
		}
		items, count := part(out)
		all = append(all, items...)
		if len(items) == 0 || len(all) >= count {
			return all, nil
		}
	}
	return nil, c.failed(operation, &apierr.Error{Code: "TooManyPages", Message: fmt.Sprintf("the list does not end within %d pages", maxPages)})
}

// call makes one call and decodes the data of its envelope.
func call[T any](ctx context.Context, c *Client, operation, method, path string, query url.Values, body any) (T, error) {
	var out T
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return out, c.failed(operation, err)
		}
		content = bytes.NewReader(raw)
	}
	u := url.URL{Scheme: "https", Host: c.host, RawQuery: query.Encode()}
	u.Path, _ = url.PathUnescape(path)
	u.RawPath = path
	req, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return out, c.failed(operation, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return out, c.failed(operation, ctx.Err())
		}
		return out, c.failed(operation, &apierr.Error{Class: apierr.Retry, Message: noReply(err)})
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return out, c.failed(operation, &apierr.Error{Class: apierr.Retry, Message: noReply(err)})
	}
	data, refused := open(raw, resp)
	if refused != nil {
		return out, c.failed(operation, refused)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return out, c.failed(operation, fmt.Errorf("decode reply: %w", err))
	}
	return out, nil
}

// failed names the operation that failed.
func (c *Client) failed(operation string, err error) error {
	return &smithy.OperationError{ServiceID: "Zilliz", OperationName: operation, Err: err}
}

// noReply describes a failed exchange without its URL.
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
