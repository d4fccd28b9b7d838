// Package emulator is a switch in memory: it takes the flows and groups of
// package flow, traces packets through them, keeps connections like the
// tracker of Open vSwitch, and says where a packet goes and why. It follows
// ovs-actions(7) for what package flow can say and knows nothing of the mesh,
// of time, or of payloads.
package emulator

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"

	"meshlab.dev/meshlab/controller/flow"
)

// Packet is a packet as the values of its fields. A packet has no payload.
type Packet map[flow.Field]uint64

// TCP flags (RFC 9293, section 3.1).
const (
	FIN = 1 << 0
	SYN = 1 << 1
	RST = 1 << 2
	ACK = 1 << 4
)

// TCP is a TCP segment. MAC addresses are written 00:00:00:00:00:01,
// endpoints 192.168.1.11:80; what cannot be read panics, as tests are
// wrong then.
func TCP(srcMAC, dstMAC, src, dst string, flags uint64) Packet {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	return Packet{
		flow.EthSrc: MAC(srcMAC), flow.EthDst: MAC(dstMAC),
		flow.EthType: flow.EthTypeIPv4, flow.IPProto: flow.IPProtoTCP,
		flow.IPv4Src: IP(s.Addr()), flow.IPv4Dst: IP(d.Addr()),
		flow.TCPSrc: uint64(s.Port()), flow.TCPDst: uint64(d.Port()),
		flow.TCPFlags: flags,
	}
}

// UDP is a UDP datagram; see TCP.
func UDP(srcMAC, dstMAC, src, dst string) Packet {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	return Packet{
		flow.EthSrc: MAC(srcMAC), flow.EthDst: MAC(dstMAC),
		flow.EthType: flow.EthTypeIPv4, flow.IPProto: flow.IPProtoUDP,
		flow.IPv4Src: IP(s.Addr()), flow.IPv4Dst: IP(d.Addr()),
		flow.UDPSrc: uint64(s.Port()), flow.UDPDst: uint64(d.Port()),
	}
}

// ARPRequest is a broadcast question of (mac, ip) for target (RFC 826).
func ARPRequest(mac, ip, target string) Packet {
	return Packet{
		flow.EthSrc: MAC(mac), flow.EthDst: 0xffffffffffff, flow.EthType: flow.EthTypeARP,
		flow.ARPOp: 1, flow.ARPSHA: MAC(mac), flow.ARPTHA: 0,
		flow.ARPSPA: IP(netip.MustParseAddr(ip)), flow.ARPTPA: IP(netip.MustParseAddr(target)),
	}
}

// MAC is an Ethernet address as the value of a field; it panics on what is
// not one.
func MAC(s string) uint64 {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		panic(fmt.Sprintf("emulator: %q is not a MAC address", s))
	}
	return binary.BigEndian.Uint64(append([]byte{0, 0}, hw...))
}

// IP is an IPv4 address as the value of a field.
func IP(a netip.Addr) uint64 {
	b := a.As4()
	return uint64(binary.BigEndian.Uint32(b[:]))
}

// Src is the source address and TCP or UDP port.
func (p Packet) Src() netip.AddrPort {
	return endpoint(p[flow.IPv4Src], p[flow.TCPSrc]+p[flow.UDPSrc])
}

// Dst is the destination address and TCP or UDP port.
func (p Packet) Dst() netip.AddrPort {
	return endpoint(p[flow.IPv4Dst], p[flow.TCPDst]+p[flow.UDPDst])
}

func endpoint(addr, port uint64) netip.AddrPort {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(addr))
	return netip.AddrPortFrom(netip.AddrFrom4(b), uint16(port))
}

// String is the packet's addresses: "tcp SYN 192.168.1.11:80 > ...".
func (p Packet) String() string {
	if p[flow.EthType] == flow.EthTypeARP {
		return fmt.Sprintf("arp op %d %v > %v", p[flow.ARPOp], endpoint(p[flow.ARPSPA], 0).Addr(), endpoint(p[flow.ARPTPA], 0).Addr())
	}
	var flags []string
	for _, f := range []struct {
		bit  uint64
		name string
	}{{SYN, "SYN"}, {ACK, "ACK"}, {FIN, "FIN"}, {RST, "RST"}} {
		if p[flow.TCPFlags]&f.bit != 0 {
			flags = append(flags, f.name)
		}
	}
	return fmt.Sprintf("ip proto %d [%s] %v > %v, eth %012x > %012x",
		p[flow.IPProto], strings.Join(flags, " "), p.Src(), p.Dst(), p[flow.EthSrc], p[flow.EthDst])
}

// onWire is the packet without what exists inside a switch only.
func (p Packet) onWire() Packet {
	out := maps.Clone(p)
	for f := range p {
		switch {
		case f == flow.InputPort, f >= flow.Reg0 && f <= flow.Reg7,
			f == flow.CTState, f == flow.CTMark, f == flow.CTLabel, f == flow.CTZone:
			delete(out, f)
		}
	}
	return out
}
