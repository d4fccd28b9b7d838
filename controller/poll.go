package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	"meshlab.dev/meshlab/controller/metrics"
	"meshlab.dev/meshlab/controller/pipeline"
)

// pollEvery is how often counters are read, and pollShare the part of the
// time that reading may take.
const (
	pollEvery = 2 * time.Second
	pollShare = 20
)

// poll reads the counters of a switch until ctx ends.
func (w *worker) poll(ctx context.Context, sw Switch) {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if !w.compiling.TryLock() { // a change is on its way, which may be large
			timer.Reset(pollEvery / 10)
			continue
		}
		w.compiling.Unlock()
		start := time.Now()
		if err := w.sample(ctx, sw); err != nil && ctx.Err() == nil {
			w.log.Debug("counters not read", "error", err)
		}
		timer.Reset(max(pollEvery, pollShare*time.Since(start)))
	}
}

// freshEnough is the age up to which counters are not read again for somebody
// who asks.
const freshEnough = time.Second

// Refresh reads the counters of the switches, unless they are fresh. It
// returns when all have answered or ctx ends.
func (c *Controller) Refresh(ctx context.Context) {
	if c.cfg.Metrics == nil {
		return
	}
	var all sync.WaitGroup
	for _, w := range c.each() {
		sw, _ := w.look()
		if sw == nil || time.Since(time.Unix(0, w.sampled.Load())) < freshEnough {
			continue
		}
		all.Go(func() {
			if err := w.sample(ctx, sw); err != nil && ctx.Err() == nil {
				w.log.Debug("counters not read", "error", err)
			}
		})
	}
	all.Wait()
}

// sample reads the tables that count.
func (w *worker) sample(ctx context.Context, sw Switch) error {
	w.sampled.Store(time.Now().UnixNano())
	poll := w.c.cfg.Metrics.Begin(w.name)
	var stats []metrics.Stat
	for _, table := range pipeline.CountingTables() {
		flows, err := sw.TableFlows(ctx, table)
		if err != nil {
			return fmt.Errorf("read counters of table %d: %w", table, err)
		}
		for _, f := range flows {
			stats = append(stats, metrics.Stat{Cookie: f.Cookie, Packets: f.Packets, Bytes: f.Bytes})
		}
	}
	poll.End(stats)
	return nil
}
