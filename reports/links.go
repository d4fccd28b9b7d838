package reports

import (
	"fmt"
	"slices"
	"strings"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

// links is what the links of one lab carried under load.
type links struct {
	lab    scenarios.LabInfo
	Figure string // name of its picture's file, without the extension
	meshes []string
	ends   [][2]string // the links, in the order of the document
	of     map[[2]string]map[string]scenarios.LinkTraffic
}

// linksOf lists the labs of which the result holds counts of links.
func (s *section) linksOf() []links {
	var all []links
	for i, lab := range s.Result.Labs {
		l := links{lab: lab, Figure: fmt.Sprintf("%slinks-%d", s.Prefix, i+1), of: map[[2]string]map[string]scenarios.LinkTraffic{}}
		for _, t := range lab.Links {
			if t.Seconds <= 0 {
				continue
			}
			if !slices.Contains(l.meshes, t.Mesh) {
				l.meshes = append(l.meshes, t.Mesh)
			}
			ends := [2]string{t.A, t.B}
			if l.of[ends] == nil {
				l.of[ends] = map[string]scenarios.LinkTraffic{}
				l.ends = append(l.ends, ends)
			}
			l.of[ends][t.Mesh] = t
		}
		if len(l.ends) > 0 {
			all = append(all, l)
		}
	}
	return all
}

// Lab names the lab.
func (l links) Lab() string { return fmt.Sprintf("%s (%s)", l.lab.Name, l.lab.Pods) }

// SVG draws the network from the client on, with what each link carried under
// each mesh, in the order of Order.
func (l links) SVG() string {
	most := 0.0
	for _, by := range l.of {
		for _, t := range by {
			most = max(most, both(t))
		}
	}
	unit, name := 1.0, "B/s"
	for _, bigger := range []string{"kB/s", "MB/s", "GB/s"} {
		if most/unit >= 1000 {
			unit, name = unit*1000, bigger
		}
	}
	g := topo.ServiceGraph{Title: "Links of " + l.Lab() + " under load, " + name}
	for _, ends := range l.outward() {
		edge := topo.ServiceEdge{From: nodeOf(ends[0]), To: nodeOf(ends[1]), State: topo.EdgeBusy}
		by := l.of[ends]
		if by == nil {
			by = l.of[[2]string{ends[1], ends[0]}]
		}
		var rates []string
		for _, mesh := range l.meshes {
			rate := format.Missing
			if t, ok := by[mesh]; ok {
				rate = format.Significant(both(t)/unit, 2)
			}
			rates = append(rates, rate)
		}
		edge.Labels = []string{strings.Join(rates, " / ")}
		g.Edges = append(g.Edges, edge)
	}
	return string(g.SVG())
}

// both is the rate in both directions together, bytes per second.
func both(t scenarios.LinkTraffic) float64 { return float64(t.AToB.Bytes+t.BToA.Bytes) / t.Seconds }

// Order names the meshes in the order of the picture's figures.
func (l links) Order() string {
	var names []string
	for _, m := range l.meshes {
		names = append(names, cells.Label(m))
	}
	return strings.Join(names, " / ")
}

func nodeOf(end string) string {
	node, _, _ := strings.Cut(end, ":")
	return node
}

// outward returns the links turned so that they lead away from the client, or
// from the first node when the lab file names no client; nearest first.
func (l links) outward() [][2]string {
	seen := map[string]bool{l.client(): true}
	rest := slices.Clone(l.ends)
	var out [][2]string
	for len(rest) > 0 {
		var later, reached [][2]string
		for _, e := range rest {
			switch {
			case seen[nodeOf(e[0])]:
				reached = append(reached, e)
			case seen[nodeOf(e[1])]:
				reached = append(reached, [2]string{e[1], e[0]})
			default:
				later = append(later, e)
			}
		}
		if len(reached) == 0 { // a part that nothing joins to the client
			seen[nodeOf(later[0][0])] = true
			continue
		}
		for _, e := range reached {
			seen[nodeOf(e[1])] = true
		}
		out, rest = append(out, reached...), later
	}
	return out
}

func (l links) client() string {
	lab, err := topo.Parse(l.lab.Name, []byte(l.lab.File), topo.Options{})
	if err == nil && lab.Client != nil {
		return lab.Client.Node
	}
	return nodeOf(l.ends[0][0])
}

// Table has a line for each link, with its rates in both directions by mesh.
func (l links) Table() table {
	t := table{
		Caption: fmt.Sprintf("What the links of %s carried under load, with Ethernet headers: bytes and packets per second, there and back.", l.Lab()),
		Columns: []column{{"", "from"}, {"", "to"}},
	}
	for _, mesh := range l.meshes {
		for _, name := range []string{"bytes/s there", "bytes/s back", "packets/s there", "packets/s back"} {
			t.Columns = append(t.Columns, column{cells.Label(mesh), name})
		}
	}
	for _, ends := range l.ends {
		row := []entry{head(ends[0]), head(ends[1])}
		for _, mesh := range l.meshes {
			c, ok := l.of[ends][mesh]
			if !ok {
				row = append(row, entry{Text: "not counted", Span: 4})
				continue
			}
			per := func(n uint64) float64 { return float64(n) / c.Seconds }
			row = append(row, text(format.Size(per(c.AToB.Bytes))), text(format.Size(per(c.BToA.Bytes))), text(format.Rate(per(c.AToB.Packets))), text(format.Rate(per(c.BToA.Packets))))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
