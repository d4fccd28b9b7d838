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
	fmt.Fprintf(w, "%s in %s under %s: p%g below %v up to %.0f requests/s (%d rates tried; ended at: %s)\n",
		r.Scenario, r.Lab, r.Mesh, r.Objective.Percentile, r.Objective.Below, r.Highest, len(r.Steps), r.End)
}

func resultPath(dir string, res *scenarios.Result) string { return filepath.Join(dir, res.ID+".json") }

// pointLatest makes latest.json of a folder point to a file in it.
func pointLatest(dir, path string) error {
	latest := filepath.Join(dir, "latest.json")
	tmp := filepath.Join(dir, ".meshlab-latest") // a name that scenarios.LeftUnfinished knows
	_ = os.Remove(tmp)                           // of an earlier run that was killed here
	if err := os.Symlink(filepath.Base(path), tmp); err != nil {
		return err
	}
	return os.Rename(tmp, latest)
}
