//go:build linux

package ovstest

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"

	"github.com/vishvananda/netns"
)

// Host is a network namespace with one interface, eth0, at a port of a
// bridge.
type Host struct {
	Name string
	MAC  string
	Addr string // with the length of the prefix
}

// AddHost makes a host and attaches it. Its kernel leaves nothing to do for
// hardware: TCP segments leave with their checksums. It has no IPv6.
func (o *OVS) AddHost(h Host, bridge string, port uint32) {
	o.t.Helper()
	ns := o.HostNetNS(h.Name)
	o.run("ip", "netns", "add", ns)
	o.t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
			o.t.Errorf("remove network namespace %s: %v: %s", ns, err, out)
		}
	})
	for _, c := range []string{
		"ip -n " + o.NetNS + " link add " + h.Name + " type veth peer name eth0 netns " + ns,
		"ip -n " + o.NetNS + " link set " + h.Name + " up",
		"ip netns exec " + ns + " sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
		"ip -n " + ns + " link set lo up",
		"ip -n " + ns + " link set eth0 address " + h.MAC + " up",
		"ip -n " + ns + " addr add " + h.Addr + " dev eth0",
		"ip netns exec " + ns + " ethtool -K eth0 tx off",
	} {
		args := strings.Fields(c)
		o.run(args[0], args[1:]...)
	}
	o.Vsctl("add-port", bridge, h.Name, "--", "set", "Interface", h.Name, fmt.Sprintf("ofport_request=%d", port))
}

// AddPatch joins two bridges by ports of these numbers.
func (o *OVS) AddPatch(a string, portA uint32, b string, portB uint32) {
	o.t.Helper()
	nameA, nameB := a+"-"+b, b+"-"+a
	add := func(bridge, port, peer string, number uint32) {
		o.Vsctl("add-port", bridge, port, "--", "set", "Interface", port, "type=patch",
			"options:peer="+peer, fmt.Sprintf("ofport_request=%d", number))
	}
	add(a, nameA, nameB, portA)
	add(b, nameB, nameA, portB)
}

// HostNetNS is the name of the network namespace of a host.
func (o *OVS) HostNetNS(host string) string { return o.NetNS + host }

// In runs fn with its thread in the namespace of a host. Sockets that fn makes
// stay there; goroutines that it starts do not.
func (o *OVS) In(host string, fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.GetFromName(o.HostNetNS(host))
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err == nil {
			err = fn()
		}
		result <- err
	}()
	return <-result
}
