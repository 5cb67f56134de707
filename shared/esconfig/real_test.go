//go:build real && unix

package esconfig_test

import (
	"fmt"
	"maps"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/events"
	"eslink/localtest/realserver"
	"eslink/shared/es"
	"eslink/shared/esconfig"
)

// TestRealServersBoot gives a real 7.17.29, which an unknown setting keeps from
// starting, what specs need, and takes it out again. Watcher's settings are not
// among it: that server has no Watcher.
func TestRealServersBoot(t *testing.T) {
	require.NoError(t, realserver.Check())
	distribution, err := realserver.Prepare(t.Context(), "7.17.29", "")
	require.NoError(t, err)
	before := map[string]string{"xpack.license.self_generated.type": "trial", esconfig.Whitelist: `["a:9200"]`}
	s := spec(t, "ldap")
	s.UseCases = append(s.UseCases, spec(t, "active-directory").UseCases...)
	s.UseCases = append(s.UseCases, spec(t, "reindex").UseCases...)
	s.Indices = spec(t, "reindex").Indices
	s.UseCases[2].Protocol, s.Target.TLS = "https", esconfig.Certificate
	s.UseCases[1].Protocol, s.UseCases[1].Port = "ldaps", 636
	server, err := realserver.Start(t.Context(), realserver.Options{Distribution: distribution, Name: "es-1", Password: "canary-elastic-1", Settings: before,
		Keystore: map[string]string{}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	client, err := es.New(http.DefaultTransport, server.URL(), "elastic", "canary-elastic-1")
	require.NoError(t, err)

	config, ours := apply(t, s, before, esconfig.Ours{}, nil)
	require.NoError(t, server.Restart(t.Context(), config))
	_, err = client.Authenticate(t.Context())
	require.NoError(t, err, "elastic logs in")
	nodes, err := client.NodeSettings(t.Context())
	require.NoError(t, err)
	require.Len(t, nodes, 1)
	for _, has := range nodes {
		require.Equal(t, []string{"a:9200", domain + ":9200"}, has.List(esconfig.Whitelist))
		for key, want := range map[string]string{ldap1 + "order": "2", ad1 + "order": "3", ldap1 + "url": "ldap://" + domain + ":389"} {
			require.Contains(t, fmt.Sprint(has.List(key), has.Text(key)), want, key)
		}
		require.Equal(t, []string{"cn={0},ou=people,dc=example,dc=org"}, has.List(ldap1+"user_dn_templates"), "one name, commas and all")
	}

	search := s
	search.UseCases = []events.UseCase{s.UseCases[0]}
	d := *s.UseCases[0].LDAP
	d.UserDNTemplates, d.UserSearch = nil, &events.Search{BaseDN: "dc=example,dc=org", Filter: "(&(objectClass=person)(cn={0}))"}
	search.UseCases[0].LDAP, search.Indices, search.Target.TLS = &d, nil, ""
	config, ours = apply(t, search, config, ours, before)
	require.NoError(t, server.Restart(t.Context(), config))
	_, err = client.Authenticate(t.Context())
	require.NoError(t, err)

	back, _ := apply(t, events.Spec{}, config, ours, before)
	require.True(t, maps.Equal(before, back))
	require.NoError(t, server.Restart(t.Context(), back))
}
