package vantage

import (
	"fmt"
	"slices"
	"strings"
)

// The checks that a probe answers; the fourth, link, is the control plane's.
const (
	Network   = "network"
	Login     = "login"
	Operation = "operation"
)

// Verdict is one row of a cloud's verdict table: what a probe's output means and
// what to do about it.
type Verdict struct {
	Check  string // the check that this decides: Network, Login or Operation
	Code   string // the row, such as "no-route"; "ok" when the check holds
	OK     bool
	Detail string
	Remedy string
}

// Good is the verdict of a check that holds.
func Good(check, format string, args ...any) Verdict {
	return Verdict{Check: check, Code: "ok", OK: true, Detail: fmt.Sprintf(format, args...)}
}

// ToolMissing is the verdict of a machine that cannot run the probe. It says
// nothing of the network.
func ToolMissing(tool string) Verdict {
	return Verdict{Check: Network, Code: "probe-tool-missing", Detail: fmt.Sprintf("the machine has no %s, which the probe needs; this says nothing about the network", tool),
		Remedy: "install " + tool + " on the machine, or name another one in vantage"}
}

// MayUse says why a secret may not be used for what names say; nil if it may. allowed
// is the value's "for": where a login is sent from a machine, it has to name what the
// run connects and the machine, since whoever may start a run could otherwise have a
// password sent to a machine of their own.
func MayUse(secret string, allowed []string, names ...string) error {
	var missing []string
	for _, name := range names {
		if !slices.Contains(allowed, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf(`secret %s may not be used for %s: add it to "for" in the secret's value`, secret, strings.Join(missing, " and "))
}
