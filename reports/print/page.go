package print

import (
	"fmt"
	"strings"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"gonum.org/v1/plot/vg/draw"

	"meshlab.dev/meshlab/reports/figures"
)

// The page, in points: A4 with margins of 2 cm, so that figures fit as they
// are.
const (
	pageWidth  = 595.28
	pageHeight = 841.89
	margin     = 56.69
	textWidth  = pageWidth - 2*margin
	bottom     = pageHeight - margin - 14 // the line above the page's number
)

// setter sets text, tables and figures one below the other on as many pages as
// it takes.
type setter struct {
	doc     *fpdf.Fpdf
	y       float64 // where the next thing begins
	figures int
	tables  int
	chapter int
}

func newSetter(title, author string, date time.Time, compress bool) *setter {
	doc := fpdf.NewCustom(&fpdf.InitType{UnitStr: "pt", Size: fpdf.SizeType{Wd: pageWidth, Ht: pageHeight}})
	prepare(doc, title, author, date, compress)
	addFonts(doc)
	doc.SetMargins(margin, margin, margin)
	doc.SetAutoPageBreak(false, 0)
	s := &setter{doc: doc}
	doc.SetFooterFunc(func() {
		doc.SetFont(serif, "", 9)
		doc.SetTextColor(0, 0, 0)
		n := fmt.Sprint(doc.PageNo())
		doc.Text((pageWidth-doc.GetStringWidth(n))/2, pageHeight-margin+8, n)
	})
	s.newPage()
	return s
}

// prepare makes a document the same for the same content.
func prepare(doc *fpdf.Fpdf, title, author string, date time.Time, compress bool) {
	doc.SetCompression(compress)
	doc.SetCatalogSort(true)
	doc.SetCreationDate(date)
	doc.SetModificationDate(date)
	doc.SetProducer("meshlab", true)
	doc.SetTitle(printable(title), true)
	if author != "" {
		doc.SetAuthor(printable(author), true)
	}
	doc.SetLang("en")
}

func (s *setter) newPage() {
	s.doc.AddPage()
	s.y = margin
}

// need begins a new page when less than h is left on this one.
func (s *setter) need(h float64) {
	if s.y+h > bottom && s.y > margin {
		s.newPage()
	}
}

// typeface is how a text is set.
type typeface struct {
	family, style string
	size          float64
	leading       float64 // height of a line over size
}

var (
	body    = typeface{serif, "", 10.5, 1.3}
	caption = typeface{serif, "", 9.5, 1.2}
	heading = typeface{serif, "B", 14, 1.3}
	command = typeface{mono, "", 8.5, 1.3}
)

func (s *setter) use(t typeface) {
	s.doc.SetFont(t.family, t.style, t.size)
	s.doc.SetTextColor(0, 0, 0)
}

// words returns what text may be broken between.
func words(text string) []string {
	return strings.FieldsFunc(printable(text), func(r rune) bool { return r == ' ' })
}

// lines breaks text to a width in the face in use. A word that is too long is
// broken where it has to be.
func (s *setter) lines(text string, width float64) []string {
	var out []string
	line := ""
	for _, word := range words(text) {
		longer := word
		if line != "" {
			longer = line + " " + word
		}
		if s.doc.GetStringWidth(longer) <= width {
			line = longer
			continue
		}
		if line != "" {
			out = append(out, line)
		}
		for s.doc.GetStringWidth(word) > width && len([]rune(word)) > 1 {
			runes := []rune(word)
			n := len(runes) - 1
			for n > 1 && s.doc.GetStringWidth(string(runes[:n])) > width {
				n--
			}
			out = append(out, string(runes[:n]))
			word = string(runes[n:])
		}
		line = word
	}
	if line != "" {
		out = append(out, line)
	}
	return out
}

// paragraph sets text from an indent on, and goes on on the next page when it
// has to, with two lines at least on each.
func (s *setter) paragraph(t typeface, text string, indent float64) {
	s.use(t)
	lines := s.lines(text, textWidth-indent)
	height := t.size * t.leading
	if len(lines) > 1 {
		s.need(2 * height)
	}
	for i, line := range lines {
		if i < len(lines)-1 && i == len(lines)-2 {
			s.need(2 * height)
		} else if i < len(lines)-1 || len(lines) == 1 {
			s.need(height)
		}
		s.use(t) // a new page has another face in its footer
		s.doc.Text(margin+indent, s.y+t.size, line)
		s.y += height
	}
	s.y += t.size * 0.5
}

// head sets a heading, and begins a new page when what follows it needs more
// room than is left.
func (s *setter) head(text string, follows float64) {
	s.chapter++
	s.y += 8
	s.need(heading.size*2 + follows)
	s.use(heading)
	s.doc.Bookmark(printable(text), 0, s.y)
	s.paragraph(heading, fmt.Sprintf("%d %s", s.chapter, text), 0)
}

// figure draws a figure with its number and caption, on one page.
func (s *setter) figure(f *figures.Figure, text string) {
	s.figures++
	s.need(s.figureHeight(f, text))
	f = f.Untitled()
	w, h := f.Size()
	s.use(caption)
	lines := s.lines(fmt.Sprintf("Figure %d: %s", s.figures, text), textWidth)
	scale := figureScale(f)
	left := margin + (textWidth-w.Points()*scale)/2
	f.Draw(draw.New(newCanvas(s.doc, left, s.y+h.Points()*scale, w, h, scale)))
	s.y += h.Points() * scale
	s.set(caption, lines)
	s.y += 8
}

// figureScale makes a figure as wide as the text, or as high as a page with
// room for a heading and a caption.
func figureScale(f *figures.Figure) float64 {
	w, h := f.Size()
	return min(textWidth/w.Points(), (bottom-margin-90)/h.Points())
}

// figureHeight is the room that a figure needs with its caption.
func (s *setter) figureHeight(f *figures.Figure, text string) float64 {
	f = f.Untitled()
	_, h := f.Size()
	s.use(caption)
	lines := s.lines(fmt.Sprintf("Figure %d: %s", s.figures, text), textWidth)
	return h.Points()*figureScale(f) + float64(len(lines))*caption.size*caption.leading + 8
}

// set sets lines on this page.
func (s *setter) set(t typeface, lines []string) {
	s.use(t)
	for _, line := range lines {
		s.doc.Text(margin, s.y+t.size, line)
		s.y += t.size * t.leading
	}
}
