package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

const (
	firstRetry   = 50 * time.Millisecond
	longestRetry = 2 * time.Second
	applyTimeout = 30 * time.Second
	// connectLimit is how long a switch may take to greet; one that accepts
	// the connection and then says nothing is dialled again.
	connectLimit = 10 * time.Second
)

// errEnded is the end of a connection by the other side.
var errEnded = errors.New("the switch closed the connection")

// worker keeps one switch.
type worker struct {
	c       *Controller
	name    string
	dp      Datapath // how to reach it; where it is in the network, where says
	log     *slog.Logger
	sampled atomic.Int64 // when counters were last read, in nanoseconds since 1970

	placing sync.Mutex // guards where and moved
	where   position
	moved   chan struct{} // closed when where is replaced

	compiling sync.Mutex // guards what follows
	compiler  *pipeline.Compiler
	placed    position // that the compiler is for

	mu    sync.Mutex // guards what follows
	sw    Switch     // nil: not connected
	state state
}

// position is where a switch is in the network.
type position struct {
	fabric  pipeline.Fabric
	dp      pipeline.Datapath
	partial bool
	serial  uint64
	since   time.Time // when what the network is made of was known
}

// state is what a worker tells of its switch.
type state struct {
	err      error // why the last connection or change failed; nil once in sync
	flows    int   // that it should hold
	groups   int
	meters   int
	warnings []string
	zones    map[uint16]uint32 // limits of connections
	serial   uint64            // of the goal that was last applied
	place    uint64            // and of the place
	applied  time.Time         // when it was confirmed; zero: never on this connection
	took     time.Duration     // from the snapshot or the network to the confirmation; 0: they are older than the connection
}

func newWorker(c *Controller, n Network, dp Datapath) *worker {
	return &worker{
		c: c, name: dp.Name, dp: dp, log: c.cfg.Logger.With("datapath", dp.Name),
		where: position{fabric: n.Fabric, dp: dp.Datapath, partial: n.Partial, serial: 1, since: n.Since}, moved: make(chan struct{}),
	}
}

// sameWay tells whether the switch is reached as before.
func (w *worker) sameWay(dp Datapath) bool {
	return w.dp.Address == dp.Address && w.dp.TLS == dp.TLS && w.dp.RunDir == dp.RunDir
}

// place tells the worker that its switch is elsewhere in the network.
func (w *worker) place(n Network, dp pipeline.Datapath) {
	w.placing.Lock()
	defer w.placing.Unlock()
	w.where = position{fabric: n.Fabric, dp: dp, partial: n.Partial, serial: w.where.serial + 1, since: n.Since}
	close(w.moved)
	w.moved = make(chan struct{})
}

func (w *worker) placement() (position, <-chan struct{}) {
	w.placing.Lock()
	defer w.placing.Unlock()
	return w.where, w.moved
}

// run connects, and connects again, until ctx ends.
func (w *worker) run(ctx context.Context) {
	w.prepare(ctx)
	retry := firstRetry
	for ctx.Err() == nil {
		synced, err := w.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if synced {
			retry = firstRetry
		}
		w.log.Warn("lost the switch", "error", err, "again_in_at_most", retry)
		pause := time.NewTimer(retry/2 + rand.N(retry/2))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		retry = min(2*retry, longestRetry)
	}
}

// prepare keeps the program ready until the controller becomes active.
func (w *worker) prepare(ctx context.Context) {
	for !w.c.active() {
		goal, changed := w.c.target.load()
		where, moved := w.placement()
		if _, _, err := w.compile(goal, where); err != nil {
			w.log.Error("compile", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.c.cfg.Active:
		case <-changed:
		case <-moved:
		}
	}
}

// compile brings the program in step with a goal. fresh tells that the
// program was made anew, so that the delta says nothing.
func (w *worker) compile(g goal, where position) (d pipeline.Delta, fresh bool, err error) {
	w.compiling.Lock()
	defer w.compiling.Unlock()
	if w.compiler == nil || w.placed.serial != where.serial {
		moved := false
		if w.compiler != nil {
			if moved, err = w.compiler.Move(where.fabric, where.dp); err != nil {
				return pipeline.Delta{}, false, err
			}
		}
		if !moved {
			compiler, err := pipeline.NewCompiler(where.fabric, where.dp)
			if err != nil {
				return pipeline.Delta{}, false, err
			}
			w.compiler, fresh = compiler, true
		}
		w.placed = where
	}
	return w.compiler.Update(g.snap), fresh, nil
}

// session is one connection, from dial to its end. synced tells whether the
// switch took on at least one program.
func (w *worker) session(ctx context.Context) (synced bool, err error) {
	defer func() {
		w.mu.Lock()
		w.sw, w.state.applied, w.state.err = nil, time.Time{}, err
		w.mu.Unlock()
	}()
	dial, stop := context.WithTimeout(ctx, connectLimit)
	sw, err := w.c.cfg.Connect(dial, w.dp)
	stop()
	if err != nil {
		return false, fmt.Errorf("connect to %s: %w", w.dp.Address, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel()
	defer func() { err = errors.Join(err, sw.Close()) }()
	have, err := read(ctx, sw)
	if err != nil {
		return false, err
	}
	w.log.Info("connected", "flows", len(have.flows), "groups", len(have.groups))
	connected := w.c.cfg.Now()
	if m := w.c.cfg.Metrics; m != nil {
		if len(have.flows) == 0 {
			m.Reset(w.name)
		} else {
			m.Resume(w.name)
		}
		helpers.Go(func() { w.poll(ctx, sw) })
	}
	if es, ok := sw.(EventSwitch); ok {
		helpers.Go(func() { w.packets(ctx, es) })
		helpers.Go(func() { w.removals(ctx, es) })
	}
	w.mu.Lock()
	w.sw = sw
	w.mu.Unlock()
	whole := true // the switch may hold what the compiler does not know
	for {
		goal, changed := w.c.target.load()
		where, moved := w.placement()
		keep := goal.serial == 0 || where.partial
		if whole, err = w.apply(ctx, sw, &have, goal, where, whole, keep, connected); err != nil {
			w.c.loop.failed(w.name)
			return synced, err
		}
		synced = true
		select {
		case <-ctx.Done():
			return synced, ctx.Err()
		case <-sw.Done():
			return synced, errEnded
		case <-changed:
		case <-moved:
		}
	}
}

func read(ctx context.Context, sw Holdings) (held, error) {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	flows, err := sw.Flows(ctx)
	if err != nil {
		return held{}, fmt.Errorf("read flows: %w", err)
	}
	groups, err := sw.Groups(ctx)
	if err != nil {
		return held{}, fmt.Errorf("read groups: %w", err)
	}
	meters, err := sw.Meters(ctx)
	if err != nil {
		return held{}, fmt.Errorf("read meters: %w", err)
	}
	return heldBy(flows, groups, meters), nil
}

// apply brings the switch to the goal. whole says that the switch may hold
// more or less than the program before, which is what have tells then; the
// result says the same of the next time.
func (w *worker) apply(ctx context.Context, sw Switch, have *held, g goal, where position, whole, keep bool, connected time.Time) (bool, error) {
	delta, fresh, err := w.compile(g, where)
	if err != nil {
		return whole, err
	}
	w.compiling.Lock()
	if (fresh || keep) && !whole { // what is there is more than what the compiler knows, or is to stay
		flows, err := read(ctx, sw)
		if err != nil {
			w.compiling.Unlock()
			return whole, err
		}
		*have, whole = flows, true
	}
	ch, added, counters := changeOf(delta), delta.Flows, delta.Counters
	switch {
	case whole && have.empty():
		ch = everything(*have, w.compiler, keep)
		ch.AddFlows = then(ch.AddFlows, func() { w.learn(w.compiler.Counters()) })
		added, counters = -1, nil
	case whole:
		ch, added = difference(*have, w.compiler, keep)
		counters = w.compiler.Counters()
	case delta.Large:
		ch.AddFlows = then(ch.AddFlows, func() { w.learn(w.compiler.Counters()) })
	}
	w.learn(counters)
	if !ch.Empty() {
		ctx, cancel := context.WithTimeout(ctx, applyTimeout)
		err = sw.Apply(ctx, ch)
		cancel()
	}
	next := state{serial: g.serial, place: where.serial, meters: len(w.compiler.Meters()), warnings: w.compiler.Warnings(), zones: w.compiler.Zones()}
	next.flows, next.groups = w.compiler.Size()
	if added < 0 {
		added = next.flows
	}
	if whole && keep {
		have.take(w.compiler)
		// A switch that had nothing has nothing unknown: what comes next is
		// the difference to the program.
		whole = !have.known(w.compiler)
	}
	w.compiling.Unlock()
	if err != nil {
		return whole, fmt.Errorf("apply change: %w", err)
	}
	next.applied = w.c.cfg.Now()
	w.mu.Lock()
	known := w.state.warnings
	since := time.Time{} // of the older of what is new
	if w.state.serial != g.serial {
		since = g.since
	}
	if w.state.place != where.serial && !where.since.IsZero() && (since.IsZero() || where.since.Before(since)) {
		since = where.since
	}
	if since.After(connected) {
		next.took = next.applied.Sub(since)
		w.c.converged(w.name, next.took)
	}
	w.state = next
	w.mu.Unlock()
	select {
	case w.c.limits <- struct{}{}:
	default:
	}
	w.report(ch, added, known, next)
	return whole && keep, nil
}

// learn tells what flows count that the switch is about to get.
func (w *worker) learn(counters map[uint64]pipeline.Counter) {
	if w.c.cfg.Metrics != nil && len(counters) > 0 {
		w.c.cfg.Metrics.Learn(w.name, counters)
	}
}

func (w *worker) report(ch Change, added int, known []string, s state) {
	w.log.Info("in sync", "flows_added", added, "flows_deleted", len(ch.DeleteCookies), "took", s.took)
	old := map[string]bool{}
	for _, warning := range known {
		old[warning] = true
	}
	for _, warning := range s.warnings {
		if !old[warning] {
			w.log.Warn("not honoured", "reason", warning)
		}
	}
}

// look gives the connection, nil when there is none, and the state.
func (w *worker) look() (Switch, state) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sw, w.state
}

// zones are the limits of connections by the program that the switch has
// confirmed last, once that is of a snapshot. They are not to be changed.
func (w *worker) zones() (map[uint16]uint32, bool) {
	_, s := w.look()
	return s.zones, s.serial > 0
}

// with calls f with the program; false when there is none yet.
func (w *worker) with(f func(*pipeline.Compiler)) bool {
	w.compiling.Lock()
	defer w.compiling.Unlock()
	if w.compiler == nil {
		return false
	}
	f(w.compiler)
	return true
}

// snapshot is the mesh that questions are answered from.
func (w *worker) snapshot() (mesh.Snapshot, bool) {
	g, _ := w.c.target.load()
	return g.snap, g.serial > 0
}
