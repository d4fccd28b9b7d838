package topo

import "slices"

// place gives every box its corner, and the picture its size.
func (l *layout) place(root string) {
	l.measure(root)
	topWidth := l.rowWidth(l.top)
	l.width = max(l.span[root], topWidth, 420) + 2*margin

	rows := 0
	for _, b := range l.boxes {
		rows = max(rows, b.row+1)
	}
	heights, lanes, texts := make([]float64, rows), make([]int, rows), make([]int, rows)
	for _, b := range l.boxes {
		heights[b.row] = max(heights[b.row], b.h)
	}
	for i, k := range l.lab.Links {
		row := min(l.byName[k.A.Node].row, l.byName[k.B.Node].row)
		if l.tree[i] {
			texts[row] = max(texts[row], len(linkText(k))-1)
		} else {
			lanes[row]++
		}
	}
	y := margin + titleSize
	tops := make([]float64, rows)
	for r := range rows {
		tops[r] = y
		if heights[r] > 0 {
			y += heights[r] + rowGap + laneGap*float64(lanes[r]) + linkLine*float64(texts[r])
		}
	}
	for _, b := range l.boxes {
		b.y = tops[b.row]
		if b.row == 0 { // the hosts above stand on one line
			b.y += heights[0] - b.h
		}
	}
	l.height = y - rowGap + margin
	if lanes[rows-1] > 0 {
		l.height += rowGap / 2
	}

	l.spread(root, (l.width-l.span[root])/2)
	x := l.byName[root].centre() - topWidth/2
	x = max(margin, min(x, l.width-margin-topWidth))
	for _, name := range l.top {
		l.byName[name].x = x
		x += l.byName[name].w + columnGap
	}
}

// measure computes the width that a switch and all below it take.
func (l *layout) measure(name string) float64 {
	for _, kid := range l.kids[name] {
		l.measure(kid)
	}
	l.span[name] = max(l.byName[name].w, l.kidsWidth(name))
	return l.span[name]
}

func (l *layout) kidsWidth(name string) float64 {
	total := 0.0
	for i, kid := range l.kids[name] {
		if i > 0 {
			total += columnGap
		}
		total += l.span[kid]
	}
	return total
}

func (l *layout) rowWidth(names []string) float64 {
	total := 0.0
	for i, name := range names {
		if i > 0 {
			total += columnGap
		}
		total += l.byName[name].w
	}
	return total
}

// spread puts a switch and what is below it into its span, from left on.
func (l *layout) spread(name string, left float64) {
	b := l.byName[name]
	b.x = left + (l.span[name]-b.w)/2
	x := left + (l.span[name]-l.kidsWidth(name))/2
	for _, kid := range l.kids[name] {
		l.spread(kid, x)
		x += l.span[kid] + columnGap
	}
}

// tabX is the middle of the i-th of n tabs at an edge.
func (b *box) tabX(i, n int) float64 {
	return b.centre() + (float64(i)-float64(n-1)/2)*min(tabPitch, b.w/float64(n))
}

// end returns where a link meets a box, and on which edge.
func (b *box) end(link int) (x, y float64) {
	for _, side := range []struct {
		tabs []tab
		y    float64
	}{{b.above, b.y - tabHeight}, {b.below, b.y + b.h + tabHeight}} {
		if i := slices.IndexFunc(side.tabs, func(t tab) bool { return t.link == link }); i >= 0 {
			return b.tabX(i, len(side.tabs)), side.y
		}
	}
	return b.centre(), b.y
}

// route draws the links: straight in the tree, in lanes below a row else.
func (l *layout) route() {
	bottom := map[int]float64{} // lower edge of each row
	for _, b := range l.boxes {
		bottom[b.row] = max(bottom[b.row], b.y+b.h)
	}
	used := map[int]int{} // lanes of each row
	for i, k := range l.lab.Links {
		a, b := l.byName[k.A.Node], l.byName[k.B.Node]
		if a.row > b.row {
			a, b = b, a
		}
		ax, ay := a.end(i)
		bx, by := b.end(i)
		if l.tree[i] {
			l.lines = append(l.lines, line{[][2]float64{{ax, ay}, {bx, by}}})
			continue
		}
		used[a.row]++
		floor := bottom[a.row]
		if a.row == b.row { // only what stands between the two is in the way
			floor = 0
			for _, o := range l.boxes {
				if o.row == a.row && o.x <= max(ax, bx) && o.x+o.w >= min(ax, bx) {
					floor = max(floor, o.y+o.h)
				}
			}
		}
		lane := floor + tabHeight + laneGap*float64(used[a.row])
		l.lines = append(l.lines, line{[][2]float64{{ax, ay}, {ax, lane}, {bx, lane}, {bx, by}}})
	}
}
