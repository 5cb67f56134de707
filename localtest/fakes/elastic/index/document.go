package index

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

	"eslink/localtest/fakes/elastic/esjson"
)

// Doc is one version of a document; it never changes.
type Doc struct {
	Ix          *Index
	ID, Routing string
	Version     int64
	Seq, Term   int64
	Shard       int
	Source      []byte // nil if the mapping does not store it
	written     time.Time
	values      map[string]any
	Deleted     bool
}

// Shard keeps the newest version of each document, tombstones included, and
// what the last refresh made visible, by sequence number.
type Shard struct {
	Docs    map[string]*Doc
	Next    int64     // sequence number
	Visible []*Doc    // to searches
	Counted []*Doc    // to _stats: a realtime GET of something newer refreshes for itself alone
	dirty   time.Time // first write since the refresh; zero: none
	Stale   bool      // written since counted
}

func (sh *Shard) Refresh() {
	if sh.dirty.IsZero() {
		return
	}
	sh.RefreshInside()
	sh.Visible = sh.Counted
	sh.dirty = time.Time{}
}

// RefreshInside is what Elasticsearch calls an internal refresh.
func (sh *Shard) RefreshInside() {
	if !sh.Stale {
		return
	}
	sh.Stale = false
	sh.Counted = make([]*Doc, 0, len(sh.Docs))
	for _, d := range sh.Docs {
		if !d.Deleted {
			sh.Counted = append(sh.Counted, d)
		}
	}
	slices.SortFunc(sh.Counted, func(a, b *Doc) int { return int(a.Seq - b.Seq) })
}

func (ix *Index) Refresh() {
	for _, sh := range ix.Shards {
		sh.Refresh()
	}
}

// CatchUp does the refreshes that index.refresh_interval has made due.
func (ix *Index) CatchUp() {
	interval := time.Second
	if v := ix.Settings["index.refresh_interval"]; v != "" {
		interval, _ = esjson.ParseTime(v, "") // checked when it was set
	}
	for _, sh := range ix.Shards {
		if interval >= 0 && ix.S.Now().Sub(sh.dirty) >= interval {
			sh.Refresh()
		}
	}
}

// ShardOf is Elasticsearch's routing: murmur3 of the UTF-16 text over the
// routing shards, so that the same ids share a shard here and there.
func (ix *Index) ShardOf(routing string) int {
	n := len(ix.Shards)
	splits := max(1, 10-bits.Len(uint(n-1)))
	routingShards := n << splits
	var text []byte
	for _, u := range utf16.Encode([]rune(routing)) {
		text = binary.LittleEndian.AppendUint16(text, u)
	}
	hash := int(int32(Murmur3(text)))
	return ((hash%routingShards + routingShards) % routingShards) / (routingShards / n)
}

func Murmur3(data []byte) uint32 {
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

// Write is one operation on one document.
type Write struct {
	Action        string // index, create, delete
	Index         string
	ID, Routing   string
	Source        []byte
	Version       int64
	VersionType   string // "": internal
	IfSeq, IfTerm int64  // -1: no condition
	Copies        string // that must be active: "", a number, or "all"
	RequireAlias  bool
}

// CheckVersion refuses a version without a type, and a type without a version.
func (w *Write) CheckVersion(given bool) *esjson.Error {
	invalid := func(format string, args ...any) *esjson.Error {
		return esjson.Fail(400, "action_request_validation_exception", "Validation Failed: 1: "+format+";", args...)
	}
	switch w.VersionType {
	case "", "internal":
		if given {
			return invalid("internal versioning can not be used for optimistic concurrency control. Please use `if_seq_no` and `if_primary_term` instead")
		}
		return nil
	case "external", "external_gt", "external_gte":
	default:
		return esjson.Illegal("No version type match [%s]", w.VersionType)
	}
	if !given {
		w.Version = -3 // MATCH_ANY
	}
	if w.Version < 0 {
		return invalid("illegal version value [%d] for version type [%s]", w.Version, map[bool]string{true: "EXTERNAL_GTE", false: "EXTERNAL"}[w.VersionType == "external_gte"])
	}
	return nil
}

func (ix *Index) Apply(w Write) (*Doc, string, error) {
	routing := w.Routing
	if routing == "" {
		routing = w.ID
	}
	n := ix.ShardOf(routing)
	sh := ix.Shards[n]
	old := ix.newest(sh, w.ID)
	exists := old != nil && !old.Deleted
	d := &Doc{Ix: ix, ID: w.ID, Routing: w.Routing, Shard: n, Term: int64(ix.S.Generation), Version: 1, Deleted: w.Action == "delete", written: ix.S.Now()}
	if old != nil {
		d.Version = old.Version + 1
	}
	if w.external() {
		d.Version = w.Version
	}
	if why := w.conflict(old, exists); why != "" {
		return nil, "", esjson.Fail(http.StatusConflict, "version_conflict_engine_exception", "[%s]: version conflict, %s", w.ID, why).
			With("index_uuid", ix.UUID, "shard", strconv.Itoa(n), "index", ix.Name)
	}
	if !d.Deleted {
		if e := ix.parse(d, w.Source); e != nil {
			return nil, "", e
		}
	}
	d.Seq = sh.Next
	sh.Next++
	sh.Docs[w.ID], sh.Stale = d, true
	if sh.dirty.IsZero() {
		sh.dirty = ix.S.Now()
	}
	switch {
	case d.Deleted && exists:
		return d, "deleted", nil
	case d.Deleted:
		return d, "not_found", nil
	case exists:
		return d, "updated", nil
	}
	return d, "created", nil
}

func (w Write) external() bool { return w.VersionType != "" && w.VersionType != "internal" }

// conflict says why a write does not go over the version that is there; "": it does.
func (w Write) conflict(old *Doc, exists bool) string {
	switch {
	case w.Action == "create" && exists:
		return fmt.Sprintf("document already exists (current version [%d])", old.Version)
	case w.IfSeq >= 0 && !exists:
		return fmt.Sprintf("required seqNo [%d], primary term [%d]. but no document was found", w.IfSeq, w.IfTerm)
	case w.IfSeq >= 0 && (old.Seq != w.IfSeq || old.Term != w.IfTerm):
		return fmt.Sprintf("required seqNo [%d], primary term [%d]. current document has seqNo [%d] and primary term [%d]", w.IfSeq, w.IfTerm, old.Seq, old.Term)
	case !w.external() || old == nil:
	case w.VersionType == "external_gte" && old.Version > w.Version:
		return fmt.Sprintf("current version [%d] is higher than the one provided [%d]", old.Version, w.Version)
	case w.VersionType != "external_gte" && old.Version >= w.Version:
		return fmt.Sprintf("current version [%d] is higher or equal to the one provided [%d]", old.Version, w.Version)
	}
	return ""
}

// newest is the last version of a document. Of a deleted one nothing is known after
// index.gc_deletes: it begins again at version 1.
func (ix *Index) newest(sh *Shard, id string) *Doc {
	old := sh.Docs[id]
	if old == nil || !old.Deleted {
		return old
	}
	keep := time.Minute
	if v := ix.Settings["index.gc_deletes"]; v != "" {
		keep, _ = esjson.ParseTime(v, "") // checked when it was set
	}
	if ix.S.Now().Sub(old.written) > keep {
		return nil
	}
	return old
}

func (ix *Index) parse(d *Doc, source []byte) *esjson.Error {
	err := esjson.Decode(source, &d.values)
	if err == nil {
		// An object that has fewer members than its text: one is there twice.
		if plain := esjson.Uncomment(source); esjson.Colons(plain) != esjson.MembersOf(d.values) {
			if name, is := esjson.Duplicate(plain); is {
				//lint:ignore ST1005 these are Jackson's own words
				err = fmt.Errorf("Duplicate field '%s'", name)
			}
		}
	}
	if err != nil || d.values == nil {
		typ := "mapper_parsing_exception"
		if ix.S.Version.AtLeast(8, 9) {
			typ = "document_parsing_exception"
		}
		reason := "object expected"
		if err != nil {
			reason = err.Error()
		}
		return esjson.Fail(400, typ, "failed to parse").Because(esjson.Fail(400, "json_parse_exception", "%s", reason))
	}
	if first := bytes.TrimSpace(source); len(first) > 0 && first[0] != '{' { // a comment, since it was read
		return esjson.Fail(400, "mapper_parsing_exception", "failed to parse").Because(
			esjson.Fail(400, "not_x_content_exception", "Compressor detection can only be called on some xcontent bytes or compressed xcontent bytes"))
	}
	if e := ix.fit(d.ID, source, d.values); e != nil {
		return e
	}
	m := ix.Mapping
	if !m.Source {
		return nil
	}
	d.Source = bytes.TrimSpace(source)
	if m.includes != nil || m.excludes != nil {
		d.Source = filterSource(d.Source, m.includes, m.excludes)
	}
	return nil
}
