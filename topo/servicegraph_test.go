package topo_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"meshlab.dev/meshlab/topo"
)

func shop() topo.ServiceGraph {
	return topo.ServiceGraph{Title: "Service graph of the lab shop, 12:00:00", Edges: []topo.ServiceEdge{
		{From: "web", To: "api", Labels: []string{"12.0 conn/s", "3.4 kB/s"}, State: topo.EdgeBusy},
		{From: "api", To: "db", Labels: []string{"0.0 conn/s", "1.2 MB/s"}, State: topo.EdgeBusy},
		{From: "web", To: "mail", Labels: []string{"0.0 conn/s", "0.0 B/s"}},
		{From: "guest", To: "api", Labels: []string{"2.0 conn/s", "0.1 kB/s", "2.0 denied/s"}, State: topo.EdgeDenied},
		{From: "api", To: "api"},
		{From: "db", To: "web", Labels: []string{"back"}},
	}}
}

func TestServiceGraph(t *testing.T) {
	g := shop()
	golden(t, "testdata/services.svg", g.SVG())
	golden(t, "testdata/services.dot", []byte(g.DOT()))
	golden(t, "testdata/services.mmd", []byte(g.Mermaid()))
}

func TestServiceGraphOfNothing(t *testing.T) {
	g := topo.ServiceGraph{Title: "empty"}
	wellFormed(t, g.SVG())
	if g.DOT() == "" || g.Mermaid() != "flowchart LR\n" {
		t.Errorf("%q, %q", g.DOT(), g.Mermaid())
	}
}

// Names come from a registry: they may not become part of the picture's code.
func TestServiceGraphEscapes(t *testing.T) {
	evil := "a\"];<script>alert(1)</script>#`\\\n  b -> c"
	g := topo.ServiceGraph{Title: evil, Edges: []topo.ServiceEdge{{From: evil, To: "end", Labels: []string{evil}, State: topo.EdgeDenied}}}
	wellFormed(t, g.SVG())
	if bytes.Contains(g.SVG(), []byte("<script")) {
		t.Error("the SVG has a script")
	}
	if got := strings.Count(g.DOT(), "\n"); got != 8 {
		t.Errorf("a name breaks the lines of DOT:\n%s", g.DOT())
	}
	for line := range strings.Lines(g.DOT()) {
		if strings.Count(strings.NewReplacer(`\\`, "", `\"`, "").Replace(line), `"`)%2 != 0 {
			t.Errorf("a name ends the string: %s", line)
		}
	}
	for line := range strings.Lines(g.Mermaid()) {
		if strings.Contains(line, "script>") || strings.Count(line, `"`)%2 != 0 || strings.Count(line, `"`) > 2 || strings.Contains(line, "`") {
			t.Errorf("Mermaid: %s", line)
		}
	}
}

func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, svg)
		}
	}
}

// serviceRect matches what holds a service, labelRect the ground of a label.
var (
	serviceRect = regexp.MustCompile(`<rect x="([\d.-]+)" y="([\d.-]+)" width="([\d.-]+)" height="([\d.-]+)" rx="6"`)
	labelRect   = regexp.MustCompile(`<rect x="([\d.-]+)" y="([\d.-]+)" width="([\d.-]+)" height="([\d.-]+)" rx="2"`)
)

func rects(re *regexp.Regexp, svg string) [][4]float64 {
	var all [][4]float64
	for _, m := range re.FindAllStringSubmatch(svg, -1) {
		var b [4]float64
		for i := range b {
			b[i], _ = strconv.ParseFloat(m[i+1], 64)
		}
		all = append(all, b)
	}
	return all
}

// On whatever graph, services stay apart and all of it inside the picture; on
// one without circles the arrows lead to the right.
func TestServiceGraphOfAnyShape(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 200 {
		n := 1 + rng.IntN(12)
		var g topo.ServiceGraph
		names := map[string]bool{}
		for range rng.IntN(2 * n) {
			e := topo.ServiceEdge{From: fmt.Sprintf("service-%d", rng.IntN(n)), To: fmt.Sprintf("service-%d", rng.IntN(n)),
				Labels: []string{"1.0 conn/s", "10.0 kB/s"}, State: topo.EdgeState(rng.IntN(3))}
			g.Edges = append(g.Edges, e)
			names[e.From], names[e.To] = true, true
		}
		svg := string(g.SVG())
		wellFormed(t, []byte(svg))
		boxes := rects(serviceRect, svg)
		if len(boxes) != len(names) {
			t.Fatalf("%d services drawn of %d", len(boxes), len(names))
		}
		size := viewBox.FindStringSubmatch(svg)
		width, _ := strconv.ParseFloat(size[1], 64)
		height, _ := strconv.ParseFloat(size[2], 64)
		for i, a := range append(boxes, rects(labelRect, svg)...) {
			if a[0] < 0 || a[1] < 0 || a[0]+a[2] > width || a[1]+a[3] > height {
				t.Fatalf("%v is outside the picture of %vx%v", a, width, height)
			}
			for j, b := range boxes {
				if i < len(boxes) && j < i && a[0] < b[0]+b[2] && b[0] < a[0]+a[2] && a[1] < b[1]+b[3] && b[1] < a[1]+a[3] {
					t.Fatalf("services %v and %v overlap", a, b)
				}
			}
		}
	}
}

// Where there is room, labels hide neither services nor each other.
func TestServiceGraphLabelsStayApart(t *testing.T) {
	// Two ways cross each other, and their middles meet.
	g := topo.ServiceGraph{Title: "crossing"}
	for _, from := range []string{"web", "guest"} {
		for _, to := range []string{"api", "mail"} {
			g.Edges = append(g.Edges, topo.ServiceEdge{From: from, To: to, Labels: []string{"12.0 conn/s", "3.4 kB/s"}})
		}
	}
	svg := string(g.SVG())
	labels, services := rects(labelRect, svg), rects(serviceRect, svg)
	if len(labels) != 4 || len(services) != 4 {
		t.Fatalf("%d labels and %d services, want 4 and 4", len(labels), len(services))
	}
	for i, a := range labels {
		for _, b := range append(services, labels[:i]...) {
			if a[0] < b[0]+b[2] && b[0] < a[0]+a[2] && a[1] < b[1]+b[3] && b[1] < a[1]+a[3] {
				t.Errorf("%v and %v overlap", a, b)
			}
		}
	}
}

// curvePart matches one curve of an arrow; its start is where the last ended.
var (
	arrowPath = regexp.MustCompile(`<path d="M([\d.-]+),([\d.-]+)((?: C[\d.,\s-]+)+)" fill="none"`)
	curvePart = regexp.MustCompile(`C([\d.-]+),([\d.-]+) ([\d.-]+),([\d.-]+) ([\d.-]+),([\d.-]+)`)
)

// Without circles, no arrow passes behind a service, however far it leads.
func TestServiceGraphArrowsPassServices(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for range 200 {
		n := 3 + rng.IntN(8)
		var g topo.ServiceGraph
		for from := range n {
			for to := from + 1; to < n; to++ {
				if rng.IntN(3) == 0 {
					g.Edges = append(g.Edges, topo.ServiceEdge{From: fmt.Sprint("service-", from), To: fmt.Sprint("service-", to)})
				}
			}
		}
		svg := string(g.SVG())
		boxes, arrows := rects(serviceRect, svg), arrowPath.FindAllStringSubmatch(svg, -1)
		if len(arrows) != len(g.Edges) {
			t.Fatalf("%d arrows for %d edges", len(arrows), len(g.Edges))
		}
		number := func(s string) float64 { v, _ := strconv.ParseFloat(s, 64); return v }
		for _, a := range arrows {
			p := [2]float64{number(a[1]), number(a[2])}
			for _, c := range curvePart.FindAllStringSubmatch(a[3], -1) {
				q := [2]float64{number(c[5]), number(c[6])}
				for step := 1; step < 20; step++ { // of a cubic Bézier curve
					k := float64(step) / 20
					at := func(i int) float64 {
						return (1-k)*(1-k)*(1-k)*p[i] + 3*(1-k)*(1-k)*k*number(c[1+i]) + 3*(1-k)*k*k*number(c[3+i]) + k*k*k*q[i]
					}
					x, y := at(0), at(1)
					for _, b := range boxes {
						if x > b[0]+1 && x < b[0]+b[2]-1 && y > b[1]+1 && y < b[1]+b[3]-1 {
							t.Fatalf("an arrow passes %v at %.0f,%.0f:\n%s", b, x, y, svg)
						}
					}
				}
				p = q
			}
		}
	}
}
