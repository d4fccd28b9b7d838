package pipeline

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"meshlab.dev/meshlab/controller/mesh"
)

type addrPort = netip.AddrPort

// state is what a compiler knows of the mesh.
type state struct {
	snap     mesh.Snapshot
	services map[string]*mesh.Service
	claims   map[addrPort][]string // services with an instance at an address and port

	calls     map[callKey]mesh.Upstream // of local hosts
	called    map[string]int            // how many of these go to a service
	binds     map[uint16]int            // and to a bind port
	conflicts []string                  // warnings about calls

	uses     map[string]int // of names that have a number
	names    *numbering     // of services: 28 bits
	marks    *numbering     // of instances, by address and port
	meterIDs *numbering     // of services with a limited rate

	topology
	rules    intentions
	spread   map[string]bool // services called that need slots
	wide     bool            // there are few enough of these for large tables
	counters map[uint64]Counter
}

// topology is which services belong together.
type topology struct {
	legged     map[string]*mesh.Service // services with legs
	pools      map[string]pool          // of services that share one with others
	dependents map[string][]string      // services called whose legs lead to a service
	needed     map[string]bool          // services called, and those that their legs lead to
}

// pool is a set of services that one connection can be to, as their legs
// connect them: an answer tells the instance, and so the service it came
// from, but not the service that was called, so they have one canonical
// number, that of the member whose name sorts first.
type pool struct {
	number  uint32
	zone    uint16
	members []string // none: the service alone
}

// callKey is what tells a call: who, and at which port.
type callKey struct {
	client netip.Addr
	port   uint16
}

func newState() state {
	return state{
		services: map[string]*mesh.Service{}, claims: map[addrPort][]string{},
		calls: map[callKey]mesh.Upstream{}, called: map[string]int{}, binds: map[uint16]int{},
		uses: map[string]int{}, names: newNumbering(serviceLimit), marks: newNumbering(instanceLimit), meterIDs: newNumbering(meterLimit),
		topology: topology{legged: map[string]*mesh.Service{}},
		rules:    indexIntentions(nil, false), spread: map[string]bool{}, wide: true, counters: map[uint64]Counter{},
	}
}

func poolNumber(number uint32) pool {
	return pool{number: number, zone: uint16(number%zones) + 1}
}

// markKey is an IPv4 address and port as the name of a number: 6 bytes, as
// numbers are looked up for every flow.
func markKey(a addrPort) string {
	b := a.Addr().As4()
	return string([]byte{b[0], b[1], b[2], b[3], byte(a.Port() >> 8), byte(a.Port())})
}

func addrOf(key string) addrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{key[0], key[1], key[2], key[3]}), uint16(key[4])<<8|uint16(key[5]))
}

// poolOf is the pool that a service belongs to.
func (s *state) poolOf(service string) pool {
	if p, ok := s.pools[service]; ok {
		return p
	}
	return poolNumber(s.names.of(service))
}

// limited tells whether the number of connections to the pool of a service
// has a limit.
func (s *state) limited(name string) bool {
	return slices.ContainsFunc(s.members(name), func(member string) bool {
		svc := s.services[member]
		return svc != nil && svc.Limits.Connections > 0 && s.called[member] > 0
	})
}

// members are the services of the pool that a service belongs to.
func (s *state) members(name string) []string {
	if p, ok := s.pools[name]; ok {
		return p.members
	}
	return []string{name}
}

// arrange finds pools, dependents and needed services anew.
func (s *state) arrange() topology {
	t := topology{legged: s.legged, pools: map[string]pool{}, dependents: map[string][]string{}, needed: make(map[string]bool, len(s.called))}
	root := map[string]string{}
	var find func(name string) string
	find = func(name string) string {
		if r, ok := root[name]; ok && r != name {
			root[name] = find(r)
			return root[name]
		}
		root[name] = name
		return name
	}
	for name := range s.called {
		t.needed[name] = true
	}
	for name, svc := range s.legged {
		for target := range targets(svc) {
			if a, b := find(name), find(target); a != b {
				root[max(a, b)] = min(a, b)
			}
			if s.called[name] > 0 {
				t.needed[target] = true
				if target != name {
					t.dependents[target] = append(t.dependents[target], name)
				}
			}
		}
	}
	members := map[string][]string{}
	for name := range root {
		members[find(name)] = append(members[find(name)], name)
	}
	for first, all := range members {
		if len(all) == 1 {
			continue
		}
		slices.Sort(all)
		p := poolNumber(s.names.of(first))
		p.members = all
		for _, name := range all {
			t.pools[name] = p
		}
	}
	return t
}

// targets are the services that the legs of one lead to.
func targets(svc *mesh.Service) map[string]bool {
	out := map[string]bool{}
	for _, leg := range svc.Legs {
		for _, t := range leg.Targets {
			out[t.Service] = true
		}
	}
	return out
}

// localCalls picks the upstreams of local hosts, each client and bind port
// once, and warns of contradictions: of two upstreams at one bind port, always
// the same one is first.
func (c *Compiler) localCalls(all []mesh.Upstream) (map[callKey]mesh.Upstream, []string) {
	local := make([]mesh.Upstream, 0, len(all))
	for _, u := range all {
		if _, ok := c.byAddr[u.Client]; ok {
			local = append(local, u)
		}
	}
	slices.SortFunc(local, func(a, b mesh.Upstream) int {
		return cmp.Or(a.Client.Compare(b.Client), cmp.Compare(a.BindPort, b.BindPort),
			cmp.Compare(a.Source, b.Source), cmp.Compare(a.Destination, b.Destination))
	})
	calls := make(map[callKey]mesh.Upstream, len(local))
	var conflicts []string
	for _, u := range local {
		key := callKey{u.Client, u.BindPort}
		first, ok := calls[key]
		switch from := c.byAddr[u.Client].Name; {
		case !ok:
			calls[key] = u
		case first.Destination != u.Destination:
			conflicts = append(conflicts, fmt.Sprintf("host %s: %s wants %s at bind port %d, where %s has %s: the latter stays; choose another local_bind_port",
				from, u.Source, u.Destination, u.BindPort, first.Source, first.Destination))
		case first.Source != u.Source:
			conflicts = append(conflicts, fmt.Sprintf("host %s: %s and %s both call %s at bind port %d: intentions take both for %s; give them different ports",
				from, first.Source, u.Source, u.Destination, u.BindPort, first.Source))
		}
	}
	return calls, conflicts
}
