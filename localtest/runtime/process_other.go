//go:build unix && !linux

package runtime

import "syscall"

func processGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func maxRSS(u *syscall.Rusage) int64 { return u.Maxrss }
