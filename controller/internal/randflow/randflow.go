// Package randflow makes random flows and groups that flow.Check lets pass,
// for tests that hold for any of them. It draws values from few, so that two
// flows are often nearly the same.
package randflow

import (
	"math/rand/v2"
	"slices"

	"meshlab.dev/meshlab/controller/flow"
)

// Flow is a flow with any of the fields and actions of package flow.
func Flow(r *rand.Rand) flow.Flow {
	f := flow.Flow{
		Table:    uint8(r.IntN(3)),
		Priority: uint16(r.IntN(3)),
		Cookie:   r.Uint64(),
		Meter:    uint32(max(0, r.IntN(4)-1)),
		Notify:   r.IntN(2) == 0,
	}
	m, writable := match(r)
	f.Match = m
	f.Actions = actions(r, slices.Contains(m, flow.EthType.Is(flow.EthTypeIPv4)), writable)
	return f
}

// Group is a group whose buckets assume nothing of the packet.
func Group(r *rand.Rand) flow.Group {
	g := flow.Group{ID: r.Uint32N(3), Type: flow.GroupType(r.IntN(2))}
	for range r.IntN(4) {
		g.Buckets = append(g.Buckets, flow.Bucket{Weight: uint16(1 + r.IntN(3)), Actions: actions(r, true, registers())})
	}
	return g
}

func registers() []flow.Field {
	return []flow.Field{flow.Reg0, flow.Reg1, flow.Reg6, flow.Reg7, flow.InputPort, flow.EthSrc, flow.EthDst}
}

// match is a match in any order, with the fields that it makes writable.
func match(r *rand.Rand) (flow.Match, []flow.Field) {
	var m flow.Match
	writable := registers()
	some := func(fields ...flow.Field) {
		for _, f := range fields {
			if r.IntN(3) == 0 {
				m = append(m, test(r, f))
			}
		}
	}
	some(flow.InputPort, flow.EthSrc, flow.EthDst, flow.Reg0, flow.Reg3, flow.Reg7)
	switch r.IntN(5) {
	case 0:
		m = append(m, flow.EthType.Is(flow.EthTypeIPv6))
	case 1:
		m = append(m, flow.EthType.Is(flow.EthTypeARP))
		some(flow.ARPOp, flow.ARPSPA, flow.ARPTPA, flow.ARPSHA, flow.ARPTHA)
		writable = append(writable, flow.ARPSPA, flow.ARPTHA)
	case 2, 3:
		m = append(m, flow.EthType.Is(flow.EthTypeIPv4))
		some(flow.IPv4Src, flow.IPv4Dst, flow.CTZone, flow.CTMark)
		if r.IntN(3) == 0 {
			mask := uint64(1 + r.IntN(255))
			m = append(m, flow.CTState.Masked(r.Uint64()&mask, mask))
		}
		writable = append(writable, flow.IPv4Src, flow.IPv4Dst)
		switch r.IntN(4) {
		case 0:
			m = append(m, flow.IPProto.Is(flow.IPProtoTCP))
			some(flow.TCPSrc, flow.TCPDst, flow.TCPFlags)
			writable = append(writable, flow.TCPSrc, flow.TCPDst)
		case 1:
			m = append(m, flow.IPProto.Is(flow.IPProtoUDP))
			some(flow.UDPSrc, flow.UDPDst)
			writable = append(writable, flow.UDPDst)
		case 2:
			m = append(m, flow.IPProto.Is(uint64(r.IntN(3))))
		}
	}
	r.Shuffle(len(m), func(i, j int) { m[i], m[j] = m[j], m[i] })
	return m, writable
}

// test is a test of a whole field or, where that is allowed, of a part.
func test(r *rand.Rand, f flow.Field) flow.FieldMatch {
	switch f {
	case flow.InputPort, flow.ARPOp, flow.CTZone:
		return f.Is(value(r, f.Bits()))
	}
	if r.IntN(2) == 0 {
		return f.Is(value(r, f.Bits()))
	}
	mask := f.FullMask()
	switch r.IntN(3) {
	case 0:
		mask &^= 1<<r.IntN(int(f.Bits())) - 1 // a prefix
	case 1:
		mask &= 1 << r.IntN(int(f.Bits()))
	default:
		mask &= 1 + r.Uint64()>>1
	}
	if mask == 0 {
		mask = 1
	}
	return f.Masked(r.Uint64()&mask, mask)
}

// value is one of few values of so many bits.
func value(r *rand.Rand, bits uint16) uint64 {
	all := ^uint64(0) >> (64 - min(64, bits))
	return []uint64{0, 1, all, 0x0a0b0c0d0e0f1011 & all}[r.IntN(4)]
}

// part is a run of bits of the field, not over width bits long.
func part(r *rand.Rand, f flow.Field, width uint16) flow.Range {
	bits := 1 + uint16(r.IntN(int(min(width, f.Bits()))))
	if r.IntN(2) == 0 {
		bits = min(width, f.Bits())
	}
	return flow.Range{Field: f, Start: uint16(r.IntN(int(f.Bits()-bits) + 1)), Bits: bits}
}

// actions is up to three actions; track tells whether ct is possible, and
// writable are fields that the packets have.
func actions(r *rand.Rand, track bool, writable []flow.Field) []flow.Action {
	var out []flow.Action
	for range r.IntN(4) {
		switch kind := r.IntN(11); {
		case kind == 0:
			out = append(out, flow.Output{Port: []uint32{1, 2, flow.PortLocal, flow.PortInPort, flow.PortController, flow.PortFlood}[r.IntN(6)]})
		case kind == 1:
			out = append(out, flow.OutputReg{From: part(r, flow.Reg0, 32)})
		case kind == 2:
			out = append(out, flow.InPort{})
		case kind == 3:
			out = append(out, flow.Controller{MaxLen: uint16(r.IntN(2)) * 0xffff})
		case kind == 4:
			f := writable[r.IntN(len(writable))]
			if f == flow.InputPort {
				f = flow.Reg0
			}
			out = append(out, flow.SetField{Field: f, Value: value(r, f.Bits())})
		case kind == 5:
			out = append(out, load(r, writable[r.IntN(len(writable))]))
		case kind == 6:
			out = append(out, move(r, writable[r.IntN(len(writable))], writable[r.IntN(len(writable))]))
		case kind == 7:
			out = append(out, flow.Resubmit{Table: uint8(r.IntN(3))})
		case kind == 8:
			out = append(out, flow.UseGroup{ID: r.Uint32N(3)})
		case kind == 9 && track:
			out = append(out, ct(r))
		default:
			out = append(out, learn(r, writable))
		}
	}
	return out
}

func load(r *rand.Rand, f flow.Field) flow.Load {
	dst := part(r, f, 64)
	return flow.Load{Dst: dst, Value: value(r, dst.Bits)}
}

func move(r *rand.Rand, from, to flow.Field) flow.Move {
	dst := part(r, to, from.Bits())
	return flow.Move{Dst: dst, Src: flow.Range{Field: from, Start: uint16(r.IntN(int(from.Bits()-dst.Bits) + 1)), Bits: dst.Bits}}
}

func ct(r *rand.Rand) flow.CT {
	a := flow.CT{Zone: uint16(r.IntN(3)), Commit: r.IntN(2) == 0}
	if r.IntN(2) == 0 {
		table := uint8(r.IntN(3))
		a.Table = &table
	}
	if a.Commit {
		for range r.IntN(3) {
			switch r.IntN(3) {
			case 0:
				a.Exec = append(a.Exec, load(r, flow.CTLabel))
			case 1:
				a.Exec = append(a.Exec, move(r, flow.Reg1, flow.CTLabel))
			default:
				a.Exec = append(a.Exec, flow.SetField{Field: flow.CTMark, Value: value(r, 32)})
			}
		}
	}
	return a
}

// learn tests registers and Ethernet addresses, or a TCP connection.
func learn(r *rand.Rand, readable []flow.Field) flow.Learn {
	a := flow.Learn{
		Table:       uint8(r.IntN(3)),
		Priority:    uint16(r.IntN(2)) << 15,
		IdleTimeout: uint16(1 + r.IntN(2)),
		Notify:      r.IntN(2) == 0,
	}
	dsts := []flow.Field{flow.Reg4, flow.Reg5, flow.EthDst}
	if r.IntN(2) == 0 {
		a.FinIdle = uint16(r.IntN(2))
		a.Match = []flow.LearnMatch{{Dst: flow.EthType.All(), Value: flow.EthTypeIPv4}, {Dst: flow.IPProto.All(), Value: flow.IPProtoTCP}}
		dsts = append(dsts, flow.IPv4Src, flow.IPv4Dst, flow.TCPSrc)
	}
	for _, f := range dsts {
		switch r.IntN(3) {
		case 0:
			dst := part(r, f, 64)
			a.Match = append(a.Match, flow.LearnMatch{Dst: dst, Value: value(r, dst.Bits)})
		case 1:
			m := move(r, readable[r.IntN(len(readable))], f)
			a.Match = append(a.Match, flow.LearnMatch{Dst: m.Dst, Src: m.Src})
		}
	}
	return a
}
