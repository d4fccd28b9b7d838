package figures

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

func labels(ticks []plot.Tick) string {
	var all []string
	for _, t := range ticks {
		if t.Label != "" {
			all = append(all, t.Label)
		}
	}
	return strings.Join(all, " ")
}

func TestTicks(t *testing.T) {
	for _, tt := range []struct {
		name      string
		ticker    plot.Ticker
		low, high float64
		want      string
	}{
		{"log", logTicks{}, 0.4, 60, "0.5 1 2 5 10 20 50"},
		{"log, wide", logTicks{}, 0.1, 1000, "0.1 1 10 100 1000"},
		{"log, with two powers of ten", logTicks{}, 0.15, 80, "0.2 0.5 1 2 5 10 20 50"},
		{"log, narrow", logTicks{}, 1.02, 1.35, "1.1 1.2 1.3"},
		{"even", evenTicks{}, 0, 17, "0 5 10 15"},
		{"even, small", evenTicks{}, 0, 0.003, "0.0000 0.0005 0.0010 0.0015 0.0020 0.0025 0.0030"},
		{"no range", evenTicks{}, 1, 1, ""},
		{"wide", wideTicks{}, 0, 1.9, "0.0 0.2 0.4 0.6 0.8 1.0 1.2 1.4 1.6 1.8"},
		{"wide, long labels", wideTicks{}, 0, 1248, "0 200 400 600 800 1000 1200"},
		{"requests", wholeTicks{}, 0, 1, "0 1"},
		{"trials", wholeTicks{}, 0.5, 30.5, "1 5 10 15 20 25 30"},
		{"one trial", wholeTicks{}, 0.5, 1.5, "1"},
		{"ratios", ratioTicks{}, 0.8, 3.2, "0.8 1 1.2 1.5 2 2.5 3"},
		{"ratios, narrow", ratioTicks{}, 0.95, 1.1, "0.95 1.00 1.05 1.10"},
		{"ratios, wide", ratioTicks{}, 0.01, 100, "0.01 0.1 1 10 100"},
		{"percentiles", percentTicks{}, 0, 4, "0 50 % 90 % 99 % 99.9 % 99.99 %"},
	} {
		if got := labels(tt.ticker.Ticks(tt.low, tt.high)); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.04: "0.04", 0.0041234: "0.00412", 52: "52", 57.4: "57.4", 1234.5: "1234"} {
		if got := short(v); got != want {
			t.Errorf("short(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	sty := textStyle(9)
	if got := clean(" a\x00b\n\tc\xff "); got != "a b c\uFFFD" {
		t.Errorf("clean: %q", got)
	}
	name := strings.Repeat("wide name ", 30) + "p99"
	for got, tail := range map[string]string{fit(sty, name, 100): "…", fitMiddle(sty, name, 100): "p99"} {
		if sty.Width(got) > 101 || !strings.HasPrefix(got, "wide") || !strings.HasSuffix(got, tail) {
			t.Errorf("%q is %v wide", got, sty.Width(got))
		}
	}
	if got := fit(sty, "short", 100); got != "short" {
		t.Errorf("fit: %q", got)
	}
	if lines := wrap(sty, name, 150, 2); len(lines) != 2 || !strings.HasSuffix(lines[1], "…") {
		t.Errorf("wrap: %q", lines)
	}
	if lines := wrap(sty, "", 150, 2); len(lines) != 1 || lines[0] != "" {
		t.Errorf("wrap of nothing: %q", lines)
	}
}

func TestLooks(t *testing.T) {
	got := Looks([]string{"ovs", "ovs", "direct", "consul-connect", "ovs", "other"})
	seen := map[Look]bool{}
	for _, l := range got {
		if seen[l] {
			t.Errorf("%v comes up twice in %v", l, got)
		}
		seen[l] = true
	}
	if got[0] != Blue || got[2] != Green || got[3] != Vermillion {
		t.Errorf("known meshes have looks %v", got)
	}
	if many := Looks(make([]string, 20)); len(many) != 20 {
		t.Errorf("%d looks for 20", len(many))
	}
}

// TestHistogramCounts holds that no request is lost in the bins, and that the
// cumulative curve rises from nothing to all.
func TestHistogramCounts(t *testing.T) {
	one := newTrack("x", Blue, hdr(t, 5000, 3, 7))
	s := spanOf([]track{one})
	sum := 0.0
	for _, b := range bins(one, s) {
		sum += b.Y
	}
	if sum != 5000 || one.total != 5000 {
		t.Errorf("%v requests in bins, %d in all", sum, one.total)
	}
	c := cumulative(one, s, 100)
	if c[0].Y != 0 || c[len(c)-1].Y != 100 || len(c) > 820 {
		t.Errorf("from %v to %v in %d points", c[0].Y, c[len(c)-1].Y, len(c))
	}
	for i := 1; i < len(c); i++ {
		if c[i].X < c[i-1].X || c[i].Y < c[i-1].Y {
			t.Fatalf("the curve falls at %v", c[i])
		}
	}
}

// TestSpectrumPlaces holds the staircase to the percentiles that it shows.
func TestSpectrumPlaces(t *testing.T) {
	one := newTrack("x", Blue, hdr(t, 10000, 3, 7))
	line := spectrum(one, 4, spanOf([]track{one}))
	for _, p := range []float64{0.5, 0.9, 0.99, 0.999} {
		at := -math.Log10(1 - p)
		shown := 0.0
		for _, xy := range line {
			if xy.X <= at+1e-9 {
				shown = xy.Y
			}
		}
		if want := one.at(p); math.Abs(shown-want)/want > 0.03 {
			t.Errorf("p%v: %v shown, %v is right", 100*p, shown, want)
		}
	}
	if len(line) > 2000 {
		t.Errorf("%d points", len(line))
	}
	single := newTrack("x", Blue, hdr(t, 1, 3, 7))
	if line := spectrum(single, 1, spanOf([]track{single})); line[len(line)-1].X != 1 {
		t.Errorf("a single request is drawn as %v", line)
	}
}

func TestHatchStaysInside(t *testing.T) {
	r := vg.Rectangle{Min: vg.Point{X: 3, Y: -4}, Max: vg.Point{X: 31, Y: 9}}
	for l := range Black + 1 {
		lines := l.hatch().lines(r)
		if l.hatch().gap > 0 && len(lines) == 0 {
			t.Errorf("look %d has no lines", l)
		}
		for _, s := range lines {
			for _, p := range s {
				if p.X < r.Min.X-1e-6 || p.X > r.Max.X+1e-6 || p.Y < r.Min.Y-1e-6 || p.Y > r.Max.Y+1e-6 {
					t.Fatalf("look %d: %v lies outside of %v", l, p, r)
				}
			}
		}
	}
}

func TestRender(t *testing.T) {
	dir := t.TempDir()
	ok := Job{"a", func() (*Figure, error) { return Forest("x", []ForestRow{{Label: "a", Ratio: 1, Low: 1, High: 1}}) }}
	got, err := Render(t.Context(), dir, []Job{ok})
	if err != nil || got["a"].Title != "x" || !strings.HasPrefix(got["a"].Inline, "<svg ") {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, name := range []string{"a.png", "a.svg"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	none := Job{"none", func() (*Figure, error) { return Forest("x", nil) }}
	if _, err := Render(t.Context(), "", []Job{ok, none}); !errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), "none") {
		t.Errorf("got %v", err)
	}
	if _, err := Render(t.Context(), filepath.Join(dir, "missing"), []Job{ok}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Render(stopped, "", []Job{ok}); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

// TestNameOfLogarithmicAxis holds that the name takes nothing of a plot's
// height.
func TestNameOfLogarithmicAxis(t *testing.T) {
	f, err := Spectrum("x", []Series{{"a", Blue, hdr(t, 1000, 3, 7)}}, Log)
	if err != nil {
		t.Fatal(err)
	}
	p := f.panels[0]
	c := draw.New(vgsvg.New(figureWidth, p.height))
	if gap := c.Max.Y - p.unnamed().DataCanvas(c).Max.Y; gap > 6 {
		t.Errorf("%v points are free above the plot", gap)
	}
	svg, err := f.SVG()
	if err != nil || !strings.Contains(string(svg), ">response time, ms</text>") {
		t.Errorf("the axis has no name: %v", err)
	}
}
