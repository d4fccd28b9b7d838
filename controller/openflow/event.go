package openflow

import (
	"encoding/binary"
	"fmt"
	"time"

	"meshlab.dev/meshlab/controller/flow"
)

// PacketIn is a packet that a flow sent to the controller, with what the
// tables had noted down by then.
type PacketIn struct {
	InPort uint32 // 0 when the switch did not tell it
	Table  uint8
	Cookie uint64 // of the flow
	Regs   [8]uint32
	CTMark uint32
	Data   []byte // an Ethernet frame, as a workload sent it: trust nothing in it
}

// FlowRemoved is the last that a switch tells of a flow with Notify.
type FlowRemoved struct {
	Table    uint8
	Priority uint16
	Cookie   uint64
	Reason   flow.RemovedReason
	Duration time.Duration         // since it was installed
	Idle     time.Duration         // its idle timeout at the end; 0: none
	Packets  uint64                // matched since it was installed
	Bytes    uint64                // in them
	Fields   map[flow.Field]uint64 // those that it tested as a whole
}

// decodePacketIn reads ofp_packet_in (OpenFlow 1.3.5, section 7.4.1).
func decodePacketIn(body []byte) (PacketIn, error) {
	const fixed = 16
	if len(body) < fixed {
		return PacketIn{}, fmt.Errorf("decode packet-in: %d of %d bytes: %w", len(body), fixed, errShort)
	}
	p := PacketIn{Table: body[7], Cookie: binary.BigEndian.Uint64(body[8:])}
	rest, err := walkMatch(body[fixed:], func(f flow.Field, value uint64) {
		switch {
		case f == flow.InputPort:
			p.InPort = uint32(value)
		case f == flow.CTMark:
			p.CTMark = uint32(value)
		case f >= flow.Reg0 && f <= flow.Reg7:
			p.Regs[f-flow.Reg0] = uint32(value)
		}
	})
	if err != nil {
		return PacketIn{}, fmt.Errorf("decode packet-in: %w", err)
	}
	if len(rest) < 2 {
		return PacketIn{}, fmt.Errorf("decode packet-in: %d of 2 bytes before the packet: %w", len(rest), errShort)
	}
	p.Data = rest[2:]
	return p, nil
}

// decodeFlowRemoved reads ofp_flow_removed (section 7.4.2).
func decodeFlowRemoved(body []byte) (FlowRemoved, error) {
	const fixed = 40
	if len(body) < fixed {
		return FlowRemoved{}, fmt.Errorf("decode flow-removed: %d of %d bytes: %w", len(body), fixed, errShort)
	}
	r := FlowRemoved{
		Cookie:   binary.BigEndian.Uint64(body),
		Priority: binary.BigEndian.Uint16(body[8:]),
		Reason:   flow.RemovedReason(body[10]),
		Table:    body[11],
		Duration: duration(body[12:]),
		Idle:     time.Duration(binary.BigEndian.Uint16(body[20:])) * time.Second,
		Packets:  known(binary.BigEndian.Uint64(body[24:])),
		Bytes:    known(binary.BigEndian.Uint64(body[32:])),
		Fields:   map[flow.Field]uint64{},
	}
	if _, err := walkMatch(body[fixed:], func(f flow.Field, value uint64) { r.Fields[f] = value }); err != nil {
		return FlowRemoved{}, fmt.Errorf("decode flow-removed: %w", err)
	}
	return r, nil
}

// walkMatch calls visit for each whole field of an OXM match (section 7.2.3)
// that package flow knows and that fits 64 bits, and returns what is behind
// the match and its padding. Other fields, and masked ones, are passed over.
func walkMatch(b []byte, visit func(flow.Field, uint64)) (rest []byte, err error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("match of %d bytes: %w", len(b), errShort)
	}
	kind, length := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
	padded := (length + 7) / 8 * 8
	if kind != 1 || length < 4 || padded > len(b) {
		return nil, fmt.Errorf("match of type %d, length %d in %d bytes: %w", kind, length, len(b), errShort)
	}
	for oxm := b[4:length]; len(oxm) > 0; {
		if len(oxm) < 4 {
			return nil, fmt.Errorf("match field header: %w", errShort)
		}
		size := int(oxm[3])
		if 4+size > len(oxm) {
			return nil, fmt.Errorf("match field of %d bytes: %w", size, errShort)
		}
		if f := fieldOf(binary.BigEndian.Uint32(oxm)); f != flow.FieldInvalid && size <= 8 {
			var value uint64
			for _, octet := range oxm[4 : 4+size] {
				value = value<<8 | uint64(octet)
			}
			visit(f, value)
		}
		oxm = oxm[4+size:]
	}
	return b[padded:], nil
}
