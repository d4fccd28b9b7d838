package print

import (
	"fmt"
	"strings"
)

// latin are letters beyond Latin-1 that T1 fonts have (LaTeX's t1enc.dfu).
const latin = "ĂăĄąĆćČčĎďĐĘęĚěĞğİıŁłŃńŇňŐőŒœŔŕŘřŚśŞşŠšŢţŤťŮůŰűŸŹźŻżŽž"

// escape returns LaTeX source for text that may hold anything: the special
// characters of TeX (D. E. Knuth, The TeXbook, chapter 7) are set as they are,
// control characters become spaces, and what pdflatex with UTF-8 input and T1
// fonts has no letter for is shown by its number.
func escape(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch source := macro(r); {
		case source != "":
			b.WriteString(source)
		case r < ' ', r >= 0x7F && r < 0xA0:
			b.WriteByte(' ')
		case r < 0x7F, r >= 0xC0 && r <= 0xFF, strings.ContainsRune(latin, r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "{[}U+%04X{]}", r)
		}
	}
	return b.String()
}

// macro returns the source of a character that cannot stand for itself, and
// "" for others. Ligatures of - ' ` , < > are kept from forming.
func macro(r rune) string {
	switch r {
	case '\\':
		return `\textbackslash{}`
	case '{', '}', '$', '&', '#', '%', '_':
		return `\` + string(r)
	case '^':
		return `\textasciicircum{}`
	case '~':
		return `\textasciitilde{}`
	case '<':
		return `\textless{}`
	case '>':
		return `\textgreater{}`
	case '|':
		return `\textbar{}`
	case '"':
		return `\textquotedbl{}`
	case '\'':
		return `'{}`
	case '`':
		return "`{}"
	case '-':
		return `-{}`
	case '[', ']': // an optional argument after \\ or \item
		return `{` + string(r) + `}`
	case '*': // \\*
		return `{*}`
	case '\u00A0':
		return `~`
	case '\u202F', '\u2009':
		return `\,`
	case '–':
		return `\textendash{}`
	case '—':
		return `\textemdash{}`
	case '“':
		return `\textquotedblleft{}`
	case '”':
		return `\textquotedblright{}`
	case '‘':
		return `\textquoteleft{}`
	case '’':
		return `\textquoteright{}`
	case '…':
		return `\ldots{}`
	case '×':
		return `\ensuremath{\times}`
	case '÷':
		return `\ensuremath{\div}`
	case '±':
		return `\ensuremath{\pm}`
	case '≤':
		return `\ensuremath{\leq}`
	case '≥':
		return `\ensuremath{\geq}`
	case '→':
		return `\ensuremath{\rightarrow}`
	case '−':
		return `\ensuremath{-}`
	case 'τ':
		return `\ensuremath{\tau}`
	case '†':
		return `\ensuremath{\dagger}`
	case 'α':
		return `\ensuremath{\alpha}`
	case 'µ', 'μ':
		return `\ensuremath{\mu}`
	case '°':
		return `\ensuremath{^{\circ}}`
	case '·':
		return `\ensuremath{\cdot}`
	case '§':
		return `\S{}`
	case '©':
		return `\copyright{}`
	}
	return ""
}
