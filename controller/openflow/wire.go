package openflow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// version is OpenFlow 1.3's number on the wire (OpenFlow 1.3.5, section 7.1.1).
const version = 0x04

// headerLen is the size of ofp_header; maxLen the largest message that its
// 16-bit length can tell.
const (
	headerLen = 8
	maxLen    = 0xffff
)

// msgType is enum ofp_type (OpenFlow 1.3.5, section 7.1.1).
type msgType uint8

const (
	typeHello            msgType = 0
	typeError            msgType = 1
	typeEchoRequest      msgType = 2
	typeEchoReply        msgType = 3
	typeExperimenter     msgType = 4
	typeFeaturesRequest  msgType = 5
	typeFeaturesReply    msgType = 6
	typeSetConfig        msgType = 9
	typePacketIn         msgType = 10
	typeFlowRemoved      msgType = 11
	typePacketOut        msgType = 13
	typeFlowMod          msgType = 14
	typeGroupMod         msgType = 15
	typeMultipartRequest msgType = 18
	typeMultipartReply   msgType = 19
	typeBarrierRequest   msgType = 20
	typeBarrierReply     msgType = 21
)

// Multipart types (OpenFlow 1.3.5, section 7.3.5, enum ofp_multipart_type).
const (
	multipartFlow        uint16 = 1
	multipartPortStats   uint16 = 4
	multipartGroupDesc   uint16 = 7
	multipartMeterConfig uint16 = 10
	multipartPortDesc    uint16 = 13
	multipartMore        uint16 = 1 // flag OFPMPF_REPLY_MORE
)

// anyPort and anyGroup are OFPP_ANY and OFPG_ANY: a filter that lets all pass.
const (
	anyPort   uint32 = 0xffffffff
	anyGroup  uint32 = 0xffffffff
	allMeters uint32 = 0xffffffff // OFPM_ALL
	noBuffer  uint32 = 0xffffffff // OFP_NO_BUFFER: the message carries the packet itself
)

// errShort is in every error of a decoder that ran out of bytes.
var errShort = errors.New("message is too short")

// message is one framed OpenFlow message; body is what follows the header.
type message struct {
	version uint8
	kind    msgType
	xid     uint32
	body    []byte
}

// readMessage reads one message, of any version: a hello may carry another
// than ours. The body is the caller's. Errors are those of r, or tell of a
// length below the header's; after either the stream is of no more use.
func readMessage(r io.Reader) (message, error) {
	var h [headerLen]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return message{}, fmt.Errorf("read OpenFlow header: %w", err)
	}
	length := int(binary.BigEndian.Uint16(h[2:]))
	if length < headerLen {
		return message{}, fmt.Errorf("read OpenFlow header: length %d: %w", length, errShort)
	}
	m := message{version: h[0], kind: msgType(h[1]), xid: binary.BigEndian.Uint32(h[4:])}
	m.body = make([]byte, length-headerLen)
	if _, err := io.ReadFull(r, m.body); err != nil {
		return message{}, fmt.Errorf("read body of OpenFlow message type %d: %w", m.kind, err)
	}
	return m, nil
}

// appendMessage appends a message with this body to b. The body must fit:
// only flows, groups and packets may make bodies that do not, and are refused.
func appendMessage(b []byte, kind msgType, xid uint32, body []byte) []byte {
	b = append(b, version, byte(kind))
	b = binary.BigEndian.AppendUint16(b, uint16(headerLen+len(body)))
	b = binary.BigEndian.AppendUint32(b, xid)
	return append(b, body...)
}

// helloBody offers OpenFlow 1.3 alone, by a version bitmap (section 7.5.1).
func helloBody() []byte {
	return []byte{0, 1, 0, 8, 0, 0, 0, 1 << version}
}

// setConfigBody asks for whole packets: flags 0, miss_send_len 0xffff. To
// Open vSwitch it also says that this connection wants packet-ins and
// flow-removed messages at all (ovs connmgr.c, ofconn_receives_async_msg).
func setConfigBody() []byte { return []byte{0, 0, 0xff, 0xff} }

// multipartRequest is the body of a request of a kind, with its own body.
func multipartRequest(kind uint16, body []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = append(b, 0, 0, 0, 0, 0, 0) // flags, pad
	return append(b, body...)
}

// flowStatsRequest asks for all flows of a table, or of flow.TableAll
// (section 7.3.5.2).
func flowStatsRequest(table uint8) []byte {
	b := []byte{table, 0, 0, 0}
	b = binary.BigEndian.AppendUint32(b, anyPort)
	b = binary.BigEndian.AppendUint32(b, anyGroup)
	b = append(b, make([]byte, 4+8+8)...) // pad, cookie, cookie mask
	return append(b, emptyMatch...)
}

// meterConfigRequest asks for all meters (section 7.3.5.12).
func meterConfigRequest() []byte {
	return append(binary.BigEndian.AppendUint32(nil, allMeters), 0, 0, 0, 0)
}

// packetOutBody lays out ofp_packet_out (section 7.3.7).
func packetOutBody(inPort uint32, actions, data []byte) []byte {
	b := make([]byte, 0, 16+len(actions)+len(data))
	b = binary.BigEndian.AppendUint32(b, noBuffer)
	b = binary.BigEndian.AppendUint32(b, inPort)
	b = binary.BigEndian.AppendUint16(b, uint16(len(actions)))
	b = append(b, make([]byte, 6)...)
	b = append(b, actions...)
	return append(b, data...)
}
