// Package sentence says in plain words what paired trials found and how sure
// that is: the same words on the page, in Markdown and in print. It decides
// nothing; decisions are in the document.
package sentence

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/reports/internal/thesis"
	"meshlab.dev/meshlab/scenarios"
)

// usualScenario is the scenario that is not worth naming.
const usualScenario = "open"

// Request returns what a request is called: as in the thesis when it is one
// of the thesis', else as in the lab file.
func Request(name string) string { return cmp.Or(thesis.Request(name), name) }

// Duet names what was measured: "Frontend, several nodes".
func Duet(d scenarios.Duet) string {
	name := Request(d.Request)
	switch {
	case name == "":
		name = cmp.Or(d.Scenario, "The mix")
	case d.Scenario != "" && d.Scenario != usualScenario:
		name += " (scenario " + d.Scenario + ")"
	}
	return name + ", " + cells.PodsText(d.Pods)
}

// Variant returns what a variant is called: its mesh, or its own name when it
// has one.
func Variant(v scenarios.Variant) string {
	if v.Name == "" || v.Name == v.Mesh {
		return cells.Label(v.Mesh)
	}
	return v.Name
}

// Find returns the variant of that name; one that a duet does not list has a
// name and nothing else.
func Find(d scenarios.Duet, name string) scenarios.Variant {
	if i := slices.IndexFunc(d.Variants, func(v scenarios.Variant) bool { return v.Name == name }); i >= 0 {
		return d.Variants[i]
	}
	return scenarios.Variant{Name: name}
}

// with is a variant in the middle of a sentence.
func with(v scenarios.Variant) string {
	switch name := Variant(v); name {
	case cells.Label(cells.OVS):
		return "with the mesh in the switches"
	case cells.Label(cells.Direct):
		return "with plain switching"
	case cells.Label(cells.Connect):
		return "under Consul Connect"
	default:
		return "with " + name
	}
}

// Metric names a metric in the middle of a sentence.
func Metric(name string) string {
	switch name {
	case "p50":
		return "the median answer"
	case "p99":
		return "the 99th percentile"
	}
	return name
}

// Known tells whether a decision has a ratio and an interval to show.
func Known(m scenarios.MetricDecision) bool { return HasRatio(m) && shown(m.Low) && shown(m.High) }

// HasRatio tells whether a decision has a ratio to show. Of one or two pairs it has no
// interval.
func HasRatio(m scenarios.MetricDecision) bool { return shown(m.Ratio) }

func shown(v float64) bool { return v > 0 && !math.IsInf(v, 1) }

// FewPairs says why a ratio has no interval.
const FewPairs = "too few pairs for an interval"

// Ratio prints a ratio and the ends of its interval with the same number of
// decimals, two or as many more as it takes to tell them apart, at most four.
func Ratio(v, low, high float64) (value, lower, upper string) {
	decimals := 2
	for width := high - low; decimals < 4 && width > 0 && width < 2*math.Pow10(-decimals); {
		decimals++
	}
	if low >= 10 {
		decimals = 1
	}
	f := func(x float64) string { return strconv.FormatFloat(x, 'f', decimals, 64) }
	return f(v), f(low), f(high)
}

// Comparison says what one variant is against another, with intervals.
func Comparison(d scenarios.Duet, c scenarios.Comparison) string {
	fresh, base := with(Find(d, c.New)), with(Find(d, c.Base))
	var known []scenarios.MetricDecision
	for _, m := range c.Metrics {
		if HasRatio(m) {
			known = append(known, m)
		}
	}
	if len(known) == 0 {
		return fmt.Sprintf("%s: what the answers take %s cannot be set against what they take %s, for no pair of trials has latencies on both sides.", Duet(d), fresh, base)
	}
	var b strings.Builder
	for i, m := range known {
		v, span := spanOf(m)
		if i == 0 {
			if Known(m) {
				span = "95\u00a0% interval " + span
			}
			fmt.Fprintf(&b, "%s: %s %s takes %s times as long as %s (%s, %s)", Duet(d), fresh, Metric(m.Metric), v, base, span, format.Plural(m.Pairs, "pair"))
			continue
		}
		fmt.Fprintf(&b, "; %s %s times (%s", Metric(m.Metric), v, span)
		if m.Pairs != known[0].Pairs {
			fmt.Fprintf(&b, ", %s", format.Plural(m.Pairs, "pair"))
		}
		b.WriteString(")")
	}
	return b.String() + "."
}

// spanOf prints a ratio, and its interval or why it has none.
func spanOf(m scenarios.MetricDecision) (ratio, span string) {
	if !Known(m) {
		ratio, _, _ = Ratio(m.Ratio, m.Ratio, m.Ratio)
		return ratio, FewPairs
	}
	ratio, low, high := Ratio(m.Ratio, m.Low, m.High)
	return ratio, low + " to " + high
}

// Percent prints a share as a percentage with two significant figures.
func Percent(share float64) string {
	s := format.Significant(100*share, 2)
	if strings.Contains(s, ".") {
		s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	return s + "\u00a0%"
}

// Arrivals names them in the middle of a sentence.
func Arrivals(a scenarios.Arrivals) string {
	if a == scenarios.Poisson {
		return "Poisson" // a name
	}
	return cmp.Or(string(a), "unknown")
}

// Verdict says what the verdict of a comparison means, and what else led to
// it.
func Verdict(c scenarios.Comparison) string {
	reasons := []string{c.Reason}
	for _, m := range c.Metrics {
		if m.Reason != "" {
			reasons = append(reasons, m.Metric+": "+m.Reason)
		}
	}
	text := meaning(c)
	for _, r := range reasons {
		if r = strings.TrimRight(r, ". "); r != "" {
			first, size := utf8.DecodeRuneInString(r)
			text += " " + string(unicode.ToUpper(first)) + r[size:] + "."
		}
	}
	return text
}

func meaning(c scenarios.Comparison) string {
	of := func(v scenarios.Verdict) (metrics, margins string) {
		var names, limits []string
		for _, m := range c.Metrics {
			if m.Verdict == v {
				names = append(names, m.Metric)
				limits = append(limits, fmt.Sprintf("%s at %s", Percent(m.Margin), m.Metric))
			}
		}
		return and(names), and(limits)
	}
	switch c.Verdict {
	case scenarios.Pass:
		_, margins := of(scenarios.Pass)
		if margins == "" {
			return "It is not slower."
		}
		text := fmt.Sprintf("It is not slower by the margin (%s) or more.", margins)
		if !slices.ContainsFunc(c.Metrics, func(m scenarios.MetricDecision) bool { return !Known(m) || m.High >= 1 }) {
			text = strings.TrimSuffix(text, ".") + "; it is faster, for the intervals lie below 1."
		}
		return text
	case scenarios.Fail:
		metrics, margins := of(scenarios.Fail)
		if metrics == "" {
			return "More of its requests fail."
		}
		return fmt.Sprintf("It is slower by more than the margin (%s).", margins)
	}
	metrics, margins := of(scenarios.Inconclusive)
	if metrics == "" {
		return "The trials do not tell."
	}
	return fmt.Sprintf("The trials do not tell whether it is slower by the margin (%s) or more: this is no proof that it is not.", margins)
}

// and joins words as in a sentence.
func and(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}
