package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

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
	return removeOf(ctx, engine, state)
}

func removeOf(ctx context.Context, engine *docker.Engine, state orchestrate.State) error {
	if err := engine.Remove(ctx, state.Dir); err != nil {
		return fmt.Errorf("remove the containers of %s: %w", state.Dir, err)
	}
	return nil
}

// RemoveOrphan ends a lab whose state folder has been deleted, and removes its
// containers, also when ctx is done. No record names their engine any more, but
// a lab with containers has its socket: that is taken hold of before the lab's
// mounts end with it.
func RemoveOrphan(ctx context.Context, e orchestrate.Entry) error {
	state := orchestrate.State{Dir: e.Dir}
	socket := -1
	if os.Geteuid() == 0 { // who is not has no containers, and may not look
		fd, err := unix.Open(filepath.Join("/proc", strconv.Itoa(e.PID), "root", engineInside), unix.O_PATH|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			socket = fd
		}
	}
	if err := e.Kill(killWait); err != nil {
		return err
	}
	if socket < 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
	defer cancel()
	engine, err := docker.Open(ctx, docker.Config{Socket: fmt.Sprintf("/proc/self/fd/%d", socket)}) // open(2), O_PATH
	if errors.Is(err, docker.ErrRefused) {
		// The engine has been started again since, and has another socket.
		engine, err = docker.Open(ctx, docker.Config{})
	}
	if err != nil {
		return fmt.Errorf("remove the containers of %s: %w; then `meshlab down %s` again", e.Dir, err, e.Name)
	}
	defer engine.Close()
	return removeOf(ctx, engine, state)
}

// removeIfLost removes the containers of a lab that has no state folder. The
// bool says whether there were any.
func removeIfLost(ctx context.Context, state orchestrate.State) (bool, error) {
	all, err := LostContainers(ctx)
	if err != nil {
		return false, err
	}
	for _, l := range all {
		if l.State == state.Dir {
			return RemoveLost(ctx, l)
		}
	}
	return false, nil
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
