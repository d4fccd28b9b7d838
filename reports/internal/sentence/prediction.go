package sentence

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/scenarios"
)

// FewCells is how many cells a prediction rests on at least to go without a
// warning. With 9, a mesh that is in truth as often ahead as behind is named
// right in 7 or more by chance once in 11 times (binomial: 46/512).
const FewCells = 10

// FewRanks is how many cells a sentence needs to speak of their order: four
// are in the same order by chance once in 24 times, five once in 120.
const FewRanks = 5

// Tau prints a rank correlation, with a minus that is one.
func Tau(v float64) string { return strings.Replace(fmt.Sprintf("%.2f", v), "-", "−", 1) }

// Mesh is a mesh in the middle of a sentence.
func Mesh(name string) string {
	switch name {
	case cells.OVS:
		return "the mesh in the switches"
	case cells.Direct:
		return "plain switching"
	}
	return cells.Label(name)
}

// Figure names a figure of ratios in the middle of a sentence, in the plural.
func Figure(name string) string {
	switch name {
	case "avg":
		return "averages"
	case "p50":
		return "medians"
	case "p99":
		return "99th percentiles"
	}
	return name
}

// Prediction says how well the ratios of one environment, from, told those of
// another, to: of the figure and the meshes of f.
func Prediction(from, to string, f scenarios.Finding, p scenarios.Prediction) []string {
	if p.Cells == 0 {
		return nil
	}
	said := fmt.Sprintf("%s, beside %s: of %s and %s, both name the same one as faster in %s", upper(from), to, Mesh(f.New), Mesh(f.Base), share(p.Same, p.Cells))
	if p.Opposite > 0 {
		said += fmt.Sprintf(", and different ones in %d", p.Opposite)
	}
	if p.Open > 0 {
		said += fmt.Sprintf("; in %d an interval reaches over 1 and names neither", p.Open)
	}
	if p.Sides != p.Same {
		said += fmt.Sprintf(". By the ratios themselves, whatever their intervals, it is the same in %s", share(p.Sides, p.Cells))
	}
	said += "." + constant(f, p)
	out := []string{said, fmt.Sprintf("The ratios of %s are off by a factor of %s%s.", Figure(f.Figure), format.Times(p.Median), atMost(p))}
	if !math.IsNaN(p.TauB) && p.Cells >= FewRanks {
		out[1] += fmt.Sprintf(" Kendall's rank correlation of the ratios is %s (τ-b; 1: the same order of cells, 0: none in common, −1: the reverse).", Tau(p.TauB))
	}
	if p.Bounded > 0 {
		out[1] += fmt.Sprintf(" The two are no farther apart than their intervals leave open in %s.", share(p.Within, p.Bounded))
	}
	if p.Cells < FewCells {
		out = append(out, fmt.Sprintf("%s: too few to tell how the next one would come out.", upper(onlyCells(p.Cells))))
	}
	return out
}

// constant says what naming one mesh everywhere would get right.
func constant(f scenarios.Finding, p scenarios.Prediction) string {
	switch p.Favours {
	case 1:
		return fmt.Sprintf(" Whoever names %s everywhere is right in %s.", Mesh(f.Base), share(p.Constant, p.Cells))
	case -1:
		return fmt.Sprintf(" Whoever names %s everywhere is right in %s.", Mesh(f.New), share(p.Constant, p.Cells))
	}
	return ""
}

func atMost(p scenarios.Prediction) string {
	if p.Cells == 1 {
		return ""
	}
	return fmt.Sprintf(" at the median and %s at most (%s)", format.Times(p.Largest), cells.Title(p.LargestAt))
}

func share(n, of int) string {
	switch {
	case n == 0:
		return "no cell"
	case n != of:
		return fmt.Sprintf("%d of %s", n, format.Plural(of, "cell"))
	case n == 1:
		return "the one cell"
	}
	return "all " + format.Plural(of, "cell")
}

func onlyCells(n int) string {
	if n == 1 {
		return "it is one cell"
	}
	return "these are " + format.Plural(n, "cell")
}

// upper begins a sentence.
func upper(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	if size == 0 {
		return s
	}
	return string(unicode.ToUpper(first)) + s[size:]
}
