package flow

import "testing"

func TestFlowString(t *testing.T) {
	table := uint8(31)
	ip, tcp := EthType.Is(EthTypeIPv4), IPProto.Is(IPProtoTCP)
	for _, tt := range []struct {
		flow Flow
		want string
	}{
		{Flow{}, "table=0, priority=0 actions=drop"},
		{
			Flow{Table: 30, Priority: 100, Reason: "not printed", Cookie: 7,
				Match: Match{InputPort.Is(1), ip, tcp, IPv4Dst.Is(0xc0a801fa), TCPDst.Is(9341)},
				Actions: []Action{Load{Reg0.All(), 1}, CT{Commit: true, Zone: 1, Exec: []Action{Move{Reg1.All(), CTLabel.Sub(0, 31)}}},
					Resubmit{50}}},
			"table=30, priority=100,tcp,in_port=1,nw_dst=192.168.1.250,tp_dst=9341 actions=load:0x1->NXM_NX_REG0[]," +
				"ct(commit,zone=1,exec(move:NXM_NX_REG1[]->NXM_NX_CT_LABEL[0..31])),resubmit(,50)",
		},
		{
			Flow{Match: Match{ip, CTState.Masked(CTTracked|CTEstablished, CTTracked|CTEstablished|CTReply)}, Actions: []Action{CT{Zone: 2, Table: &table}}},
			"table=0, priority=0,ct_state=+est-rpl+trk,ip actions=ct(table=31,zone=2)",
		},
		{
			Flow{Match: Match{EthType.Is(EthTypeARP), ARPOp.Is(1), ARPTPA.Masked(0x0a000000, 0xff000000)}, Actions: []Action{InPort{}, Controller{128}}},
			"table=0, priority=0,arp,arp_tpa=10.0.0.0/8,arp_op=1 actions=IN_PORT,CONTROLLER:128",
		},
		{
			Flow{Match: Match{Reg3.Masked(0x10, 0xf0), EthDst.Masked(1<<40, 1<<40)}, Actions: []Action{Load{Reg1.Sub(3, 3), 1}, OutputReg{Reg2.Sub(0, 15)}}},
			"table=0, priority=0,reg3=0x10/0xf0,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=load:0x1->NXM_NX_REG1[3],output:NXM_NX_REG2[0..15]",
		},
		{
			Flow{Match: Match{ip, IPv4Src.Masked(0x0a000003, 0xff0000ff)}, Actions: []Action{UseGroup{7}, Output{3}, Output{PortLocal}}},
			"table=0, priority=0,ip,nw_src=10.0.0.3/255.0.0.255 actions=group:7,output:3,LOCAL",
		},
		{
			Flow{Table: 1, Priority: 5, Notify: true, Match: Match{ip, tcp}, Meter: 5, Actions: []Action{Output{1}}},
			"table=1, send_flow_rem priority=5,tcp actions=meter:5,output:1",
		},
		{Flow{Table: 1, Meter: 6}, "table=1, priority=0 actions=meter:6"},
		{
			Flow{Match: Match{ip, tcp}, Actions: []Action{Learn{Table: 48, Priority: 100, IdleTimeout: 30, FinIdle: 1, Notify: true, Match: []LearnMatch{
				{Dst: EthType.All(), Value: EthTypeIPv4}, {Dst: IPProto.All(), Value: IPProtoTCP},
				{Dst: IPv4Src.All(), Src: IPv4Src.All()}, {Dst: IPv4Dst.All(), Value: 0x01020304},
				{Dst: Reg5.Sub(0, 15), Src: Reg6.Sub(16, 31)}, {Dst: Reg5.Sub(16, 31), Value: 7}, {Dst: CTZone.All(), Value: 4}}}}},
			"table=0, priority=0,tcp actions=learn(table=48,idle_timeout=30,fin_idle_timeout=1,priority=100,send_flow_rem,cookie=0x4d4d000000000000," +
				"eth_type=0x800,nw_proto=6,NXM_OF_IP_SRC[],ip_dst=1.2.3.4,NXM_NX_REG5[0..15]=NXM_NX_REG6[16..31],NXM_NX_REG5[16..31]=0x7,ct_zone=0x4)",
		},
	} {
		if got := tt.flow.String(); got != tt.want {
			t.Errorf("String\n got %s\nwant %s", got, tt.want)
		}
	}
}

func TestGroupString(t *testing.T) {
	g := Group{ID: 4, Type: GroupSelect, Buckets: []Bucket{
		{Weight: 100, Actions: []Action{Resubmit{1}}}, {Weight: 1, Actions: []Action{Resubmit{2}}}, {Weight: 0}}}
	const want = "group_id=4,type=select,bucket=weight:100,actions=resubmit(,1),bucket=actions=resubmit(,2),bucket=weight:0,actions=drop"
	if got := g.String(); got != want {
		t.Errorf("String\n got %s\nwant %s", got, want)
	}
}

func TestPrintingSurvivesNonsense(t *testing.T) {
	f := Flow{Match: Match{{Field: 200, Value: 1, Mask: 1}}, Actions: []Action{nil, SetField{Field: 250}, Move{}}}
	if f.String() == "" || Check(f) == nil {
		t.Errorf("%s: %v", f, Check(f))
	}
}

func TestSeal(t *testing.T) {
	base := Flow{Table: 1, Priority: 2, Match: Match{EthType.Is(EthTypeIPv4), IPv4Dst.Is(1), Reg0.Is(4)}, Actions: []Action{Output{5}}}
	sealed := base.Seal()
	if sealed.Cookie&CookieMagicMask != CookieMagic || sealed.Cookie == CookieMagic {
		t.Errorf("cookie %#x does not carry the magic and a hash", sealed.Cookie)
	}
	if sealed.Seal().Cookie != sealed.Cookie {
		t.Error("Seal is not idempotent")
	}
	same := base
	same.Match = Match{Reg0.Is(4), IPv4Dst.Is(1), EthType.Is(EthTypeIPv4)}
	same.Reason = "for another reason"
	if same.Seal().Cookie != sealed.Cookie {
		t.Error("order of the match, or the reason, changes the cookie")
	}
	for name, edit := range map[string]func(*Flow){
		"table":    func(f *Flow) { f.Table++ },
		"priority": func(f *Flow) { f.Priority++ },
		"match":    func(f *Flow) { f.Match = Match{EthType.Is(EthTypeIPv4), IPv4Dst.Is(2), Reg0.Is(4)} },
		"actions":  func(f *Flow) { f.Actions = []Action{Output{6}} },
		"meter":    func(f *Flow) { f.Meter = 1 },
		"notify":   func(f *Flow) { f.Notify = true },
	} {
		other := base
		edit(&other)
		if other.Seal().Cookie == sealed.Cookie {
			t.Errorf("another %s has the same cookie", name)
		}
	}
	a, b := Group{ID: 1, Buckets: []Bucket{{Weight: 1}}}, Group{ID: 1, Buckets: []Bucket{{Weight: 1}, {Weight: 1}}}
	if a.Hash() == b.Hash() {
		t.Error("groups with different buckets have the same hash")
	}
}

func TestMeterString(t *testing.T) {
	const want = "meter=5 pktps burst bands=type=drop rate=10 burst_size=3"
	if got := (Meter{ID: 5, Rate: 10, Burst: 3, Reason: "not printed"}).String(); got != want {
		t.Errorf("String\n got %s\nwant %s", got, want)
	}
}

func TestRemovedReasonString(t *testing.T) {
	if RemovedIdle.String() != "idle" || RemovedReason(9).String() != "RemovedReason(9)" {
		t.Errorf("reasons are %s and %s", RemovedIdle, RemovedReason(9))
	}
}
