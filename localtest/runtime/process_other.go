//go:build unix && !linux

package runtime

import "syscall"

func processGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// peakRSS is not known here.
func peakRSS(int) int64 { return 0 }
