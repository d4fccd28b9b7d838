//go:build integration

package link_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	vishvananda "github.com/vishvananda/netns"

	"meshlab.dev/meshlab/orchestrate/link"
	"meshlab.dev/meshlab/orchestrate/netns"
)

// twoMachines are namespaces on a segment, at 198.19.0.2 and .3.
func twoMachines(t *testing.T) (a, b string) {
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
	segment := link.Segment{Name: fmt.Sprintf("mls%d", os.Getpid()), MTU: 1500}
	names := []string{fmt.Sprintf("meshlabsw-%d-a", os.Getpid()), fmt.Sprintf("meshlabsw-%d-b", os.Getpid())}
	for i, name := range names {
		if err := netns.Create(name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := vishvananda.DeleteNamed(name); err != nil {
				t.Error(err)
			}
		})
		if err := link.Quiet(name); err != nil {
			t.Fatal(err)
		}
		segment.Stations = append(segment.Stations, link.Station{
			End:  link.End{NetNS: name, Device: "underlay.0"},
			Addr: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 19, 0, byte(2 + i)}), 16),
		})
	}
	if err := link.AddSegment(segment); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The cables go with it: their other ends are in namespaces that end.
		if err := netlink.LinkDel(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: segment.Name}}); err != nil {
			t.Error(err)
		}
	})
	return names[0], names[1]
}

func TestSwitchesBetweenNamespaces(t *testing.T) {
	a, b := twoMachines(t)
	at := [2]netip.Addr{netip.MustParseAddr("198.19.0.2"), netip.MustParseAddr("198.19.0.3")}
	for name, c := range map[string]struct {
		device string
		mtu    int
		lay    func(x, y link.End, mtu int) error
	}{
		"cable": {"s.1", 1500, func(x, y link.End, mtu int) error {
			return link.Join(link.Trunk{A: x, B: y, MTU: mtu})
		}},
		"tunnel": {"s.2", 1500 - link.VXLANOverhead, func(x, y link.End, mtu int) error {
			return errors.Join(
				link.AddTunnel(link.Tunnel{End: x, VNI: 7, Local: at[0], Remote: at[1], MTU: mtu}),
				link.AddTunnel(link.Tunnel{End: y, VNI: 7, Local: at[1], Remote: at[0], MTU: mtu}))
		}},
		// Two of them between the same machines, told apart by their numbers.
		"another tunnel": {"s.3", 1500 - link.VXLANOverhead, func(x, y link.End, mtu int) error {
			return errors.Join(
				link.AddTunnel(link.Tunnel{End: x, VNI: 8, Local: at[0], Remote: at[1], MTU: mtu}),
				link.AddTunnel(link.Tunnel{End: y, VNI: 8, Local: at[1], Remote: at[0], MTU: mtu}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			x, y := link.End{NetNS: a, Device: c.device}, link.End{NetNS: b, Device: c.device}
			if err := c.lay(x, y, c.mtu); err != nil {
				t.Fatal(err)
			}
			if err := c.lay(x, y, c.mtu); !errors.Is(err, fs.ErrExist) {
				t.Errorf("a second of that name: %v", err)
			}
			n := c.device[2] - '0'
			address := func(host byte) netip.Prefix {
				return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 8, n, host}), 24)
			}
			give(t, x, address(1), c.mtu)
			give(t, y, address(2), c.mtu)
			largestArrives(t, a, b, address(2).Addr(), c.mtu)
		})
	}
}

// give looks at a device and gives it an address.
func give(t *testing.T, e link.End, addr netip.Prefix, mtu int) {
	t.Helper()
	err := netns.Do(e.NetNS, func() error {
		device, err := netlink.LinkByName(e.Device)
		if err != nil {
			return err
		}
		if got := device.Attrs(); got.MTU != mtu || got.Flags&net.FlagUp == 0 {
			t.Errorf("%s: MTU %d, flags %v", e, got.MTU, got.Flags)
		}
		return netlink.AddrAdd(device, &netlink.Addr{IPNet: &net.IPNet{IP: addr.Addr().AsSlice(), Mask: net.CIDRMask(addr.Bits(), 32)}})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// largestArrives sends a datagram that fills a frame from one namespace to the
// other.
func largestArrives(t *testing.T, from, to string, addr netip.Addr, mtu int) {
	t.Helper()
	var in net.PacketConn
	var out net.Conn
	err := errors.Join(
		netns.Do(to, func() (err error) {
			in, err = net.ListenPacket("udp4", netip.AddrPortFrom(addr, 9).String())
			return err
		}),
		netns.Do(from, func() (err error) {
			out, err = net.Dial("udp4", netip.AddrPortFrom(addr, 9).String())
			return err
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	if err := in.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	const headers = 20 + 8 // IPv4 and UDP
	if _, err := out.Write(make([]byte, mtu-headers)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := in.ReadFrom(make([]byte, 2*mtu)); err != nil || n != mtu-headers {
		t.Errorf("%d of %d bytes arrived: %v", n, mtu-headers, err)
	}
}
