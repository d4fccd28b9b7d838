package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/topo"
)

// Folders of a lab, on its private /run.
const (
	stateDir   = "/run/meshlab"
	logDir     = stateDir + "/log"
	serviceDir = stateDir + "/service"
	consulDir  = stateDir + "/consul"
)

// Limits of the steps. They are generous: a lab may share a small machine
// with several others.
const (
	networkLimit = 30 * time.Second
	readyLimit   = 120 * time.Second
)

// raising is a lab on its way up.
type raising struct {
	*Supervisor
	lab  *topo.Lab
	req  UpRequest
	send func(Event)
	env  Environment
}

// up brings the lab to life. On an error the caller ends the sandbox, and
// the kernel removes what has been made so far.
func (s *Supervisor) up(ctx context.Context, req UpRequest, send func(Event)) (Status, error) {
	begin := time.Now()
	lab, err := s.cfg.Parse(req.File, req.Source)
	if err != nil {
		return Status{}, err
	}
	var runtime process.Runtime = process.Namespaces{UID: req.UnprivUID}
	var boxes *containers
	if req.Runtime == orchestrate.Docker {
		if boxes, err = openEngine(ctx, req); err != nil {
			return Status{}, err
		}
		runtime = boxes
	}
	procs, err := process.NewManager(logDir, runtime)
	if err != nil {
		return Status{}, err
	}
	if len(req.Publish) != len(s.cfg.Published) {
		return Status{}, fmt.Errorf("publish %d services: %d listeners inherited", len(req.Publish), len(s.cfg.Published))
	}
	s.mu.Lock()
	s.req, s.lab, s.procs, s.containers = req, lab, procs, boxes
	s.status.Since = begin
	s.mu.Unlock()
	r := &raising{Supervisor: s, lab: lab, req: req, send: s.remember(send)}
	r.env.Runtime = cmp.Or(req.Runtime, orchestrate.Namespaces)

	if boxes != nil {
		if err := r.step(ctx, "image", imageLimit, r.prepareImages); err != nil {
			return Status{}, err
		}
		if err := r.step(ctx, "containers", containerLimit, r.startHosts); err != nil {
			return Status{}, err
		}
	}
	if err := r.step(ctx, "network", networkLimit, r.network); err != nil {
		return Status{}, err
	}
	if hasCharacters(lab) {
		if err := r.step(ctx, "links", networkLimit, r.characters); err != nil {
			return Status{}, err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	var services, agents func() error
	services = func() error { return r.step(gctx, "services", readyLimit, r.services) }
	agents = func() error {
		if err := r.step(gctx, "controller", networkLimit, r.controller); err != nil {
			return err
		}
		if !consul.Needed(lab) {
			return nil
		}
		if err := r.step(gctx, "consul", readyLimit, r.consul); err != nil {
			return err
		}
		return r.step(gctx, "registration", readyLimit, r.register)
	}
	g.Go(services)
	g.Go(agents)
	if err := g.Wait(); err != nil {
		return Status{}, err
	}
	if consul.Needed(lab) {
		if err := r.mesh(ctx); err != nil {
			return Status{}, err
		}
	}
	r.publish()
	s.mu.Lock()
	r.env.Consul = req.ConsulVersion
	r.env.SwitchBufferBytes = s.status.Environment.SwitchBufferBytes
	s.status.Environment = r.env
	s.status.Ready = true
	s.mu.Unlock()
	return s.currentStatus(ctx)
}

// mesh is what comes after all instances are registered.
func (r *raising) mesh(ctx context.Context) error {
	if r.req.Mesh == orchestrate.ConsulConnect {
		if err := r.step(ctx, "sidecars", readyLimit, r.sidecars); err != nil {
			return err
		}
	}
	if err := r.step(ctx, "healthy", readyLimit, r.whileStable(r.healthy)); err != nil {
		return err
	}
	return r.step(ctx, "first request", readyLimit, r.whileStable(r.firstRequests))
}

// remember keeps the finished steps for the status.
func (s *Supervisor) remember(send func(Event)) func(Event) {
	return func(e Event) {
		if e.Done {
			s.mu.Lock()
			s.status.Steps = append(s.status.Steps, e)
			s.mu.Unlock()
		}
		send(e)
	}
}

// step runs one step within a limit and reports it.
func (r *raising) step(ctx context.Context, name string, limit time.Duration, fn func(context.Context) (string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r.send(Event{Step: name})
	begin := time.Now()
	detail, err := fn(ctx)
	if err != nil {
		if hint := r.explain(); hint != "" {
			return fmt.Errorf("%s: %w\n%s", name, err, hint)
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	r.send(Event{Step: name, Done: true, Seconds: time.Since(begin).Seconds(), Detail: detail})
	return nil
}

// explain gives the last words of the processes that have ended, which
// mostly say why a step failed.
func (r *raising) explain() string {
	var b strings.Builder
	for _, p := range r.procs.List() {
		if p.State == process.Starting || p.State == process.Running && p.Restarts == 0 {
			continue
		}
		text, err := r.procs.Tail(p.Name, 8)
		if err != nil {
			continue
		}
		fmt.Fprintf(&b, "%s on %s has ended (%s); its last lines:\n", p.Name, p.Node, p.Exit)
		for line := range strings.Lines(text) {
			b.WriteString("    " + line)
		}
		if !strings.HasSuffix(b.String(), "\n") {
			b.WriteByte('\n')
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// tune sets the kernel parameters of one host. It runs inside the host's
// network namespace.
func (r *raising) tune(n topo.Node) error {
	// The congestion control is pinned, the same in every host and mesh: with
	// the machine's own default the figures of two machines would not compare.
	// Outside the machine's first network namespace only those algorithms may
	// be chosen that tcp_allowed_congestion_control lists: always reno.
	const cc = "net/ipv4/tcp_congestion_control"
	r.env.CongestionControl = "cubic"
	if err := netns.Sysctl(cc, "cubic"); err != nil {
		r.env.CongestionControl = "reno"
		if err := netns.Sysctl(cc, "reno"); err != nil {
			return err
		}
	}
	// Ping without privileges, for all groups that the lab has: that of an
	// ordinary user has one, and the kernel refuses numbers without a group.
	const ping = "net/ipv4/ping_group_range"
	if err := netns.Sysctl(ping, "0 2147483647"); err != nil {
		if err := netns.Sysctl(ping, "0 0"); err != nil {
			return err
		}
	}
	settings := map[string]string{
		"net/ipv4/tcp_tw_reuse": "1", // a new connection per request must not run out of ports
	}
	if r.lab.Client != nil && n.Name == r.lab.Client.Node {
		settings["net/ipv4/ip_local_port_range"] = "10240 65535"
	}
	for name, value := range settings {
		if err := netns.Sysctl(name, value); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// consul starts the server and all agents, and waits until they form one
// cluster.
func (r *raising) consul(ctx context.Context) (string, error) {
	agents, err := r.agents()
	if err != nil {
		return "", err
	}
	var specs []process.Spec
	for _, a := range agents {
		if err := os.MkdirAll(a.Spec.Dir, 0o755); err != nil {
			return "", fmt.Errorf("create folder of %s: %w", a.Spec.Name, err)
		}
		for name, text := range a.Files {
			if err := os.WriteFile(filepath.Join(a.Spec.Dir, name), text, 0o644); err != nil {
				return "", fmt.Errorf("write configuration of %s: %w", a.Spec.Name, err)
			}
		}
		specs = append(specs, a.Spec)
	}
	if err := r.start(specs); err != nil {
		return "", err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, a := range agents {
		g.Go(func() error {
			client, err := consul.Client(a.Socket)
			if err != nil {
				return err
			}
			if err := consul.WaitReady(ctx, client); err != nil {
				return fmt.Errorf("%s: %w", a.Spec.Node, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	return fmt.Sprintf("a server and %d agents", len(agents)-1), nil
}

func (r *raising) agents() ([]consul.Agent, error) {
	return consul.Agents(r.lab, r.req.Consul, consulDir)
}

// register registers every service with the agent of its host.
func (r *raising) register(ctx context.Context) (string, error) {
	regs, err := consul.Registrations(r.lab, string(r.req.Mesh))
	if err != nil {
		return "", err
	}
	agents, err := r.agents()
	if err != nil {
		return "", err
	}
	n := 0
	for _, a := range agents {
		client, err := consul.Client(a.Socket)
		if err != nil {
			return "", err
		}
		if err := consul.Register(ctx, client, regs[a.Spec.Node]); err != nil {
			return "", err
		}
		n += len(regs[a.Spec.Node])
	}
	return fmt.Sprintf("%d services", n), nil
}

// healthy waits until Consul calls every service healthy, sidecars included.
func (r *raising) healthy(ctx context.Context) (string, error) {
	byHost, err := consul.Registrations(r.lab, string(r.req.Mesh))
	if err != nil {
		return "", err
	}
	agents, err := r.agents()
	if err != nil {
		return "", err
	}
	server, err := consul.Client(agents[0].Socket)
	if err != nil {
		return "", err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, a := range agents {
		g.Go(func() error {
			client, err := consul.Client(a.Socket)
			if err != nil {
				return err
			}
			// What cannot be written here the agent writes itself: whether all is
			// well, the wait below tells.
			if err := consul.Announce(ctx, client, a.Spec.Node); err != nil && ctx.Err() == nil {
				r.log.Warn("the agent announces its services itself", "error", err)
			}
			return nil
		})
		g.Go(func() error { return consul.WaitHealthy(ctx, server, byHost[a.Spec.Node]) })
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	return "all checks of Consul pass", nil
}
