package plan

import (
	"context"
	"maps"
	"slices"

	"eslink/events"
	"eslink/shared/clusters"
	"eslink/shared/es"
	"eslink/shared/run"
)

// aliases are what the spec's i-th destination gets from its source. One that is
// the destination's own name is no alias there.
func aliases(r *run.Run, i int) []string {
	if !r.Indices()[i].Destination.TakesAliases() {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.Facts.Survey.Indices[i].Aliases), func(name string) bool { return name == r.Indices()[i].Dest })
}

// judgeAliases wants the privilege to make them, and that nobody uses them yet:
// a search through one that leads elsewhere would find the copy, too.
func judgeAliases(ctx context.Context, c *es.Client, r *run.Run, i int, fs *events.Findings) error {
	names, dest := aliases(r, i), r.Indices()[i].Dest
	if len(names) == 0 {
		return nil
	}
	const remedy = "say none in indices[].destination.aliases, or "
	side := clusters.Destination(r)
	needs := es.Needs{Index: map[string][]string{dest: {"manage"}}}
	for _, name := range names {
		needs.Index[name] = []string{"manage"}
	}
	missing, err := c.Missing(ctx, needs)
	if err != nil {
		return err
	}
	for _, m := range missing {
		fs.Add(side.Field, "the user of secret "+side.Secret+" lacks the privilege "+m+", which making aliases takes", remedy+"grant it to one of the user's roles")
	}
	if len(missing) > 0 {
		return nil
	}
	field := r.Entry(i) + ".destination.aliases"
	for _, name := range names {
		if slices.ContainsFunc(r.Indices(), func(ix events.Index) bool { return ix.Dest == name }) {
			fs.Add(field, name+" is an alias of the source and a dest of the spec", remedy+"name another dest")
			continue
		}
		behind, err := c.Behind(ctx, name)
		if err != nil {
			return err
		}
		for _, index := range slices.Sorted(maps.Keys(behind)) {
			if !r.Facts.Destination.Made(index, behind[index]) {
				fs.Add(field, "the source's alias "+name+" leads to index "+index+" at the destination already", remedy+"remove it there first")
				break
			}
		}
	}
	return nil
}
