package es

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"eslink/shared/apierr"
)

// Document is one of an index's.
type Document struct {
	ID, Routing string
	SeqNo       int64 // in its shard
	Version     int64
	Source      json.RawMessage
}

// Window is a part of a shard: the documents whose sequence numbers are at
// least From and, unless it is 0, below Below.
type Window struct {
	Shard       int
	From, Below int64
}

// MaxPage is the most documents that one page may have: half of what an index
// gives by default (index.max_result_window).
const MaxPage = 5000

// Page returns up to size documents of a window under a query, in the order of
// their sequence numbers, with what they say or without. Sequence numbers are
// unique within a shard, so the next page begins after the last one's: every page
// can be repeated at any time, and neither a point in time nor a scroll is
// needed, which 7.10 without X-Pack lacks, or which a restarted node forgets.
func (c *Client) Page(ctx context.Context, index string, query json.RawMessage, w Window, size int, source bool) ([]Document, error) {
	within, err := InWindow(query, w.From, w.Below)
	if err != nil {
		return nil, err
	}
	reader, err := body(map[string]any{"query": within, "sort": []any{map[string]string{"_seq_no": "asc"}}})
	if err != nil {
		return nil, err
	}
	req := search(index, reader, size, source)
	req.Preference = fmt.Sprintf("_shards:%d", w.Shard)
	return c.documents(ctx, "read documents of index "+index, req, size)
}

// WithMaxPage returns a client that asks for no larger pages than an index gives
// (index.max_result_window); 0 is Elasticsearch's own 10,000.
func (c *Client) WithMaxPage(n int) *Client {
	limited := *c
	limited.maxPage = n
	return &limited
}

// AllShards is in place of a shard's number.
const AllShards = -1

// Documents returns those of at most MaxPage ids that a shard of an index has. It
// searches rather than gets, because a get needs each document's routing; and
// with other routings all shards may have one of the same ID.
func (c *Client) Documents(ctx context.Context, index string, shard int, ids []string, source bool) ([]Document, error) {
	reader, err := body(map[string]any{"query": map[string]any{"ids": map[string]any{"values": ids}}})
	if err != nil {
		return nil, err
	}
	most := MaxPage
	if c.maxPage > 0 {
		most = min(most, c.maxPage-1)
	}
	req := search(index, reader, most+1, source)
	if shard != AllShards {
		req.Preference = fmt.Sprintf("_shards:%d", shard)
	}
	docs, err := c.documents(ctx, "look for documents in index "+index, req, len(ids))
	if len(docs) > most && len(ids) > 1 {
		return nil, fmt.Errorf("look for documents in index %s on %s: %w: more than %d documents", index, c.base.Host, ErrTooLarge, most)
	}
	return docs, err
}

// search asks all shards or none.
func search(index string, body io.Reader, size int, source bool) esapi.SearchRequest {
	no, yes := false, true
	req := esapi.SearchRequest{Version: &yes, Index: []string{inPath(index)}, Body: body, Size: &size, AllowPartialSearchResults: &no, TrackTotalHits: no}
	if !source {
		req.Source = []string{"false"}
	}
	return req
}

// documents reads up to most documents.
func (c *Client) documents(ctx context.Context, what string, req esapi.SearchRequest, most int) ([]Document, error) {
	limit := int64(maxReply)
	if most == 1 {
		limit = MaxDocument
	}
	// A reply that is not packed has a length, and so comes into one piece of memory.
	// To unpack it would be a third of a reading function's work.
	req.Header = http.Header{"Accept-Encoding": {"identity"}}
	var out struct {
		TimedOut bool   `json:"timed_out"`
		Shards   shards `json:"_shards"`
		Hits     struct {
			Hits []struct {
				ID      string          `json:"_id"`
				Routing string          `json:"_routing"`
				Version int64           `json:"_version"`
				Source  json.RawMessage `json:"_source"`
				Sort    []int64         `json:"sort"`
			}
		}
	}
	var reply verbatim
	if err := c.bounded(ctx, what, req, &reply, limit); err != nil {
		return nil, err
	}
	if json.Unmarshal(reply, &out) != nil {
		blankComments(reply)
		if err := json.Unmarshal(reply, &out); err != nil {
			return nil, fmt.Errorf("%s on %s: %w: %w", what, c.base.Host, ErrUnreadable, err)
		}
	}
	err := out.Shards.complete()
	if err == nil && out.TimedOut {
		err = &apierr.Error{Class: apierr.Retry, Code: Incomplete, Message: "the search timed out"}
	}
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", what, c.base.Host, err)
	}
	docs := make([]Document, len(out.Hits.Hits))
	for i, h := range out.Hits.Hits {
		docs[i] = Document{ID: h.ID, Routing: h.Routing, Version: h.Version, Source: h.Source}
		if len(h.Sort) > 0 {
			docs[i].SeqNo = h.Sort[0]
		}
	}
	return docs, nil
}

// ErrUnreadable says that a reply with documents is no JSON. Elasticsearch returns what
// a document says as it was given, and takes more than JSON is.
var ErrUnreadable = errors.New("the reply is not JSON")

// comment is how long the comment is that in begins with, 0 if it begins with none.
func comment(in []byte) int {
	end := -1
	switch {
	case bytes.HasPrefix(in, []byte("/*")):
		if end = bytes.Index(in[2:], []byte("*/")); end >= 0 {
			end += len("/*") + len("*/")
		}
	case bytes.HasPrefix(in, []byte("//")):
		end = bytes.IndexAny(in, "\r\n")
	}
	return max(end, 0)
}

// blankComments turns comments and byte order marks between JSON's tokens, which
// Elasticsearch takes and keeps, into spaces.
func blankComments(in []byte) {
	for at := 0; at < len(in); at++ {
		switch {
		case in[at] == '"': // to its end
			for at++; at < len(in) && in[at] != '"'; at++ {
				if in[at] == '\\' {
					at++
				}
			}
		case bytes.HasPrefix(in[at:], []byte("\uFEFF")): // before what a document says
			in[at], in[at+1], in[at+2] = ' ', ' ', ' '
			at += 2
		case in[at] == '/':
			end := comment(in[at:])
			for n := range end {
				in[at+n] = ' '
			}
			at += max(end-1, 0)
		}
	}
}

// InWindow narrows a query, or everything with none, to sequence numbers that
// are at least from and, unless it is 0, below below.
func InWindow(query json.RawMessage, from, below int64) (json.RawMessage, error) {
	bounds := map[string]int64{"gte": from}
	if below > 0 {
		bounds["lt"] = below
	}
	must := []any{map[string]any{"range": map[string]any{"_seq_no": bounds}}}
	if len(query) > 0 {
		must = append(must, query)
	}
	raw, err := json.Marshal(map[string]any{"bool": map[string]any{"filter": must}})
	if err != nil {
		return nil, fmt.Errorf("encode query: %w", err)
	}
	return raw, nil
}

// Without narrows a query, or everything with none, to documents of other IDs.
func Without(query json.RawMessage, ids []string) (json.RawMessage, error) {
	clauses := map[string]any{"must_not": map[string]any{"ids": map[string]any{"values": ids}}}
	if len(query) > 0 {
		clauses["filter"] = query
	}
	raw, err := json.Marshal(map[string]any{"bool": clauses})
	if err != nil {
		return nil, fmt.Errorf("encode query: %w", err)
	}
	return raw, nil
}
