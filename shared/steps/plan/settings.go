package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"eslink/events"
	"eslink/shared/apierr"
	"eslink/shared/es"
	"eslink/shared/indexdef"
)

// settings judges those of an index, existing or not, that the server takes and
// that keep it from being written, read or placed. They are flat.
func (j *judgement) settings(ctx context.Context, index, field string, s map[string]json.RawMessage) error {
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if strings.HasPrefix(key, "blocks.") && indexdef.Text(s[key]) == "true" {
			j.fs.Add(field, "index "+index+" has the block "+key+", so that nothing can be copied into it or proved", "lift the block, and set it after the run")
		}
	}
	for _, key := range []string{"default_pipeline", "final_pipeline"} {
		if err := j.pipeline(ctx, index, field, key, indexdef.Text(s[key])); err != nil {
			return err
		}
	}
	if len(j.nodes) > 0 && !slices.ContainsFunc(j.nodes, func(n es.DataNode) bool { return allocates(s, n) }) {
		j.fs.Add(field, fmt.Sprintf("none of the %d data nodes satisfies the allocation rules of index %s", len(j.nodes), index), "leave out routing.allocation, or name nodes of this cluster")
	}
	return nil
}

// pipeline judges one through which an index passes every document.
func (j *judgement) pipeline(ctx context.Context, index, field, key, name string) error {
	if name == "" || name == "_none" {
		return nil
	}
	there, known := j.pipelines[name]
	if !known {
		var err error
		there, err = j.c.HasPipeline(ctx, name)
		if err != nil && apierr.ClassOf(err) == apierr.Retry {
			return err
		}
		if err != nil {
			j.plan.Notes = append(j.plan.Notes, "whether pipeline "+name+" exists cannot be seen: "+es.Reason(err))
			there = true
		}
		j.pipelines[name] = there
	}
	if !there {
		j.fs.Add(field, "the "+key+" of index "+index+" is "+name+", which "+j.r.Spec.InstanceID+" does not have", "create the pipeline first, or leave the setting out")
		return nil
	}
	j.plan.Notes = append(j.plan.Notes, "every document that is copied into "+index+" passes its "+key+" "+name+", which may change it")
	return nil
}

// allocates reports whether rules of an index let a node hold its shards.
func allocates(s map[string]json.RawMessage, n es.DataNode) bool {
	for key, raw := range s {
		rule, ok := strings.CutPrefix(key, "routing.allocation.")
		if !ok || es.Exempt(key) {
			continue
		}
		kind, attribute, ok := strings.Cut(rule, ".")
		value, has := n[attribute]
		text := indexdef.Text(raw)
		if !ok || text == "" || !has && strings.HasPrefix(attribute, "_") { // such as _publish_ip
			continue
		}
		var values events.Patterns
		for v := range strings.SplitSeq(text, ",") {
			values = append(values, strings.TrimSpace(v))
		}
		matches := has && values.Match(value)
		if (kind == "require" || kind == "include") && !matches || kind == "exclude" && matches {
			return false
		}
	}
	return true
}

// place reckons where the shards of a new index go.
func (j *judgement) place(index string, s map[string]json.RawMessage) {
	shards, replicas := number(s["number_of_shards"], 1), number(s["number_of_replicas"], 1)
	if expand := indexdef.Text(s["auto_expand_replicas"]); expand != "" && expand != "false" {
		_, most, _ := strings.Cut(expand, "-")
		replicas = max(0, len(j.nodes)-1)
		if n, err := strconv.Atoi(most); err == nil {
			replicas = min(replicas, n)
		}
	} else if replicas >= len(j.nodes) {
		j.unplaced = append(j.unplaced, index)
	}
	if shards > 0 && replicas >= 0 {
		j.shards += shards * (1 + replicas)
	}
	if most := number(s["routing.allocation.total_shards_per_node"], -1); most > 0 && shards > most*len(j.nodes) {
		j.fs.Add("indices", fmt.Sprintf("index %s has %d shards, and routing.allocation.total_shards_per_node lets %d nodes hold %d", index, shards, len(j.nodes), most*len(j.nodes)),
			"raise total_shards_per_node, or lower number_of_shards")
	}
}

func number(raw json.RawMessage, missing int) int {
	if n, err := strconv.Atoi(indexdef.Text(raw)); err == nil {
		return n
	}
	return missing
}

// cluster judges what the whole cluster forbids or has no room for.
func (j *judgement) cluster(ctx context.Context) error {
	settings, err := j.c.ClusterSettings(ctx)
	if err != nil {
		return err
	}
	for _, key := range []string{"cluster.blocks.read_only", "cluster.blocks.read_only_allow_delete"} {
		if settings.Text(key) == "true" {
			j.fs.Add("instanceId", j.r.Spec.InstanceID+" is read-only: "+key+" is set", "lift that block first")
		}
	}
	if j.shards == 0 {
		return nil
	}
	if settings.Text("cluster.routing.allocation.enable") == "none" {
		j.fs.Add("instanceId", "new shards are not assigned: cluster.routing.allocation.enable is none", "set it to all first")
	}
	limit, err := j.shardLimit(ctx, settings)
	if err != nil {
		return err
	}
	h, err := j.c.Health(ctx)
	if err != nil {
		return err
	}
	if room := limit*h.DataNodes - h.OpenShards(); limit > 0 && j.shards > room {
		j.fs.Add("indices", fmt.Sprintf("the run's indices have %d shards with replicas, and %s has room for %d more (%d of %d are open)", j.shards, j.r.Spec.InstanceID, max(0, room), h.OpenShards(), limit*h.DataNodes),
			"lower number_of_shards or number_of_replicas in indices[].destination.settings, raise cluster.max_shards_per_node, or delete indices")
	}
	return nil
}

// shardLimit is how many shards a data node may hold, or 0 before version 7.
func (j *judgement) shardLimit(ctx context.Context, settings es.Settings) (int, error) {
	if strings.HasPrefix(j.r.Facts.Preflight.Instance.Version, "6.") || strings.HasPrefix(j.r.Facts.Preflight.Instance.Version, "5.") {
		return 0, nil
	}
	const key = "cluster.max_shards_per_node"
	text := settings.Text(key)
	if text == "" {
		nodes, err := j.c.NodeSettings(ctx)
		if err != nil {
			return 0, err
		}
		for _, n := range nodes {
			if text = n.Text(key); text != "" {
				break
			}
		}
	}
	if n, err := strconv.Atoi(text); err == nil {
		return n, nil
	}
	return 1000, nil
}
