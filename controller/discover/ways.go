package discover

import (
	"cmp"
	"maps"
	"slices"

	"meshlab.dev/meshlab/controller/pipeline"
)

// graph holds how the bridges of this machine are joined, and the tunnels
// that leave it. Between two bridges it uses one link, and to each other
// machine one tunnel: what arrives by another is dropped, so a second one can
// make no loop.
type graph struct {
	split   bool                 // frames for everybody go to each machine from that of who sends them
	self    string               // this machine, as others call it
	owner   map[string]end       // port by name, of all bridges
	bridges []string             // managed ones, ascending
	links   []link               // used ones
	veths   map[[2]string][]port // from the first bridge, said to lead to the second
	tunnels map[string]tunnel    // other machine -> the tunnel in use
	spare   []string             // warnings of what is not used
}

// link joins two bridges; a.bridge is the lower name.
type link struct{ a, b end }

type tunnel struct {
	end
	name string
}

func newGraph(self string) graph {
	return graph{self: self, owner: map[string]end{}, veths: map[[2]string][]port{}, tunnels: map[string]tunnel{}}
}

func (g *graph) addBridge(name string) { g.bridges = append(g.bridges, name) }

// addLink adds a link; it is called for both directions.
func (g *graph) addLink(a, b end) {
	if a.bridge > b.bridge {
		a, b = b, a
	}
	if l := (link{a, b}); !slices.Contains(g.links, l) {
		g.links = append(g.links, l)
	}
}

func (g *graph) addVeth(from, to string, p port) {
	key := [2]string{from, to}
	g.veths[key] = append(g.veths[key], p)
}

// addTunnel adds a tunnel to another machine, called in ascending order of
// bridges and ports' names; the first to each machine is used.
func (g *graph) addTunnel(machine string, at end, name string) {
	switch used, twice := g.tunnels[machine]; {
	case machine == g.self:
		g.spare = append(g.spare, "port "+name+" of bridge "+at.bridge+" leads to this machine itself, "+machine+"; frames from it are dropped")
	case twice:
		g.spare = append(g.spare, "ports "+used.name+" and "+name+" both lead to "+machine+"; frames from "+name+" are dropped: remove one of them, at both ends")
	default:
		g.tunnels[machine] = tunnel{at, name}
	}
}

// pair joins the ends of veth pairs, and chooses one link between each two
// bridges: that with the lowest port of the lower bridge.
func (g *graph) pair(warn func(string, ...any)) {
	for _, text := range g.spare {
		warn("%s", text)
	}
	for _, key := range slices.SortedFunc(maps.Keys(g.veths), func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
	}) {
		from, to := key[0], key[1]
		there, back := g.veths[key], g.veths[[2]string{to, from}]
		switch {
		case from == to:
			warn("port %s of bridge %s is said to lead to its own bridge; frames from it are dropped", there[0].name, from)
		case len(back) == 0:
			warn("port %s of bridge %s leads to bridge %s, which has no port with external_ids:%s=%s; frames from it are dropped",
				there[0].name, from, to, idPeer, from)
		case len(there) > 1 || len(back) > 1:
			if from < to {
				warn("several ports join bridges %s and %s, and nobody knows which belong together; use one pair, or patch ports", from, to)
			}
		default:
			g.addLink(end{from, there[0].ofport}, end{to, back[0].ofport})
		}
	}
	slices.SortFunc(g.links, func(x, y link) int {
		return cmp.Or(cmp.Compare(x.a.bridge, y.a.bridge), cmp.Compare(x.b.bridge, y.b.bridge), cmp.Compare(x.a.port, y.a.port))
	})
	g.links = slices.CompactFunc(g.links, func(next, kept link) bool {
		same := next.a.bridge == kept.a.bridge && next.b.bridge == kept.b.bridge
		if same {
			warn("bridges %s and %s are joined twice; frames from port %d of %s and port %d of %s are dropped",
				next.a.bridge, next.b.bridge, next.a.port, next.a.bridge, next.b.port, next.b.bridge)
		}
		return same
	})
}

func (g *graph) reaches(machine string) bool {
	_, ok := g.tunnels[machine]
	return ok
}

// peers are the other machines, ascending.
func (g *graph) peers() []string { return slices.Sorted(maps.Keys(g.tunnels)) }

// trunks are the ports of a bridge that lead to others.
func (g *graph) trunks(bridge string) map[uint32]pipeline.Peer {
	out := map[uint32]pipeline.Peer{}
	for _, l := range g.links {
		if l.a.bridge == bridge {
			out[l.a.port] = pipeline.Peer{Datapath: l.b.bridge, Port: l.b.port}
		}
		if l.b.bridge == bridge {
			out[l.b.port] = pipeline.Peer{Datapath: l.a.bridge, Port: l.a.port}
		}
	}
	for _, t := range g.tunnels {
		if t.bridge == bridge {
			out[t.port] = pipeline.Peer{}
		}
	}
	return out
}

// hop is one way from a bridge to a neighbour.
type hop struct {
	port uint32
	to   end
}

// hops are the links of a bridge, by ascending port.
func (g *graph) hops(bridge string) []hop {
	var out []hop
	for port, peer := range g.trunks(bridge) {
		if peer.Datapath != "" {
			out = append(out, hop{port, end{peer.Datapath, peer.Port}})
		}
	}
	slices.SortFunc(out, func(a, b hop) int { return cmp.Compare(a.port, b.port) })
	return out
}

// distances gives the number of links from a bridge to each it can reach.
func (g *graph) distances(from string) map[string]int {
	d := map[string]int{from: 0}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, h := range g.hops(queue[0]) {
			if _, seen := d[h.to.bridge]; !seen {
				d[h.to.bridge] = d[queue[0]] + 1
				queue = append(queue, h.to.bridge)
			}
		}
	}
	return d
}

// toward is the lowest port of a bridge on a shortest way to another.
func (g *graph) toward(from, to string) (hop, bool) {
	d := g.distances(to)
	mine, ok := d[from]
	if !ok || mine == 0 {
		return hop{}, false
	}
	for _, h := range g.hops(from) {
		if d[h.to.bridge] == mine-1 {
			return h, true
		}
	}
	return hop{}, false
}

// ways are the ports of one bridge towards other bridges and machines.
type ways struct {
	bridge, machine map[string]uint32
}

func (g *graph) ways(from string) ways {
	w := ways{map[string]uint32{}, map[string]uint32{}}
	for _, to := range g.bridges {
		if h, ok := g.toward(from, to); ok {
			w.bridge[to] = h.port
		}
	}
	for machine, t := range g.tunnels {
		if t.bridge == from {
			w.machine[machine] = t.port
		} else if port, ok := w.bridge[t.bridge]; ok {
			w.machine[machine] = port
		}
	}
	return w
}

// flood gives the ports of each bridge by which a frame for everybody leaves,
// those of hosts apart. Inside the machine they are a spanning tree of
// shortest ways to its lowest bridge.
//
// Between machines they are a star around the one with the lowest name: it
// floods to all others, and each of these to it alone. No machine knows what
// another sees, so this must hold when they disagree, say because a tunnel is
// missing: a machine that sees a lower one floods to the lowest that it sees,
// and to nobody else. So a frame moves up in the order of names only from a
// machine that sees none lower than itself, and the one that gets it there
// sends it on, if at all, to one that is lower than the one it came from. The
// machines from which it moves up get lower each time, so it comes to an end.
//
// With split they go from each machine to all others, and what has come from
// one is not sent on to another (datapaths that are Split). It takes one bridge
// in each machine, as between bridges a frame does not tell where it came from;
// and no machine is in the way of others when it dies.
func (g *graph) flood(warn func(string, ...any)) map[string][]uint32 {
	out := map[string][]uint32{}
	for i, b := range g.bridges {
		root := slices.Min(slices.Collect(maps.Keys(g.distances(b))))
		h, ok := g.toward(b, root)
		if !ok { // it is the root itself
			if i > 0 {
				warn("no way leads from bridge %s to bridge %s: join them by patch ports if their hosts should reach each other", g.bridges[0], b)
			}
			continue
		}
		out[b] = append(out[b], h.port)
		out[h.to.bridge] = append(out[h.to.bridge], h.to.port)
	}
	peers := g.peers()
	if len(peers) > 0 && peers[0] < g.self && !g.split {
		peers = peers[:1]
	}
	for _, machine := range peers {
		t := g.tunnels[machine]
		out[t.bridge] = append(out[t.bridge], t.port)
	}
	return out
}
