package topo_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"meshlab.dev/meshlab/topo"
)

// rowLab is n switches in a row, or in a ring, with a host at each.
func rowLab(n int, ring bool) string {
	var nodes, links strings.Builder
	for i := range n {
		fmt.Fprintf(&nodes, "  h%d: { kind: host }\n  s%d: { kind: switch }\n", i, i)
		fmt.Fprintf(&links, "  - endpoints: [\"h%d:eth0\", \"s%d:1\"]\n", i, i)
		if i+1 < n || ring {
			fmt.Fprintf(&links, "  - endpoints: [\"s%d:3\", \"s%d:2\"]\n", i, (i+1)%n)
		}
	}
	return "name: row\nnodes:\n" + nodes.String() + "links:\n" + links.String()
}

func TestBreakUp(t *testing.T) {
	for name, c := range map[string]struct {
		switches int
		ring     bool
		want     string
	}{
		"a row that is short enough":                {switches: 8},
		"one too long":                              {switches: 9, want: "s3-s4 s7-s8"},
		"two in a row":                              {switches: 2},
		"a ring that floods short enough":           {switches: 8, ring: true},
		"one whose flooding goes all the way round": {switches: 12, ring: true, want: "s3-s4 s6-s7 s8-s9"},
	} {
		t.Run(name, func(t *testing.T) {
			lab := parse(t, rowLab(c.switches, c.ring))
			var got []string
			for _, i := range topo.BreakUp(lab, 8) {
				got = append(got, lab.LinkNames()[i])
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

// However switches are joined, no frame passes more of them in one go, on a
// shortest way or flooded, than BreakUp was told; and it breaks nothing up where
// none does anyhow.
func TestBreakUpRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 64))
	none, some := 0, 0
	for range 200 {
		n := 2 + rng.IntN(30)
		text := randomLab(rng, n)
		for s := range n { // a host at each, so that every way is one of frames
			text = strings.Replace(text, "\nlinks:\n", fmt.Sprintf("\n  at%d: { kind: host }\nlinks:\n- endpoints: [\"at%d:eth0\", \"s%d:1000\"]\n", s, s, s), 1)
		}
		lab := parse(t, text)
		most := 2 + rng.IntN(12)
		cut := topo.BreakUp(lab, most)
		whole := longestRun(lab, nil)
		switch {
		case len(cut) == 0:
			none++
			if whole > most {
				t.Fatalf("nothing is broken up, and a frame passes %d switches in one go, not at most %d", whole, most)
			}
		default:
			some++
			if whole <= most {
				t.Fatalf("%d links are given up for no reason: a frame passes %d switches at most, and may pass %d", len(cut), whole, most)
			}
			if left := longestRun(lab, cut); left > most {
				t.Fatalf("a frame passes %d switches in one go after all, not at most %d", left, most)
			}
		}
	}
	if none < 20 || some < 20 {
		t.Errorf("%d labs with links given up, %d without: the test shows little", some, none)
	}
}

// longestRun follows a frame from every switch to every host, and one that is
// flooded, and returns the most switches that it passes without one of the cut
// links in between.
func longestRun(lab *topo.Lab, cut []int) int {
	n := newNetwork(lab)
	broken := map[topo.Endpoint]bool{}
	for _, i := range cut {
		for _, e := range []topo.Endpoint{lab.Links[i].A, lab.Links[i].B} {
			broken[topo.Endpoint{Node: e.Node, Port: e.Port}] = true
		}
	}
	most := 0
	step := func(from topo.Endpoint, run int) (topo.Endpoint, int) {
		most = max(most, run)
		if broken[from] {
			run = 0
		}
		return n.peer[from], run + 1
	}
	for from := range n.forward {
		for host := range n.forward[from].ToHost {
			at, run := from, 1
			for n.forward[at].ToHost != nil {
				var next topo.Endpoint
				next, run = step(topo.Endpoint{Node: at, Port: n.forward[at].ToHost[host]}, run)
				at = next.Node
			}
		}
	}
	var flood func(at topo.Endpoint, run int)
	flood = func(at topo.Endpoint, run int) {
		f, isSwitch := n.forward[at.Node]
		if !isSwitch {
			return
		}
		for _, port := range f.Flood {
			if port != at.Port {
				flood(step(topo.Endpoint{Node: at.Node, Port: port}, run))
			}
		}
	}
	for end, peer := range n.peer {
		if _, isSwitch := n.forward[end.Node]; !isSwitch {
			flood(peer, 1)
		}
	}
	return most
}
