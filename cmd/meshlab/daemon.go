package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/bridge"
	"meshlab.dev/meshlab/controller/consul"
	"meshlab.dev/meshlab/controller/discover"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/spans"
	"meshlab.dev/meshlab/controller/standby"
)

// daemon is a controller as a process of its own: it adds to package
// controller what has to do with a file, signals, other processes and
// systemd.
type daemon struct {
	file   string
	log    *slog.Logger
	level  slog.LevelVar
	notify notifier
	limits limiter
	page   *page
	probe  registryProbe
	placed atomic.Bool // the network is known
	// load reads the configuration again.
	load    func() (controller.FileConfig, error)
	cluster *cluster // nil: it is no agent

	mu      sync.Mutex
	cfg     controller.FileConfig // in force
	changed chan struct{}         // closed when cfg is replaced
}

func newDaemon(file string, cfg controller.FileConfig, logs io.Writer) *daemon {
	d := &daemon{file: file, cfg: cfg, changed: make(chan struct{}), page: newPage()}
	d.load = func() (controller.FileConfig, error) { return controller.LoadConfig(file) }
	d.log = newLogger(cfg, logs, &d.level)
	d.notify.log = d.log
	return d
}

// settings are those in force, and a channel that is closed once there are
// others.
func (d *daemon) settings() (controller.FileConfig, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cfg, d.changed
}

// tls is for all datapaths that are reached by it.
func (d *daemon) tls() controller.TLS {
	cfg, _ := d.settings()
	return cfg.TLS
}

// lastSpans is how long the end waits for the receiver of traces.
const lastSpans = 2 * time.Second

// run works until ctx ends, which is no error. The bridges keep their flows.
func (d *daemon) run(ctx context.Context, reload <-chan os.Signal) error {
	cfg, _ := d.settings()
	active := make(chan struct{})
	run := d.controllerConfig(cfg, active)
	var c *controller.Controller // when the recorder asks for names, there is one
	if cfg.Traces != nil {
		recorder, err := newRecorder(cfg, func(client netip.Addr, bindPort uint16, instance uint32) spans.Names {
			return namesOf(c, client, bindPort, instance)
		}, d.log)
		if err != nil {
			return usageError{err}
		}
		run.Traced = func(datapath string, e controller.FlowRemoved) { recorder.Removed(datapath, half(e)) }
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSpans)
			defer cancel()
			if err := recorder.Close(ctx); err != nil {
				d.log.Warn("the last spans were not delivered", "error", err)
			}
		}()
	}
	c, err := controller.New(run)
	if err != nil {
		return usageError{err}
	}
	all, ctx := errgroup.WithContext(ctx)
	if cfg.Standby == "" {
		close(active)
	} else {
		release := func() {}
		defer func() { release() }() // last of all: no switch is connected any more
		all.Go(func() error {
			var err error
			if release, err = d.takeOver(ctx, cfg.Standby); err == nil {
				close(active)
			}
			return err
		})
	}
	scrape, err := d.page.of(c, d.log)
	if err != nil {
		return err
	}
	if err := d.serve(ctx, all, cfg, c.Handler(), scrape, active); err != nil {
		return err
	}
	if d.cluster != nil {
		d.cluster.start(ctx, d, all, active)
	}
	all.Go(func() error { return c.Run(ctx) })
	all.Go(func() error { return d.tell(ctx, c, cfg.Standby) })
	all.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-reload:
				d.reload()
			}
		}
	})
	err = all.Wait()
	d.notify.send(notifyStopping)
	if errors.Is(err, context.Canceled) {
		d.log.Info("asked to stop; the bridges keep their flows")
		return nil
	}
	return err
}

// takeOver waits for the lock of which only the holder works.
func (d *daemon) takeOver(ctx context.Context, path string) (release func(), err error) {
	d.log.Info("waiting for the lock", "path", path, "held_by", standby.Holder(path))
	release, err = standby.Wait(ctx, path)
	if ctx.Err() != nil {
		return func() {}, ctx.Err()
	}
	if err != nil {
		return func() {}, err
	}
	d.log.Info("holds the lock; working from now on", "path", path)
	return release, nil
}

// controllerConfig is the configuration of the loop. What may change while it
// runs it asks of settings.
func (d *daemon) controllerConfig(cfg controller.FileConfig, active <-chan struct{}) controller.Config {
	run := controller.Config{
		Active: active, Connect: bridge.Connector(bridge.Config{TLS: d.tls, Logger: d.log}), Segments: bridge.Segments{}, Logger: d.log,
		DNS: newResponder(cfg, d.log), Limits: d.limits.set, Relieve: d.limits.relieve, Metrics: d.page.traffic, Converged: d.page.converged,
		Drain: func() time.Duration {
			cfg, _ := d.settings()
			return time.Duration(cfg.Drain)
		},
	}
	if cfg.Static() {
		run.Fabric, run.Datapaths = cfg.Network(), cfg.Datapaths
		d.limits.place(cfg.RunDirs(), []string{cfg.DatapathType})
		d.placed.Store(true)
	} else {
		run.Networks = func(ctx context.Context, emit func(controller.Network)) error {
			return following(ctx, d, networkSettings, func(ctx context.Context, cfg controller.FileConfig) error {
				return d.watchNetwork(ctx, cfg, emit)
			})
		}
	}
	if d.cluster != nil {
		run.Away = d.cluster.source.Away
	}
	if cfg.Network().Mesh {
		run.RegistryUp = d.probe.up.Load
		if d.cluster != nil && cfg.Kubernetes.Registry == controller.RegistryKubernetes {
			run.RegistryUp = d.cluster.source.Up
		}
		run.Watch = func(ctx context.Context, emit func(mesh.Snapshot)) error {
			return following(ctx, d, registrySettings, func(ctx context.Context, cfg controller.FileConfig) error {
				return d.watchRegistry(ctx, cfg, emit)
			})
		}
	}
	return run
}

func (d *daemon) watchNetwork(ctx context.Context, cfg controller.FileConfig, emit func(controller.Network)) error {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find the name of this machine: %w", err)
	}
	look := discover.Config{
		OVSDB: cfg.OVSDB, Bridges: cfg.Bridges, Node: cmp.Or(cfg.Node, name), Fabric: cfg.Network(), Logger: d.log,
	}
	client, err := consulClient(cfg)
	if err != nil {
		return err
	}
	switch {
	case d.cluster != nil:
		look.Nodes, look.Sparse, look.Split = d.cluster.nodes, true, true
	case client != nil:
		look.Nodes = discover.Nodes(client, d.log)
	}
	return discover.Watch(ctx, look, func(n discover.Network) {
		d.limits.place(cfg.RunDirs(), n.Types)
		out := controller.Network{Fabric: n.Fabric, Partial: n.Partial, Since: n.Since}
		for _, dp := range n.Datapaths {
			out.Datapaths = append(out.Datapaths, controller.Datapath{Datapath: dp, Address: cfg.ManagementSocket(dp.Name)})
		}
		emit(out)
		d.placed.Store(true)
	})
}

func (d *daemon) watchRegistry(ctx context.Context, cfg controller.FileConfig, emit func(mesh.Snapshot)) error {
	client, err := consulClient(cfg)
	if err != nil {
		return err
	}
	if d.cluster != nil && cfg.Kubernetes.Registry == controller.RegistryKubernetes {
		return d.cluster.source.Snapshots(ctx, emit)
	}
	if client == nil {
		d.probe.up.Store(true) // there is none to be down
		emit(mesh.Snapshot{})
		<-ctx.Done()
		return ctx.Err()
	}
	var probing sync.WaitGroup
	defer probing.Wait()
	probing.Go(func() { d.probe.watch(ctx, client) })
	watch := consul.Config{Client: client, Logger: d.log}
	if cfg.DefaultPolicy != controller.PolicyConsul {
		deny := cfg.DefaultPolicy == controller.PolicyDeny
		watch.DefaultDeny = &deny
	}
	if d.cluster != nil {
		return d.cluster.join(ctx, func(ctx context.Context, emit func(mesh.Snapshot)) error { return consul.Watch(ctx, watch, emit) }, emit)
	}
	return consul.Watch(ctx, watch, emit)
}

// following runs a watch with the settings in force, and again from the
// beginning when those of them change that part picks. What it emitted last
// stands meanwhile.
func following(ctx context.Context, d *daemon, part func(controller.FileConfig) any, watch func(context.Context, controller.FileConfig) error) error {
	for {
		cfg, changed := d.settings()
		before := part(cfg) // now: files have other content later
		child, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- watch(child, cfg) }()
		for again := false; !again; {
			select {
			case err := <-ended:
				stop()
				return err
			case <-changed:
				var next controller.FileConfig
				next, changed = d.settings()
				again = !reflect.DeepEqual(before, part(next))
			}
		}
		stop()
		<-ended // one at a time may emit
	}
}
