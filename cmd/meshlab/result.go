package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"meshlab.dev/meshlab/reports/gate"
	"meshlab.dev/meshlab/scenarios"
)

// printResult prints what a run of bench found.
func printResult(w io.Writer, res *scenarios.Result) {
	if len(res.Cells) > 0 {
		printCells(w, res)
	}
	if len(res.Duets) > 0 {
		_ = gate.Text(w, res) // of a terminal or pipe that has gone
	}
	for _, r := range res.Ramps {
		printRamp(w, r)
	}
	for _, f := range res.Waterfalls {
		_ = printWaterfall(w, f)
	}
}

func printRamp(w io.Writer, r scenarios.Ramp) {
	kept := fmt.Sprintf("up to %.0f requests/s", r.Highest)
	switch {
	case r.Highest == 0:
		kept = "at no rate that was tried"
	case r.Highest < 10:
		kept = fmt.Sprintf("up to %.2g requests/s", r.Highest)
	}
	fmt.Fprintf(w, "%s in %s under %s: p%g below %v %s (%d trials; %s)\n",
		r.Scenario, r.Lab, r.Mesh, r.Objective.Percentile, r.Objective.Below, kept, len(r.Steps), rampEnd(r))
}

// rampEnd says why a search went no higher.
func rampEnd(r scenarios.Ramp) string {
	above := "above it"
	if r.Highest == 0 {
		above = "at the lowest of them"
	}
	switch r.End {
	case scenarios.EndObjective:
		return above + " the mesh does not keep that"
	case scenarios.EndGenerator:
		return above + " the generator was late, so the mesh may do more"
	case scenarios.EndMaximum:
		return "no higher rate is tried"
	}
	return "the search did not end"
}

func resultPath(dir string, res *scenarios.Result) string { return filepath.Join(dir, res.ID+".json") }

// pointLatest makes latest.json of a folder point to a file in it.
func pointLatest(dir, path string) error {
	latest := filepath.Join(dir, scenarios.LatestFile)
	tmp := filepath.Join(dir, ".meshlab-latest") // a name that scenarios.LeftUnfinished knows
	_ = os.Remove(tmp)                           // of an earlier run that was killed here
	if err := os.Symlink(filepath.Base(path), tmp); err != nil {
		return err
	}
	return os.Rename(tmp, latest)
}
