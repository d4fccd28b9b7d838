package flow

import (
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Values of EthType and IPProto that have a name of their own in a match
// (IANA ethertypes and protocol numbers).
const (
	EthTypeIPv4 = 0x0800
	EthTypeARP  = 0x0806
	EthTypeIPv6 = 0x86dd
	IPProtoICMP = 1
	IPProtoTCP  = 6
	IPProtoUDP  = 17
	IPProtoSCTP = 132
)

// Bits of CTState (ovs-fields(7), ct_state).
const (
	CTNew         = 1 << 0
	CTEstablished = 1 << 1
	CTRelated     = 1 << 2
	CTReply       = 1 << 3
	CTInvalid     = 1 << 4
	CTTracked     = 1 << 5
	CTSourceNAT   = 1 << 6
	CTDestNAT     = 1 << 7
)

// Flag names in bit order, lowest first (ovs-fields(7), ct_state and
// tcp_flags). They are functions so that nobody can change them.
func ctStateNames() []string {
	return []string{"new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"}
}

func tcpFlagNames() []string {
	return []string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"}
}

// printOrder holds each field's place in a match that ovs-ofctl prints:
// connection state, registers, port, then the packet from the outside in.
func printOrder(f Field) int {
	switch {
	case f == CTState, f == CTZone, f == CTMark, f == CTLabel:
		return int(f - CTState)
	case f == EthType:
		return 10
	case f == IPProto:
		return 11
	case f >= Reg0 && f <= Reg7:
		return 20 + int(f-Reg0)
	case f == InputPort:
		return 30
	case f == ARPOp, f == TCPFlags:
		return 40 + int(ARPTPA)*2 + int(f) // after the addresses, and the ports
	case f == ARPSHA, f == ARPTHA:
		return 40 + int(ARPTPA)*4 + int(f)
	default:
		return 40 + int(f)
	}
}

// matchRoom is how many tests most matches have at most: a buffer of so many
// on the stack saves an allocation.
const matchRoom = 16

// Canonical is the match in the order of printing, in which prerequisites
// come before what needs them, as the wire demands too. The receiver stays
// as it is.
func (m Match) Canonical() Match { return m.AppendCanonical(nil) }

// AppendCanonical appends Canonical to dst, for callers with a buffer.
func (m Match) AppendCanonical(dst Match) Match {
	start := len(dst)
	dst = append(dst, m...)
	// Insertion keeps equals in order, and matches are short.
	for i := start + 1; i < len(dst); i++ {
		fm, rank := dst[i], printOrder(dst[i].Field)
		j := i
		for ; j > start && printOrder(dst[j-1].Field) > rank; j-- {
			dst[j] = dst[j-1]
		}
		dst[j] = fm
	}
	return dst
}

// exact tells the value that the match demands of a whole field.
func (m Match) exact(f Field) (uint64, bool) {
	for _, fm := range m {
		if fm.Field == f && fm.Mask == f.FullMask() {
			return fm.Value, true
		}
	}
	return 0, false
}

// shorthand is ovs-ofctl's word for the protocol the match demands ("tcp"),
// and tells whether the word says the IP protocol too.
func (m Match) shorthand() (word string, coversProto bool) {
	ethType, ok := m.exact(EthType)
	if !ok {
		return "", false
	}
	switch ethType {
	case EthTypeARP:
		return "arp", false
	case EthTypeIPv4:
	default:
		return "", false
	}
	proto, _ := m.exact(IPProto)
	switch proto {
	case IPProtoTCP:
		return "tcp", true
	case IPProtoUDP:
		return "udp", true
	case IPProtoICMP:
		return "icmp", true
	case IPProtoSCTP:
		return "sctp", true
	default:
		return "ip", false
	}
}

// String is the match in the syntax of ovs-ofctl, fields in its order; empty
// for a match of every packet.
func (m Match) String() string {
	word, coversProto := m.shorthand()
	var parts, last []string
	for _, fm := range m.Canonical() {
		switch {
		case fm.Field == EthType && word != "":
			parts = append(parts, word)
		case fm.Field == IPProto && coversProto:
		case fm.Field == IPProto:
			last = append(last, fm.String()) // behind the addresses
		default:
			parts = append(parts, fm.String())
		}
	}
	parts = append(parts, last...)
	return strings.Join(parts, ",")
}

// String is one test, such as nw_dst=10.0.0.0/8 or ct_state=+est+trk.
func (fm FieldMatch) String() string {
	name := fm.Field.String()
	switch fm.Field {
	case TCPSrc, UDPSrc:
		name = "tp_src"
	case TCPDst, UDPDst:
		name = "tp_dst"
	case CTState:
		return name + "=" + flagString(fm.Value, fm.Mask, ctStateNames())
	case TCPFlags:
		return name + "=" + flagString(fm.Value, fm.Mask, tcpFlagNames())
	}
	if fm.Mask == fm.Field.FullMask() {
		return name + "=" + valueString(fm.Field, fm.Value)
	}
	switch fm.Field {
	case IPv4Src, IPv4Dst, ARPSPA, ARPTPA:
		mask := uint32(fm.Mask)
		if ones := bits.LeadingZeros32(^mask); mask<<ones == 0 {
			return fmt.Sprintf("%s=%s/%d", name, valueString(fm.Field, fm.Value), ones)
		}
		return name + "=" + valueString(fm.Field, fm.Value) + "/" + valueString(fm.Field, fm.Mask)
	case EthSrc, EthDst, ARPSHA, ARPTHA:
		return name + "=" + valueString(fm.Field, fm.Value) + "/" + valueString(fm.Field, fm.Mask)
	default:
		return name + "=" + hexString(fm.Value) + "/" + hexString(fm.Mask)
	}
}

// flagString is +est-rpl for a test of some flags, and est|trk, naming only
// those that are set, for a test of all.
func flagString(value, mask uint64, names []string) string {
	all := uint64(1)<<len(names) - 1
	var b strings.Builder
	for i, name := range names {
		bit := uint64(1) << i
		switch {
		case mask&bit == 0, mask == all && value&bit == 0:
			continue
		case mask == all && b.Len() > 0:
			b.WriteByte('|')
		case mask == all:
		case value&bit != 0:
			b.WriteByte('+')
		default:
			b.WriteByte('-')
		}
		b.WriteString(name)
	}
	if b.Len() == 0 {
		return "0"
	}
	return b.String()
}

// hexString is C's "%#x", which has no prefix for zero.
func hexString(v uint64) string {
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", v)
}

// valueString prints a whole field's value the way a person reads it:
// addresses as addresses, ports in decimal, registers and marks in hex.
func valueString(f Field, v uint64) string {
	switch f {
	case IPv4Src, IPv4Dst, ARPSPA, ARPTPA:
		return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
	case EthSrc, EthDst, ARPSHA, ARPTHA:
		return net.HardwareAddr{byte(v >> 40), byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}.String()
	case InputPort:
		return portString(uint32(v))
	case EthType:
		return fmt.Sprintf("0x%04x", v)
	case TCPFlags, CTMark, CTLabel, CTState,
		Reg0, Reg1, Reg2, Reg3, Reg4, Reg5, Reg6, Reg7:
		return hexString(v)
	default:
		return strconv.FormatUint(v, 10)
	}
}

// Reserved port numbers (OpenFlow 1.3.5, section 7.2.1, enum ofp_port_no).
const (
	PortInPort     uint32 = 0xfffffff8
	PortTable      uint32 = 0xfffffff9
	PortNormal     uint32 = 0xfffffffa
	PortFlood      uint32 = 0xfffffffb
	PortAll        uint32 = 0xfffffffc
	PortController uint32 = 0xfffffffd
	PortLocal      uint32 = 0xfffffffe
	PortAny        uint32 = 0xffffffff
)

func portString(p uint32) string {
	switch p {
	case PortInPort:
		return "IN_PORT"
	case PortTable:
		return "TABLE"
	case PortNormal:
		return "NORMAL"
	case PortFlood:
		return "FLOOD"
	case PortAll:
		return "ALL"
	case PortController:
		return "CONTROLLER"
	case PortLocal:
		return "LOCAL"
	case PortAny:
		return "ANY"
	default:
		return strconv.FormatUint(uint64(p), 10)
	}
}

// String is the flow as "ovs-ofctl -O OpenFlow13 add-flow" takes it, without
// cookie and reason: what two flows that print alike do to a packet is the same.
func (f Flow) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table=%d, ", f.Table)
	if f.Notify {
		b.WriteString("send_flow_rem ")
	}
	fmt.Fprintf(&b, "priority=%d", f.Priority)
	if m := f.Match.String(); m != "" {
		b.WriteByte(',')
		b.WriteString(m)
	}
	b.WriteString(" actions=")
	switch {
	case f.Meter == 0:
		b.WriteString(actionsString(f.Actions))
	case len(f.Actions) == 0:
		fmt.Fprintf(&b, "meter:%d", f.Meter)
	default:
		fmt.Fprintf(&b, "meter:%d,%s", f.Meter, joinActions(f.Actions))
	}
	return b.String()
}

// String is the group as "ovs-ofctl -O OpenFlow13 add-group" takes it.
func (g Group) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "group_id=%d,type=%s", g.ID, g.Type)
	for _, bucket := range g.Buckets {
		b.WriteString(",bucket=")
		if g.Type == GroupSelect && bucket.Weight != 1 { // 1 is the default
			fmt.Fprintf(&b, "weight:%d,", bucket.Weight)
		}
		b.WriteString("actions=")
		b.WriteString(actionsString(bucket.Actions))
	}
	return b.String()
}

// String is the type's name in ovs-ofctl.
func (t GroupType) String() string {
	switch t {
	case GroupAll:
		return "all"
	case GroupSelect:
		return "select"
	default:
		return fmt.Sprintf("GroupType(%d)", uint8(t))
	}
}
