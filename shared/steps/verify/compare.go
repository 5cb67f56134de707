package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"eslink/shared/checksum"
	"eslink/shared/copyjob"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/scan"
)

const (
	// maxLines bounds the differences that the record lists; rows have more.
	maxLines = 50
	// maxListed bounds the documents, of both sides, that are gone through one by
	// one in an index's unequal partitions; those of maxDetailed field by field.
	maxListed   = 20_000
	maxDetailed = 2_000
)

// compare lists what differs, index by index. Where the sums of partitions
// differ, step digest has to list the source's documents in them, and so the
// walk goes back to it, once.
func (s *Step) compare(ctx context.Context, r *run.Run, c *es.Client) (engine.Outcome, error) {
	v := r.Facts.Verify
	until := s.Now().Add(scan.WorkFor)
	for ; v.Next < len(r.Indices()); v.Next, v.NextPart = v.Next+1, 0 {
		if v.Next == len(v.Indices) {
			v.Indices = append(v.Indices, facts.IndexProof{Dest: r.Indices()[v.Next].Dest, Level: r.Facts.Digest.Indices[v.Next].Level})
		}
		x := index{step: s, run: r, client: c, i: v.Next, proof: &v.Indices[v.Next], digest: &r.Facts.Digest.Indices[v.Next]}
		if x.proof.Done {
			continue
		}
		if err := x.limits(ctx); err != nil {
			return engine.Outcome{}, err
		}
		settled, err := x.compare(ctx, until)
		if err != nil {
			return engine.Outcome{}, err
		}
		if !settled {
			return engine.Waitf(0, "comparing index %d of %d, %s: %d of %d documents", v.Next+1, len(r.Indices()), x.proof.Dest, x.read, x.digest.Documents), nil
		}
	}
	if slices.ContainsFunc(v.Indices, func(p facts.IndexProof) bool { return !p.Done }) {
		v.Next = 0
		return engine.Back("digest", "the copy differs from its source: listing what"), nil
	}
	for _, p := range v.Indices {
		if v.Level == "" || scan.Strength(p.Level) < scan.Strength(v.Level) {
			v.Level = p.Level
		}
	}
	if len(v.Differences) > 0 {
		return engine.DoneWithDifferences(), nil
	}
	return engine.Done(), nil
}

// index is the comparison of one index.
type index struct {
	step   *Step
	run    *run.Run
	client *es.Client
	i      int
	proof  *facts.IndexProof
	digest *facts.IndexDigest
	// maxPage is how many documents a page of the destination has, if it says so.
	maxPage int
	read    int64 // documents of it, or of those to be listed, so far
}

// limits reads how the destination index can be read, if its documents are.
func (x *index) limits(ctx context.Context) error {
	if scan.Strength(x.proof.Level) < scan.Strength(scan.Sample) {
		return nil
	}
	def, err := x.client.Definition(ctx, x.proof.Dest)
	if err == nil {
		x.maxPage, err = es.MaxPageOf(def.Settings)
	}
	return err
}

// compare goes on comparing until a time. It is settled when the index is done,
// or when step digest has to list documents first.
func (x *index) compare(ctx context.Context, until time.Time) (settled bool, err error) {
	if !x.proof.Counted {
		counted, err := x.count(ctx)
		if err != nil {
			return false, err
		}
		x.results()
		if err := x.rejected(ctx); err != nil {
			return false, err
		}
		if counted != x.digest.Documents {
			x.differs("%s holds %d documents, the source's %s %d under the query%s", x.proof.Dest, counted, x.source(), x.digest.Documents, x.written())
		}
		if x.digest.Unseen && !slices.Contains(x.run.Spec.AcceptRisks, facts.SourceNotRefreshed) {
			x.differs("%s may hold writes that its searches do not show yet, so that they were neither copied nor compared: refresh it, then start with again", x.source())
		}
		x.proof.Counted = true
	}
	switch {
	case x.digest.Wanted > 0:
		x.proof.Done, err = x.lists(ctx, until)
		return x.proof.Done, err
	case x.digest.Partitions > 0:
		return x.sums(ctx, until)
	}
	x.proof.Done, err = x.looks(ctx, until)
	return x.proof.Done, err
}

func (x *index) source() string { return x.run.Indices()[x.i].Source }

// differs notes a difference that is no document's.
func (x *index) differs(format string, args ...any) {
	x.proof.Other++
	x.says(format, args...)
}

// says adds a line, unless there are enough.
func (x *index) says(format string, args ...any) {
	if v := x.run.Facts.Verify; len(v.Differences) < maxLines {
		v.Differences = append(v.Differences, fmt.Sprintf(format, args...))
	}
}

// results reads what the tasks reported and, if the level asks for it, compares
// it with how many documents the source has in each window.
func (x *index) results() {
	for n, res := range copyjob.Results(x.run, x.i) {
		if res == nil {
			x.differs("%s: window %d of the copy is not over", x.proof.Dest, n)
			continue
		}
		if res.VersionConflicts > 0 {
			x.differs("%s: %d documents were passed over for a version conflict", x.proof.Dest, res.VersionConflicts)
		}
		if done := res.Created + res.Updated + res.Noops + res.Deleted + res.VersionConflicts; res.FailureCount == 0 && done != res.Total {
			x.differs("%s: the task read %d documents and wrote %d", x.proof.Dest, res.Total, done)
		}
		if n < len(x.digest.Windows) && x.digest.Windows[n] != res.Total {
			x.differs("%s: window %d was copied with %d documents, %s has %d in it%s", x.proof.Dest, n, res.Total, x.source(), x.digest.Windows[n], x.written())
		}
	}
}

// rejected tells how many documents the destination rejected, and of the first ones
// what it said. All are in rows.
func (x *index) rejected(ctx context.Context) error {
	n := copyjob.Rejected(x.run, x.i)
	if n.Count == 0 {
		return nil
	}
	x.proof.Rejected = n.Count
	x.differs("%s rejected %d documents, which are named in %d rows", x.proof.Dest, n.Count, n.Rows)
	for row, told := 0, 0; row < n.Rows && told < quoted; row++ {
		list, err := copyjob.Rejections(ctx, x.step.Rows, x.run, x.i, row)
		if err != nil {
			return err
		}
		for _, f := range list[:min(len(list), quoted-told)] {
			x.says("%s", f.Reason)
			told++
		}
	}
	return nil
}

// quoted is how many rejections are told word for word.
const quoted = 20

// count makes all that was written visible, and counts an index that held
// nothing before. Of another one a count says nothing, and is as it should be.
func (x *index) count(ctx context.Context) (int64, error) {
	if x.proof.Level == scan.Results {
		return x.digest.Documents, nil
	}
	if err := x.client.Refresh(ctx, x.proof.Dest); err != nil {
		return 0, err
	}
	x.proof.Documents = x.digest.Documents
	if x.run.Facts.Destination.Indices[x.i].Before > 0 {
		return x.digest.Documents, nil
	}
	return x.client.Count(ctx, x.proof.Dest, nil)
}

// written adds to a difference that the source has changed since.
func (x *index) written() string {
	if x.digest.Changed {
		return "; " + x.source() + " was written to after the copy was planned"
	}
	return ""
}

func (x *index) scan() *scan.Scan {
	s := &scan.Scan{Reader: x.client.WithMaxPage(x.maxPage), MaxPage: x.maxPage, Versions: copyjob.KeepsVersions(x.run, x.i), Rows: x.step.Rows, Now: x.step.Now, Run: x.run, Side: scan.Dest, Position: x.i, Index: x.proof.Dest,
		Content: x.proof.Level != scan.IDs}
	if surveyed := x.run.Facts.Survey.Indices[x.i]; surveyed.Total > 0 {
		s.Bytes = surveyed.Bytes / surveyed.Total
	}
	return s
}

// sums adds up the destination's partitions and asks for a list of those that
// differ from the source's.
func (x *index) sums(ctx context.Context, until time.Time) (settled bool, err error) {
	at, err := x.scan().Sum(ctx, x.digest.Partitions, until)
	x.read = at.Read
	if err != nil || !at.Done {
		return false, err
	}
	unequal, source, dest, err := scan.Compare(ctx, x.step.Rows, x.run, x.i)
	if err != nil {
		return false, err
	}
	x.proof.Documents, x.proof.Partitions, x.proof.Unequal = source.Documents(), len(source), len(unequal)
	if len(unequal) == 0 {
		x.proof.Done = true
		return true, nil
	}
	want := scan.Want{Of: len(source)}
	var listed int64
	for i, p := range unequal {
		if listed += source[p].Documents + dest[p].Documents; i > 0 && listed > maxListed {
			break
		}
		want.Partitions = append(want.Partitions, p)
		if i == 0 || listed <= maxDetailed {
			want.Detailed = i + 1
		}
	}
	x.proof.Unlisted = len(unequal) - len(want.Partitions)
	if err := scan.PutWanted(ctx, x.step.Rows, x.run, x.i, want); err != nil {
		return false, err
	}
	x.digest.Wanted, x.digest.IDsDone = len(want.Partitions), false
	return true, nil
}

// lists compares the documents of the partitions that differ.
func (x *index) lists(ctx context.Context, until time.Time) (done bool, err error) {
	want, err := scan.GetWanted(ctx, x.step.Rows, x.run, x.i)
	if err != nil {
		return false, err
	}
	at, err := x.scan().List(ctx, want, until)
	x.read = at.Read
	if err != nil || !at.Done {
		return false, err
	}
	var source, dest []checksum.Document
	for side, parts := range map[string]int{scan.Source: x.digest.IDParts, scan.Dest: at.Parts} {
		for n := range parts {
			docs, err := scan.Listed(ctx, x.step.Rows, x.run, side, x.i, n)
			if err != nil {
				return false, err
			}
			if side == scan.Source {
				source = append(source, docs...)
			} else {
				dest = append(dest, docs...)
			}
		}
	}
	found := checksum.Diff(source, dest)
	if err := x.keep(ctx, found); err != nil {
		return false, err
	}
	in := map[int]bool{}
	for _, d := range found {
		in[checksum.Partition(d.ID, want.Of)] = true
	}
	if same := len(want.Partitions) - len(in); same > 0 {
		x.differs("%s: %d of %d parts differed when they were added up, and not when their documents were listed: somebody writes", x.proof.Dest, same, x.proof.Partitions)
	}
	if x.proof.Unlisted > 0 {
		x.differs("%s: %d of %d parts differ, %d of them were not gone through", x.proof.Dest, x.proof.Unequal, x.proof.Partitions, x.proof.Unlisted)
	}
	x.tell(found)
	return true, nil
}

// looks looks for the documents that step digest has listed, row by row. One more
// of the same ID may be that of another row, or have been there before.
func (x *index) looks(ctx context.Context, until time.Time) (done bool, err error) {
	v := x.run.Facts.Verify
	if v.NextPart == 0 && scan.Strength(x.proof.Level) >= scan.Strength(scan.Sample) {
		x.proof.Documents = 0
	}
	for ; v.NextPart < x.digest.IDParts; v.NextPart++ {
		if !x.step.Now().Before(until) {
			if v.NextPart > 0 {
				x.read = x.proof.Documents
			}
			return false, nil
		}
		listed, err := scan.Listed(ctx, x.step.Rows, x.run, scan.Source, x.i, v.NextPart)
		if err != nil {
			return false, err
		}
		found, err := x.scan().Lookup(ctx, listed)
		if err != nil {
			return false, err
		}
		differ := slices.DeleteFunc(checksum.Diff(listed, found), func(d checksum.Difference) bool { return d.Class == checksum.Extra })
		if err := x.keep(ctx, differ); err != nil {
			return false, err
		}
		x.tell(differ)
		x.proof.Documents += int64(len(listed))
	}
	return true, x.standing(ctx)
}

// standing tells whether the destination is still the index that was copied into:
// of one that was recreated, the parts before say nothing.
func (x *index) standing(ctx context.Context) error {
	if x.proof.Level == scan.Results {
		return nil
	}
	stats, err := x.client.Stats(ctx, x.proof.Dest)
	if err == nil && stats.UUID != x.run.Facts.Destination.Indices[x.i].UUID {
		x.differs("%s was recreated since the copy began", x.proof.Dest)
	}
	return err
}

// keep keeps all differences in rows.
func (x *index) keep(ctx context.Context, found []checksum.Difference) error {
	n := x.proof.Parts
	for part := range slices.Chunk(found, perRow) {
		row := slices.Clone(part)
		for i := range row {
			row[i].Fields = row[i].Fields[:min(len(row[i].Fields), maxFields)]
		}
		if err := x.step.Rows.PutPart(ctx, x.run.ID, fmt.Sprintf("differences/%05d/%06d", x.i, n), row); err != nil {
			return err
		}
		n++
	}
	x.proof.Parts = n
	return nil
}

// tell counts differences, and has the first of them as lines.
func (x *index) tell(found []checksum.Difference) {
	if x.proof.Differences == nil {
		x.proof.Differences = map[string]int{}
	}
	for _, d := range found {
		x.proof.Differences[d.Class]++
		if d.Late {
			x.proof.Late++
		}
		x.line(d)
	}
	if x.proof.Differences[checksum.Missing]+x.proof.Differences[checksum.Differs] > 0 {
		copyjob.ForceRecopy(x.run, x.i)
	}
}

// Bounds of a row of differences: the table takes 2 MB.
const (
	perRow    = 500
	maxFields = 20
)

func (x *index) line(d checksum.Difference) {
	late := ""
	if d.Late {
		late = ", which was written to the source after the copy was planned"
	}
	fields := ""
	if len(d.Fields) > 0 {
		fields = " in " + strings.Join(d.Fields[:min(len(d.Fields), 5)], ", ")
		if more := len(d.Fields) - 5; more > 0 {
			fields += fmt.Sprintf(" and %d more", more)
		}
	}
	switch d.Class {
	case checksum.Missing:
		x.says("%s lacks document %s%s", x.proof.Dest, d.ID, late)
	case checksum.Extra:
		x.says("%s holds document %s, which %s does not%s", x.proof.Dest, d.ID, x.source(), x.written())
	case checksum.Precision:
		x.says("%s: document %s has lost digits of decimals that Elasticsearch cuts (precision)%s", x.proof.Dest, d.ID, fields)
	case checksum.Unreadable:
		x.says("%s: document %s cannot be compared: at least one side holds it as no JSON that can be read (unreadable)%s", x.proof.Dest, d.ID, late)
	default:
		x.says("%s: document %s differs%s%s", x.proof.Dest, d.ID, fields, late)
	}
}
