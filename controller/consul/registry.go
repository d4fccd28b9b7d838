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
		r.calls = replaceSorted(r.calls, rec.upstreams, upstreams, mesh.CompareUpstreams)
		rec.upstreams = upstreams
		r.limits, r.changed = true, true
		r.upstreams = nil
	}
	r.warn(topic{kindHealth, name}, n)
	r.dirty[name] = true
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
