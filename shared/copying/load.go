package copying

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/run"
)

// forLoad are settings with which an index takes documents faster, about half as
// fast again: nothing is made visible, copied to replicas or forced to disk on the
// way. A node that dies loses what it wrote last, so a task is done only once that
// is on disk.
var forLoad = map[string]string{"refresh_interval": "-1", "number_of_replicas": "0", "translog.durability": "async"}

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
	for name := range forLoad {
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
		for name, value := range forLoad {
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

// loaded reports whether t writes to an index with settings for the load.
func (c *Copy) loaded(t *run.Task) bool {
	return slices.ContainsFunc(destinations(c.run), func(d *run.DestinationIndex) bool { return d.Name == t.Dest && d.Load != "" })
}

// note notes the nodes' lives, before a task writes what may die with one.
func (c *Copy) note(ctx context.Context, t *run.Task) (err error) {
	if c.loaded(t) {
		t.Nodes, err = c.client.Lives(ctx)
	}
	return err
}

// onDisk has what a finished task wrote on disk, and reports whether that is all of
// it: whether no node has restarted since it was started. A task's result may
// outlive its documents.
func (c *Copy) onDisk(ctx context.Context, t *run.Task) (bool, error) {
	if t.Nodes == "" {
		return true, nil
	}
	// Those that are over were so before the first of them was seen to be.
	if !c.flushed[t.Dest] {
		if err := c.client.Flush(ctx, t.Dest); err != nil {
			return false, err
		}
		c.flushed[t.Dest] = true
	}
	lives, err := c.client.Lives(ctx)
	return lives == t.Nodes, err
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
			err = c.client.Flush(ctx, d.Name)
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
	return slices.ContainsFunc(destinations(r), func(d *run.DestinationIndex) bool { return is(d.Load) })
}

// destinations are those of this generation and of earlier ones, whose copy may
// have been cancelled.
func destinations(r *run.Run) (out []*run.DestinationIndex) {
	if r.Facts.Destination == nil {
		return nil
	}
	for _, list := range [][]run.DestinationIndex{r.Facts.Destination.Indices, r.Facts.Destination.Earlier} {
		for i := range list {
			out = append(out, &list[i])
		}
	}
	return out
}
