package reports

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"
	texttemplate "text/template"

	"meshlab.dev/meshlab/reports/figures"
	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/reports/internal/thesis"
	"meshlab.dev/meshlab/scenarios"
)

// document is all that the templates show.
type document struct {
	Title    string
	Sections []*section
	refs     []thesis.Row
	drawings map[string]figures.Drawing
}

//go:embed templates/page.html.tmpl
var pageTemplate string

//go:embed templates/style.css
var pageStyle string

//go:embed templates/report.md.tmpl
var markdownTemplate string

// Several tells whether sections need headings to tell them apart.
func (d document) Several() bool { return len(d.Sections) > 1 }

// view is a section with its tables, as the templates use it.
type view struct {
	*section
	doc document
}

// Views returns the sections for the templates.
func (d document) Views() []view {
	var vs []view
	for _, s := range d.Sections {
		vs = append(vs, view{s, d})
	}
	return vs
}

func (v view) ID() string          { return v.Result.ID }
func (v view) Summary() string     { return v.summary() }
func (v view) Table4() table       { return v.table4() }
func (v view) Details() table      { return v.percentiles() }
func (v view) Failures() table     { return v.failures() }
func (v view) Attempts() table     { return v.attempts() }
func (v view) Thesis() table       { return v.thesis(v.doc.refs) }
func (v view) Gives() table        { return v.gives() }
func (v view) Machine() table      { return v.environment() }
func (v view) Ceiling() table      { return v.ceiling() }
func (v view) Near() []string      { return v.nearCeiling() }
func (v view) Ratios() bool        { return v.hasRatios() }
func (v view) RatioRef() string    { return v.ratioName() }
func (v view) LabRef(i int) string { return v.labName(i) }
func (v view) Traffic() []traffic  { return v.traffics() }
func (v view) Uncounted() string   { return v.uncounted() }
func (v view) When() string {
	return fmt.Sprintf("%s, %s long", v.Result.Started.UTC().Format("2 January 2006, 15:04 UTC"),
		format.Duration(v.Result.Finished.Sub(v.Result.Started)))
}

// Command returns the command that repeats the run, quoted for a shell.
func (v view) Command() string {
	var words []string
	for _, w := range v.Result.Command {
		if w == "" || strings.ContainsAny(w, " \t\n\"'`$&|;<>()*?[]#~\\!{}") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// Method tells in a few sentences what was done, and what it cannot tell.
func (v view) Method() []string {
	requests, repeats := 0, 0
	for _, c := range v.Result.Cells {
		repeats = max(repeats, len(c.Attempts))
		for _, a := range c.Attempts {
			requests = max(requests, a.Requests)
		}
	}
	return []string{
		fmt.Sprintf("Each cell was measured in up to %s per mesh, of up to %s each. The first attempt came before any warm-up and is shown apart; then each mesh had one warm-up whose figures were dropped, then came the later attempts, which the tables pool.",
			format.Plural(repeats, "attempt"), format.Plural(requests, "request")),
		fmt.Sprintf("The meshes took turns inside each cell, in an order drawn with seed %d, so that a slow minute of the machine strikes all of them.", v.Result.Seed),
		"The load is a closed loop: every connection sends its next request when it has the whole answer to the last. When a mesh is slow it is asked less often, so its waiting times are not those that users arriving on their own would see.",
		"Connections are opened inside the attempt, by their first request, and kept after that. The status and the content of every answer were checked. A cell with a single failed request in any attempt is shown as errors and not as a latency.",
		"Percentiles are nearest-rank values of merged HDR histograms (three significant figures); average, minimum and maximum are exact.",
		"With several nodes every request crosses the switches under every mesh. On a single node, calls between the services of plain switching and of Consul Connect stay inside the host's kernel, while the mesh in the switches sends them to the switch and back.",
		"Everything ran on one machine, load generator and services included, sharing its processors; small differences are within its noise, and no test of significance was made. The brackets show how far the attempts differ.",
	}
}

// Labs returns the labs of the run.
func (v view) Labs() []scenarios.LabInfo { return v.Result.Labs }

// load is one point with its figures.
type load struct {
	Title   string
	Errors  []string
	Figures []string // names, in the order of kinds
}

// Loads returns the points in the order of the document.
func (v view) Loads() []load {
	var out []load
	for _, p := range v.Points {
		l := load{Title: p.title(), Figures: p.figures}
		for _, mesh := range p.failed(v.Meshes) {
			m := p.cells[mesh].All
			l.Errors = append(l.Errors, fmt.Sprintf("%s: %s in %d requests (%s)", cells.Label(mesh), m.ErrorText(), m.Requests, m.KindsText()))
		}
		out = append(out, l)
	}
	return out
}

func (d document) figure(name string) template.HTML {
	return template.HTML(d.drawings[name].Inline) //nolint:gosec // escaped where it is drawn
}

// describe returns the text that stands for a figure.
func (d document) describe(name string) string { return d.drawings[name].Description }

// picture embeds an SVG of a document as an image, in which no script runs
// and which loads nothing.
func picture(svg string) template.URL {
	return template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString([]byte(svg))) //nolint:gosec // inert in an img
}

// data returns the results as JSON for a script element: encoding/json
// escapes <, > and &, so nothing in it ends the element.
func (d document) data() (template.JS, error) {
	var all []*scenarios.Result
	for _, s := range d.Sections {
		all = append(all, s.Result)
	}
	b, err := json.Marshal(all)
	return template.JS(b), err //nolint:gosec // see above
}

func (d document) html() ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"figure":  d.figure,
		"picture": picture,
		"data":    d.data,
		"style":   func() template.CSS { return template.CSS(pageStyle) }, //nolint:gosec // our own
	}).Parse(pageTemplate)
	if err != nil {
		return nil, fmt.Errorf("parse the page's template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("render the page: %w", err)
	}
	return b.Bytes(), nil
}

func (d document) markdown() ([]byte, error) {
	t, err := texttemplate.New("report").Funcs(texttemplate.FuncMap{
		"table":    markdownTable,
		"text":     markdownText,
		"describe": d.describe,
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
		names = append(names, strings.TrimPrefix(c.Group+": "+c.Name, ": "))
		rules = append(rules, "---")
	}
	line(names)
	line(rules)
	for _, row := range t.Rows {
		var cells []string
		for _, e := range row {
			s := markdownText(e.Text)
			if e.Error {
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
