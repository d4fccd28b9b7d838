package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/scenarios"
)

// about has what a reader must know of each setting, by rows.
func about(all []*setting) table {
	t := table{Caption: "What was measured where. Times of different machines do not compare; ratios of meshes that took turns on one machine do.", Columns: []column{{"", "what"}}}
	for _, s := range all {
		t.Columns = append(t.Columns, column{"", s.name})
	}
	const quoted = "A. Kraus, AGH 2022, Table 4"
	for _, row := range []struct {
		what   string
		of     func(*scenarios.Result) string
		thesis string
	}{
		{"run", func(r *scenarios.Result) string { return r.ID }, quoted},
		{"measured on", func(r *scenarios.Result) string { return r.Started.UTC().Format("2 January 2006, 15:04 UTC") }, "2022"},
		{"hosts are", func(r *scenarios.Result) string { return hostsText(r.Environment) }, "pods: of AKS under Consul Connect, of Kubernetes on virtual machines under Open vSwitch"},
		{"machine", func(r *scenarios.Result) string { return machineText(r.Environment) }, "AKS; 2 virtual machines of type Standard_B2ms"},
		{"kernel", func(r *scenarios.Result) string { return r.Environment.Kernel }, ""},
		{"Open vSwitch", func(r *scenarios.Result) string {
			return strings.TrimSpace(r.Environment.OpenVSwitch + " " + datapath(r.Environment.Datapath))
		}, ""},
		{"Consul, its proxy", func(r *scenarios.Result) string { return commas(r.Environment.Consul, r.Environment.Proxy) }, "Envoy"},
		{"meshes", meshesText, "Consul Connect, mesh in the switches"},
		{"labs", labsText, "HashiCups"},
		{"load", loadText, "closed loop, 1000 requests per cell"},
		{"meshlab", func(r *scenarios.Result) string { return r.Environment.Meshlab }, "the thesis' prototype"},
	} {
		cells := []entry{head(row.what)}
		for _, s := range all {
			value := row.thesis
			if s.results != nil {
				var each []string
				for _, r := range s.results {
					if v := row.of(r); v != "" && !slices.Contains(each, v) {
						each = append(each, v)
					}
				}
				value = strings.Join(each, "; ")
			}
			cells = append(cells, text(cmp.Or(value, format.Missing)))
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

func commas(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

func machineText(e scenarios.Environment) string {
	if e.Cluster != nil {
		return nodesText(*e.Cluster)
	}
	memory := ""
	if e.MemoryBytes > 0 {
		memory = format.Bytes(e.MemoryBytes)
	}
	return commas(e.CPU, format.Plural(e.Cores, "core"), memory)
}

func meshesText(r *scenarios.Result) string {
	var names []string
	for _, m := range r.Meshes {
		names = append(names, cells.Label(m.Name))
	}
	return strings.Join(names, ", ")
}

func labsText(r *scenarios.Result) string {
	var names []string
	for _, l := range r.Labs {
		names = append(names, fmt.Sprintf("%s (%s)", l.Name, cells.PodsText(l.Pods)))
	}
	return strings.Join(names, ", ")
}

// loadText says how much was sent, in a few words.
func loadText(r *scenarios.Result) string {
	var parts []string
	requests, attempts := 0, 0
	for _, c := range r.Cells {
		attempts = max(attempts, len(c.Attempts))
		for _, a := range c.Attempts {
			requests = max(requests, a.Requests)
		}
	}
	if attempts > 0 {
		parts = append(parts, fmt.Sprintf("closed loop, %s of %s per cell", format.Plural(attempts, "attempt"), format.Plural(requests, "request")))
	}
	for _, d := range r.Duets {
		line := fmt.Sprintf("open loop, %s of %s requests/s", format.Plural(len(d.Trials), "trial"), format.Rate(d.Load.Rate))
		if !slices.Contains(parts, line) {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}

// nodesText tells of the nodes of a cluster, like ones together.
func nodesText(c scenarios.Cluster) string {
	count := map[scenarios.Node]int{}
	var kinds []scenarios.Node
	for _, n := range c.Nodes {
		n.Zone = "" // where it is alone makes no kind
		if count[n]++; count[n] == 1 {
			kinds = append(kinds, n)
		}
	}
	var all []string
	for _, n := range kinds {
		memory := ""
		if n.MemoryBytes > 0 {
			memory = format.Bytes(n.MemoryBytes)
		}
		what := "worker"
		if n.Role == scenarios.RoleControlPlane {
			what = "control plane"
		}
		all = append(all, fmt.Sprintf("%d × %s (%s)", count[n], what,
			commas(n.InstanceType, n.Region, format.Plural(n.Cores, "core"), memory, n.OS, n.Kernel, n.Runtime)))
	}
	return strings.Join(all, "; ")
}

// clusterRows are the rows of a run in a cluster: what its nodes are, and of
// one machine's rows those that hold for the node of the load generator.
func clusterRows(e scenarios.Environment, rows [][2]string) [][2]string {
	network := cmp.Or(e.Cluster.CNI, "unknown")
	out := [][2]string{{"measured in", e.Place()}, {"nodes", nodesText(*e.Cluster)}, {"network of the pods", network}}
	for _, kv := range rows {
		switch kv[0] {
		case "operating system", "kernel", "processor", "memory", "virtualization":
			kv[0] += " of the load generator's node"
		case "receive buffer of a switch port", "run by", "checksum offload on sending": // of labs
			continue
		}
		if strings.TrimSpace(kv[1]) != "" {
			out = append(out, kv)
		}
	}
	return out
}
