package scenarios

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/scenarios/stats"
)

// attempt returns a consistent attempt with the given latencies.
func attempt(t *testing.T, ms ...float64) Attempt {
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
	s := stats.Summarize(ms)
	return Attempt{
		Started: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Seconds: 1, Requests: len(ms),
		Min: s.Min, Avg: s.Avg, P50: s.P50, P90: s.P90, P99: s.P99, Max: s.Max,
		RequestsPerSecond: float64(len(ms)), HDR: hdr, Fortio: json.RawMessage(`{"Count":0}`),
	}
}

func sampleResult(t *testing.T) *Result {
	t.Helper()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	failed := attempt(t, 1, 2)
	failed.Requests, failed.Errors, failed.ErrorKind = 3, 1, map[string]int{"timeout": 1}
	return &Result{
		SchemaVersion: SchemaVersion, ID: NewID(start, [4]byte{1, 2, 3, 4}),
		Started: start, Finished: start.Add(time.Minute), Command: []string{"meshlab", "bench"}, Seed: math.MaxUint64,
		Environment: Host(),
		Meshes:      []MeshInfo{{Name: "direct"}, {Name: "ovs"}},
		Labs: []LabInfo{{Name: "hashicups", Pods: MultipleNodes, Traffic: &Traffic{
			Mesh: "ovs", Seconds: 2,
			Edges:     []TrafficEdge{{Source: "client", Destination: "api", Attempts: 4, Packets: 20, Bytes: 3000}, {Destination: "api", Denied: 1}},
			Instances: []TrafficInstance{{Service: "api", ID: "h1/api", Connections: 4, Packets: 18, Bytes: 9000, Resets: 1, Unanswered: 2}},
		}}},
		Ceiling: []Ceiling{{Connections: 1, Attempt: attempt(t, 0.1)}},
		Cells: []Cell{
			{Request: "api", Pods: MultipleNodes, Connections: 1, Mesh: "direct", Attempts: []Attempt{attempt(t, 3, 4), attempt(t, 1, 2)}},
			{Request: "api", Pods: MultipleNodes, Connections: 1, Mesh: "ovs", Attempts: []Attempt{attempt(t, 3, 4), failed}},
		},
	}
}

func TestNewID(t *testing.T) {
	at := time.Date(2026, 3, 1, 13, 0, 0, 0, time.FixedZone("CET", 3600))
	if got, want := NewID(at, [4]byte{0, 255, 1, 2}), "20260301T120000Z-00ff0102"; got != want {
		t.Errorf("NewID = %q, want %q", got, want)
	}
}

func TestWriteAndRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "result.json")
	want := sampleResult(t)
	for range 2 { // the second one replaces the first
		if err := Write(path, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The indentation of raw JSON is the file's, not the value's.
	for _, r := range []*Result{want, got} {
		for i := range r.Cells {
			for j := range r.Cells[i].Attempts {
				r.Cells[i].Attempts[j].Fortio = nil
			}
		}
		r.Ceiling[0].Attempt.Fortio = nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read back\n%+v\nwant\n%+v", got, want)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("files left: %v", left)
	}
}

func TestWriteRefusesAndKeepsTheOld(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "result.json")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	bad := sampleResult(t)
	bad.Cells[0].Attempts[0].P99 = math.NaN()
	if err := Write(path, bad); err == nil || !strings.Contains(err.Error(), "p99_ms is NaN") {
		t.Errorf("got %v, want an error that names p99_ms", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Errorf("the old file now holds %q", b)
	}
	if err := Write(filepath.Join(dir, "missing", "r.json"), sampleResult(t)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	// A folder cannot be replaced by a file: the rename is what goes wrong.
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "taken"), sampleResult(t)); err == nil {
		t.Error("a folder was replaced")
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("files left: %v", left)
	}
}

func TestReadRefuses(t *testing.T) {
	whole, err := json.Marshal(sampleResult(t))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		body string
		want error
	}{
		{"empty", " \n", ErrTruncated},
		{"cut off in the middle", string(whole[:len(whole)/2]), ErrTruncated},
		{"last byte missing", string(whole[:len(whole)-1]), ErrTruncated},
		{"not JSON", "<html></html>", ErrForeign},
		{"two documents", string(whole) + string(whole), ErrForeign},
		{"an array", "[1,2]", ErrForeign},
		{"another program's JSON", `{"RunType":"HTTP"}`, ErrForeign},
		{"version zero", `{"schema_version":0}`, ErrForeign},
		{"version of another type", `{"schema_version":"1"}`, ErrForeign},
		{"another shape", `{"schema_version":1,"cells":7}`, ErrForeign},
		{"newer, and of another shape", `{"schema_version":99,"cells":{}}`, ErrTooNew},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Read(strings.NewReader(tt.body)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := Read(bytes.NewReader(whole)); err != nil {
		t.Errorf("the whole document: %v", err)
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	dir := t.TempDir()
	newest := filepath.Join(dir, LatestFile)
	for _, want := range []string{dir + " is a folder; name a file of results", dir + " is a folder; its newest results are " + newest} {
		if _, err := ReadFile(dir); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if err := os.WriteFile(newest, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Result)
		want   string
	}{
		{"version", func(r *Result) { r.SchemaVersion = 9 }, "schema_version 9"},
		{"id", func(r *Result) { r.ID = "" }, "id is empty"},
		{"time", func(r *Result) { r.Finished = r.Started.Add(-time.Second) }, "before it started"},
		{"cell twice", func(r *Result) { r.Cells[1] = r.Cells[0] }, "there twice"},
		{"no attempts", func(r *Result) { r.Cells[0].Attempts = nil }, "no attempts"},
		{"pods", func(r *Result) { r.Cells[0].Pods = "XN" }, `pods "XN"`},
		{"connections", func(r *Result) { r.Cells[0].Connections = 0 }, "connections 0"},
		{"infinite", func(r *Result) { r.Cells[0].Attempts[1].RequestsPerSecond = math.Inf(1) }, "attempts[1]: requests_per_second is +Inf"},
		{"negative", func(r *Result) { r.Cells[0].Attempts[1].Min = -1 }, "min_ms is -1"},
		{"zero latency", func(r *Result) { r.Cells[0].Attempts[1].Min = 0 }, "answered in no time"},
		{"order", func(r *Result) { r.Cells[0].Attempts[1].P90 = 0.5 }, "not in order"},
		{"more errors than requests", func(r *Result) { r.Cells[1].Attempts[1].Errors = 4 }, "4 errors of 3"},
		{"kinds", func(r *Result) { r.Cells[1].Attempts[1].ErrorKind = nil }, "add up to 0"},
		{"empty histogram", func(r *Result) { r.Cells[0].Attempts[0].HDR = "" }, "no histogram"},
		{"damaged histogram", func(r *Result) { r.Cells[0].Attempts[0].HDR = "xx" }, "decode HDR"},
		{"another attempt's histogram", func(r *Result) { r.Cells[0].Attempts[0].HDR = r.Cells[0].Attempts[1].HDR }, "hdr ends at 2"},
		{"histogram of another count", func(r *Result) { r.Cells[0].Attempts[0].HDR = r.Ceiling[0].Attempt.HDR }, "hdr holds 1 values"},
		{"raw histogram", func(r *Result) { r.Cells[0].Attempts[0].Fortio = json.RawMessage("{") }, "fortio is not JSON"},
		{"no time", func(r *Result) { r.Cells[0].Attempts[0].Seconds = 0 }, "in no time"},
		{"traffic of no mesh", func(r *Result) { r.Labs[0].Traffic.Mesh = "" }, "labs[0]: traffic: mesh is empty"},
		{"traffic in no number", func(r *Result) { r.Labs[0].Traffic.Seconds = math.NaN() }, "seconds is NaN"},
		{"edge to nowhere", func(r *Result) { r.Labs[0].Traffic.Edges[1].Destination = "" }, "edges[1]: destination is empty"},
		{"edge twice", func(r *Result) { r.Labs[0].Traffic.Edges[0].Source = "" }, "is there twice"},
		{"instance without a name", func(r *Result) { r.Labs[0].Traffic.Instances[0].ID = "" }, "service or id is empty"},
		{"instance twice", func(r *Result) {
			r.Labs[0].Traffic.Instances = append(r.Labs[0].Traffic.Instances, r.Labs[0].Traffic.Instances[0])
		}, "h1/api of api is there twice"},
		{"ceiling", func(r *Result) { r.Ceiling[0].Attempt.P50 = math.NaN() }, "generator_ceiling[0]"},
	}
	if err := sampleResult(t).Validate(); err != nil {
		t.Fatalf("the sample: %v", err)
	}
	without := sampleResult(t) // as older documents are
	without.Labs[0].Traffic = nil
	if err := without.Validate(); err != nil {
		t.Errorf("without traffic: %v", err)
	}
	equal := sampleResult(t)
	equal.Cells[0].Attempts[0] = attempt(t, 0.1, 0.1, 0.1) // their average is 0.10000000000000002
	if err := equal.Validate(); err != nil {
		t.Errorf("equal latencies: %v", err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := sampleResult(t)
			tt.change(r)
			if err := r.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestTrafficPerSecond(t *testing.T) {
	if got := sampleResult(t).Labs[0].Traffic.PerSecond(3000); got != 1500 {
		t.Errorf("3000 in 2 s are %v per second", got)
	}
	if got := new(Traffic).PerSecond(3000); got != 0 {
		t.Errorf("3000 in no time are %v per second", got)
	}
}
