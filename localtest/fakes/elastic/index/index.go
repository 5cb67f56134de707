package index

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/localtest/fakes/elastic/analysis"
	"eslink/localtest/fakes/elastic/esjson"
)

// Env is what an index has of its cluster.
type Env struct {
	Name       string
	Version    esjson.Version
	Nodes      int
	Now        func() time.Time
	Setting    func(key, otherwise string) string // of the cluster
	Analyzers  map[string]analysis.Analyzer
	Added      map[string]bool // analyzers of plugins
	Generation int             // how often it was started
}

// ID makes an identifier as Elasticsearch prints uuids: 22 base64 characters.
func (s *Env) ID(kind string, n int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", s.Name, kind, n))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (s *Env) NodeID(n int) string { return s.ID("node", int64(n)) }

func (s *Env) NodeName(n int) string { return fmt.Sprintf("%s-%d", s.Name, n+1) }

func (s *Env) Identity(index, id string) esjson.Object {
	if s.Version.AtLeast(8, 0) {
		return esjson.Obj("_index", index, "_id", id)
	}
	return esjson.Obj("_index", index, "_type", "_doc", "_id", id)
}

type Index struct {
	S         *Env
	Name      string
	UUID      string
	Settings  map[string]string // flat, "index." included
	Mapping   *Mapping
	Aliases   map[string]Alias
	Shards    []*Shard
	analyzers map[string]analysis.Analyzer // the index's own
}

// indexSettings are the settings an index may be created with; those of
// dynamicIndex may change later.
var (
	DynamicIndex = []string{
		"index.number_of_replicas", "index.auto_expand_replicas", "index.refresh_interval", "index.blocks.", "index.translog.", "index.max_result_window", "index.max_inner_result_window", "index.max_terms_count", "index.max_ngram_diff", "index.max_shingle_diff",
		"index.routing.allocation.", "index.routing.rebalance.", "index.merge.", "index.search.", "index.indexing.", "index.mapping.",
		"index.priority", "index.hidden", "index.gc_deletes", "index.unassigned.", "index.query.", "index.write.", "index.lifecycle.",
		"index.requests.", "index.highlight.", "index.default_pipeline", "index.final_pipeline", "index.warmer.", "index.analyze.", "index.allocation.max_retries",
	}
	indexSettings = append([]string{
		"index.number_of_shards", "index.number_of_routing_shards", "index.analysis.", "index.codec", "index.sort.", "index.similarity.",
		"index.soft_deletes.", "index.store.", "index.routing_partition_size", "index.shard.", "index.format", "index.load_fixed_bitset_filters_eagerly",
	}, DynamicIndex...)
	refusedIndex = []string{"index.routing.allocation.initial_recovery.", "index.merge.enabled"}
	privateIndex = []string{"index.version.created", "index.verified_before_close", "index.allocation.existing_shards_allocator", "index.search.throttled"}
)

// IndexKeys flattens settings as requests spell them and gives them their prefix.
func IndexKeys(v any) map[string]*string {
	flat := map[string]*string{}
	esjson.Flatten("", v, flat)
	if inner, ok := v.(map[string]any); ok {
		if s, ok := inner["settings"].(map[string]any); ok {
			flat = map[string]*string{}
			esjson.Flatten("", s, flat)
		}
	}
	out := map[string]*string{}
	for k, val := range flat {
		out["index."+strings.TrimPrefix(k, "index.")] = val
	}
	return out
}

const maxShards = 1024 // of one index

func CheckIndexSettings(flat map[string]*string) *esjson.Error {
	for _, k := range slices.Sorted(maps.Keys(flat)) {
		switch {
		case slices.Contains(privateIndex, k):
			return esjson.Fail(400, "validation_exception", "Validation Failed: 1: private index setting [%s] can not be set explicitly;", k)
		case esjson.Known(refusedIndex, k) || !esjson.Known(indexSettings, k):
			return esjson.UnknownSetting(k)
		}
		if flat[k] == nil {
			continue
		}
		if floor, isNumber := map[string]int{"index.number_of_shards": 1, "index.number_of_replicas": 0, "index.max_result_window": 1}[k]; isNumber {
			n, err := strconv.Atoi(*flat[k])
			if err != nil {
				return esjson.Illegal("Failed to parse value [%s] for setting [%s]", *flat[k], k)
			}
			if n < floor {
				return esjson.Illegal("Failed to parse value [%s] for setting [%s] must be >= %d", *flat[k], k, floor)
			}
			if k == "index.number_of_shards" && n > maxShards {
				return esjson.Illegal("Failed to parse value [%s] for setting [%s] must be <= %d", *flat[k], k, maxShards)
			}
		}
		if _, err := esjson.ParseTime(*flat[k], k); k == "index.refresh_interval" && err != nil {
			return err
		}
	}
	return nil
}

func CheckIndexName(name string) *esjson.Error {
	bad := func(why string) *esjson.Error {
		return esjson.Fail(400, "invalid_index_name_exception", "Invalid index name [%s], %s", name, why).With("index_uuid", "_na_", "index", name)
	}
	switch {
	case name != strings.ToLower(name):
		return bad("must be lowercase")
	case strings.ContainsAny(name[:1], "_-+"):
		return bad("must not start with '_', '-', or '+'")
	case strings.ContainsAny(name, " \"*\\<|,>/?"):
		return bad(`must not contain the following characters [ , ", *, \, <, |, ,, >, /, ?]`)
	case strings.Contains(name, "#"):
		return bad("must not contain '#'")
	case len(name) > 255:
		return bad(fmt.Sprintf("index name is too long, (%d > 255)", len(name)))
	}
	return nil
}

func (ix *Index) HasAlias(name string) bool {
	_, ok := ix.Aliases[name]
	return ok
}

// Blocked tells which index block refuses a kind of operation: write, read,
// metadata or delete (of the index).
func (ix *Index) Blocked(kind string) *esjson.Error {
	for _, b := range []struct {
		setting, kinds, text string
		status               int
	}{
		{"read_only", "write metadata delete", "FORBIDDEN/5/index read-only (api)", 403},
		{"read", "read", "FORBIDDEN/7/index read (api)", 403},
		{"write", "write", "FORBIDDEN/8/index write (api)", 403},
		{"metadata", "metadata delete", "FORBIDDEN/9/index metadata (api)", 403},
		{"read_only_allow_delete", "write metadata", "TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block", 429},
	} {
		if ix.Settings["index.blocks."+b.setting] == "true" && slices.Contains(strings.Fields(b.kinds), kind) {
			return esjson.Fail(b.status, "cluster_block_exception", "index [%s] blocked by: [%s];", ix.Name, b.text)
		}
	}
	return nil
}
