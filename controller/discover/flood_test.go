package discover

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"meshlab.dev/meshlab/controller/pipeline"
)

// site is a place in a network of several machines: a port of a bridge of one.
type site struct {
	machine string
	end
}

// machines is a network whose machines each plan for themselves.
type machines struct {
	plans map[string]Network
	wires map[site]site // tunnels and links, both ways
}

// flood sends a frame for everybody from a host, and counts how often each
// host gets it. It fails when the frame is copied more often than limit.
func (m machines) flood(t *testing.T, machine, host string, limit int) map[string]int {
	t.Helper()
	got := map[string]int{}
	var queue []site
	for _, d := range m.plans[machine].Datapaths {
		if p, ok := d.Access[host]; ok {
			queue = append(queue, site{machine, end{d.Name, p}})
		}
	}
	for copies := 0; len(queue) > 0; queue = queue[1:] {
		in := queue[0]
		i := slices.IndexFunc(m.plans[in.machine].Datapaths, func(d pipeline.Datapath) bool { return d.Name == in.bridge })
		d := m.plans[in.machine].Datapaths[i]
		at := map[uint32]string{}
		for h, p := range d.Access {
			at[p] = h
		}
		if _, trunk := d.Trunks[in.port]; !trunk && at[in.port] == "" {
			continue // dropped
		}
		_, arrived := d.Trunks[in.port]
		for _, p := range d.Flood {
			if _, trunk := d.Trunks[p]; p == in.port || d.Split && arrived && trunk {
				continue
			}
			if copies++; copies > limit {
				t.Fatalf("the frame of %s goes round: %d copies", host, copies)
			}
			if h, ok := at[p]; ok {
				got[h]++
			} else if to, ok := m.wires[site{in.machine, end{d.Name, p}}]; ok {
				queue = append(queue, to)
			}
		}
	}
	return got
}

// build makes n machines with a few bridges each, joined at random, and a
// tunnel between each two of them from bridges chosen at random. Each end of
// a tunnel is there with the given chance.
func build(r *rand.Rand, n int, chance float64) (machines, map[string]string) {
	states, next := map[string]*state{}, map[site]uint32{}
	port0 := func(machine, br string) uint32 {
		s := site{machine, end{bridge: br}}
		next[s]++
		return next[s]
	}
	add := func(machine, br string, p port) {
		s := states[machine]
		i := slices.IndexFunc(s.bridges, func(b bridge) bool { return b.name == br })
		s.bridges[i].ports = append(s.bridges[i].ports, p)
	}
	m := machines{map[string]Network{}, map[site]site{}}
	join := func(a, b site) { m.wires[a], m.wires[b] = b, a }
	names, home, hosts := []string{}, map[string]string{}, 0
	var catalog []Node
	for i := range n {
		name := fmt.Sprint("m", i)
		names = append(names, name)
		s := &state{known: true}
		states[name] = s
		for b := range 1 + r.IntN(4) {
			br := fmt.Sprint("br", b)
			s.bridges = append(s.bridges, bridge{name: br, ids: map[string]string{"meshlab": "true"}})
			hosts++
			h := fmt.Sprint("host", hosts)
			home[h] = name
			mac := fmt.Sprintf("02:00:00:00:00:%02x", hosts)
			add(name, br, port{name: h, ofport: port0(name, br), ids: map[string]string{"attached-mac": mac, "meshlab-ip": fmt.Sprint("10.0.1.", hosts)}})
			catalog = append(catalog, Node{Name: h, Addrs: []netip.Addr{netip.MustParseAddr(fmt.Sprint("10.0.1.", hosts))}, Meta: map[string]string{MetaAt: name, MetaMAC: mac}})
			for other := range b { // joined to the one before, and at random to those before that, even twice
				for k := range 2 {
					if other != b-1 && r.IntN(2) == 0 || k == 1 && r.IntN(4) > 0 {
						continue
					}
					to := fmt.Sprint("br", other)
					pa, pb := port0(name, br), port0(name, to)
					na, nb := fmt.Sprint("a", b, other, k), fmt.Sprint("b", b, other, k)
					add(name, br, patch(na, nb, pa))
					add(name, to, patch(nb, na, pb))
					join(site{name, end{br, pa}}, site{name, end{to, pb}})
				}
			}
		}
	}
	for i, a := range names {
		for _, b := range names[:i] {
			brA, brB := fmt.Sprint("br", r.IntN(len(states[a].bridges))), fmt.Sprint("br", r.IntN(len(states[b].bridges)))
			pa, pb := port0(a, brA), port0(b, brB)
			if r.Float64() < chance {
				add(a, brA, tunnelTo(b, pa))
			}
			if r.Float64() < chance {
				add(b, brB, tunnelTo(a, pb))
			}
			join(site{a, end{brA, pa}}, site{b, end{brB, pb}})
		}
	}
	for name, s := range states {
		s.nodes = catalog
		m.plans[name] = plan(config(name), *s, false)
	}
	return m, home
}

// TestFloodReachesAllOnce holds that a frame for everybody reaches each host
// once, whatever the links inside machines are.
func TestFloodReachesAllOnce(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		m, home := build(r, 1+r.IntN(5), 1)
		for _, n := range m.plans {
			check(t, n)
		}
		for host, machine := range home {
			got := m.flood(t, machine, host, 1000)
			for other := range home {
				want := 1
				if other == host {
					want = 0
				}
				if got[other] != want {
					t.Fatalf("seed %d: %s got the frame of %s %d times", seed, other, host, got[other])
				}
			}
		}
	}
}

// TestFloodSplit holds that with one bridge in each machine, a frame for
// everybody reaches each host once, and that a machine that has died, or a
// tunnel that is missing, keeps it from nobody else.
func TestFloodSplit(t *testing.T) {
	const count = 4
	name := func(i int) string { return fmt.Sprint("m", i) }
	m := machines{map[string]Network{}, map[site]site{}}
	var catalog []Node
	for i := range count {
		h := remoteHost(fmt.Sprint("h", i+1), name(i))
		catalog = append(catalog, h)
	}
	for i := range count {
		br := bridge{name: "br1", dpid: uint64(i + 1), ports: []port{hostPort(fmt.Sprint("h", i+1), 9)}}
		for other := range count {
			if other != i {
				br.ports = append(br.ports, tunnelTo(name(other), uint32(other+1)))
				m.wires[site{name(i), end{"br1", uint32(other + 1)}}] = site{name(other), end{"br1", uint32(i + 1)}}
			}
		}
		cfg := config(name(i), "br1")
		cfg.Split = true
		m.plans[name(i)] = plan(cfg, state{bridges: []bridge{br}, nodes: catalog}, false)
		check(t, m.plans[name(i)])
	}
	for i := range count {
		got := m.flood(t, name(i), fmt.Sprint("h", i+1), 100)
		for other := range count {
			if h := fmt.Sprint("h", other+1); got[h] != 1 && other != i || got[h] != 0 && other == i {
				t.Errorf("%s got the frame of h%d %d times", h, i+1, got[h])
			}
		}
	}
	for i := range count { // the first one by name dies
		delete(m.wires, site{name(i), end{"br1", 1}})
	}
	if got := m.flood(t, "m1", "h2", 100); got["h3"] != 1 || got["h4"] != 1 {
		t.Errorf("without m0, the frame of h2 gets to %v", got)
	}
}

// TestFloodEnds holds that no frame goes round for ever when machines do not
// see the same tunnels.
func TestFloodEnds(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 2))
		m, home := build(r, 2+r.IntN(6), 0.2+0.7*r.Float64())
		for host, machine := range home {
			m.flood(t, machine, host, 1000)
		}
	}
}

// TestWaysLead holds that a frame to a host gets there, from each other host.
func TestWaysLead(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		m, home := build(r, 1+r.IntN(5), 1)
		for host := range home {
			for machine, n := range m.plans {
				for _, d := range n.Datapaths {
					m.follow(t, seed, machine, d.Name, host)
				}
			}
		}
	}
}

// follow sends a frame to a host from a bridge, hop by hop.
func (m machines) follow(t *testing.T, seed uint64, machine, bridge, host string) {
	t.Helper()
	from := machine + " " + bridge
	for range 20 {
		i := slices.IndexFunc(m.plans[machine].Datapaths, func(d pipeline.Datapath) bool { return d.Name == bridge })
		d := m.plans[machine].Datapaths[i]
		if _, ok := d.Access[host]; ok {
			return
		}
		p, ok := d.ToHost[host]
		if !ok {
			t.Fatalf("seed %d: %s %s has no way to %s", seed, machine, bridge, host)
		}
		to := m.wires[site{machine, end{bridge, p}}]
		machine, bridge = to.machine, to.bridge
		i = slices.IndexFunc(m.plans[machine].Datapaths, func(d pipeline.Datapath) bool { return d.Name == bridge })
		if _, trunk := m.plans[machine].Datapaths[i].Trunks[to.port]; !trunk {
			t.Fatalf("seed %d: a frame to %s comes to %s %s by port %d, which is no trunk", seed, host, machine, bridge, to.port)
		}
	}
	t.Fatalf("seed %d: a frame to %s from %s goes round", seed, host, from)
}
