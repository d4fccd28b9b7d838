package openflow

import "meshlab.dev/meshlab/controller/flow"

// sampleFlows has every match field, exact and masked where a mask is
// allowed, and every action.
func sampleFlows() []flow.Flow {
	ip := flow.EthType.Is(flow.EthTypeIPv4)
	arp := flow.EthType.Is(flow.EthTypeARP)
	tcp := flow.IPProto.Is(flow.IPProtoTCP)
	udp := flow.IPProto.Is(flow.IPProtoUDP)
	table := uint8(31)
	matches := []flow.Match{
		nil,
		{flow.InputPort.Is(1)},
		{flow.InputPort.Is(uint64(flow.PortLocal))},
		{flow.EthSrc.Is(0x000000000001), flow.EthDst.Is(0xffffffffffff)},
		{flow.EthDst.Masked(0x010000000000, 0x010000000000)},
		{flow.EthType.Is(0x88cc)},
		{ip},
		{ip, flow.IPProto.Is(flow.IPProtoICMP)},
		{ip, flow.IPProto.Is(132)},
		{ip, tcp},
		{ip, udp, flow.UDPSrc.Is(53), flow.UDPDst.Is(5353)},
		{ip, udp, flow.UDPDst.Masked(0x100, 0xff00)},
		{flow.TCPDst.Is(9341), flow.TCPSrc.Is(40000), tcp, ip, flow.IPv4Src.Is(0xc0a8010b), flow.IPv4Dst.Is(0xc0a801fa)},
		{ip, flow.IPv4Src.Masked(0x0a000000, 0xff000000), flow.IPv4Dst.Masked(0x0a000003, 0xff0000ff)},
		{ip, tcp, flow.TCPFlags.Masked(0x002, 0x012)},
		{ip, tcp, flow.TCPFlags.Is(0x012)},
		{ip, tcp, flow.TCPFlags.Is(0x000)},
		{ip, tcp, flow.TCPSrc.Masked(0x8000, 0x8000)},
		{arp, flow.ARPOp.Is(1), flow.ARPSPA.Is(0xc0a80101), flow.ARPTPA.Masked(0xc0a80100, 0xffffff00)},
		{arp, flow.ARPSHA.Is(0x000000000001), flow.ARPTHA.Is(0)},
		{ip, flow.CTState.Masked(0x21, 0x21)},
		{ip, flow.CTState.Masked(0x2a, 0xff), flow.CTZone.Is(1), flow.CTMark.Is(5)},
		{ip, flow.CTMark.Masked(0x10, 0xf0)},
		{flow.Reg0.Is(1), flow.Reg7.Is(0xffffffff), flow.Reg3.Masked(0x10, 0xff0)},
		{flow.Reg1.Masked(1, 1)}, // bit 0 alone
		{ip, flow.IPProto.Is(99), flow.Reg2.Is(0), flow.CTMark.Is(0), flow.CTZone.Is(0)},
		{flow.EthType.Is(0)},
		{arp, flow.ARPOp.Is(2), flow.ARPSPA.Is(0), flow.ARPTPA.Is(1), flow.ARPSHA.Is(3), flow.ARPTHA.Is(4), flow.EthSrc.Is(5), flow.InputPort.Is(6)},
		{ip, tcp, flow.TCPFlags.Masked(0xe00, 0xff0)},
		{flow.Reg1.Masked(0, 0x80000000), flow.InputPort.Is(3), ip, flow.CTState.Masked(0x20, 0x24)},
	}
	var flows []flow.Flow
	for i, m := range matches {
		flows = append(flows, flow.Flow{Table: 1, Priority: uint16(100 + i), Match: m})
	}
	actions := [][]flow.Action{
		{flow.Output{Port: 7}},
		{flow.Output{Port: flow.PortLocal}, flow.Output{Port: flow.PortFlood}, flow.Output{Port: flow.PortNormal}, flow.Output{Port: flow.PortAll}},
		{flow.OutputReg{From: flow.Reg1.All()}, flow.OutputReg{From: flow.Reg2.Sub(0, 15)}},
		{flow.InPort{}},
		{flow.Controller{MaxLen: 0xffff}, flow.Controller{MaxLen: 128}},
		{flow.SetField{Field: flow.EthSrc, Value: 0x020000000001}, flow.SetField{Field: flow.EthDst, Value: 0x020000000002}},
		{flow.SetField{Field: flow.IPv4Src, Value: 0xc0a801fa}, flow.SetField{Field: flow.IPv4Dst, Value: 0x0a000001},
			flow.SetField{Field: flow.TCPSrc, Value: 1}, flow.SetField{Field: flow.TCPDst, Value: 65535}},
		{flow.SetField{Field: flow.Reg4, Value: 0xdeadbeef}, flow.SetField{Field: flow.Reg5, Value: 0}},
		{flow.Load{Dst: flow.Reg0.All(), Value: 1}, flow.Load{Dst: flow.Reg0.Sub(0, 0), Value: 1}, flow.Load{Dst: flow.Reg0.Sub(31, 31), Value: 0},
			flow.Load{Dst: flow.Reg0.Sub(4, 19), Value: 0xffff}, flow.Load{Dst: flow.InputPort.All(), Value: 0}},
		{flow.Move{Src: flow.EthSrc.All(), Dst: flow.EthDst.All()}, flow.Move{Src: flow.Reg0.Sub(16, 31), Dst: flow.TCPDst.All()},
			flow.Move{Src: flow.Reg0.Sub(0, 0), Dst: flow.Reg1.Sub(31, 31)}, flow.Move{Src: flow.InputPort.All(), Dst: flow.Reg6.All()},
			flow.Move{Src: flow.IPv4Src.All(), Dst: flow.Reg2.All()}, flow.Move{Src: flow.CTLabel.Sub(96, 127), Dst: flow.IPv4Dst.All()},
			flow.Move{Src: flow.TCPSrc.All(), Dst: flow.Reg3.Sub(0, 15)}, flow.Move{Src: flow.CTMark.All(), Dst: flow.Reg5.All()}},
		{flow.Resubmit{Table: 50}, flow.Resubmit{Table: 0}},
		{flow.UseGroup{ID: 7}},
		{flow.CT{}},
		{flow.CT{Zone: 65535, Table: &table}},
		{flow.CT{Commit: true, Zone: 1}},
		{flow.CT{Commit: true, Zone: 2, Table: &table, Exec: []flow.Action{
			flow.Load{Dst: flow.CTMark.All(), Value: 0x1234},
			flow.Load{Dst: flow.CTLabel.Sub(0, 63), Value: 1<<63 + 1},
			flow.Move{Src: flow.Reg1.All(), Dst: flow.CTLabel.Sub(64, 95)},
			flow.Move{Src: flow.Reg2.Sub(0, 15), Dst: flow.CTLabel.Sub(96, 111)},
			flow.SetField{Field: flow.CTMark, Value: 9}}}},
	}
	for i, a := range actions {
		flows = append(flows, flow.Flow{Table: 2, Priority: uint16(100 + i), Match: flow.Match{ip, tcp}, Actions: a})
	}
	learns := []flow.Learn{
		{Table: 48, Priority: 100, IdleTimeout: 30, FinIdle: 1, Notify: true, Match: []flow.LearnMatch{
			{Dst: flow.EthType.All(), Value: flow.EthTypeIPv4}, {Dst: flow.IPProto.All(), Value: flow.IPProtoTCP},
			{Dst: flow.IPv4Src.All(), Src: flow.IPv4Src.All()}, {Dst: flow.TCPSrc.All(), Src: flow.TCPSrc.All()},
			{Dst: flow.IPv4Dst.All(), Value: 0xc0a801fa}, {Dst: flow.TCPDst.All(), Value: 80}, {Dst: flow.TCPFlags.All(), Value: 2},
			{Dst: flow.Reg5.Sub(0, 15), Src: flow.Reg6.Sub(16, 31)}, {Dst: flow.Reg5.Sub(16, 31), Value: 7},
			{Dst: flow.Reg6.All(), Src: flow.CTMark.All()}, {Dst: flow.Reg7.Sub(3, 3), Value: 1}, {Dst: flow.Reg2.All(), Value: 0xdeadbeef},
			{Dst: flow.EthSrc.All(), Value: 0x020000000001}, {Dst: flow.EthDst.All(), Src: flow.EthSrc.All()},
			{Dst: flow.CTZone.All(), Value: 1}, {Dst: flow.CTMark.Sub(0, 7), Value: 0}, {Dst: flow.InputPort.All(), Src: flow.InputPort.All()},
			{Dst: flow.CTLabel.Sub(0, 15), Src: flow.Reg5.Sub(0, 15)}, {Dst: flow.CTLabel.Sub(64, 127), Value: 1<<63 + 1}}},
		{Table: 0, Priority: 32768, IdleTimeout: 1, Match: []flow.LearnMatch{
			{Dst: flow.EthType.All(), Value: flow.EthTypeARP}, {Dst: flow.ARPOp.All(), Value: 1}, {Dst: flow.ARPSPA.All(), Value: 0x01020304},
			{Dst: flow.ARPTHA.All(), Value: 5}, {Dst: flow.InputPort.All(), Value: uint64(flow.PortLocal)}}},
		{Table: 7, Priority: 0, IdleTimeout: 65535, FinIdle: 65535, Match: []flow.LearnMatch{
			{Dst: flow.EthType.All(), Value: flow.EthTypeIPv4}, {Dst: flow.IPProto.All(), Value: flow.IPProtoTCP}}},
		{Table: 7, IdleTimeout: 2, Match: []flow.LearnMatch{
			{Dst: flow.EthType.All(), Value: flow.EthTypeIPv4}, {Dst: flow.IPProto.All(), Value: flow.IPProtoUDP}, {Dst: flow.UDPDst.All(), Value: 53}}},
	}
	for i, l := range learns {
		flows = append(flows, flow.Flow{Table: 5, Priority: uint16(i), Match: flow.Match{ip, tcp}, Notify: true, Actions: []flow.Action{l, flow.InPort{}}})
	}
	for i, m := range sampleMeters() {
		flows = append(flows,
			flow.Flow{Table: 6, Priority: uint16(i), Match: flow.Match{ip}, Meter: m.ID},
			flow.Flow{Table: 7, Priority: uint16(i), Meter: m.ID, Notify: true, Actions: []flow.Action{flow.Controller{MaxLen: 128}}})
	}
	return append(flows,
		flow.Flow{Table: 8, Priority: 1, Notify: true},
		flow.Flow{Table: 3, Priority: 65535, Match: flow.Match{arp, flow.ARPOp.Is(1), flow.ARPTPA.Is(0xc0a801fa)}, Actions: arpReply()},
		flow.Flow{Table: 0, Priority: 0, Actions: []flow.Action{flow.Resubmit{Table: 1}}},
		flow.Flow{Table: flow.LastTable, Priority: 1})
}

// arpReply answers an ARP request for an address in the switch.
func arpReply() []flow.Action {
	return []flow.Action{
		flow.Move{Src: flow.EthSrc.All(), Dst: flow.EthDst.All()},
		flow.SetField{Field: flow.EthSrc, Value: 0x02006d6c0001},
		flow.SetField{Field: flow.ARPOp, Value: 2},
		flow.Move{Src: flow.ARPSHA.All(), Dst: flow.ARPTHA.All()},
		flow.Load{Dst: flow.ARPSHA.All(), Value: 0x02006d6c0001},
		flow.Move{Src: flow.ARPSPA.All(), Dst: flow.Reg0.All()},
		flow.Move{Src: flow.ARPTPA.All(), Dst: flow.ARPSPA.All()},
		flow.Move{Src: flow.Reg0.All(), Dst: flow.ARPTPA.All()},
		flow.InPort{},
	}
}

// sampleGroups has both types, weights, and no bucket at all.
func sampleGroups() []flow.Group {
	return []flow.Group{
		{ID: 7, Type: flow.GroupSelect, Buckets: []flow.Bucket{
			{Weight: 100, Actions: []flow.Action{flow.Load{Dst: flow.Reg1.All(), Value: 0x0a000001}, flow.Resubmit{Table: 50}}},
			{Weight: 1, Actions: []flow.Action{flow.Load{Dst: flow.Reg1.All(), Value: 0x0a000002}, flow.CT{Commit: true, Zone: 3}}},
		}},
		{ID: 8, Type: flow.GroupAll, Buckets: []flow.Bucket{{Actions: []flow.Action{flow.Output{Port: 1}}}, {Actions: []flow.Action{flow.Output{Port: 2}}}}},
		{ID: flow.MaxGroupID, Type: flow.GroupAll},
	}
}

func sampleMeters() []flow.Meter {
	return []flow.Meter{{ID: 1, Rate: 1, Burst: 1}, {ID: 1000, Rate: 10_000, Burst: 50_000}}
}
