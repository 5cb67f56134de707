//go:build real && unix

package realserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/elastic/elastictest"
)

// The suite that the embedded Elasticsearch passes says what a real one answers. Here the real ones are asked.
func TestConformance(t *testing.T) {
	for _, version := range Versions {
		t.Run(version, func(t *testing.T) {
			w := world(t, distribution(t, version))
			elastictest.Run(t, func(*testing.T) elastictest.World { return w })
		})
	}
}

// world starts a pair of servers of which the first may read from the second through a link.
func world(t *testing.T, d Distribution) elastictest.World {
	w := elastictest.World{Version: d.Version, SourceHost: "source.example:9200", Refused: "closed.example:9200", Users: d.Security}
	o := Options{Distribution: d, Name: "source"}
	if d.Security {
		o.FileUsers, o.Files = accounts(t)
	}
	source := start(t, o)
	cluster := func(s *Server) elastictest.Cluster {
		c := elastictest.Cluster{URL: s.URL(), HTTP: &http.Transport{}}
		if d.Security {
			c.Username, c.Password = "elastic", password
		}
		return c
	}
	link := func() (string, func()) {
		address, stop, err := Forward(t.Context(), func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp4", strings.TrimPrefix(source.URL(), "http://"))
		})
		require.NoError(t, err)
		t.Cleanup(stop)
		return address.String(), stop
	}
	open, _ := link()
	closed, stop := link()
	stop() // and nobody listens there any more
	o.Name = "dest"
	o.Hosts = map[string]string{"source.example": open, "closed.example": closed}
	o.Settings = map[string]string{"reindex.remote.whitelist": "source.example:9200, closed.example:9200, nosuch.invalid:*"}
	w.Source, w.Dest = cluster(source), cluster(start(t, o))
	return w
}

// accounts are the suite's users, each with a role of its name, for the file realm.
func accounts(t *testing.T) (users []FileUser, files map[string]string) {
	var roles strings.Builder
	for name, a := range elastictest.Users {
		users = append(users, FileUser{Name: name, Password: elastictest.PasswordOf(name), Roles: []string{name}})
		role := map[string]any{"cluster": append([]string{}, a.Cluster...)}
		if len(a.Names) > 0 {
			role["indices"] = []any{map[string]any{"names": a.Names, "privileges": a.Privileges}}
		}
		definition, err := json.Marshal(role) // JSON is YAML, but the server takes roles.yml apart by lines first
		require.NoError(t, err)
		fmt.Fprintf(&roles, "%s: %s\n", name, definition)
	}
	return users, map[string]string{"roles.yml": roles.String()}
}
