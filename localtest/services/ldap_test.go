package services_test

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/services"
	"eslink/localtest/services/directorytest"
)

func people() services.People {
	return services.People{Suffix: "dc=example,dc=org", Users: []services.User{{Name: "zhang", Password: "canary-1"}, {Name: "li", Password: "canary-2"}},
		Groups: []services.Group{{Name: "readers", Members: []string{"zhang", "li"}}, {Name: "writers", Members: []string{"li"}}}}
}

// The questions that real servers are asked too, in realserver/directory.
func TestDirectoryAnswersAsRealOnesDo(t *testing.T) {
	for _, kind := range []services.Kind{services.OpenLDAP, services.ActiveDirectory} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := services.Listen()
				d := services.NewDirectory(kind, directorytest.People)
				done := make(chan error)
				go func() { done <- d.Serve(p) }()
				directorytest.Run(t, kind, func() *ldap.Conn {
					c, err := p.Dial(t.Context())
					require.NoError(t, err)
					conn := ldap.NewConn(c, false)
					conn.Start()
					return conn
				})
				require.NoError(t, p.Close())
				require.NoError(t, <-done)
			})
		})
	}
}

// dial opens a connection that ends with the test.
func dial(t *testing.T, d *services.Directory) *ldap.Conn {
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); d.ServeConn(far) }()
	c := ldap.NewConn(near, false)
	c.Start()
	t.Cleanup(func() { c.Close(); <-done })
	return c
}

func TestPasswordOverPlainConnection(t *testing.T) {
	t.Parallel()
	d := services.NewDirectory(services.ActiveDirectory, people())
	d.RequireTLS = true
	err := dial(t, d).Bind("zhang@example.org", "canary-1")
	assert.True(t, ldap.IsErrorWithCode(err, ldap.LDAPResultStrongAuthRequired), "%v", err)
	assert.Empty(t, d.Binds())
}

func TestPeopleChange(t *testing.T) {
	t.Parallel()
	d := services.NewDirectory(services.OpenLDAP, people())
	c := dial(t, d)
	require.NoError(t, c.Bind("cn=zhang,ou=people,dc=example,dc=org", "canary-1"))
	groups := func() string {
		r, err := c.Search(ldap.NewSearchRequest("dc=example,dc=org", ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 5, false,
			"(&(objectClass=groupOfNames)(member=cn=zhang,ou=people,dc=example,dc=org))", []string{"1.1"}, nil))
		require.NoError(t, err)
		var names []string
		for _, e := range r.Entries {
			names = append(names, e.DN)
		}
		return fmt.Sprint(names)
	}
	assert.Equal(t, "[cn=readers,ou=groups,dc=example,dc=org]", groups())
	p := people()
	p.Groups = slices.DeleteFunc(p.Groups, func(g services.Group) bool { return g.Name == "readers" })
	d.Set(p)
	assert.Equal(t, "[]", groups())
	assert.Equal(t, []string{"cn=zhang,ou=people,dc=example,dc=org"}, d.Binds())
}
