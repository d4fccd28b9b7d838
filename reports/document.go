package reports

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
	texttemplate "text/template"

	"meshlab.dev/meshlab/reports/figures"
	"meshlab.dev/meshlab/reports/internal/thesis"
	"meshlab.dev/meshlab/scenarios"
)

// document is all that the templates show.
type document struct {
	Title    string
	Live     *Live
	Sections []*section
	refs     []thesis.Row
	compared *comparison // nil: of one result, of runs that still go on, or of nothing in common
	foretold []told      // of one result: how well it tells of the thesis
	drawings map[string]figures.Drawing
}

//go:embed templates/page.html.tmpl
var pageTemplate string

//go:embed templates/parts.html.tmpl
var partsTemplate string

//go:embed templates/style.css
var pageStyle string

//go:embed templates/report.md.tmpl
var markdownTemplate string

// Compared is what was measured in several environments, side by side; nil
// when there is no such thing.
func (d *document) Compared() *comparison { return d.compared }

// compare sets the results side by side; one alone, beside the thesis.
func (d *document) compare(results []*scenarios.Result) error {
	c, err := newComparison(results)
	switch {
	case err != nil:
		return err
	case c == nil:
	case len(results) > 1:
		d.compared = c
	default:
		d.foretold = c.Told()
	}
	return nil
}

// Several tells whether sections need headings to tell them apart.
func (d *document) Several() bool { return len(d.Sections) > 1 }

// Refresh is after how many seconds a live page loads itself again.
func (d *document) Refresh() int { return max(1, int(d.Live.Refresh.Seconds())) }

// Views returns the sections for the templates.
func (d *document) Views() []view {
	var vs []view
	for _, s := range d.Sections {
		vs = append(vs, view{s, d})
	}
	return vs
}

// figure returns a drawing that may stand in the page as it is.
func (d *document) figure(name string) template.HTML {
	return template.HTML(d.drawings[name].Inline) //nolint:gosec // escaped where it is drawn
}

// has tells whether a figure was drawn.
func (d *document) has(name string) bool {
	_, ok := d.drawings[name]
	return ok
}

// describe returns the text that stands for a figure.
func (d *document) describe(name string) string { return d.drawings[name].Description }

// inert embeds an SVG of a document as an image, in which no script runs and
// which loads nothing.
func inert(svg string) template.URL {
	return template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString([]byte(svg))) //nolint:gosec // inert in an img
}

// box is a part of the page that scrolls sideways by itself when it is wider
// than the screen.
type box struct{ Name, Caption string }

func (d *document) html() ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"figure":  d.figure,
		"has":     d.has,
		"picture": inert,
		"box":     func(name, caption string) box { return box{name, caption} },
		"style":   func() template.CSS { return template.CSS(pageStyle) }, //nolint:gosec // our own
	}).Parse(partsTemplate)
	if err != nil {
		return nil, fmt.Errorf("parse the page's template: %w", err)
	}
	if t, err = t.Parse(pageTemplate); err != nil {
		return nil, fmt.Errorf("parse the page's template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("render the page: %w", err)
	}
	return b.Bytes(), nil
}

func (d *document) markdown() ([]byte, error) {
	t, err := texttemplate.New("report").Funcs(texttemplate.FuncMap{
		"table":    markdownTable,
		"text":     markdownText,
		"indent":   func(s string) string { return strings.NewReplacer("\r", " ", "\n", "\n    ").Replace(s) }, // stays a block of code
		"describe": d.describe,
		"has":      d.has,
	}).Parse(markdownTemplate)
	if err != nil {
		return nil, fmt.Errorf("parse the report's template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("render the report: %w", err)
	}
	return b.Bytes(), nil
}

// markdownText keeps what a document says from being read as markup.
func markdownText(s string) string {
	return strings.NewReplacer("\n", " ", "\r", " ", "\\", `\\`, "|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`).Replace(s)
}

func markdownTable(t table) string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	var names, rules []string
	for _, c := range t.Columns {
		names = append(names, markdownText(strings.TrimPrefix(c.Group+": "+c.Name, ": ")))
		rules = append(rules, "---")
	}
	line(names)
	line(rules)
	for _, row := range t.Rows {
		var cells []string
		for _, e := range row {
			s := markdownText(e.Text)
			if e.Class != "" && s != "" {
				s = "**" + s + "**"
			}
			cells = append(cells, s)
			for range e.Span - 1 {
				cells = append(cells, "")
			}
		}
		line(cells)
	}
	return b.String()
}
