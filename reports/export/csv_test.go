package export

import (
	"bytes"
	"encoding/csv"
	"testing"
)

func TestCSVIsRead(t *testing.T) {
	body := write(t, "csv", tiny(t))
	if bytes.Count(body, []byte("\n")) != bytes.Count(body, []byte("\r\n")) {
		t.Error("a line does not end in CRLF (RFC 4180, section 2)")
	}
	rows, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1+3+4+1 {
		t.Fatalf("%d rows, want a header, 3 attempts, 4 sides and 1 step", len(rows))
	}
	get := func(row int, column string) string {
		for i, name := range rows[0] {
			if name == column {
				return rows[row][i]
			}
		}
		t.Fatalf("no column %s", column)
		return ""
	}
	tests := []struct {
		row          int
		column, want string
	}{
		{1, "loop", "closed"}, {1, "clock", "sent"}, {1, "number", "1"}, {1, "latency_p50_ms", "6"}, {1, "service_p50_ms", ""},
		{1, "lab", "tiny"}, {1, "offered_per_second", ""}, {1, "achieved_per_second", "6"}, {1, "steal_ratio", ""},
		{2, "latency_avg_ms", "2.5"}, {2, "started", "2026-05-04T03:02:03Z"},
		{3, "mesh", "consul-connect"}, {3, "errors", "3"}, {3, "latency_p50_ms", ""}, {3, "error_kinds", "timeout: 3"},
		{4, "loop", "open"}, {4, "clock", "intended"}, {4, "variant", "ovs (base)"}, {4, "build", "v8"},
		{4, "latency_p50_ms", "2.25"}, {4, "service_p50_ms", "2"}, {4, "cpu_seconds", "0.3"}, {4, "memory_bytes", "5000000"},
		{4, "achieved_per_second", "2"}, {4, "flags", ""},
		{7, "variant", "ovs (new)"}, {7, "delay_ms", "0.25"}, {7, "errors", "2"}, {7, "error_kinds", "status 500: 1; timeout: 1"},
		{7, "flags", "errors steal"}, {7, "steal_ratio", "0.01"},
		{8, "loop", "ramp"}, {8, "offered_per_second", "100"}, {8, "achieved_per_second", "50"}, {8, "latency_max_ms", "11.25"},
	}
	for _, tt := range tests {
		if got := get(tt.row, tt.column); got != tt.want {
			t.Errorf("row %d, %s: %q, want %q", tt.row, tt.column, got, tt.want)
		}
	}
	seen := make(map[string]bool)
	for _, name := range rows[0] {
		if seen[name] {
			t.Errorf("column %s is there twice", name)
		}
		seen[name] = true
	}
}
