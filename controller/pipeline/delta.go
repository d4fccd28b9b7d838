package pipeline

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"meshlab.dev/meshlab/controller/flow"
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

// manyServices is from how many services that change at once on new units are
// written when they are sent and not before, so that the switch works while
// the compiler does.
const manyServices = 100

func (c *Compiler) rewriteDirty(ch *changes, d *dirty) {
	ch.many = len(d.services) >= manyServices
	if d.base {
		c.rewrite(ch, unitKey{kind: unitBase})
	}
	for name := range d.hosts {
		_, ok := c.ways[name]
		c.ensure(ch, unitKey{kind: unitHost, name: name}, ok)
	}
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
