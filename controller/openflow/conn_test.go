package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/flow"
)

func portEntry(number uint32, name string) []byte {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b, number)
	copy(b[8:], []byte{2, 0, 0, 0, 0, byte(number)})
	copy(b[16:32], name)
	return b
}

func multipartBody(kind uint16, more bool, part []byte) []byte {
	b := multipartRequest(kind, part)
	if more {
		b[3] = byte(multipartMore)
	}
	return b
}

func TestDialReadsDPID(t *testing.T) {
	_, c := dialFake(t, 0)
	if c.DPID() != 0xabcd {
		t.Errorf("DPID = %#x, want 0xabcd", c.DPID())
	}
}

func TestDialErrors(t *testing.T) {
	hello10 := []byte{1, 0, 0, 8, 0, 0, 0, 0}
	for _, tt := range []struct {
		name  string
		bytes []byte
		want  string
	}{
		{"not a switch", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "connect to switch"},
		{"another message first", []byte{4, 2, 0, 8, 0, 0, 0, 0}, "is this an OpenFlow switch?"},
		{"OpenFlow 1.0 alone", hello10, "protocols=OpenFlow13"},
		{"length below the header", []byte{4, 0, 0, 7, 0, 0, 0, 0}, "length 7"},
		{"hang up", nil, "await hello"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := listen(t, func(nc net.Conn) {
				if _, err := readMessage(nc); err == nil {
					_, _ = nc.Write(tt.bytes)
				}
			})
			_, err := Dial(fakeContext(t), Config{Address: path})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Dial = %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := Dial(fakeContext(t), Config{Network: "udp", Address: "x"}); err == nil || !strings.Contains(err.Error(), "use unix, tcp or tls") {
		t.Errorf("Dial over udp = %v", err)
	}
}

func TestDialObeysContext(t *testing.T) {
	release := make(chan struct{})
	path := listen(t, func(net.Conn) { <-release })
	defer close(release)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, Config{Address: path}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial of a silent switch = %v, want the deadline", err)
	}
}

func TestMultipartIsReassembled(t *testing.T) {
	s, c := dialFake(t, 0)
	s.setHandle(func(s *fakeSwitch, m message) {
		s.reply(typeMultipartReply, m.xid+1000, multipartBody(multipartPortDesc, false, portEntry(9, "stray")))
		s.reply(typeMultipartReply, m.xid, multipartBody(multipartPortDesc, true, portEntry(1, "eth1")))
		s.reply(typeMultipartReply, m.xid, multipartBody(multipartPortDesc, false, portEntry(2, "a-name-of-16-byt")))
	})
	ports, err := c.Ports(fakeContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(ports) != 2 || ports[0].Name != "eth1" || ports[1].Name != "a-name-of-16-byt" || ports[1].HWAddr.String() != "02:00:00:00:00:02" {
		t.Errorf("Ports = %+v", ports)
	}
}

func TestMultipartIsBounded(t *testing.T) {
	s, c := dialFake(t, 0)
	s.setHandle(func(s *fakeSwitch, m message) {
		part := make([]byte, 60_000) // one group
		binary.BigEndian.PutUint16(part, uint16(len(part)))
		for sent := 0; sent <= maxMultipart; sent += len(part) {
			s.reply(typeMultipartReply, m.xid, multipartBody(multipartGroupDesc, true, part))
		}
		s.reply(typeMultipartReply, m.xid, multipartBody(multipartGroupDesc, false, nil))
	})
	if _, err := c.Groups(fakeContext(t)); !errors.Is(err, errTooLarge) {
		t.Errorf("Groups = %v, want %v", err, errTooLarge)
	}
}

func TestRequestErrors(t *testing.T) {
	s, c := dialFake(t, 0)
	for _, tt := range []struct {
		name   string
		answer func(s *fakeSwitch, m message)
		want   string
	}{
		{"refused", func(s *fakeSwitch, m message) { s.reply(typeError, m.xid, []byte{0, 1, 0, 2, 1, 2, 3}) }, "BAD_REQUEST/BAD_MULTIPART"},
		{"extension error", func(s *fakeSwitch, m message) {
			s.reply(typeError, m.xid, []byte{0xff, 0xff, 0x09, 0x05, 0x4f, 0x4e, 0x46, 0x00})
		}, "BUNDLE_MSG_BAD_XID"},
		{"another kind", func(s *fakeSwitch, m message) {
			s.reply(typeMultipartReply, m.xid, multipartBody(multipartFlow, false, nil))
		}, "another kind"},
		{"broken body", func(s *fakeSwitch, m message) {
			s.reply(typeMultipartReply, m.xid, multipartBody(multipartGroupDesc, false, []byte{0, 99, 0, 0, 0, 0, 0, 0}))
		}, "length 99"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.setHandle(tt.answer)
			if _, err := c.Groups(fakeContext(t)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Groups = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestConcurrentRequestsKeepApart(t *testing.T) {
	s, c := dialFake(t, 0)
	var held []message
	s.setHandle(func(s *fakeSwitch, m message) { // answers in pairs, the later first
		held = append(held, m)
		if len(held)%2 != 0 {
			return
		}
		for i := len(held) - 1; i >= len(held)-2; i-- {
			var entry []byte
			if kind := binary.BigEndian.Uint16(held[i].body); kind == multipartPortDesc {
				entry = portEntry(5, "p")
			} else {
				entry = []byte{0, 8, 0, 0, 0, 0, 0, 6}
			}
			s.reply(typeMultipartReply, held[i].xid, multipartBody(binary.BigEndian.Uint16(held[i].body), false, entry))
		}
	})
	ctx := fakeContext(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if p, err := c.Ports(ctx); err != nil || len(p) != 1 || p[0].Number != 5 {
				t.Errorf("Ports = %v, %v", p, err)
			}
		})
		wg.Go(func() {
			if g, err := c.Groups(ctx); err != nil || len(g) != 1 || g[0] != 6 {
				t.Errorf("Groups = %v, %v", g, err)
			}
		})
	}
	wg.Wait()
}

func TestContextEndsRequest(t *testing.T) {
	_, c := dialFake(t, 0)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.Flows(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flows = %v, want the deadline", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.requests) != 0 {
		t.Errorf("%d requests are remembered after their end", len(c.requests))
	}
}

func TestEchoRequestIsAnswered(t *testing.T) {
	s, _ := dialFake(t, 0)
	got := make(chan message, 1)
	s.setHandle(func(_ *fakeSwitch, m message) { got <- m })
	s.reply(typeEchoRequest, 77, []byte("payload"))
	select {
	case m := <-got:
		if m.kind != typeEchoReply || m.xid != 77 || string(m.body) != "payload" {
			t.Errorf("echo answered by %+v", m)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("echo request is not answered")
	}
}

func TestSilentSwitchIsGivenUp(t *testing.T) {
	_, c := dialFake(t, 5*time.Millisecond)
	if err := await(t, c); !errors.Is(err, errSilent) {
		t.Errorf("Err = %v, want %v", err, errSilent)
	}
}

func TestAnsweringSwitchIsKept(t *testing.T) {
	s, c := dialFake(t, 5*time.Millisecond)
	answered := make(chan struct{}, 100)
	s.setHandle(func(s *fakeSwitch, m message) {
		if m.kind == typeEchoRequest {
			s.reply(typeEchoReply, m.xid, m.body)
			answered <- struct{}{}
		}
	})
	for range 3 * silentIntervals {
		select {
		case <-answered:
		case <-time.After(10 * time.Second):
			t.Fatal("no further echo request")
		}
	}
	if c.Err() != nil {
		t.Errorf("Err = %v for a switch that answers", c.Err())
	}
}

func TestPacketInsAreBounded(t *testing.T) {
	s, c := dialFake(t, 0)
	s.setHandle(func(s *fakeSwitch, m message) {
		s.reply(typeMultipartReply, m.xid, multipartBody(multipartPortDesc, false, nil))
	})
	const extra = 10
	for range packetInQueue + extra {
		s.reply(typePacketIn, 0, packetInBody(3, "frame"))
	}
	// Answers still come through while nobody reads packets.
	if _, err := c.Ports(fakeContext(t)); err != nil {
		t.Fatal(err)
	}
	if got := c.DroppedPacketIns(); got != extra {
		t.Errorf("DroppedPacketIns = %d, want %d", got, extra)
	}
	p := <-c.PacketIns()
	if p.InPort != 3 || p.Table != 9 || p.Cookie != 0x1234 || string(p.Data) != "frame" {
		t.Errorf("packet-in = %+v", p)
	}
}

func TestBrokenStreamEndsConnection(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"length below the header":  {4, 2, 0, 3, 0, 0, 0, 0},
		"another version":          {1, 2, 0, 8, 0, 0, 0, 0},
		"packet-in cut short":      {4, 10, 0, 12, 0, 0, 0, 0, 1, 2, 3, 4},
		"flow-removed cut short":   {4, 11, 0, 12, 0, 0, 0, 0, 1, 2, 3, 4},
		"error message cut short":  {4, 1, 0, 9, 0, 0, 0, 0, 1},
		"multipart part cut short": {4, 19, 0, 9, 0, 0, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := dialFake(t, 0)
			s.write(bytes)
			if err := await(t, c); err == nil || errors.Is(err, ErrClosed) {
				t.Errorf("Err = %v", err)
			}
		})
	}
}

func TestClose(t *testing.T) {
	_, c := dialFake(t, 0)
	for range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if !errors.Is(c.Err(), ErrClosed) {
		t.Errorf("Err = %v, want %v", c.Err(), ErrClosed)
	}
	ctx := fakeContext(t)
	if _, err := c.Flows(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("Flows = %v, want %v", err, ErrClosed)
	}
	change := Change{AddFlows: slices.Values([]flow.Flow{{}})}
	if err := c.Apply(ctx, change); !errors.Is(err, ErrClosed) || errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("Apply = %v, want %v", err, ErrClosed)
	}
	if _, open := <-c.PacketIns(); open {
		t.Error("PacketIns is open after Close")
	}
	if _, open := <-c.FlowsRemoved(); open {
		t.Error("FlowsRemoved is open after Close")
	}
}

func TestDialTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if nc, err := l.Accept(); err == nil {
			defer nc.Close()
			(&fakeSwitch{nc: nc}).run()
		}
	}()
	c, err := Dial(fakeContext(t), Config{Network: "tcp", Address: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// TestTransactionIDsWrap starts near the end of the numbers: ids of one
// request stay consecutive, 0 is never given out, and bundles have their own.
func TestTransactionIDsWrap(t *testing.T) {
	c := &Conn{nextXID: firstRun - 5, nextRun: 1<<32 - 5}
	for range 3 {
		if r := c.register(3); r.first == 0 || r.last != r.first+2 || r.last >= firstRun {
			t.Errorf("request has the ids %d to %d", r.first, r.last)
		}
	}
	for range 3 {
		r := c.registerRun()
		if r.first < firstRun {
			t.Errorf("bundle has the ids from %d", r.first)
		}
		c.endRun(r, r.first+10)
		c.endRun(r, r.first+99) // said twice
		if next := c.registerRun(); next.first != r.first+11 {
			t.Errorf("bundle has the ids from %d, behind %d", next.first, r.first+10)
		}
	}
}

func TestPacketOutRefuses(t *testing.T) {
	_, c := dialFake(t, 0)
	for name, size := range map[string]int{"no packet": 0, "packet over 64 KiB": 70_000} {
		if err := c.PacketOut(fakeContext(t), flow.PortController, make([]byte, size), nil); err == nil {
			t.Errorf("%s is sent", name)
		}
	}
}
