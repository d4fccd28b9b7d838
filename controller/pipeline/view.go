package pipeline

import (
	"cmp"
	"net/netip"
	"slices"

	"meshlab.dev/meshlab/controller/mesh"
)

// view is the part of a snapshot that concerns one switch: what its own
// hosts call, and the instances behind that.
type view struct {
	calls     []call
	services  []service  // sorted by name
	instances []instance // of all services, each address and port once
}

// call is an upstream of a host attached to the switch.
type call struct {
	mesh.Upstream
	from    access
	service uint32
}

type service struct {
	name    string
	number  uint32
	healthy []instance
}

type instance struct {
	mesh.Instance
	service       string
	serviceNumber uint32
	number        uint32
	weight        uint16
}

// view picks what concerns the switch out of the snapshot, resolves
// contradictions and warns of them.
func (c *compiler) view(snap mesh.Snapshot) view {
	var v view
	byAddr := make(map[netip.Addr]access, len(c.local))
	for _, h := range c.local {
		byAddr[h.Addr] = h
	}
	names := make([]string, 0, len(snap.Services))
	for _, s := range snap.Services {
		names = append(names, s.Name)
	}
	for _, u := range snap.Upstreams {
		names = append(names, u.Destination)
	}
	number := numbers(names, serviceLimit)

	used := map[string]bool{}
	for _, u := range callsInOrder(snap.Upstreams) {
		from, ok := byAddr[u.Client]
		if !ok {
			continue
		}
		if n := len(v.calls); n > 0 && v.calls[n-1].Client == u.Client && v.calls[n-1].BindPort == u.BindPort {
			if first := v.calls[n-1]; first.Destination != u.Destination {
				c.warn("host %s: %s wants %s at bind port %d, where %s has %s: the latter stays; choose another local_bind_port",
					from.Name, u.Source, u.Destination, u.BindPort, first.Source, first.Destination)
			}
			continue
		}
		v.calls = append(v.calls, call{Upstream: u, from: from, service: number[u.Destination]})
		used[u.Destination] = true
	}
	for _, name := range sortedKeys(used) {
		v.services = append(v.services, service{name: name, number: number[name]})
	}
	c.instances(&v, snap, number)
	return v
}

// callsInOrder sorts by client and bind port, then by name, so that of two
// upstreams at one bind port always the same one is first.
func callsInOrder(all []mesh.Upstream) []mesh.Upstream {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b mesh.Upstream) int {
		return cmp.Or(a.Client.Compare(b.Client), cmp.Compare(a.BindPort, b.BindPort),
			cmp.Compare(a.Source, b.Source), cmp.Compare(a.Destination, b.Destination))
	})
	return sorted
}

// instances fills in the instances of the services in v. An answer is told
// by its source address and port, so these belong to one service only: a
// healthy instance has precedence, then the service whose name sorts first.
func (c *compiler) instances(v *view, snap mesh.Snapshot, number map[string]uint32) {
	reachable := map[netip.Addr]bool{}
	for _, h := range c.fabric.Hosts {
		if _, ok := c.ways[h.Name]; ok {
			reachable[h.Addr] = true
		}
	}
	index := make(map[string]int, len(v.services))
	for i, s := range v.services {
		index[s.name] = i
	}
	var all []instance
	var keys []string
	for _, s := range snap.Services {
		_, called := index[s.Name]
		for _, i := range s.Instances {
			keys = append(keys, i.Addr.String())
			if !called {
				continue
			}
			if !reachable[i.Addr.Addr()] {
				c.warn("service %s: instance %s at %s is on no host of this network: it gets no connections", s.Name, i.ID, i.Addr)
				continue
			}
			all = append(all, instance{Instance: i, service: s.Name, serviceNumber: number[s.Name], weight: max(i.Weight, 1)})
		}
	}
	slices.SortStableFunc(all, func(a, b instance) int {
		return cmp.Or(boolCompare(b.Healthy, a.Healthy), cmp.Compare(a.service, b.service), cmp.Compare(a.ID, b.ID))
	})
	mark := numbers(keys, instanceLimit)
	owner := map[netip.AddrPort]instance{}
	for _, i := range all {
		if first, ok := owner[i.Addr]; ok {
			if first.service != i.service {
				c.warn("services %s and %s both have an instance at %s: only %s gets connections there", first.service, i.service, i.Addr, first.service)
			}
			continue
		}
		i.number = mark[i.Addr.String()]
		owner[i.Addr] = i
		v.instances = append(v.instances, i)
		if i.Healthy {
			s := &v.services[index[i.service]]
			s.healthy = append(s.healthy, i)
		}
	}
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}
