//go:build integration

package tap_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	vishvananda "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate/link"
	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/orchestrate/tap"
)

// pair makes a host and its cable. One end is in the namespace of the test,
// where it gets an address too, so that a server here answers a client there.
func pair(t *testing.T) (host, peer string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("outside a lab only root may make links")
	}
	_, err := os.Stat("/run/netns")
	fresh := errors.Is(err, fs.ErrNotExist)
	host, peer = fmt.Sprintf("meshlabtap-%d", os.Getpid()), fmt.Sprintf("mt%d", os.Getpid())
	if err := netns.Create(host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vishvananda.DeleteNamed(host); err != nil {
			t.Error(err)
		}
		if fresh {
			_ = os.Remove("/run/netns") // unless somebody else uses it by now
		}
	})
	err = link.Connect(link.Veth{
		Host: host, Device: "eth0", Peer: peer, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9},
		IPv4: netip.MustParsePrefix("10.213.7.1/30"), MTU: 1500,
	})
	if err != nil {
		t.Fatal(err)
	}
	dev, err := netlink.LinkByName(peer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netlink.LinkDel(dev); err != nil {
			t.Error(err)
		}
	})
	if err := netlink.AddrAdd(dev, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 213, 7, 2), Mask: net.CIDRMask(30, 32)}}); err != nil {
		t.Fatal(err)
	}
	return host, peer
}

// delay is what the server of the test takes for each answer.
const delay = 5 * time.Millisecond

// answer reads four bytes and sends ten back, until the client has gone.
func answer(l net.Listener) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	for b := make([]byte, 4); ; {
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		time.Sleep(delay) // what is measured
		if _, err := c.Write(make([]byte, 10)); err != nil {
			return
		}
	}
}

// ask sends n requests from inside the host, one after the other.
func ask(t *testing.T, host, address string, n int) {
	var c net.Conn
	err := netns.Do(host, func() (err error) {
		c, err = net.Dial("tcp4", address)
		return err
	})
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	for b := make([]byte, 10); n > 0; n-- {
		if _, err := c.Write(b[:4]); err != nil {
			t.Error(err)
			return
		}
		if _, err := io.ReadFull(c, b); err != nil {
			t.Error(err)
			return
		}
	}
}

func TestListen(t *testing.T) {
	host, peer := pair(t)
	l, err := net.Listen("tcp4", "10.213.7.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before := packetSockets(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	cfg := tap.Config{MaxPackets: 100, Ports: []tap.Port{
		{Device: peer, Direction: tap.In}, {Device: peer, Direction: tap.Out}, {NetNS: host, Device: "eth0", Direction: tap.Out},
	}}
	const n = 5
	ready := func() {
		if got := packetSockets(t) - before; got != len(cfg.Ports) {
			t.Errorf("%d sockets while it listens, want %d", got, len(cfg.Ports))
		}
		go func() {
			defer stop()
			go answer(l)
			ask(t, host, l.Addr().String(), n)
		}()
	}
	c, err := tap.Listen(ctx, cfg, ready)
	if err != nil {
		t.Fatal(err)
	}
	if got := packetSockets(t); got != before {
		t.Errorf("%d packet sockets are left", got-before)
	}
	if c.Dropped != 0 {
		t.Errorf("%d dropped", c.Dropped)
	}
	byPort := make([][]tap.Packet, len(cfg.Ports))
	for _, p := range c.Packets {
		byPort[p.Port] = append(byPort[p.Port], p)
	}
	in, out, inside := byPort[0], byPort[1], byPort[2]
	if len(in) != n || len(out) != n || len(inside) != n {
		t.Fatalf("%d in, %d out, %d out of the host, want %d each: %+v", len(in), len(out), len(inside), n, c.Packets)
	}
	server := netip.MustParseAddrPort(l.Addr().String())
	for i := range in {
		if in[i].Dst != server || out[i].Src != server || in[i].Src != out[i].Dst || in[i].Payload != 4 || out[i].Payload != 10 {
			t.Errorf("request %+v, answer %+v", in[i], out[i])
		}
		if i > 0 && (in[i].Seq != in[i-1].Seq+4 || out[i].Seq != out[i-1].Seq+10) {
			t.Errorf("sequence numbers of %+v and %+v do not follow", in[i], out[i])
		}
		// The server's delay is between the stamps, and the link's is none of it.
		if took := time.Duration(out[i].At - in[i].At); took < delay || took > 20*delay {
			t.Errorf("the server took %v, want %v and little more", took, delay)
		}
		if way := time.Duration(in[i].At - inside[i].At); way < 0 || way > delay {
			t.Errorf("%v from the host's end of the cable to the other", way)
		}
	}
}

func TestListenKeepsNoMoreThanAsked(t *testing.T) {
	host, peer := pair(t)
	l, err := net.Listen("tcp4", "10.213.7.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	c, err := tap.Listen(ctx, tap.Config{MaxPackets: 3, Ports: []tap.Port{{Device: peer, Direction: tap.In}}}, func() {
		go func() {
			defer stop()
			go answer(l)
			ask(t, host, l.Addr().String(), 5)
		}()
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Packets) != 3 || c.Dropped != 2 {
		t.Errorf("%d kept, %d dropped; want 3 and 2", len(c.Packets), c.Dropped)
	}
}

// TestListenWhereNothingIs: a port that is missing is an error, and leaves
// nothing of those before it.
func TestListenWhereNothingIs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("outside a lab only root may listen to packets")
	}
	before := packetSockets(t)
	for name, bad := range map[string]tap.Port{
		"device":    {Device: "mtnone", Direction: tap.In},
		"namespace": {NetNS: "meshlabtap-none", Device: "lo", Direction: tap.In},
		"direction": {Device: "lo", Direction: "up"},
	} {
		_, err := tap.Listen(t.Context(), tap.Config{Ports: []tap.Port{{Device: "lo", Direction: tap.Out}, bad}}, func() { t.Error("ready") })
		if err == nil || !strings.Contains(err.Error(), bad.String()) {
			t.Errorf("no %s: %v", name, err)
		}
	}
	if got := packetSockets(t); got != before {
		t.Errorf("%d packet sockets are left", got-before)
	}
}

// packetSockets counts the packet sockets of this process, whatever namespace
// they are in.
func packetSockets(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		// What is no socket, or closed by now, has no domain.
		if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && domain == unix.AF_PACKET {
			n++
		}
	}
	return n
}
