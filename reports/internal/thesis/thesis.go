// Package thesis holds what is quoted of the thesis: A. Kraus, AGH University
// of Krakow, 2022, Table 4.
package thesis

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"

	"meshlab.dev/meshlab/scenarios"
)

//go:embed table4.csv
var table4 []byte

// Row is a row of the thesis' Table 4; all times in milliseconds.
type Row struct {
	Type        string // Frontend or API
	Pods        scenarios.Pods
	Connections int
	Avg         [2]float64 // Consul Connect on AKS, Open vSwitch on Azure VMs
	Min         [2]float64
	Max         [2]float64
}

// Place says where the thesis measured, as scenarios.Environment.Place does of
// a run.
const Place = "the thesis' two clusters in Azure, 2022"

// Ratio is how many times the average of Open vSwitch that of Consul Connect
// was.
func (r Row) Ratio() float64 { return r.Avg[0] / r.Avg[1] }

// Rows returns the table in its own order.
func Rows() ([]Row, error) { return parse(table4) }

// parse reads the table's file. Its comment lines begin with #.
func parse(file []byte) ([]Row, error) {
	var rows bytes.Buffer
	lines := bufio.NewScanner(bytes.NewReader(file))
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "#") {
			rows.WriteString(lines.Text() + "\n")
		}
	}
	r := csv.NewReader(&rows)
	r.FieldsPerRecord = 9
	records, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read the thesis' table: %w", err)
	}
	if len(records) < 2 {
		return nil, fmt.Errorf("read the thesis' table: no rows")
	}
	var refs []Row
	for _, rec := range records[1:] {
		ref := Row{Type: rec[0], Pods: scenarios.Pods(rec[1])}
		if ref.Connections, err = strconv.Atoi(rec[2]); err != nil {
			return nil, fmt.Errorf("read the thesis' table: %w", err)
		}
		var ms [6]float64
		for i := range ms {
			if ms[i], err = strconv.ParseFloat(rec[3+i], 64); err != nil {
				return nil, fmt.Errorf("read the thesis' table: %w", err)
			}
		}
		ref.Avg, ref.Min, ref.Max = [2]float64(ms[0:2]), [2]float64(ms[2:4]), [2]float64(ms[4:6])
		refs = append(refs, ref)
	}
	return refs, nil
}

// Request returns the thesis' name for a request of a lab file, and "" for
// requests that the thesis does not have.
func Request(name string) string {
	switch strings.ToLower(name) {
	case "frontend":
		return "Frontend"
	case "api", "coffees":
		return "API"
	}
	return ""
}
