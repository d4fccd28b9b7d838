package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"meshlab.dev/meshlab/orchestrate/fault"
	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/scenarios"
)

// BeginFault breaks something of the lab; see scenarios.Fault. It returns when
// that is done. With Fault.For it ends by itself.
func (c *Client) BeginFault(ctx context.Context, f scenarios.Fault) (fault.Entry, error) {
	var e fault.Entry
	body, err := json.Marshal(f)
	if err != nil {
		return e, fmt.Errorf("encode fault: %w", err)
	}
	err = c.json(ctx, http.MethodPost, "/faults", body, &e)
	return e, err
}

// EndFault ends a fault, and tells when it began and ended. One that has ended
// already stays as it is.
func (c *Client) EndFault(ctx context.Context, id int) (fault.Entry, error) {
	var e fault.Entry
	err := c.json(ctx, http.MethodPost, fmt.Sprintf("/faults/%d/undo", id), nil, &e)
	return e, err
}

// EndFaults ends all faults that are on, and returns them.
func (c *Client) EndFaults(ctx context.Context) ([]fault.Entry, error) {
	var all []fault.Entry
	err := c.json(ctx, http.MethodPost, "/faults/undo", nil, &all)
	return all, err
}

// Faults lists the faults that are on, and the last that have ended.
func (c *Client) Faults(ctx context.Context) ([]fault.Entry, error) {
	var all []fault.Entry
	err := c.json(ctx, http.MethodGet, "/faults", nil, &all)
	return all, err
}

func (s *Supervisor) handleFaults(mux *http.ServeMux) {
	s.faults = fault.NewBook(breaker{s})
	mux.HandleFunc("POST /faults", s.serveFault)
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, s.faults.List(), nil)
	})
	mux.HandleFunc("POST /faults/undo", func(w http.ResponseWriter, r *http.Request) {
		ended, err := s.faults.EndAll(context.WithoutCancel(r.Context()))
		answer(w, append([]fault.Entry{}, ended...), err) // [] for none, not null
	})
	mux.HandleFunc("POST /faults/{id}/undo", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil {
			fail(w, http.StatusBadRequest, fmt.Errorf("fault %q: want its number", r.PathValue("id")))
			return
		}
		// Whoever asks may go: what is half mended would be of no use to anybody.
		e, err := s.faults.End(context.WithoutCancel(r.Context()), id)
		answer(w, e, err)
	})
}

func answer(w http.ResponseWriter, value any, err error) {
	if err != nil {
		fail(w, http.StatusConflict, err)
		return
	}
	_ = json.NewEncoder(w).Encode(value)
}

func (s *Supervisor) serveFault(w http.ResponseWriter, r *http.Request) {
	var f scenarios.Fault
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&f); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("read the fault: %w", err))
		return
	}
	s.mu.Lock()
	lab, procs, ready := s.lab, s.procs, s.status.Ready
	s.mu.Unlock()
	if !ready {
		fail(w, http.StatusServiceUnavailable, errors.New("the lab is not up yet"))
		return
	}
	var have []fault.Process
	for _, p := range procs.List() {
		have = append(have, fault.Process{Name: p.Name, Node: p.Node})
	}
	strike, err := fault.Plan(lab, have, f)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	e, err := s.faults.Begin(context.WithoutCancel(r.Context()), strike)
	if err == nil {
		s.log.Info("a fault begins", "id", e.ID, "fault", f.String(), "for", f.For)
	}
	answer(w, e, err)
}

// breaker is the lab as something to break.
type breaker struct{ *Supervisor }

// Limits of what faults do: they are generous, for a busy machine.
const (
	breakLimit = 20 * time.Second
	mendLimit  = 30 * time.Second
)

// Begin implements fault.Actor. Links go first and come back first: a machine
// that loses its power says nothing more, and has its network before its
// programs when it starts.
func (b breaker) Begin(ctx context.Context, s fault.Strike) (func(context.Context) error, error) {
	var undos []func(context.Context) error
	undo := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, mendLimit)
		defer cancel()
		var errs []error
		for _, u := range undos {
			errs = append(errs, u(ctx))
		}
		return errors.Join(errs...)
	}
	ctx, cancel := context.WithTimeout(ctx, breakLimit)
	defer cancel()
	steps := []func(context.Context, fault.Strike) (func(context.Context) error, error){b.links, b.processes}
	for _, step := range steps {
		u, err := step(ctx, s)
		if u != nil {
			undos = append(undos, u)
		}
		if err != nil {
			return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
		}
	}
	return undo, nil
}

// processes kills or pauses what a fault strikes.
func (b breaker) processes(ctx context.Context, s fault.Strike) (undo func(context.Context) error, err error) {
	if len(s.Processes) == 0 {
		return nil, nil //nolint:nilnil // there is nothing to undo
	}
	procs, err := b.running()
	if err != nil {
		return nil, err
	}
	act, back, down := procs.Hold, procs.Release, []process.State{process.Held, process.Waiting, process.Exited}
	if s.Fault.Kind == scenarios.Pause {
		act, back, down = procs.Pause, procs.Resume, []process.State{process.Paused}
	}
	var done []string
	undo = func(ctx context.Context) error {
		var errs []error
		for _, name := range done {
			errs = append(errs, back(name))
		}
		return errors.Join(append(errs, waitState(ctx, procs, done, process.Running, process.Exited))...)
	}
	for _, name := range s.Processes {
		if err := act(name); err != nil {
			return undo, err
		}
		done = append(done, name)
	}
	return undo, waitState(ctx, procs, s.Processes, down...)
}

// waitState waits until each of the named processes is in one of the states.
func waitState(ctx context.Context, procs *process.Manager, names []string, states ...process.State) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		var waiting string
		for _, p := range procs.List() {
			if slices.Contains(names, p.Name) && !slices.Contains(states, p.State) {
				waiting = fmt.Sprintf("%s is %s (%s)", p.Name, p.State, p.Exit)
			}
		}
		if waiting == "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", waiting, context.Cause(ctx))
		}
	}
}
