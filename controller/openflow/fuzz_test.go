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
		flows, err := decodeFlowStats(body)
		if err == nil && len(flows)*56 > len(body) {
			t.Errorf("%d flows in %d bytes", len(flows), len(body))
		}
	})
}

func FuzzGroupDesc(f *testing.F) {
	f.Add([]byte{0, 8, 1, 0, 0, 0, 0, 7})
	f.Add([]byte{0, 0, 1, 0, 0, 0, 0, 7})
	f.Fuzz(func(t *testing.T, body []byte) {
		groups, err := decodeGroupDesc(body)
		if err == nil && len(groups)*8 > len(body) {
			t.Errorf("%d groups in %d bytes", len(groups), len(body))
		}
	})
}

func FuzzPortDesc(f *testing.F) {
	f.Add(portEntry(1, "eth0"))
	f.Fuzz(func(t *testing.T, body []byte) {
		ports, err := decodePortDesc(body)
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
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &Conn{log: slog.New(slog.DiscardHandler), out: make(chan []byte, 1), packets: make(chan PacketIn, 1)}
		single, several := c.register(1), c.register(5)
		single.kind = multipartFlow
		r := bytes.NewReader(data)
		for {
			m, err := readMessage(r)
			if err != nil || c.dispatch(m) != nil {
				break
			}
		}
		for _, q := range []*request{single, several} {
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
