package attribution_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/attribution"
	"meshlab.dev/meshlab/topo"
)

var (
	allMeshes = []string{"direct", "ovs", "consul-connect"}
	allLabs   = []string{"hashicups", "hashicups-single-node"}
)

// getCoffees is who calls whom for a list of coffees.
var getCoffees = map[string][]string{"public-api": {"product-api"}, "product-api": {"product-db", "product-db"}}

// coffees simulates n requests for coffees.
func coffees(t testing.TB, lab, mesh string, n int) *world {
	w := newWorld(t, lab, mesh, "public-api")
	for range n {
		w.request("public-api", getCoffees)
	}
	return w
}

func each(t *testing.T, fn func(t *testing.T, lab, mesh string)) {
	for _, lab := range allLabs {
		for _, mesh := range allMeshes {
			t.Run(lab+" "+mesh, func(t *testing.T) { fn(t, lab, mesh) })
		}
	}
}

func TestSimulated(t *testing.T) {
	each(t, func(t *testing.T, lab, mesh string) {
		w := coffees(t, lab, mesh, 5)
		r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 2)
		if err != nil {
			t.Fatal(err)
		}
		if r.Requests != 3 || len(r.Lost) != 0 {
			t.Errorf("%d requests, lost %v", r.Requests, r.Lost)
		}
		w.compare(t, r.Spans)
		checkShape(t, r.Spans)
	})
}

// TestDisorder: packets in any order, sent twice, or overtaken by others of
// the same answer change nothing.
func TestDisorder(t *testing.T) {
	each(t, func(t *testing.T, lab, mesh string) {
		simulated := coffees(t, lab, mesh, 4)
		rapid.Check(t, func(rt *rapid.T) {
			w := simulated.copy()
			n := len(w.Packets)
			for i := range n - 1 {
				a, b := &w.Packets[i], &w.Packets[i+1]
				loopback := w.Ports[a.Port].Side == attribution.Loopback
				if loopback && a.Src == b.Src && a.Dst == b.Dst && a.Payload == 1400 && rapid.Bool().Draw(rt, "overtaken") {
					a.At, b.At = b.At, a.At
				}
			}
			for range rapid.IntRange(0, 30).Draw(rt, "retransmissions") {
				p := w.Packets[rapid.IntRange(0, n-1).Draw(rt, "which")]
				p.At += rapid.Int64Range(1, 3e6).Draw(rt, "later")
				w.Packets = append(w.Packets, p)
			}
			order := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "order"), 0))
			order.Shuffle(len(w.Packets), func(i, j int) { w.Packets[i], w.Packets[j] = w.Packets[j], w.Packets[i] })
			r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
			if err != nil {
				rt.Fatal(err)
			}
			if r.Requests != 3 || len(r.Lost) != 0 {
				rt.Fatalf("%d requests, lost %v", r.Requests, r.Lost)
			}
			w.compare(rt, r.Spans)
		})
	})
}

// TestLoss: where packets are missing, requests are lost, and nothing is made
// up for them. All requests take the same time here, so whatever is left must
// come out as if nothing were missing.
func TestLoss(t *testing.T) {
	each(t, func(t *testing.T, lab, mesh string) {
		const n = 9
		simulated := coffees(t, lab, mesh, n)
		rapid.Check(t, func(rt *rapid.T) {
			w := simulated.copy()
			// Not of the last request: what the end of a connection lacks, nothing
			// behind it tells.
			for range rapid.IntRange(1, 3).Draw(rt, "missing") {
				i := rapid.IntRange(0, len(simulated.Packets)*(n-1)/n-4).Draw(rt, "which")
				w.Packets = slices.Delete(w.Packets, i, i+1)
			}
			r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
			if errors.Is(err, attribution.ErrNothing) {
				return
			}
			if err != nil {
				rt.Fatal(err)
			}
			lost := 0
			for _, k := range r.Lost {
				lost += k
			}
			if r.Requests+lost > n-1 {
				rt.Fatalf("%d requests and %d lost of %d", r.Requests, lost, n-1)
			}
			w.compare(rt, r.Spans)
		})
	})
}

// TestOneLost: one packet that is missing costs the requests around it, since
// nobody can tell whether it was the end of one or the beginning of the next,
// and no others: four at most.
func TestOneLost(t *testing.T) {
	each(t, func(t *testing.T, lab, mesh string) {
		const n = 8
		full := coffees(t, lab, mesh, n)
		perRequest := len(full.Packets) / n
		for i := 3 * perRequest; i < 4*perRequest; i++ {
			w := full.copy()
			gone := w.Packets[i]
			w.Packets = slices.Delete(w.Packets, i, i+1)
			r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
			if err != nil {
				t.Fatalf("without %+v: %v", gone, err)
			}
			if r.Requests < n-1-4 || r.Requests > n-1-1 {
				t.Errorf("without %+v: %d of %d requests, lost %v", gone, r.Requests, n-1, r.Lost)
			}
			w.compare(t, r.Spans)
		}
	})
}

// TestStrangers: a second client makes requests of its own. Those that are
// under way at the same time are lost, and those of two clients in turn.
func TestStrangers(t *testing.T) {
	for _, mesh := range allMeshes {
		w := coffees(t, "hashicups", mesh, 6)
		other := coffees(t, "hashicups", mesh, 6)
		for _, p := range other.Packets {
			p.At += 150_000
			for _, a := range []*netip.AddrPort{&p.Src, &p.Dst} {
				if a.Port() >= 30000 && a.Port() < 31000 {
					*a = netip.AddrPortFrom(a.Addr(), a.Port()+1000)
				}
			}
			w.Packets = append(w.Packets, p)
		}
		r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
		if !errors.Is(err, attribution.ErrNothing) || r.Requests != 0 || !strings.Contains(err.Error(), "another request") {
			t.Errorf("%s: %v, %d requests, lost %v", mesh, err, r.Requests, r.Lost)
		}
	}
}

// TestClientsInTurn: a client whose requests alternate with those of another
// was idle between its own, which is not what the client's span is.
func TestClientsInTurn(t *testing.T) {
	w := newWorld(t, "hashicups", "ovs", "public-api")
	for i := range 8 {
		w.generation = i % 2
		w.request("public-api", getCoffees)
	}
	r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
	if !errors.Is(err, attribution.ErrNothing) || r.Lost["another request of the client was under way"] != 6 {
		t.Errorf("%v, %+v", err, r)
	}
}

// TestCallsMissing: of some requests, even of most, a call was not seen at all.
// They do not count as requests without it, as their neighbours show that
// bytes are missing.
func TestCallsMissing(t *testing.T) {
	each(t, func(t *testing.T, lab, mesh string) {
		const n = 8
		w := coffees(t, lab, mesh, n)
		each := len(w.Packets) / n
		from, to := w.Packets[2*each].At, w.Packets[5*each].At // of the third request, and behind the fifth
		caller := w.Packets[slices.IndexFunc(w.Packets, func(p attribution.Packet) bool { return p.Dst.Port() == 9341 || p.Dst.Port() == 19572 })]
		port := caller.Src.Port()
		w.Packets = slices.DeleteFunc(w.Packets, func(p attribution.Packet) bool {
			return p.At >= from && p.At < to && (p.Src.Port() == port || p.Dst.Port() == port)
		})
		r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
		if err != nil || r.Requests != 2 {
			t.Fatalf("%v, %d requests, lost %v", err, r.Requests, r.Lost)
		}
		w.compare(t, r.Spans)
	})
}

// TestAtOnce: calls of different services at once are told apart, and their
// time within the caller counts once. Calls of one service at once are not:
// behind sidecars nothing says which is which.
func TestAtOnce(t *testing.T) {
	for _, mesh := range allMeshes {
		t.Run(mesh, func(t *testing.T) {
			w := newWorld(t, "hashicups", mesh, "public-api")
			w.together = true
			for range 4 {
				w.request("public-api", map[string][]string{"public-api": {"payments", "product-api"}})
			}
			r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
			if err != nil {
				t.Fatal(err)
			}
			w.compare(t, r.Spans)
			from, to := math.Inf(1), 0.0
			for _, s := range r.Spans {
				if s.Depth == 1 {
					from, to = min(from, s.Start), max(to, s.Start+s.Duration)
				}
			}
			i := slices.IndexFunc(r.Spans, func(s scenarios.Span) bool { return s.Kind == scenarios.SpanService && s.Depth == 0 })
			if got := r.Spans[i].Within; math.Abs(got-(to-from)) > 1e-6 {
				t.Errorf("%f ms within calls, which take from %f to %f", got, from, to)
			}

			w = newWorld(t, "hashicups", mesh, "public-api")
			w.together = true
			for range 4 {
				w.request("public-api", map[string][]string{"public-api": {"product-api", "product-api"}})
			}
			r, err = attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
			if mesh == "consul-connect" {
				if !errors.Is(err, attribution.ErrNothing) || !strings.Contains(err.Error(), "more than one exchange fits") {
					t.Errorf("twice at once through sidecars: %v, %+v", err, r)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w.compare(t, r.Spans)
		})
	}
}

// TestCourses: requests that take another course than most are lost.
func TestCourses(t *testing.T) {
	w := newWorld(t, "hashicups", "ovs", "public-api")
	for i := range 8 {
		calls := getCoffees
		if i%4 == 3 {
			calls = map[string][]string{"public-api": {"product-api"}}
		}
		w.request("public-api", calls)
	}
	w.request("public-api", getCoffees)
	r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != 6 || r.Lost["it took another course than most"] != 2 || len(r.Lost) != 1 {
		t.Errorf("%d requests, lost %v", r.Requests, r.Lost)
	}
	w.compare(t, r.Spans)
}

// TestInstances: a service with several instances has the spans of all of
// them, and says where they were.
func TestInstances(t *testing.T) {
	const source = `
nodes:
  h1: { kind: host }
  h2: { kind: host }
  s1: { kind: switch }
links:
  - endpoints: ["h1:eth0", "s1:1"]
  - endpoints: ["h2:eth0", "s1:2"]
services:
  web-a: { service: web, node: h1, port: 8080, command: [web] }
  web-b: { service: web, node: h2, port: 8080, command: [web] }
client:
  upstreams: { web: 9090 }
`
	lab, err := topo.Parse("instances.yaml", []byte("name: instances\n"+source), topo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, mesh := range allMeshes {
		w := newWorldOf(t, lab, mesh, "web")
		for i := range 6 {
			if i > 0 {
				slices.Reverse(lab.Services)
			}
			w.generation = i
			for range 2 {
				w.request("web", nil)
			}
		}
		r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(r.Spans, func(s scenarios.Span) bool { return s.Kind == scenarios.SpanService })
		if r.Requests != 6 || r.Spans[i].Where != "h1 or h2" {
			t.Errorf("%s: %d requests at %s, lost %v", mesh, r.Requests, r.Spans[i].Where, r.Lost)
		}
		w.compare(t, r.Spans)
	}
}

// TestCaptureAfterCapture: connections that stay open from one capture to the
// next have said things in between that nobody saw, which costs nothing.
func TestCaptureAfterCapture(t *testing.T) {
	each(t, func(t *testing.T, lab, mesh string) {
		w := coffees(t, lab, mesh, 9)
		third := len(w.Packets) / 3
		first, last := w.Capture, w.Capture
		first.Packets, last.Packets = w.Packets[:third], w.Packets[2*third:]
		r, err := attribution.Attribute(w.way, []attribution.Capture{first, last}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if r.Requests != 4 || len(r.Lost) != 0 {
			t.Errorf("%d requests, lost %v", r.Requests, r.Lost)
		}
		w.compare(t, r.Spans)
	})
}

// TestPortsUsedAgain: connections that are closed and opened again between the
// same ports begin anew, with other sequence numbers.
func TestPortsUsedAgain(t *testing.T) {
	each(t, func(t *testing.T, lab, mesh string) {
		w := coffees(t, lab, mesh, 4)
		for _, c := range w.connections {
			c.asked, c.got = c.asked+1<<30, c.got-1<<30
		}
		w.now += 5_000_000
		for range 4 {
			w.request("public-api", getCoffees)
		}
		r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if r.Requests != 6 || r.Lost["the answer before it was not seen"] != 1 || len(r.Lost) != 1 {
			t.Errorf("%d requests, lost %v", r.Requests, r.Lost)
		}
		w.compare(t, r.Spans)
	})
}

// TestOvertakenAtFirst: the first answer that is seen of a connection comes in
// another order than it was made.
func TestOvertakenAtFirst(t *testing.T) {
	each(t, func(t *testing.T, lab, mesh string) {
		const n = 3
		w := coffees(t, lab, mesh, n)
		second := w.Packets[len(w.Packets)/n].At
		// Of the first request nothing is seen but what the client sees.
		w.Packets = slices.DeleteFunc(w.Packets, func(p attribution.Packet) bool {
			return p.At < second && w.Ports[p.Port].Host != "client"
		})
		seen := map[string]bool{}
		for i := range len(w.Packets) - answerPackets + 1 {
			a, b, c := &w.Packets[i], &w.Packets[i+1], &w.Packets[i+2]
			key := fmt.Sprint(a.Port, a.Src, a.Dst)
			if w.Ports[a.Port].Side != attribution.Loopback || a.Payload != 1400 || a.Src != c.Src || a.Dst != c.Dst || seen[key] {
				continue
			}
			a.At, b.At, c.At = c.At, a.At, b.At
			seen[key] = true
		}
		r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
		if err != nil || r.Requests != n-1 {
			t.Fatalf("%d requests, lost %v, %v", r.Requests, r.Lost, err)
		}
		w.compare(t, r.Spans)
	})
}

// TestSlowRequests: a quarter of slow requests shows in the 95th percentile,
// and in nothing else.
func TestSlowRequests(t *testing.T) {
	w := newWorld(t, "hashicups", "ovs", "frontend")
	for i := range 13 {
		w.request("frontend", nil)
		if i%4 == 3 { // the client takes its time
			w.now += 3_000_000
		}
	}
	r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Spans[0]; r.Requests != 12 || math.Abs(s.Duration-0.02) > 1e-9 || math.Abs(s.P95-3.02) > 1e-9 {
		t.Errorf("%d requests, the client %+v", r.Requests, s)
	}
}

// TestTwoCallers: where two services of a host call the same instance at its
// own address, and one of them within a call of the other, nobody can tell
// whose call it is. A bind port tells.
func TestTwoCallers(t *testing.T) {
	const source = `
name: callers
nodes:
  h1: { kind: host }
  h2: { kind: host }
  s1: { kind: switch }
links:
  - endpoints: ["h1:eth0", "s1:1"]
  - endpoints: ["h2:eth0", "s1:2"]
services:
  outer: { node: h1, port: 8080, command: [web], upstreams: { inner: 9001, store: 9002 } }
  inner: { node: h1, port: 8081, command: [web], upstreams: { store: 9003 } }
  store: { node: h2, port: 8082, command: [web] }
client:
  upstreams: { outer: 9090 }
`
	lab, err := topo.Parse("callers.yaml", []byte(source), topo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, mesh := range allMeshes {
		w := newWorldOf(t, lab, mesh, "outer")
		for range 3 {
			w.request("outer", map[string][]string{"outer": {"inner"}, "inner": {"store"}})
		}
		r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, 1)
		if mesh == "direct" {
			if !errors.Is(err, attribution.ErrNothing) || !strings.Contains(err.Error(), "more than one exchange fits") {
				t.Errorf("%s: %v, %+v", mesh, err, r)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", mesh, err)
		}
		w.compare(t, r.Spans)
	}
}

func TestWrongWay(t *testing.T) {
	lab := loadLab(t, "hashicups")
	for name, tc := range map[string]struct {
		way  attribution.Way
		want string
	}{
		"no such upstream": {attribution.Way{Lab: lab, To: "product-db"}, `no upstream "product-db"`},
		"no client":        {attribution.Way{Lab: &topo.Lab{Name: "bare"}, To: "x"}, "bare has no client"},
		"no packets":       {attribution.Way{Lab: lab, To: "frontend"}, "the client sent none"},
	} {
		if _, err := attribution.Attribute(tc.way, nil, 0); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzAttribute: whatever is seen, nothing panics and no span is out of shape.
// Each packet is made of 12 bytes, and added to requests as they should be.
func FuzzAttribute(f *testing.F) {
	f.Add([]byte{}, byte(0))
	f.Add([]byte("\x00\x01\x02\x00\x10\x00\x00\x00\x20\x00\x78\x01\x01\x02\x01\x00\x20\x00\x00\x01\x00\x05\x78\x01"), byte(1))
	f.Add(slices.Repeat([]byte{3, 7, 2, 0, 90, 0, 0, 0, 77, 0, 200, 1}, 20), byte(5))
	var worlds []*world
	for _, lab := range allLabs {
		for _, mesh := range allMeshes {
			worlds = append(worlds, coffees(f, lab, mesh, 3))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, which byte) {
		w := worlds[int(which&63)%len(worlds)].copy()
		real := slices.Clone(w.Packets)
		begin := real[0].At
		if which&64 != 0 {
			w.Packets = nil
		}
		for ; len(b) >= 12; b = b[12:] {
			like := real[int(binary.BigEndian.Uint16(b))%len(real)]
			from := real[int(b[2])%len(real)]
			p := attribution.Packet{Port: int(b[3]) - 1, Src: like.Src, Dst: like.Dst, Seq: like.Seq + uint32(int32(int16(binary.BigEndian.Uint16(b[8:])))), Payload: int(b[10])*100 - 100}
			if b[11]&1 != 0 {
				p.Port = like.Port
			}
			if b[11]&2 != 0 {
				p.Src = from.Dst
			}
			if b[11]&4 != 0 {
				p.Seq = binary.BigEndian.Uint32(b[6:])
			}
			p.At = begin + int64(binary.BigEndian.Uint32(b[4:])%4_000_000)
			if b[11]&8 != 0 {
				p.At = -p.At
			}
			w.Packets = append(w.Packets, p)
		}
		r, err := attribution.Attribute(w.way, []attribution.Capture{w.Capture}, int(which>>7))
		if err != nil && !errors.Is(err, attribution.ErrNothing) {
			t.Fatal(err)
		}
		checkShape(t, r.Spans)
	})
}
