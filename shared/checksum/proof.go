// Package checksum tells whether two sets of documents are the same, in constant
// memory and whatever order they come in. A document's digest is that of its
// canonical form, in which numbers are exact decimals; a set is divided into
// partitions by its documents' IDs, and a partition's digest is the sum of its
// documents'. Two sets whose sums are equal hold the same documents; where a
// partition's differ, its documents are listed on both sides and compared one by
// one. Nothing here reads a cluster.
package checksum

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/bits"
	"slices"
)

// Hash is 128 bits of SHA-256.
type Hash [16]byte

// Content is what a document says. Cut is its digest with decimals as
// Elasticsearch prints them after _reindex, which is another one only if they
// have digits that a double does not hold.
type Content struct{ Exact, Cut Hash }

// A Hasher makes digests, one after the other.
type Hasher struct {
	p printer
	// Version, if not 0, is the document's own, which counts then.
	Version int64
}

// Content returns the digest of a document. A nil source stands for its ID
// alone.
func (h *Hasher) Content(id, routing string, source []byte) (Content, error) {
	if h.Version != 0 { // lengths tell it from a routing
		id = fmt.Sprintf("%s\x00%d", id, h.Version)
	}
	if source == nil {
		sum := sum(id, routing, nil)
		return Content{sum, sum}, nil
	}
	defer h.p.rest()
	h.p.reset(source, false)
	if err := h.p.document(); err != nil {
		return Content{}, fmt.Errorf("document %q: %w", id, err)
	}
	c := Content{Exact: sum(id, routing, h.p.out)}
	c.Cut = c.Exact
	if h.p.lossy {
		h.p.reset(source, true)
		if err := h.p.document(); err != nil {
			return Content{}, fmt.Errorf("document %q: %w", id, err)
		}
		c.Cut = sum(id, routing, h.p.out)
	}
	return c, nil
}

// sum joins its parts with their lengths, or "a" of "b" would be "ab".
func sum(id, routing string, content []byte) (out Hash) {
	d := sha256.New()
	head := binary.AppendUvarint(nil, uint64(len(id)))
	head = append(head, id...)
	head = binary.AppendUvarint(head, uint64(len(routing)))
	head = append(head, routing...)
	d.Write(head)
	d.Write(content)
	var all [sha256.Size]byte
	copy(out[:], d.Sum(all[:0]))
	return out
}

// Sum is the digest of a partition.
type Sum struct {
	Documents int64
	Content
}

// Sums are the partitions of a set.
type Sums []Sum

// Bounds of how many partitions a set has: so many that an unequal one is soon
// listed, so few that all are one row of the table (40 bytes each).
const (
	perPartition  = 64
	maxPartitions = 1 << 14
)

// Partitions is into how many partitions so many documents are divided.
func Partitions(documents int64) int {
	n := 1
	for n < maxPartitions && int64(n)*perPartition < documents {
		n *= 2
	}
	return n
}

// Partition is the one of n that an ID belongs to, in every version of this
// package: both sides must agree.
func Partition(id string, n int) int {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h := uint64(offset)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * prime
	}
	h ^= h >> 32
	return int((h * 0x9E3779B97F4A7C15 >> 33) % uint64(n))
}

// Add counts a document in.
func (s Sums) Add(id string, c Content) {
	p := &s[Partition(id, len(s))]
	p.Documents++
	p.Exact = plus(p.Exact, c.Exact)
	p.Cut = plus(p.Cut, c.Cut)
}

func plus(a, b Hash) (out Hash) {
	low, carry := bits.Add64(binary.BigEndian.Uint64(a[8:]), binary.BigEndian.Uint64(b[8:]), 0)
	high, _ := bits.Add64(binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(b[:8]), carry)
	binary.BigEndian.PutUint64(out[:8], high)
	binary.BigEndian.PutUint64(out[8:], low)
	return out
}

// Merge adds the documents of another set, divided alike.
func (s Sums) Merge(other Sums) {
	for i, o := range other {
		s[i].Documents += o.Documents
		s[i].Exact = plus(s[i].Exact, o.Exact)
		s[i].Cut = plus(s[i].Cut, o.Cut)
	}
}

// Documents is how many there are in all.
func (s Sums) Documents() (n int64) {
	for _, p := range s {
		n += p.Documents
	}
	return n
}

// Unequal lists the partitions in which two sets, divided alike, differ: those
// first that differ in more than the digits of decimals.
func Unequal(a, b Sums) []int {
	var differ, cut []int
	for i := range a {
		switch {
		case a[i].Documents == b[i].Documents && a[i].Exact == b[i].Exact:
		case a[i].Documents == b[i].Documents && a[i].Cut == b[i].Cut:
			cut = append(cut, i)
		default:
			differ = append(differ, i)
		}
	}
	return append(differ, cut...)
}

const sumBytes = 8 + 16 + 16

// MarshalJSON implements json.Marshaler: sums are one string.
func (s Sums) MarshalJSON() ([]byte, error) {
	out := make([]byte, 0, len(s)*sumBytes)
	for _, p := range s {
		out = binary.BigEndian.AppendUint64(out, uint64(p.Documents))
		out = append(append(out, p.Exact[:]...), p.Cut[:]...)
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Sums) UnmarshalJSON(text []byte) error {
	var raw []byte
	if err := json.Unmarshal(text, &raw); err != nil || len(raw)%sumBytes != 0 {
		return fmt.Errorf("sums: %d bytes are no whole number of partitions: %v", len(raw), err)
	}
	*s = make(Sums, 0, len(raw)/sumBytes)
	for ; len(raw) > 0; raw = raw[sumBytes:] {
		p := Sum{Documents: int64(binary.BigEndian.Uint64(raw))}
		copy(p.Exact[:], raw[8:])
		copy(p.Cut[:], raw[24:])
		*s = append(*s, p)
	}
	return nil
}

// Document is one that is listed, as a row of the table holds it: digests only,
// never what it says.
type Document struct {
	ID    string `json:"id"`
	Exact []byte `json:"exact,omitempty"`
	Cut   []byte `json:"cut,omitempty"` // if it is another one
	// Shard is the number of its shard, from 1 on; 0 if nobody knows. With other
	// routings each shard may have a document of the same ID.
	Shard int `json:"shard,omitempty"`
	// Late says that it was written after the copy was planned.
	Late bool `json:"late,omitempty"`
	// Unreadable says that what it says is no JSON that can be compared.
	Unreadable bool `json:"unreadable,omitempty"`
	// Fields has the digests of its fields by path, exact and cut.
	Fields map[string]Field `json:"fields,omitempty"`
}

// Field is a field's digests; Cut is empty if it is the same.
type Field struct {
	Exact []byte `json:"e"`
	Cut   []byte `json:"c,omitempty"`
}

// List describes a document, with its fields if asked for. A nil source stands
// for its ID alone.
func (h *Hasher) List(id, routing string, source []byte, fields bool) (Document, error) {
	d := Document{ID: id}
	if source == nil && routing == "" && h.Version == 0 {
		return d, nil
	}
	if source == nil {
		c, err := h.Content(id, routing, nil)
		d.Exact, d.Fields = c.Exact[:], h.meta(routing)
		return d, err
	}
	c, err := h.Content(id, routing, source)
	if err != nil {
		return d, err
	}
	d.Exact = c.Exact[:]
	if c.Cut != c.Exact {
		d.Cut = c.Cut[:]
	}
	if fields {
		d.Fields, err = h.fields(routing, source)
	}
	return d, err
}

// Classes of differences.
const (
	Missing   = "missing"   // the destination lacks it
	Extra     = "extra"     // the source has no such document
	Differs   = "content"   // another content
	Precision = "precision" // the same but for digits of decimals that Elasticsearch cuts
	// Unreadable is a document that at least one side holds in a form that cannot be
	// compared.
	Unreadable = "unreadable"
)

// Difference is a document that is not the same on both sides.
type Difference struct {
	ID     string   `json:"id"`
	Class  string   `json:"class"`
	Fields []string `json:"fields,omitempty"`
	Late   bool     `json:"late,omitempty"`
}

// Diff compares two lists of the same partitions and returns what differs, by
// ID. A document that was written again while it was listed is there twice, and
// the later one counts. Where several of one ID are in several shards, those that
// are the same on both sides are set against each other first.
func Diff(source, dest []Document) []Difference {
	ours, theirs := byID(source), byID(dest)
	var out []Difference
	for id, a := range ours {
		b := theirs[id]
		delete(theirs, id)
		pairs(&a, &b, func(x, y Document) bool { return bytes.Equal(x.Exact, y.Exact) }, func(_, _ Document) {})
		pairs(&a, &b, func(x, y Document) bool { return bytes.Equal(cut(x.Exact, x.Cut), cut(y.Exact, y.Cut)) }, func(x, y Document) {
			out = append(out, Difference{ID: id, Class: Precision, Fields: unequal(x.Fields, y.Fields, true), Late: x.Late})
		})
		pairs(&a, &b, func(_, _ Document) bool { return true }, func(x, y Document) {
			class := Differs
			if x.Unreadable || y.Unreadable {
				class = Unreadable
			}
			out = append(out, Difference{ID: id, Class: class, Fields: unequal(x.Fields, y.Fields, false), Late: x.Late})
		})
		for _, d := range a {
			out = append(out, Difference{ID: id, Class: Missing, Late: d.Late})
		}
		if len(b) > 0 {
			theirs[id] = b
		}
	}
	for id, b := range theirs {
		for range b {
			out = append(out, Difference{ID: id, Class: Extra})
		}
	}
	slices.SortFunc(out, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Class, b.Class))
	})
	return out
}

// pairs takes two that go together out of both lists, as often as there are such.
func pairs(a, b *[]Document, together func(x, y Document) bool, do func(x, y Document)) {
	*a = slices.DeleteFunc(*a, func(x Document) bool {
		i := slices.IndexFunc(*b, func(y Document) bool { return together(x, y) })
		if i >= 0 {
			do(x, (*b)[i])
			*b = slices.Delete(*b, i, i+1)
		}
		return i >= 0
	})
}

// byID are the documents of each ID, of each known shard the last.
func byID(list []Document) map[string][]Document {
	m := make(map[string][]Document, len(list))
	for _, d := range list {
		of := slices.DeleteFunc(m[d.ID], func(older Document) bool { return d.Shard > 0 && older.Shard == d.Shard })
		m[d.ID] = append(of, d)
	}
	return m
}

func cut(exact, cut []byte) []byte {
	if len(cut) > 0 {
		return cut
	}
	return exact
}

// unequal lists the fields that differ, in more than digits or at all.
func unequal(a, b map[string]Field, precision bool) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]Field{}
	}
	maps.Copy(all, b)
	maps.DeleteFunc(all, func(path string, _ Field) bool {
		x, y := a[path], b[path]
		if precision {
			return bytes.Equal(x.Exact, y.Exact)
		}
		return bytes.Equal(cut(x.Exact, x.Cut), cut(y.Exact, y.Cut))
	})
	return slices.Sorted(maps.Keys(all))
}
