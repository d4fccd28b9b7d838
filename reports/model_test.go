package reports

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

func TestFormat(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{significant(0.0341, 2), "0.034"},
		{significant(9.96, 2), "10"},
		{significant(0.0999, 2), "0.10"},
		{significant(2.94, 2), "2.9"},
		{significant(1577.674, 3), "1580"},
		{significant(100, 3), "100"},
		{significant(3.474, 3), "3.47"},
		{significant(0, 3), "0"},
		{significant(math.NaN(), 3), missing},
		{significant(math.Inf(1), 3), missing},
		{times(2.94), "2.9"}, {times(1.034), "1.03"}, {times(0.996), "1.00"}, {times(0.97), "0.97"},
		{times(1.19), "1.19"}, {times(1.23), "1.2"}, {times(0.3412), "0.34"}, {times(12.4), "12"},
		{perSecond(812.4), "812"}, {perSecond(8124), "8120"}, {perSecond(36106), "36\u202f100"}, {perSecond(4.123), "4.12"},
		{grouped(1234567), "1\u202f234\u202f567"}, {grouped(9999), "9999"},
		{plural(1, "core"), "1 core"}, {plural(2, "core"), "2 cores"},
		{duration(843 * time.Second), "14 min 3 s"}, {duration(3700 * time.Second), "1 h 1 min"}, {duration(59600 * time.Millisecond), "1 min 0 s"}, {duration(9 * time.Second), "9 s"},
		{ratio{Value: 2.94, Low: 1.7, High: 4.1, OK: true}.String(), "2.9 (1.7–4.1)"},
		{ratio{Value: 2.94, Low: 2.93, High: 2.94, OK: true}.String(), "2.9"},
		{ratio{}.String(), missing},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestPool(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	a, b := fakeAttempt(t, rng, 300, 1, 2), fakeAttempt(t, rng, 100, 1, 8)
	m, err := pool([]scenarios.Attempt{a, b})
	if err != nil {
		t.Fatal(err)
	}
	if want := (300*a.Avg + 100*b.Avg) / 400; math.Abs(m.Avg-want) > 1e-9 {
		t.Errorf("average %v, want the weighted %v", m.Avg, want)
	}
	if m.Min != min(a.Min, b.Min) || m.Max != max(a.Max, b.Max) {
		t.Errorf("extremes %v and %v", m.Min, m.Max)
	}
	if want := 400 / (a.Seconds + b.Seconds); math.Abs(m.PerSecond-want) > 1e-6 {
		t.Errorf("%v requests/s, want %v", m.PerSecond, want)
	}
	// Three quarters of the values come from a, so the median lies in its
	// upper part and p90 among b's.
	if m.P50 <= a.P50 || m.P50 >= a.P90 || m.P90 < b.Min {
		t.Errorf("p50 %v and p90 %v; a has p50 %v, b begins at %v", m.P50, m.P90, a.P50, b.Min)
	}
	var n int64
	for _, v := range m.values {
		n += v.n
	}
	if n != 400 {
		t.Errorf("%d values, want 400", n)
	}
	if m, err := pool(nil); err != nil || m.OK() {
		t.Errorf("pool of nothing: %+v, %v", m, err)
	}
}

func TestRatioOf(t *testing.T) {
	a := &measure{Requests: 1, P50: 6, perAttempt: []float64{6, 5, 9}}
	b := &measure{Requests: 1, P50: 2, perAttempt: []float64{2, 2.5, 2}}
	if r := ratioOf(a, b); r != (ratio{Value: 3, Low: 2, High: 4.5, OK: true}) {
		t.Errorf("got %+v", r)
	}
	for _, broken := range []*measure{nil, {}, {Requests: 3, Errors: 1, P50: 2}} {
		if ratioOf(a, broken).OK || ratioOf(broken, a).OK {
			t.Errorf("a ratio with %+v", broken)
		}
	}
}

func TestSummary(t *testing.T) {
	s := func(change func(*scenarios.Result)) string {
		r := fakeResult(t, []string{"api"}, []scenarios.Pods{scenarios.SingleNode}, []int{1, 8}, 400, 3)
		if change != nil {
			change(r)
		}
		sec, err := newSection(r, "")
		if err != nil {
			t.Fatal(err)
		}
		return sec.summary()
	}
	whole := s(nil)
	for _, want := range []string{"Over 2 cells, at their median, the mesh in the switches answered the median request 2.", " times as fast as Consul Connect", " times the time of plain switching", "None of the 7200 requests failed."} {
		if !strings.Contains(whole, want) {
			t.Errorf("%q lacks %q", whole, want)
		}
	}
	failed := s(func(r *scenarios.Result) { fail(t, &r.Cells[2].Attempts[0], 2, "timeout") })
	for _, want := range []string{"Consul Connect could be compared at 1 of them, plain switching at 2.", "2 of the 7202 requests failed, in 1 of 2 cells"} {
		if !strings.Contains(failed, want) {
			t.Errorf("%q lacks %q", failed, want)
		}
	}
	alone := s(func(r *scenarios.Result) { r.Cells = []scenarios.Cell{r.Cells[0], r.Cells[1]} })
	if strings.Contains(alone, "as fast as") || !strings.Contains(alone, "Over 1 cell, the mesh in the switches took") {
		t.Errorf("without Consul Connect: %q", alone)
	}
}

func TestNearCeiling(t *testing.T) {
	r := fakeResult(t, []string{"api"}, []scenarios.Pods{scenarios.SingleNode}, []int{1, 8}, 400, 3)
	s, err := newSection(r, "")
	if err != nil {
		t.Fatal(err)
	}
	if near := s.nearCeiling(); len(near) != 0 {
		t.Errorf("far from the ceiling: %v", near)
	}
	m := s.Points[0].later(direct)
	r.Ceiling[0].Attempt.RequestsPerSecond = m.PerSecond * 1.9
	near := s.nearCeiling()
	if len(near) < 1 || !strings.Contains(near[0], "api, single node, 1 connection under Plain switching") || !strings.Contains(near[0], "53 %") {
		t.Errorf("got %v", near)
	}
	r.Ceiling[0].Attempt.RequestsPerSecond = m.PerSecond * 2.1
	if near := s.nearCeiling(); len(near) != 0 {
		t.Errorf("at 48 %%: %v", near)
	}
}

func TestReferences(t *testing.T) {
	refs, err := references(table4)
	if err != nil {
		t.Fatal(err)
	}
	if len(refs) != 12 {
		t.Fatalf("%d rows, want the thesis' 12", len(refs))
	}
	want := reference{Type: "API", Pods: "MN", Connections: 200,
		Avg: [2]float64{1140.155, 603.667}, Min: [2]float64{92.237, 13.277}, Max: [2]float64{4003.147, 2177.723}}
	if refs[11] != want || times(refs[11].Ratio()) != "1.9" {
		t.Errorf("last row %+v, want %+v", refs[11], want)
	}
	for _, bad := range []string{"", "a,b\n", "t,p,n,1,2,3,4,5,6\nAPI,SN,x,1,2,3,4,5,6\n", "t,p,n,1,2,3,4,5,6\nAPI,SN,1,1,2,3,4,5,x\n"} {
		if _, err := references([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestSlug(t *testing.T) {
	p := scenarios.Point{Request: "../GET /é?" + strings.Repeat("x", 100), Pods: scenarios.MultipleNodes, Connections: 8}
	got := slug(p)
	if strings.ContainsAny(got, "/.?") || len(got) > 60 || !strings.HasSuffix(got, "-mn-8") {
		t.Errorf("slug %q", got)
	}
}

func TestCommand(t *testing.T) {
	v := view{section: &section{Result: &scenarios.Result{Command: []string{"meshlab", "bench", "my lab.yaml", "it's", ""}}}}
	if got, want := v.Command(), `meshlab bench 'my lab.yaml' 'it'\''s' ''`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
