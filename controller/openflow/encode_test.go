package openflow

import (
	"encoding/binary"
	"encoding/hex"
	"testing"

	"meshlab.dev/meshlab/controller/flow"
)

// TestEncodedLengths holds the length that each message tells against the
// bytes it has: a switch would read the next message from the wrong place.
func TestEncodedLengths(t *testing.T) {
	check := func(name string, msg []byte, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if told := int(binary.BigEndian.Uint16(msg[2:])); told != len(msg) || told%8 != 0 {
			t.Errorf("%s: length %d told, %d bytes", name, told, len(msg))
		}
	}
	for _, f := range sampleFlows() {
		msg, err := appendFlow(nil, 1, f)
		check(f.String(), msg, err)
	}
	for _, g := range sampleGroups() {
		for _, command := range []uint16{groupAdd, groupModify} {
			msg, err := appendGroup(nil, 1, g, command)
			check(g.String(), msg, err)
		}
	}
	check("delete flows", appendDelete(nil, 1, 1), nil)
	msg, err := appendGroupDelete(nil, 1, 1)
	check("delete group", msg, err)
	msg, err = appendMeter(nil, 1, flow.Meter{ID: 1, Rate: 2, Burst: 3}, meterAdd)
	check("add meter", msg, err)
	msg, err = appendMeterDelete(nil, 1, 1)
	check("delete meter", msg, err)
}

// TestEncodeDelete is the whole message by hand: all tables, cookie with a
// full mask, any port, any group, an empty match and nothing behind it.
func TestEncodeDelete(t *testing.T) {
	msg := appendDelete(nil, 7, 0x4d4c000000000001)
	const want = "040e003800000007" + "4d4c000000000001" + "ffffffffffffffff" +
		"ff03" + "00000000" // table, command, timeouts
	if got := hex.EncodeToString(msg); got[:len(want)] != want || got[2*36:2*44] != "ffffffffffffffff" || got[2*48:] != "0001000400000000" {
		t.Errorf("delete by cookie is %s", got)
	}
}

func TestEncodeActionBytes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		action flow.Action
		want   string
	}{
		{"bit 0 alone", flow.Load{Dst: flow.Reg0.Sub(0, 0), Value: 1}, "ffff0018000023200007" + "0000" + "00010004" + "0000000000000001"},
		{"upper half", flow.Load{Dst: flow.Reg1.Sub(16, 31), Value: 2}, "ffff0018000023200007" + "040f" + "00010204" + "0000000000000002"},
		{"64 bits", flow.Load{Dst: flow.CTLabel.Sub(64, 127), Value: 3}, "ffff0018000023200007" + "103f" + "0001d810" + "0000000000000003"},
		{"resubmit", flow.Resubmit{Table: 50}, "ffff001000002320000e" + "fff8" + "32" + "000000"},
		{"whole packet", flow.Controller{MaxLen: 0xffff}, "00000010fffffffdffff000000000000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := appendActions(nil, []flow.Action{tt.action})
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(b); got != tt.want {
				t.Errorf("%s is\n%s, want\n%s", tt.action, got, tt.want)
			}
		})
	}
}

// TestEveryFieldHasANumber keeps oxms and the fields of package flow together.
func TestEveryFieldHasANumber(t *testing.T) {
	for f := flow.InputPort; f.Bits() != 0; f++ {
		o, err := oxmOf(f)
		if err != nil {
			t.Error(err)
			continue
		}
		if header := uint32(o.class)<<16 | uint32(o.field)<<9 | uint32(o.size); fieldOf(header) != f || fieldOf(header|1<<8) != flow.FieldInvalid {
			t.Errorf("header %#x of %s is taken for %s", header, f, fieldOf(header))
		}
	}
}

func BenchmarkAppendFlow(b *testing.B) {
	table := uint8(30)
	f := flow.Flow{Table: 20, Priority: 100, Notify: true,
		Match: flow.Match{flow.InputPort.Is(1), flow.EthType.Is(flow.EthTypeIPv4), flow.IPProto.Is(flow.IPProtoTCP),
			flow.IPv4Src.Is(0xc0a8010b), flow.TCPDst.Is(9341)},
		Actions: []flow.Action{
			flow.Load{Dst: flow.Reg3.All(), Value: 7}, flow.Load{Dst: flow.Reg5.All(), Value: 9341},
			flow.SetField{Field: flow.IPv4Dst, Value: 0xf0000007}, flow.SetField{Field: flow.TCPDst, Value: 1},
			flow.CT{Zone: 1, Table: &table}}}
	buf := make([]byte, 0, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := appendFlow(buf, 1, f); err != nil {
			b.Fatal(err)
		}
	}
}
