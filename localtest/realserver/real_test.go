//go:build real && unix

package realserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// These tests run one after the other: a server takes half a gigabyte and both cores while it boots.

const (
	password = "canary-elastic-1"
	domain   = "ep-1.epsrv-1.cn-hangzhou.privatelink.aliyuncs.com"
	child    = "REALSERVER_CHILD" // set for the process of TestServerDiesWithItsParent
)

func TestMain(m *testing.M) {
	if os.Getenv(child) == "" {
		os.Exit(m.Run())
	}
	d, err := Prepare(context.Background(), "7.10.2", "")
	if err == nil {
		var s *Server
		if s, err = Start(context.Background(), Options{Distribution: d, Name: "orphan"}); err == nil {
			fmt.Println(s.URL(), s.home)
			select {}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// distribution fails the test, rather than skip it, where Java 17 or Maven is missing.
func distribution(t *testing.T, version string) Distribution {
	require.NoError(t, Check())
	d, err := Prepare(t.Context(), version, "")
	require.NoError(t, err)
	return d
}

func start(t *testing.T, o Options) *Server {
	if o.Distribution.Security {
		o.Password = password
	}
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, s.Stop())
		assert.NoDirExists(t, s.home)
	})
	return s
}

// call sends one request as elastic, or as "user:password", and gives status and body (-1: no answer).
func call(s *Server, method, path, body string, user ...string) (int, string) {
	req, err := http.NewRequest(method, s.URL()+path, strings.NewReader(body))
	if err != nil {
		return -1, err.Error()
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	name, secret := "elastic", password
	if len(user) > 0 {
		name, secret, _ = strings.Cut(user[0], ":")
	}
	if s.options.Password != "" {
		req.SetBasicAuth(name, secret)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return -1, err.Error()
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return -1, err.Error()
	}
	return resp.StatusCode, string(answer)
}

func load(t *testing.T, s *Server, index string, n int) {
	var bulk strings.Builder
	for i := range n {
		fmt.Fprintf(&bulk, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d}\n", i, i)
	}
	status, body := call(s, "POST", "/"+index+"/_bulk?refresh=true", bulk.String())
	require.Equal(t, 200, status, body)
	require.Contains(t, body, `"errors":false`)
}

func TestNodesOfOneCluster(t *testing.T) {
	d := distribution(t, "7.10.2") // migrate has two of 7.17.29
	first := start(t, Options{Distribution: d, Name: "first", Joined: true})
	second := start(t, Options{Distribution: d, Name: "second", Join: first})
	// green: every shard has its replica, so on the other node.
	green := func() {
		status, body := call(first, "GET", "/_cluster/health?wait_for_status=green&wait_for_nodes=2&timeout=20s", "")
		require.Equal(t, 200, status, body)
	}
	status, body := call(second, "PUT", "/both", `{"settings":{"number_of_shards":2,"number_of_replicas":1}}`)
	require.Equal(t, 200, status, body)
	load(t, second, "both", 40)
	green()
	for _, s := range []*Server{second, first} {
		s.Kill()
		require.NoError(t, s.Restart(t.Context(), nil))
		green()
		_, body := call(second, "GET", "/both/_count", "")
		require.Contains(t, body, `"count":40`)
	}
	_, err := Start(t.Context(), Options{Distribution: d, Name: "third", Join: &Server{options: Options{Name: "alone"}}})
	require.ErrorContains(t, err, "alone takes no other nodes")
}

func TestReindexThroughALink(t *testing.T) {
	for _, version := range Versions {
		t.Run(version, func(t *testing.T) {
			d := distribution(t, version)
			source := start(t, Options{Distribution: d, Name: "source"})
			load(t, source, "src", 40)
			var cut atomic.Bool
			address, stop, err := Forward(t.Context(), func(ctx context.Context) (net.Conn, error) {
				if cut.Load() {
					return nil, errors.New("listener stopped")
				}
				return (&net.Dialer{}).DialContext(ctx, "tcp4", strings.TrimPrefix(source.URL(), "http://"))
			})
			require.NoError(t, err)
			defer stop()
			dest := start(t, Options{Distribution: d, Name: "dest", Hosts: map[string]string{domain: address.String()}})
			reindex := func(host, secret string) (int, string) {
				login := ""
				if d.Security {
					login = `,"username":"elastic","password":"` + secret + `"`
				}
				return call(dest, "POST", "/_reindex?refresh=true", `{"source":{"remote":{"host":"http://`+host+`"`+login+`},"index":"src"},"dest":{"index":"dst"}}`)
			}

			status, body := reindex(domain+":9200", password)
			assert.Equal(t, 400, status)
			assert.Contains(t, body, "["+domain+":9200] not whitelisted in reindex.remote.whitelist")

			whitelist := map[string]string{"reindex.remote.whitelist": domain + ":9200"}
			require.NoError(t, dest.Restart(t.Context(), whitelist))
			status, body = reindex(domain+":9200", password)
			require.Equal(t, 200, status, body)
			assert.Contains(t, body, `"total":40,"updated":0,"created":40,"deleted":0`)
			_, body = call(dest, "GET", "/dst/_count", "")
			assert.Contains(t, body, `{"count":40,`)

			status, body = reindex("other.example.com:9200", password)
			assert.Equal(t, 400, status)
			assert.Contains(t, body, "not whitelisted")

			if d.Security {
				status, body = reindex(domain+":9200", "wrong")
				assert.Equal(t, 401, status)
				assert.Contains(t, body, "unable to authenticate user [elastic]")
			}

			cut.Store(true)
			status, body = reindex(domain+":9200", password)
			assert.Equal(t, 500, status, body)
			t.Logf("link cut: %s", body)
			cut.Store(false)

			require.NoError(t, dest.SetHosts(nil))
			status, body = reindex(domain+":9200", password)
			assert.Equal(t, 500, status)
			assert.Contains(t, body, "unknown_host_exception")
			require.NoError(t, dest.SetHosts(map[string]string{domain: address.String()}))
			status, body = reindex(domain+":9200", password)
			assert.Equal(t, 200, status, body)

			// The list form that the help pages use as well.
			require.NoError(t, dest.Restart(t.Context(), map[string]string{"reindex.remote.whitelist": `["x:9200","` + domain + `:9200"]`}))
			status, body = reindex(domain+":9200", password)
			assert.Equal(t, 200, status, body)
		})
	}
}

func TestUnknownSettingKeepsItDown(t *testing.T) {
	for _, version := range Versions {
		t.Run(version, func(t *testing.T) {
			s := start(t, Options{Distribution: distribution(t, version), Name: "es-1"})
			load(t, s, "kept", 7)
			err := s.Restart(t.Context(), map[string]string{"no.such.setting": "x"})
			var boot *BootError
			require.ErrorAs(t, err, &boot)
			assert.Contains(t, boot.Message, "IllegalArgumentException: unknown setting [no.such.setting]")
			status, _ := call(s, "GET", "/", "")
			assert.Equal(t, -1, status, "down")

			for key, value := range map[string]string{"reindex.remote.whitelist": "*", "path.data": "/elsewhere"} {
				err = s.Restart(t.Context(), map[string]string{key: value})
				require.ErrorContains(t, err, map[string]string{"path.data": "belongs to realserver"}[key])
				t.Log(err)
			}

			require.NoError(t, s.Restart(t.Context(), map[string]string{"action.destructive_requires_name": "true"}))
			_, body := call(s, "GET", "/kept/_count", "")
			assert.Contains(t, body, `{"count":7,`)
			_, body = call(s, "GET", "/_nodes/settings?flat_settings", "")
			assert.Contains(t, body, `"action.destructive_requires_name":"true"`)
		})
	}
}

func TestKillKeepsData(t *testing.T) {
	for _, version := range Versions {
		t.Run(version, func(t *testing.T) {
			s := start(t, Options{Distribution: distribution(t, version), Name: "es-1"})
			load(t, s, "kept", 7)
			url := s.URL()
			s.Kill()
			status, _ := call(s, "GET", "/", "")
			require.Equal(t, -1, status, "down")
			s.Kill()
			require.NoError(t, s.Restart(t.Context(), nil))
			assert.Equal(t, url, s.URL())
			_, body := call(s, "GET", "/kept/_count", "")
			assert.Contains(t, body, `{"count":7,`)

			pid := s.process.PID()
			require.NoError(t, s.Stop())
			require.NoError(t, s.Stop())
			assert.ErrorIs(t, syscall.Kill(-pid, 0), syscall.ESRCH, "the whole group is gone")
			assert.ErrorContains(t, s.Restart(t.Context(), nil), "it was stopped")
		})
	}
}

func TestUsersAndRoles(t *testing.T) {
	s := start(t, Options{Distribution: distribution(t, "7.17.29"), Name: "es-1",
		FileUsers: []FileUser{{"reader", "canary-reader-1", []string{"reads"}}},
		Files:     map[string]string{"roles.yml": "reads:\n  indices:\n  - names: ['src']\n    privileges: ['read']\n"}})
	load(t, s, "src", 1)
	load(t, s, "other", 1)
	for _, c := range []struct {
		user, path string
		status     int
	}{
		{"elastic:" + password, "/", 200}, {"elastic:wrong", "/", 401}, {"nobody:x", "/", 401},
		{"reader:canary-reader-1", "/src/_search", 200}, {"reader:wrong", "/src/_search", 401}, {"reader:canary-reader-1", "/other/_search", 403},
	} {
		status, body := call(s, "GET", c.path, "", c.user)
		assert.Equal(t, c.status, status, "%s %s: %s", c.user, c.path, body)
	}
	require.NoError(t, s.SetFileUsers([]FileUser{{"reader", "canary-reader-2", []string{"reads"}}}))
	require.Eventually(t, func() bool {
		status, _ := call(s, "GET", "/src/_search", "", "reader:canary-reader-2")
		return status == 200
	}, time.Minute, 100*time.Millisecond)
	status, body := call(s, "GET", "/src/_search", "", "reader:canary-reader-1")
	assert.Equal(t, 401, status, body)
	for _, name := range []string{"config/elasticsearch.yml", "config/users", "console.log", "logs/es-1.log"} {
		content, err := os.ReadFile(s.dir(name))
		require.NoError(t, err)
		assert.NotContains(t, string(content), "canary", name)
	}
}

// selfSigned gives a certificate that names localhost only, and its key, both PEM.
func selfSigned(t *testing.T) (certificate, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// No certificate names an endpoint domain: the chain can be checked, the name cannot.
func TestReindexFromTLS(t *testing.T) {
	d := distribution(t, "7.17.29")
	certificate, key := selfSigned(t)
	source := start(t, Options{Distribution: d, Name: "source", Files: map[string]string{"http.pem": certificate, "http.key": key}, Settings: map[string]string{
		"xpack.security.http.ssl.enabled": "true", "xpack.security.http.ssl.certificate": "http.pem", "xpack.security.http.ssl.key": "http.key"}})
	require.Contains(t, source.URL(), "https://")
	load(t, source, "src", 3)
	address, stop, err := Forward(t.Context(), func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp4", strings.TrimPrefix(source.URL(), "https://"))
	})
	require.NoError(t, err)
	defer stop()
	settings := map[string]string{"reindex.remote.whitelist": domain + ":9200", "reindex.ssl.certificate_authorities": `["ca.pem"]`}
	dest := start(t, Options{Distribution: d, Name: "dest", Files: map[string]string{"ca.pem": certificate}, Hosts: map[string]string{domain: address.String()}, Settings: settings})
	reindex := func() (int, string) {
		return call(dest, "POST", "/_reindex", `{"source":{"remote":{"host":"https://`+domain+`:9200","username":"elastic","password":"`+password+`"},"index":"src"},"dest":{"index":"dst"}}`)
	}
	status, body := reindex()
	assert.Equal(t, 500, status)
	assert.Contains(t, body, "ep-1.epsrv-1")
	t.Logf("name checked: %s", body)
	settings["reindex.ssl.verification_mode"] = "certificate"
	require.NoError(t, dest.Restart(t.Context(), settings))
	status, body = reindex()
	assert.Equal(t, 200, status, body)
	assert.Contains(t, body, `"created":3`)
}

func TestModulesOf710(t *testing.T) {
	s := start(t, Options{Distribution: distribution(t, "7.10.2"), Name: "es-1"})
	load(t, s, "src", 3)
	status, body := call(s, "POST", "/_analyze", `{"tokenizer":"pattern","filter":["snowball"],"text":"running fast"}`)
	assert.Equal(t, 200, status, body)
	status, body = call(s, "POST", "/src/_update_by_query?refresh=true", `{"script":{"source":"ctx._source.n += 1"}}`)
	assert.Equal(t, 200, status, body)
	assert.Contains(t, body, `"updated":3`)
	status, body = call(s, "PUT", "/_ingest/pipeline/p", `{"processors":[{"set":{"field":"a","value":1}},{"grok":{"field":"m","patterns":["%{WORD:w}"]}}]}`)
	assert.Equal(t, 200, status, body)
}

func TestCancelledBootLeavesNothing(t *testing.T) {
	d := distribution(t, "7.10.2")
	tmp, err := os.MkdirTemp("", "realserver-") // t.TempDir is closed to the server's user
	require.NoError(t, err)
	defer os.RemoveAll(tmp)
	require.NoError(t, os.Chmod(tmp, 0o755))
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = Start(ctx, Options{Distribution: d, Name: "es-1"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestServerDiesWithItsParent(t *testing.T) {
	distribution(t, "7.10.2")
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), child+"=1")
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	var url, home string
	_, err = fmt.Fscan(out, &url, &home)
	require.NoError(t, err)
	defer os.RemoveAll(home)
	resp, err := http.Get(url)
	require.NoError(t, err)
	resp.Body.Close()
	require.NoError(t, parent.Process.Kill())
	require.Error(t, parent.Wait(), "killed")
	require.Eventually(t, func() bool {
		_, err := net.Dial("tcp4", strings.TrimPrefix(url, "http://"))
		return errors.Is(err, syscall.ECONNREFUSED)
	}, 10*time.Second, 50*time.Millisecond)
}

// Two callers, an empty cache, Maven at work.
func TestTwoPrepareAtOnce(t *testing.T) {
	require.NoError(t, Check())
	cache := t.TempDir()
	var got [2]Distribution
	var errs [2]error
	var both sync.WaitGroup
	for i := range got {
		both.Go(func() { got[i], errs[i] = Prepare(t.Context(), "7.10.2", cache) })
	}
	both.Wait()
	require.NoError(t, errors.Join(errs[:]...))
	assert.Equal(t, got[0], got[1])
	entries, err := os.ReadDir(cache)
	require.NoError(t, err)
	assert.Len(t, entries, 2, "the distribution and its lock")
	assert.FileExists(t, got[0].Dir+"/modules/reindex/plugin-descriptor.properties")
}
