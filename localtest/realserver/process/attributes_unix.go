//go:build unix && !linux

package process

import "syscall"

// Attributes puts the server in a process group of its own.
func Attributes(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: owner}
}
