package elastic

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
)

// User is an account of the cluster. Privileges are Elasticsearch's names, or
// single actions such as cluster:monitor/main.
type User struct {
	Password string
	Roles    []string // names, as errors print them; empty: the user's own name
	Cluster  []string
	Indices  []IndexPrivileges
}

// IndexPrivileges grants privileges on the indices whose names match.
type IndexPrivileges struct {
	Names, Privileges []string
	Query             string // document-level security: a query that hides everything else, or ""
}

// Superuser is the elastic user with its password.
func Superuser(password string) User {
	return User{Password: password, Roles: []string{"superuser"}, Cluster: []string{"all"},
		Indices: []IndexPrivileges{{Names: []string{"*"}, Privileges: []string{"all"}}}}
}

type privilege struct {
	name    string
	actions []string
}

// From narrow to wide, the order in which errors name them. The action lists are
// those of Elasticsearch's ClusterPrivilegeResolver and IndexPrivilege, as far as
// this server has such actions.
var (
	clusterPrivileges = []privilege{
		{"cancel_task", []string{"cluster:admin/tasks/cancel"}},
		{"monitor", []string{"cluster:monitor/*", "indices:admin/template/get", "indices:admin/index_template/get", "cluster:admin/component_template/get"}},
		{"manage_index_templates", []string{"indices:admin/template/*", "indices:admin/index_template/*", "cluster:admin/component_template/*"}},
		{"manage_security", []string{"cluster:admin/xpack/security/*"}},
		{"manage_watcher", []string{"cluster:admin/xpack/watcher/*", "cluster:monitor/xpack/watcher/*"}},
		{"manage", []string{"cluster:monitor/*", "cluster:admin/settings/*", "cluster:admin/tasks/*", "cluster:admin/reindex/*", "cluster:admin/xpack/watcher/*", "cluster:admin/component_template/*", "indices:admin/template/*", "indices:admin/index_template/*"}},
		{"all", []string{"cluster:*", "indices:admin/template/*", "indices:admin/index_template/*"}},
	}
	indexPrivileges = []privilege{
		{"none", nil},
		{"create_doc", []string{"indices:data/write/bulk*"}},
		{"create", []string{"indices:data/write/index*", "indices:data/write/bulk*"}},
		{"index", []string{"indices:data/write/index*", "indices:data/write/bulk*", "indices:data/write/update*"}},
		{"delete", []string{"indices:data/write/delete*", "indices:data/write/bulk*"}},
		{"create_index", []string{"indices:admin/create", "indices:admin/auto_create"}},
		{"delete_index", []string{"indices:admin/delete"}},
		{"monitor", []string{"indices:monitor/*"}},
		{"maintenance", []string{"indices:admin/refresh*", "indices:admin/flush*", "indices:admin/forcemerge*"}},
		{"view_index_metadata", []string{"indices:admin/get", "indices:admin/exists", "indices:admin/mappings/get*", "indices:admin/aliases/get", "indices:admin/resolve/index", "indices:admin/validate/query", "indices:monitor/settings/get"}},
		{"read", []string{"indices:data/read/*"}},
		{"write", []string{"indices:data/write/*"}},
		{"manage", []string{"indices:monitor/*", "indices:admin/*"}},
		{"all", []string{"indices:*"}},
	}
)

// actions are what a privilege allows: those of its name, or itself.
func actions(table []privilege, name string) []string {
	for _, p := range table {
		if p.name == name {
			return p.actions
		}
	}
	if strings.Contains(name, ":") {
		return []string{name, name + "[*"} // an action covers its shard-level parts
	}
	return nil
}

func allows(table []privilege, names []string, action string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return slices.ContainsFunc(actions(table, name), func(p string) bool { return wild(p, action) })
	})
}

// granting lists the named privileges that would allow an action.
func granting(table []privilege, action string) string {
	var names []string
	for _, p := range table {
		if allows(table, []string{p.name}, action) {
			names = append(names, p.name)
		}
	}
	return strings.Join(names, ",")
}

type principal struct {
	name string
	User
	realm, metadata object // as _authenticate tells them
}

func (l *logins) authenticate(r *http.Request) (*principal, *Error) {
	if l.s.config.Users == nil {
		return &principal{User: Superuser("")}, nil
	}
	name, password, ok := r.BasicAuth()
	if !ok {
		if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); scheme != "" && !strings.EqualFold(scheme, "Basic") {
			return nil, unsupported("authorization scheme %s", scheme)
		}
		return nil, unauthenticated("missing authentication credentials for REST request [%s]", r.URL.RequestURI())
	}
	p, e := l.authenticateChain(name, password)
	if p == nil && e == nil {
		return nil, unauthenticated("unable to authenticate user [%s] for REST request [%s]", name, r.URL.RequestURI())
	}
	return p, e
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

const challenge = `Basic realm="security" charset="UTF-8"`

func unauthenticated(format string, args ...any) *Error {
	e := fail(http.StatusUnauthorized, "security_exception", format, args...)
	e.challenged = true
	return e
}

// onIndex tells whether the user may do action on an index of that name.
func (p *principal) onIndex(action, name string) bool {
	return slices.ContainsFunc(p.Indices, func(g IndexPrivileges) bool {
		return slices.ContainsFunc(g.Names, func(n string) bool { return wild(n, name) }) && allows(indexPrivileges, g.Privileges, action)
	})
}

// ofCluster tells whether an action needs a privilege on the cluster: templates are
// the cluster's, whatever their actions are called.
func ofCluster(action string) bool {
	return strings.HasPrefix(action, "cluster:") || strings.HasPrefix(action, "indices:admin/template/") || strings.HasPrefix(action, "indices:admin/index_template/")
}

// permit refuses an action on the cluster, or on the concrete names; an index
// action without names needs the privilege on any index at all.
func (c *call) permit(action string, names ...string) *Error {
	p := c.user
	if ofCluster(action) {
		if allows(clusterPrivileges, p.Cluster, action) {
			return nil
		}
		return c.forbidden(action, "", "cluster", granting(clusterPrivileges, action))
	}
	var denied []string
	for _, n := range names {
		if !p.onIndex(action, n) {
			denied = append(denied, n)
		}
	}
	switch {
	case len(denied) > 0:
		return c.forbidden(action, " on indices ["+strings.Join(denied, ",")+"]", "index", granting(indexPrivileges, action))
	case len(names) == 0 && !slices.ContainsFunc(p.Indices, func(g IndexPrivileges) bool { return allows(indexPrivileges, g.Privileges, action) }):
		return c.forbidden(action, "", "index", granting(indexPrivileges, action))
	}
	return nil
}

func (c *call) forbidden(action, on, kind, granting string) *Error {
	roles := "roles"
	if c.s.version.atLeast(8, 0) {
		roles = "effective roles"
	}
	return fail(http.StatusForbidden, "security_exception", "action [%s] is unauthorized for user [%s] with %s [%s]%s, this action is granted by the %s privileges [%s]",
		action, c.user.name, roles, strings.Join(c.user.Roles, ","), on, kind, granting)
}

// hidden is the document-level security of the user on an index, or nil.
func (c *call) hidden(ix *index) (matcher, error) {
	var any []matcher
	for _, g := range c.user.Indices {
		if !slices.ContainsFunc(g.Names, func(n string) bool { return wild(n, ix.name) }) || !allows(indexPrivileges, g.Privileges, "indices:data/read/search") {
			continue
		}
		if g.Query == "" {
			return nil, nil
		}
		m, err := compile(query{raw: []byte(g.Query)}, ix)
		if err != nil {
			return nil, err
		}
		any = append(any, m)
	}
	if len(any) == 0 {
		return nil, nil
	}
	return func(d *doc) (float64, bool) {
		for _, m := range any {
			if _, ok := m(d); ok {
				return 0, true
			}
		}
		return 0, false
	}, nil
}

func (c *call) whoAmI() (int, any, error) {
	if c.s.config.Users == nil {
		return 0, nil, illegal("no handler found for uri [%s] and method [GET]", c.r.URL.Path)
	}
	u := c.user
	return 200, obj("username", u.name, "roles", u.Roles, "full_name", nil, "email", nil, "metadata", u.metadata, "enabled", true,
		"authentication_realm", u.realm, "lookup_realm", u.realm, "authentication_type", "realm"), nil
}

func (c *call) hasPrivileges() (int, any, error) {
	var body struct {
		Cluster []string
		Index   []struct {
			Names      any
			Privileges []string
		}
	}
	if err := c.json(&body); err != nil {
		return 0, nil, err
	}
	all := true
	answer := func(table []privilege, held []string, wanted string) bool {
		ok := len(actions(table, wanted)) > 0 || wanted == "none"
		for _, a := range actions(table, wanted) {
			ok = ok && allows(table, held, a)
		}
		all = all && ok
		return ok
	}
	cluster, indices := obj(), obj()
	for _, p := range body.Cluster {
		cluster = cluster.with(p, answer(clusterPrivileges, c.user.Cluster, p))
	}
	for _, check := range body.Index {
		for _, name := range stringList(check.Names) {
			var held []string
			for _, g := range c.user.Indices {
				if slices.ContainsFunc(g.Names, func(n string) bool { return wild(n, name) }) {
					held = append(held, g.Privileges...)
				}
			}
			answers := obj()
			for _, p := range check.Privileges {
				answers = answers.with(p, answer(indexPrivileges, held, p))
			}
			indices = indices.with(name, answers)
		}
	}
	return 200, obj("username", c.user.name, "has_all_requested", all, "cluster", cluster, "index", indices, "application", obj()), nil
}

// stringList reads a JSON value that may be one string or a list of them.
func stringList(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}
