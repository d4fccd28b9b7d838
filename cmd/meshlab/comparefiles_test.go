package main

import (
	"strings"
	"testing"

	"meshlab.dev/meshlab/scenarios"
)

// Two runs of one machine that differ in what hosts are do not pass for runs of
// two machines.
func TestUnlike(t *testing.T) {
	sum := func(e scenarios.Environment) scenarios.Environment {
		e.Fingerprint = e.Sum()
		return e
	}
	plain := sum(scenarios.Environment{CPU: "A", Kernel: "Linux 6", Runtime: "namespaces"})
	boxed := sum(scenarios.Environment{CPU: "A", Kernel: "Linux 6", Runtime: "docker", Docker: "20.10.24"})
	newer := sum(scenarios.Environment{CPU: "A", Kernel: "Linux 7", Runtime: "docker", Docker: "28.5.2"})
	pods := sum(scenarios.Environment{CPU: "A", Kernel: "Linux 6", Runtime: scenarios.Kubernetes, Cluster: &scenarios.Cluster{Kubernetes: "v1.34.3", Cloud: "azure"}})
	older := scenarios.Environment{CPU: "A", Kernel: "Linux 6"} // tells neither
	const hosts, machines = "Hosts were", "different machines"
	for name, tc := range map[string]struct {
		a, b scenarios.Environment
		want []string
	}{
		"the same":          {plain, plain, nil},
		"both on Docker":    {boxed, boxed, nil},
		"another runtime":   {plain, boxed, []string{hosts + " network namespaces in one and containers of Docker 20.10.24 in the other"}},
		"another engine":    {boxed, newer, []string{hosts + " containers of Docker 20.10.24 in one", machines}},
		"of an old version": {older, plain, []string{machines}},
		"Kubernetes":        {boxed, pods, []string{hosts + " containers of Docker 20.10.24 in one and pods of Kubernetes 1.34 (Azure) in the other"}},
		"old, and Docker":   {older, boxed, []string{hosts, machines}},
	} {
		t.Run(name, func(t *testing.T) {
			got := unlike(tc.a, tc.b)
			if len(got) != len(tc.want) {
				t.Fatalf("got %q, want %q", got, tc.want)
			}
			for i, w := range tc.want {
				if !strings.Contains(got[i], w) {
					t.Errorf("got %q, want %q", got[i], w)
				}
			}
		})
	}
}
