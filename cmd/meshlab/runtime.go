package main

import (
	"fmt"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/topo"
)

const runtimeHelp = "what hosts are: namespaces or docker (default: docker for labs with images or limits, else namespaces)"

// runtimeOf is the runtime of a lab: that of the flag, or without one what the
// lab needs.
func runtimeOf(lab *topo.Lab, flag string) (orchestrate.Runtime, error) {
	why, needs := lab.NeedsDocker()
	if flag == "" && needs {
		return orchestrate.Docker, nil
	}
	if flag == "" {
		return orchestrate.Namespaces, nil
	}
	r, err := orchestrate.ParseRuntime(flag)
	if err != nil {
		return "", usageError{err}
	}
	if r == orchestrate.Namespaces && needs {
		return "", usageError{fmt.Errorf("lab %s needs --runtime docker: %s", lab.Name, why)}
	}
	return r, nil
}
