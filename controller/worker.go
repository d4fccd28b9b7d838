package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/pipeline"
)

const (
	firstRetry   = 50 * time.Millisecond
	longestRetry = 2 * time.Second
	applyTimeout = 30 * time.Second
)

// errEnded is the end of a connection by the other side.
var errEnded = errors.New("the switch closed the connection")

// worker keeps one switch.
type worker struct {
	cfg    Config
	dp     Datapath
	target *target
	log    *slog.Logger

	connected time.Time // of the present connection; used by session alone

	mu    sync.Mutex // guards what follows
	sw    Switch     // nil: not connected
	state state
}

// state is what a worker tells of its switch.
type state struct {
	err     error            // why the last connection or change failed; nil once in sync
	program pipeline.Program // last applied
	serial  uint64           // of the goal that program was made of
	applied time.Time        // when it was confirmed; zero: never on this connection
	took    time.Duration    // from the snapshot to the confirmation; 0: the snapshot is older than the connection
}

func newWorker(cfg Config, dp Datapath, t *target) *worker {
	return &worker{cfg: cfg, dp: dp, target: t, log: cfg.Logger.With("datapath", dp.Name)}
}

// run connects, and connects again, until ctx ends.
func (w *worker) run(ctx context.Context) error {
	retry := firstRetry
	for {
		synced, err := w.session(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if synced {
			retry = firstRetry
		}
		w.log.Warn("lost the switch", "error", err, "again_in_at_most", retry)
		pause := time.NewTimer(retry/2 + rand.N(retry/2))
		select {
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case <-pause.C:
		}
		retry = min(2*retry, longestRetry)
	}
}

// connectLimit is how long a switch may take to greet; one that accepts the
// connection and then says nothing is dialled again.
const connectLimit = 10 * time.Second

// session is one connection, from dial to its end. synced tells whether the
// switch took on at least one program.
func (w *worker) session(ctx context.Context) (synced bool, err error) {
	defer func() {
		w.mu.Lock()
		w.sw, w.state.applied, w.state.err = nil, time.Time{}, err
		w.mu.Unlock()
	}()
	dial, stop := context.WithTimeout(ctx, connectLimit)
	sw, err := w.cfg.Connect(dial, w.dp.Address)
	stop()
	if err != nil {
		return false, fmt.Errorf("connect to %s: %w", w.dp.Address, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var packets sync.WaitGroup
	defer packets.Wait()
	defer cancel()
	defer func() { err = errors.Join(err, sw.Close()) }()
	if ps, ok := sw.(PacketSwitch); ok {
		packets.Go(func() { w.refuse(ctx, ps) })
	}
	have, err := read(ctx, sw)
	if err != nil {
		return false, err
	}
	w.log.Info("connected", "flows", len(have.flows), "groups", len(have.groups))
	w.connected = w.cfg.Now()
	w.mu.Lock()
	w.sw = sw
	w.mu.Unlock()
	for {
		goal, changed := w.target.load()
		if err := w.apply(ctx, sw, &have, goal); err != nil {
			return synced, err
		}
		synced = true
		select {
		case <-ctx.Done():
			return synced, ctx.Err()
		case <-sw.Done():
			return synced, errEnded
		case <-changed:
		}
	}
}

func read(ctx context.Context, sw Switch) (held, error) {
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
	return heldBy(flows, groups), nil
}

// apply brings the switch from have to the goal, and notes it in have.
func (w *worker) apply(ctx context.Context, sw Switch, have *held, g goal) error {
	want, err := pipeline.Compile(w.cfg.Fabric, w.dp.Datapath, g.snap)
	if err != nil {
		return err
	}
	ch := diff(*have, want)
	if g.serial == 0 {
		ch = additions(*have, want)
	}
	if !ch.Empty() {
		ctx, cancel := context.WithTimeout(ctx, applyTimeout)
		defer cancel()
		if err := sw.Apply(ctx, ch); err != nil {
			return fmt.Errorf("apply change: %w", err)
		}
	}
	after := heldAfter(want)
	if g.serial == 0 { // what was there is still there
		for cookie := range have.flows {
			after.flows[cookie] = true
		}
		for id, hash := range have.groups {
			if _, ok := after.groups[id]; !ok {
				after.groups[id] = hash
			}
		}
	}
	*have = after
	now := w.cfg.Now()
	took := time.Duration(0)
	if g.since.After(w.connected) {
		took = now.Sub(g.since)
	}
	w.mu.Lock()
	known := w.state.program.Warnings
	w.state = state{program: want, serial: g.serial, applied: now, took: took}
	w.mu.Unlock()
	w.report(ch, known, want.Warnings, took)
	return nil
}

func (w *worker) report(ch Change, known, warnings []string, took time.Duration) {
	w.log.Info("in sync", "flows_added", len(ch.AddFlows), "flows_deleted", len(ch.DeleteCookies),
		"groups_changed", len(ch.AddGroups)+len(ch.ModifyGroups)+len(ch.DeleteGroups), "took", took)
	old := map[string]bool{}
	for _, warning := range known {
		old[warning] = true
	}
	for _, warning := range warnings {
		if !old[warning] {
			w.log.Warn("the mesh contradicts itself", "reason", warning)
		}
	}
}

// refuse answers packets that flows have handed over with a reset.
func (w *worker) refuse(ctx context.Context, sw PacketSwitch) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-sw.Done():
			return
		case in, ok := <-sw.PacketIns():
			if !ok {
				return
			}
			if w.cfg.Refuse == nil {
				continue
			}
			answer, err := w.cfg.Refuse(in.Data)
			if err == nil {
				err = sw.PacketOut(ctx, flow.PortController, answer, []flow.Action{flow.Output{Port: in.InPort}})
			}
			if err != nil {
				w.log.Debug("packet not answered", "in_port", in.InPort, "error", err)
			}
		}
	}
}

// look gives the connection, nil when there is none, and the state.
func (w *worker) look() (Switch, state) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sw, w.state
}
