package topo

import (
	"fmt"
	"strings"
)

// DOT returns the topology as an undirected graph in Graphviz' DOT language,
// with interfaces and OpenFlow ports at the ends of the links. The lab must
// come from Parse.
func DOT(lab *Lab) string {
	var b strings.Builder
	fmt.Fprintf(&b, "graph %q {\n  node [fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n", lab.Name)
	for _, n := range lab.Nodes {
		shape := "box"
		if n.Kind == KindSwitch {
			shape = "oval"
		}
		fmt.Fprintf(&b, "  %q [shape=%s, label=\"%s\"];\n", n.Name, shape, strings.Join(nodeText(lab, n), `\n`))
	}
	for _, l := range lab.Links {
		fmt.Fprintf(&b, "  %q -- %q [taillabel=%q, headlabel=%q];\n", l.A.Node, l.B.Node, l.A.Interface, l.B.Interface)
	}
	b.WriteString("}\n")
	return b.String()
}

// Mermaid returns the topology as a Mermaid flowchart. The lab must come from
// Parse.
func Mermaid(lab *Lab) string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	id := map[string]string{} // "end" and the like are words of Mermaid's own
	for i, n := range lab.Nodes {
		id[n.Name] = fmt.Sprintf("n%d", i)
		left, right := `["`, `"]`
		if n.Kind == KindSwitch {
			left, right = `(["`, `"])`
		}
		fmt.Fprintf(&b, "  %s%s%s%s\n", id[n.Name], left, strings.Join(nodeText(lab, n), "<br/>"), right)
	}
	for _, l := range lab.Links {
		fmt.Fprintf(&b, "  %s ---|\"%s - %s\"| %s\n", id[l.A.Node], l.A.Interface, l.B.Interface, id[l.B.Node])
	}
	return b.String()
}

// nodeText returns what a picture says of a node, line by line. Nothing in it
// needs to be escaped: Parse allows only plain names.
func nodeText(lab *Lab, n Node) []string {
	lines := []string{n.Name}
	if n.Kind == KindSwitch {
		return append(lines, fmt.Sprintf("dpid %x", n.DPID))
	}
	lines = append(lines, n.IPv4.String())
	for _, c := range chipsOf(lab, n.Name) {
		lines = append(lines, c.title)
	}
	return lines
}

// chip is one thing that runs on a host.
type chip struct {
	title string
	lines []string // its upstreams
	kind  chipKind
}

type chipKind int

const (
	serviceChip chipKind = iota
	clientChip
	serverChip
)

func chipsOf(lab *Lab, host string) []chip {
	var out []chip
	for _, s := range lab.Services {
		if s.Node != host {
			continue
		}
		title := s.Name
		if s.Service != s.Name {
			title += " (" + s.Service + ")"
		}
		out = append(out, chip{fmt.Sprintf("%s :%d", title, s.Port), upstreamLines(s.Upstreams), serviceChip})
	}
	if lab.Client != nil && lab.Client.Node == host {
		out = append(out, chip{"load client", upstreamLines(lab.Client.Upstreams), clientChip})
	}
	if lab.Mesh.Server == host {
		out = append(out, chip{"Consul server", nil, serverChip})
	}
	return out
}

func upstreamLines(upstreams []Upstream) []string {
	var out []string
	for _, u := range upstreams {
		out = append(out, fmt.Sprintf("→ %s :%d", u.Service, u.BindPort))
	}
	return out
}
