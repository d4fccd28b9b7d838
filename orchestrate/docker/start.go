package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"golang.org/x/sys/unix"
)

// Lab says which lab a container is of.
type Lab struct {
	Name   string // of the lab on this machine
	State  string // its state folder, an absolute path
	Image  string // our image, as EnsureImage returned it
	Shared Mount  // the lab's shared folder, which is State or in it; this program sees it as containers do
}

// Mount is a file or folder of the machine as a container sees it.
type Mount struct {
	Source   string // absolute path on the machine
	Target   string // absolute path in the container; "": the same
	Writable bool
}

// Limits bound what a container may take; the zero value bounds nothing.
type Limits struct {
	CPUs   float64 // processors, 1.5 is one and a half
	Memory int64   // bytes, swap included
}

// HostSpec says what the container of a host is like.
type HostSpec struct {
	Lab
	Name   string // of the host
	Socket string // that HostMain connects to, as the container sees it: below Shared
}

// ProcessSpec says what a process container is like.
type ProcessSpec struct {
	Lab
	Name  string     // of the process in the lab, for example "consul@h1"
	Host  *Container // whose network it shares; it must run
	Image string     // of the process; "": our own, with the machine's programs

	// Path is the program. With an Image it may be empty: the image then says
	// what runs, and Args, if there are any, replace its arguments.
	Path string
	Args []string // without the program's name
	Env  []string // the engine adds HOSTNAME, PATH and what the image says
	Dir  string   // working directory, which must be there; "": the image's, or /
	User string   // "uid:gid"; "": the image's, or root

	Mounts []Mount // beside the shared folder
	Limits Limits
	Output io.Writer // gets what the process prints; nil: it is dropped
}

// ErrNameTaken says that a container of that name is there and is not of this
// lab, or was left by it.
var ErrNameTaken = errors.New("the name of the container is taken")

// ErrNotStarted says that a container was made and its program did not start.
// The container has been removed.
var ErrNotStarted = errors.New("the container does not start")

// StartHost starts the container of a host: no network of Docker's, and a
// first process that hands its network namespace over at the socket (see
// Accept). It returns once that process runs. The engine removes the container
// when it ends.
//
// Errors wrap ErrNameTaken or ErrNotStarted, or are those of the engine.
func (e *Engine) StartHost(ctx context.Context, s HostSpec) (*Container, error) {
	if !filepath.IsAbs(s.State) || !filepath.IsAbs(s.Socket) {
		return nil, fmt.Errorf("start container of host %s: state folder %q and socket %q must be absolute paths", s.Name, s.State, s.Socket)
	}
	m, err := lookAt("/")
	if err != nil {
		return nil, err
	}
	cfg := e.config(s.Lab, s.Name, "")
	cfg.Hostname = s.Name
	cfg.Image = s.Lab.Image
	cfg.Entrypoint = []string{Program, HostVerb}
	cfg.Cmd = []string{"--socket", s.Socket, s.Name}
	hc := hostConfig()
	hc.NetworkMode = "none"
	hc.AutoRemove = true
	hc.Mounts = append(m.mounts("etc"), s.Shared.mount()) // libraries, if the program needs some
	return e.start(ctx, containerName(s.Lab.Name, s.Name, ""), cfg, hc, s.Shared, nil)
}

// StartProcess starts a process in the network and PID namespaces of its
// host's container. It returns once the program runs, not once it is of use.
// The container goes when the process has ended and Wait has returned.
//
// Errors wrap ErrNameTaken or ErrNotStarted, or are those of the engine.
func (e *Engine) StartProcess(ctx context.Context, s ProcessSpec) (*Container, error) {
	if s.Host == nil || !filepath.IsAbs(s.State) {
		return nil, fmt.Errorf("start container of %s: it needs the container of its host, and an absolute path of its lab's state folder, not %q", s.Name, s.State)
	}
	if s.Path == "" && s.Image == "" {
		return nil, fmt.Errorf("start container of %s: it has neither a program nor an image", s.Name)
	}
	cfg := e.config(s.Lab, s.Host.node, s.Name)
	cfg.Image, cfg.Env, cfg.WorkingDir, cfg.User = s.Image, s.Env, s.Dir, s.User
	cfg.Cmd = s.Args
	if s.Path != "" {
		cfg.Entrypoint = []string{s.Path}
	}
	hc := hostConfig()
	hc.NetworkMode = container.NetworkMode("container:" + s.Host.id)
	hc.PidMode = container.PidMode("container:" + s.Host.id)
	if s.Limits.CPUs < float64(e.cpus) { // the engine refuses more than there are, which would bound nothing
		hc.NanoCPUs = int64(s.Limits.CPUs * 1e9)
	}
	hc.Memory, hc.MemorySwap = s.Limits.Memory, s.Limits.Memory
	mounts := s.Mounts
	if s.Image == "" {
		m, err := lookAt("/")
		if err != nil {
			return nil, err
		}
		cfg.Image = s.Lab.Image
		hc.Mounts = m.mounts()
		if s.Path != Program && !m.has(s.Path) && !slices.ContainsFunc(mounts, func(o Mount) bool { return within(s.Path, o.target()) }) {
			mounts = append(slices.Clip(mounts), Mount{Source: s.Path})
		}
	}
	for _, o := range append(slices.Clip(mounts), s.Shared) {
		hc.Mounts = append(hc.Mounts, o.mount())
	}
	return e.start(ctx, containerName(s.Lab.Name, s.Host.node, s.Name), cfg, hc, s.Shared, s.Output)
}

// within says whether path is folder, or below it.
func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rel)
}

func (o Mount) target() string {
	if o.Target == "" {
		return o.Source
	}
	return o.Target
}

func (o Mount) mount() mount.Mount {
	return mount.Mount{Type: mount.TypeBind, Source: o.Source, Target: o.target(), ReadOnly: !o.Writable}
}

// config is what all containers have in common.
func (e *Engine) config(l Lab, node, process string) *container.Config {
	labels := map[string]string{
		labelLab: l.Name, labelState: filepath.Clean(l.State), labelNode: node, labelRole: roleHost, labelVersion: e.creator,
	}
	if process != "" {
		labels[labelRole], labels[labelProcess] = roleProcess, process
	}
	return &container.Config{
		Labels: labels,
		// An image's own check would run programs in the middle of measurements;
		// Consul says who is healthy.
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
}

// openFiles is how many files a process may hold open, if the machine allows
// as many. Engines differ in what they give: some 1024, which a load
// generator's peer exhausts.
const openFiles = 65536

// hostConfig is what all containers have in common.
func hostConfig() *container.HostConfig {
	files := uint64(openFiles)
	var max unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &max); err == nil {
		files = min(files, max.Max)
	}
	return &container.HostConfig{
		// With remapped users, root in the container would be nobody to the
		// lab's sockets; without, this changes nothing.
		UsernsMode: "host",
		// With SELinux, containers may not read what is not labelled for them,
		// and the machine's own programs must not be relabelled.
		SecurityOpt: []string{"label=disable"},
		// For `docker logs`; the machine's default may lead to another machine.
		LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "8m", "max-file": "2"}},
		Resources: container.Resources{
			Ulimits: []*container.Ulimit{{Name: "nofile", Soft: int64(files), Hard: int64(files)}},
		},
	}
}

// makeTimeout bounds the making of a container, which is not to be cut short.
const makeTimeout = 2 * time.Minute

// removeTimeout bounds the removal of a container whose start was given up.
const removeTimeout = 30 * time.Second

// start creates and starts a container. When it fails, nothing is left.
func (e *Engine) start(ctx context.Context, name string, cfg *container.Config, hc *container.HostConfig, shared Mount, out io.Writer) (*Container, error) {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("start container %s: %w", name, context.Cause(ctx))
	}
	done, err := recordIntent(shared, name)
	if err != nil {
		return nil, err
	}
	// An engine does not stop making a container when nobody listens any more.
	making, cancel := context.WithTimeout(context.WithoutCancel(ctx), makeTimeout)
	defer cancel()
	made, err := e.client.ContainerCreate(making, cfg, hc, nil, nil, name)
	if making.Err() == nil { // else it may still come
		done()
	}
	if errdefs.IsConflict(err) {
		return nil, fmt.Errorf("start container %s: %w", name, e.nameTaken(ctx, name, cfg.Labels, err))
	}
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("start container %s: %w; `docker image ls` lists the images that are there", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("make container %s: %w", name, err)
	}
	c := newContainer(e, made.ID, name, cfg.Labels[labelNode], hc, out)
	if err = recordMade(shared, name, made.ID); err == nil {
		err = c.start(ctx)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("start container %s: %w", name, err), e.removeContainer(ctx, made.ID))
	}
	return c, nil
}

// nameTaken says whose container has the name, and what to do.
func (e *Engine) nameTaken(ctx context.Context, name string, labels map[string]string, cause error) error {
	other, err := e.client.ContainerInspect(ctx, name)
	if err != nil || other.ContainerJSONBase == nil || other.Config == nil {
		return fmt.Errorf("%w: %w", ErrNameTaken, cause)
	}
	state, lab := other.Config.Labels[labelState], other.Config.Labels[labelLab]
	switch state {
	case "":
		return fmt.Errorf("%w by container %.12s, which is not meshlab's (image %s); rename it with `docker rename %s OTHER`, or give the lab another name with --name",
			ErrNameTaken, other.ID, other.Config.Image, name)
	case labels[labelState]:
		return fmt.Errorf("%w by container %.12s, left of an earlier lab %s; `meshlab down %s` removes it", ErrNameTaken, other.ID, lab, lab)
	}
	return fmt.Errorf("%w by container %.12s of another lab %s, whose state is in %s; `meshlab down %s` removes that one",
		ErrNameTaken, other.ID, lab, state, lab)
}
