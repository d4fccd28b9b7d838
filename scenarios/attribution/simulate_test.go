package attribution_test

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/attribution"
	"meshlab.dev/meshlab/topo"
)

// What takes how long in a simulated lab, in nanoseconds.
const (
	clientTakes  = 20_000
	switchTakes  = 50_000
	proxyTakes   = 30_000
	serviceTakes = 100_000 // before its calls, between them, and after them
	apart        = 1_000   // packets of one answer
)

const answerPackets = 3

// world is a lab that is simulated packet by packet. It knows of attribution
// nothing but the form of a capture.
type world struct {
	t    testing.TB
	lab  *topo.Lab
	mesh string
	way  attribution.Way
	attribution.Capture
	now         int64
	connections map[string]*connection
	want        []scenarios.Span // of the request that is simulated
	began       int64
	together    bool // a service makes all its calls at once
	generation  int  // of connections: others are made when it changes
}

// connection keeps the state of one TCP connection.
type connection struct {
	port       uint16
	asked, got uint32 // sequence numbers
}

func newWorld(t testing.TB, lab, mesh, to string) *world {
	return newWorldOf(t, loadLab(t, lab), mesh, to)
}

func newWorldOf(t testing.TB, lab *topo.Lab, mesh, to string) *world {
	w := &world{t: t, lab: lab, mesh: mesh, way: under(t, lab, mesh, to), now: 1e18, connections: map[string]*connection{}}
	for _, n := range lab.Nodes {
		if n.Kind == topo.KindHost {
			for _, side := range []attribution.Side{attribution.Sent, attribution.Delivered, attribution.Loopback} {
				w.Ports = append(w.Ports, attribution.Port{Host: n.Name, Side: side})
			}
		}
	}
	return w
}

// copy returns the world with packets of its own.
func (w *world) copy() *world {
	c := *w
	c.Packets = slices.Clone(w.Packets)
	return &c
}

// request simulates one request of the client; calls says which services each
// service calls.
func (w *world) request(to string, calls map[string][]string) {
	w.want, w.began = nil, w.now
	w.span(scenarios.SpanClient, 0, func() { w.now += clientTakes })
	w.call("client", w.lab.Client.Node, w.lab.Client.Upstreams, to, calls, 0, 0)
}

func (w *world) span(kind scenarios.SpanKind, depth int, fn func()) {
	start, at := w.now, len(w.want)
	w.want = append(w.want, scenarios.Span{})
	fn()
	w.want[at] = scenarios.Span{Kind: kind, Depth: depth, Start: float64(start-w.began) / 1e6, Duration: float64(w.now-start) / 1e6}
}

// hopOf is a TCP connection: the server's address as both ends see it, and the
// client's as the server sees it.
type hopOf struct {
	from, to       string
	local          bool
	near, far      netip.AddrPort
	client, seenAs netip.Addr
}

func (w *world) addr(host string) netip.Addr {
	for _, n := range w.lab.Nodes {
		if n.Name == host {
			return n.IPv4.Addr()
		}
	}
	w.t.Fatalf("no host %s", host)
	return netip.Addr{}
}

// route lists the connections of a call, from the caller to the instance.
func (w *world) route(host string, up topo.Upstream, svc topo.Service) []hopOf {
	own, server := w.addr(host), w.addr(svc.Node)
	at := netip.AddrPortFrom(server, svc.Port)
	local := host == svc.Node
	lo := netip.MustParseAddr("127.0.0.1")
	switch w.mesh {
	case "direct":
		return []hopOf{{host, svc.Node, local, at, at, own, own}}
	case "ovs":
		seen := own
		if local {
			seen = w.lab.Mesh.Hairpin
		}
		return []hopOf{{host, svc.Node, false, netip.AddrPortFrom(w.lab.Mesh.VIP, up.BindPort), at, own, seen}}
	}
	bind := netip.AddrPortFrom(lo, up.BindPort)
	sidecar := netip.AddrPortFrom(server, w.way.Sidecars[svc.Name])
	return []hopOf{
		{host, host, true, bind, bind, lo, lo},
		{host, svc.Node, local, sidecar, sidecar, own, own},
		{svc.Node, svc.Node, true, at, at, server, server},
	}
}

func (w *world) call(caller, host string, ups []topo.Upstream, to string, calls map[string][]string, depth, lane int) {
	i := slices.IndexFunc(ups, func(u topo.Upstream) bool { return u.Service == to })
	j := slices.IndexFunc(w.lab.Services, func(s topo.Service) bool { return s.Service == to })
	if i < 0 || j < 0 {
		w.t.Fatalf("%s does not call %s", caller, to)
	}
	up, svc := ups[i], w.lab.Services[j]
	route := w.route(host, up, svc)
	var conns []*connection
	for n, h := range route {
		key := fmt.Sprint(caller, to, n, lane, w.generation)
		if w.connections[key] == nil {
			k := uint32(len(w.connections))
			w.connections[key] = &connection{port: uint16(30000 + k), asked: 0xffffff00 + k*77, got: k * 1e9}
		}
		conns = append(conns, w.connections[key])
		if n > 0 {
			w.span(scenarios.SpanProxy, depth, func() { w.now += proxyTakes })
		}
		w.send(h, conns[n], depth)
	}
	w.span(scenarios.SpanService, depth, func() {
		w.now += serviceTakes
		begin, latest := w.now, w.now
		for lane, next := range calls[to] {
			if w.together {
				w.now = begin + int64(lane)*7_000
			} else {
				lane = 0
			}
			w.call(to, svc.Node, svc.Upstreams, next, calls, depth+1, lane)
			w.now += serviceTakes
			latest = max(latest, w.now)
		}
		w.now = latest
	})
	for n := len(route) - 1; n >= 0; n-- {
		w.answer(route[n], conns[n], depth)
		if n > 0 {
			w.span(scenarios.SpanProxy, depth, func() { w.now += proxyTakes })
		}
	}
}

// send carries one packet of a request.
func (w *world) send(h hopOf, c *connection, depth int) {
	const length = 120
	client := netip.AddrPortFrom(h.client, c.port)
	if h.local {
		w.packet(h.from, attribution.Loopback, client, h.near, c.asked, length)
	} else {
		w.packet(h.from, attribution.Sent, client, h.near, c.asked, length)
		w.span(scenarios.SpanSwitch, depth, func() { w.now += switchTakes })
		w.packet(h.to, attribution.Delivered, netip.AddrPortFrom(h.seenAs, c.port), h.far, c.asked, length)
	}
	c.asked += length
}

// answer carries an answer, whose last packet is sent now.
func (w *world) answer(h hopOf, c *connection, depth int) {
	const length = 1400
	client := netip.AddrPortFrom(h.client, c.port)
	end := w.now
	for i := range answerPackets {
		w.now = end - int64(answerPackets-1-i)*apart
		if h.local {
			w.packet(h.from, attribution.Loopback, h.near, client, c.got, length)
		} else {
			w.packet(h.to, attribution.Sent, h.far, netip.AddrPortFrom(h.seenAs, c.port), c.got, length)
			w.now += switchTakes
			w.packet(h.from, attribution.Delivered, h.near, client, c.got, length)
		}
		c.got += length
	}
	w.now = end
	if !h.local {
		w.span(scenarios.SpanSwitch, depth, func() { w.now += switchTakes })
	}
}

func (w *world) packet(host string, side attribution.Side, src, dst netip.AddrPort, seq uint32, length int) {
	at := slices.Index(w.Ports, attribution.Port{Host: host, Side: side})
	w.Packets = append(w.Packets, attribution.Packet{Port: at, At: w.now, Src: src, Dst: dst, Seq: seq, Payload: length})
}

// compare holds spans to those that were simulated; their words are the
// business of other tests.
func (w *world) compare(t interface {
	Helper()
	Fatalf(string, ...any)
}, got []scenarios.Span) {
	t.Helper()
	want := slices.Clone(w.want)
	slices.SortStableFunc(want, func(a, b scenarios.Span) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Depth, b.Depth))
	})
	if len(got) != len(want) {
		t.Fatalf("%d spans, want %d:\n%s", len(got), len(want), table(got))
	}
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-6 }
	for i, s := range got {
		if s.Kind != want[i].Kind || s.Depth != want[i].Depth || !near(s.Start, want[i].Start) || !near(s.Duration, want[i].Duration) || !near(s.P95, s.Duration) {
			t.Fatalf("span %d is %+v, want %+v:\n%s", i, s, want[i], table(got))
		}
	}
}
