package print

import (
	"fmt"
	"regexp"

	"meshlab.dev/meshlab/reports"
)

// grid is a table broken to the width of the page.
type grid struct {
	table  *reports.Table
	left   []bool  // by column: it has words rather than numbers
	size   float64 // of its text, points
	widths []float64
	groups []reports.Entry
}

const (
	cellGap    = 7.0
	cellLine   = 1.22 // height of a line over size
	rowGap     = 2.4
	heavyRule  = 0.8
	lightRule  = 0.4
	tablesFace = sans
)

// newGrid chooses the largest text that the table's words fit with, and
// shares the width out: every column gets its longest word, and what is left
// goes to those that have more to say.
func (s *setter) newGrid(t *reports.Table) grid {
	g := grid{table: t, groups: t.Groups(), left: wordy(t)}
	for _, size := range []float64{8, 7.5, 7, 6.5, 6, 5.5, 5} {
		g.size = size
		least, most := s.columnWidths(t, size)
		gaps := cellGap * float64(len(least)-1)
		room := textWidth - gaps
		low, high := sum(least), sum(most)
		switch {
		case high <= room:
			g.widths = most
			return g
		case low <= room:
			g.widths = make([]float64, len(least))
			for i := range least {
				g.widths[i] = least[i] + (most[i]-least[i])*(room-low)/(high-low)
			}
			return g
		}
		g.widths = make([]float64, len(least))
		for i := range least { // words are broken
			g.widths[i] = least[i] * room / low
		}
	}
	return g
}

func sum(v []float64) float64 {
	total := 0.0
	for _, x := range v {
		total += x
	}
	return total
}

// columnWidths returns the widths that each column needs when its cells break
// at every space, and when they do not break. A cell over several columns
// counts by its share in the last of them.
func (s *setter) columnWidths(t *reports.Table, size float64) (least, most []float64) {
	least, most = make([]float64, len(t.Columns)), make([]float64, len(t.Columns))
	word := func(text string) float64 {
		w := 0.0
		for _, one := range words(text) {
			w = max(w, s.doc.GetStringWidth(one))
		}
		return w
	}
	for i, c := range t.Columns {
		s.doc.SetFont(tablesFace, "B", size)
		least[i] = word(c.Name)
		most[i] = max(least[i], min(s.doc.GetStringWidth(printable(c.Name)), 60))
	}
	for _, row := range t.Rows {
		at := 0
		for _, e := range row {
			if e.Span == 1 && at < len(least) {
				s.doc.SetFont(tablesFace, style(e), size)
				least[at] = max(least[at], word(e.Text))
				most[at] = max(most[at], s.doc.GetStringWidth(printable(e.Text)))
			}
			at += e.Span
		}
	}
	at := 0
	s.doc.SetFont(tablesFace, "B", size)
	for _, group := range t.Groups() {
		if over := word(group.Text) - sum(least[at:at+group.Span]) - cellGap*float64(group.Span-1); over > 0 {
			for i := at; i < at+group.Span; i++ {
				least[i] += over / float64(group.Span)
				most[i] = max(most[i], least[i])
			}
		}
		at += group.Span
	}
	return least, most
}

func style(e reports.Entry) string {
	if e.Class != "" {
		return "B"
	}
	return ""
}

// table sets a table with its number and caption above it, and its head again
// on each page that it goes on on.
func (s *setter) table(t *reports.Table) {
	s.tables++
	g := s.newGrid(t)
	s.use(caption)
	lines := s.lines(fmt.Sprintf("Table %d: %s", s.tables, t.Caption), textWidth)
	s.y += 4
	s.need(s.tableStart(t))
	s.set(caption, lines)
	s.y += 3
	s.tableHead(g)
	for i, row := range t.Rows {
		h := s.rowHeight(g, row)
		room := h
		if i == len(t.Rows)-2 { // the last row does not go on alone
			room += s.rowHeight(g, t.Rows[i+1])
		}
		if s.y+room+4 > bottom {
			s.rule(margin, g.right(), heavyRule)
			s.newPage()
			s.set(caption, []string{fmt.Sprintf("Table %d, continued", s.tables)})
			s.y += 3
			s.tableHead(g)
		}
		s.row(g, row, h)
		if i == len(t.Rows)-1 {
			s.rule(margin, g.right(), heavyRule)
		}
	}
	s.y += 12
}

// tableStart is the room that a table needs to begin: its caption, its head
// and three rows.
func (s *setter) tableStart(t *reports.Table) float64 {
	g := s.newGrid(t)
	s.use(caption)
	lines := s.lines(fmt.Sprintf("Table %d: %s", s.tables, t.Caption), textWidth)
	h := float64(len(lines))*caption.size*caption.leading + s.headHeight(g) + 14
	for _, row := range t.Rows[:min(3, len(t.Rows))] {
		h += s.rowHeight(g, row)
	}
	return h
}

// right is where the table ends.
func (g grid) right() float64 { return margin + sum(g.widths) + cellGap*float64(len(g.widths)-1) }

// span returns where columns from at on begin, and how wide they are together.
func (g grid) span(at, n int) (x, width float64) {
	x = margin + sum(g.widths[:at]) + cellGap*float64(at)
	end := min(at+n, len(g.widths))
	return x, sum(g.widths[at:end]) + cellGap*float64(max(end-at-1, 0))
}

func (s *setter) rule(from, to, width float64) {
	s.doc.SetDrawColor(0, 0, 0)
	s.doc.SetLineWidth(width)
	s.doc.Line(from, s.y, to, s.y)
}

// cell is text in a place.
type cell struct {
	text     string
	at, span int
	style    string
	left     bool
	middle   bool
}

func (g grid) headCells() []cell {
	var cells []cell
	for i, c := range g.table.Columns {
		cells = append(cells, cell{c.Name, i, 1, "B", g.left[i], false})
	}
	return cells
}

func (g grid) groupCells() []cell {
	var cells []cell
	at := 0
	for _, e := range g.groups {
		cells = append(cells, cell{e.Text, at, e.Span, "B", false, e.Span > 1})
		at += e.Span
	}
	return cells
}

func (g grid) rowCells(row []reports.Entry) []cell {
	var cells []cell
	at := 0
	for _, e := range row {
		cells = append(cells, cell{e.Text, at, e.Span, style(e), e.Head || e.Span > 1 || g.left[at], false})
		at += e.Span
	}
	return cells
}

// number is a figure with its unit, a range, or the sign for none.
var number = regexp.MustCompile(`^([-+<≤ ]*[0-9].*|–|)$`)

// wordy tells of each column whether it has words rather than numbers.
func wordy(t *reports.Table) []bool {
	left := make([]bool, len(t.Columns))
	for _, row := range t.Rows {
		at := 0
		for _, e := range row {
			if e.Span == 1 && at < len(left) {
				left[at] = left[at] || e.Head || e.Class == "" && !number.MatchString(e.Text)
			}
			at += e.Span
		}
	}
	return left
}

// cellsHeight is that of cells beside each other.
func (s *setter) cellsHeight(g grid, cells []cell) float64 {
	n := 1
	for _, c := range cells {
		_, w := g.span(c.at, c.span)
		s.doc.SetFont(tablesFace, c.style, g.size)
		n = max(n, len(s.lines(c.text, w+0.01)))
	}
	return float64(n)*g.size*cellLine + rowGap
}

func (s *setter) rowHeight(g grid, row []reports.Entry) float64 {
	return s.cellsHeight(g, g.rowCells(row))
}

func (s *setter) headHeight(g grid) float64 {
	h := s.cellsHeight(g, g.headCells()) + 4
	if len(g.groups) > 0 {
		h += s.cellsHeight(g, g.groupCells()) + 2
	}
	return h
}

func (s *setter) tableHead(g grid) {
	s.rule(margin, g.right(), heavyRule)
	s.y += 2
	if len(g.groups) > 0 {
		cells := g.groupCells()
		s.cells(g, cells, s.cellsHeight(g, cells))
		for _, c := range cells {
			if c.text != "" {
				x, w := g.span(c.at, c.span)
				s.rule(x, x+w, lightRule)
			}
		}
		s.y += 2
	}
	cells := g.headCells()
	s.cells(g, cells, s.cellsHeight(g, cells))
	s.rule(margin, g.right(), lightRule)
	s.y += 2
}

func (s *setter) row(g grid, row []reports.Entry, h float64) { s.cells(g, g.rowCells(row), h) }

func (s *setter) cells(g grid, cells []cell, h float64) {
	s.doc.SetTextColor(0, 0, 0)
	for _, c := range cells {
		x, w := g.span(c.at, c.span)
		s.doc.SetFont(tablesFace, c.style, g.size)
		for i, line := range s.lines(c.text, w+0.01) {
			at := x
			switch free := w - s.doc.GetStringWidth(line); {
			case c.middle:
				at += free / 2
			case !c.left:
				at += free
			}
			s.doc.Text(at, s.y+float64(i)*g.size*cellLine+g.size, line)
		}
	}
	s.y += h
}
