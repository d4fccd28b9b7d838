package reports

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
)

// TestStretches holds the windows of all trials together to hand-made ones.
func TestStretches(t *testing.T) {
	window := func(at float64, n, errors int, p99 float64) scenarios.Window {
		return scenarios.Window{At: at, N: n, Errors: errors, P99: p99}
	}
	trial := func(sides ...[]scenarios.Window) scenarios.Trial {
		out := scenarios.Trial{TrialOutcome: scenarios.TrialOutcome{Seconds: 1.2}}
		for _, w := range sides {
			out.Sides = append(out.Sides, scenarios.SideOutcome{Windows: w})
		}
		return out
	}
	d := duet{
		sides: make([]side, 2),
		Duet: scenarios.Duet{Trials: []scenarios.Trial{
			trial([]scenarios.Window{window(0, 10, 0, 1), window(0.5, 0, 8, 0)}, []scenarios.Window{window(0, 5, 0, 3)}),
			trial([]scenarios.Window{window(0, 8, 2, 9), window(0.5, 6, 2, 7), window(1, 1, 0, 4)}),
			trial([]scenarios.Window{window(0, 10, 0, 2)}),
		}},
	}
	want := []stretch{
		{0, 0.5, []stretchSide{{30, 2, 2}, {5, 0, 3}}},
		{0.5, 1, []stretchSide{{16, 10, 7}, {}}},
		{1, 1.5, []stretchSide{{1, 0, 4}, {}}},
	}
	got := d.stretches()
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i, s := range got {
		for j, side := range s.sides {
			if s.start != want[i].start || math.Abs(s.end-want[i].end) > 1e-12 || side != want[i].sides[j] {
				t.Errorf("variant %d: got %+v, want %+v", j, s, want[i])
			}
		}
	}
	d.Trials = []scenarios.Trial{trial([]scenarios.Window{window(0, 1, 0, 1)})}
	if got := d.stretches(); len(got) != 1 || got[0].end != 1.2 {
		t.Errorf("a trial of one window: %+v", got)
	}
}

// TestFaultsInReports holds that what was broken is in the reports of runs in
// which something was, and in no other.
func TestFaultsInReports(t *testing.T) {
	broken := write(t, sample.Result(sample.Small, sample.OnlyDuets, sample.Broken))
	whole := write(t, sample.Result(sample.Small, sample.OnlyDuets))
	pages := visible(string(read(t, broken, "index.html")))
	checkContents(t, string(read(t, broken, "index.html")))
	wellFormed(t, "index.html", read(t, broken, "index.html"))
	for _, want := range []string{"What was broken, and who noticed", "payments was killed", "All windows as a table", "so that p99 is about the slowest answer"} {
		if !strings.Contains(pages, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	markdown := string(read(t, broken, "report.md"))
	for _, want := range []string{"](figures/duet1-course.png)", "| payments was killed |", "Bands are what was broken"} {
		if !strings.Contains(markdown, want) {
			t.Errorf("report.md lacks %q", want)
		}
	}
	read(t, broken, "figures", "duet1-course.png")
	for _, file := range []string{"index.html", "report.md"} {
		if text := visible(string(read(t, whole, file))); strings.Contains(text, "broken") {
			t.Errorf("%s speaks of what was broken when nothing was", file)
		}
	}
	if _, err := os.Stat(filepath.Join(whole, "figures", "duet1-course.png")); err == nil {
		t.Error("a figure of faults when there were none")
	}
}

// TestFaultsInChapters is of what is typeset.
func TestFaultsInChapters(t *testing.T) {
	for _, tt := range []struct {
		options []sample.Option
		figures int
	}{{[]sample.Option{sample.Small, sample.OnlyDuets, sample.Broken}, 3}, {[]sample.Option{sample.Small, sample.OnlyDuets}, 0}} {
		runs, err := Runs([]*scenarios.Result{sample.Result(tt.options...)})
		if err != nil {
			t.Fatal(err)
		}
		figures, tables := 0, 0
		for _, c := range runs[0].Chapters {
			for _, b := range c.Blocks {
				if b.Figure != nil && strings.Contains(b.Figure.Description, "payments was killed") {
					figures++
				}
				if b.Table != nil && strings.HasPrefix(b.Table.Caption, "What was broken") {
					tables++
				}
			}
		}
		if figures != tt.figures || tables != tt.figures {
			t.Errorf("%d figures and %d tables of what was broken, want %d of each", figures, tables, tt.figures)
		}
	}
}

func TestFaultTable(t *testing.T) {
	d, err := newDuet(sample.Result(sample.Small, sample.OnlyDuets, sample.Broken).Duets[1], "")
	if err != nil {
		t.Fatal(err)
	}
	// 12 trials with 24 requests in the window: in each 15 of one variant failed, and 1 of the other.
	table := d.FaultTable()
	for i, want := range []string{
		"payments was killed | Plain switching | 12 | 0.12 | 0.18 | ",
		"payments was killed | Consul Connect | 12 | 0.12 | 0.18 | ",
	} {
		if got := row(table, i); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, []string{" | 180", " | 12"}[i]) {
			t.Errorf("got %s, want %s...", got, want)
		}
	}
	windows := d.CourseTable()
	if len(windows.Rows) != 5 {
		t.Fatalf("%d windows", len(windows.Rows))
	}
	for i, want := range []string{"", "", "payments was killed", "payments was killed", ""} {
		if got := windows.Rows[i][1].Text; got != want {
			t.Errorf("window %d: %q was broken, want %q", i, got, want)
		}
	}
	if got := windows.Rows[2][4].Text; got != "180" {
		t.Errorf("%s failed in the third window under plain switching, want 180", got)
	}
}
