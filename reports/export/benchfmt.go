package export

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/perf/benchfmt"

	"meshlab.dev/meshlab/scenarios"
)

// writeBenchfmt writes a line for each attempt and each side of a trial, so
// that benchstat sees samples and not figures that were made of them. Ramps
// are left out: their points have loads of their own.
//
// What a comparison is across, the mesh and the variant, is in the name
// ("benchstat -col /mesh"), after what both sides share: request, pods, load.
// What must not be mixed is configuration, by which benchstat makes separate
// tables: the machine and the lab, open and closed loop, first and later
// attempts. The run and the version of meshlab are not among it, as they are
// what two files are compared across; they stand in comments.
// (golang.org/design/14313-benchmark-format)
func writeBenchfmt(w io.Writer, runs []run) error {
	out := benchfmt.NewWriter(w)
	for _, u := range benchUnits() {
		if err := out.Write(&benchfmt.UnitMetadata{
			UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: u.name, Key: "better"},
			OrigUnit:        u.name, Value: u.better,
		}); err != nil {
			return err
		}
	}
	for _, r := range runs {
		if _, err := fmt.Fprintf(w, "\n# run %s, meshlab %s\n", r.ID, oneLine(r.Environment.Meshlab)); err != nil {
			return err
		}
		// What is of one configuration stands together.
		for _, first := range []bool{true, false} {
			for _, s := range r.series {
				for _, p := range s.points {
					if s.loop == rampLoop || s.first(p) != first {
						continue
					}
					if err := out.Write(benchResult(r, s, p)); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// benchUnit is a figure of a line. Times are in ns and per operation, as those
// of Go's own benchmarks, from which benchstat makes seconds: "tidy".
type benchUnit struct {
	name   string
	better string
	of     func(run, point) (float64, bool)
}

func benchUnits() []benchUnit {
	nanoseconds := func(of func(point) *scenarios.Distribution, figure func(*scenarios.Distribution) float64) func(run, point) (float64, bool) {
		return func(_ run, p point) (float64, bool) {
			d := of(p)
			if d == nil {
				return 0, false
			}
			return figure(d) * 1e6, true
		}
	}
	units := []benchUnit{}
	for _, clock := range []struct {
		prefix string
		of     func(point) *scenarios.Distribution
	}{{"", latencyOf}, {"service-", serviceOf}} {
		for _, f := range figures() {
			name := clock.prefix + f.name + "-"
			switch f.name {
			case "avg":
				name = clock.prefix // what a Go benchmark reports is an average
			case "min", "max":
				continue
			}
			units = append(units, benchUnit{name + "ns/op", "lower", nanoseconds(clock.of, f.of)})
		}
	}
	return append(units,
		benchUnit{"req/s", "higher", func(_ run, p point) (float64, bool) { return p.achieved(), p.successes() > 0 }},
		benchUnit{"cpu-ns/op", "lower", func(_ run, p point) (float64, bool) {
			sum := 0.0
			for _, c := range p.costs {
				sum += c.CPUSeconds
			}
			return sum * 1e9 / float64(max(p.successes(), 1)), sum > 0 && p.successes() > 0
		}},
		benchUnit{"failed/op", "lower", func(r run, p point) (float64, bool) {
			return float64(p.errors) / float64(max(p.requests, 1)), r.failed
		}},
	)
}

func benchResult(r run, s series, p point) *benchfmt.Result {
	res := &benchfmt.Result{Name: benchfmt.Name(benchName(r, s)), Iters: p.requests}
	e := r.Environment
	for _, c := range [][2]string{
		{"goos", "linux"}, {"place", e.Place()}, {"cpu", e.CPU}, {"cores", strconv.Itoa(e.Cores)}, {"virtualization", e.Virtualization},
		{"os", e.OS}, {"kernel", e.Kernel}, {"open-vswitch", e.OpenVSwitch}, {"datapath", e.Datapath},
		{"consul", e.Consul}, {"proxy", e.Proxy},
		{"lab", s.lab}, {"loop", string(s.loop)}, {"method", string(s.method)}, {"scenario", s.scenario},
		{"arrivals", string(s.arrivals)}, {"attempts", attempts(s, p)},
	} {
		if v := oneLine(c[1]); v != "" {
			res.SetConfig(c[0], v)
		}
	}
	for i := range res.Config {
		res.Config[i].File = true
	}
	for _, u := range benchUnits() {
		if v, ok := u.of(r, p); ok {
			res.Values = append(res.Values, benchfmt.Value{Value: tenDigits(v), Unit: u.name})
		}
	}
	return res
}

// attempts says which ones of a closed loop a point is among.
func attempts(s series, p point) string {
	switch {
	case s.loop != closedLoop:
		return ""
	case s.first(p):
		return "first"
	}
	return "later"
}

// benchName ends in the number of cores, like those of Go: a mesh whose name
// ends in a number is then not taken for it.
func benchName(r run, s series) string {
	var b strings.Builder
	title := []rune(benchWord(s.name()))
	if len(title) > 0 {
		title[0] = unicode.ToUpper(title[0])
	}
	fmt.Fprintf(&b, "%s/pods=%s/connections=%d", string(title), s.pods, s.connections)
	if s.loop == openLoop {
		fmt.Fprintf(&b, "/rate=%s", number(s.rate))
	}
	fmt.Fprintf(&b, "/mesh=%s", benchWord(s.mesh))
	if s.named() {
		fmt.Fprintf(&b, "/variant=%s", benchWord(s.variant))
	}
	fmt.Fprintf(&b, "-%d", max(r.Environment.Cores, 1))
	return b.String()
}

// benchWord takes out what ends a name or a part of it.
func benchWord(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || unicode.IsControl(c) || c == '/' {
			return '_'
		}
		return c
	}, s)
}

// oneLine takes out what would end a line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
