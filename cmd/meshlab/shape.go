package main

import (
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/orchestrate/shape"
)

// newShape gives the links of a lab their character where the kernel cannot;
// the supervisor starts it.
func newShape() *cobra.Command {
	cfg := shape.Config{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	c := &cobra.Command{
		Use:    "shape",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(c *cobra.Command, _ []string) error { return shape.Run(c.Context(), cfg) },
	}
	c.Flags().StringVar(&cfg.Plan, "plan", "", "file with the links")
	c.Flags().StringVar(&cfg.Socket, "socket", "", "where to be told others")
	return c
}
