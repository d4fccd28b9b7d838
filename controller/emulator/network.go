package emulator

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"meshlab.dev/meshlab/controller/flow"
)

// Port is a port of a switch of a Network.
type Port struct {
	Switch string
	Port   uint32
}

// String is "s1:3".
func (p Port) String() string { return fmt.Sprintf("%s:%d", p.Switch, p.Port) }

// Network is several switches and hosts, joined by wires. A host has one
// port and no address of its own: it takes what is delivered.
type Network struct {
	switches map[string]*Switch
	wires    map[Port]Port
	hosts    map[string]Port
	byPort   map[Port]string
}

// NewNetwork is a network without wires.
func NewNetwork(switches map[string]*Switch) *Network {
	return &Network{switches: switches, wires: map[Port]Port{}, hosts: map[string]Port{}, byPort: map[Port]string{}}
}

// Wire joins two ports of switches.
func (n *Network) Wire(a, b Port) { n.wires[a], n.wires[b] = b, a }

// Attach joins a host to a port.
func (n *Network) Attach(host string, p Port) { n.hosts[host], n.byPort[p] = p, host }

// Delivery is a packet that came to a host.
type Delivery struct {
	Host   string
	Packet Packet
}

// Sent tells what became of a packet.
type Sent struct {
	Delivered    []Delivery
	Lost         []Lost // copies that left by ports that lead nowhere
	ToController []Punt
	Hops         []Hop // the switches that were met, in this order
	Tracked      int   // passes through connection tracking, commits not counted
}

// Lost is a packet that left by a port at which there is neither a wire nor a
// host.
type Lost struct {
	At     Port
	Packet Packet
}

// Hop is what one switch did.
type Hop struct {
	At     Port // of arrival
	Packet Packet
	Result Result
}

// Send sends a packet from a host and follows it, and its copies, to the
// hosts. A packet that meets switches again and again is an error.
func (n *Network) Send(host string, p Packet) (Sent, error) {
	at, ok := n.hosts[host]
	if !ok {
		return Sent{}, fmt.Errorf("send %v: no host %s", p, host)
	}
	return n.Inject(at, p)
}

// Inject does the same for a packet that comes in by a port of a switch, or
// that the controller sends through the tables in the name of that port.
func (n *Network) Inject(at Port, p Packet) (Sent, error) {
	var sent Sent
	type arrival struct {
		at Port
		p  Packet
	}
	most := 2*len(n.switches) + maxDepth // generous: what is flooded meets each once
	for queue := []arrival{{at, p}}; len(queue) > 0; queue = queue[1:] {
		if len(sent.Hops) > most {
			return sent, fmt.Errorf("send %v into %s: it met %d switches, of %d that there are; the network has a loop", p, at, most, len(n.switches))
		}
		next := queue[0]
		s, ok := n.switches[next.at.Switch]
		if !ok {
			return sent, fmt.Errorf("send %v into %s: no switch %s", p, at, next.at.Switch)
		}
		r, err := s.Trace(next.at.Port, next.p)
		if err != nil {
			return sent, fmt.Errorf("switch %s: %w", next.at.Switch, err)
		}
		sent.Hops = append(sent.Hops, Hop{At: next.at, Packet: next.p, Result: r})
		for _, punt := range r.ToController {
			punt.Switch = next.at.Switch
			sent.ToController = append(sent.ToController, punt)
		}
		sent.Tracked += passes(r.Path)
		for _, out := range r.Outputs {
			leave := Port{next.at.Switch, out.Port}
			if h, ok := n.byPort[leave]; ok {
				sent.Delivered = append(sent.Delivered, Delivery{h, out.Packet})
			} else if other, ok := n.wires[leave]; ok {
				queue = append(queue, arrival{other, out.Packet})
			} else {
				sent.Lost = append(sent.Lost, Lost{leave, out.Packet})
			}
		}
	}
	return sent, nil
}

// Choices tells where p would go from each of n source ports, from its own on:
// the destinations of what is delivered, which name the instances, and the
// zero AddrPort for what is not. Nothing is remembered: neither connections
// nor learned flows.
func (n *Network) Choices(host string, p Packet, ports int) (map[uint16]netip.AddrPort, error) {
	field := flow.TCPSrc
	if p[flow.IPProto] == flow.IPProtoUDP {
		field = flow.UDPSrc
	}
	for _, s := range n.switches {
		ct, learned := s.ct.clone(), slices.Clone(s.learned)
		defer func() { s.ct, s.learned = ct, learned }()
	}
	out := make(map[uint16]netip.AddrPort, ports)
	for i := range ports {
		one := maps.Clone(p)
		one[field] = (p[field] + uint64(i)) & 0xffff
		sent, err := n.Send(host, one)
		if err != nil {
			return nil, err
		}
		out[uint16(one[field])] = netip.AddrPort{}
		for _, d := range sent.Delivered {
			out[uint16(one[field])] = d.Packet.Dst()
		}
	}
	return out, nil
}

func passes(path []Step) int {
	n := 0
	for _, s := range path {
		for _, a := range s.Flow.Actions {
			if ct, ok := a.(flow.CT); ok && ct.Table != nil {
				n++
			}
		}
	}
	return n
}
