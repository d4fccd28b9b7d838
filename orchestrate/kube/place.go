package kube

import (
	"fmt"
	"slices"

	"meshlab.dev/meshlab/topo"
)

// Place assigns the hosts of a lab that have services, in the order of its
// file, and after them that of its client, to nodes in turn. So a lab on one
// host has its services on one node, and its load on another if there is one.
//
// A lab of several hosts on a cluster of one node is an error: what it would
// measure is a single node.
func Place(lab *topo.Lab, nodes []string) (map[string]string, error) {
	if len(nodes) == 0 {
		return nil, fmt.Errorf("no node of the cluster takes pods: 'kubectl get nodes' shows which are not ready, cordoned or tainted")
	}
	var hosts []string
	for _, n := range lab.Nodes {
		if slices.ContainsFunc(lab.Services, func(s topo.Service) bool { return s.Node == n.Name }) {
			hosts = append(hosts, n.Name)
		}
	}
	if len(hosts) > 1 && len(nodes) == 1 {
		return nil, fmt.Errorf("lab %s spreads its services over %d hosts, and only one node of the cluster takes pods (%s): take a lab on a single host, such as hashicups-single-node, or a cluster of two nodes",
			lab.Name, len(hosts), nodes[0])
	}
	if lab.Client != nil && !slices.Contains(hosts, lab.Client.Node) {
		hosts = append(hosts, lab.Client.Node)
	}
	at := map[string]string{}
	for i, host := range hosts {
		at[host] = nodes[i%len(nodes)]
	}
	return at, nil
}
