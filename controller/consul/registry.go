package consul

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

// follower starts and stops the questions about a topic.
type follower interface {
	follow(topic)
	drop(topic)
}

// registry puts Consul's answers together. An answer costs what it changes,
// not what exists: each service keeps what was made of its last answer, and
// snapshot replaces only those marked dirty.
type registry struct {
	asks     follower
	override *bool // of the default policy

	unanswered map[topic]bool // never answered yet
	awaited    map[topic]bool // those of them that a snapshot waits for a moment
	names      []string       // of the catalog, sorted
	services   map[string]*record
	entries    map[string]map[string]api.ConfigEntry // by kind and name

	dirty    map[string]bool // services to make anew
	routed   bool            // a chain or a subset has changed since the last snapshot
	limits   bool            // so have upstreams or the limits that callers state
	outbound map[string]outbound

	all        []*mesh.Service
	calls      []mesh.Upstream // as registered, sorted: one may be there twice
	upstreams  []mesh.Upstream
	intentions []mesh.Intention
	deny       bool // by the agent's policy
	denied     bool // what the last snapshot said
	warned     map[topic][]string
	warnings   []string
	retold     bool           // warned has changed
	changed    bool           // something else has
	hidden     map[topic]bool // lists that an ACL shortens
}

func newRegistry(override *bool, asks follower) *registry {
	r := &registry{
		asks: asks, override: override,
		unanswered: map[topic]bool{{kind: kindPolicy}: true}, awaited: map[topic]bool{},
		services: map[string]*record{}, entries: map[string]map[string]api.ConfigEntry{},
		dirty: map[string]bool{}, outbound: map[string]outbound{},
		warned: map[topic][]string{}, hidden: map[topic]bool{},
	}
	r.follow(topic{kind: kindCatalog})
	for _, kind := range entryKinds() {
		r.follow(topic{kind: kind})
	}
	return r
}

func (r *registry) follow(t topic) {
	r.unanswered[t] = true
	r.asks.follow(t)
}

func (r *registry) drop(t topic) {
	delete(r.unanswered, t)
	delete(r.awaited, t)
	r.hide(t, false)
	r.warn(t, nil)
	r.asks.drop(t)
}

// answer takes an answer over.
func (r *registry) answer(t topic, apply func(*registry)) {
	apply(r)
	delete(r.unanswered, t)
	delete(r.awaited, t)
}

// complete is true when every question has been answered.
func (r *registry) complete() bool { return len(r.unanswered) == 0 }

// refused is what to do about a question that Consul answers with an error,
// and would hold up all others with: keep what is known, or be careful.
func (r *registry) refused(t topic, err error) {
	if !r.unanswered[t] {
		return
	}
	switch t.kind {
	case kindPolicy:
		r.deny = true
		r.warn(t, []string{fmt.Sprintf("the default policy for intentions is not known, so it is taken as deny: %v; give the token agent:read, or set the policy in the controller's configuration", err)})
	case kindChain:
		rec := r.services[t.name]
		if rec.legs == nil {
			r.setLegs(t.name, []mesh.Leg{{Weight: fullWeight}}, false)
		}
		r.warn(t, []string{fmt.Sprintf("service %s: connections are refused until its discovery chain can be read: %v", t.name, err)})
	}
}

// hide notes whether ACLs have shortened an answer.
func (r *registry) hide(t topic, hidden bool) {
	if r.hidden[t] == hidden {
		return
	}
	if hidden {
		r.hidden[t] = true
	} else {
		delete(r.hidden, t)
	}
	r.retold = true
}

func (r *registry) hiddenWarnings() []string {
	var out []string
	for t := range r.hidden {
		switch t.kind {
		case kindCatalog:
			out = append(out, `the token does not see all services; give it service_prefix "" and node_prefix "" with policy read`)
		case api.ServiceIntentions:
			out = append(out, `the token does not see all intentions, so what none of the seen ones names is denied; give it service_prefix "" with policy and intentions read`)
		case kindHealth:
			out = append(out, fmt.Sprintf(`service %s: the token does not see all instances; give it node_prefix "" with policy read`, t.name))
		default:
			out = append(out, fmt.Sprintf(`the token does not see all %s entries; give it service_prefix "" with policy read`, t.kind))
		}
	}
	return out
}

// warn replaces the warnings about a topic.
func (r *registry) warn(t topic, warnings []string) {
	if slices.Equal(r.warned[t], warnings) {
		return
	}
	r.retold = true
	if len(warnings) == 0 {
		delete(r.warned, t)
		return
	}
	r.warned[t] = warnings
}

func (r *registry) setPolicy(deny bool) {
	r.warn(topic{kind: kindPolicy}, nil)
	r.deny = deny
}

// setNames takes over the names that the catalog lists, sorted.
func (r *registry) setNames(names []string) {
	old := r.names
	r.names = names
	for len(old) > 0 || len(names) > 0 {
		switch {
		case len(old) == 0 || len(names) > 0 && names[0] < old[0]:
			rec := r.record(names[0])
			rec.listed = true
			r.follow(topic{kindHealth, names[0]})
			names = names[1:]
		case len(names) == 0 || old[0] < names[0]:
			r.setHealth(old[0], nil)
			r.drop(topic{kindHealth, old[0]})
			r.services[old[0]].listed = false
			r.tidy(old[0])
			old = old[1:]
		default:
			old, names = old[1:], names[1:]
		}
	}
}

// setHealth takes over all registrations under a name.
func (r *registry) setHealth(name string, entries []*api.ServiceEntry) {
	rec := r.services[name]
	var n notes
	upstreams := rec.take(entries, &n)
	if !slices.Equal(rec.upstreams, upstreams) {
		r.calls = replaceSorted(r.calls, rec.upstreams, upstreams, compareUpstreams)
		rec.upstreams = upstreams
		r.limits, r.changed = true, true
		r.upstreams = nil
	}
	r.warn(topic{kindHealth, name}, n)
	r.dirty[name] = true
}

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

func (r *registry) record(name string) *record {
	rec := r.services[name]
	if rec == nil {
		rec = &record{}
		r.services[name] = rec
	}
	return rec
}

// tidy forgets a record that nothing refers to any more.
func (r *registry) tidy(name string) {
	rec := r.services[name]
	if rec.listed || rec.routed || rec.refs > 0 || r.entries[api.ServiceDefaults][name] != nil {
		return
	}
	delete(r.services, name)
	r.dirty[name] = true
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

// snapshot is the state of now, and whether it differs from the last one.
func (r *registry) snapshot() (mesh.Snapshot, bool) {
	changed := r.changed
	if r.upstreams == nil && len(r.calls) > 0 {
		r.upstreams = slices.Compact(slices.Clone(r.calls))
	}
	if r.limits {
		r.limitCallers()
	}
	if r.renew() {
		changed = true
	}
	if r.retold {
		all := r.hiddenWarnings()
		for _, w := range r.warned {
			all = append(all, w...)
		}
		slices.Sort(all)
		if all = slices.Compact(all); !slices.Equal(all, r.warnings) {
			r.warnings, changed = all, true
		}
	}
	r.changed, r.routed, r.limits, r.retold = false, false, false, false
	deny := r.deny || r.hidden[topic{kind: api.ServiceIntentions}]
	if r.override != nil {
		deny = *r.override
	}
	if deny != r.denied {
		r.denied, changed = deny, true
	}
	return mesh.Snapshot{
		Services: r.all, Upstreams: r.upstreams, Intentions: r.intentions,
		DefaultDeny: deny, Warnings: r.warnings,
	}, changed
}

// limitCallers works out anew what callers state for whom they call. That
// takes a look at all upstreams, so it is done only when these or the
// service-defaults entries have changed.
func (r *registry) limitCallers() {
	now, warnings := outboundOf(r.upstreams, r.entries[api.ServiceDefaults])
	for name, rec := range r.services {
		if rec.legs == nil {
			continue
		}
		for target := range others(name, rec.legs) {
			if r.services[target].inbound > 0 {
				warnings = append(warnings, fmt.Sprintf("service-defaults %s: max_inbound_connections does not bound the connections that come by the name %s", target, name))
			}
		}
	}
	slices.Sort(warnings)
	for name, was := range r.outbound {
		if now[name] != was {
			r.dirty[name] = true
		}
	}
	for name := range now {
		if now[name] != r.outbound[name] {
			r.dirty[name] = true
		}
	}
	r.outbound = now
	r.warn(topic{kind: "upstream limits"}, warnings)
}

// renew makes the dirty services anew, and is true if one has changed.
func (r *registry) renew() bool {
	fresh := map[string]*mesh.Service{} // nil: gone
	for name := range r.dirty {
		at, found := slices.BinarySearchFunc(r.all, name, compareName)
		var old, now *mesh.Service
		if found {
			old = r.all[at]
		}
		if rec := r.services[name]; rec != nil {
			now = rec.service(name, r.outbound[name], old)
		}
		if now != old {
			fresh[name] = now
		}
	}
	clear(r.dirty)
	if len(fresh) == 0 {
		return false
	}
	all := make([]*mesh.Service, 0, len(r.all)+len(fresh))
	from := 0
	for _, name := range slices.Sorted(maps.Keys(fresh)) {
		at, found := slices.BinarySearchFunc(r.all[from:], name, compareName)
		all = append(all, r.all[from:from+at]...)
		from += at
		if found {
			from++
		}
		if s := fresh[name]; s != nil {
			all = append(all, s)
		}
	}
	r.all = append(all, r.all[from:]...)
	return true
}

func compareName(s *mesh.Service, name string) int { return cmp.Compare(s.Name, name) }
