package watcher

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/store"
)

// Watcher, as far as executing a watch that comes with the request: nothing is
// stored, and an action that fails is a 200 whose record says so. Shapes and
// texts are those of Elastic's source, since no real server with this module
// could be asked.

const inlineWatch = "_inlined_"

// watch is what a request executes.
type watch struct {
	input    esjson.Object   // {"simple": …}, as the record repeats it
	payload  json.RawMessage // what the input gives
	never    bool            // its condition
	metadata json.RawMessage
	actions  []watchAction
}

type watchAction struct {
	id   string
	hook webhook
	mode string
}

type webhook struct {
	scheme, host, method, path string
	port                       int
	params, headers            map[string]string
	user, password             string
	body                       *string
	connect, read              time.Duration
	shown                      esjson.Object // as the record repeats it
}

func badWatch(format string, args ...any) *esjson.Error {
	return esjson.Fail(400, "parse_exception", format, args...)
}

func ExecuteWatch(c *store.Call) (int, any, error) {
	s := c.S
	s.Mu.Lock()
	enabled, ctx := s.Settings["xpack.watcher.enabled"] == "true", s.Inflight
	s.Mu.Unlock()
	if !enabled { // Aliyun's default, which is not Elasticsearch's
		if s.Version.AtLeast(8, 0) {
			return 0, nil, &esjson.Error{Status: 400, Reason: fmt.Sprintf("no handler found for uri [%s] and method [%s]", c.R.URL.RequestURI(), c.R.Method)}
		}
		// The path is then index/type/id.
		return 0, nil, esjson.Fail(400, "invalid_index_name_exception", "Invalid index name [_watcher], must not start with '_', '-', or '+'").
			With("index_uuid", "_na_", "index", "_watcher")
	}
	if e := c.Permit("cluster:admin/xpack/watcher/watch/execute"); e != nil {
		return 0, nil, e
	}
	w, modes, e := parseExecution(c)
	if e != nil {
		return 0, nil, e
	}
	now := s.Config.Now().UTC()
	at := now.Format("2006-01-02T15:04:05.000Z")
	state, results, actions := "executed", []esjson.Object{}, esjson.Obj()
	if w.never {
		state = "execution_not_needed"
	}
	for _, a := range w.actions {
		acked, last := "awaits_successful_execution", esjson.Object(nil)
		if !w.never {
			a.mode = cmp.Or(modes[a.id], modes["_all"], "execute")
			result, failure := act(s, ctx, a)
			results = append(results, result)
			last = esjson.Obj("timestamp", at, "successful", failure == nil)
			if failure == nil {
				acked = "ackable"
			} else {
				last = last.With("reason", *failure)
			}
		}
		status := esjson.Obj("ack", esjson.Obj("timestamp", at, "state", acked))
		if last != nil {
			status = status.With("last_execution", last)
		}
		if acked == "ackable" {
			status = status.With("last_successful_execution", last)
		}
		actions = actions.With(a.id, status)
	}
	if ctx.Err() != nil {
		return 0, nil, store.ErrStopped
	}
	status := esjson.Obj("state", esjson.Obj("active", true, "timestamp", at), "last_checked", at)
	if !w.never {
		status = status.With("last_met_condition", at)
	}
	condition := "always"
	if w.never {
		condition = "never"
	}
	s.Mu.Lock()
	uuid := newUUID(s)
	s.Mu.Unlock()
	record := esjson.Obj("watch_id", inlineWatch, "node", s.NodeID(0), "state", state, "@timestamp", at)
	if c.User.Name != "" {
		record = record.With("user", c.User.Name)
	}
	record = record.With("status", status.With("actions", actions, "execution_state", state, "version", -1),
		"trigger_event", esjson.Obj("type", "manual", "triggered_time", at, "manual", esjson.Obj("schedule", esjson.Obj("scheduled_time", at))),
		"input", w.input, "condition", esjson.Obj(condition, esjson.Obj()))
	if w.metadata != nil {
		record = record.With("metadata", w.metadata)
	}
	return 200, esjson.Obj("_id", inlineWatch+"_"+uuid+"-"+at, "watch_record", record.With("result", esjson.Obj(
		"execution_time", at, "execution_duration", s.Config.Now().Sub(now).Milliseconds(),
		"input", esjson.Obj("type", w.input[0].Key, "status", "success", "payload", w.payload),
		"condition", esjson.Obj("type", condition, "status", "success", "met", !w.never), "actions", results), "messages", []string{})), nil
}

// newUUID needs s.mu.
func newUUID(s *store.Cluster) string {
	s.NextID++
	return fmt.Sprintf("%08x-%04x-4%03x-8000-%012x", s.NextID, s.Generation, s.NextID%0xfff, s.Config.Now().UnixNano()&0xffffffffffff)
}

// act runs one action; the failure is its reason, "" when it is an exception.
func act(s *store.Cluster, ctx context.Context, a watchAction) (result esjson.Object, failure *string) {
	head := func(status string) esjson.Object { return esjson.Obj("id", a.id, "type", "webhook", "status", status) }
	if strings.HasSuffix(a.mode, "simulate") {
		return head("simulated").With("webhook", esjson.Obj("request", a.hook.shown)), nil
	}
	response, code, e := send(s, ctx, a.hook)
	if e != nil {
		none := ""
		return head("failure").With("error", append(esjson.Obj("root_cause", []esjson.Object{e.Head()}), e.Object()...)), &none
	}
	exchange := esjson.Obj("request", a.hook.shown, "response", response)
	if code >= 400 {
		reason := fmt.Sprintf("received [%d] status code", code)
		return head("failure").With("reason", reason, "webhook", exchange), &reason
	}
	return head("success").With("webhook", exchange), nil
}

func send(s *store.Cluster, ctx context.Context, h webhook) (response esjson.Object, code int, e *esjson.Error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	connect := time.AfterFunc(h.connect, func() { cancel(store.ErrConnectTimeout) })
	read := time.AfterFunc(h.read, func() { cancel(store.ErrSocketTimeout) })
	read.Stop()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connect.Stop(); read.Reset(h.read) }})
	defer connect.Stop()
	defer read.Stop()
	query := url.Values{}
	for k, v := range h.params {
		query.Set(k, v)
	}
	u := url.URL{Scheme: h.scheme, Host: net.JoinHostPort(h.host, fmt.Sprint(h.port)), RawQuery: query.Encode()}
	if u.Path = h.path; u.Path != "" && !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	var body io.Reader
	if h.body != nil {
		body = strings.NewReader(*h.body)
	}
	r, err := http.NewRequestWithContext(ctx, strings.ToUpper(h.method), u.String(), body)
	if err != nil {
		return nil, 0, esjson.Illegal("%s", err)
	}
	r.Header.Set("Accept-Charset", "UTF-8")
	r.Header.Set("User-Agent", "Apache-HttpClient/4.5.13 (Java/17.0.15)")
	if h.body != nil {
		r.Header.Set("Content-Type", "text/plain; charset=ISO-8859-1")
	}
	for k, v := range h.headers {
		r.Header.Set(k, v)
	}
	if h.user != "" {
		r.SetBasicAuth(h.user, h.password)
	}
	resp, err := s.Config.Remote.RoundTrip(r)
	if err != nil {
		return nil, 0, hookFault(s, h, err, context.Cause(ctx))
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 10<<20))
	if err != nil {
		return nil, 0, hookFault(s, h, err, context.Cause(ctx))
	}
	out := esjson.Obj("status", resp.StatusCode)
	if len(resp.Header) > 0 {
		headers := esjson.Obj()
		for _, k := range slices.Sorted(maps.Keys(resp.Header)) {
			headers = headers.With(strings.ReplaceAll(strings.ToLower(k), ".", "_"), resp.Header[k])
		}
		out = out.With("headers", headers)
	}
	if len(raw) > 0 {
		out = out.With("body", strings.ToValidUTF8(string(raw), string(utf8.RuneError)))
	}
	return out, resp.StatusCode, nil
}

// hookFault names a failed exchange as Apache's blocking client does.
func hookFault(s *store.Cluster, h webhook, err, cause error) *esjson.Error {
	var (
		dns      *net.DNSError
		op       *net.OpError
		record   tls.RecordHeaderError
		unknown  x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
		hostname x509.HostnameError
	)
	address := fmt.Sprintf("%s:%d", h.host, h.port)
	at := address
	if r, ok := s.Config.Remote.(interface {
		LookupHost(context.Context, string) ([]string, error)
	}); ok {
		if found, err := r.LookupHost(context.Background(), h.host); err == nil && len(found) > 0 {
			at += " [" + h.host + "/" + strings.Join(found, ", "+h.host+"/") + "]"
		}
	}
	var timeout net.Error
	dialing := errors.As(err, &op) && op.Op == "dial"
	switch {
	case errors.As(err, &dns):
		return esjson.Fail(500, "unknown_host_exception", "%s: Name or service not known", h.host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return esjson.Fail(500, "http_host_connect_exception", "Connect to %s failed: Connection refused", at).Because(esjson.Fail(500, "connect_exception", "Connection refused"))
	case errors.Is(cause, store.ErrConnectTimeout), dialing && op.Timeout(), cause == nil && errors.As(err, &timeout) && timeout.Timeout():
		return esjson.Fail(500, "connect_timeout_exception", "Connect to %s failed: Connect timed out", at).Because(esjson.Fail(500, "socket_timeout_exception", "Connect timed out"))
	case errors.Is(cause, store.ErrSocketTimeout):
		return esjson.Fail(500, "socket_timeout_exception", "Read timed out")
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return esjson.Fail(500, "s_s_l_exception", "Unsupported or unrecognized SSL message")
	case errors.As(err, &unknown), errors.As(err, &invalid):
		text := "PKIX path building failed: sun.security.provider.certpath.SunCertPathBuilderException: unable to find valid certification path to requested target"
		return esjson.Fail(500, "s_s_l_handshake_exception", "%s", text).Because(esjson.Fail(500, "validator_exception", "%s", text))
	case errors.As(err, &hostname):
		return esjson.Fail(500, "s_s_l_peer_unverified_exception", "Certificate for <%s> doesn't match any of the subject alternative names: [%s]", h.host, strings.Join(hostname.Certificate.DNSNames, ", "))
	}
	return esjson.Fail(500, "no_http_response_exception", "%s failed to respond", address)
}

// parseExecution reads the body of an _execute, and how each action is to run.
func parseExecution(c *store.Call) (w watch, modes map[string]string, e *esjson.Error) {
	keys, values, err := esjson.Members(c.Body)
	if err != nil && len(c.Body) > 0 {
		return w, nil, badWatch("Failed to parse content: %s", err)
	}
	record, ignore := c.Flag("record_execution", false), c.Flag("ignore_condition", false)
	var alternative json.RawMessage
	for _, k := range keys {
		raw := values[k]
		var flag bool
		switch {
		case json.Unmarshal(raw, &flag) == nil && k == "record_execution":
			record = flag
		case json.Unmarshal(raw, &flag) == nil && k == "ignore_condition":
			ignore = flag
		case json.Unmarshal(raw, &flag) == nil:
			return w, nil, badWatch("could not parse watch execution request. unexpected boolean field [%s]", k)
		case k == "watch", k == "trigger_data":
		case k == "alternative_input":
			alternative = raw
		case k == "action_modes":
			if json.Unmarshal(raw, &modes) != nil {
				return w, nil, badWatch("could not parse watch execution request. unexpected array field [%s]", k)
			}
			for _, m := range modes {
				if m == "skip" {
					return w, nil, esjson.Unsupported("action mode [skip]")
				}
				if !slices.Contains([]string{"execute", "force_execute", "simulate", "force_simulate"}, m) {
					return w, nil, badWatch("could not parse watch execution request").Because(esjson.Illegal("unknown action execution mode [%s]", m))
				}
			}
		case slices.Contains([]string{"trigger", "input", "condition", "actions", "transform", "metadata", "status"}, k):
			return w, nil, badWatch("please wrap watch including field [%s] inside a \"watch\" field", k)
		default:
			return w, nil, badWatch("could not parse watch execution request. unexpected object field [%s]", k)
		}
	}
	switch raw, given := values["watch"]; {
	case !given:
		return w, nil, esjson.Fail(400, "action_request_validation_exception", "Validation Failed: 1: a watch execution request must either have a watch id or an inline watch source, but both are missing;")
	case record:
		return w, nil, esjson.Fail(400, "action_request_validation_exception", "Validation Failed: 1: the execution of an inline watch cannot be recorded;")
	default:
		w, e = readWatch(raw)
	}
	if alternative != nil {
		w.payload = alternative
	}
	w.never = w.never && !ignore
	return w, modes, e
}

func readWatch(raw json.RawMessage) (watch, *esjson.Error) {
	w := watch{input: esjson.Obj("none", esjson.Obj()), payload: json.RawMessage("{}")}
	keys, values, err := esjson.Members(raw)
	if err != nil {
		return w, badWatch("could not parse watch [%s]. null token", inlineWatch)
	}
	for _, k := range keys {
		names, kinds, err := esjson.Members(values[k])
		if err != nil {
			return w, esjson.Unsupported("watch field [%s] that is no object", k)
		}
		kind := strings.Join(names, ", ")
		switch {
		case k == "trigger" && kind == "schedule":
		case k == "input" && kind == "simple":
			w.input, w.payload = esjson.Obj("simple", kinds[kind]), kinds[kind]
		case k == "input" && kind == "none":
		case k == "condition" && (kind == "always" || kind == "never"):
			w.never = kind == "never"
		case k == "metadata":
			w.metadata = values[k]
		case k == "actions":
			var e *esjson.Error
			if w.actions, e = readActions(values[k]); e != nil {
				return w, e
			}
		case slices.Contains([]string{"trigger", "input", "condition", "transform"}, k):
			return w, esjson.Unsupported("watch %s [%s]", k, kind)
		default:
			return w, badWatch("could not parse watch [%s]. unexpected field [%s]", inlineWatch, k)
		}
	}
	if _, ok := values["trigger"]; !ok {
		return w, badWatch("could not parse watch [%s]. missing required field [trigger]", inlineWatch)
	}
	return w, nil
}

func readActions(raw json.RawMessage) (out []watchAction, e *esjson.Error) {
	ids, actions, err := esjson.Members(raw)
	if err != nil {
		return nil, badWatch("could not parse actions for watch [%s]", inlineWatch)
	}
	for _, id := range ids {
		kinds, parts, err := esjson.Members(actions[id])
		if err != nil || len(kinds) == 0 {
			return nil, badWatch("could not parse watch action [%s/%s]. missing action type", inlineWatch, id)
		}
		if len(kinds) > 1 || kinds[0] != "webhook" {
			return nil, esjson.Unsupported("watch action with [%s]", strings.Join(kinds, ", "))
		}
		h, e := readWebhook(parts["webhook"])
		if e != nil && e.Type == "parse_exception" {
			e = badWatch("could not parse [webhook] action [%s/%s]. failed parsing http request template", inlineWatch, id).Because(e)
		}
		if e != nil {
			return nil, e
		}
		out = append(out, watchAction{id: id, hook: h})
	}
	return out, nil
}

func readWebhook(raw json.RawMessage) (webhook, *esjson.Error) {
	if strings.Contains(string(raw), "{{") {
		return webhook{}, esjson.Unsupported("a template in a webhook")
	}
	var t struct {
		Scheme, Host, Method, Path, URL string
		Port                            int
		Params, Headers                 map[string]string
		Body                            *string
		Auth                            struct {
			Basic struct{ Username, Password string }
		}
		ConnectionTimeout string `json:"connection_timeout"`
		ReadTimeout       string `json:"read_timeout"`
	}
	t.Port = -1
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		return webhook{}, esjson.Unsupported("webhook: %s", err)
	}
	if t.URL != "" {
		u, err := url.Parse(t.URL)
		if err != nil {
			return webhook{}, badWatch("Malformed URL [%s]", t.URL)
		}
		t.Scheme, t.Host, t.Path = u.Scheme, u.Hostname(), u.Path
		t.Port = esjson.Atoi(u.Port(), map[string]int{"http": 80, "https": 443}[u.Scheme])
	}
	switch {
	case t.Host == "":
		return webhook{}, badWatch("could not parse http request template. missing required [host] string field")
	case t.Port <= 0:
		return webhook{}, badWatch("could not parse http request template. wrong port for http request template")
	}
	h := webhook{scheme: cmp.Or(strings.ToLower(t.Scheme), "http"), host: t.Host, port: t.Port, method: cmp.Or(strings.ToLower(t.Method), "get"), path: t.Path,
		params: t.Params, headers: t.Headers, user: t.Auth.Basic.Username, password: t.Auth.Basic.Password, body: t.Body, connect: 10 * time.Second, read: 10 * time.Second}
	if h.scheme != "http" && h.scheme != "https" {
		return webhook{}, esjson.Illegal("unsupported http scheme [%s]", h.scheme)
	}
	if !slices.Contains([]string{"get", "post", "put", "delete", "head"}, h.method) {
		return webhook{}, esjson.Illegal("unsupported http method [%s]", h.method)
	}
	h.shown = esjson.Obj("host", h.host, "port", h.port, "scheme", h.scheme, "method", h.method)
	if h.path != "" {
		h.shown = h.shown.With("path", h.path)
	}
	for name, m := range map[string]map[string]string{"params": h.params, "headers": h.headers} {
		if len(m) == 0 {
			continue
		}
		shown := map[string]any{}
		for k, v := range m {
			if shown[k] = v; name == "headers" && k == "Authorization" {
				shown[k] = redacted
			}
		}
		h.shown = h.shown.With(name, shown)
	}
	if h.user != "" {
		h.shown = h.shown.With("auth", esjson.Obj("basic", esjson.Obj("username", h.user, "password", redacted)))
	}
	if h.body != nil {
		h.shown = h.shown.With("body", *h.body)
	}
	for _, timeout := range []struct {
		name, text string
		into       *time.Duration
	}{{"connection_timeout", t.ConnectionTimeout, &h.connect}, {"read_timeout", t.ReadTimeout, &h.read}} {
		if timeout.text == "" {
			continue
		}
		d, ok := esjson.TimeValue(timeout.text)
		if !ok {
			return webhook{}, badWatch("could not parse http request template. invalid time value for [%s] field", timeout.name)
		}
		*timeout.into = d
		h.shown = h.shown.With(timeout.name+"_in_millis", d.Milliseconds())
	}
	return h, nil
}

const redacted = "::es_redacted::"
