package topo

import (
	"cmp"
	"slices"
)

// Forwarding is where one switch sends what it has for the hosts of a lab.
type Forwarding struct {
	ToHost map[string]uint32 // by host: the output port on a shortest way to it
	Flood  []uint32          // ports of a spanning tree and of hosts, ascending
	Access map[string]uint32 // hosts at this switch: their port
}

// trunk is a link between switches as one of its ends sees it.
type trunk struct {
	port, peerPort uint32
	peer           string
}

// Forward returns the forwarding of each switch, by name. Ways are shortest
// in links; among equally short ones each switch takes its lowest port. The
// spanning tree is made of shortest ways to the switch with the lowest DPID,
// so that a frame sent to all ports in Flood except the one it came from
// reaches every host once, rings of switches or not.
//
// The lab must come from Parse.
func Forward(lab *Lab) map[string]Forwarding {
	trunks, out := map[string][]trunk{}, map[string]Forwarding{}
	var switches []Node
	for _, n := range lab.Nodes {
		if n.Kind == KindSwitch {
			switches = append(switches, n)
			out[n.Name] = Forwarding{ToHost: map[string]uint32{}, Access: map[string]uint32{}}
		}
	}
	home := map[string]string{} // host -> its switch
	for _, l := range lab.Links {
		a, b := l.A, l.B
		if a.Port == 0 {
			a, b = b, a
		}
		if b.Port == 0 {
			out[a.Node].Access[b.Node] = a.Port
			home[b.Node] = a.Node
			continue
		}
		trunks[a.Node] = append(trunks[a.Node], trunk{a.Port, b.Port, b.Node})
		trunks[b.Node] = append(trunks[b.Node], trunk{b.Port, a.Port, a.Node})
	}
	for _, t := range trunks {
		slices.SortFunc(t, func(a, b trunk) int { return cmp.Compare(a.port, b.port) })
	}
	slices.SortFunc(switches, func(a, b Node) int { return cmp.Compare(a.DPID, b.DPID) })

	for _, target := range switches {
		toward := portsToward(target.Name, trunks)
		for host, sw := range home {
			if sw != target.Name {
				continue
			}
			for name, port := range toward {
				out[name].ToHost[host] = port
			}
			out[sw].ToHost[host] = out[sw].Access[host]
		}
	}
	flood := map[string][]uint32{}
	for _, root := range switches[:min(1, len(switches))] {
		for name, port := range portsToward(root.Name, trunks) {
			for _, t := range trunks[name] {
				if t.port == port {
					flood[name] = append(flood[name], t.port)
					flood[t.peer] = append(flood[t.peer], t.peerPort)
				}
			}
		}
	}
	for name, f := range out {
		f.Flood = flood[name]
		for _, port := range f.Access {
			f.Flood = append(f.Flood, port)
		}
		slices.Sort(f.Flood)
		out[name] = f
	}
	return out
}

// portsToward returns for every other switch its lowest port on a shortest
// way to target.
func portsToward(target string, trunks map[string][]trunk) map[string]uint32 {
	distance := map[string]int{target: 0}
	for queue := []string{target}; len(queue) > 0; queue = queue[1:] {
		for _, t := range trunks[queue[0]] {
			if _, seen := distance[t.peer]; !seen {
				distance[t.peer] = distance[queue[0]] + 1
				queue = append(queue, t.peer)
			}
		}
	}
	toward := map[string]uint32{}
	for name, d := range distance {
		for _, t := range trunks[name] { // ascending ports
			if d > 0 && distance[t.peer] == d-1 {
				toward[name] = t.port
				break
			}
		}
	}
	return toward
}
