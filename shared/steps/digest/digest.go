// Package digest takes the source's side of the proof: how many documents each
// index holds under its query, and what the level asks for beyond that: counts
// per window, a sample, or sums of every document's digest by partition. Once
// step verify has found partitions that differ, it lists what is in them.
package digest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"eslink/shared/checksum"
	"eslink/shared/clusters"
	"eslink/shared/copyjob"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
	"eslink/shared/scan"
)

type opener interface {
	Open(ctx context.Context, s clusters.Side) (*es.Client, error)
}

// Step is the step digest. It runs in the target's VPC and reads only.
type Step struct {
	Clusters opener
	Rows     scan.Rows
	Now      func() time.Time
}

// New returns the step.
func New(d deps.Deps) engine.Step {
	return &Step{Clusters: clusters.Opener{Cloud: d.Aliyun}, Rows: d.Runs, Now: d.Now}
}

// Up counts, then reads index by index; rows remember where it is.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if !r.Spec.Copies() {
		return engine.Done(), nil
	}
	side := clusters.Source(r)
	c, err := s.Clusters.Open(ctx, side)
	if err != nil {
		return engine.Outcome{}, err
	}
	until := s.Now().Add(scan.WorkFor)
	refreshed, err := refresh(ctx, c, r)
	if err != nil {
		return engine.Outcome{}, clusters.Explain(err, side)
	}
	if refreshed {
		return engine.Back("progress", "the source was refreshed: copying what was written last"), nil
	}
	if r.Facts.Digest == nil {
		if r.Facts.Digest, err = s.begin(ctx, c, r); err != nil {
			return engine.Outcome{}, clusters.Explain(err, side)
		}
	}
	for i := range r.Facts.Digest.Indices {
		d := &r.Facts.Digest.Indices[i]
		if d.IDsDone {
			continue
		}
		read, err := s.read(ctx, c, r, i, d, until)
		if err != nil {
			return engine.Outcome{}, clusters.Explain(err, side)
		}
		if !d.IDsDone {
			return engine.Waitf(0, "reading index %d of %d, %s, for the proof: %d of %d documents", i+1, len(r.Indices()), r.Indices()[i].Source, read, d.Documents), nil
		}
	}
	return engine.Done(), nil
}

// refresh has the searches of sources show what was written last, for the copies that
// wait for it: they are the last to read an index, and so what they copy is what it
// holds at that time.
func refresh(ctx context.Context, c *es.Client, r *run.Run) (refreshed bool, err error) {
	for i, ix := range r.Indices() {
		if !copyjob.AwaitsRefresh(r, i) {
			continue
		}
		if err := c.Refresh(ctx, ix.Source); err != nil {
			return false, err
		}
		copyjob.Refreshed(r, i)
		refreshed = true
	}
	return refreshed, nil
}

// show has the searches of an index show what it holds, if the login may, and
// otherwise reports whether they may lack writes.
func show(ctx context.Context, c *es.Client, ix facts.SurveyedIndex, now es.Stats) (unseen bool, err error) {
	switch {
	case ix.Refreshable && (ix.Lags() || now.State() != ix.State):
		return false, c.Refresh(ctx, ix.Source)
	case !ix.Lags():
		return false, nil
	}
	seen, err := c.Searchable(ctx, ix.Source, len(now.ShardSeqNos))
	return !slices.Equal(seen, now.ShardSeqNos), err
}

// begin counts, and decides what is proved of each index.
func (s *Step) begin(ctx context.Context, c *es.Client, r *run.Run) (*facts.Digest, error) {
	out := &facts.Digest{Level: r.Spec.Proof, Walk: fmt.Sprintf("%s/%d/%d", r.ID, r.Generation, s.Now().UnixNano())}
	budget := scan.Budget
	for i, ix := range r.Indices() {
		surveyed := r.Facts.Survey.Indices[i]
		stats, err := c.Stats(ctx, ix.Source)
		if err != nil {
			return nil, err
		}
		unseen, err := show(ctx, c, surveyed, stats)
		if err != nil {
			return nil, err
		}
		n, err := c.Count(ctx, ix.Source, ix.Query)
		if err != nil {
			return nil, err
		}
		d := facts.IndexDigest{Documents: n, Level: level(r, i, n, &budget),
			Changed: surveyed.State != stats.State(), Unseen: unseen}
		if sums(r, i, d.Level) {
			d.Partitions = checksum.Partitions(n)
		}
		out.Indices = append(out.Indices, d)
	}
	return out, nil
}

// level is what is proved of an index: as the spec says, but for one whose
// destination held documents before, where a count cannot tell those from what
// was copied.
func level(r *run.Run, i int, documents int64, budget *time.Duration) string {
	held := r.Facts.Destination.Indices[i].Before > 0
	switch asked := r.Spec.Proof; {
	case held && (asked == scan.Counts || asked == scan.Auto || asked == ""):
		return scan.IDs
	case asked != scan.Auto && asked != "":
		return asked
	}
	if *budget -= scan.Estimate(documents, r.Facts.Survey.Indices[i]); *budget < 0 {
		return scan.Sample
	}
	return scan.Content
}

// sums reports whether a level is proved by the sums of partitions. They cannot
// be equal where the destination held other documents before: there all of the
// source's are listed, and looked for.
func sums(r *run.Run, i int, level string) bool {
	return (level == scan.IDs || level == scan.Content) && r.Facts.Destination.Indices[i].Before == 0
}

// read reads an index as far as it comes.
func (s *Step) read(ctx context.Context, c *es.Client, r *run.Run, i int, d *facts.IndexDigest, until time.Time) (read int64, err error) {
	surveyed := r.Facts.Survey.Indices[i]
	reader := scan.Scan{Reader: c.WithMaxPage(surveyed.MaxPage), MaxPage: surveyed.MaxPage, Versions: copyjob.KeepsVersions(r, i), Rows: s.Rows, Now: s.Now, Run: r, Side: scan.Source, Position: i, Index: r.Indices()[i].Source,
		Query: r.Indices()[i].Query, Content: d.Level != scan.IDs, Planned: surveyed.ShardSeqNos}
	if surveyed.Total > 0 {
		reader.Bytes = surveyed.Bytes / surveyed.Total
	}
	var at scan.Progress
	switch {
	case d.Wanted > 0:
		var want scan.Want
		if want, err = scan.GetWanted(ctx, s.Rows, r, i); err != nil {
			return 0, err
		}
		at, err = reader.List(ctx, want, until)
	case d.Level == scan.Sample:
		at, err = reader.Sample(ctx)
	case d.Partitions > 0:
		at, err = reader.Sum(ctx, d.Partitions, until)
	case d.Level == scan.IDs || d.Level == scan.Content:
		at, err = reader.List(ctx, scan.Want{}, until)
	case d.Level == scan.Windows:
		d.Windows, err = windows(ctx, c, r, i)
		at.Done = true
	default:
		at.Done = true // counts are all that the level asks for
	}
	d.IDParts, d.IDsDone = at.Parts, at.Done && err == nil
	return at.Read, err
}

// windows counts the documents in each window of the copy.
func windows(ctx context.Context, c *es.Client, r *run.Run, i int) (out []int64, err error) {
	queries, err := copyjob.Queries(r, i)
	if err != nil {
		return nil, err
	}
	for _, q := range queries {
		n, err := c.Count(ctx, r.Indices()[i].Source, q)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
