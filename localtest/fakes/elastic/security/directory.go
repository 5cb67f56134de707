package security

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"eslink/localtest/fakes/elastic/esjson"
	"eslink/localtest/fakes/elastic/store"
)

// The ldap and active_directory realms: a login is a bind, a search for groups
// and a search for the user where the name alone does not give a DN.

// identity is who a directory says a user is.
type identity struct {
	name, realm, dn string
	groups          []string // DNs, as the directory listed them
}

const (
	ldapTimeout   = 5 * time.Second
	allGroups     = "(&(|(objectclass=groupOfNames)(objectclass=groupOfUniqueNames)(objectclass=group)(objectclass=posixGroup))(|(uniqueMember={0})(member={0})(memberUid={0})))"
	userOfDomain  = "(&(objectClass=user)(|(sAMAccountName={0})(userPrincipalName={0}@%s)))"
	userByUPN     = "(&(objectClass=user)(userPrincipalName={0}))"
	userByAccount = "(&(objectClass=user)(sAMAccountName={0}))"
	anyObject     = "(objectClass=*)"
	noAttributes  = "1.1"
	tokenGroups   = "tokenGroups"
)

var searchScopes = map[string]int{"sub_tree": ldap.ScopeWholeSubtree, "one_level": ldap.ScopeSingleLevel, "base": ldap.ScopeBaseObject}

// check refuses what such a realm cannot be made of.
func (r *realm) check() *esjson.Error {
	if r.kind != "ldap" && r.kind != "active_directory" {
		return nil
	}
	prefix := store.RealmPrefix + r.kind + "." + r.name + "."
	_, templates := r.set["user_dn_templates"]
	search := false
	for k := range r.set {
		search = search || strings.HasPrefix(k, "user_search.")
	}
	const guide = "Please %s. For more details refer to the ldap authentication section of the X-Pack guide."
	switch {
	case r.kind == "active_directory" && r.set["domain_name"] == "":
		return esjson.Illegal("missing [%sdomain_name] setting for active directory", prefix)
	case r.kind == "ldap" && !search && !templates:
		return esjson.Illegal("settings were not found for either user search [%suser_search.base_dn] or user template [%suser_dn_templates] modes of operation. "+guide,
			prefix, prefix, "provide the settings for the mode you wish to use")
	case r.kind == "ldap" && search && templates:
		return esjson.Illegal("settings were found for both user search [%suser_search.base_dn] and user template [%suser_dn_templates] modes of operation. "+guide,
			prefix, prefix, "remove the settings for the mode you do not wish to use")
	case r.kind == "ldap" && search && r.set["user_search.base_dn"] == "":
		return esjson.Illegal("[%suser_search.base_dn] must be specified", prefix)
	case r.set["bind_password"] != "" && r.secret != "":
		return esjson.Illegal("You cannot specify both [%sbind_password] and [%ssecure_bind_password]", prefix, prefix)
	}
	return r.checkURLs(prefix)
}

func (r *realm) checkURLs(prefix string) *esjson.Error {
	urls := r.urls()
	if len(urls) == 0 {
		return esjson.Illegal("missing required LDAP setting [%surl]", prefix)
	}
	for _, scheme := range []string{"ldap://", "ldaps://"} {
		if !slices.ContainsFunc(urls, func(u string) bool { return !strings.HasPrefix(strings.ToLower(u), scheme) }) {
			return nil
		}
	}
	return esjson.Illegal("configured LDAP protocols are not all equal (ldaps://.. and ldap://..): [%s]", strings.Join(urls, ","))
}

// urls are where the directory is; Active Directory's default is its domain.
func (r *realm) urls() []string {
	urls := esjson.SplitList(r.set["url"])
	if len(urls) == 0 && r.kind == "active_directory" {
		urls = []string{"ldap://" + r.set["domain_name"] + ":389"}
	}
	return urls
}

// askDirectory logs a user in, or says why not.
func (l *Logins) askDirectory(ctx context.Context, r *realm, name, password string) (identity, error) {
	c, err := l.connect(ctx, r)
	if err != nil {
		return identity{}, err
	}
	defer c.Close()
	if r.kind == "active_directory" {
		return r.activeDirectory(c, name, password)
	}
	return r.ldap(c, name, password)
}

// connect tries the URLs in turn.
func (l *Logins) connect(ctx context.Context, r *realm) (*ldap.Conn, error) {
	var failed error
	for _, text := range r.urls() {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		secure := u.Scheme == "ldaps"
		port := u.Port()
		if port == "" {
			port = map[bool]string{false: ldap.DefaultLdapPort, true: ldap.DefaultLdapsPort}[secure]
		}
		dialing, cancel := context.WithTimeout(ctx, r.time("timeout.tcp_connect", ldapTimeout))
		conn, err := l.S.Config.Dial(dialing, "tcp", net.JoinHostPort(u.Hostname(), port))
		if err == nil && secure {
			t := tls.Client(conn, l.trust(r, u.Hostname()))
			if err = t.HandshakeContext(dialing); err != nil {
				conn.Close()
			}
			conn = t
		}
		cancel()
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		c := ldap.NewConn(conn, secure)
		c.SetTimeout(r.time("timeout.ldap_search", ldapTimeout))
		c.Start()
		return c, nil
	}
	return nil, failed
}

// trust is the JVM's: full, the chain alone (certificate), or nothing.
func (l *Logins) trust(r *realm, host string) *tls.Config {
	c := &tls.Config{RootCAs: l.S.Config.Roots, ServerName: host}
	mode := r.set["ssl.verification_mode"]
	if mode == "" && r.set["hostname_verification"] == "false" {
		mode = "certificate"
	}
	if mode == "certificate" || mode == "none" {
		c.InsecureSkipVerify = true
	}
	if mode == "certificate" {
		c.VerifyConnection = func(t tls.ConnectionState) error {
			o := x509.VerifyOptions{Roots: l.S.Config.Roots, Intermediates: x509.NewCertPool()}
			for _, between := range t.PeerCertificates[1:] {
				o.Intermediates.AddCert(between)
			}
			_, err := t.PeerCertificates[0].Verify(o)
			return err
		}
	}
	return c
}

// bindAsRealm logs the realm itself in, where it has a name for that.
func (r *realm) bindAsRealm(c *ldap.Conn) error {
	name := r.set["bind_dn"]
	switch {
	case name == "":
		return nil
	case r.kind == "active_directory" && !strings.ContainsAny(name, `\@=`):
		name += "@" + r.set["domain_name"]
	}
	return c.Bind(name, cmp.Or(r.secret, r.set["bind_password"])) // without a password it fails, as it must
}

func (r *realm) ldap(c *ldap.Conn, name, password string) (identity, error) {
	id := identity{name: name, realm: r.name}
	if _, templates := r.set["user_dn_templates"]; templates {
		err := errors.New("no template")
		for _, t := range r.templates() {
			id.dn = strings.ReplaceAll(t, "{0}", ldap.EscapeDN(name))
			if err = c.Bind(id.dn, password); err == nil {
				break
			}
		}
		if err != nil {
			return identity{}, err
		}
	} else {
		if err := r.bindAsRealm(c); err != nil {
			return identity{}, err
		}
		filter := cmp.Or(r.set["user_search.filter"], "("+cmp.Or(r.set["user_search.attribute"], "uid")+"={0})")
		found, err := find(c, r.set["user_search.base_dn"], r.set["user_search.scope"], strings.ReplaceAll(filter, "{0}", ldap.EscapeFilter(name)))
		if err != nil {
			return identity{}, err
		}
		if len(found) != 1 {
			return identity{}, fmt.Errorf("search for user [%s] gave %d entries", name, len(found))
		}
		id.dn = found[0].DN
		if err := c.Bind(id.dn, password); err != nil {
			return identity{}, err
		}
		if err := r.bindAsRealm(c); err != nil { // what follows is asked as the realm
			return identity{}, err
		}
	}
	groups, err := r.ldapGroups(c, id.dn)
	id.groups = groups
	return id, broken(err)
}

// templates are a list. One that is not written as a list is cut at its commas,
// of which DNs are full: no such template logs anybody in.
func (r *realm) templates() []string {
	var list []string
	if esjson.Decode([]byte(r.set["user_dn_templates"]), &list) == nil {
		return list
	}
	return strings.Split(r.set["user_dn_templates"], ",")
}

// ldapGroups searches for groups that name the user, or reads the user's own
// attribute when no search is configured.
func (r *realm) ldapGroups(c *ldap.Conn, dn string) ([]string, error) {
	base := r.set["group_search.base_dn"]
	own := cmp.Or(r.set["user_group_attribute"], "memberOf")
	if base != "" {
		own = r.set["group_search.user_attribute"]
	}
	member := dn
	if own != "" && own != "dn" {
		found, err := find(c, dn, "base", anyObject, own)
		if err != nil || len(found) == 0 {
			return nil, err
		}
		values := found[0].GetEqualFoldAttributeValues(own)
		if base == "" || len(values) == 0 {
			return values, nil
		}
		member = values[0]
	}
	filter := strings.ReplaceAll(cmp.Or(r.set["group_search.filter"], allGroups), "{0}", ldap.EscapeFilter(member))
	found, err := find(c, base, r.set["group_search.scope"], filter, noAttributes)
	return names(found), err
}

func (r *realm) activeDirectory(c *ldap.Conn, name, password string) (identity, error) {
	id := identity{name: name, realm: r.name}
	domain := r.set["domain_name"]
	root := "DC=" + strings.ReplaceAll(domain, ".", ",DC=")
	short, account, downLevel := strings.Cut(name, `\`)
	upn := !downLevel && strings.Contains(name, "@")
	as := name
	if !downLevel && !upn {
		as += "@" + domain
	}
	if err := c.Bind(as, password); err != nil {
		return identity{}, err
	}
	if err := r.bindAsRealm(c); err != nil {
		return identity{}, err
	}
	base, scope, filter := cmp.Or(r.set["user_search.base_dn"], root), r.set["user_search.scope"], cmp.Or(r.set["user_search.filter"], fmt.Sprintf(userOfDomain, domain))
	switch {
	case downLevel: // the short name's domain is looked up, wherever the realm searches
		known, err := find(c, "CN=Configuration,"+root, "", "(netbiosname="+ldap.EscapeFilter(short)+")", "ncname")
		if err != nil {
			return identity{}, err
		}
		if len(known) == 0 {
			return identity{}, fmt.Errorf("no domain [%s]", short)
		}
		base, scope, filter = known[0].GetEqualFoldAttributeValue("ncname"), "", userByAccount
	case upn:
		account, scope, filter = name, "", userByUPN
	default:
		account = name
	}
	found, err := find(c, base, scope, strings.ReplaceAll(filter, "{0}", ldap.EscapeFilter(account)))
	if err != nil {
		return identity{}, err
	}
	if len(found) != 1 {
		return identity{}, fmt.Errorf("search for user [%s] by principal name yielded no results", name)
	}
	id.dn = found[0].DN
	user, err := find(c, id.dn, "base", anyObject, tokenGroups)
	if err != nil || len(user) == 0 {
		return id, broken(err)
	}
	var sids strings.Builder
	for _, sid := range user[0].GetRawAttributeValues(tokenGroups) {
		fmt.Fprintf(&sids, "(objectSid=%s)", sidText(sid))
	}
	if sids.Len() == 0 {
		return id, nil
	}
	groups, err := find(c, cmp.Or(r.set["group_search.base_dn"], root), r.set["group_search.scope"], "(|"+sids.String()+")", noAttributes)
	id.groups = names(groups)
	return id, broken(err)
}

// broken is a failure after the user was let in, at the search for groups: it
// ends the chain, where one before it only passes on to the next realm.
func broken(err error) error {
	var e *ldap.Error
	if err == nil {
		return nil
	}
	cause := esjson.Fail(401, "l_d_a_p_exception", "")
	if errors.As(err, &e) {
		cause.Reason = e.Err.Error()
	}
	return notAuthenticated(cause)
}

func notAuthenticated(cause *esjson.Error) *esjson.Error {
	return unauthenticated("error attempting to authenticate request").Because(cause)
}

// find searches. References to other servers are left aside, as
// ignore_referral_errors does by default.
func find(c *ldap.Conn, base, scope, filter string, attributes ...string) ([]*ldap.Entry, error) {
	r, err := c.Search(ldap.NewSearchRequest(base, searchScopes[cmp.Or(scope, "sub_tree")], ldap.NeverDerefAliases, 0, int(ldapTimeout/time.Second), false, filter, attributes, nil))
	if err != nil {
		return nil, fmt.Errorf("search %s below %s: %w", filter, base, err)
	}
	return r.Entries, nil
}

func names(entries []*ldap.Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.DN)
	}
	return out
}

// sidText prints a security identifier: S-1-5-21-…
func sidText(sid []byte) string {
	if len(sid) < 8 {
		return ""
	}
	out := fmt.Sprintf("S-%d-%d", sid[0], sid[7])
	for part := range slices.Chunk(sid[8:], 4) {
		if len(part) == 4 {
			out += fmt.Sprintf("-%d", binary.LittleEndian.Uint32(part))
		}
	}
	return out
}
