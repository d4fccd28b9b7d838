package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"meshlab.dev/meshlab/orchestrate/netns"
)

// Runtime starts programs on the nodes of a lab. Its method may be called from
// any goroutine, several at once.
type Runtime interface {
	// Start runs the program of s once, which prints into out. It returns once
	// the program runs; the end of ctx ends the wait for that, not the program.
	Start(ctx context.Context, s Spec, out io.Writer) (Live, error)
}

// Live is a program that a Runtime has started.
type Live interface {
	// PID is the number of its first process, for people: of a program in a
	// container that on the machine, else that inside the lab. What is to be
	// done to the program goes by Signal.
	PID() int
	// Signal sends a signal to all that runs of the program. SIGSTOP halts all
	// of it until SIGCONT. Of a program that has ended it may be an error, and
	// does nothing.
	Signal(sig syscall.Signal) error
	// Wait returns how the program has ended once it has, and nothing of it is
	// left, nil for exit status 0; and what processor time it has used. It is
	// called once.
	Wait() (cpu time.Duration, err error)
}

// Metered is a Live that tells what it has used. Of one that does not, the
// manager reads it in /proc, by PID.
type Metered interface {
	// Usage returns processor time since the start, and memory in bytes.
	Usage(ctx context.Context) (cpu time.Duration, memory uint64, err error)
}

// Namespaces is the Runtime whose programs are children of this process, in
// the network namespace that has the name of their node. They see its files.
type Namespaces struct {
	// UID is the user id as which unprivileged programs see themselves. It must
	// have an entry in /etc/passwd.
	UID int
}

type childProcess struct{ cmd *exec.Cmd }

// Start implements Runtime.
func (n Namespaces) Start(_ context.Context, s Spec, out io.Writer) (Live, error) {
	if s.Image != "" || s.Limits != (Limits{}) {
		return nil, errors.New("an image or limits need the Docker runtime")
	}
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Env, cmd.Dir = s.Env, s.Dir
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if s.Unprivileged {
		// A nested user namespace gives another uid without the right to any
		// (user_namespaces(7)); files stay owned by the lab's own user.
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: n.UID, HostID: 0, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: n.UID, HostID: 0, Size: 1}}
	}
	if err := netns.Do(s.Node, cmd.Start); err != nil {
		return nil, err
	}
	return childProcess{cmd}, nil
}

func (c childProcess) PID() int { return c.cmd.Process.Pid }

func (c childProcess) Signal(sig syscall.Signal) error {
	switch sig {
	case syscall.SIGSTOP, syscall.SIGCONT, syscall.SIGKILL:
		return signalTree(c.PID(), sig) // whatever else may pass its signals on itself
	}
	if err := syscall.Kill(-c.PID(), sig); err != nil {
		return fmt.Errorf("send %v to process group %d: %w", sig, c.PID(), err)
	}
	return nil
}

func (c childProcess) Wait() (time.Duration, error) {
	err := c.cmd.Wait()
	// What it leaves behind in its process group would be in the way of its
	// successor: ports, files, locks.
	_ = syscall.Kill(-c.PID(), syscall.SIGKILL)
	// With its children's (getrusage(2) of wait4).
	return c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime(), err
}
