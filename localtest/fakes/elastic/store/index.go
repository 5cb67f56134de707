package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
	"eslink/localtest/fakes/elastic/privilege"
)

// create makes an index: what templates say of its name, below its own definition.
func (s *Cluster) create(name string, own definition) (*index.Index, error) {
	if e := s.readOnly(); e != nil {
		return nil, e
	}
	if e := index.CheckIndexName(name); e != nil {
		return nil, e
	}
	if ix, ok := s.Indices[name]; ok {
		return nil, esjson.Fail(400, "resource_already_exists_exception", "index [%s/%s] already exists", name, ix.UUID).With("index_uuid", ix.UUID, "index", name)
	}
	for _, ix := range s.Indices {
		if ix.HasAlias(name) {
			return nil, esjson.Fail(400, "invalid_index_name_exception", "Invalid index name [%s], already exists as alias", name).With("index_uuid", "_na_", "index", name)
		}
	}
	if e := index.CheckIndexSettings(own.settings); e != nil {
		return nil, e
	}
	hidden := own.settings["index.hidden"]
	d, legacy, e := s.templates.compose(name, hidden != nil && *hidden == "true")
	if e != nil {
		return nil, e
	}
	if legacy {
		d.mappings = deepMerge(d.mappings, own.mappings)
	} else if d.mappings, e = mergeFieldsOf(d.mappings, own.mappings); e != nil {
		return nil, e
	}
	d.add(own, name)
	if e := s.roomFor(d.values()); e != nil {
		return nil, e
	}
	if e := s.checkAliases(d.aliases); e != nil {
		return nil, e
	}
	ix, e := s.build(name, d)
	if e != nil {
		return nil, e
	}
	if e := ix.MergeMappingBody(d.mappings); e != nil {
		return nil, e
	}
	if e := s.addAliases(ix, d.aliases); e != nil {
		return nil, e
	}
	s.Indices[name] = ix
	return ix, nil
}

// roomFor refuses more shards than cluster.max_shards_per_node leaves.
func (s *Cluster) roomFor(settings map[string]string) *esjson.Error {
	limit := s.Config.Nodes * esjson.Atoi(s.ClusterSetting("cluster.max_shards_per_node", "1000"), 1000)
	has, more := 0, esjson.Atoi(settings["index.number_of_shards"], 1)*(1+esjson.Atoi(settings["index.number_of_replicas"], 1))
	for _, ix := range s.Indices {
		all, _ := ix.CopiesOf()
		has += len(ix.Shards) * all
	}
	if has+more <= limit {
		return nil
	}
	added, most := "shards", "maximum normal shards"
	if !s.Version.AtLeast(7, 11) {
		added, most = "total shards", "maximum shards"
	}
	return esjson.Fail(400, "validation_exception", "Validation Failed: 1: this action would add [%d] %s, but this cluster currently has [%d]/[%d] %s open;", more, added, has, limit, most)
}

// build is an index of settings alone, which the cluster does not have yet.
func (s *Cluster) build(name string, d definition) (*index.Index, *esjson.Error) {
	ix := &index.Index{S: s.Env, Name: name, UUID: s.NewID("index"), Settings: map[string]string{}, Aliases: map[string]index.Alias{}}
	created := fmt.Sprintf("%d%02d%02d99", s.Version.Major, s.Version.Minor, s.Version.Patch)
	if s.Version.AtLeast(8, 11) {
		created = "8512000" // index versions are no release numbers any more; that of 8.15
	}
	maps.Copy(ix.Settings, map[string]string{
		"index.number_of_shards": "1", "index.number_of_replicas": "1", "index.uuid": ix.UUID, "index.provided_name": name,
		"index.version.created": created, "index.creation_date": strconv.FormatInt(s.Config.Now().UnixMilli(), 10),
	})
	if s.Version.AtLeast(7, 11) {
		ix.Settings["index.routing.allocation.include._tier_preference"] = "data_content"
	}
	maps.Copy(ix.Settings, d.values())
	if e := ix.BuildAnalyzers(); e != nil {
		return nil, e
	}
	ix.Mapping = &index.Mapping{Root: &index.Field{Props: map[string]*index.Field{}}, Source: true}
	for range esjson.Atoi(ix.Settings["index.number_of_shards"], 1) {
		ix.Shards = append(ix.Shards, &index.Shard{Docs: map[string]*index.Doc{}})
	}
	return ix, nil
}

func (c *Call) CreateIndex() (int, any, error) {
	var own definition
	if len(c.Body) > 0 {
		keys, _, err := esjson.Members(c.Body)
		if err != nil {
			return 0, nil, esjson.Fail(400, "parse_exception", "Failed to parse content: %s", err)
		}
		for _, k := range keys {
			if k != "settings" && k != "mappings" && k != "aliases" {
				return 0, nil, esjson.Fail(400, "parse_exception", "unknown key [%s] for create index", k)
			}
		}
		d, e := parseDefinition(c.Body, "create index")
		if e != nil {
			return 0, nil, e
		}
		own = *d
	}
	for alias := range own.aliases {
		// Aliases are made with a privilege of their own, on both names.
		const action = "indices:admin/aliases"
		if e := c.Permit(action, c.Vars["index"], alias); e != nil {
			return 0, nil, c.forbidden(action, "", "index", privilege.Granting(privilege.OnIndices, action))
		}
	}
	wanted, e := c.ActiveShards()
	if e != nil {
		return 0, nil, e
	}
	ix, err := c.S.create(c.Vars["index"], own)
	if err != nil {
		return 0, nil, err
	}
	all, active := ix.CopiesOf()
	needed := ix.Needed(wanted)
	if needed > all {
		delete(c.S.Indices, ix.Name)
		return 0, nil, esjson.Illegal("invalid wait_for_active_shards[%d]: cannot be greater than number of shard copies [%d]", needed, all)
	}
	return 200, esjson.Obj("acknowledged", true, "shards_acknowledged", needed <= active, "index", c.Vars["index"]), nil
}

// autoCreate makes an index for a write, if action.auto_create_index lets it.
func (s *Cluster) autoCreate(name string) (*index.Index, error) {
	if best := s.templates.find(name, false); best != "" {
		if t := s.templates.index[best]; t.autoBuild != nil && !*t.autoBuild {
			return nil, esjson.Fail(http.StatusNotFound, "index_not_found_exception", "no such index [composable template [%s] forbids index auto creation]", strings.Join(t.patterns, ", ")).With("index_uuid", "_na_", "index", name)
		} else if t.autoBuild != nil {
			return s.create(name, definition{})
		}
	}
	rule := s.ClusterSetting("action.auto_create_index", "true")
	refuse := func(format string, args ...any) *esjson.Error {
		return esjson.Fail(http.StatusNotFound, "index_not_found_exception", format, args...).With("index_uuid", "_na_", "index", name)
	}
	if rule == "false" && s.Version.AtLeast(7, 11) {
		return nil, refuse("no such index [%s] and [action.auto_create_index] is [false]", name)
	}
	if rule == "false" {
		return nil, refuse("no such index [%s]", name)
	}
	if rule != "true" {
		allowed := false
		for _, p := range esjson.SplitList(rule) {
			pattern := strings.TrimLeft(p, "+-")
			if !esjson.Wild(pattern, name) {
				continue
			}
			if strings.HasPrefix(p, "-") {
				return nil, refuse("no such index [%s] and [action.auto_create_index] contains [%s] which forbids automatic creation of the index", name, p)
			}
			allowed = true
			break
		}
		if !allowed {
			return nil, refuse("no such index [%s] and [action.auto_create_index] ([%s]) doesn't match", name, rule)
		}
	}
	return s.create(name, definition{})
}

// Resolve finds the indices an expression names: names, aliases, wildcards, and
// exclusions, in the order of their names. Wildcards see what the user may do
// action on. An alias's filter comes with its index, unless the index is named too.
func (c *Call) Resolve(expr, action string) ([]*index.Index, map[*index.Index]json.RawMessage, error) {
	found := resolution{indices: map[string]*index.Index{}, filters: map[*index.Index]json.RawMessage{}}
	// A name may have brackets.
	items := strings.FieldsFunc(expr, func(r rune) bool { return r == ',' })
	if len(items) == 0 || len(items) == 1 && items[0] == "_all" {
		items = []string{"*"}
	}
	for i, item := range items {
		if exclude, ok := strings.CutPrefix(item, "-"); ok && i > 0 {
			maps.DeleteFunc(found.indices, func(name string, _ *index.Index) bool { return esjson.Wild(exclude, name) })
			continue
		}
		any := false
		for _, ix := range c.S.Indices {
			here, e := c.resolveIn(ix, item, action, found)
			if e != nil {
				return nil, nil, e
			}
			any = any || here
		}
		star := strings.Contains(item, "*")
		if !any && (!star && !c.Flag("ignore_unavailable", false) || star && !c.Flag("allow_no_indices", true)) {
			return nil, nil, esjson.NoSuchIndex(item)
		}
	}
	var out []*index.Index
	for _, name := range slices.Sorted(maps.Keys(found.indices)) {
		out = append(out, found.indices[name])
	}
	return out, found.filters, nil
}

// resolution is what an expression has named so far.
type resolution struct {
	indices map[string]*index.Index
	filters map[*index.Index]json.RawMessage
}

// resolveIn adds one index if item names it or one of its aliases.
func (c *Call) resolveIn(ix *index.Index, item, action string, found resolution) (any bool, e *esjson.Error) {
	star := strings.Contains(item, "*")
	hidden := star && !strings.HasPrefix(item, ".") && (strings.HasPrefix(ix.Name, ".") || ix.Settings["index.hidden"] == "true")
	if esjson.Wild(item, ix.Name) && !hidden && (!star || c.User.OnIndex(action, ix.Name)) {
		found.indices[ix.Name], any = ix, true
		delete(found.filters, ix)
	}
	for alias, a := range ix.Aliases {
		if !esjson.Wild(item, alias) || star && !c.User.OnIndex(action, alias) {
			continue
		}
		if a.SearchRouting != "" && strings.HasPrefix(action, "indices:data/read/search") {
			return false, esjson.Unsupported("a search by way of alias [%s], which has a search routing", alias)
		}
		if any = true; found.indices[ix.Name] == nil && len(a.Filter) > 0 {
			found.filters[ix] = a.Filter
		}
		found.indices[ix.Name] = ix
	}
	return any, nil
}

// Named resolves the path's index variable for an action.
func (c *Call) Named(action string) ([]*index.Index, error) {
	list, _, err := c.Resolve(c.Vars["index"], action)
	return list, err
}

func (c *Call) HasIndex() (int, any, error) {
	if _, err := c.Named("indices:admin/get"); err != nil {
		return 404, nil, nil
	}
	return 200, nil, nil
}

func (c *Call) eachIndex(action string, part func(*index.Index) esjson.Object) (int, any, error) {
	list, err := c.Named(action)
	if err != nil {
		return 0, nil, err
	}
	reply := esjson.Obj()
	for _, ix := range list {
		reply = reply.With(ix.Name, part(ix))
	}
	return 200, reply, nil
}

func (c *Call) GetIndex() (int, any, error) {
	return c.eachIndex("indices:admin/get", func(ix *index.Index) esjson.Object {
		return esjson.Obj("aliases", index.AliasesReply(ix.Aliases, "*"), "mappings", ix.Mapping.Reply(), "settings", esjson.SettingsReply(ix.Settings, c.Flag("flat_settings", false)))
	})
}

func (c *Call) GetMapping() (int, any, error) {
	return c.eachIndex("indices:admin/mappings/get", func(ix *index.Index) esjson.Object { return esjson.Obj("mappings", ix.Mapping.Reply()) })
}

func (c *Call) GetSettings() (int, any, error) {
	return c.eachIndex("indices:monitor/settings/get", func(ix *index.Index) esjson.Object {
		shown := maps.Clone(ix.Settings)
		if pattern := c.Vars["name"]; pattern != "" {
			maps.DeleteFunc(shown, func(k, _ string) bool {
				return !slices.ContainsFunc(esjson.SplitList(pattern), func(p string) bool { return esjson.Wild(p, k) })
			})
		}
		return esjson.Obj("settings", esjson.SettingsReply(shown, c.Flag("flat_settings", false)))
	})
}

func (c *Call) DeleteIndex() (int, any, error) {
	if name := c.Vars["index"]; (strings.Contains(name, "*") || name == "_all") && c.S.ClusterSetting("action.destructive_requires_name", strconv.FormatBool(c.S.Version.AtLeast(8, 0))) == "true" {
		return 0, nil, esjson.Illegal("Wildcard expressions or all indices are not allowed")
	}
	list, err := c.Named("indices:admin/delete")
	if err != nil {
		return 0, nil, err
	}
	for _, ix := range list {
		if name := c.Vars["index"]; ix.HasAlias(name) {
			return 0, nil, esjson.Illegal("The provided expression [%s] matches an alias, specify the corresponding concrete indices instead.", name)
		}
		if e := ix.Blocked("delete"); e != nil {
			return 0, nil, e
		}
	}
	for _, ix := range list {
		delete(c.S.Indices, ix.Name)
	}
	return 200, esjson.Obj("acknowledged", true), nil
}

// readOnly is the block on the whole cluster.
func (s *Cluster) readOnly() *esjson.Error {
	switch {
	case s.ClusterSetting("cluster.blocks.read_only", "false") == "true":
		return esjson.Fail(403, "cluster_block_exception", "blocked by: [FORBIDDEN/6/cluster read-only (api)];")
	case s.ClusterSetting("cluster.blocks.read_only_allow_delete", "false") == "true":
		return esjson.Fail(403, "cluster_block_exception", "blocked by: [FORBIDDEN/13/cluster read-only / allow delete (api)];")
	}
	return nil
}

func (c *Call) PutSettings() (int, any, error) {
	list, err := c.Named("indices:admin/settings/update")
	if err != nil {
		return 0, nil, err
	}
	var body any
	if err := c.Json(&body); err != nil {
		return 0, nil, err
	}
	flat := index.IndexKeys(body)
	if e := index.CheckIndexSettings(flat); e != nil {
		return 0, nil, e
	}
	for _, ix := range list {
		for k := range flat {
			if k == "index.number_of_shards" {
				return 0, nil, esjson.Illegal("final %s setting [%s], not updateable", ix.Name, k)
			}
			if !esjson.Known(index.DynamicIndex, k) {
				return 0, nil, esjson.Illegal("Can't update non dynamic settings [[%s]] for open indices [[%s/%s]]", k, ix.Name, ix.UUID)
			}
		}
		onlyBlocks := !slices.ContainsFunc(slices.Collect(maps.Keys(flat)), func(k string) bool { return !strings.HasPrefix(k, "index.blocks.") })
		if e := ix.Blocked("metadata"); e != nil && !onlyBlocks {
			return 0, nil, e
		}
	}
	for _, ix := range list {
		for k, v := range flat {
			if v == nil {
				delete(ix.Settings, k)
			} else {
				ix.Settings[k] = *v
			}
		}
		if ix.Settings["index.number_of_replicas"] == "" {
			ix.Settings["index.number_of_replicas"] = "1"
		}
	}
	return 200, esjson.Obj("acknowledged", true), nil
}

func (c *Call) PutMapping() (int, any, error) {
	list, err := c.Named("indices:admin/mapping/put")
	if err != nil {
		return 0, nil, err
	}
	for _, ix := range list {
		if e := ix.Blocked("metadata"); e != nil {
			return 0, nil, e
		}
		if err := ix.MergeMapping(c.Body); err != nil {
			return 0, nil, err
		}
	}
	return 200, esjson.Obj("acknowledged", true), nil
}

func (c *Call) Refresh() (int, any, error) {
	list, err := c.Named("indices:admin/refresh")
	if err != nil {
		return 0, nil, err
	}
	n, ok := 0, 0
	for _, ix := range list {
		ix.Refresh()
		replicas := esjson.Atoi(ix.Settings["index.number_of_replicas"], 1)
		n, ok = n+len(ix.Shards)*(1+replicas), ok+len(ix.Shards)*min(1+replicas, c.S.Config.Nodes)
	}
	return 200, esjson.Obj("_shards", esjson.Obj("total", n, "successful", ok, "failed", 0)), nil
}

// ResolveIndex lists what an expression matches; with expand_wildcards=all hidden
// indices, too. There are no data streams and no closed indices.
func (c *Call) ResolveIndex() (int, any, error) {
	const action = "indices:admin/resolve/index"
	c.Q.Set("ignore_unavailable", "true") // a name that is not there is no error here
	list, err := c.Named(action)
	if err != nil {
		return 0, nil, err
	}
	items := esjson.SplitNames(c.Vars["index"])
	if c.Q.Get("expand_wildcards") == "all" {
		for name, ix := range c.S.Indices {
			match := slices.ContainsFunc(items, func(item string) bool { return strings.Contains(item, "*") && esjson.Wild(item, name) })
			if match && c.User.OnIndex(action, name) && !slices.Contains(list, ix) {
				list = append(list, ix)
			}
		}
	}
	indices, aliases := []any{}, map[string][]string{}
	slices.SortFunc(list, func(a, b *index.Index) int { return strings.Compare(a.Name, b.Name) })
	for _, ix := range list {
		for alias := range ix.Aliases {
			if slices.ContainsFunc(items, func(item string) bool { return esjson.Wild(item, alias) }) {
				aliases[alias] = append(aliases[alias], ix.Name)
			}
		}
		if !slices.ContainsFunc(items, func(item string) bool { return esjson.Wild(item, ix.Name) }) {
			continue // an alias matches, not the index
		}
		attributes := []string{"open"}
		if ix.Settings["index.hidden"] == "true" {
			attributes = []string{"hidden", "open"}
		}
		one := esjson.Obj("name", ix.Name)
		if len(ix.Aliases) > 0 {
			one = one.With("aliases", slices.Sorted(maps.Keys(ix.Aliases)))
		}
		indices = append(indices, one.With("attributes", attributes))
	}
	named := []any{}
	for _, alias := range slices.Sorted(maps.Keys(aliases)) {
		named = append(named, esjson.Obj("name", alias, "indices", aliases[alias]))
	}
	return 200, esjson.Obj("indices", indices, "aliases", named, "data_streams", []any{}), nil
}
