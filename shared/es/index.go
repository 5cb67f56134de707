package es

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

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
	// Aliases lead to the index; each may filter, route, or be written through.
	Aliases map[string]json.RawMessage `json:"aliases,omitempty"`
}

// Definition returns an index's settings and mappings. An alias is an error
// that says so: what is copied and written is an index.
func (c *Client) Definition(ctx context.Context, index string) (Definition, error) {
	var out map[string]struct {
		Mappings json.RawMessage
		Settings struct{ Index json.RawMessage }
		Aliases  map[string]json.RawMessage
	}
	if err := c.do(ctx, "read index "+index, esapi.IndicesGetRequest{Index: []string{inPath(index)}}, &out); err != nil {
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
	return Definition{UUID: s.UUID, Settings: ix.Settings.Index, Mappings: ix.Mappings, Aliases: ix.Aliases}, nil
}

// ErrAlias says that a name is an alias, not an index.
var ErrAlias = errors.New("it is an alias, not an index")

// Behind returns the UUID of each index that a name leads to, by its own name:
// of the index that is called so, of those behind an alias, or of none.
func (c *Client) Behind(ctx context.Context, name string) (map[string]string, error) {
	var out map[string]struct {
		Settings struct{ Index struct{ UUID string } }
	}
	err := c.do(ctx, "read what "+name+" leads to", esapi.IndicesGetRequest{Index: []string{inPath(name)}}, &out)
	if apierr.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	uuids := map[string]string{}
	for index, ix := range out {
		uuids[index] = ix.Settings.Index.UUID
	}
	return uuids, nil
}

// A Match is an index that a pattern matches.
type Match struct {
	Name       string
	Attributes []string // open or closed; hidden, system, frozen
	DataStream string   `json:"data_stream"` // that it holds a part of
}

// Matches lists the indices that a pattern matches, hidden and closed ones
// included, as far as the user may see them, and the data streams.
// https://www.elastic.co/guide/en/elasticsearch/reference/7.10/indices-resolve-index-api.html
func (c *Client) Matches(ctx context.Context, pattern string) (indices []Match, streams []string, err error) {
	var out struct {
		Indices []Match
		Streams []struct{ Name string } `json:"data_streams"`
	}
	if err := c.do(ctx, "find indices "+pattern, esapi.IndicesResolveIndexRequest{Name: []string{inPath(pattern)}, ExpandWildcards: "all"}, &out); err != nil {
		return nil, nil, err
	}
	for _, s := range out.Streams {
		streams = append(streams, s.Name)
	}
	return out.Indices, streams, nil
}

// Create creates an index from the parts of a definition that are not empty.
func (c *Client) Create(ctx context.Context, index string, d Definition) error {
	def := map[string]any{}
	if len(d.Settings) > 0 {
		def["settings"] = d.Settings
	}
	if len(d.Mappings) > 0 {
		def["mappings"] = d.Mappings
	}
	if len(d.Aliases) > 0 {
		def["aliases"] = d.Aliases
	}
	reader, err := body(def)
	if err != nil {
		return err
	}
	return c.do(ctx, "create index "+index, esapi.IndicesCreateRequest{Index: inPath(index), Body: reader}, nil)
}

// Delete deletes an index; one that is gone is no error.
func (c *Client) Delete(ctx context.Context, index string) error {
	err := c.do(ctx, "delete index "+index, esapi.IndicesDeleteRequest{Index: []string{inPath(index)}}, nil)
	if apierr.IsNotFound(err) {
		return nil
	}
	return err
}

// Refresh makes all writes so far visible to searches.
func (c *Client) Refresh(ctx context.Context, index string) error {
	return c.do(ctx, "refresh index "+index, esapi.IndicesRefreshRequest{Index: []string{inPath(index)}}, nil)
}

// PutSettings changes settings of an index; nil takes one back to its default.
func (c *Client) PutSettings(ctx context.Context, index string, settings map[string]*string) error {
	reader, err := body(map[string]any{"index": settings})
	if err != nil {
		return err
	}
	return c.do(ctx, "change settings of index "+index, esapi.IndicesPutSettingsRequest{Index: []string{inPath(index)}, Body: reader}, nil)
}

// Flush has all writes so far on disk. A shard that is away is no failure to
// Elasticsearch, which says 200 and passes it over: here it is Incomplete.
func (c *Client) Flush(ctx context.Context, index string) error {
	var out struct {
		Shards shards `json:"_shards"`
	}
	what := "flush index " + index
	if err := c.do(ctx, what, esapi.IndicesFlushRequest{Index: []string{inPath(index)}}, &out); err != nil {
		return err
	}
	if err := out.Shards.complete(); err != nil {
		return fmt.Errorf("%s on %s: %w", what, c.base.Host, err)
	}
	return nil
}

// Count counts the documents of an index under a query, or all with none.
func (c *Client) Count(ctx context.Context, index string, query json.RawMessage) (int64, error) {
	req := esapi.CountRequest{Index: []string{inPath(index)}}
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
	UUID     string
	Bytes    int64
	Shards   int
	MaxSeqNo int64 // of any shard; -1 if nothing was ever written
	// Operations is how many writes and deletes all shards have seen: while it
	// stays, the index has not changed. One shard's maximum would hide the others'.
	Operations int64
	// ShardSeqNos has each shard's highest sequence number, by the shard's own.
	ShardSeqNos []int64
}

// State differs once an index has been written to or recreated.
func (s Stats) State() string { return fmt.Sprintf("%s/%d", s.UUID, s.Operations) }

// Stats reads the primaries' size and highest sequence number. Elasticsearch
// leaves out a shard without a living primary, and says so nowhere: how many
// there must be is among the index's settings.
func (c *Client) Stats(ctx context.Context, index string) (Stats, error) {
	var out struct {
		Indices map[string]struct {
			UUID      string
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
	if err := c.do(ctx, "read statistics of index "+index, esapi.IndicesStatsRequest{Index: []string{inPath(index)}, Level: "shards"}, &out); err != nil {
		return Stats{}, err
	}
	of, err := c.shards(ctx, index)
	if err != nil {
		return Stats{}, err
	}
	ix := out.Indices[index]
	s := Stats{UUID: ix.UUID, Bytes: ix.Primaries.Store.Size, MaxSeqNo: -1, ShardSeqNos: make([]int64, of)}
	for n := range s.ShardSeqNos {
		for _, shard := range ix.Shards[strconv.Itoa(n)] {
			if !shard.Routing.Primary {
				continue
			}
			s.Shards++
			s.ShardSeqNos[n] = shard.SeqNo.Max
			s.MaxSeqNo = max(s.MaxSeqNo, shard.SeqNo.Max)
			s.Operations += shard.SeqNo.Max + 1
		}
	}
	if err := (shards{Total: of, Successful: s.Shards}).complete(); err != nil {
		return Stats{}, fmt.Errorf("read statistics of index %s on %s: %w", index, c.base.Host, err)
	}
	return s, nil
}

// shards is how many shards an index was made with.
func (c *Client) shards(ctx context.Context, index string) (int, error) {
	var out map[string]struct {
		Settings struct {
			Index struct {
				Shards int `json:"number_of_shards,string"`
			}
		}
	}
	req := esapi.IndicesGetSettingsRequest{Index: []string{inPath(index)}, Name: []string{"index.number_of_shards"}}
	if err := c.do(ctx, "read settings of index "+index, req, &out); err != nil {
		return 0, err
	}
	ix, ok := out[index]
	if !ok {
		return 0, fmt.Errorf("read settings of index %s: %w", index, ErrAlias)
	}
	return ix.Settings.Index.Shards, nil
}

// ReindexBody is the body of _reindex from a remote cluster.
type ReindexBody struct {
	// Scroll is how long the source keeps its place between two pages; Elasticsearch's
	// own is five minutes.
	Scroll time.Duration `json:"-"`

	Conflicts string        `json:"conflicts,omitempty"`
	MaxDocs   int           `json:"max_docs,omitempty"`
	Source    ReindexSource `json:"source"`
	Dest      ReindexDest   `json:"dest"`
}

// ReindexSource is where documents come from: in the order of Sort, a field, if it
// is set, and with the Fields alone, if there are any.
type ReindexSource struct {
	Remote Remote          `json:"remote"`
	Index  string          `json:"index"`
	Query  json.RawMessage `json:"query,omitempty"`
	Size   int             `json:"size,omitempty"`
	Sort   string          `json:"sort,omitempty"`
	Fields []string        `json:"_source,omitempty"`
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
	Index       string `json:"index"`
	VersionType string `json:"version_type,omitempty"`
	OpType      string `json:"op_type,omitempty"`
	Pipeline    string `json:"pipeline,omitempty"`
}

// formatRate writes documents per second as Elasticsearch reads them.
func formatRate(perSecond float64) string {
	return strconv.FormatFloat(perSecond, 'f', -1, 64)
}
