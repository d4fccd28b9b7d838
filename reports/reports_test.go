package reports

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"flag"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
)

var update = flag.Bool("update", false, "rewrite testdata")

// smallResult has two loads that the thesis knows and one cell with errors.
func smallResult(t testing.TB) *scenarios.Result {
	r := fakeResult(t, []string{"frontend", "api"}, []scenarios.Pods{scenarios.SingleNode}, []int{1, 8}, 200, 3)
	fail(t, &r.Cells[5].Attempts[1], 2, "timeout") // Consul Connect, frontend, 8 connections
	fail(t, &r.Cells[5].Attempts[2], 1, "status 503")
	return r
}

func write(t testing.TB, results ...*scenarios.Result) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := Write(t.Context(), dir, results, Options{}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t testing.TB, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMarkdown(t *testing.T) {
	dir := write(t, smallResult(t))
	got := read(t, dir, "report.md")
	golden := filepath.Join("testdata", "report.md")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, golden); !bytes.Equal(got, want) {
		t.Errorf("report.md differs from %s; look at it and run with -update. It begins\n%.600s", golden, got)
	}
	for _, m := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllSubmatch(got, -1) {
		read(t, dir, string(m[1])) // a figure that is linked must be there
	}
}

func TestWriteListsItsFiles(t *testing.T) {
	dir := t.TempDir()
	files, err := Write(t.Context(), dir, []*scenarios.Result{smallResult(t)}, Options{Title: "Our <title>"})
	if err != nil {
		t.Fatal(err)
	}
	// A page, Markdown, a lab and its traffic, and PNG and SVG of the ratios and of 4 figures at 4 points.
	if want := 2 + 2 + 2*(1+4*4); len(files) != want || files[0] != filepath.Join(dir, "index.html") {
		t.Errorf("%d files, the first %s; want %d, the page first", len(files), files[0], want)
	}
	for _, f := range files {
		b := read(t, f)
		switch filepath.Ext(f) {
		case ".png":
			im, err := png.Decode(bytes.NewReader(b))
			if err != nil || im.Bounds().Dx() < 900 {
				t.Errorf("%s: %v, %v", f, im.Bounds(), err)
			}
		case ".svg":
			wellFormed(t, f, b)
			if bytes.Contains(b, []byte("NaN")) || bytes.Contains(b, []byte("Inf")) {
				t.Errorf("%s holds a number that is none", f)
			}
		}
	}
	if !bytes.Contains(read(t, files[0]), []byte("<h1>Our &lt;title&gt;</h1>")) {
		t.Error("the page does not have the title that was given, escaped")
	}
}

func wellFormed(t *testing.T, name string, doc []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(doc))
	d.Entity = xml.HTMLEntity
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Errorf("%s is not well-formed: %v", name, err)
			return
		}
	}
}

func TestPageIsWellFormed(t *testing.T) {
	wellFormed(t, "index.html", read(t, write(t, smallResult(t)), "index.html"))
}

// loads finds what makes a browser ask the network: attributes that name a
// resource, and the same in style sheets.
var loads = regexp.MustCompile(`(?i)(?:\b(?:src|srcset|href|action|data|poster|xlink:href)\s*=\s*["']?\s*(?:https?:|//)|@import|url\(\s*["']?(?:https?:|//)|<(?:link|iframe|object|embed|base)\b)`)

func TestPageLoadsNothing(t *testing.T) {
	for _, bad := range []string{`<img src="https://x/y.png">`, `<link rel=stylesheet>`, `@import "x"`, `url(//x/y)`, `xlink:href='http://x'`} {
		if !loads.MatchString(bad) {
			t.Fatalf("the test would not see %s", bad)
		}
	}
	r := smallResult(t)
	r.Labs[0].SVG = `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><image href="https://example.org/x.png"/></svg>`
	r.Labs[0].Name = `"><script src="https://example.org/x.js"></script>`
	r.Command = []string{"meshlab", `</pre><script>alert(2)</script>`}
	page := string(read(t, write(t, r), "index.html"))
	visible, data := split(t, page)
	if !strings.Contains(visible, `content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"`) {
		t.Error("nothing tells the browser that the page loads nothing")
	}
	if m := loads.FindString(visible); m != "" {
		t.Errorf("the page loads something: %s", m)
	}
	if strings.Contains(visible, "<script") || strings.Contains(data, "<") {
		t.Error("a document's text became markup")
	}
}

// split returns the page without the embedded results, and these as they
// stand in it.
func split(t *testing.T, page string) (visible, data string) {
	t.Helper()
	m := embedded.FindStringSubmatchIndex(page)
	if m == nil {
		t.Fatal("the page embeds no results")
	}
	return page[:m[2]] + page[m[3]:], page[m[2]:m[3]]
}

// TestErrorsAreNeverLatencies writes two reports whose results differ in
// nothing but the latencies of the cells with errors. Whatever they show of
// these latencies would make them differ.
func TestErrorsAreNeverLatencies(t *testing.T) {
	for name, attemptWithError := range map[string]int{"error in the first attempt": 0, "error in a later attempt": 2} {
		t.Run(name, func(t *testing.T) {
			slow, fast := smallResult(t), smallResult(t)
			for _, r := range []*scenarios.Result{slow, fast} {
				fail(t, &r.Cells[2].Attempts[attemptWithError], 1, "connection reset")
				fail(t, &r.Cells[7].Attempts[attemptWithError], 200, "timeout")
			}
			other := fakeResult(t, []string{"api"}, []scenarios.Pods{scenarios.SingleNode}, []int{100}, 200, 3).Cells[0]
			for _, i := range []int{2, 5, 7} {
				for j := range fast.Cells[i].Attempts {
					a, b := &fast.Cells[i].Attempts[j], other.Attempts[j]
					a.Min, a.Avg, a.P50, a.P90, a.P99, a.Max, a.HDR = b.Min, b.Avg, b.P50, b.P90, b.P99, b.Max, b.HDR
					a.Seconds, a.RequestsPerSecond = b.Seconds, b.RequestsPerSecond
				}
			}
			dirA, dirB := write(t, slow), write(t, fast)
			for _, r := range []string{"report.md", "index.html"} {
				a, b := string(read(t, dirA, r)), string(read(t, dirB, r))
				if r == "index.html" {
					a, _ = split(t, a)
					b, _ = split(t, b)
				}
				if a != b {
					t.Errorf("%s shows latencies of a cell with errors", r)
				}
				if !strings.Contains(a, "connection reset ×1") || !strings.Contains(a, "status 503 ×1") || !strings.Contains(a, "3 errors") {
					t.Errorf("%s does not tell the errors", r)
				}
			}
			figures, err := filepath.Glob(filepath.Join(dirA, "figures", "*"))
			if err != nil || len(figures) == 0 {
				t.Fatalf("figures: %v, %v", figures, err)
			}
			for _, f := range figures {
				if !bytes.Equal(read(t, f), read(t, dirB, "figures", filepath.Base(f))) {
					t.Errorf("%s shows latencies of a cell with errors", filepath.Base(f))
				}
			}
		})
	}
}

func TestWriteSeveralRuns(t *testing.T) {
	a, b := smallResult(t), smallResult(t)
	b.ID = "20260302T120000Z-00000001"
	dir := write(t, a, b)
	page := string(read(t, dir, "index.html"))
	for _, want := range []string{">Run " + a.ID + ": namespaces on one machine, 2 cores</h2>", ">Run " + b.ID + ": namespaces on one machine, 2 cores</h2>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	read(t, dir, "figures", "run1-ratios.png")
	read(t, dir, "figures", "run2-ratios.png")
}

func TestWriteWithLittle(t *testing.T) {
	empty := fakeResult(t, nil, nil, nil, 1, 2)
	all := smallResult(t)
	for i := range all.Cells {
		all.Cells[i].Attempts = all.Cells[i].Attempts[:1]
		a := &all.Cells[i].Attempts[0]
		*a = scenarios.Attempt{Requests: 5, Errors: 5, ErrorKind: map[string]int{"timeout": 5}, Seconds: 1}
	}
	once := smallResult(t)
	for i := range once.Cells {
		once.Cells[i].Attempts = once.Cells[i].Attempts[:1]
	}
	one := fakeResult(t, []string{"a|b <i>"}, []scenarios.Pods{scenarios.MultipleNodes}, []int{3}, 1, 2)
	one.Cells = one.Cells[:1]
	one.Meshes, one.Ceiling, one.Labs = nil, nil, nil
	for name, tt := range map[string]struct {
		r    *scenarios.Result
		want string
	}{
		"nothing measured": {empty, "The run measured nothing."},
		"all failed":       {all, "allows no comparison"},
		"first only":       {once, "allows no comparison"},
		"one mesh":         {one, "allows no comparison"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, tt.r)
			page := read(t, dir, "index.html")
			wellFormed(t, "index.html", page)
			if !bytes.Contains(page, []byte(tt.want)) {
				t.Errorf("the page lacks %q", tt.want)
			}
		})
	}
}

func TestWriteRefuses(t *testing.T) {
	bad := smallResult(t)
	bad.Cells[0].Attempts[0].HDR = "xx"
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx     context.Context
		dir     string
		results []*scenarios.Result
		want    string
	}{
		"no results":       {t.Context(), t.TempDir(), nil, "no results"},
		"damaged result":   {t.Context(), t.TempDir(), []*scenarios.Result{bad}, "hdr"},
		"folder is a file": {t.Context(), file, []*scenarios.Result{smallResult(t)}, "not a directory"},
		"stopped":          {stopped, t.TempDir(), []*scenarios.Result{smallResult(t)}, "context canceled"},
	} {
		if _, err := Write(tt.ctx, tt.dir, tt.results, Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

// TestFullMatrix holds the report of the thesis' matrix with three duets to
// its bounds: under 5 MB, and quick enough to wait for. Processor time is
// counted, which other programs on the machine do not stretch; the bound is
// generous for slow machines and the race detector.
func TestFullMatrix(t *testing.T) {
	r := sample.Result()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start, before := time.Now(), used()
	dir := write(t, r)
	took := used() - before
	size := len(read(t, dir, "index.html"))
	t.Logf("%d cells and %d duets: %v of processor time, %v in all, page of %d bytes", len(r.Cells), len(r.Duets), took, time.Since(start), size)
	if took > 60*time.Second || size > 5_000_000 {
		t.Errorf("took %v of processor time for a page of %d bytes", took, size)
	}
}

// BenchmarkReport writes the report of a whole run: the thesis' matrix, three
// duets of 30 pairs, ramps and waterfalls. It is to take less than 5 s on 2
// quiet cores, with a page of less than 5 MB.
//
//	go test -run '^$' -bench '^BenchmarkReport$' -benchtime 1x ./reports
func BenchmarkReport(b *testing.B) {
	r := sample.Result()
	dir := b.TempDir()
	for b.Loop() {
		if _, err := Write(b.Context(), dir, []*scenarios.Result{r}, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/report")
	b.ReportMetric(float64(len(read(b, dir, "index.html")))/1e6, "page-MB")
	pictures := 0
	err := filepath.WalkDir(filepath.Join(dir, "figures"), func(path string, _ os.DirEntry, err error) error {
		if filepath.Ext(path) == ".png" {
			pictures += len(read(b, path))
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(pictures)/1e6, "PNG-MB")
}
