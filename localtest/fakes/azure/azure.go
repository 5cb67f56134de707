// Package azure is a fake of Microsoft Entra's token endpoint and of Azure Resource
// Manager as far as a private endpoint to a partner's service needs it: private
// endpoints, network interfaces, virtual networks, private DNS zones with links and
// records, machines with managed run commands. It knows what a machine inside a
// virtual network reaches, since names, links and connections are one state.
//
// Sources of its behaviour: Microsoft Learn (Private Link overview and
// troubleshooting, Private DNS, Run Command), the request and response examples of
// azure-rest-api-specs, and issues of terraform-provider-azurerm. Times are drawn.
package azure

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"time"

	"eslink/localtest/fakes/cloud"
	"eslink/localtest/fakes/inside"
)

// Hosts that the fake serves.
const (
	LoginHost   = "login.microsoftonline.com"
	ManagerHost = "management.azure.com"
)

// versions are those that the resource providers take, by provider; what the pinned
// SDKs send.
var versions = map[string]string{"Microsoft.Network": "2025-05-01", "Microsoft.Network/privateDnsZones": "2024-06-01", "Microsoft.Compute": "2026-04-01"}

// A Partner owns private link services, which it approves connections to.
type Partner interface {
	// Serves reports whether alias names a service of the partner's.
	Serves(alias string) bool
	// Ingress is what answers a connection that came in through a private endpoint, by
	// the endpoint's GUID; nil when nobody listens on the port.
	Ingress(alias, guid string, port int) http.Handler
}

// Cloud is one tenant with its subscriptions.
type Cloud struct {
	account *cloud.Account
	partner Partner
	runner  inside.Runner
	mux     *http.ServeMux

	mu         sync.Mutex
	principals map[string]*Principal // by client ID
	tokens     map[string]token
	networks   map[string]*Network // by lower-case ID, as all resources
	endpoints  map[string]*Endpoint
	interfaces map[string]*nic
	blocked    map[string]time.Time // names of deleted endpoints, until when
	zones      map[string]*Zone
	machines   map[string]*Machine
	operations map[string]*operation
	trouble    Trouble
}

// Principal is an application that may log in.
type Principal struct {
	Tenant, ClientID, Secret string
	Expired                  bool
	// Denied are actions that it lacks the right to, such as
	// "Microsoft.Network/privateEndpoints/write".
	Denied map[string]bool
}

type token struct {
	principal *Principal
	until     time.Time
}

// Trouble is what shall go wrong, from now on.
type Trouble struct {
	// NeverApproved leaves connections Pending; Rejected has the partner refuse them.
	NeverApproved, Rejected bool
	// Busy has a network refuse writes until then, as if somebody else worked on it.
	Busy time.Time
}

// operation is a long-running one.
type operation struct {
	due    time.Time
	failed *cloud.Error
}

// New makes a cloud whose machines run scripts with runner.
func New(a *cloud.Account, runner inside.Runner) *Cloud {
	c := &Cloud{account: a, runner: runner, principals: map[string]*Principal{}, tokens: map[string]token{}, networks: map[string]*Network{},
		endpoints: map[string]*Endpoint{}, interfaces: map[string]*nic{}, blocked: map[string]time.Time{}, zones: map[string]*Zone{}, machines: map[string]*Machine{}, operations: map[string]*operation{}}
	c.mux = http.NewServeMux()
	c.login()
	c.route("Microsoft.Network", "privateEndpoints", endpointOps(c))
	c.networkRoutes()
	c.zoneRoutes()
	c.machineRoutes()
	return c
}

// Join tells the cloud who owns private link services.
func (c *Cloud) Join(p Partner) { c.partner = p }

// Register makes an application known.
func (c *Cloud) Register(p Principal) {
	c.account.Hide(p.Secret)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.principals[p.ClientID] = &p
}

// SetTrouble replaces what goes wrong.
func (c *Cloud) SetTrouble(t Trouble) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = t
}

// ServeHTTP serves both hosts.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "", http.StatusRequestEntityTooLarge)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	recorder := httptest.NewRecorder()
	call := cloud.Call{Product: "azure", Action: r.Method + " " + kindOf(r.URL.Path), Params: map[string]string{"path": r.URL.Path}}
	fault := cloud.Fault{}
	if strings.HasPrefix(r.Host, "management.") {
		fault = c.account.FaultFor(call)
	}
	if fault.Before != nil {
		refuse(recorder, fault.Before)
	} else {
		c.mux.ServeHTTP(recorder, r)
	}
	e := cloud.Exchange{At: c.account.Now(), Product: "azure", Action: call.Action, Method: r.Method, URL: cloud.URL(r), ReqHeader: r.Header,
		ReqBody: string(hideParameters(body)), Status: recorder.Code, RespBody: recorder.Body.String(), Write: r.Method == http.MethodPut || r.Method == http.MethodDelete}
	if fault.LoseReply {
		e.Status, e.RespBody = 0, ""
	}
	c.account.Record(e)
	if fault.LoseReply {
		panic(http.ErrAbortHandler)
	}
	for name, values := range recorder.Header() {
		w.Header()[name] = values
	}
	w.Header().Set("x-ms-correlation-request-id", c.account.NewID("", 12))
	w.WriteHeader(recorder.Code)
	w.Write(recorder.Body.Bytes())
}

// hideParameters blanks protected parameters in what is recorded.
func hideParameters(body []byte) []byte {
	var doc map[string]any
	if json.Unmarshal(body, &doc) != nil {
		return body
	}
	if p, ok := doc["properties"].(map[string]any); ok && p["protectedParameters"] != nil {
		p["protectedParameters"] = "***"
		body, _ = json.Marshal(doc)
	}
	return body
}

// kindOf is the kind of resource that a path names, such as
// Microsoft.Network/privateDnsZones/virtualNetworkLinks.
func kindOf(path string) string {
	_, rest, ok := strings.Cut(path, "/providers/")
	if !ok {
		return path
	}
	parts := strings.Split(rest, "/")
	kind := parts[0]
	for i := 1; i < len(parts); i += 2 {
		kind += "/" + parts[i]
	}
	return kind
}

// request is an authorized request to Resource Manager.
type request struct {
	*http.Request
	sub, group string
	principal  *Principal
}

func (r *request) id(provider string, parts ...string) string {
	return "/subscriptions/" + r.sub + "/resourceGroups/" + r.group + "/providers/" + provider + "/" + strings.Join(parts, "/")
}

func (r *request) decode(into any) *cloud.Error {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return cloud.Errorf(400, "InvalidRequestContent", "The request content was invalid and could not be deserialized.")
	}
	return nil
}

// reply is what a handler answers: a body, and headers of a long-running operation.
type reply struct {
	status int
	body   any
	header map[string]string
}

type handler func(r *request) (reply, *cloud.Error)

// route registers handlers by method of one kind, such as
// Microsoft.Network privateDnsZones/{zone}/virtualNetworkLinks.
func (c *Cloud) route(provider, kind string, byMethod map[string]handler) {
	for method, h := range byMethod {
		c.handle(provider, method, "/subscriptions/{sub}/resourceGroups/{group}/providers/"+provider+"/"+kind+"/{name}", h)
	}
}

func (c *Cloud) handle(provider, method, pattern string, h handler) {
	c.mux.HandleFunc(method+" "+ManagerHost+pattern, func(w http.ResponseWriter, r *http.Request) {
		req := &request{Request: r, sub: r.PathValue("sub"), group: r.PathValue("group")}
		out, refusal := reply{}, c.authorize(req, provider)
		if refusal == nil {
			c.mu.Lock()
			out, refusal = h(req)
			c.mu.Unlock()
		}
		if refusal != nil {
			refuse(w, refusal)
			return
		}
		for name, v := range out.header {
			w.Header().Set(name, v)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(out.status)
		if out.body != nil {
			json.NewEncoder(w).Encode(out.body)
		}
	})
}

func refuse(w http.ResponseWriter, e *cloud.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("x-ms-error-code", e.Code)
	if e.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "10")
	}
	w.WriteHeader(e.Status)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": e.Code, "message": e.Message}})
}

// authorize checks the token, the version and the principal's rights.
func (c *Cloud) authorize(r *request, provider string) *cloud.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	if !ok {
		return cloud.Errorf(401, "InvalidAuthenticationToken", "The access token is invalid.")
	}
	if c.account.Now().After(t.until) {
		return cloud.Errorf(401, "ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than current UTC time.")
	}
	r.principal = t.principal
	kind := kindOf(r.URL.Path)
	want := versions[provider]
	if strings.HasPrefix(kind, "Microsoft.Network/privateDnsZones") {
		want = versions["Microsoft.Network/privateDnsZones"]
	}
	if v := r.URL.Query().Get("api-version"); v != want && !strings.Contains(kind, "/operations") {
		return cloud.Errorf(400, "InvalidApiVersionParameter", "The api-version '%s' is invalid. The supported versions are '%s'.", v, want)
	}
	action := kind + map[string]string{"GET": "/read", "PUT": "/write", "DELETE": "/delete"}[r.Method]
	if t.principal.Denied[action] {
		return cloud.Errorf(403, "AuthorizationFailed", "The client '%s' does not have authorization to perform action '%s' over scope '%s'.", t.principal.ClientID, action, r.URL.Path)
	}
	return nil
}

// login registers Entra's two addresses.
func (c *Cloud) login() {
	c.mux.HandleFunc("GET "+LoginHost+"/{tenant}/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		base := "https://" + LoginHost + "/" + r.PathValue("tenant")
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"issuer": base + "/v2.0", "token_endpoint": base + "/oauth2/v2.0/token", "authorization_endpoint": base + "/oauth2/v2.0/authorize"})
	})
	c.mux.HandleFunc("POST "+LoginHost+"/{tenant}/oauth2/v2.0/token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		r.ParseForm()
		value, number := c.grant(r.PathValue("tenant"), r.PostForm.Get("client_id"), r.PostForm.Get("client_secret"))
		if number != 0 {
			status := http.StatusBadRequest
			if number == 7000215 || number == 7000222 {
				status = http.StatusUnauthorized
			}
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(map[string]any{"error": "invalid_client", "error_codes": []int{number},
				"error_description": fmt.Sprintf("AADSTS%d: the login is refused. Trace ID: 0", number)})
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": value})
	})
}

// grant gives a token, or Entra's error number.
func (c *Cloud) grant(tenant, client, secret string) (value string, number int) {
	c.mu.Lock()
	known := false
	p := c.principals[client]
	for _, k := range c.principals {
		known = known || k.Tenant == tenant
	}
	c.mu.Unlock()
	switch {
	case !known:
		return "", 90002
	case p == nil || p.Tenant != tenant:
		return "", 700016
	case p.Secret != secret:
		return "", 7000215
	case p.Expired:
		return "", 7000222
	}
	value = c.account.NewID("eyJ", 40)
	c.account.Hide(value)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[value] = token{p, c.account.Now().Add(time.Hour)}
	return value, 0
}

// begin makes an operation that ends after d, and the headers that name it.
func (c *Cloud) begin(r *request, provider string, d time.Duration, failed *cloud.Error) map[string]string {
	id := c.account.NewID("", 24)
	c.operations[id] = &operation{c.account.Now().Add(d), failed}
	c.account.Await(0)
	return map[string]string{"Retry-After": "10", "Azure-AsyncOperation": "https://" + ManagerHost + "/subscriptions/" + r.sub + "/providers/" + provider +
		"/locations/global/operations/" + id + "?api-version=" + r.URL.Query().Get("api-version") + "&t=signed-" + c.account.NewID("", 16)}
}

// operationStatus serves what Azure-AsyncOperation names.
func (c *Cloud) operationStatus(r *request) (reply, *cloud.Error) {
	op, ok := c.operations[r.PathValue("operation")]
	if !ok {
		return reply{}, cloud.Errorf(404, "NotFound", "The operation is not known.")
	}
	body := map[string]any{"status": "InProgress"}
	if !c.account.Now().Before(op.due) {
		body["status"] = "Succeeded"
		if op.failed != nil {
			body["status"], body["error"] = "Failed", map[string]any{"code": op.failed.Code, "message": op.failed.Message}
		}
	}
	return reply{status: 200, body: body}, nil
}

// notFound is Resource Manager's answer for what does not exist.
func notFound(id string) *cloud.Error {
	_, rest, _ := strings.Cut(id, "/providers/")
	return cloud.Errorf(404, "ResourceNotFound", "The Resource '%s' was not found.", rest)
}

// address is the n-th address of a prefix.
func address(prefix netip.Prefix, n int) netip.Addr {
	a := prefix.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}
