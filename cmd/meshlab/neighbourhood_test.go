//go:build integration

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A lab may have the very addresses that the machine's own networks have: its
// network namespaces are its own. What the machine routes, knows of its
// neighbours and reaches stays as it was.
func TestOverlappingSubnet(t *testing.T) {
	p := root(t)
	// A network of the machine with the subnet of the lab, and with a neighbour
	// that has the address of one of its hosts.
	const subnet, taken = "192.168.1.77/24", "192.168.1.11"
	cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "office0"}, PeerName: "office1"}
	address, err := netlink.ParseAddr(subnet)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkAdd(cable); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netlink.LinkDel(cable); err != nil {
			t.Error(err)
		}
	})
	index := cable.Attrs().Index
	for _, err := range []error{
		netlink.AddrAdd(cable, address), netlink.LinkSetUp(cable),
		netlink.NeighAdd(&netlink.Neigh{LinkIndex: index, IP: net.ParseIP(taken), State: unix.NUD_PERMANENT, HardwareAddr: net.HardwareAddr{2, 9, 9, 9, 9, 9}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := networkOf(t)
	if text := strings.Join(before, "\n"); !strings.Contains(text, "192.168.1.0/24") || !strings.Contains(text, taken) {
		t.Fatalf("the test shows nothing:\n%s", text)
	}

	l := p.up(t, "overlap", "hashicups")
	l.nineCoffees(t, "client", "http://192.168.1.250:9191/api")
	if len(l.status.Published) == 0 {
		t.Fatal("nothing is published")
	}
	resp, err := http.Get("http://" + l.status.Published[0].Address + "/")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the published port: %s", resp.Status)
	}
	for _, d := range difference(before, networkOf(t)) {
		t.Errorf("while the lab is up: %s", d)
	}
	p.ok(t, "down", "overlap")
	for _, d := range difference(before, networkOf(t)) {
		t.Errorf("when the lab is down: %s", d)
	}
}

// networkOf lists the addresses, routes, rules and neighbours of the machine.
func networkOf(t *testing.T) []string {
	t.Helper()
	var all []string
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		all = append(all, "address "+a.String())
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		all = append(all, "route "+r.String())
	}
	rules, err := netlink.RuleList(netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		all = append(all, "rule "+r.String())
	}
	neighbours, err := netlink.NeighList(0, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range neighbours {
		if n.State == unix.NUD_NOARP {
			continue // of the loopback device, from its first packet on
		}
		all = append(all, fmt.Sprintf("neighbour %s %s at %d", n.IP, n.HardwareAddr, n.LinkIndex))
	}
	slices.Sort(all)
	return all
}
