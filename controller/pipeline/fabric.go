package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
)

// MAC is an Ethernet address; in JSON and text 00:00:00:00:00:01.
type MAC [6]byte

// ParseMAC reads 00:00:00:00:00:01 and the other forms of net.ParseMAC; any
// length but 6 bytes is an error.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil {
		return MAC{}, fmt.Errorf("read MAC address %q: %w", s, err)
	}
	if len(hw) != 6 {
		return MAC{}, fmt.Errorf("read MAC address %q: it has %d bytes; write six, such as 02:00:00:00:00:01", s, len(hw))
	}
	return MAC(hw), nil
}

// String is 00:00:00:00:00:01.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalText is String.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is ParseMAC.
func (m *MAC) UnmarshalText(text []byte) error {
	parsed, err := ParseMAC(string(text))
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}

func (m MAC) value() uint64 {
	var v uint64
	for _, b := range m {
		v = v<<8 | uint64(b)
	}
	return v
}

// Fabric is what all switches of a network share.
type Fabric struct {
	// Mesh false makes plain switches of them all: no virtual address, no
	// tracking. The addresses below are then not used.
	Mesh    bool       `json:"mesh"`
	VIP     netip.Addr `json:"vip,omitzero"`     // IPv4; virtual address of all upstreams
	Hairpin netip.Addr `json:"hairpin,omitzero"` // IPv4; source of connections from a host to itself
	VIPMAC  MAC        `json:"vip_mac,omitzero"` // answers ARP for VIP and Hairpin
	// DNS hands questions to port 53 of VIP to the controller.
	DNS bool `json:"dns,omitzero"`
	// TraceEvery has the switches count one connection in this many on its
	// own: a power of two, 0 for none.
	TraceEvery uint32 `json:"trace_every,omitzero"`
	Hosts      []Host `json:"hosts"`
}

// Host is a host of the network.
type Host struct {
	Name string     `json:"name"`
	Addr netip.Addr `json:"addr"` // IPv4
	MAC  MAC        `json:"mac"`
}

// Datapath is one switch and its place in the network. Ports are OpenFlow
// port numbers.
type Datapath struct {
	Name   string            `json:"name"`
	DPID   uint64            `json:"dpid"`
	Access map[string]uint32 `json:"access"`  // hosts attached here, and their ports
	ToHost map[string]uint32 `json:"to_host"` // hosts further away, and the port towards each; may list attached ones too
	Flood  []uint32          `json:"flood"`   // ports of the spanning tree, access ports among them
	// Trunks are the ports to other switches, whatever leaves by them, and
	// what they lead to. What comes in by a port that is neither here nor in
	// Access is dropped.
	Trunks map[uint32]Peer `json:"trunks"`
	// Split says that trunks to unknown ends join each switch to each other:
	// what comes in by one of these for everybody goes to hosts alone.
	Split bool `json:"split,omitzero"`
}

// Peer is the other end of a link between switches; the zero value is an
// unknown one, such as that of a tunnel.
type Peer struct {
	Datapath string `json:"datapath,omitzero"`
	Port     uint32 `json:"port,omitzero"`
}

// Validate tells all that is wrong with the fabric, in one error.
func (f Fabric) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("fabric: "+format, args...)) }
	if f.Mesh {
		if !f.VIP.Is4() {
			bad("vip %v is not an IPv4 address", f.VIP)
		}
		if !f.Hairpin.Is4() {
			bad("hairpin %v is not an IPv4 address", f.Hairpin)
		}
		if f.VIP == f.Hairpin {
			bad("vip and hairpin are both %v; give them different addresses", f.VIP)
		}
		if f.VIPMAC == (MAC{}) || f.VIPMAC[0]&1 != 0 {
			bad("vip_mac %v is not a unicast address", f.VIPMAC)
		}
	}
	if f.TraceEvery&(f.TraceEvery-1) != 0 || f.TraceEvery > 1<<15 {
		bad("trace_every is %d; write a power of two up to 32768", f.TraceEvery)
	}
	names, addrs, macs := map[string]bool{}, map[netip.Addr]string{}, map[MAC]string{}
	if f.Mesh {
		addrs[f.VIP], addrs[f.Hairpin], macs[f.VIPMAC] = "vip", "hairpin", "vip_mac"
	}
	for _, h := range f.Hosts {
		if names[h.Name] {
			bad("host %s is listed twice", h.Name)
		}
		names[h.Name] = true
		if !h.Addr.Is4() {
			bad("host %s: address %v is not an IPv4 address", h.Name, h.Addr)
		}
		if other, ok := addrs[h.Addr]; ok {
			bad("host %s: address %v is that of %s", h.Name, h.Addr, other)
		}
		if f.Mesh && h.MAC.value()&identityMask == identityPrefix {
			bad("host %s: MAC address %v is among those that name services (0a:4d:40:00:00:00/20)", h.Name, h.MAC)
		}
		if other, ok := macs[h.MAC]; ok {
			bad("host %s: MAC address %v is that of %s", h.Name, h.MAC, other)
		}
		addrs[h.Addr], macs[h.MAC] = h.Name, h.Name
	}
	return errors.Join(errs...)
}

// maxPort is OFPP_MAX in the 16-bit numbers of Open vSwitch.
const maxPort = 0xff00

// validate tells all that is wrong with the datapath in the fabric.
func (d Datapath) validate(hosts map[string]Host) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("datapath %s: "+format, append([]any{d.Name}, args...)...))
	}
	check := func(what string, port uint32) {
		if port == 0 || port >= maxPort {
			bad("%s has port %d, which is not in 1..%d", what, port, maxPort-1)
		}
	}
	seen := map[uint32]string{}
	for _, name := range sortedKeys(d.Access) {
		port := d.Access[name]
		check("host "+name, port)
		if _, ok := hosts[name]; !ok {
			bad("host %s is attached but not in the fabric; add it to the fabric's hosts", name)
		}
		if other, ok := seen[port]; ok {
			bad("hosts %s and %s are both attached at port %d", other, name, port)
		}
		seen[port] = name
	}
	for _, name := range sortedKeys(d.ToHost) {
		check("the way to "+name, d.ToHost[name])
		if _, ok := hosts[name]; !ok {
			bad("there is a way to host %s, which is not in the fabric; add it to the fabric's hosts", name)
		}
	}
	for _, port := range d.Flood {
		check("the flood list", port)
	}
	for _, port := range slices.Sorted(maps.Keys(d.Trunks)) {
		check("a trunk", port)
		if host, ok := seen[port]; ok {
			bad("port %d is a trunk, and host %s is attached at it", port, host)
		}
	}
	return errors.Join(errs...)
}
