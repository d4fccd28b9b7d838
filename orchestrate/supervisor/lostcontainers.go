package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/docker"
)

// removeUnrecorded removes the containers of a lab whose record is broken or
// gone, or never was, by their labels: from the engine that this user has now.
// Where no engine that labs can use answers there are none. Only root has labs
// with containers.
func removeUnrecorded(ctx context.Context, state orchestrate.State) error {
	if os.Geteuid() != 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
	defer cancel()
	engine, err := docker.Open(ctx, docker.Config{})
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	defer engine.Close()
	if err := engine.Remove(ctx, state.Dir); err != nil {
		return fmt.Errorf("remove the containers of %s: %w", state.Dir, err)
	}
	return nil
}

// LostContainers lists the labs of which the engine that this user has now
// holds containers, none of them running, and whose state folder is gone. There
// are none where no engine answers.
func LostContainers(ctx context.Context) ([]docker.Leftover, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	engine, err := docker.Open(ctx, docker.Config{})
	if err != nil {
		return nil, nil //nolint:nilerr // a machine without an engine has no containers
	}
	defer engine.Close()
	all, err := engine.Leftovers(ctx)
	if err != nil {
		return nil, err
	}
	var lost []docker.Leftover
	for _, l := range all {
		if _, err := os.Stat(l.State); errors.Is(err, fs.ErrNotExist) && !l.Running {
			lost = append(lost, l)
		}
	}
	return lost, nil
}

// RemoveLost removes the containers of a lab whose state folder is gone. It
// holds the claim on the folder meanwhile, so that no `up` of that name makes
// containers beside it; the bool is false when one was faster.
func RemoveLost(ctx context.Context, l docker.Leftover) (bool, error) {
	state := orchestrate.State{Dir: l.State}
	claim, err := state.Claim(func(orchestrate.Record) error { return nil })
	if errors.Is(err, orchestrate.ErrUp) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lab %s: %w", l.Lab, err)
	}
	if err := removeUnrecorded(ctx, state); err != nil {
		return false, errors.Join(err, claim.Remove())
	}
	return true, claim.Remove()
}
