package attribution

import (
	"fmt"
	"net/netip"
	"strings"

	"meshlab.dev/meshlab/topo"
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// model is what is known of the way before any packet is seen.
type model struct {
	Way
	up       topo.Upstream           // of the client
	address  map[string]netip.Addr   // by host
	servers  map[netip.AddrPort]bool // where somebody takes connections, as any port sees it
	forward  map[string]topo.Forwarding
	neighbor map[topo.Endpoint]string // switch and port -> the node behind it
	access   map[string]string        // host -> its switch
}

// leg is a TCP connection on the way of a call, from one host to another or
// within one.
type leg struct {
	from, to  string         // hosts
	near, far netip.AddrPort // of the server, as seen at from and at to
	local     bool           // over the loopback device
	instance  *topo.Service  // that the leg leads to; nil: to the caller's own sidecar
}

func newModel(w Way) (*model, error) {
	m := &model{
		Way: w, address: map[string]netip.Addr{}, servers: map[netip.AddrPort]bool{},
		forward: topo.Forward(w.Lab), neighbor: map[topo.Endpoint]string{}, access: map[string]string{},
	}
	if w.Lab.Client == nil {
		return nil, fmt.Errorf("lab %s has no client to send requests from", w.Lab.Name)
	}
	for _, u := range w.Lab.Client.Upstreams {
		if u.Service == w.To {
			m.up = u
		}
	}
	if m.up.Service == "" {
		return nil, fmt.Errorf("the client of lab %s has no upstream %q", w.Lab.Name, w.To)
	}
	for _, n := range w.Lab.Nodes {
		m.address[n.Name] = n.IPv4.Addr()
	}
	for _, l := range w.Lab.Links {
		for _, e := range [][2]topo.Endpoint{{l.A, l.B}, {l.B, l.A}} {
			m.neighbor[topo.Endpoint{Node: e[0].Node, Port: e[0].Port}] = e[1].Node
			if e[0].Port == 0 {
				m.access[e[0].Node] = e[1].Node
			}
		}
	}
	for _, u := range w.Lab.Client.Upstreams {
		m.listen(m.firstLegs(w.Lab.Client.Node, u))
	}
	for i := range w.Lab.Services {
		svc := &w.Lab.Services[i]
		m.listen([]leg{m.lastLeg(svc)})
		if w.Sidecars != nil {
			m.listen(m.sidecarLegs(svc.Node, svc.Service))
		}
		for _, u := range svc.Upstreams {
			m.listen(m.firstLegs(svc.Node, u))
		}
	}
	return m, nil
}

func (m *model) listen(legs []leg) {
	for _, l := range legs {
		m.servers[l.near], m.servers[l.far] = true, true
	}
}

// firstLegs returns those by which a caller on a host begins a call. One of
// them is taken.
func (m *model) firstLegs(host string, up topo.Upstream) (legs []leg) {
	if m.Sidecars != nil {
		own := netip.AddrPortFrom(loopback, up.BindPort)
		return []leg{{from: host, to: host, near: own, far: own, local: true}}
	}
	for svc := range m.instances(up.Service) {
		own := netip.AddrPortFrom(m.address[svc.Node], svc.Port)
		l := leg{from: host, to: svc.Node, near: own, far: own, local: svc.Node == host, instance: svc}
		if m.Virtual.IsValid() {
			l.near, l.local = netip.AddrPortFrom(m.Virtual, up.BindPort), false
		}
		legs = append(legs, l)
	}
	return legs
}

// sidecarLegs returns those from a sidecar on a host to those of a service.
func (m *model) sidecarLegs(host, service string) (legs []leg) {
	for svc := range m.instances(service) {
		at := netip.AddrPortFrom(m.address[svc.Node], m.Sidecars[svc.Name])
		legs = append(legs, leg{from: host, to: svc.Node, near: at, far: at, local: svc.Node == host, instance: svc})
	}
	return legs
}

// lastLeg is that from the sidecar of an instance to the instance.
func (m *model) lastLeg(svc *topo.Service) leg {
	at := netip.AddrPortFrom(m.address[svc.Node], svc.Port)
	return leg{from: svc.Node, to: svc.Node, near: at, far: at, local: true, instance: svc}
}

func (m *model) instances(service string) func(yield func(*topo.Service) bool) {
	return func(yield func(*topo.Service) bool) {
		for i := range m.Lab.Services {
			if svc := &m.Lab.Services[i]; svc.Service == service && !yield(svc) {
				return
			}
		}
	}
}

// switches names those that a packet from one host to another passes, in
// order: "s3, s1".
func (m *model) switches(from, to string) string {
	var names []string
	for at := m.access[from]; len(names) <= len(m.forward); {
		f, ok := m.forward[at]
		if !ok { // a host: there
			break
		}
		names = append(names, at)
		at = m.neighbor[topo.Endpoint{Node: at, Port: f.ToHost[to]}]
	}
	return strings.Join(names, ", ")
}
