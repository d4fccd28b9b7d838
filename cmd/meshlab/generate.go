package main

import (
	"os"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/scenarios/openloop"
)

// newGenerate sends the load of open-loop trials: a scenarios.GeneratorSpec
// and then scenarios.TrialSpecs on standard input, a scenarios.TrialOutcome on
// standard output for each of these.
func newGenerate() *cobra.Command {
	return &cobra.Command{
		Use:    "generate",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return openloop.Main(c.Context(), os.Stdin, os.Stdout)
		},
	}
}
