//go:build integration

package openloop

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	handles "github.com/vishvananda/netns"

	"meshlab.dev/meshlab/orchestrate/netns"
)

// TestSocketsOfAnotherNamespace: servers listen on the loopback interface of a
// network namespace, where this process' own sockets do not reach them.
func TestSocketsOfAnotherNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a network namespace")
	}
	name := fmt.Sprintf("openloop-test-%d", os.Getpid())
	if err := netns.Create(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := handles.DeleteNamed(name); err != nil {
			t.Error(err)
		}
	})
	var e ears
	err := netns.Do(name, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(lo); err != nil {
			return err
		}
		return e.listen()
	})
	if err != nil {
		t.Fatal(err)
	}
	e.serve(t)

	lab := newFakeLab(t)
	inside := lab.socket
	lab.socket = func(kind int) (fd int, err error) {
		err = netns.Do(name, func() error {
			fd, err = inside(kind)
			return err
		})
		return fd, err
	}
	allProtocols(t, lab, e)

	to := netip.MustParseAddrPort(e.http.Addr().String())
	if c, err := net.Dial("tcp4", to.String()); err == nil {
		c.Close()
		t.Error("the server can be reached from outside: the test shows nothing")
	}
	own := newFakeLab(t)
	got, err := Sockets(t.Context(), own.path, "client", "tcp4", 1)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := got[0].Connect(t.Context(), "tcp", to); err == nil {
		c.Close()
		t.Error("a socket of this namespace reaches the other")
	}
}
