package pipeline

import (
	"cmp"
	"iter"
	"maps"
	"reflect"
	"slices"

	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
)

// Delta is what an update changed. Its flows and groups are written when they
// are ranged over, which must be done before the next Update.
type Delta struct {
	// Large says that Flows, Groups and Counters tell only a part: the rest
	// is known when all has been ranged over.
	Large         bool
	Meters        []flow.Meter // added or changed
	AddGroups     iter.Seq[flow.Group]
	ModifyGroups  iter.Seq[flow.Group]
	AddFlows      iter.Seq[flow.Flow]
	DeleteCookies []uint64
	DeleteGroups  []uint32
	DeleteMeters  []uint32
	Flows, Groups int                // how many are in the sequences
	Counters      map[uint64]Counter // what the added flows count, by cookie
}

// changes gathers a Delta.
type changes struct {
	units   []unitKey
	added   map[uint64]bool // cookies
	deleted map[uint64]bool
	groups  map[uint32]bool // true: added; false: modified
	gone    map[uint32]bool
	meters  map[uint32]flow.Meter
	unmeter map[uint32]bool
	counts  map[uint64]Counter

	many  bool      // new units are written later
	later []unitKey // these
}

func newChanges() *changes {
	return &changes{added: map[uint64]bool{}, deleted: map[uint64]bool{}, groups: map[uint32]bool{}, gone: map[uint32]bool{},
		meters: map[uint32]flow.Meter{}, unmeter: map[uint32]bool{}, counts: map[uint64]Counter{}}
}

// dirty is what has to be written again.
type dirty struct {
	services map[string]bool
	calls    map[callKey]bool
	binds    map[uint16]bool
	topology bool // pools and needed services may have changed
	guards   bool // intentions have changed
	policy   bool
	all      bool // a number moved: whoever has it is not worth finding
}

// manyServices is from how many services that change at once on new units are
// written when they are sent and not before, so that the switch works while
// the compiler does.
const manyServices = 100

// Update brings the program in step with a snapshot.
func (c *Compiler) Update(snap mesh.Snapshot) Delta {
	ch := newChanges()
	if c.fabric.Mesh {
		c.settled()
		d := &dirty{services: map[string]bool{}, calls: map[callKey]bool{}, binds: map[uint16]bool{}}
		c.takeUpstreams(snap, d)
		c.takeServices(snap, d)
		c.takeIntentions(snap, d)
		c.snap = snap
		c.settle(d)
		c.rewriteDirty(ch, d)
	}
	return c.delta(ch)
}

// same tells whether two slices are one.
func same[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// use and unuse keep the numbers of names that occur somewhere.
func (c *Compiler) use(d *dirty, name string) {
	if c.uses[name]++; c.uses[name] == 1 {
		d.all = len(c.names.add(name)) > 0 || d.all
	}
}

func (c *Compiler) unuse(d *dirty, name string) {
	if c.uses[name]--; c.uses[name] == 0 {
		delete(c.uses, name)
		d.all = len(c.names.drop(name)) > 0 || d.all
	}
}

func (c *Compiler) takeUpstreams(snap mesh.Snapshot, d *dirty) {
	if same(c.snap.Upstreams, snap.Upstreams) || slices.Equal(c.snap.Upstreams, snap.Upstreams) {
		return
	}
	for _, u := range snap.Upstreams {
		c.use(d, u.Source)
		c.use(d, u.Destination)
	}
	for _, u := range c.snap.Upstreams {
		c.unuse(d, u.Source)
		c.unuse(d, u.Destination)
	}
	calls, conflicts := c.localCalls(snap.Upstreams)
	old := c.calls
	c.calls, c.conflicts = calls, conflicts
	c.called, c.binds = map[string]int{}, map[uint16]int{}
	for key, u := range calls {
		c.called[u.Destination]++
		c.binds[u.BindPort]++
		if was, ok := old[key]; !ok || was != u {
			d.calls[key], d.binds[u.BindPort], d.services[u.Destination] = true, true, true
			if ok {
				d.services[was.Destination] = true
			}
		}
	}
	for key, u := range old {
		if _, ok := calls[key]; !ok {
			d.calls[key], d.binds[u.BindPort], d.services[u.Destination] = true, true, true
		}
	}
	d.topology = true
}

func (c *Compiler) takeServices(snap mesh.Snapshot, d *dirty) {
	old, now := c.snap.Services, snap.Services
	if same(old, now) {
		return
	}
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(old) > 0 && old[0].Name < now[0].Name:
			c.replace(d, old[0], nil)
			old = old[1:]
		case len(old) == 0 || now[0].Name < old[0].Name:
			c.replace(d, nil, now[0])
			now = now[1:]
		default:
			if old[0] != now[0] {
				c.replace(d, old[0], now[0])
			}
			old, now = old[1:], now[1:]
		}
	}
}

// replace takes a service's new state in; nil: it did not or does not exist.
func (c *Compiler) replace(d *dirty, old, now *mesh.Service) {
	name := ""
	var before, after mesh.Service
	if old != nil {
		name, before = old.Name, *old
	}
	if now != nil {
		name, after = now.Name, *now
		c.services[name] = now
		c.use(d, name)
	} else {
		delete(c.services, name)
	}
	d.services[name] = true
	for _, i := range after.Instances {
		c.claim(d, name, i.Addr)
	}
	listed := make(map[addrPort]bool, len(after.Instances))
	for _, i := range after.Instances {
		listed[i.Addr] = true
	}
	for _, i := range before.Instances {
		if !listed[i.Addr] {
			c.disclaim(d, name, i.Addr)
		} else if len(c.claims[i.Addr]) > 1 { // health may decide anew
			c.dirtyClaims(d, i.Addr)
		}
	}
	if !slices.EqualFunc(before.Legs, after.Legs, func(a, b mesh.Leg) bool { return a.Weight == b.Weight && slices.Equal(a.Targets, b.Targets) }) {
		d.topology = true
		for target := range targets(&after) {
			c.use(d, target)
		}
		for target := range targets(&before) {
			c.unuse(d, target)
		}
	}
	if len(after.Legs) > 0 {
		c.legged[name] = now
	} else {
		delete(c.legged, name)
	}
	switch {
	case after.Limits.ConnectionsPerSec > 0:
		d.all = len(c.meterIDs.add(name)) > 0 || d.all
	case before.Limits.ConnectionsPerSec > 0:
		d.all = len(c.meterIDs.drop(name)) > 0 || d.all
	}
	if old != nil {
		c.unuse(d, name)
	}
}

func (c *Compiler) claim(d *dirty, name string, addr addrPort) {
	all := c.claims[addr]
	if slices.Contains(all, name) {
		return
	}
	if len(all) == 0 {
		d.all = len(c.marks.add(markKey(addr))) > 0 || d.all
	}
	c.claims[addr] = append(slices.Clip(all), name)
	if len(all) > 0 {
		c.dirtyClaims(d, addr)
	}
}

func (c *Compiler) disclaim(d *dirty, name string, addr addrPort) {
	c.dirtyClaims(d, addr)
	all := slices.DeleteFunc(slices.Clone(c.claims[addr]), func(n string) bool { return n == name })
	if len(all) > 0 {
		c.claims[addr] = all
		return
	}
	delete(c.claims, addr)
	d.all = len(c.marks.drop(markKey(addr))) > 0 || d.all
}

func (c *Compiler) dirtyClaims(d *dirty, addr addrPort) {
	for _, name := range c.claims[addr] {
		d.services[name] = true
	}
}

func (c *Compiler) takeIntentions(snap mesh.Snapshot, d *dirty) {
	if snap.DefaultDeny == c.snap.DefaultDeny &&
		(same(c.snap.Intentions, snap.Intentions) || slices.Equal(c.snap.Intentions, snap.Intentions)) {
		return
	}
	for _, i := range snap.Intentions {
		c.use(d, i.Source)
		c.use(d, i.Destination)
	}
	for _, i := range c.snap.Intentions {
		c.unuse(d, i.Source)
		c.unuse(d, i.Destination)
	}
	c.rules = indexIntentions(snap.Intentions, snap.DefaultDeny)
	d.guards, d.policy = true, true
}

// settle finds all that depends on what has changed.
func (c *Compiler) settle(d *dirty) {
	if d.topology || d.all {
		old := c.topology
		c.topology = c.arrange()
		for name := range c.services {
			if old.needed[name] != c.needed[name] || !reflect.DeepEqual(old.pools[name], c.pools[name]) {
				d.services[name] = true
			}
		}
		for name := range c.called {
			if !reflect.DeepEqual(old.pools[name], c.pools[name]) {
				d.services[name] = true
			}
		}
		for key, u := range c.calls {
			if !reflect.DeepEqual(old.pools[u.Destination], c.pools[u.Destination]) {
				d.calls[key] = true
			}
		}
	}
	if d.all {
		for name := range c.services {
			d.services[name] = true
		}
		for name := range c.called {
			d.services[name] = true
		}
		for key := range c.calls {
			d.calls[key] = true
		}
		d.guards, d.policy = true, true
	}
	for name := range maps.Clone(d.services) {
		for _, member := range c.members(name) {
			d.services[member] = true
		}
		for _, dependent := range c.dependents[name] {
			d.services[dependent] = true
		}
	}
	for name := range d.services {
		svc := c.services[name]
		if c.called[name] > 0 && svc != nil && (len(svc.Legs) > 0 || len(svc.Instances) > 1) {
			c.spread[name] = true
		} else {
			delete(c.spread, name)
		}
	}
	if wide := len(c.spread) <= wideServices; wide != c.wide {
		c.wide = wide
		for name := range c.spread {
			d.services[name] = true
		}
	}
	if d.guards {
		for name := range c.services {
			if !d.services[name] && (c.guarded(name) || c.units[unitKey{kind: unitGuard, name: name}] != nil) {
				d.services[name] = true
			}
		}
	}
}

// guarded tells whether the switch has to check who calls a service.
func (c *Compiler) guarded(name string) bool {
	svc := c.services[name]
	return svc != nil && !c.rules.open(name) && slices.ContainsFunc(svc.Instances, func(i mesh.Instance) bool {
		_, ok := c.byAddr[i.Addr.Addr()]
		return ok
	})
}

func (c *Compiler) rewriteDirty(ch *changes, d *dirty) {
	ch.many = len(d.services) >= manyServices
	if d.policy {
		c.rewrite(ch, unitKey{kind: unitPolicy})
	}
	for key := range d.calls {
		_, ok := c.calls[key]
		c.ensure(ch, unitKey{kind: unitCall, call: key}, ok)
	}
	for port := range d.binds {
		c.ensure(ch, unitKey{kind: unitBind, port: port}, c.binds[port] > 0)
	}
	for name := range d.services {
		c.ensure(ch, unitKey{kind: unitBalance, name: name}, c.called[name] > 0)
		c.ensure(ch, unitKey{kind: unitInstances, name: name}, c.needed[name])
		c.ensure(ch, unitKey{kind: unitGuard, name: name}, c.guarded(name))
	}
}

// metered tells whether the rate of new connections to a service is limited.
func (c *Compiler) metered(name string) bool {
	svc := c.services[name]
	return svc != nil && svc.Limits.ConnectionsPerSec > 0
}

// ensure writes a unit that should exist, and removes one that should not.
func (c *Compiler) ensure(ch *changes, key unitKey, exists bool) {
	if exists && ch.many && c.units[key] == nil && !(key.kind == unitBalance && c.metered(key.name)) {
		c.units[key], c.pending[key] = &unit{}, true
		ch.later = append(ch.later, key)
	} else if exists {
		c.rewrite(ch, key)
	} else if old, ok := c.units[key]; ok {
		delete(c.units, key)
		c.note(ch, key, old, &unit{}, &sheet{})
	}
}

func (c *Compiler) rewrite(ch *changes, key unitKey) {
	s := c.write(key, &sheet{})
	u := unitOf(s)
	old := c.units[key]
	if old == nil {
		old = &unit{}
	}
	c.units[key] = u
	if c.note(ch, key, old, u, s) {
		ch.units = append(ch.units, key)
	}
}

// note gathers the difference between two states of a unit, and tells whether
// there is something to add.
func (c *Compiler) note(ch *changes, key unitKey, old, now *unit, s *sheet) (adds bool) {
	c.sum(key, old, now, s)
	var had map[uint64]bool
	if len(old.cookies) > 0 {
		had = make(map[uint64]bool, len(old.cookies))
	}
	for _, cookie := range old.cookies {
		had[cookie] = true
	}
	for _, cookie := range now.cookies {
		if had[cookie] {
			delete(had, cookie)
			continue
		}
		ch.added[cookie], adds = true, true
	}
	for cookie := range had {
		ch.deleted[cookie] = true
	}
	maps.Copy(c.counters, s.counters)
	maps.Copy(ch.counts, s.counters)
	if now.group != old.group || now.contents != old.contents {
		switch {
		case now.group == old.group:
			ch.groups[now.group], adds = false, true
		default:
			if old.group != 0 {
				ch.gone[old.group] = true
			}
			if now.group != 0 {
				ch.groups[now.group], adds = true, true
				delete(ch.gone, now.group)
			}
		}
	}
	for _, m := range old.meters {
		if !slices.ContainsFunc(now.meters, func(n flow.Meter) bool { return n.ID == m.ID }) {
			if _, again := ch.meters[m.ID]; !again {
				ch.unmeter[m.ID] = true
			}
		}
	}
	for _, m := range now.meters {
		if !slices.Contains(old.meters, m) {
			ch.meters[m.ID] = m
			delete(ch.unmeter, m.ID)
		}
	}
	return adds
}

// sum keeps the sums over all units.
func (c *Compiler) sum(key unitKey, old, now *unit, s *sheet) {
	c.flowCount += len(now.cookies) - len(old.cookies)
	if old.group != 0 {
		c.groupCount--
	}
	if now.group != 0 {
		c.groupCount++
	}
	for _, m := range old.meters {
		delete(c.meters, m.ID)
	}
	for _, m := range now.meters {
		c.meters[m.ID] = m
	}
	if delete(c.limits, key); s.limit > 0 {
		c.limits[key] = zoneLimit{s.zone, s.limit}
	}
	if delete(c.warnings, key); len(s.warnings) > 0 {
		c.warnings[key] = s.warnings
	}
}

func (c *Compiler) delta(ch *changes) Delta {
	for cookie := range ch.deleted {
		if ch.added[cookie] { // it went from one unit to another
			delete(ch.added, cookie)
			delete(ch.deleted, cookie)
		} else {
			delete(c.counters, cookie)
		}
	}
	added := 0
	for _, add := range ch.groups {
		if add {
			added++
		}
	}
	groups := func(add bool) iter.Seq[flow.Group] {
		return func(yield func(flow.Group) bool) {
			for _, key := range ch.units {
				if u := c.units[key]; u == nil || u.group == 0 {
					continue
				}
				if is, ok := ch.groups[c.units[key].group]; ok && is == add && !yield(*c.write(key, &sheet{buckets: true}).group) {
					return
				}
			}
			for _, key := range ch.later {
				if !add || key.kind != unitBalance {
					continue
				}
				s := c.write(key, &sheet{buckets: true})
				c.record(key, s)
				if s.group != nil && !yield(*s.group) {
					return
				}
			}
		}
	}
	d := Delta{
		Large: len(ch.later) > 0,
		Flows: len(ch.added), Groups: len(ch.groups), Counters: ch.counts,
		AddFlows: func(yield func(flow.Flow) bool) {
			for _, key := range ch.units {
				for _, f := range c.write(key, &sheet{}).flows {
					if ch.added[f.Cookie] && !yield(f) {
						return
					}
				}
			}
			for _, key := range ch.later {
				s := c.write(key, &sheet{})
				c.record(key, s)
				for _, f := range s.flows {
					if !yield(f) {
						return
					}
				}
			}
		},
		AddGroups: groups(true), ModifyGroups: groups(false),
		DeleteCookies: slices.Sorted(maps.Keys(ch.deleted)),
		DeleteGroups:  slices.Sorted(maps.Keys(ch.gone)),
		DeleteMeters:  slices.Sorted(maps.Keys(ch.unmeter)),
		Meters:        slices.SortedFunc(maps.Values(ch.meters), func(a, b flow.Meter) int { return cmp.Compare(a.ID, b.ID) }),
	}
	if added == 0 && !d.Large {
		d.AddGroups = nil
	}
	if added == len(ch.groups) {
		d.ModifyGroups = nil
	}
	return d
}
