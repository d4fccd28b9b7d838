package consul

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/hashicorp/consul/api"

	"meshlab.dev/meshlab/controller/mesh"
)

// snapshot makes a snapshot of all entries of all services, and tells what
// in them cannot be used.
func snapshot(services [][]*api.ServiceEntry) (mesh.Snapshot, []string) {
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	instances := map[string][]mesh.Instance{}
	var upstreams []mesh.Upstream
	for _, entries := range services {
		for _, e := range entries {
			switch e.Service.Kind {
			case api.ServiceKindConnectProxy:
				upstreams = append(upstreams, upstreamsOf(e, warn)...)
			case api.ServiceKindTypical:
				all := instances[e.Service.Service]
				if i, ok := instanceOf(e, warn); ok {
					all = append(all, i)
				}
				instances[e.Service.Service] = all
			}
		}
	}
	var snap mesh.Snapshot
	for name, all := range instances {
		slices.SortFunc(all, func(a, b mesh.Instance) int { return cmp.Compare(a.ID, b.ID) })
		snap.Services = append(snap.Services, mesh.Service{Name: name, Instances: all})
	}
	slices.SortFunc(snap.Services, func(a, b mesh.Service) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(upstreams, func(a, b mesh.Upstream) int {
		return cmp.Or(a.Client.Compare(b.Client), cmp.Compare(a.BindPort, b.BindPort),
			cmp.Compare(a.Source, b.Source), cmp.Compare(a.Destination, b.Destination))
	})
	snap.Upstreams = slices.Compact(upstreams)
	slices.Sort(warnings)
	return snap, warnings
}

// instanceOf is false for what nobody can connect to: a registration without
// a port, as that of a pure client.
func instanceOf(e *api.ServiceEntry, warn func(string, ...any)) (mesh.Instance, bool) {
	if e.Service.Port == 0 {
		return mesh.Instance{}, false
	}
	text := cmp.Or(e.Service.Address, e.Node.Address)
	addr, err := netip.ParseAddr(text)
	if err != nil || !addr.Unmap().Is4() || e.Service.Port < 0 || e.Service.Port > math.MaxUint16 {
		warn("service %s: %s on %s is at %q port %d; register an IPv4 address and a port up to 65535",
			e.Service.Service, e.Service.ID, e.Node.Node, text, e.Service.Port)
		return mesh.Instance{}, false
	}
	return mesh.Instance{
		ID:      e.Node.Node + "/" + e.Service.ID, // a service's ID is unique on its node only
		Node:    e.Node.Node,
		Addr:    netip.AddrPortFrom(addr.Unmap(), uint16(e.Service.Port)),
		Healthy: e.Checks.AggregatedStatus() == api.HealthPassing,
		Weight:  uint16(min(max(e.Service.Weights.Passing, 1), math.MaxUint16)),
	}, true
}

func upstreamsOf(e *api.ServiceEntry, warn func(string, ...any)) []mesh.Upstream {
	if e.Service.Proxy == nil || len(e.Service.Proxy.Upstreams) == 0 {
		return nil
	}
	client, err := netip.ParseAddr(e.Node.Address)
	if err != nil || !client.Unmap().Is4() {
		warn("node %s has address %q; its agent needs an IPv4 address (-advertise)", e.Node.Node, e.Node.Address)
		return nil
	}
	source := e.Service.Proxy.DestinationServiceName
	var out []mesh.Upstream
	for _, u := range e.Service.Proxy.Upstreams {
		switch {
		case u.DestinationType != "" && u.DestinationType != api.UpstreamDestTypeService:
			warn("%s on %s: upstream %s is a %s; only services are supported", source, e.Node.Node, u.DestinationName, u.DestinationType)
		case u.LocalBindPort < 1 || u.LocalBindPort > math.MaxUint16:
			warn("%s on %s: upstream %s has local_bind_port %d; give it one in 1..65535", source, e.Node.Node, u.DestinationName, u.LocalBindPort)
		default:
			out = append(out, mesh.Upstream{Client: client.Unmap(), Source: source, Destination: u.DestinationName, BindPort: uint16(u.LocalBindPort)})
		}
	}
	return out
}
