package topo

import (
	"cmp"
	"math"
	"slices"
	"unicode/utf8"
)

// The layout is a tidy tree of the switches, drawn from its centre downwards:
// every switch above its hosts and the switches that are farther from the
// centre. Hosts of the centre that run no service of the lab stand above it.
// Links outside the tree run in lanes between the rows. All lengths are in
// pixels at 96 per inch.
const (
	margin    = 20.0
	columnGap = 24.0
	rowGap    = 76.0
	laneGap   = 9.0
	linkLine  = 11.0 // of text at a link; the gap has room for one
	tabHeight = 15.0
	tabPitch  = 30.0 // of ports along a switch
	titleSize = 54.0 // height of the picture's head

	switchHeight  = 46.0
	hostHead      = 44.0
	chipHead      = 22.0
	chipLine      = 16.0
	chipGap       = 6.0
	hostPadding   = 10.0
	minimumWidth  = 108.0
	narrowPerRune = 6.7 // width of a letter of the small type, generously
	widePerRune   = 8.6 // and of a bold one
)

// box is a node's rectangle.
type box struct {
	node       Node
	chips      []chip
	x, y, w, h float64 // x, y: the upper left corner
	row        int
	above      []tab // at the upper edge
	below      []tab // at the lower edge
}

func (b *box) centre() float64 { return b.x + b.w/2 }

// tab is the end of a link at a box.
type tab struct {
	label string
	link  int // index in Lab.Links
}

// line is a link: a way through points.
type line struct{ points [][2]float64 }

// layout is a picture's geometry.
type layout struct {
	boxes         []*box // in the order of Lab.Nodes
	lines         []line // in the order of Lab.Links
	width, height float64

	lab    *Lab
	byName map[string]*box
	kids   map[string][]string // below a switch, left to right
	top    []string            // hosts above the centre
	tree   map[int]bool        // links of the tree
	span   map[string]float64  // width of what stands below a box, and the box
}

func newLayout(lab *Lab) *layout {
	l := &layout{
		lab: lab, byName: map[string]*box{}, kids: map[string][]string{},
		tree: map[int]bool{}, span: map[string]float64{},
	}
	for _, n := range lab.Nodes {
		b := &box{node: n}
		l.boxes = append(l.boxes, b)
		l.byName[n.Name] = b
	}
	root := l.centre()
	l.grow(root)
	l.tabs()
	for _, b := range l.boxes {
		l.size(b)
	}
	l.place(root)
	l.route()
	return l
}

// centre returns the switch from which the farthest one is nearest; the first
// in the file of several.
func (l *layout) centre() string {
	next := l.neighbours()
	best, bestFar := "", math.MaxInt
	for _, n := range l.lab.Nodes {
		if n.Kind != KindSwitch {
			continue
		}
		far, distance := 0, map[string]int{n.Name: 0}
		for queue := []string{n.Name}; len(queue) > 0; queue = queue[1:] {
			for _, e := range next[queue[0]] {
				if _, seen := distance[e.node]; !seen && l.byName[e.node].node.Kind == KindSwitch {
					distance[e.node] = distance[queue[0]] + 1
					far = max(far, distance[e.node])
					queue = append(queue, e.node)
				}
			}
		}
		if far < bestFar {
			best, bestFar = n.Name, far
		}
	}
	return best
}

// edge is a link as one of its ends sees it.
type edge struct {
	node string
	port uint32 // at this end
	link int
}

// neighbours returns the links of each node, by rising port.
func (l *layout) neighbours() map[string][]edge {
	out := map[string][]edge{}
	for i, k := range l.lab.Links {
		out[k.A.Node] = append(out[k.A.Node], edge{k.B.Node, k.A.Port, i})
		out[k.B.Node] = append(out[k.B.Node], edge{k.A.Node, k.B.Port, i})
	}
	for _, e := range out {
		slices.SortFunc(e, func(a, b edge) int { return cmp.Compare(a.port, b.port) })
	}
	return out
}

// grow makes the tree: rows and children, breadth first, hosts before
// switches.
func (l *layout) grow(root string) {
	next := l.neighbours()
	l.byName[root].row = 1
	seen := map[string]bool{root: true}
	for queue := []string{root}; len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		var switches []string
		for _, e := range next[name] {
			if seen[e.node] {
				continue
			}
			seen[e.node], l.tree[e.link] = true, true
			b := l.byName[e.node]
			b.row = l.byName[name].row + 1
			switch {
			case b.node.Kind == KindSwitch:
				switches = append(switches, e.node)
				queue = append(queue, e.node)
			case name == root && !l.runsService(e.node):
				b.row = 0
				l.top = append(l.top, e.node)
			default:
				l.kids[name] = append(l.kids[name], e.node)
			}
		}
		l.kids[name] = append(l.kids[name], switches...)
	}
}

func (l *layout) runsService(host string) bool {
	return slices.ContainsFunc(l.lab.Services, func(s Service) bool { return s.Node == host })
}

// tabs puts the ends of the links on the edges of the boxes. A link leaves
// the upper box below and meets the lower one above; two boxes of one row are
// joined below.
func (l *layout) tabs() {
	add := func(name string, down bool, t tab) {
		if b := l.byName[name]; down {
			b.below = append(b.below, t)
		} else {
			b.above = append(b.above, t)
		}
	}
	for i, k := range l.lab.Links {
		ra, rb := l.byName[k.A.Node].row, l.byName[k.B.Node].row
		add(k.A.Node, ra <= rb, tab{k.A.Interface, i})
		add(k.B.Node, rb <= ra, tab{k.B.Interface, i})
	}
	// Along an edge the tabs stand in the order of what they lead to.
	order := map[string]int{}
	for i, name := range l.top {
		order[name] = i
	}
	for _, kids := range l.kids {
		for i, name := range kids {
			order[name] = i
		}
	}
	for _, b := range l.boxes {
		for _, tabs := range [][]tab{b.above, b.below} {
			slices.SortStableFunc(tabs, func(p, q tab) int {
				return cmp.Or(cmp.Compare(l.beside(p), l.beside(q)),
					cmp.Compare(order[l.other(p, b)], order[l.other(q, b)]))
			})
		}
	}
}

// beside is 1 for a link outside the tree, whose tab stands on the right.
func (l *layout) beside(t tab) int {
	if l.tree[t.link] {
		return 0
	}
	return 1
}

func (l *layout) other(t tab, b *box) string {
	if k := l.lab.Links[t.link]; k.A.Node != b.node.Name {
		return k.A.Node
	}
	return l.lab.Links[t.link].B.Node
}

// size gives a box its width and height from the text in it.
func (l *layout) size(b *box) {
	b.w = max(minimumWidth, textWidth(b.node.Name, widePerRune)+2*hostPadding,
		float64(max(len(b.above), len(b.below)))*tabPitch+10)
	b.h = switchHeight
	if b.node.Kind == KindSwitch {
		return
	}
	b.chips = chipsOf(l.lab, b.node.Name)
	b.h = hostHead
	b.w = max(b.w, textWidth(b.node.IPv4.String(), narrowPerRune)+2*hostPadding)
	for _, c := range b.chips {
		b.h += chipHead + chipLine*float64(len(c.lines)) + chipGap
		for _, s := range append([]string{c.title}, c.lines...) {
			b.w = max(b.w, textWidth(s, narrowPerRune)+4*hostPadding)
		}
	}
	if len(b.chips) > 0 {
		b.h += hostPadding - chipGap
	}
}

func textWidth(s string, perRune float64) float64 {
	return perRune * float64(utf8.RuneCountInString(s))
}
