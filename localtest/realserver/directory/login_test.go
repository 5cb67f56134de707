//go:build real && unix

package directory_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/elastic"
	"eslink/localtest/realserver"
	"eslink/localtest/realserver/directory"
	"eslink/localtest/services"
	"eslink/localtest/services/directorytest"
)

const (
	ldapRealm = "xpack.security.authc.realms.ldap.ldap1."
	adRealm   = "xpack.security.authc.realms.active_directory.ad1."
	domain    = "ep-1.epsrv-1.cn-hangzhou.privatelink.aliyuncs.com"
)

// pair is a real 7.17.29 and the embedded one, with the same settings, and the link that leads both to a directory.
type pair struct {
	link
	real     *realserver.Server
	embedded *elastic.Server
}

func newPair(t *testing.T) *pair {
	require.NoError(t, realserver.Check())
	distribution, err := realserver.Prepare(t.Context(), "7.17.29", "")
	require.NoError(t, err)
	p := &pair{}
	address, stop, err := realserver.ForwardPorts(t.Context(), []int{directory.Port}, func(ctx context.Context, _ int) (net.Conn, error) { return p.dial(ctx) })
	require.NoError(t, err)
	t.Cleanup(stop)
	p.real, err = realserver.Start(t.Context(), realserver.Options{Distribution: distribution, Name: "es-1", Password: "canary-elastic-1",
		Settings: settings(nil), Hosts: map[string]string{domain: address.String()}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.real.Stop()) })
	p.embedded = elastic.New(elastic.Config{Name: "es-1", Version: "7.17.29", Users: map[string]elastic.User{"elastic": elastic.Superuser("canary-elastic-1")},
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			name, port, err := net.SplitHostPort(addr)
			if err != nil || name != domain {
				return nil, errors.Join(err, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true})
			}
			var d net.Dialer
			return d.DialContext(ctx, network, net.JoinHostPort(address.String(), port))
		}})
	t.Cleanup(p.embedded.Stop)
	return p
}

// same demands the same replies of both, and returns them.
func (p *pair) same(t *testing.T, users ...string) (replies []string) {
	for _, user := range users {
		a, b := ask(t, http.DefaultTransport, p.real.URL(), user), ask(t, p.embedded, "http://embedded", user)
		assert.JSONEq(t, a, b, user)
		replies = append(replies, a)
	}
	return replies
}

// forget drops the logins that both remember.
func (p *pair) forget(t *testing.T) {
	for url, via := range map[string]http.RoundTripper{p.real.URL(): http.DefaultTransport, "http://embedded": p.embedded} {
		resp, err := via.RoundTrip(request(t, http.MethodPost, url+"/_security/realm/*/_clear_cache", "elastic:canary-elastic-1"))
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 200, resp.StatusCode)
	}
}

// directories starts a real directory and a fake one of each kind, and tells where they are.
func directories(t *testing.T) map[services.Kind]map[string]string {
	where := map[services.Kind]map[string]string{}
	for _, kind := range []services.Kind{services.OpenLDAP, services.ActiveDirectory} {
		s, err := directory.Start(t.Context(), kind, directorytest.People)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, s.Stop()) })
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		done := make(chan error)
		fake := services.NewDirectory(kind, directorytest.People)
		go func() { done <- fake.Serve(l) }()
		t.Cleanup(func() {
			assert.NoError(t, l.Close())
			assert.NoError(t, <-done)
		})
		where[kind] = map[string]string{"real": s.Addr(), "fake": l.Addr().String()}
	}
	return where
}

// login is a realm, and what zhang meets there.
type login struct {
	kind     services.Kind
	realm    map[string]string
	keystore map[string]string
	zhang    string // what the reply for zhang holds
}

func logins() map[string]login {
	secret := map[string]string{ldapRealm + "secure_bind_password": "guest1-password"}
	search := map[string]string{"order": "2", "url": "ldap://" + domain + ":389", "user_search.base_dn": "ou=people,dc=corp,dc=example,dc=org",
		"bind_dn": "cn=guest1,ou=people,dc=corp,dc=example,dc=org", "group_search.base_dn": "ou=groups,dc=corp,dc=example,dc=org", "unmapped_groups_as_roles": "true"}
	templates := map[string]string{"order": "2", "url": "ldap://" + domain + ":389", "user_dn_templates": `["cn={0},ou=people,dc=corp,dc=example,dc=org"]`,
		"group_search.base_dn": "dc=corp,dc=example,dc=org"}
	ad := map[string]string{"order": "2", "url": "ldap://" + domain + ":389", "domain_name": "corp.example.org", "unmapped_groups_as_roles": "true"}
	return map[string]login{
		"templates": {services.OpenLDAP, templates, nil, `"ldap_groups":["cn=es_readers,ou=groups,dc=corp,dc=example,dc=org"]`},
		"two templates": {services.OpenLDAP, with(templates, "user_dn_templates", `["cn={0},ou=groups,dc=corp,dc=example,dc=org","cn={0},ou=people,dc=corp,dc=example,dc=org"]`), nil,
			`"ldap_dn":"cn=zhang,ou=people,`},
		"templates, no list":   {services.OpenLDAP, with(templates, "user_dn_templates", "cn={0},ou=people,dc=corp,dc=example,dc=org"), nil, "unable to authenticate"},
		"templates, no groups": {services.OpenLDAP, with(templates, "group_search.base_dn", "dc=nowhere"), nil, "error attempting to authenticate request"},
		"search":               {services.OpenLDAP, search, secret, `"roles":["es_readers"]`},
		"search, wrong secret": {services.OpenLDAP, search, map[string]string{ldapRealm + "secure_bind_password": "wrong"}, "unable to authenticate"},
		"search, no secret":    {services.OpenLDAP, search, nil, "unable to authenticate"},
		"active directory":     {services.ActiveDirectory, ad, nil, `"CN=es_readers,CN=Users,DC=corp,DC=example,DC=org"`},
		"active directory, as itself": {services.ActiveDirectory, with(ad, "bind_dn", "guest1"), map[string]string{adRealm + "secure_bind_password": "guest1-password"},
			`"CN=es_readers,CN=Users,DC=corp,DC=example,DC=org"`},
		"active directory, not itself": {services.ActiveDirectory, with(ad, "bind_dn", "guest1"), map[string]string{adRealm + "secure_bind_password": "wrong"}, "unable to authenticate"},
		"one level of groups":          {services.ActiveDirectory, with(ad, "group_search.scope", "one_level"), nil, `"ldap_groups":[]`},
	}
}

// TestRealLogin logs a directory's users in at a real 7.17.29 and at the embedded one, with the same settings, over the same link: an address that is the endpoint
// domain's, whose connections end at the directory. Both must say the same, whether the directory is a real one or the fake of package services.
func TestRealLogin(t *testing.T) {
	p, where := newPair(t), directories(t)
	for name, c := range logins() {
		t.Run(name, func(t *testing.T) { p.logIn(t, c, where[c.kind]) })
	}
}

func (p *pair) logIn(t *testing.T, c login, where map[string]string) {
	everyone := []string{"elastic:canary-elastic-1", "zhang:zhang-password", "li:li-password", "guest1:guest1-password", "zhang:wrong", "zhang:", "nobody:x", "zhang)(cn=*:x"}
	prefix := map[services.Kind]string{services.OpenLDAP: ldapRealm, services.ActiveDirectory: adRealm}[c.kind]
	require.NoError(t, p.real.SetKeystore(t.Context(), c.keystore))
	p.embedded.SetKeystore(c.keystore)
	for _, which := range []string{"real", "fake"} {
		set := settings(nil)
		for k, v := range c.realm {
			set[prefix+k] = v
		}
		p.lead(where[which])
		if which == "real" {
			require.NoError(t, p.real.Restart(t.Context(), set))
			require.NoError(t, p.embedded.Restart(set))
		}
		p.forget(t)
		replies := p.same(t, everyone...)
		assert.Contains(t, replies[0], `"reserved"`)
		assert.Contains(t, replies[1], c.zhang, which)
		if which == "fake" && c.kind == services.ActiveDirectory {
			p.same(t, `CORP\zhang:zhang-password`, "zhang@corp.example.org:zhang-password")
		}
	}
	p.lead("") // the link is gone: who is remembered stays in, nobody else
	p.same(t, everyone...)
	p.forget(t)
	assert.Contains(t, p.same(t, "zhang:zhang-password")[0], "unable to authenticate user [zhang]")
}

// TestRealKeystore shows in which order secrets and settings may go: a secret whose realm is not in elasticsearch.yml keeps a node down, a realm without its secret does not.
func TestRealKeystore(t *testing.T) {
	require.NoError(t, realserver.Check())
	distribution, err := realserver.Prepare(t.Context(), "7.17.29", "")
	require.NoError(t, err)
	real, err := realserver.Start(t.Context(), realserver.Options{Distribution: distribution, Name: "es-1", Password: "canary-elastic-1", Settings: settings(nil)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, real.Stop()) })
	embedded := elastic.New(elastic.Config{Name: "es-1", Version: "7.17.29", Users: map[string]elastic.User{"elastic": elastic.Superuser("canary-elastic-1")}})
	t.Cleanup(embedded.Stop)
	realm := map[string]string{ldapRealm + "order": "2", ldapRealm + "url": "ldap://" + domain + ":389", ldapRealm + "user_search.base_dn": "dc=x", ldapRealm + "bind_dn": "cn=x"}
	for _, step := range []struct {
		keystore, settings map[string]string
		says               string
	}{
		{map[string]string{ldapRealm + "secure_bind_password": "canary-1"}, nil, "found settings for the realm [ldap1] (with type [ldap]) in the secure settings"},
		{nil, realm, ""},
		{map[string]string{ldapRealm + "secure_bind_password": "canary-1"}, realm, ""},
		{map[string]string{"no.such.secret": "canary-1"}, realm, "unknown secure setting [no.such.secret]"},
		{nil, nil, ""},
	} {
		require.NoError(t, real.SetKeystore(t.Context(), step.keystore))
		embedded.SetKeystore(step.keystore)
		for _, err := range []error{real.Restart(t.Context(), settings(step.settings)), embedded.Restart(settings(step.settings))} {
			if step.says == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, step.says)
			}
		}
	}
}

// link leads to one place at a time. A server with a search realm keeps connections open, so leading it elsewhere cuts them.
type link struct {
	mu   sync.Mutex
	to   string // host:port; "" is nowhere
	open []net.Conn
}

func (l *link) lead(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		c.Close()
	}
	l.to, l.open = to, nil
}

func (l *link) dial(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.to == "" {
		return nil, errors.New("no link")
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp4", l.to)
	if err == nil {
		l.open = append(l.open, c)
	}
	return c, err
}

func with(realm map[string]string, key, value string) map[string]string {
	out := maps.Clone(realm)
	out[key] = value
	return out
}

// settings adds to what both servers always have.
func settings(more map[string]string) map[string]string {
	out := map[string]string{"xpack.license.self_generated.type": "trial",
		"xpack.security.authc.realms.file.f1.order": "0", "xpack.security.authc.realms.native.n1.order": "1"}
	maps.Copy(out, more)
	return out
}

func request(t *testing.T, method, url, user string) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	name, password, _ := strings.Cut(user, ":")
	r.SetBasicAuth(name, password)
	return r
}

// ask gives the reply of _authenticate, its roles sorted: a real server lists them in the order of a hash.
func ask(t *testing.T, via http.RoundTripper, url, user string) string {
	resp, err := via.RoundTrip(request(t, http.MethodGet, url+"/_security/_authenticate", user))
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var reply map[string]any
	require.NoError(t, json.Unmarshal(body, &reply), string(body))
	if roles, ok := reply["roles"].([]any); ok {
		sort.Slice(roles, func(i, j int) bool { return roles[i].(string) < roles[j].(string) })
	}
	text, err := json.Marshal(reply)
	require.NoError(t, err)
	return string(text)
}
