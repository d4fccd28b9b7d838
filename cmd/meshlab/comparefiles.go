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
	if err := f.writable(); err != nil {
		return err
	}
	results, err := readResults(args)
	if err != nil {
		return err
	}
	base, changed := results[0], results[1]
	res := *changed
	res.Calibration = nil // it is of paired trials
	if res.Duets, err = scenarios.CompareRuns(base, changed); err != nil {
		return usageError{err}
	}
	out := c.ErrOrStderr()
	fmt.Fprintf(out, "These are two runs, %s apart. A mesh is held against another one beside it in each run, where there is one; what else differs between the two times is not seen.\n",
		changed.Started.Sub(base.Started).Abs().Round(time.Second))
	for _, line := range unlike(base.Environment, changed.Environment) {
		fmt.Fprintln(out, line)
	}
	return f.tell(c, &res, "")
}

// unlike says in what two runs differ beside what they compare.
func unlike(a, b scenarios.Environment) []string {
	var all []string
	if hosts := [2]string{hostsOf(a), hostsOf(b)}; hosts[0] != hosts[1] {
		all = append(all, fmt.Sprintf("Hosts were %s in one and %s in the other: what that costs is in every figure, and not the same for each mesh. 'meshlab report' of both files sets their ratios beside each other.", hosts[0], hosts[1]))
		a.Runtime, a.Docker, b.Runtime, b.Docker = "", "", "", ""
		a.Cluster, b.Cluster = nil, nil
		if a.Fingerprint != "" && b.Fingerprint != "" { // else nobody knows
			a.Fingerprint, b.Fingerprint = a.Sum(), b.Sum()
		}
	}
	if a.Fingerprint != b.Fingerprint || a.Fingerprint == "" {
		all = append(all, fmt.Sprintf("They come from different machines, or from one that has changed: %s with %s and Open vSwitch %s, and %s with %s and Open vSwitch %s.",
			a.CPU, a.Kernel, a.OpenVSwitch, b.CPU, b.Kernel, b.OpenVSwitch))
	}
	return all
}

// hostsOf says what the hosts of a run's labs were; an older result, which does
// not say, had no choice.
func hostsOf(e scenarios.Environment) string {
	switch {
	case e.Cluster != nil:
		return "pods of " + e.Place()
	case e.Docker != "":
		return "containers of Docker " + e.Docker
	}
	return "network namespaces"
}
