package topo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ServiceGraph is who calls whom: services as nodes, and what each sends to
// another as edges. Names may be anything.
type ServiceGraph struct {
	Title string
	Edges []ServiceEdge
}

// ServiceEdge is an arrow from a caller to the service called.
type ServiceEdge struct {
	From, To string
	Labels   []string // lines beside the arrow
	State    EdgeState
}

// EdgeState tells how an arrow is drawn.
type EdgeState int

// The states of an edge.
const (
	EdgeIdle   EdgeState = iota // nothing flows: grey and thin
	EdgeBusy                    // blue
	EdgeDenied                  // what flows is refused, some of it at least: red and broken
)

// colour is that of the arrow and its labels.
func (s EdgeState) colour() string {
	switch s {
	case EdgeBusy:
		return switchColour
	case EdgeDenied:
		return "#b42318"
	}
	return lineColour
}

// nodes lists the services, sorted.
func (g ServiceGraph) nodes() []string {
	var all []string
	for _, e := range g.Edges {
		all = append(all, e.From, e.To)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// sorted returns the edges in an order that does not depend on the caller's.
func (g ServiceGraph) sorted() []ServiceEdge {
	edges := slices.Clone(g.Edges)
	slices.SortStableFunc(edges, func(a, b ServiceEdge) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return edges
}

// DOT returns the graph in Graphviz' DOT language.
func (g ServiceGraph) DOT() string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n", dotString(g.Title))
	for _, n := range g.nodes() {
		fmt.Fprintf(&b, "  %s;\n", dotString(n))
	}
	for _, e := range g.sorted() {
		style := "solid"
		if e.State == EdgeDenied {
			style = "dashed"
		}
		fmt.Fprintf(&b, "  %s -> %s [label=%s, color=%q, fontcolor=%q, style=%s];\n",
			dotString(e.From), dotString(e.To), dotString(strings.Join(e.Labels, "\n")), e.State.colour(), e.State.colour(), style)
	}
	b.WriteString("}\n")
	return b.String()
}

// dotString quotes a text as a string of DOT, in which only the quotation mark
// and the backslash are special; a line break is written \n.
func dotString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", "").Replace(s) + `"`
}

// Mermaid returns the graph as a Mermaid flowchart.
func (g ServiceGraph) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	id := map[string]string{} // "end" and the like are words of Mermaid's own
	for i, n := range g.nodes() {
		id[n] = fmt.Sprintf("n%d", i)
		fmt.Fprintf(&b, "  %s[\"%s\"]\n", id[n], mermaidText(n))
	}
	for i, e := range g.sorted() {
		arrow, style := "-->", ""
		if e.State == EdgeDenied {
			arrow, style = "-.->", ",stroke-dasharray:5"
		}
		label := ""
		if len(e.Labels) > 0 {
			lines := make([]string, len(e.Labels))
			for j, l := range e.Labels {
				lines[j] = mermaidText(l)
			}
			label = `|"` + strings.Join(lines, "<br/>") + `"|`
		}
		fmt.Fprintf(&b, "  %s %s%s %s\n  linkStyle %d stroke:%s,color:%s%s\n", id[e.From], arrow, label, id[e.To], i, e.State.colour(), e.State.colour(), style)
	}
	return b.String()
}

// mermaidText writes all that could mean something to Mermaid or HTML as a
// character of its number, such as #34; for the quotation mark.
func mermaidText(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < ' ':
			b.WriteByte(' ')
		case strings.ContainsRune("\"#&<>;`\\", r):
			fmt.Fprintf(&b, "#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
