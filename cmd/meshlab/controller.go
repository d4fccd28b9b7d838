package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/bridge"
)

func newController() *cobra.Command {
	var file string
	var check bool
	c := &cobra.Command{
		Use:   "controller --config FILE",
		Short: "Make bridges of this machine a service mesh, without a lab",
		Long: `Run the controller: it follows Consul and keeps the flows of this machine's Open
vSwitch bridges in the state that the mesh asks for. Where hosts are it learns
from external_ids in Open vSwitch's database, and from Consul's catalog.
docs/controller.md explains the configuration file, which is YAML.

SIGHUP reads the file again, SIGTERM ends the controller; the bridges keep their
flows. 'meshlab up' starts a controller in each lab and writes its file.`,
		Example: `  meshlab controller --config /etc/meshlab/controller.yaml
  meshlab controller --config controller.yaml --check`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := controller.LoadConfig(file)
			if err != nil {
				return usageError{err}
			}
			if cfg.Kubernetes != nil {
				return usageError{fmt.Errorf("%s: the key kubernetes is that of an agent; run: meshlab agent --config %s", file, file)}
			}
			if err := usable(cfg); err != nil {
				return usageError{err}
			}
			if check {
				fmt.Fprintln(c.OutOrStdout(), file+": the configuration is good")
				return nil
			}
			// SIGHUP ends the other verbs, by the context that main hands in.
			ctx, stop := signal.NotifyContext(context.WithoutCancel(c.Context()), os.Interrupt, syscall.SIGTERM)
			defer stop()
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			defer signal.Stop(reload)
			return newDaemon(file, cfg, os.Stderr).run(ctx, reload)
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration file (YAML)")
	c.Flags().BoolVar(&check, "check", false, "say whether the configuration file is good, and end")
	_ = c.MarkFlagRequired("config") // the flag exists
	return c
}

// usable tells what of the files that the configuration names cannot be used.
func usable(cfg controller.FileConfig) error {
	_, err := consulClient(cfg)
	errs := []error{err}
	for _, dp := range cfg.Datapaths {
		if network, _, _ := dp.Way(); network != controller.NetworkTLS {
			continue
		}
		if _, _, err := bridge.Identity(dp, cfg.TLS); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// consulClient is nil when the configuration names no Consul. What the file
// does not say, the environment says (CONSUL_HTTP_ADDR and so on).
func consulClient(cfg controller.FileConfig) (*api.Client, error) {
	if cfg.Consul == nil {
		return nil, nil
	}
	c := api.DefaultConfig()
	set := func(to *string, from string) {
		if from != "" {
			*to = from
		}
	}
	set(&c.Address, cfg.Consul.Address)
	set(&c.TLSConfig.CAFile, cfg.Consul.CAFile)
	set(&c.TLSConfig.CertFile, cfg.Consul.CertFile)
	set(&c.TLSConfig.KeyFile, cfg.Consul.KeyFile)
	if cfg.Consul.TokenFile != "" {
		c.TokenFile, c.Token = cfg.Consul.TokenFile, ""
	}
	c.Transport.ResponseHeaderTimeout = consulAnswer
	client, err := api.NewClient(c)
	if err != nil {
		return nil, fmt.Errorf("make a client for Consul: %w", err)
	}
	return client, nil
}

// consulAnswer is after which a Consul that takes a request and does not answer
// is away, and another one behind its address is asked. Blocking queries wait a
// minute, to which Consul adds up to a sixteenth ("Blocking Queries", wait). A
// unix socket has no other one behind it, and its transport no limit.
const consulAnswer = 90 * time.Second

// newLogger logs as the configuration asks for. The level can change later.
func newLogger(cfg controller.FileConfig, to io.Writer, level *slog.LevelVar) *slog.Logger {
	level.Set(slog.Level(cfg.LogLevel))
	opts := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(to, opts))
	}
	return slog.New(slog.NewTextHandler(to, opts))
}
