package export

import (
	"encoding/csv"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// csvColumns are the columns and what stands in them. Programs read them by
// name: a new one is put at the end, and none changes its meaning.
func csvColumns() []csvColumn {
	columns := []csvColumn{
		{"run", func(r run, s series, p point) string { return r.ID }},
		{"meshlab", func(r run, s series, p point) string { return r.Environment.Meshlab }},
		{"loop", func(r run, s series, p point) string { return string(s.loop) }},
		{"method", func(r run, s series, p point) string { return string(s.method) }},
		{"scenario", func(r run, s series, p point) string { return s.scenario }},
		{"request", func(r run, s series, p point) string { return s.request }},
		{"lab", func(r run, s series, p point) string { return s.lab }},
		{"pods", func(r run, s series, p point) string { return string(s.pods) }},
		{"connections", func(r run, s series, p point) string { return count(s.connections) }},
		{"arrivals", func(r run, s series, p point) string { return string(s.arrivals) }},
		{"offered_per_second", func(r run, s series, p point) string { return positive(p.rate) }},
		{"mesh", func(r run, s series, p point) string { return s.mesh }},
		{"variant", func(r run, s series, p point) string { return s.variant }},
		{"build", func(r run, s series, p point) string { return s.build }},
		{"delay_ms", func(r run, s series, p point) string { return positive(s.delay.Seconds() * 1000) }},
		{"number", func(r run, s series, p point) string { return strconv.Itoa(p.number) }},
		{"started", func(r run, s series, p point) string {
			if p.started.IsZero() {
				return ""
			}
			return p.started.UTC().Format(time.RFC3339Nano)
		}},
		{"seconds", func(r run, s series, p point) string { return positive(p.seconds) }},
		{"requests", func(r run, s series, p point) string { return strconv.Itoa(p.requests) }},
		{"errors", func(r run, s series, p point) string { return strconv.Itoa(p.errors) }},
		{"achieved_per_second", func(r run, s series, p point) string { return number(p.achieved()) }},
		{"clock", func(r run, s series, p point) string { return s.clock() }},
	}
	columns = append(columns, csvFigures("latency", latencyOf)...)
	columns = append(columns, csvFigures("service", serviceOf)...)
	return append(columns,
		csvColumn{"cpu_seconds", func(r run, s series, p point) string {
			sum := 0.0
			for _, c := range p.costs {
				sum += c.CPUSeconds
			}
			return positive(sum)
		}},
		csvColumn{"memory_bytes", func(r run, s series, p point) string {
			sum := uint64(0)
			for _, c := range p.costs {
				sum += c.MemoryBytes
			}
			return positive(float64(sum))
		}},
		csvColumn{"generator_late_p99_ms", func(r run, s series, p point) string {
			return ofTrial(p, func(t *scenarios.Trial) string { return number(t.Generator.Lateness.P99) })
		}},
		csvColumn{"steal_ratio", func(r run, s series, p point) string {
			return ofTrial(p, func(t *scenarios.Trial) string { return number(t.Steal) })
		}},
		csvColumn{"busy_ratio", func(r run, s series, p point) string {
			return ofTrial(p, func(t *scenarios.Trial) string { return number(t.Busy) })
		}},
		csvColumn{"flags", func(r run, s series, p point) string {
			return ofTrial(p, func(t *scenarios.Trial) string {
				var kinds []string
				for _, f := range t.Flags {
					kinds = append(kinds, string(f.Kind))
				}
				return strings.Join(kinds, " ")
			})
		}},
		csvColumn{"error_kinds", func(r run, s series, p point) string {
			var kinds []string
			for _, k := range slices.Sorted(maps.Keys(p.kinds)) {
				kinds = append(kinds, k+": "+strconv.Itoa(p.kinds[k]))
			}
			return strings.Join(kinds, "; ")
		}},
	)
}

type csvColumn struct {
	name  string
	value func(run, series, point) string
}

func csvFigures(name string, of func(point) *scenarios.Distribution) []csvColumn {
	var columns []csvColumn
	for _, f := range figures() {
		columns = append(columns, csvColumn{name + "_" + f.name + "_ms", func(r run, s series, p point) string {
			d := of(p)
			if d == nil {
				return ""
			}
			return number(f.of(d))
		}})
	}
	return columns
}

// figure is one of those that a document has of each distribution.
type figure struct {
	name string
	of   func(*scenarios.Distribution) float64 // milliseconds
}

func figures() []figure {
	return []figure{
		{"min", func(d *scenarios.Distribution) float64 { return d.Min }},
		{"avg", func(d *scenarios.Distribution) float64 { return d.Avg }},
		{"p50", func(d *scenarios.Distribution) float64 { return d.P50 }},
		{"p90", func(d *scenarios.Distribution) float64 { return d.P90 }},
		{"p99", func(d *scenarios.Distribution) float64 { return d.P99 }},
		{"max", func(d *scenarios.Distribution) float64 { return d.Max }},
	}
}

// writeCSV writes a row for each attempt, each side of a trial and each step
// of a ramp (RFC 4180, with line ends as section 2 has them). What is not
// known, or was not, is empty: never zero.
func writeCSV(w io.Writer, runs []run) error {
	columns := csvColumns()
	out := csv.NewWriter(w)
	out.UseCRLF = true
	row := make([]string, len(columns))
	for i, c := range columns {
		row[i] = c.name
	}
	if err := out.Write(row); err != nil {
		return err
	}
	for _, r := range runs {
		for _, s := range r.series {
			for _, p := range s.points {
				for i, c := range columns {
					row[i] = c.value(r, s, p)
				}
				if err := out.Write(row); err != nil {
					return err
				}
			}
		}
	}
	out.Flush()
	return out.Error()
}

func ofTrial(p point, f func(*scenarios.Trial) string) string {
	if p.trial == nil {
		return ""
	}
	return f(p.trial)
}

// count and positive are empty for zero, which stands for nothing there.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func positive(v float64) string {
	if v == 0 {
		return ""
	}
	return number(v)
}
