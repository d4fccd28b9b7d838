package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// Container is one that this program has started. Its methods may be called
// from any goroutine.
type Container struct {
	engine   *Engine
	id, name string
	node     string
	memory   int64 // limit, bytes; 0: none
	auto     bool  // the engine removes it
	out      *tail

	done chan struct{} // closed when it has ended and is removed
	exit Exit          // valid then
	err  error
}

// Exit says how a container ended.
type Exit struct {
	Code        int  // as a shell has it: 128 and the number for a signal
	OutOfMemory bool // the kernel ended a process of it for its memory limit
	Limit       int64
	Last        string // the last lines that it printed
}

// String is a short account for people, like that of package os.
func (x Exit) String() string {
	if x.OutOfMemory {
		if x.Limit > 0 {
			return fmt.Sprintf("killed: out of memory (its limit is %d MiB)", x.Limit>>20)
		}
		return "killed: out of memory"
	}
	if x.Code > 128 && x.Code < 128+65 { // 64 signals (signal(7))
		return "signal: " + syscall.Signal(x.Code-128).String()
	}
	return "exit status " + strconv.Itoa(x.Code)
}

// Usage is what a container has taken so far.
type Usage struct {
	CPU    time.Duration // processor time since it started
	Memory uint64        // bytes now, without cached files that nobody uses
}

func newContainer(e *Engine, id, name, node string, hc *container.HostConfig, out io.Writer) *Container {
	return &Container{
		engine: e, id: id, name: name, node: node, memory: hc.Memory, auto: hc.AutoRemove,
		out: &tail{to: out}, done: make(chan struct{}),
	}
}

// ID is the engine's number of the container.
func (c *Container) ID() string { return c.id }

// Name is the container's name, for example "meshlab-shop.h1.consul".
func (c *Container) Name() string { return c.name }

// start starts the container; output and end are asked for before, so that
// neither is missed.
func (c *Container) start(ctx context.Context) error {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stream, err := c.engine.client.ContainerAttach(background, c.id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		cancel()
		return fmt.Errorf("attach to its output: %w", err)
	}
	ended, failed := c.engine.client.ContainerWait(background, c.id, container.WaitConditionNextExit)
	if err := c.engine.client.ContainerStart(ctx, c.id, container.StartOptions{}); err != nil {
		cancel()
		stream.Close()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	go func() {
		defer cancel()
		c.watch(background, stream, ended, failed)
	}()
	return nil
}

// lastOutput is how long to wait for the rest of a container's output once it
// has ended.
const lastOutput = 2 * time.Second

// watch waits for the end of the container, keeps what it printed, and removes
// it.
func (c *Container) watch(ctx context.Context, stream types.HijackedResponse, ended <-chan container.WaitResponse, failed <-chan error) {
	defer close(c.done)
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		// It ends with the container, and a container's end is told by ended.
		_, _ = stdcopy.StdCopy(c.out, c.out, stream.Reader)
	}()
	select {
	case r := <-ended:
		c.exit = Exit{Code: int(r.StatusCode), Limit: c.memory}
	case err := <-failed:
		c.err = fmt.Errorf("wait for container %s: %w", c.name, err)
	}
	select {
	case <-printed:
	case <-time.After(lastOutput):
	}
	stream.Close()
	<-printed
	c.exit.Last = c.out.last()
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	if !c.auto && c.err == nil {
		if st, err := c.engine.client.ContainerInspect(ctx, c.id); err == nil && st.ContainerJSONBase != nil && st.State != nil {
			c.exit.OutOfMemory = st.State.OOMKilled
		}
	}
	c.err = errors.Join(c.err, c.engine.removeContainer(ctx, c.id))
}

// Done is closed once the container has ended and is removed.
func (c *Container) Done() <-chan struct{} { return c.done }

// Wait waits until the container has ended and is removed, and says how it
// ended. The error is ctx's, or that of an engine that went away.
func (c *Container) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-c.done:
		return c.exit, c.err
	case <-ctx.Done():
		return Exit{}, context.Cause(ctx)
	}
}

// Last is the last lines that the container has printed.
func (c *Container) Last() string { return c.out.last() }

// Kill sends a signal to the first process of the container. It is no error
// when that has ended.
func (c *Container) Kill(ctx context.Context, sig syscall.Signal) error {
	err := c.engine.client.ContainerKill(ctx, c.id, strconv.Itoa(int(sig)))
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // conflict: it does not run
		return nil
	}
	return fmt.Errorf("send %s to container %s: %w", sig, c.name, err)
}

// Pause stops all processes of the container until Unpause.
func (c *Container) Pause(ctx context.Context) error {
	if err := c.engine.client.ContainerPause(ctx, c.id); err != nil {
		return fmt.Errorf("pause container %s: %w", c.name, err)
	}
	return nil
}

// Unpause lets the processes of the container go on.
func (c *Container) Unpause(ctx context.Context) error {
	if err := c.engine.client.ContainerUnpause(ctx, c.id); err != nil {
		return fmt.Errorf("unpause container %s: %w", c.name, err)
	}
	return nil
}

// PID is the number of the container's first process on the machine, 0 when it
// does not run.
func (c *Container) PID(ctx context.Context) (int, error) {
	st, err := c.engine.client.ContainerInspect(ctx, c.id)
	if errdefs.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("ask for the process of container %s: %w", c.name, err)
	}
	if st.ContainerJSONBase == nil || st.State == nil {
		return 0, nil
	}
	return st.State.Pid, nil
}

// Usage tells what the container has taken: as its control group has it, or
// where that is not to be seen, as the engine sampled it within the last
// second. That of one that does not run is zero.
func (c *Container) Usage(ctx context.Context) (Usage, error) {
	if u, ok := readUsage(cgroupRoot, c.id); ok {
		return u, nil
	}
	resp, err := c.engine.client.ContainerStatsOneShot(ctx, c.id)
	if errdefs.IsNotFound(err) {
		return Usage{}, nil
	}
	if err != nil {
		return Usage{}, fmt.Errorf("ask for the usage of container %s: %w", c.name, err)
	}
	defer resp.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return Usage{}, fmt.Errorf("read the usage of container %s: %w", c.name, err)
	}
	u := Usage{CPU: time.Duration(s.CPUStats.CPUUsage.TotalUsage), Memory: s.MemoryStats.Usage}
	// Cached files that nobody uses, as `docker stats` leaves them out:
	// total_inactive_file of cgroup v1, inactive_file of v2.
	for _, key := range []string{"total_inactive_file", "inactive_file"} {
		if cached, ok := s.MemoryStats.Stats[key]; ok {
			u.Memory -= min(cached, u.Memory)
			break
		}
	}
	return u, nil
}
