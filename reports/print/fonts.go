package print

import (
	"strings"
	"unicode"

	"codeberg.org/go-fonts/liberation/liberationmonoregular"
	"codeberg.org/go-fonts/liberation/liberationsansbold"
	"codeberg.org/go-fonts/liberation/liberationsansregular"
	"codeberg.org/go-fonts/liberation/liberationserifbold"
	"codeberg.org/go-fonts/liberation/liberationserifitalic"
	"codeberg.org/go-fonts/liberation/liberationserifregular"
	"codeberg.org/go-pdf/fpdf"
)

// The families that are embedded.
const (
	serif = "serif"
	sans  = "sans"
	mono  = "mono"
)

func addFonts(doc *fpdf.Fpdf) {
	doc.AddUTF8FontFromBytes(serif, "", liberationserifregular.TTF)
	doc.AddUTF8FontFromBytes(serif, "B", liberationserifbold.TTF)
	doc.AddUTF8FontFromBytes(serif, "I", liberationserifitalic.TTF)
	addSans(doc)
	doc.AddUTF8FontFromBytes(mono, "", liberationmonoregular.TTF)
}

// addSans adds what figures need.
func addSans(doc *fpdf.Fpdf) {
	doc.AddUTF8FontFromBytes(sans, "", liberationsansregular.TTF)
	doc.AddUTF8FontFromBytes(sans, "B", liberationsansbold.TTF)
}

// printable replaces what the PDF library cannot set: control characters, and
// what lies outside of Unicode's basic plane. The narrow space between
// thousands is not in the fonts.
func printable(s string) string {
	s = strings.NewReplacer(" %", "\u00A0%", "< ", "<\u00A0").Replace(s) // belong together
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\u202F', r == '\u2009':
			return '\u00A0'
		case unicode.IsControl(r):
			return ' '
		case r > 0xFFFD:
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
