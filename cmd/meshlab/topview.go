package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"meshlab.dev/meshlab/controller/metrics"
)

// viewLine is one line of a view.
type viewLine struct {
	text string
	kind lineKind
}

type lineKind int

const (
	plainLine lineKind = iota
	headLine           // names columns
	alertLine          // something is refused or ill
)

// lines is the view as text, in at most height lines; 0: as many as there are.
// What is busiest comes first.
func (v view) lines(height int) []viewLine {
	out := []viewLine{{text: fmt.Sprintf("Lab %s, %s", v.Lab, v.Time.Format(time.TimeOnly))}}
	var refused, spoofed, dns float64
	for _, d := range v.Datapaths {
		refused += d.Refused.PerSecond
		spoofed += d.Spoofed.PerSecond
		dns += d.DNS.PerSecond
		switch {
		case d.Read.IsZero():
			out = append(out, viewLine{"  " + clean(d.Name) + ": no counters yet", alertLine})
		case d.IntervalSeconds == 0:
			out = append(out, viewLine{fmt.Sprintf("  %s: no rates; counters read %.0f s ago", clean(d.Name), v.Time.Sub(d.Read).Seconds()), alertLine})
		}
	}
	out = append(out, viewLine{text: fmt.Sprintf("  refused %.1f/s, spoofed %.1f/s, DNS %.1f/s", refused, spoofed, dns)}, viewLine{})
	edges, instances := v.edgeLines(), v.instanceLines()
	if height > 0 {
		room := max(height-len(out)-1, 4) // a blank line between the tables
		half := room / 2
		switch {
		case len(edges)+len(instances) <= room:
		case len(edges) <= half:
			instances = shorten(instances, room-len(edges))
		case len(instances) <= half:
			edges = shorten(edges, room-len(instances))
		default:
			edges, instances = shorten(edges, half), shorten(instances, room-half)
		}
	}
	out = append(append(append(out, edges...), viewLine{}), instances...)
	if height > 0 && len(out) > height {
		out = out[:height]
	}
	return out
}

// shorten keeps n lines, of which the last says what is left out.
func shorten(lines []viewLine, n int) []viewLine {
	if len(lines) <= n {
		return lines
	}
	return append(lines[:n-1:n-1], viewLine{text: fmt.Sprintf("... and %d more", len(lines)-n+1)})
}

// unknownSource stands for a source that the switch cannot tell.
const unknownSource = "(unknown)"

func (v view) edgeLines() []viewLine {
	edges := slices.Clone(v.Edges)
	slices.SortStableFunc(edges, func(a, b metrics.Edge) int {
		return cmp.Or(-cmp.Compare(a.Bytes.PerSecond+a.Denied.PerSecond, b.Bytes.PerSecond+b.Denied.PerSecond), -cmp.Compare(a.Bytes.Total, b.Bytes.Total))
	})
	rows := [][]string{{"FROM", "TO", " ATTEMPTS/s", " PACKETS/s", "   BYTES/s", " DENIED/s", "     BYTES"}}
	var alerts []bool
	for _, e := range edges {
		rows = append(rows, []string{cmp.Or(clean(e.Source), unknownSource), clean(e.Destination), rate(11, e.Attempts), rate(10, e.Packets),
			size(e.Bytes.PerSecond), rate(9, e.Denied), size(float64(e.Bytes.Total))})
		alerts = append(alerts, e.Denied.PerSecond > 0)
	}
	return table(rows, alerts)
}

func (v view) instanceLines() []viewLine {
	instances := slices.Clone(v.Instances)
	slices.SortStableFunc(instances, func(a, b metrics.Instance) int {
		return cmp.Or(-cmp.Compare(a.Bytes.PerSecond, b.Bytes.PerSecond), -cmp.Compare(a.Bytes.Total, b.Bytes.Total))
	})
	rows := [][]string{{"SERVICE", "INSTANCE", "HEALTH", "   CONN/s", " SHARE", "   BYTES/s", " RESETS/s", "UNANSWERED/s", "     BYTES"}}
	var alerts []bool
	for _, i := range instances {
		share := "     -"
		if i.Connections.PerSecond > 0 {
			share = fmt.Sprintf("%5.1f%%", 100*i.Share)
		}
		health := v.Health[i.ID]
		rows = append(rows, []string{clean(i.Service), clean(i.ID), dash(clean(health)), rate(9, i.Connections), share,
			size(i.Bytes.PerSecond), rate(9, i.Resets), rate(12, i.Repeated), size(float64(i.Bytes.Total))})
		alerts = append(alerts, i.Resets.PerSecond > 0 || i.Repeated.PerSecond > 0 || health != "" && health != "passing")
	}
	return table(rows, alerts)
}

// table puts rows into columns; the first row names them.
func table(rows [][]string, alerts []bool) []viewLine {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	w.Flush()
	var out []viewLine
	for text := range strings.Lines(b.String()) {
		l := viewLine{text: strings.TrimRight(text, " \n")}
		switch n := len(out); {
		case n == 0:
			l.kind = headLine
		case alerts[n-1]:
			l.kind = alertLine
		}
		out = append(out, l)
	}
	return out
}

func rate(width int, f metrics.Figure) string { return fmt.Sprintf("%*.1f", width, f.PerSecond) }

// size is a number of bytes in units of the SI, 10 letters wide.
func size(n float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	i := 0
	for n >= 999.95 && i < len(units)-1 {
		n /= 1000
		i++
	}
	return fmt.Sprintf("%7.1f %-2s", n, units[i])
}

// clean makes a name that a registry has given safe for a terminal and for
// one cell of a table.
func clean(name string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
}

// printView writes a view without anything that only a terminal understands.
func printView(out io.Writer, v view) error {
	var b strings.Builder
	for _, l := range v.lines(0) {
		b.WriteString(l.text + "\n")
	}
	_, err := io.WriteString(out, b.String()+"\n")
	return err
}
