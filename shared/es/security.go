package es

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// Identity is who a login turns out to be.
// https://www.elastic.co/guide/en/elasticsearch/reference/7.10/security-api-authenticate.html
type Identity struct {
	Username string   `json:"username"`
	Roles    []string `json:"roles"`
	// Metadata has, of a directory's users, their distinguished name and groups.
	Metadata map[string]any `json:"metadata"`
	Realm    struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"authentication_realm"`
}

// Authenticate tells who the client's login is. A login that no realm accepts is
// 401, whatever the reason: only the cluster's own log has that.
func (c *Client) Authenticate(ctx context.Context) (Identity, error) {
	var out Identity
	err := c.do(ctx, "authenticate", esapi.SecurityAuthenticateRequest{}, &out)
	return out, err
}

// As returns a client of the same cluster as another user.
func (c *Client) As(username, password string) *Client {
	return &Client{base: c.base, username: username, password: password, transport: c.transport}
}

// ForgetLogin makes a realm ask its directory when the user logs in next: it
// keeps logins for minutes.
// https://www.elastic.co/guide/en/elasticsearch/reference/7.10/security-api-clear-cache.html
func (c *Client) ForgetLogin(ctx context.Context, realm, username string) error {
	return c.do(ctx, "clear the cache of realm "+realm,
		raw{http.MethodPost, "/_security/realm/" + url.PathEscape(realm) + "/_clear_cache", "usernames=" + url.QueryEscape(username), "", nil}, nil)
}

// RoleMapping gives roles to users that a rule matches.
// https://www.elastic.co/guide/en/elasticsearch/reference/7.10/security-api-put-role-mapping.html
type RoleMapping struct {
	Enabled  bool           `json:"enabled"`
	Roles    []string       `json:"roles"`
	Rules    map[string]any `json:"rules"`
	Metadata map[string]any `json:"metadata"`
}

// RoleMappings returns all role mappings by name.
func (c *Client) RoleMappings(ctx context.Context) (map[string]RoleMapping, error) {
	out := map[string]RoleMapping{}
	err := c.do(ctx, "read role mappings", esapi.SecurityGetRoleMappingRequest{}, &out)
	return out, err
}

// PutRoleMapping makes or replaces a role mapping.
func (c *Client) PutRoleMapping(ctx context.Context, name string, m RoleMapping) error {
	reader, err := body(m)
	if err != nil {
		return fmt.Errorf("role mapping %s: %w", name, err)
	}
	return c.do(ctx, "put role mapping "+name, esapi.SecurityPutRoleMappingRequest{Name: inPath(name), Body: reader}, nil)
}

// DeleteRoleMapping deletes a role mapping; one that is gone is no error.
func (c *Client) DeleteRoleMapping(ctx context.Context, name string) error {
	err := c.do(ctx, "delete role mapping "+name, esapi.SecurityDeleteRoleMappingRequest{Name: inPath(name)}, nil)
	if e := asReply(err); e != nil && e.Status == http.StatusNotFound { // {"found":false}
		return nil
	}
	return err
}
