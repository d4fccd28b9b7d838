package supervisor

import (
	"fmt"
	"hash/crc32"

	"meshlab.dev/meshlab/orchestrate/link"
	"meshlab.dev/meshlab/orchestrate/ovs"
	"meshlab.dev/meshlab/topo"
)

// instanceOf is the Open vSwitch that a switch of the lab is in.
func instanceOf(lab *topo.Lab, name string) ovs.Instance {
	if lab.Switches == topo.SwitchesIsolated {
		return ovs.Isolated(name)
	}
	return ovs.Shared()
}

// bridges plans a bridge for every switch of the lab. Cables to hosts end in
// the bridge under the host's name; links between switches are patch ports, or
// devices where switches are isolated or the link is a cable all the same.
func bridges(lab *topo.Lab) []ovs.Bridge {
	at := map[string]int{}
	var all []ovs.Bridge
	cable := cabled(lab)
	for _, n := range lab.Nodes {
		if n.Kind == topo.KindSwitch {
			at[n.Name] = len(all)
			all = append(all, ovs.Bridge{Name: n.Name, DPID: n.DPID})
		}
	}
	add := func(e topo.Endpoint, p ovs.Port) {
		p.OFPort = e.Port
		b := &all[at[e.Node]]
		b.Ports = append(b.Ports, p)
	}
	for i, l := range lab.Links {
		_, aSwitch := at[l.A.Node]
		_, bSwitch := at[l.B.Node]
		switch {
		case aSwitch && bSwitch && (lab.Switches == topo.SwitchesIsolated || cable[i]):
			add(l.A, ovs.Port{Name: patchName(l.A)})
			add(l.B, ovs.Port{Name: patchName(l.B)})
		case aSwitch && bSwitch:
			add(l.A, ovs.Port{Name: patchName(l.A), Peer: patchName(l.B)})
			add(l.B, ovs.Port{Name: patchName(l.B), Peer: patchName(l.A)})
		case aSwitch:
			add(l.A, ovs.Port{Name: l.B.Node})
		case bSwitch:
			add(l.B, ovs.Port{Name: l.A.Node})
		}
	}
	return all
}

// maxPatched is how many bridges in a row patch ports may join. Open vSwitch
// follows a frame through 64 and drops it then (MAX_DEPTH in
// ofproto/ofproto-dpif-xlate.c, 3.1); groups and learned flows of one bridge are
// counted there too.
const maxPatched = 60

// cabled tells which links between bridges of one Open vSwitch, by index, are
// cables from the start: those that the lab file gives a character, which a
// patch port has no device for, and some in a lab where a frame would pass more
// bridges in one go than Open vSwitch follows it through.
func cabled(lab *topo.Lab) map[int]bool {
	all := map[int]bool{}
	if lab.Switches == topo.SwitchesIsolated {
		return all
	}
	for i, l := range lab.Links {
		if betweenBridges(lab, l) && l.Character != (topo.Character{}) {
			all[i] = true
		}
	}
	for _, i := range topo.BreakUp(lab, maxPatched) {
		all[i] = true
	}
	return all
}

// patchName is the port of a link to another switch: a device, or a patch port
// that becomes one when the link gets a character. So it is short enough for
// the kernel; no two in a lab are the same.
func patchName(e topo.Endpoint) string {
	name := fmt.Sprintf("%s.%d", e.Node, e.Port)
	if len(name) > maxDevice {
		// Port numbers have five digits at most (OpenFlow 1.5.1, section 7.2.1).
		name = fmt.Sprintf("%08x.%d", crc32.ChecksumIEEE([]byte(e.Node)), e.Port)
	}
	return name
}

// maxDevice is the longest name of a network device, in bytes (IFNAMSIZ
// without the zero at the end, Linux, include/uapi/linux/if.h).
const maxDevice = 15

// cables plans a veth pair for every link between a host and a switch.
func cables(lab *topo.Lab, txChecksumOffload bool) []link.Veth {
	nodes := map[string]topo.Node{}
	for _, n := range lab.Nodes {
		nodes[n.Name] = n
	}
	var all []link.Veth
	for _, l := range lab.Links {
		host, at := l.A, l.B
		if nodes[host.Node].Kind != topo.KindHost {
			host, at = at, host
		}
		n := nodes[host.Node]
		if n.Kind != topo.KindHost {
			continue
		}
		all = append(all, link.Veth{
			Host: n.Name, Switch: instanceOf(lab, at.Node).Name, Device: host.Interface, Peer: n.Name,
			MAC: n.MAC, IPv4: n.IPv4, MTU: l.MTU, TxChecksumOffload: txChecksumOffload,
		})
	}
	return all
}

// isSwitch tells nodes apart.
func isSwitch(n topo.Node) bool { return n.Kind == topo.KindSwitch }
