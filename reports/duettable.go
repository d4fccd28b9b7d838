package reports

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/reports/internal/sentence"
	"meshlab.dev/meshlab/scenarios"
)

// verdict shows a verdict so that it stands out.
func verdict(v scenarios.Verdict) entry {
	if v == "" {
		return text(format.Missing)
	}
	return entry{Text: string(v), Span: 1, Class: strings.ToLower(string(v))}
}

// comparisons is the forest plot in figures.
func (s *section) comparisons() table {
	t := table{
		Caption: "How many times as long as under the second the answers take under the first: Hodges-Lehmann estimate over pairs of trials with its 95 % interval, the one-sided 99 % upper bound that PASS rests on, and the signed-rank test that FAIL rests on, after Holm's correction.",
		Columns: []column{{"", "what"}, {"", "first ÷ second"}, {"", "of"}, {"", "verdict"}, {"", "ratio"}, {"", "95 % interval"},
			{"", "99 % bound"}, {"", "p"}, {"", "pairs"}, {"", "margin"}},
	}
	for _, d := range s.duets {
		for _, c := range d.Comparisons {
			for _, m := range c.Metrics {
				row := []entry{head(d.title()), head(d.labelOf(c.New) + " ÷ " + d.labelOf(c.Base)), head(m.Metric), verdict(m.Verdict)}
				switch {
				case sentence.Known(m):
					v, low, high := sentence.Ratio(m.Ratio, m.Low, m.High)
					row = append(row, text(v), text(low+"–"+high), text(positive(m.Bound)), text(probability(m.PAdjusted)))
				case sentence.HasRatio(m):
					v, _, _ := sentence.Ratio(m.Ratio, m.Ratio, m.Ratio)
					row = append(row, text(v), entry{Text: sentence.FewPairs, Span: 2}, text(probability(m.PAdjusted)))
				default:
					row = append(row, entry{Text: "no pair has latencies on both sides", Span: 4})
				}
				t.Rows = append(t.Rows, append(row, text(format.Grouped(m.Pairs)), text(sentence.Percent(m.Margin))))
			}
		}
	}
	return t
}

func positive(v float64) string {
	if !(v > 0) || math.IsInf(v, 1) {
		return format.Missing
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

func probability(p float64) string {
	switch {
	case math.IsNaN(p) || p < 0 || p > 1:
		return format.Missing
	case p < 0.0001:
		return "< 0.0001"
	case p > 0.9999:
		return "1"
	}
	return format.Significant(p, 2)
}

// Percentiles has a line for each variant.
func (d *duet) Percentiles() table {
	t := table{
		Caption: "Response times in milliseconds over all trials, from the intended start; in the last columns the service times, from the real one.",
		Columns: []column{{"", "variant"}, {"", "requests"}, {"", "failed"}, {"latency", "minimum"}, {"latency", "p50"}, {"latency", "p90"}, {"latency", "p99"}, {"latency", "p99.9"}, {"latency", "maximum"},
			{"service", "p50"}, {"service", "p99"}},
	}
	for _, s := range d.sides {
		row := []entry{head(s.label), text(format.Grouped(s.requests)), errorCount(s.errors)}
		if s.latency == nil {
			t.Rows = append(t.Rows, append(row, entry{Text: "no answer was right, so there is no latency", Span: 8}))
			continue
		}
		for _, v := range []float64{s.min, s.at(50), s.at(90), s.at(99), s.at(99.9), s.max} {
			row = append(row, text(format.Milliseconds(v)))
		}
		if s.service == nil {
			row = append(row, text(format.Missing), text(format.Missing))
		} else {
			row = append(row, text(format.Milliseconds(float64(s.service.ValueAtPercentile(50))/1000)), text(format.Milliseconds(float64(s.service.ValueAtPercentile(99))/1000)))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func errorCount(n int) entry {
	if n > 0 {
		return failure(format.Grouped(n), 1)
	}
	return text("0")
}

// TrialTable has a line for each trial, the disturbed ones marked.
func (d *duet) TrialTable() table {
	t := table{
		Caption: "The trials in the order they ran. Latencies and lateness in milliseconds; steal and busy are shares of the machine's processor time.",
		Columns: []column{{"", "trial"}},
	}
	if sentence.OwnLabs(d.Duet) {
		t.Caption += " Each had labs of its own."
	}
	for _, s := range d.sides {
		t.Columns = append(t.Columns, column{s.label, "p50"}, column{s.label, "p99"}, column{s.label, "failed"})
	}
	t.Columns = append(t.Columns, column{"generator", "late, p99"}, column{"generator", "queued"}, column{"", "steal"}, column{"", "busy"}, column{"", "flags"})
	for i, tr := range d.Trials {
		row := []entry{head(strconv.Itoa(i + 1))}
		for j := range d.sides {
			if j >= len(tr.Sides) || tr.Sides[j].Requests == 0 {
				row = append(row, entry{Text: "not in it", Span: 3})
				continue
			}
			o := tr.Sides[j]
			if o.Latency.HDR == "" {
				row = append(row, text(format.Missing), text(format.Missing), errorCount(o.Errors))
				continue
			}
			row = append(row, text(format.Milliseconds(o.Latency.P50)), text(format.Milliseconds(o.Latency.P99)), errorCount(o.Errors))
		}
		late := format.Missing
		if tr.Generator.Lateness.HDR != "" {
			late = format.Milliseconds(tr.Generator.Lateness.P99)
		}
		t.Rows = append(t.Rows, append(row, text(late), text(format.Grouped(tr.Generator.Queued)), text(sentence.Percent(tr.Steal)), text(sentence.Percent(tr.Busy)), flagEntry(tr.Flags)))
	}
	return t
}

func flagEntry(flags []scenarios.Flag) entry {
	if len(flags) == 0 {
		return text("")
	}
	var kinds []string
	for _, f := range flags {
		kinds = append(kinds, string(f.Kind))
	}
	return entry{Text: strings.Join(kinds, ", "), Span: 1, Class: "flag"}
}

// flags lists all disturbed trials of the run.
func (s *section) flags() table {
	t := table{
		Caption: "Disturbed trials. They count like any other.",
		Columns: []column{{"", "what"}, {"", "trial"}, {"", "flag"}, {"", "what happened"}},
	}
	for _, d := range s.duets {
		for i, tr := range d.Trials {
			for _, f := range tr.Flags {
				t.Rows = append(t.Rows, []entry{head(d.title()), head(strconv.Itoa(i + 1)), head(string(f.Kind)), text(f.Detail)})
			}
		}
	}
	return t
}

// flagSummary says how many trials were disturbed.
func (s *section) flagSummary() string {
	flagged, all := 0, 0
	for _, d := range s.duets {
		for _, t := range d.Trials {
			all++
			if len(t.Flags) > 0 {
				flagged++
			}
		}
	}
	switch {
	case all == 1 && flagged == 0:
		return "The one trial was not disturbed."
	case all == 1:
		return "The one trial was disturbed. It counts all the same."
	case flagged == 0:
		return fmt.Sprintf("None of the %s was disturbed.", format.Plural(all, "trial"))
	}
	were := "were"
	if flagged == 1 {
		were = "was"
	}
	return fmt.Sprintf("%s of %s %s disturbed. None was dropped.", format.Grouped(flagged), format.Plural(all, "trial"), were)
}

// CostTable has a line for each variant.
func (d *duet) CostTable() table {
	t := table{
		Caption: "What the parts of each lab used while its requests were answered: processor seconds per 100,000 requests, idle work included, and memory (proportional set size, median over the trials).",
		Columns: []column{{"", "variant"}},
	}
	var parts []string
	for _, s := range d.sides {
		for _, c := range s.costs {
			if !slices.Contains(parts, c.part) {
				parts = append(parts, c.part)
			}
		}
	}
	for _, group := range []string{"processor, seconds", "memory"} {
		for _, p := range append(slices.Clone(parts), "together") {
			t.Columns = append(t.Columns, column{group, p})
		}
	}
	for _, s := range d.sides {
		row := []entry{head(s.label)}
		if len(s.costs) == 0 {
			t.Rows = append(t.Rows, append(row, entry{Text: "not measured", Span: 2*len(parts) + 2}))
			continue
		}
		var memory []entry
		for _, p := range parts {
			i := slices.IndexFunc(s.costs, func(c partCost) bool { return c.part == p })
			if i < 0 {
				row, memory = append(row, text(format.Missing)), append(memory, text(format.Missing))
				continue
			}
			row = append(row, text(format.Significant(s.costs[i].cpu, 3)))
			memory = append(memory, text(format.Size(float64(s.costs[i].memory))))
		}
		row = append(row, text(format.Significant(s.cpu, 3)))
		t.Rows = append(t.Rows, append(append(row, memory...), text(format.Size(float64(s.memory)))))
	}
	return t
}

// CostSummary sets the last variant's parts beside the first one's.
func (d *duet) CostSummary() string {
	base := d.sides[0]
	if base.cpu <= 0 {
		return ""
	}
	var parts []string
	for _, s := range d.sides[1:] {
		if s.cpu > 0 && base.memory > 0 && s.memory > 0 {
			parts = append(parts, fmt.Sprintf("%s %s times the processor time and %s times the memory", s.label, format.Times(s.cpu/base.cpu), format.Times(float64(s.memory)/float64(base.memory))))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("Against %s: %s, services included.", base.label, strings.Join(parts, "; "))
}
