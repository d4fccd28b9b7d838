package reports

import (
	"fmt"
	"slices"
	"strings"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/reports/internal/sentence"
	"meshlab.dev/meshlab/reports/internal/thesis"
	"meshlab.dev/meshlab/scenarios"
)

// table is a table as the page and the Markdown both show it.
type table struct {
	Caption string
	Columns []column
	Rows    [][]entry
}

// column has a group when several columns share a head above their own.
type column struct{ Group, Name string }

// entry is a cell of a table. It covers Span columns, at least one.
type entry struct {
	Text  string
	Span  int
	Head  bool   // names its row
	Class string // of the style sheet, for what must stand out; empty: none
}

func text(s string) entry { return entry{Text: s, Span: 1} }
func head(s string) entry { return entry{Text: s, Span: 1, Head: true} }
func failure(s string, span int) entry {
	return entry{Text: s, Span: span, Class: "error"}
}

// Groups returns the heads above the columns' own, with how many columns each
// covers; none when no column has a group.
func (t table) Groups() []entry {
	var groups []entry
	named := false
	for _, c := range t.Columns {
		named = named || c.Group != ""
		if n := len(groups); n > 0 && c.Group != "" && groups[n-1].Text == c.Group {
			groups[n-1].Span++
			continue
		}
		groups = append(groups, text(c.Group))
	}
	if !named {
		return nil
	}
	return groups
}

// Left tells whether column i holds words rather than numbers.
func (t table) Left(i int) bool {
	if len(t.Rows) == 0 {
		return false
	}
	for _, e := range t.Rows[0] {
		if i == 0 {
			return e.Head || slices.Contains([]string{"pass", "fail", "inconclusive"}, e.Class)
		}
		if i -= e.Span; i < 0 {
			return false
		}
	}
	return false
}

var loadColumns = []column{{"", "type"}, {"", "pods"}, {"", "parallel"}}

func (p *point) heads() []entry {
	return []entry{head(p.Request), head(string(p.Pods)), head(fmt.Sprint(p.Connections))}
}

// table4 has the layout of the thesis' Table 4: average, minimum and maximum
// of the meshes side by side.
func (s *section) table4() table {
	t := table{
		Caption: "Response times in milliseconds, later attempts pooled. SN: single node, MN: several nodes.",
		Columns: slices.Clone(loadColumns),
	}
	kinds := []struct {
		name string
		of   func(*cells.Measure) float64
	}{
		{"average", func(m *cells.Measure) float64 { return m.Avg }},
		{"minimum", func(m *cells.Measure) float64 { return m.Min }},
		{"maximum", func(m *cells.Measure) float64 { return m.Max }},
	}
	for _, k := range kinds {
		for _, mesh := range s.Meshes {
			t.Columns = append(t.Columns, column{k.name, cells.Label(mesh)})
		}
	}
	for _, p := range s.Points {
		row := p.heads()
		for _, k := range kinds {
			for _, mesh := range s.Meshes {
				row = append(row, latency(p.later(mesh), k.of))
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// latency shows a figure of a measure, or its errors in its place.
func latency(m *cells.Measure, of func(*cells.Measure) float64) entry {
	switch {
	case m.OK():
		return text(format.Milliseconds(of(m)))
	case m != nil && m.Errors > 0:
		return failure(m.ErrorText(), 1)
	}
	return text(format.Missing)
}

// percentiles has a line for each mesh at each load, with its ratios.
func (s *section) percentiles() table {
	t := table{
		Caption: "Percentiles in milliseconds, answers per second, and how many times the p50 of Consul Connect and of plain switching each p50 is (smallest and largest over the attempts in brackets). Later attempts pooled.",
		Columns: append(slices.Clone(loadColumns), column{"", "mesh"}, column{"", "p50"}, column{"", "p90"}, column{"", "p99"},
			column{"", "requests/s"}, column{"", "p50 ÷ Consul Connect"}, column{"", "p50 ÷ plain switching"}),
	}
	for _, p := range s.Points {
		for _, mesh := range s.Meshes {
			row := append(p.heads(), head(cells.Label(mesh)))
			m := p.later(mesh)
			switch {
			case m.OK():
				row = append(row, text(format.Milliseconds(m.P50)), text(format.Milliseconds(m.P90)), text(format.Milliseconds(m.P99)),
					text(format.PerSecond(m.PerSecond)), against(p, mesh, cells.Connect), against(p, mesh, cells.Direct))
			case m != nil && m.Errors > 0:
				row = append(row, failure(fmt.Sprintf("%s in %d requests", m.ErrorText(), m.Requests), 6))
			default:
				row = append(row, entry{Text: "no data", Span: 6})
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

func against(p *point, mesh, base string) entry {
	if mesh == base {
		return text("1")
	}
	return text(p.ratio(mesh, base).String())
}

// attempts sets the first attempt of each cell against the later ones.
func (s *section) attempts() table {
	t := table{
		Caption: "First attempt, before any warm-up, against the later attempts. Milliseconds.",
		Columns: append(slices.Clone(loadColumns), column{"", "mesh"},
			column{"first attempt", "average"}, column{"first attempt", "p50"}, column{"first attempt", "p99"}, column{"first attempt", "maximum"},
			column{"later attempts", "p50"}, column{"later attempts", "p99"}, column{"", "p50, first ÷ later"}),
	}
	for _, p := range s.Points {
		for _, mesh := range s.Meshes {
			row := append(p.heads(), head(cells.Label(mesh)))
			first, later := p.first(mesh), p.later(mesh)
			switch {
			case first != nil && first.Errors > 0:
				row = append(row, failure(fmt.Sprintf("%s in %d requests", first.ErrorText(), first.Requests), 7))
			case !first.OK() || !later.OK():
				row = append(row, entry{Text: "no data", Span: 7})
			default:
				row = append(row, text(format.Milliseconds(first.Avg)), text(format.Milliseconds(first.P50)), text(format.Milliseconds(first.P99)), text(format.Milliseconds(first.Max)),
					text(format.Milliseconds(later.P50)), text(format.Milliseconds(later.P99)), text(format.Times(first.P50/later.P50)))
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

// failures lists what went wrong, cell by cell; it is empty when nothing did.
func (s *section) failures() table {
	t := table{
		Caption: "Failed requests, over all attempts of the cell.",
		Columns: append(slices.Clone(loadColumns), column{"", "mesh"}, column{"", "failed"}, column{"", "of requests"}, column{"", "what happened"}),
	}
	for _, p := range s.Points {
		for _, mesh := range p.failed(s.Meshes) {
			m := p.cells[mesh].All
			t.Rows = append(t.Rows, append(p.heads(), head(cells.Label(mesh)),
				text(fmt.Sprint(m.Errors)), text(fmt.Sprint(m.Requests)), text(m.KindsText())))
		}
	}
	return t
}

// thesis sets the thesis' averages and their ratio beside those of this run.
func (s *section) thesis(refs []thesis.Row) table {
	t := table{
		Caption: "Average response times in milliseconds: A. Kraus, AGH 2022, Table 4 (Consul Connect with Envoy on Azure AKS, the mesh with Open vSwitch on Azure virtual machines), and this run. The ratio says how many times the average of the mesh in the switches that of Consul Connect is.",
		Columns: append(slices.Clone(loadColumns),
			column{"thesis", "Consul Connect (AKS)"}, column{"thesis", "Open vSwitch (Azure)"}, column{"thesis", "ratio"},
			column{"this run", "Consul Connect"}, column{"this run", "mesh in the switches"}, column{"this run", "ratio"}),
	}
	avg := func(m *cells.Measure) float64 { return m.Avg }
	for _, ref := range refs {
		row := []entry{head(ref.Type), head(string(ref.Pods)), head(fmt.Sprint(ref.Connections)),
			text(format.Milliseconds(ref.Avg[0])), text(format.Milliseconds(ref.Avg[1])), text(format.Times(ref.Ratio()))}
		i := slices.IndexFunc(s.Points, func(p *point) bool {
			return thesis.Request(p.Request) == ref.Type && p.Pods == ref.Pods && p.Connections == ref.Connections
		})
		if i < 0 {
			t.Rows = append(t.Rows, append(row, entry{Text: "not measured", Span: 3}))
			continue
		}
		a, b := s.Points[i].later(cells.Connect), s.Points[i].later(cells.OVS)
		quotient := format.Missing
		if a.OK() && b.OK() {
			quotient = format.Times(a.Avg / b.Avg)
		}
		t.Rows = append(t.Rows, append(row, latency(a, avg), latency(b, avg), text(quotient)))
	}
	return t
}

// gives tells what each mesh does for its users.
func (s *section) gives() table {
	t := table{
		Caption: "What each mesh gives.",
		Columns: []column{{"", "mesh"}, {"", "name in meshlab"}, {"", "a request passes through"}, {"", "mutual TLS"}, {"", "sees HTTP (L7)"}, {"", "in a sentence"}},
	}
	yes := map[bool]string{true: "yes", false: "no"}
	for _, m := range s.Result.Meshes {
		t.Rows = append(t.Rows, []entry{head(cells.Label(m.Name)), text(m.Name), text(m.DataPath), text(yes[m.MTLS]), text(yes[m.L7]), text(m.Gives)})
	}
	return t
}

// hostsText says what the hosts of the labs are; before there was a choice they
// were network namespaces.
func hostsText(e scenarios.Environment) string {
	switch {
	case e.Cluster != nil:
		return "pods, Kubernetes " + e.Cluster.Kubernetes
	case e.Docker != "":
		return "containers, Docker " + e.Docker
	}
	return "network namespaces"
}

func (s *section) environment() table {
	e := s.Result.Environment
	onOff := map[bool]string{true: "on", false: "off"}
	as := map[bool]string{true: "root", false: "an ordinary user"}
	t := table{Caption: "The machine and the software.", Columns: []column{{"", "what"}, {"", "value"}}}
	rows := [][2]string{
		{"meshlab", e.Meshlab}, {"Go", e.Go}, {"operating system", e.OS}, {"kernel", e.Kernel},
		{"processor", fmt.Sprintf("%s, %s", e.CPU, format.Plural(e.Cores, "core"))}, {"memory", format.Bytes(e.MemoryBytes)},
		{"virtualization", e.Virtualization}, {"Open vSwitch", e.OpenVSwitch}, {"its datapath", datapath(e.Datapath)},
		{"Consul", e.Consul}, {"proxy of Consul Connect", e.Proxy}, {"Postgres", e.Postgres},
		{"hosts are", hostsText(e)}, {"congestion control in the hosts", e.CongestionControl},
		{"checksum offload on sending", onOff[e.TxChecksumOffload]},
		{"receive buffer of a switch port", bufferText(e.SwitchBufferBytes)}, {"run by", as[e.Root]}, {"fingerprint", e.Fingerprint},
	}
	if p := s.Result.Preflight; p != nil {
		rows = append(rows, [2]string{"before the run", fmt.Sprintf("%s of the processors busy, %s taken by the hypervisor, load average %s",
			sentence.Percent(p.Busy), sentence.Percent(p.Steal), format.Significant(p.Load1, 2))})
	}
	if e.Cluster != nil {
		rows = clusterRows(e, rows)
	}
	for _, kv := range rows {
		if strings.TrimSpace(kv[1]) == "" {
			kv[1] = "unknown"
		}
		t.Rows = append(t.Rows, []entry{head(kv[0]), text(kv[1])})
	}
	return t
}

func datapath(kind string) string {
	switch kind {
	case "netdev":
		return "netdev (in userspace)"
	case "system":
		return "system (in the kernel)"
	}
	return kind
}

func (s *section) ceiling() table {
	t := table{
		Caption: "The load generator against a bare server on the loopback interface of the same machine, in the same run.",
		Columns: []column{{"", "parallel"}, {"", "requests/s"}, {"", "p50, ms"}, {"", "p99, ms"}},
	}
	for _, c := range s.Result.Ceiling {
		if a := c.Attempt; a.Errors > 0 {
			t.Rows = append(t.Rows, []entry{head(fmt.Sprint(c.Connections)), failure(format.Plural(a.Errors, "error"), 3)})
		} else {
			t.Rows = append(t.Rows, []entry{head(fmt.Sprint(c.Connections)), text(format.PerSecond(a.RequestsPerSecond)), text(format.Milliseconds(a.P50)), text(format.Milliseconds(a.P99))})
		}
	}
	return t
}

// bufferText is a buffer's size as people read it.
func bufferText(bytes int) string {
	if bytes == 0 {
		return "the kernel's own"
	}
	return fmt.Sprintf("%d KiB", bytes>>10)
}
