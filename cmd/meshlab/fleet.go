package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/doctor"
	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/scenarios"
)

// side is one of those that are compared: a lab, and the mesh in it.
type side struct {
	label   string // unique in the run, for people
	lab     loadedLab
	mesh    orchestrate.Mesh
	program string         // path of another build that the lab runs from; "": this one
	build   string         // what that build calls itself
	script  loadedScenario // its own; none: that of the run
}

// meshSides are the sides of a comparison of meshes in one lab.
func meshSides(lab loadedLab, meshes []string) []side {
	var sides []side
	for _, m := range meshes {
		sides = append(sides, side{label: m, lab: lab, mesh: orchestrate.Mesh(m)})
	}
	return sides
}

// fleet is the labs of a measurement. They are held: when this program ends,
// however it does, so do they.
type fleet struct {
	p       *progress
	bin     consul.Binary
	runtime string                 // of the flag; "": what each lab needs
	env     *scenarios.Environment // gets what the labs find out about the machine

	starts int

	mu   sync.Mutex // of what follows
	told []string   // steps that a line has told of
	up   []raised
}

// raised is a side whose lab is up.
type raised struct {
	side
	name    string // of the lab on this machine
	exec    string // socket that hands out sockets of its hosts
	ctl     *supervisor.Client
	seconds *float64 // that it has been under load
}

// raise brings up a lab for each side, all at the same time, and returns them
// in that order. What came up before an error stays until remove.
func (f *fleet) raise(ctx context.Context, sides ...side) ([]raised, error) {
	all := make([]raised, len(sides))
	var g errgroup.Group // without a context of its own: labs end with the one they were launched with
	for i, s := range sides {
		f.starts++
		name := fmt.Sprintf("bench-%d-%d-%s-%s", os.Getpid(), f.starts, s.lab.Name, s.mesh)
		if len(name) > 40 {
			name = fmt.Sprintf("bench-%d-%d-%s", os.Getpid(), f.starts, s.mesh)
		}
		g.Go(func() (err error) {
			all[i], err = f.launch(ctx, s, name)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return all, nil
}

// launch brings up one lab. Only the first of each side is told in a line of
// its own.
func (f *fleet) launch(ctx context.Context, s side, name string) (raised, error) {
	begin := time.Now()
	step := "lab for " + s.label
	f.mu.Lock()
	first := !slices.Contains(f.told, step)
	f.told = append(f.told, step)
	f.mu.Unlock()
	if first {
		f.p.start(step)
	}
	runtime, err := runtimeOf(s.lab.Lab, f.runtime)
	if err != nil {
		return raised{}, err
	}
	launch := s.lab.launch(name, s.mesh, f.bin)
	launch.Runtime = runtime
	launch.Hold, launch.Program = true, s.program
	st, err := supervisor.Launch(ctx, launch, func(e supervisor.Event) {
		if !e.Done {
			f.p.report(e.Step)
		}
	})
	if err != nil {
		return raised{}, failedUp(ctx, name, err)
	}
	state := orchestrate.StateOf(name)
	r := raised{side: s, name: name, exec: state.Exec(), seconds: new(float64), ctl: supervisor.NewClient(state.Control())}
	if first {
		f.p.finish(step, s.lab.Name+" is ready", time.Since(begin))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up = append(f.up, r)
	recordEnvironment(f.env, st.Environment)
	f.env.Postgres = doctor.PostgresVersion(ctx)
	return r, nil
}

// remove takes the given labs down, or all when none is given, also when ctx
// is done. Its error matches supervisor.ErrLeft.
func (f *fleet) remove(ctx context.Context, which ...raised) error {
	var errs []error
	f.up = slices.DeleteFunc(f.up, func(r raised) bool {
		if len(which) > 0 && !slices.ContainsFunc(which, func(w raised) bool { return w.name == r.name }) {
			return false
		}
		if _, err := supervisor.Remove(context.WithoutCancel(ctx), r.name); err != nil {
			errs = append(errs, fmt.Errorf("lab %s: %w: %w", r.name, supervisor.ErrLeft, err))
		}
		return true
	})
	return errors.Join(errs...)
}

// Spec and Load make a lab that is up a target of closed loops.

func (r raised) Spec(request string) (scenarios.RequestSpec, error) {
	return supervisor.Spec(r.lab.Lab, r.mesh, request)
}

func (r raised) Load(ctx context.Context, spec scenarios.LoadSpec) (scenarios.Attempt, error) {
	a, err := r.ctl.Load(ctx, spec)
	*r.seconds += a.Seconds
	return a, err
}
