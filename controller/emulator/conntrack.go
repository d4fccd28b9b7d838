package emulator

import "meshlab.dev/meshlab/controller/flow"

// tuple names a connection in one direction.
type tuple struct {
	zone             uint16
	proto            uint64
	src, dst         uint64
	srcPort, dstPort uint64
}

func (t tuple) reversed() tuple {
	t.src, t.dst = t.dst, t.src
	t.srcPort, t.dstPort = t.dstPort, t.srcPort
	return t
}

// connection is a stored connection.
type connection struct {
	original tuple
	replied  bool
	mark     uint64
	label    uint64 // low 64 bits
	fins     [2]bool
	reset    bool
}

func (c *connection) closed() bool { return c.reset || c.fins[0] && c.fins[1] }

// tracker keeps connections as Open vSwitch does (ovs-fields(7), "Connection
// Tracking Fields"), without windows and time: an entry lives until a SYN
// replaces a closed one.
type tracker struct {
	byTuple map[tuple]*connection // under both directions
}

// trackable tells whether Open vSwitch keeps connections of such packets
// (extract_l4 and tcp_invalid_flags, lib/conntrack.c and lib/conntrack-tcp.c).
func trackable(p Packet) bool {
	if p[flow.EthType] != flow.EthTypeIPv4 {
		return false
	}
	switch p[flow.IPProto] {
	case flow.IPProtoUDP, flow.IPProtoICMP:
		return true
	case flow.IPProtoTCP:
		flags := p[flow.TCPFlags]
		if flags&SYN != 0 {
			return flags&(RST|FIN) == 0
		}
		return flags&(ACK|RST) != 0
	default:
		return false
	}
}

// clone is a tracker with the same connections and a life of its own.
func (t *tracker) clone() tracker {
	out := tracker{byTuple: make(map[tuple]*connection, len(t.byTuple))}
	for key, c := range t.byTuple {
		if key == c.original {
			own := *c
			out.byTuple[key], out.byTuple[key.reversed()] = &own, &own
		}
	}
	return out
}

// lookup gives the state bits of the packet, and the connection if one is
// stored.
func (t *tracker) lookup(zone uint16, p Packet) (uint64, *connection) {
	if !trackable(p) {
		return flow.CTTracked | flow.CTInvalid, nil
	}
	key := tupleOf(zone, p)
	c, ok := t.byTuple[key]
	flags := p[flow.TCPFlags]
	if ok && c.closed() && flags&SYN != 0 && flags&ACK == 0 {
		delete(t.byTuple, c.original)
		delete(t.byTuple, c.original.reversed())
		ok = false
	}
	if !ok {
		if flags&(SYN|ACK) == SYN|ACK {
			return flow.CTTracked | flow.CTInvalid, nil
		}
		return flow.CTTracked | flow.CTNew, nil
	}
	direction, state := 0, uint64(flow.CTTracked)
	if key == c.original.reversed() {
		direction = 1
		c.replied = true
		state |= flow.CTReply
	}
	if c.replied {
		state |= flow.CTEstablished
	} else {
		state |= flow.CTNew
	}
	if flags&FIN != 0 {
		c.fins[direction] = true
	}
	if flags&RST != 0 {
		c.reset = true
	}
	return state, c
}

// commit stores the packet's connection unless it is stored already.
func (t *tracker) commit(zone uint16, p Packet) *connection {
	key := tupleOf(zone, p)
	if c, ok := t.byTuple[key]; ok {
		return c
	}
	c := &connection{original: key}
	t.byTuple[key], t.byTuple[key.reversed()] = c, c
	return c
}

func tupleOf(zone uint16, p Packet) tuple {
	return tuple{
		zone: zone, proto: p[flow.IPProto],
		src: p[flow.IPv4Src], dst: p[flow.IPv4Dst],
		srcPort: p.srcPort(), dstPort: p.dstPort(),
	}
}
