package elastic_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"eslink/localtest/fakes/elastic"
	"eslink/localtest/services"
)

// lan reaches services by host:port. A name it does not have does not resolve,
// silent.example never answers, and everything else refuses.
type lan map[string]*services.Pipe

func (n lan) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if p := n[addr]; p != nil {
		return p.Dial(ctx)
	}
	switch host {
	case "silent.example":
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	case "nosuch.invalid":
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func (n lan) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, ok := n[r.URL.Host]; !ok { // a transport's dial would outlive the request
		_, err := n.DialContext(r.Context(), "tcp", r.URL.Host)
		return nil, err
	}
	return (&http.Transport{DialContext: n.DialContext, DisableKeepAlives: true}).RoundTrip(r)
}

// serve puts a service at an address until the test ends; the function takes it
// down before.
func (h *host) serve(addr string, serve func(net.Listener) error) (down func()) {
	p := services.Listen()
	h.lan[addr] = p
	done := make(chan error, 1)
	go func() { done <- serve(p) }()
	stopped := false
	down = func() {
		if !stopped {
			stopped = true
			require.NoError(h.t, p.Close())
			require.NoError(h.t, <-done)
		}
	}
	h.t.Cleanup(down)
	return down
}

// host is a cluster and what it reaches.
type host struct {
	t   *testing.T
	lan lan
	*elastic.Server
}

func newHost(t *testing.T, c elastic.Config) *host {
	h := &host{t: t, lan: lan{}}
	if c.Version == "" {
		c.Version = "7.17.29"
	}
	if c.Users == nil {
		c.Users = map[string]elastic.User{}
	}
	c.Name, c.Remote = "dest", h.lan
	c.Users["elastic"] = elastic.Superuser("secret-1")
	h.Server = elastic.New(c)
	t.Cleanup(h.Stop)
	return h
}

func (h *host) call(user, method, path, body string) (int, string) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, "http://any"+path, strings.NewReader(body))
	require.NoError(h.t, err)
	r.Header.Set("Content-Type", "application/json")
	name, password, _ := strings.Cut(user, ":")
	r.SetBasicAuth(name, password)
	resp, err := h.RoundTrip(r)
	require.NoError(h.t, err)
	raw, err := io.ReadAll(resp.Body)
	require.NoError(h.t, err)
	return resp.StatusCode, string(raw)
}

const admin = "elastic:secret-1"

// who logs in and tells as whom, or the status.
func (h *host) who(user string) (int, map[string]any) {
	h.t.Helper()
	status, body := h.call(user, "GET", "/_security/_authenticate", "")
	var out map[string]any
	require.NoError(h.t, json.Unmarshal([]byte(body), &out), body)
	return status, out
}

func (h *host) denied(user string) {
	h.t.Helper()
	began := time.Now()
	status, body := h.call(user, "GET", "/_security/_authenticate", "")
	name, _, _ := strings.Cut(user, ":")
	reason := `{"type":"security_exception","reason":"unable to authenticate user [` + name + `] for REST request [/_security/_authenticate]","header":{"WWW-Authenticate":"Basic realm=\"security\" charset=\"UTF-8\""}}`
	assert.Equal(h.t, 401, status)
	assert.Equal(h.t, `{"error":{"root_cause":[`+reason+`],`+reason[1:]+`,"status":401}`, body)
	assert.LessOrEqual(h.t, time.Since(began), 30*time.Second)
}

func (h *host) rolesOf(user string) any {
	h.t.Helper()
	status, body := h.who(user)
	require.Equal(h.t, 200, status, "%v", body)
	return body["roles"]
}

// selfSigned is a certificate for one name, and the pool that trusts it.
func selfSigned(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
