package labs

import (
	"errors"
	"fmt"
	"strings"
)

// ManyHostsName is the lab of the catalogue whose size can be chosen.
const ManyHostsName = "many-hosts"

// Shape is how the switches of the lab many-hosts are joined.
type Shape string

// The shapes.
const (
	Tree Shape = "tree" // each switch but the first to one before it, two to one
	Mesh Shape = "mesh" // each to every other one
	Star Shape = "star" // all to the first
)

// Shapes returns all shapes.
func Shapes() []Shape { return []Shape{Tree, Mesh, Star} }

// ManyHosts is the size of the lab many-hosts.
type ManyHosts struct {
	Hosts    int // at each switch
	Switches int
	Shape    Shape
}

// DefaultManyHosts is the one in the catalogue.
func DefaultManyHosts() ManyHosts { return ManyHosts{Hosts: 2, Switches: 4, Shape: Tree} }

// The limits of ManyHosts.
const (
	maxManyHosts    = 500 // in the whole lab
	maxManySwitches = 50
)

// MaxNeighbours is how many entries the kernel's table of neighbours may have,
// over all network namespaces together, unless the machine says otherwise:
// arp(7), gc_thresh3.
const MaxNeighbours = 1024

// Neighbours is how many of them the lab makes: the Consul agents speak to each
// other, of which there is one where an instance runs, at each switch. Beyond
// the kernel's number, packets are lost and the lab hardly comes up.
func (m ManyHosts) Neighbours() int {
	agents := m.Switches + 2 // the client's and the Consul server's
	return agents * (agents - 1)
}

// Validate tells all that is wrong with the numbers, or returns nil.
func (m ManyHosts) Validate() error {
	var errs []error
	if m.Hosts < 1 {
		errs = append(errs, fmt.Errorf("%d hosts at each switch: at least 1", m.Hosts))
	}
	if m.Switches < 1 || m.Switches > maxManySwitches {
		errs = append(errs, fmt.Errorf("%d switches: 1 to %d", m.Switches, maxManySwitches))
	}
	if len(errs) == 0 && m.Hosts > maxManyHosts/m.Switches {
		errs = append(errs, fmt.Errorf("%d hosts at each of %d switches: at most %d in all", m.Hosts, m.Switches, maxManyHosts))
	}
	switch m.Shape {
	case Tree, Mesh, Star:
	default:
		errs = append(errs, fmt.Errorf("shape %q: it is tree, mesh or star", m.Shape))
	}
	return errors.Join(errs...)
}

// Source returns the lab file. Host h2-1 is the first one at switch s2; the
// ports of a switch are its hosts', in order, and then those of links to other
// switches. The first host of each switch has an instance of the service web.
// The error is that of Validate.
func (m ManyHosts) Source() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Made by: meshlab init many-hosts --hosts %d --switches %d --shape %s
name: %s
description: Many hosts at many switches, joined as a tree, a mesh or a star; how many, init is told.

mesh: { vip: 10.10.255.254, hairpin: 10.10.255.253, server: consul-server }

nodes:
  client: { kind: host, ipv4: 10.10.255.1/16 }
  consul-server: { kind: host, ipv4: 10.10.255.2/16 }
`, m.Hosts, m.Switches, m.Shape, ManyHostsName)
	for s := 1; s <= m.Switches; s++ {
		fmt.Fprintf(&b, "  s%d: { kind: switch }\n", s)
		for h := 1; h <= m.Hosts; h++ {
			// At most 500 hosts at a switch: two octets, and none of it above 10.10.200.
			n := (h-1)/250*100 + s
			fmt.Fprintf(&b, "  h%d-%d: { kind: host, ipv4: 10.10.%d.%d/16 }\n", s, h, n, (h-1)%250+1)
		}
	}
	b.WriteString("\nlinks:\n")
	next := make([]int, m.Switches+1) // the last port that is taken
	join := func(host string, s int) {
		next[s]++
		fmt.Fprintf(&b, "  - endpoints: [\"%s:eth0\", \"s%d:%d\"]\n", host, s, next[s])
	}
	for s := 1; s <= m.Switches; s++ {
		for h := 1; h <= m.Hosts; h++ {
			join(fmt.Sprintf("h%d-%d", s, h), s)
		}
	}
	join("client", 1)
	join("consul-server", 1)
	for _, t := range m.trunks() {
		next[t[0]]++
		next[t[1]]++
		fmt.Fprintf(&b, "  - endpoints: [\"s%d:%d\", \"s%d:%d\"]\n", t[0], next[t[0]], t[1], next[t[1]])
	}
	b.WriteString("\nservices:\n")
	for s := 1; s <= m.Switches; s++ {
		fmt.Fprintf(&b, `  web-%[1]d:
    service: web
    node: h%[1]d-1
    port: 8080
    builtin: echo
    environment: { BIND_ADDRESS: ":{{ port }}", NAME: web-%[1]d }
`, s)
	}
	b.WriteString(`
client:
  node: client
  upstreams: { web: 9090 }

requests:
  web:
    to: web
    expect: { status: 200, contains: ["web-"] }
`)
	return []byte(b.String()), nil
}

// trunks are the pairs of switches that are joined.
func (m ManyHosts) trunks() [][2]int {
	var all [][2]int
	for b := 2; b <= m.Switches; b++ {
		switch m.Shape {
		case Tree:
			all = append(all, [2]int{b / 2, b})
		case Star:
			all = append(all, [2]int{1, b})
		case Mesh:
			for a := 1; a < b; a++ {
				all = append(all, [2]int{a, b})
			}
		}
	}
	return all
}
