package explain

import (
	"net/netip"
	"slices"
	"strings"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/controller/pipeline"
)

// host finds a host by name or address.
func (n Network) host(name string) (pipeline.Host, bool) {
	for _, h := range n.Fabric.Hosts {
		if h.Name == name || h.Addr.String() == name {
			return h, true
		}
	}
	return pipeline.Host{}, false
}

func (n Network) service(name string) (*mesh.Service, bool) {
	for _, s := range n.Snapshot.Services {
		if s.Name == name {
			return s, true
		}
	}
	return nil, false
}

// destinations are the services that anybody calls, registered or not.
func (n Network) destinations() []string {
	var out []string
	for _, u := range n.Snapshot.Upstreams {
		out = append(out, u.Destination)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (n Network) serviceNames() []string {
	var out []string
	for _, s := range n.Snapshot.Services {
		out = append(out, s.Name)
	}
	for _, u := range n.Snapshot.Upstreams {
		out = append(out, u.Source, u.Destination)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// hostsOf are the hosts on which a service runs or calls others, in the order
// of the fabric.
func (n Network) hostsOf(service string) []pipeline.Host {
	at := map[netip.Addr]bool{}
	if s, ok := n.service(service); ok {
		for _, i := range s.Instances {
			at[i.Addr.Addr()] = true
		}
	}
	for _, u := range n.Snapshot.Upstreams {
		if u.Source == service {
			at[u.Client] = true
		}
	}
	var out []pipeline.Host
	for _, h := range n.Fabric.Hosts {
		if at[h.Addr] {
			out = append(out, h)
		}
	}
	return out
}

// servicesAt are the services with an instance at an address and port.
func (n Network) servicesAt(at netip.AddrPort) []string {
	var out []string
	for _, s := range n.Snapshot.Services {
		if slices.ContainsFunc(s.Instances, func(i mesh.Instance) bool { return i.Addr == at }) {
			out = append(out, s.Name)
		}
	}
	return out
}

// call is the upstream of a client at a bind port.
func (n Network) call(client netip.Addr, bindPort uint16) (mesh.Upstream, bool) {
	for _, u := range n.Snapshot.Upstreams {
		if u.Client == client && u.BindPort == bindPort {
			return u, true
		}
	}
	return mesh.Upstream{}, false
}

// macOf is the MAC address that hosts find for an address by ARP.
func (n Network) macOf(addr netip.Addr) (pipeline.MAC, bool) {
	if n.Fabric.Mesh && (addr == n.Fabric.VIP || addr == n.Fabric.Hairpin) {
		return n.Fabric.VIPMAC, true
	}
	for _, h := range n.Fabric.Hosts {
		if h.Addr == addr {
			return h.MAC, true
		}
	}
	return pipeline.MAC{}, false
}

func hostNames(hosts []pipeline.Host) []string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Name)
	}
	return out
}

// listed is how many names an error message spells out.
const listed = 20

func list(names []string) string {
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > listed:
		return strings.Join(names[:listed], ", ") + " and more"
	default:
		return strings.Join(names, ", ")
	}
}
