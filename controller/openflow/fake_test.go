package openflow

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// fakeSwitch is the far end of a connection, which a test scripts. It
// answers the handshake by itself; what else comes goes to handle.
type fakeSwitch struct {
	nc     net.Conn
	mu     sync.Mutex
	handle func(s *fakeSwitch, m message)
}

func (s *fakeSwitch) write(b []byte) {
	_, _ = s.nc.Write(b) // the test may have closed its end
}

func (s *fakeSwitch) reply(kind msgType, xid uint32, body []byte) {
	s.write(appendMessage(nil, kind, xid, body))
}

func (s *fakeSwitch) setHandle(h func(s *fakeSwitch, m message)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handle = h
}

func (s *fakeSwitch) run() {
	s.reply(typeHello, 0, helloBody())
	barriers := 0
	for {
		m, err := readMessage(s.nc)
		if err != nil {
			return
		}
		s.mu.Lock()
		handle := s.handle
		s.mu.Unlock()
		switch {
		case m.kind == typeHello, m.kind == typeSetConfig:
		case m.kind == typeFeaturesRequest:
			s.reply(typeFeaturesReply, m.xid, append([]byte{0, 0, 0, 0, 0, 0, 0xab, 0xcd}, make([]byte, 16)...))
		case m.kind == typeBarrierRequest && barriers == 0:
			barriers++
			s.reply(typeBarrierReply, m.xid, nil)
		case handle != nil:
			handle(s, m)
		}
	}
}

// dialFake connects to a fake switch that is past its handshake.
func dialFake(t testing.TB, interval time.Duration) (*fakeSwitch, *Conn) {
	t.Helper()
	accepted := make(chan *fakeSwitch, 1)
	path := listen(t, func(nc net.Conn) {
		s := &fakeSwitch{nc: nc}
		accepted <- s
		s.run()
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := Dial(ctx, Config{Address: path, EchoInterval: interval})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return <-accepted, c
}

// listen serves one connection at a unix socket and waits for its end.
func listen(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.mgmt")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		serve(nc)
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return path
}

func await(t *testing.T, c *Conn) error {
	t.Helper()
	select {
	case <-c.Done():
		return c.Err()
	case <-time.After(10 * time.Second):
		t.Fatal("connection did not end")
		return nil
	}
}

func fakeContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}
