package docker

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// StartHosts starts the containers of hosts and takes their network
// namespaces, all by name of the host. When one does not start, ends, or does
// not hand over its namespace before ctx ends, all are removed again, and the
// error says which one, with what it printed last.
func (e *Engine) StartHosts(ctx context.Context, l *net.UnixListener, specs []HostSpec) (map[string]*Host, error) {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	containers := make([]*Container, len(specs))
	names := make([]string, len(specs))
	var group sync.WaitGroup
	for i, s := range specs {
		names[i] = s.Name
		group.Go(func() {
			c, err := e.StartHost(inner, s)
			if err != nil {
				cancel(err)
				return
			}
			containers[i] = c
			go func() {
				select {
				case <-c.Done():
					exit, err := c.Wait(inner)
					if err != nil {
						cancel(fmt.Errorf("container %s of host %s: %w", c.name, s.Name, err))
						return
					}
					cancel(fmt.Errorf("container %s of host %s has ended (%v); it printed last:\n%s", c.name, s.Name, exit, exit.Last))
				case <-inner.Done():
				}
			}()
		})
	}
	hosts, err := Accept(inner, l, names)
	group.Wait()
	if err == nil && inner.Err() != nil { // one ended as soon as it had handed over
		err = context.Cause(inner)
	}
	if err == nil {
		for i, name := range names {
			hosts[name].Container = containers[i]
		}
		return hosts, nil
	}
	for _, h := range hosts {
		_ = h.Close()
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer stop()
	for _, c := range containers {
		if c == nil {
			continue
		}
		group.Go(func() { _ = e.removeContainer(ctx, c.id) }) // what is left of it, Remove finds
	}
	group.Wait()
	return nil, err
}
