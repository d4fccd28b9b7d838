package supervisor

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// listener gives what it is told to give, one after the other.
type listener struct {
	net.Listener
	next []func() (net.Conn, error)
}

func (l *listener) Accept() (net.Conn, error) {
	f := l.next[0]
	l.next = l.next[1:]
	return f()
}

// Too many open files for a moment do not end exec and published ports for
// the rest of the lab's life.
func TestAccept(t *testing.T) {
	verb, sup := pair(t)
	fail := func(err error) func() (net.Conn, error) { return func() (net.Conn, error) { return nil, err } }
	l := &listener{next: []func() (net.Conn, error){
		fail(syscall.EMFILE),
		func() (net.Conn, error) { return sup, nil },
		fail(&net.OpError{Op: "accept", Err: net.ErrClosed}),
	}}
	accept(l, func(c net.Conn) { _, _ = c.Write([]byte("x")) })
	if err := verb.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2)
	if n, err := verb.Read(b); n != 1 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := verb.Read(b); n != 0 || err == nil {
		t.Errorf("the connection stays open: %d bytes, %v", n, err)
	}
}
