package topo

import (
	"net/netip"
	"regexp"
	"slices"
)

// The names of the hosts that a lab gets when it states none.
const (
	autoServer = "consul-server"
	autoClient = "client"
)

const (
	defaultMTU = 1500 // bytes, the payload of an Ethernet frame (RFC 894)

	// VXLANOverhead is what VXLAN over IPv4 puts before the packet of a host
	// within that of the underlay, in bytes: 20 of IPv4, 8 of UDP, 8 of VXLAN
	// and 14 of the inner Ethernet header (RFC 7348, section 5).
	VXLANOverhead = 20 + 8 + 8 + 14

	tunnelMTU = defaultMTU - VXLANOverhead // bytes
)

var (
	labName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

	// A node's name is also that of its bridge, and the kernel allows 15
	// bytes for the name of a device (IFNAMSIZ - 1 in linux/if.h).
	nodeName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,13}$`)

	// A device's name; the kernel refuses "/", ":" and space
	// (dev_valid_name in net/core/dev.c), we also refuse what a shell or a
	// file name would trip over.
	deviceName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$`)

	// A DNS label (RFC 1123, section 2.1), in lower case as Consul's DNS.
	dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

	// A name of the shell's environment (POSIX.1-2017, section 8.1).
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

	// A key of Consul's metadata (validateMetaPair in Consul's
	// agent/structs/structs.go).
	metaName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

	// A token (RFC 9110, section 5.6.2), as header names are.
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
)

// builder turns a decoded file into a lab, one section after the other, and
// keeps what the later sections must know of the earlier ones.
type builder struct {
	*problems
	opt Options
	lab *Lab

	node      map[string]int   // index in lab.Nodes
	nodePlace map[string]place // where the node is stated; absent for automatic ones
	names     []string         // of all nodes
	hosts     []string         // names of the hosts

	linksGood bool // every link joins two known nodes
	mtu       int  // of links that state none, bytes

	network netip.Prefix // masked; invalid while unknown

	services []string                    // names of services, each once
	ports    map[string]map[uint16]claim // by node: who takes a port of it
}

// claim is who takes a port of a node, for a message.
type claim struct {
	who  string
	line int
}

func newBuilder(p *problems, opt Options) *builder {
	return &builder{
		problems:  p,
		opt:       opt,
		lab:       &Lab{Requests: map[string]Request{}},
		node:      map[string]int{},
		nodePlace: map[string]place{},
		ports:     map[string]map[uint16]claim{},
	}
}

// build returns the lab; it is only good when no problem was reported.
func (b *builder) build(f *fileLab) *Lab {
	if f.Name.set && !labName.MatchString(f.Name.val) {
		b.addf(f.Name.place, "the lab's name %s must be 1 to 32 of a-z, 0-9, _ and -, and begin with a letter or digit", quote(f.Name.val))
	}
	b.lab.Name, b.lab.Description = f.Name.val, f.Description.val
	if r := f.Mesh.Registry; r.set && r.val != "consul" {
		b.unknown(r.place, "registry", r.val, []string{"consul"})
	}
	b.lab.Switches = SwitchesShared
	if s := f.Switches; s.set {
		b.lab.Switches = Switches(s.val)
		if modes := []string{string(SwitchesShared), string(SwitchesIsolated)}; !slices.Contains(modes, s.val) {
			b.unknown(s.place, "way to run switches", s.val, modes)
		}
	}
	b.nodes(f)
	b.links(f)
	b.automaticHosts(f)
	b.connected()
	b.addresses(f)
	b.macs(f)
	b.serviceSection(f)
	b.clientSection(f)
	b.requestSection(f)
	return b.lab
}

// host reports whether name is a host; if not it says so at the place.
func (b *builder) host(at place, what, name string) bool {
	i, ok := b.node[name]
	switch {
	case !ok:
		b.unknown(at, "node", name, b.names)
		return false
	case b.lab.Nodes[i].Kind != KindHost:
		b.addf(at, "%s must be on a host; %s is a switch", what, quote(name))
		return false
	}
	return true
}
