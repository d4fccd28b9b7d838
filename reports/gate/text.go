package gate

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"meshlab.dev/meshlab/reports/internal/sentence"
	"meshlab.dev/meshlab/scenarios"
)

// Text writes the verdicts for a terminal.
func Text(w io.Writer, r *scenarios.Result) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "load\tpods\tfigure\tbase\tms\tnew\tms\tratio\t95 % interval\tmargin\tpairs\tverdict\t")
	for _, row := range Rows(r.Duets) {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t\n",
			row.Load(), row.Pods, row.Metric, row.Base, ms(row.BaseMs), row.New, ms(row.NewMs),
			shown(row), span(row), margin(row), row.Pairs, row.Verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("\n" + Headline(r.Duets) + "\n")
	for _, n := range notes(r) {
		b.WriteString(n + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the verdicts as a comment on a pull request.
func Markdown(w io.Writer, r *scenarios.Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### meshlab: %s\n\n", Headline(r.Duets))
	b.WriteString("| | Load | Pods | Figure | Base | New | Ratio | 95 % interval | Margin | Pairs |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	for _, row := range Rows(r.Duets) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %d |\n",
			row.Verdict, cell(row.Load()), row.Pods, row.Metric, sideCell(row.Base, row.BaseMs), sideCell(row.New, row.NewMs),
			shown(row), span(row), margin(row), row.Pairs)
	}
	b.WriteString("\n")
	for _, n := range notes(r) {
		b.WriteString(strings.ReplaceAll(n, "<", "&lt;") + "\n")
	}
	fmt.Fprintf(&b, "\n<sub>%s; %s, %s; run %s</sub>\n", cell(r.Environment.Place()), cell(r.Environment.CPU), cell(r.Environment.Kernel), r.ID)
	_, err := io.WriteString(w, b.String())
	return err
}

// sideCell is a variant with its latency, if it has one.
func sideCell(name string, v float64) string {
	if v <= 0 {
		return cell(name)
	}
	return cell(name) + ": " + ms(v) + " ms"
}

// cell keeps a text from ending a cell of a Markdown table, or from being
// taken for markup.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "`", "'").Replace(s)
}

// Annotations writes GitHub's workflow commands, one a figure: an error for
// each FAIL, a warning for each INCONCLUSIVE, a notice for each PASS.
func Annotations(w io.Writer, r *scenarios.Result) error {
	kinds := map[scenarios.Verdict]string{scenarios.Fail: "error", scenarios.Inconclusive: "warning", scenarios.Pass: "notice"}
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, row := range Rows(r.Duets) {
		title := fmt.Sprintf("meshlab %s: %s of %s", row.Verdict, row.Metric, row.Load())
		if _, err := fmt.Fprintf(w, "::%s title=%s::%s\n", kinds[row.Verdict], property.Replace(title), data.Replace(withReason(row))); err != nil {
			return err
		}
	}
	return nil
}

type suite struct {
	XMLName  xml.Name   `xml:"testsuite"`
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Skipped  int        `xml:"skipped,attr"`
	Time     string     `xml:"time,attr"`
	Stamp    string     `xml:"timestamp,attr"`
	Cases    []testCase `xml:"testcase"`
}

type testCase struct {
	Class   string  `xml:"classname,attr"`
	Name    string  `xml:"name,attr"`
	Failure *reason `xml:"failure,omitempty"`
	Skipped *reason `xml:"skipped,omitempty"`
	Out     string  `xml:"system-out,omitempty"`
}

type reason struct {
	Message string `xml:"message,attr"`
}

// JUnit writes the verdicts as JUnit's XML, a test for each figure; an
// INCONCLUSIVE one counts as skipped.
func JUnit(w io.Writer, r *scenarios.Result) error {
	s := suite{Name: "meshlab compare", Time: fmt.Sprintf("%.3f", r.Finished.Sub(r.Started).Seconds()),
		Stamp: r.Started.UTC().Format("2006-01-02T15:04:05")}
	for _, row := range Rows(r.Duets) {
		c := testCase{
			Class: fmt.Sprintf("%s.%s.%s", row.Lab, row.Scenario, cmp.Or(row.Request, row.Scenario)),
			Name:  fmt.Sprintf("%s of %s against %s", row.Metric, row.New, row.Base),
		}
		if row.across { // CI systems take cases of one class and name for one
			c.Name += fmt.Sprintf(": %s (%s)", row.Load(), row.Pods)
		}
		switch row.Verdict {
		case scenarios.Fail:
			s.Failures++
			c.Failure = &reason{withReason(row)}
		case scenarios.Pass:
			c.Out = row.Sentence()
		default:
			s.Skipped++
			c.Skipped = &reason{"inconclusive: " + withReason(row)}
		}
		s.Tests++
		s.Cases = append(s.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func withReason(r Row) string {
	if r.Reason == "" || r.Verdict == scenarios.Pass {
		return r.Sentence()
	}
	return r.Sentence() + "; " + r.Reason
}

// notes are what a reader must know beside the table.
func notes(r *scenarios.Result) []string {
	var all []string
	for _, d := range r.Duets {
		if said := sentence.Faults(d); said != "" {
			all = append(all, said)
		}
		for _, c := range d.Comparisons {
			if c.Reason != "" {
				all = append(all, fmt.Sprintf("%s (%s), %s against %s: %s.", rowOf(d, c).Load(), d.Pods, c.New, c.Base, strings.TrimSuffix(c.Reason, ".")))
			}
		}
	}
	if w := r.Preflight.Warning(); w != "" {
		all = append(all, strings.ToUpper(w[:1])+w[1:]+".")
	}
	if trials, flagged, kinds := disturbed(r.Duets); flagged > 0 {
		var what []string
		for _, k := range slices.Sorted(maps.Keys(kinds)) {
			what = append(what, fmt.Sprintf("%s %d", k, kinds[k]))
		}
		if flagged == 1 {
			all = append(all, fmt.Sprintf("1 of %d trials was disturbed (%s); it counts like the others.", trials, strings.Join(what, ", ")))
		} else {
			all = append(all, fmt.Sprintf("%d of %d trials were disturbed (%s); they count like the others.", flagged, trials, strings.Join(what, ", ")))
		}
	}
	if apart(r.Duets) {
		return append(all, "How often a verdict over two runs is wrong is not known: a calibration is of paired trials.")
	}
	return append(all, Trust(r.Calibration))
}

func ms(v float64) string {
	if v <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", v)
}

func shown(r Row) string {
	if r.Ratio <= 0 {
		return "-"
	}
	return ratio(r.Ratio)
}

func margin(r Row) string {
	if r.Metric == Failures {
		return "-"
	}
	return fmt.Sprintf("%+.0f %%", r.Margin*100)
}

// span is the interval; too few pairs have none.
func span(r Row) string {
	if r.Ratio <= 0 || r.High <= 0 {
		return "-"
	}
	return ratio(r.Low) + " to " + ratio(r.High)
}
