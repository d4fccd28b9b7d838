package print

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	"meshlab.dev/meshlab/reports"
	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
)

var out = flag.String("out", "", "folder that the documents are written to, to be looked at")

// whole is a paper of everything, made once: it takes a while.
var whole = sync.OnceValues(func() ([]byte, error) {
	p, err := newPaper(results(), Options{Title: title, Author: author})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = p.pdf(&b, false)
	return b.Bytes(), err
})

const (
	title  = "Title of (my) \\ thesis"
	author = "N. Ń."
)

func results(options ...sample.Option) []*scenarios.Result {
	return []*scenarios.Result{sample.Result(options...)}
}

// uncompressed returns the paper as a PDF whose content can be searched.
func uncompressed(t *testing.T, rs []*scenarios.Result) []byte {
	t.Helper()
	p, err := newPaper(rs, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.pdf(&b, false); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var shown = regexp.MustCompile(`(?s)Td \(((?:[^()\\]|\\.)*)\) Tj`)

// text returns what an uncompressed PDF shows: strings of UTF-16, big-endian.
func text(pdf []byte) string {
	var all strings.Builder
	for _, m := range shown.FindAllSubmatch(pdf, -1) {
		raw := regexp.MustCompile(`(?s)\\(.)`).ReplaceAllFunc(m[1], func(b []byte) []byte {
			if b[1] == 'r' {
				return []byte{'\r'}
			}
			return b[1:]
		})
		var units []uint16
		for i := 0; i+1 < len(raw); i += 2 {
			units = append(units, uint16(raw[i])<<8|uint16(raw[i+1]))
		}
		all.WriteString(string(utf16.Decode(units)) + "\n")
	}
	return strings.ReplaceAll(all.String(), "\u00A0", " ")
}

func TestPDF(t *testing.T) {
	var b bytes.Buffer
	rs := results(sample.Small)
	for range 5 { // what goes by the order of a map is right now and then
		var again bytes.Buffer
		if err := PDF(&again, rs, Options{}); err != nil {
			t.Fatal(err)
		}
		if b.Len() > 0 && !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Fatal("the same results gave other bytes")
		}
		b = again
	}
	if !bytes.HasPrefix(b.Bytes(), []byte("%PDF-1.")) || !bytes.HasSuffix(bytes.TrimSpace(b.Bytes()), []byte("%%EOF")) {
		t.Error("not a whole PDF")
	}
	if *out != "" {
		b.Reset()
		if err := PDF(&b, results(), Options{Author: author}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*out, "report.pdf"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPDFSays(t *testing.T) {
	pdf, err := whole()
	if err != nil {
		t.Fatal(err)
	}
	pages := len(regexp.MustCompile(`/Type /Page\n`).FindAll(pdf, -1))
	if pages < 10 || pages > 40 {
		t.Errorf("%d pages", pages)
	}
	for _, date := range []string{"/CreationDate (D:20260301", "/ModDate (D:20260301"} {
		if !bytes.Contains(pdf, []byte(date)) {
			t.Errorf("the PDF lacks %s", date)
		}
	}
	says := text(pdf)
	for _, want := range []string{
		title, author, "1 March 2026", "1 Findings", "2 Method", "For a thesis:", "Hodges-Lehmann", "References", "[6]", "Tene",
		"Figure 1: Ratios of response times with 95 % intervals", "Table 1: ", "INCONCLUSIVE", "Example CPU",
		"Response times in milliseconds, later attempts pooled", "meshlab bench hashicups",
		"1580", // the thesis' average of API, SN, 200
	} {
		if !strings.Contains(says, want) {
			t.Errorf("the PDF lacks %q", want)
		}
	}
	for kind, numbers := range map[string]*regexp.Regexp{"Figure": regexp.MustCompile(`(?m)^Figure (\d+): `), "Table": regexp.MustCompile(`(?m)^Table (\d+): `)} {
		for i, m := range numbers.FindAllStringSubmatch(says, -1) {
			if want := i + 1; m[1] != strconv.Itoa(want) {
				t.Errorf("%s %s where %d is due", kind, m[1], want)
			}
		}
	}
	if n := strings.Count(says, "\n"+strconv.Itoa(pages)+"\n"); n == 0 {
		t.Error("the last page has no number")
	}
}

// TestNothingOutside holds all text and lines of the paper to the page.
func TestNothingOutside(t *testing.T) {
	pdf, err := whole()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(-?[0-9.]+) (-?[0-9.]+) (m|l|Td)\b`).FindAllSubmatch(pdf, -1) {
		x, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		y, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			t.Fatal(err)
		}
		if x < margin-2 || x > pageWidth-margin+2 || y < margin-8.01 || y > pageHeight-margin+2 { // 8 points below is the page's number
			t.Fatalf("%s lies outside of the margins", m[0])
		}
	}
}

func TestSmallPapers(t *testing.T) {
	for name, tt := range map[string]struct {
		rs   []*scenarios.Result
		want string
	}{
		"nothing":      {results(sample.Nothing), "Environment"},
		"only errors":  {results(sample.Small, sample.OnlyErrors), "error"},
		"one mesh":     {results(sample.Small, sample.OneMesh), "Environment"},
		"uncalibrated": {results(sample.Small, sample.Uncalibrated, sample.OnlyDuets), "not calibrated"},
		"only cells":   {results(sample.Small, sample.OnlyCells), "Closed loop"},
		"two runs":     {append(results(sample.Small), results(sample.Small)...), "Run 2"},
	} {
		t.Run(name, func(t *testing.T) {
			if says := text(uncompressed(t, tt.rs)); !strings.Contains(says, tt.want) {
				t.Errorf("the PDF lacks %q", tt.want)
			}
			if _, err := LaTeX(t.TempDir(), tt.rs, Options{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	bad := results(sample.Small)
	bad[0].Cells[0].Attempts[0].HDR = "xx"
	for name, rs := range map[string][]*scenarios.Result{"no results": nil, "a damaged histogram": bad} {
		var b bytes.Buffer
		if err := PDF(&b, rs, Options{}); err == nil || b.Len() > 0 {
			t.Errorf("%s: PDF of %d bytes, %v", name, b.Len(), err)
		}
		dir := t.TempDir()
		if files, err := LaTeX(dir, rs, Options{}); err == nil || files != nil {
			t.Errorf("%s: LaTeX gave %v, %v", name, files, err)
		}
	}
	if err := PDF(full{}, results(sample.Small, sample.OnlyCells), Options{}); err == nil || !errors.Is(err, os.ErrInvalid) {
		t.Errorf("a full disk: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LaTeX(file, results(sample.Small, sample.OnlyCells), Options{}); err == nil {
		t.Error("a file was taken for a folder")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, os.ErrInvalid }

func TestLaTeX(t *testing.T) {
	dir := t.TempDir()
	if *out != "" {
		dir = filepath.Join(*out, "latex")
	}
	r := sample.Result()
	r.Environment.CPU = `50% {\input{/etc/passwd}} _a_ #1 ~^ $x$ & "q" C:\ <é> 漢`
	files, err := LaTeX(dir, []*scenarios.Result{r}, Options{Title: `100 % of {it}`, Author: "N. N."})
	if err != nil {
		t.Fatal(err)
	}
	tex, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`\title{100 \% of \{it\}}`, `\begin{document}`, `\end{document}`, `\section{Method}`, `\cite{meshlab2}`, `\bibitem{meshlab6}`, `\caption{`} {
		if !bytes.Contains(tex, []byte(want)) {
			t.Errorf("report.tex lacks %s", want)
		}
	}
	if bytes.Contains(tex, []byte(`\input{/etc`)) {
		t.Error("what a result says became a command")
	}
	// Each file that is named is there, and each that is there is named.
	for _, m := range regexp.MustCompile(`\\(?:fitted|includegraphics\[[^]]*\]){([^}]*)}`).FindAllSubmatch(tex, -1) {
		name := string(m[1])
		if filepath.Ext(name) == "" {
			name += ".tex"
		}
		if i := slices.Index(files, filepath.Join(dir, name)); i < 0 {
			t.Errorf("%s is included and was not written", name)
		} else {
			files = slices.Delete(files, i, i+1)
		}
	}
	for _, f := range files[1:] {
		t.Errorf("%s is not included", f)
	}
	balanced(t, string(tex))
}

// balanced fails when braces do not close.
func balanced(t *testing.T, tex string) {
	t.Helper()
	depth := 0
	for i := 0; i < len(tex); i++ {
		switch tex[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth--; depth < 0 {
				t.Fatalf("a brace closes that did not open: %q", tex[max(0, i-40):i+1])
			}
		}
	}
	if depth != 0 {
		t.Errorf("%d braces are not closed", depth)
	}
}

func TestTabular(t *testing.T) {
	entry := func(s string) reports.Entry { return reports.Entry{Text: s, Span: 1} }
	table := &reports.Table{Rows: [][]reports.Entry{
		{{Text: "a&b", Span: 1, Head: true}, entry("1.5"), entry("–")},
		{{Text: "[c]", Span: 1, Head: true}, {Text: "2 errors", Span: 2, Class: "error"}},
		{{Text: "漢", Span: 1, Head: true}, entry("2"), entry("3")}, // [U+... would be an argument of \\
	}}
	table.Columns = append(table.Columns, struct{ Group, Name string }{"", "type"}, struct{ Group, Name string }{"g", "x of 100 %"}, struct{ Group, Name string }{"g", "y"})
	want := `\begin{tabular}{@{}lrr@{}}
\toprule
 & \multicolumn{2}{c}{g} \\
\cmidrule(lr){2-3}
type & \shortstack[r]{x of\\100 \%} & y \\
\midrule
a\&b & 1.5 & \textendash{} \\
{[}c{]} & \multicolumn{2}{l}{\textbf{2 errors}} \\
{[}U+6F22{]} & 2 & 3 \\
\bottomrule
\end{tabular}
`
	if got := tabular(table, wordy(table)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLongTableIsSplit(t *testing.T) {
	table := &reports.Table{Caption: "Long."}
	table.Columns = append(table.Columns, struct{ Group, Name string }{"", "n"})
	for i := range 2*mostRows + 1 {
		table.Rows = append(table.Rows, []reports.Entry{{Text: strconv.Itoa(i), Span: 1}})
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tables"), 0o755); err != nil {
		t.Fatal(err)
	}
	a := article{dir: dir}
	if err := a.table(table); err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, f := range a.files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		rows += len(regexp.MustCompile(`(?m)^\d+ \\\\$`).FindAll(b, -1))
	}
	if len(a.files) != 3 || rows != len(table.Rows) || strings.Count(a.tex.String(), "(continued)") != 2 {
		t.Errorf("%d rows in %v:\n%s", rows, a.files, a.tex.String())
	}
}

// FuzzEscape holds that nothing in a name reaches TeX as anything but text:
// what the escapes leave over has none of its special characters.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{`a_b%c#d&e{f}g\h$i^j~k`, "\\input{x}", "Łódź ÷ × – “q”", "漢字\x00\n\xff", "---''``<<>>", `\\*[1ex]`, "%", ""} {
		f.Add(s)
	}
	known := regexp.MustCompile(`\\(text[a-z]+|ensuremath|ldots|S|copyright|times|div|pm|leq|geq|rightarrow|alpha|mu|circ|cdot)\b(\{\})?|\\[{}$&#%_,]|\{[][*]\}|[-'` + "`" + `]\{\}|\^\{`)
	f.Fuzz(func(t *testing.T, s string) {
		got := escape(s)
		balanced(t, got)
		rest := known.ReplaceAllString(got, "")
		if strings.ContainsAny(rest, "\\%#&$_\n\r\x00") || strings.Contains(rest, "^") && !strings.Contains(s, "°") {
			t.Errorf("%q became %q, with %q left", s, got, rest)
		}
		if len(got) > 24*len(s)+24 {
			t.Errorf("%d bytes became %d", len(s), len(got))
		}
	})
}
