package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/docker"
	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/topo"
)

const (
	// engineInside is where the engine's socket is in the sandbox.
	engineInside = "/run/docker.sock"
	// hostsSocket is where host containers hand their networks over. It is in
	// the folder that they see.
	hostsSocket = stateDir + "/hosts.sock"
)

const (
	// imageLimit is for images that come from a registry.
	imageLimit = 30 * time.Minute
	// containerLimit is for the containers of all hosts.
	containerLimit = 120 * time.Second
	// removeLimit bounds the removal of all containers of a lab.
	removeLimit = 120 * time.Second
)

// ErrNotRoot says that an ordinary user asked for containers.
var ErrNotRoot = errors.New("runtime docker needs root: the links of a lab are moved into its containers; remedy: sudo, or without root --runtime namespaces, which needs no Docker either")

// findEngine returns the socket of the engine for a lab that has containers,
// "" for one that has none. What such a lab cannot do without, and does not
// have, is an error before anything is made.
func findEngine(ctx context.Context, cfg LaunchConfig) (socket string, err error) {
	if cfg.Runtime != orchestrate.Docker {
		if why, needs := cfg.Lab.NeedsDocker(); needs {
			return "", fmt.Errorf("lab %s needs --runtime docker: %s", cfg.Name, why)
		}
		return "", nil
	}
	if os.Geteuid() != 0 {
		return "", ErrNotRoot
	}
	engine, err := docker.Open(ctx, docker.Config{Version: cfg.Version})
	if err != nil {
		return "", err
	}
	defer engine.Close()
	return filepath.Abs(engine.Socket())
}

// sharedWithContainers makes what a sandbox has in common with the containers
// of its lab, and returns the arguments that bind it there. Without an engine
// there is nothing.
func sharedWithContainers(state orchestrate.State, engine string) ([]string, error) {
	if engine == "" {
		return nil, nil
	}
	if err := os.Mkdir(state.Shared(), 0o755); err != nil {
		return nil, fmt.Errorf("create folder of containers: %w", err)
	}
	return []string{"--bind", state.Shared() + "=" + stateDir, "--bind", engine + "=" + engineInside}, nil
}

// removeContainers removes all containers of a lab whose first process has
// ended, also when ctx is done. It is no error when there are none.
func removeContainers(ctx context.Context, state orchestrate.State, rec orchestrate.Record) error {
	if !rec.Contained() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
	defer cancel()
	engine, err := docker.Open(ctx, docker.Config{Socket: rec.Engine})
	if err != nil {
		return fmt.Errorf("remove the containers of lab %s: %w; then `meshlab down %s` again", rec.Name, err, rec.Name)
	}
	defer engine.Close()
	if err := engine.Remove(ctx, state.Dir); err != nil {
		return fmt.Errorf("remove the containers of lab %s: %w", rec.Name, err)
	}
	return nil
}

// containers is the process.Runtime of a lab on Docker: what runs on a host
// runs in a container that shares the network of the host's own. All else runs
// in the sandbox.
type containers struct {
	engine *docker.Engine
	lab    docker.Lab
	inside process.Namespaces
	base   string                  // folder of the lab file
	images map[string]string       // name in the lab file -> ID
	hosts  map[string]*docker.Host // in whose memory they live
}

// openEngine connects to the engine from inside the sandbox.
func openEngine(ctx context.Context, req UpRequest) (*containers, error) {
	engine, err := docker.Open(ctx, docker.Config{Socket: engineInside, Version: req.Version})
	if err != nil {
		return nil, err
	}
	return &containers{
		engine: engine, inside: process.Namespaces{UID: req.UnprivUID}, base: filepath.Dir(req.File),
		lab: docker.Lab{
			Name: req.Name, State: req.StateDir,
			Shared: docker.Mount{Source: orchestrate.State{Dir: req.StateDir}.Shared(), Target: stateDir, Writable: true},
		},
		hosts: map[string]*docker.Host{},
	}, nil
}

// prepareImages makes sure that all images of the lab are there.
func (r *raising) prepareImages(ctx context.Context) (string, error) {
	c := r.containers
	tell := func(text string) { r.send(Event{Step: "image", Detail: text}) }
	var err error
	if c.lab.Image, err = c.engine.EnsureImage(ctx, self, tell); err != nil {
		return "", err
	}
	var images []string
	for _, svc := range r.lab.Services {
		if svc.Image != "" {
			images = append(images, svc.Image)
		}
	}
	if c.images, err = c.engine.Resolve(ctx, images, c.base, tell); err != nil {
		return "", err
	}
	r.env.Docker = c.engine.Version()
	return fmt.Sprintf("%s, and %d of services; Docker %s", c.lab.Image, len(c.images), r.env.Docker), nil
}

// startHosts starts the containers of all hosts, and gives their network
// namespaces the names of the hosts.
func (r *raising) startHosts(ctx context.Context) (string, error) {
	c := r.containers
	var specs []docker.HostSpec
	for _, n := range r.lab.Nodes {
		if n.Kind == topo.KindHost {
			specs = append(specs, docker.HostSpec{Lab: c.lab, Name: n.Name, Socket: hostsSocket})
		}
	}
	l, err := docker.Listen(hostsSocket)
	if err != nil {
		return "", err
	}
	defer l.Close()
	handed, err := c.engine.StartHosts(ctx, l, specs)
	if err != nil {
		return "", err
	}
	for name, h := range handed {
		if err := netns.Adopt(name, h.NetNS); err != nil {
			return "", err
		}
		c.hosts[name] = h
	}
	return fmt.Sprintf("%d hosts", len(specs)), nil
}

// mounts are what a process sees beside the machine's programs and the lab's
// own folder: the folder that it runs in.
func (c *containers) mounts(s process.Spec) []docker.Mount {
	if s.Image != "" || s.Dir == "" || s.Dir == "/" || within(s.Dir, stateDir) {
		return nil
	}
	return []docker.Mount{{Source: s.Dir, Writable: true}}
}

func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rel)
}

// removeOwn removes all containers when the lab ends by itself, and not by
// `down`, which does it from outside. What is left then, `down` finds.
func (s *Supervisor) removeOwn() {
	s.mu.Lock()
	c := s.containers
	s.mu.Unlock()
	if c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), removeLimit)
	defer cancel()
	if err := c.engine.Remove(ctx, c.lab.State); err != nil {
		s.log.Error("remove the lab's containers", "error", err)
	}
}
