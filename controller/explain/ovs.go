package explain

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"meshlab.dev/meshlab/controller/emulator"
	"meshlab.dev/meshlab/controller/flow"
)

// ovsQuestion asks Open vSwitch for the way of a packet from the first of
// the hops on: the arguments of ovs-appctl (ovs-vswitchd(8), "ofproto/trace").
// What ofproto/trace does not find out, it is told: the states of connections
// in the order in which they are asked for, the mark of a stored one, and the
// hash by which a group chooses.
func ovsQuestion(hops []emulator.Hop) []string {
	first := hops[0]
	m := flow.Match{flow.InputPort.Is(uint64(first.At.Port))}
	for f, v := range first.Packet {
		if f != flow.TCPFlags {
			m = append(m, f.Is(v))
		}
	}
	text := m.String()
	if first.Packet[flow.IPProto] == flow.IPProtoUDP {
		// To ofproto/trace, tp_src and tp_dst are those of TCP.
		text = strings.NewReplacer("tp_src=", "udp_src=", "tp_dst=", "udp_dst=").Replace(text)
	}
	if first.Packet[flow.EthType] == flow.EthTypeIPv4 {
		text += ",nw_ttl=64"
	}
	if first.Packet[flow.IPProto] == flow.IPProtoTCP {
		text += fmt.Sprintf(",tcp_flags=%#x", first.Packet[flow.TCPFlags])
	}
	var next []string
	mark, hash := false, false
	for i, h := range hops {
		for n, s := range h.Result.Path {
			if s.Choice != nil && !hash {
				text += fmt.Sprintf(",dp_hash=%#x", s.Choice.Hash)
				hash = true
			}
			state := s.Packet[flow.CTState]
			if n > 0 && state != 0 && h.Result.Path[n-1].Packet[flow.CTState] == 0 {
				next = append(next, "--ct-next", stateNames(state))
			}
			if v := s.Packet[flow.CTMark]; i == 0 && v != 0 && !mark {
				text += fmt.Sprintf(",ct_mark=%#x,ct_label=%#x", v, s.Packet[flow.CTLabel])
				mark = true
			}
		}
	}
	return append([]string{"ofproto/trace", first.At.Switch, text}, next...)
}

// stateNames is a state of connection tracking as --ct-next takes it.
func stateNames(state uint64) string {
	var names []string
	for _, s := range []struct {
		bit  uint64
		name string
	}{
		{flow.CTTracked, "trk"}, {flow.CTNew, "new"}, {flow.CTEstablished, "est"},
		{flow.CTRelated, "rel"}, {flow.CTReply, "rpl"}, {flow.CTInvalid, "inv"},
	} {
		if state&s.bit != 0 {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, ",")
}

// OVSStep is a flow that Open vSwitch says a packet meets.
type OVSStep struct {
	Bridge   string
	Table    uint8
	Miss     bool
	Match    string
	Priority uint16
	Cookie   uint64 // 0: the flow has none
}

// Bounds of what ParseOVS reads: more is no trace.
const (
	maxTraceBytes = 16 << 20
	maxTraceSteps = 100_000
)

// ParseOVS reads the output of ofproto/trace. It takes lines that it does not
// know for remarks; only an output without any step is an error.
func ParseOVS(text string) ([]OVSStep, error) {
	if len(text) > maxTraceBytes {
		return nil, fmt.Errorf("read the output of ofproto/trace: it has %d bytes", len(text))
	}
	bridge := regexp.MustCompile(`^\s*bridge\("([^"]*)"\)$`)
	step := regexp.MustCompile(`^\s*(\d{1,3})\. (.+)$`)
	var out []OVSStep
	at := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if m := bridge.FindStringSubmatch(line); m != nil {
			at = m[1]
			continue
		}
		m := step.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		s, ok := parseStep(m[1], m[2])
		if !ok {
			continue
		}
		if len(out) == maxTraceSteps {
			return nil, fmt.Errorf("read the output of ofproto/trace: it has more than %d steps", maxTraceSteps)
		}
		s.Bridge = at
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read the output of ofproto/trace: it has no step; it begins with %.200q", text)
	}
	return out, nil
}

// parseStep reads "MATCH, priority 100, cookie 0x4d4c", in which the match or
// the cookie may be missing, or "No match.". The internal flows of Open vSwitch
// for what no flow matches test reg0 and have priority 0 (add_internal_flows,
// ofproto/ofproto-dpif.c).
func parseStep(table, rest string) (OVSStep, bool) {
	n, err := strconv.ParseUint(table, 10, 8)
	if err != nil {
		return OVSStep{}, false
	}
	s := OVSStep{Table: uint8(n)}
	if strings.HasPrefix(rest, "No match") {
		s.Miss = true
		return s, true
	}
	at := strings.LastIndex(rest, "priority ")
	if at < 0 {
		return OVSStep{}, false
	}
	s.Match = strings.TrimSuffix(strings.TrimSpace(rest[:at]), ",")
	priority, cookie, hasCookie := strings.Cut(rest[at+len("priority "):], ", cookie ")
	p, err := strconv.ParseUint(strings.TrimSpace(priority), 10, 16)
	if err != nil {
		return OVSStep{}, false
	}
	s.Priority = uint16(p)
	if hasCookie {
		if s.Cookie, err = strconv.ParseUint(strings.TrimSpace(cookie), 0, 64); err != nil {
			return OVSStep{}, false
		}
	}
	s.Miss = s.Cookie == 0 && s.Priority == 0 && (s.Match == "reg0=0x1" || s.Match == "reg0=0x2")
	return s, true
}
