package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/datapath"
	"meshlab.dev/meshlab/controller/dns"
	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/controller/pipeline"
)

// newResponder makes the maker of DNS servers, one for each switch; nil when
// the configuration asks for none.
func newResponder(cfg controller.FileConfig, log *slog.Logger) func(pipeline.Fabric, func() (mesh.Snapshot, bool), func(uint32, []byte)) (controller.Responder, error) {
	if cfg.DNS == nil {
		return nil
	}
	var recursors []netip.AddrPort
	for _, r := range cfg.DNS.Recursors {
		recursors = append(recursors, r.AddrPort)
	}
	return func(f pipeline.Fabric, snapshot func() (mesh.Snapshot, bool), send func(uint32, []byte)) (controller.Responder, error) {
		return dns.New(dns.Config{
			Addr: f.VIP, MAC: f.VIPMAC, Domain: cfg.DNS.Domain, Datacenter: cfg.DNS.Datacenter,
			Forward: recursors, Snapshot: snapshot, Send: send, Logger: log,
		})
	}
}

// limiter sets limits of connections at the datapaths that carry the
// bridges: others are other people's.
type limiter struct {
	mu    sync.Mutex
	runs  []string // run directories of the Open vSwitches
	types []string // of the datapaths; none: not known yet
}

func (l *limiter) place(runs []string, types []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs, l.types = runs, types
}

// set makes the limits of all zones exactly these. That there is nothing to
// limit, and nobody to be told, is no error.
func (l *limiter) set(ctx context.Context, zones map[uint16]uint32) error {
	err := l.each(func(_ string, c *datapath.Control) error { return c.SetLimits(ctx, zones) })
	if len(zones) == 0 {
		return nil
	}
	return err
}

// relieve makes room for new connections where ended ones still count.
func (l *limiter) relieve(ctx context.Context, forget func(context.Context, string, [][]byte) error) error {
	return l.each(func(run string, c *datapath.Control) error {
		_, err := c.Relieve(ctx, func(ctx context.Context, ended []datapath.Connection) error {
			var bodies [][]byte
			for _, e := range ended {
				bodies = append(bodies, e.FlushBody())
			}
			return forget(ctx, run, bodies)
		})
		return err
	})
}

// each calls f for each datapath that carries bridges, for those of several Open
// vSwitches at once: one that does not answer keeps none of the others waiting.
func (l *limiter) each(f func(run string, c *datapath.Control) error) error {
	l.mu.Lock()
	runs, types := l.runs, l.types
	l.mu.Unlock()
	if len(types) == 0 {
		return errors.New("the type of the datapath is not known yet")
	}
	if len(runs) == 0 {
		return errors.New("the switches are on other machines, or run_dir of the datapaths is missing")
	}
	errs := make([]error, len(runs))
	var all sync.WaitGroup
	for i, run := range runs {
		all.Go(func() {
			path := run
			if _, err := os.Stat(filepath.Join(run, "ovs-vswitchd.pid")); err != nil {
				path = filepath.Join(run, "ovs-vswitchd.ctl") // as a lab calls it
			}
			for _, kind := range types {
				name := datapath.Kernel
				if kind == "netdev" {
					name = datapath.Userspace
				}
				control, err := datapath.New(path, name)
				if err == nil {
					err = f(run, control)
				}
				errs[i] = errors.Join(errs[i], err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// page is what Prometheus scrapes. It is made after the controller that it
// tells of.
type page struct {
	traffic  *metrics.Accumulator
	exporter *metrics.Exporter
}

func newPage() *page { return &page{traffic: metrics.New(time.Now)} }

// of completes the page, before the controller runs.
func (p *page) of(c *controller.Controller, log *slog.Logger) (http.Handler, error) {
	e, err := metrics.NewExporter(metrics.Config{Traffic: p.traffic, Loop: c, Refresh: c.Refresh, Logger: log})
	if err != nil {
		return nil, err
	}
	p.exporter = e
	return e.Handler(), nil
}

func (p *page) converged(datapath string, took time.Duration) { p.exporter.Converged(datapath, took) }

// registryProbe asks now and then whether Consul answers and has a leader.
type registryProbe struct{ up atomic.Bool }

const (
	probeEvery = 2 * time.Second
	probeAgain = 100 * time.Millisecond // while it does not: a lab that has just come up must not look as if it had none
)

// watch asks until ctx ends.
func (p *registryProbe) watch(ctx context.Context, client *api.Client) {
	defer p.up.Store(false)
	for ctx.Err() == nil {
		one, cancel := context.WithTimeout(ctx, probeEvery)
		leader, err := client.Status().LeaderWithQueryOptions((&api.QueryOptions{}).WithContext(one))
		cancel()
		next := probeEvery
		if err != nil || leader == "" {
			next = probeAgain
		}
		p.up.Store(next == probeEvery)
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
			t.Stop()
		case <-t.C:
		}
	}
}
