package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/orchestrate/docker"
	"meshlab.dev/meshlab/orchestrate/sandbox"
	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/scenarios/fortio"
	"meshlab.dev/meshlab/topo"
)

const superviseVerb = "supervise"

// newSupervise is what `up` starts inside a sandbox: first as its first
// process, and from there as the supervisor.
func newSupervise() *cobra.Command {
	var listeners int
	var inside bool
	var bind []string
	c := &cobra.Command{
		Use:    superviseVerb,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !inside {
				args := []string{superviseVerb, "--inside", "--listeners", fmt.Sprint(listeners)}
				var binds []sandbox.Bind
				for _, b := range bind {
					source, target, _ := strings.Cut(b, "=")
					binds = append(binds, sandbox.Bind{Source: source, Target: target})
				}
				code, err := sandbox.Init(args, 3+listeners, binds...)
				if err != nil {
					return err
				}
				return exitCode(code)
			}
			cfg, err := supervisor.Inherit(listeners)
			if err != nil {
				return err
			}
			cfg.Parse = func(name string, source []byte) (*topo.Lab, error) {
				return topo.Parse(name, source, topo.Options{Builtins: builtin.Names()})
			}
			cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
			return supervisor.Run(c.Context(), cfg)
		},
	}
	c.Flags().IntVar(&listeners, "listeners", 0, "number of inherited listeners for published ports")
	c.Flags().StringArrayVar(&bind, "bind", nil, "path=path in the sandbox: what of the machine is seen in it")
	c.Flags().BoolVar(&inside, "inside", false, "the sandbox is ready")
	return c
}

// newHostContainer is the first process of the container of a host.
func newHostContainer() *cobra.Command {
	var socket string
	c := &cobra.Command{
		Use:    docker.HostVerb + " --socket PATH NAME",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return docker.HostMain(socket, args[0]) },
	}
	c.Flags().StringVar(&socket, "socket", "", "where the lab takes the network namespace")
	return c
}

// newService runs one of the services that labs name as `builtin:`.
func newService() *cobra.Command {
	return &cobra.Command{
		Use:    "service NAME",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			b, ok := builtin.Lookup(args[0])
			if !ok {
				return usageError{fmt.Errorf("no builtin service %q; there are %v", args[0], builtin.Names())}
			}
			return b.Run(c.Context(), os.Getenv, slog.New(slog.NewTextHandler(os.Stderr, nil)))
		},
	}
}

// newLoad makes one attempt: a scenarios.LoadSpec on standard input, a
// scenarios.Attempt on standard output.
func newLoad() *cobra.Command {
	return &cobra.Command{
		Use:    "load",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return fortio.Main(c.Context(), os.Stdin, os.Stdout)
		},
	}
}
