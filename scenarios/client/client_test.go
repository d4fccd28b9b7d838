package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fortio.org/fortio/fgrpc"
	"fortio.org/fortio/fhttp"
	"fortio.org/log"

	"meshlab.dev/meshlab/scenarios"
)

// specFor is a request that the server of the protocol answers well.
func specFor(p scenarios.Protocol, address string) scenarios.RequestSpec {
	spec := scenarios.RequestSpec{Protocol: p, URL: "http://" + address + "/api", Body: "beans"}
	switch p {
	case scenarios.HTTP1, scenarios.HTTP1Close, scenarios.HTTP2:
		spec.Method, spec.Status = http.MethodPost, http.StatusOK
		spec.Headers = map[string]string{"host": "shop", "X-Lab": "yes"}
		spec.Contains = []string{"POST shop yes beans", "coffee"}
		spec.Matches = `^HTTP/\d\.\d POST [a-z]+ .*\n$`
	}
	return spec
}

func prepare(t *testing.T, spec scenarios.RequestSpec) *Request {
	t.Helper()
	r, err := Prepare(spec)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newClient(t *testing.T) *Client {
	c := New(&net.Dialer{})
	t.Cleanup(c.Close)
	return c
}

func soon() time.Time { return time.Now().Add(5 * time.Second) }

func eachProtocol(t *testing.T, f func(*testing.T, scenarios.Protocol)) {
	for _, p := range scenarios.Protocols() {
		t.Run(string(p), func(t *testing.T) { f(t, p) })
	}
}

func TestDoSpeaksEveryProtocol(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p scenarios.Protocol) {
		s := serve(t, p)
		c, r := newClient(t), prepare(t, specFor(p, s.address))
		for range 5 {
			start := time.Now()
			end, kind := c.Do(t.Context(), soon(), r)
			if kind != "" || end.Before(start) || end.After(time.Now()) {
				t.Fatalf("%q, end %v after start", kind, end.Sub(start))
			}
		}
		want := 1
		if p == scenarios.HTTP1Close {
			want = 5
		}
		if connections, requests := s.counts(); connections != want || requests != 5 {
			t.Errorf("%d connections and %d requests, want %d and 5", connections, requests, want)
		}
	})
}

// TestPingServer holds the client to Fortio's own server, which cannot be
// stopped.
func TestPingServer(t *testing.T) {
	log.SetLogLevelQuiet(log.Critical)
	port := fgrpc.PingServerTCP("0", "", 0, &fhttp.TLSOptions{})
	r := prepare(t, specFor(scenarios.GRPC, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))))
	if _, kind := newClient(t).Do(t.Context(), soon(), r); kind != "" {
		t.Error(kind)
	}
}

func TestHTTP2IsSpoken(t *testing.T) {
	s := serve(t, scenarios.HTTP2)
	spec := specFor(scenarios.HTTP2, s.address)
	spec.Matches = `^HTTP/2\.0 `
	if _, kind := newClient(t).Do(t.Context(), soon(), prepare(t, spec)); kind != "" {
		t.Error(kind)
	}
}

func TestFaultsHaveKinds(t *testing.T) {
	tests := []struct {
		protocol scenarios.Protocol
		fault    string
		want     string
	}{
		{scenarios.HTTP1, "wrong", "status 418"},
		{scenarios.HTTP1, "close", "connection closed early"},
		{scenarios.HTTP1, "bye", ""},
		{scenarios.HTTP1, "cut", "connection closed early"},
		{scenarios.HTTP1Close, "close", "connection closed early"},
		{scenarios.HTTP2, "wrong", "status 418"},
		{scenarios.HTTP2, "close", "stream reset: INTERNAL_ERROR"},
		{scenarios.HTTP2, "bye", ""},
		{scenarios.HTTP2, "cut", "connection closed early"},
		{scenarios.GRPC, "wrong", "echo differs"},
		{scenarios.GRPC, "close", "connection closed early"},
		{scenarios.TCPEcho, "wrong", "echo differs"},
		{scenarios.TCPEcho, "close", "connection closed early"},
		{scenarios.TCPEcho, "reset", "connection reset"},
		{scenarios.UDPEcho, "wrong", "echo differs"},
		{scenarios.UDPEcho, "longer", "echo differs"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.protocol, " ", tt.fault), func(t *testing.T) {
			s := serve(t, tt.protocol)
			c, r := newClient(t), prepare(t, specFor(tt.protocol, s.address))
			if _, kind := c.Do(t.Context(), soon(), r); kind != "" {
				t.Fatal(kind)
			}
			s.break1(tt.fault)
			_, kind := c.Do(t.Context(), soon(), r)
			// A gRPC server that closes before it has read the client's last frames,
			// an acknowledgement of its settings for example, makes the kernel reset.
			unread := tt.protocol == scenarios.GRPC && tt.fault == "close" && kind == "connection reset"
			if kind != tt.want && !unread {
				t.Errorf("kind %q, want %q", kind, tt.want)
			}
			if _, requests := s.counts(); requests != 2 {
				t.Errorf("the server saw %d requests, want 2: nothing is sent twice", requests)
			}
			if tt.protocol == scenarios.GRPC && tt.fault == "close" {
				return // this server has ended
			}
			if _, kind := c.Do(t.Context(), soon(), r); kind != "" {
				t.Errorf("the next request: %q", kind)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p scenarios.Protocol) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		l.Close()
		c, r := newClient(t), prepare(t, specFor(p, address))
		for range 2 {
			if _, kind := c.Do(t.Context(), soon(), r); kind != "connection refused" {
				t.Errorf("kind %q, want a refused connection", kind)
			}
		}
	})
}

func TestDeadlineAndCancel(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p scenarios.Protocol) {
		s := serve(t, p)
		c, r := newClient(t), prepare(t, specFor(p, s.address))
		for _, connected := range []bool{false, true} {
			s.break1("hang")
			start := time.Now()
			want := "timeout"
			if p == scenarios.UDPEcho {
				want = "lost"
			}
			if _, kind := c.Do(t.Context(), start.Add(50*time.Millisecond), r); kind != want {
				t.Errorf("kind %q, want %q (connected before: %v)", kind, want, connected)
			}
			if took := time.Since(start); took < 50*time.Millisecond || took > 4*time.Second {
				t.Errorf("took %v, the deadline was after 50ms", took)
			}
			// The next one has a connection of its own.
			if _, kind := c.Do(t.Context(), soon(), r); kind != "" {
				t.Errorf("after a timeout: %q", kind)
			}
		}
		for _, cancelled := range []string{"before", "meanwhile"} {
			s.break1("hang")
			ctx, cancel := context.WithCancel(t.Context())
			if cancelled == "before" {
				cancel()
			}
			_, before := s.counts()
			go func() { // until the request is there
				for _, n := s.counts(); n == before && ctx.Err() == nil; _, n = s.counts() {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			start := time.Now()
			if _, kind := c.Do(ctx, soon(), r); kind != Cancelled {
				t.Errorf("kind %q, want %q (%s)", kind, Cancelled, cancelled)
			}
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("took %v to stop", took)
			}
			s.break1("")
		}
	})
}

func TestEndIsWhenTheLastByteCame(t *testing.T) {
	for _, p := range []scenarios.Protocol{scenarios.HTTP1, scenarios.HTTP1Close, scenarios.HTTP2} {
		t.Run(string(p), func(t *testing.T) {
			s := serve(t, p)
			spec := specFor(p, s.address)
			spec.Contains, spec.Matches = nil, "^coffee\n$"
			s.break1("late")
			start := time.Now()
			end, kind := newClient(t).Do(t.Context(), soon(), prepare(t, spec))
			if kind != "" {
				t.Fatal(kind)
			}
			if took := end.Sub(start); took < lateBy {
				t.Errorf("ended after %v, but the last byte comes after %v", took, lateBy)
			}
		})
	}
}

// TestChecksCostNoTime has a pattern that takes long for a long answer.
func TestChecksCostNoTime(t *testing.T) {
	s := serve(t, scenarios.HTTP1)
	spec := specFor(scenarios.HTTP1, s.address)
	spec.Body = strings.Repeat("x", 2<<20)
	spec.Contains, spec.Matches = nil, "(x+x+)+y"
	c := newClient(t)
	end, kind := c.Do(t.Context(), time.Now().Add(time.Minute), prepare(t, spec))
	if want := `body does not match "(x+x+)+y"`; kind != want {
		t.Errorf("kind %q, want %q", kind, want)
	}
	if after := time.Since(end); after < 10*time.Millisecond {
		t.Errorf("the check took %v at most after the end; it was measured along", after)
	}
}

func TestConnectOpensAndRenews(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p scenarios.Protocol) {
		s := serve(t, p)
		c, r := newClient(t), prepare(t, specFor(p, s.address))
		for range 3 {
			if err := c.Connect(t.Context(), soon(), r); err != nil {
				t.Fatal(err)
			}
		}
		if open := len(c.links); (p == scenarios.HTTP1Close) != (open == 0) || open > 1 {
			t.Errorf("%d connections are open", open)
		}
		if _, kind := c.Do(t.Context(), soon(), r); kind != "" {
			t.Error(kind)
		}
		if connections, requests := s.counts(); connections != 1 || requests != 1 {
			t.Errorf("%d connections and %d requests, want one each", connections, requests)
		}
	})
}

// TestConnectionsThatTheServerCloses: Connect opens such a one anew; without
// it, a request of HTTP/1.1 meets the closed connection, one of HTTP/2 does not.
func TestConnectionsThatTheServerCloses(t *testing.T) {
	var closing atomic.Value
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "coffee") }),
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateNew { // an earlier one may end meanwhile
				closing.Store(c)
			}
		},
		Protocols: new(http.Protocols),
	}
	h.Protocols.SetHTTP1(true)
	h.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = h.Serve(l) }()
	t.Cleanup(func() { h.Close() })
	for _, tt := range []struct {
		protocol scenarios.Protocol
		connect  bool
		want     string
	}{
		{scenarios.HTTP1, true, ""},
		{scenarios.HTTP1, false, "connection closed early"},
		{scenarios.HTTP2, true, ""},
		{scenarios.HTTP2, false, ""},
	} {
		t.Run(fmt.Sprint(tt.protocol, " ", tt.connect), func(t *testing.T) {
			c := newClient(t)
			r := prepare(t, scenarios.RequestSpec{Protocol: tt.protocol, URL: "http://" + l.Addr().String(), Status: 200})
			if _, kind := c.Do(t.Context(), soon(), r); kind != "" {
				t.Fatal(kind)
			}
			old := c.links[r.target]
			if old == nil || !old.usable() {
				t.Fatal("the connection was not kept")
			}
			_ = closing.Load().(net.Conn).Close()
			for deadline := soon(); old.usable() && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			if tt.connect {
				if err := c.Connect(t.Context(), soon(), r); err != nil {
					t.Fatal(err)
				}
			}
			if _, kind := c.Do(t.Context(), soon(), r); kind != tt.want {
				t.Errorf("kind %q, want %q", kind, tt.want)
			}
		})
	}
}

func TestLateDatagramIsNoAnswer(t *testing.T) {
	s := serve(t, scenarios.UDPEcho)
	c, r := newClient(t), prepare(t, specFor(scenarios.UDPEcho, s.address))
	s.break1("twice")
	if _, kind := c.Do(t.Context(), soon(), r); kind != "" {
		t.Fatal(kind)
	}
	old := c.links[r.target]
	for deadline := soon(); old.usable() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if err := c.Connect(t.Context(), soon(), r); err != nil {
		t.Fatal(err)
	}
	if c.links[r.target] == old {
		t.Error("a connection with a datagram left over is kept")
	}
}

func TestOneConnectionPerAddress(t *testing.T) {
	one, two := serve(t, scenarios.HTTP1), serve(t, scenarios.HTTP1)
	c := newClient(t)
	first := specFor(scenarios.HTTP1, one.address)
	second := first
	second.URL, second.Body, second.Contains = "http://"+one.address+"/other", "", nil
	third := specFor(scenarios.HTTP1, two.address)
	for range 3 {
		for _, spec := range []scenarios.RequestSpec{first, second, third} {
			if _, kind := c.Do(t.Context(), soon(), prepare(t, spec)); kind != "" {
				t.Error(kind)
			}
		}
	}
	for i, s := range []*server{one, two} {
		if connections, requests := s.counts(); connections != 1 || requests != []int{6, 3}[i] {
			t.Errorf("server %d: %d connections, %d requests", i+1, connections, requests)
		}
	}
}

// TestServerClosesFirst: whoever closes first keeps the port for a minute.
// This server takes its time.
func TestServerClosesFirst(t *testing.T) {
	s := &server{}
	l := listen(t, s)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\ncoffee\n")
					time.Sleep(farewell / 5)
				}
			}()
		}
	}()
	r := prepare(t, scenarios.RequestSpec{Protocol: scenarios.HTTP1Close, URL: "http://" + s.address, Status: 200})
	c := newClient(t)
	along := 0
	for range 20 {
		start := time.Now()
		end, kind := c.Do(t.Context(), soon(), r)
		if kind != "" {
			t.Fatal(kind)
		}
		if end.After(start.Add(time.Since(start) - farewell/10)) {
			along++
		}
	}
	if along > 10 { // a client that was kept waiting for a processor finds the connection closed
		t.Errorf("the wait for the server's end was measured along in %d of 20", along)
	}
	_, port, _ := net.SplitHostPort(s.address)
	n, _ := strconv.Atoi(port)
	hex := fmt.Sprintf(":%04X", n)
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Skip(err)
	}
	kept := 0
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 3 && f[3] == "06" && strings.HasSuffix(f[2], hex) { // TIME_WAIT, to the server
			kept++
		}
	}
	if kept > 4 { // a busy machine may take longer than farewell
		t.Errorf("the client keeps %d ports of 20 connections", kept)
	}
}

func TestBrokenDialer(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p scenarios.Protocol) {
		c := New(failing{})
		r := prepare(t, specFor(p, "127.0.0.1:1"))
		if _, kind := c.Do(t.Context(), soon(), r); kind != "no connection" {
			t.Errorf("kind %q, want that there is no connection", kind)
		}
	})
}

type failing struct{}

func (failing) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("no socket")
}

func TestPrepareRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*scenarios.RequestSpec)
		want   string
	}{
		{"protocol", func(s *scenarios.RequestSpec) { s.Protocol = "spdy" }, `unknown protocol "spdy"`},
		{"https", func(s *scenarios.RequestSpec) { s.URL = "https://shop/" }, "want http://"},
		{"no host", func(s *scenarios.RequestSpec) { s.URL = "/api" }, "want http://"},
		{"URL", func(s *scenarios.RequestSpec) { s.URL = "http://a b/" }, "parse the URL"},
		{"status", func(s *scenarios.RequestSpec) { s.Status = 0 }, "expected status 0"},
		{"interim status", func(s *scenarios.RequestSpec) { s.Status = 100 }, "expected status 100"},
		{"method", func(s *scenarios.RequestSpec) { s.Method = "GE T" }, "invalid method"},
		{"header", func(s *scenarios.RequestSpec) { s.Headers = map[string]string{"X": "a\r\nB: c"} }, "X"},
		{"header's name", func(s *scenarios.RequestSpec) { s.Headers = map[string]string{"X Y": "a"} }, "X Y"},
		{"pattern", func(s *scenarios.RequestSpec) { s.Matches = "(" }, "compile the pattern"},
		{"echo without body", func(s *scenarios.RequestSpec) { *s = specFor(scenarios.TCPEcho, "a:1"); s.Body = "" }, "body of 0 bytes"},
		{"long echo", func(s *scenarios.RequestSpec) {
			*s = specFor(scenarios.UDPEcho, "a:1")
			s.Body = strings.Repeat("x", 65_508)
		}, "body of 65508 bytes"},
		{"echo with headers", func(s *scenarios.RequestSpec) {
			*s = specFor(scenarios.UDPEcho, "a:1")
			s.Headers = map[string]string{"a": "b"}
		}, "no headers"},
		{"echo with a pattern", func(s *scenarios.RequestSpec) { *s = specFor(scenarios.TCPEcho, "a:1"); s.Matches = "x" }, "nothing else to expect"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := specFor(scenarios.HTTP1, "127.0.0.1:1")
			tt.change(&spec)
			if _, err := Prepare(spec); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
