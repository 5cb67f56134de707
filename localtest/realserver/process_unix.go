//go:build unix && !linux

package realserver

import "syscall"

// attributes puts the server in a process group of its own.
func attributes(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: owner}
}
