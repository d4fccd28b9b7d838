package pipeline

import (
	"cmp"
	"slices"

	"meshlab.dev/meshlab/topo"
)

// FromLab is the fabric of a lab, and its switches sorted by name. mesh says
// whether they are a service mesh, or plain Ethernet switches. The lab must
// come from topo.Parse.
func FromLab(lab *topo.Lab, mesh bool) (Fabric, []Datapath) {
	f := Fabric{Mesh: mesh}
	if f.Mesh {
		f.VIP, f.Hairpin, f.VIPMAC = lab.Mesh.VIP, lab.Mesh.Hairpin, MAC(lab.Mesh.VIPMAC)
	}
	ways := topo.Forward(lab)
	var dps []Datapath
	for _, n := range lab.Nodes {
		switch n.Kind {
		case topo.KindHost:
			f.Hosts = append(f.Hosts, Host{Name: n.Name, Addr: n.IPv4.Addr(), MAC: MAC(n.MAC)})
		case topo.KindSwitch:
			w := ways[n.Name]
			dps = append(dps, Datapath{Name: n.Name, DPID: n.DPID, Access: w.Access, ToHost: w.ToHost, Flood: w.Flood, Trunks: trunks(lab, n.Name)})
		}
	}
	slices.SortFunc(dps, func(a, b Datapath) int { return cmp.Compare(a.Name, b.Name) })
	return f, dps
}

// trunks are the ports of a switch that lead to other switches.
func trunks(lab *topo.Lab, name string) map[uint32]Peer {
	out := map[uint32]Peer{}
	for _, l := range lab.Links {
		for _, ends := range [][2]topo.Endpoint{{l.A, l.B}, {l.B, l.A}} {
			// Hosts have no OpenFlow ports.
			if ends[0].Node == name && ends[1].Port != 0 {
				out[ends[0].Port] = Peer{Datapath: ends[1].Node, Port: ends[1].Port}
			}
		}
	}
	return out
}
