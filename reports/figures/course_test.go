package figures

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// coursesOf is how three variants answered in n windows of half a second, of
// which the fifth and the sixth went wrong.
func coursesOf(n int) []CourseSeries {
	var all []CourseSeries
	for i, name := range []string{"Plain switching", "Mesh in the switches", "Consul Connect"} {
		s := CourseSeries{Name: name, Look: []Look{Green, Blue, Vermillion}[i]}
		for j := range n {
			w := CourseWindow{Start: float64(j) / 2, End: float64(j+1) / 2, P99: float64(2+i) * (1 + 0.1*math.Sin(float64(3*j+i)))}
			if j == 4 || j == 5 {
				w.P99 *= 10
				w.Failed = []float64{1, 0.06, 0.02}[i]
			}
			if w.Failed == 1 {
				w.P99 = 0
			}
			s.Windows = append(s.Windows, w)
		}
		all = append(all, s)
	}
	return all
}

var killed = FaultBand{What: "web-1 was killed", Began: 2, Ended: 3.02, First: 1.99, Last: 3.4}

// courses belong to the gallery.
func courses() map[string]func() (*Figure, error) {
	var many []FaultBand
	for i := range 20 {
		from := float64(i) * 3
		many = append(many, FaultBand{What: long, Began: from, Ended: from + 2, First: from, Last: from + 2})
	}
	long := FaultBand{What: "link " + long + " was degraded (20 ms, 5 %, 1 Mbit/s)", Began: 4.9, Ended: 31.25, First: 4.9, Last: 33}
	fine := coursesOf(1)
	for i := range fine {
		fine[i].Windows[0].P99 = 0
	}
	return map[string]func() (*Figure, error){
		"course": func() (*Figure, error) { return Course("web", coursesOf(10), []FaultBand{killed}) },
		"course-several": func() (*Figure, error) {
			return Course("web", coursesOf(10), []FaultBand{killed,
				{"link h1-s1 was cut", 2.5, 4.5, 2.5, 4.5}, long, {"h2 was paused", 0, 5, 0, 5}, {"h3 was paused", 7, 8, 6, 8}})
		},
		"course-one":  func() (*Figure, error) { return Course("web", coursesOf(1)[:1], nil) },
		"course-none": func() (*Figure, error) { return Course("web", fine, []FaultBand{{"web was killed", 0, 1, 0, 1}}) },
		"course-many": func() (*Figure, error) { return Course(long.What, coursesOf(120), many) },
	}
}

func TestCourseRefuses(t *testing.T) {
	nan := math.NaN()
	window := func(w CourseWindow) func() (*Figure, error) {
		return func() (*Figure, error) {
			return Course("x", []CourseSeries{{Name: "a", Windows: []CourseWindow{w}}}, nil)
		}
	}
	fault := func(b FaultBand) func() (*Figure, error) {
		return func() (*Figure, error) { return Course("x", coursesOf(2), []FaultBand{b}) }
	}
	for name, tt := range map[string]struct {
		draw func() (*Figure, error)
		want string // "": there is nothing to draw
	}{
		"no series":     {func() (*Figure, error) { return Course("x", nil, []FaultBand{killed}) }, ""},
		"no windows":    {func() (*Figure, error) { return Course("x", []CourseSeries{{Name: "a"}}, nil) }, ""},
		"a p99 of NaN":  {window(CourseWindow{End: 1, P99: nan}), "below 0, or without an end"},
		"endless":       {window(CourseWindow{End: math.Inf(1)}), "an end after its start"},
		"backward":      {window(CourseWindow{Start: 2, End: 1}), "an end after its start"},
		"more than all": {window(CourseWindow{End: 1, Failed: 1.5}), "a share of 1 at most"},
		"windows overlap": {func() (*Figure, error) {
			return Course("x", []CourseSeries{{Windows: []CourseWindow{{End: 1}, {Start: 0.5, End: 2}}}}, nil)
		}, "after one to 1 s"},
		"a fault of NaN":     {fault(FaultBand{What: "a", Began: nan}), "below 0, or none"},
		"a fault backward":   {fault(FaultBand{What: "a", Began: 2, Ended: 1, First: 1, Last: 2}), "in their order"},
		"begins before that": {fault(FaultBand{What: "a", Began: 1, Ended: 2, First: 1.5, Last: 2}), "in their order"},
	} {
		_, err := tt.draw()
		if err == nil || errors.Is(err, ErrNothing) != (tt.want == "") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

// TestCourseTellsFaults holds what a reader learns without the bands' colours.
func TestCourseTellsFaults(t *testing.T) {
	f, err := Course("web", coursesOf(10), []FaultBand{killed})
	if err != nil {
		t.Fatal(err)
	}
	svg, err := f.SVG()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(svg), ">web-1 was killed, 2.0–3.0 s</text>") {
		t.Error("the drawing does not name the fault")
	}
	for _, want := range []string{
		"web-1 was killed, 2.0–3.0 s.", "Plain switching: p99 from", "at most 100 % failed, from 2 s to 2.5 s", "Consul Connect: p99 from", "at most 2 % failed",
	} {
		if !strings.Contains(f.Description, want) {
			t.Errorf("the description lacks %q: %s", want, f.Description)
		}
	}
	bare, err := Course("web", coursesOf(10), nil)
	if err != nil {
		t.Fatal(err)
	}
	less, err := bare.SVG()
	if err != nil {
		t.Fatal(err)
	}
	// The bands, one in each panel, have the only ground that is not opaque.
	if with, without := strings.Count(string(svg), "fill-opacity"), strings.Count(string(less), "fill-opacity"); with != 2 || without != 0 {
		t.Errorf("%d bands with a fault, %d without: want 2 and 0", with, without)
	}
}

// TestStairs holds that no line goes on over a window without a value.
func TestStairs(t *testing.T) {
	windows := []CourseWindow{
		{Start: 0, End: 1, P99: 2}, {Start: 1, End: 2, P99: 3}, {Start: 2, End: 3}, {Start: 3, End: 4, P99: 5}, {Start: 6, End: 7, P99: 7},
	}
	got := fmt.Sprint(stairs(windows, func(w CourseWindow) (float64, bool) { return w.P99, w.P99 > 0 }))
	if want := "[[{0 2} {1 2} {1 3} {2 3}] [{3 5} {4 5}] [{6 7} {7 7}]]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
