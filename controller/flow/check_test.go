package flow

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	ip, arp := EthType.Is(EthTypeIPv4), EthType.Is(EthTypeARP)
	tcp, udp := IPProto.Is(IPProtoTCP), IPProto.Is(IPProtoUDP)
	reserved := uint8(254)
	do := func(actions ...Action) Flow { return Flow{Match: Match{ip, tcp}, Actions: actions} }
	learn := func(tests ...LearnMatch) Flow {
		return do(Learn{Table: 48, IdleTimeout: 30, FinIdle: 1, Match: append([]LearnMatch{
			{Dst: EthType.All(), Value: EthTypeIPv4}, {Dst: IPProto.All(), Value: IPProtoTCP}}, tests...)})
	}
	match := func(tests ...FieldMatch) Flow { return Flow{Match: tests} }
	for _, tt := range []struct {
		name string
		flow Flow
		want string // in the error; none: right
	}{
		{"empty", Flow{}, ""},
		{"reserved table", Flow{Table: 254}, "table 254 is reserved"},
		{"TCP port", match(ip, tcp, TCPDst.Is(80)), ""},
		{"prerequisites behind", match(TCPDst.Is(80), tcp, ip), ""},
		{"TCP port without TCP", match(ip, TCPDst.Is(80)), "tcp_dst needs a test of nw_proto for 6"},
		{"TCP port with UDP", match(ip, udp, TCPDst.Is(80)), "tcp_dst needs"},
		{"UDP port with TCP", match(ip, tcp, UDPDst.Is(80)), "udp_dst needs"},
		{"address without IP", match(IPv4Dst.Is(1)), "nw_dst needs a test of dl_type for 0x800"},
		{"protocol without IP", match(tcp), "nw_proto needs"},
		{"ARP address with IP", match(ip, ARPTPA.Is(1)), "arp_tpa needs a test of dl_type for 0x806"},
		{"twice", match(Reg0.Masked(1, 1), Reg0.Masked(2, 2)), "reg0 is tested twice"},
		{"empty mask", match(Reg0.Masked(0, 0)), "empty mask"},
		{"wide mask", match(ip, tcp, TCPDst.Masked(0, 0x1ffff)), "wider than its 16 bits"},
		{"value outside the mask", match(Reg0.Masked(3, 1)), "outside its mask"},
		{"value outside the field", match(CTZone.Is(0x10000)), "outside its mask"},
		{"port with mask", match(InputPort.Masked(0, 1)), "in_port takes no mask"},
		{"ct_state whole", match(ip, CTState.Is(CTTracked)), "use Masked"},
		{"ct_label", match(CTLabel.Is(1)), "cannot be tested"},
		{"unknown field", match(FieldMatch{Field: 99, Mask: 1}), "unknown field 99"},
		{"load", do(Load{Reg0.Sub(0, 15), 0xffff}), ""},
		{"load too wide", do(Load{Reg0.Sub(0, 15), 0x10000}), "which has 16 bits"},
		{"load outside", do(Load{Reg0.Sub(16, 32), 1}), "is not inside reg0"},
		{"load of nothing", do(Load{Range{Field: Reg0}, 0}), "range of 0 bits"},
		{"load of 65 bits", do(CT{Commit: true, Exec: []Action{Load{CTLabel.Sub(0, 64), 1}}}), "at most 64 bits"},
		{"load without prerequisite", Flow{Actions: []Action{Load{IPv4Dst.All(), 1}}}, "nw_dst needs"},
		{"write to read-only", do(Load{IPProto.All(), 6}), "read-only"},
		{"write to ct_mark outside", do(Load{CTMark.All(), 6}), "only ct(commit,exec(...)) can"},
		{"move", do(Move{Reg0.Sub(0, 15), TCPDst.All()}), ""},
		{"move of unequal width", do(Move{Reg0.All(), TCPDst.All()}), "move of 32 bits into 16"},
		{"move from a missing header", do(Move{ARPSPA.All(), Reg0.All()}), "arp_spa needs"},
		{"set_field too wide", do(SetField{TCPDst, 1 << 16}), "wider than its 16 bits"},
		{"set_field of in_port", do(SetField{InputPort, 1}), "load it instead"},
		{"ARP reply", Flow{Match: Match{arp}, Actions: []Action{SetField{ARPOp, 2}, InPort{}}}, ""},
		{"output to 0", do(Output{}), "no flow can use"},
		{"output to a wild register", do(OutputReg{Reg0.Sub(0, 40)}), "is not inside reg0"},
		{"resubmit to a reserved table", do(Resubmit{255}), "resubmit to table 255"},
		{"group id", do(UseGroup{0xffffff01}), "above the last group id"},
		{"ct", do(CT{Commit: true, Exec: []Action{Load{CTMark.All(), 1}, Move{Reg0.All(), CTLabel.Sub(96, 127)}}}), ""},
		{"ct without IP", Flow{Actions: []Action{CT{}}}, "ct needs a test of dl_type"},
		{"ct to a reserved table", do(CT{Table: &reserved}), "ct with table 254"},
		{"exec without commit", do(CT{Exec: []Action{Load{CTMark.All(), 1}}}), "without commit"},
		{"exec of something else", do(CT{Commit: true, Exec: []Action{Output{1}}}), "only ct_mark and ct_label"},
		{"exec nested in an action list", do(CT{Commit: true, Exec: []Action{Load{Reg0.All(), 1}}}), "only ct_mark and ct_label"},
		{"no action", do(nil), "unknown action"},
		{"meter", Flow{Meter: MaxMeterID}, ""},
		{"meter beyond", Flow{Meter: MaxMeterID + 1}, "above the last meter id"},
		{"learn", learn(LearnMatch{Dst: TCPSrc.All(), Src: TCPDst.All()}, LearnMatch{Dst: Reg6.Sub(0, 15), Value: 0xffff}, LearnMatch{Dst: Reg6.Sub(16, 31), Src: Reg1.Sub(0, 15)}), ""},
		{"learn into a reserved table", do(Learn{Table: 254, IdleTimeout: 1}), "learn into table 254"},
		{"learn for ever", do(Learn{}), "without an idle timeout"},
		{"learn of a port without TCP", do(Learn{IdleTimeout: 1, Match: []LearnMatch{{Dst: EthType.All(), Value: EthTypeIPv4}, {Dst: TCPSrc.All(), Src: TCPSrc.All()}}}), "tcp_src needs a test of nw_proto"},
		{"learn of a port before TCP", do(Learn{IdleTimeout: 1, Match: []LearnMatch{{Dst: EthType.All(), Value: EthTypeIPv4}, {Dst: TCPSrc.All(), Value: 1}, {Dst: IPProto.All(), Value: IPProtoTCP}}}), "tcp_src needs a test of nw_proto"},
		{"learn of a protocol by the packet", do(Learn{IdleTimeout: 1, Match: []LearnMatch{{Dst: EthType.All(), Src: EthType.All()}, {Dst: IPv4Src.All(), Src: IPv4Src.All()}}}), "nw_src needs a test of dl_type"},
		{"learn from a missing header", learn(LearnMatch{Dst: TCPSrc.All(), Src: UDPSrc.All()}), "udp_src needs"},
		{"learn of unequal width", learn(LearnMatch{Dst: Reg5.All(), Src: TCPSrc.All()}), "equally wide"},
		{"learn of a wide value", learn(LearnMatch{Dst: Reg5.Sub(0, 15), Value: 1 << 16}), "which has 16 bits"},
		{"learn of 128 bits", learn(LearnMatch{Dst: CTLabel.All(), Value: 1}), "at most 64 bits"},
		{"learn outside a field", learn(LearnMatch{Dst: Reg5.Sub(16, 32), Value: 1}), "is not inside reg5"},
		{"learn from outside a field", learn(LearnMatch{Dst: Reg5.Sub(0, 15), Src: Reg6.Sub(17, 32)}), "is not inside reg6"},
		{"learn of a part of in_port", learn(LearnMatch{Dst: InputPort.Sub(0, 15), Value: 1}), "in_port takes no mask"},
		{"learn of ct_state", learn(LearnMatch{Dst: CTState.All(), Value: 1}), "ct_state cannot be learned"},
		{"learn twice", learn(LearnMatch{Dst: Reg5.Sub(0, 15), Value: 1}, LearnMatch{Dst: Reg5.Sub(15, 20), Value: 1}), "tested already"},
		{"learn of FIN without TCP", do(Learn{IdleTimeout: 1, FinIdle: 1}), "after FIN needs a test of nw_proto for 6"},
		{"learn of nothing", do(Learn{IdleTimeout: 1, Match: []LearnMatch{{}}}), "unknown field 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(tt.flow)
			if tt.want == "" && err != nil {
				t.Errorf("Check(%s) = %v", tt.flow, err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Check(%s) = %v, want %q", tt.flow, err, tt.want)
			}
		})
	}
}

func TestCheckTellsEverything(t *testing.T) {
	err := Check(Flow{Table: 255, Match: Match{TCPDst.Is(80)}, Actions: []Action{Output{}, Resubmit{255}}})
	for _, want := range []string{"table 255", "tcp_dst", "action 1", "action 2"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check = %v, want %q in it", err, want)
		}
	}
}

func TestCheckGroup(t *testing.T) {
	for _, tt := range []struct {
		name  string
		group Group
		want  string
	}{
		{"right", Group{ID: 1, Type: GroupSelect, Buckets: []Bucket{{Weight: 1, Actions: []Action{Load{IPv4Dst.All(), 1}, CT{Commit: true}}}}}, ""},
		{"no bucket", Group{ID: 1, Type: GroupSelect}, ""},
		{"id", Group{ID: MaxGroupID + 1}, "id is above"},
		{"type", Group{Type: 9}, "unknown type"},
		{"no weight", Group{Type: GroupSelect, Buckets: []Bucket{{Actions: []Action{Output{1}}}}}, "no bucket has a weight"},
		{"action", Group{Buckets: []Bucket{{}, {Actions: []Action{Output{0}}}}}, "bucket 2: action 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckGroup(tt.group)
			if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("CheckGroup = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestCheckMeter(t *testing.T) {
	for _, tt := range []struct {
		name  string
		meter Meter
		want  string
	}{
		{"right", Meter{ID: 1, Rate: 1, Burst: 1}, ""},
		{"no id", Meter{Rate: 1, Burst: 1}, "id is not within"},
		{"id beyond", Meter{ID: MaxMeterID + 1, Rate: 1, Burst: 1}, "id is not within"},
		{"no rate", Meter{ID: 1, Burst: 1}, "rate of 0"},
		{"no burst", Meter{ID: 1, Rate: 1}, "burst of 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckMeter(tt.meter)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("CheckMeter(%s) = %v, want %q", tt.meter, err, tt.want)
			}
		})
	}
}
