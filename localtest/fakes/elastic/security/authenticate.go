package security

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/privilege"
	"eslink/localtest/fakes/elastic/store"
)

func (l *Logins) Authenticate(r *http.Request) (*privilege.Principal, *esjson.Error) {
	if l.S.Config.Users == nil {
		return &privilege.Principal{User: privilege.Superuser("")}, nil
	}
	name, password, ok := r.BasicAuth()
	if !ok {
		if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); scheme != "" && !strings.EqualFold(scheme, "Basic") {
			return nil, esjson.Unsupported("authorization scheme %s", scheme)
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

func unauthenticated(format string, args ...any) *esjson.Error {
	e := esjson.Fail(http.StatusUnauthorized, "security_exception", format, args...)
	e.Challenged = true
	return e
}

func WhoAmI(c *store.Call) (int, any, error) {
	if c.S.Config.Users == nil {
		return 0, nil, esjson.Illegal("no handler found for uri [%s] and method [GET]", c.R.URL.Path)
	}
	u := c.User
	return 200, esjson.Obj("username", u.Name, "roles", u.Roles, "full_name", nil, "email", nil, "metadata", u.Metadata, "enabled", true,
		"authentication_realm", u.Realm, "lookup_realm", u.Realm, "authentication_type", "realm"), nil
}

func HasPrivileges(c *store.Call) (int, any, error) {
	var body struct {
		Cluster []string
		Index   []struct {
			Names      any
			Privileges []string
		}
	}
	if err := c.Json(&body); err != nil {
		return 0, nil, err
	}
	all := true
	answer := func(table []privilege.Privilege, held []string, wanted string) bool {
		ok := len(privilege.Actions(table, wanted)) > 0 || wanted == "none"
		for _, a := range privilege.Actions(table, wanted) {
			ok = ok && privilege.Allows(table, held, a)
		}
		all = all && ok
		return ok
	}
	cluster, indices := esjson.Obj(), esjson.Obj()
	for _, p := range body.Cluster {
		cluster = cluster.With(p, answer(privilege.OnCluster, c.User.Cluster, p))
	}
	for _, check := range body.Index {
		for _, name := range esjson.StringList(check.Names) {
			var held []string
			for _, g := range c.User.Indices {
				if slices.ContainsFunc(g.Names, func(n string) bool { return esjson.Wild(n, name) }) {
					held = append(held, g.Privileges...)
				}
			}
			answers := esjson.Obj()
			for _, p := range check.Privileges {
				answers = answers.With(p, answer(privilege.OnIndices, held, p))
			}
			indices = indices.With(name, answers)
		}
	}
	return 200, esjson.Obj("username", c.User.Name, "has_all_requested", all, "cluster", cluster, "index", indices, "application", esjson.Obj()), nil
}
