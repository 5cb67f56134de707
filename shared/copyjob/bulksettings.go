package copyjob

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// forLoad are settings with which an index takes documents faster, about half as
// fast again: nothing is made visible, copied to replicas or forced to disk on the
// way. A node that dies loses what it wrote last, so a task is done only once that
// is on disk. So that this does not take long in the end, when a node has nothing
// else to do but writes one shard after the other, a shard is flushed whenever it
// has grown by about a quarter, from 32 MB on and by Elasticsearch's own 512 MB at
// most.
func forLoad(ix facts.SurveyedIndex) map[string]string {
	shard := textShare * ix.Bytes / int64(max(1, len(ix.ShardSeqNos)))
	flush := min(max(shard/4, 32<<20), 512<<20)
	return map[string]string{"refresh_interval": "-1", "number_of_replicas": "0", "auto_expand_replicas": "false", "translog.durability": "async",
		"translog.flush_threshold_size": fmt.Sprintf("%db", flush)}
}

// BulkSettings are those of one run's destinations: notes what they were, changes
// them for the load, and puts them back.
type BulkSettings struct {
	Client *es.Client
	Rows   Rows
	Now    func() time.Time
	Run    *run.Run
	// From is how many documents an index must have for its settings to matter.
	From int64
}

const (
	intended = "intended"
	set      = "set"
)

// beforeRow has the settings of a destination as they were.
func beforeRow(index string) string { return "settings-before/" + index }

// loads reports whether the i-th index gets settings for the load: one that this
// run created, since others are in use, and so large that they matter.
func (b BulkSettings) loads(i int) bool {
	d := b.Run.Facts.Destination
	return d != nil && i < len(d.Indices) && d.Indices[i].Created && b.Run.Facts.Survey.Indices[i].Documents >= b.From && !Copied(b.Run, i)
}

// Prepare notes what the settings of the destinations are, before they are
// changed, and reports whether Apply is to change any. The note must be saved
// before that.
func (b BulkSettings) Prepare(ctx context.Context) (bool, error) {
	due := false
	for i := range b.Run.Indices() {
		if !b.loads(i) || b.Run.Facts.Destination.Indices[i].Load != "" {
			continue
		}
		d := &b.Run.Facts.Destination.Indices[i]
		def, err := b.Client.Definition(ctx, d.Name)
		if err != nil {
			return false, err
		}
		before, err := settings(def.Settings)
		if err != nil {
			return false, fmt.Errorf("index %s: %w", d.Name, err)
		}
		if err := b.Rows.PutPart(ctx, b.Run.ID, beforeRow(d.Name), before); err != nil {
			return false, err
		}
		d.Load, due = intended, true
	}
	return due, nil
}

// besides are settings that would undo those of forLoad, and what they are for the
// load where an index has them: replicas come back by themselves, or are waited for.
var besides = map[string]string{"auto_expand_replicas": "false", "write.wait_for_active_shards": "1"}

// settings are those of forLoad as an index has them; nil stands for a default. Those
// besides are among them if it has them.
func settings(raw json.RawMessage) (map[string]*string, error) {
	out := map[string]*string{}
	for name := range besides {
		text, err := es.Setting(raw, name)
		if err != nil {
			return nil, err
		}
		if text != "" {
			out[name] = &text
		}
	}
	for name := range forLoad(facts.SurveyedIndex{}) {
		text, err := es.Setting(raw, name)
		if err != nil {
			return nil, err
		}
		out[name] = nil
		if text != "" {
			out[name] = &text
		}
	}
	return out, nil
}

// Apply changes the settings that Prepare noted. A user who may not is no reason
// to stop: it takes longer.
func (b BulkSettings) Apply(ctx context.Context) error {
	for _, d := range destinations(b.Run) {
		if d.Load != intended {
			continue
		}
		change := map[string]*string{}
		for name, value := range forLoad(b.sourceOf(d.Name)) {
			change[name] = &value
		}
		var before map[string]*string
		if err := b.Rows.GetPart(ctx, b.Run.ID, beforeRow(d.Name), &before); err != nil {
			return err
		}
		for name, value := range besides {
			if _, ok := before[name]; ok {
				change[name] = &value
			}
		}
		err := b.Client.PutSettings(ctx, d.Name, change)
		switch {
		case es.IsForbidden(err):
			d.Load = ""
			b.Run.Note(b.Now(), b.Run.Cursor.Step, "copying as it is", "the settings of "+d.Name+" may not be changed for the load: the user lacks the privilege manage on it")
			continue
		case err != nil:
			return err
		}
		d.Load = set
	}
	return nil
}

// sourceOf is the source of a destination, as it was surveyed; empty for one of an
// earlier generation.
func (b BulkSettings) sourceOf(dest string) facts.SurveyedIndex {
	for _, ix := range b.Run.Facts.Survey.Indices {
		if ix.Dest == dest {
			return ix
		}
	}
	return facts.SurveyedIndex{}
}

// Restore writes to disk what was loaded, and puts the settings back as they
// were.
func (b BulkSettings) Restore(ctx context.Context) error {
	for _, d := range destinations(b.Run) {
		if d.Load == "" {
			continue
		}
		var before map[string]*string
		if err := b.Rows.GetPart(ctx, b.Run.ID, beforeRow(d.Name), &before); err != nil {
			return err
		}
		err := b.Client.PutSettings(ctx, d.Name, before)
		if err == nil {
			if err = b.Client.Flush(ctx, d.Name); apierr.CodeOf(err) == es.Incomplete {
				err = nil // replicas are on their way; and secure has seen to what counts
			}
		}
		if err != nil && !apierr.IsNotFound(err) {
			return err
		}
		d.Load = ""
	}
	return nil
}

// Preparing reports whether settings are about to be changed.
func Preparing(r *run.Run) bool { return load(r, func(l string) bool { return l == intended }) }

// Loading reports whether any are changed, or may be.
func Loading(r *run.Run) bool { return load(r, func(l string) bool { return l != "" }) }

func load(r *run.Run, is func(string) bool) bool {
	return slices.ContainsFunc(destinations(r), func(d *facts.DestinationIndex) bool { return is(d.Load) })
}

// destinations are those of this generation and of earlier ones, whose copy may
// have been cancelled.
func destinations(r *run.Run) (out []*facts.DestinationIndex) {
	if r.Facts.Destination == nil {
		return nil
	}
	for _, list := range [][]facts.DestinationIndex{r.Facts.Destination.Indices, r.Facts.Destination.Earlier} {
		for i := range list {
			out = append(out, &list[i])
		}
	}
	return out
}
