package process

import "syscall"

// Attributes puts the server in a process group of its own, which the kernel kills when the thread that started it dies.
func Attributes(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: owner}
}
