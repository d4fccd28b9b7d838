package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/bridge"
	"meshlab.dev/meshlab/controller/consul"
	"meshlab.dev/meshlab/controller/mesh"
)

func newController() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "controller --config FILE",
		Short: "Run the controller of a lab's switches",
		Long: `Run the controller: it follows Consul and keeps the flows of the bridges in its
configuration file in the state that the mesh asks for. 'meshlab up' starts one
in each lab and writes its file.`,
		Example: "  meshlab controller --config controller.json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := controller.LoadConfig(file)
			if err != nil {
				return usageError{err}
			}
			log := slog.New(slog.NewTextHandler(os.Stderr, nil))
			run := controller.Config{
				Fabric: cfg.Fabric, Datapaths: cfg.Datapaths,
				Connect: bridge.Connector(log), Refuse: bridge.Refuse,
				Status: cfg.Status, Drain: time.Duration(cfg.Drain), Logger: log,
			}
			if cfg.Consul != nil && cfg.Fabric.Mesh {
				client, err := api.NewClient(&api.Config{Address: cfg.Consul.Address})
				if err != nil {
					return usageError{err}
				}
				run.Watch = func(ctx context.Context, emit func(mesh.Snapshot)) error {
					return consul.Watch(ctx, consul.Config{Client: client, Logger: log}, emit)
				}
			}
			err = controller.Run(c.Context(), run)
			if c.Context().Err() != nil {
				return nil // asked to stop
			}
			return err
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration file (JSON)")
	_ = c.MarkFlagRequired("config") // the flag exists
	return c
}
