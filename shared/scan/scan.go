// Package scan reads an index on one side, for a proof of what was copied.
// The steps digest and verify share it: the first reads the source, the second
// the destination, each with a function in that cluster's network, and what they
// find meets in rows of the run. An index is read shard by shard in the order of
// its sequence numbers, a page at a time, and goes on in the next invocation
// where the row says: memory holds a few pages, whatever the index does.
package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"eslink/shared/apierr"
	"eslink/shared/checksum"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// Levels of proof, from weak to strong. Auto is Content for what fits Budget and
// Sample for the rest.
const (
	Auto    = "auto"
	Results = "results" // what the tasks report
	Counts  = "counts"  // how many documents each side has
	Windows = "windows" // how many the source has in each window, and what its task wrote
	Sample  = "sample"  // the content of some documents
	IDs     = "ids"     // which documents there are
	Content = "content" // and what each of them says
)

// Strength orders the levels.
func Strength(level string) int {
	return slices.Index([]string{Results, Counts, Windows, Sample, IDs, Content}, level)
}

// WorkFor is how long an invocation reads: the rest of its 200 s is for the last
// page and the row.
const WorkFor = 140 * time.Second

// Budget is how long the source may be read for the proof by default, and the
// destination likewise. What fits it is reckoned from what a function with half a
// processor reads.
const (
	Budget       = time.Hour
	docsPerHour  = 10_000 * 3600
	bytesPerHour = 10 << 20 * 3600
)

// Estimate is about how long it takes to read an index.
func Estimate(documents int64, surveyed facts.SurveyedIndex) time.Duration {
	share := float64(documents) / docsPerHour
	if surveyed.Total > 0 {
		share = max(share, float64(surveyed.Bytes)/bytesPerHour*float64(documents)/float64(surveyed.Total))
	}
	return time.Duration(share * float64(time.Hour))
}

// Sides name rows.
const (
	Source = "source"
	Dest   = "dest"
)

// Rows of a run, by the position of the index in the spec.

// sumsRow holds an index's sums and where its reading stands.
func sumsRow(side string, i int) string { return fmt.Sprintf("sums/%s/%05d", side, i) }

// listRow says where the listing of an index stands, listedRow has its n-th part.
func listRow(side string, i int) string      { return fmt.Sprintf("list/%s/%05d", side, i) }
func listedRow(side string, i, n int) string { return fmt.Sprintf("listed/%s/%05d/%06d", side, i, n) }

// wantedRow lists the partitions that verify asks to have listed.
func wantedRow(i int) string { return fmt.Sprintf("wanted/%05d", i) }

// Rows keeps rows of a run.
type Rows interface {
	PutPart(ctx context.Context, runID, name string, v any) error
	GetPart(ctx context.Context, runID, name string, v any) error
}

// Reader reads an index.
type Reader interface {
	Stats(ctx context.Context, index string) (es.Stats, error)
	Page(ctx context.Context, index string, query json.RawMessage, w es.Window, size int, source bool) ([]es.Document, error)
	Documents(ctx context.Context, index string, shard int, ids []string, source bool) ([]es.Document, error)
}

// Scan is one index on one side.
type Scan struct {
	Reader Reader
	Rows   Rows
	Now    func() time.Time
	Run    *run.Run
	Side   string
	// Position is that of the index in the spec; Index and Query say what of it.
	Position int
	Index    string
	Query    json.RawMessage
	// Content says that documents count with what they say, not with their IDs
	// alone.
	Content bool
	// Versions says that documents' versions count, too. MaxPage is how many documents
	// a page may have, if the index says so.
	Versions bool
	MaxPage  int
	// Bytes is about how large a document is, 0 if nobody knows.
	Bytes int64
	// Planned are the shards' highest sequence numbers when the copy was planned:
	// what is above was written later. Of the source only.
	Planned []int64
}

// Progress is how far a reading is.
type Progress struct {
	Read  int64 `json:"read"`            // documents so far
	Parts int   `json:"parts,omitempty"` // rows of listed ones
	Done  bool  `json:"done"`
}

// state is where a reading goes on.
type state struct {
	Walk  string `json:"walk"`            // another walk's reading is not continued
	Index string `json:"index,omitempty"` // nor that of another index by the name: the UUID
	Progress
	Next []int64       `json:"next"`           // each shard's next sequence number; -1: read whole
	Sums checksum.Sums `json:"sums,omitempty"` // when summing

	advanced bool // this invocation has read a page, and none of them in part
}

// load reads a reading's row, or begins one.
func (s *Scan) load(ctx context.Context, row string) (*state, error) {
	var st state
	err := s.Rows.GetPart(ctx, s.Run.ID, row, &st)
	if err == nil && st.Walk == s.Run.Facts.Digest.Walk {
		return &st, nil
	}
	if err != nil && !errors.Is(err, run.ErrNotFound) {
		return nil, err
	}
	return &state{Walk: s.Run.Facts.Digest.Walk}, nil
}

// Sum adds up the partitions of the index, as far as it comes until a time.
func (s *Scan) Sum(ctx context.Context, partitions int, until time.Time) (Progress, error) {
	row := sumsRow(s.Side, s.Position)
	st, err := s.load(ctx, row)
	if err != nil {
		return Progress{}, err
	}
	if st.Sums == nil {
		st.Sums = make(checksum.Sums, partitions)
	}
	err = s.walk(ctx, st, until, s.Content, func(h *checksum.Hasher, _ int, docs []es.Document) (func() error, error) {
		contents := make([]checksum.Content, len(docs))
		for i, d := range docs {
			s.version(h, d)
			c, err := h.Content(d.ID, d.Routing, d.Source)
			if err != nil { // no JSON that can be compared
				c, err = h.Content(d.ID, d.Routing, s.unreadable())
			}
			if err != nil {
				return nil, err
			}
			contents[i] = c
		}
		return func() error {
			for i, d := range docs {
				st.Sums.Add(d.ID, contents[i])
			}
			return nil
		}, nil
	})
	return s.save(ctx, row, st, err)
}

// save keeps a reading's row. An error that may pass does not undo the pages
// before it: the next invocation goes on from there.
func (s *Scan) save(ctx context.Context, row string, st *state, err error) (Progress, error) {
	if err != nil && (!st.advanced || apierr.ClassOf(err) != apierr.Retry) {
		return Progress{}, err
	}
	return st.Progress, s.Rows.PutPart(ctx, s.Run.ID, row, st)
}

// Bounds of a listing's row: the table takes 2 MB in one.
const (
	perPart      = 1000
	bytesPerPart = 512 << 10
)

// A Want says what is listed: the documents of some of so many partitions, those
// of the first Detailed of them with their fields; or all documents, if there are
// no partitions.
type Want struct {
	Partitions []int `json:"partitions"`
	Of         int   `json:"of"`
	Detailed   int   `json:"detailed"`
}

// List lists documents in rows, as far as it comes until a time.
func (s *Scan) List(ctx context.Context, want Want, until time.Time) (Progress, error) {
	row := listRow(s.Side, s.Position)
	st, err := s.load(ctx, row)
	if err != nil {
		return Progress{}, err
	}
	wanted, detailed := make([]bool, want.Of), make([]bool, want.Of)
	for i, p := range want.Partitions {
		wanted[p], detailed[p] = true, i < want.Detailed
	}
	out := lister{scan: s, st: st}
	err = s.walk(ctx, st, until, s.Content && want.Of == 0, func(h *checksum.Hasher, shard int, docs []es.Document) (func() error, error) {
		late := map[string]bool{}
		var ids []string
		for _, d := range docs {
			late[d.ID] = shard < len(s.Planned) && d.SeqNo > s.Planned[shard]
			if want.Of > 0 && wanted[checksum.Partition(d.ID, want.Of)] {
				ids = append(ids, d.ID)
			}
		}
		if want.Of > 0 {
			found, err := s.fetch(ctx, shard, ids)
			if err != nil {
				return nil, err
			}
			docs = found
		}
		listed, err := s.describe(h, docs, func(id string) bool { return want.Of > 0 && detailed[checksum.Partition(id, want.Of)] })
		if err != nil {
			return nil, err
		}
		for i := range listed {
			listed[i].Late, listed[i].Shard = late[listed[i].ID], shard+1
		}
		return func() error { return out.add(ctx, listed) }, nil
	})
	if err == nil || st.advanced {
		if err := out.flush(ctx); err != nil {
			return Progress{}, err
		}
	}
	return s.save(ctx, row, st, err)
}

// describe lists documents, some with their fields: those that are not read, too,
// since theirs says so.
func (s *Scan) describe(h *checksum.Hasher, docs []es.Document, fields func(id string) bool) ([]checksum.Document, error) {
	out := make([]checksum.Document, len(docs))
	for i, d := range docs {
		var err error
		s.version(h, d)
		if out[i], err = h.List(d.ID, d.Routing, d.Source, fields(d.ID) || bytes.HasPrefix(d.Source, tooLarge)); err != nil {
			d.Source = s.unreadable()
			out[i], err = h.List(d.ID, d.Routing, d.Source, false)
		}
		if err != nil {
			return nil, err
		}
		out[i].Unreadable = bytes.Equal(d.Source, s.unreadable())
	}
	return out, nil
}

// lister fills rows.
type lister struct {
	scan  *Scan
	st    *state
	docs  []checksum.Document
	bytes int
}

func (l *lister) add(ctx context.Context, docs []checksum.Document) error {
	for _, d := range docs {
		size := 100 + len(d.ID)
		for path := range d.Fields {
			size += 40 + len(path)
		}
		if len(l.docs) == perPart || len(l.docs) > 0 && l.bytes+size > bytesPerPart {
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
		l.docs = append(l.docs, d)
		l.bytes += size
	}
	return nil
}

func (l *lister) flush(ctx context.Context) error {
	if len(l.docs) == 0 {
		return nil
	}
	if err := l.scan.Rows.PutPart(ctx, l.scan.Run.ID, listedRow(l.scan.Side, l.scan.Position, l.st.Parts), l.docs); err != nil {
		return err
	}
	l.st.Parts++
	l.docs, l.bytes = l.docs[:0], 0
	return nil
}

// fetch returns the documents of a page's IDs, in several replies if one would
// be too large.
func (s *Scan) fetch(ctx context.Context, shard int, ids []string) ([]es.Document, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	docs, err := s.Reader.Documents(ctx, s.Index, shard, ids, s.Content)
	switch {
	case cannotRead(err) && len(ids) == 1 && s.Content:
		docs, again := s.Reader.Documents(ctx, s.Index, shard, ids, false)
		return s.standIn(docs, err), again
	case !tooMuch(err) || len(ids) == 1:
		return docs, err
	}
	docs, err = s.fetch(ctx, shard, ids[:len(ids)/2])
	if err != nil {
		return nil, err
	}
	rest, err := s.fetch(ctx, shard, ids[len(ids)/2:])
	return append(docs, rest...), err
}

// unread stands for what documents say that are larger than is read: something else
// on either side, so that they are not taken for equal and what differs says why.
func (s *Scan) unread(docs []es.Document) []es.Document {
	for i := range docs {
		docs[i].Source = fmt.Appendf(nil, "%s, %s)\":0}", tooLarge, s.Side)
	}
	return docs
}

// version has a document's version count, if it is to.
func (s *Scan) version(h *checksum.Hasher, d es.Document) {
	if h.Version = 0; s.Versions && s.Content {
		h.Version = d.Version
	}
}

// unreadable stands for what a document says that is no JSON: something else on either
// side, so that they are not taken for equal.
func (s *Scan) unreadable() []byte { return fmt.Appendf(nil, "{\"(not readable, %s)\":0}", s.Side) }

// standIn has documents that were read without what they say say what stands for it.
func (s *Scan) standIn(docs []es.Document, err error) []es.Document {
	if errors.Is(err, es.ErrTooLarge) {
		return s.unread(docs)
	}
	for i := range docs {
		docs[i].Source = s.unreadable()
	}
	return docs
}

// tooLarge begins what stands for a document that is not read.
var tooLarge = fmt.Appendf(nil, `{"(more than the %d MB that are read`, es.MaxDocument>>20)

// cannotRead reports whether a document of a page cannot be read as it is.
func cannotRead(err error) bool {
	return errors.Is(err, es.ErrTooLarge) || errors.Is(err, es.ErrUnreadable)
}

// tooMuch reports whether a page should have been smaller.
func tooMuch(err error) bool {
	var e *apierr.Error
	return cannotRead(err) || errors.As(err, &e) && e.Code == "circuit_breaking_exception"
}

// Lookup returns what the index has of documents that the other side has listed.
func (s *Scan) Lookup(ctx context.Context, listed []checksum.Document) ([]checksum.Document, error) {
	ids := make([]string, len(listed))
	for i, d := range listed {
		ids[i] = d.ID
	}
	docs, err := s.fetch(ctx, es.AllShards, ids)
	if err != nil {
		return nil, err
	}
	return s.describe(new(checksum.Hasher), docs, func(string) bool { return listed[0].Fields != nil })
}

const (
	// readers is how many pages are read and digested at once.
	readers = 2
	// pageBytes is about how large a page should be. Larger ones are read a little
	// faster (2 MB: by an eighth), and take half as much memory again.
	pageBytes = 512 << 10
	// firstPage is the largest page before the size of documents has been seen.
	firstPage = 500
)

// digested is called with each page, several at a time, and returns what is to
// be done alone.
type digested func(h *checksum.Hasher, shard int, docs []es.Document) (alone func() error, err error)

// walk reads the index on from st, until a time. An index that was recreated
// since is read from its beginning: sequence numbers are of one index.
func (s *Scan) walk(ctx context.Context, st *state, until time.Time, source bool, do digested) error {
	stats, err := s.Reader.Stats(ctx, s.Index)
	if err != nil {
		return err
	}
	if st.Next == nil || st.Index != stats.UUID {
		clear(st.Sums)
		*st = state{Walk: st.Walk, Index: stats.UUID, Next: make([]int64, len(stats.ShardSeqNos)), Sums: st.Sums}
	}
	var mu sync.Mutex
	partial := false // a page was taken in part
	var alone large
	step := func(ctx context.Context, h *checksum.Hasher, p *pager) error {
		defer alone.hold(p.size)()
		docs, err := p.page(ctx)
		if err != nil {
			return err
		}
		add, err := do(h, p.shard, docs)
		if err != nil {
			return fmt.Errorf("index %s: %w", s.Index, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if err := add(); err != nil || partial {
			partial, st.advanced = true, false
			return err
		}
		st.advanced = st.advanced || st.Next[p.shard] != p.next
		st.Next[p.shard] = p.next
		st.Read += int64(len(docs))
		return nil
	}
	var turn atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range readers {
		group.Go(func() error {
			var h checksum.Hasher
			p := s.pager(source)
			for {
				shard := int(turn.Add(1)) - 1
				if shard >= len(stats.ShardSeqNos) {
					return nil
				}
				p.shard, p.next, p.last = shard, st.Next[shard], stats.ShardSeqNos[shard]
				for p.next >= 0 && s.Now().Before(until) {
					if err := step(ctx, &h, p); err != nil {
						return err
					}
				}
			}
		})
	}
	err = group.Wait()
	st.Done = !slices.ContainsFunc(st.Next, func(n int64) bool { return n >= 0 })
	return err
}

// large is held for reading while documents come in pages of one: as they may
// have 100 MB each, the others stop meanwhile.
type large struct{ sync.RWMutex }

func (l *large) hold(size int) (release func()) {
	if size == 1 {
		l.Lock()
		return l.Unlock
	}
	l.RLock()
	return l.RUnlock
}

// pager reads a shard page by page. A page is a window of sequence numbers that
// is as wide as makes it full: numbers of documents that were written again or
// deleted are empty.
type pager struct {
	scan   *Scan
	source bool
	shard  int
	next   int64 // sequence number; -1 at the end
	last   int64 // the shard's highest, when reading began
	size   int
	most   int // that the index gives
	width  int64
}

func (s *Scan) pager(source bool) *pager {
	p := &pager{scan: s, source: source, most: es.MaxPage}
	if s.MaxPage > 0 {
		p.most = min(p.most, s.MaxPage)
	}
	p.size = p.most
	if source {
		p.size = firstPage
		if s.Bytes > 0 {
			p.size = int(min(max(pageBytes/4/s.Bytes, 1), firstPage))
		}
		p.size = min(p.size, p.most)
	}
	p.width = int64(p.size)
	return p
}

func (p *pager) page(ctx context.Context) ([]es.Document, error) {
	for {
		w := es.Window{Shard: p.shard, From: p.next}
		if p.next+p.width <= p.last {
			w.Below = p.next + p.width
		}
		docs, err := p.scan.Reader.Page(ctx, p.scan.Index, p.scan.Query, w, p.size, p.source)
		if tooMuch(err) && p.size > 1 {
			if p.size /= 2; p.size == 1 {
				return nil, nil // the next page is read with the others at rest
			}
			continue
		}
		if cannotRead(err) && p.source {
			why := err
			docs, err = p.scan.Reader.Page(ctx, p.scan.Index, p.scan.Query, w, p.size, false)
			docs = p.scan.standIn(docs, why)
		}
		switch {
		case err != nil:
			return nil, err
		case len(docs) >= p.size:
			p.next = docs[len(docs)-1].SeqNo + 1
		case w.Below == 0:
			p.next = -1
		default:
			p.next = w.Below
		}
		switch full := len(docs) * 2; {
		case full < p.size:
			p.width *= 2
		case full >= 2*p.size && p.width > int64(p.size):
			p.width /= 2
		}
		p.fit(docs)
		return docs, nil
	}
}

// fit chooses the next page's size by this one's.
func (p *pager) fit(docs []es.Document) {
	if !p.source || len(docs) == 0 {
		return
	}
	bytes := 0
	for _, d := range docs {
		bytes += len(d.Source)
	}
	p.size = min(max(pageBytes/max(1, bytes/len(docs)), 1), 2*p.size, p.most)
}

// A sample is taken in runs of neighbours, at random places.
const (
	sampleRuns = 25
	sampleRun  = 40
)

// Sampled is the most documents that a sample has.
const Sampled = sampleRuns * sampleRun

// Sample lists documents from random places with their fields. The places are
// drawn from the walk's name, so a repetition lists the same.
func (s *Scan) Sample(ctx context.Context) (Progress, error) {
	stats, err := s.Reader.Stats(ctx, s.Index)
	if err != nil {
		return Progress{}, err
	}
	var seed [32]byte
	copy(seed[:], s.Run.Facts.Digest.Walk)
	random := rand.New(rand.NewChaCha8(seed))
	st := &state{Walk: s.Run.Facts.Digest.Walk}
	type place struct {
		shard int
		id    string
	}
	out, seen := lister{scan: s, st: st}, map[place]bool{}
	for range sampleRuns {
		if stats.Operations == 0 {
			break
		}
		n, shard := random.Int64N(stats.Operations), 0
		for n > stats.ShardSeqNos[shard] {
			n -= stats.ShardSeqNos[shard] + 1
			shard++
		}
		p := s.pager(true)
		p.shard, p.next, p.last, p.size, p.width = shard, n, stats.ShardSeqNos[shard], min(p.size, sampleRun), 4*sampleRun
		for docs := 0; docs == 0 && p.next >= 0; { // gaps in sequence numbers
			page, err := p.page(ctx)
			if err != nil {
				return Progress{}, err
			}
			if docs = len(page); docs == 0 && p.next < 0 && n > 0 {
				p.next, n = 0, 0 // wrap to start
			}
			fresh := slices.DeleteFunc(page, func(d es.Document) bool { return seen[place{shard, d.ID}] })
			listed, err := s.describe(new(checksum.Hasher), fresh, func(string) bool { return true })
			if err != nil {
				return Progress{}, fmt.Errorf("index %s: %w", s.Index, err)
			}
			st.Read += int64(len(fresh))
			for i, d := range fresh {
				seen[place{shard, d.ID}] = true
				listed[i].Late, listed[i].Shard = shard < len(s.Planned) && d.SeqNo > s.Planned[shard], shard+1
			}
			if err := out.add(ctx, listed); err != nil {
				return Progress{}, err
			}
		}
	}
	st.Done = true
	err = out.flush(ctx)
	return st.Progress, err
}

// Compare returns the partitions in which the two sides' sums differ, and of how
// many; those worth listing come first.
func Compare(ctx context.Context, rows Rows, r *run.Run, i int) (unequal []int, source, dest checksum.Sums, err error) {
	var a, b state
	if err := rows.GetPart(ctx, r.ID, sumsRow(Source, i), &a); err != nil {
		return nil, nil, nil, err
	}
	if err := rows.GetPart(ctx, r.ID, sumsRow(Dest, i), &b); err != nil {
		return nil, nil, nil, err
	}
	return checksum.Unequal(a.Sums, b.Sums), a.Sums, b.Sums, nil
}

// PutWanted notes the partitions that are to be listed on both sides, GetWanted
// reads them.
func PutWanted(ctx context.Context, rows Rows, r *run.Run, i int, w Want) error {
	return rows.PutPart(ctx, r.ID, wantedRow(i), w)
}

// GetWanted is described at PutWanted.
func GetWanted(ctx context.Context, rows Rows, r *run.Run, i int) (w Want, err error) {
	err = rows.GetPart(ctx, r.ID, wantedRow(i), &w)
	return w, err
}

// Listed reads the n-th part of a side's listing.
func Listed(ctx context.Context, rows Rows, r *run.Run, side string, i, n int) (docs []checksum.Document, err error) {
	err = rows.GetPart(ctx, r.ID, listedRow(side, i, n), &docs)
	return docs, err
}
