package topo

import (
	"cmp"
	"slices"
)

// BreakUp returns links between switches, as indices, such that no way through
// the other links passes more than so many switches (at least 2). There are none
// where no way of Forward's does: neither a shortest one nor one of what is
// flooded.
//
// They are those that a tree of shortest ways to the switch with the lowest
// DPID does not need, and in it those that lead to each depth that is a multiple
// of half as many.
//
// The lab must come from Parse.
func BreakUp(lab *Lab, most int) []int {
	f := newFabric(lab)
	if len(f.near) <= most {
		return nil
	}
	up, depth := f.tree()
	trunk := fabric{near: make([][]neighbour, len(f.near))}
	for from, to := range up {
		if to.link >= 0 {
			trunk.near[from] = append(trunk.near[from], to)
			trunk.near[to.at] = append(trunk.near[to.at], neighbour{at: from, link: to.link})
		}
	}
	if f.longest() <= most && trunk.longest() <= most {
		return nil
	}
	var all []int
	for from, near := range f.near {
		for _, n := range near {
			inTree := up[from].link == n.link || up[n.at].link == n.link
			if !inTree || max(depth[from], depth[n.at])%(most/2) == 0 {
				all = append(all, n.link)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// fabric is the switches of a lab by ascending DPID, and the links between
// them.
type fabric struct{ near [][]neighbour }

// neighbour is a switch that a link leads to.
type neighbour struct {
	at   int // index of the switch
	link int // index in Lab.Links; -1: none
}

func newFabric(lab *Lab) fabric {
	var switches []Node
	for _, n := range lab.Nodes {
		if n.Kind == KindSwitch {
			switches = append(switches, n)
		}
	}
	slices.SortFunc(switches, func(a, b Node) int { return cmp.Compare(a.DPID, b.DPID) })
	index := map[string]int{}
	for i, n := range switches {
		index[n.Name] = i
	}
	type port struct {
		neighbour
		number uint32
	}
	ports := make([][]port, len(switches))
	for i, l := range lab.Links {
		if l.A.Port == 0 || l.B.Port == 0 { // a host's
			continue
		}
		a, b := index[l.A.Node], index[l.B.Node]
		ports[a] = append(ports[a], port{neighbour{at: b, link: i}, l.A.Port})
		ports[b] = append(ports[b], port{neighbour{at: a, link: i}, l.B.Port})
	}
	f := fabric{near: make([][]neighbour, len(switches))}
	for i, all := range ports {
		slices.SortFunc(all, func(a, b port) int { return cmp.Compare(a.number, b.number) })
		for _, p := range all {
			f.near[i] = append(f.near[i], p.neighbour)
		}
	}
	return f
}

// far tells how many links each switch is away from one, -1: it is not reached.
func (f fabric) far(from int) []int {
	depth := make([]int, len(f.near))
	for i := range depth {
		depth[i] = -1
	}
	depth[from] = 0
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		for _, n := range f.near[queue[0]] {
			if depth[n.at] < 0 {
				depth[n.at] = depth[queue[0]] + 1
				queue = append(queue, n.at)
			}
		}
	}
	return depth
}

// longest is how many switches the longest of the shortest ways has.
func (f fabric) longest() int {
	most := 0
	for i := range f.near {
		most = max(most, slices.Max(f.far(i))+1)
	}
	return most
}

// tree is that of Forward's flooding: for each switch the one above it and how
// deep it is.
func (f fabric) tree() (up []neighbour, depth []int) {
	depth = f.far(0)
	for i, near := range f.near {
		up = append(up, neighbour{link: -1})
		for _, n := range near { // ascending ports
			if depth[i] > 0 && depth[n.at] == depth[i]-1 {
				up[i] = n
				break
			}
		}
	}
	return up, depth
}
