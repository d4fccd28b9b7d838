package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/controller/mesh"
	"meshlab.dev/meshlab/topo"
)

// drawLive draws what flows between the services of a lab that is up.
func drawLive(c *cobra.Command, args []string, format string) error {
	if len(args) == 1 {
		if err := c.Flags().Set("lab", args[0]); err != nil {
			return usageError{err}
		}
	}
	state, err := liveLab(c)
	if err != nil {
		return err
	}
	v, err := lookForRates(c.Context(), trafficOf(state), topEvery)
	if err != nil {
		return err
	}
	if wantJSON(c) {
		return json.NewEncoder(c.OutOrStdout()).Encode(v)
	}
	return drawView(c.OutOrStdout(), v, format)
}

func drawView(out io.Writer, v view, format string) error {
	g := v.graph()
	var text string
	switch format {
	case "svg":
		text = string(g.SVG())
	case "dot":
		text = g.DOT()
	case "mermaid":
		text = g.Mermaid()
	case "text":
		var b strings.Builder
		for _, l := range v.edgeLines() {
			b.WriteString(l.text + "\n")
		}
		text = b.String()
	default:
		return usageError{fmt.Errorf("--format %s: with --live it is svg, dot, mermaid or text", format)}
	}
	_, err := io.WriteString(out, text)
	return err
}

// graph is the picture of a view.
func (v view) graph() topo.ServiceGraph {
	g := topo.ServiceGraph{Title: fmt.Sprintf("Services of the lab %s at %s", v.Lab, v.Time.Format(time.TimeOnly))}
	for _, e := range v.Edges {
		edge := topo.ServiceEdge{From: anyService(e.Source), To: anyService(e.Destination), Labels: []string{
			fmt.Sprintf("%.1f conn/s", e.Attempts.PerSecond),
			strings.TrimSpace(size(e.Bytes.PerSecond)) + "/s",
		}}
		switch {
		case e.Denied.PerSecond > 0:
			edge.State = topo.EdgeDenied
			edge.Labels = append(edge.Labels, fmt.Sprintf("%.1f denied/s", e.Denied.PerSecond))
		case e.Packets.PerSecond > 0:
			edge.State = topo.EdgeBusy
		}
		g.Edges = append(g.Edges, edge)
	}
	return g
}

func anyService(name string) string {
	if name == mesh.Wildcard {
		return "any service"
	}
	return cmp.Or(clean(name), unknownSource)
}
