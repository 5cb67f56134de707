package reindex

import (
	"bytes"
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
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/store"
)

// remote is source.remote: another cluster.
type remote struct {
	scheme, host, port, prefix string
	username, password         string
	headers                    map[string]string
	socketTimeout              time.Duration
	connectTimeout             time.Duration
}

var hostPattern = regexp.MustCompile(`^(https?)://([^:/]+|\[[^\]]+\]):([0-9]+)(/[^?]*)?`)

func parseRemote(raw json.RawMessage) (*remote, *esjson.Error) {
	keys, body, err := esjson.Members(raw)
	if err != nil {
		return nil, esjson.Illegal("%s", err)
	}
	r := &remote{socketTimeout: 30 * time.Second, connectTimeout: 30 * time.Second}
	var unknown []string
	var host string
	for _, k := range keys {
		var into any
		switch k {
		case "host":
			into = &host
		case "username":
			into = &r.username
		case "password":
			into = &r.password
		case "headers":
			into = &r.headers
		case "socket_timeout", "connect_timeout":
			var text string
			if err := esjson.Decode(body[k], &text); err != nil {
				return nil, esjson.Illegal("Expected [%s] to be a string but was [%s]", k, body[k])
			}
			d, e := esjson.ParseTime(text, k)
			if e != nil {
				return nil, e
			}
			if k == "socket_timeout" {
				r.socketTimeout = d
			} else {
				r.connectTimeout = d
			}
			continue
		default:
			unknown = append(unknown, k)
			continue
		}
		if err := esjson.Decode(body[k], into); err != nil {
			return nil, esjson.Illegal("Expected [%s] to be a string but was [%s]", k, body[k])
		}
	}
	if host == "" {
		return nil, esjson.Fail(400, "null_pointer_exception", "[host] must be specified to reindex from a remote cluster")
	}
	m := hostPattern.FindStringSubmatch(host)
	if m == nil {
		return nil, esjson.Illegal("[host] must be of the form [scheme]://[host]:[port](/[pathPrefix])? but was [%s]", host).
			Because(esjson.Fail(400, "u_r_i_syntax_exception", "The port was not defined in the [host]: %s", host))
	}
	r.scheme, r.host, r.port, r.prefix = m[1], m[2], m[3], strings.TrimSuffix(m[4], "/")
	if len(unknown) > 0 {
		return nil, esjson.Illegal("Unsupported fields in [remote]: [%s]", strings.Join(unknown, ","))
	}
	return r, nil
}

func (r *remote) hostPort() string { return r.host + ":" + r.port }

// whitelisted compares what the caller typed with the patterns, letter by letter.
func (r *remote) whitelisted(patterns []string) *esjson.Error {
	if slices.ContainsFunc(patterns, func(p string) bool { return esjson.Wild(p, r.hostPort()) }) {
		return nil
	}
	return esjson.Illegal("[%s] not whitelisted in reindex.remote.whitelist", r.hostPort())
}

var matchAll = json.RawMessage(`{"match_all":{"boost":1.0}}`)

// describe is the part of the task's description that names the cluster. The
// query is printed as Elasticsearch prints it, with blanks around colons.
func (r *remote) describe(query json.RawMessage) string {
	if len(query) == 0 {
		query = matchAll
	}
	var text bytes.Buffer
	if err := json.Indent(&text, query, "", "  "); err != nil {
		text.Write(query)
	}
	out := "["
	if r.scheme != "http" {
		out += "scheme=" + r.scheme + " "
	}
	out += "host=" + r.host + " port=" + r.port
	if r.prefix != "" {
		out += " pathPrefix=" + r.prefix
	}
	out += " query=" + strings.ReplaceAll(text.String(), `": `, `" : `)
	if r.username != "" {
		out += " username=" + r.username
	}
	if r.password != "" {
		out += " password=<<>>"
	}
	return out + "]"
}

// remotePages speaks the scroll contract that a destination of 7.x and 8.x
// speaks, request by request.
type remotePages struct {
	s      *store.Cluster
	req    *reindexRequest
	id     string
	serial int64
}

func newRemotePages(s *store.Cluster, req *reindexRequest) *remotePages {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.NextID++
	return &remotePages{s: s, req: req, serial: s.NextID}
}

func (p *remotePages) first(t *task) (page, *esjson.Error) {
	var info struct {
		Version *struct{ Number string }
	}
	raw, e := p.retried(t, "GET", "/", nil, nil)
	if e != nil {
		return page{}, e
	}
	if err := esjson.Decode(raw, &info); err != nil || info.Version == nil || info.Version.Number == "" {
		return page{}, esjson.Illegal("Required [version]")
	}
	var names []string
	for _, n := range p.req.indices {
		names = append(names, strings.ReplaceAll(url.QueryEscape(n), "%2A", "*"))
	}
	sort := "_doc:asc"
	if len(p.req.sort) > 0 {
		sort = strings.Join(p.req.sort, ",")
	}
	query, source := p.req.query, p.req.source
	if len(query) == 0 {
		query = matchAll
	}
	if len(source) == 0 {
		source = json.RawMessage("true")
	}
	external := p.req.versionType != "" && p.req.versionType != "internal"
	target := fmt.Sprintf("/%s/_search?scroll=%s&sort=%s&size=%d&allow_partial_search_results=false&version=%t",
		strings.Join(names, ","), shortTime(p.req.scroll), url.QueryEscape(sort), p.req.size, external)
	pg, _, e := p.fetch(t, target, esjson.EncodeJSON(esjson.Obj("query", query, "_source", source)))
	return pg, e
}

func shortTime(d time.Duration) string {
	for _, u := range []struct {
		suffix string
		unit   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}} {
		if d%u.unit == 0 {
			return fmt.Sprintf("%d%s", d/u.unit, u.suffix)
		}
	}
	return fmt.Sprintf("%dnanos", d)
}

func (p *remotePages) next(t *task, sleep time.Duration) (page, bool, *esjson.Error) {
	if p.id == "" {
		return page{}, false, nil
	}
	return p.fetch(t, fmt.Sprintf("/_search/scroll?scroll=%dnanos", p.req.scroll+sleep), esjson.EncodeJSON(esjson.Obj("scroll_id", p.id)))
}

func (p *remotePages) close() {
	if p.id == "" {
		return
	}
	_, _ = p.call("DELETE", "/_search/scroll", esjson.EncodeJSON(esjson.Obj("scroll_id", []string{p.id}))) // a context that stays open expires
}

// fetch asks for a page and remembers the scroll.
func (p *remotePages) fetch(t *task, target string, body []byte) (page, bool, *esjson.Error) {
	raw, e := p.retried(t, "POST", target, body, nil)
	if e != nil {
		return page{}, true, e
	}
	var reply struct {
		ScrollID string `json:"_scroll_id"`
		TimedOut bool   `json:"timed_out"`
		Shards   struct {
			Failures []struct {
				Index  string
				Shard  json.RawMessage
				Node   string
				Reason struct{ Type, Reason string }
			}
		} `json:"_shards"`
		Hits *struct {
			Total json.RawMessage
			Hits  []struct {
				Index   *string         `json:"_index"`
				Type    *string         `json:"_type"`
				ID      *string         `json:"_id"`
				Version int64           `json:"_version"`
				Routing string          `json:"_routing"`
				Source  json.RawMessage `json:"_source"`
			}
		}
	}
	unfit := func(cause *esjson.Error) *esjson.Error {
		return esjson.Fail(500, "exception", "Error parsing the response, remote is likely not an Elasticsearch instance").Because(cause)
	}
	if err := json.Unmarshal(esjson.Uncomment(raw), &reply); err != nil || reply.Hits == nil {
		return page{}, true, unfit(esjson.Fail(500, "x_content_parse_exception", "[1:1] [search_response] failed to parse"))
	}
	if reply.ScrollID != "" {
		p.id = reply.ScrollID
	}
	pg := page{timedOut: reply.TimedOut, total: total(reply.Hits.Total)}
	for _, f := range reply.Shards.Failures {
		reason, status := esjson.Fail(0, "runtime_exception", "%s: %s", f.Reason.Type, f.Reason.Reason), 500
		if f.Reason.Type == "es_rejected_execution_exception" {
			reason, status = esjson.Fail(0, f.Reason.Type, "%s", f.Reason.Reason), 429
		}
		pg.status = max(pg.status, status)
		pg.failures = append(pg.failures, esjson.Obj("index", f.Index, "shard", f.Shard, "node", f.Node, "status", status, "reason", reason))
	}
	for _, h := range reply.Hits.Hits {
		for name, v := range map[string]*string{"_index": h.Index, "_id": h.ID, "_type": h.Type} {
			if v == nil && (name != "_type" || !p.s.Version.AtLeast(8, 0)) {
				at := "[1:1] "
				return page{}, true, unfit(esjson.Fail(0, "x_content_parse_exception", "%s[search_response] failed to parse field [hits]", at).
					Because(esjson.Fail(0, "x_content_parse_exception", "%s[hits] failed to parse field [hits]", at).Because(esjson.Illegal("Required [%s]", name))))
			}
		}
		hit := pageHit{index: *h.Index, id: *h.ID, routing: h.Routing, version: h.Version}
		if len(h.Source) > 0 {
			source, err := esjson.CopyStructure(h.Source)
			if err != nil {
				return page{}, true, unfit(esjson.Fail(0, "x_content_parse_exception", "%s", err))
			}
			hit.source = source
		}
		pg.hits = append(pg.hits, hit)
	}
	return pg, true, nil
}

// total is a number, or an object with a value, by the source's version.
func total(raw json.RawMessage) int {
	var o struct{ Value int }
	if json.Unmarshal(raw, &o) == nil {
		return o.Value
	}
	return esjson.Atoi(string(raw), 0)
}

// retried repeats what the source rejected with 429, and nothing else.
func (p *remotePages) retried(t *task, method, target string, body []byte, waits []time.Duration) ([]byte, *esjson.Error) {
	if waits == nil {
		waits = backoff()
	}
	for {
		raw, e := p.call(method, target, body)
		if e == nil || e.Status != http.StatusTooManyRequests || len(waits) == 0 {
			return raw, e
		}
		p.s.Mu.Lock()
		t.pageRetrys++
		p.s.Mu.Unlock()
		if !t.pauseFor(waits[0]) {
			return nil, e
		}
		waits = waits[1:]
	}
}

const longestReply = 100 << 20

// call does one exchange and puts every way it can fail into Elasticsearch's words.
func (p *remotePages) call(method, target string, body []byte) ([]byte, *esjson.Error) {
	r := p.req.remote
	ctx, cancel := context.WithCancelCause(p.s.Inflight)
	defer cancel(nil)
	socket := time.AfterFunc(r.socketTimeout, func() { cancel(store.ErrSocketTimeout) })
	defer socket.Stop()
	connect := time.AfterFunc(r.connectTimeout, func() { cancel(store.ErrConnectTimeout) })
	connect.Stop()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { socket.Stop(); connect.Reset(r.connectTimeout) },
		GotConn: func(httptrace.GotConnInfo) { connect.Stop(); socket.Reset(r.socketTimeout) },
	})
	defer connect.Stop()
	hr, err := http.NewRequestWithContext(ctx, method, r.scheme+"://"+r.hostPort()+r.prefix+target, bytes.NewReader(body))
	if err != nil {
		return nil, esjson.Illegal("%s", err)
	}
	p.dress(hr, body)
	resp, err := p.s.Config.Remote.RoundTrip(hr)
	if err != nil {
		return nil, p.transportFault(err, context.Cause(ctx))
	}
	defer resp.Body.Close()
	if resp.ContentLength > longestReply {
		return nil, tooLong(resp.ContentLength)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, longestReply+1))
	switch {
	case err != nil:
		return nil, p.transportFault(err, context.Cause(ctx))
	case len(raw) > longestReply:
		return nil, tooLong(int64(len(raw)))
	case resp.StatusCode >= 300:
		cause := esjson.Fail(resp.StatusCode, "response_exception", "method [%s], host [%s://%s], URI [%s], status line [HTTP/1.1 %d %s]\n%s",
			method, r.scheme, r.hostPort(), r.prefix+target, resp.StatusCode, http.StatusText(resp.StatusCode), raw)
		if len(raw) == 0 {
			cause.Reason = strings.TrimSuffix(cause.Reason, "\n")
		}
		return nil, esjson.Fail(resp.StatusCode, "status_exception", "body=%s", raw).Because(cause)
	case !strings.Contains(resp.Header.Get("Content-Type"), "json"):
		return nil, esjson.Fail(500, "exception", "Response didn't include Content-Type: body=%s", raw)
	}
	return raw, nil
}

func (p *remotePages) dress(hr *http.Request, body []byte) {
	h := hr.Header
	h.Set("Connection", "Keep-Alive")
	if len(body) > 0 {
		h.Set("Content-Type", "application/json; charset=UTF-8")
	}
	h.Set("User-Agent", "Apache-HttpAsyncClient/4.1.4 (Java/17.0.15)")
	if v := p.s.Config.Version; p.s.Version.AtLeast(7, 11) {
		h.Set("User-Agent", "elasticsearch-java/"+v+" (Java/17.0.15)")
		h.Set("X-Elastic-Client-Meta", "es="+v+",jv=17,t="+v+",hc=4.1.4")
	}
	if r := p.req.remote; r.username != "" {
		password := r.password
		if password == "" {
			password = "null" // what a real node sends for a name without a password
		}
		hr.SetBasicAuth(r.username, password)
	}
	for _, k := range slices.Sorted(maps.Keys(p.req.remote.headers)) {
		h.Set(k, p.req.remote.headers[k])
	}
}

func tooLong(n int64) *esjson.Error {
	return esjson.Illegal("Remote responded with a chunk that was too large. Use a smaller batch size.").
		Because(esjson.Fail(400, "content_too_long_exception", "entity content is too long [%d] for the configured buffer limit [%d]", n, longestReply))
}

// transportFault names a failed exchange as the Java client does. Host name
// mismatch is from the client's source, the others were seen.
func (p *remotePages) transportFault(err, cause error) *esjson.Error {
	r := p.req.remote
	var (
		dns      *net.DNSError
		op       *net.OpError
		record   tls.RecordHeaderError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	dialing := errors.As(err, &op) && op.Op == "dial"
	switch {
	case errors.Is(cause, store.ErrConnectTimeout) || dialing && op.Timeout():
		address := r.host + "/" + r.hostPort()
		if net.ParseIP(r.host) != nil {
			address = "/" + r.hostPort()
		}
		return esjson.Fail(500, "connect_exception", "Timeout connecting to [%s]", address)
	case errors.Is(cause, store.ErrSocketTimeout):
		return esjson.Fail(500, "socket_timeout_exception", "%s milliseconds timeout on connection http-outgoing-%d [ACTIVE]", thousands(r.socketTimeout.Milliseconds()), p.serial)
	case errors.As(err, &dns):
		return esjson.Fail(500, "unknown_host_exception", "%s: Name or service not known", r.host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return esjson.Fail(500, "connect_exception", "Connection refused")
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return esjson.Fail(500, "s_s_l_exception", "Unrecognized SSL message, plaintext connection?")
	case errors.As(err, &unknown), errors.As(err, &invalid):
		text := "PKIX path building failed: sun.security.provider.certpath.SunCertPathBuilderException: unable to find valid certification path to requested target"
		return esjson.Fail(500, "s_s_l_handshake_exception", "%s", text).Because(esjson.Fail(500, "validator_exception", "%s", text))
	case errors.As(err, &hostname):
		return esjson.Fail(500, "s_s_l_peer_unverified_exception", "Host name '%s' does not match the certificate subject provided by the peer (%s)", r.host, hostname.Certificate.Subject)
	}
	return esjson.Fail(500, "connection_closed_exception", "Connection is closed")
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
