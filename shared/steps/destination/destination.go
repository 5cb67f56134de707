// Package destination makes the destination indices as the spec says. An index
// that is there already is used as it is, or refused; nothing in it is deleted.
package destination

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/clusters"
	"eslink/shared/copyjob"
	"eslink/shared/deps"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/facts"
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

// Up looks first and records which indices are absent, then creates those.
//
// Pasts of a create: never sent; sent and its reply lost, or the record not
// saved: the index exists, is empty, and the record says Creating, so it is ours.
// Somebody else was faster: nothing is copied before it is settled whose it is, so
// one with documents is theirs. Deleted by hand since: it is absent and is made
// anew. One that exists while the record says nothing was there before us.
func (s *Step) Up(ctx context.Context, r *run.Run) (engine.Outcome, error) {
	if !r.Spec.Copies() {
		return engine.Done(), nil
	}
	side := clusters.Destination(r)
	c, err := s.Clusters.Open(ctx, side)
	if err != nil {
		return engine.Outcome{}, err
	}
	if r.Generation > 1 && r.Facts.Reindex == nil { // what an earlier one copies would count as held before
		running, err := copyjob.StopStrays(ctx, c, r)
		if err != nil {
			return engine.Outcome{}, clusters.Explain(err, side)
		}
		if running {
			return engine.Wait(5*time.Second, "an earlier copy of this run stops after its current page"), nil
		}
	}
	f := r.Facts.Destination
	if f == nil {
		f = &facts.DestinationFacts{}
		r.Facts.Destination = f
	}
	intended := false
	for i, ix := range r.Indices() {
		if i == len(f.Indices) {
			f.Indices = append(f.Indices, facts.DestinationIndex{Name: ix.Dest})
		}
		fresh, err := s.settle(ctx, c, r, i, &f.Indices[i])
		if err != nil {
			return engine.Outcome{}, clusters.Explain(err, side)
		}
		intended = intended || fresh
	}
	if intended {
		return engine.Soon(0, "creating the destination indices"), nil
	}
	return engine.Done(), nil
}

// settle brings one index a step on and reports whether an intent was noted
// that must be saved before it is acted on.
func (s *Step) settle(ctx context.Context, c *es.Client, r *run.Run, i int, d *facts.DestinationIndex) (intended bool, err error) {
	def, err := c.Definition(ctx, d.Name)
	if err == nil && d.Creating {
		n, err := documents(ctx, c, d.Name)
		if err != nil {
			return false, err
		}
		d.Creating = false
		if n == 0 {
			d.Created, d.UUID = true, def.UUID
		}
	}
	switch {
	case err == nil && d.UUID == def.UUID:
		return false, nil
	case err == nil && r.Indices()[i].Existing == events.Refuse && !r.Facts.Destination.Made(d.Name, def.UUID):
		return false, events.NewProblem(409, "destination", "a destination index exists that is not this run's",
			events.Finding{Field: r.Entry(i) + ".existing", Message: d.Name + " was made by somebody else since the plan", Remedy: "name another dest, delete it, or say reuse"})
	case err == nil: // not ours, or not the one we made
		if d.Before, err = documents(ctx, c, d.Name); err != nil {
			return false, err
		}
		if d.UUID != "" {
			copyjob.Drop(r, d.Name)
		}
		d.Created, d.UUID = false, def.UUID
		return false, nil
	case es.IsAlias(err):
		return false, events.NewProblem(409, "destination", "a destination is an alias",
			events.Finding{Field: r.Entry(i) + ".dest", Message: d.Name + " is an alias since the plan", Remedy: "name an index, or take the alias away, then start again"})
	case !apierr.IsNotFound(err):
		return false, err
	case !d.Creating:
		*d = facts.DestinationIndex{Name: d.Name, Creating: true}
		copyjob.Drop(r, d.Name)
		return true, nil
	}
	err = s.create(ctx, c, r, i)
	if es.Exists(err) {
		return true, nil // another look says whose it is
	}
	if err != nil {
		// A refusal leaves nothing behind; one made by hand later is not ours.
		d.Creating = apierr.ClassOf(err) == apierr.Retry || errors.Is(err, ctx.Err())
		return false, err
	}
	if def, err = c.Definition(ctx, d.Name); err != nil {
		return false, err
	}
	d.Created, d.Creating, d.UUID = true, false, def.UUID
	return false, nil
}

// documents counts all there are, visible yet or not.
func documents(ctx context.Context, c *es.Client, index string) (int64, error) {
	if err := c.Refresh(ctx, index); err != nil {
		return 0, err
	}
	return c.Count(ctx, index, nil)
}

func (s *Step) create(ctx context.Context, c *es.Client, r *run.Run, i int) error {
	ix := r.Indices()[i]
	var source es.Definition
	if err := s.Parts.GetPart(ctx, r.ID, survey.Part(i), &source); err != nil {
		return err
	}
	def := es.Definition{Mappings: ix.Destination.Mappings}
	var inherited json.RawMessage
	switch ix.Destination.MappingsFrom() {
	case "source":
		def.Mappings, inherited = source.Mappings, source.Settings
	case "none":
		def.Mappings = nil
	}
	var err error
	if def.Settings, err = es.CopySettings(inherited, ix.Destination.Settings); err != nil {
		return fmt.Errorf("settings of index %s: %w", ix.Dest, err)
	}
	if ix.Destination.TakesAliases() {
		// With the index, so that there is no past in which it lacks them. Nobody
		// searches through them yet: plan refuses one that leads elsewhere.
		delete(source.Aliases, ix.Dest)
		def.Aliases = source.Aliases
	}
	err = c.Create(ctx, ix.Dest, def)
	if es.IsBadRequest(err) && !es.Exists(err) {
		return events.NewProblem(409, "destination", "a destination index cannot be created",
			events.Finding{Field: r.Entry(i) + ".destination", Message: es.Reason(err), Remedy: "mend the settings or mappings, then start again with the mended spec"})
	}
	return err
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
