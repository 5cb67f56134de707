// Package es is the data plane of an Elasticsearch cluster as eslink needs it:
// look at indices and nodes, create an index, run and follow _reindex, count and
// read documents. It uses go-elasticsearch's esapi on a transport of its own, for
// two reasons: the full client links every API (31 MB instead of 18), and it
// refuses servers that do not send X-Elastic-Product, as 7.10 on Alibaba Cloud
// does not. Nothing is retried here, least of all _reindex: a repeated kick-off
// is a second copy. The engine retries what may be.
package es

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

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"eslink/shared/apierr"
)

// Client talks to one cluster as one user.
type Client struct {
	base               *url.URL
	username, password string
	transport          http.RoundTripper
	maxPage            int // see WithMaxPage
}

// New returns a client of the cluster at base, such as
// http://es-cn-….elasticsearch.aliyuncs.com:9200.
func New(transport http.RoundTripper, base, username, password string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("cluster address: %w", err)
	}
	return &Client{base: u, username: username, password: password, transport: transport}, nil
}

// MaxDocument bounds what is read of one document, in bytes, for the memory of a
// function: more than the 100 MB that Elasticsearch takes by itself. Several at once,
// or anything else, are far smaller (maxReply).
const (
	MaxDocument = 112 << 20
	maxReply    = 24 << 20
)

// ErrTooLarge says that a reply has more bytes than are read.
var ErrTooLarge = errors.New("the reply is too large")

// Perform implements esapi.Transport. It speaks plain JSON, which every version
// understands, where esapi would name a media type that 7.10 refuses.
func (c *Client) Perform(req *http.Request) (*http.Response, error) {
	req.URL.Scheme, req.URL.Host, req.Host = c.base.Scheme, c.base.Host, ""
	req.Header.Set("Accept", "application/json")
	if t := req.Header.Get("Content-Type"); strings.HasPrefix(t, "application/vnd.elasticsearch+json") {
		req.Header.Set("Content-Type", "application/json")
	}
	req.SetBasicAuth(c.username, c.password)
	return c.transport.RoundTrip(req)
}

type request interface {
	Do(ctx context.Context, t esapi.Transport) (*esapi.Response, error)
}

// inPath is a name as it stands in a path, where esapi puts names as they are. A name of
// an index may have %, {, [, ^ and more: Logstash makes logs-%{[host][name]}-2026 of a
// field that it does not know.
func inPath(name string) string { return url.PathEscape(name) }

// do sends req and decodes a good reply into out, unless out is nil.
func (c *Client) do(ctx context.Context, what string, req request, out any) error {
	return c.bounded(ctx, what, req, out, maxReply)
}

// bounded is do with another bound of the reply.
func (c *Client) bounded(ctx context.Context, what string, req request, out any, limit int64) error {
	res, err := req.Do(ctx, c)
	if u := (*url.Error)(nil); errors.As(err, &u) && u.Op == "parse" { // it was never sent
		return &apierr.Error{Class: apierr.Fatal, Code: "malformed_path", Message: what + ": " + u.Err.Error()}
	}
	if err != nil {
		return fmt.Errorf("%s on %s: %w", what, c.base.Host, unreachable(ctx, err))
	}
	defer res.Body.Close()
	body, err := read(res, limit)
	switch {
	case errors.Is(err, ErrTooLarge):
		return fmt.Errorf("%s on %s: %w", what, c.base.Host, err)
	case err != nil:
		return fmt.Errorf("%s on %s: %w", what, c.base.Host, unreachable(ctx, err))
	case res.StatusCode >= 300:
		return fmt.Errorf("%s on %s: %w", what, c.base.Host, replyError(res.StatusCode, body))
	case out == nil:
		return nil
	}
	if verbatim, ok := out.(*verbatim); ok {
		*verbatim = body
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s on %s: decode reply: %w", what, c.base.Host, err)
	}
	return nil
}

// verbatim is a reply as it came.
type verbatim []byte

// read reads a reply's body, into one piece of memory where its length is known.
func read(res *esapi.Response, limit int64) ([]byte, error) {
	var body bytes.Buffer
	large := fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	if n, err := strconv.ParseInt(res.Header.Get("Content-Length"), 10, 64); err == nil {
		if n > limit {
			return nil, large
		}
		body.Grow(int(n) + bytes.MinRead)
	}
	if n, err := body.ReadFrom(io.LimitReader(res.Body, limit+1)); err != nil || n <= limit {
		return body.Bytes(), err
	}
	return nil, large
}

// Unreachable is an exchange without a reply.
const Unreachable = "unreachable"

// unreachable classifies an exchange without a reply, unless it is the
// invocation that ran out of time: a dial that timed out reads as
// context.DeadlineExceeded too. Its text leaves out the URL.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	msg := err.Error()
	var u *url.Error
	if errors.As(err, &u) {
		msg = u.Err.Error()
	}
	var op *net.OpError
	if errors.As(err, &op) {
		msg = op.Error()
	}
	return &apierr.Error{Class: apierr.Retry, Code: Unreachable, Message: msg}
}

// Incomplete is a reply that does not cover every shard of an index.
const Incomplete = "incomplete"

// shards are those that a reply covers. Elasticsearch counts what it has and
// says so here alone; a shard without a living copy is not even a failed one,
// and of a shard that an index does not have it finds nothing, in none of none.
type shards struct {
	Total      int `json:"total"`
	Successful int `json:"successful"`
}

func (s shards) complete() error {
	if s.Successful == s.Total && s.Total > 0 {
		return nil
	}
	return &apierr.Error{Class: apierr.Retry, Code: Incomplete, Message: fmt.Sprintf("only %d of %d shards answer", s.Successful, s.Total)}
}

// Cause is Elasticsearch's own description of an error.
type Cause struct {
	Type     string `json:"type"`
	Reason   string `json:"reason"`
	CausedBy *Cause `json:"caused_by"`
	// Root are the innermost causes, of which a search that all shards refuse has one
	// and no CausedBy.
	Root []Cause `json:"root_cause"`
}

func (c *Cause) String() string {
	s := c.Type + ": " + c.Reason
	if c.CausedBy != nil && c.CausedBy.Reason != c.Reason {
		s += "; caused by " + c.CausedBy.String()
	}
	return s
}

// replyError turns an error reply into an *apierr.Error whose code is the
// error's type.
func replyError(status int, body []byte) error {
	var reply struct {
		Error json.RawMessage `json:"error"`
	}
	var cause Cause
	if json.Unmarshal(body, &reply) != nil || json.Unmarshal(reply.Error, &cause) != nil || cause.Type == "" {
		// Not classOf: a proxy's 404 does not say that an index is gone.
		return &apierr.Error{Class: apierr.ByStatus(status), Code: fmt.Sprintf("http_%d", status), Message: "the reply is not Elasticsearch's own", Status: status}
	}
	e := &apierr.Error{Class: classOf(status), Code: cause.Type, Message: cause.Reason, Status: status}
	const allShards = "search_phase_execution_exception" // says that shards failed, and not why
	if cause.CausedBy == nil && cause.Type == allShards && len(cause.Root) > 0 {
		cause.CausedBy = &cause.Root[0]
	}
	if cause.CausedBy != nil {
		e.Message += "; caused by " + cause.CausedBy.String()
		if cause.Type == allShards {
			e.Code = cause.CausedBy.Type
		}
	}
	return e
}

func classOf(status int) apierr.Class {
	if status == http.StatusNotFound {
		return apierr.NotFound
	}
	return apierr.ByStatus(status)
}

// IsUnauthorized reports whether err is a refused login.
func IsUnauthorized(err error) bool {
	var e *apierr.Error
	return errors.As(err, &e) && e.Status == http.StatusUnauthorized
}

// IsForbidden reports whether err says that the user may not do that.
func IsForbidden(err error) bool {
	var e *apierr.Error
	return errors.As(err, &e) && e.Status == http.StatusForbidden
}

// body encodes v for a request.
func body(v any) (io.Reader, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return strings.NewReader(string(raw)), nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return strings.NewReader(string(raw)), nil
}
