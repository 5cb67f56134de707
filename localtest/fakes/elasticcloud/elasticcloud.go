// Package elasticcloud is a fake of the Elastic Cloud API (v1) as far as private
// connection policies go, and of what is behind Elastic's private link services: the
// proxy of a region, whose traffic filter decides by the policies that are associated
// with a deployment, and the deployments' Elasticsearch clusters.
//
// Requests are decoded into cloud-sdk-go's models and validated by them. Sources of
// its behaviour: the API's description (apidocs-user.json), Elastic's documentation on
// network security policies, issues and acceptance tests of terraform-provider-ec.
// Assumptions, since no source says: the code for deleting a policy that has
// associations, that of an endpoint which another organization has claimed, and that
// a connection becomes Disconnected when no policy names it any more.
package elasticcloud

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/elastic/cloud-sdk-go/pkg/models"
	"github.com/go-openapi/strfmt"

	"eslink/localtest/fakes/cloud"
	"eslink/shared/elasticcloud"
)

// Links are the private endpoints of Elastic's customers.
type Links interface {
	// Visible returns the GUIDs of endpoints of a name that are connected to a service
	// and have been for after.
	Visible(alias, name string, after time.Duration) (guids []string)
	// Decide approves or ends a connection.
	Decide(alias, name, guid, state, description string) bool
}

// Deployment is a hosted deployment.
type Deployment struct {
	ID, Name, Region string
	Alias            string // such as my-deployment-d53192; "" for none
	ClusterID        string
	Status           string // "" is started
	Elasticsearch    http.Handler
	Hidden           bool // another organization's, or one that the key may not see
}

// Ruleset is a policy.
type Ruleset struct {
	ID      string
	Request models.TrafficFilterRulesetRequest
	// Associated are deployments by ID.
	Associated []string
	// Unseen counts associations with deployments that the key may not see.
	Unseen int

	born   time.Time
	hidden int // reads that still answer 403
}

// Trouble is what shall go wrong.
type Trouble struct {
	// HiddenReads is how many reads of a new policy answer 403.
	HiddenReads int
	// ClaimedElsewhere are GUIDs that another organization has claimed.
	ClaimedElsewhere []string
	// NoRights has every call refused as the key lacks the right.
	NoRights bool
	// AssociateLies answers 403 to an association that has succeeded.
	AssociateLies bool
}

// Cloud is one organization.
type Cloud struct {
	account *cloud.Account
	links   Links
	mux     *http.ServeMux

	mu          sync.Mutex
	keys        map[string]bool
	deployments map[string]*Deployment
	rulesets    map[string]*Ruleset
	claims      []models.TrafficFilterClaimedLinkIDInfo
	trouble     Trouble
}

// New makes an organization without deployments.
func New(a *cloud.Account, links Links) *Cloud {
	c := &Cloud{account: a, links: links, mux: http.NewServeMux(), keys: map[string]bool{}, deployments: map[string]*Deployment{}, rulesets: map[string]*Ruleset{}, trouble: Trouble{HiddenReads: 1}}
	c.routes()
	return c
}

// AddKey makes an API key known.
func (c *Cloud) AddKey(key string) {
	c.account.Hide(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[key] = true
}

// AddDeployment adds a deployment.
func (c *Cloud) AddDeployment(d Deployment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deployments[d.ID] = &d
}

// AddRuleset adds a policy that somebody else has made.
func (c *Cloud) AddRuleset(r Ruleset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rulesets[r.ID] = &r
}

// SetTrouble replaces what goes wrong.
func (c *Cloud) SetTrouble(t Trouble) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = t
}

// Rulesets lists the policies, in the order of their IDs.
func (c *Cloud) Rulesets() []Ruleset {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Ruleset
	for _, id := range slices.Sorted(maps.Keys(c.rulesets)) {
		r := *c.rulesets[id]
		r.Associated = slices.Clone(r.Associated)
		out = append(out, r)
	}
	return out
}

// Claims lists the claimed endpoints' GUIDs.
func (c *Cloud) Claims() (guids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.claims {
		guids = append(guids, k.AzureEndpointGUID)
	}
	return guids
}

// Serves implements azure.Partner.
func (c *Cloud) Serves(alias string) bool {
	_, ok := regionOf(alias)
	return ok
}

// Certified reports whether the region's certificate is for host.
func (c *Cloud) Certified(alias, host string) bool {
	s, ok := regionOf(alias)
	return ok && strings.HasSuffix(host, "."+s.Zone)
}

func regionOf(alias string) (elasticcloud.Service, bool) {
	for _, region := range elasticcloud.Regions() {
		if s, err := elasticcloud.ServiceOf(region); err == nil && s.Alias == alias {
			return s, true
		}
	}
	return elasticcloud.Service{}, false
}

// Ingress implements azure.Partner: the region's proxy.
func (c *Cloud) Ingress(alias, guid string, port int) http.Handler {
	s, ok := regionOf(alias)
	if !ok || port != 443 && port != 9243 {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(r.Host, ":")
		d, allowed := c.arrive(s, host, guid)
		w.Header().Set("Content-Type", "application/json")
		switch {
		case d == nil:
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"ok":false,"message":"Unknown resource."}`)
		case !allowed:
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"ok":false,"message":"Forbidden"}`)
		case d.Elasticsearch == nil:
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"ok":false,"message":"The requested resource is not available."}`)
		default:
			d.Elasticsearch.ServeHTTP(w, r)
		}
	})
}

// arrive finds the deployment that a host means, and whether its filter lets the
// endpoint pass.
func (c *Cloud) arrive(s elasticcloud.Service, host, guid string) (*Deployment, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, ok := strings.CutSuffix(host, "."+s.Zone)
	if !ok {
		return nil, false
	}
	for _, d := range c.deployments {
		if name != d.ClusterID && name != d.Alias+".es" {
			continue
		}
		filters, passes := 0, false
		for _, r := range c.rulesets {
			if !slices.Contains(r.Associated, d.ID) {
				continue
			}
			filters++
			for _, rule := range r.Request.Rules {
				passes = passes || rule.AzureEndpointGUID == guid
			}
		}
		return d, filters == 0 || passes
	}
	return nil, false
}

// Public reports whether the deployment takes traffic from the internet.
func (c *Cloud) Public(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.rulesets {
		if slices.Contains(r.Associated, id) {
			return false
		}
	}
	return true
}

// ServeHTTP serves the API.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "", http.StatusRequestEntityTooLarge)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	recorder := httptest.NewRecorder()
	call := cloud.Call{Product: "elasticcloud", Action: r.Method + " " + r.URL.Path, Params: map[string]string{"path": r.URL.Path}}
	fault := c.account.FaultFor(call)
	switch {
	case fault.Before != nil:
		refuse(recorder, fault.Before)
	default:
		if refusal := c.authorize(r); refusal != nil {
			refuse(recorder, refusal)
		} else {
			c.mux.ServeHTTP(recorder, r)
		}
	}
	e := cloud.Exchange{At: c.account.Now(), Product: "elasticcloud", Action: call.Action, Method: r.Method, URL: cloud.URL(r), ReqHeader: r.Header, ReqBody: string(body),
		Status: recorder.Code, RespBody: recorder.Body.String(), Write: r.Method != http.MethodGet}
	if fault.LoseReply {
		e.Status, e.RespBody = 0, ""
	}
	c.account.Record(e)
	if fault.LoseReply {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), recorder.Header())
	w.WriteHeader(recorder.Code)
	w.Write(recorder.Body.Bytes())
}

func (c *Cloud) authorize(r *http.Request) *cloud.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.keys[strings.TrimPrefix(r.Header.Get("Authorization"), "ApiKey ")] {
		return cloud.Errorf(401, "root.unauthenticated", "The supplied authentication is invalid")
	}
	if c.trouble.NoRights {
		return hidden(r.URL.Path)
	}
	return nil
}

// hidden is the API's answer for what does not exist and for what the key may not see.
func hidden(path string) *cloud.Error {
	return cloud.Errorf(403, "root.permission_denied", "To access the resource [r:%s] the user must have the required authorization", strings.TrimPrefix(path, "/api/v1"))
}

func refuse(w http.ResponseWriter, e *cloud.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("x-cloud-error-codes", e.Code)
	w.WriteHeader(e.Status)
	json.NewEncoder(w).Encode(map[string]any{"errors": []any{map[string]any{"code": e.Code, "message": e.Message}}})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

type model interface{ Validate(strfmt.Registry) error }

// decode reads a body into a model and validates it as the vendor's client would.
func decode(r *http.Request, into model) *cloud.Error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return cloud.Errorf(400, "root.malformed_body", "The body is not well formed: %s", err)
	}
	if err := into.Validate(strfmt.Default); err != nil {
		return cloud.Errorf(400, "root.invalid_data", "%s", err)
	}
	return nil
}

func (c *Cloud) routes() {
	const base = "/api/v1/deployments/traffic-filter"
	locked := func(h func(r *http.Request) (int, any, *cloud.Error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			c.mu.Lock()
			defer c.mu.Unlock()
			status, body, refusal := h(r)
			if refusal != nil {
				refuse(w, refusal)
				return
			}
			answer(w, status, body)
		}
	}
	c.mux.HandleFunc("GET /api/v1/deployments/{id}", locked(c.getDeployment))
	c.mux.HandleFunc("GET "+base+"/rulesets", locked(c.list))
	c.mux.HandleFunc("POST "+base+"/rulesets", locked(c.create))
	c.mux.HandleFunc("GET "+base+"/rulesets/{id}", locked(c.get))
	c.mux.HandleFunc("PUT "+base+"/rulesets/{id}", locked(c.update))
	c.mux.HandleFunc("DELETE "+base+"/rulesets/{id}", locked(c.delete))
	c.mux.HandleFunc("POST "+base+"/rulesets/{id}/associations", locked(c.associate))
	c.mux.HandleFunc("DELETE "+base+"/rulesets/{id}/associations/{kind}/{entity}", locked(c.disassociate))
	c.mux.HandleFunc("GET "+base+"/associations/{kind}/{entity}/rulesets", locked(c.of))
	c.mux.HandleFunc("GET "+base+"/link-ids", locked(func(r *http.Request) (int, any, *cloud.Error) {
		list := []*models.TrafficFilterClaimedLinkIDInfo{}
		for _, k := range c.claims {
			if *k.Region == r.URL.Query().Get("region") {
				list = append(list, &k)
			}
		}
		return 200, models.TrafficFilterClaimedLinkIds{ClaimedLinkIds: list}, nil
	}))
	c.mux.HandleFunc("POST "+base+"/link-ids/_claim", locked(c.claim))
	c.mux.HandleFunc("POST "+base+"/link-ids/_unclaim", locked(c.unclaim))
}

// String describes a policy for tests.
func (r Ruleset) String() string {
	return fmt.Sprintf("%s %s rules=%d associated=%v", r.ID, *r.Request.Name, len(r.Request.Rules), r.Associated)
}
