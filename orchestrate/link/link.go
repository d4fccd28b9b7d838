// Package link lays the cables of a lab: veth pairs between a host's network
// namespace and that of its switch, pairs and tunnels between the namespaces
// of isolated switches, and the networks by which these are managed and
// tunnelled.
package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"

	"meshlab.dev/meshlab/orchestrate/netns"
)

// Veth is a pair of devices: Peer goes into the namespace of the switch, for
// it to use; Device goes into the host's namespace and gets the address.
type Veth struct {
	Host   string // name of the host's network namespace
	Switch string // name of the switch's; "": that of the calling process
	Device string // name inside the host
	Peer   string // name at the switch
	MAC    net.HardwareAddr
	IPv4   netip.Prefix
	MTU    int // bytes
	// TxChecksumOffload leaves transmit checksums to the device. A switch in
	// user space never completes them, so it must be false there
	// (Documentation/faq/issues.rst of Open vSwitch).
	TxChecksumOffload bool
}

// Connect makes the pair, gives Device its address and brings both ends up.
func Connect(v Veth) error {
	ns, err := netns.Open(v.Host)
	if err != nil {
		return err
	}
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = v.Peer, v.MTU
	pair := &netlink.Veth{
		LinkAttrs:        attrs,
		PeerName:         v.Device,
		PeerHardwareAddr: v.MAC,
		PeerNamespace:    netlink.NsFd(ns),
		PeerMTU:          uint32(v.MTU),
	}
	err = netns.Do(v.Switch, func() error {
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("create link %s (%s in %s): %w", v.Peer, v.Device, v.Host, err)
		}
		if err := netlink.LinkSetUp(pair); err != nil {
			return fmt.Errorf("bring up %s: %w", v.Peer, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return netns.Do(v.Host, func() error { return configure(v) })
}

// configure runs inside the host's namespace.
func configure(v Veth) error {
	// Nothing in a lab speaks IPv6; without this every host would send router
	// and neighbour solicitations through the switches that are measured.
	if err := netns.Sysctl("net/ipv6/conf/all/disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo in %s: %w", v.Host, err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring up lo in %s: %w", v.Host, err)
	}
	dev, err := netlink.LinkByName(v.Device)
	if err != nil {
		return fmt.Errorf("find %s in %s: %w", v.Device, v.Host, err)
	}
	if !v.TxChecksumOffload {
		if err := disableTxChecksum(v.Device); err != nil {
			return fmt.Errorf("turn off transmit checksum offload of %s in %s: %w", v.Device, v.Host, err)
		}
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{
		IP:   v.IPv4.Addr().AsSlice(),
		Mask: net.CIDRMask(v.IPv4.Bits(), 32),
	}}
	if err := netlink.AddrAdd(dev, addr); err != nil {
		return fmt.Errorf("add address %s to %s in %s: %w", v.IPv4, v.Device, v.Host, err)
	}
	if err := netlink.LinkSetUp(dev); err != nil {
		return fmt.Errorf("bring up %s in %s: %w", v.Device, v.Host, err)
	}
	return nil
}

func disableTxChecksum(device string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	return e.Change(device, map[string]bool{"tx-checksum-ip-generic": false})
}
