package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// Config is what Run needs.
type Config struct {
	Fabric    pipeline.Fabric
	Datapaths []Datapath
	// Connect opens a connection to the switch at an address.
	Connect func(ctx context.Context, address string) (Switch, error)
	// Watch calls emit, from one goroutine at a time, with each state of the
	// registry until ctx ends. nil: there is no registry, the mesh is empty.
	Watch func(ctx context.Context, emit func(mesh.Snapshot)) error
	// Refuse makes the frame that answers a TCP segment with a reset, and an
	// error for what must not be answered. nil: nothing is refused.
	Refuse func(frame []byte) ([]byte, error)
	Status string           // path of the unix socket for status; empty: no status
	Drain  time.Duration    // how long deregistered instances keep their connections
	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now
}

func (c *Config) complete() error {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Connect == nil {
		return errors.New("run controller: Config.Connect is missing")
	}
	if err := validate(c.Fabric, c.Datapaths); err != nil {
		return fmt.Errorf("run controller: %w", err)
	}
	return nil
}

// Run keeps all datapaths in the state that the registry asks for until ctx
// ends, and returns ctx's error then. A switch or a registry that cannot be
// reached is tried again for ever; other errors mean that the controller
// cannot do its work at all.
//
// Until the first snapshot, flows are only added: plain switching and ARP on
// a fresh switch, and whatever the switch held before stays in force.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.complete(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := newTarget()
	var workers []*worker
	for _, dp := range cfg.Datapaths {
		workers = append(workers, newWorker(cfg, dp, t))
	}
	var all sync.WaitGroup
	defer all.Wait()
	start := func(what string, task func(context.Context) error) {
		all.Go(func() {
			if err := task(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	if cfg.Status != "" {
		ln, err := listenStatus(cfg.Status)
		if err != nil {
			return fmt.Errorf("run controller: %w", err)
		}
		start("serve status", func(ctx context.Context) error { return serveStatus(ctx, ln, &status{target: t, workers: workers}) })
	}
	start("watch registry", func(ctx context.Context) error { return watch(ctx, cfg, t) })
	for _, w := range workers {
		start("datapath "+w.dp.Name, w.run)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}
