package reports

import (
	"fmt"
	"strings"

	"meshlab.dev/meshlab/reports/internal/thesis"
	"meshlab.dev/meshlab/scenarios"
)

// ThesisFindings are the ratios of the thesis' Table 4, cell by cell: how many
// times the average of Open vSwitch that of Consul Connect was. It gives no
// intervals, and each mesh had a cluster of its own.
func ThesisFindings() ([]scenarios.Finding, error) {
	rows, err := thesis.Rows()
	if err != nil {
		return nil, fmt.Errorf("read the reference: %w", err)
	}
	var all []scenarios.Finding
	for _, r := range rows {
		at := scenarios.Point{Pods: r.Pods, Request: strings.ToLower(r.Type), Connections: r.Connections}
		all = append(all, scenarios.Finding{Cell: at.String(), Figure: "avg", Base: "ovs", New: "consul-connect", Ratio: r.Ratio(),
			Apart: true, Point: at, Model: scenarios.ClosedLoop})
	}
	return all, nil
}
