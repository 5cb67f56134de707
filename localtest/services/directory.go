package services

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// Kind is the personality of a directory.
type Kind string

// What a directory behaves as, seen on OpenLDAP 2.5 and on Samba 4.17 as a
// domain controller.
const (
	OpenLDAP        Kind = "openldap"
	ActiveDirectory Kind = "active-directory"
)

// People is what is in a directory, the same for every kind. A name is a DN's
// cn, a user's uid or sAMAccountName.
type People struct {
	Suffix string // the DN of the root: "dc=example,dc=org"
	Users  []User
	Groups []Group
}

// User is an account.
type User struct{ Name, Password string }

// Group has users of the same People as members.
type Group struct {
	Name    string
	Members []string
}

// Domain is the suffix as a domain name: example.org.
func (p People) Domain() string {
	var parts []string
	for part := range strings.SplitSeq(p.Suffix, ",") {
		_, name, _ := strings.Cut(part, "=")
		parts = append(parts, name)
	}
	return strings.Join(parts, ".")
}

// UserDN is where a directory of that kind keeps a user.
func (p People) UserDN(k Kind, name string) string { return p.dn(k, "people", name) }

// GroupDN is where a directory of that kind keeps a group.
func (p People) GroupDN(k Kind, name string) string { return p.dn(k, "groups", name) }

func (p People) dn(k Kind, unit, name string) string {
	name = ldap.EscapeDN(name)
	if k == ActiveDirectory {
		return "CN=" + name + ",CN=Users," + p.root(k)
	}
	return "cn=" + name + ",ou=" + unit + "," + p.root(k)
}

func (p People) root(k Kind) string {
	if k == ActiveDirectory {
		return "DC=" + strings.ReplaceAll(p.Domain(), ".", ",DC=")
	}
	return p.Suffix
}

// Directory is an LDAP server over People. Searches need a bind, as OpenLDAP's
// administrators set it and Active Directory is born.
type Directory struct {
	Kind Kind
	// RequireTLS refuses passwords over connections that are not TLS, as a domain
	// controller does by default.
	RequireTLS bool

	mu      sync.Mutex
	people  People
	entries []entry
	bound   []string
}

// NewDirectory makes the server. It panics on a suffix that is no DN.
func NewDirectory(k Kind, p People) *Directory {
	d := &Directory{Kind: k}
	d.Set(p)
	return d
}

// Set replaces who is in it, from the next request on.
func (d *Directory) Set(p People) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.people = p
	if d.Kind == ActiveDirectory {
		d.entries = activeDirectory(p)
	} else {
		d.entries = openLDAP(p)
	}
}

// Binds lists the names that logged in, oldest first.
func (d *Directory) Binds() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.bound)
}

// entry is one object. Attribute names keep their case, lookups ignore it.
type entry struct {
	name  string // the DN as it was written
	dn    *ldap.DN
	attrs []attribute
}

type attribute struct {
	name     string
	values   []string
	computed bool // only when asked for by name
}

func newEntry(dn string, attrs ...attribute) entry {
	parsed, err := ldap.ParseDN(dn)
	if err != nil {
		panic(fmt.Sprintf("services: DN %q: %v", dn, err)) // a mistake in the test
	}
	return entry{dn, parsed, attrs}
}

func is(name string, values ...string) attribute { return attribute{name: name, values: values} }

func (e entry) values(name string) []string {
	for _, a := range e.attrs {
		if strings.EqualFold(a.name, name) {
			return a.values
		}
	}
	return nil
}

func openLDAP(p People) []entry {
	first, _, _ := strings.Cut(p.Suffix, ",")
	_, dc, _ := strings.Cut(first, "=")
	out := []entry{
		newEntry(p.Suffix, is("objectClass", "dcObject", "organization"), is("dc", dc), is("o", dc)),
		newEntry("ou=people,"+p.Suffix, is("objectClass", "organizationalUnit"), is("ou", "people")),
		newEntry("ou=groups,"+p.Suffix, is("objectClass", "organizationalUnit"), is("ou", "groups")),
	}
	for _, u := range p.Users {
		out = append(out, newEntry(p.UserDN(OpenLDAP, u.Name), is("objectClass", "inetOrgPerson"),
			is("cn", u.Name), is("sn", u.Name), is("uid", u.Name), is("mail", u.Name+"@"+p.Domain())))
	}
	for _, g := range p.Groups {
		members := is("member")
		for _, m := range g.Members {
			members.values = append(members.values, p.UserDN(OpenLDAP, m))
		}
		out = append(out, newEntry(p.GroupDN(OpenLDAP, g.Name), is("objectClass", "groupOfNames"), is("cn", g.Name), members))
	}
	return out
}

// The groups every user of a domain is in, without being named as a member.
const (
	builtinUsers = "CN=Users,CN=Builtin"
	domainUsers  = "Domain Users"

	tokenGroups   = "tokenGroups"       // all groups of a user, reckoned when the user alone is asked for
	configuration = "CN=Configuration," // a partition of its own, which searches from above do not enter
)

func activeDirectory(p People) []entry {
	root := p.root(ActiveDirectory)
	domain := fnv.New32a()
	fmt.Fprint(domain, root)
	sid := func(rid uint32) string { return SID(5, 21, domain.Sum32(), domain.Sum32()>>3, domain.Sum32()>>7, rid) }
	usersSID, domainUsersSID := SID(5, 32, 545), sid(513)
	short, _, _ := strings.Cut(p.Domain(), ".")
	short = strings.ToUpper(short)
	out := []entry{
		newEntry(configuration+root, is("objectClass", "top", "configuration"), is("cn", "Configuration")),
		newEntry("CN=Partitions,"+configuration+root, is("objectClass", "top", "crossRefContainer"), is("cn", "Partitions")),
		newEntry("CN="+short+",CN=Partitions,"+configuration+root, is("objectClass", "top", "crossRef"), is("cn", short),
			is("nETBIOSName", short), is("nCName", root)),
		newEntry(root, is("objectClass", "top", "domain", "domainDNS"), is("objectSid", SID(5, 21, domain.Sum32()))),
		newEntry("CN=Users,"+root, is("objectClass", "top", "container"), is("cn", "Users")),
		newEntry("CN=Builtin,"+root, is("objectClass", "top", "builtinDomain"), is("cn", "Builtin")),
		newEntry(builtinUsers+","+root, is("objectClass", "top", "group"), is("cn", "Users"), is("sAMAccountName", "Users"), is("objectSid", usersSID)),
	}
	group := func(name, groupSID string, members ...string) {
		out = append(out, newEntry(p.GroupDN(ActiveDirectory, name), is("objectClass", "top", "group"), is("cn", name), is("name", name),
			is("sAMAccountName", name), is("objectSid", groupSID), is("member", members...)))
	}
	token, memberOf := map[string][]string{}, map[string][]string{}
	rid := uint32(1103)
	for _, g := range p.Groups {
		var members []string
		for _, m := range g.Members {
			members = append(members, p.UserDN(ActiveDirectory, m))
			token[m], memberOf[m] = append(token[m], sid(rid)), append(memberOf[m], p.GroupDN(ActiveDirectory, g.Name))
		}
		group(g.Name, sid(rid), members...)
		rid++
	}
	group(domainUsers, domainUsersSID)
	for _, u := range p.Users {
		out = append(out, newEntry(p.UserDN(ActiveDirectory, u.Name), is("objectClass", "top", "person", "organizationalPerson", "user"),
			is("cn", u.Name), is("name", u.Name), is("sAMAccountName", u.Name), is("userPrincipalName", u.Name+"@"+p.Domain()),
			is("primaryGroupID", "513"), is("objectSid", sid(rid)), is("memberOf", memberOf[u.Name]...),
			attribute{tokenGroups, append(token[u.Name], domainUsersSID, usersSID), true}))
		rid++
	}
	return out
}

// SID is a security identifier as a directory stores it: revision, number of
// parts, authority, parts.
func SID(authority byte, parts ...uint32) string {
	b := []byte{1, byte(len(parts)), 0, 0, 0, 0, 0, authority}
	for _, p := range parts {
		b = binary.LittleEndian.AppendUint32(b, p)
	}
	return string(b)
}

// sidText is S-1-5-…, the form that filters use.
func sidText(sid string) string {
	b := []byte(sid)
	if len(b) < 8 || len(b) != 8+4*int(b[1]) {
		return ""
	}
	out := fmt.Sprintf("S-%d-%d", b[0], b[7])
	for at := 8; at < len(b); at += 4 {
		out += fmt.Sprintf("-%d", binary.LittleEndian.Uint32(b[at:]))
	}
	return out
}

// login is the user whose name and password these are: a DN, and in Active
// Directory user@domain or DOMAIN\user too.
func (d *Directory) login(name, password string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	parsed, err := ldap.ParseDN(name)
	short, _, _ := strings.Cut(d.people.Domain(), ".")
	for _, u := range d.people.Users {
		own, _ := ldap.ParseDN(d.people.UserDN(d.Kind, u.Name)) // it was parsed when the entry was made
		same := err == nil && parsed.EqualFold(own) || d.Kind == ActiveDirectory &&
			(strings.EqualFold(name, u.Name+"@"+d.people.Domain()) || strings.EqualFold(name, short+`\`+u.Name))
		if same && password == u.Password && password != "" {
			d.bound = append(d.bound, name)
			return true
		}
	}
	return false
}

// search gives the entries below (or at) base that match, and whether base
// exists.
func (d *Directory) search(base *ldap.DN, scope int64, filter *ber.Packet) (found []entry, exists bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	partition, _ := ldap.ParseDN(configuration + d.people.root(d.Kind)) // it was parsed when the entries were made
	below := func(dn *ldap.DN) bool { return partition.EqualFold(dn) || partition.AncestorOfFold(dn) }
	for _, e := range d.entries {
		if below(e.dn) && !below(base) {
			continue
		}
		within := e.dn.EqualFold(base)
		exists = exists || within
		switch scope {
		case ldap.ScopeSingleLevel:
			within = base.AncestorOfFold(e.dn) && len(e.dn.RDNs) == len(base.RDNs)+1
		case ldap.ScopeWholeSubtree:
			within = within || base.AncestorOfFold(e.dn)
		}
		if within && d.matches(filter, e) == yes {
			found = append(found, e)
		}
	}
	return found, exists
}

// pick gives the attributes of an entry that a search asked for: none, "*" and
// names; "1.1" is none at all.
func (e entry) pick(names []string) []attribute {
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[strings.ToLower(n)] = true
	}
	all := len(wanted) == 0 || wanted["*"]
	return slices.DeleteFunc(slices.Clone(e.attrs), func(a attribute) bool {
		named := wanted[strings.ToLower(a.name)]
		return len(a.values) == 0 || a.computed && !named || !all && !named
	})
}

// LDIF is what OpenLDAP is loaded from. It holds the passwords.
func (p People) LDIF() string {
	var b strings.Builder
	line := func(name, value string) {
		fmt.Fprintf(&b, "%s:: %s\n", name, base64.StdEncoding.EncodeToString([]byte(value)))
	}
	passwords := map[string]string{}
	for _, u := range p.Users {
		passwords[p.UserDN(OpenLDAP, u.Name)] = u.Password
	}
	for _, e := range openLDAP(p) {
		line("dn", e.name)
		for _, a := range e.attrs {
			for _, v := range a.values {
				line(a.name, v)
			}
		}
		if password, ok := passwords[e.name]; ok {
			line("userPassword", password)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
