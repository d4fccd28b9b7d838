package reports

import (
	"errors"
	"fmt"
	"slices"

	"meshlab.dev/meshlab/reports/figures"
	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/thesis"
	"meshlab.dev/meshlab/scenarios"
)

// Table is a table of a report, without its form.
type Table = table

// Entry is a cell of a Table.
type Entry = entry

// Run is what a report tells of one result, without its form: for what is
// typeset rather than shown as a page.
type Run struct {
	ID, When string
	Result   *scenarios.Result
	Command  string // that repeats it, quoted for a shell
	Chapters []Chapter
}

// Chapter is a part of it.
type Chapter struct {
	Title  string
	Blocks []Block
}

// Block is one of a paragraph, a table with rows, and a figure with its
// caption.
type Block struct {
	Text    string
	Table   *Table
	Figure  *figures.Figure
	Caption string
}

// Runs returns what there is to tell of each result. It returns an error when
// there is no result or one contradicts itself.
func Runs(results []*scenarios.Result) ([]Run, error) {
	if len(results) == 0 {
		return nil, errors.New("arrange report: there are no results")
	}
	refs, err := thesis.Rows()
	if err != nil {
		return nil, err
	}
	doc := &document{refs: refs}
	if err := doc.compare(results); err != nil {
		return nil, fmt.Errorf("arrange report: %w", err)
	}
	var runs []Run
	for _, r := range results {
		s, err := newSection(r, "")
		if err != nil {
			return nil, fmt.Errorf("arrange report: %w", err)
		}
		v := view{s, doc}
		var c contents
		c.arrange(v)
		if c.err != nil {
			return nil, fmt.Errorf("arrange report: %w", c.err)
		}
		runs = append(runs, Run{ID: r.ID, When: v.When(), Result: r, Command: v.Command(), Chapters: c.chapters})
	}
	return runs, nil
}

// Together returns the chapter that sets results of several environments side
// by side: none when there is one result, or nothing that could be.
func Together(results []*scenarios.Result) ([]Chapter, error) {
	doc := &document{}
	if err := doc.compare(results); err != nil {
		return nil, fmt.Errorf("arrange report: %w", err)
	}
	if doc.compared == nil {
		return nil, nil
	}
	var c contents
	c.chapter(doc.compared.Chapter())
	c.told(doc.compared.Told())
	c.text(doc.compared.Notes()...)
	c.table(doc.compared.About())
	for _, t := range doc.compared.Ratios() {
		c.table(t)
	}
	for i, p := range doc.compared.leading() {
		f, err := p.figure()
		c.figure(doc.compared.Figures()[i].Caption, f, err)
	}
	c.table(doc.compared.Predictions())
	return c.chapters, c.err
}

// contents collects the chapters that have something to say.
type contents struct {
	chapters []Chapter
	err      error
}

func (c *contents) chapter(title string) { c.chapters = append(c.chapters, Chapter{Title: title}) }

func (c *contents) add(b Block) {
	last := &c.chapters[len(c.chapters)-1]
	last.Blocks = append(last.Blocks, b)
}

func (c *contents) text(paragraphs ...string) {
	for _, p := range paragraphs {
		if p != "" {
			c.add(Block{Text: p})
		}
	}
}

func (c *contents) told(all []told) {
	for _, t := range all {
		c.text(t.Says + " " + t.Means)
	}
}

func (c *contents) table(t table) {
	if len(t.Rows) > 0 {
		c.add(Block{Table: &t})
	}
}

func (c *contents) figure(caption string, f *figures.Figure, err error) {
	switch {
	case errors.Is(err, figures.ErrNothing):
	case err != nil:
		c.err = errors.Join(c.err, err)
	default:
		c.add(Block{Figure: f, Caption: caption})
	}
}

func (c *contents) arrange(v view) {
	c.chapter("Findings")
	for _, f := range v.Findings() {
		says := f.Says
		if f.Verdict != "" {
			says = f.Verdict + ". " + says
		}
		c.text(says + " " + f.Means)
	}
	if len(v.duets) == 0 || len(v.Points) > 0 {
		c.text(v.Summary())
	}
	c.chapter("Method")
	if len(v.duets) > 0 {
		c.text(v.PairedText()...)
		c.text(v.Sure()...)
		c.table(v.Effects())
	}
	c.text(v.ClosedText()...)
	c.text(v.Limits()...)
	if len(v.duets) > 0 {
		c.paired(v)
	}
	if len(v.Points) > 0 {
		c.closed(v)
	}
	c.chapter("Where the time goes, and the highest load")
	for _, w := range v.falls {
		f, err := w.figure()
		c.figure("Where the time of one request goes: "+w.Title()+"; means over the middle half of the requests.", f, err)
		c.table(w.Kinds())
	}
	for _, r := range v.climbs {
		c.text(r.Summary())
		f, err := r.figure()
		c.figure("Latency by rate: "+r.Title()+"; the objective is "+r.Objective()+".", f, err)
		c.table(r.Table())
	}
	c.chapter("Environment")
	c.table(v.Machine())
	c.text(v.Placed()...)
	c.table(v.Gives())
	if len(v.duets) > 0 {
		c.table(v.Generator())
	}
	c.table(v.Ceiling())
	c.chapters = slices.DeleteFunc(c.chapters, func(ch Chapter) bool { return len(ch.Blocks) == 0 })
}

// paired has the paired trials: the verdicts, then each duet.
func (c *contents) paired(v view) {
	c.chapter("Paired trials")
	f, err := v.forest()
	c.figure("Ratios of response times with 95 % intervals; the band is the margin that a ratio may grow by.", f, err)
	c.table(v.Comparisons())
	c.text(v.FlagSummary())
	c.table(v.Flags())
	for _, d := range v.duets {
		c.text(d.title()+". "+d.where(), joined(d.Errors()))
		c.table(d.Percentiles())
		f, err := figures.Spectrum(d.title(), d.series(), figures.Log)
		c.figure("Response time by percentile: "+d.title()+", all trials.", f, err)
		if d.HasFaults() {
			f, err = d.course(d.title())
			c.figure(d.title()+". "+d.CourseCaption(), f, err)
			c.table(d.FaultTable())
		}
		f, err = d.overTime(d.title())
		c.figure("The trials in their order: "+d.title()+".", f, err)
		f, err = d.cost(d.title())
		c.figure("What each variant used: "+d.title()+".", f, err)
		if d.hasCosts() {
			c.text(d.CostSummary())
		}
	}
}

// closed has the closed loop: the thesis' table, then each load.
func (c *contents) closed(v view) {
	c.chapter("Closed loop")
	c.table(v.Table4())
	if v.Fits {
		c.table(v.Thesis())
		c.told(v.Foretold())
	}
	c.table(v.Details())
	c.table(v.Failures())
	if v.hasRatios() {
		f, err := v.ratioFigure()
		c.figure("Ratios of p50 in the closed loop; the lines are ranges over the attempts, not confidence intervals.", f, err)
	}
	for _, p := range v.Points {
		later, _ := v.series(p)
		f, err := figures.Overlay(p.title(), later)
		c.figure(p.title()+": histograms of the later attempts, and their cumulative curves.", f, err)
	}
	c.table(v.Attempts())
	for _, p := range v.Points {
		if len(p.failed([]string{cells.OVS})) > 0 {
			continue
		}
		_, both := v.series(p)
		f, err := figures.Attempts(p.title(), both)
		c.figure(p.title()+": the first attempt and the later ones.", f, err)
		break // one shows what the table has of all
	}
}

func joined(sentences []string) string {
	text := ""
	for _, s := range sentences {
		text += s + ". "
	}
	return text
}
