package print

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"codeberg.org/go-pdf/fpdf"
	"gonum.org/v1/plot/vg/draw"

	"meshlab.dev/meshlab/reports"
	"meshlab.dev/meshlab/reports/figures"
	"meshlab.dev/meshlab/scenarios"
)

// LaTeX writes the results as source for pdflatex below dir, which it makes
// when it is not there: report.tex, an article, and what it includes, so that
// a thesis can include it too: tables/*.tex, each a tabular with the rules of
// booktabs, and figures/*.pdf. It returns the paths of all files, report.tex
// first. Files of an earlier report are overwritten; others stay.
//
// It returns an error when there is no result or one contradicts itself, and
// when a file cannot be written; then some may be there already, but no
// report.tex.
func LaTeX(dir string, results []*scenarios.Result, opt Options) ([]string, error) {
	p, err := newPaper(results, opt)
	if err != nil {
		return nil, fmt.Errorf("make LaTeX source: %w", err)
	}
	for _, sub := range []string{"tables", "figures"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("make LaTeX source: %w", err)
		}
	}
	a := article{dir: dir, date: p.date, files: []string{filepath.Join(dir, "report.tex")}}
	if err := a.compose(p); err != nil {
		return nil, fmt.Errorf("make LaTeX source: %w", err)
	}
	if err := scenarios.WriteFile(a.files[0], []byte(a.tex.String())); err != nil {
		return nil, fmt.Errorf("make LaTeX source: %w", err)
	}
	return a.files, nil
}

// article is report.tex in the making, and the files beside it.
type article struct {
	dir     string
	date    time.Time
	files   []string
	tex     strings.Builder
	figures int
	tables  int
}

const preamble = `%% Made by meshlab; needs pdflatex. Tables and figures are files of their own,
%% for \input and \includegraphics elsewhere: tables need booktabs and array.
\documentclass[a4paper,11pt]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage[a4paper,margin=2cm]{geometry}
\usepackage{array}
\usepackage{booktabs}
\usepackage{graphicx}
\usepackage[hidelinks]{hyperref}
\setlength{\emergencystretch}{3em}
%% A table as wide as it is, and no wider than the text.
\newsavebox{\meshlabtable}
\newcommand{\fitted}[1]{\sbox{\meshlabtable}{\input{#1}}%%
  \ifdim\wd\meshlabtable>\linewidth\resizebox{\linewidth}{!}{\usebox{\meshlabtable}}\else\usebox{\meshlabtable}\fi}
\title{%s}
\author{%s}
\date{%s}
\begin{document}
\maketitle
`

func (a *article) compose(p *paper) error {
	fmt.Fprintf(&a.tex, preamble, escape(p.title), escape(p.author), p.date.Format("2 January 2006"))
	if err := a.chapters(p.together); err != nil {
		return err
	}
	for i, r := range p.runs {
		if len(p.runs) > 1 {
			fmt.Fprintf(&a.tex, "\n\\part*{Run %d: %s}\n", i+1, escape(r.Result.Environment.Place()))
		}
		fmt.Fprintf(&a.tex, "\n\\noindent\\emph{%s}\n", escape(about(r)))
		if err := a.chapters(r.Chapters); err != nil {
			return err
		}
		fmt.Fprintf(&a.tex, "\n\\section{To repeat it}\nThe run is repeated by:\n\\begin{quote}\\ttfamily\\raggedright %s\\end{quote}\n", escape(r.Command))
	}
	a.tex.WriteString("\n\\begin{thebibliography}{9}\n")
	for i, ref := range references() {
		fmt.Fprintf(&a.tex, "\\bibitem{meshlab%d} %s\n", i+1, escape(ref))
	}
	a.tex.WriteString("\\end{thebibliography}\n\\end{document}\n")
	return nil
}

func (a *article) chapters(all []reports.Chapter) error {
	for _, c := range all {
		fmt.Fprintf(&a.tex, "\n\\section{%s}\n", escape(c.Title))
		for _, b := range c.Blocks {
			if err := a.block(b); err != nil {
				return err
			}
		}
		if c.Title == methodChapter {
			fmt.Fprintf(&a.tex, "\n%s\n", cited(sources))
		}
		a.tex.WriteString("\n\\clearpage % figures and tables stay in their section\n")
	}
	return nil
}

// cited is a text whose [1] are references.
func cited(text string) string {
	for i := range references() {
		text = strings.ReplaceAll(text, fmt.Sprintf("[%d]", i+1), fmt.Sprintf("\\cite{meshlab%d}", i+1))
	}
	return text
}

func (a *article) block(b reports.Block) error {
	switch {
	case b.Table != nil:
		return a.table(b.Table)
	case b.Figure != nil:
		return a.figure(b.Figure, b.Caption)
	}
	fmt.Fprintf(&a.tex, "\n%s\n", escape(b.Text))
	return nil
}

// mostRows is how many rows a table has on a page.
const mostRows = 50

// table writes a table, in several files when it has too many rows for one
// page, and puts it where it is told of.
func (a *article) table(t *reports.Table) error {
	a.tables++
	for from := 0; from < len(t.Rows); from += mostRows {
		part := *t
		part.Rows = t.Rows[from:min(from+mostRows, len(t.Rows))]
		name := fmt.Sprintf("tables/table-%02d", a.tables)
		head := fmt.Sprintf("\\caption{%s}\\label{tab:meshlab%d}", escape(t.Caption), a.tables)
		if len(t.Rows) > mostRows {
			name += fmt.Sprintf("-%d", from/mostRows+1)
		}
		if from > 0 {
			head = "\\addtocounter{table}{-1}\\caption{(continued)}"
		}
		if err := a.write(name+".tex", []byte(tabular(&part, wordy(t)))); err != nil {
			return err
		}
		fmt.Fprintf(&a.tex, "\n\\begin{table}[htbp]\n\\centering\\footnotesize\n%s\n\\fitted{%s}\n\\end{table}\n", head, name)
	}
	return nil
}

// tabular returns a table as LaTeX. Columns of long words get a fixed width,
// and names of columns that are longer than what is below them are broken.
func tabular(t *reports.Table, left []bool) string {
	limit, width := 40, "7cm"
	switch {
	case len(t.Columns) > 8:
		limit, width = 18, "2.6cm"
	case len(t.Columns) > 4:
		limit, width = 28, "4cm"
	}
	longest := longestCells(t)
	var b strings.Builder
	b.WriteString("\\begin{tabular}{@{}")
	for i := range t.Columns {
		switch {
		case left[i] && longest[i] > limit:
			longest[i] = limit
			b.WriteString(">{\\raggedright\\arraybackslash}p{" + width + "}")
		case left[i]:
			b.WriteString("l")
		default:
			b.WriteString("r")
		}
	}
	b.WriteString("@{}}\n\\toprule\n")
	if groups := t.Groups(); len(groups) > 0 {
		var cells, rules []string
		at := 1
		for _, g := range groups {
			cells = append(cells, multi(g.Span, "c", escape(g.Text)))
			if g.Text != "" {
				rules = append(rules, fmt.Sprintf("\\cmidrule(lr){%d-%d}", at, at+g.Span-1))
			}
			at += g.Span
		}
		b.WriteString(strings.Join(cells, " & ") + " \\\\\n" + strings.Join(rules, "") + "\n")
	}
	var names []string
	for i, c := range t.Columns {
		names = append(names, stacked(c.Name, max(longest[i], 6), left[i]))
	}
	b.WriteString(strings.Join(names, " & ") + " \\\\\n\\midrule\n")
	for _, row := range t.Rows {
		var cells []string
		for _, e := range row {
			text := escape(e.Text)
			if e.Class != "" && text != "" {
				text = "\\textbf{" + text + "}"
			}
			cells = append(cells, multi(e.Span, "l", text))
		}
		b.WriteString(strings.Join(cells, " & ") + " \\\\\n")
	}
	b.WriteString("\\bottomrule\n\\end{tabular}\n")
	return b.String()
}

// longestCells returns how many letters the longest cell of each column has.
func longestCells(t *reports.Table) []int {
	longest := make([]int, len(t.Columns))
	for _, row := range t.Rows {
		at := 0
		for _, e := range row {
			if e.Span == 1 && at < len(longest) {
				longest[at] = max(longest[at], utf8.RuneCountInString(e.Text))
			}
			at += e.Span
		}
	}
	return longest
}

// stacked breaks the name of a column into lines of so many letters.
func stacked(name string, letters int, left bool) string {
	var lines []string
	for _, word := range strings.Fields(name) {
		if n := len(lines); n > 0 && utf8.RuneCountInString(lines[n-1])+1+utf8.RuneCountInString(word) <= letters {
			lines[n-1] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	for i := range lines {
		lines[i] = escape(lines[i])
	}
	if len(lines) < 2 {
		return strings.Join(lines, "")
	}
	side := "r"
	if left {
		side = "l"
	}
	return "\\shortstack[" + side + "]{" + strings.Join(lines, "\\\\") + "}"
}

func multi(span int, align, text string) string {
	if span <= 1 {
		return text
	}
	return fmt.Sprintf("\\multicolumn{%d}{%s}{%s}", span, align, text)
}

// figure writes a figure as a PDF of its own size.
func (a *article) figure(f *figures.Figure, caption string) error {
	a.figures++
	b, err := figurePDF(f.Untitled(), a.date)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("figures/figure-%02d.pdf", a.figures)
	if err := a.write(name, b); err != nil {
		return err
	}
	fmt.Fprintf(&a.tex, "\n\\begin{figure}[htbp]\n\\centering\n\\includegraphics[width=\\linewidth,height=0.85\\textheight,keepaspectratio]{%s}\n\\caption{%s}\\label{fig:meshlab%d}\n\\end{figure}\n",
		name, escape(caption), a.figures)
	return nil
}

// figurePDF draws a figure as a page of its size.
func figurePDF(f *figures.Figure, date time.Time) ([]byte, error) {
	w, h := f.Size()
	doc := fpdf.NewCustom(&fpdf.InitType{UnitStr: "pt", Size: fpdf.SizeType{Wd: w.Points(), Ht: h.Points()}})
	prepare(doc, f.Title, "", date, true)
	addSans(doc)
	doc.AddPage()
	f.Draw(draw.New(newCanvas(doc, 0, h.Points(), w, h, 1)))
	var b bytes.Buffer
	if err := doc.Output(&b); err != nil {
		return nil, fmt.Errorf("draw %s: %w", f.Title, err)
	}
	return b.Bytes(), nil
}

func (a *article) write(name string, b []byte) error {
	path := filepath.Join(a.dir, filepath.FromSlash(name))
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return err
	}
	a.files = append(a.files, path)
	return nil
}
