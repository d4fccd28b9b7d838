//go:build integration

package meshtest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"meshlab.dev/meshlab/controller"
	"meshlab.dev/meshlab/controller/mesh"
)

// server is an instance: it says its name to whom connects, and answers each
// line with it.
type server struct {
	mesh.Instance
	ln       net.Listener
	accepted atomic.Int64

	mu   sync.Mutex
	ends map[string]error // by the client's address: how the connection ended
}

// serve starts an instance at an address of a host.
func (r *rig) serve(host, addr string) *server {
	r.t.Helper()
	s := &server{Instance: instance(addr), ends: map[string]error{}}
	if err := r.ovs.In(host, func() (err error) {
		s.ln, err = net.Listen("tcp4", addr)
		return err
	}); err != nil {
		r.t.Fatalf("listen on %s: %v", host, err)
	}
	r.t.Cleanup(func() { s.ln.Close() })
	go func() {
		for {
			conn, err := s.ln.Accept()
			if err != nil {
				return
			}
			s.accepted.Add(1)
			go s.answer(conn)
		}
	}()
	return s
}

func (s *server) answer(conn net.Conn) {
	defer conn.Close()
	_, err := fmt.Fprintln(conn, s.ID)
	for in := bufio.NewReader(conn); err == nil; {
		if _, err = in.ReadString('\n'); err == nil {
			_, err = fmt.Fprintln(conn, s.ID)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[conn.RemoteAddr().String()] = err
}

// reset is how many connections ended by a reset.
func (s *server) reset() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, err := range s.ends {
		if errors.Is(err, syscall.ECONNRESET) {
			n++
		}
	}
	return n
}

// dial connects from a host; local 0 is any port.
func (r *rig) dial(host string, local uint16, to string, patience time.Duration) (conn net.Conn, err error) {
	err = r.ovs.In(host, func() error {
		conn, err = dialHere(local, to, patience)
		return err
	})
	return conn, err
}

// dialHere connects from where the thread is.
func dialHere(local uint16, to string, patience time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	if local != 0 {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv4Unspecified(), local))
		// Another socket of the port may wait for the end of its connection.
		d.Control = func(_, _ string, c syscall.RawConn) (err error) {
			return errors.Join(c.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
			}), err)
		}
	}
	return d.Dial("tcp4", to)
}

// client is a connection that is open.
type client struct {
	net.Conn
	in *bufio.Reader
	to string // the instance
}

// open connects and learns which instance answers.
func (r *rig) open(host string, local uint16, to string) (*client, error) {
	conn, err := r.dial(host, local, to, patience)
	if err != nil {
		return nil, err
	}
	return greeted(conn)
}

func greeted(conn net.Conn) (*client, error) {
	c := &client{Conn: conn, in: bufio.NewReader(conn)}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		conn.Close()
		return nil, err
	}
	c.to = strings.TrimSpace(line)
	return c, nil
}

// ask sends a line; an answer of another instance is an error.
func (c *client) ask() error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(c, "who"); err != nil {
		return err
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(line); got != c.to {
		return fmt.Errorf("%s answers in place of %s", got, c.to)
	}
	return nil
}

// abort closes by a reset, which leaves no TIME_WAIT behind.
func (c *client) abort() error {
	return errors.Join(c.Conn.(*net.TCPConn).SetLinger(0), c.Close())
}

// mustOpen opens a connection that ends with the test.
func (r *rig) mustOpen(host string, local uint16, to string) *client {
	r.t.Helper()
	c, err := r.open(host, local, to)
	if err != nil {
		r.t.Fatalf("%s connects to %s: %v", host, to, err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

// choices opens one connection of a host from each port and tells which
// instance it got.
func (r *rig) choices(host string, first, n uint16, to string) map[uint16]string {
	r.t.Helper()
	out := map[uint16]string{}
	if err := r.ovs.In(host, func() error {
		for port := first; port < first+n; port++ {
			conn, err := dialHere(port, to, patience)
			if err != nil {
				return err
			}
			c, err := greeted(conn)
			if err != nil {
				return err
			}
			out[port] = c.to
			if err := c.abort(); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		r.t.Fatalf("%s calls %s: %v", host, to, err)
	}
	return out
}

// load are connections that exchange data all the time.
type load struct {
	conns []*client
	stop  func() []error // ends it; what went wrong, by connection
	bad   atomic.Int32   // connections that have ended
	asked atomic.Int64
}

// run has each connection exchange a line every 50 ms.
func run(conns []*client) *load {
	l := &load{conns: conns}
	errs := make([]error, len(conns))
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i, c := range conns {
		all.Go(func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				if err := c.ask(); err != nil {
					errs[i] = err
					l.bad.Add(1)
					return
				}
				l.asked.Add(1)
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	l.stop = func() []error {
		cancel()
		all.Wait()
		return errs
	}
	return l
}

// refused expects that a connection is refused, and at once.
func (r *rig) refused(host, to, when string) {
	r.t.Helper()
	start := time.Now()
	conn, err := r.dial(host, 0, to, patience)
	if err == nil {
		conn.Close()
	}
	if took := time.Since(start); !errors.Is(err, syscall.ECONNREFUSED) || took > 900*time.Millisecond {
		r.t.Errorf("%s: %s to %s gave %v after %v; want connection refused at once", when, host, to, err, took)
	}
}

// flows asks the controller what the switches hold, as meshlab flows does.
func (r *rig) flows() controller.Flows {
	r.t.Helper()
	w := httptest.NewRecorder()
	r.ctl.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/flows", nil))
	var f controller.Flows
	if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil && !errors.Is(err, io.EOF) {
		r.t.Fatal(err)
	}
	return f
}
