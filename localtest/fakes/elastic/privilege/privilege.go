package privilege

import (
	"slices"
	"strings"

	"eslink/localtest/fakes/elastic/esjson"
)

// Role is what a role of Config.Roles allows.
type Role struct {
	Cluster []string
	Indices []IndexPrivileges
}

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

type Privilege struct {
	name    string
	actions []string
}

// From narrow to wide, the order in which errors name them. The action lists are
// those of Elasticsearch's ClusterPrivilegeResolver and IndexPrivilege, as far as
// this server has such actions.
var (
	OnCluster = []Privilege{
		{"cancel_task", []string{"cluster:admin/tasks/cancel"}},
		{"monitor", []string{"cluster:monitor/*", "indices:admin/template/get", "indices:admin/index_template/get", "cluster:admin/component_template/get"}},
		{"manage_index_templates", []string{"indices:admin/template/*", "indices:admin/index_template/*", "cluster:admin/component_template/*"}},
		{"manage_security", []string{"cluster:admin/xpack/security/*"}},
		{"manage_watcher", []string{"cluster:admin/xpack/watcher/*", "cluster:monitor/xpack/watcher/*"}},
		{"manage", []string{"cluster:monitor/*", "cluster:admin/settings/*", "cluster:admin/tasks/*", "cluster:admin/reindex/*", "cluster:admin/xpack/watcher/*", "cluster:admin/component_template/*", "indices:admin/template/*", "indices:admin/index_template/*"}},
		{"all", []string{"cluster:*", "indices:admin/template/*", "indices:admin/index_template/*"}},
	}
	OnIndices = []Privilege{
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

// Actions are what a privilege allows: those of its name, or itself.
func Actions(table []Privilege, name string) []string {
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

func Allows(table []Privilege, names []string, action string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return slices.ContainsFunc(Actions(table, name), func(p string) bool { return esjson.Wild(p, action) })
	})
}

// Granting lists the named privileges that would allow an action.
func Granting(table []Privilege, action string) string {
	var names []string
	for _, p := range table {
		if Allows(table, []string{p.name}, action) {
			names = append(names, p.name)
		}
	}
	return strings.Join(names, ",")
}

type Principal struct {
	Name string
	User
	Realm, Metadata esjson.Object // as _authenticate tells them
}

// OnIndex tells whether the user may do action on an index of that name.
func (p *Principal) OnIndex(action, name string) bool {
	return slices.ContainsFunc(p.Indices, func(g IndexPrivileges) bool {
		return slices.ContainsFunc(g.Names, func(n string) bool { return esjson.Wild(n, name) }) && Allows(OnIndices, g.Privileges, action)
	})
}

// OfCluster tells whether an action needs a privilege on the cluster: templates are
// the cluster's, whatever their actions are called.
func OfCluster(action string) bool {
	return strings.HasPrefix(action, "cluster:") || strings.HasPrefix(action, "indices:admin/template/") || strings.HasPrefix(action, "indices:admin/index_template/")
}
