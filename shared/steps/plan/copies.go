package plan

import (
	"context"
	"fmt"

	"eslink/events"
	"eslink/shared/copyjob"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// judgeCopies looks at what decides how a copy goes, or whether it can be proven.
func judgeCopies(ctx context.Context, c *es.Client, r *run.Run, fs *events.Findings) error {
	tasks, err := c.Tasks(ctx)
	if err != nil {
		return err
	}
	copyjob.OtherWriters(r, tasks, fs)
	judgeVisible(r, fs)
	judgeScrolls(r, fs)
	return nil
}

// judgeScrolls names indices of which the source cannot have as many scrolls open as
// one task needs, one a shard.
func judgeScrolls(r *run.Run, fs *events.Findings) {
	for i, ix := range r.Facts.Survey.Indices {
		if most := r.Facts.Survey.MaxScrolls; most > 0 && len(ix.ShardSeqNos) > most {
			fs.Add(r.Entry(i)+".source", fmt.Sprintf("%s has %d shards, and a copy opens a scroll on each, but search.max_open_scroll_context of the source is %d", ix.Source, len(ix.ShardSeqNos), most),
				"raise search.max_open_scroll_context at the source, whose default is 500")
		}
	}
}

// judgeVisible names indices whose searches may lack writes, and so the copy and its
// proof. Where nothing tells deletes, which no search shows, from such writes, a
// person has to.
func judgeVisible(r *run.Run, fs *events.Findings) {
	for i, ix := range r.Facts.Survey.Indices {
		if ix.Unseen {
			fs.AddRisk(facts.SourceNotRefreshed, r.Entry(i)+".source",
				fmt.Sprintf("searches of %s may not show its newest writes (refresh_interval %s), and would be copied and proven without them", ix.Source, ix.Refresh),
				"refresh it and send action retry; or grant the user of secret "+r.Spec.Secrets.Target+" the privilege maintenance on it, and the run refreshes it")
		}
	}
}

// refreshes says which sources the run refreshes, and what becomes of versions.
func refreshes(r *run.Run) (out []string) {
	if r.Facts.Survey == nil {
		return nil
	}
	for _, ix := range r.Indices() {
		switch ix.Versions {
		case "keep":
			out = append(out, "documents of "+ix.Dest+" keep their versions; one of a higher version there is not overwritten, and named")
		case "new":
			out = append(out, "versions of documents in "+ix.Dest+" begin at 1: a write with a lower external version, which "+ix.Source+" would refuse, succeeds there")
		default:
			out = append(out, "documents of "+ix.Dest+" keep their versions if the run creates it, and get new ones if it exists: then a write with a lower external version, which "+ix.Source+" would refuse, succeeds there")
		}
	}
	for _, ix := range r.Facts.Survey.Indices {
		if ix.Lags() && ix.Refreshable {
			out = append(out, "refreshes "+ix.Source+" three times, which costs its cluster the work that refresh_interval "+ix.Refresh+" saves")
		}
	}
	return out
}
