package store

import (
	"net/http"
	"slices"
	"strings"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/index"
	"eslink/localtest/fakes/elastic/privilege"
)

// Permit refuses an action on the cluster, or on the concrete names; an index
// action without names needs the privilege on any index at all.
func (c *Call) Permit(action string, names ...string) *esjson.Error {
	p := c.User
	if privilege.OfCluster(action) {
		if privilege.Allows(privilege.OnCluster, p.Cluster, action) {
			return nil
		}
		return c.forbidden(action, "", "cluster", privilege.Granting(privilege.OnCluster, action))
	}
	var denied []string
	for _, n := range names {
		if !p.OnIndex(action, n) {
			denied = append(denied, n)
		}
	}
	switch {
	case len(denied) > 0:
		return c.forbidden(action, " on indices ["+strings.Join(denied, ",")+"]", "index", privilege.Granting(privilege.OnIndices, action))
	case len(names) == 0 && !slices.ContainsFunc(p.Indices, func(g privilege.IndexPrivileges) bool {
		return privilege.Allows(privilege.OnIndices, g.Privileges, action)
	}):
		return c.forbidden(action, "", "index", privilege.Granting(privilege.OnIndices, action))
	}
	return nil
}

func (c *Call) forbidden(action, on, kind, granting string) *esjson.Error {
	roles := "roles"
	if c.S.Version.AtLeast(8, 0) {
		roles = "effective roles"
	}
	return esjson.Fail(http.StatusForbidden, "security_exception", "action [%s] is unauthorized for user [%s] with %s [%s]%s, this action is granted by the %s privileges [%s]",
		action, c.User.Name, roles, strings.Join(c.User.Roles, ","), on, kind, granting)
}

// Hidden is the document-level security of the user on an index, or nil.
func (c *Call) Hidden(ix *index.Index) (index.Matcher, error) {
	var any []index.Matcher
	for _, g := range c.User.Indices {
		if !slices.ContainsFunc(g.Names, func(n string) bool { return esjson.Wild(n, ix.Name) }) || !privilege.Allows(privilege.OnIndices, g.Privileges, "indices:data/read/search") {
			continue
		}
		if g.Query == "" {
			return nil, nil
		}
		m, err := index.Compile(index.Query{Raw: []byte(g.Query)}, ix)
		if err != nil {
			return nil, err
		}
		any = append(any, m)
	}
	if len(any) == 0 {
		return nil, nil
	}
	return func(d *index.Doc) (float64, bool) {
		for _, m := range any {
			if _, ok := m(d); ok {
				return 0, true
			}
		}
		return 0, false
	}, nil
}
