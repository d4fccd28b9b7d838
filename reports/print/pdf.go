package print

import (
	"errors"
	"fmt"
	"io"

	"meshlab.dev/meshlab/reports"
	"meshlab.dev/meshlab/scenarios"
)

// PDF writes the results as a paper of A4 pages to w: findings, method with
// the sentence that a thesis needs, tables, figures and references, numbered
// and captioned. Fonts are embedded, text can be selected, figures are vectors.
// The same results and options give the same bytes.
//
// It returns an error, and writes nothing, when there is no result or one
// contradicts itself.
func PDF(w io.Writer, results []*scenarios.Result, opt Options) error {
	p, err := newPaper(results, opt)
	if err != nil {
		return fmt.Errorf("make PDF: %w", err)
	}
	if err := p.pdf(w, true); err != nil {
		return fmt.Errorf("make PDF: %w", err)
	}
	return nil
}

// pdf typesets the paper.
func (p *paper) pdf(w io.Writer, compress bool) (err error) {
	s := newSetter(p.title, p.author, p.date, compress)
	defer func() { // the library panics on fonts it does not understand
		if r := recover(); r != nil {
			err = errors.Join(err, fmt.Errorf("typeset: %v", r))
		}
	}()
	s.titled(p)
	s.chapters(p.together)
	for i, r := range p.runs {
		if len(p.runs) > 1 {
			s.need(120)
			s.y += 10
			s.paragraph(typeface{serif, "B", 16, 1.3}, fmt.Sprintf("Run %d: %s", i+1, r.Result.Environment.Place()), 0)
		}
		s.paragraph(typeface{serif, "I", 10, 1.3}, about(r), 0)
		s.chapters(r.Chapters)
		s.head("To repeat it", 4*body.size*body.leading)
		s.paragraph(body, "The run is repeated by:", 0)
		s.paragraph(command, r.Command, 12)
	}
	s.listed()
	return s.doc.Output(w)
}

func (s *setter) chapters(all []reports.Chapter) {
	for _, c := range all {
		s.head(c.Title, s.start(c.Blocks))
		for _, b := range c.Blocks {
			s.block(b)
		}
		if c.Title == methodChapter {
			s.paragraph(body, sources, 0)
		}
	}
}

// methodChapter is the chapter that the sources belong to.
const methodChapter = "Method"

func (s *setter) block(b reports.Block) {
	switch {
	case b.Table != nil:
		s.table(b.Table)
	case b.Figure != nil:
		s.figure(b.Figure, b.Caption)
	default:
		s.paragraph(body, b.Text, 0)
	}
}

// start is the room that blocks need to begin.
func (s *setter) start(blocks []reports.Block) float64 {
	switch {
	case len(blocks) == 0:
		return 0
	case blocks[0].Table != nil:
		return s.tableStart(blocks[0].Table)
	case blocks[0].Figure != nil:
		return s.figureHeight(blocks[0].Figure, blocks[0].Caption)
	}
	return 4 * body.size * body.leading
}

// titled sets what stands above all.
func (s *setter) titled(p *paper) {
	title := typeface{serif, "B", 19, 1.25}
	s.y += 20
	s.centred(title, p.title)
	s.y += 4
	if p.author != "" {
		s.centred(typeface{serif, "", 12, 1.4}, p.author)
	}
	s.centred(typeface{serif, "", 11, 1.4}, p.date.Format("2 January 2006"))
	s.y += 14
}

func (s *setter) centred(t typeface, text string) {
	s.use(t)
	for _, line := range s.lines(text, textWidth) {
		s.doc.Text((pageWidth-s.doc.GetStringWidth(line))/2, s.y+t.size, line)
		s.y += t.size * t.leading
	}
}

// listed sets the references.
func (s *setter) listed() {
	s.head("References", 4*body.size*body.leading)
	for i, ref := range references() {
		s.use(body)
		s.need(2 * body.size * body.leading)
		s.doc.Text(margin, s.y+body.size, fmt.Sprintf("[%d]", i+1))
		s.paragraph(body, ref, 22)
	}
}
