package es

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"eslink/shared/apierr"
)

func asReply(err error) *apierr.Error {
	var e *apierr.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Definition is how an index is set up.
type Definition struct {
	UUID     string          `json:"uuid,omitempty"`
	Settings json.RawMessage `json:"settings"` // the inner object of "index"
	Mappings json.RawMessage `json:"mappings"`
}

// Definition returns an index's settings and mappings. An alias is an error
// that says so: what is copied and written is an index.
func (c *Client) Definition(ctx context.Context, index string) (Definition, error) {
	var out map[string]struct {
		Mappings json.RawMessage
		Settings struct{ Index json.RawMessage }
	}
	if err := c.do(ctx, "read index "+index, esapi.IndicesGetRequest{Index: []string{index}}, &out); err != nil {
		return Definition{}, err
	}
	ix, ok := out[index]
	if !ok {
		return Definition{}, fmt.Errorf("read index %s: %w", index, ErrAlias)
	}
	var s struct{ UUID string }
	if err := json.Unmarshal(ix.Settings.Index, &s); err != nil {
		return Definition{}, fmt.Errorf("decode settings of index %s: %w", index, err)
	}
	return Definition{UUID: s.UUID, Settings: ix.Settings.Index, Mappings: ix.Mappings}, nil
}

// ErrAlias says that a name is an alias, not an index.
var ErrAlias = errors.New("it is an alias, not an index")

// Create creates an index from settings and mappings, each of which may be
// empty.
func (c *Client) Create(ctx context.Context, index string, settings, mappings json.RawMessage) error {
	def := map[string]json.RawMessage{}
	if len(settings) > 0 {
		def["settings"] = settings
	}
	if len(mappings) > 0 {
		def["mappings"] = mappings
	}
	reader, err := body(def)
	if err != nil {
		return err
	}
	return c.do(ctx, "create index "+index, esapi.IndicesCreateRequest{Index: index, Body: reader}, nil)
}

// Delete deletes an index; one that is gone is no error.
func (c *Client) Delete(ctx context.Context, index string) error {
	err := c.do(ctx, "delete index "+index, esapi.IndicesDeleteRequest{Index: []string{index}}, nil)
	if apierr.IsNotFound(err) {
		return nil
	}
	return err
}

// Refresh makes all writes so far visible to searches.
func (c *Client) Refresh(ctx context.Context, index string) error {
	return c.do(ctx, "refresh index "+index, esapi.IndicesRefreshRequest{Index: []string{index}}, nil)
}

// Count counts the documents of an index under a query, or all with none.
func (c *Client) Count(ctx context.Context, index string, query json.RawMessage) (int64, error) {
	req := esapi.CountRequest{Index: []string{index}}
	if len(query) > 0 {
		reader, err := body(map[string]json.RawMessage{"query": query})
		if err != nil {
			return 0, err
		}
		req.Body = reader
	}
	var out struct {
		Count  int64
		Shards shards `json:"_shards"`
	}
	if err := c.do(ctx, "count index "+index, req, &out); err != nil {
		return 0, err
	}
	if err := out.Shards.complete(); err != nil {
		return 0, fmt.Errorf("count index %s on %s: %w", index, c.base.Host, err)
	}
	return out.Count, nil
}

// Stats is what an index's primary shards hold.
type Stats struct {
	Bytes    int64
	Shards   int
	MaxSeqNo int64 // of any shard; -1 if nothing was ever written
	// Operations is how many writes and deletes all shards have seen: while it
	// stays, the index has not changed. One shard's maximum would hide the others'.
	Operations int64
}

// Stats reads the primaries' size and highest sequence number.
func (c *Client) Stats(ctx context.Context, index string) (Stats, error) {
	var out struct {
		Indices map[string]struct {
			Primaries struct {
				Store struct {
					Size int64 `json:"size_in_bytes"`
				}
			}
			Shards map[string][]struct {
				Routing struct{ Primary bool }
				SeqNo   struct {
					Max int64 `json:"max_seq_no"`
				} `json:"seq_no"`
			}
		}
	}
	if err := c.do(ctx, "read statistics of index "+index, esapi.IndicesStatsRequest{Index: []string{index}, Level: "shards"}, &out); err != nil {
		return Stats{}, err
	}
	ix := out.Indices[index]
	s := Stats{Bytes: ix.Primaries.Store.Size, MaxSeqNo: -1}
	for _, copies := range ix.Shards {
		for _, shard := range copies {
			if shard.Routing.Primary {
				s.Shards++
				s.MaxSeqNo = max(s.MaxSeqNo, shard.SeqNo.Max)
				s.Operations += shard.SeqNo.Max + 1
			}
		}
	}
	return s, nil
}

// pageSize is the largest page that an index gives by default
// (index.max_result_window).
const pageSize = 10000

// IDs returns the IDs of an index's documents under a query whose sequence
// numbers begin at from, and where the next call continues; next is -1 after
// the last. A window of sequence numbers is chosen so that it fits one page
// whatever the shards hold, so every call can be repeated, and no point in time
// or scroll (which 7.10 without X-Pack lacks, or which cannot be resumed) is
// needed.
func (c *Client) IDs(ctx context.Context, index string, query json.RawMessage, s Stats, from int64) (ids []string, next int64, err error) {
	width := int64(max(1, pageSize/max(1, s.Shards)))
	filter := []any{map[string]any{"range": map[string]any{"_seq_no": map[string]int64{"gte": from, "lt": from + width}}}}
	if len(query) > 0 {
		filter = append(filter, query)
	}
	reader, err := body(map[string]any{"query": map[string]any{"bool": map[string]any{"filter": filter}}})
	if err != nil {
		return nil, 0, err
	}
	var out hits
	if err := c.do(ctx, "list IDs of index "+index, search(index, reader), &out); err != nil {
		return nil, 0, err
	}
	for _, h := range out.Hits.Hits {
		ids = append(ids, h.ID)
	}
	if next = from + width; next > s.MaxSeqNo {
		next = -1
	}
	return ids, next, nil
}

// search asks for all of a page's IDs, of all shards or not at all.
func search(index string, body io.Reader) esapi.SearchRequest {
	size, partial := pageSize, false
	return esapi.SearchRequest{Index: []string{index}, Body: body, Size: &size, Source: []string{"false"}, AllowPartialSearchResults: &partial}
}

type hits struct {
	Hits struct {
		Hits []struct {
			ID string `json:"_id"`
		}
	}
}

// Absent returns those of at most 10,000 ids that an index has no document for.
// It searches rather than gets, because a get needs each document's routing.
func (c *Client) Absent(ctx context.Context, index string, ids []string) ([]string, error) {
	reader, err := body(map[string]any{"query": map[string]any{"ids": map[string]any{"values": ids}}})
	if err != nil {
		return nil, err
	}
	var out hits
	if err := c.do(ctx, "look for IDs in index "+index, search(index, reader), &out); err != nil {
		return nil, err
	}
	found := make(map[string]bool, len(out.Hits.Hits))
	for _, h := range out.Hits.Hits {
		found[h.ID] = true
	}
	var absent []string
	for _, id := range ids {
		if !found[id] {
			absent = append(absent, id)
		}
	}
	return absent, nil
}

// ReindexBody is the body of _reindex from a remote cluster.
type ReindexBody struct {
	Conflicts string        `json:"conflicts,omitempty"`
	MaxDocs   int           `json:"max_docs,omitempty"`
	Source    ReindexSource `json:"source"`
	Dest      ReindexDest   `json:"dest"`
}

// ReindexSource is where documents come from.
type ReindexSource struct {
	Remote Remote          `json:"remote"`
	Index  string          `json:"index"`
	Query  json.RawMessage `json:"query,omitempty"`
	Size   int             `json:"size,omitempty"`
}

// Remote is the cluster that they come from. Elasticsearch hides the password
// from task listings.
type Remote struct {
	Host           string `json:"host"`
	Username       string `json:"username"`
	Password       string `json:"password"`
	SocketTimeout  string `json:"socket_timeout,omitempty"`
	ConnectTimeout string `json:"connect_timeout,omitempty"`
}

// ReindexDest is where they go.
type ReindexDest struct {
	Index  string `json:"index"`
	OpType string `json:"op_type,omitempty"`
}

// formatRate writes documents per second as Elasticsearch reads them.
func formatRate(perSecond float64) string {
	return strconv.FormatFloat(perSecond, 'f', -1, 64)
}
