package sentence

import (
	"fmt"
	"slices"
	"strings"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/scenarios"
)

// Share prints k of n with a percentage, and why there is none when n is 0.
func Share(k, n int) string {
	if n <= 0 || k < 0 || k > n {
		return "unknown"
	}
	return fmt.Sprintf("%d of %s (%s)", k, format.Grouped(n), Percent(float64(k)/float64(n)))
}

// Metrics returns the metrics that a calibration counts, in the order of
// people: p50 before p99.
func Metrics(counts ...map[string]int) []string {
	var names []string
	for _, c := range counts {
		for name := range c {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Calibrated tells whether the document holds a calibration of the machine
// that it was measured on.
func Calibrated(r *scenarios.Result) bool {
	return r.Calibration != nil && r.Calibration.Verdicts > 0 && r.Calibration.Fingerprint == r.Environment.Fingerprint
}

// Calibration says how sure verdicts of this machine are: how often they are
// false alarms and how small a slowdown they find, or that nobody knows. The
// first sentence stands alone.
func Calibration(r *scenarios.Result) []string {
	c := r.Calibration
	if c == nil || c.Verdicts <= 0 {
		return []string{
			"This machine is not calibrated: how often its verdicts are false alarms, and how small a slowdown they find, is unknown.",
			"“meshlab calibrate” measures both: it compares a mesh with itself again and again, and with itself and a delay added on purpose.",
		}
	}
	var out []string
	if c.Fingerprint != r.Environment.Fingerprint {
		out = append(out, "The calibration is that of another machine or of other software than this run's, so it says little about these verdicts; “meshlab calibrate” makes a new one.")
	}
	var alarms []string
	for _, m := range Metrics(c.FalseFails) {
		alarms = append(alarms, fmt.Sprintf("%s %s", m, Share(c.FalseFails[m], c.Verdicts)))
	}
	if len(alarms) > 0 {
		out = append(out, fmt.Sprintf("False alarms when a mesh was compared with itself, in verdicts drawn from %s of labs: %s.",
			format.Plural(c.LabStarts, "pair"), strings.Join(alarms, "; ")))
	}
	if c.Smallest > 0 {
		out = append(out, fmt.Sprintf("The smallest slowdown of the median that was found in 95\u00a0%% of verdicts or more is %s; a smaller one may go unseen.", Percent(c.Smallest)))
	} else {
		out = append(out, "No delay that was added on purpose was found in 95\u00a0% of verdicts or more: a PASS says little here.")
	}
	var undecided []string
	for _, m := range Metrics(c.Undecided) {
		undecided = append(undecided, fmt.Sprintf("%s %d", m, c.Undecided[m]))
	}
	text := fmt.Sprintf("Calibrated on %s by %s with %sthe lab %s under %s, scenario %s, %s requests per second and side",
		c.Made.UTC().Format("2 January 2006"), cmpOr(c.Meshlab, "meshlab"), of(c.Request), c.Lab, inline(c.Mesh), c.Scenario, format.Rate(c.Load.Rate))
	text += fmt.Sprintf("; %s pairs per verdict on average", format.Significant(c.Pairs, 3))
	if len(undecided) > 0 {
		text += fmt.Sprintf("; inconclusive of %s: %s", format.Grouped(c.Verdicts), strings.Join(undecided, ", "))
	}
	return append(out, text+".")
}

// of is a request before its lab; nothing for a mix.
func of(request string) string {
	if request == "" {
		return ""
	}
	return "the request " + request + " of "
}

// inline is a mesh in the middle of a sentence.
func inline(mesh string) string {
	switch mesh {
	case cells.OVS:
		return "the mesh in the switches"
	case cells.Direct:
		return "plain switching"
	}
	return cells.Label(mesh)
}

func cmpOr(a, b string) string {
	if a != "" {
		return "meshlab " + a
	}
	return b
}
