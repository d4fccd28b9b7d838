package link

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"meshlab.dev/meshlab/orchestrate/netns"
)

// Segment is a network of the lab's own machinery: a Linux bridge in the
// namespace of the calling process, with an address, and with cables into
// other namespaces. No host of the lab is on it.
type Segment struct {
	Name string       // of the bridge; cables are Name and a number there
	Addr netip.Prefix // of the bridge; the zero value: it has none
	MTU  int          // bytes
	// Stations are the other ends.
	Stations []Station
}

// Station is an end of a segment in another namespace.
type Station struct {
	End
	Addr netip.Prefix
}

// AddSegment makes the bridge and its cables, and brings all up.
func AddSegment(s Segment) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = s.Name, s.MTU
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("create bridge %s: %w", s.Name, err)
	}
	if s.Addr.IsValid() {
		if err := address(bridge, s.Addr); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("bring up bridge %s: %w", s.Name, err)
	}
	for i, station := range s.Stations {
		if err := s.attach(bridge, i+1, station); err != nil {
			return err
		}
	}
	return nil
}

func (s Segment) attach(bridge *netlink.Bridge, n int, station Station) error {
	ns, err := netns.Open(station.NetNS)
	if err != nil {
		return err
	}
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = fmt.Sprintf("%s%d", s.Name, n), s.MTU, bridge.Index
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: station.Device, PeerNamespace: netlink.NsFd(ns), PeerMTU: uint32(s.MTU)}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("create cable %s (%s): %w", attrs.Name, station.End, err)
	}
	if err := netlink.LinkSetUp(pair); err != nil {
		return fmt.Errorf("bring up %s: %w", attrs.Name, err)
	}
	return netns.Do(station.NetNS, func() error {
		device, err := netlink.LinkByName(station.Device)
		if err != nil {
			return fmt.Errorf("find %s: %w", station.End, err)
		}
		if err := address(device, station.Addr); err != nil {
			return err
		}
		return up(station.End)
	})
}

func address(device netlink.Link, a netip.Prefix) error {
	name := device.Attrs().Name
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), 32)}}
	if err := netlink.AddrAdd(device, addr); err != nil {
		return fmt.Errorf("add address %s to %s: %w", a, name, err)
	}
	return nil
}
