package pipeline

import (
	"slices"

	"meshlab.dev/meshlab/controller/flow"
)

// forward writes tables 20 to 50: from a client to an instance.
func (c *compiler) forward(v view) {
	c.service(v)
	c.state()
	c.pinned(v)
	c.balance(v)
	c.commit()
	c.translate()
}

// service writes table 20.
func (c *compiler) service(v view) {
	for _, u := range v.calls {
		c.add(TableService, priorityMain,
			tcp(flow.InputPort.Is(uint64(u.from.port)), flow.IPv4Src.Is(addrValue(u.Client)), flow.TCPDst.Is(uint64(u.BindPort))),
			do(
				load(regService, uint64(u.service)),
				load(regBind, uint64(u.BindPort)),
				set(flow.IPv4Dst, canonicalNet|uint64(u.service)),
				set(flow.TCPDst, canonicalPort),
				track(TableState),
			), "%s on %s calls %s at %s:%d", u.Source, u.from.Name, u.Destination, c.fabric.VIP, u.BindPort)
	}
	c.add(TableService, priorityDefault, tcp(flow.TCPFlags.Masked(tcpRST, tcpRST)), nil, "a reset is never answered")
	c.add(TableService, priorityMiss, tcp(), do(toController()), "nothing is called at this port: refuse the connection")
}

// state writes table 30. A packet of a stored connection is known by its
// mark, also when the tracker calls it invalid because it is outside of the
// window it expects: whether it is acceptable is for the two ends to say. A
// packet from the middle of a connection that is not stored, as after a
// restart of the switch, is treated as a new connection: with one instance
// it goes on, with several the wrong one answers with a reset.
func (c *compiler) state() {
	c.add(TableState, priorityMain, tcp(flow.CTMark.Is(0), flow.CTState.Masked(flow.CTInvalid, flow.CTInvalid)),
		nil, "neither a new connection nor a stored one")
	c.add(TableState, priorityMain-1, tcp(flow.CTMark.Is(0), flow.TCPFlags.Masked(tcpRST, tcpRST)),
		nil, "the reset of a connection that is not stored")
	c.add(TableState, priorityDefault, tcp(flow.CTMark.Is(0)), do(next(TableBalance)), "a new connection")
	c.add(TableState, priorityMiss, tcp(), do(next(TablePinned)), "a stored connection")
}

// pinned writes tables 32 and 34: a stored connection goes to its instance
// whatever the instance's health, as long as the registry lists it. Two
// clients on one host that call one service at two bind ports may have the
// same port of their own; their connections to an instance would then be
// the same to it, so the second is refused.
func (c *compiler) pinned(v view) {
	for _, i := range v.instances {
		c.add(TablePinned, priorityMain, tcp(flow.CTMark.Is(uint64(i.number))),
			do(
				load(regAddr, addrValue(i.Addr.Addr())),
				load(regPort, uint64(i.Addr.Port())),
				move(labelBind(), low16(regPinned)),
				next(TableBindPort),
			), "a connection to %s stays at %s (%s)", i.service, i.ID, i.Addr)
	}
	c.add(TablePinned, priorityDefault, tcp(flow.TCPFlags.Masked(tcpSYN, tcpSYN|tcpACK)), do(next(TableBalance)),
		"the port of a connection whose instance is gone is used anew")
	c.add(TablePinned, priorityMiss, tcp(), c.refuse(), "the instance of this connection is gone: reset")
	var ports []uint16
	for _, u := range v.calls {
		ports = append(ports, u.BindPort)
	}
	slices.Sort(ports)
	for _, port := range slices.Compact(ports) {
		c.add(TableBindPort, priorityMain, tcp(regBind.Is(uint64(port)), regPinned.Is(uint64(port))),
			do(next(TableTranslate)), "the stored connection is one to bind port %d", port)
	}
	c.add(TableBindPort, priorityMiss, tcp(), c.refuse(), "a second connection from the same port to the same service: reset")
}

// maxBuckets is how many instances of one service get new connections. A
// group must fit into one message, whose length has 16 bits (OpenFlow 1.3.5,
// section 7.1), and a bucket here takes some 100 of its 65,535 bytes.
const maxBuckets = 512

// balance writes table 40.
func (c *compiler) balance(v view) {
	for _, s := range v.services {
		match := tcp(regService.Is(uint64(s.number)))
		switch len(s.healthy) {
		case 0:
			c.add(TableBalance, priorityMain, match, c.refuse(), "%s has no healthy instance: refuse the connection", s.name)
		case 1:
			i := s.healthy[0]
			c.add(TableBalance, priorityMain, match, choose(i), "%s is %s (%s)", s.name, i.ID, i.Addr)
		default:
			g := flow.Group{ID: s.number, Type: flow.GroupSelect, Reason: "healthy instances of " + s.name}
			chosen := s.healthy
			if len(chosen) > maxBuckets {
				c.warn("service %s has %d healthy instances: only the first %d get new connections", s.name, len(chosen), maxBuckets)
				chosen = chosen[:maxBuckets]
			}
			for _, i := range chosen {
				g.Buckets = append(g.Buckets, flow.Bucket{Weight: i.weight, Actions: choose(i)})
			}
			c.groups = append(c.groups, g)
			c.add(TableBalance, priorityMain, match, do(flow.UseGroup{ID: g.ID}), "%s has %d healthy instances", s.name, len(s.healthy))
		}
	}
}

func choose(i instance) []flow.Action {
	return do(
		load(regAddr, addrValue(i.Addr.Addr())),
		load(regPort, uint64(i.Addr.Port())),
		load(regInstance, uint64(i.number)),
		next(TableCommit),
	)
}

// refuse hands the packet, as the client sent it, to the controller, which
// answers with a reset.
func (c *compiler) refuse() []flow.Action {
	return do(
		set(flow.IPv4Dst, addrValue(c.fabric.VIP)),
		move(low16(regBind), flow.TCPDst.All()),
		toController(),
	)
}

// commit writes table 45.
func (c *compiler) commit() {
	c.add(TableCommit, priorityMain, tcp(), do(
		flow.CT{Commit: true, Zone: zone, Exec: do(
			move(regInstance.All(), flow.CTMark.All()),
			move(low16(regBind), labelBind()),
		)},
		next(TableTranslate),
	), "store the instance and the bind port of the connection")
}

// translate writes table 50.
func (c *compiler) translate() {
	for _, h := range c.local {
		c.add(TableTranslate, priorityMain,
			tcp(flow.InputPort.Is(uint64(h.port)), regAddr.Is(addrValue(h.Addr))),
			append(toInstance(),
				set(flow.IPv4Src, addrValue(c.fabric.Hairpin)),
				set(flow.EthSrc, c.fabric.VIPMAC.value()),
				set(flow.EthDst, h.MAC.value()),
				flow.InPort{},
			), "the instance is on the client's own host %s: back to it, from %s", h.Name, c.fabric.Hairpin)
	}
	c.add(TableTranslate, priorityDefault, tcp(), append(toInstance(), next(TableL3)), "the destination becomes the instance")
}

// toInstance makes the instance in the registers the destination.
func toInstance() []flow.Action {
	return do(move(regAddr.All(), flow.IPv4Dst.All()), move(low16(regPort), flow.TCPDst.All()))
}
