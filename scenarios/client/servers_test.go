package client

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"fortio.org/fortio/fgrpc"
	"google.golang.org/grpc"

	"meshlab.dev/meshlab/scenarios"
)

// server answers one protocol, and counts.
type server struct {
	address string

	mu          sync.Mutex
	connections int
	requests    int
	fault       string // of the next request: hang, close, reset, wrong
	release     chan struct{}
}

// next books a request and returns what is to go wrong with it.
func (s *server) next() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	f := s.fault
	s.fault = ""
	return f
}

func (s *server) break1(fault string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *server) counts() (connections, requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections, s.requests
}

func (s *server) accepted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections++
}

// hang returns when the test is over, or ctx is done.
func (s *server) hang(ctx context.Context) {
	select {
	case <-s.release:
	case <-ctx.Done():
	}
}

// serve starts a server of the protocol.
func serve(t *testing.T, p scenarios.Protocol) *server {
	t.Helper()
	s := &server{release: make(chan struct{})}
	switch p {
	case scenarios.HTTP1, scenarios.HTTP1Close, scenarios.HTTP2:
		serveHTTP(t, s)
	case scenarios.GRPC:
		serveGRPC(t, s)
	case scenarios.TCPEcho:
		serveTCP(t, s)
	case scenarios.UDPEcho:
		serveUDP(t, s)
	}
	t.Cleanup(func() { close(s.release) })
	return s
}

func serveHTTP(t *testing.T, s *server) {
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch s.next() {
		case "hang":
			s.hang(r.Context())
		case "close":
			panic(http.ErrAbortHandler)
		case "cut":
			_ = r.Context().Value(connection{}).(net.Conn).Close()
			return
		case "bye": // after this answer, as a server that ends in peace
			w.Header().Set("Connection", "close")
		case "wrong":
			w.WriteHeader(http.StatusTeapot)
		case "late":
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, "coff")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(lateBy):
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(w, "ee\n")
			return
		}
		_, _ = io.WriteString(w, r.Proto+" "+r.Method+" "+r.Host+" "+r.Header.Get("X-Lab")+" "+string(body)+" coffee\n")
	}))
	h.Config.Protocols = new(http.Protocols)
	h.Config.Protocols.SetHTTP1(true)
	h.Config.Protocols.SetUnencryptedHTTP2(true)
	h.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.accepted()
		}
	}
	h.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connection{}, c)
	}
	h.Start()
	t.Cleanup(h.Close)
	s.address = h.Listener.Addr().String()
}

type connection struct{} // key of a request's context

// lateBy is how long an answer that is late keeps its last byte back.
const lateBy = 30 * time.Millisecond

// counted is a listener that counts connections, and can close them.
type counted struct {
	net.Listener
	s *server
}

func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.s.accepted()
	}
	return c, err
}

// pings is a ping service in which things go wrong.
type pings struct {
	s    *server
	stop func()
}

func (p pings) Ping(ctx context.Context, in *fgrpc.PingMessage) (*fgrpc.PingMessage, error) {
	out := &fgrpc.PingMessage{Seq: in.Seq, Payload: in.Payload}
	switch p.s.next() {
	case "hang":
		p.s.hang(ctx)
	case "close":
		go p.stop()
		p.s.hang(ctx)
	case "wrong":
		out.Payload = "tea"
	}
	return out, nil
}

func serveGRPC(t *testing.T, s *server) {
	g := grpc.NewServer()
	fgrpc.RegisterPingServerServer(g, pings{s, g.Stop})
	l := counted{listen(t, s), s}
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
}

func listen(t *testing.T, s *server) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s.address = l.Addr().String()
	return l
}

func serveTCP(t *testing.T, s *server) {
	l := counted{listen(t, s), s}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.echo(c.(*net.TCPConn))
		}
	}()
}

func (s *server) echo(c *net.TCPConn) {
	defer c.Close()
	for b := make([]byte, 64<<10); ; {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		switch s.next() {
		case "hang":
			s.hang(context.Background())
			return
		case "close":
			return
		case "reset":
			_ = c.SetLinger(0)
			return
		case "wrong":
			b[0]++
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

func serveUDP(t *testing.T, s *server) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s.address = c.LocalAddr().String()
	go func() {
		known := make(map[string]bool)
		for b := make([]byte, 64<<10); ; {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if !known[from.String()] {
				known[from.String()] = true
				s.accepted()
			}
			switch s.next() {
			case "hang":
				continue
			case "wrong":
				b[0]++
			case "longer":
				n++
			case "twice":
				_, _ = c.WriteToUDPAddrPort(b[:n], from)
			}
			_, _ = c.WriteToUDPAddrPort(b[:n], from)
		}
	}()
}
