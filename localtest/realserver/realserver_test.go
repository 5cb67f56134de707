//go:build unix

package realserver

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSettingsBecomeYML(t *testing.T) {
	t.Parallel()
	own := map[string]string{"path.data": "/d"}
	yml, err := elasticsearchYML(own, map[string]string{"a": "default", "b": "default"}, map[string]string{
		"b": "true", "reindex.remote.whitelist": ` ["ep-1:9200","ep-2:9200"] `, "one": "ep-1:9200,ep-2:9200",
		"odd": "# no comment: \"quoted\"\nnext <&>", "number": "9200", "brackets": "[not json",
	})
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(yml), &got), yml)
	assert.Equal(t, map[string]any{"a": "default", "b": "true", "path.data": "/d", "one": "ep-1:9200,ep-2:9200", "number": "9200", "brackets": "[not json",
		"reindex.remote.whitelist": []any{"ep-1:9200", "ep-2:9200"}, "odd": "# no comment: \"quoted\"\nnext <&>"}, got)

	_, err = elasticsearchYML(own, nil, map[string]string{"path.data": "/elsewhere"})
	assert.ErrorContains(t, err, "path.data belongs to realserver")
}

func TestHostsFile(t *testing.T) {
	t.Parallel()
	got, err := hostsFile(map[string]string{"ep-2.example": "127.2.2.2", "ep-1.example": "127.1.1.1"})
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1 localhost\n127.1.1.1 ep-1.example\n127.2.2.2 ep-2.example\n", got)
	for name, address := range map[string]string{"a": "b", "a b": "127.0.0.1", "": "127.0.0.1", "a\n127.0.0.1 x": "127.0.0.1"} {
		_, err := hostsFile(map[string]string{name: address})
		assert.Error(t, err, "%q %q", name, address)
	}
}

func TestComplaintIsTheServersOwn(t *testing.T) {
	t.Parallel()
	const thrown = `[ERROR][o.e.b.ElasticsearchUncaughtExceptionHandler] [n] uncaught exception in thread [main]
org.elasticsearch.bootstrap.StartupException: java.lang.IllegalArgumentException: unknown setting [foo]
	at org.elasticsearch.bootstrap.Elasticsearch.init(Elasticsearch.java:169)
	... 6 more
	Suppressed: java.lang.IllegalArgumentException: unknown setting [bar]
		at org.elasticsearch.node.Node.<init>(Node.java:502)
uncaught exception in thread [main]
java.lang.IllegalArgumentException: unknown setting [foo]
	at org.elasticsearch.node.Node.<init>(Node.java:502)
For complete error details, refer to the log at x.log
`
	assert.Equal(t, "java.lang.IllegalArgumentException: unknown setting [foo]\njava.lang.IllegalArgumentException: unknown setting [bar]", complaint(thrown))
	assert.Equal(t, "Exception in thread \"main\" SettingsException[Failed to load]", complaint("Exception in thread \"main\" SettingsException[Failed to load]\n\tat a.b.C\n"))
	assert.Empty(t, complaint(""))
}

func TestPasswordsAreStoredAsHashes(t *testing.T) {
	t.Parallel()
	users, roles, err := fileRealm([]FileUser{{"ann", "canary-1", []string{"superuser", "reader"}}, {"bob", "canary-2", []string{"reader"}}})
	require.NoError(t, err)
	assert.Regexp(t, `^ann:\{PBKDF2\}10000\$[^$\n]{44}\$[^$\n]{44}\nbob:\{PBKDF2\}10000\$[^$\n]{44}\$[^$\n]{44}\n$`, users)
	assert.NotContains(t, users, "canary")
	assert.Equal(t, "reader:ann,bob\nsuperuser:ann\n", roles)
}

func TestWhatCannotStart(t *testing.T) {
	t.Parallel()
	for message, o := range map[string]Options{
		`name "../x"`:        {Name: "../x"},
		"without a password": {Name: "n", FileUsers: []FileUser{{Name: "u"}}},
		"has no security":    {Name: "n", Password: "p", Distribution: Distribution{Version: "7.10.2"}},
	} {
		_, err := Start(t.Context(), o)
		assert.ErrorContains(t, err, message)
	}
	_, err := Prepare(t.Context(), "8.15.1", t.TempDir())
	assert.ErrorContains(t, err, "only 7.17.29 and 7.10.2 can be made")
}

func TestOnePreparationAtATime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	require.NoError(t, err)
	second := make(chan error)
	go func() {
		unlock, err := lock(t.Context(), path)
		if err == nil {
			unlock()
		}
		second <- err
	}()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = lock(ctx, path)
	require.ErrorIs(t, err, context.Canceled)
	select {
	case <-second:
		t.Fatal("two callers hold the lock")
	default:
	}
	unlock()
	require.NoError(t, <-second)
}

func TestWithoutMavenTheErrorNamesIt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	require.ErrorContains(t, Check(), "apt-get install maven")
	cache := t.TempDir()
	_, err := Prepare(t.Context(), "7.10.2", cache)
	require.ErrorContains(t, err, "mvn is not on the PATH")
	left, err := filepath.Glob(filepath.Join(cache, "*", "*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestWithoutJava17TheErrorNamesIt(t *testing.T) {
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "java"), []byte("#!/bin/sh\necho '    java.specification.version = 11' >&2\n"), 0o755))
	_, err := findJava(t.Context(), []string{filepath.Join(bin, "java"), filepath.Join(bin, "none")})
	require.ErrorContains(t, err, "needs Java 17")
	require.NoError(t, os.WriteFile(filepath.Join(bin, "java"), []byte("#!/bin/sh\necho '    java.home = /j\n    java.specification.version = 17' >&2\n"), 0o755))
	home, err := findJava(t.Context(), []string{filepath.Join(bin, "java")})
	require.NoError(t, err)
	assert.Equal(t, "/j", home)
}

// echo answers each connection with what it got, once the client has closed its side.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				all, _ := io.ReadAll(c)
				_, _ = c.Write([]byte(strings.ToUpper(string(all))))
			}()
		}
	}()
	return l.Addr().String()
}

func ask(addr netip.Addr) (string, error) {
	c, err := net.DialTimeout("tcp4", netip.AddrPortFrom(addr, Port).String(), 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		return "", err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	all, err := io.ReadAll(c)
	return string(all), err
}

func TestForwardAsksForEachConnection(t *testing.T) {
	t.Parallel()
	target := echo(t)
	var cut atomic.Bool
	dial := func(ctx context.Context) (net.Conn, error) {
		if cut.Load() {
			return nil, errors.New("no listener on the balancer")
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp4", target)
	}
	addr, stop, err := Forward(t.Context(), dial)
	require.NoError(t, err)
	other, stopOther, err := Forward(t.Context(), dial)
	require.NoError(t, err)
	defer stopOther()
	assert.NotEqual(t, addr, other, "each domain has an address of its own")

	got, err := ask(addr)
	require.NoError(t, err)
	assert.Equal(t, "HELLO", got, "the answer comes after our half is closed")

	cut.Store(true)
	got, err = ask(addr)
	assert.Error(t, err, "reset, not an empty answer")
	assert.Empty(t, got)

	cut.Store(false)
	_, err = ask(addr)
	require.NoError(t, err)

	stop()
	stop()
	_, err = ask(addr)
	assert.Error(t, err)
	_, err = ask(other)
	assert.NoError(t, err)
}

func TestForwardOfSeveralPorts(t *testing.T) {
	t.Parallel()
	asked := make(chan int, 1)
	addr, stop, err := ForwardPorts(t.Context(), []int{18389, 18080}, func(_ context.Context, port int) (net.Conn, error) {
		asked <- port
		return nil, errors.New("closed")
	})
	require.NoError(t, err)
	for _, port := range []uint16{18389, 18080} {
		c, err := net.Dial("tcp4", netip.AddrPortFrom(addr, port).String())
		assert.EqualValues(t, port, <-asked)
		if err == nil { // the reset may be here already
			c.Close()
		}
	}
	stop()
	for _, port := range []uint16{18389, 18080} {
		_, err := net.Dial("tcp4", netip.AddrPortFrom(addr, port).String())
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	}
}

func TestStoppedForwardCutsWhatIsOpen(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer far.Close()
	ctx, cancel := context.WithCancel(t.Context())
	addr, stop, err := Forward(ctx, func(context.Context) (net.Conn, error) { return near, nil })
	require.NoError(t, err)
	c, err := net.Dial("tcp4", netip.AddrPortFrom(addr, Port).String())
	require.NoError(t, err)
	defer c.Close()
	go c.Write([]byte("x"))
	_, err = far.Read(make([]byte, 1))
	require.NoError(t, err, "joined")
	cancel()
	stop()
	_, err = c.Read(make([]byte, 1))
	assert.Error(t, err)
	_, err = far.Read(make([]byte, 1))
	assert.Error(t, err)
}
