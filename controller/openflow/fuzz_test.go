package openflow

import (
	"bytes"
	"log/slog"
	"testing"
)

// Each target asserts what callers rely on beyond "no panic": results agree
// with the number of bytes given, so nothing is invented or read twice.

func FuzzReadMessage(f *testing.F) {
	f.Add(appendMessage(nil, typeEchoRequest, 1, []byte("x")))
	f.Add([]byte{4, 0, 0, 7, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		for used := 0; ; {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			used += headerLen + len(m.body)
			if used != len(data)-r.Len() {
				t.Fatalf("%d bytes of messages out of %d bytes read", used, len(data)-r.Len())
			}
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(uint8(4), helloBody())
	f.Add(uint8(6), []byte{0, 9, 0, 5, 1, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0, 0x10})
	f.Add(uint8(1), []byte{0, 2, 0, 0})
	f.Fuzz(func(t *testing.T, version uint8, body []byte) {
		if ok, err := decodeHello(version, body); ok && err != nil {
			t.Error("agreed, and failed")
		}
	})
}

func FuzzFeatures(f *testing.F) {
	f.Add(make([]byte, 24))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := decodeFeatures(body); (err == nil) != (len(body) >= 24) {
			t.Errorf("%d bytes: %v", len(body), err)
		}
	})
}

func FuzzFlowStats(f *testing.F) {
	entry := make([]byte, 56)
	entry[1] = 56
	f.Add(entry)
	f.Add(append(bytes.Clone(entry), entry...))
	f.Add(entry[:55])
	f.Fuzz(func(t *testing.T, body []byte) {
		flows, err := decodeFlowStats(nil, body)
		if err == nil && len(flows)*56 > len(body) {
			t.Errorf("%d flows in %d bytes", len(flows), len(body))
		}
	})
}

func FuzzGroupDesc(f *testing.F) {
	f.Add([]byte{0, 8, 1, 0, 0, 0, 0, 7})
	f.Add([]byte{0, 0, 1, 0, 0, 0, 0, 7})
	f.Fuzz(func(t *testing.T, body []byte) {
		groups, err := decodeGroupDesc(nil, body)
		if err == nil && len(groups)*8 > len(body) {
			t.Errorf("%d groups in %d bytes", len(groups), len(body))
		}
	})
}

func FuzzPortDesc(f *testing.F) {
	f.Add(portEntry(1, "eth0"))
	f.Fuzz(func(t *testing.T, body []byte) {
		ports, err := decodePortDesc(nil, body)
		if err == nil && len(ports)*64 != len(body) {
			t.Errorf("%d ports in %d bytes", len(ports), len(body))
		}
		for _, p := range ports {
			if len(p.HWAddr) != 6 || len(p.Name) > 16 {
				t.Errorf("port %+v", p)
			}
		}
	})
}

func FuzzError(f *testing.F) {
	f.Add([]byte{0, 4, 0, 9, 1, 2, 3})
	f.Add([]byte{0xff, 0xff, 0x08, 0xff, 0x4f, 0x4e, 0x46, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := decodeError(1, body)
		if err == nil && (e.Text == "" || e.Error() == "") {
			t.Errorf("no text for % x", body)
		}
	})
}

func FuzzPacketIn(f *testing.F) {
	f.Add(packetInBody(3, "frame"))
	f.Add(packetInBody(3, "")[:20])
	f.Add(packetInWith([]byte{0, 1, 0, 4, 0, 0, 0, 9, 0, 1, 0xd6, 4, 0, 0, 0, 7, 0x80, 0, 1, 8, 1, 2, 3, 4, 0, 0, 0, 0}, "x"))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := decodePacketIn(body)
		if err == nil && !bytes.HasSuffix(body, p.Data) {
			t.Errorf("packet % x is not the end of % x", p.Data, body)
		}
	})
}

// FuzzDispatch feeds whole messages to a connection that waits for answers
// of every kind, as a switch gone mad would.
func FuzzDispatch(f *testing.F) {
	f.Add(appendMessage(nil, typePacketIn, 0, packetInBody(1, "x")))
	f.Add(appendMessage(nil, typeMultipartReply, 1, multipartBody(multipartFlow, true, make([]byte, 56))))
	f.Add(appendMessage(nil, typeExperimenter, 3, bundleControlBody(1, bundleCommitReply)))
	f.Add(appendMessage(nil, typeError, 2, []byte{0, 1, 0, 1}))
	f.Add(appendMessage(nil, typeError, firstRun+1, []byte{0, 1, 0, 1}))
	f.Add(appendMessage(nil, typeFlowRemoved, 0, flowRemovedBody()))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &Conn{log: slog.New(slog.DiscardHandler), out: make(chan block, 1), packets: newQueue[PacketIn](1), removed: newQueue[FlowRemoved](1)}
		single, several, run := c.register(1), c.register(5), c.registerRun()
		single.kind = multipartFlow
		read := 0
		single.decode = func(part []byte) error { read += len(part); return nil }
		r := bytes.NewReader(data)
		for {
			m, err := readMessage(r)
			if err != nil || c.dispatch(m) != nil {
				break
			}
		}
		if read > len(data) {
			t.Errorf("%d bytes of parts in %d", read, len(data))
		}
		for _, q := range []*request{single, several, run} {
			if got := len(c.reply(q).body); got > len(data) {
				t.Errorf("%d bytes kept of %d", got, len(data))
			}
			c.forget(q)
		}
		if len(c.requests) != 0 {
			t.Error("a request cannot be forgotten")
		}
	})
}

func FuzzFlowRemoved(f *testing.F) {
	f.Add(flowRemovedBody())
	f.Add(flowRemovedBody()[:45])
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeFlowRemoved(body)
		if err != nil {
			return
		}
		if len(body) < 40+8+4*len(r.Fields) {
			t.Errorf("%d fields in %d bytes", len(r.Fields), len(body))
		}
		for field, value := range r.Fields {
			if value&^field.FullMask() != 0 && field.Bits()%8 == 0 {
				t.Errorf("%s is %#x", field, value)
			}
		}
	})
}

func FuzzMeterConfig(f *testing.F) {
	f.Add([]byte{0, 24, 0, 6, 0, 0, 0, 7, 0, 1, 0, 16, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 6, 0, 0, 0, 7})
	f.Fuzz(func(t *testing.T, body []byte) {
		meters, err := decodeMeterConfig(nil, body)
		if err == nil && len(meters)*8 > len(body) {
			t.Errorf("%d meters in %d bytes", len(meters), len(body))
		}
	})
}
