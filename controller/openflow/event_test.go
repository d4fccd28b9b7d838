package openflow

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/flow"
)

func packetInBody(port uint32, data string) []byte {
	return packetInWith(binary.BigEndian.AppendUint32([]byte{0x80, 0, 0, 4}, port), data)
}

// packetInWith is of table 9, with these OXM fields.
func packetInWith(oxm []byte, data string) []byte {
	b := make([]byte, 16)
	b[7] = 9
	binary.BigEndian.PutUint64(b[8:], 0x1234)
	start := len(b)
	b = append(b, 0, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(oxm)))
	b = pad(append(b, oxm...), start)
	return append(append(b, 0, 0), data...)
}

// flowRemovedBody is of a learned flow that went after a FIN.
func flowRemovedBody() []byte {
	b := binary.BigEndian.AppendUint64(nil, flow.CookieLearned)
	b = append(b, 0, 100, byte(flow.RemovedIdle), 48)
	b = append(b, 0, 0, 0, 2, 0, 0, 0, 5) // 2 s and 5 ns
	b = append(b, 0, 1, 0, 0)             // idle 1 s, hard none
	b = binary.BigEndian.AppendUint64(b, 10)
	b = binary.BigEndian.AppendUint64(b, 1000)
	b, err := appendMatch(b, flow.Match{flow.EthType.Is(flow.EthTypeIPv4), flow.IPProto.Is(flow.IPProtoTCP),
		flow.IPv4Src.Is(0x0a000001), flow.TCPSrc.Is(40000), flow.Reg5.Is(80), flow.Reg6.Masked(1, 3)})
	if err != nil {
		panic(err)
	}
	// And ct_label, whose 128 bits nobody can be told; it fills the padding of the match.
	const match = 8 + 32
	label := append([]byte{0, 1, 108 << 1, 16}, make([]byte, 16)...)
	length := int(binary.BigEndian.Uint16(b[match+2:]))
	b = append(b[:match+length], label...)
	setLength(b[match:], length+len(label))
	return pad(b, match)
}

func TestDecodeFlowRemoved(t *testing.T) {
	got, err := decodeFlowRemoved(flowRemovedBody())
	if err != nil {
		t.Fatal(err)
	}
	want := FlowRemoved{Table: 48, Priority: 100, Cookie: flow.CookieLearned, Reason: flow.RemovedIdle,
		Duration: 2*time.Second + 5, Idle: time.Second, Packets: 10, Bytes: 1000,
		Fields: map[flow.Field]uint64{flow.EthType: flow.EthTypeIPv4, flow.IPProto: flow.IPProtoTCP,
			flow.IPv4Src: 0x0a000001, flow.TCPSrc: 40000, flow.Reg5: 80}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decodeFlowRemoved\n got %+v\nwant %+v", got, want)
	}
}

func TestDecodePacketIn(t *testing.T) {
	oxm, err := appendMatch(nil, flow.Match{flow.InputPort.Is(3), flow.Reg0.Is(5), flow.Reg7.Is(0xffffffff),
		flow.Reg3.Masked(1, 1), flow.CTMark.Is(9), flow.CTZone.Is(1)})
	if err != nil {
		t.Fatal(err)
	}
	oxm = oxm[4 : 4+8+8+8+12+8+6]
	oxm = append(oxm, 0, 1, 16<<1, 4, 1, 1, 1, 1) // reg16, which is not known here
	got, err := decodePacketIn(packetInWith(oxm, "frame"))
	if err != nil {
		t.Fatal(err)
	}
	want := PacketIn{InPort: 3, Table: 9, Cookie: 0x1234, Regs: [8]uint32{0: 5, 7: 0xffffffff}, CTMark: 9, Data: []byte("frame")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decodePacketIn\n got %+v\nwant %+v", got, want)
	}
}

func TestDecodeMatchRefuses(t *testing.T) {
	for name, match := range map[string][]byte{
		"nothing":             {},
		"no OXM":              {0, 0, 0, 4, 0, 0, 0, 0},
		"length below header": {0, 1, 0, 3, 0, 0, 0, 0},
		"length beyond":       {0, 1, 0, 9, 0, 0, 0, 0},
		"field header cut":    {0, 1, 0, 7, 0x80, 0, 0, 0},
		"field beyond":        {0, 1, 0, 8, 0x80, 0, 0, 4},
	} {
		if _, err := decodeFlowRemoved(append(make([]byte, 40), match...)); !errors.Is(err, errShort) {
			t.Errorf("flow-removed with %s: %v", name, err)
		}
		if _, err := decodePacketIn(append(make([]byte, 16), match...)); !errors.Is(err, errShort) {
			t.Errorf("packet-in with %s: %v", name, err)
		}
	}
	if _, err := decodePacketIn(packetInBody(1, "")[:16+16+1]); !errors.Is(err, errShort) {
		t.Errorf("packet-in that ends in its padding: %v", err)
	}
}

func TestFlowsRemovedAreBounded(t *testing.T) {
	s, c := dialFake(t, 0)
	s.setHandle(func(s *fakeSwitch, m message) {
		s.reply(typeMultipartReply, m.xid, multipartBody(multipartPortDesc, false, nil))
	})
	const extra = 10
	for range flowRemovedQueue + extra {
		s.reply(typeFlowRemoved, 0, flowRemovedBody())
	}
	if _, err := c.Ports(fakeContext(t)); err != nil {
		t.Fatal(err)
	}
	if got := c.DroppedFlowsRemoved(); got != extra {
		t.Errorf("DroppedFlowsRemoved = %d, want %d", got, extra)
	}
	if r := <-c.FlowsRemoved(); r.Packets != 10 || r.Cookie != flow.CookieLearned {
		t.Errorf("notice %+v", r)
	}
}
