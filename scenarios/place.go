package scenarios

import (
	"fmt"
	"slices"
	"strings"
)

// Place says where a run measured, in a phrase that stands in a sentence or at
// the head of a column:
//
//	namespaces on one machine, 2 cores
//	Docker 28.5.2 on one machine, 2 cores
//	Kubernetes 1.34, 2 × Standard_B2ms in eastus (Azure)
//	Kubernetes 1.34, 3 nodes of 2 cores
//
// Two machines can have the same phrase. What the document does not say is
// left out.
func (e Environment) Place() string {
	if e.Cluster != nil {
		return e.Cluster.place()
	}
	what := "namespaces"
	if e.Docker != "" {
		version, _, _ := strings.Cut(e.Docker, "+") // Debian's 20.10.24+dfsg1
		what = "Docker " + version
	}
	what += " on one machine"
	if e.Cores > 0 {
		what += ", " + cores(e.Cores)
	}
	return what
}

func cores(n int) string {
	if n == 1 {
		return "1 core"
	}
	return fmt.Sprintf("%d cores", n)
}

func (c Cluster) place() string {
	parts := []string{"Kubernetes " + minor(c.Kubernetes)}
	if nodes := c.nodes(); nodes != "" {
		parts = append(parts, nodes)
	}
	s := strings.Join(parts, ", ")
	if regions := c.regions(); len(regions) > 0 {
		s += " in " + strings.Join(regions, " and ")
	}
	if c.Cloud != "" {
		s += " (" + cloud(c.Cloud) + ")"
	}
	return s
}

// minor is a version without "v" and patch level: 1.34 of v1.34.3-gke.100.
func minor(version string) string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// nodes counts the workers by their kind, the most frequent first.
func (c Cluster) nodes() string {
	count := map[string]int{}
	var kinds []string
	for _, n := range c.Workers() {
		kind := n.InstanceType
		if kind == "" {
			kind = cores(n.Cores) // never the name of a type
		}
		if count[kind]++; count[kind] == 1 {
			kinds = append(kinds, kind)
		}
	}
	slices.SortStableFunc(kinds, func(a, b string) int { return count[b] - count[a] })
	for i, kind := range kinds {
		n := count[kind]
		switch {
		case !strings.HasSuffix(kind, " core") && !strings.HasSuffix(kind, " cores"):
			kinds[i] = fmt.Sprintf("%d × %s", n, kind)
		case n == 1:
			kinds[i] = "1 node of " + kind
		default:
			kinds[i] = fmt.Sprintf("%d nodes of %s", n, kind)
		}
	}
	return strings.Join(kinds, " and ")
}

// regions are those of the workers, each once.
func (c Cluster) regions() []string {
	var all []string
	for _, n := range c.Workers() {
		if n.Region != "" && !slices.Contains(all, n.Region) {
			all = append(all, n.Region)
		}
	}
	return all
}

// cloud is what a provider's scheme stands for; others are called as they are.
// The schemes are those of the cloud controller managers of Kubernetes.
func cloud(scheme string) string {
	switch scheme {
	case "azure":
		return "Azure"
	case "aws":
		return "AWS"
	case "gce":
		return "Google Cloud"
	}
	return scheme
}
