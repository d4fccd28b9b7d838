package kube

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Host is a pod as its place in the network, or a node of the cluster, which
// has no MAC address.
type Host struct {
	Name      string // NAMESPACE/NAME of a pod; name of a node
	Addr      netip.Addr
	MAC       string
	At        string // node that the pod runs on
	PodUID    string
	Interface string
}

// network is all hosts, the cluster's nodes among them, sorted by name; of nodes
// with one address only the youngest. It is one slice for as long as nothing
// changes.
func (v *view) network() []Host {
	if !v.placed {
		return v.hosts
	}
	v.placed = false
	hosts := make([]Host, 0, len(v.owners)+len(v.nodes))
	for _, keys := range v.owners {
		p := v.pods[keys[0]]
		hosts = append(hosts, Host{Name: p.Key(), Addr: p.Addr, MAC: p.MAC, At: p.Node, PodUID: p.UID, Interface: p.Interface})
	}
	at := map[string]*Node{}
	for _, n := range v.nodes {
		// A machine that joined again under another name has left the object of
		// its old one behind.
		if other := at[n.Addr]; other == nil || cmp.Or(other.Created.Compare(n.Created), cmp.Compare(n.Name, other.Name)) < 0 {
			at[n.Addr] = n
		}
	}
	for _, n := range at {
		if addr, err := netip.ParseAddr(n.Addr); err == nil {
			hosts = append(hosts, Host{Name: n.Name, Addr: addr})
		}
	}
	slices.SortFunc(hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	if !slices.Equal(hosts, v.hosts) {
		v.hosts = hosts
	}
	return v.hosts
}

// local are the pods of this node, sorted by key, each with all its problems.
func (v *view) local() []*Pod {
	var out []*Pod
	for _, key := range slices.Sorted(maps.Keys(v.mine)) {
		p := v.pods[key]
		if p.Addr.IsValid() && !v.has(p) {
			clash := *p
			clash.Problems = append(slices.Clone(p.Problems), Problem{ReasonAddress, fmt.Sprintf(
				"the address %v is that of the pod %s, which is older; give each pod its own, and let a Deployment with a fixed address have the strategy Recreate", p.Addr, v.owner(p.Addr))})
			slices.SortFunc(clash.Problems, compareProblems)
			p = &clash
		}
		out = append(out, p)
	}
	return out
}
