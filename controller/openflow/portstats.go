package openflow

import (
	"context"
	"encoding/binary"
	"fmt"
)

// PortStats is what a switch counted at one port, since the port is there.
// Open vSwitch counts at patch ports when it reads its caches' counters: up to
// a second later. What it cannot count is math.MaxUint64 (OpenFlow 1.3.5,
// section 7.3.5.6).
type PortStats struct {
	Number    uint32
	RxPackets uint64
	TxPackets uint64
	RxBytes   uint64
	TxBytes   uint64
}

// PortStats reads the counters of all ports.
func (c *Conn) PortStats(ctx context.Context) ([]PortStats, error) {
	body := binary.BigEndian.AppendUint32(nil, anyPort) // ofp_port_stats_request: port and 4 bytes of padding
	body = binary.BigEndian.AppendUint32(body, 0)
	return readAll(ctx, c, "counters of ports", multipartPortStats, body, decodePortStats)
}

// decodePortStats appends a run of ofp_port_stats to out, 112 bytes each.
func decodePortStats(out []PortStats, b []byte) ([]PortStats, error) {
	const size = 112
	if len(b)%size != 0 {
		return nil, fmt.Errorf("decode counters of ports: %d bytes are no multiple of %d: %w", len(b), size, errShort)
	}
	for ; len(b) > 0; b = b[size:] {
		out = append(out, PortStats{
			Number:    binary.BigEndian.Uint32(b),
			RxPackets: binary.BigEndian.Uint64(b[8:]),
			TxPackets: binary.BigEndian.Uint64(b[16:]),
			RxBytes:   binary.BigEndian.Uint64(b[24:]),
			TxBytes:   binary.BigEndian.Uint64(b[32:]),
		})
	}
	return out, nil
}
