//go:build unix

package directory

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"eslink/localtest/services"
)

// samba provisions a domain controller. It keeps all that it has below its home, and listens at its address alone.
func (s *Server) samba(ctx context.Context, p services.People) error {
	base, run := filepath.Join(s.home, "base.conf"), filepath.Join(s.home, "run")
	if err := os.Mkdir(run, 0o755); err != nil {
		return err
	}
	// Without a file of its own it starts from the machine's.
	global := strings.Join([]string{"[global]",
		"interfaces = " + s.address.String() + "/255.0.0.0", "bind interfaces only = yes", "server services = ldap",
		"log file = " + filepath.Join(s.home, "log.%m"), "pid directory = " + run, "ncalrpc dir = " + filepath.Join(run, "ncalrpc"),
		"winbindd socket directory = " + filepath.Join(run, "winbindd"), "ntp signd socket directory = " + filepath.Join(run, "ntp")}, "\n")
	if err := os.WriteFile(base, []byte(global+"\n"), 0o600); err != nil {
		return err
	}
	domain, _, _ := strings.Cut(p.Domain(), ".")
	if err := s.run(ctx, "", "samba-tool", "domain", "provision", "--configfile="+base, "--targetdir="+s.home,
		"--realm="+strings.ToUpper(p.Domain()), "--domain="+strings.ToUpper(domain), "--server-role=dc", "--dns-backend=NONE",
		"--host-ip="+s.address.String(), "--option=vfs objects="); err != nil {
		return err
	}
	made := filepath.Join(s.home, "etc", "smb.conf")
	written, err := os.ReadFile(made)
	if err != nil {
		return err
	}
	// Provisioning does not take this over. Plain LDAP, as far as a link without TLS needs it.
	plain := strings.Replace(string(written), "[global]", "[global]\n\tldap server require strong auth = no", 1)
	if err := os.WriteFile(made, []byte(plain), 0o600); err != nil {
		return err
	}
	conf := "--configfile=" + made
	steps := [][]string{{"", "domain", "passwordsettings", "set", "--complexity=off", "--min-pwd-length=0"}}
	for _, u := range p.Users {
		steps = append(steps, []string{u.Password + "\n" + u.Password + "\n", "user", "create", u.Name})
	}
	for _, g := range p.Groups {
		steps = append(steps, []string{"", "group", "add", g.Name}, []string{"", "group", "addmembers", g.Name, strings.Join(g.Members, ",")})
	}
	for _, step := range steps {
		if err := s.run(ctx, step[0], "samba-tool", slices.Concat(step[1:], []string{conf})...); err != nil {
			return err
		}
	}
	return s.serve("samba", "--interactive", "--no-process-group", conf)
}
