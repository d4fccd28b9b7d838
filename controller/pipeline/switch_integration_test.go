//go:build integration

package pipeline_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/controller/mesh"
)

// ask sends a line and returns the answer.
func ask(conn net.Conn) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(conn, "who"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

func (l *realLab) mustDial(host, to string) net.Conn {
	l.t.Helper()
	conn, err := l.dial(host, 0, to)
	if err != nil {
		l.t.Fatalf("%s connects to %s: %v\n%s", host, to, err, l.ovs.Ofctl("dump-flows", "s1"))
	}
	l.t.Cleanup(func() { conn.Close() })
	return conn
}

func (l *realLab) answers(conn net.Conn, want string) {
	l.t.Helper()
	if got, err := ask(conn); err != nil || got != want {
		l.t.Fatalf("%v to %v: answer %q, error %v; want %q", conn.LocalAddr(), conn.RemoteAddr(), got, err, want)
	}
}

func TestRealTraffic(t *testing.T) {
	l := newRealLab(t)
	up := []mesh.Upstream{calls(h1, "web", "api", 9000), calls(h1, "jobs", "api", 9001)}
	a, b, own := inst("a", h3+":80"), inst("b", h2+":80"), inst("own", h1+":80")
	l.install(snapshot(up, a))
	l.serve("h3", "a", 80)
	l.serve("h2", "b", 80)
	l.serve("h1", "own", 80)

	remote := l.mustDial("h1", vip+":9000")
	l.answers(remote, "a "+h1)
	l.answers(l.mustDial("h1", vip+":9001"), "a "+h1)
	l.answers(l.mustDial("h1", h3+":80"), "a "+h1) // beside the mesh
	l.answers(l.mustDial("h2", h3+":80"), "a "+h2)

	// Larger than any segment: checksums and sequence numbers hold.
	if _, err := remote.Write(append(bytes.Repeat([]byte("x"), 1<<20), '\n')); err != nil {
		t.Fatal(err)
	}
	if got, err := bufio.NewReader(remote).ReadString('\n'); err != nil || got != "a "+h1+"\n" {
		t.Fatalf("after 1 MiB: answer %q, error %v", got, err)
	}

	l.install(snapshot(up, sick(a), b))
	near := l.mustDial("h1", vip+":9000")
	l.answers(near, "b "+h1)
	l.install(snapshot(up, a, b))

	l.install(snapshot(up, sick(a), sick(b), own))
	hair := l.mustDial("h1", vip+":9000")
	l.answers(hair, "own "+hairpin)
	l.answers(remote, "a "+h1)
	l.answers(near, "b "+h1)

	// The same port of the client again, after it closed.
	for range 20 {
		conn, err := l.dial("h1", 5000, vip+":9000")
		if err != nil {
			t.Fatalf("dial from the same port again: %v", err)
		}
		l.answers(conn, "own "+hairpin)
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}

func TestRealGroupKeepsRunningConnections(t *testing.T) {
	l := newRealLab(t)
	up := []mesh.Upstream{calls(h1, "web", "api", 9000)}
	a, b := inst("a", h3+":80"), inst("b", h2+":80")
	l.install(snapshot(up, a, b))
	l.serve("h3", "a", 80)
	l.serve("h2", "b", 80)

	conns := map[net.Conn]string{}
	counts := map[string]int{}
	for range 100 {
		conn := l.mustDial("h1", vip+":9000")
		who, err := ask(conn)
		if err != nil {
			t.Fatal(err)
		}
		conns[conn] = who
		counts[who]++
	}
	if len(counts) != 2 {
		t.Fatalf("100 connections to two instances went to %v", counts)
	}
	direct := l.mustDial("h1", h3+":80")
	l.install(snapshot(up, sick(a), b))
	for conn, who := range conns {
		l.answers(conn, who)
	}
	for range 20 {
		l.answers(l.mustDial("h1", vip+":9000"), "b "+h1)
	}
	l.answers(direct, "a "+h1)
}

// TestRealDirectAfterMesh uses one port of the client for both ways to the
// same instance in turn. Without table 10 the stored connection of the mesh
// would claim the answers to the direct one.
func TestRealDirectAfterMesh(t *testing.T) {
	l := newRealLab(t)
	l.install(snapshot([]mesh.Upstream{calls(h1, "web", "api", 9000)}, inst("a", h3+":80")))
	l.serve("h3", "a", 80)
	for range 3 {
		for _, to := range []string{vip + ":9000", h3 + ":80"} {
			conn, err := l.dial("h1", 5001, to)
			if err != nil {
				t.Fatalf("dial %s from port 5001: %v", to, err)
			}
			l.answers(conn, "a "+h1)
			// A reset leaves no TIME_WAIT, in which h3 might drop the next SYN.
			if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}
	}
}
