package inside

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"eslink/shared/vantage"
)

// Shell runs the text that it is given with the host's sh and curl. The network comes
// in by two stubs on the script's PATH: getent answers with the fake addresses, and
// curl is the real one, sent to where the network says by an option of its own.
type Shell struct {
	sh, curl, dir string
	ca            *x509.Certificate
	key           *ecdsa.PrivateKey
	hang          net.Listener
}

// NewShell returns a runner, or says what this host lacks.
func NewShell() (*Shell, error) {
	s := &Shell{}
	for tool, path := range map[string]*string{"sh": &s.sh, "curl": &s.curl} {
		found, err := exec.LookPath(tool)
		if err != nil {
			return nil, fmt.Errorf("run scripts: this host has no %s", tool)
		}
		*path = found
	}
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "eslink local world"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &s.key.PublicKey, s.key)
	if err != nil {
		return nil, err
	}
	if s.ca, err = x509.ParseCertificate(raw); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "eslink-shell-"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600); err != nil {
		return nil, err
	}
	s.hang, err = net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	return s, err
}

// Close removes what the runner has made.
func (s *Shell) Close() error {
	s.hang.Close()
	return os.RemoveAll(s.dir)
}

// certificate is one for host, by the CA that machines trust or by itself.
func (s *Shell) certificate(host string, trusted bool) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	parent, signer := s.ca, s.key
	if !trusted {
		parent, signer = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, err
}

// Run implements Runner.
func (s *Shell) Run(ctx context.Context, m Machine, n Network, script string, env map[string]string) (string, int) {
	bin, err := os.MkdirTemp(s.dir, "bin-")
	if err != nil {
		return err.Error(), 126
	}
	defer os.RemoveAll(bin)
	target := targetOf(script)
	addrs := n.Resolve(target.Host)
	var getent, curl strings.Builder
	getent.WriteString("#!" + s.sh + "\n")
	for _, a := range addrs {
		fmt.Fprintf(&getent, "echo '%s STREAM %s'\n", a, target.Host)
	}
	if len(addrs) == 0 {
		getent.WriteString("exit 2\n")
	}
	fmt.Fprintf(&curl, "#!%s\nfor url; do :; done\ncase $url in\n", s.sh)
	for _, port := range target.Ports {
		line, stop, err := s.leads(n, addrs, target.Host, port)
		if err != nil {
			return err.Error(), 126
		}
		defer stop()
		fmt.Fprintf(&curl, "*:%d/) %s ;;\n", port, line)
	}
	curl.WriteString("esac\n")
	for name, text := range map[string]string{"getent": getent.String(), "curl": curl.String()} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil {
			return err.Error(), 126
		}
	}
	for _, tool := range []string{"mktemp", "grep", "sort", "head", "rm"} {
		if path, err := exec.LookPath(tool); err == nil {
			os.Symlink(path, filepath.Join(bin, tool))
		}
	}
	for _, tool := range m.Missing {
		os.Remove(filepath.Join(bin, tool))
	}
	// As the guest agent does: the text in a file, its parameters in the environment.
	file := filepath.Join(bin, "script.sh")
	if err := os.WriteFile(file, []byte(script), 0o700); err != nil {
		return err.Error(), 126
	}
	cmd := exec.CommandContext(ctx, s.sh, file)
	cmd.Env = []string{"PATH=" + bin, "TMPDIR=" + bin, "https_proxy=http://127.0.0.1:9"} // a proxy that the script must not use
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		return err.Error(), 126
	}
	return string(out), 0
}

// leads is the shell command by which the real curl meets what the network has at a
// port.
func (s *Shell) leads(n Network, addrs []netip.Addr, host string, port int) (line string, stop func(), err error) {
	stop = func() {}
	to := func(where string) string {
		return fmt.Sprintf(`exec %s "$@" --connect-to %s --cacert %s`, vantage.Quote(s.curl), vantage.Quote(fmt.Sprintf("%s:%d:%s", host, port, where)), vantage.Quote(filepath.Join(s.dir, "ca.pem")))
	}
	if len(addrs) == 0 {
		return to("unresolved.invalid:1"), stop, nil // RFC 6761: never resolves
	}
	answer := n.Connect(addrs[0], host, port)
	switch answer.Reach {
	case NoRoute:
		// No loopback address is without a route: these are curl's own words.
		return fmt.Sprintf(`echo '* connect to %s port %d failed: No route to host' >&2; echo 'http=000 verify=0'; exit 7`, addrs[0], port), stop, nil
	case Refused:
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", stop, err
		}
		where := l.Addr().String()
		l.Close()
		return to(where), stop, nil
	case Hang:
		return to(s.hang.Addr().String()) + " --max-time 1", stop, nil
	}
	name := host
	if answer.TLS == WrongName {
		name = "another.example"
	}
	cert, err := s.certificate(name, answer.TLS != Untrusted)
	if err != nil {
		return "", stop, err
	}
	server := httptest.NewUnstartedServer(answer.Handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that are meant to fail
	server.StartTLS()
	return to(server.Listener.Addr().String()), server.Close, nil
}
