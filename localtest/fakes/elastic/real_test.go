//go:build real && unix

package elastic_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/elastic/elastictest"
	"eslink/localtest/realserver"
	"eslink/localtest/realserver/directory"
	"eslink/localtest/services"
	"eslink/localtest/services/directorytest"
)

// TestRealConformance asks real servers for the replies the embedded one gives.
func TestRealConformance(t *testing.T) {
	require.NoError(t, realserver.Check())
	for _, version := range realserver.Versions {
		t.Run(version, func(t *testing.T) {
			w := realWorld(t, version)
			elastictest.Run(t, func(*testing.T) elastictest.World { return w })
		})
	}
}

func realWorld(t *testing.T, version string) elastictest.World {
	d, err := realserver.Prepare(t.Context(), version, "")
	require.NoError(t, err)
	o := realserver.Options{Distribution: d, Name: "source"}
	w := elastictest.World{Version: version, Refused: "127.0.0.1:1", Users: d.Security, Can: []string{"single-node"}}
	if d.Security {
		o.Password = "secret-1"
		var roles strings.Builder
		for name, a := range elastictest.Users {
			o.FileUsers = append(o.FileUsers, realserver.FileUser{Name: name, Password: elastictest.PasswordOf(name), Roles: []string{name}})
			fmt.Fprintf(&roles, "%s:\n  cluster: [%s]\n", name, strings.Join(a.Cluster, ", "))
			if len(a.Names) > 0 {
				fmt.Fprintf(&roles, "  indices:\n    - names: ['%s']\n      privileges: [%s]\n", strings.Join(a.Names, "','"), strings.Join(a.Privileges, ", "))
			}
		}
		o.Files = map[string]string{"roles.yml": roles.String()}
		w.Can = append(w.Can, "pit")
	}
	side := func() elastictest.Cluster {
		s, err := realserver.Start(t.Context(), o)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, s.Stop()) })
		c := elastictest.Cluster{URL: s.URL(), HTTP: http.DefaultTransport}
		if d.Security {
			c.Username, c.Password = "elastic", "secret-1"
		}
		return c
	}
	w.Source = side()
	o.Name, o.Settings = "dest", map[string]string{"reindex.remote.whitelist": "127.0.0.1:*, nosuch.invalid:*"}
	if d.Security {
		maps.Copy(o.Settings, elastictest.Realms)
		o.Settings["xpack.license.self_generated.type"] = "trial"
		o.Hosts = directories(t)
		w.Can = append(w.Can, "directory")
	}
	w.Dest = side()
	w.SourceHost = strings.TrimPrefix(w.Source.URL, "http://")
	slices.Sort(w.Can)
	return w
}

// directories starts an OpenLDAP and a domain controller, each behind the name
// that elastictest.Realms has for it.
func directories(t *testing.T) (hosts map[string]string) {
	hosts = map[string]string{}
	for name, kind := range map[string]services.Kind{"ldap.example": services.OpenLDAP, "ad.example": services.ActiveDirectory} {
		s, err := directory.Start(t.Context(), kind, directorytest.People)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, s.Stop()) })
		host, _, err := net.SplitHostPort(s.Addr())
		require.NoError(t, err)
		hosts[name] = host
	}
	return hosts
}
