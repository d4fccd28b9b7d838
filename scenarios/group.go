package scenarios

import (
	"errors"
	"fmt"
	"math"

	"meshlab.dev/meshlab/scenarios/stats"
)

// Group sorts documents into those that are one measurement: of each
// Environment.Group all, in the order of their first, and every other document
// alone. A document that comes twice counts once. It returns an error when
// documents of a group measured the same cell under the same mesh, for then they
// are not parts of one measurement; but for plain switching, which each part may
// have as the floor of its machines.
func Group(results []*Result) ([][]*Result, error) {
	var groups [][]*Result
	at := map[string]int{}
	there := map[string]bool{}
	for _, r := range results {
		if there[r.ID] {
			continue
		}
		there[r.ID] = true
		name := r.Environment.Group
		if i, ok := at[name]; ok && name != "" {
			groups[i] = append(groups[i], r)
			continue
		}
		at[name] = len(groups)
		groups = append(groups, []*Result{r})
	}
	var errs []error
	for _, g := range groups {
		seen := map[cellKey]string{}
		for _, r := range g {
			for _, c := range r.Cells {
				if c.Mesh == floorMesh {
					continue
				}
				if other, ok := seen[keyOf(c)]; ok {
					errs = append(errs, fmt.Errorf("results %s and %s are of one group, %q, and both hold %s under %s: a group is one measurement, whose parts differ; give one of the two",
						other, r.ID, r.Environment.Group, c.Point(), c.Mesh))
					break
				}
				seen[keyOf(c)] = r.ID
			}
		}
	}
	return groups, errors.Join(errs...)
}

// floorMesh is the name of no mesh at all, beneath all others.
const floorMesh = "direct"

// GroupFindings are the findings of documents that are one measurement: those
// of each, and for closed loops the ratios of ovs in one to other meshes in
// another. Those are marked as Apart: no attempt ran next to another, so their
// interval is Welch's, for independent samples, and what the machines differ in
// is in the ratio.
func GroupFindings(group []*Result) []Finding {
	var out []Finding
	whole := map[string]bool{} // cells and meshes that one document compares
	for _, r := range group {
		found := r.Findings()
		for _, f := range found {
			whole[f.Cell+"\n"+f.New] = true
		}
		out = append(out, found...)
	}
	for _, r := range group {
		for _, base := range r.Cells {
			if base.Mesh != closedBase {
				continue
			}
			for _, other := range group {
				for _, c := range other.Cells {
					if other == r || c.Point() != base.Point() || c.Mesh == closedBase || whole[c.Point().String()+"\n"+c.Mesh] {
						continue
					}
					for _, figure := range closedFigures() {
						if f, ok := apart(c, base, figure); ok {
							out = append(out, f)
						}
					}
				}
			}
		}
	}
	return out
}

// apart compares a figure of the later attempts of two cells of different
// machines.
func apart(changed, base Cell, figure string) (Finding, bool) {
	x, okX := laterLogs(changed.Attempts, figure)
	y, okY := laterLogs(base.Attempts, figure)
	if !okX || !okY {
		return Finding{}, false
	}
	difference, low, high := stats.MeanDifference(x, y, intervalLevel)
	f := closedFinding(changed, base, figure, difference, low, high)
	f.Apart = true
	return f, true
}

func laterLogs(attempts []Attempt, figure string) ([]float64, bool) {
	values, ok := laterFigures(attempts, figure)
	for i, v := range values {
		if v <= 0 {
			return nil, false
		}
		values[i] = math.Log(v)
	}
	return values, ok && len(values) > 0
}
