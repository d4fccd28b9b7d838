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
		msg, err := encodeFlow(f)
		check(f.String(), msg, err)
	}
	for _, g := range sampleGroups() {
		for _, command := range []uint16{groupAdd, groupModify} {
			msg, err := encodeGroup(g, command)
			check(g.String(), msg, err)
		}
	}
	msg, err := encodeDelete(1)
	check("delete flows", msg, err)
	msg, err = encodeGroupDelete(1)
	check("delete group", msg, err)
}

// TestEncodingDoesNotShare encodes one flow twice at the same time: the
// builders write into what they marshal.
func TestEncodingDoesNotShare(t *testing.T) {
	flows := sampleFlows()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, f := range flows {
			_, _ = encodeFlow(f)
		}
	}()
	for _, f := range flows {
		if _, err := encodeFlow(f); err != nil {
			t.Error(err)
		}
	}
	<-done
}

// TestEncodeDelete is the whole message by hand: all tables, cookie with a
// full mask, any port, any group, an empty match and nothing behind it.
func TestEncodeDelete(t *testing.T) {
	msg, err := encodeDelete(0x4d4c000000000001)
	if err != nil {
		t.Fatal(err)
	}
	const want = "040e003800000007" + "4d4c000000000001" + "ffffffffffffffff" +
		"ff03" + "00000000" // table, command, timeouts
	setXID(msg, 7)
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
			b, err := marshalActions([]flow.Action{tt.action})
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(b); got != tt.want {
				t.Errorf("%s is\n%s, want\n%s", tt.action, got, tt.want)
			}
		})
	}
}
