package tap

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// snap is how much of a packet is kept, in bytes: Ethernet, and IPv4 and TCP
// with all their options (RFC 791, section 3.1; RFC 9293, section 3.1).
const snap = 14 + 60 + 60

// filter is the program by which the kernel chooses packets.
func filter(d Direction) ([]bpf.RawInstruction, error) {
	var way bpf.Instruction
	switch d {
	case Out:
		way = bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 1}
	case In:
		way = bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 1}
	default:
		return nil, fmt.Errorf("no direction %q: it is %s or %s", d, In, Out)
	}
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		way,
		bpf.RetConstant{Val: 0},
	}
	return bpf.Assemble(append(program, dataSegments()...))
}

// dataSegments keeps the first snap bytes of TCP segments over IPv4 that
// carry data, and nothing else: acknowledgements tell nothing of a request,
// and fragments behind the first have no ports.
func dataSegments() []bpf.Instruction {
	const (
		etherType, etherIPv4 = 12, 0x0800
		ip                   = 14
		length               = ip + 2
		fragment, offset     = ip + 6, 0x1fff
		protocol, tcp        = ip + 9, 6
		dataOffset           = 12 // in the TCP header: its length in words, in the upper half
	)
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: etherType, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherIPv4, SkipTrue: 13},
		bpf.LoadAbsolute{Off: protocol, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: tcp, SkipTrue: 11},
		bpf.LoadAbsolute{Off: fragment, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: offset, SkipTrue: 9},
		bpf.LoadMemShift{Off: ip}, // X: length of the IP header
		bpf.LoadIndirect{Off: ip + dataOffset, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 2},
		bpf.ALUOpX{Op: bpf.ALUOpAdd},
		bpf.TAX{}, // X: length of both headers
		bpf.LoadAbsolute{Off: length, Size: 2},
		bpf.JumpIfX{Cond: bpf.JumpGreaterThan, SkipFalse: 1},
		bpf.RetConstant{Val: snap},
		bpf.RetConstant{Val: 0},
	}
}

// decoder reads the headers of packets. It keeps nothing of one for the next,
// but its memory.
type decoder struct {
	parser   *gopacket.DecodingLayerParser
	ethernet layers.Ethernet
	ip       layers.IPv4
	tcp      layers.TCP
	found    []gopacket.LayerType
}

func newDecoder() *decoder {
	d := &decoder{}
	d.parser = gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &d.ethernet, &d.ip, &d.tcp)
	d.parser.IgnoreUnsupported = true
	return d
}

// decode reads a packet that may be cut off behind its headers. It is false
// when that is no TCP segment with data.
func (d *decoder) decode(b []byte) (Packet, bool) {
	if err := d.parser.DecodeLayers(b, &d.found); err != nil {
		return Packet{}, false
	}
	// gopacket reads an unknown type as IPv4 in some cases, and IPv4 within IPv4.
	if len(d.found) != 3 || d.found[2] != layers.LayerTypeTCP || d.ethernet.EthernetType != layers.EthernetTypeIPv4 || d.ip.FragOffset != 0 {
		return Packet{}, false
	}
	// The length as it was sent: of 0 gopacket makes the length that was caught.
	length := int(binary.BigEndian.Uint16(d.ip.Contents[2:]))
	payload := length - 4*int(d.ip.IHL) - 4*int(d.tcp.DataOffset)
	src, ok := netip.AddrFromSlice(d.ip.SrcIP)
	dst, ok2 := netip.AddrFromSlice(d.ip.DstIP)
	if !ok || !ok2 || payload <= 0 {
		return Packet{}, false
	}
	return Packet{
		Src: netip.AddrPortFrom(src, uint16(d.tcp.SrcPort)),
		Dst: netip.AddrPortFrom(dst, uint16(d.tcp.DstPort)),
		Seq: d.tcp.Seq, Payload: payload,
	}, true
}
