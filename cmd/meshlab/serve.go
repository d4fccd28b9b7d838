package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"meshlab.dev/meshlab/controller"
)

// standbySuffix is added to the path of the status socket of a controller
// that waits for the lock; the path itself is the one that works.
const standbySuffix = ".standby"

// listenAgain is the time between two tries to listen.
const listenAgain = time.Second

// serve answers at the status socket and at the metrics address until ctx
// ends. Without a standby, an address that cannot be had is an error at once.
// With one, both belong to the process that works: the one that waits has a
// status socket of its own, and takes the others with the lock.
func (d *daemon) serve(ctx context.Context, all *errgroup.Group, cfg controller.FileConfig, status, scrape http.Handler, active <-chan struct{}) error {
	web, socket := http.NewServeMux(), http.NewServeMux()
	web.Handle("GET /healthz", status)
	web.Handle("GET /metrics", scrape)
	socket.Handle("/", status)
	socket.Handle("GET /metrics", scrape)
	type place struct {
		listen  func() (net.Listener, error)
		handler http.Handler
	}
	var places []place
	if cfg.Status != "" {
		places = append(places, place{func() (net.Listener, error) { return controller.Listen(cfg.Status) }, socket})
	}
	if cfg.Metrics != "" {
		places = append(places, place{func() (net.Listener, error) { return net.Listen("tcp", cfg.Metrics) }, web})
	}
	if cfg.Standby == "" {
		for _, p := range places {
			ln, err := p.listen()
			if err != nil {
				return fmt.Errorf("listen: %w", err)
			}
			all.Go(func() error { return controller.Serve(ctx, ln, p.handler) })
		}
		return nil
	}
	if cfg.Status != "" {
		all.Go(func() error { return d.serveWaiting(ctx, cfg.Status+standbySuffix, socket, active) })
	}
	for _, p := range places {
		all.Go(func() error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-active:
			}
			ln, err := d.listen(ctx, p.listen)
			if err != nil {
				return err
			}
			return controller.Serve(ctx, ln, p.handler)
		})
	}
	return nil
}

// serveWaiting answers at the status socket of a standby until it works. Of
// several that wait, one has it.
func (d *daemon) serveWaiting(ctx context.Context, path string, status http.Handler, active <-chan struct{}) error {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-active:
		case <-waiting.Done():
		}
		stop()
	}()
	ln, err := d.listen(waiting, func() (net.Listener, error) { return controller.Listen(path) })
	if err == nil {
		err = controller.Serve(waiting, ln, status)
	}
	if waiting.Err() != nil {
		return ctx.Err() // nil: it works now
	}
	return err
}

// listen tries until it can, or ctx ends.
func (d *daemon) listen(ctx context.Context, try func() (net.Listener, error)) (net.Listener, error) {
	for warned := false; ; warned = true {
		ln, err := try()
		if err == nil {
			return ln, nil
		}
		if !warned {
			d.log.Warn("cannot listen; trying again", "error", err)
		}
		t := time.NewTimer(listenAgain)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		case <-t.C:
		}
	}
}
