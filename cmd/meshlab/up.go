package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/topo"
)

const defaultLab = "hashicups"

func newUp() *cobra.Command {
	var mesh, runtime, name string
	var noPublish bool
	c := &cobra.Command{
		Use:   "up [LAB]",
		Short: "Bring a lab to life",
		Long: `Bring a lab to life: LAB is the name of a built-in lab ('meshlab labs') or the
path of a lab file; without it, ` + defaultLab + `. The lab is ready when every request of
its file has been answered as expected, from the client host, through the mesh.
If a step fails, or on Ctrl-C, everything is removed again.

The mesh decides what {{ upstream }} becomes in the lab file:
  direct          the instance's own address: plain switching
  ovs             the virtual address, translated by the switches
  consul-connect  the sidecar of the caller

The runtime decides what a host is:
  namespaces  a network namespace; what runs on it are programs of this machine
  docker      a container, whose network the containers of its services share;
              needs root and a Docker engine on this machine. Services with an
              image, or with limits, need it, so it is the default of their labs
docs/docker.md tells what is made in the engine, and what of it is left: nothing.`,
		Example: `  meshlab up
  meshlab up hashicups --mesh consul-connect --name sidecars
  meshlab up ./my-lab.yaml
  sudo meshlab up hashicups --runtime docker`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			m, err := orchestrate.ParseMesh(mesh)
			if err != nil {
				return usageError{err}
			}
			lab, err := loadLab(argOr(args, defaultLab))
			if err != nil {
				return err
			}
			if lab.runtime, err = runtimeOf(lab.Lab, runtime); err != nil {
				return err
			}
			if name == "" {
				name = lab.Name
			}
			if err := checkName(name); err != nil {
				return err
			}
			outliveReader()
			p := newProgress(os.Stderr)
			defer p.stop()
			if err := lacks(ctx, lab.Lab); err != nil {
				return err
			}
			var bin consul.Binary
			if consul.Needed(lab.Lab) {
				if bin, err = findConsul(ctx, p); err != nil {
					return err
				}
			}
			cfg := lab.launch(name, m, bin)
			cfg.Publish = !noPublish
			begin := time.Now()
			st, err := supervisor.Launch(ctx, cfg, p.event)
			p.stop()
			if err != nil {
				return failedUp(ctx, name, err)
			}
			if wantJSON(c) {
				return json.NewEncoder(c.OutOrStdout()).Encode(st)
			}
			printUp(c.OutOrStdout(), name, st, time.Since(begin))
			return nil
		},
	}
	c.Flags().StringVar(&mesh, "mesh", string(orchestrate.OVS), "how services reach their upstreams: direct, ovs or consul-connect")
	c.Flags().StringVar(&runtime, "runtime", "", runtimeHelp)
	c.Flags().StringVar(&name, "name", "", "name of the lab on this machine (default: that in the lab file); with names of their own, several can be up at once")
	c.Flags().BoolVar(&noPublish, "no-publish", false, "do not forward loopback ports to the services that the lab file publishes")
	return c
}

// failedUp tells why a lab did not come up, and whether anything of it is left.
func failedUp(ctx context.Context, name string, err error) error {
	if errors.Is(err, supervisor.ErrLeft) {
		return fmt.Errorf("lab %s did not come up: %w", name, err)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("lab %s: interrupted; nothing is left of it", name)
	}
	if errors.Is(err, orchestrate.ErrUp) {
		return err
	}
	return fmt.Errorf("lab %s did not come up, and nothing is left of it: %w", name, err)
}

func printUp(w io.Writer, name string, st supervisor.Status, took time.Duration) {
	on := ""
	if st.Runtime == orchestrate.Docker {
		on = ", on Docker " + st.Environment.Docker
	}
	fmt.Fprintf(w, "Lab %s is up with mesh %s%s, ready after %.1f s.\n", name, st.Mesh, on, took.Seconds())
	for _, p := range st.Published {
		fmt.Fprintf(w, "  %s: http://%s/\n", p.Service, p.Address)
	}
	at := ""
	if name != st.Lab {
		at = " --lab " + name
	}
	for _, verb := range [][2]string{
		{"ps" + at, "what runs in it"}, {"flows" + at, "what the switches do"}, {"down" + strings.TrimPrefix(at, " --lab"), "remove it"},
	} {
		fmt.Fprintf(w, "  meshlab %-*s  %s\n", len("flows"+at), verb[0], verb[1])
	}
}

// loadedLab is a lab file and what it says.
type loadedLab struct {
	*topo.Lab
	source  []byte
	file    string
	runtime orchestrate.Runtime // "": the default of the lab
}

// loadLab reads a built-in lab or a lab file.
func loadLab(nameOrPath string) (loadedLab, error) {
	lab, source, err := labs.Load(nameOrPath, builtin.Names())
	if err != nil {
		return loadedLab{}, usageError{wrongKind(err, source, labFile)}
	}
	file := nameOrPath
	if _, err := os.Stat(nameOrPath); err == nil {
		if abs, err := filepath.Abs(nameOrPath); err == nil {
			file = abs
		}
	}
	return loadedLab{Lab: lab, source: source, file: file}, nil
}

func (l loadedLab) launch(name string, m orchestrate.Mesh, bin consul.Binary) supervisor.LaunchConfig {
	return supervisor.LaunchConfig{
		Name: name, Lab: l.Lab, File: l.file, Source: l.source, Mesh: m, Runtime: l.runtime,
		Consul: bin.Path, ConsulVersion: bin.Version, Version: version(), Command: superviseVerb,
	}
}

func argOr(args []string, fallback string) string {
	if len(args) > 0 {
		return args[0]
	}
	return fallback
}

func checkName(name string) error {
	if name == "" || name[0] == '.' || len(name) > 40 || strings.ContainsAny(name, "/\x00 \n") {
		return usageError{fmt.Errorf("lab name %q: up to 40 characters without spaces and slashes", name)}
	}
	return nil
}
