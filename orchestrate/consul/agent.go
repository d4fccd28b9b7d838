package consul

import (
	"fmt"
	"net/netip"
	"path/filepath"

	"meshlab.dev/meshlab/orchestrate/process"
	"meshlab.dev/meshlab/topo"
)

// maxSocketPath is what fits into sockaddr_un: 108 bytes with the final zero,
// unix(7).
const maxSocketPath = 107

// AgentConfig says what is particular to one agent.
type AgentConfig struct {
	Program string     // absolute path of consul
	Node    string     // host it runs on, and its name in the catalog
	Address netip.Addr // the host's address, which other agents reach
	Join    netip.Addr // address of the server; zero: this agent is the server
	Dir     string     // absolute, private to this agent
	Socket  string     // absolute path of its HTTP socket; "": Dir/http.sock
	Client  netip.Addr // where HTTP and gRPC listen inside the host; zero: 127.0.0.1
}

// Agent is one agent to start: write Files, relative to Spec.Dir, then start
// Spec, then talk to Socket.
type Agent struct {
	Spec   process.Spec
	Files  map[string][]byte
	Socket string
}

// ServerSpec plans the lab's one server. It is the agent of its own host too.
func ServerSpec(c AgentConfig) (Agent, error) {
	if c.Join.IsValid() {
		return Agent{}, fmt.Errorf("plan consul server on %s: it cannot join %s, it is the one that others join", c.Node, c.Join)
	}
	return newAgent(c)
}

// AgentSpec plans the client agent of a host without a server.
func AgentSpec(c AgentConfig) (Agent, error) {
	if !c.Join.IsValid() {
		return Agent{}, fmt.Errorf("plan consul agent on %s: no server to join", c.Node)
	}
	return newAgent(c)
}

// Needed tells whether a lab has anything to register: a service or a client.
// One that has not is a network, and runs without Consul.
func Needed(lab *topo.Lab) bool { return len(lab.Services) > 0 || lab.Client != nil }

// Agents plans the server, and one agent per other host that has something to
// register; none when Consul is not [Needed]. Each has its own folder under
// dir, which must be absolute.
func Agents(lab *topo.Lab, program, dir string) ([]Agent, error) {
	if !Needed(lab) {
		return nil, nil
	}
	server, err := hostAddr(lab, lab.Mesh.Server)
	if err != nil {
		return nil, fmt.Errorf("plan consul server: %w", err)
	}
	base := AgentConfig{Program: program, Node: lab.Mesh.Server, Address: server, Dir: filepath.Join(dir, lab.Mesh.Server)}
	first, err := ServerSpec(base)
	if err != nil {
		return nil, err
	}
	agents := []Agent{first}
	registers := map[string]bool{}
	for _, svc := range lab.Services {
		registers[svc.Node] = true
	}
	if lab.Client != nil {
		registers[lab.Client.Node] = true
	}
	for _, n := range lab.Nodes {
		if !registers[n.Name] || n.Name == lab.Mesh.Server {
			continue
		}
		a, err := AgentSpec(AgentConfig{
			Program: program, Node: n.Name, Address: n.IPv4.Addr(), Join: server, Dir: filepath.Join(dir, n.Name),
		})
		if err != nil {
			return nil, err
		}
		agents = append(agents, a)
	}
	return agents, nil
}

func newAgent(c AgentConfig) (Agent, error) {
	if c.Socket == "" {
		c.Socket = filepath.Join(c.Dir, "http.sock")
	}
	if !c.Client.IsValid() {
		c.Client = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if err := c.validate(); err != nil {
		return Agent{}, fmt.Errorf("plan consul agent on %s: %w", c.Node, err)
	}
	file, err := newFileConfig(c).marshal()
	if err != nil {
		return Agent{}, err
	}
	const name = "agent.json"
	return Agent{
		Spec: process.Spec{
			Name:        "consul@" + c.Node,
			Node:        c.Node,
			Part:        process.PartRegistry,
			Path:        c.Program,
			Args:        []string{"agent", "-config-file=" + filepath.Join(c.Dir, name)},
			Env:         []string{"PATH=/usr/bin:/bin", "HOME=" + c.Dir},
			Dir:         c.Dir,
			KeepRunning: true,
		},
		Files:  map[string][]byte{name: file},
		Socket: c.Socket,
	}, nil
}

func (c AgentConfig) validate() error {
	switch {
	case c.Node == "":
		return fmt.Errorf("the host has no name")
	case !c.Address.Is4():
		return fmt.Errorf("address %v is not IPv4", c.Address)
	case !filepath.IsAbs(c.Program):
		return fmt.Errorf("program %q is not an absolute path", c.Program)
	case !filepath.IsAbs(c.Dir):
		return fmt.Errorf("folder %q is not an absolute path", c.Dir)
	case !filepath.IsAbs(c.Socket):
		return fmt.Errorf("socket %q is not an absolute path", c.Socket)
	case len(c.Socket) > maxSocketPath:
		return fmt.Errorf("socket path %s has %d bytes, at most %d fit: use a shorter folder", c.Socket, len(c.Socket), maxSocketPath)
	}
	return nil
}

// hostAddr returns the address of a host of the lab.
func hostAddr(lab *topo.Lab, node string) (netip.Addr, error) {
	for _, n := range lab.Nodes {
		if n.Name == node && n.Kind == topo.KindHost {
			return n.IPv4.Addr(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("lab %s has no host %q", lab.Name, node)
}
