package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
)

// place is where a switch is in the network.
type place struct {
	fabric    Fabric
	dp        Datapath
	hosts     map[string]Host
	local     []access // sorted by name
	byAddr    map[netip.Addr]access
	ways      map[string]uint32   // port towards each host, the local ones too
	reachable map[netip.Addr]bool // addresses of these
}

// access is a host attached to the switch.
type access struct {
	Host
	port uint32
}

// placeOf checks fabric and datapath.
func placeOf(f Fabric, dp Datapath) (place, error) {
	hosts, err := check(f, dp)
	if err != nil {
		return place{}, err
	}
	p := place{fabric: f, dp: dp, hosts: hosts, ways: map[string]uint32{}, byAddr: map[netip.Addr]access{}, reachable: map[netip.Addr]bool{}}
	maps.Copy(p.ways, dp.ToHost)
	maps.Copy(p.ways, dp.Access)
	for _, name := range sortedKeys(dp.Access) {
		a := access{Host: hosts[name], port: dp.Access[name]}
		p.local = append(p.local, a)
		p.byAddr[a.Addr] = a
	}
	for name := range p.ways {
		p.reachable[hosts[name].Addr] = true
	}
	return p, nil
}

// way is what the flows to a host follow from.
type way struct {
	Host
	port  uint32
	local bool
}

func (p *place) way(name string) (way, bool) {
	port, ok := p.ways[name]
	_, local := p.dp.Access[name]
	return way{p.hosts[name], port, local}, ok
}

// Check tells whether fabric and dp contradict themselves: the error is that
// of Compile.
func Check(f Fabric, dp Datapath) error {
	_, err := check(f, dp)
	return err
}

func check(f Fabric, dp Datapath) (map[string]Host, error) {
	hosts := make(map[string]Host, len(f.Hosts))
	for _, h := range f.Hosts {
		hosts[h.Name] = h
	}
	if err := errors.Join(f.Validate(), dp.validate(hosts)); err != nil {
		return nil, fmt.Errorf("compile %s: %w", dp.Name, err)
	}
	return hosts, nil
}

// moves are what a Move concerns.
type moves struct {
	hosts map[string]bool     // by name
	addrs map[netip.Addr]bool // that they have or had
	base  bool                // what all hosts share
	local bool                // who is attached
}

// Move tells that hosts have come, gone, or are elsewhere: the next Update
// writes what depends on these, and its cost does not depend on the other
// hosts but for a comparison of each. It answers false, and does nothing, when
// more than hosts and ports has changed: that takes a compiler of its own. An
// error means that fabric or dp contradict themselves; then the last place
// stands.
func (c *Compiler) Move(f Fabric, dp Datapath) (bool, error) {
	a, b := c.fabric, f
	a.Hosts, b.Hosts = nil, nil
	if !reflect.DeepEqual(a, b) || c.dp.Name != dp.Name || c.dp.DPID != dp.DPID {
		return false, nil
	}
	now, err := placeOf(f, dp)
	if err != nil {
		return false, err
	}
	if c.moved == nil {
		c.moved = &moves{hosts: map[string]bool{}, addrs: map[netip.Addr]bool{}}
	}
	m, was := c.moved, c.place
	differs := func(name string) {
		x, had := was.way(name)
		y, has := now.way(name)
		if had == has && x == y {
			return
		}
		m.hosts[name] = true
		if had {
			m.addrs[x.Addr] = true
		}
		if has {
			m.addrs[y.Addr] = true
		}
	}
	for name := range was.ways {
		differs(name)
	}
	for name := range now.ways {
		if _, had := was.ways[name]; !had {
			differs(name)
		}
	}
	m.local = m.local || !slices.Equal(was.local, now.local)
	m.base = m.base || m.local || was.dp.Split != now.dp.Split || !slices.Equal(was.dp.Flood, now.dp.Flood) || !maps.Equal(was.dp.Trunks, now.dp.Trunks)
	c.place = now
	return true, nil
}

// takeMove marks the calls that begin, and the services that have instances,
// at hosts that have moved. It is for after the snapshot has been taken in.
func (c *Compiler) takeMove(d *dirty) {
	m := c.moved
	if m == nil {
		return
	}
	c.moved = nil
	d.hosts, d.base = m.hosts, m.base
	if len(m.addrs) == 0 {
		return
	}
	for key := range c.calls {
		if m.addrs[key.client] {
			d.calls[key] = true
		}
	}
	for addr := range c.claims {
		if m.addrs[addr.Addr()] {
			c.dirtyClaims(d, addr)
		}
	}
}
