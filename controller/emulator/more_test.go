package emulator

import (
	"net/netip"
	"strings"
	"testing"

	"meshlab.dev/meshlab/controller/flow"
)

func mustTrace(t *testing.T, s *Switch, port uint32, p Packet) Result {
	t.Helper()
	r, err := s.Trace(port, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPuntTellsFlowAndRegisters(t *testing.T) {
	s := mustSwitch(t, []flow.Flow{
		{Priority: 1, Actions: []flow.Action{flow.Load{Dst: flow.Reg3.All(), Value: 7}, flow.Resubmit{Table: 101}, flow.Output{Port: 2}}},
		{Table: 101, Priority: 1, Cookie: 9, Meter: 5, Actions: []flow.Action{flow.Controller{MaxLen: 128}}},
	}, nil)
	r := mustTrace(t, s, 1, syn("10.0.0.1:1", "10.0.0.2:2"))
	if len(r.ToController) != 1 || len(r.Outputs) != 1 {
		t.Fatalf("to the controller %v, out of %v; want one each", r.ToController, r.Outputs)
	}
	p := r.ToController[0]
	if p.Flow.Table != 101 || p.Flow.Cookie != 9 {
		t.Errorf("punted by %v, want the flow of table 101", p.Flow)
	}
	if p.Metadata[flow.Reg3] != 7 || p.Metadata[flow.InputPort] != 1 {
		t.Errorf("metadata %v, want reg3 7 and in_port 1", p.Metadata)
	}
	if _, ok := p.Packet[flow.Reg3]; ok || p.Packet.Src().String() != "10.0.0.1:1" {
		t.Errorf("packet %v, want the headers only", p.Packet)
	}
	if len(r.Meters) != 1 || r.Meters[0] != 5 {
		t.Errorf("meters %v, want [5]", r.Meters)
	}
}

func TestMissIsAStep(t *testing.T) {
	s := mustSwitch(t, []flow.Flow{{Priority: 1, Actions: []flow.Action{flow.Resubmit{Table: 48}, flow.Output{Port: 2}}}}, nil)
	r := mustTrace(t, s, 1, syn("10.0.0.1:1", "10.0.0.2:2"))
	if len(r.Path) != 2 || !r.Path[1].Miss || r.Path[1].Flow.Table != 48 || len(r.Outputs) != 1 {
		t.Errorf("path %+v, want a miss in table 48; out of %v", r.Path, r.Outputs)
	}
}

func TestLearnedFlowsCount(t *testing.T) {
	learn := flow.Learn{Table: 48, Priority: 10, IdleTimeout: 30, Notify: true, Match: []flow.LearnMatch{
		{Dst: flow.EthType.All(), Value: flow.EthTypeIPv4}, {Dst: flow.IPProto.All(), Value: flow.IPProtoTCP},
		{Dst: flow.TCPSrc.All(), Src: flow.TCPSrc.All()}, {Dst: flow.Reg5.Sub(0, 15), Src: flow.TCPDst.All()},
	}}
	s := mustSwitch(t, []flow.Flow{
		{Priority: 2, Match: flow.Match{flow.TCPFlags.Masked(SYN, SYN)}, Actions: []flow.Action{learn}},
		{Priority: 1, Actions: []flow.Action{flow.Move{Src: flow.TCPDst.All(), Dst: flow.Reg5.Sub(0, 15)}, flow.Resubmit{Table: 48}, flow.Output{Port: 2}}},
	}, nil)
	for range 2 {
		mustTrace(t, s, 1, syn("10.0.0.1:5000", "10.0.0.2:80"))
	}
	if got := s.Learned(); len(got) != 1 || got[0].Packets != 0 || got[0].Flow.Cookie != flow.CookieLearned || !got[0].Flow.Notify {
		t.Fatalf("learned %+v, want one flow that has counted nothing", got)
	}
	if m := s.Learned()[0].Flow.Match.String(); m != "tcp,reg5=0x50/0xffff,tp_src=5000" {
		t.Errorf("learned match %s", m)
	}
	ack := TCP("00:00:00:00:00:01", "00:00:00:00:00:02", "10.0.0.1:5000", "10.0.0.2:80", ACK)
	other := TCP("00:00:00:00:00:01", "00:00:00:00:00:02", "10.0.0.1:5001", "10.0.0.2:80", ACK)
	for _, p := range []Packet{ack, ack, other} {
		if r := mustTrace(t, s, 1, p); len(r.Outputs) != 1 {
			t.Errorf("%v: out of %v, want it to go on after the learned flow", p, r.Outputs)
		}
	}
	if got := s.Learned()[0].Packets; got != 2 {
		t.Errorf("the learned flow counted %d, want 2", got)
	}
	s.Forget()
	if got := s.Learned(); len(got) != 0 {
		t.Errorf("after a restart: %v", got)
	}
}

func TestZonesAreApart(t *testing.T) {
	table := uint8(1)
	commit := func(port uint64, zone uint16) flow.Flow {
		return flow.Flow{Priority: 1, Match: flow.Match{flow.InputPort.Is(port)}, Actions: []flow.Action{
			flow.CT{Zone: zone, Table: &table}, flow.CT{Zone: zone, Commit: true, Exec: []flow.Action{flow.Load{Dst: flow.CTMark.All(), Value: uint64(zone)}}}}}
	}
	s := mustSwitch(t, []flow.Flow{commit(1, 1), commit(2, 2)}, nil)
	p := syn("10.0.0.1:1", "10.0.0.2:2")
	for _, c := range []struct {
		port uint32
		mark uint64
	}{{1, 0}, {2, 0}, {1, 1}, {2, 2}} {
		r := mustTrace(t, s, c.port, p)
		if got := r.Path[1].Packet[flow.CTMark]; got != c.mark || r.Path[1].Packet[flow.CTZone] != uint64(c.port) {
			t.Errorf("from port %d: mark %d, want %d", c.port, got, c.mark)
		}
	}
}

func TestWhatIsTracked(t *testing.T) {
	const a, b = "00:00:00:00:00:01", "00:00:00:00:00:02"
	table := uint8(1)
	s := mustSwitch(t, []flow.Flow{{Priority: 1, Actions: []flow.Action{flow.CT{Table: &table}}}}, nil)
	for _, c := range []struct {
		p     Packet
		state uint64
	}{
		{UDP(a, b, "10.0.0.1:53", "10.0.0.2:53"), flow.CTNew},
		{OtherIP(a, b, "10.0.0.1", "10.0.0.2", flow.IPProtoICMP), flow.CTNew},
		{OtherIP(a, b, "10.0.0.1", "10.0.0.2", 47), flow.CTInvalid},
		{Ethernet(a, b, EthTypeIPv6), flow.CTInvalid},
		{ARPRequest(a, "10.0.0.1", "10.0.0.2"), flow.CTInvalid},
		{TCP(a, b, "10.0.0.1:1", "10.0.0.2:2", RST), flow.CTNew},
		{TCP(a, b, "10.0.0.1:1", "10.0.0.2:2", SYN|RST), flow.CTInvalid},
		{TCP(a, b, "10.0.0.1:1", "10.0.0.2:2", 0), flow.CTInvalid},
	} {
		if got := mustTrace(t, s, 1, c.p).Path[1].Packet[flow.CTState]; got != c.state|flow.CTTracked {
			t.Errorf("%v: ct_state %#x, want %#x", c.p, got, c.state|flow.CTTracked)
		}
	}
}

func TestPacketString(t *testing.T) {
	const a, b = "00:00:00:00:00:01", "00:00:00:00:00:02"
	for want, p := range map[string]Packet{
		"tcp SYN ACK 10.0.0.1:1 > 10.0.0.2:2":                   TCP(a, b, "10.0.0.1:1", "10.0.0.2:2", SYN|ACK),
		"tcp - 10.0.0.1:1 > 10.0.0.2:2":                         TCP(a, b, "10.0.0.1:1", "10.0.0.2:2", 0),
		"udp 10.0.0.1:1 > 10.0.0.2:2":                           UDP(a, b, "10.0.0.1:1", "10.0.0.2:2"),
		"icmp 10.0.0.1 > 10.0.0.2":                              OtherIP(a, b, "10.0.0.1", "10.0.0.2", 1),
		"ip proto 47 10.0.0.1 > 10.0.0.2":                       OtherIP(a, b, "10.0.0.1", "10.0.0.2", 47),
		"arp question 10.0.0.1 > 10.0.0.2":                      ARPRequest(a, "10.0.0.1", "10.0.0.2"),
		"eth type 0x86dd 00:00:00:00:00:01 > 00:00:00:00:00:02": Ethernet(a, b, EthTypeIPv6),
	} {
		if got := p.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// pair is s1 and s2, joined, with h1 at s1 and h2 at s2; s1 sends calls of
// port 80 to one of four ports of h2.
func pair(t *testing.T) *Network {
	t.Helper()
	g := flow.Group{ID: 1, Type: flow.GroupSelect}
	for port := range uint64(4) {
		g.Buckets = append(g.Buckets, flow.Bucket{Weight: 1, Actions: []flow.Action{
			flow.SetField{Field: flow.TCPDst, Value: 8000 + port}, flow.CT{Commit: true, Zone: 1}, flow.Output{Port: 2}}})
	}
	s1 := mustSwitch(t, []flow.Flow{
		{Priority: 2, Match: flow.Match{flow.EthType.Is(flow.EthTypeIPv4), flow.IPProto.Is(flow.IPProtoTCP), flow.TCPDst.Is(80)}, Actions: []flow.Action{flow.UseGroup{ID: 1}}},
		{Priority: 1, Actions: []flow.Action{flow.Output{Port: 2}, flow.Output{Port: 9}}},
	}, []flow.Group{g})
	s2 := mustSwitch(t, []flow.Flow{{Priority: 1, Actions: []flow.Action{flow.Output{Port: 2}}}}, nil)
	n := NewNetwork(map[string]*Switch{"s1": s1, "s2": s2})
	n.Wire(Port{"s1", 2}, Port{"s2", 1})
	n.Attach("h1", Port{"s1", 1})
	n.Attach("h2", Port{"s2", 2})
	return n
}

func TestNetworkTellsHopsAndLosses(t *testing.T) {
	n := pair(t)
	sent, err := n.Inject(Port{"s1", 1}, syn("10.0.0.1:1", "10.0.0.2:2"))
	if err != nil {
		t.Fatal(err)
	}
	if len(sent.Hops) != 2 || sent.Hops[0].At != (Port{"s1", 1}) || sent.Hops[1].At != (Port{"s2", 1}) {
		t.Errorf("hops %v, want s1:1 and s2:1", sent.Hops)
	}
	if len(sent.Delivered) != 1 || sent.Delivered[0].Host != "h2" {
		t.Errorf("delivered %v, want h2", sent.Delivered)
	}
	if len(sent.Lost) != 1 || sent.Lost[0].At != (Port{"s1", 9}) {
		t.Errorf("lost %v, want the copy at s1:9", sent.Lost)
	}
	if _, err := n.Inject(Port{"s9", 1}, Packet{}); err == nil || !strings.Contains(err.Error(), "no switch s9") {
		t.Errorf("into a switch that is not there: %v", err)
	}
}

func TestChoicesSpreadAndLeaveNoTrace(t *testing.T) {
	n := pair(t)
	got, err := n.Choices("h1", syn("10.0.0.1:10000", "10.0.0.2:80"), 4000)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[netip.AddrPort]int{}
	for _, to := range got {
		counts[to]++
	}
	if len(got) != 4000 || len(counts) != 4 {
		t.Fatalf("%d ports went to %v", len(got), counts)
	}
	for to, c := range counts {
		if c < 900 || c > 1100 {
			t.Errorf("%v got %d of 4000, want about a quarter", to, c)
		}
	}
	if left := len(n.switches["s1"].ct.byTuple); left != 0 {
		t.Errorf("%d connections are left", left)
	}
	none, err := n.Choices("h1", syn("10.0.0.1:65535", "10.0.0.2:81"), 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := none[0]; !ok || len(none) != 2 {
		t.Errorf("ports beyond the last: %v, want 65535 and 0", none)
	}
}
