package controller

import (
	"context"
	"sync"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
)

// target is the snapshot that all switches should follow.
type target struct {
	mu      sync.Mutex
	current goal
	changed chan struct{} // closed when current is replaced
}

// goal is one state of a target.
type goal struct {
	serial uint64 // 0: nothing is known of the mesh yet
	snap   mesh.Snapshot
	since  time.Time
}

func newTarget() *target { return &target{changed: make(chan struct{})} }

// load gives the current goal, and a channel that is closed once there is a
// later one.
func (t *target) load() (goal, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current, t.changed
}

func (t *target) store(snap mesh.Snapshot, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current = goal{serial: t.current.serial + 1, snap: snap, since: now}
	close(t.changed)
	t.changed = make(chan struct{})
}

// watch feeds the target from the registry until ctx ends or the registry
// gives up.
func watch(ctx context.Context, cfg Config, t *target) error {
	if cfg.Watch == nil {
		t.store(mesh.Snapshot{}, cfg.Now())
		<-ctx.Done()
		return ctx.Err()
	}
	snaps, ended := make(chan mesh.Snapshot), make(chan error, 1)
	go func() {
		ended <- cfg.Watch(ctx, func(s mesh.Snapshot) {
			select {
			case snaps <- s:
			case <-ctx.Done():
			}
		})
	}()
	d := drainer{keep: cfg.Drain}
	alarm := time.NewTimer(0)
	alarm.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case s := <-snaps:
			d.take(s, cfg.Now())
		case <-alarm.C:
		}
		now := cfg.Now()
		snap, next := d.snapshot(now)
		t.store(snap, now)
		alarm.Stop()
		if !next.IsZero() {
			alarm.Reset(next.Sub(now))
		}
	}
}
