package esconfig_test

import (
	"encoding/json"
	"maps"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"eslink/events"
	"eslink/shared/esconfig"
)

const (
	domain = "ep-a1.epsrv-b2.cn-hangzhou.privatelink.aliyuncs.com"
	ldap1  = "xpack.security.authc.realms.ldap.ldap1."
	ad1    = "xpack.security.authc.realms.active_directory.ad1."
	native = "xpack.security.authc.realms.native.native1.order"
	file   = "xpack.security.authc.realms.file.file1.order"
)

// spec is the spec of a sample request.
func spec(t require.TestingT, name string) events.Spec {
	raw, err := os.ReadFile("../../events/samples/requests/start-" + name + ".json")
	require.NoError(t, err)
	r, err := events.ParseRequest(raw)
	require.NoError(t, err)
	return *r.Spec
}

// apply brings a configuration to what a spec needs.
func apply(t require.TestingT, s events.Spec, config map[string]string, ours esconfig.Ours, before map[string]string) (map[string]string, esconfig.Ours) {
	want, fs := esconfig.Needs(s, domain, config, ours, before)
	require.Empty(t, fs)
	next, ours, err := esconfig.Merge(config, ours, want)
	require.NoError(t, err)
	return next, ours
}

func TestWhatEachUseCaseNeeds(t *testing.T) {
	t.Parallel()
	base := map[string]string{native: "0", file: "1"}
	for name, want := range map[string]map[string]string{
		"watcher":    {esconfig.WatcherEnabled: "true"},
		"dictionary": {"ik.remote_ext_dict": "http://" + domain + ":8080/words.dic"},
		"reindex":    {esconfig.Whitelist: domain + ":9200"},
		"ldap": {ldap1 + "order": "2", ldap1 + "url": "ldap://" + domain + ":389", ldap1 + "user_dn_templates": `["cn={0},ou=people,dc=example,dc=org"]`,
			ldap1 + "group_search.base_dn": "ou=groups,dc=example,dc=org"},
		"active-directory": {ad1 + "order": "2", ad1 + "url": "ldap://" + domain + ":389", ad1 + "domain_name": "corp.example.org", ad1 + "unmapped_groups_as_roles": "true"},
		"two-use-cases": {esconfig.WatcherEnabled: "true", ldap1 + "order": "2", ldap1 + "url": "ldap://" + domain + ":389",
			ldap1 + "user_dn_templates": `["cn={0},ou=people,dc=example,dc=org"]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, name)
			next, ours := apply(t, s, map[string]string{"a": "b"}, esconfig.Ours{}, nil)
			all := map[string]string{"a": "b"}
			maps.Copy(all, want)
			if want[ldap1+"order"]+want[ad1+"order"] != "" {
				maps.Copy(all, base)
			}
			assert.Equal(t, all, next)
			again, same := apply(t, s, next, ours, map[string]string{"a": "b"})
			assert.Equal(t, next, again)
			assert.Equal(t, ours, same)
			back, left := apply(t, events.Spec{}, next, ours, map[string]string{"a": "b"})
			assert.Equal(t, map[string]string{"a": "b"}, back)
			assert.Empty(t, left.Entries)
			assert.Empty(t, left.Settings)
		})
	}
}

func TestCertificatesByTheirChain(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"watcher": esconfig.WebhookVerification, "reindex": esconfig.Verification,
		"ldap": ldap1 + "ssl.verification_mode", "active-directory": ad1 + "ssl.verification_mode"} {
		s := spec(t, name)
		next, _ := apply(t, s, nil, esconfig.Ours{}, nil)
		assert.NotContains(t, next, key, "the service speaks no TLS")
		s.UseCases[0].Protocol += "s"
		next, _ = apply(t, s, nil, esconfig.Ours{}, nil)
		assert.NotContains(t, next, key, "and the spec does not say so")
		s.Target.TLS = esconfig.Certificate
		next, _ = apply(t, s, nil, esconfig.Ours{}, nil)
		assert.Equal(t, esconfig.Certificate, next[key], name)
	}
	s := spec(t, "ldap")
	s.Target.TLS = esconfig.Certificate
	s.UseCases[0].Protocol, s.UseCases[0].Port = "ldaps", 636
	next, _ := apply(t, s, nil, esconfig.Ours{}, nil)
	assert.Equal(t, "ldaps://"+domain+":636", next[ldap1+"url"])
}

func TestASearchingRealm(t *testing.T) {
	t.Parallel()
	s := spec(t, "ldap")
	d := s.UseCases[0].LDAP
	d.UserDNTemplates, d.BindDN, d.UserSearch = nil, "cn=reader,dc=example,dc=org", &events.Search{BaseDN: "ou=people,dc=example,dc=org", Filter: "(uid={0})"}
	next, _ := apply(t, s, nil, esconfig.Ours{}, nil)
	for key, want := range map[string]string{"bind_dn": d.BindDN, "user_search.base_dn": d.UserSearch.BaseDN, "user_search.filter": "(uid={0})"} {
		assert.Equal(t, want, next[ldap1+key])
	}
	assert.NotContains(t, next, ldap1+"user_dn_templates")
	assert.NotContains(t, next, ldap1+"group_search.filter", "Elasticsearch's own holds")
	assert.Equal(t, ldap1+"secure_bind_password", esconfig.SecurePassword(s.UseCases[0]))
}

const realms = "xpack.security.authc.realms."

func TestRealmsThatWouldLockElasticOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config map[string]string
		order  int
		want   map[string]string // of the findings, a part of the message by field
	}{
		"reserved realm off":  {map[string]string{"xpack.security.authc.reserved_realm.enabled": "false"}, 0, map[string]string{"instanceId": "elastic could not log in"}},
		"native realm off":    {map[string]string{realms + "native.n.order": "0", realms + "native.n.enabled": "false"}, 0, map[string]string{"instanceId": "native realm n is switched off"}},
		"file realm off":      {map[string]string{realms + "file.f.enabled": " false"}, 0, map[string]string{"instanceId": "file realm f is switched off"}},
		"before native":       {map[string]string{realms + "native.n.order": "5", realms + "file.f.order": "1"}, 3, map[string]string{"useCases[0].ldap.order": "not after the native and file realms (5)"}},
		"in native's place":   {map[string]string{realms + "native.n.order": "5"}, 5, map[string]string{"useCases[0].ldap.order": "not after"}},
		"in another's place":  {map[string]string{realms + "saml.s.order": "4"}, 4, map[string]string{"useCases[0].ldap.order": "4 is the order of realm s"}},
		"a foreign namesake":  {map[string]string{ldap1 + "order": "2", ldap1 + "url": "ldap://10.0.0.1"}, 0, map[string]string{"useCases[0].ldap.realm": "with other settings"}},
		"of another type":     {map[string]string{realms + "pki.ldap1.order": "2"}, 0, map[string]string{"useCases[0].ldap.realm": "of type pki"}},
		"several at once":     {map[string]string{realms + "pki.ldap1.order": "2", realms + "file.f.enabled": "false"}, 2, map[string]string{"useCases[0].ldap.realm": "", "instanceId": "", "useCases[0].ldap.order": ""}},
		"all is well":         {map[string]string{realms + "native.n.order": "0", realms + "saml.s.order": "3"}, 4, nil},
		"enabled, explicitly": {map[string]string{realms + "native.n.order": "0", realms + "native.n.enabled": "true"}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, "ldap")
			s.UseCases[0].LDAP.Order = c.order
			_, fs := esconfig.Needs(s, domain, c.config, esconfig.Ours{}, nil)
			got := map[string]string{}
			for _, f := range fs {
				assert.Contains(t, f.Message, c.want[f.Field])
				assert.NotEmpty(t, f.Remedy)
				got[f.Field] = c.want[f.Field]
			}
			if c.want == nil {
				assert.Empty(t, fs)
				return
			}
			assert.Equal(t, c.want, got)
		})
	}
}

func TestPlacesOfRealms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, want map[string]string }{
		"nothing there": {nil, map[string]string{native: "0", file: "1", ldap1 + "order": "2"}},
		"another realm": {map[string]string{realms + "saml.s.order": "0"}, map[string]string{native: "1", file: "2", ldap1 + "order": "3"}},
		"late others":   {map[string]string{realms + "saml.s.order": "7"}, map[string]string{native: "0", file: "1", ldap1 + "order": "8"}},
		"native there":  {map[string]string{realms + "native.n.order": "3"}, map[string]string{realms + "native.n.order": "3", native: "", file: "0", ldap1 + "order": "4"}},
		"both there":    {map[string]string{realms + "native.n.order": "0", realms + "file.f.cache.ttl": "1m"}, map[string]string{native: "", file: "", ldap1 + "order": "2"}},
		"the very same": {map[string]string{ldap1 + "order": "9"}, map[string]string{native: "0", file: "1", ldap1 + "order": "9"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, "ldap")
			if name == "the very same" {
				full, _ := apply(t, s, nil, esconfig.Ours{}, nil)
				delete(full, native)
				delete(full, file)
				maps.Copy(full, c.config)
				c.config = full
			}
			next, ours := apply(t, s, c.config, esconfig.Ours{}, nil)
			for key, want := range c.want {
				assert.Equal(t, want, next[key], key)
			}
			if name == "the very same" {
				assert.Len(t, ours.Settings, 2, "native and file alone are ours")
			}
			again, _ := apply(t, s, next, ours, c.config)
			assert.Equal(t, next, again, "places stay")
		})
	}
	s := spec(t, "ldap")
	s.UseCases = append(s.UseCases, spec(t, "active-directory").UseCases...)
	next, ours := apply(t, s, nil, esconfig.Ours{}, nil)
	assert.Equal(t, "2 3", next[ldap1+"order"]+" "+next[ad1+"order"])
	s.UseCases = s.UseCases[1:]
	next, ours = apply(t, s, next, ours, map[string]string{})
	assert.Equal(t, " 3", next[ldap1+"order"]+" "+next[ad1+"order"], "a realm no longer named goes, the other stays in its place")
	assert.Equal(t, "0", next[native])
	next, _ = apply(t, events.Spec{}, next, ours, map[string]string{})
	assert.Empty(t, next)
}

func TestWhatOthersAddedInTheMeantime(t *testing.T) {
	t.Parallel()
	s, before := spec(t, "ldap"), map[string]string{"a": "b"}
	next, ours := apply(t, s, before, esconfig.Ours{}, nil)
	next["c"] = "d"
	next[ldap1+"timeout.tcp_read"] = "5s"
	next[ldap1+"order"] = "7"
	back, _ := apply(t, events.Spec{}, next, ours, before)
	assert.Equal(t, map[string]string{"a": "b", "c": "d"}, back, "a realm of ours goes whole")

	next, ours = apply(t, s, before, esconfig.Ours{}, nil)
	next[realms+"saml.s.order"] = "3"
	back, _ = apply(t, events.Spec{}, next, ours, before)
	assert.Equal(t, map[string]string{"a": "b", native: "0", file: "1", realms + "saml.s.order": "3"}, back, "before 8.0, native users log in by our realms now")

	next, ours = apply(t, s, map[string]string{realms + "saml.s.order": "3"}, esconfig.Ours{}, nil)
	back, _ = apply(t, events.Spec{}, next, ours, map[string]string{realms + "saml.s.order": "3"})
	assert.Equal(t, map[string]string{realms + "saml.s.order": "3"}, back, "as it was")

	next, ours = apply(t, s, before, esconfig.Ours{}, nil)
	next[realms+"native.native1.cache.ttl"] = "1m"
	back, _ = apply(t, events.Spec{}, next, ours, before)
	assert.Equal(t, map[string]string{"a": "b", native: "0", realms + "native.native1.cache.ttl": "1m"}, back)
}

func TestSettingsGoBackToWhatTheyWere(t *testing.T) {
	t.Parallel()
	s := spec(t, "watcher")
	for _, before := range []map[string]string{{}, {esconfig.WatcherEnabled: "false"}, {esconfig.WatcherEnabled: ""}} {
		next, ours := apply(t, s, before, esconfig.Ours{}, nil)
		assert.Equal(t, "true", next[esconfig.WatcherEnabled])
		raw, err := json.Marshal(ours) // it is kept as a row
		require.NoError(t, err)
		var kept esconfig.Ours
		require.NoError(t, json.Unmarshal(raw, &kept))
		back, _ := apply(t, events.Spec{}, next, kept, before)
		assert.Equal(t, before, back)
		// Somebody else wants it too, after us.
		next[esconfig.WatcherEnabled] = "TRUE"
		back, _ = apply(t, events.Spec{}, next, kept, before)
		assert.Equal(t, next, back)
	}
	on := map[string]string{esconfig.WatcherEnabled: "true"}
	next, ours := apply(t, s, on, esconfig.Ours{}, nil)
	assert.Empty(t, ours.Settings)
	back, _ := apply(t, events.Spec{}, next, ours, on)
	assert.Equal(t, on, back, "it was on before us")

	// A write that never came to pass, and one that somebody has undone.
	_, intent := apply(t, s, map[string]string{}, esconfig.Ours{}, nil)
	off := map[string]string{esconfig.WatcherEnabled: "false"}
	next, ours = apply(t, s, off, intent, nil)
	back, _ = apply(t, events.Spec{}, next, ours, nil)
	assert.Equal(t, off, back)
}

// Whatever a configuration holds, what is put in can be taken out, and nothing
// else changes.
func TestNeedsComeAndGo(t *testing.T) {
	t.Parallel()
	names := []string{"watcher", "dictionary", "reindex", "ldap", "active-directory", "two-use-cases"}
	keys := []string{esconfig.WatcherEnabled, esconfig.Verification, realms + "saml.s.order", realms + "native.n.order", realms + "file.file1.order", ldap1 + "order", "ik.remote_ext_dict", "a", "b.c"}
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.MapOf(rapid.SampledFrom(keys), rapid.SampledFrom([]string{"true", "false", "0", "1", "2", "9", ""})).Draw(t, "config")
		config, ours, was := maps.Clone(before), esconfig.Ours{}, map[string]string(nil)
		for _, name := range rapid.SliceOfN(rapid.SampledFrom(names), 1, 4).Draw(t, "specs") {
			s := spec(t, name)
			want, fs := esconfig.Needs(s, domain, config, ours, was)
			if len(fs) > 0 {
				return
			}
			next, then, err := esconfig.Merge(config, ours, want)
			require.NoError(t, err)
			for key, value := range want.Settings {
				require.Equal(t, value, next[key])
			}
			again, same, err := esconfig.Merge(next, then, want)
			require.NoError(t, err)
			require.Equal(t, next, again)
			require.Equal(t, then, same)
			config, ours, was = next, then, before
		}
		back, left := apply(t, events.Spec{}, config, ours, before)
		require.Equal(t, before, back)
		require.Empty(t, left.Settings)
	})
}

func TestPlansDoNotNameTheEndpoint(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"watcher", "dictionary", "reindex", "ldap", "two-use-cases"} {
		s, config := spec(t, name), map[string]string{esconfig.Whitelist: "a:9200"}
		want, _ := esconfig.Needs(s, esconfig.Placeholder, config, esconfig.Ours{}, nil)
		next, _, err := esconfig.Merge(config, esconfig.Ours{}, want)
		require.NoError(t, err)
		planned := esconfig.Difference(config, next)
		next, _ = apply(t, s, config, esconfig.Ours{}, nil)
		assert.Equal(t, planned, esconfig.Hide(esconfig.Difference(config, next), domain), name)
	}
}
