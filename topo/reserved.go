package topo

import (
	"net"
	"strings"
)

// reservedNodes are devices of the network namespace in which bridges and the
// ends of links are: the loopback device, and those of Open vSwitch's datapaths.
var reservedNodes = []string{"lo", "ovs-netdev", "ovs-system"}

// ReservedServices are names that no service may have, and what has them in
// every lab.
var ReservedServices = map[string]string{
	"client":       "the lab's client in Consul's catalog",
	"consul":       "Consul itself in its catalog",
	"controller":   "the process of the lab's controller",
	"ovs-vswitchd": "a process of Open vSwitch",
	"ovsdb-server": "a process of Open vSwitch",
	"shaper":       "the process that delays and drops the frames of links",
}

// checkName reports a service's name that something else of the lab has.
func (b *builder) checkName(at place, name string) {
	if whose := ReservedServices[name]; whose != "" {
		b.addf(at, "no service may be called %s: that is the name of %s", quote(name), whose)
	}
	for _, other := range b.services {
		if name == "sidecar-"+other || name == other+"-sidecar-proxy" {
			b.addf(at, "no service may be called %s: that is the name of the sidecar of service %s", quote(name), quote(other))
		}
	}
}

// namesServices is true for a MAC address among those by which switches tell
// each other which service calls: 0a:4d:40:00:00:00/20 (package pipeline).
func namesServices(mac net.HardwareAddr) bool {
	return strings.HasPrefix(mac.String(), "0a:4d:4")
}
