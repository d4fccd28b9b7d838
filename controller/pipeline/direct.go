package pipeline

import "meshlab.dev/meshlab/controller/flow"

// direct writes table 10: the first packet of a connection that a local host
// opens to an instance without the virtual address is shown to ct under the
// canonical tuple, and goes on as it came.
func (c *compiler) direct(v view) {
	for _, i := range v.instances {
		addr, port := addrValue(i.Addr.Addr()), uint64(i.Addr.Port())
		c.add(TableDirect, priorityMain, tcp(flow.IPv4Dst.Is(addr), flow.TCPDst.Is(port)),
			do(
				set(flow.IPv4Dst, canonicalNet|uint64(i.serviceNumber)),
				set(flow.TCPDst, canonicalPort),
				flow.CT{Zone: zone},
				set(flow.IPv4Dst, addr),
				set(flow.TCPDst, port),
				next(TableDeliver),
			), "directly to %s (%s) of %s: forget a closed connection from the same port", i.ID, i.Addr, i.service)
	}
	c.add(TableDirect, priorityMiss, nil, do(next(TableDeliver)), "not to an instance that is called from here")
}
