package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/labs/builtin"
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
	c := &cobra.Command{
		Use:    superviseVerb,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !inside {
				args := []string{superviseVerb, "--inside", "--listeners", fmt.Sprint(listeners)}
				code, err := sandbox.Init(args, 3+listeners)
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
	c.Flags().BoolVar(&inside, "inside", false, "the sandbox is ready")
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
