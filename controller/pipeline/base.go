package pipeline

import (
	"maps"
	"slices"

	"meshlab.dev/meshlab/controller/flow"
)

// arpRequest and arpReply are the operations of ARP (RFC 826).
const (
	arpRequest = 1
	arpReply   = 2
)

// groupBit is the bit of an Ethernet address that makes it a broadcast or
// multicast address (IEEE 802, section 8.2).
const groupBit = 1 << 40

// base writes what depends on the switch's place in the network alone, and on
// no host that is elsewhere.
func (c *Compiler) base(s *sheet) {
	c.switching(s)
	if !c.fabric.Mesh {
		s.add(TableIdentity, priorityMiss, nil, do(next(TableL2)), "everything is switched by its MAC address")
		return
	}
	c.identity(s)
	c.arp(s)
	c.classify(s)
	c.conntrack(s)
	c.translate(s)
	c.answers(s)
	c.trace(s)
	c.punts(s)
}

// switching writes the ends of table 90: a tree for broadcast.
func (c *Compiler) switching(s *sheet) {
	ports := slices.Clone(c.dp.Flood)
	slices.Sort(ports)
	var flood []flow.Action
	for _, port := range slices.Compact(ports) {
		flood = append(flood, flow.Output{Port: port})
	}
	s.add(TableL2, priorityDefault, flow.Match{flow.EthDst.Masked(groupBit, groupBit)}, flood,
		"broadcast and multicast along the tree")
	s.add(TableL2, priorityMiss, nil, nil, "no host has this MAC address")
	if c.dp.Split && c.fabric.Mesh {
		s.add(TableArrived, priorityMiss, nil, slices.DeleteFunc(slices.Clone(flood), func(a flow.Action) bool {
			_, trunk := c.dp.Trunks[a.(flow.Output).Port]
			return trunk
		}), "broadcast and multicast of another switch, which sends it to all: to hosts")
	}
}

// identity writes table 0: who sends is told by the access port, and
// whatever says otherwise is dropped. Other switches have checked already.
func (c *Compiler) identity(s *sheet) {
	for _, h := range c.local {
		in, mac, addr := flow.InputPort.Is(uint64(h.port)), h.MAC.value(), addrValue(h.Addr)
		arp := flow.EthType.Is(flow.EthTypeARP)
		s.add(TableIdentity, priorityFirst, flow.Match{in, flow.EthSrc.Is(mac), flow.EthType.Is(flow.EthTypeIPv4), flow.IPv4Src.Is(addr)},
			do(next(TableClassify)), "IP of %s, which is at port %d", h.Name, h.port)
		s.add(TableIdentity, priorityFirst, flow.Match{in, flow.EthSrc.Is(mac), arp, flow.ARPSHA.Is(mac), flow.ARPSPA.Is(addr)},
			do(next(TableARP)), "ARP of %s", h.Name)
		s.add(TableIdentity, priorityFirst, flow.Match{in, flow.EthSrc.Is(mac), arp, flow.ARPSHA.Is(mac), flow.ARPSPA.Is(0)},
			do(next(TableARP)), "%s asks whether its address is in use (RFC 5227)", h.Name)
		s.count(Counter{Kind: CountSpoofed, Host: h.Name}, TableIdentity, priorityDefault, flow.Match{in},
			nil, "not an address of %s", h.Name)
	}
	for _, port := range slices.Sorted(maps.Keys(c.dp.Trunks)) {
		in := flow.InputPort.Is(uint64(port))
		s.add(TableIdentity, priorityFirst, flow.Match{in}, do(next(TableDeliver)), "from another switch")
		if c.dp.Split && c.dp.Trunks[port] == (Peer{}) {
			s.add(TableIdentity, priorityFirst+1, flow.Match{in, flow.EthDst.Masked(groupBit, groupBit)}, do(next(TableArrived)), "from another switch, for everybody")
		}
	}
	s.add(TableIdentity, priorityMain, flow.Match{flow.EthType.Is(flow.EthTypeIPv6)}, nil, "hosts speak IPv6 to find out that nobody does")
	s.add(TableIdentity, priorityMiss, nil, nil, "from a port that leads to no host and no switch")
}

// arp writes table 5: the switch answers for the addresses of the mesh, so
// that no host needs a static entry. Only packets from access ports get here:
// each host is answered by its own switch, once.
func (c *Compiler) arp(s *sheet) {
	for _, a := range []struct {
		addr uint64
		name string
	}{
		{addrValue(c.fabric.VIP), "the virtual address"},
		{addrValue(c.fabric.Hairpin), "the hairpin address"},
	} {
		mac := c.fabric.VIPMAC.value()
		s.add(TableARP, priorityMain,
			flow.Match{flow.EthType.Is(flow.EthTypeARP), flow.ARPOp.Is(arpRequest), flow.ARPTPA.Is(a.addr)},
			do(
				move(flow.EthSrc.All(), flow.EthDst.All()),
				set(flow.EthSrc, mac),
				set(flow.ARPOp, arpReply),
				move(flow.ARPSHA.All(), flow.ARPTHA.All()),
				move(flow.ARPSPA.All(), flow.ARPTPA.All()),
				set(flow.ARPSHA, mac),
				set(flow.ARPSPA, a.addr),
				flow.InPort{},
			), "answer ARP for %s", a.name)
	}
	s.add(TableARP, priorityMiss, nil, do(next(TableL2)), "other ARP is switched")
}

// classify writes tables 10 and 18, and the ends of 12 and 20.
func (c *Compiler) classify(s *sheet) {
	vip, hairpin := addrValue(c.fabric.VIP), addrValue(c.fabric.Hairpin)
	if c.fabric.DNS {
		s.add(TableClassify, priorityFirst, udp(flow.IPv4Dst.Is(vip), flow.UDPDst.Is(dnsPort)), do(next(TableDNS)), "a question to the mesh's DNS")
		s.add(TableClassify, priorityFirst, tcp(flow.IPv4Dst.Is(vip), flow.TCPDst.Is(dnsPort)), do(next(TableDNS)), "a question to the mesh's DNS")
	}
	s.add(TableClassify, priorityMain, tcp(flow.IPv4Dst.Is(vip)), do(next(TableService)), "a call to the mesh")
	s.add(TableClassify, priorityMain, tcp(flow.IPv4Dst.Is(hairpin)), do(next(TableHairpin)), "a service answers a client on its own host")
	s.add(TableClassify, priorityDefault, tcp(flow.TCPFlags.Masked(tcpSYN, tcpSYN|tcpACK)), do(next(TableDirect)), "a connection beside the mesh")
	s.add(TableClassify, priorityDefault, tcp(flow.TCPFlags.Masked(tcpRST, tcpRST|tcpACK)), do(next(TableDirect)), "a reset beside the mesh, perhaps of a stray answer")
	s.add(TableClassify, priorityMiss, nil, do(next(TableDeliver)), "everything else goes to its MAC address")
	// A switch that has lost its connections lets an answer of the mesh pass as
	// it came. The client's kernel does not know it and resets it (RFC 9293,
	// section 3.10.7.1: without ACK), which would end the connection that the
	// client's next packet takes up again. A process that gives up sends ACK.
	s.add(TableStray, priorityMain, tcp(flow.TCPFlags.Masked(tcpRST, tcpRST|tcpACK)), nil, "a reset of an answer that the client does not know")
	s.add(TableStray, priorityMiss, nil, do(next(TableDeliver)), "not a stray reset")
	s.add(TableDirect, priorityMiss, nil, do(next(TableDeliver)), "not to an instance that is called from here")
	for _, h := range c.local {
		s.add(TableDeliver, priorityMain, tcp(flow.EthDst.Is(h.MAC.value())),
			do(load(regOut, uint64(h.port)), next(TableReply)), "TCP to %s: perhaps an answer to it through the mesh", h.Name)
	}
	s.add(TableDeliver, priorityMain, tcp(flow.EthDst.Masked(groupBit, groupBit)), nil, "TCP to everybody, which is never broadcast, would pass the intentions by")
	s.add(TableDeliver, priorityMiss, nil, do(next(TableL2)), "neither TCP nor for a host of this switch")
	s.add(TableService, priorityDefault, tcp(flow.TCPFlags.Masked(tcpRST, tcpRST)), nil, "a reset is never answered")
	s.add(TableService, priorityMiss, tcp(), do(next(TableRefuse)), "nothing is called at this port: refuse the connection")
}

// conntrack writes table 30, and the ends of 32, 34 and 46. A packet of a stored
// connection is known by its mark, also when the tracker calls it invalid
// because it is outside of the window it expects: whether it is acceptable is
// for the two ends to say. A packet from the middle of a connection that is
// not stored, as after a restart of the switch, is treated as a new
// connection: the slots of table 40 bring it to the instance it had, if these
// have not changed.
func (c *Compiler) conntrack(s *sheet) {
	s.add(TableState, priorityMain, tcp(flow.CTMark.Is(0), flow.CTState.Masked(flow.CTInvalid, flow.CTInvalid)),
		nil, "neither a new connection nor a stored one")
	s.add(TableState, priorityMain-1, tcp(flow.CTMark.Is(0), flow.TCPFlags.Masked(tcpRST, tcpRST)),
		nil, "the reset of a connection that is not stored")
	s.add(TableState, priorityMain-2, tcp(flow.CTMark.Is(0)), do(next(TableBalance)), "a new connection")
	s.add(TableState, priorityDefault, tcp(flow.TCPFlags.Masked(tcpSYN, tcpSYN|tcpACK)), do(next(TableRepeatedSYN), next(TablePinned)),
		"the client asks again: the instance has not answered")
	s.add(TableState, priorityMiss, tcp(), do(next(TablePinned)), "a stored connection")

	s.add(TablePinned, priorityDefault, tcp(flow.TCPFlags.Masked(tcpSYN, tcpSYN|tcpACK)), do(next(TableBalance)),
		"the port of a connection whose instance is gone is used anew")
	s.add(TablePinned, priorityMiss, tcp(), c.refuse(), "the instance of this connection is gone: reset")
	s.add(TableBindPort, priorityMiss, tcp(), c.refuse(), "a second connection from the same port to the same service: reset")
	s.add(TableLimit, priorityMain, tcp(flow.CTMark.Is(0)), c.refuse(), "the service has as many connections as it may: refuse this one")
	s.add(TableLimit, priorityMiss, tcp(), do(next(c.afterCommit())), "the connection is stored")
}

// refuse hands the packet, as the client sent it, to the controller, which
// answers with a reset.
func (c *Compiler) refuse() []flow.Action {
	return do(
		set(flow.IPv4Dst, addrValue(c.fabric.VIP)),
		move(low16(regBind), flow.TCPDst.All()),
		next(TableRefuse),
	)
}

// translate writes table 50.
func (c *Compiler) translate(s *sheet) {
	for _, h := range c.local {
		s.add(TableTranslate, priorityMain,
			tcp(flow.InputPort.Is(uint64(h.port)), regAddr.Is(addrValue(h.Addr))),
			append(toInstance(),
				set(flow.IPv4Src, addrValue(c.fabric.Hairpin)),
				set(flow.EthDst, h.MAC.value()),
				load(regOut, outInPort),
				next(TableGuard),
			), "the instance is on the client's own host %s: back to it, from %s", h.Name, c.fabric.Hairpin)
	}
	s.add(TableTranslate, priorityDefault, tcp(), append(toInstance(), next(TableL3)), "the destination becomes the instance")
}

// toInstance makes the instance in the registers the destination.
func toInstance() []flow.Action {
	return do(move(regAddr.All(), flow.IPv4Dst.All()), move(low16(regPort), flow.TCPDst.All()))
}

// host writes tables 60 and 90 for one host: an instance's host is known by
// its address, and plain Ethernet switching is by known addresses.
func (c *Compiler) host(s *sheet, name string) {
	to, _ := c.way(name)
	s.add(TableL2, priorityMain, flow.Match{flow.EthDst.Is(to.MAC.value())}, do(flow.Output{Port: to.port}), "to %s", name)
	if !c.fabric.Mesh {
		return
	}
	match := flow.Match{flow.EthType.Is(flow.EthTypeIPv4), flow.IPv4Dst.Is(addrValue(to.Addr))}
	if to.local {
		s.add(TableL3, priorityMain, match, do(set(flow.EthDst, to.MAC.value()), load(regOut, uint64(to.port)), next(TableGuard)),
			"%s is %s, at this switch", to.Addr, name)
	} else {
		s.add(TableL3, priorityMain, match, do(set(flow.EthDst, to.MAC.value()), next(TableL2)), "%s is %s", to.Addr, name)
	}
}

// answers writes the ends of tables 70 and 75, and 72 and 74.
func (c *Compiler) answers(s *sheet) {
	s.add(TableReply, priorityMiss, nil, do(next(TableGuard)), "not from an instance that is called from here")
	for _, h := range c.local {
		s.add(TableHairpin, priorityMain, tcp(flow.InputPort.Is(uint64(h.port))),
			do(
				set(flow.IPv4Dst, addrValue(h.Addr)),
				set(flow.EthDst, h.MAC.value()),
				load(regOut, outInPort),
				next(TableReply),
			), "the client is %s itself", h.Name)
	}
	s.add(TableReset, priorityMain, tcp(flow.TCPFlags.Masked(tcpRST, tcpRST)), do(next(TableResetSeen), next(c.afterReset())),
		"the instance resets a connection")
	s.add(TableReset, priorityMiss, tcp(), do(next(c.afterReset())), "not a reset")
	s.add(TableRestore, priorityMiss, tcp(), do(
		move(regAddr.All(), flow.IPv4Src.All()),
		move(low16(regPort), flow.TCPSrc.All()),
		next(TableGuard),
	), "a direct connection to the instance: unchanged")
}
