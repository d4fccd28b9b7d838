package sentence

import (
	"fmt"
	"strings"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// Faults says what was broken in the trials of a duet, and what that makes of
// its verdict. It is empty when nothing was. Times are medians over trials and
// variants of when each fault was really on.
func Faults(d scenarios.Duet) string {
	var said []string
	for i, f := range d.Faults {
		var began, ended []float64
		for _, t := range d.Trials {
			for _, on := range t.Faults {
				if on.Fault == i {
					began, ended = append(began, on.Began), append(ended, on.Ended)
				}
			}
		}
		if len(began) > 0 {
			said = append(said, fmt.Sprintf("%s from %.1f s to %.1f s", f.Past(), stats.Median(began), stats.Median(ended)))
		}
	}
	if len(said) == 0 {
		return ""
	}
	return "In every trial " + strings.Join(said, "; ") + ": the verdict compares how the variants bear that."
}
