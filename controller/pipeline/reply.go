package pipeline

import "meshlab.dev/meshlab/controller/flow"

// reply writes tables 70 to 75: from an instance back to a client. All
// instances are known there whatever their health, so that running
// connections go on.
func (c *compiler) reply(v view) {
	for _, i := range v.instances {
		addr, port := addrValue(i.Addr.Addr()), uint64(i.Addr.Port())
		c.add(TableReply, priorityMain, tcp(flow.IPv4Src.Is(addr), flow.TCPSrc.Is(port)),
			do(
				load(regAddr, addr),
				load(regPort, port),
				load(regInstance, uint64(i.number)),
				set(flow.IPv4Src, canonicalNet|uint64(i.serviceNumber)),
				set(flow.TCPSrc, canonicalPort),
				track(TableRestore),
			), "%s (%s) of %s answers: through the mesh?", i.ID, i.Addr, i.service)
		c.add(TableRestore, priorityMain, tcp(regInstance.Is(uint64(i.number)), flow.CTMark.Is(uint64(i.number))),
			do(
				set(flow.IPv4Src, addrValue(c.fabric.VIP)),
				move(labelBind(), flow.TCPSrc.All()),
				set(flow.EthSrc, c.fabric.VIPMAC.value()),
				flow.OutputReg{From: low16(regOut)},
			), "an answer of %s to a call of %s leaves as the virtual address", i.ID, i.service)
	}
	c.add(TableReply, priorityMiss, nil, do(flow.OutputReg{From: low16(regOut)}), "not from an instance that is called from here")
	c.add(TableRestore, priorityMiss, tcp(), do(
		move(regAddr.All(), flow.IPv4Src.All()),
		move(low16(regPort), flow.TCPSrc.All()),
		flow.OutputReg{From: low16(regOut)},
	), "a direct connection to the instance: unchanged")
	for _, h := range c.local {
		c.add(TableHairpin, priorityMain, tcp(flow.InputPort.Is(uint64(h.port))),
			do(
				set(flow.IPv4Dst, addrValue(h.Addr)),
				set(flow.EthDst, h.MAC.value()),
				load(regOut, outInPort),
				next(TableReply),
			), "the client is %s itself", h.Name)
	}
}
