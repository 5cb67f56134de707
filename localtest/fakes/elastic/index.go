package elastic

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// env is what an index has of its cluster.
type env struct {
	name       string
	version    version
	nodes      int
	now        func() time.Time
	setting    func(key, otherwise string) string // of the cluster
	analyzers  map[string]analyzer
	added      map[string]bool // analyzers of plugins
	generation int             // how often it was started
}

// id makes an identifier as Elasticsearch prints uuids: 22 base64 characters.
func (s *env) id(kind string, n int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", s.name, kind, n))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (s *env) nodeID(n int) string { return s.id("node", int64(n)) }

func (s *env) nodeName(n int) string { return fmt.Sprintf("%s-%d", s.name, n+1) }

func (s *env) identity(index, id string) object {
	if s.version.atLeast(8, 0) {
		return obj("_index", index, "_id", id)
	}
	return obj("_index", index, "_type", "_doc", "_id", id)
}

type index struct {
	s         *env
	name      string
	uuid      string
	settings  map[string]string // flat, "index." included
	mapping   *mapping
	aliases   map[string]alias
	shards    []*shard
	analyzers map[string]analyzer // the index's own
}

// indexSettings are the settings an index may be created with; those of
// dynamicIndex may change later.
var (
	dynamicIndex = []string{
		"index.number_of_replicas", "index.auto_expand_replicas", "index.refresh_interval", "index.blocks.", "index.translog.", "index.max_",
		"index.routing.allocation.", "index.routing.rebalance.", "index.merge.", "index.search.", "index.indexing.", "index.mapping.",
		"index.priority", "index.hidden", "index.gc_deletes", "index.unassigned.", "index.query.", "index.write.", "index.lifecycle.",
		"index.requests.", "index.highlight.", "index.default_pipeline", "index.final_pipeline", "index.warmer.", "index.analyze.",
	}
	indexSettings = append([]string{
		"index.number_of_shards", "index.number_of_routing_shards", "index.analysis.", "index.codec", "index.sort.", "index.similarity.",
		"index.soft_deletes.", "index.store.", "index.routing_partition_size", "index.shard.", "index.format", "index.load_fixed_bitset_filters_eagerly",
	}, dynamicIndex...)
	refusedIndex = []string{"index.routing.allocation.initial_recovery.", "index.merge.enabled"}
	privateIndex = []string{"index.version.created", "index.verified_before_close", "index.allocation.existing_shards_allocator", "index.search.throttled"}
)

// indexKeys flattens settings as requests spell them and gives them their prefix.
func indexKeys(v any) map[string]*string {
	flat := map[string]*string{}
	flatten("", v, flat)
	if inner, ok := v.(map[string]any); ok {
		if s, ok := inner["settings"].(map[string]any); ok {
			flat = map[string]*string{}
			flatten("", s, flat)
		}
	}
	out := map[string]*string{}
	for k, val := range flat {
		out["index."+strings.TrimPrefix(k, "index.")] = val
	}
	return out
}

const maxShards = 1024 // of one index

func checkIndexSettings(flat map[string]*string) *Error {
	for _, k := range slices.Sorted(maps.Keys(flat)) {
		switch {
		case slices.Contains(privateIndex, k):
			return fail(400, "validation_exception", "Validation Failed: 1: private index setting [%s] can not be set explicitly;", k)
		case known(refusedIndex, k) || !known(indexSettings, k):
			return unknownSetting(k)
		}
		if flat[k] == nil {
			continue
		}
		if floor, isNumber := map[string]int{"index.number_of_shards": 1, "index.number_of_replicas": 0, "index.max_result_window": 1}[k]; isNumber {
			n, err := strconv.Atoi(*flat[k])
			if err != nil {
				return illegal("Failed to parse value [%s] for setting [%s]", *flat[k], k)
			}
			if n < floor {
				return illegal("Failed to parse value [%s] for setting [%s] must be >= %d", *flat[k], k, floor)
			}
			if k == "index.number_of_shards" && n > maxShards {
				return illegal("Failed to parse value [%s] for setting [%s] must be <= %d", *flat[k], k, maxShards)
			}
		}
		if _, err := parseTime(*flat[k], k); k == "index.refresh_interval" && err != nil {
			return err
		}
	}
	return nil
}

// parseTime reads Elasticsearch's time values: 30s, 100ms, -1.
func parseTime(s, key string) (time.Duration, *Error) {
	if s == "-1" {
		return -1, nil
	}
	if s == "0" {
		return 0, nil
	}
	for _, u := range []struct {
		suffix string
		unit   time.Duration
	}{{"nanos", 1}, {"micros", time.Microsecond}, {"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}} {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			f, err := strconv.ParseInt(n, 10, 64)
			if err != nil {
				break
			}
			return time.Duration(f) * u.unit, nil
		}
	}
	return 0, illegal("failed to parse setting [%s] with value [%s] as a time value: unit is missing or unrecognized", key, s)
}

func checkIndexName(name string) *Error {
	bad := func(why string) *Error {
		return fail(400, "invalid_index_name_exception", "Invalid index name [%s], %s", name, why).with("index_uuid", "_na_", "index", name)
	}
	switch {
	case name != strings.ToLower(name):
		return bad("must be lowercase")
	case strings.ContainsAny(name[:1], "_-+"):
		return bad("must not start with '_', '-', or '+'")
	case strings.ContainsAny(name, " \"*\\<|,>/?"):
		return bad(`must not contain the following characters [ , ", *, \, <, |, ,, >, /, ?]`)
	case strings.Contains(name, "#"):
		return bad("must not contain '#'")
	case len(name) > 255:
		return bad(fmt.Sprintf("index name is too long, (%d > 255)", len(name)))
	}
	return nil
}

// create makes an index: what templates say of its name, below its own definition.
func (s *cluster) create(name string, own definition) (*index, error) {
	if e := s.readOnly(); e != nil {
		return nil, e
	}
	if e := checkIndexName(name); e != nil {
		return nil, e
	}
	if ix, ok := s.indices[name]; ok {
		return nil, fail(400, "resource_already_exists_exception", "index [%s/%s] already exists", name, ix.uuid).with("index_uuid", ix.uuid, "index", name)
	}
	for _, ix := range s.indices {
		if ix.hasAlias(name) {
			return nil, fail(400, "invalid_index_name_exception", "Invalid index name [%s], already exists as alias", name).with("index_uuid", "_na_", "index", name)
		}
	}
	if e := checkIndexSettings(own.settings); e != nil {
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
	if e := ix.mergeMappingBody(d.mappings); e != nil {
		return nil, e
	}
	if e := s.addAliases(ix, d.aliases); e != nil {
		return nil, e
	}
	s.indices[name] = ix
	return ix, nil
}

// roomFor refuses more shards than cluster.max_shards_per_node leaves.
func (s *cluster) roomFor(settings map[string]string) *Error {
	limit := s.config.Nodes * atoi(s.clusterSetting("cluster.max_shards_per_node", "1000"), 1000)
	has, more := 0, atoi(settings["index.number_of_shards"], 1)*(1+atoi(settings["index.number_of_replicas"], 1))
	for _, ix := range s.indices {
		all, _ := ix.copiesOf()
		has += len(ix.shards) * all
	}
	if has+more <= limit {
		return nil
	}
	added, most := "shards", "maximum normal shards"
	if !s.version.atLeast(7, 11) {
		added, most = "total shards", "maximum shards"
	}
	return fail(400, "validation_exception", "Validation Failed: 1: this action would add [%d] %s, but this cluster currently has [%d]/[%d] %s open;", more, added, has, limit, most)
}

// build is an index of settings alone, which the cluster does not have yet.
func (s *cluster) build(name string, d definition) (*index, *Error) {
	ix := &index{s: s.env, name: name, uuid: s.newID("index"), settings: map[string]string{}, aliases: map[string]alias{}}
	created := fmt.Sprintf("%d%02d%02d99", s.version.major, s.version.minor, s.version.patch)
	if s.version.atLeast(8, 11) {
		created = "8512000" // index versions are no release numbers any more; that of 8.15
	}
	maps.Copy(ix.settings, map[string]string{
		"index.number_of_shards": "1", "index.number_of_replicas": "1", "index.uuid": ix.uuid, "index.provided_name": name,
		"index.version.created": created, "index.creation_date": strconv.FormatInt(s.config.Now().UnixMilli(), 10),
	})
	if s.version.atLeast(7, 11) {
		ix.settings["index.routing.allocation.include._tier_preference"] = "data_content"
	}
	maps.Copy(ix.settings, d.values())
	if e := ix.buildAnalyzers(); e != nil {
		return nil, e
	}
	ix.mapping = &mapping{root: &field{props: map[string]*field{}}, source: true}
	for range atoi(ix.settings["index.number_of_shards"], 1) {
		ix.shards = append(ix.shards, &shard{docs: map[string]*doc{}})
	}
	return ix, nil
}

func (c *call) createIndex() (int, any, error) {
	var own definition
	if len(c.body) > 0 {
		keys, _, err := members(c.body)
		if err != nil {
			return 0, nil, fail(400, "parse_exception", "Failed to parse content: %s", err)
		}
		for _, k := range keys {
			if k != "settings" && k != "mappings" && k != "aliases" {
				return 0, nil, fail(400, "parse_exception", "unknown key [%s] for create index", k)
			}
		}
		d, e := parseDefinition(c.body, "create index")
		if e != nil {
			return 0, nil, e
		}
		own = *d
	}
	for alias := range own.aliases {
		// Aliases are made with a privilege of their own, on both names.
		const action = "indices:admin/aliases"
		if e := c.permit(action, c.vars["index"], alias); e != nil {
			return 0, nil, c.forbidden(action, "", "index", granting(indexPrivileges, action))
		}
	}
	wanted, e := c.activeShards()
	if e != nil {
		return 0, nil, e
	}
	ix, err := c.s.create(c.vars["index"], own)
	if err != nil {
		return 0, nil, err
	}
	all, active := ix.copiesOf()
	needed := ix.needed(wanted)
	if needed > all {
		delete(c.s.indices, ix.name)
		return 0, nil, illegal("invalid wait_for_active_shards[%d]: cannot be greater than number of shard copies [%d]", needed, all)
	}
	return 200, obj("acknowledged", true, "shards_acknowledged", needed <= active, "index", c.vars["index"]), nil
}

func decodeMember(raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		return nil
	}
	if err := decode(raw, into); err != nil {
		return fail(400, "parse_exception", "Failed to parse content: %s", err)
	}
	return nil
}

// autoCreate makes an index for a write, if action.auto_create_index lets it.
func (s *cluster) autoCreate(name string) (*index, error) {
	if best := s.templates.find(name, false); best != "" {
		if t := s.templates.index[best]; t.autoBuild != nil && !*t.autoBuild {
			return nil, fail(http.StatusNotFound, "index_not_found_exception", "no such index [composable template [%s] forbids index auto creation]", strings.Join(t.patterns, ", ")).with("index_uuid", "_na_", "index", name)
		} else if t.autoBuild != nil {
			return s.create(name, definition{})
		}
	}
	rule := s.clusterSetting("action.auto_create_index", "true")
	refuse := func(format string, args ...any) *Error {
		return fail(http.StatusNotFound, "index_not_found_exception", format, args...).with("index_uuid", "_na_", "index", name)
	}
	if rule == "false" && s.version.atLeast(7, 11) {
		return nil, refuse("no such index [%s] and [action.auto_create_index] is [false]", name)
	}
	if rule == "false" {
		return nil, refuse("no such index [%s]", name)
	}
	if rule != "true" {
		allowed := false
		for _, p := range splitList(rule) {
			pattern := strings.TrimLeft(p, "+-")
			if !wild(pattern, name) {
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

// resolve finds the indices an expression names: names, aliases, wildcards, and
// exclusions, in the order of their names. Wildcards see what the user may do
// action on. An alias's filter comes with its index, unless the index is named too.
func (c *call) resolve(expr, action string) ([]*index, map[*index]json.RawMessage, error) {
	found, filters := map[string]*index{}, map[*index]json.RawMessage{}
	ignore := c.flag("ignore_unavailable", false)
	items := splitList(expr)
	if len(items) == 0 || len(items) == 1 && items[0] == "_all" {
		items = []string{"*"}
	}
	for i, item := range items {
		if exclude, ok := strings.CutPrefix(item, "-"); ok && i > 0 {
			maps.DeleteFunc(found, func(name string, _ *index) bool { return wild(exclude, name) })
			continue
		}
		star, any := strings.Contains(item, "*"), false
		for name, ix := range c.s.indices {
			hidden := star && !strings.HasPrefix(item, ".") && (strings.HasPrefix(name, ".") || ix.settings["index.hidden"] == "true")
			if wild(item, name) && !hidden && (!star || c.user.onIndex(action, name)) {
				found[name], any = ix, true
				delete(filters, ix)
			}
			for alias, a := range ix.aliases {
				if wild(item, alias) && (!star || c.user.onIndex(action, alias)) {
					if any = true; found[name] == nil && len(a.filter) > 0 {
						filters[ix] = a.filter
					}
					found[name] = ix
					if a.searchRouting != "" && strings.HasPrefix(action, "indices:data/read/search") {
						return nil, nil, unsupported("a search by way of alias [%s], which has a search routing", alias)
					}
				}
			}
		}
		if !any && !star && !ignore {
			return nil, nil, noSuchIndex(item)
		}
		if !any && star && !c.flag("allow_no_indices", true) {
			return nil, nil, noSuchIndex(item)
		}
	}
	var out []*index
	for _, name := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[name])
	}
	return out, filters, nil
}

// named resolves the path's index variable for an action.
func (c *call) named(action string) ([]*index, error) {
	list, _, err := c.resolve(c.vars["index"], action)
	return list, err
}

func (c *call) hasIndex() (int, any, error) {
	if _, err := c.named("indices:admin/get"); err != nil {
		return 404, nil, nil
	}
	return 200, nil, nil
}

func (c *call) eachIndex(action string, part func(*index) object) (int, any, error) {
	list, err := c.named(action)
	if err != nil {
		return 0, nil, err
	}
	reply := obj()
	for _, ix := range list {
		reply = reply.with(ix.name, part(ix))
	}
	return 200, reply, nil
}

func (c *call) getIndex() (int, any, error) {
	return c.eachIndex("indices:admin/get", func(ix *index) object {
		return obj("aliases", aliasesReply(ix.aliases, "*"), "mappings", ix.mapping.reply(), "settings", settingsReply(ix.settings, c.flag("flat_settings", false)))
	})
}

func (c *call) getMapping() (int, any, error) {
	return c.eachIndex("indices:admin/mappings/get", func(ix *index) object { return obj("mappings", ix.mapping.reply()) })
}

func (c *call) getSettings() (int, any, error) {
	return c.eachIndex("indices:monitor/settings/get", func(ix *index) object {
		shown := maps.Clone(ix.settings)
		if pattern := c.vars["name"]; pattern != "" {
			maps.DeleteFunc(shown, func(k, _ string) bool {
				return !slices.ContainsFunc(splitList(pattern), func(p string) bool { return wild(p, k) })
			})
		}
		return obj("settings", settingsReply(shown, c.flag("flat_settings", false)))
	})
}

func (c *call) deleteIndex() (int, any, error) {
	if name := c.vars["index"]; (strings.Contains(name, "*") || name == "_all") && c.s.clusterSetting("action.destructive_requires_name", strconv.FormatBool(c.s.version.atLeast(8, 0))) == "true" {
		return 0, nil, illegal("Wildcard expressions or all indices are not allowed")
	}
	list, err := c.named("indices:admin/delete")
	if err != nil {
		return 0, nil, err
	}
	for _, ix := range list {
		if name := c.vars["index"]; ix.hasAlias(name) {
			return 0, nil, illegal("The provided expression [%s] matches an alias, specify the corresponding concrete indices instead.", name)
		}
		if e := ix.blocked("delete"); e != nil {
			return 0, nil, e
		}
	}
	for _, ix := range list {
		delete(c.s.indices, ix.name)
	}
	return 200, obj("acknowledged", true), nil
}

func (ix *index) hasAlias(name string) bool {
	_, ok := ix.aliases[name]
	return ok
}

// readOnly is the block on the whole cluster.
func (s *cluster) readOnly() *Error {
	switch {
	case s.clusterSetting("cluster.blocks.read_only", "false") == "true":
		return fail(403, "cluster_block_exception", "blocked by: [FORBIDDEN/6/cluster read-only (api)];")
	case s.clusterSetting("cluster.blocks.read_only_allow_delete", "false") == "true":
		return fail(403, "cluster_block_exception", "blocked by: [FORBIDDEN/13/cluster read-only / allow delete (api)];")
	}
	return nil
}

// blocked tells which index block refuses a kind of operation: write, read,
// metadata or delete (of the index).
func (ix *index) blocked(kind string) *Error {
	for _, b := range []struct {
		setting, kinds, text string
		status               int
	}{
		{"read_only", "write metadata delete", "FORBIDDEN/5/index read-only (api)", 403},
		{"read", "read", "FORBIDDEN/7/index read (api)", 403},
		{"write", "write", "FORBIDDEN/8/index write (api)", 403},
		{"metadata", "metadata delete", "FORBIDDEN/9/index metadata (api)", 403},
		{"read_only_allow_delete", "write metadata", "TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block", 429},
	} {
		if ix.settings["index.blocks."+b.setting] == "true" && slices.Contains(strings.Fields(b.kinds), kind) {
			return fail(b.status, "cluster_block_exception", "index [%s] blocked by: [%s];", ix.name, b.text)
		}
	}
	return nil
}

func (c *call) putSettings() (int, any, error) {
	list, err := c.named("indices:admin/settings/update")
	if err != nil {
		return 0, nil, err
	}
	var body any
	if err := c.json(&body); err != nil {
		return 0, nil, err
	}
	flat := indexKeys(body)
	if e := checkIndexSettings(flat); e != nil {
		return 0, nil, e
	}
	for _, ix := range list {
		for k := range flat {
			if k == "index.number_of_shards" {
				return 0, nil, illegal("final %s setting [%s], not updateable", ix.name, k)
			}
			if !known(dynamicIndex, k) {
				return 0, nil, illegal("Can't update non dynamic settings [[%s]] for open indices [[%s/%s]]", k, ix.name, ix.uuid)
			}
		}
		onlyBlocks := !slices.ContainsFunc(slices.Collect(maps.Keys(flat)), func(k string) bool { return !strings.HasPrefix(k, "index.blocks.") })
		if e := ix.blocked("metadata"); e != nil && !onlyBlocks {
			return 0, nil, e
		}
	}
	for _, ix := range list {
		for k, v := range flat {
			if v == nil {
				delete(ix.settings, k)
			} else {
				ix.settings[k] = *v
			}
		}
		if ix.settings["index.number_of_replicas"] == "" {
			ix.settings["index.number_of_replicas"] = "1"
		}
	}
	return 200, obj("acknowledged", true), nil
}

func (c *call) putMapping() (int, any, error) {
	list, err := c.named("indices:admin/mapping/put")
	if err != nil {
		return 0, nil, err
	}
	for _, ix := range list {
		if e := ix.blocked("metadata"); e != nil {
			return 0, nil, e
		}
		if err := ix.mergeMapping(c.body); err != nil {
			return 0, nil, err
		}
	}
	return 200, obj("acknowledged", true), nil
}

func (c *call) refresh() (int, any, error) {
	list, err := c.named("indices:admin/refresh")
	if err != nil {
		return 0, nil, err
	}
	n, ok := 0, 0
	for _, ix := range list {
		ix.refresh()
		replicas := atoi(ix.settings["index.number_of_replicas"], 1)
		n, ok = n+len(ix.shards)*(1+replicas), ok+len(ix.shards)*min(1+replicas, c.s.config.Nodes)
	}
	return 200, obj("_shards", obj("total", n, "successful", ok, "failed", 0)), nil
}

// resolveIndex lists what an expression matches; with expand_wildcards=all hidden
// indices, too. There are no data streams and no closed indices.
func (c *call) resolveIndex() (int, any, error) {
	const action = "indices:admin/resolve/index"
	c.q.Set("ignore_unavailable", "true") // a name that is not there is no error here
	list, err := c.named(action)
	if err != nil {
		return 0, nil, err
	}
	items := splitList(c.vars["index"])
	if c.q.Get("expand_wildcards") == "all" {
		for name, ix := range c.s.indices {
			match := slices.ContainsFunc(items, func(item string) bool { return strings.Contains(item, "*") && wild(item, name) })
			if match && c.user.onIndex(action, name) && !slices.Contains(list, ix) {
				list = append(list, ix)
			}
		}
	}
	indices, aliases := []any{}, map[string][]string{}
	slices.SortFunc(list, func(a, b *index) int { return strings.Compare(a.name, b.name) })
	for _, ix := range list {
		for alias := range ix.aliases {
			if slices.ContainsFunc(items, func(item string) bool { return wild(item, alias) }) {
				aliases[alias] = append(aliases[alias], ix.name)
			}
		}
		if !slices.ContainsFunc(items, func(item string) bool { return wild(item, ix.name) }) {
			continue // an alias matches, not the index
		}
		attributes := []string{"open"}
		if ix.settings["index.hidden"] == "true" {
			attributes = []string{"hidden", "open"}
		}
		one := obj("name", ix.name)
		if len(ix.aliases) > 0 {
			one = one.with("aliases", slices.Sorted(maps.Keys(ix.aliases)))
		}
		indices = append(indices, one.with("attributes", attributes))
	}
	named := []any{}
	for _, alias := range slices.Sorted(maps.Keys(aliases)) {
		named = append(named, obj("name", alias, "indices", aliases[alias]))
	}
	return 200, obj("indices", indices, "aliases", named, "data_streams", []any{}), nil
}
