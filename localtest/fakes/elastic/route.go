package elastic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/search"
	"eslink/localtest/fakes/elastic/security"
	"eslink/localtest/fakes/elastic/store"
	"eslink/localtest/fakes/elastic/watcher"
)

// route is one method and path of the REST API.
type route struct {
	method, pattern string
	action          string // what the user must be allowed to do; "": anything beyond a login
	params          string // query parameters it knows
	do              func(*store.Call) (int, any, error)
	waits           bool // locks by itself, since it waits for something
}

const (
	searchParams = stringParams + " from size sort scroll allow_partial_search_results version seq_no_primary_term _source _source_includes _source_excludes track_total_hits rest_total_hits_as_int request_cache preference search_type batched_reduce_size ccs_minimize_roundtrips typed_keys timeout " + expandParams
	stringParams = "q df default_operator analyzer analyze_wildcard lenient"
	expandParams = "ignore_unavailable allow_no_indices expand_wildcards ignore_throttled"
	adminParams  = "timeout master_timeout wait_for_active_shards"
	catParams    = "format h v s help bytes local master_timeout " + expandParams
	docParams    = "refresh routing version version_type if_seq_no if_primary_term timeout wait_for_active_shards require_alias"
	readParams   = "refresh realtime routing preference _source _source_includes _source_excludes version version_type stored_fields"
	taskParams   = "actions nodes detailed group_by parent_task_id wait_for_completion timeout"
	flatParams   = "flat_settings include_defaults local " + adminParams
)

// routes is the API: a literal segment goes before a variable one.
func (s *Server) routes() []route {
	return []route{
		{"GET", "/", "cluster:monitor/main", "", (*store.Call).Main, false},
		{"HEAD", "/", "cluster:monitor/main", "", (*store.Call).Main, false},
		{"GET", "/_cluster/health", "cluster:monitor/health", "level local wait_for_status wait_for_nodes wait_for_no_relocating_shards wait_for_no_initializing_shards wait_for_events " + adminParams, (*store.Call).Health, false},
		{"GET", "/_cluster/health/{index}", "cluster:monitor/health", "level local wait_for_status wait_for_nodes wait_for_no_relocating_shards wait_for_no_initializing_shards wait_for_events " + adminParams, (*store.Call).Health, false},
		{"GET", "/_cluster/settings", "cluster:monitor/state", flatParams, (*store.Call).GetClusterSettings, false},
		{"PUT", "/_cluster/settings", "cluster:admin/settings/update", flatParams, (*store.Call).PutClusterSettings, false},
		{"GET", "/_nodes", "cluster:monitor/nodes/info", "flat_settings timeout", (*store.Call).Nodes, false},
		{"GET", "/_nodes/stats", "cluster:monitor/nodes/stats", "timeout level", (*store.Call).NodesStats, false},
		{"GET", "/_nodes/stats/{metric}", "cluster:monitor/nodes/stats", "timeout level", (*store.Call).NodesStats, false},
		{"GET", "/_nodes/{metric}", "cluster:monitor/nodes/info", "flat_settings timeout", (*store.Call).Nodes, false},
		{"GET", "/_nodes/{node}/stats", "cluster:monitor/nodes/stats", "timeout level", (*store.Call).NodesStats, false},
		{"GET", "/_nodes/{node}/stats/{metric}", "cluster:monitor/nodes/stats", "timeout level", (*store.Call).NodesStats, false},
		{"GET", "/_nodes/{node}/{metric}", "cluster:monitor/nodes/info", "flat_settings timeout", (*store.Call).Nodes, false},
		{"GET", "/_security/_authenticate", "", "", security.WhoAmI, false},
		{"GET", "/_security/user/_has_privileges", "", "", security.HasPrivileges, false},
		{"POST", "/_security/user/_has_privileges", "", "", security.HasPrivileges, false},
		{"GET", "/_security/role_mapping", "cluster:admin/xpack/security/role_mapping/get", "", s.logins.GetRoleMapping, false},
		{"GET", "/_security/role_mapping/{name}", "cluster:admin/xpack/security/role_mapping/get", "", s.logins.GetRoleMapping, false},
		{"PUT", "/_security/role_mapping/{name}", "cluster:admin/xpack/security/role_mapping/put", "refresh", s.logins.PutRoleMapping, false},
		{"POST", "/_security/role_mapping/{name}", "cluster:admin/xpack/security/role_mapping/put", "refresh", s.logins.PutRoleMapping, false},
		{"DELETE", "/_security/role_mapping/{name}", "cluster:admin/xpack/security/role_mapping/delete", "refresh", s.logins.DeleteRoleMapping, false},
		{"POST", "/_security/realm/{realms}/_clear_cache", "cluster:admin/xpack/security/realm/cache/clear", "usernames", s.logins.ClearRealmCache, false},
		{"PUT", "/_security/realm/{realms}/_clear_cache", "cluster:admin/xpack/security/realm/cache/clear", "usernames", s.logins.ClearRealmCache, false},
		{"POST", "/_watcher/watch/_execute", "", "debug ignore_condition record_execution", watcher.ExecuteWatch, true},
		{"PUT", "/_watcher/watch/_execute", "", "debug ignore_condition record_execution", watcher.ExecuteWatch, true},
		{"POST", "/_reindex", "indices:data/write/reindex", "wait_for_completion requests_per_second slices scroll timeout max_docs refresh wait_for_active_shards require_alias", s.tasks.Reindex, true},
		{"POST", "/_reindex/{task}/_rethrottle", "cluster:admin/reindex/rethrottle", "requests_per_second group_by", s.tasks.Rethrottle, false},
		{"GET", "/_tasks", "cluster:monitor/tasks/lists", taskParams, s.tasks.ListTasks, false},
		{"POST", "/_tasks/_cancel", "cluster:admin/tasks/cancel", taskParams, s.tasks.CancelTasks, true},
		{"GET", "/_tasks/{task}", "cluster:monitor/task/get", "wait_for_completion timeout", s.tasks.GetTask, true},
		{"POST", "/_tasks/{task}/_cancel", "cluster:admin/tasks/cancel", taskParams, s.tasks.CancelTasks, true},
		{"GET", "/_search/scroll", "", "scroll scroll_id rest_total_hits_as_int", s.contexts.Scroll, false},
		{"POST", "/_search/scroll", "", "scroll scroll_id rest_total_hits_as_int", s.contexts.Scroll, false},
		{"DELETE", "/_search/scroll", "", "scroll_id", s.contexts.ClearScroll, false},
		{"DELETE", "/_search/scroll/{scroll}", "", "", s.contexts.ClearScroll, false},
		{"DELETE", "/_pit", "", "", s.contexts.ClosePIT, false},
		{"GET", "/_search", "", searchParams, s.contexts.Search, false},
		{"POST", "/_search", "", searchParams, s.contexts.Search, false},
		{"GET", "/_count", "indices:data/read/search", "preference " + stringParams + " " + expandParams, search.Count, false},
		{"POST", "/_count", "indices:data/read/search", "preference " + stringParams + " " + expandParams, search.Count, false},
		{"POST", "/_bulk", "indices:data/write/bulk", docParams + " _source pipeline", (*store.Call).Bulk, false},
		{"PUT", "/_bulk", "indices:data/write/bulk", docParams + " _source pipeline", (*store.Call).Bulk, false},
		{"POST", "/_mget", "indices:data/read/mget", readParams, (*store.Call).Mget, false},
		{"GET", "/_mget", "indices:data/read/mget", readParams, (*store.Call).Mget, false},
		{"POST", "/_analyze", "", "", (*store.Call).Analyze, false},
		{"GET", "/_analyze", "", "", (*store.Call).Analyze, false},
		{"POST", "/_refresh", "indices:admin/refresh", expandParams, (*store.Call).Refresh, false},
		{"GET", "/_resolve/index/{index}", "indices:admin/resolve/index", expandParams, (*store.Call).ResolveIndex, false},
		{"POST", "/_aliases", "indices:admin/aliases", adminParams, (*store.Call).UpdateAliases, false},
		{"GET", "/_alias", "indices:admin/aliases/get", "local " + expandParams, (*store.Call).GetAlias, false},
		{"GET", "/_alias/{name}", "indices:admin/aliases/get", "local " + expandParams, (*store.Call).GetAlias, false},
		{"GET", "/_mapping", "indices:admin/mappings/get", "local master_timeout " + expandParams, (*store.Call).GetMapping, false},
		{"GET", "/_settings", "indices:monitor/settings/get", flatParams + " " + expandParams, (*store.Call).GetSettings, false},
		{"GET", "/_stats", "indices:monitor/stats", "level " + expandParams, (*store.Call).Stats, false},
		{"GET", "/.tasks/_doc/{id}", "indices:data/read/get", readParams, s.tasks.GetResult, false},
		{"DELETE", "/.tasks/_doc/{id}", "indices:data/write/delete", docParams, s.tasks.DeleteResult, false},

		{"POST", "/_index_template/_simulate", "indices:admin/index_template/simulate", "create cause " + adminParams, (*store.Call).SimulateTemplate, false},
		{"POST", "/_index_template/_simulate/{name}", "indices:admin/index_template/simulate", "create cause " + adminParams, (*store.Call).SimulateTemplate, false},
		{"POST", "/_index_template/_simulate_index/{index}", "indices:admin/index_template/simulate_index", "create cause " + adminParams, (*store.Call).SimulateIndex, false},
		{"GET", "/_index_template", "indices:admin/index_template/get", "local include_type_name " + flatParams, (*store.Call).GetIndexTemplate, false},
		{"GET", "/_index_template/{name}", "indices:admin/index_template/get", "local include_type_name " + flatParams, (*store.Call).GetIndexTemplate, false},
		{"HEAD", "/_index_template/{name}", "indices:admin/index_template/get", flatParams, (*store.Call).GetIndexTemplate, false},
		{"PUT", "/_index_template/{name}", "indices:admin/index_template/put", "create cause " + adminParams, (*store.Call).PutIndexTemplate, false},
		{"POST", "/_index_template/{name}", "indices:admin/index_template/put", "create cause " + adminParams, (*store.Call).PutIndexTemplate, false},
		{"DELETE", "/_index_template/{name}", "indices:admin/index_template/delete", adminParams, (*store.Call).DeleteIndexTemplate, false},
		{"GET", "/_component_template", "cluster:admin/component_template/get", "local include_type_name " + flatParams, (*store.Call).GetComponentTemplate, false},
		{"GET", "/_component_template/{name}", "cluster:admin/component_template/get", "local include_type_name " + flatParams, (*store.Call).GetComponentTemplate, false},
		{"HEAD", "/_component_template/{name}", "cluster:admin/component_template/get", flatParams, (*store.Call).GetComponentTemplate, false},
		{"PUT", "/_component_template/{name}", "cluster:admin/component_template/put", "create cause " + adminParams, (*store.Call).PutComponentTemplate, false},
		{"POST", "/_component_template/{name}", "cluster:admin/component_template/put", "create cause " + adminParams, (*store.Call).PutComponentTemplate, false},
		{"DELETE", "/_component_template/{name}", "cluster:admin/component_template/delete", adminParams, (*store.Call).DeleteComponentTemplate, false},
		{"GET", "/_template", "indices:admin/template/get", "local include_type_name " + flatParams, (*store.Call).GetLegacyTemplate, false},
		{"GET", "/_template/{name}", "indices:admin/template/get", "local include_type_name " + flatParams, (*store.Call).GetLegacyTemplate, false},
		{"HEAD", "/_template/{name}", "indices:admin/template/get", flatParams, (*store.Call).GetLegacyTemplate, false},
		{"PUT", "/_template/{name}", "indices:admin/template/put", "create cause " + adminParams, (*store.Call).PutLegacyTemplate, false},
		{"POST", "/_template/{name}", "indices:admin/template/put", "create cause " + adminParams, (*store.Call).PutLegacyTemplate, false},
		{"DELETE", "/_template/{name}", "indices:admin/template/delete", adminParams, (*store.Call).DeleteLegacyTemplate, false},

		{"GET", "/_cat/indices", "indices:monitor/settings/get", catParams, (*store.Call).CatIndices, false},
		{"GET", "/_cat/indices/{index}", "indices:monitor/settings/get", catParams, (*store.Call).CatIndices, false},
		{"GET", "/_cat/health", "cluster:monitor/health", catParams + " ts", (*store.Call).CatHealth, false},
		{"GET", "/_cat/count", "indices:data/read/search", catParams, search.CatCount, false},
		{"GET", "/_cat/count/{index}", "indices:data/read/search", catParams, search.CatCount, false},
		{"GET", "/_cat/aliases", "indices:admin/aliases/get", catParams, (*store.Call).CatAliases, false},
		{"GET", "/_cat/nodes", "cluster:monitor/state", catParams, (*store.Call).CatNodes, false},

		{"PUT", "/{index}", "indices:admin/create", "include_type_name " + adminParams, (*store.Call).CreateIndex, false},
		{"GET", "/{index}", "indices:admin/get", "include_type_name " + flatParams + " " + expandParams, (*store.Call).GetIndex, false},
		{"HEAD", "/{index}", "indices:admin/get", "include_type_name " + flatParams + " " + expandParams, (*store.Call).HasIndex, false},
		{"DELETE", "/{index}", "indices:admin/delete", adminParams + " " + expandParams, (*store.Call).DeleteIndex, false},
		{"GET", "/{index}/_mapping", "indices:admin/mappings/get", "local master_timeout " + expandParams, (*store.Call).GetMapping, false},
		{"PUT", "/{index}/_mapping", "indices:admin/mapping/put", adminParams + " write_index_only " + expandParams, (*store.Call).PutMapping, false},
		{"POST", "/{index}/_mapping", "indices:admin/mapping/put", adminParams + " write_index_only " + expandParams, (*store.Call).PutMapping, false},
		{"GET", "/{index}/_settings", "indices:monitor/settings/get", flatParams + " " + expandParams, (*store.Call).GetSettings, false},
		{"GET", "/{index}/_settings/{name}", "indices:monitor/settings/get", flatParams + " " + expandParams, (*store.Call).GetSettings, false},
		{"PUT", "/{index}/_settings", "indices:admin/settings/update", "preserve_existing " + flatParams + " " + expandParams, (*store.Call).PutSettings, false},
		{"GET", "/{index}/_alias", "indices:admin/aliases/get", "local " + expandParams, (*store.Call).GetAlias, false},
		{"GET", "/{index}/_alias/{name}", "indices:admin/aliases/get", "local " + expandParams, (*store.Call).GetAlias, false},
		{"PUT", "/{index}/_alias/{name}", "indices:admin/aliases", adminParams, (*store.Call).PutAlias, false},
		{"DELETE", "/{index}/_alias/{name}", "indices:admin/aliases", adminParams, (*store.Call).DeleteAlias, false},
		{"POST", "/{index}/_refresh", "indices:admin/refresh", expandParams, (*store.Call).Refresh, false},
		{"GET", "/{index}/_refresh", "indices:admin/refresh", expandParams, (*store.Call).Refresh, false},
		{"POST", "/{index}/_flush", "indices:admin/flush", "force wait_if_ongoing " + expandParams, (*store.Call).Refresh, false},
		{"GET", "/{index}/_stats", "indices:monitor/stats", "level " + expandParams, (*store.Call).Stats, false},
		{"GET", "/{index}/_stats/{metric}", "indices:monitor/stats", "level " + expandParams, (*store.Call).Stats, false},
		{"GET", "/{index}/_search", "indices:data/read/search", searchParams, s.contexts.Search, false},
		{"POST", "/{index}/_search", "indices:data/read/search", searchParams, s.contexts.Search, false},
		{"POST", "/{index}/_pit", "indices:data/read/open_point_in_time", "keep_alive preference " + expandParams, s.contexts.OpenPIT, false},
		{"GET", "/{index}/_count", "indices:data/read/search", "preference " + stringParams + " " + expandParams, search.Count, false},
		{"POST", "/{index}/_count", "indices:data/read/search", "preference " + stringParams + " " + expandParams, search.Count, false},
		{"POST", "/{index}/_bulk", "indices:data/write/bulk", docParams + " _source pipeline", (*store.Call).Bulk, false},
		{"PUT", "/{index}/_bulk", "indices:data/write/bulk", docParams + " _source pipeline", (*store.Call).Bulk, false},
		{"POST", "/{index}/_mget", "indices:data/read/mget", readParams, (*store.Call).Mget, false},
		{"GET", "/{index}/_mget", "indices:data/read/mget", readParams, (*store.Call).Mget, false},
		{"POST", "/{index}/_analyze", "indices:admin/analyze", "", (*store.Call).Analyze, false},
		{"GET", "/{index}/_analyze", "indices:admin/analyze", "", (*store.Call).Analyze, false},
		{"POST", "/{index}/_doc", "indices:data/write/index", docParams + " op_type", (*store.Call).IndexDoc, false},
		{"PUT", "/{index}/_doc/{id}", "indices:data/write/index", docParams + " op_type", (*store.Call).IndexDoc, false},
		{"POST", "/{index}/_doc/{id}", "indices:data/write/index", docParams + " op_type", (*store.Call).IndexDoc, false},
		{"PUT", "/{index}/_create/{id}", "indices:data/write/index", docParams, (*store.Call).CreateDoc, false},
		{"POST", "/{index}/_create/{id}", "indices:data/write/index", docParams, (*store.Call).CreateDoc, false},
		{"GET", "/{index}/_doc/{id}", "indices:data/read/get", readParams, (*store.Call).GetDoc, false},
		{"HEAD", "/{index}/_doc/{id}", "indices:data/read/get", readParams, (*store.Call).GetDoc, false},
		{"DELETE", "/{index}/_doc/{id}", "indices:data/write/delete", docParams, (*store.Call).DeleteDoc, false},
	}
}

// takesBody tells whether a request may have a body: 7.17 refuses one that it
// would not read, 7.10 does not mind.
func (rt *route) takesBody() bool {
	last := rt.pattern[strings.LastIndex(rt.pattern, "/")+1:]
	switch rt.method {
	case http.MethodGet:
		return slices.Contains([]string{"_search", "scroll", "_count", "_mget", "_analyze", "_has_privileges"}, last)
	case http.MethodDelete:
		return last == "scroll" || last == "_pit"
	}
	return !slices.Contains([]string{"_cancel", "_rethrottle", "_refresh", "_flush", "_clear_cache", "_pit"}, last)
}

// match fills the variables of a pattern from the path, or says no.
func (rt route) match(path []string) (map[string]string, bool) {
	want := strings.Split(strings.Trim(rt.pattern, "/"), "/")
	if len(want) != len(path) {
		return nil, false
	}
	vars := map[string]string{}
	for i, w := range want {
		name, variable := strings.CutPrefix(w, "{")
		name = strings.TrimSuffix(name, "}")
		reserved := name == "index" && strings.HasPrefix(path[i], "_") && path[i] != "_all"
		switch {
		case !variable && w != path[i], variable && reserved:
			return nil, false
		case variable:
			vars[name] = path[i]
		}
	}
	return vars, true
}

// find picks the route, or tells that the method is wrong or that this server
// does not answer that path.
func (s *Server) find(r *http.Request) (*route, map[string]string, *esjson.Error) {
	var path []string
	for part := range strings.SplitSeq(strings.Trim(r.URL.EscapedPath(), "/"), "/") {
		p, err := url.PathUnescape(part)
		if err != nil {
			return nil, nil, esjson.Illegal("unable to decode path [%s]", r.URL.EscapedPath())
		}
		path = append(path, p)
	}
	var allowed []string
	for i := range s.api {
		vars, ok := s.api[i].match(path)
		if !ok {
			continue
		}
		if s.api[i].method == r.Method {
			return &s.api[i], vars, nil
		}
		if !slices.Contains(allowed, s.api[i].method) {
			allowed = append(allowed, s.api[i].method)
		}
	}
	if len(allowed) > 0 && !slices.Equal(allowed, []string{"HEAD"}) {
		slices.Sort(allowed)
		return nil, nil, &esjson.Error{Status: http.StatusMethodNotAllowed, Reason: fmt.Sprintf("Incorrect HTTP method for uri [%s] and method [%s], allowed: [%s]", r.URL.RequestURI(), r.Method, strings.Join(allowed, ", "))}
	}
	return nil, nil, esjson.Unsupported("%s %s", r.Method, r.URL.Path)
}

// ServeHTTP answers as a node does. A cluster that is down cuts the connection:
// whoever routes to it should ask Up first and refuse it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.state.Mu.Lock()
	up, loaded := s.state.Up, s.loaded
	s.state.Mu.Unlock()
	if !up {
		panic(http.ErrAbortHandler)
	}
	loaded.Wait()
	c := &store.Call{S: s.state, R: r, Header: w.Header()}
	status, body, err := s.serve(c)
	if errors.Is(err, store.ErrStopped) {
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		var e *esjson.Error
		if !errors.As(err, &e) {
			panic(fmt.Sprintf("elastic: an error that is not Elasticsearch's: %v", err))
		}
		status, body = e.Status, e.Envelope()
		if e.Type == "" {
			body = esjson.Obj("error", e.Reason, "status", e.Status)
		}
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", esjson.Challenge)
		}
	}
	if s.state.Version.AtLeast(7, 14) && status != http.StatusUnauthorized && status != http.StatusForbidden {
		w.Header().Set("X-elastic-product", "Elasticsearch")
	}
	if id := r.Header.Get("X-Opaque-Id"); id != "" {
		w.Header().Set("X-Opaque-Id", id)
	}
	if table, is := body.(store.Text); is {
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, string(table)) // as below
		return
	}
	w.Header().Set("Content-Type", s.contentType(r))
	w.WriteHeader(status)
	if body != nil && r.Method != http.MethodHead {
		out := esjson.EncodeJSON(body)
		if _, pretty := r.URL.Query()["pretty"]; pretty {
			var indented bytes.Buffer
			if json.Indent(&indented, out, "", "  ") == nil {
				out = append(indented.Bytes(), '\n')
			}
		}
		_, _ = w.Write(out) // a caller that went away is not this server's concern
	}
}

func (s *Server) contentType(r *http.Request) string {
	if s.state.Version.AtLeast(8, 0) {
		if strings.Contains(r.Header.Get("Accept"), "compatible-with=8") {
			return "application/vnd.elasticsearch+json;compatible-with=8"
		}
		return "application/json"
	}
	return "application/json; charset=UTF-8"
}

func (s *Server) serve(c *store.Call) (int, any, error) {
	var e *esjson.Error
	if c.User, e = s.logins.Authenticate(c.R); e != nil {
		return 0, nil, e
	}
	rt, vars, e := s.find(c.R)
	if e != nil {
		return 0, nil, e
	}
	c.Vars = vars
	if e := read(c, rt); e != nil {
		return 0, nil, e
	}
	c.S.Mu.Lock()
	c.S.Requests += 2 // every request is a task or two
	e = authorize(c, rt)
	if rt.waits || e != nil {
		c.S.Mu.Unlock()
	} else {
		defer c.S.Mu.Unlock()
	}
	if e != nil {
		return 0, nil, e
	}
	return rt.do(c)
}

func authorize(c *store.Call, rt *route) *esjson.Error {
	if rt.action == "" || rt.action == "indices:data/write/reindex" {
		return nil // open to all, or found out by the task itself
	}
	var names []string
	for _, n := range esjson.SplitNames(c.Vars["index"]) {
		if !strings.ContainsAny(n, "*") && n != "_all" {
			names = append(names, n)
		}
	}
	return c.Permit(rt.action, names...)
}

// read checks the query parameters and takes the body.
func read(c *store.Call, rt *route) *esjson.Error {
	c.Q = c.R.URL.Query()
	accepted := strings.Fields(rt.params + " pretty human error_trace")
	var foreign []string
	for k := range c.Q {
		if k == "filter_path" {
			return esjson.Unsupported("query parameter [filter_path]")
		}
		if !slices.Contains(accepted, k) {
			foreign = append(foreign, "["+k+"]")
		}
	}
	if len(foreign) > 0 {
		slices.Sort(foreign)
		s := map[bool]string{true: "s", false: ""}[len(foreign) > 1]
		return esjson.Illegal("request [%s] contains unrecognized parameter%s: %s", c.R.URL.Path, s, strings.Join(foreign, ", "))
	}
	body, err := io.ReadAll(c.R.Body)
	if err != nil {
		return esjson.Illegal("read the request: %s", err)
	}
	if c.Body = body; len(body) > 0 && !reads(c.S, c.R.Header.Get("Content-Type")) {
		return &esjson.Error{Status: http.StatusNotAcceptable, Reason: fmt.Sprintf("Content-Type header [%s] is not supported", c.R.Header.Get("Content-Type"))}
	}
	if len(body) > 0 && c.S.Version.AtLeast(7, 11) && !rt.takesBody() {
		return esjson.Illegal("request [%s %s] does not support having a body", c.R.Method, c.R.URL.Path)
	}
	if c.R.URL.Path == "/_reindex" && len(body) == 0 {
		return esjson.Fail(400, "parse_exception", "request body is required")
	}
	return nil
}

// reads tells whether this version takes bodies of a media type: the vendored
// ones only from 7.11 on.
func reads(s *store.Cluster, contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(media)) {
	case "application/json", "application/x-ndjson":
		return true
	case "application/vnd.elasticsearch+json", "application/vnd.elasticsearch+x-ndjson":
		return s.Version.AtLeast(7, 11)
	}
	return false
}
