package emulator

import (
	"fmt"

	"meshlab.dev/meshlab/controller/flow"
)

// Port is a port of a switch of a Network.
type Port struct {
	Switch string
	Port   uint32
}

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
	ToController []Packet
	Tracked      int // passes through connection tracking, commits not counted
}

// Send sends a packet from a host and follows it, and its copies, to the
// hosts. A packet that meets more than maxDepth switches is an error.
func (n *Network) Send(host string, p Packet) (Sent, error) {
	at, ok := n.hosts[host]
	if !ok {
		return Sent{}, fmt.Errorf("send %v: no host %s", p, host)
	}
	var sent Sent
	type arrival struct {
		at Port
		p  Packet
	}
	queue := []arrival{{at, p}}
	for hops := 0; len(queue) > 0; hops++ {
		if hops > maxDepth {
			return sent, fmt.Errorf("send %v from %s: it met more than %d switches; the network has a loop", p, host, maxDepth)
		}
		next := queue[0]
		queue = queue[1:]
		s, ok := n.switches[next.at.Switch]
		if !ok {
			return sent, fmt.Errorf("send %v from %s: no switch %s", p, host, next.at.Switch)
		}
		r, err := s.Trace(next.at.Port, next.p)
		if err != nil {
			return sent, fmt.Errorf("switch %s: %w", next.at.Switch, err)
		}
		sent.ToController = append(sent.ToController, r.ToController...)
		sent.Tracked += passes(r.Path)
		for _, out := range r.Outputs {
			leave := Port{next.at.Switch, out.Port}
			if h, ok := n.byPort[leave]; ok {
				sent.Delivered = append(sent.Delivered, Delivery{h, out.Packet})
			} else if other, ok := n.wires[leave]; ok {
				queue = append(queue, arrival{other, out.Packet})
			}
		}
	}
	return sent, nil
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
