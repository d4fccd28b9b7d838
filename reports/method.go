package reports

import (
	"fmt"

	"meshlab.dev/meshlab/reports/internal/format"
)

// ClosedText tells how the closed loop was measured, and what it cannot tell.
// It is empty when nothing was.
func (v view) ClosedText() []string {
	if len(v.Points) == 0 {
		return nil
	}
	requests, repeats := 0, 0
	for _, c := range v.Result.Cells {
		repeats = max(repeats, len(c.Attempts))
		for _, a := range c.Attempts {
			requests = max(requests, a.Requests)
		}
	}
	return []string{
		fmt.Sprintf("Each cell was measured in up to %s per mesh, of up to %s each. The first attempt came before any warm-up and is shown apart; then each mesh had one warm-up whose figures were dropped, then came the later attempts, which the tables pool.",
			format.Plural(repeats, "attempt"), format.Plural(requests, "request")),
		fmt.Sprintf("The meshes took turns inside each cell, in an order drawn with seed %d, so that a slow minute of the machine strikes all of them.", v.Result.Seed),
		"The load is a closed loop: every connection sends its next request when it has the whole answer to the last. When a mesh is slow it is asked less often, so its waiting times are not those that users arriving on their own would see.",
		"Connections are opened inside the attempt, by their first request, and kept after that. The status and the content of every answer were checked. A cell with a single failed request in any attempt is shown as errors and not as a latency.",
		"No test of significance was made of the closed loop. The brackets show how far the attempts differ; they are ranges, not confidence intervals.",
	}
}

// Limits tells what holds for all figures of a run.
func (v view) Limits() []string {
	return []string{
		"Percentiles are nearest-rank values of merged HDR histograms (three significant figures); average, minimum and maximum are exact.",
		"With several nodes every request crosses the switches under every mesh. On a single node, calls between the services of plain switching and of Consul Connect stay inside the host's kernel, while the mesh in the switches sends them to the switch and back.",
		"Everything ran on one machine, load generator and services included, sharing its processors. There is no wire: a network's own latency would be added to every mesh alike, and make the ratios smaller.",
	}
}
