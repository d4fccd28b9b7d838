package consul

import (
	"slices"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

// setEntries takes over all configuration entries of a kind. Those whose
// index has not moved are as they were, unless Consul was asked afresh: it
// may then be another one, which has counted from the start.
func (r *registry) setEntries(kind string, list []api.ConfigEntry, afresh bool) {
	old := r.entries[kind]
	now := make(map[string]api.ConfigEntry, len(list))
	for _, e := range list {
		if foreign(e.GetNamespace()) || foreign(e.GetPartition()) {
			continue // of the default namespace and partition alone: that is all we ask for
		}
		now[e.GetName()] = e
	}
	r.entries[kind] = now
	for name := range old {
		if now[name] == nil {
			r.setEntry(kind, name, nil)
		}
	}
	for name, e := range now {
		if was := old[name]; afresh || was == nil || was.GetModifyIndex() != e.GetModifyIndex() {
			r.setEntry(kind, name, e)
		}
	}
	if kind == api.ServiceIntentions {
		intentions := make([]mesh.Intention, 0, len(r.intentions))
		for name, e := range now {
			intentions = append(intentions, intentionsOf(name, e.(*api.ServiceIntentionsConfigEntry), nil)...)
		}
		slices.SortFunc(intentions, compareIntentions)
		if !slices.Equal(r.intentions, intentions) {
			r.intentions, r.changed = intentions, true
		}
	}
}

// setEntry takes over one entry that has changed; nil if it has gone.
func (r *registry) setEntry(kind, name string, e api.ConfigEntry) {
	n := notesOf(e)
	switch kind {
	case api.ServiceResolver:
		resolver, _ := e.(*api.ServiceResolverConfigEntry)
		r.setSubsets(name, subsetsOf(resolver, &n))
		r.setRouted(name)
	case api.ServiceSplitter, api.ServiceRouter:
		r.setRouted(name)
	case api.ServiceDefaults:
		rec := r.record(name)
		defaults, _ := e.(*api.ServiceConfigEntry)
		rec.inbound, rec.rate = inboundOf(defaults)
		r.limits, r.dirty[name] = true, true
		r.tidy(name)
	}
	r.warn(topic{kind, name}, n)
}

// notesOf warns of what an entry asks for and layer 4 cannot do.
func notesOf(e api.ConfigEntry) notes {
	var n notes
	switch e := e.(type) {
	case *api.ServiceIntentionsConfigEntry:
		intentionsOf(e.Name, e, &n)
	case *api.ProxyConfigEntry:
		noteProxyDefaults(e, &n)
	case *api.ServiceResolverConfigEntry:
		noteResolver(e, &n)
	case *api.ServiceSplitterConfigEntry:
		noteSplitter(e, &n)
	case *api.ServiceRouterConfigEntry:
		noteRouter(e, &n)
	case *api.ServiceConfigEntry:
		noteDefaults(e, &n)
	}
	return n
}

// setSubsets changes the subsets of a service's own instances.
func (r *registry) setSubsets(name string, subsets []subset) {
	rec := r.record(name)
	rec.subsets = subsets
	r.routed, r.dirty[name] = true, true
	switch health := (topic{kindHealth, name}); {
	case len(subsets) == 0:
		rec.forgetSubsets()
	case rec.entries != nil:
		r.setHealth(name, rec.entries)
	case rec.listed && !r.unanswered[health]:
		// What filters look at is kept only for services that have some.
		r.asks.drop(health)
		r.follow(health)
		r.awaited[health] = true
	}
}

// setRouted asks for the chain of a service while it has an entry that makes
// one.
func (r *registry) setRouted(name string) {
	has := func(kind string) bool { return r.entries[kind][name] != nil }
	rec := r.record(name)
	routed := has(api.ServiceResolver) || has(api.ServiceSplitter) || has(api.ServiceRouter)
	t := topic{kindChain, name}
	switch {
	case routed && !rec.routed:
		rec.routed = true
		r.follow(t)
		r.awaited[t] = true
	case !routed && rec.routed:
		rec.routed = false
		r.drop(t)
		r.setLegs(name, nil, false)
	}
	r.dirty[name] = true
	r.tidy(name)
}

func (r *registry) setChain(name string, c *chain) {
	var n notes
	legs, affinity := c.flatten(&n)
	r.setLegs(name, legs, affinity)
	r.warn(topic{kindChain, name}, n)
}

func (r *registry) setLegs(name string, legs []mesh.Leg, affinity bool) {
	rec := r.services[name]
	r.routed, r.dirty[name] = true, true
	r.limits = true
	rec.affinity = affinity
	if equalLegs(rec.legs, legs) {
		return
	}
	old := rec.legs
	rec.legs = legs
	for target := range others(name, legs) {
		r.record(target).refs++
		r.dirty[target] = true
	}
	for target := range others(name, old) {
		r.services[target].refs--
		r.dirty[target] = true
		r.tidy(target)
	}
}

// others are the services but the named one that legs lead to.
func others(name string, legs []mesh.Leg) map[string]bool {
	out := map[string]bool{}
	for _, leg := range legs {
		for _, t := range leg.Targets {
			if t.Service != name {
				out[t.Service] = true
			}
		}
	}
	return out
}

// coherent is false while answers are on their way that belong to those that
// have come: a snapshot without them would send connections to instances
// that nobody meant, or to none.
func (r *registry) coherent() bool {
	if len(r.awaited) > 0 {
		return false
	}
	if !r.routed {
		return true
	}
	for _, rec := range r.services {
		for _, leg := range rec.legs {
			for _, t := range leg.Targets {
				if t.Subset != "" && !r.services[t.Service].hasSubset(t.Subset) {
					return false
				}
			}
		}
	}
	return true
}
