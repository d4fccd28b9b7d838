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

// EthTypeIPv6 is the ethertype of IPv6 (IANA, "IEEE 802 Numbers").
const EthTypeIPv6 = 0x86dd

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

// OtherIP is an IPv4 packet without ports, such as flow.IPProtoICMP; see TCP.
func OtherIP(srcMAC, dstMAC, src, dst string, proto uint64) Packet {
	return Packet{
		flow.EthSrc: MAC(srcMAC), flow.EthDst: MAC(dstMAC),
		flow.EthType: flow.EthTypeIPv4, flow.IPProto: proto,
		flow.IPv4Src: IP(netip.MustParseAddr(src)), flow.IPv4Dst: IP(netip.MustParseAddr(dst)),
	}
}

// Ethernet is a frame of which nothing but its own header is known, such as
// one of EthTypeIPv6; see TCP.
func Ethernet(srcMAC, dstMAC string, ethType uint64) Packet {
	return Packet{flow.EthSrc: MAC(srcMAC), flow.EthDst: MAC(dstMAC), flow.EthType: ethType}
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
func (p Packet) Src() netip.AddrPort { return endpoint(p[flow.IPv4Src], p.srcPort()) }

// Dst is the destination address and TCP or UDP port.
func (p Packet) Dst() netip.AddrPort { return endpoint(p[flow.IPv4Dst], p.dstPort()) }

// A packet has the ports of one protocol at most.
func (p Packet) srcPort() uint64 { return p[flow.TCPSrc] + p[flow.UDPSrc] }
func (p Packet) dstPort() uint64 { return p[flow.TCPDst] + p[flow.UDPDst] }

func endpoint(addr, port uint64) netip.AddrPort {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(addr))
	return netip.AddrPortFrom(netip.AddrFrom4(b), uint16(port))
}

// String is the packet's addresses: "tcp SYN 192.168.1.11:80 > ...".
func (p Packet) String() string {
	switch p[flow.EthType] {
	case flow.EthTypeARP:
		word := map[uint64]string{1: "question", 2: "answer"}[p[flow.ARPOp]]
		if word == "" {
			word = fmt.Sprintf("op %d", p[flow.ARPOp])
		}
		return fmt.Sprintf("arp %s %v > %v", word, endpoint(p[flow.ARPSPA], 0).Addr(), endpoint(p[flow.ARPTPA], 0).Addr())
	case flow.EthTypeIPv4:
	default:
		return fmt.Sprintf("eth type %#04x %s > %s", p[flow.EthType], macString(p[flow.EthSrc]), macString(p[flow.EthDst]))
	}
	switch p[flow.IPProto] {
	case flow.IPProtoTCP:
		return fmt.Sprintf("tcp %s %v > %v", p.flagString(), p.Src(), p.Dst())
	case flow.IPProtoUDP:
		return fmt.Sprintf("udp %v > %v", p.Src(), p.Dst())
	case flow.IPProtoICMP:
		return fmt.Sprintf("icmp %v > %v", p.Src().Addr(), p.Dst().Addr())
	default:
		return fmt.Sprintf("ip proto %d %v > %v", p[flow.IPProto], p.Src().Addr(), p.Dst().Addr())
	}
}

// flagString is "SYN ACK", or "-" without a flag.
func (p Packet) flagString() string {
	var flags []string
	for _, f := range []struct {
		bit  uint64
		name string
	}{{SYN, "SYN"}, {ACK, "ACK"}, {FIN, "FIN"}, {RST, "RST"}} {
		if p[flow.TCPFlags]&f.bit != 0 {
			flags = append(flags, f.name)
		}
	}
	if len(flags) == 0 {
		return "-"
	}
	return strings.Join(flags, " ")
}

func macString(v uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	return net.HardwareAddr(b[2:]).String()
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
