package docker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sync/errgroup"
)

// Leftover is what there is of one lab.
type Leftover struct {
	Lab        string // name of the lab
	State      string // its state folder
	Version    string // of meshlab that made it
	Containers []string
	Running    bool // one of them at least: the lab lives, perhaps where its state folder cannot be seen
}

// Leftovers lists the containers of all labs, running or not, by lab. Whether
// a lab is still alive its state folder tells.
func (e *Engine) Leftovers(ctx context.Context) ([]Leftover, error) {
	all, err := e.containers(ctx, filters.Arg("label", labelState))
	if err != nil {
		return nil, err
	}
	var labs []Leftover
	for _, c := range all {
		l := Leftover{Lab: c.Labels[labelLab], State: c.Labels[labelState], Version: c.Labels[labelVersion]}
		i := slices.IndexFunc(labs, func(o Leftover) bool { return o.Lab == l.Lab && o.State == l.State })
		if i < 0 {
			labs, i = append(labs, l), len(labs)
		}
		labs[i].Containers = append(labs[i].Containers, nameOf(c))
		labs[i].Running = labs[i].Running || c.State == container.StateRunning
	}
	for _, l := range labs {
		slices.Sort(l.Containers)
	}
	slices.SortFunc(labs, func(a, b Leftover) int { return strings.Compare(a.State, b.State) })
	return labs, nil
}

// Remove removes all containers of the lab with that state folder, whatever
// they do, with what they have stored in volumes of their own, and images of
// ours without a name. It returns when they are gone, those too that the
// engine was making when the lab was killed, and when no process is left of
// them that this program can see, the engine's own for them among these. The
// lab must have ended, or start nothing any more. It is no error when there is
// nothing.
func (e *Engine) Remove(ctx context.Context, state string) error {
	coming, forget, err := intents(state)
	if err != nil {
		return err
	}
	ids, err := made(state)
	if err != nil {
		return err
	}
	limit := time.Now().Add(intentLimit)
	for {
		all, err := e.containers(ctx, filters.Arg("label", labelState+"="+filepath.Clean(state)))
		if err != nil {
			return err
		}
		if len(all) == 0 && (len(coming) == 0 || time.Now().After(limit)) {
			forget()
			if err := e.removeDangling(ctx); err != nil {
				return err
			}
			return awaitEnd(ctx, "/proc", cgroupRoot, ids, lingerLimit)
		}
		var group errgroup.Group
		group.SetLimit(starts)
		for _, c := range all {
			delete(coming, nameOf(c))
			ids[c.ID] = true
			group.Go(func() error { return e.removeContainer(ctx, c.ID) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if len(all) > 0 {
			continue // without a pause
		}
		select {
		case <-time.After(removePoll):
		case <-ctx.Done():
			return fmt.Errorf("remove containers: %w", context.Cause(ctx))
		}
	}
}

func (e *Engine) containers(ctx context.Context, arg filters.KeyValuePair) ([]container.Summary, error) {
	all, err := e.client.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(arg)})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return all, nil
}

func nameOf(c container.Summary) string {
	if len(c.Names) == 0 {
		return c.ID[:min(12, len(c.ID))]
	}
	return strings.TrimPrefix(c.Names[0], "/")
}

// removePoll is the pause between two looks at a container that somebody else
// removes.
const removePoll = 20 * time.Millisecond

// removeContainer kills and removes a container and returns when it is gone. It
// is no error when it has gone already.
func (e *Engine) removeContainer(ctx context.Context, id string) error {
	for {
		err := e.client.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case errdefs.IsNotFound(err):
			return nil
		case errdefs.IsConflict(err): // its removal is under way
		case ctx.Err() != nil:
			return fmt.Errorf("remove container %.12s: %w", id, errors.Join(context.Cause(ctx), err))
		case err != nil:
			return fmt.Errorf("remove container %.12s: %w; `docker rm -f %.12s` tries it again", id, err, id)
		default:
			return nil
		}
		select {
		case <-time.After(removePoll):
		case <-ctx.Done():
			return fmt.Errorf("remove container %.12s: %w", id, errors.Join(context.Cause(ctx), err))
		}
	}
}
