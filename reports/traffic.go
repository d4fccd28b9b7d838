package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/topo"
)

// traffic is what the switches counted in one lab, ready to be shown.
type traffic struct {
	*scenarios.Traffic
	Lab    string
	Figure string // name of its picture's file, without the extension
}

// traffics lists the labs of which the result holds counts.
func (s *section) traffics() []traffic {
	var all []traffic
	for i, lab := range s.Result.Labs {
		if lab.Traffic != nil {
			all = append(all, traffic{lab.Traffic, fmt.Sprintf("%s (%s)", lab.Name, lab.Pods), fmt.Sprintf("%straffic-%d", s.Prefix, i+1)})
		}
	}
	return all
}

// uncounted says of which meshes there are no counts, and why.
func (s *section) uncounted() string {
	if s.Result.Environment.Cluster != nil {
		return "On a cluster nothing is counted between the services."
	}
	counting := ""
	for _, lab := range s.Result.Labs {
		if lab.Traffic != nil {
			counting = lab.Traffic.Mesh
		}
	}
	var others []string
	for _, m := range s.Meshes {
		if m != cells.OVS && m != counting {
			others = append(others, cells.Label(m))
		}
	}
	text := ""
	if counting == "" && slices.Contains(s.Meshes, cells.OVS) {
		text = "The results hold no counts of the switches. "
		if len(s.Result.Cells) == 0 && len(s.Result.Duets) > 0 {
			text = "The results hold no counts of the switches: each pair of trials had labs of its own, and their counters were not read before these were gone. " +
				"Results of “meshlab bench” hold counts; of paired trials (--duet) those of one pair of labs, unless with --one-at-a-time. "
		}
	}
	if len(others) > 0 {
		text += fmt.Sprintf("Under %s the switches only forward packets and know of no services, so there is nothing to show.", strings.Join(others, " and "))
	}
	return strings.TrimSpace(text)
}

// Summary says what the figures are over.
func (t traffic) Summary() string {
	return fmt.Sprintf("Counted by the switches of the lab %s under %s, warm-ups included; rates are over the %s s for which it was under load. "+
		"In the picture stand the caller's new connections and bytes. The load keeps its connections from request to request.",
		t.Lab, cells.Label(t.Mesh), format.Significant(t.Seconds, 3))
}

// graph is who called whom, with rates.
func (t traffic) graph() topo.ServiceGraph {
	g := topo.ServiceGraph{Title: "Traffic between the services of " + t.Lab}
	for _, e := range t.Edges {
		edge := topo.ServiceEdge{From: serviceName(e.Source), To: serviceName(e.Destination), Labels: []string{
			format.Rate(t.PerSecond(e.Attempts)) + " conn/s",
			format.Size(t.PerSecond(e.Bytes)) + "/s",
		}}
		switch {
		case e.Denied > 0:
			edge.State = topo.EdgeDenied
			if e.Packets == 0 {
				edge.Labels = nil
			}
			edge.Labels = append(edge.Labels, format.Rate(t.PerSecond(e.Denied))+" denied/s")
		case e.Packets > 0:
			edge.State = topo.EdgeBusy
		default:
			edge.Labels = []string{"nothing"}
		}
		g.Edges = append(g.Edges, edge)
	}
	return g
}

// SVG is the picture of the graph.
func (t traffic) SVG() string { return string(t.graph().SVG()) }

// EdgeTable has a line for each caller and what it called.
func (t traffic) EdgeTable() table {
	out := table{
		Caption: "What services sent to each other. Connections are SYNs, those sent again too; bytes and packets are the caller's, with all headers.",
		Columns: []column{{"", "from"}, {"", "to"}, {"new connections", "in all"}, {"new connections", "per second"},
			{"bytes", "in all"}, {"bytes", "per second"}, {"denied packets", "in all"}, {"denied packets", "per second"}},
	}
	for _, e := range t.Edges {
		denied := []entry{text("0"), text("0")}
		if e.Denied > 0 {
			denied = []entry{failure(format.Count(e.Denied), 1), failure(format.Rate(t.PerSecond(e.Denied)), 1)}
		}
		out.Rows = append(out.Rows, append([]entry{head(serviceName(e.Source)), head(serviceName(e.Destination)),
			text(format.Count(e.Attempts)), text(format.Rate(t.PerSecond(e.Attempts))),
			text(format.Size(float64(e.Bytes))), text(format.Size(t.PerSecond(e.Bytes)))}, denied...))
	}
	return out
}

// InstanceTable has a line for each instance, with its share of its service's
// new connections.
func (t traffic) InstanceTable() table {
	out := table{
		Caption: "What instances got and answered. The share is that of the service's new connections; bytes are those of the answers, with all headers; unanswered are SYNs that had to be sent again.",
		Columns: []column{{"", "service"}, {"", "instance"}, {"new connections", "in all"}, {"new connections", "per second"}, {"new connections", "share"},
			{"bytes", "in all"}, {"bytes", "per second"}, {"", "resets"}, {"", "unanswered"}},
	}
	service := map[string]uint64{}
	for _, i := range t.Instances {
		service[i.Service] += i.Connections
	}
	ill := func(n uint64) entry {
		if n > 0 {
			return failure(format.Count(n), 1)
		}
		return text("0")
	}
	for _, i := range t.Instances {
		share := format.Missing
		if all := service[i.Service]; all > 0 {
			share = fmt.Sprintf("%.1f %%", 100*float64(i.Connections)/float64(all))
		}
		out.Rows = append(out.Rows, []entry{head(i.Service), head(i.ID),
			text(format.Count(i.Connections)), text(format.Rate(t.PerSecond(i.Connections))), text(share),
			text(format.Size(float64(i.Bytes))), text(format.Size(t.PerSecond(i.Bytes))), ill(i.Resets), ill(i.Unanswered)})
	}
	return out
}

// serviceName is how an end of an edge is called.
func serviceName(name string) string {
	if name == scenarios.AnyService {
		return "any service"
	}
	return cmp.Or(name, "(unknown)")
}
