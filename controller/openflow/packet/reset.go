package packet

import "encoding/binary"

// resetTTL is the time to live of resets (RFC 1340, "IP time to live parameter").
const resetTTL = 64

// BuildReset makes the frame that a host without a listener answers p with
// (RFC 9293, section 3.10.7.1, state CLOSED), checksums included. A reset is
// never answered by a reset: for one, the result is nil.
func BuildReset(p TCPPacket) []byte {
	if p.Flags&RST != 0 {
		return nil
	}
	answer := TCPPacket{EthSrc: p.EthDst, EthDst: p.EthSrc, Src: p.Dst, Dst: p.Src, Flags: RST}
	if p.Flags&ACK != 0 {
		answer.Seq = p.Ack
	} else {
		answer.Flags |= ACK
		answer.Ack = p.Seq + uint32(p.segmentLen())
	}
	return build(answer)
}

// BuildAbort makes the frame that ends the connection of p in the name of its
// sender: a reset with the sequence number that the receiver expects next, if
// p is the next segment (RFC 5961, section 3.2). A reset needs none: for one,
// the result is nil.
func BuildAbort(p TCPPacket) []byte {
	if p.Flags&RST != 0 {
		return nil
	}
	p.Ack, p.Flags = 0, RST
	return build(p)
}

// build makes a segment without data.
func build(p TCPPacket) []byte {
	b := make([]byte, ethLen+ipLen+tcpLen)
	copy(b, p.EthDst[:])
	copy(b[6:], p.EthSrc[:])
	binary.BigEndian.PutUint16(b[12:], etherIP)

	ip := b[ethLen:]
	ip[0] = 4<<4 | ipLen/4
	binary.BigEndian.PutUint16(ip[2:], ipLen+tcpLen)
	ip[6] = 0x40 // don't fragment, so that the identification may stay 0 (RFC 6864)
	ip[8] = resetTTL
	ip[9] = protTCP
	src, dst := p.Src.Addr().As4(), p.Dst.Addr().As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], ^fold(sum(ip[:ipLen])))

	tcp := ip[ipLen:]
	binary.BigEndian.PutUint16(tcp, p.Src.Port())
	binary.BigEndian.PutUint16(tcp[2:], p.Dst.Port())
	binary.BigEndian.PutUint32(tcp[4:], p.Seq)
	binary.BigEndian.PutUint32(tcp[8:], p.Ack)
	tcp[12] = tcpLen / 4 << 4
	tcp[13] = byte(p.Flags)
	binary.BigEndian.PutUint16(tcp[16:], ^fold(sum(ip[12:20])+protTCP+tcpLen+sum(tcp)))
	return b
}

// segmentLen is SEG.LEN: payload, and one each for SYN and FIN (RFC 9293,
// section 3.4).
func (p TCPPacket) segmentLen() int {
	n := p.PayloadLen
	if p.Flags&SYN != 0 {
		n++
	}
	if p.Flags&FIN != 0 {
		n++
	}
	return n
}

// sum adds the 16-bit words of b, which has an even length (RFC 1071).
func sum(b []byte) uint32 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return s
}

// fold is a sum's ones' complement residue in 16 bits (RFC 1071).
func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
