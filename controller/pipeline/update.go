package pipeline

import (
	"maps"
	"reflect"
	"slices"

	"meshlab.dev/meshlab/controller/mesh"
)

// dirty is what has to be written again.
type dirty struct {
	services map[string]bool
	calls    map[callKey]bool
	binds    map[uint16]bool
	topology bool // pools and needed services may have changed
	guards   bool // intentions have changed
	policy   bool
	all      bool // a number moved: whoever has it is not worth finding
	base     bool
	hosts    map[string]bool
}

// Update brings the program in step with a snapshot.
func (c *Compiler) Update(snap mesh.Snapshot) Delta {
	c.settled()
	ch, d := newChanges(), &dirty{services: map[string]bool{}, calls: map[callKey]bool{}, binds: map[uint16]bool{}}
	if c.fabric.Mesh {
		c.takeUpstreams(snap, d)
		c.takeServices(snap, d)
		c.takeIntentions(snap, d)
		c.snap = snap
	}
	c.takeMove(d)
	c.settle(d)
	c.rewriteDirty(ch, d)
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
	local := c.moved != nil && c.moved.local // whose upstreams count
	if !local && (same(c.snap.Upstreams, snap.Upstreams) || slices.Equal(c.snap.Upstreams, snap.Upstreams)) {
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
