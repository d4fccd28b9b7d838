// Package packet reads the TCP headers of a frame that a workload sent and
// makes the reset that refuses it. Frames come from anyone who can reach a
// switch, so every length is checked before it is believed. Other protocols,
// VLAN tags and IPv6 it refuses.
package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// ErrUnsupported is in the error for frames that are no TCP over untagged,
// unfragmented IPv4.
var ErrUnsupported = errors.New("not TCP over plain IPv4")

// ErrMalformed is in the error for frames whose lengths contradict each other.
var ErrMalformed = errors.New("malformed frame")

// Flags are the control bits of a TCP header (RFC 9293, section 3.1).
type Flags uint8

// The control bits in use.
const (
	FIN Flags = 1 << 0
	SYN Flags = 1 << 1
	RST Flags = 1 << 2
	PSH Flags = 1 << 3
	ACK Flags = 1 << 4
)

// MAC is an Ethernet address.
type MAC [6]byte

// TCPPacket is what the headers of a frame say.
type TCPPacket struct {
	EthSrc, EthDst MAC
	Src, Dst       netip.AddrPort // IPv4
	Seq, Ack       uint32
	Flags          Flags
	PayloadLen     int // bytes behind the TCP header
}

// Sizes of headers without options, in bytes (IEEE 802.3; RFC 791, section
// 3.1; RFC 9293, section 3.1).
const (
	ethLen  = 14
	ipLen   = 20
	tcpLen  = 20
	etherIP = 0x0800
	protTCP = 6
)

// ParseTCP reads an Ethernet frame. Padding behind the IP packet is ignored,
// checksums are not verified. Errors are ErrUnsupported or ErrMalformed.
func ParseTCP(data []byte) (TCPPacket, error) {
	if len(data) < ethLen {
		return TCPPacket{}, malformed("frame of %d bytes, an Ethernet header has %d", len(data), ethLen)
	}
	var p TCPPacket
	copy(p.EthDst[:], data)
	copy(p.EthSrc[:], data[6:])
	if etherType := binary.BigEndian.Uint16(data[12:]); etherType != etherIP {
		return TCPPacket{}, fmt.Errorf("parse frame: ethertype %#04x: %w", etherType, ErrUnsupported)
	}
	src, dst, segment, err := parseIPv4(data[ethLen:])
	if err != nil {
		return TCPPacket{}, err
	}
	if len(segment) < tcpLen {
		return TCPPacket{}, malformed("TCP segment of %d bytes, its header has %d", len(segment), tcpLen)
	}
	offset := int(segment[12]>>4) * 4
	if offset < tcpLen || offset > len(segment) {
		return TCPPacket{}, malformed("TCP data offset %d of %d bytes", offset, len(segment))
	}
	p.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(segment))
	p.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(segment[2:]))
	p.Seq = binary.BigEndian.Uint32(segment[4:])
	p.Ack = binary.BigEndian.Uint32(segment[8:])
	p.Flags = Flags(segment[13])
	p.PayloadLen = len(segment) - offset
	return p, nil
}

// parseIPv4 returns the addresses and the payload within the total length
// (RFC 791, section 3.1).
func parseIPv4(b []byte) (src, dst netip.Addr, payload []byte, err error) {
	if len(b) < ipLen {
		return src, dst, nil, malformed("IP packet of %d bytes, its header has %d", len(b), ipLen)
	}
	header, total := int(b[0]&0x0f)*4, int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case b[0]>>4 != 4:
		return src, dst, nil, malformed("IP version %d behind ethertype %#04x", b[0]>>4, etherIP)
	case header < ipLen || header > total || total > len(b):
		return src, dst, nil, malformed("IP header of %d, total length of %d, in %d bytes", header, total, len(b))
	case binary.BigEndian.Uint16(b[6:])&0x3fff != 0: // more fragments, or an offset
		return src, dst, nil, fmt.Errorf("parse frame: fragment: %w", ErrUnsupported)
	case b[9] != protTCP:
		return src, dst, nil, fmt.Errorf("parse frame: IP protocol %d: %w", b[9], ErrUnsupported)
	}
	return netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[header:total], nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("parse frame: "+format+": %w", append(args, ErrMalformed)...)
}
