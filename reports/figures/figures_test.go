package figures

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/plot/vg/draw"

	"meshlab.dev/meshlab/scenarios/stats"
)

var out = flag.String("out", "", "folder that the figures are written to, to be looked at")

// hdr draws n latencies around a median in milliseconds.
func hdr(t testing.TB, n int, median float64, seed uint64) *hdrhistogram.Histogram {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	h := stats.NewHDR()
	for range n {
		v := median * math.Exp(0.28*rng.NormFloat64())
		if rng.Float64() < 0.02 {
			v *= 1.5 + 4*rng.Float64()
		}
		if err := h.RecordValue(max(1, int64(v*1000))); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

const long = "a build with a name that is far longer than anybody would ever want it, v1.2.3-0.20261121175300-16ecfc9 <&> \x01 \"ß÷ 漢字"

// gallery has every kind of figure with the ordinary, the least, and the most
// that it may get.
func gallery(t testing.TB) map[string]func() (*Figure, error) {
	meshes := []Series{
		{"Plain switching", Green, hdr(t, 3000, 2, 1)},
		{"Mesh in the switches", Blue, hdr(t, 3000, 2.1, 2)},
		{"Consul Connect", Vermillion, hdr(t, 3000, 6, 3)},
	}
	one := []Series{{"Mesh in the switches", Blue, hdr(t, 1, 2, 1)}}
	var many []Series
	var firsts, oneFirst []FirstLater
	for i := range 7 {
		many = append(many, Series{fmt.Sprintf("%d %s", i, long), LookOf("other", i), hdr(t, 500, 1+float64(i), uint64(i))})
	}
	for i, m := range meshes {
		firsts = append(firsts, FirstLater{m.Name, m.Look, hdr(t, 1000, 4+float64(i), 9), m.HDR})
	}
	oneFirst = append(oneFirst, FirstLater{"Mesh in the switches", Blue, nil, hdr(t, 1, 2, 1)})

	ratioRows := func(n int) (rows []string, sets []RatioSet) {
		sets = []RatioSet{{Name: "Consul Connect ÷ mesh in the switches", Look: Vermillion}, {Name: "mesh in the switches ÷ plain switching", Look: Blue}}
		for i := range n {
			rows = append(rows, fmt.Sprintf("frontend MN × %d", i+1))
			sets[0].Ratios = append(sets[0].Ratios, Ratio{2.9, 2.5, 3.4 + float64(i)/10})
			r := Ratio{1.03, 0.98, 1.08}
			if i%3 == 1 {
				r = Ratio{}
			}
			sets[1].Ratios = append(sets[1].Ratios, r)
		}
		return rows, sets
	}
	forest := func(n int) (rows []ForestRow) {
		for i := range n {
			f := float64(i % 5)
			rows = append(rows,
				ForestRow{Group: fmt.Sprintf("hashicups, %d nodes, frontend: mesh in the switches against plain switching", i+1), Label: "p50", Ratio: 1.01 + 0.02*f, Low: 0.99 + 0.02*f, High: 1.03 + 0.025*f, Margin: 0.05, Verdict: []Verdict{Pass, Fail, Inconclusive}[i%3]},
				ForestRow{Group: fmt.Sprintf("hashicups, %d nodes, frontend: mesh in the switches against plain switching", i+1), Label: "p99", Ratio: 1.04 + 0.4*f, Low: 0.9 + 0.2*f, High: 1.2 + 0.5*f, Margin: 0.1, Verdict: []Verdict{Pass, Inconclusive, Fail}[i%3]})
		}
		return rows
	}
	trials := func(n int) []TrialSeries {
		rng := rand.New(rand.NewPCG(1, 1))
		var s []TrialSeries
		for i, m := range meshes {
			ts := TrialSeries{Name: m.Name, Look: m.Look}
			for range n {
				v := []float64{2, 2.1, 6}[i] * math.Exp(0.05*rng.NormFloat64())
				ts.P50, ts.P99 = append(ts.P50, v), append(ts.P99, v*(2+rng.Float64()))
			}
			s = append(s, ts)
		}
		return s
	}
	gap := trials(30)
	gap[1].P50[7], gap[1].P99[7] = 0, 0
	bars := []CostBar{
		{"Plain switching", []CostPart{{"switch", 12, 60e6}, {"service", 40, 200e6}}},
		{"Mesh in the switches", []CostPart{{"switch", 13, 62e6}, {"controller", 0.4, 30e6}, {"registry", 3, 90e6}, {"service", 41, 201e6}}},
		{"Consul Connect", []CostPart{{"switch", 14, 60e6}, {"sidecar", 95, 480e6}, {"registry", 3, 91e6}, {"service", 44, 203e6}}},
	}
	var manyBars []CostBar
	for i := range 8 {
		manyBars = append(manyBars, CostBar{fmt.Sprintf("%d %s", i, long), []CostPart{{long, 1, 1e9}, {"other", 2, 0}, {"third", 2.5, 2e8}}})
	}
	lane := func(name string, n int, f float64) Lane {
		l := Lane{Name: name, Spans: []Span{{"client", "client: send", 0, 0, 0.04}}}
		at := 0.04
		for i := range n {
			depth := min(i, n-i)
			for _, k := range []struct {
				kind, label string
				ms          float64
			}{{"switch", fmt.Sprintf("s%d, s1: request to service-%d", i, i), 0.03}, {"proxy", fmt.Sprintf("h%d: sidecar", i), 0.4 * f}, {"service", fmt.Sprintf("h%d: service-%d", i, i), 0.2}} {
				l.Spans = append(l.Spans, Span{k.kind, k.label, depth, at, k.ms})
				at += k.ms
			}
		}
		return l
	}
	climb := func(name string, look Look, top float64) Climb {
		c := Climb{Name: name, Look: look, Highest: top}
		for _, r := range []float64{100, 200, 400, 800, 600, 700, 650} {
			c.Steps = append(c.Steps, Step{r, 4 + math.Pow(r/top*2.2, 4), r <= top})
		}
		return c
	}
	all := map[string]func() (*Figure, error){
		"overlay":         func() (*Figure, error) { return Overlay("frontend, several nodes, 8 connections", meshes) },
		"overlay-one":     func() (*Figure, error) { return Overlay("one request", one) },
		"overlay-many":    func() (*Figure, error) { return Overlay(long, many) },
		"histogram":       func() (*Figure, error) { return Histogram("frontend, several nodes, 8 connections", meshes) },
		"histogram-one":   func() (*Figure, error) { return Histogram("one request", one) },
		"attempts":        func() (*Figure, error) { return Attempts("frontend, several nodes, 8 connections", firsts) },
		"attempts-one":    func() (*Figure, error) { return Attempts("one request", oneFirst) },
		"spectrum-log":    func() (*Figure, error) { return Spectrum("frontend", meshes, Log) },
		"spectrum-linear": func() (*Figure, error) { return Spectrum("frontend", meshes, Linear) },
		"spectrum-one":    func() (*Figure, error) { return Spectrum("one request", one, Log) },
		"spectrum-many":   func() (*Figure, error) { return Spectrum(long, many, Log) },
		"ratios":          func() (*Figure, error) { r, s := ratioRows(16); return Ratios("Ratios of p50", r, s) },
		"ratios-one":      func() (*Figure, error) { r, s := ratioRows(1); return Ratios("Ratios of p50", r, s) },
		"forest":          func() (*Figure, error) { return Forest("Ratios of paired trials", forest(4)) },
		"forest-one":      func() (*Figure, error) { return Forest("Ratios of paired trials", forest(1)[:1]) },
		"forest-many":     func() (*Figure, error) { return Forest("Ratios of paired trials", forest(16)) },
		"forest-long": func() (*Figure, error) {
			return Forest(long, []ForestRow{{Group: long, Label: long, Ratio: 400, Low: 0.001, High: 1e4, Margin: 0.05}, {Label: long, Ratio: 1, Low: 1, High: 1}})
		},
		"overtime": func() (*Figure, error) {
			return OverTime("frontend", gap, []TrialFlag{{3, "steal"}, {4, "steal"}, {12, "late"}, {29, "errors"}})
		},
		"overtime-one":  func() (*Figure, error) { return OverTime("frontend", trials(1), nil) },
		"overtime-many": func() (*Figure, error) { return OverTime(long, trials(120), []TrialFlag{{100, long}}) },
		"cost":          func() (*Figure, error) { return Cost("What each mesh costs", bars) },
		"cost-one": func() (*Figure, error) {
			return Cost("What each mesh costs", []CostBar{{"ovs", []CostPart{{"switch", 0.012, 0}}}, {"none", nil}})
		},
		"cost-many": func() (*Figure, error) { return Cost(long, manyBars) },
		"waterfall": func() (*Figure, error) {
			return Waterfall("Where the time of a request goes", []Lane{lane("Mesh in the switches", 3, 0.01), lane("Consul Connect", 3, 1)})
		},
		"waterfall-one": func() (*Figure, error) {
			return Waterfall("one span", []Lane{{"ovs", []Span{{"service", "h1", 0, 0, 1}}}})
		},
		"waterfall-many": func() (*Figure, error) {
			return Waterfall(long, []Lane{lane(long, 12, 1), {long, []Span{{long, long, 20, 0, 1e-3}}}})
		},
		"ramp": func() (*Figure, error) {
			return Ramp("Highest load", Objective{99, 20}, []Climb{climb("Plain switching", Green, 700), climb("Mesh in the switches", Blue, 650), climb("Consul Connect", Vermillion, 400)})
		},
		"ramp-one": func() (*Figure, error) {
			return Ramp("Highest load", Objective{99.9, 0.5}, []Climb{{Name: long, Steps: []Step{{Rate: 100}}}})
		},
	}
	maps.Copy(all, courses())
	maps.Copy(all, againsts())
	return all
}

func TestGallery(t *testing.T) {
	for name, draw := range gallery(t) {
		t.Run(name, func(t *testing.T) {
			f, err := draw()
			if err != nil {
				t.Fatal(err)
			}
			if f.Title == "" || len(f.Description) <= len(f.Title) {
				t.Errorf("title %q, description %q", f.Title, f.Description)
			}
			b, err := f.PNG()
			if err != nil {
				t.Fatal(err)
			}
			img, err := png.Decode(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			w, h := f.Size()
			if got := img.Bounds(); math.Abs(float64(got.Dx())-w.Dots(dpi)) > 1 || math.Abs(float64(got.Dy())-h.Dots(dpi)) > 1 {
				t.Errorf("image of %v for %v by %v", got, w, h)
			}
			svg, err := f.SVG()
			if err != nil {
				t.Fatal(err)
			}
			wellFormed(t, svg)
			readable(t, svg, w.Points(), h.Points())
			page, err := f.Inline()
			if err != nil {
				t.Fatal(err)
			}
			wellFormed(t, []byte(page))
			if left := regexp.MustCompile(`#[0-9A-F]{6}`).FindString(page); left != "" && left != "#000000" {
				t.Errorf("the colour %s does not follow the page's", left)
			}
			if strings.Contains(page, "<rect width=\"100%\"") || !strings.Contains(page, `role="img" aria-label="`) {
				t.Errorf("not for a page: %.200s", page)
			}
			if u := f.Untitled(); f.Title != "" {
				_, less := u.Size()
				if less >= h {
					t.Errorf("%v high without title, %v with it", less, h)
				}
			}
			if *out != "" {
				if err := os.WriteFile(filepath.Join(*out, name+".png"), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func wellFormed(t *testing.T, doc []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(doc))
	for {
		_, err := d.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
	}
}

// written is a text of a drawing and the room it takes, from the top left.
type written struct {
	text                   string
	left, right, top, base float64
}

// texts returns the texts of an SVG of the height h that are not turned.
func texts(t *testing.T, svg []byte, h float64) []written {
	t.Helper()
	attribute := func(e xml.StartElement, name string) string {
		for _, a := range e.Attr {
			if a.Name.Local == name {
				return a.Value
			}
		}
		return ""
	}
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	size := regexp.MustCompile(`font-size:([0-9.]+)px`)
	var all []written
	var turned []bool
	var now *written
	var sty draw.TextStyle
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			turned = append(turned, strings.Contains(attribute(e, "transform"), "rotate") || len(turned) > 0 && turned[len(turned)-1])
			if e.Name.Local == "text" && !turned[len(turned)-1] {
				now = &written{left: number(attribute(e, "x")), base: h + number(attribute(e, "y"))}
				points := number(size.FindStringSubmatch(attribute(e, "style"))[1])
				now.top = now.base - 0.7*points
				sty = textStyle(points)
				if strings.Contains(attribute(e, "style"), "bold") {
					sty = bold(sty)
				}
			}
		case xml.CharData:
			if now != nil {
				now.text = string(e)
				now.right = now.left + sty.Width(now.text).Points()
				all = append(all, *now)
				now = nil
			}
		case xml.EndElement:
			turned = turned[:len(turned)-1]
		}
	}
}

// readable fails when a text leaves the figure or runs into another one.
func readable(t *testing.T, svg []byte, w, h float64) {
	t.Helper()
	all := texts(t, svg, h)
	if len(all) < 3 {
		t.Errorf("only %d texts", len(all))
	}
	for i, a := range all {
		if a.left < 0 || a.right > w+0.5 || a.top < 0 || a.base > h {
			t.Errorf("%q from %.0f, %.0f to %.0f, %.0f leaves the figure of %.0f by %.0f", a.text, a.left, a.top, a.right, a.base, w, h)
		}
		for _, b := range all[:i] {
			if a.left < b.right && b.left < a.right && a.top < b.base && b.top < a.base {
				t.Errorf("%q at %.0f, %.0f runs into %q at %.0f, %.0f", a.text, a.left, a.base, b.text, b.left, b.base)
			}
		}
	}
}

func TestRefuses(t *testing.T) {
	nan := math.NaN()
	for name, tt := range map[string]struct {
		draw    func() (*Figure, error)
		nothing bool
	}{
		"overlay of nothing":       {func() (*Figure, error) { return Overlay("x", nil) }, true},
		"overlay of empty":         {func() (*Figure, error) { return Overlay("x", []Series{{HDR: stats.NewHDR()}, {}}) }, true},
		"histogram of nothing":     {func() (*Figure, error) { return Histogram("x", nil) }, true},
		"spectrum of nothing":      {func() (*Figure, error) { return Spectrum("x", nil, Log) }, true},
		"attempts of nothing":      {func() (*Figure, error) { return Attempts("x", []FirstLater{{First: stats.NewHDR()}}) }, true},
		"ratios of nothing":        {func() (*Figure, error) { return Ratios("x", []string{"a"}, []RatioSet{{Ratios: make([]Ratio, 1)}}) }, true},
		"ratios without rows":      {func() (*Figure, error) { return Ratios("x", nil, nil) }, true},
		"ratio of NaN":             {func() (*Figure, error) { return Ratios("x", []string{"a"}, []RatioSet{{Ratios: []Ratio{{nan, 1, 1}}}}) }, false},
		"ratio below 0":            {func() (*Figure, error) { return Ratios("x", []string{"a"}, []RatioSet{{Ratios: []Ratio{{1, -1, 1}}}}) }, false},
		"more ratios than rows":    {func() (*Figure, error) { return Ratios("x", nil, []RatioSet{{Ratios: []Ratio{{1, 1, 1}}}}) }, false},
		"forest of nothing":        {func() (*Figure, error) { return Forest("x", nil) }, true},
		"forest of zero":           {func() (*Figure, error) { return Forest("x", []ForestRow{{Ratio: 0, Low: 1, High: 1}}) }, false},
		"forest of infinity":       {func() (*Figure, error) { return Forest("x", []ForestRow{{Ratio: 1, Low: 1, High: math.Inf(1)}}) }, false},
		"forest with a bad margin": {func() (*Figure, error) { return Forest("x", []ForestRow{{Ratio: 1, Low: 1, High: 1, Margin: nan}}) }, false},
		"no trials":                {func() (*Figure, error) { return OverTime("x", nil, nil) }, true},
		"trials without values": {func() (*Figure, error) {
			return OverTime("x", []TrialSeries{{P50: []float64{0}, P99: []float64{0}}}, nil)
		}, true},
		"a latency of NaN": {func() (*Figure, error) { return OverTime("x", []TrialSeries{{P50: []float64{nan}}}, nil) }, false},
		"a flag of no trial": {func() (*Figure, error) {
			return OverTime("x", []TrialSeries{{P50: []float64{1}}}, []TrialFlag{{1, "a"}})
		}, false},
		"no cost":           {func() (*Figure, error) { return Cost("x", []CostBar{{Name: "a"}}) }, true},
		"a cost below 0":    {func() (*Figure, error) { return Cost("x", []CostBar{{Parts: []CostPart{{CPUSeconds: -1}}}}) }, false},
		"no spans":          {func() (*Figure, error) { return Waterfall("x", []Lane{{Name: "a"}}) }, true},
		"a span of NaN":     {func() (*Figure, error) { return Waterfall("x", []Lane{{Spans: []Span{{Start: nan, Length: 1}}}}) }, false},
		"no steps":          {func() (*Figure, error) { return Ramp("x", Objective{99, 1}, []Climb{{}}) }, true},
		"an objective of 0": {func() (*Figure, error) { return Ramp("x", Objective{99, 0}, nil) }, false},
		"a step of NaN":     {func() (*Figure, error) { return Ramp("x", Objective{99, 1}, []Climb{{Steps: []Step{{1, nan, true}}}}) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tt.draw()
			if err == nil || errors.Is(err, ErrNothing) != tt.nothing {
				t.Errorf("got %v", err)
			}
		})
	}
}
