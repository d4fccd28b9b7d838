package controller

import (
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
