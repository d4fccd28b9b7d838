package pipeline

import "meshlab.dev/meshlab/controller/flow"

// punts writes the tables that hand packets to the controller. What clients
// can provoke is metered by access port, so that no host can take the
// controller away from the others.
func (c *Compiler) punts(s *sheet) {
	for _, h := range c.local {
		id := meterPorts + h.port
		s.meters = append(s.meters, flow.Meter{ID: id, Rate: puntRate, Burst: puntBurst,
			Reason: "what " + h.Name + " may have the controller answer"})
		in := tcp(flow.InputPort.Is(uint64(h.port)))
		s.countFlow(Counter{Kind: CountRefused}, flow.Flow{Table: TableRefuse, Priority: priorityMain, Match: in, Meter: id, Actions: do(toController())},
			"refused: the controller resets the connection of %s", h.Name)
		if c.fabric.DNS {
			s.countFlow(Counter{Kind: CountDNS}, flow.Flow{Table: TableDNS, Priority: priorityMain, Match: flow.Match{flow.InputPort.Is(uint64(h.port))},
				Meter: id, Actions: do(toController())}, "the controller answers %s", h.Name)
		}
	}
	s.meters = append(s.meters,
		flow.Meter{ID: meterDeny, Rate: puntRate, Burst: puntBurst, Reason: "denied packets that the controller answers with resets"},
		flow.Meter{ID: meterSigns, Rate: puntRate, Burst: puntBurst, Reason: "signs of failing instances"})
	s.add(TableRefuse, priorityMiss, nil, nil, "a connection that no local host opens")
	s.countFlow(Counter{Kind: CountResets}, flow.Flow{Table: TableResetSeen, Priority: priorityMiss, Match: tcp(), Meter: meterSigns, Actions: do(toController())},
		"the controller notes the reset")
	s.countFlow(Counter{Kind: CountRepeated}, flow.Flow{Table: TableRepeatedSYN, Priority: priorityMiss, Match: tcp(), Meter: meterSigns, Actions: do(toController())},
		"the controller notes that nothing answered")
	s.put(flow.Flow{Table: TableDeny, Priority: priorityMiss, Match: tcp(), Meter: meterDeny, Actions: do(toController())},
		"denied: the controller resets both ends")
}

// Timeouts of learned flows, in seconds: a connection without packets counts
// as ended after the first, and one that has been closed after the second.
const (
	traceIdle = 30
	traceFin  = 1
)

// trace writes tables 47, 49 and 77: for one connection in TraceEvery, told by
// bits of the client's port, the switch learns two flows that count it.
func (c *Compiler) trace(s *sheet) {
	if c.fabric.TraceEvery == 0 {
		return
	}
	sampled := func(port flow.Field) flow.Match {
		// Not the last bit: Linux takes even ports for what it connects
		// (inet_hash_connect, net/ipv4/inet_hashtables.c).
		mask := uint64(c.fabric.TraceEvery-1) << 1
		if mask == 0 {
			return tcp()
		}
		return tcp(port.Masked(0, mask))
	}
	is := func(f flow.Field, v uint64) flow.LearnMatch { return flow.LearnMatch{Dst: f.All(), Value: v} }
	same := func(dst, src flow.Field) flow.LearnMatch { return flow.LearnMatch{Dst: dst.All(), Src: src.All()} }
	learn := func(table uint8, more ...flow.LearnMatch) flow.Action {
		return flow.Learn{
			Table: table, Priority: priorityMain, IdleTimeout: traceIdle, FinIdle: traceFin, Notify: true,
			Match: append([]flow.LearnMatch{is(flow.EthType, flow.EthTypeIPv4), is(flow.IPProto, flow.IPProtoTCP)}, more...),
		}
	}
	s.add(TableLearn, priorityMain, sampled(flow.TCPSrc), do(
		learn(TableForwardSpans, same(flow.IPv4Src, flow.IPv4Src), same(flow.TCPSrc, flow.TCPSrc), same(regBind, regBind), same(regInstance, regInstance)),
		learn(TableReplySpans, same(flow.IPv4Dst, flow.IPv4Src), same(flow.TCPDst, flow.TCPSrc), same(regInstance, regInstance)),
		next(TableForwardTrace),
	), "one connection in %d is traced", c.fabric.TraceEvery)
	s.add(TableForwardTrace, priorityMain, sampled(flow.TCPSrc), do(next(TableForwardSpans), next(TableTranslate)), "count it, if it is traced")
	s.add(TableReplyTrace, priorityMain, sampled(flow.TCPDst), do(next(TableReplySpans), next(TableRestore)), "count it, if it is traced")
	if c.fabric.TraceEvery > 1 {
		s.add(TableLearn, priorityMiss, tcp(), do(next(TableTranslate)), "not traced")
		s.add(TableForwardTrace, priorityMiss, tcp(), do(next(TableTranslate)), "not traced")
		s.add(TableReplyTrace, priorityMiss, tcp(), do(next(TableRestore)), "not traced")
	}
}

// afterCommit is the table behind the storing of a connection.
func (c *Compiler) afterCommit() uint8 {
	if c.fabric.TraceEvery > 0 {
		return TableLearn
	}
	return TableTranslate
}

// forward is the table for packets whose instance is known.
func (c *Compiler) forward() uint8 {
	if c.fabric.TraceEvery > 0 {
		return TableForwardTrace
	}
	return TableTranslate
}

// afterReset is the table for answers that may be those of a connection.
func (c *Compiler) afterReset() uint8 {
	if c.fabric.TraceEvery > 0 {
		return TableReplyTrace
	}
	return TableRestore
}
