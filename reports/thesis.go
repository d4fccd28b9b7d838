package reports

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

//go:embed thesis/table4.csv
var table4 []byte

// reference is a row of the thesis' Table 4; all times in milliseconds.
type reference struct {
	Type        string // Frontend or API
	Pods        scenarios.Pods
	Connections int
	Avg         [2]float64 // Consul Connect on AKS, Open vSwitch on Azure VMs
	Min         [2]float64
	Max         [2]float64
}

// Ratio is how many times the average of Open vSwitch that of Consul Connect
// was.
func (r reference) Ratio() float64 { return r.Avg[0] / r.Avg[1] }

// references parses the thesis' table. Its comment lines begin with #.
func references(file []byte) ([]reference, error) {
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
	var refs []reference
	for _, rec := range records[1:] {
		ref := reference{Type: rec[0], Pods: scenarios.Pods(rec[1])}
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

// thesisType returns the thesis' name for a request of a lab file, and "" for
// requests that the thesis does not know.
func thesisType(request string) string {
	switch strings.ToLower(request) {
	case "frontend":
		return "Frontend"
	case "api", "coffees":
		return "API"
	}
	return ""
}
