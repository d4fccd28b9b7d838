package datapath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// mostEnded bounds the work of one Relieve.
const mostEnded = 2000

// Connection is a TCP connection over IPv4 that connection tracking knows, by
// its original direction.
type Connection struct {
	Zone     uint16
	Src, Dst netip.AddrPort
}

// Relieve looks for TCP connections that have ended, in the zones that are at
// least half full, and has forget remove them; forget is not called without
// any. The userspace datapath counts a connection for 30 to 50 s after its
// end otherwise: the state times out after 30 s, and it looks every 20 s.
// Call it about every second. It returns how many were handed to forget, at
// most 2000.
//
// A connection that begins between the look and the forgetting, from the same
// port of the same client as an ended one, is forgotten too: a matter of
// milliseconds in which no client takes the same port again by chance. One that
// begins after the end, from the same port and while the zone is full, is
// refused, and hides the ended one: the datapath lists it no more, and counts it
// until it looks the next time (conn_force_expire in lib/conntrack.c of 3.1).
func (c *Control) Relieve(ctx context.Context, forget func(context.Context, []Connection) error) (int, error) {
	var ended []Connection
	err := c.with(ctx, func(s *session) error {
		limits, err := c.limits(s)
		if err != nil {
			return err
		}
		for _, zone := range slices.Sorted(maps.Keys(limits)) {
			if l := limits[zone]; uint64(l.Connections)*2 < uint64(l.Limit) {
				continue
			}
			text, err := s.call("dpctl/dump-conntrack", c.name, fmt.Sprintf("zone=%d", zone))
			if err != nil {
				return fmt.Errorf("list connections of zone %d: %w", zone, err)
			}
			ended = appendEnded(ended, text, zone)
		}
		return nil
	})
	if err != nil || len(ended) == 0 {
		return 0, err
	}
	if err := forget(ctx, ended); err != nil {
		return 0, fmt.Errorf("forget ended connections: %w", err)
	}
	return len(ended), nil
}

// appendEnded appends the ended connections in what dpctl/dump-conntrack
// prints, as long as there are fewer than mostEnded.
func appendEnded(to []Connection, text string, zone uint16) []Connection {
	for line := range strings.Lines(text) {
		if len(to) >= mostEnded {
			break
		}
		if c, ok := parseEnded(strings.TrimSpace(line), zone); ok {
			to = append(to, c)
		}
	}
	return to
}

// parseEnded reads a line of dpctl/dump-conntrack. It is not ok when the
// line is of another zone, not TCP over IPv4, or of a connection that has not
// ended. The userspace datapath tells TIME_WAIT after both FINs, and after a
// reset.
func parseEnded(line string, zone uint16) (Connection, bool) {
	rest, ok := strings.CutPrefix(line, "tcp,orig=(src=")
	if !ok {
		return Connection{}, false
	}
	original, rest, ok := strings.Cut(rest, "),")
	if !ok || !strings.Contains(rest, fmt.Sprintf("),zone=%d,", zone)) || !strings.HasSuffix(rest, ",protoinfo=(state=TIME_WAIT)") {
		return Connection{}, false
	}
	fields := strings.Split(original, ",")
	if len(fields) != 4 {
		return Connection{}, false
	}
	src, err1 := netip.ParseAddr(fields[0])
	to, isDst := strings.CutPrefix(fields[1], "dst=")
	dst, err2 := netip.ParseAddr(to)
	sport, err3 := number(fields[2], "sport=", 16)
	dport, err4 := number(fields[3], "dport=", 16)
	if errors.Join(err1, err2, err3, err4) != nil || !isDst || !src.Is4() || !dst.Is4() {
		return Connection{}, false
	}
	return Connection{zone, netip.AddrPortFrom(src, uint16(sport)), netip.AddrPortFrom(dst, uint16(dport))}, true
}

// FlushBody is the body of an OpenFlow 1.3 experimenter message, without the
// header of 8 bytes, that makes the switch forget the connection: NXT_CT_FLUSH
// of Open vSwitch 3.1 (include/openflow/nicira-ext.h). A bridge of the
// datapath takes it. Of ovs-vswitchd's control socket the same cannot be asked in 3.1:
// dpctl/flush-conntrack takes no name of a datapath, and without one logs a
// warning each time where there is no kernel module.
func (c Connection) FlushBody() []byte {
	b := make([]byte, 0, 96)
	b = binary.BigEndian.AppendUint32(b, 0x00002320) // NX_VENDOR_ID
	b = binary.BigEndian.AppendUint32(b, 32)         // NXT_CT_FLUSH
	b = append(b, 6, 0, 0, 0, 0, 0, 0, 0)            // IPPROTO_TCP, padding
	property := func(kind, length uint16) {
		b = binary.BigEndian.AppendUint16(b, kind)
		b = binary.BigEndian.AppendUint16(b, length)
	}
	address := func(kind uint16, a netip.Addr) {
		property(kind, 20)
		mapped := a.As16() // IPv4 as ::ffff:a.b.c.d
		b = append(append(b, mapped[:]...), 0, 0, 0, 0)
	}
	short := func(kind, value uint16) {
		property(kind, 8)
		b = append(binary.BigEndian.AppendUint16(b, value), 0, 0)
	}
	property(0, 72) // NXT_CT_ORIG_TUPLE, with those up to the ports nested
	b = append(b, 0, 0, 0, 0)
	address(0, c.Src.Addr()) // NXT_CT_TUPLE_SRC
	address(1, c.Dst.Addr()) // NXT_CT_TUPLE_DST
	short(2, c.Src.Port())   // NXT_CT_TUPLE_SRC_PORT
	short(3, c.Dst.Port())   // NXT_CT_TUPLE_DST_PORT
	short(2, c.Zone)         // NXT_CT_ZONE_ID
	return b
}
