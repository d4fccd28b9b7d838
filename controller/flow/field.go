package flow

import (
	"fmt"
	"math"
)

// Field names a header or metadata field of a packet.
type Field uint8

// The fields in use, with their ovs-fields(7) names.
const (
	FieldInvalid Field = iota
	InputPort          // in_port, 32 bits
	EthSrc             // eth_src
	EthDst             // eth_dst
	EthType            // eth_type
	IPProto            // nw_proto
	IPv4Src            // nw_src
	IPv4Dst            // nw_dst
	TCPSrc             // tcp_src
	TCPDst             // tcp_dst
	TCPFlags           // tcp_flags
	UDPSrc             // udp_src
	UDPDst             // udp_dst
	ARPOp              // arp_op
	ARPSPA             // arp_spa
	ARPTPA             // arp_tpa
	ARPSHA             // arp_sha
	ARPTHA             // arp_tha
	CTState            // ct_state
	CTZone             // ct_zone
	CTMark             // ct_mark
	CTLabel            // ct_label, 128 bits: only as a Range of Load and Move
	Reg0               // reg0; Reg0+n is reg n
	Reg1
	Reg2
	Reg3
	Reg4
	Reg5
	Reg6
	Reg7
	numFields
)

type fieldInfo struct {
	name string // ovs-ofctl name in matches and set_field
	nxm  string // name in move and load
	bits uint16
}

// info is the zero value for what is no field, so that even a broken flow
// can be printed.
func (f Field) info() fieldInfo {
	if !f.valid() {
		return fieldInfo{name: fmt.Sprintf("Field(%d)", uint8(f)), nxm: fmt.Sprintf("Field(%d)", uint8(f))}
	}
	return fields[f]
}

var fields = [numFields]fieldInfo{
	InputPort: {"in_port", "OXM_OF_IN_PORT", 32},
	EthSrc:    {"dl_src", "NXM_OF_ETH_SRC", 48},
	EthDst:    {"dl_dst", "NXM_OF_ETH_DST", 48},
	EthType:   {"dl_type", "NXM_OF_ETH_TYPE", 16},
	IPProto:   {"nw_proto", "NXM_OF_IP_PROTO", 8},
	IPv4Src:   {"nw_src", "NXM_OF_IP_SRC", 32},
	IPv4Dst:   {"nw_dst", "NXM_OF_IP_DST", 32},
	TCPSrc:    {"tcp_src", "NXM_OF_TCP_SRC", 16},
	TCPDst:    {"tcp_dst", "NXM_OF_TCP_DST", 16},
	TCPFlags:  {"tcp_flags", "NXM_NX_TCP_FLAGS", 12},
	UDPSrc:    {"udp_src", "NXM_OF_UDP_SRC", 16},
	UDPDst:    {"udp_dst", "NXM_OF_UDP_DST", 16},
	ARPOp:     {"arp_op", "NXM_OF_ARP_OP", 16},
	ARPSPA:    {"arp_spa", "NXM_OF_ARP_SPA", 32},
	ARPTPA:    {"arp_tpa", "NXM_OF_ARP_TPA", 32},
	ARPSHA:    {"arp_sha", "NXM_NX_ARP_SHA", 48},
	ARPTHA:    {"arp_tha", "NXM_NX_ARP_THA", 48},
	CTState:   {"ct_state", "NXM_NX_CT_STATE", 32},
	CTZone:    {"ct_zone", "NXM_NX_CT_ZONE", 16},
	CTMark:    {"ct_mark", "NXM_NX_CT_MARK", 32},
	CTLabel:   {"ct_label", "NXM_NX_CT_LABEL", 128},
	Reg0:      {"reg0", "NXM_NX_REG0", 32},
	Reg1:      {"reg1", "NXM_NX_REG1", 32},
	Reg2:      {"reg2", "NXM_NX_REG2", 32},
	Reg3:      {"reg3", "NXM_NX_REG3", 32},
	Reg4:      {"reg4", "NXM_NX_REG4", 32},
	Reg5:      {"reg5", "NXM_NX_REG5", 32},
	Reg6:      {"reg6", "NXM_NX_REG6", 32},
	Reg7:      {"reg7", "NXM_NX_REG7", 32},
}

// Bits is the field's width.
func (f Field) Bits() uint16 {
	if !f.valid() {
		return 0
	}
	return fields[f].bits
}

// String is the field's name in a match, as ovs-ofctl prints it.
func (f Field) String() string { return f.info().name }

// NXM is the field's name in move and load actions.
func (f Field) NXM() string { return f.info().nxm }

// FullMask has a one for every bit of the field; for fields over 64 bits,
// for the low 64.
func (f Field) FullMask() uint64 {
	bits := f.Bits()
	if bits >= 64 {
		return math.MaxUint64
	}
	return 1<<bits - 1
}

// All is the range of all bits of the field.
func (f Field) All() Range { return Range{Field: f, Bits: f.Bits()} }

// Sub is the range of bits from start to end, both included.
func (f Field) Sub(start, end uint16) Range {
	return Range{Field: f, Start: start, Bits: end - start + 1}
}

// Is tests the whole field for equality.
func (f Field) Is(v uint64) FieldMatch { return FieldMatch{f, v, f.FullMask()} }

// Masked tests the bits in mask for equality.
func (f Field) Masked(v, mask uint64) FieldMatch { return FieldMatch{f, v, mask} }
