// Package directorytest asks a directory what a login needs to know, and says
// what OpenLDAP and Active Directory answer. The fake of package services and
// real servers pass the same questions.
package directorytest

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/services"
)

// People are who a directory under test must hold.
var People = services.People{
	Suffix: "dc=corp,dc=example,dc=org",
	Users:  []services.User{{Name: "zhang", Password: "zhang-password"}, {Name: "li", Password: "li-password"}, {Name: "guest1", Password: "guest1-password"}},
	Groups: []services.Group{{Name: "es_readers", Members: []string{"zhang", "li"}}, {Name: "es_admins", Members: []string{"li"}}},
}

type question struct {
	name     string
	as       string // who binds: a user's name, "" for nobody
	base     string
	scope    int
	filter   string
	attrs    []string
	openLDAP string // the answer, as show prints it; "-": not asked
	ad       string
}

func questions(k services.Kind) []question {
	dn := func(user string) string { return People.UserDN(k, user) }
	root := "dc=corp,dc=example,dc=org"
	return []question{
		{"all groups of a user", "zhang", root, ldap.ScopeWholeSubtree, "(&(|(objectclass=groupOfNames)(objectclass=group))(member=" + dn("zhang") + "))", []string{"1.1"},
			"cn=es_readers,ou=groups,dc=corp,dc=example,dc=org", "CN=es_readers,CN=Users,DC=corp,DC=example,DC=org\nreference ldap://corp.example.org/CN=Configuration,DC=corp,DC=example,DC=org"},
		{"a member's DN in another case", "zhang", People.GroupDN(k, "es_readers"), ldap.ScopeBaseObject, "(member=" + strings.ToUpper(dn("li")) + ")", []string{"cn"},
			"cn=es_readers,ou=groups,dc=corp,dc=example,dc=org cn=es_readers", "CN=es_readers,CN=Users,DC=corp,DC=example,DC=org cn=es_readers"},
		{"a user by uid", "zhang", "ou=people," + root, ldap.ScopeSingleLevel, "(uid=LI)", []string{"uid", "cn"},
			"cn=li,ou=people,dc=corp,dc=example,dc=org cn=li uid=li", "-"},
		{"a user by login name", "zhang", root, ldap.ScopeWholeSubtree, "(&(objectClass=user)(|(sAMAccountName=li)(userPrincipalName=li@corp.example.org)))", []string{"sAMAccountName", "memberOf"},
			"-", "CN=li,CN=Users,DC=corp,DC=example,DC=org memberOf=CN=es_admins,CN=Users,DC=corp,DC=example,DC=org memberOf=CN=es_readers,CN=Users,DC=corp,DC=example,DC=org sAMAccountName=li\nreference ldap://corp.example.org/CN=Configuration,DC=corp,DC=example,DC=org"},
		{"children only", "zhang", root, ldap.ScopeSingleLevel, "(|(ou=people)(cn=Users))", []string{"1.1"},
			"ou=people,dc=corp,dc=example,dc=org", "CN=Users,DC=corp,DC=example,DC=org\nreference ldap://corp.example.org/CN=Configuration,DC=corp,DC=example,DC=org??base"},
		{"a substring, and not another", "zhang", strings.TrimPrefix(People.GroupDN(k, "")[3:], ","), ldap.ScopeWholeSubtree, "(&(cn=es_*s)(!(cn=*ADMIN*)))", []string{"1.1"},
			People.GroupDN(k, "es_readers"), People.GroupDN(k, "es_readers")},
		{"token groups are counted at the user alone", "zhang", dn("li"), ldap.ScopeBaseObject, "(objectClass=*)", []string{"tokenGroups"},
			"cn=li,ou=people,dc=corp,dc=example,dc=org", "CN=li,CN=Users,DC=corp,DC=example,DC=org 4 tokenGroups"},
		{"token groups from above", "zhang", strings.TrimPrefix(dn("")[3:], ","), ldap.ScopeWholeSubtree, "(cn=li)", []string{"tokenGroups", "cn"},
			"cn=li,ou=people,dc=corp,dc=example,dc=org cn=li", "error 1"},
		{"the domain of a short name", "zhang", "CN=Partitions,CN=Configuration," + root, ldap.ScopeWholeSubtree, "(netbiosname=corp)", []string{"ncname"},
			"-", "CN=CORP,CN=Partitions,CN=Configuration,DC=corp,DC=example,DC=org nCName=DC=corp,DC=example,DC=org"},
		{"a partition seen from above", "zhang", root, ldap.ScopeWholeSubtree, "(netbiosname=corp)", []string{"1.1"},
			"-", "reference ldap://corp.example.org/CN=Configuration,DC=corp,DC=example,DC=org"},
		{"without a login", "", root, ldap.ScopeWholeSubtree, "(cn=zhang)", nil, "error 32", "error 1"},
		{"a base that is not there", "zhang", "ou=nowhere," + root, ldap.ScopeWholeSubtree, "(cn=zhang)", nil, "error 32", "error 32"},
		{"an attribute nobody has", "zhang", root, ldap.ScopeBaseObject, "(noSuchAttribute=x)", nil, "", ""},
		{"not an attribute nobody has", "zhang", dn("zhang"), ldap.ScopeBaseObject, "(!(noSuchAttribute=x))", []string{"1.1"}, "", "CN=zhang,CN=Users,DC=corp,DC=example,DC=org"},
	}
}

// Run asks the directory that dial reaches.
func Run(t *testing.T, k services.Kind, dial func() *ldap.Conn) {
	for _, q := range questions(k) {
		want := q.openLDAP
		if k == services.ActiveDirectory {
			want = q.ad
		}
		if want == "-" {
			continue
		}
		c := dial()
		if q.as != "" {
			require.NoError(t, c.Bind(People.UserDN(k, q.as), passwordOf(q.as)), q.name)
		}
		r, err := c.Search(ldap.NewSearchRequest(q.base, q.scope, ldap.NeverDerefAliases, 0, 5, false, q.filter, q.attrs, nil))
		assert.Equal(t, want, show(r, err), q.name)
		require.NoError(t, c.Close())
	}
	for name, bind := range map[string]struct {
		user, password string
		openLDAP, ad   uint16
	}{
		"right":             {People.UserDN(k, "zhang"), passwordOf("zhang"), 0, 0},
		"right, other case": {strings.ToUpper(People.UserDN(k, "zhang")), passwordOf("zhang"), 0, 0},
		"principal name":    {"zhang@corp.example.org", passwordOf("zhang"), ldap.LDAPResultInvalidDNSyntax, 0},
		"down-level name":   {`CORP\zhang`, passwordOf("zhang"), ldap.LDAPResultInvalidDNSyntax, 0},
		"wrong":             {People.UserDN(k, "zhang"), "wrong", ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInvalidCredentials},
		"nobody":            {People.UserDN(k, "nobody"), "x", ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInvalidCredentials},
	} {
		c := dial()
		err := c.Bind(bind.user, bind.password)
		want := bind.openLDAP
		if k == services.ActiveDirectory {
			want = bind.ad
		}
		if want == 0 {
			assert.NoError(t, err, name)
		} else {
			assert.True(t, ldap.IsErrorWithCode(err, want), "%s: %v", name, err)
		}
		if want == ldap.LDAPResultInvalidCredentials && k == services.ActiveDirectory {
			assert.ErrorContains(t, err, "data 52e", name)
		}
		require.NoError(t, c.Close())
	}
	if k == services.ActiveDirectory {
		return // Samba lets the login before go on
	}
	c := dial()
	require.NoError(t, c.Bind(People.UserDN(k, "zhang"), passwordOf("zhang")))
	require.Error(t, c.Bind(People.UserDN(k, "zhang"), "wrong"))
	_, err := c.Search(ldap.NewSearchRequest(People.UserDN(k, "zhang"), ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 5, false, "(cn=*)", nil, nil))
	assert.Error(t, err, "a login that fails ends the one before")
	require.NoError(t, c.Close())
}

func passwordOf(user string) string {
	for _, u := range People.Users {
		if u.Name == user {
			return u.Password
		}
	}
	return ""
}

// show prints a reply: entries with their attributes sorted, then references.
func show(r *ldap.SearchResult, err error) string {
	if err != nil {
		if e, ok := err.(*ldap.Error); ok {
			return fmt.Sprintf("error %d", e.ResultCode)
		}
		return err.Error()
	}
	var lines []string
	for _, e := range r.Entries {
		var attrs []string
		for _, a := range e.Attributes {
			if a.Name == "tokenGroups" { // they differ from domain to domain
				attrs = append(attrs, fmt.Sprintf("%d tokenGroups", len(a.Values)))
				continue
			}
			for _, v := range a.Values {
				attrs = append(attrs, a.Name+"="+v)
			}
		}
		sort.Strings(attrs)
		lines = append(lines, strings.Join(append([]string{e.DN}, attrs...), " "))
	}
	for _, ref := range r.Referrals {
		lines = append(lines, "reference "+ref)
	}
	return strings.Join(lines, "\n")
}
