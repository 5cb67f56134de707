// Package destination makes the destination indices as the spec says. An index
// that is there already is used as it is, or refused; nothing in it is deleted.
package destination

import (
	"context"
	"errors"
	"slices"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/copyjob"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/indexdef"
	"eslink/shared/run"
	"eslink/shared/steps/survey"
)

type opener interface {
	Open(ctx context.Context, s clusters.Side) (*es.Client, error)
}

type parts interface {
	GetPart(ctx context.Context, runID, name string, v any) error
}

// Step is the step destination. It runs in the instance's VPC.
type Step struct {
	Clusters opener
	Parts    parts
}

// New returns the step.
func New(d deps.Deps) engine.Step {
	return &Step{Clusters: clusters.Opener{Cloud: d.Aliyun}, Parts: d.Runs}
}

// Up looks first and records which indices are absent, then creates those and
// reads them back.
//
// Possible prior states of a create: never sent; sent and its reply lost, or the
// record not saved: the index exists, is empty, and the record says Creating, so
// it is the run's. Somebody else was faster: nothing is copied before it is settled
// whose it is, so one with documents is theirs. Deleted manually since: it is
// absent and is recreated. One that exists while the record says nothing was there
// before the run.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if !r.Spec.Copies() {
		return engine.Done(), nil
	}
	side := clusters.Destination(r)
	c, err := s.Clusters.Open(ctx, side)
	if err != nil {
		return engine.Outcome{}, err
	}
	f := r.Facts.Destination
	if f == nil {
		f = &facts.DestinationFacts{}
		r.Facts.Destination = f
	}
	w := &walk{step: s, c: c, r: r, dropped: map[string][]facts.DroppedSetting{}}
	if w.templates, err = c.Templates(ctx); err != nil {
		return engine.Outcome{}, clusters.Explain(err, side)
	}
	for i, ix := range r.Indices() {
		if i == len(f.Indices) {
			f.Indices = append(f.Indices, facts.DestinationIndex{Name: ix.Dest})
		}
		if err := w.settle(ctx, i, &f.Indices[i]); err != nil {
			return engine.Outcome{}, clusters.Explain(err, side)
		}
	}
	f.NotCarriedOver = indexdef.Summary(w.dropped)
	if w.intended {
		return engine.Soon(0, "creating the destination indices"), nil
	}
	return engine.Done(), nil
}

// walk is one look at all destination indices.
type walk struct {
	step      *Step
	c         *es.Client
	r         *run.Run
	templates es.Templates
	dropped   map[string][]facts.DroppedSetting
	intended  bool // something was noted that must be saved before it is acted on
}

// settle brings one index a step on.
func (w *walk) settle(ctx context.Context, i int, d *facts.DestinationIndex) error {
	def, err := w.c.Definition(ctx, d.Name)
	switch {
	case err == nil:
		return w.exists(ctx, i, d, def)
	case es.IsAlias(err):
		return events.NewProblem(409, "destination", "a destination is an alias",
			events.Finding{Field: w.r.Entry(i) + ".dest", Message: d.Name + " is an alias since the plan", Remedy: "name an index, or remove the alias, then start again"})
	case !apierr.IsNotFound(err):
		return err
	case !d.Creating:
		*d = facts.DestinationIndex{Name: d.Name, Creating: true}
		copyjob.Drop(w.r, d.Name)
		w.intended = true
		return nil
	}
	return w.create(ctx, i, d)
}

// exists settles whose an index is that is there.
func (w *walk) exists(ctx context.Context, i int, d *facts.DestinationIndex, def es.Definition) error {
	if d.Creating {
		n, err := documents(ctx, w.c, d.Name)
		if err != nil {
			return err
		}
		d.Creating = false
		if n == 0 {
			d.Created, d.UUID = true, def.UUID
		}
	}
	if d.UUID == def.UUID {
		return w.readBack(ctx, i, d, def)
	}
	if w.r.Indices()[i].Existing == events.Refuse && !w.r.Facts.Destination.Made(d.Name, def.UUID) {
		return events.NewProblem(409, "destination", "a destination index exists that is not this run's",
			events.Finding{Field: w.r.Entry(i) + ".existing", Message: d.Name + " was created by somebody else since the plan", Remedy: "name another dest, delete it, or say reuse"})
	}
	before, err := documents(ctx, w.c, d.Name)
	if err != nil {
		return err
	}
	if d.UUID != "" {
		copyjob.Drop(w.r, d.Name)
	}
	d.Before, d.Created, d.AsWanted, d.UUID = before, false, false, def.UUID
	return w.readBack(ctx, i, d, def)
}

// create creates an index and reads it back.
func (w *walk) create(ctx context.Context, i int, d *facts.DestinationIndex) error {
	_, wanted, err := w.wanted(ctx, i)
	if err != nil {
		return err
	}
	err = w.c.Create(ctx, d.Name, wanted.Body)
	switch {
	case es.Exists(err): // another look says whose it is
		w.intended = true
		return nil
	case es.IsBadRequest(err):
		d.Creating = false // a refusal leaves nothing behind; one made manually later is not the run's
		return events.NewProblem(409, "destination", "a destination index cannot be created",
			events.Finding{Field: w.r.Entry(i) + ".destination", Message: es.RootReason(err), Remedy: "correct the settings or mappings, then start again with the corrected spec; a null among destination.settings leaves one of the source's out"})
	case err != nil:
		d.Creating = apierr.ClassOf(err) == apierr.Retry || errors.Is(err, ctx.Err())
		return err
	}
	def, err := w.c.Definition(ctx, d.Name)
	if err != nil {
		return err
	}
	d.Created, d.Creating, d.UUID = true, false, def.UUID
	return w.readBack(ctx, i, d, def)
}

// wanted is with what the i-th index is created.
func (w *walk) wanted(ctx context.Context, i int) (source es.Definition, wanted indexdef.Wanted, err error) {
	if err := w.step.Parts.GetPart(ctx, w.r.ID, survey.Part(i), &source); err != nil {
		return source, wanted, err
	}
	wanted, err = indexdef.Of(w.r.Indices()[i], source, w.templates)
	return source, wanted, err
}

// readBack compares an index that the run created, once, with what was wanted:
// templates may have changed since the plan, and plugins change what they like. Of
// any index it notes what it does not have of its source.
func (w *walk) readBack(ctx context.Context, i int, d *facts.DestinationIndex, def es.Definition) error {
	source, wanted, err := w.wanted(ctx, i)
	if err != nil {
		return err
	}
	w.dropped[d.Name] = wanted.Dropped
	if !d.Created {
		w.dropped[d.Name] = nil
		if w.r.Indices()[i].Destination.MappingsFrom() == "source" {
			w.dropped[d.Name], err = indexdef.Kept(source.Settings, def.Settings)
		}
		return err
	}
	if d.AsWanted {
		return nil
	}
	unlike, err := wanted.Unlike(def)
	if err != nil {
		return err
	}
	var fs events.Findings
	for _, line := range append(unlike, wanted.Unasked()...) {
		fs.AddRisk(events.TemplatesRisk, w.r.Entry(i)+".dest", "index "+d.Name+" was created, and "+line, "correct it or the template that did it, then send retry")
	}
	if len(fs) > 10 {
		fs = fs[:10]
	}
	if p := fs.Problem("destination", w.r.Spec.AcceptRisks); p != nil {
		return events.NewProblem(409, "destination", "a destination index is not as planned", fs...)
	}
	d.AsWanted = true
	return nil
}

// documents counts all there are, visible yet or not.
func documents(ctx context.Context, c *es.Client, index string) (int64, error) {
	if err := c.Refresh(ctx, index); err != nil {
		return 0, err
	}
	return c.Count(ctx, index, nil)
}

// Down deletes what this run created, and only when asked.
func (s *Step) Down(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	f := r.Facts.Destination
	if f == nil || !r.DeleteDestination || r.Facts.Preflight == nil {
		return engine.Done(), nil
	}
	side := clusters.Destination(r)
	c, err := s.Clusters.Open(ctx, side)
	if err != nil {
		return engine.Outcome{}, err
	}
	for _, d := range slices.Concat(f.Indices, f.Earlier) {
		if !d.Created && !d.Creating {
			continue
		}
		def, err := c.Definition(ctx, d.Name)
		if apierr.IsNotFound(err) || es.IsAlias(err) || err == nil && !d.Creating && def.UUID != d.UUID {
			continue // gone, or another index by that name
		}
		n := int64(0)
		if err == nil && d.Creating {
			n, err = documents(ctx, c, d.Name)
		}
		if err == nil && n == 0 { // somebody's, if there are any
			err = c.Delete(ctx, d.Name)
		}
		if err != nil {
			return engine.Outcome{}, clusters.Explain(err, side)
		}
	}
	r.Facts.Destination = nil
	return engine.Done(), nil
}
