// Package zilliz is a fake of Zilliz Cloud's control plane (REST API v2) for
// clusters on AWS, and of what answers at a cluster's private address. It shares
// its state with the fake of AWS: registering an endpoint is what gets it
// accepted there.
//
// It is unkind: failures come with HTTP 200, lists trail writes and come in
// pages of what was asked for, statuses are spelled in the several ways that the
// vendor's documents and tests show, and the private address is allocated some
// minutes after the endpoint is available.
package zilliz

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"eslink/localtest/fakes/aws"
	"eslink/localtest/fakes/cloud"
)

// Host is where the API is called.
const Host = "api.cloud.zilliz.com"

// Cluster is a cluster of a project.
type Cluster struct {
	ID, Project, Region string
	Plan                string // Enterprise if ""
	Status              string // RUNNING if ""
	CUs                 int    // 0 for a cluster that is not Dedicated
	Port                int    // of its private address
	// Switchable says that the API can open and close the public address; Public is
	// whether it is open.
	Switchable, Public bool
	Collections        []string
	// Keys are the credentials that its data plane takes.
	Keys []string
	// Untrusted says that its certificate is not valid.
	Untrusted bool

	private time.Time // from when it has a private address
}

// Service is the endpoint service of a region.
type Service struct {
	Region    string // aws-us-west-2
	Name      string // com.amazonaws.vpce.…
	Whitelist bool
}

// Endpoint is a registered endpoint.
type Endpoint struct {
	ID, Project, Region string

	listed, gone, accepted time.Time
	word                   string
	status                 string // set by hand
}

// Fake is Zilliz Cloud.
type Fake struct {
	world *cloud.Account
	aws   *aws.Fake

	mu        sync.Mutex
	keys      map[string]bool // API keys
	projects  map[string]bool
	services  map[string]Service
	clusters  map[string]*Cluster
	endpoints map[string]*Endpoint // by project and ID
	admitted  map[string]bool
	low       map[string]bool // projects whose plan is too low
	mute      bool            // addresses never come
}

// New returns a Zilliz Cloud whose services are endpoint services of a.
func New(world *cloud.Account, a *aws.Fake) *Fake {
	return &Fake{world: world, aws: a, keys: map[string]bool{}, projects: map[string]bool{}, services: map[string]Service{}, clusters: map[string]*Cluster{}, endpoints: map[string]*Endpoint{}, admitted: map[string]bool{}, low: map[string]bool{}}
}

// AddKey makes an API key valid.
func (f *Fake) AddKey(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[key] = true
	f.world.Hide(key)
}

// RemoveKey revokes one.
func (f *Fake) RemoveKey(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, key)
}

// AddService offers a region's endpoint service at AWS too: in zones, and from
// other regions.
func (f *Fake) AddService(s Service, region string, zones, others []string) {
	f.mu.Lock()
	f.services[s.Region] = s
	f.mu.Unlock()
	var accounts map[string]bool
	if s.Whitelist {
		accounts = map[string]bool{}
	}
	f.aws.AddService(aws.Service{Name: s.Name, Region: region, Zones: zones, Regions: others, Accounts: accounts,
		Port: func(endpointID, host string, port int) aws.Answer { return f.answer(s.Region, endpointID, host, port) }})
}

// AddCluster adds a cluster with its project.
func (f *Fake) AddCluster(c Cluster) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.Plan == "" {
		c.Plan = "Enterprise"
	}
	if c.Status == "" {
		c.Status = "RUNNING"
	}
	f.clusters[c.ID], f.projects[c.Project] = &c, true
	f.world.Hide(c.Keys...)
}

// SetCluster changes one.
func (f *Fake) SetCluster(id string, change func(*Cluster)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.clusters[id])
}

// Mute makes private addresses never come.
func (f *Fake) Mute() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute = true
}

// GiveAddress gives a cluster its private address now, as an endpoint of
// somebody else does.
func (f *Fake) GiveAddress(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clusters[id].private = f.world.Now()
}

// SetEndpointStatus makes a registered endpoint show a status from now on.
func (f *Fake) SetEndpointStatus(project, id, status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endpoints[project+"/"+id].status = status
}

// Register registers an endpoint as somebody else does.
func (f *Fake) Register(project, region, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endpoints[project+"/"+id] = &Endpoint{ID: id, Project: project, Region: region, word: "AVAILABLE"}
}

// Remove takes an endpoint off as somebody does in the console.
func (f *Fake) Remove(project, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endpoints[project+"/"+id].gone = f.world.Now()
}

// LowPlan makes a project one without private endpoints.
func (f *Fake) LowPlan(project string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.low[project] = true
}

// Endpoints are the registered endpoints, by their IDs.
func (f *Fake) Endpoints() []Endpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Endpoint
	for _, k := range slices.Sorted(maps.Keys(f.endpoints)) {
		if e := f.endpoints[k]; e.gone.IsZero() {
			out = append(out, *e)
		}
	}
	return out
}

// Admitted are the accounts on the whitelist, as region/account.
func (f *Fake) Admitted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.admitted))
}

// Public reports whether a cluster's public address is open.
func (f *Fake) Public(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clusters[id].Public
}

// PrivateHost is a cluster's private host name.
func PrivateHost(c Cluster) string {
	return c.ID + "." + c.Region + ".vectordb-private.zillizcloud.com"
}

// answer is what the service behind an endpoint does at a port.
func (f *Fake) answer(region, endpointID, host string, port int) aws.Answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.clusters {
		if c.Region != region || c.Port != port || PrivateHost(*c) != host || c.Status != "RUNNING" {
			continue
		}
		if e := f.endpoints[c.Project+"/"+endpointID]; e == nil || !e.gone.IsZero() {
			continue
		}
		if c.Untrusted {
			return aws.Untrusted
		}
		return aws.Serves
	}
	return aws.Refuses
}

// Data is who answers at a private host: the cluster's data plane, to the two
// requests that the probe makes.
func (f *Fake) Data(host string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		var c *Cluster
		for _, x := range f.clusters {
			if PrivateHost(*x) == host {
				c = x
			}
		}
		f.mu.Unlock()
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case c == nil || r.Method != http.MethodPost || r.URL.Path != "/v2/vectordb/collections/list":
			http.Error(w, "invalid request", http.StatusBadRequest) // what the seed's curl shows
		case !slices.Contains(c.Keys, token):
			write(w, http.StatusUnauthorized, map[string]any{"code": 1800, "message": "user hasn't authenticated"})
		default:
			write(w, http.StatusOK, map[string]any{"code": 0, "data": append([]string{}, c.Collections...)})
		}
	})
}

func write(w http.ResponseWriter, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("zilliz: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(raw)
}

// refusal is a failure, which comes with HTTP 200 unless status says otherwise.
type refusal struct {
	code    int
	message string
	status  int
}

func (r *refusal) Error() string { return r.message }

func refuse(code int, format string, args ...any) error {
	return &refusal{code: code, message: fmt.Sprintf(format, args...), status: http.StatusOK}
}

// call is one request.
type call struct {
	action string
	path   []string
	query  map[string]string
	body   map[string]any
	now    time.Time
}

// routes are the operations by method and path, * for a part that varies.
var routes = []struct {
	action, method, path string
	run                  func(*Fake, *call) (any, error)
}{
	{"ListPrivateEndpointServices", "GET", "/v2/privateEndpointServices", listServices},
	{"ListPrivateEndpoints", "GET", "/v2/projects/*/privateEndpoints", listEndpoints},
	{"CreatePrivateEndpoint", "POST", "/v2/projects/*/privateEndpoints", createEndpoint},
	{"DeletePrivateEndpoint", "DELETE", "/v2/projects/*/privateEndpoints/*", deleteEndpoint},
	{"AddPrivateEndpointWhitelist", "POST", "/v2/projects/*/privateEndpointWhitelist", admit},
	{"DescribeCluster", "GET", "/v2/clusters/*", describe},
	{"UpdateCluster", "PATCH", "/v2/clusters/*", update},
}

func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	c := &call{query: map[string]string{}, now: f.world.Now()}
	data, fault, err := f.handle(c, r, body)
	status, reply := http.StatusOK, map[string]any{"code": 0, "data": data}
	if no := (*refusal)(nil); errorAs(err, &no) {
		status, reply = no.status, map[string]any{"code": no.code, "message": no.message}
	}
	raw, _ := json.Marshal(reply)
	e := cloud.Exchange{At: c.now, Product: "zilliz", Action: c.action, Method: r.Method, URL: cloud.URL(r), ReqHeader: r.Header, ReqBody: string(body), Status: status, RespBody: string(raw),
		Write: r.Method != http.MethodGet && err == nil}
	if err != nil && status == http.StatusOK {
		e.Status = 400 // in the log a failure is one
	}
	if fault.LoseReply {
		e.Status, e.RespBody = 0, ""
	}
	f.world.Record(e)
	if fault.LoseReply {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("requestid", f.world.NewID("", 16))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(raw)
}

func errorAs(err error, into **refusal) bool {
	r, ok := err.(*refusal)
	*into = r
	return ok
}

func (f *Fake) handle(c *call, r *http.Request, body []byte) (any, cloud.Fault, error) {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	f.mu.Lock()
	known := f.keys[key]
	f.mu.Unlock()
	switch {
	case key == "":
		return nil, cloud.Fault{}, refuse(1800, "User hasn't authenticated")
	case !known:
		return nil, cloud.Fault{}, refuse(21119, "The apikey is illegal.")
	}
	for _, route := range routes {
		path, ok := match(route.path, r.URL.Path)
		if !ok || route.method != r.Method {
			continue
		}
		c.action, c.path = route.action, path
		for k, v := range r.URL.Query() {
			c.query[k] = v[0]
		}
		if len(body) > 0 && (json.Unmarshal(body, &c.body) != nil || r.Header.Get("Content-Type") != "application/json") {
			return nil, cloud.Fault{}, refuse(1801, "The body is not JSON.")
		}
		fault := f.world.FaultFor(cloud.Call{Product: "zilliz", Action: c.action, Params: c.query})
		if fault.Before != nil {
			if strings.HasPrefix(fault.Before.Code, "Throttling") {
				return nil, fault, &refusal{429, "Too many requests.", http.StatusTooManyRequests}
			}
			code, err := strconv.Atoi(fault.Before.Code) // one of this service's own, with its HTTP status
			if err != nil {
				code = fault.Before.Status
			}
			return nil, fault, &refusal{code, fault.Before.Message, fault.Before.Status}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.settle(c.now)
		data, err := route.run(f, c)
		return data, fault, err
	}
	return nil, cloud.Fault{}, &refusal{404, "no such path: " + r.URL.Path, http.StatusNotFound}
}

// match returns what stands for the stars of a pattern.
func match(pattern, path string) ([]string, bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return nil, false
	}
	var out []string
	for i := range want {
		if want[i] == "*" {
			out = append(out, have[i])
		} else if want[i] != have[i] {
			return nil, false
		}
	}
	return out, true
}

// settle gives clusters their addresses once an endpoint of their project and
// region was available for some minutes.
func (f *Fake) settle(now time.Time) {
	for _, e := range f.endpoints {
		if e.accepted.IsZero() || !e.gone.IsZero() || f.mute {
			continue
		}
		if f.aws.EndpointState(e.ID) != "available" {
			continue
		}
		ready := f.aws.SettledAt(e.ID)
		for _, c := range f.clusters {
			if c.Project == e.Project && c.Region == e.Region && c.CUs > 0 && c.private.IsZero() {
				c.private = ready.Add(f.world.Between(2*time.Minute, 5*time.Minute))
			}
		}
	}
}

// paged cuts the page that currentPage and pageSize ask for; a size that the
// API does not take counts as 10.
func paged[T any](c *call, name string, all []T) map[string]any {
	size, _ := strconv.Atoi(c.query["pageSize"])
	if size < 1 || size > 100 {
		size = 10
	}
	page, _ := strconv.Atoi(c.query["currentPage"])
	from := min(max(page-1, 0)*size, len(all))
	return map[string]any{name: append([]T{}, all[from:min(from+size, len(all))]...), "count": len(all), "currentPage": max(page, 1), "pageSize": size}
}

func listServices(f *Fake, c *call) (any, error) {
	var all []map[string]any
	for _, region := range slices.Sorted(maps.Keys(f.services)) {
		if want := c.query["regionId"]; want == "" || want == region {
			s := f.services[region]
			all = append(all, map[string]any{"regionId": s.Region, "cloudId": "aws", "endpointService": s.Name, "whitelistRequired": s.Whitelist})
		}
	}
	return paged(c, "endpointServices", all), nil
}

func (f *Fake) project(c *call) error {
	if !f.projects[c.path[0]] {
		return refuse(21105, "Project %s does not exist.", c.path[0])
	}
	return nil
}

func listEndpoints(f *Fake, c *call) (any, error) {
	if err := f.project(c); err != nil {
		return nil, err
	}
	var all []map[string]any
	for _, k := range slices.Sorted(maps.Keys(f.endpoints)) {
		e := f.endpoints[k]
		if e.Project != c.path[0] || c.now.Before(e.listed) || !e.gone.IsZero() && !c.now.Before(e.gone) {
			continue
		}
		all = append(all, map[string]any{"regionId": e.Region, "cloudId": "aws", "endpointService": f.services[e.Region].Name, "endpointServiceStatus": "AVAILABLE",
			"endpointId": e.ID, "endpointStatus": f.status(e, c.now)})
	}
	return paged(c, "endpoints", all), nil
}

func (f *Fake) status(e *Endpoint, now time.Time) string {
	switch {
	case e.status != "":
		return e.status
	case e.accepted.IsZero() || now.Before(e.accepted):
		return "PENDING"
	}
	return e.word
}

func text(c *call, name string) string {
	s, _ := c.body[name].(string)
	return s
}

func createEndpoint(f *Fake, c *call) (any, error) {
	if err := f.project(c); err != nil {
		return nil, err
	}
	region, id := text(c, "regionId"), text(c, "endpointId")
	s, ok := f.services[region]
	if !ok {
		return nil, refuse(21110, "Region %s is not valid.", region)
	}
	k := c.path[0] + "/" + id
	if e := f.endpoints[k]; e != nil && e.gone.IsZero() {
		return nil, refuse(21132, "The endpoint %s is registered already.", id)
	}
	if f.low[c.path[0]] {
		return nil, refuse(21140, "The plan of the project does not include private endpoints.")
	}
	e := &Endpoint{ID: id, Project: c.path[0], Region: region, listed: c.now.Add(f.world.Lag(time.Minute)), word: []string{"AVAILABLE", "Available", "accepted"}[len(f.endpoints)%3]}
	f.endpoints[k] = e
	if f.aws.EndpointService(id) == s.Name {
		e.accepted = c.now.Add(f.world.Between(10*time.Second, 2*time.Minute))
		f.aws.Accept(id, e.accepted)
	}
	return map[string]string{"endpointId": id, "regionId": region}, nil
}

func deleteEndpoint(f *Fake, c *call) (any, error) {
	if err := f.project(c); err != nil {
		return nil, err
	}
	if c.query["regionId"] == "" {
		return nil, refuse(1802, "regionId is required.")
	}
	e := f.endpoints[c.path[0]+"/"+c.path[1]]
	if e == nil || !e.gone.IsZero() || e.Region != c.query["regionId"] {
		return nil, refuse(21133, "The endpoint %s does not exist.", c.path[1])
	}
	e.gone = c.now.Add(f.world.Lag(30 * time.Second))
	return map[string]string{"endpointId": e.ID}, nil
}

func admit(f *Fake, c *call) (any, error) {
	if err := f.project(c); err != nil {
		return nil, err
	}
	region, account := text(c, "regionId"), text(c, "outerUserId")
	s, ok := f.services[region]
	if !ok || account == "" {
		return nil, refuse(21110, "Region %s is not valid.", region)
	}
	f.admitted[region+"/"+account] = true
	if s.Whitelist {
		f.aws.AdmitAccount(s.Name, account)
	}
	return "success", nil
}

func (f *Fake) cluster(c *call) (*Cluster, error) {
	if x := f.clusters[c.path[0]]; x != nil {
		return x, nil
	}
	return nil, refuse(21200, "Cluster %s does not exist.", c.path[0])
}

func describe(f *Fake, c *call) (any, error) {
	x, err := f.cluster(c)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"clusterId": x.ID, "clusterName": x.ID, "projectId": x.Project, "regionId": x.Region, "plan": x.Plan, "status": x.Status, "cuSize": x.CUs,
		"connectAddress": "https://" + x.ID + "." + x.Region + ".vectordb.zillizcloud.com:19540", "privateLinkAddress": ""}
	if !x.private.IsZero() && !c.now.Before(x.private) {
		out["privateLinkAddress"] = fmt.Sprintf("https://%s:%d", PrivateHost(*x), x.Port)
	}
	if x.Switchable {
		out["publicAddressEnabled"] = x.Public
	}
	return out, nil
}

func update(f *Fake, c *call) (any, error) {
	x, err := f.cluster(c)
	if err != nil {
		return nil, err
	}
	enabled, ok := c.body["publicAddressEnabled"].(bool)
	if !ok || !x.Switchable {
		return nil, refuse(1802, "The field publicAddressEnabled is unknown.")
	}
	if !enabled && (x.private.IsZero() || c.now.Before(x.private)) {
		return nil, refuse(21210, "Cannot disable public address")
	}
	x.Public = enabled
	return map[string]string{"clusterId": x.ID}, nil
}
