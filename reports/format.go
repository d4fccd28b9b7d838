package reports

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// missing stands where there is nothing to show.
const missing = "–"

// significant prints v with the given number of significant figures and
// without an exponent: 0.034, 1.0, 2.9, 120.
func significant(v float64, figures int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return missing
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

// milliseconds prints a latency with three significant figures.
func milliseconds(ms float64) string { return significant(ms, 3) }

// perSecond prints a rate with three significant figures.
func perSecond(v float64) string {
	s := significant(v, 3)
	if n, err := strconv.Atoi(s); err == nil {
		return grouped(n)
	}
	return s
}

// grouped prints a number, 0 or more, with a narrow space between thousands
// when it has five digits or more.
func grouped(n int) string {
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

// times prints a ratio with two significant figures, and just above 1 with
// three, for 1.02 and 1.08 are not the same.
func times(v float64) string {
	if v >= 0.995 && v < 1.195 {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return significant(v, 2)
}

// String prints a ratio with the range over its attempts.
func (r ratio) String() string {
	if !r.OK {
		return missing
	}
	low, high := times(r.Low), times(r.High)
	if low == high {
		return times(r.Value)
	}
	return fmt.Sprintf("%s (%s–%s)", times(r.Value), low, high)
}

func duration(d time.Duration) string {
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

func bytesText(n uint64) string {
	if n == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return grouped(n) + " " + word + "s"
}

// countText prints a count.
func countText(n uint64) string { return grouped(int(min(n, math.MaxInt64))) }

// rateText prints a rate, 0 or more, with two significant figures and no more
// digits than it needs.
func rateText(v float64) string {
	if v >= 100 {
		return grouped(int(math.Round(v)))
	}
	return significant(v, 2)
}

// sizeText prints a number of bytes, 0 or more, in units of the SI.
func sizeText(n float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	i := 0
	for n >= 999.5 && i < len(units)-1 {
		n /= 1000
		i++
	}
	if i == 0 {
		return rateText(n) + " B"
	}
	return significant(n, 3) + " " + units[i]
}
