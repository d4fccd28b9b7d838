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

// decodeFlowStats appends a run of ofp_flow_stats to out (section 7.3.5.2).
func decodeFlowStats(out []FlowStats, b []byte) ([]FlowStats, error) {
	const fixed = 48 // up to the match, which has at least 8 bytes
	for len(b) > 0 {
		entry, rest, err := cut(b, fixed+8)
		if err != nil {
			return nil, fmt.Errorf("decode flow %d: %w", len(out)+1, err)
		}
		b = rest
		out = append(out, FlowStats{
			Table:    entry[2],
			Duration: duration(entry[4:]),
			Priority: binary.BigEndian.Uint16(entry[12:]),
			Cookie:   binary.BigEndian.Uint64(entry[24:]),
			Packets:  known(binary.BigEndian.Uint64(entry[32:])),
			Bytes:    known(binary.BigEndian.Uint64(entry[40:])),
		})
	}
	return out, nil
}

// duration reads seconds and nanoseconds, 32 bits each.
func duration(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b))*time.Second + time.Duration(binary.BigEndian.Uint32(b[4:]))
}

// known turns the "not counted" of a switch, all ones, into 0.
func known(n uint64) uint64 {
	if bits.OnesCount64(n) == 64 {
		return 0
	}
	return n
}

// decodeGroupDesc appends the ids of a run of ofp_group_desc to out (section
// 7.3.5.7).
func decodeGroupDesc(out []uint32, b []byte) ([]uint32, error) {
	return decodeIDs(out, b, "group")
}

// decodeMeterConfig appends the ids of a run of ofp_meter_config to out
// (section 7.3.5.12).
func decodeMeterConfig(out []uint32, b []byte) ([]uint32, error) {
	return decodeIDs(out, b, "meter")
}

// decodeIDs reads entries that have their id behind length and kind.
func decodeIDs(out []uint32, b []byte, what string) ([]uint32, error) {
	for len(b) > 0 {
		entry, rest, err := cut(b, 8)
		if err != nil {
			return nil, fmt.Errorf("decode %s %d: %w", what, len(out)+1, err)
		}
		b = rest
		out = append(out, binary.BigEndian.Uint32(entry[4:]))
	}
	return out, nil
}

// decodePortDesc appends a run of ofp_port to out (section 7.2.1), 64 bytes each.
func decodePortDesc(out []PortDesc, b []byte) ([]PortDesc, error) {
	const size = 64
	if len(b)%size != 0 {
		return nil, fmt.Errorf("decode ports: %d bytes are no multiple of %d: %w", len(b), size, errShort)
	}
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
