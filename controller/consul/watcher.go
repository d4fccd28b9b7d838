package consul

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

// watcher owns the state; only run touches it, and all else sends updates.
type watcher struct {
	cfg     Config
	updates chan update
}

// update is one answer of Consul: all service names, or all entries of one.
type update struct {
	names   []string // sorted; nil: entries of service
	service string
	entries []*api.ServiceEntry
}

func (w *watcher) send(ctx context.Context, u update) {
	select {
	case <-ctx.Done():
	case w.updates <- u:
	}
}

func (w *watcher) run(ctx context.Context, emit func(mesh.Snapshot)) error {
	ctx, cancel := context.WithCancel(ctx)
	var loops sync.WaitGroup
	defer loops.Wait()
	defer cancel()
	loops.Go(func() { w.follow(ctx, "services of the catalog", w.services) })

	stops := map[string]context.CancelFunc{}  // of each listed service
	known := map[string][]*api.ServiceEntry{} // listed and answered at least once
	var last *mesh.Snapshot
	var told []string // warnings about the present registrations
	listed := false
	settle := time.NewTimer(time.Hour)
	settle.Stop()
	pending := false
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case u := <-w.updates:
			if u.names != nil {
				listed = true
				for name, stop := range stops {
					if _, ok := slices.BinarySearch(u.names, name); !ok {
						stop()
						delete(stops, name)
						delete(known, name)
					}
				}
				for _, name := range u.names {
					if _, ok := stops[name]; ok {
						continue
					}
					child, stop := context.WithCancel(ctx)
					stops[name] = stop
					loops.Go(func() { w.follow(child, "health of "+name, w.health(name)) })
				}
			} else if _, ok := stops[u.service]; ok { // else a late answer for a service that is gone
				known[u.service] = u.entries
			}
			if !pending {
				pending = true
				settle.Reset(w.cfg.Debounce)
			}
		case <-settle.C:
			pending = false
			if last == nil && (!listed || len(known) < len(stops)) {
				continue // not complete yet
			}
			snap, warnings := snapshot(slices.Collect(maps.Values(known)))
			for _, warning := range warnings {
				if !slices.Contains(told, warning) {
					w.cfg.Logger.Warn("registration cannot be honoured", "reason", warning)
				}
			}
			told = warnings
			if last != nil && reflect.DeepEqual(*last, snap) {
				continue
			}
			last = &snap
			emit(snap)
		}
	}
}

// consulService is the name under which Consul's servers list themselves.
const consulService = "consul"

// errNoServer is an answer that knows of no Consul server. A catalog that has
// been filled lists at least the server that answers; one that does not is
// that of a cluster which has just begun, and says nothing of the services.
var errNoServer = errors.New("the catalog is not filled yet: it lists no Consul server")

func (w *watcher) services(_ context.Context, opts *api.QueryOptions) (func(context.Context), *api.QueryMeta, error) {
	all, meta, err := w.cfg.Client.Catalog().Services(opts)
	if err != nil {
		return nil, nil, fmt.Errorf("list services: %w", err)
	}
	if _, ok := all[consulService]; !ok && !meta.ResultsFilteredByACLs {
		return nil, nil, fmt.Errorf("list services: %w", errNoServer)
	}
	names := make([]string, 0, len(all))
	for name := range all {
		if name != consulService {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return func(ctx context.Context) { w.send(ctx, update{names: names}) }, meta, nil
}

func (w *watcher) health(name string) query {
	return func(_ context.Context, opts *api.QueryOptions) (func(context.Context), *api.QueryMeta, error) {
		entries, meta, err := w.cfg.Client.Health().Service(name, "", false, opts)
		if err != nil {
			return nil, nil, fmt.Errorf("read health of %s: %w", name, err)
		}
		return func(ctx context.Context) { w.send(ctx, update{service: name, entries: entries}) }, meta, nil
	}
}
