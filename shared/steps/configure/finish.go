package configure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"eslink/shared/clusters"
	"eslink/shared/engine"
	"eslink/shared/es"
	"eslink/shared/esconfig"
	"eslink/shared/facts"
	"eslink/shared/run"
)

// finish is Done when the nodes run with what the API says, if the walk has
// written it, and the run's role mappings are as the walk wants them.
func (s *Step) finish(ctx context.Context, r *run.Run, w walk, v view, written bool) (engine.Outcome, error) {
	if r.Facts.Configure == nil {
		r.Facts.Configure = &facts.Configure{}
	}
	if written || len(v.journal.Mappings) > 0 {
		nodes, err := s.Nodes(ctx, r)
		if err != nil {
			return engine.Outcome{}, err
		}
		if written {
			out, err := s.readBack(ctx, r, nodes, v.journal, v.change)
			if err != nil {
				return engine.Outcome{}, clusters.Explain(err, clusters.Destination(r))
			}
			if !out.IsDone() {
				return out, nil
			}
		}
		spec, _ := w.goal()
		if err := s.mapRoles(ctx, r.ID, spec, v.journal, nodes); err != nil {
			return engine.Outcome{}, clusters.Explain(err, clusters.Destination(r))
		}
	}
	v.journal.Ours = v.change.Then
	if err := v.journal.Save(ctx, nil); err != nil {
		return engine.Outcome{}, err
	}
	return engine.Done(), nil
}

// readBack is Done when the nodes run with what the API says.
func (s *Step) readBack(ctx context.Context, r *run.Run, nodes Nodes, journal *esconfig.Journal, c esconfig.Change) (engine.Outcome, error) {
	f := r.Facts.Configure
	settings, err := nodes.NodeSettings(ctx)
	if err != nil {
		return engine.Outcome{}, err
	}
	differ := unlike(settings, c, journal.Ours)
	if len(differ) == 0 && len(settings) > 0 {
		f.Unlike = time.Time{}
		return engine.Done(), nil
	}
	if f.Unlike.IsZero() {
		f.Unlike = s.Now()
	}
	text := fmt.Sprintf("cluster %s is active, but nodes do not run with the configuration that was written: %s", r.Spec.InstanceID, list(differ))
	if s.Now().Sub(f.Unlike) > unlikeFor {
		f.Unlike = time.Time{}
		return engine.Outcome{}, errors.New(text + ": restart the cluster in its console, then retry")
	}
	return engine.Wait(minWait, text), nil
}

// unlike lists, by node, what a node does not run with. Nodes show some settings
// only: an entry, Watcher, and a realm's order. These tell that they have
// restarted.
func unlike(nodes map[string]es.Settings, c esconfig.Change, ours esconfig.Ours) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		has := nodes[name]
		var keys []string
		entries := slices.DeleteFunc(append(slices.Clone(ours.Entries), c.Want.Entry), func(e string) bool { return e == "" })
		whitelist := has.List(esconfig.Whitelist)
		if slices.ContainsFunc(entries, func(e string) bool { return slices.Contains(whitelist, e) != (e == c.Want.Entry) }) {
			keys = append(keys, esconfig.Whitelist)
		}
		for key, set := range ours.Settings {
			if _, wanted := c.Want.Settings[key]; !wanted && shown(key) && has.Text(key) == set.After && c.Next[key] != set.After {
				keys = append(keys, key)
			}
		}
		for key, value := range c.Want.Settings {
			if shown(key) && has.Text(key) != value {
				keys = append(keys, key)
			}
		}
		if len(keys) > 0 {
			slices.Sort(keys)
			out = append(out, name+" ("+list(keys)+")")
		}
	}
	return out
}

func shown(key string) bool {
	return key == esconfig.WatcherEnabled || strings.HasPrefix(key, esconfig.Realms) && strings.HasSuffix(key, ".order")
}
