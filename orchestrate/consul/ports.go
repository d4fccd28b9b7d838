package consul

import (
	"fmt"

	"meshlab.dev/meshlab/topo"
)

// firstSidecarPort is where Consul's own numbering of sidecars begins
// (ports.sidecar_min_port).
const firstSidecarPort = 21000

// SidecarPort returns the port at which the sidecar of a service instance, or
// of ClientID, takes connections from other sidecars. Ports are numbered per
// host in the order of the lab file, past those that services or upstreams of
// the host take.
func SidecarPort(lab *topo.Lab, id string) (uint16, error) {
	node, err := nodeOf(lab, id)
	if err != nil {
		return 0, err
	}
	taken := map[int]bool{}
	take := func(upstreams []topo.Upstream) {
		for _, u := range upstreams {
			taken[int(u.BindPort)] = true
		}
	}
	var ids []string
	for _, svc := range lab.Services {
		if svc.Node == node {
			ids = append(ids, svc.Name)
			taken[int(svc.Port)] = true
			take(svc.Upstreams)
		}
	}
	if lab.Client != nil && lab.Client.Node == node {
		ids = append(ids, ClientID)
		take(lab.Client.Upstreams)
	}
	port := firstSidecarPort
	for _, other := range ids {
		for taken[port] {
			port++
		}
		if port > 65535 {
			break
		}
		if other == id {
			return uint16(port), nil
		}
		port++
	}
	return 0, fmt.Errorf("number the sidecars of host %s: no port left for %s from %d on", node, id, firstSidecarPort)
}

// nodeOf returns the host of a service instance or of the client.
func nodeOf(lab *topo.Lab, id string) (string, error) {
	for _, svc := range lab.Services {
		if svc.Name == id {
			return svc.Node, nil
		}
	}
	if id == ClientID && lab.Client != nil {
		return lab.Client.Node, nil
	}
	return "", fmt.Errorf("lab %s has no service %q", lab.Name, id)
}
