package runtime

import "syscall"

// processGroup starts a function in a group of its own that dies with us: an orphan would ask its absent API for work
// without pause.
func processGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func maxRSS(u *syscall.Rusage) int64 { return u.Maxrss << 10 }
