package elastic_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/elastic"
	"eslink/localtest/services"
	"eslink/localtest/services/directorytest"
)

const (
	ldapRealm = "xpack.security.authc.realms.ldap.ldap1."
	adRealm   = "xpack.security.authc.realms.active_directory.ad1."
)

// settings adds pairs to the realms that keep elastic and native users in; "-"
// takes a setting away.
func settings(kv ...string) map[string]string {
	out := map[string]string{"xpack.security.authc.realms.file.f1.order": "0", "xpack.security.authc.realms.native.n1.order": "1"}
	for i := 0; i < len(kv); i += 2 {
		if out[kv[i]] = kv[i+1]; kv[i+1] == "-" {
			delete(out, kv[i])
		}
	}
	return out
}

func templates(kv ...string) map[string]string {
	return settings(append([]string{ldapRealm + "order", "2", ldapRealm + "url", "ldap://ldap.example:389",
		ldapRealm + "user_dn_templates", `["cn={0},ou=people,dc=corp,dc=example,dc=org"]`, ldapRealm + "group_search.base_dn", "dc=corp,dc=example,dc=org"}, kv...)...)
}

func userSearch(kv ...string) map[string]string {
	return templates(append([]string{ldapRealm + "user_dn_templates", "-", ldapRealm + "user_search.base_dn", "ou=people,dc=corp,dc=example,dc=org",
		ldapRealm + "user_search.filter", "(cn={0})", ldapRealm + "bind_dn", "cn=guest1,ou=people,dc=corp,dc=example,dc=org"}, kv...)...)
}

func domain(kv ...string) map[string]string {
	return settings(append([]string{adRealm + "order", "3", adRealm + "url", "ldap://ad.example:389", adRealm + "domain_name", "corp.example.org",
		adRealm + "unmapped_groups_as_roles", "true"}, kv...)...)
}

// withDirectories has an OpenLDAP and a domain controller beside the cluster.
func withDirectories(t *testing.T, c elastic.Config, f func(h *host, openLDAP, ad *services.Directory, down func())) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, c)
		openLDAP := services.NewDirectory(services.OpenLDAP, directorytest.People)
		ad := services.NewDirectory(services.ActiveDirectory, directorytest.People)
		down := h.serve("ldap.example:389", openLDAP.Serve)
		h.serve("ad.example:389", ad.Serve)
		f(h, openLDAP, ad, down)
	})
}

func TestDirectoryLogin(t *testing.T) {
	withDirectories(t, elastic.Config{Settings: templates(), Users: map[string]elastic.User{"native1": {Password: "canary-native"}}}, func(h *host, d, _ *services.Directory, _ func()) {
		status, body := h.call("li:li-password", "GET", "/_security/_authenticate", "")
		assert.Equal(t, 200, status)
		assert.Equal(t, `{"username":"li","roles":[],"full_name":null,"email":null,"metadata":{"ldap_dn":"cn=li,ou=people,dc=corp,dc=example,dc=org","ldap_groups":["cn=es_readers,ou=groups,dc=corp,dc=example,dc=org","cn=es_admins,ou=groups,dc=corp,dc=example,dc=org"]},"enabled":true,"authentication_realm":{"name":"ldap1","type":"ldap"},"lookup_realm":{"name":"ldap1","type":"ldap"},"authentication_type":"realm"}`, body)
		assert.Equal(t, []string{"cn=li,ou=people,dc=corp,dc=example,dc=org"}, d.Binds())
		for _, user := range []string{"li:wrong", "nobody:x", "li:", "li)(cn=*:x"} {
			h.denied(user)
		}
		_, body = h.call(admin, "GET", "/_security/_authenticate", "")
		assert.Contains(t, body, `"metadata":{"_reserved":true},"enabled":true,"authentication_realm":{"name":"reserved","type":"reserved"}`)
		_, body = h.call("native1:canary-native", "GET", "/_security/_authenticate", "")
		assert.Contains(t, body, `"authentication_realm":{"name":"n1","type":"native"}`)
		status, body = h.call("li:li-password", "GET", "/_cluster/health", "")
		assert.Equal(t, 403, status, "no group is mapped, so nothing is allowed")
		assert.Contains(t, body, "is unauthorized for user [li] with roles [], this action is granted by the cluster privileges [monitor,manage,all]")
	})
}

func TestNameWithAComma(t *testing.T) {
	withDirectories(t, elastic.Config{Settings: templates()}, func(h *host, d, _ *services.Directory, _ func()) {
		p := directorytest.People
		p.Users = append(p.Users, services.User{Name: "wang, wu", Password: "canary-wang"})
		d.Set(p)
		status, body := h.who("wang, wu:canary-wang")
		require.Equal(t, 200, status, "%v", body)
		assert.Equal(t, `cn=wang\, wu,ou=people,dc=corp,dc=example,dc=org`, body["metadata"].(map[string]any)["ldap_dn"])
	})
}

func TestDirectoryUserIsNotElastic(t *testing.T) {
	withDirectories(t, elastic.Config{Settings: templates()}, func(h *host, d, _ *services.Directory, _ func()) {
		p := directorytest.People
		p.Users = append(p.Users, services.User{Name: "elastic", Password: "canary-other"})
		d.Set(p)
		h.denied("elastic:canary-other")
		assert.Empty(t, d.Binds(), "the reserved realm ends the chain")
		h.SetKeystore(nil)
		require.NoError(t, h.Restart(templates("xpack.security.authc.reserved_realm.enabled", "false")))
		h.denied(admin)
		status, _ := h.who("elastic:canary-other")
		assert.Equal(t, 200, status)
	})
}

func TestRealmWithoutNativeLocksOut(t *testing.T) {
	c := elastic.Config{Users: map[string]elastic.User{"native1": {Password: "canary-native"}},
		Settings: templates("xpack.security.authc.realms.file.f1.order", "-", "xpack.security.authc.realms.native.n1.order", "-")}
	withDirectories(t, c, func(h *host, _, _ *services.Directory, _ func()) {
		h.denied("native1:canary-native")
		status, _ := h.who(admin)
		assert.Equal(t, 200, status)
	})
}

func TestDirectoryDown(t *testing.T) {
	withDirectories(t, elastic.Config{Settings: templates()}, func(h *host, d, _ *services.Directory, down func()) {
		_, known := h.who("zhang:zhang-password")
		down()
		h.denied("li:li-password")
		_, again := h.who("zhang:zhang-password")
		assert.Equal(t, known, again, "a login is remembered")
		h.denied("zhang:wrong")
		h.denied("zhang:zhang-password") // the wrong password dropped it
		h.serve("ldap.example:389", d.Serve)
		status, _ := h.who("zhang:zhang-password")
		assert.Equal(t, 200, status)
	})
}

func TestRememberedLoginEnds(t *testing.T) {
	withDirectories(t, elastic.Config{Settings: templates()}, func(h *host, _, _ *services.Directory, down func()) {
		in := func(name string) {
			status, _ := h.who(name)
			require.Equal(t, 200, status)
		}
		in("zhang:zhang-password")
		in("li:li-password")
		down()
		status, body := h.call(admin, "POST", "/_security/realm/ldap1/_clear_cache?usernames=zhang", "")
		assert.Equal(t, 200, status)
		assert.Contains(t, body, `{"_nodes":{"total":1,"successful":1,"failed":0},"cluster_name":"dest","nodes":{"`)
		h.denied("zhang:zhang-password")
		in("li:li-password")
		_, body = h.call(admin, "POST", "/_security/realm/nosuch/_clear_cache", "")
		assert.Contains(t, body, `"caused_by":{"type":"illegal_argument_exception","reason":"could not find active realm [nosuch]"}`)
		time.Sleep(20*time.Minute + time.Second)
		h.denied("li:li-password")
	})
}

func TestDirectoryThatDoesNotAnswer(t *testing.T) {
	withDirectories(t, elastic.Config{Settings: templates(ldapRealm+"url", "ldap://silent.example:389")}, func(h *host, _, _ *services.Directory, _ func()) {
		began := time.Now()
		h.denied("zhang:zhang-password")
		assert.Equal(t, 5*time.Second, time.Since(began))
		// The next URL is tried.
		require.NoError(t, h.Restart(templates(ldapRealm+"url", "ldap://silent.example:389,ldap://ldap.example:389")))
		status, _ := h.who("zhang:zhang-password")
		assert.Equal(t, 200, status)
	})
}

func TestDirectoryThatHangs(t *testing.T) {
	withDirectories(t, elastic.Config{Settings: templates(ldapRealm+"url", "ldap://hung.example:389")}, func(h *host, _, _ *services.Directory, _ func()) {
		h.serve("hung.example:389", func(l net.Listener) error {
			for {
				c, err := l.Accept()
				if err != nil {
					return nil
				}
				go func() { _, _ = io.Copy(io.Discard, c) }()
			}
		})
		began := time.Now()
		h.denied("zhang:zhang-password")
		assert.Equal(t, 5*time.Second, time.Since(began))
	})
}

func TestUserSearch(t *testing.T) {
	secret := map[string]string{ldapRealm + "secure_bind_password": "guest1-password"}
	withDirectories(t, elastic.Config{Settings: userSearch(ldapRealm+"unmapped_groups_as_roles", "true"), Keystore: secret}, func(h *host, d, _ *services.Directory, _ func()) {
		assert.Equal(t, []any{"es_admins", "es_readers"}, h.rolesOf("li:li-password"))
		h.denied("li:wrong")
		h.denied("nobody:x")
		for name, wrong := range map[string]map[string]string{"wrong": {ldapRealm + "secure_bind_password": "wrong"}, "none": nil} {
			h.SetKeystore(wrong)
			require.NoError(t, h.Restart(userSearch()), "it boots: only logins fail (%s)", name)
			h.denied("li:li-password")
		}
		h.SetKeystore(secret)
		require.NoError(t, h.Restart(userSearch(ldapRealm+"user_search.filter", "(|(cn={0})(cn=zhang))")))
		h.denied("li:zhang-password") // two entries, of which the first would fit
	})
}

func TestGroupsOfAUser(t *testing.T) {
	withDirectories(t, elastic.Config{Settings: templates(ldapRealm+"group_search.base_dn", "dc=nowhere")}, func(h *host, _, _ *services.Directory, _ func()) {
		const challenge = `"header":{"WWW-Authenticate":"Basic realm=\"security\" charset=\"UTF-8\""}`
		const broken = `401 {"error":{"root_cause":[{"type":"security_exception","reason":"error attempting to authenticate request",` + challenge +
			`}],"type":"security_exception","reason":"error attempting to authenticate request","caused_by":{"type":"%s"%s},` + challenge + `},"status":401}`
		status, body := h.call("li:li-password", "GET", "/_security/_authenticate", "")
		assert.Equal(t, fmt.Sprintf(broken, "l_d_a_p_exception", `,"reason":null`), sprint(status, body), "the login was right, the search for groups was not")
		groups := func(kv ...string) any {
			require.NoError(t, h.Restart(templates(kv...)))
			status, body := h.who("li:li-password")
			require.Equal(t, 200, status)
			return body["metadata"].(map[string]any)["ldap_groups"]
		}
		assert.Equal(t, []any{}, groups(ldapRealm+"group_search.scope", "one_level"))
		require.NoError(t, h.Restart(templates(ldapRealm+"group_search.base_dn", "-", ldapRealm+"user_group_attribute", "mail")))
		status, body = h.call("li:li-password", "GET", "/_security/_authenticate", "")
		assert.Equal(t, fmt.Sprintf(broken, "illegal_argument_exception", `,"reason":"invalid DN [li@corp.example.org]","caused_by":{"type":"l_d_a_p_exception","reason":"Unable to parse string 'li@corp.example.org' as a DN because it does not have an equal sign after RDN attribute 'li@corp.example.org'."}`), sprint(status, body))
		assert.Equal(t, []any{}, groups(ldapRealm+"group_search.base_dn", "-"))
		assert.Equal(t, []any{"cn=es_admins,ou=groups,dc=corp,dc=example,dc=org"},
			groups(ldapRealm+"group_search.user_attribute", "uid", ldapRealm+"group_search.filter", "(&(cn=es_admins)(member=cn={0},ou=people,dc=corp,dc=example,dc=org))"))
	})
}

// A plain string is a list too, cut at the commas of the DN: it boots, and nobody gets in.
func TestTemplateIsAList(t *testing.T) {
	withDirectories(t, elastic.Config{Settings: templates(ldapRealm+"user_dn_templates", "cn={0},ou=people,dc=corp,dc=example,dc=org")}, func(h *host, _, _ *services.Directory, _ func()) {
		h.denied("zhang:zhang-password")
		require.NoError(t, h.Restart(templates(ldapRealm+"user_dn_templates", "[]")))
		h.denied("zhang:zhang-password")
	})
}

func TestActiveDirectoryLogin(t *testing.T) {
	withDirectories(t, elastic.Config{Settings: domain()}, func(h *host, _, ad *services.Directory, _ func()) {
		for _, name := range []string{"zhang", "zhang@corp.example.org", `CORP\zhang`} {
			status, body := h.call(name+":zhang-password", "GET", "/_security/_authenticate", "")
			assert.Equal(t, 200, status, body)
			printed, err := json.Marshal(name)
			require.NoError(t, err)
			assert.Equal(t, `{"username":`+string(printed)+`,"roles":["Domain Users","Users","es_readers"],"full_name":null,"email":null,"metadata":{"ldap_dn":"CN=zhang,CN=Users,DC=corp,DC=example,DC=org","ldap_groups":["CN=Users,CN=Builtin,DC=corp,DC=example,DC=org","CN=es_readers,CN=Users,DC=corp,DC=example,DC=org","CN=Domain Users,CN=Users,DC=corp,DC=example,DC=org"]},"enabled":true,"authentication_realm":{"name":"ad1","type":"active_directory"},"lookup_realm":{"name":"ad1","type":"active_directory"},"authentication_type":"realm"}`, body)
		}
		h.denied("zhang:wrong")
		h.denied("nobody:x")
		require.NoError(t, h.Restart(domain(adRealm+"unmapped_groups_as_roles", "false")))
		assert.Equal(t, []any{}, h.rolesOf("zhang:zhang-password"))
		ad.RequireTLS = true
		h.denied("li:li-password")
	})
}

func TestRealmsAreAskedInOrder(t *testing.T) {
	both := domain()
	maps.Copy(both, templates())
	withDirectories(t, elastic.Config{Settings: both}, func(h *host, d, ad *services.Directory, down func()) {
		_, body := h.who("zhang:zhang-password")
		assert.Equal(t, "ldap1", body["authentication_realm"].(map[string]any)["name"])
		assert.Empty(t, ad.Binds())
		down()
		_, body = h.who("li:li-password")
		assert.Equal(t, "ad1", body["authentication_realm"].(map[string]any)["name"], "one that is down is passed over")
	})
}

func TestRoleMappings(t *testing.T) {
	roles := map[string]elastic.Role{"readers": {Cluster: []string{"monitor"}, Indices: []elastic.IndexPrivileges{{Names: []string{"*"}, Privileges: []string{"read"}}}}}
	withDirectories(t, elastic.Config{Settings: templates(), Roles: roles}, func(h *host, _, _ *services.Directory, _ func()) {
		put := func(name, rules string) string {
			status, body := h.call(admin, "PUT", "/_security/role_mapping/"+name, `{"roles":["readers"],"enabled":true,"rules":`+rules+`}`)
			require.Equal(t, 200, status, body)
			return body
		}
		assert.Equal(t, []any{}, h.rolesOf("zhang:zhang-password"))
		assert.Equal(t, `{"role_mapping":{"created":true}}`, put("m", `{"field":{"groups":"CN=es_readers, ou=groups,dc=corp,dc=example,dc=org"}}`))
		assert.Equal(t, []any{"readers"}, h.rolesOf("zhang:zhang-password"), "and remembered logins are forgotten")
		status, _ := h.call("zhang:zhang-password", "GET", "/_cluster/health", "")
		assert.Equal(t, 200, status)
		status, body := h.call("zhang:zhang-password", "GET", "/_security/role_mapping", "")
		assert.Equal(t, 403, status)
		assert.Contains(t, body, "[manage_security,all]")
		_, body = h.call(admin, "GET", "/_security/role_mapping/m", "")
		assert.Equal(t, `{"m":{"enabled":true,"roles":["readers"],"rules":{"field":{"groups":"CN=es_readers, ou=groups,dc=corp,dc=example,dc=org"}},"metadata":{}}}`, body)
		for rules, fits := range map[string]bool{
			`{"field":{"username":"zh*"}}`:                                                                           true,
			`{"field":{"username":"li"}}`:                                                                            false,
			`{"field":{"username":["li","zhang"]}}`:                                                                  true,
			`{"field":{"realm.name":"ldap1"}}`:                                                                       true,
			`{"field":{"realm.name":"ad1"}}`:                                                                         false,
			`{"field":{"dn":"CN=ZHANG,ou=People,dc=corp,dc=example,dc=org"}}`:                                        true,
			`{"field":{"dn":"*,ou=people,dc=corp,dc=example,dc=org"}}`:                                               true,
			`{"field":{"dn":"*,ou=groups,dc=corp,dc=example,dc=org"}}`:                                               false,
			`{"field":{"groups":"cn=es_admins,ou=groups,dc=corp,dc=example,dc=org"}}`:                                false,
			`{"all":[{"field":{"username":"zhang"}},{"field":{"realm.name":"ldap1"}}]}`:                              true,
			`{"all":[{"field":{"username":"zhang"}},{"field":{"realm.name":"ad1"}}]}`:                                false,
			`{"any":[{"field":{"username":"li"}},{"field":{"realm.name":"ldap1"}}]}`:                                 true,
			`{"any":[{"field":{"username":"li"}},{"field":{"realm.name":"ad1"}}]}`:                                   false,
			`{"all":[{"field":{"realm.name":"ldap1"}},{"except":{"field":{"username":"zhang"}}}]}`:                   false,
			`{"all":[{"field":{"realm.name":"ldap1"}},{"except":{"any":[{"field":{"username":"li"}}]}}]}`:            true,
			`{"field":{"metadata.ldap_dn":"cn=zhang,ou=people,dc=corp,dc=example,dc=org"}}`:                          true,
			`{"field":{"metadata.other":null}}`:                                                                      true,
			`{"all":[{"any":[{"field":{"username":"x"}},{"all":[]}]},{"field":{"groups":"cn=es_readers,ou=gro*"}}]}`: true,
		} {
			assert.Equal(t, `{"role_mapping":{"created":false}}`, put("m", rules))
			want := []any{}
			if fits {
				want = []any{"readers"}
			}
			assert.Equal(t, want, h.rolesOf("zhang:zhang-password"), rules)
		}
		status, body = h.call(admin, "PUT", "/_security/role_mapping/m", `{"roles":["readers"],"enabled":false,"rules":{"field":{"username":"*"}}}`)
		require.Equal(t, 200, status, body)
		assert.Equal(t, []any{}, h.rolesOf("zhang:zhang-password"))
		status, body = h.call(admin, "DELETE", "/_security/role_mapping/m", "")
		assert.Equal(t, "200 "+`{"found":true}`, sprint(status, body))
	})
}

func TestCacheOff(t *testing.T) {
	withDirectories(t, elastic.Config{Settings: templates(ldapRealm+"cache.ttl", "0s")}, func(h *host, d, _ *services.Directory, down func()) {
		for range 2 {
			status, _ := h.who("zhang:zhang-password")
			assert.Equal(t, 200, status)
		}
		assert.Len(t, d.Binds(), 2)
		down()
		h.denied("zhang:zhang-password")
	})
}

func TestSecureDirectory(t *testing.T) {
	certificate, roots := selfSigned(t, "dc.corp.example.org")
	secure := func(kv ...string) map[string]string {
		return domain(append([]string{adRealm + "url", "ldaps://ad.example:636"}, kv...)...)
	}
	withDirectories(t, elastic.Config{Settings: secure(), Roots: roots}, func(h *host, _, ad *services.Directory, _ func()) {
		ad.RequireTLS = true
		h.serve("ad.example:636", func(l net.Listener) error {
			return ad.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}}))
		})
		h.denied("zhang:zhang-password") // the certificate names another host
		require.NoError(t, h.Restart(secure(adRealm+"ssl.verification_mode", "certificate")))
		status, _ := h.who("zhang:zhang-password")
		assert.Equal(t, 200, status)
		h.serve("plain.example:636", ad.Serve)
		require.NoError(t, h.Restart(secure(adRealm+"url", "ldaps://plain.example:636")))
		h.denied("li:li-password")
	})
}

// What a real 7.17.29 shows of these, and what it does not.
func TestNodesKeepSettingsToThemselves(t *testing.T) {
	t.Parallel()
	set := templates(ldapRealm+"ssl.verification_mode", "certificate", ldapRealm+"bind_dn", "cn=x", ldapRealm+"bind_password", "canary-1", ldapRealm+"hostname_verification", "true",
		"reindex.ssl.verification_mode", "certificate", ldapRealm+"unmapped_groups_as_roles", "true")
	h := newHost(t, elastic.Config{Settings: set})
	_, flat := h.call(admin, "GET", "/_nodes/settings?flat_settings", "")
	for _, hidden := range []string{"certificate", "bind_dn", "canary-1", "hostname_verification"} {
		assert.NotContains(t, flat, hidden)
	}
	assert.Contains(t, flat, `"`+ldapRealm+`order":"2","`+ldapRealm+`unmapped_groups_as_roles":"true","`+ldapRealm+`url":"ldap://ldap.example:389","`+ldapRealm+`user_dn_templates":["cn={0},ou=people,dc=corp,dc=example,dc=org"]`)
	_, nested := h.call(admin, "GET", "/_nodes/settings", "")
	assert.Contains(t, nested, `"realms":{"file":{"f1":{"order":"0"}},"ldap":{"ldap1":{"group_search":{"base_dn":"dc=corp,dc=example,dc=org"},"order":"2"`)
}

// Each was seen on a real 7.17.29.
func TestRealmsThatDoNotBoot(t *testing.T) {
	t.Parallel()
	secret := ldapRealm + "secure_bind_password"
	for name, c := range map[string]struct {
		settings map[string]string
		keystore map[string]string
		says     string
	}{
		"key":                    {settings: templates(ldapRealm+"user_dn_template", "x"), says: "unknown setting [" + ldapRealm + "user_dn_template]"},
		"type":                   {settings: settings("xpack.security.authc.realms.ldapx.l.order", "7"), says: "unknown setting [xpack.security.authc.realms.ldapx.l.order]"},
		"of ldap":                {settings: domain(adRealm+"user_dn_templates", "x"), says: "unknown setting [" + adRealm + "user_dn_templates]"},
		"order":                  {settings: templates(ldapRealm+"order", "first"), says: "Failed to parse value [first] for setting [" + ldapRealm + "order]"},
		"boolean":                {settings: templates(ldapRealm+"unmapped_groups_as_roles", "maybe"), says: "Failed to parse value [maybe] as only [true] or [false] are allowed."},
		"scope":                  {settings: templates(ldapRealm+"group_search.scope", "all"), says: "unknown search scope [all]"},
		"tls":                    {settings: templates(ldapRealm+"ssl.verification_mode", "sometimes"), says: "could not resolve verification mode. unknown value [sometimes]"},
		"no url":                 {settings: templates(ldapRealm+"url", "-"), says: "missing required LDAP setting [" + ldapRealm + "url]"},
		"scheme":                 {settings: templates(ldapRealm+"url", "http://x:389"), says: "configured LDAP protocols are not all equal (ldaps://.. and ldap://..): [http://x:389]"},
		"no scheme":              {settings: templates(ldapRealm+"url", "x:389"), says: "configured LDAP protocols are not all equal (ldaps://.. and ldap://..): [x:389]"},
		"mixed":                  {settings: templates(ldapRealm+"url", `["ldap://x:389","ldaps://x:636"]`), says: "not all equal (ldaps://.. and ldap://..): [ldap://x:389,ldaps://x:636]"},
		"no mode":                {settings: templates(ldapRealm+"user_dn_templates", "-"), says: "settings were not found for either user search [" + ldapRealm + "user_search.base_dn] or user template [" + ldapRealm + "user_dn_templates]"},
		"two modes":              {settings: templates(ldapRealm+"user_search.base_dn", "dc=x"), says: "settings were found for both user search ["},
		"no domain":              {settings: domain(adRealm+"domain_name", "-"), says: "missing [" + adRealm + "domain_name] setting for active directory"},
		"two names":              {settings: templates("xpack.security.authc.realms.active_directory.ldap1.domain_name", "x.y", "xpack.security.authc.realms.active_directory.ldap1.order", "5"), says: "Found multiple realms configured with the same name: ldap1: [xpack.security.authc.realms.ldap.ldap1, xpack.security.authc.realms.active_directory.ldap1]"},
		"secret in the open":     {settings: templates(secret, "x"), says: "Setting [" + secret + "] is a secure setting and must be stored inside the Elasticsearch keystore, but was found inside elasticsearch.yml"},
		"secret without a realm": {settings: settings(), keystore: map[string]string{secret: "x"}, says: "found settings for the realm [ldap1] (with type [ldap]) in the secure settings (elasticsearch.keystore), but this realm does not have any settings in elasticsearch.yml."},
		"secret twice":           {settings: userSearch(ldapRealm+"bind_password", "x"), keystore: map[string]string{secret: "x"}, says: "You cannot specify both [" + ldapRealm + "bind_password] and [" + secret + "]"},
		"secret of nothing":      {settings: templates(), keystore: map[string]string{ldapRealm + "secure_bind_passwort": "x"}, says: "unknown secure setting [" + ldapRealm + "secure_bind_passwort]"},
		"not done":               {settings: templates(ldapRealm+"metadata", "mail"), says: "unsupported_by_embedded_elasticsearch: setting [" + ldapRealm + "metadata]"},
		"another type":           {settings: settings("xpack.security.authc.realms.saml.s.order", "7"), says: "unsupported_by_embedded_elasticsearch"},
		"6.x":                    {settings: settings("xpack.security.authc.realms.ldap1.type", "ldap"), says: "Incorrect realm settings found. Realm settings have been changed to include the type as part of the setting key."},
	} {
		h := newHost(t, elastic.Config{})
		h.SetKeystore(c.keystore)
		assert.ErrorContains(t, h.Restart(c.settings), c.says, name)
		assert.False(t, h.Up(), name)
		h.SetKeystore(nil)
		require.NoError(t, h.Restart(settings()))
	}
}

// What a real 7.17.29 takes, against what one might think.
func TestRealmsThatBoot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]map[string]string{
		"two at one order":        templates(ldapRealm+"order", "1"),
		"no order":                templates(ldapRealm+"order", "-"),
		"bind DN, no password":    userSearch(),
		"password in the open":    templates(ldapRealm+"bind_password", "x"),
		"a domain without a URL":  domain(adRealm+"url", "-"),
		"a template without {0}":  templates(ldapRealm+"user_dn_templates", "cn=x"),
		"a base that is no DN":    templates(ldapRealm+"group_search.base_dn", "not a dn"),
		"disabled without order":  settings(ldapRealm+"enabled", "false"),
		"certificates not looked": templates(ldapRealm+"ssl.verification_mode", "none"),
	} {
		h := newHost(t, elastic.Config{})
		assert.NoError(t, h.Restart(c), name)
	}
	h := newHost(t, elastic.Config{Version: "8.15.1"})
	assert.ErrorContains(t, h.Restart(templates(ldapRealm+"order", "1")), "Found multiple realms configured with the same order: 1")
	assert.ErrorContains(t, h.Restart(templates(ldapRealm+"order", "-")), "'order' is a mandatory parameter")
}

func sprint(status int, body string) string {
	return strings.TrimSpace(strings.Join([]string{itoa(status), body}, " "))
}
