package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/pipeline"
	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/topo"
)

// self is this program, also when its file has been replaced since.
const self = "/proc/self/exe"

// datacenter is what the lab's Consul calls itself when nobody names it.
const datacenter = "dc1"

const controllerSocket = stateDir + "/controller.sock"

// controller starts the controller and waits until every bridge carries its
// flows. It needs no Consul for that: hosts reach each other from then on.
func (r *raising) controller(ctx context.Context) (string, error) {
	agents, err := r.agents()
	if err != nil {
		return "", err
	}
	fabric, datapaths := pipeline.FromLab(r.lab, r.req.Mesh == orchestrate.OVS)
	cfg := controller.FileConfig{
		Fabric: fabric, DatapathType: r.env.Datapath,
		DNS:    &controller.DNS{Datacenter: datacenter},
		Drain:  controller.DefaultDrain,
		Status: controllerSocket,
	}
	if len(agents) > 0 {
		cfg.Consul = &controller.Consul{Address: "unix://" + agents[0].Socket}
	}
	if err := r.reach(&cfg, datapaths); err != nil {
		return "", err
	}
	text, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode configuration of controller: %w", err)
	}
	file := filepath.Join(stateDir, "controller.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return "", fmt.Errorf("write configuration of controller: %w", err)
	}
	err = r.procs.Start(process.Spec{
		Name: "controller", Part: process.PartController,
		Path: self, Args: []string{"controller", "--config", file},
		Env: baseEnv(stateDir), KeepRunning: true,
	})
	if err != nil {
		return "", err
	}
	flows, err := switching(ctx, len(datapaths))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d flows on %d switches", flows, len(datapaths)), nil
}

// switching waits until each of so many switches carries the flows by which hosts reach
// each other, and returns their number.
func switching(ctx context.Context, switches int) (int, error) {
	client := controller.NewClient(controllerSocket)
	defer client.Close()
	for {
		h, err := client.Health(ctx)
		flows, ready := 0, err == nil && len(h.Datapaths) == switches
		for _, d := range h.Datapaths {
			ready = ready && d.InSync
			flows += d.Flows
		}
		if ready {
			return flows, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for the switches to carry flows: %w: %+v, %v", context.Cause(ctx), h.Datapaths, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// services starts the application, all instances at once: a service whose
// upstream is not there yet must bear with that, as on any real cluster.
func (r *raising) services(context.Context) (string, error) {
	var specs []process.Spec
	for _, svc := range r.lab.Services {
		spec, err := r.serviceSpec(svc)
		if err != nil {
			return "", err
		}
		home := filepath.Join(serviceDir, svc.Name)
		if err := os.MkdirAll(home, 0o755); err != nil {
			return "", fmt.Errorf("create home of service %s: %w", svc.Name, err)
		}
		specs = append(specs, spec)
	}
	if err := r.start(specs); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d started", len(r.lab.Services)), nil
}

// serviceSpec says how an instance is started under the lab's mesh.
func (r *raising) serviceSpec(svc topo.Service) (process.Spec, error) {
	dir := filepath.Join(serviceDir, svc.Name)
	spec := process.Spec{
		Name: svc.Name, Node: svc.Node, Part: process.PartService, Dir: dir, KeepRunning: true,
		Limits: process.Limits(svc.Limits),
	}
	funcs := topo.Funcs{
		Upstream: func(name string) (string, error) {
			for _, u := range svc.Upstreams {
				if u.Service == name {
					return r.req.Mesh.Address(r.lab, u)
				}
			}
			return "", fmt.Errorf("service %s has no upstream %q", svc.Name, name)
		},
		Address: orchestrate.HostAddr(r.lab, svc.Node).String(),
		Port:    svc.Port,
	}
	spec.Env = baseEnv(dir)
	switch {
	case svc.Builtin != "":
		b, ok := builtin.Lookup(svc.Builtin)
		if !ok {
			return spec, fmt.Errorf("service %s: no builtin %q", svc.Name, svc.Builtin)
		}
		spec.Path, spec.Args, spec.Unprivileged = self, []string{"service", svc.Builtin}, b.Unprivileged
	case svc.Image != "":
		words, err := expandCommand(svc, funcs)
		if err != nil {
			return spec, err
		}
		// Program, folder and the rest of the environment are the image's own.
		spec.Image, spec.Args, spec.Dir, spec.Env = svc.Image, words, "", nil
	default:
		words, err := expandCommand(svc, funcs)
		if err != nil {
			return spec, err
		}
		if base := filepath.Dir(r.req.File); filepath.IsAbs(base) {
			spec.Dir = base // a user's command runs where the lab file is, as with Compose
		}
		path, err := findProgram(words[0], spec.Dir)
		if err != nil {
			return spec, fmt.Errorf("service %s: %w", svc.Name, err)
		}
		spec.Path, spec.Args = path, words[1:]
	}
	for k, v := range svc.Environment {
		text, err := topo.Expand(v, funcs)
		if err != nil {
			return spec, fmt.Errorf("service %s: environment %s: %w", svc.Name, k, err)
		}
		spec.Env = append(spec.Env, k+"="+text)
	}
	return spec, nil
}

func expandCommand(svc topo.Service, funcs topo.Funcs) ([]string, error) {
	words := make([]string, len(svc.Command))
	for i, w := range svc.Command {
		text, err := topo.Expand(w, funcs)
		if err != nil {
			return nil, fmt.Errorf("service %s: command: %w", svc.Name, err)
		}
		words[i] = text
	}
	return words, nil
}

func findProgram(name, dir string) (string, error) {
	if filepath.Base(name) != name && !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find program: %w", err)
	}
	return filepath.Abs(path)
}

func baseEnv(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8"}
}
