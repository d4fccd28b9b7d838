package reports

import (
	"fmt"
	"slices"
	"strings"

	"meshlab.dev/meshlab/scenarios"
)

// placements say, for each lab of a run on a cluster, which of its hosts were on
// one node; none of other runs, and of those that do not tell.
func (s *section) placements() []string {
	var all []string
	for _, lab := range s.Result.Labs {
		if text := s.placement(lab); text != "" {
			all = append(all, fmt.Sprintf("Lab %s (%s): %s", lab.Name, lab.Pods, text))
		}
	}
	return all
}

// placement is that of one lab, in sentences.
func (s *section) placement(lab scenarios.LabInfo) string {
	c := s.Result.Environment.Cluster
	if c == nil || len(lab.Placement) == 0 {
		return ""
	}
	hosts := map[int][]string{}
	shared := false
	for _, p := range lab.Placement {
		hosts[p.Node] = append(hosts[p.Node], p.Host)
		shared = shared || len(hosts[p.Node]) > 1
	}
	names := nodeNames(*c)
	var said []string
	for node := range c.Nodes {
		if at := hosts[node]; len(at) > 0 {
			slices.Sort(at)
			said = append(said, fmt.Sprintf("%s had %s", names[node], and(at)))
		}
	}
	text := strings.Join(said, "; ") + "."
	if shared {
		text += " Hosts of one node share its processors, and what they say to each other need not leave it."
	}
	return text
}

// nodeNames number the nodes of a cluster by their role, with what tells them
// apart: a document has no other names for them.
func nodeNames(c scenarios.Cluster) []string {
	kinds, zones := map[string]bool{}, map[string]bool{}
	for _, n := range c.Nodes {
		kinds[n.InstanceType], zones[n.Zone] = true, true
	}
	count := map[string]int{}
	var names []string
	for _, n := range c.Nodes {
		count[n.Role]++
		role := "worker"
		if n.Role == scenarios.RoleControlPlane {
			role = "control plane"
		}
		var detail []string
		if len(kinds) > 1 {
			detail = append(detail, n.InstanceType)
		}
		if len(zones) > 1 && n.Zone != "" {
			detail = append(detail, "zone "+n.Zone)
		}
		name := fmt.Sprintf("%s %d", role, count[n.Role])
		if text := commas(detail...); text != "" {
			name += " (" + text + ")"
		}
		names = append(names, name)
	}
	return names
}

// and joins words as in a sentence.
func and(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}
