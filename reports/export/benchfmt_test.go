package export

import (
	"bytes"
	"encoding/csv"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"

	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// benchstat runs the real program, of the version in go.mod.
func benchstat(t *testing.T, body []byte, arguments ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "results.txt")
	if err := os.WriteFile(path, body, 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"tool", "benchstat"}, arguments...), path)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("benchstat %v: %v\n%s", arguments, err, errs.String())
	}
	return out.String()
}

// table returns the cells of benchstat's CSV of one unit: row name, then the
// name of the column.
func table(t *testing.T, text, unit string) map[string]map[string]string {
	t.Helper()
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	cells := make(map[string]map[string]string)
	var columns, units []string
	for i, row := range rows {
		switch {
		case len(row) > 1 && row[0] == "" && i+1 < len(rows) && len(rows[i+1]) > 1 && rows[i+1][0] == "":
			columns = row
		case len(row) > 1 && row[0] == "":
			units = row
		case len(row) > 1 && row[0] != "geomean" && len(units) > 1 && units[1] == unit:
			if cells[row[0]] == nil {
				cells[row[0]] = make(map[string]string)
			}
			for j, c := range columns {
				if c != "" && j < len(row) {
					cells[row[0]][c] = row[j]
				}
			}
		}
	}
	return cells
}

func TestBenchstatComparesMeshes(t *testing.T) {
	r := sample.Result(sample.Small)
	body := write(t, "benchfmt", r)
	text := benchstat(t, body, "-format", "csv", "-col", "/mesh", "-filter", "loop:open AND /rate:400")
	cells := table(t, text, "p50-sec/op")
	// The first duet of the sample is the three meshes' on the frontend.
	duet := r.Duets[0]
	for i, v := range duet.Variants {
		var p50 []float64
		for _, trial := range duet.Trials {
			p50 = append(p50, trial.Sides[i].Latency.P50/1000)
		}
		// benchstat leaves the key of the columns out of the rows' names.
		shown, err := strconv.ParseFloat(cells["Frontend/pods=MN/connections=16/rate=400-2"][v.Mesh], 64)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if want := stats.Median(p50); shown < want*0.9999 || shown > want*1.0001 {
			t.Errorf("%s: benchstat has %v, the document %v", v.Mesh, shown, want)
		}
	}
	for _, unit := range []string{"sec/op", "p90-sec/op", "p99-sec/op", "service-p50-sec/op", "req/s", "cpu-sec/op"} {
		if len(table(t, text, unit)) == 0 {
			t.Errorf("benchstat has no table of %s", unit)
		}
	}
	if len(table(t, text, "failed/op")) > 0 {
		t.Error("no request failed, and there is a table of failures")
	}
}

func TestBenchstatKeepsTheFirstAttemptApart(t *testing.T) {
	text := benchstat(t, write(t, "benchfmt", sample.Result(sample.Small, sample.OnlyCells)), "-col", "/mesh", "-filter", "attempts:later")
	if !strings.Contains(text, "attempts: later") || strings.Contains(text, "attempts: first") || !strings.Contains(text, "n=2") {
		t.Errorf("two later attempts of three were asked for:\n%s", text)
	}
}

func TestBenchstatComparesBuilds(t *testing.T) {
	text := benchstat(t, write(t, "benchfmt", tiny(t)), "-format", "csv", "-col", "/variant", "-filter", "loop:open")
	cells := table(t, text, "sec/op")["Api/pods=MN/connections=4/rate=2/mesh=ovs-4"]
	for variant, want := range map[string]float64{"ovs_(base)": 0.00275, "ovs_(new)": 0.003} {
		if got, err := strconv.ParseFloat(cells[variant], 64); err != nil || math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v, %v, want %v, in\n%s", variant, got, err, want, text)
		}
	}
}

func TestBenchfmtIsReadWithoutComplaint(t *testing.T) {
	for _, r := range []*scenarios.Result{tiny(t), sample.Result(sample.Small), sample.Result(sample.Small, sample.OnlyErrors)} {
		reader := benchfmt.NewReader(bytes.NewReader(write(t, "benchfmt", r)), "results.txt")
		lines := 0
		for reader.Scan() {
			switch record := reader.Result().(type) {
			case *benchfmt.SyntaxError:
				t.Error(record)
			case *benchfmt.Result:
				lines++
				if len(record.Values) == 0 {
					t.Errorf("%s has no values", record.Name)
				}
			}
		}
		if err := reader.Err(); err != nil {
			t.Error(err)
		}
		want := 0
		for _, c := range r.Cells {
			want += len(c.Attempts)
		}
		for _, d := range r.Duets {
			for _, trial := range d.Trials {
				want += len(trial.Sides)
			}
		}
		if lines != want {
			t.Errorf("%d lines, want %d", lines, want)
		}
	}
}
