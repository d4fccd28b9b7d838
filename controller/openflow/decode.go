package openflow

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net"
	"time"
)

// Every decoder here takes bytes that a switch sent, in whole or through a
// workload's packet, so none trusts a length: each slice is checked first,
// and what it returns shares no memory that will be written again.

// FlowStats is what a switch tells of one flow. It carries no match and no
// instructions: the cookie identifies them (flow.Flow.Seal).
type FlowStats struct {
	Table    uint8
	Priority uint16
	Cookie   uint64
	Packets  uint64        // matched since it was installed
	Bytes    uint64        // in them
	Duration time.Duration // since it was installed
}

// PortDesc is one port of a switch.
type PortDesc struct {
	Number uint32
	Name   string
	HWAddr net.HardwareAddr
}

// PacketInReason tells why a packet came (OpenFlow 1.3.5, section 7.4.1).
type PacketInReason uint8

// The reasons.
const (
	ReasonNoMatch    PacketInReason = 0
	ReasonAction     PacketInReason = 1
	ReasonInvalidTTL PacketInReason = 2
)

// PacketIn is a packet that a flow sent to the controller.
type PacketIn struct {
	InPort  uint32 // 0 when the switch did not tell it
	TableID uint8
	Reason  PacketInReason
	Cookie  uint64 // of the flow
	Data    []byte // an Ethernet frame, as a workload sent it: trust nothing in it
}

// decodeHello tells whether the peer speaks OpenFlow 1.3: by the version
// bitmap when it sent one, else because its highest version is no lower
// (OpenFlow 1.3.5, section 6.3.1).
func decodeHello(peerVersion uint8, body []byte) (bool, error) {
	for len(body) > 0 {
		if len(body) < 4 {
			return false, fmt.Errorf("decode hello element: %w", errShort)
		}
		kind, length := binary.BigEndian.Uint16(body), int(binary.BigEndian.Uint16(body[2:]))
		if length < 4 || length > len(body) {
			return false, fmt.Errorf("decode hello element: length %d of %d bytes: %w", length, len(body), errShort)
		}
		if kind == 1 && length >= 8 { // OFPHET_VERSIONBITMAP: versions 0 to 31 are in the first word
			return binary.BigEndian.Uint32(body[4:])&(1<<version) != 0, nil
		}
		body = body[min(len(body), (length+7)/8*8):] // elements are padded to 8
	}
	return peerVersion >= version, nil
}

// decodeFeatures is the datapath id of a features reply (section 7.3.1).
func decodeFeatures(body []byte) (uint64, error) {
	if len(body) < 24 {
		return 0, fmt.Errorf("decode features reply: %d of 24 bytes: %w", len(body), errShort)
	}
	return binary.BigEndian.Uint64(body), nil
}

// decodeMultipart splits a multipart reply into kind, whether more follow,
// and the part's bytes.
func decodeMultipart(body []byte) (kind uint16, more bool, part []byte, err error) {
	if len(body) < 8 {
		return 0, false, nil, fmt.Errorf("decode multipart reply: %d of 8 bytes: %w", len(body), errShort)
	}
	return binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])&multipartMore != 0, body[8:], nil
}

// decodeFlowStats reads a run of ofp_flow_stats (section 7.3.5.2).
func decodeFlowStats(b []byte) ([]FlowStats, error) {
	const fixed = 48 // up to the match, which has at least 8 bytes
	var out []FlowStats
	for len(b) > 0 {
		entry, rest, err := cut(b, fixed+8)
		if err != nil {
			return nil, fmt.Errorf("decode flow %d: %w", len(out)+1, err)
		}
		b = rest
		seconds, nanos := binary.BigEndian.Uint32(entry[4:]), binary.BigEndian.Uint32(entry[8:])
		out = append(out, FlowStats{
			Table:    entry[2],
			Duration: time.Duration(seconds)*time.Second + time.Duration(nanos),
			Priority: binary.BigEndian.Uint16(entry[12:]),
			Cookie:   binary.BigEndian.Uint64(entry[24:]),
			Packets:  known(binary.BigEndian.Uint64(entry[32:])),
			Bytes:    known(binary.BigEndian.Uint64(entry[40:])),
		})
	}
	return out, nil
}

// known turns the "not counted" of a switch, all ones, into 0.
func known(n uint64) uint64 {
	if bits.OnesCount64(n) == 64 {
		return 0
	}
	return n
}

// decodeGroupDesc reads the ids of a run of ofp_group_desc (section 7.3.5.7).
func decodeGroupDesc(b []byte) ([]uint32, error) {
	var out []uint32
	for len(b) > 0 {
		entry, rest, err := cut(b, 8)
		if err != nil {
			return nil, fmt.Errorf("decode group %d: %w", len(out)+1, err)
		}
		b = rest
		out = append(out, binary.BigEndian.Uint32(entry[4:]))
	}
	return out, nil
}

// decodePortDesc reads a run of ofp_port (section 7.2.1), 64 bytes each.
func decodePortDesc(b []byte) ([]PortDesc, error) {
	const size = 64
	if len(b)%size != 0 {
		return nil, fmt.Errorf("decode ports: %d bytes are no multiple of %d: %w", len(b), size, errShort)
	}
	out := make([]PortDesc, 0, len(b)/size)
	for ; len(b) > 0; b = b[size:] {
		name := b[16:32]
		if end := bytes.IndexByte(name, 0); end >= 0 {
			name = name[:end]
		}
		out = append(out, PortDesc{
			Number: binary.BigEndian.Uint32(b),
			HWAddr: net.HardwareAddr(bytes.Clone(b[8:14])),
			Name:   string(name),
		})
	}
	return out, nil
}

// cut takes off b an entry that starts with its own length in 16 bits.
func cut(b []byte, atLeast int) (entry, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, errShort
	}
	length := int(binary.BigEndian.Uint16(b))
	if length < atLeast || length > len(b) {
		return nil, nil, fmt.Errorf("length %d, want %d to %d: %w", length, atLeast, len(b), errShort)
	}
	return b[:length], b[length:], nil
}

// decodePacketIn reads ofp_packet_in (section 7.4.1).
func decodePacketIn(body []byte) (PacketIn, error) {
	const fixed = 16
	if len(body) < fixed+4 {
		return PacketIn{}, fmt.Errorf("decode packet-in: %d of %d bytes: %w", len(body), fixed+4, errShort)
	}
	p := PacketIn{
		Reason:  PacketInReason(body[6]),
		TableID: body[7],
		Cookie:  binary.BigEndian.Uint64(body[8:]),
	}
	match := body[fixed:]
	kind, length := binary.BigEndian.Uint16(match), int(binary.BigEndian.Uint16(match[2:]))
	padded := (length + 7) / 8 * 8
	if kind != 1 || length < 4 || padded+2 > len(match) {
		return PacketIn{}, fmt.Errorf("decode packet-in: match of type %d, length %d in %d bytes: %w", kind, length, len(match), errShort)
	}
	port, err := matchInPort(match[4:length])
	if err != nil {
		return PacketIn{}, fmt.Errorf("decode packet-in: %w", err)
	}
	p.InPort = port
	p.Data = match[padded+2:]
	return p, nil
}

// matchInPort finds the input port among OXM fields (section 7.2.3.2), 0
// when it is not among them.
func matchInPort(oxm []byte) (uint32, error) {
	for len(oxm) > 0 {
		if len(oxm) < 4 {
			return 0, fmt.Errorf("match field header: %w", errShort)
		}
		header, length := binary.BigEndian.Uint32(oxm), int(oxm[3])
		if 4+length > len(oxm) {
			return 0, fmt.Errorf("match field of %d bytes: %w", length, errShort)
		}
		if header == oxmInPort {
			return binary.BigEndian.Uint32(oxm[4:]), nil
		}
		oxm = oxm[4+length:]
	}
	return 0, nil
}

// oxmInPort is the header of OXM_OF_IN_PORT: class 0x8000, field 0, no mask, 4 bytes.
const oxmInPort uint32 = 0x8000_0004
