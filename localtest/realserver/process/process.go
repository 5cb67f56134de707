//go:build unix

// Package process runs a server as a child: a group of its own, which is ended whole and, on Linux, does not outlive this process.
package process

import (
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is one run of a server.
type Process struct {
	Done <-chan struct{} // closed when it is gone; Err is set then
	Err  error
	cmd  *exec.Cmd
}

// Start starts the command, whose SysProcAttr are those of Attributes. The goroutine keeps its thread until the process is gone, since the kernel takes that thread's death for the parent's.
func Start(cmd *exec.Cmd) (*Process, error) {
	done := make(chan struct{})
	p := &Process{cmd: cmd, Done: done}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.Err = cmd.Wait()
			close(done)
		}
	}()
	return p, <-started
}

// PID is the process's id, and its group's.
func (p *Process) PID() int { return p.cmd.Process.Pid }

func (p *Process) alive() bool {
	select {
	case <-p.Done:
		return false
	default:
		return true
	}
}

// Stop ends the whole group: politely while grace lasts, then for certain.
func (p *Process) Stop(grace time.Duration) {
	if grace > 0 && p.alive() {
		p.signal(syscall.SIGTERM)
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-p.Done:
		case <-timer.C:
		}
	}
	if p.alive() {
		p.signal(syscall.SIGKILL)
		<-p.Done
	}
}

func (p *Process) signal(s syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, s) // fails only if the group is gone, which is what stop waits for
}
