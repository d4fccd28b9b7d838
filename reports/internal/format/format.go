// Package format prints figures for people, the same in every kind of report.
package format

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Missing stands where there is nothing to show.
const Missing = "–"

// Significant prints v with the given number of significant figures and
// without an exponent: 0.034, 1.0, 2.9, 120.
func Significant(v float64, figures int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Missing
	}
	if v == 0 {
		return "0"
	}
	scale := math.Pow10(figures - 1 - int(math.Floor(math.Log10(math.Abs(v)))))
	rounded := math.Round(v*scale) / scale
	// Rounding may have added a digit before the point: 9.96 to 10.
	decimals := figures - 1 - int(math.Floor(math.Log10(math.Abs(rounded))+1e-12))
	return strconv.FormatFloat(rounded, 'f', max(decimals, 0), 64)
}

// Milliseconds prints a latency with three significant figures.
func Milliseconds(ms float64) string { return Significant(ms, 3) }

// PerSecond prints a rate with three significant figures.
func PerSecond(v float64) string {
	s := Significant(v, 3)
	if n, err := strconv.Atoi(s); err == nil {
		return Grouped(n)
	}
	return s
}

// Grouped prints a number, 0 or more, with a narrow space between thousands
// when it has five digits or more.
func Grouped(n int) string {
	s := strconv.Itoa(n)
	if len(s) < 5 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteRune('\u202f')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Times prints a ratio with two significant figures, and just above 1 with
// three, for 1.02 and 1.08 are not the same.
func Times(v float64) string {
	if v >= 0.995 && v < 1.195 {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return Significant(v, 2)
}

// TimesRange prints a ratio with its range, "1.16 (1.09–1.20)", by TimesAlike;
// when both ends print the same, the ratio alone.
func TimesRange(v, low, high float64) string {
	if Times(low) == Times(high) {
		return Times(v)
	}
	s := TimesAlike(v, low, high)
	return fmt.Sprintf("%s (%s–%s)", s[0], s[1], s[2])
}

// TimesAlike prints ratios that stand side by side: those between a tenth and
// ten with as many decimals as Times gives the one of them that has most.
func TimesAlike(ratios ...float64) []string {
	alike := func(v float64) bool { return v >= 0.1 && v < 9.95 }
	decimals := 0
	for _, r := range ratios {
		if _, after, _ := strings.Cut(Times(r), "."); alike(r) {
			decimals = max(decimals, len(after))
		}
	}
	printed := make([]string, len(ratios))
	for i, r := range ratios {
		if printed[i] = Times(r); alike(r) {
			printed[i] = strconv.FormatFloat(r, 'f', decimals, 64)
		}
	}
	return printed
}

// Duration prints hours and minutes, or minutes and seconds.
func Duration(d time.Duration) string {
	d = d.Round(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case h > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case m > 0:
		return fmt.Sprintf("%d min %d s", m, s)
	}
	return fmt.Sprintf("%d s", s)
}

// Bytes prints a size of memory in GiB; 0 is unknown.
func Bytes(n uint64) string {
	if n == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// Plural prints a count with its word.
func Plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return Grouped(n) + " " + word + "s"
}

// Count prints a count.
func Count(n uint64) string { return Grouped(int(min(n, math.MaxInt64))) }

// Rate prints a rate, 0 or more, with two significant figures and no more
// digits than it needs.
func Rate(v float64) string {
	if v >= 100 {
		return Grouped(int(math.Round(v)))
	}
	return Significant(v, 2)
}

// Size prints a number of bytes, 0 or more, in units of the SI.
func Size(n float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	i := 0
	for n >= 999.5 && i < len(units)-1 {
		n /= 1000
		i++
	}
	if i == 0 {
		return Rate(n) + " B"
	}
	return Significant(n, 3) + " " + units[i]
}
