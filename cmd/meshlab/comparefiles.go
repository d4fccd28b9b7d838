package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/scenarios"
)

// compareFiles holds a run against an earlier one. It measures nothing, and
// what comes out is not kept: the two files are all there is to it.
func compareFiles(c *cobra.Command, args []string, f compareFlags) error {
	results, err := readResults(args)
	if err != nil {
		return err
	}
	base, changed := results[0], results[1]
	res := *changed
	if res.Duets, err = scenarios.CompareRuns(base, changed); err != nil {
		return usageError{err}
	}
	out := c.ErrOrStderr()
	fmt.Fprintf(out, "These are two runs, %s apart. A mesh is held against another one beside it in each run, where there is one; what else differs between the two times is not seen.\n",
		changed.Started.Sub(base.Started).Abs().Round(time.Second))
	if a, b := base.Environment, changed.Environment; a.Fingerprint != b.Fingerprint || a.Fingerprint == "" {
		fmt.Fprintf(out, "They come from different machines, or from one that has changed: %s with %s and Open vSwitch %s, and %s with %s and Open vSwitch %s.\n",
			a.CPU, a.Kernel, a.OpenVSwitch, b.CPU, b.Kernel, b.OpenVSwitch)
	}
	return f.tell(c, &res, "")
}
