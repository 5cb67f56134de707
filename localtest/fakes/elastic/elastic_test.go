package elastic_test

import (
	"context"
	"maps"
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/elastic"
	"eslink/localtest/fakes/elastic/elastictest"
	"eslink/localtest/services"
	"eslink/localtest/services/directorytest"
)

func world(t *testing.T, version string) elastictest.World {
	t.Helper()
	users := map[string]elastic.User{"elastic": elastic.Superuser("secret-1")}
	for name, a := range elastictest.Users {
		users[name] = elastic.User{Password: elastictest.PasswordOf(name), Cluster: a.Cluster,
			Indices: []elastic.IndexPrivileges{{Names: a.Names, Privileges: a.Privileges}}}
	}
	source := elastic.New(elastic.Config{Name: "source", Version: version, Users: users})
	settings := maps.Clone(elastictest.Realms)
	settings["reindex.remote.whitelist"] = "source.example:9200, closed.example:9200, nosuch.invalid:*"
	directories := map[string]*services.Directory{
		"ldap.example:389": services.NewDirectory(services.OpenLDAP, directorytest.People),
		"ad.example:389":   services.NewDirectory(services.ActiveDirectory, directorytest.People),
	}
	dest := elastic.New(elastic.Config{Name: "dest", Version: version, Users: users, Settings: settings, Remote: network{"source.example:9200": source},
		Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			near, far := net.Pipe()
			go directories[addr].ServeConn(far)
			return near, nil
		}})
	t.Cleanup(source.Stop)
	t.Cleanup(dest.Stop)
	return elastictest.World{
		Version: version, Users: true, SourceHost: "source.example:9200", Refused: "closed.example:9200", Can: []string{"directory", "embedded", "pit", "single-node"},
		Dest:   elastictest.Cluster{URL: "http://dest", HTTP: dest, Username: "elastic", Password: "secret-1"},
		Source: elastictest.Cluster{URL: "http://source", HTTP: source, Username: "elastic", Password: "secret-1"},
	}
}

func TestConformance(t *testing.T) {
	cases, err := elastictest.Load()
	require.NoError(t, err)
	for _, version := range []string{"7.10.2", "7.17.29", "8.15.1"} {
		for _, c := range cases {
			t.Run(version+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { c.Run(t, world(t, version)) })
			})
		}
	}
}
