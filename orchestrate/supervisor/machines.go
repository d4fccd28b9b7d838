package supervisor

import (
	"errors"
	"fmt"
	"net/netip"

	"meshlab.dev/meshlab/orchestrate/link"
	"meshlab.dev/meshlab/topo"
)

// machines is what joins isolated switches, each as if it were a machine:
// cables and tunnels between them, the network of the tunnels, and the one
// that the controller reaches them by.
type machines struct {
	management link.Segment
	underlay   link.Segment // without stations where nothing is tunnelled
	trunks     []link.Trunk
	tunnels    []link.Tunnel
}

// Names of the two networks, and of a switch's device in each. A node's name
// has no dot, so no port of a switch is called so.
const (
	managementName, managementDevice = "mgmt", "mgmt.0"
	underlayName, underlayDevice     = "underlay", "underlay.0"
)

// segmentMTU is that of Ethernet, in bytes. Over the underlay, tunnels carry
// link.VXLANOverhead less.
const segmentMTU = 1500

// privateNetworks are pairs of a management network and an underlay. A lab
// takes the first pair that its hosts' network does not meet; nothing outside
// the lab sees them. The first is for tests of networks (RFC 2544, section
// 12), the second for providers (RFC 6598), the third for private use (RFC
// 1918).
var privateNetworks = [][2]string{
	{"198.18.0.0/16", "198.19.0.0/16"},
	{"100.64.0.0/16", "100.65.0.0/16"},
	{"172.30.0.0/16", "172.31.0.0/16"},
}

// planMachines plans all of it for a lab with isolated switches, from
// topo.Parse. The n-th switch of the lab has the n-th address after that of
// the supervisor, which is .1, in both networks.
func planMachines(lab *topo.Lab) (machines, error) {
	networks, err := choosePrivate(lab)
	if err != nil {
		return machines{}, err
	}
	m := machines{
		management: link.Segment{Name: managementName, Addr: station(networks[0], 1), MTU: segmentMTU},
		underlay:   link.Segment{Name: underlayName, MTU: segmentMTU},
	}
	number := map[string]int{}
	for _, n := range lab.Nodes {
		if !isSwitch(n) {
			continue
		}
		number[n.Name] = len(number) + 2
		m.management.Stations = append(m.management.Stations, link.Station{
			End: link.End{NetNS: n.Name, Device: managementDevice}, Addr: station(networks[0], number[n.Name]),
		})
	}
	if last := len(number) + 1; last >= 1<<(32-networks[0].Bits())-1 {
		return machines{}, fmt.Errorf("plan the management network: %d switches are more than %s has addresses for", len(number), networks[0])
	}
	tunnelled := map[string]bool{}
	for i, l := range lab.Links {
		if l.A.Port == 0 || l.B.Port == 0 {
			continue
		}
		a, b := link.End{NetNS: l.A.Node, Device: patchName(l.A)}, link.End{NetNS: l.B.Node, Device: patchName(l.B)}
		if l.Tunnel != topo.TunnelVXLAN {
			m.trunks = append(m.trunks, link.Trunk{A: a, B: b, MTU: l.MTU})
			continue
		}
		at := [2]netip.Addr{station(networks[1], number[l.A.Node]).Addr(), station(networks[1], number[l.B.Node]).Addr()}
		vni := uint32(i + 1)
		m.tunnels = append(m.tunnels,
			link.Tunnel{End: a, VNI: vni, Local: at[0], Remote: at[1], MTU: l.MTU},
			link.Tunnel{End: b, VNI: vni, Local: at[1], Remote: at[0], MTU: l.MTU})
		tunnelled[l.A.Node], tunnelled[l.B.Node] = true, true
	}
	for _, n := range lab.Nodes {
		if tunnelled[n.Name] {
			m.underlay.Stations = append(m.underlay.Stations, link.Station{
				End: link.End{NetNS: n.Name, Device: underlayDevice}, Addr: station(networks[1], number[n.Name]),
			})
		}
	}
	return m, nil
}

// choosePrivate finds a pair of networks that the lab's own does not meet.
func choosePrivate(lab *topo.Lab) ([2]netip.Prefix, error) {
	taken := func(p netip.Prefix) bool {
		for _, n := range lab.Nodes {
			if n.IPv4.IsValid() && n.IPv4.Overlaps(p) {
				return true
			}
		}
		return false
	}
	for _, pair := range privateNetworks {
		a, b := netip.MustParsePrefix(pair[0]), netip.MustParsePrefix(pair[1])
		if !taken(a) && !taken(b) {
			return [2]netip.Prefix{a, b}, nil
		}
	}
	return [2]netip.Prefix{}, errors.New("plan the management network: the hosts' addresses meet all networks that it could have; give them a longer prefix")
}

// station is the n-th address of a network, with the network's prefix length.
func station(network netip.Prefix, n int) netip.Prefix {
	b := network.Masked().Addr().As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	v += uint32(n)
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), network.Bits())
}

// join lays all of it. The namespaces of the switches must be there.
func (m machines) join() error {
	if err := link.AddSegment(m.management); err != nil {
		return err
	}
	if len(m.underlay.Stations) > 0 {
		if err := link.AddSegment(m.underlay); err != nil {
			return err
		}
	}
	for _, t := range m.trunks {
		if err := link.Join(t); err != nil {
			return err
		}
	}
	for _, t := range m.tunnels {
		if err := link.AddTunnel(t); err != nil {
			return err
		}
	}
	return nil
}
