package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/scenarios"
)

// printCells prints one line per cell: the median of the later attempts'
// medians under each mesh, and how many times that of ovs it is.
func printCells(out io.Writer, res *scenarios.Result) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "request\tpods\tconnections\t")
	for _, m := range res.Meshes {
		fmt.Fprintf(w, "%s p50 ms\t", m.Name)
		if m.Name != string(orchestrate.OVS) {
			fmt.Fprint(w, "to ovs\t")
		}
	}
	fmt.Fprintln(w)
	type row map[string]scenarios.Cell
	rows := map[scenarios.Point]row{}
	var order []scenarios.Point
	for _, c := range res.Cells {
		p := c.Point()
		if rows[p] == nil {
			rows[p] = row{}
			order = append(order, p)
		}
		rows[p][c.Mesh] = c
	}
	for _, p := range order {
		fmt.Fprintf(w, "%s\t%s\t%d\t", p.Request, p.Pods, p.Connections)
		base, baseOK := median(rows[p][string(orchestrate.OVS)])
		for _, m := range res.Meshes {
			v, ok := median(rows[p][m.Name])
			if ok {
				fmt.Fprintf(w, "%.3f\t", v)
			} else {
				fmt.Fprintf(w, "%d errors\t", failed(rows[p][m.Name]))
			}
			if m.Name != string(orchestrate.OVS) {
				if ok && baseOK {
					fmt.Fprintf(w, "%.2fx\t", v/base)
				} else {
					fmt.Fprint(w, "-\t")
				}
			}
		}
		fmt.Fprintln(w)
	}
	w.Flush()
}

// median is the median of the later attempts' medians, in milliseconds; not
// ok when any request of the cell failed.
func median(c scenarios.Cell) (ms float64, ok bool) {
	if len(c.Attempts) < 2 || failed(c) > 0 {
		return 0, false
	}
	var p50 []float64
	for _, a := range c.Attempts[1:] {
		p50 = append(p50, a.P50)
	}
	slices.Sort(p50)
	n := len(p50)
	return (p50[n/2] + p50[(n-1)/2]) / 2, true
}

func failed(c scenarios.Cell) int {
	n := 0
	for _, a := range c.Attempts {
		n += a.Errors
	}
	return n
}
