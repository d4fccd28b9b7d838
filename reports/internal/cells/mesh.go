package cells

import (
	"fmt"

	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/scenarios"
)

// The meshes that the report knows by name. Others are shown as they are
// called, and have no part in the summary.
const (
	Direct  = "direct"
	OVS     = "ovs"
	Connect = "consul-connect"
)

// Label returns what a mesh is called in the report.
func Label(mesh string) string {
	switch mesh {
	case Direct:
		return "Plain switching"
	case OVS:
		return "Mesh in the switches"
	case Connect:
		return "Consul Connect"
	}
	return mesh
}

// PodsText spells out the thesis' abbreviation.
func PodsText(p scenarios.Pods) string {
	if p == scenarios.SingleNode {
		return "single node"
	}
	return "several nodes"
}

// Title names a load in headings and figures.
func Title(p scenarios.Point) string {
	return fmt.Sprintf("%s, %s, %s", p.Request, PodsText(p.Pods), format.Plural(p.Connections, "connection"))
}
