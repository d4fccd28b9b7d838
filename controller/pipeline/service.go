package pipeline

import (
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/mesh"
)

// identityOf is the source address that says that a service calls.
func (c *Compiler) identityOf(service string) uint64 {
	return identityPrefix | uint64(c.names.of(service))
}

// call writes table 20 for one upstream of a local host.
func (c *Compiler) call(s *sheet, u mesh.Upstream) {
	from, p := c.byAddr[u.Client], c.poolOf(u.Destination)
	match := tcp(flow.InputPort.Is(uint64(from.port)), flow.IPv4Src.Is(addrValue(u.Client)), flow.TCPDst.Is(uint64(u.BindPort)))
	actions := do(
		load(regService, uint64(c.names.of(u.Destination))),
		load(regBind, uint64(u.BindPort)),
		set(flow.EthSrc, c.identityOf(u.Source)),
		set(flow.IPv4Dst, canonicalNet|uint64(p.number)),
		set(flow.TCPDst, canonicalPort),
		track(p.zone, TableState),
	)
	s.count(Counter{Kind: CountOpened, Source: u.Source, Destination: u.Destination}, TableService, priorityFirst,
		append(match, flow.TCPFlags.Masked(tcpSYN, tcpSYN|tcpACK)), actions, "%s on %s opens a connection to %s at %s:%d",
		u.Source, from.Name, u.Destination, c.fabric.VIP, u.BindPort)
	s.count(Counter{Kind: CountSent, Source: u.Source, Destination: u.Destination}, TableService, priorityMain,
		match, actions, "%s on %s calls %s at %s:%d", u.Source, from.Name, u.Destination, c.fabric.VIP, u.BindPort)
	if c.fabric.DNS && u.BindPort == dnsPort {
		s.warn("host %s: %s wants %s at bind port %d, which is that of the mesh's DNS: choose another local_bind_port",
			from.Name, u.Source, u.Destination, dnsPort)
	}
}

// bind writes table 34. Two clients on one host that call one service at two
// bind ports may have the same port of their own; their connections to an
// instance would then be the same to it, so the second is refused.
func (c *Compiler) bind(s *sheet, port uint16) {
	s.add(TableBindPort, priorityMain, tcp(regBind.Is(uint64(port)), regPinned.Is(uint64(port))),
		do(next(c.forward())), "the stored connection is one to bind port %d", port)
}

// instance is an instance that this switch can reach, and that no other
// service has a better claim to.
type instance struct {
	*mesh.Instance
	number uint32 // in ct_mark
}

// usable are the instances of a service that connections can go to. An answer
// is told by its source address and port, so these belong to one service only.
func (c *Compiler) usable(svc *mesh.Service, warn func(format string, args ...any)) []instance {
	out := make([]instance, 0, len(svc.Instances))
	lost, first := 0, -1 // instances that are on no host, and the first of them
	for n := range svc.Instances {
		i := &svc.Instances[n]
		if !c.reachable[i.Addr.Addr()] {
			if i.Healthy { // one that has just gone is not missed
				if lost++; first < 0 {
					first = n
				}
			}
			continue
		}
		if owner, id := c.owner(i.Addr); owner != svc.Name {
			warn("services %s and %s both have an instance at %s: only %s gets connections there", owner, svc.Name, i.Addr, owner)
			continue
		} else if id != i.ID {
			continue // the same address twice in one service
		}
		out = append(out, instance{i, c.marks.of(markKey(i.Addr))})
	}
	if lost == 1 {
		warn("service %s: instance %s at %s is on no host of this network: it gets no connections", svc.Name, svc.Instances[first].ID, svc.Instances[first].Addr)
	} else if lost > 1 {
		warn("service %s: instance %s at %s and %d others are on no host of this network: they get no connections", svc.Name, svc.Instances[first].ID, svc.Instances[first].Addr, lost-1)
	}
	return out
}

// owner tells the service, and the instance of it, that an address and port
// belong to: a healthy instance has precedence, then the service whose name
// sorts first.
func (c *Compiler) owner(addr addrPort) (service, id string) {
	healthy := false
	for _, name := range c.claims[addr] {
		svc := c.services[name]
		for n := range svc.Instances {
			i := &svc.Instances[n]
			if i.Addr != addr {
				continue
			}
			if service == "" || i.Healthy && !healthy || i.Healthy == healthy && name < service {
				service, id, healthy = name, i.ID, i.Healthy
			}
		}
	}
	return service, id
}

// instances writes tables 12, 32, 45, 70 and 75: all instances are known
// there whatever their health, so that running connections go on.
func (c *Compiler) instances(s *sheet, name string) {
	svc, p := c.services[name], c.poolOf(name)
	if svc == nil {
		return
	}
	limited := c.limited(name)
	for _, i := range c.usable(svc, s.warn) {
		addr, port := addrValue(i.Addr.Addr()), uint64(i.Addr.Port())
		s.add(TableDirect, priorityMain, tcp(flow.IPv4Dst.Is(addr), flow.TCPDst.Is(port)),
			do(
				set(flow.IPv4Dst, canonicalNet|uint64(p.number)),
				set(flow.TCPDst, canonicalPort),
				flow.CT{Zone: p.zone},
				set(flow.IPv4Dst, addr),
				set(flow.TCPDst, port),
				next(TableStray),
			), "directly to %s (%s) of %s: forget a closed connection from the same port", i.ID, i.Addr, name)
		s.add(TablePinned, priorityMain, tcp(flow.CTMark.Is(uint64(i.number))),
			do(
				load(regAddr, addr),
				load(regPort, port),
				load(regInstance, uint64(i.number)),
				move(labelBind(), low16(regPinned)),
				next(TableBindPort),
			), "a connection to %s stays at %s (%s)", name, i.ID, i.Addr)
		commit := flow.CT{Commit: true, Zone: p.zone, Exec: do(
			move(regInstance.All(), flow.CTMark.All()),
			move(low16(regBind), labelBind()),
		)}
		actions := do(load(regAddr, addr), load(regPort, port))
		if limited {
			table := TableLimit
			commit.Table = &table
			actions = append(actions, commit)
		} else {
			actions = append(actions, commit, next(c.afterCommit()))
		}
		s.count(Counter{Kind: CountChosen, Destination: name, Instance: i.ID}, TableCommit, priorityMain,
			tcp(regInstance.Is(uint64(i.number))), actions, "store that the connection is to %s (%s) of %s", i.ID, i.Addr, name)
		s.add(TableReply, priorityMain, tcp(flow.IPv4Src.Is(addr), flow.TCPSrc.Is(port)),
			do(
				load(regAddr, addr),
				load(regPort, port),
				load(regInstance, uint64(i.number)),
				set(flow.IPv4Src, canonicalNet|uint64(p.number)),
				set(flow.TCPSrc, canonicalPort),
				track(p.zone, TableReset),
			), "%s (%s) of %s answers: through the mesh?", i.ID, i.Addr, name)
		s.count(Counter{Kind: CountReceived, Destination: name, Instance: i.ID}, TableRestore, priorityMain,
			tcp(regInstance.Is(uint64(i.number)), flow.CTMark.Is(uint64(i.number))),
			do(
				set(flow.IPv4Src, addrValue(c.fabric.VIP)),
				move(labelBind(), flow.TCPSrc.All()),
				set(flow.EthSrc, c.fabric.VIPMAC.value()),
				out(),
			), "an answer of %s to a call of %s leaves as the virtual address", i.ID, name)
	}
}
