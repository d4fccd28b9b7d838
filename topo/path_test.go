package topo_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/topo"
)

// network is a lab as its switches see it: who is behind each port.
type network struct {
	forward map[string]topo.Forwarding
	peer    map[topo.Endpoint]topo.Endpoint // by node and port only
}

func newNetwork(lab *topo.Lab) network {
	n := network{topo.Forward(lab), map[topo.Endpoint]topo.Endpoint{}}
	for _, l := range lab.Links {
		a, b := topo.Endpoint{Node: l.A.Node, Port: l.A.Port}, topo.Endpoint{Node: l.B.Node, Port: l.B.Port}
		n.peer[a], n.peer[b] = b, a
	}
	return n
}

// hops follows ToHost from a switch; -1 when it does not arrive.
func (n network) hops(from, host string) int {
	for hops := range len(n.forward) + 1 {
		port := n.forward[from].ToHost[host]
		next := n.peer[topo.Endpoint{Node: from, Port: port}]
		if next.Node == host {
			return hops
		}
		from = next.Node
	}
	return -1
}

// flood counts how often each host gets a frame that enters at a port.
func (n network) flood(at topo.Endpoint, got map[string]int, budget *int) {
	f, isSwitch := n.forward[at.Node]
	if !isSwitch {
		got[at.Node]++
		return
	}
	for _, port := range f.Flood {
		if *budget--; *budget < 0 {
			return
		}
		if port != at.Port {
			n.flood(n.peer[topo.Endpoint{Node: at.Node, Port: port}], got, budget)
		}
	}
}

// check holds the promises of Forward against a lab.
func check(t *testing.T, lab *topo.Lab) {
	t.Helper()
	n := newNetwork(lab)
	var hosts []string
	for _, node := range lab.Nodes {
		if node.Kind == topo.KindHost {
			hosts = append(hosts, node.Name)
		}
	}
	shortest := distances(lab)
	for name, f := range n.forward {
		if !slices.IsSorted(f.Flood) {
			t.Errorf("%s: flood ports %v are not sorted", name, f.Flood)
		}
		for _, host := range hosts {
			if got := n.hops(name, host); got != shortest[name][host] {
				t.Fatalf("%s to %s: %d switches on the way, want %d", name, host, got, shortest[name][host])
			}
		}
	}
	for _, host := range hosts {
		got, budget := map[string]int{}, 100_000
		for end, peer := range n.peer {
			if end.Node == host {
				n.flood(peer, got, &budget)
			}
		}
		for _, other := range hosts {
			want := 1
			if other == host {
				want = 0
			}
			if got[other] != want {
				t.Fatalf("a broadcast of %s reaches %s %d times, want %d", host, other, got[other], want)
			}
		}
	}
}

// distances counts the switches after the first on a shortest way, by
// repeated relaxation: another algorithm than the one under test.
func distances(lab *topo.Lab) map[string]map[string]int {
	d := map[string]map[string]int{}
	for _, n := range lab.Nodes {
		d[n.Name] = map[string]int{}
		if n.Kind == topo.KindHost {
			d[n.Name][n.Name] = -1
		}
	}
	for range lab.Nodes {
		for _, l := range lab.Links {
			for _, way := range [][2]string{{l.A.Node, l.B.Node}, {l.B.Node, l.A.Node}} {
				for host, far := range d[way[0]] {
					if old, ok := d[way[1]][host]; !ok || far+1 < old {
						d[way[1]][host] = far + 1
					}
				}
			}
		}
	}
	return d
}

func parse(t *testing.T, src string) *topo.Lab {
	t.Helper()
	lab, err := topo.Parse("test.yaml", []byte(src), topo.Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	return lab
}

// randomLab makes a connected lab of n switches with extra links, rings
// among them, and a host at most of the switches.
func randomLab(rng *rand.Rand, n int) string {
	var nodes, links strings.Builder
	port := make([]int, n)
	next := func(s int) string { port[s]++; return fmt.Sprintf("s%d:%d", s, port[s]) }
	joined := map[[2]int]bool{}
	join := func(a, b int) {
		if a != b && !joined[[2]int{min(a, b), max(a, b)}] {
			joined[[2]int{min(a, b), max(a, b)}] = true
			fmt.Fprintf(&links, "- endpoints: [%q, %q]\n", next(a), next(b))
		}
	}
	for s := range n {
		fmt.Fprintf(&nodes, "  s%d: { kind: switch }\n", s)
		if s > 0 {
			join(s, rng.IntN(s))
		}
	}
	for range rng.IntN(n + 1) {
		join(rng.IntN(n), rng.IntN(n))
	}
	for h := range 1 + rng.IntN(n+2) {
		fmt.Fprintf(&nodes, "  h%d: { kind: host }\n", h)
		fmt.Fprintf(&links, "- endpoints: [\"h%d:eth0\", %q]\n", h, next(rng.IntN(n)))
	}
	return "name: random\nnodes:\n" + nodes.String() + "links:\n" + links.String() + "client: {}\n"
}

func TestForwardOnRandomLabs(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		check(t, parse(t, randomLab(rng, 1+rng.IntN(12))))
	}
}

// A ring of four switches: two ways of the same length from s1 to h3.
func TestForwardOnARing(t *testing.T) {
	lab := parse(t, `
name: ring
nodes:
  s1: { kind: switch }
  s2: { kind: switch }
  s3: { kind: switch }
  s4: { kind: switch }
  h1: { kind: host }
  h3: { kind: host }
mesh: { server: h1 }
links:
  - endpoints: ["s1:2", "s2:1"]
  - endpoints: ["s2:2", "s3:1"]
  - endpoints: ["s3:2", "s4:1"]
  - endpoints: ["s4:2", "s1:1"]
  - endpoints: ["h1:eth0", "s1:3"]
  - endpoints: ["s3:3", "h3:eth0"]
`)
	check(t, lab)
	type m = map[string]uint32
	want := map[string]topo.Forwarding{
		"s1": {ToHost: m{"h1": 3, "h3": 1}, Flood: []uint32{1, 2, 3}, Access: m{"h1": 3}},
		"s2": {ToHost: m{"h1": 1, "h3": 2}, Flood: []uint32{1, 2}, Access: m{}},
		"s3": {ToHost: m{"h1": 1, "h3": 3}, Flood: []uint32{1, 3}, Access: m{"h3": 3}},
		"s4": {ToHost: m{"h1": 2, "h3": 1}, Flood: []uint32{2}, Access: m{}},
	}
	for range 20 { // maps have no order; the result has
		if got := topo.Forward(lab); !reflect.DeepEqual(got, want) {
			t.Fatalf("Forward = %+v, want %+v", got, want)
		}
	}
}
