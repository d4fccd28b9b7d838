package topo

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// Colours of the picture. It has a light ground of its own, so that it reads
// the same on a light page, a dark one and on paper.
const (
	inkColour    = "#1f2933"
	faintColour  = "#52606d"
	lineColour   = "#7b8794"
	groundColour = "#ffffff"
	frameColour  = "#d3dae1"
	switchColour = "#1f4e79"
	hostColour   = "#f5f7fa"
	hostFrame    = "#9fb3c8"
)

const (
	sans = "system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
	mono = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
)

// canvas writes SVG elements. Styles are attributes of each element: a style
// sheet would leak into a page that holds the picture.
type canvas struct{ b bytes.Buffer }

// SVG returns the topology as a picture: switches in the middle, hosts around
// them with their address and what runs there, interfaces and OpenFlow ports
// at the ends of the links. It is one svg element that may stand in an HTML
// page as it is, several of them too. The lab must come from Parse.
func SVG(lab *Lab) []byte {
	l, c := newLayout(lab), &canvas{}
	fmt.Fprintf(&c.b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" font-family=%q>`+"\n",
		l.width, l.height, l.width, l.height, sans)
	fmt.Fprintf(&c.b, "<title>Topology of the lab %s</title>\n", escape(lab.Name))
	c.rect(0.5, 0.5, l.width-1, l.height-1, 8, groundColour, frameColour)
	c.text(margin, margin+16, 17, inkColour, `font-weight="bold"`, lab.Name)
	c.text(margin, margin+35, 12, faintColour, "", headLine(lab))
	for i, line := range l.lines {
		points := make([]string, len(line.points))
		for i, p := range line.points {
			points[i] = fmt.Sprintf("%.1f,%.1f", p[0], p[1])
		}
		more := ""
		if lab.Links[i].Tunnel != TunnelNone {
			more = ` stroke-dasharray="7 5"`
		}
		fmt.Fprintf(&c.b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.8" stroke-linejoin="round"%s/>`+"\n",
			strings.Join(points, " "), lineColour, more)
	}
	for i, line := range l.lines { // above all lines
		c.linkLabel(line, linkText(lab.Links[i]))
	}
	for _, b := range l.boxes {
		c.box(b)
	}
	c.b.WriteString("</svg>\n")
	return c.b.Bytes()
}

// headLine says what the nodes do not show.
func headLine(lab *Lab) string {
	for _, n := range lab.Nodes {
		if n.Kind == KindHost {
			return fmt.Sprintf("network %s, virtual address %s", n.IPv4.Masked(), lab.Mesh.VIP)
		}
	}
	return ""
}

func (c *canvas) box(b *box) {
	for side, tabs := range [][]tab{b.above, b.below} {
		for i, t := range tabs {
			y := b.y - tabHeight
			if side == 1 {
				y = b.y + b.h
			}
			c.tab(b, b.tabX(i, len(tabs)), y, t.label)
		}
	}
	if b.node.Kind == KindSwitch {
		c.rect(b.x, b.y, b.w, b.h, 6, switchColour, switchColour)
		c.middle(b.centre(), b.y+20, 14, "#ffffff", `font-weight="bold"`, b.node.Name)
		c.middle(b.centre(), b.y+36, 11, "#d9e6f2", "", fmt.Sprintf("dpid %x", b.node.DPID))
		return
	}
	c.rect(b.x, b.y, b.w, b.h, 6, hostColour, hostFrame)
	c.middle(b.centre(), b.y+19, 14, inkColour, `font-weight="bold"`, b.node.Name)
	c.middle(b.centre(), b.y+35, 11, faintColour, fmt.Sprintf("font-family=%q", mono), b.node.IPv4.String())
	y := b.y + hostHead
	for _, k := range b.chips {
		h := chipHead + chipLine*float64(len(k.lines))
		fill, frame := k.kind.colours()
		c.rect(b.x+hostPadding, y, b.w-2*hostPadding, h, 4, fill, frame)
		c.text(b.x+1.7*hostPadding, y+15, 12, inkColour, "", k.title)
		for i, s := range k.lines {
			c.text(b.x+1.7*hostPadding, y+15+chipLine*float64(i+1), 11, faintColour, "", s)
		}
		y += h + chipGap
	}
}

// linkLabel writes what a link says on its way: beyond its middle, where the
// links of a switch are farther apart, or along its lane.
func (c *canvas) linkLabel(l line, text []string) {
	if len(text) == 0 {
		return
	}
	n := len(l.points)
	from, to, t := l.points[n/2-1], l.points[n/2], 0.6
	switch {
	case n > 2:
		t, text = 0.5, []string{strings.Join(text, ", ")}
	case len(text) > 1:
		t = 0.5
	}
	x, y := from[0]+t*(to[0]-from[0]), from[1]+t*(to[1]-from[1])
	w, h := 0.0, linkLine*float64(len(text))
	for _, s := range text {
		w = max(w, textWidth(s, labelPerRune)+4)
	}
	c.rect(x-w/2, y-h/2, w, h, 2, groundColour, groundColour)
	for i, s := range text {
		c.middle(x, y-h/2+linkLine*float64(i+1)-2, 10, faintColour, "", s)
	}
}

// tab draws the end of a link: a port of a switch, an interface of a host.
func (c *canvas) tab(b *box, x, y float64, label string) {
	fill, frame, ink := groundColour, hostFrame, faintColour
	if b.node.Kind == KindSwitch {
		fill, frame, ink = "#d9e6f2", switchColour, switchColour
	}
	w := min(tabPitch-4, b.w)
	if b.node.Kind == KindHost {
		w = textWidth(label, 6.2) + 12
	}
	w = max(w, textWidth(label, 5.6)+6)
	c.rect(x-w/2, y, w, tabHeight, 2, fill, frame)
	c.middle(x, y+11, 10, ink, "", label)
}

func (k chipKind) colours() (fill, frame string) {
	switch k {
	case clientChip:
		return "#fdf1de", "#d9a55b"
	case serverChip:
		return "#f6e8f2", "#b779a5"
	}
	return "#e4f2ea", "#74ab88"
}

func (c *canvas) rect(x, y, w, h, radius float64, fill, stroke string) {
	fmt.Fprintf(&c.b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%.0f" fill="%s" stroke="%s"/>`+"\n", x, y, w, h, radius, fill, stroke)
}

func (c *canvas) text(x, y, size float64, fill, more, s string) {
	fmt.Fprintf(&c.b, `<text x="%.1f" y="%.1f" font-size="%.0f" fill="%s" %s>%s</text>`+"\n", x, y, size, fill, more, escape(s))
}

func (c *canvas) middle(x, y, size float64, fill, more, s string) {
	c.text(x, y, size, fill, strings.TrimSpace(`text-anchor="middle" `+more), s)
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}
