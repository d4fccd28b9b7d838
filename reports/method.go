package reports

import (
	"fmt"
	"slices"

	"meshlab.dev/meshlab/reports/internal/format"
)

// ClosedText tells how the closed loop was measured, and what it cannot tell.
// It is empty when nothing was.
func (v view) ClosedText() []string {
	if len(v.Points) == 0 {
		return nil
	}
	requests, repeats := 0, 0
	meshes := map[string]bool{}
	for _, c := range v.Result.Cells {
		meshes[c.Mesh] = true
		repeats = max(repeats, len(c.Attempts))
		for _, a := range c.Attempts {
			requests = max(requests, a.Requests)
		}
	}
	turns := fmt.Sprintf("The meshes took turns inside each cell, in an order drawn with seed %d, so that a slow minute of the machine strikes all of them.", v.Result.Seed)
	if len(meshes) == 1 {
		turns = "" // of one
	}
	return slices.DeleteFunc([]string{
		fmt.Sprintf("Each cell was measured in up to %s per mesh, of up to %s each. The first attempt came before any warm-up and is shown apart; then each mesh had one warm-up whose figures were dropped, then came the later attempts, which the tables pool.",
			format.Plural(repeats, "attempt"), format.Plural(requests, "request")),
		turns,
		"The load is a closed loop: every connection sends its next request when it has the whole answer to the last. When a mesh is slow it is asked less often, so its waiting times are not those that users arriving on their own would see.",
		"Connections are opened inside the attempt, by their first request, and kept after that. The status and the content of every answer were checked. A cell with a single failed request in any attempt is shown as errors and not as a latency.",
		"No test of significance was made of the closed loop. The brackets show how far the attempts differ; they are ranges, not confidence intervals.",
	}, func(s string) bool { return s == "" })
}

// Limits tells what holds for all figures of a run.
func (v view) Limits() []string {
	if v.Result.Environment.Cluster != nil {
		return []string{
			percentileText,
			"SN: the pods of all services are on one node of the cluster; MN: they are spread over its nodes. Which traffic leaves a node, and how the network of the pods carries it, is the cluster's affair.",
			"The load came from a pod of the same cluster. Load generator, services, the cluster's own agents and, in a cloud, other customers' machines share processors and network.",
		}
	}
	return []string{
		percentileText,
		"With several nodes every request crosses the switches under every mesh. On a single node, calls between the services of plain switching and of Consul Connect stay inside the host's kernel, while the mesh in the switches sends them to the switch and back.",
		"Everything ran on one machine, load generator and services included, sharing its processors. There is no wire: a network's own latency would be added to every mesh alike, and make the ratios smaller.",
	}
}

const percentileText = "Percentiles are nearest-rank values of merged HDR histograms (three significant figures); average, minimum and maximum are exact."
