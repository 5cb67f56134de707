// Package aws is a fake of what eslink uses of Amazon Web Services: EC2 (query
// protocol, XML), Route 53 (REST, XML), Systems Manager (JSON) and STS (query),
// over HTTP, with one state and a data plane. A name resolves only in VPCs that
// have its zone, a packet passes only where security groups and network ACLs
// admit it, and what does not pass hangs.
//
// It serves several regions and accounts behind one handler and tells them
// apart by the host name and the key that a request is signed with. Signatures
// (SigV4) are checked with the SDK's own signer; parameters against
// operations.json, which is distilled from botocore's service models.
//
// It is unkind: reads by ID miss what was just created for some seconds, lists
// trail longer, lists come in pages of five, deletion is refused in the wrong
// order, and durations are drawn from the account's seed.
package aws

import (
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"eslink/localtest/fakes/cloud"
)

// Fake is AWS. Its methods may be called concurrently.
type Fake struct {
	world *cloud.Account // the clock, the seed, faults and the log of calls

	mu        sync.Mutex
	home      string // the account of keys that no other account was named for
	keys      map[string]key
	roles     map[string]role
	vpcs      map[string]*VPC
	subnets   map[string]*Subnet
	acls      map[string]*ACL
	groups    map[string]*group
	instances map[string]*Instance
	services  map[string]*Service
	endpoints map[string]*endpoint
	tokens    map[string]token
	zones     map[string]*zone
	changes   map[string]time.Time // when they are in sync
	refs      map[string]bool      // caller references that were used
	documents map[string]string    // by region/name
	commands  map[string]*command
	parameter map[string]string // Parameter Store, by region/name
	run       Runner
	// multiRegion says that the callers lack vpce:AllowMultiRegion.
	denyMultiRegion bool
	limit           int
}

type key struct {
	secret, session, account string
	expires                  time.Time // zero: never
}

type role struct{ account, externalID string }

// PageSize is how many items a list returns at a time.
const PageSize = 5

// New returns an AWS without anything in it; account is the ID of the account
// that AddVPC and the like fill. Its clock, seed, faults and log are world's.
func New(world *cloud.Account, account string) *Fake {
	return &Fake{
		world: world, home: account, keys: map[string]key{}, roles: map[string]role{}, vpcs: map[string]*VPC{}, subnets: map[string]*Subnet{}, acls: map[string]*ACL{},
		groups: map[string]*group{}, instances: map[string]*Instance{}, services: map[string]*Service{}, endpoints: map[string]*endpoint{}, tokens: map[string]token{},
		zones: map[string]*zone{}, changes: map[string]time.Time{}, refs: map[string]bool{}, documents: map[string]string{}, commands: map[string]*command{},
		parameter: map[string]string{}, limit: 50,
	}
}

// AddKey makes an access key of an account valid.
func (f *Fake) AddKey(accessKeyID, secret, account string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[accessKeyID] = key{secret: secret, account: account}
	f.world.Hide(secret)
}

// RemoveKey revokes an access key.
func (f *Fake) RemoveKey(accessKeyID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, accessKeyID)
}

// AddRole makes a role that anybody with the external ID may assume.
func (f *Fake) AddRole(arn, account, externalID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.roles[arn] = role{account, externalID}
}

// DenyMultiRegion makes requests for services of another region unauthorized.
func (f *Fake) DenyMultiRegion() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.denyMultiRegion = true
}

// SetEndpointLimit sets how many interface endpoints a VPC takes.
func (f *Fake) SetEndpointLimit(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = n
}

// request is one call.
type request struct {
	service, region, account string
	action                   string
	id                       string
	params                   params // query protocols and Route 53's query
	path                     map[string]string
	body                     []byte
	now                      time.Time
}

// IsHost reports whether a host is one of AWS's that this fake plays.
func IsHost(host string) bool {
	service, _ := serviceOf(host)
	return service != ""
}

// serviceOf takes a host such as ec2.us-west-2.amazonaws.com apart.
func serviceOf(host string) (service, region string) {
	name, ok := strings.CutSuffix(host, ".amazonaws.com")
	if !ok {
		return "", ""
	}
	service, region, _ = strings.Cut(name, ".")
	if service == "route53" && region == "" {
		region = "us-east-1"
	}
	if operations[service] == nil || region == "" {
		return "", ""
	}
	return service, region
}

func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req := &request{id: f.uuid(), body: body, now: f.world.Now()}
	reply, fault, refusal := f.handle(req, r)
	status, kind, out := http.StatusOK, "text/xml;charset=UTF-8", []byte(nil)
	switch {
	case refusal != nil:
		status = refusal.Status
		kind, out = refuse(req, refusal)
	case req.service == "ssm":
		kind, out = "application/x-amz-json-1.1", mustJSON(reply)
	default:
		out = f.encode(req, reply)
		if _, created := createsZone[req.action]; created {
			status = http.StatusCreated
		}
	}
	e := cloud.Exchange{At: req.now, Product: req.service, Action: req.action, Method: r.Method, URL: cloud.URL(r), ReqHeader: r.Header, ReqBody: string(body),
		Status: status, RespBody: string(out), Caller: cloud.Principal{AccountID: req.account}, Write: isWrite(req.action)}
	if fault.LoseReply {
		e.Status, e.RespBody = 0, ""
	}
	f.world.Record(e)
	if fault.LoseReply {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Amzn-Requestid", req.id)
	w.WriteHeader(status)
	w.Write(out)
}

var createsZone = map[string]bool{"CreateHostedZone": true}

func isWrite(action string) bool {
	for _, read := range []string{"Get", "List", "Describe", "Assume"} {
		if strings.HasPrefix(action, read) {
			return false
		}
	}
	return action != ""
}

// op is one operation, run with the fake's lock held.
type op func(*Fake, *request) (any, error)

func (f *Fake) handle(req *request, r *http.Request) (any, cloud.Fault, *cloud.Error) {
	req.service, req.region = serviceOf(r.Host)
	if req.service == "" {
		return nil, cloud.Fault{}, cloud.Errorf(404, "UnknownEndpoint", "Host %s is none of this fake's.", r.Host)
	}
	if err := f.authenticate(req, r); err != nil {
		return nil, cloud.Fault{}, err
	}
	if err := req.parse(r); err != nil {
		return nil, cloud.Fault{}, err
	}
	flat := map[string]string{}
	for k, v := range req.params {
		flat[k] = v
	}
	fault := f.world.FaultFor(cloud.Call{Product: req.service, Action: req.action, Params: flat, Caller: cloud.Principal{AccountID: req.account}})
	if fault.Before != nil {
		return nil, fault, own(req.service, fault.Before)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	reply, err := ops[req.service][req.action](f, req)
	var refusal *cloud.Error
	if errors.As(err, &refusal) {
		return nil, fault, refusal
	} else if err != nil {
		return nil, fault, cloud.Errorf(500, "InternalError", "%s", err)
	}
	return reply, fault, nil
}

// own says what a fault of the world is called here.
func own(service string, e *cloud.Error) *cloud.Error {
	if !strings.HasPrefix(e.Code, "Throttling") {
		return e
	}
	switch service {
	case "ec2":
		return cloud.Errorf(503, "RequestLimitExceeded", "Request limit exceeded.")
	case "ssm":
		return cloud.Errorf(400, "ThrottlingException", "Rate exceeded")
	}
	return cloud.Errorf(400, "Throttling", "Rate exceeded")
}

// parse finds the operation and holds its parameters against the models.
func (r *request) parse(h *http.Request) *cloud.Error {
	s := operations[r.service]
	switch r.service {
	case "ec2", "sts":
		form, err := url.ParseQuery(string(r.body))
		if err != nil || h.Method != http.MethodPost || h.URL.Path != "/" {
			return cloud.Errorf(400, "InvalidRequest", "The request is no form.")
		}
		r.action, r.params = form.Get("Action"), params{}
		if v := form.Get("Version"); v != s.Version {
			return cloud.Errorf(400, "InvalidParameterValue", "Version %q is not %s.", v, s.Version)
		}
		form.Del("Action")
		form.Del("Version")
		for k, v := range form {
			r.params[k] = v[0]
		}
	case "ssm":
		target, ok := strings.CutPrefix(h.Header.Get("X-Amz-Target"), s.Target+".")
		if !ok {
			return cloud.Errorf(400, "UnknownOperationException", "There is no target.")
		}
		r.action, r.params = target, params{}
		if err := flattenJSON(r.body, r.params); err != nil {
			return cloud.Errorf(400, "SerializationException", "%s", err)
		}
	case "route53":
		if err := s.route(r, h); err != nil {
			return err
		}
	}
	if ops[r.service][r.action] == nil {
		return cloud.Errorf(400, "InvalidAction", "The action %s is not valid for this web service.", r.action)
	}
	return s.Operations[r.action].check(r)
}

func (f *Fake) uuid() string {
	id := f.world.NewID("", 32)
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}

// hex draws an ID as EC2's are: a prefix and 17 hexadecimal digits.
func (f *Fake) hex(prefix string) string {
	id := []byte(f.world.NewID("", 17))
	for i, c := range id {
		id[i] = "0123456789abcdef"[c%16]
	}
	return prefix + string(id)
}

const (
	ec2Namespace     = "http://ec2.amazonaws.com/doc/2016-11-15/"
	stsNamespace     = "https://sts.amazonaws.com/doc/2011-06-15/"
	route53Namespace = "https://route53.amazonaws.com/doc/2013-04-01/"
)

// encode writes a reply in the service's form of XML.
func (f *Fake) encode(r *request, reply any) []byte {
	namespace := map[string]string{"ec2": ec2Namespace, "sts": stsNamespace, "route53": route53Namespace}[r.service]
	if r.service == "sts" {
		reply = struct{ Result any }{named{r.action + "Result", reply}}
	}
	out := mustXML(r.action+"Response", reply)
	root, rest, _ := bytes.Cut(out, []byte(">"))
	id := map[string]string{"ec2": "<requestId>" + r.id + "</requestId>", "sts": "<ResponseMetadata><RequestId>" + r.id + "</RequestId></ResponseMetadata>"}[r.service]
	return fmt.Appendf(nil, "%s%s xmlns=%q>%s%s", xml.Header, root, namespace, id, rest)
}

// named encodes a value under a name.
type named struct {
	name  string
	value any
}

// MarshalXML implements xml.Marshaler.
func (n named) MarshalXML(e *xml.Encoder, _ xml.StartElement) error {
	return e.EncodeElement(n.value, xml.StartElement{Name: xml.Name{Local: n.name}})
}

// refuse is an error as the service sends it.
func refuse(r *request, err *cloud.Error) (kind string, out []byte) {
	switch r.service {
	case "ssm":
		return "application/x-amz-json-1.1", mustJSON(map[string]string{"__type": err.Code, "message": err.Message})
	case "route53", "sts":
		return "text/xml", mustXML("ErrorResponse", struct {
			Error struct {
				Type    string
				Code    string
				Message string
			}
			RequestID string `xml:"RequestId"`
		}{Error: struct {
			Type    string
			Code    string
			Message string
		}{"Sender", err.Code, err.Message}, RequestID: r.id})
	}
	return "text/xml;charset=UTF-8", mustXML("Response", struct {
		Code      string `xml:"Errors>Error>Code"`
		Message   string `xml:"Errors>Error>Message"`
		RequestID string `xml:"RequestID"`
	}{err.Code, err.Message, r.id})
}

func mustXML(name string, v any) []byte {
	var b bytes.Buffer
	if err := xml.NewEncoder(&b).EncodeElement(v, xml.StartElement{Name: xml.Name{Local: name}}); err != nil {
		panic("aws: " + err.Error())
	}
	return b.Bytes()
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("aws: " + err.Error())
	}
	return b
}

// between draws a duration that callers have to wait out.
func (f *Fake) between(lo, hi time.Duration) time.Duration { return f.world.Between(lo, hi) }

// page cuts the page that NextToken asks for out of all.
func page[T any](r *request, name string, all []T) (items []T, next string, err error) {
	from := 0
	if t := r.params[name]; t != "" {
		if _, err := fmt.Sscanf(t, "page-%d", &from); err != nil || from > len(all) {
			return nil, "", cloud.Errorf(400, "InvalidNextToken", "The token is not valid.")
		}
	}
	to := min(from+PageSize, len(all))
	if to < len(all) {
		next = fmt.Sprintf("page-%d", to)
	}
	return all[from:to], next, nil
}

// params are flat parameters: Filter.1.Name, SubnetId.1.
type params map[string]string

// values are the items of a list of scalars.
func (p params) values(name string) []string {
	var out []string
	for i := 1; ; i++ {
		v, ok := p[fmt.Sprintf("%s.%d", name, i)]
		if !ok {
			return out
		}
		out = append(out, v)
	}
}

// structs are the items of a list of structures.
func (p params) structs(name string) []params {
	var out []params
	for i := 1; ; i++ {
		item, prefix := params{}, fmt.Sprintf("%s.%d.", name, i)
		for k, v := range p {
			if rest, ok := strings.CutPrefix(k, prefix); ok {
				item[rest] = v
			}
		}
		if len(item) == 0 {
			return out
		}
		out = append(out, item)
	}
}

// filters are the filters of a Describe operation.
func (p params) filters() map[string][]string {
	out := map[string][]string{}
	for _, item := range p.structs("Filter") {
		out[item["Name"]] = item.values("Value")
	}
	return out
}

// tags are those of TagSpecification.
func (p params) tags() map[string]string {
	out := map[string]string{}
	for _, spec := range p.structs("TagSpecification") {
		for _, t := range spec.structs("Tag") {
			out[t["Key"]] = t["Value"]
		}
	}
	return out
}

type tag struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

func address(prefix netip.Prefix, n int) netip.Addr {
	a := prefix.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

func first(values ...string) string { return cmp.Or(values...) }
