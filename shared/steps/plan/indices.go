package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/facts"
	"eslink/shared/indexdef"
	"eslink/shared/run"
	"eslink/shared/steps/survey"
)

// judgement is what is known of the destination indices while they are judged.
type judgement struct {
	step *Step
	c    *es.Client
	r    *run.Run
	plan *run.Plan
	fs   *events.Findings

	templates es.Templates
	nodes     []es.DataNode
	analyzers map[string]bool // that the instance has, or lacks
	pipelines map[string]bool
	dropped   map[string][]facts.DroppedSetting
	shards    int      // that the run adds, replicas included
	unplaced  []string // indices with more copies than nodes
	untried   string   // why no index can be simulated; "": it can
}

// judgeIndices looks at each destination index and says everything that would
// stop its creation, its load or its proof.
func (s *Step) judgeIndices(ctx context.Context, c *es.Client, r *run.Run, p *run.Plan, fs *events.Findings) error {
	j := &judgement{step: s, c: c, r: r, plan: p, fs: fs, analyzers: map[string]bool{}, pipelines: map[string]bool{}, dropped: map[string][]facts.DroppedSetting{}}
	var err error
	if j.templates, err = c.Templates(ctx); err != nil {
		return err
	}
	if j.nodes, err = c.DataNodes(ctx); err != nil {
		return err
	}
	for i := range r.Indices() {
		if err := j.index(ctx, i); err != nil {
			return err
		}
	}
	if len(j.unplaced) > 0 {
		fs.AddRisk("unassigned-replicas", "indices", fmt.Sprintf("%d data nodes cannot hold all copies of %s: replicas stay unassigned, and the cluster is yellow", len(j.nodes), firsts(j.unplaced)),
			"set number_of_replicas in indices[].destination.settings lower")
	}
	if j.untried != "" {
		p.Notes = append(p.Notes, "the indices' definitions are not tried before they are created: "+j.untried)
	}
	p.NotCarriedOver = indexdef.Summary(j.dropped)
	return j.cluster(ctx)
}

// index judges the i-th destination.
func (j *judgement) index(ctx context.Context, i int) error {
	ix := j.r.Indices()[i]
	var source es.Definition
	if err := j.step.Rows.GetPart(ctx, j.r.ID, survey.Part(i), &source); err != nil {
		return err
	}
	def, err := j.c.Definition(ctx, ix.Dest)
	switch {
	case es.IsAlias(err):
		j.fs.Add(j.r.Entry(i)+".dest", ix.Dest+" is an alias at the destination", "name an index")
		return nil
	case err == nil && !j.r.Facts.Destination.Made(ix.Dest, def.UUID):
		return j.existing(ctx, i, source, def)
	case err != nil && !apierr.IsNotFound(err):
		return err
	}
	w, werr := indexdef.Of(ix, source, j.templates)
	if werr != nil {
		return werr
	}
	j.dropped[ix.Dest] = w.Dropped
	if err == nil { // the run has made it
		return nil
	}
	return j.create(ctx, i, w)
}

// create judges an index that does not exist.
func (j *judgement) create(ctx context.Context, i int, w indexdef.Wanted) error {
	ix := j.r.Indices()[i]
	if w.Template.DataStream {
		j.fs.Add(j.r.Entry(i)+".dest", fmt.Sprintf("index template %s of %s makes data streams only of such names, so index %s cannot be created", w.Template.Names[0], j.r.Spec.InstanceID, ix.Dest),
			"name another dest, or take that name out of the template's patterns")
		return nil
	}
	if err := judgeAliases(ctx, j.c, j.r, i, j.fs); err != nil {
		return err
	}
	if err := j.joins(ctx, i, w); err != nil {
		return err
	}
	whole, err := es.Flatten(w.Whole.Settings)
	if err != nil {
		return err
	}
	if err := j.settings(ctx, ix.Dest, j.r.Entry(i)+".destination.settings", whole); err != nil {
		return err
	}
	j.place(ix.Dest, whole)
	lacks, err := j.lacksAnalyzer(ctx, i)
	if lacks || err != nil {
		return err // the server would say the same
	}
	return j.try(ctx, i, w, whole)
}

// joins says what templates add to a copy.
func (j *judgement) joins(ctx context.Context, i int, w indexdef.Wanted) error {
	ix, lines := j.r.Indices()[i], []string{}
	for _, name := range w.Aliases {
		behind, err := j.c.Behind(ctx, name)
		if err != nil {
			return err
		}
		line := "alias " + name
		for index := range behind {
			line += ", which leads to " + index + " already"
			break
		}
		lines = append(lines, line)
	}
	if ix.Destination.MappingsFrom() == "source" {
		lines = append(lines, w.Joins...)
	} else if len(w.Joins) > 0 {
		j.plan.Notes = append(j.plan.Notes, fmt.Sprintf("index %s gets from template %s: %s", ix.Dest, strings.Join(w.Template.Names, " and "), firsts(w.Joins)))
	}
	if len(lines) > 0 {
		j.fs.AddRisk(events.TemplatesRisk, j.r.Entry(i)+".dest", fmt.Sprintf("template %s of %s joins in when index %s is created: %s", strings.Join(w.Template.Names, " and "), j.r.Spec.InstanceID, ix.Dest, firsts(lines)),
			"name another dest, or take that name out of the template's patterns")
	}
	return nil
}

// lacksAnalyzer says which analyzers an index needs that the instance lacks: one
// must not be replaced, since searches would change silently.
func (j *judgement) lacksAnalyzer(ctx context.Context, i int) (bool, error) {
	ix, lacks := j.r.Indices()[i], false
	names, err := analyzers(j.r, i)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		ok, tried := j.analyzers[name]
		if !tried {
			if ok, err = j.c.HasAnalyzer(ctx, name); err != nil {
				return false, err
			}
			j.analyzers[name] = ok
		}
		if !ok {
			lacks = true
			j.fs.Add(j.r.Entry(i), fmt.Sprintf("index %s needs the analyzer %s, which the instance lacks", ix.Source, name),
				"install its plugin on the instance, or give mappings without it in indices[].destination.mappings")
		}
	}
	return lacks, nil
}

// try has the server judge the definition. Where it does not, what can be known
// here is judged.
func (j *judgement) try(ctx context.Context, i int, w indexdef.Wanted, whole map[string]json.RawMessage) error {
	ix := j.r.Indices()[i]
	field, remedy := j.r.Entry(i)+".destination", "correct destination.settings or destination.mappings; a null among the settings leaves one of the source's out"
	if j.untried == "" {
		err := j.c.Simulate(ctx, ix.Dest, indexdef.Priority(j.templates), w.Whole)
		switch {
		case err == nil:
			return nil
		case es.IsBadRequest(err):
			j.fs.Add(field, j.r.Spec.InstanceID+" refuses index "+ix.Dest+": "+es.RootReason(err), remedy)
			return nil
		case es.IsForbidden(err):
			j.untried = "the user of secret " + j.r.Spec.Secrets.Instance + " lacks the privilege manage_index_templates"
		case apierr.ClassOf(err) == apierr.Retry:
			return err
		default:
			j.untried = "the cluster does not simulate indices (" + es.RootReason(err) + ")"
		}
	}
	for _, why := range indexdef.Faults(whole, w.Whole.Mappings) {
		j.fs.Add(field, "index "+ix.Dest+" cannot be created: "+why, remedy)
	}
	return nil
}

// existing lets an index that somebody else made be written if the spec does, and
// if it takes what the copy brings.
func (j *judgement) existing(ctx context.Context, i int, source, def es.Definition) error {
	ix := j.r.Indices()[i]
	if ix.Existing == events.Refuse {
		j.fs.Add(j.r.Entry(i)+".existing", "index "+ix.Dest+" exists on "+j.r.Spec.InstanceID+", and the spec refuses to reuse it", "name another dest, delete it, or say reuse")
		return nil
	}
	mappings := ix.Destination.Mappings
	switch ix.Destination.MappingsFrom() {
	case "source":
		mappings = source.Mappings
		kept, err := indexdef.Kept(source.Settings, def.Settings)
		if err != nil {
			return err
		}
		j.dropped[ix.Dest] = kept
	case "none":
		mappings = nil
	}
	conflicts, err := es.Conflicts(mappings, def.Mappings)
	if err != nil {
		return fmt.Errorf("index %s: %w", ix.Dest, err)
	}
	for _, c := range conflicts[:min(10, len(conflicts))] {
		j.fs.Add(j.r.Entry(i)+".dest", fmt.Sprintf("field %s of index %s is of type %s, and of type %s in what is copied", c.Field, ix.Dest, c.Dest, c.Source),
			"name another dest, or recreate that index with the source's mappings")
	}
	if more := len(conflicts) - 10; more > 0 {
		j.fs.Add(j.r.Entry(i)+".dest", fmt.Sprintf("%d more fields of index %s are of other types", more, ix.Dest), "name another dest")
	}
	flat, err := es.Flatten(def.Settings)
	if err != nil {
		return err
	}
	return j.settings(ctx, ix.Dest, j.r.Entry(i)+".dest", flat)
}

func analyzers(r *run.Run, i int) ([]string, error) {
	d := r.Indices()[i].Destination
	var mappings json.RawMessage
	var inherited []string
	switch d.MappingsFrom() {
	case "source":
		inherited = r.Facts.Survey.Indices[i].Analyzers
	case "none":
	default:
		mappings = d.Mappings
	}
	given, err := es.ForeignAnalyzers(mappings, d.Settings)
	if err != nil {
		return nil, fmt.Errorf("%s.destination: %w", r.Entry(i), err)
	}
	return append(given, inherited...), nil
}

// firsts are the first ten of a list, and how many more there are.
func firsts(list []string) string {
	const named = 10
	if len(list) <= named {
		return strings.Join(list, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(slices.Clone(list[:named]), "; "), len(list)-named)
}
