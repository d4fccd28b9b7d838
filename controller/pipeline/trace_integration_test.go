//go:build integration

package pipeline_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/emulator"
	"meshlab.dev/meshlab/controller/flow"
	"meshlab.dev/meshlab/controller/internal/ovstest"
)

// twins are the three switches of the reference lab twice: in memory, and as
// bridges of Open vSwitch whose ports lead nowhere.
type twins struct {
	t      *testing.T
	ovs    *ovstest.OVS
	memory map[string]*emulator.Switch
	ofport map[string]uint32 // port number of the datapath -> OpenFlow port
	path   []string          // tables that the last packet met, as "s1/30"
}

// The wires and hosts of the reference lab; see hashicups.
var (
	trunks = map[emulator.Port]emulator.Port{
		{Switch: "s1", Port: 3}: {Switch: "s3", Port: 1}, {Switch: "s3", Port: 1}: {Switch: "s1", Port: 3},
		{Switch: "s2", Port: 3}: {Switch: "s3", Port: 2}, {Switch: "s3", Port: 2}: {Switch: "s2", Port: 3},
	}
	access = map[string]emulator.Port{
		"h1": {Switch: "s1", Port: 1}, "h2": {Switch: "s1", Port: 2}, "h3": {Switch: "s2", Port: 1},
		"db1": {Switch: "s2", Port: 2}, "server": {Switch: "s3", Port: 3},
	}
)

func newTwins(t *testing.T) *twins {
	t.Helper()
	w := &twins{t: t, ovs: ovstest.Start(t), memory: map[string]*emulator.Switch{}, ofport: map[string]uint32{}}
	f, dps, snap := hashicups()
	for _, dp := range dps {
		p := mustCompile(t, f, dp, snap)
		s, err := emulator.NewSwitch(p.Flows, p.Groups)
		if err != nil {
			t.Fatal(err)
		}
		w.memory[dp.Name] = s
		w.ovs.AddBridge(dp.Name)
		for port := 1; port <= 3; port++ {
			name := fmt.Sprintf("%s-%d", dp.Name, port)
			w.ovs.Vsctl("add-port", dp.Name, name, "--", "set", "Interface", name, "type=internal", fmt.Sprintf("ofport_request=%d", port))
		}
		for _, m := range p.Meters {
			w.ovs.Ofctl("add-meter", dp.Name, fmt.Sprintf("meter=%d,pktps,burst,bands=type=drop,rate=%d,burst_size=%d", m.ID, m.Rate, m.Burst))
		}
		for _, g := range p.Groups {
			w.ovs.Ofctl("add-group", dp.Name, g.String())
		}
		for _, fl := range p.Flows {
			w.ovs.Ofctl("add-flow", dp.Name, fl.String())
		}
	}
	// "    s1-1 1/4: (tap)": name, OpenFlow port, port of the datapath.
	for _, m := range regexp.MustCompile(`s\d-\d (\d+)/(\d+):`).FindAllStringSubmatch(w.ovs.Appctl("dpif/show"), -1) {
		w.ofport[m[2]] = uint32(w.number(m[1]))
	}
	if len(w.ofport) != 9 {
		t.Fatalf("ports of the datapath: %v, want 9", w.ofport)
	}
	return w
}

func (w *twins) number(text string) uint64 {
	w.t.Helper()
	v, err := strconv.ParseUint(text, 0, 32)
	if err != nil {
		w.t.Fatalf("read a number: %v", err)
	}
	return v
}

// send follows a packet from a host through both networks. At each switch
// both must agree on ports and headers. It gives "h2: src > dst" for each
// delivery, and "controller".
func (w *twins) send(from string, p emulator.Packet) []string {
	w.t.Helper()
	type arrival struct {
		at emulator.Port
		p  emulator.Packet
	}
	w.path = nil
	var ends []string
	for queue := []arrival{{access[from], p}}; len(queue) > 0; queue = queue[1:] {
		a := queue[0]
		got, err := w.memory[a.at.Switch].Trace(a.at.Port, a.p)
		if err != nil {
			w.t.Fatal(err)
		}
		w.compare(a.at, a.p, got)
		for _, s := range got.Path {
			w.path = append(w.path, fmt.Sprintf("%s/%d", a.at.Switch, s.Flow.Table))
		}
		if got.Controller() {
			ends = append(ends, "controller")
		}
		for _, o := range got.Outputs {
			out := emulator.Port{Switch: a.at.Switch, Port: o.Port}
			if next, ok := trunks[out]; ok {
				queue = append(queue, arrival{next, o.Packet})
				continue
			}
			for host, port := range access {
				if port == out {
					ends = append(ends, host+": "+addresses(o.Packet))
				}
			}
		}
	}
	slices.Sort(ends)
	return ends
}

func addresses(p emulator.Packet) string {
	if p[flow.EthType] == flow.EthTypeARP {
		return p.String()
	}
	return fmt.Sprintf("%v > %v", p.Src(), p.Dst())
}

// compared are the headers that flows may change.
var compared = []flow.Field{
	flow.EthSrc, flow.EthDst, flow.IPv4Src, flow.IPv4Dst, flow.TCPSrc, flow.TCPDst,
	flow.ARPOp, flow.ARPSPA, flow.ARPTPA, flow.ARPSHA, flow.ARPTHA,
}

// compare asks ofproto/trace for the same packet with the same stored
// connection (ovs-vswitchd(8), "ofproto/trace").
func (w *twins) compare(at emulator.Port, p emulator.Packet, got emulator.Result) {
	w.t.Helper()
	args := []string{"ofproto/trace", at.Switch, w.question(at, p, got)}
	for _, s := range got.Path {
		if state := s.Packet[flow.CTState]; state != 0 {
			args = append(args, "--ct-next", stateNames(state))
			break
		}
	}
	text := w.ovs.Appctl(args...)
	real := w.parse(text)
	var ports []uint32
	for _, o := range got.Outputs {
		ports = append(ports, o.Port)
	}
	slices.Sort(ports)
	if !slices.Equal(ports, real.ports) || got.Controller() != real.controller {
		w.t.Fatalf("%s, %v: in memory out of %v, controller %t; Open vSwitch: out of %v, controller %t\n%s",
			at.Switch, p, ports, got.Controller(), real.ports, real.controller, text)
	}
	var last emulator.Packet
	switch {
	case len(got.Outputs) > 0:
		last = got.Outputs[len(got.Outputs)-1].Packet
	case got.Controller():
		last = got.ToController[0].Packet
	default:
		return
	}
	for _, f := range compared {
		value, ok := last[f]
		if !ok {
			continue
		}
		want := f.Is(value).String()
		if alias, ok := map[flow.Field]string{flow.TCPSrc: "tp_src", flow.TCPDst: "tp_dst"}[f]; ok {
			want = fmt.Sprintf("%s=%d", alias, value)
		}
		if !slices.Contains(real.headers, want) {
			w.t.Fatalf("%s, %v: leaves with %s in memory; Open vSwitch: %v\n%s", at.Switch, p, want, real.headers, text)
		}
	}
}

// question is the packet as ofproto/trace reads it. Mark and label of the
// stored connection go with it, as tracing does not look connections up.
func (w *twins) question(at emulator.Port, p emulator.Packet, got emulator.Result) string {
	m := flow.Match{flow.InputPort.Is(uint64(at.Port))}
	for f, v := range p {
		if f != flow.TCPFlags {
			m = append(m, f.Is(v))
		}
	}
	q := m.String()
	if p[flow.EthType] == flow.EthTypeIPv4 {
		q += fmt.Sprintf(",nw_ttl=64,tcp_flags=%#x", p[flow.TCPFlags])
	}
	for _, s := range got.Path {
		if mark := s.Packet[flow.CTMark]; mark != 0 {
			return q + fmt.Sprintf(",ct_mark=%#x,ct_label=%#x", mark, s.Packet[flow.CTLabel])
		}
	}
	return q
}

func stateNames(state uint64) string {
	var names []string
	for _, s := range []struct {
		bit  uint64
		name string
	}{{flow.CTTracked, "trk"}, {flow.CTNew, "new"}, {flow.CTEstablished, "est"}, {flow.CTReply, "rpl"}, {flow.CTInvalid, "inv"}} {
		if state&s.bit != 0 {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, ",")
}

// answer is what ofproto/trace says.
type answer struct {
	ports      []uint32 // OpenFlow ports, sorted
	controller bool
	headers    []string // "nw_src=192.168.1.11" and so on, as the packet leaves
}

// parse reads the stages of a trace: one, and one more for each pass through
// connection tracking.
func (w *twins) parse(text string) answer {
	w.t.Helper()
	var a answer
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "Flow: "); ok {
			a.headers = strings.Split(rest, ",")
		}
		if rest, ok := strings.CutPrefix(line, "Final flow: "); ok && rest != "unchanged" {
			a.headers = strings.Split(rest, ",")
		}
		rest, ok := strings.CutPrefix(line, "Datapath actions: ")
		if !ok {
			continue
		}
		a.controller = a.controller || strings.Contains(rest, "userspace(")
		for _, action := range topLevel(rest) {
			if strings.Trim(action, "0123456789") != "" {
				continue
			}
			port, ok := w.ofport[action]
			if !ok {
				w.t.Fatalf("port %s of the datapath is none of %v\n%s", action, w.ofport, text)
			}
			a.ports = append(a.ports, port)
		}
	}
	slices.Sort(a.ports)
	return a
}

// topLevel splits at the commas outside of parentheses.
func topLevel(actions string) []string {
	depth := 0
	return strings.FieldsFunc(actions, func(r rune) bool {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		return r == ',' && depth == 0
	})
}

// TestRealSwitchAgrees compares the switch in memory, on which the other
// tests stand, with Open vSwitch's own account of the same flows.
func TestRealSwitchAgrees(t *testing.T) {
	w := newTwins(t)
	// A trace of Open vSwitch ends at a group with several buckets, as it has
	// no hash of the packet: the first packet of this one goes through memory
	// alone.
	pair := ""
	for port := 5100; pair == ""; port++ { // until the slot is one of h2's
		client := fmt.Sprintf("%s:%d", h1, port)
		r, err := w.memory["s1"].Trace(1, emulator.TCP(mac1, vipMAC, client, vip+":9341", emulator.SYN))
		if err != nil || port == 5200 {
			t.Fatalf("no port leads to h2: %v", err)
		}
		if len(r.Outputs) == 1 && r.Outputs[0].Port == 2 {
			pair = client
		}
	}
	const (
		syn, ack   = emulator.SYN, emulator.ACK
		db, macDB  = "192.168.1.21", "00:00:00:00:00:04"
		callVIP    = vip + ":9340"
		paymentsAt = h3 + ":13427"
		publicAt   = h1 + ":20863"
		arp        = "arp question " + h2 + " > " + h3
	)
	tcp := emulator.TCP
	steps := []struct {
		name string
		from string
		p    emulator.Packet
		want string // deliveries, sorted, joined by ", "
		via  string // a table that must be met
	}{
		{"call", "h1", tcp(mac1, vipMAC, h1+":5000", callVIP, syn), "h3: " + h1 + ":5000 > " + paymentsAt, "s1/45"},
		{"answer", "h3", tcp(mac3, mac1, paymentsAt, h1+":5000", syn|ack), "h1: " + callVIP + " > " + h1 + ":5000", "s1/75"},
		{"known call", "h1", tcp(mac1, vipMAC, h1+":5000", callVIP, ack), "h3: " + h1 + ":5000 > " + paymentsAt, "s1/34"},

		{"known call, one of two instances", "h1", tcp(mac1, vipMAC, pair, vip+":9341", ack), "h2: " + pair + " > " + h2 + ":19572", "s1/34"},
		{"answer of one of two instances", "h2", tcp(mac2, mac1, h2+":19572", pair, ack), "h1: " + vip + ":9341 > " + pair, "s1/75"},
		{"direct answer of the other", "h3", tcp(mac3, mac1, h3+":19572", pair, ack), "h1: " + h3 + ":19572 > " + pair, "s1/75"},

		{"hairpin call", "h1", tcp(mac1, vipMAC, h1+":5001", vip+":9191", syn), "h1: " + hairpin + ":5001 > " + publicAt, "s1/50"},
		{"hairpin answer", "h1", tcp(mac1, vipMAC, publicAt, hairpin+":5001", syn|ack), "h1: " + vip + ":9191 > " + h1 + ":5001", "s1/72"},
		{"known hairpin call", "h1", tcp(mac1, vipMAC, h1+":5001", vip+":9191", ack), "h1: " + hairpin + ":5001 > " + publicAt, "s1/32"},

		{"call from h2", "h2", tcp(mac2, vipMAC, h2+":5002", vip+":9567", syn), "db1: " + h2 + ":5002 > " + db + ":5432", "s3/90"},
		{"answer to h2", "db1", tcp(macDB, mac2, db+":5432", h2+":5002", ack), "h2: " + vip + ":9567 > " + h2 + ":5002", "s1/75"},

		{"direct call", "h1", tcp(mac1, mac3, h1+":5003", paymentsAt, syn), "h3: " + h1 + ":5003 > " + paymentsAt, "s1/10"},
		{"direct answer", "h3", tcp(mac3, mac1, paymentsAt, h1+":5003", syn|ack), "h1: " + paymentsAt + " > " + h1 + ":5003", "s1/75"},
		{"direct on one switch", "h2", tcp(mac2, mac1, h2+":5004", publicAt, syn), "h1: " + h2 + ":5004 > " + publicAt, "s1/70"},
		{"not an instance", "h3", tcp(mac3, mac2, h3+":5005", h2+":1", syn), "h2: " + h3 + ":5005 > " + h2 + ":1", "s2/18"},

		{"unknown bind port", "h1", tcp(mac1, vipMAC, h1+":5006", vip+":1", syn), "controller", "s1/20"},
		{"bind port of another host", "h2", tcp(mac2, vipMAC, h2+":5006", callVIP, syn), "controller", "s1/20"},
		{"reset of an unknown connection", "h1", tcp(mac1, vipMAC, h1+":5007", callVIP, emulator.RST), "", "s1/30"},
		{"answer to nothing", "h1", tcp(mac1, vipMAC, h1+":5008", callVIP, syn|ack), "", "s1/30"},
		{"ARP for the virtual address", "h1", emulator.ARPRequest(mac1, h1, vip), "h1: arp answer " + vip + " > " + h1, "s1/5"},
		{"ARP for a host", "h2", emulator.ARPRequest(mac2, h2, h3), "db1: " + arp + ", h1: " + arp + ", h3: " + arp + ", server: " + arp, "s2/90"},
		{"unknown MAC address", "h1", tcp(mac1, "00:00:00:00:00:99", h1+":5009", "192.168.1.99:1", syn), "", "s1/90"},
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			w.t = t
			got := strings.Join(w.send(s.from, s.p), ", ")
			if got != s.want {
				t.Errorf("%v from %s: %q, want %q", s.p, s.from, got, s.want)
			}
			if !slices.Contains(w.path, s.via) {
				t.Errorf("%v from %s met %v, not %s", s.p, s.from, w.path, s.via)
			}
		})
	}
}
