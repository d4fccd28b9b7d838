package reports

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/reports/internal/sentence"
	"meshlab.dev/meshlab/scenarios"
)

// view is a section with its tables, as the templates use it.
type view struct {
	*section
	doc *document
}

func (v view) ID() string           { return v.Result.ID }
func (v view) Summary() string      { return v.summary() }
func (v view) Comparisons() table   { return v.comparisons() }
func (v view) Sure() []string       { return sentence.Calibration(v.Result) }
func (v view) Calibrated() bool     { return sentence.Calibrated(v.Result) }
func (v view) Effects() table       { return v.effects() }
func (v view) Flags() table         { return v.flags() }
func (v view) FlagSummary() string  { return v.flagSummary() }
func (v view) Duets() []*duet       { return v.duets }
func (v view) Climbs() []climb      { return v.climbs }
func (v view) Falls() []fall        { return v.falls }
func (v view) Generator() table     { return v.generator() }
func (v view) Table4() table        { return v.table4() }
func (v view) Details() table       { return v.percentiles() }
func (v view) Failures() table      { return v.failures() }
func (v view) Attempts() table      { return v.attempts() }
func (v view) Thesis() table        { return v.thesis(v.doc.refs) }
func (v view) Gives() table         { return v.gives() }
func (v view) Machine() table       { return v.environment() }
func (v view) Ceiling() table       { return v.ceiling() }
func (v view) Near() []string       { return v.nearCeiling() }
func (v view) Forest() string       { return v.forestName() }
func (v view) RatioRef() string     { return v.ratioName() }
func (v view) LabRef(i int) string  { return v.labName(i) }
func (v view) Links() []links       { return v.linksOf() }
func (v view) Traffic() []traffic   { return v.traffics() }
func (v view) OnCluster() bool      { return v.Result.Environment.Cluster != nil }
func (v view) Placed() []string     { return v.placements() }
func (v view) Foretold() []told     { return v.doc.foretold }
func (v view) Place() string        { return v.Result.Environment.Place() }
func (v view) Uncounted() string    { return v.uncounted() }
func (v view) PairedText() []string { return sentence.PairedMethod(v.Result) }

// Labs returns the labs of the run.
func (v view) Labs() []scenarios.LabInfo { return v.Result.Labs }

// Scenarios returns the scenario files of the run.
func (v view) Scenarios() []scenarios.ScenarioInfo { return v.Result.Scenarios }

// When says when the run was, and how long.
func (v view) When() string {
	text := v.Result.Started.UTC().Format("2 January 2006, 15:04 UTC")
	if took := v.Result.Finished.Sub(v.Result.Started); took >= time.Second {
		text += ", " + format.Duration(took) + " long"
	}
	return text
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

// VerdictTitle is the heading of what was found.
func (v view) VerdictTitle() string {
	if v.doc.Live != nil {
		return "So far"
	}
	return "Verdict"
}

// Data is the address of the link that saves the results. It is written as
// an attribute as it is: base64 has nothing that ends one.
func (v view) Data() (template.HTMLAttr, error) {
	packed, err := pack(v.Result)
	return template.HTMLAttr(`class="results" href="` + dataAddress + packed + `"`), err //nolint:gosec // see above
}

// finding is a sentence of the verdict.
type finding struct {
	Verdict string // PASS, FAIL, INCONCLUSIVE, or empty
	Class   string
	Says    string // with the figures
	Means   string // the verdict in words
	Where   string // what it is of
}

// Findings has a finding for each comparison, and for each duet without any.
func (v view) Findings() []finding {
	var all []finding
	for _, d := range v.duets {
		for _, c := range d.Comparisons {
			all = append(all, finding{
				Verdict: string(c.Verdict), Class: strings.ToLower(string(c.Verdict)),
				Says: sentence.Comparison(d.Duet, c), Means: joinedBy(sentence.Faults(d.Duet), sentence.Verdict(c)), Where: d.where(),
			})
		}
		if len(d.Comparisons) == 0 {
			all = append(all, finding{Says: d.undecided(v.doc.Live != nil), Where: d.where()})
		}
	}
	return all
}

// joinedBy is two sentences, of which the first may be missing.
func joinedBy(first, second string) string {
	if first == "" {
		return second
	}
	return first + " " + second
}

// where says how a duet was measured.
func (d *duet) where() string {
	together := "all variants live at once"
	if d.Method == scenarios.ABBA {
		together = "one variant at a time (ABBA)"
	}
	return fmt.Sprintf("Lab %s, scenario %s, %s; %s, %s arrivals of %s requests/s per variant.",
		d.Lab, d.Scenario, together, format.Plural(len(d.Trials), "trial"), sentence.Arrivals(d.Load.Arrivals), format.Rate(d.Load.Rate))
}

// undecided says why a duet has no comparison.
func (d *duet) undecided(live bool) string {
	failed := len(d.sides) > 0
	for _, s := range d.sides {
		failed = failed && s.requests > 0 && s.errors == s.requests
	}
	why := "nothing was compared"
	switch {
	case failed:
		why = "every request failed, so there is nothing to compare"
	case len(d.Variants) < 2:
		why = "there is only one variant, so there is nothing to compare it with"
	case live:
		why = "there are not enough trials yet"
	}
	return d.title() + ": " + why + "."
}

// HasCosts tells whether the costs of some variant are known.
func (v view) HasCosts() bool {
	return slices.ContainsFunc(v.duets, func(d *duet) bool { return d.hasCosts() })
}

// load is one point with its figures.
type load struct {
	Title   string
	Errors  []string
	Figures string // their names, but for the kind
}

// Loads returns the points in the order of the document.
func (v view) Loads() []load {
	var out []load
	for _, p := range v.Points {
		l := load{Title: p.title(), Figures: p.name}
		for _, mesh := range p.failed(v.Meshes) {
			m := p.cells[mesh].All
			l.Errors = append(l.Errors, fmt.Sprintf("%s: %s in %d requests (%s)", cells.Label(mesh), m.ErrorText(), m.Requests, m.KindsText()))
		}
		out = append(out, l)
	}
	return out
}

// Title, Figures, Errors and Where are what the templates show of a duet
// beside its tables.
func (d *duet) Title() string   { return d.title() }
func (d *duet) Figures() string { return d.name }
func (d *duet) Where() string   { return d.where() }

// Errors has a sentence for each variant with failed requests.
func (d *duet) Errors() []string {
	var all []string
	for _, s := range d.sides {
		if s.errors > 0 {
			m := cells.Measure{Errors: s.errors, Requests: s.requests, Kinds: s.kinds}
			text := fmt.Sprintf("%s: %s in %s requests (%s)", s.label, m.ErrorText(), format.Grouped(s.requests), m.KindsText())
			if s.errors < s.requests {
				text += ". Latencies are of the others"
			}
			all = append(all, text)
		}
	}
	return all
}

// entry of the contents.
type chapter struct{ ID, Title string }

// Contents lists the chapters that the section has.
func (v view) Contents() []chapter {
	var out []chapter
	for _, c := range []struct {
		id, title string
		has       bool
	}{
		{"verdict", v.VerdictTitle(), true},
		{"sure", "How sure", len(v.duets) > 0},
		{"ratios", "Ratios", v.doc.has(v.forestName()) || v.doc.has(v.ratioName())},
		{"faults", "Faults", v.HasFaults()},
		{"distributions", "Distributions", len(v.duets) > 0},
		{"trials", "Trial by trial", len(v.duets) > 0},
		{"closed", "Closed loop", len(v.Points) > 0},
		{"first", "First attempts", len(v.Points) > 0},
		{"cost", "Cost", v.HasCosts()},
		{"waterfall", "Where the time goes", len(v.falls) > 0},
		{"ramps", "Highest load", len(v.climbs) > 0},
		{"topology", "Topology and traffic", true},
		{"gives", "What each mesh gives", true},
		{"environment", "Environment", true},
		{"generator", "Load generator", true},
		{"method", "Method", true},
		{"repeat", "Repeat it, raw data", true},
	} {
		if c.has {
			out = append(out, chapter{v.Prefix + c.id, c.title})
		}
	}
	return out
}
