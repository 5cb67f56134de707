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
	"strconv"
	"strings"
)

// call is one request on its way through a handler.
type call struct {
	s      *cluster
	r      *http.Request
	user   *principal
	vars   map[string]string
	q      url.Values
	body   []byte
	header http.Header // of the reply
}

// route is one method and path of the REST API.
type route struct {
	method, pattern string
	action          string // what the user must be allowed to do; "": anything beyond a login
	params          string // query parameters it knows
	do              func(*call) (int, any, error)
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
		{"GET", "/", "cluster:monitor/main", "", (*call).main, false},
		{"HEAD", "/", "cluster:monitor/main", "", (*call).main, false},
		{"GET", "/_cluster/health", "cluster:monitor/health", "level local wait_for_status wait_for_nodes wait_for_no_relocating_shards wait_for_no_initializing_shards wait_for_events " + adminParams, (*call).health, false},
		{"GET", "/_cluster/health/{index}", "cluster:monitor/health", "level local wait_for_status wait_for_nodes wait_for_no_relocating_shards wait_for_no_initializing_shards wait_for_events " + adminParams, (*call).health, false},
		{"GET", "/_cluster/settings", "cluster:monitor/state", flatParams, (*call).getClusterSettings, false},
		{"PUT", "/_cluster/settings", "cluster:admin/settings/update", flatParams, (*call).putClusterSettings, false},
		{"GET", "/_nodes", "cluster:monitor/nodes/info", "flat_settings timeout", (*call).nodes, false},
		{"GET", "/_nodes/stats", "cluster:monitor/nodes/stats", "timeout level", (*call).nodesStats, false},
		{"GET", "/_nodes/stats/{metric}", "cluster:monitor/nodes/stats", "timeout level", (*call).nodesStats, false},
		{"GET", "/_nodes/{metric}", "cluster:monitor/nodes/info", "flat_settings timeout", (*call).nodes, false},
		{"GET", "/_nodes/{node}/stats", "cluster:monitor/nodes/stats", "timeout level", (*call).nodesStats, false},
		{"GET", "/_nodes/{node}/stats/{metric}", "cluster:monitor/nodes/stats", "timeout level", (*call).nodesStats, false},
		{"GET", "/_nodes/{node}/{metric}", "cluster:monitor/nodes/info", "flat_settings timeout", (*call).nodes, false},
		{"GET", "/_security/_authenticate", "", "", (*call).whoAmI, false},
		{"GET", "/_security/user/_has_privileges", "", "", (*call).hasPrivileges, false},
		{"POST", "/_security/user/_has_privileges", "", "", (*call).hasPrivileges, false},
		{"GET", "/_security/role_mapping", "cluster:admin/xpack/security/role_mapping/get", "", s.logins.getRoleMapping, false},
		{"GET", "/_security/role_mapping/{name}", "cluster:admin/xpack/security/role_mapping/get", "", s.logins.getRoleMapping, false},
		{"PUT", "/_security/role_mapping/{name}", "cluster:admin/xpack/security/role_mapping/put", "refresh", s.logins.putRoleMapping, false},
		{"POST", "/_security/role_mapping/{name}", "cluster:admin/xpack/security/role_mapping/put", "refresh", s.logins.putRoleMapping, false},
		{"DELETE", "/_security/role_mapping/{name}", "cluster:admin/xpack/security/role_mapping/delete", "refresh", s.logins.deleteRoleMapping, false},
		{"POST", "/_security/realm/{realms}/_clear_cache", "cluster:admin/xpack/security/realm/cache/clear", "usernames", s.logins.clearRealmCache, false},
		{"PUT", "/_security/realm/{realms}/_clear_cache", "cluster:admin/xpack/security/realm/cache/clear", "usernames", s.logins.clearRealmCache, false},
		{"POST", "/_watcher/watch/_execute", "", "debug ignore_condition record_execution", (*call).executeWatch, true},
		{"PUT", "/_watcher/watch/_execute", "", "debug ignore_condition record_execution", (*call).executeWatch, true},
		{"POST", "/_reindex", "indices:data/write/reindex", "wait_for_completion requests_per_second slices scroll timeout max_docs refresh wait_for_active_shards require_alias", s.tasks.reindex, true},
		{"POST", "/_reindex/{task}/_rethrottle", "cluster:admin/reindex/rethrottle", "requests_per_second group_by", s.tasks.rethrottle, false},
		{"GET", "/_tasks", "cluster:monitor/tasks/lists", taskParams, s.tasks.listTasks, false},
		{"POST", "/_tasks/_cancel", "cluster:admin/tasks/cancel", taskParams, s.tasks.cancelTasks, true},
		{"GET", "/_tasks/{task}", "cluster:monitor/task/get", "wait_for_completion timeout", s.tasks.getTask, true},
		{"POST", "/_tasks/{task}/_cancel", "cluster:admin/tasks/cancel", taskParams, s.tasks.cancelTasks, true},
		{"GET", "/_search/scroll", "", "scroll scroll_id rest_total_hits_as_int", s.contexts.scroll, false},
		{"POST", "/_search/scroll", "", "scroll scroll_id rest_total_hits_as_int", s.contexts.scroll, false},
		{"DELETE", "/_search/scroll", "", "scroll_id", s.contexts.clearScroll, false},
		{"DELETE", "/_search/scroll/{scroll}", "", "", s.contexts.clearScroll, false},
		{"DELETE", "/_pit", "", "", s.contexts.closePIT, false},
		{"GET", "/_search", "", searchParams, s.contexts.search, false},
		{"POST", "/_search", "", searchParams, s.contexts.search, false},
		{"GET", "/_count", "indices:data/read/search", "preference " + stringParams + " " + expandParams, (*call).count, false},
		{"POST", "/_count", "indices:data/read/search", "preference " + stringParams + " " + expandParams, (*call).count, false},
		{"POST", "/_bulk", "indices:data/write/bulk", docParams + " _source pipeline", (*call).bulk, false},
		{"PUT", "/_bulk", "indices:data/write/bulk", docParams + " _source pipeline", (*call).bulk, false},
		{"POST", "/_mget", "indices:data/read/mget", readParams, (*call).mget, false},
		{"GET", "/_mget", "indices:data/read/mget", readParams, (*call).mget, false},
		{"POST", "/_analyze", "", "", (*call).analyze, false},
		{"GET", "/_analyze", "", "", (*call).analyze, false},
		{"POST", "/_refresh", "indices:admin/refresh", expandParams, (*call).refresh, false},
		{"GET", "/_resolve/index/{index}", "indices:admin/resolve/index", expandParams, (*call).resolveIndex, false},
		{"POST", "/_aliases", "indices:admin/aliases", adminParams, (*call).updateAliases, false},
		{"GET", "/_alias", "indices:admin/aliases/get", "local " + expandParams, (*call).getAlias, false},
		{"GET", "/_alias/{name}", "indices:admin/aliases/get", "local " + expandParams, (*call).getAlias, false},
		{"GET", "/_mapping", "indices:admin/mappings/get", "local master_timeout " + expandParams, (*call).getMapping, false},
		{"GET", "/_settings", "indices:monitor/settings/get", flatParams + " " + expandParams, (*call).getSettings, false},
		{"GET", "/_stats", "indices:monitor/stats", "level " + expandParams, (*call).stats, false},
		{"GET", "/.tasks/_doc/{id}", "indices:data/read/get", readParams, s.tasks.getResult, false},
		{"DELETE", "/.tasks/_doc/{id}", "indices:data/write/delete", docParams, s.tasks.deleteResult, false},

		{"POST", "/_index_template/_simulate", "indices:admin/index_template/simulate", "create cause " + adminParams, (*call).simulateTemplate, false},
		{"POST", "/_index_template/_simulate/{name}", "indices:admin/index_template/simulate", "create cause " + adminParams, (*call).simulateTemplate, false},
		{"POST", "/_index_template/_simulate_index/{index}", "indices:admin/index_template/simulate_index", "create cause " + adminParams, (*call).simulateIndex, false},
		{"GET", "/_index_template", "indices:admin/index_template/get", "local include_type_name " + flatParams, (*call).getIndexTemplate, false},
		{"GET", "/_index_template/{name}", "indices:admin/index_template/get", "local include_type_name " + flatParams, (*call).getIndexTemplate, false},
		{"HEAD", "/_index_template/{name}", "indices:admin/index_template/get", flatParams, (*call).getIndexTemplate, false},
		{"PUT", "/_index_template/{name}", "indices:admin/index_template/put", "create cause " + adminParams, (*call).putIndexTemplate, false},
		{"POST", "/_index_template/{name}", "indices:admin/index_template/put", "create cause " + adminParams, (*call).putIndexTemplate, false},
		{"DELETE", "/_index_template/{name}", "indices:admin/index_template/delete", adminParams, (*call).deleteIndexTemplate, false},
		{"GET", "/_component_template", "cluster:admin/component_template/get", "local include_type_name " + flatParams, (*call).getComponentTemplate, false},
		{"GET", "/_component_template/{name}", "cluster:admin/component_template/get", "local include_type_name " + flatParams, (*call).getComponentTemplate, false},
		{"HEAD", "/_component_template/{name}", "cluster:admin/component_template/get", flatParams, (*call).getComponentTemplate, false},
		{"PUT", "/_component_template/{name}", "cluster:admin/component_template/put", "create cause " + adminParams, (*call).putComponentTemplate, false},
		{"POST", "/_component_template/{name}", "cluster:admin/component_template/put", "create cause " + adminParams, (*call).putComponentTemplate, false},
		{"DELETE", "/_component_template/{name}", "cluster:admin/component_template/delete", adminParams, (*call).deleteComponentTemplate, false},
		{"GET", "/_template", "indices:admin/template/get", "local include_type_name " + flatParams, (*call).getLegacyTemplate, false},
		{"GET", "/_template/{name}", "indices:admin/template/get", "local include_type_name " + flatParams, (*call).getLegacyTemplate, false},
		{"HEAD", "/_template/{name}", "indices:admin/template/get", flatParams, (*call).getLegacyTemplate, false},
		{"PUT", "/_template/{name}", "indices:admin/template/put", "create cause " + adminParams, (*call).putLegacyTemplate, false},
		{"POST", "/_template/{name}", "indices:admin/template/put", "create cause " + adminParams, (*call).putLegacyTemplate, false},
		{"DELETE", "/_template/{name}", "indices:admin/template/delete", adminParams, (*call).deleteLegacyTemplate, false},

		{"GET", "/_cat/indices", "indices:monitor/settings/get", catParams, (*call).catIndices, false},
		{"GET", "/_cat/indices/{index}", "indices:monitor/settings/get", catParams, (*call).catIndices, false},
		{"GET", "/_cat/health", "cluster:monitor/health", catParams + " ts", (*call).catHealth, false},
		{"GET", "/_cat/count", "indices:data/read/search", catParams, (*call).catCount, false},
		{"GET", "/_cat/count/{index}", "indices:data/read/search", catParams, (*call).catCount, false},
		{"GET", "/_cat/aliases", "indices:admin/aliases/get", catParams, (*call).catAliases, false},
		{"GET", "/_cat/nodes", "cluster:monitor/state", catParams, (*call).catNodes, false},

		{"PUT", "/{index}", "indices:admin/create", "include_type_name " + adminParams, (*call).createIndex, false},
		{"GET", "/{index}", "indices:admin/get", "include_type_name " + flatParams + " " + expandParams, (*call).getIndex, false},
		{"HEAD", "/{index}", "indices:admin/get", "include_type_name " + flatParams + " " + expandParams, (*call).hasIndex, false},
		{"DELETE", "/{index}", "indices:admin/delete", adminParams + " " + expandParams, (*call).deleteIndex, false},
		{"GET", "/{index}/_mapping", "indices:admin/mappings/get", "local master_timeout " + expandParams, (*call).getMapping, false},
		{"PUT", "/{index}/_mapping", "indices:admin/mapping/put", adminParams + " write_index_only " + expandParams, (*call).putMapping, false},
		{"POST", "/{index}/_mapping", "indices:admin/mapping/put", adminParams + " write_index_only " + expandParams, (*call).putMapping, false},
		{"GET", "/{index}/_settings", "indices:monitor/settings/get", flatParams + " " + expandParams, (*call).getSettings, false},
		{"GET", "/{index}/_settings/{name}", "indices:monitor/settings/get", flatParams + " " + expandParams, (*call).getSettings, false},
		{"PUT", "/{index}/_settings", "indices:admin/settings/update", "preserve_existing " + flatParams + " " + expandParams, (*call).putSettings, false},
		{"GET", "/{index}/_alias", "indices:admin/aliases/get", "local " + expandParams, (*call).getAlias, false},
		{"GET", "/{index}/_alias/{name}", "indices:admin/aliases/get", "local " + expandParams, (*call).getAlias, false},
		{"PUT", "/{index}/_alias/{name}", "indices:admin/aliases", adminParams, (*call).putAlias, false},
		{"DELETE", "/{index}/_alias/{name}", "indices:admin/aliases", adminParams, (*call).deleteAlias, false},
		{"POST", "/{index}/_refresh", "indices:admin/refresh", expandParams, (*call).refresh, false},
		{"GET", "/{index}/_refresh", "indices:admin/refresh", expandParams, (*call).refresh, false},
		{"POST", "/{index}/_flush", "indices:admin/flush", "force wait_if_ongoing " + expandParams, (*call).refresh, false},
		{"GET", "/{index}/_stats", "indices:monitor/stats", "level " + expandParams, (*call).stats, false},
		{"GET", "/{index}/_stats/{metric}", "indices:monitor/stats", "level " + expandParams, (*call).stats, false},
		{"GET", "/{index}/_search", "indices:data/read/search", searchParams, s.contexts.search, false},
		{"POST", "/{index}/_search", "indices:data/read/search", searchParams, s.contexts.search, false},
		{"POST", "/{index}/_pit", "indices:data/read/open_point_in_time", "keep_alive preference " + expandParams, s.contexts.openPIT, false},
		{"GET", "/{index}/_count", "indices:data/read/search", "preference " + stringParams + " " + expandParams, (*call).count, false},
		{"POST", "/{index}/_count", "indices:data/read/search", "preference " + stringParams + " " + expandParams, (*call).count, false},
		{"POST", "/{index}/_bulk", "indices:data/write/bulk", docParams + " _source pipeline", (*call).bulk, false},
		{"PUT", "/{index}/_bulk", "indices:data/write/bulk", docParams + " _source pipeline", (*call).bulk, false},
		{"POST", "/{index}/_mget", "indices:data/read/mget", readParams, (*call).mget, false},
		{"GET", "/{index}/_mget", "indices:data/read/mget", readParams, (*call).mget, false},
		{"POST", "/{index}/_analyze", "indices:admin/analyze", "", (*call).analyze, false},
		{"GET", "/{index}/_analyze", "indices:admin/analyze", "", (*call).analyze, false},
		{"POST", "/{index}/_doc", "indices:data/write/index", docParams + " op_type", (*call).indexDoc, false},
		{"PUT", "/{index}/_doc/{id}", "indices:data/write/index", docParams + " op_type", (*call).indexDoc, false},
		{"POST", "/{index}/_doc/{id}", "indices:data/write/index", docParams + " op_type", (*call).indexDoc, false},
		{"PUT", "/{index}/_create/{id}", "indices:data/write/index", docParams, (*call).createDoc, false},
		{"POST", "/{index}/_create/{id}", "indices:data/write/index", docParams, (*call).createDoc, false},
		{"GET", "/{index}/_doc/{id}", "indices:data/read/get", readParams, (*call).getDoc, false},
		{"HEAD", "/{index}/_doc/{id}", "indices:data/read/get", readParams, (*call).getDoc, false},
		{"DELETE", "/{index}/_doc/{id}", "indices:data/write/delete", docParams, (*call).deleteDoc, false},
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
func (s *Server) find(r *http.Request) (*route, map[string]string, *Error) {
	var path []string
	for part := range strings.SplitSeq(strings.Trim(r.URL.EscapedPath(), "/"), "/") {
		p, err := url.PathUnescape(part)
		if err != nil {
			return nil, nil, illegal("unable to decode path [%s]", r.URL.EscapedPath())
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
		return nil, nil, &Error{Status: http.StatusMethodNotAllowed, Reason: fmt.Sprintf("Incorrect HTTP method for uri [%s] and method [%s], allowed: [%s]", r.URL.RequestURI(), r.Method, strings.Join(allowed, ", "))}
	}
	return nil, nil, unsupported("%s %s", r.Method, r.URL.Path)
}

// ServeHTTP answers as a node does. A cluster that is down cuts the connection:
// whoever routes to it should ask Up first and refuse it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	up, loaded := s.up, s.loaded
	s.mu.Unlock()
	if !up {
		panic(http.ErrAbortHandler)
	}
	loaded.Wait()
	c := &call{s: s.cluster, r: r, header: w.Header()}
	status, body, err := s.serve(c)
	if errors.Is(err, errStopped) {
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			panic(fmt.Sprintf("elastic: an error that is not Elasticsearch's: %v", err))
		}
		status, body = e.Status, e.envelope()
		if e.Type == "" {
			body = obj("error", e.Reason, "status", e.Status)
		}
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", challenge)
		}
	}
	if s.version.atLeast(7, 14) && status != http.StatusUnauthorized && status != http.StatusForbidden {
		w.Header().Set("X-elastic-product", "Elasticsearch")
	}
	if id := r.Header.Get("X-Opaque-Id"); id != "" {
		w.Header().Set("X-Opaque-Id", id)
	}
	if table, is := body.(text); is {
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, string(table)) // as below
		return
	}
	w.Header().Set("Content-Type", s.contentType(r))
	w.WriteHeader(status)
	if body != nil && r.Method != http.MethodHead {
		out := encodeJSON(body)
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
	if s.version.atLeast(8, 0) {
		if strings.Contains(r.Header.Get("Accept"), "compatible-with=8") {
			return "application/vnd.elasticsearch+json;compatible-with=8"
		}
		return "application/json"
	}
	return "application/json; charset=UTF-8"
}

func (s *Server) serve(c *call) (int, any, error) {
	var e *Error
	if c.user, e = s.logins.authenticate(c.r); e != nil {
		return 0, nil, e
	}
	rt, vars, e := s.find(c.r)
	if e != nil {
		return 0, nil, e
	}
	c.vars = vars
	if e := c.read(rt); e != nil {
		return 0, nil, e
	}
	c.s.mu.Lock()
	c.s.requests += 2 // every request is a task or two
	e = c.authorize(rt)
	if rt.waits || e != nil {
		c.s.mu.Unlock()
	} else {
		defer c.s.mu.Unlock()
	}
	if e != nil {
		return 0, nil, e
	}
	return rt.do(c)
}

func (c *call) authorize(rt *route) *Error {
	if rt.action == "" || rt.action == "indices:data/write/reindex" {
		return nil // open to all, or found out by the task itself
	}
	var names []string
	for _, n := range splitList(c.vars["index"]) {
		if !strings.ContainsAny(n, "*") && n != "_all" {
			names = append(names, n)
		}
	}
	return c.permit(rt.action, names...)
}

// read checks the query parameters and takes the body.
func (c *call) read(rt *route) *Error {
	c.q = c.r.URL.Query()
	accepted := strings.Fields(rt.params + " pretty human error_trace")
	var foreign []string
	for k := range c.q {
		if k == "filter_path" {
			return unsupported("query parameter [filter_path]")
		}
		if !slices.Contains(accepted, k) {
			foreign = append(foreign, "["+k+"]")
		}
	}
	if len(foreign) > 0 {
		slices.Sort(foreign)
		s := map[bool]string{true: "s", false: ""}[len(foreign) > 1]
		return illegal("request [%s] contains unrecognized parameter%s: %s", c.r.URL.Path, s, strings.Join(foreign, ", "))
	}
	body, err := io.ReadAll(c.r.Body)
	if err != nil {
		return illegal("read the request: %s", err)
	}
	if c.body = body; len(body) > 0 && !c.s.reads(c.r.Header.Get("Content-Type")) {
		return &Error{Status: http.StatusNotAcceptable, Reason: fmt.Sprintf("Content-Type header [%s] is not supported", c.r.Header.Get("Content-Type"))}
	}
	if len(body) > 0 && c.s.version.atLeast(7, 11) && !rt.takesBody() {
		return illegal("request [%s %s] does not support having a body", c.r.Method, c.r.URL.Path)
	}
	if c.r.URL.Path == "/_reindex" && len(body) == 0 {
		return fail(400, "parse_exception", "request body is required")
	}
	return nil
}

// reads tells whether this version takes bodies of a media type: the vendored
// ones only from 7.11 on.
func (s *cluster) reads(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(media)) {
	case "application/json", "application/x-ndjson":
		return true
	case "application/vnd.elasticsearch+json", "application/vnd.elasticsearch+x-ndjson":
		return s.version.atLeast(7, 11)
	}
	return false
}

// json decodes the body, if there is one.
func (c *call) json(into any) error {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return nil
	}
	if err := decode(c.body, into); err != nil {
		return fail(400, "parse_exception", "Failed to parse content: %s", err)
	}
	return nil
}

func (c *call) flag(name string, otherwise bool) bool {
	v, given := c.q[name]
	if !given {
		return otherwise
	}
	return v[0] != "false"
}

func (c *call) number(name string, otherwise int) (int, error) {
	v := c.q.Get(name)
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, illegal("Failed to parse int parameter [%s] with value [%s]", name, v).because(fail(400, "number_format_exception", "For input string: \"%s\"", v))
	}
	return n, nil
}
