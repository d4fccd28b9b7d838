package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"meshlab.dev/meshlab/orchestrate/docker"
	"meshlab.dev/meshlab/orchestrate/process"
)

// Start implements process.Runtime.
func (c *containers) Start(ctx context.Context, s process.Spec, out io.Writer) (process.Live, error) {
	host, ok := c.hosts[s.Node]
	switch s.Part {
	case process.PartRegistry, process.PartSidecar, process.PartService:
	default: // of the lab itself, though it may work in a host's network
		ok = false
	}
	if !ok {
		return c.inside.Start(ctx, s, out)
	}
	spec := docker.ProcessSpec{
		Lab: c.lab, Name: s.Name, Host: host.Container, Image: c.images[s.Image],
		Path: s.Path, Args: s.Args, Env: s.Env, Dir: s.Dir,
		Mounts: c.mounts(s), Limits: docker.Limits(s.Limits), Output: out,
	}
	if spec.Path == self {
		spec.Path = docker.Program
	}
	if s.Unprivileged {
		spec.User = fmt.Sprintf("%d:%d", c.inside.UID, c.inside.UID)
		if err := os.Chown(s.Dir, c.inside.UID, c.inside.UID); err != nil {
			return nil, fmt.Errorf("give it its folder: %w", err)
		}
	}
	container, err := c.engine.StartProcess(ctx, spec)
	if err != nil {
		return nil, err
	}
	pid, err := container.PID(ctx)
	if err != nil {
		pid = 0 // for people alone
	}
	return &contained{container: container, pid: pid}, nil
}

// signalLimit bounds what is asked of the engine about one container.
const signalLimit = 20 * time.Second

// contained is a process.Live in a container.
type contained struct {
	container *docker.Container
	pid       int

	mu   sync.Mutex
	used time.Duration // as the engine last told: what ended containers used it does not
}

func (l *contained) PID() int { return l.pid }

// Signal goes to the first process, but SIGSTOP, SIGCONT and SIGKILL to all:
// they stop, thaw and end the container.
func (l *contained) Signal(sig syscall.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), signalLimit)
	defer cancel()
	switch sig {
	case syscall.SIGSTOP:
		return l.container.Pause(ctx)
	case syscall.SIGCONT:
		return l.container.Unpause(ctx)
	}
	return l.container.Kill(ctx, sig)
}

func (l *contained) Wait() (time.Duration, error) {
	exit, err := l.container.Wait(context.Background())
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && (exit.Code != 0 || exit.OutOfMemory) {
		err = errors.New(exit.String())
	}
	return l.used, err
}

// Usage implements process.Metered.
func (l *contained) Usage(ctx context.Context) (time.Duration, uint64, error) {
	u, err := l.container.Usage(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = max(l.used, u.CPU)
	return l.used, u.Memory, err
}
