package consul

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/hashicorp/consul/api"
)

// topic is what one blocking query asks for.
type topic struct {
	kind string // catalog, health, chain, policy, or that of configuration entries
	name string // of the service; empty for lists
}

const (
	kindCatalog = "catalog"
	kindHealth  = "health"
	kindChain   = "discovery chain"
	kindPolicy  = "default policy"
)

// entryKinds are the configuration entries that matter to layer 4.
func entryKinds() []string {
	return []string{
		api.ServiceResolver, api.ServiceSplitter, api.ServiceRouter,
		api.ServiceDefaults, api.ProxyDefaults, api.ServiceIntentions,
	}
}

func (t topic) String() string {
	if t.name == "" {
		return t.kind
	}
	return t.kind + " of " + t.name
}

// level is how loud a failing query is: when Consul goes, those for each
// service fail with the few lists, and say nothing new.
func (t topic) level() slog.Level {
	if t.kind == kindHealth {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// consulService is the name under which Consul's servers list themselves.
const consulService = "consul"

// errNoServer is an answer that knows of no Consul server. A catalog that has
// been filled lists at least the server that answers; one that does not is
// that of a cluster which has just begun, and says nothing of the services.
var errNoServer = errors.New("the catalog is not filled yet: it lists no Consul server")

// ask returns the query for a topic.
func (w *watcher) ask(t topic) query {
	switch t.kind {
	case kindCatalog:
		return w.catalog
	case kindHealth:
		return w.health(t.name)
	case kindChain:
		return w.chain(t.name)
	default:
		return w.entries(t.kind)
	}
}

func (w *watcher) catalog(opts *api.QueryOptions) (func(*registry), *api.QueryMeta, error) {
	all, meta, err := w.cfg.Client.Catalog().Services(opts)
	if err != nil {
		return nil, nil, fmt.Errorf("list services: %w", err)
	}
	if _, ok := all[consulService]; !ok && !meta.ResultsFilteredByACLs {
		if meta.DefaultACLPolicy == "deny" {
			return nil, nil, fmt.Errorf("list services: %w; or the controller has no token that may read it", errNoServer)
		}
		return nil, nil, fmt.Errorf("list services: %w", errNoServer)
	}
	names := make([]string, 0, len(all))
	for name := range all {
		if name != consulService {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return func(r *registry) {
		r.hide(topic{kind: kindCatalog}, meta.ResultsFilteredByACLs)
		r.setNames(names)
	}, meta, nil
}

func (w *watcher) health(name string) query {
	return func(opts *api.QueryOptions) (func(*registry), *api.QueryMeta, error) {
		entries, meta, err := w.cfg.Client.Health().Service(name, "", false, opts)
		if err != nil {
			return nil, nil, fmt.Errorf("read health of %s: %w", name, err)
		}
		entries = namesake(name, entries)
		return func(r *registry) {
			r.hide(topic{kindHealth, name}, meta.ResultsFilteredByACLs)
			r.setHealth(name, entries)
		}, meta, nil
	}
}

// namesake leaves out what is registered under another name: Consul's index
// of services disregards case (hashicorp/consul issue 5707), its catalog lists
// them with it.
func namesake(name string, entries []*api.ServiceEntry) []*api.ServiceEntry {
	return slices.DeleteFunc(entries, func(e *api.ServiceEntry) bool {
		return e != nil && e.Service != nil && e.Service.Service != name
	})
}

func (w *watcher) entries(kind string) query {
	return func(opts *api.QueryOptions) (func(*registry), *api.QueryMeta, error) {
		afresh := opts.WaitIndex == 0
		entries, meta, err := w.cfg.Client.ConfigEntries().List(kind, opts)
		if err != nil {
			return nil, nil, fmt.Errorf("list %s entries: %w", kind, err)
		}
		return func(r *registry) {
			r.hide(topic{kind: kind}, meta.ResultsFilteredByACLs)
			r.setEntries(kind, entries, afresh)
		}, meta, nil
	}
}

// chain reads the compiled discovery chain of a service. The type of the API
// client leaves out peer and partition of a target, so this has its own.
func (w *watcher) chain(name string) query {
	return func(opts *api.QueryOptions) (func(*registry), *api.QueryMeta, error) {
		var answer struct{ Chain *chain }
		meta, err := w.cfg.Client.Raw().Query("/v1/discovery-chain/"+name, &answer, opts)
		if err != nil {
			return nil, nil, fmt.Errorf("read discovery chain of %s: %w", name, err)
		}
		if answer.Chain == nil {
			return nil, nil, fmt.Errorf("read discovery chain of %s: the answer has none", name)
		}
		return func(r *registry) { r.setChain(name, answer.Chain) }, meta, nil
	}
}
