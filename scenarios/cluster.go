package scenarios

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Kubernetes is the Environment.Runtime of runs whose hosts are pods; then,
// and only then, there is an Environment.Cluster.
const Kubernetes = "kubernetes"

// Cluster is the Kubernetes cluster that a run measured in. It names no node,
// for names of nodes tell of their owner and nothing of the figures.
type Cluster struct {
	Kubernetes string `json:"kubernetes"`      // version of the API server, as v1.34.3
	Cloud      string `json:"cloud,omitempty"` // scheme of the nodes' spec.providerID: azure, aws, gce, kind
	CNI        string `json:"cni,omitempty"`   // what joins the pods, where it is known: name and version
	Nodes      []Node `json:"nodes,omitempty"`
}

// Node is a node of a cluster, as its Node object tells of it
// (Kubernetes API reference, core/v1 Node).
type Node struct {
	Role         string `json:"role"`                    // RoleWorker, or RoleControlPlane when no pod of the run can be on it
	InstanceType string `json:"instance_type,omitempty"` // label node.kubernetes.io/instance-type, as Standard_B2ms
	Region       string `json:"region,omitempty"`        // label topology.kubernetes.io/region
	Zone         string `json:"zone,omitempty"`          // label topology.kubernetes.io/zone
	Cores        int    `json:"cores"`                   // status.capacity.cpu, whole cores
	MemoryBytes  uint64 `json:"memory_bytes"`            // status.capacity.memory
	OS           string `json:"os,omitempty"`            // status.nodeInfo.osImage
	Kernel       string `json:"kernel,omitempty"`        // status.nodeInfo.kernelVersion
	Architecture string `json:"architecture,omitempty"`  // status.nodeInfo.architecture
	Runtime      string `json:"runtime,omitempty"`       // status.nodeInfo.containerRuntimeVersion, as containerd://1.7.27
}

// The roles of a Node.
const (
	RoleWorker       = "worker"
	RoleControlPlane = "control-plane"
)

const (
	maxNodes = 5000 // "no more than 5,000 nodes": Kubernetes documentation, "Considerations for large clusters"
	maxGroup = 100  // bytes
	maxName  = 256  // bytes, of any text of a cluster
)

// validate checks what documents may hold of a cluster, and of the other
// documents that one belongs with.
func (e Environment) validate() error {
	if len(e.Group) > maxGroup || !printable(e.Group) {
		return fmt.Errorf("group %.110q: want at most %d bytes of printable text", e.Group, maxGroup)
	}
	if (e.Runtime == Kubernetes) != (e.Cluster != nil) {
		return fmt.Errorf("runtime %q does not fit: %s has a cluster, and no other runtime has one", e.Runtime, Kubernetes)
	}
	if e.Cluster == nil {
		return nil
	}
	if err := e.Cluster.validate(); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

func (c Cluster) validate() error {
	if c.Kubernetes == "" {
		return errors.New("it has no version of Kubernetes")
	}
	if len(c.Nodes) > maxNodes {
		return fmt.Errorf("%d nodes: want at most %d", len(c.Nodes), maxNodes)
	}
	texts := []string{c.Kubernetes, c.Cloud, c.CNI}
	for i, n := range c.Nodes {
		if n.Role != RoleWorker && n.Role != RoleControlPlane {
			return fmt.Errorf("nodes[%d]: role %q: want %s or %s", i, n.Role, RoleWorker, RoleControlPlane)
		}
		if n.Cores < 0 {
			return fmt.Errorf("nodes[%d]: %d cores", i, n.Cores)
		}
		texts = append(texts, n.InstanceType, n.Region, n.Zone, n.OS, n.Kernel, n.Architecture, n.Runtime)
	}
	for _, s := range texts {
		if len(s) > maxName || !printable(s) {
			return fmt.Errorf("%.110q: want at most %d bytes of printable text", s, maxName)
		}
	}
	return nil
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// Workers are the nodes that pods of the run can be on: all, when each belongs
// to the control plane.
func (c Cluster) Workers() []Node {
	var workers []Node
	for _, n := range c.Nodes {
		if n.Role == RoleWorker {
			workers = append(workers, n)
		}
	}
	if len(workers) == 0 {
		return c.Nodes
	}
	return workers
}
