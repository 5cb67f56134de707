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
	return map[string]string{"refresh_interval": "-1", "number_of_replicas": "0", "translog.durability": "async",
		"translog.flush_threshold_size": fmt.Sprintf("%db", flush)}
}

const (
	intended = "intended"
	set      = "set"
)

// beforeRow has the settings of a destination as they were.
func beforeRow(index string) string { return "settings-before/" + index }

// loads reports whether the i-th index gets settings for the load: one that this
// run created, since others are in use, and so large that they matter.
func (c *Copy) loads(i int) bool {
	d := c.run.Facts.Destination
	return d != nil && i < len(d.Indices) && d.Indices[i].Created && c.run.Facts.Survey.Indices[i].Documents >= c.Split.From && !Copied(c.run, i)
}

// Prepare notes what the settings of the destinations are, before they are
// changed, and reports whether Load is to change any. The note must be saved
// before that.
func (c *Copy) Prepare(ctx context.Context) (bool, error) {
	due := false
	for i := range c.run.Indices() {
		if !c.loads(i) || c.run.Facts.Destination.Indices[i].Load != "" {
			continue
		}
		d := &c.run.Facts.Destination.Indices[i]
		def, err := c.client.Definition(ctx, d.Name)
		if err != nil {
			return false, err
		}
		before, err := settings(def.Settings)
		if err != nil {
			return false, fmt.Errorf("index %s: %w", d.Name, err)
		}
		if err := c.Rows.PutPart(ctx, c.run.ID, beforeRow(d.Name), before); err != nil {
			return false, err
		}
		d.Load, due = intended, true
	}
	return due, nil
}

// settings are those of forLoad as an index has them; nil stands for a default.
func settings(raw json.RawMessage) (map[string]*string, error) {
	out := map[string]*string{}
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

// Load changes the settings that Prepare noted. A user who may not is no reason
// to stop: it takes longer.
func (c *Copy) Load(ctx context.Context) error {
	for _, d := range destinations(c.run) {
		if d.Load != intended {
			continue
		}
		change := map[string]*string{}
		for name, value := range forLoad(c.surveyed(d.Name)) {
			change[name] = &value
		}
		err := c.client.PutSettings(ctx, d.Name, change)
		switch {
		case es.IsForbidden(err):
			d.Load = ""
			c.run.Note(c.Now(), c.run.Cursor.Step, "copying as it is", "the settings of "+d.Name+" may not be changed for the load: the user lacks the privilege manage on it")
			continue
		case err != nil:
			return err
		}
		d.Load = set
	}
	return nil
}

// surveyed is the source of a destination, as it was surveyed; empty for one of an
// earlier generation.
func (c *Copy) surveyed(dest string) facts.SurveyedIndex {
	for _, ix := range c.run.Facts.Survey.Indices {
		if ix.Dest == dest {
			return ix
		}
	}
	return facts.SurveyedIndex{}
}

// loaded reports whether t writes to an index with settings for the load.
func (c *Copy) loaded(t *facts.Task) bool {
	return slices.ContainsFunc(destinations(c.run), func(d *facts.DestinationIndex) bool { return d.Name == t.Dest && d.Load != "" })
}

// note notes the nodes' lives, before a task writes what may die with one.
func (c *Copy) note(ctx context.Context, t *facts.Task) (err error) {
	if c.loaded(t) {
		t.Nodes, err = c.client.Lives(ctx)
	}
	return err
}

// atRisk is how long what a task wrote may be lost with a node, and so have to be
// copied again. A flush for each of many short tasks would make as many segments.
const atRisk = time.Minute

// over reports whether t is finished, and what it wrote on disk.
func over(t *facts.Task) bool { return t.Result != nil && t.Nodes == "" }

// secure has what finished tasks wrote on disk: when the last bounded window of an
// index is finished, and before if that takes long. What is finished when a node
// has restarted since it was started is copied again: a task's result may outlive
// its documents.
func (c *Copy) secure(ctx context.Context) error {
	for _, ix := range c.run.Indices() {
		var finished []*facts.Task
		left, oldest := false, c.looked
		for n := range c.run.Facts.Reindex.Tasks {
			t := &c.run.Facts.Reindex.Tasks[n]
			switch {
			case t.Source != ix.Source || t.Dest != ix.Dest || over(t):
			case t.Result == nil:
				left = left || !open(t)
			default:
				finished = append(finished, t)
				if t.Intent.Before(oldest) {
					oldest = t.Intent
				}
			}
		}
		if len(finished) == 0 || left && c.looked.Sub(oldest) < atRisk {
			continue
		}
		if err := c.client.Flush(ctx, ix.Dest); err != nil {
			return err
		}
		lives, err := c.client.Lives(ctx)
		if err != nil {
			return err
		}
		for _, t := range finished {
			if lives == t.Nodes {
				err = c.done(ctx, t, t.Result)
			} else {
				t.Result = nil
				err = c.again(t, "a node of the destination restarted, with documents that were not on its disk yet")
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Restore writes to disk what was loaded, and puts the settings back as they
// were.
func (c *Copy) Restore(ctx context.Context) error {
	for _, d := range destinations(c.run) {
		if d.Load == "" {
			continue
		}
		var before map[string]*string
		if err := c.Rows.GetPart(ctx, c.run.ID, beforeRow(d.Name), &before); err != nil {
			return err
		}
		err := c.client.PutSettings(ctx, d.Name, before)
		if err == nil {
			if err = c.client.Flush(ctx, d.Name); apierr.CodeOf(err) == es.Incomplete {
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

// Preparing reports whether settings are about to be changed, Loading whether any
// are or may be.
func Preparing(r *run.Run) bool { return load(r, func(l string) bool { return l == intended }) }

// Loading is described at Preparing.
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
