// Package survey looks at the source's data before anything is made: can we
// log in and read, do the indices exist, how large are they, what do they need.
package survey

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
)

type opener interface {
	Open(ctx context.Context, s clusters.Side) (*es.Client, error)
}

type parts interface {
	PutPart(ctx context.Context, runID, name string, v any) error
}

// Step is the step survey. It runs in the target's VPC and writes nothing but
// our own table.
type Step struct {
	Clusters opener
	Parts    parts
	Now      func() time.Time
}

// New returns the step.
func New(d deps.Deps) engine.Step {
	return &Step{Clusters: clusters.Opener{Cloud: d.Aliyun}, Parts: d.Runs, Now: d.Now}
}

// Part names the row that holds the definition of the spec's i-th index.
func Part(i int) string { return fmt.Sprintf("definition/%05d", i) }

// Up reads and judges; it may be repeated at will.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if !r.Spec.Copies() {
		r.Facts.Survey = &facts.Survey{}
		return engine.Done(), nil
	}
	side := clusters.Source(r)
	c, err := s.Clusters.Open(ctx, side)
	if err != nil {
		return engine.Outcome{}, err
	}
	var fs events.Findings
	unrefreshable, err := privileges(ctx, c, r, side, &fs)
	if err != nil {
		return engine.Outcome{}, clusters.Explain(err, side)
	}
	if len(fs) > 0 { // what follows would only fail for want of them
		return engine.Outcome{}, fs.Problem("survey", nil)
	}
	version, red, err := condition(ctx, c, &fs)
	if err != nil {
		return engine.Outcome{}, clusters.Explain(err, side)
	}
	limits, err := c.Limits(ctx)
	if err != nil {
		return engine.Outcome{}, clusters.Explain(err, side)
	}
	out := &facts.Survey{Version: version, MaxKeepAlive: limits.MaxKeepAlive, MaxScrolls: limits.MaxScrolls}
	if was := r.Facts.Survey; was != nil { // later walks go on with the same
		out.Chosen, out.Passed = was.Chosen, was.Passed
	} else if r.Spec.Patterned() {
		if out.Chosen, out.Passed, err = choose(ctx, c, r.Spec, &fs); err != nil {
			return engine.Outcome{}, clusters.Explain(err, side)
		}
		if err := fs.Problem("survey", r.Spec.AcceptRisks); err != nil {
			return engine.Outcome{}, err
		}
		if len(out.Passed) > 0 {
			r.Note(s.Now(), r.Cursor.Step, "passed over", strings.Join(out.Passed, ", "))
		}
	}
	var unread error // what a red cluster does not answer
	for i, ix := range out.Of(r.Spec) {
		found, def, err := look(ctx, c, out.Entry(r.Spec, i), named(r.Spec, out, i), ix, refreshable(r.Spec, out, i, unrefreshable), &fs)
		if red && apierr.ClassOf(err) == apierr.Retry {
			unread = err
			continue
		}
		if err != nil {
			return engine.Outcome{}, clusters.Explain(err, side)
		}
		if found == nil {
			continue
		}
		if err := s.Parts.PutPart(ctx, r.ID, Part(i), def); err != nil {
			return engine.Outcome{}, err
		}
		out.Indices = append(out.Indices, *found)
	}
	if err := fs.Problem("survey", r.Spec.AcceptRisks); err != nil {
		return engine.Outcome{}, err
	}
	if unread != nil {
		return engine.Outcome{}, clusters.Explain(unread, side)
	}
	out.At = s.Now()
	r.Facts.Survey = out
	return engine.Done(), nil
}

// condition is the source's version, and whether some of its documents cannot be
// read, which is a finding.
func condition(ctx context.Context, c *es.Client, fs *events.Findings) (version string, red bool, err error) {
	if version, err = c.Version(ctx); err != nil {
		return "", false, err
	}
	h, err := c.Health(ctx)
	if err != nil {
		return "", false, err
	}
	if red = h.Status == "red"; red {
		fs.AddRisk("not-green", "target.instanceId", "the source cluster is red: some of its documents cannot be read", "make it green first")
	}
	return version, red, nil
}

// privileges asks for what reading needs: monitor for the version and the
// statistics, read for the documents, view_index_metadata for the definition. It
// returns the names, of indices or patterns, that the user may not refresh.
func privileges(ctx context.Context, c *es.Client, r *run.Run, side clusters.Side, fs *events.Findings) (unrefreshable []string, err error) {
	needs := es.Needs{Cluster: []string{"monitor"}, Index: map[string][]string{}}
	for _, ix := range r.Spec.Indices {
		names := ix.Include // all of a pattern: what the user cannot see would be left out unnoticed
		if len(names) == 0 {
			names = events.Patterns{ix.Source}
		}
		for _, name := range names {
			needs.Index[name] = []string{"read", "monitor", "view_index_metadata", refreshing}
		}
	}
	missing, err := c.Missing(ctx, needs)
	missing, unrefreshable = optional(missing)
	for _, m := range missing {
		fs.Add(side.Field, "the user of secret "+side.Secret+" lacks the privilege "+m+" on "+side.Cluster.InstanceID, "grant it to one of the user's roles")
	}
	return unrefreshable, err
}

// named is the field by which the spec names the i-th index.
func named(s events.Spec, f *facts.Survey, i int) string {
	if s.Patterned() && len(s.Indices[f.Chosen[i].Entry].Include) > 0 {
		return "include"
	}
	return "source"
}

// refreshable reports whether the user may refresh the i-th index: all that its entry
// in the spec names.
func refreshable(s events.Spec, f *facts.Survey, i int, not []string) bool {
	entry := i
	if s.Patterned() {
		entry = f.Chosen[i].Entry
	}
	return !slices.ContainsFunc(not, func(name string) bool {
		return name == s.Indices[entry].Source || slices.Contains(s.Indices[entry].Include, name)
	})
}

func look(ctx context.Context, c *es.Client, entry, by string, ix events.Index, refreshable bool, fs *events.Findings) (*facts.SurveyedIndex, es.Definition, error) {
	field := entry + "." + by
	def, err := c.Definition(ctx, ix.Source)
	switch {
	case apierr.IsNotFound(err):
		fs.Add(field, "there is no index "+ix.Source, "check its spelling, or create it")
		return nil, def, nil
	case errors.Is(err, es.ErrTooLarge):
		fs.Add(field, "the definition of "+ix.Source+" has more than the 24 MB that are read of one", "move this index with a snapshot instead, or copy it with fewer fields")
		return nil, def, nil
	case es.IsAlias(err):
		fs.Add(field, ix.Source+" is an alias", "name the index behind it")
		return nil, def, nil
	case err != nil:
		return nil, def, err
	}
	if why := es.SourceIncomplete(def.Mappings); why != "" {
		fs.Add(field, ix.Source+" "+why+", so _reindex cannot copy whole documents", "move this index with a snapshot instead")
	}
	// A closed index is read by neither _stats nor a search.
	stats, err := c.Stats(ctx, ix.Source)
	if es.IsClosed(err) {
		fs.Add(field, ix.Source+" is closed", "open it")
		return nil, def, nil
	}
	if err != nil {
		return nil, def, err
	}
	refresh, err := es.Setting(def.Settings, "refresh_interval")
	if err != nil {
		return nil, def, fmt.Errorf("index %s: %w", ix.Source, err)
	}
	found := &facts.SurveyedIndex{Source: ix.Source, Dest: ix.Dest, Bytes: stats.Bytes, MaxSeqNo: stats.MaxSeqNo, ShardSeqNos: stats.ShardSeqNos,
		State: stats.State(), Aliases: slices.Sorted(maps.Keys(def.Aliases)), Refresh: refresh, Refreshable: refreshable}
	if found.MaxPage, err = es.MaxPageOf(def.Settings); err != nil {
		return nil, def, fmt.Errorf("index %s: max_result_window: %w", ix.Source, err)
	}
	if err := show(ctx, c, found); err != nil { // once the numbers are read: what they count is searched later
		return nil, def, err
	}
	found.Total, err = c.Count(ctx, ix.Source, nil)
	if err != nil {
		return nil, def, err
	}
	found.Documents = found.Total
	if len(ix.Query) > 0 {
		found.Documents, err = c.Count(ctx, ix.Source, ix.Query)
		if es.IsBadRequest(err) || es.IsNotImplemented(err) {
			fs.Add(entry+".query", "the source refuses it: "+es.Reason(err), "correct the query")
			return nil, def, nil
		}
		if err != nil {
			return nil, def, err
		}
	}
	if found.Analyzers, err = es.ForeignAnalyzers(def.Mappings, def.Settings); err != nil {
		return nil, def, fmt.Errorf("index %s: %w", ix.Source, err)
	}
	return found, def, nil
}

// Down has nothing to take back.
func (s *Step) Down(context.Context, *run.Run) (engine.Outcome, error) { return engine.Done(), nil }
