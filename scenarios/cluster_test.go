package scenarios

import (
	"strings"
	"testing"
)

// azure is a cluster of two workers and their control plane.
func azure() *Cluster {
	worker := Node{Role: RoleWorker, InstanceType: "Standard_B2ms", Region: "eastus", Zone: "eastus-1", Cores: 2, MemoryBytes: 8 << 30,
		OS: "Ubuntu 24.04.1 LTS", Kernel: "6.8.0-1021-azure", Architecture: "amd64", Runtime: "containerd://1.7.27"}
	plane := worker
	plane.Role, plane.InstanceType = RoleControlPlane, "Standard_B4ms"
	return &Cluster{Kubernetes: "v1.34.3", Cloud: "azure", CNI: "flannel", Nodes: []Node{plane, worker, worker}}
}

func TestPlace(t *testing.T) {
	mixed, bare, alone := azure(), &Cluster{Kubernetes: "v1.34.3-gke.100"}, azure()
	mixed.Nodes = append(mixed.Nodes, Node{Role: RoleWorker, InstanceType: "Standard_D4s", Region: "westus"})
	bare.Nodes = []Node{{Role: RoleWorker, Cores: 2}, {Role: RoleWorker, Cores: 2}, {Role: RoleWorker, Cores: 1}}
	alone.Nodes = alone.Nodes[:1]
	for _, tt := range []struct {
		e    Environment
		want string
	}{
		{Environment{}, "namespaces on one machine"},
		{Environment{Cores: 1, Runtime: "namespaces"}, "namespaces on one machine, 1 core"},
		{Environment{Cores: 2, Docker: "20.10.24+dfsg1"}, "Docker 20.10.24 on one machine, 2 cores"},
		{Environment{Cores: 2, Runtime: "docker", Docker: "28.5.2"}, "Docker 28.5.2 on one machine, 2 cores"},
		{Environment{Cores: 2, Runtime: Kubernetes, Cluster: azure()}, "Kubernetes 1.34, 2 × Standard_B2ms in eastus (Azure)"},
		{Environment{Cluster: mixed}, "Kubernetes 1.34, 2 × Standard_B2ms and 1 × Standard_D4s in eastus and westus (Azure)"},
		{Environment{Cluster: bare}, "Kubernetes 1.34, 2 nodes of 2 cores and 1 node of 1 core"},
		{Environment{Cluster: alone}, "Kubernetes 1.34, 1 × Standard_B4ms in eastus (Azure)"},
		{Environment{Cluster: &Cluster{Kubernetes: "1.9", Cloud: "kind"}}, "Kubernetes 1.9 (kind)"},
	} {
		if got := tt.e.Place(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestEnvironmentValidate(t *testing.T) {
	good := func() Environment {
		return Environment{Runtime: Kubernetes, Cluster: azure(), Group: "lab-20260301T120000Z"}
	}
	if err := good().validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Environment){
		"group":        func(e *Environment) { e.Group = strings.Repeat("x", maxGroup+1) },
		"printable":    func(e *Environment) { e.Group = "a\nb" },
		"runtime":      func(e *Environment) { e.Runtime = "namespaces" },
		"no other":     func(e *Environment) { e.Cluster = nil },
		"no version":   func(e *Environment) { e.Cluster.Kubernetes = "" },
		"5001 nodes":   func(e *Environment) { e.Cluster.Nodes = make([]Node, maxNodes+1) },
		"role":         func(e *Environment) { e.Cluster.Nodes[0].Role = "master" },
		"nodes[1]: -1": func(e *Environment) { e.Cluster.Nodes[1].Cores = -1 },
		"at most 256":  func(e *Environment) { e.Cluster.Nodes[2].Kernel = "\x1b[31m" },
	} {
		e := good()
		change(&e)
		r := Result{SchemaVersion: SchemaVersion, ID: "x", Environment: e}
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "environment: ") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestPlacementValidate(t *testing.T) {
	r := Result{SchemaVersion: SchemaVersion, ID: "x", Environment: Environment{Runtime: Kubernetes, Cluster: azure()},
		Labs: []LabInfo{{Name: "shop", Placement: []Placed{{"h1", 0}, {"h2", 2}}}}}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	r.Labs[0].Placement[1].Node = 3
	if err := r.Validate(); err == nil || !strings.Contains(err.Error(), "host h2 is on node 3") {
		t.Errorf("%v", err)
	}
}

func TestFingerprintOfACluster(t *testing.T) {
	e := Environment{CPU: "A", Runtime: Kubernetes, Cluster: azure()}
	was := e.Sum()
	turned := e
	turned.Cluster = azure()
	turned.Cluster.Nodes[0], turned.Cluster.Nodes[2] = turned.Cluster.Nodes[2], turned.Cluster.Nodes[0]
	if turned.Sum() != was {
		t.Error("the order of nodes counts")
	}
	for name, change := range map[string]func(*Cluster){
		"version":    func(c *Cluster) { c.Kubernetes = "v1.33.0" },
		"cni":        func(c *Cluster) { c.CNI = "calico" },
		"kind":       func(c *Cluster) { c.Nodes[1].InstanceType = "Standard_D2s" },
		"its kernel": func(c *Cluster) { c.Nodes[1].Kernel = "6.9" },
		"one more":   func(c *Cluster) { c.Nodes = append(c.Nodes, c.Nodes[1]) },
	} {
		other := e
		other.Cluster = azure()
		if change(other.Cluster); other.Sum() == was {
			t.Errorf("%s does not count", name)
		}
	}
}
