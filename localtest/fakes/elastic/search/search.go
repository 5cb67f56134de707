package search

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
	"eslink/localtest/fakes/elastic/store"
)

func CatCount(c *store.Call) (int, any, error) {
	targets, err := Targets(c, c.Vars["index"], "indices:data/read/search")
	if err != nil {
		return 0, nil, err
	}
	hits, err := matches(targets, index.Query{})
	if err != nil {
		return 0, nil, err
	}
	row := store.Clock(c.S.Config.Now())
	row["count"] = strconv.Itoa(len(hits))
	return c.Show(store.Table{Columns: []string{"epoch", "timestamp", "count"}, Rows: []map[string]string{row}})
}

// search is a snapshot held open: a scroll, or a point in time.
type search struct {
	id        string
	keepAlive time.Duration
	expires   time.Time
	pit       bool
	shards    int
	targets   []target
	scroll    *Request // of a scroll: what it asked and what is left
	rest      []Hit
	total     int
}

// target is an index as one search sees it.
type target struct {
	ix   *index.Index
	docs []*index.Doc // in _doc order
	hide []index.Matcher
	only []int // the shards asked, if preference names them
}

type Request struct {
	Query          index.Query
	from, size     int
	Sort           []SortBy
	after          []any
	source         index.SourceFilter
	version, seqNo bool
	track          int // -1: exact; else a cap, 0: not at all
	aggs           map[string]map[string]any
	pit            *search
	sliceID        int
	sliceMax       int
}

type SortBy struct {
	Field   string
	Desc    bool
	missing string
}

type Hit struct {
	D     *index.Doc
	score float64
	sort  []index.Key
}

// Targets takes the snapshot of the indices that a request names.
func Targets(c *store.Call, expr, action string) ([]target, error) {
	list, filters, err := c.Resolve(expr, action)
	if err != nil {
		return nil, err
	}
	only, err := preferred(c)
	if err != nil {
		return nil, err
	}
	var out []target
	for _, ix := range list {
		if e := ix.Blocked("read"); e != nil {
			return nil, e
		}
		ix.CatchUp()
		t := target{ix: ix, only: only}
		for n, sh := range ix.Shards {
			if only == nil || slices.Contains(only, n) {
				t.docs = append(t.docs, sh.Visible...)
			}
		}
		slices.SortStableFunc(t.docs, func(a, b *index.Doc) int { return int(a.Seq - b.Seq) })
		hide, err := c.Hidden(ix)
		if err != nil {
			return nil, err
		}
		if hide != nil {
			t.hide = append(t.hide, hide)
		}
		if f := filters[ix]; len(f) > 0 {
			m, err := index.Compile(index.Query{Raw: f}, ix)
			if err != nil {
				return nil, err
			}
			t.hide = append(t.hide, m)
		}
		out = append(out, t)
	}
	return out, nil
}

// preferred are the shards that the parameter preference names, nil for all.
// Which copy of a shard answers makes no difference here.
func preferred(c *store.Call) ([]int, error) {
	p := c.Q.Get("preference")
	list, sharded := strings.CutPrefix(p, "_shards:")
	switch {
	case p == "_local" || p == "_only_local" || !strings.HasPrefix(p, "_"):
		return nil, nil
	case strings.HasPrefix(p, "_only_nodes:") || strings.HasPrefix(p, "_prefer_nodes:"):
		return nil, esjson.Unsupported("preference [%s]", p)
	case !sharded:
		return nil, esjson.Illegal("no Preference for [%s]", p)
	}
	list, rest, barred := strings.Cut(list, "|")
	if barred && rest != "_local" {
		return nil, esjson.Illegal("no Preference for [%s]", rest)
	}
	only := []int{}
	for item := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(item)
		if err != nil {
			return nil, esjson.Fail(400, "number_format_exception", "For input string: %q", item)
		}
		only = append(only, n)
	}
	return only, nil
}

// matches runs a query over snapshots.
func matches(targets []target, q index.Query) ([]Hit, error) {
	var out []Hit
	for _, t := range targets {
		m, err := index.Compile(q, t.ix)
		if err != nil {
			return nil, err
		}
		for _, d := range t.docs {
			score, ok := m(d)
			for _, h := range t.hide {
				_, seen := h(d)
				ok = ok && seen
			}
			if ok {
				out = append(out, Hit{D: d, score: score})
			}
		}
	}
	return out, nil
}

func Count(c *store.Call) (int, any, error) {
	var q index.Query
	if len(bytes.TrimSpace(c.Body)) > 0 {
		keys, values, err := esjson.Members(c.Body)
		if err != nil {
			return 0, nil, esjson.Fail(400, "parsing_exception", "%s", err)
		}
		for _, k := range keys {
			if k != "query" {
				return 0, nil, esjson.Fail(400, "parsing_exception", "request does not support [%s]", k)
			}
		}
		q = index.QueryIn(c.Body, values["query"])
	}
	if c.Q.Has("q") {
		var err error
		if q, err = queryString(c); err != nil {
			return 0, nil, err
		}
	}
	targets, err := Targets(c, c.Vars["index"], "indices:data/read/search")
	if err != nil {
		return 0, nil, err
	}
	hits, err := matches(targets, q)
	if err != nil {
		return 0, nil, err
	}
	return 200, esjson.Obj("count", len(hits), "_shards", shardsReply(targets)), nil
}

func shardsReply(targets []target) esjson.Object {
	n := 0
	for _, t := range targets {
		for shard := range t.ix.Shards {
			if t.only == nil || slices.Contains(t.only, shard) {
				n++
			}
		}
	}
	return esjson.Obj("total", n, "successful", n, "skipped", 0, "failed", 0)
}

func (x *Contexts) Search(c *store.Call) (int, any, error) {
	req, err := x.searchRequest(c)
	if err != nil {
		return 0, nil, err
	}
	var targets []target
	if req.pit != nil {
		targets = req.pit.targets
	} else {
		if _, named := c.Vars["index"]; !named {
			if e := c.Permit("indices:data/read/search"); e != nil {
				return 0, nil, e
			}
		}
		if targets, err = Targets(c, c.Vars["index"], "indices:data/read/search"); err != nil {
			return 0, nil, err
		}
	}
	for _, t := range targets {
		if window := esjson.Atoi(t.ix.Settings["index.max_result_window"], 10000); req.from+req.size > window {
			if c.Q.Get("scroll") != "" {
				return 0, nil, shardsFailed(t, esjson.Illegal("Batch size is too large, size must be less than or equal to: [%d] but was [%d]. Scroll batch sizes cost as much memory as result windows so they are controlled by the [index.max_result_window] index level setting.", window, req.size))
			}
			return 0, nil, shardsFailed(t, esjson.Illegal("Result window is too large, from + size must be less than or equal to: [%d] but was [%d]. See the scroll api for a more efficient way to request large data sets. This limit can be set by changing the [index.max_result_window] index level setting.", window, req.from+req.size))
		}
	}
	hits, err := req.Run(targets)
	if err != nil {
		return 0, nil, err
	}
	total := len(hits)
	aggs, err := req.aggregate(hits)
	if err != nil {
		return 0, nil, err
	}
	if hits, err = req.Order(hits); err != nil {
		return 0, nil, err
	}
	var head esjson.Object
	if keep := c.Q.Get("scroll"); keep != "" {
		sr, err := x.openScroll(c, keep, req, targets, hits)
		if err != nil {
			return 0, nil, err
		}
		head = esjson.Obj("_scroll_id", sr.id)
		hits = sr.next()
	} else {
		hits = hits[min(req.from, len(hits)):]
		hits = hits[:min(req.size, len(hits))]
	}
	if req.pit != nil {
		head = esjson.Obj("pit_id", req.pit.id)
	}
	reply := head.With("took", 1, "timed_out", false, "_shards", shardsReply(targets), "hits", hitsReply(c, req, hits, total))
	if aggs != nil {
		reply = reply.With("aggregations", aggs)
	}
	return 200, reply, nil
}

// shardsFailed is the reply when every shard refused.
func shardsFailed(t target, cause *esjson.Error) *esjson.Error {
	e := esjson.Fail(cause.Status, "search_phase_execution_exception", "all shards failed").With("phase", "query", "grouped", true,
		"failed_shards", []esjson.Object{esjson.Obj("shard", 0, "index", t.ix.Name, "node", t.ix.S.NodeID(0), "reason", cause.Object())}).Because(cause)
	e.Roots = []*esjson.Error{cause}
	return e
}

func (x *Contexts) searchRequest(c *store.Call) (*Request, error) {
	req := &Request{size: 10, track: 10000}
	var body map[string]json.RawMessage
	if err := c.Json(&body); err != nil {
		return nil, err
	}
	for _, k := range slices.Sorted(maps.Keys(body)) {
		var v any
		if err := esjson.Decode(body[k], &v); err != nil {
			return nil, esjson.Fail(400, "parsing_exception", "%s", err)
		}
		if err := req.set(c, x, k, body[k], v); err != nil {
			return nil, err
		}
	}
	var err error
	if req.from, err = c.Number("from", req.from); err != nil {
		return nil, err
	}
	if req.size, err = c.Number("size", req.size); err != nil {
		return nil, err
	}
	if v := c.Q.Get("sort"); v != "" {
		req.Sort = nil
		for item := range strings.SplitSeq(v, ",") {
			name, dir, _ := strings.Cut(item, ":")
			req.Sort = append(req.Sort, SortBy{Field: name, Desc: dir == "desc"})
		}
	}
	if v := c.Q.Get("track_total_hits"); v != "" {
		if err := req.trackTotal(v); err != nil {
			return nil, err
		}
	}
	if req.source, err = c.SourceParams(req.source); err != nil {
		return nil, err
	}
	if c.Q.Has("q") {
		if req.Query, err = queryString(c); err != nil {
			return nil, err
		}
	}
	req.version = c.Flag("version", req.version)
	req.seqNo = c.Flag("seq_no_primary_term", req.seqNo)
	if c.Q.Get("search_type") == "dfs_query_then_fetch" {
		return nil, esjson.Unsupported("search_type [dfs_query_then_fetch]")
	}
	return req, req.validate(c)
}

func (req *Request) set(c *store.Call, x *Contexts, k string, raw json.RawMessage, v any) error {
	number := func() int { return esjson.Atoi(fmt.Sprint(v), 0) }
	switch k {
	case "query":
		req.Query = index.QueryIn(c.Body, raw)
	case "from":
		req.from = number()
	case "size":
		req.size = number()
	case "sort":
		return req.SetSort(v)
	case "search_after":
		req.after, _ = v.([]any)
	case "_source":
		f, err := index.ParseSource(v)
		req.source = f
		return err
	case "version":
		req.version = v == true
	case "seq_no_primary_term":
		req.seqNo = v == true
	case "track_total_hits":
		return req.trackTotal(fmt.Sprint(v))
	case "aggs", "aggregations":
		return esjson.Decode(raw, &req.aggs)
	case "pit":
		m, _ := v.(map[string]any)
		id, _ := m["id"].(string)
		sr, err := x.find(id, true)
		if err != nil {
			return err
		}
		if keep, ok := m["keep_alive"].(string); ok {
			d, e := esjson.ParseTime(keep, "keep_alive")
			if e != nil {
				return e
			}
			sr.keepAlive = d
		}
		sr.expires = c.S.Config.Now().Add(sr.keepAlive)
		req.pit = sr
	case "slice":
		m, _ := v.(map[string]any)
		req.sliceID, req.sliceMax = esjson.Atoi(fmt.Sprint(m["id"]), 0), esjson.Atoi(fmt.Sprint(m["max"]), 0)
		if req.sliceMax <= 1 {
			return esjson.Illegal("max must be greater than 1")
		}
		if req.sliceID >= req.sliceMax {
			return esjson.Illegal("max must be greater than id")
		}
	case "timeout", "track_scores":
	default:
		return esjson.Unsupported("search with [%s]", k)
	}
	return nil
}

func (req *Request) trackTotal(v string) error {
	switch v {
	case "true":
		req.track = -1
	case "false":
		req.track = 0
	default:
		n, err := strconv.Atoi(v)
		if err != nil {
			return esjson.Illegal("Failed to parse value [%s] of [track_total_hits]", v)
		}
		req.track = n
	}
	return nil
}

func (req *Request) SetSort(v any) error {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	for _, item := range list {
		switch item := item.(type) {
		case string:
			req.Sort = append(req.Sort, SortBy{Field: item, Desc: item == "_score"})
		case map[string]any:
			for f, how := range item {
				by := SortBy{Field: f, Desc: f == "_score"}
				options, isObject := how.(map[string]any)
				if !isObject {
					options = map[string]any{"order": how}
				}
				for k, o := range options {
					switch k {
					case "order":
						by.Desc = strings.EqualFold(fmt.Sprint(o), "desc")
					case "missing":
						by.missing = fmt.Sprint(o)
					case "unmapped_type", "numeric_type", "format":
					default:
						return esjson.Unsupported("sort with [%s]", k)
					}
				}
				req.Sort = append(req.Sort, by)
			}
		}
	}
	return nil
}

func (req *Request) validate(c *store.Call) error {
	var faults []string
	scroll := c.Q.Get("scroll") != ""
	if scroll && req.size == 0 {
		faults = append(faults, "[size] cannot be [0] in a scroll context")
	}
	if scroll && req.from > 0 {
		faults = append(faults, "using [from] is not allowed in a scroll context")
	}
	if scroll && req.after != nil {
		faults = append(faults, "[search_after] cannot be used in a scroll context")
	}
	if req.pit != nil && c.Vars["index"] != "" {
		faults = append(faults, "[indices] cannot be used with point in time. Do not specify any index with point in time.")
	}
	if len(faults) > 0 {
		return esjson.Validation(faults)
	}
	if req.after != nil && len(req.Sort) == 0 && req.pit == nil {
		return esjson.Illegal("Sort must contain at least one field.")
	}
	if req.size < 0 {
		return esjson.Illegal("[size] parameter cannot be negative, found [%d]", req.size)
	}
	if scroll {
		req.track = -1
	}
	if req.sliceMax > 0 && !scroll && req.pit == nil {
		return esjson.Illegal("[slice] can only be used with [scroll] or [point-in-time] requests")
	}
	if req.pit != nil && !slices.ContainsFunc(req.Sort, func(b SortBy) bool { return b.Field == "_shard_doc" }) && (len(req.Sort) > 0 || req.after != nil) {
		req.Sort = append(req.Sort, SortBy{Field: "_shard_doc"})
	}
	return nil
}

func (req *Request) Run(targets []target) ([]Hit, error) {
	hits, err := matches(targets, req.Query)
	if err == nil && req.sliceMax > 0 {
		hits = slices.DeleteFunc(hits, func(h Hit) bool { return int(index.Murmur3([]byte(h.D.ID)))%req.sliceMax != req.sliceID })
	}
	return hits, err
}

// Order sorts, and drops what search_after has passed. Without a sort the best
// score comes first.
func (req *Request) Order(hits []Hit) ([]Hit, error) {
	if len(req.Sort) == 0 {
		slices.SortStableFunc(hits, func(a, b Hit) int { return index.CompareOrdered(b.score, a.score) })
		return hits, nil
	}
	for i := range hits {
		for _, by := range req.Sort {
			k, err := by.key(hits[i], i)
			if err != nil {
				return nil, err
			}
			hits[i].sort = append(hits[i].sort, k)
		}
	}
	compare := func(a, b []index.Key) int {
		for i, by := range req.Sort {
			n := a[i].Compare(b[i])
			switch {
			case a[i].Kind == 0 && b[i].Kind == 0:
				continue
			case a[i].Kind == 0 || b[i].Kind == 0: // a missing value goes last
				if n = 1; b[i].Kind == 0 {
					n = -1
				}
				if by.missing == "_first" {
					n = -n
				}
			case by.Desc:
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return 0
	}
	slices.SortStableFunc(hits, func(a, b Hit) int { return compare(a.sort, b.sort) })
	if req.after == nil {
		return hits, nil
	}
	if len(req.after) != len(req.Sort) && !(req.pit != nil && len(req.after) == len(req.Sort)-1) {
		return nil, esjson.Illegal("search_after has %d value(s) but sort has %d.", len(req.after), len(req.Sort))
	}
	var last []index.Key
	for i, v := range req.after {
		f := &index.Field{Typ: "keyword"}
		if _, isNumber := v.(json.Number); isNumber {
			f = &index.Field{Typ: "long"}
		}
		if v == nil {
			last = append(last, index.Key{})
			continue
		}
		k, ok := f.Key(v)
		if !ok {
			return nil, esjson.Illegal("Failed to parse search_after value for field [%s].", req.Sort[i].Field)
		}
		last = append(last, k)
	}
	for len(last) < len(req.Sort) {
		last = append(last, index.Key{Kind: 'i', Integer: 1<<63 - 1})
	}
	return slices.DeleteFunc(hits, func(h Hit) bool { return compare(h.sort, last) <= 0 }), nil
}

func (by SortBy) key(h Hit, position int) (index.Key, error) {
	ix := h.D.Ix
	switch by.Field {
	case "_doc":
		return index.Key{Kind: 'i', Integer: int64(position)}, nil
	case "_shard_doc":
		return index.Key{Kind: 'i', Integer: int64(h.D.Shard)<<32 | h.D.Seq}, nil
	case "_seq_no":
		return index.Key{Kind: 'i', Integer: h.D.Seq}, nil
	case "_score":
		return index.Key{Kind: 'f', Float: h.score}, nil
	case "_id":
		if ix.S.Setting("indices.id_field_data.enabled", strconv.FormatBool(!ix.S.Version.AtLeast(8, 0))) != "true" {
			return index.Key{}, shardsFailed(target{ix: ix}, esjson.Illegal("Fielddata access on the _id field is disallowed, you can re-enable it by updating the dynamic cluster setting: indices.id_field_data.enabled"))
		}
		return index.Key{Kind: 't', Text: h.D.ID}, nil
	}
	f := ix.Mapping.Lookup(by.Field)
	switch {
	case f == nil:
		return index.Key{}, index.Compiler{Ix: ix}.ShardFault("No mapping found for [%s] in order to sort on", by.Field)
	case f.Typ == "text":
		return index.Key{}, shardsFailed(target{ix: ix}, esjson.Illegal("Text fields are not optimised for operations that require per-document field data like aggregations and sorting, so these operations are disabled by default. Please use a keyword field instead. Alternatively, set fielddata=true on [%s] in order to load field data by uninverting the inverted index. Note that this can use significant memory.", by.Field))
	}
	keys := h.D.Keys(by.Field, f)
	if len(keys) == 0 {
		return index.Key{}, nil
	}
	slices.SortFunc(keys, index.Key.Compare)
	if by.Desc {
		return keys[len(keys)-1], nil
	}
	return keys[0], nil
}

// aggregate knows max, min and value_count of one field.
func (req *Request) aggregate(hits []Hit) (any, error) {
	if req.aggs == nil {
		return nil, nil
	}
	out := esjson.Obj()
	for _, name := range slices.Sorted(maps.Keys(req.aggs)) {
		for kind, body := range req.aggs[name] {
			b, _ := body.(map[string]any)
			path, _ := b["field"].(string)
			if !slices.Contains([]string{"max", "min", "value_count"}, kind) || path == "" || len(b) != 1 || len(req.aggs[name]) != 1 {
				return nil, esjson.Unsupported("aggregation [%s]: %s of one field only", name, kind)
			}
			var keys []index.Key
			for _, h := range hits {
				f := h.D.Ix.Mapping.Lookup(path)
				if f != nil || path == "_seq_no" {
					keys = append(keys, h.D.Keys(path, f)...)
				}
			}
			switch {
			case kind == "value_count":
				out = out.With(name, esjson.Obj("value", len(keys)))
			case len(keys) == 0:
				out = out.With(name, esjson.Obj("value", nil))
			case kind == "max":
				out = out.With(name, esjson.Obj("value", esjson.JavaFloat(slices.MaxFunc(keys, index.Key.Compare).Number())))
			default:
				out = out.With(name, esjson.Obj("value", esjson.JavaFloat(slices.MinFunc(keys, index.Key.Compare).Number())))
			}
		}
	}
	return out, nil
}

func hitsReply(c *store.Call, req *Request, list []Hit, total int) esjson.Object {
	out := esjson.Obj()
	switch {
	case c.Flag("rest_total_hits_as_int", false):
		out = out.With("total", total)
	case req.track < 0 || req.track > 0 && total <= req.track:
		out = out.With("total", esjson.Obj("value", total, "relation", "eq"))
	case req.track > 0:
		out = out.With("total", esjson.Obj("value", req.track, "relation", "gte"))
	}
	scored := len(req.Sort) == 0 && len(list) > 0
	best, items := any(nil), []esjson.Object{}
	for _, h := range list {
		score := any(nil)
		if scored {
			score = esjson.JavaFloat(h.score)
		}
		if scored && best == nil {
			best = score
		}
		o := c.Identity(h.D)
		if req.version {
			o = o.With("_version", h.D.Version)
		}
		if req.seqNo {
			o = o.With("_seq_no", h.D.Seq, "_primary_term", h.D.Term)
		}
		o = o.With("_score", score)
		if h.D.Routing != "" {
			o = o.With("_routing", h.D.Routing)
		}
		if raw := req.source.Of(h.D); raw != nil {
			o = o.With("_source", raw)
		}
		if len(req.Sort) > 0 {
			values := []any{}
			for _, k := range h.sort {
				if k.Kind == 0 {
					values = append(values, nil)
				} else {
					values = append(values, k.Json())
				}
			}
			o = o.With("sort", values)
		}
		items = append(items, o)
	}
	return out.With("max_score", best, "hits", items)
}
