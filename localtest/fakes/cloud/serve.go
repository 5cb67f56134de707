package cloud

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// service is the front of one product: what RPC and ROA return.
type service struct {
	*Account
	product string
	roa     bool
	meta    *product
	ops     map[string]Op

	mu     sync.Mutex // held while a call with a token takes effect: its twin waits and then replays
	tokens map[string]replay
}

// replay is the first reply to a token.
type replay struct {
	at          time.Time
	fingerprint string
	reply       map[string]json.RawMessage
}

// RPC serves operations of an RPC product: POST or GET /, Action as a parameter (V1) or in x-acs-action (ACS3).
// An operation or version that operations.json does not know panics.
func (a *Account) RPC(product, version string, ops map[string]Op) http.Handler {
	return a.serve(product, version, ops, false)
}

// ROA serves operations of a RESTful product, routed by method and path.
func (a *Account) ROA(product, version string, ops map[string]Op) http.Handler {
	return a.serve(product, version, ops, true)
}

func (a *Account) serve(product, version string, ops map[string]Op, roa bool) http.Handler {
	meta := metadata(product)
	if meta == nil || meta.Version != version {
		panic("cloud: no metadata of " + product + " " + version)
	}
	for name := range ops {
		if o := meta.Operations[name]; o == nil || (o.Path != "") != roa {
			panic("cloud: no metadata of " + product + " " + name + " in this style")
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.served[product] = sorted(ops)
	return &service{Account: a, product: product, roa: roa, meta: meta, ops: ops, tokens: map[string]replay{}}
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := &Request{Product: s.product, ID: s.requestID()}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	reply, fault, refusal := map[string]json.RawMessage(nil), Fault{}, (*Error)(nil)
	if err != nil {
		refusal = Errorf(413, "RequestTooLarge", "The request body is too large or broken.")
	} else {
		reply, fault, refusal = s.handle(req, r, body)
	}
	status := http.StatusOK
	if refusal != nil {
		status = refusal.Status
		reply = map[string]json.RawMessage{"Code": raw(refusal.Code), "Message": raw(refusal.Message), "HostId": raw(r.Host)}
	}
	reply["RequestId"] = raw(req.ID)
	out := raw(reply)
	e := Exchange{At: s.Now(), Product: s.product, Action: req.Action, Method: r.Method, URL: URL(r), ReqHeader: r.Header,
		ReqBody: string(body), Status: status, RespBody: string(out), Caller: req.Caller}
	if o := s.meta.Operations[req.Action]; o != nil {
		e.Write = o.Write
	}
	if fault.LoseReply {
		e.Status, e.RespBody = 0, ""
	}
	s.Record(e)
	s.log.Debug("call", "product", s.product, "action", req.Action, "status", e.Status, "request", req.ID)
	if fault.LoseReply {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.Header().Set("x-acs-request-id", req.ID)
	w.WriteHeader(status)
	w.Write(out)
}

// handle fills in the request as it learns about it, so that refused calls are logged with what is known of them.
func (s *service) handle(req *Request, r *http.Request, body []byte) (map[string]json.RawMessage, Fault, *Error) {
	m := &message{Request: r, body: body, form: url.Values{}}
	var bad error
	if m.query, bad = url.ParseQuery(r.URL.RawQuery); bad != nil {
		return nil, Fault{}, Errorf(400, "InvalidParameter", "The query is not well formed.")
	}
	if !s.roa {
		if m.form, bad = url.ParseQuery(string(body)); bad != nil {
			return nil, Fault{}, Errorf(400, "InvalidParameter", "The form is not well formed.")
		}
	}
	caller, refusal := s.authenticate(m, s.roa)
	if refusal != nil {
		return nil, Fault{}, refusal
	}
	req.Caller = caller
	o, refusal := s.route(req, m)
	if refusal != nil {
		return nil, Fault{}, refusal
	}
	path, _ := o.match(r.URL.Path)
	params, refusal := o.check(m.query, m.form)
	if refusal != nil {
		return nil, Fault{}, refusal
	}
	for name, value := range path {
		params[name] = value
	}
	req.Params = params
	if region := params["RegionId"]; region != "" && region != s.Region {
		return nil, Fault{}, Errorf(404, "InvalidRegionId.NotFound", "The specified RegionId %q does not exist here.", region)
	}
	if s.roa && len(body) > 0 {
		if !o.JSON || !json.Valid(body) {
			return nil, Fault{}, Errorf(400, "InvalidParameter", "The body of %s has to be %s.", req.Action, map[bool]string{true: "JSON", false: "empty"}[o.JSON])
		}
		req.Body = body
	}
	fault := s.FaultFor(Call{Product: s.product, Action: req.Action, Params: params, Caller: caller})
	if fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler) // the caller hung up before we began
		}
	}
	if fault.Before != nil {
		return nil, Fault{}, fault.Before
	}
	action := cmp.Or(o.RAM, req.Action)
	if !strings.Contains(action, ":") { // that of another product has its prefix
		action = s.product + ":" + action
	}
	if action != s.product+":none" { // one that needs no right
		if refusal := s.Authorize(caller, action, s.resource(params), Attribute{"ram:ServiceName", params["ServiceName"]}); refusal != nil {
			return nil, Fault{}, refusal
		}
	}
	reply, refusal := s.effect(o, req)
	return reply, fault, refusal
}

// route finds the operation and checks that this product in this version has it, by this method.
func (s *service) route(req *Request, m *message) (*operation, *Error) {
	notFound := Errorf(404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method.")
	version, action := m.Header.Get("x-acs-version"), m.Header.Get("x-acs-action")
	if m.Header.Get("Authorization") == "" {
		version = cmp.Or(m.query.Get("Version"), m.form.Get("Version"))
		action = cmp.Or(m.query.Get("Action"), m.form.Get("Action"))
		if format := cmp.Or(m.query.Get("Format"), m.form.Get("Format")); format != "JSON" {
			return nil, Errorf(501, "NotImplemented", "Format %q: this fake answers JSON only; ask for Format=JSON.", format)
		}
	}
	if version != s.meta.Version {
		return nil, Errorf(400, "InvalidVersion", "Specified parameter Version is not valid.")
	}
	if s.roa {
		for name, o := range s.meta.Operations {
			if _, ok := o.match(m.URL.Path); ok && o.takes(m.Method) {
				if action != "" && !strings.EqualFold(action, name) { // createInstance is CreateInstance to V1 SDKs
					return nil, notFound
				}
				action = name
				req.Action = name
			}
		}
		if req.Action == "" {
			return nil, notFound
		}
	}
	o := s.meta.Operations[action]
	if o == nil || !s.roa && m.URL.Path != "/" && m.URL.Path != "" {
		return nil, notFound
	}
	req.Action = action
	if !o.takes(m.Method) {
		return nil, Errorf(400, "UnsupportedHTTPMethod", "This http method is not supported.")
	}
	if s.ops[action] == nil {
		return nil, Errorf(501, "NotImplemented", "This fake of %s does not do %s.", s.product, action)
	}
	return o, nil
}

// resource is what RAM judges a call by: the instance (all instances, if the call names none), the secret, or all of the
// product.
func (s *service) resource(params map[string]string) string {
	prefix := "acs:" + s.product + ":" + s.Region + ":" + s.AccountID + ":"
	switch {
	case s.product == "elasticsearch" && params["InstanceId"] != "":
		return prefix + "instances/" + params["InstanceId"]
	case s.product == "elasticsearch":
		return prefix + "instances/*"
	case s.product == "kms" && params["SecretName"] != "":
		return prefix + "secret/" + params["SecretName"]
	case s.product == "ram" && params["RoleName"] != "" && params["PolicyName"] == "":
		return "acs:ram:*:" + s.AccountID + ":role/" + params["RoleName"]
	case s.product == "ram" && params["PolicyName"] != "": // of an attachment, that of the policy: RAM wants both
		return "acs:ram:*:" + s.AccountID + ":policy/" + params["PolicyName"]
	case s.product == "ots":
		return prefix + "instance/" + params["InstanceName"]
	}
	return prefix + "*"
}

// effect runs the operation, or replays its first reply if it is a write with a token that was used within 24 hours.
// Refusals are not replayed: the same token may try again.
func (s *service) effect(o *operation, req *Request) (map[string]json.RawMessage, *Error) {
	token := cmp.Or(req.Params["ClientToken"], req.Params["clientToken"])
	if token == "" || !o.Write {
		return s.run(req)
	}
	if len(token) > 64 || strings.ContainsFunc(token, func(c rune) bool { return c < ' ' || c > '~' }) {
		return nil, Errorf(400, "InvalidParameter.ClientToken", "ClientToken has to be at most 64 ASCII characters.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, id := s.Now(), req.Action+"/"+token
	fingerprint := fmt.Sprintf("%q %s", req.Params, req.Body)
	if first, ok := s.tokens[id]; ok && now.Before(first.at.Add(24*time.Hour)) {
		if first.fingerprint != fingerprint {
			return nil, Errorf(400, "IdempotentParameterMismatch", "The request uses the same client token as a previous, but non-identical request.")
		}
		return first.clone(), nil
	}
	reply, err := s.run(req)
	if err == nil {
		s.tokens[id] = replay{now, fingerprint, reply}
		return s.tokens[id].clone(), nil
	}
	return nil, err
}

func (r replay) clone() map[string]json.RawMessage {
	c := make(map[string]json.RawMessage, len(r.reply)+1)
	for name, value := range r.reply {
		c[name] = value
	}
	return c
}

func (s *service) run(req *Request) (map[string]json.RawMessage, *Error) {
	v, err := s.ops[req.Action](req)
	if refusal := (*Error)(nil); errors.As(err, &refusal) {
		if refusal != nil { // a nil *Error in an error is what an Op returns that passes on Authorize's result
			return nil, refusal
		}
	} else if err != nil {
		s.log.Error("fake failed", "product", s.product, "action", req.Action, "error", err)
		return nil, Errorf(500, "InternalError", "The request processing has failed due to some unknown error.")
	}
	reply := map[string]json.RawMessage{}
	if v != nil {
		if err := json.NewDecoder(bytes.NewReader(raw(v))).Decode(&reply); err != nil {
			panic(fmt.Sprintf("cloud: reply of %s %s is no JSON object: %v", s.product, req.Action, err))
		}
	}
	return reply, nil
}

func (a *Account) requestID() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	x, y := a.rand.Uint64(), a.rand.Uint64()
	return fmt.Sprintf("%08X-%04X-%04X-%04X-%012X", x>>32, x>>16&0xffff, x&0xffff, y>>48, y&0xffffffffffff)
}

func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("cloud: " + err.Error())
	}
	return b
}

// URL is where a request was sent, whether it came over a socket or not.
func URL(r *http.Request) string {
	u := *r.URL
	u.Scheme, u.Host = cmp.Or(u.Scheme, "http"), r.Host
	return u.String()
}
