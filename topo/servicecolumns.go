package topo

import (
	"cmp"
	"maps"
	"slices"
)

// spot is a place in a column: of a service, or where an arrow from one to
// another passes the column.
type spot struct {
	service  string
	from, to string // of the arrow, when service is empty
	column   int    // of an arrow's place, which may pass several
}

// height is what the spot takes in its column.
func (s spot) height() float64 {
	if s.service == "" {
		return passHeight
	}
	return serviceHeight
}

// columns puts every service right of those that call it, and a place for
// each arrow in the columns that it passes. In a circle, the arrow that closes
// it leads back.
func (g ServiceGraph) columns() [][]spot {
	depth, forward := g.depths()
	var out [][]spot
	put := func(at spot, column int) {
		for len(out) <= column {
			out = append(out, nil)
		}
		out[column] = append(out[column], at)
	}
	before := map[spot][]spot{} // of each, those from which arrows come
	for _, n := range g.nodes() {
		put(spot{service: n}, depth[n])
	}
	for _, n := range slices.Sorted(maps.Keys(forward)) {
		for _, to := range forward[n] {
			last := spot{service: n}
			for c := depth[n] + 1; c < depth[to]; c++ {
				pass := spot{from: n, to: to, column: c}
				put(pass, c)
				before[pass] = []spot{last}
				last = pass
			}
			at := spot{service: to}
			before[at] = append(before[at], last)
		}
	}
	// Each column in the order of what leads to it, so that few arrows cross.
	row := map[spot]float64{}
	for c, column := range out {
		for _, at := range column {
			from := before[at]
			if c == 0 || len(from) == 0 {
				row[at] = float64(len(column)) // last
				continue
			}
			sum := 0.0
			for _, b := range from {
				sum += row[b]
			}
			row[at] = sum / float64(len(from))
		}
		slices.SortStableFunc(column, func(a, b spot) int { return cmp.Compare(row[a], row[b]) })
		for i, at := range column {
			row[at] = float64(i) / float64(len(column))
		}
	}
	return out
}

// depths tells the column of each service, and the calls that lead to the
// right.
func (g ServiceGraph) depths() (depth map[string]int, forward map[string][]string) {
	calls, called := map[string][]string{}, map[string]bool{}
	for _, e := range g.sorted() {
		if !slices.Contains(calls[e.From], e.To) {
			calls[e.From] = append(calls[e.From], e.To)
		}
		called[e.To] = called[e.To] || e.From != e.To
	}
	isCalled := func(name string) bool { return called[name] }
	first := slices.DeleteFunc(g.nodes(), isCalled)
	// Depth first: a service is listed after all that it calls, but for those
	// whose own call led to it.
	var order []string
	open, done := map[string]bool{}, map[string]bool{}
	forward = map[string][]string{}
	var visit func(string)
	visit = func(name string) {
		open[name] = true
		for _, to := range calls[name] {
			if open[to] {
				continue
			}
			forward[name] = append(forward[name], to)
			if !done[to] {
				visit(to)
			}
		}
		open[name], done[name] = false, true
		order = append(order, name)
	}
	for _, n := range append(first, g.nodes()...) {
		if !done[n] {
			visit(n)
		}
	}
	depth = map[string]int{}
	for _, n := range slices.Backward(order) {
		for _, to := range forward[n] {
			depth[to] = max(depth[to], depth[n]+1)
		}
	}
	for _, n := range first { // who is called by nobody stands beside whom it calls
		if len(forward[n]) == 0 {
			continue
		}
		nearest := depth[forward[n][0]]
		for _, to := range forward[n] {
			nearest = min(nearest, depth[to])
		}
		depth[n] = nearest - 1
	}
	return depth, forward
}

// placeServices gives every spot its corner and size, and the picture its own.
func placeServices(columns [][]spot) (boxes map[spot]serviceBox, width, height float64) {
	tall := func(column []spot) float64 {
		h := -serviceGap
		for _, at := range column {
			h += at.height() + serviceGap
		}
		return h
	}
	tallest := 0.0
	for _, c := range columns {
		tallest = max(tallest, tall(c))
	}
	const top = titleSize + serviceGap // arrows that lead back pass above
	boxes = map[spot]serviceBox{}
	x := 2 * margin
	for i, c := range columns {
		w := minimumWidth
		for _, at := range c {
			w = max(w, textWidth(at.service, 7.6)+2*hostPadding)
		}
		y := top + (tallest-tall(c))/2
		for _, at := range c {
			boxes[at] = serviceBox{x, y, w, at.height()}
			y += at.height() + serviceGap
		}
		x += w
		if i < len(columns)-1 {
			x += columnSpace
		}
	}
	return boxes, max(x+2*margin, 420), top + tallest + 2*margin
}
