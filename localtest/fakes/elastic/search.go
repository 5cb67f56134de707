package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// search is a snapshot held open: a scroll, or a point in time.
type search struct {
	id        string
	keepAlive time.Duration
	expires   time.Time
	pit       bool
	shards    int
	targets   []target
	scroll    *request // of a scroll: what it asked and what is left
	rest      []hit
	total     int
}

// target is an index as one search sees it.
type target struct {
	ix   *index
	docs []*doc // in _doc order
	hide []matcher
	only []int // the shards asked, if preference names them
}

type request struct {
	query          query
	from, size     int
	sort           []sortBy
	after          []any
	source         sourceFilter
	version, seqNo bool
	track          int // -1: exact; else a cap, 0: not at all
	aggs           map[string]map[string]any
	pit            *search
	sliceID        int
	sliceMax       int
}

type sortBy struct {
	field   string
	desc    bool
	missing string
}

type hit struct {
	d     *doc
	score float64
	sort  []key
}

// targets takes the snapshot of the indices that a request names.
func (c *call) targets(expr, action string) ([]target, error) {
	list, filters, err := c.resolve(expr, action)
	if err != nil {
		return nil, err
	}
	only, err := c.preferred()
	if err != nil {
		return nil, err
	}
	var out []target
	for _, ix := range list {
		if e := ix.blocked("read"); e != nil {
			return nil, e
		}
		ix.catchUp()
		t := target{ix: ix, only: only}
		for n, sh := range ix.shards {
			if only == nil || slices.Contains(only, n) {
				t.docs = append(t.docs, sh.visible...)
			}
		}
		slices.SortStableFunc(t.docs, func(a, b *doc) int { return int(a.seq - b.seq) })
		hide, err := c.hidden(ix)
		if err != nil {
			return nil, err
		}
		if hide != nil {
			t.hide = append(t.hide, hide)
		}
		if f := filters[ix]; len(f) > 0 {
			m, err := compile(query{raw: f}, ix)
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
func (c *call) preferred() ([]int, error) {
	p := c.q.Get("preference")
	list, sharded := strings.CutPrefix(p, "_shards:")
	switch {
	case p == "_local" || p == "_only_local" || !strings.HasPrefix(p, "_"):
		return nil, nil
	case strings.HasPrefix(p, "_only_nodes:") || strings.HasPrefix(p, "_prefer_nodes:"):
		return nil, unsupported("preference [%s]", p)
	case !sharded:
		return nil, illegal("no Preference for [%s]", p)
	}
	list, rest, barred := strings.Cut(list, "|")
	if barred && rest != "_local" {
		return nil, illegal("no Preference for [%s]", rest)
	}
	only := []int{}
	for item := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(item)
		if err != nil {
			return nil, fail(400, "number_format_exception", "For input string: %q", item)
		}
		only = append(only, n)
	}
	return only, nil
}

// matches runs a query over snapshots.
func matches(targets []target, q query) ([]hit, error) {
	var out []hit
	for _, t := range targets {
		m, err := compile(q, t.ix)
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
				out = append(out, hit{d: d, score: score})
			}
		}
	}
	return out, nil
}

func (c *call) count() (int, any, error) {
	var q query
	if len(bytes.TrimSpace(c.body)) > 0 {
		keys, values, err := members(c.body)
		if err != nil {
			return 0, nil, fail(400, "parsing_exception", "%s", err)
		}
		for _, k := range keys {
			if k != "query" {
				return 0, nil, fail(400, "parsing_exception", "request does not support [%s]", k)
			}
		}
		q = queryIn(c.body, values["query"])
	}
	if c.q.Has("q") {
		var err error
		if q, err = c.queryString(); err != nil {
			return 0, nil, err
		}
	}
	targets, err := c.targets(c.vars["index"], "indices:data/read/search")
	if err != nil {
		return 0, nil, err
	}
	hits, err := matches(targets, q)
	if err != nil {
		return 0, nil, err
	}
	return 200, obj("count", len(hits), "_shards", shardsReply(targets)), nil
}

func shardsReply(targets []target) object {
	n := 0
	for _, t := range targets {
		for shard := range t.ix.shards {
			if t.only == nil || slices.Contains(t.only, shard) {
				n++
			}
		}
	}
	return obj("total", n, "successful", n, "skipped", 0, "failed", 0)
}

func (x *contexts) search(c *call) (int, any, error) {
	req, err := x.searchRequest(c)
	if err != nil {
		return 0, nil, err
	}
	var targets []target
	if req.pit != nil {
		targets = req.pit.targets
	} else {
		if _, named := c.vars["index"]; !named {
			if e := c.permit("indices:data/read/search"); e != nil {
				return 0, nil, e
			}
		}
		if targets, err = c.targets(c.vars["index"], "indices:data/read/search"); err != nil {
			return 0, nil, err
		}
	}
	for _, t := range targets {
		if window := atoi(t.ix.settings["index.max_result_window"], 10000); req.from+req.size > window {
			if c.q.Get("scroll") != "" {
				return 0, nil, shardsFailed(t, illegal("Batch size is too large, size must be less than or equal to: [%d] but was [%d]. Scroll batch sizes cost as much memory as result windows so they are controlled by the [index.max_result_window] index level setting.", window, req.size))
			}
			return 0, nil, shardsFailed(t, illegal("Result window is too large, from + size must be less than or equal to: [%d] but was [%d]. See the scroll api for a more efficient way to request large data sets. This limit can be set by changing the [index.max_result_window] index level setting.", window, req.from+req.size))
		}
	}
	hits, err := req.run(targets)
	if err != nil {
		return 0, nil, err
	}
	total := len(hits)
	aggs, err := req.aggregate(hits)
	if err != nil {
		return 0, nil, err
	}
	if hits, err = req.order(hits); err != nil {
		return 0, nil, err
	}
	var head object
	if keep := c.q.Get("scroll"); keep != "" {
		sr, err := x.openScroll(c, keep, req, targets, hits)
		if err != nil {
			return 0, nil, err
		}
		head = obj("_scroll_id", sr.id)
		hits = sr.next()
	} else {
		hits = hits[min(req.from, len(hits)):]
		hits = hits[:min(req.size, len(hits))]
	}
	if req.pit != nil {
		head = obj("pit_id", req.pit.id)
	}
	reply := head.with("took", 1, "timed_out", false, "_shards", shardsReply(targets), "hits", c.hits(req, hits, total))
	if aggs != nil {
		reply = reply.with("aggregations", aggs)
	}
	return 200, reply, nil
}

// shardsFailed is the reply when every shard refused.
func shardsFailed(t target, cause *Error) *Error {
	e := fail(cause.Status, "search_phase_execution_exception", "all shards failed").with("phase", "query", "grouped", true,
		"failed_shards", []object{obj("shard", 0, "index", t.ix.name, "node", t.ix.s.nodeID(0), "reason", cause.object())}).because(cause)
	e.roots = []*Error{cause}
	return e
}

func (x *contexts) searchRequest(c *call) (*request, error) {
	req := &request{size: 10, track: 10000}
	var body map[string]json.RawMessage
	if err := c.json(&body); err != nil {
		return nil, err
	}
	for _, k := range slices.Sorted(maps.Keys(body)) {
		var v any
		if err := decode(body[k], &v); err != nil {
			return nil, fail(400, "parsing_exception", "%s", err)
		}
		if err := req.set(c, x, k, body[k], v); err != nil {
			return nil, err
		}
	}
	var err error
	if req.from, err = c.number("from", req.from); err != nil {
		return nil, err
	}
	if req.size, err = c.number("size", req.size); err != nil {
		return nil, err
	}
	if v := c.q.Get("sort"); v != "" {
		req.sort = nil
		for item := range strings.SplitSeq(v, ",") {
			name, dir, _ := strings.Cut(item, ":")
			req.sort = append(req.sort, sortBy{field: name, desc: dir == "desc"})
		}
	}
	if v := c.q.Get("track_total_hits"); v != "" {
		if err := req.trackTotal(v); err != nil {
			return nil, err
		}
	}
	if req.source, err = c.sourceParams(req.source); err != nil {
		return nil, err
	}
	if c.q.Has("q") {
		if req.query, err = c.queryString(); err != nil {
			return nil, err
		}
	}
	req.version = c.flag("version", req.version)
	req.seqNo = c.flag("seq_no_primary_term", req.seqNo)
	if c.q.Get("search_type") == "dfs_query_then_fetch" {
		return nil, unsupported("search_type [dfs_query_then_fetch]")
	}
	return req, req.validate(c)
}

func (req *request) set(c *call, x *contexts, k string, raw json.RawMessage, v any) error {
	number := func() int { return atoi(fmt.Sprint(v), 0) }
	switch k {
	case "query":
		req.query = queryIn(c.body, raw)
	case "from":
		req.from = number()
	case "size":
		req.size = number()
	case "sort":
		return req.setSort(v)
	case "search_after":
		req.after, _ = v.([]any)
	case "_source":
		f, err := parseSource(v)
		req.source = f
		return err
	case "version":
		req.version = v == true
	case "seq_no_primary_term":
		req.seqNo = v == true
	case "track_total_hits":
		return req.trackTotal(fmt.Sprint(v))
	case "aggs", "aggregations":
		return decode(raw, &req.aggs)
	case "pit":
		m, _ := v.(map[string]any)
		id, _ := m["id"].(string)
		sr, err := x.find(id, true)
		if err != nil {
			return err
		}
		if keep, ok := m["keep_alive"].(string); ok {
			d, e := parseTime(keep, "keep_alive")
			if e != nil {
				return e
			}
			sr.keepAlive = d
		}
		sr.expires = c.s.config.Now().Add(sr.keepAlive)
		req.pit = sr
	case "slice":
		m, _ := v.(map[string]any)
		req.sliceID, req.sliceMax = atoi(fmt.Sprint(m["id"]), 0), atoi(fmt.Sprint(m["max"]), 0)
		if req.sliceMax <= 1 {
			return illegal("max must be greater than 1")
		}
		if req.sliceID >= req.sliceMax {
			return illegal("max must be greater than id")
		}
	case "timeout", "track_scores":
	default:
		return unsupported("search with [%s]", k)
	}
	return nil
}

func (req *request) trackTotal(v string) error {
	switch v {
	case "true":
		req.track = -1
	case "false":
		req.track = 0
	default:
		n, err := strconv.Atoi(v)
		if err != nil {
			return illegal("Failed to parse value [%s] of [track_total_hits]", v)
		}
		req.track = n
	}
	return nil
}

func (req *request) setSort(v any) error {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	for _, item := range list {
		switch item := item.(type) {
		case string:
			req.sort = append(req.sort, sortBy{field: item, desc: item == "_score"})
		case map[string]any:
			for f, how := range item {
				by := sortBy{field: f, desc: f == "_score"}
				options, isObject := how.(map[string]any)
				if !isObject {
					options = map[string]any{"order": how}
				}
				for k, o := range options {
					switch k {
					case "order":
						by.desc = strings.EqualFold(fmt.Sprint(o), "desc")
					case "missing":
						by.missing = fmt.Sprint(o)
					case "unmapped_type", "numeric_type", "format":
					default:
						return unsupported("sort with [%s]", k)
					}
				}
				req.sort = append(req.sort, by)
			}
		}
	}
	return nil
}

func (req *request) validate(c *call) error {
	var faults []string
	scroll := c.q.Get("scroll") != ""
	if scroll && req.size == 0 {
		faults = append(faults, "[size] cannot be [0] in a scroll context")
	}
	if scroll && req.from > 0 {
		faults = append(faults, "using [from] is not allowed in a scroll context")
	}
	if scroll && req.after != nil {
		faults = append(faults, "[search_after] cannot be used in a scroll context")
	}
	if req.pit != nil && c.vars["index"] != "" {
		faults = append(faults, "[indices] cannot be used with point in time. Do not specify any index with point in time.")
	}
	if len(faults) > 0 {
		return validation(faults)
	}
	if req.after != nil && len(req.sort) == 0 && req.pit == nil {
		return illegal("Sort must contain at least one field.")
	}
	if req.size < 0 {
		return illegal("[size] parameter cannot be negative, found [%d]", req.size)
	}
	if scroll {
		req.track = -1
	}
	if req.sliceMax > 0 && !scroll && req.pit == nil {
		return illegal("[slice] can only be used with [scroll] or [point-in-time] requests")
	}
	if req.pit != nil && !slices.ContainsFunc(req.sort, func(b sortBy) bool { return b.field == "_shard_doc" }) && (len(req.sort) > 0 || req.after != nil) {
		req.sort = append(req.sort, sortBy{field: "_shard_doc"})
	}
	return nil
}

func validation(faults []string) *Error {
	text := "Validation Failed: "
	for i, f := range faults {
		text += fmt.Sprintf("%d: %s;", i+1, f)
	}
	return fail(400, "action_request_validation_exception", "%s", text)
}

func (req *request) run(targets []target) ([]hit, error) {
	hits, err := matches(targets, req.query)
	if err == nil && req.sliceMax > 0 {
		hits = slices.DeleteFunc(hits, func(h hit) bool { return int(murmur3([]byte(h.d.id)))%req.sliceMax != req.sliceID })
	}
	return hits, err
}

// order sorts, and drops what search_after has passed. Without a sort the best
// score comes first.
func (req *request) order(hits []hit) ([]hit, error) {
	if len(req.sort) == 0 {
		slices.SortStableFunc(hits, func(a, b hit) int { return compareOrdered(b.score, a.score) })
		return hits, nil
	}
	for i := range hits {
		for _, by := range req.sort {
			k, err := by.key(hits[i], i)
			if err != nil {
				return nil, err
			}
			hits[i].sort = append(hits[i].sort, k)
		}
	}
	compare := func(a, b []key) int {
		for i, by := range req.sort {
			n := a[i].compare(b[i])
			switch {
			case a[i].kind == 0 && b[i].kind == 0:
				continue
			case a[i].kind == 0 || b[i].kind == 0: // a missing value goes last
				if n = 1; b[i].kind == 0 {
					n = -1
				}
				if by.missing == "_first" {
					n = -n
				}
			case by.desc:
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return 0
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return compare(a.sort, b.sort) })
	if req.after == nil {
		return hits, nil
	}
	if len(req.after) != len(req.sort) && !(req.pit != nil && len(req.after) == len(req.sort)-1) {
		return nil, illegal("search_after has %d value(s) but sort has %d.", len(req.after), len(req.sort))
	}
	var last []key
	for i, v := range req.after {
		f := &field{typ: "keyword"}
		if _, isNumber := v.(json.Number); isNumber {
			f = &field{typ: "long"}
		}
		if v == nil {
			last = append(last, key{})
			continue
		}
		k, ok := f.key(v)
		if !ok {
			return nil, illegal("Failed to parse search_after value for field [%s].", req.sort[i].field)
		}
		last = append(last, k)
	}
	for len(last) < len(req.sort) {
		last = append(last, key{kind: 'i', integer: 1<<63 - 1})
	}
	return slices.DeleteFunc(hits, func(h hit) bool { return compare(h.sort, last) <= 0 }), nil
}

func (by sortBy) key(h hit, position int) (key, error) {
	ix := h.d.ix
	switch by.field {
	case "_doc":
		return key{kind: 'i', integer: int64(position)}, nil
	case "_shard_doc":
		return key{kind: 'i', integer: int64(h.d.shard)<<32 | h.d.seq}, nil
	case "_seq_no":
		return key{kind: 'i', integer: h.d.seq}, nil
	case "_score":
		return key{kind: 'f', float: h.score}, nil
	case "_id":
		if ix.s.setting("indices.id_field_data.enabled", strconv.FormatBool(!ix.s.version.atLeast(8, 0))) != "true" {
			return key{}, shardsFailed(target{ix: ix}, illegal("Fielddata access on the _id field is disallowed, you can re-enable it by updating the dynamic cluster setting: indices.id_field_data.enabled"))
		}
		return key{kind: 't', text: h.d.id}, nil
	}
	f := ix.mapping.lookup(by.field)
	switch {
	case f == nil:
		return key{}, compiler{ix: ix}.shardFault("No mapping found for [%s] in order to sort on", by.field)
	case f.typ == "text":
		return key{}, shardsFailed(target{ix: ix}, illegal("Text fields are not optimised for operations that require per-document field data like aggregations and sorting, so these operations are disabled by default. Please use a keyword field instead. Alternatively, set fielddata=true on [%s] in order to load field data by uninverting the inverted index. Note that this can use significant memory.", by.field))
	}
	keys := h.d.keys(by.field, f)
	if len(keys) == 0 {
		return key{}, nil
	}
	slices.SortFunc(keys, key.compare)
	if by.desc {
		return keys[len(keys)-1], nil
	}
	return keys[0], nil
}

// aggregate knows max, min and value_count of one field.
func (req *request) aggregate(hits []hit) (any, error) {
	if req.aggs == nil {
		return nil, nil
	}
	out := obj()
	for _, name := range slices.Sorted(maps.Keys(req.aggs)) {
		for kind, body := range req.aggs[name] {
			b, _ := body.(map[string]any)
			path, _ := b["field"].(string)
			if !slices.Contains([]string{"max", "min", "value_count"}, kind) || path == "" || len(b) != 1 || len(req.aggs[name]) != 1 {
				return nil, unsupported("aggregation [%s]: %s of one field only", name, kind)
			}
			var keys []key
			for _, h := range hits {
				f := h.d.ix.mapping.lookup(path)
				if f != nil || path == "_seq_no" {
					keys = append(keys, h.d.keys(path, f)...)
				}
			}
			switch {
			case kind == "value_count":
				out = out.with(name, obj("value", len(keys)))
			case len(keys) == 0:
				out = out.with(name, obj("value", nil))
			case kind == "max":
				out = out.with(name, obj("value", javaFloat(slices.MaxFunc(keys, key.compare).number())))
			default:
				out = out.with(name, obj("value", javaFloat(slices.MinFunc(keys, key.compare).number())))
			}
		}
	}
	return out, nil
}

func (c *call) hits(req *request, list []hit, total int) object {
	out := obj()
	switch {
	case c.flag("rest_total_hits_as_int", false):
		out = out.with("total", total)
	case req.track < 0 || req.track > 0 && total <= req.track:
		out = out.with("total", obj("value", total, "relation", "eq"))
	case req.track > 0:
		out = out.with("total", obj("value", req.track, "relation", "gte"))
	}
	scored := len(req.sort) == 0 && len(list) > 0
	best, items := any(nil), []object{}
	for _, h := range list {
		score := any(nil)
		if scored {
			score = javaFloat(h.score)
		}
		if scored && best == nil {
			best = score
		}
		o := c.identity(h.d)
		if req.version {
			o = o.with("_version", h.d.version)
		}
		if req.seqNo {
			o = o.with("_seq_no", h.d.seq, "_primary_term", h.d.term)
		}
		o = o.with("_score", score)
		if h.d.routing != "" {
			o = o.with("_routing", h.d.routing)
		}
		if raw := req.source.of(h.d); raw != nil {
			o = o.with("_source", raw)
		}
		if len(req.sort) > 0 {
			values := []any{}
			for _, k := range h.sort {
				if k.kind == 0 {
					values = append(values, nil)
				} else {
					values = append(values, k.json())
				}
			}
			o = o.with("sort", values)
		}
		items = append(items, o)
	}
	return out.with("max_score", best, "hits", items)
}
