//go:build integration

package shape

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	vishvananda "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/orchestrate/netns"
	"meshlab.dev/meshlab/topo"
)

// rig is two network namespaces, joined by a veth pair as the cables of labs
// are.
type rig struct {
	a, b         string // namespaces
	addrA, addrB netip.Addr
}

func (r rig) link(c topo.Character) Link {
	return Link{Name: "a-b", A: End{r.a, "eth0"}, B: End{r.b, "eth0"}, Character: c}
}

func newRig(t testing.TB) rig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("outside a lab only root may make links")
	}
	_, err := os.Stat("/run/netns")
	fresh := errors.Is(err, fs.ErrNotExist)
	t.Cleanup(func() {
		if fresh {
			_ = os.Remove("/run/netns") // unless somebody else uses it by now
		}
	})
	r := rig{
		a: fmt.Sprintf("meshlabshape-%d-a", os.Getpid()), b: fmt.Sprintf("meshlabshape-%d-b", os.Getpid()),
		addrA: netip.MustParseAddr("10.9.8.1"), addrB: netip.MustParseAddr("10.9.8.2"),
	}
	for _, name := range []string{r.a, r.b} {
		if err := netns.Create(name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := vishvananda.DeleteNamed(name); err != nil {
				t.Error(err)
			}
		})
	}
	r.cable(t)
	return r
}

// cable lays the pair, in place of one that was there.
func (r rig) cable(t testing.TB) {
	t.Helper()
	other, err := netns.Open(r.b)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	err = netns.Do(r.a, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "eth0"
		if old, err := netlink.LinkByName("eth0"); err == nil {
			if err := netlink.LinkDel(old); err != nil {
				return err
			}
		}
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(other)})
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, addr := range map[string]netip.Addr{r.a: r.addrA, r.b: r.addrB} {
		if err := netns.Do(name, func() error { return up(addr) }); err != nil {
			t.Fatal(err)
		}
	}
	// Neighbours are known, so that no test counts a question for them.
	if _, err := r.echo(t, 1); err != nil {
		t.Fatal(err)
	}
}

func up(addr netip.Addr) error {
	if err := netns.Sysctl("net/ipv6/conf/all/disable_ipv6", "1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	device, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	if err := e.Change("eth0", map[string]bool{"tx-checksum-ip-generic": false}); err != nil {
		return err
	}
	if err := netlink.AddrAdd(device, &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(24, 32)}}); err != nil {
		return err
	}
	return netlink.LinkSetUp(device)
}

// listen opens a UDP socket in a namespace, with room for bursts.
func listen(t testing.TB, ns string, addr netip.Addr) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := netns.Do(ns, func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			for _, o := range []int{unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
				if e := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, o, 32<<20); e != nil {
					t.Error(e)
				}
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func udpAddr(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// echo sends n datagrams one after the other, each when the one before has
// come back, and returns the round trips.
func (r rig) echo(t testing.TB, n int) ([]time.Duration, error) {
	t.Helper()
	server, client := listen(t, r.b, r.addrB), listen(t, r.a, r.addrA)
	defer client.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	defer func() { server.Close(); <-done }()
	all := make([]time.Duration, 0, n)
	buf := make([]byte, 64)
	for range n {
		begin := time.Now()
		if _, err := client.WriteToUDPAddrPort(buf[:], udpAddr(server)); err != nil {
			return nil, err
		}
		if err := client.SetReadDeadline(begin.Add(5 * time.Second)); err != nil {
			return nil, err
		}
		if _, _, err := client.ReadFromUDPAddrPort(buf); err != nil {
			return nil, err
		}
		all = append(all, time.Since(begin))
	}
	return all, nil
}

// shaper gives the link of the rig a character until the test ends.
func (r rig) shaper(t testing.TB, c topo.Character) *Shaper {
	t.Helper()
	s := NewShaper(slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Apply([]Link{r.link(c)}); err != nil {
		t.Fatal(err)
	}
	return s
}
