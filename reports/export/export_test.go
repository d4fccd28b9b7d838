package export

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// tiny is a document with one of everything: a cell with two attempts, one
// without a success, a duet of two builds with a trial in which one failed,
// and a ramp.
func tiny(t *testing.T) *scenarios.Result {
	t.Helper()
	at := time.Date(2026, time.May, 4, 3, 2, 1, 0, time.UTC)
	attempt := func(second int, ms ...float64) scenarios.Attempt {
		d := distribution(t, ms...)
		return scenarios.Attempt{
			Started: at.Add(time.Duration(second) * time.Second), Seconds: 0.5, Requests: len(ms), RequestsPerSecond: float64(2 * len(ms)),
			Min: d.Min, Avg: d.Avg, P50: d.P50, P90: d.P90, P99: d.P99, Max: d.Max, HDR: d.HDR,
		}
	}
	side := func(ms ...float64) scenarios.SideOutcome {
		late := slices.Clone(ms)
		for i := range late {
			late[i] += 0.25
		}
		return scenarios.SideOutcome{Requests: len(ms), Latency: distribution(t, late...), Service: distribution(t, ms...)}
	}
	failed := side(1, 3)
	failed.Requests, failed.Errors, failed.ErrorKind = 4, 2, map[string]int{"timeout": 1, "status 500": 1}
	trial := func(second int, sides ...scenarios.SideOutcome) scenarios.Trial {
		return scenarios.Trial{
			TrialOutcome: scenarios.TrialOutcome{Started: at.Add(time.Duration(second) * time.Second), Seconds: 2, Sides: sides},
			Steal:        0.01, Busy: 0.5,
			Costs: [][]scenarios.Cost{
				{{Part: "switch", CPUSeconds: 0.2, MemoryBytes: 3e6}, {Part: "controller", CPUSeconds: 0.1, MemoryBytes: 2e6}},
				{{Part: "switch", CPUSeconds: 0.4, MemoryBytes: 4e6}},
			},
		}
	}
	flagged := trial(20, side(1, 2, 3, 4), failed)
	flagged.Flags = []scenarios.Flag{{Kind: scenarios.FlagErrors, Detail: "2 of 4"}, {Kind: scenarios.FlagSteal, Detail: "3 %"}}
	return &scenarios.Result{
		SchemaVersion: scenarios.SchemaVersion, ID: "20260504T030201Z-00000001", Started: at, Finished: at.Add(time.Minute),
		Command: []string{"meshlab", "bench", "tiny"},
		Environment: scenarios.Environment{
			Meshlab: "v9", OS: "Linux", Kernel: "6.1", CPU: "Example", Cores: 4, MemoryBytes: 8e9, OpenVSwitch: "3.1", Datapath: "netdev", Consul: "1.22",
		},
		Meshes: []scenarios.MeshInfo{{Name: "ovs", DataPath: "host, switches, host"}, {Name: "consul-connect", MTLS: true}},
		Labs:   []scenarios.LabInfo{{Name: "tiny", Pods: scenarios.MultipleNodes, File: "not a lab file"}},
		Cells: []scenarios.Cell{
			{Request: "api", Pods: scenarios.MultipleNodes, Connections: 8, Mesh: "ovs", Attempts: []scenarios.Attempt{attempt(1, 5, 6, 7), attempt(2, 1, 2, 3, 4)}},
			{Request: "api", Pods: scenarios.MultipleNodes, Connections: 8, Mesh: "consul-connect", Attempts: []scenarios.Attempt{
				{Started: at.Add(3 * time.Second), Seconds: 1, Requests: 3, Errors: 3, ErrorKind: map[string]int{"timeout": 3}},
			}},
		},
		Duets: []scenarios.Duet{{
			Scenario: "open", Request: "api", Lab: "tiny", Pods: scenarios.MultipleNodes, Method: scenarios.Alive,
			Load:     scenarios.OpenLoad{Arrivals: scenarios.Poisson, Rate: 2, Connections: 4, Requests: 4},
			Variants: []scenarios.Variant{{Name: "ovs (base)", Mesh: "ovs", Build: "v8"}, {Name: "ovs (new)", Mesh: "ovs", Delay: 250 * time.Microsecond}},
			Trials:   []scenarios.Trial{trial(10, side(1, 2, 3, 4), side(2, 3, 4, 5)), flagged},
			Comparisons: []scenarios.Comparison{{Base: "ovs (base)", New: "ovs (new)", Metrics: []scenarios.MetricDecision{
				{Metric: "p50", Ratio: 1.25, Low: 1.125, High: 1.5, Bound: 1.75, PValue: 0.25, PAdjusted: 0.5, Verdict: scenarios.Inconclusive},
			}}},
		}},
		Ramps: []scenarios.Ramp{{
			Scenario: "open", Lab: "tiny", Pods: scenarios.MultipleNodes, Mesh: "ovs", Highest: 100,
			Objective: scenarios.Objective{Percentile: 99, Below: 20 * time.Millisecond},
			Steps:     []scenarios.RampStep{{Rate: 100, Achieved: 50, Outcome: side(10, 11), Kept: true}},
		}},
	}
}

func distribution(t *testing.T, ms ...float64) scenarios.Distribution {
	t.Helper()
	h := stats.NewHDR()
	for _, v := range ms {
		if err := h.RecordValue(int64(v * 1000)); err != nil {
			t.Fatal(err)
		}
	}
	hdr, err := stats.EncodeHDR(h)
	if err != nil {
		t.Fatal(err)
	}
	s := stats.Summarize(slices.Clone(ms))
	return scenarios.Distribution{Min: s.Min, Avg: s.Avg, P50: s.P50, P90: s.P90, P99: s.P99, Max: s.Max, HDR: hdr}
}

func write(t *testing.T, format string, results ...*scenarios.Result) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, format, results); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what was written (go test -update rewrites it); written:\n%s", path, got)
	}
}

func TestGoldens(t *testing.T) {
	for _, f := range Formats() {
		if f.Directory {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			got := write(t, f.Name, tiny(t))
			golden(t, "tiny"+f.Extension+goldenSuffix(f), got)
			if again := write(t, f.Name, tiny(t)); !bytes.Equal(again, got) {
				t.Error("the second time it is different")
			}
		})
	}
}

// goldenSuffix keeps the checkout from changing the line ends of CSV.
func goldenSuffix(f Format) string {
	if f.Name == "csv" {
		return ".crlf"
	}
	return ""
}

func TestFormatsAreSorted(t *testing.T) {
	formats := Formats()
	if len(formats) != 5 || !slices.IsSortedFunc(formats, func(a, b Format) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("%+v", formats)
	}
	for _, f := range formats {
		if f.Summary == "" || !strings.HasPrefix(f.Extension, ".") {
			t.Errorf("%+v", f)
		}
	}
}

func TestRefuses(t *testing.T) {
	damaged := tiny(t)
	damaged.Cells[0].Attempts[1].HDR = damaged.Cells[0].Attempts[1].HDR[:20]
	idle := &scenarios.Result{ID: "idle", Duets: []scenarios.Duet{{Variants: []scenarios.Variant{{Name: "ovs"}}}}}
	tests := []struct {
		name, format string
		results      []*scenarios.Result
		want         error  // or
		text         string // in it
	}{
		{"unknown format", "xml", []*scenarios.Result{tiny(t)}, ErrUnknownFormat, "want one of benchfmt, csv, fortio, openmetrics, smp"},
		{"no result", "csv", nil, ErrNothing, "no result"},
		{"nothing measured", "csv", []*scenarios.Result{tiny(t), sample.Result(sample.Nothing)}, ErrNothing, "deadbeef"},
		{"duet without trials", "smp", []*scenarios.Result{idle}, ErrNothing, "result idle"},
		{"many files", "fortio", []*scenarios.Result{tiny(t)}, ErrManyFiles, "there are 7"},
		{"one file, fortio", "fortio", []*scenarios.Result{{ID: "r", Cells: tiny(t).Cells[1:]}}, ErrManyFiles, "there are 1"},
		{"fortio of ramps alone", "fortio", []*scenarios.Result{{ID: "r", Ramps: tiny(t).Ramps}}, ErrNothing, "neither cells nor duets"},
		{"damaged histogram", "openmetrics", []*scenarios.Result{damaged}, nil, "cell-1: "},
		{"damaged histogram, fortio", "fortio", []*scenarios.Result{damaged}, nil, "cell-1: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			err := Write(&b, tt.format, tt.results)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want %v and %q in it", err, tt.want, tt.text)
			}
			if b.Len() > 0 {
				t.Errorf("%d bytes were written", b.Len())
			}
		})
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestWriteTellsThatTheDiskIsFull(t *testing.T) {
	if err := Write(full{}, "csv", []*scenarios.Result{tiny(t)}); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("%v", err)
	}
}

func TestEveryFormatBearsFailures(t *testing.T) {
	for _, f := range Formats() {
		paths, err := WriteDir(t.TempDir(), f.Name, []*scenarios.Result{sample.Result(sample.Small, sample.OnlyErrors)})
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		for _, p := range paths {
			body, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, bad := range []string{"NaN", "Inf,"} {
				if bytes.Contains(body, []byte(bad)) {
					t.Errorf("%s: %s in it", p, bad)
				}
			}
		}
	}
}

func TestWriteDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	paths, err := WriteDir(dir, "csv", []*scenarios.Result{tiny(t)})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{filepath.Join(dir, "results.csv")}; !slices.Equal(paths, want) {
		t.Errorf("paths %v, want %v", paths, want)
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(paths[0], []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteDir(dir, "csv", []*scenarios.Result{tiny(t)}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(paths[0]); err != nil || !bytes.Equal(got, write(t, "csv", tiny(t))) {
		t.Errorf("%s was not replaced: %v", paths[0], err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

func TestWriteDirLeavesNothingHalfDone(t *testing.T) {
	all := t.TempDir()
	paths, err := WriteDir(all, "fortio", []*scenarios.Result{tiny(t)})
	if err != nil {
		t.Fatal(err)
	}
	// A directory stands where the last file is to go.
	dir := t.TempDir()
	blocked := filepath.Base(paths[len(paths)-1])
	if err := os.MkdirAll(filepath.Join(dir, blocked, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteDir(dir, "fortio", []*scenarios.Result{tiny(t)}); err == nil || !strings.Contains(err.Error(), blocked) {
		t.Errorf("error %v, want %s in it", err, blocked)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("%v was left behind", entries)
	}
	if _, err := WriteDir(paths[0], "csv", []*scenarios.Result{tiny(t)}); err == nil {
		t.Error("a file was taken for a directory")
	}
}
