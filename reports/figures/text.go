package figures

import (
	"strings"
	"unicode"

	"golang.org/x/image/font"
	"gonum.org/v1/plot"
	plotfont "gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// textStyle is the style of all text, at a size in points.
func textStyle(size float64) draw.TextStyle {
	return draw.TextStyle{
		Color:   ink,
		Font:    plotfont.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)},
		XAlign:  draw.XLeft,
		YAlign:  draw.YCenter,
		Handler: plot.DefaultTextHandler,
	}
}

func bold(s draw.TextStyle) draw.TextStyle {
	s.Font.Weight = font.WeightBold
	return s
}

// clean makes one line of a name that may hold anything: what no XML may hold
// and no font shows becomes a space.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == 0xFFFE || r == 0xFFFF {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return strings.Join(strings.Fields(s), " ")
}

// fit shortens s with an ellipsis until it is no wider than width.
func fit(sty draw.TextStyle, s string, width vg.Length) string {
	if sty.Width(s) <= width {
		return s
	}
	runes := []rune(s)
	low, high := 0, len(runes)-1
	for low < high {
		mid := (low + high + 1) / 2
		if sty.Width(string(runes[:mid])+"…") <= width {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return strings.TrimRight(string(runes[:low]), " ") + "…"
}

// fitMiddle is fit for names whose end tells them apart: what is left out is
// before the last runes.
func fitMiddle(sty draw.TextStyle, s string, width vg.Length) string {
	const tail = 8
	runes := []rune(s)
	if sty.Width(s) <= width || len(runes) < 2*tail {
		return fit(sty, s, width)
	}
	end := string(runes[len(runes)-tail:])
	return fit(sty, string(runes[:len(runes)-tail]), width-sty.Width(end)) + end
}

// wrap breaks s into at most most lines no wider than width; the last one is
// shortened when there is more.
func wrap(sty draw.TextStyle, s string, width vg.Length, most int) []string {
	var lines []string
	words := strings.Fields(s)
	line := ""
	for i, w := range words {
		longer := strings.TrimLeft(line+" "+w, " ")
		if line == "" || sty.Width(longer) <= width {
			line = longer
			continue
		}
		if len(lines) == most-1 {
			line = strings.Join(append([]string{line}, words[i:]...), " ")
			break
		}
		lines = append(lines, fit(sty, line, width))
		line = w
	}
	return append(lines, fit(sty, line, width))
}
