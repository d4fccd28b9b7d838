package topo

import (
	"fmt"
	"strings"
	"unicode"
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
		more := ""
		if text := linkText(l); len(text) > 0 {
			more = fmt.Sprintf(", label=\"%s\"", strings.Join(text, `\n`))
		}
		if l.Tunnel != TunnelNone {
			more += ", style=dashed"
		}
		fmt.Fprintf(&b, "  %q -- %q [taillabel=%q, headlabel=%q%s];\n", l.A.Node, l.B.Node, l.A.Interface, l.B.Interface, more)
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
		arrow := "---"
		if l.Tunnel != TunnelNone {
			arrow = "-.-"
		}
		text := append([]string{l.A.Interface + " - " + l.B.Interface}, linkText(l)...)
		fmt.Fprintf(&b, "  %s %s|\"%s\"| %s\n", id[l.A.Node], arrow, strings.Join(text, "<br/>"), id[l.B.Node])
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
		if c.image != "" {
			lines = append(lines, c.image)
		}
	}
	return lines
}

// linkText returns what a picture says of a link beside its ends, line by
// line; nothing of a plain cable.
func linkText(l Link) []string {
	var lines []string
	if l.Tunnel != TunnelNone {
		lines = append(lines, string(l.Tunnel))
	}
	if l.Character != (Character{}) {
		lines = append(lines, strings.Split(l.Character.String(), ", ")...)
	}
	return lines
}

// maxImageText bounds what a picture shows of an image's name, in characters.
const maxImageText = 40

// imageText is an image in a picture: without its registry and folder, and
// without what some kind of picture would have to escape.
func imageText(image string) string {
	r := []rune(image[strings.LastIndexByte(image, '/')+1:])
	for i, c := range r {
		if !strings.ContainsRune(" ._:@-", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			r[i] = '?'
		}
	}
	if len(r) > maxImageText {
		r = append(r[:maxImageText-1], '…')
	}
	return string(r)
}

// chip is one thing that runs on a host.
type chip struct {
	title string
	image string   // that a service runs, or ""
	lines []string // its image and its upstreams
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
		k := chip{title: fmt.Sprintf("%s :%d", title, s.Port), kind: serviceChip}
		if s.Image != "" {
			k.image = imageText(s.Image)
			k.lines = append(k.lines, k.image)
		}
		k.lines = append(k.lines, upstreamLines(s.Upstreams)...)
		out = append(out, k)
	}
	if lab.Client != nil && lab.Client.Node == host {
		out = append(out, chip{title: "load client", lines: upstreamLines(lab.Client.Upstreams), kind: clientChip})
	}
	if lab.Mesh.Server == host {
		out = append(out, chip{title: "Consul server", kind: serverChip})
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
