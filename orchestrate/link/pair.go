package link

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"

	"meshlab.dev/meshlab/orchestrate/netns"
)

// Pair makes a veth pair with both ends in the namespace of the calling
// process, and brings both up: a cable between two bridges there. The kernel
// itself sends nothing by it.
func Pair(a, b string, mtu int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = a, mtu
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: b, PeerMTU: uint32(mtu)}); err != nil {
		return fmt.Errorf("create link %s to %s: %w", a, b, err)
	}
	for _, name := range []string{a, b} {
		if err := netns.Sysctl("net/ipv6/conf/"+name+"/disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := up(End{Device: name}); err != nil {
			return err
		}
	}
	return nil
}
