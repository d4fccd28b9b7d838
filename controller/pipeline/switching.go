package pipeline

import (
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

// switching writes table 90: plain Ethernet switching with known addresses
// and a tree for broadcast.
func (c *compiler) switching(hosts map[string]Host) {
	for _, name := range sortedKeys(c.ways) {
		c.add(TableL2, priorityMain, flow.Match{flow.EthDst.Is(hosts[name].MAC.value())},
			do(flow.Output{Port: c.ways[name]}), "to %s", name)
	}
	ports := slices.Clone(c.dp.Flood)
	slices.Sort(ports)
	var flood []flow.Action
	for _, port := range slices.Compact(ports) {
		flood = append(flood, flow.Output{Port: port})
	}
	c.add(TableL2, priorityDefault, flow.Match{flow.EthDst.Masked(groupBit, groupBit)}, flood,
		"broadcast and multicast along the tree")
	c.add(TableL2, priorityMiss, nil, nil, "no host has this MAC address")
}

// classify writes tables 0 and 15.
func (c *compiler) classify() {
	c.add(TableClassify, priorityMiss, nil, do(next(TableDeliver)), "everything else goes to its MAC address")
	c.add(TableDeliver, priorityMiss, nil, do(next(TableL2)), "neither TCP nor for a host of this switch")
	vip, hairpin := addrValue(c.fabric.VIP), addrValue(c.fabric.Hairpin)
	for _, h := range c.local {
		in := flow.InputPort.Is(uint64(h.port))
		c.add(TableClassify, priorityFirst, flow.Match{flow.EthType.Is(flow.EthTypeARP), in},
			do(next(TableARP)), "ARP from %s", h.Name)
		c.add(TableClassify, priorityFirst, tcp(in, flow.IPv4Dst.Is(vip)),
			do(next(TableService)), "%s calls the mesh", h.Name)
		c.add(TableClassify, priorityFirst, tcp(in, flow.IPv4Dst.Is(hairpin)),
			do(next(TableHairpin)), "a service on %s answers a client on %s", h.Name, h.Name)
		c.add(TableClassify, priorityMain, tcp(in, flow.TCPFlags.Masked(tcpSYN, tcpSYN|tcpACK)),
			do(next(TableDirect)), "%s opens a connection", h.Name)
		c.add(TableDeliver, priorityMain, tcp(flow.EthDst.Is(h.MAC.value())),
			do(load(regOut, uint64(h.port)), next(TableReply)), "TCP to %s: perhaps an answer to it through the mesh", h.Name)
	}
}

// arp writes table 5: the switch answers for the addresses of the mesh, so
// that no host needs a static entry. Only packets from access ports get here:
// each host is answered by its own switch, once.
func (c *compiler) arp() {
	for _, a := range []struct {
		addr uint64
		name string
	}{
		{addrValue(c.fabric.VIP), "the virtual address"},
		{addrValue(c.fabric.Hairpin), "the hairpin address"},
	} {
		mac := c.fabric.VIPMAC.value()
		c.add(TableARP, priorityMain,
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
	c.add(TableARP, priorityMiss, nil, do(next(TableL2)), "other ARP is switched")
}

// hosts writes table 60: an instance's host is known by its address.
func (c *compiler) hosts(hosts map[string]Host) {
	for _, name := range sortedKeys(c.ways) {
		h := hosts[name]
		c.add(TableL3, priorityMain, flow.Match{flow.EthType.Is(flow.EthTypeIPv4), flow.IPv4Dst.Is(addrValue(h.Addr))},
			do(set(flow.EthDst, h.MAC.value()), next(TableL2)), "%s is %s", h.Addr, name)
	}
}
