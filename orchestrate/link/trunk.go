package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"

	"meshlab.dev/meshlab/orchestrate/netns"
)

// End is a device in a network namespace.
type End struct {
	NetNS  string
	Device string
}

func (e End) String() string { return e.Device + " in " + e.NetNS }

// Trunk is a cable between two switches in namespaces of their own.
type Trunk struct {
	A, B End
	MTU  int // bytes
}

// Join makes the pair and brings both ends up.
func Join(t Trunk) error {
	ns, err := netns.Open(t.B.NetNS)
	if err != nil {
		return err
	}
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = t.A.Device, t.MTU
	err = netns.Do(t.A.NetNS, func() error {
		pair := &netlink.Veth{LinkAttrs: attrs, PeerName: t.B.Device, PeerNamespace: netlink.NsFd(ns), PeerMTU: uint32(t.MTU)}
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("create link %s to %s: %w", t.A, t.B, err)
		}
		return up(t.A)
	})
	if err != nil {
		return err
	}
	return netns.Do(t.B.NetNS, func() error { return up(t.B) })
}

// VXLANPort is the UDP port of VXLAN (RFC 7348, section 5).
const VXLANPort = 4789

// VXLANOverhead is what a tunnel over IPv4 takes of the MTU of what carries
// it, in bytes: an Ethernet header of 14, and headers of IPv4 (20), UDP (8)
// and VXLAN (8) (RFC 7348, section 5).
const VXLANOverhead = 50

// Tunnel is one end of a VXLAN tunnel between two switches. Frames do not
// stray: what comes with another number, or is for nobody, the kernel drops.
type Tunnel struct {
	End
	VNI    uint32 // VXLAN network identifier: 24 bits, the same at both ends
	Local  netip.Addr
	Remote netip.Addr
	MTU    int // bytes of what it carries
}

// AddTunnel makes a device whose frames travel to Remote, and brings it up.
func AddTunnel(t Tunnel) error {
	return netns.Do(t.NetNS, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = t.Device, t.MTU
		// There is one place to send to, so the device has no addresses to learn.
		device := &netlink.Vxlan{
			LinkAttrs: attrs, VxlanId: int(t.VNI), Port: VXLANPort, Learning: false,
			SrcAddr: net.IP(t.Local.AsSlice()), Group: net.IP(t.Remote.AsSlice()),
		}
		if err := netlink.LinkAdd(device); err != nil {
			return fmt.Errorf("create VXLAN tunnel %s to %s: %w", t.End, t.Remote, err)
		}
		return up(t.End)
	})
}

// up runs in the namespace of the device.
func up(e End) error {
	device, err := netlink.LinkByName(e.Device)
	if err != nil {
		return fmt.Errorf("find %s: %w", e, err)
	}
	if err := netlink.LinkSetUp(device); err != nil {
		return fmt.Errorf("bring up %s: %w", e, err)
	}
	return nil
}

// Quiet keeps the kernel of a switch's namespace out of what its ports carry:
// it sends nothing by itself, passes nothing on, and answers for an address
// only where it has it.
func Quiet(ns string) error {
	return netns.Do(ns, func() error {
		if err := netns.Sysctl("net/ipv6/conf/all/disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := netns.Sysctl("net/ipv4/ip_forward", "0"); err != nil {
			return err
		}
		return netns.Sysctl("net/ipv4/conf/all/arp_ignore", "1")
	})
}
