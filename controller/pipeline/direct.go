package pipeline

import "meshlab.dev/meshlab/controller/flow"

// direct writes tables 10 and 12: the first packet of a connection that a
// local host opens to an instance without the virtual address.
func (c *compiler) direct(v view) {
	for _, i := range v.instances {
		addr, port := addrValue(i.Addr.Addr()), uint64(i.Addr.Port())
		c.add(TableDirect, priorityMain, tcp(flow.IPv4Dst.Is(addr), flow.TCPDst.Is(port)),
			do(
				load(regAddr, addr),
				load(regPort, port),
				load(regInstance, uint64(i.number)),
				set(flow.IPv4Dst, canonicalNet|uint64(i.serviceNumber)),
				set(flow.TCPDst, canonicalPort),
				track(TableFree),
			), "directly to %s (%s) of %s: is the client's port free?", i.ID, i.Addr, i.service)
		c.add(TableFree, priorityMain, tcp(regInstance.Is(uint64(i.number)), flow.CTMark.Is(uint64(i.number))),
			append(toInstance(), toController()),
			"the mesh has a connection from the same port to %s: refuse the direct one", i.ID)
	}
	c.add(TableDirect, priorityMiss, nil, do(next(TableDeliver)), "not to an instance that is called from here")
	c.add(TableFree, priorityMiss, tcp(), append(toInstance(), next(TableDeliver)), "a direct connection to an instance: unchanged")
}
