package sentence

import (
	"fmt"
	"slices"
	"strings"

	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/scenarios"
)

// PairedMethod tells how paired trials were made and decided, the sentence
// for a thesis first. It is empty when the document has none.
func PairedMethod(r *scenarios.Result) []string {
	if len(r.Duets) == 0 {
		return nil
	}
	alive, abba, own := false, false, false
	for _, d := range r.Duets {
		alive = alive || d.Method != scenarios.ABBA
		own = own || len(d.Trials) > 1 && OwnLabs(d)
		abba = abba || d.Method == scenarios.ABBA
	}
	out := []string{ForThesis(r)}
	if alive {
		out = append(out, "In a duet the labs of all variants are up at the same time. One generator holds connections that were made in each lab's own client namespace, and shares its requests out in slots: one per variant, in an order drawn anew for every slot. So all variants meet the same moments of the machine.")
	}
	if own {
		out = append(out, "Each pair of trials has labs of its own, which have just come up: two labs of one kind differ by some per cent for as long as they are up, so what they are like by chance is part of what is repeated.")
	}
	if abba {
		out = append(out, "Under ABBA one lab at a time is up. Two neighbouring trials make a pair, and which variant comes first is drawn. The machine can change between the two, so intervals are wider than in a duet.")
	}
	return append(out,
		"The load is an open loop: a request starts when it is due, whatever the answers before it do. Latency counts from the intended start, so a stall counts for every request that it held up. Service time, which counts from the real start, and the lateness of the generator are stated apart.",
		"The unit of all statistics is the pair of trials, never the request. Of each pair the logarithm of the ratio of p50, and of p99, is taken; the estimate is the Hodges-Lehmann one, the interval a bias-corrected and accelerated bootstrap with 10,000 resamples over the pairs.",
		looks(r)+" FAIL when the one-sided signed-rank test gives p ≤ 0.004 after Holm's correction and the ratio is above 1 + margin; PASS when the one-sided 99 % upper bound lies below 1 + margin; else the trials go on, and after the last look the answer is INCONCLUSIVE.",
		"Failed requests have no latency. With more than one in a thousand of a variant there is no PASS; it is a FAIL when the signed-rank test over the pairs says that the new variant fails more often than the base.",
		"Trials that something disturbed are flagged and shown. They count like any other: to drop slow trials is to choose the answer.",
	)
}

// OwnLabs tells whether each trial had labs of its own. Under ABBA neighbours share one.
func OwnLabs(d scenarios.Duet) bool {
	return d.Method != scenarios.ABBA && len(d.Variants) > 0 && d.Variants[0].Starts >= len(d.Trials)
}

// looks says after how many pairs it was decided.
func looks(r *scenarios.Result) string {
	var all []string
	for _, d := range r.Duets {
		rule := d.Rule
		if len(rule.Looks) == 0 {
			rule = scenarios.DefaultRule(d.Method, 0)
		}
		var one []string
		for _, n := range rule.Looks {
			one = append(one, format.Grouped(n))
		}
		if text := and(one); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return fmt.Sprintf("It is decided after %s pairs. At each look:", strings.Join(all, ", or "))
}

// pairsOf is how many pairs the figures of a duet rest on.
func pairsOf(d scenarios.Duet) int {
	most := 0
	for _, c := range d.Comparisons {
		for _, m := range c.Metrics {
			most = max(most, m.Pairs)
		}
	}
	return most
}

// ForThesis is one sentence that says how the figures were made, to be quoted
// beside them.
func ForThesis(r *scenarios.Result) string {
	var pairs, requests []int
	var rates []float64
	var arrivals []string
	order, all := "one variant at a time in randomised ABBA order", ""
	for _, d := range r.Duets {
		if d.Method != scenarios.ABBA {
			order, all = "one to each in random order", " of all together"
		}
		if n := pairsOf(d); n > 0 {
			pairs = append(pairs, n)
		}
		for _, t := range d.Trials {
			for _, s := range t.Sides {
				if s.Requests > 0 {
					requests = append(requests, s.Requests)
				}
			}
		}
		rates = append(rates, d.Load.Rate)
		if a := Arrivals(d.Load.Arrivals); !slices.Contains(arrivals, a) {
			arrivals = append(arrivals, a)
		}
	}
	if len(requests) == 0 {
		requests = []int{0}
	}
	if len(pairs) == 0 {
		pairs = []int{0}
	}
	return fmt.Sprintf("For a thesis: “Response times were compared in paired trials (%s per comparison, %s requests per variant and trial): an open-loop generator sent %s requests per second to each variant, %s, with %s arrivals%s; ratios are Hodges-Lehmann estimates over the pairs with 95 %% BCa bootstrap intervals, and decisions rest on one-sided Wilcoxon signed-rank tests at α = 0.004 with Holm's correction (meshlab %s, seed %d, run %s).”",
		between(pairs, "pair"), betweenNumbers(requests), betweenRates(rates), order, orUnknown(and(arrivals)), all, orUnknown(r.Environment.Meshlab), r.Seed, r.ID)
}

func between(n []int, word string) string {
	low, high := slices.Min(n), slices.Max(n)
	if low == high {
		return format.Plural(low, word)
	}
	return fmt.Sprintf("%s to %s", format.Grouped(low), format.Plural(high, word))
}

func betweenNumbers(n []int) string {
	low, high := slices.Min(n), slices.Max(n)
	if low == high {
		return format.Grouped(low)
	}
	return fmt.Sprintf("%s to %s", format.Grouped(low), format.Grouped(high))
}

func betweenRates(v []float64) string {
	low, high := format.Rate(slices.Min(v)), format.Rate(slices.Max(v))
	if low == high {
		return low
	}
	return low + " to " + high
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
