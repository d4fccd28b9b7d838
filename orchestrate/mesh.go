// Package orchestrate decides what a lab needs before anything is made: what
// an upstream's address is under each mesh, and where the machine remembers
// a lab. Its subpackages each own one mechanism (namespaces, links,
// switches, processes, Consul, sidecars) and know nothing of each other;
// orchestrate/supervisor puts them together.
package orchestrate

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"meshlab.dev/meshlab/topo"
)

// Mesh names the way in which a service reaches its upstreams.
type Mesh string

// The meshes under comparison.
const (
	Direct        Mesh = "direct"         // the instance's own address: plain switching, the floor
	OVS           Mesh = "ovs"            // the virtual address, translated by the switches
	ConsulConnect Mesh = "consul-connect" // the caller's sidecar
)

// Meshes lists all meshes.
func Meshes() []Mesh { return []Mesh{Direct, OVS, ConsulConnect} }

// ParseMesh checks a mesh's name.
func ParseMesh(s string) (Mesh, error) {
	for _, m := range Meshes() {
		if s == string(m) {
			return m, nil
		}
	}
	names := make([]string, 0, 3)
	for _, m := range Meshes() {
		names = append(names, string(m))
	}
	if near := topo.Nearest(s, names); near != "" {
		return "", fmt.Errorf("unknown mesh %q; did you mean %q?", s, near)
	}
	return "", fmt.Errorf("unknown mesh %q: it is one of %s", s, strings.Join(names, ", "))
}

// Address is the host:port at which a caller reaches an upstream: what
// `{{ upstream "name" }}` becomes in the lab file.
func (m Mesh) Address(lab *topo.Lab, up topo.Upstream) (string, error) {
	port := strconv.Itoa(int(up.BindPort))
	switch m {
	case OVS:
		return net.JoinHostPort(lab.Mesh.VIP.String(), port), nil
	case ConsulConnect:
		return net.JoinHostPort("127.0.0.1", port), nil
	}
	for _, s := range lab.Services {
		if s.Service == up.Service {
			return net.JoinHostPort(HostAddr(lab, s.Node).String(), strconv.Itoa(int(s.Port))), nil
		}
	}
	return "", fmt.Errorf("no instance of service %s", up.Service)
}

// HostAddr is the address of a host of the lab; the zero Addr when there is
// no such host.
func HostAddr(lab *topo.Lab, host string) netip.Addr {
	for _, n := range lab.Nodes {
		if n.Name == host {
			return n.IPv4.Addr()
		}
	}
	return netip.Addr{}
}
