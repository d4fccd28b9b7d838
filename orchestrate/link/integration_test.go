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

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	vishvananda "github.com/vishvananda/netns"

	"meshlab.dev/meshlab/orchestrate/link"
	"meshlab.dev/meshlab/orchestrate/netns"
)

func TestConnect(t *testing.T) {
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
	for _, offload := range []bool{false, true} {
		t.Run(fmt.Sprintf("offload %v", offload), func(t *testing.T) {
			host := fmt.Sprintf("meshlablink-%d", os.Getpid())
			if err := netns.Create(host); err != nil {
				t.Fatal(err)
			}
			v := link.Veth{
				Host: host, Device: "eth0", Peer: fmt.Sprintf("ml%d", os.Getpid()),
				MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, IPv4: netip.MustParsePrefix("10.9.8.7/28"), MTU: 1400, TxChecksumOffload: offload,
			}
			t.Cleanup(func() {
				if peer, err := netlink.LinkByName(v.Peer); err == nil {
					if err := netlink.LinkDel(peer); err != nil {
						t.Error(err)
					}
				}
				if err := vishvananda.DeleteNamed(host); err != nil {
					t.Error(err)
				}
			})
			if err := link.Connect(v); err != nil {
				t.Fatal(err)
			}
			peer, err := netlink.LinkByName(v.Peer)
			if err != nil {
				t.Fatal(err)
			}
			if a := peer.Attrs(); a.MTU != v.MTU || a.Flags&net.FlagUp == 0 {
				t.Errorf("at the switch: MTU %d, flags %v", a.MTU, a.Flags)
			}
			if err := netns.Do(host, func() error { return inside(t, v) }); err != nil {
				t.Error(err)
			}
			if err := link.Connect(v); !errors.Is(err, fs.ErrExist) {
				t.Errorf("a second link of that name: %v", err)
			}
		})
	}
	if err := link.Connect(link.Veth{Host: "meshlablink-none", Device: "eth0", Peer: "mlnone"}); err == nil {
		t.Error("a link into a namespace that is not there")
	}
}

// inside looks at the host's end.
func inside(t *testing.T, v link.Veth) error {
	dev, err := netlink.LinkByName(v.Device)
	if err != nil {
		return err
	}
	if a := dev.Attrs(); a.MTU != v.MTU || a.HardwareAddr.String() != v.MAC.String() || a.Flags&net.FlagUp == 0 {
		t.Errorf("in the host: MTU %d, MAC %v, flags %v", a.MTU, a.HardwareAddr, a.Flags)
	}
	all, err := netlink.AddrList(dev, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	if len(all) != 1 || all[0].IPNet.String() != v.IPv4.String() {
		t.Errorf("addresses %v", all)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if lo.Attrs().Flags&net.FlagUp == 0 {
		t.Error("lo is down")
	}
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	features, err := e.Features(v.Device)
	if err != nil {
		return err
	}
	if got := features["tx-checksum-ip-generic"]; got != v.TxChecksumOffload {
		t.Errorf("transmit checksum offload is %v", got)
	}
	return nil
}
