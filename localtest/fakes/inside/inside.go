// Package inside is a machine inside a fake network: it runs the probe that eslink
// ships, with the host's own sh and curl, or as a twin in Go that prints the same
// lines, for simulations.
package inside

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"eslink/shared/vantage"
)

// How a connection can fail.
const (
	Refused = "refused"
	NoRoute = "no-route"
	Hang    = "hang"
)

// How a certificate can be wrong.
const (
	WrongName = "name"
	Untrusted = "untrusted"
)

// Answer is what a connection meets.
type Answer struct {
	Reach   string // "" when it stands
	TLS     string // "" when the certificate is right
	Handler http.Handler
}

// Network is what a machine sees of its network.
type Network interface {
	// Resolve returns the addresses of a name, none when it does not resolve.
	Resolve(host string) []netip.Addr
	Connect(addr netip.Addr, host string, port int) Answer
}

// Machine is where the script runs.
type Machine struct {
	Missing []string // tools that it lacks
}

// Runner runs a script as a machine would.
type Runner interface {
	Run(ctx context.Context, m Machine, n Network, script string, env map[string]string) (output string, exit int)
}

// Twin is the probe in Go. It knows no other script.
type Twin struct{}

// Run implements Runner.
func (Twin) Run(ctx context.Context, m Machine, n Network, script string, env map[string]string) (string, int) {
	target := targetOf(script)
	var out strings.Builder
	out.WriteString("probe=1\n")
	for _, tool := range []string{"curl", "getent", "mktemp", "grep", "sort", "head"} {
		if slices.Contains(m.Missing, tool) {
			return out.String() + "missing=" + tool + "\n", 0
		}
	}
	addrs := n.Resolve(target.Host)
	for _, a := range addrs {
		fmt.Fprintf(&out, "ip=%s\n", a)
	}
	for _, port := range target.Ports {
		a := attempt(ctx, n, addrs, target.Host, port, env[vantage.Auth])
		fmt.Fprintf(&out, "port=%d\ncurl=%d\n", port, a.Curl)
		if a.Curl == vantage.CurlNotReached {
			connect := a.Connect
			if env[vantage.Auth] != "" {
				connect = "other" // curl says why only when it is verbose
			}
			fmt.Fprintf(&out, "connect=%s\n", connect)
		}
		fmt.Fprintf(&out, "http=%03d\nverify=%d\nbody=%s\n", a.HTTP, a.Verify, a.Body)
		if a.Curl == vantage.CurlOK {
			break
		}
	}
	out.WriteString("end=1\n")
	return out.String(), 0
}

// targetOf reads the target back from a script, and panics at one that is not the
// shipped one.
func targetOf(script string) vantage.Target {
	lines := strings.SplitN(script, "\n", 3)
	var t vantage.Target
	if len(lines) == 3 {
		t.Host = strings.TrimSuffix(strings.TrimPrefix(lines[0], "ESLINK_HOST='"), "'")
		for _, p := range strings.Fields(strings.TrimSuffix(strings.TrimPrefix(lines[1], "ESLINK_PORTS='"), "'")) {
			n, _ := strconv.Atoi(p)
			t.Ports = append(t.Ports, n)
		}
	}
	if again, err := t.Script(); err != nil || again != script {
		panic("inside: the twin knows the shipped probe alone")
	}
	return t
}

// attempt is what curl does, with its exit statuses.
func attempt(ctx context.Context, n Network, addrs []netip.Addr, host string, port int, auth string) vantage.Attempt {
	a := vantage.Attempt{Port: port, Body: vantage.BodyOther}
	if len(addrs) == 0 {
		a.Curl = vantage.CurlNotResolved
		return a
	}
	answer := n.Connect(addrs[0], host, port)
	switch {
	case answer.Reach == Hang:
		a.Curl = vantage.CurlTimeout
		return a
	case answer.Reach != "":
		a.Curl, a.Connect = vantage.CurlNotReached, answer.Reach
		return a
	case answer.TLS != "":
		a.Curl = vantage.CurlCertificate
		if answer.TLS == Untrusted {
			a.Verify = 20 // X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
		}
		return a
	}
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+":"+strconv.Itoa(port)+"/", nil)
	if auth != "" {
		req.Header.Set("Authorization", "Basic "+auth)
	}
	w := httptest.NewRecorder()
	answer.Handler.ServeHTTP(w, req)
	a.HTTP, a.Body = w.Code, kind(w.Body.String())
	return a
}

func kind(body string) string {
	plain := strings.ReplaceAll(body, " ", "")
	switch {
	case strings.Contains(body, "You Know, for Search"):
		return vantage.BodyTagline
	case strings.Contains(plain, `"message":"Forbidden"`) || strings.Contains(body, "traffic filtering"):
		return vantage.BodyFilter
	case strings.Contains(body, `"root_cause"`) || strings.Contains(body, `"tagline"`) || strings.Contains(body, `"cluster_name"`):
		return vantage.BodyElasticsearch
	}
	return vantage.BodyOther
}
