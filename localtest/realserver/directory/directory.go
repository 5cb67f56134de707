//go:build unix

// Package directory runs real directories as processes on loopback: OpenLDAP's slapd and Samba as an Active Directory domain controller, from Debian's packages,
// up in seconds, gone with Stop. Each has an address of its own in 127/8, so that any number run side by side on the ports that directories are known by.
// It holds what the fakes of package services hold, and answers the questions of directorytest as they do.
package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"eslink/localtest/realserver/process"
	"eslink/localtest/services"
)

// Port is where a directory listens without TLS, at its address.
const Port = 389

const (
	bootLimit = time.Minute
	stopGrace = 10 * time.Second
)

// Check says what this machine lacks for a directory of that kind; nil when it lacks nothing.
func Check(k services.Kind) error {
	wanted, packages := []string{"slapd", "slapadd"}, "slapd"
	if k == services.ActiveDirectory {
		wanted, packages = []string{"samba", "samba-tool"}, "samba samba-ad-provision samba-dsdb-modules samba-vfs-modules"
	}
	var missing []string
	for _, name := range wanted {
		if _, err := tool(name); err != nil {
			missing = append(missing, name)
		}
	}
	if k == services.ActiveDirectory { // what samba can do without, but not a domain controller
		for name, pattern := range map[string]string{"its provisioning files": "/usr/share/samba/setup/provision.ldif",
			"its directory modules": "/usr/lib/*/samba/ldb/samba_dsdb.so", "its module acl_xattr": "/usr/lib/*/samba/vfs/acl_xattr.so"} {
			if found, err := filepath.Glob(pattern); err == nil && found == nil {
				missing = append(missing, name)
			}
		}
	}
	switch {
	case len(missing) > 0:
		return fmt.Errorf("a real %s needs %s (Debian and Ubuntu: apt-get install --no-install-recommends %s)", k, strings.Join(missing, ", "), packages)
	case os.Geteuid() != 0:
		return fmt.Errorf("a real %s listens on port %d and so must be started by root", k, Port)
	}
	return nil
}

// tool finds a program where Debian puts it, which is not on everyone's PATH.
func tool(name string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/libexec", "/usr/lib/openldap"} {
		if path := filepath.Join(dir, name); exec.Command(path).Err == nil {
			if _, err := os.Stat(path); err == nil {
				return path, nil
			}
		}
	}
	return exec.LookPath(name)
}

// Server is a directory that runs.
type Server struct {
	kind    services.Kind
	home    string
	address netip.Addr
	process *process.Process
	log     string
}

// Start makes a directory with these people in it and returns when it answers. ctx bounds the start alone. Every group needs a member.
func Start(ctx context.Context, k services.Kind, p services.People) (*Server, error) {
	if err := Check(k); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w (does a directory of this machine's own listen on all addresses?)", k, err)
	}
	home, err := os.MkdirTemp("", "eslink-"+string(k)+"-")
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", k, err)
	}
	s := &Server{kind: k, home: home, log: filepath.Join(home, "log"), address: address}
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	if k == services.ActiveDirectory {
		err = s.samba(ctx, p)
	} else {
		err = s.slapd(ctx, p)
	}
	if err == nil {
		err = s.answers(ctx)
	}
	if err != nil {
		output, _ := os.ReadFile(s.log)
		return nil, errors.Join(fmt.Errorf("start %s: %w\n%s", k, err, bytes.TrimSpace(output)), s.Stop())
	}
	return s, nil
}

// freeAddress finds an address whose Port nobody has.
func freeAddress() (addr netip.Addr, err error) {
	for range 20 {
		addr = netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(254)), byte(rand.IntN(256)), byte(1 + rand.IntN(254))})
		var l net.Listener
		if l, err = net.Listen("tcp4", netip.AddrPortFrom(addr, Port).String()); err == nil {
			return addr, l.Close()
		}
	}
	return netip.Addr{}, err
}

// Addr is where it listens, "127.x.y.z:389".
func (s *Server) Addr() string { return netip.AddrPortFrom(s.address, Port).String() }

// Stop ends it and removes all that it had.
func (s *Server) Stop() error {
	if s.process != nil {
		s.process.Stop(stopGrace)
	}
	return os.RemoveAll(s.home)
}

// run calls a tool that ends. input is on its stdin: a password must not be in argv.
func (s *Server) run(ctx context.Context, input, name string, args ...string) error {
	path, err := tool(name)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Stdin = s.home, strings.NewReader(input)
	cmd.SysProcAttr = process.Attributes(nil)
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Setsid = false, true // without a terminal it asks stdin for a password
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// serve starts the server itself.
func (s *Server) serve(name string, args ...string) error {
	path, err := tool(name)
	if err != nil {
		return err
	}
	log, err := os.Create(s.log)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = s.home, log, log, process.Attributes(nil)
	s.process, err = process.Start(cmd)
	return err
}

// answers waits until the directory is asked something and replies.
func (s *Server) answers(ctx context.Context) error {
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		var d net.Dialer
		if c, err := d.DialContext(ctx, "tcp4", s.Addr()); err == nil {
			conn := ldap.NewConn(c, false)
			conn.Start()
			_, err = conn.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 5, false, "(objectClass=*)", []string{"1.1"}, nil))
			_ = conn.Close() // it was only to see
			if err == nil {
				return nil
			}
		}
		select {
		case <-s.process.Done:
			return fmt.Errorf("it ended: %w", s.process.Err)
		case <-ctx.Done():
			return fmt.Errorf("it does not answer at %s: %w", s.Addr(), ctx.Err())
		case <-poll.C:
		}
	}
}
