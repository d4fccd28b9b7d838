package dns

import (
	"encoding/binary"
	"net/netip"
)

// Layout of Ethernet II (IEEE 802.3), IPv4 (RFC 791, section 3.1), UDP (RFC
// 768) and TCP (RFC 9293, section 3.1).
const (
	etherLen      = 14
	etherTypeIPv4 = 0x0800
	ipv4MinLen    = 20
	udpLen        = 8
	tcpMinLen     = 20
	protoTCP      = 6
	protoUDP      = 17

	// mtu is the largest IPv4 packet taken and sent, in bytes.
	mtu = 1500
)

// frame is the one kind of frame that the server takes.
type frame struct {
	src    netip.Addr
	srcMAC [6]byte
	packet []byte // IPv4, without Ethernet's padding
}

// parseFrame reads a frame with a UDP or TCP packet to port 53 of addr. It is
// false for all else: a fragment too, since no question that a client may
// send needs two packets.
func parseFrame(b []byte, addr netip.Addr, mac [6]byte) (frame, bool) {
	if len(b) < etherLen+ipv4MinLen || [6]byte(b[:6]) != mac || binary.BigEndian.Uint16(b[12:]) != etherTypeIPv4 {
		return frame{}, false
	}
	f := frame{srcMAC: [6]byte(b[6:12]), packet: b[etherLen:]}
	p := f.packet
	header, total := int(p[0]&0xf)*4, int(binary.BigEndian.Uint16(p[2:]))
	if p[0]>>4 != 4 || header < ipv4MinLen || total < header || total > len(p) || total > mtu {
		return frame{}, false
	}
	const fragment = 0x3fff // more fragments, or an offset
	if binary.BigEndian.Uint16(p[6:])&fragment != 0 {
		return frame{}, false
	}
	f.packet = p[:total]
	f.src = netip.AddrFrom4([4]byte(p[12:16]))
	if netip.AddrFrom4([4]byte(p[16:20])) != addr || f.src == addr || !isHost(f.src) || !isHostMAC(f.srcMAC) {
		return frame{}, false
	}
	segment := f.packet[header:]
	switch {
	case p[9] == protoUDP && len(segment) >= udpLen:
	case p[9] == protoTCP && len(segment) >= tcpMinLen:
	default:
		return frame{}, false
	}
	if binary.BigEndian.Uint16(segment) == 0 || binary.BigEndian.Uint16(segment[2:]) != Port {
		return frame{}, false
	}
	return f, true
}

// buildFrame puts an IPv4 packet in a frame.
func buildFrame(dst, src [6]byte, packet []byte) []byte {
	b := make([]byte, 0, etherLen+len(packet))
	b = append(b, dst[:]...)
	b = append(b, src[:]...)
	b = binary.BigEndian.AppendUint16(b, etherTypeIPv4)
	return append(b, packet...)
}

// destination is the address that an IPv4 packet goes to.
func destination(packet []byte) (netip.Addr, bool) {
	if len(packet) < ipv4MinLen {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(packet[16:20])), true
}

// isHost says whether an address can be that of one host.
func isHost(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// isHostMAC is false for zero and for addresses of groups.
func isHostMAC(mac [6]byte) bool { return mac != [6]byte{} && mac[0]&1 == 0 }
