// Package vantage is the proof from inside a network: a probe that runs on a
// machine which the spec names, because a name and an address that exist only in
// that network prove nothing elsewhere. Here is the script with what may enter
// it, what its output means, and which machine may see which secret; how a script
// gets to a machine is each cloud's.
package vantage

import (
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

//go:embed probe.sh
var probe string

// Auth is the environment variable that holds the login: see Basic. It must
// reach the machine in a way that neither shows nor keeps it.
const Auth = "ESLINK_AUTH"

// Target is what a probe asks: a host's HTTPS ports, in turn, until one answers.
type Target struct {
	Host  string
	Ports []int
}

// host is a DNS name of at least two labels in lower case. RFC 1123, §2.1.
var host = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ValidHost reports whether name may enter a script. Names come from services and
// from specs, so none is believed.
func ValidHost(name string) bool { return len(name) <= 253 && host.MatchString(name) }

// Check says what of the target may not enter a script.
func (t Target) Check() error {
	if !ValidHost(t.Host) {
		return fmt.Errorf("host %q is not a DNS name", cut(t.Host, 80))
	}
	if len(t.Ports) == 0 || len(t.Ports) > 4 {
		return fmt.Errorf("host %s: %d ports, want 1 to 4", t.Host, len(t.Ports))
	}
	for _, p := range t.Ports {
		if p < 1 || p > 65535 {
			return fmt.Errorf("host %s: %d is not a port", t.Host, p)
		}
	}
	return nil
}

// Script is the whole text that the machine's POSIX shell runs: the target, then
// the probe. It holds no secret.
func (t Target) Script() (string, error) {
	if err := t.Check(); err != nil {
		return "", err
	}
	ports := make([]string, len(t.Ports))
	for i, p := range t.Ports {
		ports[i] = strconv.Itoa(p)
	}
	return "ESLINK_HOST=" + Quote(t.Host) + "\nESLINK_PORTS=" + Quote(strings.Join(ports, " ")) + "\n" + probe, nil
}

// Probe is the script by itself, for machines that get its environment in another
// way. It holds no secret.
func Probe() string { return probe }

// Quote makes one word of s for a POSIX shell (Shell Command Language, §2.2.2).
// Nothing enters a script but through it.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Basic is the value of Auth for a login, by RFC 7617: of characters that need no
// quoting anywhere.
func Basic(username, password string) (string, error) {
	if username == "" || strings.Contains(username, ":") {
		return "", errors.New("a user name that is empty or has a colon cannot be sent by Basic authentication")
	}
	return base64.StdEncoding.EncodeToString([]byte(username + ":" + password)), nil
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
