package elastic

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf16"
)

// doc is one version of a document; it never changes.
type doc struct {
	ix          *index
	id, routing string
	version     int64
	seq, term   int64
	shard       int
	source      []byte // nil if the mapping does not store it
	written     time.Time
	values      map[string]any
	deleted     bool
}

// shard keeps the newest version of each document, tombstones included, and
// what the last refresh made visible, by sequence number.
type shard struct {
	docs    map[string]*doc
	next    int64     // sequence number
	visible []*doc    // to searches
	counted []*doc    // to _stats: a realtime GET of something newer refreshes for itself alone
	dirty   time.Time // first write since the refresh; zero: none
	stale   bool      // written since counted
}

func (sh *shard) refresh() {
	if sh.dirty.IsZero() {
		return
	}
	sh.refreshInside()
	sh.visible = sh.counted
	sh.dirty = time.Time{}
}

// refreshInside is what Elasticsearch calls an internal refresh.
func (sh *shard) refreshInside() {
	if !sh.stale {
		return
	}
	sh.stale = false
	sh.counted = make([]*doc, 0, len(sh.docs))
	for _, d := range sh.docs {
		if !d.deleted {
			sh.counted = append(sh.counted, d)
		}
	}
	slices.SortFunc(sh.counted, func(a, b *doc) int { return int(a.seq - b.seq) })
}

func (ix *index) refresh() {
	for _, sh := range ix.shards {
		sh.refresh()
	}
}

// catchUp does the refreshes that index.refresh_interval has made due.
func (ix *index) catchUp() {
	interval := time.Second
	if v := ix.settings["index.refresh_interval"]; v != "" {
		interval, _ = parseTime(v, "") // checked when it was set
	}
	for _, sh := range ix.shards {
		if interval >= 0 && ix.s.now().Sub(sh.dirty) >= interval {
			sh.refresh()
		}
	}
}

// shardOf is Elasticsearch's routing: murmur3 of the UTF-16 text over the
// routing shards, so that the same ids share a shard here and there.
func (ix *index) shardOf(routing string) int {
	n := len(ix.shards)
	splits := max(1, 10-bits.Len(uint(n-1)))
	routingShards := n << splits
	var text []byte
	for _, u := range utf16.Encode([]rune(routing)) {
		text = binary.LittleEndian.AppendUint16(text, u)
	}
	hash := int(int32(murmur3(text)))
	return ((hash%routingShards + routingShards) % routingShards) / (routingShards / n)
}

func murmur3(data []byte) uint32 {
	var h uint32
	mix := func(k uint32) uint32 { return bits.RotateLeft32(k*0xcc9e2d51, 15) * 0x1b873593 }
	rest := data
	for ; len(rest) >= 4; rest = rest[4:] {
		h = bits.RotateLeft32(h^mix(binary.LittleEndian.Uint32(rest)), 13)*5 + 0xe6546b64
	}
	var tail uint32
	for i, b := range rest {
		tail |= uint32(b) << (8 * i)
	}
	h ^= mix(tail) ^ uint32(len(data))
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}

// write is one operation on one document.
type write struct {
	action        string // index, create, delete
	index         string
	id, routing   string
	source        []byte
	version       int64
	versionType   string // "": internal
	ifSeq, ifTerm int64  // -1: no condition
	copies        string // that must be active: "", a number, or "all"
	requireAlias  bool
}

// checkVersion refuses a version without a type, and a type without a version.
func (w *write) checkVersion(given bool) *Error {
	invalid := func(format string, args ...any) *Error {
		return fail(400, "action_request_validation_exception", "Validation Failed: 1: "+format+";", args...)
	}
	switch w.versionType {
	case "", "internal":
		if given {
			return invalid("internal versioning can not be used for optimistic concurrency control. Please use `if_seq_no` and `if_primary_term` instead")
		}
		return nil
	case "external", "external_gt", "external_gte":
	default:
		return illegal("No version type match [%s]", w.versionType)
	}
	if !given {
		w.version = -3 // MATCH_ANY
	}
	if w.version < 0 {
		return invalid("illegal version value [%d] for version type [%s]", w.version, map[bool]string{true: "EXTERNAL_GTE", false: "EXTERNAL"}[w.versionType == "external_gte"])
	}
	return nil
}

// target finds the index an operation writes to, and makes it if that is allowed.
func (c *call) target(w write) (*index, error) {
	if e := c.permit("indices:data/write/bulk[s]", w.index); e != nil {
		return nil, e
	}
	if ix, ok := c.s.indices[w.index]; ok && !w.requireAlias {
		return ix, nil
	}
	behind := c.s.behind(w.index)
	switch one := writeIndex(behind, w.index); {
	case one != nil:
		return one, nil
	case len(behind) > 0:
		return nil, illegal("no write index is defined for alias [%s]. The write index may be explicitly disabled using is_write_index=false or the alias points to multiple indices without one being designated as a write index", w.index)
	case w.requireAlias:
		e := fail(http.StatusNotFound, "index_not_found_exception", "no such index [%s] and [require_alias] request flag is [true] and [%s] is not an alias", w.index, w.index)
		return nil, e.with("index_uuid", "_na_", "index", w.index)
	case w.action == "delete":
		return nil, noSuchIndex(w.index)
	}
	if e := c.permit("indices:admin/auto_create", w.index); e != nil {
		return nil, e
	}
	return c.s.autoCreate(w.index)
}

// apply does one operation and describes it as Elasticsearch does.
func (c *call) apply(w write) (object, int, error) {
	ix, err := c.target(w)
	if err != nil {
		return nil, 0, err
	}
	if e := c.s.readOnly(); e != nil {
		return nil, 0, e
	}
	if e := ix.blocked("write"); e != nil {
		return nil, 0, e
	}
	if w.id == "" {
		w.id = c.s.newID("doc")[:20]
	}
	if len(w.id) > 512 {
		return nil, 0, illegal("id is too long, must be no longer than 512 bytes but was: %d", len(w.id))
	}
	if e := ix.enoughActive(w, c.q.Get("timeout")); e != nil {
		return nil, 0, e
	}
	var e *Error
	if w.routing, e = ix.routed(w.index, w.id, w.routing); e != nil {
		return nil, 0, e
	}
	if ix.mapping.routing && w.routing == "" {
		return nil, 0, fail(400, "routing_missing_exception", "routing is required for [%s]/[_doc]/[%s]", ix.name, w.id).with("index_uuid", "_na_", "index", ix.name)
	}
	d, result, err := ix.apply(w)
	if err != nil {
		return nil, 0, err
	}
	status := map[string]int{"created": 201, "updated": 200, "deleted": 200, "not_found": 404}[result]
	copies := 1 + atoi(ix.settings["index.number_of_replicas"], 1)
	reply := c.identity(d).with("_version", d.version, "result", result)
	if v := c.q["refresh"]; len(v) > 0 && (v[0] == "" || v[0] == "true") {
		reply = reply.with("forced_refresh", true)
	}
	reply = reply.with("_shards", obj("total", copies, "successful", min(copies, c.s.config.Nodes), "failed", 0), "_seq_no", d.seq, "_primary_term", d.term)
	return reply, status, nil
}

// identity starts every description of a document; 7.x has types.
func (c *call) identity(d *doc) object { return c.s.identity(d.ix.name, d.id) }

func (ix *index) apply(w write) (*doc, string, error) {
	routing := w.routing
	if routing == "" {
		routing = w.id
	}
	n := ix.shardOf(routing)
	sh := ix.shards[n]
	old := ix.newest(sh, w.id)
	exists := old != nil && !old.deleted
	conflict := func(format string, args ...any) error {
		return fail(http.StatusConflict, "version_conflict_engine_exception", "[%s]: version conflict, "+format, append([]any{w.id}, args...)...).
			with("index_uuid", ix.uuid, "shard", strconv.Itoa(n), "index", ix.name)
	}
	d := &doc{ix: ix, id: w.id, routing: w.routing, shard: n, term: int64(ix.s.generation), version: 1, deleted: w.action == "delete", written: ix.s.now()}
	if old != nil {
		d.version = old.version + 1
	}
	switch external := w.versionType != "" && w.versionType != "internal"; {
	case w.action == "create" && exists:
		return nil, "", conflict("document already exists (current version [%d])", old.version)
	case w.ifSeq >= 0 && (!exists || old.seq != w.ifSeq || old.term != w.ifTerm):
		if !exists {
			return nil, "", conflict("required seqNo [%d], primary term [%d]. but no document was found", w.ifSeq, w.ifTerm)
		}
		return nil, "", conflict("required seqNo [%d], primary term [%d]. current document has seqNo [%d] and primary term [%d]", w.ifSeq, w.ifTerm, old.seq, old.term)
	case external && old != nil && w.versionType == "external_gte" && old.version > w.version:
		return nil, "", conflict("current version [%d] is higher than the one provided [%d]", old.version, w.version)
	case external && old != nil && w.versionType != "external_gte" && old.version >= w.version:
		return nil, "", conflict("current version [%d] is higher or equal to the one provided [%d]", old.version, w.version)
	case external:
		d.version = w.version
	}
	if !d.deleted {
		if e := ix.parse(d, w.source); e != nil {
			return nil, "", e
		}
	}
	d.seq = sh.next
	sh.next++
	sh.docs[w.id], sh.stale = d, true
	if sh.dirty.IsZero() {
		sh.dirty = ix.s.now()
	}
	switch {
	case d.deleted && exists:
		return d, "deleted", nil
	case d.deleted:
		return d, "not_found", nil
	case exists:
		return d, "updated", nil
	}
	return d, "created", nil
}

// newest is the last version of a document. Of a deleted one nothing is known after
// index.gc_deletes: it begins again at version 1.
func (ix *index) newest(sh *shard, id string) *doc {
	old := sh.docs[id]
	if old == nil || !old.deleted {
		return old
	}
	keep := time.Minute
	if v := ix.settings["index.gc_deletes"]; v != "" {
		keep, _ = parseTime(v, "") // checked when it was set
	}
	if ix.s.now().Sub(old.written) > keep {
		return nil
	}
	return old
}

func (ix *index) parse(d *doc, source []byte) *Error {
	err := decode(source, &d.values)
	if err == nil {
		// An object that has fewer members than its text: one is there twice.
		if plain := uncomment(source); colons(plain) != membersOf(d.values) {
			if name, is := duplicate(plain); is {
				err = fmt.Errorf("Duplicate field '%s'", name) //nolint:staticcheck // Jackson's words
			}
		}
	}
	if err != nil || d.values == nil {
		typ := "mapper_parsing_exception"
		if ix.s.version.atLeast(8, 9) {
			typ = "document_parsing_exception"
		}
		reason := "object expected"
		if err != nil {
			reason = err.Error()
		}
		return fail(400, typ, "failed to parse").because(fail(400, "json_parse_exception", "%s", reason))
	}
	if first := bytes.TrimSpace(source); len(first) > 0 && first[0] != '{' { // a comment, since it was read
		return fail(400, "mapper_parsing_exception", "failed to parse").because(
			fail(400, "not_x_content_exception", "Compressor detection can only be called on some xcontent bytes or compressed xcontent bytes"))
	}
	if e := ix.fit(d.id, source, d.values); e != nil {
		return e
	}
	m := ix.mapping
	if !m.source {
		return nil
	}
	d.source = bytes.TrimSpace(source)
	if m.includes != nil || m.excludes != nil {
		d.source = filterSource(d.source, m.includes, m.excludes)
	}
	return nil
}

// refreshAfter obeys ?refresh. wait_for refreshes at once here.
func (c *call) refreshAfter(ix *index) {
	if v, given := c.q["refresh"]; given && v[0] != "false" {
		ix.refresh()
	}
}

func (c *call) indexDoc() (int, any, error) {
	action := "index"
	if c.q.Get("op_type") == "create" {
		action = "create"
	}
	return c.single(action)
}

func (c *call) createDoc() (int, any, error) { return c.single("create") }
func (c *call) deleteDoc() (int, any, error) { return c.single("delete") }

func (c *call) single(action string) (int, any, error) {
	w := write{action: action, index: c.vars["index"], id: c.vars["id"], routing: c.q.Get("routing"), source: c.body, versionType: c.q.Get("version_type"),
		requireAlias: c.flag("require_alias", false)}
	for name, into := range map[string]*int64{"version": &w.version, "if_seq_no": &w.ifSeq, "if_primary_term": &w.ifTerm} {
		n, err := c.number(name, -1)
		if err != nil {
			return 0, nil, err
		}
		*into = int64(n)
	}
	if e := w.checkVersion(c.q.Has("version")); e != nil {
		return 0, nil, e
	}
	var e *Error
	if w.copies, e = c.activeShards(); e != nil {
		return 0, nil, e
	}
	if len(c.body) == 0 && action != "delete" {
		return 0, nil, fail(400, "parse_exception", "request body is required")
	}
	reply, status, err := c.apply(w)
	if err != nil {
		return 0, nil, err
	}
	if ix, ok := c.s.indices[w.index]; ok {
		c.refreshAfter(ix)
	}
	return status, reply, nil
}

// fetch finds a document by id, with realtime also one that no refresh has shown yet.
func (c *call) fetch(name, id, routing string) (*doc, error) {
	if e := c.permit("indices:data/read/get", name); e != nil {
		return nil, e
	}
	list, _, err := c.resolve(name, "indices:data/read/get")
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, illegal("alias [%s] has more than one index associated with it, can't execute a single index op", name)
	}
	ix := list[0]
	if e := ix.blocked("read"); e != nil {
		return nil, e
	}
	routing, e := ix.routed(name, id, routing)
	if e != nil {
		return nil, e
	}
	if routing == "" {
		if ix.mapping.routing {
			return nil, fail(400, "routing_missing_exception", "routing is required for [%s]/[_doc]/[%s]", ix.name, id).with("index_uuid", "_na_", "index", ix.name)
		}
		routing = id
	}
	d := c.read1(ix, ix.shards[ix.shardOf(routing)], id)
	if d == nil || d.deleted {
		return nil, nil
	}
	hide, err := c.hidden(ix)
	if err != nil {
		return nil, err
	}
	if hide != nil {
		if _, seen := hide(d); !seen {
			return nil, nil
		}
	}
	return d, nil
}

// read1 reads one document: the newest version, for which a shard refreshes itself
// inside, or with realtime=false what a search would see.
func (c *call) read1(ix *index, sh *shard, id string) *doc {
	if c.flag("refresh", false) {
		sh.refresh()
	}
	if c.flag("realtime", true) {
		if sh.stale && sh.docs[id] != nil && !slices.Contains(sh.counted, sh.docs[id]) {
			sh.refreshInside()
		}
		return sh.docs[id]
	}
	ix.catchUp()
	for _, d := range sh.visible {
		if d.id == id {
			return d
		}
	}
	return nil
}

func (c *call) found(d *doc, name, id string, show sourceFilter) object {
	if d == nil {
		return c.s.identity(name, id).with("found", false)
	}
	reply := c.identity(d).with("_version", d.version, "_seq_no", d.seq, "_primary_term", d.term)
	if d.routing != "" {
		reply = reply.with("_routing", d.routing)
	}
	reply = reply.with("found", true)
	if raw := show.of(d); raw != nil {
		reply = reply.with("_source", raw)
	}
	return reply
}

func (c *call) getDoc() (int, any, error) {
	show, err := c.sourceParams(sourceFilter{})
	if err != nil {
		return 0, nil, err
	}
	d, err := c.fetch(c.vars["index"], c.vars["id"], c.q.Get("routing"))
	if err != nil {
		return 0, nil, err
	}
	status := 200
	if d == nil {
		status = 404
	}
	return status, c.found(d, c.vars["index"], c.vars["id"], show), nil
}

func (c *call) mget() (int, any, error) {
	var body struct {
		IDs  []string         `json:"ids"`
		Docs []map[string]any `json:"docs"`
	}
	if err := c.json(&body); err != nil {
		return 0, nil, err
	}
	for _, id := range body.IDs {
		body.Docs = append(body.Docs, map[string]any{"_id": id})
	}
	if len(body.Docs) == 0 {
		return 0, nil, fail(400, "action_request_validation_exception", "Validation Failed: 1: no documents to get;")
	}
	common, err := c.sourceParams(sourceFilter{})
	if err != nil {
		return 0, nil, err
	}
	docs := []object{}
	for _, want := range body.Docs {
		name, _ := want["_index"].(string)
		if name == "" {
			name = c.vars["index"]
		}
		id, _ := want["_id"].(string)
		routing, _ := want["routing"].(string)
		show := common
		for k, v := range want {
			switch k {
			case "_index", "_id", "_type", "routing":
			case "_source":
				if show, err = parseSource(v); err != nil {
					return 0, nil, err
				}
			default:
				return 0, nil, unsupported("_mget with [%s]", k)
			}
		}
		d, err := c.fetch(name, id, routing)
		if err != nil {
			docs = append(docs, c.s.identity(name, id).with("error", obj("root_cause", []object{err.(*Error).head()}).with(pairs(err.(*Error).object())...)))
			continue
		}
		docs = append(docs, c.found(d, name, id, show))
	}
	return 200, obj("docs", docs), nil
}
